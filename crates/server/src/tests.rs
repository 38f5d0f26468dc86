//! The server's frame over real TLS: what is refused how, what every answer says, and how it stops.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use store::sql;

use crate::testing::{GO_ON, House, WAITING, client};

/// The problem without its request id, which is checked.
async fn problem(response: reqwest::Response) -> Value {
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let id = response.headers()["request-id"].to_str().expect("text").to_owned();
    let mut body: Value = response.json().await.expect("JSON");
    let told = body.as_object_mut().and_then(|body| body.remove("request_id"));
    assert_eq!(told, Some(json!(id)));
    assert!(id.starts_with("req_") && id.len() == 30, "{id}");
    body
}

async fn code(response: reqwest::Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body = problem(response).await;
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_problem_is_told_whole() {
    let house = House::new().await;
    let response =
        house.client.get(house.url("/test/wait")).header("request-id", "mine").send().await.expect("answers");
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"IUSign\"");
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert_eq!(response.headers()["referrer-policy"], "no-referrer");
    assert!(response.headers()["strict-transport-security"].to_str().is_ok_and(|text| text.starts_with("max-age=")));
    let policy = response.headers()["content-security-policy"].to_str().expect("text").to_owned();
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(
        problem(response).await,
        json!({
            "type": "https://sign.example.com/problems/missing_credentials",
            "title": "No key was sent",
            "status": 401,
            "detail": "The request has no Authorization header.",
            "code": "missing_credentials",
            "resolution": "Send the header `Authorization: Bearer <key>` with a secret key from `iusign keys create`."
        })
    );
}

#[tokio::test]
async fn a_scope_that_is_missing_is_named() {
    let house = House::new().await;
    let response = house.get("/test/keys").send().await.expect("answers");
    assert_eq!(
        response.headers()["www-authenticate"],
        "Bearer realm=\"IUSign\", error=\"insufficient_scope\", scope=\"keys:write\""
    );
    assert_eq!(code(response).await, (403, "scope_required".to_owned()));
}

#[tokio::test]
async fn routes_and_methods_that_are_not_there() {
    let house = House::new().await;
    let response = house.client.get(house.url("/v2/nothing")).send().await.expect("answers");
    assert_eq!(code(response).await, (404, "route_not_found".to_owned()));
    let response = house.client.delete(house.url("/test/wait")).send().await.expect("answers");
    assert_eq!(response.headers()["allow"], "GET,HEAD");
    assert_eq!(code(response).await, (405, "method_not_allowed".to_owned()));
    let response = house.client.get(house.url("/test/pass")).send().await.expect("answers");
    assert_eq!(code(response).await, (500, "internal".to_owned()), "a public route has no pass");
}

#[tokio::test]
async fn a_body_is_refused_at_its_place() {
    let house = House::new().await;
    let response = house.post("/test/echo", r#"{"title":"a","recipients":[{"email":"b","mail":1}]}"#);
    let response = response.send().await.expect("answers");
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let body = problem(response).await;
    assert_eq!(
        body["errors"],
        json!([{ "pointer": "/recipients/0/mail", "code": "unknown_field", "detail": "Unknown field `mail`, expected `email`." }])
    );
    let response = house.post("/test/echo", "{").send().await.expect("answers");
    assert_eq!(code(response).await, (400, "invalid_json".to_owned()));
    let text = house.client.post(house.url("/test/echo")).bearer_auth(house.key.expose()).body("{}");
    let response = text.header("content-type", "text/plain").send().await.expect("answers");
    assert_eq!(code(response).await, (415, "unsupported_media_type".to_owned()));
    let response = house.post("/test/echo", r#"{"title":"a"}"#).send().await.expect("answers");
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers()["location"], "/test/things/1");
    assert!(response.headers().contains_key("ratelimit"));
    assert_eq!(response.json::<Value>().await.expect("JSON"), json!({ "title": "a", "recipients": [] }));
}

#[tokio::test]
async fn a_body_that_is_too_large_gets_its_answer_while_it_is_still_sent() {
    let house = House::new().await;
    let large = "x".repeat(12 * 1024 * 1024);
    for path in ["/test/echo", "/v2/nothing", "/test/panic"] {
        let response = house.post(path, large.clone()).send().await.expect("answers");
        let (status, code) = code(response).await;
        let wanted = match path {
            "/test/echo" => (413, "body_too_large"),
            "/v2/nothing" => (404, "route_not_found"),
            _ => (405, "method_not_allowed"),
        };
        assert_eq!((status, code.as_str()), wanted);
    }
    // Without a length, in chunks.
    let chunks = futures::stream::iter((0..4_096).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1_024])));
    let response = house.post("/test/echo", "").body(reqwest::Body::wrap_stream(chunks)).send().await.expect("answers");
    assert_eq!(code(response).await, (413, "body_too_large".to_owned()));
}

