//! Reads that many share: one in flight, one queued. An answer goes only to those who asked before it was sent.
//!
//! This is Raft's ReadIndex without a log: a remembered key is used only after the database, asked later than the
//! request arrived, named the same epoch. However many ask, the database is asked once a round trip, on a connection
//! of its own that no pool can keep waiting.

use model::{KeyId, TenantId, Timestamp};
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use store::gate::{Epochs, Known, Moment};
use store::{Conn, Db, StoreError};
use tokio::sync::{mpsc, oneshot};

/// Questions that may wait; more are told that the database can't be asked.
const WAITING_MAX: usize = 16_384;
/// Questions that one read answers.
const ROUND_MAX: usize = 4_096;
/// How often a read lets others go first while more of them ask.
const YIELDS_MAX: usize = 8;
/// How long one read may take. A connection that takes longer is given up.
const READ_MS_MAX: u64 = 3_000;

/// What one shared read asks, and how.
pub(crate) trait Reading: Send + 'static {
    /// What one asks.
    type Question: Copy + Send + Sync + 'static;
    /// What all are told.
    type Answer: Send + Sync + 'static;
    /// The connection that is asked.
    type Source: Send;
    /// Connects, outside every pool.
    fn open(db: &Db) -> impl Future<Output = Result<Self::Source, StoreError>> + Send;
    /// Says good-bye.
    fn close(source: Self::Source) -> impl Future<Output = ()> + Send;
    /// Asks for all of them, in one statement.
    fn read(
        source: &mut Self::Source,
        questions: &[Self::Question],
    ) -> impl Future<Output = Result<(Moment, Self::Answer), StoreError>> + Send;
}

/// Reads epochs.
pub(crate) enum Tenants {}

impl Reading for Tenants {
    type Question = TenantId;
    type Answer = Epochs;
    type Source = Conn;

    async fn open(db: &Db) -> Result<Conn, StoreError> {
        db.connect().await
    }

    async fn close(conn: Conn) {
        conn.close().await;
    }

    async fn read(conn: &mut Conn, tenants: &[TenantId]) -> Result<(Moment, Epochs), StoreError> {
        let mut tenants = tenants.to_vec();
        tenants.sort_unstable();
        tenants.dedup();
        store::gate::epochs(conn, &tenants).await
    }
}

/// Looks keys up.
pub(crate) enum Keys {}

impl Reading for Keys {
    type Question = KeyId;
    /// Why, where a key is there and can't be read.
    type Answer = HashMap<KeyId, Result<Known, NoAnswer>>;
    type Source = Conn;

    async fn open(db: &Db) -> Result<Conn, StoreError> {
        db.connect().await
    }

    async fn close(conn: Conn) {
        conn.close().await;
    }

    async fn read(conn: &mut Conn, keys: &[KeyId]) -> Result<(Moment, Self::Answer), StoreError> {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        keys.dedup();
        let (moment, known) = store::gate::look_up(conn, &keys).await?;
        let told = |error: StoreError| NoAnswer(Arc::from(error.to_string()));
        Ok((moment, known.into_iter().map(|(key, known)| (key, known.map_err(told))).collect()))
    }
}

/// What a shared read found, at the database's time.
pub(crate) struct Answer<A> {
    /// Never earlier than an answer before it.
    pub(crate) time: Timestamp,
    /// What was found.
    pub(crate) found: A,
}

/// Nobody can say: why, for the log.
#[derive(Clone, Debug)]
pub(crate) struct NoAnswer(pub(crate) Arc<str>);

type Waiting<R> = (<R as Reading>::Question, oneshot::Sender<Result<Arc<Answer<<R as Reading>::Answer>>, NoAnswer>>);

/// The one place where a kind of shared read is asked for.
pub(crate) struct Lane<R: Reading> {
    asks: mpsc::Sender<Waiting<R>>,
}

