//! The machine's clock: with `random.rs` the only place that asks the machine. And the database's, by which the gate decides.

use std::time::{SystemTime, UNIX_EPOCH};

use model::{Clock, Code, Problem, Timestamp};
use store::Tx;

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine for the time")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// The time by which the gate decides, and every change of what it reads: one clock for all nodes.
pub(crate) async fn database_time(tx: &mut Tx) -> Result<Timestamp, Problem> {
    let (moment, _) = store::gate::epochs(tx, &[]).await?;
    if moment.is_standby {
        return Err(Problem::new(Code::Unavailable, "The database is a standby, which changes nothing.").retry_after(1));
    }
    Ok(moment.time)
}
