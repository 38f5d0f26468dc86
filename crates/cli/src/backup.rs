//! `iusign backup` and `iusign restore`: database, files and the journal of revocations, out and in.

use std::{path::PathBuf, sync::Arc};

use app::{
    SystemClock, SystemRandom,
    backup::{self, Checked, Manifest, Place, Restored},
};
use model::Random;
use serde::Serialize;

use crate::{assemble, config::Settings, layout::Layout, output};

/// What no backup holds.
const KEYS: &str = "It does NOT hold the master key, the seal's key and the TLS key: keep them apart from it. Without the \
                    master key no link that was mailed opens.";

/// `iusign backup`.
#[derive(Debug, clap::Args)]
pub struct Backup {
    /// The folder to make it in: a new or empty one
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// Try it by restoring it to a place that goes again (on PostgreSQL: a database beside this one)
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    settings: Settings,
    /// A TOML file with settings [default: iusign.toml in the data folder, if it is there]
    #[arg(long, env = "IUSIGN_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// `iusign restore`.
#[derive(Debug, clap::Args)]
pub struct Restore {
    /// The backup's folder
    from: PathBuf,
    /// Only try it: restore it to a place that goes again, and change nothing
    #[arg(long, conflicts_with = "journals")]
    check: bool,
    /// A further journal of revocations, such as that of the server that was lost: revocations.log; may be repeated
    #[arg(long = "journal", value_name = "FILE")]
    journals: Vec<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    /// A TOML file with settings [default: iusign.toml in the data folder, if it is there]
    #[arg(long, env = "IUSIGN_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What a backup is answered with.
#[derive(Debug, Serialize)]
struct Made {
    backup: Manifest,
    checked: Option<Checked>,
}

/// Makes a backup, also while the server runs.
pub async fn make(command: Backup, json: bool) -> anyhow::Result<()> {
    let settings = command.settings.complete(command.config.as_deref())?;
    let layout = Layout::of(&settings)?;
    let target = assemble::target(&settings, &layout);
    let place = Place { target: &target, files: &layout.files, folder: &layout.root };
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let made = backup::make(&place, &command.to, (&SystemClock, &random)).await?;
    let checked = match command.verify {
        true => Some(backup::try_out(&command.to, &target, (&SystemClock, &random)).await?),
        false => None,
    };
    output::show(json, &Made { backup: made, checked }, |made| {
        output::pairs(&backup_pairs(&made.backup));
        if let Some(checked) = &made.checked {
            output::pairs(&checked_pairs(checked));
        }
    });
    output::error_line(KEYS);
    Ok(())
}

/// Restores a backup, or tries it.
pub async fn restore(command: Restore, json: bool) -> anyhow::Result<()> {
    let settings = command.settings.complete(command.config.as_deref())?;
    let layout = Layout::of(&settings)?;
    let target = assemble::target(&settings, &layout);
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    if command.check {
        let checked = backup::try_out(&command.from, &target, (&SystemClock, &random)).await?;
        output::show(json, &checked, |checked| output::pairs(&checked_pairs(checked)));
        return Ok(());
    }
    let place = Place { target: &target, files: &layout.files, folder: &layout.root };
    let restored = backup::restore(&command.from, &place, &command.journals, (&SystemClock, &random)).await?;
    output::show(json, &restored, show_restored);
    let made_at = restored.backup.made_at;
    if restored.journal_until.is_none_or(|until| until <= made_at) {
        output::error_line(&format!(
            "No journal at hand knows of anything after the backup. If keys were revoked after {made_at}, they live again: \
             revoke them, or restore anew with --journal and the lost server's revocations.log."
        ));
    }
    if !layout.master_key.exists() && settings.master_key.is_none() {
        output::error_line(&format!(
            "Put the master key to {} before you start the server.",
            layout.master_key.display()
        ));
    }
    Ok(())
}

fn show_restored(restored: &Restored) {
    output::pairs(&backup_pairs(&restored.backup));
    output::pairs(&checked_pairs(&restored.checked));
    output::pairs(&[
        ("keys ended again", restored.ended_again.to_string()),
        ("journal until", restored.journal_until.map(|until| until.to_string()).unwrap_or_default()),
    ]);
}

fn backup_pairs(made: &Manifest) -> [(&'static str, String); 5] {
    [
        ("made at", made.made_at.to_string()),
        ("engine", made.engine.clone()),
        ("files", made.files.to_string()),
        ("their bytes", made.files_bytes.to_string()),
        ("revocations in its journal", made.revocations.to_string()),
    ]
}

fn checked_pairs(checked: &Checked) -> [(&'static str, String); 4] {
    [
        ("tenants", checked.tenants.to_string()),
        ("audit entries that hold", checked.audit_entries.to_string()),
        ("envelopes that hold", checked.envelopes.to_string()),
        ("files named by them that are whole", checked.files.to_string()),
    ]
}
