//! The audit matrix: every operation that changes something leaves its entry, with who did it, from where, and what changed.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::{Api, Room, Server, both_engines, paper};

/// Every operation that changes something, and every download, with the action that the log then holds. A new route
/// brings its row; [`each_change_leaves_its_entry`] does each of them.
const MATRIX: &[(&str, &str)] = &[
    ("POST /v1/batches", "batch.created"),
    ("POST /v1/batches/{id}/cancel", "batch.cancelled"),
    ("POST /v1/batches/{id}/pause", "batch.paused"),
    ("POST /v1/batches/{id}/resume", "batch.resumed"),
    ("POST /v1/batches/{id}/start", "batch.started"),
    ("PUT /v1/batches/{id}/rows", "batch.rows_put"),
    ("POST /v1/documents", "document.created"),
    ("POST /v1/envelopes", "envelope.created"),
    ("GET /v1/envelopes/{id}/assets/{asset}", "asset.fetched"),
    ("POST /v1/envelopes/{id}/send", "envelope.sent"),
    ("POST /v1/envelopes/{id}/void", "envelope.voided"),
    ("POST /v1/keys", "key.created"),
    ("PATCH /v1/keys/{id}", "key.updated"),
    ("POST /v1/keys/{id}/activate", "key.activated"),
    ("POST /v1/keys/{id}/rotate", "key.rotation_started"),
    ("POST /v1/keys/{id}/compromise", "key.compromised"),
    ("POST /v1/keys/{id}/compromise/decide", "key.compromise_decided"),
    ("POST /v1/keys/{id}/resume", "key.resumed"),
    ("POST /v1/keys/{id}/revoke", "key.revoked"),
    ("POST /v1/keys/{id}/suspend", "key.suspended"),
    ("POST /v1/keys/{id}/transfer", "key.transferred"),
    ("POST /v1/keys/revoke", "key.revoked"),
    ("POST /v1/templates", "template.created"),
];

/// The same of what is the whole tenant's; [`each_change_of_the_tenant_leaves_its_entry`] does each of them.
const TENANT_WIDE: &[(&str, &str)] = &[
    ("PATCH /v1/tenant", "tenant.updated"),
    ("PATCH /v1/users/{id}", "user.role_set"),
    ("PATCH /v1/users/{id}", "user.updated"),
    ("PATCH /v1/users/{id}", "user.suspended"),
    ("PATCH /v1/users/{id}", "user.resumed"),
    ("PATCH /v1/users/{id}", "user.removed"),
    ("POST /v1/users", "user.invited"),
    ("POST /v1/users/{id}/invite", "user.invited_again"),
];

/// What follows from a change that anybody may ask for: the server's own act; `leaks.rs` does it.
const BY_THE_SERVER: &[(&str, &str)] = &[("POST /v1/leaks", "key.leaked")];

/// What the operator does at the socket, which is no operation of the API.
const OPERATOR: &[&str] = &["tenant.created", "tenant.tier_set", "tenant.suspended", "tenant.resumed", "user.added"];

both_engines! {
    the_audit_matrix_has_a_row_for_every_change
    each_change_leaves_its_entry
    each_change_of_the_tenant_leaves_its_entry
    what_the_operator_does_is_on_record_too
}

async fn the_audit_matrix_has_a_row_for_every_change(server: Server) {
    let document = server.stranger().get("/openapi.json").await.expect(200);
    let mut changes = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in ["post", "put", "patch", "delete"].iter().filter(|method| item.get(**method).is_some()) {
            changes.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    let rows: BTreeSet<String> =
        MATRIX.iter().chain(TENANT_WIDE).chain(BY_THE_SERVER).map(|(name, _)| (*name).to_owned()).collect();
    let missing: Vec<_> = changes.difference(&rows).collect();
    assert!(missing.is_empty(), "without a row: {missing:?}");
    let gone: Vec<_> = rows.difference(&changes).filter(|name| !name.starts_with("GET ")).collect();
    assert!(gone.is_empty(), "without an operation: {gone:?}");
}

/// Every entry that this key may see, the newest entry first.
async fn log(api: &Api) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("/v1/audit?limit=100{after}")).await.expect(200);
        all.extend(page["data"].as_array().expect("a list").iter().cloned());
        let Some(next) = page["next"].as_str() else { return all };
        after = format!("&after={next}");
    }
}

