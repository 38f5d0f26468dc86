//! `/v1/keys`, `/v1/me` and `/v1/audit` over real TLS: whole answers, and a secret that is shown once.

use app::{App, Parts, SystemClock, SystemRandom, once::Once, tenant::NewTenant};
use gate::{Gate, GateConfig, Pass};
use model::{EnvScope, Environment, KeyId, TenantId, UserId, key::Draft, tenant::Tier};
use reqwest::RequestBuilder;
use secret::SecretKey;
use serde_json::{Value, json};
use std::{path::PathBuf, sync::Arc};
use store::{Files, sql};

use crate::testing::House;

/// A tenant of its own at a running server.
struct Tenant {
    house: House,
    app: App,
    tenant: TenantId,
    owner: UserId,
}

impl Tenant {
    async fn new() -> Self {
        let house = House::new().await;
        let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
        let app = App::new(Parts {
            files: Files::open(&house.folder.join("files"), random.clone()).expect("files"),
            journal: store::Journal::open(&house.folder, None).await.expect("a journal"),
            gate: Gate::new(house.db().clone(), GateConfig::default(), clock.clone()),
            db: house.db().clone(),
            seal_key: Err("none in tests".to_owned()),
            config: app::Config {
                public_url: "https://sign.example.com".to_owned(),
                master_key: [7; 32],
                smtp: None,
                worker: (PathBuf::from("/nonexistent"), Vec::new()),
                workers: 1,
                github_keys: None,
            },
            clock,
            random,
        });
        let (tenant, owner) = app
            .create_tenant(NewTenant {
                name: "Acme".to_owned(),
                tier: Tier::Enterprise,
                owner_email: "ada@example.com".to_owned(),
                owner_name: "Ada".to_owned(),
                owner_password: None,
            })
            .await
            .expect("a tenant");
        Self { house, app, tenant: tenant.id, owner: owner.id }
    }

    async fn key(&self, label: &str, environment: Environment) -> (KeyId, SecretKey) {
        let pass = Pass::operator(EnvScope { tenant: self.tenant, environment });
        let administrator = Some(self.owner.to_string());
        let draft = Draft { label: label.to_owned(), administrator, ..Draft::default() };
        let made = self.app.create_key(&pass, &draft, &Once::unclaimed()).await.expect("a key");
        (made.details.key.id, made.secret)
    }

    fn get(&self, key: &SecretKey, path: &str) -> RequestBuilder {
        self.house.client.get(self.house.url(path)).bearer_auth(key.expose())
    }

    fn post(&self, key: &SecretKey, path: &str, body: &Value) -> RequestBuilder {
        let request = self.house.client.post(self.house.url(path)).bearer_auth(key.expose());
        request.header("content-type", "application/json").body(body.to_string())
    }
}

async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("answers");
    let status = response.status().as_u16();
    (status, response.json().await.expect("JSON"))
}

/// What differs each time, taken out and checked to be there.
fn take<'a>(value: &mut Value, names: impl IntoIterator<Item = &'a str>) {
    for name in names {
        let taken = value.as_object_mut().and_then(|object| object.remove(name));
        assert!(taken.is_some_and(|taken| taken.is_string()), "{name} in {value}");
    }
}

