//! Envelopes over the API: made, sent, voided, listed; done once however often it is asked; every fault at its place.

use serde_json::{Value, json};
use tests::{Server, both_engines, paper};

both_engines! {
    a_draft_is_made_sent_and_voided
    the_same_idempotency_key_does_it_once
    an_external_id_is_taken_once
    every_fault_of_a_body_is_named_at_its_place
    fields_are_checked_against_the_pages
    a_template_makes_envelopes
    lists_page_and_filter
    what_is_no_json_is_refused
}

async fn a_draft_is_made_sent_and_voided(server: Server) {
    let api = server.api();
    let mut body = paper::for_two(&api.sample().await);
    body["send"] = json!(false);
    body["metadata"] = json!({ "order": "4711" });
    body["values"] = json!({ "client_company": "Kestrel" });
    body["timezone"] = json!("Europe/Berlin");
    let answer = api.post("/v1/envelopes", body).await;
    let draft = answer.expect(201);
    let id = draft["id"].as_str().expect("an id");
    assert_eq!(answer.header("location"), format!("/v1/envelopes/{id}"));
    assert_eq!(
        (&draft["status"], &draft["metadata"], &draft["values"], &draft["timezone"], &draft["environment"]),
        (
            &json!("draft"),
            &json!({ "order": "4711" }),
            &json!({ "client_company": "Kestrel" }),
            &json!("Europe/Berlin"),
            &json!("development")
        )
    );
    assert_eq!(api.get(&format!("/v1/mail?envelope={id}")).await.expect(200)["data"], json!([]));
    let sent = api.post_empty(&format!("/v1/envelopes/{id}/send")).await.expect(200);
    assert_eq!(sent["status"], json!("sent"));
    api.post_empty(&format!("/v1/envelopes/{id}/send")).await.refused(409, "not_draft");
    let link = api.link(id, "taro@example.com").await;
    assert_eq!(server.stranger().get(&link).await.status, 200);
    let voided = api.post_empty(&format!("/v1/envelopes/{id}/void")).await.expect(200);
    assert_eq!(voided["status"], json!("voided"));
    let mails: Vec<_> =
        voided["recipients"].as_array().expect("two").iter().map(|to| &to["delivery"]["state"]).collect();
    assert_eq!(mails, ["accepted", "not_sent"], "the second's turn never came");
    assert_eq!(server.stranger().get(&link).await.status, 410);
    for asset in ["document", "ast_01k9x3m5c0e8a9v7r2d4t6y8b0"] {
        let answer = api.get(&format!("/v1/envelopes/{id}/assets/{asset}")).await;
        assert!(matches!(answer.status, 404 | 409), "{}", answer.text());
    }
}

async fn the_same_idempotency_key_does_it_once(server: Server) {
    let api = server.api();
    let body = paper::for_one(&api.sample().await, "taro@example.com");
    let once = api.with("idempotency-key", "order-4711");
    let first = once.post("/v1/envelopes", body.clone()).await.expect(201);
    let many = futures::future::join_all((0..8).map(|_| once.post("/v1/envelopes", body.clone()))).await;
    for again in &many {
        assert_eq!(again.expect(201)["id"], first["id"]);
    }
    let mut other = body.clone();
    other["title"] = json!("Another");
    once.post("/v1/envelopes", other).await.refused(422, "idempotency_mismatch");
    let listed = api.get("/v1/envelopes").await.expect(200);
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(1));

    // All at once: one does it, the others are told to wait or get its answer.
    let twice = api.with("idempotency-key", "order-4712");
    let many = futures::future::join_all((0..8).map(|_| twice.post("/v1/envelopes", body.clone()))).await;
    let made: std::collections::BTreeSet<String> =
        many.iter().filter(|answer| answer.status == 201).map(|answer| answer.json()["id"].to_string()).collect();
    assert_eq!(made.len(), 1, "{made:?}");
    for waiting in many.iter().filter(|answer| answer.status != 201) {
        waiting.refused(409, "idempotency_in_progress");
    }
    let listed = api.get("/v1/envelopes").await.expect(200);
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(2));
    api.with("idempotency-key", &"x".repeat(256))
        .post("/v1/envelopes", body)
        .await
        .refused(400, "idempotency_key_invalid");
}

