//! Strict revocation while servers are killed, stopped and cut off, and while PostgreSQL fails over to its standby.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use serde_json::{Value, json};
use tests::{
    Answer, Api, Engine, Server,
    cluster::{Postgres, Wire},
    fire::{scale, template},
    hammer::{Hammer, percentiles},
    server::Node,
};

/// A server, and two that reach the database over wires that can be cut.
struct Wired {
    server: Server,
    nodes: Vec<Node>,
    wires: Vec<Wire>,
}

/// The database's URL over this wire.
fn over(url: &str, wire: &Wire) -> String {
    let (before, after) = url.rsplit_once(':').expect("a port");
    let (_, name) = after.split_once('/').expect("a database");
    format!("{before}:{}/{name}", wire.port)
}

fn port(url: &str) -> u16 {
    let (_, after) = url.rsplit_once(':').expect("a port");
    after.split('/').next().expect("a port").parse().expect("a number")
}

impl Wired {
    async fn start() -> Option<Wired> {
        if !Engine::postgres_is_there() {
            return None;
        }
        let server = Server::start(Engine::Postgres).await;
        let url = server.database_url().expect("PostgreSQL").to_owned();
        let (mut nodes, mut wires) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let wire = Wire::to(port(&url)).await;
            nodes.push(server.node_at(&over(&url, &wire)));
            wires.push(wire);
        }
        Some(Wired { server, nodes, wires })
    }

    fn urls(&self) -> Vec<String> {
        std::iter::once(&self.server.url).chain(self.nodes.iter().map(|node| &node.url)).cloned().collect()
    }
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Killed,
    Stopped,
    CutOff,
}

impl Fault {
    fn strike(self, wired: &mut Wired, node: usize) {
        match self {
            Fault::Killed => wired.nodes[node].kill(),
            Fault::Stopped => wired.nodes[node].signal("STOP"),
            Fault::CutOff => wired.wires[node].cut(),
        }
    }

