//! Revocations: which keys are meant, what they made, and the receipts.

use model::key::Key;
use model::revocation::{Aftermath, Bulk};
use model::{BatchId, EnvScope, KeyId, TenantScope, Timestamp};

use crate::sql::{Json, Row, either, sql};
use crate::{StoreError, Tx};

/// Receipts that one look completes.
const RECEIPTS_MAX: u32 = 500;

/// The keys that `root` made, and those that these made, and so on: oldest first, without itself.
pub async fn descendants(tx: &mut Tx, scope: EnvScope, root: KeyId) -> Result<Vec<KeyId>, StoreError> {
    let rows = sql("WITH RECURSIVE made (id) AS (
            SELECT id FROM keys WHERE tenant_id = $1 AND environment = $2 AND parent_key_id = $3
            UNION
            SELECT keys.id
            FROM keys
            JOIN made ON keys.parent_key_id = made.id
            WHERE keys.tenant_id = $1 AND keys.environment = $2)
        SELECT id FROM made ORDER BY id")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(root)
    .all(tx)
    .await?;
    rows.iter().map(|row| row.get("id")).collect()
}

/// Which keys somebody who had these may have since then: those that they made since, and those of which a rotation gave
/// one of them, or of these, a new secret. The audit log says so for good, also of a secret that was replaced again and
/// forgotten. These themselves are among them.
pub async fn obtained(
    tx: &mut Tx,
    scope: EnvScope,
    keys: &[KeyId],
    since: Timestamp,
) -> Result<Vec<KeyId>, StoreError> {
    let rows = either(
        "WITH RECURSIVE made (id) AS (
            SELECT value FROM json_each($3)
            UNION
            SELECT keys.id
            FROM keys
            JOIN made ON keys.parent_key_id = made.id
            WHERE keys.tenant_id = $1 AND keys.environment = $2 AND keys.created_at >= $4)
        SELECT id FROM made
        UNION
        SELECT k.id
        FROM made
        JOIN audit a ON a.tenant_id = $1 AND a.actor_id = made.id AND a.at >= $4 AND a.action = 'key.rotation_started'
        JOIN keys k ON k.id = a.object AND k.tenant_id = $1 AND k.environment = $2
        ORDER BY 1",
        "WITH RECURSIVE made (id) AS (
            SELECT json_array_elements_text($3::json) COLLATE \"C\"
            UNION
            SELECT keys.id
            FROM keys
            JOIN made ON keys.parent_key_id = made.id
            WHERE keys.tenant_id = $1 AND keys.environment = $2 AND keys.created_at >= $4)
        SELECT id FROM made
        UNION
        SELECT k.id
        FROM made
        JOIN audit a ON a.tenant_id = $1 AND a.actor_id = made.id AND a.at >= $4 AND a.action = 'key.rotation_started'
        JOIN keys k ON k.id = a.object AND k.tenant_id = $1 AND k.environment = $2
        ORDER BY 1",
    )
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(Json(keys))
    .bind(since)
    .all(tx)
    .await?;
    rows.iter().map(|row| row.get("id")).collect()
}

