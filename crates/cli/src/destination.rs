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
use serde_json::json;
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

    /// Makes a key whose secret goes here. It is pending until its secret was read back and the server has said that it is
    /// the right one; where anything fails, it is revoked.
    pub async fn create(&self, remote: &Remote, client: &Client, body: NewKey) -> anyhow::Result<Key> {
        let mut open = self.open().await?;
        let made = client.create_key(&NewKey { pending: true, ..body }, None).await?;
        let (id, secret) = taken(made)?;
        let secret = secret.context("the server has given no secret")?;
        let activated = async {
            self.store(&mut open, &secret).await?;
            let caller = remote.client_as(SecretText::new(&secret))?;
            // Only the right secret of a pending key is answered like this.
            match caller.me().await {
                Err(error) if error.problem().is_some_and(|problem| problem.code == "pending_key") => {}
                Err(error) => return Err(error.into()),
                Ok(_) => bail!("the new key passed before it was activated"),
            }
            client.post::<Key>(&format!("v1/keys/{id}/activate"), &json!({})).await?;
            self.finish(&open).await?;
            Ok(caller.me().await?.key)
        };
        let activated = activated.await;
        if activated.is_err() {
            let why = RevokeKey { reason: None, note: "Its secret could not be stored.".to_owned() };
            let revoked = client.revoke_key(&id, &why).await;
            let what = if revoked.is_ok() { "was revoked again" } else { "has to be revoked" };
            return activated.with_context(|| format!("the key {id} {what}"));
        }
        activated
    }

    /// Rotates a key whose new secret goes here. The new secret is first used once it was read back: until then nothing has
    /// changed for those who have the old one.
    pub async fn rotate(&self, remote: &Remote, client: &Client, id: &str, body: &RotateKey) -> anyhow::Result<Key> {
        let mut open = self.open().await?;
        let (id, secret) = taken(client.post(&format!("v1/keys/{id}/rotate"), body).await?)?;
        let Some(secret) = secret else {
            bail!("a rotation has begun before, and its secret is not shown again: --replace makes another one");
        };
        let used = async {
            self.store(&mut open, &secret).await?;
            let me = remote.client_as(SecretText::new(&secret))?.me().await?;
            self.finish(&open).await?;
            anyhow::Ok(me.key)
        };
        used.await.with_context(|| {
            format!("{id}: the old secret still works; rotate again with --replace once this is mended")
        })
    }
}

/// The key's id and its secret, which is nowhere else any more.
fn taken(made: CreatedKey) -> anyhow::Result<(String, Option<Zeroizing<String>>)> {
    Ok((made.key.id, made.secret.map(Zeroizing::new)))
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
    if let Some(pem) = ca_pem {
        builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem)?);
    }
    Ok(builder.build()?)
}

/// How long a vault may take to answer.
const TIMEOUT_MS: u64 = 30_000;
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
