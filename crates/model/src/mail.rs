//! A mail in the outbox: one row per envelope, address, purpose and turn, with a fixed Message-ID.

use crate::{EnvelopeId, MailId, RecipientId, Timestamp, envelope::Purpose, recipient::names};

/// How far it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailState {
    /// To be sent.
    Queued,
    /// Kept in the capture box of development or staging.
    Captured,
    /// The mail server took it.
    Accepted,
    /// The mail server refused it for good.
    Bounced,
    /// It could not be sent in the time given.
    Failed,
}

names! { MailState: Queued "queued", Captured "captured", Accepted "accepted", Bounced "bounced", Failed "failed", }

/// A mail in the outbox. Its words are made when it goes out, so no row holds a signing link.
#[derive(Clone, Debug, PartialEq)]
pub struct Mail {
    /// Its id; the Message-ID is made of it.
    pub id: MailId,
    /// About which envelope.
    pub envelope: EnvelopeId,
    /// To which recipient.
    pub recipient: RecipientId,
    /// What for.
    pub purpose: Purpose,
    /// The recipient's turn: the same address may have several.
    pub turn: u32,
    /// The address.
    pub address: String,
    /// How far it got.
    pub state: MailState,
    /// The server's words.
    pub detail: String,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Since when it is in this state.
    pub state_at: Timestamp,
}
