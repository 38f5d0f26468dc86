//! Right secrets in wrong places: whose they are, and what is known of each key.

use model::exposure::Exposure;
use model::key::SecretStatus;
use model::{EnvScope, KeyId};
use secret::Digest;

use crate::sql::{Json, Row, Session, either, sql};
use crate::{StoreError, Tx};

/// Digests that one statement looks up at most.
pub const DIGESTS_MAX: usize = 1_000;

/// Whose secret has a digest.
#[derive(Clone, Debug, PartialEq)]
pub struct Owner {
    /// The digest.
    pub digest: Digest,
    /// Which key's it is.
    pub key: KeyId,
    /// Whose and where.
    pub scope: EnvScope,
    /// What the secret is at present.
    pub status: SecretStatus,
}

/// Whose secrets these are. They come from anywhere, so no tenant is named: who holds a secret names it by that.
pub async fn owners<S: Session>(session: &mut S, digests: &[Digest]) -> Result<Vec<Owner>, StoreError> {
    let digests: Vec<String> = digests.iter().map(|digest| model::event::hex(&digest.0)).collect();
    let rows = either(
        "SELECT s.digest, s.key_id, s.status, k.tenant_id, k.environment
        FROM secrets s
        JOIN keys k ON k.id = s.key_id
        WHERE s.digest IN (SELECT unhex(value) FROM json_each($1))
        ORDER BY s.id",
        "SELECT s.digest, s.key_id, s.status, k.tenant_id, k.environment
        FROM secrets s
        JOIN keys k ON k.id = s.key_id
        WHERE s.digest = ANY (ARRAY(SELECT decode(json_array_elements_text($1::json), 'hex')))
        ORDER BY s.id",
    )
    .bind(Json(digests))
    .all(session)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Owner {
                digest: Digest(row.get("digest")?),
                key: row.get("key_id")?,
                scope: EnvScope { tenant: row.get("tenant_id")?, environment: row.get("environment")? },
                status: row.parse("status")?,
            })
        })
        .collect()
}

/// What is known of each of these keys, in the order of the keys.
pub async fn of_keys(tx: &mut Tx, scope: EnvScope, keys: &[KeyId]) -> Result<Vec<(KeyId, Exposure)>, StoreError> {
    let rows = either(
        "SELECT x.key_id, x.how, x.first_at, x.last_at, x.count, x.address, x.told_at, x.mailed_at
        FROM key_exposures x
        JOIN keys k ON k.id = x.key_id
        WHERE k.tenant_id = $1 AND k.environment = $2 AND k.id IN (SELECT value FROM json_each($3))
        ORDER BY x.key_id, x.how",
        "SELECT x.key_id, x.how, x.first_at, x.last_at, x.count, x.address, x.told_at, x.mailed_at
        FROM key_exposures x
        JOIN keys k ON k.id = x.key_id
        WHERE k.tenant_id = $1 AND k.environment = $2 AND k.id = ANY (ARRAY(SELECT json_array_elements_text($3::json)))
        ORDER BY x.key_id, x.how",
    )
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(Json(keys))
    .all(tx)
    .await?;
    rows.iter().map(read).collect()
}

/// Notes that a key was seen, where `seen.told_at` and `seen.mailed_at` are when programs and people are told now, if they
/// are.
pub async fn note(tx: &mut Tx, scope: EnvScope, key: KeyId, seen: &Exposure) -> Result<(), StoreError> {
    sql("INSERT INTO key_exposures (key_id, how, first_at, last_at, count, address, told_at, mailed_at)
        SELECT id, CAST($4 AS text), CAST($5 AS bigint), CAST($6 AS bigint), CAST($7 AS bigint), CAST($8 AS text),
            CAST($9 AS bigint), CAST($10 AS bigint)
        FROM keys
        WHERE tenant_id = $1 AND environment = $2 AND id = $3
        ON CONFLICT (key_id, how) DO UPDATE
        SET address = CASE WHEN excluded.last_at >= key_exposures.last_at THEN excluded.address ELSE key_exposures.address END,
            last_at = CASE WHEN excluded.last_at >= key_exposures.last_at THEN excluded.last_at ELSE key_exposures.last_at END,
            count = key_exposures.count + excluded.count,
            told_at = coalesce(excluded.told_at, key_exposures.told_at),
            mailed_at = coalesce(excluded.mailed_at, key_exposures.mailed_at)")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(key)
    .bind(seen.how.as_str())
    .bind(seen.first_at)
    .bind(seen.last_at)
    .bind(i64::try_from(seen.count).unwrap_or(i64::MAX))
    .bind(&seen.address)
    .bind(seen.told_at)
    .bind(seen.mailed_at)
    .run(tx)
    .await?;
    Ok(())
}

fn read(row: &Row) -> Result<(KeyId, Exposure), StoreError> {
    let exposure = Exposure {
        how: row.parse("how")?,
        first_at: row.get("first_at")?,
        last_at: row.get("last_at")?,
        count: row.get::<i64>("count")?.unsigned_abs(),
        address: row.get("address")?,
        told_at: row.get("told_at")?,
        mailed_at: row.get("mailed_at")?,
    };
    Ok((row.get("key_id")?, exposure))
}
