//! After a compromise: holds, what the key did since, and what was decided about it.

use model::caller::Actor;
use model::compromise::{Decision, Seen, Touched, Verdict};
use model::{BatchId, EnvScope, EnvelopeId, KeyId, Timestamp};

use crate::sql::{Json, Row, either, sql};
use crate::{StoreError, Tx};

/// New addresses that are named at most.
const ADDRESSES_MAX: u32 = 100;

/// A hold: what the key did since then is not sent until somebody has decided about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Hold {
    /// The key whose compromise it belongs to, and to which all decisions belong.
    pub root: KeyId,
    /// Since when.
    pub since: Timestamp,
    /// Who said so.
    pub created_by: Actor,
    /// When.
    pub created_at: Timestamp,
}

/// Hold what these keys did since then. What is held already is held since the earlier of both. Where some of them were
/// held under another root, all that it held comes under this one, with what was decided about it. Whether anything of that
/// is new.
pub async fn hold(tx: &mut Tx, scope: EnvScope, keys: &[KeyId], hold: &Hold) -> Result<bool, StoreError> {
    let held = either(
        "INSERT INTO key_holds (key_id, root_id, tenant_id, environment, since, created_by, created_at)
        SELECT value, $2, $3, $4, $5, $6, $7
        FROM json_each($1)
        WHERE true
        ON CONFLICT (key_id) DO UPDATE
        SET since = excluded.since
        WHERE key_holds.since > excluded.since",
        "INSERT INTO key_holds (key_id, root_id, tenant_id, environment, since, created_by, created_at)
        SELECT key_id, $2, $3, $4, $5, $6, $7
        FROM json_array_elements_text($1::json) AS held (key_id)
        ON CONFLICT (key_id) DO UPDATE
        SET since = excluded.since
        WHERE key_holds.since > excluded.since",
    )
    .bind(Json(keys))
    .bind(hold.root)
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(hold.since)
    .bind(Json(&hold.created_by))
    .bind(hold.created_at)
    .run(tx)
    .await?;
    let others = other_roots(tx, scope, keys, hold.root).await?;
    for other in &others {
        merge(tx, scope, *other, hold.root).await?;
    }
    Ok(held > 0 || !others.is_empty())
}

async fn other_roots(tx: &mut Tx, scope: EnvScope, keys: &[KeyId], root: KeyId) -> Result<Vec<KeyId>, StoreError> {
    let rows = either(
        "SELECT DISTINCT root_id
        FROM key_holds
        WHERE tenant_id = $1 AND environment = $2 AND root_id <> $4 AND key_id IN (SELECT value FROM json_each($3))
        ORDER BY root_id",
        "SELECT DISTINCT root_id
        FROM key_holds
        WHERE tenant_id = $1 AND environment = $2 AND root_id <> $4
            AND key_id = ANY (ARRAY(SELECT json_array_elements_text($3::json)))
        ORDER BY root_id",
    )
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(Json(keys))
    .bind(root)
    .all(tx)
    .await?;
    rows.iter().map(|row| row.get("root_id")).collect()
}

