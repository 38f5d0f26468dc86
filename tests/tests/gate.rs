//! The gate matrix: every operation of `/openapi.json` × every wrong caller, each with its exact status and code.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Answer, Api, Room, Server, both_engines, paper, seconds_after, wire};

/// Every operation with the scope that it asks for: `-` any key, `public` nobody's. A new route brings its row.
const MATRIX: &[(&str, &str)] = &[
    ("GET /healthz", "public"),
    ("GET /readyz", "public"),
    ("GET /v1/audit", "audit:read"),
    ("GET /v1/batches", "batches:read"),
    ("POST /v1/batches", "batches:write"),
    ("GET /v1/batches/{id}", "batches:read"),
    ("POST /v1/batches/{id}/cancel", "batches:write"),
    ("GET /v1/batches/{id}/errors.csv", "batches:read"),
    ("POST /v1/batches/{id}/pause", "batches:write"),
    ("POST /v1/batches/{id}/resume", "batches:write"),
    ("GET /v1/batches/{id}/rows", "batches:read"),
    ("PUT /v1/batches/{id}/rows", "batches:write"),
    ("POST /v1/batches/{id}/start", "batches:write"),
    ("GET /v1/documents/{id}", "documents:read"),
    ("POST /v1/documents", "documents:write"),
    ("GET /v1/envelopes", "envelopes:read"),
    ("POST /v1/envelopes", "envelopes:write"),
    ("GET /v1/envelopes/{id}", "envelopes:read"),
    ("GET /v1/envelopes/{id}/assets", "assets:read"),
    ("GET /v1/envelopes/{id}/assets/{asset}", "assets:read"),
    ("POST /v1/envelopes/{id}/send", "envelopes:write"),
    ("POST /v1/envelopes/{id}/void", "envelopes:write"),
    ("GET /v1/events", "events:read"),
    ("GET /v1/keys", "keys:read"),
    ("POST /v1/keys", "keys:write"),
    ("GET /v1/keys/{id}", "keys:read"),
    ("PATCH /v1/keys/{id}", "keys:write"),
    ("POST /v1/keys/{id}/activate", "keys:write"),
    ("POST /v1/keys/{id}/rotate", "keys:rotate_self"),
    ("GET /v1/keys/{id}/usage", "keys:read"),
    ("GET /v1/keys/{id}/compromise", "keys:read"),
    ("POST /v1/keys/{id}/compromise", "keys:write"),
    ("POST /v1/keys/{id}/compromise/decide", "keys:write"),
    ("GET /v1/keys/{id}/receipt", "keys:read"),
    ("POST /v1/keys/{id}/resume", "keys:write"),
    ("POST /v1/keys/{id}/revoke", "keys:write"),
    ("POST /v1/keys/{id}/suspend", "keys:write"),
    ("POST /v1/keys/{id}/transfer", "keys:write"),
    ("POST /v1/keys/revoke", "keys:write"),
    ("POST /v1/leaks", "public"),
    ("GET /v1/mail", "envelopes:read"),
    ("GET /v1/mail/{id}", "envelopes:read"),
    ("GET /v1/me", "-"),
    ("GET /v1/templates", "templates:read"),
    ("POST /v1/templates", "templates:write"),
    ("GET /v1/templates/{id}", "templates:read"),
    ("GET /v1/templates/{id}/batch.csv", "templates:read"),
    ("GET /v1/tenant", "tenant:read"),
    ("PATCH /v1/tenant", "tenant:write"),
    ("GET /v1/users", "team:read"),
    ("POST /v1/users", "team:write"),
    ("GET /v1/users/{id}", "team:read"),
    ("PATCH /v1/users/{id}", "team:write"),
    ("POST /v1/users/{id}/invite", "team:write"),
];

/// The scopes that a key uses from production alone: users and the tenant are in no environment.
const TENANT_WIDE: [&str; 2] = ["team:write", "tenant:write"];

