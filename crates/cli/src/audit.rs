//! `iusign audit`: who did what, from where.

use api::audit::AuditEntry;
use clap::Subcommand;

use crate::{
    output,
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
        #[command(flatten)]
        page: PageArgs,
    },
}

/// Does what is asked.
pub async fn run(audit: Audit, json: bool) -> anyhow::Result<()> {
    let client = audit.remote.client()?;
    let Command::List { object, action, page } = audit.command;
    let query = page.query(&[("object", object.as_ref()), ("action", action.as_ref())]);
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
