//! Telemetry: every request with a right secret counts, whatever it was answered; and what an allowlist that observes sees.

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Api, Engine, Server, both_engines};

both_engines! {
    every_outcome_counts_and_last_use_is_right
    what_was_noted_is_written_at_the_stop
    an_allowlist_that_observes_lets_pass_and_records
    a_tenant_s_allowlist_observes_and_then_is_enforced
    the_use_of_a_key_is_asked_for_in_parts
}

async fn new_key(api: &Api, body: Value) -> (String, String) {
    let made = api.post("/v1/keys", body).await.expect(201);
    let text = |name: &str| made[name].as_str().expect("a text").to_owned();
    (text("id"), text("secret"))
}

/// Route, status and number of calls, as the API lists them.
fn calls(usage: &Value) -> Vec<(&str, i64, i64)> {
    let rows = usage["routes"].as_array().expect("routes");
    let number = |row: &Value, name: &str| row[name].as_i64().expect("a number");
    rows.iter()
        .map(|row| (row["route"].as_str().expect("a route"), number(row, "status"), number(row, "calls")))
        .collect()
}

async fn every_outcome_counts_and_last_use_is_right(server: Server) {
    let api = server.api();
    let (id, secret) = new_key(&api, json!({ "label": "Counted", "scopes": ["keys:read", "envelopes:write"] })).await;
    let key = server.api_with(&secret).with("user-agent", "nightly/7");
    for _ in 0..3 {
        key.get("/v1/me").await.expect(200);
    }
    key.get("/v1/envelopes").await.refused(403, "scope_required");
    key.post("/v1/envelopes", json!({ "colour": 1 })).await.faults();
    key.send(Method::POST, "/v1/envelopes", Some("application/json"), "{").await.refused(400, "invalid_json");
    key.get("/v1/keys/key_01k9x3m5c0e8a9v7r2d4t6y8b0").await.refused(404, "not_found");
    key.send(Method::HEAD, "/v1/me", None, "").await;
    // A wrong secret of the key, and a route that is none: nobody's call.
    let flip = if secret.ends_with('0') { "1" } else { "0" };
    let wrong = format!("{}{flip}", &secret[..secret.len() - 1]);
    server.api_with(&wrong).get("/v1/me").await.refused(401, "malformed_credentials");
    key.get("/v1/nothing").await.refused(404, "route_not_found");
    let last = key.get("/v1/keys?limit=1").await;
    last.expect(200);
    api.post_empty(&format!("/v1/keys/{id}/revoke")).await.expect(200);
    let refused = key.get("/v1/me").await;
    refused.refused(401, "revoked_key");

    let want = [
        ("GET /v1/envelopes", 403, 1),
        ("GET /v1/keys", 200, 1),
        ("GET /v1/keys/{id}", 404, 1),
        ("GET /v1/me", 200, 4),
        ("GET /v1/me", 401, 1),
        ("POST /v1/envelopes", 400, 1),
        ("POST /v1/envelopes", 422, 1),
    ];
    let usage = api.usage_of(&id, |usage| usage["calls"] == json!(10)).await;
    assert_eq!(calls(&usage), want, "{usage:#}");
    assert_eq!((&usage["failed"], &usage["key"]), (&json!(5), &json!(id)));
    let hours: i64 = usage["hours"].as_array().expect("hours").iter().filter_map(|hour| hour["calls"].as_i64()).sum();
    assert_eq!(hours, 10);
    let addresses = &usage["addresses"]["data"];
    assert_eq!((&addresses[0]["address"], &addresses[0]["calls"]), (&json!("127.0.0.1"), &json!(10)), "{usage:#}");
    let refusals: Vec<_> = usage["refusals"].as_array().expect("refusals").iter().map(|one| &one["code"]).collect();
    assert_eq!(refusals, [&json!("revoked_key"), &json!("scope_required")]);
    let first = &usage["refusals"][0];
    assert_eq!((&first["user_agent"], &first["was_refused"]), (&json!("nightly/7"), &json!(true)), "{first}");
    assert_eq!(first["request_id"], json!(refused.header("request-id")));
    // The last use is the last one that the secret was good for.
    let shown = api.get(&format!("/v1/keys/{id}")).await.expect(200);
    let used = &shown["last_used"];
    assert_eq!((&used["route"], &used["user_agent"]), (&json!("GET /v1/keys"), &json!("nightly/7")), "{shown:#}");
    assert_eq!(shown["secrets"][0]["last_used"], *used);
    let output = server.iusign(&["keys", "usage", &id, "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(told["routes"], usage["routes"]);
    let table = String::from_utf8_lossy(&server.iusign(&["keys", "usage", &id]).stdout).into_owned();
    assert!(table.contains("GET /v1/envelopes") && table.contains("revoked_key"), "{table}");
}

async fn what_was_noted_is_written_at_the_stop(mut server: Server) {
    let (id, secret) = new_key(&server.api(), json!({ "label": "Stopped" })).await;
    for _ in 0..7 {
        server.api_with(&secret).get("/v1/me").await.expect(200);
    }
    assert!(server.stop());
    assert_eq!(server.sql(&format!("SELECT count FROM key_calls WHERE key_id = '{id}'")), ["7"]);
    assert_eq!(server.sql(&format!("SELECT route FROM key_uses WHERE key_id = '{id}'")), ["GET /v1/me"]);
    assert_eq!(server.sql("SELECT count(*) FROM nodes"), ["0"], "nobody waits for a node that has ended");
    server.start_again();
    let usage = server.api().get(&format!("/v1/keys/{id}/usage")).await.expect(200);
    assert_eq!(calls(&usage), [("GET /v1/me", 200, 7)], "{usage:#}");
}

async fn an_allowlist_that_observes_lets_pass_and_records(server: Server) {
    server.admin(&["tenants", "set-tier", "enterprise"]);
    let api = server.api();
    let body = json!({ "label": "Office", "allowlist": ["127.0.0.7"], "allowlist_mode": "observe" });
    let (id, secret) = new_key(&api, body).await;
    let bearer = format!("Bearer {secret}");
    let outside = server.stranger_from(8).with("authorization", &bearer).get("/v1/me").await;
    assert_eq!(outside.expect(200)["key"]["allowlist_mode"], json!("observe"));
    server.stranger_from(7).with("authorization", &bearer).get("/v1/me").await.expect(200);
    let usage = api.usage_of(&id, |usage| usage["calls"] == json!(2)).await;
    let refusals = usage["refusals"].as_array().expect("refusals");
    assert_eq!(refusals.len(), 1, "{usage:#}");
    assert_eq!((&refusals[0]["code"], &refusals[0]["was_refused"]), (&json!("ip_not_allowed"), &json!(false)));
    assert_eq!(
        (&refusals[0]["address"], &refusals[0]["request_id"]),
        (&json!("127.0.0.8"), &json!(outside.header("request-id")))
    );
    assert_eq!(usage["failed"], json!(0));
    let seen: Vec<_> =
        usage["addresses"]["data"].as_array().expect("a list").iter().map(|seen| &seen["address"]).collect();
    assert!(seen.contains(&&json!("127.0.0.7")) && seen.contains(&&json!("127.0.0.8")), "{usage:#}");
    // What is refused for another reason did not pass, whatever the list would have said.
    let body = json!({ "label": "Narrow", "scopes": ["events:read"], "allowlist": ["127.0.0.7"], "allowlist_mode": "observe" });
    let (narrow, secret) = new_key(&api, body).await;
    let outside = server.stranger_from(8).with("authorization", &format!("Bearer {secret}"));
    outside.get("/v1/keys").await.refused(403, "scope_required");
    let usage = api.usage_of(&narrow, |usage| usage["failed"] == json!(1)).await;
    let refusals = usage["refusals"].as_array().expect("refusals");
    assert_eq!(refusals.len(), 1, "{usage:#}");
    assert_eq!((&refusals[0]["code"], &refusals[0]["was_refused"]), (&json!("scope_required"), &json!(true)));
    // Neither a list that restricts nobody, nor a looser one than its maker's, is a way out.
    let (_, strict) = new_key(&api, json!({ "label": "Strict", "allowlist": ["127.0.0.1"] })).await;
    let body = json!({ "label": "Child", "allowlist_mode": "observe" });
    let refused = server.api_with(&strict).post("/v1/keys", body).await.refused(403, "beyond_the_key");
    assert_eq!(refused["errors"][0]["pointer"], json!("/allowlist_mode"), "{refused}");
    let faults = api.post("/v1/keys", json!({ "label": "x", "allowlist_mode": "maybe" })).await.faults();
    assert_eq!(faults[0].0, "/allowlist_mode");
    // After the tier was lowered a list goes on being enforced.
    server.admin(&["tenants", "set-tier", "standard"]);
    let refused = server.stranger_from(8).with("authorization", &format!("Bearer {strict}")).get("/v1/me").await;
    refused.refused(403, "ip_not_allowed");
    api.post("/v1/keys", json!({ "label": "x", "allowlist": ["127.0.0.1"] })).await.refused(403, "tier_required");
    server.api_with(&strict).post("/v1/keys", json!({ "label": "Child of a listed one" })).await.expect(201);
}

async fn a_tenant_s_allowlist_observes_and_then_is_enforced(server: Server) {
    server.admin(&["tenants", "set-tier", "enterprise"]);
    let (_, production) = server.key_of(&server.tenant, "production", None).await;
    let owner = server.api_with(&production);
    let patch = async |body: Value| {
        owner.send(Method::PATCH, "/v1/tenant", Some("application/json"), body.to_string()).await.expect(200)
    };
    let body = json!({ "allowlist": ["127.0.0.1"], "allowlist_mode": "observe" });
    assert_eq!(patch(body).await["allowlist_mode"], json!("observe"));
    let (id, secret) = new_key(&server.api(), json!({ "label": "Anywhere" })).await;
    let outside = server.stranger_from(8).with("authorization", &format!("Bearer {secret}"));
    outside.get("/v1/me").await.expect(200);
    let usage = server.api().usage_of(&id, |usage| usage["calls"] == json!(1)).await;
    assert_eq!(usage["refusals"][0]["was_refused"], json!(false), "{usage:#}");
    patch(json!({ "allowlist_mode": "enforce" })).await;
    let problem = outside.get("/v1/me").await.refused(403, "ip_not_allowed");
    assert!(problem["detail"].to_string().contains("the tenant's allowlist"), "{problem}");
    server.api_with(&secret).get("/v1/me").await.expect(200);
}

async fn the_use_of_a_key_is_asked_for_in_parts(server: Server) {
    let api = server.api();
    let (id, secret) = new_key(&api, json!({ "label": "Many places" })).await;
    for last in [3, 4, 5] {
        server.stranger_from(last).with("authorization", &format!("Bearer {secret}")).get("/v1/me").await.expect(200);
    }
    api.usage_of(&id, |usage| usage["calls"] == json!(3)).await;
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let usage = api.get(&format!("/v1/keys/{id}/usage?limit=1{after}")).await.expect(200);
        let page = &usage["addresses"];
        assert_eq!(page["data"].as_array().map(Vec::len), Some(1), "{page}");
        seen.push(page["data"][0]["address"].as_str().expect("an address").to_owned());
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(seen, ["127.0.0.5", "127.0.0.4", "127.0.0.3"], "those seen last come first");
    let before = api.get(&format!("/v1/keys/{id}/usage?to=2020-01-01T00:00:00Z")).await.expect(200);
    assert_eq!((&before["calls"], &before["hours"], &before["routes"]), (&json!(0), &json!([]), &json!([])));
    for query in [
        "from=yesterday",
        "from=2027-01-01T00:00:00Z&to=2026-01-01T00:00:00Z",
        "from=2020-01-01T00:00:00Z",
        "after=x",
        "colour=1",
    ] {
        let answer = api.get(&format!("/v1/keys/{id}/usage?{query}")).await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
    }
}

/// What is over a limit is told with 429 and what is left, and counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_and_a_tenant_over_their_limits_are_told_and_it_counts() {
    let server = Server::start_with(Engine::Sqlite, &["--key-rate", "60/5", "--tenant-rate", "60/40"]).await;
    let (id, secret) = new_key(&server.api(), json!({ "label": "Eager" })).await;
    let key = server.api_with(&secret);
    let first = key.get("/v1/me").await;
    assert_eq!(first.header("ratelimit-policy"), "\"key\";q=5, \"tenant\";q=40");
    assert!(first.header("ratelimit").starts_with("\"key\";r=4;t="), "{}", first.header("ratelimit"));
    let mut answers = vec![first];
    while answers.last().is_some_and(|answer| answer.status == 200) {
        answers.push(key.get("/v1/me").await);
    }
    let over = answers.pop().expect("an answer");
    over.refused(429, "rate_limited");
    assert!(over.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{:?}", over.headers);
    assert!(over.header("ratelimit").starts_with("\"key\";r=0;t="), "{}", over.header("ratelimit"));
    assert!(over.header("www-authenticate").is_empty(), "it is no 401");
    assert_eq!(server.stranger().get("/healthz").await.status, 200);
    // Other keys of the tenant go on, until the tenant is over its own.
    let mut other = server.operator("/keys/create", json!({ "label": "Other", "environment": "staging" })).await;
    let mut passed = 0;
    let refused = loop {
        let caller = server.api_with(other["secret"].as_str().expect("a secret"));
        let answer = caller.get("/v1/me").await;
        if answer.status == 200 {
            passed += 1;
            assert!(passed < 1_000, "the tenant has no limit");
            continue;
        }
        let problem = answer.refused(429, "rate_limited");
        if problem["detail"].to_string().contains("tenant") {
            break answer;
        }
        other = server.operator("/keys/create", json!({ "label": "Another", "environment": "staging" })).await;
    };
    assert!(refused.header("ratelimit").contains("\"tenant\";r=0;t="), "{}", refused.header("ratelimit"));
    let mut server = server;
    assert!(server.stop());
    let counted = server.sql(&format!("SELECT count FROM key_calls WHERE key_id = '{id}' AND status = 429"));
    assert_eq!(counted, ["1"]);
}
