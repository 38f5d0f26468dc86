//! A caller of the API: sends JSON, asserts the status, waits for events.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::{
    Method,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use serde_json::{Value, json};

/// How long [`Api::wait_for`] waits for an event before the test has failed.
const WAIT_MS_MAX: u64 = 120_000;

/// How often a key's use is asked for at most: telemetry is written within 10 s, and one turn takes milliseconds.
const TURNS_MAX: u32 = 20_000;

/// A caller.
#[derive(Clone)]
pub struct Api {
    client: reqwest::Client,
    url: String,
    key: Option<String>,
    extra: HeaderMap,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// What was asked, for messages.
    pub asked: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{}: {} is not JSON, {error}: {}", self.asked, self.status, self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The JSON of an answer that has to have this status.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}: {}", self.asked, self.text());
        self.json()
    }

    /// A refusal: its status and code have to be these, and it has to be a whole problem of RFC 9457. The problem.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}: {}", self.asked, self.text());
        let problem = self.json();
        assert_eq!((self.status, problem["code"].as_str()), (status, Some(code)), "{}: {problem}", self.asked);
        assert_eq!(problem["status"], json!(status), "{problem}");
        for name in ["type", "title", "detail", "resolution", "request_id"] {
            assert!(problem[name].as_str().is_some_and(|text| !text.is_empty()), "{name} is missing: {problem}");
        }
        assert!(problem["type"].as_str().is_some_and(|text| text.ends_with(&format!("/problems/{code}"))), "{problem}");
        assert_eq!(problem["request_id"].as_str(), Some(self.header("request-id")), "{problem}");
        reached(code);
        problem
    }

    /// Pointers and codes of a refused body, sorted.
    #[track_caller]
    pub fn faults(&self) -> Vec<(String, String)> {
        let problem = self.refused(422, "invalid_body");
        let text = |error: &Value, name: &str| error[name].as_str().expect("a text").to_owned();
        let errors = problem["errors"].as_array().expect("errors");
        let mut faults: Vec<_> = errors.iter().map(|error| (text(error, "pointer"), text(error, "code"))).collect();
        faults.sort();
        faults
    }

    /// A header's value; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Notes which codes the running tests have reached, one file each, for the curious: `target/reached/`.
fn reached(code: &str) {
    let folder = crate::server::root().join("target/reached");
    // Only a help for people: a test does not fail for it.
    let _ = std::fs::create_dir_all(&folder);
    let _ = std::fs::write(folder.join(code), "");
}

impl Api {
    /// A caller of `url`.
    pub fn new(client: reqwest::Client, url: &str, key: Option<&str>) -> Api {
        Api { client, url: url.to_owned(), key: key.map(str::to_owned), extra: HeaderMap::new() }
    }

    /// The same caller at another node.
    #[must_use]
    pub fn at(&self, url: &str) -> Api {
        Api { url: url.to_owned(), ..self.clone() }
    }

    /// The same caller, who sends this header too.
    #[must_use]
    pub fn with(&self, name: &'static str, value: &str) -> Api {
        let mut caller = self.clone();
        caller.extra.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header"));
        caller
    }

