//! Batches and their rows: statements and rows.

use model::{
    BatchId, EnvScope, EnvelopeId,
    batch::{Batch, RowStatus, Rows},
    envelope::TemplateRef,
    row::{CellError, Given},
};
use serde_json::json;

use crate::{Json, Row, StoreError, Tx, either, event::before, sql};

/// Rows that one statement deletes: an old put goes away in pieces, so that nobody waits behind it.
const DELETE_ROWS_MAX: u32 = 5_000;

/// Writes a new batch.
pub async fn insert(tx: &mut Tx, batch: &Batch) -> Result<(), StoreError> {
    sql("INSERT INTO batches (id, tenant_id, environment, name, status, status_at, template_id, template_version,
            on_invalid, send_rate_per_minute, key_id, rows_generation, total, valid, invalid, puts, next_row, failed,
            problem, body, created_by, created_at, version)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, 1)")
    .bind(batch.id)
    .bind(batch.scope.tenant)
    .bind(batch.scope.environment)
    .bind(&batch.name)
    .bind(batch.status.as_str())
    .bind(batch.status_at)
    .bind(batch.template.id)
    .bind(batch.template.version)
    .bind(batch.on_invalid.as_str())
    .bind(batch.send_rate_per_minute)
    .bind(batch.key)
    .bind(batch.rows.generation)
    .bind(batch.rows.total)
    .bind(batch.rows.valid)
    .bind(batch.rows.invalid)
    .bind(batch.puts)
    .bind(batch.next_row)
    .bind(batch.failed)
    .bind(batch.problem.as_ref().map(Json))
    .bind(Json(&batch.body))
    .bind(Json(&batch.created_by))
    .bind(batch.created_at)
    .run(tx)
    .await?;
    Ok(())
}

