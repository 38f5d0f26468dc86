//! `iusign keys revoke | suspend | resume | transfer | compromise | …`: take a key's right away and give it back.

use anyhow::bail;
use api::{
    compromise::{BlastRadius, CompromiseKey, Compromised, Decide, Decision},
    key::Key,
    revocation::{Passed, Receipt, RevokeKey, RevokeKeys, RevokedKeys, TransferKey, TurnKey},
};
use clap::Subcommand;
use client::Client;

use crate::{
    keys, output,
    remote::{self, PageArgs},
};

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Revoke a key, or every key that --user, --tag, --idle-days fit, for good: when this ends, nothing that they ask for
    /// passes any more
    Revoke(Box<Revoke>),
    /// Show a revocation's receipt: the last request that got through, and what was refused since
    Receipt {
        /// The revoked key's id, key_…
        id: String,
    },
    /// Refuse a key until it is resumed: find out what breaks before you revoke it
    Suspend(Turn),
    /// Let a suspended key pass again
    Resume(Turn),
    /// Give a key the rights of another owner or admin; its secret stays
    Transfer {
        /// Its id, key_…
        id: String,
        /// The user's id, usr_…
        #[arg(long, value_name = "USER")]
        to: String,
    },
    /// Report a key in wrong hands: it and every key that it made are revoked, and what they did since waits for you
    Compromise {
        /// Its id, key_…
        id: String,
        /// Since when, RFC 3339 with an offset [default: since it was generated]
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Generate a new key like it
        #[arg(long)]
        replacement: bool,
        /// For the audit log
        #[arg(long, default_value_t)]
        note: String,
    },
    /// Show what a compromised key did since, and what was decided about it
    Blast {
        /// The compromised key's id, key_…
        id: String,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Keep or void what a compromised key did
    Decide {
        /// The compromised key's id, key_…
        id: String,
        /// An envelope or batch to keep, may be repeated
        #[arg(long, value_delimiter = ',', value_name = "OBJECT")]
        keep: Vec<String>,
        /// An envelope or batch to take back, may be repeated
        #[arg(long, value_delimiter = ',', value_name = "OBJECT")]
        void: Vec<String>,
        /// keep or void all that is not decided yet
        #[arg(long, value_name = "DECISION", conflicts_with_all = ["keep", "void"])]
        all: Option<String>,
    },
}

/// `iusign keys revoke`.
#[derive(Debug, clap::Args)]
pub struct Revoke {
    /// Its id, key_…
    id: Option<String>,
    /// manual or compromised
    #[arg(long, requires = "id")]
    reason: Option<String>,
    /// In place of an id: the keys with the rights of this user
    #[arg(long, value_name = "USER", conflicts_with = "id")]
    user: Option<String>,
    /// In place of an id: the keys with this tag
    #[arg(long, value_name = "TAG", conflicts_with = "id")]
    tag: Option<String>,
    /// In place of an id: the keys that nothing has used for so many days
    #[arg(long, value_name = "DAYS", conflicts_with = "id")]
    idle_days: Option<u32>,
    /// In place of an id: all keys of this environment, the calling key's own
    #[arg(long, conflicts_with = "id")]
    environment: Option<String>,
    /// Only say which keys are meant
    #[arg(long, conflicts_with = "id")]
    dry_run: bool,
    /// For the audit log
    #[arg(long, default_value_t)]
    note: String,
}

/// `iusign keys suspend` and `resume`.
#[derive(Debug, clap::Args)]
pub struct Turn {
    /// Its id, key_…
    id: String,
    /// For the audit log
    #[arg(long, default_value_t)]
    note: String,
}

/// Does what is asked.
pub async fn run(client: &Client, command: Command, json: bool) -> anyhow::Result<()> {
    match command {
        Command::Revoke(revoke) => run_revoke(client, *revoke, json).await?,
        Command::Receipt { id } => output::show(json, &client.key_receipt(&id).await?, show_receipt),
        Command::Suspend(Turn { id, note }) => {
            output::show(json, &client.suspend_key(&id, &TurnKey { note }).await?, keys::show);
        }
        Command::Resume(Turn { id, note }) => {
            output::show(json, &client.resume_key(&id, &TurnKey { note }).await?, keys::show);
        }
        Command::Transfer { id, to } => {
            output::show(json, &client.transfer_key(&id, &TransferKey { administrator: to }).await?, keys::show);
        }
        Command::Compromise { id, since, replacement, note } => {
            let done = client.compromise_key(&id, &CompromiseKey { since, note, replacement }).await?;
            output::show(json, &done, show_compromised);
            done.replacement.iter().try_for_each(keys::sure_of_secret)?;
        }
        Command::Blast { id, page } => {
            let query = page.query(&[]);
            output::show(json, &client.blast_radius(&id, &remote::borrowed(&query)).await?, show_blast);
        }
        Command::Decide { id, keep, void, all } => {
            let word = |word: &'static str| move |object| Decision { object, decision: word.to_owned() };
            let decisions = keep.into_iter().map(word("keep")).chain(void.into_iter().map(word("void"))).collect();
            let decided = client.decide_compromise(&id, &Decide { decisions, all }).await?;
            output::show(json, &decided, |decided| output::line(&format!("Decided about {}.", decided.decided)));
        }
    }
    Ok(())
}

