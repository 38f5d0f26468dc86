//! `/v1/keys`: generate, list, show and revoke API keys.

use app::{
    App,
    key::{Filter, KeyDetails, MadeKey},
};
use axum::{extract::State, response::Response};
use http::StatusCode;
use model::{
    BodyError, Code, KeyId, Problem,
    key::{Draft, LastUse, Reason, SecretStatus},
};
use serde::Deserialize;

use crate::{
    gatekeeper::Pass,
    idempotency::{Idempotent, kept_as},
    json::{Created, Json},
    problem::Answer,
    query::{Path, Query, cursor, limit, page, position},
    v1::audit::actor,
};

/// The list's name in its cursors.
const LIST: &str = "keys";

/// Generate a key.
///
/// The answer holds the secret key, once and never again: not for the same `Idempotency-Key` either, which is answered
/// with `secret: null` and `secret_shown: true`. What a key makes lies within it: its environment, scopes, allowlist,
/// expiry and administrator; what is left out is as the calling key has it. Needs the tier `standard`.
#[utoipa::path(post, path = "/v1/keys", tag = "Keys", request_body = api::key::NewKey,
    params(("Idempotency-Key" = Option<String>, Header, description = "Does it once, however often it is sent.")),
    responses((status = 201, body = api::key::CreatedKey, description = "The key with its secret.")))]
pub async fn create(
    State(app): State<App>,
    pass: Pass,
    idempotent: Idempotent,
    Json(body): Json<api::key::NewKey>,
) -> Answer<Response> {
    let once = idempotent.once(StatusCode::CREATED, without_secret);
    let made = app.create_key(&pass, &draft(body), &once).await?;
    let secret = Some(made.secret.expose().to_owned());
    let shown = api::key::CreatedKey { key: show(&made.details), secret, secret_shown: false };
    let location = format!("/v1/keys/{}", made.details.key.id);
    Ok(kept_as(Created { location, body: shown }, &without_secret(&made)))
}

/// What a list of keys may be asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    limit: Option<u32>,
    after: Option<String>,
    status: Option<String>,
}

/// List keys.
///
/// The keys of the calling key's environment, newest first. Dead ones stay listed, with their last use, so that nobody
/// has to guess why a program stopped.
#[utoipa::path(get, path = "/v1/keys", tag = "Keys",
    params(("limit" = Option<u32>, Query, description = "1 to 100, 20 if left out."),
        ("after" = Option<String>, Query, description = "`next` of the page before."),
        ("status" = Option<String>, Query, description = "`pending`, `active`, `suspended`, `revoked` or `expired`.")),
    responses((status = 200, body = api::Page<api::key::Key>, description = "A page of keys.")))]
pub async fn list(
    State(app): State<App>,
    pass: Pass,
    Query(query): Query<ListQuery>,
) -> Answer<Json<api::Page<api::key::Key>>> {
    let limit = limit(query.limit, api::page::LIMIT_MAX)?;
    let after = position::<KeyId>(pass.scope(), LIST, query.after.as_deref())?;
    let status = query
        .status
        .map(|word| word.parse())
        .transpose()
        .map_err(|unknown| Problem::new(Code::InvalidQuery, format!("`status`: {unknown}.")))?;
    let keys = app.list_keys(&pass, Filter { status, parent: None }, after, limit).await?;
    let next = |last: &KeyDetails| cursor(pass.scope(), LIST, last.key.id);
    Ok(Json(page(keys, limit, next, |key| show(&key))))
}

/// Get a key.
#[utoipa::path(get, path = "/v1/keys/{id}", tag = "Keys",
    params(("id" = String, Path, description = "The key's id.")),
    responses((status = 200, body = api::key::Key, description = "The key.")))]
pub async fn get(State(app): State<App>, pass: Pass, Path(id): Path<KeyId>) -> Answer<Json<api::key::Key>> {
    Ok(Json(show(&app.get_key(&pass, id).await?)))
}

/// Revoke a key.
///
/// For good. When this is answered, nothing that the key asks for passes any more, on any node, and what it had in
/// flight has taken effect before or never does. It may be repeated; each answer waits for the same.
#[utoipa::path(post, path = "/v1/keys/{id}/revoke", tag = "Keys", request_body = Option<api::key::RevokeKey>,
    params(("id" = String, Path, description = "The key's id."),
        ("Idempotency-Key" = Option<String>, Header, description = "Does it once, however often it is sent.")),
    responses((status = 200, body = api::key::Receipt, description = "It is revoked.")))]
pub async fn revoke(
    State(app): State<App>,
    pass: Pass,
    Path(id): Path<KeyId>,
    body: Option<Json<api::key::RevokeKey>>,
) -> Answer<Json<api::key::Receipt>> {
    let Json(body) = body.unwrap_or_default();
    let receipt = app.revoke_key(&pass, id, reason(body.reason.as_deref())?, &body.note).await?;
    Ok(Json(show_receipt(&receipt)))
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

pub(crate) fn draft(body: api::key::NewKey) -> Draft {
    Draft {
        label: body.label,
        environment: body.environment,
        scopes: body.scopes,
        allowlist: body.allowlist,
        expires_at: body.expires_at,
        administrator: body.administrator,
        note: body.note,
        tags: body.tags,
        confirm: body.confirm,
    }
}

fn without_secret(made: &MadeKey) -> api::key::CreatedKey {
    api::key::CreatedKey { key: show(&made.details), secret: None, secret_shown: true }
}

pub(crate) fn show_receipt(receipt: &app::key::Receipt) -> api::key::Receipt {
    api::key::Receipt {
        key: show(&receipt.key),
        effective_at: receipt.effective_at.to_string(),
        made: api::key::Made { keys: receipt.made_keys.iter().map(ToString::to_string).collect() },
    }
}

/// A key as the wire has it.
pub(crate) fn show(details: &KeyDetails) -> api::key::Key {
    let KeyDetails { key, secrets, uses, at } = details;
    // Of a dead key the youngest secret is named: the one that people know it by.
    let current = secrets.iter().find(|secret| secret.status == SecretStatus::Current).or(secrets.last());
    api::key::Key {
        id: key.id.to_string(),
        label: key.label.clone(),
        environment: key.scope.environment.to_string(),
        status: key.status_at(*at).to_string(),
        status_at: key.status_since(*at).to_string(),
        reason: key.state.reason().map(|reason| reason.to_string()),
        last4: current.map(|secret| secret.last4.clone()).unwrap_or_default(),
        created_at: key.created_at.to_string(),
        created_by: actor(&key.created_by),
        parent: key.parent.map(|parent| parent.to_string()),
        administrator: key.administrator.to_string(),
        scopes: key.scopes.names(),
        allowlist: key.allowlist.entries(),
        expires_at: key.expires_at.map(|end| end.to_string()),
        last_used: uses.last().map(show_use),
        secrets: secrets
            .iter()
            .map(|secret| api::key::Secret {
                last4: secret.last4.clone(),
                status: secret.status.to_string(),
                created_at: secret.created_at.to_string(),
                ends_at: secret.ends_at.map(|end| end.to_string()),
                last_used: uses.iter().find(|used| used.secret == secret.id).map(show_use),
            })
            .collect(),
        note: key.note.clone(),
        tags: key.tags.clone(),
    }
}

fn show_use(used: &LastUse) -> api::key::LastUse {
    api::key::LastUse {
        at: used.at.to_string(),
        address: used.address.clone(),
        user_agent: used.user_agent.clone(),
        route: used.route.clone(),
    }
}

#[cfg(test)]
mod tests;
