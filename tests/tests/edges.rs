//! What stands at the edges: mails that go nowhere, pictures asked for wrongly, a second server with another master key.

use serde_json::{Value, json};
use tests::{Room, Server, both_engines, paper};

both_engines! {
    a_captured_mail_is_there_as_soon_as_its_envelope
    a_picture_is_refused_by_name
    a_server_with_another_master_key_does_not_start
}

async fn a_captured_mail_is_there_as_soon_as_its_envelope(server: Server) {
    let api = server.api();
    let document = api.sample().await;
    let mut body = paper::for_two(&document);
    body["send"] = json!(true);
    let envelope = api.create(body).await;
    let id = envelope["id"].as_str().expect("an id");
    let statuses: Vec<_> =
        envelope["recipients"].as_array().expect("a list").iter().map(|one| &one["status"]).collect();
    assert_eq!(statuses, [&json!("notified"), &json!("waiting")]);
    assert_eq!(envelope["recipients"][0]["delivery"]["state"], json!("accepted"));
    let mails = api.get(&format!("/v1/mail?envelope={id}")).await.expect(200);
    let mails = mails["data"].as_array().expect("a list");
    assert_eq!(mails.len(), 1, "{mails:?}");
    assert_eq!((&mails[0]["state"], &mails[0]["purpose"]), (&json!("captured"), &json!("invite")));
    // Who sent it is the key; that the mail went is the server's own.
    let events = api.events_of(id).await;
    let told: Vec<_> = events.iter().map(|event| (&event["type"], &event["actor"]["type"])).collect();
    let name = |text: &str| Value::String(text.to_owned());
    let expected = [
        (name("envelope.created"), name("key")),
        (name("envelope.sent"), name("key")),
        (name("recipient.notified"), name("system")),
    ];
    assert_eq!(told, expected.iter().map(|(kind, actor)| (kind, actor)).collect::<Vec<_>>());
    assert_eq!(server.sql("SELECT count(*) FROM jobs WHERE kind = 'mail'"), ["0"]);
}

async fn a_picture_is_refused_by_name(server: Server) {
    let api = server.api();
    let document = api.sample().await;
    let envelope = api.create(paper::for_one(&document, "taro@example.com")).await;
    let id = envelope["id"].as_str().expect("an id");
    let room = Room::enter(&server, &api, id, "taro@example.com").await;
    for query in ["w=wide", "w=-1", "v=1", "w=1&w=2"] {
        room.get(&format!("/pages/{document}/1.png?{query}")).await.refused(400, "invalid_query");
    }
    assert_eq!(room.get(&format!("/pages/{document}/1.png?w=200")).await.status, 200);
}

async fn a_server_with_another_master_key_does_not_start(mut server: Server) {
    assert!(server.stop());
    let file = server.data_dir().join("master.key");
    let right = std::fs::read(&file).expect("the key");
    std::fs::write(&file, format!("{}\n", "ab".repeat(32))).expect("written");
    let folder = server.data_dir().display().to_string();
    let mut arguments = vec!["serve", "--data-dir", &folder, "--listen", "127.0.0.1:0"];
    let database = server.database_url().map(str::to_owned);
    arguments.extend(database.iter().flat_map(|url| ["--database", url.as_str()]));
    let refused = server.iusign(&arguments);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("another master key"), "{said}");
    std::fs::write(&file, right).expect("written");
    server.start_again();
    assert_eq!(server.api().get("/v1/me").await.status, 200);
}
