//! Rows 1 to 3 of the decision table: find the secret key in a request, or say what is wrong with how it was sent.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderValue, Uri, header};
use model::exposure::How;
use model::word::capital;
use model::{Code, Problem};
use secret::SecretKey;
use std::borrow::Cow;
use zeroize::Zeroizing;

/// Characters of an `Authorization` header at most: a key has 86.
const AUTHORIZATION_CHARS_MAX: usize = 1_024;

/// The key that a request presents. `secure`: it came over TLS.
pub fn presented(secure: bool, uri: &Uri, headers: &HeaderMap) -> Result<SecretKey, Problem> {
    if !secure {
        return Err(Problem::new(Code::InsecureTransport, "Keys are taken over TLS only."));
    }
    if is_in_url(uri) {
        return Err(Problem::new(Code::CredentialsInUrl, "The URL holds a secret key, or names one `access_token`."));
    }
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Err(Problem::new(Code::MissingCredentials, "The request has no Authorization header."));
    };
    if values.next().is_some() {
        return Err(malformed("The request has two Authorization headers"));
    }
    bearer(value.as_bytes())
}

/// The secret keys in a request that was refused for where its key stood, and how each stood there. They are not looked up.
pub fn misplaced(refusal: Code, uri: &Uri, headers: &HeaderMap) -> Vec<(SecretKey, How)> {
    let values = || headers.get_all(header::AUTHORIZATION).iter().map(HeaderValue::as_bytes);
    let in_header = || values().flat_map(secret::find).map(|(_, key)| key);
    match refusal {
        Code::InsecureTransport => in_url(uri).chain(in_header()).map(|key| (key, How::PlainHttp)).collect(),
        Code::CredentialsInUrl => in_url(uri).map(|key| (key, How::InUrl)).collect(),
        Code::MalformedCredentials => values().flat_map(in_basic).map(|key| (key, How::InBasic)).collect(),
        _ => Vec::new(),
    }
}

/// `Basic`, and user and password in base64 (RFC 7617).
fn in_basic(value: &[u8]) -> Vec<SecretKey> {
    let Some((scheme, packed)) = value.split_at_checked(6) else { return Vec::new() };
    if !scheme.eq_ignore_ascii_case(b"basic ") || value.len() > AUTHORIZATION_CHARS_MAX {
        return Vec::new();
    }
    let pair = Zeroizing::new(BASE64_STANDARD.decode(packed.trim_ascii()).unwrap_or_default());
    secret::find(&pair).into_iter().map(|(_, key)| key).collect()
}

/// The secret keys in a URL.
pub fn in_url(uri: &Uri) -> impl Iterator<Item = SecretKey> {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let parts = [authority, uri.path(), uri.query().unwrap_or_default()];
    parts.into_iter().flat_map(|part| in_text(part.as_bytes()))
}

/// The secret keys in a text that may be percent-encoded, as URLs and forms are.
pub fn in_text(text: &[u8]) -> impl Iterator<Item = SecretKey> {
    secret::find(&decoded(text)).into_iter().map(|(_, key)| key)
}

/// Reads `Bearer <key>`: the scheme in any case and followed by several spaces (RFC 9110, 11.1), white space around
/// the key ignored, the key exact.
fn bearer(value: &[u8]) -> Result<SecretKey, Problem> {
    if value.len() > AUTHORIZATION_CHARS_MAX {
        return Err(malformed("The Authorization header is too long for a key"));
    }
    let Ok(value) = std::str::from_utf8(value) else {
        return Err(malformed("The Authorization header has bytes that are no ASCII"));
    };
    let value = value.trim_matches([' ', '\t']);
    let (scheme, key) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(malformed(if scheme.eq_ignore_ascii_case("basic") {
            "The key was sent by Basic authentication, which is not taken"
        } else {
            "The Authorization header does not begin with Bearer"
        }));
    }
    let key = key.trim_matches([' ', '\t']);
    if key.is_empty() {
        return Err(malformed("There is no key after Bearer"));
    }
    if key.contains([' ', '\t']) {
        return Err(malformed("There is white space within the key"));
    }
    SecretKey::parse(key).map_err(|why| malformed(&capital(&why.to_string())))
}

fn is_in_url(uri: &Uri) -> bool {
    let query = uri.query().unwrap_or_default();
    // RFC 6750, 2.3 allows `access_token` in a URL; logs and histories would hold it.
    let is_named = |pair: &str| {
        pair.split('=').next().is_some_and(|name| decoded(name.as_bytes()).eq_ignore_ascii_case(b"access_token"))
    };
    query.split('&').any(is_named) || in_url(uri).next().is_some()
}

/// Without percent-encoding (RFC 3986, 2.1): `%5F` is the key's underscore to every server behind this one.
fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    Cow::Owned(bytes)
}

