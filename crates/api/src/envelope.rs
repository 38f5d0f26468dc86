//! Envelopes on the wire.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::audit::Actor;

/// An envelope to be made: from a template, or from documents and fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "external_id": "contract-4711",
    "documents": ["doc_01k9x3m5c0e8a9v7r2d4t6y8b0"],
    "recipients": [{"role": "Client", "name": "Taro Yamada", "email": "taro@example.com"}],
    "fields": [{"type": "signature", "recipient": "Client", "anchor": {"text": "Signed for the client", "dy": 16}}],
    "timezone": "Europe/Berlin",
    "send": true
}))]
#[serde(deny_unknown_fields)]
pub struct NewEnvelope {
    /// The sender's own id, unique in the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "contract-4711")]
    pub external_id: Option<String>,
    /// Whether others may have the same `external_id`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_duplicate: bool,
    /// Its title; the template's or the first document's name if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The template that it is made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<NewTemplateRef>,
    /// Ids of documents, where there is no template.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["doc_01k9x3m5c0e8a9v7r2d4t6y8b0"]))]
    pub documents: Vec<String>,
    /// Who is asked.
    pub recipients: Vec<NewRecipient>,
    /// The fields, where there is no template.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<NewField>,
    /// Values by field key.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub values: Map<String, Value>,
    /// The mail's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Message>,
    /// When it expires, RFC 3339; in 120 days if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// IANA zone for the date on the paper; UTC if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "Europe/Berlin")]
    pub timezone: Option<String>,
    /// Up to 50 pairs of strings of your own.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// Where recipients are led when they are done; https.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_url: Option<String>,
    /// Whether it is sent at once; otherwise it is a draft.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub send: bool,
}

/// Which template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTemplateRef {
    /// Its id.
    #[schema(example = "tpl_01k9x3m5c0e8a9v7r2d4t6y8b0")]
    pub id: String,
    /// Its version; the latest if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
}

/// A recipient to be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRecipient {
    /// Its role, by which fields name it; with a template one of the template's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "Client")]
    pub role: Option<String>,
    /// Its name.
    #[schema(example = "Taro Yamada")]
    pub name: String,
    /// Its address.
    #[schema(example = "taro@example.com")]
    pub email: String,
    /// `signer` (if left out), `approver` or `copy`; a template says so itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its turn, from 1; equal means in parallel; a template says so itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<u32>,
    /// The language for mails and pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
}

/// A field to be placed: by `page`, `x` and `y`, or by an anchor. Unit: points; origin: top left of the page as displayed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewField {
    /// Names its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// `signature`, `name`, `date_signed`, `text` or `checkbox`.
    #[serde(rename = "type")]
    #[schema(example = "signature")]
    pub kind: String,
    /// The role of the recipient who fills it in; may be left out where only one acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "Client")]
    pub recipient: Option<String>,
    /// The document's id; the first if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// From 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<u32>,
    /// From the left edge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<f64>,
    /// From the top edge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<f64>,
    /// Width; by its type if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<f64>,
    /// Height; by its type if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<f64>,
    /// A text of the document beside which it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<Anchor>,
    /// Whether it has to be filled in; yes if left out, but for checkboxes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// Whether only the sender may fill it in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub readonly: bool,
    /// Its value unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    pub default: Option<Value>,
    /// Rules for its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
}

/// A text of the document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// The text, as it stands in the document.
    #[schema(example = "Signed for the client")]
    pub text: String,
    /// Which one, from 1; if left out the text has to stand exactly once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurrence: Option<u32>,
    /// To the right of the text's left edge.
    #[serde(default)]
    pub dx: f64,
    /// Below the text's top edge.
    #[serde(default)]
    pub dy: f64,
}

/// Rules for a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// Characters at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u32>,
}

/// The words of the mail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Its subject.
    #[serde(default)]
    pub subject: String,
    /// Its text, before the link.
    #[serde(default)]
    pub body: String,
}

/// A reason for a void.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VoidEnvelope {
    /// Up to 500 characters; it stands in the event.
    #[serde(default)]
    pub reason: String,
}

