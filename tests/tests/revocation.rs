//! Strict revocation, under load: whatever is sent after a yes has become a no was answered is refused, on every node.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Instant,
};

use model::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{
    Api, Engine, Server, both_engines,
    fire::{Nodes, number, of_template, scale, template},
    paper,
};
use tokio::sync::Semaphore;

both_engines! {
    nothing_sent_after_a_revocation_was_answered_passes
    nothing_sent_after_a_right_was_taken_passes
    a_batch_of_a_revoked_key_makes_no_envelope_after_the_answer
    a_long_poll_of_a_revoked_key_tells_nothing_more
    an_upload_under_way_when_its_key_is_revoked_leaves_nothing
}

/// The hammer is one that finds something: without the triggers that replace the epoch the gate remembers, as one would
/// that caches for a while, and requests that were sent after the answer pass.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_that_remembers_is_found_out() {
    if !Engine::postgres_is_there() {
        return;
    }
    let server = Server::start(Engine::Postgres).await;
    let nodes = Nodes::of(&server);
    let hammer = Hammer::new(&server, &nodes).await;
    let key = server.api().post("/v1/keys", json!({ "label": "Remembered" })).await.expect(201);
    let text = |name: &str| key[name].as_str().expect("a text");
    for table in ["keys", "secrets"] {
        server.sql(&format!("ALTER TABLE {table} DISABLE TRIGGER {table}_epoch"));
    }
    let revoke = async { server.operator("/keys/revoke", json!({ "key": text("id") })).await };
    let (reads, _, answered, _) = hammer.attack(text("secret"), revoke).await;
    let mut read = Tally::default();
    read.count(&reads, answered);
    assert!(read.passed_after > 0, "the hammer would find nothing: {read:?}");
}

/// Connections that ask `GET /v1/me` without a pause.
const CONNECTIONS: usize = 64;
/// Loops that create envelopes beside them.
const CREATORS: usize = 4;
/// Requests that have passed before the right is taken away.
const PASSED_BEFORE: u32 = 256;
/// Envelopes that were created before it is.
const CREATED_BEFORE: u32 = 4;
/// Requests that each connection still sends after the answer.
const SENT_AFTER: usize = 3;

/// Connections that are kept alive: each a client of its own that speaks HTTP/1.1 to one node.
struct Hammer {
    readers: Vec<Api>,
    creators: Vec<Api>,
    template: String,
}

/// One attack: what all its connections share.
struct Attack {
    /// When the answer had been received.
    answered: OnceLock<Instant>,
    passed: Semaphore,
    created: Semaphore,
}

/// A request: when it was sent, and how it was answered.
type Shot = (Instant, u16);

#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    refused_before: usize,
    refused_after: usize,
    passed_after: usize,
}

impl Hammer {
    async fn new(server: &Server, nodes: &Nodes) -> Hammer {
        let connect = |turn: usize| {
            let client = server.client(|builder| builder.http1_only().pool_max_idle_per_host(1));
            Api::new(client, nodes.url(turn), None)
        };
        Hammer {
            readers: (0..CONNECTIONS).map(connect).collect(),
            creators: (0..CREATORS).map(connect).collect(),
            template: template(&server.api()).await,
        }
    }

    /// Hammers with the key until `take_away`, which is called once enough has passed, was answered, and a little longer.
    /// The shots at `GET /v1/me`, those at `POST /v1/envelopes`, when the answer was received, and what it was.
    async fn attack<T>(&self, secret: &str, take_away: impl Future<Output = T>) -> (Vec<Shot>, Vec<Shot>, Instant, T) {
        let attack = Attack { answered: OnceLock::new(), passed: Semaphore::new(0), created: Semaphore::new(0) };
        let attack = Arc::new(attack);
        let bearer = format!("Bearer {secret}");
        let spawn = |api: &Api, method: Method, path: &'static str, body: Option<String>| {
            let (attack, api) = (attack.clone(), api.with("authorization", &bearer));
            tokio::spawn(async move { attack.run(&api, method, path, body).await })
        };
        let body = of_template(&self.template, "taro@example.com").to_string();
        let readers: Vec<_> = self.readers.iter().map(|api| spawn(api, Method::GET, "/v1/me", None)).collect();
        let create = |api| spawn(api, Method::POST, "/v1/envelopes", Some(body.clone()));
        let creators: Vec<_> = self.creators.iter().map(create).collect();
        attack.passed.acquire_many(PASSED_BEFORE).await.expect("open").forget();
        attack.created.acquire_many(CREATED_BEFORE).await.expect("open").forget();
        let answer = take_away.await;
        let answered = *attack.answered.get_or_init(Instant::now);
        let (mut read, mut created) = (Vec::new(), Vec::new());
        for task in readers {
            read.extend(task.await.expect("a connection's shots"));
        }
        for task in creators {
            created.extend(task.await.expect("a creator's shots"));
        }
        (read, created, answered, answer)
    }
}

