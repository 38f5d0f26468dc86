//! `iusign keys rotate`, `activate` and `update`: what changes of a key while it lives.

use anyhow::ensure;
use api::key::{CreatedKey, Key, UpdateKey};
use api::rotation::RotateKey;
use clap::Subcommand;
use client::Client;

use crate::{destination::Destination, keys, output, remote::Remote};

/// What changes of a key while it lives.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Let a key call that was generated with --pending
    Activate {
        /// Its id, key_…
        id: String,
    },
    /// Change a key's label, scopes, allowlist, expiry, note or tags; what is left out stays
    Update(Box<Update>),
    /// Give a key a second secret; the old one ends after the new one was first used
    Rotate(Rotate),
}

/// `keys update`.
#[derive(Debug, clap::Args)]
pub struct Update {
    /// Its id, key_…
    id: String,
    /// Its name for people
    #[arg(long)]
    label: Option<String>,
    /// What it may do, may be repeated: '*', workflows, or names such as envelopes:write
    #[arg(long = "scope", visible_alias = "scopes", value_delimiter = ',', value_name = "SCOPE")]
    scopes: Vec<String>,
    /// From where it may call, an address or CIDR, may be repeated
    #[arg(long = "allow", value_name = "CIDR", conflicts_with = "allow_all")]
    allowlist: Vec<String>,
    /// Remove the allowlist: it may call from everywhere
    #[arg(long)]
    allow_all: bool,
    /// enforce, or observe: only record what the allowlist would refuse
    #[arg(long, value_name = "MODE")]
    allowlist_mode: Option<String>,
    /// Until when, RFC 3339 with an offset: 2027-01-31T00:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with = "never_expires")]
    expires_at: Option<String>,
    /// Remove its expiry
    #[arg(long)]
    never_expires: bool,
    /// A note for people
    #[arg(long)]
    note: Option<String>,
    /// A word to find it by, may be repeated; they take the place of those that it has
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Meant, even where the allowlist locks out this very address
    #[arg(long)]
    confirm: bool,
}

/// `keys rotate`.
#[derive(Debug, clap::Args)]
pub struct Rotate {
    /// Its id, key_…
    id: String,
    /// How long the old secret lives on after the first use of the new one, PT0S to P7D [default: PT24H]
    #[arg(long, value_name = "DURATION")]
    grace: Option<String>,
    /// End the old secret when nothing has used it for this long, such as PT24H
    #[arg(long, value_name = "DURATION")]
    when_silent: Option<String>,
    /// End a rotation that is under way at once
    #[arg(long)]
    replace: bool,
    /// Put the new secret where programs fetch it, and show it to nobody: vault:PATH[#FIELD],
    /// aws-secretsmanager:NAME[#FIELD], file:PATH or env-file:PATH[#VARIABLE]
    #[arg(long, value_name = "DESTINATION", conflicts_with = "encrypt_to")]
    to: Option<Destination>,
    /// Show the new secret sealed to this age recipient, age1…, in place of the secret
    #[arg(long, value_name = "RECIPIENT")]
    encrypt_to: Option<String>,
}

/// Does what is asked.
pub async fn run(remote: &Remote, client: &Client, command: Command, json: bool) -> anyhow::Result<()> {
    match command {
        Command::Activate { id } => output::show(json, &client.activate_key(&id).await?, keys::show),
        Command::Update(update) => {
            let (id, body) = update.body();
            output::show(json, &client.update_key(&id, &body).await?, keys::show);
        }
        Command::Rotate(rotate) => {
            let (id, to, body) = rotate.body();
            match to {
                Some(to) => {
                    let key = to.rotate(remote, client, &id, &body).await?;
                    output::show(json, &key, |key| keys::show_stored(key, &to));
                }
                None => {
                    let rotated = client.rotate_key(&id, &body, None).await?;
                    output::show(json, &rotated, |rotated| {
                        keys::show_created(rotated);
                        say_next(&rotated.key);
                    });
                    sure_of_secret(&rotated)?;
                }
            }
        }
    }
    Ok(())
}

/// Whether somebody has the new secret: the server gave it, and it was printed. Until it is first used the old one works.
fn sure_of_secret(rotated: &CreatedKey) -> anyhow::Result<()> {
    let id = &rotated.key.id;
    let next = format!("the old one still works: iusign keys rotate {id} --replace makes another new one");
    ensure!(
        rotated.secret.is_some() || rotated.sealed_secret.is_some(),
        "a new secret of {id} waits for its first use already, and is not shown again; {next}"
    );
    ensure!(output::is_open(), "the new secret of {id} could not be printed, and is not shown again; {next}");
    Ok(())
}

fn say_next(key: &Key) {
    if key.rotation.as_ref().is_some_and(|rotation| rotation.pending_last4.is_some()) {
        output::error_line("The old secret works until the new one is first used, and on for its grace period.");
    }
}

impl Update {
    fn body(self) -> (String, UpdateKey) {
        let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
        let body = UpdateKey {
            label: self.label,
            scopes: some(self.scopes),
            allowlist: if self.allow_all { Some(Vec::new()) } else { some(self.allowlist) },
            allowlist_mode: self.allowlist_mode,
            expires_at: if self.never_expires { Some(None) } else { self.expires_at.map(Some) },
            note: self.note,
            tags: some(self.tags),
            confirm: self.confirm,
        };
        (self.id, body)
    }
}

impl Rotate {
    fn body(self) -> (String, Option<Destination>, RotateKey) {
        let body = RotateKey {
            grace_period: self.grace,
            finish: self.when_silent.as_ref().map(|_| "when_silent".to_owned()),
            silent_for: self.when_silent,
            replace: self.replace,
            encrypt_to: self.encrypt_to,
        };
        (self.id, self.to, body)
    }
}
