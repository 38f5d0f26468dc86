//! `iusign events`: list them, and follow them over restarts of the server and of this program.

use std::{path::PathBuf, time::Duration};

use api::event::{Event, EventPage};
use clap::Subcommand;
use client::{Client, Error, Follow};

use crate::{
    cursor::CursorFile,
    output::{self, Style},
    remote::{self, PageArgs, Remote},
};

/// The first pause after the server gave no answer; it doubles.
const PAUSE_MS: u64 = 500;
/// The longest pause.
const PAUSE_MS_MAX: u64 = 15_000;

/// `iusign events`.
#[derive(Debug, clap::Args)]
pub struct Events {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List events, the oldest first
    List {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Follow events as they happen, until it is interrupted or the key is refused
    Tail {
        #[command(flatten)]
        which: Which,
        /// Begin with the first event there is, not with what comes from now on
        #[arg(long, conflicts_with = "after")]
        from_start: bool,
        /// Begin after this cursor
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
        /// Keep the cursor in this file: the next start goes on where this one ended
        #[arg(long, value_name = "FILE")]
        cursor_file: Option<PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
struct Which {
    /// Only these: envelope.completed,recipient.*
    #[arg(long)]
    types: Option<String>,
    /// Only of this envelope
    #[arg(long)]
    envelope: Option<String>,
}

/// Does what is asked.
pub async fn run(events: Events, json: bool) -> anyhow::Result<()> {
    let client = events.remote.client()?;
    match events.command {
        Command::List { which, page } => {
            let query = page.query(&[("types", which.types.as_ref()), ("envelope", which.envelope.as_ref())]);
            let page = client.list_events(&remote::borrowed(&query)).await?;
            output::show(json, &page, |page| {
                page.data.iter().for_each(|event| output::line(&human(event)));
                remote::more(page.has_more.then_some(&page.next));
            });
        }
        Command::Tail { which, from_start, after, cursor_file } => {
            let file = CursorFile::new(cursor_file);
            let begin = if from_start { None } else { Some("now".to_owned()) };
            let cursor = file.load()?.or(after).or(begin);
            let mut follow = Follow { cursor, types: which.types, envelope: which.envelope };
            loop {
                let page = next(&client, &mut follow).await?;
                for event in &page.data {
                    output::show(json, event, |event| output::line(&human(event)));
                }
                // What nobody read is told again by the next call.
                if !output::is_open() {
                    return Ok(());
                }
                file.save(&page.next)?;
            }
        }
    }
    Ok(())
}

/// The next events, however long the server is away; a refusal ends it.
pub async fn next(client: &Client, follow: &mut Follow) -> Result<EventPage, Error> {
    let mut pause = PAUSE_MS;
    loop {
        match client.next_events(follow).await {
            Ok(page) => return Ok(page),
            Err(error) if is_passing(&error) => {
                if pause == PAUSE_MS {
                    output::error_line(&format!("{}; waiting for the server", error.to_string().trim_end_matches('.')));
                }
                tokio::time::sleep(Duration::from_millis(pause)).await;
                pause = (pause * 2).min(PAUSE_MS_MAX);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether the server may answer when it is asked again later.
pub fn is_passing(error: &Error) -> bool {
    match error {
        Error::NoAnswer { .. } => true,
        Error::NotUnderstood { status, .. } => *status >= 500,
        Error::Problem(problem) => problem.status >= 500 || problem.status == 429,
        Error::Setup(_) | Error::File { .. } => false,
    }
}

/// An event as a line: number, time, what, to whom.
pub fn human(event: &Event) -> String {
    let style = Style::of_stdout();
    let text = |object: &str, name: &str| event.data.get(object)?.get(name)?.as_str().map(output::plain);
    let who = match (text("recipient", "name"), text("recipient", "email")) {
        (Some(name), Some(email)) => format!("{name} <{email}>"),
        _ => String::new(),
    };
    let what = text("envelope", "id").or_else(|| text("batch", "id")).or_else(|| text("key", "id")).unwrap_or_default();
    let title = text("envelope", "external_id").or_else(|| text("batch", "name")).or_else(|| text("key", "label"));
    let tail = [title.unwrap_or_default(), who].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
    format!(
        "{:>6}  {}  {:<24}  {}  {}",
        event.seq,
        style.faint(event.created_at.get(11..19).unwrap_or(&event.created_at)),
        event.kind,
        style.faint(&what),
        tail.join("  ")
    )
    .trim_end()
    .to_owned()
}
