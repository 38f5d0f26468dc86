//! `iusign documents`: upload PDFs, and see what intake found out about them.

use std::path::PathBuf;

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
            for file in files {
                output::show(json, &client.upload_document(&file).await?, show);
            }
        }
        Command::Get { id } => output::show(json, &client.get_document(&id).await?, show),
    }
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
