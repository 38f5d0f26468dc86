//! The hammer on three servers and PostgreSQL: every way to take a right away, fence races, open streams, and servers and
//! databases that are killed, stopped, cut off and replaced meanwhile.

use std::time::{Duration, Instant};

use futures::future::join_all;
use model::Timestamp;
use serde_json::{Value, json};
use tests::{
    Api, Engine, Room, Server, both_engines,
    fire::{Nodes, scale, template},
    hammer::{Hammer, percentiles},
    paper,
    server::Node,
};

both_engines! {
    a_write_in_flight_commits_before_the_answer_or_never
}

/// How many revocations, where it is not the usual number.
const REVOCATIONS: &str = "IUSIGN_TEST_REVOCATIONS";
/// Keys that are hit at the same time.
const SLOTS: usize = 8;

/// A server and two further ones on its database.
struct Three {
    server: Server,
    nodes: [Node; 2],
}

impl Three {
    async fn start() -> Option<Three> {
        if !Engine::postgres_is_there() {
            return None;
        }
        let server = Server::start(Engine::Postgres).await;
        let nodes = [server.node(), server.node()];
        Some(Three { server, nodes })
    }

    fn urls(&self) -> Vec<String> {
        std::iter::once(&self.server.url).chain(self.nodes.iter().map(|node| &node.url)).cloned().collect()
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is missing: {value}"))
}

async fn new_key(api: &Api, label: &str) -> (String, String) {
    let made = api.post("/v1/keys", json!({ "label": label })).await.expect(201);
    (text(&made, "id").to_owned(), text(&made, "secret").to_owned())
}

/// How a key's own right is taken: the word, the status of the refusal, and how.
#[derive(Clone, Copy, Debug)]
enum Taking {
    Revoked,
    Suspended,
    AllowlistNarrowed,
    ExpiryBroughtForward,
    SecretReplaced,
}

impl Taking {
    fn refusal(self) -> u16 {
        if matches!(self, Taking::AllowlistNarrowed) { 403 } else { 401 }
    }

