//! People and policies: invitations, roles within one's own, offboarding that warns, the tenant's policies and tiers.

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Answer, Api, Engine, Room, Server, both_engines, fire::Makers, smtp::MailServer};

both_engines! {
    who_is_invited_joins_with_a_name_and_a_password_of_their_own
    an_invitation_goes_out_by_the_mail_server
    an_invitation_ends_with_the_next_one_and_with_its_user
    nobody_gives_more_than_they_have
    who_goes_leaves_no_key_behind_unasked
    whoever_is_removed_takes_the_keys_that_are_left_along
    whoever_is_removed_leaves_no_key_that_was_made_meanwhile
    what_is_the_whole_tenants_needs_a_production_key
    keys_manage_identity_only_where_the_owner_lets_them
    policies_are_changed_in_part_and_every_fault_is_named
    an_allowlist_of_the_tenant_needs_its_tier_and_locks_nobody_out_unasked
    the_audit_log_is_searched_and_holds
    the_commands_do_what_the_api_does
}

const PASSWORD: &str = "three blue herons at dawn";

async fn patch(api: &Api, path: &str, body: Value) -> Answer {
    api.send(Method::PATCH, path, Some("application/json"), body.to_string()).await
}

/// A key of production with all that its administrator may: the owner, whoever that is at this moment.
async fn production(server: &Server) -> Api {
    let (_, key) = server.key_of(&server.tenant, "production", None).await;
    server.api_with(&key)
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is missing: {value}")).to_owned()
}

/// The id of the key that asks, and of its administrator.
async fn me(api: &Api) -> (String, String) {
    let me = api.get("/v1/me").await.expect(200);
    (text(&me["key"], "id"), text(&me["administrator"], "id"))
}

/// The newest mail to this address, as the operator reads it.
async fn mail_to(server: &Server, address: &str) -> Value {
    let all = server.operator("/notices/list", json!({})).await;
    let all = all["notices"].as_array().expect("a list").clone();
    all.into_iter().find(|mail| mail["to"] == json!(address)).unwrap_or_else(|| panic!("no mail to {address}"))
}

/// The path of the invitation in the newest mail to this address.
async fn invitation(server: &Server, address: &str) -> String {
    let mail = mail_to(server, address).await;
    let text = text(&mail, "text");
    let at = text.find("/invite/").unwrap_or_else(|| panic!("no link: {mail}"));
    text[at..].split_whitespace().next().expect("a link").to_owned()
}

/// Invites and joins: the user's id.
async fn member(server: &Server, api: &Api, address: &str, role: &str) -> String {
    let user = api.post("/v1/users", json!({ "email": address, "role": role })).await.expect(201);
    let page = Room::new(server, &invitation(server, address).await);
    let joined = page.post("", &[("name", address), ("password", PASSWORD), ("again", PASSWORD)]).await;
    assert_eq!(joined.status, 200, "{}", joined.text());
    text(&user, "id")
}

