//! `/v1/users`: the tenant's people, their roles, and what becomes of their keys when they go.

use std::str::FromStr;

use app::{App, user::Offboarding};
use axum::extract::State;
use model::{BodyError, Problem, UserId, user::User, user::UserChange};
use serde::Deserialize;

use crate::{
    gatekeeper::Pass,
    json::{Created, Json},
    problem::Answer,
    query::{Path, Query, cursor, limit, page, position},
    v1::me::show_user,
};

/// The list's name in its cursors.
const LIST: &str = "users";

/// What the list of users may be asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    limit: Option<u32>,
    after: Option<String>,
}

/// List users.
///
/// All of the tenant, oldest first, also those who were invited and have not joined, and those who were removed.
#[utoipa::path(get, path = "/v1/users", tag = "Team",
    params(("limit" = Option<u32>, Query, description = "1 to 100, 20 if left out."),
        ("after" = Option<String>, Query, description = "`next` of the page before.")),
    responses((status = 200, body = api::Page<api::user::User>, description = "A page of users.")))]
pub async fn list(
    State(app): State<App>,
    pass: Pass,
    Query(query): Query<ListQuery>,
) -> Answer<Json<api::Page<api::user::User>>> {
    let limit = limit(query.limit, api::page::LIMIT_MAX)?;
    let after = position::<UserId>(pass.scope(), LIST, query.after.as_deref())?;
    let users = app.list_users(&pass, after, limit).await?;
    let next = |last: &User| cursor(pass.scope(), LIST, last.id);
    Ok(Json(page(users, limit, next, |user| show_user(&user))))
}

/// Invite a user.
///
/// A mail with a link goes to the address: whoever opens it sets name and password, and joins. Needs a production key, as
/// users are in no environment. The role lies within that of the calling key's administrator.
#[utoipa::path(post, path = "/v1/users", tag = "Team", request_body = api::user::NewUser,
    params(("Idempotency-Key" = Option<String>, Header, description = "Does it once, however often it is sent.")),
    responses((status = 201, body = api::user::User, description = "The user, invited.")))]
pub async fn invite(
    State(app): State<App>,
    pass: Pass,
    Json(body): Json<api::user::NewUser>,
) -> Answer<Created<api::user::User>> {
    let mut faults = Vec::new();
    let role = word(Some(&body.role), "/role", &mut faults);
    let role = role.ok_or_else(|| Problem::body(faults))?;
    let user = app.invite_user(&pass, (&body.email, &body.name), role).await?;
    Ok(Created { location: format!("/v1/users/{}", user.id), body: show_user(&user) })
}

/// Get a user.
#[utoipa::path(get, path = "/v1/users/{id}", tag = "Team",
    params(("id" = String, Path, description = "The user's id.")),
    responses((status = 200, body = api::user::User, description = "The user.")))]
pub async fn get(State(app): State<App>, pass: Pass, Path(id): Path<UserId>) -> Answer<Json<api::user::User>> {
    Ok(Json(show_user(&app.get_user(&pass, id).await?)))
}

/// Change a user.
///
/// Name, role, or status. Where API keys would stop, because their administrator is demoted, suspended or removed, it is
/// refused with 409 `keys_would_stop`, whose `keys` names each with its last use (to a key with `keys:read`): transfer
/// them with `transfer_keys_to`, or send `confirm: true`. To remove is for good, and revokes the keys that are left. When this is answered, nothing
/// passes any more that the change has taken away. Needs a production key.
#[utoipa::path(patch, path = "/v1/users/{id}", tag = "Team", request_body = api::user::UpdateUser,
    params(("id" = String, Path, description = "The user's id.")),
    responses((status = 200, body = api::user::User, description = "The user, changed.")))]
pub async fn update(
    State(app): State<App>,
    pass: Pass,
    Path(id): Path<UserId>,
    Json(body): Json<api::user::UpdateUser>,
) -> Answer<Json<api::user::User>> {
    let (change, offboarding) = change(body)?;
    Ok(Json(show_user(&app.update_user(&pass, id, &change, &offboarding).await?)))
}

/// Invite a user again.
///
/// For who has not joined yet: a new mail goes out, and the link of the one before ends. Needs a production key.
#[utoipa::path(post, path = "/v1/users/{id}/invite", tag = "Team",
    params(("id" = String, Path, description = "The user's id."),
        ("Idempotency-Key" = Option<String>, Header, description = "Does it once, however often it is sent.")),
    responses((status = 200, body = api::user::User, description = "The user, invited again.")))]
pub async fn invite_again(State(app): State<App>, pass: Pass, Path(id): Path<UserId>) -> Answer<Json<api::user::User>> {
    Ok(Json(show_user(&app.invite_again(&pass, id).await?)))
}

/// A change as it was asked for; every fault is named.
pub(crate) fn change(body: api::user::UpdateUser) -> Result<(UserChange, Offboarding), Problem> {
    let mut faults = Vec::new();
    let role = word(body.role.as_deref(), "/role", &mut faults);
    let status = word(body.status.as_deref(), "/status", &mut faults);
    let transfer_keys_to = body.transfer_keys_to.as_deref().and_then(|text| {
        let wrong = |_| BodyError::new("/transfer_keys_to", "malformed", "A user's id reads usr_ and 26 characters.");
        text.parse().map_err(wrong).map_err(|fault| faults.push(fault)).ok()
    });
    if !faults.is_empty() {
        return Err(Problem::body(faults));
    }
    Ok((UserChange { name: body.name, role, status }, Offboarding { transfer_keys_to, confirm: body.confirm }))
}

fn word<T: FromStr<Err = model::word::UnknownWord>>(
    text: Option<&str>,
    pointer: &str,
    faults: &mut Vec<BodyError>,
) -> Option<T> {
    text?.parse().map_err(|unknown| faults.push(BodyError::new(pointer, "invalid_value", format!("{unknown}.")))).ok()
}
