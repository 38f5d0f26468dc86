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
    /// `active`, `suspended` or `removed`.
    #[schema(example = "active")]
    pub status: String,
    /// When the user was added.
    pub created_at: String,
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
    /// When it was created.
    pub created_at: String,
}
