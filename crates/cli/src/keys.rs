//! `iusign keys`: generate, list, show and revoke API keys.

use api::key::{CreatedKey, Key, NewKey, Receipt, RevokeKey};
use clap::Subcommand;

use crate::{
    output,
    remote::{self, PageArgs, Remote},
};

/// `iusign keys`.
#[derive(Debug, clap::Args)]
pub struct Keys {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Generate a key; its secret is shown this once
    Create(Create),
    /// List keys, the newest first
    List {
        /// Only these: pending, active, suspended, revoked or expired
        #[arg(long)]
        status: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show a key
    Get {
        /// Its id, key_…
        id: String,
    },
    /// Revoke a key for good: when this ends, nothing that it asks for passes any more
    Revoke {
        /// Its id, key_…
        id: String,
        /// manual or compromised
        #[arg(long)]
        reason: Option<String>,
        /// For the audit log
        #[arg(long, default_value_t)]
        note: String,
    },
}

#[derive(Debug, clap::Args)]
struct Create {
    /// Its name for people
    #[arg(long)]
    label: String,
    /// What it may do, may be repeated: '*', workflows, or names such as envelopes:write [default: the calling key's]
    #[arg(long = "scope", visible_alias = "scopes", value_delimiter = ',', value_name = "SCOPE")]
    scopes: Vec<String>,
    /// From where it may call, an address or CIDR, may be repeated
    #[arg(long = "allow", value_name = "CIDR")]
    allowlist: Vec<String>,
    /// Until when, RFC 3339 with an offset: 2027-01-31T00:00:00Z
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
    /// Whose rights it gets [default: the calling key's administrator]
    #[arg(long, value_name = "USER")]
    administrator: Option<String>,
    /// A note for people
    #[arg(long, default_value_t)]
    note: String,
    /// A word to find it by, may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Meant, even where the allowlist locks out this very address
    #[arg(long)]
    confirm: bool,
}

/// Does what is asked.
pub async fn run(keys: Keys, json: bool) -> anyhow::Result<()> {
    let client = keys.remote.client()?;
    match keys.command {
        Command::Create(create) => {
            let made = client.create_key(&create.body(), None).await?;
            output::show(json, &made, show_created);
        }
        Command::List { status, page } => {
            let query = page.query(&[("status", status.as_ref())]);
            let keys = client.list_keys(&remote::borrowed(&query)).await?;
            output::show(json, &keys, |keys| {
                let names = ["id", "label", "status", "last4", "environment", "last used", "expires"];
                output::table(&names, &keys.data.iter().map(row).collect::<Vec<_>>());
                remote::more(keys.next.as_ref());
            });
        }
        Command::Get { id } => output::show(json, &client.get_key(&id).await?, show),
        Command::Revoke { id, reason, note } => {
            let receipt = client.revoke_key(&id, &RevokeKey { reason, note }).await?;
            output::show(json, &receipt, show_receipt);
        }
    }
    Ok(())
}

impl Create {
    fn body(self) -> NewKey {
        let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
        NewKey {
            label: self.label,
            environment: None,
            scopes: some(self.scopes),
            allowlist: some(self.allowlist),
            expires_at: self.expires_at,
            administrator: self.administrator,
            note: self.note,
            tags: self.tags,
            confirm: self.confirm,
        }
    }
}

/// A new key with its secret.
pub fn show_created(made: &CreatedKey) {
    show(&made.key);
    if let Some(secret) = &made.secret {
        output::line("");
        output::line(secret);
        output::error_line("This is the secret key. It is shown this once: keep it now.");
    }
}

/// What a revocation is answered with.
pub fn show_receipt(receipt: &Receipt) {
    output::line(&format!("{} is revoked. Nothing that it asks for passes any more.", receipt.key.id));
    output::pairs(&[
        ("effective at", receipt.effective_at.clone()),
        ("last used", used(&receipt.key)),
        ("it made keys", receipt.made.keys.join(", ")),
    ]);
}

fn used(key: &Key) -> String {
    key.last_used.as_ref().map_or_else(
        || "never".to_owned(),
        |used| format!("{} from {}, {}", output::short_time(&used.at), used.address, used.route),
    )
}

fn row(key: &Key) -> Vec<String> {
    vec![
        key.id.clone(),
        output::plain(&key.label),
        key.status.clone(),
        key.last4.clone(),
        key.environment.clone(),
        key.last_used.as_ref().map(|used| output::short_time(&used.at)).unwrap_or_default(),
        key.expires_at.as_deref().map(output::short_time).unwrap_or_default(),
    ]
}

fn show(key: &Key) {
    output::pairs(&[
        ("id", key.id.clone()),
        ("label", output::plain(&key.label)),
        ("environment", key.environment.clone()),
        ("status", key.status.clone()),
        ("reason", key.reason.clone().unwrap_or_default()),
        ("last4", key.last4.clone()),
        ("scopes", key.scopes.join(", ")),
        ("allowlist", key.allowlist.join(", ")),
        ("expires", key.expires_at.clone().unwrap_or_else(|| "never".to_owned())),
        ("administrator", key.administrator.clone()),
        ("made by", key.parent.clone().unwrap_or_default()),
        ("created", key.created_at.clone()),
        ("last used", used(key)),
        ("tags", output::plain(&key.tags.join(", "))),
        ("note", output::plain(&key.note)),
    ]);
}
