//! `/v1/batches`: create, put rows, list, show, start, pause, resume and cancel; the rows and what is wrong with them.

use app::{
    App,
    batch::{BatchDetails, NewBatch},
    rows::Format,
};
use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use model::{
    BatchId, BodyError, Code, Problem, TemplateId,
    batch::{BatchStatus, OnInvalid, RowStatus},
    envelope::Message,
    row::Defaults,
};
use serde::Deserialize;

use crate::{
    body::{ROWS_BYTES_MAX, pieces},
    gatekeeper::Pass,
    idempotency::Idempotent,
    json::{Created, Json},
    problem::Answer,
    query::{Path, Query, cursor, limit, page, position, word},
    v1::audit::actor,
};

/// The lists' names in their cursors.
const LIST: &str = "batches";
const ROWS: &str = "rows";
/// The media type of exported files.
const CSV: HeaderValue = HeaderValue::from_static("text/csv; charset=utf-8; header=present");

/// Create a batch.
///
/// It is `open` until its rows are put; then look at the report, and start it. In the small case send `rows` along, and
/// `start: true`: then all is done by this one request, or every fault is named with its JSON pointer and nothing is.
#[utoipa::path(post, path = "/v1/batches", tag = "Batches", request_body = api::batch::NewBatch,
    params(("Idempotency-Key" = Option<String>, Header, description = "Does it once, however often it is sent.")),
    responses((status = 201, body = api::batch::Batch, description = "The batch.")))]
pub async fn create(
    State(app): State<App>,
    pass: Pass,
    idempotent: Idempotent,
    Json(body): Json<api::batch::NewBatch>,
) -> Answer<Response> {
    let new = parse(body)?;
    let once = idempotent.once(StatusCode::CREATED, show);
    let made = app.create_batch(&pass, new, &once).await?;
    let location = format!("/v1/batches/{}", made.batch.id);
    Ok(Created { location, body: show(&made) }.into_response())
}

/// What a list of batches may be asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    limit: Option<u32>,
    after: Option<String>,
    status: Option<String>,
}

/// List batches.
///
/// Newest first. Their envelopes are not counted here: get a batch for that.
#[utoipa::path(get, path = "/v1/batches", tag = "Batches",
    params(("limit" = Option<u32>, Query, description = "1 to 100, 20 if left out."),
        ("after" = Option<String>, Query, description = "`next` of the page before."),
        ("status" = Option<String>, Query, description = "Only in this status.")),
    responses((status = 200, body = api::Page<api::batch::Batch>, description = "A page of batches.")))]
pub async fn list(
    State(app): State<App>,
    pass: Pass,
    Query(query): Query<ListQuery>,
) -> Answer<Json<api::Page<api::batch::Batch>>> {
    let limit = limit(query.limit, api::page::LIMIT_MAX)?;
    let after = position::<BatchId>(pass.scope(), LIST, query.after.as_deref())?;
    let status: Option<BatchStatus> = word("status", query.status.as_deref())?;
    let batches = app.list_batches(&pass, status, after, limit).await?;
    let next = |last: &BatchDetails| cursor(pass.scope(), LIST, last.batch.id);
    Ok(Json(page(batches, limit, next, |batch| show(&batch))))
}

/// Get a batch.
///
/// With its report once rows were put, and with how far it is once it was started.
#[utoipa::path(get, path = "/v1/batches/{id}", tag = "Batches",
    params(("id" = String, Path, description = "The batch's id.")),
    responses((status = 200, body = api::batch::Batch, description = "The batch.")))]
pub async fn get(State(app): State<App>, pass: Pass, Path(id): Path<BatchId>) -> Answer<Json<api::batch::Batch>> {
    Ok(Json(show(&app.get_batch(&pass, id).await?)))
}

/// Put the rows of a batch.
///
/// The body is the file itself, streamed: CSV (with `,`, `;` or tab; UTF-8, or `charset=windows-1252` said aloud) or
/// NDJSON, at most 256 MiB and 1,000,000 rows. The columns are `external_id`, `<Role>.name`, `<Role>.email`,
/// `<Role>.locale`, `values.<key>` and `metadata.<name>`; `GET /v1/templates/{id}/batch.csv` gives the header. A repeat
/// replaces all rows; it takes effect only when it is complete. What is wrong in a row is reported, not refused.
#[utoipa::path(put, path = "/v1/batches/{id}/rows", tag = "Batches",
    request_body(content((String = "text/csv"), (String = "application/x-ndjson"))),
    params(("id" = String, Path, description = "The batch's id.")),
    responses((status = 200, body = api::batch::Batch, description = "The batch with its report.")))]
