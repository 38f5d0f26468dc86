//! What keys are used for: last uses, calls per hour, addresses and refusals, as the nodes write them and as they are read.
//!
//! Telemetry lies in tables of its own that the epoch does not see. Rows are written for keys that the gate has looked up,
//! so they name the key alone; who reads them names tenant and environment.

use model::{EnvScope, KeyId, SecretId, Timestamp};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::net::IpAddr;

use crate::sql::{Json, Query, Row, either, sql};
use crate::{Session, StoreError, Tx};

/// Refusals that are kept of a key, the last ones.
pub const REFUSALS_MAX: u32 = 100;
/// Addresses that are kept of a key, those seen last.
pub const ADDRESSES_MAX: u32 = 1_000;
/// Addresses of one page at most.
pub const PAGE_ROWS_MAX: u32 = 200;
/// A node that has not been seen for so long is not waited for.
pub const NODE_SILENT_MS_MAX: i64 = 30_000;

/// The last use of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastUse {
    /// Which secret.
    pub secret: SecretId,
    /// Of which key.
    pub key: KeyId,
    /// When.
    pub at: Timestamp,
    /// From where.
    pub address: IpAddr,
    /// By what program, as it said.
    pub user_agent: String,
    /// For what.
    pub route: &'static str,
}

/// The last request of a key that the gate let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastPass {
    /// When.
    pub at: Timestamp,
    /// From where.
    pub address: IpAddr,
    /// For what.
    pub route: Cow<'static, str>,
    /// Which.
    pub request_id: String,
}

/// How often a route of an hour was answered with a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calls {
    /// When the hour began.
    pub hour: Timestamp,
    /// The route.
    pub route: Cow<'static, str>,
    /// The status.
    pub status: u16,
    /// How often.
    pub count: u64,
}

/// An address that a key was used from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The address.
    pub address: IpAddr,
    /// When first.
    pub first_at: Timestamp,
    /// When last.
    pub last_at: Timestamp,
    /// How often.
    pub count: u64,
}

/// A request of a key that was refused, or would have been by an allowlist that only observes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// When.
    pub at: Timestamp,
    /// The problem's code.
    pub code: Cow<'static, str>,
    /// False: it would have been, and passed.
    pub was_refused: bool,
    /// It was let in before, and what was still to come of its answer was cut off.
    pub was_cut: bool,
    /// From where.
    pub address: IpAddr,
    /// By what program, as it said.
    pub user_agent: String,
    /// For what.
    pub route: Cow<'static, str>,
    /// Which request.
    pub request_id: String,
}

/// What a node noted of one key since it last wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Of each of its secrets that was used.
    pub uses: Vec<LastUse>,
    /// The last request that was let through.
    pub passed: Option<LastPass>,
    /// Its calls.
    pub calls: Vec<Calls>,
    /// Where from.
    pub addresses: Vec<Seen>,
    /// What was refused, the oldest first.
    pub refusals: Vec<Refusal>,
}

/// Writes what a node noted, last uses forward only. Rows come in the order of their keys: two nodes that write at the same
/// moment don't wait for each other in a circle.
pub async fn write(tx: &mut Tx, notes: &[(KeyId, Notes)]) -> Result<(), StoreError> {
    let rows = |of: &dyn Fn(&KeyId, &Notes, &mut Vec<Value>)| {
        let mut rows = Vec::new();
        for (key, notes) in notes {
            of(key, notes, &mut rows);
        }
        rows
    };
    let uses = rows(&|_, notes, rows| rows.extend(notes.uses.iter().map(use_row)));
    let passes = rows(&|key, notes, rows| rows.extend(notes.passed.iter().map(|passed| pass_row(*key, passed))));
    let calls = rows(&|key, notes, rows| rows.extend(notes.calls.iter().map(|calls| calls_row(*key, calls))));
    let addresses = rows(&|key, notes, rows| rows.extend(notes.addresses.iter().map(|seen| seen_row(*key, seen))));
    let refusals = rows(&|key, notes, rows| rows.extend(notes.refusals.iter().map(|one| refusal_row(*key, one))));
    write_uses(tx, uses).await?;
    write_passes(tx, passes).await?;
    write_calls(tx, calls).await?;
    write_addresses(tx, addresses).await?;
    write_refusals(tx, refusals).await
}

