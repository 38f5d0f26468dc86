//! API keys: made, used, listed and revoked; a secret is shown once and lies nowhere in clear.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Server, both_engines, fire::template, paper, seconds_after};

both_engines! {
    a_key_is_made_used_and_revoked
    a_secret_is_shown_once_and_never_again
    a_key_gives_no_more_than_it_has
    keys_are_listed_in_pages_and_by_status
    what_is_wrong_with_a_new_key_is_said_all_at_once
    a_key_that_expires_is_refused_from_then_on
    a_revoked_key_stays_revoked_after_a_kill
    what_was_done_to_keys_is_in_the_audit_log_and_the_events
    a_key_does_not_hear_that_it_is_exposed
    a_nul_character_is_a_fault_of_the_request_wherever_it_stands
}

async fn a_key_is_made_used_and_revoked(server: Server) {
    let api = server.api();
    let made = api.post("/v1/keys", json!({ "label": "Nightly" })).await;
    assert_eq!(made.header("cache-control"), "no-store");
    let key = made.expect(201);
    let id = key["id"].as_str().expect("an id");
    assert_eq!(made.header("location"), format!("/v1/keys/{id}"));
    let secret = key["secret"].as_str().expect("a secret");
    assert_eq!((key["status"].as_str(), key["environment"].as_str()), (Some("active"), Some("development")));
    assert_eq!(key["last4"].as_str(), Some(&secret[secret.len() - 4..]));

    let child = server.api_with(secret);
    let me = child.get("/v1/me").await.expect(200);
    assert_eq!((me["key"]["id"].as_str(), me["tenant"]["id"].as_str()), (Some(id), Some(server.tenant.as_str())));
    assert_eq!((&me["address"], &me["key"]["scopes"]), (&json!("127.0.0.1"), &json!(["*"])));

    for _ in 0..2 {
        let body = json!({ "reason": "compromised", "note": "On a slide" });
        let receipt = api.post(&format!("/v1/keys/{id}/revoke"), body).await.expect(200);
        assert_eq!(
            (&receipt["key"]["status"], &receipt["key"]["reason"]),
            (&json!("revoked"), &json!("compromised")),
            "{receipt}"
        );
        let refused = child.get("/v1/me").await;
        refused.refused(401, "revoked_key");
        assert!(refused.header("www-authenticate").starts_with("Bearer"), "{}", refused.header("www-authenticate"));
    }
}

async fn a_secret_is_shown_once_and_never_again(server: Server) {
    let api = server.api();
    let again = api.with("idempotency-key", "once");
    let first = again.post("/v1/keys", json!({ "label": "Once" })).await.expect(201);
    let secret = first["secret"].as_str().expect("a secret").to_owned();
    assert_eq!(first["secret_shown"], json!(false));
    let second = again.post("/v1/keys", json!({ "label": "Once" })).await.expect(201);
    assert_eq!((&second["id"], &second["secret"], &second["secret_shown"]), (&first["id"], &json!(null), &json!(true)));

    let id = first["id"].as_str().expect("an id");
    let tail = &secret[secret.len() - 49..secret.len() - 6];
    for path in ["/v1/keys", &format!("/v1/keys/{id}"), "/v1/audit", "/v1/events?limit=500", "/v1/me"] {
        let answer = api.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(!answer.text().contains(tail), "{path} shows the secret");
    }
    // Through a failure too: a body that echoes it, and an Authorization header that is refused.
    let echo = api.post("/v1/keys", json!({ "label": secret.repeat(9) })).await;
    assert_eq!(echo.status, 422);
    assert!(!echo.text().contains(tail), "{}", echo.text());
    let in_url = api.get(&format!("/v1/me?key={secret}")).await;
    in_url.refused(401, "credentials_in_url");
    for (name, bytes) in server.everything_written() {
        let found = bytes.windows(tail.len()).any(|part| part == tail.as_bytes());
        assert!(!found, "{name} holds the secret");
    }
}

