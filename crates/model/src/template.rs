//! A template: an envelope with roles in place of recipients. Versions are immutable.

use serde::{Deserialize, Serialize};

use crate::{DocumentId, TemplateId, Timestamp, field::Field, recipient::RecipientKind};

/// Documents and fields: what an envelope and a template version have in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// The documents, in order.
    pub documents: Vec<ContentDocument>,
    /// The fields, in reading order.
    pub fields: Vec<Field>,
}

/// A document as an envelope names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContentDocument {
    /// Its id.
    pub id: DocumentId,
    /// Its name.
    pub filename: String,
    /// SHA-256 of the original, in hex.
    pub sha256: String,
    /// SHA-256 of the file that is shown and sealed, in hex.
    pub working: String,
    /// Its pages.
    pub pages: Vec<crate::document::Page>,
}

/// A role of a template: who stands in for it comes with the envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Its name, unique in the template.
    pub name: String,
    /// What it is asked for.
    pub kind: RecipientKind,
    /// Its turn, from 1.
    pub order: u32,
}

/// A template.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// Its id.
    pub id: TemplateId,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// The version that is shown.
    pub version: TemplateVersion,
}

/// A version of a template.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateVersion {
    /// From 1.
    pub number: i64,
    /// The title of what is made from it.
    pub title: String,
    /// Who stands in it.
    pub roles: Vec<Role>,
    /// Its documents and fields.
    pub content: Content,
    /// The mail's words.
    pub message: crate::envelope::Message,
}