fn use_row(used: &LastUse) -> Value {
    json!({
        "secret_id": used.secret,
        "key_id": used.key,
        "at": used.at.millis(),
        "address": used.address.to_string(),
        "user_agent": used.user_agent,
        "route": used.route,
    })
}

fn pass_row(key: KeyId, passed: &LastPass) -> Value {
    json!({
        "key_id": key,
        "at": passed.at.millis(),
        "address": passed.address.to_string(),
        "route": passed.route,
        "request_id": passed.request_id,
    })
}

fn calls_row(key: KeyId, calls: &Calls) -> Value {
    json!({
        "key_id": key,
        "hour": calls.hour.millis(),
        "route": calls.route,
        "status": calls.status,
        "count": calls.count,
    })
}

fn seen_row(key: KeyId, seen: &Seen) -> Value {
    json!({
        "key_id": key,
        "address": seen.address.to_string(),
        "first_at": seen.first_at.millis(),
        "last_at": seen.last_at.millis(),
        "count": seen.count,
    })
}

fn refusal_row(key: KeyId, refusal: &Refusal) -> Value {
    json!({
        "key_id": key,
        "at": refusal.at.millis(),
        "code": refusal.code,
        "was_refused": refusal.was_refused,
        "was_cut": refusal.was_cut,
        "address": refusal.address.to_string(),
        "user_agent": refusal.user_agent,
        "route": refusal.route,
        "request_id": refusal.request_id,
    })
}

/// Runs a query that takes these rows apart; nothing where there are none.
async fn run(tx: &mut Tx, query: Query, rows: Vec<Value>) -> Result<(), StoreError> {
    if !rows.is_empty() {
        query.bind(Json(rows)).run(tx).await?;
    }
    Ok(())
}

async fn write_uses(tx: &mut Tx, rows: Vec<Value>) -> Result<(), StoreError> {
    // Those of secrets that are gone are left out.
    let query = either(
        "INSERT INTO key_uses (secret_id, key_id, at, address, user_agent, route)
        SELECT value ->> 'secret_id', value ->> 'key_id', value ->> 'at', value ->> 'address', value ->> 'user_agent',
            value ->> 'route'
        FROM json_each($1)
        WHERE value ->> 'secret_id' IN (SELECT id FROM secrets)
        ORDER BY 1
        ON CONFLICT (secret_id) DO UPDATE
        SET at = excluded.at, address = excluded.address, user_agent = excluded.user_agent, route = excluded.route
        WHERE key_uses.at < excluded.at",
        "INSERT INTO key_uses (secret_id, key_id, at, address, user_agent, route)
        SELECT used.secret_id, used.key_id, used.at, used.address, used.user_agent, used.route
        FROM json_to_recordset($1::json) AS used (secret_id text, key_id text, at bigint, address text,
            user_agent text, route text)
        JOIN secrets ON secrets.id = used.secret_id
        ORDER BY used.secret_id
        ON CONFLICT (secret_id) DO UPDATE
        SET at = excluded.at, address = excluded.address, user_agent = excluded.user_agent, route = excluded.route
        WHERE key_uses.at < excluded.at",
    );
    run(tx, query, rows).await
}

async fn write_passes(tx: &mut Tx, rows: Vec<Value>) -> Result<(), StoreError> {
    let query = either(
        "INSERT INTO key_passes (key_id, at, address, route, request_id)
        SELECT value ->> 'key_id', value ->> 'at', value ->> 'address', value ->> 'route', value ->> 'request_id'
        FROM json_each($1)
        WHERE true
        ORDER BY 1
        ON CONFLICT (key_id) DO UPDATE
        SET at = excluded.at, address = excluded.address, route = excluded.route, request_id = excluded.request_id
        WHERE key_passes.at < excluded.at",
        "INSERT INTO key_passes (key_id, at, address, route, request_id)
        SELECT passed.key_id, passed.at, passed.address, passed.route, passed.request_id
        FROM json_to_recordset($1::json) AS passed (key_id text, at bigint, address text, route text, request_id text)
        ORDER BY passed.key_id
        ON CONFLICT (key_id) DO UPDATE
        SET at = excluded.at, address = excluded.address, route = excluded.route, request_id = excluded.request_id
        WHERE key_passes.at < excluded.at",
    );
    run(tx, query, rows).await
}