async fn who_is_invited_joins_with_a_name_and_a_password_of_their_own(server: Server) {
    let api = production(&server).await;
    let body = json!({ "email": " Bob@Example.com", "name": "Robert", "role": "admin" });
    let made = api.post("/v1/users", body.clone()).await;
    let bob = made.expect(201);
    assert_eq!((bob["status"].clone(), bob["email"].clone()), (json!("invited"), json!("bob@example.com")));
    assert_eq!(made.header("location"), format!("/v1/users/{}", text(&bob, "id")));
    assert_eq!(api.post("/v1/users", body).await.faults(), [("/email".to_owned(), "taken".to_owned())]);

    let mail = mail_to(&server, "bob@example.com").await;
    assert_eq!((mail["purpose"].clone(), mail["state"].clone()), (json!("invited"), json!("captured")));
    let link = invitation(&server, "bob@example.com").await;
    let page = Room::new(&server, &link);
    for _ in 0..2 {
        let shown = page.get("").await;
        assert_eq!(shown.status, 200);
        let html = shown.text();
        assert!(
            html.contains("value=\"Robert\"") && html.contains("bob@example.com") && !html.contains("<script"),
            "{html}"
        );
        assert!(shown.header("content-security-policy").contains("frame-ancestors 'none'"));
        assert!(shown.header("cache-control").contains("no-store") && shown.header("referrer-policy") == "no-referrer");
    }
    let short = page.post("", &[("name", ""), ("password", "short"), ("again", "short")]).await;
    assert_eq!(short.status, 422);
    let html = short.text();
    assert!(
        html.contains("name is empty") && html.contains("at least 15 characters") && !html.contains("\"short\""),
        "{html}"
    );
    let other = page.post("", &[("name", "Bob"), ("password", PASSWORD), ("again", "something else")]).await;
    assert!(other.status == 422 && other.text().contains("not the same"), "{}", other.text());
    let foreign = server.stranger().with("origin", "https://evil.example");
    let form = format!("name=Bob&password={PASSWORD}&again={PASSWORD}").replace(' ', "+");
    let kind = Some("application/x-www-form-urlencoded");
    assert_eq!(foreign.send(Method::POST, &link, kind, form).await.status, 403);
    assert_eq!(api.get(&format!("/v1/users/{}", text(&bob, "id"))).await.expect(200)["status"], json!("invited"));

    let joined = page.post("", &[("name", "Bob"), ("password", PASSWORD), ("again", PASSWORD)]).await;
    assert!(joined.status == 200 && joined.text().contains("You have joined"), "{}", joined.text());
    let now = api.get(&format!("/v1/users/{}", text(&bob, "id"))).await.expect(200);
    assert_eq!((now["status"].clone(), now["name"].clone()), (json!("active"), json!("Bob")));
    for again in
        [page.get("").await, page.post("", &[("name", "Eve"), ("password", PASSWORD), ("again", PASSWORD)]).await]
    {
        assert!(again.status == 404 && !again.text().contains("Bob"), "{}", again.text());
    }
    let id = text(&bob, "id");
    let log = api.get(&format!("/v1/audit?object={id}")).await.expect(200);
    let actions: Vec<_> = log["data"].as_array().expect("a list").iter().map(|entry| text(entry, "action")).collect();
    assert_eq!(actions, ["user.joined", "user.invited"]);
    assert_eq!(log["data"][0]["actor"], json!({ "type": "user", "id": id }));
    // Neither the link nor the password is written anywhere.
    for (name, bytes) in server.everything_written() {
        for secret in [&link["/invite/".len() + 27..], PASSWORD] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{name} holds {secret}");
        }
    }
}

async fn an_invitation_goes_out_by_the_mail_server(quiet: Server) {
    let (mails, engine): (MailServer, Engine) = (MailServer::start(false), quiet.engine);
    drop(quiet);
    let port = mails.port.to_string();
    let from = "IUSign <sign@example.com>";
    let arguments = ["--smtp-host", "127.0.0.1", "--smtp-port", &port, "--smtp-from", from, "--smtp-plain"];
    let server = Server::start_with(engine, &arguments).await;
    let api = production(&server).await;
    api.post("/v1/users", json!({ "email": "bob@example.com", "name": "Bob, \"the\" <x@y.example>", "role": "admin" }))
        .await
        .expect(201);
    let mail = mails.mail();
    assert!(mail.to_string().contains("bob@example.com") && mail.to_string().contains("/invite/"), "{mail}");
    assert_eq!(mail["addressed"], json!([["Bob, \"the\" <x@y.example>", "bob@example.com"]]));
    // A key that a key makes in production is told to the owner.
    api.post("/v1/keys", json!({ "label": "Child" })).await.expect(201);
    let told = mails.mail();
    assert!(told.to_string().contains("A key made a key") && told.to_string().contains("Child"), "{told}");
    // Development's are captured.
    server.api().post("/v1/keys", json!({ "label": "Trial" })).await.expect(201);
    let kept = server.operator("/notices/list", json!({})).await;
    let kept = &kept["notices"][0];
    assert_eq!((kept["purpose"].clone(), kept["state"].clone()), (json!("key_made"), json!("captured")));
    assert!(text(kept, "subject").starts_with("[TEST] ") && mails.others().is_empty(), "{kept}");
}