    async fn take(self, server: &Server, url: &str, id: &str) {
        let api = &server.api().at(url);
        let path = format!("/v1/keys/{id}");
        match self {
            Taking::Revoked => api.post(&format!("{path}/revoke"), json!({})).await.expect(200),
            Taking::Suspended => api.post(&format!("{path}/suspend"), json!({})).await.expect(200),
            Taking::AllowlistNarrowed => {
                patch(api, &path, json!({ "allowlist": ["192.0.2.0/24"], "confirm": true })).await
            }
            Taking::SecretReplaced => {
                let rotated = api.post(&format!("{path}/rotate"), json!({ "grace_period": "PT0S" })).await.expect(200);
                // The first use of the new one ends the old one, before it is answered.
                server.api_with(text(&rotated, "secret")).at(url).get("/v1/me").await.expect(200)
            }
            Taking::ExpiryBroughtForward => {
                let now: Timestamp = text(&api.get(&path).await.expect(200), "created_at").parse().expect("a time");
                patch(api, &path, json!({ "expires_at": now.plus(3_000).to_string() })).await
            }
        };
    }
}

async fn patch(api: &Api, path: &str, body: Value) -> Value {
    let answer = api.send(reqwest::Method::PATCH, path, Some("application/json"), body.to_string()).await;
    answer.expect(200)
}

/// Takes the right of so many keys, one after the other in each slot, at one node after the other.
async fn take_many(three: &Three, taking: Taking, rounds: usize) {
    let began = Instant::now();
    let urls = three.urls();
    let (hammer, tasks) = Hammer::strike(&three.server, &urls, SLOTS);
    let owner = three.server.api();
    let (hammer_ref, urls_ref, owner_ref) = (&hammer, &urls, &owner);
    let slots = (0..SLOTS).map(|slot| async move {
        let mut times = Vec::new();
        for round in (slot..rounds).step_by(SLOTS) {
            let (id, secret) = new_key(&owner_ref.at(&urls_ref[round % 3]), &format!("{taking:?} {round}")).await;
            let url = &urls_ref[(round / 3 + 1) % 3];
            let (took, ()) = hammer_ref
                .until_taken(slot, (&secret, taking.refusal()), async |target| {
                    taking.take(&three.server, url, &id).await;
                    if matches!(taking, Taking::ExpiryBroughtForward) {
                        // It ends by itself: from the first refusal on, wherever it was.
                        target.is_refused().await;
                    }
                })
                .await;
            times.push(took);
        }
        times
    });
    let mut times = join_all(slots).await.concat();
    hammer.stop(tasks).await;
    println!(
        "{taking:?}, PostgreSQL, 3 servers: {rounds} times under {} connections, answered {}; GET /v1/me: {}; {:.1} s",
        urls.len() * 6,
        percentiles(&mut times),
        hammer.tally,
        began.elapsed().as_secs_f64()
    );
    hammer.assert_strict(false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_let_nothing_pass_that_was_sent_after_a_revocation_was_answered() {
    let Some(three) = Three::start().await else { return };
    let wanted = std::env::var(REVOCATIONS).ok().map(|number| number.parse().expect("a number"));
    take_many(&three, Taking::Revoked, wanted.unwrap_or(scale(80, 10_000))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_let_nothing_pass_that_was_sent_after_a_key_s_right_was_narrowed() {
    let Some(three) = Three::start().await else { return };
    three.server.operator("/tenants/set-tier", json!({ "tier": "enterprise" })).await;
    let all = [Taking::Suspended, Taking::AllowlistNarrowed, Taking::SecretReplaced, Taking::ExpiryBroughtForward];
    for taking in all {
        take_many(&three, taking, scale(24, 500)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_let_nothing_pass_that_was_sent_after_a_tenant_s_or_administrator_s_right_was_taken() {
    let Some(three) = Three::start().await else { return };
    let server = &three.server;
    let owner = server.admin(&["users", "list"])["users"][0]["email"].as_str().expect("an address").to_owned();
    server.admin(&["users", "add", "next@example.com", "--name", "Next", "--role", "admin"]);
    server.admin(&["users", "set-role", "next@example.com", "owner"]);
    server.operator("/tenants/set-tier", json!({ "tier": "enterprise" })).await;
    let change = |change: Value| json!({ "user": owner, "change": change });
    let (role, status) = (
        |role: &str| change(json!({ "role": role, "confirm": true })),
        |status: &str| change(json!({ "status": status, "confirm": true })),
    );
    let list = |entries: &[&str]| json!({ "change": { "allowlist": entries, "confirm": true } });
    let update = "/users/update";
    let rights = [
        ("administrator demoted", update, role("viewer"), update, role("admin")),
        ("administrator suspended", update, status("suspended"), update, status("active")),
        (
            "tier lowered",
            "/tenants/set-tier",
            json!({ "tier": "free" }),
            "/tenants/set-tier",
            json!({ "tier": "enterprise" }),
        ),
        ("tenant suspended", "/tenants/suspend", json!({}), "/tenants/resume", json!({})),
        ("tenant's allowlist narrowed", "/tenants/update", list(&["192.0.2.0/24"]), "/tenants/update", list(&[])),
    ];
    for (name, take, body, give, back) in rights {
        let began = Instant::now();
        let (hammer, tasks) = Hammer::strike(server, &three.urls(), 1);
        let rounds = scale(12, 500);
        let mut times = Vec::new();
        for _ in 0..rounds {
            let taken = hammer.until_taken(0, (&server.key, 403), async |_| server.operator(take, body.clone()).await);
            times.push(taken.await.0);
            server.operator(give, back.clone()).await;
        }
        hammer.stop(tasks).await;
        println!(
            "{name}, PostgreSQL, 3 servers: {rounds} times, answered {}; GET /v1/me: {}; {:.1} s",
            percentiles(&mut times),
            hammer.tally,
            began.elapsed().as_secs_f64()
        );
        hammer.assert_strict(false);
    }
}

fn batches(server: &Server) -> usize {
    server.sql("SELECT count(*) FROM batches")[0].parse().expect("a number")
}

/// Makes batches with the key until it is refused: how many.
async fn write_until_refused(api: Api, template: String, first: std::sync::Arc<tokio::sync::Semaphore>) -> usize {
    let mut made = 0;
    loop {
        let answer = api.post("/v1/batches", json!({ "name": "Race", "template": { "id": template } })).await;
        if answer.status != 201 {
            answer.refused(401, "revoked_key");
            return made;
        }
        made += 1;
        first.add_permits(1);
    }
}

async fn a_write_in_flight_commits_before_the_answer_or_never(server: Server) {
    const WRITERS: usize = 4;
    let began = Instant::now();
    let nodes = Nodes::of(&server);
    let owner = server.api();
    let template = template(&owner).await;
    let apis: Vec<_> = (0..WRITERS).map(|turn| server.stranger().at(nodes.url(turn))).collect();
    let (races, mut before, mut made) = (scale(20, 1_000), batches(&server), 0);
    for race in 0..races {
        let (id, secret) = new_key(&owner, &format!("Race {race}")).await;
        let first = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
        let bearer = format!("Bearer {secret}");
        let writers: Vec<_> = apis
            .iter()
            .map(|api| {
                tokio::spawn(write_until_refused(api.with("authorization", &bearer), template.clone(), first.clone()))
            })
            .collect();
        // Another moment each time: after the first, the second … write.
        let some = u32::try_from(race % 7).expect("a few") + 1;
        first.acquire_many(some).await.expect("open").forget();
        owner.at(nodes.url(race)).post(&format!("/v1/keys/{id}/revoke"), json!({})).await.expect(200);
        let at_answer = batches(&server);
        let mut answered = 0;
        for writer in writers {
            answered += writer.await.expect("no panic");
        }
        assert_eq!(batches(&server), at_answer, "race {race}: a write committed after the answer");
        assert_eq!(at_answer - before, answered, "race {race}: each 201 is a row, and each row was answered with 201");
        before = at_answer;
        made += answered;
    }
    println!(
        "fence races, {:?}, {} server(s): {races} revocations against {WRITERS} writers each, {made} writes committed before the \
         answer, 0 after it; {:.1} s",
        server.engine,
        nodes.count(),
        began.elapsed().as_secs_f64()
    );
}

/// A page with a picture of noise, many megabytes long however it is packed.
fn heavy_paper() -> Vec<u8> {
    const WIDTH: usize = 3_000;
    const HEIGHT: usize = 2_400;
    let mut noise = 0x2545_f491_4f6c_dd1d_u64;
    let mut picture = String::with_capacity(2 * WIDTH * HEIGHT);
    while picture.len() < 2 * WIDTH * HEIGHT {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        picture.push_str(&format!("{noise:016x}"));
    }
    let draw = "q 500 0 0 400 50 200 cm /P Do Q";
    let filter = "/Type /XObject /Subtype /Image /ColorSpace /DeviceGray /BitsPerComponent 8 /Filter /ASCIIHexDecode";
    paper::pdf(&[
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /XObject << /P 5 0 R >> >> >>".to_owned(),
        format!("<< /Length {} >>\nstream\n{draw}\nendstream", draw.len()),
        format!("<< {filter} /Width {WIDTH} /Height {HEIGHT} /Length {} >>\nstream\n{picture}\nendstream", picture.len()),
    ])
}

/// Where such a paper is fetched, signed and sealed.
async fn heavy_asset(server: &Server, owner: &Api) -> String {
    let document = text(&owner.upload("heavy.pdf", heavy_paper()).await.expect(201), "id").to_owned();
    let field = json!({ "type": "signature", "key": "signature", "recipient": "Client", "page": 1, "x": 60, "y": 60 });
    let envelope = owner.create(json!({
        "title": "Heavy", "documents": [document], "send": true, "fields": [field],
        "recipients": [{ "role": "Client", "name": "Taro Yamada", "email": "taro@example.com" }],
    }));
    let envelope = text(&envelope.await, "id").to_owned();
    let room = Room::enter(server, owner, &envelope, "taro@example.com").await;
    room.sign("Taro", &[]).await;
    owner.wait_for(&envelope, "envelope.completed").await;
    format!("/v1/envelopes/{envelope}/assets/document")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_streams_of_a_revoked_key_tell_nothing_more_and_end() {
    const POLLS: usize = 150;
    const DOWNLOADS: usize = 50;
    let Some(three) = Three::start().await else { return };
    let (server, urls, owner) = (&three.server, three.urls(), three.server.api());
    let asset = heavy_asset(server, &owner).await;
    let (id, secret) = new_key(&owner, "Listener").await;
    let bearer = format!("Bearer {secret}");
    let mut polls = Vec::new();
    for turn in 0..POLLS {
        let api = server.api_with(&secret).at(&urls[turn % 3]);
        let poll = api.clone();
        polls.push(tokio::spawn(async move {
            let answer = poll.get("/v1/events?after=now&wait=60").await;
            (Instant::now(), answer)
        }));
        // Behind it, so that it has arrived.
        api.get("/v1/me").await.expect(200);
    }
    let mut downloads = Vec::new();
    for turn in 0..DOWNLOADS {
        let client = server.client(|builder| builder.http1_only());
        let asked = client.get(format!("{}{asset}", urls[turn % 3])).header("authorization", &bearer);
        let answer = asked.send().await.expect("answers");
        assert_eq!(answer.status(), 200);
        downloads.push(answer);
    }
    let size = downloads[0].content_length().expect("a length");
    owner.post(&format!("/v1/keys/{id}/revoke"), json!({})).await.expect(200);
    let answered = Instant::now();
    owner.create(paper::for_one(&owner.sample().await, "taro@example.com")).await;
    let (mut last, mut most) = (Duration::ZERO, 0);
    for mut answer in downloads {
        let mut bytes = 0;
        // What was handed to the network before still arrives; then it breaks off.
        let broke_off = loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => bytes += chunk.len() as u64,
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        assert!(broke_off && bytes < size, "a download of {size} bytes went on to its end");
        most = most.max(bytes);
    }
    let downloads_ended = answered.elapsed();
    for poll in polls {
        let (ended, answer) = poll.await.expect("an answer");
        answer.refused(401, "revoked_key");
        last = last.max(ended.saturating_duration_since(answered));
    }
    println!(
        "open streams, 3 servers: {POLLS} long polls refused, the last {} ms after the answer; {DOWNLOADS} downloads of {size} bytes \
         broken off, at {most} bytes at most, all read to their break {} ms after the answer",
        last.as_millis(),
        downloads_ended.as_millis()
    );
}
