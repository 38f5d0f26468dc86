//! `iusign documents`: upload PDFs, and see what intake found out about them.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use api::document::Document;
use clap::Subcommand;

use crate::{output, remote::Remote};

/// `iusign documents`.
#[derive(Debug, clap::Args)]
pub struct Documents {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Upload PDFs
    Upload {
        /// The files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Show a document
    Get {
        /// Its id, doc_…
        id: String,
    },
}

/// Does what is asked.
pub async fn run(documents: Documents, json: bool) -> anyhow::Result<()> {
    let client = documents.remote.client()?;
    match documents.command {
        Command::Upload { files } => {
            // Before the first byte goes out: what cannot be read here is not the server's fault.
            files.iter().try_for_each(|file| readable(file))?;
            for file in files {
                output::show(json, &client.upload_document(&file).await?, show);
            }
        }
        Command::Get { id } => output::show(json, &client.get_document(&id).await?, show),
    }
    Ok(())
}

fn readable(file: &Path) -> anyhow::Result<()> {
    let opened = File::open(file).with_context(|| format!("can't read {}", file.display()))?;
    let meta = opened.metadata().with_context(|| format!("can't read {}", file.display()))?;
    ensure!(meta.is_file(), "{} is not a file", file.display());
    Ok(())
}

fn show(document: &Document) {
    let sizes = document.pages.first().map(|page| format!("{:.0} × {:.0} pt", page.width, page.height));
    output::pairs(&[
        ("id", document.id.clone()),
        ("file", output::plain(&document.filename)),
        ("pages", format!("{}, the first {}", document.pages.len(), sizes.unwrap_or_default())),
        ("bytes", document.size.to_string()),
        ("sha256", document.sha256.clone()),
        ("changed", output::plain(&document.changes.join("; "))),
        ("fonts missing", output::plain(&document.fonts_missing.join(", "))),
        ("warnings", output::plain(&document.warnings.join("; "))),
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_and_what_is_not_there_are_refused_before_anything_is_sent() {
        let folder = tempfile::tempdir().expect("a folder");
        let refused = |path: &Path| readable(path).expect_err("refused").to_string();
        assert_eq!(refused(folder.path()), format!("{} is not a file", folder.path().display()));
        let missing = folder.path().join("missing.pdf");
        assert_eq!(refused(&missing), format!("can't read {}", missing.display()));
        std::fs::write(&missing, b"x").expect("written");
        readable(&missing).expect("a file");
    }
}