async fn an_invitation_ends_with_the_next_one_and_with_its_user(server: Server) {
    let api = production(&server).await;
    let bob = api.post("/v1/users", json!({ "email": "bob@example.com", "role": "user" })).await.expect(201);
    let id = text(&bob, "id");
    let first = Room::new(&server, &invitation(&server, "bob@example.com").await);
    api.post_empty(&format!("/v1/users/{id}/invite")).await.expect(200);
    let second = Room::new(&server, &invitation(&server, "bob@example.com").await);
    assert_ne!(first.path, second.path);
    assert_eq!((first.get("").await.status, second.get("").await.status), (404, 200));
    let joining = [("name", "Bob"), ("password", PASSWORD), ("again", PASSWORD)];
    assert_eq!(first.post("", &joining).await.status, 404);
    // Who has not joined can't be suspended, only removed.
    patch(&api, &format!("/v1/users/{id}"), json!({ "status": "suspended" })).await.refused(409, "user_status");
    let removed = patch(&api, &format!("/v1/users/{id}"), json!({ "status": "removed" })).await.expect(200);
    assert_eq!(removed["status"], json!("removed"));
    assert_eq!(second.post("", &joining).await.status, 404);
    api.post_empty(&format!("/v1/users/{id}/invite")).await.refused(409, "user_status");
    // The address is free again.
    member(&server, &api, "bob@example.com", "user").await;
    for path in ["/invite/x", "/invite/01k9x3m5c0e8a9v7r2d4t6y8b0-0000000000000000000000000000000000000000000"] {
        assert_eq!(server.stranger().get(path).await.status, 404, "{path}");
    }
}

async fn nobody_gives_more_than_they_have(server: Server) {
    let ours = production(&server).await;
    let (_, owner) = me(&ours).await;
    let ada = member(&server, &ours, "ada@example.com", "admin").await;
    let bob = member(&server, &ours, "bob@example.com", "user").await;
    ours.post("/v1/users", json!({ "email": "x@example.com", "role": "owner" })).await.faults();
    patch(&ours, &format!("/v1/users/{owner}"), json!({ "role": "admin" })).await.refused(409, "owner_needed");
    patch(&ours, &format!("/v1/users/{owner}"), json!({ "status": "suspended" })).await.refused(409, "owner_needed");
    patch(&ours, &format!("/v1/users/{owner}"), json!({ "status": "removed" })).await.refused(409, "owner_needed");
    let faults = patch(&ours, &format!("/v1/users/{bob}"), json!({ "role": "god", "status": "dead" })).await.faults();
    assert_eq!(faults.iter().map(|(at, _)| at.as_str()).collect::<Vec<_>>(), ["/role", "/status"]);

    // The ownership goes over; from then on this key has an admin's rights.
    let up = patch(&ours, &format!("/v1/users/{ada}"), json!({ "role": "owner" })).await.expect(200);
    assert_eq!(up["role"], json!("owner"));
    assert_eq!(ours.get(&format!("/v1/users/{owner}")).await.expect(200)["role"], json!("admin"));
    for (user, change) in [
        (&bob, json!({ "role": "owner" })),
        (&owner, json!({ "role": "owner" })),
        (&ada, json!({ "role": "user" })),
        (&ada, json!({ "name": "A" })),
    ] {
        let refusal = patch(&ours, &format!("/v1/users/{user}"), change).await.refused(403, "role_required");
        assert!(text(&refusal, "detail").contains("The role admin can't"), "{refusal}");
    }
    patch(&ours, &format!("/v1/users/{bob}"), json!({ "role": "admin" })).await.expect(200);
    let users = ours.get("/v1/users?limit=2").await.expect(200);
    let next = text(&users, "next");
    let rest = ours.get(&format!("/v1/users?after={next}")).await.expect(200);
    let roles: Vec<_> = [&users, &rest]
        .iter()
        .flat_map(|page| page["data"].as_array().expect("a list"))
        .map(|user| text(user, "role"))
        .collect();
    assert_eq!(roles, ["admin", "owner", "admin"]);
}

