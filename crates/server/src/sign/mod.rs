//! The signing room: where recipients come in with the link from their mail. Pages that work without scripts.
//!
//! | route | what |
//! |---|---|
//! | `GET /sign/{link}` | the landing page; changes nothing, for programs that check mails follow links too |
//! | `POST …/open` | a person opened it: the session begins |
//! | `GET …/document` | the consent, then the documents with their fields |
//! | `POST …/consent`, `…/values`, `…/finish`, `…/decline` | what a recipient does |
//! | `GET …/decline`, `…/done` | why not; what was signed |
//! | `GET …/places.css`, `…/pages/{document}/{n}.png`, `…/files/{document}.pdf` | what the pages are made of |
//!
//! Every handler proves the link through `app`; what can't be done becomes the page of its state (`turned.rs`).

mod file;
mod filled;
pub(crate) mod form;
pub(crate) mod pages;
mod places;
mod show;
#[cfg(test)]
mod tests;
mod turned;
pub(crate) mod visit;
pub(crate) mod words;

use app::room::{Room, Standing};
use axum::{
    Json as Answered,
    extract::Request,
    response::{IntoResponse, Redirect, Response},
};
use http::{HeaderValue, StatusCode, header};
use model::{Code, DocumentId, Problem};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use self::{form::Pairs, pages::page, show::Show, visit::Visit};
use crate::{json::Json, problem::Answer, query::Query};

/// The link's page. Changes nothing.
pub(crate) async fn landing(visit: Visit) -> Response {
    let shown = async {
        let link = visit.link()?;
        let room = visit.frame.app().room_landing(link).await?;
        let show = Show::new(&room, link);
        match room.standing {
            Standing::Open | Standing::Copy => page(StatusCode::OK, &show.landing()),
            _ => turned::state(&show),
        }
    };
    let shown = shown.await;
    turned::page_for(&visit, shown).await
}

/// Begins a session.
pub(crate) async fn open(visit: Visit) -> Response {
    let opened = async {
        visit.own()?;
        let link = visit.link()?;
        let token = visit.frame.app().room_open(link, &visit.visitor).await?;
        let mut response = see_other(&visit, "/document")?;
        let cookie = visit::cookie(link, &token).ok_or_else(|| Problem::fault("a cookie holds what a header can't"))?;
        response.headers_mut().insert(header::SET_COOKIE, cookie);
        Ok(response)
    };
    let opened = opened.await;
    turned::page_for(&visit, opened).await
}

/// The consent first, then the documents.
pub(crate) async fn document(visit: Visit) -> Response {
    let shown = async {
        let room = room(&visit).await?;
        let show = Show::new(&room, visit.link()?);
        match room.standing {
            Standing::Open if room.recipient().body.consent.is_none() => page(StatusCode::OK, &show.consent("")),
            Standing::Open => page(StatusCode::OK, &show.document(None, &[], "")),
            Standing::Signed | Standing::Copy => see_other(&visit, "/done"),
            _ => turned::state(&show),
        }
    };
    let shown = shown.await;
    turned::page_for(&visit, shown).await
}

/// Whoever enters a form's address by hand is led to the page.
pub(crate) async fn back(visit: Visit) -> Response {
    let led = see_other(&visit, "/document");
    turned::page_for(&visit, led).await
}

/// Where the fields lie.
pub(crate) async fn places(visit: Visit) -> Answer<Response> {
    let room = room(&visit).await?;
    let mut response = places::css(&room).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8"));
    pages::keep_out(response.headers_mut());
    Ok(response)
}

/// Agrees to electronic records.
pub(crate) async fn consent(visit: Visit, request: Request) -> Response {
    let agreed = async {
        visit.own()?;
        let form = pairs(request).await?;
        let link = visit.link()?;
        let app = visit.frame.app();
        let room = room(&visit).await?;
        let show = Show::new(&room, link);
        if room.standing != Standing::Open || room.recipient().body.consent.is_some() {
            return see_other(&visit, "/document");
        }
        if form.get("agree") != "yes" {
            return page(StatusCode::UNPROCESSABLE_ENTITY, &show.consent(show.words.agree_first));
        }
        match app.room_consent(link, visit.token.as_ref(), &visit.visitor, form.get("version")).await {
            Ok(()) => see_other(&visit, "/document"),
            Err(problem) if problem.code == Code::ConsentRequired => {
                page(StatusCode::CONFLICT, &show.consent(show.words.consent_changed))
            }
            Err(problem) => Err(problem),
        }
    };
    let agreed = agreed.await;
    turned::page_for(&visit, agreed).await
}

/// The query of a page's picture.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PictureQuery {
    #[serde(default)]
    w: Option<u32>,
}

/// A page's picture.
pub(crate) async fn picture(visit: Visit, Query(query): Query<PictureQuery>) -> Answer<Response> {
    /// Pixels across where the page asks for no width.
    const WIDTH_PX: u32 = 1_200;
    let number = visit.param("page").strip_suffix(".png").and_then(|text| text.parse().ok());
    let (Some(number), Ok(document)) = (number, visit.param("document").parse::<DocumentId>()) else {
        return Err(Problem::not_found().into());
    };
    let width = query.w.unwrap_or(WIDTH_PX);
    let app = visit.frame.app();
    let png = app.room_picture(visit.link()?, visit.token.as_ref(), document, number, width).await?;
    let mut response = png.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("image/png"));
    pages::keep_out(response.headers_mut());
    Ok(response)
}

/// What the page saves as one goes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Values {
    version: i64,
    values: Map<String, Value>,
}

/// The version that the values have now.
#[derive(Serialize)]
struct Saved {
    version: i64,
}

