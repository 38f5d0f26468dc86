//! Batches: many envelopes made from a template and a file of rows. Open, put rows, look at the report, start.
//!
//! `put.rs` takes rows in, `run.rs` makes their envelopes, `export.rs` gives the faulty ones back.

use gate::Pass;
use model::{
    BatchId, BodyError, Caller, Problem, TemplateId, Timestamp,
    audit::Entry,
    batch::{Batch, BatchStatus, CHUNK_ROWS_MAX, OnInvalid, RowStatus},
    caller::Who,
    envelope_new::Making,
    event::NewEvent,
    row::{Columns, Defaults, Given, Header, pointer},
    template::TemplateVersion,
};
use serde_json::{Map, Value};
use store::Tx;

pub use store::batch::{BatchRow, Counts};

use crate::{App, envelope::pinned, once::Once};

mod export;
mod put;
mod run;

pub(crate) use run::{LEASE_MS, run};

use put::Intake;

/// Rows of a body: they are written in one transaction, in which no other tenant may have to wait for long.
pub const BODY_ROWS_MAX: usize = 1_000;
/// Faults of rows that one answer names.
const FAULTS_MAX: usize = 100;

/// A batch as a sender asks for it.
#[derive(Clone, Debug, PartialEq)]
pub struct NewBatch {
    /// Its name.
    pub name: String,
    /// The template, and its version; the latest where none is given.
    pub template: (TemplateId, Option<i64>),
    /// What every row has that does not say it itself.
    pub defaults: Defaults,
    /// What becomes of rows that can't be accepted.
    pub on_invalid: OnInvalid,
    /// Envelopes a minute at most.
    pub send_rate_per_minute: Option<u32>,
    /// Not before.
    pub start_at: Option<Timestamp>,
    /// The rows, in the small case.
    pub rows: Vec<Map<String, Value>>,
    /// Whether to start it at once.
    pub start: bool,
}

/// A batch with how far it is.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchDetails {
    /// The batch.
    pub batch: Batch,
    /// Its envelopes; none where they were not counted.
    pub counts: Option<Counts>,
}

impl App {
    /// Makes a batch. With rows and `start` it does the whole of it in one transaction.
    pub async fn create_batch(
        &self,
        pass: &Pass,
        new: NewBatch,
        once: &Once<BatchDetails>,
    ) -> Result<BatchDetails, Problem> {
        let now = self.now();
        if new.rows.len() > BODY_ROWS_MAX {
            let detail = format!(
                "A body has {BODY_ROWS_MAX} rows at most: leave them out and put them to /v1/batches/{{id}}/rows."
            );
            return Err(Problem::body(vec![BodyError::new("/rows", "too_many", detail)]));
        }
        let (id, number) = new.template;
        let (template, version) = self.pinned(pass.scope(), id, number).await?;
        // Before the transaction: who holds one connection and waits for a second can stop all who do the same.
        let making = self.making(pass).await?;
        let faults = new.defaults.check(&making, pinned(template, &version));
        if !faults.is_empty() {
            return Err(Problem::body(faults));
        }
        let wanted = model::batch::NewBatch {
            name: new.name,
            template,
            defaults: new.defaults,
            on_invalid: new.on_invalid,
            send_rate_per_minute: new.send_rate_per_minute,
            start_at: new.start_at,
        };
        let (mut batch, event) = Batch::create(self.id(), pass.scope(), wanted, pass.caller().actor(), now)?;
        let mut events = vec![event];
        let mut tx = self.begin(pass).await?;
        store::batch::insert(&mut tx, &batch).await?;
        if !new.rows.is_empty() {
            events.push(self.put_all(&mut tx, &making, &mut batch, &version, new.rows).await?);
        }
        if new.start {
            events.extend(self.start(&mut tx, pass, &mut batch).await?);
        }
        store::batch::save(&mut tx, &mut batch).await?;
        self.note(&mut tx, pass.caller(), Entry::created("batch.created", batch.id, batch.record())).await?;
        store::event::append(&mut tx, pass.caller(), &*self.clock, &*self.random, events).await?;
        let made = BatchDetails { batch, counts: Some(Counts::default()) };
        once.keep(&mut tx, &made).await?;
        tx.commit().await?;
        self.told();
        Ok(made)
    }

