//! The journal of revocations, applied again: a database that came from an older backup, or lost its last commits in a
//! failover, revives no key.

use model::audit::Entry;
use model::journal::{Fact, Line};
use model::key::State;
use model::{Caller, Clock, Problem, Random};
use serde_json::json;
use store::{Db, StoreError, Tx};

use crate::App;
use crate::revocation::confirm;

/// The latest lines that are looked at again all the time: what a failover can lose.
const LATEST_LINES: usize = 1_000;
/// Keys whose state is asked for at once.
const ASKED_AT_ONCE: usize = 500;

impl App {
    /// Applies the whole journal, before the server answers anybody. How many keys it changed.
    pub async fn apply_journal(&self) -> Result<usize, Problem> {
        if self.journal.damaged() > 0 {
            let lines = self.journal.damaged();
            tracing::error!(lines, "the journal of revocations has lines that can't be read; the others hold");
        }
        apply(&self.db, &self.journal.standing(), (&*self.clock, &*self.random)).await
    }

    /// Looks at the latest lines again: a failover may have lost their commits.
    pub(crate) async fn apply_latest(&self) -> Result<(), Problem> {
        let mut lines = self.journal.standing();
        lines.sort_by_key(|line| std::cmp::Reverse(line.at));
        lines.truncate(LATEST_LINES);
        let changed = apply(&self.db, &lines, (&*self.clock, &*self.random)).await?;
        if changed > 0 {
            tracing::error!(changed, "the database had lost revocations; the journal has applied them again");
        }
        Ok(())
    }
}

/// Revokes and suspends what these lines say and the database does not. What was resumed after it was suspended stays.
pub(crate) async fn apply(db: &Db, lines: &[Line], machine: (&dyn Clock, &dyn Random)) -> Result<usize, Problem> {
    let mut changed = 0;
    for some in lines.chunks(ASKED_AT_ONCE) {
        let mut tx = db.read().await?;
        let keys: Vec<_> = some.iter().map(|line| line.key).collect();
        let differing = store::revocation::not_revoked(&mut tx, &keys).await?;
        drop(tx);
        for line in some.iter().filter(|line| differing.contains(&line.key)) {
            let mut tx = db.begin().await?;
            if apply_line(&mut tx, line, machine).await? {
                tx.commit().await?;
                confirm(db, &[line.key]).await?;
                changed += 1;
            }
        }
    }
    Ok(changed)
}

async fn apply_line(tx: &mut Tx, line: &Line, (clock, random): (&dyn Clock, &dyn Random)) -> Result<bool, Problem> {
    let Some(before) = store::key::lock(tx, line.scope, line.key).await? else { return Ok(false) };
    let was = before.record();
    let is_live = matches!(before.state, State::Pending | State::Active | State::Suspended | State::Expired);
    let (key, event, action) = match line.fact {
        Fact::Revoked(reason) if is_live => {
            let (key, event) = before.revoke(reason, line.at);
            (key, event, "key.revoked")
        }
        Fact::Suspended if matches!(before.state, State::Active | State::Pending) && before.since < line.at => {
            // One that waits to be activated in an older backup had been activated by then.
            let active = before.activate(None, line.at).map(|(key, _)| key);
            // One that had expired by then, in an older backup, is refused as it is.
            let Ok((key, event)) = active.and_then(|key| key.suspend(line.at)) else { return Ok(false) };
            (key, event, "key.suspended")
        }
        Fact::Revoked(_) | Fact::Suspended | Fact::Resumed => return Ok(false),
    };
    crate::tenant::saved(store::key::save(tx, &key).await?)?;
    if let Fact::Revoked(_) = line.fact {
        store::key::end_secrets(tx, line.scope, line.key, line.at).await?;
        store::revocation::begin_receipt(tx, line.scope, line.key, line.at).await?;
    }
    let mut is = key.record();
    is["from_journal"] = json!(line.at);
    let caller = Caller::system(line.scope);
    store::audit::append(tx, &caller, clock.now(), random, Entry::changed(action, line.key, was, is)).await?;
    store::event::append(tx, &caller, clock, random, event.into_iter().collect()).await?;
    Ok(true)
}

/// Applies a journal's lines to a database that serves nobody yet, and renews every epoch.
pub async fn restore(db: &Db, lines: &[Line], machine: (&dyn Clock, &dyn Random)) -> Result<usize, Problem> {
    let renewed = async {
        let mut tx = db.begin().await?;
        store::gate::renew_epochs(&mut tx).await?;
        tx.commit().await
    };
    renewed.await.map_err(|error: StoreError| Problem::from(error))?;
    apply(db, lines, machine).await
}
