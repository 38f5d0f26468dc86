//! What the gate reads and writes: keys with all that decides about them, epochs with the database's time, locks.

use model::allowlist::Mode;
use model::key::{KeyStatus, SecretStatus};
use model::policy::Policies;
use model::scope::Scopes;
use model::tenant::{TenantStatus, Tier};
use model::user::UserStatus;
use model::{Allowlist, EnvScope, KeyId, Role, SecretId, TenantId, Timestamp, UserId};
use secret::Digest;

use crate::sql::{Json, Query, Row, either};
use crate::{Session, StoreError, Tx};

/// Secrets of one key that are read at most: those that live first, then the youngest.
const SECRETS_MAX: usize = 64;

/// A tenant's epoch: a random id that every change to what the gate reads replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch([u8; 16]);

impl Epoch {
    /// The epoch of these bits.
    pub fn from_bytes(bits: [u8; 16]) -> Epoch {
        Epoch(bits)
    }
}

/// A key with everything that decides whether it may pass, as it stood at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// The key.
    pub key: KeyId,
    /// Whose and where.
    pub scope: EnvScope,
    /// Its name for people.
    pub label: String,
    /// What it is.
    pub status: KeyStatus,
    /// Until when.
    pub expires_at: Option<Timestamp>,
    /// What it may do.
    pub scopes: Scopes,
    /// From where.
    pub allowlist: Allowlist,
    /// What becomes of a call from elsewhere.
    pub allowlist_mode: Mode,
    /// Its secrets: those that live first, then the youngest.
    pub secrets: Vec<KnownSecret>,
    /// How old they may become, in milliseconds, where the tenant's policies enforce that.
    pub secret_age_ms_max: Option<i64>,
    /// Whose rights it has.
    pub administrator: UserId,
    /// What this user may do.
    pub role: Role,
    /// Whether this user may act.
    pub user_status: UserStatus,
    /// Whether the tenant may use the server.
    pub tenant_status: TenantStatus,
    /// The tenant's subscription.
    pub tier: Tier,
    /// From where the tenant's keys may call.
    pub tenant_allowlist: Allowlist,
    /// What becomes of a call from elsewhere.
    pub tenant_allowlist_mode: Mode,
    /// Whether the tenant lets keys change keys, users and the tenant.
    pub keys_may_manage_identity: bool,
    /// The tenant's epoch at that moment.
    pub epoch: Epoch,
}

/// A secret of a key.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownSecret {
    /// Which.
    pub id: SecretId,
    /// SHA-256 of its text.
    pub digest: Digest,
    /// What it is.
    pub status: SecretStatus,
    /// Until when, where an end was set.
    pub ends_at: Option<Timestamp>,
    /// From when on it is older than the tenant allows.
    pub too_old_at: Option<Timestamp>,
}

/// The database's own time, and whether it is a standby, which may be behind and is never believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When the statement ran.
    pub time: Timestamp,
    /// `pg_is_in_recovery()`.
    pub is_standby: bool,
}

/// What a look-up found of a key. One that can't be read, such as with a scope that only a later version knows, is its
/// own trouble: those who were looked up beside it are found all the same.
pub type Found = (KeyId, Result<Known, StoreError>);

