//! `/v1/envelopes`: create, list, show, send and void.

use app::{App, envelope::Filter};
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use model::{Code, EnvelopeId, Problem, envelope::Status};
use serde::Deserialize;

use crate::{
    gatekeeper::Pass,
    idempotency::Idempotent,
    json::{Created, Json},
    problem::Answer,
    query::{Path, Query, cursor, limit, page, position},
    v1::parse,
    v1::show::envelope as show,
};

/// The list's name in its cursors.
const LIST: &str = "envelopes";

/// Create an envelope.
///
/// From a template, or from documents and fields. With `send: true` its recipients are asked at once. A 201 means that it
/// could be sealed; otherwise every fault is named with its JSON pointer.
#[utoipa::path(post, path = "/v1/envelopes", tag = "Envelopes", request_body = api::envelope::NewEnvelope,
    params(("Idempotency-Key" = Option<String>, Header, description = "Does it once, however often it is sent.")),
    responses((status = 201, body = api::envelope::Envelope, description = "The envelope.")))]
pub async fn create(
    State(app): State<App>,
    pass: Pass,
    idempotent: Idempotent,
    Json(body): Json<api::envelope::NewEnvelope>,
) -> Answer<Response> {
    let send = body.send;
    let new = parse::envelope(body)?;
    let once = idempotent.once(StatusCode::CREATED, |(envelope, content)| show(envelope, Some(content)));
    let (envelope, content) = app.create_envelope(&pass, &new, send, &once).await?;
    let location = format!("/v1/envelopes/{}", envelope.id);
    Ok(Created { location, body: show(&envelope, Some(&content)) }.into_response())
}

/// What a list of envelopes may be asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    limit: Option<u32>,
    after: Option<String>,
    status: Option<String>,
    batch: Option<String>,
    template: Option<String>,
    external_id: Option<String>,
}

/// List envelopes.
///
/// Newest first, without their documents and fields.
#[utoipa::path(get, path = "/v1/envelopes", tag = "Envelopes",
    params(("limit" = Option<u32>, Query, description = "1 to 100, 20 if left out."),
        ("after" = Option<String>, Query, description = "`next` of the page before."),
        ("status" = Option<String>, Query, description = "Only in this status."),
        ("batch" = Option<String>, Query, description = "Only made by this batch."),
        ("template" = Option<String>, Query, description = "Only made from this template."),
        ("external_id" = Option<String>, Query, description = "Only with this external id.")),
    responses((status = 200, body = api::Page<api::envelope::Envelope>, description = "A page of envelopes.")))]
pub async fn list(
    State(app): State<App>,
    pass: Pass,
    Query(query): Query<ListQuery>,
) -> Answer<Json<api::Page<api::envelope::Envelope>>> {
    let limit = limit(query.limit, api::page::LIMIT_MAX)?;
    let after = position::<EnvelopeId>(pass.scope(), LIST, query.after.as_deref())?;
    let wrong = |name: &str, why: &str| Problem::new(Code::InvalidQuery, format!("`{name}`: {why}."));
    let status = match query.status.as_deref() {
        None => None,
        Some(word) => Some(
            Status::parse(word)
                .ok_or_else(|| wrong("status", "one of draft, sent, sealing, completed, declined, voided, expired"))?,
        ),
    };
    let batch = query.batch.map(|id| id.parse()).transpose().map_err(|_| wrong("batch", "a batch's id reads bat_…"))?;
    let template = query
        .template
        .map(|id| id.parse())
        .transpose()
        .map_err(|_| wrong("template", "a template's id reads tpl_…"))?;
    let filter = Filter { status, batch, template, external_id: query.external_id };
    let envelopes = app.list_envelopes(&pass, &filter, after, limit).await?;
    let next = |last: &model::envelope::Envelope| cursor(pass.scope(), LIST, last.id);
    Ok(Json(page(envelopes, limit, next, |envelope| show(&envelope, None))))
}

/// Get an envelope.
#[utoipa::path(get, path = "/v1/envelopes/{id}", tag = "Envelopes",
    params(("id" = String, Path, description = "The envelope's id.")),
    responses((status = 200, body = api::envelope::Envelope, description = "The envelope.")))]
pub async fn get(
    State(app): State<App>,
    pass: Pass,
    Path(id): Path<EnvelopeId>,
) -> Answer<Json<api::envelope::Envelope>> {
    let (envelope, content) = app.get_envelope(&pass, id).await?;
    Ok(Json(show(&envelope, Some(&content))))
}

/// Send a draft.
///
/// Those whose turn is first are asked by mail.
#[utoipa::path(post, path = "/v1/envelopes/{id}/send", tag = "Envelopes",
    params(("id" = String, Path, description = "The envelope's id."),
        ("Idempotency-Key" = Option<String>, Header, description = "Does it once, however often it is sent.")),
    responses((status = 200, body = api::envelope::Envelope, description = "The envelope, sent.")))]
pub async fn send(
    State(app): State<App>,
    pass: Pass,
    idempotent: Idempotent,
    Path(id): Path<EnvelopeId>,
) -> Answer<Json<api::envelope::Envelope>> {
    let once = idempotent.once(StatusCode::OK, |(envelope, content)| show(envelope, Some(content)));
    let (envelope, content) = app.send_envelope(&pass, id, &once).await?;
    Ok(Json(show(&envelope, Some(&content))))
}

/// Void an envelope.
///
/// Takes it back, before everyone has signed. Repeating it changes nothing.
#[utoipa::path(post, path = "/v1/envelopes/{id}/void", tag = "Envelopes",
    request_body = Option<api::envelope::VoidEnvelope>,
    params(("id" = String, Path, description = "The envelope's id."),
        ("Idempotency-Key" = Option<String>, Header, description = "Does it once, however often it is sent.")),
    responses((status = 200, body = api::envelope::Envelope, description = "The envelope, voided.")))]
pub async fn void(
    State(app): State<App>,
    pass: Pass,
    idempotent: Idempotent,
    Path(id): Path<EnvelopeId>,
    body: Option<Json<api::envelope::VoidEnvelope>>,
) -> Answer<Json<api::envelope::Envelope>> {
    let Json(body) = body.unwrap_or_default();
    let once = idempotent.once(StatusCode::OK, |(envelope, content)| show(envelope, Some(content)));
    let (envelope, content) = app.void_envelope(&pass, id, &body.reason, &once).await?;
    Ok(Json(show(&envelope, Some(&content))))
}