#[tokio::test]
async fn a_body_that_ends_early_is_told_so() {
    let house = House::new().await;
    let mut stream = connect(&house, "http/1.1").await;
    let head = format!(
        "POST /test/echo HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n2\r\n{{ \r\nno length\r\n",
        house.key.expose()
    );
    stream.write_all(head.as_bytes()).await.expect("writes");
    let mut answer = String::new();
    // The connection is broken after the answer, with or without a farewell.
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("\"code\":\"body_incomplete\""), "{answer}");
}

#[tokio::test]
async fn a_path_that_is_no_text_is_not_found_and_one_without_end_is_refused() {
    let house = House::new().await;
    for path in ["/problems/%ff", "/assets/%ff", "/problems/nothing", "/assets/sample/contract.pdf"] {
        assert_eq!(code(house.get(path).send().await.expect("answers")).await, (404, "not_found".to_owned()), "{path}");
    }
    let long = format!("/v1/me?{}", "x".repeat(9_000));
    assert_eq!(code(house.get(&long).send().await.expect("answers")).await, (431, "headers_too_large".to_owned()));
}

#[tokio::test]
async fn a_request_names_one_host() {
    let house = House::new().await;
    for (hosts, wanted) in [
        ("host: x\r\n", None),
        ("host: x\r\nhost: x\r\n", Some("host_invalid")),
        ("host: x\r\nHost: y\r\n", Some("host_invalid")),
        ("", Some("host_invalid")),
    ] {
        let mut stream = connect(&house, "http/1.1").await;
        let head = format!("GET /healthz HTTP/1.1\r\n{hosts}connection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("writes");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("reads");
        let told = wanted.map_or("\"status\":\"ok\"".to_owned(), |code| format!("\"code\":\"{code}\""));
        assert!(answer.contains(&told), "{hosts:?}: {answer}");
    }
}

#[tokio::test]
async fn a_query_is_refused_by_name() {
    let house = House::new().await;
    for (query, detail) in [
        ("limit=0", "`limit` is 1 to 100, not 0."),
        ("limit=many", "The query can't be read: limit: invalid digit found in string."),
        ("limits=1", "The query can't be read: limits: unknown field `limits`, expected `limit`."),
    ] {
        let response = house.get(&format!("/test/list?{query}")).send().await.expect("answers");
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(problem(response).await["detail"], detail);
    }
    let response = house.get("/test/list?limit=7").send().await.expect("answers");
    assert_eq!(response.text().await.expect("text"), "7");
}

#[tokio::test]
async fn a_panic_is_a_fault_with_a_request_id_and_the_server_goes_on() {
    let house = House::new().await;
    let response = house.client.get(house.url("/test/panic")).send().await.expect("answers");
    assert_eq!(code(response).await, (500, "internal".to_owned()));
    let response = house.client.get(house.url("/healthz")).send().await.expect("answers");
    assert_eq!(response.json::<Value>().await.expect("JSON")["status"], "ok");
    let response = house.client.get(house.url("/readyz")).send().await.expect("answers");
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_post_takes_effect_once() {
    let house = House::new().await;
    let send = |key: &str, body: &str| house.post("/test/count", body).header("idempotency-key", key).send();
    let first = send("a", r#""x""#).await.expect("answers");
    assert_eq!(first.status(), StatusCode::CREATED);
    assert!(!first.headers().contains_key("idempotency-replayed"));
    let first = first.text().await.expect("text");
    let again = send("a", r#""x""#).await.expect("answers");
    assert_eq!((again.status(), &again.headers()["idempotency-replayed"] == "true"), (StatusCode::CREATED, true));
    assert_eq!(again.text().await.expect("text"), first);
    assert_eq!(code(send("a", r#""y""#).await.expect("answers")).await, (422, "idempotency_mismatch".to_owned()));
    assert_ne!(send("b", r#""x""#).await.expect("answers").text().await.expect("text"), first);
    // What took no effect is not kept.
    assert_eq!(code(send("c", r#""refuse""#).await.expect("answers")).await, (409, "conflict".to_owned()));
    assert_eq!(code(send("c", r#""fail""#).await.expect("answers")).await, (500, "internal".to_owned()));
    assert_eq!(send("c", r#""x""#).await.expect("answers").status(), StatusCode::CREATED);
    assert_eq!(code(send("", r#""x""#).await.expect("answers")).await, (400, "idempotency_key_invalid".to_owned()));
}

#[tokio::test]
async fn an_answer_with_a_secret_is_kept_without_it() {
    let house = House::new().await;
    let send = || house.post("/test/secret", "").header("idempotency-key", "once").send();
    assert_eq!(send().await.expect("answers").text().await.expect("text"), r#"{"secret":"s3cr3t"}"#);
    assert_eq!(send().await.expect("answers").text().await.expect("text"), r#"{"secret":null}"#);
}

#[tokio::test]
async fn tls_1_2_is_refused_and_http_2_is_offered() {
    let house = House::new().await;
    let old = client(&house.folder, |builder| builder.tls_version_max(reqwest::tls::Version::TLS_1_2));
    let error = old.get(house.url("/healthz")).send().await.expect_err("refused");
    let causes = model::causes(&error);
    assert!(causes.contains("ProtocolVersion"), "{causes}");
    for protocol in ["h2", "http/1.1"] {
        assert_eq!(negotiated(&house, protocol).await.as_deref(), Some(protocol.as_bytes()));
    }
}

async fn negotiated(house: &House, protocol: &str) -> Option<Vec<u8>> {
    let stream = connect(house, protocol).await;
    let (_, connection) = stream.get_ref();
    assert_eq!(connection.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    connection.alpn_protocol().map(<[u8]>::to_vec)
}

async fn connect(house: &House, protocol: &str) -> tokio_rustls::client::TlsStream<TcpStream> {
    use rustls_pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    let file = house.folder.join(crate::ca::CA_FILE);
    roots.add(rustls_pki_types::CertificateDer::from_pem_file(file).expect("PEM")).expect("a root");
    let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let stream = TcpStream::connect(house.address).await.expect("connects");
    // The certificate is for the bare address too.
    let name = rustls_pki_types::ServerName::IpAddress(std::net::IpAddr::from([127, 0, 0, 1]).into());
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    connector.connect(name, stream).await.expect("shakes hands")
}

#[tokio::test]
async fn plain_http_on_the_tls_port_is_told_so_and_its_key_is_not_logged() {
    let house = House::new().await;
    let mut stream = TcpStream::connect(house.address).await.expect("connects");
    let request = format!("GET /v1/me HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", house.key.expose());
    stream.write_all(request.as_bytes()).await.expect("writes");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("reads");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{head}");
    let body: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(body["code"], "insecure_transport");
    assert!(!answer.contains(house.key.expose()));
    assert!(!String::from_utf8_lossy(&house.log.lock().expect("held")).contains("iusk_"));
}

#[tokio::test]
async fn the_log_names_the_route_and_the_key_but_neither_path_nor_secret() {
    let mut house = House::new().await;
    house.get("/test/list?limit=7&token=hush").send().await.expect("answers");
    house.get("/problems/hush").send().await.expect("answers");
    house.shutdown.cancel();
    assert!(house.running.take().expect("runs").ended().await);
    // The line is written by another thread.
    let text = loop {
        let text = String::from_utf8_lossy(&house.log.lock().expect("held")).into_owned();
        if text.lines().count() == 2 {
            break text;
        }
        tokio::task::yield_now().await;
    };
    assert!(text.contains(" 400 GET /test/list ") && text.contains(" 404 GET /problems/{code} "), "{text}");
    assert!(
        text.contains("key_id=key_") && text.contains("request_id=req_") && text.contains("code=invalid_query"),
        "{text}"
    );
    assert!(!text.contains("hush") && !text.contains("iusk_"), "{text}");
}

#[tokio::test]
async fn what_goes_on_when_its_client_is_gone_is_done_before_the_server_ends() {
    let mut house = House::new().await;
    let asking = house.post("/test/count", "\"slowly\"").header("idempotency-key", "gone");
    let asking = tokio::spawn(asking.send());
    let arrived = tokio::time::timeout(Duration::from_secs(5), WAITING.acquire()).await.expect("in time");
    arrived.expect("never closed").forget();
    asking.abort();
    house.shutdown.cancel();
    let mut running = house.running.take().expect("runs");
    assert!(tokio::time::timeout(Duration::from_millis(300), running.ended()).await.is_err(), "it is waited for");
    GO_ON.add_permits(1);
    assert!(running.ended().await, "everything ended by itself");
    let mut conn = house.db().ask().await.expect("a connection");
    let kept = sql("SELECT status FROM idempotency WHERE key = 'gone'").all(&mut conn).await.expect("asked");
    assert_eq!(kept[0].get::<i64>("status").expect("kept"), 201);
}

#[tokio::test]
async fn a_long_poll_ends_with_the_server_and_nobody_is_let_in_any_more() {
    let mut house = House::new().await;
    let waiting = tokio::spawn(house.get("/test/wait").send());
    let arrived = tokio::time::timeout(Duration::from_secs(5), WAITING.acquire()).await.expect("in time");
    arrived.expect("never closed").forget();
    house.shutdown.cancel();
    let response = waiting.await.expect("no panic").expect("answered");
    assert_eq!(response.text().await.expect("text"), "\"stopped\"");
    assert!(house.running.take().expect("runs").ended().await, "everything ended by itself");
    assert!(TcpStream::connect(house.address).await.is_err());
    assert!(!house.folder.join("admin.sock").exists());
}

#[tokio::test]
async fn the_operators_socket_is_the_servers_users_alone() {
    use std::os::unix::fs::PermissionsExt;
    let house = House::new().await;
    for (file, mode) in [("admin.sock", 0o600), ("ca.key", 0o600), ("ca.pem", 0o644)] {
        let meta = std::fs::metadata(house.folder.join(file)).expect("is there");
        assert_eq!(meta.permissions().mode() & 0o777, mode, "{file}");
    }
    let (status, body) = operate(&house, "/nothing", json!({})).await;
    assert_eq!((status, &body["code"]), (404, &json!("route_not_found")));
}

/// One request over the operator's socket.
async fn operate(house: &House, path: &str, body: Value) -> (u16, Value) {
    let mut stream = tokio::net::UnixStream::connect(house.folder.join("admin.sock")).await.expect("connects");
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("writes");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("reads");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).expect("JSON"))
}

#[tokio::test]
async fn what_the_operator_takes_away_is_gone_at_the_answer() {
    let house = House::new().await;
    let refused = async || code(house.get("/v1/me").send().await.expect("answers")).await;
    assert_eq!(house.get("/v1/me").send().await.expect("answers").status(), StatusCode::OK);
    let (status, tenant) = operate(&house, "/tenants/set-tier", json!({ "tier": "free" })).await;
    assert_eq!((status, &tenant["tier"]), (200, &json!("free")));
    assert_eq!(refused().await, (403, "tier_required".to_owned()));
    operate(&house, "/tenants/set-tier", json!({ "tier": "standard" })).await;
    operate(&house, "/tenants/suspend", json!({})).await;
    assert_eq!(refused().await, (403, "tenant_suspended".to_owned()));
    operate(&house, "/tenants/resume", json!({})).await;
    let (status, added) =
        operate(&house, "/users/add", json!({ "email": "bo@example.com", "name": "Bo", "role": "admin" })).await;
    assert_eq!((status, &added["role"]), (200, &json!("admin")));
    // The old owner becomes an admin, and is suspended then.
    operate(&house, "/users/update", json!({ "user": "bo@example.com", "change": { "role": "owner" } })).await;
    let suspended = json!({ "user": "ada@example.com", "change": { "status": "suspended" } });
    let (status, problem) = operate(&house, "/users/update", suspended).await;
    assert_eq!((status, &problem["code"]), (409, &json!("keys_would_stop")));
    let suspended = json!({ "user": "ada@example.com", "change": { "status": "suspended", "confirm": true } });
    operate(&house, "/users/update", suspended).await;
    assert_eq!(refused().await, (403, "role_required".to_owned()));
    let active = json!({ "user": "ada@example.com", "change": { "status": "active" } });
    operate(&house, "/users/update", active).await;
    assert_eq!(house.get("/v1/me").send().await.expect("answers").status(), StatusCode::OK);
    let key = model::KeyId::from_uuid(house.key.id()).to_string();
    let (status, receipt) = operate(&house, "/keys/revoke", json!({ "key": key, "reason": "compromised" })).await;
    assert_eq!((status, &receipt["key"]["status"]), (200, &json!("revoked")));
    assert_eq!(refused().await, (401, "revoked_key".to_owned()));
    let (status, problem) =
        operate(&house, "/users/update", json!({ "user": "bo@example.com", "change": { "role": "king" } })).await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/role")));
}

#[tokio::test]
async fn every_operation_has_its_rule_and_every_code_its_page() {
    let house = House::new().await;
    let document: Value =
        house.client.get(house.url("/openapi.json")).send().await.expect("answers").json().await.expect("JSON");
    assert_eq!(document["openapi"].as_str().map(|version| &version[..3]), Some("3.1"));
    assert_eq!(document["servers"][0]["url"], "https://sign.example.com");
    let mut ids = std::collections::HashSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            assert!(operation["security"].is_array(), "{method} {path}");
            // Whoever finds a leaked key has none of their own.
            let is_open = !path.starts_with("/v1/") || path == "/v1/leaks";
            assert!(is_open || operation["security"][0]["key"].is_array(), "{method} {path}");
            assert!(operation["responses"]["default"].is_object(), "{method} {path}");
            let id = operation["operationId"].as_str().expect("an id").to_owned();
            assert!(ids.insert(id.clone()), "{id} is the id of two operations");
        }
    }
    let reference = house.client.get(house.url("/docs")).send().await.expect("answers").text().await.expect("text");
    assert!(
        reference.contains("id=\"get-healthz\"") && !reference.contains("<script") && !reference.contains("style=\"")
    );
    for code in model::Code::ALL {
        let response = house.client.get(house.url(&format!("/problems/{code}"))).send().await.expect("answers");
        assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8", "{code}");
    }
    let style = reference.split('"').find(|text| text.starts_with("/assets/docs.css?v=")).expect("a style").to_owned();
    let response = house.client.get(house.url(&style)).send().await.expect("answers");
    assert_eq!(response.headers()["cache-control"], "public, max-age=31536000, immutable");
}
