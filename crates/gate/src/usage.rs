//! What keys are used for, noted in memory and written every 10 s and at shutdown.
//!
//! Every request with a right secret counts, also one that is refused. Never in a request's way: a note takes a lock for
//! some hundred nanoseconds, a failure to write fails no request, and what could not be written is tried again. A crash
//! loses at most what the last 10 s brought.

use foldhash::HashMap;
use model::{Code, KeyId, SecretId, Timestamp, time::HOUR_MS};
use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::usage::{self, Calls, LastPass, LastUse, Notes, Refusal, Seen};
use store::{Db, StoreError};
use tokio::sync::OnceCell;

/// How often notes are written.
pub(crate) const WRITE_EVERY_S: u64 = 10;
/// How long a note may take from the read that admitted its request: what a node says to have written is so much older.
const NOTE_MS_MAX: i64 = 1_000;
/// Keys whose notes one transaction writes.
const KEYS_PER_WRITE: usize = 2_000;
const SHARDS: usize = 16;
/// What is held between two writes at most, over all shards; what goes beyond is not noted. Together at most some 80 MB.
const KEYS_MAX: usize = 100_000;
const CALLS_MAX: usize = 200_000;
const ADDRESSES_MAX: usize = 100_000;
const REFUSALS_MAX: usize = 20_000;
/// Of one key: as many as are kept, so that one that is refused all the time doesn't push out the others.
const KEY_REFUSALS_MAX: usize = usage::REFUSALS_MAX as usize;
const KEY_ADDRESSES_MAX: usize = usage::ADDRESSES_MAX as usize;
/// A request that was never answered: the caller went away before. As nginx has it.
const NOT_ANSWERED: u16 = 499;
/// A request whose handler broke.
const BROKEN: u16 = 500;

/// A request whose secret was right.
#[derive(Clone, Copy)]
pub(crate) struct Visit<'a> {
    pub(crate) key: KeyId,
    pub(crate) address: IpAddr,
    pub(crate) user_agent: &'a str,
    pub(crate) route: &'static str,
    pub(crate) request_id: &'a str,
    /// The database's time when it was decided about.
    pub(crate) at: Timestamp,
}

/// What is noted of one key.
#[derive(Default)]
struct Noted {
    uses: Vec<LastUse>,
    passed: Option<LastPass>,
    calls: HashMap<(Timestamp, &'static str, u16), u64>,
    addresses: HashMap<IpAddr, Seen>,
    refusals: VecDeque<Refusal>,
}

/// Some of the keys, and how much is held of them.
#[derive(Default)]
struct Shard {
    keys: HashMap<KeyId, Noted>,
    calls: usize,
    addresses: usize,
    refusals: usize,
}

/// The notes that are not written yet.
#[derive(Default)]
pub(crate) struct Usage {
    shards: [Mutex<Shard>; SHARDS],
    node: OnceCell<String>,
    writing: tokio::sync::Mutex<()>,
}

impl Usage {
    /// A request with this secret passed, or was refused for this reason.
    pub(crate) fn used(&self, visit: &Visit<'_>, secret: SecretId, refused: Option<Code>) {
        let mut shard = self.shard(visit.key);
        let Some(noted) = shard.key(visit.key) else { return };
        note_use(&mut noted.uses, visit, secret);
        match refused {
            None => note_pass(&mut noted.passed, visit),
            Some(code) => {
                shard.refusal(visit, code, true);
                shard.call(visit.key, visit.at, visit.route, code.status());
            }
        }
        shard.address(visit.key, visit.address, visit.at);
    }

    /// A request with a secret of no use any more was refused.
    pub(crate) fn refused(&self, visit: &Visit<'_>, code: Code) {
        let mut shard = self.shard(visit.key);
        shard.refusal(visit, code, true);
        shard.call(visit.key, visit.at, visit.route, code.status());
        shard.address(visit.key, visit.address, visit.at);
    }

    /// A stream or long poll was cut off: its request was let in, and counts by its answer.
    pub(crate) fn cut(&self, visit: &Visit<'_>, code: Code) {
        let mut shard = self.shard(visit.key);
        shard.refusal(visit, code, true);
        if let Some(cut) = shard.keys.get_mut(&visit.key).and_then(|noted| noted.refusals.back_mut()) {
            cut.was_cut = true;
        }
    }

