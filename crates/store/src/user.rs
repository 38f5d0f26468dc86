//! Users: their rows and statements.

use model::user::User;
use model::{EnvScope, KeyId, TenantScope, Timestamp, UserId};

use crate::sql::{Json, Row, either, sql};
use crate::{StoreError, Tx};

/// Users of one page at most.
pub const PAGE_ROWS_MAX: u32 = 200;

/// Write a new user. False: the tenant has a user with that address, or an owner already, and nothing was written.
pub async fn insert(tx: &mut Tx, user: &User, password_hash: Option<&str>) -> Result<bool, StoreError> {
    let written =
        sql("INSERT INTO users (id, tenant_id, email, name, role, status, password_hash, created_at, version)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        ON CONFLICT DO NOTHING")
        .bind(user.id)
        .bind(user.tenant)
        .bind(&user.email)
        .bind(&user.name)
        .bind(user.role.as_str())
        .bind(user.status.as_str())
        .bind(password_hash)
        .bind(user.created_at)
        .bind(user.version)
        .run(tx)
        .await?;
    Ok(written == 1)
}

/// The user with this id.
pub async fn get(tx: &mut Tx, scope: TenantScope, id: UserId) -> Result<Option<User>, StoreError> {
    sql("SELECT id, tenant_id, email, name, role, status, created_at, version
        FROM users
        WHERE tenant_id = $1 AND id = $2")
    .bind(scope.tenant)
    .bind(id)
    .optional(tx)
    .await?
    .map(|row| read(&row))
    .transpose()
}

/// The user, not removed, who logs in with this address (in small letters).
pub async fn by_email(tx: &mut Tx, scope: TenantScope, email: &str) -> Result<Option<User>, StoreError> {
    sql("SELECT id, tenant_id, email, name, role, status, created_at, version
        FROM users
        WHERE tenant_id = $1 AND email = $2 AND status <> 'removed'")
    .bind(scope.tenant)
    .bind(email)
    .optional(tx)
    .await?
    .map(|row| read(&row))
    .transpose()
}

/// The tenant's owner.
pub async fn owner(tx: &mut Tx, scope: TenantScope) -> Result<Option<User>, StoreError> {
    sql("SELECT id, tenant_id, email, name, role, status, created_at, version
        FROM users
        WHERE tenant_id = $1 AND role = 'owner'")
    .bind(scope.tenant)
    .optional(tx)
    .await?
    .map(|row| read(&row))
    .transpose()
}

/// Those who manage keys: the tenant's active owner and admins, oldest first, at most `limit`.
pub async fn administrators(tx: &mut Tx, scope: TenantScope, limit: u32) -> Result<Vec<User>, StoreError> {
    let rows = sql("SELECT id, tenant_id, email, name, role, status, created_at, version
        FROM users
        WHERE tenant_id = $1 AND role IN ('owner', 'admin') AND status = 'active'
        ORDER BY id
        LIMIT $2")
    .bind(scope.tenant)
    .bind(limit)
    .all(tx)
    .await?;
    rows.iter().map(read).collect()
}

/// Those of the tenant's users with these ids.
pub async fn of_ids(tx: &mut Tx, scope: TenantScope, ids: &[UserId]) -> Result<Vec<User>, StoreError> {
    let rows = either(
        "SELECT id, tenant_id, email, name, role, status, created_at, version
        FROM users
        WHERE tenant_id = $1 AND id IN (SELECT value FROM json_each($2))",
        "SELECT id, tenant_id, email, name, role, status, created_at, version
        FROM users
        WHERE tenant_id = $1 AND id = ANY (ARRAY(SELECT json_array_elements_text($2::json)))",
    )
    .bind(scope.tenant)
    .bind(Json(ids))
    .all(tx)
    .await?;
    rows.iter().map(read).collect()
}

/// The tenant's users, oldest first, a page at a time.
pub async fn list(tx: &mut Tx, scope: TenantScope, after: Option<UserId>, limit: u32) -> Result<Vec<User>, StoreError> {
    let rows = sql("SELECT id, tenant_id, email, name, role, status, created_at, version
        FROM users
        WHERE tenant_id = $1 AND (CAST($2 AS TEXT) IS NULL OR id > $2)
        ORDER BY id
        LIMIT $3")
    .bind(scope.tenant)
    .bind(after)
    .bind(limit.min(PAGE_ROWS_MAX + 1))
    .all(tx)
    .await?;
    rows.iter().map(read).collect()
}

/// Write what may change. False: it was changed in between, and nothing was written.
pub async fn save(tx: &mut Tx, user: &User) -> Result<bool, StoreError> {
    let changed = sql("UPDATE users
        SET name = $4, role = $5, status = $6, version = version + 1
        WHERE tenant_id = $1 AND id = $2 AND version = $3")
    .bind(user.tenant)
    .bind(user.id)
    .bind(user.version)
    .bind(&user.name)
    .bind(user.role.as_str())
    .bind(user.status.as_str())
    .run(tx)
    .await?;
    Ok(changed == 1)
}

/// The stored hash of the user's password.
pub async fn password_hash(tx: &mut Tx, scope: TenantScope, id: UserId) -> Result<Option<String>, StoreError> {
    let row = sql("SELECT password_hash
        FROM users
        WHERE tenant_id = $1 AND id = $2")
    .bind(scope.tenant)
    .bind(id)
    .optional(tx)
    .await?;
    row.map_or(Ok(None), |row| row.get("password_hash"))
}

/// What is kept of an invitation that was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Which of the user's mails holds the link that works.
    pub generation: i64,
    /// Until when it works.
    pub expires_at: Timestamp,
}

/// The user's invitation.
pub async fn invitation(tx: &mut Tx, scope: TenantScope, id: UserId) -> Result<Option<Invitation>, StoreError> {
    let row = sql("SELECT generation, expires_at
        FROM invitations
        WHERE tenant_id = $1 AND user_id = $2")
    .bind(scope.tenant)
    .bind(id)
    .optional(tx)
    .await?;
    row.map(|row| Ok(Invitation { generation: row.get("generation")?, expires_at: row.get("expires_at")? })).transpose()
}

/// Invites the user, or anew: links of earlier generations end. The new generation.
pub async fn invite(tx: &mut Tx, scope: TenantScope, id: UserId, expires_at: Timestamp) -> Result<i64, StoreError> {
    let row = sql("INSERT INTO invitations (user_id, tenant_id, generation, expires_at)
        VALUES ($1, $2, 1, $3)
        ON CONFLICT (user_id) DO UPDATE
        SET generation = invitations.generation + 1, expires_at = excluded.expires_at
        RETURNING generation")
    .bind(id)
    .bind(scope.tenant)
    .bind(expires_at)
    .one(tx)
    .await?;
    row.get("generation")
}

/// Ends the user's invitation.
pub async fn end_invitation(tx: &mut Tx, scope: TenantScope, id: UserId) -> Result<(), StoreError> {
    sql("DELETE FROM invitations
        WHERE tenant_id = $1 AND user_id = $2")
    .bind(scope.tenant)
    .bind(id)
    .run(tx)
    .await?;
    Ok(())
}

/// Whose invitation it may be, by the user's id alone: nothing is proven yet.
pub async fn tenant_of(tx: &mut Tx, id: UserId) -> Result<Option<TenantScope>, StoreError> {
    let row = sql("SELECT tenant_id
        FROM invitations
        WHERE user_id = $1")
    .bind(id)
    .optional(tx)
    .await?;
    row.map(|row| Ok(TenantScope { tenant: row.get("tenant_id")? })).transpose()
}

/// Keeps the hash of the user's password.
pub async fn set_password_hash(tx: &mut Tx, scope: TenantScope, id: UserId, hash: &str) -> Result<(), StoreError> {
    sql("UPDATE users
        SET password_hash = $3
        WHERE tenant_id = $1 AND id = $2")
    .bind(scope.tenant)
    .bind(id)
    .bind(hash)
    .run(tx)
    .await?;
    Ok(())
}

/// The keys that live and have this user's rights, in every environment, at most `limit`, to be changed in this transaction:
/// on PostgreSQL their rows are held, before anything is written. Every write of identity takes the epoch's row too: who
/// held it and then waited for a key could wait in a circle with whoever holds the key.
pub async fn living_keys(
    tx: &mut Tx,
    scope: TenantScope,
    id: UserId,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<(EnvScope, KeyId)>, StoreError> {
    let rows = either(
        "SELECT id, environment
        FROM keys
        WHERE tenant_id = $1 AND administrator_id = $2 AND status IN ('pending', 'active', 'suspended')
            AND (expires_at IS NULL OR expires_at > $3)
        ORDER BY environment, id
        LIMIT $4",
        "SELECT id, environment
        FROM keys
        WHERE tenant_id = $1 AND administrator_id = $2 AND status IN ('pending', 'active', 'suspended')
            AND (expires_at IS NULL OR expires_at > $3)
        ORDER BY environment, id
        LIMIT $4
        FOR NO KEY UPDATE",
    )
    .bind(scope.tenant)
    .bind(id)
    .bind(now)
    .bind(limit)
    .all(tx)
    .await?;
    let read =
        |row: &Row| Ok((EnvScope { tenant: scope.tenant, environment: row.get("environment")? }, row.get("id")?));
    rows.iter().map(read).collect()
}

/// How many invitations of the tenant wait for an answer.
pub async fn open_invitations(tx: &mut Tx, scope: TenantScope, now: Timestamp) -> Result<i64, StoreError> {
    let row = sql("SELECT count(*) AS open
        FROM invitations
        WHERE tenant_id = $1 AND expires_at > $2")
    .bind(scope.tenant)
    .bind(now)
    .one(tx)
    .await?;
    row.get("open")
}

fn read(row: &Row) -> Result<User, StoreError> {
    Ok(User {
        id: row.get("id")?,
        tenant: row.get("tenant_id")?,
        email: row.get("email")?,
        name: row.get("name")?,
        role: row.parse("role")?,
        status: row.parse("status")?,
        created_at: row.get("created_at")?,
        version: row.get("version")?,
    })
}
