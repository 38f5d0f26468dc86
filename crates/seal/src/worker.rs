//! The child process in which strangers' PDFs are read and drawn: takes a task from its socket, answers, and dies at its limits.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use crate::frame::{self, Frame};
use crate::limits::{self, Limits};
use crate::types::{
    Certificate, DOCUMENT_BYTES_MAX, Expectation, Inspection, Prepared, SealError, SignatureInfo, Stamp, WORK_BYTES_MAX,
};
use crate::verify::Report;
use crate::{certificate, check, combine, find, inspect, prepare, render, stamp, verify};

/// The exit code after a panic, as in every Rust program.
pub const EXIT_PANIC: i32 = 101;
/// The stack of the thread that works: deep enough for honest nesting, and its end is a clean death.
const STACK_BYTES: usize = 64 * 1024 * 1024;

/// What the server asks of a worker. Documents come beside it, as descriptors.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// The first message: take these limits.
    Start(Limits),
    /// Look at one document and say what it is.
    Inspect,
    /// Draw the pages from this one on (from 0), as far as the time goes.
    Draw {
        /// The first page.
        from: u32,
    },
    /// A page as PNG.
    Render {
        /// From 1.
        page: u32,
        /// The picture's width.
        width_px: u32,
    },
    /// Where these texts stand.
    FindText {
        /// What to look for.
        needles: Vec<String>,
        /// The first page, from 0.
        from: u32,
    },
    /// Draw the stamps.
    Stamp {
        /// What and where.
        stamps: Vec<Stamp>,
        /// A line across each page.
        banner: Option<String>,
    },
    /// Make a certificate of completion.
    Certificate(Box<Certificate>),
    /// Join documents.
    Combine {
        /// One for each document.
        bookmarks: Vec<String>,
    },
    /// Make room for a signature.
    Prepare(SignatureInfo),
    /// Look whether a sealed document is what it should be.
    Check(Expectation),
    /// Say whether a document's signatures hold.
    Verify {
        /// Certificates that are trusted, DER.
        trust: Vec<Vec<u8>>,
    },
}

impl Task {
    /// For logs: the task without what it is about.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Start(_) => "start",
            Self::Inspect => "inspect",
            Self::Draw { .. } => "draw",
            Self::Render { .. } => "render",
            Self::FindText { .. } => "find_text",
            Self::Stamp { .. } => "stamp",
            Self::Certificate(_) => "certificate",
            Self::Combine { .. } => "combine",
            Self::Prepare(_) => "prepare",
            Self::Check(_) => "check",
            Self::Verify { .. } => "verify",
        }
    }

    /// Whether it reads what a stranger wrote, so that an accident is the document's fault and not ours.
    pub fn is_intake(&self) -> bool {
        matches!(
            self,
            Self::Inspect | Self::Draw { .. } | Self::Render { .. } | Self::FindText { .. } | Self::Verify { .. }
        )
    }
}

/// What a worker answers. Files come in the frame's binary part.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The limits are in force.
    Ready,
    /// The part is the working copy, if there is one.
    Inspected(Inspection),
    /// How far drawing came.
    Drawn(render::Drawn),
    /// The part is the file or the picture.
    File,
    /// For each needle its places, and how far the search came.
    Found(find::Found),
    /// The part is the file with the gap.
    Prepared(Prepared),
    /// All is as expected.
    Checked,
    /// What was found out about the signatures.
    Verified(Report),
    /// The document is at fault.
    Refused {
        /// One of [`crate::types::REFUSAL_CODES`].
        code: String,
        /// What and why.
        detail: String,
    },
    /// We are at fault.
    Fault(String),
}

/// The worker's whole life; its socket is standard input. Ends when the server closes it.
///
/// A program calls it before anything else: no runtime, no configuration, no logging, nothing that a worker could leak.
pub fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("worker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<ExitCode> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let Some((first, _)) = frame::receive(&socket)? else {
        return Ok(ExitCode::SUCCESS);
    };
    let Ok(Task::Start(limits)) = serde_json::from_slice(&first.header) else {
        return Err(io::Error::other("the first message has to be the start; this program is run by the server only"));
    };
    limits::confine(&limits).map_err(io::Error::other)?;
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || serve(&socket, &limits))?;
    match thread.join() {
        Ok(result) => result.map(|()| ExitCode::SUCCESS),
        // The panic's message is on standard error already.
        Err(_) => std::process::exit(EXIT_PANIC),
    }
}

