//! GitHub's secret scanning partner program: whose signature a payload bears, by the public keys that GitHub publishes.

use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use base64::{Engine, prelude::BASE64_STANDARD};
use model::time::{DAY_MS, MINUTE_MS};
use model::{Code, Problem, Timestamp};
use serde::Deserialize;
use tokio::sync::Mutex;

/// Bytes of the list of keys at most.
const LIST_BYTES_MAX: usize = 256 * 1024;
/// Keys of it at most.
const KEYS_MAX: usize = 100;
/// How long its fetching may take.
const FETCH_MS_MAX: u64 = 10_000;
/// How often it is fetched at most, however many unknown keys are named.
const FETCH_EVERY_MS: i64 = MINUTE_MS;
/// After how long a payload may be sent again when the list can't be fetched.
const RETRY_AFTER_S: u32 = 60;
/// How long it is believed: GitHub may withdraw a key.
const BELIEVED_MS: i64 = DAY_MS;

/// GitHub's public keys, fetched when one is named that is not known.
pub(crate) struct GithubKeys {
    /// A file, or an `https://` URL; none: GitHub's payloads are refused.
    source: Option<String>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    keys: Vec<PublicKey>,
    /// When it was asked for last, and when it came last.
    tried_at: Option<Timestamp>,
    fetched_at: Option<Timestamp>,
    has_failed: bool,
}

/// One key of GitHub's list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct PublicKey {
    key_identifier: String,
    /// PEM.
    key: String,
}

#[derive(Deserialize)]
struct List {
    public_keys: Vec<PublicKey>,
}

impl GithubKeys {
    /// The keys of this file or URL. Nothing is fetched yet.
    pub(crate) fn new(source: Option<String>) -> Self {
        Self { source, known: Mutex::default() }
    }

    /// Refuses a body that GitHub has not signed.
    pub(crate) async fn require_signature(
        &self,
        key_id: &str,
        signature: &str,
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), Problem> {
        let Some(source) = &self.source else {
            return Err(Problem::new(
                Code::SignatureInvalid,
                "This server takes no reports of GitHub: it knows no keys.",
            ));
        };
        match self.key(source, key_id, now).await? {
            Some(key) if is_signed(&key, signature, body) => Ok(()),
            Some(_) => Err(Problem::new(Code::SignatureInvalid, "The signature does not fit the body.")),
            None => {
                Err(Problem::new(Code::SignatureInvalid, "No key of GitHub has the identifier that the header names."))
            }
        }
    }

    /// The key with this identifier. While one asks for the list, the others wait for it.
    async fn key(&self, source: &str, key_id: &str, now: Timestamp) -> Result<Option<PublicKey>, Problem> {
        let mut known = self.known.lock().await;
        let find = |keys: &[PublicKey]| keys.iter().find(|key| key.key_identifier == key_id).cloned();
        let ago_ms = |at: Option<Timestamp>| at.map_or(i64::MAX, |at| now.millis() - at.millis());
        let is_fresh = find(&known.keys).is_some() && ago_ms(known.fetched_at) < BELIEVED_MS;
        // Also after a failure it is not asked again at once.
        if !is_fresh && ago_ms(known.tried_at) >= FETCH_EVERY_MS {
            known.tried_at = Some(now);
            let fetched = fetch(source).await.and_then(|bytes| read(&bytes));
            known.has_failed = fetched.is_err();
            match fetched {
                Ok(keys) => (known.keys, known.fetched_at) = (keys, Some(now)),
                Err(why) => tracing::warn!(source, why, "GitHub's public keys can't be fetched"),
            }
        }
        if ago_ms(known.fetched_at) >= BELIEVED_MS {
            known.keys.clear();
        }
        match find(&known.keys) {
            None if known.has_failed => {
                let detail = "GitHub's public keys can't be fetched now.";
                Err(Problem::new(Code::Unavailable, detail).retry_after(RETRY_AFTER_S))
            }
            found => Ok(found),
        }
    }
}

