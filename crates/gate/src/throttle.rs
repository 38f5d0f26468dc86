//! Row 0: an address that guesses too often waits. Bounded memory; an IPv6 customer counts as one address.
//!
//! Only what may be guessing counts: malformed and unknown keys. A right secret that is dead does not, so that a
//! forgotten job with a revoked key can't shut out the others behind its address.

use model::Timestamp;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Addresses that are remembered, over all shards.
const ADDRESSES_MAX: usize = 65_536;
const SHARDS: usize = 64;

/// How many failures an address may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Failures in a row that are borne.
    pub failures: u32,
    /// How long one of them counts.
    pub forget_ms: i64,
}

/// The addresses that failed lately.
pub(crate) struct Throttle {
    patience: Patience,
    // For each address the moment at which all its failures are forgotten.
    shards: Vec<Mutex<HashMap<IpAddr, Timestamp>>>,
}

impl Throttle {
    pub(crate) fn new(patience: Patience) -> Throttle {
        Throttle { patience, shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    /// The seconds that this address has to wait, if it has to.
    pub(crate) fn wait_s(&self, address: IpAddr, now: Timestamp) -> Option<u32> {
        let forgotten_at = *self.shard(block(address)).get(&block(address))?;
        // Further ahead than the bearable is only what a clock that was set back left behind.
        if forgotten_at.millis() - now.millis() > self.bearable_ms() {
            return None;
        }
        let wait_ms = forgotten_at.millis() - now.millis() - self.bearable_ms() + self.patience.forget_ms;
        (wait_ms > 0).then(|| u32::try_from(wait_ms / 1_000).unwrap_or(u32::MAX).saturating_add(1))
    }

    /// This address failed.
    pub(crate) fn failed(&self, address: IpAddr, now: Timestamp) {
        let address = block(address);
        let mut shard = self.shard(address);
        if shard.len() >= ADDRESSES_MAX / SHARDS && !shard.contains_key(&address) {
            make_room(&mut shard, now);
        }
        let forgotten_at = shard.entry(address).or_insert(now);
        // Never further ahead than the bearable: who goes on failing while shut out waits no longer for it.
        let next = (*forgotten_at).max(now).plus(self.patience.forget_ms);
        *forgotten_at = next.min(now.plus(self.bearable_ms()));
    }

    fn bearable_ms(&self) -> i64 {
        self.patience.forget_ms.saturating_mul(i64::from(self.patience.failures.max(1)))
    }

    fn shard(&self, address: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, Timestamp>> {
        let number = match address {
            IpAddr::V4(v4) => usize::from(v4.octets()[3]),
            IpAddr::V6(v6) => usize::from(v6.octets()[7]),
        };
        // A panic elsewhere leaves counts, and those stay right.
        self.shards[number % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forget what is over; failing that, the half that is over first. Half at once, so that a flood of addresses doesn't
/// search the shard at each of them.
fn make_room(shard: &mut HashMap<IpAddr, Timestamp>, now: Timestamp) {
    shard.retain(|_, forgotten_at| *forgotten_at > now);
    if shard.len() >= ADDRESSES_MAX / SHARDS {
        let mut ends: Vec<Timestamp> = shard.values().copied().collect();
        let middle = ends.len() / 2;
        let median = *ends.select_nth_unstable(middle).1;
        let mut surplus = middle;
        shard.retain(|_, forgotten_at| {
            let goes = *forgotten_at <= median && surplus > 0;
            surplus -= usize::from(goes);
            !goes
        });
    }
}

/// One customer: an IPv4 address, or the /64 of an IPv6 address.
fn block(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { failures: 3, forget_ms: 1_000 };

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + ms)
    }

    #[test]
    fn who_fails_too_often_waits_and_is_let_in_again() {
        let throttle = Throttle::new(PATIENCE);
        let address = IpAddr::from([192, 0, 2, 1]);
        for _ in 0..2 {
            throttle.failed(address, at(0));
            assert_eq!(throttle.wait_s(address, at(0)), None);
        }
        throttle.failed(address, at(0));
        assert_eq!(throttle.wait_s(address, at(0)), Some(2));
        assert_eq!(throttle.wait_s(IpAddr::from([192, 0, 2, 2]), at(0)), None);
        for _ in 0..100 {
            throttle.failed(address, at(0));
        }
        assert_eq!(throttle.wait_s(address, at(999)), Some(1));
        assert_eq!(throttle.wait_s(address, at(1_000)), None);
    }

    #[test]
    fn a_clock_set_back_shuts_nobody_out() {
        let throttle = Throttle::new(PATIENCE);
        let address = IpAddr::from([192, 0, 2, 1]);
        for _ in 0..3 {
            throttle.failed(address, at(3_600_000));
        }
        assert!(throttle.wait_s(address, at(3_600_000)).is_some());
        assert_eq!(throttle.wait_s(address, at(0)), None);
        for _ in 0..3 {
            throttle.failed(address, at(0));
        }
        assert!(throttle.wait_s(address, at(0)).is_some());
    }

    #[test]
    fn an_ipv6_customer_is_one_and_memory_is_bounded() {
        let throttle = Throttle::new(PATIENCE);
        for i in 0..3_u16 {
            throttle.failed(IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, i]), at(0));
        }
        assert!(throttle.wait_s(IpAddr::from([0x2001, 0xdb8, 0, 1, 9, 9, 9, 9]), at(0)).is_some());
        assert!(throttle.wait_s(IpAddr::from([0x2001, 0xdb8, 0, 2, 0, 0, 0, 0]), at(0)).is_none());
        for i in 0..200_000_u32 {
            throttle.failed(IpAddr::from(i.to_be_bytes()), at(i64::from(i / 1_000)));
        }
        let held: usize = throttle.shards.iter().map(|shard| shard.lock().expect("held").len()).sum();
        assert!(held <= ADDRESSES_MAX, "{held}");
    }
}