impl Attack {
    async fn run(&self, api: &Api, method: Method, path: &str, body: Option<String>) -> Vec<Shot> {
        let (mut shots, mut after) = (Vec::new(), 0);
        let count = if method == Method::GET { &self.passed } else { &self.created };
        while after < SENT_AFTER {
            let sent = Instant::now();
            let kind = body.as_ref().map(|_| "application/json");
            let answer = api.send(method.clone(), path, kind, body.clone().unwrap_or_default()).await;
            shots.push((sent, answer.status));
            if answer.status < 300 {
                count.add_permits(1);
            }
            after += usize::from(self.answered.get().is_some_and(|answered| sent > *answered));
        }
        shots
    }
}

impl Tally {
    fn count(&mut self, shots: &[Shot], answered: Instant) {
        for (sent, status) in shots {
            match (*status < 300, *sent > answered) {
                (true, false) => self.passed += 1,
                (true, true) => self.passed_after += 1,
                (false, false) => self.refused_before += 1,
                (false, true) => self.refused_after += 1,
            }
        }
    }

    /// Adds the shots. All that were sent after the answer have to have been refused with this status; those before
    /// passed, or were refused like this.
    #[track_caller]
    fn add(&mut self, shots: &[Shot], answered: Instant, refusal: u16) {
        self.count(shots, answered);
        let mut others = BTreeMap::new();
        for (_, status) in shots.iter().filter(|(_, status)| *status >= 300 && *status != refusal) {
            *others.entry(*status).or_insert(0) += 1;
        }
        assert_eq!(self.passed_after, 0, "passed although sent after the answer");
        assert!(others.is_empty(), "answers that are neither yes nor {refusal}: {others:?}");
    }
}

fn envelopes(server: &Server) -> usize {
    server.sql("SELECT count(*) FROM envelopes")[0].parse().expect("a number")
}

/// When the newest envelope took its number, by the server's clock.
fn newest_envelope_ms(server: &Server) -> i64 {
    server.sql("SELECT max(created_at) FROM events WHERE type = 'envelope.created'")[0].parse().expect("a number")
}

/// Attacks with a key until it is revoked, and counts.
async fn revoke_under_fire(
    server: &Server,
    hammer: &Hammer,
    (read, created): (&mut Tally, &mut Tally),
    (id, secret): (&str, &str),
    revoke: impl Future<Output = Value>,
) -> usize {
    let before = envelopes(server);
    let take_away = async {
        let receipt = revoke.await;
        (receipt, envelopes(server))
    };
    let (reads, creations, answered, (receipt, at_answer)) = hammer.attack(secret, take_away).await;
    assert_eq!((&receipt["key"]["id"], &receipt["key"]["status"]), (&json!(id), &json!("revoked")));
    read.add(&reads, answered, 401);
    created.add(&creations, answered, 401);
    let after = envelopes(server);
    assert_eq!(after, at_answer, "an envelope was created after the answer");
    let made = creations.iter().filter(|(_, status)| *status == 201).count();
    assert_eq!(after - before, made, "each envelope was answered with 201, and each 201 is an envelope");
    let effective: Timestamp = receipt["effective_at"].as_str().expect("a time").parse().expect("a time");
    let newest = newest_envelope_ms(server);
    assert!(newest <= effective.millis(), "an envelope of {newest} is younger than the revocation of {effective}");
    made
}

async fn nothing_sent_after_a_revocation_was_answered_passes(server: Server) {
    let began = Instant::now();
    let nodes = Nodes::of(&server);
    let hammer = Hammer::new(&server, &nodes).await;
    let (mut read, mut created, mut made) = (Tally::default(), Tally::default(), 0);
    let rounds = scale(20, 200);
    for round in 0..rounds {
        // Made at one node, revoked at the next.
        let api = server.api().at(nodes.url(round));
        let key = api.post("/v1/keys", json!({ "label": format!("Round {round}") })).await.expect(201);
        let text = |name: &str| key[name].as_str().expect("a text");
        let (id, secret) = (text("id"), text("secret"));
        let revoke = async {
            match round % 5 {
                0 => server.admin(&["keys", "revoke", id]),
                1 | 2 => server.operator("/keys/revoke", json!({ "key": id })).await,
                _ => api.at(nodes.url(round + 1)).post_empty(&format!("/v1/keys/{id}/revoke")).await.expect(200),
            }
        };
        made += revoke_under_fire(&server, &hammer, (&mut read, &mut created), (id, secret), revoke).await;
    }
    println!(
        "revocation, {:?}, {} server(s): {rounds} revocations under {CONNECTIONS} connections; GET /v1/me: {} passed, {} refused that were \
         sent before the answer, {} refused and {} passed that were sent after it; POST /v1/envelopes: {} passed ({made} \
         envelopes), {} refused before, {} refused and {} passed after; {:.1} s",
        server.engine,
        nodes.count(),
        read.passed,
        read.refused_before,
        read.refused_after,
        read.passed_after,
        created.passed,
        created.refused_before,
        created.refused_after,
        created.passed_after,
        began.elapsed().as_secs_f64(),
    );
}

