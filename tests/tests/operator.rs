//! What the operator changes holds from the answer on: tier, role, suspension, revocation.

use serde_json::{Value, json};
use tests::{Server, both_engines, paper};

both_engines! {
    a_lower_tier_closes_the_api
    a_suspended_tenant_is_refused_until_it_is_resumed
    a_demoted_or_suspended_administrator_takes_the_key_along
    the_operator_revokes_a_key
    the_commands_take_a_key_s_right_and_give_it_back
    an_allowlist_keeps_other_addresses_out
    without_a_seal_nothing_is_sent
}

async fn a_lower_tier_closes_the_api(server: Server) {
    let api = server.api();
    assert_eq!(server.admin(&["tenants", "set-tier", "free"])["tier"], json!("free"));
    let problem = api.get("/v1/me").await.refused(403, "tier_required");
    assert!(problem["detail"].to_string().contains("standard"), "{problem}");
    server.admin(&["tenants", "set-tier", "enterprise"]);
    assert_eq!(api.get("/v1/me").await.expect(200)["tenant"]["tier"], json!("enterprise"));
}

async fn a_suspended_tenant_is_refused_until_it_is_resumed(server: Server) {
    let api = server.api();
    assert_eq!(server.admin(&["tenants", "suspend"])["status"], json!("suspended"));
    api.get("/v1/me").await.refused(403, "tenant_suspended");
    server.admin(&["tenants", "resume"]);
    assert_eq!(api.get("/v1/me").await.status, 200);
}

async fn a_demoted_or_suspended_administrator_takes_the_key_along(server: Server) {
    let api = server.api();
    server.admin(&["users", "add", "ada@example.com", "--name", "Ada", "--role", "admin"]);
    let users = server.admin(&["users", "list"]);
    let ada = users["users"].as_array().expect("a list").iter().find(|user| user["email"] == json!("ada@example.com"));
    let ada = ada.expect("Ada")["id"].clone();
    let made = api.post("/v1/keys", json!({ "label": "Ada's", "administrator": ada })).await;
    let key = if made.status == 201 {
        server.api_with(made.json()["secret"].as_str().expect("a secret"))
    } else {
        // A key makes keys for its own administrator only: then the owner's is the one to lose it.
        made.refused(403, "beyond_the_key");
        server.admin(&["users", "set-role", "ada@example.com", "owner"]);
        assert_eq!(api.get("/v1/me").await.status, 200, "the former owner is an admin");
        server.admin(&["users", "set-role", "owner@example.com", "viewer", "--confirm"]);
        api.get("/v1/me").await.refused(403, "role_required");
        server.admin(&["users", "set-role", "owner@example.com", "admin"]);
        assert_eq!(api.get("/v1/me").await.status, 200);
        server.admin(&["users", "suspend", "owner@example.com", "--confirm"]);
        api.get("/v1/me").await.refused(403, "role_required");
        server.admin(&["users", "resume", "owner@example.com"]);
        api
    };
    assert_eq!(key.get("/v1/me").await.status, 200);
}

