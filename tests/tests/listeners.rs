//! Further ways in: the PROXY protocol, a Unix socket and a port behind a proxy that ends TLS, a port that redirects; and a
//! certificate that is exchanged under a connection. All of it comes before any database is asked: one engine tells it.

use std::{
    io::{Read, Write},
    path::Path,
    process::Command,
};

use serde_json::{Value, json};
use tests::{Api, Engine, Server, wire};

const ME: &str = "GET /v1/me HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";

/// The address of the server's further way in of this kind.
fn listener(server: &Server, kind: &str) -> String {
    let listeners = server.ready["listeners"].as_array().expect("further ways in");
    let named = listeners.iter().filter_map(Value::as_str).find_map(|text| text.strip_prefix(kind));
    named.unwrap_or_else(|| panic!("no {kind}: {listeners:?}")).to_owned()
}

/// The body of an answer, where it is JSON.
fn body(answer: &str) -> Value {
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).unwrap_or(Value::Null)
}

fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, rest].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_proxy_says_by_the_proxy_protocol_where_a_connection_comes_from_and_others_can_not() {
    let settings =
        ["--listener", "tls+proxy://127.0.0.1:0", "--trusted-proxy", "127.0.0.1", "--proxy-header", "x-forwarded-for"];
    let server = Server::start_with(Engine::Sqlite, &settings).await;
    let proxied = listener(&server, "tls+proxy://");
    let direct = server.url.strip_prefix("https://").expect("https").to_owned();
    let request = |more: &str| format!("{ME}Authorization: Bearer {}\r\n{more}\r\n", server.key);
    let ask = |address: &str, before: &[u8], from: &str, more: &str| {
        wire::exchange_at(&server, address, (before, from), &request(more))
    };
    let v4 = version_2(0x21, 0x11, &[203, 0, 113, 7, 127, 0, 0, 1, 1, 2, 3, 4]);
    let local = version_2(0x20, 0, &[]);
    let line = b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 443\r\n".as_slice();
    let believed = "X-Forwarded-For: 198.51.100.9\r\n";
    for (before, from, more, want) in [
        (line, "127.0.0.1", "", "203.0.113.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 4711 443\r\n", "127.0.0.1", "", "2001:db8::7"),
        (v4.as_slice(), "127.0.0.1", "", "203.0.113.7"),
        // A client behind the proxy is no proxy, and nor is one whose address nobody knows.
        (line, "127.0.0.1", believed, "203.0.113.7"),
        (local.as_slice(), "127.0.0.1", believed, "127.0.0.1"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1", believed, "127.0.0.1"),
        // A proxy behind the proxy is one.
        (b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n", "127.0.0.1", believed, "198.51.100.9"),
        // Who is not trusted comes as it is.
        (b"", "127.0.0.9", believed, "127.0.0.9"),
    ] {
        let answer = ask(&proxied, before, from, more);
        assert_eq!(body(&answer)["address"], json!(want), "{before:?} from {from}: {answer}");
    }
    for (address, before, from) in [
        (&proxied, b"".as_slice(), "127.0.0.1"),
        (&proxied, b"PROXY TCP4 203.0.113.7 127.0.0.1 4711\r\n", "127.0.0.1"),
        (&proxied, b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 443 \r\n", "127.0.0.1"),
        (&proxied, line, "127.0.0.9"),
        (&proxied, &v4, "127.0.0.9"),
        (&direct, line, "127.0.0.1"),
        (&direct, &v4, "127.0.0.1"),
    ] {
        let answer = ask(address, before, from, "");
        assert!(answer.starts_with("refused"), "{before:?} from {from} at {address}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_proxy_that_ends_tls_a_key_is_taken_only_where_it_says_https() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = format!("unix:{}", folder.path().join("http.sock").display());
    let settings = [
        "--listener",
        "http://127.0.0.1:0",
        "--listener",
        &socket,
        "--trusted-proxy",
        "127.0.0.1",
        "--proxy-header",
        "x-forwarded-for",
    ];
    let mut server = Server::start_with(Engine::Sqlite, &settings).await;
    let bearer = format!("Bearer {}", server.key);
    let path = listener(&server, "unix:");
    let port = format!("http://{}", listener(&server, "http://"));
    let by_socket = Api::new(server.client(|builder| builder.unix_socket(Path::new(&path))), "http://localhost", None);
    let by_port = Api::new(server.client(|builder| builder), &port, None);
    for api in [&by_socket, &by_port] {
        let with = api.with("authorization", &bearer).with("x-forwarded-for", "203.0.113.7");
        let me = with.with("x-forwarded-proto", "https").get("/v1/me").await.expect(200);
        assert_eq!(me["address"], json!("203.0.113.7"));
        with.get("/v1/me").await.refused(401, "insecure_transport");
        with.with("x-forwarded-proto", "http").get("/v1/me").await.refused(401, "insecure_transport");
        with.with("x-forwarded-proto", "https, http").get("/v1/me").await.refused(401, "insecure_transport");
        with.with("forwarded", "proto=https").get("/v1/me").await.refused(401, "insecure_transport");
        let page = api.with("x-forwarded-for", "203.0.113.7");
        page.get("/problems").await.refused(401, "insecure_transport");
        assert_eq!(page.with("x-forwarded-proto", "https").get("/problems").await.status, 200);
        assert_eq!(page.get("/healthz").await.status, 200, "a proxy's own probe");
    }
    for api in [&by_socket, &by_port] {
        let nowhere = api.with("authorization", &bearer).with("x-forwarded-proto", "https");
        nowhere.get("/v1/me").await.refused(403, "ip_not_allowed");
    }
    let stranger =
        Api::new(server.client(|builder| builder.local_address(std::net::IpAddr::from([127, 0, 0, 9]))), &port, None);
    let stranger = stranger.with("authorization", &bearer).with("x-forwarded-proto", "https");
    stranger.get("/v1/me").await.refused(401, "insecure_transport");
    // A proxy that speaks TLS with us tells how the client spoke with it.
    let again = server.api().with("x-forwarded-for", "203.0.113.7");
    again.with("x-forwarded-proto", "https").get("/v1/me").await.expect(200);
    again.with("x-forwarded-proto", "http").get("/v1/me").await.refused(401, "insecure_transport");
    again.get("/v1/me").await.expect(200);
    assert!(server.stop());
    assert!(!Path::new(&path).exists(), "the socket is removed at the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_port_redirects_pages_refuses_the_api_and_tells_of_the_key_that_came_there() {
    let settings = ["--listener", "redirect://127.0.0.1:0", "--public-url", "https://sign.example.com"];
    let server = Server::start_with(Engine::Sqlite, &settings).await;
    let at = listener(&server, "redirect://");
    let ask = |request: &str| {
        let mut stream = std::net::TcpStream::connect(&at).expect("connects");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    let page = ask("GET /sign/abc?x=1 HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert!(page.starts_with("HTTP/1.1 308 "), "{page}");
    assert!(page.contains("\r\nlocation: https://sign.example.com/sign/abc?x=1\r\n"), "{page}");
    for request in ["GET /v1/me HTTP/1.1\r\nHost: a\r\n\r\n", "POST /sign/abc HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let answer = ask(request);
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        assert_eq!(body(&answer)["code"], json!("insecure_transport"), "{answer}");
    }
    let answer = ask(&format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n", server.key));
    assert!(answer.starts_with("HTTP/1.1 401 ") && !answer.contains(&server.key), "{answer}");
    let noted = || server.sql("SELECT how FROM key_exposures");
    let mut turns = 0;
    while noted().is_empty() {
        turns += 1;
        assert!(turns < 500, "that the key came in clear is not on record");
    }
    assert_eq!(noted(), ["plain_http"]);
}

/// One connection that stays open while the files change: what it and new ones are shown.
const EXCHANGED: &str = r#"
import hashlib, shutil, socket, ssl, sys
host, port, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
def connect():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(socket.create_connection((host, port), timeout=60))
def shown():
    with connect() as tls:
        return hashlib.sha256(tls.getpeercert(True)).hexdigest()
def ask(tls):
    tls.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return tls.recv(65536).split(b"\r\n")[0].decode()
held = connect()
first = shown()
print(ask(held))
shutil.copy(folder + "/second.key", folder + "/key.pem")
shutil.copy(folder + "/second.pem", folder + "/cert.pem")
while shown() == first:
    pass
print(ask(held))
second = shown()
open(folder + "/cert.pem", "w").write("no certificate")
print(ask(held))
print(shown() == second)
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_exchanged_under_a_connection_and_a_bad_one_keeps_the_old() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    for (cert, key) in [("cert.pem", "key.pem"), ("second.pem", "second.key")] {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=localhost", "-keyout", &path(key), "-out", &path(cert)])
            .output()
            .expect("openssl runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    let settings = ["--tls-cert", &path("cert.pem"), "--tls-key", &path("key.pem")];
    let server = Server::start_with(Engine::Sqlite, &settings).await;
    let address = server.url.strip_prefix("https://").expect("https");
    let (host, port) = address.rsplit_once(':').expect("a port");
    let folder = folder.path().display().to_string();
    let output = Command::new("python3").args(["-c", EXCHANGED, host, port, &folder]).output().expect("Python runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.lines().collect::<Vec<_>>(), ["HTTP/1.1 200 OK", "HTTP/1.1 200 OK", "HTTP/1.1 200 OK", "True"]);
    let mut turns = 0;
    while !server.log().contains("the new TLS certificate is not used; the old one stays") {
        // Something to do until the files are looked at again.
        server.admin(&["tenants", "list"]);
        turns += 1;
        assert!(turns < 2_000, "a bad certificate is not told: {}", server.log());
    }
}