both_engines! {
    the_matrix_has_a_row_for_every_operation
    who_has_no_right_key_is_refused_at_every_route
    each_wrong_caller_is_told_the_same_at_every_route
    a_key_without_the_scope_is_refused_and_one_with_it_alone_passes
    every_operation_counts_as_a_use_of_the_key
    what_belongs_to_others_is_not_found_like_what_never_was
    the_header_is_read_as_rfc_9110_says
    who_fails_too_often_waits_and_shuts_nobody_else_out
}

/// An operation of the document, and its body's media type where it takes one.
struct Operation {
    method: Method,
    template: String,
    scope: String,
    kind: Option<String>,
}

impl Operation {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.template)
    }

    /// The path with these ids in it, by what stands before each: `keys`, `envelopes`, …
    fn path(&self, ids: &BTreeMap<&str, String>) -> String {
        let mut before = "";
        let parts = self.template.split('/').map(|part| {
            let filled = if part.starts_with('{') {
                ids.get(before).cloned().unwrap_or_else(|| panic!("no id for {} of {}", part, self.template))
            } else {
                part.to_owned()
            };
            before = part;
            filled
        });
        parts.collect::<Vec<_>>().join("/")
    }

    /// Sends it with a body that is of the right kind but says nothing.
    async fn ask(&self, api: &Api, ids: &BTreeMap<&str, String>) -> Answer {
        let body = match self.kind.as_deref() {
            Some("application/json") if self.template.ends_with("/transfer") => {
                r#"{"administrator": "usr_01k9x3m5c0e8a9v7r2d4t6y8b0"}"#
            }
            Some("application/json") => "{}",
            _ => "",
        };
        api.send(self.method.clone(), &self.path(ids), self.kind.as_deref(), body).await
    }
}

async fn operations(server: &Server) -> Vec<Operation> {
    let document = server.stranger().get("/openapi.json").await.expect(200);
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{}", document["openapi"]);
    let mut operations = Vec::new();
    for (template, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in
            item.as_object().expect("a path").iter().filter(|(_, value)| value.get("responses").is_some())
        {
            let kinds = operation["requestBody"]["content"].as_object();
            operations.push(Operation {
                method: method.to_uppercase().parse().expect("a method"),
                template: template.clone(),
                scope: scope(operation),
                kind: kinds.and_then(|kinds| kinds.keys().next().cloned()),
            });
        }
    }
    operations
}

fn scope(operation: &Value) -> String {
    match operation["security"][0]["key"].as_array() {
        None => "public".to_owned(),
        Some(scopes) => scopes.first().map_or("-", |scope| scope.as_str().expect("a scope")).to_owned(),
    }
}

/// Ids of the right form that nothing has.
fn strange_ids() -> BTreeMap<&'static str, String> {
    let id = |prefix: &str| format!("{prefix}_01k9x3m5c0e8a9v7r2d4t6y8b0");
    BTreeMap::from([
        ("keys", id("key")),
        ("documents", id("doc")),
        ("envelopes", id("env")),
        ("assets", id("ast")),
        ("templates", id("tpl")),
        ("mail", id("mal")),
        ("batches", id("bat")),
        ("users", id("usr")),
    ])
}

async fn the_matrix_has_a_row_for_every_operation(server: Server) {
    let there: BTreeSet<_> = operations(&server).await.iter().map(|op| (op.name(), op.scope.clone())).collect();
    let rows: BTreeSet<_> = MATRIX.iter().map(|(name, scope)| ((*name).to_owned(), (*scope).to_owned())).collect();
    let missing: Vec<_> = there.difference(&rows).collect();
    let gone: Vec<_> = rows.difference(&there).collect();
    assert!(missing.is_empty() && gone.is_empty(), "without a row: {missing:#?}\nwithout an operation: {gone:#?}");
}

