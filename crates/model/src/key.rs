//! An API key: its states, what it may do, and that what it makes lies within it.

use std::net::IpAddr;

use secret::{Digest, SecretKey};
use serde_json::{Map, Value, json};

use crate::allowlist::Mode;
use crate::caller::Actor;
use crate::event::{NewEvent, Object, Type};
use crate::scope::Scopes;
use crate::word::words;
use crate::{Allowlist, BodyError, Code, EnvScope, KeyId, Problem, Random, SecretId, Timestamp, UserId};

mod draft;
mod patch;
pub use draft::{Draft, LABEL_CHARS_MAX, NOTE_CHARS_MAX, TAG_CHARS_MAX, TAGS_MAX, Wanted};
pub use patch::Patch;

words! {
    /// A key's status in a word.
    KeyStatus "a key's status" {
        /// Generated and not yet activated: refused.
        Pending "pending";
        /// May call.
        Active "active";
        /// Refused until resumed.
        Suspended "suspended";
        /// Refused for good.
        Revoked "revoked";
        /// Its time is over.
        Expired "expired";
    }
}

words! {
    /// Why a key was revoked.
    Reason "a reason" {
        /// Somebody wanted it.
        Manual "manual";
        /// Its secret got into wrong hands.
        Compromised "compromised";
        /// A rule of the tenant.
        Policy "policy";
        /// Its administrator is gone.
        AdministratorRemoved "administrator_removed";
    }
}

words! {
    /// What a secret of a key is at present.
    SecretStatus "a secret's status" {
        /// The one in use.
        Current "current";
        /// New by a rotation, not used yet.
        Pending "pending";
        /// Old by a rotation, until its end.
        Ending "ending";
        /// Of no use; kept to tell who presents it what became of it.
        Dead "dead";
    }
}

/// What a key is at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Generated and not yet activated.
    Pending,
    /// May call, until it expires.
    Active,
    /// Refused until resumed.
    Suspended,
    /// Refused for good.
    Revoked(Reason),
    /// Its time is over, on record.
    Expired,
}

impl State {
    /// The state with this status and, where revoked, this reason; none where the two don't fit.
    pub fn new(status: KeyStatus, reason: Option<Reason>) -> Option<Self> {
        match (status, reason) {
            (KeyStatus::Pending, None) => Some(Self::Pending),
            (KeyStatus::Active, None) => Some(Self::Active),
            (KeyStatus::Suspended, None) => Some(Self::Suspended),
            (KeyStatus::Revoked, Some(reason)) => Some(Self::Revoked(reason)),
            (KeyStatus::Expired, None) => Some(Self::Expired),
            _ => None,
        }
    }

    /// In a word.
    pub fn status(self) -> KeyStatus {
        match self {
            Self::Pending => KeyStatus::Pending,
            Self::Active => KeyStatus::Active,
            Self::Suspended => KeyStatus::Suspended,
            Self::Revoked(_) => KeyStatus::Revoked,
            Self::Expired => KeyStatus::Expired,
        }
    }

    /// Why, where revoked.
    pub fn reason(self) -> Option<Reason> {
        match self {
            Self::Revoked(reason) => Some(reason),
            _ => None,
        }
    }
}

/// An API key without its secrets.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Its public id, also in the secret key's text.
    pub id: KeyId,
    /// Whose and where.
    pub scope: EnvScope,
    /// Its name for people.
    pub label: String,
    /// What it is at present.
    pub state: State,
    /// Since when.
    pub since: Timestamp,
    /// Whose rights it has, read live.
    pub administrator: UserId,
    /// Who made it.
    pub created_by: Actor,
    /// The key that made it.
    pub parent: Option<KeyId>,
    /// What it may do.
    pub scopes: Scopes,
    /// From where.
    pub allowlist: Allowlist,
    /// What becomes of a call from elsewhere.
    pub allowlist_mode: Mode,
    /// Until when.
    pub expires_at: Option<Timestamp>,
    /// A note for people.
    pub note: String,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Counts its changes.
    pub version: u64,
}

/// One secret of a key, as it is kept: never the text.
#[derive(Clone, Debug, PartialEq)]
pub struct KeySecret {
    /// Its id.
    pub id: SecretId,
    /// Whose secret it is.
    pub key: KeyId,
    /// SHA-256 of the whole text.
    pub digest: Digest,
    /// The last 4 characters, for display.
    pub last4: String,
    /// What it is at present.
    pub status: SecretStatus,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends, or ended.
    pub ends_at: Option<Timestamp>,
    /// Of a pending one: how long the old one lives on after its first use, in milliseconds.
    pub grace_ms: Option<i64>,
    /// Of a pending or ending one: how long the old one has to be silent to end, in milliseconds.
    pub silent_ms: Option<i64>,
    /// Of one that a rotation made: when it was first used.
    pub first_used_at: Option<Timestamp>,
}