async fn each_change_leaves_its_entry(server: Server) {
    let api = server.api();
    let id = |answer: Value| answer["id"].as_str().expect("an id").to_owned();
    let document = api.sample().await;
    let key = id(api.post("/v1/keys", json!({ "label": "Short", "pending": true })).await.expect(201));
    api.post_empty(&format!("/v1/keys/{key}/activate")).await.expect(200);
    let change = json!({ "label": "Shorter" }).to_string();
    let path = format!("/v1/keys/{key}");
    api.send(reqwest::Method::PATCH, &path, Some("application/json"), change).await.expect(200);
    api.post_empty(&format!("/v1/keys/{key}/rotate")).await.expect(200);
    for verb in ["suspend", "resume", "revoke"] {
        api.post_empty(&format!("/v1/keys/{key}/{verb}")).await.expect(200);
    }
    // A key takes over what another administrator has left.
    let owner = api.get("/v1/me").await.expect(200)["key"]["administrator"].clone();
    server.admin(&["users", "add", "next@example.com", "--name", "Next", "--role", "admin"]);
    server.admin(&["users", "set-role", "next@example.com", "owner"]);
    let (left, _) = server.key_of(&server.tenant, "development", None).await;
    api.post(&format!("/v1/keys/{left}/transfer"), json!({ "administrator": owner })).await.expect(200);
    api.post(&format!("/v1/keys/{left}/compromise"), json!({})).await.expect(200);
    api.post(&format!("/v1/keys/{left}/compromise/decide"), json!({ "all": "keep" })).await.expect(200);
    api.post("/v1/keys", json!({ "label": "Many", "tags": ["many"] })).await.expect(201);
    api.post("/v1/keys/revoke", json!({ "tag": "many" })).await.expect(200);
    let mut draft = paper::for_one(&document, "taro@example.com");
    draft["send"] = json!(false);
    let envelope = id(api.create(draft).await);
    api.post_empty(&format!("/v1/envelopes/{envelope}/send")).await.expect(200);
    api.post(&format!("/v1/envelopes/{envelope}/void"), json!({ "reason": "Wrong price" })).await.expect(200);
    let signed = id(api.create(paper::for_one(&document, "taro@example.com")).await);
    let room = Room::enter(&server, &api, &signed, "taro@example.com").await;
    room.sign("Taro", &[("client_name", "Taro"), ("client_company", "Kestrel")]).await;
    api.wait_for(&signed, "envelope.completed").await;
    assert_eq!(api.get(&format!("/v1/envelopes/{signed}/assets/document")).await.status, 200);
    let template = json!({
        "name": "T", "documents": [document], "roles": [{ "name": "Client" }], "fields": paper::sample_fields(false)
    });
    let template = id(api.post("/v1/templates", template).await.expect(201));
    let batch = json!({ "name": "B", "template": { "id": template }, "send_rate_per_minute": 1 });
    let batch = id(api.post("/v1/batches", batch).await.expect(201));
    let rows = "Client.name,Client.email\nA,a@example.com\nB,b@example.com\nC,c@example.com\n";
    api.put(&format!("/v1/batches/{batch}/rows"), "text/csv", rows).await.expect(200);
    for verb in ["start", "pause", "resume", "cancel"] {
        api.post_empty(&format!("/v1/batches/{batch}/{verb}")).await.expect(200);
    }

    let me = api.get("/v1/me").await.expect(200)["key"]["id"].clone();
    let log = log(&api).await;
    for (name, action) in MATRIX {
        let entry = log.iter().find(|entry| entry["action"] == json!(action) && entry["actor"]["id"] == me);
        let entry = entry.unwrap_or_else(|| panic!("{name} leaves no {action}: {log:#?}"));
        assert_eq!(entry["address"], json!("127.0.0.1"), "{entry}");
        assert!(entry["request_id"].as_str().is_some_and(|id| id.starts_with("req_")), "{entry}");
        assert!(!entry["after"].is_null(), "{entry}");
        assert!(!entry.to_string().contains("iusk_"), "{entry}");
    }
    let voided = log.iter().find(|entry| entry["action"] == json!("envelope.voided")).expect("voided");
    assert_eq!(voided["object"], json!(envelope), "{voided}");
    let revoked = log.iter().find(|entry| entry["action"] == json!("key.revoked")).expect("revoked");
    assert_ne!(revoked["before"], revoked["after"], "{revoked}");
}