/// The batch `id`.
pub async fn get(tx: &mut Tx, scope: EnvScope, id: BatchId) -> Result<Option<Batch>, StoreError> {
    let row =
        sql("SELECT id, tenant_id, environment, name, status, status_at, template_id, template_version, on_invalid,
            send_rate_per_minute, key_id, rows_generation, total, valid, invalid, puts, next_row, failed, problem, body,
            created_by, created_at, version
        FROM batches
        WHERE tenant_id = $1 AND environment = $2 AND id = $3")
        .bind(scope.tenant)
        .bind(scope.environment)
        .bind(id)
        .optional(tx)
        .await?;
    row.as_ref().map(batch).transpose()
}

/// The batch `id`, held until the transaction ends: a step, a put and a pause come one after the other.
pub async fn lock(tx: &mut Tx, scope: EnvScope, id: BatchId) -> Result<Option<Batch>, StoreError> {
    // SQLite's BEGIN IMMEDIATE has locked everything.
    either(
        "SELECT id
        FROM batches
        WHERE tenant_id = $1 AND environment = $2 AND id = $3",
        "SELECT id
        FROM batches
        WHERE tenant_id = $1 AND environment = $2 AND id = $3
        FOR UPDATE",
    )
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(id)
    .optional(tx)
    .await?;
    get(tx, scope, id).await
}

/// A page of batches, newest first.
pub async fn list(
    tx: &mut Tx,
    scope: EnvScope,
    status: Option<model::batch::BatchStatus>,
    after: Option<BatchId>,
    limit: u32,
) -> Result<Vec<Batch>, StoreError> {
    let rows = sql("SELECT id, tenant_id, environment, name, status, status_at, template_id, template_version,
            on_invalid, send_rate_per_minute, key_id, rows_generation, total, valid, invalid, puts, next_row, failed,
            problem, body, created_by, created_at, version
        FROM batches
        WHERE tenant_id = $1 AND environment = $2 AND id < $3
            AND (CAST($4 AS TEXT) IS NULL OR status = $4)
        ORDER BY id DESC
        LIMIT $5")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(before(after))
    .bind(status.map(model::batch::BatchStatus::as_str))
    .bind(limit)
    .all(tx)
    .await?;
    rows.iter().map(batch).collect()
}

/// Writes what a move or a step changed, under the version that was read.
pub async fn save(tx: &mut Tx, batch: &mut Batch) -> Result<(), StoreError> {
    let written = sql("UPDATE batches
        SET status = $4, status_at = $5, key_id = $6, rows_generation = $7, total = $8, valid = $9, invalid = $10,
            puts = $11, next_row = $12, failed = $13, problem = $14, body = $15, created_by = $16, version = version + 1
        WHERE tenant_id = $1 AND environment = $2 AND id = $3 AND version = $17")
    .bind(batch.scope.tenant)
    .bind(batch.scope.environment)
    .bind(batch.id)
    .bind(batch.status.as_str())
    .bind(batch.status_at)
    .bind(batch.key)
    .bind(batch.rows.generation)
    .bind(batch.rows.total)
    .bind(batch.rows.valid)
    .bind(batch.rows.invalid)
    .bind(batch.puts)
    .bind(batch.next_row)
    .bind(batch.failed)
    .bind(batch.problem.as_ref().map(Json))
    .bind(Json(&batch.body))
    .bind(Json(&batch.created_by))
    .bind(batch.version)
    .run(tx)
    .await?;
    if written != 1 {
        return Err(StoreError::Conflict("the batch was changed by another transaction".to_owned()));
    }
    batch.version += 1;
    Ok(())
}

/// A row as a put brings it.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRow {
    /// Its number among the rows, from 1.
    pub number: i64,
    /// Its line as a spreadsheet shows it.
    pub line: i64,
    /// The sender's own id of the envelope, where it could be read.
    pub external_id: Option<String>,
    /// As it was given.
    pub given: Given,
    /// What is wrong with it; nothing where it is valid.
    pub errors: Vec<CellError>,
}

/// Writes rows of a put that is not complete yet. The answer is false where the batch takes no rows any more, or where a
/// later put is complete already.
pub async fn insert_rows(
    tx: &mut Tx,
    scope: EnvScope,
    batch: BatchId,
    generation: i64,
    rows: &[NewRow],
) -> Result<bool, StoreError> {
    let values: Vec<_> = rows
        .iter()
        .map(|row| {
            let status = if row.errors.is_empty() { RowStatus::Valid } else { RowStatus::Invalid };
            json!({
                "number": row.number,
                "line": row.line,
                "external_id": row.external_id,
                "status": status,
                "body": json!(row.given).to_string(),
                "errors": json!(row.errors).to_string(),
            })
        })
        .collect();
    let written = either(
        "INSERT INTO batch_rows (batch_id, generation, number, line, external_id, status, body, errors)
        SELECT batches.id, $4, row.value ->> 'number', row.value ->> 'line', row.value ->> 'external_id',
            row.value ->> 'status', row.value ->> 'body', row.value ->> 'errors'
        FROM batches
        JOIN jsonb_each($5) AS row
        WHERE batches.tenant_id = $1 AND batches.environment = $2 AND batches.id = $3
            AND batches.status IN ('open', 'ready') AND batches.rows_generation < $4",
        "INSERT INTO batch_rows (batch_id, generation, number, line, external_id, status, body, errors)
        SELECT batches.id, $4, row.number, row.line, row.external_id, row.status, row.body, row.errors
        FROM batches
        CROSS JOIN json_to_recordset($5::json) AS row (number bigint, line bigint, external_id text, status text,
            body text, errors text)
        WHERE batches.tenant_id = $1 AND batches.environment = $2 AND batches.id = $3
            AND batches.status IN ('open', 'ready') AND batches.rows_generation < $4",
    )
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(batch)
    .bind(generation)
    .bind(Json(values))
    .run(tx)
    .await?;
    Ok(written == rows.len() as u64)
}

/// Which of these external ids earlier rows of the same put have already.
pub async fn repeated(
    tx: &mut Tx,
    scope: EnvScope,
    batch: BatchId,
    generation: i64,
    external_ids: &[&str],
) -> Result<Vec<String>, StoreError> {
    let rows = either(
        "SELECT r.external_id
        FROM batch_rows r
        JOIN batches b ON b.id = r.batch_id
        WHERE b.tenant_id = $1 AND b.environment = $2 AND r.batch_id = $3 AND r.generation = $4
            AND r.external_id IS NOT NULL AND r.external_id IN (SELECT value FROM json_each($5))",
        "SELECT r.external_id
        FROM batch_rows r
        JOIN batches b ON b.id = r.batch_id
        WHERE b.tenant_id = $1 AND b.environment = $2 AND r.batch_id = $3 AND r.generation = $4
            AND r.external_id IS NOT NULL AND r.external_id = ANY (ARRAY(SELECT json_array_elements_text($5::json)))",
    )
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(batch)
    .bind(generation)
    .bind(Json(external_ids))
    .all(tx)
    .await?;
    rows.iter().map(|row| row.get("external_id")).collect()
}

/// Which of these external ids envelopes have already.
pub async fn taken(tx: &mut Tx, scope: EnvScope, external_ids: &[&str]) -> Result<Vec<String>, StoreError> {
    let rows = either(
        "SELECT external_id
        FROM envelopes
        WHERE tenant_id = $1 AND environment = $2 AND allow_duplicate = 0
            AND external_id IN (SELECT value FROM json_each($3))",
        "SELECT external_id
        FROM envelopes
        WHERE tenant_id = $1 AND environment = $2 AND external_id IS NOT NULL AND NOT allow_duplicate
            AND external_id = ANY (ARRAY(SELECT json_array_elements_text($3::json)))",
    )
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(Json(external_ids))
    .all(tx)
    .await?;
    rows.iter().map(|row| row.get("external_id")).collect()
}

/// Deletes a piece of the rows that no put names any more: those of puts before `generation`, or of one that failed.
/// The answer is whether more may be left.
pub async fn delete_rows(
    tx: &mut Tx,
    scope: EnvScope,
    batch: BatchId,
    generations: std::ops::RangeInclusive<i64>,
) -> Result<bool, StoreError> {
    let deleted = either(
        "DELETE FROM batch_rows
        WHERE rowid IN (
            SELECT r.rowid
            FROM batch_rows r
            JOIN batches b ON b.id = r.batch_id
            WHERE b.tenant_id = $1 AND b.environment = $2 AND r.batch_id = $3
                AND r.generation BETWEEN $4 AND $5 AND r.generation <> b.rows_generation
            LIMIT $6)",
        "DELETE FROM batch_rows
        WHERE ctid IN (
            SELECT r.ctid
            FROM batch_rows r
            JOIN batches b ON b.id = r.batch_id
            WHERE b.tenant_id = $1 AND b.environment = $2 AND r.batch_id = $3
                AND r.generation BETWEEN $4 AND $5 AND r.generation <> b.rows_generation
            LIMIT $6)",
    )
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(batch)
    .bind(*generations.start())
    .bind(*generations.end())
    .bind(DELETE_ROWS_MAX)
    .run(tx)
    .await?;
    Ok(deleted == u64::from(DELETE_ROWS_MAX))
}

/// The next rows that can become envelopes, from row `from` on.
pub async fn next_rows(tx: &mut Tx, batch: &Batch, limit: u32) -> Result<Vec<(i64, Given)>, StoreError> {
    let rows = sql("SELECT r.number, r.body
        FROM batch_rows r
        JOIN batches b ON b.id = r.batch_id
        WHERE b.tenant_id = $1 AND b.environment = $2 AND r.batch_id = $3 AND r.generation = $4
            AND r.number >= $5 AND r.status = 'valid'
        ORDER BY r.number
        LIMIT $6")
    .bind(batch.scope.tenant)
    .bind(batch.scope.environment)
    .bind(batch.id)
    .bind(batch.rows.generation)
    .bind(batch.next_row)
    .bind(limit)
    .all(tx)
    .await?;
    rows.iter().map(|row| Ok((row.get("number")?, row.get::<Json<Given>>("body")?.0))).collect()
}

/// Marks rows that could not become envelopes, each with its faults.
pub async fn fail_rows(tx: &mut Tx, batch: &Batch, failed: &[(i64, Vec<CellError>)]) -> Result<(), StoreError> {
    let numbers = failed.iter().map(|(number, _)| *number);
    // The span of the chunk, so that no engine looks at every row of the batch, with the failed ones within.
    let (Some(first), Some(last)) = (numbers.clone().min(), numbers.max()) else { return Ok(()) };
    let rows: Vec<_> = failed
        .iter()
        .map(|(number, errors)| json!({ "number": number, "errors": json!(errors).to_string() }))
        .collect();
    either(
        "UPDATE batch_rows
        SET status = 'failed', errors = row.value ->> 'errors'
        FROM jsonb_each($5) AS row
        WHERE batch_id = (SELECT id FROM batches WHERE tenant_id = $1 AND environment = $2 AND id = $3)
            AND generation = $4 AND number BETWEEN $6 AND $7 AND number = row.value ->> 'number'",
        "UPDATE batch_rows
        SET status = 'failed', errors = row.errors
        FROM json_to_recordset($5::json) AS row (number bigint, errors text)
        WHERE batch_id = (SELECT id FROM batches WHERE tenant_id = $1 AND environment = $2 AND id = $3)
            AND generation = $4 AND batch_rows.number BETWEEN $6 AND $7 AND batch_rows.number = row.number",
    )
    .bind(batch.scope.tenant)
    .bind(batch.scope.environment)
    .bind(batch.id)
    .bind(batch.rows.generation)
    .bind(Json(rows))
    .bind(first)
    .bind(last)
    .run(tx)
    .await?;
    Ok(())
}

/// A row as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchRow {
    /// Its number among the rows, from 1.
    pub number: i64,
    /// Its line as a spreadsheet shows it.
    pub line: i64,
    /// The sender's own id of the envelope.
    pub external_id: Option<String>,
    /// What it is.
    pub status: RowStatus,
    /// The envelope that it became.
    pub envelope: Option<EnvelopeId>,
    /// As it was given.
    pub given: Given,
    /// What is wrong with it.
    pub errors: Vec<CellError>,
}

/// Rows in their order, after row `after`.
pub async fn rows(
    tx: &mut Tx,
    scope: EnvScope,
    batch: BatchId,
    status: Option<RowStatus>,
    after: i64,
    limit: u32,
) -> Result<Vec<BatchRow>, StoreError> {
    let rows = sql("SELECT r.number, r.line, r.external_id, r.status, r.body, r.errors, e.id AS envelope_id
        FROM batches b
        JOIN batch_rows r ON r.batch_id = b.id AND r.generation = b.rows_generation
        LEFT JOIN envelopes e ON e.batch_id = r.batch_id AND e.batch_row = r.number
        WHERE b.tenant_id = $1 AND b.environment = $2 AND b.id = $3 AND r.number > $4
            AND (CAST($5 AS TEXT) IS NULL OR r.status = $5)
        ORDER BY r.number
        LIMIT $6")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(batch)
    .bind(after)
    .bind(status.map(RowStatus::as_str))
    .bind(limit)
    .all(tx)
    .await?;
    rows.iter().map(batch_row).collect()
}

/// The rows that are not valid, in their order, after row `after`: found by an index of their own among a million.
pub async fn faulty_rows(
    tx: &mut Tx,
    scope: EnvScope,
    batch: BatchId,
    status: Option<RowStatus>,
    after: i64,
    limit: u32,
) -> Result<Vec<BatchRow>, StoreError> {
    let rows =
        sql("SELECT r.number, r.line, r.external_id, r.status, r.body, r.errors, CAST(NULL AS TEXT) AS envelope_id
        FROM batches b
        JOIN batch_rows r ON r.batch_id = b.id AND r.generation = b.rows_generation
        WHERE b.tenant_id = $1 AND b.environment = $2 AND b.id = $3 AND r.number > $4 AND r.status <> 'valid'
            AND (CAST($5 AS TEXT) IS NULL OR r.status = $5)
        ORDER BY r.number
        LIMIT $6")
        .bind(scope.tenant)
        .bind(scope.environment)
        .bind(batch)
        .bind(after)
        .bind(status.map(RowStatus::as_str))
        .bind(limit)
        .all(tx)
        .await?;
    rows.iter().map(batch_row).collect()
}

/// How far a batch's envelopes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Made.
    pub created: i64,
    /// Sent, whatever became of them.
    pub sent: i64,
    /// Sealed.
    pub completed: i64,
}

/// Counts the batch's envelopes by what became of them.
pub async fn counts(tx: &mut Tx, scope: EnvScope, batch: BatchId) -> Result<Counts, StoreError> {
    let rows = sql("SELECT status, COUNT(*) AS envelopes
        FROM envelopes
        WHERE batch_id = (SELECT id FROM batches WHERE tenant_id = $1 AND environment = $2 AND id = $3)
        GROUP BY status")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(batch)
    .all(tx)
    .await?;
    let mut counts = Counts::default();
    for row in &rows {
        let (status, envelopes): (String, i64) = (row.get("status")?, row.get("envelopes")?);
        counts.created += envelopes;
        counts.sent += if status == "draft" { 0 } else { envelopes };
        counts.completed += if status == "completed" { envelopes } else { 0 };
    }
    Ok(counts)
}

fn batch(row: &Row) -> Result<Batch, StoreError> {
    Ok(Batch {
        id: row.get("id")?,
        scope: EnvScope { tenant: row.get("tenant_id")?, environment: row.get("environment")? },
        name: row.get("name")?,
        status: row.parse("status")?,
        status_at: row.get("status_at")?,
        template: TemplateRef { id: row.get("template_id")?, version: row.get("template_version")? },
        on_invalid: row.parse("on_invalid")?,
        send_rate_per_minute: row.get("send_rate_per_minute")?,
        key: row.get("key_id")?,
        rows: Rows {
            generation: row.get("rows_generation")?,
            total: row.get("total")?,
            valid: row.get("valid")?,
            invalid: row.get("invalid")?,
        },
        puts: row.get("puts")?,
        next_row: row.get("next_row")?,
        failed: row.get("failed")?,
        problem: row.get::<Option<Json<_>>>("problem")?.map(|problem| problem.0),
        body: row.get::<Json<_>>("body")?.0,
        created_by: row.get::<Json<_>>("created_by")?.0,
        created_at: row.get("created_at")?,
        version: row.get("version")?,
    })
}

fn batch_row(row: &Row) -> Result<BatchRow, StoreError> {
    Ok(BatchRow {
        number: row.get("number")?,
        line: row.get("line")?,
        external_id: row.get("external_id")?,
        status: row.parse("status")?,
        envelope: row.get("envelope_id")?,
        given: row.get::<Json<_>>("body")?.0,
        errors: row.get::<Json<_>>("errors")?.0,
    })
}

#[cfg(test)]
mod tests;
