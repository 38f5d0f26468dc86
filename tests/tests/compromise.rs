//! Keys that are suspended, transferred, revoked by the dozen, or reported as stolen: what holds from the answer on.

use serde_json::{Value, json};
use tests::{
    Api, Server, both_engines,
    fire::{Makers, of_template, template},
    paper,
};

both_engines! {
    a_suspended_key_is_refused_until_it_is_resumed
    a_key_resumes_and_takes_over_only_what_lies_within_it
    many_keys_are_revoked_at_once_and_listed_before
    a_receipt_tells_the_last_request_and_is_complete_soon
    a_stolen_key_goes_with_all_that_it_made_and_what_it_did_waits
    a_stolen_key_makes_no_replacement_for_itself
    a_stolen_key_leaves_no_child_that_it_made_meanwhile
    two_keys_that_report_each_other_both_have_their_answer
    a_batch_of_a_stolen_key_is_voided_by_and_by
    a_key_whose_secret_a_stolen_key_was_given_goes_with_it
    what_was_decided_moves_along_with_what_is_held
    to_take_back_takes_the_scopes_of_taking_back_and_can_not_be_undone
    a_compromise_is_told_once_and_says_why_a_key_is_revoked
    a_replacement_is_like_the_old_key_and_in_the_way_of_no_alarm
    a_compromise_that_was_not_in_force_is_not_answered_again
    a_bulk_revocation_that_broke_off_is_brought_into_force_by_its_repetition
    to_change_keys_is_not_to_read_them
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name}: {value}")).to_owned()
}

async fn key(api: &Api, body: Value) -> (String, String) {
    let made = api.post("/v1/keys", body).await.expect(201);
    (text(&made, "id"), text(&made, "secret"))
}

async fn a_suspended_key_is_refused_until_it_is_resumed(server: Server) {
    let api = server.api();
    let (id, secret) = key(&api, json!({ "label": "Nightly" })).await;
    let nightly = server.api_with(&secret);
    nightly.get("/v1/me").await.expect(200);
    let path = format!("/v1/keys/{id}");
    let suspended = api.post(&format!("{path}/suspend"), json!({ "note": "What breaks?" })).await.expect(200);
    assert_eq!(suspended["status"], json!("suspended"));
    nightly.get("/v1/me").await.refused(401, "suspended_key");
    // Again: the same.
    assert_eq!(api.post_empty(&format!("{path}/suspend")).await.expect(200)["status_at"], suspended["status_at"]);
    assert_eq!(api.post_empty(&format!("{path}/resume")).await.expect(200)["status"], json!("active"));
    nightly.get("/v1/me").await.expect(200);
    api.post_empty(&format!("{path}/revoke")).await.expect(200);
    api.post_empty(&format!("{path}/suspend")).await.refused(409, "key_status");
    api.post_empty(&format!("{path}/resume")).await.refused(409, "key_status");
    let events = api.get("/v1/events?limit=500&types=key.*").await.expect(200).to_string();
    assert!(events.contains("key.suspended") && events.contains("key.resumed"), "{events}");
}

async fn a_key_resumes_and_takes_over_only_what_lies_within_it(server: Server) {
    let api = server.api();
    let me = api.get("/v1/me").await.expect(200)["key"].clone();
    let owner = text(&me, "administrator");
    let (_, secret) = key(&api, json!({ "label": "Narrow", "scopes": ["keys:write", "keys:read"] })).await;
    let narrow = server.api_with(&secret);
    let (wide, _) = key(&api, json!({ "label": "Wide" })).await;
    narrow.post_empty(&format!("/v1/keys/{wide}/suspend")).await.expect(200);
    narrow.post_empty(&format!("/v1/keys/{wide}/resume")).await.refused(403, "beyond_the_key");
    api.post_empty(&format!("/v1/keys/{wide}/resume")).await.expect(200);
    server.admin(&["users", "add", "next@example.com", "--name", "Next", "--role", "admin"]);
    server.admin(&["users", "set-role", "next@example.com", "owner"]);
    let (theirs, secret) = server.key_of(&server.tenant, "development", None).await;
    let next = text(&server.api_with(&secret).get("/v1/me").await.expect(200)["key"], "administrator");
    assert_ne!(next, owner);
    // It can't give the rights of another: that would be more than it has.
    let path = format!("/v1/keys/{wide}/transfer");
    api.post(&path, json!({ "administrator": next })).await.refused(403, "beyond_the_key");
    assert_eq!(api.post(&path, json!({ "administrator": "ada" })).await.faults()[0].0, "/administrator");
    let path = format!("/v1/keys/{theirs}/transfer");
    narrow.post(&path, json!({ "administrator": owner })).await.refused(403, "beyond_the_key");
    let taken = api.post(&path, json!({ "administrator": owner })).await.expect(200);
    assert_eq!((text(&taken, "administrator"), text(&taken, "status")), (owner.clone(), "active".to_owned()));
    // The secret stays, and the rights are the new administrator's.
    server.api_with(&secret).get("/v1/me").await.expect(200);
    server.admin(&["users", "suspend", &owner, "--confirm"]);
    server.api_with(&secret).get("/v1/me").await.refused(403, "role_required");
}