fn serve(socket: &UnixStream, limits: &Limits) -> io::Result<()> {
    reply(socket, &Answer::Ready, Vec::new())?;
    while let Some((question, documents)) = frame::receive(socket)? {
        limits::grant_cpu(limits.cpu_seconds).map_err(io::Error::other)?;
        let task = serde_json::from_slice(&question.header)?;
        drop(question);
        let (answer, part) = match perform(task, &documents) {
            Ok(done) => done,
            Err(SealError::Refused { code, detail }) => (Answer::Refused { code: code.to_owned(), detail }, Vec::new()),
            Err(other) => (Answer::Fault(other.to_string()), Vec::new()),
        };
        drop(documents);
        reply(socket, &answer, part)?;
    }
    Ok(())
}

fn reply(socket: &UnixStream, answer: &Answer, part: Vec<u8>) -> io::Result<()> {
    frame::send(socket, &Frame { header: serde_json::to_vec(answer)?, part })
}

/// Does one task. Everything above is transport, everything below is about PDF.
fn perform(task: Task, documents: &[File]) -> Result<(Answer, Vec<u8>), SealError> {
    let one = |bytes_max| match documents {
        [document] => read(document, bytes_max),
        _ => Err(SealError::fault(format!("{} documents came where one was expected", documents.len()))),
    };
    match task {
        Task::Start(_) => Err(SealError::fault("started twice")),
        Task::Inspect => {
            let mut inspection = inspect::inspect(one(DOCUMENT_BYTES_MAX)?)?;
            let copy = inspection.working_copy.take().unwrap_or_default();
            Ok((Answer::Inspected(inspection), copy))
        }
        Task::Draw { from } => Ok((Answer::Drawn(render::draw_all(one(WORK_BYTES_MAX)?, from)?), Vec::new())),
        Task::Render { page, width_px } => Ok((Answer::File, render::render(one(WORK_BYTES_MAX)?, page, width_px)?)),
        Task::FindText { needles, from } => {
            Ok((Answer::Found(find::find_text(one(WORK_BYTES_MAX)?, &needles, from)?), Vec::new()))
        }
        Task::Stamp { stamps, banner } => {
            Ok((Answer::File, stamp::stamp(&one(WORK_BYTES_MAX)?, &stamps, banner.as_deref())?))
        }
        Task::Prepare(info) => {
            let mut prepared = prepare::prepare(one(WORK_BYTES_MAX)?, &info)?;
            let bytes = std::mem::take(&mut prepared.bytes);
            Ok((Answer::Prepared(prepared), bytes))
        }
        Task::Certificate(data) => Ok((Answer::File, certificate::certificate(&data)?)),
        Task::Combine { bookmarks } => {
            if bookmarks.len() != documents.len() {
                return Err(SealError::fault("not every document has a bookmark"));
            }
            let pairs = bookmarks.into_iter().zip(documents);
            let parts: Result<Vec<_>, SealError> =
                pairs.map(|(bookmark, document)| Ok((bookmark, read(document, WORK_BYTES_MAX)?))).collect();
            Ok((Answer::File, combine::combine(parts?)?))
        }
        Task::Check(expect) => {
            check::check(one(WORK_BYTES_MAX)?, &expect)?;
            Ok((Answer::Checked, Vec::new()))
        }
        Task::Verify { trust } => Ok((Answer::Verified(verify::verify(&one(WORK_BYTES_MAX)?, &trust)), Vec::new())),
    }
}

/// Reads a whole document. By position, because other workers share the descriptor's offset.
fn read(document: &File, bytes_max: u64) -> Result<Vec<u8>, SealError> {
    let stat = rustix::fs::fstat(document).map_err(|error| SealError::fault(format!("fstat: {error}")))?;
    let length = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    if length > bytes_max {
        let limit = bytes_max / (1024 * 1024);
        return Err(SealError::too_complex(format!("the file has {length} bytes; at most {limit} MiB are accepted")));
    }
    let mut bytes = vec![0; length as usize];
    document
        .read_exact_at(&mut bytes, 0)
        .map_err(|error| SealError::fault(format!("reading the document: {error}")))?;
    Ok(bytes)
}
