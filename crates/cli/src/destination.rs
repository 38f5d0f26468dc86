//! `--to`: a new secret goes where programs fetch it, and no terminal, log or proxy ever shows it. It is written, read back
//! and tried before it opens anything.

mod aws;
mod file;
mod vault;

use std::{fmt, path::PathBuf, str::FromStr};

use anyhow::{Context, bail, ensure};
use api::key::{CreatedKey, Key, NewKey, RevokeKey};
use api::rotation::RotateKey;
use client::{Client, SecretText};
use zeroize::Zeroizing;

use crate::remote::Remote;

/// The name that a secret has where several lie together.
const NAME: &str = "IUSIGN_API_KEY";
/// Characters of such a name at most.
const NAME_CHARS_MAX: usize = 200;

/// Where a secret goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// HashiCorp Vault or OpenBao, KV version 2: a field of a secret.
    Vault {
        /// Mount and path.
        path: String,
        /// The field.
        field: String,
    },
    /// AWS Secrets Manager: the whole text, or a field of a JSON object.
    Aws {
        /// Name or ARN.
        name: String,
        /// The field, where it is JSON.
        field: Option<String>,
    },
    /// A file that holds nothing else.
    File(PathBuf),
    /// A line of a file of variables.
    EnvFile {
        /// The file.
        path: PathBuf,
        /// The variable.
        variable: String,
    },
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let kinds = "vault:PATH[#FIELD], aws-secretsmanager:NAME[#FIELD], file:PATH or env-file:PATH[#VARIABLE]";
        let (kind, rest) = text.split_once(':').ok_or(format!("write it as {kinds}"))?;
        let (place, name) = match rest.rsplit_once('#') {
            Some((place, name)) if kind != "file" => (place, Some(name.to_owned())),
            _ => (rest, None),
        };
        let is_name = |name: &String| {
            let is_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
            !name.is_empty() && name.len() <= NAME_CHARS_MAX && is_word
        };
        if place.is_empty() || name.as_ref().is_some_and(|name| !is_name(name)) {
            return Err(format!("write it as {kinds}, a name in letters, digits, _, - and ."));
        }
        match kind {
            "vault" => {
                let path = place.trim_matches('/').to_owned();
                Ok(Self::Vault { path, field: name.unwrap_or_else(|| NAME.to_owned()) })
            }
            "aws-secretsmanager" => Ok(Self::Aws { name: place.to_owned(), field: name }),
            "file" => Ok(Self::File(place.into())),
            "env-file" => {
                let variable = name.unwrap_or_else(|| NAME.to_owned());
                let is_variable = !variable.starts_with(|c: char| c.is_ascii_digit()) && !variable.contains(['-', '.']);
                if !is_variable {
                    return Err(format!("{variable} is no name of a variable"));
                }
                Ok(Self::EnvFile { path: place.into(), variable })
            }
            other => Err(format!("{other} is not known: write it as {kinds}")),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vault { path, field } => write!(f, "vault:{path}#{field}"),
            Self::Aws { name, field: None } => write!(f, "aws-secretsmanager:{name}"),
            Self::Aws { name, field: Some(field) } => write!(f, "aws-secretsmanager:{name}#{field}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::EnvFile { path, variable } => write!(f, "env-file:{}#{variable}", path.display()),
        }
    }
}

/// A destination that was looked at: everything that can be known before there is a secret is in order.
enum Open {
    Vault(vault::Vault),
    Aws(aws::Aws),
    File(file::Place),
}

impl Destination {
    async fn open(&self) -> anyhow::Result<Open> {
        let open = match self {
            Self::Vault { path, field } => vault::Vault::open(path, field).await.map(Open::Vault),
            Self::Aws { name, field } => aws::Aws::open(name, field.as_deref()).await.map(Open::Aws),
            Self::File(path) => file::Place::open(path, None).map(Open::File),
            Self::EnvFile { path, variable } => file::Place::open(path, Some(variable)).map(Open::File),
        };
        open.with_context(|| format!("{self} can't take a secret; nothing was done"))
    }

    /// Writes the secret and reads it back.
    async fn store(&self, open: &mut Open, secret: &Zeroizing<String>) -> anyhow::Result<()> {
        let back = match open {
            Open::Vault(vault) => vault.write(secret).await,
            Open::Aws(aws) => aws.write(secret).await,
            Open::File(place) => place.write(secret),
        };
        let back = back.with_context(|| format!("the secret can't be written to {self}"))?;
        ensure!(back == *secret, "{self} gives back something else than was written");
        Ok(())
    }

    /// Makes the secret the one that programs fetch, where that is a step of its own.
    async fn finish(&self, open: &Open) -> anyhow::Result<()> {
        match open {
            Open::Aws(aws) => aws.finish().await.with_context(|| format!("{self} still gives out the old secret")),
            Open::Vault(_) | Open::File(_) => Ok(()),
        }
    }