async fn who_goes_leaves_no_key_behind_unasked(server: Server) {
    let first = production(&server).await;
    let (key, former) = me(&first).await;
    let development = me(&server.api()).await.0;
    let ada = member(&server, &first, "ada@example.com", "admin").await;
    patch(&first, &format!("/v1/users/{ada}"), json!({ "role": "owner" })).await.expect(200);
    let ours = production(&server).await;

    let demote = json!({ "role": "user" });
    let path = format!("/v1/users/{former}");
    let refusal = patch(&ours, &path, demote.clone()).await.refused(409, "keys_would_stop");
    let named: Vec<_> = refusal["keys"].as_array().expect("keys").iter().map(|key| text(key, "id")).collect();
    assert_eq!(named, [development.clone(), key.clone()]);
    assert_eq!(
        (refusal["keys"][1]["label"].clone(), refusal["keys"][1]["environment"].clone()),
        (json!("Test"), json!("production"))
    );
    assert!(refusal["keys"][1].get("last_used_at").is_some(), "{refusal}");
    patch(&ours, &path, json!({ "status": "suspended" })).await.refused(409, "keys_would_stop");

    // A production key hands over its own environment's keys; the other still would stop.
    let body = json!({ "role": "user", "transfer_keys_to": ada });
    let refusal = patch(&ours, &path, body).await.refused(409, "keys_would_stop");
    assert_eq!(refusal["keys"].as_array().expect("keys").len(), 1);
    assert_eq!(refusal["keys"][0]["id"], json!(development));
    assert_eq!(
        first.get("/v1/me").await.expect(200)["administrator"]["id"],
        json!(former),
        "nothing was done by halves"
    );
    let (_, team) = server.key_of(&server.tenant, "production", Some(&["team:write"])).await;
    let body = json!({ "role": "user", "transfer_keys_to": ada });
    patch(&server.api_with(&team), &path, body).await.refused(403, "scope_required");
    // Which keys they are is told to whoever may read keys.
    let refusal = patch(&server.api_with(&team), &path, demote.clone()).await.refused(409, "keys_would_stop");
    assert_eq!(refusal["keys"], json!([]));
    let detail = text(&refusal, "detail");
    assert!(detail.contains("2 API keys") && detail.contains("keys:read"), "{detail}");
    let body = json!({ "role": "user", "transfer_keys_to": former });
    assert_eq!(patch(&ours, &path, body).await.faults()[0].0, "/transfer_keys_to");
    let body = json!({ "role": "user", "transfer_keys_to": ada, "confirm": true });
    patch(&ours, &path, body).await.expect(200);
    assert_eq!(first.get("/v1/me").await.expect(200)["administrator"]["id"], json!(ada), "the secret is the same");
    server.api().get("/v1/me").await.refused(403, "role_required");
}

async fn whoever_is_removed_takes_the_keys_that_are_left_along(server: Server) {
    let first = production(&server).await;
    let (key, former) = me(&first).await;
    let ada = member(&server, &first, "ada@example.com", "admin").await;
    patch(&first, &format!("/v1/users/{ada}"), json!({ "role": "owner" })).await.expect(200);
    let ours = production(&server).await;
    let path = format!("/v1/users/{former}");
    patch(&ours, &path, json!({ "status": "removed" })).await.refused(409, "keys_would_stop");
    let remove = json!({ "status": "removed", "confirm": true });
    // The journal's shared notes can't be written: all is committed, and not in force after a restore.
    let is_shared = server.block_journal();
    if is_shared {
        assert_eq!(patch(&ours, &path, remove.clone()).await.status, 500);
        assert_eq!(patch(&ours, &path, remove.clone()).await.status, 500, "it is not in force by being repeated");
        server.unblock_journal();
    }
    let gone = patch(&ours, &path, remove).await.expect(200);
    assert_eq!(server.has_note(&key), is_shared, "it is in the journal before it is answered");
    assert_eq!(gone["status"], json!("removed"));
    first.get("/v1/me").await.refused(401, "revoked_key");
    server.api().get("/v1/me").await.refused(401, "revoked_key");
    let dead = ours.get(&format!("/v1/keys/{key}")).await.expect(200);
    assert_eq!((dead["status"].clone(), dead["reason"].clone()), (json!("revoked"), json!("administrator_removed")));
    let events = ours.get("/v1/events?types=key.revoked").await.expect(200);
    assert_eq!(events["data"][0]["data"]["key"]["id"], json!(key));
    let log = ours.get(&format!("/v1/audit?object={key}&action=key.revoked")).await.expect(200);
    assert_eq!(log["data"][0]["after"]["revocation_note"], json!("The key's administrator was removed."));
    // Again it changes nothing, and nothing brings the user back.
    patch(&ours, &path, json!({ "status": "removed" })).await.expect(200);
    patch(&ours, &path, json!({ "status": "active" })).await.refused(409, "user_status");
    patch(&ours, &path, json!({ "role": "admin" })).await.refused(409, "user_status");
}

