//! Batches on the wire: many envelopes from a template and a file of rows.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    audit::Actor,
    envelope::{Message, NewTemplateRef},
};

/// A batch to be made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "name": "Rental contracts, June",
    "template": {"id": "tpl_01k9x3m5c0e8a9v7r2d4t6y8b0"},
    "on_invalid": "reject"
}))]
#[serde(deny_unknown_fields)]
pub struct NewBatch {
    /// Its name, for people.
    #[schema(example = "Rental contracts, June")]
    pub name: String,
    /// The template that the envelopes are made from; its version is pinned.
    pub template: NewTemplateRef,
    /// What every row has that does not say it itself.
    #[serde(default)]
    pub defaults: BatchDefaults,
    /// What becomes of rows that can't be accepted: `reject` (if left out) keeps the batch from starting, `skip` leaves
    /// them out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "reject")]
    pub on_invalid: Option<String>,
    /// Envelopes a minute at most; as fast as it goes if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_rate_per_minute: Option<u32>,
    /// No envelope is made before, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_at: Option<String>,
    /// The rows, in the small case: objects by column, `{"Client.email": "taro@example.com", "values.amount": "5"}`, or
    /// nested, `{"Client": {"email": "taro@example.com"}, "values": {"amount": "5"}}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    pub rows: Vec<Map<String, Value>>,
    /// Whether it is started at once: needs `rows`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub start: bool,
}

/// What every row of a batch has that does not say it itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchDefaults {
    /// The envelopes' title; the template's if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The mails' words; the template's if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Message>,
    /// When the envelopes expire, RFC 3339; 120 days after each is made if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// IANA zone for the date on the paper; UTC if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// Where recipients are led when they are done; https.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_url: Option<String>,
    /// The language of recipients whose row names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// Values by field key.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub values: Map<String, Value>,
    /// Up to 50 pairs of strings of your own.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
}

/// A batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Batch {
    /// Its id.
    #[schema(example = "bat_01k9x3m5c0e8a9v7r2d4t6y8b0")]
    pub id: String,
    /// Its name.
    pub name: String,
    /// `open`, `ready`, `running`, `paused`, `completed` or `cancelled`.
    #[schema(example = "running")]
    pub status: String,
    /// Since when.
    pub status_at: String,
    /// The template version that it pins.
    pub template: NewTemplateRef,
    /// `reject` or `skip`.
    pub on_invalid: String,
    /// Envelopes a minute at most.
    pub send_rate_per_minute: Option<u32>,
    /// No envelope is made before.
    pub start_at: Option<String>,
    /// Rows.
    pub total: i64,
    /// Rows that can become envelopes.
    pub valid: i64,
    /// Rows that can't be accepted: see `…/rows?status=invalid` and `…/errors.csv`.
    pub invalid: i64,
    /// Valid rows that could not become envelopes when their turn came: see `…/rows?status=failed`.
    pub failed: i64,
    /// Envelopes made. Null in lists, where they are not counted; so are `sent` and `completed`.
    pub created: Option<i64>,
    /// Envelopes sent, whatever became of them.
    pub sent: Option<i64>,
    /// Envelopes completed.
    pub completed: Option<i64>,
    /// Why it stands still.
    pub problem: Option<BatchProblem>,
    /// Who made it; once started, who started or resumed it last.
    pub created_by: Actor,
    /// When it was made.
    pub created_at: String,
}

/// Why a batch stands still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BatchProblem {
    /// For programs.
    #[schema(example = "key_revoked")]
    pub code: String,
    /// For people.
    pub detail: String,
    /// Since when.
    pub since: String,
}

/// A row of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BatchRow {
    /// Its number among the rows, from 1.
    pub row: i64,
    /// Its line as a spreadsheet shows it; for JSON rows the line's or the place's number.
    pub line: i64,
    /// The sender's own id of its envelope.
    pub external_id: Option<String>,
    /// The envelope that it became.
    pub envelope_id: Option<String>,
    /// `valid`, `invalid` or `failed`.
    pub status: String,
    /// What is wrong with it.
    pub errors: Vec<CellError>,
}

/// Something wrong with one cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CellError {
    /// In which column; empty for the row as a whole.
    #[schema(example = "Client.email")]
    pub column: String,
    /// What, for programs.
    pub code: String,
    /// What, for people.
    pub detail: String,
}
