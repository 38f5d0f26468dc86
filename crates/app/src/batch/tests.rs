//! Batches over the whole of `app`, on both engines: none lost and none twice, whatever is interrupted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, TryStreamExt};
use gate::{Ask, Gate, GateConfig, Peer, Rule};
use http::{HeaderMap, HeaderValue, Uri, header};
use model::{
    Clock, Code, DocumentId, EnvScope, Environment, KeyId, Timestamp,
    document::Page,
    envelope_new::{NewEnvelope, NewRecipient},
    field::{Field, FieldKind},
    key::{Draft, Reason},
    recipient::RecipientKind,
    template::{Content, ContentDocument, Role, Template},
    tenant::Tier,
};
use seal::key::SealKey;
use serde_json::json;
use store::{
    job,
    testing::{TestDb, engines},
};

use super::*;
use crate::{
    Config, Parts, SystemRandom,
    job::Outcome,
    rows::{Charset, Format},
    tenant::NewTenant,
};

const CSV: Format = Format::Csv(Charset::Utf8);
const HEADER: &str = "external_id;Client.name;Client.email;values.amount\n";

struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// One tenant's development with a template and a key, and a clock that is moved by hand.
struct House {
    app: App,
    clock: Arc<Hand>,
    scope: EnvScope,
    owner: String,
    key: KeyId,
    pass: Pass,
    template: TemplateId,
    engine: &'static str,
    _test: TestDb,
    _folder: tempfile::TempDir,
}

impl House {
    async fn both() -> Vec<House> {
        let mut houses = Vec::new();
        for test in engines().await {
            houses.push(House::new(test).await);
        }
        houses
    }

    async fn new(test: TestDb) -> House {
        let folder = tempfile::tempdir().expect("a folder");
        let random = Arc::new(SystemRandom);
        let clock = Arc::new(Hand(AtomicI64::new(crate::SystemClock.now().millis())));
        let seal = SealKey::generate("Test", clock.now().millis()).expect("a seal key");
        let seal_key = SealKey::from_pem(&seal.certificate, &seal.key).map_err(|e| e.to_string());
        let app = App::new(Parts {
            db: test.db.clone(),
            files: store::Files::open(folder.path(), random.clone()).expect("files"),
            journal: store::Journal::open(folder.path(), None).await.expect("a journal"),
            gate: Gate::new(test.db.clone(), GateConfig::default(), clock.clone()),
            seal_key,
            config: Config {
                public_url: "https://sign.example.com".to_owned(),
                master_key: [7; 32],
                smtp: None,
                worker: ("/bin/false".into(), Vec::new()),
                workers: 1,
                github_keys: None,
            },
            clock: clock.clone(),
            random,
        });
        let new = NewTenant {
            name: "Northwind".to_owned(),
            tier: Tier::Standard,
            owner_email: "ana@example.com".to_owned(),
            owner_name: "Ana".to_owned(),
            owner_password: None,
        };
        let (tenant, owner) = app.create_tenant(new).await.expect("a tenant");
        let scope = EnvScope { tenant: tenant.id, environment: Environment::Development };
        let template = template(&app);
        let mut tx = app.db.begin().await.expect("begins");
        store::template::insert(&mut tx, scope, &template).await.expect("a template");
        tx.commit().await.expect("commits");
        let owner = owner.id.to_string();
        let (key, pass) = admitted(&app, scope, &owner).await;
        House {
            app,
            clock,
            scope,
            owner,
            key,
            pass,
            template: template.id,
            engine: test.engine,
            _test: test,
            _folder: folder,
        }
    }

    fn batch(&self) -> NewBatch {
        NewBatch {
            name: "June".to_owned(),
            template: (self.template, None),
            defaults: Defaults::default(),
            on_invalid: OnInvalid::Reject,
            send_rate_per_minute: None,
            start_at: None,
            rows: Vec::new(),
            start: false,
        }
    }

    async fn open(&self, new: NewBatch) -> BatchId {
        self.app.create_batch(&self.pass, new, &Once::unclaimed()).await.expect("a batch").batch.id
    }

