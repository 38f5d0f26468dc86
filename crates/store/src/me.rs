//! Who a key is: the key, its tenant, its administrator and its secrets' use in one statement, as it is asked often.

use model::key::{Key, KeySecret, LastUse};
use model::tenant::Tenant;
use model::user::User;
use model::{EnvScope, KeyId};
use secret::Digest;

use crate::sql::{Json, Row, Session, sql};
use crate::{StoreError, key};

/// Who a key is.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The key.
    pub key: Key,
    /// Whose it is.
    pub tenant: Tenant,
    /// Whose rights it has.
    pub administrator: User,
    /// Its secrets, the oldest first.
    pub secrets: Vec<KeySecret>,
    /// The last use of each that was used, the earliest first.
    pub uses: Vec<LastUse>,
}

/// Looks it up.
pub async fn get<S: Session>(session: &mut S, scope: EnvScope, id: KeyId) -> Result<Option<Found>, StoreError> {
    let rows = sql("SELECT k.id, k.tenant_id, k.environment, k.label, k.status, k.status_at, k.reason, k.administrator_id,
            k.created_by, k.parent_key_id, k.scopes, k.allowlist, k.allowlist_mode, k.expires_at, k.note, k.tags, k.created_at, k.version,
            t.name AS tenant_name, t.tier, t.status AS tenant_status, t.allowlist AS tenant_allowlist,
            t.allowlist_mode AS tenant_allowlist_mode, t.policies,
            t.created_at AS tenant_created_at, t.version AS tenant_version,
            u.email, u.name AS user_name, u.role, u.status AS user_status, u.created_at AS user_created_at,
            u.version AS user_version,
            s.id AS secret_id, s.digest, s.last4, s.status AS secret_status, s.created_at AS secret_created_at, s.ends_at,
            s.grace_ms, s.silent_ms, s.first_used_at,
            x.at AS used_at, x.address, x.user_agent, x.route
        FROM keys k
        JOIN tenants t ON t.id = k.tenant_id
        JOIN users u ON u.id = k.administrator_id AND u.tenant_id = k.tenant_id
        JOIN secrets s ON s.key_id = k.id
        LEFT JOIN key_uses x ON x.secret_id = s.id
        WHERE k.tenant_id = $1 AND k.environment = $2 AND k.id = $3
        ORDER BY s.id")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(id)
    .all(session)
    .await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let key = key::read(first)?;
    let secrets = rows.iter().map(|row| read_secret(row, id)).collect::<Result<_, _>>()?;
    let mut uses: Vec<LastUse> = rows.iter().filter_map(|row| read_use(row).transpose()).collect::<Result<_, _>>()?;
    uses.sort_by_key(|used| used.at);
    Ok(Some(Found { tenant: read_tenant(first)?, administrator: read_user(first)?, key, secrets, uses }))
}

fn read_tenant(row: &Row) -> Result<Tenant, StoreError> {
    Ok(Tenant {
        id: row.get("tenant_id")?,
        name: row.get("tenant_name")?,
        tier: row.parse("tier")?,
        status: row.parse("tenant_status")?,
        allowlist: row.get::<Json<_>>("tenant_allowlist")?.0,
        allowlist_mode: row.parse("tenant_allowlist_mode")?,
        policies: row.get::<Json<_>>("policies")?.0,
        created_at: row.get("tenant_created_at")?,
        version: row.get("tenant_version")?,
    })
}

fn read_user(row: &Row) -> Result<User, StoreError> {
    Ok(User {
        id: row.get("administrator_id")?,
        tenant: row.get("tenant_id")?,
        email: row.get("email")?,
        name: row.get("user_name")?,
        role: row.parse("role")?,
        status: row.parse("user_status")?,
        created_at: row.get("user_created_at")?,
        version: row.get("user_version")?,
    })
}

fn read_secret(row: &Row, key: KeyId) -> Result<KeySecret, StoreError> {
    Ok(KeySecret {
        id: row.get("secret_id")?,
        key,
        digest: Digest(row.get("digest")?),
        last4: row.get("last4")?,
        status: row.parse("secret_status")?,
        created_at: row.get("secret_created_at")?,
        ends_at: row.get("ends_at")?,
        grace_ms: row.get("grace_ms")?,
        silent_ms: row.get("silent_ms")?,
        first_used_at: row.get("first_used_at")?,
    })
}

fn read_use(row: &Row) -> Result<Option<LastUse>, StoreError> {
    let Some(at) = row.get("used_at")? else { return Ok(None) };
    Ok(Some(LastUse {
        secret: row.get("secret_id")?,
        at,
        address: row.get("address")?,
        user_agent: row.get("user_agent")?,
        route: row.get("route")?,
    }))
}
