//! Tenants, users, keys and the audit log through the gate, on both engines.

use app::audit::Filter as AuditFilter;
use app::key::Filter;
use app::once::Once;
use app::tenant::NewTenant;
use app::user::Offboarding;
use app::{App, SystemClock};
use gate::{Ask, Pass, Peer, Rule};
use http::{HeaderMap, HeaderValue, Uri, header};
use model::audit::Broken;
use model::caller::{Actor, Who};
use model::journal::{Fact, Line};
use model::key::{Draft, KeyStatus, Reason, SecretStatus, State};
use model::scope::Scope;
use model::tenant::Tier;
use model::user::{User, UserChange, UserStatus};
use model::{Caller, Clock, Code, EnvScope, Environment, KeyId, Problem, Random, Role, TenantId, Timestamp};
use secret::SecretKey;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use store::sql;
use store::testing::{TestDb, engines};

mod parts;
#[path = "identity/rotation.rs"]
mod rotation;

use parts::parts;

/// The machine's clock, set ahead by hand.
#[derive(Default)]
struct Ahead(AtomicI64);

impl Ahead {
    fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus(self.0.load(Ordering::SeqCst))
    }
}

/// A server's inside with one tenant.
struct House {
    app: App,
    clock: Arc<Ahead>,
    tenant: TenantId,
    owner: User,
    engine: &'static str,
    _test: TestDb,
    _folder: tempfile::TempDir,
}

impl House {
    async fn new(test: TestDb, tier: Tier) -> House {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(Ahead::default());
        let app = App::new(parts(&test.db, folder.path(), clock.clone()).await);
        let new = NewTenant {
            name: "Acme".to_owned(),
            tier,
            owner_email: "Ada@example.com".to_owned(),
            owner_name: "Ada".to_owned(),
            owner_password: None,
        };
        let (tenant, owner) = app.create_tenant(new).await.expect("a tenant");
        House { app, clock, tenant: tenant.id, owner, engine: test.engine, _test: test, _folder: folder }
    }

    async fn both(tier: Tier) -> Vec<House> {
        let mut houses = Vec::new();
        for test in engines().await {
            houses.push(House::new(test, tier).await);
        }
        houses
    }

    fn development(&self) -> EnvScope {
        EnvScope { tenant: self.tenant, environment: Environment::Development }
    }

    /// The operator, acting for the owner: as `quickstart` does.
    async fn key(&self, draft: Draft) -> (KeyId, SecretKey) {
        self.try_key(draft).await.expect("a key")
    }

    async fn try_key(&self, draft: Draft) -> Result<(KeyId, SecretKey), Problem> {
        let administrator = draft.administrator.clone().or(Some(self.owner.id.to_string()));
        let draft = Draft { administrator, ..draft };
        let pass = Pass::operator(self.development());
        let made = self.app.create_key(&pass, &draft, &Once::unclaimed()).await?;
        Ok((made.details.key.id, made.secret))
    }

    async fn admit(&self, key: &SecretKey, rule: Rule) -> Result<Pass, Problem> {
        let mut headers = HeaderMap::new();
        let bearer = HeaderValue::from_str(&format!("Bearer {}", key.expose())).expect("a header");
        headers.insert(header::AUTHORIZATION, bearer);
        let uri = Uri::from_static("/v1/me");
        let peer = Peer::Ip("192.0.2.7".parse().expect("an address"));
        let ask =
            Ask { headers: &headers, uri: &uri, peer, is_tls: true, rule, route: "GET /v1/me", request_id: "req_1" };
        self.app.gate.admit(&ask).await
    }

    async fn pass(&self, key: &SecretKey) -> Pass {
        self.admit(key, Rule::AnyKey).await.expect("admitted")
    }

    async fn refusal(&self, key: &SecretKey) -> Option<Code> {
        self.admit(key, Rule::AnyKey).await.err().map(|problem| problem.code)
    }
}

fn labelled(label: &str) -> Draft {
    Draft { label: label.to_owned(), ..Draft::default() }
}

fn words(texts: &[&str]) -> Option<Vec<String>> {
    Some(texts.iter().map(|&text| text.to_owned()).collect())
}

