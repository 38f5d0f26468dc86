//! Taking a key's right away and giving it back, on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::key::Key;

/// Why a key is revoked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeKey {
    /// `manual` (left out) or `compromised`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "compromised")]
    pub reason: Option<String>,
    /// For the audit log, at most 2,000 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// Why a key is suspended or resumed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TurnKey {
    /// For the audit log, at most 2,000 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// To whom a key is transferred.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TransferKey {
    /// The user whose rights it gets: an active owner or admin. A key can only take over: for its own administrator.
    #[serde(default)]
    #[schema(example = "usr_01k9x3m5c0e8a9v7r2d4t6y8b0")]
    pub administrator: String,
}

/// What a revocation is answered with. It is complete within some seconds, when each server has written what it held in
/// memory; `key.receipt_completed` tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Receipt {
    /// The key, revoked.
    pub key: Key,
    /// From then on nothing that the key asks for passes, on any node, and nothing that it had in flight takes effect. None
    /// as long as that is not known, where a revocation broke off after its commit: repeat it, or wait.
    pub effective_at: Option<String>,
    /// When the rest was so.
    pub as_of: String,
    /// Whether every server has written what it held.
    pub complete: bool,
    /// The last request that got through.
    pub last_passed: Option<Passed>,
    /// Requests that were refused since; of more than 100 the hours tell, from the beginning of the one in which it was
    /// revoked.
    pub refused: i64,
    /// Long polls and downloads that were cut off, of the last 100 refusals.
    pub streams_closed: i64,
    /// What the key made.
    pub made: Made,
}

/// A request that got through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Passed {
    /// Its id.
    pub request_id: String,
    /// When.
    pub at: String,
    /// From where.
    #[schema(example = "192.0.2.7")]
    pub address: String,
    /// For what.
    #[schema(example = "POST /v1/envelopes")]
    pub route: String,
}

/// What a key made and what goes on without it: look through it when the key was in wrong hands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Made {
    /// Keys, the newest first, at most 100.
    pub keys: Vec<String>,
    /// Batches, the newest first, at most 100. One that ran is paused with `key_revoked`.
    pub batches: Vec<String>,
}

/// Which keys a bulk revocation means: those that all that is given fits. At least one member is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"tag": "nightly"}))]
#[serde(deny_unknown_fields)]
pub struct RevokeKeys {
    /// Those with the rights of this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "usr_01k9x3m5c0e8a9v7r2d4t6y8b0")]
    pub user: Option<String>,
    /// All of this environment: the calling key's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = json!(null))]
    pub environment: Option<String>,
    /// Those with this tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = json!(null))]
    pub tag: Option<String>,
    /// Those that nothing has used for so many days; one that was never used counts from when it was made. A use is known
    /// after 10 s at most: a key that begins to be used again at this very moment may be among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = json!(null))]
    pub idle_days: Option<u32>,
    /// For the audit log, at most 2,000 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Only says which keys are meant.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// What a bulk revocation is answered with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RevokedKeys {
    /// The keys that were meant, the oldest first.
    pub keys: Vec<Key>,
    /// From then on nothing that they ask for passes. Null of a dry run.
    pub effective_at: Option<String>,
}
