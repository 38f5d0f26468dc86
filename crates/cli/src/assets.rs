//! `iusign assets`: list, fetch, and mirror the sealed files into a folder that takes up where it stopped.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use api::asset::Asset;
use clap::Subcommand;
use client::{Client, Follow};
use sha2::{Digest, Sha256};

use crate::{cursor::CursorFile, events, output, remote::Remote};

/// The file in a mirrored folder that says where to go on.
const CURSOR_FILE: &str = ".iusign-cursor";
/// What an envelope's files can be.
const KINDS: [&str; 4] = ["document", "combined", "certificate", "audit"];
/// Characters of a folder's or file's name at most.
const NAME_CHARS_MAX: usize = 120;

/// `iusign assets`.
#[derive(Debug, clap::Args)]
pub struct Assets {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the files of a completed envelope
    List {
        /// The envelope's id, env_…
        envelope: String,
    },
    /// Fetch one file of a completed envelope
    Get {
        /// The envelope's id, env_…
        envelope: String,
        /// document, combined, certificate, audit, or an asset's id
        asset: String,
        /// Where to write it [default: its own name, here]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Fetch the files of every completed envelope into a folder; a later call fetches what is new
    Pull {
        /// The folder
        dir: PathBuf,
        /// Only these kinds, may be repeated
        #[arg(long = "kind", value_name = "KIND", value_parser = KINDS)]
        kinds: Vec<String>,
        /// Only of these envelopes, may be repeated; the folder's place in the events stays as it is
        #[arg(long = "envelope", value_name = "ENVELOPE")]
        envelopes: Vec<String>,
        /// Go on and fetch what will be completed
        #[arg(long)]
        follow: bool,
    },
}

/// Does what is asked.
pub async fn run(assets: Assets, json: bool) -> anyhow::Result<()> {
    let client = assets.remote.client()?;
    match assets.command {
        Command::List { envelope } => {
            let assets = client.list_assets(&envelope).await?;
            output::show(json, &assets, |assets| {
                let row = |asset: &Asset| {
                    vec![
                        asset.id.clone(),
                        asset.kind.clone(),
                        asset.size.to_string(),
                        asset.seal.as_ref().map(|seal| seal.profile.clone()).unwrap_or_default(),
                        output::plain(&asset.filename),
                    ]
                };
                let rows = assets.data.iter().map(row).collect::<Vec<_>>();
                output::table(&["id", "kind", "bytes", "seal", "file"], &rows);
            });
        }
        Command::Get { envelope, asset, output: to } => {
            let download = client.download_asset(&envelope, &asset).await?;
            let named = download.filename().map(|name| safe(&name));
            let path = to.or(named.map(PathBuf::from)).context("the file has no name: give --output")?;
            let bytes = download.save(&path).await?;
            output::show(json, &serde_json::json!({"file": path, "bytes": bytes}), |_| {
                output::line(&format!("{} ({bytes} bytes)", path.display()));
            });
        }
        Command::Pull { dir, kinds, envelopes, follow } => {
            pull(&client, &dir, &kinds, &envelopes, follow, json).await?
        }
    }
    Ok(())
}

async fn pull(
    client: &Client,
    dir: &Path,
    kinds: &[String],
    envelopes: &[String],
    forever: bool,
    json: bool,
) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("can't make the folder {}", dir.display()))?;
    let say = |files: &[PathBuf]| {
        for file in files {
            output::show(json, &serde_json::json!({"file": file}), |_| output::line(&file.display().to_string()));
        }
    };
    if !envelopes.is_empty() {
        for envelope in envelopes {
            let name = client.get_envelope(envelope).await?.external_id;
            say(&fetch(client, dir, envelope, name.as_deref(), kinds).await?);
        }
        return Ok(());
    }
    let file = CursorFile::new(Some(dir.join(cursor_file(kinds))));
    let mut follow = Follow { cursor: file.load()?, types: Some("envelope.completed".to_owned()), envelope: None };
    loop {
        let page = if forever {
            events::next(client, &mut follow).await?
        } else {
            let query =
                [("types", "envelope.completed"), ("limit", "500"), ("after", follow.cursor.as_deref().unwrap_or(""))];
            let asked = if follow.cursor.is_some() { &query[..] } else { &query[..2] };
            let page = client.list_events(asked).await?;
            follow.cursor = Some(page.next.clone());
            page
        };
        for event in &page.data {
            let envelope = event.data.get("envelope").context("an event without an envelope")?;
            let id = envelope.get("id").and_then(|id| id.as_str()).context("an envelope without an id")?;
            let name = envelope.get("external_id").and_then(|id| id.as_str());
            say(&fetch(client, dir, id, name, kinds).await?);
        }
        // Only now: what was interrupted is fetched again.
        file.save(&page.next)?;
        if !forever && !page.has_more {
            return Ok(());
        }
    }
}

