//! A batch's rows become envelopes, a chunk a transaction: the next row's number moves in the same commit as the envelopes,
//! so that a crash between any two steps loses none and doubles none.

use gate::Rule;
use model::{
    BatchId, Caller, Code, EnvScope, KeyId, Problem, Timestamp,
    audit::Entry,
    batch::{Batch, BatchProblem, BatchStatus, next_chunk},
    envelope::{BatchRef, Envelope, Sender},
    envelope_new::Making,
    row::{CellError, Columns, Given},
    scope::Scope,
};
use store::{Tx, job::Job};

use super::{header, put::external_id_taken};
use crate::{App, envelope::pinned, job::Outcome};

/// How long one holder goes on before others have their turn.
const TURN_MS: i64 = 2_000;
/// Rows of a turn's first transaction.
const CHUNK_ROWS_FIRST: u32 = 100;
/// How long a batch stands still after a crash at most.
pub(crate) const LEASE_MS: i64 = 5_000;
/// How often a step begins anew because another transaction was faster, before it waits.
const LOST_MAX: u32 = 5;
/// How long it waits then.
const LOST_MS: i64 = 1_000;

/// How a step went.
enum Stepped {
    /// So many rows had their turn, in so many milliseconds of the database's time; more may be made from then on.
    Made(u32, i64, Timestamp),
    /// Nothing may be made before then.
    Wait(Timestamp),
    /// Another transaction was faster: begin anew.
    Lost,
    /// There is nothing more to do; the job is gone.
    Ended,
}

/// Makes envelopes until the batch is done, has to wait, or others should have a turn.
pub(crate) async fn run(app: &App, job: &Job) -> Result<Outcome, Problem> {
    let until = app.now().plus(TURN_MS);
    let (mut chunk, mut lost) = (CHUNK_ROWS_FIRST, 0);
    loop {
        match step(app, job, chunk).await? {
            Stepped::Ended => {
                app.told();
                return Ok(Outcome::Committed);
            }
            Stepped::Wait(at) => return Ok(Outcome::Again(at)),
            Stepped::Made(rows, took_ms, next_at) => {
                app.told();
                let now = app.now();
                if rows == chunk {
                    chunk = next_chunk(chunk, took_ms);
                }
                if next_at > now || now >= until {
                    return Ok(Outcome::Again(next_at));
                }
                lost = 0;
            }
            Stepped::Lost if lost < LOST_MAX => lost += 1,
            Stepped::Lost => return Ok(Outcome::Again(app.now().plus(LOST_MS))),
        }
    }
}

/// One transaction: the key is still good, the batch still runs, the lease is still held, and the next rows become
/// envelopes.
async fn step(app: &App, job: &Job, chunk: u32) -> Result<Stepped, Problem> {
    let (scope, now) = (job.scope, app.now());
    let id: BatchId = job.object.parse().map_err(Problem::fault)?;
    let mut tx = app.db.begin().await?;
    // Not from before: who waits for others' writes would make ever smaller chunks, and wait ever more often.
    let begun = app.now();
    // The key's locks come before the batch's: every transaction takes them in this order.
    let key = store::batch::get(&mut tx, scope, id).await?.and_then(|batch| batch.key);
    let dead = why_not(app, &mut tx, key).await?;
    let Some(mut batch) = store::batch::lock(&mut tx, scope, id).await? else { return end(app, tx, job).await };
    if batch.key != key {
        return Ok(Stepped::Lost);
    }
    if batch.status != BatchStatus::Running {
        return end(app, tx, job).await;
    }
    if let Some((code, detail)) = dead {
        return pause(app, tx, job, batch, BatchProblem { code, detail, since: now }).await;
    }
    store::job::hold(&mut tx, job, now.plus(LEASE_MS)).await?;
    let step = batch.pace(chunk, now);
    if step.rows == 0 {
        return Ok(Stepped::Wait(step.next_at));
    }
    let rows = store::batch::next_rows(&mut tx, &batch, step.rows).await?;
    let taken = u32::try_from(rows.len()).map_err(Problem::fault)?;
    let is_last = taken < step.rows;
    if let Some((number, _)) = rows.last() {
        batch.next_row = number + 1;
    }
    let (envelopes, failed) = envelopes(app, &mut tx, &batch, rows).await?;
    batch.failed += i64::try_from(failed.len()).map_err(Problem::fault)?;
    store::batch::fail_rows(&mut tx, &batch, &failed).await?;
    let completed = is_last.then(|| batch.complete(app.now()));
    store::batch::save(&mut tx, &mut batch).await?;
    let caller = Caller::system(scope);
    match app.create_in(&mut tx, &caller, envelopes, true).await {
        Ok(_) => {}
        // On PostgreSQL another transaction may take an external id after it was looked for: nothing was committed.
        Err(problem) if problem.code == Code::ExternalIdTaken => return Ok(Stepped::Lost),
        Err(problem) => return Err(problem),
    }
    let Some(event) = completed else {
        tx.commit().await?;
        return Ok(Stepped::Made(taken, app.now().millis() - begun.millis(), step.next_at));
    };
    store::event::append(&mut tx, &caller, &*app.clock, &*app.random, vec![event]).await?;
    store::job::done(&mut tx, job).await?;
    tx.commit().await?;
    app.forget_rows(scope, id, 0..=i64::MAX).await;
    Ok(Stepped::Ended)
}

