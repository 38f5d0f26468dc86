//! Every route's gate: nothing reaches a handler before the gate has admitted the request under the route's rule.

use std::{
    convert::Infallible,
    ops::Deref,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    extract::{FromRequestParts, Request},
    response::{IntoResponse, Response},
    routing::Route,
};
use futures::{FutureExt, future::BoxFuture};
use gate::{Ask, Count, Endings, Left, Rule};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header, request::Parts};
use model::{Code, KeyId, Problem, caller::Who, exposure::How};
use tower::Service;

use crate::{body, health, problem::Refusal, request::Arrival, written};

/// A form that is looked through for a key at most.
const FORM_BYTES_MAX: u64 = 8 * 1024;
/// How long it may take to arrive.
const FORM_MS_MAX: u64 = 2_000;

/// Characters of a header of the limits, mostly.
const LIMITS_CHARS: usize = 64;
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Who was admitted, as an argument of a handler; `app`'s functions take it as `&pass`.
#[derive(Clone)]
pub struct Pass(Arc<gate::Pass>);

impl Deref for Pass {
    type Target = gate::Pass;

    fn deref(&self) -> &gate::Pass {
        &self.0
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Pass {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        // A public route has none: its handler can't ask for one.
        let pass = parts.extensions.get::<Self>().cloned();
        Ok(pass.ok_or_else(|| Problem::fault("the handler of a public route asks for a pass"))?)
    }
}

/// A route's methods as they are named in logs and last uses, `POST /v1/keys`; made once in a process' life.
#[derive(Clone, Copy)]
pub(crate) struct Names(&'static [(Method, &'static str)]);

impl Names {
    pub(crate) fn new(template: &str) -> Self {
        let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        let names: Vec<_> =
            methods.into_iter().map(|method| (method.clone(), &*format!("{method} {template}").leak())).collect();
        Self(names.leak())
    }

    fn of(self, method: &Method) -> &'static str {
        // HEAD is answered by GET's handler.
        let method = if method == Method::HEAD { &Method::GET } else { method };
        self.0.iter().find(|(known, _)| known == method).map_or("-", |(_, name)| name)
    }
}

/// What a page is answered with that a proxy passes on without saying that it came over TLS.
const NOT_HTTPS: &str = "The proxy did not say that the request came to it over https.";

/// What the router puts before every handler; a layer of its own, since axum's `from_fn` costs some more allocations at
/// every request.
#[derive(Clone)]
pub(crate) struct Gated {
    rule: Rule,
    names: Names,
    handler: Route,
}

impl Gated {
    /// The handler behind its gate.
    pub(crate) fn new(rule: Rule, names: Names, handler: Route) -> Self {
        Self { rule, names, handler }
    }
}

impl Service<Request> for Gated {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request>::poll_ready(&mut self.handler, context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        Box::pin(admit(self.rule, self.names, request, self.handler.clone()).map(Ok))
    }
}