/// The keys that live and that a bulk revocation means, oldest first.
pub async fn meant(tx: &mut Tx, scope: EnvScope, bulk: &Bulk, limit: usize) -> Result<Vec<Key>, StoreError> {
    let rows = either(
        "SELECT k.id, k.tenant_id, k.environment, k.label, k.status, k.status_at, k.reason, k.administrator_id, k.created_by,
            k.parent_key_id, k.scopes, k.allowlist, k.allowlist_mode, k.expires_at, k.note, k.tags, k.created_at, k.version
        FROM keys k
        WHERE k.tenant_id = $1 AND k.environment = $2 AND k.status IN ('pending', 'active', 'suspended')
            AND ($3 IS NULL OR k.administrator_id = $3)
            AND ($4 IS NULL OR EXISTS (SELECT 1 FROM json_each(k.tags) WHERE value = $4))
            AND ($5 IS NULL OR (k.created_at < $5
                AND NOT EXISTS (SELECT 1 FROM key_uses u WHERE u.key_id = k.id AND u.at >= $5)))
        ORDER BY k.id
        LIMIT $6",
        "SELECT k.id, k.tenant_id, k.environment, k.label, k.status, k.status_at, k.reason, k.administrator_id, k.created_by,
            k.parent_key_id, k.scopes, k.allowlist, k.allowlist_mode, k.expires_at, k.note, k.tags, k.created_at, k.version
        FROM keys k
        WHERE k.tenant_id = $1 AND k.environment = $2 AND k.status IN ('pending', 'active', 'suspended')
            AND ($3::text IS NULL OR k.administrator_id = $3)
            AND ($4::text IS NULL OR $4 IN (SELECT json_array_elements_text(k.tags::json)))
            AND ($5::bigint IS NULL OR (k.created_at < $5
                AND NOT EXISTS (SELECT 1 FROM key_uses u WHERE u.key_id = k.id AND u.at >= $5)))
        ORDER BY k.id
        LIMIT $6",
    )
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(bulk.user)
    .bind(&bulk.tag)
    .bind(bulk.idle_since)
    .bind(limit)
    .all(tx)
    .await?;
    rows.iter().map(crate::key::read).collect()
}

/// The batches that the key made or that run under it, newest first.
pub async fn made_batches(tx: &mut Tx, scope: EnvScope, key: KeyId, limit: u32) -> Result<Vec<BatchId>, StoreError> {
    let rows = either(
        "SELECT id
        FROM batches
        WHERE tenant_id = $1 AND environment = $2 AND (key_id = $3 OR created_by ->> 'id' = $3)
        ORDER BY id DESC
        LIMIT $4",
        "SELECT id
        FROM batches
        WHERE tenant_id = $1 AND environment = $2 AND (key_id = $3 OR created_by::json ->> 'id' = $3)
        ORDER BY id DESC
        LIMIT $4",
    )
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(key)
    .bind(limit)
    .all(tx)
    .await?;
    rows.iter().map(|row| row.get("id")).collect()
}

/// The batches that run under one of these keys, oldest first.
pub async fn running_batches(tx: &mut Tx, scope: EnvScope, keys: &[KeyId]) -> Result<Vec<BatchId>, StoreError> {
    let rows = either(
        "SELECT id
        FROM batches
        WHERE tenant_id = $1 AND environment = $2 AND status = 'running'
            AND key_id IN (SELECT value FROM json_each($3))
        ORDER BY id",
        "SELECT id
        FROM batches
        WHERE tenant_id = $1 AND environment = $2 AND status = 'running'
            AND key_id = ANY (ARRAY(SELECT json_array_elements_text($3::json)))
        ORDER BY id",
    )
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(Json(keys))
    .all(tx)
    .await?;
    rows.iter().map(|row| row.get("id")).collect()
}

/// A receipt as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// Of which key.
    pub key: KeyId,
    /// Whose and where.
    pub scope: EnvScope,
    /// When it was revoked.
    pub revoked_at: Timestamp,
    /// From then on nothing takes effect; none until the barrier has passed.
    pub effective_at: Option<Timestamp>,
    /// When `aftermath` was so.
    pub as_of: Timestamp,
    /// Whether every node has written what it held.
    pub complete: bool,
    /// What the key still did.
    pub aftermath: Aftermath,
}

