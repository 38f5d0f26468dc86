//! `iusign serve`: everything in one process, until SIGTERM or SIGINT; then it stops within 10 s.

use std::{os::unix::net::UnixStream, path::PathBuf, time::Duration};

use anyhow::Context;
use app::App;
use server::{
    Running, Tls,
    log::{Format, Log},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::{
    assemble,
    config::{LogFormat, Settings},
    layout::{self, Layout},
    output,
};

/// How long jobs that run may go on after the stop, beside the requests.
const JOBS_DRAIN_MS_MAX: u64 = server::DRAIN_MS_MAX;
/// How long the last writes (telemetry, the database's own) may take.
const CLOSE_MS_MAX: u64 = 1_500;

/// How much the libraries may say beside a bare level.
const LIBRARIES: &str = "sqlx=warn,hyper=warn,hyper_util=warn,reqwest=warn,rustls=warn,h2=warn,lettre=warn,lopdf=error";

/// `iusign serve`.
#[derive(Debug, clap::Args)]
pub struct Serve {
    #[command(flatten)]
    pub settings: Settings,
    /// A TOML file with settings [default: iusign.toml in the data folder, if it is there]
    #[arg(long, env = "IUSIGN_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print what is in force, secrets masked, and end
    #[arg(long)]
    pub print_config: bool,
}

/// A server that runs, with its jobs.
pub struct Started {
    /// The application.
    pub app: App,
    /// Where it is reached.
    pub public_url: String,
    /// The CA that clients have to trust, where the certificate is of the local one.
    pub ca_file: Option<PathBuf>,
    /// The further ways in.
    pub listeners: Vec<server::Listener>,
    running: Running,
    jobs: JoinHandle<()>,
    shutdown: CancellationToken,
}

/// Runs until it is told to stop.
pub async fn run(serve: Serve) -> anyhow::Result<()> {
    let settings = serve.settings.complete(serve.config.as_deref())?;
    if serve.print_config {
        output::line(settings.print()?.trim_end());
        return Ok(());
    }
    let log = logging(&settings)?;
    let layout = Layout::of(&settings)?;
    let started = start(&settings, &layout, log).await?;
    let signals = Signals::listen()?;
    tracing::info!(url = started.public_url, data_dir = %layout.root.display(), "ready");
    for listener in &started.listeners {
        tracing::info!(%listener, "listens too");
    }
    if started.app.tenants(None, 1).await?.is_empty() {
        tracing::info!(
            "there is no tenant yet: `iusign admin tenants add` makes one, `iusign admin keys create` its first key"
        );
    }
    started.until_told(signals).await
}

/// Starts lines for the log, on standard error.
pub fn logging(settings: &Settings) -> anyhow::Result<Log> {
    let format = match settings.log_format {
        Some(LogFormat::Json) => Format::Json,
        Some(LogFormat::Text) | None => Format::Text,
    };
    let log = Log::stderr(format);
    lines(&log, format, settings.log_level.as_deref().unwrap_or("info"))?;
    Ok(log)
}

/// Lets everything that is worth a line write to `log`.
pub fn lines(log: &Log, format: Format, level: &str) -> anyhow::Result<()> {
    // A bare level is about this program; its libraries are quieter.
    let is_bare = !level.contains([',', '=']);
    let filter = if is_bare { format!("{level},{LIBRARIES}") } else { level.to_owned() };
    let filter = EnvFilter::try_new(filter)
        .with_context(|| format!("log_level {level:?} is none: write info, or info,iusign_app=debug"))?;
    let writer = log.clone();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || writer.clone());
    // A second call in one process keeps the first's lines.
    let _ = match format {
        Format::Json => lines.json().flatten_event(true).try_init(),
        Format::Text => lines.with_ansi(false).try_init(),
    };
    Ok(())
}

