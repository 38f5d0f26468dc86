//! Queries, paths and cursors: unknown parameters are refused by name, an id that is none is simply not found.

use std::{error::Error as _, fmt::Display, str::FromStr};

use axum::extract::{FromRequestParts, Query as AxumQuery, RawPathParams};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::request::Parts;
use model::{Code, EnvScope, Problem};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::problem::Refusal;

/// Characters of a cursor at most.
const CURSOR_CHARS_MAX: usize = 1_024;

/// The query, read into `T`. `T` refuses unknown parameters: `#[serde(deny_unknown_fields)]`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Query<T>(pub T);

impl<T, S> FromRequestParts<S> for Query<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        // No text that is kept has it, and PostgreSQL can't be asked for it.
        if parts.uri.query().is_some_and(|query| query.contains("%00")) {
            return Err(Problem::new(Code::InvalidQuery, "The query holds a NUL character (%00).").into());
        }
        match AxumQuery::<T>::try_from_uri(&parts.uri) {
            Ok(AxumQuery(value)) => Ok(Self(value)),
            Err(rejection) => {
                let why = rejection.source().map_or_else(|| rejection.body_text(), ToString::to_string);
                Err(Problem::new(Code::InvalidQuery, format!("The query can't be read: {why}.")).into())
            }
        }
    }
}

/// A parameter that is a word of a list, an id or a time, where it is given; a wrong one is named.
pub fn word<T: FromStr<Err: Display>>(name: &str, text: Option<&str>) -> Result<Option<T>, Problem> {
    let wrong = |why: T::Err| Problem::new(Code::InvalidQuery, format!("`{name}`: {why}."));
    text.map(|text| text.parse().map_err(wrong)).transpose()
}

/// The path's one or more parameters, as ids. What is no id of the wanted kind is not found, like one of a stranger.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

/// What a path's parameters can be read into.
pub trait FromPath: Sized {
    /// Reads them in the path's order.
    fn from_path<'a>(values: impl Iterator<Item = &'a str>) -> Option<Self>;
}

impl<K: model::id::Kind> FromPath for model::Id<K> {
    fn from_path<'a>(mut values: impl Iterator<Item = &'a str>) -> Option<Self> {
        values.next()?.parse().ok()
    }
}

impl FromPath for String {
    fn from_path<'a>(mut values: impl Iterator<Item = &'a str>) -> Option<Self> {
        values.next().map(str::to_owned)
    }
}

impl FromPath for u32 {
    fn from_path<'a>(mut values: impl Iterator<Item = &'a str>) -> Option<Self> {
        values.next()?.parse().ok()
    }
}

impl<A: FromPath, B: FromPath> FromPath for (A, B) {
    fn from_path<'a>(mut values: impl Iterator<Item = &'a str>) -> Option<Self> {
        Some((A::from_path(values.next().into_iter())?, B::from_path(values.next().into_iter())?))
    }
}

impl<A: FromPath, B: FromPath, C: FromPath> FromPath for (A, B, C) {
    fn from_path<'a>(mut values: impl Iterator<Item = &'a str>) -> Option<Self> {
        Some((
            A::from_path(values.next().into_iter())?,
            B::from_path(values.next().into_iter())?,
            C::from_path(values.next().into_iter())?,
        ))
    }
}

impl<T, S> FromRequestParts<S> for Path<T>
where
    T: FromPath,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| Problem::not_found())?;
        let value = T::from_path(params.iter().map(|(_, value)| value)).ok_or_else(Problem::not_found)?;
        Ok(Self(value))
    }
}

/// The number of items of a page: what was asked, from 1 to `max`.
pub fn limit(asked: Option<u32>, max: u32) -> Result<u32, Problem> {
    match asked {
        None => Ok(api::page::LIMIT_DEFAULT.min(max)),
        Some(limit) if (1..=max).contains(&limit) => Ok(limit),
        Some(limit) => Err(Problem::new(Code::InvalidQuery, format!("`limit` is 1 to {max}, not {limit}."))),
    }
}

/// A cursor inside: whose, of which list, and where. No secret: only a hint where to go on, checked like any input.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor<P> {
    s: EnvScope,
    l: String,
    p: P,
}

