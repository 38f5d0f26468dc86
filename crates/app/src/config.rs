//! What the operator sets, as the use cases see it.

use std::{fmt, path::PathBuf};

/// The application's settings.
#[derive(Clone)]
pub struct Config {
    /// Where the server is reached from outside, as `https://sign.example.com`, without a slash at its end. Links in mails
    /// come from here, whatever a request's headers said.
    pub public_url: String,
    /// The key that signing links are made with and stored secrets are encrypted under.
    pub master_key: [u8; 32],
    /// Where mails of production go; none keeps them in the outbox and says so.
    pub smtp: Option<Smtp>,
    /// The program and its arguments that parse strangers' files, in child processes.
    pub worker: (PathBuf, Vec<String>),
    /// How many such processes.
    pub workers: usize,
    /// Where GitHub publishes the keys that it signs reports of leaks with, a file or an `https://` URL; none: no report is
    /// believed to be GitHub's.
    pub github_keys: Option<String>,
}

/// A mail server.
#[derive(Clone)]
pub struct Smtp {
    /// Its name.
    pub host: String,
    /// 465 means TLS from the start, others STARTTLS.
    pub port: u16,
    /// The account, with its password.
    pub login: Option<(String, String)>,
    /// Who the mails come from, as `IUSign <sign@example.com>`.
    pub from: String,
    /// Whether the connection may be in clear: for a server on this machine alone.
    pub plain: bool,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("public_url", &self.public_url)
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}
