//! Rotation on the wire: what is asked for, and how a key shows it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a key is rotated. All of it may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"grace_period": "PT24H", "finish": "after_grace"}))]
#[serde(deny_unknown_fields)]
pub struct RotateKey {
    /// How long the old secret lives on after the first use of the new one: an ISO 8601 duration from `PT0S` to `P7D`.
    /// Left out: 24 hours; with `finish: when_silent` no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "PT24H")]
    pub grace_period: Option<String>,
    /// When the old secret ends: `after_grace` (left out), or `when_silent`: when nothing has used it for `silent_for`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "after_grace")]
    pub finish: Option<String>,
    /// For how long the old secret has to be silent to end: an ISO 8601 duration up to `P30D`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "PT24H")]
    pub silent_for: Option<String>,
    /// Ends a rotation that is under way at once: the pending secret, or the old one in its grace period.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
    /// An age recipient of X25519, `age1…`: the answer then has the new secret sealed to it in `sealed_secret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = json!(null))]
    pub encrypt_to: Option<String>,
}

/// A rotation that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rotation {
    /// When the new secret was made.
    pub started_at: String,
    /// The new secret's last 4 characters, until it is first used.
    pub pending_last4: Option<String>,
    /// When the old secret ends: known from the first use of the new one; null where that waits for silence.
    pub ends_at: Option<String>,
    /// `after_grace` or `when_silent`.
    #[schema(example = "after_grace")]
    pub finish: String,
}

/// The greatest age that the tenant allows a key, which begins anew with each rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MaxAge {
    /// `warn`, or `enforce`: from `due_at` on the key is refused until it is rotated.
    #[schema(example = "warn")]
    pub mode: String,
    /// When it is reached.
    pub due_at: String,
}
