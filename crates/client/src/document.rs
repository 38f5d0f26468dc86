//! Documents.

use std::path::Path;

use api::document::Document;
use bytes::Bytes;

use crate::{Body, Client, Error, idempotency_key};

const PDF: &str = "application/pdf";

impl Client {
    /// Uploads a PDF from a file, streamed; its name is the file's.
    pub async fn upload_document(&self, path: &Path) -> Result<Document, Error> {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let body = Body::File { content_type: PDF.to_owned(), path: path.to_owned() };
        self.upload(&name, &body).await
    }

    /// Uploads a PDF that is in memory.
    pub async fn upload_document_bytes(&self, filename: &str, bytes: impl Into<Bytes>) -> Result<Document, Error> {
        self.upload(filename, &Body::Bytes { content_type: PDF.to_owned(), bytes: bytes.into() }).await
    }

    async fn upload(&self, filename: &str, body: &Body) -> Result<Document, Error> {
        let key = idempotency_key();
        self.submit(reqwest::Method::POST, "v1/documents", &[("filename", filename)], body, Some(&key)).await
    }

    /// A document.
    pub async fn get_document(&self, id: &str) -> Result<Document, Error> {
        self.get(&format!("v1/documents/{id}"), &[]).await
    }
}
