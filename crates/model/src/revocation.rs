//! What takes a key's right away or gives it back: suspend, resume, transfer; and which keys a bulk revocation means.

use serde_json::{Map, Value, json};

use crate::event::{NewEvent, Type};
use crate::key::{Key, KeyStatus, State, TAG_CHARS_MAX};
use crate::word::line_fault;
use crate::{BodyError, Code, Environment, Problem, Timestamp, UserId};

/// Keys that one bulk revocation ends at most: it is one transaction.
pub const BULK_KEYS_MAX: usize = 1_000;
/// Characters of a note at most.
pub const NOTE_CHARS_MAX: usize = 2_000;
/// Days of idleness that may be asked for.
const IDLE_DAYS_MAX: u32 = 3_650;

impl Key {
    /// The key refused until it is resumed, and `key.suspended`. Repeating it changes nothing.
    pub fn suspend(self, now: Timestamp) -> Result<(Key, Option<NewEvent>), Problem> {
        match self.status_at(now) {
            KeyStatus::Suspended => Ok((self, None)),
            KeyStatus::Active => Ok(self.turned(State::Suspended, Type::KeySuspended, now)),
            status => Err(status_problem(status, "Only an active key can be suspended")),
        }
    }

    /// The key admitted again, and `key.resumed`. Repeating it changes nothing. `by` is the key that asks, where one does:
    /// what it opens lies within it.
    pub fn resume(self, by: Option<&Key>, now: Timestamp) -> Result<(Key, Option<NewEvent>), Problem> {
        if let Some(by) = by {
            self.require_within(by, self.administrator)?;
        }
        match self.status_at(now) {
            KeyStatus::Active => Ok((self, None)),
            KeyStatus::Suspended => Ok(self.turned(State::Active, Type::KeyResumed, now)),
            status => Err(status_problem(status, "Only a suspended key can be resumed")),
        }
    }

    /// The key with the rights of another user, and `key.transferred`; its secret stays. Repeating it changes nothing. `by`
    /// is the key that asks, where one does: what it transfers lies within it then, so it can only take over.
    pub fn transfer(self, to: UserId, by: Option<&Key>, now: Timestamp) -> Result<(Key, Option<NewEvent>), Problem> {
        if let status @ (KeyStatus::Revoked | KeyStatus::Expired) = self.status_at(now) {
            return Err(status_problem(status, "Only a key that lives can be transferred"));
        }
        let was = self.administrator;
        let key = Key { administrator: to, ..self };
        // Also where nothing changes: the answer shows the key.
        if let Some(by) = by {
            key.require_within(by, to)?;
        }
        if was == to {
            return Ok((key, None));
        }
        let before = Map::from_iter([("administrator".to_owned(), json!(was))]);
        let event = key.event(Type::KeyTransferred, before);
        Ok((key, Some(event)))
    }

    fn turned(self, state: State, kind: Type, now: Timestamp) -> (Key, Option<NewEvent>) {
        let before = Map::from_iter([("status".to_owned(), json!(self.state.status()))]);
        let key = Key { state, since: now, ..self };
        let event = key.event(kind, before);
        (key, Some(event))
    }
}

fn status_problem(status: KeyStatus, what: &str) -> Problem {
    Problem::new(Code::KeyStatus, format!("{what}; this one is {status}."))
}

/// Refuses a note that is too long or holds what a log can't show.
pub fn require_note(note: &str) -> Result<(), Problem> {
    let too_long = note.chars().count() > NOTE_CHARS_MAX;
    if too_long || note.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        let detail = format!("The note has at most {NOTE_CHARS_MAX} characters and no control characters.");
        return Err(Problem::body(vec![BodyError::new("/note", "invalid_value", detail)]));
    }
    Ok(())
}

/// Which keys a bulk revocation means, as it was asked for, unread: those that all that is given fits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BulkDraft {
    /// Those with the rights of this user.
    pub user: Option<String>,
    /// Those of this environment: the caller's own.
    pub environment: Option<String>,
    /// Those with this tag.
    pub tag: Option<String>,
    /// Those that nothing has used for so many days.
    pub idle_days: Option<u32>,
}

