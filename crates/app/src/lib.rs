//! What can be asked: one function and one transaction for each use case.

use std::{ops::Deref, sync::Arc};

use gate::{Gate, Pass};
use model::{Clock, Code, Id, Problem, Random, Timestamp, id::Kind};
use seal::{
    key::SealKey,
    limits::Limits,
    pool::{Pool, PoolConfig},
};
use store::{Db, Files, Journal, Tx};

pub mod asset;
pub mod audit;
pub mod backup;
pub mod batch;
pub mod clock;
pub mod compromise;
pub mod config;
pub mod consent;
pub mod document;
pub mod envelope;
pub mod event;
mod expiry;
mod exposure;
pub mod invitation;
pub mod job;
pub mod journal;
pub mod key;
pub mod leak;
pub mod mail;
pub mod master_key;
pub mod notice;
pub mod once;
mod paper;
pub mod password;
pub mod random;
pub mod revocation;
pub mod room;
pub mod rotation;
pub mod rows;
mod seal_job;
mod sealed;
pub mod shown;
mod sweep;
pub mod template;
pub mod tenant;
pub mod usage;
pub mod user;
mod watch;

pub use clock::SystemClock;
pub use config::{Config, Smtp};
pub use random::SystemRandom;
pub use watch::Watch;

/// Tasks after which a worker process is replaced.
const TASKS_PER_WORKER: u32 = 500;

/// The application: everything that a use case needs. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

/// What an [`App`] holds.
pub struct Inner {
    /// The database.
    pub db: Db,
    /// The files.
    pub files: Files,
    /// The journal of revocations.
    pub journal: Journal,
    /// Who may pass.
    pub gate: Gate,
    /// The processes that parse strangers' files.
    pub pool: Pool,
    /// The key that seals, or why there is none.
    pub seal_key: Result<SealKey, String>,
    /// What the operator set.
    pub config: Config,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives random bits.
    pub random: Arc<dyn Random>,
    /// Who waits for new events.
    pub watch: Watch,
    /// Wakes the jobs' runner.
    pub wake: tokio::sync::Notify,
    pictures: document::Pictures,
    github_keys: leak::GithubKeys,
}

/// What an application is made of.
pub struct Parts {
    /// The database.
    pub db: Db,
    /// The files.
    pub files: Files,
    /// The journal of revocations.
    pub journal: Journal,
    /// Who may pass.
    pub gate: Gate,
    /// The key that seals, or why there is none.
    pub seal_key: Result<SealKey, String>,
    /// What the operator set.
    pub config: Config,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives random bits.
    pub random: Arc<dyn Random>,
}

impl Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl App {
    /// The application of these parts. Jobs run once [`App::run_jobs`] is called.
    pub fn new(parts: Parts) -> Self {
        let Parts { db, files, journal, gate, seal_key, config, clock, random } = parts;
        let pool = Pool::new(PoolConfig {
            program: config.worker.0.clone(),
            args: config.worker.1.iter().map(Into::into).collect(),
            workers: config.workers,
            limits: Limits::default(),
            tasks_per_worker: TASKS_PER_WORKER,
        });
        let watch = Watch::new(db.clone());
        let wake = tokio::sync::Notify::new();
        let pictures = document::Pictures::default();
        let github_keys = leak::GithubKeys::new(config.github_keys.clone());
        Self(Arc::new(Inner {
            db,
            files,
            journal,
            gate,
            pool,
            seal_key,
            config,
            clock,
            random,
            watch,
            wake,
            pictures,
            github_keys,
        }))
    }

    /// Begins a change that `pass` causes: it holds off whoever would take the right away, and checks that nobody has.
    pub async fn begin(&self, pass: &Pass) -> Result<Tx, Problem> {
        let mut tx = self.db.begin().await?;
        pass.fence(&mut tx).await?;
        Ok(tx)
    }

    /// Begins a transaction that only reads.
    pub async fn read(&self) -> Result<Tx, Problem> {
        Ok(self.db.read().await?)
    }

    /// Asks the database: what of an answer it could lose, by its settings, in sentences for the operator.
    pub async fn doubts(&self) -> Result<Vec<&'static str>, Problem> {
        Ok(store::durability::doubts(&mut self.read().await?).await?)
    }

    /// A new id.
    pub fn id<K: Kind>(&self) -> Id<K> {
        Id::new(self.now(), &*self.random)
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// Times that a change begins anew, at most.
const ATTEMPTS_MAX: u32 = 3;

/// Does what changes something, up to its commit, and once more from the beginning where the database could not go on: of two
/// changes that want each other's locks it lets one begin anew.
async fn begin_anew<T, F>(mut act: impl FnMut() -> F) -> Result<T, Problem>
where
    F: Future<Output = Result<T, Problem>>,
{
    for _ in 1..ATTEMPTS_MAX {
        match act().await {
            Err(problem) if problem.code == Code::Unavailable => {}
            other => return other,
        }
    }
    act().await
}