async fn many_keys_are_revoked_at_once_and_listed_before(server: Server) {
    let api = server.api();
    let mut secrets = Vec::new();
    for number in 0..5 {
        let tags = if number < 3 { json!(["old", "x"]) } else { json!(["new"]) };
        secrets.push(key(&api, json!({ "label": format!("Key {number}"), "tags": tags })).await);
    }
    api.post("/v1/keys/revoke", json!({})).await.faults();
    let dry = api.post("/v1/keys/revoke", json!({ "tag": "old", "dry_run": true })).await.expect(200);
    assert_eq!((dry["keys"].as_array().map(Vec::len), &dry["effective_at"]), (Some(3), &Value::Null), "{dry:#}");
    server.api_with(&secrets[0].1).get("/v1/me").await.expect(200);
    let done = api.post("/v1/keys/revoke", json!({ "tag": "old", "note": "Spring" })).await.expect(200);
    assert_eq!(done["keys"].as_array().map(Vec::len), Some(3), "{done:#}");
    assert!(done["effective_at"].is_string(), "{done:#}");
    for (at, (id, secret)) in secrets.iter().enumerate() {
        let answer = server.api_with(secret).get("/v1/me").await;
        if at < 3 {
            answer.refused(401, "revoked_key");
            assert!(api.get(&format!("/v1/keys/{id}/receipt")).await.expect(200)["effective_at"].is_string());
        } else {
            answer.expect(200);
        }
    }
    // Nothing is idle for a day here.
    let idle = api.post("/v1/keys/revoke", json!({ "idle_days": 1, "dry_run": true })).await.expect(200);
    assert_eq!(idle["keys"], json!([]), "{idle:#}");
    let faults = api.post("/v1/keys/revoke", json!({ "environment": "production" })).await.faults();
    assert_eq!(faults[0].0, "/environment");
    let user = text(&api.get("/v1/me").await.expect(200)["key"], "administrator");
    let all = api.post("/v1/keys/revoke", json!({ "user": user, "environment": "development" })).await.expect(200);
    assert_eq!(all["keys"].as_array().map(Vec::len), Some(3), "{all:#}");
    api.get("/v1/me").await.refused(401, "revoked_key");
}

