//! The gate before a real database, on both engines: every row of the table, strict revocation, the fence's race.

use http::{HeaderMap, HeaderValue, Uri, header};
use model::scope::Scope;
use model::{Clock, Code, EnvScope, Environment, Id, KeyId, Problem, Random, SecretId, TenantId, Timestamp, UserId};
use secret::SecretKey;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use store::testing::{TestDb, engines};
use store::{Db, Target, Tx, sql};

use crate::{Ask, Gate, GateConfig, Pass, Patience, Peer, Rate, Rule, Touched, barrier};

mod threads;
mod throttled;

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

/// Stands still until it is moved.
struct Still(AtomicI64);

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

fn id<K: model::Kind>() -> Id<K> {
    Id::new(Timestamp::from_millis(1_800_000_000_000), &RANDOM)
}

/// A tenant with an owner, a key, and a gate before them.
struct House {
    db: Db,
    gate: Gate,
    clock: Arc<Still>,
    tenant: TenantId,
    owner: UserId,
    key: KeyId,
    secret: SecretId,
    text: SecretKey,
    engine: &'static str,
    target: Target,
    _test: Option<TestDb>,
}

impl House {
    async fn new(test: TestDb, config: GateConfig) -> House {
        let (tenant, owner, key, secret) = (id(), id(), id::<model::kind::Key>(), id());
        let text = SecretKey::generate(Environment::Production, key.uuid(), [7; 32]);
        let mut tx = test.db.begin().await.expect("begins");
        sql("INSERT INTO tenants (id, name, tier, status, allowlist, policies, created_at, version)
            VALUES ($1, 'Acme', 'enterprise', 'active', '[]', '{}', 0, 1)")
        .bind(tenant)
        .run(&mut tx)
        .await
        .expect("a tenant");
        sql("INSERT INTO users (id, tenant_id, email, name, role, status, created_at, version)
            VALUES ($1, $2, 'ada@example.com', 'Ada', 'owner', 'active', 0, 1)")
        .bind(owner)
        .bind(tenant)
        .run(&mut tx)
        .await
        .expect("an owner");
        sql("INSERT INTO keys (id, tenant_id, environment, label, status, status_at, administrator_id, created_by,
                scopes, allowlist, note, tags, created_at, version)
            VALUES ($1, $2, 'production', 'billing', 'active', 0, $3, '{}', '[\"*\"]', '[]', '', '[]', 0, 1)")
        .bind(key)
        .bind(tenant)
        .bind(owner)
        .run(&mut tx)
        .await
        .expect("a key");
        sql("INSERT INTO secrets (id, key_id, tenant_id, digest, last4, status, created_at)
            VALUES ($1, $2, $3, $4, 'x', 'current', 0)")
        .bind(secret)
        .bind(key)
        .bind(tenant)
        .bind(text.digest().0)
        .run(&mut tx)
        .await
        .expect("a secret");
        tx.commit().await.expect("commits");
        let clock = Arc::new(Still(AtomicI64::new(1_800_000_000_000)));
        let (db, engine, target) = (test.db.clone(), test.engine, test.target.clone());
        let gate = Gate::new(db.clone(), config, clock.clone());
        House { db, gate, clock, tenant, owner, key, secret, text, engine, target, _test: Some(test) }
    }

    async fn both(config: GateConfig) -> Vec<House> {
        let mut houses = Vec::new();
        for test in engines().await {
            houses.push(House::new(test, config.clone()).await);
        }
        houses
    }

    async fn admit_with(&self, authorization: Option<&str>, from: [u8; 4], rule: Rule) -> Result<Pass, Problem> {
        admit(&self.gate, authorization, from, rule).await
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.text.expose())
    }

    async fn admit(&self) -> Result<Pass, Problem> {
        self.admit_with(Some(&self.bearer()), [10, 0, 0, 1], Rule::AnyKey).await
    }

    async fn code(&self) -> Result<(), Code> {
        self.admit().await.map(|_| ()).map_err(|problem| problem.code)
    }

    async fn begin(&self) -> Tx {
        self.db.begin().await.expect("begins")
    }

    async fn set_key(&self, status: &str) {
        let mut tx = self.begin().await;
        sql("UPDATE keys SET status = $2, version = version + 1 WHERE id = $1")
            .bind(self.key)
            .bind(status)
            .run(&mut tx)
            .await
            .expect("changed");
        tx.commit().await.expect("commits");
    }
}

async fn admit(gate: &Gate, authorization: Option<&str>, from: [u8; 4], rule: Rule) -> Result<Pass, Problem> {
    let mut headers = HeaderMap::new();
    if let Some(value) = authorization {
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).expect("a header"));
    }
    headers.insert(header::USER_AGENT, HeaderValue::from_static("curl/8"));
    let uri = Uri::from_static("/v1/me");
    let peer = Peer::Ip(IpAddr::from(from));
    let ask = Ask { headers: &headers, uri: &uri, peer, is_tls: true, rule, route: "GET /v1/me", request_id: "req_1" };
    gate.admit(&ask).await
}