async fn write_calls(tx: &mut Tx, rows: Vec<Value>) -> Result<(), StoreError> {
    let query = either(
        "INSERT INTO key_calls (key_id, hour, route, status, count)
        SELECT value ->> 'key_id', value ->> 'hour', value ->> 'route', value ->> 'status', value ->> 'count'
        FROM json_each($1)
        WHERE true
        ORDER BY 1, 2, 3, 4
        ON CONFLICT (key_id, hour, route, status) DO UPDATE
        SET count = key_calls.count + excluded.count",
        "INSERT INTO key_calls (key_id, hour, route, status, count)
        SELECT calls.key_id, calls.hour, calls.route, calls.status, calls.count
        FROM json_to_recordset($1::json) AS calls (key_id text, hour bigint, route text, status bigint, count bigint)
        ORDER BY calls.key_id COLLATE \"C\", calls.hour, calls.route COLLATE \"C\", calls.status
        ON CONFLICT (key_id, hour, route, status) DO UPDATE
        SET count = key_calls.count + excluded.count",
    );
    run(tx, query, rows).await
}

async fn write_addresses(tx: &mut Tx, rows: Vec<Value>) -> Result<(), StoreError> {
    let query = either(
        "INSERT INTO key_addresses (key_id, address, first_at, last_at, count)
        SELECT value ->> 'key_id', value ->> 'address', value ->> 'first_at', value ->> 'last_at', value ->> 'count'
        FROM json_each($1)
        WHERE true
        ORDER BY 1, 2
        ON CONFLICT (key_id, address) DO UPDATE
        SET first_at = min(key_addresses.first_at, excluded.first_at),
            last_at = max(key_addresses.last_at, excluded.last_at),
            count = key_addresses.count + excluded.count",
        "INSERT INTO key_addresses (key_id, address, first_at, last_at, count)
        SELECT seen.key_id, seen.address, seen.first_at, seen.last_at, seen.count
        FROM json_to_recordset($1::json) AS seen (key_id text, address text, first_at bigint, last_at bigint, count bigint)
        ORDER BY seen.key_id COLLATE \"C\", seen.address COLLATE \"C\"
        ON CONFLICT (key_id, address) DO UPDATE
        SET first_at = least(key_addresses.first_at, excluded.first_at),
            last_at = greatest(key_addresses.last_at, excluded.last_at),
            count = key_addresses.count + excluded.count",
    );
    run(tx, query, rows).await
}

/// Writes refusals, and lets those go that are older than the last 100 of their key.
async fn write_refusals(tx: &mut Tx, rows: Vec<Value>) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut keys: Vec<Value> = rows.iter().map(|row| row["key_id"].clone()).collect();
    keys.dedup();
    let query = either(
        "INSERT INTO key_refusals (key_id, at, request_id, code, was_refused, was_cut, address, user_agent, route)
        SELECT value ->> 'key_id', value ->> 'at', value ->> 'request_id', value ->> 'code', value ->> 'was_refused',
            value ->> 'was_cut', value ->> 'address', value ->> 'user_agent', value ->> 'route'
        FROM json_each($1)
        WHERE true
        ORDER BY 1, 2, 3, 4
        ON CONFLICT (key_id, at, request_id, code) DO NOTHING",
        "INSERT INTO key_refusals (key_id, at, request_id, code, was_refused, was_cut, address, user_agent, route)
        SELECT one.key_id, one.at, one.request_id, one.code, one.was_refused, one.was_cut, one.address, one.user_agent, one.route
        FROM json_to_recordset($1::json) AS one (key_id text, at bigint, request_id text, code text, was_refused boolean,
            was_cut boolean, address text, user_agent text, route text)
        ORDER BY one.key_id COLLATE \"C\", one.at, one.request_id COLLATE \"C\",
            one.code COLLATE \"C\"
        ON CONFLICT (key_id, at, request_id, code) DO NOTHING",
    );
    run(tx, query, rows).await?;
    either(
        "DELETE FROM key_refusals
        WHERE (key_id, at, request_id, code) IN (
            SELECT key_id, at, request_id, code
            FROM (SELECT key_id, at, request_id, code,
                    row_number() OVER (PARTITION BY key_id ORDER BY at DESC, request_id DESC, code) AS place
                FROM key_refusals
                WHERE key_id IN (SELECT value FROM json_each($1))) AS ranked
            WHERE place > $2)",
        "DELETE FROM key_refusals
        WHERE (key_id, at, request_id, code) IN (
            SELECT key_id, at, request_id, code
            FROM (SELECT key_id, at, request_id, code,
                    row_number() OVER (PARTITION BY key_id ORDER BY at DESC, request_id DESC, code) AS place
                FROM key_refusals
                WHERE key_id = ANY (ARRAY(SELECT json_array_elements_text($1::json)))) AS ranked
            WHERE place > $2)",
    )
    .bind(Json(keys))
    .bind(REFUSALS_MAX)
    .run(tx)
    .await?;
    Ok(())
}