fn malformed(what: &str) -> Problem {
    Problem::new(Code::MalformedCredentials, format!("{what}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "iusk_dev_01j0000000e008000000000001_00000000000000000000000000000000000000000001Eoj5w";

    fn with(values: &[&[u8]]) -> Result<String, Code> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(value).expect("a header"));
        }
        let uri = Uri::from_static("/v1/me?limit=5");
        presented(true, &uri, &headers).map(|key| key.expose().to_owned()).map_err(|problem| problem.code)
    }

    #[test]
    fn a_key_is_found_where_it_belongs() {
        for before in ["Bearer ", "bearer  ", "BEARER    ", "  Bearer ", "Bearer \t "] {
            for after in ["", " ", " \t"] {
                assert_eq!(with(&[format!("{before}{KEY}{after}").as_bytes()]), Ok(KEY.to_owned()), "{before:?}");
            }
        }
    }

    #[test]
    fn what_is_no_key_is_told_apart() {
        assert_eq!(with(&[]), Err(Code::MissingCredentials));
        let good = format!("Bearer {KEY}");
        for values in [
            vec![good.as_str(), good.as_str()],
            vec![""],
            vec!["Bearer"],
            vec!["Bearer "],
            vec![KEY],
            vec!["Basic aXVzazo="],
            vec!["Bearer\tiusk_dev_01j0000000e008000000000001_00000000000000000000000000000000000000000001Eoj5w"],
            vec!["Bearer iusk_dev_01j0000000e008000000000001 00000000000000000000000000000000000000000001Eoj5w"],
            vec!["Bearer iusk_dev_01j0000000e008000000000001_00000000000000000000000000000000000000000002Eoj5w"],
            vec!["Bearer IUSK_dev_01j0000000e008000000000001_00000000000000000000000000000000000000000001Eoj5w"],
        ] {
            let bytes: Vec<&[u8]> = values.iter().map(|v| v.as_bytes()).collect();
            assert_eq!(with(&bytes), Err(Code::MalformedCredentials), "{values:?}");
        }
        assert_eq!(with(&[b"Bearer \xff\xfe"]), Err(Code::MalformedCredentials));
        assert_eq!(with(&[&[b'a'; 5_000]]), Err(Code::MalformedCredentials));
    }

    #[test]
    fn a_key_over_plain_http_or_in_the_url_is_refused_even_when_it_is_in_the_header_too() {
        let mut headers = HeaderMap::new();
        headers.append(header::AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {KEY}")).expect("a header"));
        let code = |secure, uri: &str| {
            presented(secure, &uri.parse().expect("a URI"), &headers).map(|_| ()).map_err(|problem| problem.code)
        };
        assert_eq!(code(false, "/v1/me"), Err(Code::InsecureTransport));
        assert_eq!(code(true, &format!("/v1/me?key={KEY}")), Err(Code::CredentialsInUrl));
        assert_eq!(code(true, &format!("/v1/{KEY}/me")), Err(Code::CredentialsInUrl));
        assert_eq!(code(true, "/v1/me?access_token=x"), Err(Code::CredentialsInUrl));
        assert_eq!(code(true, "/v1/me?key=iusk_dev"), Ok(()));
        assert_eq!(code(true, &format!("/v1/me?key={}", KEY.replace('_', "%5f"))), Err(Code::CredentialsInUrl));
        assert_eq!(code(true, &format!("https://{KEY}@host/v1/me")), Err(Code::CredentialsInUrl));
        assert_eq!(code(true, "/v1/me?Access%5Ftoken=x"), Err(Code::CredentialsInUrl));
        assert_eq!(code(true, "/v1/me?key=%&a=%zz%5"), Ok(()));
    }

    #[test]
    fn a_key_that_stood_in_a_wrong_place_is_found_there() {
        let uri = |text: &str| text.parse::<Uri>().expect("a URI");
        let header = |text: String| HeaderMap::from_iter([(header::AUTHORIZATION, text.parse().expect("a header"))]);
        let bearer = header(format!("Bearer {KEY}"));
        let found = |code, uri: &Uri, headers: &HeaderMap| {
            misplaced(code, uri, headers).into_iter().map(|(key, how)| (key.expose() == KEY, how)).collect::<Vec<_>>()
        };
        assert_eq!(found(Code::InsecureTransport, &uri("/v1/me"), &bearer), [(true, How::PlainHttp)]);
        let percent = uri(&format!("/v1/me?key={}", KEY.replace('_', "%5f")));
        assert_eq!(found(Code::CredentialsInUrl, &percent, &HeaderMap::new()), [(true, How::InUrl)]);
        for pair in [format!("{KEY}:"), format!("user:{KEY}")] {
            let basic = header(format!("bAsic {}", BASE64_STANDARD.encode(pair)));
            assert_eq!(found(Code::MalformedCredentials, &uri("/v1/me"), &basic), [(true, How::InBasic)]);
        }
        for junk in ["Basic", "Basic ", "Basic %%%", "Basic aXVzaw==", "Bearer x"] {
            assert_eq!(found(Code::MalformedCredentials, &uri("/v1/me"), &header(junk.to_owned())), []);
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic_or_speaks_in_the_answer(bytes in proptest::collection::vec(32_u8..=255, 0..200)) {
            prop_assume!(HeaderValue::from_bytes(&bytes).is_ok());
            prop_assert!(with(&[&bytes]).is_err());
        }

        #[test]
        fn one_changed_character_is_never_a_key(at in 0..KEY.len(), other in "[0-9A-Za-z_]") {
            let mut changed = KEY.to_owned();
            changed.replace_range(at..=at, &other);
            prop_assume!(changed != KEY);
            prop_assert_eq!(with(&[format!("Bearer {changed}").as_bytes()]), Err(Code::MalformedCredentials));
        }
    }
}
