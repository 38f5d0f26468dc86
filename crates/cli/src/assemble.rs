//! From settings to an application: database, files, gate, seal key, in the order in which each needs the one before.

use std::sync::Arc;

use anyhow::Context;
use app::{App, Parts, Smtp, SystemClock, SystemRandom};
use gate::{Gate, GateConfig, ProxyConfig};
use store::{Db, Files, Journal, Target};

use crate::{
    config::{ProxyHeader, Settings},
    layout::Layout,
    worker,
};

/// The application under these settings. On the embedded database it holds the data folder for this process alone.
pub async fn open(settings: &Settings, layout: &Layout, public_url: String) -> anyhow::Result<App> {
    layout.make()?;
    let db = Db::open(&target(settings, layout)).await.with_context(|| match &settings.database {
        Some(_) => "can't open the PostgreSQL database; check its URL, and that it is reached from here".to_owned(),
        None => format!("can't open the database {}", layout.database.display()),
    })?;
    let was_there = layout.master_key.exists();
    let master_key = layout.master_key(settings)?;
    if !app::master_key::is_of(&db, &master_key).await? {
        // A key that was made just now is of no database: left behind, it would look like one to keep.
        if !was_there && settings.master_key.is_none() {
            std::fs::remove_file(&layout.master_key).context("the master key that was made can't be removed")?;
        }
        anyhow::bail!(
            "this database was set up under another master key: with this one no signing link in anyone's mail would open. \
             Give this server the master.key of the others, or the one from the backup (master_key_file, IUSIGN_MASTER_KEY)"
        );
    }
    let files = Files::open(&layout.files, Arc::new(SystemRandom))
        .with_context(|| format!("can't open the folder of files {}", layout.files.display()))?;
    // Where several servers share a database, each learns from the shared files what the others have revoked.
    let shared = db.is_postgres().then(|| files.clone());
    let journal = Journal::open(&layout.root, shared)
        .await
        .with_context(|| format!("can't open the journal of revocations in {}", layout.root.display()))?;
    let seal_key = layout.seal_key(settings);
    if let Err(why) = &seal_key {
        tracing::error!(why, "this server can't seal, so it sends nothing; `iusign doctor` says more");
    }
    let config = app::Config {
        public_url,
        master_key,
        smtp: smtp(settings),
        worker: worker::program()?,
        workers: settings.workers(),
        github_keys: settings.leaks_github_keys.clone(),
    };
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    let gate = Gate::new(db.clone(), gate_config(settings), clock.clone());
    Ok(App::new(Parts { db, files, journal, gate, seal_key, config, clock, random }))
}

/// Which database.
pub fn target(settings: &Settings, layout: &Layout) -> Target {
    match &settings.database {
        Some(url) => Target::Postgres(url.clone()),
        None => Target::Sqlite(layout.database.clone()),
    }
}

fn gate_config(settings: &Settings) -> GateConfig {
    let header = settings.proxy_header.map(|header| match header {
        ProxyHeader::XForwardedFor => gate::ProxyHeader::XForwardedFor,
        ProxyHeader::Forwarded => gate::ProxyHeader::Forwarded,
    });
    let proxy = ProxyConfig {
        trusted: settings.trusted_proxies.iter().map(|proxies| proxies.0).collect(),
        header,
        ends_tls: settings.listeners.iter().any(server::Listener::is_behind_tls),
    };
    let default = GateConfig::default();
    let remembered_keys_max = settings.remembered_keys.unwrap_or(default.remembered_keys_max);
    let key_rate = settings.key_rate.map_or(default.key_rate, |rate| rate.0);
    let tenant_rate = settings.tenant_rate.map_or(default.tenant_rate, |rate| rate.0);
    GateConfig { proxy, remembered_keys_max, key_rate, tenant_rate, ..default }
}

/// The mail server of production, if one is set.
pub fn smtp(settings: &Settings) -> Option<Smtp> {
    const SUBMISSION_PORT: u16 = 587;
    let password = settings.smtp_password.as_ref().map(|password| password.as_str().to_owned()).unwrap_or_default();
    Some(Smtp {
        host: settings.smtp_host.clone()?,
        port: settings.smtp_port.unwrap_or(SUBMISSION_PORT),
        login: settings.smtp_username.clone().map(|name| (name, password)),
        from: settings.smtp_from.clone()?,
        plain: settings.smtp_plain.unwrap_or(false),
    })
}
