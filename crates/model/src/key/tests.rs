//! A key's rules, by tables and properties.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::scope::Scope;
use crate::{Environment, TenantId};

struct Counting(std::sync::atomic::AtomicU8);

impl Random for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    }
}

fn random() -> Counting {
    Counting(std::sync::atomic::AtomicU8::new(1))
}

const NOW: Timestamp = Timestamp::from_millis(1_764_100_882_007);

fn scope(environment: Environment) -> EnvScope {
    EnvScope { tenant: TenantId::from_uuid(Uuid::from_u128(1)), environment }
}

fn owner() -> UserId {
    UserId::from_uuid(Uuid::from_u128(2))
}

fn draft() -> Draft {
    Draft { label: "Invoices".to_owned(), ..Draft::default() }
}

fn made(draft: &Draft) -> Key {
    let wanted = draft.read(NOW).expect("a key that may be");
    let actor = Actor::User { id: owner() };
    let maker = Maker::Person { actor: &actor, administrator: owner() };
    Key::create(scope(Environment::Development), wanted, maker, NOW, &random()).expect("a key").0
}

#[test]
fn a_new_key_may_do_everything_and_its_event_holds_no_secret() {
    let actor = Actor::User { id: owner() };
    let maker = Maker::Person { actor: &actor, administrator: owner() };
    let wanted = draft().read(NOW).expect("a key that may be");
    let (key, secret, text, event) =
        Key::create(scope(Environment::Staging), wanted, maker, NOW, &random()).expect("a key");
    assert_eq!((key.state, key.scopes.clone(), key.parent), (State::Active, Scopes::All, None));
    assert_eq!((text.id(), text.environment()), (key.id.uuid(), Environment::Staging));
    assert_eq!((secret.key, secret.digest, secret.last4.as_str()), (key.id, text.digest(), text.last4()));
    assert_eq!((event.kind, event.object), (Type::KeyCreated, Object::Key(key.id)));
    assert!(!format!("{event:?}{key:?}{secret:?}").contains(text.expose()));
    assert_eq!(event.previous, Map::new());
}

#[test]
fn an_expiry_is_recorded_once_and_not_before_its_time() {
    let ends = Timestamp::from_millis(NOW.millis() + 10);
    let key = made(&Draft { expires_at: Some(ends.to_string()), ..draft() });
    let before = Timestamp::from_millis(ends.millis() - 1);
    assert_eq!(key.clone().expire(before), (key.clone(), None));
    let (expired, event) = key.clone().expire(ends.plus(5));
    assert_eq!((expired.state, expired.since, expired.status_since(ends.plus(7))), (State::Expired, ends, ends));
    let event = event.expect("told");
    assert_eq!((event.kind, &event.previous["status"]), (Type::KeyExpired, &json!("active")));
    assert_eq!(expired.clone().expire(ends.plus(6)), (expired.clone(), None));
    assert_eq!(expired.status_at(Timestamp::from_millis(0)), KeyStatus::Expired);
    let (revoked, _) = expired.revoke(Reason::Manual, ends.plus(6));
    assert_eq!(revoked.clone().expire(ends.plus(7)), (revoked, None));
    let endless = made(&draft());
    assert_eq!(endless.clone().expire(Timestamp::from_millis(i64::MAX)), (endless, None));
}

#[test]
fn revoking_twice_is_once() {
    let key = made(&draft());
    let later = NOW.plus(1);
    let (revoked, event) = key.revoke(Reason::Compromised, later);
    assert_eq!((revoked.state, revoked.since), (State::Revoked(Reason::Compromised), later));
    let event = event.expect("it happened");
    assert_eq!((event.kind, event.previous.get("status")), (Type::KeyRevoked, Some(&json!("active"))));
    assert_eq!(event.data["key"]["reason"], json!("compromised"));
    let (again, nothing) = revoked.clone().revoke(Reason::Manual, later.plus(1));
    assert_eq!((again, nothing), (revoked, None));
}