async fn a_receipt_tells_the_last_request_and_is_complete_soon(server: Server) {
    let api = server.api();
    let (id, secret) = key(&api, json!({ "label": "Watched" })).await;
    let (child, _) = {
        let made = server.api_with(&secret).post("/v1/keys", json!({ "label": "Child" })).await.expect(201);
        (text(&made, "id"), ())
    };
    let watched = server.api_with(&secret);
    let poll = {
        let watched = watched.clone();
        tokio::spawn(async move { watched.get("/v1/events?after=now&wait=60").await })
    };
    // Admitted after the poll was sent, on the same connections: the last that passes.
    let last = watched.get("/v1/keys").await;
    last.expect(200);
    api.get(&format!("/v1/keys/{id}/receipt")).await.refused(404, "not_found");
    let receipt = api.post_empty(&format!("/v1/keys/{id}/revoke")).await.expect(200);
    assert_eq!(receipt["made"]["keys"], json!([child]), "{receipt:#}");
    for _ in 0..3 {
        watched.get("/v1/me").await.refused(401, "revoked_key");
    }
    poll.await.expect("ended").refused(401, "revoked_key");
    let mut after = String::new();
    let told = loop {
        let path = format!("/v1/events?limit=500&wait=20&types=key.receipt_completed{after}");
        let page = api.get(&path).await.expect(200);
        let mine =
            page["data"].as_array().expect("a list").iter().find(|event| event.to_string().contains(&id)).cloned();
        if let Some(event) = mine {
            break event;
        }
        after = format!("&after={}", text(&page, "next"));
    };
    let receipt = api.get(&format!("/v1/keys/{id}/receipt")).await.expect(200);
    assert_eq!(receipt["complete"], json!(true), "{receipt:#}");
    assert_eq!((&receipt["refused"], &receipt["streams_closed"]), (&json!(3), &json!(1)), "{receipt:#}");
    let passed = &receipt["last_passed"];
    assert!(["GET /v1/keys", "GET /v1/events"].contains(&passed["route"].as_str().expect("a route")), "{receipt:#}");
    assert_eq!(passed["address"], json!("127.0.0.1"));
    assert_eq!(told["data"]["receipt"]["refused"], json!(3), "{told:#}");
}

async fn a_stolen_key_goes_with_all_that_it_made_and_what_it_did_waits(server: Server) {
    let api = server.api();
    let document = api.sample().await;
    let (id, secret) = key(&api, json!({ "label": "Stolen" })).await;
    let stolen = server.api_with(&secret);
    let (child, child_secret) = key(&stolen, json!({ "label": "Child" })).await;
    let (grandchild, _) = key(&server.api_with(&child_secret), json!({ "label": "Grandchild" })).await;
    let draft = |send: bool| {
        let mut body = paper::for_one(&document, "taro@example.com");
        body["send"] = json!(send);
        body
    };
    let kept = text(&stolen.create(draft(false)).await, "id");
    let held = text(&server.api_with(&child_secret).create(draft(false)).await, "id");
    let sent = text(&stolen.create(draft(true)).await, "id");
    let own = text(&api.create(draft(false)).await, "id");

    let body = json!({ "note": "Seen in a paste", "replacement": true });
    let done = api.post(&format!("/v1/keys/{id}/compromise"), body).await.expect(200);
    assert_eq!(done["revoked"], json!([id, child, grandchild]), "{done:#}");
    let replacement = server.api_with(done["replacement"]["secret"].as_str().expect("a secret"));
    replacement.get("/v1/me").await.expect(200);
    stolen.get("/v1/me").await.refused(401, "revoked_key");
    server.api_with(&child_secret).get("/v1/me").await.refused(401, "revoked_key");
    let list = api.get(&format!("/v1/keys/{id}/compromise?limit=100")).await.expect(200);
    let objects: Vec<&str> =
        list["data"].as_array().expect("a list").iter().filter_map(|deed| deed["object"].as_str()).collect();
    for object in [&kept, &held, &sent, &child, &grandchild] {
        assert!(objects.contains(&object.as_str()), "{object} is missing: {list:#}");
    }
    assert!(!objects.contains(&own.as_str()), "{list:#}");
    // In pages, each once.
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("/v1/keys/{id}/compromise?limit=2{after}")).await.expect(200);
        seen.extend(page["data"].as_array().expect("a list").iter().map(|deed| text(deed, "object")));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(seen, objects);

    let send = async |envelope: &str| api.post_empty(&format!("/v1/envelopes/{envelope}/send")).await;
    send(&kept).await.refused(409, "held_after_compromise");
    send(&held).await.refused(409, "held_after_compromise");
    send(&own).await.expect(200);
    let decide = format!("/v1/keys/{id}/compromise/decide");
    let faults = api.post(&decide, json!({ "decisions": [{ "object": own, "decision": "keep" }] })).await.faults();
    assert_eq!(faults[0].0, "/decisions/0/object");
    let decisions =
        json!({ "decisions": [{ "object": kept, "decision": "keep" }, { "object": sent, "decision": "void" }] });
    assert_eq!(api.post(&decide, decisions).await.expect(200), json!({ "decided": 2 }));
    send(&kept).await.expect(200);
    assert_eq!(api.envelope(&sent).await["status"], json!("voided"));
    assert_eq!(api.post(&decide, json!({ "all": "void" })).await.expect(200), json!({ "decided": 1 }));
    api.wait_for(&held, "envelope.voided").await;
    assert_eq!(api.envelope(&kept).await["status"], json!("sent"));
    // Again: nothing more happens, and the answer is the same.
    let again = api.post(&format!("/v1/keys/{id}/compromise"), json!({})).await.expect(200);
    assert_eq!(again["revoked"], done["revoked"]);
}

