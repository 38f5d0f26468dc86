//! The secret key's type: it can be exposed on purpose only.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{Environment, base32, base62};

/// One regular expression finds every key; the checksum decides (see [`SecretKey::parse`]). Its group captures nothing:
/// scanners take a first group for the secret.
pub const PATTERN: &str = "iusk_(?:dev|stg|prod)_[0-9a-hjkmnp-tv-z]{26}_[0-9A-Za-z]{49}";

/// Characters of the longest key, `iusk_prod_…`.
pub const SECRET_KEY_CHARS_MAX: usize = 5 + 5 + base32::ID_CHARS + 1 + SECRET_AND_CHECK_CHARS;

/// Characters of the shortest key, `iusk_dev_…`.
pub(crate) const SECRET_KEY_CHARS_MIN: usize = SECRET_KEY_CHARS_MAX - 1;

const SECRET_AND_CHECK_CHARS: usize = base62::BITS_256_CHARS + base62::BITS_32_CHARS;

/// A well-formed secret key. It has no `Display` and no `Serialize`, its `Debug` is masked, and its memory is wiped.
#[derive(Clone)]
pub struct SecretKey {
    text: Zeroizing<String>,
    environment: Environment,
    id: Uuid,
}

/// The text is not a secret key. It says which part is wrong and never repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It does not begin with `iusk_dev_`, `iusk_stg_` or `iusk_prod_`.
    #[error("a secret key begins with iusk_dev_, iusk_stg_ or iusk_prod_")]
    Prefix,
    /// It is too short or too long.
    #[error(
        "the secret key is cut off or has something added: it has 85 or 86 characters, iusk_prod_ being the longer"
    )]
    Length,
    /// A character that cannot stand where it stands.
    #[error("the secret key has a character that cannot stand there")]
    Character,
    /// The checksum does not match: most likely a typing or copying error.
    #[error("the secret key's checksum does not match: a character was changed or swapped")]
    Checksum,
}

impl SecretKey {
    /// Makes the key `id` of `environment` from 256 random bits.
    pub fn generate(environment: Environment, id: Uuid, random: [u8; 32]) -> Self {
        let head = format!(
            "iusk_{}_{}_{}",
            environment.short(),
            base32::encode(*id.as_bytes()),
            Zeroizing::new(base62::encode_256(random)).as_str()
        );
        let check = base62::encode_32(crc32fast::hash(head.as_bytes()));
        let head = Zeroizing::new(head);
        let mut text = Zeroizing::new(String::with_capacity(SECRET_KEY_CHARS_MAX));
        text.push_str(&head);
        text.extend(check.map(char::from));
        Self { text, environment, id }
    }

    /// Reads a key, exactly: no white space, no other case.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let rest = text.strip_prefix("iusk_").ok_or(Malformed::Prefix)?;
        let (environment, rest) = Environment::ALL
            .into_iter()
            .find_map(|e| Some((e, rest.strip_prefix(e.short())?.strip_prefix('_')?)))
            .ok_or(Malformed::Prefix)?;
        if !text.is_ascii() {
            return Err(Malformed::Character);
        }
        if rest.len() != base32::ID_CHARS + 1 + SECRET_AND_CHECK_CHARS {
            return Err(Malformed::Length);
        }
        let (id, rest) = rest.split_at(base32::ID_CHARS);
        let id = Uuid::from_bytes(base32::decode(id).ok_or(Malformed::Character)?);
        let rest = rest.strip_prefix('_').ok_or(Malformed::Character)?;
        if !base62::is_256(&rest[..base62::BITS_256_CHARS]) || !rest.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Malformed::Character);
        }
        let (head, check) = text.split_at(text.len() - base62::BITS_32_CHARS);
        if base62::encode_32(crc32fast::hash(head.as_bytes())) != check.as_bytes() {
            return Err(Malformed::Checksum);
        }
        Ok(Self { text: Zeroizing::new(text.to_owned()), environment, id })
    }

    /// The environment it opens.
    pub fn environment(&self) -> Environment {
        self.environment
    }

    /// The public id of the key that it is a secret of.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The last 4 characters, for display. They are checksum characters: two keys may share them.
    pub fn last4(&self) -> &str {
        &self.text[self.text.len() - 4..]
    }

    /// What is stored: SHA-256 of the whole text (256 random bits need no slow hash).
    pub fn digest(&self) -> Digest {
        Digest(Sha256::digest(self.text.as_bytes()).into())
    }

    /// `iusk_prod_…x7Qf`.
    pub fn masked(&self) -> String {
        format!("iusk_{}_…{}", self.environment.short(), self.last4())
    }

    /// The secret in clear. Whoever calls this is responsible for where it goes.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.masked())
    }
}

/// The digest of a secret key, compared in constant time.
#[derive(Clone, Copy, Eq)]
pub struct Digest(pub [u8; 32]);

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::find;
    use proptest::prelude::*;

    const ID: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);

    /// The published vectors: docs/reference/secret-keys.md prints the same.
    #[test]
    fn the_published_vectors_hold() {
        for (environment, random, text) in [
            (
                Environment::Development,
                [0x00; 32],
                "iusk_dev_01j0000000e008000000000001_00000000000000000000000000000000000000000001Eoj5w",
            ),
            (
                Environment::Staging,
                [0x5a; 32],
                "iusk_stg_01j0000000e008000000000001_LQNUGZHT5u543eF8cvF8tKdPlcVkNSYQAq1KIqZ6f743WZWje",
            ),
            (
                Environment::Production,
                [0xff; 32],
                "iusk_prod_01j0000000e008000000000001_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp13nXMg8",
            ),
        ] {
            let key = SecretKey::generate(environment, ID, random);
            assert_eq!(key.expose(), text);
            assert_eq!(SecretKey::parse(text).map(|key| (key.environment(), key.id())), Ok((environment, ID)));
        }
    }

    proptest! {
        #[test]
        fn a_generated_key_is_parsed_and_found(random: [u8; 32], id: u128, before in "[a-z_]{0,9}") {
            for environment in Environment::ALL {
                let key = SecretKey::generate(environment, Uuid::from_u128(id), random);
                let parsed = SecretKey::parse(key.expose()).expect("it was generated");
                prop_assert_eq!(parsed.digest(), key.digest());
                let text = format!("{before}{}{before}", key.expose());
                let found = find(text.as_bytes());
                prop_assert_eq!(found.len(), 1);
                prop_assert_eq!(found[0].0, before.len());
            }
        }

        #[test]
        fn one_changed_character_is_malformed(random: [u8; 32], place in 0_usize..85, letter in "[0-9A-Za-z]") {
            let key = SecretKey::generate(Environment::Development, ID, random);
            let mut text = key.expose().to_owned();
            if text[place..=place] != letter {
                text.replace_range(place..=place, &letter);
                prop_assert!(SecretKey::parse(&text).is_err());
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,100}", bytes: Vec<u8>) {
            let _ = SecretKey::parse(&text);
            let _ = SecretKey::parse(&format!("iusk_dev_{text}"));
            let _ = find(&bytes);
        }
    }

    #[test]
    fn its_debug_is_masked() {
        let key = SecretKey::generate(Environment::Production, ID, [7; 32]);
        assert_eq!(format!("{key:?}"), format!("SecretKey(iusk_prod_…{})", key.last4()));
    }
}
