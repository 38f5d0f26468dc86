//! The signing room's rules over the whole of `app`, on both engines: what a link and a session open, and what they don't.

use app::room::{Finish, SessionToken, Standing, Visitor};
use app::tenant::NewTenant;
use app::{App, Parts, SystemRandom};
use model::{
    Caller, Clock, Code, EnvScope, Environment, Problem, Timestamp,
    caller::Actor,
    document::Page,
    envelope::{Envelope, Sender, Status},
    envelope_new::{self, Making, NewEnvelope, NewRecipient},
    field::{Field, FieldKind, Signature},
    link::Link,
    recipient::RecipientStatus,
    shown::By,
    template::{Content, ContentDocument},
    tenant::Tier,
    time::{DAY_MS, HOUR_MS},
};
use seal::key::SealKey;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use store::testing::{TestDb, engines};

mod parts;
use parts::{MASTER, parts};

struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// One tenant's development, with a clock that is moved by hand.
struct House {
    app: App,
    clock: Arc<Hand>,
    scope: EnvScope,
    engine: &'static str,
    _test: TestDb,
    _folder: tempfile::TempDir,
}

impl House {
    async fn new(test: TestDb) -> House {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(Hand(AtomicI64::new(1_795_000_000_000)));
        let made = SealKey::generate("Test (self-signed)", clock.now().millis()).expect("a key");
        let seal_key = SealKey::from_pem(&made.certificate, &made.key).map_err(|error| error.to_string());
        let app = App::new(Parts { seal_key, ..parts(&test.db, folder.path(), clock.clone()).await });
        let tenant = NewTenant {
            name: "Northwind Legal".to_owned(),
            tier: Tier::Standard,
            owner_email: "ana@example.com".to_owned(),
            owner_name: "Ana".to_owned(),
            owner_password: None,
        };
        let (tenant, _) = app.create_tenant(tenant).await.expect("a tenant");
        let scope = EnvScope { tenant: tenant.id, environment: Environment::Development };
        House { app, clock, scope, engine: test.engine, _test: test, _folder: folder }
    }

    async fn both() -> Vec<House> {
        let mut houses = Vec::new();
        for test in engines().await {
            houses.push(House::new(test).await);
        }
        houses
    }

    /// An envelope that was sent to these turns, one recipient each.
    async fn send(&self, turns: &[u32]) -> Envelope {
        self.try_send(turns).await.expect("made and sent")
    }

    async fn try_send(&self, turns: &[u32]) -> Result<Envelope, Problem> {
        let recipients: Vec<_> = turns
            .iter()
            .zip(1..)
            .map(|(turn, n)| NewRecipient {
                role: Some(format!("R{n}")),
                name: format!("Reader {n}"),
                email: format!("r{n}@example.com"),
                order: Some(*turn),
                ..NewRecipient::default()
            })
            .collect();
        let roles = envelope_new::roles(&recipients).expect("roles");
        let content = content(&self.app, turns.len());
        let making = Making {
            scope: self.scope,
            by: Actor::System,
            sender: Sender { tenant: "Northwind Legal".to_owned(), address: None },
            clock: &*self.clock,
            random: &SystemRandom,
        };
        let new = NewEnvelope { title: Some("Service agreement".to_owned()), recipients, ..NewEnvelope::default() };
        let draft = envelope_new::from_content(&making, &roles, content, &new).expect("a draft");
        let mut tx = self.app.db.begin().await.expect("begins");
        let caller = Caller::system(self.scope);
        let made = self.app.create_in(&mut tx, &caller, vec![draft], true).await?;
        tx.commit().await.expect("commits");
        Ok(made.into_iter().next().expect("one"))
    }

    async fn load(&self, envelope: &Envelope) -> Envelope {
        let mut tx = self.app.read().await.expect("reads");
        store::envelope::get(&mut tx, self.scope, envelope.id).await.expect("answers").expect("stands")
    }

    async fn kinds(&self) -> Vec<String> {
        let mut tx = self.app.read().await.expect("reads");
        let events = store::event::after(&mut tx, self.scope, 0, &store::event::Filter::default(), 100).await;
        events.expect("events").into_iter().map(|event| event.kind).collect()
    }

