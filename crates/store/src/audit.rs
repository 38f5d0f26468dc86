//! The audit log: dense numbers and a chain per tenant, written in the transaction of what it records.

use model::audit::{Entry, Record, chain, chain_start};
use model::event::Hash;
use model::{AuditId, Caller, EnvScope, Random, TenantScope, Timestamp};

use crate::sql::{Json, Row, sql};
use crate::{StoreError, Tx};

/// Entries of one page at most.
pub const PAGE_ROWS_MAX: u32 = 500;

/// Write an entry. It takes the tenant's counter, so it stands after the change itself and before
/// `event::append`: every transaction takes the two in this order.
pub async fn append(
    tx: &mut Tx,
    caller: &Caller,
    now: Timestamp,
    random: &dyn Random,
    entry: Entry,
) -> Result<Record, StoreError> {
    let tenant = caller.scope.tenant;
    // The row that comes back holds the new number and still the old hash.
    let counter = sql("INSERT INTO counters (tenant_id, environment, name, seq, hash)
        VALUES ($1, '', 'audit', 1, $2)
        ON CONFLICT (tenant_id, environment, name) DO UPDATE
        SET seq = counters.seq + 1
        RETURNING seq, hash")
    .bind(tenant)
    .bind(chain_start(tenant))
    .one(tx)
    .await?;
    let record = Record {
        id: AuditId::new(now, random),
        seq: counter.get("seq")?,
        at: now,
        environment: (!entry.is_tenant_wide()).then_some(caller.scope.environment),
        actor: caller.actor(),
        address: caller.address.map(|address| address.to_canonical().to_string()),
        request_id: caller.request_id.clone(),
        action: entry.action.to_owned(),
        object: entry.object,
        before: entry.before,
        after: entry.after,
    };
    let hash = chain(&counter.get("hash")?, &record);
    insert(tx, caller.tenant_scope(), &record, &hash).await?;
    sql("UPDATE counters
        SET hash = $2
        WHERE tenant_id = $1 AND environment = '' AND name = 'audit'")
    .bind(tenant)
    .bind(hash)
    .run(tx)
    .await?;
    Ok(record)
}

async fn insert(tx: &mut Tx, scope: TenantScope, record: &Record, hash: &Hash) -> Result<(), StoreError> {
    sql("INSERT INTO audit
            (id, tenant_id, environment, seq, at, actor, action, object, address, request_id, before, after, hash)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)")
    .bind(record.id)
    .bind(scope.tenant)
    .bind(record.environment)
    .bind(record.seq)
    .bind(record.at)
    .bind(Json(&record.actor))
    .bind(&record.action)
    .bind(&record.object)
    .bind(&record.address)
    .bind(&record.request_id)
    .bind(record.before.as_ref().map(Json))
    .bind(record.after.as_ref().map(Json))
    .bind(*hash)
    .run(tx)
    .await?;
    Ok(())
}

/// Which entries a list shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those about this object.
    pub object: Option<String>,
    /// Those with this action.
    pub action: Option<String>,
    /// Those by this user or key, by id; or by the `operator` or the `system`.
    pub actor: Option<String>,
    /// Those at this time or later.
    pub since: Option<Timestamp>,
    /// Those before this time.
    pub until: Option<Timestamp>,
    /// Also those that are the whole tenant's and in no environment.
    pub tenant_wide: bool,
}

/// Entries of one environment, newest first, a page at a time: `before` is the number of the last of the page before.
pub async fn list(
    tx: &mut Tx,
    scope: EnvScope,
    filter: &Filter,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<Record>, StoreError> {
    let rows = sql("SELECT id, environment, seq, at, actor, action, object, address, request_id, before, after
        FROM audit
        WHERE tenant_id = $1
            AND (environment = $2 OR (environment IS NULL AND $3))
            AND (CAST($4 AS TEXT) IS NULL OR object = $4)
            AND (CAST($5 AS TEXT) IS NULL OR action = $5)
            AND (CAST($6 AS BIGINT) IS NULL OR seq < $6)
            AND (CAST($8 AS TEXT) IS NULL OR actor_id = $8)
            AND (CAST($9 AS BIGINT) IS NULL OR at >= $9)
            AND (CAST($10 AS BIGINT) IS NULL OR at < $10)
        ORDER BY seq DESC
        LIMIT $7")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(filter.tenant_wide)
    .bind(&filter.object)
    .bind(&filter.action)
    .bind(before)
    .bind(limit.min(PAGE_ROWS_MAX))
    .bind(&filter.actor)
    .bind(filter.since)
    .bind(filter.until)
    .all(tx)
    .await?;
    rows.iter().map(read).collect()
}

/// The whole tenant's entries with their hashes, oldest first, a page at a time: to check the chain.
pub async fn links(tx: &mut Tx, scope: TenantScope, after: i64, limit: u32) -> Result<Vec<(Record, Hash)>, StoreError> {
    let rows = sql("SELECT id, environment, seq, at, actor, action, object, address, request_id, before, after, hash
        FROM audit
        WHERE tenant_id = $1 AND seq > $2
        ORDER BY seq
        LIMIT $3")
    .bind(scope.tenant)
    .bind(after)
    .bind(limit.min(PAGE_ROWS_MAX))
    .all(tx)
    .await?;
    rows.iter().map(|row| Ok((read(row)?, row.get("hash")?))).collect()
}

/// The chain's end: the last number and hash; zero and its beginning where nothing is written yet.
pub async fn head(tx: &mut Tx, scope: TenantScope) -> Result<(i64, Hash), StoreError> {
    let row = sql("SELECT seq, hash
        FROM counters
        WHERE tenant_id = $1 AND environment = '' AND name = 'audit'")
    .bind(scope.tenant)
    .optional(tx)
    .await?;
    row.map_or(Ok((0, chain_start(scope.tenant))), |row| Ok((row.get("seq")?, row.get("hash")?)))
}

fn read(row: &Row) -> Result<Record, StoreError> {
    Ok(Record {
        id: row.get("id")?,
        seq: row.get("seq")?,
        at: row.get("at")?,
        environment: row.get("environment")?,
        actor: row.get::<Json<_>>("actor")?.0,
        address: row.get("address")?,
        request_id: row.get("request_id")?,
        action: row.get("action")?,
        object: row.get("object")?,
        before: row.get::<Option<Json<_>>>("before")?.map(|json| json.0),
        after: row.get::<Option<Json<_>>>("after")?.map(|json| json.0),
    })
}