    async fn put(&self, id: BatchId, text: &str) -> Result<BatchDetails, Problem> {
        let pieces: Vec<_> = text.as_bytes().chunks(1_000).map(|piece| Ok(piece.to_vec().into())).collect();
        self.app.put_rows(&self.pass, id, CSV, futures::stream::iter(pieces)).await
    }

    async fn start(&self, id: BatchId) -> Result<BatchDetails, Problem> {
        self.app.start_batch(&self.pass, id, &Once::unclaimed()).await
    }

    async fn get(&self, id: BatchId) -> BatchDetails {
        self.app.get_batch(&self.pass, id).await.expect("a batch")
    }

    /// Takes the batch's job and runs it; whether there was one to run.
    async fn run(&self) -> bool {
        let Some(job) = self.claim().await else { return false };
        match run(&self.app, &job).await.expect("runs") {
            Outcome::Again(at) => self.again(&job, at).await,
            outcome => assert_eq!(outcome, Outcome::Committed),
        }
        true
    }

    async fn claim(&self) -> Option<job::Job> {
        job::claim(&self.app.db, &["batch"], LEASE_MS, self.app.now(), 1).await.expect("asked").pop()
    }

    async fn again(&self, job: &job::Job, at: Timestamp) {
        let mut tx = self.app.db.begin().await.expect("begins");
        job::again(&mut tx, job, &job.body, at).await.expect("again");
        tx.commit().await.expect("commits");
    }

    async fn run_to_the_end(&self) {
        while self.run().await {}
    }

    fn later(&self, ms: i64) {
        self.clock.0.fetch_add(ms, Ordering::Relaxed);
    }

    async fn number(&self, what: store::Query) -> i64 {
        let mut tx = self.app.read().await.expect("reads");
        what.bind(self.scope.tenant).one(&mut tx).await.expect("counted").get("number").expect("a number")
    }

    /// The kinds of the batch's own events, in order.
    async fn told(&self) -> Vec<String> {
        let mut tx = self.app.read().await.expect("reads");
        let filter = store::event::Filter { types: BATCH_TYPES.to_vec(), ..Default::default() };
        let events = store::event::after(&mut tx, self.scope, 0, &filter, 100).await.expect("events");
        events.into_iter().map(|event| event.kind.replace("batch.", "")).collect()
    }

    async fn errors_csv(&self, id: BatchId) -> String {
        let pieces = self.app.batch_errors(&self.pass, id).await.expect("a file");
        let pieces: Vec<bytes::Bytes> = pieces.try_collect().await.expect("whole");
        String::from_utf8(pieces.concat()).expect("UTF-8").trim_start_matches('\u{feff}').to_owned()
    }
}

const BATCH_TYPES: [&str; 7] = [
    "batch.created",
    "batch.ready",
    "batch.started",
    "batch.paused",
    "batch.resumed",
    "batch.cancelled",
    "batch.completed",
];

async fn admitted(app: &App, scope: EnvScope, owner: &str) -> (KeyId, Pass) {
    let draft = Draft { label: "Batches".to_owned(), administrator: Some(owner.to_owned()), ..Draft::default() };
    let made = app.create_key(&Pass::operator(scope), &draft, &Once::unclaimed()).await.expect("a key");
    let mut headers = HeaderMap::new();
    let bearer = HeaderValue::from_str(&format!("Bearer {}", made.secret.expose())).expect("a header");
    headers.insert(header::AUTHORIZATION, bearer);
    let uri = Uri::from_static("/v1/batches");
    let peer = Peer::Ip("192.0.2.7".parse().expect("an address"));
    let rule = Rule::Scope(model::scope::Scope::BatchesWrite);
    let route = "POST /v1/batches";
    let ask = Ask { headers: &headers, uri: &uri, peer, is_tls: true, rule, route, request_id: "req_1" };
    (made.details.key.id, app.gate.admit(&ask).await.expect("admitted"))
}

