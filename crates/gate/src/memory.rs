//! What was looked up, remembered together with its epoch. Bounded; never an error, never a miss.
//!
//! Nothing here is believed by itself: an entry is used only after an epoch read that found the same epoch.

use model::{KeyId, TenantId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use store::gate::Known;

use crate::limits::Bucket;

const SHARDS: usize = 64;

/// A key that was looked up, with its limits.
pub(crate) struct Entry {
    pub(crate) known: Known,
    pub(crate) key_bucket: Arc<Bucket>,
    pub(crate) tenant_bucket: Arc<Bucket>,
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
        let entry = Arc::new(Entry { known, key_bucket, tenant_bucket });
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
