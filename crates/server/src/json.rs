//! JSON in and out: what can't be read is refused at its place, unknown fields by their names.

use axum::{
    body::Body,
    extract::{FromRequest, OptionalFromRequest, Request},
    response::IntoResponse,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use model::{
    BodyError, Code, Problem,
    word::{capital, sentence},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_path_to_error::{Path, Segment};

use crate::{body, problem::Refusal};

/// Headers that an answer has.
const HEADERS: usize = 12;

/// A JSON body, of a request or of an answer. As an argument it comes last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

/// Something was made: 201 with its place and itself.
#[derive(Clone, Debug)]
pub struct Created<T> {
    /// Where it is, as `/v1/keys/key_…`.
    pub location: String,
    /// What it is.
    pub body: T,
}

impl<T, S> FromRequest<S> for Json<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let (parts, incoming) = request.into_parts();
        if !is_json(&parts.headers) {
            return Err(Problem::new(
                Code::UnsupportedMediaType,
                "This route takes JSON: send the header `Content-Type: application/json`.",
            )
            .into());
        }
        let bytes = body::read(&parts.headers, incoming, body::JSON_BYTES_MAX).await?;
        Ok(Self(parse(&bytes)?))
    }
}

/// A body that may be left out: empty is none.
impl<T, S> OptionalFromRequest<S> for Json<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Option<Self>, Refusal> {
        let (parts, incoming) = request.into_parts();
        let bytes = body::read(&parts.headers, incoming, body::JSON_BYTES_MAX).await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let request = Request::from_parts(parts, Body::from(bytes));
        <Self as FromRequest<()>>::from_request(request, &()).await.map(Some)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> axum::response::Response {
        response(bytes(&self.0))
    }
}

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> axum::response::Response {
        let mut response = Json(self.body).into_response();
        *response.status_mut() = StatusCode::CREATED;
        if let Ok(location) = HeaderValue::from_str(&self.location) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }
}

/// An answer that is written already.
pub(crate) fn response(json: Bytes) -> axum::response::Response {
    let mut response = Response::new(Body::from(json));
    // Room at once for what the gate and the frame add.
    response.headers_mut().reserve(HEADERS);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A value as JSON.
pub(crate) fn text(value: &impl Serialize) -> String {
    // As below.
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

/// The bytes of an answer.
pub(crate) fn bytes(value: &impl Serialize) -> Bytes {
    // Our wire types have text keys and no other way to fail.
    serde_json::to_vec(value).unwrap_or_else(|_| b"null".to_vec()).into()
}

pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = value.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    let charset = parts.find_map(|part| part.split_once('=').filter(|(name, _)| name.eq_ignore_ascii_case("charset")));
    media.eq_ignore_ascii_case("application/json")
        && charset.is_none_or(|(_, value)| value.trim_matches('"').eq_ignore_ascii_case("utf-8"))
}

/// Reads JSON into `T`; the refusal names the place.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // serde would fill an object's fields from a list, by their order.
    if bytes.trim_ascii_start().starts_with(b"[") {
        let fault = BodyError::new("", "invalid_value", "The body is a list, expected an object.");
        return Err(Problem::body(vec![fault]));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let pointer = pointer(error.path());
        refusal(error.inner(), pointer)
    })?;
    deserializer.end().map_err(|error| refusal(&error, String::new()))?;
    Ok(value)
}

fn refusal(error: &serde_json::Error, pointer: String) -> Problem {
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = error.to_string();
    let text = text.strip_suffix(&place).unwrap_or(&text);
    // What a structure is called here is nobody's business.
    let unnamed = text.split_once("expected struct ").map(|(before, _)| format!("{before}expected an object"));
    let text = unnamed.as_deref().unwrap_or(text);
    match error.classify() {
        serde_json::error::Category::Data => {
            let code = if text.starts_with("unknown field") {
                "unknown_field"
            } else if text.starts_with("missing field") {
                "missing_field"
            } else if text.starts_with("duplicate field") {
                "duplicate_field"
            } else {
                "invalid_value"
            };
            Problem::body(vec![BodyError::new(at_field(pointer, text, code), code, sentence(&text))])
        }
        _ => Problem::new(
            Code::InvalidJson,
            format!("{} at line {}, column {}.", capital(text), error.line(), error.column()),
        ),
    }
}

