//! SIGKILL at random: a batch that runs and envelopes that are being sealed lose nothing and do nothing twice.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tests::{
    Api, Engine, Room, Server, both_engines,
    fire::{all_events, chain_holds, dense, number, of_template, scale, template},
};

both_engines! {
    a_batch_that_is_killed_again_and_again_makes_each_envelope_once
    a_kill_while_envelopes_are_sealed_completes_each_once
}

/// How long it may take until a batch or all seals are done, kills and leases included.
const DONE_MS_MAX: u128 = 30 * 60 * 1_000;

/// Moments at random, the same for each run of a seed; xorshift, by Marsaglia.
struct Moments(u64);

impl Moments {
    fn new() -> Moments {
        let seed = u64::from(std::process::id()) << 20 | 0x9e37_79b9;
        println!("moments by the seed {seed}");
        Moments(seed)
    }

    fn next_ms(&mut self, max: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % max
    }
}

/// The rows: each its own person and its own `external_id`.
fn rows(count: usize) -> String {
    let mut text = String::from("external_id,Client.name,Client.email,values.client_company\n");
    for row in 1..=count {
        text.push_str(&format!(
            "contract-{row},Taro Yamada {row},taro{row}@example.com,\"Kestrel & Söhne, No. {row}\"\n"
        ));
    }
    text
}

async fn batch(api: &Api, id: &str) -> Value {
    api.get(&format!("/v1/batches/{id}")).await.expect(200)
}

/// Waits until the batch has made more envelopes than `than`, or is completed.
async fn made_more(api: &Api, id: &str, than: i64) -> Value {
    let began = Instant::now();
    let mut after = String::new();
    while began.elapsed().as_millis() < DONE_MS_MAX {
        let batch = batch(api, id).await;
        if number(&batch, "created") > than || batch["status"] == json!("completed") {
            return batch;
        }
        // Ends with the next event.
        let page = api.get(&format!("/v1/events?limit=500&wait=5{after}")).await.expect(200);
        after = format!("&after={}", page["next"].as_str().expect("a cursor"));
    }
    panic!("the batch stands still at {than}: {:#}", batch(api, id).await)
}

async fn a_batch_that_is_killed_again_and_again_makes_each_envelope_once(server: Server) {
    batch_under_fire(server, scale(2_000, 10_000), scale(30, 60), scale(4_000, 10_000)).await;
}

/// The other server goes on with the batch and the mails while the first is killed and started again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_servers_one_is_killed_again_and_again() {
    if Engine::postgres_is_there() {
        let server = Server::start(Engine::Postgres).await;
        let _second = server.node();
        batch_under_fire(server, scale(1_000, 10_000), scale(10, 60), 6_000).await;
    }
}

async fn batch_under_fire(mut server: Server, count: usize, kills: usize, rate_per_minute: usize) {
    let began = Instant::now();
    let mut moments = Moments::new();
    let api = server.api();
    let body = json!({
        "name": "Under fire",
        "template": { "id": template(&api).await },
        // So slow that it outlives the kills.
        "send_rate_per_minute": rate_per_minute
    });
    let made = api.post("/v1/batches", body).await.expect(201);
    let id = made["id"].as_str().expect("an id").to_owned();
    let report = api.put(&format!("/v1/batches/{id}/rows"), "text/csv; charset=utf-8", rows(count)).await.expect(200);
    assert_eq!((number(&report, "valid"), number(&report, "invalid")), (i64::try_from(count).expect("small"), 0));
    api.post_empty(&format!("/v1/batches/{id}/start")).await.expect(200);

    let (mut lives, mut before) = (Vec::new(), 0);
    let (mut stood_still, mut restarts) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..kills {
        let api = server.api();
        let waiting = Instant::now();
        let now = made_more(&api, &id, before).await;
        stood_still += waiting.elapsed();
        // Not a wait for anything: the moment of the kill is what is random.
        tokio::time::sleep(Duration::from_millis(moments.next_ms(300))).await;
        before = number(&now, "created");
        lives.push(before);
        server.kill();
        let starting = Instant::now();
        server.start_again();
        restarts += starting.elapsed();
    }
    let under_fire = lives.iter().filter(|made| **made < i64::try_from(count).expect("small")).count();
    let api = server.api();
    let mut now = batch(&api, &id).await;
    while now["status"] != json!("completed") {
        now = made_more(&api, &id, number(&now, "created")).await;
    }
    all_are_there_once(&server, &api, &id, count).await;
    println!(
        "crash, {:?}: {count} rows, {kills} kills, {under_fire} of them before the batch was done: {count} envelopes, none twice; \
         on average {:.2} s until the server answered again and {:.2} s more until the next envelope; {:.1} s in all",
        server.engine,
        restarts.as_secs_f64() / kills as f64,
        stood_still.as_secs_f64() / kills as f64,
        began.elapsed().as_secs_f64()
    );
}