async fn who_has_no_right_key_is_refused_at_every_route(server: Server) {
    let api = server.api();
    let made = api.post("/v1/keys", json!({ "label": "Dead" })).await.expect(201);
    let dead = made["secret"].as_str().expect("a secret").to_owned();
    api.post_empty(&format!("/v1/keys/{}/revoke", made["id"].as_str().expect("an id"))).await.expect(200);
    // One letter changed: the checksum tells. A right form that nobody has: look-up tells.
    let flip = if server.key.ends_with('0') { "1" } else { "0" };
    let malformed = format!("{}{flip}", &server.key[..server.key.len() - 1]);
    let unknown = "iusk_dev_01j0000000e008000000000001_00000000000000000000000000000000000000000001Eoj5w".to_owned();
    let callers = [
        ("no key", None, 401, "missing_credentials"),
        ("malformed", Some(malformed), 401, "malformed_credentials"),
        ("unknown", Some(unknown), 401, "invalid_key"),
        ("revoked", Some(dead), 401, "revoked_key"),
    ];
    let (ids, mut told) = (strange_ids(), BTreeSet::new());
    for (at, operation) in operations(&server).await.iter().filter(|op| op.scope != "public").enumerate() {
        // From an address of its own: after too many failures it would be the address that is refused.
        let address = u8::try_from(10 + at).expect("fewer than 200 routes");
        for (caller, key, status, code) in &callers {
            let mut stranger = server.stranger_from(address);
            if let Some(key) = key {
                stranger = stranger.with("authorization", &format!("Bearer {key}"));
            }
            let answer = operation.ask(&stranger, &ids).await;
            let mut problem = answer.refused(*status, code);
            problem["request_id"] = Value::Null;
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{caller}: {}", operation.name());
            assert!(!problem.to_string().contains("iusk_"), "{problem}");
            told.insert(problem.to_string());
        }
    }
    assert_eq!(told.len(), callers.len(), "one caller is told different things: {told:#?}");
}

/// Asks at every route: the refusal has this status and code, and its whole body is the same but for the request's id.
async fn refused_everywhere(server: &Server, (caller, secret, status, code): (&str, &str, u16, &str)) {
    let api = server.api_with(secret);
    let (ids, mut told) = (strange_ids(), BTreeMap::new());
    for operation in operations(server).await.iter().filter(|op| op.scope != "public") {
        let answer = operation.ask(&api, &ids).await;
        let mut problem = answer.refused(status, code);
        problem["request_id"] = Value::Null;
        assert_eq!(
            answer.header("www-authenticate").starts_with("Bearer"),
            status == 401,
            "{caller}: {}",
            operation.name()
        );
        told.entry(problem.to_string()).or_insert_with(Vec::new).push(operation.name());
    }
    assert_eq!(told.len(), 1, "{caller} is told different things: {told:#?}");
    assert!(!told.keys().any(|problem| problem.contains("iusk_")), "{told:#?}");
}

async fn each_wrong_caller_is_told_the_same_at_every_route(server: Server) {
    server.operator("/tenants/set-tier", json!({ "tier": "enterprise" })).await;
    let api = server.api();
    let make = async |body: Value| {
        let made = api.post("/v1/keys", body).await.expect(201);
        let text = |name: &str| made[name].as_str().expect("a text").to_owned();
        (text("id"), text("secret"), text("created_at"))
    };
    let (suspended_id, suspended, now) = make(json!({ "label": "Suspended" })).await;
    api.post(&format!("/v1/keys/{suspended_id}/suspend"), json!({})).await.expect(200);
    let (_, expired, _) = make(json!({ "label": "Expired", "expires_at": seconds_after(&now, 3) })).await;
    let (_, pending, _) = make(json!({ "label": "Pending", "pending": true })).await;
    let (_, elsewhere, _) = make(json!({ "label": "Elsewhere", "allowlist": ["192.0.2.0/24"], "confirm": true })).await;
    while server.api_with(&expired).get("/v1/me").await.status == 200 {}
    for wrong in [
        ("a suspended key", &*suspended, 401, "suspended_key"),
        ("an expired key", &*expired, 401, "expired_key"),
        ("a key that nobody has activated", &*pending, 401, "pending_key"),
        ("a key from a forbidden address", &*elsewhere, 403, "ip_not_allowed"),
    ] {
        refused_everywhere(&server, wrong).await;
    }
    let owner = server.admin(&["users", "list"])["users"][0]["email"].as_str().expect("an address").to_owned();
    server.admin(&["users", "add", "next@example.com", "--name", "Next", "--role", "admin"]);
    server.admin(&["users", "set-role", "next@example.com", "owner"]);
    let change = |change: Value| json!({ "user": owner, "change": change });
    let (role, status) = (
        |role: &str| change(json!({ "role": role, "confirm": true })),
        |status: &str| change(json!({ "status": status, "confirm": true })),
    );
    let update = "/users/update";
    for (wrong, take, body, give, back) in [
        (
            ("a tier without the API", 403, "tier_required"),
            "/tenants/set-tier",
            json!({ "tier": "free" }),
            "/tenants/set-tier",
            json!({ "tier": "standard" }),
        ),
        (("a suspended tenant", 403, "tenant_suspended"), "/tenants/suspend", json!({}), "/tenants/resume", json!({})),
        (("a demoted administrator", 403, "role_required"), update, role("viewer"), update, role("admin")),
        (("a suspended administrator", 403, "role_required"), update, status("suspended"), update, status("active")),
    ] {
        server.operator(take, body).await;
        refused_everywhere(&server, (wrong.0, &server.key, wrong.1, wrong.2)).await;
        server.operator(give, back).await;
        server.api().get("/v1/me").await.expect(200);
    }
}

