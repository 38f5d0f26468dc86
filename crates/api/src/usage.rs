//! The use of an API key on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Page;

/// What a key was used for: every request with a right secret counts, also one that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// The key.
    #[schema(example = "key_01k9x3m5c0e8a9v7r2d4t6y8b0")]
    pub key: String,
    /// From the beginning of this hour.
    pub from: String,
    /// Up to this moment.
    pub to: String,
    /// All that came before is in it; what came later may be missing, for at most 10 seconds. Null: no node is known.
    pub as_of: Option<String>,
    /// All calls in that time.
    #[schema(example = 1284)]
    pub calls: u64,
    /// Those of them that were answered with 400 or above.
    #[schema(example = 3)]
    pub failed: u64,
    /// The hours in which it called, the earliest first.
    pub hours: Vec<Hour>,
    /// Its calls by route and status.
    pub routes: Vec<RouteCalls>,
    /// Where it was used from in 90 days, those seen last first: a page.
    pub addresses: Page<Address>,
    /// What was refused of it, the latest first, at most 100.
    pub refusals: Vec<RefusedCall>,
}

/// An hour of calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hour {
    /// When it began.
    pub hour: String,
    /// All calls.
    pub calls: u64,
    /// Those that were answered with 400 or above.
    pub failed: u64,
}

/// How often a route was answered with a status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouteCalls {
    /// The route.
    #[schema(example = "POST /v1/envelopes")]
    pub route: String,
    /// The status; 499 where the caller went away before the answer.
    #[schema(example = 201)]
    pub status: u16,
    /// How often.
    pub calls: u64,
}

/// An address that a key was used from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Address {
    /// The address.
    #[schema(example = "192.0.2.7")]
    pub address: String,
    /// When it was seen first.
    pub first_seen: String,
    /// When it was seen last.
    pub last_seen: String,
    /// How often.
    pub calls: u64,
}

/// A request that was refused, or would have been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefusedCall {
    /// When.
    pub at: String,
    /// Why: the problem's code.
    #[schema(example = "ip_not_allowed")]
    pub code: String,
    /// False: an allowlist that only observes would have refused it, and it passed.
    pub was_refused: bool,
    /// From where.
    pub address: String,
    /// By which program, as it said.
    pub user_agent: String,
    /// For what.
    #[schema(example = "POST /v1/envelopes")]
    pub route: String,
    /// Which request.
    pub request_id: String,
}