pub async fn put_rows(
    State(app): State<App>,
    pass: Pass,
    Path(id): Path<BatchId>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<api::batch::Batch>> {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = Format::of(media)?;
    let pieces = pieces(&headers, body, ROWS_BYTES_MAX)?;
    Ok(Json(show(&app.put_rows(&pass, id, format, pieces.stream()).await?)))
}

/// List the rows of a batch.
///
/// In their order, each with the envelope that it became and with what is wrong with it.
#[utoipa::path(get, path = "/v1/batches/{id}/rows", tag = "Batches",
    params(("id" = String, Path, description = "The batch's id."),
        ("limit" = Option<u32>, Query, description = "1 to 100, 20 if left out."),
        ("after" = Option<String>, Query, description = "`next` of the page before."),
        ("status" = Option<String>, Query, description = "`valid`, `invalid` or `failed`.")),
    responses((status = 200, body = api::Page<api::batch::BatchRow>, description = "A page of rows.")))]
pub async fn rows(
    State(app): State<App>,
    pass: Pass,
    Path(id): Path<BatchId>,
    Query(query): Query<ListQuery>,
) -> Answer<Json<api::Page<api::batch::BatchRow>>> {
    let limit = limit(query.limit, api::page::LIMIT_MAX)?;
    // A cursor is of one batch's rows.
    let after = position::<(BatchId, i64)>(pass.scope(), ROWS, query.after.as_deref())?;
    let after = match after {
        None => 0,
        Some((of, row)) if of == id => row,
        Some(_) => return Err(Problem::new(Code::CursorInvalid, "`after` is not a `next` of this batch.").into()),
    };
    let status: Option<RowStatus> = word("status", query.status.as_deref())?;
    let rows = app.list_rows(&pass, id, status, after, limit).await?;
    let next = |last: &app::batch::BatchRow| cursor(pass.scope(), ROWS, (id, last.number));
    Ok(Json(page(rows, limit, next, show_row)))
}

/// Get the rows that were not accepted, as a CSV file.
///
/// As they were given, with their line and what is wrong in front (`#line`, `#errors`). Mend them and put just these into
/// another batch: columns that begin with `#` are passed over. In the batch that they came from they would replace its
/// valid rows; that is refused with `rows_partial`. Formulas are neutralised with an apostrophe, which is taken
/// off again when the file is put.
#[utoipa::path(get, path = "/v1/batches/{id}/errors.csv", tag = "Batches",
    params(("id" = String, Path, description = "The batch's id.")),
    responses((status = 200, body = String, content_type = "text/csv", description = "The rows.")))]
pub async fn errors(State(app): State<App>, pass: Pass, Path(id): Path<BatchId>) -> Answer<Response> {
    let pieces = app.batch_errors(&pass, id).await?;
    Ok(file(&format!("{id}-errors.csv"), Body::from_stream(pieces)))
}

/// Start a batch.
///
/// Its envelopes are made and sent under this key: when the key is revoked, the batch is paused with `key_revoked`.
#[utoipa::path(post, path = "/v1/batches/{id}/start", tag = "Batches",
    params(("id" = String, Path, description = "The batch's id."),
        ("Idempotency-Key" = Option<String>, Header, description = "Does it once, however often it is sent.")),
    responses((status = 200, body = api::batch::Batch, description = "The batch, running.")))]
pub async fn start(
    State(app): State<App>,
    pass: Pass,
    idempotent: Idempotent,
    Path(id): Path<BatchId>,
) -> Answer<Json<api::batch::Batch>> {
    let once = idempotent.once(StatusCode::OK, show);
    Ok(Json(show(&app.start_batch(&pass, id, &once).await?)))
}

/// Pause a batch.
///
/// No envelope is made after this was answered; those that were sent go on.
#[utoipa::path(post, path = "/v1/batches/{id}/pause", tag = "Batches",
    params(("id" = String, Path, description = "The batch's id."),
        ("Idempotency-Key" = Option<String>, Header, description = "Does it once, however often it is sent.")),
    responses((status = 200, body = api::batch::Batch, description = "The batch, paused.")))]
pub async fn pause(
    State(app): State<App>,
    pass: Pass,
    idempotent: Idempotent,
    Path(id): Path<BatchId>,
) -> Answer<Json<api::batch::Batch>> {
    let once = idempotent.once(StatusCode::OK, show);
    Ok(Json(show(&app.pause_batch(&pass, id, &once).await?)))
}

/// Resume a batch.
///
/// It goes on where it stood, under this key.
#[utoipa::path(post, path = "/v1/batches/{id}/resume", tag = "Batches",
    params(("id" = String, Path, description = "The batch's id."),
        ("Idempotency-Key" = Option<String>, Header, description = "Does it once, however often it is sent.")),
    responses((status = 200, body = api::batch::Batch, description = "The batch, running.")))]
pub async fn resume(
    State(app): State<App>,
    pass: Pass,
    idempotent: Idempotent,
    Path(id): Path<BatchId>,
) -> Answer<Json<api::batch::Batch>> {
    let once = idempotent.once(StatusCode::OK, show);
    Ok(Json(show(&app.resume_batch(&pass, id, &once).await?)))
}

/// Cancel a batch.
///
/// For good. Envelopes that were sent go on.
#[utoipa::path(post, path = "/v1/batches/{id}/cancel", tag = "Batches",
    params(("id" = String, Path, description = "The batch's id."),
        ("Idempotency-Key" = Option<String>, Header, description = "Does it once, however often it is sent.")),
    responses((status = 200, body = api::batch::Batch, description = "The batch, cancelled.")))]
