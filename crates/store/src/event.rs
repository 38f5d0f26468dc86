//! The ordered log: numbers in commit order, a chain for each envelope.

use std::collections::BTreeMap;

use model::{
    Caller, Clock, EnvScope, EnvelopeId, EventId, Id, Random, Timestamp,
    caller::Actor,
    event::{Event, Hash, NewEvent, hex, link},
};
use serde_json::json;

use crate::{Json, Row, StoreError, Tx, either, sql};

/// Events of one page.
pub const EVENTS_PAGE_MAX: u32 = 500;

/// Gives the events their numbers and writes them. The counter's row lock is the last that a transaction takes, so that
/// numbers appear in commit order: whatever else is locked has to be locked before. Their envelopes' rows stand already.
pub async fn append(
    tx: &mut Tx,
    caller: &Caller,
    clock: &dyn Clock,
    random: &dyn Random,
    new: Vec<NewEvent>,
) -> Result<Vec<Event>, StoreError> {
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let scope = caller.scope;
    let mut heads = heads(tx, scope, &new).await?;
    let last = take_numbers(tx, scope, new.len()).await?;
    let first = last - new.len() as i64 + 1;
    let (now, actor) = (clock.now(), caller.actor());
    let mut events = Vec::with_capacity(new.len());
    let mut rows = Vec::with_capacity(new.len());
    for (seq, new) in (first..).zip(new) {
        let head = new.object.envelope().and_then(|id| heads.get_mut(&id));
        let event = Event {
            id: EventId::new(now, random),
            kind: new.kind.as_str().to_owned(),
            seq,
            envelope_seq: head.as_ref().map(|head| head.seq + 1),
            created_at: now,
            environment: scope.environment,
            actor: if new.kind.is_servers_own() { Actor::System } else { actor.clone() },
            data: new.data,
            previous: new.previous,
        };
        let (salts, hash) = link(&head.as_ref().map_or([0; 32], |head| head.chain), &event, random);
        let hash = head.map(|head| {
            (head.chain, head.seq, head.event) = (hash, head.seq + 1, Some((event.id, seq)));
            hex(&hash)
        });
        rows.push(json!({
            "seq": seq,
            "id": event.id,
            "type": event.kind,
            "envelope_id": new.object.envelope(),
            "envelope_seq": event.envelope_seq,
            "object_id": new.object.to_string(),
            "body": text(&event)?,
            "salts": text(&salts)?,
            "hash": hash,
        }));
        events.push(event);
    }
    insert(tx, scope, now, rows).await?;
    save_heads(tx, scope, &heads).await?;
    Ok(events)
}

/// A value as JSON within JSON.
pub(crate) fn text(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Unbindable(error.to_string()))
}

/// Where an envelope's chain stands.
struct Head {
    seq: i64,
    chain: Hash,
    event: Option<(EventId, i64)>,
}

async fn heads(tx: &mut Tx, scope: EnvScope, new: &[NewEvent]) -> Result<BTreeMap<EnvelopeId, Head>, StoreError> {
    let ids: Vec<EnvelopeId> = new.iter().filter_map(|event| event.object.envelope()).collect();
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = either(
        "SELECT id, envelope_seq, chain
        FROM envelopes
        WHERE tenant_id = $1 AND environment = $2 AND id IN (SELECT value FROM json_each($3))",
        "SELECT id, envelope_seq, chain
        FROM envelopes
        WHERE tenant_id = $1 AND environment = $2 AND id = ANY (ARRAY(SELECT json_array_elements_text($3::json)))",
    )
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(Json(&ids))
    .all(tx)
    .await?;
    rows.iter()
        .map(|row| {
            let chain: Vec<u8> = row.get("chain")?;
            let chain = chain.try_into().map_err(|_| StoreError::Corrupt("a chain is 32 bytes".to_owned()))?;
            Ok((row.get("id")?, Head { seq: row.get("envelope_seq")?, chain, event: None }))
        })
        .collect()
}

async fn take_numbers(tx: &mut Tx, scope: EnvScope, count: usize) -> Result<i64, StoreError> {
    sql("INSERT INTO counters (tenant_id, environment, name, seq, hash)
        VALUES ($1, $2, 'events', $3, $4)
        ON CONFLICT (tenant_id, environment, name) DO UPDATE SET seq = counters.seq + $3
        RETURNING seq")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(count)
    .bind(Vec::<u8>::new())
    .one(tx)
    .await?
    .get("seq")
}

async fn insert(tx: &mut Tx, scope: EnvScope, now: Timestamp, rows: Vec<serde_json::Value>) -> Result<(), StoreError> {
    either(
        "INSERT INTO events (tenant_id, environment, seq, id, type, envelope_id, envelope_seq, object_id, created_at,
            body, salts, hash)
        SELECT $1, $2, value ->> 'seq', value ->> 'id', value ->> 'type', value ->> 'envelope_id',
            value ->> 'envelope_seq', value ->> 'object_id', $3, value ->> 'body', value ->> 'salts',
            unhex(value ->> 'hash')
        FROM jsonb_each($4)",
        "INSERT INTO events (tenant_id, environment, seq, id, type, envelope_id, envelope_seq, object_id, created_at,
            body, salts, hash)
        SELECT $1, $2, seq, id, type, envelope_id, envelope_seq, object_id, $3, body, salts, decode(hash, 'hex')
        FROM json_to_recordset($4::json) AS row (seq bigint, id text, type text, envelope_id text, envelope_seq bigint,
            object_id text, body text, salts text, hash text)",
    )
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(now)
    .bind(Json(rows))
    .run(tx)
    .await?;
    Ok(())
}