    /// Sends a request as it is.
    pub async fn send(&self, method: Method, path: &str, kind: Option<&str>, body: impl Into<Bytes>) -> Answer {
        let body = body.into();
        let asked = format!("{method} {path}");
        let mut request = self.client.request(method, format!("{}{path}", self.url)).headers(self.extra.clone());
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, format!("Bearer {key}"));
        }
        if let Some(kind) = kind {
            request = request.header(CONTENT_TYPE, kind).body(body);
        }
        let answer = request.send().await.unwrap_or_else(|error| panic!("{asked}: {error:?}"));
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().await.unwrap_or_else(|error| panic!("{asked}: {error:?}"));
        Answer { status, headers, body, asked }
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None, "").await
    }

    /// POST with a JSON body.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some("application/json"), body.to_string()).await
    }

    /// POST without a body.
    pub async fn post_empty(&self, path: &str) -> Answer {
        self.send(Method::POST, path, None, "").await
    }

    /// PUT with a body of this kind.
    pub async fn put(&self, path: &str, kind: &str, body: impl Into<Bytes>) -> Answer {
        self.send(Method::PUT, path, Some(kind), body).await
    }

    /// Uploads a PDF.
    pub async fn upload(&self, filename: &str, pdf: impl Into<Bytes>) -> Answer {
        self.send(Method::POST, &format!("/v1/documents?filename={filename}"), Some("application/pdf"), pdf).await
    }

    /// Uploads the sample contract: its id.
    pub async fn sample(&self) -> String {
        let answer = self.upload("service-agreement.pdf", crate::paper::sample()).await;
        answer.expect(201)["id"].as_str().expect("an id").to_owned()
    }

    /// Makes an envelope: it.
    pub async fn create(&self, body: Value) -> Value {
        self.post("/v1/envelopes", body).await.expect(201)
    }

    /// An envelope as it stands.
    pub async fn envelope(&self, id: &str) -> Value {
        self.get(&format!("/v1/envelopes/{id}")).await.expect(200)
    }

    /// All events of an envelope, the oldest first.
    pub async fn events_of(&self, envelope: &str) -> Vec<Value> {
        let page = self.get(&format!("/v1/events?limit=500&envelope={envelope}")).await.expect(200);
        assert_eq!(page["has_more"], json!(false), "more than a page of events");
        page["data"].as_array().expect("a list").clone()
    }

    /// Waits for an event of this type about an envelope, and answers it. By long poll: it ends when the event is there.
    pub async fn wait_for(&self, envelope: &str, kind: &str) -> Value {
        let began = Instant::now();
        let mut after = String::new();
        while began.elapsed() < Duration::from_millis(WAIT_MS_MAX) {
            let page = self
                .get(&format!("/v1/events?limit=500&wait=20&envelope={envelope}&types={kind}{after}"))
                .await
                .expect(200);
            if let Some(event) = page["data"].as_array().and_then(|events| events.first()) {
                return event.clone();
            }
            after = format!("&after={}", page["next"].as_str().expect("a cursor"));
        }
        panic!("no {kind} of {envelope}: {:#}", self.envelope(envelope).await)
    }

    /// The use of a key, once it satisfies this.
    pub async fn usage_of(&self, id: &str, is_there: impl Fn(&Value) -> bool) -> Value {
        let path = format!("/v1/keys/{id}/usage");
        for _ in 0..TURNS_MAX {
            let usage = self.get(&path).await.expect(200);
            if is_there(&usage) {
                return usage;
            }
        }
        panic!("never there: {:#}", self.get(&path).await.expect(200))
    }

    /// The signing link in the newest mail to this address about this envelope, once it is there. The path, `/sign/…`.
    pub async fn link(&self, envelope: &str, email: &str) -> String {
        let recipient = self.recipient(envelope, email).await;
        self.notified(envelope, &recipient).await;
        let mails = self.get(&format!("/v1/mail?envelope={envelope}")).await.expect(200);
        let mails = mails["data"].as_array().expect("a list");
        let mail = mails.iter().rfind(|mail| mail["to"] == json!(email) && mail["purpose"] == json!("invite"));
        let id = mail.unwrap_or_else(|| panic!("no mail to {email}: {mails:?}"))["id"].as_str().expect("an id");
        let text = self.get(&format!("/v1/mail/{id}")).await.expect(200);
        let text = text["text"].as_str().expect("a text");
        let at = text.find("/sign/").unwrap_or_else(|| panic!("no link in the mail: {text}"));
        text[at..].split_whitespace().next().expect("a link").to_owned()
    }

    async fn recipient(&self, envelope: &str, email: &str) -> String {
        let envelope = self.envelope(envelope).await;
        let recipients = envelope["recipients"].as_array().expect("recipients");
        let found = recipients.iter().find(|recipient| recipient["email"] == json!(email));
        found.unwrap_or_else(|| panic!("no {email}: {envelope:#}"))["id"].as_str().expect("an id").to_owned()
    }

    async fn notified(&self, envelope: &str, recipient: &str) {
        let began = Instant::now();
        let mut after = String::new();
        while began.elapsed() < Duration::from_millis(WAIT_MS_MAX) {
            let path = format!("/v1/events?limit=500&wait=20&envelope={envelope}&types=recipient.notified{after}");
            let page = self.get(&path).await.expect(200);
            let events = page["data"].as_array().expect("a list");
            if events.iter().any(|event| event["data"].to_string().contains(recipient)) {
                return;
            }
            after = format!("&after={}", page["next"].as_str().expect("a cursor"));
        }
        panic!("{recipient} was not notified: {:#}", self.envelope(envelope).await)
    }
}
