//! `Idempotency-Key` on every POST: the router puts [`once`] before each gated handler, so that handlers need nothing.
//!
//! JSON bodies and empty ones are read here, their digest is claimed, and an answer that is known already goes out again
//! with `Idempotency-Replayed: true`. Only what succeeded is kept: a refusal took no effect, so the same key may be sent
//! again with a mended body, and faults and 429 are never kept. Two kinds of handlers have something to do:
//! - an answer that shows a secret or a link says how it is kept: `kept_as(answer, &without)`;
//! - a streamed body (documents) is claimed by its handler at its end: argument [`Idempotent`], `claim(digest).await?`.
//!
//! A use case that must never be doubled by a crash takes an `app::once::Once`, from [`Idempotent::once`].

use std::sync::{Arc, OnceLock};

use app::{
    App,
    once::{Claim, Claimed, Once},
};
use axum::{
    body::{Body, to_bytes},
    extract::{FromRequestParts, Request},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};
use model::{Code, Problem};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{body, gatekeeper::Pass, json, problem::Refusal, request::Arrival};

/// The client's name for a request.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Marks an answer that was given before.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Characters of the client's name at most.
const KEY_CHARS_MAX: usize = 255;
/// An answer that is kept, at most.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The claim of the present request, as an argument of handlers that have to do with it themselves.
#[derive(Clone)]
pub struct Idempotent(Option<Arc<Slot>>);

struct Slot {
    app: App,
    pass: Pass,
    arrival: Arc<Arrival>,
    route: String,
    key: String,
    claimed: OnceLock<Arc<Claimed>>,
}

/// How an answer with a secret is kept.
#[derive(Clone)]
struct Kept(String);

/// The answer, kept as `without`: the same without secrets and links.
pub fn kept_as(answer: impl IntoResponse, without: &impl Serialize) -> Response {
    let mut response = answer.into_response();
    let text = String::from_utf8_lossy(&json::bytes(without)).into_owned();
    response.extensions_mut().insert(Kept(text));
    response
}

impl Idempotent {
    /// Claims for a body with this digest. The error is the answer, which may be one that was given before.
    pub async fn claim(&self, digest: [u8; 32]) -> Result<(), Response> {
        let Some(slot) = &self.0 else { return Ok(()) };
        slot.claim(digest).await
    }

