//! What can't be done becomes a page: what happened, whom to ask, and a status of its own.

use app::room::Standing;
use axum::response::Response;
use http::{StatusCode, header};
use model::{Code, Problem};

use super::{
    pages::{self, Frame, State, page},
    show::Show,
    visit::Visit,
    words::{self, Words, fill},
};

/// The page of a state in which nothing can be done.
pub(super) fn state(show: &Show<'_>) -> Result<Response, Problem> {
    page(status(show.room.standing), &show.state())
}

fn status(standing: Standing) -> StatusCode {
    match standing {
        Standing::Open | Standing::Signed | Standing::Copy => StatusCode::OK,
        Standing::NotYourTurn => StatusCode::FORBIDDEN,
        Standing::Declined | Standing::Voided | Standing::Expired | Standing::Replaced => StatusCode::GONE,
    }
}

/// The page that was made, or the one for what stood in its way.
pub(super) async fn page_for(visit: &Visit, made: Result<Response, Problem>) -> Response {
    let problem = match made {
        Ok(response) => return response,
        Err(problem) => problem,
    };
    match of_envelope(visit, &problem).await {
        Some(response) => response,
        None => of_request(visit, &problem),
    }
}

/// Whoever has proven the link is told what became of the envelope.
async fn of_envelope(visit: &Visit, problem: &Problem) -> Option<Response> {
    let of_state = [
        Code::SessionRequired,
        Code::ConsentRequired,
        Code::NotYourTurn,
        Code::RecipientAlreadySigned,
        Code::AlreadyCompleted,
        Code::AlreadySealing,
        Code::AlreadyDeclined,
        Code::AlreadyVoided,
        Code::AlreadyExpired,
    ];
    if !of_state.contains(&problem.code) {
        return None;
    }
    let link = visit.link().ok()?;
    let room = visit.frame.app().room_landing(link).await.ok()?;
    let show = Show::new(&room, link);
    match (room.standing, problem.code) {
        (Standing::Open | Standing::Signed | Standing::Copy, Code::SessionRequired) => {
            page(StatusCode::UNAUTHORIZED, &show.session_ended()).ok()
        }
        // The consent page or the document says the rest: what is open is never shown as done.
        (Standing::Open, _) => super::see_other(visit, "/document").ok(),
        _ => state(&show).ok(),
    }
}

/// Nothing may be told of any envelope: what is wrong with the request, or with us.
fn of_request(visit: &Visit, problem: &Problem) -> Response {
    let words = words::of("");
    let (icon, heading, line) = match problem.code {
        Code::LinkUnknown | Code::NotFound => ("link", words.unknown, words.unknown_line.to_owned()),
        Code::ForeignOrigin => ("warn", words.foreign, words.foreign_line.to_owned()),
        Code::RateLimited => ("clock", words.too_much, words.too_much_line.to_owned()),
        code if code.status() >= 500 => {
            log(visit, problem);
            ("warn", words.failed, fill(words.failed_line, &[("request", &visit.request_id)]))
        }
        _ => ("warn", words.not_possible, problem.detail.clone()),
    };
    let status = StatusCode::from_u16(problem.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match page(status, &bare(words, icon, heading, line)) {
        Ok(mut response) => {
            if let Some(seconds) = problem.retry_after_s {
                response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            }
            response
        }
        // A template that can't be written is a fault without a page.
        Err(_) => axum::response::IntoResponse::into_response(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn bare(words: &'static Words, icon: &'static str, heading: &str, line: String) -> State {
    pages::State {
        words,
        frame: Frame::bare(heading),
        icon,
        tone: "warn",
        heading: heading.to_owned(),
        lines: vec![line],
        quote: String::new(),
        open: "",
        back: "",
        ask: words.ask_unknown.to_owned(),
    }
}

fn log(visit: &Visit, problem: &Problem) {
    let cause = problem.cause().map(|cause| model::causes(cause)).unwrap_or_default();
    tracing::error!(request_id = visit.request_id, code = problem.code.as_str(), cause, "the signing room failed");
}
