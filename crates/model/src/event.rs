//! One fact in the ordered log, and the chain that holds an envelope's facts together.

use std::fmt::{self, Write};

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

/// The salts for a new event's personal leaves, by JSON pointer, in hex; and its link, behind `previous`.
pub fn link(previous: &Hash, event: &Event, random: &dyn Random) -> (Map<String, Value>, Hash) {
    let whole = event_json(event);
    let salts = salts(&whole, random);
    let hash = linked(previous, whole, &salts);
    (salts, hash)
}

fn salts(whole: &Value, random: &dyn Random) -> Map<String, Value> {
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

/// The link of an event whose salts are known: SHA-256(previous ‖ RFC 8785 JSON of it, its personal leaves replaced).
pub fn chain(previous: &Hash, event: &Event, salts: &Map<String, Value>) -> Hash {
    linked(previous, event_json(event), salts)
}

fn linked(previous: &Hash, mut whole: Value, salts: &Map<String, Value>) -> Hash {
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
    let mut text = String::new();
    write_canonical(value, &mut text).expect("a String takes everything");
    text
}

fn write_canonical(value: &Value, text: &mut String) -> fmt::Result {
    match value {
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
            for (at, (name, value)) in sorted.into_iter().enumerate() {
                text.push(if at == 0 { '{' } else { ',' });
                write!(text, "{}:", Value::from(name.as_str()))?;
                write_canonical(value, text)?;
            }
            text.push_str(if members.is_empty() { "{}" } else { "}" });
        }
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write_canonical(item, text)?;
            }
            text.push(']');
        }
        leaf => write!(text, "{leaf}")?,
    }
    Ok(())
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn canonical_json_sorts_members_and_drops_white_space() {
        let value = json!({"b": [1, "é\n"], "a": {"d": null, "c": true}});
        assert_eq!(canonical(&value), r#"{"a":{"c":true,"d":null},"b":[1,"é\n"]}"#);
        // U+1F600 is two UTF-16 units from U+D83D on, so it comes before U+FB33 (RFC 8785, 3.2.3).
        assert_eq!(
            canonical(&json!({"\u{fb33}": {}, "\u{1f600}": [], "": 1})),
            "{\"\":1,\"\u{1f600}\":[],\"\u{fb33}\":{}}"
        );
    }

    #[test]
    fn types_have_one_name_each() {
        for kind in Type::ALL {
            assert_eq!(Type::parse(kind.as_str()), Some(*kind));
        }
        assert_eq!(Type::parse("envelope.*"), None);
    }
}