#[test]
fn a_key_is_expired_from_its_end_on() {
    let key = made(&Draft { expires_at: Some(NOW.plus(10).to_string()), ..draft() });
    assert_eq!(key.status_at(NOW.plus(9)), KeyStatus::Active);
    assert_eq!(key.status_at(NOW.plus(10)), KeyStatus::Expired);
    assert_eq!((key.status_since(NOW.plus(9)), key.status_since(NOW.plus(11))), (NOW, NOW.plus(10)));
    assert_eq!(key.revoke(Reason::Manual, NOW).0.status_at(NOW.plus(10)), KeyStatus::Revoked);
}

#[test]
fn every_fault_of_a_draft_is_named_at_its_place() {
    let words = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let draft = Draft {
        label: " ".to_owned(),
        environment: Some("prod".to_owned()),
        scopes: Some(words(&["envelopes:read", "everything", "*"])),
        allowlist: Some(words(&["10.0.0.5/8"])),
        allowlist_mode: None,
        expires_at: Some("2026-11-25".to_owned()),
        administrator: Some("key_1".to_owned()),
        note: "a\0b".to_owned(),
        tags: words(&["a", "a", ""]),
        confirm: false,
        pending: false,
        encrypt_to: None,
    };
    let refusal = draft.read(NOW).expect_err("many faults");
    assert_eq!(refusal.code, Code::InvalidBody);
    let found: Vec<_> = refusal.errors.iter().map(|e| (e.pointer.as_str(), e.code.as_ref())).collect();
    assert_eq!(
        found,
        [
            ("/label", "required"),
            ("/note", "control_character"),
            ("/tags/1", "duplicate"),
            ("/tags/2", "required"),
            ("/environment", "unknown_environment"),
            ("/scopes/1", "unknown_scope"),
            ("/scopes/2", "unknown_scope"),
            ("/allowlist/0", "host_bits"),
            ("/expires_at", "invalid_time"),
            ("/administrator", "invalid_id"),
        ]
    );
    let empty = Draft { scopes: Some(Vec::new()), expires_at: Some(NOW.to_string()), ..self::draft() };
    let codes: Vec<_> = empty.read(NOW).expect_err("two faults").errors.into_iter().map(|e| e.code).collect();
    assert_eq!(codes, ["empty", "in_the_past"]);
}

#[test]
fn a_list_that_locks_out_its_author_has_to_be_confirmed() {
    let key = made(&Draft { allowlist: Some(vec!["10.0.0.0/8".to_owned()]), ..draft() });
    let outside = "192.0.2.7".parse().ok();
    assert_eq!(key.require_reach(outside, false).expect_err("locked out").errors[0].code, "locks_out_caller");
    assert!(key.require_reach(outside, true).is_ok() && key.require_reach(None, false).is_ok());
    assert!(key.require_reach("::ffff:10.1.1.1".parse().ok(), false).is_ok());
}

#[test]
fn a_child_takes_its_parents_bounds_and_is_refused_beyond_them() {
    let parent = made(&Draft {
        scopes: Some(vec!["keys:write".to_owned(), "envelopes:read".to_owned()]),
        allowlist: Some(vec!["10.0.0.0/8".to_owned()]),
        expires_at: Some(NOW.plus(1_000).to_string()),
        ..draft()
    });
    let child = |draft: &Draft| {
        let wanted = draft.read(NOW).expect("a key that may be");
        Key::create(parent.scope, wanted, Maker::Key(&parent), NOW, &random()).map(|made| made.0)
    };
    let same = child(&draft()).expect("the parent's bounds");
    assert_eq!(
        (&same.scopes, &same.allowlist, same.expires_at),
        (&parent.scopes, &parent.allowlist, parent.expires_at)
    );
    assert_eq!((same.parent, same.administrator), (Some(parent.id), parent.administrator));
    assert_eq!(same.created_by, Actor::Key { id: parent.id, label: "Invoices".to_owned() });

    let greedy = Draft {
        environment: Some("production".to_owned()),
        scopes: Some(vec!["*".to_owned()]),
        allowlist: Some(Vec::new()),
        expires_at: Some(NOW.plus(1_001).to_string()),
        administrator: Some(UserId::from_uuid(Uuid::from_u128(3)).to_string()),
        ..draft()
    };
    let refusal = child(&greedy).expect_err("beyond the key");
    let places: Vec<_> = refusal.errors.iter().map(|e| e.pointer.as_str()).collect();
    assert_eq!(refusal.code, Code::Beyond);
    assert_eq!(places, ["/environment", "/scopes", "/allowlist", "/expires_at", "/administrator"]);
}

