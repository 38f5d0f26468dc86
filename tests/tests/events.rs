//! The event log: dense numbers, a long poll that ends when something happens, and with its key.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::{Room, Server, both_engines, paper};

both_engines! {
    numbers_are_dense_also_when_many_write_at_once
    a_long_poll_ends_when_something_happens
    a_long_poll_ends_when_its_key_is_revoked
    a_long_poll_ends_when_the_server_stops
    a_list_is_filtered_and_goes_on_where_it_stopped
}

async fn numbers_are_dense_also_when_many_write_at_once(server: Server) {
    let api = server.api();
    let document = api.sample().await;
    let body = paper::for_one(&document, "taro@example.com");
    let made = futures::future::join_all((0..12).map(|_| api.create(body.clone()))).await;
    for envelope in &made {
        api.link(envelope["id"].as_str().expect("an id"), "taro@example.com").await;
    }
    let page = api.get("/v1/events?limit=500").await.expect(200);
    let events = page["data"].as_array().expect("a list");
    let numbers: Vec<_> = events.iter().map(|event| event["seq"].as_i64().expect("a number")).collect();
    assert_eq!(numbers, (1..=events.len() as i64).collect::<Vec<_>>());
    for envelope in &made {
        let own = api.events_of(envelope["id"].as_str().expect("an id")).await;
        let numbers: Vec<_> = own.iter().map(|event| event["envelope_seq"].as_i64().expect("a number")).collect();
        assert_eq!(numbers, (1..=own.len() as i64).collect::<Vec<_>>());
    }
    // Another environment counts for itself.
    let (_, staging) = server.key_of(&server.tenant, "staging", None).await;
    let staging = server.api_with(&staging);
    let first = staging.get("/v1/events").await.expect(200);
    assert_eq!(first["data"][0]["seq"], json!(1));
}

async fn a_long_poll_ends_when_something_happens(server: Server) {
    let api = server.api();
    let document = api.sample().await;
    let now = api.get("/v1/events?after=now").await.expect(200);
    assert_eq!(now["data"], json!([]));
    let next = now["next"].as_str().expect("a cursor").to_owned();
    let poll = {
        let api = api.clone();
        tokio::spawn(async move {
            let began = Instant::now();
            let page = api.get(&format!("/v1/events?wait=60&types=envelope.created&after={next}")).await.expect(200);
            (page, began.elapsed())
        })
    };
    let envelope = api.create(paper::for_one(&document, "taro@example.com")).await;
    let (page, waited) = poll.await.expect("polled");
    assert_eq!(page["data"][0]["data"]["envelope"]["id"], envelope["id"]);
    assert!(waited < Duration::from_secs(50), "it ended by its time, not by the event");
    let empty = api
        .get(&format!("/v1/events?wait=1&types=key.revoked&after={}", page["next"].as_str().expect("a cursor")))
        .await;
    assert_eq!(empty.expect(200)["data"], json!([]));
    api.get("/v1/events?wait=61").await.refused(400, "invalid_query");
}

async fn a_long_poll_ends_when_its_key_is_revoked(server: Server) {
    let api = server.api();
    let made = api.post("/v1/keys", json!({ "label": "Poller", "scopes": ["events:read"] })).await.expect(201);
    let poller = server.api_with(made["secret"].as_str().expect("a secret"));
    let ready = poller.get("/v1/events?after=now").await.expect(200);
    let next = ready["next"].as_str().expect("a cursor").to_owned();
    let poll = tokio::spawn(async move { poller.get(&format!("/v1/events?wait=60&types=batch.*&after={next}")).await });
    api.post_empty(&format!("/v1/keys/{}/revoke", made["id"].as_str().expect("an id"))).await.expect(200);
    // Whether it began before the revocation or after it: it is refused, and before its minute is over.
    let answer = tokio::time::timeout(Duration::from_secs(30), poll).await.expect("it ends").expect("polled");
    answer.refused(401, "revoked_key");
}

async fn a_long_poll_ends_when_the_server_stops(mut server: Server) {
    let api = server.api();
    let ready = api.get("/v1/events?after=now").await.expect(200);
    let path = format!("/v1/events?wait=60&types=batch.*&after={}", ready["next"].as_str().expect("a cursor"));
    let poll = {
        let api = api.clone();
        tokio::spawn(async move { api.get(&path).await })
    };
    // The poll is in flight once the server has seen two requests of this client more than it has answered.
    assert_eq!(api.get("/v1/me").await.status, 200);
    let began = Instant::now();
    let ended_well = tokio::task::spawn_blocking(move || server.stop()).await.expect("stopped");
    assert!(ended_well && began.elapsed() < Duration::from_secs(12), "it took {:?}", began.elapsed());
    let answer = poll.await.expect("polled");
    assert!(matches!(answer.status, 200 | 503), "{}: {}", answer.status, answer.text());
}

async fn a_list_is_filtered_and_goes_on_where_it_stopped(server: Server) {
    let api = server.api();
    let envelope = api.create(paper::for_one(&api.sample().await, "taro@example.com")).await;
    let id = envelope["id"].as_str().expect("an id");
    let room = Room::enter(&server, &api, id, "taro@example.com").await;
    room.sign("Taro", &[("client_name", "Taro"), ("client_company", "Kestrel")]).await;
    api.wait_for(id, "envelope.completed").await;
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("/v1/events?limit=2&envelope={id}{after}")).await.expect(200);
        seen.extend(page["data"].as_array().expect("a list").iter().map(|event| event["envelope_seq"].clone()));
        after = format!("&after={}", page["next"].as_str().expect("a cursor"));
        if page["has_more"] == json!(false) {
            break;
        }
    }
    assert_eq!(seen.len(), api.events_of(id).await.len());
    let people = api.get(&format!("/v1/events?envelope={id}&types=recipient.*")).await.expect(200);
    let kinds: Vec<_> = people["data"].as_array().expect("a list").iter().map(|event| event["type"].clone()).collect();
    assert_eq!(kinds, ["recipient.notified", "recipient.viewed", "recipient.consented", "recipient.completed"]);
    api.get("/v1/events?types=envelope.lost").await.refused(400, "invalid_query");
    api.get("/v1/events?envelope=env_x").await.refused(400, "invalid_query");
}
