//! Work that happens later: a row written in the transaction that causes it, taken by lease, at least once.
//!
//! A lease is a `run_at` in the future: a job whose holder died is due again by itself. The number of attempts says
//! who holds it: a holder whose lease ran out and was taken by another can neither finish nor fail the job, so its
//! transaction with the effect doesn't commit either. A job does its effect and [`done`] in one transaction. The column
//! `attempts` never comes back to a number: its millions count the steps that were done, the rest the attempts of this one.

use model::{Clock, EnvScope, Id, JobId, Timestamp, kind};
use serde_json::Value;
use std::time::Duration;

use crate::sql::{Json, Row, either, sql};
use crate::{Db, StoreError, Tx};

/// Characters of an error that are kept.
const ERROR_CHARS_MAX: usize = 1_000;
/// Where the attempts of the next step begin; an hour apart, nobody makes so many.
const STEP_ATTEMPTS: i64 = 1_000_000;
/// The longest pause between two attempts.
const BACKOFF_MS_MAX: i64 = 3_600_000;
/// The pause after the first failure; it doubles.
const BACKOFF_MS_FIRST: i64 = 1_000;

/// A job to be written.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Its id.
    pub id: JobId,
    /// For whom.
    pub scope: EnvScope,
    /// What to do.
    pub kind: &'static str,
    /// With what; there is one job of a kind and object at a time.
    pub object: String,
    /// What else it needs to know; `null` where the object says it all.
    pub body: Value,
    /// Not before.
    pub run_at: Timestamp,
    /// Written at.
    pub created_at: Timestamp,
}

/// A job that was taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// For whom.
    pub scope: EnvScope,
    /// What to do.
    pub kind: String,
    /// With what.
    pub object: String,
    /// What else it needs to know.
    pub body: Value,
    /// Which attempt this is, from 1; of a job in steps: of this step.
    pub attempts: u32,
    /// When it was written.
    pub created_at: Timestamp,
    /// The column `attempts`, whole: the lease's proof.
    lease: i64,
}

