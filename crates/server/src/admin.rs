//! The operator's way in: a Unix socket beside the data, for `iusign admin` while the server runs.
//!
//! Only the server's own user and root may connect; the file's mode says so, and the peer's credentials are asked again.
//! Routes are POST with JSON in and out (`api::admin`), and problems as everywhere.

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path, str::FromStr};

use app::{App, notice::Told, once::Once, tenant::NewTenant};
use axum::{Router, extract::State, routing::post};
use gate::{Pass, Peer};
use model::{BodyError, Caller, Code, EnvScope, Environment, KeyId, Problem, TenantId, caller::Who, key::Draft};
use tokio::net::UnixListener;

use crate::{
    json::Json,
    listen::{Serving, Way},
    problem::Answer,
    router,
    state::Frame,
    v1::{self, key, me, revocation},
};

/// Tenants or users of a list at most.
const LIST_MAX: u32 = 100;

/// The operator's routes.
pub(crate) fn router() -> Router<Frame> {
    Router::new()
        .route("/keys/create", post(create_key))
        .route("/keys/revoke", post(revoke_key))
        .route("/tenants/add", post(add_tenant))
        .route("/tenants/list", post(list_tenants))
        .route("/tenants/set-tier", post(set_tier))
        .route("/tenants/suspend", post(suspend_tenant))
        .route("/tenants/resume", post(resume_tenant))
        .route("/users/list", post(list_users))
        .route("/users/add", post(add_user))
        .route("/users/update", post(update_user))
        .route("/tenants/update", post(update_tenant))
        .route("/notices/list", post(list_notices))
        .route("/audit/verify", post(verify_audit))
        .fallback(router::unknown_route)
        .method_not_allowed_fallback(router::unknown_method)
}

/// The first key of an environment has to come from somewhere: a key makes keys in its own environment only.
async fn create_key(
    State(app): State<App>,
    Json(body): Json<api::admin::CreateKey>,
) -> Answer<Json<api::key::CreatedKey>> {
    let environment: Environment = read("/environment", &body.environment)?;
    let tenant = tenant(&app, body.tenant.as_deref()).await?;
    let owner = app.owner(tenant).await?;
    let pass = Pass::vouched(Caller {
        who: Who::User { user: owner.id },
        scope: EnvScope { tenant, environment },
        address: None,
        user_agent: None,
        request_id: None,
    });
    let draft = Draft {
        label: body.label,
        scopes: body.scopes,
        allowlist: body.allowlist,
        expires_at: body.expires_at,
        ..Draft::default()
    };
    let made = app.create_key(&pass, &draft, &Once::unclaimed()).await?;
    Ok(Json(api::key::CreatedKey {
        key: key::show(&made.details),
        secret: Some(made.secret.expose().to_owned()),
        sealed_secret: None,
        secret_shown: false,
    }))
}

async fn add_tenant(
    State(app): State<App>,
    Json(body): Json<api::admin::AddTenant>,
) -> Answer<Json<api::user::Tenant>> {
    let new = NewTenant {
        name: body.name,
        tier: read("/tier", &body.tier)?,
        owner_email: body.owner_email,
        owner_name: body.owner_name,
        owner_password: None,
    };
    let (tenant, _) = app.create_tenant(new).await?;
    Ok(Json(me::show_tenant(&tenant)))
}

async fn revoke_key(
    State(app): State<App>,
    Json(body): Json<api::admin::RevokeKey>,
) -> Answer<Json<api::key::Receipt>> {
    let id: KeyId = read("/key", &body.key)?;
    let reason = revocation::reason(body.reason.as_deref())?;
    let receipt = app.revoke_key_as_operator(id, reason, &body.note).await?;
    Ok(Json(revocation::show_receipt(&receipt)))
}

async fn list_tenants(State(app): State<App>) -> Answer<Json<api::admin::Tenants>> {
    let tenants = app.tenants(None, LIST_MAX).await?;
    Ok(Json(api::admin::Tenants { tenants: tenants.iter().map(me::show_tenant).collect() }))
}

async fn set_tier(State(app): State<App>, Json(body): Json<api::admin::SetTier>) -> Answer<Json<api::user::Tenant>> {
    let tier = read("/tier", &body.tier)?;
    let tenant = tenant(&app, body.tenant.as_deref()).await?;
    Ok(Json(me::show_tenant(&app.set_tier(tenant, tier).await?)))
}

async fn suspend_tenant(
    State(app): State<App>,
    Json(body): Json<api::admin::OneTenant>,
) -> Answer<Json<api::user::Tenant>> {
    let tenant = tenant(&app, body.tenant.as_deref()).await?;
    Ok(Json(me::show_tenant(&app.suspend_tenant(tenant).await?)))
}

