//! Documents come from strangers: good ones pass, each bad kind is refused with its own code, and nobody else suffers.

use reqwest::Method;
use serde_json::json;
use tests::{Room, Server, both_engines, judge, paper};

/// What the server's resident memory may grow by while it is fed with what can't be: workers are processes of their own.
const GROWTH_KIB_MAX: u64 = 64 * 1024;

both_engines! {
    a_contract_is_taken_and_described
    a_repeated_upload_makes_one_document
    each_bad_file_is_refused_with_its_code_and_nobody_suffers
    what_is_no_upload_is_refused
}

async fn a_contract_is_taken_and_described(server: Server) {
    let api = server.api();
    let sample = paper::sample();
    let made = api.upload("Vertrag%20%C3%9C.pdf", sample.clone()).await;
    let document = made.expect(201);
    let id = document["id"].as_str().expect("an id");
    assert_eq!(made.header("location"), format!("/v1/documents/{id}"));
    assert_eq!((&document["filename"], &document["size"]), (&json!("Vertrag Ü.pdf"), &json!(sample.len())));
    assert_eq!(document["pages"].as_array().map(Vec::len), Some(4));
    assert_eq!((&document["changes"], &document["fonts_missing"]), (&json!([]), &json!([])));
    let page = &document["pages"][0];
    let near = |name: &str, value: f64| (page[name].as_f64().expect("a number") - value).abs() < 0.01;
    assert!(near("width", 595.28) && near("height", 841.89), "{page}");
    assert_eq!(api.get(&format!("/v1/documents/{id}")).await.expect(200), document);

    let small = api.upload("small.pdf", paper::small(300, 200, "Hello")).await.expect(201);
    assert_eq!(small["pages"], json!([{ "width": 300.0, "height": 200.0, "rotation": 0 }]));
    // The standard fonts have stand-ins of the same measures: they are not missed.
    assert_eq!(small["fonts_missing"], json!([]));
}

async fn a_repeated_upload_makes_one_document(server: Server) {
    let api = server.api().with("idempotency-key", "upload-1");
    let first = api.upload("a.pdf", paper::sample()).await.expect(201);
    let second = api.upload("a.pdf", paper::sample()).await.expect(201);
    assert_eq!(first["id"], second["id"]);
    api.upload("a.pdf", paper::small(300, 200, "Another")).await.refused(422, "idempotency_mismatch");
}

async fn each_bad_file_is_refused_with_its_code_and_nobody_suffers(server: Server) {
    let api = server.api();
    let signed = sealed(&server).await;
    let sample = paper::sample();
    let files = [
        ("with a password", judge::encrypted(&sample), "document_encrypted"),
        ("signed", signed, "document_signed"),
        ("a PNG", paper::PNG.to_vec(), "document_not_pdf"),
        ("empty", Vec::new(), "document_not_pdf"),
        ("noise", (0..20_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect(), "document_not_pdf"),
    ];
    let before = memory_kib(&server);
    let others = async {
        for _ in 0..40 {
            assert_eq!(api.get("/v1/me").await.status, 200);
        }
    };
    let bad = async {
        for (name, bytes, code) in &files {
            let answer = api.upload("bad.pdf", bytes.clone()).await;
            let problem = answer.refused(422, code);
            assert!(!problem["resolution"].to_string().is_empty(), "{name}");
        }
        // A file that ends early or nests too deep may be mended or refused, with a code of its own: never a fault.
        for bytes in [&sample[..sample.len() / 2], &sample[..sample.len() - 40], &sample[..900]] {
            accepted_or(&api.upload("cut.pdf", bytes.to_vec()).await, &["document_damaged", "document_not_pdf"]);
        }
        let depths: &[usize] = if std::env::var_os("IUSIGN_TEST_LONG").is_some() { &[30, 300, 3_000] } else { &[300] };
        for &depth in depths {
            let answer = api.upload("deep.pdf", paper::nested_patterns(depth)).await;
            accepted_or(&answer, &["document_too_complex", "document_damaged", "document_check_failed"]);
        }
    };
    tokio::join!(others, bad);
    let grown = memory_kib(&server).saturating_sub(before);
    assert!(grown < GROWTH_KIB_MAX, "the server has grown by {grown} KiB");
    assert_eq!(api.upload("good.pdf", sample).await.status, 201, "a good file still passes");
}

fn accepted_or(answer: &tests::Answer, codes: &[&str]) {
    if answer.status == 201 {
        return;
    }
    let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
    assert!(codes.contains(&code.as_str()), "{}: {}", answer.asked, answer.text());
    answer.refused(422, &code);
}

/// A file that this server itself has sealed.
async fn sealed(server: &Server) -> Vec<u8> {
    let api = server.api();
    let envelope = api.create(paper::for_one(&api.sample().await, "taro@example.com")).await;
    let id = envelope["id"].as_str().expect("an id");
    let room = Room::enter(server, &api, id, "taro@example.com").await;
    room.sign("Taro", &[("client_name", "Taro"), ("client_company", "Kestrel")]).await;
    api.wait_for(id, "envelope.completed").await;
    api.get(&format!("/v1/envelopes/{id}/assets/document")).await.body.to_vec()
}

/// The server's resident memory, without its workers.
fn memory_kib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("Linux tells");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

async fn what_is_no_upload_is_refused(server: Server) {
    let api = server.api();
    let answer = api.send(Method::POST, "/v1/documents", Some("text/plain"), "%PDF-1.7").await;
    answer.refused(415, "unsupported_media_type");
    let large =
        api.send(Method::POST, "/v1/documents", Some("application/pdf"), vec![b' '; 50 * 1024 * 1024 + 1]).await;
    let problem = large.refused(413, "body_too_large");
    assert!(problem["detail"].to_string().contains("50 MiB"), "{problem}");
    let unknown = api.send(Method::POST, "/v1/documents?name=x.pdf", Some("application/pdf"), paper::sample()).await;
    unknown.refused(400, "invalid_query");
    api.get("/v1/documents/doc_x").await.refused(404, "not_found");
}