async fn a_stolen_key_makes_no_replacement_for_itself(server: Server) {
    let api = server.api();
    let (id, secret) = key(&api, json!({ "label": "Stolen" })).await;
    let stolen = server.api_with(&secret);
    let path = format!("/v1/keys/{id}/compromise");
    stolen.post(&path, json!({ "replacement": true })).await.refused(403, "beyond_the_key");
    api.post(&path, json!({ "since": "2999-01-01T00:00:00Z" })).await.faults();
    stolen.get("/v1/me").await.expect(200);
    // It may report itself.
    stolen.post(&path, json!({})).await.expect(200);
    stolen.get("/v1/me").await.refused(401, "revoked_key");
}

async fn a_stolen_key_leaves_no_child_that_it_made_meanwhile(server: Server) {
    const ROUNDS: usize = 10;
    let api = server.api();
    for _ in 0..ROUNDS {
        let (id, secret) = key(&api, json!({ "label": "Stolen" })).await;
        let thieves = Makers::start(&server.api_with(&secret)).await;
        let done = api.post(&format!("/v1/keys/{id}/compromise"), json!({})).await.expect(200);
        for child in thieves.made().await {
            server.api_with(&text(&child, "secret")).get("/v1/me").await.refused(401, "revoked_key");
        }
        // Also those whose answer was that the key is revoked: they were not made.
        let receipt = api.get(&format!("/v1/keys/{id}/receipt")).await.expect(200);
        let made = receipt["made"]["keys"].as_array().expect("a list");
        assert_eq!(done["revoked"].as_array().map(Vec::len), Some(made.len() + 1), "{done:#} {receipt:#}");
    }
}

async fn two_keys_that_report_each_other_both_have_their_answer(server: Server) {
    const ROUNDS: usize = 15;
    let api = server.api();
    for _ in 0..ROUNDS {
        let (one, two) = (key(&api, json!({ "label": "One" })).await, key(&api, json!({ "label": "Two" })).await);
        let report = async |by: &str, whom: &str| {
            server.api_with(by).post(&format!("/v1/keys/{whom}/compromise"), json!({})).await
        };
        let (first, second) = tokio::join!(report(&one.1, &two.0), report(&two.1, &one.0));
        assert!(first.status == 200 || second.status == 200, "{:?} and {:?}", first.body, second.body);
        for (answer, whom) in [(first, &two), (second, &one)] {
            if answer.status == 200 {
                server.api_with(&whom.1).get("/v1/me").await.refused(401, "revoked_key");
            } else {
                answer.refused(401, "revoked_key");
            }
        }
    }
}