async fn an_external_id_is_taken_once(server: Server) {
    let api = server.api();
    let mut body = paper::for_one(&api.sample().await, "taro@example.com");
    body["external_id"] = json!("contract-4711");
    let first = api.create(body.clone()).await;
    api.post("/v1/envelopes", body.clone()).await.refused(409, "external_id_taken");
    let many = futures::future::join_all((0..4).map(|_| {
        let mut body = body.clone();
        body["external_id"] = json!("contract-4712");
        async { api.post("/v1/envelopes", body).await.status }
    }));
    let mut statuses = many.await;
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409]);
    body["allow_duplicate"] = json!(true);
    let second = api.create(body).await;
    assert_ne!(first["id"], second["id"]);
    let found = api.get("/v1/envelopes?external_id=contract-4711").await.expect(200);
    assert_eq!(found["data"].as_array().map(Vec::len), Some(2));
}

async fn every_fault_of_a_body_is_named_at_its_place(server: Server) {
    let api = server.api();
    let document = api.sample().await;
    let pairs = |faults: &[(&str, &str)]| -> Vec<(String, String)> {
        faults.iter().map(|(pointer, code)| ((*pointer).to_owned(), (*code).to_owned())).collect()
    };
    let body = json!({
        "title": "",
        "documents": [document],
        "recipients": [
            { "role": "Client", "name": "Taro\nBcc: x", "email": "no address" },
            { "role": "Provider", "name": "Nora", "email": "nora@example.com", "locale": "not a tag" }
        ],
        "fields": paper::sample_fields(true),
        "values": { "nothing": "x", "client_company": 7 },
        "metadata": { "order": 4711 },
        "timezone": "Europe/Atlantis",
        "redirect_url": "http://example.com",
        "expires_at": "2020-01-01T00:00:00Z"
    });
    let faults = api.post("/v1/envelopes", body).await.faults();
    let expected = [
        ("/expires_at", "in_the_past"),
        ("/metadata/order", "wrong_type"),
        ("/recipients/0/email", "malformed"),
        ("/recipients/0/name", "control_character"),
        ("/recipients/1/locale", "malformed"),
        ("/redirect_url", "malformed"),
        ("/timezone", "unknown_zone"),
        ("/title", "required"),
        ("/values/client_company", "wrong_type"),
        ("/values/nothing", "unknown_field"),
    ];
    assert_eq!(faults, pairs(&expected));
    let unknown =
        json!({ "documents": [document], "recipients": [{ "name": "A", "email": "a@example.com", "mail": 1 }] });
    assert_eq!(api.post("/v1/envelopes", unknown).await.faults(), pairs(&[("/recipients/0/mail", "unknown_field")]));
    let ids = json!({ "documents": ["doc_x", "doc_01k9x3m5c0e8a9v7r2d4t6y8b0"], "recipients": [], "template": { "id": "x" } });
    let faults = api.post("/v1/envelopes", ids).await.faults();
    assert!(faults.contains(&("/documents/0".to_owned(), "malformed".to_owned())), "{faults:?}");
    assert!(faults.contains(&("/template/id".to_owned(), "malformed".to_owned())), "{faults:?}");
}

async fn fields_are_checked_against_the_pages(server: Server) {
    let api = server.api();
    let document = api.sample().await;
    let at = |page: u32, x: f64, y: f64| json!({ "type": "signature", "page": page, "x": x, "y": y });
    let anchor = |text: &str| json!({ "type": "signature", "anchor": { "text": text } });
    for (field, pointer, code) in [
        (at(1, 500.0, 10.0), "/fields/0", "off_page"),
        (at(1, -5.0, 10.0), "/fields/0", "off_page"),
        (at(5, 10.0, 10.0), "/fields/0", "no_such_page"),
        (at(0, 10.0, 10.0), "/fields/0", "no_such_page"),
        (anchor("Not in the contract"), "/fields/0/anchor", "anchor_not_found"),
        (anchor("Client"), "/fields/0/anchor", "anchor_ambiguous"),
        (json!({ "type": "signature", "page": 1, "x": 1.0, "y": 1.0, "width": 0.0 }), "/fields/0", "zero_area"),
        (json!({ "type": "stamp", "page": 1, "x": 1.0, "y": 1.0 }), "/fields/0/type", "invalid_value"),
        (json!({ "type": "text", "page": 1, "x": 1.0, "y": 1.0 }), "/fields", "nothing_to_sign"),
        (json!({ "type": "signature" }), "/fields/0", "required"),
    ] {
        let body = json!({
            "documents": [document],
            "recipients": [{ "name": "Taro", "email": "taro@example.com" }],
            "fields": [field]
        });
        let answer = api.post("/v1/envelopes", body).await;
        let faults = answer.faults();
        assert!(faults.contains(&(pointer.to_owned(), code.to_owned())), "{field}: {faults:?}");
        if code == "off_page" {
            assert!(answer.text().contains("595.3 × 841.9"), "the page's size is told: {}", answer.text());
        }
    }
}

