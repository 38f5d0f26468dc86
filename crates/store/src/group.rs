//! SQLite's one writer, shared: transactions that stand in line are committed together, so that one sync serves them all.
//!
//! A transaction is a savepoint within the group's own. Committing releases it, lets the next in line have the writer, and
//! waits: whoever stood in line by then joins the group, then comes its COMMIT, and only then is anyone told. When the COMMIT
//! fails, nobody's change happened. A later member sees what an earlier one did; so one that ends without a change of its own
//! and answers from what it saw has to end by [`Member::rollback`], which waits for the group too.

use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};
use tokio::time::timeout;

use crate::StoreError;

/// The writer. A clone is the same.
#[derive(Clone)]
pub(crate) struct Writer(Arc<Mutex<Line>>);

struct Line {
    options: SqliteConnectOptions,
    /// None after a fault: the next member opens another.
    conn: Option<SqliteConnection>,
    /// A group's transaction is open.
    is_open: bool,
    /// A member went without a word: what it did has to be undone.
    is_torn: bool,
    /// A task that ends the group stands in line.
    ends: bool,
    is_closed: bool,
    /// Who waits for the group's COMMIT.
    waiting: Vec<oneshot::Sender<Result<(), String>>>,
}

/// A transaction of a group. Dropped, it is undone.
pub(crate) struct Member(Option<OwnedMutexGuard<Line>>);

impl Writer {
    /// Opens the writer; the database's file and its log are made.
    pub(crate) async fn open(options: SqliteConnectOptions) -> Result<Writer, StoreError> {
        let conn = Some(options.connect().await?);
        Ok(Writer(Arc::new(Mutex::new(Line {
            options,
            conn,
            is_open: false,
            is_torn: false,
            ends: false,
            is_closed: false,
            waiting: Vec::new(),
        }))))
    }

    /// Stands in line, at most so long, and begins.
    pub(crate) async fn begin(&self, patience: Duration) -> Result<Member, StoreError> {
        let line = self.0.clone().lock_owned();
        // In a task of its own, here and below: one who asked and has gone leaves no statement half done.
        in_full(async move {
            let mut line = timeout(patience, line).await.map_err(|late| StoreError::Unavailable(Box::new(late)))?;
            line.mend().await;
            line.enter().await?;
            Ok(Member(Some(line)))
        })
        .await
    }

    /// Commits what is pending and closes the connection. Nothing begins afterwards.
    pub(crate) async fn close(&self) {
        let mut line = self.0.lock().await;
        line.mend().await;
        line.end().await;
        line.is_closed = true;
        if let Some(conn) = line.conn.take() {
            // One that can't say good-bye is closed by its end all the same.
            let _ = conn.close().await;
        }
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer")
    }
}

impl Member {
    /// The connection that it runs on.
    pub(crate) fn conn(&mut self) -> &mut SqliteConnection {
        let conn = self.0.as_mut().and_then(|line| line.conn.as_mut());
        conn.expect("a member holds the line from its begin to its end, and a connection with it")
    }

    /// Joins the group for good, and waits until the group is durable.
    pub(crate) async fn commit(mut self) -> Result<(), StoreError> {
        let Some(mut line) = self.0.take() else { return Ok(()) };
        in_full(async move {
            let released = line.run("RELEASE member").await;
            if let Err(error) = released {
                line.fail(&error.to_string());
                return Err(error.into());
            }
            Ok(wait(line))
        })
        .await?
        .told()
        .await
    }

    /// Undoes what it did, and waits until what it saw is durable.
    pub(crate) async fn rollback(mut self) -> Result<(), StoreError> {
        let Some(mut line) = self.0.take() else { return Ok(()) };
        in_full(async move {
            line.is_torn = true;
            line.mend().await;
            if line.waiting.is_empty() {
                line.end().await;
                return Ok(Waiting(None));
            }
            Ok(wait(line))
        })
        .await?
        .told()
        .await
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(mut line) = self.0.take() {
            line.is_torn = true;
            end_soon(line);
        }
    }
}