pub async fn cancel(
    State(app): State<App>,
    pass: Pass,
    idempotent: Idempotent,
    Path(id): Path<BatchId>,
) -> Answer<Json<api::batch::Batch>> {
    let once = idempotent.once(StatusCode::OK, show);
    Ok(Json(show(&app.cancel_batch(&pass, id, &once).await?)))
}

/// Get the header row of a batch's file.
///
/// The columns of the template's latest version, to be filled in by a spreadsheet; `metadata.<name>` may be added.
#[utoipa::path(get, path = "/v1/templates/{id}/batch.csv", tag = "Templates",
    params(("id" = String, Path, description = "The template's id.")),
    responses((status = 200, body = String, content_type = "text/csv", description = "The header row.")))]
pub async fn template_header(State(app): State<App>, pass: Pass, Path(id): Path<TemplateId>) -> Answer<Response> {
    let row = app.batch_header(&pass, id).await?;
    Ok(file(&format!("{id}-batch.csv"), Body::from(row)))
}

fn file(name: &str, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, CSV);
    if let Ok(disposition) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    response
}

/// A batch as it was asked for: every fault at once.
pub(crate) fn parse(body: api::batch::NewBatch) -> Result<NewBatch, Problem> {
    let mut faults = Vec::new();
    let time = |text: Option<String>, pointer: &str, faults: &mut Vec<BodyError>| {
        let time = text.map(|text| text.parse().map_err(|why: model::time::NotATime| why.to_string()));
        time.transpose().unwrap_or_else(|why| {
            faults.push(BodyError::new(pointer, "malformed", format!("{why}.")));
            None
        })
    };
    let defaults = body.defaults;
    let expires_at = time(defaults.expires_at, "/defaults/expires_at", &mut faults);
    let start_at = time(body.start_at, "/start_at", &mut faults);
    let on_invalid = body.on_invalid.as_deref().map_or(Ok(OnInvalid::Reject), str::parse);
    if let Err(why) = &on_invalid {
        faults.push(BodyError::new("/on_invalid", "invalid_value", format!("{why}.")));
    }
    if body.start && body.rows.is_empty() {
        let why = "A batch without rows can't be started: send `rows`, or leave `start` out and put the rows.";
        faults.push(BodyError::new("/start", "invalid_value", why));
    }
    let template = body.template.id.parse().map_err(|_| {
        let why = "A template's id reads tpl_ and 26 characters.";
        faults.push(BodyError::new("/template/id", "malformed", why));
    });
    let (Ok(template), Ok(on_invalid), true) = (template, on_invalid, faults.is_empty()) else {
        return Err(Problem::body(faults));
    };
    Ok(NewBatch {
        name: body.name,
        template: (template, body.template.version),
        defaults: Defaults {
            title: defaults.title,
            message: defaults.message.map(|message| Message { subject: message.subject, body: message.body }),
            expires_at,
            timezone: defaults.timezone,
            redirect_url: defaults.redirect_url,
            locale: defaults.locale,
            values: defaults.values,
            metadata: defaults.metadata,
        },
        on_invalid,
        send_rate_per_minute: body.send_rate_per_minute,
        start_at,
        rows: body.rows,
        start: body.start,
    })
}

/// A batch as the wire has it.
fn show(details: &BatchDetails) -> api::batch::Batch {
    let BatchDetails { batch, counts } = details;
    api::batch::Batch {
        id: batch.id.to_string(),
        name: batch.name.clone(),
        status: batch.status.to_string(),
        status_at: batch.status_at.to_string(),
        template: api::envelope::NewTemplateRef {
            id: batch.template.id.to_string(),
            version: Some(batch.template.version),
        },
        on_invalid: batch.on_invalid.to_string(),
        send_rate_per_minute: batch.send_rate_per_minute,
        start_at: batch.body.start_at.map(|at| at.to_string()),
        total: batch.rows.total,
        valid: batch.rows.valid,
        invalid: batch.rows.invalid,
        failed: batch.failed,
        created: counts.map(|counts| counts.created),
        sent: counts.map(|counts| counts.sent),
        completed: counts.map(|counts| counts.completed),
        problem: batch.problem.as_ref().map(|problem| api::batch::BatchProblem {
            code: problem.code.clone(),
            detail: problem.detail.clone(),
            since: problem.since.to_string(),
        }),
        created_by: actor(&batch.created_by),
        created_at: batch.created_at.to_string(),
    }
}

fn show_row(row: app::batch::BatchRow) -> api::batch::BatchRow {
    let error = |error: model::row::CellError| api::batch::CellError {
        column: error.column,
        code: error.code,
        detail: error.detail,
    };
    api::batch::BatchRow {
        row: row.number,
        line: row.line,
        external_id: row.external_id,
        envelope_id: row.envelope.map(|id| id.to_string()),
        status: row.status.to_string(),
        errors: row.errors.into_iter().map(error).collect(),
    }
}

#[cfg(test)]
mod tests;
