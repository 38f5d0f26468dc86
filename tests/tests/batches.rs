//! Mass creation: rows as people have them, a report that names each fault, and every row once.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::{Api, Room, Server, both_engines, paper};

both_engines! {
    a_spreadsheet_becomes_envelopes
    each_fault_of_a_row_is_reported_and_what_is_left_out_comes_back
    ndjson_and_rows_in_the_body_do_the_same
    a_batch_pauses_resumes_and_is_cancelled
    a_revoked_key_stops_its_batch_until_another_resumes_it
    what_is_no_table_is_refused_whole
}

async fn template(api: &Api) -> String {
    let document = api.sample().await;
    let body = json!({
        "name": "Service agreement",
        "documents": [document],
        "roles": [{ "name": "Client" }],
        "fields": paper::sample_fields(false)
    });
    api.post("/v1/templates", body).await.expect(201)["id"].as_str().expect("an id").to_owned()
}

async fn open(api: &Api, body: Value) -> String {
    let batch = api.post("/v1/batches", body).await.expect(201);
    assert_eq!(batch["status"], json!("open"));
    batch["id"].as_str().expect("an id").to_owned()
}

async fn put(api: &Api, id: &str, kind: &str, rows: impl Into<bytes::Bytes>) -> Value {
    api.put(&format!("/v1/batches/{id}/rows"), kind, rows).await.expect(200)
}

async fn start(api: &Api, id: &str) -> Value {
    api.post_empty(&format!("/v1/batches/{id}/start")).await.expect(200)
}

/// Waits for an event of this type about a batch.
async fn told(api: &Api, id: &str, kind: &str) {
    let mut after = String::new();
    for _ in 0..30 {
        let page = api.get(&format!("/v1/events?limit=500&wait=10&types={kind}{after}")).await.expect(200);
        if page["data"].as_array().expect("a list").iter().any(|event| event["data"].to_string().contains(id)) {
            return;
        }
        after = format!("&after={}", page["next"].as_str().expect("a cursor"));
    }
    panic!("no {kind} of {id}: {}", api.get(&format!("/v1/batches/{id}")).await.text());
}

/// Every envelope of a batch.
async fn envelopes(api: &Api, id: &str) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("/v1/envelopes?limit=100&batch={id}{after}")).await.expect(200);
        all.extend(page["data"].as_array().expect("a list").iter().cloned());
        let Some(next) = page["next"].as_str() else { return all };
        after = format!("&after={next}");
    }
}

async fn a_spreadsheet_becomes_envelopes(server: Server) {
    let api = server.api();
    let template = template(&api).await;
    let header = api.get(&format!("/v1/templates/{template}/batch.csv")).await;
    assert!(
        header.text().contains("Client.email") && header.text().contains("values.client_company"),
        "{}",
        header.text()
    );
    let id = open(&api, json!({ "name": "June", "template": { "id": template } })).await;
    api.post_empty(&format!("/v1/batches/{id}/start")).await.refused(409, "batch_not_ready");
    // As a spreadsheet of a European office writes it: a mark, semicolons, CRLF, quoted line breaks, a blank row at the end.
    let mut csv =
        String::from("\u{feff}external_id;Client.NAME ;client.email;values.client_company;metadata.region\r\n");
    for row in 1..=60 {
        csv.push_str(&format!("c-{row};\"Müller, Nr. {row}\";p{row}@example.com;\"Kestrel; Söhne\";EU\r\n"));
    }
    csv.push_str(";;;;\r\n\r\n");
    let report = put(&api, &id, "text/csv", csv.clone()).await;
    assert_eq!(
        (&report["status"], &report["total"], &report["valid"], &report["invalid"]),
        (&json!("ready"), &json!(60), &json!(60), &json!(0)),
        "{report}"
    );
    assert_eq!(put(&api, &id, "text/csv", csv.clone()).await["total"], json!(60), "a repeat replaces");
    start(&api, &id).await;
    told(&api, &id, "batch.completed").await;
    let batch = api.get(&format!("/v1/batches/{id}")).await.expect(200);
    assert_eq!(
        (&batch["status"], &batch["created"], &batch["sent"]),
        (&json!("completed"), &json!(60), &json!(60)),
        "{batch}"
    );
    let made = envelopes(&api, &id).await;
    let ids: BTreeSet<_> =
        made.iter().map(|envelope| envelope["external_id"].as_str().expect("an id").to_owned()).collect();
    assert_eq!((made.len(), ids.len()), (60, 60));
    let one = made.iter().find(|envelope| envelope["external_id"] == json!("c-7")).expect("the seventh");
    assert_eq!(one["recipients"][0]["name"], json!("Müller, Nr. 7"));
    assert_eq!((&one["metadata"]["region"], &one["batch_id"]), (&json!("EU"), &json!(id)));
    assert_eq!(one["values"]["client_company"], json!("Kestrel; Söhne"));
    let own = one["id"].as_str().expect("an id");
    let room = Room::enter(&server, &api, own, "p7@example.com").await;
    room.sign("Müller", &[("client_name", "Müller"), ("client_company", "Kestrel")]).await;
    api.wait_for(own, "envelope.completed").await;
    api.put(&format!("/v1/batches/{id}/rows"), "text/csv", csv).await.refused(409, "batch_not_open");
}

