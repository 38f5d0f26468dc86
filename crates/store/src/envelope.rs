//! Envelopes with their recipients: statements and rows.

use model::{
    EnvScope, EnvelopeId, LinkId, RecipientId, Timestamp,
    envelope::{BatchRef, Envelope, LastEvent, Status, TemplateRef},
    event::{chain_start, hex},
    recipient::{Recipient, RecipientKind, RecipientStatus},
    template::Content,
};
use serde_json::json;

use crate::{
    Json, Row, StoreError, Tx, either,
    event::{before, text},
    sql, template,
};

/// Writes new envelopes and their recipients by one statement each. The answer is how many went in: fewer than given
/// when an external id or a batch's row has one already, and then nothing of the transaction may be committed.
pub async fn insert(tx: &mut Tx, scope: EnvScope, envelopes: &[Envelope]) -> Result<u64, StoreError> {
    let rows = envelopes.iter().map(envelope_json).collect::<Result<Vec<_>, StoreError>>()?;
    let written = either(
        r#"INSERT INTO envelopes (id, tenant_id, environment, external_id, allow_duplicate, title, status, status_at,
            template_id, template_version, batch_id, batch_row, expires_at, "values", body, envelope_seq, chain,
            created_by, created_at, version)
        SELECT value ->> 'id', $1, $2, value ->> 'external_id', value ->> 'allow_duplicate', value ->> 'title',
            value ->> 'status', value ->> 'status_at', value ->> 'template_id', value ->> 'template_version',
            value ->> 'batch_id', value ->> 'batch_row', value ->> 'expires_at', value ->> 'values', value ->> 'body',
            0, unhex(value ->> 'chain'), value ->> 'created_by', value ->> 'created_at', 1
        FROM jsonb_each($3)
        WHERE true
        ON CONFLICT DO NOTHING"#,
        r#"INSERT INTO envelopes (id, tenant_id, environment, external_id, allow_duplicate, title, status, status_at,
            template_id, template_version, batch_id, batch_row, expires_at, "values", body, envelope_seq, chain,
            created_by, created_at, version)
        SELECT id, $1, $2, external_id, allow_duplicate, title, status, status_at, template_id, template_version,
            batch_id, batch_row, expires_at, "values", body, 0, decode(chain, 'hex'), created_by, created_at, 1
        FROM json_to_recordset($3::json) AS row (id text, external_id text, allow_duplicate boolean, title text,
            status text, status_at bigint, template_id text, template_version bigint, batch_id text, batch_row bigint,
            expires_at bigint, "values" text, body text, chain text, created_by text, created_at bigint)
        ON CONFLICT DO NOTHING"#,
    )
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(Json(rows))
    .run(tx)
    .await?;
    let recipients = envelopes.iter().flat_map(|envelope| {
        envelope.recipients.iter().enumerate().map(move |(position, r)| recipient_json(envelope.id, position, r))
    });
    let recipients = recipients.collect::<Result<Vec<_>, StoreError>>()?;
    if written == envelopes.len() as u64 {
        insert_recipients(tx, scope, recipients).await?;
    }
    Ok(written)
}

fn envelope_json(envelope: &Envelope) -> Result<serde_json::Value, StoreError> {
    Ok(json!({
        "id": envelope.id,
        "external_id": envelope.external_id,
        "allow_duplicate": envelope.allow_duplicate,
        "title": envelope.title,
        "status": envelope.status.as_str(),
        "status_at": envelope.status_at.millis(),
        "template_id": envelope.template.map(|template| template.id),
        "template_version": envelope.template.map(|template| template.version),
        "batch_id": envelope.batch.map(|batch| batch.id),
        "batch_row": envelope.batch.map(|batch| batch.row),
        "expires_at": envelope.expires_at.map(Timestamp::millis),
        "values": text(&envelope.values)?,
        "body": text(&envelope.body)?,
        "chain": hex(&chain_start(envelope.id)),
        "created_by": text(&envelope.created_by)?,
        "created_at": envelope.created_at.millis(),
    }))
}