async fn fetch(source: &str) -> Result<Vec<u8>, String> {
    if !source.starts_with("https://") {
        return tokio::fs::read(source).await.map_err(|error| error.to_string());
    }
    // Another part of the program may have chosen one already: that is used then.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let told = |error: reqwest::Error| model::causes(&error);
    let client = reqwest::Client::builder()
        .https_only(true)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_millis(FETCH_MS_MAX))
        .user_agent(concat!("iusign/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(told)?;
    let response = client.get(source).send().await.and_then(reqwest::Response::error_for_status);
    let mut response = response.map_err(told)?;
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(told)? {
        if bytes.len() + piece.len() > LIST_BYTES_MAX {
            return Err("the list is too long".to_owned());
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

fn read(list: &[u8]) -> Result<Vec<PublicKey>, String> {
    if list.len() > LIST_BYTES_MAX {
        return Err("the list is too long".to_owned());
    }
    let List { mut public_keys } = serde_json::from_slice(list).map_err(|error| error.to_string())?;
    public_keys.truncate(KEYS_MAX);
    Ok(public_keys)
}

/// ECDSA on P-256 with SHA-256 over the body's bytes; the signature is DER in base64.
fn is_signed(key: &PublicKey, signature: &str, body: &[u8]) -> bool {
    let lines = key.key.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
    let Ok(der) = BASE64_STANDARD.decode(lines.collect::<String>()) else { return false };
    let Ok(signature) = BASE64_STANDARD.decode(signature.trim()) else { return false };
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, der).verify(body, &signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn signer() -> (EcdsaKeyPair, String) {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key");
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("DER");
        let pem =
            format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64_STANDARD.encode(der.as_ref()));
        (pair, pem)
    }

    fn list(keys: &[(&str, &str)]) -> String {
        let keys: Vec<_> = keys
            .iter()
            .map(|(id, key)| serde_json::json!({"key_identifier": id, "key": key, "is_current": true}))
            .collect();
        serde_json::json!({"public_keys": keys}).to_string()
    }

    fn signature(pair: &EcdsaKeyPair, body: &[u8]) -> String {
        BASE64_STANDARD.encode(pair.sign(&SystemRandom::new(), body).expect("signed"))
    }

    #[tokio::test]
    async fn what_github_signed_passes_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("keys.json");
        let ((pair, pem), (other, _)) = (signer(), signer());
        std::fs::write(&file, list(&[("one", &pem)])).expect("written");
        let keys = GithubKeys::new(Some(file.display().to_string()));
        let asked = async |id: &str, signature: &str, body: &[u8], now| {
            keys.require_signature(id, signature, body, now).await.map_err(|problem| problem.code)
        };
        let good = signature(&pair, b"[]");
        assert_eq!(asked("one", &good, b"[]", NOW).await, Ok(()));
        assert_eq!(asked("one", &good, b"[ ]", NOW).await, Err(Code::SignatureInvalid));
        assert_eq!(asked("one", &signature(&other, b"[]"), b"[]", NOW).await, Err(Code::SignatureInvalid));
        for junk in ["", "%", "AAAA"] {
            assert_eq!(asked("one", junk, b"[]", NOW).await, Err(Code::SignatureInvalid));
        }
        assert_eq!(asked("two", &good, b"[]", NOW).await, Err(Code::SignatureInvalid));
        // A new key is found at the next look, and a withdrawn one is believed for a day at most.
        std::fs::write(&file, list(&[("two", &pem)])).expect("written");
        assert_eq!(asked("two", &good, b"[]", NOW).await, Err(Code::SignatureInvalid));
        assert_eq!(asked("one", &good, b"[]", NOW.plus(FETCH_EVERY_MS)).await, Ok(()));
        assert_eq!(asked("two", &good, b"[]", NOW.plus(FETCH_EVERY_MS)).await, Ok(()));
        assert_eq!(asked("one", &good, b"[]", NOW.plus(2 * FETCH_EVERY_MS)).await, Err(Code::SignatureInvalid));
    }

    #[tokio::test]
    async fn without_keys_nobody_is_believed() {
        let asked = |keys: GithubKeys| async move { keys.require_signature("one", "", b"[]", NOW).await };
        assert_eq!(asked(GithubKeys::new(None)).await.map_err(|problem| problem.code), Err(Code::SignatureInvalid));
        let missing = GithubKeys::new(Some("/nowhere/keys.json".to_owned()));
        assert_eq!(asked(missing).await.map_err(|problem| problem.code), Err(Code::Unavailable));
    }
}
