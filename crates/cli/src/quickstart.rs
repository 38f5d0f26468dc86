//! `iusign quickstart`: tenant, owner, a development key, a seal certificate and a local CA without asking; then it serves.

use std::path::PathBuf;

use app::{App, key::Filter, once::Once, password, tenant::NewTenant};
use gate::Pass;
use model::{
    Caller, EnvScope, Environment,
    caller::Who,
    key::Draft,
    tenant::{Tenant, Tier},
    user::User,
};
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

use crate::{
    config::Settings,
    layout::Layout,
    output::{self, Style},
    serve,
};

/// Who owns the tenant that is made.
const OWNER_EMAIL: &str = "owner@example.com";
const TENANT_NAME: &str = "Quickstart";
const ENVIRONMENT: Environment = Environment::Development;

/// `iusign quickstart`.
#[derive(Debug, clap::Args)]
pub struct Quickstart {
    #[command(flatten)]
    pub settings: Settings,
    /// A TOML file with settings [default: iusign.toml in the data folder, if it is there]
    #[arg(long, env = "IUSIGN_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What programs read: one line, when the server is ready. `key` and `password` are shown where they were made, once.
#[derive(Serialize)]
pub struct Ready {
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Shown>,
    environment: Environment,
    tenant_id: String,
    owner: Owner,
    data_dir: PathBuf,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    listeners: Vec<server::Listener>,
}

/// A secret that is shown on purpose, in the one place that is for it.
struct Shown(Zeroizing<String>);

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[derive(Serialize)]
struct Owner {
    email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<Shown>,
}

/// What [`ensure`] made or found.
pub struct Made {
    /// The tenant.
    pub tenant: Tenant,
    /// Its owner.
    pub owner: User,
    /// The owner's password, where the tenant was made.
    pub password: Option<Zeroizing<String>>,
    /// The secret key, where it was made.
    pub key: Option<Zeroizing<String>>,
}

/// Makes what is missing and serves until it is told to stop.
pub async fn run(quickstart: Quickstart, json: bool) -> anyhow::Result<()> {
    let settings = quickstart.settings.complete(quickstart.config.as_deref())?;
    let log = serve::logging(&settings)?;
    let layout = Layout::of(&settings)?;
    let started = serve::start(&settings, &layout, log).await?;
    let made = ensure(&started.app, TENANT_NAME, "Quickstart").await?;
    let ready = Ready {
        url: started.public_url.clone(),
        ca_file: started.ca_file.clone(),
        key: made.key.map(Shown),
        environment: ENVIRONMENT,
        tenant_id: made.tenant.id.to_string(),
        owner: Owner { email: made.owner.email, password: made.password.map(Shown) },
        data_dir: layout.root.clone(),
        listeners: started.listeners.clone(),
    };
    let signals = serve::Signals::listen()?;
    output::show(json, &ready, show);
    if ready.key.is_some() && !output::is_open() {
        started.stop().await;
        anyhow::bail!(
            "the key and the password could not be printed, and are not shown again. Revoke the key (iusign keys list names it) \
             and make another by iusign admin keys create while iusign serve runs"
        );
    }
    started.until_told(signals).await
}

/// Makes tenant, owner and key where there are none; a second call finds them and makes nothing.
pub async fn ensure(app: &App, tenant_name: &str, label: &str) -> anyhow::Result<Made> {
    let (tenant, owner, password) = match app.tenants(None, 1).await?.pop() {
        Some(tenant) => {
            let owner = app.owner(tenant.id).await?;
            (tenant, owner, None)
        }
        None => {
            let password = password::generate(&*app.random);
            let new = NewTenant {
                name: tenant_name.to_owned(),
                tier: Tier::Standard,
                owner_email: OWNER_EMAIL.to_owned(),
                owner_name: "Owner".to_owned(),
                owner_password: Some(password.clone()),
            };
            let (tenant, owner) = app.create_tenant(new).await?;
            (tenant, owner, Some(password))
        }
    };
    let pass = as_owner(&tenant, &owner);
    // Dead keys stay listed: one that was revoked on purpose does not come back by itself.
    let has_keys = !app.list_keys(&pass, Filter::default(), None, 1).await?.is_empty();
    let key = if has_keys { None } else { Some(make_key(app, &pass, label).await?) };
    Ok(Made { tenant, owner, password, key })
}

/// Generates a key with every right of the owner in the development environment.
pub async fn make_key(app: &App, pass: &Pass, label: &str) -> anyhow::Result<Zeroizing<String>> {
    let draft = Draft { label: label.to_owned(), scopes: Some(vec!["*".to_owned()]), ..Draft::default() };
    let made = app.create_key(pass, &draft, &Once::unclaimed()).await?;
    Ok(Zeroizing::new(made.secret.expose().to_owned()))
}

/// The owner, as whom the operator at this terminal acts.
pub fn as_owner(tenant: &Tenant, owner: &User) -> Pass {
    let scope = EnvScope { tenant: tenant.id, environment: ENVIRONMENT };
    Pass::vouched(Caller {
        who: Who::User { user: owner.id },
        scope,
        address: None,
        user_agent: None,
        request_id: None,
    })
}

fn show(ready: &Ready) {
    let style = Style::of_stdout();
    let text = |secret: &Option<Shown>| secret.as_ref().map(|shown| shown.0.to_string()).unwrap_or_default();
    let ca = ready.ca_file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
    output::line(&style.bold("IUSign is ready"));
    output::pairs(&[
        ("URL", style.blue(&ready.url)),
        ("API reference", style.blue(&format!("{}/docs", ready.url))),
        ("secret key", text(&ready.key)),
        ("environment", ready.environment.to_string()),
        ("tenant", ready.tenant_id.clone()),
        ("owner", ready.owner.email.clone()),
        ("password", text(&ready.owner.password)),
        ("CA to trust", ca.clone()),
        ("data folder", ready.data_dir.display().to_string()),
        ("listens too", ready.listeners.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    ]);
    output::line("");
    if ready.key.is_some() {
        output::line("The key and the password are shown this once. Try the key:");
    } else {
        output::line("The key and the password were shown when they were made. Try your key:");
    }
    let key = ready.key.as_ref().map_or("$IUSIGN_API_KEY", |key| key.0.as_str());
    let trust = if ca.is_empty() { String::new() } else { format!(" --cacert {ca}") };
    output::line(&format!("  curl{trust} -H 'Authorization: Bearer {key}' {}/v1/me", ready.url));
    output::line("");
    output::line(&style.faint("Ctrl-C stops the server."));
}
