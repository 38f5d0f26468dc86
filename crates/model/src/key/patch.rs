//! A change of a key: what is left out stays; what a key changes lies within it afterwards.

use serde_json::{Map, Value, json};

use super::{Draft, Key, State};
use crate::event::{NewEvent, Type};
use crate::{Code, Problem, Timestamp};

/// A change as it was asked for, unread: what is none stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patch {
    /// Its name for people.
    pub label: Option<String>,
    /// What it may do.
    pub scopes: Option<Vec<String>>,
    /// From where.
    pub allowlist: Option<Vec<String>>,
    /// `enforce` or `observe`.
    pub allowlist_mode: Option<String>,
    /// Until when; `Some(None)`: without an end.
    pub expires_at: Option<Option<String>>,
    /// For people.
    pub note: Option<String>,
    /// Words to find it by.
    pub tags: Option<Vec<String>>,
    /// Meant even where the allowlist locks out the caller's own address.
    pub confirm: bool,
}

impl Patch {
    /// Whether it touches what the key may do, from where and until when.
    fn touches_rights(&self) -> bool {
        self.scopes.is_some() || self.allowlist.is_some() || self.allowlist_mode.is_some() || self.expires_at.is_some()
    }
}

impl Key {
    /// The key with this change, and `key.updated` where anything changed. `by` is the key that asks, where one does: what
    /// it changes lies within it, also itself.
    pub fn patch(self, patch: &Patch, by: Option<&Key>, now: Timestamp) -> Result<(Key, Option<NewEvent>), Problem> {
        let is_dead = matches!(self.state, State::Revoked(_) | State::Expired) || self.is_over(now);
        if is_dead && patch.touches_rights() {
            let detail = format!("The key is {}: only its label, note and tags can be changed.", self.status_at(now));
            return Err(Problem::new(Code::KeyStatus, detail));
        }
        let some = |list: &Option<Vec<String>>, is: Vec<String>| Some(list.clone().unwrap_or(is));
        // Read as a new key's words are, so that one rule holds for both.
        let draft = Draft {
            label: patch.label.clone().unwrap_or_else(|| self.label.clone()),
            scopes: some(&patch.scopes, self.scopes.names()),
            allowlist: some(&patch.allowlist, self.allowlist.entries()),
            allowlist_mode: patch.allowlist_mode.clone(),
            expires_at: patch.expires_at.clone().flatten(),
            note: patch.note.clone().unwrap_or_else(|| self.note.clone()),
            tags: patch.tags.clone().unwrap_or_else(|| self.tags.clone()),
            confirm: patch.confirm,
            ..Draft::default()
        };
        let wanted = draft.read(now)?;
        let key = Key {
            label: wanted.label,
            scopes: wanted.scopes.unwrap_or_else(|| self.scopes.clone()),
            allowlist: wanted.allowlist.unwrap_or_else(|| self.allowlist.clone()),
            allowlist_mode: wanted.allowlist_mode.unwrap_or(self.allowlist_mode),
            expires_at: if patch.expires_at.is_some() { wanted.expires_at } else { self.expires_at },
            note: wanted.note,
            tags: wanted.tags,
            ..self.clone()
        };
        if let Some(by) = by {
            key.require_within(by, key.administrator)?;
        }
        let previous = self.differences(&key);
        if previous.is_empty() {
            return Ok((self, None));
        }
        let event = key.event(Type::KeyUpdated, previous);
        Ok((key, Some(event)))
    }

    /// The key activated, and `key.activated`; active already, it stays as it is and nothing happens.
    pub fn activate(self, by: Option<&Key>, now: Timestamp) -> Result<(Key, Option<NewEvent>), Problem> {
        if let Some(by) = by {
            self.require_within(by, self.administrator)?;
        }
        match self.state {
            State::Pending if !self.is_over(now) => {
                let key = Key { state: State::Active, since: now, ..self };
                let event = key.event(Type::KeyActivated, Map::from_iter([("status".to_owned(), json!("pending"))]));
                Ok((key, Some(event)))
            }
            State::Active if !self.is_over(now) => Ok((self, None)),
            _ => {
                let detail = format!("The key is {}: only a pending one is activated.", self.status_at(now));
                Err(Problem::new(Code::KeyStatus, detail))
            }
        }
    }

    /// The old values of what differs in `after`.
    fn differences(&self, after: &Key) -> Map<String, Value> {
        let (before, after) = (self.record(), after.record());
        let members = before.as_object().into_iter().flatten();
        members.filter(|(name, value)| after.get(name) != Some(value)).map(|(n, v)| (n.clone(), v.clone())).collect()
    }
}
