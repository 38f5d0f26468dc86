//! The clock moved over a key's life: what is told, when, and never twice.

use uuid::Uuid;

use super::*;
use crate::caller::Actor;
use crate::key::{Draft, Maker, Reason};
use crate::policy::AgeRule;
use crate::{EnvScope, Random, TenantId, UserId};

struct Sevens;

impl Random for Sevens {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

const NOW: Timestamp = Timestamp::from_millis(1_764_100_882_007);

fn made(expires_at: Option<Timestamp>) -> (Key, Vec<KeySecret>) {
    let owner = UserId::from_uuid(Uuid::from_u128(2));
    let scope = EnvScope { tenant: TenantId::from_uuid(Uuid::from_u128(1)), environment: Environment::Production };
    let expires_at = expires_at.map(|at| at.to_string());
    let wanted = Draft { label: "Invoices".to_owned(), expires_at, ..Draft::default() }.read(NOW).expect("a draft");
    let maker = Maker::Person { actor: &Actor::User { id: owner }, administrator: owner };
    let (key, secret, ..) = Key::create(scope, wanted, maker, NOW, &Sevens).expect("a key");
    (key, vec![secret])
}

fn silent() -> Policies {
    let mut policies = Policies { idle_key_days: None, ..Policies::default() };
    policies.key_max_age.production.mode = MaxAgeMode::Off;
    policies.key_rotation.production.mode = RotationMode::Off;
    policies
}

/// Everything that is told when somebody looks every hour of so many days, each once.
fn over_days(key: &Key, secrets: &[KeySecret], policies: &Policies, days: i64) -> Vec<(i64, Type)> {
    let mut seen = std::collections::BTreeSet::new();
    let mut all = Vec::new();
    for hour in 0..days * 24 {
        let now = NOW.plus(hour * DAY_MS / 24);
        for told in told(key, secrets, &[], policies, now) {
            if seen.insert(told.once) {
                all.push((hour / 24, told.event.kind));
            }
        }
    }
    all
}

#[test]
fn an_expiry_is_told_at_30_14_7_and_1_days_once_each() {
    let (key, secrets) = made(Some(NOW.plus(100 * DAY_MS)));
    let told = over_days(&key, &secrets, &silent(), 120);
    let want: Vec<_> = [70, 86, 93, 99].map(|day| (day, Type::KeyExpiring)).into();
    assert_eq!(told, want);
    // Of a short life only the steps that lie in it are told.
    let (key, secrets) = made(Some(NOW.plus(10 * DAY_MS)));
    assert_eq!(over_days(&key, &secrets, &silent(), 12), [(3, Type::KeyExpiring), (9, Type::KeyExpiring)]);
    let (revoked, _) = key.revoke(Reason::Manual, NOW);
    assert_eq!(over_days(&revoked, &secrets, &silent(), 12), []);
}

#[test]
fn who_looks_late_is_told_the_nearest_step_alone() {
    let end = NOW.plus(100 * DAY_MS);
    let (key, secrets) = made(Some(end));
    let all = told(&key, &secrets, &[], &silent(), end.plus(-5 * DAY_MS));
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].event.data["expiry"], json!({"at": end, "days": 7}));
    assert_eq!(told(&key, &secrets, &[], &silent(), end), []);
}

#[test]
fn a_rotation_is_due_by_the_age_of_the_secret_and_told_once() {
    let (key, mut secrets) = made(None);
    let mut policies = Policies { idle_key_days: None, ..Policies::default() };
    assert_eq!(over_days(&key, &secrets, &policies, 100), [(90, Type::KeyRotationDue)]);
    let about = told(&key, &secrets, &[], &policies, NOW.plus(90 * DAY_MS)).remove(0).about;
    assert_eq!(about.purpose(), "key_rotation_due");
    policies.key_max_age.production.days = 60;
    let about = told(&key, &secrets, &[], &policies, NOW.plus(60 * DAY_MS)).remove(0).about;
    assert_eq!(about.purpose(), "key_too_old");
    assert_eq!(over_days(&key, &secrets, &policies, 100), [(60, Type::KeyRotationDue), (90, Type::KeyRotationDue)]);
    secrets[0].created_at = NOW.plus(50 * DAY_MS);
    assert_eq!(told(&key, &secrets, &[], &policies, NOW.plus(100 * DAY_MS)), [], "the age begins anew with a rotation");
}

#[test]
fn an_enforced_age_is_told_before_it_ends_the_key() {
    let (key, secrets) = made(None);
    let mut policies = silent();
    policies.key_max_age.production = AgeRule { mode: MaxAgeMode::Enforce, days: 20 };
    let told = over_days(&key, &secrets, &policies, 30);
    let kinds = [(6, Type::KeyExpiring), (13, Type::KeyExpiring), (19, Type::KeyExpiring), (20, Type::KeyRotationDue)];
    assert_eq!(told, kinds);
    let end = NOW.plus(20 * DAY_MS);
    assert_eq!(status_at(&key, &secrets, &policies, end.plus(-1)).0, KeyStatus::Active);
    assert_eq!(status_at(&key, &secrets, &policies, end.plus(1)), (KeyStatus::Expired, end));
    let successor = KeySecret { status: SecretStatus::Pending, created_at: end, ..secrets[0].clone() };
    assert_eq!(status_at(&key, &[secrets[0].clone(), successor], &policies, end.plus(1)).0, KeyStatus::Active);
}

#[test]
fn an_idle_key_is_told_once_for_each_silence() {
    let (key, secrets) = made(None);
    let policies = Policies { idle_key_days: Some(10), ..silent() };
    assert_eq!(over_days(&key, &secrets, &policies, 30), [(10, Type::KeyIdle)]);
    let used = LastUse {
        secret: secrets[0].id,
        at: NOW.plus(5 * DAY_MS),
        address: "192.0.2.7".to_owned(),
        user_agent: String::new(),
        route: "GET /v1/me".to_owned(),
    };
    let uses = [used];
    assert_eq!(told(&key, &secrets, &uses, &policies, NOW.plus(14 * DAY_MS)), []);
    let again = told(&key, &secrets, &uses, &policies, NOW.plus(15 * DAY_MS));
    assert_ne!(again[0].once, told(&key, &secrets, &[], &policies, NOW.plus(15 * DAY_MS))[0].once);
}
