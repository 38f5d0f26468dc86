//! The canary: known secrets go through every success and every failure at the most talkative log level, and are then looked
//! for in everything that was written or answered. They may be in the one answer that shows each, and nowhere else.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    sync::Mutex,
    time::Duration,
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use reqwest::{Method, header::AUTHORIZATION};
use serde_json::{Value, json};
use tests::{Answer, Engine, Room, Server, fire::template, paper, smtp::MailServer, wire};

/// A filter, not a bare level: the libraries talk too.
const TALKATIVE: &[&str] = &["--log-level", "trace,iusign=trace"];

mod on_sqlite {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_secret_is_found_nowhere_but_where_it_is_shown() {
        super::a_secret_is_found_nowhere_but_where_it_is_shown(Engine::Sqlite).await;
    }
}

mod on_postgres {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_secret_is_found_nowhere_but_where_it_is_shown() {
        if Engine::postgres_is_there() {
            super::a_secret_is_found_nowhere_but_where_it_is_shown(Engine::Postgres).await;
        }
    }
}

/// A secret, in each form in which it could be written down.
struct Canary {
    name: String,
    forms: Vec<(&'static str, Vec<u8>)>,
}

impl Canary {
    fn new(name: &str, secret: &str) -> Canary {
        assert!(secret.len() >= 12, "{name} is too short to be looked for");
        let bytes = secret.as_bytes();
        let hex = |upper: bool, before: &str| {
            let one = |byte: &u8| if upper { format!("{before}{byte:02X}") } else { format!("{before}{byte:02x}") };
            bytes.iter().map(one).collect::<String>().into_bytes()
        };
        let mut forms = vec![
            ("text", bytes.to_vec()),
            ("lower case", secret.to_lowercase().into_bytes()),
            ("hex", hex(false, "")),
            ("HEX", hex(true, "")),
            ("percent", hex(true, "%")),
            ("percent, lower case", hex(false, "%")),
        ];
        // In base64 the letters depend on where the secret begins within three bytes; what its neighbours touch is cut off.
        for shift in 0..3_usize {
            let mut shifted = vec![0; shift];
            shifted.extend(bytes);
            for (form, text) in
                [("base64", STANDARD_NO_PAD.encode(&shifted)), ("base64url", URL_SAFE_NO_PAD.encode(&shifted))]
            {
                let whole = text.len() - (if shifted.len().is_multiple_of(3) { 0 } else { 1 });
                let inner = &text[(shift * 8).div_ceil(6)..whole];
                forms.push((form, inner.as_bytes().to_vec()));
            }
        }
        Canary { name: name.to_owned(), forms }
    }

    /// In which form it is there.
    fn in_bytes(&self, bytes: &[u8]) -> Option<&'static str> {
        self.forms.iter().find(|(_, form)| has(bytes, form)).map(|(name, _)| *name)
    }
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    let Some((first, rest)) = part.split_first() else { return true };
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| byte == first) {
        let next = from + at + 1;
        if bytes[next..].starts_with(rest) {
            return true;
        }
        from = next;
    }
    false
}

/// What was answered, for a look at it once every secret is known.
#[derive(Default)]
struct Answers(Mutex<Vec<(String, Vec<u8>)>>);

impl Answers {
    fn keep(&self, answer: Answer) -> Answer {
        let whole = format!("{:?}\n{}", answer.headers, answer.text());
        self.0.lock().expect("no panic").push((answer.asked.clone(), whole.into_bytes()));
        answer
    }

    fn keep_text(&self, asked: &str, text: String) {
        self.0.lock().expect("no panic").push((asked.to_owned(), text.into_bytes()));
    }
}

/// The part of a secret key that is secret.
fn heart(key: &str) -> &str {
    &key[key.len() - 49..key.len() - 6]
}

/// The part of a signing link that is secret.
fn token(link: &str) -> &str {
    link.rsplit_once('-').expect("a link").1
}