    /// The rows of a body: with `on_invalid: reject` all of them are valid, or every fault is named at its place.
    async fn put_all(
        &self,
        tx: &mut Tx,
        making: &Making<'_>,
        batch: &mut Batch,
        version: &TemplateVersion,
        rows: Vec<Map<String, Value>>,
    ) -> Result<NewEvent, Problem> {
        let generation = batch.begin_put()?;
        let mut intake = Intake::new(making, version, batch, generation);
        let mut faults = Vec::new();
        let mut line = 0;
        for chunk in rows.chunks(CHUNK_ROWS_MAX as usize) {
            let mut new = Vec::with_capacity(chunk.len());
            for row in chunk {
                line += 1;
                new.push(intake.row(line, Given::Members(row.clone()))?);
            }
            intake.write(tx, &mut new).await?;
            for row in new {
                let at = usize::try_from(row.number - 1).unwrap_or_default();
                faults.extend(row.errors.into_iter().map(|error| BodyError {
                    pointer: pointer(at, &error.column),
                    code: error.code.into(),
                    detail: error.detail,
                }));
            }
        }
        if batch.on_invalid == OnInvalid::Reject && !faults.is_empty() {
            faults.truncate(FAULTS_MAX);
            return Err(Problem::body(faults));
        }
        let rows = intake.rows();
        batch.put(rows, None, self.now())
    }

    /// The batch `id`, with how far it is.
    pub async fn get_batch(&self, pass: &Pass, id: BatchId) -> Result<BatchDetails, Problem> {
        let mut tx = self.read().await?;
        let batch = store::batch::get(&mut tx, pass.scope(), id).await?.ok_or_else(Problem::not_found)?;
        let counts = store::batch::counts(&mut tx, pass.scope(), id).await?;
        Ok(BatchDetails { batch, counts: Some(counts) })
    }

    /// A page of batches, newest first, one more than `limit`. Their envelopes are not counted.
    pub async fn list_batches(
        &self,
        pass: &Pass,
        status: Option<BatchStatus>,
        after: Option<BatchId>,
        limit: u32,
    ) -> Result<Vec<BatchDetails>, Problem> {
        let mut tx = self.read().await?;
        let batches = store::batch::list(&mut tx, pass.scope(), status, after, limit.saturating_add(1)).await?;
        Ok(batches.into_iter().map(|batch| BatchDetails { batch, counts: None }).collect())
    }

    /// A page of a batch's rows after row `after`, one more than `limit`.
    pub async fn list_rows(
        &self,
        pass: &Pass,
        id: BatchId,
        status: Option<RowStatus>,
        after: i64,
        limit: u32,
    ) -> Result<Vec<BatchRow>, Problem> {
        let (scope, limit) = (pass.scope(), limit.saturating_add(1));
        let mut tx = self.read().await?;
        store::batch::get(&mut tx, scope, id).await?.ok_or_else(Problem::not_found)?;
        Ok(match status {
            Some(RowStatus::Invalid | RowStatus::Failed) => {
                store::batch::faulty_rows(&mut tx, scope, id, status, after, limit).await?
            }
            Some(RowStatus::Valid) | None => store::batch::rows(&mut tx, scope, id, status, after, limit).await?,
        })
    }

    /// Starts a batch: its envelopes are made and sent under the caller's key.
    pub async fn start_batch(
        &self,
        pass: &Pass,
        id: BatchId,
        once: &Once<BatchDetails>,
    ) -> Result<BatchDetails, Problem> {
        let (mut tx, mut batch, was) = self.begin_move(pass, id).await?;
        self.require_batch_not_held(&mut tx, &batch).await?;
        let event = self.start(&mut tx, pass, &mut batch).await?;
        self.end_move(tx, pass, "batch.started", (batch, was, event), once).await
    }

    async fn start(&self, tx: &mut Tx, pass: &Pass, batch: &mut Batch) -> Result<Option<NewEvent>, Problem> {
        self.require_seal()?;
        let caller = pass.caller();
        let address = caller.address.map(|address| address.to_canonical().to_string());
        let event = batch.start(key_of(caller), caller.actor(), address, self.now())?;
        if event.is_some() {
            store::job::enqueue(tx, &self.new_job(batch.scope, "batch", batch.id.to_string())).await?;
        }
        Ok(event)
    }

