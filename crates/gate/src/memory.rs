//! What was looked up, remembered together with its epoch. Bounded; never an error, never a miss.
//!
//! Nothing here is believed by itself: an entry is used only after an epoch read that found the same epoch.

use foldhash::HashMap;
use model::time::{MINUTE_MS, SECOND_MS};
use model::{KeyId, SecretId, TenantId, Timestamp};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use store::gate::Known;

use crate::limits::Bucket;

const SHARDS: usize = 64;
/// How long an answer may be kept: it may tell what depends on the time, such as a state that ends.
const KEPT_MS_MAX: i64 = MINUTE_MS;
/// The same beside other secrets: when those were used, other nodes write.
const KEPT_BESIDE_OTHERS_MS_MAX: i64 = SECOND_MS;

/// A key that was looked up, with its limits.
pub(crate) struct Entry {
    pub(crate) known: Known,
    pub(crate) key_bucket: Arc<Bucket>,
    pub(crate) tenant_bucket: Arc<Bucket>,
    kept: Mutex<Option<Kept>>,
}

/// An answer to the key, kept in pieces.
#[derive(Clone)]
struct Kept {
    secret: SecretId,
    at: Timestamp,
    pieces: Arc<[String]>,
}

impl Entry {
    /// What was kept for one of its secrets. Made of nothing but what the gate reads, it is at the entry's epoch what it was
    /// when it was made, and who comes here has just read that this is the epoch: a change in between changes the epoch,
    /// and with it the entry. Only the uses of other secrets change without it, and what depends on the time.
    pub(crate) fn kept(&self, secret: SecretId, now: Timestamp) -> Option<Arc<[String]>> {
        let max = if self.known.secrets.len() > 1 { KEPT_BESIDE_OTHERS_MS_MAX } else { KEPT_MS_MAX };
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.as_ref().filter(|kept| kept.secret == secret && now < kept.at.plus(max))?;
        Some(kept.pieces.clone())
    }

    pub(crate) fn keep(&self, secret: SecretId, at: Timestamp, pieces: Arc<[String]>) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(Kept { secret, at, pieces });
    }
}

/// The entries.
pub(crate) struct Memory {
    keys_max_per_shard: usize,
    shards: Vec<Mutex<HashMap<KeyId, Arc<Entry>>>>,
    // Held weakly: a tenant's bucket lives as long as one of its keys is remembered.
    tenants: Mutex<HashMap<TenantId, Weak<Bucket>>>,
}

impl Memory {
    pub(crate) fn new(keys_max: usize) -> Memory {
        Memory {
            keys_max_per_shard: keys_max.div_ceil(SHARDS).max(1),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            tenants: Mutex::default(),
        }
    }

    pub(crate) fn get(&self, key: KeyId) -> Option<Arc<Entry>> {
        self.shard(key).get(&key).cloned()
    }

    /// Remember what was looked up. A key that is known keeps its limits.
    pub(crate) fn put(&self, known: Known) -> Arc<Entry> {
        let tenant_bucket = self.tenant_bucket(known.scope.tenant);
        let key = known.key;
        let mut shard = self.shard(key);
        if !shard.contains_key(&key) && shard.len() >= self.keys_max_per_shard {
            // Any one: the order of a hash map is as good as random, and a wrong choice costs one look-up.
            let victim = shard.keys().next().copied();
            victim.map(|victim| shard.remove(&victim));
        }
        let key_bucket = shard.get(&key).map_or_else(Arc::default, |entry| entry.key_bucket.clone());
        let entry = Arc::new(Entry { known, key_bucket, tenant_bucket, kept: Mutex::default() });
        shard.insert(key, entry.clone());
        entry
    }

    /// Forget a key that is not there any more.
    pub(crate) fn forget(&self, key: KeyId) {
        self.shard(key).remove(&key);
    }

    fn shard(&self, key: KeyId) -> MutexGuard<'_, HashMap<KeyId, Arc<Entry>>> {
        // The last bits of a UUIDv7 are random.
        let number = usize::from(key.uuid().as_bytes()[15]) % SHARDS;
        // A panic elsewhere can't leave half an entry: entries are put whole.
        self.shards[number].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tenant_bucket(&self, tenant: TenantId) -> Arc<Bucket> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = tenants.get(&tenant).and_then(Weak::upgrade) {
            return bucket;
        }
        if tenants.len() >= self.keys_max_per_shard * SHARDS {
            tenants.retain(|_, bucket| bucket.strong_count() > 0);
        }
        let bucket = Arc::new(Bucket::default());
        tenants.insert(tenant, Arc::downgrade(&bucket));
        bucket
    }
}