fn some_draft() -> impl Strategy<Value = Draft> {
    let names: Vec<String> = Scope::ALL.iter().map(ToString::to_string).collect();
    let scopes = prop::option::of(prop::sample::subsequence(names, 1..=4));
    let nets =
        ["10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/9", "10.128.0.0/9", "192.0.2.0/24", "2001:db8::/32", "2001:db8:1::/48"];
    let allowlist = prop::option::of(prop::sample::subsequence(nets.map(str::to_owned).to_vec(), 0..=7));
    let expiry = prop::option::of(1_i64..5).prop_map(|ms| ms.map(|ms| NOW.plus(ms).to_string()));
    (scopes, allowlist, expiry, any::<bool>()).prop_map(|(scopes, allowlist, expires_at, observe)| Draft {
        scopes,
        allowlist_mode: allowlist.as_ref().filter(|list| observe && !list.is_empty()).map(|_| "observe".to_owned()),
        allowlist,
        expires_at,
        ..draft()
    })
}

/// What a key may ask for and has not: another environment, another administrator.
fn elsewhere() -> impl Strategy<Value = (Option<String>, Option<String>)> {
    let environment = prop::option::of(prop::sample::select(vec!["development", "staging", "production"]));
    let administrator = prop::option::of(prop::sample::select(vec![owner(), another()]));
    (environment, administrator).prop_map(|(one, two)| (one.map(str::to_owned), two.map(|user| user.to_string())))
}

fn another() -> UserId {
    UserId::from_uuid(Uuid::from_u128(3))
}

proptest! {
    /// However keys make keys, no descendant ever may what its forefather may not.
    #[test]
    fn no_chain_of_children_gains_anything(
        drafts in prop::collection::vec((some_draft(), elsewhere()), 2..6), host: [u8; 3], net: u16,
    ) {
        let first = made(&drafts[0].0);
        let mut last = first.clone();
        for (draft, (environment, administrator)) in drafts[1..].iter().cloned() {
            let wanted = Draft { environment, administrator, ..draft }.read(NOW).expect("a key that may be");
            if let Ok((child, ..)) = Key::create(first.scope, wanted, Maker::Key(&last), NOW, &random()) {
                last = child;
            }
        }
        for scope in Scope::ALL {
            prop_assert!(first.scopes.cover(*scope) || !last.scopes.cover(*scope));
        }
        let six = IpAddr::from([0x2001, 0xdb8, net % 3, net, 0, 0, 0, 1]);
        for address in [IpAddr::from([10, host[0], host[1], host[2]]), six] {
            prop_assert!(first.allowlist.contains(address) || !last.allowlist.contains(address));
        }
        prop_assert!(first.allowlist.is_empty() || last.allowlist_mode <= first.allowlist_mode);
        prop_assert_eq!(last.scope, first.scope);
        for ms in 0..6 {
            prop_assert!(last.is_over(NOW.plus(ms)) || !first.is_over(NOW.plus(ms)));
        }
        prop_assert_eq!(last.administrator, first.administrator);
        prop_assert_eq!(first.beyond(&first, first.administrator), vec![]);
    }
}

fn some_patch() -> impl Strategy<Value = Patch> {
    (some_draft(), any::<[bool; 4]>()).prop_map(|(draft, [scopes, list, expiry, observe])| Patch {
        scopes: draft.scopes.filter(|_| scopes),
        allowlist: draft.allowlist.filter(|_| list),
        expires_at: expiry.then_some(draft.expires_at),
        allowlist_mode: observe.then(|| "observe".to_owned()),
        ..Patch::default()
    })
}

