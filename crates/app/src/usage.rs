//! What a key is used for: calls per hour, by route and status, from which addresses, and what was refused.

use std::net::IpAddr;

use gate::Pass;
use model::time::{DAY_MS, HOUR_MS};
use model::{Code, KeyId, Problem, Timestamp};
use store::usage;

pub use store::usage::{Calls, Hour, Refusal, Seen};

use crate::App;

/// How long calls and addresses are kept.
const KEPT_MS: i64 = 90 * DAY_MS;
/// The time that is shown where none is asked for.
const SHOWN_MS: i64 = 7 * DAY_MS;

/// The use of a key in a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Which key.
    pub key: KeyId,
    /// From the beginning of this hour.
    pub from: Timestamp,
    /// Up to this moment.
    pub to: Timestamp,
    /// Every node has written what came before; what came later may be missing.
    pub as_of: Option<Timestamp>,
    /// The hours in which it called, the earliest first.
    pub hours: Vec<Hour>,
    /// Its calls by route and status.
    pub routes: Vec<Calls>,
    /// Where it was ever used from in 90 days, those seen last first; at most one more than was asked for.
    pub addresses: Vec<Seen>,
    /// Its last refusals, the latest first.
    pub refusals: Vec<Refusal>,
}

impl App {
    /// The use of a key from `from` to `to`, the last 7 days if left out, with one page of its addresses.
    pub async fn key_usage(
        &self,
        pass: &Pass,
        id: KeyId,
        (from, to): (Option<Timestamp>, Option<Timestamp>),
        after: Option<(Timestamp, IpAddr)>,
        limit: u32,
    ) -> Result<Usage, Problem> {
        let to = to.unwrap_or_else(|| self.now());
        let from = from.unwrap_or_else(|| to.plus(-SHOWN_MS));
        if from >= to || to.millis().saturating_sub(from.millis()) > KEPT_MS {
            return Err(Problem::new(Code::InvalidQuery, "`from` is before `to`, by at most 90 days."));
        }
        let from = from.plus(-from.millis().rem_euclid(HOUR_MS));
        let scope = pass.scope();
        let mut tx = self.read().await?;
        self.require_manager(&mut tx, pass.caller()).await?;
        store::key::get(&mut tx, scope, id).await?.ok_or_else(Problem::not_found)?;
        Ok(Usage {
            key: id,
            from,
            to,
            as_of: usage::written_until(&mut tx).await?,
            hours: usage::hours(&mut tx, scope, id, from, to).await?,
            routes: usage::routes(&mut tx, scope, id, from, to).await?,
            addresses: usage::addresses(&mut tx, scope, id, after, limit.saturating_add(1)).await?,
            refusals: usage::refusals(&mut tx, scope, id).await?,
        })
    }

    /// Lets go what is older than 90 days.
    pub async fn forget_old_usage(&self) -> Result<(), Problem> {
        let mut tx = self.db.begin().await?;
        usage::prune(&mut tx, self.now().plus(-KEPT_MS)).await?;
        Ok(tx.commit().await?)
    }
}
