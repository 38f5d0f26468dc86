//! One fact in the ordered log, and the chain that holds an envelope's facts together.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::{BatchId, EnvelopeId, Environment, EventId, KeyId, Random, Timestamp, caller::Actor};

macro_rules! types {
    ($($name:ident $text:literal;)*) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Type { $(#[doc = $text] $name,)* }

        impl Type {
            /// All of them.
            pub const ALL: &'static [Type] = &[$(Type::$name,)*];

            /// Its name in the API.
            pub fn as_str(self) -> &'static str {
                match self { $(Type::$name => $text,)* }
            }
        }
    };
}

types! {
    EnvelopeCreated "envelope.created";
    EnvelopeSent "envelope.sent";
    EnvelopeSigned "envelope.signed";
    EnvelopeSealingFailed "envelope.sealing_failed";
    EnvelopeCompleted "envelope.completed";
    EnvelopeDeclined "envelope.declined";
    EnvelopeVoided "envelope.voided";
    EnvelopeExpired "envelope.expired";
    RecipientNotified "recipient.notified";
    RecipientBounced "recipient.bounced";
    RecipientViewed "recipient.viewed";
    RecipientConsented "recipient.consented";
    RecipientCompleted "recipient.completed";
    RecipientDeclined "recipient.declined";
    BatchCreated "batch.created";
    BatchReady "batch.ready";
    BatchStarted "batch.started";
    BatchPaused "batch.paused";
    BatchResumed "batch.resumed";
    BatchCancelled "batch.cancelled";
    BatchCompleted "batch.completed";
    KeyCreated "key.created";
    KeyUpdated "key.updated";
    KeyActivated "key.activated";
    KeyRotationStarted "key.rotation_started";
    KeyRotated "key.rotated";
    KeyRotationFinished "key.rotation_finished";
    KeyExpiring "key.expiring";
    KeyRotationDue "key.rotation_due";
    KeyIdle "key.idle";
    KeySuspended "key.suspended";
    KeyResumed "key.resumed";
    KeyTransferred "key.transferred";
    KeyRevoked "key.revoked";
    KeyCompromised "key.compromised";
    KeyReceiptCompleted "key.receipt_completed";
    KeyExpired "key.expired";
    KeyExposed "key.exposed";
    KeyLeaked "key.leaked";
}

impl Type {
    /// The type named `text`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text)
    }

    /// Whether the server itself does it, in whosever transaction: how a mail went is nobody else's act.
    pub fn is_servers_own(self) -> bool {
        matches!(self, Type::RecipientNotified | Type::RecipientBounced)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What it happened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Object {
    /// An envelope or one of its recipients.
    Envelope(EnvelopeId),
    /// A key.
    Key(KeyId),
    /// A batch.
    Batch(BatchId),
}

impl Object {
    /// The envelope, where it is one.
    pub fn envelope(self) -> Option<EnvelopeId> {
        match self {
            Self::Envelope(id) => Some(id),
            Self::Key(_) | Self::Batch(_) => None,
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Envelope(id) => id.fmt(f),
            Self::Key(id) => id.fmt(f),
            Self::Batch(id) => id.fmt(f),
        }
    }
}

/// A fact that has happened and has no number yet. `data` never holds a link, a token or a secret.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// What happened.
    pub kind: Type,
    /// To what.
    pub object: Object,
    /// What is known of it.
    pub data: Map<String, Value>,
    /// The old values of the object's top-level attributes that changed.
    pub previous: Map<String, Value>,
}

/// An event as it is stored and shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// Its [`Type`]'s name.
    #[serde(rename = "type")]
    pub kind: String,
    /// Dense per tenant and environment.
    pub seq: i64,
    /// Dense per envelope; none for other objects.
    pub envelope_seq: Option<i64>,
    /// When `seq` was taken.
    pub created_at: Timestamp,
    /// Where.
    pub environment: Environment,
    /// Who did it.
    pub actor: Actor,
    /// What is known of it.
    pub data: Map<String, Value>,
    /// What changed, as it was before.
    pub previous: Map<String, Value>,
}

/// A SHA-256 link of a chain.
pub type Hash = [u8; 32];

/// Personal leaves of an event: in the chain they stand as SHA-256(salt ‖ value), so that erasing both keeps the chain whole.
const PERSONAL: [&str; 5] =
    ["/data/recipient/name", "/data/recipient/email", "/data/address", "/data/user_agent", "/data/reason"];

/// Where an envelope's chain begins: SHA-256 of its id.
pub fn chain_start(envelope: EnvelopeId) -> Hash {
    Sha256::digest(envelope.to_string().as_bytes()).into()
}

/// The salts for an event's personal leaves, by JSON pointer, in hex.
pub fn salts(event: &Event, random: &dyn Random) -> Map<String, Value> {
    let whole = event_json(event);
    PERSONAL
        .iter()
        .filter(|pointer| whole.pointer(pointer).is_some_and(|leaf| !leaf.is_null()))
        .map(|pointer| {
            let mut salt = [0; 16];
            random.fill(&mut salt);
            ((*pointer).to_owned(), Value::String(hex(&salt)))
        })
        .collect()
}

/// The next link: SHA-256(previous ‖ RFC 8785 JSON of the event, its personal leaves replaced).
pub fn chain(previous: &Hash, event: &Event, salts: &Map<String, Value>) -> Hash {
    let mut whole = event_json(event);
    for (pointer, salt) in salts {
        let (Some(leaf), Some(salt)) = (whole.pointer_mut(pointer), salt.as_str()) else { continue };
        let hash = Sha256::new().chain_update(salt).chain_update(canonical(leaf)).finalize();
        *leaf = Value::String(format!("sha256:{}", hex(&hash)));
    }
    Sha256::new().chain_update(previous).chain_update(canonical(&whole)).finalize().into()
}

fn event_json(event: &Event) -> Value {
    serde_json::to_value(event).expect("an event has string keys only")
}

/// RFC 8785: members sorted, nothing between tokens. Events hold strings and integers, whose JSON is canonical already;
/// keys are ASCII, so byte order is UTF-16 order.
pub fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by_key(|(name, _)| name.encode_utf16().collect::<Vec<_>>());
            let inner: Vec<_> = sorted
                .into_iter()
                .map(|(name, value)| format!("{}:{}", Value::String(name.clone()), canonical(value)))
                .collect();
            format!("{{{}}}", inner.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        leaf => leaf.to_string(),
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn canonical_json_sorts_members_and_drops_white_space() {
        let value = json!({"b": [1, "é\n"], "a": {"d": null, "c": true}});
        assert_eq!(canonical(&value), r#"{"a":{"c":true,"d":null},"b":[1,"é\n"]}"#);
    }

    #[test]
    fn types_have_one_name_each() {
        for kind in Type::ALL {
            assert_eq!(Type::parse(kind.as_str()), Some(*kind));
        }
        assert_eq!(Type::parse("envelope.*"), None);
    }
}
