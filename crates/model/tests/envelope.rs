//! Every interleaving of what can happen to an envelope with two signers and a copy: explored to its end, not sampled.

use std::collections::{HashMap, HashSet, VecDeque};

use model::{
    Clock, Code, DocumentId, EnvScope, Environment, Id, Problem, Random, RecipientId, Timestamp,
    caller::Actor,
    document::Page,
    envelope::{Effect, Envelope, Message, Moved, Purpose, Sender, Status},
    envelope_new::{Making, NewEnvelope, NewRecipient, check_message, check_title, from_content, roles},
    event::Type,
    field::{Field, FieldKind, Signature},
    recipient::{Act, Consent, Declined, DeliveryState, RecipientKind, RecipientStatus, Signed},
    template::{Content, ContentDocument},
};
use serde_json::{Map, json};
use uuid::Uuid;

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000)
    }
}

impl Random for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

/// Different bits each time: recipients need ids of their own.
struct Counting(std::sync::atomic::AtomicU8);

impl Random for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    }
}

fn id<K: model::id::Kind>(number: u128) -> Id<K> {
    Id::from_uuid(Uuid::from_u128(number))
}

fn content() -> Content {
    let document: DocumentId = id(1);
    let field = |role: &str, key: &str, kind| Field {
        key: key.into(),
        kind,
        role: role.into(),
        document,
        page: 1,
        x: 10.0,
        y: 10.0,
        width: 100.0,
        height: 20.0,
        required: true,
        readonly: false,
        default: None,
        max_length: Some(5),
    };
    Content {
        documents: vec![ContentDocument {
            id: document,
            filename: "a.pdf".into(),
            sha256: "00".into(),
            working: "00".into(),
            pages: vec![Page { width: 595.0, height: 842.0, rotation: 0 }],
        }],
        fields: vec![
            field("A", "sign_a", FieldKind::Signature),
            field("A", "text_a", FieldKind::Text),
            field("B", "sign_b", FieldKind::Signature),
        ],
    }
}

fn new_envelope(orders: (u32, u32)) -> Envelope {
    let recipient = |role: &str, kind, order| NewRecipient {
        role: Some(role.into()),
        name: role.into(),
        email: format!("{role}@example.com"),
        kind: Some(kind),
        order: Some(order),
        locale: None,
    };
    let new = NewEnvelope {
        recipients: vec![
            recipient("A", RecipientKind::Signer, orders.0),
            recipient("B", RecipientKind::Signer, orders.1),
            recipient("C", RecipientKind::Copy, 1),
        ],
        ..NewEnvelope::default()
    };
    let random = Counting(1.into());
    let making = Making {
        scope: EnvScope { tenant: id(9), environment: Environment::Development },
        by: Actor::System,
        sender: Sender { tenant: "Northwind".into(), address: None },
        clock: &Fixed,
        random: &random,
    };
    let roles = roles(&new.recipients).expect("three roles");
    from_content(&making, &roles, content(), &new).expect("a sound envelope")
}

fn act() -> Act {
    Act { at: Fixed.now(), address: "192.0.2.1".into(), user_agent: "test".into() }
}