async fn a_template_makes_envelopes(server: Server) {
    let api = server.api();
    let document = api.sample().await;
    let template = json!({
        "name": "Service agreement",
        "documents": [document],
        "roles": [{ "name": "Client", "order": 1 }, { "name": "Provider", "order": 2 }],
        "fields": paper::sample_fields(true),
        "message": { "subject": "Your agreement", "body": "Please sign." }
    });
    let made = api.post("/v1/templates", template).await.expect(201);
    assert_eq!(made["version"], json!(1));
    let id = made["id"].as_str().expect("an id");
    assert_eq!(api.get(&format!("/v1/templates/{id}")).await.expect(200), made);
    assert_eq!(api.get("/v1/templates").await.expect(200)["data"][0]["id"], json!(id));
    let body = json!({
        "template": { "id": id },
        "recipients": [
            { "role": "Client", "name": "Taro", "email": "taro@example.com" },
            { "role": "Provider", "name": "Nora", "email": "nora@example.com" }
        ],
        "send": true
    });
    let envelope = api.create(body.clone()).await;
    assert_eq!(envelope["template"], json!({ "id": id, "version": 1 }));
    assert_eq!(envelope["recipients"][1]["order"], json!(2));
    let mut wrong = body;
    wrong["recipients"][1]["role"] = json!("Witness");
    let faults = api.post("/v1/envelopes", wrong).await.faults();
    let codes: Vec<_> = faults.iter().map(|(pointer, code)| format!("{pointer} {code}")).collect();
    assert_eq!(codes, ["/recipients role_missing", "/recipients/1/role unknown_role"]);
}

async fn lists_page_and_filter(server: Server) {
    let api = server.api();
    let document = api.sample().await;
    let mut ids = Vec::new();
    for number in 0..5 {
        let mut body = paper::for_one(&document, "taro@example.com");
        (body["send"], body["title"]) = (json!(number % 2 == 0), json!(format!("No. {number}")));
        ids.insert(0, api.create(body).await["id"].as_str().expect("an id").to_owned());
    }
    let names = |page: &Value| -> Vec<String> {
        let data = page["data"].as_array().expect("a list");
        data.iter().map(|envelope| envelope["id"].as_str().expect("an id").to_owned()).collect()
    };
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("/v1/envelopes?limit=2{after}")).await.expect(200);
        seen.extend(names(&page));
        assert_eq!(page["has_more"], json!(page["next"].is_string()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(seen, ids);
    let drafts = api.get("/v1/envelopes?status=draft").await.expect(200);
    assert_eq!(names(&drafts), [ids[1].clone(), ids[3].clone()]);
    api.get("/v1/envelopes?status=lost").await.refused(400, "invalid_query");
    api.get("/v1/envelopes?limit=101").await.refused(400, "invalid_query");
    let keys = api.get("/v1/events?limit=1").await.expect(200);
    let cursor = keys["next"].as_str().expect("a cursor");
    api.get(&format!("/v1/envelopes?after={cursor}")).await.refused(400, "cursor_invalid");
}

async fn what_is_no_json_is_refused(server: Server) {
    let api = server.api();
    let post = |kind: &'static str, body: &'static str| {
        let api = api.clone();
        async move { api.send(reqwest::Method::POST, "/v1/envelopes", Some(kind), body).await }
    };
    let problem = post("application/json", "{\n \"title\": }").await.refused(400, "invalid_json");
    assert!(problem["detail"].to_string().contains("line 2"), "{problem}");
    post("text/plain", "{}").await.refused(415, "unsupported_media_type");
    let large = format!("{{\"title\":\"{}\"}}", "x".repeat(2 * 1024 * 1024));
    let answer = api.send(reqwest::Method::POST, "/v1/envelopes", Some("application/json"), large).await;
    answer.refused(413, "body_too_large");
    // A page for every code, and a reference that needs nothing from elsewhere.
    let page = server.stranger().get("/problems/body_too_large").await;
    assert!(page.status == 200 && page.text().contains("body_too_large"), "{}", page.text());
    let docs = server.stranger().get("/docs").await;
    assert!(docs.status == 200 && docs.text().contains("/v1/envelopes"));
    assert!(
        !docs.text().contains("src=\"http") && !docs.text().contains("href=\"http"),
        "the reference loads from elsewhere"
    );
}
