//! A tenant's policies: how old keys may become, when they are rotated, and whether keys may manage identity.

use serde::{Deserialize, Serialize};

use crate::time::DAY_MS;
use crate::word::{sentence, words};
use crate::{BodyError, Environment};

/// Days of any rule at most: ten years.
pub const POLICY_DAYS_MAX: u32 = 3_650;
/// Days of a rule that nobody has set.
const DAYS_DEFAULT: u32 = 90;

words! {
    /// What happens to keys that reach the greatest age.
    #[derive(Default)]
    MaxAgeMode "a mode of key_max_age" {
        /// Nothing.
        Off "off";
        /// Their administrators are told.
        #[default]
        Warn "warn";
        /// They are refused until rotated.
        Enforce "enforce";
    }
}

words! {
    /// What happens to keys whose secret was not rotated in time.
    #[derive(Default)]
    RotationMode "a mode of key_rotation" {
        /// Nothing.
        Off "off";
        /// Their administrators are told.
        #[default]
        Remind "remind";
        /// They are refused until rotated.
        Enforce "enforce";
    }
}

/// A rule about age: what happens, after how many days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgeRule<M> {
    /// What happens.
    pub mode: M,
    /// After how many days.
    pub days: u32,
}

impl<M: Default> Default for AgeRule<M> {
    fn default() -> Self {
        Self { mode: M::default(), days: DAYS_DEFAULT }
    }
}

/// One for each environment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ByEnvironment<T> {
    /// Development's.
    pub development: T,
    /// Staging's.
    pub staging: T,
    /// Production's.
    pub production: T,
}

impl<T> ByEnvironment<T> {
    /// The one of `environment`.
    pub fn of(&self, environment: Environment) -> &T {
        match environment {
            Environment::Development => &self.development,
            Environment::Staging => &self.staging,
            Environment::Production => &self.production,
        }
    }

    fn of_mut(&mut self, environment: Environment) -> &mut T {
        match environment {
            Environment::Development => &mut self.development,
            Environment::Staging => &mut self.staging,
            Environment::Production => &mut self.production,
        }
    }
}

/// What happens to keys that turn up where they must not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeakPolicy {
    /// A key that was reported as leaked is revoked at once.
    pub revoke: bool,
}

/// A tenant's policies. Each has a default, so that `{}` is a whole set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policies {
    /// Whether API keys may change keys, users and the tenant; otherwise that takes a session.
    pub keys_may_manage_identity: bool,
    /// How old keys may become.
    pub key_max_age: ByEnvironment<AgeRule<MaxAgeMode>>,
    /// How often their secrets are rotated.
    pub key_rotation: ByEnvironment<AgeRule<RotationMode>>,
    /// After how many days without use a key is pointed out; none: never.
    pub idle_key_days: Option<u32>,
    /// What happens to keys that turn up where they must not.
    pub leaks: LeakPolicy,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            keys_may_manage_identity: true,
            key_max_age: ByEnvironment::default(),
            key_rotation: ByEnvironment::default(),
            idle_key_days: Some(DAYS_DEFAULT),
            leaks: LeakPolicy::default(),
        }
    }
}

/// A change of a rule about age: what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgeChange {
    /// The mode, as it was written.
    pub mode: Option<String>,
    /// The days.
    pub days: Option<u32>,
}

/// A change of policies: what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyChange {
    /// Whether keys may manage identity.
    pub keys_may_manage_identity: Option<bool>,
    /// How old keys may become.
    pub key_max_age: ByEnvironment<AgeChange>,
    /// How often their secrets are rotated.
    pub key_rotation: ByEnvironment<AgeChange>,
    /// After how many days without use a key is pointed out; `Some(None)`: never.
    pub idle_key_days: Option<Option<u32>>,
    /// Whether leaked keys are revoked.
    pub leaks_revoke: Option<bool>,
}

impl Policies {
    /// How old a secret may become in this environment, in milliseconds, where that is enforced: by the greatest age, or
    /// by the time to rotate.
    pub fn secret_age_ms_max(&self, environment: Environment) -> Option<i64> {
        let age = self.key_max_age.of(environment);
        let rotation = self.key_rotation.of(environment);
        let age = (age.mode == MaxAgeMode::Enforce).then_some(age.days);
        let rotation = (rotation.mode == RotationMode::Enforce).then_some(rotation.days);
        age.into_iter().chain(rotation).min().map(|days| i64::from(days) * DAY_MS)
    }