    fn mend(self, wired: &mut Wired, node: usize) {
        match self {
            Fault::Killed => tokio::task::block_in_place(|| wired.nodes[node].start_again()),
            Fault::Stopped => wired.nodes[node].signal("CONT"),
            Fault::CutOff => wired.wires[node].mend(),
        }
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is missing: {value}"))
}

async fn new_key(api: &Api, label: &str) -> (String, String) {
    let made = api.post("/v1/keys", json!({ "label": label })).await.expect(201);
    (text(&made, "id").to_owned(), text(&made, "secret").to_owned())
}

async fn revoke(api: &Api, id: &str) {
    api.post(&format!("/v1/keys/{id}/revoke"), json!({})).await.expect(200);
}

/// Waits until more than before were refused that were sent after the answer.
async fn more_refused(hammer: &Hammer, than: usize) {
    while hammer.tally.refused_after.load(Ordering::SeqCst) < than + 6 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_are_killed_stopped_or_cut_off_let_nothing_pass_after_the_answer() {
    let Some(mut wired) = Wired::start().await else { return };
    let began = Instant::now();
    let owner = wired.server.api();
    let (hammer, tasks) = Hammer::strike(&wired.server, &wired.urls(), 1);
    let rounds = scale(6, 150);
    for round in 0..rounds {
        let fault = [Fault::Killed, Fault::Stopped, Fault::CutOff][round % 3];
        let node = (round / 3) % 2;
        let (id, secret) = new_key(&owner, &format!("{fault:?} {round}")).await;
        let refused = hammer.tally.refused_after.load(Ordering::SeqCst);
        let wired = tokio::sync::Mutex::new(&mut wired);
        let under_fault = hammer.until_taken(0, (&secret, 401), async |_| {
            fault.strike(&mut **wired.lock().await, node);
            revoke(&owner, &id).await;
        });
        let mended = async {
            // What is sent to the sick server now was sent after the answer; it is well again before the last is counted.
            more_refused(&hammer, refused).await;
            fault.mend(&mut **wired.lock().await, node);
        };
        tokio::join!(under_fault, mended);
    }
    hammer.stop(tasks).await;
    println!(
        "killed, stopped and cut off, 3 servers: {rounds} revocations with one of the servers sick: {}; {:.1} s",
        hammer.tally,
        began.elapsed().as_secs_f64()
    );
    hammer.assert_strict(true);
}

fn batches(server: &Server) -> usize {
    server.sql("SELECT count(*) FROM batches")[0].parse().expect("a number")
}

/// A server that stops in the middle of its writes holds their locks: the answer waits until PostgreSQL has ended them, at
/// most 10 s, and when the server goes on, none of them commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stopped_server_had_in_flight_never_takes_effect_after_the_answer() {
    const WRITERS: usize = 16;
    let Some(wired) = Wired::start().await else { return };
    let owner = wired.server.api();
    let template = template(&owner).await;
    let (mut times, mut repeated, rounds) = (Vec::new(), 0, scale(2, 20));
    for round in 0..rounds {
        let (id, secret) = new_key(&owner, &format!("Stopped {round}")).await;
        let written = Arc::new(tokio::sync::Semaphore::new(0));
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                let api = wired.server.api_with(&secret).at(&wired.nodes[0].url);
                let body = json!({ "name": "Race", "template": { "id": template } });
                let written = written.clone();
                tokio::spawn(async move {
                    loop {
                        let answer = api.post("/v1/batches", body.clone()).await;
                        match answer.status {
                            201 => written.add_permits(1),
                            // Its transaction was ended while it stood still.
                            503 => {}
                            _ => {
                                answer.refused(401, "revoked_key");
                                return;
                            }
                        }
                    }
                })
            })
            .collect();
        written.acquire_many(32).await.expect("open").forget();
        wired.nodes[0].signal("STOP");
        let began = Instant::now();
        // What stands still also holds rows that the revocation itself needs: then the answer is not yes, and it is repeated.
        while owner.post(&format!("/v1/keys/{id}/revoke"), json!({})).await.status != 200 {
            repeated += 1;
        }
        times.push(began.elapsed());
        let at_answer = batches(&wired.server);
        wired.nodes[0].signal("CONT");
        for writer in writers {
            writer.await.expect("refused in the end");
        }
        assert_eq!(batches(&wired.server), at_answer, "a write took effect after the answer");
    }
    println!(
        "a server stopped in the middle of its writes, {rounds} times: answered {}, {repeated} repeated; none committed later",
        percentiles(&mut times)
    );
}

async fn warnings(server: &Server) -> String {
    server.stranger().get("/readyz").await.expect(200)["warnings"].to_string()
}