/// Each row one envelope, each envelope one invitation, no gap in any number, every chain whole.
async fn all_are_there_once(server: &Server, api: &Api, batch_id: &str, count: usize) {
    let batch = batch(api, batch_id).await;
    let counts = ["total", "valid", "invalid", "failed", "created", "sent"].map(|name| number(&batch, name));
    let all = i64::try_from(count).expect("small");
    assert_eq!(counts, [all, all, 0, 0, all, all], "{batch:#}");
    let envelopes = pages(api, "/v1/envelopes?limit=100").await;
    let external: BTreeSet<_> = envelopes.iter().map(|one| one["external_id"].as_str().expect("an id")).collect();
    assert_eq!((envelopes.len(), external.len()), (count, count), "an envelope too many or too few");
    assert!((1..=count).all(|row| external.contains(format!("contract-{row}").as_str())));

    let mails = invitations(server, api, count).await;
    let mut of: HashMap<&str, usize> = HashMap::new();
    for mail in &mails {
        *of.entry(mail["envelope_id"].as_str().expect("an envelope")).or_default() += 1;
    }
    assert_eq!((mails.len(), of.len()), (count, count), "an outbox row too many or too few");
    let addresses: BTreeSet<_> = mails.iter().map(|mail| mail["to"].as_str().expect("an address")).collect();
    assert_eq!(addresses.len(), count, "an address twice");

    let events = all_events(api).await;
    dense(events.iter().map(|event| number(event, "seq")), "seq");
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    let mut numbers: HashMap<String, Vec<i64>> = HashMap::new();
    for event in &events {
        *kinds.entry(event["type"].as_str().expect("a type")).or_default() += 1;
        if let Some(number) = event["envelope_seq"].as_i64() {
            let envelope = event["data"]["envelope"]["id"].as_str().expect("an envelope").to_owned();
            numbers.entry(envelope).or_default().push(number);
        }
    }
    for kind in ["envelope.created", "envelope.sent", "recipient.notified"] {
        assert_eq!(kinds.get(kind), Some(&count), "{kinds:?}");
    }
    for kind in ["batch.created", "batch.ready", "batch.started", "batch.completed"] {
        assert_eq!(kinds.get(kind), Some(&1), "{kind}: {kinds:?}");
    }
    for (envelope, numbers) in &numbers {
        dense(numbers.iter().copied(), envelope);
    }
    assert_eq!(server.sql("SELECT count(*) FROM jobs"), ["0"], "work is left over");
    let rows = pages(api, &format!("/v1/batches/{batch_id}/rows?limit=100")).await;
    let became: BTreeSet<_> = rows.iter().map(|row| row["envelope_id"].as_str().expect("an envelope")).collect();
    assert_eq!((rows.len(), became.len()), (count, count), "a row without an envelope of its own");
    println!("crash, {:?}: {} events, dense; {kinds:?}", server.engine, events.len());
    chains_hold(server, &numbers);
    complete_some(server, api, &envelopes).await;
}

/// Every item of a list.
async fn pages(api: &Api, path: &str) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("{path}{after}")).await.expect(200);
        all.extend(page["data"].as_array().expect("a list").iter().cloned());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return all,
        }
    }
}

/// The outbox, once every mail has gone out.
async fn invitations(server: &Server, api: &Api, count: usize) -> Vec<Value> {
    let began = Instant::now();
    let mut after = String::new();
    // By long poll on what tells of a mail that went out.
    let mut told = 0;
    while told < count {
        assert!(began.elapsed().as_millis() < DONE_MS_MAX, "mails stand still: {:?}", server.sql("SELECT * FROM jobs"));
        let page = api.get(&format!("/v1/events?limit=500&wait=20&types=recipient.notified{after}")).await.expect(200);
        told += page["data"].as_array().expect("a list").len();
        after = format!("&after={}", page["next"].as_str().expect("a cursor"));
    }
    let mails = pages(api, "/v1/mail?limit=100").await;
    for mail in &mails {
        assert_eq!((&mail["purpose"], &mail["state"]), (&json!("invite"), &json!("captured")), "{mail}");
    }
    mails
}

