//! `/v1/keys/{id}/compromise`: a key in wrong hands, what it did, and what is decided about that.

use app::{
    App,
    compromise::{Blast, Compromised, Deed, FIRST_DEEDS, Wanted},
};
use axum::{extract::State, response::Response};
use model::{EnvScope, KeyId, compromise::Draft};
use serde::Deserialize;

use crate::{
    gatekeeper::Pass,
    idempotency::kept_as,
    json::Json,
    problem::Answer,
    query::{Path, Query, cursor, limit, position},
    v1::key::{show, show_created, without_secret},
};

/// The list's name in its cursors.
const LIST: &str = "compromise";

/// Report a key in wrong hands.
///
/// In one transaction: the key, every key that it made and every key whose new secret it was given by a rotation since are
/// revoked, their batches are paused, and what they did since is sent only once somebody has decided to keep it. The answer
/// names what they did, the first of it. It may be repeated; each answer waits for the same.
#[utoipa::path(post, path = "/v1/keys/{id}/compromise", tag = "Keys",
    request_body = Option<api::compromise::CompromiseKey>,
    params(("id" = String, Path, description = "The key's id."),
        ("Idempotency-Key" = Option<String>, Header, description = "Does it once, however often it is sent.")),
    responses((status = 200, body = api::compromise::Compromised, description = "It is revoked.")))]
pub async fn compromise(
    State(app): State<App>,
    pass: Pass,
    Path(id): Path<KeyId>,
    body: Option<Json<api::compromise::CompromiseKey>>,
) -> Answer<Response> {
    let Json(body) = body.unwrap_or_default();
    let wanted = Wanted { since: body.since, note: body.note, replacement: body.replacement };
    let scope = pass.scope();
    let done = app.compromise_key(&pass, id, &wanted).await?;
    let shown = show_compromised(scope, &done, done.replacement.as_ref().map(show_created));
    let without = show_compromised(scope, &done, done.replacement.as_ref().map(without_secret));
    Ok(kept_as(Json(shown), &without))
}

/// What the list may be asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    limit: Option<u32>,
    after: Option<String>,
}

/// See what a compromised key did.
///
/// What the key and those that it made did since: by object, in pages, with what was decided about it; and the addresses
/// that they were first used from.
#[utoipa::path(get, path = "/v1/keys/{id}/compromise", tag = "Keys",
    params(("id" = String, Path, description = "The compromised key's id."),
        ("limit" = Option<u32>, Query, description = "1 to 100, 20 if left out."),
        ("after" = Option<String>, Query, description = "`next` of the page before.")),
    responses((status = 200, body = api::compromise::BlastRadius, description = "A page of what it did.")))]
pub async fn get(
    State(app): State<App>,
    pass: Pass,
    Path(id): Path<KeyId>,
    Query(query): Query<ListQuery>,
) -> Answer<Json<api::compromise::BlastRadius>> {
    let limit = limit(query.limit, api::page::LIMIT_MAX)?;
    let after = position::<String>(pass.scope(), LIST, query.after.as_deref())?;
    let blast = app.blast(&pass, id, after.as_deref(), limit).await?;
    Ok(Json(show_blast(pass.scope(), &blast, limit)))
}

/// Decide about what a compromised key did.
///
/// What is kept may be sent and goes on. Envelopes that are named and voided are voided with the answer; batches, and `all`,
/// by and by: the list says how far it is. To void takes the scope `envelopes:write` too, and for batches and `all`
/// `batches:write`.
#[utoipa::path(post, path = "/v1/keys/{id}/compromise/decide", tag = "Keys", request_body = api::compromise::Decide,
    params(("id" = String, Path, description = "The compromised key's id."),
        ("Idempotency-Key" = Option<String>, Header, description = "Does it once, however often it is sent.")),
    responses((status = 200, body = api::compromise::Decided, description = "It is decided.")))]
pub async fn decide(
    State(app): State<App>,
    pass: Pass,
    Path(id): Path<KeyId>,
    Json(body): Json<api::compromise::Decide>,
) -> Answer<Json<api::compromise::Decided>> {
    let decisions = body.decisions.into_iter().map(|one| (one.object, one.decision)).collect();
    let decided = app.decide_compromise(&pass, id, &Draft { decisions, all: body.all }).await?;
    Ok(Json(api::compromise::Decided { decided }))
}

fn show_compromised(
    scope: EnvScope,
    done: &Compromised,
    replacement: Option<api::key::CreatedKey>,
) -> api::compromise::Compromised {
    api::compromise::Compromised {
        key: show(&done.key),
        effective_at: done.effective_at.to_string(),
        revoked: done.revoked.iter().map(ToString::to_string).collect(),
        paused: done.paused.iter().map(ToString::to_string).collect(),
        replacement,
        blast_radius: show_blast(scope, &done.blast, FIRST_DEEDS),
    }
}

fn show_blast(scope: EnvScope, blast: &Blast, limit: u32) -> api::compromise::BlastRadius {
    let shown = &blast.deeds[..blast.deeds.len().min(limit as usize)];
    let has_more = blast.deeds.len() > shown.len();
    api::compromise::BlastRadius {
        since: blast.since.to_string(),
        data: shown.iter().map(show_deed).collect(),
        has_more,
        next: shown.last().filter(|_| has_more).map(|last| cursor(scope, LIST, &last.object)),
        new_addresses: blast
            .new_addresses
            .iter()
            .map(|seen| api::compromise::NewAddress {
                address: seen.address.clone(),
                first_at: seen.first_at.to_string(),
                last_at: seen.last_at.to_string(),
                count: seen.count,
            })
            .collect(),
    }
}

fn show_deed(deed: &Deed) -> api::compromise::Deed {
    let verdict = deed.verdict.as_ref();
    api::compromise::Deed {
        object: deed.object.clone(),
        actions: deed.actions.clone(),
        first_at: deed.first_at.to_string(),
        last_at: deed.last_at.to_string(),
        decision: verdict.map(|verdict| verdict.decision.to_string()),
        decided_at: verdict.and_then(|verdict| verdict.done_at).map(|at| at.to_string()),
        outcome: verdict.and_then(|verdict| verdict.outcome.clone()),
    }
}
