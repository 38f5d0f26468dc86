//! Rotation: a second secret on the same key, pending until its first use; then it is the current one and the old one ends.

use secret::SecretKey;
use serde_json::{Map, Value, json};

use crate::event::{NewEvent, Type};
use crate::key::{Key, KeySecret, LastUse, SecretStatus, State};
use crate::scope::Scope;
use crate::time::{DAY_MS, duration_ms, duration_ms_or_zero};
use crate::word::words;
use crate::{BodyError, Code, Problem, Random, SecretId, Timestamp};

/// How long the old secret may live on after the first use of the new one, at most.
pub const GRACE_MS_MAX: i64 = 7 * DAY_MS;
/// How long it does where nothing else is said.
pub const GRACE_MS_DEFAULT: i64 = DAY_MS;
/// How long a new secret waits for its first use.
pub const PENDING_MS_MAX: i64 = 7 * DAY_MS;
/// How long an old secret may have to be silent to end, at most.
pub const SILENT_MS_MAX: i64 = 30 * DAY_MS;

words! {
    /// When the old secret ends.
    Finish "finish" {
        /// When the grace period is over.
        AfterGrace "after_grace";
        /// When nothing has used it for a while.
        WhenSilent "when_silent";
    }
}

/// A rotation as it was asked for, unread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// How long the old secret lives on after the first use of the new one, ISO 8601.
    pub grace_period: Option<String>,
    /// `after_grace` or `when_silent`.
    pub finish: Option<String>,
    /// How long the old secret has to be silent, ISO 8601.
    pub silent_for: Option<String>,
    /// Ends a rotation that is under way at once.
    pub replace: bool,
    /// The age recipient that the new secret is sealed to; left out: it is answered in clear.
    pub encrypt_to: Option<String>,
}

/// A rotation as it was asked for, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How long the old secret lives on after the first use of the new one, in milliseconds; none: until it is silent.
    pub grace_ms: Option<i64>,
    /// How long the old secret has to be silent to end, in milliseconds.
    pub silent_ms: Option<i64>,
    /// Ends a rotation that is under way at once.
    pub replace: bool,
}

impl Draft {
    /// Reads it whole; every fault is named.
    pub fn read(&self) -> Result<Plan, Problem> {
        let mut faults = Vec::new();
        let mut fault = |pointer: &str, code, detail: String| faults.push(BodyError::new(pointer, code, detail));
        let finish = self.finish.as_deref().map_or(Ok(Finish::AfterGrace), str::parse);
        if let Err(unknown) = &finish {
            fault("/finish", "invalid_value", format!("`{unknown}`."));
        }
        let grace_ms =
            self.grace_period.as_deref().map(|text| duration_ms_or_zero(text).filter(|ms| *ms <= GRACE_MS_MAX));
        if grace_ms == Some(None) {
            let detail = "A grace period is an ISO 8601 duration from PT0S to P7D, such as PT24H.";
            fault("/grace_period", "invalid_duration", detail.to_owned());
        }
        let silent_ms = self.silent_for.as_deref().map(|text| duration_ms(text).filter(|ms| *ms <= SILENT_MS_MAX));
        match (finish, silent_ms) {
            (Ok(Finish::WhenSilent), None) => {
                let detail = "Say for how long the old secret has to be silent, such as PT24H.";
                fault("/silent_for", "required", detail.to_owned());
            }
            (Ok(Finish::AfterGrace), Some(_)) => {
                fault("/silent_for", "not_allowed", "silent_for goes with `finish: when_silent` only.".to_owned());
            }
            (_, Some(None)) => {
                let detail = "silent_for is an ISO 8601 duration above zero and at most P30D, such as PT24H.";
                fault("/silent_for", "invalid_duration", detail.to_owned());
            }
            _ => {}
        }
        if !faults.is_empty() {
            return Err(Problem::body(faults));
        }
        let silent_ms = silent_ms.flatten();
        // What ends when it is silent ends earlier only where a grace period was asked for too.
        let grace_ms = grace_ms.flatten().or(silent_ms.is_none().then_some(GRACE_MS_DEFAULT));
        Ok(Plan { grace_ms, silent_ms, replace: self.replace })
    }
}

/// What a request to rotate leads to.
#[derive(Debug)]
pub enum Begun {
    /// A new secret.
    Anew(Box<Anew>),
    /// A secret that was made before and waits for its first use.
    Pending,
}

/// A rotation that begins.
#[derive(Debug)]
pub struct Anew {
    /// The new secret, as it is kept.
    pub secret: KeySecret,
    /// Its text.
    pub text: SecretKey,
    /// The one that it replaces, dead, where a rotation was under way.
    pub replaced: Option<KeySecret>,
    /// `key.rotation_started`.
    pub event: NewEvent,
}

