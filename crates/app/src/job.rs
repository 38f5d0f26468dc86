//! The jobs' runner: takes what is due by lease, runs it, and writes down how it went. At least once, each idempotent.

use std::{sync::Arc, time::Duration};

use model::{EnvScope, EnvelopeId, Problem};
use store::job::{self, Job};
use tokio::{
    sync::{Semaphore, futures::Notified},
    task::JoinSet,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::App;

/// How a job went.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    /// Done; the row can go.
    Done,
    /// The job's own transaction wrote how it went.
    Committed,
    /// Not done: again at this time.
    Again(model::Timestamp),
}

/// How long a job may be silent before another may take it, so how long a seal or a mail stands still after a crash; while
/// it runs, its lease is renewed.
const LEASE_MS: i64 = 15_000;
/// Jobs of one kind that run at a time on this node.
const PARALLEL: [(&str, usize); 7] =
    [("seal", 4), ("mail", 16), ("notice", 4), ("leak", 1), ("void", 1), ("batch", 4), ("expire", 1)];
/// How long the runner sleeps where nothing is due; a commit of this node wakes it.
const IDLE_MS: u64 = 500;
/// How long the runner waits after the database could not be asked.
const TROUBLE_MS: u64 = 1_000;
/// How often envelopes are looked at for having run out.
const SWEEP_MS: u64 = 30_000;
/// How often revocations are looked at for being in force and their receipts for being complete.
const RECEIPTS_MS: u64 = 1_000;
/// How long after one that could not be brought into force it is tried again.
const UNFINISHED_MS: u64 = 10_000;
/// The sweeps from one look at the files to the next: an hour.
const FILES_ROUNDS: u32 = 120;
/// The sweep of each hour that looks through all keys for what is to be told: ten minutes after a start, not amid it.
const TELL_ROUND: u32 = 20;
/// Envelopes that one sweep ends.
const SWEEP_MAX: u32 = 500;