/// The chain of each envelope, from the database's own rows.
fn chains_hold(server: &Server, numbers: &HashMap<String, Vec<i64>>) {
    let hash = match server.engine {
        Engine::Sqlite => "lower(hex(hash))",
        Engine::Postgres => "encode(hash, 'hex')",
    };
    let text = format!(
        "SELECT envelope_id, {hash}, replace(salts, '|', ' '), body FROM events WHERE envelope_id IS NOT NULL ORDER BY envelope_id, envelope_seq"
    );
    let mut audits: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for row in server.sql(&text) {
        let mut columns = row.splitn(4, '|');
        let mut column = || columns.next().expect("a column").to_owned();
        let (envelope, hash, salts, event) = (column(), column(), column(), column());
        let json = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        let link = json!({ "event": json(&event), "salts": json(&salts), "hash": hash });
        audits.entry(envelope).or_default().push(link);
    }
    assert_eq!(audits.len(), numbers.len());
    let heads: BTreeMap<_, _> = audits
        .into_iter()
        .map(|(envelope, events)| {
            let start = tests::fire::hex_of_sha256(&envelope);
            let head = chain_holds(&json!({ "envelope_id": envelope, "start": start, "events": events }));
            (envelope, head)
        })
        .collect();
    let chain = hash.replace("hash", "chain");
    for row in server.sql(&format!("SELECT id, {chain} FROM envelopes")) {
        let (id, head) = row.split_once('|').expect("two columns");
        assert_eq!(heads.get(id).map(String::as_str), Some(head), "{id}: the chain ends elsewhere");
    }
    println!("crash, {:?}: {} chains hold", server.engine, heads.len());
}

/// What came through the fire can be signed and sealed, and its audit file holds.
async fn complete_some(server: &Server, api: &Api, envelopes: &[Value]) {
    for envelope in [&envelopes[0], &envelopes[envelopes.len() / 2]] {
        let id = envelope["id"].as_str().expect("an id");
        let email = api.envelope(id).await["recipients"][0]["email"].as_str().expect("an address").to_owned();
        Room::enter(server, api, id, &email)
            .await
            .sign("Taro Yamada", &[("client_name", "Taro"), ("client_company", "K")])
            .await;
        api.wait_for(id, "envelope.completed").await;
        chain_holds(&api.get(&format!("/v1/envelopes/{id}/assets/audit")).await.expect(200));
    }
}

/// Waits until more envelopes than `than` are completed, or all: how many.
async fn completed_more(api: &Api, than: usize) -> usize {
    let (mut completed, mut after) = (0, String::new());
    while completed <= than {
        let page = api.get(&format!("/v1/events?limit=500&wait=60&types=envelope.completed{after}")).await.expect(200);
        let more = page["data"].as_array().expect("a list").len();
        if more == 0 {
            return completed;
        }
        completed += more;
        after = format!("&after={}", page["next"].as_str().expect("a cursor"));
    }
    completed
}

async fn a_kill_while_envelopes_are_sealed_completes_each_once(mut server: Server) {
    let began = Instant::now();
    let (count, kills) = (scale(50, 200), scale(5, 20));
    let mut moments = Moments::new();
    let api = server.api();
    let template = template(&api).await;
    let mut rooms = Vec::new();
    for row in 0..count {
        let email = format!("taro{row}@example.com");
        let id = api.create(of_template(&template, &email)).await["id"].as_str().expect("an id").to_owned();
        rooms.push((Room::enter(&server, &api, &id, &email).await, id));
    }
    // All finish at once, so that all are to be sealed.
    let all =
        rooms.iter().map(|(room, _)| room.sign("Taro Yamada", &[("client_name", "Taro"), ("client_company", "K")]));
    futures::future::join_all(all).await;
    let (mut in_between, mut before) = (Vec::new(), 0);
    for _ in 0..kills {
        before = completed_more(&server.api(), before).await;
        // Not a wait for anything: the moment of the kill is what is random.
        tokio::time::sleep(Duration::from_millis(moments.next_ms(700))).await;
        server.kill();
        in_between.push(server.sql("SELECT count(*) FROM envelopes WHERE status = 'sealing'")[0].clone());
        server.start_again();
    }
    let api = server.api();
    for (_, id) in &rooms {
        api.wait_for(id, "envelope.completed").await;
        let events = api.events_of(id).await;
        dense(events.iter().map(|event| number(event, "envelope_seq")), id);
        for kind in ["recipient.completed", "envelope.signed", "envelope.completed"] {
            assert_eq!(events.iter().filter(|event| event["type"] == json!(kind)).count(), 1, "{id}: {kind}");
        }
        let assets = api.get(&format!("/v1/envelopes/{id}/assets")).await.expect(200);
        let assets = assets["data"].as_array().expect("a list");
        assert_eq!(assets.len(), 4, "{id}: {assets:?}");
        for asset in assets {
            let file = api.get(&format!("/v1/envelopes/{id}/assets/{}", asset["id"].as_str().expect("an id"))).await;
            assert_eq!((file.status, json!(file.body.len())), (200, asset["size"].clone()), "{id}: {asset}");
        }
        chain_holds(&api.get(&format!("/v1/envelopes/{id}/assets/audit")).await.expect(200));
    }
    dense(all_events(&api).await.iter().map(|event| number(event, "seq")), "seq");
    println!(
        "crash, {:?}: {count} envelopes being sealed, {kills} kills ({} left to seal at each): all completed, each once; {:.1} s",
        server.engine,
        in_between.join(", "),
        began.elapsed().as_secs_f64()
    );
}