/// The name of the cursor for these kinds. Each set has one of its own: where the certificates were fetched up to says
/// nothing about the documents.
fn cursor_file(kinds: &[String]) -> String {
    let named = KINDS.into_iter().filter(|kind| kinds.iter().any(|named| named == kind));
    let mut file = CURSOR_FILE.to_owned();
    named.for_each(|kind| file.extend(["-", kind]));
    file
}

/// Fetches an envelope's files into a folder of its own and compares each with its digest. Those that lie there stay.
pub async fn fetch(
    client: &Client,
    dir: &Path,
    envelope: &str,
    external_id: Option<&str>,
    kinds: &[String],
) -> anyhow::Result<Vec<PathBuf>> {
    // The external id is for people; the envelope's id keeps two of the same name apart.
    let name = external_id.map_or_else(|| envelope.to_owned(), |name| format!("{}_{envelope}", safe(name)));
    let folder = dir.join(name);
    std::fs::create_dir_all(&folder).with_context(|| format!("can't make the folder {}", folder.display()))?;
    let mut taken = HashSet::new();
    let mut files = Vec::new();
    for asset in client.list_assets(envelope).await?.data {
        if !kinds.is_empty() && !kinds.contains(&asset.kind) {
            continue;
        }
        let mut name = safe(&asset.filename);
        if !taken.insert(name.to_lowercase()) {
            name = format!("{}_{name}", asset.id);
        }
        let path = folder.join(name);
        if digest(&path).is_some_and(|digest| digest == asset.sha256) {
            continue;
        }
        client.download_asset(envelope, &asset.id).await?.save(&path).await?;
        if digest(&path).is_none_or(|digest| digest != asset.sha256) {
            bail!("{} is not the file that the server names: fetch it again", path.display());
        }
        files.push(path);
    }
    Ok(files)
}

fn digest(path: &Path) -> Option<String> {
    let mut file = std::fs::File::open(path).ok()?;
    let mut hasher = Sha256::new();
    std::io::copy(&mut file, &mut hasher).ok()?;
    Some(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A name from outside as a name in a folder: no separators, no dots in front, no control characters.
fn safe(name: &str) -> String {
    let plain = |c: char| if c.is_control() || matches!(c, '/' | '\\' | ':' | '\0') { '_' } else { c };
    let kept: String = name.trim().trim_start_matches('.').chars().map(plain).collect();
    let count = kept.chars().count();
    let cut: String = kept.chars().skip(count.saturating_sub(NAME_CHARS_MAX)).collect();
    if cut.is_empty() { "file".to_owned() } else { cut }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_set_of_kinds_goes_on_from_its_own_cursor() {
        let file = |kinds: &[&str]| cursor_file(&kinds.iter().map(|kind| (*kind).to_owned()).collect::<Vec<_>>());
        assert_eq!(file(&[]), ".iusign-cursor");
        assert_eq!(file(&["document"]), ".iusign-cursor-document");
        assert_eq!(file(&["audit", "document", "audit"]), ".iusign-cursor-document-audit");
    }

    #[test]
    fn a_name_from_outside_stays_in_its_folder() {
        for (name, kept) in [
            ("a.pdf", "a.pdf"),
            ("../../etc/passwd", "_.._etc_passwd"),
            (".hidden", "hidden"),
            ("..", "file"),
            ("", "file"),
            ("C:\\x", "C__x"),
            ("Ü 1.pdf", "Ü 1.pdf"),
        ] {
            assert_eq!(safe(name), kept, "{name}");
        }
        assert!(safe(&format!("{}.pdf", "a".repeat(300))).ends_with("a.pdf"));
        assert_eq!(safe(&"é".repeat(300)).chars().count(), NAME_CHARS_MAX);
    }
}