    /// A request passed that an allowlist which only observes would have refused.
    pub(crate) fn observed(&self, visit: &Visit<'_>) {
        self.shard(visit.key).refusal(visit, Code::IpNotAllowed, false);
    }

    /// The last use of this secret that is not written yet.
    pub(crate) fn last_use(&self, key: KeyId, secret: SecretId) -> Option<LastUse> {
        let shard = self.shard(key);
        shard.keys.get(&key)?.uses.iter().find(|used| used.secret == secret).cloned()
    }

    /// Writes what there is, one at a time. What could not be written is kept.
    pub(crate) async fn write(&self, db: &Db) -> Result<(), StoreError> {
        let _alone = self.writing.lock().await;
        let (until, node) = {
            let mut conn = db.ask().await?;
            let (moment, _) = store::gate::epochs(&mut conn, &[]).await?;
            let node = self.node.get_or_try_init(|| usage::node_name(&mut conn)).await?;
            (moment.time.plus(-NOTE_MS_MAX), node)
        };
        let taken = self.take();
        let mut parts = taken.chunks(KEYS_PER_WRITE).peekable();
        let mut written = 0;
        loop {
            let part = parts.next().unwrap_or_default();
            // With the last of them: one key that is used all the time costs one transaction.
            let end = parts.peek().is_none().then_some((node.as_str(), until));
            if let Err(error) = write_part(db, part, end).await {
                self.give_back(&taken[written..]);
                return Err(error);
            }
            written += part.len();
            if end.is_some() {
                return Ok(());
            }
        }
    }

    /// Waits for a write that is under way; the next begins when the guard is dropped.
    pub(crate) async fn between_writes(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.writing.lock().await
    }

    /// Says that nobody has to wait for this node any more.
    pub(crate) async fn end(&self, db: &Db) -> Result<(), StoreError> {
        let Some(node) = self.node.get() else { return Ok(()) };
        let mut tx = db.begin().await?;
        usage::node_ended(&mut tx, node).await?;
        tx.commit().await
    }

    fn take(&self) -> Vec<(KeyId, Notes)> {
        let shards = self.shards.iter().map(|shard| std::mem::take(&mut *lock(shard)));
        let mut all: Vec<_> = shards.flat_map(|shard| shard.keys).map(|(key, noted)| (key, noted.notes())).collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all
    }

    /// Notes again what could not be written, beneath what has come since.
    fn give_back(&self, notes: &[(KeyId, Notes)]) {
        for (key, notes) in notes {
            let mut shard = self.shard(*key);
            let Some(noted) = shard.key(*key) else { continue };
            for used in &notes.uses {
                if !noted.uses.iter().any(|newer| newer.secret == used.secret) {
                    noted.uses.push(used.clone());
                }
            }
            noted.passed = noted.passed.take().or_else(|| notes.passed.clone());
            shard.give_back(*key, notes);
        }
    }

    fn call(&self, key: KeyId, at: Timestamp, route: &'static str, status: u16) {
        self.shard(key).call(key, at, route, status);
    }

    fn shard(&self, key: KeyId) -> MutexGuard<'_, Shard> {
        // The last bits of a UUIDv7 are random.
        lock(&self.shards[usize::from(key.uuid().as_bytes()[15]) % SHARDS])
    }
}

