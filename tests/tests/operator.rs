//! What the operator changes holds from the answer on: tier, role, suspension, revocation.

use serde_json::json;
use tests::{Server, both_engines, paper};

both_engines! {
    a_lower_tier_closes_the_api
    a_suspended_tenant_is_refused_until_it_is_resumed
    a_demoted_or_suspended_administrator_takes_the_key_along
    the_operator_revokes_a_key
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