#[tokio::test]
async fn a_key_opens_until_it_is_revoked_and_the_log_says_so() {
    for house in House::both(Tier::Standard).await {
        let (id, key) = house.key(labelled("Invoices")).await;
        let pass = house.pass(&key).await;
        let me = house.app.me(&pass).await.expect("who I am");
        assert_eq!((me.key.key.id, me.tenant.id, me.administrator.id), (id, house.tenant, house.owner.id));
        assert_eq!(me.address, "192.0.2.7".parse().ok(), "{}", house.engine);

        let other = house.key(labelled("Revoker")).await.1;
        let revoker = house.pass(&other).await;
        let receipt = house.app.revoke_key(&revoker, id, Reason::Compromised, "found in a log").await.expect("revoked");
        assert_eq!(house.refusal(&key).await, Some(Code::RevokedKey), "{}", house.engine);
        let effective_at = receipt.effective_at.expect("in force");
        assert!(effective_at >= receipt.key.key.since);
        assert_eq!(receipt.key.key.status_at(effective_at), KeyStatus::Revoked);
        assert_eq!(receipt.key.secrets[0].status, SecretStatus::Dead);
        // What was admitted before changes nothing any more.
        let late = house.app.create_key(&pass, &labelled("late"), &Once::unclaimed()).await;
        assert_eq!(late.map(|made| made.details.key.id).map_err(|p| p.code), Err(Code::RevokedKey));
        let again = house.app.revoke_key(&revoker, id, Reason::Manual, "").await.expect("revoked already");
        let (is, was) = (&again.key.key, &receipt.key.key);
        assert_eq!((is.state, is.since), (was.state, was.since), "{}", house.engine);

        let log = house
            .app
            .list_audit(&revoker, AuditFilter { object: Some(id.to_string()), ..AuditFilter::default() }, None, 10)
            .await
            .expect("the log");
        let seen: Vec<_> = log.iter().map(|r| (r.action.as_str(), r.address.as_deref(), r.environment)).collect();
        let dev = Some(Environment::Development);
        assert_eq!(seen, [("key.revoked", Some("192.0.2.7"), dev), ("key.created", None, dev)]);
        assert_eq!(log[0].before.as_ref().and_then(|b| b["status"].as_str()), Some("active"));
        assert_eq!(log[0].after.as_ref().and_then(|a| a["revocation_note"].as_str()), Some("found in a log"));
        assert!(matches!(&log[0].actor, Actor::Key { label, .. } if label == "Revoker"));
        let mut tx = house.app.read().await.expect("reads");
        let events = store::event::after(&mut tx, house.development(), 0, &store::event::Filter::default(), 10).await;
        let kinds: Vec<_> =
            events.expect("events").into_iter().map(|e| (e.seq, e.kind, e.data["key"]["id"].clone())).collect();
        let other_id = KeyId::from_uuid(other.id()).to_string();
        let (mine, other_id) = (serde_json::json!(id), serde_json::json!(other_id));
        let (made, gone) = ("key.created".to_owned(), "key.revoked".to_owned());
        assert_eq!(kinds, [(1, made.clone(), mine.clone()), (2, made, other_id), (3, gone, mine)], "{}", house.engine);
    }
}

#[tokio::test]
async fn a_key_can_revoke_itself_and_the_operator_any_key_by_its_id() {
    for house in House::both(Tier::Standard).await {
        let (id, key) = house.key(labelled("Own end")).await;
        let pass = house.pass(&key).await;
        house.app.revoke_key(&pass, id, Reason::Manual, "").await.expect("revoked");
        assert_eq!(house.refusal(&key).await, Some(Code::RevokedKey), "{}", house.engine);
        let (id, key) = house.key(labelled("Operator's")).await;
        house.app.revoke_key_as_operator(id, Reason::Manual, "").await.expect("revoked");
        assert_eq!(house.refusal(&key).await, Some(Code::RevokedKey));
        let unknown = house.app.revoke_key_as_operator(house.app.id(), Reason::Manual, "").await;
        assert_eq!(unknown.map_err(|p| p.code), Err(Code::NotFound));
    }
}

