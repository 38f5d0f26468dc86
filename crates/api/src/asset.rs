//! Assets on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A file of a completed envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Asset {
    /// Its id.
    #[schema(example = "ast_01k9x3m5c0e8a9v7r2d4t6y8b0")]
    pub id: String,
    /// `document`, `combined`, `certificate` or `audit`.
    #[schema(example = "document")]
    pub kind: String,
    /// The document that it is the sealed file of.
    pub document: Option<String>,
    /// Its name.
    pub filename: String,
    /// Its media type.
    pub content_type: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256, in hex.
    pub sha256: String,
    /// Its seal.
    pub seal: Option<Seal>,
}

/// The seal on a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Seal {
    /// `PAdES-B-B`.
    pub profile: String,
    /// When it was made.
    pub time: String,
}

/// The assets of an envelope: empty before it is completed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Assets {
    /// The files.
    pub data: Vec<Asset>,
}