/// Which keys a bulk revocation means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bulk {
    /// Those with the rights of this user.
    pub user: Option<UserId>,
    /// Those with this tag.
    pub tag: Option<String>,
    /// Those that nothing has used since then; never used counts from when they were made.
    pub idle_since: Option<Timestamp>,
}

impl Bulk {
    /// Whether user and tag fit the key; since when it is idle is not asked.
    pub fn names(&self, key: &Key) -> bool {
        self.user.is_none_or(|user| user == key.administrator)
            && self.tag.as_ref().is_none_or(|tag| key.tags.contains(tag))
    }
}

impl BulkDraft {
    /// Reads it whole, in the caller's environment; every fault is named.
    pub fn read(&self, own: Environment, now: Timestamp) -> Result<Bulk, Problem> {
        let mut faults = Vec::new();
        let mut fault = |pointer: &str, code, detail: String| faults.push(BodyError::new(pointer, code, detail));
        if *self == BulkDraft::default() {
            let detail = "Say which keys are meant: user, environment, tag or idle_days.";
            fault("", "required", detail.to_owned());
        }
        let user = self.user.as_deref().and_then(|text| {
            text.parse().map_err(|_| fault("/user", "invalid_value", "A user's id reads usr_…".to_owned())).ok()
        });
        if let Some(text) = &self.environment
            && text.parse() != Ok(own)
        {
            let detail = format!("A caller revokes keys of its own environment, {own}.");
            fault("/environment", "beyond_the_key", detail);
        }
        if let Some((code, why)) = self.tag.as_ref().and_then(|tag| line_fault(tag, TAG_CHARS_MAX)) {
            fault("/tag", code, format!("The tag {why}."));
        }
        if self.idle_days.is_some_and(|days| !(1..=IDLE_DAYS_MAX).contains(&days)) {
            fault("/idle_days", "out_of_range", format!("idle_days is 1 to {IDLE_DAYS_MAX}."));
        }
        if !faults.is_empty() {
            return Err(Problem::body(faults));
        }
        let idle_since = self.idle_days.map(|days| now.plus(-i64::from(days) * crate::time::DAY_MS));
        Ok(Bulk { user, tag: self.tag.clone(), idle_since })
    }
}

/// What is known, after a revocation, of what the key still did: what the nodes had in memory is part of it once the
/// receipt is complete.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Aftermath {
    /// The last request that got through.
    pub last_passed: Option<Passed>,
    /// Requests that were refused since.
    pub refused: i64,
    /// Long polls and downloads that were cut.
    pub streams_closed: i64,
}

/// A request that got through.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Passed {
    /// Its id.
    pub request_id: String,
    /// When.
    pub at: Timestamp,
    /// From where.
    pub address: String,
    /// For what.
    pub route: String,
}

/// What the audit log keeps of a bulk revocation's wish.
impl Bulk {
    /// As JSON.
    pub fn record(&self) -> Value {
        json!({ "user": self.user, "tag": self.tag, "idle_since": self.idle_since })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    #[test]
    fn a_bulk_revocation_that_says_nothing_is_refused_and_every_fault_is_named() {
        let own = Environment::Development;
        let faults = |draft: BulkDraft| {
            let refused = draft.read(own, NOW).expect_err("refused");
            refused.errors.into_iter().map(|error| error.pointer).collect::<Vec<_>>()
        };
        assert_eq!(faults(BulkDraft::default()), [""]);
        let wrong = BulkDraft {
            user: Some("ada".to_owned()),
            environment: Some("production".to_owned()),
            tag: Some(String::new()),
            idle_days: Some(0),
        };
        assert_eq!(faults(wrong), ["/user", "/environment", "/tag", "/idle_days"]);
        let idle = BulkDraft { idle_days: Some(2), ..BulkDraft::default() };
        let day = crate::time::DAY_MS;
        assert_eq!(idle.read(own, NOW).expect("read").idle_since, Some(NOW.plus(-2 * day)));
        let whole = BulkDraft { environment: Some("development".to_owned()), ..BulkDraft::default() };
        assert_eq!(whole.read(own, NOW).expect("read"), Bulk::default());
    }
}
