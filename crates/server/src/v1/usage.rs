//! `/v1/keys/{id}/usage`: what a key was used for.

use std::net::IpAddr;

use app::{App, usage::Seen};
use axum::extract::State;
use model::{KeyId, Timestamp};
use serde::Deserialize;

use crate::{
    gatekeeper::Pass,
    json::Json,
    problem::Answer,
    query::{Path, Query, cursor, limit, page, position, word},
};

/// The list's name in its cursors.
const LIST: &str = "key_addresses";

/// What the use of a key may be asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageQuery {
    from: Option<String>,
    to: Option<String>,
    limit: Option<u32>,
    after: Option<String>,
}

/// Get the use of a key.
///
/// Calls per hour, by route and status, the addresses that it was used from, and its last refusals: among them, with
/// `was_refused: false`, what an allowlist in `observe` mode would have refused. Every request with a right secret
/// that reaches a route counts, whatever it was answered. At most 10 seconds behind; kept for 90 days.
#[utoipa::path(get, path = "/v1/keys/{id}/usage", tag = "Keys",
    params(("id" = String, Path, description = "The key's id."),
        ("from" = Option<String>, Query, description = "RFC 3339; 7 days before `to` if left out. Counted by the hour."),
        ("to" = Option<String>, Query, description = "RFC 3339; now if left out. At most 90 days after `from`."),
        ("limit" = Option<u32>, Query, description = "Addresses of the page: 1 to 100, 20 if left out."),
        ("after" = Option<String>, Query, description = "`next` of the page of addresses before.")),
    responses((status = 200, body = api::usage::Usage, description = "Its use.")))]
pub async fn get(
    State(app): State<App>,
    pass: Pass,
    Path(id): Path<KeyId>,
    Query(query): Query<UsageQuery>,
) -> Answer<Json<api::usage::Usage>> {
    let limit = limit(query.limit, api::page::LIMIT_MAX)?;
    let after = position::<(Timestamp, IpAddr)>(pass.scope(), LIST, query.after.as_deref())?;
    let range = (word("from", query.from.as_deref())?, word("to", query.to.as_deref())?);
    let usage = app.key_usage(&pass, id, range, after, limit).await?;
    let next = |last: &Seen| cursor(pass.scope(), LIST, (last.last_at, last.address));
    Ok(Json(api::usage::Usage {
        key: usage.key.to_string(),
        from: usage.from.to_string(),
        to: usage.to.to_string(),
        as_of: usage.as_of.map(|at| at.to_string()),
        calls: usage.hours.iter().map(|hour| hour.calls).sum(),
        failed: usage.hours.iter().map(|hour| hour.failed).sum(),
        hours: usage
            .hours
            .iter()
            .map(|hour| api::usage::Hour { hour: hour.hour.to_string(), calls: hour.calls, failed: hour.failed })
            .collect(),
        routes: usage
            .routes
            .into_iter()
            .map(|calls| api::usage::RouteCalls {
                route: calls.route.into_owned(),
                status: calls.status,
                calls: calls.count,
            })
            .collect(),
        addresses: page(usage.addresses, limit, next, show_address),
        refusals: usage.refusals.into_iter().map(show_refusal).collect(),
    }))
}

fn show_address(seen: Seen) -> api::usage::Address {
    api::usage::Address {
        address: seen.address.to_string(),
        first_seen: seen.first_at.to_string(),
        last_seen: seen.last_at.to_string(),
        calls: seen.count,
    }
}

fn show_refusal(refusal: app::usage::Refusal) -> api::usage::RefusedCall {
    api::usage::RefusedCall {
        at: refusal.at.to_string(),
        code: refusal.code.into_owned(),
        was_refused: refusal.was_refused,
        address: refusal.address.to_string(),
        user_agent: refusal.user_agent,
        route: refusal.route.into_owned(),
        request_id: refusal.request_id,
    }
}
