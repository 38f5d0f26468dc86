//! The whole life of an envelope: sent, signed in order, sealed, fetched; and each of the other ends.

use serde_json::{Value, json};
use tests::{Room, Server, both_engines, judge, paper, seconds_after};

both_engines! {
    two_signers_in_order_and_the_sealed_files_hold_what_they_wrote
    a_link_opens_nothing_before_its_turn_and_nothing_after_the_void
    a_recipient_who_declines_ends_the_envelope
    an_envelope_expires_and_its_link_with_it
    what_is_saved_as_one_goes_is_there_again
    a_kill_between_the_signature_and_the_seal_loses_nothing
    what_is_forbidden_in_a_value_is_refused_at_its_field
}

async fn two_signers_in_order_and_the_sealed_files_hold_what_they_wrote(server: Server) {
    let api = server.api();
    let document = api.sample().await;
    let envelope = api.create(paper::for_two(&document)).await;
    let id = envelope["id"].as_str().expect("an id");
    assert_eq!(envelope["status"], json!("sent"));

    let client = Room::enter(&server, &api, id, "taro@example.com").await;
    let statuses = |envelope: &Value| {
        let recipients = envelope["recipients"].as_array().expect("a list");
        recipients
            .iter()
            .map(|recipient| recipient["status"].as_str().expect("a status").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(statuses(&api.envelope(id).await), ["viewed", "waiting"]);
    client.sign("Taro Yamada", &[("client_name", "Taro Yamada"), ("client_company", "Kestrel & Söhne GmbH")]).await;
    let provider = Room::enter(&server, &api, id, "nora@example.com").await;
    provider.sign("Nora Wind", &[("provider_title", "Managing director")]).await;

    api.wait_for(id, "envelope.completed").await;
    let completed = api.envelope(id).await;
    assert_eq!(completed["status"], json!("completed"));
    assert_eq!(statuses(&completed), ["completed", "completed"]);
    assert_eq!(completed["values"]["client_company"], json!("Kestrel & Söhne GmbH"));
    let kinds: Vec<_> =
        api.events_of(id).await.iter().map(|event| event["type"].as_str().expect("a type").to_owned()).collect();
    let expected = [
        "envelope.created",
        "envelope.sent",
        "recipient.notified",
        "recipient.viewed",
        "recipient.consented",
        "recipient.completed",
        "recipient.notified",
        "recipient.viewed",
        "recipient.consented",
        "recipient.completed",
        "envelope.signed",
        "envelope.completed",
    ];
    assert_eq!(kinds, expected);

    let trust = server.data_dir().join("seal/cert.pem");
    let assets = api.get(&format!("/v1/envelopes/{id}/assets")).await.expect(200);
    for kind in ["document", "combined", "certificate"] {
        let file = api.get(&format!("/v1/envelopes/{id}/assets/{kind}")).await;
        assert_eq!((file.status, file.header("content-type")), (200, "application/pdf"), "{kind}");
        judge::seal_is_valid(&file.body, &trust);
        judge::qpdf_is_content(&file.body);
        let text = judge::text_of(&file.body);
        let words: &[&str] = match kind {
            "certificate" => &["Taro Yamada", "Nora Wind", "taro@example.com"],
            _ => &["Kestrel & Söhne GmbH", "Managing director", "Taro Yamada", "TEST"],
        };
        for word in words {
            assert!(text.contains(word), "{kind} lacks {word}: {text}");
        }
        let listed = assets["data"].as_array().expect("a list").iter().find(|asset| asset["kind"] == json!(kind));
        assert_eq!(listed.expect("listed")["size"], json!(file.body.len()), "{kind}");
    }
    let whole = api.get(&format!("/v1/envelopes/{id}/assets/document")).await.body;
    assert_eq!(judge::pages_of(&whole), 4);
    let mut tampered = whole.to_vec();
    let at = tampered.len() / 3;
    tampered[at] ^= 1;
    judge::seal_is_broken(&tampered, &trust);
    api.post_empty(&format!("/v1/envelopes/{id}/void")).await.refused(409, "already_completed");
    let audit = api.get(&format!("/v1/envelopes/{id}/assets/audit")).await;
    assert!(audit.status == 200 && audit.text().contains("recipient.completed"), "{}", audit.text());

    let file = tempfile_of(&whole);
    let verified = server.iusign(&["verify", "--json", "--trust", &trust.display().to_string(), &file.1]);
    assert!(verified.status.success(), "{verified:?}");
    let file = tempfile_of(&tampered);
    let verified = server.iusign(&["verify", "--json", "--trust", &trust.display().to_string(), &file.1]);
    assert!(!verified.status.success(), "{verified:?}");
}

fn tempfile_of(bytes: &[u8]) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file.pdf");
    std::fs::write(&path, bytes).expect("written");
    (folder, path.display().to_string())
}

async fn a_link_opens_nothing_before_its_turn_and_nothing_after_the_void(server: Server) {
    let api = server.api();
    let envelope = api.create(paper::for_two(&api.sample().await)).await;
    let id = envelope["id"].as_str().expect("an id");
    let room = Room::enter(&server, &api, id, "taro@example.com").await;
    let mails = api.get(&format!("/v1/mail?envelope={id}")).await.expect(200);
    assert_eq!(mails["data"].as_array().map(Vec::len), Some(1), "the second is not asked yet: {mails}");

    let voided = api.post(&format!("/v1/envelopes/{id}/void"), json!({ "reason": "A wrong price" })).await.expect(200);
    assert_eq!(voided["status"], json!("voided"));
    for to in ["", "/document", "/done", "/decline"] {
        let page = room.get(to).await;
        assert_eq!(page.status, 410, "{to}: {}", page.text());
    }
    let late = room.finish("Taro Yamada", &[("client_name", "Taro"), ("client_company", "Kestrel")]).await;
    assert!(late.status == 410 || late.status == 303, "{}", late.text());
    assert_eq!(room.get("/done").await.status, 410);
    let after = api.envelope(id).await;
    assert_eq!((&after["status"], &after["recipients"][0]["status"]), (&json!("voided"), &json!("voided")));
    api.post_empty(&format!("/v1/envelopes/{id}/send")).await.refused(409, "not_draft");
    let again = api.post(&format!("/v1/envelopes/{id}/void"), json!({ "reason": "Again" })).await;
    assert_eq!(again.expect(200)["status"], json!("voided"), "a void may be repeated");
    assert!(api.events_of(id).await.iter().filter(|event| event["type"] == json!("envelope.voided")).count() == 1);

    // What is no link gets the page of an unknown one, whatever is asked.
    let strange = Room::new(&server, "/sign/00000000000000000000000000-0000000000000000000000000000000000000000000");
    assert_eq!(strange.get("").await.status, 404);
}

async fn a_recipient_who_declines_ends_the_envelope(server: Server) {
    let api = server.api();
    let envelope = api.create(paper::for_two(&api.sample().await)).await;
    let id = envelope["id"].as_str().expect("an id");
    let room = Room::enter(&server, &api, id, "taro@example.com").await;
    assert_eq!(room.get("/decline").await.status, 200);
    assert_eq!(room.post("/decline", &[("reason", "The term is too long")]).await.status, 303);
    assert_eq!(room.get("").await.status, 410);
    api.wait_for(id, "envelope.declined").await;
    let declined = api.wait_for(id, "recipient.declined").await;
    assert!(declined.to_string().contains("The term is too long"), "{declined}");
    let envelope = api.envelope(id).await;
    assert_eq!(
        (&envelope["status"], &envelope["recipients"][0]["status"], &envelope["recipients"][0]["decline_reason"]),
        (&json!("declined"), &json!("declined"), &json!("The term is too long"))
    );
    api.post_empty(&format!("/v1/envelopes/{id}/void")).await.refused(409, "already_declined");
    let assets = api.get(&format!("/v1/envelopes/{id}/assets")).await.expect(200);
    assert_eq!(assets["data"], json!([]));
}

async fn what_is_saved_as_one_goes_is_there_again(server: Server) {
    let api = server.api();
    let envelope = api.create(paper::for_one(&api.sample().await, "taro@example.com")).await;
    let id = envelope["id"].as_str().expect("an id");
    let room = Room::enter(&server, &api, id, "taro@example.com").await;
    let saved = room.save(json!({ "version": 0, "values": { "client_company": "Kestrel" } })).await.expect(200);
    assert_eq!(saved, json!({ "version": 1 }));
    room.save(json!({ "version": 0, "values": { "client_company": "Lost" } })).await.refused(409, "values_outdated");
    let elsewhere = room.save_from("https://evil.example", json!({ "version": 1, "values": {} })).await;
    elsewhere.refused(403, "foreign_origin");
    assert!(room.get("/document").await.text().contains("value=\"Kestrel\""));
    room.sign("Taro Yamada", &[("client_name", "Taro"), ("client_company", "Kestrel")]).await;
    // A second tab that finishes too sees success, and nothing happens twice.
    let twice = room.finish("Someone Else", &[("client_name", "X"), ("client_company", "Y")]).await;
    assert_eq!(twice.status, 303, "{}", twice.text());
    api.wait_for(id, "envelope.completed").await;
    assert_eq!(api.envelope(id).await["values"]["client_company"], json!("Kestrel"));
}

async fn a_kill_between_the_signature_and_the_seal_loses_nothing(mut server: Server) {
    let api = server.api();
    let envelope = api.create(paper::for_one(&api.sample().await, "taro@example.com")).await;
    let id = envelope["id"].as_str().expect("an id").to_owned();
    let room = Room::enter(&server, &api, &id, "taro@example.com").await;
    let answer = room.finish("Taro Yamada", &[("client_name", "Taro"), ("client_company", "Kestrel")]).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    server.kill();
    server.start_again();
    let api = server.api();
    api.wait_for(&id, "envelope.completed").await;
    let events = api.events_of(&id).await;
    for kind in ["recipient.completed", "envelope.signed", "envelope.completed"] {
        assert_eq!(events.iter().filter(|event| event["type"] == json!(kind)).count(), 1, "{kind}: {events:#?}");
    }
    let file = api.get(&format!("/v1/envelopes/{id}/assets/document")).await;
    judge::seal_is_valid(&file.body, &server.data_dir().join("seal/cert.pem"));
}

async fn what_is_forbidden_in_a_value_is_refused_at_its_field(server: Server) {
    let api = server.api();
    let mut body = paper::for_one(&api.sample().await, "taro@example.com");
    body["fields"][2]["validation"] = json!({ "max_length": 10 });
    let envelope = api.create(body).await;
    let id = envelope["id"].as_str().expect("an id");
    let room = Room::enter(&server, &api, id, "taro@example.com").await;
    let long = room.finish("Taro Yamada", &[("client_name", "Taro"), ("client_company", "Eleven char")]).await;
    assert_eq!(long.status, 422, "{}", long.text());
    let empty = room.finish("Taro Yamada", &[("client_name", "Taro"), ("client_company", " ")]).await;
    assert_eq!(empty.status, 422, "{}", empty.text());
    let unsigned = room.finish(" ", &[("client_name", "Taro"), ("client_company", "Kestrel")]).await;
    assert_eq!(unsigned.status, 422, "{}", unsigned.text());
    assert_eq!(api.envelope(id).await["status"], json!("sent"));
    room.sign("Taro Yamada", &[("client_name", "Taro"), ("client_company", "Kestrel 10")]).await;
}

async fn an_envelope_expires_and_its_link_with_it(server: Server) {
    let api = server.api();
    let document = api.sample().await;
    let made = api.post("/v1/keys", json!({ "label": "Tells the time" })).await.expect(201);
    let mut body = paper::for_one(&document, "taro@example.com");
    body["expires_at"] = json!(seconds_after(made["created_at"].as_str().expect("a time"), 4));
    let envelope = api.create(body).await;
    let id = envelope["id"].as_str().expect("an id");
    let room = Room::enter(&server, &api, id, "taro@example.com").await;
    api.wait_for(id, "envelope.expired").await;
    let expired = api.envelope(id).await;
    assert_eq!(
        (&expired["status"], &expired["recipients"][0]["status"]),
        (&json!("expired"), &json!("expired")),
        "{expired:#}"
    );
    assert_eq!(room.get("/document").await.status, 410);
    api.post_empty(&format!("/v1/envelopes/{id}/void")).await.refused(409, "already_expired");
}