    /// Stops a batch for a while: no envelope is made after this was answered.
    pub async fn pause_batch(
        &self,
        pass: &Pass,
        id: BatchId,
        once: &Once<BatchDetails>,
    ) -> Result<BatchDetails, Problem> {
        let (tx, mut batch, was) = self.begin_move(pass, id).await?;
        let event = batch.pause(None, self.now())?;
        self.end_move(tx, pass, "batch.paused", (batch, was, event), once).await
    }

    /// Lets a batch go on, under the caller's key.
    pub async fn resume_batch(
        &self,
        pass: &Pass,
        id: BatchId,
        once: &Once<BatchDetails>,
    ) -> Result<BatchDetails, Problem> {
        self.require_seal()?;
        let (mut tx, mut batch, was) = self.begin_move(pass, id).await?;
        self.require_batch_not_held(&mut tx, &batch).await?;
        let event = batch.resume(key_of(pass.caller()), pass.caller().actor(), self.now())?;
        if event.is_some() {
            store::job::enqueue(&mut tx, &self.new_job(batch.scope, "batch", id.to_string())).await?;
        }
        self.end_move(tx, pass, "batch.resumed", (batch, was, event), once).await
    }

    /// Stops a batch for good. What was made and sent goes on.
    pub async fn cancel_batch(
        &self,
        pass: &Pass,
        id: BatchId,
        once: &Once<BatchDetails>,
    ) -> Result<BatchDetails, Problem> {
        let (tx, mut batch, was) = self.begin_move(pass, id).await?;
        let event = batch.cancel(self.now())?;
        self.end_move(tx, pass, "batch.cancelled", (batch, was, event), once).await
    }

    async fn begin_move(&self, pass: &Pass, id: BatchId) -> Result<(Tx, Batch, Value), Problem> {
        let mut tx = self.begin(pass).await?;
        let batch = store::batch::lock(&mut tx, pass.scope(), id).await?.ok_or_else(Problem::not_found)?;
        let was = batch.record();
        Ok((tx, batch, was))
    }

    async fn end_move(
        &self,
        mut tx: Tx,
        pass: &Pass,
        action: &'static str,
        (mut batch, was, event): (Batch, Value, Option<NewEvent>),
        once: &Once<BatchDetails>,
    ) -> Result<BatchDetails, Problem> {
        let counts = store::batch::counts(&mut tx, pass.scope(), batch.id).await?;
        if let Some(event) = event {
            store::batch::save(&mut tx, &mut batch).await?;
            self.note(&mut tx, pass.caller(), Entry::changed(action, batch.id, was, batch.record())).await?;
            store::event::append(&mut tx, pass.caller(), &*self.clock, &*self.random, vec![event]).await?;
        }
        let details = BatchDetails { batch, counts: Some(counts) };
        once.keep(&mut tx, &details).await?;
        tx.commit().await?;
        self.told();
        Ok(details)
    }

    /// What a compromised key has made of a batch, or has started, waits for a decision.
    async fn require_batch_not_held(&self, tx: &mut Tx, batch: &Batch) -> Result<(), Problem> {
        let by = (&batch.created_by, batch.status_at);
        self.require_not_held(tx, batch.scope, by, &batch.id.to_string()).await
    }

    fn require_seal(&self) -> Result<(), Problem> {
        self.sealing_key().map(|_| ())
    }
}

/// The key that a batch runs under; none where a person starts it.
fn key_of(caller: &Caller) -> Option<model::KeyId> {
    match &caller.who {
        Who::Key { key, .. } => Some(*key),
        Who::User { .. } | Who::Recipient { .. } | Who::System | Who::Operator => None,
    }
}

/// The header that a batch's rows came with; empty where they are JSON.
fn header(batch: &Batch, columns: &Columns<'_>) -> Result<Header, Problem> {
    let Some(given) = &batch.body.columns else { return Ok(Header::default()) };
    // It was read when it came, under the same version of the template.
    columns.read_header(given).map_err(|errors| Problem::fault(format!("a kept header can't be read: {errors:?}")))
}

#[cfg(test)]
mod tests;