async fn a_secret_is_found_nowhere_but_where_it_is_shown(engine: Engine) {
    let mails = MailServer::start(false);
    let port = mails.port.to_string();
    let smtp = ["--smtp-host", "127.0.0.1", "--smtp-port", &port, "--smtp-from", "sign@example.com", "--smtp-plain"];
    let server = Server::start_with(engine, &[TALKATIVE, &smtp].concat()).await;
    let answers = Answers::default();
    let api = server.api();
    let made = api.post("/v1/keys", json!({ "label": "Canary" })).await.expect(201);
    let second = made["secret"].as_str().expect("a secret").to_owned();
    let (_, production) = server.key_of(&server.tenant, "production", None).await;

    let mut canaries = Vec::new();
    for (name, key) in [("the first key", &server.key), ("a second key", &second), ("production's key", &production)] {
        canaries.push(Canary::new(name, heart(key)));
    }
    let password = server.ready["owner"]["password"].as_str().expect("a password");
    canaries.push(Canary::new("the owner's password", password));
    wrong_uses(&server, &second, &answers).await;
    let mut links = live(&server, &answers).await;
    for (address, link) in mailed(&server, &production, &mails, &answers).await {
        links.push((format!("the link that was mailed to {address}"), token(&link).to_owned()));
    }
    canaries.extend(invited(&server, &production, &mails, &answers).await);
    canaries.extend(links.iter().map(|(name, secret)| Canary::new(name, secret)));
    read_everything(&server, &answers).await;
    wrong_links(&server, &links, &answers).await;
    let id = made["id"].as_str().expect("an id");
    answers.keep(api.post(&format!("/v1/keys/{id}/revoke"), json!({ "reason": "compromised" })).await).expect(200);
    answers.keep(server.api_with(&second).get("/v1/me").await).refused(401, "revoked_key");
    answers.keep(server.api_with(&production).get("/v1/me").await).expect(200);

    look(server, &canaries, &answers);
}

/// Somebody is invited and joins: the link, which its page alone shows, and the password.
async fn invited(server: &Server, production: &str, mails: &MailServer, answers: &Answers) -> [Canary; 2] {
    let password = "a canary in the coal mine";
    let api = server.api_with(production);
    answers.keep(api.post("/v1/users", json!({ "email": "ines@example.com", "role": "admin" })).await).expect(201);
    let text = loop {
        let text = mails.mail()["text"].as_str().expect("a text").to_owned();
        if text.contains("/invite/") {
            break text;
        }
    };
    let at = text.find("/invite/").expect("a link");
    let link = text[at..].split_whitespace().next().expect("a link").to_owned();
    let page = Room::new(server, &link);
    assert_eq!(page.get("").await.status, 200);
    assert_eq!(page.post("", &[("name", "Ines"), ("password", password), ("again", "other")]).await.status, 422);
    let joining = [("name", "Ines"), ("password", password), ("again", password)];
    assert_eq!(answers.keep(page.post("", &joining).await).status, 200);
    assert_eq!(answers.keep(page.post("", &joining).await).status, 404);
    answers.keep(api.get("/v1/users").await).expect(200);
    answers.keep(api.get("/v1/audit").await).expect(200);
    [Canary::new("an invitation's link", token(&link)), Canary::new("a password that was chosen", password)]
}

/// Looks for each secret in what was answered, while the server runs and after it has stopped.
fn look(mut server: Server, canaries: &[Canary], answers: &Answers) {
    let mut found = Vec::new();
    let mut looked = 0;
    let mut search = |place: &str, bytes: &[u8]| {
        looked += bytes.len();
        for canary in canaries {
            if let Some(form) = canary.in_bytes(bytes) {
                found.push(format!("{} as {form} in {place}", canary.name));
            }
        }
    };
    let kept = answers.0.lock().expect("no panic");
    for (asked, bytes) in kept.iter() {
        search(&format!("the answer to {asked}"), bytes);
    }
    for name in ["cmdline", "environ"] {
        search(name, &fs::read(format!("/proc/{}/{name}", server.pid())).expect("its own user's process"));
    }
    for (name, bytes) in server.everything_written() {
        search(&format!("{name} while it runs"), &bytes);
    }
    assert!(server.stop(), "it stops well");
    let written = server.everything_written();
    for (name, bytes) in &written {
        search(&format!("{name} after its end"), bytes);
    }
    assert!(found.is_empty(), "secrets lie about:\n{}", found.join("\n"));
    // The search would find: what is no secret is there, in the log and in the database.
    let log = server.log();
    let dropped = log.lines().filter(|line| line.contains("lines were dropped")).count();
    eprintln!("the log has {} lines, {dropped} times some were dropped", log.lines().count());
    for level in [" TRACE ", " DEBUG ", " WARN "] {
        assert!(log.contains(level), "the log is not talkative: no {level}");
    }
    let key = server.key.split('_').nth(2).expect("the key's id");
    assert!(log.contains(&format!("key_{key}")), "the log does not name the key");
    let title = Canary::new("a title", "No secret 4711");
    let database = |name: &str| name == "pg_dump" || name.contains("iusign.db");
    let in_database = written.iter().any(|(name, bytes)| database(name) && title.in_bytes(bytes).is_some());
    assert!(in_database, "the search finds nothing in the database");
    println!(
        "canary, {:?}: {} secrets in {} forms; {} answers, {} files, a log of {} lines ({dropped} times some were dropped), {:.1} MB \
         looked through: found nowhere",
        server.engine,
        canaries.len(),
        canaries.iter().map(|canary| canary.forms.len()).sum::<usize>(),
        kept.len(),
        written.len(),
        log.lines().count(),
        looked as f64 / 1e6
    );
}

