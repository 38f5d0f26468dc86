//! The threads that serve connections: one for each core, each with a runtime of its own.
//!
//! A connection stays where it is, and all that its requests need but the database and the files with it: what one thread
//! does wakes no other, and nothing is taken from another's queue. Jobs and whatever else goes on by itself stay in the
//! runtime that the server was started in.

use std::{io, sync::Arc, thread};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// The threads. They end with it, and so does what is still under way on them.
pub(crate) struct Threads {
    all: Vec<Thread>,
    ended: CancellationToken,
}

struct Thread {
    handle: Handle,
    /// Counted by its clones: each connection holds one.
    place: Arc<()>,
}

impl Threads {
    /// Starts them.
    pub(crate) fn start() -> io::Result<Self> {
        let ended = CancellationToken::new();
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let all = (0..cores).map(|number| Thread::start(number, ended.clone())).collect::<io::Result<_>>()?;
        Ok(Self { all, ended })
    }

    /// The one with the fewest connections, and the new one's place on it.
    pub(crate) fn least(&self) -> (Handle, Arc<()>) {
        let least = self.all.iter().min_by_key(|thread| Arc::strong_count(&thread.place));
        // There is at least one: a machine has a core.
        least.map_or_else(|| (Handle::current(), Arc::default()), |least| (least.handle.clone(), least.place.clone()))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

impl Thread {
    fn start(number: usize, ended: CancellationToken) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let serve = move || runtime.block_on(ended.cancelled());
        thread::Builder::new().name(format!("connections-{number}")).spawn(serve)?;
        Ok(Self { handle, place: Arc::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_are_shared_out_and_all_ends_with_the_threads() {
        let threads = Threads::start().expect("started");
        let places: Vec<_> = (0..3 * threads.all.len()).map(|_| threads.least()).collect();
        assert!(threads.all.iter().all(|thread| Arc::strong_count(&thread.place) == 4));
        let waits = threads.least().0.spawn(std::future::pending::<()>());
        drop((places, threads));
        assert!(waits.await.expect_err("it never ends by itself").is_cancelled());
    }
}
