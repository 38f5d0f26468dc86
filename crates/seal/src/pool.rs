//! The server's side of the workers: a few kept warm, a bounded queue, one group for each worker, a new one after every accident.
//! A group is a tenant: whatever its documents cost, one worker and half of the queue are left to the others.
//!
//! Nothing in here looks into a PDF. A task takes a worker, and whatever ends badly ends that worker: it crashed, it
//! took too long, it answered nonsense, or the one who asked went away in the middle.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rustix::fs::{MemfdFlags, OFlags, fcntl_getfl, memfd_create};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

use crate::find::PLACES_MAX;
use crate::frame;
use crate::limits::Limits;
use crate::types::{
    Certificate, Expectation, Inspection, Prepared, SealError, SignatureInfo, Stamp, TextBox, WORK_BYTES_MAX,
};
use crate::verify::Report;
use crate::worker::{Answer, EXIT_PANIC, Task};

/// A document, open for reading. Cheap to clone; its offset is not used.
pub type Pdf = Arc<File>;

/// Tasks that may wait for a worker. More are refused as busy.
pub const WAITING_MAX: usize = 2_048;
/// How many of them one group may have, so that its flood never makes the server busy for everyone.
pub const GROUP_WAITING_MAX: usize = WAITING_MAX / 2;
/// Workers beyond those that one group may have at a time. A hostile document keeps a worker for all of its CPU time: who
/// uploads one after the other would otherwise keep all of them, and every other tenant waiting.
const SPARE_WORKERS: usize = 1;
/// How long a new worker may take until it is ready.
const START_MS_MAX: u64 = 10_000;
/// How long a worker that is done for may take to be gone.
const END_MS_MAX: u64 = 5_000;
/// What is kept of a dead worker's last words, in bytes.
const LAST_WORDS_BYTES_MAX: usize = 2_048;
/// Search tasks for one question.
const FIND_TASKS_MAX: u32 = 16;
/// Drawing tasks for one document at intake: together with a task's own share, the CPU that an upload may cost.
const DRAW_TASKS_MAX: u32 = 8;

/// How workers are started, and how many.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// The program; it has to call [`crate::worker::main`].
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// How many work at a time for one group. One more is there for the others.
    pub workers: usize,
    /// What each may use.
    pub limits: Limits,
    /// After so many tasks a worker is replaced.
    pub tasks_per_worker: u32,
}

/// Who does the parsing. Clones share the workers.
#[derive(Debug, Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: PoolConfig,
    /// First come, first served, among all groups.
    permits: Semaphore,
    groups: Mutex<HashMap<String, Weak<Group>>>,
    waiting: AtomicUsize,
    idle: Mutex<Vec<Worker>>,
}

/// The queue in front of the queue, for one group: it never has all workers, nor all places to wait.
#[derive(Debug)]
struct Group {
    permits: Semaphore,
    waiting: AtomicUsize,
}

#[derive(Debug)]
struct Worker {
    child: Child,
    socket: UnixStream,
    /// Hears what it writes to its standard error, and knows the last of it once it is gone.
    words: Option<tokio::task::JoinHandle<Vec<u8>>>,
    /// Whose documents it has seen: it serves nobody else.
    group: Option<String>,
    served: u32,
}

impl Pool {
    /// A pool. Workers are started when the first task comes, or by [`Pool::warm`].
    pub fn new(config: PoolConfig) -> Self {
        let workers = config.workers.max(1);
        // Workers start in /, so a relative path has to be resolved here; a bare name is left to PATH.
        let program = match config.program.components().count() {
            0 | 1 => config.program,
            _ => std::path::absolute(&config.program).unwrap_or(config.program),
        };
        Self {
            inner: Arc::new(Inner {
                config: PoolConfig { workers, program, ..config },
                permits: Semaphore::new(workers + SPARE_WORKERS),
                groups: Mutex::default(),
                waiting: AtomicUsize::new(0),
                idle: Mutex::default(),
            }),
        }
    }