impl KeySecret {
    /// What is kept of a secret that was just made.
    pub(crate) fn new(
        key: KeyId,
        text: &SecretKey,
        status: SecretStatus,
        now: Timestamp,
        random: &dyn Random,
    ) -> KeySecret {
        KeySecret {
            id: SecretId::new(now, random),
            key,
            digest: text.digest(),
            last4: text.last4().to_owned(),
            status,
            created_at: now,
            ends_at: None,
            grace_ms: None,
            silent_ms: None,
            first_used_at: None,
        }
    }
}

/// The last use of a secret, as far as it is written: at most some seconds behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastUse {
    /// Which secret.
    pub secret: SecretId,
    /// When.
    pub at: Timestamp,
    /// From where.
    pub address: String,
    /// By which program.
    pub user_agent: String,
    /// For what.
    pub route: String,
}

/// Who makes a key, as far as the rules ask.
#[derive(Clone, Copy, Debug)]
pub enum Maker<'a> {
    /// A person, for this administrator.
    Person {
        /// Who.
        actor: &'a Actor,
        /// Whose rights the key gets.
        administrator: UserId,
    },
    /// A key: what it makes is within it, and is its child.
    Key(&'a Key),
}

impl Key {
    /// A new key with its one secret, and `key.created`. It lives in `scope` unless another environment is wanted. The
    /// secret's text is in no event.
    pub fn create(
        scope: EnvScope,
        wanted: Wanted,
        maker: Maker<'_>,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<(Key, KeySecret, SecretKey, NewEvent), Problem> {
        let id = KeyId::new(now, random);
        let scope = EnvScope { environment: wanted.environment.unwrap_or(scope.environment), ..scope };
        let (administrator, created_by, parent) = match maker {
            Maker::Person { actor, administrator } => (administrator, actor.clone(), None),
            Maker::Key(parent) => {
                (parent.administrator, Actor::Key { id: parent.id, label: parent.label.clone() }, Some(parent))
            }
        };
        // The mode is handed on with the list that it belongs to, and not to another.
        let mode_of = parent.filter(|_| wanted.allowlist.is_none()).map(|parent| parent.allowlist_mode);
        let allowlist_mode = wanted.allowlist_mode.or(mode_of).unwrap_or(Mode::Enforce);
        let key = Key {
            id,
            scope,
            label: wanted.label,
            state: if wanted.pending { State::Pending } else { State::Active },
            since: now,
            administrator,
            created_by,
            parent: parent.map(|parent| parent.id),
            scopes: wanted.scopes.or(parent.map(|parent| parent.scopes.clone())).unwrap_or(Scopes::All),
            allowlist: wanted.allowlist.or(parent.map(|parent| parent.allowlist.clone())).unwrap_or_default(),
            allowlist_mode,
            expires_at: wanted.expires_at.or(parent.and_then(|parent| parent.expires_at)),
            note: wanted.note,
            tags: wanted.tags,
            created_at: now,
            version: 1,
        };
        if let Some(parent) = parent {
            let administrator = wanted.administrator.unwrap_or(parent.administrator);
            key.require_within(parent, administrator)?;
        }
        let text = SecretKey::generate(scope.environment, id.uuid(), crate::clock::random_256(random));
        let secret = KeySecret::new(id, &text, SecretStatus::Current, now, random);
        let event = key.event(Type::KeyCreated, Map::new());
        Ok((key, secret, text, event))
    }

    /// The key revoked, and `key.revoked`; revoked already, it stays as it is and nothing happens, unless it turns out now
    /// that it was compromised: then that is why, and `key.revoked` says so.
    pub fn revoke(self, reason: Reason, now: Timestamp) -> (Key, Option<NewEvent>) {
        if let State::Revoked(before) = self.state {
            if reason != Reason::Compromised || before == reason {
                return (self, None);
            }
            let key = Key { state: State::Revoked(reason), ..self };
            let event = key.event(Type::KeyRevoked, previous("reason", json!(before)));
            return (key, Some(event));
        }
        let before = self.state.status();
        let key = Key { state: State::Revoked(reason), since: now, ..self };
        let event = key.event(Type::KeyRevoked, previous("status", json!(before)));
        (key, Some(event))
    }

    /// The key expired for good, and `key.expired`, where its time is over at `now`: from then on no clock that is set
    /// back lets it pass again. Otherwise it stays as it is and nothing happens.
    pub fn expire(self, now: Timestamp) -> (Key, Option<NewEvent>) {
        let Some(end) = self.expires_at.filter(|end| *end <= now) else { return (self, None) };
        if !matches!(self.state, State::Active | State::Suspended | State::Pending) {
            return (self, None);
        }
        let before = self.state.status();
        let key = Key { state: State::Expired, since: end, ..self };
        let event = key.event(Type::KeyExpired, previous("status", json!(before)));
        (key, Some(event))
    }

