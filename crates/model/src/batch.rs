//! A batch: many envelopes from a template and a file of rows. Its states, the moves between them, and its pace.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    BatchId, BodyError, Code, EnvScope, KeyId, Problem, Timestamp,
    caller::Actor,
    envelope::TemplateRef,
    event::{NewEvent, Object, Type},
    row::Defaults,
    time::MINUTE_MS,
    word::{line_fault, words},
};

/// Rows of a batch at most.
pub const ROWS_MAX: i64 = 1_000_000;
/// Rows of one transaction at most.
pub const CHUNK_ROWS_MAX: u32 = 500;
/// Rows of one transaction at least, however slow the machine is: a commit has its price too.
pub const CHUNK_ROWS_MIN: u32 = 50;
/// How long a transaction of rows should take at most, so that nobody waits long behind it.
const CHUNK_MS_AIM: i64 = 50;
/// Characters of a batch's name at most.
pub const NAME_CHARS_MAX: usize = 200;
/// Envelopes a minute that a batch may be slowed to, at most.
pub const RATE_PER_MINUTE_MAX: u32 = 1_000_000;
/// A batch that is slowed takes a step this often at most.
const PACE_MS_MIN: i64 = 250;
/// What a slowed batch may catch up after it was held up: no more than it would have made in this time.
const CATCH_UP_MS_MAX: i64 = 1_000;

words! {
    /// Where a batch stands.
    BatchStatus "a batch's status" {
        /// Made; it has no rows yet.
        Open "open";
        /// Its rows are in and were checked.
        Ready "ready";
        /// Its envelopes are made and sent.
        Running "running";
        /// It was stopped and can go on.
        Paused "paused";
        /// Every row has become an envelope or was left out.
        Completed "completed";
        /// It was stopped for good.
        Cancelled "cancelled";
    }
}

words! {
    /// What becomes of a batch with rows that can't be accepted.
    OnInvalid "on_invalid" {
        /// It can't be started.
        Reject "reject";
        /// They are left out.
        Skip "skip";
    }
}

words! {
    /// What a row is.
    RowStatus "a row's status" {
        /// It can become an envelope.
        Valid "valid";
        /// Something in it can't be accepted.
        Invalid "invalid";
        /// It was valid, and when its turn came it could not become an envelope any more.
        Failed "failed";
    }
}

impl BatchStatus {
    /// Whether it stays as it is.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled)
    }
}

/// Why a batch stands still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchProblem {
    /// For programs.
    pub code: String,
    /// For people.
    pub detail: String,
    /// Since when.
    pub since: Timestamp,
}

/// A batch as a sender asks for it, its template found.
#[derive(Clone, Debug, PartialEq)]
pub struct NewBatch {
    /// Its name.
    pub name: String,
    /// The template version that it pins.
    pub template: TemplateRef,
    /// What every row has that does not say it itself.
    pub defaults: Defaults,
    /// What becomes of rows that can't be accepted.
    pub on_invalid: OnInvalid,
    /// Envelopes a minute at most.
    pub send_rate_per_minute: Option<u32>,
    /// Not before.
    pub start_at: Option<Timestamp>,
}

/// How many rows a put brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// Which put they came with.
    pub generation: i64,
    /// All.
    pub total: i64,
    /// Those that can become envelopes.
    pub valid: i64,
    /// The others.
    pub invalid: i64,
}

/// What is stored of a batch beside its columns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BatchBody {
    /// What every row has that does not say it itself.
    pub defaults: Defaults,
    /// The header as it was given; none where the rows are JSON.
    #[serde(default)]
    pub columns: Option<Vec<String>>,
    /// Not before.
    #[serde(default)]
    pub start_at: Option<Timestamp>,
    /// Up to when the pace was used.
    #[serde(default)]
    pub paced_at: Option<Timestamp>,
    /// The address that started it, for the certificates.
    #[serde(default)]
    pub address: Option<String>,
}

