//! A recipient's signing link and a user's invitation: which one it is, and the token that only this server can have made.
//!
//! The token is HMAC-SHA-256(master key, id ‖ generation). It is computed again whenever a mail goes out, so no row,
//! outbox or backup holds it; a new generation ends every link of the old one.

use std::fmt;

use hmac::{Hmac, Mac};
use secret::{base32, base62};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::id::{Id, Kind, kind};

/// Characters of a link's text: the bare id, a hyphen, 256 bits.
pub const LINK_CHARS: usize = base32::ID_CHARS + 1 + base62::BITS_256_CHARS;

/// A signing link.
pub type Link = LinkOf<kind::Link>;
/// The link that a user joins a tenant by: named by the user's own id.
pub type Invitation = LinkOf<kind::User>;

/// A link. Its text is a credential: it has no Display, and Debug hides the token.
pub struct LinkOf<K> {
    id: Id<K>,
    token: [u8; 32],
}

impl<K: Kind> LinkOf<K> {
    /// The link of this id and generation.
    pub fn make(master: &[u8; 32], id: Id<K>, generation: i64) -> Self {
        Self { id, token: token(master, id, generation) }
    }

    /// Reads the text in a URL, exactly as [`expose`](Self::expose) wrote it; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != LINK_CHARS {
            return None;
        }
        let (id, token) = text.split_once('-')?;
        let id = Id::from_uuid(Uuid::from_bytes(base32::decode(id)?));
        Some(Self { id, token: base62::decode_256(token)? })
    }

    /// Which link it says it is. Nothing is proven before [`is_of`](Self::is_of).
    pub fn id(&self) -> Id<K> {
        self.id
    }

    /// Whether this server made it, for this generation. Takes the same time for any wrong token.
    pub fn is_of(&self, master: &[u8; 32], generation: i64) -> bool {
        token(master, self.id, generation).ct_eq(&self.token).into()
    }

    /// Its text, for the one mail or page that it is meant for. Never for a log.
    pub fn expose(&self) -> String {
        format!("{}-{}", self.id.bare(), base62::encode_256(self.token))
    }
}

impl<K> Clone for LinkOf<K> {
    fn clone(&self) -> Self {
        Self { id: self.id, token: self.token }
    }
}

impl<K: Kind> fmt::Debug for LinkOf<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({}, hidden)", self.id)
    }
}

/// The id goes in as its text, `lnk_…` or `usr_…`: of fixed length, and what no other use of the master key begins with.
fn token<K: Kind>(master: &[u8; 32], id: Id<K>, generation: i64) -> [u8; 32] {
    // RFC 2104 takes a key of any length, so this can't fail; a token of zeros from a fault would be a way in, hence expect.
    let mut mac = Hmac::<Sha256>::new_from_slice(master).expect("HMAC takes a key of 32 bytes");
    mac.update(id.to_string().as_bytes());
    mac.update(&generation.to_be_bytes());
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LinkId, UserId};
    use proptest::prelude::*;

    const MASTER: [u8; 32] = [7; 32];

    fn link() -> Link {
        Link::make(&MASTER, LinkId::from_uuid(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001)), 1)
    }

    #[test]
    fn a_link_is_read_back_and_proves_its_generation_alone() {
        let text = link().expose();
        assert_eq!(text.len(), 70);
        let read = Link::parse(&text).expect("its own text");
        assert_eq!(read.id(), link().id());
        assert!(read.is_of(&MASTER, 1));
        assert!(!read.is_of(&MASTER, 2));
        assert!(!read.is_of(&[8; 32], 1));
    }

    #[test]
    fn a_link_of_another_id_or_with_one_letter_changed_is_not_ours() {
        let text = link().expose();
        let other = Link::make(&MASTER, LinkId::from_uuid(Uuid::from_u128(2)), 1).expose();
        let mixed = format!("{}{}", &other[..27], &text[27..]);
        assert!(!Link::parse(&mixed).expect("well formed").is_of(&MASTER, 1));
        let letter = if text.ends_with('a') { "b" } else { "a" };
        let changed = format!("{}{letter}", &text[..69]);
        assert!(!Link::parse(&changed).expect("well formed").is_of(&MASTER, 1));
    }

    #[test]
    fn a_link_of_one_kind_is_none_of_another() {
        let text = link().expose();
        let invitation = Invitation::parse(&text).expect("well formed");
        assert!(!invitation.is_of(&MASTER, 1));
        let id = UserId::from_uuid(link().id().uuid());
        assert!(Invitation::parse(&Invitation::make(&MASTER, id, 1).expose()).expect("its own").is_of(&MASTER, 1));
    }

    #[test]
    fn debug_shows_no_token() {
        let debug = format!("{:?}", link());
        assert!(debug.starts_with("Link(lnk_") && debug.ends_with(", hidden)"));
        assert!(!debug.contains(&link().expose()[27..]));
    }

    proptest! {
        #[test]
        fn nothing_else_is_read(text in "\\PC{0,80}") {
            if let Some(link) = Link::parse(&text) {
                prop_assert_eq!(link.expose(), text);
            }
        }
    }
}