#[tokio::test]
async fn also_what_is_replicated_or_emptied_by_hand_ends_what_is_remembered() {
    for house in House::both(GateConfig::default()).await {
        if !house.db.is_postgres() {
            continue;
        }
        assert_eq!(house.code().await, Ok(()));
        let mut tx = house.begin().await;
        // As a subscriber applies what comes from elsewhere: ordinary triggers do not run.
        sql("SET LOCAL session_replication_role = 'replica'").run(&mut tx).await.expect("set");
        sql("UPDATE keys SET status = 'suspended'").run(&mut tx).await.expect("changed");
        tx.commit().await.expect("commits");
        assert_eq!(house.code().await, Err(Code::SuspendedKey));
        let mut tx = house.begin().await;
        sql("TRUNCATE keys CASCADE").run(&mut tx).await.expect("emptied");
        tx.commit().await.expect("commits");
        assert_eq!(house.code().await, Err(Code::InvalidKey));
    }
}

#[tokio::test]
async fn every_row_of_the_table_answers_with_its_code() {
    for house in House::both(GateConfig::default()).await {
        let mut other = house.text.expose().to_owned();
        let stranger = SecretKey::generate(Environment::Production, house.key.uuid(), [8; 32]);
        let elsewhere = SecretKey::generate(Environment::Production, id::<model::kind::Key>().uuid(), [7; 32]);
        other.replace_range(40..41, if &other[40..41] == "a" { "b" } else { "a" });
        for (authorization, want) in [
            (None, Code::MissingCredentials),
            (Some(format!("Bearer {other}")), Code::MalformedCredentials),
            (Some(format!("Bearer {}", stranger.expose())), Code::InvalidKey),
            (Some(format!("Bearer {}", elsewhere.expose())), Code::InvalidKey),
        ] {
            let refusal = house.admit_with(authorization.as_deref(), [10, 0, 0, 1], Rule::AnyKey).await;
            assert_eq!(refusal.expect_err("refused").code, want, "{}", house.engine);
        }
        assert_eq!(house.code().await, Ok(()), "{}", house.engine);
        // Each change is written by hand, beside the server, and holds for the very next request.
        for (text, want) in [
            ("UPDATE keys SET scopes = '[\"envelopes:read\"]'", Code::ScopeRequired),
            ("UPDATE users SET role = 'viewer'", Code::RoleRequired),
            ("UPDATE tenants SET tier = 'free'", Code::TierRequired),
            ("UPDATE tenants SET status = 'suspended'", Code::TenantSuspended),
            ("UPDATE tenants SET allowlist = '[\"192.0.2.0/24\"]'", Code::IpNotAllowed),
            ("UPDATE keys SET allowlist = '[\"192.0.2.1\"]'", Code::IpNotAllowed),
            ("UPDATE secrets SET status = 'dead'", Code::RotatedSecret),
            ("UPDATE keys SET expires_at = 1", Code::ExpiredKey),
            ("UPDATE keys SET status = 'suspended'", Code::SuspendedKey),
            ("UPDATE keys SET status = 'pending'", Code::PendingKey),
            ("UPDATE keys SET status = 'revoked', reason = 'manual'", Code::RevokedKey),
            ("DELETE FROM secrets", Code::InvalidKey),
        ] {
            let mut tx = house.begin().await;
            sql("DELETE FROM key_uses").run(&mut tx).await.expect("or uses would hold the secrets");
            sql(text).run(&mut tx).await.expect("changed");
            tx.commit().await.expect("commits");
            let rule = Rule::Scope(Scope::KeysRead);
            let refusal = house.admit_with(Some(&house.bearer()), [10, 0, 0, 1], rule).await.expect_err(text);
            assert_eq!(refusal.code, want, "{} after {text}", house.engine);
        }
    }
}