/// Secrets that changed, and what is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Turned {
    /// As they are now.
    pub secrets: Vec<KeySecret>,
    /// What happened.
    pub event: NewEvent,
}

impl Turned {
    /// Whether one of them may not pass any more from now on.
    pub fn ends_one(&self) -> bool {
        self.secrets.iter().any(|secret| secret.status == SecretStatus::Dead)
    }
}

impl Key {
    /// Refuses who may not rotate this key: a key rotates itself, and with `keys:write` any other that lies within it, as
    /// it is given the other's secret.
    pub fn require_rotation_by(&self, by: Option<&Key>) -> Result<(), Problem> {
        let Some(by) = by.filter(|by| by.id != self.id) else { return Ok(()) };
        if !by.scopes.cover(Scope::KeysWrite) {
            let detail = format!("To rotate another key needs the scope {}.", Scope::KeysWrite);
            let mut refusal = Problem::new(Code::ScopeRequired, detail);
            refusal.scope = Some(Scope::KeysWrite.as_str());
            return Err(refusal);
        }
        self.require_within(by, self.administrator)
    }

    /// Refuses a secret that is about to end: whoever holds it, be it a thief in the grace period, would make itself a
    /// successor without an end and throw out the secret that the owner has gone over to.
    pub fn require_rotation_with(secrets: &[KeySecret], asks: SecretId) -> Result<(), Problem> {
        if !secrets.iter().any(|secret| secret.id == asks && secret.status == SecretStatus::Ending) {
            return Ok(());
        }
        let detail = "This secret is about to end and can't rotate its key: call with the new one.";
        Err(Problem::new(Code::RotationInProgress, detail))
    }

    /// Begins a rotation. `secrets` are all that the key has.
    pub fn rotate(
        &self,
        secrets: &[KeySecret],
        plan: Plan,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<Begun, Problem> {
        if !matches!(self.state, State::Active | State::Suspended) || self.is_over(now) {
            let detail = format!("The key is {}: only an active or suspended one is rotated.", self.status_at(now));
            return Err(Problem::new(Code::KeyStatus, detail));
        }
        let under_way = secrets.iter().find(|secret| secret.is_second(now));
        match under_way {
            Some(secret) if !plan.replace && secret.status == SecretStatus::Pending => return Ok(Begun::Pending),
            Some(secret) if !plan.replace => {
                let until = secret.ends_at.map_or("nothing uses it any more".to_owned(), |end| end.to_string());
                let detail = format!("The old secret, …{}, lives until {until}.", secret.last4);
                return Err(Problem::new(Code::RotationInProgress, detail));
            }
            _ => {}
        }
        let replaced = under_way.map(|secret| secret.clone().ended(now));
        let text = SecretKey::generate(self.scope.environment, self.id.uuid(), crate::clock::random_256(random));
        let secret = KeySecret {
            grace_ms: plan.grace_ms,
            silent_ms: plan.silent_ms,
            ends_at: Some(now.plus(PENDING_MS_MAX)),
            ..KeySecret::new(self.id, &text, SecretStatus::Pending, now, random)
        };
        let data = json!({"pending_last4": secret.last4, "pending_until": secret.ends_at, "finish": secret.finish()});
        let event = self.rotation_event(Type::KeyRotationStarted, data);
        Ok(Begun::Anew(Box::new(Anew { secret, text, replaced, event })))
    }

    /// The first use of the secret `used`: it becomes the current one, and the old one ends, with `key.rotated`. Nothing
    /// where it was used before; a refusal where it is dead by now.
    pub fn first_use(&self, secrets: &[KeySecret], used: SecretId, now: Timestamp) -> Result<Option<Turned>, Problem> {
        let new = secrets.iter().find(|secret| secret.id == used).ok_or(Code::InvalidKey)?;
        match new.status {
            SecretStatus::Current | SecretStatus::Ending => return Ok(None),
            SecretStatus::Pending if !new.is_over(now) => {}
            SecretStatus::Pending | SecretStatus::Dead => return Err(Code::RotatedSecret.into()),
        }
        let mut turned: Vec<KeySecret> = secrets
            .iter()
            .filter(|secret| secret.status == SecretStatus::Current)
            .map(|old| match new.grace_ms {
                Some(0) => old.clone().ended(now),
                grace_ms => KeySecret {
                    status: SecretStatus::Ending,
                    ends_at: grace_ms.map(|ms| now.plus(ms)),
                    silent_ms: new.silent_ms,
                    ..old.clone()
                },
            })
            .collect();
        let old = turned.first().map(|old| (old.last4.clone(), old.ends_at));
        turned.push(KeySecret {
            status: SecretStatus::Current,
            ends_at: None,
            grace_ms: None,
            silent_ms: None,
            first_used_at: Some(now),
            ..new.clone()
        });
        let data = json!({
            "last4": new.last4,
            "old_last4": old.as_ref().map(|old| &old.0),
            "ends_at": old.as_ref().and_then(|old| old.1),
            "finish": new.finish(),
        });
        Ok(Some(Turned { secrets: turned, event: self.rotation_event(Type::KeyRotated, data) }))
    }

    /// A secret whose time is over, dead, with `key.rotation_finished`, until there is none: an old one after its grace
    /// period or when nothing has used it for long enough, a new one that nobody used. `uses` are complete up to
    /// `known_until`.
    pub fn finish_rotation(
        &self,
        secrets: &[KeySecret],
        uses: &[LastUse],
        known_until: Timestamp,
        now: Timestamp,
    ) -> Option<Turned> {
        let since = secrets.iter().find(|secret| secret.status == SecretStatus::Current).and_then(|s| s.first_used_at);
        let is_silent = |secret: &KeySecret| {
            let used = uses.iter().find(|used| used.secret == secret.id).map(|used| used.at);
            let last = used.max(since).unwrap_or(secret.created_at);
            secret.silent_ms.is_some_and(|ms| last.plus(ms) <= known_until)
        };
        let over = secrets.iter().find(|secret| match secret.status {
            SecretStatus::Pending => secret.is_over(now),
            SecretStatus::Ending => secret.is_over(now) || is_silent(secret),
            SecretStatus::Current | SecretStatus::Dead => false,
        })?;
        let why = match over.status {
            SecretStatus::Pending => "never_used",
            _ if over.is_over(now) => "grace_over",
            _ => "silent",
        };
        // One that ended by the clock ended then, not when it was noticed.
        let end = over.ends_at.filter(|end| *end <= now).unwrap_or(now);
        let data = json!({"old_last4": over.last4, "why": why, "ended_at": end});
        let dead = over.clone().ended(end);
        Some(Turned { secrets: vec![dead], event: self.rotation_event(Type::KeyRotationFinished, data) })
    }

    fn rotation_event(&self, kind: Type, rotation: Value) -> NewEvent {
        let mut event = self.event(kind, Map::new());
        event.data.insert("rotation".to_owned(), rotation);
        event
    }
}

impl KeySecret {
    /// Whether its end has come.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.ends_at.is_some_and(|end| end <= now)
    }

