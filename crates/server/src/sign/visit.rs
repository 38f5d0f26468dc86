//! Who comes to the signing room: the link in the path, the session in the cookie, and whether the request is our own page's.

use std::{net::IpAddr, sync::Arc};

use app::room::{SessionToken, Visitor};
use axum::extract::{FromRequestParts, RawPathParams};
use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};
use model::{Code, Problem, link::Link};

use crate::{problem::Refusal, request::Arrival, state::Frame};

/// Characters of a browser's name that are kept.
const USER_AGENT_CHARS_MAX: usize = 256;

/// Tells where a request was made (Fetch Metadata): a browser sets it, a page can't.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A visit of one link.
pub(crate) struct Visit {
    pub(super) frame: Frame,
    /// None where the path holds no link.
    link: Option<Link>,
    pub(super) token: Option<SessionToken>,
    pub(super) visitor: Visitor,
    pub(super) request_id: String,
    params: Vec<(String, String)>,
    /// The request comes from one of our own pages, or from a program that names our address as its origin.
    is_own: bool,
}

impl FromRequestParts<Frame> for Visit {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, frame: &Frame) -> Result<Self, Refusal> {
        let arrival = parts.extensions.get::<Arc<Arrival>>().cloned();
        let arrival = arrival.ok_or_else(|| Problem::fault("a request came past the frame"))?;
        let address = frame.app().gate.client(arrival.peer, &parts.headers)?.address;
        let params = match RawPathParams::from_request_parts(parts, frame).await {
            Ok(params) => params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            // Not UTF-8 when decoded: no link of ours.
            Err(_) => Vec::new(),
        };
        let link = value_of(&params, "link").and_then(Link::parse);
        Ok(Self {
            token: link.as_ref().and_then(|link| token(&parts.headers, link)),
            link,
            visitor: visitor(&parts.headers, address, &arrival.id),
            request_id: arrival.id.clone(),
            is_own: is_own(&parts.headers, frame.public_url()),
            params,
            frame: frame.clone(),
        })
    }
}

/// Who comes, as the server sees it.
pub(crate) fn visitor(headers: &HeaderMap, address: IpAddr, request_id: &str) -> Visitor {
    let user_agent =
        headers.get(header::USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    Visitor {
        address: Some(address),
        user_agent: user_agent
            .map(|text| text.chars().filter(|c| !c.is_control()).take(USER_AGENT_CHARS_MAX).collect()),
        request_id: Some(request_id.to_owned()),
    }
}

impl Visit {
    /// A part of the path.
    pub(super) fn param(&self, name: &str) -> &str {
        value_of(&self.params, name).unwrap_or_default()
    }

    /// The link, if the path holds one.
    pub(super) fn link(&self) -> Result<&Link, Problem> {
        self.link.as_ref().ok_or_else(|| Code::LinkUnknown.into())
    }

    /// Refuses what another site sent.
    pub(super) fn own(&self) -> Result<(), Problem> {
        if self.is_own { Ok(()) } else { Err(Code::ForeignOrigin.into()) }
    }
}

fn value_of<'a>(params: &'a [(String, String)], name: &str) -> Option<&'a str> {
    params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// The cookie's name is the link's: what is proven for one link opens no other, and many can be open in one browser.
/// `__Host-` binds it to this host, to TLS and to the whole of its path.
fn cookie_name(link: &Link) -> String {
    format!("__Host-room-{}", link.id().bare())
}

/// The cookie that begins a session.
///
/// `SameSite=Strict`: every request that needs it begins on one of our own pages. The link in the mail leads to the landing
/// page, which asks for no session; so nothing is lost, and a page elsewhere can't even load a picture with it.
pub(super) fn cookie(link: &Link, token: &SessionToken) -> Option<HeaderValue> {
    let text = format!("{}={}; Path=/; Secure; HttpOnly; SameSite=Strict", cookie_name(link), token.expose());
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

pub(super) fn token(headers: &HeaderMap, link: &Link) -> Option<SessionToken> {
    let wanted = cookie_name(link);
    let mut found = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == wanted);
    let (_, text) = found.next()?;
    SessionToken::parse(text)
}

/// Whether a POST is our own page's. A page with `Referrer-Policy: no-referrer` sends `Origin: null` (Fetch, "append a
/// request Origin header"), as a stranger's sandboxed frame does; `Sec-Fetch-Site` tells them apart. Without it (programs,
/// old browsers) the origin has to be ours.
pub(crate) fn is_own(headers: &HeaderMap, public_url: &str) -> bool {
    let one = |name: &HeaderName| {
        let mut values = headers.get_all(name).iter();
        let first = values.next().map(|value| value.as_bytes().to_ascii_lowercase());
        if values.next().is_some() { Some(Vec::new()) } else { first }
    };
    let is_ours = |origin: &[u8]| origin.eq_ignore_ascii_case(public_url.as_bytes());
    match (one(&SEC_FETCH_SITE), one(&header::ORIGIN)) {
        (Some(site), None) => site == b"same-origin",
        (Some(site), Some(origin)) => site == b"same-origin" && (origin == b"null" || is_ours(&origin)),
        (None, Some(origin)) => is_ours(&origin),
        (None, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn only_our_own_pages_and_programs_that_name_us_may_post() {
        let url = "https://sign.example.com";
        for (pairs, own) in [
            (&[("sec-fetch-site", "same-origin"), ("origin", "null")][..], true),
            (&[("sec-fetch-site", "same-origin"), ("origin", "https://sign.example.com")], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("origin", "https://sign.example.com")], true),
            (&[("sec-fetch-site", "cross-site"), ("origin", "null")], false),
            (&[("sec-fetch-site", "same-site"), ("origin", "https://evil.example.com")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("origin", "null")], false),
            (&[("origin", "https://sign.example.com.evil.example")], false),
            (&[("origin", "https://sign.example.com"), ("origin", "https://evil.example.com")], false),
            (&[], false),
        ] {
            assert_eq!(is_own(&headers(pairs), url), own, "{pairs:?}");
        }
    }

    #[test]
    fn a_cookie_opens_its_own_link_alone() {
        let link = |n| Link::make(&[1; 32], model::LinkId::from_uuid(uuid::Uuid::from_u128(n)), 1);
        let token = SessionToken::parse(&"0".repeat(43)).expect("a token");
        let cookie = cookie(&link(1), &token).expect("a header");
        let pair = cookie.to_str().expect("text").split(';').next().expect("a pair").to_owned();
        assert!(pair.starts_with("__Host-room-"));
        let mut sent = HeaderMap::new();
        sent.insert(header::COOKIE, HeaderValue::from_str(&format!("a=b; {pair}")).expect("a header"));
        assert!(super::token(&sent, &link(1)).is_some());
        assert!(super::token(&sent, &link(2)).is_none());
    }
}