#[tokio::test]
async fn a_secret_is_shown_once_and_its_replay_is_without_it() {
    let acme = Tenant::new().await;
    let (parent, key) = acme.key("Parent", Environment::Development).await;
    let body = json!({"label": "Invoices", "scopes": ["envelopes:read"], "allowlist": ["127.0.0.0/8"], "tags": ["ci"]});
    let request = || acme.post(&key, "/v1/keys", &body).header("idempotency-key", "one");
    let response = request().send().await.expect("answers");
    assert_eq!(
        (response.status().as_u16(), &response.headers()["cache-control"]),
        (201, &"no-store".parse().expect("text"))
    );
    let location = response.headers()["location"].to_str().expect("text").to_owned();
    let first: Value = response.json().await.expect("JSON");
    let secret = SecretKey::parse(first["secret"].as_str().expect("a secret")).expect("well-formed");
    assert_eq!(location, format!("/v1/keys/{}", KeyId::from_uuid(secret.id())));

    let mut whole = first.clone();
    take(&mut whole, ["id", "created_at", "status_at", "secret", "rotation_due_at"]);
    take(&mut whole["max_age"], ["due_at"]);
    take(&mut whole["secrets"][0], ["created_at"]);
    let actor = json!({"type": "key", "id": parent, "label": "Parent"});
    assert_eq!(
        whole,
        json!({
            "label": "Invoices", "environment": "development", "status": "active", "reason": null,
            "last4": secret.last4(), "created_by": actor, "parent": parent, "administrator": acme.owner,
            "scopes": ["envelopes:read"], "allowlist": ["127.0.0.0/8"], "allowlist_mode": "enforce", "expires_at": null,
            "last_used": null, "rotation": null, "max_age": {"mode": "warn"},
            "secrets": [{"last4": secret.last4(), "status": "current", "ends_at": null, "last_used": null}],
            "exposed": null, "note": "", "tags": ["ci"], "sealed_secret": null, "secret_shown": false
        })
    );

    let replayed = request().send().await.expect("answers");
    assert_eq!(
        (replayed.status().as_u16(), &replayed.headers()["idempotency-replayed"]),
        (201, &"true".parse().expect("text"))
    );
    let again: Value = replayed.json().await.expect("JSON");
    assert_eq!((&again["secret"], &again["secret_shown"], &again["id"]), (&Value::Null, &json!(true), &first["id"]));
    let mut tx = acme.house.db().read().await.expect("reads");
    for text in [
        sql("SELECT body AS text FROM idempotency"),
        sql("SELECT after AS text FROM audit"),
        sql("SELECT body AS text FROM events"),
    ] {
        for row in text.all(&mut tx).await.expect("rows") {
            let kept: Option<String> = row.get("text").expect("text");
            assert!(!kept.unwrap_or_default().contains(secret.expose()));
        }
    }
    let (status, me) = answer(acme.get(&secret, "/v1/me")).await;
    assert_eq!((status, &me["key"]["id"]), (200, &first["id"]), "the secret opens");
}

#[tokio::test]
async fn every_fault_of_a_key_is_named_and_nothing_beyond_the_key_is_given() {
    let acme = Tenant::new().await;
    let (_, key) = acme.key("Parent", Environment::Development).await;
    let body = json!({"label": "", "scopes": ["everything"], "allowlist": ["10.0.0.5/8"], "expires_at": "tomorrow"});
    let (status, refusal) = answer(acme.post(&key, "/v1/keys", &body)).await;
    let pointers: Vec<_> = refusal["errors"].as_array().expect("errors").iter().map(|e| e["pointer"].clone()).collect();
    assert_eq!((status, &refusal["code"]), (422, &json!("invalid_body")));
    assert_eq!(pointers, ["/label", "/scopes/0", "/allowlist/0", "/expires_at"]);
    let (status, refusal) = answer(acme.post(&key, "/v1/keys", &json!({"label": "x", "scope": "*"}))).await;
    assert_eq!((status, &refusal["errors"][0]["pointer"]), (422, &json!("/scope")));
    let (status, refusal) =
        answer(acme.post(&key, "/v1/keys", &json!({"label": "x", "environment": "production"}))).await;
    assert_eq!((status, &refusal["code"]), (403, &json!("beyond_the_key")));
    assert_eq!(refusal["errors"][0]["pointer"], "/environment");
}

#[tokio::test]
async fn a_revocation_is_answered_with_its_receipt_and_the_key_is_refused() {
    let acme = Tenant::new().await;
    let (id, key) = acme.key("Leaked", Environment::Development).await;
    let (_, child) = answer(acme.post(&key, "/v1/keys", &json!({"label": "Child"}))).await;
    let (_, other) = acme.key("Other", Environment::Development).await;
    let path = format!("/v1/keys/{id}/revoke");
    let (status, refusal) = answer(acme.post(&other, &path, &json!({"reason": "policy"}))).await;
    assert_eq!((status, &refusal["errors"][0]["pointer"]), (422, &json!("/reason")));
    let why = json!({"reason": "compromised", "note": "in a public repository"});
    let (status, receipt) = answer(acme.post(&other, &path, &why)).await;
    assert_eq!(status, 200, "{receipt}");
    let shown = &receipt["key"];
    assert_eq!(
        (&shown["id"], &shown["status"], &shown["reason"]),
        (&json!(id), &json!("revoked"), &json!("compromised"))
    );
    assert_eq!(shown["secrets"][0]["status"], "dead");
    assert_eq!(receipt["made"], json!({"keys": [child["id"]], "batches": []}));
    assert!(receipt["effective_at"].as_str() >= shown["status_at"].as_str());
    let (status, refusal) = answer(acme.get(&key, "/v1/me")).await;
    assert_eq!((status, &refusal["code"]), (401, &json!("revoked_key")));
    // Again, and without a body.
    let again = acme.house.client.post(acme.house.url(&path)).bearer_auth(other.expose());
    let (status, receipt) = answer(again).await;
    assert_eq!((status, &receipt["key"]["reason"]), (200, &json!("compromised")));

    let (_, log) = answer(acme.get(&other, &format!("/v1/audit?object={id}"))).await;
    let actions: Vec<_> = log["data"].as_array().expect("entries").iter().map(|e| e["action"].clone()).collect();
    assert_eq!(actions, ["key.revoked", "key.created"]);
    let mut entry = log["data"][0].clone();
    take(&mut entry, ["id", "at", "request_id"]);
    let other_id = KeyId::from_uuid(other.id());
    assert_eq!(entry["actor"], json!({"type": "key", "id": other_id, "label": "Other"}));
    assert_eq!((&entry["address"], &entry["after"]["revocation_note"]), (&json!("127.0.0.1"), &why["note"]));
}

