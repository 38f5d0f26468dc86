//! A key in wrong hands, on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::key::{CreatedKey, Key};

/// What is known of a compromise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"note": "It was in a public repository.", "replacement": false}))]
#[serde(deny_unknown_fields)]
pub struct CompromiseKey {
    /// Since when the key may have been in wrong hands, RFC 3339 with an offset. Left out: since it was generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = json!(null))]
    pub since: Option<String>,
    /// For the audit log, at most 2,000 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Whether to generate a new key like it; not for a key that reports itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replacement: bool,
}

/// What a compromise is answered with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Compromised {
    /// The key, revoked.
    pub key: Key,
    /// From then on nothing that it or what it made asks for passes.
    pub effective_at: String,
    /// The keys that were revoked with it, itself too, the oldest first.
    pub revoked: Vec<String>,
    /// The batches that were paused.
    pub paused: Vec<String>,
    /// The new key with its secret, once, where one was wanted.
    pub replacement: Option<CreatedKey>,
    /// What they did since, the first of it.
    pub blast_radius: BlastRadius,
}

/// A page of what a compromised key, and the keys that it made, did since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlastRadius {
    /// Since when.
    pub since: String,
    /// By object, in the order of their ids: envelopes, batches, templates, documents, keys, fetched assets.
    pub data: Vec<Deed>,
    /// Whether more follow.
    pub has_more: bool,
    /// What to send as `after` for them.
    pub next: Option<String>,
    /// Addresses that the keys were first used from since then, the latest first, at most 100.
    pub new_addresses: Vec<NewAddress>,
}

/// An object that a compromised key did something to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deed {
    /// Its id.
    #[schema(example = "env_01k9x3m5c0e8a9v7r2d4t6y8b0")]
    pub object: String,
    /// What: the actions of the audit log.
    #[schema(example = json!(["envelope.created", "envelope.sent"]))]
    pub actions: Vec<String>,
    /// When first.
    pub first_at: String,
    /// When last.
    pub last_at: String,
    /// `keep` or `void`, once decided. Until then an envelope or batch of the key's is not sent.
    pub decision: Option<String>,
    /// When the decision was carried out.
    pub decided_at: Option<String>,
    /// Why a void could not be carried out: the code of its problem.
    pub outcome: Option<String>,
}

/// An address that was new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewAddress {
    /// The address.
    #[schema(example = "192.0.2.7")]
    pub address: String,
    /// When first.
    pub first_at: String,
    /// When last.
    pub last_at: String,
    /// Requests.
    pub count: i64,
}

/// Decisions about what a compromised key did: some, or all the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"all": "void"}))]
#[serde(deny_unknown_fields)]
pub struct Decide {
    /// At most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<Decision>,
    /// `keep` or `void`: every envelope and batch that nothing was decided about yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = json!(null))]
    pub all: Option<String>,
}

/// A decision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// An envelope or a batch.
    #[schema(example = "env_01k9x3m5c0e8a9v7r2d4t6y8b0")]
    pub object: String,
    /// `keep`: it may be sent and goes on. `void`: it is taken back; of a batch: it is cancelled and its envelopes are
    /// voided, by and by.
    #[schema(example = "void")]
    pub decision: String,
}

/// What decisions are answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Decided {
    /// Objects that were decided about.
    pub decided: u64,
}
