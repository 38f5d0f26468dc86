//! Events: the list, and following it.

use api::event::EventPage;

use crate::{Client, Error};

/// Seconds that one long poll waits.
const WAIT_S: &str = "25";
/// Events of one answer.
const LIMIT: &str = "500";

/// What is followed, and how far it was read. `cursor` is where to go on after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Follow {
    /// Where to go on: `next` of an answer, `now`, or none for the beginning.
    pub cursor: Option<String>,
    /// Only these types, as `envelope.*,recipient.completed`.
    pub types: Option<String>,
    /// Only of this envelope.
    pub envelope: Option<String>,
}

impl Client {
    /// A page of events, the oldest first.
    pub async fn list_events(&self, query: &[(&str, &str)]) -> Result<EventPage, Error> {
        self.get("v1/events", query).await
    }

    /// What comes next: waits for some seconds where there is nothing yet, and then answers with nothing. Moves the
    /// cursor on; store it once what it answered is dealt with.
    pub async fn next_events(&self, follow: &mut Follow) -> Result<EventPage, Error> {
        let mut query = vec![("wait", WAIT_S), ("limit", LIMIT)];
        let named = [("after", &follow.cursor), ("types", &follow.types), ("envelope", &follow.envelope)];
        query.extend(named.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))));
        let page = self.list_events(&query).await?;
        follow.cursor = Some(page.next.clone());
        Ok(page)
    }
}
