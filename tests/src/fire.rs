//! What the tests under fire share: how long they burn, who is at the other end, and proofs that need no word of the server.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{Api, Engine, Server, paper, server::Node};

/// Set by `./test --long`.
const LONG: &str = "IUSIGN_TEST_LONG";

/// So many in CI, so many by hand.
pub fn scale(short: usize, long: usize) -> usize {
    if std::env::var_os(LONG).is_some() { long } else { short }
}

/// Programs that make keys with this one until it is revoked.
pub struct Makers(Vec<tokio::task::JoinHandle<Vec<Value>>>);

impl Makers {
    /// Sets some to work, and waits until the first of them has made one.
    pub async fn start(api: &Api) -> Makers {
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let make = |_| {
            let (api, tell) = (api.clone(), tell.clone());
            tokio::spawn(async move {
                let mut made = Vec::new();
                loop {
                    let answer = api.post("/v1/keys", json!({ "label": "Meanwhile" })).await;
                    if answer.status != 201 {
                        answer.refused(401, "revoked_key");
                        return made;
                    }
                    made.push(answer.expect(201));
                    // After the first nobody listens any more.
                    let _ = tell.send(());
                }
            })
        };
        let makers = (0..4).map(make).collect();
        told.recv().await.expect("a key");
        Makers(makers)
    }

    /// What they were answered 201, once all of them are refused: at least one key.
    pub async fn made(self) -> Vec<Value> {
        let mut all = Vec::new();
        for maker in self.0 {
            all.extend(maker.await.expect("joined"));
        }
        all
    }
}

/// The servers of a database: on PostgreSQL a second one is started beside the first.
pub struct Nodes {
    /// Where each is reached.
    pub urls: Vec<String>,
    second: Option<Node>,
}

impl Nodes {
    /// All there can be.
    pub fn of(server: &Server) -> Nodes {
        let second = (server.engine == Engine::Postgres).then(|| server.node());
        let urls = std::iter::once(&server.url).chain(second.as_ref().map(|node| &node.url)).cloned().collect();
        Nodes { urls, second }
    }

    /// The one that has the turn.
    pub fn url(&self, turn: usize) -> &str {
        &self.urls[turn % self.urls.len()]
    }

    /// How many.
    pub fn count(&self) -> usize {
        1 + usize::from(self.second.is_some())
    }
}

/// A template of the sample contract with the one role "Client": its id.
pub async fn template(api: &Api) -> String {
    let body = json!({
        "name": "Service agreement",
        "documents": [api.sample().await],
        "roles": [{ "name": "Client" }],
        "fields": paper::sample_fields(false)
    });
    api.post("/v1/templates", body).await.expect(201)["id"].as_str().expect("an id").to_owned()
}

/// An envelope of that template for one client, sent at once.
pub fn of_template(template: &str, email: &str) -> Value {
    json!({
        "template": { "id": template },
        "recipients": [{ "role": "Client", "name": "Taro Yamada", "email": email }],
        "send": true
    })
}

/// Every event of an environment, page by page, the oldest first.
pub async fn all_events(api: &Api) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("/v1/events?limit=500{after}")).await.expect(200);
        all.extend(page["data"].as_array().expect("a list").iter().cloned());
        after = format!("&after={}", page["next"].as_str().expect("a cursor"));
        if page["has_more"] == json!(false) {
            return all;
        }
    }
}

/// A number that a member holds.
#[track_caller]
pub fn number(value: &Value, name: &str) -> i64 {
    value[name].as_i64().unwrap_or_else(|| panic!("{name} is no number: {value}"))
}

/// Numbers have to be 1, 2, 3 … without a gap or a repeat.
#[track_caller]
pub fn dense(numbers: impl Iterator<Item = i64>, of: &str) {
    for (at, number) in (1..).zip(numbers) {
        assert_eq!(number, at, "{of}: a gap or a repeat");
    }
}

/// Checks an envelope's chain from its audit file alone, by the words of that file and RFC 8785: its head.
#[track_caller]
pub fn chain_holds(audit: &Value) -> String {
    let envelope = audit["envelope_id"].as_str().expect("an id");
    let mut head: Vec<u8> = Sha256::digest(envelope).to_vec();
    assert_eq!(audit["start"], json!(hex(&head)), "{envelope}");
    for link in audit["events"].as_array().expect("a list") {
        let mut event = link["event"].clone();
        for (pointer, salt) in link["salts"].as_object().unwrap_or(&Map::new()) {
            let leaf = event.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer} is missing: {link}"));
            let salted = format!("{}{}", salt.as_str().expect("a salt"), canonical(leaf));
            *leaf = json!(format!("sha256:{}", hex(&Sha256::digest(salted))));
        }
        head.extend(canonical(&event).bytes());
        head = Sha256::digest(&head).to_vec();
        assert_eq!(link["hash"], json!(hex(&head)), "{envelope}: the chain breaks at {event}");
    }
    hex(&head)
}

/// RFC 8785, for what has no numbers but integers and no keys beyond ASCII.
fn canonical(value: &Value) -> String {
    let list = |parts: Vec<String>| parts.join(",");
    match value {
        Value::Object(members) => {
            let mut names: Vec<_> = members.keys().collect();
            names.sort();
            format!(
                "{{{}}}",
                list(names.iter().map(|name| format!("{}:{}", json!(name), canonical(&members[*name]))).collect())
            )
        }
        Value::Array(items) => format!("[{}]", list(items.iter().map(canonical).collect())),
        leaf => leaf.to_string(),
    }
}

/// SHA-256 of a text, as lower-case hexadecimal.
pub fn hex_of_sha256(text: &str) -> String {
    hex(&Sha256::digest(text))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
