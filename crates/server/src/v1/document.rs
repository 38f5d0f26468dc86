//! `/v1/documents`: upload a PDF, and see what intake found out about it.

use app::App;
use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};
use model::{Code, DocumentId, Problem, document::Document};
use serde::Deserialize;

use crate::{
    body::{DOCUMENT_BYTES_MAX, pieces},
    gatekeeper::Pass,
    idempotency::Idempotent,
    json::{Created, Json},
    problem::{Answer, Refusal},
    query::{Path, Query},
    v1::audit::actor,
};

/// What may be said of an upload.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UploadQuery {
    filename: Option<String>,
}

/// Upload a document.
///
/// The body is the PDF itself, at most 50 MiB. It is drawn, stamped and sealed dry before it is accepted: what is answered
/// 201 can be sealed later. A PDF that can't be is refused with its own code.
#[utoipa::path(post, path = "/v1/documents", tag = "Documents",
    request_body(content = Vec<u8>, content_type = "application/pdf"),
    params(("filename" = Option<String>, Query, description = "The file's name, for people."),
        ("Idempotency-Key" = Option<String>, Header, description = "Does it once, however often it is sent.")),
    responses((status = 201, body = api::document::Document, description = "The document.")))]
pub async fn create(
    State(app): State<App>,
    pass: Pass,
    idempotent: Idempotent,
    Query(query): Query<UploadQuery>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    is_pdf(&headers)?;
    let bytes = pieces(&headers, body, DOCUMENT_BYTES_MAX)?;
    let stored = app.receive_document(&pass, bytes.stream()).await?;
    if let Err(answer) = idempotent.claim(stored.digest()).await {
        return Ok(answer);
    }
    let once = idempotent.once(StatusCode::CREATED, show);
    let document = app.create_document(&pass, query.filename.as_deref().unwrap_or_default(), stored, &once).await?;
    let location = format!("/v1/documents/{}", document.id);
    Ok(Created { location, body: show(&document) }.into_response())
}

/// Get a document.
#[utoipa::path(get, path = "/v1/documents/{id}", tag = "Documents",
    params(("id" = String, Path, description = "The document's id.")),
    responses((status = 200, body = api::document::Document, description = "The document.")))]
pub async fn get(
    State(app): State<App>,
    pass: Pass,
    Path(id): Path<DocumentId>,
) -> Answer<Json<api::document::Document>> {
    Ok(Json(show(&app.get_document(&pass, id).await?)))
}

fn is_pdf(headers: &HeaderMap) -> Result<(), Refusal> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/pdf" | "application/octet-stream" => Ok(()),
        _ => Err(Problem::new(Code::UnsupportedMediaType, "Send the PDF with `Content-Type: application/pdf`.").into()),
    }
}

/// Points to two decimals: parsers read them as 32-bit floats, whose further digits (595.280029296875) nobody has written.
fn hundredths(points: f64) -> f64 {
    (points * 100.0).round() / 100.0
}

/// A document as the wire has it.
fn show(document: &Document) -> api::document::Document {
    let page = |page: &model::document::Page| api::document::Page {
        width: hundredths(page.width),
        height: hundredths(page.height),
        rotation: page.rotation,
    };
    api::document::Document {
        id: document.id.to_string(),
        filename: document.filename.clone(),
        size: document.size,
        sha256: document.sha256.clone(),
        pages: document.body.pages.iter().map(page).collect(),
        fonts_missing: document.body.fonts_missing.clone(),
        changes: document.body.changes.clone(),
        warnings: document.body.warnings.clone(),
        created_at: document.created_at.to_string(),
        created_by: actor(&document.body.created_by),
    }
}