/// Brings all that one root holds under another. The holds first: who decides has their rows, so that what was decided in
/// the meantime is committed, and goes along.
async fn merge(tx: &mut Tx, scope: EnvScope, from: KeyId, to: KeyId) -> Result<(), StoreError> {
    sql("UPDATE key_holds
        SET root_id = $4
        WHERE tenant_id = $1 AND environment = $2 AND root_id = $3")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(from)
    .bind(to)
    .run(tx)
    .await?;
    sql("INSERT INTO key_hold_decisions (root_id, object, decision, decided_by, decided_at, done_at, outcome)
        SELECT h.key_id, d.object, d.decision, d.decided_by, d.decided_at, d.done_at, d.outcome
        FROM key_holds h
        JOIN key_hold_decisions d ON d.root_id = $3
        WHERE h.tenant_id = $1 AND h.environment = $2 AND h.key_id = $4
        ON CONFLICT (root_id, object) DO NOTHING")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(from)
    .bind(to)
    .run(tx)
    .await?;
    sql("DELETE FROM key_hold_decisions
        WHERE root_id IN (SELECT key_id FROM key_holds WHERE tenant_id = $1 AND environment = $2 AND key_id = $3)")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(from)
    .run(tx)
    .await?;
    Ok(())
}

/// The hold of a key that was compromised, or went with one that was.
pub async fn get(tx: &mut Tx, scope: EnvScope, key: KeyId) -> Result<Option<Hold>, StoreError> {
    sql("SELECT root_id, since, created_by, created_at
        FROM key_holds
        WHERE tenant_id = $1 AND environment = $2 AND key_id = $3")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(key)
    .optional(tx)
    .await?
    .map(|row| {
        Ok(Hold {
            root: row.get("root_id")?,
            since: row.get("since")?,
            created_by: row.get::<Json<_>>("created_by")?.0,
            created_at: row.get("created_at")?,
        })
    })
    .transpose()
}

/// The same, to decide under its root in this transaction: on PostgreSQL the row is held, so that the root stays. Before
/// envelopes and batches, always.
pub async fn lock(tx: &mut Tx, scope: EnvScope, key: KeyId) -> Result<Option<Hold>, StoreError> {
    if tx.is_postgres() {
        either(
            "SELECT key_id FROM key_holds WHERE tenant_id = $1 AND environment = $2 AND key_id = $3",
            "SELECT key_id FROM key_holds WHERE tenant_id = $1 AND environment = $2 AND key_id = $3 FOR NO KEY UPDATE",
        )
        .bind(scope.tenant)
        .bind(scope.environment)
        .bind(key)
        .run(tx)
        .await?;
    }
    get(tx, scope, key).await
}

/// Whether what `key` made or moved at `at` waits for a decision about `object`.
pub async fn is_held(
    tx: &mut Tx,
    scope: EnvScope,
    key: KeyId,
    object: &str,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let row = sql("SELECT key_id
        FROM key_holds
        WHERE tenant_id = $1 AND environment = $2 AND key_id = $3 AND since <= $4
            AND NOT EXISTS (
                SELECT 1
                FROM key_hold_decisions d
                WHERE d.root_id = key_holds.root_id AND d.object = $5 AND d.decision = 'keep')")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(key)
    .bind(at)
    .bind(object)
    .optional(tx)
    .await?;
    Ok(row.is_some())
}

/// What the compromised keys did, by object, each once: those after `after`, in the order of their ids.
pub async fn touched(
    tx: &mut Tx,
    scope: EnvScope,
    root: KeyId,
    after: &str,
    limit: u32,
) -> Result<Vec<Touched>, StoreError> {
    let rows = either(
        "SELECT t.object, t.first_at, t.last_at, t.actions, d.decision, d.done_at, d.outcome
        FROM (SELECT a.object, min(a.at) AS first_at, max(a.at) AS last_at, json_group_array(DISTINCT a.action) AS actions
            FROM key_holds h
            JOIN audit a ON a.tenant_id = h.tenant_id AND a.at >= h.since AND a.actor_id = h.key_id
            WHERE h.root_id = $3 AND h.tenant_id = $1 AND h.environment = $2
                AND (a.environment = $2 OR a.environment IS NULL) AND a.object > $4
            GROUP BY a.object
            ORDER BY a.object
            LIMIT $5) AS t
        LEFT JOIN key_hold_decisions d ON d.root_id = $3 AND d.object = t.object
        ORDER BY t.object",
        "SELECT t.object, t.first_at, t.last_at, t.actions, d.decision, d.done_at, d.outcome
        FROM (SELECT a.object, min(a.at) AS first_at, max(a.at) AS last_at, json_agg(DISTINCT a.action)::text AS actions
            FROM key_holds h
            JOIN audit a ON a.tenant_id = h.tenant_id AND a.at >= h.since AND a.actor_id = h.key_id
            WHERE h.root_id = $3 AND h.tenant_id = $1 AND h.environment = $2
                AND (a.environment = $2 OR a.environment IS NULL) AND a.object > $4
            GROUP BY a.object
            ORDER BY a.object
            LIMIT $5) AS t
        LEFT JOIN key_hold_decisions d ON d.root_id = $3 AND d.object = t.object
        ORDER BY t.object",
    )
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(root)
    .bind(after)
    .bind(limit)
    .all(tx)
    .await?;
    rows.iter().map(read_touched).collect()
}

fn read_touched(row: &Row) -> Result<Touched, StoreError> {
    let verdict = row.parse_optional::<Decision>("decision")?.map(|decision| {
        Ok::<_, StoreError>(Verdict { decision, done_at: row.get("done_at")?, outcome: row.get("outcome")? })
    });
    Ok(Touched {
        object: row.get("object")?,
        first_at: row.get("first_at")?,
        last_at: row.get("last_at")?,
        actions: row.get::<Json<_>>("actions")?.0,
        verdict: verdict.transpose()?,
    })
}

/// The addresses that the compromised keys were first used from since then, the latest first.
pub async fn new_addresses(tx: &mut Tx, scope: EnvScope, root: KeyId) -> Result<Vec<Seen>, StoreError> {
    let rows = sql("SELECT s.address, min(s.first_at) AS first_at, max(s.last_at) AS last_at,
            CAST(sum(s.count) AS BIGINT) AS count
        FROM key_holds h
        JOIN key_addresses s ON s.key_id = h.key_id AND s.first_at >= h.since
        WHERE h.root_id = $3 AND h.tenant_id = $1 AND h.environment = $2
        GROUP BY s.address
        ORDER BY 2 DESC, 1
        LIMIT $4")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(root)
    .bind(ADDRESSES_MAX)
    .all(tx)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Seen {
                address: row.get("address")?,
                first_at: row.get("first_at")?,
                last_at: row.get("last_at")?,
                count: row.get("count")?,
            })
        })
        .collect()
}

/// Those of `objects` that the compromised keys touched, or that their batches made.
pub async fn known(tx: &mut Tx, scope: EnvScope, root: KeyId, objects: &[&str]) -> Result<Vec<String>, StoreError> {
    let rows = either(
        "SELECT a.object AS object
        FROM key_holds h
        JOIN audit a ON a.tenant_id = h.tenant_id AND a.at >= h.since AND a.actor_id = h.key_id
        WHERE h.root_id = $3 AND h.tenant_id = $1 AND h.environment = $2
            AND (a.environment = $2 OR a.environment IS NULL) AND a.object IN (SELECT value FROM json_each($4))
        UNION
        SELECT e.id
        FROM key_holds h
        JOIN envelopes e ON e.tenant_id = h.tenant_id AND e.environment = h.environment AND e.created_at >= h.since
            AND e.created_by ->> 'id' = h.key_id
        WHERE h.root_id = $3 AND h.tenant_id = $1 AND h.environment = $2
            AND e.id IN (SELECT value FROM json_each($4))",
        "SELECT a.object AS object
        FROM key_holds h
        JOIN audit a ON a.tenant_id = h.tenant_id AND a.at >= h.since AND a.actor_id = h.key_id
        WHERE h.root_id = $3 AND h.tenant_id = $1 AND h.environment = $2
            AND (a.environment = $2 OR a.environment IS NULL)
            AND a.object = ANY (ARRAY(SELECT json_array_elements_text($4::json)))
        UNION
        SELECT e.id
        FROM key_holds h
        JOIN envelopes e ON e.tenant_id = h.tenant_id AND e.environment = h.environment AND e.created_at >= h.since
            AND e.created_by::json ->> 'id' = h.key_id
        WHERE h.root_id = $3 AND h.tenant_id = $1 AND h.environment = $2
            AND e.id = ANY (ARRAY(SELECT json_array_elements_text($4::json)))",
    )
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(root)
    .bind(Json(objects))
    .all(tx)
    .await?;
    rows.iter().map(|row| row.get("object")).collect()
}

/// Write what was decided about an object; a later word replaces the one before. False: its void is done, and stays.
pub async fn decide(
    tx: &mut Tx,
    scope: EnvScope,
    root: KeyId,
    object: &str,
    verdict: &Verdict,
    (by, now): (&Actor, Timestamp),
) -> Result<bool, StoreError> {
    let written =
        sql("INSERT INTO key_hold_decisions (root_id, object, decision, decided_by, decided_at, done_at, outcome)
        SELECT h.key_id, $4, $5, $6, CAST($7 AS BIGINT), CAST($8 AS BIGINT), CAST($9 AS TEXT)
        FROM key_holds h
        WHERE h.tenant_id = $1 AND h.environment = $2 AND h.key_id = $3
        ON CONFLICT (root_id, object) DO UPDATE
        SET decision = excluded.decision, decided_by = excluded.decided_by, decided_at = excluded.decided_at,
            done_at = excluded.done_at, outcome = excluded.outcome
        WHERE key_hold_decisions.decision = 'keep' OR key_hold_decisions.done_at IS NULL")
        .bind(scope.tenant)
        .bind(scope.environment)
        .bind(root)
        .bind(object)
        .bind(verdict.decision.as_str())
        .bind(Json(by))
        .bind(now)
        .bind(verdict.done_at)
        .bind(&verdict.outcome)
        .run(tx)
        .await?;
    Ok(written == 1)
}

/// Decide about every envelope and batch that nothing was decided about yet; how many they were.
pub async fn decide_rest(
    tx: &mut Tx,
    scope: EnvScope,
    root: KeyId,
    decision: Decision,
    (by, now): (&Actor, Timestamp),
) -> Result<u64, StoreError> {
    let done = (decision == Decision::Keep).then_some(now);
    sql("INSERT INTO key_hold_decisions (root_id, object, decision, decided_by, decided_at, done_at)
        SELECT DISTINCT $3, a.object, $4, $5, CAST($6 AS BIGINT), CAST($7 AS BIGINT)
        FROM key_holds h
        JOIN audit a ON a.tenant_id = h.tenant_id AND a.at >= h.since AND a.actor_id = h.key_id
        WHERE h.root_id = $3 AND h.tenant_id = $1 AND h.environment = $2
            AND a.environment = $2 AND substr(a.object, 1, 4) IN ('env_', 'bat_')
        ON CONFLICT (root_id, object) DO NOTHING")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(root)
    .bind(decision.as_str())
    .bind(Json(by))
    .bind(now)
    .bind(done)
    .run(tx)
    .await
}

/// Voids that wait for their job, in the order of their objects.
pub async fn pending(tx: &mut Tx, scope: EnvScope, root: KeyId, limit: u32) -> Result<Vec<String>, StoreError> {
    let rows = sql("SELECT d.object
        FROM key_hold_decisions d
        JOIN key_holds h ON h.key_id = d.root_id
        WHERE h.tenant_id = $1 AND h.environment = $2 AND d.root_id = $3 AND d.decision = 'void' AND d.done_at IS NULL
        ORDER BY d.object
        LIMIT $4")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(root)
    .bind(limit)
    .all(tx)
    .await?;
    rows.iter().map(|row| row.get("object")).collect()
}

/// A void is done, or was too late.
pub async fn done(
    tx: &mut Tx,
    scope: EnvScope,
    root: KeyId,
    object: &str,
    outcome: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    sql("UPDATE key_hold_decisions
        SET done_at = $5, outcome = $6
        WHERE object = $4
            AND root_id IN (SELECT key_id FROM key_holds WHERE tenant_id = $1 AND environment = $2 AND key_id = $3)")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(root)
    .bind(object)
    .bind(now)
    .bind(outcome)
    .run(tx)
    .await?;
    Ok(())
}

/// Envelopes of a batch that can still be voided.
pub async fn voidable(tx: &mut Tx, scope: EnvScope, batch: BatchId, limit: u32) -> Result<Vec<EnvelopeId>, StoreError> {
    let rows = sql("SELECT id
        FROM envelopes
        WHERE tenant_id = $1 AND environment = $2 AND batch_id = $3 AND status IN ('draft', 'sent')
        ORDER BY batch_row
        LIMIT $4")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(batch)
    .bind(limit)
    .all(tx)
    .await?;
    rows.iter().map(|row| row.get("id")).collect()
}
