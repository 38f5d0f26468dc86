//! Row 9: how much a key and a tenant may ask, by GCRA in one atomic number each. Per node.
//!
//! GCRA keeps the moment at which the bucket would be full again. It needs no timer, no queue and no lock: a request
//! moves that moment one interval on, and is refused where it would lie further ahead than the burst allows.

use model::Timestamp;
use std::sync::atomic::{AtomicI64, Ordering};

const NANOSECONDS_PER_MS: i64 = 1_000_000;
const NANOSECONDS_PER_MINUTE: i64 = 60_000_000_000;

/// So many a minute, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_minute: u32,
    /// At one moment, after a silence.
    pub burst: u32,
}

/// What is left, for the `RateLimit` headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// The burst.
    pub limit: u32,
    /// Requests that would pass now.
    pub remaining: u32,
    /// Seconds until `limit` would pass again.
    pub reset_s: u32,
}

/// What is left of all limits that a request counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Of the key's.
    pub key: Allowance,
    /// Of the tenant's.
    pub tenant: Allowance,
}

impl Rate {
    fn interval_ns(self) -> i64 {
        NANOSECONDS_PER_MINUTE / i64::from(self.per_minute.max(1))
    }

    fn window_ns(self) -> i64 {
        self.interval_ns().saturating_mul(i64::from(self.burst.max(1)))
    }
}

/// One bucket.
#[derive(Debug, Default)]
pub struct Bucket {
    full_at_ns: AtomicI64,
}

impl Bucket {
    /// Take one; or the seconds to wait.
    pub fn take(&self, rate: Rate, now: Timestamp) -> Result<Allowance, u32> {
        let now_ns = now.millis().saturating_mul(NANOSECONDS_PER_MS);
        let (interval, window) = (rate.interval_ns(), rate.window_ns());
        let mut full_at = self.full_at_ns.load(Ordering::Relaxed);
        loop {
            // Further ahead than the window is only what a clock that was set back left behind.
            let from = if full_at > now_ns.saturating_add(window) { now_ns } else { full_at.max(now_ns) };
            let next = from.saturating_add(interval);
            let ahead = next - now_ns;
            if ahead > window {
                return Err(seconds(ahead - window));
            }
            match self.full_at_ns.compare_exchange_weak(full_at, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    let remaining = u32::try_from((window - ahead) / interval).unwrap_or(u32::MAX);
                    return Ok(Allowance { limit: rate.burst, remaining, reset_s: seconds(ahead) });
                }
                Err(seen) => full_at = seen,
            }
        }
    }
}

impl Bucket {
    /// Gives back what was taken for a request that another limit refused.
    pub fn give_back(&self, rate: Rate) {
        self.full_at_ns.fetch_sub(rate.interval_ns(), Ordering::Relaxed);
    }

    /// What is left, without taking any.
    pub fn look(&self, rate: Rate, now: Timestamp) -> Allowance {
        let now_ns = now.millis().saturating_mul(NANOSECONDS_PER_MS);
        let (interval, window) = (rate.interval_ns(), rate.window_ns());
        let ahead = self.full_at_ns.load(Ordering::Relaxed).saturating_sub(now_ns);
        let ahead = if ahead > window { 0 } else { ahead.max(0) };
        let remaining = u32::try_from((window - ahead) / interval).unwrap_or(u32::MAX);
        Allowance { limit: rate.burst, remaining, reset_s: seconds(ahead) }
    }
}

/// Rounded up: who waits that long is let in.
fn seconds(nanoseconds: i64) -> u32 {
    u32::try_from(nanoseconds.max(0) / 1_000_000_000).unwrap_or(u32::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + ms)
    }

    #[test]
    fn a_burst_passes_then_the_rate() {
        let (bucket, rate) = (Bucket::default(), Rate { per_minute: 60, burst: 3 });
        let first = bucket.take(rate, at(0));
        assert_eq!(first, Ok(Allowance { limit: 3, remaining: 2, reset_s: 2 }));
        assert!(bucket.take(rate, at(0)).is_ok() && bucket.take(rate, at(0)).is_ok());
        assert_eq!(bucket.take(rate, at(0)), Err(2));
        assert_eq!(bucket.look(rate, at(0)), Allowance { limit: 3, remaining: 0, reset_s: 4 });
        assert_eq!(bucket.look(rate, at(60_000)).remaining, 3);
        assert_eq!(bucket.take(rate, at(999)), Err(1));
        assert!(bucket.take(rate, at(1_000)).is_ok());
        assert!(bucket.take(rate, at(1_000)).is_err());
    }

    #[test]
    fn a_clock_set_back_locks_nobody_out() {
        let (bucket, rate) = (Bucket::default(), Rate { per_minute: 60, burst: 3 });
        assert!(bucket.take(rate, at(3_600_000)).is_ok());
        assert!(bucket.take(rate, at(0)).is_ok());
    }

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate_allow(steps in proptest::collection::vec(0_i64..400, 1..300)) {
            let (bucket, rate) = (Bucket::default(), Rate { per_minute: 600, burst: 5 });
            let (mut now, mut passed) = (0, 0_i64);
            for step in steps {
                now += step;
                passed += i64::from(bucket.take(rate, at(now)).is_ok());
                prop_assert!(passed <= 5 + now / 100);
            }
        }
    }

    #[test]
    fn what_was_given_back_is_there_again() {
        let (bucket, rate) = (Bucket::default(), Rate { per_minute: 60, burst: 2 });
        let now = Timestamp::from_millis(1_800_000_000_000);
        for _ in 0..5 {
            assert_eq!(bucket.take(rate, now).map(|left| left.remaining), Ok(1));
            bucket.give_back(rate);
        }
    }
}
