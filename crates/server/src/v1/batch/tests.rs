//! `/v1/batches` over real TLS: rows go in as a file, and what is wrong with them comes back as one.

use app::{App, Parts, SystemClock, SystemRandom, once::Once, tenant::NewTenant};
use gate::{Gate, GateConfig, Pass};
use model::{
    DocumentId, EnvScope, Environment,
    field::{Field, FieldKind},
    key::Draft,
    recipient::RecipientKind,
    template::{Content, ContentDocument, Role, Template, TemplateVersion},
    tenant::Tier,
};
use secret::SecretKey;
use serde_json::{Value, json};
use std::{path::PathBuf, sync::Arc};
use store::Files;

use crate::testing::House;

/// A tenant with a key and a template at a running server.
async fn sender(house: &House) -> (SecretKey, String) {
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
    let new = NewTenant {
        name: "Acme".to_owned(),
        tier: Tier::Standard,
        owner_email: "bo@example.com".to_owned(),
        owner_name: "Bo".to_owned(),
        owner_password: None,
    };
    let (tenant, owner) = app.create_tenant(new).await.expect("a tenant");
    let scope = EnvScope { tenant: tenant.id, environment: Environment::Development };
    let draft = Draft { label: "Batches".to_owned(), administrator: Some(owner.id.to_string()), ..Draft::default() };
    let made = app.create_key(&Pass::operator(scope), &draft, &Once::unclaimed()).await.expect("a key");
    let template = template(&app);
    let mut tx = app.db.begin().await.expect("begins");
    store::template::insert(&mut tx, scope, &template).await.expect("a template");
    tx.commit().await.expect("commits");
    (made.secret, template.id.to_string())
}

fn template(app: &App) -> Template {
    let document: DocumentId = app.id();
    let sign = Field {
        key: "sign".to_owned(),
        kind: FieldKind::Signature,
        role: "Client".to_owned(),
        document,
        page: 1,
        x: 72.0,
        y: 100.0,
        width: 180.0,
        height: 40.0,
        required: true,
        readonly: false,
        default: None,
        max_length: None,
    };
    let amount = Field { key: "amount".to_owned(), kind: FieldKind::Text, y: 200.0, ..sign.clone() };
    let file = ContentDocument {
        id: document,
        filename: "a.pdf".to_owned(),
        sha256: "0".repeat(64),
        working: "1".repeat(64),
        pages: vec![model::document::Page { width: 595.0, height: 842.0, rotation: 0 }],
    };
    let version = TemplateVersion {
        number: 1,
        title: "Agreement".to_owned(),
        roles: vec![Role { name: "Client".to_owned(), kind: RecipientKind::Signer, order: 1 }],
        content: Content { documents: vec![file], fields: vec![sign, amount] },
        message: model::envelope::Message::default(),
    };
    Template { id: app.id(), name: "Agreement".to_owned(), created_at: app.now(), version }
}

async fn answer(request: reqwest::RequestBuilder, key: &SecretKey) -> (u16, Value) {
    let response = request.bearer_auth(key.expose()).send().await.expect("an answer");
    let status = response.status().as_u16();
    let text = response.text().await.expect("a body");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[tokio::test]
async fn rows_go_in_as_a_file_and_what_is_wrong_comes_back_as_one() {
    let house = House::new().await;
    let (key, template) = sender(&house).await;
    let json_of = |path: &str, body: &Value| {
        let request = house.client.post(house.url(path)).header("content-type", "application/json");
        request.body(body.to_string())
    };
    let get = |path: &str| house.client.get(house.url(path));

    let wrong = json!({"name": "", "template": {"id": "x"}, "on_invalid": "drop", "start_at": "today", "start": true});
    let (status, problem) = answer(json_of("/v1/batches", &wrong), &key).await;
    let pointers: Vec<_> = problem["errors"].as_array().expect("errors").iter().map(|e| e["pointer"].clone()).collect();
    assert_eq!((status, json!(pointers)), (422, json!(["/start_at", "/on_invalid", "/start", "/template/id"])));

    let new = json!({"name": "June", "template": {"id": template}});
    let (status, batch) = answer(json_of("/v1/batches", &new), &key).await;
    assert_eq!((status, &batch["status"], &batch["template"]["version"]), (201, &json!("open"), &json!(1)));
    let path = format!("/v1/batches/{}", batch["id"].as_str().expect("an id"));
    let (status, header) = answer(get(&format!("/v1/templates/{template}/batch.csv")), &key).await;
    let columns = "\u{feff}external_id,Client.name,Client.email,Client.locale,values.amount\r\n";
    assert_eq!((status, header.as_str()), (200, Some(columns)));

    let put = |media: &str, body: String| {
        house.client.put(house.url(&format!("{path}/rows"))).header("content-type", media).body(body)
    };
    let (status, problem) = answer(put("text/plain", String::new()), &key).await;
    assert_eq!((status, &problem["code"]), (415, &json!("unsupported_media_type")));
    let (status, problem) = answer(put("text/csv", "Client.nam\nx\n".to_owned()), &key).await;
    assert_eq!((status, &problem["code"]), (422, &json!("rows_unreadable")));
    assert_eq!(problem["errors"][0]["code"], "unknown_column");
    let file = format!("{columns}A,Ann,ann@example.com,,=1\r\nB,Bo,bo,,2\r\n");
    let (status, batch) = answer(put("text/csv; charset=utf-8", file), &key).await;
    let counts = ["status", "total", "valid", "invalid", "created"].map(|name| batch[name].clone());
    assert_eq!((status, json!(counts)), (200, json!(["ready", 2, 1, 1, 0])));

    let (_, rows) = answer(get(&format!("{path}/rows?status=invalid")), &key).await;
    assert_eq!((&rows["data"][0]["row"], &rows["data"][0]["line"]), (&json!(2), &json!(3)));
    assert_eq!(rows["data"][0]["errors"][0]["column"], "Client.email");
    let (_, page) = answer(get(&format!("{path}/rows?limit=1")), &key).await;
    let next = page["next"].as_str().expect("more");
    let (_, rows) = answer(get(&format!("{path}/rows?limit=1&after={next}")), &key).await;
    assert_eq!((&rows["data"][0]["external_id"], &rows["next"]), (&json!("B"), &Value::Null));
    let (status, errors) = answer(get(&format!("{path}/errors.csv")), &key).await;
    let errors = errors.as_str().unwrap_or_default();
    assert!(status == 200 && errors.ends_with(",B,Bo,bo,,2\r\n"), "{errors}");

    // There is no seal in this house, so nothing is sent.
    let (status, problem) = answer(json_of(&format!("{path}/start"), &json!({})), &key).await;
    assert_eq!((status, &problem["code"]), (503, &json!("seal_unavailable")));
    let (status, batch) = answer(json_of(&format!("{path}/cancel"), &json!({})), &key).await;
    assert_eq!((status, &batch["status"]), (200, &json!("cancelled")));
    let (status, problem) = answer(put("text/csv", String::new()), &key).await;
    assert_eq!((status, &problem["code"]), (409, &json!("batch_not_open")));
    let (_, list) = answer(get("/v1/batches?status=cancelled"), &key).await;
    assert_eq!((&list["data"][0]["name"], &list["data"][0]["created"]), (&json!("June"), &Value::Null));
    // The house's own key is another tenant's.
    let (status, _) = answer(get(&path), &house.key).await;
    assert_eq!(status, 403);
}
