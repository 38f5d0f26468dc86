//! Reports of leaked keys on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Secret keys that were found where others can read them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LeakReport {
    /// The keys themselves. With `digests` together 1 to 1,000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!([]))]
    pub tokens: Vec<String>,
    /// SHA-256 of each key's whole text, in hexadecimal: for who would rather not send the keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]))]
    pub digests: Vec<String>,
    /// Where they were found, as a URL or in words, at most 500 characters: the administrators are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "https://example.com/config.txt")]
    pub place: Option<String>,
}

/// A report was taken. The answer is the same whether any of it is a key of this server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeakReceived {
    /// How many keys were reported.
    pub received: u64,
}

/// One answer to GitHub about one match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GithubLabel {
    /// SHA-256 of the match, in hexadecimal.
    pub token_hash: String,
    /// The pattern's name, as GitHub sent it.
    pub token_type: String,
    /// `true_positive` where it is a key of this server, else `false_positive`.
    pub label: String,
}
