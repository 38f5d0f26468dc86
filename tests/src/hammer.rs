//! A hammer: connections to every node that ask with keys without a pause, while the keys' rights are taken away, and that
//! know of each request whether it was sent after the taking was answered.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::header::AUTHORIZATION;
use tokio::{sync::Semaphore, task::JoinSet};

use crate::Server;

/// Connections to each node.
const CONNECTIONS: usize = 6;
/// Requests that have passed before a right is taken, and been refused after it, for each node.
const SHOTS: u32 = 2;

/// A key under fire.
pub struct Target {
    secret: String,
    refusal: u16,
    /// When the answer that took its right away had been received.
    answered: OnceLock<Instant>,
    passed: Semaphore,
    refused_before: Semaphore,
    refused: Semaphore,
}

/// What became of the requests.
#[derive(Debug, Default)]
pub struct Tally {
    /// Passed, sent before the answer.
    pub passed: AtomicUsize,
    /// Refused, sent before the answer.
    pub refused_before: AtomicUsize,
    /// Refused, sent after the answer.
    pub refused_after: AtomicUsize,
    /// Passed although sent after the answer.
    pub passed_after: AtomicUsize,
    /// Answered by nobody: 503, or a connection that broke.
    pub unanswered: AtomicUsize,
    /// Other statuses.
    pub others: Mutex<BTreeMap<u16, usize>>,
}

/// The hammer at work.
pub struct Hammer {
    slots: Vec<RwLock<Option<Arc<Target>>>>,
    nodes: u32,
    /// What became of the requests.
    pub tally: Tally,
    stopped: AtomicBool,
}

impl Hammer {
    /// Hits the nodes at these URLs with the keys in so many slots, until [`stop`](Self::stop).
    pub fn strike(server: &Server, nodes: &[String], slots: usize) -> (Arc<Hammer>, JoinSet<()>) {
        let hammer = Arc::new(Hammer {
            slots: (0..slots).map(|_| RwLock::default()).collect(),
            nodes: u32::try_from(nodes.len()).expect("a few nodes"),
            tally: Tally::default(),
            stopped: AtomicBool::new(false),
        });
        let mut tasks = JoinSet::new();
        for (number, node) in nodes.iter().cycle().take(nodes.len() * CONNECTIONS).enumerate() {
            let client = server.client(|builder| builder.http1_only().pool_max_idle_per_host(1));
            tasks.spawn(hammer.clone().hit(client, format!("{node}/v1/me"), number));
        }
        (hammer, tasks)
    }

    async fn hit(self: Arc<Hammer>, client: reqwest::Client, url: String, mut turn: usize) {
        while !self.stopped.load(Ordering::SeqCst) {
            turn += 1;
            let slot = self.slots[turn % self.slots.len()].read().unwrap_or_else(PoisonError::into_inner).clone();
            let Some(target) = slot else {
                tokio::task::yield_now().await;
                continue;
            };
            let request = client.get(&url).header(AUTHORIZATION, format!("Bearer {}", target.secret));
            let sent = Instant::now();
            let status = match request.send().await {
                Ok(answer) => {
                    let status = answer.status().as_u16();
                    // Read to its end, so that the connection is used again.
                    let _ = answer.bytes().await;
                    Some(status)
                }
                Err(_) => None,
            };
            self.count(&target, sent, status);
        }
    }

    fn count(&self, target: &Target, sent: Instant, status: Option<u16>) {
        let after = target.answered.get().is_some_and(|answered| sent > *answered);
        let tally = &self.tally;
        let counter = match status {
            Some(200) if after => &tally.passed_after,
            Some(200) => {
                target.passed.add_permits(1);
                &tally.passed
            }
            Some(status) if status == target.refusal => {
                let refused = if after { &target.refused } else { &target.refused_before };
                refused.add_permits(1);
                if after { &tally.refused_after } else { &tally.refused_before }
            }
            None | Some(503) => &tally.unanswered,
            Some(other) => {
                *tally.others.lock().unwrap_or_else(PoisonError::into_inner).entry(other).or_default() += 1;
                return;
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Hits with this key until `take`, which is called once enough has passed, was answered, and until enough that was sent
    /// afterwards has been refused with this status. How long `take` took, and what it gave.
    pub async fn until_taken<T>(
        &self,
        slot: usize,
        (secret, refusal): (&str, u16),
        take: impl AsyncFnOnce(&Target) -> T,
    ) -> (Duration, T) {
        let target = Arc::new(Target {
            secret: secret.to_owned(),
            refusal,
            answered: OnceLock::new(),
            passed: Semaphore::new(0),
            refused_before: Semaphore::new(0),
            refused: Semaphore::new(0),
        });
        self.put(slot, Some(target.clone()));
        target.passed.acquire_many(SHOTS * self.nodes).await.expect("open").forget();
        let began = Instant::now();
        let taken = take(&target).await;
        let took = target.answered.get_or_init(Instant::now).duration_since(began);
        target.refused.acquire_many(SHOTS * self.nodes).await.expect("open").forget();
        self.put(slot, None);
        // Who has it in hand still sends it: the right may not be given back before.
        while Arc::strong_count(&target) > 1 {
            tokio::task::yield_now().await;
        }
        (took, taken)
    }

    fn put(&self, slot: usize, target: Option<Arc<Target>>) {
        *self.slots[slot].write().unwrap_or_else(PoisonError::into_inner) = target;
    }

    /// Ends it, and waits until the last request was answered.
    pub async fn stop(&self, tasks: JoinSet<()>) {
        self.stopped.store(true, Ordering::SeqCst);
        tasks.join_all().await;
    }

    /// Nothing passed that was sent after the answer, and nothing was answered that is neither yes nor no.
    #[track_caller]
    pub fn assert_strict(&self, faults: bool) {
        assert_eq!(
            self.tally.passed_after.load(Ordering::SeqCst),
            0,
            "passed although sent after the answer: {:?}",
            self.tally
        );
        let others = self.tally.others.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(others.is_empty(), "neither yes nor no: {:?}", self.tally);
        let unanswered = self.tally.unanswered.load(Ordering::SeqCst);
        assert!(faults || unanswered == 0, "unanswered although nothing was broken: {:?}", self.tally);
    }
}

impl Target {
    /// The taking was answered: what is sent from now on was sent after it.
    pub fn is_answered(&self) {
        self.answered.get_or_init(Instant::now);
    }

    /// Waits until a request is refused, whenever it was sent: the right is gone, and that is told.
    pub async fn is_refused(&self) {
        self.refused_before.acquire().await.expect("open").forget();
        self.is_answered();
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        write!(
            f,
            "{} passed, {} refused that were sent before the answer; sent after it: {} refused, {} passed; {} unanswered",
            of(&self.passed),
            of(&self.refused_before),
            of(&self.refused_after),
            of(&self.passed_after),
            of(&self.unanswered)
        )
    }
}

/// The median, the 99th percentile and the longest, in milliseconds.
pub fn percentiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_secs_f64() * 1_000.0;
    format!("p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms", at(50), at(99), at(100))
}
