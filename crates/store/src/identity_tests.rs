//! The statements of tenants, users, keys and the audit log, on both engines.

use model::audit::{Broken, Entry, verify};
use model::caller::Actor;
use model::key::{Draft, Key, KeySecret, KeyStatus, Maker, Reason, SecretStatus, State};
use model::tenant::{Tenant, Tier};
use model::user::{User, UserStatus};
use model::{Caller, EnvScope, Environment, Random, Role, TenantScope, Timestamp, UserId};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sql::sql;
use crate::testing::engines;
use crate::usage::{LastUse, Notes};
use crate::{Db, Tx, audit, key, me, tenant, user};

/// Different bits each time, the same in each run.
struct Counting(AtomicU64);

impl Random for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let number = self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        for (at, byte) in bytes.iter_mut().rev().enumerate() {
            *byte = number[7 - at % 8];
        }
    }
}

static RANDOM: Counting = Counting(AtomicU64::new(1));

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + ms)
}

/// A tenant with its owner; and its scope.
async fn add_tenant(tx: &mut Tx) -> (TenantScope, User) {
    let made = Tenant::create(model::Id::new(at(0), &RANDOM), "Acme", Tier::Standard, at(0)).expect("a tenant");
    tenant::insert(tx, &made).await.expect("written");
    let scope = TenantScope { tenant: made.id };
    let owner = new_user(scope, "ada@example.com", Role::Owner);
    assert!(user::insert(tx, &owner, Some("$argon2id$…")).await.expect("written"));
    (scope, owner)
}

fn new_user(scope: TenantScope, email: &str, role: Role) -> User {
    User::create(UserId::new(at(0), &RANDOM), scope, (email, "Ada"), role, at(0)).expect("a user")
}

async fn add_key(tx: &mut Tx, scope: EnvScope, administrator: UserId, draft: Draft) -> (Key, KeySecret) {
    let wanted = Draft { label: "Invoices".to_owned(), ..draft }.read(at(0)).expect("a key");
    let actor = Actor::User { id: administrator };
    let maker = Maker::Person { actor: &actor, administrator };
    let (made, secret, ..) = Key::create(scope, wanted, maker, at(0), &RANDOM).expect("a key");
    key::insert(tx, &made, &secret).await.expect("written");
    (made, secret)
}

async fn begin(db: &Db) -> Tx {
    db.begin().await.expect("begins")
}

fn development(scope: TenantScope) -> EnvScope {
    EnvScope { tenant: scope.tenant, environment: Environment::Development }
}

#[tokio::test]
async fn a_tenant_comes_back_as_it_was_saved_and_a_lost_race_is_told() {
    for engine in engines().await {
        let mut tx = begin(&engine.db).await;
        let (scope, _) = add_tenant(&mut tx).await;
        let (other, _) = add_tenant(&mut tx).await;
        let mut acme = tenant::lock(&mut tx, scope).await.expect("asked").expect("there");
        acme.tier = Tier::Enterprise;
        acme.allowlist = model::Allowlist::parse(&["10.0.0.0/8".to_owned()], "").expect("a list");
        assert!(tenant::save(&mut tx, &acme).await.expect("saved"), "{}", engine.engine);
        assert!(!tenant::save(&mut tx, &acme).await.expect("asked"), "the version is outdated");
        acme.version += 1;
        assert_eq!(tenant::get(&mut tx, scope).await.expect("asked"), Some(acme));
        let first = tenant::list(&mut tx, None, 1).await.expect("listed");
        let second = tenant::list(&mut tx, Some(first[0].id), 5).await.expect("listed");
        assert_eq!((first[0].id, second[0].id, second.len()), (scope.tenant, other.tenant, 1));
    }
}

#[tokio::test]
async fn an_address_is_taken_once_and_a_tenant_has_one_owner() {
    for engine in engines().await {
        let mut tx = begin(&engine.db).await;
        let (scope, owner) = add_tenant(&mut tx).await;
        let (elsewhere, _) = add_tenant(&mut tx).await;
        assert!(!user::insert(&mut tx, &new_user(scope, "ada@example.com", Role::User), None).await.expect("asked"));
        assert!(!user::insert(&mut tx, &new_user(scope, "eve@example.com", Role::Owner), None).await.expect("asked"));
        let bob = new_user(scope, "bob@example.com", Role::Viewer);
        assert!(user::insert(&mut tx, &bob, None).await.expect("written"), "{}", engine.engine);
        assert_eq!(user::owner(&mut tx, scope).await.expect("asked"), Some(owner.clone()));
        assert_eq!(user::by_email(&mut tx, scope, "bob@example.com").await.expect("asked"), Some(bob.clone()));
        assert_eq!(user::get(&mut tx, elsewhere, bob.id).await.expect("asked"), None);
        assert_eq!(user::password_hash(&mut tx, scope, owner.id).await.expect("asked").as_deref(), Some("$argon2id$…"));
        assert_eq!(user::password_hash(&mut tx, scope, bob.id).await.expect("asked"), None);
        let suspended = bob.clone().suspend().expect("suspended");
        assert!(user::save(&mut tx, &suspended).await.expect("saved"));
        assert!(!user::save(&mut tx, &suspended).await.expect("asked"));
        let all = user::list(&mut tx, scope, None, 10).await.expect("listed");
        let found: Vec<_> = all.iter().map(|user| (user.id, user.status)).collect();
        assert_eq!(found, [(owner.id, UserStatus::Active), (bob.id, UserStatus::Suspended)]);
        let after = user::list(&mut tx, scope, Some(owner.id), 10).await.expect("listed");
        assert_eq!(after.len(), 1);
        tx.commit().await.expect("commits");
    }
}

