//! `/v1/audit`: who did what, from where, before and after.

use app::{App, audit::Filter};
use axum::extract::State;
use model::{Code, Problem, Timestamp, audit::Record, caller::Actor};
use serde::Deserialize;

use crate::{
    gatekeeper::Pass,
    json::Json,
    problem::Answer,
    query::{Query, cursor, limit, page, position},
};

/// The list's name in its cursors.
const LIST: &str = "audit";

/// What the audit log may be asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    limit: Option<u32>,
    after: Option<String>,
    object: Option<String>,
    action: Option<String>,
    actor: Option<String>,
    since: Option<String>,
    until: Option<String>,
}

/// Read the audit log.
///
/// Newest first: the entries of the calling key's environment; a production key sees also what concerns the tenant as a
/// whole. Entries are numbered without gaps and chained, per tenant.
#[utoipa::path(get, path = "/v1/audit", tag = "Audit",
    params(("limit" = Option<u32>, Query, description = "1 to 100, 20 if left out."),
        ("after" = Option<String>, Query, description = "`next` of the page before."),
        ("object" = Option<String>, Query, description = "Only what was done to the object with this id."),
        ("action" = Option<String>, Query, description = "Only this action, as `key.created`."),
        ("actor" = Option<String>, Query, description = "Only by this user or key, by id; or `operator` or `system`."),
        ("since" = Option<String>, Query, description = "Only at this time or later, RFC 3339."),
        ("until" = Option<String>, Query, description = "Only before this time, RFC 3339.")),
    responses((status = 200, body = api::Page<api::audit::AuditEntry>, description = "A page of entries.")))]
pub async fn list(
    State(app): State<App>,
    pass: Pass,
    Query(query): Query<ListQuery>,
) -> Answer<Json<api::Page<api::audit::AuditEntry>>> {
    let limit = limit(query.limit, api::page::LIMIT_MAX)?;
    let before = position::<i64>(pass.scope(), LIST, query.after.as_deref())?;
    let filter = Filter {
        object: query.object,
        action: query.action,
        actor: query.actor,
        since: time("since", query.since.as_deref())?,
        until: time("until", query.until.as_deref())?,
        ..Filter::default()
    };
    let records = app.list_audit(&pass, filter, before, limit).await?;
    let next = |last: &Record| cursor(pass.scope(), LIST, last.seq);
    Ok(Json(page(records, limit, next, show)))
}

fn time(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let wrong =
        || Problem::new(Code::InvalidQuery, format!("`{name}` is RFC 3339 with an offset: 2026-11-25T20:01:22Z."));
    text.map(|text| text.parse().map_err(|_| wrong())).transpose()
}

fn show(record: Record) -> api::audit::AuditEntry {
    api::audit::AuditEntry {
        id: record.id.to_string(),
        seq: record.seq,
        at: record.at.to_string(),
        environment: record.environment.map(|environment| environment.to_string()),
        actor: actor(&record.actor),
        address: record.address,
        request_id: record.request_id,
        action: record.action,
        object: record.object,
        before: record.before,
        after: record.after,
    }
}

/// Who did it, as the wire has it.
pub(crate) fn actor(actor: &Actor) -> api::audit::Actor {
    let (kind, id, label) = match actor {
        Actor::User { id } => ("user", Some(id.to_string()), None),
        Actor::Key { id, label } => ("key", Some(id.to_string()), Some(label.clone())),
        Actor::Recipient { id } => ("recipient", Some(id.to_string()), None),
        Actor::System => ("system", None, None),
        Actor::Operator => ("operator", None, None),
    };
    api::audit::Actor { kind: kind.to_owned(), id, label }
}
