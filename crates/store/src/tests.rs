//! The store as a whole on both engines: every statement prepared, and what transactions promise.

use model::{Clock, EnvScope, Environment, Id, JobId, Random, TenantId, Timestamp};
use regex::Regex;
use sqlx::{AssertSqlSafe, Executor, SqlSafeStr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::idempotency::{self, Claim, Place};
use crate::job::{self, NewJob};
use crate::sql::{Link, Session, either, sql};
use crate::testing::engines;
use crate::{Db, StoreError, Tx};

/// Different bits each time, the same in each run.
pub(crate) struct Counting(pub(crate) AtomicU64);

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

fn id<K: model::Kind>() -> Id<K> {
    Id::new(at(0), &RANDOM)
}

fn scope() -> EnvScope {
    EnvScope { tenant: id(), environment: Environment::Development }
}

async fn add_tenant(tx: &mut Tx, name: &str) -> TenantId {
    let tenant = id();
    sql("INSERT INTO tenants (id, name, tier, status, allowlist, policies, created_at, version)
        VALUES ($1, $2, 'standard', 'active', '[]', '{}', $3, 1)")
    .bind(tenant)
    .bind(name)
    .bind(at(0))
    .run(tx)
    .await
    .expect("a tenant");
    tenant
}

/// Every `sql("…")` and `either("…", "…")` of the sources, as (place, SQLite's text, PostgreSQL's text).
fn statements() -> Vec<(String, String, String)> {
    let one = Regex::new(r##"(?s)^\s*(?:"((?:[^"\\]|\\.)*)"|r#"(.*?)"#)"##).expect("a pattern");
    let call = Regex::new(r"\b(sql|either)\(").expect("a pattern");
    let mut found = Vec::new();
    for path in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let text = std::fs::read_to_string(&path).expect("a source file");
        for m in call.find_iter(&text) {
            let line_start = text[..m.start()].rfind('\n').map_or(0, |at| at + 1);
            let before = text[line_start..m.start()].trim_start();
            let line = text[..m.start()].matches('\n').count() + 1;
            if before.starts_with("//") || before.ends_with("fn ") || before.contains(['`', '"']) {
                continue;
            }
            let place = format!("{}:{line}", path.display());
            let (first, length) = literal(&one, &text[m.end()..]).unwrap_or_else(|| panic!("{place}: not a literal"));
            let mut second = first.clone();
            if m.as_str() == "either(" {
                let rest =
                    text[m.end() + length..].strip_prefix(',').unwrap_or_else(|| panic!("{place}: no second text"));
                second = literal(&one, rest).unwrap_or_else(|| panic!("{place}: not a literal")).0;
            }
            found.push((place, first, second));
        }
    }
    found
}

/// The text of a literal, raw or not, and how long it is in the source.
fn literal(pattern: &Regex, source: &str) -> Option<(String, usize)> {
    let found = pattern.captures(source)?;
    let text = found.get(1).map_or_else(|| found[2].to_owned(), |escaped| unescaped(escaped.as_str()));
    Some((text, found[0].len()))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}

fn unescaped(literal: &str) -> String {
    let continued = Regex::new(r"\\\r?\n\s*").expect("a pattern");
    continued.replace_all(literal, "").replace("\\\"", "\"").replace("\\n", "\n").replace("\\\\", "\\")
}

#[tokio::test]
async fn every_statement_is_prepared_on_both_engines() {
    let statements = statements();
    assert!(statements.len() > 20, "only {} statements were found", statements.len());
    let mut wrong = Vec::new();
    for engine in engines().await {
        // The writer's connection: what changes rows is prepared as well.
        let mut conn = engine.db.owner().await.expect("a connection");
        for (place, sqlite, postgres) in &statements {
            let outcome = match conn.link() {
                Link::Sqlite(c) => c.prepare(AssertSqlSafe(sqlite.clone()).into_sql_str()).await.map(|_| ()),
                Link::Postgres(c) => c.prepare(AssertSqlSafe(postgres.clone()).into_sql_str()).await.map(|_| ()),
            };
            if let Err(error) = outcome {
                wrong.push(format!("{} on {}: {error}", place, engine.engine));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), statements.len(), wrong.join("\n"));
}

#[tokio::test]
async fn the_gate_reads_by_index_alone() {
    let engine = crate::testing::sqlite().await;
    let mut conn = engine.db.owner().await.expect("a connection");
    let reads: Vec<_> = statements().into_iter().filter(|(place, ..)| place.contains("gate.rs")).collect();
    let mut seen = 0;
    for (place, text, _) in reads.iter().filter(|(_, text, _)| text.contains("FROM") && text.starts_with("SELECT")) {
        let Link::Sqlite(c) = conn.link() else { panic!("SQLite") };
        let text = format!("EXPLAIN QUERY PLAN {text}");
        let plan = sqlx::query(AssertSqlSafe(text)).fetch_all(c).await.expect("a plan");
        for step in plan {
            let step: String = sqlx::Row::get(&step, "detail");
            let scans = step.starts_with("SCAN") || step.starts_with("MATERIALIZE");
            let bounded = ["VIRTUAL TABLE", "CONSTANT ROW", "SCAN clock"].iter().any(|what| step.contains(what));
            assert!(!scans || bounded, "{place}: {step}");
            seen += 1;
        }
    }
    assert!(seen > 6, "{seen} steps");
}

#[tokio::test]
async fn values_come_back_as_they_went_in() {
    for engine in engines().await {
        let mut tx = engine.db.begin().await.expect("begins");
        let row = either(
            "SELECT $1 AS t, $2 AS i, $3 AS b, $4 AS x, $5 AS n, $6 AS no, 7 AS seven",
            "SELECT $1::text AS t, $2::bigint AS i, $3::boolean AS b, $4::bytea AS x, $5::bigint AS n, $6::text AS no, 7 AS seven",
        )
        .bind("Grüße, 世界")
        .bind(i64::MIN)
        .bind(true)
        .bind([0_u8, 255])
        .bind(Some(at(5)))
        .bind(None::<&str>)
        .one(&mut tx)
        .await
        .expect("a row");
        assert_eq!(row.get::<String>("t").expect("t"), "Grüße, 世界");
        assert_eq!(row.get::<i64>("i").expect("i"), i64::MIN);
        assert!(row.get::<u64>("i").is_err());
        assert!(row.get::<bool>("b").expect("b"));
        assert_eq!(row.get::<[u8; 2]>("x").expect("x"), [0, 255]);
        assert!(row.get::<[u8; 3]>("x").is_err());
        assert_eq!(row.get::<Option<Timestamp>>("n").expect("n"), Some(at(5)));
        assert_eq!(row.get::<Option<String>>("no").expect("no"), None);
        assert_eq!(row.get::<u32>("seven").expect("seven"), 7);
        assert!(row.get::<String>("nowhere").is_err());
        let too_big = sql("SELECT 1 AS one WHERE 1 = $1").bind(u64::MAX).all(&mut tx).await;
        assert!(matches!(too_big, Err(StoreError::Unbindable(_))));
    }
}

#[tokio::test]
async fn a_transaction_happens_whole_or_not_at_all() {
    for engine in engines().await {
        let mut tx = engine.db.begin().await.expect("begins");
        let tenant = add_tenant(&mut tx, "dropped").await;
        drop(tx);
        assert!(!exists(&engine.db, tenant).await, "{}", engine.engine);

        let mut tx = engine.db.begin().await.expect("begins");
        let tenant = add_tenant(&mut tx, "failed").await;
        let twice = sql("INSERT INTO tenants (id, name, tier, status, allowlist, policies, created_at, version)
            VALUES ($1, 'twice', 'standard', 'active', '[]', '{}', 0, 1)")
        .bind(tenant)
        .run(&mut tx)
        .await;
        assert!(matches!(twice, Err(StoreError::Constraint { .. })), "{twice:?}");
        assert!(matches!(tx.commit().await, Err(StoreError::Statement(_))), "{}", engine.engine);
        assert!(!exists(&engine.db, tenant).await, "{}", engine.engine);

        let mut tx = engine.db.begin().await.expect("begins");
        let tenant = add_tenant(&mut tx, "kept").await;
        tx.commit().await.expect("commits");
        assert!(exists(&engine.db, tenant).await, "{}", engine.engine);
        let mut reading = engine.db.read().await.expect("reads");
        let written = sql("UPDATE tenants SET name = 'x' WHERE id = $1").bind(tenant).run(&mut reading).await;
        assert!(written.is_err(), "a reader wrote on {}", engine.engine);
    }
}

async fn exists(db: &Db, tenant: TenantId) -> bool {
    let mut tx = db.read().await.expect("reads");
    let row = sql("SELECT id FROM tenants WHERE id = $1").bind(tenant).optional(&mut tx).await.expect("asked");
    row.is_some()
}

#[tokio::test]
async fn a_schema_that_is_there_stays_and_a_second_process_is_kept_out_of_the_folder() {
    for engine in engines().await {
        let mut tx = engine.db.begin().await.expect("begins");
        let tenant = add_tenant(&mut tx, "kept").await;
        tx.commit().await.expect("commits");
        if engine.engine == "sqlite" {
            assert!(matches!(Db::open(&engine.target).await, Err(StoreError::Held(_))));
        } else {
            let (a, b) = tokio::join!(Db::open(&engine.target), Db::open(&engine.target));
            assert!(exists(&a.expect("opens"), tenant).await && exists(&b.expect("opens"), tenant).await);
        }
    }
}

fn new_job(scope: EnvScope, object: &str, run_at: Timestamp) -> NewJob {
    let body = serde_json::json!({"text": "ä"});
    NewJob { id: id(), scope, kind: "mail", object: object.to_owned(), body, run_at, created_at: at(0) }
}

async fn enqueue(db: &Db, jobs: &[NewJob]) {
    let mut tx = db.begin().await.expect("begins");
    job::enqueue_all(&mut tx, jobs).await.expect("enqueued");
    tx.commit().await.expect("commits");
}

#[tokio::test]
async fn no_tenants_jobs_keep_anothers_waiting() {
    for engine in engines().await {
        let (busy, calm) = (scope(), scope());
        let mut jobs: Vec<NewJob> = (0..50).map(|i| new_job(busy, &format!("busy {i}"), at(i))).collect();
        jobs.push(new_job(calm, "calm", at(100)));
        jobs.push(new_job(calm, "later", at(10_000)));
        enqueue(&engine.db, &jobs).await;
        let claimed = job::claim(&engine.db, &["seal", "mail"], 1_000, at(200), 4).await.expect("claimed");
        let mut objects: Vec<&str> = claimed.iter().map(|job| job.object.as_str()).collect();
        objects.sort_unstable();
        assert_eq!(objects, ["busy 0", "busy 1", "busy 2", "calm"], "{}", engine.engine);
        assert_eq!(claimed[0].body, serde_json::json!({"text": "ä"}));
        let more = job::claim(&engine.db, &["mail"], 1_000, at(200), 100).await.expect("claimed");
        assert_eq!(more.len(), 47, "{}", engine.engine);
        assert_eq!(job::next_due(&engine.db, &["mail", "seal"]).await.expect("asked"), Some(at(1_200)));
    }
}

#[tokio::test]
async fn a_lease_that_ran_out_is_taken_and_its_old_holder_can_commit_nothing() {
    for engine in engines().await {
        let (db, scope) = (&engine.db, scope());
        let job = new_job(scope, "one", at(0));
        enqueue(db, &[job.clone(), NewJob { id: id::<model::kind::Job>(), ..job.clone() }]).await;
        let first = job::claim(db, &["mail"], 1_000, at(0), 10).await.expect("claimed");
        assert_eq!((first.len(), first[0].attempts), (1, 1), "{}", engine.engine);
        assert!(job::claim(db, &["mail"], 1_000, at(999), 10).await.expect("claimed").is_empty());
        let second = job::claim(db, &["mail"], 1_000, at(1_000), 10).await.expect("claimed");
        assert_eq!(second[0].attempts, 2);
        let mut tx = db.begin().await.expect("begins");
        assert!(matches!(job::done(&mut tx, &first[0]).await, Err(StoreError::LeaseLost(_))));
        drop(tx);
        let mut tx = db.begin().await.expect("begins");
        job::fail(&mut tx, &second[0], "no answer", at(5_000)).await.expect("failed");
        tx.commit().await.expect("commits");
        let third = job::claim(db, &["mail"], 1_000, at(5_000), 10).await.expect("claimed");
        assert_eq!(third[0].attempts, 3);
        let mut tx = db.begin().await.expect("begins");
        assert!(!job::enqueue(&mut tx, &new_job(scope, "one", at(0))).await.expect("asked"));
        job::park(&mut tx, &third[0], "the address does not exist").await.expect("parked");
        tx.commit().await.expect("commits");
        assert!(job::claim(db, &["mail"], 1_000, at(1_000_000), 10).await.expect("claimed").is_empty());
        let parked = job::parked(db, 10).await.expect("asked");
        assert_eq!(parked[0].error, "the address does not exist");
    }
}

#[tokio::test]
async fn a_job_goes_on_later_and_is_gone_when_it_is_done() {
    for engine in engines().await {
        let db = &engine.db;
        enqueue(db, &[new_job(scope(), "steps", at(0))]).await;
        let job = job::claim(db, &["mail"], 1_000, at(0), 1).await.expect("claimed").remove(0);
        let mut tx = db.begin().await.expect("begins");
        job::again(&mut tx, &job, &serde_json::json!({"row": 500}), at(10)).await.expect("moved");
        tx.commit().await.expect("commits");
        let job = job::claim(db, &["mail"], 1_000, at(10), 1).await.expect("claimed").remove(0);
        assert_eq!((job.attempts, &job.body), (1, &serde_json::json!({"row": 500})));
        let mut tx = db.begin().await.expect("begins");
        job::done(&mut tx, &job).await.expect("done");
        tx.commit().await.expect("commits");
        assert_eq!(job::next_due(db, &["mail"]).await.expect("asked"), None);
    }
    assert_eq!([1, 2, 3, 12, 13, 99].map(job::backoff_ms), [1_000, 2_000, 4_000, 2_048_000, 3_600_000, 3_600_000]);
}

#[tokio::test]
async fn who_lost_a_lease_does_not_find_it_again_when_the_job_has_gone_a_step_further() {
    for engine in engines().await {
        let db = &engine.db;
        enqueue(db, &[new_job(scope(), "steps", at(0))]).await;
        let slow = job::claim(db, &["mail"], 1_000, at(0), 1).await.expect("claimed").remove(0);
        let quick = job::claim(db, &["mail"], 1_000, at(1_000), 1).await.expect("claimed").remove(0);
        let mut tx = db.begin().await.expect("begins");
        job::again(&mut tx, &quick, &serde_json::Value::Null, at(1_001)).await.expect("moved");
        tx.commit().await.expect("commits");
        let next = job::claim(db, &["mail"], 1_000, at(1_001), 1).await.expect("claimed").remove(0);
        assert_eq!((slow.attempts, quick.attempts, next.attempts), (1, 2, 1), "{}", engine.engine);
        let mut tx = db.begin().await.expect("begins");
        assert!(matches!(job::done(&mut tx, &slow).await, Err(StoreError::LeaseLost(_))), "{}", engine.engine);
        assert!(matches!(job::done(&mut tx, &quick).await, Err(StoreError::LeaseLost(_))), "{}", engine.engine);
        job::done(&mut tx, &next).await.expect("done");
        tx.commit().await.expect("commits");
    }
}

/// A clock that goes on by a minute each time it is read.
struct Striding(AtomicI64);

impl Clock for Striding {
    fn now(&self) -> Timestamp {
        at(self.0.fetch_add(60_000, Ordering::Relaxed))
    }
}

#[tokio::test]
async fn a_lease_is_renewed_while_its_job_runs_and_not_longer() {
    for engine in engines().await {
        let db = &engine.db;
        enqueue(db, &[new_job(scope(), "long", at(0))]).await;
        let job = job::claim(db, &["mail"], 30, at(0), 1).await.expect("claimed").remove(0);
        let clock = Striding(AtomicI64::new(0));
        let until_renewed_twice = async {
            while job::next_due(db, &["mail"]).await.expect("asked") < Some(at(60_030)) {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = job::keep(db, &job, 30, &clock) => panic!("the lease was lost on {}", engine.engine),
            () = until_renewed_twice => {}
        }
        let other = job::claim(db, &["mail"], 30, at(9_000_000), 1).await.expect("claimed").remove(0);
        job::keep(db, &job, 30, &clock).await;
        let mut tx = db.begin().await.expect("begins");
        job::done(&mut tx, &other).await.expect("done");
        tx.commit().await.expect("commits");
        job::keep(db, &other, 30, &clock).await;
    }
}

#[tokio::test]
async fn two_nodes_never_hold_the_same_job() {
    for engine in engines().await {
        let scope = scope();
        let jobs: Vec<NewJob> = (0..200).map(|i| new_job(scope, &i.to_string(), at(0))).collect();
        enqueue(&engine.db, &jobs).await;
        let mut nodes = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let db = engine.db.clone();
            nodes.spawn(async move {
                let mut mine: Vec<JobId> = Vec::new();
                loop {
                    let claimed = job::claim(&db, &["mail"], 60_000, at(1), 7).await.expect("claimed");
                    mine.extend(claimed.iter().map(|job| job.id));
                    if job::next_due(&db, &["mail"]).await.expect("asked").is_none_or(|due| due > at(1)) {
                        return mine;
                    }
                }
            });
        }
        let mut all: Vec<JobId> = nodes.join_all().await.concat();
        all.sort_unstable();
        let count = all.len();
        all.dedup();
        assert_eq!((count, all.len()), (200, 200), "{}", engine.engine);
    }
}

fn place(scope: EnvScope) -> Place {
    let (caller, route, key) = ("key_1".to_owned(), "POST /v1/envelopes".to_owned(), "k".to_owned());
    Place { scope, caller, route, key }
}

async fn answered(db: &Db, lease: &idempotency::Lease, body: &str) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    idempotency::answer(&mut tx, lease, [1; 32], 201, body).await?;
    tx.commit().await
}

#[tokio::test]
async fn a_repeated_request_is_answered_once() {
    for engine in engines().await {
        let (db, place) = (&engine.db, place(scope()));
        let claim = |digest: u8, holder: &'static str, now| {
            let place = place.clone();
            async move { idempotency::claim(db, &place, Some([digest; 32]), holder, at(now)).await.expect("claimed") }
        };
        let Claim::Mine(first) = claim(1, "req_1", 0).await else { panic!("{}", engine.engine) };
        assert_eq!(claim(1, "req_2", 10).await, Claim::InProgress);
        assert_eq!(claim(2, "req_2", 10).await, Claim::Mismatch);
        // Its lease runs out, another takes over, and the first can't take effect beside it.
        let Claim::Mine(second) = claim(1, "req_3", 120_001).await else { panic!("{}", engine.engine) };
        assert!(matches!(answered(db, &first, "late").await, Err(StoreError::LeaseLost(_))));
        answered(db, &second, "made").await.expect("answered");
        let done = Claim::Answered { digest: Some([1; 32]), status: 201, body: "made".to_owned() };
        assert_eq!(claim(1, "req_4", 130_000).await, done);
        assert_eq!(claim(2, "req_4", 130_000).await, Claim::Mismatch);
        let streamed = idempotency::claim(db, &place, None, "req_5", at(130_000)).await.expect("claimed");
        assert_eq!(streamed, done);
        assert_eq!(idempotency::sweep(db, at(200_000)).await.expect("swept"), 0);
        assert_eq!(idempotency::sweep(db, at(120_002 + 24 * 3_600_000)).await.expect("swept"), 1);
        let Claim::Mine(third) = claim(2, "req_6", 300_000).await else { panic!("{}", engine.engine) };
        idempotency::release(db, &third).await.expect("released");
        assert!(matches!(claim(3, "req_7", 300_001).await, Claim::Mine(_)));
    }
}

#[tokio::test]
async fn a_transaction_that_the_database_itself_rolled_back_keeps_no_other_from_beginning() {
    for test in engines().await {
        // As SQLite does on a full disk: twice the transaction is dropped after it, and twice its COMMIT fails.
        for commits in [false, true, false, true] {
            let mut tx = test.db.begin().await.expect("begins");
            add_tenant(&mut tx, "Lost").await;
            match tx.link() {
                Link::Sqlite(conn) => conn.execute("ROLLBACK").await.map(|_| ()).expect("rolls back"),
                Link::Postgres(conn) => conn.execute("ROLLBACK").await.map(|_| ()).expect("rolls back"),
            }
            if commits && !tx.is_postgres() {
                tx.commit().await.expect_err("there is nothing to commit");
            } else {
                drop(tx);
            }
            let mut tx = test.db.begin().await.expect("the next one begins");
            let tenant = add_tenant(&mut tx, "Kept").await;
            tx.commit().await.expect("commits");
            let mut tx = test.db.read().await.expect("reads");
            let rows = sql("SELECT name FROM tenants WHERE id = $1").bind(tenant).all(&mut tx).await.expect("rows");
            assert_eq!(rows.len(), 1, "{}", test.engine);
            let lost = sql("SELECT name FROM tenants WHERE name = 'Lost'").all(&mut tx).await.expect("rows");
            assert_eq!(lost.len(), 0, "{}", test.engine);
        }
    }
}
