//! API keys on the wire.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

pub use crate::revocation::{Made, Receipt, RevokeKey};
use crate::{
    audit::Actor,
    rotation::{MaxAge, Rotation},
};

/// A key to be generated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "label": "Invoices, nightly",
    "environment": "development",
    "scopes": ["envelopes:read", "envelopes:write"]
}))]
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
    /// `enforce` (left out), or `observe`: calls from elsewhere pass, and what would have been refused is on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "enforce")]
    pub allowlist_mode: Option<String>,
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
    /// The key is refused until `POST /v1/keys/{id}/activate`: store the secret first, then let it call.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pending: bool,
    /// An age recipient of X25519, `age1…`: the answer then has the secret sealed to it in `sealed_secret`, in place of
    /// `secret`, and the same again for the same `Idempotency-Key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = json!(null))]
    pub encrypt_to: Option<String>,
}

/// A change of a key: what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"label": "Invoices, nightly", "scopes": ["envelopes:read"]}))]
#[serde(deny_unknown_fields)]
pub struct UpdateKey {
    /// Its name for people, 1 to 100 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "Invoices, nightly")]
    pub label: Option<String>,
    /// What it may do. Never more than the calling key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = json!(["envelopes:read"]))]
    pub scopes: Option<Vec<String>>,
    /// From where it may call; empty: from everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = json!(["192.0.2.0/24"]))]
    pub allowlist: Option<Vec<String>>,
    /// `enforce` or `observe`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "enforce")]
    pub allowlist_mode: Option<String>,
    /// Until when: RFC 3339 with an offset; `null`: without an end.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "or_null")]
    #[schema(value_type = Option<String>, example = "2027-11-25T00:00:00Z")]
    pub expires_at: Option<Option<String>>,
    /// A note for people, at most 2,000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Words to find it by: at most 20, of 1 to 50 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Needed where the allowlist would lock out the address that this call comes from.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub confirm: bool,
}

/// What is there, `null` too; what is left out is none.
fn or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
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
    /// What becomes of a call from elsewhere: `enforce`: it is refused; `observe`: it passes, and is on record.
    #[schema(example = "enforce")]
    pub allowlist_mode: String,
    /// Until when.
    pub expires_at: Option<String>,
    /// Its last use, at most some seconds behind.
    pub last_used: Option<LastUse>,
    /// Its secrets, the oldest first.
    pub secrets: Vec<Secret>,
    /// The rotation that is under way.
    pub rotation: Option<Rotation>,
    /// When its secret is due to be rotated, by the tenant's policy.
    pub rotation_due_at: Option<String>,
    /// How old it may become, by the tenant's policy.
    pub max_age: Option<MaxAge>,
    /// A right secret in a wrong place: what was seen last since the current secret was made. It is the best sign of theft.
    /// Null where nothing was, and in what a key hears of itself.
    pub exposed: Option<Exposed>,
    /// A note for people.
    pub note: String,
    /// Words to find it by.
    pub tags: Vec<String>,
}

/// A right secret in a wrong place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Exposed {
    /// `plain_http`, `in_url`, `in_form`, `in_basic`, `forbidden_address`, `after_revocation`, `after_rotation`,
    /// `after_expiry`, or `reported`: somebody found it and said so.
    #[schema(example = "in_url")]
    pub how: String,
    /// When last.
    pub at: String,
    /// From where.
    #[schema(example = "192.0.2.7")]
    pub address: String,
    /// How often, all in all.
    pub count: u64,
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
    /// The secret key as an armored age file, where `encrypt_to` was sent: null otherwise.
    #[schema(example = json!(null))]
    pub sealed_secret: Option<String>,
    /// Whether it was shown before, and is not shown again.
    pub secret_shown: bool,
}
