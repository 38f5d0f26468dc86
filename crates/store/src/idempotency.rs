//! `Idempotency-Key`: a claim with a lease commits first, the answer is written in the effect's own transaction.
//!
//! So a crash leaves either no effect and a claim that runs out, or the effect together with its answer.

use model::{EnvScope, Timestamp};

use crate::sql::sql;
use crate::{Db, StoreError, Tx};

/// How long an answer is kept.
const KEPT_MS: i64 = 24 * 3_600_000;
/// How long a claim holds without an answer: longer than the longest request may take.
const LEASE_MS: i64 = 120_000;
/// Rows that one sweep deletes at most, so that it holds no lock for long.
const SWEEP_ROWS_MAX: u32 = 1_000;

/// Which request: the same place, asked by the same caller, with the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The tenant's environment.
    pub scope: EnvScope,
    /// The key's or the user's id: rotation keeps it.
    pub caller: String,
    /// Method and path, `POST /v1/envelopes`.
    pub route: String,
    /// What the header said.
    pub key: String,
}

/// A claim that this request holds: who holds it is told by the request's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    place: Place,
    holder: String,
}

/// What a claim met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Nothing: do it, and write the answer under this lease.
    Mine(Lease),
    /// It was done: answer this. Where the body's digest was not known at the claim, compare it now.
    Answered {
        /// The digest of the first body.
        digest: Option<[u8; 32]>,
        /// The status that was answered.
        status: u16,
        /// The body that was answered, without secrets.
        body: String,
    },
    /// The key was used with another body.
    Mismatch,
    /// The first request still runs.
    InProgress,
}

/// Claim the place for the request `holder`. `digest` is the body's, where it is known before it is read to its end.
pub async fn claim(
    db: &Db,
    place: &Place,
    digest: Option<[u8; 32]>,
    holder: &str,
    now: Timestamp,
) -> Result<Claim, StoreError> {
    let mut tx = db.begin().await?;
    let taken = sql("INSERT INTO idempotency
            (tenant_id, environment, caller, route, key, digest, lease, lease_until, status, body, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, NULL, NULL, $9)
        ON CONFLICT (tenant_id, environment, caller, route, key) DO UPDATE
        SET digest = excluded.digest, lease = excluded.lease, lease_until = excluded.lease_until,
            status = NULL, body = NULL, created_at = excluded.created_at
        WHERE idempotency.created_at < $10
            OR (idempotency.status IS NULL
                AND idempotency.lease_until < excluded.created_at
                AND (idempotency.digest IS NULL OR excluded.digest IS NULL OR idempotency.digest = excluded.digest))")
    .bind(place.scope.tenant)
    .bind(place.scope.environment)
    .bind(&place.caller)
    .bind(&place.route)
    .bind(&place.key)
    .bind(digest)
    .bind(holder)
    .bind(now.plus(LEASE_MS))
    .bind(now)
    .bind(now.plus(-KEPT_MS))
    .run(&mut tx)
    .await?;
    if taken == 1 {
        tx.commit().await?;
        return Ok(Claim::Mine(Lease { place: place.clone(), holder: holder.to_owned() }));
    }
    let met = met(&mut tx, place, digest).await?;
    tx.rollback().await?;
    Ok(met)
}

async fn met(tx: &mut Tx, place: &Place, digest: Option<[u8; 32]>) -> Result<Claim, StoreError> {
    let row = sql("SELECT digest, status, body
        FROM idempotency
        WHERE tenant_id = $1 AND environment = $2 AND caller = $3 AND route = $4 AND key = $5")
    .bind(place.scope.tenant)
    .bind(place.scope.environment)
    .bind(&place.caller)
    .bind(&place.route)
    .bind(&place.key)
    .optional(tx)
    .await?;
    // Gone in between: its request failed and let go. The client may try again.
    let Some(row) = row else { return Ok(Claim::InProgress) };
    let before: Option<[u8; 32]> = row.get("digest")?;
    if let (Some(before), Some(digest)) = (before, digest)
        && before != digest
    {
        return Ok(Claim::Mismatch);
    }
    Ok(match (row.get::<Option<u32>>("status")?, row.get::<Option<String>>("body")?) {
        (Some(status), Some(body)) => {
            let status = u16::try_from(status).map_err(|_| StoreError::Corrupt(format!("HTTP status {status}")))?;
            Claim::Answered { digest: before, status, body }
        }
        _ => Claim::InProgress,
    })
}

/// Write the answer: in the transaction of the effect, or in one of its own for a refusal that is worth keeping.
/// `digest` is the body's, now that it was read. 429 and 5xx are not kept: [`release`] them.
pub async fn answer(tx: &mut Tx, lease: &Lease, digest: [u8; 32], status: u16, body: &str) -> Result<(), StoreError> {
    let written = sql("UPDATE idempotency
        SET digest = $7, status = $8, body = $9
        WHERE tenant_id = $1 AND environment = $2 AND caller = $3 AND route = $4 AND key = $5
            AND lease = $6 AND status IS NULL")
    .bind(lease.place.scope.tenant)
    .bind(lease.place.scope.environment)
    .bind(&lease.place.caller)
    .bind(&lease.place.route)
    .bind(&lease.place.key)
    .bind(&lease.holder)
    .bind(digest)
    .bind(u32::from(status))
    .bind(body)
    .run(tx)
    .await?;
    // The claim ran out and another request holds it: this one must not take effect beside it.
    if written == 1 { Ok(()) } else { Err(StoreError::LeaseLost(lease.holder.clone())) }
}

/// Let go of a claim that came to nothing, so that the client may try again at once.
pub async fn release(db: &Db, lease: &Lease) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    sql("DELETE FROM idempotency
        WHERE tenant_id = $1 AND environment = $2 AND caller = $3 AND route = $4 AND key = $5
            AND lease = $6 AND status IS NULL")
    .bind(lease.place.scope.tenant)
    .bind(lease.place.scope.environment)
    .bind(&lease.place.caller)
    .bind(&lease.place.route)
    .bind(&lease.place.key)
    .bind(&lease.holder)
    .run(&mut tx)
    .await?;
    tx.commit().await
}

/// Delete some of what is older than a day; the number. Call again while it is not 0.
pub async fn sweep(db: &Db, now: Timestamp) -> Result<u64, StoreError> {
    let mut tx = db.begin().await?;
    let gone = sql("DELETE FROM idempotency
        WHERE (tenant_id, environment, caller, route, key) IN (
            SELECT tenant_id, environment, caller, route, key
            FROM idempotency
            WHERE created_at < $1
            ORDER BY created_at
            LIMIT $2)")
    .bind(now.plus(-KEPT_MS))
    .bind(SWEEP_ROWS_MAX)
    .run(&mut tx)
    .await?;
    tx.commit().await?;
    Ok(gone)
}