async fn a_batch_of_a_stolen_key_is_voided_by_and_by(server: Server) {
    const ROWS: usize = 120;
    let api = server.api();
    let template = template(&api).await;
    let (id, secret) = key(&api, json!({ "label": "Stolen" })).await;
    let stolen = server.api_with(&secret);
    let body = json!({ "name": "Many", "template": { "id": template }, "send_rate_per_minute": 100 });
    let batch = text(&stolen.post("/v1/batches", body).await.expect(201), "id");
    let rows: String = (1..=ROWS).map(|row| format!("Taro {row},taro{row}@example.com\n")).collect();
    let path = format!("/v1/batches/{batch}");
    stolen.put(&format!("{path}/rows"), "text/csv", format!("Client.name,Client.email\n{rows}")).await.expect(200);
    stolen.post_empty(&format!("{path}/start")).await.expect(200);
    while api.get(&path).await.expect(200)["created"].as_i64() == Some(0) {}
    let done = api.post(&format!("/v1/keys/{id}/compromise"), json!({})).await.expect(200);
    assert_eq!(done["paused"], json!([batch]), "{done:#}");
    let paused = api.get(&path).await.expect(200);
    assert_eq!(
        (&paused["status"], &paused["problem"]["code"]),
        (&json!("paused"), &json!("key_revoked")),
        "{paused:#}"
    );
    api.post_empty(&format!("{path}/resume")).await.refused(409, "held_after_compromise");
    let decide = format!("/v1/keys/{id}/compromise/decide");
    api.post(&decide, json!({ "decisions": [{ "object": batch, "decision": "void" }] })).await.expect(200);
    loop {
        let list = api.get(&format!("/v1/keys/{id}/compromise?limit=100")).await.expect(200);
        let deed = list["data"].as_array().expect("a list").iter().find(|deed| deed["object"] == json!(batch)).cloned();
        let deed = deed.unwrap_or_else(|| panic!("the batch is missing: {list:#}"));
        assert_eq!(deed["decision"], json!("void"));
        if deed["decided_at"].is_string() {
            break;
        }
        api.get("/v1/events?after=now&wait=1").await.expect(200);
    }
    assert_eq!(api.get(&path).await.expect(200)["status"], json!("cancelled"));
    let sent = api.get(&format!("/v1/envelopes?batch={batch}&status=sent")).await.expect(200);
    assert_eq!(sent["data"], json!([]), "{sent:#}");
    // Another key would have sent it.
    let other = api.create(of_template(&template, "taro@example.com")).await;
    assert_eq!(other["status"], json!("sent"));
}

/// A key made at a later moment than whatever came before: its secret, and when.
async fn later(api: &Api) -> String {
    let before = text(&api.post("/v1/keys", json!({ "label": "Mark" })).await.expect(201), "created_at");
    loop {
        let mark = text(&api.post("/v1/keys", json!({ "label": "Mark" })).await.expect(201), "created_at");
        if mark != before {
            return mark;
        }
    }
}

async fn a_key_whose_secret_a_stolen_key_was_given_goes_with_it(server: Server) {
    let api = server.api();
    let (id, secret) = key(&api, json!({ "label": "Stolen" })).await;
    let stolen = server.api_with(&secret);
    let (victim, victim_secret) = key(&api, json!({ "label": "Victim" })).await;
    let (child, child_secret) = key(&server.api_with(&victim_secret), json!({ "label": "Older child" })).await;
    let (spared, spared_secret) = key(&api, json!({ "label": "Rotated before" })).await;
    stolen.post_empty(&format!("/v1/keys/{spared}/rotate")).await.expect(200);
    let since = later(&api).await;

    let rotate = async |by: &Api, whom: &str, body: Value| {
        text(&by.post(&format!("/v1/keys/{whom}/rotate"), body).await.expect(200), "secret")
    };
    let taken = server.api_with(&rotate(&stolen, &victim, json!({})).await);
    let (younger, younger_secret) = key(&taken, json!({ "label": "Younger child" })).await;
    let mut draft = paper::for_one(&api.sample().await, "taro@example.com");
    draft["send"] = json!(false);
    let held = text(&taken.create(draft).await, "id");
    // However often it is replaced: who was given the first may have been given the next.
    let next = rotate(&taken, &victim, json!({ "replace": true })).await;
    server.api_with(&next).get("/v1/me").await.expect(200);

    let path = format!("/v1/keys/{id}/compromise");
    let done = api.post(&path, json!({ "since": since })).await.expect(200);
    assert_eq!(done["revoked"], json!([id, victim, younger]), "{done:#}");
    for secret in [&victim_secret, &next, &younger_secret] {
        server.api_with(secret).get("/v1/me").await.refused(401, "revoked_key");
    }
    for secret in [&child_secret, &spared_secret] {
        server.api_with(secret).get("/v1/me").await.expect(200);
    }
    assert_eq!(text(&api.get(&format!("/v1/keys/{victim}")).await.expect(200), "reason"), "compromised");
    api.post_empty(&format!("/v1/envelopes/{held}/send")).await.refused(409, "held_after_compromise");
    let list = api.get(&format!("{path}?limit=100")).await.expect(200);
    assert!(list.to_string().contains(&held) && !list.to_string().contains(&child), "{list:#}");
    // Who knows no better says nothing of the time: then what was rotated before goes too.
    let done = api.post(&path, json!({})).await.expect(200);
    assert_eq!(done["revoked"].as_array().map(Vec::len), Some(5), "{done:#}");
    assert!(done["revoked"].to_string().contains(&spared), "{done:#}");
}

