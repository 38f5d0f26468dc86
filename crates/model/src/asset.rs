//! An asset: a file of a completed envelope that can be fetched.

use serde::{Deserialize, Serialize};

use crate::{AssetId, DocumentId, Timestamp, recipient::names};

/// What kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssetKind {
    /// A sealed document.
    Document,
    /// All documents in one sealed file.
    Combined,
    /// The certificate of completion, sealed.
    Certificate,
    /// The envelope's events with their chain, as JSON.
    Audit,
}

names! { AssetKind: Document "document", Combined "combined", Certificate "certificate", Audit "audit", }

/// The seal on a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// `PAdES-B-B`.
    pub profile: String,
    /// When it was made.
    pub time: Timestamp,
}

/// A file of a completed envelope.
#[derive(Clone, Debug, PartialEq)]
pub struct Asset {
    /// Its id.
    pub id: AssetId,
    /// What kind of file.
    pub kind: AssetKind,
    /// The document that it is the sealed file of.
    pub document: Option<DocumentId>,
    /// Its name.
    pub filename: String,
    /// Its media type.
    pub content_type: String,
    /// Its bytes.
    pub size: u64,
    /// SHA-256, in hex.
    pub sha256: String,
    /// The seal, where it is sealed.
    pub seal: Option<Seal>,
    /// When it was made.
    pub created_at: Timestamp,
}
