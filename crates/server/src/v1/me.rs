//! `/v1/me`: who the calling key is.

use app::App;
use axum::extract::State;
use model::{tenant::Tenant, user::User};

use crate::{gatekeeper::Pass, json::Json, problem::Answer, v1::key};

/// Who am I?
///
/// The calling key with its rights, its tenant and administrator, and the address that the call was seen to come from:
/// what to call first when something is refused.
#[utoipa::path(get, path = "/v1/me", tag = "Who am I",
    responses((status = 200, body = api::me::Me, description = "The calling key.")))]
pub async fn get(State(app): State<App>, pass: Pass) -> Answer<Json<api::me::Me>> {
    let me = app.me(&pass).await?;
    Ok(Json(api::me::Me {
        key: key::show(&me.key),
        tenant: show_tenant(&me.tenant),
        administrator: show_user(&me.administrator),
        address: me.address.map(|address| address.to_string()),
    }))
}

/// A tenant as the wire has it.
pub(crate) fn show_tenant(tenant: &Tenant) -> api::user::Tenant {
    api::user::Tenant {
        id: tenant.id.to_string(),
        name: tenant.name.clone(),
        tier: tenant.tier.to_string(),
        status: tenant.status.to_string(),
        allowlist: tenant.allowlist.entries(),
        created_at: tenant.created_at.to_string(),
    }
}

/// A user as the wire has it.
pub(crate) fn show_user(user: &User) -> api::user::User {
    api::user::User {
        id: user.id.to_string(),
        email: user.email.clone(),
        name: user.name.clone(),
        role: user.role.to_string(),
        status: user.status.to_string(),
        created_at: user.created_at.to_string(),
    }
}