/// Saves what was typed so far.
pub(crate) async fn values(visit: Visit, Json(given): Json<Values>) -> Answer<Response> {
    visit.own()?;
    let app = visit.frame.app();
    let (link, token) = (visit.link()?, visit.token.as_ref());
    let version = app.room_save(link, token, &visit.visitor, given.version, &given.values).await?;
    Ok(Answered(Saved { version }).into_response())
}

/// Signs.
pub(crate) async fn finish(visit: Visit, request: Request) -> Response {
    let signed = async {
        visit.own()?;
        let form = pairs(request).await?;
        let seen = room(&visit).await?;
        if seen.standing != Standing::Open {
            return see_other(&visit, "/document");
        }
        let fields =
            seen.fields().into_iter().filter(|field| !field.readonly).map(|field| (field.key.as_str(), field.kind));
        let done = match form.finish(fields) {
            Ok(finish) => {
                let app = visit.frame.app();
                app.room_finish(visit.link()?, visit.token.as_ref(), &visit.visitor, finish).await
            }
            Err(problem) => Err(problem),
        };
        match done {
            Ok(()) => see_other(&visit, "/done"),
            Err(problem) => again(&visit, &form, problem).await,
        }
    };
    let signed = signed.await;
    turned::page_for(&visit, signed).await
}

/// The document once more, with what was sent and what is wrong with it.
async fn again(visit: &Visit, form: &Pairs, problem: Problem) -> Result<Response, Problem> {
    let outdated = problem.code == Code::ValuesOutdated;
    if !outdated && problem.code != Code::InvalidBody {
        return Err(problem);
    }
    let room = room(visit).await?;
    let show = Show::new(&room, visit.link()?);
    let notice = if outdated { show.words.outdated_page } else { "" };
    let status = if outdated { StatusCode::CONFLICT } else { StatusCode::UNPROCESSABLE_ENTITY };
    page(status, &show.document(Some(form), &problem.errors, notice))
}

/// Why not.
pub(crate) async fn ask_decline(visit: Visit) -> Response {
    let shown = async {
        let room = room(&visit).await?;
        let show = Show::new(&room, visit.link()?);
        match room.standing {
            Standing::Open => page(StatusCode::OK, &show.decline("", "")),
            _ => turned::state(&show),
        }
    };
    let shown = shown.await;
    turned::page_for(&visit, shown).await
}

/// Declines.
pub(crate) async fn decline(visit: Visit, request: Request) -> Response {
    let declined = async {
        visit.own()?;
        let form = pairs(request).await?;
        let link = visit.link()?;
        let room = room(&visit).await?;
        let show = Show::new(&room, link);
        let reason = form.get("reason").replace("\r\n", "\n");
        let reason = reason.trim();
        let error = match reason.chars().count() {
            0 => show.words.decline_empty,
            length if length > app::room::REASON_CHARS_MAX => show.words.decline_long,
            _ => "",
        };
        if room.standing == Standing::Open && !error.is_empty() {
            return page(StatusCode::UNPROCESSABLE_ENTITY, &show.decline(reason, error));
        }
        visit.frame.app().room_decline(link, visit.token.as_ref(), &visit.visitor, reason).await?;
        see_other(&visit, "")
    };
    let declined = declined.await;
    turned::page_for(&visit, declined).await
}

/// What was signed, and one's own copy.
pub(crate) async fn done(visit: Visit) -> Response {
    let shown = async {
        let room = room(&visit).await?;
        let show = Show::new(&room, visit.link()?);
        match room.standing {
            Standing::Signed | Standing::Copy => page(StatusCode::OK, &show.done()),
            Standing::Open => see_other(&visit, "/document"),
            _ => turned::state(&show),
        }
    };
    let shown = shown.await;
    turned::page_for(&visit, shown).await
}

/// One's own copy.
pub(crate) async fn copy(visit: Visit) -> Response {
    let copied = async {
        let id = visit.param("document").strip_suffix(".pdf").and_then(|text| text.parse().ok());
        let id: DocumentId = id.ok_or_else(Problem::not_found)?;
        let copy = visit.frame.app().room_copy(visit.link()?, visit.token.as_ref(), id).await?;
        file::attachment(copy)
    };
    let copied = copied.await;
    turned::page_for(&visit, copied).await
}

/// Reads what a visit brings, for its fuzz target.
#[cfg(fuzzing)]
pub(crate) async fn read(link: &[u8], cookie: &[u8], form: &[u8]) {
    use model::field::FieldKind;
    let mut headers = http::HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    if let Ok(cookie) = HeaderValue::from_bytes(cookie) {
        headers.insert(header::COOKIE, cookie);
    }
    if let Some(link) = std::str::from_utf8(link).ok().and_then(model::link::Link::parse) {
        let _ = visit::token(&headers, &link);
    }
    let fields = [("a", FieldKind::Text), ("b", FieldKind::Checkbox), ("c", FieldKind::Signature)];
    let body = axum::body::Body::from(form.to_vec());
    let finish = Pairs::read(&headers, body).await.and_then(|pairs| pairs.finish(fields.into_iter()));
    if let Some(signature) = finish.ok().and_then(|finish| finish.signature) {
        let _ = signature.check();
    }
}

async fn room(visit: &Visit) -> Result<Room, Problem> {
    visit.frame.app().room(visit.link()?, visit.token.as_ref()).await
}

async fn pairs(request: Request) -> Result<Pairs, Problem> {
    let (parts, body) = request.into_parts();
    Pairs::read(&parts.headers, body).await
}

/// On to another page of the same link.
fn see_other(visit: &Visit, to: &str) -> Result<Response, Problem> {
    let mut response = Redirect::to(&format!("/sign/{}{to}", visit.link()?.expose())).into_response();
    pages::keep_out(response.headers_mut());
    Ok(response)
}