/// An envelope.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Envelope {
    /// Its id.
    #[schema(example = "env_01k9x3m5c0e8a9v7r2d4t6y8b0")]
    pub id: String,
    /// The sender's own id.
    pub external_id: Option<String>,
    /// Its title.
    pub title: String,
    /// `draft`, `sent`, `sealing`, `completed`, `declined`, `voided` or `expired`.
    #[schema(example = "sent")]
    pub status: String,
    /// Since when.
    pub status_at: String,
    /// Where it lives.
    pub environment: String,
    /// The template version that it was made from.
    pub template: Option<TemplateRef>,
    /// The batch that made it.
    pub batch_id: Option<String>,
    /// Who is asked.
    pub recipients: Vec<Recipient>,
    /// Its documents; left out in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documents: Option<Vec<EnvelopeDocument>>,
    /// Its fields; left out in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields: Option<Vec<Field>>,
    /// Values by field key: the sender's, and what recipients have signed.
    #[schema(value_type = Object)]
    pub values: Map<String, Value>,
    /// The mail's words.
    pub message: Message,
    /// When it expires.
    pub expires_at: Option<String>,
    /// IANA zone for the date on the paper.
    pub timezone: String,
    /// Pairs of the sender's own.
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// Where recipients are led when they are done.
    pub redirect_url: Option<String>,
    /// Why sealing has not succeeded yet.
    pub problem: Option<SealProblem>,
    /// Its newest event.
    pub last_event: Option<LastEvent>,
    /// When it was made.
    pub created_at: String,
    /// By whom.
    pub created_by: Actor,
}

/// A pinned template version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TemplateRef {
    /// The template.
    pub id: String,
    /// Its version.
    pub version: i64,
}

/// Why sealing has not succeeded yet: it is tried again without end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SealProblem {
    /// For programs.
    pub code: String,
    /// For people.
    pub detail: String,
    /// Since when.
    pub since: String,
    /// How often it was tried.
    pub attempts: i64,
    /// When it is tried again.
    pub next_attempt_at: String,
}

/// The newest event of an envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastEvent {
    /// Its id.
    pub id: String,
    /// Its number in the environment.
    pub seq: i64,
}

/// A recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Recipient {
    /// Its id.
    #[schema(example = "rec_01k9x3m5c0e8a9v7r2d4t6y8b0")]
    pub id: String,
    /// Its role.
    pub role: String,
    /// `signer`, `approver` or `copy`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its address.
    pub email: String,
    /// Its turn.
    pub order: u32,
    /// The language for mails and pages.
    pub locale: String,
    /// `waiting`, `notified`, `viewed`, `completed`, `declined`, `replaced`, `voided` or `expired`.
    #[schema(example = "notified")]
    pub status: String,
    /// Since when.
    pub status_at: String,
    /// How the invitation went.
    pub delivery: Delivery,
    /// Why it declined.
    pub decline_reason: Option<String>,
}

/// How a recipient's invitation went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// `email`.
    pub channel: String,
    /// `queued`, `accepted`, `bounced`, `failed`, or `not_sent`: the envelope ended before.
    pub state: String,
    /// The mail server's words.
    pub detail: String,
}

/// A document of an envelope or template.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EnvelopeDocument {
    /// Its id.
    pub id: String,
    /// Its name.
    pub filename: String,
    /// SHA-256 of the file as it was uploaded, in hex.
    pub sha256: String,
    /// How many pages it has.
    pub page_count: u32,
}

/// A placed field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Field {
    /// Names its value.
    pub key: String,
    /// What it takes.
    #[serde(rename = "type")]
    pub kind: String,
    /// The role of the recipient who fills it in.
    pub recipient: String,
    /// On which document.
    pub document: String,
    /// On which page, from 1.
    pub page: u32,
    /// From the left edge, in points.
    pub x: f64,
    /// From the top edge, in points.
    pub y: f64,
    /// Width, in points.
    pub width: f64,
    /// Height, in points.
    pub height: f64,
    /// Whether it has to be filled in.
    pub required: bool,
    /// Whether only the sender may fill it in.
    pub readonly: bool,
    /// Its value unless given.
    #[schema(value_type = Object)]
    pub default: Option<Value>,
}