    /// The policies with this change, or every fault of it at its place below `pointer`.
    pub fn changed(mut self, change: &PolicyChange, pointer: &str) -> Result<Self, Vec<BodyError>> {
        let mut errors = Vec::new();
        self.keys_may_manage_identity = change.keys_may_manage_identity.unwrap_or(self.keys_may_manage_identity);
        for environment in Environment::ALL {
            let place = format!("{pointer}/key_max_age/{environment}");
            let rule = self.key_max_age.of_mut(environment);
            change_age(rule, change.key_max_age.of(environment), &place, &mut errors);
            let place = format!("{pointer}/key_rotation/{environment}");
            let rule = self.key_rotation.of_mut(environment);
            change_age(rule, change.key_rotation.of(environment), &place, &mut errors);
        }
        if let Some(days) = change.idle_key_days {
            self.idle_key_days = days;
            errors.extend(days.and_then(|days| days_fault(days, format!("{pointer}/idle_key_days"))));
        }
        self.leaks.revoke = change.leaks_revoke.unwrap_or(self.leaks.revoke);
        if errors.is_empty() { Ok(self) } else { Err(errors) }
    }
}

fn change_age<M>(rule: &mut AgeRule<M>, change: &AgeChange, place: &str, errors: &mut Vec<BodyError>)
where
    M: std::str::FromStr<Err = crate::word::UnknownWord>,
{
    match change.mode.as_deref().map(str::parse) {
        Some(Ok(mode)) => rule.mode = mode,
        Some(Err(unknown)) => {
            errors.push(BodyError::new(format!("{place}/mode"), "invalid_value", sentence(&unknown)));
        }
        None => {}
    }
    if let Some(days) = change.days {
        rule.days = days;
        errors.extend(days_fault(days, format!("{place}/days")));
    }
}

fn days_fault(days: u32, pointer: String) -> Option<BodyError> {
    let detail = format!("The number of days is 1 to {POLICY_DAYS_MAX}.");
    (!(1..=POLICY_DAYS_MAX).contains(&days)).then(|| BodyError::new(pointer, "out_of_range", detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_of_two_enforced_ages_holds() {
        let mut policies = Policies::default();
        assert_eq!(policies.secret_age_ms_max(Environment::Staging), None);
        policies.key_max_age.staging = AgeRule { mode: MaxAgeMode::Enforce, days: 30 };
        assert_eq!(policies.secret_age_ms_max(Environment::Staging), Some(30 * DAY_MS));
        policies.key_rotation.staging = AgeRule { mode: RotationMode::Enforce, days: 7 };
        assert_eq!(policies.secret_age_ms_max(Environment::Staging), Some(7 * DAY_MS));
        assert_eq!(policies.secret_age_ms_max(Environment::Production), None);
    }

    #[test]
    fn nothing_written_is_every_default() {
        let policies: Policies = serde_json::from_str("{}").expect("policies");
        assert_eq!(policies, Policies::default());
        assert!(policies.keys_may_manage_identity && !policies.leaks.revoke);
        let production = policies.key_max_age.of(Environment::Production);
        assert_eq!((production.mode, production.days), (MaxAgeMode::Warn, 90));
        let part: Policies =
            serde_json::from_str(r#"{"key_rotation": {"staging": {"mode": "enforce"}}}"#).expect("policies");
        let staging = part.key_rotation.of(Environment::Staging);
        assert_eq!((staging.mode, staging.days), (RotationMode::Enforce, 90));
        let text = serde_json::to_string(&part).expect("JSON");
        assert_eq!(serde_json::from_str::<Policies>(&text).expect("policies"), part);
    }

    #[test]
    fn a_change_leaves_the_rest_and_names_every_fault() {
        let mut change = PolicyChange { idle_key_days: Some(None), ..PolicyChange::default() };
        change.key_max_age.production = AgeChange { mode: Some("enforce".to_owned()), days: Some(30) };
        let changed = Policies::default().changed(&change, "/policies").expect("a change");
        let want = AgeRule { mode: MaxAgeMode::Enforce, days: 30 };
        assert_eq!((*changed.key_max_age.of(Environment::Production), changed.idle_key_days), (want, None));
        assert_eq!(changed.key_max_age.staging, AgeRule::default());

        change.idle_key_days = Some(Some(0));
        change.key_max_age.staging = AgeChange { mode: Some("remind".to_owned()), days: Some(POLICY_DAYS_MAX + 1) };
        let errors = Policies::default().changed(&change, "/policies").expect_err("three faults");
        let found: Vec<_> = errors.iter().map(|error| (error.pointer.as_str(), error.detail.as_str())).collect();
        assert_eq!(
            found,
            [
                ("/policies/key_max_age/staging/mode", "A mode of key_max_age is one of off, warn, enforce."),
                ("/policies/key_max_age/staging/days", "The number of days is 1 to 3650."),
                ("/policies/idle_key_days", "The number of days is 1 to 3650."),
            ]
        );
    }
}