    fn later(&self, ms: i64) {
        self.clock.0.fetch_add(ms, Ordering::Relaxed);
    }

    /// A session in which consent was given.
    async fn enter(&self, link: &Link) -> SessionToken {
        let token = self.app.room_open(link, &visitor()).await.expect("opens");
        self.app.room_consent(link, Some(&token), &visitor(), "en-1").await.expect("agrees");
        token
    }
}

fn content(app: &App, signers: usize) -> Content {
    let id = app.id();
    let field = |n: usize, kind: FieldKind, key: &str, required| Field {
        key: format!("{key}{n}"),
        kind,
        role: format!("R{n}"),
        document: id,
        page: 1,
        x: 72.0,
        y: 100.0 * n as f64,
        width: 180.0,
        height: 40.0,
        required,
        readonly: false,
        default: None,
        max_length: Some(20),
    };
    let fields = (1..=signers).flat_map(|n| {
        [
            field(n, FieldKind::Signature, "sig", true),
            field(n, FieldKind::Text, "company", true),
            field(n, FieldKind::Checkbox, "annex", false),
        ]
    });
    let mut fields: Vec<_> = fields.collect();
    fields.push(Field { readonly: true, default: Some(json!("500 EUR")), ..field(1, FieldKind::Text, "fee", false) });
    Content {
        fields,
        documents: vec![ContentDocument {
            id,
            filename: "agreement.pdf".to_owned(),
            sha256: "0".repeat(64),
            working: "1".repeat(64),
            pages: vec![Page { width: 595.0, height: 842.0, rotation: 0 }],
        }],
    }
}

fn link(envelope: &Envelope, at: usize) -> Link {
    let recipient = &envelope.recipients[at];
    Link::make(&MASTER, recipient.link, recipient.link_generation)
}

fn visitor() -> Visitor {
    Visitor { address: "192.0.2.7".parse().ok(), user_agent: Some("Browser".to_owned()), request_id: None }
}

fn values(pairs: &[(&str, Value)]) -> Map<String, Value> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
}

fn finish(version: i64, n: usize) -> Finish {
    Finish {
        version,
        shown: String::new(),
        values: values(&[(&format!("company{n}"), json!("Kite")), (&format!("annex{n}"), json!(true))]),
        signature: Some(Signature::Typed { text: "Taro Yamada".to_owned() }),
    }
}

fn code<T>(answer: Result<T, Problem>) -> Option<Code> {
    answer.err().map(|problem| problem.code)
}

#[tokio::test]
async fn looking_changes_nothing_and_opening_counts_once() {
    for house in House::both().await {
        let envelope = house.send(&[1]).await;
        let before = house.load(&envelope).await;
        let room = house.app.room_landing(&link(&envelope, 0)).await.expect("a landing page");
        assert_eq!((room.standing, room.recipient().name.as_str()), (Standing::Open, "Reader 1"));
        assert_eq!(house.load(&envelope).await, before, "{}", house.engine);

        house.app.room_open(&link(&envelope, 0), &visitor()).await.expect("opens");
        house.app.room_open(&link(&envelope, 0), &visitor()).await.expect("opens again");
        let seen = house.load(&envelope).await;
        assert_eq!(seen.recipients[0].status, RecipientStatus::Viewed);
        let act = seen.recipients[0].body.viewed.clone().expect("an act");
        assert_eq!((act.address.as_str(), act.user_agent.as_str()), ("192.0.2.7", "Browser"));
        let told = ["envelope.created", "envelope.sent", "recipient.notified", "recipient.viewed"];
        assert_eq!(house.kinds().await, told, "{}", house.engine);
    }
}

#[tokio::test]
async fn an_unknown_link_and_a_changed_one_get_the_same_answer() {
    for house in House::both().await {
        let envelope = house.send(&[1]).await;
        let recipient = &envelope.recipients[0];
        let strange = Link::make(&MASTER, house.app.id(), 1);
        let changed = Link::make(&[8; 32], recipient.link, recipient.link_generation);
        let newer = Link::make(&MASTER, recipient.link, recipient.link_generation + 1);
        let answers = [&strange, &changed, &newer].map(|link| async { house.app.room_landing(link).await.err() });
        for answer in futures::future::join_all(answers).await {
            assert_eq!(answer, Some(Code::LinkUnknown.into()), "{}", house.engine);
        }
        let older = Link::make(&MASTER, recipient.link, recipient.link_generation - 1);
        assert_eq!(house.app.room_landing(&older).await.map(|room| room.standing), Ok(Standing::Replaced));
        assert_eq!(code(house.app.room_open(&older, &visitor()).await), Some(Code::SessionRequired));
    }
}