fn signed(role: &str) -> Signed {
    let values = if role == "A" { Map::from_iter([("text_a".to_owned(), json!("five!"))]) } else { Map::new() };
    Signed {
        act: act(),
        signature: Some(Signature::Typed { text: role.into() }),
        values,
        shown: vec![],
        shown_values: None,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    Send,
    Deliver(usize),
    View(usize),
    Agree(usize),
    Sign(usize),
    Decline(usize),
    Void,
    Expire,
    Fail,
    Seal,
}

const STEPS: [Step; 16] = [
    Step::Send,
    Step::Deliver(0),
    Step::Deliver(1),
    Step::View(0),
    Step::View(1),
    Step::View(2),
    Step::Agree(0),
    Step::Agree(1),
    Step::Sign(0),
    Step::Sign(1),
    Step::Decline(0),
    Step::Decline(1),
    Step::Void,
    Step::Expire,
    Step::Fail,
    Step::Seal,
];

fn take(envelope: &mut Envelope, step: Step) -> Result<Moved, Problem> {
    let now = Fixed.now();
    let who = |envelope: &Envelope, at: usize| -> RecipientId { envelope.recipients[at].id };
    match step {
        Step::Send => envelope.send(now),
        Step::Deliver(at) => Ok(envelope.delivered(who(envelope, at), DeliveryState::Accepted, "250", now)),
        Step::View(at) => envelope.view(who(envelope, at), act()),
        Step::Agree(at) => {
            let consent = Consent { act: act(), version: "en-1".into(), language: "en".into(), sha256: "00".into() };
            envelope.consent(who(envelope, at), consent)
        }
        Step::Sign(at) => {
            let role = envelope.recipients[at].role.clone();
            envelope.complete(who(envelope, at), &content().fields, signed(&role))
        }
        Step::Decline(at) => envelope.decline(who(envelope, at), Declined { act: act(), reason: "no".into() }),
        Step::Void => envelope.void("changed our mind", now),
        Step::Expire => Ok(envelope.expire(now.plus(1_000 * 86_400_000))),
        Step::Fail => Ok(envelope.sealing_failed("seal_fault", "disk full", now, now)),
        Step::Seal => Ok(envelope.sealed(now).unwrap_or_default()),
    }
}

/// Where an envelope stands, as far as what may follow depends on it.
fn key(envelope: &Envelope) -> String {
    let recipients: Vec<_> = envelope
        .recipients
        .iter()
        .map(|r| {
            (
                r.status.as_str(),
                r.body.viewed.is_some(),
                r.body.consent.is_some(),
                r.body.signed.is_some(),
                r.body.delivery.state.as_str(),
            )
        })
        .collect();
    format!(
        "{:?} {recipients:?} {:?}",
        envelope.status,
        envelope.problem.as_ref().map(|problem| problem.attempts.min(2))
    )
}

fn is_final(status: Status) -> bool {
    matches!(status, Status::Completed | Status::Declined | Status::Voided | Status::Expired)
}

/// What must hold whenever `before` became `after`.
fn check(before: &Envelope, after: &Envelope, step: Step, moved: &Moved) {
    let place = format!("{step:?}: {} -> {}", key(before), key(after));
    if is_final(before.status) {
        assert_eq!(before.status, after.status, "a final state is left: {place}");
    }
    let changes = usize::from(before.status != after.status);
    let told = moved.events.iter().filter(|event| event.previous.contains_key("status")).count();
    assert_eq!(told, changes, "each change of state is told exactly once: {place}");
    assert_eq!(
        moved.effects.contains(&Effect::Seal),
        before.status == Status::Sent && after.status == Status::Sealing,
        "sealing is asked for exactly once: {place}"
    );
    for (old, new) in before.recipients.iter().zip(&after.recipients) {
        if old.body.signed.is_some() {
            assert_eq!(old.body.signed, new.body.signed, "a signature is lost or changed: {place}");
        }
        if !old.status.is_open() {
            assert_eq!(old.status, new.status, "a recipient moves after its end: {place}");
        }
        let completed = moved.events.iter().filter(|e| e.kind == Type::RecipientCompleted).count();
        let signs =
            before.recipients.iter().zip(&after.recipients).filter(|(a, b)| a.body.signed != b.body.signed).count();
        assert_eq!(completed, signs, "one recipient.completed for each signature: {place}");
    }
    if matches!(after.status, Status::Sealing | Status::Completed) {
        let all = after.recipients.iter().filter(|r| r.kind != RecipientKind::Copy);
        assert!(all.clone().all(|r| r.status == RecipientStatus::Completed && r.body.signed.is_some()), "{place}");
    }
    if is_final(after.status) && after.status != Status::Completed {
        assert!(after.recipients.iter().all(|r| !r.status.is_open()), "someone could still act: {place}");
    }
    if let Step::Sign(at) = step {
        let turn = before.recipients.iter().filter(|r| r.acts() && r.status.is_open()).map(|r| r.order).min();
        if before.recipients[at].body.signed.is_none() && after.recipients[at].body.signed.is_some() {
            assert_eq!(Some(before.recipients[at].order), turn, "signed out of turn: {place}");
            assert!(before.recipients[at].body.consent.is_some(), "signed without consent: {place}");
        }
    }
}

fn explore(orders: (u32, u32)) -> (usize, HashMap<Status, usize>) {
    let start = new_envelope(orders);
    let mut seen = HashSet::from([key(&start)]);
    let mut queue = VecDeque::from([start]);
    let mut statuses = HashMap::new();
    while let Some(envelope) = queue.pop_front() {
        *statuses.entry(envelope.status).or_insert(0) += 1;
        for step in STEPS {
            let mut next = envelope.clone();
            let Ok(moved) = take(&mut next, step) else {
                assert_eq!(next, envelope, "a refused move changes nothing: {step:?}");
                continue;
            };
            check(&envelope, &next, step, &moved);
            if seen.insert(key(&next)) {
                queue.push_back(next);
            }
        }
    }
    (seen.len(), statuses)
}

#[test]
fn no_interleaving_loses_a_signature_or_leaves_a_final_state() {
    for orders in [(1, 1), (1, 2), (2, 1)] {
        let (states, statuses) = explore(orders);
        println!("orders {orders:?}: {states} states, {statuses:?}");
        for status in [
            Status::Draft,
            Status::Sent,
            Status::Sealing,
            Status::Completed,
            Status::Declined,
            Status::Voided,
            Status::Expired,
        ] {
            assert!(statuses.contains_key(&status), "{status:?} is never reached with orders {orders:?}");
        }
    }
}

#[test]
fn the_second_turn_is_invited_when_the_first_has_signed() {
    let mut envelope = new_envelope((1, 2));
    let (a, b) = (envelope.recipients[0].id, envelope.recipients[1].id);
    assert_eq!(take(&mut envelope, Step::Send).expect("sent").effects, [Effect::Mail(a, Purpose::Invite)]);
    assert_eq!(take(&mut envelope, Step::View(1)).expect_err("not b's turn").code, Code::NotYourTurn);
    for step in [Step::View(0), Step::Agree(0)] {
        take(&mut envelope, step).expect("a's turn");
    }
    assert_eq!(take(&mut envelope, Step::Sign(0)).expect("signed").effects, [Effect::Mail(b, Purpose::Invite)]);
    assert_eq!(take(&mut envelope, Step::Sign(0)).expect_err("signed already").code, Code::RecipientAlreadySigned);
    for step in [Step::View(1), Step::Agree(1), Step::Sign(1)] {
        take(&mut envelope, step).expect("b's turn");
    }
    assert_eq!(envelope.status, Status::Sealing);
    assert_eq!(envelope.void("Too late", act().at).expect_err("all have signed").code, Code::AlreadySealing);
}

#[test]
fn every_fault_of_a_signature_is_named_at_once() {
    let mut envelope = new_envelope((1, 1));
    for step in [Step::Send, Step::View(0), Step::Agree(0)] {
        take(&mut envelope, step).expect("goes on");
    }
    let values = Map::from_iter([("text_a".to_owned(), json!("six six")), ("sign_b".to_owned(), json!("not mine"))]);
    let signed = Signed {
        act: act(),
        signature: Some(Signature::Typed { text: " ".into() }),
        values,
        shown: vec![],
        shown_values: None,
    };
    let problem = envelope.complete(envelope.recipients[0].id, &content().fields, signed).expect_err("three faults");
    let pointers: Vec<_> = problem.errors.iter().map(|error| (error.pointer.as_str(), error.code.as_ref())).collect();
    assert_eq!(
        pointers,
        [("/values/text_a", "too_long"), ("/values/sign_b", "unknown_field"), ("/signature", "signature_empty")]
    );
}

#[test]
fn a_lost_update_of_values_is_refused() {
    let mut envelope = new_envelope((1, 1));
    for step in [Step::Send, Step::View(0)] {
        take(&mut envelope, step).expect("goes on");
    }
    let a = envelope.recipients[0].id;
    let values = Map::from_iter([("text_a".to_owned(), json!("abc"))]);
    let save = |envelope: &mut Envelope, version| envelope.save_values(a, &content().fields, version, &values);
    assert_eq!(save(&mut envelope, 0).expect_err("no consent yet").code, Code::ConsentRequired);
    take(&mut envelope, Step::Agree(0)).expect("agreed");
    assert_eq!(save(&mut envelope, 0).expect("saved"), 1);
    assert_eq!(save(&mut envelope, 0).expect_err("lost").code, Code::ValuesOutdated);
    assert_eq!(Message::default(), envelope.body.message);
}

#[test]
fn a_templates_words_and_an_envelopes_obey_one_rule() {
    let mut errors = Vec::new();
    check_title("/name", " ", &mut errors);
    check_title("/title", "Service\u{202e} agreement", &mut errors);
    check_message(&Message { subject: "two\nlines".into(), body: "rings\u{7}".into() }, &mut errors);
    let found: Vec<_> = errors.iter().map(|error| (error.pointer.as_str(), error.code.as_ref())).collect();
    let expected = [
        ("/name", "required"),
        ("/title", "control_character"),
        ("/message/subject", "control_character"),
        ("/message/body", "malformed"),
    ];
    assert_eq!(found, expected);
    let mut errors = Vec::new();
    check_title("/name", "Service agreement", &mut errors);
    check_message(&Message { subject: String::new(), body: "Dear all,\n\tread this.".into() }, &mut errors);
    assert_eq!(errors, []);
}