/// Who waits for a group's COMMIT; none where there is nothing to wait for.
struct Waiting(Option<oneshot::Receiver<Result<(), String>>>);

impl Waiting {
    async fn told(self) -> Result<(), StoreError> {
        let Some(told) = self.0 else { return Ok(()) };
        match told.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) => Err(StoreError::Unavailable(why.into())),
            Err(gone) => Err(StoreError::Unavailable(Box::new(gone))),
        }
    }
}

fn wait(mut line: OwnedMutexGuard<Line>) -> Waiting {
    let (tell, told) = oneshot::channel();
    line.waiting.push(tell);
    end_soon(line);
    Waiting(Some(told))
}

/// Lets the next in line have the writer; behind those who stand there now, the group is ended.
fn end_soon(mut line: OwnedMutexGuard<Line>) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        // The process ends. Who waits is told so by the senders' end; nothing of it was acknowledged.
        return;
    };
    if !std::mem::replace(&mut line.ends, true) {
        let whole = OwnedMutexGuard::mutex(&line).clone();
        runtime.spawn(async move {
            let mut line = whole.lock().await;
            line.ends = false;
            line.mend().await;
            line.end().await;
        });
    }
}

impl Line {
    async fn run(&mut self, text: &'static str) -> Result<(), sqlx::Error> {
        let Some(conn) = &mut self.conn else { return Err(sqlx::Error::WorkerCrashed) };
        sqlx::query(text).execute(conn).await.map(drop)
    }

    /// Begins a member, and the group where none is open.
    async fn enter(&mut self) -> Result<(), StoreError> {
        if self.is_closed {
            return Err(sqlx::Error::PoolClosed.into());
        }
        if self.conn.is_none() {
            self.conn = Some(self.options.connect().await?);
        }
        let begun = async {
            if !self.is_open {
                self.run("BEGIN IMMEDIATE").await?;
                self.is_open = true;
            }
            self.run("SAVEPOINT member").await
        };
        if let Err(error) = begun.await {
            self.fail(&error.to_string());
            return Err(error.into());
        }
        Ok(())
    }

    /// Undoes what a member left behind. On a full disk or an input/output fault SQLite rolls the whole transaction back by
    /// itself (<https://www.sqlite.org/lang_transaction.html>, "Response to errors within a transaction"); then there is no
    /// such savepoint, and the group has come to nothing.
    async fn mend(&mut self) {
        if !std::mem::replace(&mut self.is_torn, false) || !self.is_open {
            return;
        }
        let undone = async {
            self.run("ROLLBACK TO member").await?;
            self.run("RELEASE member").await
        };
        if let Err(error) = undone.await {
            self.fail(&error.to_string());
        }
    }

    /// Ends the group: COMMIT where a member waits for it.
    async fn end(&mut self) {
        if !self.is_open {
            return;
        }
        let text = if self.waiting.is_empty() { "ROLLBACK" } else { "COMMIT" };
        match self.run(text).await {
            Ok(()) => {
                self.is_open = false;
                for tell in self.waiting.drain(..) {
                    // Whoever has gone needs no word.
                    let _ = tell.send(Ok(()));
                }
            }
            Err(error) => self.fail(&error.to_string()),
        }
    }

    /// Nothing of the group happened. The connection is given up, so that its end undoes what may still be open.
    fn fail(&mut self, why: &str) {
        self.conn = None;
        (self.is_open, self.is_torn) = (false, false);
        for tell in self.waiting.drain(..) {
            let _ = tell.send(Err(why.to_owned()));
        }
    }
}

