//! TLS and what a client may send by hand.

use serde_json::json;
use tests::{Room, Server, both_engines, paper, wire};

both_engines! {
    tls_1_2_is_refused_and_1_3_is_spoken
    a_body_that_stops_coming_is_given_up
    plain_http_gets_no_answer_from_the_api
    neither_secret_nor_signing_token_lies_where_it_does_not_belong
}

const ME: &str = "GET /v1/me HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";

async fn tls_1_2_is_refused_and_1_3_is_spoken(server: Server) {
    let new = wire::exchange(&server, "TLSv1_3", ME);
    assert!(new.starts_with("TLSv1.3\nHTTP/1.1 401 "), "{new}");
    let old = wire::exchange(&server, "TLSv1_2", ME);
    assert!(old.starts_with("refused") && old.to_uppercase().contains("PROTOCOL_VERSION"), "{old}");
}

async fn a_body_that_stops_coming_is_given_up(server: Server) {
    if std::env::var_os("IUSIGN_TEST_LONG").is_none() {
        println!("skipped: it takes the half minute that a client has (./test --long)");
        return;
    }
    let request = format!(
        "POST /v1/keys HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{{",
        server.key
    );
    let answer = wire::exchange(&server, "TLSv1_3", &request);
    assert!(answer.contains(" 408 ") && answer.contains("\"request_timeout\""), "{answer}");
}

async fn plain_http_gets_no_answer_from_the_api(server: Server) {
    use std::io::{Read, Write};
    let mut plain =
        std::net::TcpStream::connect(server.url.strip_prefix("https://").expect("https")).expect("connects");
    let request = format!("GET /v1/me HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\n\r\n", server.key);
    plain.write_all(request.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    // It may be cut off without a word.
    let _ = plain.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(!answer.contains(" 200 ") && !answer.contains(&server.tenant), "{answer}");
}

async fn neither_secret_nor_signing_token_lies_where_it_does_not_belong(_: Server) {
    // The most talkative log there is.
    for engine in [tests::Engine::Sqlite, tests::Engine::Postgres] {
        if engine == tests::Engine::Postgres && !tests::Engine::postgres_is_there() {
            continue;
        }
        let mut server = Server::start_with(engine, &["--log-level", "trace"]).await;
        let api = server.api();
        let envelope = api.create(paper::for_one(&api.sample().await, "taro@example.com")).await;
        let id = envelope["id"].as_str().expect("an id").to_owned();
        let room = Room::enter(&server, &api, &id, "taro@example.com").await;
        let token = room.path.rsplit_once('-').expect("a token").1.to_owned();
        room.sign("Taro", &[("client_name", "Taro"), ("client_company", "Kestrel")]).await;
        api.wait_for(&id, "envelope.completed").await;
        let made = api.post("/v1/keys", json!({ "label": "Canary" })).await.expect(201);
        let secret = made["secret"].as_str().expect("a secret").to_owned();
        let canary = server.api_with(&secret);
        assert_eq!(canary.get("/v1/me").await.status, 200);
        canary.post("/v1/envelopes", json!({ "title": secret })).await.refused(422, "invalid_body");
        canary.get(&format!("/v1/me?key={secret}")).await.refused(401, "credentials_in_url");
        api.post_empty(&format!("/v1/keys/{}/revoke", made["id"].as_str().expect("an id"))).await.expect(200);
        canary.get("/v1/me").await.refused(401, "revoked_key");
        let events = api.get("/v1/events?limit=500").await.text();
        assert!(!events.contains(&token) && !events.contains("/sign/"), "an event shows the link");
        assert!(server.stop());
        let (middle, quickstart) = (&secret[36..79], &server.key[36..79]);
        for (name, bytes) in server.everything_written() {
            for (what, text) in
                [("a secret", middle), ("the first secret", quickstart), ("a signing token", token.as_str())]
            {
                let found = bytes.windows(text.len()).any(|part| part == text.as_bytes());
                assert!(!found, "{name} holds {what}");
            }
        }
    }
}
