//! Batches: many envelopes from a template and a file of rows.

use api::{
    Page,
    batch::{Batch, BatchRow, NewBatch},
};
use bytes::Bytes;

use crate::{Body, Client, Download, Error};

impl Client {
    /// Opens a batch. The same `idempotency` opens it once.
    pub async fn create_batch(&self, new: &NewBatch, idempotency: Option<&str>) -> Result<Batch, Error> {
        self.submit(reqwest::Method::POST, "v1/batches", &[], &Body::json(new)?, idempotency).await
    }

    /// A page of batches, the newest first.
    pub async fn list_batches(&self, query: &[(&str, &str)]) -> Result<Page<Batch>, Error> {
        self.get("v1/batches", query).await
    }

    /// A batch, with how far it is.
    pub async fn get_batch(&self, id: &str) -> Result<Batch, Error> {
        self.get(&format!("v1/batches/{id}"), &[]).await
    }

    /// Puts the rows, streamed from a file (`Body::File`) or memory; a repeat replaces them.
    pub async fn put_rows(&self, id: &str, rows: &Body) -> Result<Batch, Error> {
        self.submit(reqwest::Method::PUT, &format!("v1/batches/{id}/rows"), &[], rows, None).await
    }

    /// A page of rows, as `("status", "invalid")`.
    pub async fn list_rows(&self, id: &str, query: &[(&str, &str)]) -> Result<Page<BatchRow>, Error> {
        self.get(&format!("v1/batches/{id}/rows"), query).await
    }

    /// The rejected rows as they were given, with what is wrong in further columns.
    pub async fn download_errors(&self, id: &str) -> Result<Download, Error> {
        self.download(&format!("v1/batches/{id}/errors.csv"), &[]).await
    }

    /// Starts a batch.
    pub async fn start_batch(&self, id: &str) -> Result<Batch, Error> {
        self.move_batch(id, "start").await
    }

    /// Stops a batch for a while.
    pub async fn pause_batch(&self, id: &str) -> Result<Batch, Error> {
        self.move_batch(id, "pause").await
    }

    /// Lets a batch go on, under this client's key.
    pub async fn resume_batch(&self, id: &str) -> Result<Batch, Error> {
        self.move_batch(id, "resume").await
    }

    /// Stops a batch for good; what was sent goes on.
    pub async fn cancel_batch(&self, id: &str) -> Result<Batch, Error> {
        self.move_batch(id, "cancel").await
    }

    /// The header row of a template's file of rows.
    pub async fn download_header(&self, template: &str) -> Result<Download, Error> {
        self.download(&format!("v1/templates/{template}/batch.csv"), &[]).await
    }

    async fn move_batch(&self, id: &str, to: &str) -> Result<Batch, Error> {
        self.submit(reqwest::Method::POST, &format!("v1/batches/{id}/{to}"), &[], &Body::Empty, None).await
    }
}

/// The media type of a file of rows, by its name: `.ndjson` and `.jsonl` are JSON lines, all else is CSV.
pub fn rows_type(filename: &str) -> &'static str {
    let name = filename.to_ascii_lowercase();
    if name.ends_with(".ndjson") || name.ends_with(".jsonl") { "application/x-ndjson" } else { "text/csv" }
}

/// Rows in memory as a body.
pub fn rows_body(content_type: &str, bytes: impl Into<Bytes>) -> Body {
    Body::Bytes { content_type: content_type.to_owned(), bytes: bytes.into() }
}