    /// For a use case that keeps its answer in its own transaction: `show` makes the answer without secrets.
    pub fn once<T, B: Serialize>(&self, status: StatusCode, show: impl Fn(&T) -> B + Send + Sync + 'static) -> Once<T> {
        let claimed = self.0.as_ref().and_then(|slot| slot.claimed.get().cloned());
        claimed.map_or_else(Once::unclaimed, |claimed| {
            Once::new(claimed, move |made| {
                (status.as_u16(), String::from_utf8_lossy(&json::bytes(&show(made))).into_owned())
            })
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Idempotent {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        Ok(Self(parts.extensions.get::<Arc<Slot>>().cloned()))
    }
}

impl Slot {
    async fn claim(&self, digest: [u8; 32]) -> Result<(), Response> {
        if self.claimed.get().is_some() {
            return Ok(());
        }
        let claim = self.app.claim(&self.pass, self.route.clone(), self.key.clone(), digest, &self.arrival.id);
        match claim.await {
            Ok(Claim::Mine(claimed)) => {
                // An empty body was claimed here before its handler could: the second claim of a request is its first.
                let _ = self.claimed.set(Arc::new(claimed));
                Ok(())
            }
            Ok(Claim::Answered { status, body }) => Err(replay(&self.route, status, body)),
            Err(problem) => Err(Refusal(problem).into_response()),
        }
    }

    /// Keeps what succeeded and lets go of the rest.
    async fn settle(&self, response: Response) -> Response {
        let Some(claimed) = self.claimed.get() else { return response };
        if !response.status().is_success() {
            self.finish(claimed, None).await;
            return response;
        }
        let (parts, body) = response.into_parts();
        match to_bytes(body, ANSWER_BYTES_MAX).await {
            Ok(bytes) => {
                let text = match parts.extensions.get::<Kept>() {
                    Some(Kept(text)) => text.clone(),
                    None => without_secrets(&bytes),
                };
                self.finish(claimed, Some((parts.status.as_u16(), &text))).await;
                Response::from_parts(parts, Body::from(bytes))
            }
            Err(error) => Refusal(Problem::fault(error)).into_response(),
        }
    }

    async fn finish(&self, claimed: &Claimed, answer: Option<(u16, &str)>) {
        if let Err(problem) = self.app.settle(claimed, answer).await {
            // It took effect and is answered; a retry is told to wait until the claim runs out.
            tracing::error!(request_id = self.arrival.id, problem = %problem, "the answer could not be kept for a retry");
        }
    }
}

/// The net below `kept_as`: a secret key in an answer is masked before it is kept.
fn without_secrets(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    for (_, key) in secret::find(bytes) {
        text = text.replace(key.expose(), &key.masked());
    }
    text
}

/// The answer that was given before, with its place again where something was made.
fn replay(route: &str, status: u16, body: String) -> Response {
    let place = place_of(route, status, &body);
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    if let Some(place) = place.and_then(|place| HeaderValue::try_from(place).ok()) {
        headers.insert(header::LOCATION, place);
    }
    response
}

/// A POST that makes something answers 201 with what it made: it stands under the path that was posted to, by its id.
fn place_of(route: &str, status: u16, body: &str) -> Option<String> {
    let path = route.strip_prefix("POST ").filter(|_| status == 201)?;
    let made: serde_json::Value = serde_json::from_str(body).ok()?;
    Some(format!("{path}/{}", made.get("id")?.as_str()?))
}

/// What the router puts between the gate and every handler.
pub(crate) async fn once(request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let key = match named(request.headers()) {
        Ok(None) => return next.run(request).await,
        Ok(Some(key)) => key,
        Err(problem) => return Refusal(problem).into_response(),
    };
    let arrival = request.extensions().get::<Arc<Arrival>>().cloned();
    let (Some(arrival), Some(pass)) = (arrival, request.extensions().get::<Pass>().cloned()) else {
        return Refusal(Problem::fault("a POST came past the gate")).into_response();
    };
    let route = format!("POST {}", request.uri().path());
    let app = arrival.frame.app().clone();
    let slot = Arc::new(Slot { app, pass, arrival, route, key, claimed: OnceLock::new() });
    // A client that hangs up must not leave an effect behind whose answer was not kept: a task of its own goes on.
    // The stop waits for it.
    let tasks = slot.arrival.frame.tasks.clone();
    match tasks.spawn(claim_and_run(slot, request, next)).await {
        Ok(response) => response,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Refusal(Problem::fault(error)).into_response(),
        },
    }
}

async fn claim_and_run(slot: Arc<Slot>, request: Request, next: Next) -> Response {
    let (mut parts, mut body) = request.into_parts();
    parts.extensions.insert(slot.clone());
    if json::is_json(&parts.headers) || hyper::body::Body::is_end_stream(&body) {
        let bytes = match body::read(&parts.headers, body, body::JSON_BYTES_MAX).await {
            Ok(bytes) => bytes,
            Err(problem) => return Refusal(problem).into_response(),
        };
        if let Err(answer) = slot.claim(Sha256::digest(&bytes).into()).await {
            return answer;
        }
        body = Body::from(bytes);
    }
    let response = next.run(Request::from_parts(parts, body)).await;
    slot.settle(response).await
}

pub(crate) fn named(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| (1..=KEY_CHARS_MAX).contains(&text.len()));
    match text.filter(|text| values.next().is_none() && text.bytes().all(|byte| byte.is_ascii_graphic())) {
        // It is kept for a day, as it is.
        Some(text) if !secret::find(text.as_bytes()).is_empty() => Err(Problem::new(
            Code::IdempotencyKeyInvalid,
            "The Idempotency-Key holds a secret key: use a random text, and send the key in Authorization alone.",
        )),
        Some(text) => Ok(Some(text.to_owned())),
        None => Err(Problem::new(
            Code::IdempotencyKeyInvalid,
            format!("Idempotency-Key is one header of 1 to {KEY_CHARS_MAX} visible ASCII characters."),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_key_is_no_name_for_a_request() {
        let random = uuid::Uuid::from_u128(7);
        let key = secret::SecretKey::generate(model::Environment::Development, random, [7; 32]);
        let mut headers = HeaderMap::new();
        headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_str(key.expose()).expect("a header"));
        assert_eq!(named(&headers).expect_err("refused").code, Code::IdempotencyKeyInvalid);
    }

    #[test]
    fn a_key_is_one_header_of_visible_characters() {
        let with = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IDEMPOTENCY_KEY, HeaderValue::from_str(value).expect("a header"));
            }
            named(&headers).map_err(|problem| problem.code)
        };
        assert_eq!(with(&[]), Ok(None));
        assert_eq!(with(&["order-17"]), Ok(Some("order-17".to_owned())));
        for values in [vec![""], vec!["a b"], vec!["a", "a"], vec!["ä"], vec![&"x".repeat(256)]] {
            assert_eq!(with(&values), Err(Code::IdempotencyKeyInvalid), "{values:?}");
        }
    }
}