    /// Starts one worker, so that the first task need not wait, and whoever starts the server sees that it can be done.
    pub async fn warm(&self) -> Result<(), SealError> {
        let worker = self.inner.start().await?;
        self.inner.keep(worker);
        Ok(())
    }

    /// Looks at a document at intake, and draws each of its pages once.
    pub async fn inspect(&self, group: &str, pdf: &Pdf) -> Result<Inspection, SealError> {
        let (answer, part) = self.run(group, Task::Inspect, std::slice::from_ref(pdf)).await?;
        let Answer::Inspected(mut inspection) = answer else { return Err(nonsense()) };
        let shown = if part.is_empty() { pdf.clone() } else { document(&part)? };
        inspection.working_copy = (!part.is_empty()).then_some(part);
        let mut from = 0;
        for _ in 0..DRAW_TASKS_MAX {
            let (answer, _) = self.run(group, Task::Draw { from }, std::slice::from_ref(&shown)).await?;
            let Answer::Drawn(drawn) = answer else { return Err(nonsense()) };
            inspection.warnings.extend(drawn.warnings);
            match drawn.next {
                Some(next) if next > from => from = next,
                Some(_) => return Err(nonsense()),
                None => return Ok(inspection),
            }
        }
        inspection
            .warnings
            .push(format!("Drawing the pages takes long; those from page {} on were not tried.", from + 1));
        Ok(inspection)
    }

    /// A page (from 1) as PNG.
    pub async fn render(&self, group: &str, pdf: &Pdf, page: u32, width_px: u32) -> Result<Vec<u8>, SealError> {
        self.file(group, Task::Render { page, width_px }, std::slice::from_ref(pdf)).await
    }

    /// For each needle its places, in the order of pages and reading.
    pub async fn find_text(
        &self,
        group: &str,
        pdf: &Pdf,
        needles: Vec<String>,
    ) -> Result<Vec<Vec<TextBox>>, SealError> {
        let mut all = vec![Vec::new(); needles.len()];
        let mut from = 0;
        for _ in 0..FIND_TASKS_MAX {
            let task = Task::FindText { needles: needles.clone(), from };
            let (answer, _) = self.run(group, task, std::slice::from_ref(pdf)).await?;
            let Answer::Found(found) = answer else { return Err(nonsense()) };
            if found.places.len() != all.len() {
                return Err(nonsense());
            }
            for (all, places) in all.iter_mut().zip(found.places) {
                all.extend(places);
                all.truncate(PLACES_MAX);
            }
            match found.next {
                Some(next) if next > from => from = next,
                Some(_) => return Err(nonsense()),
                None => return Ok(all),
            }
        }
        Err(SealError::too_complex(format!("the search for texts came to page {from} only; the document is too long")))
    }

    /// Draws stamps and, if there is one, a banner on each page; the answer is not sealed yet.
    pub async fn stamp(
        &self,
        group: &str,
        pdf: &Pdf,
        stamps: Vec<Stamp>,
        banner: Option<String>,
    ) -> Result<Vec<u8>, SealError> {
        self.file(group, Task::Stamp { stamps, banner }, std::slice::from_ref(pdf)).await
    }

    /// Makes a certificate of completion; not sealed yet.
    pub async fn certificate(&self, group: &str, certificate: Certificate) -> Result<Vec<u8>, SealError> {
        self.file(group, Task::Certificate(Box::new(certificate)), &[]).await
    }

    /// Joins documents, each with its bookmark; not sealed yet.
    pub async fn combine(&self, group: &str, pdfs: Vec<(String, Pdf)>) -> Result<Vec<u8>, SealError> {
        let (bookmarks, pdfs): (Vec<String>, Vec<Pdf>) = pdfs.into_iter().unzip();
        self.file(group, Task::Combine { bookmarks }, &pdfs).await
    }

