//! `/v1/keys`: generate, list, show and change API keys.

use app::{
    App,
    key::{Filter, KeyDetails, MadeKey},
};
use axum::{extract::State, response::Response};
use http::StatusCode;
use model::{
    KeyId,
    expiry::{self, Ages},
    key::{Draft, LastUse, Patch, SecretStatus},
    rotation,
};
use serde::Deserialize;

use crate::{
    gatekeeper::Pass,
    idempotency::{Idempotent, kept_as},
    json::{Created, Json},
    problem::Answer,
    query::{Path, Query, cursor, limit, page, position, word},
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
    let location = format!("/v1/keys/{}", made.details.key.id);
    Ok(kept_as(Created { location, body: show_created(&made) }, &without_secret(&made)))
}

/// What a list of keys may be asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    limit: Option<u32>,
    after: Option<String>,
    status: Option<String>,
    reason: Option<String>,
    administrator: Option<String>,
    tag: Option<String>,
}

/// List keys.
///
/// The keys of the calling key's environment, newest first. Dead ones stay listed, with their last use, so that nobody
/// has to guess why a program stopped.
#[utoipa::path(get, path = "/v1/keys", tag = "Keys",
    params(("limit" = Option<u32>, Query, description = "1 to 100, 20 if left out."),
        ("after" = Option<String>, Query, description = "`next` of the page before."),
        ("status" = Option<String>, Query, description = "`pending`, `active`, `suspended`, `revoked` or `expired`."),
        ("reason" = Option<String>, Query, description = "Why they ended: `manual`, `compromised`, `policy`, `administrator_removed`."),
        ("administrator" = Option<String>, Query, description = "Those with the rights of this user."),
        ("tag" = Option<String>, Query, description = "Those with this tag.")),
    responses((status = 200, body = api::Page<api::key::Key>, description = "A page of keys.")))]
pub async fn list(
    State(app): State<App>,
    pass: Pass,
    Query(query): Query<ListQuery>,
) -> Answer<Json<api::Page<api::key::Key>>> {
    let limit = limit(query.limit, api::page::LIMIT_MAX)?;
    let after = position::<KeyId>(pass.scope(), LIST, query.after.as_deref())?;
    let filter = Filter {
        status: word("status", query.status.as_deref())?,
        reason: word("reason", query.reason.as_deref())?,
        administrator: word("administrator", query.administrator.as_deref())?,
        tag: query.tag,
        ..Filter::default()
    };
    let keys = app.list_keys(&pass, filter, after, limit).await?;
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

/// Change a key.
///
/// What is left out stays. What a key changes lies within it afterwards, also itself. When this is answered, nothing passes
/// any more that the change has taken away. Of a dead key only label, note and tags can be changed.
#[utoipa::path(patch, path = "/v1/keys/{id}", tag = "Keys", request_body = api::key::UpdateKey,
    params(("id" = String, Path, description = "The key's id.")),
    responses((status = 200, body = api::key::Key, description = "The key as it is now.")))]
pub async fn update(
    State(app): State<App>,
    pass: Pass,
    Path(id): Path<KeyId>,
    Json(body): Json<api::key::UpdateKey>,
) -> Answer<Json<api::key::Key>> {
    let patch = Patch {
        label: body.label,
        scopes: body.scopes,
        allowlist: body.allowlist,
        allowlist_mode: body.allowlist_mode,
        expires_at: body.expires_at,
        note: body.note,
        tags: body.tags,
        confirm: body.confirm,
    };
    Ok(Json(show(&app.update_key(&pass, id, &patch).await?)))
}

/// Activate a key.
///
/// A key that was generated with `pending: true` is refused until this is called: store its secret first. It may be
/// repeated.
#[utoipa::path(post, path = "/v1/keys/{id}/activate", tag = "Keys",
    params(("id" = String, Path, description = "The key's id."),
        ("Idempotency-Key" = Option<String>, Header, description = "Does it once, however often it is sent.")),
    responses((status = 200, body = api::key::Key, description = "The key, active.")))]
pub async fn activate(State(app): State<App>, pass: Pass, Path(id): Path<KeyId>) -> Answer<Json<api::key::Key>> {
    Ok(Json(show(&app.activate_key(&pass, id).await?)))
}

