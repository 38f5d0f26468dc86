//! The demo's view of the events: followed live in a task of its own, waited for by what they say.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, bail};
use api::event::Event;
use client::{Client, Follow};
use tokio::{sync::watch, task::JoinHandle};

/// How long something may take until it is given up.
const WAIT_S_MAX: u64 = 120;

/// Events that have come so far.
pub struct Watch {
    seen: Arc<Mutex<Vec<Event>>>,
    count: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Follows what comes from now on.
    pub async fn begin(client: &Client) -> anyhow::Result<Self> {
        let now = client.list_events(&[("after", "now"), ("limit", "1")]).await?;
        let mut follow = Follow { cursor: Some(now.next), ..Follow::default() };
        let (told, count) = watch::channel(0);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (client, all) = (client.clone(), seen.clone());
        let task = tokio::spawn(async move {
            while let Ok(page) = client.next_events(&mut follow).await {
                let mut seen = all.lock().unwrap_or_else(PoisonError::into_inner);
                seen.extend(page.data);
                if told.send(seen.len()).is_err() {
                    return;
                }
            }
        });
        Ok(Self { seen, count, task })
    }

    /// What was seen so far.
    pub fn seen(&self) -> Vec<Event> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until `enough` of the events; `meanwhile` is told of each change.
    pub async fn until(
        &mut self,
        what: &str,
        enough: impl Fn(&[Event]) -> bool,
        meanwhile: impl Fn(&[Event]),
    ) -> anyhow::Result<Vec<Event>> {
        let waiting = async {
            loop {
                self.count.borrow_and_update();
                let seen = self.seen();
                meanwhile(&seen);
                if enough(&seen) {
                    return Ok(seen);
                }
                self.count.changed().await.context("the events can't be followed any more")?;
            }
        };
        match tokio::time::timeout(Duration::from_secs(WAIT_S_MAX), waiting).await {
            Ok(seen) => seen,
            Err(_) => bail!("{what} did not come within {WAIT_S_MAX} s; demo.log in the folder says more"),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How many there are of each type, in words.
pub fn counts(events: &[Event]) -> String {
    let mut counts = BTreeMap::new();
    for event in events {
        *counts.entry(event.kind.as_str()).or_insert(0) += 1;
    }
    counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect::<Vec<_>>().join(" · ")
}

/// Whether it is this event of this envelope, of the recipient in this role where one is named.
pub fn is(event: &Event, kind: &str, envelope: &str, role: Option<&str>) -> bool {
    let text = |object: &str, name: &str| event.data.get(object)?.get(name)?.as_str();
    event.kind == kind
        && text("envelope", "id") == Some(envelope)
        && role.is_none_or(|role| text("recipient", "role") == Some(role))
}
