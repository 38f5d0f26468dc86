//! `iusign demo`: the whole job on a sample, from an empty folder to sealed files that are verified, step by step.

mod browser;
mod contract;
mod recipient;
mod show;
mod watch;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context;
use api::{
    envelope::Envelope,
    key::{NewKey, RevokeKey},
};
use app::SystemClock;
use client::{Client, SecretText};
use model::Clock;
use serde::Serialize;
use server::log::{Format, Log};

use self::{
    contract::{CLIENT_ROLE, PROVIDER_ROLE},
    recipient::Hand,
    show::{Stage, Step},
    watch::Watch,
};
use crate::{
    assets,
    config::{PORT, Settings},
    doctor,
    layout::Layout,
    output,
    output::Style,
    quickstart, serve, verify,
};

/// The log of the server while the demo has the terminal.
const LOG_FILE: &str = "demo.log";
/// The key, for the commands that the demo ends with.
const KEY_FILE: &str = "demo.key";
/// The rows, as they were sent.
const ROWS_FILE: &str = "clients.csv";
/// Where the sealed files go.
const SEALED_DIR: &str = "sealed";

/// `iusign demo`.
#[derive(Debug, clap::Args)]
pub struct Demo {
    /// The folder: made where it is not there; a second run goes on in it
    #[arg(long, default_value = "iusign-demo", value_name = "DIR")]
    dir: PathBuf,
    /// Where to listen [default: 127.0.0.1:8443, or a free port where that is taken]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// How many of the 25 contracts are signed
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=24), value_name = "NUMBER")]
    sign: u8,
    /// End afterwards, instead of leaving the server running
    #[arg(long)]
    exit: bool,
}

/// What was done, for programs.
#[derive(Serialize)]
struct Outcome {
    url: String,
    ca_file: PathBuf,
    key_file: PathBuf,
    seal_certificate: PathBuf,
    sealed_dir: PathBuf,
    files: Vec<PathBuf>,
    signing_link: String,
    data_dir: PathBuf,
    steps: Vec<Step>,
}

/// What the steps share.
struct Scene {
    dir: PathBuf,
    layout: Layout,
    ca: Vec<u8>,
    client: Client,
    stage: Stage,
}

/// Does the whole of it.
pub async fn run(demo: Demo, json: bool) -> anyhow::Result<()> {
    let mut stage = Stage::new(json);
    stage.line("");
    stage.line(&format!("  {}", Style::of_stdout().bold("IUSign: a contract, 25 clients, sealed files")));
    stage.line("");
    stage.begin("Server", "starting");
    let settings =
        Settings { data_dir: Some(demo.dir.clone()), listen: Some(address(demo.listen)), ..Settings::default() };
    let layout = Layout::of(&settings)?;
    layout.make()?;
    let log = fs::OpenOptions::new().create(true).append(true).open(layout.root.join(LOG_FILE));
    let log = Log::to(log.context("can't write the log into the folder")?, Format::Text);
    serve::lines(&log, Format::Text, "info")?;
    let started = serve::start(&settings, &layout, log).await?;
    stage.done(format!("{}, TLS 1.3; its data in {}", started.public_url, demo.dir.display()));

    let ca = fs::read(&layout.ca).context("can't read the local CA's certificate")?;
    stage.begin("API key", "generating");
    let (client, said) = key(&started, &layout, &ca).await?;
    stage.done(said);
    let mut scene = Scene { dir: demo.dir, layout, ca, client, stage };
    let outcome = scene.play(usize::from(demo.sign), &started.public_url).await?;
    let signals = serve::Signals::listen()?;
    if json {
        output::json(&outcome)
    } else {
        scene.farewell(&outcome, demo.exit)
    }
    if demo.exit {
        started.stop().await;
        return Ok(());
    }
    started.until_told(signals).await?;
    if !json {
        output::line("");
        output::line("  Stopped. Everything stays in the folder.");
    }
    Ok(())
}

/// The usual port, or a free one where another program has it.
fn address(wanted: Option<SocketAddr>) -> SocketAddr {
    let usual = SocketAddr::from(([127, 0, 0, 1], PORT));
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    wanted.unwrap_or_else(|| if std::net::TcpListener::bind(usual).is_ok() { usual } else { free })
}

