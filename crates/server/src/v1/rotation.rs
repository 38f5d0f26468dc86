//! `/v1/keys/{id}/rotate`: a second secret on the same key.

use app::{App, rotation::RotatedKey};
use axum::{extract::State, response::Response};
use http::StatusCode;
use model::{KeyId, rotation::Draft};

use crate::{
    gatekeeper::Pass,
    idempotency::{Idempotent, kept_as},
    json::Json,
    problem::Answer,
    query::Path,
    v1::key,
};

/// Rotate a key.
///
/// The key gets a second secret, shown once in this answer. It is pending until it is first used; from then on it is the
/// current one, and the old one lives on for the grace period, so no call is refused in between. Each answer to a call with
/// the old secret says so in the header `IUSign-Key-Rotated`. A pending secret that nobody uses ends after 7 days. Asked
/// again while one is pending, this answers the same without the secret; during a grace period it is refused, unless
/// `replace: true`. A key rotates itself with the scope `keys:rotate_self`, and with `keys:write` any key that lies within it.
#[utoipa::path(post, path = "/v1/keys/{id}/rotate", tag = "Keys", request_body = Option<api::rotation::RotateKey>,
    params(("id" = String, Path, description = "The key's id."),
        ("Idempotency-Key" = Option<String>, Header, description = "Does it once, however often it is sent.")),
    responses((status = 200, body = api::key::CreatedKey, description = "The key with its new secret.")))]
pub async fn rotate(
    State(app): State<App>,
    pass: Pass,
    Path(id): Path<KeyId>,
    idempotent: Idempotent,
    body: Option<Json<api::rotation::RotateKey>>,
) -> Answer<Response> {
    let Json(body) = body.unwrap_or_default();
    let draft = Draft {
        grace_period: body.grace_period,
        finish: body.finish,
        silent_for: body.silent_for,
        replace: body.replace,
        encrypt_to: body.encrypt_to,
    };
    let once = idempotent.once(StatusCode::OK, without_secret);
    let rotated = app.rotate_key(&pass, id, &draft, &once).await?;
    let in_clear = rotated.secret.as_ref().filter(|_| rotated.sealed.is_none());
    let secret = in_clear.map(|secret| secret.expose().to_owned());
    let secret_shown = rotated.secret.is_none();
    let shown = api::key::CreatedKey { secret, secret_shown, ..without_secret(&rotated) };
    Ok(kept_as(Json(shown), &without_secret(&rotated)))
}

fn without_secret(rotated: &RotatedKey) -> api::key::CreatedKey {
    let sealed_secret = rotated.sealed.clone();
    // What is sealed is not shown: it may be answered again and again.
    let secret_shown = sealed_secret.is_none();
    api::key::CreatedKey { key: key::show(&rotated.details), secret: None, sealed_secret, secret_shown }
}
