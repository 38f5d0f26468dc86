//! `/v1/leaks`: whoever finds a secret key says so here, without a key of his own.

use std::sync::Arc;

use app::App;
use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode};
use model::{Code, Problem, event::hex, leak};

use crate::{body, json, json::Json, problem::Answer, request::Arrival};

/// A report at most.
const REPORT_BYTES_MAX: u64 = 1024 * 1024;
/// GitHub's name of the key that it signed with.
const KEY_ID: &str = "github-public-key-identifier";
/// GitHub's signature over the body.
const SIGNATURE: &str = "github-public-key-signature";

/// Report leaked keys.
///
/// Needs no key. The answer is the same whether any of them is a key of this server: who holds one learns nothing. The
/// administrators of those that are get a mail and the event `key.leaked`, and where the tenant's policy says so the key is
/// revoked. It also takes GitHub's secret scanning partner payload with its signature, and answers that as GitHub expects.
#[utoipa::path(post, path = "/v1/leaks", tag = "Keys", request_body = api::leak::LeakReport,
    responses((status = 202, body = api::leak::LeakReceived, description = "It was taken.")))]
pub async fn create(State(app): State<App>, request: Request) -> Answer<Response> {
    let (parts, incoming) = request.into_parts();
    let arrival = parts.extensions.get::<Arc<Arrival>>();
    let arrival = arrival.ok_or_else(|| Problem::fault("a request came past the frame"))?;
    let address = app.gate.client(arrival.peer, &parts.headers)?.address;
    let signed_by = signed_by(&parts.headers);
    app.gate.admit_report(address, signed_by.is_some())?;
    if !json::is_json(&parts.headers) {
        let detail = "This route takes JSON: send the header `Content-Type: application/json`.";
        return Err(Problem::new(Code::UnsupportedMediaType, detail).into());
    }
    let bytes = body::read(&parts.headers, incoming, REPORT_BYTES_MAX).await?;
    if let Some((key_id, signature)) = signed_by {
        let labels = app.report_github(address, key_id, signature, &bytes).await.inspect_err(|problem| {
            if problem.code == Code::SignatureInvalid {
                app.gate.report_failed(address);
            }
        })?;
        return Ok(
            Json(labels.iter().map(|(entry, is_ours)| label(entry, *is_ours)).collect::<Vec<_>>()).into_response()
        );
    }
    let report: api::leak::LeakReport = json::parse(&bytes)?;
    let found = leak::read(&report.tokens, &report.digests, report.place.as_deref())?;
    app.report_leaks(address, &found).await?;
    let received = api::leak::LeakReceived { received: found.len() as u64 };
    Ok((StatusCode::ACCEPTED, Json(received)).into_response())
}

/// The headers of a payload that claims to be GitHub's. One of the two alone can't be checked, and is refused as empty.
fn signed_by(headers: &HeaderMap) -> Option<(&str, &str)> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let (key_id, signature) = (text(KEY_ID), text(SIGNATURE));
    (key_id.is_some() || signature.is_some()).then(|| (key_id.unwrap_or_default(), signature.unwrap_or_default()))
}

fn label(entry: &leak::GithubEntry, is_ours: bool) -> api::leak::GithubLabel {
    api::leak::GithubLabel {
        token_hash: hex(&entry.found().digest.0),
        token_type: entry.kind.clone(),
        label: if is_ours { "true_positive" } else { "false_positive" }.to_owned(),
    }
}