/// Looks these keys up, at least one, in one statement: all of it as it stood at one moment.
pub async fn look_up<S: Session>(session: &mut S, keys: &[KeyId]) -> Result<(Moment, Vec<Found>), StoreError> {
    // The ids come first and everything is joined to them one by one: in any other order SQLite would read every key.
    let rows = either(
        "SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) AS now, 0 AS is_standby,
            keys.id AS key_id, keys.tenant_id, keys.environment, keys.label, keys.status, keys.expires_at, keys.scopes,
            keys.allowlist, keys.allowlist_mode, keys.administrator_id, users.role, users.status AS user_status,
            tenants.status AS tenant_status, tenants.tier, tenants.allowlist AS tenant_allowlist,
            tenants.allowlist_mode AS tenant_allowlist_mode, tenants.policies, epochs.epoch,
            secrets.id AS secret_id, secrets.digest, secrets.status AS secret_status, secrets.created_at,
            secrets.ends_at
        FROM json_each($1) AS wanted
        LEFT JOIN keys ON keys.id = wanted.value
        LEFT JOIN tenants ON tenants.id = keys.tenant_id
        LEFT JOIN epochs ON epochs.tenant_id = keys.tenant_id
        LEFT JOIN users ON users.id = keys.administrator_id AND users.tenant_id = keys.tenant_id
        LEFT JOIN secrets ON secrets.key_id = keys.id AND secrets.tenant_id = keys.tenant_id
        ORDER BY keys.id, CASE WHEN secrets.status = 'dead' THEN 1 ELSE 0 END, secrets.created_at DESC, secrets.id DESC",
        "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now, pg_is_in_recovery() AS is_standby,
            keys.id AS key_id, keys.tenant_id, keys.environment, keys.label, keys.status, keys.expires_at, keys.scopes,
            keys.allowlist, keys.allowlist_mode, keys.administrator_id, users.role, users.status AS user_status,
            tenants.status AS tenant_status, tenants.tier, tenants.allowlist AS tenant_allowlist,
            tenants.allowlist_mode AS tenant_allowlist_mode, tenants.policies, epochs.epoch,
            secrets.id AS secret_id, secrets.digest, secrets.status AS secret_status, secrets.created_at,
            secrets.ends_at
        FROM json_array_elements_text($1::json) AS wanted (id)
        LEFT JOIN keys ON keys.id = wanted.id
        LEFT JOIN tenants ON tenants.id = keys.tenant_id
        LEFT JOIN epochs ON epochs.tenant_id = keys.tenant_id
        LEFT JOIN users ON users.id = keys.administrator_id AND users.tenant_id = keys.tenant_id
        LEFT JOIN secrets ON secrets.key_id = keys.id AND secrets.tenant_id = keys.tenant_id
        ORDER BY keys.id, CASE WHEN secrets.status = 'dead' THEN 1 ELSE 0 END, secrets.created_at DESC, secrets.id DESC",
    )
    .bind(Json(keys))
    .all(session)
    .await?;
    let Some(first) = rows.first() else {
        return Err(StoreError::Corrupt("a look-up answered without the time".to_owned()));
    };
    let moment = Moment { time: first.get("now")?, is_standby: first.get("is_standby")? };
    let mut found: Vec<Found> = Vec::new();
    for row in &rows {
        // A key whose tenant, administrator or secrets are gone is as good as none.
        let complete = row.get::<Option<String>>("role")?.is_some()
            && row.get::<Option<Vec<u8>>>("epoch")?.is_some()
            && row.get::<Option<String>>("secret_id")?.is_some();
        let Some(key) = row.get::<Option<KeyId>>("key_id")?.filter(|_| complete) else { continue };
        match found.last_mut().filter(|(before, _)| *before == key) {
            Some((_, Ok(known))) if known.secrets.len() >= SECRETS_MAX => {}
            Some((_, known)) => add_secret(known, row),
            None => found.push((key, read_known(row, key))),
        }
    }
    Ok((moment, found))
}

fn add_secret(known: &mut Result<Known, StoreError>, row: &Row) {
    let Ok(key) = known else { return };
    match read_secret(row, key.secret_age_ms_max) {
        Ok(secret) => key.secrets.push(secret),
        Err(error) => *known = Err(error),
    }
}

fn read_known(row: &Row, key: KeyId) -> Result<Known, StoreError> {
    let Json(scopes) = row.get::<Json<Vec<String>>>("scopes")?;
    let scopes = Scopes::parse(&scopes).map_err(|error| StoreError::Corrupt(format!("scopes of {key}: {error}")))?;
    let Json(allowlist) = row.get("allowlist")?;
    let Json(tenant_allowlist) = row.get("tenant_allowlist")?;
    let Json(policies) = row.get::<Json<Policies>>("policies")?;
    let scope = EnvScope { tenant: row.get("tenant_id")?, environment: row.get("environment")? };
    let secret_age_ms_max = policies.secret_age_ms_max(scope.environment);
    Ok(Known {
        key,
        scope,
        label: row.get("label")?,
        status: row.parse("status")?,
        expires_at: row.get("expires_at")?,
        scopes,
        allowlist,
        allowlist_mode: row.parse("allowlist_mode")?,
        secrets: vec![read_secret(row, secret_age_ms_max)?],
        secret_age_ms_max,
        administrator: row.get("administrator_id")?,
        role: row.parse("role")?,
        user_status: row.parse("user_status")?,
        tenant_status: row.parse("tenant_status")?,
        tier: row.parse("tier")?,
        tenant_allowlist,
        tenant_allowlist_mode: row.parse("tenant_allowlist_mode")?,
        keys_may_manage_identity: policies.keys_may_manage_identity,
        epoch: Epoch(row.get("epoch")?),
    })
}