async fn the_commands_take_a_key_s_right_and_give_it_back(server: Server) {
    let api = server.api();
    let me = api.get("/v1/me").await.expect(200)["administrator"]["id"].as_str().expect("an id").to_owned();
    let run = |arguments: &[&str]| -> Value {
        let output = server.iusign(&[&["--json", "keys"], arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let make = async |label: &str| {
        let made = api.post("/v1/keys", json!({ "label": label, "tags": [label] })).await.expect(201);
        let text = |name: &str| made[name].as_str().expect("a text").to_owned();
        (text("id"), text("secret"))
    };
    let (id, secret) = make("old").await;
    let key = server.api_with(&secret);
    assert_eq!(run(&["suspend", &id, "--note", "What breaks?"])["status"], json!("suspended"));
    key.get("/v1/me").await.refused(401, "suspended_key");
    assert_eq!(run(&["resume", &id])["status"], json!("active"));
    assert_eq!(run(&["transfer", &id, "--to", &me])["administrator"], json!(me));
    let made = key.post("/v1/keys", json!({ "label": "Child" })).await.expect(201);
    let dry = run(&["revoke", "--tag", "old", "--user", &me, "--environment", "development", "--dry-run"]);
    assert_eq!((&dry["keys"][0]["id"], &dry["effective_at"]), (&json!(id), &Value::Null), "{dry}");
    assert_eq!(run(&["revoke", "--idle-days", "1", "--dry-run"])["keys"], json!([]));
    let done = run(&["compromise", &id, "--replacement", "--note", "Found in a log"]);
    assert_eq!(done["revoked"].as_array().map(Vec::len), Some(2), "{done}");
    server.api_with(done["replacement"]["secret"].as_str().expect("a secret")).get("/v1/me").await.expect(200);
    let blast = run(&["blast", &id]);
    let deeds = blast["objects"]["data"].as_array().or(blast["data"].as_array());
    assert!(
        deeds.is_some_and(|deeds| deeds
            .iter()
            .any(|deed| deed.to_string().contains(made["id"].as_str().expect("an id")))),
        "{blast}"
    );
    assert!(run(&["decide", &id, "--all", "keep"])["decided"].is_u64());
    let (new, secret) = make("new").await;
    let many = run(&["revoke", "--tag", "new", "--note", "Spring"]);
    assert_eq!((&many["keys"][0]["id"], many["effective_at"].is_string()), (&json!(new), true), "{many}");
    server.api_with(&secret).get("/v1/me").await.refused(401, "revoked_key");
    assert_eq!(run(&["list", "--status", "revoked", "--tag", "new"])["data"][0]["id"], json!(new));
    assert_eq!(
        run(&["list", "--reason", "compromised", "--administrator", &me])["data"].as_array().map(Vec::len),
        Some(2)
    );
}

async fn the_operator_revokes_a_key(server: Server) {
    let api = server.api();
    let id = api.get("/v1/me").await.expect(200)["key"]["id"].as_str().expect("an id").to_owned();
    let receipt = server.admin(&["keys", "revoke", &id, "--reason", "compromised", "--note", "Found in a log"]);
    assert_eq!(receipt["key"]["status"], json!("revoked"));
    api.get("/v1/me").await.refused(401, "revoked_key");
    let nothing = server.iusign(&[
        "admin",
        "--data-dir",
        &server.data_dir().display().to_string(),
        "--json",
        "keys",
        "revoke",
        "key_x",
    ]);
    assert!(!nothing.status.success());
}

async fn an_allowlist_keeps_other_addresses_out(server: Server) {
    server.admin(&["tenants", "set-tier", "enterprise"]);
    let api = server.api();
    let body = json!({ "label": "Office", "allowlist": ["127.0.0.7"], "confirm": true });
    let made = api.post("/v1/keys", body).await.expect(201);
    let bearer = format!("Bearer {}", made["secret"].as_str().expect("a secret"));
    let problem =
        server.stranger_from(8).with("authorization", &bearer).get("/v1/me").await.refused(403, "ip_not_allowed");
    assert!(problem["detail"].to_string().contains("127.0.0.8"), "the address that was seen is told: {problem}");
    let inside = server.stranger_from(7).with("authorization", &bearer).get("/v1/me").await.expect(200);
    assert_eq!(inside["address"], json!("127.0.0.7"));
    let locked = api.post("/v1/keys", json!({ "label": "Locked", "allowlist": ["192.0.2.1"] })).await.faults();
    assert_eq!(locked[0].0, "/allowlist");
}

async fn without_a_seal_nothing_is_sent(server: Server) {
    let folder = tempfile::tempdir().expect("a folder");
    let bad = folder.path().join("bad.pem").display().to_string();
    std::fs::write(&bad, "no key").expect("written");
    let sealless = Server::start_with(server.engine, &["--seal-cert", &bad, "--seal-key", &bad]).await;
    let api = sealless.api();
    let mut body = paper::for_one(&api.sample().await, "taro@example.com");
    api.post("/v1/envelopes", body.clone()).await.refused(503, "seal_unavailable");
    body["send"] = json!(false);
    let draft = api.create(body).await;
    let id = draft["id"].as_str().expect("an id");
    api.post_empty(&format!("/v1/envelopes/{id}/send")).await.refused(503, "seal_unavailable");
    assert_eq!(api.envelope(id).await["status"], json!("draft"));
    assert_eq!(sealless.stranger().get("/healthz").await.status, 200);
}
