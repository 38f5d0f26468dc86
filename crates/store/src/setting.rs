//! What the whole installation agreed on once: one value for each name, whoever was first.

use crate::{StoreError, Tx, sql};

/// The value of `name`: what stands there, else `value` from now on.
pub async fn settle(tx: &mut Tx, name: &str, value: &str) -> Result<String, StoreError> {
    // Two statements: after a conflict RETURNING has no row.
    sql("INSERT INTO settings (name, value)
        VALUES ($1, $2)
        ON CONFLICT (name) DO NOTHING")
    .bind(name)
    .bind(value)
    .run(tx)
    .await?;
    sql("SELECT value
        FROM settings
        WHERE name = $1")
    .bind(name)
    .one(tx)
    .await?
    .get("value")
}
