//! `/v1/mail`: the capture box of development and staging. Production's mails go out and are read nowhere.

use app::{App, mail::Captured};
use axum::extract::State;
use model::{Code, MailId, Problem, mail::Mail};
use serde::Deserialize;

use crate::{
    gatekeeper::Pass,
    json::Json,
    problem::Answer,
    query::{Path, Query, cursor, limit, page, position},
};

/// The list's name in its cursors.
const LIST: &str = "mail";

/// What the capture box may be asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    limit: Option<u32>,
    after: Option<String>,
    envelope: Option<String>,
}

/// List captured mails.
///
/// The mails of the calling key's environment, newest first; 404 in production, whose mails go out. With `envelope` all
/// mails of that envelope, oldest first.
#[utoipa::path(get, path = "/v1/mail", tag = "Mail",
    params(("limit" = Option<u32>, Query, description = "1 to 100, 20 if left out."),
        ("after" = Option<String>, Query, description = "`next` of the page before."),
        ("envelope" = Option<String>, Query, description = "All mails of this envelope.")),
    responses((status = 200, body = api::Page<api::mail::Mail>, description = "A page of mails.")))]
pub async fn list(
    State(app): State<App>,
    pass: Pass,
    Query(query): Query<ListQuery>,
) -> Answer<Json<api::Page<api::mail::Mail>>> {
    if let Some(envelope) = query.envelope {
        let wrong = |_| Problem::new(Code::InvalidQuery, "`envelope`: an envelope's id reads env_ and 26 characters.");
        let mails = app.envelope_mails(&pass, envelope.parse().map_err(wrong)?).await?;
        return Ok(Json(api::Page { data: mails.iter().map(show).collect(), has_more: false, next: None }));
    }
    let limit = limit(query.limit, api::page::LIMIT_MAX)?;
    let after = position::<MailId>(pass.scope(), LIST, query.after.as_deref())?;
    let mails = app.list_mails(&pass, after, limit).await?;
    let next = |last: &Mail| cursor(pass.scope(), LIST, last.id);
    Ok(Json(page(mails, limit, next, |mail| show(&mail))))
}

/// Get a captured mail.
///
/// With its words: an invitation's hold the signing link.
#[utoipa::path(get, path = "/v1/mail/{id}", tag = "Mail",
    params(("id" = String, Path, description = "The mail's id.")),
    responses((status = 200, body = api::mail::MailText, description = "The mail.")))]
pub async fn get(State(app): State<App>, pass: Pass, Path(id): Path<MailId>) -> Answer<Json<api::mail::MailText>> {
    let Captured { mail, name, words } = app.get_mail(&pass, id).await?;
    Ok(Json(api::mail::MailText { mail: show(&mail), name, subject: words.subject, text: words.text }))
}

fn show(mail: &Mail) -> api::mail::Mail {
    api::mail::Mail {
        id: mail.id.to_string(),
        envelope_id: mail.envelope.to_string(),
        recipient_id: mail.recipient.to_string(),
        to: mail.address.clone(),
        purpose: mail.purpose.as_str().to_owned(),
        state: mail.state.as_str().to_owned(),
        state_at: mail.state_at.to_string(),
        detail: mail.detail.clone(),
        created_at: mail.created_at.to_string(),
    }
}