async fn run(mut handler: Route, request: Request) -> Response {
    match handler.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

async fn admit(rule: Rule, names: Names, mut request: Request, handler: Route) -> Response {
    let Some(arrival) = request.extensions().get::<Arc<Arrival>>().cloned() else {
        return Refusal(Problem::fault("a request came past the frame")).into_response();
    };
    // Whatever prints headers does not print this one.
    if let header::Entry::Occupied(mut credentials) = request.headers_mut().entry(header::AUTHORIZATION) {
        credentials.iter_mut().for_each(|value| value.set_sensitive(true));
    }
    match ask(rule, names, &arrival, &mut request).await {
        Ok(None) => run(handler, request).await,
        Ok(Some((left, endings, count))) => {
            let mut response = run(handler, request).await;
            count.answered(response.status().as_u16());
            say(left, response.headers_mut());
            warn(endings, response.headers_mut());
            response
        }
        Err(problem) => {
            let is_over = problem.code == Code::RateLimited;
            // Row 5 and below: the key is a good one.
            let is_known = matches!(problem.code.status(), 403 | 429);
            let mut response = Refusal(problem).into_response();
            let gate = &arrival.frame.app().gate;
            if let Some(left) = arrival.key.get().filter(|_| is_over).and_then(|key| gate.left(*key)) {
                say(left, response.headers_mut());
            }
            if is_known {
                warn(gate.endings(request.headers()), response.headers_mut());
            }
            response
        }
    }
}

/// What seldom happens is boxed: every request would carry its room along.
async fn ask(
    rule: Rule,
    names: Names,
    arrival: &Arrival,
    request: &mut Request,
) -> Result<Option<(Left, Endings, Count)>, Problem> {
    let route = names.of(request.method());
    // A request has one route, so this is its first value.
    let _ = arrival.route.set(route);
    let gate = &arrival.frame.app().gate;
    if rule == Rule::Public {
        // A proxy's own probes come as they come; links and pages of signers only by way of TLS.
        let client = arrival.client_without_key(request);
        if arrival.is_tls || health::is_probe(request.uri().path()) || client?.proxied_https {
            return Ok(None);
        }
        return Err(Problem::new(Code::InsecureTransport, NOT_HTTPS));
    }
    let ask = Ask {
        headers: request.headers(),
        uri: request.uri(),
        peer: arrival.peer,
        is_tls: arrival.is_tls,
        rule,
        route,
        request_id: &arrival.id,
    };
    let pass = match gate.admit(&ask).await {
        Ok(pass) => pass,
        Err(problem) => {
            // So that the log names the key that was refused: its id is public, and its checksum held.
            let _ = named_key(request.headers()).map(|key| arrival.key.set(key));
            let _ = gate.client(arrival.peer, request.headers()).map(|client| arrival.client.set(client.address));
            let is_missing = problem.code == Code::MissingCredentials;
            let in_form = is_missing.then(|| Box::pin(in_form(arrival, request)));
            return Err(match in_form {
                Some(in_form) => in_form.await.unwrap_or(problem),
                None => problem,
            });
        }
    };
    if let Who::Key { key, .. } = &pass.caller().who {
        // The first value, as above.
        let _ = arrival.key.set(*key);
    }
    let _ = pass.caller().address.map(|address| arrival.client.set(address));
    let count = gate.count(&pass);
    if pass.is_first_use()
        && let Err(problem) = Box::pin(arrival.frame.app().note_first_use(&pass)).await
    {
        if let Some(count) = count {
            count.answered(problem.code.status());
        }
        return Err(problem);
    }
    let told = pass.left().zip(count).map(|(left, count)| (left, pass.endings(), count));
    request.extensions_mut().insert(Pass(Arc::new(pass)));
    Ok(told)
}

fn named_key(headers: &HeaderMap) -> Option<KeyId> {
    let found = secret::find(headers.get(header::AUTHORIZATION)?.as_bytes());
    found.first().map(|(_, key)| KeyId::from_uuid(key.id()))
}

/// The refusal of a request without credentials whose key stood in a form, as RFC 6750, 2.2 would have it: others may have
/// read it there.
async fn in_form(arrival: &Arrival, request: &mut Request) -> Option<Problem> {
    let media = request.headers().get(header::CONTENT_TYPE)?.to_str().ok()?;
    if !media.trim_start().to_ascii_lowercase().starts_with("application/x-www-form-urlencoded") {
        return None;
    }
    let incoming = std::mem::take(request.body_mut());
    let read = body::read(request.headers(), incoming, FORM_BYTES_MAX);
    let form = tokio::time::timeout(Duration::from_millis(FORM_MS_MAX), read).await.ok()?.ok()?;
    let key = gate::in_text(&form).next()?;
    let gate = &arrival.frame.app().gate;
    let client = gate.client(arrival.peer, request.headers()).ok()?;
    gate.note_exposed(&key, How::InForm, client.address);
    Some(Problem::new(Code::MalformedCredentials, "The key was sent in a form, which is not taken."))
}

/// What is left of the key's and the tenant's limits (draft-ietf-httpapi-ratelimit-headers).
fn say(left: Left, headers: &mut HeaderMap) {
    let Left { key, tenant } = left;
    let (mut policy, mut now) = (String::with_capacity(LIMITS_CHARS), String::with_capacity(LIMITS_CHARS));
    for (name, allowance) in [("\"key\";", key), (", \"tenant\";", tenant)] {
        policy.push_str(name);
        now.push_str(name);
        policy.push_str("q=");
        written::number(&mut policy, allowance.limit.into(), 1);
        now.push_str("r=");
        written::number(&mut now, allowance.remaining.into(), 1);
        now.push_str(";t=");
        written::number(&mut now, allowance.reset_s.into(), 1);
    }
    for (name, text) in [(RATELIMIT_POLICY, policy), (RATELIMIT, now)] {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(name, value);
        }
    }
}

/// That a caller's own key or secret ends soon, where it does.
fn warn(endings: Endings, headers: &mut HeaderMap) {
    let old_secret = endings.old_secret.map(|end| match end {
        Some(end) => format!("old secret, ends {end}"),
        None => "old secret, ends when nothing uses it any more".to_owned(),
    });
    let key = endings.key.map(|end| end.to_string());
    for (name, text) in [("iusign-key-rotated", old_secret), ("iusign-key-expires", key)] {
        if let Some(value) = text.and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(name, value);
        }
    }
}
