//! Typed ids: a prefix and a UUIDv7 in 26 characters of Crockford base32, so that no String inside is an id.

use std::{cmp::Ordering, fmt, hash, marker::PhantomData, str::FromStr};

use secret::base32;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use crate::{Random, Timestamp};

/// What an id names: gives it its prefix.
pub trait Kind {
    /// The prefix, without the underscore.
    const PREFIX: &'static str;
}

/// The id of a `K`.
pub struct Id<K>(Uuid, PhantomData<fn() -> K>);

impl<K: Kind> Id<K> {
    /// A new id: a UUIDv7 (RFC 9562, 5.7) of `now` and random bits, so that ids sort by their time.
    pub fn new(now: Timestamp, random: &dyn Random) -> Self {
        let mut bits = [0; 10];
        random.fill(&mut bits);
        Self(uuid::Builder::from_unix_timestamp_millis(now.millis().unsigned_abs(), &bits).into_uuid(), PhantomData)
    }

    /// The id of these 128 bits.
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid, PhantomData)
    }

    /// Its 128 bits.
    pub fn uuid(self) -> Uuid {
        self.0
    }

    /// The 26 characters after the prefix.
    pub fn bare(self) -> String {
        base32::encode(*self.0.as_bytes())
    }
}

impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(K::PREFIX)?;
        f.write_str("_")?;
        // The letters are ASCII.
        f.write_str(std::str::from_utf8(&base32::letters(*self.0.as_bytes())).unwrap_or_default())
    }
}

impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not an id of the kind that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id: one reads {0}_ and 26 characters")]
pub struct NotAnId(pub &'static str);

impl<K: Kind> FromStr for Id<K> {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        text.strip_prefix(K::PREFIX)
            .and_then(|rest| rest.strip_prefix('_'))
            .and_then(base32::decode)
            .map(|bytes| Self::from_uuid(Uuid::from_bytes(bytes)))
            .ok_or(NotAnId(K::PREFIX))
    }
}

impl<K: Kind> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, K: Kind> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Id<K> {}

impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<K> Eq for Id<K> {}

impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl<K> hash::Hash for Id<K> {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $alias:ident $kind:ident $prefix:literal;)*) => {
        /// The kinds of ids.
        pub mod kind {
            $($(#[$doc])* pub enum $kind {}
            impl super::Kind for $kind {
                const PREFIX: &'static str = $prefix;
            })*
        }
        $($(#[$doc])* pub type $alias = Id<kind::$kind>;)*
    };
}

ids! {
    /// A tenant.
    TenantId Tenant "ten";
    /// A user of a tenant.
    UserId User "usr";
    /// A session of a user or of a recipient.
    SessionId Session "ses";
    /// An API key.
    KeyId Key "key";
    /// One secret of an API key.
    SecretId Secret "sec";
    /// An envelope.
    EnvelopeId Envelope "env";
    /// A recipient of an envelope.
    RecipientId Recipient "rec";
    /// A field of an envelope or template.
    FieldId Field "fld";
    /// A document.
    DocumentId Document "doc";
    /// A recipient's signing link.
    LinkId Link "lnk";
    /// A template.
    TemplateId Template "tpl";
    /// A batch.
    BatchId Batch "bat";
    /// An event.
    EventId Event "evt";
    /// An asset.
    AssetId Asset "ast";
    /// A job.
    JobId Job "job";
    /// A mail in the outbox.
    MailId Mail "mal";
    /// A mail to a user.
    NoticeId Notice "ntc";
    /// An entry of the audit log.
    AuditId Audit "aud";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_another_kind_is_refused() {
        let key = KeyId::from_uuid(Uuid::from_u128(7));
        assert_eq!(key.to_string().parse::<KeyId>(), Ok(key));
        assert_eq!(key.to_string().parse::<UserId>(), Err(NotAnId("usr")));
        assert_eq!("key_".parse::<KeyId>(), Err(NotAnId("key")));
        assert_eq!("key".parse::<KeyId>(), Err(NotAnId("key")));
    }
}