/// Write a job. Where one of the same kind and object waits already, that one stays, and it is due no later than asked
/// for; the answer is whether a new one was written.
pub async fn enqueue(tx: &mut Tx, job: &NewJob) -> Result<bool, StoreError> {
    let written =
        sql("INSERT INTO jobs (id, tenant_id, environment, kind, object, body, status, run_at, attempts, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, 'ready', $7, 0, $8)
        ON CONFLICT (kind, object) DO NOTHING")
        .bind(job.id)
        .bind(job.scope.tenant)
        .bind(job.scope.environment)
        .bind(job.kind)
        .bind(&job.object)
        .bind(Json(&job.body))
        .bind(job.run_at)
        .bind(job.created_at)
        .run(tx)
        .await?;
    if written == 0 {
        // Only one that nobody holds: a lease is not cut short.
        sql("UPDATE jobs
            SET run_at = $3
            WHERE kind = $1 AND object = $2 AND status = 'ready' AND attempts % 1000000 = 0 AND run_at > $3")
        .bind(job.kind)
        .bind(&job.object)
        .bind(job.run_at)
        .run(tx)
        .await?;
    }
    Ok(written == 1)
}

/// Write many jobs by one statement. Those whose kind and object wait already are left as they are.
pub async fn enqueue_all(tx: &mut Tx, jobs: &[NewJob]) -> Result<u64, StoreError> {
    let rows: Vec<Value> = jobs
        .iter()
        .map(|job| {
            serde_json::json!({
                "id": job.id.to_string(),
                "tenant_id": job.scope.tenant.to_string(),
                "environment": job.scope.environment.as_str(),
                "kind": job.kind,
                "object": job.object,
                "body": job.body.to_string(),
                "run_at": job.run_at.millis(),
                "created_at": job.created_at.millis(),
            })
        })
        .collect();
    either(
        "INSERT INTO jobs (id, tenant_id, environment, kind, object, body, status, run_at, attempts, created_at)
        SELECT value ->> 'id', value ->> 'tenant_id', value ->> 'environment', value ->> 'kind', value ->> 'object',
            value ->> 'body', 'ready', value ->> 'run_at', 0, value ->> 'created_at'
        FROM jsonb_each($1)
        WHERE true
        ON CONFLICT (kind, object) DO NOTHING",
        "INSERT INTO jobs (id, tenant_id, environment, kind, object, body, status, run_at, attempts, created_at)
        SELECT id, tenant_id, environment, kind, object, body, 'ready', run_at, 0, created_at
        FROM json_to_recordset($1::json) AS row (id text, tenant_id text, environment text, kind text, object text,
            body text, run_at bigint, created_at bigint)
        ON CONFLICT (kind, object) DO NOTHING",
    )
    .bind(Json(rows))
    .run(tx)
    .await
}

/// Take up to `max` due jobs of these kinds for `lease_ms`: of each tenant the first, then of each the second …, so
/// that no tenant's hundred thousand jobs keep another's one waiting. Kinds named first are taken first.
pub async fn claim(db: &Db, kinds: &[&str], lease_ms: i64, now: Timestamp, max: u32) -> Result<Vec<Job>, StoreError> {
    let mut claimed = Vec::new();
    for kind in kinds {
        let left = max.saturating_sub(u32::try_from(claimed.len()).unwrap_or(u32::MAX));
        // Asked without the write lock first: mostly there is nothing to do.
        if left > 0 && is_due(db, kind, now).await? {
            claimed.extend(claim_kind(db, kind, lease_ms, now, left).await?);
        }
    }
    Ok(claimed)
}

async fn is_due(db: &Db, kind: &str, now: Timestamp) -> Result<bool, StoreError> {
    let mut conn = db.ask().await?;
    let row = sql("SELECT 1 AS due
        FROM jobs
        WHERE kind = $1 AND status = 'ready' AND run_at <= $2
        LIMIT 1")
    .bind(kind)
    .bind(now)
    .optional(&mut conn)
    .await?;
    Ok(row.is_some())
}

async fn claim_kind(db: &Db, kind: &str, lease_ms: i64, now: Timestamp, max: u32) -> Result<Vec<Job>, StoreError> {
    let mut tx = db.begin().await?;
    // The tenants by a loose scan of the index, each tenant's first jobs from the index, ranked within the tenant.
    let rows = either(
        "WITH RECURSIVE tenants (id) AS (
            SELECT min(tenant_id) FROM jobs WHERE kind = $1 AND status = 'ready'
            UNION ALL
            SELECT (SELECT min(tenant_id) FROM jobs WHERE kind = $1 AND status = 'ready' AND tenant_id > tenants.id)
            FROM tenants WHERE tenants.id IS NOT NULL
        ), due AS (
            SELECT jobs.id, jobs.run_at, row_number() OVER (PARTITION BY jobs.tenant_id ORDER BY jobs.run_at, jobs.id) AS turn
            FROM tenants
            JOIN jobs ON jobs.id IN (
                SELECT one.id FROM jobs AS one
                WHERE one.kind = $1 AND one.status = 'ready' AND one.tenant_id = tenants.id AND one.run_at <= $2
                ORDER BY one.run_at LIMIT $4)
        )
        UPDATE jobs
        SET run_at = $3, attempts = attempts + 1
        WHERE id IN (SELECT id FROM due ORDER BY turn, run_at, id LIMIT $4)
        RETURNING id, tenant_id, environment, kind, object, body, attempts, created_at",
        "WITH RECURSIVE tenants (id) AS (
            SELECT min(tenant_id) FROM jobs WHERE kind = $1 AND status = 'ready'
            UNION ALL
            SELECT (SELECT min(tenant_id) FROM jobs WHERE kind = $1 AND status = 'ready' AND tenant_id > tenants.id)
            FROM tenants WHERE tenants.id IS NOT NULL
        ), due AS (
            SELECT one.id, one.run_at, row_number() OVER (PARTITION BY tenants.id ORDER BY one.run_at, one.id) AS turn
            FROM tenants
            CROSS JOIN LATERAL (
                SELECT id, run_at FROM jobs
                WHERE kind = $1 AND status = 'ready' AND tenant_id = tenants.id AND run_at <= $2
                ORDER BY run_at LIMIT $4) AS one
        ), taken AS MATERIALIZED (
            SELECT id FROM jobs
            WHERE id IN (SELECT id FROM due ORDER BY turn, run_at, id LIMIT $4) AND status = 'ready' AND run_at <= $2
            FOR UPDATE SKIP LOCKED
        )
        UPDATE jobs
        SET run_at = $3, attempts = attempts + 1
        WHERE id IN (SELECT id FROM taken)
        RETURNING id, tenant_id, environment, kind, object, body, attempts, created_at",
    )
    .bind(kind)
    .bind(now)
    .bind(now.plus(lease_ms))
    .bind(i64::from(max))
    .all(&mut tx)
    .await?;
    let jobs = rows.iter().map(read).collect::<Result<Vec<Job>, StoreError>>()?;
    tx.commit().await?;
    Ok(jobs)
}

/// The job is done: in the transaction of its effect.
pub async fn done(tx: &mut Tx, job: &Job) -> Result<(), StoreError> {
    let gone = sql("DELETE FROM jobs
        WHERE id = $1 AND tenant_id = $2 AND environment = $3 AND attempts = $4 AND status = 'ready'")
    .bind(job.id)
    .bind(job.scope.tenant)
    .bind(job.scope.environment)
    .bind(job.lease)
    .run(tx)
    .await?;
    still_held(gone, job)
}

/// The job did a part, or found nothing to do yet, and goes on at `run_at`. What failed before is forgotten.
pub async fn again(tx: &mut Tx, job: &Job, body: &Value, run_at: Timestamp) -> Result<(), StoreError> {
    let moved = sql("UPDATE jobs
        SET run_at = $5, body = $6, attempts = (attempts / 1000000 + 1) * 1000000, error = NULL
        WHERE id = $1 AND tenant_id = $2 AND environment = $3 AND attempts = $4 AND status = 'ready'")
    .bind(job.id)
    .bind(job.scope.tenant)
    .bind(job.scope.environment)
    .bind(job.lease)
    .bind(run_at)
    .bind(Json(body))
    .run(tx)
    .await?;
    still_held(moved, job)
}

/// The job goes on: its lease lasts until `until`, and what this transaction does can't be another holder's.
pub async fn hold(tx: &mut Tx, job: &Job, until: Timestamp) -> Result<(), StoreError> {
    let held = sql("UPDATE jobs
        SET run_at = $5
        WHERE id = $1 AND tenant_id = $2 AND environment = $3 AND attempts = $4 AND status = 'ready'")
    .bind(job.id)
    .bind(job.scope.tenant)
    .bind(job.scope.environment)
    .bind(job.lease)
    .bind(until)
    .run(tx)
    .await?;
    still_held(held, job)
}

/// Renews the lease of a job that takes long, for as long as this is awaited.
/// Without it a job that outlasts its lease is taken again and again, and none of its runs can ever commit. Returns when
/// the job is done or another holder has it.
pub async fn keep(db: &Db, job: &Job, lease_ms: i64, clock: &dyn Clock) {
    let pause = Duration::from_millis(u64::try_from(lease_ms / 3).unwrap_or_default());
    loop {
        tokio::time::sleep(pause).await;
        let renewed = async {
            let mut tx = db.begin().await?;
            hold(&mut tx, job, clock.now().plus(lease_ms)).await?;
            tx.commit().await
        };
        match renewed.await {
            Ok(()) => {}
            Err(StoreError::LeaseLost(_)) => return,
            // Perhaps the next time; failing that the lease runs out, and the job is taken once more.
            Err(error) => tracing::warn!(job = %job.id, %error, "a job's lease can't be renewed"),
        }
    }
}

/// The job failed and is tried again at `run_at`, for example [`backoff_ms`] from now.
pub async fn fail(tx: &mut Tx, job: &Job, error: &str, run_at: Timestamp) -> Result<(), StoreError> {
    let moved = sql("UPDATE jobs
        SET run_at = $5, error = $6
        WHERE id = $1 AND tenant_id = $2 AND environment = $3 AND attempts = $4 AND status = 'ready'")
    .bind(job.id)
    .bind(job.scope.tenant)
    .bind(job.scope.environment)
    .bind(job.lease)
    .bind(run_at)
    .bind(error.chars().take(ERROR_CHARS_MAX).collect::<String>())
    .run(tx)
    .await?;
    still_held(moved, job)
}

/// The job can't be done: it stays, with its reason, for a person to look at.
pub async fn park(tx: &mut Tx, job: &Job, reason: &str) -> Result<(), StoreError> {
    let parked = sql("UPDATE jobs
        SET status = 'parked', error = $5
        WHERE id = $1 AND tenant_id = $2 AND environment = $3 AND attempts = $4 AND status = 'ready'")
    .bind(job.id)
    .bind(job.scope.tenant)
    .bind(job.scope.environment)
    .bind(job.lease)
    .bind(reason.chars().take(ERROR_CHARS_MAX).collect::<String>())
    .run(tx)
    .await?;
    still_held(parked, job)
}

/// When the next job of these kinds is due, if there is one: how long the runner may sleep.
pub async fn next_due(db: &Db, kinds: &[&str]) -> Result<Option<Timestamp>, StoreError> {
    let mut conn = db.ask().await?;
    let mut next: Option<Timestamp> = None;
    for kind in kinds {
        let row = sql("SELECT min(run_at) AS run_at
            FROM jobs
            WHERE kind = $1 AND status = 'ready'")
        .bind(*kind)
        .one(&mut conn)
        .await?;
        let due: Option<Timestamp> = row.get("run_at")?;
        next = next.into_iter().chain(due).min();
    }
    Ok(next)
}

/// A job that was parked, for `doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// Its id.
    pub id: JobId,
    /// What it was to do.
    pub kind: String,
    /// With what.
    pub object: String,
    /// Why it can't.
    pub error: String,
}

/// The parked jobs, at most `limit`.
pub async fn parked(db: &Db, limit: u32) -> Result<Vec<Parked>, StoreError> {
    let mut conn = db.ask().await?;
    let rows = sql("SELECT id, kind, object, coalesce(error, '') AS error
        FROM jobs
        WHERE status = 'parked'
        ORDER BY id
        LIMIT $1")
    .bind(limit)
    .all(&mut conn)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Parked {
                id: row.get("id")?,
                kind: row.get("kind")?,
                object: row.get("object")?,
                error: row.get("error")?,
            })
        })
        .collect()
}

/// How long to wait after the n-th failure: 1 s, 2 s, 4 s … up to an hour.
pub fn backoff_ms(attempts: u32) -> i64 {
    let doublings = attempts.saturating_sub(1).min(20);
    (BACKOFF_MS_FIRST << doublings).min(BACKOFF_MS_MAX)
}

fn still_held(rows: u64, job: &Job) -> Result<(), StoreError> {
    if rows == 1 { Ok(()) } else { Err(StoreError::LeaseLost(job.id.to_string())) }
}

fn read(row: &Row) -> Result<Job, StoreError> {
    let Json(body) = row.get::<Json<Value>>("body")?;
    let lease: i64 = row.get("attempts")?;
    Ok(Job {
        id: row.get::<Id<kind::Job>>("id")?,
        scope: EnvScope { tenant: row.get("tenant_id")?, environment: row.get("environment")? },
        kind: row.get("kind")?,
        object: row.get("object")?,
        body,
        attempts: u32::try_from(lease % STEP_ATTEMPTS).unwrap_or_default(),
        created_at: row.get("created_at")?,
        lease,
    })
}