fn read_secret(row: &Row, age_ms_max: Option<i64>) -> Result<KnownSecret, StoreError> {
    let created_at: Timestamp = row.get("created_at")?;
    Ok(KnownSecret {
        id: row.get("secret_id")?,
        digest: Digest(row.get("digest")?),
        status: row.parse("secret_status")?,
        ends_at: row.get("ends_at")?,
        too_old_at: age_ms_max.map(|ms| created_at.plus(ms)),
    })
}

/// Tenants' epochs, by ids that the server made: nobody can choose many which lie in one place.
pub type Epochs = foldhash::HashMap<TenantId, Epoch>;

/// What [`epochs`] and the gate's own reader ask.
pub(crate) fn epochs_query() -> Query {
    either(
        "SELECT clock.now, clock.is_standby, epochs.tenant_id, epochs.epoch
        FROM (SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) AS now, 0 AS is_standby) AS clock
        LEFT JOIN json_each($1) AS wanted
        LEFT JOIN epochs ON epochs.tenant_id = wanted.value",
        "SELECT clock.now, clock.is_standby, epochs.tenant_id, epochs.epoch
        FROM (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now, pg_is_in_recovery() AS is_standby) AS clock
        LEFT JOIN epochs ON epochs.tenant_id = ANY (ARRAY (SELECT json_array_elements_text($1::json)))",
    )
}

/// The epochs of these tenants, with the time, in one statement. A tenant that is gone has none.
pub async fn epochs<S: Session>(session: &mut S, tenants: &[TenantId]) -> Result<(Moment, Epochs), StoreError> {
    let rows = epochs_query().bind(Json(tenants)).all(session).await?;
    let Some(first) = rows.first() else {
        return Err(StoreError::Corrupt("an epoch read answered without the time".to_owned()));
    };
    let moment = Moment { time: first.get("now")?, is_standby: first.get("is_standby")? };
    let mut epochs = Epochs::with_capacity_and_hasher(tenants.len(), foldhash::fast::RandomState::default());
    for row in &rows {
        if let Some(tenant) = row.get::<Option<TenantId>>("tenant_id")? {
            epochs.insert(tenant, Epoch(row.get("epoch")?));
        }
    }
    Ok((moment, epochs))
}

/// Locks that a writing transaction shares with other writers and that a barrier waits for. In this order, always:
/// tenant, user, key. Nothing on SQLite: its writers come one after the other.
pub async fn lock_shared(tx: &mut Tx, names: [&str; 3]) -> Result<(), StoreError> {
    if tx.is_postgres() {
        either(
            "SELECT $1, $2, $3",
            "SELECT pg_advisory_xact_lock_shared($1), pg_advisory_xact_lock_shared($2), pg_advisory_xact_lock_shared($3)",
        )
        .bind(lock_number(names[0]))
        .bind(lock_number(names[1]))
        .bind(lock_number(names[2]))
        .run(tx)
        .await?;
    }
    Ok(())
}

/// The same lock alone: waits for all who share it. Whoever holds more takes this first, in the order of `lock_shared`, or
/// begins anew where two want each other's.
pub async fn lock_exclusive(tx: &mut Tx, name: &str) -> Result<(), StoreError> {
    if tx.is_postgres() {
        // Longer than any other lock is waited for: whoever holds it ends within the bounds of its transaction.
        either("SELECT 1", "SELECT set_config('lock_timeout', '20s', true)").run(tx).await?;
        either("SELECT $1", "SELECT pg_advisory_xact_lock($1)").bind(lock_number(name)).run(tx).await?;
    }
    Ok(())
}

/// The first 8 bytes of SHA-256 of the id, whose prefix is its kind.
fn lock_number(name: &str) -> i64 {
    use sha2::{Digest as _, Sha256};
    let hash = Sha256::digest(name.as_bytes());
    hash.iter().take(8).fold(0, |number, byte| (number << 8) | i64::from(*byte))
}

/// Sets every epoch anew: `restore` does so before it serves.
pub async fn renew_epochs(tx: &mut Tx) -> Result<(), StoreError> {
    either("UPDATE epochs SET epoch = randomblob(16)", "UPDATE epochs SET epoch = uuid_send(gen_random_uuid())")
        .run(tx)
        .await?;
    Ok(())
}
