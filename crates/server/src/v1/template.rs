//! `/v1/templates`: create, list and show.

use app::App;
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use model::{TemplateId, template::Template};
use serde::Deserialize;

use crate::{
    gatekeeper::Pass,
    idempotency::Idempotent,
    json::{Created, Json},
    problem::Answer,
    query::{Path, Query, cursor, limit, page, position},
    v1::parse,
    v1::show,
};

/// The list's name in its cursors.
const LIST: &str = "templates";

/// Create a template.
///
/// An envelope with roles in place of recipients. Its fields are placed and sealed dry before it is accepted.
#[utoipa::path(post, path = "/v1/templates", tag = "Templates", request_body = api::template::NewTemplate,
    params(("Idempotency-Key" = Option<String>, Header, description = "Does it once, however often it is sent.")),
    responses((status = 201, body = api::template::Template, description = "The template in version 1.")))]
pub async fn create(
    State(app): State<App>,
    pass: Pass,
    idempotent: Idempotent,
    Json(body): Json<api::template::NewTemplate>,
) -> Answer<Response> {
    let new = parse::template(body)?;
    let once = idempotent.once(StatusCode::CREATED, shown);
    let template = app.create_template(&pass, new, &once).await?;
    let location = format!("/v1/templates/{}", template.id);
    Ok(Created { location, body: shown(&template) }.into_response())
}

/// What a list of templates may be asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    limit: Option<u32>,
    after: Option<String>,
}

/// List templates.
#[utoipa::path(get, path = "/v1/templates", tag = "Templates",
    params(("limit" = Option<u32>, Query, description = "1 to 100, 20 if left out."),
        ("after" = Option<String>, Query, description = "`next` of the page before.")),
    responses((status = 200, body = api::Page<api::template::Template>, description = "A page of templates.")))]
pub async fn list(
    State(app): State<App>,
    pass: Pass,
    Query(query): Query<ListQuery>,
) -> Answer<Json<api::Page<api::template::Template>>> {
    let limit = limit(query.limit, api::page::LIMIT_MAX)?;
    let after = position::<TemplateId>(pass.scope(), LIST, query.after.as_deref())?;
    let templates = app.list_templates(&pass, after, limit).await?;
    let next = |last: &Template| cursor(pass.scope(), LIST, last.id);
    Ok(Json(page(templates, limit, next, |template| shown(&template))))
}

/// Get a template.
#[utoipa::path(get, path = "/v1/templates/{id}", tag = "Templates",
    params(("id" = String, Path, description = "The template's id.")),
    responses((status = 200, body = api::template::Template, description = "The template in its latest version.")))]
pub async fn get(
    State(app): State<App>,
    pass: Pass,
    Path(id): Path<TemplateId>,
) -> Answer<Json<api::template::Template>> {
    Ok(Json(shown(&app.get_template(&pass, id).await?)))
}

/// A template as the wire has it.
fn shown(template: &Template) -> api::template::Template {
    let version = &template.version;
    let role = |role: &model::template::Role| api::template::Role {
        name: role.name.clone(),
        kind: role.kind.as_str().to_owned(),
        order: role.order,
    };
    api::template::Template {
        id: template.id.to_string(),
        name: template.name.clone(),
        version: version.number,
        title: version.title.clone(),
        roles: version.roles.iter().map(role).collect(),
        documents: version.content.documents.iter().map(show::document).collect(),
        fields: version.content.fields.iter().map(show::field).collect(),
        message: show::message(&version.message),
        created_at: template.created_at.to_string(),
    }
}