async fn whoever_is_removed_leaves_no_key_that_was_made_meanwhile(server: Server) {
    const ROUNDS: usize = 6;
    for round in 0..ROUNDS {
        let first = production(&server).await;
        let (_, former) = me(&first).await;
        let next = member(&server, &first, &format!("next{round}@example.com"), "admin").await;
        patch(&first, &format!("/v1/users/{next}"), json!({ "role": "owner" })).await.expect(200);
        let ours = production(&server).await;
        let makers = Makers::start(&first).await;
        let change = json!({ "status": "removed", "confirm": true });
        patch(&ours, &format!("/v1/users/{former}"), change).await.expect(200);
        for made in makers.made().await {
            let key = ours.get(&format!("/v1/keys/{}", text(&made, "id"))).await.expect(200);
            let is = (&key["status"], &key["reason"]);
            assert_eq!(is, (&json!("revoked"), &json!("administrator_removed")), "{key:#}");
        }
    }
}

async fn what_is_the_whole_tenants_needs_a_production_key(server: Server) {
    let development = server.api();
    let (_, staging) = server.key_of(&server.tenant, "staging", None).await;
    for api in [&development, &server.api_with(&staging)] {
        let (_, owner) = me(api).await;
        api.get("/v1/users").await.expect(200);
        api.get(&format!("/v1/users/{owner}")).await.expect(200);
        api.get("/v1/tenant").await.expect(200);
        let body = json!({ "email": "bob@example.com", "role": "user" });
        api.post("/v1/users", body).await.refused(403, "production_key_required");
        api.post_empty(&format!("/v1/users/{owner}/invite")).await.refused(403, "production_key_required");
        patch(api, &format!("/v1/users/{owner}"), json!({ "name": "X" })).await.refused(403, "production_key_required");
        patch(api, "/v1/tenant", json!({ "name": "X" })).await.refused(403, "production_key_required");
    }
    let tenant = patch(&production(&server).await, "/v1/tenant", json!({ "name": "Kestrel" })).await.expect(200);
    assert_eq!(tenant["name"], json!("Kestrel"));
}

async fn keys_manage_identity_only_where_the_owner_lets_them(server: Server) {
    let ours = production(&server).await;
    let (_, staging) = server.key_of(&server.tenant, "staging", None).await;
    let never = json!({ "policies": { "keys_may_manage_identity": false } });
    let faults = patch(&ours, "/v1/tenant", never).await.faults();
    assert_eq!(faults, [("/policies/keys_may_manage_identity".to_owned(), "locks_out_caller".to_owned())]);
    let never = json!({ "policies": { "keys_may_manage_identity": false }, "confirm": true });
    let tenant = patch(&ours, "/v1/tenant", never.clone()).await.expect(200);
    assert_eq!(tenant["policies"]["keys_may_manage_identity"], json!(false));
    let (_, owner) = me(&ours).await;
    for api in [&ours, &server.api(), &server.api_with(&staging)] {
        let (key, _) = me(api).await;
        api.post("/v1/keys", json!({ "label": "More" })).await.refused(403, "identity_needs_session");
        api.post_empty(&format!("/v1/keys/{key}/revoke")).await.refused(403, "identity_needs_session");
        patch(api, &format!("/v1/users/{owner}"), json!({ "name": "X" })).await.refused(403, "identity_needs_session");
        patch(api, "/v1/tenant", json!({ "name": "X" })).await.refused(403, "identity_needs_session");
        for path in ["/v1/keys", "/v1/users", "/v1/tenant", "/v1/audit", "/v1/envelopes"] {
            api.get(path).await.expect(200);
        }
        api.sample().await;
    }
    let back = server.admin(&["tenants", "update", "--keys-may-manage-identity", "true"]);
    assert_eq!(back["policies"]["keys_may_manage_identity"], json!(true));
    server.api().post("/v1/keys", json!({ "label": "More" })).await.expect(201);
    // An admin's key can't say so: the owner's alone.
    let ada = member(&server, &ours, "ada@example.com", "admin").await;
    patch(&ours, &format!("/v1/users/{ada}"), json!({ "role": "owner" })).await.expect(200);
    patch(&ours, "/v1/tenant", never).await.refused(403, "role_required");
}