async fn what_was_decided_moves_along_with_what_is_held(server: Server) {
    let api = server.api();
    let mut draft = paper::for_one(&api.sample().await, "taro@example.com");
    draft["send"] = json!(false);
    for parent_first in [false, true] {
        let (parent, secret) = key(&api, json!({ "label": "Parent" })).await;
        let (child, child_secret) = key(&server.api_with(&secret), json!({ "label": "Child" })).await;
        let thief = server.api_with(&child_secret);
        let kept = text(&thief.create(draft.clone()).await, "id");
        let voided = text(&thief.create(draft.clone()).await, "id");
        let compromise = |id: &str| format!("/v1/keys/{id}/compromise");
        let (first, second) = if parent_first { (&parent, &child) } else { (&child, &parent) };
        api.post(&compromise(first), json!({})).await.expect(200);
        let keep = json!({ "decisions": [{ "object": kept, "decision": "keep" }] });
        api.post(&format!("{}/decide", compromise(first)), keep).await.expect(200);
        api.post(&compromise(second), json!({})).await.expect(200);
        for id in [&parent, &child] {
            let list = api.get(&format!("{}?limit=100", compromise(id))).await.expect(200);
            let deeds = list["data"].as_array().expect("a list");
            let decided = |object: &str| {
                let deed = deeds.iter().find(|deed| deed["object"] == json!(object));
                deed.unwrap_or_else(|| panic!("{object} is missing: {list:#}"))["decision"].clone()
            };
            assert_eq!((decided(&kept), decided(&voided)), (json!("keep"), Value::Null), "{parent_first} {id}");
        }
        api.post_empty(&format!("/v1/envelopes/{kept}/send")).await.expect(200);
        api.post_empty(&format!("/v1/envelopes/{voided}/send")).await.refused(409, "held_after_compromise");
        api.post(&format!("{}/decide", compromise(second)), json!({ "all": "void" })).await.expect(200);
        api.wait_for(&voided, "envelope.voided").await;
        assert_eq!(api.envelope(&kept).await["status"], json!("sent"), "{parent_first}");
    }
}

async fn to_take_back_takes_the_scopes_of_taking_back_and_can_not_be_undone(server: Server) {
    let api = server.api();
    let (id, secret) = key(&api, json!({ "label": "Stolen" })).await;
    let envelope =
        text(&server.api_with(&secret).create(paper::for_one(&api.sample().await, "taro@example.com")).await, "id");
    api.post(&format!("/v1/keys/{id}/compromise"), json!({})).await.expect(200);
    let decide = format!("/v1/keys/{id}/compromise/decide");
    let decision = |decision: &str| json!({ "decisions": [{ "object": envelope, "decision": decision }] });
    let with = async |scopes: Value| {
        let (_, secret) = key(&api, json!({ "label": "Narrow", "scopes": scopes })).await;
        server.api_with(&secret)
    };
    let keys = with(json!(["keys:write"])).await;
    for body in [decision("void"), json!({ "all": "void" })] {
        let refusal = keys.post(&decide, body).await.refused(403, "scope_required");
        assert!(text(&refusal, "detail").contains("envelopes:write"), "{refusal}");
    }
    assert_eq!(api.envelope(&envelope).await["status"], json!("sent"));
    keys.post(&decide, decision("keep")).await.expect(200);
    let envelopes = with(json!(["keys:write", "envelopes:write"])).await;
    let refusal = envelopes.post(&decide, json!({ "all": "void" })).await.refused(403, "scope_required");
    assert!(text(&refusal, "detail").contains("batches:write"), "{refusal}");
    envelopes.post(&decide, decision("void")).await.expect(200);
    assert_eq!(api.envelope(&envelope).await["status"], json!("voided"));
    // Again: the same. The other way round there is nothing left to keep.
    envelopes.post(&decide, decision("void")).await.expect(200);
    let faults = api.post(&decide, decision("keep")).await.faults();
    assert_eq!(faults, [("/decisions/0".to_owned(), "taken_back".to_owned())]);
}