async fn every_operation_counts_as_a_use_of_the_key(server: Server) {
    let (id, secret) = server.key_of(&server.tenant, "production", None).await;
    let api = server.api_with(&secret);
    let ids = strange_ids();
    let asked: Vec<_> = operations(&server).await.into_iter().filter(|op| op.scope != "public").collect();
    for operation in &asked {
        operation.ask(&api, &ids).await;
    }
    let sent = api.post("/v1/keys", json!({ "label": "Later" })).await.expect(201)["created_at"].clone();
    let sent = sent.as_str().expect("a time");
    // Every node has written what it noted by then: within 10 s.
    let usage = api.usage_of(&id, |usage| usage["as_of"].as_str().is_some_and(|written| written > sent)).await;
    let counted: BTreeSet<&str> =
        usage["routes"].as_array().expect("routes").iter().filter_map(|row| row["route"].as_str()).collect();
    let missing: Vec<_> = asked.iter().map(Operation::name).filter(|name| !counted.contains(&**name)).collect();
    assert!(missing.is_empty(), "nothing counts {missing:#?}");
}

async fn a_key_without_the_scope_is_refused_and_one_with_it_alone_passes(server: Server) {
    let operations = operations(&server).await;
    let all: BTreeSet<&str> =
        operations.iter().map(|op| op.scope.as_str()).filter(|scope| scope.contains(':')).collect();
    let mut keys = BTreeMap::new();
    for scope in &all {
        let environment = if TENANT_WIDE.contains(scope) { "production" } else { "development" };
        let (_, only) = server.key_of(&server.tenant, environment, Some(&[scope])).await;
        // Who may change any key may rotate its own.
        let covers = |other: &str| other == *scope || (*scope == "keys:rotate_self" && other == "keys:write");
        let others: Vec<&str> = all.iter().copied().filter(|other| !covers(other)).collect();
        let (_, without) = server.key_of(&server.tenant, environment, Some(&others)).await;
        keys.insert(*scope, (server.api_with(&only), server.api_with(&without)));
    }
    let ids = strange_ids();
    for operation in operations.iter().filter(|op| op.scope.contains(':')) {
        let (only, without) = &keys[operation.scope.as_str()];
        let refused = operation.ask(without, &ids).await;
        let problem = refused.refused(403, "scope_required");
        assert!(problem["detail"].to_string().contains(&operation.scope), "{problem}");
        let challenge = refused.header("www-authenticate");
        assert!(challenge.contains("insufficient_scope") && challenge.contains(&operation.scope), "{challenge}");
        let passed = operation.ask(only, &ids).await;
        assert!(!matches!(passed.status, 401 | 403) && passed.status < 500, "{}: {}", operation.name(), passed.text());
    }
}

