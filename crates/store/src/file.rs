//! Which files a row names: what no row names may go, once it is old.

use model::EnvScope;

use crate::{Json, Session, StoreError, Tx, either, sql};

/// Those of `digests` that no row of the scope names.
pub async fn unnamed(tx: &mut Tx, scope: EnvScope, digests: &[String]) -> Result<Vec<String>, StoreError> {
    let rows = either(
        "SELECT value AS sha256
        FROM json_each($3)
        WHERE NOT EXISTS (SELECT 1 FROM documents d
                WHERE d.tenant_id = $1 AND d.environment = $2 AND d.sha256 = value)
            AND NOT EXISTS (SELECT 1 FROM documents d
                WHERE d.tenant_id = $1 AND d.environment = $2 AND d.working = value)
            AND NOT EXISTS (SELECT 1 FROM assets a
                WHERE a.tenant_id = $1 AND a.environment = $2 AND a.sha256 = value)",
        "SELECT value AS sha256
        FROM json_array_elements_text($3::json) AS value
        WHERE NOT EXISTS (SELECT 1 FROM documents d
                WHERE d.tenant_id = $1 AND d.environment = $2 AND d.sha256 = value)
            AND NOT EXISTS (SELECT 1 FROM documents d
                WHERE d.tenant_id = $1 AND d.environment = $2 AND d.working = value)
            AND NOT EXISTS (SELECT 1 FROM assets a
                WHERE a.tenant_id = $1 AND a.environment = $2 AND a.sha256 = value)",
    )
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(Json(digests))
    .all(tx)
    .await?;
    rows.iter().map(|row| row.get("sha256")).collect()
}

/// The files that rows name, whosever they are, each once, in order, a page at a time: to check that all are there.
pub async fn named<S: Session>(
    session: &mut S,
    after: Option<&(EnvScope, String)>,
    limit: u32,
) -> Result<Vec<(EnvScope, String)>, StoreError> {
    let rows = sql("SELECT tenant_id, environment, sha256
        FROM (SELECT tenant_id, environment, sha256 FROM documents
            UNION SELECT tenant_id, environment, working FROM documents
            UNION SELECT tenant_id, environment, sha256 FROM assets) AS named
        WHERE (tenant_id, environment, sha256) > ($1, $2, $3)
        ORDER BY tenant_id, environment, sha256
        LIMIT $4")
    .bind(after.map_or_else(String::new, |(scope, _)| scope.tenant.to_string()))
    .bind(after.map_or_else(String::new, |(scope, _)| scope.environment.to_string()))
    .bind(after.map_or("", |(_, sha256)| sha256.as_str()))
    .bind(limit)
    .all(session)
    .await?;
    rows.iter()
        .map(|row| {
            let scope = EnvScope { tenant: row.get("tenant_id")?, environment: row.get("environment")? };
            Ok((scope, row.get("sha256")?))
        })
        .collect()
}
