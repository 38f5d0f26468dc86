//! `iusign admin`: what only the server's operator may do, through the Unix socket of the server that runs.

use std::{io, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use api::{
    admin::{
        AddTenant, AddUser, AuditChecked, ChangeUser, CreateKey, Notices, OneTenant, RevokeKey, SetTier, Tenants,
        UpdateTenant, Users,
    },
    key::{CreatedKey, Receipt},
    tenant::TenantDetails,
    user::{Tenant, UpdateUser, User},
};
use clap::Subcommand;
use model::{Environment, Role, tenant::Tier};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    config::Settings,
    exit, keys,
    layout::{self, Layout},
    output::{self, Style},
    revocation,
    tenant::{self, Change},
    users::{self, KeysArgs},
};

/// How long the server may take for an answer: a revocation waits for what is in flight.
const ANSWER_MS_MAX: u64 = 60_000;

/// `iusign admin`.
#[derive(Debug, clap::Args)]
pub struct Admin {
    /// The data folder of the server that runs [default: iusign-data]
    #[arg(long, env = "IUSIGN_DATA_DIR", global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// API keys
    #[command(subcommand)]
    Keys(Keys),
    /// Tenants
    #[command(subcommand)]
    Tenants(TenantsCommand),
    /// Users
    #[command(subcommand)]
    Users(UsersCommand),
    /// Show the mails to the tenant's users, the newest first, with the links of invitations
    Notices(Which),
}

#[derive(Debug, Subcommand)]
enum Keys {
    /// Generate a key with the rights of the tenant's owner; its secret is shown this once
    Create {
        /// Where it lives: development, staging or production
        #[arg(long)]
        environment: Environment,
        /// Its name for people
        #[arg(long)]
        label: String,
        /// What it may do, may be repeated: '*', workflows, or names such as envelopes:write [default: everything]
        #[arg(long = "scope", visible_alias = "scopes", value_delimiter = ',', value_name = "SCOPE")]
        scopes: Vec<String>,
        /// From where it may call, an address or CIDR, may be repeated
        #[arg(long = "allow", value_name = "CIDR")]
        allowlist: Vec<String>,
        /// Until when, RFC 3339 with an offset
        #[arg(long, value_name = "TIME")]
        expires_at: Option<String>,
        #[command(flatten)]
        tenant: Which,
    },
    /// Revoke a key for good: when this ends, nothing that it asks for passes any more
    Revoke {
        /// Its id, key_…
        id: String,
        /// manual or compromised
        #[arg(long)]
        reason: Option<String>,
        /// For the audit log
        #[arg(long, default_value_t)]
        note: String,
    },
}

#[derive(Debug, Subcommand)]
enum TenantsCommand {
    /// List tenants
    List,
    /// Add a tenant with its owner
    Add {
        /// Its name
        name: String,
        /// Its tier: free, standard or enterprise
        #[arg(long, default_value = "standard")]
        tier: Tier,
        /// The owner's address
        #[arg(long, value_name = "ADDRESS")]
        owner_email: String,
        /// The owner's name
        #[arg(long, value_name = "NAME")]
        owner_name: String,
    },
    /// Raise or lower a tenant's tier: free, standard or enterprise
    SetTier {
        /// The tier
        tier: Tier,
        #[command(flatten)]
        tenant: Which,
    },
    /// Change a tenant's name, allowlist and policies: what is left out stays
    Update {
        #[command(flatten)]
        change: Box<Change>,
        #[command(flatten)]
        tenant: Which,
    },
    /// Suspend a tenant: from the answer on its keys are refused
    Suspend(Which),
    /// Let a tenant go on
    Resume(Which),
}

#[derive(Debug, Subcommand)]
enum UsersCommand {
    /// List users
    List(Which),
    /// Add a user
    Add {
        /// The address to log in with
        email: String,
        /// The name
        #[arg(long)]
        name: String,
        /// admin, user or viewer
        #[arg(long)]
        role: Role,
        #[command(flatten)]
        tenant: Which,
    },
    /// Give a user another role; a new owner takes the old one's place, who becomes an admin
    SetRole {
        /// The user's id or address
        user: String,
        /// owner, admin, user or viewer
        role: Role,
        #[command(flatten)]
        keys: KeysArgs,
        #[command(flatten)]
        tenant: Which,
    },
    /// Suspend a user: from the answer on the keys that the user administers are refused
    Suspend {
        /// The user's id or address
        user: String,
        #[command(flatten)]
        keys: KeysArgs,
        #[command(flatten)]
        tenant: Which,
    },
    /// Let a user act again
    Resume {
        /// The user's id or address
        user: String,
        #[command(flatten)]
        tenant: Which,
    },
    /// Remove a user for good; the keys that are left are revoked
    Remove {
        /// The user's id or address
        user: String,
        #[command(flatten)]
        keys: KeysArgs,
        #[command(flatten)]
        tenant: Which,
    },
}