async fn each_change_of_the_tenant_leaves_its_entry(server: Server) {
    let (_, key) = server.key_of(&server.tenant, "production", None).await;
    let api = server.api_with(&key);
    let patch = async |path: &str, body: Value| {
        api.send(reqwest::Method::PATCH, path, Some("application/json"), body.to_string()).await.expect(200)
    };
    server.admin(&["users", "add", "ada@example.com", "--name", "Ada", "--role", "user"]);
    let users = api.get("/v1/users").await.expect(200);
    let ada = users["data"][1]["id"].as_str().expect("an id").to_owned();
    let invited = api.post("/v1/users", json!({ "email": "bob@example.com", "role": "admin" })).await.expect(201);
    api.post_empty(&format!("/v1/users/{}/invite", invited["id"].as_str().expect("an id"))).await.expect(200);
    for change in [
        json!({ "role": "viewer" }),
        json!({ "name": "Ada L." }),
        json!({ "status": "suspended" }),
        json!({ "status": "active" }),
        json!({ "status": "removed" }),
    ] {
        patch(&format!("/v1/users/{ada}"), change).await;
    }
    patch("/v1/tenant", json!({ "policies": { "idle_key_days": 30 } })).await;

    let me = api.get("/v1/me").await.expect(200)["key"]["id"].clone();
    let log = log(&api).await;
    for (name, action) in TENANT_WIDE {
        let entry = log.iter().find(|entry| entry["action"] == json!(action) && entry["actor"]["id"] == me);
        let entry = entry.unwrap_or_else(|| panic!("{name} leaves no {action}: {log:#?}"));
        assert_eq!(
            (entry["address"].clone(), entry["environment"].clone()),
            (json!("127.0.0.1"), Value::Null),
            "{entry}"
        );
        assert!(entry["request_id"].as_str().is_some_and(|id| id.starts_with("req_")), "{entry}");
        assert!(!entry["after"].is_null() && !entry.to_string().contains("iusk_"), "{entry}");
    }
    let changed = log.iter().find(|entry| entry["action"] == json!("tenant.updated")).expect("changed");
    assert_eq!(changed["before"]["policies"]["idle_key_days"], json!(90), "{changed}");
    assert_eq!(changed["after"]["policies"]["idle_key_days"], json!(30), "{changed}");
}

async fn what_the_operator_does_is_on_record_too(server: Server) {
    server.admin(&["users", "add", "ada@example.com", "--name", "Ada", "--role", "viewer"]);
    server.admin(&["users", "set-role", "ada@example.com", "admin"]);
    server.admin(&["users", "suspend", "ada@example.com"]);
    server.admin(&["tenants", "set-tier", "enterprise"]);
    server.admin(&["tenants", "suspend"]);
    server.admin(&["tenants", "resume"]);
    // What concerns the tenant as a whole is shown to keys of production alone.
    let (_, production) = server.key_of(&server.tenant, "production", None).await;
    let log = log(&server.api_with(&production)).await;
    let actions: BTreeSet<_> = log.iter().map(|entry| entry["action"].as_str().expect("an action")).collect();
    for action in OPERATOR {
        assert!(actions.contains(action), "{action} is missing: {actions:?}");
    }
    for entry in log.iter().filter(|entry| entry["action"] == json!("tenant.suspended")) {
        assert_eq!(entry["actor"]["type"], json!("operator"), "{entry}");
    }
}
