//! `iusign keys`: generate, list, show, change, rotate and revoke API keys.

use anyhow::ensure;
use api::key::{CreatedKey, Key, NewKey};
use clap::Subcommand;

use crate::{
    destination::Destination,
    output,
    remote::{self, PageArgs, Remote},
    revocation, rotation, usage,
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
        /// Only those that ended for this reason: manual, compromised, policy or administrator_removed
        #[arg(long)]
        reason: Option<String>,
        /// Only those with the rights of this user, usr_…
        #[arg(long, value_name = "USER")]
        administrator: Option<String>,
        /// Only those with this tag
        #[arg(long)]
        tag: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show a key
    Get {
        /// Its id, key_…
        id: String,
    },
    /// Show what a key was used for: calls, addresses, refusals
    Usage(usage::Asked),
    #[command(flatten)]
    Rotation(rotation::Command),
    #[command(flatten)]
    Revocation(revocation::Command),
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
    /// Only record what the allowlist would refuse, and let it pass
    #[arg(long, requires = "allowlist")]
    observe: bool,
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
    /// Refuse the key until `keys activate`: store the secret first
    #[arg(long, conflicts_with = "to")]
    pending: bool,
    /// Put the secret where programs fetch it, and show it to nobody: vault:PATH[#FIELD], aws-secretsmanager:NAME[#FIELD],
    /// file:PATH or env-file:PATH[#VARIABLE]
    #[arg(long, value_name = "DESTINATION", conflicts_with = "encrypt_to")]
    to: Option<Destination>,
    /// Show the secret sealed to this age recipient, age1…, in place of the secret
    #[arg(long, value_name = "RECIPIENT")]
    encrypt_to: Option<String>,
}

/// Does what is asked.
pub async fn run(keys: Keys, json: bool) -> anyhow::Result<()> {
    let client = keys.remote.client()?;
    match keys.command {
        Command::Create(create) => match create.to.clone() {
            Some(to) => {
                let key = to.create(&keys.remote, &client, create.body()).await?;
                output::show(json, &key, |key| show_stored(key, &to));
            }
            None => show_new(json, &client.create_key(&create.body(), None).await?)?,
        },
        Command::Usage(asked) => usage::show(&client, &asked, json).await?,
        Command::List { status, reason, administrator, tag, page } => {
            let query = page.query(&[
                ("status", status.as_ref()),
                ("reason", reason.as_ref()),
                ("administrator", administrator.as_ref()),
                ("tag", tag.as_ref()),
            ]);
            let keys = client.list_keys(&remote::borrowed(&query)).await?;
            output::show(json, &keys, |keys| {
                let names = ["id", "label", "status", "last4", "environment", "last used", "expires"];
                output::table(&names, &keys.data.iter().map(row).collect::<Vec<_>>());
                remote::more(keys.next.as_ref());
            });
        }
        Command::Get { id } => output::show(json, &client.get_key(&id).await?, show),
        Command::Rotation(command) => rotation::run(&keys.remote, &client, command, json).await?,
        Command::Revocation(command) => revocation::run(&client, command, json).await?,
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
            allowlist_mode: self.observe.then(|| "observe".to_owned()),
            expires_at: self.expires_at,
            administrator: self.administrator,
            note: self.note,
            tags: self.tags,
            confirm: self.confirm,
            encrypt_to: self.encrypt_to,
            pending: self.pending,
        }
    }
}

/// Shows a new key. Its secret is nowhere else: where it was not shown, the end is an error that says what to do.
pub fn show_new(json: bool, made: &CreatedKey) -> anyhow::Result<()> {
    output::show(json, made, show_created);
    sure_of_secret(made)
}

/// Whether somebody has the secret of this new key: the server gave it, and it was printed.
pub fn sure_of_secret(made: &CreatedKey) -> anyhow::Result<()> {
    let id = &made.key.id;
    let next = format!("iusign keys revoke {id}, or iusign keys rotate {id} for another one");
    ensure!(
        made.secret.is_some() || made.sealed_secret.is_some(),
        "the key {id} is there, and the server has not given its secret: its first answer was lost on the way, and a secret \
         is given once. Nobody has it: {next}"
    );
    ensure!(
        output::is_open(),
        "the secret of {id} could not be printed, and is not shown again. Nobody has it: {next}"
    );
    Ok(())
}

/// A new key with its secret.
pub fn show_created(made: &CreatedKey) {
    show(&made.key);
    if let Some(secret) = &made.secret {
        output::line("");
        output::line(secret);
        output::error_line("This is the secret key. It is shown this once: keep it now.");
    }
    if let Some(sealed) = &made.sealed_secret {
        output::line("");
        output::line(sealed.trim_end());
        output::error_line("This is the secret key, sealed: age --decrypt --identity KEYFILE opens it.");
    }
}

