//! Fetching results: whole, in parts, by name or id; and nothing before it is ready.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::json;
use sha2::{Digest, Sha256};
use tests::{Room, Server, both_engines, fire::chain_holds, judge, paper};

both_engines! {
    a_sealed_file_is_fetched_whole_and_in_parts
    a_download_ends_with_its_key
    the_audit_file_is_checked_by_its_own_words_up_to_the_head_on_the_certificate
    who_asks_too_early_or_in_vain_is_told_why
}

async fn completed(server: &Server) -> String {
    let api = server.api();
    let document = api.upload("Vertrag%20%C3%9C.pdf", paper::sample()).await.expect(201);
    let mut body = paper::for_one(document["id"].as_str().expect("an id"), "taro@example.com");
    body["title"] = json!("Vertrag Ü");
    let envelope = api.create(body).await;
    let id = envelope["id"].as_str().expect("an id").to_owned();
    api.get(&format!("/v1/envelopes/{id}/assets/document")).await.refused(409, "not_ready");
    api.get(&format!("/v1/envelopes/{id}/assets/sketch")).await.refused(404, "not_found");
    let room = Room::enter(server, &api, &id, "taro@example.com").await;
    room.sign("Taro", &[("client_name", "Taro"), ("client_company", "Kestrel")]).await;
    api.wait_for(&id, "envelope.completed").await;
    id
}

async fn a_sealed_file_is_fetched_whole_and_in_parts(server: Server) {
    let id = completed(&server).await;
    let api = server.api();
    let list = api.get(&format!("/v1/envelopes/{id}/assets")).await.expect(200);
    for asset in list["data"].as_array().expect("a list") {
        let (kind, own) = (asset["kind"].as_str().expect("a kind"), asset["id"].as_str().expect("an id"));
        let path = format!("/v1/envelopes/{id}/assets/{kind}");
        let whole = api.get(&path).await;
        assert_eq!(whole.status, 200);
        let digest = Sha256::digest(&whole.body);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(asset["sha256"], json!(hex));
        assert_eq!(whole.header("etag"), format!("\"{hex}\""));
        assert_eq!(whole.header("repr-digest"), format!("sha-256=:{}:", BASE64_STANDARD.encode(digest)));
        assert_eq!(whole.header("cache-control"), "private, no-store");
        assert_eq!(whole.header("content-length"), whole.body.len().to_string());
        assert!(whole.header("content-disposition").contains("filename*=UTF-8''"), "{:?}", whole.headers);
        assert_eq!(api.get(&format!("/v1/envelopes/{id}/assets/{own}")).await.body, whole.body);

        let etag = whole.header("etag").to_owned();
        let part = api.with("range", "bytes=100-199").get(&path).await;
        assert_eq!((part.status, &part.body[..]), (206, &whole.body[100..200]));
        assert_eq!(part.header("content-range"), format!("bytes 100-199/{}", whole.body.len()));
        let tail = api.with("range", "bytes=-7").with("if-range", &etag).get(&path).await;
        assert_eq!((tail.status, &tail.body[..]), (206, &whole.body[whole.body.len() - 7..]));
        let changed = api.with("range", "bytes=-7").with("if-range", "\"other\"").get(&path).await;
        assert_eq!((changed.status, changed.body.len()), (200, whole.body.len()));
        let known = api.with("if-none-match", &etag).get(&path).await;
        assert_eq!((known.status, known.body.len()), (304, 0));
        api.with("range", "bytes=99999999-").get(&path).await.refused(416, "range_not_satisfiable");
    }
    let kinds: Vec<_> =
        list["data"].as_array().expect("a list").iter().map(|a| a["kind"].as_str().expect("a kind")).collect();
    for kind in ["document", "combined", "certificate", "audit"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    assert!(list.to_string().contains("PAdES-B-B"), "{list}");
}

async fn a_download_ends_with_its_key(server: Server) {
    let id = completed(&server).await;
    let api = server.api();
    let made = api.post("/v1/keys", json!({ "label": "Reader", "scopes": ["assets:read"] })).await.expect(201);
    let reader = server.api_with(made["secret"].as_str().expect("a secret"));
    let path = format!("/v1/envelopes/{id}/assets/document");
    assert_eq!(reader.get(&path).await.status, 200);
    api.post_empty(&format!("/v1/keys/{}/revoke", made["id"].as_str().expect("an id"))).await.expect(200);
    reader.get(&path).await.refused(401, "revoked_key");
}

async fn the_audit_file_is_checked_by_its_own_words_up_to_the_head_on_the_certificate(server: Server) {
    let id = completed(&server).await;
    let api = server.api();
    let audit = api.get(&format!("/v1/envelopes/{id}/assets/audit")).await.expect(200);
    let head = chain_holds(&audit);
    assert_eq!(audit["chain_head"], json!(head));
    let how = audit["how"].as_str().expect("words");
    for said in ["32 raw bytes", "32 hex digits as ASCII text", "RFC 8785 JSON in UTF-8"] {
        assert!(how.contains(said), "{how}");
    }
    let events = audit["events"].as_array().expect("events");
    let types: Vec<_> = events.iter().map(|link| link["event"]["type"].as_str().expect("a type")).collect();
    assert!(types.first() == Some(&"envelope.created") && types.last() == Some(&"envelope.signed"), "{types:?}");
    let certificate = api.get(&format!("/v1/envelopes/{id}/assets/certificate")).await;
    let text: String = judge::text_of(&certificate.body).split_whitespace().collect();
    assert!(text.contains(&head) && text.contains("everyeventuptosealing"), "{text}");
    for said in ["Mails", "When", "What", "To", "invite:captured", "taro@example.com"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(!text.contains("History"), "{text}");
}

async fn who_asks_too_early_or_in_vain_is_told_why(server: Server) {
    let api = server.api();
    let document = api.sample().await;
    let envelope = api.create(paper::for_one(&document, "taro@example.com")).await;
    let id = envelope["id"].as_str().expect("an id");
    let path = format!("/v1/envelopes/{id}/assets/document");
    let early = api.get(&path).await;
    early.refused(409, "not_ready");
    assert_eq!(early.header("retry-after"), "60", "people take their time");
    api.post_empty(&format!("/v1/envelopes/{id}/void")).await.expect(200);
    let in_vain = api.get(&path).await.refused(409, "already_voided");
    assert_eq!(in_vain["detail"], json!("The envelope was voided: it was not sealed, so it has no files."));
}