async fn a_compromise_is_told_once_and_says_why_a_key_is_revoked(server: Server) {
    let api = server.api();
    let (id, _) = key(&api, json!({ "label": "Stolen" })).await;
    let revoked = api.post_empty(&format!("/v1/keys/{id}/revoke")).await.expect(200);
    assert_eq!(revoked["key"]["reason"], json!("manual"), "{revoked:#}");
    for _ in 0..3 {
        let done = api.post(&format!("/v1/keys/{id}/compromise"), json!({ "note": "After all" })).await.expect(200);
        let key = &done["key"];
        assert_eq!((&key["reason"], &key["status_at"]), (&json!("compromised"), &revoked["key"]["status_at"]));
    }
    let told = |list: &Value, name: &str, what: &str| {
        let list = list["data"].as_array().expect("a list");
        list.iter().filter(|one| one[name] == json!(what) && one.to_string().contains(&id)).count()
    };
    let events = api.get("/v1/events?limit=500&types=key.*").await.expect(200);
    let log = api.get(&format!("/v1/audit?object={id}")).await.expect(200);
    for what in ["key.compromised", "key.revoked"] {
        let times = if what == "key.revoked" { 2 } else { 1 };
        assert_eq!((told(&events, "type", what), told(&log, "action", what)), (times, times), "{what}: {log:#}");
    }
    // A shorter time says nothing new.
    api.post(&format!("/v1/keys/{id}/compromise"), json!({ "since": later(&api).await })).await.expect(200);
    let log = api.get(&format!("/v1/audit?object={id}")).await.expect(200);
    assert_eq!(told(&log, "action", "key.compromised"), 1, "{log:#}");
}

async fn a_replacement_is_like_the_old_key_and_in_the_way_of_no_alarm(server: Server) {
    server.admin(&["tenants", "set-tier", "enterprise", "--tenant", &server.tenant]);
    let api = server.api();
    let list = json!(["192.0.2.0/24"]);
    let compromise = |id: &str| format!("/v1/keys/{id}/compromise");
    for (more, mode, status) in [
        (json!({ "allowlist_mode": "observe" }), "observe", "active"),
        (json!({ "confirm": true, "pending": true }), "enforce", "pending"),
    ] {
        let mut body = json!({ "label": "Stolen", "allowlist": list });
        body.as_object_mut().expect("members").extend(more.as_object().expect("members").clone());
        let (id, _) = key(&api, body).await;
        let done = api.post(&compromise(&id), json!({ "replacement": true })).await.expect(200);
        let new = &done["replacement"];
        assert_eq!((&new["allowlist"], &new["allowlist_mode"], &new["status"]), (&list, &json!(mode), &json!(status)));
    }
    // A mode goes with the list that it is of.
    let observing = json!({ "label": "Observing", "allowlist": ["127.0.0.0/8"], "allowlist_mode": "observe" });
    let (_, secret) = key(&api, observing).await;
    let observing = server.api_with(&secret);
    let own = observing.post("/v1/keys", json!({ "label": "With the same list" })).await.expect(201);
    assert_eq!(own["allowlist_mode"], json!("observe"), "{own:#}");
    let body = json!({ "label": "With its own", "allowlist": ["127.0.0.1"] });
    assert_eq!(observing.post("/v1/keys", body).await.expect(201)["allowlist_mode"], json!("enforce"));

    let (id, _) = key(&api, json!({ "label": "Wide" })).await;
    let (_, secret) = key(&api, json!({ "label": "Narrow", "scopes": ["keys:write"] })).await;
    let narrow = server.api_with(&secret);
    let refusal = narrow.post(&compromise(&id), json!({ "replacement": true })).await.refused(403, "beyond_the_key");
    assert!(text(&refusal, "detail").ends_with("without `replacement` the key is revoked all the same."), "{refusal}");
    assert_eq!(api.get(&format!("/v1/keys/{id}")).await.expect(200)["status"], json!("active"));
    narrow.post(&compromise(&id), json!({})).await.expect(200);
}