/// A batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Its id.
    pub id: BatchId,
    /// Whose and where.
    pub scope: EnvScope,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub status: BatchStatus,
    /// Since when.
    pub status_at: Timestamp,
    /// The template version that it pins.
    pub template: TemplateRef,
    /// What becomes of rows that can't be accepted.
    pub on_invalid: OnInvalid,
    /// Envelopes a minute at most.
    pub send_rate_per_minute: Option<u32>,
    /// The key that it runs under: when it dies, the batch stops. None where a person started it.
    pub key: Option<KeyId>,
    /// Its rows.
    pub rows: Rows,
    /// How many puts were begun: each has a generation of its own.
    pub puts: i64,
    /// The row that comes next.
    pub next_row: i64,
    /// Rows that were valid and could not become envelopes.
    pub failed: i64,
    /// Why it stands still.
    pub problem: Option<BatchProblem>,
    /// The rest.
    pub body: BatchBody,
    /// Who made it; after a start or resume, who did that: the envelopes are made in their name.
    pub created_by: Actor,
    /// When it was made.
    pub created_at: Timestamp,
    /// Guards read-then-write.
    pub version: i64,
}

/// The rows that a step may make, and when the next one is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Envelopes at most; zero: it is too early.
    pub rows: u32,
    /// When to go on.
    pub next_at: Timestamp,
}

impl Batch {
    /// Makes a batch that waits for its rows.
    pub fn create(
        id: BatchId,
        scope: EnvScope,
        new: NewBatch,
        by: Actor,
        now: Timestamp,
    ) -> Result<(Self, NewEvent), Problem> {
        let mut errors = Vec::new();
        if let Some((code, fault)) = line_fault(&new.name, NAME_CHARS_MAX) {
            errors.push(BodyError::new("/name", code, format!("The name {fault}.")));
        }
        if new.send_rate_per_minute.is_some_and(|rate| !(1..=RATE_PER_MINUTE_MAX).contains(&rate)) {
            let detail = format!("send_rate_per_minute is 1 to {RATE_PER_MINUTE_MAX}.");
            errors.push(BodyError::new("/send_rate_per_minute", "out_of_range", detail));
        }
        if !errors.is_empty() {
            return Err(Problem::body(errors));
        }
        let batch = Self {
            id,
            scope,
            name: new.name.trim().to_owned(),
            status: BatchStatus::Open,
            status_at: now,
            template: new.template,
            on_invalid: new.on_invalid,
            send_rate_per_minute: new.send_rate_per_minute,
            key: None,
            rows: Rows::default(),
            puts: 0,
            next_row: 1,
            failed: 0,
            problem: None,
            body: BatchBody { defaults: new.defaults, start_at: new.start_at, ..BatchBody::default() },
            created_by: by,
            created_at: now,
            version: 1,
        };
        let event = batch.event(Type::BatchCreated, Map::new());
        Ok((batch, event))
    }

    /// Whether its rows may still be replaced.
    pub fn require_open(&self) -> Result<(), Problem> {
        match self.status {
            BatchStatus::Open | BatchStatus::Ready => Ok(()),
            status => Err(Problem::new(Code::BatchNotOpen, format!("The batch is {status}."))),
        }
    }

    /// Begins a put: the generation of its rows.
    pub fn begin_put(&mut self) -> Result<i64, Problem> {
        self.require_open()?;
        self.puts += 1;
        Ok(self.puts)
    }