#[tokio::test]
async fn a_session_opens_its_own_link_and_ends_with_its_time() {
    for house in House::both().await {
        let envelope = house.send(&[1, 1]).await;
        let token = house.app.room_open(&link(&envelope, 0), &visitor()).await.expect("opens");
        assert!(house.app.room(&link(&envelope, 0), Some(&token)).await.is_ok());
        assert_eq!(code(house.app.room(&link(&envelope, 1), Some(&token)).await), Some(Code::SessionRequired));
        assert_eq!(code(house.app.room(&link(&envelope, 0), None).await), Some(Code::SessionRequired));
        house.later(1);
        let other = house.app.room_open(&link(&envelope, 0), &visitor()).await.expect("opens elsewhere");
        for _ in 0..19 {
            house.later(1);
            house.app.room_open(&link(&envelope, 0), &visitor()).await.expect("opens");
        }
        assert_eq!(code(house.app.room(&link(&envelope, 0), Some(&token)).await), Some(Code::SessionRequired));
        assert!(house.app.room(&link(&envelope, 0), Some(&other)).await.is_ok(), "{}", house.engine);
        house.later(8 * HOUR_MS);
        assert_eq!(code(house.app.room(&link(&envelope, 0), Some(&other)).await), Some(Code::SessionRequired));
    }
}

#[tokio::test]
async fn consent_comes_first_and_what_was_read_is_recorded() {
    for house in House::both().await {
        let envelope = house.send(&[1]).await;
        let link = link(&envelope, 0);
        let token = house.app.room_open(&link, &visitor()).await.expect("opens");
        let (token, visitor) = (Some(&token), visitor());
        let document = house.app.room(&link, token).await.expect("a room").content.documents[0].id;
        assert_eq!(
            code(house.app.room_save(&link, token, &visitor, 0, &Map::new()).await),
            Some(Code::ConsentRequired)
        );
        assert_eq!(
            code(house.app.room_finish(&link, token, &visitor, finish(0, 1)).await),
            Some(Code::ConsentRequired)
        );
        assert_eq!(code(house.app.room_picture(&link, token, document, 1, 600).await), Some(Code::ConsentRequired));
        assert_eq!(code(house.app.room_copy(&link, token, document).await), Some(Code::ConsentRequired));
        assert_eq!(code(house.app.room_consent(&link, token, &visitor, "en-0").await), Some(Code::ConsentRequired));

        house.app.room_consent(&link, token, &visitor, "en-1").await.expect("agrees");
        let consent = house.load(&envelope).await.recipients[0].body.consent.clone().expect("recorded");
        assert_eq!((consent.version.as_str(), consent.language.as_str(), consent.sha256.len()), ("en-1", "en", 64));
        assert_eq!(consent.act.at, house.clock.now(), "{}", house.engine);
    }
}