#[tokio::test]
async fn a_pass_says_who_was_let_in() {
    for house in House::both(GateConfig::default()).await {
        let pass = house.admit().await.expect("admitted");
        assert_eq!(pass.scope(), EnvScope { tenant: house.tenant, environment: Environment::Production });
        let caller = pass.caller();
        assert_eq!(caller.address, Some(IpAddr::from([10, 0, 0, 1])));
        assert_eq!((caller.user_agent.as_deref(), caller.request_id.as_deref()), (Some("curl/8"), Some("req_1")));
        let model::caller::Who::Key { key, secret, administrator, .. } = &caller.who else { panic!("{caller:?}") };
        assert_eq!((*key, *secret, *administrator), (house.key, house.secret, house.owner));
        assert!(!format!("{pass:?}").contains(&house.text.expose()[40..]));
        house.gate.readmit(&pass).await.expect("still");
        house.set_key("suspended").await;
        let refusal = house.gate.readmit(&pass).await.expect_err("suspended");
        assert_eq!(refusal.code, Code::SuspendedKey, "{}", house.engine);
        house.set_key("active").await;
        house.gate.readmit(&pass).await.expect("resumed");
    }
}

#[tokio::test]
async fn an_expiry_is_decided_at_the_databases_time() {
    for house in House::both(GateConfig::default()).await {
        let pass = house.admit().await.expect("admitted");
        let mut tx = house.begin().await;
        let (moment, _) = store::gate::epochs(&mut tx, &[]).await.expect("asked");
        // This node's own clock is decades off and is not asked.
        house.clock.0.store(0, Ordering::Relaxed);
        sql("UPDATE keys SET expires_at = $2 WHERE id = $1")
            .bind(house.key)
            .bind(moment.time.plus(100))
            .run(&mut tx)
            .await
            .expect("changed");
        tx.commit().await.expect("commits");
        // It ends by itself, without a change of the epoch.
        let ended = loop {
            if let Err(refusal) = house.gate.readmit(&pass).await {
                break refusal;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(ended.code, Code::ExpiredKey, "{}", house.engine);
        let mut tx = house.begin().await;
        assert_eq!(pass.fence(&mut tx).await.expect_err("expired").code, Code::ExpiredKey);
    }
}

#[tokio::test]
async fn a_database_whose_clock_is_set_back_does_not_open_what_has_expired() {
    for house in House::both(GateConfig::default()).await {
        let mut tx = house.begin().await;
        sql("UPDATE keys SET expires_at = $2 WHERE id = $1")
            .bind(house.key)
            .bind(Timestamp::from_millis(4_000_000_000_000))
            .run(&mut tx)
            .await
            .expect("changed");
        tx.commit().await.expect("commits");
        let pass = house.admit().await.expect("admitted");
        // As if this node had seen the database's clock beyond the expiry, before it was set back.
        house.gate.0.latest.store(4_000_000_000_001, Ordering::SeqCst);
        assert_eq!(house.code().await, Err(Code::ExpiredKey), "{}", house.engine);
        let mut tx = house.begin().await;
        let fenced = pass.fence(&mut tx).await.map_err(|refusal| refusal.code);
        assert_eq!(fenced, Err(Code::ExpiredKey), "{}", house.engine);
    }
}

#[tokio::test]
async fn a_key_that_only_a_later_version_can_read_keeps_no_other_out() {
    for house in House::both(GateConfig::default()).await {
        let (late, secret) = (id::<model::kind::Key>(), id::<model::kind::Secret>());
        let text = SecretKey::generate(Environment::Production, late.uuid(), [8; 32]);
        let mut tx = house.begin().await;
        sql("INSERT INTO keys (id, tenant_id, environment, label, status, status_at, administrator_id, created_by, scopes,
                allowlist, note, tags, created_at, version)
            SELECT $2, tenant_id, environment, label, status, status_at, administrator_id, created_by,
                '[\"later:write\"]', allowlist, note, tags, created_at, version
            FROM keys
            WHERE id = $1")
        .bind(house.key)
        .bind(late)
        .run(&mut tx)
        .await
        .expect("a key");
        sql("INSERT INTO secrets (id, key_id, tenant_id, digest, last4, status, created_at)
            SELECT $2, $3, tenant_id, $4, last4, status, created_at
            FROM secrets
            WHERE id = $1")
        .bind(house.secret)
        .bind(secret)
        .bind(late)
        .bind(text.digest().0)
        .run(&mut tx)
        .await
        .expect("a secret");
        let (_, found) = store::gate::look_up(&mut tx, &[house.key, late]).await.expect("asked");
        assert_eq!(found.iter().filter(|(_, known)| known.is_ok()).count(), 1, "{}", house.engine);
        assert_eq!(found.len(), 2);
        tx.commit().await.expect("commits");
        assert_eq!(house.code().await, Ok(()), "{}", house.engine);
        // It is there, so its owner isn't told that it is unknown, and isn't taken for someone who guesses.
        let bearer = format!("Bearer {}", text.expose());
        let refusal = house.admit_with(Some(&bearer), [192, 0, 2, 7], Rule::AnyKey).await.expect_err("unreadable");
        assert_eq!(refusal.code, Code::Unavailable, "{}", house.engine);
    }
}

#[tokio::test]
async fn a_key_over_its_limit_is_told_when_to_come_back() {
    let key_rate = Rate { per_minute: 60, burst: 2 };
    for house in House::both(GateConfig { key_rate, ..GateConfig::default() }).await {
        assert_eq!(house.admit().await.expect("admitted").left().map(|left| left.key.remaining), Some(1));
        assert_eq!(house.code().await, Ok(()));
        // A new look-up does not fill the bucket.
        house.set_key("active").await;
        let refusal = house.admit().await.expect_err("limited");
        assert_eq!((refusal.code, refusal.retry_after_s), (Code::RateLimited, Some(2)), "{}", house.engine);
        house.clock.0.fetch_add(1_000, Ordering::Relaxed);
        assert_eq!(house.code().await, Ok(()));
    }
}

#[tokio::test]
async fn last_uses_are_written_forward_only_and_do_not_touch_the_epoch() {
    for house in House::both(GateConfig::default()).await {
        house.admit().await.expect("admitted");
        let before = epoch(&house).await;
        house.gate.shutdown().await;
        let mut tx = house.db.read().await.expect("reads");
        let row = sql("SELECT key_id, at, address, user_agent, route FROM key_uses WHERE secret_id = $1")
            .bind(house.secret)
            .one(&mut tx)
            .await
            .expect("a row");
        assert_eq!(row.get::<KeyId>("key_id").expect("key"), house.key);
        assert_eq!(row.get::<String>("address").expect("address"), "10.0.0.1");
        assert_eq!(row.get::<String>("route").expect("route"), "GET /v1/me");
        let at: Timestamp = row.get("at").expect("at");
        drop(tx);
        let old = store::usage::LastUse {
            secret: house.secret,
            key: house.key,
            at: at.plus(-1),
            address: IpAddr::from([1, 1, 1, 1]),
            user_agent: String::new(),
            route: "old",
        };
        let gone = store::usage::LastUse { secret: id(), ..old.clone() };
        let mut tx = house.begin().await;
        let notes = store::usage::Notes { uses: vec![old, gone], ..Default::default() };
        store::usage::write(&mut tx, &[(house.key, notes)]).await.expect("written");
        let row = sql("SELECT at FROM key_uses").one(&mut tx).await.expect("one row");
        assert_eq!(row.get::<Timestamp>("at").expect("at"), at, "{}", house.engine);
        tx.commit().await.expect("commits");
        assert_eq!(epoch(&house).await, before, "{}", house.engine);
    }
}

async fn epoch(house: &House) -> Option<store::gate::Epoch> {
    let mut tx = house.db.read().await.expect("reads");
    store::gate::epochs(&mut tx, &[house.tenant]).await.expect("asked").1.get(&house.tenant).copied()
}

#[tokio::test]
async fn the_gates_own_reader_sees_what_was_committed_before_it_asked() {
    for house in House::both(GateConfig::default()).await {
        let elsewhere = model::TenantId::from_uuid(uuid::Uuid::from_u128(1));
        let mut before = (None, Timestamp::from_millis(0));
        for status in ["suspended", "active", "suspended"] {
            house.set_key(status).await;
            let (none, _) = house.gate.epoch(elsewhere).await.expect("read");
            assert_eq!(none, None, "{}: a tenant that is not there has none", house.engine);
            // Twice: what is remembered is told like what is read.
            for turn in 0..2 {
                let read = house.gate.epoch(house.tenant).await.expect("read");
                assert_eq!(read.0, epoch(&house).await, "{turn} on {}", house.engine);
                assert!((turn == 1) == (read.0 == before.0) && read.1 >= before.1, "{turn} on {}", house.engine);
                before = read;
            }
        }
    }
}

#[tokio::test]
async fn a_fence_decides_again_where_something_changed_and_lets_pass_what_still_may() {
    for house in House::both(GateConfig::default()).await {
        let pass = house.admit().await.expect("admitted");
        let mut tx = house.begin().await;
        sql("UPDATE users SET name = 'Ada L.'").run(&mut tx).await.expect("changed");
        tx.commit().await.expect("commits");
        let mut tx = house.begin().await;
        pass.fence(&mut tx).await.expect("nothing that matters has changed");
        house.gate.fence_key(&mut tx, house.key, Rule::Scope(Scope::BatchesWrite)).await.expect("the key may");
        drop(tx);
        house.set_key("revoked").await;
        let mut tx = house.begin().await;
        assert_eq!(pass.fence(&mut tx).await.expect_err("revoked").code, Code::RevokedKey, "{}", house.engine);
        let later = house.gate.fence_key(&mut tx, house.key, Rule::AnyKey).await.expect_err("revoked");
        assert_eq!(later.code, Code::RevokedKey);
        let vouched = Pass::vouched(pass.caller().clone());
        assert_eq!(vouched.fence(&mut tx).await.expect_err("a key").code, Code::Internal);
        Pass::system(pass.scope()).fence(&mut tx).await.expect("the system needs no key");
    }
}

/// Another node before the same database; on SQLite, where there is one, another gate.
async fn second_node(house: &House) -> (Db, Gate) {
    let db = match &house.target {
        Target::Sqlite(_) => house.db.clone(),
        target @ Target::Postgres(_) => Db::open(target).await.expect("opens"),
    };
    (db.clone(), Gate::new(db, GateConfig::default(), house.clock.clone()))
}

/// Writes under the fence until it is refused; the number of commits that were answered.
async fn write_until_refused(db: Db, gate: Gate, bearer: String, name: String) -> (u64, Code) {
    let mut commits = 0;
    loop {
        let pass = match admit(&gate, Some(&bearer), [10, 0, 0, 1], Rule::AnyKey).await {
            Ok(pass) => pass,
            Err(refusal) => return (commits, refusal.code),
        };
        let mut tx = db.begin().await.expect("begins");
        if let Err(refusal) = pass.fence(&mut tx).await {
            return (commits, refusal.code);
        }
        let scope = pass.scope();
        sql("INSERT INTO counters (tenant_id, environment, name, seq, hash) VALUES ($1, $2, $3, 0, $4)")
            .bind(scope.tenant)
            .bind(scope.environment)
            .bind(format!("{name} {commits}"))
            .bind([0_u8; 32])
            .run(&mut tx)
            .await
            .expect("written");
        tx.commit().await.expect("commits");
        commits += 1;
    }
}

async fn rows(db: &Db) -> u64 {
    let mut tx = db.read().await.expect("reads");
    let row = sql("SELECT count(*) AS rows FROM counters").one(&mut tx).await.expect("counted");
    row.get("rows").expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_flight_commits_before_the_revocation_is_answered_or_never() {
    const WRITERS: usize = 12;
    for house in House::both(GateConfig::default()).await {
        let (other_db, other_gate) = second_node(&house).await;
        let mut writers = tokio::task::JoinSet::new();
        for number in 0..WRITERS {
            let (db, gate) = if number % 2 == 0 {
                (house.db.clone(), house.gate.clone())
            } else {
                (other_db.clone(), other_gate.clone())
            };
            writers.spawn(write_until_refused(db, gate, house.bearer(), format!("writer {number}")));
        }
        // Let them get going: wait for rows, not for time.
        while rows(&house.db).await < 100 {
            tokio::task::yield_now().await;
        }
        house.set_key("revoked").await;
        barrier(&house.db, &[Touched::Key(house.key)]).await.expect("in force");
        // The answer. Whoever asks from here on, on either node, is refused; whoever wrote has committed.
        let at_the_answer = rows(&house.db).await;
        assert_eq!(house.code().await, Err(Code::RevokedKey));
        let elsewhere = admit(&other_gate, Some(&house.bearer()), [10, 0, 0, 1], Rule::AnyKey).await;
        assert_eq!(elsewhere.expect_err("revoked").code, Code::RevokedKey);
        let ended = writers.join_all().await;
        assert!(ended.iter().all(|(_, code)| *code == Code::RevokedKey), "{ended:?}");
        let answered: u64 = ended.iter().map(|(commits, _)| commits).sum();
        assert_eq!((rows(&house.db).await, answered), (at_the_answer, at_the_answer), "{}", house.engine);
        eprintln!("{}: {at_the_answer} commits before the answer, 0 after it", house.engine);
    }
}

/// Waits until so many advisory locks are waited for, the barrier's among them.
async fn until_locks_wait(db: &Db, wanted: u32, barrier: &tokio::task::JoinHandle<Result<(), store::StoreError>>) {
    loop {
        assert!(!barrier.is_finished(), "the barrier did not wait");
        let mut conn = db.ask().await.expect("a connection");
        let text = "SELECT count(*) AS waiting FROM pg_locks
            WHERE locktype = 'advisory' AND NOT granted
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        let row = sql(text).one(&mut conn).await.expect("counted");
        if row.get::<u32>("waiting").expect("a number") == wanted {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_barrier_waits_for_each_writer_that_had_checked_before() {
    for house in House::both(GateConfig::default()).await.into_iter().filter(|house| house.db.is_postgres()) {
        for touched in [Touched::Key(house.key), Touched::User(house.owner), Touched::Tenant(house.tenant)] {
            let pass = house.admit().await.expect("admitted");
            let mut writing = house.begin().await;
            pass.fence(&mut writing).await.expect("not revoked yet");
            house.set_key("revoked").await;
            let db = house.db.clone();
            let waiting = tokio::spawn(async move { barrier(&db, &[touched]).await });
            until_locks_wait(&house.db, 1, &waiting).await;
            // One that comes now waits behind the barrier, then sees what was committed meanwhile: in a second statement.
            let (late, db) = (pass.clone(), house.db.clone());
            let late = tokio::spawn(async move {
                let mut tx = db.begin().await.expect("begins");
                late.fence(&mut tx).await.map_err(|refusal| refusal.code)
            });
            until_locks_wait(&house.db, 2, &waiting).await;
            assert!(!waiting.is_finished(), "{touched:?}");
            writing.commit().await.expect("what had checked before commits");
            waiting.await.expect("no panic").expect("in force");
            assert_eq!(late.await.expect("no panic"), Err(Code::RevokedKey), "{touched:?}");
            house.set_key("active").await;
        }
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_is_made_anew_and_without_a_database_nobody_is_let_in() {
    for house in House::both(GateConfig::default()).await.into_iter().filter(|house| house.db.is_postgres()) {
        assert_eq!(house.code().await, Ok(()));
        let mut conn = house.db.connect().await.expect("a connection");
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()";
        sql(cut).run(&mut conn).await.expect("cut");
        assert_eq!(house.code().await, Ok(()), "made anew");
        // What can't be read is as good as a server that is gone.
        sql("ALTER TABLE epochs RENAME TO epochs_gone").run(&mut conn).await.expect("renamed");
        let refusal = house.admit().await.expect_err("nobody can say");
        assert_eq!((refusal.code, refusal.retry_after_s), (Code::Unavailable, Some(1)));
        sql("ALTER TABLE epochs_gone RENAME TO epochs").run(&mut conn).await.expect("renamed");
        assert_eq!(house.code().await, Ok(()), "an error is not remembered");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_that_begins_after_the_answer_passes_on_any_node() {
    for house in House::both(GateConfig::default()).await {
        let (_db, other_gate) = second_node(&house).await;
        let answered = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let admitted = Arc::new(AtomicU64::new(0));
        let mut hammers = tokio::task::JoinSet::new();
        for number in 0..64 {
            let gate = if number % 2 == 0 { house.gate.clone() } else { other_gate.clone() };
            let (bearer, answered, admitted) = (house.bearer(), answered.clone(), admitted.clone());
            hammers.spawn(async move {
                loop {
                    let began_after_the_answer = answered.load(Ordering::SeqCst);
                    let passed = admit(&gate, Some(&bearer), [10, 0, 0, 1], Rule::AnyKey).await.is_ok();
                    admitted.fetch_add(u64::from(passed), Ordering::Relaxed);
                    assert!(!(passed && began_after_the_answer), "let in after the answer");
                    if began_after_the_answer {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            });
        }
        while admitted.load(Ordering::Relaxed) < 5_000 {
            tokio::task::yield_now().await;
        }
        house.set_key("revoked").await;
        barrier(&house.db, &[Touched::Key(house.key)]).await.expect("in force");
        answered.store(true, Ordering::SeqCst);
        hammers.join_all().await;
        let admitted = admitted.load(Ordering::Relaxed);
        eprintln!("{}: {admitted} admitted before the answer, 0 after it", house.engine);
    }
}

#[test]
fn a_secret_key_in_the_user_agent_is_not_kept() {
    let key = secret::SecretKey::generate(model::Environment::Production, uuid::Uuid::from_u128(7), [7; 32]);
    let mut headers = http::HeaderMap::new();
    headers.insert(http::header::USER_AGENT, format!("agent/1 {}", key.expose()).parse().expect("a header"));
    assert_eq!(crate::user_agent(&headers), Some("(held a secret key)"));
}
