//! When, from where and for what each secret was last used: kept in memory, written every 10 s and at shutdown.
//!
//! Never in a request's way: a failure to write fails no request, and what could not be written is tried again. A crash
//! loses at most what the last 10 s brought.

use model::SecretId;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use store::gate::LastUse;
use store::{Db, StoreError};

/// Secrets whose use is held in memory at most; what goes beyond is not noted. One entry is about 300 bytes.
const SECRETS_MAX: usize = 100_000;
/// Uses that one statement writes.
const ROWS_MAX: usize = 5_000;
/// How often they are written.
pub(crate) const WRITE_EVERY_S: u64 = 10;

/// The uses that are not written yet.
#[derive(Default)]
pub(crate) struct LastUses {
    uses: Mutex<HashMap<SecretId, LastUse>>,
}

impl LastUses {
    /// A secret was used; `update` is called with the entry to change, or to fill.
    pub(crate) fn note(&self, secret: SecretId, new: impl FnOnce(Option<&mut LastUse>) -> Option<LastUse>) {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = uses.len() >= SECRETS_MAX;
        if let Some(first) = new(uses.get_mut(&secret))
            && !is_full
        {
            uses.insert(secret, first);
        }
    }

    /// Write what there is. What could not be written is kept, unless something newer came.
    pub(crate) async fn write(&self, db: &Db) -> Result<(), StoreError> {
        let uses = std::mem::take(&mut *self.uses.lock().unwrap_or_else(PoisonError::into_inner));
        let uses: Vec<LastUse> = uses.into_values().collect();
        for (number, rows) in uses.chunks(ROWS_MAX).enumerate() {
            if let Err(error) = write_rows(db, rows).await {
                let mut kept = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
                for used in &uses[number * ROWS_MAX..] {
                    kept.entry(used.secret).or_insert_with(|| used.clone());
                }
                return Err(error);
            }
        }
        Ok(())
    }
}

async fn write_rows(db: &Db, rows: &[LastUse]) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    store::gate::note_uses(&mut tx, rows).await?;
    tx.commit().await
}
