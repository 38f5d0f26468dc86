//! How old a key's secret is, when the tenant's policies say that it has to go, and what is told of it, once each.

use serde_json::{Map, Value, json};

use crate::event::{NewEvent, Type};
use crate::key::{Key, KeySecret, KeyStatus, LastUse, SecretStatus, State};
use crate::notice::{About, KeyName};
use crate::policy::{MaxAgeMode, Policies, RotationMode};
use crate::time::DAY_MS;
use crate::{Environment, Timestamp};

/// Days before a key's end at which its administrator is told, the nearest first.
pub const TOLD_DAYS: [i64; 4] = [1, 7, 14, 30];

/// What a tenant's policies make of a key's age, which begins anew with each rotation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ages {
    /// What happens at the greatest age, and when that is reached.
    pub max_age: Option<(MaxAgeMode, Timestamp)>,
    /// What happens where it is not rotated, and when it is due.
    pub rotation: Option<(RotationMode, Timestamp)>,
}

impl Ages {
    /// The ages of a key with these secrets; nothing where it has none that is in use.
    pub fn of(secrets: &[KeySecret], policies: &Policies, environment: Environment) -> Ages {
        let current = secrets.iter().find(|secret| secret.status == SecretStatus::Current);
        let Some(made) = current.map(|secret| secret.created_at) else { return Ages::default() };
        let (age, rotation) = (policies.key_max_age.of(environment), policies.key_rotation.of(environment));
        let after = |days: u32| made.plus(i64::from(days) * DAY_MS);
        Ages {
            max_age: (age.mode != MaxAgeMode::Off).then(|| (age.mode, after(age.days))),
            rotation: (rotation.mode != RotationMode::Off).then(|| (rotation.mode, after(rotation.days))),
        }
    }

    /// From when on the current secret is refused for its age.
    pub fn over_at(&self) -> Option<Timestamp> {
        let age = self.max_age.filter(|(mode, _)| *mode == MaxAgeMode::Enforce).map(|(_, at)| at);
        let rotation = self.rotation.filter(|(mode, _)| *mode == RotationMode::Enforce).map(|(_, at)| at);
        age.into_iter().chain(rotation).min()
    }
}

/// A key's status for people: `expired` too where its secret is older than the tenant allows and no new one waits.
pub fn status_at(key: &Key, secrets: &[KeySecret], policies: &Policies, now: Timestamp) -> (KeyStatus, Timestamp) {
    let over_at = Ages::of(secrets, policies, key.scope.environment).over_at().filter(|end| *end <= now);
    let has_successor = secrets.iter().any(|secret| secret.status == SecretStatus::Pending && !secret.is_over(now));
    match (key.status_at(now), over_at) {
        (KeyStatus::Active, Some(end)) if !has_successor => (KeyStatus::Expired, end),
        (status, _) => (status, key.status_since(now)),
    }
}

/// Something that is told of a key once: by event, and by mail to its administrator.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// What must not be told twice.
    pub once: String,
    /// The event.
    pub event: NewEvent,
    /// The mail.
    pub about: About,
}

/// What there is to tell of a key at present: that it ends in 30, 14, 7 or 1 days, that it is due to be rotated, that nobody
/// uses it. Steps that lay before the key or its secret was made are left out.
pub fn told(key: &Key, secrets: &[KeySecret], uses: &[LastUse], policies: &Policies, now: Timestamp) -> Vec<Told> {
    if !matches!(key.state, State::Active | State::Suspended | State::Pending) || key.is_over(now) {
        return Vec::new();
    }
    let ages = Ages::of(secrets, policies, key.scope.environment);
    let is_rotating = secrets.iter().any(|secret| secret.status == SecretStatus::Pending && !secret.is_over(now));
    let expiring = expiring(key, secrets, ages.over_at().filter(|_| !is_rotating), now);
    let due = if is_rotating { Vec::new() } else { due(key, secrets, ages, now) };
    let idle = idle(key, uses, policies, now);
    expiring.into_iter().chain(due).chain(idle).collect()
}

fn expiring(key: &Key, secrets: &[KeySecret], over_at: Option<Timestamp>, now: Timestamp) -> Option<Told> {
    let name = KeyName::of(key);
    let own = key.expires_at.map(|at| (at, key.created_at, About::KeyExpiring { key: name.clone(), expires_at: at }));
    let made = secrets.iter().find(|secret| secret.status == SecretStatus::Current).map(|secret| secret.created_at);
    let old = over_at
        .zip(made)
        .map(|(at, made)| (at, made, About::KeyTooOld { key: name.clone(), due_at: at, is_enforced: true }));
    let (end, made, about) = own.into_iter().chain(old).min_by_key(|(at, ..)| *at).filter(|(at, ..)| *at > now)?;
    let begins = |days: i64| end.plus(-days * DAY_MS);
    let days = TOLD_DAYS.into_iter().find(|days| begins(*days) <= now).filter(|days| begins(*days) >= made)?;
    let data = json!({"at": end, "days": days});
    Some(Told {
        once: format!("expiring:{}:{days}", end.millis()),
        event: event(key, Type::KeyExpiring, "expiry", data),
        about,
    })
}

fn due(key: &Key, secrets: &[KeySecret], ages: Ages, now: Timestamp) -> Vec<Told> {
    let Some(current) = secrets.iter().find(|secret| secret.status == SecretStatus::Current) else { return Vec::new() };
    let name = KeyName::of(key);
    // Where both come due at the same moment it is the rotation that is told: it is what helps.
    let max_age = ages.max_age.filter(|(_, at)| ages.rotation.is_none_or(|(_, due_at)| due_at != *at));
    let age = max_age.map(|(mode, at)| {
        ("old", at, About::KeyTooOld { key: name.clone(), due_at: at, is_enforced: mode == MaxAgeMode::Enforce })
    });
    let rotation = ages.rotation.map(|(mode, at)| {
        ("due", at, About::KeyRotationDue { key: name.clone(), due_at: at, is_enforced: mode == RotationMode::Enforce })
    });
    let told = |(once, at, about)| {
        let event = event(key, Type::KeyRotationDue, "rotation", json!({"due_at": at, "last4": current.last4}));
        Told { once: format!("{once}:{}", current.id), event, about }
    };
    age.into_iter().chain(rotation).filter(|(_, at, _)| *at <= now).map(told).collect()
}

fn idle(key: &Key, uses: &[LastUse], policies: &Policies, now: Timestamp) -> Option<Told> {
    let days = policies.idle_key_days?;
    let last_used_at = uses.iter().map(|used| used.at).max();
    let since = last_used_at.unwrap_or(key.created_at);
    if key.state != State::Active || since.plus(i64::from(days) * DAY_MS) > now {
        return None;
    }
    let event = event(key, Type::KeyIdle, "idle", json!({"last_used_at": last_used_at, "days": days}));
    let about = About::KeyIdle { key: KeyName::of(key), last_used_at, days };
    Some(Told { once: format!("idle:{}", since.millis()), event, about })
}

fn event(key: &Key, kind: Type, name: &str, data: Value) -> NewEvent {
    let mut event = key.event(kind, Map::new());
    event.data.insert(name.to_owned(), data);
    event
}

#[cfg(test)]
mod tests;
