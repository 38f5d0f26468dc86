//! Epochs of the embedded database: whoever asks reads on its own thread, and waits for nobody.

use model::{TenantId, Timestamp};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use store::epoch::Reader;
use store::gate::Epoch;
use store::{Db, StoreError};

use crate::epoch::{NoAnswer, forward};

/// Readers at most; threads beyond share them.
const READERS_MAX: usize = 64;

/// The readers, each for a thread or a few.
pub(crate) struct AtHand {
    db: Db,
    /// The latest time that this node saw.
    latest: Arc<AtomicI64>,
    readers: Vec<Mutex<Option<Reader>>>,
}

impl AtHand {
    /// Nothing is opened yet.
    pub(crate) fn new(db: Db, latest: Arc<AtomicI64>) -> AtHand {
        AtHand { db, latest, readers: (0..READERS_MAX).map(|_| Mutex::default()).collect() }
    }

    /// The tenant's epoch at a moment after this call, and the database's time then, never earlier than one before.
    pub(crate) fn ask(&self, tenant: TenantId) -> Result<(Option<Epoch>, Timestamp), NoAnswer> {
        // A reader is taken out while it reads: a panic elsewhere leaves none.
        let mut reader = self.readers[place()].lock().unwrap_or_else(PoisonError::into_inner);
        let was_open = reader.is_some();
        let first = self.read(&mut reader, tenant);
        // Once more on a fresh connection where one from before fails, as the reader of a server's database does.
        let read = if first.is_err() && was_open { self.read(&mut reader, tenant) } else { first };
        let (time, epoch) = read.map_err(|error| NoAnswer(Arc::from(error.to_string())))?;
        Ok((epoch, forward(&self.latest, time)))
    }

    fn read(&self, reader: &mut Option<Reader>, tenant: TenantId) -> Result<(Timestamp, Option<Epoch>), StoreError> {
        let mut open = match reader.take() {
            Some(open) => open,
            None => Reader::open(&self.db)?,
        };
        let answer = open.epoch(tenant)?;
        *reader = Some(open);
        Ok(answer)
    }
}

/// This thread's place among the readers.
fn place() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static PLACE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % READERS_MAX;
    }
    PLACE.with(|place| *place)
}