async fn policies_are_changed_in_part_and_every_fault_is_named(server: Server) {
    let api = production(&server).await;
    let tenant = api.get("/v1/tenant").await.expect(200);
    let rule = |mode: &str| json!({ "mode": mode, "days": 90 });
    let each = |mode: &str| json!({ "development": rule(mode), "staging": rule(mode), "production": rule(mode) });
    assert_eq!(
        tenant["policies"],
        json!({
            "keys_may_manage_identity": true, "key_max_age": each("warn"), "key_rotation": each("remind"),
            "idle_key_days": 90, "leaks": { "revoke": false }
        })
    );
    assert_eq!(tenant["allows"], json!({ "signing_room": true, "users": true, "api": true, "allowlists": false }));
    let part = json!({ "policies": { "key_max_age": { "production": { "mode": "enforce", "days": 365 } }, "idle_key_days": null, "leaks": { "revoke": true } } });
    let policies = patch(&api, "/v1/tenant", part).await.expect(200)["policies"].clone();
    assert_eq!(policies["key_max_age"]["production"], json!({ "mode": "enforce", "days": 365 }));
    assert_eq!(policies["key_max_age"]["staging"], rule("warn"));
    assert_eq!(
        (policies["idle_key_days"].clone(), policies["leaks"].clone()),
        (Value::Null, json!({ "revoke": true }))
    );
    let wrong = json!({ "name": "", "policies": { "key_max_age": { "staging": { "mode": "remind", "days": 0 } }, "idle_key_days": 4000 } });
    let faults = patch(&api, "/v1/tenant", wrong).await.faults();
    let at: Vec<_> = faults.iter().map(|(at, _)| at.as_str()).collect();
    assert_eq!(
        at,
        [
            "/name",
            "/policies/idle_key_days",
            "/policies/key_max_age/staging/days",
            "/policies/key_max_age/staging/mode"
        ]
    );
    patch(&api, "/v1/tenant", json!({ "policies": { "keys": true } })).await.refused(422, "invalid_body");
}

async fn an_allowlist_of_the_tenant_needs_its_tier_and_locks_nobody_out_unasked(server: Server) {
    let api = production(&server).await;
    let list = |entries: &[&str]| json!({ "allowlist": entries });
    patch(&api, "/v1/tenant", list(&["127.0.0.0/8"])).await.refused(403, "tier_required");
    server.admin(&["tenants", "set-tier", "enterprise"]);
    let faults = patch(&api, "/v1/tenant", list(&["192.0.2.0/24"])).await.faults();
    assert_eq!(faults, [("/allowlist".to_owned(), "locks_out_caller".to_owned())]);
    patch(&api, "/v1/tenant", list(&["127.0.0.1", "192.0.2.0/24"])).await.expect(200);
    server.api().get("/v1/me").await.expect(200);
    let bearer = format!("Bearer {}", server.key);
    let elsewhere = server.stranger_from(7).with("authorization", &bearer);
    elsewhere.get("/v1/me").await.refused(403, "ip_not_allowed");
    // Observed, it lets pass; after the tier is lowered it is enforced still, and only narrowed.
    patch(&api, "/v1/tenant", json!({ "allowlist_mode": "observe" })).await.expect(200);
    elsewhere.get("/v1/me").await.expect(200);
    patch(&api, "/v1/tenant", json!({ "allowlist_mode": "enforce" })).await.expect(200);
    server.admin(&["tenants", "set-tier", "standard"]);
    elsewhere.get("/v1/me").await.refused(403, "ip_not_allowed");
    patch(&api, "/v1/tenant", list(&["127.0.0.0/8"])).await.refused(403, "tier_required");
    patch(&api, "/v1/tenant", list(&["127.0.0.1"])).await.expect(200);
    patch(&api, "/v1/tenant", list(&[])).await.expect(200);
    elsewhere.get("/v1/me").await.expect(200);
}

