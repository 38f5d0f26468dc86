//! Rotation by tables: what is asked for, the first use, and the three ways to finish.

use uuid::Uuid;

use super::*;
use crate::caller::Actor;
use crate::event::Type;
use crate::key::{self, Maker, Reason};
use crate::time::{HOUR_MS, SECOND_MS};
use crate::{EnvScope, Environment, TenantId, UserId};

struct Counting(std::sync::atomic::AtomicU8);

impl Random for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    }
}

const NOW: Timestamp = Timestamp::from_millis(1_764_100_882_007);

fn random() -> Counting {
    Counting(std::sync::atomic::AtomicU8::new(1))
}

fn made(random: &Counting) -> (Key, KeySecret) {
    let owner = UserId::from_uuid(Uuid::from_u128(2));
    let scope = EnvScope { tenant: TenantId::from_uuid(Uuid::from_u128(1)), environment: Environment::Development };
    let wanted = key::Draft { label: "Invoices".to_owned(), ..key::Draft::default() }.read(NOW).expect("a draft");
    let maker = Maker::Person { actor: &Actor::User { id: owner }, administrator: owner };
    let (key, secret, ..) = Key::create(scope, wanted, maker, NOW, random).expect("a key");
    (key, secret)
}

fn plan(draft: &Draft) -> Plan {
    draft.read().expect("a plan")
}

/// A key with a new secret that waits for its first use.
fn begun(draft: &Draft, random: &Counting) -> (Key, Vec<KeySecret>) {
    let (key, old) = made(random);
    let begun = key.rotate(std::slice::from_ref(&old), plan(draft), NOW, random).expect("begun");
    let Begun::Anew(anew) = begun else { panic!("{begun:?}") };
    let Anew { secret, text, replaced: None, event } = *anew else { panic!("nothing was under way") };
    assert_eq!((secret.digest, secret.status), (text.digest(), SecretStatus::Pending));
    assert_eq!(
        (event.kind, &event.data["rotation"]["pending_last4"]),
        (Type::KeyRotationStarted, &json!(text.last4()))
    );
    assert!(!format!("{event:?}{secret:?}").contains(text.expose()));
    (key, vec![old, secret])
}

/// The secrets after those that changed have taken their place.
fn after(mut secrets: Vec<KeySecret>, turned: &Turned) -> Vec<KeySecret> {
    for secret in &mut secrets {
        if let Some(new) = turned.secrets.iter().find(|new| new.id == secret.id) {
            *secret = new.clone();
        }
    }
    secrets
}

fn hours(grace: &str) -> Draft {
    Draft { grace_period: Some(grace.to_owned()), ..Draft::default() }
}

fn silent(text: &str) -> Draft {
    Draft { finish: Some("when_silent".to_owned()), silent_for: Some(text.to_owned()), ..Draft::default() }
}

fn used(secret: &KeySecret, at: Timestamp) -> LastUse {
    let (address, user_agent, route) = ("192.0.2.7".to_owned(), String::new(), "GET /v1/me".to_owned());
    LastUse { secret: secret.id, at, address, user_agent, route }
}

#[test]
fn a_plan_has_its_defaults_and_every_fault_is_named() {
    let read = |draft: &Draft| plan(draft);
    assert_eq!(read(&Draft::default()), Plan { grace_ms: Some(DAY_MS), silent_ms: None, replace: false });
    assert_eq!(read(&hours("PT0S")).grace_ms, Some(0));
    assert_eq!(read(&silent("PT1H")), Plan { grace_ms: None, silent_ms: Some(HOUR_MS), replace: false });
    let both = Draft { grace_period: Some("P7D".to_owned()), ..silent("PT1H") };
    assert_eq!(read(&both).grace_ms, Some(GRACE_MS_MAX));
    let faults = |draft: Draft| -> Vec<(String, String)> {
        let errors = draft.read().expect_err("refused").errors;
        errors.into_iter().map(|error| (error.pointer, error.code.into_owned())).collect()
    };
    let one = |pointer: &str, code: &str| (pointer.to_owned(), code.to_owned());
    assert_eq!(faults(hours("P8D")), [one("/grace_period", "invalid_duration")]);
    let wrong = Draft {
        grace_period: Some("a day".to_owned()),
        finish: Some("soon".to_owned()),
        silent_for: Some("PT0S".to_owned()),
        replace: false,
        encrypt_to: None,
    };
    let wrong = faults(wrong);
    assert_eq!(
        wrong,
        [
            one("/finish", "invalid_value"),
            one("/grace_period", "invalid_duration"),
            one("/silent_for", "invalid_duration")
        ]
    );
    let alone = Draft { silent_for: Some("PT1H".to_owned()), ..Draft::default() };
    assert_eq!(faults(alone), [one("/silent_for", "not_allowed")]);
    let without = Draft { silent_for: None, ..silent("PT1H") };
    assert_eq!(faults(without), [one("/silent_for", "required")]);
}

