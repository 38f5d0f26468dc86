//! Rows on their way in: read in pieces, checked, written under a generation of their own that takes effect when complete.

use std::{collections::HashSet, pin::pin};

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use gate::Pass;
use model::{
    BatchId, BodyError, Code, EnvScope, Problem,
    audit::Entry,
    batch::{Batch, CHUNK_ROWS_MAX, ROWS_MAX, Rows},
    envelope_new::{Making, Pinned},
    row::{CellError, Columns, Given, Header, REMARKS},
    template::TemplateVersion,
};
use store::{Tx, batch::NewRow};

use super::BatchDetails;
use crate::{
    App,
    envelope::pinned,
    rows::{Format, Item, Parser},
};

/// Bytes of rows that are held before they are written, about.
const CHUNK_BYTES_MAX: usize = 4 * 1024 * 1024;

impl App {
    /// Takes the rows of a batch in place of those it has. They take effect together, when the last one is in; a put
    /// that breaks off leaves the batch as it was. Memory is that of a chunk, however long the file.
    pub async fn put_rows(
        &self,
        pass: &Pass,
        id: BatchId,
        format: Format,
        body: impl Stream<Item = Result<Bytes, Problem>> + Send,
    ) -> Result<BatchDetails, Problem> {
        let mut tx = self.begin(pass).await?;
        let mut batch = store::batch::lock(&mut tx, pass.scope(), id).await?.ok_or_else(Problem::not_found)?;
        let generation = batch.begin_put()?;
        store::batch::save(&mut tx, &mut batch).await?;
        tx.commit().await?;
        match self.take_rows(pass, &batch, generation, format, body).await {
            Ok(details) => {
                self.forget_rows(pass.scope(), id, 0..=generation - 1).await;
                Ok(details)
            }
            Err(problem) => {
                self.forget_rows(pass.scope(), id, generation..=generation).await;
                Err(problem)
            }
        }
    }

    async fn take_rows(
        &self,
        pass: &Pass,
        batch: &Batch,
        generation: i64,
        format: Format,
        body: impl Stream<Item = Result<Bytes, Problem>> + Send,
    ) -> Result<BatchDetails, Problem> {
        let template = batch.template;
        let (_, version) = self.pinned(batch.scope, template.id, Some(template.version)).await?;
        let making = self.making(pass).await?;
        let mut intake = Intake::new(&making, &version, batch, generation);
        let mut parser = Parser::new(format);
        let (mut items, mut chunk, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut body = pin!(body);
        while let Some(piece) = next_piece(&mut body).await? {
            bytes += piece.len();
            parser.push(&piece, &mut items)?;
            for item in items.drain(..) {
                chunk.extend(intake.item(item)?);
            }
            while chunk.len() >= CHUNK_ROWS_MAX as usize || (bytes >= CHUNK_BYTES_MAX && !chunk.is_empty()) {
                self.write_rows(pass, &mut intake, &mut chunk).await?;
                bytes = 0;
            }
        }
        parser.end(&mut items)?;
        for item in items {
            chunk.extend(intake.item(item)?);
        }
        while !chunk.is_empty() {
            self.write_rows(pass, &mut intake, &mut chunk).await?;
        }
        self.complete_put(pass, batch.id, intake.rows(), intake.columns_given).await
    }

    /// Writes up to a chunk of rows: fenced, so that nothing of an upload goes on for a key that was revoked meanwhile.
    async fn write_rows(&self, pass: &Pass, intake: &mut Intake<'_>, chunk: &mut Vec<NewRow>) -> Result<(), Problem> {
        let rest = chunk.split_off(chunk.len().min(CHUNK_ROWS_MAX as usize));
        let mut tx = self.begin(pass).await?;
        intake.write(&mut tx, chunk).await?;
        tx.commit().await?;
        *chunk = rest;
        Ok(())
    }

    async fn complete_put(
        &self,
        pass: &Pass,
        id: BatchId,
        rows: Rows,
        columns: Option<Vec<String>>,
    ) -> Result<BatchDetails, Problem> {
        if rows.total == 0 {
            return Err(Problem::new(Code::RowsUnreadable, "There are no rows below the header."));
        }
        let mut tx = self.begin(pass).await?;
        let mut batch = store::batch::lock(&mut tx, pass.scope(), id).await?.ok_or_else(Problem::not_found)?;
        let was = batch.record();
        let event = batch.put(rows, columns, self.now())?;
        store::batch::save(&mut tx, &mut batch).await?;
        self.note(&mut tx, pass.caller(), Entry::changed("batch.rows_put", id, was, batch.record())).await?;
        store::event::append(&mut tx, pass.caller(), &*self.clock, &*self.random, vec![event]).await?;
        tx.commit().await?;
        self.told();
        Ok(BatchDetails { batch, counts: Some(store::batch::Counts::default()) })
    }

    /// Deletes rows that no put names any more, in pieces. What is left after a crash goes with the next put or the
    /// batch's end.
    pub(super) async fn forget_rows(&self, scope: EnvScope, id: BatchId, generations: std::ops::RangeInclusive<i64>) {
        let forget = async {
            loop {
                let mut tx = self.db.begin().await?;
                let more = store::batch::delete_rows(&mut tx, scope, id, generations.clone()).await?;
                tx.commit().await?;
                if !more {
                    return Ok::<(), store::StoreError>(());
                }
            }
        };
        if let Err(error) = forget.await {
            tracing::warn!(%error, batch = %id, "rows of an old put could not be deleted yet");
        }
    }
}

/// The next piece. Before it others have their turn: megabytes of blank lines become no row, so nothing else would wait.
async fn next_piece(body: &mut (impl Stream<Item = Result<Bytes, Problem>> + Unpin)) -> Result<Option<Bytes>, Problem> {
    tokio::task::yield_now().await;
    body.try_next().await
}

/// The rows of one put as they come in.
pub(super) struct Intake<'a> {
    making: &'a Making<'a>,
    pinned: Pinned<'a>,
    columns: Columns<'a>,
    batch: &'a model::row::Defaults,
    id: BatchId,
    valid_before: i64,
    header: Header,
    columns_given: Option<Vec<String>>,
    seen: i64,
    rows: Rows,
}

