//! Rotation without an outage, changes of keys, and keys that wait to be activated.

use std::sync::{Arc, RwLock};

use model::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{
    Answer, Api, Server, both_engines,
    fire::{Nodes, of_template, template},
};
use tokio::sync::Semaphore;

both_engines! {
    a_rotation_under_load_refuses_nothing_and_the_old_secret_dies_on_time
    many_first_uses_at_once_are_one
    a_rotation_is_asked_for_again_and_replaced
    without_a_grace_period_the_old_secret_is_dead_at_the_first_use
    a_key_rotates_itself_and_what_lies_within_it
    a_secret_that_is_about_to_end_makes_itself_no_successor
    a_first_use_survives_a_kill
    a_rotated_secret_is_shown_once
    a_change_of_a_key_holds_from_its_answer_on
    what_a_key_changes_lies_within_it
    a_pending_key_is_refused_until_it_is_activated
    a_key_that_a_key_made_is_told_to_the_administrators
    the_command_line_rotates_changes_and_activates
}

/// Connections that call without a pause while the key is rotated.
const CONNECTIONS: usize = 16;
/// Loops that create envelopes beside them.
const CREATORS: usize = 2;
/// Answers that are waited for before and after each step.
const ANSWERS: u32 = 200;

async fn new_key(api: &Api, body: Value) -> (String, String) {
    let made = api.post("/v1/keys", body).await.expect(201);
    (text(&made, "id"), text(&made, "secret"))
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("{name}: {value:#}")).to_owned()
}

async fn rotate(api: &Api, id: &str, body: Value) -> Value {
    api.post(&format!("/v1/keys/{id}/rotate"), body).await.expect(200)
}

async fn patch(api: &Api, id: &str, body: Value) -> Answer {
    api.send(Method::PATCH, &format!("/v1/keys/{id}"), Some("application/json"), body.to_string()).await
}

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// This machine's time, which is the servers' and the database's too.
#[expect(clippy::disallowed_methods, reason = "a client looks at its own watch")]
fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    Timestamp::from_millis(i64::try_from(since.as_millis()).expect("not that far"))
}

/// A call with a secret: when it was sent, when its answer had come, its status, and what it said of an old secret.
struct Shot {
    sent: Timestamp,
    received: Timestamp,
    status: u16,
    rotated: String,
}

/// Programs that use one key all the time, each with the secret that it was given last.
struct Clients {
    secrets: Vec<RwLock<String>>,
    answers: Semaphore,
    is_over: std::sync::atomic::AtomicBool,
}

impl Clients {
    async fn run(&self, turn: usize, api: &Api, body: Option<String>) -> Vec<Shot> {
        let mut shots = Vec::new();
        while !self.is_over.load(std::sync::atomic::Ordering::Acquire) {
            let bearer = format!("Bearer {}", self.secrets[turn].read().expect("a secret"));
            let api = api.with("authorization", &bearer);
            let sent = now();
            let answer = match &body {
                Some(body) => api.send(Method::POST, "/v1/envelopes", Some("application/json"), body.clone()).await,
                None => api.get("/v1/me").await,
            };
            let rotated = answer.header("iusign-key-rotated").to_owned();
            shots.push(Shot { sent, received: now(), status: answer.status, rotated });
            self.answers.add_permits(1);
        }
        shots
    }

    async fn some_answers(&self) {
        self.answers.forget_permits(usize::MAX);
        self.answers.acquire_many(ANSWERS).await.expect("open").forget();
    }

    fn give(&self, turns: std::ops::Range<usize>, secret: &str) {
        for turn in turns {
            secret.clone_into(&mut self.secrets[turn].write().expect("a secret"));
        }
    }
}