/// A panic elsewhere leaves counts that are right but for one.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    fn key(&mut self, key: KeyId) -> Option<&mut Noted> {
        let is_full = self.keys.len() >= KEYS_MAX / SHARDS;
        match self.keys.entry(key) {
            Entry::Vacant(_) if is_full => None,
            entry => Some(entry.or_default()),
        }
    }

    fn call(&mut self, key: KeyId, at: Timestamp, route: &'static str, status: u16) {
        let hour = at.plus(-at.millis().rem_euclid(HOUR_MS));
        self.calls(key, (hour, route, status), 1);
    }

    fn calls(&mut self, key: KeyId, what: (Timestamp, &'static str, u16), count: u64) {
        let is_full = self.calls >= CALLS_MAX / SHARDS;
        let Some(noted) = self.key(key) else { return };
        match noted.calls.entry(what) {
            Entry::Occupied(mut calls) => *calls.get_mut() += count,
            Entry::Vacant(_) if is_full => {}
            Entry::Vacant(entry) => {
                entry.insert(count);
                self.calls += 1;
            }
        }
    }

    fn address(&mut self, key: KeyId, address: IpAddr, at: Timestamp) {
        self.seen(key, Seen { address, first_at: at, last_at: at, count: 1 });
    }

    fn seen(&mut self, key: KeyId, seen: Seen) {
        let is_full = self.addresses >= ADDRESSES_MAX / SHARDS;
        let Some(noted) = self.key(key) else { return };
        let is_full = is_full || noted.addresses.len() >= KEY_ADDRESSES_MAX;
        match noted.addresses.entry(seen.address) {
            Entry::Occupied(mut entry) => {
                let known = entry.get_mut();
                known.first_at = known.first_at.min(seen.first_at);
                known.last_at = known.last_at.max(seen.last_at);
                known.count += seen.count;
            }
            Entry::Vacant(_) if is_full => {}
            Entry::Vacant(entry) => {
                entry.insert(seen);
                self.addresses += 1;
            }
        }
    }

    fn refusal(&mut self, visit: &Visit<'_>, code: Code, was_refused: bool) {
        if let Some(refusals) = self.room(visit.key) {
            refusals.push_back(Refusal {
                at: visit.at,
                code: code.as_str().into(),
                was_refused,
                was_cut: false,
                address: visit.address,
                user_agent: visit.user_agent.to_owned(),
                route: visit.route.into(),
                request_id: visit.request_id.to_owned(),
            });
        }
    }

    /// The key's refusals, with room for one more: its oldest goes, or there is none.
    fn room(&mut self, key: KeyId) -> Option<&mut VecDeque<Refusal>> {
        let is_full = self.refusals >= REFUSALS_MAX / SHARDS;
        let noted = self.key(key)?;
        if noted.refusals.len() >= KEY_REFUSALS_MAX || (is_full && !noted.refusals.is_empty()) {
            noted.refusals.pop_front();
            return self.keys.get_mut(&key).map(|noted| &mut noted.refusals);
        }
        if is_full {
            return None;
        }
        self.refusals += 1;
        self.keys.get_mut(&key).map(|noted| &mut noted.refusals)
    }

    fn give_back(&mut self, key: KeyId, notes: &Notes) {
        for seen in &notes.addresses {
            self.seen(key, *seen);
        }
        for calls in &notes.calls {
            if let std::borrow::Cow::Borrowed(route) = calls.route {
                self.calls(key, (calls.hour, route, calls.status), calls.count);
            }
        }
        for refusal in notes.refusals.iter().rev() {
            let is_full = self.refusals >= REFUSALS_MAX / SHARDS;
            let Some(noted) = self.key(key) else { return };
            if is_full || noted.refusals.len() >= KEY_REFUSALS_MAX {
                return;
            }
            noted.refusals.push_front(refusal.clone());
            self.refusals += 1;
        }
    }
}

impl Noted {
    fn notes(self) -> Notes {
        let calls = self.calls.into_iter().map(|((hour, route, status), count)| Calls {
            hour,
            route: route.into(),
            status,
            count,
        });
        Notes {
            uses: self.uses,
            passed: self.passed,
            calls: calls.collect(),
            refusals: self.refusals.into(),
            addresses: self.addresses.into_values().collect(),
        }
    }
}

fn note_use(uses: &mut Vec<LastUse>, visit: &Visit<'_>, secret: SecretId) {
    let Some(used) = uses.iter_mut().find(|used| used.secret == secret) else {
        uses.push(LastUse {
            secret,
            key: visit.key,
            at: visit.at,
            address: visit.address,
            user_agent: visit.user_agent.to_owned(),
            route: visit.route,
        });
        return;
    };
    if used.at <= visit.at {
        (used.at, used.address, used.route) = (visit.at, visit.address, visit.route);
        if used.user_agent != visit.user_agent {
            visit.user_agent.clone_into(&mut used.user_agent);
        }
    }
}