/// A key in every place where it does not belong.
async fn wrong_uses(server: &Server, key: &str, answers: &Answers) {
    let all = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let client = server.client(|builder| builder.http1_only());
    let stranger = server.stranger_from(77);
    for path in [
        format!("/v1/me?access_token={key}"),
        format!("/v1/me?api_key={key}"),
        format!("/v1/me?api_key={}", all(key)),
        format!("/v1/keys/{key}"),
        format!("/v1/{}", all(key)),
        format!("/sign/{key}"),
        format!("/{key}"),
        format!("/docs?{key}"),
    ] {
        for caller in [&stranger, &server.api_with(key)] {
            let answer = caller.send(Method::GET, &path, None, "").await;
            assert!(answer.status >= 400 || path.starts_with("/docs"), "{} for {}", answer.status, path.len());
            answers.keep(Answer { asked: "a key in the URL".to_owned(), ..answer });
        }
    }
    let flip = if key.ends_with('0') { "1" } else { "0" };
    let basic = |text: String| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text));
    let values = [
        basic(format!("{key}:")),
        basic(format!("user:{key}")),
        format!("Bearer {}{flip}", &key[..key.len() - 1]),
        format!("Bearer {key} {key}"),
        format!("Bearer {key},"),
        format!("Bearer\t{key}"),
        format!("Token {key}"),
        key.to_owned(),
        format!("Bearer {}", key.to_lowercase()),
        format!("Bearer {}", key.repeat(40)),
    ];
    for (at, value) in (100..).zip(&values) {
        for http in [stranger_of(server, at), client.clone()] {
            let asked = "a malformed Authorization header";
            let answer =
                http.get(format!("{}/v1/me", server.url)).header(AUTHORIZATION, value).send().await.expect("answered");
            keep(answers, asked, answer, 401).await;
        }
    }
    let two = client.get(format!("{}/v1/me", server.url));
    let two = two.header(AUTHORIZATION, format!("Bearer {key}")).header(AUTHORIZATION, format!("Bearer {key}"));
    keep(answers, "two Authorization headers", two.send().await.expect("answered"), 401).await;

    let own = server.api_with(key);
    for (kind, body) in [
        ("application/json", format!("{{\"label\": \"{key}")),
        ("application/json", format!("{{\"label\": \"x\", \"scopes\": [\"{key}\"]}}")),
        ("application/json", json!({ "label": key.repeat(5) }).to_string()),
        ("text/plain", key.to_owned()),
        ("application/x-www-form-urlencoded", format!("access_token={key}")),
    ] {
        let answer = own.send(Method::POST, "/v1/keys", Some(kind), body).await;
        assert!(answer.status >= 400, "{kind}: {}", answer.text());
        answers.keep(Answer { asked: format!("a key in a body of {kind}"), ..answer });
    }
    let host = server.url.strip_prefix("https://").expect("https");
    let request =
        format!("GET /v1/me HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n");
    let answer = plain(host, &request);
    assert!(answer.contains("insecure_transport"), "{answer}");
    answers.keep_text("plain HTTP", answer);
    for version in ["TLSv1_2", "TLSv1_3"] {
        answers.keep_text(version, wire::exchange(server, version, &request));
    }
    // What is no HTTP at all, over TLS.
    answers.keep_text("no HTTP", wire::exchange(server, "TLSv1_3", &format!("{key}\r\n\r\n")));
    answers.keep_text("a broken head", wire::exchange(server, "TLSv1_3", &format!("GET / HTTP/1.1\r\n{key}\r\n\r\n")));
}

fn stranger_of(server: &Server, last: u8) -> reqwest::Client {
    server.client(|builder| builder.local_address(std::net::IpAddr::from([127, 0, 0, last])))
}