async fn a_rotation_under_load_refuses_nothing_and_the_old_secret_dies_on_time(server: Server) {
    let (api, nodes) = (server.api(), Nodes::of(&server));
    let body = of_template(&template(&api).await, "taro@example.com").to_string();
    let (id, old) = new_key(&api, json!({ "label": "Busy" })).await;
    let clients = Arc::new(Clients {
        secrets: (0..CONNECTIONS + CREATORS).map(|_| RwLock::new(old.clone())).collect(),
        answers: Semaphore::new(0),
        is_over: false.into(),
    });
    let tasks: Vec<_> = (0..CONNECTIONS + CREATORS)
        .map(|turn| {
            let client = server.client(|builder| builder.http1_only().pool_max_idle_per_host(1));
            let (api, clients) = (Api::new(client, nodes.url(turn), None), clients.clone());
            let body = (turn >= CONNECTIONS).then(|| body.clone());
            tokio::spawn(async move { clients.run(turn, &api, body).await })
        })
        .collect();
    clients.some_answers().await;
    let rotated = rotate(&api, &id, json!({ "grace_period": "PT6S" })).await;
    let new = text(&rotated, "secret");
    assert_eq!(rotated["rotation"]["pending_last4"], json!(new[new.len() - 4..]), "{rotated:#}");
    assert_eq!(rotated["rotation"]["ends_at"], Value::Null, "the old one ends only after the new one was used");
    clients.some_answers().await;
    // Half of them, on every node, at the same moment.
    clients.give(0..CONNECTIONS / 2, &new);
    let end = loop {
        let shown = api.get(&format!("/v1/keys/{id}")).await.expect(200);
        if let Some(end) = shown["rotation"]["ends_at"].as_str() {
            break time(end);
        }
    };
    clients.some_answers().await;
    clients.give(CONNECTIONS / 2..CONNECTIONS + CREATORS, &new);
    clients.some_answers().await;
    let stale = server.api_with(&old);
    let mut late = Vec::new();
    loop {
        let sent = now();
        let answer = stale.get("/v1/me").await;
        late.push(Shot {
            sent,
            received: now(),
            status: answer.status,
            rotated: answer.header("iusign-key-rotated").to_owned(),
        });
        if answer.status != 200 {
            answer.refused(401, "rotated_secret");
            break;
        }
    }
    for url in &nodes.urls {
        stale.at(url).get("/v1/me").await.refused(401, "rotated_secret");
    }
    clients.is_over.store(true, std::sync::atomic::Ordering::Release);
    let (mut passed, mut of_old) = (0, 0);
    for task in tasks {
        for shot in task.await.expect("shots") {
            assert!(shot.status < 300, "a client that rotates was answered {}", shot.status);
            passed += 1;
            of_old += usize::from(shot.rotated == format!("old secret, ends {end}"));
        }
    }
    assert!(of_old > 0, "nobody was told that the old secret ends");
    for shot in &late {
        let (is_after, is_before) = (shot.sent > end, shot.received < end);
        assert!(!(is_after && shot.status == 200), "passed although it was sent at {:?}, after {end}", shot.sent);
        assert!(!(is_before && shot.status != 200), "refused at {:?}, before {end}", shot.received);
        assert!(shot.status != 200 || shot.rotated == format!("old secret, ends {end}"), "{}", shot.rotated);
    }
    let events = api.get("/v1/events?limit=500&types=key.rotation_started,key.rotated").await.expect(200);
    let kinds: Vec<_> = events["data"].as_array().expect("a list").iter().map(|event| event["type"].clone()).collect();
    assert_eq!(kinds, ["key.rotation_started", "key.rotated"]);
    println!(
        "rotation, {:?}, {} server(s): {passed} calls passed, {of_old} of them with the old secret in its grace period, 0 were refused; \
         then {} more with the old secret until it was refused",
        server.engine,
        nodes.count(),
        late.len()
    );
}

async fn many_first_uses_at_once_are_one(server: Server) {
    let (api, nodes) = (server.api(), Nodes::of(&server));
    let (id, old) = new_key(&api, json!({ "label": "Popular" })).await;
    let mut secret = old;
    for round in 1..=5 {
        let new = text(&rotate(&api, &id, json!({ "grace_period": "PT1H", "replace": true })).await, "secret");
        let mut tasks = Vec::new();
        for turn in 0..32 {
            // The old one too: it may not be refused before, while and after the new one is first used.
            let (key, url) = (if turn % 4 == 0 { &secret } else { &new }, nodes.url(turn));
            let caller = server.api_with(key).at(url);
            tasks.push(tokio::spawn(async move { caller.get("/v1/me").await.status }));
        }
        for task in tasks {
            assert_eq!(task.await.expect("a status"), 200);
        }
        let events = api.get("/v1/events?limit=500&types=key.rotated").await.expect(200);
        assert_eq!(events["data"].as_array().expect("a list").len(), round, "each rotation is told once");
        secret = new;
    }
    let shown = api.get(&format!("/v1/keys/{id}")).await.expect(200);
    let statuses: Vec<_> = shown["secrets"].as_array().expect("secrets").iter().map(|s| text(s, "status")).collect();
    assert_eq!(statuses, ["dead", "dead", "dead", "dead", "ending", "current"]);
    assert_eq!(shown["last4"], json!(secret[secret.len() - 4..]));
}

