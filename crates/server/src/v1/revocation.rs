//! `/v1/keys/…`: take a key's right away and give it back: revoke, in bulk too, suspend, resume, transfer; receipts.

use app::{App, revocation::BulkReceipt};
use axum::extract::State;
use model::{
    BodyError, KeyId, Problem,
    key::Reason,
    revocation::{BulkDraft, Passed},
};

use crate::{gatekeeper::Pass, json::Json, problem::Answer, query::Path, v1::key::show};

/// Revoke a key.
///
/// For good. When this is answered, nothing that the key asks for passes any more, on any node, and what it had in
/// flight has taken effect before or never does. It may be repeated; each answer waits for the same.
#[utoipa::path(post, path = "/v1/keys/{id}/revoke", tag = "Keys", request_body = Option<api::revocation::RevokeKey>,
    params(("id" = String, Path, description = "The key's id."),
        ("Idempotency-Key" = Option<String>, Header, description = "Does it once, however often it is sent.")),
    responses((status = 200, body = api::revocation::Receipt, description = "It is revoked.")))]
pub async fn revoke(
    State(app): State<App>,
    pass: Pass,
    Path(id): Path<KeyId>,
    body: Option<Json<api::revocation::RevokeKey>>,
) -> Answer<Json<api::revocation::Receipt>> {
    let Json(body) = body.unwrap_or_default();
    let receipt = app.revoke_key(&pass, id, reason(body.reason.as_deref())?, &body.note).await?;
    Ok(Json(show_receipt(&receipt)))
}

/// Revoke many keys.
///
/// Every key of the environment that all that is given fits, in one transaction, at most 1,000. With `dry_run` it only says
/// which they are. The calling key may be one of them.
#[utoipa::path(post, path = "/v1/keys/revoke", tag = "Keys", request_body = api::revocation::RevokeKeys,
    params(("Idempotency-Key" = Option<String>, Header, description = "Does it once, however often it is sent.")),
    responses((status = 200, body = api::revocation::RevokedKeys, description = "They are revoked.")))]
pub async fn many(
    State(app): State<App>,
    pass: Pass,
    Json(body): Json<api::revocation::RevokeKeys>,
) -> Answer<Json<api::revocation::RevokedKeys>> {
    let draft = BulkDraft { user: body.user, environment: body.environment, tag: body.tag, idle_days: body.idle_days };
    let BulkReceipt { keys, effective_at } = app.revoke_keys(&pass, &draft, &body.note, body.dry_run).await?;
    let effective_at = effective_at.map(|at| at.to_string());
    Ok(Json(api::revocation::RevokedKeys { keys: keys.iter().map(show).collect(), effective_at }))
}

/// Get a revocation's receipt.
///
/// It is complete within some seconds, when each server has written what it held in memory: the last request that got
/// through, and what was refused and cut off since. The event `key.receipt_completed` tells it.
#[utoipa::path(get, path = "/v1/keys/{id}/receipt", tag = "Keys",
    params(("id" = String, Path, description = "The revoked key's id.")),
    responses((status = 200, body = api::revocation::Receipt, description = "The receipt.")))]
pub async fn receipt(
    State(app): State<App>,
    pass: Pass,
    Path(id): Path<KeyId>,
) -> Answer<Json<api::revocation::Receipt>> {
    Ok(Json(show_receipt(&app.get_receipt(&pass, id).await?)))
}

/// Suspend a key.
///
/// From the answer on it is refused, as if it were revoked, until it is resumed: find out what breaks before you revoke
/// it. It may be repeated.
#[utoipa::path(post, path = "/v1/keys/{id}/suspend", tag = "Keys", request_body = Option<api::revocation::TurnKey>,
    params(("id" = String, Path, description = "The key's id."),
        ("Idempotency-Key" = Option<String>, Header, description = "Does it once, however often it is sent.")),
    responses((status = 200, body = api::key::Key, description = "The key, suspended.")))]
pub async fn suspend(
    State(app): State<App>,
    pass: Pass,
    Path(id): Path<KeyId>,
    body: Option<Json<api::revocation::TurnKey>>,
) -> Answer<Json<api::key::Key>> {
    let Json(body) = body.unwrap_or_default();
    Ok(Json(show(&app.suspend_key(&pass, id, &body.note).await?)))
}

/// Resume a key.
///
/// A key resumes only keys that lie within it. It may be repeated.
#[utoipa::path(post, path = "/v1/keys/{id}/resume", tag = "Keys", request_body = Option<api::revocation::TurnKey>,
    params(("id" = String, Path, description = "The key's id."),
        ("Idempotency-Key" = Option<String>, Header, description = "Does it once, however often it is sent.")),
    responses((status = 200, body = api::key::Key, description = "The key, active.")))]
pub async fn resume(
    State(app): State<App>,
    pass: Pass,
    Path(id): Path<KeyId>,
    body: Option<Json<api::revocation::TurnKey>>,
) -> Answer<Json<api::key::Key>> {
    let Json(body) = body.unwrap_or_default();
    Ok(Json(show(&app.resume_key(&pass, id, &body.note).await?)))
}

/// Transfer a key.
///
/// The key gets the rights of another owner or admin; its secret stays. A key can only take over: for its own
/// administrator, and only keys that lie within it.
#[utoipa::path(post, path = "/v1/keys/{id}/transfer", tag = "Keys", request_body = api::revocation::TransferKey,
    params(("id" = String, Path, description = "The key's id."),
        ("Idempotency-Key" = Option<String>, Header, description = "Does it once, however often it is sent.")),
    responses((status = 200, body = api::key::Key, description = "The key, transferred.")))]
pub async fn transfer(
    State(app): State<App>,
    pass: Pass,
    Path(id): Path<KeyId>,
    Json(body): Json<api::revocation::TransferKey>,
) -> Answer<Json<api::key::Key>> {
    Ok(Json(show(&app.transfer_key_to(&pass, id, &body.administrator).await?)))
}

/// The reasons that a caller may give; the others are the server's own.
pub(crate) fn reason(word: Option<&str>) -> Result<Reason, Problem> {
    match word {
        None | Some("manual") => Ok(Reason::Manual),
        Some("compromised") => Ok(Reason::Compromised),
        Some(_) => {
            let detail = "A reason is manual or compromised.";
            Err(Problem::body(vec![BodyError::new("/reason", "invalid_value", detail)]))
        }
    }
}

pub(crate) fn show_receipt(receipt: &app::revocation::Receipt) -> api::revocation::Receipt {
    let passed = |passed: &Passed| api::revocation::Passed {
        request_id: passed.request_id.clone(),
        at: passed.at.to_string(),
        address: passed.address.clone(),
        route: passed.route.clone(),
    };
    api::revocation::Receipt {
        key: show(&receipt.key),
        effective_at: receipt.effective_at.map(|at| at.to_string()),
        as_of: receipt.as_of.to_string(),
        complete: receipt.complete,
        last_passed: receipt.aftermath.last_passed.as_ref().map(passed),
        refused: receipt.aftermath.refused,
        streams_closed: receipt.aftermath.streams_closed,
        made: api::revocation::Made {
            keys: receipt.made_keys.iter().map(ToString::to_string).collect(),
            batches: receipt.made_batches.iter().map(ToString::to_string).collect(),
        },
    }
}
