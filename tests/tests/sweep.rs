//! A fault at every sync of an envelope's life: SIGKILL, EIO, a full disk. Nothing acknowledged is lost, nothing is done twice,
//! nothing stands still, and every chain holds.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use reqwest::{RequestBuilder, header, redirect};
use serde_json::{Value, json};
use tests::{
    Engine, Server,
    faults::{Fault, Faults},
    fire::{all_events, chain_holds, dense, number, scale},
    paper,
    room::{form, hidden},
};

/// How long one life may take, restarts included.
const LIFE_MS_MAX: u128 = 180_000;
/// Points at which each fault comes in the short run.
const POINTS: usize = 4;

macro_rules! swept {
    ($($name:ident $engine:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            if Engine::$engine == Engine::Sqlite || Engine::postgres_is_there() {
                sweep(Engine::$engine).await;
            }
        })*
    };
}

swept! {
    no_fault_at_any_sync_loses_or_doubles_anything_on_sqlite Sqlite
    no_fault_at_any_sync_loses_or_doubles_anything_on_postgres Postgres
}

/// A server under faults, and a client that never gives up: an answer that is none is asked for again.
struct World {
    server: Server,
    faults: Faults,
    client: reqwest::Client,
    restarts: usize,
    refusals: usize,
}

impl World {
    /// Asks until there is an answer with one of these statuses.
    async fn ask(&mut self, wanted: &[u16], request: impl Fn(&World) -> RequestBuilder) -> reqwest::Response {
        let began = Instant::now();
        let mut last = String::new();
        while began.elapsed().as_millis() < LIFE_MS_MAX {
            match request(self).send().await {
                Ok(answer) if wanted.contains(&answer.status().as_u16()) => return answer,
                Ok(answer) => {
                    let status = answer.status().as_u16();
                    last = format!("{status}: {}", answer.text().await.unwrap_or_default());
                    assert!(status >= 500, "{last}");
                    self.refusals += 1;
                    // The operator makes room.
                    self.faults.end();
                }
                Err(error) => last = format!("{error:?}"),
            }
            self.revive();
        }
        panic!("no answer: {last}")
    }

    async fn json(&mut self, wanted: u16, request: impl Fn(&World) -> RequestBuilder) -> Value {
        loop {
            let answer = self.ask(&[wanted], &request).await;
            // The server may be killed between the head and the end of an answer.
            if let Ok(body) = answer.bytes().await {
                return serde_json::from_slice(&body).expect("JSON");
            }
            self.revive();
        }
    }

    fn revive(&mut self) {
        if self.server.has_ended() {
            self.server.kill();
            self.server.start_again();
            self.restarts += 1;
        }
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.server.url)).bearer_auth(&self.server.key)
    }

    fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        let request = self.client.post(format!("{}{path}", self.server.url)).bearer_auth(&self.server.key);
        request.header(header::CONTENT_TYPE, "application/json").body(body.to_string())
    }

    fn form(&self, path: &str, cookie: &str, pairs: &[(&str, &str)]) -> RequestBuilder {
        let request = self.client.post(format!("{}{path}", self.server.url)).header("sec-fetch-site", "same-origin");
        let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(form(pairs));
        request.header(header::ORIGIN, "null").header(header::COOKIE, cookie)
    }

    /// The one envelope with this external id; made unless it is there.
    async fn create(&mut self, external_id: &str) -> String {
        let pdf = paper::sample();
        let document = self
            .json(201, |world| {
                let request = world.client.post(format!("{}/v1/documents?filename=a.pdf", world.server.url));
                let request = request.bearer_auth(&world.server.key).header(header::CONTENT_TYPE, "application/pdf");
                request.body(pdf.clone())
            })
            .await;
        let mut body = paper::for_one(document["id"].as_str().expect("an id"), "taro@example.com");
        body["external_id"] = json!(external_id);
        body["send"] = json!(true);
        // 409: an answer was lost on its way, and what it told of stands.
        self.ask(&[201, 409], |world| world.post("/v1/envelopes", &body)).await;
        let page = self.json(200, |world| world.get(&format!("/v1/envelopes?external_id={external_id}"))).await;
        let found = page["data"].as_array().expect("a list");
        assert_eq!(found.len(), 1, "{page}");
        found[0]["id"].as_str().expect("an id").to_owned()
    }

    /// The link in the one mail about this envelope: captured with it, so it is there as soon as the envelope is.
    async fn link(&mut self, id: &str) -> String {
        let mails = self.json(200, |world| world.get(&format!("/v1/mail?envelope={id}"))).await;
        let invites: Vec<_> = mails["data"].as_array().expect("a list").clone();
        assert_eq!(invites.len(), 1, "{mails}");
        let mail = invites[0]["id"].as_str().expect("an id");
        let mail = self.json(200, |world| world.get(&format!("/v1/mail/{mail}"))).await;
        let text = mail["text"].as_str().expect("a text");
        text[text.find("/sign/").expect("a link")..].split_whitespace().next().expect("a link").to_owned()
    }

    async fn sign(&mut self, link: &str) {
        let opened = self.ask(&[303], |world| world.form(&format!("{link}/open"), "", &[])).await;
        let cookie =
            opened.headers()["set-cookie"].to_str().expect("text").split(';').next().expect("a pair").to_owned();
        let page = async |world: &mut World| {
            let path = format!("{link}/document");
            let asked = |world: &World| {
                world.client.get(format!("{}{path}", world.server.url)).header(header::COOKIE, cookie.clone())
            };
            loop {
                if let Ok(text) = world.ask(&[200, 303], asked).await.text().await {
                    return text;
                }
                world.revive();
            }
        };
        let version = hidden(&page(self).await, "version").expect("the consent's version");
        let pairs = [("version", version.as_str()), ("agree", "yes")];
        self.ask(&[303], |world| world.form(&format!("{link}/consent"), &cookie, &pairs)).await;
        let version = hidden(&page(self).await, "version").unwrap_or_default();
        let pairs = [
            ("version", version.as_str()),
            ("signature.kind", "typed"),
            ("signature.text", "Taro Yamada"),
            ("value.client_name", "Taro Yamada"),
            ("value.client_company", "Kestrel"),
        ];
        self.ask(&[303], |world| world.form(&format!("{link}/finish"), &cookie, &pairs)).await;
    }

    /// Waits until it is sealed, and fetches the files.
    async fn fetch(&mut self, id: &str) {
        let began = Instant::now();
        loop {
            assert!(
                began.elapsed().as_millis() < LIFE_MS_MAX,
                "{id} is not sealed: {:?}",
                self.server.sql("SELECT * FROM jobs")
            );
            let path = format!("/v1/events?limit=10&wait=3&envelope={id}&types=envelope.completed");
            let page = self.json(200, |world| world.get(&path)).await;
            if page["data"].as_array().is_some_and(|events| !events.is_empty()) {
                break;
            }
            // Sealing has nobody to refuse: room is made when it does not come on.
            if self.faults.came() {
                self.faults.end();
            }
        }
        let assets = self.json(200, |world| world.get(&format!("/v1/envelopes/{id}/assets"))).await;
        let assets = assets["data"].as_array().expect("a list").clone();
        assert_eq!(assets.len(), 4, "{assets:?}");
        for asset in &assets {
            let path = format!("/v1/envelopes/{id}/assets/{}", asset["id"].as_str().expect("an id"));
            loop {
                let answer = self.ask(&[200], |world| world.get(&path)).await;
                if let Ok(file) = answer.bytes().await {
                    assert_eq!(json!(file.len()), asset["size"], "{asset}");
                    break;
                }
                self.revive();
            }
        }
    }

    async fn live(&mut self, external_id: &str) -> String {
        let id = self.create(external_id).await;
        let link = self.link(&id).await;
        self.sign(&link).await;
        self.fetch(&id).await;
        id
    }
}