async fn what_belongs_to_others_is_not_found_like_what_never_was(server: Server) {
    let api = server.api();
    let document = api.sample().await;
    let envelope = api.create(paper::for_one(&document, "taro@example.com")).await;
    let envelope = envelope["id"].as_str().expect("an id").to_owned();
    let room = Room::enter(&server, &api, &envelope, "taro@example.com").await;
    room.sign("Taro", &[("client_name", "Taro"), ("client_company", "Kestrel")]).await;
    api.wait_for(&envelope, "envelope.completed").await;
    let first = |list: Value| list["data"][0]["id"].as_str().expect("an id").to_owned();
    let template = json!({
        "name": "Agreement", "documents": [document], "roles": [{ "name": "Client" }], "fields": paper::sample_fields(false)
    });
    let template = api.post("/v1/templates", template).await.expect(201);
    let template = template["id"].as_str().expect("an id").to_owned();
    let batch = api.post("/v1/batches", json!({ "name": "Ours", "template": { "id": template } })).await.expect(201);
    // One that was revoked and reported has a receipt and a list of what it did.
    let lost = api.post("/v1/keys", json!({ "label": "Lost" })).await.expect(201);
    let lost = lost["id"].as_str().expect("an id").to_owned();
    api.post(&format!("/v1/keys/{lost}/compromise"), json!({})).await.expect(200);
    let own = BTreeMap::from([
        ("keys", lost),
        ("documents", document),
        ("assets", first(api.get(&format!("/v1/envelopes/{envelope}/assets")).await.expect(200))),
        ("mail", first(api.get(&format!("/v1/mail?envelope={envelope}")).await.expect(200))),
        ("envelopes", envelope),
        ("templates", template),
        ("batches", batch["id"].as_str().expect("an id").to_owned()),
        ("users", first(api.get("/v1/users").await.expect(200))),
    ]);
    let other = server.tenant("Other").await;
    let strangers = [
        ("another environment", server.key_of(&server.tenant, "staging", None).await.1),
        ("production", server.key_of(&server.tenant, "production", None).await.1),
        ("another tenant", server.key_of(&other, "development", None).await.1),
    ];
    // A tenant's users are seen from each of its environments, and changed from production.
    let other_production = [("another tenant", server.key_of(&other, "production", None).await.1)];
    let without_id = |answer: &Answer| {
        let mut problem = answer.json();
        problem["request_id"] = Value::Null;
        (answer.status, problem.to_string())
    };
    for operation in operations(&server).await.iter().filter(|op| op.template.contains("{id}")) {
        let is_users = operation.template.starts_with("/v1/users/");
        for (who, key) in if is_users { &other_production[..] } else { &strangers[..] } {
            let stranger = server.api_with(key);
            let theirs = operation.ask(&stranger, &own).await;
            theirs.refused(404, "not_found");
            let nobodys = operation.ask(&stranger, &strange_ids()).await;
            assert_eq!(without_id(&theirs), without_id(&nobodys), "{who}: {}", operation.name());
            for kind in ["document", "audit"] {
                let path = format!("/v1/envelopes/{}/assets/{kind}", own["envelopes"]);
                stranger.get(&path).await.refused(404, "not_found");
            }
        }
    }
    // What is listed, told and made stays within: lists are empty, foreign ids in bodies are unknown.
    for (who, key) in &strangers {
        let stranger = server.api_with(key);
        // Who belongs to the tenant is known in all of its environments.
        let knows_users = *who != "another tenant";
        let hidden: Vec<&String> =
            own.iter().filter(|(of, _)| !(knows_users && **of == "users")).map(|(_, id)| id).collect();
        for list in ["/v1/envelopes", "/v1/templates", "/v1/batches", "/v1/audit", "/v1/keys", "/v1/users", "/v1/mail"]
        {
            let answer = stranger.get(list).await;
            // In production no mail is captured.
            assert!(answer.status == 200 || list == "/v1/mail", "{who}: {list}: {}", answer.text());
            let page = answer.text();
            assert!(hidden.iter().all(|id| !page.contains(*id)), "{who} sees in {list}: {page}");
        }
        let events = stranger.get("/v1/events?limit=500").await.expect(200).to_string();
        assert!(hidden.iter().all(|id| !events.contains(*id)), "{who}: {events}");
        let faults = stranger.post("/v1/envelopes", paper::for_one(&own["documents"], "x@example.com")).await.faults();
        assert_eq!(faults[0].0, "/documents/0", "{who}: {faults:?}");
        let body = json!({ "template": { "id": own["templates"] }, "recipients": [{ "name": "X", "email": "x@example.com" }] });
        let faults = stranger.post("/v1/envelopes", body).await.faults();
        assert_eq!(faults[0].0, "/template", "{who}: {faults:?}");
    }
    for operation in
        operations(&server).await.iter().filter(|op| op.template.contains("{id}") && op.method == Method::GET)
    {
        let answer = operation.ask(&api, &own).await;
        assert_eq!(answer.status, 200, "{}: {}", operation.name(), answer.text());
    }
}