fn note_pass(passed: &mut Option<LastPass>, visit: &Visit<'_>) {
    match passed {
        Some(last) if last.at > visit.at => {}
        Some(last) => {
            (last.at, last.address, last.route) = (visit.at, visit.address, visit.route.into());
            visit.request_id.clone_into(&mut last.request_id);
        }
        None => {
            *passed = Some(LastPass {
                at: visit.at,
                address: visit.address,
                route: visit.route.into(),
                request_id: visit.request_id.to_owned(),
            });
        }
    }
}

async fn write_part(db: &Db, part: &[(KeyId, Notes)], end: Option<(&str, Timestamp)>) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    usage::write(&mut tx, part).await?;
    if let Some((node, until)) = end {
        usage::node_written(&mut tx, node, until).await?;
    }
    tx.commit().await
}

/// A request that was let in, until its answer is known. Dropped without one it counts as what became of it: the caller
/// went away, or the handler broke.
#[must_use = "it counts when it is dropped"]
pub struct Count {
    usage: Arc<Usage>,
    key: KeyId,
    route: &'static str,
    at: Timestamp,
    status: Option<u16>,
}

impl Count {
    pub(crate) fn new(usage: Arc<Usage>, key: KeyId, route: &'static str, at: Timestamp) -> Count {
        Count { usage, key, route, at, status: None }
    }

    /// It was answered with this status.
    pub fn answered(mut self, status: u16) {
        self.status = Some(status);
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        let status = self.status.unwrap_or(if std::thread::panicking() { BROKEN } else { NOT_ANSWERED });
        self.usage.call(self.key, self.at, self.route, status);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn visit(key: u8, at: i64, address: u8) -> Visit<'static> {
        Visit {
            key: KeyId::from_uuid(Uuid::from_u128(key.into())),
            address: IpAddr::from([192, 0, 2, address]),
            user_agent: "curl/8",
            route: "GET /v1/me",
            request_id: "req_1",
            at: NOW.plus(at),
        }
    }

    fn secret() -> SecretId {
        SecretId::from_uuid(Uuid::from_u128(9))
    }

    #[test]
    fn a_request_counts_once_by_its_answer_or_by_what_became_of_it() {
        let usage = Arc::new(Usage::default());
        let begin = |at| {
            let visit = visit(1, at, 1);
            usage.used(&visit, secret(), None);
            Count::new(usage.clone(), visit.key, visit.route, visit.at)
        };
        begin(0).answered(200);
        begin(1).answered(200);
        begin(2).answered(422);
        drop(begin(3));
        let counting = begin(4);
        let broken = std::thread::spawn(move || {
            let _counting = counting;
            panic!("as a handler may");
        });
        broken.join().expect_err("it broke");
        usage.used(&visit(1, 5, 2), secret(), Some(Code::ScopeRequired));
        usage.refused(&visit(1, HOUR_MS, 1), Code::RevokedKey);
        usage.observed(&visit(1, 6, 3));
        let taken = usage.take();
        let notes = &taken[0].1;
        let mut calls: Vec<_> = notes.calls.iter().map(|calls| (calls.status, calls.count, calls.hour)).collect();
        calls.sort_unstable();
        let hour = NOW.plus(-NOW.millis().rem_euclid(HOUR_MS));
        let next = hour.plus(HOUR_MS);
        assert_eq!(
            calls,
            [(200, 2, hour), (401, 1, next), (403, 1, hour), (422, 1, hour), (499, 1, hour), (500, 1, hour)]
        );
        assert_eq!(notes.uses.iter().map(|used| used.at).collect::<Vec<_>>(), [NOW.plus(5)]);
        assert_eq!(notes.passed.as_ref().map(|passed| passed.at), Some(NOW.plus(4)));
        let refusals: Vec<_> = notes.refusals.iter().map(|one| (one.code.as_ref(), one.was_refused)).collect();
        assert_eq!(refusals, [("scope_required", true), ("revoked_key", true), ("ip_not_allowed", false)]);
        let mut seen: Vec<_> = notes.addresses.iter().map(|seen| (seen.address.to_string(), seen.count)).collect();
        seen.sort();
        assert_eq!(seen, [("192.0.2.1".to_owned(), 6), ("192.0.2.2".to_owned(), 1)]);
        assert!(usage.take().is_empty(), "it is taken once");
    }