async fn save_heads(tx: &mut Tx, scope: EnvScope, heads: &BTreeMap<EnvelopeId, Head>) -> Result<(), StoreError> {
    let rows: Vec<_> = heads
        .iter()
        .filter_map(|(id, head)| {
            let (event, seq) = head.event?;
            Some(json!({
                "id": id, "envelope_seq": head.seq, "chain": hex(&head.chain), "event_id": event, "event_seq": seq,
            }))
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    // The `+` keeps SQLite from looking at every envelope of the tenant, with the rows within.
    either(
        "UPDATE envelopes
        SET envelope_seq = row.value ->> 'envelope_seq', chain = unhex(row.value ->> 'chain'),
            last_event_id = row.value ->> 'event_id', last_event_seq = row.value ->> 'event_seq'
        FROM jsonb_each($3) AS row
        WHERE +tenant_id = $1 AND +environment = $2 AND envelopes.id = row.value ->> 'id'",
        "UPDATE envelopes
        SET envelope_seq = row.envelope_seq, chain = decode(row.chain, 'hex'),
            last_event_id = row.event_id, last_event_seq = row.event_seq
        FROM json_to_recordset($3::json) AS row (id text, envelope_seq bigint, chain text, event_id text, event_seq bigint)
        WHERE tenant_id = $1 AND environment = $2 AND envelopes.id = row.id",
    )
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(Json(rows))
    .run(tx)
    .await?;
    Ok(())
}

/// What a reader wants of the log.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only events of this envelope.
    pub envelope: Option<EnvelopeId>,
    /// Only these types, by name; empty means all.
    pub types: Vec<&'static str>,
}

/// The events after `seq`, oldest first.
pub async fn after(
    tx: &mut Tx,
    scope: EnvScope,
    seq: i64,
    filter: &Filter,
    limit: u32,
) -> Result<Vec<Event>, StoreError> {
    let rows = either(
        "SELECT body
        FROM events
        WHERE tenant_id = $1 AND environment = $2 AND seq > $3
            AND ($4 IS NULL OR envelope_id = $4)
            AND ($5 IS NULL OR type IN (SELECT value FROM json_each($5)))
        ORDER BY seq
        LIMIT $6",
        "SELECT body
        FROM events
        WHERE tenant_id = $1 AND environment = $2 AND seq > $3
            AND ($4::text IS NULL OR envelope_id = $4)
            AND ($5::text IS NULL OR type = ANY (ARRAY(SELECT json_array_elements_text($5::json))))
        ORDER BY seq
        LIMIT $6",
    )
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(seq)
    .bind(filter.envelope)
    .bind((!filter.types.is_empty()).then_some(Json(&filter.types)))
    .bind(limit)
    .all(tx)
    .await?;
    rows.iter().map(|row| Ok(row.get::<Json<Event>>("body")?.0)).collect()
}

/// The number of the newest event; 0 when there is none.
pub async fn newest(tx: &mut Tx, scope: EnvScope) -> Result<i64, StoreError> {
    let row = sql("SELECT seq
        FROM counters
        WHERE tenant_id = $1 AND environment = $2 AND name = 'events'")
    .bind(scope.tenant)
    .bind(scope.environment)
    .optional(tx)
    .await?;
    row.map_or(Ok(0), |row| row.get("seq"))
}

/// The newest number of every scope in `scopes`, by one read.
pub async fn newest_of(tx: &mut crate::Conn, tenants: &[model::TenantId]) -> Result<Vec<(EnvScope, i64)>, StoreError> {
    let rows = either(
        "SELECT tenant_id, environment, seq
        FROM counters
        WHERE name = 'events' AND tenant_id IN (SELECT value FROM json_each($1))",
        "SELECT tenant_id, environment, seq
        FROM counters
        WHERE name = 'events' AND tenant_id = ANY (ARRAY(SELECT json_array_elements_text($1::json)))",
    )
    .bind(Json(tenants))
    .all(tx)
    .await?;
    rows.iter()
        .map(|row| {
            Ok((EnvScope { tenant: row.get("tenant_id")?, environment: row.get("environment")? }, row.get("seq")?))
        })
        .collect()
}

/// An event of an envelope with what its chain needs.
pub struct Link {
    /// The event.
    pub event: Event,
    /// The salts of its personal leaves.
    pub salts: serde_json::Map<String, serde_json::Value>,
    /// The chain after it.
    pub hash: Hash,
}

/// An envelope's events with their chain, oldest first.
pub async fn chain_of(tx: &mut Tx, scope: EnvScope, envelope: EnvelopeId) -> Result<Vec<Link>, StoreError> {
    let rows = sql("SELECT body, salts, hash
        FROM events
        WHERE tenant_id = $1 AND environment = $2 AND envelope_id = $3
        ORDER BY envelope_seq")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(envelope)
    .all(tx)
    .await?;
    rows.iter().map(link_of).collect()
}

fn link_of(row: &Row) -> Result<Link, StoreError> {
    let hash: Vec<u8> = row.get("hash")?;
    Ok(Link {
        event: row.get::<Json<Event>>("body")?.0,
        salts: row.get::<Json<_>>("salts")?.0,
        hash: hash.try_into().map_err(|_| StoreError::Corrupt("a chain is 32 bytes".to_owned()))?,
    })
}

/// Rows in pages by key: `after` is the last id of the page before, newest first.
pub(crate) fn before<K: model::Kind>(after: Option<Id<K>>) -> String {
    // `~` sorts after every id's characters.
    after.map_or_else(|| "~".to_owned(), |id| id.to_string())
}