async fn each_fault_of_a_row_is_reported_and_what_is_left_out_comes_back(server: Server) {
    let api = server.api();
    let template = template(&api).await;
    let csv = "external_id,Client.name,Client.email,values.client_company\n\
               a,Taro,taro@example.com,Kestrel\n\
               b,,no address,Kestrel\n\
               a,Nora,nora@example.com,=cmd()\n";
    let strict = open(&api, json!({ "name": "Strict", "template": { "id": template } })).await;
    let report = put(&api, &strict, "text/csv; charset=utf-8", csv).await;
    assert_eq!((&report["total"], &report["valid"], &report["invalid"]), (&json!(3), &json!(1), &json!(2)), "{report}");
    api.post_empty(&format!("/v1/batches/{strict}/start")).await.refused(409, "batch_not_ready");
    let rows = api.get(&format!("/v1/batches/{strict}/rows?status=invalid")).await.expect(200);
    let rows = rows["data"].as_array().expect("a list");
    let columns: BTreeSet<_> = rows[0]["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .map(|error| error["column"].as_str().expect("a column").to_owned())
        .collect();
    assert_eq!((rows.len(), &rows[0]["row"], &rows[0]["line"]), (2, &json!(2), &json!(3)));
    assert_eq!(columns, BTreeSet::from(["Client.email".to_owned(), "Client.name".to_owned()]));
    assert_eq!(rows[1]["errors"][0]["column"], json!("external_id"), "{rows:#?}");
    let errors = api.get(&format!("/v1/batches/{strict}/errors.csv")).await;
    assert!(errors.text().contains("no address") && errors.text().contains("nora@example.com"), "{}", errors.text());
    assert!(!errors.text().contains("Taro,"), "a good row is among them: {}", errors.text());
    assert!(!errors.text().contains(",=cmd"), "a formula is neutralised: {}", errors.text());
    assert!(errors.text().trim_start_matches('\u{feff}').starts_with("#line,#errors,"), "{}", errors.text());
    let mended = errors.text().replace("no address", "nora@example.com").replace(",b,,", ",b,Nora,");
    let path = format!("/v1/batches/{strict}/rows");
    api.put(&path, "text/csv", mended.clone()).await.refused(409, "rows_partial");
    assert_eq!(api.get(&format!("/v1/batches/{strict}")).await.expect(200)["total"], json!(3), "nothing was lost");
    let other = open(&api, json!({ "name": "Mended", "template": { "id": template } })).await;
    assert_eq!(put(&api, &other, "text/csv", mended).await["total"], json!(2));

    let lax = open(&api, json!({ "name": "Lax", "template": { "id": template }, "on_invalid": "skip" })).await;
    put(&api, &lax, "text/csv", csv).await;
    start(&api, &lax).await;
    told(&api, &lax, "batch.completed").await;
    assert_eq!(envelopes(&api, &lax).await.len(), 1);
}

async fn ndjson_and_rows_in_the_body_do_the_same(server: Server) {
    let api = server.api();
    let template = template(&api).await;
    let id = open(&api, json!({ "name": "Lines", "template": { "id": template } })).await;
    let lines = "{\"Client.name\":\"Taro\",\"Client.email\":\"taro@example.com\"}\n\
                 {\"Client\":{\"name\":\"Nora\",\"email\":\"nora@example.com\"},\"values\":{\"client_company\":\"K\"}}\n";
    assert_eq!(put(&api, &id, "application/x-ndjson", lines).await["valid"], json!(2));
    start(&api, &id).await;
    told(&api, &id, "batch.completed").await;
    assert_eq!(envelopes(&api, &id).await.len(), 2);
    let once = api.with("idempotency-key", "small-case");
    let body = json!({
        "name": "Small",
        "template": { "id": template },
        "rows": [{ "Client.name": "Taro", "Client.email": "taro@example.com" }],
        "start": true
    });
    let first = once.post("/v1/batches", body.clone()).await.expect(201);
    let second = once.post("/v1/batches", body).await.expect(201);
    assert_eq!(first["id"], second["id"]);
    let small = first["id"].as_str().expect("an id");
    told(&api, small, "batch.completed").await;
    assert_eq!(envelopes(&api, small).await.len(), 1);
}

/// A batch of 200 rows so slow that it certainly still runs.
async fn slow(api: &Api, template: &str) -> String {
    let body = json!({ "name": "Slow", "template": { "id": template }, "send_rate_per_minute": 60 });
    let id = open(api, body).await;
    let mut csv = String::from("Client.name,Client.email\n");
    for row in 0..200 {
        csv.push_str(&format!("P{row},p{row}@example.com\n"));
    }
    put(api, &id, "text/csv", csv).await;
    start(api, &id).await;
    id
}

async fn a_batch_pauses_resumes_and_is_cancelled(server: Server) {
    let api = server.api();
    let template = template(&api).await;
    let id = slow(&api, &template).await;
    let act = |verb: &'static str| {
        let (api, path) = (api.clone(), format!("/v1/batches/{id}/{verb}"));
        async move { api.post_empty(&path).await }
    };
    assert_eq!(act("pause").await.expect(200)["status"], json!("paused"));
    let before = envelopes(&api, &id).await.len();
    assert!(before < 200);
    assert_eq!(act("resume").await.expect(200)["status"], json!("running"));
    assert_eq!(act("cancel").await.expect(200)["status"], json!("cancelled"));
    let at_the_end = envelopes(&api, &id).await.len();
    assert!((before..200).contains(&at_the_end), "{before} {at_the_end}");
    for verb in ["resume", "pause", "start"] {
        act(verb).await.refused(409, "batch_ended");
    }
}