async fn a_bulk_revocation_that_broke_off_is_brought_into_force_by_its_repetition(server: Server) {
    let api = server.api();
    let (id, secret) = key(&api, json!({ "label": "Tagged", "tags": ["old"] })).await;
    let bulk = json!({ "tag": "old" });
    let is_shared = server.block_journal();
    if is_shared {
        assert_eq!(api.post("/v1/keys/revoke", bulk.clone()).await.status, 500);
        server.api_with(&secret).get("/v1/me").await.refused(401, "revoked_key");
        let receipt = api.get(&format!("/v1/keys/{id}/receipt")).await.expect(200);
        assert_eq!((&receipt["effective_at"], &receipt["complete"]), (&Value::Null, &json!(false)));
        let shown = server.iusign(&["keys", "receipt", &id]);
        assert!(String::from_utf8_lossy(&shown.stdout).contains("not known yet"), "{shown:?}");
        assert_eq!(api.post("/v1/keys/revoke", bulk.clone()).await.status, 500, "not in force yet");
        server.unblock_journal();
    }
    api.post("/v1/keys/revoke", bulk.clone()).await.expect(200);
    assert_eq!(server.has_note(&id), is_shared, "it is in the journal before it is answered");
    let receipt = api.get(&format!("/v1/keys/{id}/receipt")).await.expect(200);
    assert!(receipt["effective_at"].is_string(), "{receipt}");
    let again = api.post("/v1/keys/revoke", bulk).await.expect(200);
    assert_eq!(again["keys"], json!([]), "what is in force is nothing to revoke");
}

async fn a_compromise_that_was_not_in_force_is_not_answered_again(server: Server) {
    let api = server.api().with("idempotency-key", "alarm");
    let (id, secret) = key(&server.api(), json!({ "label": "Stolen" })).await;
    let path = format!("/v1/keys/{id}/compromise");
    // The journal's shared notes can't be written: the key is revoked, and that is not in force after a restore.
    let is_shared = server.block_journal();
    if is_shared {
        let failed = api.post(&path, json!({ "replacement": true })).await;
        assert_eq!(failed.status, 500, "{}", failed.text());
        server.api_with(&secret).get("/v1/me").await.refused(401, "revoked_key");
        assert_eq!(api.post(&path, json!({ "replacement": true })).await.status, 500, "again, and not the kept answer");
        server.unblock_journal();
    }
    let done = api.post(&path, json!({ "replacement": true })).await;
    assert_eq!(done.header("idempotency-replayed"), "");
    let shown = done.expect(200);
    server.api_with(shown["replacement"]["secret"].as_str().expect("a secret")).get("/v1/me").await.expect(200);
    assert_eq!(server.has_note(&id), is_shared, "it is in the journal before it is answered");
    let again = api.post(&path, json!({ "replacement": true })).await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    let again = again.expect(200);
    assert_eq!((&again["effective_at"], &again["revoked"]), (&shown["effective_at"], &shown["revoked"]));
    assert_eq!(
        (&again["replacement"]["id"], &again["replacement"]["secret"]),
        (&shown["replacement"]["id"], &Value::Null)
    );
}

async fn to_change_keys_is_not_to_read_them(server: Server) {
    let api = server.api();
    let owner = text(&api.get("/v1/me").await.expect(200)["key"], "administrator");
    let (wide, _) = key(&api, json!({ "label": "Wide", "tags": ["x"] })).await;
    let (_, secret) = key(&api, json!({ "label": "Writes", "scopes": ["keys:write"] })).await;
    let writes = server.api_with(&secret);
    let dry = json!({ "tag": "x", "dry_run": true });
    let refusal = writes.post("/v1/keys/revoke", dry.clone()).await.refused(403, "scope_required");
    assert!(text(&refusal, "detail").contains("keys:read"), "{refusal}");
    let path = format!("/v1/keys/{wide}/transfer");
    writes.post(&path, json!({ "administrator": owner })).await.refused(403, "beyond_the_key");
    api.post(&path, json!({ "administrator": owner })).await.expect(200);
    assert_eq!(api.post("/v1/keys/revoke", dry).await.expect(200)["keys"].as_array().map(Vec::len), Some(1));
    // What no database can hold is a fault of the body, wherever it stands.
    for tag in ["a\0b", "\u{202e}", " "] {
        let faults = api.post("/v1/keys/revoke", json!({ "tag": tag })).await.faults();
        assert_eq!(faults[0].0, "/tag", "{tag:?}");
    }
}