async fn nothing_sent_after_a_right_was_taken_passes(server: Server) {
    let began = Instant::now();
    let nodes = Nodes::of(&server);
    let hammer = Hammer::new(&server, &nodes).await;
    let owner = server.admin(&["users", "list"])["users"][0]["email"].as_str().expect("an address").to_owned();
    server.admin(&["users", "add", "next@example.com", "--name", "Next", "--role", "admin"]);
    // The owner of the key steps down: from then on the role can be taken.
    server.admin(&["users", "set-role", "next@example.com", "owner"]);
    let rights: [(&str, &[&str], &[&str]); 4] = [
        ("tier lowered", &["tenants", "set-tier", "free"], &["tenants", "set-tier", "standard"]),
        ("tenant suspended", &["tenants", "suspend"], &["tenants", "resume"]),
        (
            "administrator demoted",
            &["users", "set-role", &owner, "viewer", "--confirm"],
            &["users", "set-role", &owner, "admin"],
        ),
        ("administrator suspended", &["users", "suspend", &owner, "--confirm"], &["users", "resume", &owner]),
    ];
    let rounds = scale(3, 30);
    for (name, take, give) in rights {
        let (mut read, mut created) = (Tally::default(), Tally::default());
        for _ in 0..rounds {
            let before = envelopes(&server);
            let take_away = async {
                server.admin(take);
                envelopes(&server)
            };
            let (reads, creations, answered, at_answer) = hammer.attack(&server.key, take_away).await;
            read.add(&reads, answered, 403);
            created.add(&creations, answered, 403);
            let after = envelopes(&server);
            assert_eq!(after, at_answer, "{name}: an envelope was created after the answer");
            let made = creations.iter().filter(|(_, status)| *status == 201).count();
            assert_eq!(after - before, made, "{name}");
            server.admin(give);
        }
        println!(
            "{name}, {:?}, {} server(s), {rounds} times: GET /v1/me: {} passed, {} refused before the answer, {} refused and {} \
             passed after; POST /v1/envelopes: {} passed, {} refused before, {} refused and {} passed after",
            server.engine,
            nodes.count(),
            read.passed,
            read.refused_before,
            read.refused_after,
            read.passed_after,
            created.passed,
            created.refused_before,
            created.refused_after,
            created.passed_after,
        );
    }
    println!("rights taken, {:?}: {:.1} s", server.engine, began.elapsed().as_secs_f64());
}

async fn a_batch_of_a_revoked_key_makes_no_envelope_after_the_answer(server: Server) {
    const ROWS: usize = 3_000;
    let nodes = Nodes::of(&server);
    let owner = server.api();
    let template = template(&owner).await;
    let rows: String = (1..=ROWS).map(|row| format!("Taro {row},taro{row}@example.com\n")).collect();
    let rounds = scale(3, 30);
    let mut made = Vec::new();
    for round in 0..rounds {
        let key = owner.post("/v1/keys", json!({ "label": format!("Batch {round}") })).await.expect(201);
        let text = |name: &str| key[name].as_str().expect("a text");
        let api = server.api_with(text("secret"));
        let body = json!({ "name": format!("Batch {round}"), "template": { "id": template } });
        let batch = api.post("/v1/batches", body).await.expect(201);
        let path = format!("/v1/batches/{}", batch["id"].as_str().expect("an id"));
        let table = format!("Client.name,Client.email\n{rows}");
        api.put(&format!("{path}/rows"), "text/csv; charset=utf-8", table).await.expect(200);
        api.post_empty(&format!("{path}/start")).await.expect(200);
        while number(&owner.get(&path).await.expect(200), "created") == 0 {}
        let revoke = owner.at(nodes.url(round)).post_empty(&format!("/v1/keys/{}/revoke", text("id"))).await;
        let effective: Timestamp =
            revoke.expect(200)["effective_at"].as_str().expect("a time").parse().expect("a time");
        let at_answer = envelopes(&server);
        // It says so itself: until then its job may not have looked.
        let mut after = String::new();
        while owner.get(&path).await.expect(200)["status"] == json!("running") {
            let page = owner.get(&format!("/v1/events?limit=500&wait=5&types=batch.*{after}")).await.expect(200);
            after = format!("&after={}", page["next"].as_str().expect("a cursor"));
        }
        let batch = owner.get(&path).await.expect(200);
        assert_eq!(
            (&batch["status"], &batch["problem"]["code"]),
            (&json!("paused"), &json!("key_revoked")),
            "{batch:#}"
        );
        assert_eq!(envelopes(&server), at_answer, "the batch went on after the answer");
        assert!(newest_envelope_ms(&server) <= effective.millis(), "an envelope is younger than the revocation");
        made.push(number(&batch, "created"));
    }
    println!(
        "a batch's key revoked, {:?}, {} server(s), {rounds} times: of {ROWS} rows {made:?} were made before the answer, none after",
        server.engine,
        nodes.count()
    );
}