#[derive(Debug, clap::Args)]
struct Which {
    /// Which tenant, ten_… [default: the only one]
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
}

/// Does what is asked.
pub async fn run(admin: Admin, json: bool) -> anyhow::Result<()> {
    let layout = Layout::of(&Settings { data_dir: admin.data_dir, ..Settings::default() })?;
    let socket = Socket::new(layout.answering_socket())?;
    match admin.command {
        Command::Keys(command) => keys(&socket, command, json).await?,
        Command::Tenants(command) => tenants(&socket, command, json).await?,
        Command::Users(command) => users(&socket, command, json).await?,
        Command::Notices(which) => notices(&socket, which, json).await?,
    }
    Ok(())
}

async fn keys(socket: &Socket, command: Keys, json: bool) -> anyhow::Result<()> {
    let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
    match command {
        Keys::Create { environment, label, scopes, allowlist, expires_at, tenant } => {
            let body = CreateKey {
                tenant: tenant.tenant,
                environment: environment.to_string(),
                label,
                scopes: some(scopes),
                allowlist: some(allowlist),
                expires_at,
            };
            let made: CreatedKey = socket.post("/keys/create", &body).await?;
            keys::show_new(json, &made)?;
        }
        Keys::Revoke { id, reason, note } => {
            let receipt: Receipt = socket.post("/keys/revoke", &RevokeKey { key: id, reason, note }).await?;
            output::show(json, &receipt, revocation::show_receipt);
        }
    }
    Ok(())
}

async fn tenants(socket: &Socket, command: TenantsCommand, json: bool) -> anyhow::Result<()> {
    let tenant: Tenant = match command {
        TenantsCommand::List => {
            let all: Tenants = socket.post("/tenants/list", &serde_json::json!({})).await?;
            output::show(json, &all, |all| {
                let row = |t: &Tenant| vec![t.id.clone(), output::plain(&t.name), t.tier.clone(), t.status.clone()];
                output::table(&["id", "name", "tier", "status"], &all.tenants.iter().map(row).collect::<Vec<_>>());
            });
            return Ok(());
        }
        TenantsCommand::Update { change, tenant } => {
            let body = UpdateTenant { tenant: tenant.tenant, change: change.body() };
            let details: TenantDetails = socket.post("/tenants/update", &body).await?;
            output::show(json, &details, tenant::show);
            return Ok(());
        }
        TenantsCommand::Add { name, tier, owner_email, owner_name } => {
            let body = AddTenant { name, tier: tier.to_string(), owner_email, owner_name };
            socket.post("/tenants/add", &body).await?
        }
        TenantsCommand::SetTier { tier, tenant } => {
            socket.post("/tenants/set-tier", &SetTier { tenant: tenant.tenant, tier: tier.to_string() }).await?
        }
        TenantsCommand::Suspend(which) => socket.post("/tenants/suspend", &OneTenant { tenant: which.tenant }).await?,
        TenantsCommand::Resume(which) => socket.post("/tenants/resume", &OneTenant { tenant: which.tenant }).await?,
    };
    output::show(json, &tenant, |tenant| {
        output::pairs(&[
            ("tenant", tenant.id.clone()),
            ("name", output::plain(&tenant.name)),
            ("tier", tenant.tier.clone()),
            ("status", tenant.status.clone()),
        ]);
    });
    Ok(())
}

async fn users(socket: &Socket, command: UsersCommand, json: bool) -> anyhow::Result<()> {
    let user: User = match command {
        UsersCommand::List(which) => {
            let all: Users = socket.post("/users/list", &OneTenant { tenant: which.tenant }).await?;
            output::show(json, &all, |all| {
                let row = |u: &User| {
                    vec![u.id.clone(), u.email.clone(), output::plain(&u.name), u.role.clone(), u.status.clone()]
                };
                let names = ["id", "email", "name", "role", "status"];
                output::table(&names, &all.users.iter().map(row).collect::<Vec<_>>());
            });
            return Ok(());
        }
        UsersCommand::Add { email, name, role, tenant } => {
            let body = AddUser { tenant: tenant.tenant, email, name, role: role.to_string() };
            socket.post("/users/add", &body).await?
        }
        UsersCommand::SetRole { user, role, keys, tenant } => {
            let change = UpdateUser { role: Some(role.to_string()), ..UpdateUser::default() };
            update_user(socket, tenant, user, keys.with(change)).await?
        }
        UsersCommand::Suspend { user, keys, tenant } => {
            update_user(socket, tenant, user, keys.with(users::status("suspended"))).await?
        }
        UsersCommand::Remove { user, keys, tenant } => {
            update_user(socket, tenant, user, keys.with(users::status("removed"))).await?
        }
        UsersCommand::Resume { user, tenant } => update_user(socket, tenant, user, users::status("active")).await?,
    };
    output::show(json, &user, |user| {
        output::pairs(&[
            ("user", user.id.clone()),
            ("email", user.email.clone()),
            ("name", output::plain(&user.name)),
            ("role", user.role.clone()),
            ("status", user.status.clone()),
        ]);
    });
    Ok(())
}

