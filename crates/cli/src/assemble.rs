//! From settings to an application: database, files, gate, seal key, in the order in which each needs the one before.

use std::sync::Arc;

use anyhow::Context;
use app::{App, Parts, Smtp, SystemClock, SystemRandom};
use gate::{Gate, GateConfig, ProxyConfig};
use store::{Db, Files, Target};

use crate::{
    config::{ProxyHeader, Settings},
    layout::Layout,
    worker,
};

/// The application under these settings. On the embedded database it holds the data folder for this process alone.
pub async fn open(settings: &Settings, layout: &Layout, public_url: String) -> anyhow::Result<App> {
    layout.make()?;
    let master_key = layout.master_key(settings)?;
    let db = Db::open(&target(settings, layout)).await.with_context(|| match &settings.database {
        Some(_) => "can't open the PostgreSQL database; check its URL, and that it is reached from here".to_owned(),
        None => format!("can't open the database {}", layout.database.display()),
    })?;
    let files = Files::open(&layout.files, Arc::new(SystemRandom))
        .with_context(|| format!("can't open the folder of files {}", layout.files.display()))?;
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
    };
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    let gate = Gate::new(db.clone(), gate_config(settings), clock.clone());
    Ok(App::new(Parts { db, files, gate, seal_key, config, clock, random }))
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
    let proxy = ProxyConfig { trusted: settings.trusted_proxies.clone(), header, ..ProxyConfig::default() };
    GateConfig { proxy, ..GateConfig::default() }
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
