//! A report that secret keys lie where others can read them: what strangers send, read and bounded.

use secret::Digest;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::event::hex;
use crate::word::line_fault;
use crate::{BodyError, Code, Problem};

/// Keys of one report at most, as texts and digests together.
pub const KEYS_MAX: usize = 1_000;
/// Bytes of one text at most; a secret key has 86.
const TOKEN_BYTES_MAX: usize = 4_096;
/// Characters of a place at most.
const PLACE_CHARS_MAX: usize = 500;

/// A key that may have been found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// SHA-256 of its text.
    pub digest: Digest,
    /// Where, as far as it was told.
    pub place: Option<String>,
}

/// One entry of GitHub's secret scanning partner payload. GitHub may add members.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct GithubEntry {
    /// The text that matched.
    pub token: String,
    /// The pattern's name.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it was found.
    #[serde(default)]
    pub url: Option<String>,
}

/// Reads a report: texts, their digests in hexadecimal, and where they were found. Every text is hashed, key or not: who
/// reports can't tell a hit from a miss by the time that it takes.
pub fn read(tokens: &[String], digests: &[String], place: Option<&str>) -> Result<Vec<Found>, Problem> {
    let count = tokens.len() + digests.len();
    if count == 0 || count > KEYS_MAX {
        let detail =
            format!("A report has 1 to {KEYS_MAX} keys, in `tokens` and `digests` together; this one has {count}.");
        return Err(Problem::body(vec![BodyError::new("", "out_of_range", detail)]));
    }
    let mut faults = Vec::new();
    let place = place.map(str::trim).filter(|place| !place.is_empty());
    if let Some((code, why)) = place.and_then(|place| line_fault(place, PLACE_CHARS_MAX)) {
        faults.push(BodyError::new("/place", code, format!("The place {why}.")));
    }
    let mut all = Vec::with_capacity(count);
    for (number, token) in tokens.iter().enumerate() {
        if token.len() > TOKEN_BYTES_MAX {
            let detail = format!("A token has at most {TOKEN_BYTES_MAX} bytes.");
            faults.push(BodyError::new(format!("/tokens/{number}"), "too_long", detail));
        }
        all.push(Found { digest: digest(token), place: place.map(shown) });
    }
    for (number, text) in digests.iter().enumerate() {
        match unhex(text) {
            Some(bytes) => all.push(Found { digest: Digest(bytes), place: place.map(shown) }),
            None => {
                let detail = "A digest is SHA-256 of the whole secret key, in 64 hexadecimal digits.";
                faults.push(BodyError::new(format!("/digests/{number}"), "invalid_value", detail));
            }
        }
    }
    if faults.is_empty() { Ok(all) } else { Err(Problem::body(faults)) }
}

/// Reads GitHub's payload: a list of what matched, where.
pub fn read_github(body: &[u8]) -> Result<Vec<GithubEntry>, Problem> {
    let entries: Vec<GithubEntry> = serde_json::from_slice(body)
        .map_err(|error| Problem::new(Code::InvalidJson, format!("The payload is no list of matches: {error}.")))?;
    if entries.len() > KEYS_MAX {
        let detail = format!("A payload has at most {KEYS_MAX} matches; this one has {}.", entries.len());
        return Err(Problem::body(vec![BodyError::new("", "out_of_range", detail)]));
    }
    Ok(entries)
}

impl GithubEntry {
    /// As a key that may have been found. What GitHub tells of the place is cut to its bound rather than refused.
    pub fn found(&self) -> Found {
        let line = |url: &String| url.chars().filter(|c| !crate::word::is_hidden(*c)).collect::<String>();
        // A key in it is looked for first: cut, it would not be known for one.
        let place = self.url.as_ref().map(|url| shown(&line(url)).chars().take(PLACE_CHARS_MAX).collect());
        Found { digest: digest(&self.token), place }
    }
}

/// The keys as a job's row holds them.
pub fn to_row(found: &[Found]) -> Value {
    found.iter().map(|found| json!({"digest": hex(&found.digest.0), "place": found.place})).collect()
}

/// The keys of such a row.
pub fn from_row(row: &Value) -> Vec<Found> {
    let read = |entry: &Value| {
        let place = entry["place"].as_str().map(str::to_owned);
        Some(Found { digest: Digest(unhex(entry["digest"].as_str()?)?), place })
    };
    row.as_array().into_iter().flatten().filter_map(read).collect()
}

fn digest(token: &str) -> Digest {
    Digest(Sha256::digest(token.trim().as_bytes()).into())
}

/// A place is shown and mailed: a secret key in it, of a careless tool, is not.
fn shown(place: &str) -> String {
    if secret::find(place.as_bytes()).is_empty() {
        place.to_owned()
    } else {
        "(the place held a secret key)".to_owned()
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let text = text.trim();
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "iusk_dev_01j0000000e008000000000001_00000000000000000000000000000000000000000001Eoj5w";

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_text_and_its_digest_are_the_same_report() {
        let by_text = read(&texts(&[KEY]), &[], Some(" https://example.com/a ")).expect("a report");
        let digest = hex(&by_text[0].digest.0);
        let by_digest = read(&[], &[digest.to_uppercase()], Some("https://example.com/a")).expect("a report");
        assert_eq!(by_text, by_digest);
        assert_eq!(by_text[0].digest, secret::SecretKey::parse(KEY).expect("a key").digest());
        assert_eq!(from_row(&to_row(&by_text)), by_text);
    }

    #[test]
    fn what_is_no_report_is_refused_with_every_fault() {
        let refused = read(&[], &texts(&["ab", &"g".repeat(64)]), Some("a\nb")).expect_err("three faults");
        let places: Vec<_> = refused.errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(places, ["/place", "/digests/0", "/digests/1"]);
        assert!(read(&[], &[], None).is_err());
        assert!(read(&vec![String::new(); KEYS_MAX], &texts(&["x"]), None).is_err());
        assert!(read(&["x".repeat(TOKEN_BYTES_MAX + 1)], &[], None).is_err());
        assert!(read_github(b"{}").is_err() && read_github(b"[{}]").is_err());
    }

    #[test]
    fn githubs_payload_is_read_whatever_it_adds() {
        let body = json!([{"token": KEY, "type": "iusign", "url": "https://github.com/a\u{202e}", "source": "content", "x": 1}]);
        let entries = read_github(body.to_string().as_bytes()).expect("a payload");
        assert_eq!(entries[0].found().place.as_deref(), Some("https://github.com/a"));
        assert_eq!(entries[0].found().digest, digest(KEY));
    }

    #[test]
    fn a_place_shows_no_secret_key() {
        let report = read(&texts(&["x"]), &[], Some(&format!("https://example.com/?key={KEY}"))).expect("a report");
        assert_eq!(report[0].place.as_deref(), Some("(the place held a secret key)"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, texts in proptest::collection::vec("\\PC{0,80}", 0..5)) {
            let _ = read_github(&bytes);
            let _ = read(&texts, &texts, texts.first().map(String::as_str));
            let _ = from_row(&json!(texts));
        }
    }
}
