//! Users and tenants on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A user of the tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct User {
    /// The user's id.
    #[schema(example = "usr_01k9x3m5c0e8a9v7r2d4t6y8b0")]
    pub id: String,
    /// The address to log in with.
    #[schema(example = "ada@example.com")]
    pub email: String,
    /// The name.
    pub name: String,
    /// `owner`, `admin`, `user` or `viewer`.
    #[schema(example = "owner")]
    pub role: String,
    /// `invited`, `active`, `suspended` or `removed`.
    #[schema(example = "active")]
    pub status: String,
    /// When the user was added.
    pub created_at: String,
}

/// A user to be invited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// The address that the invitation goes to, and to log in with.
    #[schema(example = "ada@example.com")]
    pub email: String,
    /// The name, for the invitation; whoever joins sets their own. Left out: the address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(example = "Ada")]
    pub name: String,
    /// `admin`, `user` or `viewer`; never more than the role of who invites.
    #[schema(example = "admin")]
    pub role: String,
}

/// A change of a user: what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"name": "Ada Lovelace", "role": "admin"}))]
#[serde(deny_unknown_fields)]
pub struct UpdateUser {
    /// The name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `owner`, `admin`, `user` or `viewer`. The owner alone makes another user the owner, and becomes an admin by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "admin")]
    pub role: Option<String>,
    /// `active`, `suspended`, or `removed`, which is for good and revokes the keys that are left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "suspended")]
    pub status: Option<String>,
    /// Where the user's API keys would stop: the active owner or admin who takes them over, secrets unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "usr_01k9x3m5c0e8a9v7r2d4t6y8b0")]
    pub transfer_keys_to: Option<String>,
    /// The API keys that are left may stop.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub confirm: bool,
}

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tenant {
    /// Its id.
    #[schema(example = "ten_01k9x3m5c0e8a9v7r2d4t6y8b0")]
    pub id: String,
    /// Its name.
    pub name: String,
    /// `free`, `standard` or `enterprise`.
    #[schema(example = "standard")]
    pub tier: String,
    /// `active` or `suspended`.
    #[schema(example = "active")]
    pub status: String,
    /// From where its keys may call, beside each key's own list; empty: from everywhere.
    pub allowlist: Vec<String>,
    /// What becomes of a call from elsewhere: `enforce`: it is refused; `observe`: it passes, and is on record.
    #[schema(example = "enforce")]
    pub allowlist_mode: String,
    /// When it was created.
    pub created_at: String,
}
