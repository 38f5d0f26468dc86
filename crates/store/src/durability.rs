//! Whether what was committed stays: what PostgreSQL warns of at a COMMIT, and which of its settings could lose it.
//!
//! With a synchronous standby a COMMIT returns once the standby has it too. Somebody may cancel that wait; then the change
//! is committed here alone, and PostgreSQL says so in a warning beside its "done". sqlx tells warnings to `tracing` and to
//! nobody else, so they are listened for there.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::LazyLock;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

use crate::sql::either;
use crate::{Db, Session, StoreError};

/// Where sqlx tells PostgreSQL's notices.
const NOTICES: &str = "sqlx::postgres::notice";

thread_local! {
    /// What was heard in the poll that runs.
    static HEARD: RefCell<Option<String>> = const { RefCell::new(None) };
}

static LISTENER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Listener));

/// Runs a COMMIT: one that PostgreSQL warned of is an error, for what is committed may be lost at a failover.
pub(crate) async fn sure<T, E>(commit: impl Future<Output = Result<T, E>>) -> Result<T, StoreError>
where
    StoreError: From<E>,
{
    let mut commit = pin!(commit);
    let mut warning = None;
    let done = poll_fn(|context| {
        let polled = tracing::dispatcher::with_default(&LISTENER, || commit.as_mut().poll(context));
        warning = HEARD.take().or(warning.take());
        polled
    })
    .await?;
    match warning {
        None => Ok(done),
        Some(warning) => Err(StoreError::Unavailable(format!("committed, but perhaps not to stay: {warning}").into())),
    }
}

/// Hears warnings of PostgreSQL and nothing else.
struct Listener;

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == NOTICES && *metadata.level() <= Level::WARN
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Message);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Message;

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            HEARD.set(Some(format!("{value:?}")));
        }
    }
}

/// Waits until all that was committed before is on the synchronous standbys, where there are any: a change that is there
/// already may have been committed by someone whose wait was cut. Nothing on SQLite: what can be seen there is on the disk.
pub async fn settle(db: &Db) -> Result<(), StoreError> {
    if !db.is_postgres() {
        return Ok(());
    }
    let mut conn = db.ask().await?;
    // A transaction of its own that writes a few bytes behind all others: its COMMIT returns after theirs could.
    let text = either(
        "SELECT 1",
        "SELECT pg_logical_emit_message(true, 'iusign', '')::text
        WHERE current_setting('synchronous_standby_names') <> ''",
    );
    sure(text.run(&mut conn)).await?;
    Ok(())
}

/// What could be lost of what was answered, by the database's settings: sentences for the operator.
pub async fn doubts<S: Session>(session: &mut S) -> Result<Vec<&'static str>, StoreError> {
    let row = either(
        "SELECT 'on' AS fsync, 'on' AS full_page_writes, 'on' AS synchronous_commit, '' AS standbys, 0 AS replicas",
        "SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
            current_setting('synchronous_commit') AS synchronous_commit,
            current_setting('synchronous_standby_names') AS standbys,
            (SELECT count(*) FROM pg_stat_replication)
                + (SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'physical' AND NOT active) AS replicas",
    )
    .one(session)
    .await?;
    let commit: String = row.get("synchronous_commit")?;
    let is_on = |name: &str| row.get::<String>(name).map(|value| value == "on");
    let has_standby = !row.get::<String>("standbys")?.is_empty();
    let has_replica = has_standby || row.get::<i64>("replicas")? > 0;
    let mut doubts = Vec::new();
    if !is_on("fsync")? || !is_on("full_page_writes")? {
        doubts.push("PostgreSQL runs with fsync or full_page_writes off: a crash can lose what was answered.");
    }
    match commit.as_str() {
        "off" => doubts.push("synchronous_commit is off: a crash or a failover can lose a revocation that was answered."),
        "local" | "remote_write" if has_replica => doubts
            .push("synchronous_commit is less than on: a failover can lose a revocation that was answered."),
        _ if has_replica && !has_standby => doubts
            .push("No standby is synchronous (synchronous_standby_names is empty): a failover can lose a revocation that was answered."),
        _ => {}
    }
    Ok(doubts)
}

#[cfg(test)]
mod tests {
    use super::{doubts, settle, sure};
    use crate::StoreError;
    use crate::sql::sql;
    use crate::testing::{engines, postgres};

    #[tokio::test]
    async fn a_warning_is_heard_and_what_is_less_is_not() {
        let heard = sure(async {
            tokio::task::yield_now().await;
            tracing::warn!(target: "sqlx::postgres::notice", "canceling wait");
            tracing::error!("of something else");
            tokio::task::yield_now().await;
            Ok::<_, StoreError>(())
        });
        let error = heard.await.expect_err("warned of");
        assert!(error.is_unavailable() && error.to_string().contains("canceling wait"), "{error}");
        let quiet = async {
            tracing::info!(target: "sqlx::postgres::notice", "by the way");
            Ok::<_, StoreError>(7)
        };
        assert_eq!(sure(quiet).await.expect("nothing was warned of"), 7);
    }

    #[tokio::test]
    async fn a_commit_that_postgresql_warns_of_is_an_error_though_it_is_there() {
        let Some(test) = postgres().await else { return };
        let mut conn = test.db.connect().await.expect("a connection");
        for text in [
            "CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'cut short'; RETURN NULL; END $$",
            "CREATE CONSTRAINT TRIGGER warned AFTER INSERT ON epochs DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION warn()",
        ] {
            conn.script(text).await.expect(text);
        }
        let mut tx = test.db.begin().await.expect("begins");
        sql("INSERT INTO epochs (tenant_id, epoch) VALUES ('ten_1', $1)")
            .bind([1_u8; 16])
            .run(&mut tx)
            .await
            .expect("written");
        let error = tx.commit().await.expect_err("warned of");
        assert!(error.is_unavailable() && error.to_string().contains("cut short"), "{error}");
        let mut tx = test.db.begin().await.expect("the connection is whole");
        let row = sql("SELECT count(*) AS rows FROM epochs").one(&mut tx).await.expect("counted");
        assert_eq!(row.get::<i64>("rows").expect("a number"), 1);
        tx.commit().await.expect("nothing is warned of");
    }

    #[tokio::test]
    async fn settings_that_could_lose_something_are_told() {
        for test in engines().await {
            settle(&test.db).await.expect("settled");
            let mut conn = test.db.connect().await.expect("a connection");
            if !test.db.is_postgres() {
                assert!(doubts(&mut conn).await.expect("asked").is_empty());
                continue;
            }
            for (set, word, is_told) in [
                ("SET synchronous_commit = off", "synchronous_commit is off", true),
                ("SET synchronous_commit = local", "less than on", false),
                ("SET synchronous_commit = on", "synchronous_commit is", false),
            ] {
                conn.script(set).await.expect("set");
                let doubts = doubts(&mut conn).await.expect("asked");
                assert_eq!(doubts.iter().any(|doubt| doubt.contains(word)), is_told, "{set}: {doubts:?}");
            }
        }
    }
}