#[test]
fn the_first_use_turns_the_new_secret_current_and_the_old_one_ends() {
    let random = random();
    let (key, secrets) = begun(&hours("PT1H"), &random);
    let use_at = NOW.plus(HOUR_MS);
    assert_eq!(key.first_use(&secrets, secrets[0].id, use_at), Ok(None), "the old one turns nothing");
    let turned = key.first_use(&secrets, secrets[1].id, use_at).expect("may").expect("the first use");
    let is = after(secrets, &turned);
    let end = use_at.plus(HOUR_MS);
    assert_eq!((is[0].status, is[0].ends_at), (SecretStatus::Ending, Some(end)));
    assert_eq!((is[1].status, is[1].ends_at, is[1].first_used_at), (SecretStatus::Current, None, Some(use_at)));
    assert_eq!((turned.event.kind, &turned.event.data["rotation"]["ends_at"]), (Type::KeyRotated, &json!(end)));
    assert!(!turned.ends_one());
    assert_eq!(key.first_use(&is, is[1].id, use_at), Ok(None), "it is promoted once");
    let rotation = under_way(&is, use_at).expect("under way");
    assert_eq!((rotation.pending_last4, rotation.ends_at, rotation.finish), (None, Some(end), Finish::AfterGrace));
    assert_eq!(key.finish_rotation(&is, &[], use_at, end.plus(-1)), None);
    let over = key.finish_rotation(&is, &[], use_at, end.plus(5)).expect("over");
    let dead = after(is, &over);
    assert_eq!((dead[0].status, dead[0].ends_at), (SecretStatus::Dead, Some(end)));
    assert_eq!(
        (over.event.kind, &over.event.data["rotation"]["why"]),
        (Type::KeyRotationFinished, &json!("grace_over"))
    );
    assert_eq!(under_way(&dead, end), None);
}

#[test]
fn without_a_grace_period_the_old_secret_dies_at_the_first_use() {
    let random = random();
    let (key, secrets) = begun(&hours("PT0S"), &random);
    let turned = key.first_use(&secrets, secrets[1].id, NOW).expect("may").expect("the first use");
    let is = after(secrets, &turned);
    assert_eq!((is[0].status, is[0].ends_at, turned.ends_one()), (SecretStatus::Dead, Some(NOW), true));
}

#[test]
fn a_second_rotation_waits_answers_the_first_or_replaces_it() {
    let random = random();
    let (key, secrets) = begun(&hours("PT1H"), &random);
    let again = plan(&Draft::default());
    let replace = Plan { replace: true, ..again };
    assert!(matches!(key.rotate(&secrets, again, NOW, &random), Ok(Begun::Pending)));
    let begun = key.rotate(&secrets, replace, NOW, &random).expect("replaced");
    let Some(replaced) = replaced_by(begun) else { panic!("it was replaced") };
    assert_eq!((replaced.id, replaced.status), (secrets[1].id, SecretStatus::Dead));
    let refused = key.first_use(
        &after(secrets.clone(), &Turned { secrets: vec![replaced.clone()], event: event(&key) }),
        replaced.id,
        NOW,
    );
    assert_eq!(refused.map_err(|refusal| refusal.code), Err(Code::RotatedSecret));

    let turned = key.first_use(&secrets, secrets[1].id, NOW).expect("may").expect("the first use");
    let is = after(secrets, &turned);
    let refusal = key.rotate(&is, again, NOW, &random).expect_err("in its grace period");
    assert_eq!(refusal.code, Code::RotationInProgress);
    assert!(refusal.detail.contains(&NOW.plus(HOUR_MS).to_string()), "{refusal}");
    let replaced = replaced_by(key.rotate(&is, replace, NOW, &random).expect("begun")).expect("replaced");
    assert_eq!(replaced.id, is[0].id, "the old one ends, the current one lives");
    // After its end nothing is under way, on record or not.
    let later = key.rotate(&is, again, NOW.plus(HOUR_MS), &random);
    assert_eq!(replaced_by(later.expect("begun")), None);
}

