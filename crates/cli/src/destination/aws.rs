//! AWS Secrets Manager, by its two stages: a new secret is `AWSPENDING` until it was tried, then `AWSCURRENT`.
//!
//! Signature version 4 is written out here: one POST without path and query needs sixty lines of it, and the SDK would
//! bring two hundred crates.

use std::env;

use anyhow::{Context, bail, ensure};
use app::SystemClock;
use hmac::{Hmac, Mac};
use model::{Clock, event::hex};
use reqwest::{Client, Url};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{answer, http_client, quoted, texts};

/// The service's name in signatures and host names.
const SERVICE: &str = "secretsmanager";
/// A secret that is waiting to be tried.
const PENDING: &str = "AWSPENDING";
/// The secret that programs get.
const CURRENT: &str = "AWSCURRENT";

/// A secret of AWS that was looked at.
pub struct Aws {
    http: Client,
    url: Url,
    region: String,
    credentials: Credentials,
    name: String,
    field: Option<String>,
    /// The version that programs get; none: there is no such secret yet.
    current: Option<String>,
    fields: Map<String, Value>,
    written: Option<String>,
}

struct Credentials {
    id: String,
    secret: Zeroizing<String>,
    session: Option<Zeroizing<String>>,
}

impl Aws {
    /// Looks at the secret with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_REGION.
    pub async fn open(name: &str, field: Option<&str>) -> anyhow::Result<Self> {
        let region =
            env::var("AWS_REGION").or_else(|_| env::var("AWS_DEFAULT_REGION")).context("AWS_REGION is not set")?;
        let is_region = region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        ensure!(is_region, "AWS_REGION is no region");
        let own =
            ["AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL"].into_iter().find_map(|name| env::var(name).ok());
        let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
        let url = own.unwrap_or_else(|| format!("https://{SERVICE}.{region}.amazonaws.com{suffix}"));
        let url: Url = url.parse().context("AWS_ENDPOINT_URL is no URL")?;
        let variable = |name: &'static str| env::var(name).with_context(|| format!("{name} is not set"));
        let credentials = Credentials {
            id: variable("AWS_ACCESS_KEY_ID")?,
            secret: Zeroizing::new(variable("AWS_SECRET_ACCESS_KEY")?),
            session: env::var("AWS_SESSION_TOKEN").ok().map(Zeroizing::new),
        };
        let mut aws = Self {
            http: http_client(&url, None)?,
            url,
            region,
            credentials,
            name: name.to_owned(),
            field: field.map(str::to_owned),
            current: None,
            fields: Map::new(),
            written: None,
        };
        aws.look().await?;
        Ok(aws)
    }

    /// What is there now, so that the other fields stay.
    async fn look(&mut self) -> anyhow::Result<()> {
        let body = json!({"SecretId": self.name, "VersionStage": CURRENT});
        let (status, said) = self.ask("GetSecretValue", &body).await?;
        if status != 200 && kind(&said) == "ResourceNotFoundException" {
            return Ok(());
        }
        ensure!(status == 200, "it can't be read: {}", self.words(status, &said));
        self.current = said["VersionId"].as_str().map(str::to_owned);
        let text = said["SecretString"].as_str().unwrap_or_default();
        match (&self.field, serde_json::from_str(text)) {
            (Some(_), Ok(fields)) => self.fields = fields,
            (Some(_), Err(_)) => bail!("it holds no JSON object, so it has no fields"),
            (None, Ok::<Map<String, Value>, _>(_)) => bail!("it holds a JSON object: name the field, as NAME#FIELD"),
            (None, Err(_)) => {}
        }
        Ok(())
    }

    /// Writes the secret as the pending version, where there is a current one; the answer is what AWS gives out for it then.
    pub async fn write(&mut self, secret: &Zeroizing<String>) -> anyhow::Result<Zeroizing<String>> {
        let text = match &self.field {
            None => secret.clone(),
            Some(field) => {
                self.fields.insert(field.clone(), Value::String(secret.as_str().to_owned()));
                Zeroizing::new(Value::Object(self.fields.clone()).to_string())
            }
        };
        // Makes a repeated call the same one; also the version's id.
        let token = client::idempotency_key();
        ensure!(!token.is_empty(), "there are no random bits");
        let (status, said) = if self.current.is_none() {
            let body = json!({"Name": self.name, "SecretString": text.as_str(), "ClientRequestToken": token});
            self.ask("CreateSecret", &body).await?
        } else {
            let body = json!({
                "SecretId": self.name, "SecretString": text.as_str(), "ClientRequestToken": token,
                "VersionStages": [PENDING],
            });
            self.ask("PutSecretValue", &body).await?
        };
        ensure!(status == 200, "AWS refuses it: {}", self.words(status, &said));
        let version = said["VersionId"].as_str().context("AWS names no version")?.to_owned();
        self.written = Some(version.clone());
        let (status, said) = self.ask("GetSecretValue", &json!({"SecretId": self.name, "VersionId": version})).await?;
        ensure!(status == 200, "it can't be read back: {}", self.words(status, &said));
        let back = said["SecretString"].as_str().unwrap_or_default();
        let fields = || serde_json::from_str::<Map<String, Value>>(back).unwrap_or_default();
        Ok(Zeroizing::new(match &self.field {
            None => back.to_owned(),
            Some(field) => fields().get(field).and_then(Value::as_str).unwrap_or_default().to_owned(),
        }))
    }

