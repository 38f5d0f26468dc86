//! One request and its retries: what is safe to send again is, after the time that the server names.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use reqwest::{
    Method, Response, StatusCode, Url,
    header::{
        ACCEPT, AUTHORIZATION, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::AsyncWriteExt;

use crate::{Error, SecretText};

/// How long a connection may take to stand.
const CONNECT_MS_MAX: u64 = 10_000;
/// How long the server may be silent within an answer. Long polls wait 30 s at most.
const SILENCE_MS_MAX: u64 = 75_000;
/// How often a request is sent at most.
const TRIES_MAX: u32 = 6;
/// The first pause between two tries, where the server names none; it doubles.
const PAUSE_MS: u64 = 200;
/// The longest pause that is waited for; a longer `Retry-After` is the caller's.
const PAUSE_MS_MAX: u64 = 30_000;
/// A problem's body at most: more is not one.
const PROBLEM_BYTES_MAX: usize = 1024 * 1024;

/// A server's API with a key. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    base: Url,
    key: SecretText,
    http: reqwest::Client,
}

/// What a request carries.
#[derive(Clone, Debug)]
pub enum Body {
    /// Nothing.
    Empty,
    /// JSON.
    Json(Bytes),
    /// These bytes.
    Bytes {
        /// What they are, as `text/csv`.
        content_type: String,
        /// The bytes.
        bytes: Bytes,
    },
    /// A file, streamed; opened again for each try.
    File {
        /// What it is.
        content_type: String,
        /// Where it lies.
        path: PathBuf,
    },
}

impl Body {
    /// `value` as JSON.
    pub fn json(value: &impl Serialize) -> Result<Self, Error> {
        let bytes = serde_json::to_vec(value).map_err(|error| Error::Setup(format!("the body is no JSON: {error}")))?;
        Ok(Self::Json(bytes.into()))
    }
}

/// A file on its way in.
#[derive(Debug)]
pub struct Download {
    response: Response,
    url: String,
}