/// Binds, opens, serves. When it returns, the server answers.
pub async fn start(settings: &Settings, layout: &Layout, log: Log) -> anyhow::Result<Started> {
    confine()?;
    let listener = server::bind(settings.listen())?;
    let bound = listener.local_addr()?;
    let public_url = settings.public_url.clone().unwrap_or_else(|| server::public_url(bound));
    let public_url = public_url.trim_end_matches('/').to_owned();
    let app = assemble::open(settings, layout, public_url.clone()).await?;
    let revived = app.apply_journal().await?;
    if revived > 0 {
        tracing::warn!(
            keys = revived,
            "the database had keys alive that the journal says are revoked or suspended: they are so again"
        );
    }
    let shutdown = CancellationToken::new();
    let (tls, ca_file) = tls(settings, layout, &public_url);
    let config = server::Config {
        listen: bound,
        listener: Some(listener),
        listeners: settings.listeners.clone(),
        tls,
        public_url: Some(public_url.clone()),
        admin_socket: Some(admin_socket(layout)?),
        log,
    };
    let running = server::serve(app.clone(), config, shutdown.clone()).await?;
    let jobs = {
        let (app, shutdown) = (app.clone(), shutdown.clone());
        tokio::spawn(async move { app.run_jobs(shutdown).await })
    };
    let listeners = running.listeners.clone();
    Ok(Started { app, public_url, ca_file, listeners, running, jobs, shutdown })
}

/// What the server writes is its user's alone, and no core file or debugger of another process sees its keys.
fn confine() -> anyhow::Result<()> {
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let not = rustix::process::DumpableBehavior::NotDumpable;
    rustix::process::set_dumpable_behavior(not).context("core files can't be turned off")?;
    // The usual soft limit of 1,024 open files would end the server at a thousand connections.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files can't be raised");
    }
    Ok(())
}

/// SIGTERM and SIGINT, kept from the call on: a signal that comes before anybody waits is not lost.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes both from the system. Whoever says "ready" calls this before: a signal may follow the word at once.
    pub fn listen() -> anyhow::Result<Self> {
        let terminate = signal(SignalKind::terminate()).context("can't wait for SIGTERM")?;
        let interrupt = signal(SignalKind::interrupt()).context("can't wait for SIGINT")?;
        Ok(Self { terminate, interrupt })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl Started {
    /// Waits for a signal, then stops. A second one ends it at once.
    pub async fn until_told(self, mut signals: Signals) -> anyhow::Result<()> {
        signals.next().await;
        tracing::info!("stopping; a second signal ends it at once");
        tokio::select! {
            () = self.stop() => Ok(()),
            () = signals.next() => anyhow::bail!("ended at once by a second signal"),
        }
    }

    /// Stops: what is in flight ends by itself within the drain time, then the last is written.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        let drained = timeout(Duration::from_millis(JOBS_DRAIN_MS_MAX), self.jobs);
        let (all, jobs) = tokio::join!(self.running.ended(), drained);
        if !all {
            tracing::warn!("some requests were cut off by the stop");
        }
        if jobs.is_err() {
            tracing::warn!("some jobs were cut off by the stop; they are taken up again at the next start");
        }
        let closed = timeout(Duration::from_millis(CLOSE_MS_MAX), async {
            self.app.gate.shutdown().await;
            // What the last requests showed is kept nowhere else.
            self.app.tell_exposed().await;
            self.app.db.close().await;
        });
        if closed.await.is_err() {
            tracing::warn!("the database did not close in time; it recovers at the next start");
        }
        tracing::info!("stopped");
    }
}

fn tls(settings: &Settings, layout: &Layout, public_url: &str) -> (Tls, Option<PathBuf>) {
    if let (Some(cert), Some(key)) = (&settings.tls_cert, &settings.tls_key) {
        return (Tls::Files { cert: cert.clone(), key: key.clone() }, None);
    }
    let mut names = settings.tls_names.clone();
    if let Some(host) = reqwest::Url::parse(public_url).ok().as_ref().and_then(reqwest::Url::host_str) {
        names.insert(0, host.trim_matches(['[', ']']).to_owned());
    }
    (Tls::LocalCa { dir: layout.root.clone(), names }, Some(layout.ca.clone()))
}

/// The operator's socket. On PostgreSQL several servers may share the folder: the first has the name, others their own.
fn admin_socket(layout: &Layout) -> anyhow::Result<PathBuf> {
    let path = layout::socket_path(&layout.admin_socket)?;
    if UnixStream::connect(&path).is_err() {
        return Ok(path);
    }
    layout::socket_path(&layout.root.join(format!("admin-{}.sock", std::process::id())))
}
