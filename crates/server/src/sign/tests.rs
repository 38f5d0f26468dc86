//! The signing room from outside: a browser's requests over TLS, with and without what a browser sends.

use app::{SystemClock, SystemRandom};
use model::{
    Clock, EnvScope, Environment, Id, TenantId,
    caller::Actor,
    document::Page,
    envelope::{Envelope, Message, Sender},
    envelope_new::{self, Making, NewEnvelope, NewRecipient},
    field::{Field, FieldKind},
    link::Link,
    template::{Content, ContentDocument},
};
use reqwest::{Response, StatusCode, header, redirect};
use serde_json::{Value, json};
use store::sql;

use crate::testing::{House, client};

const ORIGIN: &str = "https://sign.example.com";

/// A browser with one link and, once it has been opened, its cookie.
struct Browser<'a> {
    house: &'a House,
    client: reqwest::Client,
    path: String,
    cookie: Option<String>,
}

impl<'a> Browser<'a> {
    fn new(house: &'a House, link: &str) -> Self {
        let client = client(&house.folder, |builder| builder.redirect(redirect::Policy::none()));
        Self { house, client, path: format!("/sign/{link}"), cookie: None }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Response {
        let request = match &self.cookie {
            Some(cookie) => request.header(header::COOKIE, cookie),
            None => request,
        };
        request.send().await.expect("answers")
    }

    async fn get(&self, to: &str) -> Response {
        self.send(self.client.get(self.house.url(&format!("{}{to}", self.path)))).await
    }

    /// As a browser sends the form of a page with `Referrer-Policy: no-referrer`.
    async fn post(&self, to: &str, pairs: &[(&str, &str)]) -> Response {
        let request = self.client.post(self.house.url(&format!("{}{to}", self.path)));
        let request = request.header("sec-fetch-site", "same-origin").header(header::ORIGIN, "null");
        let body: Vec<_> = pairs.iter().map(|(key, value)| format!("{key}={}", escaped(value))).collect();
        let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(body.join("&"));
        self.send(request).await
    }

    async fn save(&self, body: Value) -> (StatusCode, Value) {
        let request = self.client.post(self.house.url(&format!("{}/values", self.path)));
        let request = request.header(header::ORIGIN, ORIGIN).header(header::CONTENT_TYPE, "application/json");
        let answer = self.send(request.body(body.to_string())).await;
        (answer.status(), serde_json::from_str(&answer.text().await.expect("text")).expect("JSON"))
    }

    async fn open(&mut self) {
        let answer = self.post("/open", &[]).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        let cookie = answer.headers()[header::SET_COOKIE].to_str().expect("text");
        self.cookie = cookie.split(';').next().map(ToOwned::to_owned);
    }

    async fn agree(&mut self) {
        self.open().await;
        let answer = self.post("/consent", &[("version", "en-1"), ("agree", "yes")]).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    }
}

fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// A sent envelope, and the links of its recipients, who come one after the other.
async fn send(house: &House, recipients: usize) -> Vec<String> {
    let mut tx = house.db().begin().await.expect("begins");
    let tenant: TenantId = sql("SELECT id FROM tenants").one(&mut tx).await.expect("one").get("id").expect("an id");
    let scope = EnvScope { tenant, environment: Environment::Development };
    let new = NewEnvelope {
        title: Some("Order <b>7</b>".to_owned()),
        recipients: (1..=recipients)
            .map(|n| NewRecipient {
                role: Some(format!("R{n}")),
                name: format!("Reader {n}"),
                email: format!("r{n}@example.com"),
                order: u32::try_from(n).ok(),
                ..NewRecipient::default()
            })
            .collect(),
        message: Some(Message { subject: "Please".to_owned(), body: "Dear <reader>".to_owned() }),
        redirect_url: Some("https://shop.example/done?order=7#top".to_owned()),
        ..NewEnvelope::default()
    };
    let roles = envelope_new::roles(&new.recipients).expect("roles");
    let making = Making {
        scope,
        by: Actor::System,
        sender: Sender { tenant: "Acme & Sons".to_owned(), address: None },
        clock: &SystemClock,
        random: &SystemRandom,
    };
    let mut envelope = envelope_new::from_content(&making, &roles, content(recipients), &new).expect("a draft");
    envelope.send(SystemClock.now()).expect("sent");
    store::envelope::insert(&mut tx, scope, std::slice::from_ref(&envelope)).await.expect("stands");
    tx.commit().await.expect("commits");
    links(&envelope)
}

fn links(envelope: &Envelope) -> Vec<String> {
    // The master key of `House`.
    envelope.recipients.iter().map(|r| Link::make(&[7; 32], r.link, r.link_generation).expose()).collect()
}

fn content(recipients: usize) -> Content {
    let id = Id::new(SystemClock.now(), &SystemRandom);
    let field = |n: usize, kind, key: &str, y, required| Field {
        key: key.to_owned(),
        kind,
        role: format!("R{n}"),
        document: id,
        page: 1,
        x: 59.5,
        y,
        width: 119.0,
        height: 42.1,
        required,
        readonly: false,
        default: None,
        max_length: Some(10),
    };
    let fields = (1..=recipients).flat_map(|n| {
        [
            field(n, FieldKind::Signature, &format!("sig{n}"), 84.2, true),
            field(n, FieldKind::Text, &format!("company_{n}"), 168.4, true),
            field(n, FieldKind::Checkbox, &format!("annex_{n}"), 252.6, false),
            field(n, FieldKind::DateSigned, &format!("date_{n}"), 336.8, true),
        ]
    });
    Content {
        fields: fields.collect(),
        documents: vec![ContentDocument {
            id,
            filename: "order.pdf".to_owned(),
            sha256: "0".repeat(64),
            working: "1".repeat(64),
            pages: vec![Page { width: 595.0, height: 842.0, rotation: 0 }],
        }],
    }
}

async fn text(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    (status, answer.text().await.expect("text"))
}

#[tokio::test]
async fn the_landing_page_escapes_what_strangers_typed_and_leaks_no_link() {
    let house = House::new().await;
    let link = send(&house, 1).await.remove(0);
    let answer = Browser::new(&house, &link).get("").await;
    assert_eq!(answer.status(), StatusCode::OK);
    let headers = answer.headers();
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["referrer-policy"], "no-referrer");
    assert_eq!(headers["x-robots-tag"], "noindex, nofollow, noarchive");
    assert!(headers.get(header::SET_COOKIE).is_none());
    let policy = headers["content-security-policy"].to_str().expect("text").to_owned();
    for part in ["default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "script-src 'self'"] {
        assert!(policy.contains(part), "{policy}");
    }
    let page = answer.text().await.expect("text");
    assert!(!page.contains("<b>7</b>") && page.contains("Order &#60;b&#62;7&#60;/b&#62;"), "{page}");
    assert!(page.contains("Acme &#38; Sons") && page.contains("<b>TEST</b>"), "{page}");
    assert!(!page.contains("style=") && !page.contains("<style") && !page.contains("onclick"), "{page}");
}