    /// Its status for people: dead as soon as its end has come, on record or not.
    pub fn status_at(&self, now: Timestamp) -> SecretStatus {
        if self.is_over(now) { SecretStatus::Dead } else { self.status }
    }

    /// Whether it is the second living secret of a key, which a rotation brings.
    fn is_second(&self, now: Timestamp) -> bool {
        matches!(self.status, SecretStatus::Pending | SecretStatus::Ending) && !self.is_over(now)
    }

    /// How a rotation with these bounds finishes.
    pub fn finish(&self) -> Finish {
        if self.silent_ms.is_some() { Finish::WhenSilent } else { Finish::AfterGrace }
    }

    fn ended(self, at: Timestamp) -> KeySecret {
        KeySecret { status: SecretStatus::Dead, ends_at: Some(at), grace_ms: None, silent_ms: None, ..self }
    }
}

/// A rotation under way, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// When the new secret was made.
    pub started_at: Timestamp,
    /// The new secret's last 4 characters, until its first use.
    pub pending_last4: Option<String>,
    /// When the old secret ends, once that is known.
    pub ends_at: Option<Timestamp>,
    /// How it finishes.
    pub finish: Finish,
}

/// The rotation that is under way, if one is.
pub fn under_way(secrets: &[KeySecret], now: Timestamp) -> Option<Rotation> {
    let second = secrets.iter().find(|secret| secret.is_second(now))?;
    let current = secrets.iter().find(|secret| secret.status == SecretStatus::Current)?;
    let is_pending = second.status == SecretStatus::Pending;
    Some(Rotation {
        started_at: if is_pending { second.created_at } else { current.created_at },
        pending_last4: is_pending.then(|| second.last4.clone()),
        ends_at: second.ends_at.filter(|_| !is_pending),
        finish: second.finish(),
    })
}

/// What the audit log keeps of a key's living secrets: never more than their last 4 characters.
pub fn record(secrets: &[KeySecret]) -> Value {
    let living = secrets.iter().filter(|secret| secret.status != SecretStatus::Dead);
    let living: Vec<_> = living
        .map(|secret| json!({"last4": secret.last4, "status": secret.status, "ends_at": secret.ends_at}))
        .collect();
    json!({ "secrets": living })
}

#[cfg(test)]
mod tests;