async fn a_revoked_key_stops_its_batch_until_another_resumes_it(server: Server) {
    let api = server.api();
    let template = template(&api).await;
    let made = api.post("/v1/keys", json!({ "label": "Batches" })).await.expect(201);
    let runner = server.api_with(made["secret"].as_str().expect("a secret"));
    let id = slow(&runner, &template).await;
    let receipt = api.post_empty(&format!("/v1/keys/{}/revoke", made["id"].as_str().expect("an id"))).await;
    receipt.expect(200);
    let at_the_answer = envelopes(&api, &id).await.len();
    told(&api, &id, "batch.paused").await;
    let batch = api.get(&format!("/v1/batches/{id}")).await.expect(200);
    assert_eq!((&batch["status"], &batch["problem"]["code"]), (&json!("paused"), &json!("key_revoked")), "{batch}");
    assert_eq!(envelopes(&api, &id).await.len(), at_the_answer, "nothing was made after the answer");
    assert_eq!(api.post_empty(&format!("/v1/batches/{id}/resume")).await.expect(200)["status"], json!("running"));
}

async fn what_is_no_table_is_refused_whole(server: Server) {
    let api = server.api();
    let template = template(&api).await;
    let id = open(&api, json!({ "name": "Bad", "template": { "id": template } })).await;
    let path = format!("/v1/batches/{id}/rows");
    let good = "Client.name,Client.email\nTaro,taro@example.com\n";
    put(&api, &id, "text/csv", good).await;
    for (kind, body, words) in [
        ("text/csv", &b"Client.name,Client.email,Client.phone\nA,a@example.com,1\n"[..], "Client.phone"),
        ("text/csv", b"Client.name,Client.email,client.NAME\nA,a@example.com,B\n", "client.NAME"),
        ("text/csv", b"Client.name\nA\n", "Client.email"),
        ("text/csv", b"Client.name,Client.email\nM\xfcller,m@example.com\n", "line 2"),
        ("text/csv", b"", ""),
        ("application/x-ndjson", b"{\"Client.name\": \n", "line 1"),
    ] {
        let answer = api.put(&path, kind, body).await;
        let problem = answer.refused(422, "rows_unreadable");
        let told = problem.to_string().to_lowercase();
        assert!(told.contains(&words.to_lowercase()), "{words}: {problem}");
    }
    api.put(&path, "application/pdf", "x").await.refused(415, "unsupported_media_type");
    let batch = api.get(&format!("/v1/batches/{id}")).await.expect(200);
    assert_eq!((&batch["status"], &batch["total"]), (&json!("ready"), &json!(1)), "what stood before stands: {batch}");
    let western = api
        .put(&path, "text/csv; charset=windows-1252", &b"Client.name,Client.email\nM\xfcller,m@example.com\n"[..])
        .await;
    assert_eq!(western.expect(200)["valid"], json!(1));
}
