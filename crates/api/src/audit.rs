//! The audit log on the wire, and who did it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Actor {
    /// `user`, `key`, `recipient`, `system` or `operator`.
    #[serde(rename = "type")]
    #[schema(example = "key")]
    pub kind: String,
    /// Which one; null for the system and the operator.
    pub id: Option<String>,
    /// A key's label at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// One entry of the audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Its id.
    #[schema(example = "aud_01k9x3m5c0e8a9v7r2d4t6y8b0")]
    pub id: String,
    /// Its number: dense per tenant, over all environments.
    pub seq: i64,
    /// When.
    pub at: String,
    /// Where; null for what concerns the tenant as a whole.
    pub environment: Option<String>,
    /// Who.
    pub actor: Actor,
    /// From where.
    pub address: Option<String>,
    /// With which request.
    pub request_id: Option<String>,
    /// What was done.
    #[schema(example = "key.created")]
    pub action: String,
    /// To what.
    #[schema(example = "key_01k9x3m5c0e8a9v7r2d4t6y8b0")]
    pub object: String,
    /// How it was.
    #[schema(value_type = Option<Object>)]
    pub before: Option<serde_json::Value>,
    /// How it is now.
    #[schema(value_type = Option<Object>)]
    pub after: Option<serde_json::Value>,
}