pub(crate) fn draft(body: api::key::NewKey) -> Draft {
    Draft {
        label: body.label,
        environment: body.environment,
        scopes: body.scopes,
        allowlist: body.allowlist,
        allowlist_mode: body.allowlist_mode,
        expires_at: body.expires_at,
        administrator: body.administrator,
        note: body.note,
        tags: body.tags,
        confirm: body.confirm,
        pending: body.pending,
        encrypt_to: body.encrypt_to,
    }
}

/// A key that was just made, with its secret: for the one answer that shows it.
pub(crate) fn show_created(made: &MadeKey) -> api::key::CreatedKey {
    let secret = made.sealed.is_none().then(|| made.secret.expose().to_owned());
    api::key::CreatedKey { secret, secret_shown: false, ..without_secret(made) }
}

/// The same as it may be kept.
pub(crate) fn without_secret(made: &MadeKey) -> api::key::CreatedKey {
    let sealed_secret = made.sealed.clone();
    // What is sealed is not shown: it may be answered again and again.
    let secret_shown = sealed_secret.is_none();
    api::key::CreatedKey { key: show(&made.details), secret: None, sealed_secret, secret_shown }
}

/// A key as the wire has it.
pub(crate) fn show(details: &KeyDetails) -> api::key::Key {
    let KeyDetails { key, secrets, uses, policies, exposed, at } = details;
    // Of a dead key the youngest secret is named: the one that people know it by.
    let current = secrets.iter().find(|secret| secret.status == SecretStatus::Current).or(secrets.last());
    let (status, since) = expiry::status_at(key, secrets, policies, *at);
    let ages = Ages::of(secrets, policies, key.scope.environment);
    api::key::Key {
        id: key.id.to_string(),
        label: key.label.clone(),
        environment: key.scope.environment.to_string(),
        status: status.to_string(),
        status_at: since.to_string(),
        reason: key.state.reason().map(|reason| reason.to_string()),
        last4: current.map(|secret| secret.last4.clone()).unwrap_or_default(),
        created_at: key.created_at.to_string(),
        created_by: actor(&key.created_by),
        parent: key.parent.map(|parent| parent.to_string()),
        administrator: key.administrator.to_string(),
        scopes: key.scopes.names(),
        allowlist: key.allowlist.entries(),
        allowlist_mode: key.allowlist_mode.to_string(),
        expires_at: key.expires_at.map(|end| end.to_string()),
        last_used: uses.last().map(show_use),
        secrets: secrets
            .iter()
            .map(|secret| api::key::Secret {
                last4: secret.last4.clone(),
                status: secret.status_at(*at).to_string(),
                created_at: secret.created_at.to_string(),
                ends_at: secret.ends_at.map(|end| end.to_string()),
                last_used: uses.iter().find(|used| used.secret == secret.id).map(show_use),
            })
            .collect(),
        rotation: rotation::under_way(secrets, *at).map(|rotation| api::rotation::Rotation {
            started_at: rotation.started_at.to_string(),
            pending_last4: rotation.pending_last4,
            ends_at: rotation.ends_at.map(|end| end.to_string()),
            finish: rotation.finish.to_string(),
        }),
        rotation_due_at: ages.rotation.map(|(_, due)| due.to_string()),
        max_age: ages
            .max_age
            .map(|(mode, due)| api::rotation::MaxAge { mode: mode.to_string(), due_at: due.to_string() }),
        exposed: exposed.as_ref().map(|seen| api::key::Exposed {
            how: seen.how.to_string(),
            at: seen.last_at.to_string(),
            address: seen.address.clone(),
            count: seen.count,
        }),
        note: key.note.clone(),
        tags: key.tags.clone(),
    }
}

/// A last use as the wire has it.
pub(crate) fn show_use(used: &LastUse) -> api::key::LastUse {
    api::key::LastUse {
        at: used.at.to_string(),
        address: used.address.clone(),
        user_agent: used.user_agent.clone(),
        route: used.route.clone(),
    }
}

#[cfg(test)]
mod tests;
