//! The outbox: statements and rows.

use model::{
    EnvScope, MailId, Timestamp,
    envelope::Purpose,
    mail::{Mail, MailState},
};
use serde_json::json;

use crate::{Json, Row, StoreError, Tx, either, envelope::unknown, event::before, sql};

/// Writes mails that are to go out; one that stands already (same envelope, address, purpose and turn) stays. The
/// answer holds the ids of those that were written.
pub async fn insert(tx: &mut Tx, scope: EnvScope, mails: &[Mail]) -> Result<Vec<MailId>, StoreError> {
    let rows: Vec<_> = mails
        .iter()
        .map(|mail| {
            json!({
                "id": mail.id,
                "envelope_id": mail.envelope,
                "recipient_id": mail.recipient,
                "purpose": mail.purpose.as_str(),
                "turn": mail.turn,
                "address": mail.address,
                "state": mail.state.as_str(),
                "detail": mail.detail,
                "created_at": mail.created_at.millis(),
                "state_at": mail.state_at.millis(),
            })
        })
        .collect();
    let rows = either(
        "INSERT INTO mails (id, tenant_id, environment, envelope_id, recipient_id, purpose, turn, address, state,
            detail, created_at, state_at)
        SELECT value ->> 'id', $1, $2, value ->> 'envelope_id', value ->> 'recipient_id', value ->> 'purpose',
            value ->> 'turn', value ->> 'address', value ->> 'state', value ->> 'detail', value ->> 'created_at',
            value ->> 'state_at'
        FROM jsonb_each($3)
        WHERE true
        ON CONFLICT DO NOTHING
        RETURNING id",
        "INSERT INTO mails (id, tenant_id, environment, envelope_id, recipient_id, purpose, turn, address, state,
            detail, created_at, state_at)
        SELECT id, $1, $2, envelope_id, recipient_id, purpose, turn, address, state, detail, created_at, state_at
        FROM json_to_recordset($3::json) AS row (id text, envelope_id text, recipient_id text, purpose text,
            turn bigint, address text, state text, detail text, created_at bigint, state_at bigint)
        ON CONFLICT DO NOTHING
        RETURNING id",
    )
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(Json(rows))
    .all(tx)
    .await?;
    rows.iter().map(|row| row.get("id")).collect()
}

/// The mail `id`.
pub async fn get(tx: &mut Tx, scope: EnvScope, id: MailId) -> Result<Option<Mail>, StoreError> {
    let row = sql("SELECT id, envelope_id, recipient_id, purpose, turn, address, state, detail, created_at, state_at
        FROM mails
        WHERE tenant_id = $1 AND environment = $2 AND id = $3")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(id)
    .optional(tx)
    .await?;
    row.as_ref().map(mail).transpose()
}

/// A page of mails, newest first.
pub async fn list(tx: &mut Tx, scope: EnvScope, after: Option<MailId>, limit: u32) -> Result<Vec<Mail>, StoreError> {
    let rows = sql("SELECT id, envelope_id, recipient_id, purpose, turn, address, state, detail, created_at, state_at
        FROM mails
        WHERE tenant_id = $1 AND environment = $2 AND id < $3
        ORDER BY id DESC
        LIMIT $4")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(before(after))
    .bind(limit)
    .all(tx)
    .await?;
    rows.iter().map(mail).collect()
}

/// Records how a mail went. Only a queued one changes: the answer is whether it did.
pub async fn set_state(
    tx: &mut Tx,
    scope: EnvScope,
    id: MailId,
    state: MailState,
    detail: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let written = sql("UPDATE mails
        SET state = $4, detail = $5, state_at = $6
        WHERE tenant_id = $1 AND environment = $2 AND id = $3 AND state = 'queued'")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(id)
    .bind(state.as_str())
    .bind(detail)
    .bind(now)
    .run(tx)
    .await?;
    Ok(written == 1)
}

/// The mails of an envelope, in the order in which they were asked for.
pub async fn of_envelope(tx: &mut Tx, scope: EnvScope, envelope: model::EnvelopeId) -> Result<Vec<Mail>, StoreError> {
    let rows = sql("SELECT id, envelope_id, recipient_id, purpose, turn, address, state, detail, created_at, state_at
        FROM mails
        WHERE tenant_id = $1 AND environment = $2 AND envelope_id = $3
        ORDER BY id")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(envelope)
    .all(tx)
    .await?;
    rows.iter().map(mail).collect()
}

fn mail(row: &Row) -> Result<Mail, StoreError> {
    let (purpose, state): (String, String) = (row.get("purpose")?, row.get("state")?);
    Ok(Mail {
        id: row.get("id")?,
        envelope: row.get("envelope_id")?,
        recipient: row.get("recipient_id")?,
        purpose: Purpose::parse(&purpose).ok_or_else(|| unknown("purpose", &purpose))?,
        turn: row.get("turn")?,
        address: row.get("address")?,
        state: MailState::parse(&state).ok_or_else(|| unknown("state", &state))?,
        detail: row.get("detail")?,
        created_at: row.get("created_at")?,
        state_at: row.get("state_at")?,
    })
}