/// Why the batch can't go on: its key could not pass any more, or nothing could be sealed. Holds off whoever would
/// revoke the key until the transaction ends.
async fn why_not(app: &App, tx: &mut Tx, key: Option<KeyId>) -> Result<Option<(String, String)>, Problem> {
    if let Some(key) = key {
        match app.gate.fence_key(tx, key, Rule::Scope(Scope::BatchesWrite)).await {
            Ok(()) => {}
            Err(refusal) if matches!(refusal.code.status(), 401 | 403) => {
                let code = match refusal.code {
                    Code::RevokedKey => "key_revoked",
                    code => code.as_str(),
                };
                let detail = format!("{} Resume the batch with another key.", refusal.detail);
                return Ok(Some((code.to_owned(), detail)));
            }
            Err(problem) => return Err(problem),
        }
    }
    let unsealable = app.require_seal().err();
    Ok(unsealable.map(|problem| (problem.code.as_str().to_owned(), problem.detail)))
}

/// The job has nothing more to do: a resume writes a new one.
async fn end(app: &App, mut tx: Tx, job: &Job) -> Result<Stepped, Problem> {
    store::job::done(&mut tx, job).await?;
    tx.commit().await?;
    app.told();
    Ok(Stepped::Ended)
}

async fn pause(app: &App, mut tx: Tx, job: &Job, mut batch: Batch, problem: BatchProblem) -> Result<Stepped, Problem> {
    let was = batch.record();
    let event = batch.pause(Some(problem), app.now())?;
    store::batch::save(&mut tx, &mut batch).await?;
    store::job::done(&mut tx, job).await?;
    let caller = Caller::system(job.scope);
    app.note(&mut tx, &caller, Entry::changed("batch.paused", batch.id, was, batch.record())).await?;
    store::event::append(&mut tx, &caller, &*app.clock, &*app.random, event.into_iter().collect()).await?;
    tx.commit().await?;
    Ok(Stepped::Ended)
}

type Failed = Vec<(i64, Vec<CellError>)>;

/// The rows as drafts, and those that can't become one any more, each with its reason.
async fn envelopes(
    app: &App,
    tx: &mut Tx,
    batch: &Batch,
    rows: Vec<(i64, Given)>,
) -> Result<(Vec<Envelope>, Failed), Problem> {
    let missing = || Problem::fault(format!("{} has lost its template", batch.id));
    let template = batch.template;
    let version = store::template::version(tx, batch.scope, template.id, template.version).await?;
    let version = version.ok_or_else(missing)?;
    let making = making(app, tx, batch.scope, batch).await?;
    let columns = Columns::of(&version);
    let header = header(batch, &columns)?;
    let (mut made, mut failed) = (Vec::with_capacity(rows.len()), Vec::new());
    for (number, given) in &rows {
        let row = (&header, given, &batch.body.defaults);
        let from = BatchRef { id: batch.id, row: *number };
        match columns.envelope(&making, pinned(template, &version), row, Some(from)).1 {
            Ok(envelope) => made.push(envelope),
            Err(errors) => failed.push((*number, errors)),
        }
    }
    let named: Vec<&str> = made.iter().filter_map(|envelope| envelope.external_id.as_deref()).collect();
    if !named.is_empty() {
        let taken = store::batch::taken(tx, batch.scope, &named).await?;
        let is_taken = |envelope: &Envelope| envelope.external_id.as_ref().is_some_and(|id| taken.contains(id));
        failed.extend(
            made.iter()
                .filter(|envelope| is_taken(envelope))
                .filter_map(|envelope| Some((envelope.batch?.row, vec![external_id_taken()]))),
        );
        made.retain(|envelope| !is_taken(envelope));
    }
    Ok((made, failed))
}

async fn making<'a>(app: &'a App, tx: &mut Tx, scope: EnvScope, batch: &Batch) -> Result<Making<'a>, Problem> {
    let tenant = store::tenant::get(tx, scope.tenant_scope()).await?.ok_or_else(Problem::not_found)?;
    Ok(Making {
        scope,
        by: batch.created_by.clone(),
        sender: Sender { tenant: tenant.name, address: batch.body.address.clone() },
        clock: &*app.clock,
        random: &*app.random,
    })
}
