//! HashiCorp Vault and OpenBao, KV version 2: one field of a secret, written by check-and-set beside the others.

use std::{env, fs};

use anyhow::{Context, bail, ensure};
use reqwest::{Client, Method, Url};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::{answer, http_client, quoted, texts};

/// A place in a vault that was looked at.
pub struct Vault {
    http: Client,
    address: Url,
    token: Zeroizing<String>,
    namespace: Option<String>,
    /// `MOUNT/data/PATH`.
    data: String,
    field: String,
    fields: Map<String, Value>,
    version: u64,
    /// What was there before we wrote, once we have.
    before: Option<Map<String, Value>>,
}

impl Vault {
    /// Looks at the place with what the vault's own program would use: VAULT_ADDR, VAULT_TOKEN (or the file that a login
    /// leaves), VAULT_NAMESPACE, VAULT_CACERT.
    pub async fn open(path: &str, field: &str) -> anyhow::Result<Self> {
        let address = env::var("VAULT_ADDR").context("VAULT_ADDR is not set")?;
        let address: Url = address.parse().context("VAULT_ADDR is no URL")?;
        let ca = env::var_os("VAULT_CACERT").map(fs::read).transpose().context("VAULT_CACERT can't be read")?;
        let mut vault = Self {
            http: http_client(&address, ca.as_deref())?,
            address,
            token: token()?,
            namespace: env::var("VAULT_NAMESPACE").ok().filter(|name| !name.is_empty()),
            data: String::new(),
            field: field.to_owned(),
            fields: Map::new(),
            version: 0,
            before: None,
        };
        let (mount, rest) = vault.mount(path).await?;
        vault.data = format!("{mount}data/{rest}");
        vault.look().await?;
        Ok(vault)
    }

    /// The mount of a path and what follows it; a mount's own name may have slashes.
    async fn mount(&self, path: &str) -> anyhow::Result<(String, String)> {
        let (status, said) = self.ask(Method::GET, &format!("sys/internal/ui/mounts/{path}"), None).await?;
        ensure!(status == 200, "{path} is in no mount that this token may see ({})", self.words(status, &said));
        let mount = said["data"]["path"].as_str().context("the vault does not name the mount")?;
        let version = said["data"]["options"]["version"].as_str().unwrap_or("1");
        ensure!(version == "2", "{mount} is no KV engine of version 2");
        match format!("{path}/").strip_prefix(mount).map(|rest| rest.trim_matches('/')) {
            Some(rest) if !rest.is_empty() => Ok((mount.to_owned(), rest.to_owned())),
            _ => bail!("{path} names the mount alone: name a path below it"),
        }
    }

    /// What is there now, so that the other fields stay.
    async fn look(&mut self) -> anyhow::Result<()> {
        let (status, said) = self.ask(Method::GET, &self.data, None).await?;
        ensure!(matches!(status, 200 | 404), "it can't be read: {}", self.words(status, &said));
        // A version that was deleted is answered 404, with its number.
        self.version = said["data"]["metadata"]["version"].as_u64().unwrap_or(0);
        self.fields = said["data"]["data"].as_object().cloned().unwrap_or_default();
        Ok(())
    }

    /// Writes the secret; the answer is what the vault gives out then.
    pub async fn write(&mut self, secret: &Zeroizing<String>) -> anyhow::Result<Zeroizing<String>> {
        let before = self.fields.clone();
        self.fields.insert(self.field.clone(), Value::String(secret.as_str().to_owned()));
        self.put().await?;
        self.before = Some(before);
        self.look().await?;
        let back = self.fields.get(&self.field).and_then(Value::as_str).unwrap_or_default();
        Ok(Zeroizing::new(back.to_owned()))
    }

    /// Writes what was there before the secret; whether there was anything to undo. Where nothing was there, an empty secret
    /// takes the place of one that opens nothing.
    pub async fn undo(&mut self) -> anyhow::Result<bool> {
        let Some(before) = self.before.take() else { return Ok(false) };
        self.fields = before;
        self.put().await?;
        Ok(true)
    }

    async fn put(&self) -> anyhow::Result<()> {
        // Refused where somebody else has written since: nothing of theirs is lost.
        let body = json!({"options": {"cas": self.version}, "data": self.fields});
        let (status, said) = self.ask(Method::POST, &self.data, Some(&body)).await?;
        ensure!(status == 200, "the vault refuses it: {}", self.words(status, &said));
        Ok(())
    }

    /// A refusal in the vault's words, which may repeat what was sent.
    fn words(&self, status: u16, said: &Value) -> String {
        let errors = said["errors"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let errors = errors.map(str::trim).collect::<Vec<_>>().join(", ");
        let mut sent = texts(&self.fields);
        sent.push(&self.token);
        format!("{status} {}", quoted(&errors, &sent)).trim_end().to_owned()
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<(u16, Value)> {
        let mut url = self.address.clone();
        let segments = url.path_segments_mut().map_err(|()| anyhow::anyhow!("VAULT_ADDR can't hold a path"));
        // Each segment is encoded: no `..` or `?` in a path leads elsewhere.
        segments?.pop_if_empty().push("v1").extend(path.split('/').filter(|part| !part.is_empty()));
        let mut token =
            reqwest::header::HeaderValue::from_str(&self.token).context("VAULT_TOKEN is no header's value")?;
        token.set_sensitive(true);
        let mut request =
            self.http.request(method, url).header("x-vault-token", token).header("x-vault-request", "true");
        if let Some(namespace) = &self.namespace {
            request = request.header("x-vault-namespace", namespace);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        answer(request).await.context("VAULT_ADDR")
    }
}

/// The token, from where the vault's own program takes it.
fn token() -> anyhow::Result<Zeroizing<String>> {
    if let Ok(token) = env::var("VAULT_TOKEN") {
        return Ok(Zeroizing::new(token.trim().to_owned()));
    }
    let home = env::var_os("HOME").context("VAULT_TOKEN is not set")?;
    let file = std::path::Path::new(&home).join(".vault-token");
    let text =
        fs::read_to_string(file).map(Zeroizing::new).context("VAULT_TOKEN is not set, and nobody has logged in")?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}