fn recipient_json(
    envelope: EnvelopeId,
    position: usize,
    recipient: &Recipient,
) -> Result<serde_json::Value, StoreError> {
    Ok(json!({
        "id": recipient.id,
        "envelope_id": envelope,
        "position": position,
        "kind": recipient.kind.as_str(),
        "role": recipient.role,
        "name": recipient.name,
        "email": recipient.email,
        "turn": recipient.order,
        "status": recipient.status.as_str(),
        "status_at": recipient.status_at.millis(),
        "link_id": recipient.link,
        "link_generation": recipient.link_generation,
        "body": text(&recipient.body)?,
    }))
}

async fn insert_recipients(tx: &mut Tx, scope: EnvScope, rows: Vec<serde_json::Value>) -> Result<(), StoreError> {
    either(
        "INSERT INTO recipients (id, tenant_id, environment, envelope_id, position, kind, role, name, email, turn,
            status, status_at, link_id, link_generation, body, version)
        SELECT value ->> 'id', $1, $2, value ->> 'envelope_id', value ->> 'position', value ->> 'kind',
            value ->> 'role', value ->> 'name', value ->> 'email', value ->> 'turn', value ->> 'status',
            value ->> 'status_at', value ->> 'link_id', value ->> 'link_generation', value ->> 'body', 1
        FROM jsonb_each($3)",
        "INSERT INTO recipients (id, tenant_id, environment, envelope_id, position, kind, role, name, email, turn,
            status, status_at, link_id, link_generation, body, version)
        SELECT id, $1, $2, envelope_id, position, kind, role, name, email, turn, status, status_at, link_id,
            link_generation, body, 1
        FROM json_to_recordset($3::json) AS row (id text, envelope_id text, position bigint, kind text, role text,
            name text, email text, turn bigint, status text, status_at bigint, link_id text, link_generation bigint,
            body text)",
    )
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(Json(rows))
    .run(tx)
    .await?;
    Ok(())
}