impl<'a> Intake<'a> {
    /// The put `generation` of `batch`, whose template version is `version`.
    pub(super) fn new(making: &'a Making<'a>, version: &'a TemplateVersion, batch: &'a Batch, generation: i64) -> Self {
        Self {
            making,
            pinned: pinned(batch.template, version),
            columns: Columns::of(version),
            batch: &batch.body.defaults,
            id: batch.id,
            valid_before: batch.rows.valid,
            header: Header::default(),
            columns_given: None,
            seen: 0,
            rows: Rows { generation, ..Rows::default() },
        }
    }

    /// What was written so far.
    pub(super) fn rows(&self) -> Rows {
        self.rows
    }

    fn item(&mut self, item: Item) -> Result<Option<NewRow>, Problem> {
        match item {
            Item::Header(given) => {
                self.header = self.columns.read_header(&given).map_err(header_problem)?;
                self.refuse_partial(&given)?;
                self.columns_given = Some(given);
                Ok(None)
            }
            Item::Row(line, given) => self.row(line, given).map(Some),
        }
    }

    /// A put replaces all rows: a mended `errors.csv` in the batch that it came from would drop the valid ones, unsaid.
    fn refuse_partial(&self, given: &[String]) -> Result<(), Problem> {
        if self.valid_before == 0 || !given.iter().any(|name| REMARKS.contains(&name.trim())) {
            return Ok(());
        }
        let detail = format!(
            "The file has the columns of an errors.csv ({}), and the batch has {} valid rows that are not in such a file.",
            REMARKS.join(", "),
            self.valid_before
        );
        Err(Problem::new(Code::RowsPartial, detail))
    }

    /// Checks a row by itself.
    pub(super) fn row(&mut self, line: i64, given: Given) -> Result<NewRow, Problem> {
        self.seen += 1;
        if self.seen > ROWS_MAX {
            let detail =
                format!("Line {line}: there are more than {ROWS_MAX} rows. Split the file into several batches.");
            return Err(Problem::new(Code::RowsUnreadable, detail));
        }
        let row = (&self.header, &given, self.batch);
        let (external_id, made) = self.columns.envelope(self.making, self.pinned, row, None);
        // An id that can't be stored was refused above.
        let external_id = external_id.filter(|id| !id.chars().any(char::is_control));
        Ok(NewRow { number: self.seen, line, external_id, given, errors: made.err().unwrap_or_default() })
    }

    /// Checks a chunk of rows against the rows before them and the envelopes there are, and writes them.
    pub(super) async fn write(&mut self, tx: &mut Tx, chunk: &mut [NewRow]) -> Result<(), Problem> {
        let (scope, id, generation) = (self.making.scope, self.id, self.rows.generation);
        let named: Vec<&str> = chunk.iter().filter_map(|row| row.external_id.as_deref()).collect();
        if !named.is_empty() {
            let taken: HashSet<_> = store::batch::taken(tx, scope, &named).await?.into_iter().collect();
            let repeated = store::batch::repeated(tx, scope, id, generation, &named).await?;
            let mut seen: HashSet<String> = repeated.into_iter().collect();
            for row in chunk.iter_mut() {
                let Some(external_id) = &row.external_id else { continue };
                if !seen.insert(external_id.clone()) {
                    let detail = "An earlier row has the same external_id.";
                    row.errors.push(CellError::new("external_id", "duplicate_external_id", detail));
                }
                if taken.contains(external_id) {
                    row.errors.push(external_id_taken());
                }
            }
        }
        if !store::batch::insert_rows(tx, scope, id, generation, chunk).await? {
            let detail = "The batch was started or cancelled, or a later put of rows is complete: these were not kept.";
            return Err(Problem::new(Code::BatchNotOpen, detail));
        }
        for row in chunk.iter() {
            self.rows.total += 1;
            self.rows.valid += i64::from(row.errors.is_empty());
            self.rows.invalid += i64::from(!row.errors.is_empty());
        }
        Ok(())
    }
}

/// The fault of a row whose envelope exists already.
pub(super) fn external_id_taken() -> CellError {
    CellError::new("external_id", "external_id_taken", "An envelope with this external_id exists already.")
}

fn header_problem(errors: Vec<BodyError>) -> Problem {
    let details: Vec<&str> = errors.iter().map(|error| error.detail.as_str()).collect();
    let detail = format!("The header can't be accepted. {}", details.join(" "));
    let mut problem = Problem::new(Code::RowsUnreadable, detail);
    problem.errors = errors;
    problem
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use futures::StreamExt;

    use super::*;

    #[tokio::test]
    async fn others_have_their_turn_between_pieces_that_are_all_there() {
        let turns = Arc::new(AtomicU32::new(0));
        let other = {
            let turns = turns.clone();
            tokio::spawn(async move {
                loop {
                    turns.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            })
        };
        let mut body = futures::stream::repeat_with(|| Ok(Bytes::from_static(b"\n"))).take(3);
        let mut seen = Vec::new();
        while next_piece(&mut body).await.expect("a piece").is_some() {
            seen.push(turns.load(Ordering::Relaxed));
        }
        other.abort();
        assert!(seen.len() == 3 && seen[0] < seen[2], "{seen:?}");
    }
}