async fn resume_tenant(
    State(app): State<App>,
    Json(body): Json<api::admin::OneTenant>,
) -> Answer<Json<api::user::Tenant>> {
    let tenant = tenant(&app, body.tenant.as_deref()).await?;
    Ok(Json(me::show_tenant(&app.resume_tenant(tenant).await?)))
}

async fn update_tenant(
    State(app): State<App>,
    Json(body): Json<api::admin::UpdateTenant>,
) -> Answer<Json<api::tenant::TenantDetails>> {
    let tenant = tenant(&app, body.tenant.as_deref()).await?;
    let pass = Pass::operator(EnvScope { tenant, environment: Environment::Production });
    Ok(Json(v1::tenant::show(&app.update_tenant(&pass, &v1::tenant::change(body.change)).await?)))
}

async fn update_user(
    State(app): State<App>,
    Json(body): Json<api::admin::ChangeUser>,
) -> Answer<Json<api::user::User>> {
    let tenant = tenant(&app, body.tenant.as_deref()).await?;
    let pass = Pass::operator(EnvScope { tenant, environment: Environment::Production });
    let (change, offboarding) = v1::user::change(body.change)?;
    let user = app.user(tenant, &body.user).await?;
    Ok(Json(me::show_user(&app.update_user(&pass, user.id, &change, &offboarding).await?)))
}

async fn list_notices(
    State(app): State<App>,
    Json(body): Json<api::admin::OneTenant>,
) -> Answer<Json<api::admin::Notices>> {
    let tenant = tenant(&app, body.tenant.as_deref()).await?;
    let show = |told: Told| api::admin::Notice {
        id: told.notice.id.to_string(),
        environment: told.notice.environment.map(|environment| environment.to_string()),
        user: told.notice.user.to_string(),
        to: told.notice.address,
        purpose: told.notice.about.purpose().to_owned(),
        state: told.notice.state.as_str().to_owned(),
        state_at: told.notice.state_at.to_string(),
        detail: told.notice.detail,
        created_at: told.notice.created_at.to_string(),
        subject: told.words.subject,
        text: told.words.text,
    };
    let notices = app.notices(tenant, None, LIST_MAX).await?;
    Ok(Json(api::admin::Notices { notices: notices.into_iter().map(show).collect() }))
}

async fn verify_audit(
    State(app): State<App>,
    Json(body): Json<api::admin::OneTenant>,
) -> Answer<Json<api::admin::AuditChecked>> {
    let tenant = tenant(&app, body.tenant.as_deref()).await?;
    let checked = app.verify_audit(tenant).await?;
    Ok(Json(api::admin::AuditChecked {
        tenant: tenant.to_string(),
        holds: checked.is_ok(),
        entries: checked.as_ref().ok().copied(),
        fault: checked.err().map(|broken| broken.to_string()),
    }))
}

async fn list_users(
    State(app): State<App>,
    Json(body): Json<api::admin::OneTenant>,
) -> Answer<Json<api::admin::Users>> {
    let tenant = tenant(&app, body.tenant.as_deref()).await?;
    let users = app.users(tenant, None, LIST_MAX).await?;
    Ok(Json(api::admin::Users { users: users.iter().map(me::show_user).collect() }))
}

async fn add_user(State(app): State<App>, Json(body): Json<api::admin::AddUser>) -> Answer<Json<api::user::User>> {
    let role = read("/role", &body.role)?;
    let tenant = tenant(&app, body.tenant.as_deref()).await?;
    let user = app.add_user(tenant, (&body.email, &body.name), role, None).await?;
    Ok(Json(me::show_user(&user)))
}

/// The tenant that is named, or the only one.
async fn tenant(app: &App, named: Option<&str>) -> Result<TenantId, Problem> {
    if let Some(text) = named {
        return read("/tenant", text);
    }
    match app.tenants(None, 2).await?.as_slice() {
        [only] => Ok(only.id),
        [] => Err(Problem::new(Code::NotFound, "This server has no tenant yet.")),
        _ => Err(fault("/tenant", "The server has several tenants: name one.")),
    }
}

fn read<T: FromStr<Err: ToString>>(pointer: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|why: T::Err| fault(pointer, why.to_string()))
}

fn fault(pointer: &str, detail: impl Into<String>) -> Problem {
    Problem::body(vec![BodyError::new(pointer, "invalid_value", detail)])
}

/// Binds the socket. One that a killed server left behind is replaced: the data folder's lock tells that none runs.
pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Accepts the operator's connections until the stop.
pub(crate) async fn accept(listener: UnixListener, serving: Serving) {
    let stop = serving.frame.shutdown.clone();
    let own = rustix::process::geteuid().as_raw();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else { continue };
        if !stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0) {
            tracing::warn!("another user's connection to the operator's socket was refused");
            continue;
        }
        let connection = serving.clone();
        serving
            .frame
            .tasks
            .spawn(async move { connection.serve(stream, Way { peer: Peer::Unix, is_tls: false }).await });
    }
}