async fn the_header_is_read_as_rfc_9110_says(server: Server) {
    let key = &server.key;
    for value in [format!("bearer  {key}"), format!("BEARER    {key}"), format!("Bearer {key}  ")] {
        let answer = wire::exchange(&server, "TLSv1_3", &request(&[&format!("authorization: {value}")]));
        assert!(answer.starts_with("TLSv1.3\nHTTP/1.1 200 "), "{value}: {answer}");
    }
    let two = [format!("Authorization: Bearer {key}"), format!("Authorization: Bearer {key}")];
    for (lines, code) in [
        (vec![two[0].as_str(), two[1].as_str()], "malformed_credentials"),
        (vec!["Authorization: Basic dTpw"], "malformed_credentials"),
        (vec!["Authorization: Bearer"], "malformed_credentials"),
        (vec!["Authorization: Bearer iusk_dev_x"], "malformed_credentials"),
        (vec![&format!("Authorization: Bearer {} {}", &key[..20], &key[20..])], "malformed_credentials"),
        (vec![&format!("Authorization: {key}")], "malformed_credentials"),
        (vec![], "missing_credentials"),
    ] {
        let answer = wire::exchange(&server, "TLSv1_3", &request(&lines));
        assert!(answer.contains("HTTP/1.1 401 ") && answer.contains(&format!("\"code\":\"{code}\"")), "{answer}");
        assert!(answer.contains("\"resolution\":"), "{answer}");
    }
    let api = server.stranger();
    api.get("/v1/me?access_token=x").await.refused(401, "credentials_in_url");
    api.get("/v1/nothing").await.refused(404, "route_not_found");
    api.send(Method::DELETE, "/v1/me", None, "").await.refused(405, "method_not_allowed");
}

fn request(lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    format!("GET /v1/me HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{lines}\r\n")
}

async fn who_fails_too_often_waits_and_shuts_nobody_else_out(server: Server) {
    let guesser = server.stranger_from(2).with("authorization", "Bearer iusk_dev_guess");
    let good = server.stranger_from(2).with("authorization", &format!("Bearer {}", server.key));
    assert_eq!(good.get("/v1/me").await.status, 200);
    let mut last = guesser.get("/v1/me").await;
    for _ in 0..500 {
        if last.status == 429 {
            break;
        }
        last.refused(401, "malformed_credentials");
        last = guesser.get("/v1/me").await;
    }
    last.refused(429, "too_many_failures");
    assert!(last.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{:?}", last.headers);
    assert_eq!(good.get("/v1/me").await.status, 200, "a remembered good key passes from the same address");
    // So do a key that was made just now, and a secret that nobody has used yet.
    let made = server.api().post("/v1/keys", json!({ "label": "New" })).await.expect(201);
    let id = made["id"].as_str().expect("an id");
    let rotated = server.api().post_empty(&format!("/v1/keys/{id}/rotate")).await.expect(200);
    for secret in [&made["secret"], &rotated["secret"]] {
        let bearer = format!("Bearer {}", secret.as_str().expect("a secret"));
        let fresh = server.stranger_from(2).with("authorization", &bearer);
        assert_eq!(fresh.get("/v1/me").await.status, 200);
        guesser.get("/v1/me").await.refused(429, "too_many_failures");
    }
    assert_eq!(server.api().get("/v1/me").await.status, 200, "another address is not concerned");
}
