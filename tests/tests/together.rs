//! At the same moment: two who sign, one who clicks twice, and who signs while another ends the envelope.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};
use tests::{
    Answer, Api, Room, Server, both_engines,
    fire::{Nodes, chain_holds, dense, number, scale},
    judge, paper,
    room::hidden,
};
use tokio::sync::Barrier;

both_engines! {
    two_who_finish_at_the_same_moment_make_one_seal_each_time
    a_double_click_on_finish_signs_once
    of_a_signature_and_a_void_exactly_one_wins
    of_a_signature_and_a_decline_of_one_person_exactly_one_wins
    a_signature_and_a_decline_of_two_people_leave_a_consistent_envelope
}

const TARO: &[(&str, &str)] = &[("value.client_name", "Taro"), ("value.client_company", "Kestrel")];
const NORA: &[(&str, &str)] = &[("value.provider_title", "Director")];

/// Everything that is needed to press the button "finish".
struct Finish {
    room: Room,
    form: Vec<(&'static str, String)>,
}

impl Finish {
    /// Fills in the page.
    async fn ready(room: Room, signature: &str, values: &[(&'static str, &str)]) -> Finish {
        let page = room.get("/document").await;
        let version = hidden(&page.text(), "version").expect("the version of the values");
        let mut form = vec![("version", version), ("signature.kind", "typed".to_owned())];
        form.push(("signature.text", signature.to_owned()));
        form.extend(values.iter().map(|(name, value)| (*name, (*value).to_owned())));
        Finish { room, form }
    }

    async fn press(&self) -> Answer {
        let pairs: Vec<_> = self.form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.room.post("/finish", &pairs).await
    }
}

/// Runs both, released by one barrier, on threads of their own. `turn` says who is asked first.
async fn at_once<A, B>(turn: usize, one: A, other: B) -> (A::Output, B::Output)
where
    A: Future<Output: Send> + Send + 'static,
    B: Future<Output: Send> + Send + 'static,
{
    let barrier = Arc::new(Barrier::new(2));
    let (first, second) = (barrier.clone(), barrier);
    let one = async move {
        first.wait().await;
        one.await
    };
    let other = async move {
        second.wait().await;
        other.await
    };
    // Who waited last goes on first.
    let (one, other) = if turn.is_multiple_of(2) {
        let one = tokio::spawn(one);
        (one, tokio::spawn(other))
    } else {
        let other = tokio::spawn(other);
        (tokio::spawn(one), other)
    };
    (one.await.expect("no panic"), other.await.expect("no panic"))
}

fn is_done(answer: &Answer) -> bool {
    answer.status == 303 && answer.header("location").ends_with("/done")
}

async fn envelope_of_one(api: &Api, document: &str) -> String {
    api.create(paper::for_one(document, "taro@example.com")).await["id"].as_str().expect("an id").to_owned()
}

/// Two signers in parallel.
async fn envelope_of_two(api: &Api, document: &str) -> String {
    let mut body = paper::for_two(document);
    body["recipients"][1]["order"] = json!(1);
    api.create(body).await["id"].as_str().expect("an id").to_owned()
}

/// How often each type of event is there; the envelope's numbers have to be dense.
async fn kinds(api: &Api, envelope: &str) -> BTreeMap<String, usize> {
    let events = api.events_of(envelope).await;
    dense(events.iter().map(|event| number(event, "envelope_seq")), envelope);
    let mut kinds = BTreeMap::new();
    for event in &events {
        *kinds.entry(event["type"].as_str().expect("a type").to_owned()).or_insert(0) += 1;
    }
    kinds
}

fn count(kinds: &BTreeMap<String, usize>, kind: &str) -> usize {
    kinds.get(kind).copied().unwrap_or_default()
}

/// A completed envelope has one of each file, and its chain holds.
async fn files_are_whole(api: &Api, envelope: &str) {
    let assets = api.get(&format!("/v1/envelopes/{envelope}/assets")).await.expect(200);
    let mut found: Vec<_> = assets["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|asset| asset["kind"].as_str().expect("a kind"))
        .collect();
    found.sort_unstable();
    assert_eq!(found, ["audit", "certificate", "combined", "document"], "{envelope}");
    chain_holds(&api.get(&format!("/v1/envelopes/{envelope}/assets/audit")).await.expect(200));
}

async fn two_who_finish_at_the_same_moment_make_one_seal_each_time(server: Server) {
    let nodes = Nodes::of(&server);
    let (api, envelopes) = (server.api(), scale(20, 200));
    let document = api.sample().await;
    let mut ids = Vec::new();
    for turn in 0..envelopes {
        let id = envelope_of_two(&api, &document).await;
        let (taro, nora) = tokio::join!(
            Room::enter(&server, &api, &id, "taro@example.com"),
            Room::enter(&server, &api, &id, "nora@example.com"),
        );
        let taro = Finish::ready(taro.at(nodes.url(turn)), "Taro Yamada", TARO).await;
        let nora = Finish::ready(nora.at(nodes.url(turn + 1)), "Nora Wind", NORA).await;
        let (taro, nora) = at_once(turn, async move { taro.press().await }, async move { nora.press().await }).await;
        assert!(is_done(&taro) && is_done(&nora), "{id}: {taro:?} {nora:?}");
        ids.push(id);
    }
    for id in &ids {
        api.wait_for(id, "envelope.completed").await;
        let kinds = kinds(&api, id).await;
        let counts = ["recipient.completed", "envelope.signed", "envelope.completed"].map(|kind| count(&kinds, kind));
        assert_eq!((counts, count(&kinds, "envelope.sealing_failed")), ([2, 1, 1], 0), "{id}: {kinds:?}");
        files_are_whole(&api, id).await;
    }
    assert_eq!(server.sql("SELECT count(*) FROM jobs WHERE kind = 'seal'"), ["0"], "a seal is still to be made");
    let file = api.get(&format!("/v1/envelopes/{}/assets/document", ids[0])).await.body;
    judge::seal_is_valid(&file, &server.data_dir().join("seal/cert.pem"));
    let text = judge::text_of(&file);
    assert!(text.contains("Taro Yamada") && text.contains("Nora Wind"), "a signature is lost: {text}");
    println!(
        "together, {:?}, {} server(s): {envelopes} envelopes of 2 signers who finished at once: each 2 recipient.completed, 1 \
         envelope.signed, 1 envelope.completed, 1 sealed document",
        server.engine,
        nodes.count()
    );
}

async fn a_double_click_on_finish_signs_once(server: Server) {
    let nodes = Nodes::of(&server);
    let (api, envelopes) = (server.api(), scale(10, 100));
    let document = api.sample().await;
    let mut ids = Vec::new();
    for turn in 0..envelopes {
        let id = envelope_of_one(&api, &document).await;
        let room = Room::enter(&server, &api, &id, "taro@example.com").await;
        let finish = Arc::new(Finish::ready(room.at(nodes.url(turn)), "Taro Yamada", TARO).await);
        let (first, second) = (finish.clone(), finish.clone());
        let (one, other) = at_once(turn, async move { first.press().await }, async move { second.press().await }).await;
        assert!(is_done(&one) || is_done(&other), "{id}: {one:?} {other:?}");
        // Who comes second is led to the document, and from there to the same page.
        assert_eq!((one.status, other.status), (303, 303), "{id}: {one:?} {other:?}");
        assert!(is_done(&finish.room.get("/document").await));
        assert_eq!(finish.room.get("/done").await.status, 200);
        ids.push(id);
    }
    for id in &ids {
        api.wait_for(id, "envelope.completed").await;
        let kinds = kinds(&api, id).await;
        let counts = ["recipient.completed", "envelope.signed", "envelope.completed"].map(|kind| count(&kinds, kind));
        assert_eq!(counts, [1, 1, 1], "{id}: {kinds:?}");
        files_are_whole(&api, id).await;
    }
    println!("together, {:?}: {envelopes} double clicks: both saw success, each signed once", server.engine);
}

async fn of_a_signature_and_a_void_exactly_one_wins(server: Server) {
    let nodes = Nodes::of(&server);
    let (api, envelopes) = (server.api(), scale(12, 120));
    let document = api.sample().await;
    let mut ids = Vec::new();
    for turn in 0..envelopes {
        let id = envelope_of_one(&api, &document).await;
        let room = Room::enter(&server, &api, &id, "taro@example.com").await;
        let finish = Finish::ready(room.at(nodes.url(turn)), "Taro Yamada", TARO).await;
        let (path, other) = (format!("/v1/envelopes/{id}/void"), api.at(nodes.url(turn + 1)));
        let void = async move { other.post(&path, json!({ "reason": "A wrong price" })).await };
        let (signed, voided) = at_once(turn, async move { finish.press().await }, void).await;
        let won = (is_done(&signed), voided.status == 200);
        assert!(matches!(won, (true, false) | (false, true)), "{id}: {signed:?} {voided:?}");
        if won.0 {
            assert_eq!(voided.status, 409, "{id}: {}", voided.text());
        } else {
            assert!(matches!(signed.status, 303 | 410), "{id}: {}", signed.text());
        }
        ids.push((id, won.0));
    }
    for (id, is_signed) in &ids {
        ends_as(&api, id, *is_signed, "voided").await;
    }
    said(&server, "void", &ids);
}

async fn of_a_signature_and_a_decline_of_one_person_exactly_one_wins(server: Server) {
    let nodes = Nodes::of(&server);
    let (api, envelopes) = (server.api(), scale(12, 120));
    let document = api.sample().await;
    let mut ids = Vec::new();
    for turn in 0..envelopes {
        let id = envelope_of_one(&api, &document).await;
        let room = Room::enter(&server, &api, &id, "taro@example.com").await;
        let finish = Finish::ready(room.at(nodes.url(turn)), "Taro Yamada", TARO).await;
        let second = Room::enter(&server, &api, &id, "taro@example.com").await.at(nodes.url(turn + 1));
        let decline = async move { second.post("/decline", &[("reason", "The term is too long")]).await };
        at_once(turn, async move { finish.press().await }, decline).await;
        let events = api.events_of(&id).await;
        let is = |kind: &str| events.iter().filter(|event| event["type"] == json!(kind)).count();
        let won = (is("recipient.completed"), is("recipient.declined"));
        assert!(matches!(won, (1, 0) | (0, 1)), "{id}: {events:#?}");
        ids.push((id, won.0 == 1));
    }
    for (id, is_signed) in &ids {
        ends_as(&api, id, *is_signed, "declined").await;
    }
    said(&server, "decline", &ids);
}

/// An envelope of one signer is completed as a whole, or ended as a whole.
async fn ends_as(api: &Api, id: &str, is_signed: bool, otherwise: &str) {
    let end = if is_signed { "completed" } else { otherwise };
    api.wait_for(id, &format!("envelope.{end}")).await;
    let (envelope, kinds) = (api.envelope(id).await, kinds(api, id).await);
    assert_eq!((&envelope["status"], &envelope["recipients"][0]["status"]), (&json!(end), &json!(end)), "{id}");
    let ends = ["envelope.completed", "envelope.voided", "envelope.declined", "envelope.expired"];
    assert_eq!(ends.map(|kind| count(&kinds, kind)).iter().sum::<usize>(), 1, "{id}: {kinds:?}");
    let signed = usize::from(is_signed);
    assert_eq!((count(&kinds, "recipient.completed"), count(&kinds, "envelope.signed")), (signed, signed), "{kinds:?}");
    if is_signed {
        files_are_whole(api, id).await;
    } else {
        let assets = api.get(&format!("/v1/envelopes/{id}/assets")).await.expect(200);
        assert_eq!(assets["data"], json!([]), "{id} has sealed files");
    }
}

fn said(server: &Server, against: &str, ids: &[(String, bool)]) {
    let signed = ids.iter().filter(|(_, is_signed)| *is_signed).count();
    println!(
        "together, {:?}: {} signatures against a {against} at the same moment: {signed} signed, {} ended otherwise, none both",
        server.engine,
        ids.len(),
        ids.len() - signed
    );
}

async fn a_signature_and_a_decline_of_two_people_leave_a_consistent_envelope(server: Server) {
    let nodes = Nodes::of(&server);
    let (api, envelopes) = (server.api(), scale(10, 100));
    let document = api.sample().await;
    let mut signed_first = 0;
    for turn in 0..envelopes {
        let id = envelope_of_two(&api, &document).await;
        let taro = Room::enter(&server, &api, &id, "taro@example.com").await;
        let nora = Room::enter(&server, &api, &id, "nora@example.com").await.at(nodes.url(turn + 1));
        let finish = Finish::ready(taro.at(nodes.url(turn)), "Taro Yamada", TARO).await;
        let decline = async move { nora.post("/decline", &[("reason", "The term is too long")]).await };
        let (signed, declined) = at_once(turn, async move { finish.press().await }, decline).await;
        assert_eq!(declined.status, 303, "{id}: the other's signature ends nothing: {}", declined.text());
        let (envelope, kinds) = (api.envelope(&id).await, kinds(&api, &id).await);
        let status = |at: usize| envelope["recipients"][at]["status"].as_str().unwrap_or_default().to_owned();
        assert_eq!((&envelope["status"], status(1).as_str()), (&json!("declined"), "declined"), "{envelope:#}");
        let has_signed = is_done(&signed);
        assert_eq!(has_signed, status(0) == "completed", "{id}: {signed:?} {envelope:#}");
        assert_eq!(count(&kinds, "recipient.completed"), usize::from(has_signed), "{kinds:?}");
        let none = ["envelope.signed", "envelope.completed"].map(|kind| count(&kinds, kind));
        assert_eq!((none, count(&kinds, "envelope.declined")), ([0, 0], 1), "{kinds:?}");
        signed_first += usize::from(has_signed);
    }
    let jobs: Vec<Value> =
        server.sql("SELECT object FROM jobs WHERE kind = 'seal'").into_iter().map(Value::from).collect();
    assert!(jobs.is_empty(), "what was declined is to be sealed: {jobs:?}");
    println!(
        "together, {:?}: {envelopes} times one signed while the other declined: {signed_first} signatures came first; all declined",
        server.engine
    );
}
