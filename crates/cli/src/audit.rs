//! `iusign audit`: who did what, from where.

use std::path::PathBuf;

use api::audit::AuditEntry;
use clap::Subcommand;

use crate::{
    admin, output,
    remote::{self, PageArgs, Remote},
};

/// `iusign audit`.
#[derive(Debug, clap::Args)]
pub struct Audit {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List entries, the newest first
    List {
        /// Only what was done to the object with this id
        #[arg(long)]
        object: Option<String>,
        /// Only this action, as key.created
        #[arg(long)]
        action: Option<String>,
        /// Only by this user or key, by id; or operator or system
        #[arg(long)]
        actor: Option<String>,
        /// Only at this time or later, RFC 3339
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Only before this time, RFC 3339
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Check that every entry is as it was written and none is missing, for the operator: on the running server's data folder
    Verify {
        /// The data folder of the server that runs [default: iusign-data]
        #[arg(long, env = "IUSIGN_DATA_DIR", value_name = "DIR")]
        data_dir: Option<PathBuf>,
        /// Which tenant's, ten_… [default: the only one]
        #[arg(long, value_name = "TENANT")]
        tenant: Option<String>,
    },
}

/// Does what is asked.
pub async fn run(audit: Audit, json: bool) -> anyhow::Result<()> {
    let (query, client) = match audit.command {
        Command::Verify { data_dir, tenant } => return admin::verify_audit(data_dir, tenant, json).await,
        Command::List { object, action, actor, since, until, page } => {
            let filters = [
                ("object", object.as_ref()),
                ("action", action.as_ref()),
                ("actor", actor.as_ref()),
                ("since", since.as_ref()),
                ("until", until.as_ref()),
            ];
            (page.query(&filters), audit.remote.client()?)
        }
    };
    let entries = client.list_audit(&remote::borrowed(&query)).await?;
    output::show(json, &entries, |entries| {
        let row = |entry: &AuditEntry| {
            let who = entry.actor.label.as_ref().or(entry.actor.id.as_ref());
            vec![
                entry.seq.to_string(),
                output::short_time(&entry.at),
                entry.action.clone(),
                entry.object.clone(),
                output::plain(&format!("{} {}", entry.actor.kind, who.map_or("", String::as_str))),
                entry.address.clone().unwrap_or_default(),
            ]
        };
        let names = ["seq", "at", "action", "object", "by", "from"];
        output::table(&names, &entries.data.iter().map(row).collect::<Vec<_>>());
        remote::more(entries.next.as_ref());
    });
    Ok(())
}