proptest! {
    /// Whatever a key makes of another, or of itself, lies within it afterwards, whoever the other was.
    #[test]
    fn what_a_key_changes_lies_within_it(
        mine in some_draft(), theirs in some_draft(), patch in some_patch(), own: bool, foreign: bool, to_own: bool,
    ) {
        let by = made(&mine);
        let administrator = if foreign { another() } else { owner() };
        let theirs = Key { id: KeyId::from_uuid(Uuid::from_u128(99)), administrator, ..made(&theirs) };
        let other = if own { by.clone() } else { theirs.clone() };
        if let Ok((changed, _)) = other.clone().patch(&patch, Some(&by), NOW) {
            prop_assert_eq!(changed.beyond(&by, by.administrator), vec![]);
        }
        if other.require_rotation_by(Some(&by)).is_ok() {
            prop_assert_eq!(other.beyond(&by, by.administrator), vec![]);
        }
        let pending = Key { state: State::Pending, ..theirs.clone() };
        if let Ok((active, _)) = pending.activate(Some(&by), NOW) {
            prop_assert_eq!(active.beyond(&by, by.administrator), vec![]);
        }
        let suspended = Key { state: State::Suspended, ..theirs.clone() };
        if let Ok((active, _)) = suspended.resume(Some(&by), NOW) {
            prop_assert_eq!(active.beyond(&by, by.administrator), vec![]);
        }
        if let Ok((taken, _)) = theirs.transfer(if to_own { owner() } else { another() }, Some(&by), NOW) {
            prop_assert_eq!(taken.beyond(&by, by.administrator), vec![]);
        }
    }
}

#[test]
fn a_change_leaves_the_rest_and_tells_what_was_before() {
    let key = made(&Draft { expires_at: Some(NOW.plus(10).to_string()), note: "Old".to_owned(), ..draft() });
    let patch = Patch { note: Some("New".to_owned()), expires_at: Some(None), ..Patch::default() };
    let (changed, event) = key.clone().patch(&patch, None, NOW).expect("may");
    assert_eq!(changed, Key { note: "New".to_owned(), expires_at: None, ..key.clone() });
    let event = event.expect("told");
    let previous: Vec<_> = event.previous.keys().map(String::as_str).collect();
    assert_eq!((event.kind, previous), (Type::KeyUpdated, vec!["expires_at", "note"]));
    assert_eq!(key.clone().patch(&Patch::default(), None, NOW), Ok((key.clone(), None)));
    let wrong = Patch { label: Some(String::new()), scopes: Some(Vec::new()), ..Patch::default() };
    let faults: Vec<_> = key.clone().patch(&wrong, None, NOW).expect_err("two faults").errors;
    assert_eq!(faults.iter().map(|e| e.pointer.as_str()).collect::<Vec<_>>(), ["/label", "/scopes"]);

    let (dead, _) = key.revoke(Reason::Manual, NOW);
    let note = Patch { note: Some("Was on a slide".to_owned()), ..Patch::default() };
    assert!(dead.clone().patch(&note, None, NOW).is_ok());
    assert_eq!(dead.patch(&patch, None, NOW).expect_err("for good").code, Code::KeyStatus);
}

#[test]
fn a_pending_key_is_activated_once_and_no_other_is() {
    let key = made(&Draft { pending: true, ..draft() });
    assert_eq!(key.state, State::Pending);
    let (active, event) = key.activate(None, NOW.plus(1)).expect("may");
    assert_eq!(
        (active.state, active.since, event.map(|e| e.kind)),
        (State::Active, NOW.plus(1), Some(Type::KeyActivated))
    );
    assert_eq!(active.clone().activate(None, NOW.plus(2)), Ok((active.clone(), None)));
    let (revoked, _) = active.revoke(Reason::Manual, NOW);
    assert_eq!(revoked.activate(None, NOW).expect_err("for good").code, Code::KeyStatus);
}
