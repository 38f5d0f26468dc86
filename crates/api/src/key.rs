//! API keys on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::audit::Actor;

/// A key to be generated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// Its name for people, 1 to 100 characters.
    #[schema(example = "Invoices, nightly")]
    pub label: String,
    /// `development`, `staging` or `production`. Left out: the caller's. A key makes keys in its own only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "development")]
    pub environment: Option<String>,
    /// What it may do: `["*"]` (everything its administrator may), `["workflows"]` (all that does not touch identity), or
    /// scopes by name. Left out: the calling key's own. Never more than those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = json!(["envelopes:read", "envelopes:write"]))]
    pub scopes: Option<Vec<String>>,
    /// From where it may call: addresses and CIDRs; needs the tier `enterprise`. Left out: the calling key's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = json!(["192.0.2.0/24"]))]
    pub allowlist: Option<Vec<String>>,
    /// Until when: RFC 3339 with an offset. Left out: never, or when the calling key expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "2027-11-25T00:00:00Z")]
    pub expires_at: Option<String>,
    /// Whose rights it gets: an owner or admin. Left out: the calling key's administrator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub administrator: Option<String>,
    /// A note for people, at most 2,000 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Words to find it by: at most 20, of 1 to 50 characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Needed where the allowlist would lock out the address that this call comes from.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub confirm: bool,
}

/// An API key, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Key {
    /// Its id. It is public, and part of the secret key's text.
    #[schema(example = "key_01k9x3m5c0e8a9v7r2d4t6y8b0")]
    pub id: String,
    /// Its name for people.
    pub label: String,
    /// Where it lives: it sees nothing of the other environments.
    #[schema(example = "development")]
    pub environment: String,
    /// `pending`, `active`, `suspended`, `revoked` or `expired`.
    #[schema(example = "active")]
    pub status: String,
    /// Since when.
    pub status_at: String,
    /// Why it was revoked: `manual`, `compromised`, `policy` or `administrator_removed`.
    pub reason: Option<String>,
    /// The last 4 characters of the current secret: to recognize it, not to find it.
    #[schema(example = "x7Qf")]
    pub last4: String,
    /// When it was generated.
    pub created_at: String,
    /// By whom.
    pub created_by: Actor,
    /// The key that made it.
    pub parent: Option<String>,
    /// The user whose rights it has, read live.
    #[schema(example = "usr_01k9x3m5c0e8a9v7r2d4t6y8b0")]
    pub administrator: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// From where it may call; empty: from everywhere.
    pub allowlist: Vec<String>,
    /// Until when.
    pub expires_at: Option<String>,
    /// Its last use, at most some seconds behind.
    pub last_used: Option<LastUse>,
    /// Its secrets, the oldest first.
    pub secrets: Vec<Secret>,
    /// A note for people.
    pub note: String,
    /// Words to find it by.
    pub tags: Vec<String>,
}

/// One secret of a key: never its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Secret {
    /// Its last 4 characters.
    #[schema(example = "x7Qf")]
    pub last4: String,
    /// `current`, `pending`, `ending` or `dead`.
    #[schema(example = "current")]
    pub status: String,
    /// When it was made.
    pub created_at: String,
    /// When it ends, or ended.
    pub ends_at: Option<String>,
    /// Its last use.
    pub last_used: Option<LastUse>,
}

/// A last use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastUse {
    /// When.
    pub at: String,
    /// From where.
    #[schema(example = "192.0.2.7")]
    pub address: String,
    /// By which program, as it said.
    pub user_agent: String,
    /// For what.
    #[schema(example = "POST /v1/envelopes")]
    pub route: String,
}

/// A key that was just generated. This is the one answer that holds its secret: keep it now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedKey {
    /// The key.
    #[serde(flatten)]
    pub key: Key,
    /// The secret key, for `Authorization: Bearer`. Null where this answer is given again for the same
    /// `Idempotency-Key`.
    #[schema(example = "iusk_dev_01j0000000e008000000000001_00000000000000000000000000000000000000000001Eoj5w")]
    pub secret: Option<String>,
    /// Whether it was shown before, and is not shown again.
    pub secret_shown: bool,
}

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

/// What a revocation is answered with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Receipt {
    /// The key, revoked.
    pub key: Key,
    /// From then on nothing that the key asks for passes, on any node, and nothing that it had in flight takes effect.
    pub effective_at: String,
    /// What the key made.
    pub made: Made,
}

/// What a key made and what goes on without it: look through it when the key was in wrong hands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Made {
    /// Keys, the newest first, at most 100.
    pub keys: Vec<String>,
}
