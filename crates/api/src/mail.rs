//! The capture box on the wire: mails of development and staging, which go out to nobody.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A captured mail, without its words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Mail {
    /// Its id.
    #[schema(example = "mal_01k9x3m5c0e8a9v7r2d4t6y8b0")]
    pub id: String,
    /// About which envelope.
    #[schema(example = "env_01k9x3m5c0e8a9v7r2d4t6y8b0")]
    pub envelope_id: String,
    /// To which recipient.
    #[schema(example = "rec_01k9x3m5c0e8a9v7r2d4t6y8b0")]
    pub recipient_id: String,
    /// To which address.
    #[schema(example = "taro@example.com")]
    pub to: String,
    /// `invite`, `completed`, `declined`, `voided` or `expired`.
    #[schema(example = "invite")]
    pub purpose: String,
    /// `queued`, `captured`, `accepted`, `bounced` or `failed`.
    #[schema(example = "captured")]
    pub state: String,
    /// Since when.
    pub state_at: String,
    /// The mail server's words.
    pub detail: String,
    /// When it was asked for.
    pub created_at: String,
}

/// A captured mail in its words. An invitation's text holds the signing link, which is the recipient's alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MailText {
    /// The mail.
    #[serde(flatten)]
    pub mail: Mail,
    /// The recipient's name.
    pub name: String,
    /// Its subject.
    pub subject: String,
    /// Its text.
    pub text: String,
}
