//! Events on the wire.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// One fact in the ordered log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its id.
    #[schema(example = "evt_01k9x3m5c0e8a9v7r2d4t6y8b0")]
    pub id: String,
    /// What happened.
    #[serde(rename = "type")]
    #[schema(example = "envelope.completed")]
    pub kind: String,
    /// Dense per environment: who has 1 to n has missed nothing.
    pub seq: i64,
    /// Dense per envelope; null for events of other objects.
    pub envelope_seq: Option<i64>,
    /// When it happened.
    pub created_at: String,
    /// Where.
    pub environment: String,
    /// Who did it.
    #[schema(value_type = Object)]
    pub actor: Value,
    /// What is known of it.
    #[schema(value_type = Object)]
    pub data: Map<String, Value>,
    /// What changed, as it was before.
    #[schema(value_type = Object)]
    pub previous: Map<String, Value>,
}

/// A page of events, oldest first. Its `next` is always there: it is where to go on, also when nothing is new.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventPage {
    /// The events.
    pub data: Vec<Event>,
    /// Whether more stand there already.
    pub has_more: bool,
    /// Give this as `after` to go on.
    pub next: String,
}