fn template(app: &App) -> Template {
    let document: DocumentId = app.id();
    let field = |kind, key: &str, readonly| Field {
        key: key.to_owned(),
        kind,
        role: "Client".to_owned(),
        document,
        page: 1,
        x: 72.0,
        y: 100.0,
        width: 180.0,
        height: 40.0,
        required: true,
        readonly,
        default: None,
        max_length: Some(20),
    };
    let content = Content {
        fields: vec![field(FieldKind::Signature, "sig", false), field(FieldKind::Text, "amount", true)],
        documents: vec![ContentDocument {
            id: document,
            filename: "agreement.pdf".to_owned(),
            sha256: "0".repeat(64),
            working: "1".repeat(64),
            pages: vec![Page { width: 595.0, height: 842.0, rotation: 0 }],
        }],
    };
    let version = TemplateVersion {
        number: 1,
        title: "Agreement".to_owned(),
        roles: vec![Role { name: "Client".to_owned(), kind: RecipientKind::Signer, order: 1 }],
        content,
        message: model::envelope::Message::default(),
    };
    Template { id: app.id(), name: "Agreement".to_owned(), created_at: app.now(), version }
}

fn rows(numbers: std::ops::RangeInclusive<u32>) -> String {
    numbers.map(|n| format!("R-{n};Client {n};client{n}@example.com;{n} €\n")).collect()
}

fn code<T>(answer: Result<T, Problem>) -> Option<Code> {
    answer.err().map(|problem| problem.code)
}

#[tokio::test]
async fn two_thousand_rows_become_two_thousand_envelopes_however_often_it_is_interrupted() {
    for house in House::both().await {
        let id = house.open(house.batch()).await;
        let put = house.put(id, &format!("{HEADER}{}", rows(1..=2_000))).await.expect("put");
        assert_eq!((put.batch.rows.total, put.batch.rows.valid, put.batch.rows.invalid), (2_000, 2_000, 0));
        house.start(id).await.expect("started");
        let (mut interrupted, mut turns, mut made, mut patience_us) = (0, 0_u64, 0, 50_000);
        loop {
            let seen = house.get(id).await;
            if seen.batch.status == BatchStatus::Completed {
                break;
            }
            turns += 1;
            assert!(turns < 500, "it never ends on {}", house.engine);
            patience_us = if seen.batch.next_row == made { patience_us } else { 50_000 };
            made = seen.batch.next_row;
            let Some(job) = house.claim().await else {
                // The holder died: its lease runs out.
                house.later(LEASE_MS);
                continue;
            };
            // Dropped at any await, as a kill would: between two statements, before or after a commit.
            let time = Duration::from_micros(500 + turns * 79_190 % patience_us);
            match tokio::time::timeout(time, run(&house.app, &job)).await {
                // A machine that is too busy to make a step in the time given gets more.
                Err(_) => (interrupted, patience_us) = (interrupted + 1, patience_us * 5 / 4),
                Ok(Ok(Outcome::Again(at))) => house.again(&job, at).await,
                Ok(went) => assert_eq!(went.expect("runs"), Outcome::Committed),
            }
        }
        assert!(interrupted > 3, "it was interrupted {interrupted} times on {}", house.engine);
        let counts = house.get(id).await.counts;
        assert_eq!(counts, Some(Counts { created: 2_000, sent: 2_000, completed: 0 }));
        for (what, expected) in [
            (store::sql("SELECT COUNT(DISTINCT batch_row) AS number FROM envelopes WHERE tenant_id = $1"), 2_000),
            (store::sql("SELECT COUNT(DISTINCT external_id) AS number FROM envelopes WHERE tenant_id = $1"), 2_000),
            (store::sql("SELECT COUNT(*) AS number FROM mails WHERE tenant_id = $1"), 2_000),
            (store::sql("SELECT COUNT(*) AS number FROM jobs WHERE tenant_id = $1 AND kind = 'mail'"), 0),
            (store::sql("SELECT COUNT(*) AS number FROM jobs WHERE tenant_id = $1 AND kind = 'batch'"), 0),
            (
                store::sql("SELECT COUNT(*) AS number FROM events WHERE tenant_id = $1 AND type = 'envelope.sent'"),
                2_000,
            ),
        ] {
            assert_eq!(house.number(what).await, expected, "on {}", house.engine);
        }
        assert_eq!(house.told().await, ["created", "ready", "started", "completed"]);
    }
}