    /// Its status for people: `expired` as soon as its time is over, on record or not.
    pub fn status_at(&self, now: Timestamp) -> KeyStatus {
        match self.state {
            State::Active | State::Suspended | State::Pending if self.is_over(now) => KeyStatus::Expired,
            state => state.status(),
        }
    }

    /// Since when it has that status.
    pub fn status_since(&self, now: Timestamp) -> Timestamp {
        match self.expires_at {
            Some(end) if self.status_at(now) == KeyStatus::Expired && self.state != State::Expired => end,
            _ => self.since,
        }
    }

    /// Whether its time is over.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    /// The faults that keep this key from lying within `parent`; the administrator is the one that was asked for.
    pub fn beyond(&self, parent: &Key, administrator: UserId) -> Vec<BodyError> {
        let mut errors = Vec::new();
        let mut beyond = |yes: bool, pointer: &str, detail: String| {
            if yes {
                errors.push(BodyError::new(pointer, "beyond_the_key", detail));
            }
        };
        let environment = parent.scope.environment;
        beyond(self.scope != parent.scope, "/environment", format!("This key makes keys in {environment} only."));
        let scopes = parent.scopes.names().join(", ");
        beyond(!parent.scopes.contain(&self.scopes), "/scopes", format!("This key may give no more than: {scopes}."));
        let list = format!("This key calls from {} only, and so does what it makes.", parent.allowlist);
        beyond(!parent.allowlist.covers(&self.allowlist), "/allowlist", list);
        // A list that only observes restricts nothing.
        let is_looser = !parent.allowlist.is_empty() && self.allowlist_mode > parent.allowlist_mode;
        beyond(
            is_looser,
            "/allowlist_mode",
            "This key's allowlist is enforced, and so is that of what it makes.".to_owned(),
        );
        let later = match (parent.expires_at, self.expires_at) {
            (Some(end), mine) => mine.is_none_or(|mine| mine > end).then_some(end),
            (None, _) => None,
        };
        if let Some(end) = later {
            beyond(true, "/expires_at", format!("This key expires at {end}: what it makes can't outlive it."));
        }
        let other = administrator != parent.administrator || self.administrator != parent.administrator;
        beyond(
            other,
            "/administrator",
            format!("This key makes keys for its own administrator only, {}.", parent.administrator),
        );
        errors
    }

    pub(crate) fn require_within(&self, parent: &Key, administrator: UserId) -> Result<(), Problem> {
        let errors = self.beyond(parent, administrator);
        let Some(first) = errors.first() else { return Ok(()) };
        let mut problem = Problem::new(Code::Beyond, first.detail.clone());
        problem.errors = errors;
        Err(problem)
    }

    /// Refuses a list of its own that would lock out the address that sets it, unless that is confirmed.
    pub fn require_reach(&self, address: Option<IpAddr>, confirmed: bool) -> Result<(), Problem> {
        match address {
            Some(address)
                if !confirmed && self.allowlist_mode == Mode::Enforce && !self.allowlist.contains(address) =>
            {
                let detail = format!(
                    "Your own address, {}, is not on this allowlist. Add it, or send `confirm: true` if that is meant.",
                    address.to_canonical()
                );
                Err(Problem::body(vec![BodyError::new("/allowlist", "locks_out_caller", detail)]))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn event(&self, kind: Type, previous: Map<String, Value>) -> NewEvent {
        let key = json!({
            "id": self.id,
            "label": self.label,
            "status": self.state.status(),
            "reason": self.state.reason(),
            "environment": self.scope.environment,
            "administrator": self.administrator,
            "parent": self.parent,
            "expires_at": self.expires_at,
        });
        let data = Map::from_iter([("key".to_owned(), key)]);
        NewEvent { kind, object: Object::Key(self.id), data, previous }
    }

    /// What the audit log keeps of it.
    pub fn record(&self) -> Value {
        json!({
            "label": self.label,
            "status": self.state.status(),
            "reason": self.state.reason(),
            "environment": self.scope.environment,
            "administrator": self.administrator,
            "parent": self.parent,
            "scopes": self.scopes.names(),
            "allowlist": self.allowlist,
            "allowlist_mode": self.allowlist_mode,
            "expires_at": self.expires_at,
            "note": self.note,
            "tags": self.tags,
        })
    }
}

fn previous(name: &str, value: Value) -> Map<String, Value> {
    Map::from_iter([(name.to_owned(), value)])
}

#[cfg(test)]
mod tests;
