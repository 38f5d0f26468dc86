//! The write fence: a transaction shares the locks of those whose change would refuse it, then checks again.
//!
//! In two statements: a statement's snapshot is older than its wait for a lock, so one that locked and read at once
//! would miss the very revocation that it waited for.

use model::{KeyId, Problem, Timestamp, UserId};
use secret::Digest;
use std::net::IpAddr;
use std::sync::atomic::AtomicI64;
use store::Tx;
use store::gate::{Epoch, Known, Moment};

use crate::decide::{Rule, authorize, identify, unknown};
use crate::epoch::forward;
use crate::unavailable;

/// Times that the key's administrator may change between the look-up and the lock before the fence gives up.
const ADMINISTRATOR_CHANGES_MAX: u32 = 4;

/// What admission found and decided, to be decided again within the transaction.
pub(crate) struct Admitted<'a> {
    pub(crate) known: &'a Known,
    pub(crate) digest: &'a Digest,
    pub(crate) address: Option<IpAddr>,
    pub(crate) rule: Rule,
    /// The latest time that this node saw.
    pub(crate) latest: &'a AtomicI64,
}

/// Holds the shared locks of tenant, administrator and key, in that order, until the transaction ends, and checks: at
/// the same epoch only the time can have changed the answer; at another the whole table is decided again.
pub(crate) async fn fence(tx: &mut Tx, admitted: &Admitted<'_>) -> Result<(), Problem> {
    let known = admitted.known;
    lock(tx, known, known.administrator).await?;
    let (moment, epoch) = epoch(tx, known).await?;
    if epoch == Some(known.epoch) {
        return decide(known, admitted, moment.time);
    }
    let (time, fresh) = locked(tx, known.key, Some(known.administrator)).await?;
    decide(&fresh, admitted, time)
}

/// The same for work that goes on later for a key (a batch's rows): whether the key could still pass at all. It has no
/// address and no secret of its own, so those are not asked about.
pub(crate) async fn fence_key(tx: &mut Tx, key: KeyId, rule: Rule, latest: &AtomicI64) -> Result<(), Problem> {
    let (time, known) = locked(tx, key, None).await?;
    let now = forward(latest, time);
    match known.secrets.iter().map(|secret| identify(&known, &secret.digest, now)).reduce(Result::or) {
        Some(Ok(_)) => authorize(&known, None, rule),
        Some(Err(refusal)) => Err(refusal),
        None => Err(unknown()),
    }
}

fn decide(known: &Known, admitted: &Admitted<'_>, time: Timestamp) -> Result<(), Problem> {
    identify(known, admitted.digest, forward(admitted.latest, time))?;
    authorize(known, admitted.address, admitted.rule)
}

/// Looks the key up under its locks. Its administrator is learnt by the look-up itself, so it is repeated until the one
/// that is locked is the one that is found.
async fn locked(tx: &mut Tx, key: KeyId, mut holds: Option<UserId>) -> Result<(Timestamp, Known), Problem> {
    for _ in 0..ADMINISTRATOR_CHANGES_MAX {
        let (moment, known) = store::gate::look_up(tx, &[key]).await?;
        primary(moment)?;
        let Some((_, known)) = known.into_iter().next() else { return Err(unknown()) };
        let known = known.map_err(|error| unavailable(&error.to_string()))?;
        if holds == Some(known.administrator) {
            return Ok((moment.time, known));
        }
        lock(tx, &known, known.administrator).await?;
        holds = Some(known.administrator);
    }
    Err(unavailable("the key's administrator changes all the time"))
}

async fn lock(tx: &mut Tx, known: &Known, administrator: UserId) -> Result<(), Problem> {
    let names = [known.scope.tenant.to_string(), administrator.to_string(), known.key.to_string()];
    store::gate::lock_shared(tx, names.each_ref().map(String::as_str)).await?;
    Ok(())
}

async fn epoch(tx: &mut Tx, known: &Known) -> Result<(Moment, Option<Epoch>), Problem> {
    let (moment, epochs) = store::gate::epochs(tx, &[known.scope.tenant]).await?;
    primary(moment)?;
    Ok((moment, epochs.get(&known.scope.tenant).copied()))
}

fn primary(moment: Moment) -> Result<(), Problem> {
    if moment.is_standby { Err(unavailable("the database is a standby, which may be behind")) } else { Ok(()) }
}