async fn a_key_gives_no_more_than_it_has(server: Server) {
    let api = server.api();
    let body =
        json!({ "label": "Narrow", "scopes": ["keys:write", "envelopes:read"], "expires_at": "2099-01-01T00:00:00Z" });
    let narrow = api.post("/v1/keys", body).await.expect(201);
    let narrow = server.api_with(narrow["secret"].as_str().expect("a secret"));
    for (body, pointer) in [
        (json!({ "label": "More", "scopes": ["envelopes:write"] }), "/scopes"),
        (json!({ "label": "More", "scopes": ["*"] }), "/scopes"),
        (json!({ "label": "More", "expires_at": "2099-01-02T00:00:00Z" }), "/expires_at"),
        (json!({ "label": "More", "environment": "production" }), "/environment"),
    ] {
        let answer = narrow.post("/v1/keys", body.clone()).await;
        let problem = answer.refused(403, "beyond_the_key");
        assert!(problem.to_string().contains(&pointer[1..]), "{body}: {problem}");
    }
    let child = narrow.post("/v1/keys", json!({ "label": "Child" })).await.expect(201);
    assert_eq!(child["scopes"], json!(["envelopes:read", "keys:write"]));
    assert_eq!(child["expires_at"], json!("2099-01-01T00:00:00.000Z"));
}

