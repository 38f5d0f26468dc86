//! Documents on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::audit::Actor;

/// An uploaded document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Document {
    /// Its id.
    #[schema(example = "doc_01k9x3m5c0e8a9v7r2d4t6y8b0")]
    pub id: String,
    /// Its name.
    #[schema(example = "service-agreement.pdf")]
    pub filename: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the file as it was uploaded, in hex.
    pub sha256: String,
    /// Its pages as displayed.
    pub pages: Vec<Page>,
    /// Fonts that the file uses and does not carry: they are drawn with a stand-in.
    pub fonts_missing: Vec<String>,
    /// What had to be changed in the copy that is shown and sealed.
    pub changes: Vec<String>,
    /// What a sender should know.
    pub warnings: Vec<String>,
    /// When it was uploaded.
    pub created_at: String,
    /// By whom.
    pub created_by: Actor,
}

/// A page as displayed, in points (1/72 inch).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Page {
    /// Width after Rotate and UserUnit.
    pub width: f64,
    /// Height after Rotate and UserUnit.
    pub height: f64,
    /// 0, 90, 180 or 270.
    pub rotation: u16,
}