    /// Makes room for a signature, which [`crate::pades::sign`] fills: keys never enter a worker.
    pub async fn prepare(&self, group: &str, pdf: Vec<u8>, info: SignatureInfo) -> Result<Prepared, SealError> {
        match self.run(group, Task::Prepare(info), &[document(&pdf)?]).await? {
            (Answer::Prepared(prepared), bytes) if !bytes.is_empty() => Ok(Prepared { bytes, ..prepared }),
            _ => Err(nonsense()),
        }
    }

    /// Looks with the second parser whether a sealed document is what it should be.
    pub async fn check(&self, group: &str, sealed: Vec<u8>, expect: Expectation) -> Result<(), SealError> {
        match self.run(group, Task::Check(expect), &[document(&sealed)?]).await? {
            (Answer::Checked, _) => Ok(()),
            _ => Err(nonsense()),
        }
    }

    /// Says whether a document's signatures hold; `trust` are certificates, DER.
    pub async fn verify(&self, group: &str, pdf: &Pdf, trust: Vec<Vec<u8>>) -> Result<Report, SealError> {
        match self.run(group, Task::Verify { trust }, std::slice::from_ref(pdf)).await? {
            (Answer::Verified(report), _) => Ok(report),
            _ => Err(nonsense()),
        }
    }

    async fn file(&self, group: &str, task: Task, pdfs: &[Pdf]) -> Result<Vec<u8>, SealError> {
        match self.run(group, task, pdfs).await? {
            (Answer::File, bytes) if !bytes.is_empty() => Ok(bytes),
            _ => Err(nonsense()),
        }
    }

    async fn run(&self, group: &str, task: Task, pdfs: &[Pdf]) -> Result<(Answer, Vec<u8>), SealError> {
        let header = serde_json::to_vec(&task).map_err(|error| SealError::fault(format!("task: {error}")))?;
        let pdfs = pdfs.iter().map(read_only).collect::<Result<Vec<_>, _>>()?;
        let turns = self.inner.group(group);
        let waiting =
            (Waiting::new(&turns.waiting, GROUP_WAITING_MAX)?, Waiting::new(&self.inner.waiting, WAITING_MAX)?);
        let closed = |_| SealError::fault("the pool is closed");
        let _turn = turns.permits.acquire().await.map_err(closed)?;
        let _permit = self.inner.permits.acquire().await.map_err(closed)?;
        drop(waiting);
        let mut worker = self.inner.take(group).await?;
        // From here on the worker is dropped, and so killed, unless it has answered in full.
        match exchange(&mut worker, header, &pdfs, self.inner.config.limits.wall).await {
            Ok((answer, part)) => {
                worker.served += 1;
                if worker.served < self.inner.config.tasks_per_worker {
                    self.inner.keep(worker);
                }
                understood(answer, part)
            }
            Err(end) => Err(obituary(worker, end, &task, &self.inner.config.limits).await),
        }
    }
}

