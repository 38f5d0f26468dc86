//! A POST that carries an `Idempotency-Key` takes effect once and is answered the same again.
//!
//! The claim commits first. The answer is written in the effect's own transaction where the use case takes a [`Once`] and
//! calls [`Once::keep`] before its commit; a crash then leaves either nothing or the effect with its answer. Where a use
//! case does not, the server writes the answer right after it: a crash in between lets the claim run out, and a retry
//! would do it again, so whatever must not be doubled keeps its answer itself.

use std::{
    fmt,
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
};

use gate::Pass;
use model::{Code, Problem, caller::Who};
use store::{
    Tx,
    idempotency::{self, Lease, Place},
};

use crate::App;

/// A claim that the present request holds.
#[derive(Debug)]
pub struct Claimed {
    lease: Lease,
    digest: [u8; 32],
    kept: AtomicBool,
}

/// What a claim met.
#[derive(Debug)]
pub enum Claim {
    /// Nothing: go on.
    Mine(Claimed),
    /// It was done: answer this.
    Answered {
        /// The status that was answered.
        status: u16,
        /// The body that was answered, without secrets.
        body: String,
    },
}

impl App {
    /// Claims `route` (method and path) under the client's `key`, for a body with this digest.
    pub async fn claim(
        &self,
        pass: &Pass,
        route: String,
        key: String,
        digest: [u8; 32],
        request_id: &str,
    ) -> Result<Claim, Problem> {
        let caller = match &pass.caller().who {
            Who::Key { key, .. } => key.to_string(),
            Who::User { user } => user.to_string(),
            Who::Recipient { recipient } => recipient.to_string(),
            Who::System | Who::Operator => "system".to_owned(),
        };
        let place = Place { scope: pass.caller().scope, caller, route, key };
        match idempotency::claim(&self.db, &place, Some(digest), request_id, self.now()).await? {
            idempotency::Claim::Mine(lease) => Ok(Claim::Mine(Claimed { lease, digest, kept: AtomicBool::new(false) })),
            idempotency::Claim::Answered { digest: Some(first), .. } if first != digest => Err(mismatch()),
            idempotency::Claim::Answered { status, body, .. } => Ok(Claim::Answered { status, body }),
            idempotency::Claim::Mismatch => Err(mismatch()),
            idempotency::Claim::InProgress => Err(Problem::from(Code::IdempotencyInProgress).retry_after(1)),
        }
    }

    /// Ends a claim: keeps the answer that the effect did not keep itself, or lets go where nothing took effect.
    pub async fn settle(&self, claimed: &Claimed, answer: Option<(u16, &str)>) -> Result<(), Problem> {
        if claimed.kept.load(Ordering::Acquire) {
            return Ok(());
        }
        let Some((status, body)) = answer else {
            return Ok(idempotency::release(&self.db, &claimed.lease).await?);
        };
        let mut tx = self.db.begin().await?;
        idempotency::answer(&mut tx, &claimed.lease, claimed.digest, status, body).await?;
        Ok(tx.commit().await?)
    }
}

fn mismatch() -> Problem {
    Problem::from(Code::IdempotencyMismatch)
}

/// How a use case's result is answered: status and body, without secrets and links.
type Show<T> = Box<dyn Fn(&T) -> (u16, String) + Send + Sync>;

/// Keeps a use case's answer in its own transaction.
pub struct Once<T>(Option<(Arc<Claimed>, Show<T>)>);

impl<T> Once<T> {
    /// For a caller without an `Idempotency-Key`.
    pub fn unclaimed() -> Self {
        Self(None)
    }

    /// For the holder of a claim; `show` makes the answer as it may be kept.
    pub fn new(claimed: Arc<Claimed>, show: impl Fn(&T) -> (u16, String) + Send + Sync + 'static) -> Self {
        Self(Some((claimed, Box::new(show))))
    }

    /// Writes the answer, just before the commit. Refuses where the claim ran out and another request holds it.
    pub async fn keep(&self, tx: &mut Tx, made: &T) -> Result<(), Problem> {
        let Some((claimed, show)) = &self.0 else { return Ok(()) };
        let (status, body) = show(made);
        idempotency::answer(tx, &claimed.lease, claimed.digest, status, &body).await?;
        // Where the commit fails the claim runs out by itself: it must not be let go, as nobody knows.
        claimed.kept.store(true, Ordering::Release);
        Ok(())
    }
}

impl<T> fmt::Debug for Once<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Once").field(&self.0.as_ref().map(|(claimed, _)| claimed)).finish()
    }
}
