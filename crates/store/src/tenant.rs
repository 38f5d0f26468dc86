//! Tenants: their rows and statements.

use model::tenant::Tenant;
use model::{TenantId, TenantScope};

use crate::sql::{Json, Row, Session, either, sql};
use crate::{StoreError, Tx};

/// Tenants of one page at most.
pub const PAGE_ROWS_MAX: u32 = 200;

/// Write a new tenant.
pub async fn insert(tx: &mut Tx, tenant: &Tenant) -> Result<(), StoreError> {
    sql("INSERT INTO tenants (id, name, tier, status, allowlist, allowlist_mode, policies, created_at, version)
        VALUES ($1, $2, $3, $4, $5, $8, $9, $6, $7)")
    .bind(tenant.id)
    .bind(&tenant.name)
    .bind(tenant.tier.as_str())
    .bind(tenant.status.as_str())
    .bind(Json(&tenant.allowlist))
    .bind(tenant.created_at)
    .bind(tenant.version)
    .bind(tenant.allowlist_mode.as_str())
    .bind(Json(&tenant.policies))
    .run(tx)
    .await?;
    Ok(())
}

/// The tenant.
pub async fn get(tx: &mut Tx, scope: TenantScope) -> Result<Option<Tenant>, StoreError> {
    sql("SELECT id, name, tier, status, allowlist, allowlist_mode, policies, created_at, version
        FROM tenants
        WHERE id = $1")
    .bind(scope.tenant)
    .optional(tx)
    .await?
    .map(|row| read(&row))
    .transpose()
}

/// The tenant, to be changed in this transaction: on PostgreSQL its row is held, so that two changes follow one another.
/// A change of its users takes it too.
pub async fn lock(tx: &mut Tx, scope: TenantScope) -> Result<Option<Tenant>, StoreError> {
    if tx.is_postgres() {
        either("SELECT id FROM tenants WHERE id = $1", "SELECT id FROM tenants WHERE id = $1 FOR NO KEY UPDATE")
            .bind(scope.tenant)
            .run(tx)
            .await?;
    }
    get(tx, scope).await
}

/// Every tenant of this server, oldest first, a page at a time: for the operator alone.
pub async fn list<S: Session>(session: &mut S, after: Option<TenantId>, limit: u32) -> Result<Vec<Tenant>, StoreError> {
    let rows = sql("SELECT id, name, tier, status, allowlist, allowlist_mode, policies, created_at, version
        FROM tenants
        WHERE CAST($1 AS TEXT) IS NULL OR id > $1
        ORDER BY id
        LIMIT $2")
    .bind(after)
    .bind(limit.min(PAGE_ROWS_MAX + 1))
    .all(session)
    .await?;
    rows.iter().map(read).collect()
}

/// Write what may change. False: it was changed in between, and nothing was written.
pub async fn save(tx: &mut Tx, tenant: &Tenant) -> Result<bool, StoreError> {
    let changed = sql("UPDATE tenants
        SET name = $3, tier = $4, status = $5, allowlist = $6, allowlist_mode = $7, policies = $8,
            version = version + 1
        WHERE id = $1 AND version = $2")
    .bind(tenant.id)
    .bind(tenant.version)
    .bind(&tenant.name)
    .bind(tenant.tier.as_str())
    .bind(tenant.status.as_str())
    .bind(Json(&tenant.allowlist))
    .bind(tenant.allowlist_mode.as_str())
    .bind(Json(&tenant.policies))
    .run(tx)
    .await?;
    Ok(changed == 1)
}

fn read(row: &Row) -> Result<Tenant, StoreError> {
    Ok(Tenant {
        id: row.get("id")?,
        name: row.get("name")?,
        tier: row.parse("tier")?,
        status: row.parse("status")?,
        allowlist: row.get::<Json<_>>("allowlist")?.0,
        allowlist_mode: row.parse("allowlist_mode")?,
        policies: row.get::<Json<_>>("policies")?.0,
        created_at: row.get("created_at")?,
        version: row.get("version")?,
    })
}