/// Writes the cursor of `list` (its route's noun) at `position`.
pub fn cursor(scope: EnvScope, list: &str, position: impl Serialize) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(crate::json::bytes(&Cursor { s: scope, l: list.to_owned(), p: position }))
}

/// Reads what [`cursor`] wrote for the same tenant, environment and list.
pub fn position<P: DeserializeOwned>(scope: EnvScope, list: &str, after: Option<&str>) -> Result<Option<P>, Problem> {
    let Some(text) = after else { return Ok(None) };
    let invalid = || Problem::new(Code::CursorInvalid, "`after` is not a `next` of this list.");
    if text.len() > CURSOR_CHARS_MAX {
        return Err(invalid());
    }
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid())?;
    // As in a query: PostgreSQL can't be asked for a NUL character. JSON has it in this form alone.
    if bytes.windows(6).any(|some| some == b"\\u0000") {
        return Err(invalid());
    }
    let cursor: Cursor<P> = serde_json::from_slice(&bytes).map_err(|_| invalid())?;
    if cursor.s == scope && cursor.l == list { Ok(Some(cursor.p)) } else { Err(invalid()) }
}

/// One page: `rows` were fetched with one more than `limit`, so that it is known whether more follow.
pub fn page<R, T>(
    mut rows: Vec<R>,
    limit: u32,
    position_of: impl Fn(&R) -> String,
    show: impl FnMut(R) -> T,
) -> api::Page<T> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| has_more).map(position_of);
    api::Page { data: rows.into_iter().map(show).collect(), has_more, next }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Environment, TenantId};

    #[test]
    fn a_cursor_serves_its_own_list_alone() {
        let tenant: TenantId = "ten_01j0000000e008000000000001".parse().expect("an id");
        let scope = EnvScope { tenant, environment: Environment::Development };
        let text = cursor(scope, "envelopes", 7_i64);
        assert_eq!(position::<i64>(scope, "envelopes", Some(&text)), Ok(Some(7)));
        assert_eq!(position::<i64>(scope, "envelopes", None), Ok(None));
        let other = EnvScope { environment: Environment::Production, ..scope };
        for (scope, list, text) in [
            (other, "envelopes", text.as_str()),
            (scope, "keys", text.as_str()),
            (scope, "envelopes", "zzz"),
            (scope, "envelopes", ""),
            (scope, "envelopes", &"a".repeat(2_000)),
        ] {
            assert_eq!(
                position::<i64>(scope, list, Some(text)).map_err(|p| p.code),
                Err(Code::CursorInvalid),
                "{text}"
            );
        }
        assert_eq!(position::<String>(scope, "envelopes", Some(&text)).map_err(|p| p.code), Err(Code::CursorInvalid));
    }

    #[test]
    fn a_page_knows_whether_more_follow() {
        let page_of = |rows: Vec<u32>| page(rows, 2, |row| format!("at {row}"), |row| row);
        assert_eq!(
            page_of(vec![1, 2, 3]),
            api::Page { data: vec![1, 2], has_more: true, next: Some("at 2".to_owned()) }
        );
        assert_eq!(page_of(vec![1, 2]), api::Page { data: vec![1, 2], has_more: false, next: None });
    }

    #[tokio::test]
    async fn a_nul_character_is_refused_before_a_database_is_asked() {
        #[derive(Debug, Deserialize)]
        struct Asked {
            name: String,
        }
        let asked = async |uri: &str| {
            let request = http::Request::builder().uri(uri).body(()).expect("a request");
            let read = Query::<Asked>::from_request_parts(&mut request.into_parts().0, &()).await;
            read.map(|Query(asked)| asked.name).map_err(|Refusal(problem)| problem.code)
        };
        assert_eq!(asked("/?name=a%2500").await, Ok("a%00".to_owned()));
        assert_eq!(asked("/?name=a%00").await, Err(Code::InvalidQuery));
    }

    #[test]
    fn limits_are_named() {
        assert_eq!(limit(None, 100), Ok(20));
        assert_eq!(limit(Some(100), 100), Ok(100));
        assert_eq!(limit(Some(0), 100).map_err(|p| p.detail), Err("`limit` is 1 to 100, not 0.".to_owned()));
    }
}