async fn a_rotation_is_asked_for_again_and_replaced(server: Server) {
    let api = server.api();
    let (id, old) = new_key(&api, json!({ "label": "Twice" })).await;
    let first = rotate(&api, &id, json!({})).await;
    assert_eq!((&first["secret_shown"], &first["rotation"]["finish"]), (&json!(false), &json!("after_grace")));
    let again = rotate(&api, &id, json!({ "grace_period": "PT1H" })).await;
    assert_eq!((&again["secret"], &again["secret_shown"]), (&Value::Null, &json!(true)));
    assert_eq!(again["rotation"], first["rotation"], "it is the same rotation");
    let second = rotate(&api, &id, json!({ "replace": true, "finish": "when_silent", "silent_for": "PT1H" })).await;
    server.api_with(&text(&first, "secret")).get("/v1/me").await.refused(401, "rotated_secret");
    let new = server.api_with(&text(&second, "secret"));
    let answer = new.get("/v1/me").await;
    answer.expect(200);
    assert_eq!(answer.header("iusign-key-rotated"), "", "the new one is told nothing");
    let stale = server.api_with(&old).get("/v1/me").await;
    stale.expect(200);
    assert_eq!(stale.header("iusign-key-rotated"), "old secret, ends when nothing uses it any more");
    server.admin(&["tenants", "suspend"]);
    let refused = server.api_with(&old).get("/v1/me").await;
    refused.refused(403, "tenant_suspended");
    assert_eq!(refused.header("iusign-key-rotated"), "old secret, ends when nothing uses it any more");
    server.admin(&["tenants", "resume"]);
    let path = format!("/v1/keys/{id}/rotate");
    let refused = api.post_empty(&path).await;
    refused.refused(409, "rotation_in_progress");
    let third = rotate(&api, &id, json!({ "replace": true })).await;
    server.api_with(&old).get("/v1/me").await.refused(401, "rotated_secret");
    new.get("/v1/me").await.expect(200);
    let used: Vec<_> = third["secrets"].as_array().expect("secrets").iter().map(|s| text(s, "status")).collect();
    assert_eq!(used, ["dead", "dead", "current", "pending"]);

    let faults = api.post(&path, json!({ "grace_period": "P8D", "finish": "soon" })).await.faults();
    assert_eq!(faults.iter().map(|(at, _)| at.as_str()).collect::<Vec<_>>(), ["/finish", "/grace_period"]);
    let faults = api.post(&path, json!({ "scopes": ["*"] })).await.faults();
    assert_eq!(faults[0].1, "unknown_field", "it takes no scopes");
    api.post_empty(&format!("/v1/keys/{id}/revoke")).await.expect(200);
    api.post_empty(&path).await.refused(409, "key_status");
    server.api_with(&text(&third, "secret")).get("/v1/me").await.refused(401, "revoked_key");
}

async fn without_a_grace_period_the_old_secret_is_dead_at_the_first_use(server: Server) {
    let (api, nodes) = (server.api(), Nodes::of(&server));
    let (id, old) = new_key(&api, json!({ "label": "Now" })).await;
    let stale = server.api_with(&old).at(nodes.url(1));
    let new = text(&rotate(&api, &id, json!({ "grace_period": "PT0S" })).await, "secret");
    stale.get("/v1/me").await.expect(200);
    server.api_with(&new).get("/v1/me").await.expect(200);
    stale.get("/v1/me").await.refused(401, "rotated_secret");
}

