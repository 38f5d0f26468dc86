//! A refusal or a fault on the wire: RFC 9457, `application/problem+json`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The media type of a [`Problem`].
pub const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";

/// Why a request was refused or failed, and what to do now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A page about this kind of problem, served by the server itself.
    #[serde(rename = "type")]
    #[schema(example = "https://sign.example.com/problems/revoked_key")]
    pub kind: String,
    /// The kind in a short sentence.
    #[schema(example = "This key was revoked")]
    pub title: String,
    /// The HTTP status.
    #[schema(example = 401)]
    pub status: u16,
    /// This occurrence in a sentence.
    pub detail: String,
    /// The kind, for programs.
    #[schema(example = "revoked_key")]
    pub code: String,
    /// What to do now.
    pub resolution: String,
    /// Names this request in the server's log.
    #[schema(example = "req_01k9x3m5c0e8a9v7r2d4t6y8b0")]
    pub request_id: String,
    /// Every fault of the body, each at its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<BodyError>,
    /// What some kinds of problems tell beside the rest, such as `keys` of `keys_would_stop`.
    #[serde(flatten)]
    #[schema(ignore)]
    pub members: serde_json::Map<String, serde_json::Value>,
}

/// One fault of a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BodyError {
    /// Where: a JSON pointer (RFC 6901), empty for the whole body.
    #[schema(example = "/recipients/0/email")]
    pub pointer: String,
    /// What, for programs.
    pub code: String,
    /// What, for people.
    pub detail: String,
}