/// Write a receipt in the revocation's own transaction. One that stands stays.
pub async fn begin_receipt(tx: &mut Tx, scope: EnvScope, key: KeyId, now: Timestamp) -> Result<(), StoreError> {
    sql("INSERT INTO key_receipts (key_id, tenant_id, environment, revoked_at, effective_at, as_of, complete, body)
        VALUES ($1, $2, $3, $4, CAST($5 AS BIGINT), $4, $6, $7)
        ON CONFLICT (key_id) DO NOTHING")
    .bind(key)
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(now)
    .bind(None::<i64>)
    .bind(false)
    .bind(Json(Aftermath::default()))
    .run(tx)
    .await?;
    Ok(())
}

/// The barrier has passed: nothing of these keys, whosever they are, takes effect from `now` on. Those that say so already
/// stay. Several servers may say so of the same keys at once: the rows are held in the order of their ids.
pub async fn confirm_receipts(tx: &mut Tx, keys: &[KeyId], now: Timestamp) -> Result<(), StoreError> {
    either(
        "UPDATE key_receipts
        SET effective_at = $2
        WHERE key_id IN (SELECT value FROM json_each($1)) AND effective_at IS NULL",
        "UPDATE key_receipts
        SET effective_at = $2
        FROM (
            SELECT key_id
            FROM key_receipts
            WHERE key_id = ANY (ARRAY(SELECT json_array_elements_text($1::json))) AND effective_at IS NULL
            ORDER BY key_id
            FOR UPDATE) AS held
        WHERE key_receipts.key_id = held.key_id",
    )
    .bind(Json(keys))
    .bind(now)
    .run(tx)
    .await?;
    Ok(())
}

/// Keys, whosever they are, that were revoked before this moment and of which it is not known that it is in force; in the
/// order of their ids, after `after`.
pub async fn unconfirmed(
    tx: &mut Tx,
    before: Timestamp,
    after: Option<KeyId>,
    limit: u32,
) -> Result<Vec<Key>, StoreError> {
    let rows = either(
        "SELECT k.id, k.tenant_id, k.environment, k.label, k.status, k.status_at, k.reason, k.administrator_id, k.created_by,
            k.parent_key_id, k.scopes, k.allowlist, k.allowlist_mode, k.expires_at, k.note, k.tags, k.created_at, k.version
        FROM key_receipts r
        JOIN keys k ON k.id = r.key_id
        WHERE r.complete = 0 AND r.effective_at IS NULL AND r.revoked_at < $1
            AND (CAST($2 AS TEXT) IS NULL OR k.id > $2)
        ORDER BY k.id
        LIMIT $3",
        "SELECT k.id, k.tenant_id, k.environment, k.label, k.status, k.status_at, k.reason, k.administrator_id, k.created_by,
            k.parent_key_id, k.scopes, k.allowlist, k.allowlist_mode, k.expires_at, k.note, k.tags, k.created_at, k.version
        FROM key_receipts r
        JOIN keys k ON k.id = r.key_id
        WHERE NOT r.complete AND r.effective_at IS NULL AND r.revoked_at < $1
            AND (CAST($2 AS TEXT) IS NULL OR k.id > $2)
        ORDER BY k.id
        LIMIT $3",
    )
    .bind(before)
    .bind(after)
    .bind(limit)
    .all(tx)
    .await?;
    rows.iter().map(crate::key::read).collect()
}

/// The same of a tenant, whenever they were revoked.
pub async fn unconfirmed_of(tx: &mut Tx, scope: TenantScope) -> Result<Vec<Key>, StoreError> {
    let rows = either(
        "SELECT k.id, k.tenant_id, k.environment, k.label, k.status, k.status_at, k.reason, k.administrator_id, k.created_by,
            k.parent_key_id, k.scopes, k.allowlist, k.allowlist_mode, k.expires_at, k.note, k.tags, k.created_at, k.version
        FROM key_receipts r
        JOIN keys k ON k.id = r.key_id
        WHERE r.tenant_id = $1 AND r.complete = 0 AND r.effective_at IS NULL
        ORDER BY k.id",
        "SELECT k.id, k.tenant_id, k.environment, k.label, k.status, k.status_at, k.reason, k.administrator_id, k.created_by,
            k.parent_key_id, k.scopes, k.allowlist, k.allowlist_mode, k.expires_at, k.note, k.tags, k.created_at, k.version
        FROM key_receipts r
        JOIN keys k ON k.id = r.key_id
        WHERE r.tenant_id = $1 AND NOT r.complete AND r.effective_at IS NULL
        ORDER BY k.id",
    )
    .bind(scope.tenant)
    .all(tx)
    .await?;
    rows.iter().map(crate::key::read).collect()
}

/// The receipt of a key.
pub async fn receipt(tx: &mut Tx, scope: EnvScope, key: KeyId) -> Result<Option<Receipt>, StoreError> {
    sql("SELECT key_id, tenant_id, environment, revoked_at, effective_at, as_of, complete, body
        FROM key_receipts
        WHERE tenant_id = $1 AND environment = $2 AND key_id = $3")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(key)
    .optional(tx)
    .await?
    .map(|row| read_receipt(&row))
    .transpose()
}

/// Receipts of every tenant that can be completed: their barrier has passed, and each node that lives has written since.
pub async fn due_receipts(tx: &mut Tx, now: Timestamp, seen_since: Timestamp) -> Result<Vec<Receipt>, StoreError> {
    let rows = either(
        "SELECT key_id, tenant_id, environment, revoked_at, effective_at, as_of, complete, body
        FROM key_receipts r
        WHERE complete = 0 AND effective_at < $1
            AND NOT EXISTS (SELECT 1 FROM nodes n WHERE n.seen_at >= $2 AND n.written_at <= r.effective_at)
        ORDER BY effective_at
        LIMIT $3",
        "SELECT key_id, tenant_id, environment, revoked_at, effective_at, as_of, complete, body
        FROM key_receipts r
        WHERE NOT complete AND effective_at < $1
            AND NOT EXISTS (SELECT 1 FROM nodes n WHERE n.seen_at >= $2 AND n.written_at <= r.effective_at)
        ORDER BY effective_at
        LIMIT $3",
    )
    .bind(now)
    .bind(seen_since)
    .bind(RECEIPTS_MAX)
    .all(tx)
    .await?;
    rows.iter().map(read_receipt).collect()
}

/// Write down that the receipt is complete. False: another node was first.
pub async fn complete_receipt(tx: &mut Tx, receipt: &Receipt) -> Result<bool, StoreError> {
    let written = sql("UPDATE key_receipts
        SET complete = $4, as_of = $5, body = $6
        WHERE tenant_id = $1 AND environment = $2 AND key_id = $3 AND complete <> $4")
    .bind(receipt.scope.tenant)
    .bind(receipt.scope.environment)
    .bind(receipt.key)
    .bind(true)
    .bind(receipt.as_of)
    .bind(Json(&receipt.aftermath))
    .run(tx)
    .await?;
    Ok(written == 1)
}

fn read_receipt(row: &Row) -> Result<Receipt, StoreError> {
    Ok(Receipt {
        key: row.get("key_id")?,
        scope: EnvScope { tenant: row.get("tenant_id")?, environment: row.get("environment")? },
        revoked_at: row.get("revoked_at")?,
        effective_at: row.get("effective_at")?,
        as_of: row.get("as_of")?,
        complete: row.get("complete")?,
        aftermath: row.get::<Json<_>>("body")?.0,
    })
}

/// Those of these keys, whosever they are, that are there and not revoked: for the journal.
pub async fn not_revoked(tx: &mut Tx, keys: &[KeyId]) -> Result<Vec<KeyId>, StoreError> {
    let rows = either(
        "SELECT id
        FROM keys
        WHERE id IN (SELECT value FROM json_each($1)) AND status <> 'revoked'",
        "SELECT id
        FROM keys
        WHERE id = ANY (ARRAY(SELECT json_array_elements_text($1::json))) AND status <> 'revoked'",
    )
    .bind(Json(keys))
    .all(tx)
    .await?;
    rows.iter().map(|row| row.get("id")).collect()
}
