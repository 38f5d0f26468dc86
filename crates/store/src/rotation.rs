//! Secrets as a rotation changes them, and which of them have come to their end.

use model::key::KeySecret;
use model::{EnvScope, KeyId, SecretId, Timestamp};

use crate::sql::{either, sql};
use crate::{StoreError, Tx};

/// Write what a rotation changes of a secret. False: it is not there.
pub async fn save_secret(tx: &mut Tx, scope: EnvScope, secret: &KeySecret) -> Result<bool, StoreError> {
    let changed = sql("UPDATE secrets
        SET status = $4, ends_at = $5, grace_ms = $6, silent_ms = $7, first_used_at = $8
        WHERE tenant_id = $1 AND key_id = $2 AND id = $3")
    .bind(scope.tenant)
    .bind(secret.key)
    .bind(secret.id)
    .bind(secret.status.as_str())
    .bind(secret.ends_at)
    .bind(secret.grace_ms)
    .bind(secret.silent_ms)
    .bind(secret.first_used_at)
    .run(tx)
    .await?;
    Ok(changed == 1)
}

/// Forgets the oldest dead secrets of a key and their uses: the last `keep` are kept, so that who presents one is told what
/// became of it.
pub async fn forget_dead(tx: &mut Tx, scope: EnvScope, key: KeyId, keep: u32) -> Result<(), StoreError> {
    let old = sql("SELECT s.id
        FROM keys k
        JOIN secrets s ON s.key_id = k.id
        WHERE k.tenant_id = $1 AND k.environment = $2 AND k.id = $3 AND s.status = 'dead'
        ORDER BY s.created_at DESC, s.id DESC
        LIMIT 1000
        OFFSET $4")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(key)
    .bind(keep)
    .all(tx)
    .await?;
    for row in &old {
        let secret: SecretId = row.get("id")?;
        sql("DELETE FROM key_uses WHERE secret_id = $1 AND key_id = $2").bind(secret).bind(key).run(tx).await?;
        sql("DELETE FROM secrets WHERE tenant_id = $1 AND key_id = $2 AND id = $3")
            .bind(scope.tenant)
            .bind(key)
            .bind(secret)
            .run(tx)
            .await?;
    }
    Ok(())
}

/// Keys of every tenant with a secret whose end has come by the database's clock, or that may have been silent for long
/// enough, for the system's sweep.
pub async fn overdue(tx: &mut Tx, limit: u32) -> Result<Vec<(EnvScope, KeyId)>, StoreError> {
    let rows = either(
        "SELECT DISTINCT k.tenant_id, k.environment, k.id
        FROM secrets s
        JOIN keys k ON k.id = s.key_id
        LEFT JOIN key_uses u ON u.secret_id = s.id
        WHERE s.status IN ('pending', 'ending')
            AND (s.ends_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER)
                OR s.status = 'ending'
                    AND coalesce(u.at, s.created_at) + s.silent_ms <= CAST(unixepoch('subsec') * 1000 AS INTEGER))
        ORDER BY k.id
        LIMIT $1",
        "SELECT DISTINCT k.tenant_id, k.environment, k.id
        FROM secrets s
        JOIN keys k ON k.id = s.key_id
        LEFT JOIN key_uses u ON u.secret_id = s.id
        WHERE s.status IN ('pending', 'ending')
            AND (s.ends_at <= floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint
                OR s.status = 'ending'
                    AND coalesce(u.at, s.created_at) + s.silent_ms
                        <= floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
        ORDER BY k.id
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

/// The moment up to which every node that was there since `since` has written the uses that it noted; none where no node
/// was.
pub async fn uses_known_until(tx: &mut Tx, since: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let row = sql("SELECT min(written_at) AS until
        FROM nodes
        WHERE seen_at >= $1")
    .bind(since)
    .one(tx)
    .await?;
    row.get("until")
}