/// Lets go what is older than `before`, and of each key's addresses all but the last ones.
pub async fn prune(tx: &mut Tx, before: Timestamp) -> Result<(), StoreError> {
    sql("DELETE FROM key_calls WHERE hour < $1").bind(before).run(tx).await?;
    sql("DELETE FROM key_addresses WHERE last_at < $1").bind(before).run(tx).await?;
    sql("DELETE FROM nodes WHERE seen_at < $1").bind(before).run(tx).await?;
    sql("DELETE FROM key_addresses
        WHERE (key_id, address) IN (
            SELECT key_id, address
            FROM (SELECT key_id, address,
                    row_number() OVER (PARTITION BY key_id ORDER BY last_at DESC, address DESC) AS place
                FROM key_addresses) AS ranked
            WHERE place > $1)")
    .bind(ADDRESSES_MAX)
    .run(tx)
    .await?;
    Ok(())
}

/// A name for a node that no other has, and that tells nothing.
pub async fn node_name<S: Session>(session: &mut S) -> Result<String, StoreError> {
    let row = either("SELECT lower(hex(randomblob(16))) AS id", "SELECT gen_random_uuid()::text AS id").one(session);
    row.await?.get("id")
}

/// Puts on record that a node lives, and that it has written all that it noted of requests that were admitted before
/// `written_at`.
pub async fn node_written(tx: &mut Tx, node: &str, written_at: Timestamp) -> Result<(), StoreError> {
    either(
        "INSERT INTO nodes (id, started_at, seen_at, written_at)
        SELECT $1, clock.now, clock.now, CAST($2 AS BIGINT)
        FROM (SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) AS now) AS clock
        WHERE true
        ON CONFLICT (id) DO UPDATE
        SET seen_at = excluded.seen_at, written_at = excluded.written_at",
        "INSERT INTO nodes (id, started_at, seen_at, written_at)
        SELECT $1, clock.now, clock.now, CAST($2 AS BIGINT)
        FROM (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now) AS clock
        ON CONFLICT (id) DO UPDATE
        SET seen_at = excluded.seen_at, written_at = excluded.written_at",
    )
    .bind(node)
    .bind(written_at)
    .run(tx)
    .await?;
    Ok(())
}

/// A node has written everything and ends: nobody waits for it.
pub async fn node_ended(tx: &mut Tx, node: &str) -> Result<(), StoreError> {
    sql("DELETE FROM nodes WHERE id = $1").bind(node).run(tx).await?;
    Ok(())
}

/// Up to when every node that lives has written what it noted; none where no node lives. A node that has not been seen for
/// 30 s is not waited for.
pub async fn written_until<S: Session>(session: &mut S) -> Result<Option<Timestamp>, StoreError> {
    either(
        "SELECT min(written_at) AS written_at
        FROM nodes
        WHERE seen_at > CAST(unixepoch('subsec') * 1000 AS INTEGER) - $1",
        "SELECT min(written_at) AS written_at
        FROM nodes
        WHERE seen_at > floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint - $1",
    )
    .bind(NODE_SILENT_MS_MAX)
    .one(session)
    .await?
    .get("written_at")
}

/// The last request of the key that was let through, as far as it is written.
pub async fn last_pass(tx: &mut Tx, scope: EnvScope, key: KeyId) -> Result<Option<LastPass>, StoreError> {
    sql("SELECT p.at, p.address, p.route, p.request_id
        FROM keys k
        JOIN key_passes p ON p.key_id = k.id
        WHERE k.tenant_id = $1 AND k.environment = $2 AND k.id = $3")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(key)
    .optional(tx)
    .await?
    .map(|row| {
        Ok(LastPass {
            at: row.get("at")?,
            address: row.parse("address")?,
            route: Cow::Owned(row.get("route")?),
            request_id: row.get("request_id")?,
        })
    })
    .transpose()
}

/// How often the key called in an hour, and how often it was answered with a refusal or fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hour {
    /// When it began.
    pub hour: Timestamp,
    /// All calls.
    pub calls: u64,
    /// Those with a status of 400 or above.
    pub failed: u64,
}