/// A fresh `Idempotency-Key`: 128 random bits.
pub fn idempotency_key() -> String {
    let mut bits = [0; 16];
    // Without random bits the key would be another request's: the call goes without one then.
    if getrandom::fill(&mut bits).is_err() {
        return String::new();
    }
    bits.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Client {
    /// A client of the server at `url`, `https://…`. `ca_pem`: certificates to trust in place of the machine's.
    pub fn new(url: &str, key: SecretText, ca_pem: Option<&[u8]>) -> Result<Self, Error> {
        let mut base: Url = url
            .parse()
            .map_err(|_| Error::Setup("the server's URL can't be read: write it as https://sign.example.com".into()))?;
        if base.scheme() != "https" {
            return Err(Error::Setup(
                "the server's URL has to begin with https://: keys never go over plain HTTP".into(),
            ));
        }
        if !base.path().ends_with('/') {
            let path = format!("{}/", base.path());
            base.set_path(&path);
        }
        // Another part of the program may have chosen one already: that is used then.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("iusign-client/", env!("CARGO_PKG_VERSION")))
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_millis(CONNECT_MS_MAX))
            .read_timeout(Duration::from_millis(SILENCE_MS_MAX))
            .tls_version_min(reqwest::tls::Version::TLS_1_3);
        if let Some(pem) = ca_pem {
            let roots = reqwest::Certificate::from_pem_bundle(pem).map_err(|error| {
                Error::Setup(format!("the CA's file holds no certificate that can be read: {error}"))
            })?;
            if roots.is_empty() {
                // Nothing would be trusted, and every call would fail as if the server were to blame.
                return Err(Error::Setup("the CA's file holds no certificate: it is PEM, BEGIN CERTIFICATE".into()));
            }
            builder = builder.tls_certs_only(roots);
        }
        let http = builder.build().map_err(|error| Error::Setup(format!("the HTTPS client can't be made: {error}")))?;
        Ok(Self(Arc::new(Inner { base, key, http })))
    }

    /// The server's URL, with a slash at its end.
    pub fn base(&self) -> &Url {
        &self.0.base
    }

    /// `GET path?query`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, Error> {
        let response = self.send(Method::GET, path, query, &Body::Empty, HeaderMap::new()).await?;
        read_json(response).await
    }

    /// `POST path` with JSON, under an `Idempotency-Key` of its own.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Error> {
        self.submit(Method::POST, path, &[], &Body::json(body)?, None).await
    }

    /// A change with its answer; `idempotency` names it so that it is done once (a POST has a fresh one where none is
    /// given).
    pub async fn submit<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: &Body,
        idempotency: Option<&str>,
    ) -> Result<T, Error> {
        let mut headers = HeaderMap::new();
        if method == Method::POST {
            let fresh = idempotency_key();
            let name = idempotency.unwrap_or(&fresh);
            let value = HeaderValue::from_str(name)
                .map_err(|_| Error::Setup("an Idempotency-Key has visible ASCII characters only".into()))?;
            if !value.is_empty() {
                headers.insert("idempotency-key", value);
            }
        }
        read_json(self.send(method, path, query, body, headers).await?).await
    }

    /// `GET path` as a file.
    pub async fn download(&self, path: &str, query: &[(&str, &str)]) -> Result<Download, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        let response = self.send(Method::GET, path, query, &Body::Empty, headers).await?;
        let url = response.url().to_string();
        Ok(Download { response, url })
    }

    /// The request with its retries, up to an answer that is no refusal.
    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: &Body,
        headers: HeaderMap,
    ) -> Result<Response, Error> {
        let url = self.url(path, query)?;
        let repeatable = method != Method::POST || headers.contains_key("idempotency-key");
        let mut pause = Duration::from_millis(PAUSE_MS);
        for attempt in 1.. {
            let last = attempt == TRIES_MAX;
            let sent = self.once(&method, url.clone(), body, &headers).await?;
            let wait = match &sent {
                Ok(response) if response.status().is_success() => None,
                Ok(response) => again_after(response, pause),
                Err(cause) => (repeatable && !cause.is_builder() && !is_tls(cause)).then_some(pause),
            };
            match (wait, sent) {
                (Some(wait), _) if !last && wait <= Duration::from_millis(PAUSE_MS_MAX) => {
                    tokio::time::sleep(wait).await;
                    pause = pause.saturating_mul(2);
                }
                (_, Ok(response)) if response.status().is_success() => return Ok(response),
                (_, Ok(response)) => return Err(refusal(response).await),
                (_, Err(cause)) => {
                    return Err(Error::NoAnswer { url: self.0.base.to_string(), cause: cause.without_url() });
                }
            }
        }
        Err(Error::Setup("a request was never sent".into()))
    }

    /// One try. The outer error is this side's, the inner one the connection's.
    async fn once(
        &self,
        method: &Method,
        url: Url,
        body: &Body,
        headers: &HeaderMap,
    ) -> Result<Result<Response, reqwest::Error>, Error> {
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", self.0.key.expose()))
            .map_err(|_| Error::Setup("the secret key holds characters that no key has".into()))?;
        authorization.set_sensitive(true);
        let request =
            self.0.http.request(method.clone(), url).header(AUTHORIZATION, authorization).headers(headers.clone());
        let request = match body {
            Body::Empty => request,
            Body::Json(bytes) => request.header(CONTENT_TYPE, "application/json").body(bytes.clone()),
            Body::Bytes { content_type, bytes } => request.header(CONTENT_TYPE, content_type).body(bytes.clone()),
            Body::File { content_type, path } => {
                let failed = |cause| Error::File { what: format!("can't read {}", path.display()), cause };
                let file = tokio::fs::File::open(path).await.map_err(failed)?;
                let length = file.metadata().await.map_err(failed)?.len();
                request.header(CONTENT_TYPE, content_type).header(CONTENT_LENGTH, length).body(file)
            }
        };
        Ok(request.send().await)
    }

    fn url(&self, path: &str, query: &[(&str, &str)]) -> Result<Url, Error> {
        let joined = self.0.base.join(path.trim_start_matches('/'));
        let mut url = joined.map_err(|_| Error::Setup(format!("{path} is no path of the API")))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }
}

impl Download {
    /// The name that the server gives the file, without any folder.
    pub fn filename(&self) -> Option<String> {
        let text = self.response.headers().get(CONTENT_DISPOSITION)?.to_str().ok()?;
        let name = match text.split_once("filename*=UTF-8''") {
            Some((_, encoded)) => percent_decoded(encoded.split(';').next()?)?,
            None => text.split_once("filename=\"")?.1.split('"').next()?.to_owned(),
        };
        Path::new(&name).file_name().map(|name| name.to_string_lossy().into_owned())
    }

    /// Its size, where the server says so.
    pub fn size(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// Its bytes as they come.
    pub fn stream(self) -> impl Stream<Item = Result<Bytes, Error>> + Send {
        let url = self.url;
        self.response.bytes_stream().map(move |part| part.map_err(|cause| Error::NoAnswer { url: url.clone(), cause }))
    }

    /// All of it in memory.
    pub async fn bytes(self) -> Result<Bytes, Error> {
        let url = self.url;
        self.response.bytes().await.map_err(|cause| Error::NoAnswer { url, cause })
    }

    /// Writes it to `path`: whole and durable, or not at all.
    pub async fn save(self, path: &Path) -> Result<u64, Error> {
        let failed = |cause| Error::File { what: format!("can't write {}", path.display()), cause };
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".partial");
        let partial = path.with_file_name(name);
        let mut file = tokio::fs::File::create(&partial).await.map_err(failed)?;
        let mut size = 0;
        let mut parts = Box::pin(self.stream());
        while let Some(part) = parts.next().await {
            let part = part?;
            size += part.len() as u64;
            file.write_all(&part).await.map_err(failed)?;
        }
        file.sync_all().await.map_err(failed)?;
        drop(file);
        tokio::fs::rename(&partial, path).await.map_err(failed)?;
        Ok(size)
    }
}

