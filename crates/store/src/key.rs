//! API keys, their secrets' digests and their last use: rows and statements.

use model::key::{Key, KeySecret, KeyStatus, LastUse, Reason, SecretStatus, State};
use model::scope::Scopes;
use model::{EnvScope, KeyId, SecretId, Timestamp, UserId};
use secret::Digest;

use crate::sql::{Json, Row, either, sql};
use crate::{Session, StoreError, Tx};

/// Keys of one page at most.
pub const PAGE_ROWS_MAX: u32 = 200;

/// Write a new key with its first secret.
pub async fn insert(tx: &mut Tx, key: &Key, secret: &KeySecret) -> Result<(), StoreError> {
    sql("INSERT INTO keys
            (id, tenant_id, environment, label, status, status_at, reason, administrator_id, created_by, parent_key_id,
             scopes, allowlist, expires_at, note, tags, created_at, version, allowlist_mode)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)")
    .bind(key.id)
    .bind(key.scope.tenant)
    .bind(key.scope.environment)
    .bind(&key.label)
    .bind(key.state.status().as_str())
    .bind(key.since)
    .bind(key.state.reason().map(|reason| reason.as_str()))
    .bind(key.administrator)
    .bind(Json(&key.created_by))
    .bind(key.parent)
    .bind(Json(key.scopes.names()))
    .bind(Json(&key.allowlist))
    .bind(key.expires_at)
    .bind(&key.note)
    .bind(Json(&key.tags))
    .bind(key.created_at)
    .bind(key.version)
    .bind(key.allowlist_mode.as_str())
    .run(tx)
    .await?;
    insert_secret(tx, key.scope, secret).await
}

/// Write a further secret of a key.
pub async fn insert_secret(tx: &mut Tx, scope: EnvScope, secret: &KeySecret) -> Result<(), StoreError> {
    sql("INSERT INTO secrets (id, key_id, tenant_id, digest, last4, status, created_at, ends_at, grace_ms, silent_ms, first_used_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)")
    .bind(secret.id)
    .bind(secret.key)
    .bind(scope.tenant)
    .bind(secret.digest.0)
    .bind(&secret.last4)
    .bind(secret.status.as_str())
    .bind(secret.created_at)
    .bind(secret.ends_at)
    .bind(secret.grace_ms)
    .bind(secret.silent_ms)
    .bind(secret.first_used_at)
    .run(tx)
    .await?;
    Ok(())
}