    /// A put is complete: its rows take the place of those before. An older put that comes late does not.
    pub fn put(&mut self, rows: Rows, columns: Option<Vec<String>>, now: Timestamp) -> Result<NewEvent, Problem> {
        self.require_open()?;
        if rows.generation <= self.rows.generation {
            return Err(Problem::new(Code::Conflict, "A later put of rows is complete already: these were not kept."));
        }
        let previous = json!({ "status": self.status, "total": self.rows.total, "valid": self.rows.valid,
            "invalid": self.rows.invalid });
        self.rows = rows;
        self.body.columns = columns;
        self.become_(BatchStatus::Ready, now);
        let previous = match previous {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        Ok(self.event(Type::BatchReady, previous))
    }

    /// Starts it, under the caller's key. Repeating it changes nothing.
    pub fn start(
        &mut self,
        key: Option<KeyId>,
        by: Actor,
        address: Option<String>,
        now: Timestamp,
    ) -> Result<Option<NewEvent>, Problem> {
        match self.status {
            BatchStatus::Running | BatchStatus::Completed => return Ok(None),
            BatchStatus::Ready => {}
            BatchStatus::Open => return Err(Problem::new(Code::BatchNotReady, "The batch has no rows yet.")),
            BatchStatus::Paused => {
                return Err(Problem::new(Code::BatchNotReady, "The batch is paused: resume it."));
            }
            BatchStatus::Cancelled => return Err(Problem::new(Code::BatchEnded, "The batch is cancelled.")),
        }
        if self.on_invalid == OnInvalid::Reject && self.rows.invalid > 0 {
            let detail = format!(
                "{} of {} rows can't be accepted, and on_invalid is reject: mend them and put the rows again. \
                 GET /v1/batches/{}/rows?status=invalid names each.",
                self.rows.invalid, self.rows.total, self.id
            );
            return Err(Problem::new(Code::BatchNotReady, detail));
        }
        if self.rows.valid == 0 {
            return Err(Problem::new(Code::BatchNotReady, "No row of the batch can become an envelope."));
        }
        self.key = key;
        self.created_by = by;
        self.body.address = address;
        Ok(Some(self.moved(Type::BatchStarted, BatchStatus::Running, None, now)))
    }

    /// Stops it for a while. Repeating it changes nothing.
    pub fn pause(&mut self, why: Option<BatchProblem>, now: Timestamp) -> Result<Option<NewEvent>, Problem> {
        match self.status {
            BatchStatus::Paused => Ok(None),
            BatchStatus::Running => Ok(Some(self.moved(Type::BatchPaused, BatchStatus::Paused, why, now))),
            status => Err(self.illegal(status, "Only a running batch can be paused")),
        }
    }

    /// Lets it go on, under the caller's key. Repeating it changes nothing.
    pub fn resume(&mut self, key: Option<KeyId>, by: Actor, now: Timestamp) -> Result<Option<NewEvent>, Problem> {
        match self.status {
            BatchStatus::Running => Ok(None),
            BatchStatus::Paused => {
                self.key = key;
                self.created_by = by;
                Ok(Some(self.moved(Type::BatchResumed, BatchStatus::Running, None, now)))
            }
            status => Err(self.illegal(status, "Only a paused batch can be resumed")),
        }
    }

    /// Stops it for good: what was made and sent goes on. Repeating it changes nothing.
    pub fn cancel(&mut self, now: Timestamp) -> Result<Option<NewEvent>, Problem> {
        match self.status {
            BatchStatus::Cancelled => Ok(None),
            BatchStatus::Completed => Err(self.illegal(self.status, "Nothing is left to cancel")),
            _ => Ok(Some(self.moved(Type::BatchCancelled, BatchStatus::Cancelled, None, now))),
        }
    }

    /// Every row had its turn.
    pub fn complete(&mut self, now: Timestamp) -> NewEvent {
        self.moved(Type::BatchCompleted, BatchStatus::Completed, None, now)
    }

    /// How many envelopes may be made now, at most `chunk`, and when to go on.
    pub fn pace(&mut self, chunk: u32, now: Timestamp) -> Step {
        if let Some(start_at) = self.body.start_at.filter(|at| *at > now) {
            return Step { rows: 0, next_at: start_at };
        }
        let Some(rate) = self.send_rate_per_minute.map(i64::from) else { return Step { rows: chunk, next_at: now } };
        // One envelope's time, rounded up: the rate is never exceeded.
        let each_ms = (MINUTE_MS + rate - 1) / rate;
        let since = now.plus(-each_ms.max(CATCH_UP_MS_MAX));
        let from = self.body.paced_at.unwrap_or(now.plus(-each_ms)).max(since);
        let rows = ((now.millis() - from.millis()) * rate / MINUTE_MS).clamp(0, i64::from(chunk));
        let used = from.plus((rows * MINUTE_MS + rate - 1) / rate);
        self.body.paced_at = Some(used);
        // A full chunk may have left something over: at once. Otherwise several envelopes share a transaction.
        let next_at = if rows == i64::from(chunk) { now } else { used.plus(each_ms).max(now.plus(PACE_MS_MIN)) };
        Step { rows: u32::try_from(rows).unwrap_or(0), next_at }
    }

    /// As the audit log has it.
    pub fn record(&self) -> Value {
        json!({ "name": self.name, "status": self.status, "template": self.template, "on_invalid": self.on_invalid,
            "send_rate_per_minute": self.send_rate_per_minute, "total": self.rows.total, "valid": self.rows.valid,
            "invalid": self.rows.invalid })
    }

    fn illegal(&self, status: BatchStatus, what: &str) -> Problem {
        let code = if status.is_over() { Code::BatchEnded } else { Code::BatchNotReady };
        Problem::new(code, format!("{what}: the batch is {status}."))
    }

    fn moved(&mut self, kind: Type, to: BatchStatus, why: Option<BatchProblem>, now: Timestamp) -> NewEvent {
        let mut previous = Map::from_iter([("status".to_owned(), json!(self.status))]);
        if self.problem != why {
            previous.insert("problem".to_owned(), json!(self.problem));
        }
        self.problem = why;
        self.become_(to, now);
        self.event(kind, previous)
    }

    fn become_(&mut self, status: BatchStatus, now: Timestamp) {
        if self.status != status {
            (self.status, self.status_at) = (status, now);
        }
    }

    fn event(&self, kind: Type, previous: Map<String, Value>) -> NewEvent {
        let batch = json!({
            "id": self.id,
            "name": self.name,
            "status": self.status,
            "template": self.template,
            "total": self.rows.total,
            "valid": self.rows.valid,
            "invalid": self.rows.invalid,
            "failed": self.failed,
            "problem": self.problem.as_ref().map(|problem| json!({ "code": problem.code, "detail": problem.detail })),
        });
        let data = Map::from_iter([("batch".to_owned(), batch)]);
        NewEvent { kind, object: Object::Batch(self.id), data, previous }
    }
}

/// How many rows the next transaction takes, after one of `rows` took `ms`.
pub fn next_chunk(rows: u32, ms: i64) -> u32 {
    let rows = i64::from(rows);
    // Towards the aim, but never by more than half at once: one slow commit is no rule.
    let next = if ms > CHUNK_MS_AIM { (rows * CHUNK_MS_AIM / ms).max(rows / 2) } else { rows + rows / 4 };
    u32::try_from(next).unwrap_or(CHUNK_ROWS_MAX).clamp(CHUNK_ROWS_MIN, CHUNK_ROWS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Environment, TemplateId, TenantId};
    use uuid::Uuid;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + ms)
    }

    fn new() -> NewBatch {
        NewBatch {
            name: " June ".to_owned(),
            template: TemplateRef { id: TemplateId::from_uuid(Uuid::from_u128(1)), version: 1 },
            defaults: Defaults::default(),
            on_invalid: OnInvalid::Reject,
            send_rate_per_minute: None,
            start_at: None,
        }
    }

    fn batch(status: BatchStatus) -> Batch {
        let scope = EnvScope { tenant: TenantId::from_uuid(Uuid::from_u128(1)), environment: Environment::Development };
        let id = BatchId::from_uuid(Uuid::from_u128(1));
        let (mut batch, event) = Batch::create(id, scope, new(), Actor::System, at(0)).expect("a batch");
        assert_eq!((event.kind, batch.name.as_str()), (Type::BatchCreated, "June"));
        batch.rows = Rows { generation: 1, total: 2, valid: 2, invalid: 0 };
        batch.status = status;
        batch
    }

    type Move = fn(&mut Batch) -> Result<Option<Type>, Code>;

    fn kind(event: Result<Option<NewEvent>, Problem>) -> Result<Option<Type>, Code> {
        event.map(|event| event.map(|event| event.kind)).map_err(|problem| problem.code)
    }

    #[test]
    fn there_is_one_table_of_moves() {
        use BatchStatus::{Cancelled, Completed, Open, Paused, Ready, Running};
        let start: Move = |b| kind(b.start(None, Actor::System, None, at(1)));
        let pause: Move = |b| kind(b.pause(None, at(1)));
        let resume: Move = |b| kind(b.resume(None, Actor::System, at(1)));
        let cancel: Move = |b| kind(b.cancel(at(1)));
        let put: Move = |b| kind(b.put(Rows { generation: 2, total: 1, valid: 1, invalid: 0 }, None, at(1)).map(Some));
        let (not_open, not_ready, ended) = (Err(Code::BatchNotOpen), Err(Code::BatchNotReady), Err(Code::BatchEnded));
        let cancelled = (Ok(Some(Type::BatchCancelled)), Cancelled);
        let ready = (Ok(Some(Type::BatchReady)), Ready);
        for (from, moves) in [
            (Open, [(not_ready, Open), (not_ready, Open), (not_ready, Open), cancelled, ready]),
            (
                Ready,
                [(Ok(Some(Type::BatchStarted)), Running), (not_ready, Ready), (not_ready, Ready), cancelled, ready],
            ),
            (
                Running,
                [
                    (Ok(None), Running),
                    (Ok(Some(Type::BatchPaused)), Paused),
                    (Ok(None), Running),
                    cancelled,
                    (not_open, Running),
                ],
            ),
            (
                Paused,
                [
                    (not_ready, Paused),
                    (Ok(None), Paused),
                    (Ok(Some(Type::BatchResumed)), Running),
                    cancelled,
                    (not_open, Paused),
                ],
            ),
            (
                Completed,
                [
                    (Ok(None), Completed),
                    (ended, Completed),
                    (ended, Completed),
                    (ended, Completed),
                    (not_open, Completed),
                ],
            ),
            (
                Cancelled,
                [
                    (ended, Cancelled),
                    (ended, Cancelled),
                    (ended, Cancelled),
                    (Ok(None), Cancelled),
                    (not_open, Cancelled),
                ],
            ),
        ] {
            for (index, (act, (answer, to))) in [start, pause, resume, cancel, put].into_iter().zip(moves).enumerate() {
                let mut batch = batch(from);
                assert_eq!((act(&mut batch), batch.status), (answer, to), "move {index} from {from}");
            }
        }
    }

    #[test]
    fn a_batch_with_rows_that_cant_be_accepted_starts_only_where_they_are_left_out() {
        let mut refused = batch(BatchStatus::Ready);
        refused.rows = Rows { generation: 1, total: 3, valid: 2, invalid: 1 };
        let problem = refused.start(None, Actor::System, None, at(1)).expect_err("refused");
        assert_eq!(problem.code, Code::BatchNotReady);
        assert!(problem.detail.starts_with("1 of 3 rows can't be accepted"));
        let mut skipped = Batch { on_invalid: OnInvalid::Skip, ..refused };
        assert!(skipped.start(None, Actor::System, None, at(1)).expect("started").is_some());
        let mut nothing = batch(BatchStatus::Ready);
        nothing.rows = Rows { generation: 1, total: 1, valid: 0, invalid: 1 };
        nothing.on_invalid = OnInvalid::Skip;
        assert_eq!(nothing.start(None, Actor::System, None, at(1)).expect_err("nothing").code, Code::BatchNotReady);
    }

    #[test]
    fn an_older_put_never_takes_the_place_of_a_later_one() {
        let mut batch = batch(BatchStatus::Open);
        batch.rows = Rows::default();
        let (first, second) = (batch.begin_put().expect("open"), batch.begin_put().expect("open"));
        let rows = |generation| Rows { generation, total: 1, valid: 1, invalid: 0 };
        assert_eq!(batch.put(rows(second), None, at(1)).expect("complete").kind, Type::BatchReady);
        assert_eq!(batch.put(rows(first), None, at(2)).expect_err("late").code, Code::Conflict);
        assert_eq!(batch.rows.generation, second);
    }

    #[test]
    fn a_dead_key_is_named_until_it_goes_on() {
        let mut batch = batch(BatchStatus::Running);
        let problem = BatchProblem { code: "key_revoked".to_owned(), detail: "Revoked.".to_owned(), since: at(1) };
        let event = batch.pause(Some(problem.clone()), at(1)).expect("paused").expect("an event");
        assert_eq!(event.data["batch"]["problem"]["code"], "key_revoked");
        assert_eq!(batch.problem, Some(problem));
        let event = batch.resume(None, Actor::System, at(2)).expect("resumed").expect("an event");
        assert_eq!(event.previous["problem"]["code"], "key_revoked");
        assert_eq!((batch.status, batch.problem), (BatchStatus::Running, None));
    }

    #[test]
    fn a_slowed_batch_never_exceeds_its_rate_and_loses_none_of_it() {
        for rate in [1, 7, 60, 1_200, 60_000, 1_000_000] {
            let mut batch = Batch { send_rate_per_minute: Some(rate), ..batch(BatchStatus::Running) };
            let (mut now, mut made, end) = (at(0), 0_i64, at(10 * MINUTE_MS));
            while now < end {
                let step = batch.pace(CHUNK_ROWS_MAX, now);
                assert!(step.next_at > now || (step.next_at == now && step.rows == CHUNK_ROWS_MAX));
                made += i64::from(step.rows);
                // The first envelope goes at once: a millisecond's worth of them where there are more.
                let first = 1 + i64::from(rate) / MINUTE_MS;
                let allowed = (now.millis() - at(0).millis()) * i64::from(rate) / MINUTE_MS + first;
                assert!(made <= allowed, "{made} at {now:?} with {rate} a minute");
                now = step.next_at;
            }
            assert!(made >= i64::from(rate) * 10 * 99 / 100, "{made} of {rate} a minute");
        }
    }

    #[test]
    fn a_batch_that_was_held_up_catches_up_one_second_at_most() {
        let mut batch = Batch { send_rate_per_minute: Some(600), ..batch(BatchStatus::Running) };
        assert_eq!(batch.pace(CHUNK_ROWS_MAX, at(0)).rows, 1);
        assert_eq!(batch.pace(CHUNK_ROWS_MAX, at(60 * MINUTE_MS)).rows, 10);
    }

    #[test]
    fn a_batch_waits_for_its_time() {
        let mut batch = batch(BatchStatus::Running);
        batch.body.start_at = Some(at(5_000));
        assert_eq!(batch.pace(CHUNK_ROWS_MAX, at(0)), Step { rows: 0, next_at: at(5_000) });
        assert_eq!(batch.pace(CHUNK_ROWS_MAX, at(5_000)), Step { rows: CHUNK_ROWS_MAX, next_at: at(5_000) });
    }

    #[test]
    fn a_slow_machine_makes_smaller_steps() {
        assert_eq!(next_chunk(500, 100), 250);
        assert_eq!(next_chunk(250, 10_000), 125);
        assert_eq!(next_chunk(60, 10_000), CHUNK_ROWS_MIN);
        assert_eq!(next_chunk(50, 1), 62);
        assert_eq!(next_chunk(480, 1), CHUNK_ROWS_MAX);
    }
}