/// The envelope `id`.
pub async fn get(tx: &mut Tx, scope: EnvScope, id: EnvelopeId) -> Result<Option<Envelope>, StoreError> {
    let row = sql(r#"SELECT id, tenant_id, environment, external_id, allow_duplicate, title, status, status_at,
            template_id, template_version, batch_id, batch_row, expires_at, "values", body, problem, last_event_id,
            last_event_seq, created_by, created_at, version
        FROM envelopes
        WHERE tenant_id = $1 AND environment = $2 AND id = $3"#)
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(id)
    .optional(tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(with_recipients(tx, scope, vec![envelope(&row)?]).await?.pop())
}

/// The envelope `id`, held until the transaction ends: two who act at the same moment come one after the other.
pub async fn lock(tx: &mut Tx, scope: EnvScope, id: EnvelopeId) -> Result<Option<Envelope>, StoreError> {
    // SQLite's BEGIN IMMEDIATE has locked everything.
    either(
        "SELECT id
        FROM envelopes
        WHERE tenant_id = $1 AND environment = $2 AND id = $3",
        "SELECT id
        FROM envelopes
        WHERE tenant_id = $1 AND environment = $2 AND id = $3
        FOR UPDATE",
    )
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(id)
    .optional(tx)
    .await?;
    get(tx, scope, id).await
}

/// Whose link this is. The link is the authority: who holds it needs no scope.
pub async fn by_link(
    tx: &mut Tx,
    link: LinkId,
) -> Result<Option<(EnvScope, EnvelopeId, RecipientId, i64)>, StoreError> {
    let row = sql("SELECT tenant_id, environment, envelope_id, id, link_generation
        FROM recipients
        WHERE link_id = $1")
    .bind(link)
    .optional(tx)
    .await?;
    row.map(|row| {
        let scope = EnvScope { tenant: row.get("tenant_id")?, environment: row.get("environment")? };
        Ok((scope, row.get("envelope_id")?, row.get("id")?, row.get("link_generation")?))
    })
    .transpose()
}

/// What a list of envelopes is narrowed by.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only in this status.
    pub status: Option<Status>,
    /// Only made by this batch.
    pub batch: Option<model::BatchId>,
    /// Only made from this template.
    pub template: Option<model::TemplateId>,
    /// Only with this external id.
    pub external_id: Option<String>,
}

/// A page of envelopes, newest first.
pub async fn list(
    tx: &mut Tx,
    scope: EnvScope,
    filter: &Filter,
    after: Option<EnvelopeId>,
    limit: u32,
) -> Result<Vec<Envelope>, StoreError> {
    let rows = sql(r#"SELECT id, tenant_id, environment, external_id, allow_duplicate, title, status, status_at,
            template_id, template_version, batch_id, batch_row, expires_at, "values", body, problem, last_event_id,
            last_event_seq, created_by, created_at, version
        FROM envelopes
        WHERE tenant_id = $1 AND environment = $2 AND id < $3
            AND (CAST($4 AS TEXT) IS NULL OR status = $4)
            AND (CAST($5 AS TEXT) IS NULL OR batch_id = $5)
            AND (CAST($6 AS TEXT) IS NULL OR template_id = $6)
            AND (CAST($7 AS TEXT) IS NULL OR external_id = $7)
        ORDER BY id DESC
        LIMIT $8"#)
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(before(after))
    .bind(filter.status.map(Status::as_str))
    .bind(filter.batch)
    .bind(filter.template)
    .bind(&filter.external_id)
    .bind(limit)
    .all(tx)
    .await?;
    let envelopes = rows.iter().map(envelope).collect::<Result<_, _>>()?;
    with_recipients(tx, scope, envelopes).await
}

/// Writes what a move changed, under the version that was read.
pub async fn save(tx: &mut Tx, envelope: &mut Envelope) -> Result<(), StoreError> {
    let scope = envelope.scope;
    let written = sql(r#"UPDATE envelopes
        SET title = $4, status = $5, status_at = $6, expires_at = $7, "values" = $8, body = $9, problem = $10,
            version = version + 1
        WHERE tenant_id = $1 AND environment = $2 AND id = $3 AND version = $11"#)
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(envelope.id)
    .bind(&envelope.title)
    .bind(envelope.status.as_str())
    .bind(envelope.status_at)
    .bind(envelope.expires_at)
    .bind(Json(&envelope.values))
    .bind(Json(&envelope.body))
    .bind(envelope.problem.as_ref().map(Json))
    .bind(envelope.version)
    .run(tx)
    .await?;
    if written != 1 {
        return Err(StoreError::Conflict("the envelope was changed by another transaction".to_owned()));
    }
    envelope.version += 1;
    for recipient in &envelope.recipients {
        save_recipient(tx, scope, recipient).await?;
    }
    Ok(())
}

async fn save_recipient(tx: &mut Tx, scope: EnvScope, recipient: &Recipient) -> Result<(), StoreError> {
    sql("UPDATE recipients
        SET status = $4, status_at = $5, link_generation = $6, body = $7, version = version + 1
        WHERE tenant_id = $1 AND environment = $2 AND id = $3")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(recipient.id)
    .bind(recipient.status.as_str())
    .bind(recipient.status_at)
    .bind(recipient.link_generation)
    .bind(Json(&recipient.body))
    .run(tx)
    .await?;
    Ok(())
}

/// Its documents and fields: its own, or the pinned template version's.
pub async fn content(tx: &mut Tx, envelope: &Envelope) -> Result<Content, StoreError> {
    if let Some(content) = &envelope.body.content {
        return Ok(content.clone());
    }
    let missing = || StoreError::Corrupt(format!("{} has no content", envelope.id));
    let pinned = envelope.template.ok_or_else(missing)?;
    let version = template::version(tx, envelope.scope, pinned.id, pinned.version).await?;
    Ok(version.ok_or_else(missing)?.content)
}

/// Sent envelopes whose time has run out, over all tenants, for the system's sweep.
pub async fn overdue(tx: &mut Tx, now: Timestamp, limit: u32) -> Result<Vec<(EnvScope, EnvelopeId)>, StoreError> {
    let rows = sql("SELECT tenant_id, environment, id
        FROM envelopes
        WHERE status = 'sent' AND expires_at IS NOT NULL AND expires_at <= $1
        ORDER BY expires_at
        LIMIT $2")
    .bind(now)
    .bind(limit)
    .all(tx)
    .await?;
    rows.iter()
        .map(|row| {
            Ok((EnvScope { tenant: row.get("tenant_id")?, environment: row.get("environment")? }, row.get("id")?))
        })
        .collect()
}

async fn with_recipients(
    tx: &mut Tx,
    scope: EnvScope,
    mut envelopes: Vec<Envelope>,
) -> Result<Vec<Envelope>, StoreError> {
    if envelopes.is_empty() {
        return Ok(envelopes);
    }
    let ids: Vec<_> = envelopes.iter().map(|envelope| envelope.id).collect();
    let rows = either(
        "SELECT id, envelope_id, kind, role, name, email, turn, status, status_at, link_id, link_generation, body
        FROM recipients
        WHERE tenant_id = $1 AND environment = $2 AND envelope_id IN (SELECT value FROM json_each($3))
        ORDER BY envelope_id, position",
        "SELECT id, envelope_id, kind, role, name, email, turn, status, status_at, link_id, link_generation, body
        FROM recipients
        WHERE tenant_id = $1 AND environment = $2 AND envelope_id = ANY (ARRAY(SELECT json_array_elements_text($3::json)))
        ORDER BY envelope_id, position",
    )
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(Json(&ids))
    .all(tx)
    .await?;
    let mut by_envelope = std::collections::HashMap::<EnvelopeId, Vec<Recipient>>::new();
    for row in &rows {
        by_envelope.entry(row.get("envelope_id")?).or_default().push(recipient(row)?);
    }
    for envelope in &mut envelopes {
        envelope.recipients = by_envelope.remove(&envelope.id).unwrap_or_default();
    }
    Ok(envelopes)
}

fn envelope(row: &Row) -> Result<Envelope, StoreError> {
    let status: String = row.get("status")?;
    let template = row.get::<Option<_>>("template_id")?.zip(row.get::<Option<_>>("template_version")?);
    let batch = row.get::<Option<_>>("batch_id")?.zip(row.get::<Option<_>>("batch_row")?);
    let last_event = row.get::<Option<_>>("last_event_id")?.zip(row.get::<Option<_>>("last_event_seq")?);
    Ok(Envelope {
        id: row.get("id")?,
        scope: EnvScope { tenant: row.get("tenant_id")?, environment: row.get("environment")? },
        external_id: row.get("external_id")?,
        allow_duplicate: row.get("allow_duplicate")?,
        title: row.get("title")?,
        status: Status::parse(&status).ok_or_else(|| unknown("status", &status))?,
        status_at: row.get("status_at")?,
        template: template.map(|(id, version)| TemplateRef { id, version }),
        batch: batch.map(|(id, row)| BatchRef { id, row }),
        expires_at: row.get("expires_at")?,
        values: row.get::<Json<_>>("values")?.0,
        body: row.get::<Json<_>>("body")?.0,
        problem: row.get::<Option<Json<_>>>("problem")?.map(|problem| problem.0),
        last_event: last_event.map(|(id, seq)| LastEvent { id, seq }),
        created_by: row.get::<Json<_>>("created_by")?.0,
        created_at: row.get("created_at")?,
        version: row.get("version")?,
        recipients: Vec::new(),
    })
}

fn recipient(row: &Row) -> Result<Recipient, StoreError> {
    let (kind, status): (String, String) = (row.get("kind")?, row.get("status")?);
    Ok(Recipient {
        id: row.get("id")?,
        kind: RecipientKind::parse(&kind).ok_or_else(|| unknown("kind", &kind))?,
        role: row.get("role")?,
        name: row.get("name")?,
        email: row.get("email")?,
        order: row.get("turn")?,
        status: RecipientStatus::parse(&status).ok_or_else(|| unknown("status", &status))?,
        status_at: row.get("status_at")?,
        link: row.get("link_id")?,
        link_generation: row.get("link_generation")?,
        body: row.get::<Json<_>>("body")?.0,
    })
}

/// A word that this binary does not know.
pub(crate) fn unknown(column: &str, word: &str) -> StoreError {
    StoreError::Corrupt(format!("column {column} holds the unknown word {word:?}"))
}