async fn a_key_rotates_itself_and_what_lies_within_it(server: Server) {
    let api = server.api();
    let (own_id, own) = new_key(&api, json!({ "label": "Own", "scopes": ["keys:rotate_self", "keys:read"] })).await;
    let (other_id, _) = new_key(&api, json!({ "label": "Other", "scopes": ["keys:read"] })).await;
    let own = server.api_with(&own);
    let rotated = rotate(&own, &own_id, json!({ "grace_period": "PT1H" })).await;
    let next = server.api_with(&text(&rotated, "secret"));
    next.get("/v1/me").await.expect(200);
    let refused = own.post_empty(&format!("/v1/keys/{other_id}/rotate")).await;
    refused.refused(403, "scope_required");
    let (_, writer) = new_key(&api, json!({ "label": "Writer", "scopes": ["keys:write", "keys:read"] })).await;
    let writer = server.api_with(&writer);
    rotate(&writer, &other_id, json!({})).await;
    let first = text(&api.get("/v1/me").await.expect(200)["key"], "id");
    let refused = writer.post_empty(&format!("/v1/keys/{first}/rotate")).await;
    assert_eq!(refused.refused(403, "beyond_the_key")["errors"][0]["pointer"], json!("/scopes"));
}

async fn a_secret_that_is_about_to_end_makes_itself_no_successor(server: Server) {
    let (id, old) = new_key(&server.api(), json!({ "label": "Stolen", "scopes": ["keys:rotate_self"] })).await;
    let path = format!("/v1/keys/{id}/rotate");
    let new = text(&rotate(&server.api_with(&old), &id, json!({})).await, "secret");
    server.api_with(&new).get("/v1/me").await.expect(200);
    for body in [json!({ "replace": true, "grace_period": "PT0S" }), json!({ "replace": true }), json!({})] {
        server.api_with(&old).post(&path, body).await.refused(409, "rotation_in_progress");
    }
    server.api_with(&new).get("/v1/me").await.expect(200);
    // Who has the new one may.
    let next = text(&rotate(&server.api_with(&new), &id, json!({ "replace": true })).await, "secret");
    server.api_with(&next).get("/v1/me").await.expect(200);
    server.api_with(&old).get("/v1/me").await.refused(401, "rotated_secret");
}

async fn a_first_use_survives_a_kill(mut server: Server) {
    let api = server.api();
    let (id, old) = new_key(&api, json!({ "label": "Lasting" })).await;
    let new = text(&rotate(&api, &id, json!({ "grace_period": "PT1H" })).await, "secret");
    server.api_with(&new).get("/v1/me").await.expect(200);
    server.kill();
    server.start_again();
    let shown = server.api().get(&format!("/v1/keys/{id}")).await.expect(200);
    assert_eq!(shown["last4"], json!(new[new.len() - 4..]));
    assert!(shown["rotation"]["ends_at"].is_string(), "{shown:#}");
    for secret in [old, new] {
        server.api_with(&secret).get("/v1/me").await.expect(200);
    }
}

async fn a_rotated_secret_is_shown_once(server: Server) {
    let api = server.api();
    let (id, _) = new_key(&api, json!({ "label": "Once" })).await;
    let mut tails = Vec::new();
    // With `replace` the answer is kept when the old secret is dead everywhere, and no other way.
    for (name, body) in [("rotate-1", json!({})), ("rotate-2", json!({ "replace": true }))] {
        let again = api.with("idempotency-key", name);
        let rotated = rotate(&again, &id, body.clone()).await;
        let secret = text(&rotated, "secret");
        let replayed = again.post(&format!("/v1/keys/{id}/rotate"), body).await;
        assert_eq!(replayed.header("idempotency-replayed"), "true");
        let replayed = replayed.expect(200);
        assert_eq!((&replayed["secret"], &replayed["rotation"]), (&Value::Null, &rotated["rotation"]));
        tails.push(secret[secret.len() - 49..secret.len() - 6].to_owned());
    }
    for tail in &tails {
        for path in [&format!("/v1/keys/{id}"), "/v1/audit", "/v1/events?limit=500"] {
            assert!(!api.get(path).await.text().contains(tail), "{path} shows the secret");
        }
    }
    for (name, bytes) in server.everything_written() {
        let holds = tails.iter().any(|tail| bytes.windows(tail.len()).any(|part| part == tail.as_bytes()));
        assert!(!holds, "{name} holds the secret");
    }
}