/// Cancels whoever waits for the standby, until this was answered.
fn cancel_waits(postgres: &Postgres, answer: &tokio::task::JoinHandle<Answer>) {
    while !answer.is_finished() {
        postgres.sql("SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
    }
}

/// A wait for the standby that was cut is no answer; whoever repeats it waits for the standby too.
async fn what_is_cut_short_is_not_answered(owner: &Api, primary: &Postgres, standby: &mut Postgres) {
    let (lost, _) = new_key(owner, "Cut short").await;
    standby.stop();
    let ask = || {
        let (owner, path) = (owner.clone(), format!("/v1/keys/{lost}/revoke"));
        tokio::spawn(async move { owner.post(&path, json!({})).await })
    };
    let cut = ask();
    tokio::task::block_in_place(|| cancel_waits(primary, &cut));
    cut.await.expect("no panic").refused(503, "unavailable");
    let again = ask();
    while primary.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == "0" {}
    assert!(!again.is_finished(), "answered before the standby has it");
    standby.start_again();
    again.await.expect("no panic").expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_outlives_a_failover_to_the_synchronous_standby() {
    if !Engine::postgres_is_there() {
        return;
    }
    let mut primary = Postgres::start();
    primary.sql("CREATE DATABASE iusign TEMPLATE template0 ENCODING 'UTF8'");
    let url = primary.url("iusign");
    let mut wires = Vec::new();
    for _ in 0..3 {
        wires.push(Wire::to(primary.port).await);
    }
    let server = Server::start_on(&over(&url, &wires[0])).await;
    let nodes = [server.node_at(&over(&url, &wires[1])), server.node_at(&over(&url, &wires[2]))];
    let urls: Vec<String> = std::iter::once(&server.url).chain(nodes.iter().map(|node| &node.url)).cloned().collect();
    let owner = server.api();
    assert!(!warnings(&server).await.contains("failover"), "no replica, no failover");
    let mut standby = primary.standby();
    assert!(!warnings(&server).await.contains("failover"), "a synchronous standby loses nothing");

    what_is_cut_short_is_not_answered(&owner, &primary, &mut standby).await;
    let began = Instant::now();
    let (hammer, tasks) = Hammer::strike(&server, &urls, 1);
    let (mut dead, mut times) = (Vec::new(), Vec::new());
    let rounds = scale(10, 200);
    for round in 0..rounds {
        let (id, secret) = new_key(&owner.at(&urls[round % 3]), &format!("Round {round}")).await;
        let taken = hammer.until_taken(0, (&secret, 401), async |target| {
            revoke(&owner.at(&urls[(round + 1) % 3]), &id).await;
            target.is_answered();
            if round + 1 == rounds {
                // While the hammer goes on: the primary is gone, with all that it had open, and the standby takes its place.
                tokio::task::block_in_place(|| {
                    primary.stop();
                    standby.promote();
                });
                wires.iter().for_each(|wire| wire.lead_to(standby.port));
                more_refused(&hammer, hammer.tally.refused_after.load(Ordering::SeqCst)).await;
            }
        });
        let (took, ()) = taken.await;
        times.push(took);
        dead.push(secret);
    }
    hammer.stop(tasks).await;
    hammer.assert_strict(true);
    for (turn, secret) in dead.iter().enumerate() {
        let api = server.api_with(secret).at(&urls[turn % 3]);
        until_answered(&api).await.refused(401, "revoked_key");
    }
    for url in &urls {
        until_answered(&owner.at(url)).await.expect(200);
    }
    println!(
        "failover to a synchronous standby, 3 servers: {rounds} revocations, answered {}; GET /v1/me: {}; after it all {} keys \
         still revoked; {:.1} s",
        percentiles(&mut times),
        hammer.tally,
        dead.len(),
        began.elapsed().as_secs_f64()
    );
}

/// `GET /v1/me` once the server has found its database again.
async fn until_answered(api: &Api) -> Answer {
    loop {
        let answer = api.get("/v1/me").await;
        if answer.status != 503 {
            return answer;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_could_lose_a_revocation_is_told_beforehand() {
    if !Engine::postgres_is_there() {
        return;
    }
    let primary = Postgres::start();
    primary.sql("CREATE DATABASE iusign TEMPLATE template0 ENCODING 'UTF8'");
    let url = primary.url("iusign");
    let server = Server::start_on(&url).await;
    let _standby = primary.standby();
    let doctor = || {
        let folder = server.data_dir().display().to_string();
        let output = server.iusign(&["doctor", "--data-dir", &folder, "--database", &url, "--json"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(!warnings(&server).await.contains("failover") && !doctor().contains("failover"));
    for (set, told) in [
        ("ALTER SYSTEM SET synchronous_commit = 'local'", "less than on: a failover can lose a revocation"),
        ("ALTER SYSTEM SET synchronous_commit = 'off'", "a failover can lose a revocation"),
        ("ALTER SYSTEM SET synchronous_commit = 'on'", ""),
        ("ALTER SYSTEM SET synchronous_standby_names = ''", "No standby is synchronous"),
    ] {
        let before = warnings(&server).await;
        primary.sql(set);
        primary.sql("SELECT pg_reload_conf()");
        // Each backend takes the new settings up by itself.
        while warnings(&server).await == before {}
        let (ready, doctor) = (warnings(&server).await, doctor());
        assert!(ready.contains(told) && doctor.contains(told), "{set}: {ready} {doctor}");
        assert_eq!(told.is_empty(), !ready.contains("failover"), "{set}: {ready}");
    }
}