/// A missing or doubled field's own place: serde stands at the object around it.
fn at_field(pointer: String, text: &str, code: &str) -> String {
    match text.split('`').nth(1).filter(|_| matches!(code, "missing_field" | "duplicate_field")) {
        Some(field) => format!("{pointer}/{}", escape(field)),
        None => pointer,
    }
}

fn pointer(path: &Path) -> String {
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(format!("/{index}")),
            Segment::Map { key } => Some(format!("/{}", escape(key))),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}

/// RFC 6901, 3.
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read by serde")]
    struct Outer {
        title: String,
        recipients: Vec<Inner>,
        #[serde(default)]
        values: std::collections::BTreeMap<String, u32>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read by serde")]
    struct Inner {
        email: String,
    }

    fn refused(text: &str) -> (Code, String, Vec<(String, String)>) {
        let problem = parse::<Outer>(text.as_bytes()).expect_err("refused");
        let errors = problem.errors.iter().map(|error| (error.pointer.clone(), error.code.to_string())).collect();
        (problem.code, problem.detail, errors)
    }

    #[test]
    fn a_fault_is_named_at_its_place() {
        let one = |pointer: &str, code: &str| vec![(pointer.to_owned(), code.to_owned())];
        for (text, pointer, code) in [
            (r#"{"title":"a","recipients":[{"email":"b","mail":1}]}"#, "/recipients/0/mail", "unknown_field"),
            (r#"{"title":"a","recipients":[{}]}"#, "/recipients/0/email", "missing_field"),
            (r#"{"title":"a","recipients":[{"email":7}]}"#, "/recipients/0/email", "invalid_value"),
            (r#"{"title":"a","recipients":[],"values":{"a/b~c":-1}}"#, "/values/a~1b~0c", "invalid_value"),
            (r#"{"title":"a","titel":"b","recipients":[]}"#, "/titel", "unknown_field"),
            (r#"{"title":"a","title":"b","recipients":[]}"#, "/title", "duplicate_field"),
            (r#"[]"#, "", "invalid_value"),
            (r#" ["a", []]"#, "", "invalid_value"),
        ] {
            let (kind, _, errors) = refused(text);
            assert_eq!((kind, errors), (Code::InvalidBody, one(pointer, code)), "{text}");
        }
        let (_, detail, _) = refused(r#"{"title":"a","recipients":[{"email":"b","mail":1}]}"#);
        assert_eq!(detail, "Unknown field `mail`, expected `email`.");
        let (_, detail, _) = refused(r#"{"title":"a","recipients":["b"]}"#);
        assert_eq!(detail, r#"Invalid type: string "b", expected an object."#);
    }

    #[test]
    fn what_is_no_json_is_named_by_line_and_column() {
        let deep = format!("{{\"a\":{}", "[".repeat(200));
        for (text, detail) in [
            ("", "EOF while parsing a value at line 1, column 0."),
            ("{\n  \"title\": }", "Expected value at line 2, column 12."),
            (r#"{"title":"a","recipients":[]} x"#, "Trailing characters at line 1, column 31."),
        ] {
            assert_eq!(refused(text), (Code::InvalidJson, detail.to_owned(), vec![]), "{text}");
        }
        let problem = parse::<serde_json::Value>(deep.as_bytes()).expect_err("too deep");
        assert_eq!(problem.code, Code::InvalidJson);
    }

    #[test]
    fn json_is_told_by_its_content_type() {
        for (value, is) in [
            ("application/json", true),
            ("Application/JSON; charset=UTF-8", true),
            ("application/json; charset=latin1", false),
            ("text/plain", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
            assert_eq!(is_json(&headers), is, "{value}");
        }
    }
}