/// Generates the demo's key through the API. The first key of a tenant comes from its owner; here it lives for a moment.
async fn key(started: &serve::Started, layout: &Layout, ca: &[u8]) -> anyhow::Result<(Client, String)> {
    let made = quickstart::ensure(&started.app, "Northwind Legal", "Demo, the first key").await?;
    let pass = quickstart::as_owner(&made.tenant, &made.owner);
    let first = match made.key {
        Some(key) => key,
        None => quickstart::make_key(&started.app, &pass, "Demo, the first key").await?,
    };
    let bootstrap = Client::new(&started.public_url, SecretText::new(first.as_str()), Some(ca))?;
    let label = format!("Demo, {}", output::short_time(&SystemClock.now().to_string()));
    let new = NewKey { label, scopes: Some(vec!["*".to_owned()]), ..NewKey::default() };
    let created = bootstrap.create_key(&new, None).await?;
    let secret = SecretText::new(created.secret.context("the server did not show the key")?);
    // The key of the run before is in the file that this one replaces.
    let before = fs::read_to_string(layout.root.join(KEY_FILE)).ok();
    let before = before.and_then(|text| secret::SecretKey::parse(text.trim()).ok());
    let before = before.map(|key| model::KeyId::from_uuid(key.id()).to_string());
    write_private(&layout.root.join(KEY_FILE), secret.expose())?;
    let said = format!("{} generated through the API, {}…{}", created.key.id, &secret.expose()[..9], created.key.last4);
    let client = Client::new(&started.public_url, secret, Some(ca))?;
    let first_id = bootstrap.me().await?.key.id;
    for id in [Some(first_id), before].into_iter().flatten() {
        match client.revoke_key(&id, &RevokeKey::default()).await {
            Ok(_) => {}
            // A key of a database that was there before.
            Err(error) if error.code() == Some("not_found") => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok((client, said))
}

impl Scene {
    /// The steps, one after the other.
    async fn play(&mut self, signing: usize, url: &str) -> anyhow::Result<Outcome> {
        let template = self.prepare().await?;
        let mut watch = Watch::begin(&self.client).await?;
        let batch = self.send(&template).await?;
        let envelopes = self.notified(&mut watch, &batch).await?;
        let (signed, waiting) = envelopes.split_at(signing.min(envelopes.len()));
        self.sign(&mut watch, signed).await?;
        self.completed(&mut watch, signed).await?;
        let files = self.fetch(signed).await?;
        self.verify(&files).await?;
        let next = waiting.first().context("every envelope is signed")?;
        let link = recipient::link(&self.client, &next.id, &role(next, CLIENT_ROLE)?.id).await?;
        Ok(Outcome {
            url: url.to_owned(),
            ca_file: self.dir.join(server::ca::CA_FILE),
            key_file: self.dir.join(KEY_FILE),
            seal_certificate: self.dir.join("seal/cert.pem"),
            sealed_dir: self.dir.join(SEALED_DIR),
            files,
            signing_link: link.to_string(),
            data_dir: self.layout.root.clone(),
            steps: std::mem::take(&mut self.stage.steps),
        })
    }

    /// The contract goes up, and becomes a template.
    async fn prepare(&mut self) -> anyhow::Result<String> {
        self.stage.begin("Contract", "uploading");
        let document = self.client.upload_document_bytes(contract::FILENAME, doctor::SAMPLE).await?;
        let (pages, kib) = (document.pages.len(), document.size / 1024);
        self.stage.done(format!("{}: {pages} pages, {kib} KiB, drawn and sealed dry", document.filename));
        self.stage.begin("Template", "placing fields by anchors");
        let template = self.client.create_template(&contract::template(&document.id)).await?;
        let roles = template.roles.iter().map(|role| role.name.as_str()).collect::<Vec<_>>().join(", then ");
        self.stage.done(format!("{} fields placed beside the contract's own words; {roles}", template.fields.len()));
        Ok(template.id)
    }

    /// The rows go up, are checked, and are started.
    async fn send(&mut self, template: &str) -> anyhow::Result<String> {
        self.stage.begin("Batch", "checking rows");
        let run: String = SystemClock.now().to_string().chars().filter(char::is_ascii_digit).skip(2).take(12).collect();
        let people = contract::people()?;
        let rows = contract::rows(&people, &run)?;
        fs::write(self.layout.root.join(ROWS_FILE), &rows).context("can't write the rows into the folder")?;
        let new = api::batch::NewBatch {
            name: format!("Service agreements {run}"),
            template: api::envelope::NewTemplateRef { id: template.to_owned(), version: None },
            ..api::batch::NewBatch::default()
        };
        let batch = self.client.create_batch(&new, None).await?;
        let put = self.client.put_rows(&batch.id, &client::rows_body("text/csv; charset=utf-8", rows)).await?;
        anyhow::ensure!(put.invalid == 0, "{} of the sample's rows were not accepted", put.invalid);
        self.client.start_batch(&batch.id).await?;
        self.stage.done(format!("{ROWS_FILE}: {} rows, each valid; started", put.total));
        Ok(batch.id)
    }

    /// Every client's mail has gone out; the envelopes in the order of their rows.
    async fn notified(&mut self, watch: &mut Watch, batch: &str) -> anyhow::Result<Vec<Envelope>> {
        self.stage.begin("Events", "waiting");
        let expected = contract::people()?.len();
        let notified = |events: &[api::event::Event]| {
            events.iter().filter(|event| event.kind == "recipient.notified").count() >= expected
        };
        let stage = &self.stage;
        let live = |events: &[api::event::Event]| stage.live(&watch::counts(events));
        let seen = watch.until("every client's mail", notified, live).await?;
        let of_envelopes = |event: &&api::event::Event| !event.kind.starts_with("batch.");
        self.stage.aside(&watch::counts(&seen.iter().filter(of_envelopes).cloned().collect::<Vec<_>>()));
        let last = seen.last().map_or(0, |event| event.seq);
        self.stage.done(format!("{expected} envelopes sent and {expected} clients notified, live up to event {last}"));
        let query = [("batch", batch), ("limit", "100")];
        let mut envelopes = self.client.list_envelopes(&query).await?.data;
        envelopes.sort_by(|one, other| one.external_id.cmp(&other.external_id));
        Ok(envelopes)
    }

    /// Clients sign, then the provider, each with a browser of their own.
    async fn sign(&mut self, watch: &mut Watch, envelopes: &[Envelope]) -> anyhow::Result<()> {
        self.stage.begin("Clients", "opening the links from their mails");
        for (number, envelope) in envelopes.iter().enumerate() {
            let hand = if number % 2 == 0 { Hand::Typed } else { Hand::Drawn };
            self.one(envelope, CLIENT_ROLE, hand).await?;
        }
        self.stage.done(format!("{} signed in the signing room, over HTTP as their browsers would", envelopes.len()));
        self.stage.begin("Provider", "waiting for its turn");
        for envelope in envelopes {
            let is_turn = |events: &[api::event::Event]| {
                events.iter().any(|e| watch::is(e, "recipient.notified", &envelope.id, Some(PROVIDER_ROLE)))
            };
            watch.until("the provider's mail", is_turn, |_| ()).await?;
            self.one(envelope, PROVIDER_ROLE, Hand::Typed).await?;
        }
        self.stage.done(format!(
            "{} countersigned {} of them, in turn after each client",
            contract::PROVIDER.0,
            envelopes.len()
        ));
        Ok(())
    }

    async fn one(&self, envelope: &Envelope, name: &str, hand: Hand) -> anyhow::Result<()> {
        let person = role(envelope, name)?;
        self.stage.live(&person.name);
        let link = recipient::link(&self.client, &envelope.id, &person.id).await?;
        let signing = recipient::sign(&self.ca, link, &person.name, hand).await;
        signing.with_context(|| format!("{} could not sign {}", person.name, envelope.id))?;
        let how = if hand == Hand::Typed { "typed" } else { "drew" };
        let id = envelope.external_id.as_deref().unwrap_or(&envelope.id);
        self.stage.aside(&format!("{} {how} a signature on {id}", person.name));
        Ok(())
    }

    /// Sealed, checked by the second parser, announced.
    async fn completed(&mut self, watch: &mut Watch, envelopes: &[Envelope]) -> anyhow::Result<()> {
        self.stage.begin("Seals", "sealing");
        let done = |events: &[api::event::Event], envelope: &Envelope| {
            events.iter().any(|event| watch::is(event, "envelope.completed", &envelope.id, None))
        };
        let all = |events: &[api::event::Event]| envelopes.iter().all(|envelope| done(events, envelope));
        let stage = &self.stage;
        let live = |events: &[api::event::Event]| {
            let count = envelopes.iter().filter(|envelope| done(events, envelope)).count();
            stage.live(&format!("{count} of {} completed", envelopes.len()));
        };
        let seen = watch.until("envelope.completed", all, live).await?;
        self.stage.done(format!("{} completed; {} events so far", count(envelopes.len(), "envelope"), seen.len()));
        Ok(())
    }

    async fn fetch(&mut self, envelopes: &[Envelope]) -> anyhow::Result<Vec<PathBuf>> {
        self.stage.begin("Files", "fetching");
        let mut files = Vec::new();
        let target = self.dir.join(SEALED_DIR);
        for envelope in envelopes {
            let name = envelope.external_id.as_deref();
            files.extend(assets::fetch(&self.client, &target, &envelope.id, name, &[]).await?);
        }
        self.stage.done(format!("{} files fetched into {}", files.len(), target.display()));
        Ok(files)
    }

    /// Every sealed PDF is judged against the seal's certificate.
    async fn verify(&mut self, files: &[PathBuf]) -> anyhow::Result<()> {
        self.stage.begin("Verified", "in a confined process");
        let pdfs: Vec<PathBuf> = files.iter().filter(|file| is_pdf(file)).cloned().collect();
        let pem = fs::read_to_string(&self.layout.seal_cert).context("can't read the seal's certificate")?;
        let found = verify::judge(&pdfs, &verify::certificates(&pem)).await?;
        if let Some(bad) = found.iter().find(|found| !found.is_valid()) {
            let why = bad.report.as_ref().map(|report| report.reason.clone()).or_else(|| bad.error.clone());
            anyhow::bail!("{} is not valid: {}", bad.file.display(), why.unwrap_or_default());
        }
        self.stage.done(format!("{} of {} PDFs valid: sealed, trusted, whole file", found.len(), pdfs.len()));
        Ok(())
    }

    /// What there is to look at.
    fn farewell(&self, outcome: &Outcome, exits: bool) {
        let style = Style::of_stdout();
        let shown = |path: &Path| path.display().to_string();
        let key = format!("$(cat {})", shown(&outcome.key_file));
        let first = outcome.files.iter().find(|file| is_pdf(file)).map(|file| shown(file)).unwrap_or_default();
        output::line("");
        output::line(&format!("  Done in {:.1} s.", self.stage.seconds()));
        output::line("");
        if !exits {
            output::line(&format!("  {}", style.bold("Look at it while the server runs")));
            output::pairs(&[
                ("  sign one yourself ", style.blue(&outcome.signing_link)),
                ("  API reference ", style.blue(&format!("{}/docs", outcome.url))),
            ]);
            output::line(
                &style.faint("  (Your browser will warn: the certificate is of a CA that lives in the folder alone.)"),
            );
            output::line("");
            output::line(&format!("  {}", style.bold("Ask the API")));
            output::line(&format!(
                "  curl --cacert {} -H \"Authorization: Bearer {key}\" {}/v1/me",
                shown(&outcome.ca_file),
                outcome.url
            ));
            output::line("");
        }
        output::line(&format!("  {}", style.bold("Judge the files")));
        output::pairs(&[
            ("  sealed files ", shown(&outcome.sealed_dir)),
            ("  seal certificate ", shown(&outcome.seal_certificate)),
            ("  for example ", format!("pyhanko sign validate --trust {} '{first}'", shown(&outcome.seal_certificate))),
        ]);
        if !exits {
            output::line("");
            output::line(&style.faint("  Ctrl-C stops the server. A second run goes on in the same folder."));
        }
    }
}

/// `1 envelope`, `5 envelopes`.
fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

fn is_pdf(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("pdf"))
}

fn role<'a>(envelope: &'a Envelope, name: &str) -> anyhow::Result<&'a api::envelope::Recipient> {
    envelope.recipients.iter().find(|recipient| recipient.role == name).context("an envelope without that role")
}

/// Writes a file that its owner alone may read, in place of an older one.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let write = || {
        // A temporary file has the mode 0600 from its first moment.
        let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
        writeln!(file, "{text}")?;
        file.persist(path).map_err(|failed| failed.error)
    };
    write().map(drop).with_context(|| format!("can't write {}", path.display()))
}