async fn a_change_of_a_key_holds_from_its_answer_on(server: Server) {
    let (api, nodes) = (server.api(), Nodes::of(&server));
    let (id, secret) = new_key(&api, json!({ "label": "Wide", "note": "Old" })).await;
    let key = server.api_with(&secret).at(nodes.url(1));
    key.get("/v1/envelopes").await.expect(200);
    let body =
        json!({ "label": "Narrow", "scopes": ["events:read"], "expires_at": "2099-01-01T00:00:00Z", "tags": ["a"] });
    let changed = patch(&api, &id, body).await.expect(200);
    key.get("/v1/envelopes").await.refused(403, "scope_required");
    assert_eq!(
        (&changed["label"], &changed["note"], &changed["tags"]),
        (&json!("Narrow"), &json!("Old"), &json!(["a"]))
    );
    assert_eq!(changed["expires_at"], json!("2099-01-01T00:00:00.000Z"));
    assert_eq!(key.get("/v1/me").await.header("iusign-key-expires"), "", "nothing ends within 14 days");
    let soon = now().plus(86_400_000).to_string();
    patch(&api, &id, json!({ "expires_at": soon })).await.expect(200);
    let answer = key.get("/v1/me").await;
    assert_eq!(answer.header("iusign-key-expires"), soon);
    assert_eq!(patch(&api, &id, json!({ "expires_at": null })).await.expect(200)["expires_at"], Value::Null);
    assert_eq!(key.get("/v1/me").await.header("iusign-key-expires"), "");
    patch(&api, &id, json!({ "allowlist": ["192.0.2.1"] })).await.refused(403, "tier_required");
    server.admin(&["tenants", "set-tier", "enterprise"]);
    let faults = patch(&api, &id, json!({ "allowlist": ["192.0.2.1"] })).await.faults();
    assert_eq!(faults, [("/allowlist".to_owned(), "locks_out_caller".to_owned())]);
    patch(&api, &id, json!({ "allowlist": ["192.0.2.1"], "confirm": true })).await.expect(200);
    key.get("/v1/me").await.refused(403, "ip_not_allowed");
    patch(&api, &id, json!({ "allowlist": [] })).await.expect(200);
    key.get("/v1/me").await.expect(200);
    let faults = patch(&api, &id, json!({ "label": "", "expires_at": "2020-01-01T00:00:00Z" })).await.faults();
    assert_eq!(faults.iter().map(|(at, _)| at.as_str()).collect::<Vec<_>>(), ["/expires_at", "/label"]);
    let events = api.get("/v1/events?limit=500&types=key.updated").await.expect(200);
    let first = &events["data"][0];
    assert_eq!((&first["previous"]["label"], &first["data"]["key"]["label"]), (&json!("Wide"), &json!("Narrow")));
    api.post_empty(&format!("/v1/keys/{id}/revoke")).await.expect(200);
    patch(&api, &id, json!({ "scopes": ["*"] })).await.refused(409, "key_status");
    patch(&api, &id, json!({ "note": "Was on a slide" })).await.expect(200);
}

async fn what_a_key_changes_lies_within_it(server: Server) {
    let api = server.api();
    let scopes =
        json!({ "label": "Writer", "scopes": ["keys:write", "keys:read"], "expires_at": "2099-01-01T00:00:00Z" });
    let (writer_id, writer) = new_key(&api, scopes).await;
    let writer = server.api_with(&writer);
    let (child, _) = new_key(&writer, json!({ "label": "Child", "scopes": ["keys:read"] })).await;
    patch(&writer, &child, json!({ "scopes": ["keys:read", "keys:write"] })).await.expect(200);
    for (id, body, pointer) in [
        (&child, json!({ "scopes": ["envelopes:read"] }), "/scopes"),
        (&child, json!({ "expires_at": null }), "/expires_at"),
        (&writer_id, json!({ "scopes": ["*"] }), "/scopes"),
        (&writer_id, json!({ "expires_at": "2099-01-01T00:00:01Z" }), "/expires_at"),
    ] {
        let refused = patch(&writer, id, body.clone()).await.refused(403, "beyond_the_key");
        assert_eq!(refused["errors"][0]["pointer"], json!(pointer), "{body}");
    }
    let first = text(&api.get("/v1/me").await.expect(200)["key"], "id");
    patch(&writer, &first, json!({ "label": "Mine now" })).await.refused(403, "beyond_the_key");
    patch(&writer, &writer_id, json!({ "scopes": ["keys:read"] })).await.expect(200);
    patch(&writer, &writer_id, json!({ "label": "x" })).await.refused(403, "scope_required");
}