/// The key.
pub async fn get(tx: &mut Tx, scope: EnvScope, id: KeyId) -> Result<Option<Key>, StoreError> {
    sql("SELECT id, tenant_id, environment, label, status, status_at, reason, administrator_id, created_by,
            parent_key_id, scopes, allowlist, allowlist_mode, expires_at, note, tags, created_at, version
        FROM keys
        WHERE tenant_id = $1 AND environment = $2 AND id = $3")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(id)
    .optional(tx)
    .await?
    .map(|row| read(&row))
    .transpose()
}

/// The key, to be changed in this transaction: on PostgreSQL its row is held, so that two changes follow one another.
pub async fn lock(tx: &mut Tx, scope: EnvScope, id: KeyId) -> Result<Option<Key>, StoreError> {
    if tx.is_postgres() {
        either(
            "SELECT id FROM keys WHERE tenant_id = $1 AND environment = $2 AND id = $3",
            "SELECT id FROM keys WHERE tenant_id = $1 AND environment = $2 AND id = $3 FOR NO KEY UPDATE",
        )
        .bind(scope.tenant)
        .bind(scope.environment)
        .bind(id)
        .run(tx)
        .await?;
    }
    get(tx, scope, id).await
}

/// Where the key lives: for the operator alone, who is given nothing but its id.
pub async fn whereabouts(tx: &mut Tx, id: KeyId) -> Result<Option<EnvScope>, StoreError> {
    sql("SELECT tenant_id, environment
        FROM keys
        WHERE id = $1")
    .bind(id)
    .optional(tx)
    .await?
    .map(|row| Ok(EnvScope { tenant: row.get("tenant_id")?, environment: row.get("environment")? }))
    .transpose()
}

/// Keys of every tenant whose time is over by the database's clock and not yet on record, for the system's sweep.
pub async fn overdue(tx: &mut Tx, limit: u32) -> Result<Vec<(EnvScope, KeyId)>, StoreError> {
    let rows = either(
        "SELECT tenant_id, environment, id
        FROM keys
        WHERE status IN ('pending', 'active', 'suspended')
            AND expires_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER)
        ORDER BY id
        LIMIT $1",
        "SELECT tenant_id, environment, id
        FROM keys
        WHERE status IN ('pending', 'active', 'suspended')
            AND expires_at <= floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint
        ORDER BY id
        LIMIT $1",
    )
    .bind(limit)
    .all(tx)
    .await?;
    rows.iter()
        .map(|row| {
            Ok((EnvScope { tenant: row.get("tenant_id")?, environment: row.get("environment")? }, row.get("id")?))
        })
        .collect()
}

/// Which keys a list shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those with this status; `expired` as soon as their time is over.
    pub status: Option<KeyStatus>,
    /// Those that ended for this reason.
    pub reason: Option<Reason>,
    /// Those with the rights of this user.
    pub administrator: Option<UserId>,
    /// Those with this tag.
    pub tag: Option<String>,
    /// Those that this key made.
    pub parent: Option<KeyId>,
    /// Active keys none of whose secrets is younger have expired too: the tenant enforces a greatest age.
    pub too_old: Option<Timestamp>,
}

/// Keys, newest first, a page at a time: `after` is the last of the page before.
pub async fn list(
    tx: &mut Tx,
    scope: EnvScope,
    filter: Filter,
    now: Timestamp,
    after: Option<KeyId>,
    limit: u32,
) -> Result<Vec<Key>, StoreError> {
    let rows = either(
        "SELECT id, tenant_id, environment, label, status, status_at, reason, administrator_id, created_by,
            parent_key_id, scopes, allowlist, allowlist_mode, expires_at, note, tags, created_at, version
        FROM keys
        WHERE tenant_id = $1 AND environment = $2
            AND (CAST($3 AS TEXT) IS NULL
                OR CASE WHEN status IN ('pending', 'active', 'suspended') AND expires_at <= $4
                    THEN 'expired'
                    WHEN status = 'active' AND CAST($8 AS BIGINT) IS NOT NULL AND NOT EXISTS (
                        SELECT 1
                        FROM secrets
                        WHERE secrets.key_id = keys.id AND secrets.status IN ('current', 'pending')
                            AND secrets.created_at > $8)
                    THEN 'expired'
                    ELSE status END = $3)
            AND (CAST($5 AS TEXT) IS NULL OR parent_key_id = $5)
            AND (CAST($6 AS TEXT) IS NULL OR id < $6)
            AND (CAST($9 AS TEXT) IS NULL OR reason = $9)
            AND (CAST($10 AS TEXT) IS NULL OR administrator_id = $10)
            AND (CAST($11 AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM json_each(tags) WHERE value = $11))
        ORDER BY id DESC
        LIMIT $7",
        "SELECT id, tenant_id, environment, label, status, status_at, reason, administrator_id, created_by,
            parent_key_id, scopes, allowlist, allowlist_mode, expires_at, note, tags, created_at, version
        FROM keys
        WHERE tenant_id = $1 AND environment = $2
            AND (CAST($3 AS TEXT) IS NULL
                OR CASE WHEN status IN ('pending', 'active', 'suspended') AND expires_at <= $4
                    THEN 'expired'
                    WHEN status = 'active' AND CAST($8 AS BIGINT) IS NOT NULL AND NOT EXISTS (
                        SELECT 1
                        FROM secrets
                        WHERE secrets.key_id = keys.id AND secrets.status IN ('current', 'pending')
                            AND secrets.created_at > $8)
                    THEN 'expired'
                    ELSE status END = $3)
            AND (CAST($5 AS TEXT) IS NULL OR parent_key_id = $5)
            AND (CAST($6 AS TEXT) IS NULL OR id < $6)
            AND (CAST($9 AS TEXT) IS NULL OR reason = $9)
            AND (CAST($10 AS TEXT) IS NULL OR administrator_id = $10)
            AND (CAST($11 AS TEXT) IS NULL OR $11 IN (SELECT json_array_elements_text(tags::json)))
        ORDER BY id DESC
        LIMIT $7",
    )
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(filter.status.map(|status| status.as_str()))
    .bind(now)
    .bind(filter.parent)
    .bind(after)
    .bind(limit.min(PAGE_ROWS_MAX + 1))
    .bind(filter.too_old)
    .bind(filter.reason.map(|reason| reason.as_str()))
    .bind(filter.administrator)
    .bind(&filter.tag)
    .all(tx)
    .await?;
    rows.iter().map(read).collect()
}