#[tokio::test]
async fn what_is_no_link_of_ours_gets_the_same_bytes() {
    let house = House::new().await;
    let link = send(&house, 1).await.remove(0);
    let strange = Link::make(&[7; 32], Id::new(SystemClock.now(), &SystemRandom), 1).expose();
    let changed = Link::make(&[8; 32], Link::parse(&link).expect("a link").id(), 1).expose();
    let mut seen = Vec::new();
    for link in [strange.as_str(), &changed, "x", "%FF", &"a".repeat(70)] {
        for to in ["", "/document", "/done", "/decline"] {
            seen.push(text(Browser::new(&house, link).get(to).await).await);
        }
        seen.push(text(Browser::new(&house, link).post("/open", &[]).await).await);
    }
    assert!(seen[0].0 == 404 && seen[0].1.contains("This link is not known"), "{:?}", seen[0]);
    assert!(seen.iter().all(|answer| answer == &seen[0]));
}

#[tokio::test]
async fn another_site_can_post_nothing() {
    let house = House::new().await;
    let link = send(&house, 1).await.remove(0);
    let browser = Browser::new(&house, &link);
    let url = house.url(&format!("/sign/{link}/open"));
    for (site, origin) in [(Some("cross-site"), Some("null")), (None, Some("https://evil.example")), (None, None)] {
        let mut request = browser.client.post(&url);
        for (name, value) in [("sec-fetch-site", site), ("origin", origin)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let (status, page) = text(request.send().await.expect("answers")).await;
        assert_eq!((status, page.contains("This did not come from our page")), (403, true));
    }
    let answer = browser.client.post(&url).header("origin", ORIGIN).send().await.expect("answers");
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let cookie = answer.headers()[header::SET_COOKIE].to_str().expect("text");
    assert!(cookie.starts_with(&format!("__Host-room-{}=", &link[..26])), "{cookie}");
    assert!(cookie.ends_with("; Path=/; Secure; HttpOnly; SameSite=Strict"), "{cookie}");
}

#[tokio::test]
async fn without_a_session_the_way_back_is_shown() {
    let house = House::new().await;
    let link = send(&house, 1).await.remove(0);
    let browser = Browser::new(&house, &link);
    for to in ["/document", "/done", "/decline"] {
        let (status, page) = text(browser.get(to).await).await;
        assert_eq!(status, 401);
        assert!(page.contains(&format!("href=\"/sign/{link}\"")), "{page}");
    }
    for to in ["/open", "/consent", "/finish"] {
        let answer = browser.get(to).await;
        assert_eq!(answer.headers()[header::LOCATION], format!("/sign/{link}/document"));
    }
    assert_eq!(browser.get("/places.css").await.status(), StatusCode::UNAUTHORIZED);
    let (status, problem) = browser.save(json!({ "version": 0, "values": {} })).await;
    assert_eq!((status.as_u16(), &problem["code"]), (401, &json!("session_required")));
}

#[tokio::test]
async fn a_recipient_reads_agrees_fills_in_and_signs_without_scripts() {
    let house = House::new().await;
    let link = send(&house, 1).await.remove(0);
    let mut browser = Browser::new(&house, &link);
    browser.open().await;
    let (status, page) = text(browser.get("/document").await).await;
    assert!(status == 200 && page.contains("What you agree to") && !page.contains("signature.text"), "{page}");
    let (status, page) = text(browser.post("/consent", &[("version", "en-1")]).await).await;
    assert!(status == 422 && page.contains("Tick the box if you agree"), "{page}");
    browser.agree().await;

    let (status, page) = text(browser.get("/document").await).await;
    assert_eq!(status, 200);
    for part in [
        "name=\"signature.text\"",
        "name=\"value.company_1\"",
        "maxlength=\"10\"",
        "name=\"value.annex_1\"",
        "Company 1",
        "Page 1 of 1 of order.pdf",
        "Date of signing",
        "2 of 2 fields left",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let (status, css) = text(browser.get("/places.css").await).await;
    assert!(status == 200 && css.contains(".s1{left:10.0000%;top:10.0000%;width:20.0000%;height:5.0000%;"), "{css}");

    let saved = browser.save(json!({ "version": 0, "values": { "company_1": "Kite" } })).await;
    assert_eq!(saved, (StatusCode::OK, json!({ "version": 1 })));
    let (status, problem) = browser.save(json!({ "version": 0, "values": {} })).await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("values_outdated")));

    let (status, page) = text(browser.post("/finish", &[("version", "1"), ("value.annex_1", "true")]).await).await;
    assert_eq!(status, 422);
    for part in ["2 things are missing", "Sign before you finish.", "This has to be filled in.", " checked"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let dot = [
        ("version", "1"),
        ("value.company_1", "<i>"),
        ("signature.kind", "drawn"),
        ("signature.strokes", "[[[0.5,0.5]]]"),
        ("signature.aspect", "3"),
    ];
    let (status, page) = text(browser.post("/finish", &dot).await).await;
    assert!(status == 422 && page.contains("a dot is not one") && page.contains("value=\"&#60;i&#62;\""), "{page}");
    let old = [("version", "0"), ("value.company_1", "Kite"), ("signature.text", "Taro")];
    let (status, page) = text(browser.post("/finish", &old).await).await;
    assert!(
        status == 409 && page.contains("changed in another window") && page.contains("name=\"version\" value=\"1\""),
        "{page}"
    );

    for _ in 0..2 {
        let now =
            [("version", "1"), ("value.company_1", "Kite"), ("signature.kind", "typed"), ("signature.text", "Taro")];
        let answer = browser.post("/finish", &now).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    }
    let (status, page) = text(browser.get("/done").await).await;
    assert!(status == 200 && page.contains("You have signed") && page.contains("/files/doc_"), "{page}");
    assert!(page.contains("https://shop.example/done?order=7&#38;event=signing_complete#top"), "{page}");
    let asks_again = page.contains("id=\"sealing\"") && page.contains("<script src=");
    assert_eq!(asks_again, page.contains("The documents are being sealed"), "{page}");
    let (status, page) = text(Browser::new(&house, &link).get("").await).await;
    assert!(status == 200 && page.contains("You have signed this already") && page.contains("/open\""), "{page}");

    let token = &link[27..];
    // The lines are written by another thread.
    let log = loop {
        let log = String::from_utf8(house.log.lock().expect("held").clone()).expect("text");
        if log.contains("/sign/{link}/finish") {
            break log;
        }
        tokio::task::yield_now().await;
    };
    assert!(!log.contains(token), "{log}");
}

#[tokio::test]
async fn each_state_has_its_page_and_its_status() {
    let house = House::new().await;
    let links = send(&house, 2).await;
    let (mut first, second) = (Browser::new(&house, &links[0]), Browser::new(&house, &links[1]));
    let (status, page) = text(second.get("").await).await;
    assert!(status == 403 && page.contains("It is not your turn yet") && page.contains("Ask Acme"), "{page}");
    let (status, page) = text(second.post("/open", &[]).await).await;
    assert!(status == 403 && page.contains("It is not your turn yet"), "{page}");

    first.agree().await;
    let (status, page) = text(first.post("/decline", &[("reason", "  ")]).await).await;
    assert!(status == 422 && page.contains("Say why"), "{page}");
    let (status, page) = text(first.post("/decline", &[("reason", &"x".repeat(501))]).await).await;
    assert!(status == 422 && page.contains("500 characters at most"), "{page}");
    assert_eq!(first.post("/decline", &[("reason", "Wrong <price>")]).await.status(), StatusCode::SEE_OTHER);
    for to in ["", "/document", "/done"] {
        let (status, page) = text(first.get(to).await).await;
        assert!(
            status == 410 && page.contains("You have declined this") && page.contains("Wrong &#60;price&#62;"),
            "{page}"
        );
    }
    let (status, page) = text(second.get("").await).await;
    assert!(status == 410 && page.contains("This was declined") && !page.contains("Wrong"), "{page}");
}

#[tokio::test]
async fn a_void_ends_an_open_session() {
    let house = House::new().await;
    let link = send(&house, 1).await.remove(0);
    let mut browser = Browser::new(&house, &link);
    browser.agree().await;
    assert_eq!(browser.get("/document").await.status(), StatusCode::OK);

    let mut tx = house.db().begin().await.expect("begins");
    let id = Link::parse(&link).expect("a link").id();
    let (scope, envelope, ..) = store::envelope::by_link(&mut tx, id).await.expect("answers").expect("known");
    let mut envelope = store::envelope::lock(&mut tx, scope, envelope).await.expect("answers").expect("stands");
    envelope.void("Wrong price", SystemClock.now()).expect("voids");
    store::envelope::save(&mut tx, &mut envelope).await.expect("saves");
    tx.commit().await.expect("commits");

    for to in ["", "/document", "/decline", "/done"] {
        let (status, page) = text(browser.get(to).await).await;
        assert!(status == 410 && page.contains("This was taken back"), "{to}: {page}");
    }
    let pairs = [("version", "0"), ("value.company_1", "Kite"), ("signature.text", "Taro")];
    for (to, pairs) in [("/open", &[][..]), ("/finish", &pairs), ("/decline", &[("reason", "late")])] {
        let answer = browser.post(to, pairs).await;
        let (status, page) = match answer.status() {
            StatusCode::SEE_OTHER => text(browser.get("/document").await).await,
            _ => text(answer).await,
        };
        assert!(status == 410 && page.contains("This was taken back"), "{to}: {page}");
    }
    let (status, problem) = browser.save(json!({ "version": 0, "values": {} })).await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("already_voided")));
    assert_eq!(browser.get("/files/doc_x.pdf").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_later_signer_sees_what_was_signed_before_and_cannot_change_it() {
    let house = House::new().await;
    let links = send(&house, 2).await;
    let (mut first, mut second) = (Browser::new(&house, &links[0]), Browser::new(&house, &links[1]));
    first.agree().await;
    let (_, page) = text(first.get("/document").await).await;
    assert!(!page.contains("<svg class=\"filled\"") && page.contains("name=\"shown\" value=\""), "{page}");
    let signed = [
        ("version", "0"),
        ("value.company_1", "<i>&\"K"),
        ("value.annex_1", "true"),
        ("signature.text", "Taro <script>"),
    ];
    assert_eq!(first.post("/finish", &signed).await.status(), StatusCode::SEE_OTHER);

    second.agree().await;
    let (status, page) = text(second.get("/document").await).await;
    assert_eq!(status, 200);
    for part in [
        "<svg class=\"filled\" viewBox=\"0 0 595.00 842.00\"",
        ">&#60;i&#62;&#38;&#34;K</text>",
        ">Taro &#60;script&#62;</text>",
        "<g class=\"script\">",
        "Company 1: &#60;i&#62;&#38;&#34;K. Filled in by Reader 1, signed on ",
        "Annex 1: ticked. Filled in by Reader 1",
        "Filled in already on page 1",
        "Date of signing: ",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("<script>") && !page.contains("value.company_1") && !page.contains("<i>&"), "{page}");

    let stale = [("version", "0"), ("shown", "00"), ("value.company_2", "Kite"), ("signature.text", "Nora")];
    assert_eq!(second.post("/finish", &stale).await.status(), StatusCode::CONFLICT);
    let shown = page.split("name=\"shown\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a digest");
    let own = [("version", "0"), ("shown", shown), ("value.company_2", "Kite"), ("signature.text", "Nora")];
    let foreign: Vec<_> = own.iter().copied().chain([("value.company_1", "Other"), ("value.sig1", "x")]).collect();
    assert_eq!(second.post("/finish", &foreign).await.status(), StatusCode::SEE_OTHER);

    let mut tx = house.db().begin().await.expect("begins");
    let id = Link::parse(&links[0]).expect("a link").id();
    let (scope, envelope, ..) = store::envelope::by_link(&mut tx, id).await.expect("answers").expect("known");
    let envelope = store::envelope::get(&mut tx, scope, envelope).await.expect("answers").expect("stands");
    let signed = envelope.recipients[1].body.signed.as_ref().expect("signed");
    assert!(signed.values.keys().all(|key| key.ends_with("_2")), "{:?}", signed.values);
    assert_eq!(signed.shown_values.as_ref().map(|shown| shown.sha256.as_str()), Some(shown));
    assert_eq!(envelope.values_so_far()["company_1"], json!("<i>&\"K"));
}

#[tokio::test]
async fn a_box_is_ticked_by_true_alone() {
    let house = House::new().await;
    let link = send(&house, 1).await.remove(0);
    let mut browser = Browser::new(&house, &link);
    browser.agree().await;
    for (value, ticked) in [("false", false), ("no", false), ("true", true), ("on", true)] {
        let (status, page) = text(browser.post("/finish", &[("version", "0"), ("value.annex_1", value)]).await).await;
        assert_eq!((status, page.contains(" checked")), (422, ticked), "{value}");
    }
}