async fn keep(answers: &Answers, asked: &str, answer: reqwest::Response, status: u16) {
    let (got, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = answer.bytes().await.expect("a body");
    let answer = answers.keep(Answer { status: got, headers, body, asked: asked.to_owned() });
    assert_eq!(answer.status, status, "{asked}: {}", answer.text());
}

/// One exchange without TLS.
fn plain(host: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(host).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    stream.write_all(request.as_bytes()).expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read");
    answer
}

/// A whole life: signed, declined, voided, with mails and faults. The links' tokens and the sessions' cookies, by name.
async fn live(server: &Server, answers: &Answers) -> Vec<(String, String)> {
    let api = server.api();
    let document = answers.keep(api.upload("contract.pdf", paper::sample()).await).expect(201);
    let document = document["id"].as_str().expect("an id");
    answers.keep(api.upload("broken.pdf", paper::PNG.to_vec()).await);
    let create = |title: &str| {
        let mut body = paper::for_two(document);
        body["title"] = json!(title);
        body["recipients"][1]["order"] = json!(1);
        body
    };
    let mut secrets = Vec::new();
    let signed = answers.keep(api.post("/v1/envelopes", create("No secret 4711")).await).expect(201);
    let signed = signed["id"].as_str().expect("an id");
    for (email, name, values) in [
        ("taro@example.com", "Taro Yamada", &[("client_name", "Taro"), ("client_company", "Kestrel")][..]),
        ("nora@example.com", "Nora Wind", &[("provider_title", "Director")][..]),
    ] {
        let link = api.link(signed, email).await;
        secrets.push((format!("the link of {email}"), token(&link).to_owned()));
        let mut room = Room::new(server, &link);
        room.get("").await;
        secrets.push((format!("the session of {email}"), open(&mut room).await));
        room.consent().await;
        room.save(json!({ "version": 0, "values": { "client_company": "Kestrel" } })).await;
        room.finish("", &[]).await;
        room.sign(name, values).await;
        room.get(&format!("/files/{document}.pdf")).await;
        // The page's own address stands in it; nobody else's does, nor a key.
        for to in ["", "/document", "/done"] {
            let page = room.get(to).await.text().replace(token(&link), "");
            answers.keep_text(&format!("the room of {email}"), page);
        }
    }
    answers.keep_text("completed", api.wait_for(signed, "envelope.completed").await.to_string());

    let declined = answers.keep(api.post("/v1/envelopes", create("To be declined")).await).expect(201);
    let declined = declined["id"].as_str().expect("an id");
    let link = api.link(declined, "taro@example.com").await;
    secrets.push(("the link of who declines".to_owned(), token(&link).to_owned()));
    let mut room = Room::new(server, &link);
    secrets.push(("the session of who declines".to_owned(), open(&mut room).await));
    room.consent().await;
    room.post("/decline", &[("reason", "")]).await;
    room.post("/decline", &[("reason", "The term is too long")]).await;
    let voided = answers.keep(api.post("/v1/envelopes", create("To be voided")).await).expect(201);
    let voided = voided["id"].as_str().expect("an id");
    secrets
        .push(("the link of what is voided".to_owned(), token(&api.link(voided, "taro@example.com").await).to_owned()));
    answers
        .keep(api.post(&format!("/v1/envelopes/{voided}/void"), json!({ "reason": "A wrong price" })).await)
        .expect(200);
    answers.keep(api.post("/v1/envelopes", json!({ "title": 1, "recipients": {} })).await);
    secrets.push(("the link of a batch's row".to_owned(), batch(server, answers).await));
    secrets
}

/// A batch with a row that is sent, after one with a fault: the token of its link.
async fn batch(server: &Server, answers: &Answers) -> String {
    let api = server.api();
    let body = json!({ "name": "Canary", "template": { "id": template(&api).await }, "on_invalid": "skip" });
    let batch = answers.keep(api.post("/v1/batches", body).await).expect(201);
    let path = format!("/v1/batches/{}", batch["id"].as_str().expect("an id"));
    let rows =
        "Client.name,Client.email,values.client_company\nTaro,no address,Kestrel\nTaro,row@example.com,Kestrel\n";
    answers.keep(api.put(&format!("{path}/rows"), "text/csv; charset=utf-8", rows).await).expect(200);
    answers.keep(api.get(&format!("{path}/errors.csv")).await);
    answers.keep(api.post_empty(&format!("{path}/start")).await).expect(200);
    let mut after = String::new();
    while answers.keep(api.get(&path).await).expect(200)["status"] != json!("completed") {
        let page = answers.keep(api.get(&format!("/v1/events?limit=500&wait=5{after}")).await).expect(200);
        after = format!("&after={}", page["next"].as_str().expect("a cursor"));
    }
    let rows = answers.keep(api.get(&format!("{path}/rows")).await).expect(200);
    let envelope = rows["data"][1]["envelope_id"].as_str().expect("the second row's envelope").to_owned();
    token(&api.link(&envelope, "row@example.com").await).to_owned()
}

/// Production's mails go out by SMTP, one at once and one at the second try: the addresses and their links.
async fn mailed(server: &Server, key: &str, mails: &MailServer, answers: &Answers) -> Vec<(String, String)> {
    let api = server.api_with(key);
    let document = answers.keep(api.upload("contract.pdf", paper::sample()).await).expect(201);
    let document = document["id"].as_str().expect("an id");
    for address in ["prompt@example.com", "later@example.com"] {
        let made = answers.keep(api.post("/v1/envelopes", paper::for_one(document, address)).await).expect(201);
        let id = made["id"].as_str().expect("an id");
        answers.keep_text("notified", api.wait_for(id, "recipient.notified").await.to_string());
        answers.keep(api.get(&format!("/v1/envelopes/{id}")).await).expect(200);
    }
    answers.keep(api.get("/v1/mail").await).refused(404, "not_found");
    let links = [mails.mail(), mails.mail()].map(|mail| {
        let text = mail["text"].as_str().expect("a text");
        let link = text[text.find("/sign/").expect("a link")..].split_whitespace().next().expect("a link").to_owned();
        (mail["to"][0].as_str().expect("an address").to_owned(), link)
    });
    links.into()
}

/// Opens the room: its session's token.
async fn open(room: &mut Room) -> String {
    let answer = room.post("/open", &[]).await;
    let cookie = answer.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
    let (_, session) = cookie.split_once('=').expect("a cookie");
    let session = session.to_owned();
    room.open().await;
    session
}

/// A link in every place where it does not belong.
async fn wrong_links(server: &Server, secrets: &[(String, String)], answers: &Answers) {
    let api = server.api();
    let links = secrets.iter().filter(|(name, _)| name.starts_with("the link"));
    for (_, secret) in links {
        let unknown = format!("/sign/00000000000000000000000000-{secret}");
        for (path, asked) in [
            (unknown.clone(), "a token under another link"),
            (format!("{unknown}/open"), "a token under another link"),
            (format!("/sign/{secret}"), "a token alone"),
            (format!("/v1/me?link={secret}"), "a token at the API"),
            (format!("/{secret}"), "a token nowhere"),
        ] {
            let answer = api.send(Method::GET, &path, None, "").await;
            assert!(answer.status >= 300 || path.starts_with("/v1/"), "{asked}: {}", answer.status);
            // A redirect may name the address that was asked for.
            let text = format!("{:?}\n{}", answer.headers, answer.text()).replace(&unknown, "");
            answers.keep_text(asked, text);
        }
        let room = Room::new(server, &unknown);
        answers.keep(room.post("/finish", &[("signature.text", secret)]).await);
        let answer = api.with("referer", &format!("{}{unknown}", server.url)).get("/v1/me").await;
        answers.keep(answer);
    }
}

/// Everything that a key may read but the mails' words, which show the links.
async fn read_everything(server: &Server, answers: &Answers) {
    let api = server.api();
    let ids = |page: &Value| -> Vec<String> {
        page["data"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|item| item["id"].as_str().map(str::to_owned))
            .collect()
    };
    for path in ["/v1/me", "/v1/audit?limit=100", "/v1/events?limit=500", "/v1/mail", "/openapi.json", "/docs"] {
        let answer = answers.keep(api.get(path).await);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    for list in ["/v1/keys", "/v1/envelopes", "/v1/templates", "/v1/batches"] {
        let page = answers.keep(api.get(&format!("{list}?limit=100")).await).expect(200);
        for id in ids(&page) {
            answers.keep(api.get(&format!("{list}/{id}")).await).expect(200);
            if list == "/v1/envelopes" {
                let assets = answers.keep(api.get(&format!("{list}/{id}/assets")).await).expect(200);
                for asset in ids(&assets) {
                    answers.keep(api.get(&format!("{list}/{id}/assets/{asset}")).await);
                }
            }
        }
    }
    for arguments in [&["me", "--json"][..], &["keys", "list"], &["doctor"], &["envelopes", "list", "--json"]] {
        let output = server.iusign(arguments);
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        answers.keep_text(&format!("iusign {arguments:?}"), text);
    }
    answers.keep_text("iusign admin", server.admin(&["users", "list"]).to_string());
}