impl Inner {
    fn group(&self, name: &str) -> Arc<Group> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = groups.get(name).and_then(Weak::upgrade) {
            return group;
        }
        groups.retain(|_, group| group.strong_count() > 0);
        let permits = Semaphore::new(self.config.workers);
        let group = Arc::new(Group { permits, waiting: AtomicUsize::new(0) });
        groups.insert(name.to_owned(), Arc::downgrade(&group));
        group
    }

    /// A worker for this group: one of its own, or a fresh one.
    async fn take(&self, group: &str) -> Result<Worker, SealError> {
        let kept = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let own = idle.iter().position(|worker| worker.group.as_deref() == Some(group));
            own.or_else(|| idle.iter().position(|worker| worker.group.is_none())).map(|index| idle.remove(index))
        };
        let alive = kept.and_then(|mut worker| matches!(worker.child.try_wait(), Ok(None)).then_some(worker));
        let mut worker = match alive {
            Some(worker) => worker,
            None => self.start().await?,
        };
        worker.group = Some(group.to_owned());
        Ok(worker)
    }

    /// Keeps a worker for later; the one that has idled longest has to go when there are too many.
    fn keep(&self, worker: Worker) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(worker);
        if idle.len() > self.config.workers + SPARE_WORKERS {
            idle.remove(0);
        }
    }

    async fn start(&self) -> Result<Worker, SealError> {
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            SealError::Machine(format!("a document worker cannot be started ({what}): {error}"))
        };
        let (socket, other) = UnixStream::pair().map_err(|error| failed("socket", &error))?;
        let other = other.into_std().map_err(|error| failed("socket", &error))?;
        other.set_nonblocking(false).map_err(|error| failed("socket", &error))?;
        let child = Command::new(&self.config.program)
            .args(&self.config.args)
            // No secrets, no settings. The allocator must not reserve a gigabyte that the limit then lacks (KiB).
            .env_clear()
            .env("MIMALLOC_ARENA_RESERVE", "32768")
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(other)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C is the server's affair: it drains, and its workers with it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed("spawn", &error))?;
        let mut child = child;
        let words = child.stderr.take().map(|stderr| tokio::spawn(listen(stderr)));
        let mut worker = Worker { child, socket, words, group: None, served: 0 };
        let start = serde_json::to_vec(&Task::Start(self.config.limits)).map_err(|error| failed("start", &error))?;
        match exchange(&mut worker, start, &[], Duration::from_millis(START_MS_MAX)).await {
            Ok((Answer::Ready, _)) => Ok(worker),
            Ok((answer, _)) => Err(failed("start", &format!("{answer:?}"))),
            Err(end) => Err(failed(end.name(), &last_words(&mut worker).await)),
        }
    }
}

/// One of those who wait. Counted, so that a flood is refused and not remembered.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize, max: usize) -> Result<Self, SealError> {
        let waiting = Self(count);
        if count.fetch_add(1, Ordering::Relaxed) >= max { Err(SealError::Busy) } else { Ok(waiting) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How an exchange can fail.
enum End {
    /// The worker went away, or spoke nonsense.
    Died(std::io::Error),
    /// It took too long.
    TimedOut,
}

impl End {
    fn name(&self) -> &'static str {
        match self {
            Self::Died(_) => "it died",
            Self::TimedOut => "it took too long",
        }
    }
}

async fn exchange(
    worker: &mut Worker,
    header: Vec<u8>,
    pdfs: &[Pdf],
    wall: Duration,
) -> Result<(Answer, Vec<u8>), End> {
    let whole = async {
        frame::ask(&mut worker.socket, header, pdfs).await?;
        let frame = frame::answer(&mut worker.socket).await?;
        Ok((serde_json::from_slice(&frame.header)?, frame.part))
    };
    match tokio::time::timeout(wall, whole).await {
        Ok(done) => done.map_err(End::Died),
        Err(_) => Err(End::TimedOut),
    }
}

fn understood(answer: Answer, part: Vec<u8>) -> Result<(Answer, Vec<u8>), SealError> {
    match answer {
        Answer::Refused { code, detail } => Err(SealError::refused(&code, detail)),
        Answer::Fault(detail) => Err(SealError::Fault(detail)),
        answer => Ok((answer, part)),
    }
}

fn nonsense() -> SealError {
    SealError::fault("a document worker gave an answer that fits no question")
}