#[tokio::test]
async fn many_revocations_at_once_are_one() {
    for house in House::both(Tier::Standard).await {
        let (id, key) = house.key(labelled("Popular")).await;
        let revoke = || house.app.revoke_key_as_operator(id, Reason::Manual, "");
        let (a, b, c, d) = tokio::join!(revoke(), revoke(), revoke(), revoke());
        let since = |receipt: Result<app::revocation::Receipt, Problem>| receipt.expect("revoked").key.key.since;
        let first = since(a);
        assert_eq!((since(b), since(c), since(d)), (first, first, first), "{}", house.engine);
        assert_eq!(house.refusal(&key).await, Some(Code::RevokedKey));
        let operator = Pass::operator(house.development());
        let entries = house.app.list_audit(
            &operator,
            AuditFilter { object: Some(id.to_string()), ..AuditFilter::default() },
            None,
            10,
        );
        assert_eq!(entries.await.expect("the log").len(), 2, "created and revoked, once each");
    }
}

#[tokio::test]
async fn what_a_key_makes_lies_within_it() {
    for house in House::both(Tier::Enterprise).await {
        let draft = Draft {
            scopes: words(&["keys:write", "keys:read", "envelopes:read"]),
            allowlist: words(&["192.0.2.0/24"]),
            ..labelled("Parent")
        };
        let (parent, key) = house.key(draft).await;
        let pass = house.pass(&key).await;
        let make = |draft: Draft| {
            let (app, pass) = (house.app.clone(), pass.clone());
            async move { app.create_key(&pass, &draft, &Once::unclaimed()).await }
        };
        let child = make(labelled("Child")).await.expect("a child");
        let made = &child.details.key;
        assert_eq!((made.parent, made.administrator, made.scope), (Some(parent), house.owner.id, house.development()));
        assert_eq!(made.scopes.names(), ["envelopes:read", "keys:read", "keys:write"], "{}", house.engine);
        assert_eq!(made.allowlist.entries(), ["192.0.2.0/24"]);
        assert!(house.admit(&child.secret, Rule::Scope(Scope::EnvelopesRead)).await.is_ok());
        let beyond = house.admit(&child.secret, Rule::Scope(Scope::EnvelopesWrite)).await;
        assert_eq!(beyond.map(|_| ()).map_err(|p| p.code), Err(Code::ScopeRequired));

        for (draft, pointer) in [
            (Draft { scopes: words(&["*"]), ..labelled("x") }, "/scopes"),
            (Draft { environment: Some("production".to_owned()), ..labelled("x") }, "/environment"),
            (Draft { allowlist: words(&["192.0.2.0/23"]), confirm: true, ..labelled("x") }, "/allowlist"),
            (
                Draft { administrator: Some("usr_01j0000000e008000000000001".to_owned()), ..labelled("x") },
                "/administrator",
            ),
        ] {
            let refusal = make(draft).await.expect_err(pointer);
            let places: Vec<_> = refusal.errors.iter().map(|e| e.pointer.as_str()).collect();
            assert_eq!((refusal.code, places), (Code::Beyond, vec![pointer]), "{}", house.engine);
        }
        let locked_out =
            make(Draft { allowlist: words(&["192.0.2.8"]), ..labelled("x") }).await.expect_err("locked out");
        assert_eq!(locked_out.errors[0].code, "locks_out_caller");
        let receipt = house.app.revoke_key(&pass, parent, Reason::Manual, "").await.expect("revoked");
        assert_eq!(
            receipt.made_keys,
            [child.details.key.id],
            "what it made is named, nothing refused left a key behind"
        );
    }
}

#[tokio::test]
async fn a_key_needs_the_tier_an_administrator_and_a_sound_body() {
    for house in House::both(Tier::Free).await {
        let refused = |draft: Draft| async { house.try_key(draft).await.map(|made| made.0).map_err(|p| p.code) };
        assert_eq!(refused(labelled("x")).await, Err(Code::TierRequired), "{}", house.engine);
        house.app.set_tier(house.tenant, Tier::Standard).await.expect("raised");
        let listed = Draft { allowlist: words(&["192.0.2.0/24"]), ..labelled("x") };
        assert_eq!(refused(listed.clone()).await, Err(Code::TierRequired));
        house.app.set_tier(house.tenant, Tier::Enterprise).await.expect("raised");
        assert!(house.try_key(listed).await.is_ok());
        let viewer =
            house.app.add_user(house.tenant, ("vic@example.com", "Vic"), Role::Viewer, None).await.expect("added");
        let by = |user: String| Draft { administrator: Some(user), ..labelled("x") };
        assert_eq!(refused(by(viewer.id.to_string())).await, Err(Code::RoleRequired));
        assert_eq!(refused(by("usr_01j0000000e008000000000001".to_owned())).await, Err(Code::InvalidBody));
        assert_eq!(refused(labelled("")).await, Err(Code::InvalidBody));

        let (caller, scope) = (Caller::operator(house.development()), house.development());
        let session = Pass::vouched(Caller { who: Who::User { user: viewer.id }, scope, ..caller });
        let own = house.app.create_key(&session, &by(house.owner.id.to_string()), &Once::unclaimed()).await;
        assert_eq!(own.map(|_| ()).map_err(|p| p.code), Err(Code::RoleRequired), "a viewer makes no keys for others");
        let list = house.app.list_keys(&session, Filter::default(), None, 10).await;
        assert_eq!(list.map(|_| ()).map_err(|p| p.code), Err(Code::RoleRequired));
    }
}