async fn the_audit_log_is_searched_and_holds(server: Server) {
    let api = production(&server).await;
    let (key, _) = me(&api).await;
    let bob = member(&server, &api, "bob@example.com", "user").await;
    patch(&api, &format!("/v1/users/{bob}"), json!({ "role": "viewer" })).await.expect(200);
    patch(&api, "/v1/tenant", json!({ "name": "Kestrel" })).await.expect(200);
    let actions = async |query: &str| {
        let page = api.get(&format!("/v1/audit?{query}")).await.expect(200);
        page["data"].as_array().expect("a list").iter().map(|entry| text(entry, "action")).collect::<Vec<_>>()
    };
    assert_eq!(actions(&format!("actor={key}")).await, ["tenant.updated", "user.role_set", "user.invited"]);
    assert_eq!(actions(&format!("actor={bob}")).await, ["user.joined"]);
    assert_eq!(actions("actor=operator&action=key.created").await.len(), 0, "the owner made it, through the operator");
    let set = api.get(&format!("/v1/audit?object={bob}&action=user.role_set")).await.expect(200)["data"][0].clone();
    assert_eq!((set["before"]["role"].clone(), set["after"]["role"].clone()), (json!("user"), json!("viewer")));
    assert_eq!((set["address"].clone(), set["environment"].clone()), (json!("127.0.0.1"), Value::Null));
    let at = text(&set, "at");
    assert_eq!(actions(&format!("object={bob}&since={at}")).await, ["user.role_set"]);
    assert_eq!(actions(&format!("object={bob}&until={at}")).await, ["user.joined", "user.invited"]);
    api.get("/v1/audit?since=yesterday").await.refused(400, "invalid_query");
    // What concerns the tenant as a whole is not shown to other environments.
    let page = server.api().get(&format!("/v1/audit?actor={key}")).await.expect(200);
    assert_eq!(page["data"], json!([]));

    let folder = server.data_dir().display().to_string();
    let verified = server.iusign(&["audit", "verify", "--data-dir", &folder, "--json"]);
    let checked: Value = serde_json::from_slice(&verified.stdout).expect("JSON");
    assert!(verified.status.success() && checked["holds"] == json!(true), "{checked}");
    assert!(checked["entries"].as_i64().is_some_and(|entries| entries >= 6), "{checked}");
}

async fn the_commands_do_what_the_api_does(server: Server) {
    let (_, key) = server.key_of(&server.tenant, "production", None).await;
    let run = |arguments: &[&str]| {
        let file = server.data_dir().join("production.key");
        std::fs::write(&file, &key).expect("written");
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("private");
        let file = file.display().to_string();
        let mut all = vec!["--json"];
        all.extend(arguments);
        all.extend(["--key-file", &file]);
        let output = server.iusign(&all);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let text = if output.status.success() { out } else { err };
        let json = serde_json::from_str::<Value>(&text).unwrap_or_else(|error| panic!("{all:?}, {error}: {text}"));
        (output.status.success(), json)
    };
    let (_, bob) = run(&["users", "invite", "bob@example.com", "--role", "admin", "--name", "Bob"]);
    let id = text(&bob, "id");
    assert_eq!(run(&["users", "invite", &id, "--again"]).1["status"], json!("invited"));
    assert_eq!(run(&["users", "rename", &id, "Robert"]).1["name"], json!("Robert"));
    assert_eq!(run(&["users", "set-role", &id, "user"]).1["role"], json!("user"));
    assert_eq!(run(&["users", "list"]).1["data"].as_array().expect("a list").len(), 2);
    assert_eq!(run(&["users", "get", &id]).1["email"], json!("bob@example.com"));
    let (done, refusal) = run(&["users", "suspend", &id]);
    assert_eq!((done, refusal["code"].clone()), (false, json!("user_status")));
    assert_eq!(run(&["users", "remove", &id]).1["status"], json!("removed"));
    let rules = ["--key-max-age", "production=enforce:30", "--key-rotation", "staging=off", "--idle-key-days", "never"];
    let (_, tenant) =
        run(&[&["tenant", "update", "--name", "Kestrel", "--revoke-leaked", "true"][..], &rules[..]].concat());
    assert_eq!(tenant["policies"]["key_max_age"]["production"], json!({ "mode": "enforce", "days": 30 }));
    assert_eq!(tenant["policies"]["key_rotation"]["staging"]["mode"], json!("off"));
    assert_eq!((tenant["policies"]["idle_key_days"].clone(), tenant["name"].clone()), (Value::Null, json!("Kestrel")));
    assert_eq!(run(&["tenant", "get"]).1, tenant);
    // The operator's: a user is removed with their keys, and mails are read.
    server.admin(&["users", "add", "ada@example.com", "--name", "Ada", "--role", "admin"]);
    server.admin(&["users", "set-role", "ada@example.com", "owner"]);
    let owner = me(&server.api_with(&key)).await.1;
    let gone = server.admin(&["users", "remove", &owner, "--confirm"]);
    assert_eq!(gone["status"], json!("removed"));
    server.api_with(&key).get("/v1/me").await.refused(401, "revoked_key");
    let mails = server.admin(&["notices"]);
    assert!(mails["notices"].as_array().is_some_and(|mails| mails.len() >= 2), "{mails}");
}
