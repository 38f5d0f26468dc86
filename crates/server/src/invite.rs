//! The invitation's page: whoever holds the link from the mail sets name and password, and joins. It works without scripts.

use std::sync::Arc;

use app::{invitation::Invited, password::PASSWORD_CHARS_MIN, room::Visitor};
use askama::Template;
use axum::{
    extract::{FromRequestParts, RawPathParams, Request},
    response::{IntoResponse, Response},
};
use http::{StatusCode, request::Parts};
use model::{BodyError, Code, Problem, Role, link::Invitation};

use crate::{
    problem::Refusal,
    request::Arrival,
    sign::{
        form::Pairs,
        pages::{Frame as PageFrame, initials, page},
        visit::{is_own, visitor},
        words::{self, Words},
    },
    state::Frame,
};

/// Who comes with an invitation.
pub(crate) struct Guest {
    frame: Frame,
    /// None where the path holds no invitation.
    link: Option<Invitation>,
    visitor: Visitor,
    /// The request comes from our own page, or from a program that names our address as its origin.
    is_own: bool,
}

impl FromRequestParts<Frame> for Guest {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, frame: &Frame) -> Result<Self, Refusal> {
        let arrival = parts.extensions.get::<Arc<Arrival>>().cloned();
        let arrival = arrival.ok_or_else(|| Problem::fault("a request came past the frame"))?;
        let address = frame.app().gate.client(arrival.peer, &parts.headers)?.address;
        // What is not UTF-8 when decoded is no link of ours.
        let params = RawPathParams::from_request_parts(parts, frame).await.ok();
        let text = params.iter().flatten().find(|(name, _)| *name == "link").map(|(_, text)| text.to_owned());
        Ok(Self {
            link: text.as_deref().and_then(Invitation::parse),
            visitor: visitor(&parts.headers, address, &arrival.id),
            is_own: is_own(&parts.headers, frame.public_url()),
            frame: frame.clone(),
        })
    }
}

impl Guest {
    fn link(&self) -> Result<&Invitation, Problem> {
        self.link.as_ref().ok_or_else(|| Code::LinkUnknown.into())
    }
}

#[derive(Template)]
#[template(path = "invite/join.html")]
struct Join {
    words: &'static Words,
    frame: PageFrame,
    role: Role,
    may: &'static str,
    email: String,
    name: String,
    name_error: String,
    password_error: String,
    again_error: String,
    chars_min: usize,
    until: String,
}

#[derive(Template)]
#[template(path = "invite/state.html")]
struct State {
    words: &'static Words,
    frame: PageFrame,
    tone: &'static str,
    line: String,
}

/// The invitation's page. Changes nothing: programs that check mails follow links too.
pub(crate) async fn show(guest: Guest) -> Response {
    let shown = async {
        let link = guest.link()?;
        let invited = guest.frame.app().invitation(link).await?;
        page(StatusCode::OK, &form(&invited, link, &invited_name(&invited), &[]))
    };
    let shown = shown.await;
    shown.unwrap_or_else(|problem| refused(&guest, &problem))
}

/// Joins.
pub(crate) async fn join(guest: Guest, request: Request) -> Response {
    let joined = async {
        if !guest.is_own {
            return Err(Code::ForeignOrigin.into());
        }
        let link = guest.link()?;
        let (parts, body) = request.into_parts();
        let form = Pairs::read(&parts.headers, body).await?;
        match done(&guest, link, &form).await {
            Err(problem) if problem.code == Code::InvalidBody => {
                let invited = guest.frame.app().invitation(link).await?;
                page(StatusCode::UNPROCESSABLE_ENTITY, &self::form(&invited, link, form.get("name"), &problem.errors))
            }
            other => other,
        }
    };
    let joined = joined.await;
    joined.unwrap_or_else(|problem| refused(&guest, &problem))
}

async fn done(guest: &Guest, link: &Invitation, form: &Pairs) -> Result<Response, Problem> {
    if form.get("password") != form.get("again") {
        let detail = "The two passwords are not the same.";
        return Err(Problem::body(vec![BodyError::new("/again", "different", detail)]));
    }
    let Invited { user, tenant, .. } =
        guest.frame.app().join(link, &guest.visitor, form.get("name"), form.get("password")).await?;
    let line = format!("{}, you belong to {} now, with the role {}.", user.name, tenant.name, user.role);
    page(StatusCode::OK, &state(framed("You have joined", &tenant.name), "good", line))
}

fn form(invited: &Invited, link: &Invitation, name: &str, errors: &[BodyError]) -> Join {
    let error = |pointer: &str| {
        let fault = errors.iter().find(|error| error.pointer == pointer);
        fault.map_or_else(String::new, |fault| fault.detail.clone())
    };
    let Invited { user, tenant, expires_at } = invited;
    let mut frame = framed(&format!("Join {}", tenant.name), &tenant.name);
    frame.path = format!("/invite/{}", link.expose());
    Join {
        words: words::of(""),
        frame,
        role: user.role,
        may: may(user.role),
        email: user.email.clone(),
        name: name.to_owned(),
        name_error: error("/name"),
        password_error: error("/password"),
        again_error: error("/again"),
        chars_min: PASSWORD_CHARS_MIN,
        until: expires_at.words_in("UTC"),
    }
}

/// The name that the inviting person gave; where it is the address, the field stays empty.
fn invited_name(invited: &Invited) -> String {
    let user = &invited.user;
    if user.name.eq_ignore_ascii_case(&user.email) { String::new() } else { user.name.clone() }
}

/// What a role may do, in words that follow its name.
fn may(role: Role) -> &'static str {
    match role {
        Role::Viewer => "you see what is sent and signed",
        Role::User => "you work with envelopes",
        Role::Admin => "you manage API keys and people",
        Role::Owner => "you may do everything",
    }
}

fn framed(title: &str, tenant: &str) -> PageFrame {
    PageFrame { sender: tenant.to_owned(), initials: initials(tenant), ..PageFrame::bare(title) }
}

fn state(frame: PageFrame, tone: &'static str, line: String) -> State {
    State { words: words::of(""), frame, tone, line }
}

/// What can't be done becomes a page that tells nothing of any tenant.
fn refused(guest: &Guest, problem: &Problem) -> Response {
    let (title, line) = match problem.code {
        Code::LinkUnknown => (
            "This invitation is not known",
            "It was answered already, or a newer mail has taken its place. Open the link from the newest mail, whole."
                .to_owned(),
        ),
        Code::InvitationExpired => {
            ("This invitation has expired", format!("{} Ask who invited you for a new one.", problem.detail))
        }
        Code::TenantSuspended => ("This can't be done now", "Ask who invited you.".to_owned()),
        Code::ForeignOrigin => {
            ("This came from another site", "Open the link from the mail and go on there.".to_owned())
        }
        code if code.status() >= 500 => {
            let id = guest.visitor.request_id.as_deref().unwrap_or_default();
            let cause = problem.cause().map(ToString::to_string).unwrap_or_default();
            tracing::error!(request_id = id, code = code.as_str(), cause, "an invitation's page failed");
            ("Something failed", format!("Try again in a moment. Whoever runs this server finds it by {id}."))
        }
        _ => ("This can't be done", problem.detail.clone()),
    };
    let status = StatusCode::from_u16(problem.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // A template that can't be written is a fault without a page.
    page(status, &state(PageFrame::bare(title), "warn", line))
        .unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}
