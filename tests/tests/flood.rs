//! A flood of well-formed keys that nobody has: a good key is never refused, from the same address or another.

use std::sync::atomic::{AtomicU64, Ordering};

use model::{Environment, KeyId, Random, Timestamp};
use secret::SecretKey;
use tests::{Api, Server, both_engines};

both_engines! {
    a_flood_of_unknown_keys_shuts_no_good_key_out
}

/// Unknown keys of the flood, and how many are on their way at a time.
const UNKNOWN: u64 = 3_000;
const AT_A_TIME: u64 = 16;
/// Requests of each good key meanwhile.
const GOOD: u32 = 300;

struct Counting(AtomicU64);

impl Random for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let number = self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        for (at, byte) in bytes.iter_mut().rev().enumerate() {
            *byte = number[7 - at % 8];
        }
    }
}

/// A key as it might be: of the right form, with the right checksum, and nobody's.
fn unknown(number: u64) -> String {
    let random = Counting(AtomicU64::new(number + 1));
    let id = KeyId::new(Timestamp::from_millis(1_700_000_000_000), &random);
    SecretKey::generate(Environment::Development, id.uuid(), [7; 32]).expose().to_owned()
}

/// Whether the address was told to wait.
async fn flood(stranger: Api, from: u64) -> bool {
    let (mut number, mut waits) = (from, false);
    while number < UNKNOWN {
        let answer = stranger.with("authorization", &format!("Bearer {}", unknown(number))).get("/v1/me").await;
        assert!(matches!(answer.status, 401 | 429), "{}: {}", answer.status, answer.text());
        waits |= answer.status == 429;
        number += AT_A_TIME;
    }
    waits
}

async fn good(api: Api) -> bool {
    for _ in 0..GOOD {
        let answer = api.get("/v1/me").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    false
}

async fn a_flood_of_unknown_keys_shuts_no_good_key_out(server: Server) {
    let same = server.stranger_from(5);
    let bearer = format!("Bearer {}", server.key);
    let behind = same.with("authorization", &bearer);
    assert_eq!(behind.get("/v1/me").await.status, 200);
    let mut all = tokio::task::JoinSet::new();
    for from in 0..AT_A_TIME {
        all.spawn(flood(same.clone(), from));
    }
    all.spawn(good(behind));
    all.spawn(good(server.api()));
    let mut waits = false;
    while let Some(ended) = all.join_next().await {
        waits |= ended.expect("as it should be");
    }
    assert!(waits, "the address that floods is never told to wait");
    // Nobody's failures are anybody's use, and a stranger gets no rows.
    let rows = server.sql("SELECT count(*) FROM (SELECT DISTINCT key_id FROM key_calls) AS keys");
    assert!(rows[0].parse::<u32>().is_ok_and(|rows| rows <= 1), "{rows:?}");
}
