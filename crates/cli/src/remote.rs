//! The API's commands reach a server: which one, with which key, trusting which CA. A key is never an argument.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use client::{Client, SecretText};
use zeroize::Zeroizing;

use crate::layout;

/// The name of the variable that holds the key.
const KEY_VARIABLE: &str = "IUSIGN_API_KEY";
/// Bytes of standard input that are read for a key at most.
const KEY_BYTES_MAX: u64 = 4_096;
/// Bytes of a CA's file at most.
const CA_BYTES_MAX: u64 = 1024 * 1024;

/// Which server, and as whom. The key comes from the variable IUSIGN_API_KEY, or from a file.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Server")]
pub struct Remote {
    /// The server's URL
    #[arg(long, env = "IUSIGN_URL", global = true, value_name = "URL")]
    url: Option<String>,
    /// Certificates to trust in place of the machine's, PEM: the local CA's is ca.pem in the data folder
    #[arg(long, env = "IUSIGN_CA_FILE", global = true, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// A file (mode 0600) that holds the secret key, or - for standard input; else the variable IUSIGN_API_KEY has it
    #[arg(long, env = "IUSIGN_API_KEY_FILE", global = true, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

impl Remote {
    /// The client.
    pub fn client(&self) -> anyhow::Result<Client> {
        self.client_as(self.key()?)
    }

    /// A client of the same server with another key.
    pub fn client_as(&self, key: SecretText) -> anyhow::Result<Client> {
        let url = self.url.as_deref().context("no server is named: set IUSIGN_URL=https://… or give --url")?;
        let ca = self.ca_file.as_deref().map(read_ca).transpose()?;
        Ok(Client::new(url, key, ca.as_deref())?)
    }

    fn key(&self) -> anyhow::Result<SecretText> {
        let (text, from) = match &self.key_file {
            Some(file) if file == Path::new("-") => (from_stdin()?, "standard input".to_owned()),
            Some(file) => (layout::read_private(file).context("the key's file")?, file.display().to_string()),
            None => match std::env::var(KEY_VARIABLE) {
                Ok(text) => (Zeroizing::new(text), format!("the variable {KEY_VARIABLE}")),
                Err(_) => {
                    bail!("no key is given: set {KEY_VARIABLE}, or give --key-file FILE (or - for standard input)")
                }
            },
        };
        let text = trimmed(&text);
        // Checked here, so that a slip costs no request; the error never repeats the text.
        secret::SecretKey::parse(text)
            .map_err(|malformed| anyhow::anyhow!("{from} holds no secret key: {malformed}"))?;
        Ok(SecretText::new(text))
    }
}

/// Without what editors, shells and mounts add: white space, a byte order mark, quotes.
pub fn trimmed(text: &str) -> &str {
    let text = text.trim_start_matches('\u{feff}').trim();
    let quoted = ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote));
    quoted.unwrap_or(text).trim()
}

fn from_stdin() -> anyhow::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    std::io::stdin().take(KEY_BYTES_MAX).read_to_string(&mut text).context("can't read the key from standard input")?;
    Ok(text)
}

fn read_ca(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(file).and_then(|open| open.take(CA_BYTES_MAX).read_to_end(&mut bytes));
    read.with_context(|| format!("can't read the CA's file {} (IUSIGN_CA_FILE)", file.display()))?;
    Ok(bytes)
}

/// A page of a list, as every list takes it.
#[derive(Clone, Debug, clap::Args)]
pub struct PageArgs {
    /// How many
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u32>,
    /// Go on after this cursor: `next` of the page before
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
}

impl PageArgs {
    /// The query with what else is asked for.
    pub fn query(&self, others: &[(&'static str, Option<&String>)]) -> Vec<(&'static str, String)> {
        let mut query: Vec<(&'static str, String)> = Vec::new();
        query.extend(self.limit.map(|limit| ("limit", limit.to_string())));
        query.extend(self.after.clone().map(|after| ("after", after)));
        query.extend(others.iter().filter_map(|(name, value)| Some((*name, (*value)?.clone()))));
        query
    }
}

/// The pairs as the client takes them.
pub fn borrowed<'a>(query: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    query.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// Says that more follows.
pub fn more(next: Option<&String>) {
    if let Some(next) = next {
        crate::output::error_line(&format!("more follows: --after {next}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_editors_and_mounts_add_is_dropped() {
        for text in ["key", " key\r\n", "\u{feff}key\n", "\"key\"", "'key'\n"] {
            assert_eq!(trimmed(text), "key", "{text:?}");
        }
    }
}
