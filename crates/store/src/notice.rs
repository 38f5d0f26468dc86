//! The users' mails: statements and rows.

use model::mail::MailState;
use model::notice::Notice;
use model::{NoticeId, TenantScope, Timestamp};
use serde_json::json;

use crate::sql::{Json, Row, either, sql};
use crate::{StoreError, Tx, envelope::unknown, event::before};

/// Mails of one page at most.
pub const PAGE_ROWS_MAX: u32 = 200;

/// Writes mails that are to go out; where a user was told the same before (`once`), that one stays. The answer holds the
/// ids of those that were written.
pub async fn insert(tx: &mut Tx, scope: TenantScope, notices: &[Notice]) -> Result<Vec<NoticeId>, StoreError> {
    let rows: Vec<_> = notices
        .iter()
        .map(|notice| {
            json!({
                "id": notice.id,
                "environment": notice.environment,
                "user_id": notice.user,
                "address": notice.address,
                "purpose": notice.about.purpose(),
                "once": notice.once,
                "body": json!(notice.about).to_string(),
                "state": notice.state.as_str(),
                "detail": notice.detail,
                "created_at": notice.created_at.millis(),
                "state_at": notice.state_at.millis(),
            })
        })
        .collect();
    let rows = either(
        "INSERT INTO notices (id, tenant_id, environment, user_id, address, purpose, once, body, state, detail,
            created_at, state_at)
        SELECT value ->> 'id', $1, value ->> 'environment', value ->> 'user_id', value ->> 'address',
            value ->> 'purpose', value ->> 'once', value ->> 'body', value ->> 'state', value ->> 'detail',
            value ->> 'created_at', value ->> 'state_at'
        FROM json_each($2)
        WHERE true
        ON CONFLICT DO NOTHING
        RETURNING id",
        "INSERT INTO notices (id, tenant_id, environment, user_id, address, purpose, once, body, state, detail,
            created_at, state_at)
        SELECT id, $1, environment, user_id, address, purpose, once, body, state, detail, created_at, state_at
        FROM json_to_recordset($2::json) AS row (id text, environment text, user_id text, address text, purpose text,
            once text, body text, state text, detail text, created_at bigint, state_at bigint)
        ON CONFLICT DO NOTHING
        RETURNING id",
    )
    .bind(scope.tenant)
    .bind(Json(rows))
    .all(tx)
    .await?;
    rows.iter().map(|row| row.get("id")).collect()
}

/// The mail `id`.
pub async fn get(tx: &mut Tx, scope: TenantScope, id: NoticeId) -> Result<Option<Notice>, StoreError> {
    let row =
        sql("SELECT id, tenant_id, environment, user_id, address, once, body, state, detail, created_at, state_at
        FROM notices
        WHERE tenant_id = $1 AND id = $2")
        .bind(scope.tenant)
        .bind(id)
        .optional(tx)
        .await?;
    row.as_ref().map(read).transpose()
}

/// A page of mails, newest first.
pub async fn list(
    tx: &mut Tx,
    scope: TenantScope,
    after: Option<NoticeId>,
    limit: u32,
) -> Result<Vec<Notice>, StoreError> {
    let rows =
        sql("SELECT id, tenant_id, environment, user_id, address, once, body, state, detail, created_at, state_at
        FROM notices
        WHERE tenant_id = $1 AND id < $2
        ORDER BY id DESC
        LIMIT $3")
        .bind(scope.tenant)
        .bind(before(after))
        .bind(limit.min(PAGE_ROWS_MAX + 1))
        .all(tx)
        .await?;
    rows.iter().map(read).collect()
}

/// Records how a mail went. Only a queued one changes: the answer is whether it did.
pub async fn set_state(
    tx: &mut Tx,
    scope: TenantScope,
    id: NoticeId,
    (state, detail): (MailState, &str),
    now: Timestamp,
) -> Result<bool, StoreError> {
    let written = sql("UPDATE notices
        SET state = $3, detail = $4, state_at = $5
        WHERE tenant_id = $1 AND id = $2 AND state = 'queued'")
    .bind(scope.tenant)
    .bind(id)
    .bind(state.as_str())
    .bind(detail)
    .bind(now)
    .run(tx)
    .await?;
    Ok(written == 1)
}

fn read(row: &Row) -> Result<Notice, StoreError> {
    let state: String = row.get("state")?;
    let Json(about) = row.get("body")?;
    Ok(Notice {
        id: row.get("id")?,
        tenant: row.get("tenant_id")?,
        environment: row.get("environment")?,
        user: row.get("user_id")?,
        address: row.get("address")?,
        about,
        once: row.get("once")?,
        state: MailState::parse(&state).ok_or_else(|| unknown("state", &state))?,
        detail: row.get("detail")?,
        created_at: row.get("created_at")?,
        state_at: row.get("state_at")?,
    })
}
