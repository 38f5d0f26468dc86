//! Reading the event log: the list and the long poll.

use std::time::Duration;

use gate::Pass;
use model::{Code, EnvScope, Problem, event::Event};
pub use store::event::Filter;

use crate::App;

/// Seconds that a long poll may wait.
pub const WAIT_S_MAX: u64 = 60;

/// What a reader got.
#[derive(Clone, Debug)]
pub struct Read {
    /// The events, oldest first.
    pub events: Vec<Event>,
    /// Where to go on: everything up to here was looked at.
    pub seq: i64,
    /// Whether more stand there already.
    pub has_more: bool,
}

impl App {
    /// The events after `after`. With `wait` it answers as soon as one comes, or empty when the time is over or `closing`
    /// resolves; before it answers with what came later, the gate is asked once more.
    pub async fn events(
        &self,
        pass: &Pass,
        after: i64,
        filter: &Filter,
        limit: u32,
        wait: Option<Duration>,
        closing: impl Future<Output = ()>,
    ) -> Result<Read, Problem> {
        let scope = pass.scope();
        if after > self.newest_event(pass).await? {
            return Err(Problem::new(Code::CursorInvalid, "`after` lies ahead of the newest event."));
        }
        let first = self.events_once(scope, after, filter, limit).await?;
        let Some(wait) = wait.filter(|_| first.events.is_empty()) else { return Ok(first) };
        let mut seen = first.seq;
        let deadline = tokio::time::sleep(wait);
        tokio::pin!(deadline, closing);
        let mut waiting = self.watch.wait(scope);
        loop {
            tokio::select! {
                () = &mut deadline => return Ok(Read { events: Vec::new(), seq: seen, has_more: false }),
                () = &mut closing => return Ok(Read { events: Vec::new(), seq: seen, has_more: false }),
                news = waiting.past(seen) => {
                    // What is new is told only to who may still hear it; a poll that has nothing learns at its end.
                    self.gate.readmit(pass).await?;
                    if !news {
                        continue;
                    }
                    let read = self.events_once(scope, seen, filter, limit).await?;
                    if !read.events.is_empty() {
                        return Ok(read);
                    }
                    seen = read.seq;
                }
            }
        }
    }

    async fn events_once(&self, scope: EnvScope, after: i64, filter: &Filter, limit: u32) -> Result<Read, Problem> {
        let mut tx = self.read().await?;
        // The end is read first: what a filter leaves out up to there need not be read again.
        let newest = store::event::newest(&mut tx, scope).await?;
        let mut events = store::event::after(&mut tx, scope, after, filter, limit.saturating_add(1)).await?;
        let has_more = events.len() > limit as usize;
        events.truncate(limit as usize);
        let last = events.last().map(|event| event.seq);
        let seq = if has_more { last.unwrap_or(after) } else { last.unwrap_or(after).max(newest).max(after) };
        Ok(Read { events, seq, has_more })
    }

    /// The number of the newest event in the pass's environment.
    pub async fn newest_event(&self, pass: &Pass) -> Result<i64, Problem> {
        let mut tx = self.read().await?;
        Ok(store::event::newest(&mut tx, pass.scope()).await?)
    }
}
