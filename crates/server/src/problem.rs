//! Refusals and faults on their way out: `application/problem+json` with its headers (RFC 9457, RFC 6750).
//!
//! A handler's error is a [`Refusal`]: an answer that carries its problem. The request's frame (`request.rs`) writes the
//! body, as it alone knows the request's id and the server's public URL, and logs the cause of a fault.

use axum::{body::Body, response::IntoResponse};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use model::{Code, Problem};

use crate::json;

/// What a handler answers.
pub type Answer<T> = Result<T, Refusal>;

/// A problem on its way out; `?` makes one from a [`Problem`] or a [`Code`].
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal(pub Problem);

impl<P: Into<Problem>> From<P> for Refusal {
    fn from(problem: P) -> Self {
        Self(problem.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> axum::response::Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status(self.0.code);
        response.extensions_mut().insert(self);
        response
    }
}

fn status(code: Code) -> StatusCode {
    StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The page about a code.
pub(crate) fn page_url(public_url: &str, code: Code) -> String {
    format!("{public_url}/problems/{code}")
}

/// The problem as the wire has it.
pub(crate) fn on_the_wire(problem: &Problem, public_url: &str, request_id: &str) -> api::Problem {
    let errors = problem.errors.iter().map(|error| api::problem::BodyError {
        pointer: error.pointer.clone(),
        code: error.code.to_string(),
        detail: error.detail.clone(),
    });
    api::Problem {
        kind: page_url(public_url, problem.code),
        title: problem.code.title().to_owned(),
        status: problem.code.status(),
        detail: problem.detail.clone(),
        code: problem.code.to_string(),
        resolution: problem.code.resolution().to_owned(),
        request_id: request_id.to_owned(),
        errors: errors.collect(),
        members: problem.members.as_deref().cloned().unwrap_or_default(),
    }
}

/// Writes the problem into the response that carries it.
pub(crate) fn write(response: &mut axum::response::Response, problem: &Problem, public_url: &str, request_id: &str) {
    *response.body_mut() = Body::from(json::bytes(&on_the_wire(problem, public_url, request_id)));
    *response.status_mut() = status(problem.code);
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(api::problem::PROBLEM_MEDIA_TYPE));
    for (name, value) in extra_headers(problem) {
        headers.insert(name, value);
    }
}

fn extra_headers(problem: &Problem) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let challenge = gate::challenge(problem).and_then(|text| HeaderValue::from_str(&text).ok());
    let retry_after = problem.retry_after_s.map(HeaderValue::from);
    [(header::WWW_AUTHENTICATE, challenge), (header::RETRY_AFTER, retry_after)]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_401_names_the_scheme() {
        for code in Code::ALL.iter().filter(|code| code.status() == 401 && **code != Code::SessionRequired) {
            let headers: Vec<_> = extra_headers(&Problem::from(*code)).collect();
            assert!(
                headers
                    .iter()
                    .any(|(name, value)| name == "www-authenticate" && value.as_bytes().starts_with(b"Bearer "))
            );
        }
    }

    #[test]
    fn a_problem_is_told_whole_and_its_cause_is_not() {
        let problem = Problem::fault("the database's password is wrong").retry_after(7);
        let mut response = Refusal(problem.clone()).into_response();
        write(&mut response, &problem, "https://sign.example.com", "req_1");
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()["retry-after"], "7");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let wire = serde_json::to_value(on_the_wire(&problem, "https://sign.example.com", "req_1")).expect("JSON");
        assert_eq!(
            wire,
            serde_json::json!({
                "type": "https://sign.example.com/problems/internal",
                "title": "Something failed on the server",
                "status": 500,
                "detail": "Something failed on the server; it has been logged.",
                "code": "internal",
                "resolution": "Try again. If it stays, give the request id to the operator.",
                "request_id": "req_1"
            })
        );
    }
}