    /// Puts back what was there, so that a secret that opens nothing takes no working one's place. The error that led here
    /// says what was undone.
    async fn undo(&self, open: &mut Open, error: anyhow::Error) -> anyhow::Error {
        let undone = match open {
            Open::Vault(vault) => vault.undo().await,
            Open::Aws(aws) => aws.undo().await,
            Open::File(place) => place.undo(),
        };
        match undone {
            Ok(false) => error,
            Ok(true) => error.context(format!("{self} holds again what it held")),
            Err(why) => {
                error.context(format!("{self} still holds the new secret, which can't be taken back ({why:#})"))
            }
        }
    }

    /// Makes a key whose secret goes here. It is pending until its secret was read back and the server has said that it is
    /// the right one; where anything fails, it is revoked, and what was here is put back.
    pub async fn create(&self, remote: &Remote, client: &Client, body: NewKey) -> anyhow::Result<Key> {
        let mut open = self.open().await?;
        let (id, secret) = taken(client.create_key(&NewKey { pending: true, ..body }, None).await?);
        let error = match self.activate(remote, client, &mut open, &id, secret).await {
            Ok(key) => return Ok(key),
            Err(error) => self.undo(&mut open, error).await,
        };
        let why = RevokeKey { reason: None, note: "Its secret could not be stored.".to_owned() };
        let revoked = client.revoke_key(&id, &why).await;
        let what = if revoked.is_ok() { "was revoked again" } else { "has to be revoked" };
        Err(error.context(format!("the key {id} {what}")))
    }

    async fn activate(
        &self,
        remote: &Remote,
        client: &Client,
        open: &mut Open,
        id: &str,
        secret: Option<Zeroizing<String>>,
    ) -> anyhow::Result<Key> {
        let secret = secret.context("the server has given no secret: its first answer was lost on the way")?;
        self.store(open, &secret).await?;
        let caller = remote.client_as(SecretText::new(&secret))?;
        ensure!(proven(&caller).await?.is_none(), "the new key passed before it was activated");
        client.activate_key(id).await?;
        let used = proven(&caller).await?;
        self.finish(open).await?;
        match used {
            Some(key) => Ok(key),
            None => Ok(client.get_key(id).await?),
        }
    }

    /// Rotates a key whose new secret goes here. The new secret is first used once it was read back: until then nothing has
    /// changed for those who have the old one.
    pub async fn rotate(&self, remote: &Remote, client: &Client, id: &str, body: &RotateKey) -> anyhow::Result<Key> {
        let mut open = self.open().await?;
        let (id, secret) = taken(client.rotate_key(id, body, None).await?);
        let Some(secret) = secret else {
            bail!("a rotation has begun before, and its secret is not shown again: --replace makes another one");
        };
        let tried = async {
            self.store(&mut open, &secret).await?;
            proven(&remote.client_as(SecretText::new(&secret))?).await
        };
        let error = match tried.await {
            Ok(used) => match (self.finish(&open).await, used) {
                (Ok(()), Some(key)) => return Ok(key),
                (Ok(()), None) => return Ok(client.get_key(&id).await?),
                // It was let in, so the old secret ends: what would be put back is of no use for long.
                (Err(error), Some(_)) => {
                    let next =
                        "the new secret is in use: move AWSCURRENT to its version, AWSPENDING, before the old one ends";
                    return Err(error.context(format!("{id}: {next}")));
                }
                (Err(error), None) => error,
            },
            Err(error) => error,
        };
        let error = self.undo(&mut open, error).await;
        let next = "the old secret still works; rotate again with --replace once this is mended";
        Err(error.context(format!("{id}: {next}")))
    }
}

/// Whether the server knows this secret: its key, where it may call from here. A key that waits for its activation, whose
/// allowlist does not name this machine, or that has asked too often is told so only to whoever has its right secret.
async fn proven(caller: &Client) -> anyhow::Result<Option<Key>> {
    match caller.me().await {
        Ok(me) => Ok(Some(me.key)),
        Err(error) => match error.problem() {
            Some(problem)
                if problem.status == 403 || ["pending_key", "rate_limited"].contains(&problem.code.as_str()) =>
            {
                Ok(None)
            }
            _ => Err(error.into()),
        },
    }
}

/// A vault's words about a refusal, of which it is not known what they repeat: one line, not long, without the secrets that
/// were sent.
fn quoted(text: &str, sent: &[&str]) -> String {
    let mut text = Zeroizing::new(crate::output::plain(text));
    for secret in sent.iter().filter(|secret| !secret.is_empty()) {
        text = Zeroizing::new(text.replace(secret, "…"));
    }
    // Also what is cut off, so that its checksum no longer tells: nothing that begins like a key is shown.
    let mut shown = String::new();
    for (number, piece) in text.split(secret::PREFIX).enumerate() {
        let piece = match number {
            0 => piece,
            _ => {
                shown.push_str("iusk_…");
                piece.trim_start_matches(|letter: char| letter.is_ascii_alphanumeric() || letter == '_')
            }
        };
        shown.push_str(piece);
    }
    match shown.char_indices().nth(WORDS_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &shown[..end]),
        None => shown,
    }
}