#[tokio::test]
async fn keys_and_audit_are_listed_in_pages_and_to_their_environment_alone() {
    let acme = Tenant::new().await;
    let mut ids = Vec::new();
    for number in 0..3 {
        ids.push(acme.key(&format!("Key {number}"), Environment::Development).await);
    }
    let (elsewhere, stranger) = acme.key("Staging", Environment::Staging).await;
    let key = &ids[0].1;
    let (_, one) = answer(acme.get(key, "/v1/keys?limit=2")).await;
    let labels =
        |page: &Value| page["data"].as_array().map(|keys| keys.iter().map(|k| k["label"].clone()).collect::<Vec<_>>());
    assert_eq!((labels(&one), &one["has_more"]), (Some(vec![json!("Key 2"), json!("Key 1")]), &json!(true)));
    let next = one["next"].as_str().expect("a cursor");
    let (_, two) = answer(acme.get(key, &format!("/v1/keys?limit=2&after={next}"))).await;
    assert_eq!(
        (labels(&two), &two["has_more"], &two["next"]),
        (Some(vec![json!("Key 0")]), &json!(false), &Value::Null)
    );
    let (status, refusal) = answer(acme.get(&stranger, &format!("/v1/keys?after={next}"))).await;
    assert_eq!((status, &refusal["code"]), (400, &json!("cursor_invalid")));
    let (_, none) = answer(acme.get(key, "/v1/keys?status=revoked")).await;
    assert_eq!(none, json!({"data": [], "has_more": false, "next": null}));
    let (status, refusal) = answer(acme.get(key, "/v1/keys?status=dead")).await;
    assert_eq!((status, &refusal["code"]), (400, &json!("invalid_query")));

    let (status, mut strange) = answer(acme.get(key, &format!("/v1/keys/{elsewhere}"))).await;
    let (_, mut nothing) = answer(acme.get(key, "/v1/keys/key_01j0000000e008000000000001")).await;
    take(&mut strange, ["request_id"]);
    take(&mut nothing, ["request_id"]);
    assert_eq!((status, &strange), (404, &nothing));
    let (status, mine) = answer(acme.get(key, &format!("/v1/keys/{}", ids[1].0))).await;
    assert_eq!((status, &mine["label"]), (200, &json!("Key 1")));

    let (_, log) = answer(acme.get(key, "/v1/audit?limit=2")).await;
    let seqs =
        |page: &Value| page["data"].as_array().map(|all| all.iter().map(|e| e["seq"].clone()).collect::<Vec<_>>());
    assert_eq!(seqs(&log), Some(vec![json!(5), json!(4)]));
    let next = log["next"].as_str().expect("a cursor");
    let (_, log) = answer(acme.get(key, &format!("/v1/audit?limit=2&after={next}"))).await;
    assert_eq!((seqs(&log), &log["has_more"]), (Some(vec![json!(3)]), &json!(false)));
}

#[tokio::test]
async fn a_key_is_told_who_it_is() {
    let acme = Tenant::new().await;
    let (id, key) = acme.key("Who", Environment::Staging).await;
    let (status, mut me) = answer(acme.get(&key, "/v1/me")).await;
    assert_eq!((status, &me["key"]["id"], &me["key"]["environment"]), (200, &json!(id), &json!("staging")));
    assert_eq!(
        (&me["key"]["scopes"], &me["key"]["created_by"]),
        (&json!(["*"]), &json!({"type": "operator", "id": null}))
    );
    take(&mut me["tenant"], ["created_at"]);
    take(&mut me["administrator"], ["created_at"]);
    assert_eq!(
        me["tenant"],
        json!({"id": acme.tenant, "name": "Acme", "tier": "enterprise", "status": "active", "allowlist": [], "allowlist_mode": "enforce"})
    );
    assert_eq!(
        me["administrator"],
        json!({"id": acme.owner, "email": "ada@example.com", "name": "Ada", "role": "owner", "status": "active"})
    );
    assert_eq!(me["address"], "127.0.0.1");
}