    #[test]
    fn what_could_not_be_written_is_kept_beneath_what_came_since() {
        let usage = Usage::default();
        usage.used(&visit(1, 0, 1), secret(), None);
        usage.used(&visit(1, 1, 2), secret(), Some(Code::RateLimited));
        let taken = usage.take();
        usage.used(&visit(1, 2, 1), secret(), None);
        usage.used(&visit(1, 3, 1), secret(), Some(Code::ScopeRequired));
        usage.give_back(&taken);
        let again = usage.take();
        let notes = &again[0].1;
        assert_eq!((notes.uses.len(), notes.uses[0].at), (1, NOW.plus(3)));
        assert_eq!(notes.passed.as_ref().map(|passed| passed.at), Some(NOW.plus(2)));
        assert_eq!(
            notes.refusals.iter().map(|one| one.code.as_ref()).collect::<Vec<_>>(),
            ["rate_limited", "scope_required"]
        );
        let seen = notes.addresses.iter().find(|seen| seen.address == IpAddr::from([192, 0, 2, 1])).expect("seen");
        assert_eq!((seen.first_at, seen.last_at, seen.count), (NOW, NOW.plus(3), 3));
        assert_eq!(notes.calls.iter().map(|calls| calls.count).sum::<u64>(), 2);
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let usage = Usage::default();
        for number in 0..200_000_u32 {
            let key = KeyId::from_uuid(Uuid::from_u128(u128::from(number % 3_000)));
            let visit = Visit { key, address: IpAddr::from(number.to_be_bytes()), ..visit(1, i64::from(number), 1) };
            usage.used(&visit, secret(), Some(Code::ScopeRequired));
        }
        for number in 0..200_000_u32 {
            let key = KeyId::from_uuid(Uuid::from_u128(u128::from(number) << 4 | u128::from(number % 16)));
            usage.used(&Visit { key, ..visit(1, 0, 1) }, secret(), None);
        }
        let taken = usage.take();
        let count = |of: fn(&Notes) -> usize| taken.iter().map(|(_, notes)| of(notes)).sum::<usize>();
        assert!(taken.len() <= KEYS_MAX, "{} keys", taken.len());
        assert!(count(|notes| notes.refusals.len()) <= REFUSALS_MAX);
        assert!(count(|notes| notes.addresses.len()) <= ADDRESSES_MAX);
        assert!(count(|notes| notes.calls.len()) <= CALLS_MAX);
        let most = taken.iter().map(|(_, notes)| notes.refusals.len()).max();
        assert!(most.is_some_and(|most| most <= KEY_REFUSALS_MAX), "{most:?}");
    }

    #[tokio::test]
    async fn a_key_at_full_speed_is_written_by_the_write_alone_and_once_for_all() {
        for engine in store::testing::engines().await {
            let usage = Arc::new(Usage::default());
            for at in 0..10_000 {
                let visit = visit(1, at, 1);
                usage.used(&visit, secret(), None);
                Count::new(usage.clone(), visit.key, visit.route, visit.at).answered(200);
            }
            let rows = async || {
                let mut tx = engine.db.read().await.expect("reads");
                let row = store::sql(
                    "SELECT (SELECT count(*) FROM key_calls) AS calls, (SELECT count(*) FROM key_addresses) AS
                    addresses, (SELECT count(*) FROM key_passes) AS passes, (SELECT count(*) FROM nodes) AS nodes",
                )
                .one(&mut tx)
                .await
                .expect("counted");
                ["calls", "addresses", "passes", "nodes"].map(|name| row.get::<i64>(name).expect("a number"))
            };
            assert_eq!(rows().await, [0, 0, 0, 0], "{}", engine.engine);
            usage.write(&engine.db).await.expect("written");
            usage.write(&engine.db).await.expect("nothing more");
            assert_eq!(rows().await, [1, 1, 1, 1], "{}", engine.engine);
            let mut tx = engine.db.read().await.expect("reads");
            let row = store::sql("SELECT count FROM key_calls").one(&mut tx).await.expect("one");
            assert_eq!(row.get::<i64>("count").expect("a number"), 10_000, "{}", engine.engine);
            drop(tx);
            usage.end(&engine.db).await.expect("ended");
            assert_eq!(rows().await, [1, 1, 1, 0], "{}", engine.engine);
        }
    }
}
