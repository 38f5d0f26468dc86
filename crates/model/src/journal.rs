//! The journal of revocations: one line for each, with a checksum, so that keys stay dead through an older backup.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::event::hex;
use crate::key::Reason;
use crate::{EnvScope, KeyId, Timestamp};

/// Hexadecimal digits of a line's checksum.
const CHECK_DIGITS: usize = 16;

/// What was done to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// It was revoked, for good.
    Revoked(Reason),
    /// It was suspended.
    Suspended,
    /// It was resumed.
    Resumed,
}

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// Which key.
    pub key: KeyId,
    /// Whose and where.
    pub scope: EnvScope,
    /// What.
    pub fact: Fact,
}

impl Line {
    /// The line as it is written, with its end.
    pub fn text(&self) -> String {
        let (verb, reason) = match self.fact {
            Fact::Revoked(reason) => ("revoked", reason.as_str()),
            Fact::Suspended => ("suspended", "-"),
            Fact::Resumed => ("resumed", "-"),
        };
        let EnvScope { tenant, environment } = self.scope;
        let text = format!("{} {verb} {} {tenant} {environment} {reason}", self.at, self.key);
        format!("{text} {}\n", check(&text))
    }

    /// Reads a line; none where it was torn or changed.
    pub fn parse(line: &str) -> Option<Line> {
        let (text, sum) = line.trim_end_matches('\n').rsplit_once(' ')?;
        if check(text) != sum {
            return None;
        }
        let words: Vec<&str> = text.split(' ').collect();
        let [at, verb, key, tenant, environment, reason] = words.as_slice() else { return None };
        let fact = match *verb {
            "revoked" => Fact::Revoked(reason.parse().ok()?),
            "suspended" => Fact::Suspended,
            "resumed" => Fact::Resumed,
            _ => return None,
        };
        let scope = EnvScope { tenant: tenant.parse().ok()?, environment: environment.parse().ok()? };
        Some(Line { at: at.parse().ok()?, key: key.parse().ok()?, scope, fact })
    }
}

fn check(text: &str) -> String {
    let mut digits = hex(&Sha256::digest(text.as_bytes()));
    digits.truncate(CHECK_DIGITS);
    digits
}

/// A journal as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// The lines, in their order.
    pub lines: Vec<Line>,
    /// Lines that can't be read, beside a torn last one.
    pub damaged: usize,
}

/// Reads a whole journal. A last line without its end was being written when the machine stopped: its revocation was
/// never answered.
pub fn read(text: &str) -> Read {
    let mut read = Read::default();
    for line in text.split_inclusive('\n').filter(|line| !line.trim().is_empty()) {
        match Line::parse(line) {
            Some(line) => read.lines.push(line),
            None if !line.ends_with('\n') => {}
            None => read.damaged += 1,
        }
    }
    read
}

/// What each key has to be, after all lines: see [`latest`]. A key that was resumed last is not among them.
pub fn standing(lines: impl IntoIterator<Item = Line>) -> BTreeMap<KeyId, Line> {
    let mut standing = latest(lines);
    standing.retain(|_, line| line.fact != Fact::Resumed);
    standing
}

/// What holds of each key, after all lines: revoked once is revoked for good; otherwise the latest word.
pub fn latest(lines: impl IntoIterator<Item = Line>) -> BTreeMap<KeyId, Line> {
    let mut latest: BTreeMap<KeyId, Line> = BTreeMap::new();
    for line in lines {
        latest
            .entry(line.key)
            .and_modify(|before| {
                let newer = match (before.fact, line.fact) {
                    (Fact::Revoked(_), Fact::Revoked(_)) => line.at < before.at,
                    (Fact::Revoked(_), _) => false,
                    (_, Fact::Revoked(_)) => true,
                    _ => line.at >= before.at,
                };
                if newer {
                    *before = line;
                }
            })
            .or_insert(line);
    }
    latest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Environment, TenantId};
    use proptest::prelude::*;
    use uuid::Uuid;

    fn line(key: u128, at: i64, fact: Fact) -> Line {
        let scope = EnvScope { tenant: TenantId::from_uuid(Uuid::from_u128(1)), environment: Environment::Production };
        Line { at: Timestamp::from_millis(at), key: KeyId::from_uuid(Uuid::from_u128(key)), scope, fact }
    }

    #[test]
    fn a_torn_last_line_is_no_damage_and_a_changed_one_is() {
        let lines =
            [line(1, 10, Fact::Revoked(Reason::Manual)), line(2, 20, Fact::Suspended), line(3, 30, Fact::Resumed)];
        let text: String = lines.iter().map(Line::text).collect();
        assert_eq!(read(&text), Read { lines: lines.to_vec(), damaged: 0 });
        for cut in 2..lines[2].text().len() {
            assert_eq!(read(&text[..text.len() - cut]).lines, lines[..2], "{cut}");
            assert_eq!(read(&text[..text.len() - cut]).damaged, 0, "{cut}");
        }
        // What was torn, and what was written after it.
        let mended = format!("{}\n{}", &text[..text.len() - 5], lines[2].text());
        assert_eq!(read(&mended), Read { lines: lines.to_vec(), damaged: 1 });
        let changed = text.replace("suspended", "resumed");
        assert_eq!(read(&changed), Read { lines: vec![lines[0], lines[2]], damaged: 1 });
    }

    #[test]
    fn revoked_once_is_revoked_for_good() {
        let (revoked, suspended, resumed) = (Fact::Revoked(Reason::Compromised), Fact::Suspended, Fact::Resumed);
        for (lines, want) in [
            (vec![line(1, 1, suspended), line(1, 2, resumed)], None),
            (vec![line(1, 2, resumed), line(1, 1, suspended)], None),
            (vec![line(1, 1, resumed), line(1, 2, suspended)], Some(line(1, 2, suspended))),
            (vec![line(1, 1, revoked), line(1, 9, resumed)], Some(line(1, 1, revoked))),
            (vec![line(1, 9, suspended), line(1, 1, revoked), line(1, 5, revoked)], Some(line(1, 1, revoked))),
        ] {
            let standing = standing(lines.clone());
            assert_eq!(standing.get(&line(1, 0, revoked).key).copied(), want, "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_taken_for_a_line(text in ".{0,200}") {
            prop_assert!(Line::parse(&text).is_none());
        }

        #[test]
        fn a_line_is_read_as_it_was_written(key: u128, at in 0_i64..4_000_000_000_000, verb in 0_usize..3) {
            let fact = [Fact::Revoked(Reason::AdministratorRemoved), Fact::Suspended, Fact::Resumed][verb];
            let line = line(key, at, fact);
            prop_assert_eq!(Line::parse(&line.text()), Some(line));
        }
    }
}
