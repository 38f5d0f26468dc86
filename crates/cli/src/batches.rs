//! `iusign batches`: many envelopes from a template and a file of rows, watched while they go out.

use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context;
use api::{
    batch::{Batch, BatchRow, NewBatch},
    envelope::NewTemplateRef,
};
use clap::Subcommand;
use client::{Body, Client, rows_type};

use crate::{
    events, output,
    remote::{self, PageArgs, Remote},
};

/// How often a running batch is looked at.
const LOOK_MS: u64 = 500;
/// Columns of the progress bar.
const BAR_COLUMNS: usize = 30;
/// Invalid rows that are shown before the rest is left to errors.csv.
const SHOWN_ROWS: &str = "10";

/// `iusign batches`.
#[derive(Debug, clap::Args)]
pub struct Batches {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Do it all: open a batch, put a file's rows, and start it if every row is valid
    Send {
        /// The rows: CSV, or NDJSON where the name ends in .ndjson or .jsonl
        rows: PathBuf,
        #[command(flatten)]
        new: New,
        /// Take up this batch, which an earlier call opened, instead of opening another
        #[arg(long, value_name = "BATCH")]
        batch: Option<String>,
        /// Stay until every row is an envelope; it goes on when this is stopped
        #[arg(long)]
        watch: bool,
    },
    /// Print the header row that a template's file of rows has
    Header {
        /// The template's id, tpl_…
        template: String,
    },
    /// Open a batch
    Create(New),
    /// Put a file's rows into an open batch; a repeat replaces them
    Put {
        /// The batch's id, bat_…
        id: String,
        /// The rows: CSV, or NDJSON where the name ends in .ndjson or .jsonl
        rows: PathBuf,
    },
    /// List batches, the newest first
    List {
        /// Only in this status: open, ready, running, paused, completed, cancelled
        #[arg(long)]
        status: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show a batch, with how far it is
    Get {
        /// Its id, bat_…
        id: String,
    },
    /// List a batch's rows
    Rows {
        /// Its id, bat_…
        id: String,
        /// Only these: valid, invalid or failed
        #[arg(long)]
        status: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Fetch the rejected rows with what is wrong: mend them and put only these into another batch
    Errors {
        /// Its id, bat_…
        id: String,
        /// Where to write them
        #[arg(long, short, default_value = "errors.csv", value_name = "FILE")]
        output: PathBuf,
    },
    /// Start a batch
    Start {
        /// Its id, bat_…
        id: String,
    },
    /// Stop a batch for a while
    Pause {
        /// Its id, bat_…
        id: String,
    },
    /// Let a batch go on, under this key
    Resume {
        /// Its id, bat_…
        id: String,
    },
    /// Stop a batch for good; what was sent goes on
    Cancel {
        /// Its id, bat_…
        id: String,
    },
    /// Watch a batch until every row is an envelope
    Watch {
        /// Its id, bat_…
        id: String,
    },
}

#[derive(Debug, clap::Args)]
struct New {
    /// Its name [default: that of the file of rows, or "Batch"]
    #[arg(long)]
    name: Option<String>,
    /// The template that its envelopes are made from
    #[arg(long, value_name = "TEMPLATE", required_unless_present = "batch")]
    template: Option<String>,
    /// The template's version [default: the latest]
    #[arg(long, value_name = "NUMBER")]
    template_version: Option<i64>,
    /// What becomes of rows that can't be accepted: reject or skip [default: reject]
    #[arg(long, value_name = "WHAT")]
    on_invalid: Option<String>,
    /// Envelopes a minute at most
    #[arg(long, value_name = "NUMBER")]
    send_rate_per_minute: Option<u32>,
    /// Not before, RFC 3339
    #[arg(long, value_name = "TIME")]
    start_at: Option<String>,
}

/// Does what is asked.
pub async fn run(batches: Batches, json: bool) -> anyhow::Result<()> {
    let client = batches.remote.client()?;
    match batches.command {
        Command::Send { rows, new, batch, watch: stay } => send(&client, &rows, (new, batch), stay, json).await?,
        Command::Header { template } => {
            let bytes = client.download_header(&template).await?.bytes().await?;
            output::line(String::from_utf8_lossy(&bytes).trim_start_matches('\u{feff}').trim_end());
        }
        Command::Create(new) => {
            let name = new.name.clone().unwrap_or_else(|| "Batch".to_owned());
            output::show(json, &client.create_batch(&new.body(name)?, None).await?, show);
        }
        Command::Put { id, rows } => output::show(json, &client.put_rows(&id, &body(&rows)).await?, show),
        Command::List { status, page } => {
            let query = page.query(&[("status", status.as_ref())]);
            let batches = client.list_batches(&remote::borrowed(&query)).await?;
            output::show(json, &batches, |batches| {
                let row = |batch: &Batch| {
                    vec![
                        batch.id.clone(),
                        batch.status.clone(),
                        batch.total.to_string(),
                        batch.invalid.to_string(),
                        output::plain(&batch.name),
                    ]
                };
                let rows = batches.data.iter().map(row).collect::<Vec<_>>();
                output::table(&["id", "status", "rows", "invalid", "name"], &rows);
                remote::more(batches.next.as_ref());
            });
        }
        Command::Get { id } => output::show(json, &client.get_batch(&id).await?, show),
        Command::Rows { id, status, page } => {
            let query = page.query(&[("status", status.as_ref())]);
            let rows = client.list_rows(&id, &remote::borrowed(&query)).await?;
            output::show(json, &rows, |rows| {
                rows.data.iter().for_each(show_row);
                remote::more(rows.next.as_ref());
            });
        }
        Command::Errors { id, output: to } => {
            let bytes = client.download_errors(&id).await?.save(&to).await?;
            output::show(json, &serde_json::json!({"file": to, "bytes": bytes}), |_| {
                output::line(&format!("{} ({bytes} bytes)", to.display()));
            });
        }
        Command::Start { id } => output::show(json, &client.start_batch(&id).await?, show),
        Command::Pause { id } => output::show(json, &client.pause_batch(&id).await?, show),
        Command::Resume { id } => output::show(json, &client.resume_batch(&id).await?, show),
        Command::Cancel { id } => output::show(json, &client.cancel_batch(&id).await?, show),
        Command::Watch { id } => output::show(json, &watch(&client, &id).await?, show),
    }
    Ok(())
}

impl New {
    fn body(self, name: String) -> anyhow::Result<NewBatch> {
        let id = self.template.context("name the template: --template tpl_…")?;
        Ok(NewBatch {
            name,
            template: NewTemplateRef { id, version: self.template_version },
            on_invalid: self.on_invalid,
            send_rate_per_minute: self.send_rate_per_minute,
            start_at: self.start_at,
            ..NewBatch::default()
        })
    }
}

fn body(rows: &Path) -> Body {
    let content_type = rows_type(&rows.to_string_lossy()).to_owned();
    Body::File { content_type, path: rows.to_owned() }
}

/// The whole of it. Each step is said before the next, so that whoever stops it knows where to go on.
async fn send(
    client: &Client,
    rows: &Path,
    (new, opened): (New, Option<String>),
    stay: bool,
    json: bool,
) -> anyhow::Result<()> {
    let is_skipping = new.on_invalid.as_deref() == Some("skip");
    let id = match opened {
        Some(id) => id,
        None => {
            let file = || rows.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            let name = new.name.clone().or_else(file).unwrap_or_else(|| "Batch".to_owned());
            client.create_batch(&new.body(name)?, None).await?.id
        }
    };
    output::error_line(&format!("batch {id}; to take it up again: --batch {id}, or iusign batches watch {id}"));
    let mut batch = client.get_batch(&id).await?;
    if matches!(batch.status.as_str(), "open" | "ready") {
        batch = client.put_rows(&id, &body(rows)).await?;
        if batch.invalid > 0 && !is_skipping && batch.on_invalid != "skip" {
            if json {
                output::json(&batch);
            } else {
                show(&batch);
                let invalid = [("status", "invalid"), ("limit", SHOWN_ROWS)];
                client.list_rows(&id, &invalid).await?.data.iter().for_each(show_row);
            }
            anyhow::bail!(
                "{} of {} rows can't be accepted, so nothing was sent. Mend them and send the file again with --batch {id}; \
                 iusign batches errors {id} writes all of them",
                batch.invalid,
                batch.total
            );
        }
        batch = client.start_batch(&id).await?;
    }
    let batch = if stay { watch(client, &id).await? } else { batch };
    output::show(json, &batch, show);
    Ok(())
}

/// Looks until nothing more comes; draws a bar where there is a terminal.
async fn watch(client: &Client, id: &str) -> anyhow::Result<Batch> {
    let is_live = io::stderr().is_terminal();
    let began = Instant::now();
    let mut first = None;
    loop {
        let batch = match client.get_batch(id).await {
            Ok(batch) => batch,
            // The batch goes on at the server, or when the server is back.
            Err(error) if events::is_passing(&error) => continue,
            Err(error) => return Err(error.into()),
        };
        let done = made(&batch);
        let start = *first.get_or_insert(done);
        if is_live {
            let _ = write!(io::stderr().lock(), "\r\x1b[2K{}", bar(&batch, done - start, began.elapsed()));
        }
        if batch.status != "running" {
            if is_live {
                let _ = writeln!(io::stderr().lock());
            }
            return Ok(batch);
        }
        tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
    }
}

/// `██████░░░░  1,200 of 2,000  310/s  3 s left`.
fn bar(batch: &Batch, meanwhile: i64, took: Duration) -> String {
    let (done, total) = (made(batch), batch.valid.max(1));
    let full = usize::try_from(done * BAR_COLUMNS as i64 / total).unwrap_or(0).min(BAR_COLUMNS);
    let drawn: String = (0..BAR_COLUMNS).map(|column| if column < full { '█' } else { '░' }).collect();
    let rate = meanwhile as f64 / took.as_secs_f64().max(0.001);
    let left = if rate > 0.0 { format!("{:.0} s left", (total - done) as f64 / rate) } else { String::new() };
    format!("{drawn}  {done} of {total}  {rate:.0}/s  {left}")
}

/// Rows that are done with.
fn made(batch: &Batch) -> i64 {
    batch.created.unwrap_or(0) + batch.failed
}

fn show(batch: &Batch) {
    let count = |count: Option<i64>| count.unwrap_or_default();
    let problem = batch.problem.as_ref().map(|problem| format!("{}: {}", problem.code, problem.detail));
    output::pairs(&[
        ("id", batch.id.clone()),
        ("name", output::plain(&batch.name)),
        ("status", batch.status.clone()),
        ("problem", output::plain(&problem.unwrap_or_default())),
        ("template", format!("{} version {}", batch.template.id, batch.template.version.unwrap_or_default())),
        ("rows", format!("{}: {} valid, {} invalid", batch.total, batch.valid, batch.invalid)),
        (
            "envelopes",
            format!(
                "{} created, {} sent, {} completed",
                count(batch.created),
                count(batch.sent),
                count(batch.completed)
            ),
        ),
        ("failed", if batch.failed > 0 { batch.failed.to_string() } else { String::new() }),
    ]);
}

fn show_row(row: &BatchRow) {
    let name = row.external_id.clone().unwrap_or_default();
    let envelope = row.envelope_id.clone().unwrap_or_default();
    output::line(&output::plain(&format!("row {:>6}  {:<8}  {name}  {envelope}", row.row, row.status)));
    for error in &row.errors {
        output::line(&output::plain(&format!("            {}: {} ({})", error.column, error.detail, error.code)));
    }
}