#[tokio::test]
async fn rows_that_cant_be_accepted_stop_the_batch_or_are_left_out() {
    for house in House::both().await {
        let text = format!(
            "{HEADER}A;Ann;ann@example.com;1\nB;=cmd();nobody;-2\n\nA;Ann;ann@example.com;\n;Zoë;zoe@example.com;5;x\nC;Cy;cy@example.com;6\n"
        );
        let id = house.open(house.batch()).await;
        let put = house.put(id, &text).await.expect("put");
        assert_eq!((put.batch.rows.total, put.batch.rows.valid, put.batch.rows.invalid), (5, 2, 3));
        let refused = house.start(id).await.expect_err("refused");
        assert_eq!(refused.code, Code::BatchNotReady);
        assert!(refused.detail.starts_with("3 of 5 rows can't be accepted"), "{}", refused.detail);
        let invalid = house.app.list_rows(&house.pass, id, Some(RowStatus::Invalid), 0, 10).await.expect("rows");
        let faults: Vec<_> = invalid
            .iter()
            .map(|row| (row.line, row.errors.iter().map(|e| (e.column.as_str(), e.code.as_str())).collect::<Vec<_>>()))
            .collect();
        assert_eq!(
            faults,
            [
                (3, vec![("Client.email", "malformed")]),
                (5, vec![("values.amount", "required"), ("external_id", "duplicate_external_id")]),
                (6, vec![("", "too_many_cells")]),
            ]
        );
        let errors = house.errors_csv(id).await;
        let lines: Vec<&str> = errors.split("\r\n").collect();
        assert_eq!(lines[0], "#line,#errors,external_id,Client.name,Client.email,values.amount");
        assert_eq!(lines[1], "3,\"Client.email: An address has an @, as in taro@example.com.\",B,'=cmd(),nobody,'-2");
        assert!(lines[3].ends_with(",,Zoë,zoe@example.com,5,x"));

        // What was mended is put as it came, remarks and all; formulas are what they were.
        let mended = errors
            .replace("nobody", "b@example.com")
            .replace(",A,", ",A2,")
            .replace("ann@example.com,", "ann@example.com,4");
        let mended = mended.replace(",5,x", ",5");
        let second = house.open(NewBatch { name: "June, mended".to_owned(), ..house.batch() }).await;
        let put = house.put(second, &mended).await.expect("put");
        assert_eq!((put.batch.rows.valid, put.batch.rows.invalid), (3, 0), "{mended}");
        house.start(second).await.expect("started");
        house.run_to_the_end().await;
        let filter = store::envelope::Filter { external_id: Some("B".to_owned()), ..Default::default() };
        let made = house.app.list_envelopes(&house.pass, &filter, None, 2).await.expect("envelopes");
        assert_eq!((made[0].recipients[0].name.as_str(), &made[0].values["amount"]), ("=cmd()", &json!("-2")));

        let skip = house.open(NewBatch { on_invalid: OnInvalid::Skip, ..house.batch() }).await;
        let put =
            house.put(skip, &text.replace("A;", "D;").replace("C;", "E;").replace("B;", "F;")).await.expect("put");
        assert_eq!((put.batch.rows.valid, put.batch.rows.invalid), (2, 3));
        house.start(skip).await.expect("started");
        house.run_to_the_end().await;
        let done = house.get(skip).await;
        assert_eq!((done.batch.status, done.batch.failed), (BatchStatus::Completed, 0));
        assert_eq!(done.counts, Some(Counts { created: 2, sent: 2, completed: 0 }));
        let rows = house.app.list_rows(&house.pass, skip, None, 0, 10).await.expect("rows");
        assert_eq!(
            rows.iter().map(|row| row.envelope.is_some()).collect::<Vec<_>>(),
            [true, false, false, false, true]
        );
    }
}

