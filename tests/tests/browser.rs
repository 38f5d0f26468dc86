//! The signing room in Chromium: phone and desk, typed and drawn, keyboard alone, without scripts; axe finds nothing.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use serde_json::{Map, Value, json};
use tests::{Room, Server, both_engines, judge, paper, server::root};

both_engines! {
    people_sign_in_a_browser
    people_answer_invitations_in_a_browser
}

async fn people_answer_invitations_in_a_browser(server: Server) {
    let (_, key) = server.key_of(&server.tenant, "production", None).await;
    let api = server.api_with(&key);
    let mut links = Map::new();
    for name in ["phone", "dark", "keyboard", "plain"] {
        let body = json!({ "email": format!("{name}@example.com"), "name": "Ada", "role": "admin" });
        api.post("/v1/users", body).await.expect(201);
        let mails = server.operator("/notices/list", json!({})).await;
        let text = mails["notices"][0]["text"].as_str().expect("a text").to_owned();
        let at = text.find("/invite/").unwrap_or_else(|| panic!("no link: {text}"));
        links.insert(name.to_owned(), text[at..].split_whitespace().next().expect("a link").into());
    }
    let (url, screenshots) = (server.url.clone(), root().join(format!("target/screenshots/{:?}", server.engine)));
    let input = json!({ "url": url, "screenshots": screenshots, "links": links });
    tokio::task::spawn_blocking(move || node("invite.mjs", &input)).await.expect("the script ends");
    let users = api.get("/v1/users?limit=100").await.expect(200);
    let active =
        users["data"].as_array().expect("a list").iter().filter(|user| user["status"] == json!("active")).count();
    assert_eq!(active, 4, "the owner, and three who have joined: {users}");
}

async fn people_sign_in_a_browser(server: Server) {
    let api = server.api();
    let document = api.sample().await;
    let mut links = Map::new();
    let mut signed = Vec::new();
    for name in ["phone", "desk", "keyboard", "plain", "decline", "voided", "signed"] {
        let id =
            api.create(paper::for_one(&document, "taro@example.com")).await["id"].as_str().expect("an id").to_owned();
        links.insert(name.to_owned(), api.link(&id, "taro@example.com").await.into());
        match name {
            "voided" => drop(api.post_empty(&format!("/v1/envelopes/{id}/void")).await.expect(200)),
            "signed" => {
                let room = Room::enter(&server, &api, &id, "taro@example.com").await;
                room.sign("Taro", &[("client_name", "Taro"), ("client_company", "Kestrel")]).await;
            }
            "decline" => {}
            _ => signed.push(id),
        }
    }
    let (url, screenshots) = (server.url.clone(), root().join(format!("target/screenshots/{:?}", server.engine)));
    let input = json!({ "url": url, "screenshots": screenshots, "links": links });
    tokio::task::spawn_blocking(move || node("sign.mjs", &input)).await.expect("the script ends");

    for id in &signed {
        api.wait_for(id, "envelope.completed").await;
        let file = api.get(&format!("/v1/envelopes/{id}/assets/document")).await;
        judge::seal_is_valid(&file.body, &server.data_dir().join("seal/cert.pem"));
        let text = judge::text_of(&file.body);
        assert!(text.contains("Kestrel & Söhne GmbH") && text.contains("Taro Yamada"), "{text}");
        std::fs::write(root().join(format!("target/screenshots/{id}.pdf")), &file.body).expect("kept, to be looked at");
    }
}

fn node(script: &str, input: &Value) {
    let chromium = std::env::var_os("IUSIGN_TEST_CHROMIUM").unwrap_or_else(|| "chromium".into());
    let mut child = Command::new("node")
        .arg(root().join("tests/browser").join(script))
        .env("IUSIGN_TEST_TOOLS", judge::tools())
        .env("IUSIGN_TEST_CHROMIUM", chromium)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("node starts: `./test --setup` installs it");
    child.stdin.take().expect("piped").write_all(input.to_string().as_bytes()).expect("sent");
    let output = child.wait_with_output().expect("it ends");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    print!("{out}");
}