/// Write what may change. False: it was changed in between, and nothing was written.
pub async fn save(tx: &mut Tx, key: &Key) -> Result<bool, StoreError> {
    let changed = sql("UPDATE keys
        SET label = $5, status = $6, status_at = $7, reason = $8, administrator_id = $9, scopes = $10, allowlist = $11,
            expires_at = $12, note = $13, tags = $14, allowlist_mode = $15, version = version + 1
        WHERE tenant_id = $1 AND environment = $2 AND id = $3 AND version = $4")
    .bind(key.scope.tenant)
    .bind(key.scope.environment)
    .bind(key.id)
    .bind(key.version)
    .bind(&key.label)
    .bind(key.state.status().as_str())
    .bind(key.since)
    .bind(key.state.reason().map(|reason| reason.as_str()))
    .bind(key.administrator)
    .bind(Json(key.scopes.names()))
    .bind(Json(&key.allowlist))
    .bind(key.expires_at)
    .bind(&key.note)
    .bind(Json(&key.tags))
    .bind(key.allowlist_mode.as_str())
    .run(tx)
    .await?;
    Ok(changed == 1)
}

/// End every secret of the key that still lives; how many did.
pub async fn end_secrets(tx: &mut Tx, scope: EnvScope, key: KeyId, now: Timestamp) -> Result<u64, StoreError> {
    sql("UPDATE secrets
        SET status = 'dead', ends_at = $4
        WHERE tenant_id = $1 AND key_id = $3 AND status <> 'dead'
            AND EXISTS (SELECT 1 FROM keys WHERE keys.id = $3 AND keys.tenant_id = $1 AND keys.environment = $2)")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(key)
    .bind(now)
    .run(tx)
    .await
}

/// The secrets of these keys, each key's oldest first.
pub async fn secrets(tx: &mut Tx, scope: EnvScope, keys: &[KeyId]) -> Result<Vec<KeySecret>, StoreError> {
    let rows = either(
        "SELECT s.id, s.key_id, s.digest, s.last4, s.status, s.created_at, s.ends_at, s.grace_ms,
            s.silent_ms, s.first_used_at
        FROM keys k
        JOIN secrets s ON s.key_id = k.id
        WHERE k.tenant_id = $1 AND k.environment = $2 AND k.id IN (SELECT value FROM json_each($3))
        ORDER BY s.key_id, s.id",
        "SELECT s.id, s.key_id, s.digest, s.last4, s.status, s.created_at, s.ends_at, s.grace_ms,
            s.silent_ms, s.first_used_at
        FROM keys k
        JOIN secrets s ON s.key_id = k.id
        WHERE k.tenant_id = $1 AND k.environment = $2 AND k.id = ANY (ARRAY(SELECT json_array_elements_text($3::json)))
        ORDER BY s.key_id, s.id",
    )
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(Json(keys))
    .all(tx)
    .await?;
    rows.iter().map(read_secret).collect()
}

/// The last use of each secret of these keys, as far as it is written.
pub async fn last_uses(tx: &mut Tx, scope: EnvScope, keys: &[KeyId]) -> Result<Vec<LastUse>, StoreError> {
    let rows = either(
        "SELECT u.secret_id, u.at, u.address, u.user_agent, u.route
        FROM keys k
        JOIN key_uses u ON u.key_id = k.id
        WHERE k.tenant_id = $1 AND k.environment = $2 AND k.id IN (SELECT value FROM json_each($3))
        ORDER BY u.at, u.secret_id",
        "SELECT u.secret_id, u.at, u.address, u.user_agent, u.route
        FROM keys k
        JOIN key_uses u ON u.key_id = k.id
        WHERE k.tenant_id = $1 AND k.environment = $2 AND k.id = ANY (ARRAY(SELECT json_array_elements_text($3::json)))
        ORDER BY u.at, u.secret_id",
    )
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(Json(keys))
    .all(tx)
    .await?;
    rows.iter().map(read_use).collect()
}

/// The keys that were used last, at most `limit`, whosever they are: what a gate remembers when it begins.
pub async fn used_last<S: Session>(session: &mut S, limit: usize) -> Result<Vec<KeyId>, StoreError> {
    let rows = sql("SELECT key_id, max(at) AS at
        FROM key_uses
        GROUP BY key_id
        ORDER BY 2 DESC
        LIMIT $1")
    .bind(limit)
    .all(session)
    .await?;
    rows.iter().map(|row| row.get("key_id")).collect()
}

pub(crate) fn read(row: &Row) -> Result<Key, StoreError> {
    let (status, reason) = (row.parse("status")?, row.parse_optional("reason")?);
    let state = State::new(status, reason)
        .ok_or_else(|| StoreError::Corrupt(format!("a key is {status} with the reason {reason:?}")))?;
    let names = row.get::<Json<Vec<String>>>("scopes")?.0;
    let scopes = Scopes::parse(&names).map_err(|error| StoreError::Corrupt(format!("a key's scopes: {error}")))?;
    Ok(Key {
        id: row.get("id")?,
        scope: EnvScope { tenant: row.get("tenant_id")?, environment: row.get("environment")? },
        label: row.get("label")?,
        state,
        since: row.get("status_at")?,
        administrator: row.get("administrator_id")?,
        created_by: row.get::<Json<_>>("created_by")?.0,
        parent: row.get("parent_key_id")?,
        scopes,
        allowlist: row.get::<Json<_>>("allowlist")?.0,
        allowlist_mode: row.parse("allowlist_mode")?,
        expires_at: row.get("expires_at")?,
        note: row.get("note")?,
        tags: row.get::<Json<_>>("tags")?.0,
        created_at: row.get("created_at")?,
        version: row.get("version")?,
    })
}

fn read_secret(row: &Row) -> Result<KeySecret, StoreError> {
    Ok(KeySecret {
        id: row.get::<SecretId>("id")?,
        key: row.get("key_id")?,
        digest: Digest(row.get("digest")?),
        last4: row.get("last4")?,
        status: row.parse::<SecretStatus>("status")?,
        created_at: row.get("created_at")?,
        ends_at: row.get("ends_at")?,
        grace_ms: row.get("grace_ms")?,
        silent_ms: row.get("silent_ms")?,
        first_used_at: row.get("first_used_at")?,
    })
}

fn read_use(row: &Row) -> Result<LastUse, StoreError> {
    Ok(LastUse {
        secret: row.get("secret_id")?,
        at: row.get("at")?,
        address: row.get("address")?,
        user_agent: row.get("user_agent")?,
        route: row.get("route")?,
    })
}