/// The hours from `from` up to `to` in which the key called, the earliest first.
pub async fn hours(
    tx: &mut Tx,
    scope: EnvScope,
    key: KeyId,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<Hour>, StoreError> {
    let rows = sql("SELECT c.hour, CAST(sum(c.count) AS BIGINT) AS calls,
            CAST(sum(CASE WHEN c.status >= 400 THEN c.count ELSE 0 END) AS BIGINT) AS failed
        FROM keys k
        JOIN key_calls c ON c.key_id = k.id
        WHERE k.tenant_id = $1 AND k.environment = $2 AND k.id = $3 AND c.hour >= $4 AND c.hour < $5
        GROUP BY c.hour
        ORDER BY c.hour")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(key)
    .bind(from)
    .bind(to)
    .all(tx)
    .await?;
    rows.iter()
        .map(|row| Ok(Hour { hour: row.get("hour")?, calls: row.get("calls")?, failed: row.get("failed")? }))
        .collect()
}

/// The key's calls in that time by route and status; `hour` is the latest in which there was one.
pub async fn routes(
    tx: &mut Tx,
    scope: EnvScope,
    key: KeyId,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<Calls>, StoreError> {
    let rows = sql("SELECT c.route, c.status, max(c.hour) AS hour, CAST(sum(c.count) AS BIGINT) AS count
        FROM keys k
        JOIN key_calls c ON c.key_id = k.id
        WHERE k.tenant_id = $1 AND k.environment = $2 AND k.id = $3 AND c.hour >= $4 AND c.hour < $5
        GROUP BY c.route, c.status
        ORDER BY c.route, c.status")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(key)
    .bind(from)
    .bind(to)
    .all(tx)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Calls {
                hour: row.get("hour")?,
                route: Cow::Owned(row.get("route")?),
                status: u16::try_from(row.get::<i64>("status")?)
                    .map_err(|_| StoreError::Corrupt("a status of calls is none".to_owned()))?,
                count: row.get("count")?,
            })
        })
        .collect()
}

/// The addresses that the key was used from, those seen last first, a page at a time.
pub async fn addresses(
    tx: &mut Tx,
    scope: EnvScope,
    key: KeyId,
    after: Option<(Timestamp, IpAddr)>,
    limit: u32,
) -> Result<Vec<Seen>, StoreError> {
    let rows = sql("SELECT a.address, a.first_at, a.last_at, a.count
        FROM keys k
        JOIN key_addresses a ON a.key_id = k.id
        WHERE k.tenant_id = $1 AND k.environment = $2 AND k.id = $3
            AND (CAST($4 AS BIGINT) IS NULL OR a.last_at < $4 OR (a.last_at = $4 AND a.address < $5))
        ORDER BY a.last_at DESC, a.address DESC
        LIMIT $6")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(key)
    .bind(after.map(|(at, _)| at))
    .bind(after.map(|(_, address)| address.to_string()))
    .bind(limit.min(PAGE_ROWS_MAX + 1))
    .all(tx)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Seen {
                address: row.parse("address")?,
                first_at: row.get("first_at")?,
                last_at: row.get("last_at")?,
                count: row.get("count")?,
            })
        })
        .collect()
}

/// The key's last refusals, the latest first.
pub async fn refusals(tx: &mut Tx, scope: EnvScope, key: KeyId) -> Result<Vec<Refusal>, StoreError> {
    let rows = sql("SELECT r.at, r.code, r.was_refused, r.was_cut, r.address, r.user_agent, r.route, r.request_id
        FROM keys k
        JOIN key_refusals r ON r.key_id = k.id
        WHERE k.tenant_id = $1 AND k.environment = $2 AND k.id = $3
        ORDER BY r.at DESC, r.request_id DESC, r.code
        LIMIT $4")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(key)
    .bind(REFUSALS_MAX)
    .all(tx)
    .await?;
    rows.iter().map(read_refusal).collect()
}

fn read_refusal(row: &Row) -> Result<Refusal, StoreError> {
    Ok(Refusal {
        at: row.get("at")?,
        code: Cow::Owned(row.get("code")?),
        was_refused: row.get("was_refused")?,
        was_cut: row.get("was_cut")?,
        address: row.parse("address")?,
        user_agent: row.get("user_agent")?,
        route: Cow::Owned(row.get("route")?),
        request_id: row.get("request_id")?,
    })
}

#[cfg(test)]
mod tests;