#[tokio::test]
async fn a_lost_update_is_told_and_finishing_twice_signs_once() {
    for house in House::both().await {
        let envelope = house.send(&[1]).await;
        let link = link(&envelope, 0);
        let token = house.enter(&link).await;
        let (token, visitor) = (Some(&token), visitor());
        let typed = values(&[("company1", json!("Kite"))]);
        assert_eq!(house.app.room_save(&link, token, &visitor, 0, &typed).await, Ok(1));
        assert_eq!(code(house.app.room_save(&link, token, &visitor, 0, &typed).await), Some(Code::ValuesOutdated));
        assert_eq!(code(house.app.room_finish(&link, token, &visitor, finish(0, 1)).await), Some(Code::ValuesOutdated));

        let refused = house.app.room_finish(
            &link,
            token,
            &visitor,
            Finish {
                version: 1,
                shown: String::new(),
                values: values(&[("company1", json!(" ".repeat(21)))]),
                signature: Some(Signature::Drawn { strokes: vec![vec![(0.5, 0.5)]], aspect: 3.0 }),
            },
        );
        let mut pointers: Vec<_> = refused.await.expect_err("refused").errors.into_iter().map(|e| e.pointer).collect();
        pointers.dedup();
        assert_eq!(pointers, ["/values/company1", "/signature"], "{}", house.engine);

        let (one, two) = tokio::join!(
            house.app.room_finish(&link, token, &visitor, finish(1, 1)),
            house.app.room_finish(&link, token, &visitor, finish(1, 1)),
        );
        assert_eq!((one, two), (Ok(()), Ok(())), "{}", house.engine);
        let signed = house.load(&envelope).await;
        assert_eq!((signed.status, signed.recipients[0].status), (Status::Sealing, RecipientStatus::Completed));
        let shown = signed.recipients[0].body.signed.clone().expect("a signature").shown;
        assert_eq!(shown, [(signed.body.content.expect("content").documents[0].id, "1".repeat(64))]);
        let kinds = house.kinds().await;
        assert_eq!(kinds.iter().filter(|kind| *kind == "recipient.completed").count(), 1, "{}", house.engine);
        assert_eq!(kinds.last().map(String::as_str), Some("envelope.signed"));
        assert_eq!(house.app.room(&link, token).await.map(|room| room.standing), Ok(Standing::Signed));
    }
}

#[tokio::test]
async fn others_wait_for_their_turn_and_a_decline_ends_it_for_all() {
    for house in House::both().await {
        let envelope = house.send(&[1, 2]).await;
        let (first, second) = (link(&envelope, 0), link(&envelope, 1));
        assert_eq!(house.app.room_landing(&second).await.map(|room| room.standing), Ok(Standing::NotYourTurn));
        assert_eq!(code(house.app.room_open(&second, &visitor()).await), Some(Code::NotYourTurn));

        let token = house.enter(&first).await;
        house.app.room_decline(&first, Some(&token), &visitor(), "Wrong price").await.expect("declines");
        house.app.room_decline(&first, Some(&token), &visitor(), "Twice").await.expect("changes nothing");
        for link in [&first, &second] {
            assert_eq!(house.app.room_landing(link).await.map(|room| room.standing), Ok(Standing::Declined));
            assert_eq!(code(house.app.room_open(link, &visitor()).await), Some(Code::AlreadyDeclined));
        }
        let declined = house.load(&envelope).await;
        let reason = declined.recipients[0].body.declined.as_ref().map(|declined| declined.reason.as_str());
        assert_eq!((declined.status, reason), (Status::Declined, Some("Wrong price")), "{}", house.engine);
    }
}

#[tokio::test]
async fn what_has_run_out_expires_when_somebody_comes() {
    for house in House::both().await {
        let envelope = house.send(&[1]).await;
        let link = link(&envelope, 0);
        house.enter(&link).await;
        house.later(121 * DAY_MS);
        assert_eq!(house.app.room_landing(&link).await.map(|room| room.standing), Ok(Standing::Expired));
        assert_eq!(house.load(&envelope).await.status, Status::Sent);
        assert_eq!(code(house.app.room_open(&link, &visitor()).await), Some(Code::AlreadyExpired));
        assert_eq!(house.load(&envelope).await.status, Status::Expired, "{}", house.engine);
        assert_eq!(code(house.app.room_open(&link, &visitor()).await), Some(Code::AlreadyExpired));
    }
}

