//! A right secret in the wrong place: how it was seen there, and when people are told. It is the best sign of theft.

use serde_json::json;

use crate::event::{NewEvent, Type};
use crate::key::Key;
use crate::time::DAY_MS;
use crate::word::words;
use crate::{Code, Timestamp};

/// How long people are not told the same again.
pub const QUIET_MS: i64 = DAY_MS;

words! {
    /// How a right secret was seen where it must not be.
    How "a way of exposure" {
        /// It came over plain HTTP.
        PlainHttp "plain_http";
        /// It stood in a URL.
        InUrl "in_url";
        /// It stood in a form.
        InForm "in_form";
        /// It was sent by Basic authentication.
        InBasic "in_basic";
        /// It came from an address that is not on the allowlist.
        ForbiddenAddress "forbidden_address";
        /// It was used after its key was revoked.
        AfterRevocation "after_revocation";
        /// It was used after a rotation had ended it.
        AfterRotation "after_rotation";
        /// It was used after its key had expired.
        AfterExpiry "after_expiry";
        /// Somebody found it and reported it.
        Reported "reported";
    }
}

impl How {
    /// What a refusal of a right secret says about where it was; most say nothing.
    pub fn of(code: Code) -> Option<Self> {
        match code {
            Code::InsecureTransport => Some(Self::PlainHttp),
            Code::CredentialsInUrl => Some(Self::InUrl),
            Code::IpNotAllowed => Some(Self::ForbiddenAddress),
            Code::RevokedKey => Some(Self::AfterRevocation),
            Code::RotatedSecret => Some(Self::AfterRotation),
            Code::ExpiredKey => Some(Self::AfterExpiry),
            _ => None,
        }
    }

    /// In words that follow "its secret".
    pub fn words(self) -> &'static str {
        match self {
            Self::PlainHttp => "came over plain HTTP",
            Self::InUrl => "came in a URL, which logs may hold",
            Self::InForm => "came in a form",
            Self::InBasic => "came by Basic authentication",
            Self::ForbiddenAddress => "was used from an address that is not on the allowlist",
            Self::AfterRevocation => "was used after the key was revoked",
            Self::AfterRotation => "was used after a rotation had ended it",
            Self::AfterExpiry => "was used after the key had expired",
            Self::Reported => "was found and reported",
        }
    }
}

/// What is known of one way in which a key was exposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// How.
    pub how: How,
    /// When first.
    pub first_at: Timestamp,
    /// When last.
    pub last_at: Timestamp,
    /// How often.
    pub count: u64,
    /// From where last.
    pub address: String,
    /// When programs were told last.
    pub told_at: Option<Timestamp>,
    /// When a mail told people last: not each that is told to programs is worth one.
    pub mailed_at: Option<Timestamp>,
}

/// Whom to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Telling {
    /// Programs, by an event: once a day for each way.
    pub event: bool,
    /// People, by mail: once a day for a key.
    pub mail: bool,
}

/// Whom to tell at `now` that a key was seen like this, given what was known of it before.
pub fn telling(how: How, before: &[Exposure], now: Timestamp) -> Telling {
    let is_recent = |at: Option<Timestamp>| at.is_some_and(|at| now.millis() - at.millis() < QUIET_MS);
    Telling {
        event: !before.iter().any(|seen| seen.how == how && is_recent(seen.told_at)),
        mail: !before.iter().any(|seen| is_recent(seen.mailed_at)),
    }
}

/// The exposure that a key's badge shows: the latest since its current secret was made.
pub fn badge(exposures: &[Exposure], since: Timestamp) -> Option<&Exposure> {
    exposures.iter().filter(|seen| seen.last_at >= since).max_by_key(|seen| (seen.last_at, seen.how))
}

/// `key.exposed`, or `key.leaked` where it was reported.
pub fn event(key: &Key, how: How, address: &str, at: Timestamp, place: Option<&str>) -> NewEvent {
    let kind = if how == How::Reported { Type::KeyLeaked } else { Type::KeyExposed };
    let mut event = key.event(kind, serde_json::Map::new());
    let exposure = json!({"how": how, "at": at, "address": address, "place": place});
    event.data.insert("exposure".to_owned(), exposure);
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + ms)
    }

    fn seen(how: How, last_ms: i64, told_ms: Option<i64>) -> Exposure {
        let (address, told_at) = ("192.0.2.1".to_owned(), told_ms.map(at));
        Exposure { how, first_at: at(0), last_at: at(last_ms), count: 1, address, told_at, mailed_at: told_at }
    }

    #[test]
    fn programs_are_told_once_a_day_for_each_way_and_people_once_for_a_key() {
        let told = |how, before: &[Exposure], now| {
            let telling = telling(how, before, at(now));
            (telling.event, telling.mail)
        };
        assert_eq!(told(How::InUrl, &[], 0), (true, true));
        let before = [seen(How::InUrl, 0, Some(0))];
        assert_eq!(told(How::InUrl, &before, QUIET_MS - 1), (false, false));
        assert_eq!(told(How::PlainHttp, &before, 1), (true, false));
        assert_eq!(told(How::InUrl, &before, QUIET_MS), (true, true));
        assert_eq!(told(How::InUrl, &[seen(How::InUrl, 0, None)], 1), (true, true));
        let without_mail = Exposure { mailed_at: None, ..seen(How::Reported, 0, Some(0)) };
        assert_eq!(told(How::InUrl, &[without_mail], 1), (true, true), "what no mail told keeps none back");
    }

    #[test]
    fn the_badge_is_the_latest_since_the_secret_was_made() {
        let exposures = [seen(How::InUrl, 5, None), seen(How::PlainHttp, 9, None), seen(How::Reported, 7, None)];
        assert_eq!(badge(&exposures, at(0)).map(|seen| seen.how), Some(How::PlainHttp));
        assert_eq!(badge(&exposures, at(10)), None);
        assert_eq!(badge(&[], at(0)), None);
    }

    #[test]
    fn each_way_reads_as_a_sentence() {
        for how in How::ALL {
            assert!(how.words().starts_with("came ") || how.words().starts_with("was "), "{how}");
        }
    }
}