/// A key whose secret lies where programs fetch it.
pub fn show_stored(key: &Key, to: &Destination) {
    show(key);
    output::error_line(&format!("Its secret was written to {to}, read back and used once. Nobody has seen it."));
}

fn used(key: &Key) -> String {
    key.last_used.as_ref().map_or_else(
        || "never".to_owned(),
        |used| format!("{} from {}, {}", output::short_time(&used.at), used.address, used.route),
    )
}

/// What stands of a rotation, each living secret with its last use.
fn rotation(key: &Key) -> String {
    let Some(rotation) = &key.rotation else { return String::new() };
    let state = match (&rotation.pending_last4, &rotation.ends_at) {
        (Some(last4), _) => format!("…{last4} waits for its first use"),
        (None, Some(end)) => format!("the old secret ends {}", output::short_time(end)),
        (None, None) => "the old secret ends when nothing uses it any more".to_owned(),
    };
    let living = key.secrets.iter().filter(|secret| secret.status != "dead").map(|secret| {
        let used = secret.last_used.as_ref().map_or("never".to_owned(), |used| output::short_time(&used.at));
        format!("…{} {}, last used {used}", secret.last4, secret.status)
    });
    format!("{state} ({})", living.collect::<Vec<_>>().join("; "))
}

/// Where a right secret was seen that must not be there; nothing where none was.
fn exposed(key: &Key) -> String {
    let todo = match key.status.as_str() {
        over @ ("revoked" | "expired") => format!("it is {over}: find the program that still sends it"),
        _ => "rotate or revoke it".to_owned(),
    };
    key.exposed.as_ref().map_or_else(String::new, |seen| {
        let (at, id) = (output::short_time(&seen.at), &key.id);
        format!("{} from {}, {at}: {todo}; in wrong hands: iusign keys compromise {id}", seen.how, seen.address)
    })
}

fn row(key: &Key) -> Vec<String> {
    vec![
        key.id.clone(),
        output::plain(&key.label),
        if key.rotation.is_some() { format!("{}, rotating", key.status) } else { key.status.clone() },
        key.last4.clone(),
        key.environment.clone(),
        key.last_used.as_ref().map(|used| output::short_time(&used.at)).unwrap_or_default(),
        key.expires_at.as_deref().map(output::short_time).unwrap_or_default(),
    ]
}

/// A key.
pub fn show(key: &Key) {
    output::pairs(&[
        ("id", key.id.clone()),
        ("label", output::plain(&key.label)),
        ("environment", key.environment.clone()),
        ("status", key.status.clone()),
        ("reason", key.reason.clone().unwrap_or_default()),
        ("last4", key.last4.clone()),
        ("scopes", key.scopes.join(", ")),
        ("allowlist", key.allowlist.join(", ")),
        ("allowlist mode", key.allowlist_mode.clone()),
        ("expires", key.expires_at.clone().unwrap_or_else(|| "never".to_owned())),
        ("administrator", key.administrator.clone()),
        ("rotation", rotation(key)),
        ("rotation due", key.rotation_due_at.clone().unwrap_or_default()),
        ("made by", key.parent.clone().unwrap_or_default()),
        ("created", key.created_at.clone()),
        ("last used", used(key)),
        ("EXPOSED", exposed(key)),
        ("tags", output::plain(&key.tags.join(", "))),
        ("note", output::plain(&key.note)),
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_whose_secret_nobody_has_is_an_error_that_names_it() {
        let answer = |secret: Option<&str>, sealed: Option<&str>| -> CreatedKey {
            serde_json::from_value(serde_json::json!({
                "id": "key_1", "label": "Billing", "environment": "development", "status": "active", "status_at": "",
                "last4": "abcd", "created_at": "", "created_by": {"type": "user", "id": "usr_1"}, "administrator": "usr_1",
                "scopes": [], "allowlist": [], "allowlist_mode": "enforce", "secrets": [], "note": "", "tags": [],
                "secret": secret, "sealed_secret": sealed, "secret_shown": false,
            }))
            .expect("a key")
        };
        assert!(sure_of_secret(&answer(Some("secret"), None)).is_ok());
        assert!(sure_of_secret(&answer(None, Some("sealed"))).is_ok());
        let said = sure_of_secret(&answer(None, None)).expect_err("lost").to_string();
        assert!(said.contains("the key key_1 is there") && said.contains("iusign keys revoke key_1"), "{said}");
    }
}