impl<R: Reading> Lane<R> {
    /// Begins to serve. Ends when the lane is dropped. `clock` holds the latest time that any lane of this node saw.
    pub(crate) fn new(db: Db, clock: Arc<AtomicI64>) -> Lane<R> {
        let (asks, waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(serve::<R>(db, clock, waiting));
        Lane { asks }
    }

    /// Asks, and waits for a read that is sent after this call.
    pub(crate) async fn ask(&self, question: R::Question) -> Result<Arc<Answer<R::Answer>>, NoAnswer> {
        let (tell, told) = oneshot::channel();
        self.asks.try_send((question, tell)).map_err(|_| NoAnswer(Arc::from("too many wait for the database")))?;
        // Each read has its time, so this has: for the one in flight and one's own, each tried twice.
        told.await.unwrap_or_else(|_| Err(NoAnswer(Arc::from("the gate is shut down"))))
    }
}

async fn serve<R: Reading>(db: Db, clock: Arc<AtomicI64>, mut asks: mpsc::Receiver<Waiting<R>>) {
    let mut source: Option<R::Source> = None;
    let mut round: Vec<Waiting<R>> = Vec::new();
    // What is in the queue now was asked before the read below is sent; what comes during the read waits for the next.
    while asks.recv_many(&mut round, ROUND_MAX).await > 0 {
        // Under load many more are about to ask: they do before this goes on, and share the read. Otherwise it goes on at
        // once.
        for _ in 0..YIELDS_MAX {
            tokio::task::yield_now().await;
            let before = round.len();
            while round.len() < ROUND_MAX
                && let Ok(ask) = asks.try_recv()
            {
                round.push(ask);
            }
            if round.len() == before {
                break;
            }
        }
        // Who gave up waiting is not asked for.
        round.retain(|(_, tell)| !tell.is_closed());
        let questions: Vec<R::Question> = round.iter().map(|(question, _)| *question).collect();
        let answer = if questions.is_empty() { continue } else { read::<R>(&db, &mut source, &questions).await };
        let answer = answer.and_then(|(moment, found)| accept(moment, found, &clock)).map(Arc::new);
        for (_, tell) in round.drain(..) {
            // Who hung up in the meantime needs no answer.
            let _ = tell.send(answer.clone());
        }
    }
    if let Some(source) = source {
        R::close(source).await;
    }
}

fn accept<A>(moment: Moment, found: A, clock: &AtomicI64) -> Result<Answer<A>, NoAnswer> {
    if moment.is_standby {
        return Err(NoAnswer(Arc::from("the database is a standby, which may be behind")));
    }
    Ok(Answer { time: forward(clock, moment.time), found })
}

/// The database's time, never earlier than this node saw it before.
pub(crate) fn forward(clock: &AtomicI64, time: Timestamp) -> Timestamp {
    let before = clock.fetch_max(time.millis(), Ordering::SeqCst);
    time.max(Timestamp::from_millis(before))
}

/// Reads; once more on a fresh connection where one from before fails: the server may have been restarted.
async fn read<R: Reading>(
    db: &Db,
    source: &mut Option<R::Source>,
    questions: &[R::Question],
) -> Result<(Moment, R::Answer), NoAnswer> {
    let was_open = source.is_some();
    let first = read_once::<R>(db, source, questions).await;
    match first {
        Err(_) if was_open => read_once::<R>(db, source, questions).await,
        other => other,
    }
}

async fn read_once<R: Reading>(
    db: &Db,
    source: &mut Option<R::Source>,
    questions: &[R::Question],
) -> Result<(Moment, R::Answer), NoAnswer> {
    let asking = async {
        // Taken out until the read has ended: a connection with half an answer in it is never used again.
        let mut open = match source.take() {
            Some(open) => open,
            None => R::open(db).await?,
        };
        let answer = R::read(&mut open, questions).await?;
        *source = Some(open);
        Ok::<_, StoreError>(answer)
    };
    match tokio::time::timeout(Duration::from_millis(READ_MS_MAX), asking).await {
        Ok(answer) => answer.map_err(|error| NoAnswer(Arc::from(error.to_string()))),
        Err(_) => Err(NoAnswer(Arc::from("the database did not answer in time"))),
    }
}