/// Every text in these fields, however deep: what a vault's refusal must not repeat.
fn texts(fields: &serde_json::Map<String, serde_json::Value>) -> Vec<&str> {
    fn add<'a>(value: &'a serde_json::Value, all: &mut Vec<&'a str>) {
        match value {
            serde_json::Value::String(text) => all.push(text),
            serde_json::Value::Array(list) => list.iter().for_each(|value| add(value, all)),
            serde_json::Value::Object(fields) => fields.values().for_each(|value| add(value, all)),
            _ => {}
        }
    }
    let mut all = Vec::new();
    fields.values().for_each(|value| add(value, &mut all));
    // The longest first: a short one may be a part of it.
    all.sort_by_key(|text| std::cmp::Reverse(text.len()));
    all
}

/// The key's id and its secret, which is nowhere else any more.
fn taken(made: CreatedKey) -> (String, Option<Zeroizing<String>>) {
    (made.key.id, made.secret.map(Zeroizing::new))
}

/// A client for a vault: TLS to wherever it is not on this machine, no detours.
fn http_client(url: &reqwest::Url, ca_pem: Option<&[u8]>) -> anyhow::Result<reqwest::Client> {
    // RFC 6761: localhost is this machine.
    let is_here = match url.host_str() {
        Some("localhost") => true,
        Some(host) => {
            host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        None => false,
    };
    ensure!(url.scheme() == "https" || is_here, "{url} is not https://: the secret would go over the network in clear");
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("iusign/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .timeout(std::time::Duration::from_millis(TIMEOUT_MS));
    if is_here {
        // A proxy that the environment names for http:// would get the secret in clear.
        builder = builder.no_proxy();
    }
    if let Some(pem) = ca_pem {
        builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem)?);
    }
    Ok(builder.build()?)
}

/// How long a vault may take to answer.
const TIMEOUT_MS: u64 = 30_000;
/// Characters of a vault's refusal that are shown at most.
const WORDS_CHARS_MAX: usize = 300;
/// Bytes of a vault's answer at most.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// A vault's answer: its status and its JSON, null where it is none.
async fn answer(request: reqwest::RequestBuilder) -> anyhow::Result<(u16, serde_json::Value)> {
    let mut response = request.send().await.map_err(reqwest::Error::without_url).context("it gives no answer")?;
    let status = response.status().as_u16();
    let mut bytes = Zeroizing::new(Vec::new());
    while let Some(piece) = response.chunk().await.map_err(reqwest::Error::without_url)? {
        ensure!(bytes.len() + piece.len() <= ANSWER_BYTES_MAX, "its answer is too long");
        bytes.extend_from_slice(&piece);
    }
    Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_read_and_told_alike() {
        for (text, want) in [
            ("vault:secret/billing/iusign", "vault:secret/billing/iusign#IUSIGN_API_KEY"),
            ("vault:/team/kv/a/#key", "vault:team/kv/a#key"),
            ("aws-secretsmanager:prod/iusign", "aws-secretsmanager:prod/iusign"),
            ("aws-secretsmanager:prod/iusign#key", "aws-secretsmanager:prod/iusign#key"),
            ("file:/run/secrets/iusign#1", "file:/run/secrets/iusign#1"),
            ("env-file:.env", "env-file:.env#IUSIGN_API_KEY"),
            ("env-file:/etc/app.env#SIGN_KEY", "env-file:/etc/app.env#SIGN_KEY"),
        ] {
            assert_eq!(text.parse::<Destination>().map(|to| to.to_string()).as_deref(), Ok(want));
        }
        for text in [
            "",
            "secret",
            "file:",
            "vault:a#",
            "vault:#a",
            "s3:bucket",
            "env-file:a#1A",
            "env-file:a#A-B",
            "vault:a#b c",
        ] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_a_vault_repeats_is_shown_without_secrets_in_one_short_line() {
        const KEY: &str = "iusk_dev_01j0000000e008000000000001_00000000000000000000000000000000000000000001Eoj5w";
        for (text, shown) in [
            ("permission denied".to_owned(), "permission denied".to_owned()),
            (format!("bad {KEY}\", and\nmore"), "bad iusk_…\", and more".to_owned()),
            (format!("cut: {}", &KEY[..60]), "cut: iusk_…".to_owned()),
            ("other=hunter2, other=hunter".to_owned(), "other=…, other=…".to_owned()),
            ("é".repeat(400), format!("{}…", "é".repeat(WORDS_CHARS_MAX))),
        ] {
            assert_eq!(quoted(&text, &["hunter2", "hunter", ""]), shown);
        }
        let fields = serde_json::json!({"a": "x", "b": {"c": ["longer", 1]}});
        assert_eq!(texts(fields.as_object().expect("fields")), ["longer", "x"]);
    }

    #[test]
    fn a_vault_elsewhere_is_reached_by_tls_only() {
        for (url, may) in [
            ("http://127.0.0.1:8200", true),
            ("http://[::1]:8200", true),
            ("http://localhost:8200", true),
            ("https://vault.example.com", true),
            ("http://vault.example.com:8200", false),
            ("http://127.0.0.1.example.com", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(http_client(&url.parse().expect("a URL"), None).is_ok(), may, "{url}");
        }
    }
}