#[tokio::test]
async fn a_key_comes_back_as_it_was_and_only_where_it_lives() {
    for engine in engines().await {
        let mut tx = begin(&engine.db).await;
        let (scope, owner) = add_tenant(&mut tx).await;
        let (elsewhere, _) = add_tenant(&mut tx).await;
        let dev = development(scope);
        let draft = Draft {
            scopes: Some(vec!["envelopes:read".to_owned()]),
            allowlist: Some(vec!["2001:db8::/32".to_owned()]),
            expires_at: Some(at(5).to_string()),
            tags: vec!["ci".to_owned()],
            note: "é\n".to_owned(),
            ..Draft::default()
        };
        let (made, secret) = add_key(&mut tx, dev, owner.id, draft).await;
        assert_eq!(key::get(&mut tx, dev, made.id).await.expect("asked"), Some(made.clone()), "{}", engine.engine);
        let staging = EnvScope { environment: Environment::Staging, ..dev };
        for stranger in [staging, development(elsewhere)] {
            assert_eq!(key::get(&mut tx, stranger, made.id).await.expect("asked"), None);
            assert_eq!(key::secrets(&mut tx, stranger, &[made.id]).await.expect("asked"), []);
            assert_eq!(key::end_secrets(&mut tx, stranger, made.id, at(1)).await.expect("asked"), 0);
            let listed = key::list(&mut tx, stranger, key::Filter::default(), at(0), None, 10).await.expect("listed");
            assert_eq!(listed, []);
            assert!(!key::save(&mut tx, &Key { scope: stranger, ..made.clone() }).await.expect("asked"));
        }
        let found = key::secrets(&mut tx, dev, &[made.id]).await.expect("asked");
        assert_eq!(found.as_slice(), std::slice::from_ref(&secret));
        let (revoked, _) = made.revoke(Reason::Compromised, at(1));
        assert!(key::save(&mut tx, &revoked).await.expect("saved"));
        assert!(!key::save(&mut tx, &revoked).await.expect("asked"), "the version is outdated");
        assert_eq!(key::end_secrets(&mut tx, dev, revoked.id, at(1)).await.expect("ended"), 1);
        assert_eq!(key::end_secrets(&mut tx, dev, revoked.id, at(2)).await.expect("ended"), 0);
        assert_eq!(key::whereabouts(&mut tx, revoked.id).await.expect("asked"), Some(dev));
        let found = key::lock(&mut tx, dev, revoked.id).await.expect("asked").expect("there");
        assert_eq!((found.state, found.since), (State::Revoked(Reason::Compromised), at(1)));
        let dead = KeySecret { status: SecretStatus::Dead, ends_at: Some(at(1)), ..secret };
        assert_eq!(key::secrets(&mut tx, dev, &[revoked.id]).await.expect("asked"), [dead]);
        tx.commit().await.expect("commits");
    }
}

#[tokio::test]
async fn keys_are_listed_newest_first_by_status_and_page() {
    for engine in engines().await {
        let mut tx = begin(&engine.db).await;
        let (scope, owner) = add_tenant(&mut tx).await;
        let dev = development(scope);
        let mut ids = Vec::new();
        for expires in [None, Some(at(10).to_string()), None] {
            let draft = Draft { expires_at: expires, ..Draft::default() };
            ids.push(add_key(&mut tx, dev, owner.id, draft).await.0.id);
        }
        let page = async |tx: &mut Tx, status, now, after, limit| {
            let filter = key::Filter { status, ..key::Filter::default() };
            let keys = key::list(tx, dev, filter, at(now), after, limit).await.expect("listed");
            keys.into_iter().map(|key| key.id).collect::<Vec<_>>()
        };
        assert_eq!(page(&mut tx, None, 0, None, 2).await, [ids[2], ids[1]], "{}", engine.engine);
        assert_eq!(page(&mut tx, None, 0, Some(ids[1]), 2).await, [ids[0]]);
        assert_eq!(page(&mut tx, Some(KeyStatus::Active), 9, None, 9).await, [ids[2], ids[1], ids[0]]);
        assert_eq!(page(&mut tx, Some(KeyStatus::Active), 10, None, 9).await, [ids[2], ids[0]]);
        assert_eq!(page(&mut tx, Some(KeyStatus::Expired), 10, None, 9).await, [ids[1]]);
        let children = key::Filter { parent: Some(ids[0]), ..key::Filter::default() };
        assert_eq!(key::list(&mut tx, dev, children, at(0), None, 9).await.expect("listed"), []);
    }
}

