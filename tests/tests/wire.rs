//! TLS and what a client may send by hand.

use tests::{Server, both_engines, wire};

both_engines! {
    tls_1_2_is_refused_and_1_3_is_spoken
    a_body_that_stops_coming_is_given_up
    plain_http_gets_no_answer_from_the_api
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
    assert!(answer.contains(" 408 ") && answer.contains("request_timeout"), "{answer}");
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
