//! Who waits for events: one shared read of the counters for all of them, and a nudge after each commit of this node.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use model::{EnvScope, TenantId};
use store::Db;
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
};

/// How long what another node wrote may stay unseen.
const LOOK_MS: u64 = 200;
/// How often one who waits is woken without news, so that the gate is asked again at least that often.
const ASK_AGAIN_MS: u64 = 1_000;

/// The newest event's number of every environment that somebody waits for.
#[derive(Clone)]
pub struct Watch(Arc<Inner>);

struct Inner {
    db: Db,
    /// Where it is looked, for all who wait on whatever thread.
    home: Handle,
    nudge: Notify,
    scopes: Mutex<Scopes>,
}

#[derive(Default)]
struct Scopes {
    waited_for: HashMap<EnvScope, Weak<watch::Sender<i64>>>,
    is_looking: bool,
}

/// One who waits.
pub struct Waiting {
    // Kept so that the looker sees that somebody waits.
    _sender: Arc<watch::Sender<i64>>,
    newest: watch::Receiver<i64>,
}

impl Waiting {
    /// Resolves with true once there is an event past `seq`; with false after a second without.
    pub async fn past(&mut self, seq: i64) -> bool {
        let news = self.newest.wait_for(|newest| *newest > seq);
        matches!(tokio::time::timeout(Duration::from_millis(ASK_AGAIN_MS), news).await, Ok(Ok(_)))
    }
}

impl Watch {
    /// Nobody waits yet, and nothing is read. Within a tokio runtime.
    pub fn new(db: Db) -> Self {
        Self(Arc::new(Inner { db, home: Handle::current(), nudge: Notify::new(), scopes: Mutex::default() }))
    }

    /// Look now: something was committed.
    pub fn nudge(&self) {
        self.0.nudge.notify_one();
    }

    /// Begins to wait for events of `scope`.
    pub fn wait(&self, scope: EnvScope) -> Waiting {
        let mut scopes = self.0.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        let standing = scopes.waited_for.get(&scope).and_then(Weak::upgrade);
        let sender = standing.unwrap_or_else(|| {
            let sender = Arc::new(watch::Sender::new(0));
            scopes.waited_for.insert(scope, Arc::downgrade(&sender));
            sender
        });
        if !scopes.is_looking {
            scopes.is_looking = true;
            self.0.home.spawn(look(self.0.clone()));
        }
        let newest = sender.subscribe();
        drop(scopes);
        self.nudge();
        Waiting { _sender: sender, newest }
    }
}

/// Reads the counters while somebody waits.
async fn look(inner: Arc<Inner>) {
    loop {
        let nudged = inner.nudge.notified();
        let Some(tenants) = waited_for(&inner) else { return };
        match newest(&inner.db, &tenants).await {
            Ok(numbers) => tell(&inner, &numbers),
            Err(error) => tracing::warn!(%error, "the events' counters can't be read"),
        }
        let _ = tokio::time::timeout(Duration::from_millis(LOOK_MS), nudged).await;
    }
}

/// The tenants that somebody waits for; none ends the looking.
fn waited_for(inner: &Inner) -> Option<Vec<TenantId>> {
    let mut scopes = inner.scopes.lock().unwrap_or_else(PoisonError::into_inner);
    scopes.waited_for.retain(|_, sender| sender.strong_count() > 0);
    if scopes.waited_for.is_empty() {
        scopes.is_looking = false;
        return None;
    }
    let mut tenants: Vec<_> = scopes.waited_for.keys().map(|scope| scope.tenant).collect();
    tenants.sort();
    tenants.dedup();
    Some(tenants)
}

async fn newest(db: &Db, tenants: &[TenantId]) -> Result<Vec<(EnvScope, i64)>, store::StoreError> {
    let mut conn = db.ask().await?;
    store::event::newest_of(&mut conn, tenants).await
}

fn tell(inner: &Inner, numbers: &[(EnvScope, i64)]) {
    let scopes = inner.scopes.lock().unwrap_or_else(PoisonError::into_inner);
    for (scope, number) in numbers {
        if let Some(sender) = scopes.waited_for.get(scope).and_then(Weak::upgrade) {
            sender.send_if_modified(|known| {
                let is_new = *number > *known;
                *known = (*known).max(*number);
                is_new
            });
        }
    }
}
