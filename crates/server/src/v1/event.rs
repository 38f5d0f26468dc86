//! `/v1/events`: the list and the long poll.

use std::time::Duration;

use app::{
    App,
    event::{Filter, WAIT_S_MAX},
};
use axum::extract::State;
use model::{
    Code, Problem,
    event::{Event, Type},
};
use serde::Deserialize;

use crate::{
    gatekeeper::Pass,
    json::Json,
    problem::Answer,
    query::{Query, cursor, limit, position},
    state::Shutdown,
};

/// The list's name in its cursors.
const LIST: &str = "events";

/// What the event log may be asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    limit: Option<u32>,
    after: Option<String>,
    types: Option<String>,
    envelope: Option<String>,
    wait: Option<u64>,
}

/// Read events.
///
/// Oldest first, from the beginning or after a cursor. With `wait` the answer comes as soon as there is an event, or empty
/// when the time is over; go on with `next` in either case. Numbers (`seq`) are dense: nothing is skipped or repeated.
#[utoipa::path(get, path = "/v1/events", tag = "Events",
    params(("limit" = Option<u32>, Query, description = "1 to 500, 20 if left out."),
        ("after" = Option<String>, Query, description = "`next` of the answer before; `now` for what comes from now on."),
        ("types" = Option<String>, Query, description = "Only these, separated by commas: `envelope.completed,recipient.*`."),
        ("envelope" = Option<String>, Query, description = "Only of this envelope."),
        ("wait" = Option<u64>, Query, description = "Seconds to wait for an event, 0 to 60.")),
    responses((status = 200, body = api::event::EventPage, description = "A page of events.")))]
pub async fn list(
    State(app): State<App>,
    State(shutdown): State<Shutdown>,
    pass: Pass,
    Query(query): Query<ListQuery>,
) -> Answer<Json<api::event::EventPage>> {
    let limit = limit(query.limit, api::page::EVENTS_LIMIT_MAX)?;
    let after = match query.after.as_deref() {
        Some("now") => app.newest_event(&pass).await?,
        after => position::<i64>(pass.scope(), LIST, after)?.unwrap_or(0),
    };
    let wrong = |why: String| Problem::new(Code::InvalidQuery, why);
    if query.wait.is_some_and(|wait| wait > WAIT_S_MAX) {
        return Err(wrong(format!("`wait` is 0 to {WAIT_S_MAX} seconds.")).into());
    }
    let envelope = query.envelope.map(|id| id.parse()).transpose();
    let filter = Filter {
        envelope: envelope.map_err(|_| wrong("`envelope`: an envelope's id reads env_ and 26 characters.".into()))?,
        types: query.types.as_deref().map(types).transpose()?.unwrap_or_default(),
    };
    let wait = query.wait.filter(|wait| *wait > 0).map(Duration::from_secs);
    let read = app.events(&pass, after, &filter, limit, wait, shutdown.0.cancelled_owned()).await?;
    Ok(Json(api::event::EventPage {
        data: read.events.into_iter().map(show).collect(),
        has_more: read.has_more,
        next: cursor(pass.scope(), LIST, read.seq),
    }))
}

/// The types that a list names, by name or with a star at the end.
pub(crate) fn types(list: &str) -> Result<Vec<&'static str>, Problem> {
    let mut types = Vec::new();
    for name in list.split(',').map(str::trim) {
        let before = types.len();
        let family = name.strip_suffix('*');
        types.extend(Type::ALL.iter().map(|kind| kind.as_str()).filter(|known| match family {
            Some(family) => known.starts_with(family),
            None => *known == name,
        }));
        if types.len() == before {
            let name: String = name.chars().take(64).collect();
            return Err(Problem::new(Code::InvalidQuery, format!("`types`: there is no event type {name}.")));
        }
    }
    Ok(types)
}

fn show(event: Event) -> api::event::Event {
    api::event::Event {
        id: event.id.to_string(),
        kind: event.kind,
        seq: event.seq,
        envelope_seq: event.envelope_seq,
        created_at: event.created_at.to_string(),
        environment: event.environment.to_string(),
        actor: serde_json::to_value(event.actor).unwrap_or_default(),
        data: event.data,
        previous: event.previous,
    }
}
