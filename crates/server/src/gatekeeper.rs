//! Every route's gate: nothing reaches a handler before the gate has admitted the request under the route's rule.

use std::{ops::Deref, sync::Arc};

use axum::{
    extract::{FromRequestParts, Request},
    middleware::Next,
    response::{IntoResponse, Response},
};
use gate::{Allowance, Ask, Rule};
use http::{HeaderMap, HeaderValue, Method, header, request::Parts};
use model::{KeyId, Problem, caller::Who};

use crate::{problem::Refusal, request::Arrival};

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

/// What the router puts before every handler.
pub(crate) async fn admit(rule: Rule, names: Names, mut request: Request, next: Next) -> Response {
    match ask(rule, names, &mut request).await {
        Ok(None) => next.run(request).await,
        Ok(Some(allowance)) => {
            let mut response = next.run(request).await;
            say(allowance, response.headers_mut());
            response
        }
        Err(problem) => Refusal(problem).into_response(),
    }
}

async fn ask(rule: Rule, names: Names, request: &mut Request) -> Result<Option<Allowance>, Problem> {
    let arrival = request.extensions().get::<Arc<Arrival>>().cloned();
    let arrival = arrival.ok_or_else(|| Problem::fault("a request came past the frame"))?;
    let route = names.of(request.method());
    // A request has one route, so this is its first value.
    let _ = arrival.route.set(route);
    if rule == Rule::Public {
        return Ok(None);
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
    let pass = match arrival.frame.app().gate.admit(&ask).await {
        Ok(pass) => pass,
        Err(problem) => {
            // So that the log names the key that was refused: its id is public, and its checksum held.
            let _ = named_key(request.headers()).map(|key| arrival.key.set(key));
            return Err(problem);
        }
    };
    if let Who::Key { key, .. } = &pass.caller().who {
        // The first value, as above.
        let _ = arrival.key.set(*key);
    }
    let allowance = pass.allowance();
    request.extensions_mut().insert(Pass(Arc::new(pass)));
    Ok(allowance)
}

fn named_key(headers: &HeaderMap) -> Option<KeyId> {
    let found = secret::find(headers.get(header::AUTHORIZATION)?.as_bytes());
    found.first().map(|(_, key)| KeyId::from_uuid(key.id()))
}

/// What is left of the key's limit (draft-ietf-httpapi-ratelimit-headers).
fn say(allowance: Allowance, headers: &mut HeaderMap) {
    let policy = format!("\"key\";q={}", allowance.limit);
    let left = format!("\"key\";r={};t={}", allowance.remaining, allowance.reset_s);
    for (name, text) in [("ratelimit-policy", policy), ("ratelimit", left)] {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(name, value);
        }
    }
}
