//! Templates on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::envelope::{EnvelopeDocument, Field, Message, NewField};

/// A template to be made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "name": "Service agreement",
    "documents": ["doc_01k9x3m5c0e8a9v7r2d4t6y8b0"],
    "roles": [{"name": "Client"}],
    "fields": [{"type": "signature", "recipient": "Client", "anchor": {"text": "Signed for the client", "dy": 16}}]
}))]
#[serde(deny_unknown_fields)]
pub struct NewTemplate {
    /// Its name.
    #[schema(example = "Service agreement")]
    pub name: String,
    /// The title of what is made from it; its name if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Ids of its documents.
    #[schema(example = json!(["doc_01k9x3m5c0e8a9v7r2d4t6y8b0"]))]
    pub documents: Vec<String>,
    /// Who stands in it.
    pub roles: Vec<NewRole>,
    /// Its fields.
    #[serde(default)]
    pub fields: Vec<NewField>,
    /// The mail's words.
    #[serde(default)]
    pub message: Message,
}

/// A role to be filled by a recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRole {
    /// Its name.
    #[schema(example = "Client")]
    pub name: String,
    /// `signer` (if left out), `approver` or `copy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its turn, from 1; 1 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<u32>,
}

/// A template in one of its versions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Template {
    /// Its id.
    #[schema(example = "tpl_01k9x3m5c0e8a9v7r2d4t6y8b0")]
    pub id: String,
    /// Its name.
    pub name: String,
    /// The version that is shown. Versions never change.
    pub version: i64,
    /// The title of what is made from it.
    pub title: String,
    /// Who stands in it.
    pub roles: Vec<Role>,
    /// Its documents.
    pub documents: Vec<EnvelopeDocument>,
    /// Its fields.
    pub fields: Vec<Field>,
    /// The mail's words.
    pub message: Message,
    /// When it was made.
    pub created_at: String,
}

/// A role of a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// `signer`, `approver` or `copy`.
    pub kind: String,
    /// Its turn.
    pub order: u32,
}