impl App {
    /// Runs jobs until `shutdown`; then waits for those that run.
    pub async fn run_jobs(&self, shutdown: CancellationToken) {
        let mut running = JoinSet::new();
        running.spawn(self.clone().watch_exposed(shutdown.clone()));
        running.spawn(self.clone().watch_revocations(shutdown.clone()));
        running.spawn(self.clone().watch_receipts(shutdown.clone()));
        for (kind, parallel) in PARALLEL {
            if kind == "expire" {
                running.spawn(self.clone().sweep(shutdown.clone()));
            } else {
                running.spawn(self.clone().run_kind(kind, parallel, shutdown.clone()));
            }
        }
        while let Some(ended) = running.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a jobs' runner ended");
            }
        }
    }

    async fn run_kind(self, kind: &'static str, parallel: usize, shutdown: CancellationToken) {
        let places = Arc::new(Semaphore::new(parallel));
        let mut running = JoinSet::new();
        while !shutdown.is_cancelled() {
            while running.try_join_next().is_some() {}
            // Before the look for work: what is committed after it wakes this.
            let woken = self.wake.notified();
            let Ok(place) = places.clone().acquire_owned().await else { break };
            let free = u32::try_from(places.available_permits() + 1).unwrap_or(1);
            // A batch renews its lease with each step, so that after a crash it goes on soon.
            let lease_ms = if kind == "batch" { crate::batch::LEASE_MS } else { LEASE_MS };
            let jobs = match job::claim(&self.db, &[kind], lease_ms, self.now(), free).await {
                Ok(jobs) => jobs,
                Err(error) => {
                    tracing::warn!(%error, kind, "jobs can't be taken");
                    rest(&shutdown, TROUBLE_MS).await;
                    continue;
                }
            };
            if jobs.is_empty() {
                drop(place);
                self.wait_for_work(kind, woken, &shutdown).await;
                continue;
            }
            drop(place);
            for job in jobs {
                // A permit is free for each: only this loop takes them.
                let Ok(place) = places.clone().acquire_owned().await else { break };
                let app = self.clone();
                running.spawn(async move {
                    app.run_job(job).await;
                    drop(place);
                });
            }
        }
        while running.join_next().await.is_some() {}
    }

    /// Sleeps until a commit of this node, the next due time, or half a second.
    async fn wait_for_work(&self, kind: &'static str, woken: Notified<'_>, shutdown: &CancellationToken) {
        let due = job::next_due(&self.db, &[kind]).await.ok().flatten();
        let until =
            due.map_or(IDLE_MS, |due| u64::try_from(due.millis() - self.now().millis()).unwrap_or(0).clamp(1, IDLE_MS));
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = woken => {}
            () = tokio::time::sleep(Duration::from_millis(until)) => {}
        }
    }

    async fn run_job(&self, job: Job) {
        // A batch renews its lease itself, with each step.
        let lease = (job.kind != "batch").then(|| self.keep_lease(job.clone()));
        let went = match job.kind.as_str() {
            "seal" => self.run_seal(&job).await,
            "mail" => self.run_mail(&job).await,
            "notice" => self.run_notice(&job).await,
            "leak" => self.run_leak(&job).await,
            "void" => self.run_void(&job).await,
            "batch" => crate::batch::run(self, &job).await,
            other => Err(Problem::fault(format!("nobody knows jobs of kind {other}"))),
        };
        drop(lease);
        let noted = match went {
            Ok(Outcome::Committed) => return,
            Ok(Outcome::Done) => self.note_done(&job).await,
            Ok(Outcome::Again(at)) => self.note_again(&job, at).await,
            Err(problem) => {
                tracing::warn!(job = %job.id, kind = %job.kind, attempts = job.attempts, %problem, "a job failed; it is tried again");
                self.note_failed(&job, &problem).await
            }
        };
        if let Err(error) = noted {
            // The lease runs out, and the job is taken once more.
            tracing::warn!(job = %job.id, %error, "how a job went can't be written");
        }
    }

    /// Renews the lease until the answer is dropped: beside the job, which may hold the one writing connection.
    fn keep_lease(&self, job: Job) -> AbortOnDropHandle<()> {
        let app = self.clone();
        AbortOnDropHandle::new(tokio::spawn(async move { job::keep(&app.db, &job, LEASE_MS, &*app.clock).await }))
    }

    async fn note_done(&self, job: &Job) -> Result<(), store::StoreError> {
        let mut tx = self.db.begin().await?;
        job::done(&mut tx, job).await?;
        tx.commit().await
    }

    async fn note_again(&self, job: &Job, at: model::Timestamp) -> Result<(), store::StoreError> {
        let mut tx = self.db.begin().await?;
        job::again(&mut tx, job, &job.body, at).await?;
        tx.commit().await
    }

    async fn note_failed(&self, job: &Job, problem: &Problem) -> Result<(), store::StoreError> {
        let mut tx = self.db.begin().await?;
        job::fail(&mut tx, job, &problem.to_string(), self.now().plus(job::backoff_ms(job.attempts))).await?;
        tx.commit().await
    }

    /// Ends what has run out, forgets answers that nobody may repeat any more, and removes files that no row names.
    async fn sweep(self, shutdown: CancellationToken) {
        for round in 0_u32.. {
            if shutdown.is_cancelled() {
                return;
            }
            if let Err(problem) = self.expire_overdue().await {
                tracing::warn!(%problem, "what has run out can't be ended");
            }
            if let Err(problem) = self.expire_keys().await {
                tracing::warn!(%problem, "keys that have expired can't be put on record");
            }
            if let Err(problem) = self.finish_rotations().await {
                tracing::warn!(%problem, "rotations that are over can't be finished");
            }
            if round % FILES_ROUNDS == TELL_ROUND
                && let Err(problem) = self.tell_of_keys().await
            {
                tracing::warn!(%problem, "what is to be told of keys can't be told");
            }
            if let Err(problem) = self.apply_latest().await {
                tracing::warn!(%problem, "the journal of revocations can't be looked at");
            }
            loop {
                match store::idempotency::sweep(&self.db, self.now()).await {
                    Ok(0) => break,
                    Ok(_) if shutdown.is_cancelled() => break,
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(%error, "old answers can't be forgotten");
                        break;
                    }
                }
            }
            if round.is_multiple_of(FILES_ROUNDS) {
                if let Err(problem) = self.forget_old_usage().await {
                    tracing::warn!(%problem, "old telemetry can't be let go");
                }
                match self.sweep_files().await {
                    Ok(0) => {}
                    Ok(files) => tracing::info!(files, "files that no row names were removed"),
                    Err(problem) => tracing::warn!(%problem, "files that no row names can't be removed"),
                }
            }
            rest(&shutdown, SWEEP_MS).await;
        }
    }

    /// Brings revocations that broke off into force.
    async fn watch_revocations(self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let rest_ms = match self.finish_revocations().await {
                Ok(true) => RECEIPTS_MS,
                Ok(false) => UNFINISHED_MS,
                Err(problem) => {
                    tracing::warn!(%problem, "revocations that broke off can't be looked for");
                    UNFINISHED_MS
                }
            };
            rest(&shutdown, rest_ms).await;
        }
    }

    /// Completes receipts soon after the last node has written.
    async fn watch_receipts(self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            if let Err(problem) = self.complete_receipts().await {
                tracing::warn!(%problem, "the receipts of revocations can't be completed");
            }
            rest(&shutdown, RECEIPTS_MS).await;
        }
    }

    /// Ends every envelope whose time has run out, one transaction each.
    pub async fn expire_overdue(&self) -> Result<(), Problem> {
        let mut tx = self.read().await?;
        let overdue = store::envelope::overdue(&mut tx, self.now(), SWEEP_MAX).await?;
        drop(tx);
        for (scope, id) in overdue {
            // One that can't be ended keeps none of the others waiting.
            if let Err(problem) = self.expire(scope, id).await {
                tracing::warn!(envelope = %id, %problem, "an envelope has run out and can't be ended");
            }
        }
        Ok(())
    }

    async fn expire(&self, scope: EnvScope, id: EnvelopeId) -> Result<(), Problem> {
        let mut tx = self.db.begin().await?;
        let Some(mut envelope) = store::envelope::lock(&mut tx, scope, id).await? else { return Ok(()) };
        let moved = envelope.expire(self.now());
        if moved != model::envelope::Moved::default() {
            self.moved(&mut tx, &model::Caller::system(scope), &mut envelope, moved).await?;
            tx.commit().await?;
            self.told();
        }
        Ok(())
    }
}

async fn rest(shutdown: &CancellationToken, ms: u64) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = tokio::time::sleep(Duration::from_millis(ms)) => {}
    }
}
