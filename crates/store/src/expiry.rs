//! Keys that may have something to tell about their age, and what was told of them already.

use model::key::Key;
use model::{EnvScope, KeyId, TenantScope, Timestamp};

use crate::sql::{Json, either, sql};
use crate::{StoreError, Tx, key};

/// Keys of one page at most.
pub const PAGE_ROWS_MAX: u32 = 500;

/// The tenant's keys that may still call or be resumed, in every environment, in the order of their ids.
pub async fn living(tx: &mut Tx, scope: TenantScope, after: Option<KeyId>) -> Result<Vec<Key>, StoreError> {
    let rows = sql("SELECT id, tenant_id, environment, label, status, status_at, reason, administrator_id, created_by,
            parent_key_id, scopes, allowlist, allowlist_mode, expires_at, note, tags, created_at, version
        FROM keys
        WHERE tenant_id = $1 AND status IN ('pending', 'active', 'suspended')
            AND (CAST($2 AS TEXT) IS NULL OR id > $2)
        ORDER BY id
        LIMIT $3")
    .bind(scope.tenant)
    .bind(after)
    .bind(PAGE_ROWS_MAX)
    .all(tx)
    .await?;
    rows.iter().map(key::read).collect()
}

/// What was told of these keys.
pub async fn told(tx: &mut Tx, scope: EnvScope, keys: &[KeyId]) -> Result<Vec<(KeyId, String)>, StoreError> {
    let rows = either(
        "SELECT n.key_id, n.once
        FROM keys k
        JOIN key_notices n ON n.key_id = k.id
        WHERE k.tenant_id = $1 AND k.environment = $2 AND k.id IN (SELECT value FROM json_each($3))",
        "SELECT n.key_id, n.once
        FROM keys k
        JOIN key_notices n ON n.key_id = k.id
        WHERE k.tenant_id = $1 AND k.environment = $2 AND k.id = ANY (ARRAY(SELECT json_array_elements_text($3::json)))",
    )
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(Json(keys))
    .all(tx)
    .await?;
    rows.iter().map(|row| Ok((row.get("key_id")?, row.get("once")?))).collect()
}

/// Write that something is told of a key. False: it was told before.
pub async fn tell(tx: &mut Tx, scope: EnvScope, key: KeyId, once: &str, now: Timestamp) -> Result<bool, StoreError> {
    let written = sql("INSERT INTO key_notices (key_id, once, at)
        SELECT id, $4, $5
        FROM keys
        WHERE tenant_id = $1 AND environment = $2 AND id = $3
        ON CONFLICT (key_id, once) DO NOTHING")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(key)
    .bind(once)
    .bind(now)
    .run(tx)
    .await?;
    Ok(written == 1)
}