    /// Makes the pending version the one that programs get.
    pub async fn finish(&self) -> anyhow::Result<()> {
        let (Some(written), Some(before)) = (&self.written, &self.current) else { return Ok(()) };
        let body = json!({
            "SecretId": self.name, "VersionStage": CURRENT, "MoveToVersionId": written, "RemoveFromVersionId": before,
        });
        let (status, said) = self.ask("UpdateSecretVersionStage", &body).await?;
        ensure!(status == 200, "AWS refuses it: {}", self.words(status, &said));
        // Where it stays, it does no harm: AWS takes a current version that is pending too for a rotation that is over.
        let _: anyhow::Result<_> = self.release(written).await;
        Ok(())
    }

    /// Takes the stage of what waits to be tried from this version.
    async fn release(&self, version: &str) -> anyhow::Result<()> {
        let body = json!({"SecretId": self.name, "VersionStage": PENDING, "RemoveFromVersionId": version});
        let (status, said) = self.ask("UpdateSecretVersionStage", &body).await?;
        ensure!(status == 200, "AWS refuses it: {}", self.words(status, &said));
        Ok(())
    }

    /// Takes the pending version back; whether there was one. The current one is as it was; a secret that was not there before
    /// stays, and opens nothing.
    pub async fn undo(&mut self) -> anyhow::Result<bool> {
        let (Some(written), Some(_)) = (self.written.take(), &self.current) else { return Ok(false) };
        self.release(&written).await?;
        Ok(true)
    }

    /// A refusal in AWS's words, which may repeat what was sent.
    fn words(&self, status: u16, said: &Value) -> String {
        let message = said["message"].as_str().or(said["Message"].as_str()).unwrap_or_default();
        let mut sent = texts(&self.fields);
        sent.push(&self.credentials.secret);
        sent.extend(self.credentials.session.as_ref().map(|session| session.as_str()));
        format!("{status} {} {}", quoted(kind(said), &sent), quoted(message, &sent)).trim_end().to_owned()
    }

    async fn ask(&self, action: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
        let body = Zeroizing::new(body.to_string());
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let host = format!("{}{port}", self.url.host_str().unwrap_or_default());
        // 2026-11-27T18:32:17.007Z as 20261127T183217Z
        let now: String = SystemClock.now().to_string();
        let time = format!("{}Z", now[..19].replace(['-', ':'], ""));
        let target = format!("{SERVICE}.{action}");
        let mut headers = vec![
            ("content-type", "application/x-amz-json-1.1"),
            ("host", host.as_str()),
            ("x-amz-date", time.as_str()),
        ];
        if let Some(session) = &self.credentials.session {
            headers.push(("x-amz-security-token", session.as_str()));
        }
        headers.push(("x-amz-target", target.as_str()));
        let signature = authorization(&self.credentials, &self.region, SERVICE, &headers, body.as_bytes());
        let mut request = self.http.post(self.url.clone()).header("authorization", signature);
        for (name, value) in headers.iter().filter(|(name, _)| *name != "host") {
            request = request.header(*name, *value);
        }
        answer(request.body(body.as_str().to_owned())).await.context("AWS")
    }
}

/// `Authorization` of a POST of `/` with these headers, sorted by their names (AWS Signature Version 4).
fn authorization(
    credentials: &Credentials,
    region: &str,
    service: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> String {
    let time = headers.iter().find(|(name, _)| *name == "x-amz-date").map_or("", |(_, value)| *value);
    let day = time.get(..8).unwrap_or_default();
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let canonical = format!("POST\n/\n\n{lines}\n{names}\n{}", hex(&Sha256::digest(body)));
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(canonical.as_bytes())));
    let first = Zeroizing::new(format!("AWS4{}", credentials.secret.as_str()).into_bytes());
    let parts = [day, region, service, "aws4_request"];
    let key = parts.iter().fold(first, |key, part| Zeroizing::new(mac(&key, part.as_bytes())));
    let signature = hex(&mac(&key, to_sign.as_bytes()));
    format!("AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}", credentials.id)
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// The error's name, behind a namespace or not.
fn kind(said: &Value) -> &str {
    let name = said["__type"].as_str().unwrap_or_default();
    name.rsplit_once('#').map_or(name, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `post-vanilla` of the test suite that AWS publishes for signature version 4.
    #[test]
    fn the_published_signature_is_made() {
        let secret = Zeroizing::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned());
        let credentials = Credentials { id: "AKIDEXAMPLE".to_owned(), secret, session: None };
        let headers = [("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")];
        assert_eq!(
            authorization(&credentials, "us-east-1", "service", &headers, b""),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
        );
    }
}
