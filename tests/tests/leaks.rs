//! Leaked keys: whoever finds one reports it, a right secret in a wrong place is told, and an answer tells strangers nothing.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tests::{
    Answer, Api, Engine, Server,
    beside::{port, start},
    both_engines, judge, seconds_after,
    server::root,
};

both_engines! {
    a_report_is_answered_the_same_for_hit_and_miss
    a_reported_key_is_told_of_and_revoked_where_the_tenant_chose_so
    who_reports_too_often_waits
    githubs_signed_payload_is_answered_as_github_expects
    a_right_secret_in_a_wrong_place_is_told_once
    a_secret_can_be_sealed_to_the_caller
}

fn hex(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A new key of development: its id and its secret.
async fn key(api: &Api, body: Value) -> (String, String) {
    let made = api.post("/v1/keys", body).await.expect(201);
    let text = |name: &str| made[name].as_str().expect("a text").to_owned();
    (text("id"), text("secret"))
}

/// The events of this type about this key, once there is one.
async fn events(api: &Api, key: &str, kind: &str) -> Vec<Value> {
    let mut after = String::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    // Each poll ends with the first event that came, which may be another key's.
    while Instant::now() < deadline {
        let page = api.get(&format!("/v1/events?limit=500&wait=20&types={kind}{after}")).await.expect(200);
        let all = page["data"].as_array().expect("a list");
        let own: Vec<_> = all.iter().filter(|event| event["data"]["key"]["id"] == json!(key)).cloned().collect();
        if !own.is_empty() {
            return own;
        }
        after = format!("&after={}", page["next"].as_str().expect("a cursor"));
    }
    panic!("no {kind} of {key}")
}

/// The mails to administrators about this key, with this purpose.
fn mails(server: &Server, key: &str, purpose: &str) -> usize {
    let text = format!("SELECT body FROM notices WHERE purpose = '{purpose}'");
    server.sql(&text).iter().filter(|body| body.contains(key)).count()
}

async fn a_report_is_answered_the_same_for_hit_and_miss(server: Server) {
    let stranger = server.stranger();
    let (id, secret) = key(&server.api(), json!({ "label": "Lost" })).await;
    let miss = secret::SecretKey::parse(&secret).expect("a key");
    let miss = secret::SecretKey::generate(miss.environment(), miss.id(), [7; 32]);
    let mut answers = Vec::new();
    for report in [
        json!({ "tokens": [secret] }),
        json!({ "tokens": [miss.expose()] }),
        json!({ "tokens": ["no key at all"] }),
        json!({ "digests": [hex(&secret)] }),
        json!({ "digests": [hex("x")] }),
    ] {
        let answer = stranger.post("/v1/leaks", report).await;
        assert_eq!(answer.expect(202), json!({ "received": 1 }));
        let names: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
        answers.push((answer.body.clone(), names));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    events(&server.api(), &id, "key.leaked").await;
    for (report, faults) in [
        (json!({}), vec![("", "out_of_range")]),
        (json!({ "tokens": vec!["x"; 1_001] }), vec![("", "out_of_range")]),
        (
            json!({ "digests": ["x"], "place": "a\nb" }),
            vec![("/digests/0", "invalid_value"), ("/place", "control_character")],
        ),
        (json!({ "keys": [] }), vec![("/keys", "unknown_field")]),
    ] {
        let got = stranger.post("/v1/leaks", report).await.faults();
        let got: Vec<_> = got.iter().map(|(pointer, code)| (pointer.as_str(), code.as_str())).collect();
        assert_eq!(got, faults);
    }
    stranger.send(Method::POST, "/v1/leaks", Some("text/plain"), "x").await.refused(415, "unsupported_media_type");
    let long = json!({ "tokens": ["x".repeat(2_000_000)] });
    stranger.post("/v1/leaks", long).await.refused(413, "body_too_large");
    for (name, bytes) in server.everything_written() {
        assert!(
            secret::find(&bytes).iter().all(|(_, found)| found.expose() != secret),
            "{name} holds the reported key"
        );
    }
}

async fn a_reported_key_is_told_of_and_revoked_where_the_tenant_chose_so(server: Server) {
    let (api, stranger) = (server.api(), server.stranger());
    let (id, secret) = key(&api, json!({ "label": "Lost" })).await;
    let report = json!({ "tokens": [secret], "place": "https://paste.example/abc" });
    stranger.post("/v1/leaks", report.clone()).await.expect(202);
    let event = &events(&api, &id, "key.leaked").await[0];
    assert_eq!(event["data"]["exposure"]["how"], json!("reported"));
    assert_eq!(event["data"]["exposure"]["place"], json!("https://paste.example/abc"));
    assert_eq!(event["actor"]["type"], json!("system"), "{event}");
    let shown = api.get(&format!("/v1/keys/{id}")).await.expect(200);
    assert_eq!((&shown["exposed"]["how"], &shown["status"]), (&json!("reported"), &json!("active")), "{shown}");
    assert_eq!(server.api_with(&secret).get("/v1/me").await.status, 200, "nothing is revoked by itself");
    assert_eq!(mails(&server, &id, "key_leaked"), 1);
    let audit = api.get(&format!("/v1/audit?action=key.leaked&object={id}")).await.expect(200);
    assert_eq!(audit["data"][0]["actor"]["type"], json!("system"), "{audit}");
    assert_eq!(audit["data"][0]["after"]["place"], json!("https://paste.example/abc"), "{audit}");

    // The same again on the same day: counted, not told. Then the tenant chooses, and another key is revoked.
    stranger.post("/v1/leaks", report).await.expect(202);
    let (_, production) = server.key_of(&server.tenant, "production", None).await;
    let policies = json!({ "policies": { "leaks": { "revoke": true } } });
    server
        .api_with(&production)
        .send(Method::PATCH, "/v1/tenant", Some("application/json"), policies.to_string())
        .await
        .expect(200);
    let (other, secret) = key(&api, json!({ "label": "Lost too" })).await;
    // The journal's shared notes can't be written: the key is revoked, and that is not in force after a restore.
    let is_shared = server.block_journal();
    stranger.post("/v1/leaks", json!({ "digests": [hex(&secret)] })).await.expect(202);
    let revoked = events(&api, &other, "key.revoked").await;
    assert_eq!(revoked[0]["data"]["key"]["reason"], json!("policy"));
    server.api_with(&secret).get("/v1/me").await.refused(401, "revoked_key");
    if is_shared {
        let receipt = api.get(&format!("/v1/keys/{other}/receipt")).await.expect(200);
        assert_eq!(receipt["effective_at"], Value::Null, "{receipt}");
        server.unblock_journal();
    }
    // Nobody asks again: the server itself sees to it.
    events(&api, &other, "key.receipt_completed").await;
    assert_eq!(server.has_note(&other), is_shared);
    // A report of a dead secret tells programs and no people, and keeps no later alarm back.
    let (gone, secret) = key(&api, json!({ "label": "Gone" })).await;
    api.post_empty(&format!("/v1/keys/{gone}/revoke")).await.expect(200);
    stranger.post("/v1/leaks", json!({ "digests": [hex(&secret)] })).await.expect(202);
    events(&api, &gone, "key.leaked").await;
    server.api_with(&secret).get("/v1/me").await.refused(401, "revoked_key");
    events(&api, &gone, "key.exposed").await;
    assert_eq!((mails(&server, &gone, "key_leaked"), mails(&server, &gone, "key_exposed")), (0, 1));
    assert_eq!(events(&api, &id, "key.leaked").await.len(), 1);
    assert_eq!((mails(&server, &id, "key_leaked"), mails(&server, &other, "key_leaked")), (1, 1));
}

async fn who_reports_too_often_waits(server: Server) {
    let busy = server.stranger_from(3);
    let mut last = busy.post("/v1/leaks", json!({ "tokens": ["x"] })).await;
    for _ in 0..100 {
        if last.status == 429 {
            break;
        }
        last.expect(202);
        last = busy.post("/v1/leaks", json!({ "tokens": ["x"] })).await;
    }
    last.refused(429, "rate_limited");
    assert!(last.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{:?}", last.headers);
    server.stranger_from(4).post("/v1/leaks", json!({ "tokens": ["x"] })).await.expect(202);
    // However many report, whom the operator trusts is heard: a signed report is judged by its signature.
    let mut all = server.stranger_from(5).post("/v1/leaks", json!({ "tokens": ["x"] })).await;
    for host in 6..100 {
        let stranger = server.stranger_from(host);
        for _ in 0..30 {
            all = stranger.post("/v1/leaks", json!({ "tokens": ["x"] })).await;
        }
        if all.status == 429 && host > 40 {
            break;
        }
    }
    // Somebody who never reported before is refused, as soon as what has come back meanwhile is used up.
    for host in 100..200 {
        if all.status == 429 && host > 100 {
            break;
        }
        all = server.stranger_from(host).post("/v1/leaks", json!({ "tokens": ["x"] })).await;
    }
    all.refused(429, "rate_limited");
    github(&server, "a1b2", "AAAA", "[]").await.refused(403, "signature_invalid");
    assert_eq!(server.api().get("/v1/me").await.status, 200, "whoever has a key is not concerned");
}

/// A signature of another hand: Python's `cryptography`. Prints the public key as GitHub's list, then the signature.
const SIGN: &str = "
import base64, json, sys
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
key = ec.generate_private_key(ec.SECP256R1())
pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
open(sys.argv[1], 'w').write(json.dumps({'public_keys': [{'key_identifier': 'a1b2', 'key': pem, 'is_current': True}]}))
print(base64.b64encode(key.sign(sys.stdin.buffer.read(), ec.ECDSA(hashes.SHA256()))).decode())
";

fn sign(list: &std::path::Path, body: &str) -> String {
    let input = list.with_extension("body");
    fs::write(&input, body).expect("written");
    let output = Command::new(judge::python())
        .args(["-c", SIGN, &list.display().to_string()])
        .stdin(fs::File::open(&input).expect("opened"))
        .output()
        .expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

async fn github(server: &Server, key_id: &str, signature: &str, body: &str) -> Answer {
    let github =
        server.stranger().with("github-public-key-identifier", key_id).with("github-public-key-signature", signature);
    github.send(Method::POST, "/v1/leaks", Some("application/json"), body.to_owned()).await
}

async fn githubs_signed_payload_is_answered_as_github_expects(plain: Server) {
    let folder = tempfile::tempdir().expect("a folder");
    let list = folder.path().join("keys.json");
    github(&plain, "a1b2", "AAAA", "[]").await.refused(403, "signature_invalid");
    let engine = plain.engine;
    drop(plain);
    let server = Server::start_with(engine, &["--leaks-github-keys", &list.display().to_string()]).await;
    github(&server, "a1b2", "AAAA", "[]").await.refused(503, "unavailable");

    let (id, secret) = key(&server.api(), json!({ "label": "Pushed" })).await;
    let body = json!([
        { "token": secret, "type": "iusign_secret_key", "url": "https://github.com/a/b/blob/1/c", "source": "content" },
        { "token": "iusk_dev_nothing", "type": "iusign_secret_key", "url": "https://github.com/a/b", "source": "commit" },
    ])
    .to_string();
    let signature = sign(&list, &body);
    let server = {
        // A failed look is not repeated at once; a new process looks anew.
        let mut server = server;
        assert!(server.stop());
        server.start_again();
        server
    };
    let labels = github(&server, "a1b2", &signature, &body).await.expect(200);
    let label = |token: &str, label: &str| json!({ "token_hash": hex(token), "token_type": "iusign_secret_key", "label": label });
    assert_eq!(labels, json!([label(&secret, "true_positive"), label("iusk_dev_nothing", "false_positive")]));
    let event = &events(&server.api(), &id, "key.leaked").await[0];
    assert_eq!(event["data"]["exposure"]["place"], json!("https://github.com/a/b/blob/1/c"));

    let other = BASE64_STANDARD.encode([0x30, 0x06, 2, 1, 1, 2, 1, 1]);
    for (key_id, signature, body) in [
        ("a1b2", signature.as_str(), "[]"),
        ("other", signature.as_str(), body.as_str()),
        ("a1b2", other.as_str(), body.as_str()),
        ("a1b2", "", body.as_str()),
    ] {
        github(&server, key_id, signature, body).await.refused(403, "signature_invalid");
    }
    // One of the two headers alone is no ordinary report either.
    let half = server.stranger().with("github-public-key-identifier", "a1b2");
    half.post("/v1/leaks", json!({ "tokens": ["x"] })).await.refused(403, "signature_invalid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn githubs_keys_are_fetched_by_https_from_whom_they_are_asked_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let (port, script) = (port(), root().join("tests/tools/https_files.py"));
    let mut files = Command::new(judge::python());
    let _files = start(files.arg(script).arg(port.to_string()).arg(folder.path()), "it listens");
    let list = folder.path().join("keys.json");
    let body = json!([{ "token": "iusk_dev_nothing", "type": "iusign_secret_key", "url": "u", "source": "commit" }]);
    let body = body.to_string();
    let signature = sign(&list, &body);
    let long = json!({ "public_keys": [], "x": "x".repeat(300_000) }).to_string();
    fs::write(folder.path().join("long.json"), long).expect("written");
    let (ca, of_others) = (folder.path().join("ca.pem"), "/etc/ssl/certs/ca-certificates.crt".to_owned());
    let trusted = ca.display().to_string();
    for (path, trust, passes) in [
        ("keys.json", &trusted, true),
        ("moved", &trusted, false),
        ("long.json", &trusted, false),
        ("none.json", &trusted, false),
        ("keys.json", &of_others, false),
    ] {
        let source = format!("https://localhost:{port}/{path}");
        let trust = vec![("SSL_CERT_FILE", trust.clone()), ("SSL_CERT_DIR", "/nonexistent".to_owned())];
        let server = Server::start_in(Engine::Sqlite, &["--leaks-github-keys", &source], trust).await;
        let answer = github(&server, "a1b2", &signature, &body).await;
        if passes {
            assert_eq!(answer.expect(200)[0]["label"], json!("false_positive"));
            github(&server, "a1b2", &signature, "[]").await.refused(403, "signature_invalid");
        } else {
            answer.refused(503, "unavailable");
        }
    }
}

async fn a_right_secret_in_a_wrong_place_is_told_once(server: Server) {
    let api = server.api();
    server.admin(&["tenants", "set-tier", "enterprise"]);
    let stranger = server.stranger();
    let (url, secret_of_url) = key(&api, json!({ "label": "In a URL" })).await;
    let (page, secret_of_page) = key(&api, json!({ "label": "In a page's URL" })).await;
    let (nowhere, secret_of_nowhere) = key(&api, json!({ "label": "In no route's URL" })).await;
    let (method, secret_of_method) = key(&api, json!({ "label": "By a wrong method" })).await;
    let (form, secret_of_form) = key(&api, json!({ "label": "In a form" })).await;
    let (basic, secret_of_basic) = key(&api, json!({ "label": "Basic" })).await;
    let (plain, secret_of_plain) = key(&api, json!({ "label": "Plain" })).await;
    let fenced = json!({ "label": "Fenced", "allowlist": ["192.0.2.1"], "confirm": true });
    let (fenced, secret_of_fenced) = key(&api, fenced).await;
    let (dead, secret_of_dead) = key(&api, json!({ "label": "Dead" })).await;
    api.post_empty(&format!("/v1/keys/{dead}/revoke")).await.expect(200);
    let shown = api.get(&format!("/v1/keys/{url}")).await.expect(200);
    let end = seconds_after(shown["created_at"].as_str().expect("a time"), 3);
    let (spent, secret_of_spent) = key(&api, json!({ "label": "Spent", "expires_at": end })).await;
    let (turned, secret_of_turned) = key(&api, json!({ "label": "Rotated" })).await;
    let rotated = api.post(&format!("/v1/keys/{turned}/rotate"), json!({ "grace_period": "PT0S" })).await.expect(200);
    let new = server.api_with(rotated["secret"].as_str().expect("a secret"));
    assert_eq!(new.get("/v1/me").await.status, 200);
    let spent_key = server.api_with(&secret_of_spent);
    while spent_key.get("/v1/me").await.status == 200 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    for _ in 0..3 {
        stranger.get(&format!("/v1/me?key={secret_of_url}")).await.refused(401, "credentials_in_url");
        assert_eq!(stranger.get(&format!("/problems?key={secret_of_page}")).await.status, 200);
        stranger.get(&format!("/v1/nothing?key={secret_of_nowhere}")).await.refused(404, "route_not_found");
        stranger.post_empty(&format!("/problems?key={secret_of_method}")).await.refused(405, "method_not_allowed");
        let body = format!("access_token={secret_of_form}");
        let kind = Some("application/x-www-form-urlencoded");
        stranger.send(Method::POST, "/v1/envelopes", kind, body).await.refused(401, "malformed_credentials");
        let pair = format!("Basic {}", BASE64_STANDARD.encode(format!("{secret_of_basic}:")));
        stranger.with("authorization", &pair).get("/v1/me").await.refused(401, "malformed_credentials");
        server.api_with(&secret_of_fenced).get("/v1/me").await.refused(403, "ip_not_allowed");
        server.api_with(&secret_of_dead).get("/v1/me").await.refused(401, "revoked_key");
        spent_key.get("/v1/me").await.refused(401, "expired_key");
        server.api_with(&secret_of_turned).get("/v1/me").await.refused(401, "rotated_secret");
        let address = server.url.strip_prefix("https://").expect("https");
        let mut raw = tokio::net::TcpStream::connect(address).await.expect("connected");
        let request = format!("GET /v1/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret_of_plain}\r\n\r\n");
        tokio::io::AsyncWriteExt::write_all(&mut raw, request.as_bytes()).await.expect("written");
        let mut answer = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut raw, &mut answer).await.expect("read");
        assert!(answer.contains("insecure_transport"), "{answer}");
        // What a stranger invents is nobody's.
        let id = secret::SecretKey::parse(&secret_of_url).expect("a key");
        let invented = secret::SecretKey::generate(id.environment(), id.id(), [9; 32]);
        stranger.get(&format!("/v1/me?key={}", invented.expose())).await.refused(401, "credentials_in_url");
    }
    for (key, how) in [
        (&url, "in_url"),
        (&page, "in_url"),
        (&nowhere, "in_url"),
        (&method, "in_url"),
        (&form, "in_form"),
        (&basic, "in_basic"),
        (&plain, "plain_http"),
        (&fenced, "forbidden_address"),
        (&dead, "after_revocation"),
        (&spent, "after_expiry"),
        (&turned, "after_rotation"),
    ] {
        let events = events(&api, key, "key.exposed").await;
        assert_eq!(events.len(), 1, "{how}: {events:#?}");
        assert_eq!(events[0]["data"]["exposure"]["how"], json!(how));
        assert_eq!(events[0]["data"]["exposure"]["address"], json!("127.0.0.1"));
        let shown = api.get(&format!("/v1/keys/{key}")).await.expect(200);
        assert_eq!(shown["exposed"]["how"], json!(how), "{shown}");
        assert!(shown["exposed"]["count"].as_u64().is_some_and(|count| (1..=4).contains(&count)), "{shown}");
        assert_eq!(mails(&server, key, "key_exposed"), 1, "{how}");
    }
    assert_eq!(server.api_with(&secret_of_url).get("/v1/me").await.status, 200, "nothing is revoked by itself");
    let shown = server.iusign(&["keys", "get", &url]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("in_url from 127.0.0.1"), "{shown:?}");
}

/// What `age` opens with this identity's file.
fn opened(identity: &std::path::Path, sealed: &str) -> String {
    let file = identity.with_extension("age");
    fs::write(&file, sealed).expect("written");
    let output =
        Command::new("age").arg("--decrypt").arg("--identity").arg(identity).arg(&file).output().expect("age runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn a_secret_can_be_sealed_to_the_caller(server: Server) {
    let folder = tempfile::tempdir().expect("a folder");
    let identity = folder.path().join("identity");
    let made =
        Command::new("age-keygen").arg("-o").arg(&identity).output().expect("age-keygen runs: ./test installs age");
    assert!(made.status.success());
    let text = fs::read_to_string(&identity).expect("read");
    let recipient = text.lines().find_map(|line| line.strip_prefix("# public key: ")).expect("a recipient");

    let api = server.api().with("idempotency-key", "once");
    let body = json!({ "label": "Sealed", "encrypt_to": recipient });
    let first = api.post("/v1/keys", body.clone()).await.expect(201);
    assert_eq!((&first["secret"], &first["secret_shown"]), (&Value::Null, &json!(false)));
    let secret = opened(&identity, first["sealed_secret"].as_str().expect("a sealed secret"));
    assert_eq!(server.api_with(&secret).get("/v1/me").await.expect(200)["key"]["id"], first["id"]);
    assert_eq!(api.post("/v1/keys", body).await.expect(201), first, "a lost answer loses nothing");

    let id = first["id"].as_str().expect("an id");
    let rotated =
        server.api().post(&format!("/v1/keys/{id}/rotate"), json!({ "encrypt_to": recipient })).await.expect(200);
    let secret = opened(&identity, rotated["sealed_secret"].as_str().expect("a sealed secret"));
    assert_eq!((&rotated["secret"], &rotated["secret_shown"]), (&Value::Null, &json!(false)));
    assert_eq!(server.api_with(&secret).get("/v1/me").await.status, 200);

    let shown = server.iusign(&["keys", "create", "--label", "By the command", "--encrypt-to", recipient]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let at = shown.find("-----BEGIN AGE").unwrap_or_else(|| panic!("{shown}"));
    assert!(secret::SecretKey::parse(&opened(&identity, &format!("{}\n", shown[at..].trim_end()))).is_ok());

    let faults = server.api().post("/v1/keys", json!({ "label": "", "encrypt_to": "age1x" })).await.faults();
    let places: Vec<_> = faults.iter().map(|(pointer, _)| pointer.as_str()).collect();
    assert_eq!(places, ["/encrypt_to", "/label"]);
}