#[tokio::test]
async fn what_turns_a_yes_into_a_no_does_so_with_its_answer() {
    for house in House::both(Tier::Standard).await {
        let (app, tenant) = (&house.app, house.tenant);
        let admin = app.add_user(tenant, ("Bob@Example.com", "Bob"), Role::Admin, None).await.expect("added");
        let (_, key) = house.key(Draft { administrator: Some(admin.id.to_string()), ..labelled("Bob's") }).await;
        let before = house.pass(&key).await;
        assert_eq!(house.refusal(&key).await, None, "{}", house.engine);
        app.suspend_tenant(tenant).await.expect("suspended");
        assert_eq!(house.refusal(&key).await, Some(Code::TenantSuspended));
        app.resume_tenant(tenant).await.expect("resumed");
        assert_eq!(house.refusal(&key).await, None);
        app.set_tier(tenant, Tier::Free).await.expect("lowered");
        assert_eq!(house.refusal(&key).await, Some(Code::TierRequired));
        app.set_tier(tenant, Tier::Standard).await.expect("raised");
        let change = async |who: &str, change: UserChange| {
            let (pass, user) = (Pass::operator(house.development()), app.user(tenant, who).await.expect("the user"));
            let confirmed = Offboarding { confirm: true, ..Offboarding::default() };
            let warned = app.update_user(&pass, user.id, &change, &Offboarding::default()).await;
            let done = app.update_user(&pass, user.id, &change, &confirmed).await.expect("changed");
            (warned.map(|_| ()).map_err(|problem| problem.code), done)
        };
        let role = |role| UserChange { role: Some(role), ..UserChange::default() };
        let status = |status| UserChange { status: Some(status), ..UserChange::default() };
        let (warned, _) = change("bob@example.com", role(Role::User)).await;
        assert_eq!(warned, Err(Code::KeysWouldStop), "{}", house.engine);
        assert_eq!(house.refusal(&key).await, Some(Code::RoleRequired));
        // An in-flight change of a key whose administrator was demoted is refused at its fence.
        let late = app.create_key(&before, &labelled("late"), &Once::unclaimed()).await;
        assert_eq!(late.map(|_| ()).map_err(|p| p.code), Err(Code::RoleRequired), "{}", house.engine);
        assert_eq!(change(&admin.id.to_string(), role(Role::Admin)).await.0, Ok(()));
        assert_eq!(house.refusal(&key).await, None);
        assert_eq!(change("bob@example.com", status(UserStatus::Suspended)).await.0, Err(Code::KeysWouldStop));
        assert_eq!(house.refusal(&key).await, Some(Code::RoleRequired));
        assert_eq!(change("bob@example.com", status(UserStatus::Active)).await.0, Ok(()));
        assert_eq!(house.refusal(&key).await, None);
    }
}