/// Runs to the end, also when whoever asked has gone.
async fn in_full<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) => Err(StoreError::Unavailable(Box::new(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::Row;
    use sqlx::sqlite::SqliteJournalMode;
    use tokio::task::yield_now;

    const PATIENCE: Duration = Duration::from_secs(10);

    async fn writer() -> (Writer, SqliteConnection, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("test.db"))
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal);
        let mut other = options.connect().await.expect("opens");
        let table = "CREATE TABLE notes (id INTEGER PRIMARY KEY, of INTEGER REFERENCES notes (id) DEFERRABLE INITIALLY DEFERRED)";
        sqlx::query(table).execute(&mut other).await.expect("made");
        (Writer::open(options).await.expect("opens"), other, folder)
    }

    async fn note(member: &mut Member, id: i64, of: Option<i64>) {
        let text = "INSERT INTO notes (id, of) VALUES ($1, $2)";
        sqlx::query(text).bind(id).bind(of).execute(member.conn()).await.expect("written");
    }

    /// What is durable, as another connection sees it.
    async fn notes(conn: &mut SqliteConnection) -> Vec<i64> {
        let rows = sqlx::query("SELECT id FROM notes ORDER BY id").fetch_all(conn).await.expect("read");
        rows.iter().map(|row| row.get(0)).collect()
    }

    #[tokio::test]
    async fn a_member_that_comes_to_nothing_takes_no_other_along() {
        let (writer, mut other, _folder) = writer().await;
        let held = writer.begin(PATIENCE).await.expect("begins");
        let mut members = tokio::task::JoinSet::new();
        for id in 1..=30 {
            let writer = writer.clone();
            members.spawn(async move {
                let mut member = writer.begin(PATIENCE).await.expect("begins");
                note(&mut member, id, None).await;
                match id % 3 {
                    0 => member.commit().await.expect("commits"),
                    1 => member.rollback().await.expect("rolls back"),
                    _ => drop(member),
                }
            });
            yield_now().await;
        }
        drop(held);
        members.join_all().await;
        assert_eq!(notes(&mut other).await, (1..=30).filter(|id| id % 3 == 0).collect::<Vec<_>>());
        writer.close().await;
        assert!(writer.begin(PATIENCE).await.is_err(), "it is closed");
    }

    #[tokio::test]
    async fn nobody_is_told_before_the_group_is_durable_and_all_are_told_when_it_fails() {
        let (writer, mut other, _folder) = writer().await;
        for (of, is_kept) in [(None, true), (Some(99), false)] {
            let held = writer.begin(PATIENCE).await.expect("begins");
            let id = if is_kept { 1 } else { 2 };
            let first = {
                let writer = writer.clone();
                tokio::spawn(async move {
                    let mut member = writer.begin(PATIENCE).await.expect("begins");
                    note(&mut member, id, of).await;
                    member.commit().await
                })
            };
            yield_now().await;
            let second = {
                let writer = writer.clone();
                tokio::spawn(async move {
                    let mut member = writer.begin(PATIENCE).await.expect("begins");
                    let seen = notes(member.conn()).await;
                    (seen, member.rollback().await)
                })
            };
            yield_now().await;
            drop(held);
            let (seen, ended) = second.await.expect("runs");
            assert!(seen.contains(&id), "it came behind the first: {seen:?}");
            // A note of a note that is not there: the engine refuses the COMMIT.
            assert_eq!(ended.is_ok(), is_kept, "{ended:?}");
            assert_eq!(notes(&mut other).await, [1]);
            let first = first.await.expect("runs");
            assert_eq!(first.is_ok(), is_kept, "{first:?}");
        }
        let mut member = writer.begin(PATIENCE).await.expect("the next one begins");
        note(&mut member, 3, None).await;
        member.commit().await.expect("commits");
        assert_eq!(notes(&mut other).await, [1, 3]);
    }

    #[tokio::test]
    async fn whoever_stops_waiting_leaves_the_line_in_order() {
        let (writer, mut other, _folder) = writer().await;
        let held = writer.begin(PATIENCE).await.expect("begins");
        let waiting = {
            let writer = writer.clone();
            tokio::spawn(async move { writer.begin(PATIENCE).await.map(drop) })
        };
        yield_now().await;
        waiting.abort();
        drop(held);
        let mut member = writer.begin(PATIENCE).await.expect("begins");
        note(&mut member, 1, None).await;
        let commit = member.commit();
        // Polled once, then forgotten: it goes on all the same.
        let _ = tokio::time::timeout(Duration::ZERO, commit).await;
        writer.begin(PATIENCE).await.expect("begins").rollback().await.expect("rolls back");
        assert_eq!(notes(&mut other).await, [1]);
    }
}