async fn run_revoke(client: &Client, revoke: Revoke, json: bool) -> anyhow::Result<()> {
    let Revoke { id, reason, user, tag, idle_days, environment, dry_run, note } = revoke;
    if let Some(id) = id {
        output::show(json, &client.revoke_key(&id, &RevokeKey { reason, note }).await?, show_receipt);
        return Ok(());
    }
    if user.is_none() && tag.is_none() && idle_days.is_none() && environment.is_none() {
        bail!("say which key is meant: its id, or --user, --tag, --idle-days, --environment");
    }
    let which = RevokeKeys { user, environment, tag, idle_days, note, dry_run };
    output::show(json, &client.revoke_keys(&which).await?, show_many);
    Ok(())
}

/// What a revocation is answered with.
pub fn show_receipt(receipt: &Receipt) {
    let says = match receipt.effective_at {
        Some(_) => "Nothing that it asks for passes any more.",
        None => "It is not known yet that this is in force on every server: revoke it again to wait for that.",
    };
    output::line(&format!("{} is revoked. {says}", receipt.key.id));
    let passed = |passed: &Passed| {
        format!("{} from {}, {}, {}", output::short_time(&passed.at), passed.address, passed.route, passed.request_id)
    };
    let state = if receipt.complete { "complete" } else { "not yet: each server writes within 10 s what it holds" };
    output::pairs(&[
        ("effective at", receipt.effective_at.clone().unwrap_or_else(|| "not known yet".to_owned())),
        ("last request that passed", receipt.last_passed.as_ref().map_or_else(|| "none".to_owned(), passed)),
        ("refused since", receipt.refused.to_string()),
        ("streams closed", receipt.streams_closed.to_string()),
        ("it made keys", receipt.made.keys.join(", ")),
        ("it made batches", receipt.made.batches.join(", ")),
        ("receipt", format!("{state}, as of {}", output::short_time(&receipt.as_of))),
    ]);
}

fn show_many(revoked: &RevokedKeys) {
    let row = |key: &Key| vec![key.id.clone(), output::plain(&key.label), key.status.clone()];
    output::table(&["id", "label", "status"], &revoked.keys.iter().map(row).collect::<Vec<_>>());
    match &revoked.effective_at {
        Some(at) => output::error_line(&format!("{} keys are revoked, effective {at}.", revoked.keys.len())),
        None => output::error_line(&format!("{} keys would be revoked.", revoked.keys.len())),
    }
}

fn show_compromised(done: &Compromised) {
    output::line(&format!("{} and what it made are revoked. Nothing that they ask for passes any more.", done.key.id));
    output::pairs(&[
        ("effective at", done.effective_at.clone()),
        ("revoked", done.revoked.join(", ")),
        ("paused batches", done.paused.join(", ")),
    ]);
    show_blast(&done.blast_radius);
    output::error_line(&format!(
        "Decide about it: iusign keys decide {} --keep … --void …, or --all void.",
        done.key.id
    ));
    if let Some(replacement) = &done.replacement {
        output::line("");
        keys::show_created(replacement);
    }
}

fn show_blast(blast: &BlastRadius) {
    let rows: Vec<_> = blast
        .data
        .iter()
        .map(|deed| {
            let decision = match (&deed.decision, &deed.outcome, &deed.decided_at) {
                (Some(decision), Some(outcome), _) => format!("{decision}: {outcome}"),
                (Some(decision), None, None) => format!("{decision}, under way"),
                (Some(decision), None, Some(_)) => decision.clone(),
                (None, ..) => String::new(),
            };
            vec![deed.object.clone(), deed.actions.join(", "), output::short_time(&deed.last_at), decision]
        })
        .collect();
    output::line("");
    output::table(&["object", "what", "last", "decision"], &rows);
    for seen in &blast.new_addresses {
        let first = output::short_time(&seen.first_at);
        output::line(&format!("new address: {}, {} requests, first {first}", seen.address, seen.count));
    }
    remote::more(blast.next.as_ref());
}