#[tokio::test]
async fn a_tenant_keeps_one_owner_and_each_address_once() {
    for house in House::both(Tier::Standard).await {
        let (app, tenant) = (&house.app, house.tenant);
        let refused = |result: Result<User, Problem>| result.map(|user| user.role).map_err(|problem| problem.code);
        let add = |email, role| app.add_user(tenant, (email, "Bob"), role, None);
        assert_eq!(refused(add("bob@example.com", Role::Owner).await), Err(Code::Conflict), "{}", house.engine);
        assert_eq!(refused(add("bob@example.com", Role::User).await), Ok(Role::User));
        assert_eq!(refused(add("BOB@example.com", Role::User).await), Err(Code::Conflict));
        let set_role = async |who: &str, role: Role| {
            let (pass, user) = (Pass::operator(house.development()), app.user(tenant, who).await?);
            let change = UserChange { role: Some(role), ..UserChange::default() };
            app.update_user(&pass, user.id, &change, &Offboarding { confirm: true, ..Offboarding::default() }).await
        };
        assert_eq!(refused(set_role("ada@example.com", Role::Admin).await), Err(Code::OwnerNeeded));
        assert_eq!(refused(set_role("eve@example.com", Role::Admin).await), Err(Code::NotFound));
        assert_eq!(refused(set_role("bob@example.com", Role::Owner).await), Ok(Role::Owner));
        let users = app.users(tenant, None, 10).await.expect("users");
        let roles: Vec<_> = users.iter().map(|user| (user.email.as_str(), user.role)).collect();
        assert_eq!(roles, [("ada@example.com", Role::Admin), ("bob@example.com", Role::Owner)], "{}", house.engine);
        assert_eq!(app.owner(tenant).await.expect("the owner").email, "bob@example.com");
        assert_eq!(app.set_tier(app.id(), Tier::Free).await.map_err(|p| p.code), Err(Code::NotFound));
    }
}

#[tokio::test]
async fn the_audit_chain_holds_until_somebody_touches_it() {
    for house in House::both(Tier::Standard).await {
        let (app, tenant) = (&house.app, house.tenant);
        for number in 0..20 {
            house.key(labelled(&format!("Key {number}"))).await;
        }
        app.suspend_tenant(tenant).await.expect("suspended");
        app.suspend_tenant(tenant).await.expect("suspended already: nothing is written");
        assert_eq!(app.verify_audit(tenant).await, Ok(Ok(23)), "{}", house.engine);
        let production = EnvScope { environment: Environment::Production, ..house.development() };
        let wide =
            app.list_audit(&Pass::operator(production), AuditFilter::default(), None, 100).await.expect("the log");
        let actions: Vec<_> = wide.iter().map(|record| record.action.as_str()).collect();
        assert_eq!(actions, ["tenant.suspended", "user.added", "tenant.created"]);
        let dev = app.list_audit(&Pass::operator(house.development()), AuditFilter::default(), Some(23), 100).await;
        assert_eq!(dev.expect("the log").len(), 20, "development sees its own alone");

        let cut = async |text: store::Query| {
            let mut tx = app.db.begin().await.expect("begins");
            text.bind(tenant).run(&mut tx).await.expect("touched");
            tx.commit().await.expect("commits");
            app.verify_audit(tenant).await.expect("checked")
        };
        assert_eq!(
            cut(sql("DELETE FROM audit WHERE tenant_id = $1 AND seq = 23")).await,
            Err(Broken::Gap { expected: 23, found: 22 })
        );
        let renamed = sql("UPDATE audit SET action = 'key.updated' WHERE tenant_id = $1 AND seq = 7");
        assert_eq!(cut(renamed).await, Err(Broken::Changed(7)), "{}", house.engine);
    }
}

#[tokio::test]
async fn keys_are_shown_with_their_last_use_and_to_their_environment_alone() {
    for house in House::both(Tier::Standard).await {
        let (id, key) = house.key(labelled("Used")).await;
        let pass = house.pass(&key).await;
        house.app.gate.write_usage().await;
        let shown = house.app.get_key(&pass, id).await.expect("the key");
        let uses: Vec<_> = shown.uses.iter().map(|u| (u.secret, u.address.as_str(), u.route.as_str())).collect();
        assert_eq!(uses, [(shown.secrets[0].id, "192.0.2.7", "GET /v1/me")], "{}", house.engine);
        let (_, staging) = house.key(Draft { environment: Some("staging".to_owned()), ..labelled("Elsewhere") }).await;
        let stranger = house.pass(&staging).await;
        let found = house.app.get_key(&stranger, id).await;
        assert_eq!(found, house.app.get_key(&stranger, house.app.id()).await, "as if there were none");
        let gone = house.app.revoke_key(&stranger, id, Reason::Manual, "").await;
        assert_eq!(gone.map(|_| ()).map_err(|p| p.code), Err(Code::NotFound));
        let listed = house.app.list_keys(&pass, Filter::default(), None, 10).await.expect("the list");
        let listed: Vec<_> = listed.into_iter().map(|it| (it.key, it.secrets, it.uses)).collect();
        assert_eq!(listed, [(shown.key, shown.secrets, shown.uses)], "{}", house.engine);
    }
}