async fn an_upload_under_way_when_its_key_is_revoked_leaves_nothing(server: Server) {
    let owner = server.api();
    let key = owner.post("/v1/keys", json!({ "label": "Uploader" })).await.expect(201);
    let text = |name: &str| key[name].as_str().expect("a text");
    let batch =
        owner.post("/v1/batches", json!({ "name": "Half", "template": { "id": template(&owner).await } })).await;
    let rows = format!("/v1/batches/{}/rows", batch.expect(201)["id"].as_str().expect("an id"));
    let before = server.sql("SELECT count(*) FROM documents");
    let bearer = format!("Bearer {}", text("secret"));
    let (mut uploads, mut ends) = (Vec::new(), Vec::new());
    for (method, path, kind, body) in [
        (Method::POST, "/v1/documents?filename=half.pdf", "application/pdf", paper::sample()),
        (Method::PUT, &*rows, "text/csv", b"Client.name,Client.email\nTaro,taro@example.com\n".to_vec()),
    ] {
        let (head, tail) = body.split_at(body.len() / 2);
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(2);
        sender.send(Ok(head.to_vec())).await.expect("taken");
        let stream = futures::stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
        let request = server.client(|client| client).request(method, format!("{}{path}", server.url));
        let request = request.header("authorization", &bearer).header("content-type", kind);
        let sent = request.body(reqwest::Body::wrap_stream(Box::pin(stream))).send();
        uploads.push(tokio::spawn(sent));
        ends.push((sender, tail.to_vec()));
    }
    // Both were let in: their key is in use.
    let path = format!("/v1/keys/{}", text("id"));
    owner.usage_of(text("id"), |usage| usage["addresses"]["data"] != json!([])).await;
    owner.post_empty(&format!("{path}/revoke")).await.expect(200);
    for (sender, tail) in ends {
        // Who was answered already takes no more.
        let _ = sender.send(Ok(tail)).await;
    }
    for upload in uploads {
        let answer = upload.await.expect("ended").expect("an answer");
        assert_eq!(answer.status(), 401, "{}", answer.text().await.unwrap_or_default());
    }
    assert_eq!(server.sql("SELECT count(*) FROM documents"), before);
    assert_eq!(server.sql("SELECT count(*) FROM batch_rows"), ["0"]);
}

async fn a_long_poll_of_a_revoked_key_tells_nothing_more(server: Server) {
    const POLLS: usize = 16;
    let nodes = Nodes::of(&server);
    let owner = server.api();
    let template = template(&owner).await;
    let key = owner.post("/v1/keys", json!({ "label": "Listener" })).await.expect(201);
    let text = |name: &str| key[name].as_str().expect("a text");
    let mut polls = Vec::new();
    for turn in 0..POLLS {
        let api = server.api_with(text("secret")).at(nodes.url(turn));
        api.get("/v1/me").await.expect(200);
        let poll = api.clone();
        polls.push(tokio::spawn(async move {
            let answer = poll.get("/v1/events?after=now&wait=60").await;
            (Instant::now(), answer)
        }));
        // On the same connection, behind it.
        api.get("/v1/me").await.expect(200);
    }
    owner.post_empty(&format!("/v1/keys/{}/revoke", text("id"))).await.expect(200);
    let answered = Instant::now();
    owner.create(of_template(&template, "taro@example.com")).await;
    let (mut latest, mut cut) = (0, 0);
    for poll in polls {
        let (ended, answer) = poll.await.expect("an answer");
        latest = latest.max(ended.saturating_duration_since(answered).as_millis());
        if answer.status == 200 {
            // It was let in and had not looked yet when the key was revoked, before that was answered.
            let told = answer.json()["data"].as_array().expect("events").clone();
            assert!(told.iter().all(|event| event["type"] == json!("key.revoked")), "{told:#?}");
            continue;
        }
        answer.refused(401, "revoked_key");
        cut += 1;
    }
    assert!(cut >= POLLS / 2, "only {cut} waited");
    println!(
        "long polls, {:?}, {} server(s): {cut} of {POLLS} of a revoked key waited and were all refused, the last {latest} ms after the answer",
        server.engine,
        nodes.count()
    );
}
