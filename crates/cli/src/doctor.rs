//! `iusign doctor`: whether everything is as it has to be. It changes nothing and makes no keys.

use std::{
    fs,
    net::ToSocketAddrs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use app::SystemClock;
use model::{Clock, Timestamp, time::DAY_MS};
use seal::{
    SignatureInfo,
    key::{SealKey, certificates_from_pem},
    pades,
    verify::Verdict,
};
use serde::Serialize;
use store::Db;

use crate::{
    assemble,
    config::Settings,
    exit, layout,
    layout::Layout,
    output::{self, Style},
    worker,
};

/// Before a certificate's end by so long it is said.
const WARN_BEFORE_END_MS: i64 = 30 * DAY_MS;
/// Less free space than this is a warning.
const FREE_BYTES_WARN: u64 = 2 * 1024 * 1024 * 1024;
/// Less free space than this is a fault.
const FREE_BYTES_MIN: u64 = 200 * 1024 * 1024;
/// How long the mail server may take to accept a connection.
const MAIL_MS_MAX: u64 = 5_000;
/// Tenants that are counted at most.
const TENANTS_COUNTED_MAX: u32 = 100;
/// A document to try everything on.
pub const SAMPLE: &[u8] = include_bytes!("../../../web/sample/service-agreement.pdf");

/// `iusign doctor`.
#[derive(Debug, clap::Args)]
pub struct Doctor {
    #[command(flatten)]
    settings: Settings,
    /// A TOML file with settings [default: iusign.toml in the data folder, if it is there]
    #[arg(long, env = "IUSIGN_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Health {
    Ok,
    Warning,
    Fault,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    check: &'static str,
    health: Health,
    detail: String,
}

/// What was found, in order.
#[derive(Debug, Default, Serialize)]
struct Findings {
    checks: Vec<Check>,
}

impl Findings {
    fn note(&mut self, check: &'static str, health: Health, detail: impl Into<String>) {
        self.checks.push(Check { check, health, detail: detail.into() });
    }

    fn result(&mut self, check: &'static str, result: anyhow::Result<(Health, String)>) {
        match result {
            Ok((health, detail)) => self.note(check, health, detail),
            Err(error) => self.note(check, Health::Fault, format!("{error:#}")),
        }
    }
}

/// Looks at everything; ends with 3 where something is at fault.
pub async fn run(doctor: Doctor, json: bool) -> anyhow::Result<()> {
    let settings = doctor.settings.complete(doctor.config.as_deref())?;
    let layout = Layout::of(&settings)?;
    let mut findings = Findings::default();
    folder(&layout, &mut findings);
    findings.result("database", database(&settings, &layout).await);
    findings.result("durability", durability(&settings, &layout).await);
    findings.result("master key", master_key(&settings, &layout));
    let key = seal_key(&settings, &layout);
    findings
        .result("seal key", key.as_ref().map(|(_, said)| said.clone()).map_err(|error| anyhow::anyhow!("{error:#}")));
    let key = key.ok().and_then(|(key, _)| key);
    findings.result("documents", dry_seal(key).await);
    findings.result("TLS", tls(&settings, &layout));
    findings.result("disk space", space(&layout));
    findings.result("mail", mail(&settings).await);
    output::show(json, &findings, |findings| findings.checks.iter().for_each(show));
    let sick = findings.checks.iter().any(|check| check.health == Health::Fault);
    if sick { Err(exit::Wanting.into()) } else { Ok(()) }
}

fn show(check: &Check) {
    let style = Style::of_stdout();
    let word = match check.health {
        Health::Ok => style.green("ok     "),
        Health::Warning => style.bold("warning"),
        Health::Fault => style.red("FAULT  "),
    };
    output::line(&format!("{word}  {:<11}  {}", check.check, check.detail));
}

fn folder(layout: &Layout, findings: &mut Findings) {
    let root = layout.root.display();
    if !layout.root.exists() {
        let detail = format!("{root} is not there yet: it is made at the first start");
        return findings.note("data folder", Health::Warning, detail);
    }
    if let Err(error) = fs::read_dir(&layout.root) {
        let detail = format!("{root} can't be read: {error}. Ask as the user that `iusign serve` runs as");
        return findings.note("data folder", Health::Fault, detail);
    }
    let private = [&layout.root, &layout.master_key, &layout.seal_key, &layout.root.join(server::ca::CA_KEY_FILE)];
    let open: Vec<String> = private
        .into_iter()
        .filter(|path| path.exists())
        .filter_map(|path| layout::too_open(path).unwrap_or_else(|error| Some(format!("{}: {error}", path.display()))))
        .collect();
    match open.as_slice() {
        [] => findings.note("data folder", Health::Ok, format!("{root}, for its owner alone")),
        _ => findings.note("data folder", Health::Fault, open.join("; ")),
    }
}

async fn database(settings: &Settings, layout: &Layout) -> anyhow::Result<(Health, String)> {
    let is_embedded = settings.database.is_none();
    if is_embedded && layout.root.exists() && UnixStream::connect(layout::socket_path(&layout.admin_socket)?).is_ok() {
        return Ok((Health::Ok, "a server runs on this folder and holds its database".to_owned()));
    }
    if is_embedded && !layout.database.exists() {
        return Ok((Health::Warning, format!("{} is not there yet", layout.database.display())));
    }
    // Reached and not opened: opening makes a database of an empty one.
    let mut conn = Db::reach(&assemble::target(settings, layout)).await.context("can't open the database")?;
    let engine = if is_embedded { "SQLite" } else { "PostgreSQL" };
    let missing = store::missing_steps(&mut conn, !is_embedded).await?;
    if missing > 0 {
        conn.close().await;
        return Ok((Health::Warning, format!("{engine}, opened; the next start sets it up (steps: {missing})")));
    }
    let tenants = store::tenant::list(&mut conn, None, TENANTS_COUNTED_MAX).await?.len();
    conn.close().await;
    Ok((Health::Ok, format!("{engine}, opened and read; tenants: {tenants}")))
}

/// Whether what was answered, a revocation above all, outlives a crash and a failover.
async fn durability(settings: &Settings, layout: &Layout) -> anyhow::Result<(Health, String)> {
    if settings.database.is_none() {
        return Ok((Health::Ok, "SQLite syncs each commit to the disk".to_owned()));
    }
    let mut conn = Db::reach(&assemble::target(settings, layout)).await.context("can't open the database")?;
    let doubts = store::durability::doubts(&mut conn).await;
    conn.close().await;
    match doubts?.as_slice() {
        [] => Ok((
            Health::Ok,
            "PostgreSQL syncs each commit, and to a synchronous standby where there is a standby".to_owned(),
        )),
        doubts => Ok((Health::Warning, doubts.join(" "))),
    }
}

fn master_key(settings: &Settings, layout: &Layout) -> anyhow::Result<(Health, String)> {
    if settings.master_key.is_none() && settings.master_key_file.is_none() && !layout.master_key.exists() {
        return Ok((Health::Warning, "not there yet: it is made at the first start".to_owned()));
    }
    layout.master_key(settings)?;
    Ok((Health::Ok, "readable; keep a copy of it apart from the backups of the database".to_owned()))
}

/// The key, if there is one, and what there is to say about it.
fn seal_key(settings: &Settings, layout: &Layout) -> anyhow::Result<(Option<SealKey>, (Health, String))> {
    if settings.seal_key.is_none() && !layout.seal_key.exists() {
        return Ok((None, (Health::Warning, "not there yet: it is made at the first start".to_owned())));
    }
    let key = layout.seal_key(settings).map_err(anyhow::Error::msg)?;
    let said = ends(Timestamp::from_millis(key.not_after()), &key.subject());
    Ok((Some(key), said))
}

/// One document through a worker: looked at, made ready, sealed and verified.
async fn dry_seal(key: Option<SealKey>) -> anyhow::Result<(Health, String)> {
    let now = SystemClock.now().millis();
    let key = match key {
        Some(key) => key,
        None => {
            let made = SealKey::generate("IUSign dry run", now)?;
            SealKey::from_pem(&made.certificate, &made.key)?
        }
    };
    let pool = worker::pool(1)?;
    let inspection = pool.inspect("doctor", &file(SAMPLE)?).await.context("a worker can't look at a document")?;
    let info = SignatureInfo {
        name: "IUSign".to_owned(),
        reason: "dry run".to_owned(),
        location: String::new(),
        time_ms: now,
    };
    let prepared =
        pool.prepare("doctor", SAMPLE.to_vec(), info).await.context("a worker can't make a document ready")?;
    let sealed = pades::sign(prepared, &key, now).context("the document can't be sealed")?;
    let trust = vec![key.certificate_der().to_vec()];
    let report = pool.verify("doctor", &file(&sealed)?, trust).await.context("the seal can't be verified")?;
    anyhow::ensure!(report.verdict == Verdict::Valid, "the seal of the dry run is not valid: {}", report.reason);
    Ok((Health::Ok, format!("a worker read {} pages; a dry seal is valid", inspection.pages.len())))
}

fn file(bytes: &[u8]) -> anyhow::Result<Arc<fs::File>> {
    use std::io::Write;
    let mut file = tempfile::tempfile()?;
    file.write_all(bytes)?;
    Ok(Arc::new(file))
}

fn tls(settings: &Settings, layout: &Layout) -> anyhow::Result<(Health, String)> {
    let Some(cert) = &settings.tls_cert else {
        if !layout.ca.exists() {
            return Ok((Health::Warning, "the local CA is made at the first start".to_owned()));
        }
        let (health, said) = certificate(&layout.ca)?;
        return Ok((health, format!("{said}; clients have to trust {}", layout.ca.display())));
    };
    if let Some(key) = &settings.tls_key {
        fs::metadata(key).with_context(|| format!("can't read {}", key.display()))?;
    }
    certificate(cert)
}

fn certificate(path: &Path) -> anyhow::Result<(Health, String)> {
    let text = fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
    let all = certificates_from_pem(&text)?;
    let first = all.first().with_context(|| format!("{} holds no certificate", path.display()))?;
    let validity = &first.tbs_certificate.validity;
    let end = i64::try_from(validity.not_after.to_unix_duration().as_millis()).unwrap_or(i64::MAX);
    Ok(ends(Timestamp::from_millis(end), &first.tbs_certificate.subject.to_string()))
}

/// What there is to say about a certificate that ends then.
fn ends(end: Timestamp, subject: &str) -> (Health, String) {
    let left = end.millis() - SystemClock.now().millis();
    let health = match left {
        ..=0 => Health::Fault,
        1..=WARN_BEFORE_END_MS => Health::Warning,
        _ => Health::Ok,
    };
    let word = if left <= 0 { "ended" } else { "ends" };
    (health, format!("{subject}, {word} {}", end.date_in("UTC")))
}

fn space(layout: &Layout) -> anyhow::Result<(Health, String)> {
    let existing = layout.files.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let stat = rustix::fs::statvfs(existing).with_context(|| format!("can't look at {}", existing.display()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let health = match free {
        ..FREE_BYTES_MIN => Health::Fault,
        FREE_BYTES_MIN..FREE_BYTES_WARN => Health::Warning,
        _ => Health::Ok,
    };
    Ok((health, format!("{} MiB free at {}", free / (1024 * 1024), existing.display())))
}

async fn mail(settings: &Settings) -> anyhow::Result<(Health, String)> {
    let Some(smtp) = assemble::smtp(settings) else {
        let detail =
            "no mail server is set: production's mails stay in the outbox; development's and staging's are captured";
        return Ok((Health::Warning, detail.to_owned()));
    };
    let place = format!("{}:{}", smtp.host, smtp.port);
    let resolving = {
        let place = place.clone();
        tokio::task::spawn_blocking(move || place.to_socket_addrs().map(|mut found| found.next()))
    };
    let address = resolving.await?.with_context(|| format!("the name of the mail server {place} is not known"))?;
    let address = address.with_context(|| format!("the mail server {place} has no address"))?;
    let connecting = tokio::net::TcpStream::connect(address);
    tokio::time::timeout(Duration::from_millis(MAIL_MS_MAX), connecting)
        .await
        .with_context(|| format!("the mail server {place} does not answer"))?
        .with_context(|| format!("the mail server {place} can't be reached"))?;
    Ok((Health::Ok, format!("{place} accepts connections; mails come from {}", smtp.from)))
}