#[tokio::test]
async fn a_second_put_replaces_the_rows_and_one_that_breaks_off_changes_nothing() {
    for house in House::both().await {
        let id = house.open(house.batch()).await;
        house.put(id, &format!("{HEADER}{}", rows(1..=700))).await.expect("put");
        let piece = |text: String| Ok(bytes::Bytes::from(text));
        let broken = [
            piece(format!("{HEADER}{}", rows(1..=1_200))),
            Err(Problem::new(Code::BodyIncomplete, "The connection ended before the body did.")),
        ];
        let answer = house.app.put_rows(&house.pass, id, CSV, futures::stream::iter(broken)).await;
        assert_eq!(code(answer), Some(Code::BodyIncomplete));
        // A client that is gone takes the whole request with it.
        let endless =
            futures::stream::iter([piece(format!("{HEADER}{}", rows(1..=1_200)))]).chain(futures::stream::pending());
        let gone = house.app.put_rows(&house.pass, id, CSV, endless);
        assert!(tokio::time::timeout(Duration::from_millis(300), gone).await.is_err());
        for (text, detail) in [
            (
                "external_id;Klient.name;Client.email\n",
                "The header can't be accepted. The template has no column Klient.name",
            ),
            (&*format!("{HEADER}1;2;\"3\n"), "Line 2: the quote that opens here is never closed."),
            (HEADER, "There are no rows below the header."),
        ] {
            let refused = house.put(id, text).await.expect_err("refused");
            assert_eq!(refused.code, Code::RowsUnreadable);
            assert!(refused.detail.starts_with(detail), "{}", refused.detail);
        }
        let still = house.get(id).await.batch;
        assert_eq!((still.status, still.rows.total, still.rows.generation), (BatchStatus::Ready, 700, 1));
        house.put(id, &format!("{HEADER}{}", rows(1_001..=1_003))).await.expect("put");
        let rows = house.app.list_rows(&house.pass, id, None, 0, 10).await.expect("rows");
        let named: Vec<_> = rows.iter().filter_map(|row| row.external_id.as_deref()).collect();
        assert_eq!(named, ["R-1001", "R-1002", "R-1003"]);
        let kept = store::sql(
            "SELECT COUNT(*) AS number FROM batch_rows r JOIN batches b ON b.id = r.batch_id WHERE b.tenant_id = $1",
        );
        assert_eq!(house.number(kept).await, 3, "on {}", house.engine);
        house.start(id).await.expect("started");
        assert_eq!(code(house.put(id, &format!("{HEADER}{}", self::rows(1..=2))).await), Some(Code::BatchNotOpen));
        house.run_to_the_end().await;
        assert_eq!(house.get(id).await.counts.map(|counts| counts.created), Some(3));
    }
}

#[tokio::test]
async fn a_batch_stops_with_its_key_and_goes_on_under_another() {
    for house in House::both().await {
        let slow = NewBatch { send_rate_per_minute: Some(60), ..house.batch() };
        let id = house.open(slow).await;
        house.put(id, &format!("{HEADER}{}", rows(1..=4))).await.expect("put");
        house.start(id).await.expect("started");
        assert!(house.run().await);
        assert_eq!(house.get(id).await.counts.map(|counts| counts.created), Some(1));
        let (_, other) = admitted(&house.app, house.scope, &house.owner).await;
        house.app.revoke_key(&other, house.key, Reason::Manual, "").await.expect("revoked");
        house.later(60_000);
        assert!(house.run().await);
        let paused = house.app.get_batch(&other, id).await.expect("a batch");
        assert_eq!(paused.batch.status, BatchStatus::Paused);
        assert_eq!(paused.batch.problem.map(|problem| problem.code).as_deref(), Some("key_revoked"));
        assert_eq!(paused.counts.map(|counts| counts.created), Some(1), "on {}", house.engine);
        assert!(!house.run().await);
        assert_eq!(code(house.app.resume_batch(&house.pass, id, &Once::unclaimed()).await), Some(Code::RevokedKey));
        let resumed = house.app.resume_batch(&other, id, &Once::unclaimed()).await.expect("resumed");
        assert_eq!((resumed.batch.status, resumed.batch.problem), (BatchStatus::Running, None));
        for _ in 0..6 {
            house.later(1_000);
            house.run().await;
        }
        let done = house.app.get_batch(&other, id).await.expect("a batch");
        assert_eq!((done.batch.status, done.counts.map(|counts| counts.created)), (BatchStatus::Completed, Some(4)));
        assert_eq!(house.told().await, ["created", "ready", "started", "paused", "resumed", "completed"]);
    }
}