#[tokio::test]
async fn what_was_shown_of_others_is_on_record_with_each_signature() {
    for house in House::both().await {
        let envelope = house.send(&[1, 1, 2]).await;
        let (first, second, third) = (link(&envelope, 0), link(&envelope, 1), link(&envelope, 2));
        let (one, two) = (house.enter(&first).await, house.enter(&second).await);
        let seen = async |link: &Link, token: &SessionToken| {
            let room = house.app.room(link, Some(token)).await.expect("a room");
            let filled = room.filled(room.content.documents[0].id);
            let fields: Vec<_> = filled.iter().map(|filled| (filled.field.key.clone(), filled.by)).collect();
            (room.shown_values(), fields)
        };
        let sign = async |link: &Link, token: &SessionToken, n: usize, shown: &str| {
            house.later(1_000);
            let finish = Finish { shown: shown.to_owned(), ..finish(0, n) };
            house.app.room_finish(link, Some(token), &visitor(), finish).await
        };
        let (before, fields) = seen(&first, &one).await;
        assert_eq!((before.signed_by.len(), fields), (0, vec![]), "the fee is its own field, shown as an input");
        let (_, fields) = seen(&second, &two).await;
        assert_eq!(fields, [("fee1".to_owned(), By::Sender)], "{}", house.engine);

        sign(&second, &two, 2, "").await.expect("signs");
        let (after, fields) = seen(&first, &one).await;
        assert_ne!(after.sha256, before.sha256);
        let keys: Vec<_> = fields.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["sig2", "company2", "annex2"]);
        assert_eq!(code(sign(&first, &one, 1, &"0".repeat(64)).await), Some(Code::ValuesOutdated));
        // A page that was opened before the other signed showed less, and that is what is recorded.
        sign(&first, &one, 1, &before.sha256).await.expect("signs");

        let three = house.enter(&third).await;
        let (last, _) = seen(&third, &three).await;
        assert_eq!(last.signed_by, [envelope.recipients[1].id, envelope.recipients[0].id]);
        let room = house.app.room(&third, Some(&three)).await.expect("a room");
        let less = model::shown::shown_values(
            &room.envelope,
            &room.content.fields,
            envelope.recipients[2].id,
            &last.signed_by[..1],
        );
        let refused = sign(&third, &three, 3, &less.sha256).await;
        assert_eq!(code(refused), Some(Code::ValuesOutdated), "it was its turn only after both: {}", house.engine);
        sign(&third, &three, 3, &last.sha256).await.expect("signs");

        let mut tx = house.app.read().await.expect("reads");
        let events = store::event::after(&mut tx, house.scope, 0, &store::event::Filter::default(), 100).await;
        let told: Vec<_> = events
            .expect("events")
            .into_iter()
            .filter(|event| event.kind == "recipient.completed")
            .map(|event| event.data["shown_values"].clone())
            .collect();
        assert_eq!(told.len(), 3);
        assert_eq!(told[1..], [json!(before), json!(last)], "{}", house.engine);
    }
}

#[tokio::test]
async fn what_nobody_could_see_on_paper_is_no_signature_and_no_value() {
    for house in House::both().await {
        let envelope = house.send(&[1]).await;
        let link = link(&envelope, 0);
        let token = house.enter(&link).await;
        let typed = |text: &str| Some(Signature::Typed { text: text.to_owned() });
        for (company, signature, pointer) in
            [("\u{200b}\u{ad}", typed("Taro"), "/values/company1"), ("Kite", typed("\u{3164}\u{ad}"), "/signature")]
        {
            let values = values(&[("company1", json!(company))]);
            let finish = Finish { version: 0, shown: String::new(), values, signature };
            let refused = house.app.room_finish(&link, Some(&token), &visitor(), finish).await.expect_err("refused");
            let pointers: Vec<_> = refused.errors.into_iter().map(|error| error.pointer).collect();
            assert_eq!(pointers, [pointer], "{}", house.engine);
        }
    }
}

#[tokio::test]
async fn a_reason_with_control_characters_ends_in_no_fault() {
    for house in House::both().await {
        let envelope = house.send(&[1]).await;
        let link = link(&envelope, 0);
        let token = house.enter(&link).await;
        let reason = "No\0t like\u{1b} this\n\u{202e}really";
        house.app.room_decline(&link, Some(&token), &visitor(), reason).await.expect("declines");
        let declined = house.load(&envelope).await.recipients[0].body.declined.clone().expect("declined");
        assert_eq!(declined.reason, "Not like this\nreally", "{}", house.engine);
    }
}

#[tokio::test]
async fn nothing_is_sent_once_the_seal_has_expired() {
    for house in House::both().await {
        house.send(&[1]).await;
        house.later(3 * 365 * DAY_MS + 1_000);
        assert_eq!(code(house.try_send(&[1]).await), Some(Code::SealUnavailable), "{}", house.engine);
    }
}
