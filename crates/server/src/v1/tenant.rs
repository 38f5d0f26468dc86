//! `/v1/tenant`: the tenant of the calling key, its tier, allowlist and policies.

use app::App;
use axum::extract::State;
use model::{
    policy::{AgeChange, AgeRule, ByEnvironment, Policies, PolicyChange},
    tenant::{Tenant, TenantChange},
    tier::Feature,
};

use crate::{gatekeeper::Pass, json::Json, problem::Answer, v1::me::show_tenant};

/// Get the tenant.
///
/// Its tier and what that allows, its allowlist and its policies.
#[utoipa::path(get, path = "/v1/tenant", tag = "Team",
    responses((status = 200, body = api::tenant::TenantDetails, description = "The tenant.")))]
pub async fn get(State(app): State<App>, pass: Pass) -> Answer<Json<api::tenant::TenantDetails>> {
    Ok(Json(show(&app.own_tenant(&pass).await?)))
}

/// Change the tenant.
///
/// Name, allowlist and policies; what is left out stays. A change that would lock out who makes it needs `confirm: true`.
/// When this is answered, nothing passes any more that the change has taken away. Needs a production key, as the tenant is
/// in no environment.
#[utoipa::path(patch, path = "/v1/tenant", tag = "Team", request_body = api::tenant::ChangeTenant,
    responses((status = 200, body = api::tenant::TenantDetails, description = "The tenant, changed.")))]
pub async fn update(
    State(app): State<App>,
    pass: Pass,
    Json(body): Json<api::tenant::ChangeTenant>,
) -> Answer<Json<api::tenant::TenantDetails>> {
    Ok(Json(show(&app.update_tenant(&pass, &change(body)).await?)))
}

/// A change as it was asked for.
pub(crate) fn change(body: api::tenant::ChangeTenant) -> TenantChange {
    TenantChange {
        name: body.name,
        allowlist: body.allowlist,
        allowlist_mode: body.allowlist_mode,
        policies: body.policies.map(policies).unwrap_or_default(),
        confirm: body.confirm,
    }
}

fn policies(change: api::tenant::ChangePolicies) -> PolicyChange {
    PolicyChange {
        keys_may_manage_identity: change.keys_may_manage_identity,
        key_max_age: change.key_max_age.map(ages).unwrap_or_default(),
        key_rotation: change.key_rotation.map(ages).unwrap_or_default(),
        idle_key_days: change.idle_key_days,
        leaks_revoke: change.leaks.and_then(|leaks| leaks.revoke),
    }
}

fn ages(change: api::tenant::ChangeByEnvironment) -> ByEnvironment<AgeChange> {
    let age = |change: Option<api::tenant::ChangeAge>| {
        change.map(|change| AgeChange { mode: change.mode, days: change.days }).unwrap_or_default()
    };
    ByEnvironment {
        development: age(change.development),
        staging: age(change.staging),
        production: age(change.production),
    }
}

/// The tenant, whole, as the wire has it.
pub(crate) fn show(tenant: &Tenant) -> api::tenant::TenantDetails {
    let allows = |feature| tenant.tier.allows(feature);
    api::tenant::TenantDetails {
        tenant: show_tenant(tenant),
        allows: api::tenant::Allows {
            signing_room: allows(Feature::SigningRoom),
            users: allows(Feature::Users),
            api: allows(Feature::Api),
            allowlists: allows(Feature::Allowlists),
        },
        policies: show_policies(&tenant.policies),
    }
}

fn show_policies(policies: &Policies) -> api::tenant::Policies {
    api::tenant::Policies {
        keys_may_manage_identity: policies.keys_may_manage_identity,
        key_max_age: show_ages(&policies.key_max_age),
        key_rotation: show_ages(&policies.key_rotation),
        idle_key_days: policies.idle_key_days,
        leaks: api::tenant::LeakPolicy { revoke: policies.leaks.revoke },
    }
}

fn show_ages<M: std::fmt::Display>(
    rules: &ByEnvironment<AgeRule<M>>,
) -> api::tenant::ByEnvironment<api::tenant::AgeRule> {
    let age = |rule: &AgeRule<M>| api::tenant::AgeRule { mode: rule.mode.to_string(), days: rule.days };
    api::tenant::ByEnvironment {
        development: age(&rules.development),
        staging: age(&rules.staging),
        production: age(&rules.production),
    }
}