#[tokio::test]
async fn an_external_id_that_was_taken_meanwhile_fails_its_row_alone() {
    for house in House::both().await {
        let id = house.open(house.batch()).await;
        house.put(id, &format!("{HEADER}{}", rows(1..=3))).await.expect("put");
        let person = NewRecipient { name: "X".to_owned(), email: "x@example.com".to_owned(), ..Default::default() };
        let single = NewEnvelope {
            external_id: Some("R-2".to_owned()),
            template: Some((house.template, None)),
            recipients: vec![person],
            ..Default::default()
        };
        house.app.create_envelope(&house.pass, &single, true, &Once::unclaimed()).await.expect("an envelope");
        house.start(id).await.expect("started");
        house.run_to_the_end().await;
        let done = house.get(id).await;
        assert_eq!((done.batch.status, done.batch.failed), (BatchStatus::Completed, 1));
        assert_eq!(done.counts.map(|counts| counts.created), Some(2));
        let failed = house.app.list_rows(&house.pass, id, Some(RowStatus::Failed), 0, 10).await.expect("rows");
        let failed: Vec<_> = failed.iter().map(|row| (row.number, row.errors[0].code.as_str())).collect();
        assert_eq!(failed, [(2, "external_id_taken")], "on {}", house.engine);
        // A later file is told so at once.
        let later = house.open(house.batch()).await;
        let put = house.put(later, &format!("{HEADER}{}", rows(3..=4))).await.expect("put");
        assert_eq!((put.batch.rows.valid, put.batch.rows.invalid), (1, 1));
    }
}