/// When to send it again: the server can't now, or the first with the same name still runs.
fn again_after(response: &Response, pause: Duration) -> Option<Duration> {
    let named = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    match response.status() {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Some(named.map_or(pause, Duration::from_secs).max(pause))
        }
        // Only what names a time: idempotency_in_progress and not_ready do, other conflicts last.
        StatusCode::CONFLICT => named.map(Duration::from_secs),
        _ => None,
    }
}

/// A certificate that is not trusted stays so.
fn is_tls(error: &reqwest::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if cause.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        source = cause.source();
    }
    false
}

async fn read_json<T: DeserializeOwned>(response: Response) -> Result<T, Error> {
    let (url, status) = (response.url().to_string(), response.status().as_u16());
    let bytes = response.bytes().await.map_err(|cause| Error::NoAnswer { url: url.clone(), cause })?;
    // A 204 is answered with nothing, which only null reads as.
    let text: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
    serde_json::from_slice(text).map_err(|error| Error::NotUnderstood { url, status, detail: error.to_string() })
}

async fn refusal(response: Response) -> Error {
    let (url, status) = (response.url().to_string(), response.status().as_u16());
    match response.bytes().await {
        Ok(bytes) if bytes.len() <= PROBLEM_BYTES_MAX => match serde_json::from_slice(&bytes) {
            Ok(problem) => Error::Problem(Box::new(problem)),
            Err(error) => Error::NotUnderstood { url, status, detail: error.to_string() },
        },
        Ok(_) => Error::NotUnderstood { url, status, detail: "the answer is too long".to_owned() },
        Err(cause) => Error::NoAnswer { url, cause },
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        match (first, tail) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                bytes.push(u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?);
                rest = after;
            }
            (b'%', _) => return None,
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_never_go_over_plain_http() {
        let refused = Client::new("http://localhost:8443", SecretText::new("x"), None).expect_err("plain");
        assert!(refused.to_string().contains("https://"), "{refused}");
    }

    #[test]
    fn a_file_of_no_certificate_is_refused_at_once() {
        for pem in ["", "nothing in here", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            let refused =
                Client::new("https://localhost", SecretText::new("x"), Some(pem.as_bytes())).expect_err("none");
            assert!(refused.to_string().contains("holds no certificate"), "{refused}");
        }
    }

    #[test]
    fn a_path_and_a_query_stand_below_the_servers_url() {
        let client = Client::new("https://example.com/sign", SecretText::new("x"), None).expect("a client");
        let url = client.url("/v1/events", &[("types", "envelope.*"), ("after", "a b&c")]).expect("a URL");
        assert_eq!(url.as_str(), "https://example.com/sign/v1/events?types=envelope.*&after=a+b%26c");
    }

    #[test]
    fn a_name_is_read_from_its_encoding() {
        assert_eq!(percent_decoded("Vertrag%20f%C3%BCr%20A.pdf").as_deref(), Some("Vertrag für A.pdf"));
        assert_eq!(percent_decoded("%C3"), None);
        assert_eq!(percent_decoded("%"), None);
    }

    #[test]
    fn it_is_sent_again_when_the_server_says_so_and_not_when_it_refuses() {
        let pause = Duration::from_millis(400);
        for (status, retry_after, again) in [
            (429, Some("3"), Some(3_000)),
            (429, None, Some(400)),
            (503, Some("0"), Some(400)),
            (503, Some("soon"), Some(400)),
            (409, Some("1"), Some(1_000)),
            (409, None, None),
            (500, Some("1"), None),
            (404, None, None),
            (401, Some("1"), None),
        ] {
            let mut response = http::Response::builder().status(status);
            if let Some(seconds) = retry_after {
                response = response.header(RETRY_AFTER, seconds);
            }
            let response = Response::from(response.body("").expect("a response"));
            assert_eq!(again_after(&response, pause), again.map(Duration::from_millis), "{status} {retry_after:?}");
        }
    }

    #[test]
    fn idempotency_keys_differ() {
        let (one, other) = (idempotency_key(), idempotency_key());
        assert_eq!(one.len(), 32);
        assert_ne!(one, other);
    }
}