#[tokio::test]
async fn a_key_that_has_expired_stays_so_when_the_clock_is_set_back() {
    for house in House::both(Tier::Standard).await {
        let (id, key) = house.key(labelled("Short")).await;
        let (_, endless) = house.key(labelled("Endless")).await;
        set_expiry(&house, id, 1).await;
        assert_eq!(house.refusal(&key).await, Some(Code::ExpiredKey), "{}", house.engine);
        house.app.expire_keys().await.expect("swept");
        house.app.expire_keys().await.expect("swept once more");
        // As it looks to a database whose clock stands before the expiry.
        set_expiry(&house, id, 4_000_000_000_000).await;
        assert_eq!(house.refusal(&key).await, Some(Code::ExpiredKey), "{}", house.engine);
        assert_eq!(house.refusal(&endless).await, None, "{}", house.engine);
        let pass = house.pass(&endless).await;
        let log = house
            .app
            .list_audit(&pass, AuditFilter { object: Some(id.to_string()), ..AuditFilter::default() }, None, 10)
            .await
            .expect("the log");
        let told: Vec<_> = log.iter().map(|record| (record.action.as_str(), &record.actor)).collect();
        assert_eq!(told, [("key.expired", &Actor::System), ("key.created", &Actor::Operator)], "{}", house.engine);
        let filter = app::event::Filter::default();
        let read = house.app.events(&pass, 0, &filter, 10, None, std::future::pending()).await.expect("events");
        let told: Vec<_> = read.events.iter().map(|event| event.kind.as_str()).collect();
        assert_eq!(told, ["key.created", "key.created", "key.expired"], "{}", house.engine);
        let receipt = house.app.revoke_key(&pass, id, Reason::Manual, "").await.expect("revoked");
        assert_eq!(receipt.key.key.state, State::Revoked(Reason::Manual));
    }
}

async fn set_expiry(house: &House, id: KeyId, at: i64) {
    let mut tx = house.app.db.begin().await.expect("begins");
    sql("UPDATE keys SET expires_at = $2 WHERE id = $1").bind(id).bind(at).run(&mut tx).await.expect("set");
    tx.commit().await.expect("commits");
}

#[tokio::test]
async fn the_journal_suspends_what_an_older_backup_has_as_pending_and_stops_at_nothing() {
    for house in House::both(Tier::Standard).await {
        let (id, key) = house.key(Draft { pending: true, ..labelled("Suspended since") }).await;
        let (expired, _) = house.key(labelled("Expires earlier in the backup")).await;
        let earlier = sql("UPDATE keys SET expires_at = created_at + 1 WHERE id = $1").bind(expired);
        let mut tx = house.app.db.begin().await.expect("begins");
        earlier.run(&mut tx).await.expect("run");
        tx.commit().await.expect("commits");
        let at = house.app.now().plus(1_000);
        let line = |key| Line { at, key, scope: house.development(), fact: Fact::Suspended };
        let machine: (&dyn Clock, &dyn Random) = (&*house.clock, &app::SystemRandom);
        let changed = app::journal::restore(&house.app.db, &[line(expired), line(id)], machine).await;
        assert_eq!(changed.expect("restored"), 1, "{}", house.engine);
        let operator = Pass::operator(house.development());
        let refused = house.app.activate_key(&operator, id).await;
        assert_eq!(refused.map_err(|problem| problem.code).map(|_| ()), Err(Code::KeyStatus), "{}", house.engine);
        assert_eq!(house.refusal(&key).await, Some(Code::SuspendedKey), "{}", house.engine);
    }
}

#[tokio::test]
async fn a_restore_renews_every_epoch() {
    for house in House::both(Tier::Standard).await {
        let epoch = async || {
            let mut conn = house.app.db.ask().await.expect("a connection");
            let (_, epochs) = store::gate::epochs(&mut conn, &[house.tenant]).await.expect("read");
            epochs.get(&house.tenant).cloned().expect("an epoch")
        };
        let before = epoch().await;
        let machine: (&dyn Clock, &dyn Random) = (&*house.clock, &app::SystemRandom);
        assert_eq!(app::journal::restore(&house.app.db, &[], machine).await, Ok(0), "{}", house.engine);
        // A server that remembers something of the database before it was put back finds that out.
        assert_ne!(epoch().await, before, "{}", house.engine);
    }
}