fn replaced_by(begun: Begun) -> Option<KeySecret> {
    match begun {
        Begun::Anew(anew) => anew.replaced,
        Begun::Pending => panic!("a secret is pending"),
    }
}

fn event(key: &Key) -> NewEvent {
    key.event(Type::KeyRotated, Map::new())
}

#[test]
fn a_new_secret_that_nobody_uses_ends_after_seven_days() {
    let random = random();
    let (key, secrets) = begun(&Draft::default(), &random);
    let end = NOW.plus(PENDING_MS_MAX);
    let late = key.first_use(&secrets, secrets[1].id, end);
    assert_eq!(late.map_err(|refusal| refusal.code), Err(Code::RotatedSecret));
    assert_eq!(key.finish_rotation(&secrets, &[], end, end.plus(-1)), None);
    let over = key.finish_rotation(&secrets, &[], end, end).expect("over");
    assert_eq!((over.secrets[0].id, &over.event.data["rotation"]["why"]), (secrets[1].id, &json!("never_used")));
    assert_eq!(after(secrets, &over)[0].status, SecretStatus::Current);
}

#[test]
fn an_old_secret_ends_when_it_is_silent_and_not_before_all_uses_are_known() {
    let random = random();
    let (key, secrets) = begun(&silent("PT1H"), &random);
    let turned = key.first_use(&secrets, secrets[1].id, NOW).expect("may").expect("the first use");
    let is = after(secrets, &turned);
    assert_eq!((is[0].status, is[0].ends_at, is[0].silent_ms), (SecretStatus::Ending, None, Some(HOUR_MS)));
    let late = NOW.plus(DAY_MS);
    let last = NOW.plus(10 * SECOND_MS);
    let uses = [used(&is[0], last), used(&is[1], late)];
    let finish = |known_until| key.finish_rotation(&is, &uses, known_until, late);
    assert_eq!(finish(last.plus(HOUR_MS - 1)), None);
    let over = finish(last.plus(HOUR_MS)).expect("silent");
    assert_eq!((over.secrets[0].id, &over.event.data["rotation"]["why"]), (is[0].id, &json!("silent")));
    // One that was silent long before has to be so after the first use of the new one too.
    let long_ago = [used(&is[0], NOW.plus(-DAY_MS))];
    assert_eq!(key.finish_rotation(&is, &long_ago, NOW.plus(HOUR_MS - 1), late), None);
    assert!(key.finish_rotation(&is, &[], NOW.plus(HOUR_MS), late).is_some());
}

#[test]
fn a_key_rotates_itself_and_with_the_scope_what_lies_within_it() {
    let (key, _) = made(&random());
    let with = |id: u128, scopes: &[Scope]| Key {
        id: crate::KeyId::from_uuid(Uuid::from_u128(id)),
        scopes: crate::scope::Scopes::Some(scopes.iter().copied().collect()),
        ..key.clone()
    };
    let (own, write) = (with(7, &[Scope::KeysRotateSelf]), with(8, &[Scope::KeysWrite]));
    let told = |key: &Key, by: Option<&Key>| key.require_rotation_by(by).map_err(|refusal| refusal.code);
    assert_eq!((told(&own, None), told(&own, Some(&own)), told(&write, Some(&write))), (Ok(()), Ok(()), Ok(())));
    assert_eq!(told(&write, Some(&own)), Err(Code::ScopeRequired));
    assert_eq!(told(&own, Some(&write)), Ok(()));
    assert_eq!(told(&key, Some(&write)), Err(Code::Beyond));
}

#[test]
fn a_dead_key_is_not_rotated() {
    let random = random();
    let (key, secret) = made(&random);
    let (revoked, _) = key.revoke(Reason::Manual, NOW);
    let refused = revoked.rotate(&[secret], plan(&Draft::default()), NOW, &random);
    assert_eq!(refused.map(|_| ()).map_err(|refusal| refusal.code), Err(Code::KeyStatus));
}