async fn keys_are_listed_in_pages_and_by_status(server: Server) {
    let api = server.api();
    let mut ids = Vec::new();
    for number in 0..5 {
        let made = api.post("/v1/keys", json!({ "label": format!("Key {number}") })).await.expect(201);
        ids.insert(0, made["id"].as_str().expect("an id").to_owned());
    }
    api.post_empty(&format!("/v1/keys/{}/revoke", ids[0])).await.expect(200);
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("/v1/keys?limit=2{after}")).await.expect(200);
        let data = page["data"].as_array().expect("a list");
        assert!(data.len() <= 2);
        seen.extend(data.iter().map(|key| key["id"].as_str().expect("an id").to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(seen[..5], ids);
    assert_eq!(seen.len(), 6);
    let revoked = api.get("/v1/keys?status=revoked").await.expect(200);
    assert_eq!(revoked["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(revoked["data"][0]["id"], json!(ids[0]));
    api.get("/v1/keys?status=dead").await.refused(400, "invalid_query");
    api.get("/v1/keys?colour=red").await.refused(400, "invalid_query");
    api.get("/v1/keys?limit=0").await.refused(400, "invalid_query");
    api.get("/v1/keys?after=nonsense").await.refused(400, "cursor_invalid");
}

async fn what_is_wrong_with_a_new_key_is_said_all_at_once(server: Server) {
    let api = server.api();
    let body = json!({ "label": "", "scopes": [], "expires_at": "2027-01-01", "allowlist": ["10.0.0.5/8", "x"] });
    let faults = api.post("/v1/keys", body).await.faults();
    let pointers: Vec<_> = faults.iter().map(|(pointer, _)| pointer.as_str()).collect();
    assert_eq!(pointers, ["/allowlist/0", "/allowlist/1", "/expires_at", "/label", "/scopes"], "{faults:?}");
    let unknown = api.post("/v1/keys", json!({ "label": "x", "scope": ["*"] })).await.faults();
    assert_eq!(unknown, [("/scope".to_owned(), "unknown_field".to_owned())]);
    let answer = api.post("/v1/keys", json!({ "label": "x", "scopes": ["envelopes:raed"] })).await;
    assert!(answer.text().contains("envelopes:raed"), "{}", answer.text());
    assert_eq!(answer.faults()[0].0, "/scopes/0");
    api.post("/v1/keys", json!({ "label": "x", "allowlist": ["192.0.2.0/24"] })).await.refused(403, "tier_required");
}

async fn a_key_that_expires_is_refused_from_then_on(server: Server) {
    let api = server.api();
    let now = api.get("/v1/me").await.header("date").to_owned();
    assert!(now.ends_with("GMT"), "{now}");
    let past = api.post("/v1/keys", json!({ "label": "Past", "expires_at": "2020-01-01T00:00:00Z" })).await.faults();
    assert_eq!(past[0].0, "/expires_at");
    // Two seconds from now by the server's own word; asked until it is refused, and it stays so.
    let made = api.post("/v1/keys", json!({ "label": "First" })).await.expect(201);
    let created = made["created_at"].as_str().expect("a time").to_owned();
    let soon = seconds_after(&created, 2);
    let made = api.post("/v1/keys", json!({ "label": "Soon", "expires_at": soon })).await.expect(201);
    let key = server.api_with(made["secret"].as_str().expect("a secret"));
    let mut answers = 0;
    while key.get("/v1/me").await.status == 200 {
        answers += 1;
        assert!(answers < 100_000, "it never expires");
    }
    key.get("/v1/me").await.refused(401, "expired_key");
    let id = made["id"].as_str().expect("an id");
    let shown = api.get(&format!("/v1/keys/{id}")).await.expect(200);
    assert_eq!(shown["status"], json!("expired"));
}

async fn a_revoked_key_stays_revoked_after_a_kill(mut server: Server) {
    let api = server.api();
    let made = api.post("/v1/keys", json!({ "label": "Dead" })).await.expect(201);
    let id = made["id"].as_str().expect("an id").to_owned();
    api.post_empty(&format!("/v1/keys/{id}/revoke")).await.expect(200);
    server.kill();
    server.start_again();
    assert!(server.ready.get("key").is_none(), "a second start shows no key: {}", server.ready);
    let dead = server.api_with(made["secret"].as_str().expect("a secret"));
    dead.get("/v1/me").await.refused(401, "revoked_key");
    assert_eq!(server.api().get("/v1/me").await.status, 200);
}

async fn what_was_done_to_keys_is_in_the_audit_log_and_the_events(server: Server) {
    let api = server.api();
    let made = api.post("/v1/keys", json!({ "label": "Told" })).await.expect(201);
    let id = made["id"].as_str().expect("an id");
    api.post_empty(&format!("/v1/keys/{id}/revoke")).await.expect(200);
    let events = api.get("/v1/events?types=key.*&limit=500").await.expect(200);
    let told: Vec<_> =
        events["data"].as_array().expect("a list").iter().filter(|e| e.to_string().contains(id)).collect();
    let kinds: Vec<_> = told.iter().map(|event| event["type"].as_str().expect("a type")).collect();
    assert_eq!(kinds, ["key.created", "key.revoked"]);
    let audit = api.get("/v1/audit").await.expect(200);
    let actions: Vec<_> = audit["data"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|entry| entry.to_string().contains(id))
        .map(|entry| entry["action"].as_str().expect("an action"))
        .collect();
    assert_eq!(actions, ["key.revoked", "key.created"], "{audit:#}");
}

async fn a_key_does_not_hear_that_it_is_exposed(server: Server) {
    let api = server.api();
    let made = api.post("/v1/keys", json!({ "label": "In a URL" })).await.expect(201);
    let (id, secret) = (made["id"].as_str().expect("an id"), made["secret"].as_str().expect("a secret"));
    server.stranger().get(&format!("/v1/me?key={secret}")).await.refused(401, "credentials_in_url");
    let path = format!("/v1/keys/{id}");
    while api.get(&path).await.expect(200)["exposed"].is_null() {
        api.get("/v1/events?after=now&wait=1").await.expect(200);
    }
    // Whoever has the key hears nothing of it, wherever they ask.
    let own = server.api_with(secret);
    let list = own.get("/v1/keys?limit=100").await.expect(200);
    let listed = list["data"].as_array().expect("a list").iter().find(|key| key["id"] == json!(id)).cloned();
    let rotated = own.post_empty(&format!("{path}/rotate")).await.expect(200);
    let told = own.get(&path).await.expect(200);
    for shown in [listed.expect("itself"), rotated, told] {
        assert_eq!((&shown["id"], &shown["exposed"]), (&json!(id), &Value::Null), "{shown:#}");
    }
    assert_eq!(api.get(&path).await.expect(200)["exposed"]["how"], json!("in_url"));
}

async fn a_nul_character_is_a_fault_of_the_request_wherever_it_stands(server: Server) {
    let api = server.api();
    let nul = "env_a\0b";
    let made = api.post("/v1/keys", json!({ "label": "Stolen" })).await.expect(201);
    let id = made["id"].as_str().expect("an id");
    let key = format!("/v1/keys/{id}");
    api.post(&format!("{key}/compromise"), json!({})).await.expect(200);
    let envelope = paper::for_one(&api.sample().await, "taro@example.com");
    let sent = api.create(envelope.clone()).await["id"].as_str().expect("an id").to_owned();
    let template = template(&api).await;
    let mut asked = vec![
        ("/v1/keys", json!({ "label": nul })),
        ("/v1/keys", json!({ "label": "x", "note": nul })),
        ("/v1/keys", json!({ "label": "x", "tags": [nul] })),
        ("/v1/keys/revoke", json!({ "tag": nul, "dry_run": true })),
        ("/v1/leaks", json!({ "tokens": [nul], "place": nul })),
        ("/v1/batches", json!({ "name": nul, "template": { "id": template } })),
        ("/v1/batches", json!({ "name": "x", "template": { "id": template }, "rows": [{ nul: nul }] })),
        ("/v1/batches", json!({ "name": "x", "template": { "id": template }, "defaults": { "title": nul } })),
        ("/v1/templates", json!({ "name": nul })),
    ];
    let paths: Vec<(&str, Value)> = vec![
        ("/decide", json!({ "decisions": [{ "object": nul, "decision": "keep" }] })),
        ("", json!({ "note": nul })),
    ];
    for (path, body) in paths {
        let answer = api.post(&format!("{key}/compromise{path}"), body).await;
        assert!((400..500).contains(&answer.status), "{path}: {}", answer.text());
    }
    for (name, value) in [
        ("/external_id", json!(nul)),
        ("/title", json!(nul)),
        ("/timezone", json!(nul)),
        ("/redirect_url", json!(nul)),
        ("/metadata", json!({ "of": nul })),
        ("/metadata", json!({ nul: "x" })),
        ("/values", json!({ nul: nul })),
        ("/message", json!({ "subject": nul, "body": nul })),
        ("/recipients/0/name", json!(nul)),
        ("/recipients/0/email", json!(nul)),
        ("/recipients/0/role", json!(nul)),
        ("/recipients/0/locale", json!(nul)),
        ("/documents", json!([nul])),
    ] {
        let mut body = envelope.clone();
        match body.pointer_mut(name) {
            Some(there) => *there = value,
            None => body[&name[1..]] = value,
        }
        asked.push(("/v1/envelopes", body));
    }
    for (path, body) in asked {
        let answer = api.post(path, body.clone()).await;
        assert!((200..500).contains(&answer.status), "{path} {body}: {}", answer.text());
    }
    let reason = api.post(&format!("/v1/envelopes/{sent}/void"), json!({ "reason": nul })).await;
    assert!((400..500).contains(&reason.status), "{}", reason.text());
    for body in [json!({ "label": nul }), json!({ "note": nul }), json!({ "tags": [nul] })] {
        let answer = api.send(Method::PATCH, &key, Some("application/json"), body.to_string()).await;
        assert!((400..500).contains(&answer.status), "{body}: {}", answer.text());
    }
    // A cursor is only a hint, which anybody can write.
    let scope = json!({ "tenant": server.tenant, "environment": "development" });
    let cursor = json!({ "s": scope, "l": "compromise", "p": "env_1" }).to_string();
    let write = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    api.get(&format!("{key}/compromise?after={}", write(&cursor))).await.expect(200);
    let cursor = cursor.replace("env_1", "env_\\u0000");
    api.get(&format!("{key}/compromise?after={}", write(&cursor))).await.refused(400, "cursor_invalid");
}
