//! A person asked to sign, approve or receive a copy.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{DocumentId, LinkId, RecipientId, Timestamp, field::Signature, shown::ShownValues};

/// What a recipient is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecipientKind {
    /// To sign.
    Signer,
    /// To approve.
    Approver,
    /// Nothing: receives a copy when all is done.
    Copy,
}

/// Where a recipient stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecipientStatus {
    /// Others come first, or the mail has not gone out.
    Waiting,
    /// The mail was accepted for delivery.
    Notified,
    /// Has opened the envelope.
    Viewed,
    /// Has signed or approved.
    Completed,
    /// Has declined.
    Declined,
    /// Another person stands in.
    Replaced,
    /// The envelope was voided before.
    Voided,
    /// The envelope expired before.
    Expired,
}

macro_rules! names {
    ($type:ident: $($name:ident $text:literal,)*) => {
        impl $type {
            /// Its name in the API.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The one named `text`.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$name),)* _ => None }
            }
        }
    };
}
pub(crate) use names;

names! { RecipientKind: Signer "signer", Approver "approver", Copy "copy", }
names! { RecipientStatus:
    Waiting "waiting", Notified "notified", Viewed "viewed", Completed "completed", Declined "declined",
    Replaced "replaced", Voided "voided", Expired "expired",
}

impl RecipientStatus {
    /// Whether the recipient may still act.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Notified | Self::Viewed)
    }
}

/// A recipient of an envelope.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipient {
    /// Its id.
    pub id: RecipientId,
    /// What it is asked for.
    pub kind: RecipientKind,
    /// Its role, by which fields name it; unique in the envelope.
    pub role: String,
    /// Its name.
    pub name: String,
    /// Its address. Never altered.
    pub email: String,
    /// Its turn, from 1; equal means in parallel.
    pub order: u32,
    /// Where it stands.
    pub status: RecipientStatus,
    /// Since when.
    pub status_at: Timestamp,
    /// Its signing link.
    pub link: LinkId,
    /// A new generation ends the old link.
    pub link_generation: i64,
    /// The rest.
    pub body: RecipientBody,
}

/// What is stored of a recipient beside its columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecipientBody {
    /// The language for mails and pages.
    pub locale: String,
    /// How the mail went.
    pub delivery: Delivery,
    /// What was typed so far, by field key.
    #[serde(default)]
    pub values: Map<String, Value>,
    /// Grows with each saving of values.
    #[serde(default)]
    pub values_version: i64,
    /// When the envelope was first opened, and from where.
    #[serde(default)]
    pub viewed: Option<Act>,
    /// Consent to electronic records.
    #[serde(default)]
    pub consent: Option<Consent>,
    /// The signature, once made.
    #[serde(default)]
    pub signed: Option<Signed>,
    /// Why it declined.
    #[serde(default)]
    pub declined: Option<Declined>,
}

/// How the invitation went: kept apart from the status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// `queued`, `accepted`, `bounced` or `failed`.
    pub state: DeliveryState,
    /// The server's words.
    pub detail: String,
    /// When.
    pub at: Timestamp,
}

/// How far a mail got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Not sent yet.
    Queued,
    /// The server took it, or the capture box did.
    Accepted,
    /// The server refused it for good.
    Bounced,
    /// It could not be sent.
    Failed,
}

names! { DeliveryState: Queued "queued", Accepted "accepted", Bounced "bounced", Failed "failed", }

/// Something that a person did: when and from where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// When.
    pub at: Timestamp,
    /// From which address.
    pub address: String,
    /// With which browser.
    pub user_agent: String,
}

/// Consent to electronic records (15 USC 7001(c)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// When and from where.
    pub act: Act,
    /// Which text, as `en-1`.
    pub version: String,
    /// In which language.
    pub language: String,
    /// SHA-256 of the text that was shown, in hex.
    pub sha256: String,
}

/// A signature as it was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signed {
    /// When and from where.
    pub act: Act,
    /// What was typed or drawn; none where no signature field was asked for.
    pub signature: Option<Signature>,
    /// The values at that moment, by field key.
    pub values: Map<String, Value>,
    /// SHA-256 of the very files that were shown, by document.
    pub shown: Vec<(DocumentId, String)>,
    /// What others and the sender had filled in, as it was shown.
    #[serde(default)]
    pub shown_values: Option<ShownValues>,
}

/// A refusal to sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declined {
    /// When and from where.
    pub act: Act,
    /// In the recipient's words.
    pub reason: String,
}

impl Recipient {
    /// Whether the envelope waits for this recipient at all.
    pub fn acts(&self) -> bool {
        self.kind != RecipientKind::Copy && self.status != RecipientStatus::Replaced
    }

    /// How far the mail got, in a word of the API: one that is queued when the envelope has ended goes out no more.
    pub fn delivery_word(&self) -> &'static str {
        match (self.body.delivery.state, self.status) {
            (DeliveryState::Queued, RecipientStatus::Voided | RecipientStatus::Expired) => "not_sent",
            (state, _) => state.as_str(),
        }
    }

    /// The same in another status.
    pub(crate) fn become_(&mut self, status: RecipientStatus, now: Timestamp) {
        self.status = status;
        self.status_at = now;
    }

    /// As events name it.
    pub(crate) fn event_json(&self) -> Value {
        json!({ "id": self.id, "role": self.role, "name": self.name, "email": self.email, "status": self.status.as_str() })
    }
}