#[tokio::test]
async fn last_use_is_read_as_the_gate_wrote_it() {
    for engine in engines().await {
        let mut tx = begin(&engine.db).await;
        let (scope, owner) = add_tenant(&mut tx).await;
        let dev = development(scope);
        let (made, secret) = add_key(&mut tx, dev, owner.id, Draft::default()).await;
        assert_eq!(key::last_uses(&mut tx, dev, &[made.id]).await.expect("asked"), []);
        let used = LastUse {
            secret: secret.id,
            key: made.id,
            at: at(7),
            address: "192.0.2.7".parse().expect("an address"),
            user_agent: "curl/8".to_owned(),
            route: "GET /v1/me",
        };
        let notes = Notes { uses: vec![used], ..Notes::default() };
        crate::usage::write(&mut tx, &[(made.id, notes)]).await.expect("noted");
        let found = key::last_uses(&mut tx, dev, &[made.id]).await.expect("asked");
        let shown: Vec<_> = found.iter().map(|u| (u.secret, u.at, u.address.as_str(), u.route.as_str())).collect();
        assert_eq!(shown, [(secret.id, at(7), "192.0.2.7", "GET /v1/me")], "{}", engine.engine);
        let me = me::get(&mut tx, dev, made.id).await.expect("asked").expect("there");
        let tenant = tenant::get(&mut tx, scope).await.expect("asked").expect("there");
        assert_eq!(
            me,
            me::Found { key: made.clone(), tenant, administrator: owner, secrets: vec![secret], uses: found }
        );
        let staging = EnvScope { environment: Environment::Staging, ..dev };
        assert_eq!(me::get(&mut tx, staging, made.id).await.expect("asked"), None);
        assert_eq!(key::last_uses(&mut tx, staging, &[made.id]).await.expect("asked"), []);
    }
}

fn entry(scope: EnvScope, number: i64) -> Entry {
    let object = if number == 2 { scope.tenant.to_string() } else { format!("key_{number}") };
    Entry::changed("key.updated", object, serde_json::json!({"n": number}), serde_json::json!({"é": [number, null]}))
}

#[tokio::test]
async fn the_audit_log_is_dense_and_its_chain_breaks_where_it_was_touched() {
    for engine in engines().await {
        let mut tx = begin(&engine.db).await;
        let (scope, _) = add_tenant(&mut tx).await;
        let dev = development(scope);
        let caller = Caller { address: "::ffff:192.0.2.7".parse().ok(), ..Caller::operator(dev) };
        for number in 1..=4 {
            let record =
                audit::append(&mut tx, &caller, at(number), &RANDOM, entry(dev, number)).await.expect("written");
            assert_eq!(record.seq, number, "{}", engine.engine);
        }
        tx.commit().await.expect("commits");
        let mut tx = begin(&engine.db).await;
        audit::append(&mut tx, &caller, at(5), &RANDOM, entry(dev, 5)).await.expect("written");
        tx.rollback().await.expect("undone");
        let mut tx = begin(&engine.db).await;
        let record = audit::append(&mut tx, &caller, at(6), &RANDOM, entry(dev, 6)).await.expect("written");
        assert_eq!((record.seq, record.address.as_deref()), (5, Some("192.0.2.7")), "no number is lost");

        let start = (0, model::audit::chain_start(scope.tenant));
        let links = audit::links(&mut tx, scope, 0, 500).await.expect("read");
        let end = verify(start, links.iter().map(|(record, hash)| (record, hash)));
        assert_eq!(end, Ok(audit::head(&mut tx, scope).await.expect("read")), "{}", engine.engine);
        assert_eq!(audit::links(&mut tx, scope, 4, 500).await.expect("read"), links[4..]);

        let seqs = async |tx: &mut Tx, scope, tenant_wide, before, limit| {
            let filter = audit::Filter { tenant_wide, ..audit::Filter::default() };
            let records = audit::list(tx, scope, &filter, before, limit).await.expect("listed");
            records.into_iter().map(|record| record.seq).collect::<Vec<_>>()
        };
        assert_eq!(seqs(&mut tx, dev, true, None, 3).await, [5, 4, 3]);
        assert_eq!(seqs(&mut tx, dev, true, Some(3), 3).await, [2, 1]);
        assert_eq!(seqs(&mut tx, dev, false, None, 9).await, [5, 4, 3, 1]);
        assert_eq!(seqs(&mut tx, EnvScope { environment: Environment::Production, ..dev }, true, None, 9).await, [2]);
        let about = audit::Filter { object: Some("key_3".to_owned()), ..audit::Filter::default() };
        assert_eq!(audit::list(&mut tx, dev, &about, None, 9).await.expect("listed"), [links[2].0.clone()]);

        sql("UPDATE audit SET address = '192.0.2.8' WHERE tenant_id = $1 AND seq = 3")
            .bind(scope.tenant)
            .run(&mut tx)
            .await
            .expect("touched");
        let links = audit::links(&mut tx, scope, 0, 500).await.expect("read");
        let broken = verify(start, links.iter().map(|(record, hash)| (record, hash)));
        assert_eq!(broken, Err(Broken::Changed(3)), "{}", engine.engine);
    }
}
