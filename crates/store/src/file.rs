//! Which files a row names: what no row names may go, once it is old.

use model::EnvScope;

use crate::{Json, StoreError, Tx, either};

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
