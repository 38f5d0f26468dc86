//! For probes: does the process live, and can it serve?

use axum::extract::State;
use model::{Code, Problem};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    json::Json,
    problem::{Answer, Refusal},
    state::Frame,
};

/// The server's state.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ok`.
    status: &'static str,
    /// The version of the program.
    version: &'static str,
    /// What of an answer, such as a revocation, the database could lose by its settings.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<&'static str>,
}

fn ok(warnings: Vec<&'static str>) -> Json<Health> {
    Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION"), warnings })
}

/// Whether this is a probe's path: probes of a proxy come as they come.
pub(crate) fn is_probe(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz")
}

/// Is the process alive?
///
/// Answers as long as the process can answer at all: restart it when this fails.
#[utoipa::path(get, path = "/healthz", tag = "Server", responses((status = 200, body = Health, description = "It lives.")))]
pub async fn healthz() -> Json<Health> {
    ok(Vec::new())
}

/// Can it serve?
///
/// Asks the database. 503 while it can't be reached or the server stops: send requests elsewhere until it is 200 again.
/// `warnings` says where a failover or a crash of the database could lose a revocation that was answered.
#[utoipa::path(get, path = "/readyz", tag = "Server", responses((status = 200, body = Health, description = "It serves.")))]
pub async fn readyz(State(frame): State<Frame>) -> Answer<Json<Health>> {
    if frame.shutdown.is_cancelled() {
        return Err(Problem::new(Code::Unavailable, "The server is stopping.").retry_after(10).into());
    }
    match frame.app().doubts().await {
        Ok(doubts) => Ok(ok(doubts)),
        Err(problem) => Err(Refusal(
            Problem::new(Code::Unavailable, "The database can't be reached.").retry_after(1).caused_by(problem),
        )),
    }
}
