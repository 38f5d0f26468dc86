//! Secrets in wrong places, as refusals show them: noted in memory for whoever tells of them, never in a request's way.
//!
//! Whether a secret is right is known where the gate has compared it. A key that came over plain HTTP or in a URL was not
//! looked up: a stranger could make the server ask its database for every key that he invents. Such keys wait in a room of
//! their own, which is small, and are compared together when they are fetched.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::exposure::How;
use model::{KeyId, Timestamp};
use secret::{Digest, SecretKey};
use tokio::sync::Notify;

/// Secrets that are held at most in each room; what goes beyond is not noted. One is about 150 bytes.
const SECRETS_MAX: usize = 10_000;

/// A secret that was seen where it must not be.
#[derive(Clone, Debug, PartialEq)]
pub struct Exposed {
    /// Whose it says it is.
    pub key: KeyId,
    /// Its digest: whoever tells of it compares it.
    pub digest: Digest,
    /// How it was seen.
    pub how: How,
    /// From where last.
    pub address: IpAddr,
    /// When first.
    pub first_at: Timestamp,
    /// When last.
    pub last_at: Timestamp,
    /// How often.
    pub count: u64,
    /// Whether somebody has compared it: only then it is known to be a key's.
    pub is_proved: bool,
}

impl Exposed {
    /// Seen once, as a secret that the gate has compared.
    pub(crate) fn once(key: KeyId, digest: Digest, how: How, address: IpAddr, at: Timestamp) -> Self {
        Self { key, digest, how, address, first_at: at, last_at: at, count: 1, is_proved: true }
    }

    /// A key as it was found in a request; `is_proved` where it is remembered as a right one.
    pub(crate) fn found(key: &SecretKey, how: How, address: IpAddr, at: Timestamp, is_proved: bool) -> Self {
        Self { is_proved, ..Self::once(KeyId::from_uuid(key.id()), key.digest(), how, address, at) }
    }
}

/// A secret and how it was seen.
type Which = (KeyId, [u8; 32], How);

/// What is not told yet.
#[derive(Default)]
pub(crate) struct Exposures {
    rooms: Mutex<Rooms>,
    pub(crate) news: Notify,
}

#[derive(Default)]
struct Rooms {
    proved: HashMap<Which, Exposed>,
    unproved: HashMap<Which, Exposed>,
}

impl Exposures {
    /// A secret was seen.
    pub(crate) fn note(&self, seen: Exposed) {
        if self.rooms().add(seen) {
            self.news.notify_one();
        }
    }

    /// Everything; nothing is left.
    pub(crate) fn take(&self) -> Vec<Exposed> {
        let Rooms { proved, unproved } = std::mem::take(&mut *self.rooms());
        proved.into_values().chain(unproved.into_values()).collect()
    }

    /// What could not be told is kept for another time.
    pub(crate) fn give_back(&self, seen: Vec<Exposed>) {
        let mut rooms = self.rooms();
        for one in seen {
            rooms.add(one);
        }
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        // A panic elsewhere leaves notes, and those stay right.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rooms {
    /// Whether it is new, and there was room.
    fn add(&mut self, seen: Exposed) -> bool {
        let room = if seen.is_proved { &mut self.proved } else { &mut self.unproved };
        let which = (seen.key, seen.digest.0, seen.how);
        if let Some(before) = room.get_mut(&which) {
            before.count += seen.count;
            before.first_at = before.first_at.min(seen.first_at);
            if seen.last_at >= before.last_at {
                (before.last_at, before.address) = (seen.last_at, seen.address);
            }
            return false;
        }
        let has_room = room.len() < SECRETS_MAX;
        if has_room {
            room.insert(which, seen);
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn seen(number: u128, how: How, ms: i64, is_proved: bool) -> Exposed {
        let mut digest = [0; 32];
        digest[..16].copy_from_slice(&number.to_be_bytes());
        let key = KeyId::from_uuid(Uuid::from_u128(number));
        let seen = Exposed::once(key, Digest(digest), how, IpAddr::from([192, 0, 2, 1]), Timestamp::from_millis(ms));
        Exposed { is_proved, ..seen }
    }

    #[test]
    fn the_same_is_counted_and_what_strangers_invent_takes_no_room_from_the_right() {
        let exposures = Exposures::default();
        exposures.note(seen(1, How::InUrl, 5, false));
        exposures.note(seen(1, How::InUrl, 3, false));
        exposures.note(seen(1, How::PlainHttp, 4, false));
        for number in 0..2 * SECRETS_MAX as u128 {
            exposures.note(seen(number + 10, How::InUrl, 1, false));
        }
        exposures.note(seen(2, How::AfterRevocation, 6, true));
        let all = exposures.take();
        assert_eq!(all.len(), SECRETS_MAX + 1);
        let first = all
            .iter()
            .find(|one| one.key == seen(1, How::InUrl, 0, false).key && one.how == How::InUrl)
            .expect("noted");
        assert_eq!((first.count, first.first_at.millis(), first.last_at.millis()), (2, 3, 5));
        assert!(all.iter().any(|one| one.how == How::AfterRevocation));
        assert!(exposures.take().is_empty());
        exposures.give_back(all);
        for number in 0..2 {
            exposures.note(seen(number + 3, How::AfterRotation, 7, true));
        }
        assert_eq!(
            exposures.take().iter().filter(|one| one.is_proved).count(),
            3,
            "what came back takes no room either"
        );
    }
}