async fn update_user(socket: &Socket, tenant: Which, user: String, change: UpdateUser) -> anyhow::Result<User> {
    socket.post("/users/update", &ChangeUser { tenant: tenant.tenant, user, change }).await
}

async fn notices(socket: &Socket, which: Which, json: bool) -> anyhow::Result<()> {
    let all: Notices = socket.post("/notices/list", &OneTenant { tenant: which.tenant }).await?;
    output::show(json, &all, |all| {
        for notice in &all.notices {
            let style = Style::of_stdout();
            output::pairs(&[
                ("mail", notice.id.clone()),
                ("to", output::plain(&notice.to)),
                ("subject", style.bold(&output::plain(&notice.subject))),
                ("state", output::plain(&format!("{} {}", notice.state, notice.detail))),
                ("created", output::short_time(&notice.created_at)),
            ]);
            notice.text.lines().for_each(|line| output::line(&format!("  {}", output::plain(line))));
            output::line("");
        }
    });
    Ok(())
}

/// `iusign audit verify`: checks every link of the tenant's audit log.
pub async fn verify_audit(data_dir: Option<PathBuf>, tenant: Option<String>, json: bool) -> anyhow::Result<()> {
    let layout = Layout::of(&Settings { data_dir, ..Settings::default() })?;
    let socket = Socket::new(layout.answering_socket())?;
    let checked: AuditChecked = socket.post("/audit/verify", &OneTenant { tenant }).await?;
    output::show(json, &checked, |checked| match (&checked.fault, checked.entries) {
        (Some(fault), _) => output::line(&format!("The audit log of {} does not hold: {fault}.", checked.tenant)),
        (None, entries) => output::line(&format!(
            "The audit log of {} holds: {} entries, each as it was written, none missing.",
            checked.tenant,
            entries.unwrap_or_default()
        )),
    });
    if checked.holds { Ok(()) } else { Err(exit::Wanting.into()) }
}

/// The operator's socket of a server that runs.
pub struct Socket {
    path: PathBuf,
    http: reqwest::Client,
}

impl Socket {
    /// The socket at `path`; nothing is sent yet.
    pub fn new(path: PathBuf) -> anyhow::Result<Self> {
        // The HTTP client wants a provider even where it speaks to a socket; another part may have chosen one already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let reachable = layout::socket_path(&path).unwrap_or_else(|_| path.clone());
        let builder = reqwest::Client::builder().unix_socket(reachable).timeout(Duration::from_millis(ANSWER_MS_MAX));
        Ok(Self { http: builder.build().context("the client for the operator's socket can't be made")?, path })
    }

    async fn post<T: DeserializeOwned>(&self, route: &str, body: &impl Serialize) -> anyhow::Result<T> {
        let text = serde_json::to_vec(body)?;
        let request = self.http.post(format!("http://localhost{route}")).header("content-type", "application/json");
        let response = match request.body(text).send().await {
            Ok(response) => response,
            Err(error) if is_denied(&error) => {
                bail!("{} may not be opened by this user: use the one that `iusign serve` runs as", self.path.display())
            }
            Err(error) if error.is_connect() => bail!(
                "no server answers at {}: start `iusign serve` on this data folder, or name it with --data-dir",
                self.path.display()
            ),
            Err(error) => return Err(error).context("the server broke off"),
        };
        let is_success = response.status().is_success();
        let bytes = response.bytes().await.context("the server broke off")?;
        if is_success {
            return serde_json::from_slice(&bytes).context("the server is of another version: use its own binary");
        }
        match serde_json::from_slice(&bytes) {
            Ok(problem) => Err(client::Error::Problem(Box::new(problem)).into()),
            Err(_) => bail!("the server is of another version: use its own binary"),
        }
    }
}

/// Whether the system let nobody in, which a client of HTTP tells as a failed connection like any other.
fn is_denied(error: &reqwest::Error) -> bool {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let mut kinds = causes.filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    kinds.any(|kind| kind == io::ErrorKind::PermissionDenied)
}