#[tokio::test]
async fn the_small_case_is_one_request() {
    for house in House::both().await {
        let row = |value: Value| match value {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        let good =
            row(json!({"Client": {"name": "T", "email": "t@example.com"}, "values.amount": "5", "metadata.a": "b"}));
        let bad = row(json!({"Client.name": "T", "Client.mail": "t@example.com", "values": {"amount": 5}}));
        let small = |rows| NewBatch { rows, start: true, ..house.batch() };
        let refused = house.app.create_batch(&house.pass, small(vec![good.clone(), bad]), &Once::unclaimed()).await;
        let errors = refused.expect_err("refused").errors;
        let errors: Vec<_> = errors.iter().map(|error| (error.pointer.as_str(), error.code.as_ref())).collect();
        assert_eq!(
            errors,
            [
                ("/rows/1/Client.mail", "unknown_column"),
                ("/rows/1/Client.email", "required"),
                ("/rows/1/values.amount", "wrong_type")
            ]
        );
        let none = house.app.list_batches(&house.pass, None, None, 10).await.expect("batches");
        assert_eq!(none, [], "on {}", house.engine);
        let defaults = Defaults { title: Some("A\nB".to_owned()), locale: Some("?".to_owned()), ..Defaults::default() };
        let refused =
            house.app.create_batch(&house.pass, NewBatch { defaults, ..house.batch() }, &Once::unclaimed()).await;
        let errors = refused.expect_err("refused").errors;
        let errors: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(errors, ["/defaults/locale", "/defaults/title"]);

        let made = house.app.create_batch(&house.pass, small(vec![good]), &Once::unclaimed()).await.expect("made");
        assert_eq!(made.batch.status, BatchStatus::Running);
        house.run_to_the_end().await;
        let filter = store::envelope::Filter { batch: Some(made.batch.id), ..Default::default() };
        let envelopes = house.app.list_envelopes(&house.pass, &filter, None, 10).await.expect("envelopes");
        assert_eq!(json!(envelopes[0].body.metadata), json!({"a": "b"}));
        assert_eq!(envelopes[0].created_by, house.pass.caller().actor());
        assert_eq!(house.told().await, ["created", "ready", "started", "completed"]);
    }
}

#[tokio::test]
async fn a_batch_can_be_paused_resumed_and_cancelled_between_any_two_steps() {
    for house in House::both().await {
        let id = house.open(NewBatch { send_rate_per_minute: Some(60), ..house.batch() }).await;
        house.put(id, &format!("{HEADER}{}", rows(1..=10))).await.expect("put");
        house.start(id).await.expect("started");
        assert_eq!(house.start(id).await.expect("again").batch.status, BatchStatus::Running);
        assert!(house.run().await);
        house.app.pause_batch(&house.pass, id, &Once::unclaimed()).await.expect("paused");
        house.later(5_000);
        house.run_to_the_end().await;
        assert_eq!(house.get(id).await.counts.map(|counts| counts.created), Some(1));
        house.app.resume_batch(&house.pass, id, &Once::unclaimed()).await.expect("resumed");
        assert!(house.run().await);
        let made = house.get(id).await.counts.map(|counts| counts.created);
        assert_eq!(made, Some(2), "no more than its rate");
        house.app.cancel_batch(&house.pass, id, &Once::unclaimed()).await.expect("cancelled");
        house.later(5_000);
        house.run_to_the_end().await;
        assert_eq!(house.get(id).await.counts.map(|counts| counts.created), made);
        let refused = house.app.resume_batch(&house.pass, id, &Once::unclaimed()).await;
        assert_eq!(code(refused), Some(Code::BatchEnded));
        let told = ["created", "ready", "started", "paused", "resumed", "cancelled"];
        assert_eq!(house.told().await, told, "on {}", house.engine);
    }
}

#[tokio::test]
async fn a_holder_whose_lease_was_lost_changes_nothing() {
    for house in House::both().await {
        let id = house.open(house.batch()).await;
        house.put(id, &format!("{HEADER}{}", rows(1..=3))).await.expect("put");
        house.start(id).await.expect("started");
        let first = house.claim().await.expect("a job");
        house.later(LEASE_MS);
        let second = house.claim().await.expect("the same job");
        assert_eq!(code(run(&house.app, &first).await), Some(Code::Conflict));
        assert_eq!(house.get(id).await.counts.map(|counts| counts.created), Some(0), "on {}", house.engine);
        assert_eq!(run(&house.app, &second).await.expect("runs"), Outcome::Committed);
        assert_eq!(house.get(id).await.counts.map(|counts| counts.created), Some(3));
    }
}

#[tokio::test]
async fn many_small_batches_at_once_do_not_wait_for_each_other_in_a_circle() {
    for house in House::both().await {
        let row = Map::from_iter([
            ("Client.name".to_owned(), json!("Bo")),
            ("Client.email".to_owned(), json!("bo@example.com")),
            ("values.amount".to_owned(), json!("1")),
        ]);
        // More than the pool has connections.
        let new = || NewBatch { rows: vec![row.clone(); 20], ..house.batch() };
        let once = Once::unclaimed();
        let made = (0..64).map(|_| house.app.create_batch(&house.pass, new(), &once));
        futures::future::try_join_all(made).await.expect(house.engine);
    }
}

#[tokio::test]
async fn a_body_of_too_many_rows_is_led_to_the_put() {
    for house in House::both().await {
        let new = NewBatch { rows: vec![Map::new(); BODY_ROWS_MAX + 1], ..house.batch() };
        let refusal = house.app.create_batch(&house.pass, new, &Once::unclaimed()).await.expect_err("refused");
        let at: Vec<_> = refusal.errors.iter().map(|error| (error.pointer.as_str(), &*error.code)).collect();
        assert_eq!(at, [("/rows", "too_many")], "{}", house.engine);
    }
}