async fn sweep(engine: Engine) {
    let began = Instant::now();
    let faults = Faults::new();
    let server = Server::start_in(engine, &[], faults.environment()).await;
    let timeout = Duration::from_secs(60);
    let client = server.client(|builder| builder.redirect(redirect::Policy::none()).timeout(timeout));
    let mut world = World { server, faults, client, restarts: 0, refusals: 0 };
    let before = world.faults.syncs();
    let mut lives = vec![world.live("clean").await];
    let all = world.faults.syncs() - before;
    assert!(all > 3, "only {all} syncs were seen: is the library loaded?");
    let points = scale(POINTS.min(usize::try_from(all).expect("small")), usize::try_from(all).expect("small"));
    let mut came = BTreeMap::new();
    for fault in [Fault::Kill, Fault::Eio, Fault::FullDisk] {
        for point in 0..points {
            let nth = 1 + i64::try_from(point).expect("small") * all / i64::try_from(points).expect("small");
            world.faults.at(nth, fault);
            lives.push(world.live(&format!("{fault:?}-{nth}")).await);
            *came.entry(format!("{fault:?}")).or_insert(0) += usize::from(world.faults.came());
            world.faults.end();
            world.revive();
        }
    }
    each_happened_once(&world, &lives).await;
    println!(
        "sweep, {engine:?}: {} lives of {all} syncs, {points} points of each fault, came {came:?}; {} restarts, {} requests refused; \
         none lost, none twice; {:.1} s",
        lives.len(),
        world.restarts,
        world.refusals,
        began.elapsed().as_secs_f64()
    );
}

async fn each_happened_once(world: &World, lives: &[String]) {
    let api = world.server.api();
    for id in lives {
        assert_eq!(api.envelope(id).await["status"], json!("completed"));
        let events = api.events_of(id).await;
        let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().expect("a type")).collect();
        let once = [
            "envelope.created",
            "envelope.sent",
            "recipient.notified",
            "recipient.viewed",
            "recipient.consented",
            "recipient.completed",
            "envelope.signed",
        ];
        assert_eq!(kinds[..once.len()], once, "{id}");
        // Between: only what sealing failed of, once for each reason.
        assert_eq!(kinds.iter().filter(|kind| **kind == "envelope.completed").count(), 1, "{kinds:?}");
        assert_eq!(kinds.last(), Some(&"envelope.completed"), "{kinds:?}");
        dense(events.iter().map(|event| number(event, "envelope_seq")), id);
        chain_holds(&api.get(&format!("/v1/envelopes/{id}/assets/audit")).await.expect(200));
    }
    dense(all_events(&api).await.iter().map(|event| number(event, "seq")), "seq");
    let envelopes = world.server.sql("SELECT count(*) FROM envelopes");
    assert_eq!(envelopes, [lives.len().to_string()], "an envelope too many or too few");
    assert_eq!(
        world.server.sql("SELECT count(*) FROM jobs WHERE kind IN ('seal', 'mail')"),
        ["0"],
        "work is left over"
    );
}