async fn a_pending_key_is_refused_until_it_is_activated(server: Server) {
    let api = server.api();
    let (id, secret) = new_key(&api, json!({ "label": "Stored first", "pending": true })).await;
    let key = server.api_with(&secret);
    key.get("/v1/envelopes").await.refused(401, "pending_key");
    let pending = api.get("/v1/keys?status=pending").await.expect(200);
    assert_eq!(pending["data"].as_array().map(Vec::len), Some(1), "{pending:#}");
    let path = format!("/v1/keys/{id}/activate");
    for _ in 0..2 {
        assert_eq!(api.post_empty(&path).await.expect(200)["status"], json!("active"));
        key.get("/v1/envelopes").await.expect(200);
    }
    let events = api.get("/v1/events?limit=500&types=key.activated").await.expect(200);
    assert_eq!(events["data"].as_array().map(Vec::len), Some(1), "it is told once");
    let narrow = json!({ "label": "Narrow", "scopes": ["keys:write"] });
    let narrow = server.api_with(&new_key(&api, narrow).await.1);
    let (wide, _) = new_key(&api, json!({ "label": "Wide", "pending": true })).await;
    narrow.post_empty(&format!("/v1/keys/{wide}/activate")).await.refused(403, "beyond_the_key");
    api.post_empty(&format!("/v1/keys/{id}/revoke")).await.expect(200);
    api.post_empty(&path).await.refused(409, "key_status");
}

async fn a_key_that_a_key_made_is_told_to_the_administrators(server: Server) {
    let (child, _) = new_key(&server.api(), json!({ "label": "Child" })).await;
    let told = server.sql("SELECT purpose, environment, body FROM notices ORDER BY id");
    let told: Vec<_> = told.iter().filter(|row| row.contains(&child)).collect();
    assert_eq!(told.len(), 1, "one mail to the one administrator: {told:?}");
    assert!(told[0].starts_with("key_made|development|"), "{told:?}");
}

async fn the_command_line_rotates_changes_and_activates(server: Server) {
    let run = |arguments: &[&str]| -> Value {
        let output = server.iusign(&[&["--json", "keys"], arguments].concat());
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {out}{err}");
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}"))
    };
    let made = run(&["create", "--label", "By hand", "--pending"]);
    let (id, secret) = (text(&made, "id"), text(&made, "secret"));
    server.api_with(&secret).get("/v1/events").await.refused(401, "pending_key");
    assert_eq!(run(&["activate", &id])["status"], json!("active"));
    let changed =
        run(&["update", &id, "--label", "Renamed", "--scope", "keys:read", "--expires-at", "2099-01-01T00:00:00Z"]);
    assert_eq!((&changed["label"], &changed["scopes"]), (&json!("Renamed"), &json!(["keys:read"])));
    assert_eq!(run(&["update", &id, "--never-expires"])["expires_at"], Value::Null);
    let rotated = run(&["rotate", &id, "--grace", "PT1H"]);
    // No program may go on as if it had a secret.
    let again = server.iusign(&["keys", "rotate", &id]);
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(!again.status.success() && said.contains("waits for its first use"), "{said}");
    let new = text(&rotated, "secret");
    server.api_with(&new).get("/v1/me").await.expect(200);
    let output = server.iusign(&["keys", "get", &id]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("the old secret ends") && shown.contains(&new[new.len() - 4..]), "{shown}");
    let list = server.iusign(&["keys", "list"]);
    assert!(String::from_utf8_lossy(&list.stdout).contains("active, rotating"));
    let refused = server.iusign(&["keys", "rotate", &id]);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("replace"), "{refused:?}");
}