/// Ends a worker and says what its end means: the document's fault, or ours.
async fn obituary(mut worker: Worker, end: End, task: &Task, limits: &Limits) -> SealError {
    let name = end.name();
    let cause = match &end {
        End::TimedOut => String::new(),
        End::Died(error) => error.to_string(),
    };
    let status = match end {
        End::TimedOut => None,
        // Its socket is closed, so it is about to be gone; how it went is worth the moment.
        End::Died(_) => {
            tokio::time::timeout(Duration::from_millis(END_MS_MAX), worker.child.wait()).await.ok().and_then(Result::ok)
        }
    };
    let words = last_words(&mut worker).await;
    tracing::warn!(task = task.name(), end = name, cause, ?status, words, "a document worker died");
    let Some(status) = status else {
        return if task.is_intake() {
            SealError::too_complex(format!("the document takes longer than {} s to read", limits.wall.as_secs()))
        } else {
            SealError::fault(format!("{} took longer than {} s", task.name(), limits.wall.as_secs()))
        };
    };
    if let Some(what) = too_much(status, limits) {
        return SealError::too_complex(what);
    }
    if status.code() == Some(EXIT_PANIC) && task.is_intake() {
        return SealError::too_complex("the document cannot be read without an accident");
    }
    SealError::fault(format!("a document worker ended ({status}) during {}", task.name()))
}

/// What a document used too much of, if that is how its worker ended.
fn too_much(status: ExitStatus, limits: &Limits) -> Option<String> {
    match status.signal()? {
        libc::SIGXCPU => Some(format!("the document needs more than {} s of computing", limits.cpu_seconds)),
        // An allocation that fails, and a stack that ends, both abort.
        libc::SIGABRT | libc::SIGSEGV | libc::SIGBUS => {
            Some("the document needs more memory than is granted, or is nested too deeply".to_owned())
        }
        _ => None,
    }
}

/// Reads a worker's standard error to its end and keeps the last of it. Unread, the pipe fills up (a library warns of every
/// letter that a font lacks), and the worker waits for ever to write the next line.
async fn listen(mut stderr: tokio::process::ChildStderr) -> Vec<u8> {
    let mut last = Vec::new();
    let mut piece = [0; 1_024];
    while let Ok(read @ 1..) = stderr.read(&mut piece).await {
        last.extend_from_slice(&piece[..read]);
        let too_many = last.len().saturating_sub(LAST_WORDS_BYTES_MAX);
        last.drain(..too_many);
    }
    last
}

/// What a worker wrote to its standard error, cut short. Kills it first.
async fn last_words(worker: &mut Worker) -> String {
    let ended = async {
        // Killing what is dead already fails, and that is fine.
        worker.child.start_kill().ok();
        worker.child.wait().await.ok();
        let words = match worker.words.take() {
            Some(words) => words.await.unwrap_or_default(),
            None => Vec::new(),
        };
        String::from_utf8_lossy(&words).trim().to_owned()
    };
    tokio::time::timeout(Duration::from_millis(END_MS_MAX), ended).await.unwrap_or_default()
}

/// Bytes as a document that can be handed to a worker.
pub fn document(bytes: &[u8]) -> Result<Pdf, SealError> {
    if bytes.len() as u64 > WORK_BYTES_MAX {
        return Err(SealError::too_complex(format!("the file has grown to {} bytes", bytes.len())));
    }
    let failed = |error: &dyn std::fmt::Display| SealError::Machine(format!("a file in memory: {error}"));
    let mut file = File::from(memfd_create("iusign-document", MemfdFlags::CLOEXEC).map_err(|error| failed(&error))?);
    file.write_all(bytes).map_err(|error| failed(&error))?;
    file.rewind().map_err(|error| failed(&error))?;
    Ok(Arc::new(file))
}

/// The same document, open for reading only: a worker that was taken over must not be able to write to it.
fn read_only(pdf: &Pdf) -> Result<Pdf, SealError> {
    use std::os::fd::AsRawFd;
    let failed =
        |error: &dyn std::fmt::Display| SealError::Machine(format!("opening a document for a worker: {error}"));
    let flags = fcntl_getfl(pdf).map_err(|error| failed(&error))?;
    if flags & OFlags::RWMODE == OFlags::RDONLY {
        return Ok(pdf.clone());
    }
    let file = File::open(format!("/proc/self/fd/{}", pdf.as_raw_fd())).map_err(|error| failed(&error))?;
    Ok(Arc::new(file))
}
