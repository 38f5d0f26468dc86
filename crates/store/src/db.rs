//! The database: one of two engines behind one type, its transactions and its connections.
//!
//! SQLite has one writer and readers beside it, each commit is synced, and one process holds the data directory.
//! PostgreSQL runs at READ COMMITTED, said aloud, with every statement and every idle transaction bounded.

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Postgres, Sqlite, Transaction};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

use crate::sql::{Link, Session};
use crate::{StoreError, durability, migrate};

/// Connections that PostgreSQL is asked for at most, beside the gate's own.
const POSTGRES_CONNECTIONS_MAX: u32 = 16;
/// Readers beside SQLite's one writer.
const SQLITE_READERS_MAX: u32 = 8;
/// How long a use case waits for a connection before it is told that the database can't be asked.
const ACQUIRE_S_MAX: u64 = 10;
/// How long SQLite waits for a lock that another process holds (a backup, say).
const SQLITE_BUSY_S_MAX: u64 = 10;
/// Prepared statements kept on each connection: more than there are static texts.
const STATEMENTS_MAX: usize = 1_024;

/// The bounds of gate.md stand in the same message as BEGIN: they cost no round trip, hold behind a pooler in
/// transaction mode, and end with the transaction.
const POSTGRES_BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
    SET LOCAL statement_timeout = '20s';
    SET LOCAL lock_timeout = '5s';
    SET LOCAL idle_in_transaction_session_timeout = '10s'";
/// A reader sees one state of the database from its first statement to its last, as on SQLite.
const POSTGRES_BEGIN_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
    SET LOCAL statement_timeout = '20s';
    SET LOCAL idle_in_transaction_session_timeout = '10s'";

/// Which database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The embedded one: its file, `iusign.db` in the data directory.
    Sqlite(PathBuf),
    /// A server: `postgres://user@host/database`.
    Postgres(String),
}

/// The database. A clone is the same database.
#[derive(Clone, Debug)]
pub enum Db {
    /// The embedded database.
    Sqlite(SqliteDb),
    /// The server.
    Postgres(PostgresDb),
}

/// SQLite's two pools.
#[derive(Clone, Debug)]
pub struct SqliteDb {
    writer: SqlitePool,
    readers: SqlitePool,
    options: SqliteConnectOptions,
    // Held as long as any clone lives.
    _hold: Arc<File>,
}

/// PostgreSQL's pool.
#[derive(Clone, Debug)]
pub struct PostgresDb {
    pool: PgPool,
    options: PgConnectOptions,
    /// The runtime that opened the database. A connection lives by the runtime that made it, and the pool's are handed to
    /// whoever asks, also in one that ends before the others.
    home: Handle,
}

impl Db {
    /// Open the database, make it if it isn't there, and bring its schema up to date.
    pub async fn open(target: &Target) -> Result<Db, StoreError> {
        let db = match target {
            Target::Sqlite(path) => Db::Sqlite(open_sqlite(path).await?),
            Target::Postgres(url) => Db::Postgres(open_postgres(url).await?),
        };
        migrate::run(&db).await?;
        Ok(db)
    }

    /// Begin a transaction that writes. Dropped without [`Tx::commit`], it is rolled back.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(match self {
            Db::Sqlite(db) => Tx::new(Inner::Sqlite(db.writer.begin_with("BEGIN IMMEDIATE").await?)),
            Db::Postgres(db) => Tx::new(Inner::Postgres(db.begin(POSTGRES_BEGIN).await?)),
        })
    }

    /// Begin a transaction that only reads, and sees one state of the database.
    pub async fn read(&self) -> Result<Tx, StoreError> {
        Ok(match self {
            Db::Sqlite(db) => Tx::new(Inner::Sqlite(db.readers.begin_with("BEGIN DEFERRED").await?)),
            Db::Postgres(db) => Tx::new(Inner::Postgres(db.begin(POSTGRES_BEGIN_READ).await?)),
        })
    }

    /// A connection from the pool without a transaction: each statement stands for itself. For a single read.
    pub async fn ask(&self) -> Result<Conn, StoreError> {
        Ok(match self {
            Db::Sqlite(db) => Conn(Line::SqlitePooled(db.readers.acquire().await?)),
            Db::Postgres(db) => Conn(Line::PostgresPooled(db.acquire().await?)),
        })
    }

    /// A connection of one's own, outside the pool, without a transaction; on SQLite it only reads. The gate asks on
    /// these, so that no queue at the pool can keep it from refusing.
    pub async fn connect(&self) -> Result<Conn, StoreError> {
        let connecting = async {
            Ok(match self {
                Db::Sqlite(db) => Conn(Line::Sqlite(db.options.clone().read_only(true).connect().await?)),
                Db::Postgres(db) => Conn(Line::Postgres(db.options.connect().await?)),
            })
        };
        match tokio::time::timeout(Duration::from_secs(ACQUIRE_S_MAX), connecting).await {
            Ok(conn) => conn,
            Err(elapsed) => Err(StoreError::Unavailable(Box::new(elapsed))),
        }
    }

    /// A connection to a database that other processes may hold, without a pool, without migrations, and on SQLite only for
    /// reading: for a backup, and for a look that changes nothing.
    pub async fn reach(target: &Target) -> Result<Conn, StoreError> {
        let line = match target {
            Target::Sqlite(path) => {
                let busy = Duration::from_secs(SQLITE_BUSY_S_MAX);
                let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(busy);
                Line::Sqlite(options.disable_statement_logging().connect().await?)
            }
            Target::Postgres(url) => {
                let options = PgConnectOptions::from_str(url);
                let options = options.map_err(|error| StoreError::Unavailable(Box::new(error)))?;
                Line::Postgres(options.application_name("iusign").disable_statement_logging().connect().await?)
            }
        };
        Ok(Conn(line))
    }

    /// The connection that migrations run on: it may write.
    pub(crate) async fn owner(&self) -> Result<Conn, StoreError> {
        match self {
            Db::Sqlite(db) => Ok(Conn(Line::SqlitePooled(db.writer.acquire().await?))),
            Db::Postgres(_) => self.connect().await,
        }
    }

    /// The file of the embedded database.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Db::Sqlite(db) => Some(db.options.get_filename()),
            Db::Postgres(_) => None,
        }
    }

    /// Whether this is PostgreSQL, for the few places where locks differ.
    pub fn is_postgres(&self) -> bool {
        matches!(self, Db::Postgres(_))
    }

    /// Close every connection, waiting for transactions that run. Afterwards nothing can be asked.
    pub async fn close(&self) {
        match self {
            Db::Sqlite(db) => {
                db.readers.close().await;
                db.writer.close().await;
            }
            Db::Postgres(db) => db.pool.close().await,
        }
    }
}

impl PostgresDb {
    /// Begins in a task of its own, which goes on when whoever asked is gone: sqlx 0.9 gives a connection whose BEGIN was
    /// sent and not yet answered back to the pool with its transaction open, and the next use case would run within it.
    async fn begin(&self, text: &'static str) -> Result<Transaction<'static, Postgres>, StoreError> {
        let pool = self.pool.clone();
        done(self.home.spawn(async move { pool.begin_with(text).await }).await)
    }

    /// Who is gone waits no longer.
    async fn acquire(&self) -> Result<PoolConnection<Postgres>, StoreError> {
        let pool = self.pool.clone();
        done(AbortOnDropHandle::new(self.home.spawn(async move { pool.acquire().await })).await)
    }
}

fn done<T>(joined: Result<Result<T, sqlx::Error>, JoinError>) -> Result<T, StoreError> {
    match joined {
        Ok(done) => Ok(done?),
        Err(error) => Err(StoreError::Unavailable(Box::new(error))),
    }
}

async fn open_sqlite(path: &Path) -> Result<SqliteDb, StoreError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder)?;
    let hold = hold(folder)?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(SQLITE_BUSY_S_MAX))
        .pragma("trusted_schema", "OFF")
        .statement_cache_capacity(STATEMENTS_MAX)
        .disable_statement_logging();
    let pool = || {
        SqlitePoolOptions::new()
            .acquire_timeout(Duration::from_secs(ACQUIRE_S_MAX))
            .after_release(|conn, _| Box::pin(async move { is_out_of_transaction(conn).await }))
    };
    let lasting = || pool().test_before_acquire(false).idle_timeout(None).max_lifetime(None);
    // The writer opens first: it makes the file and its WAL, which readers can't.
    let writer = lasting().max_connections(1).min_connections(1).connect_with(options.clone()).await?;
    let readers = lasting().max_connections(SQLITE_READERS_MAX).connect_with(options.clone().read_only(true)).await?;
    Ok(SqliteDb { writer, readers, options, _hold: Arc::new(hold) })
}

/// Whether a connection that is given back can be used again. On a full disk or an input/output fault SQLite rolls back by
/// itself (<https://www.sqlite.org/lang_transaction.html>, "Response to errors within a transaction"); then sqlx's own ROLLBACK
/// fails, and it takes the connection to be within that transaction for ever. Such a one is closed, and a new one opened.
async fn is_out_of_transaction(conn: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    if conn.is_in_transaction() {
        // A transaction that was dropped is rolled back by then: the connection does one thing after the other.
        conn.ping().await?;
    }
    Ok(!conn.is_in_transaction())
}

async fn open_postgres(url: &str) -> Result<PostgresDb, StoreError> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|error| StoreError::Unavailable(Box::new(error)))?
        .application_name("iusign")
        .statement_cache_capacity(STATEMENTS_MAX)
        .disable_statement_logging();
    let pool = PgPoolOptions::new()
        .acquire_timeout(Duration::from_secs(ACQUIRE_S_MAX))
        .max_connections(POSTGRES_CONNECTIONS_MAX)
        .connect_with(options.clone())
        .await?;
    Ok(PostgresDb { pool, options, home: Handle::current() })
}

/// Hold a data directory for this process alone, by a lock on the file `lock` in it. The kernel releases it when the
/// process ends, however it ends.
pub fn hold(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::Held(format!(
            "another iusign process holds {}: stop it, or ask it through its socket",
            folder.display()
        ))),
        Err(std::fs::TryLockError::Error(error)) => Err(error.into()),
    }
}

/// A transaction. Everything in it happens at [`Tx::commit`], or nothing does.
#[must_use = "a transaction that is not committed is rolled back"]
pub struct Tx {
    inner: Inner,
    failed: bool,
}

enum Inner {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Tx {
    fn new(inner: Inner) -> Tx {
        Tx { inner, failed: false }
    }

    /// Whether this runs on PostgreSQL.
    pub fn is_postgres(&self) -> bool {
        matches!(self.inner, Inner::Postgres(_))
    }

    /// Make it durable. After a failed statement there is nothing to commit: PostgreSQL would answer COMMIT with a
    /// silent rollback, so it is an error here on both engines.
    pub async fn commit(self) -> Result<(), StoreError> {
        if self.failed {
            return Err(StoreError::Statement("COMMIT after a failed statement: nothing was committed".into()));
        }
        match self.inner {
            Inner::Sqlite(tx) => tx.commit().await?,
            Inner::Postgres(tx) => durability::sure(tx.commit()).await?,
        }
        Ok(())
    }

    /// Undo it now, rather than when the connection is next used.
    pub async fn rollback(self) -> Result<(), StoreError> {
        match self.inner {
            Inner::Sqlite(tx) => tx.rollback().await?,
            Inner::Postgres(tx) => tx.rollback().await?,
        }
        Ok(())
    }
}

impl Session for Tx {
    fn link(&mut self) -> Link<'_> {
        match &mut self.inner {
            Inner::Sqlite(tx) => Link::Sqlite(tx),
            Inner::Postgres(tx) => Link::Postgres(tx),
        }
    }

    fn failed(&mut self) {
        self.failed = true;
    }
}

/// A connection without a transaction.
pub struct Conn(Line);

enum Line {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
    SqlitePooled(PoolConnection<Sqlite>),
    PostgresPooled(PoolConnection<Postgres>),
}

impl Conn {
    /// Run a script of several statements without values. Only migrations do.
    pub(crate) async fn script(&mut self, text: &'static str) -> Result<(), StoreError> {
        match self.link() {
            Link::Sqlite(c) => sqlx::raw_sql(text).execute(c).await?.rows_affected(),
            Link::Postgres(c) => sqlx::raw_sql(text).execute(c).await?.rows_affected(),
        };
        Ok(())
    }

    /// Say good-bye to the server.
    pub async fn close(self) {
        // A connection that can't say good-bye is closed by its end all the same.
        let _ = match self.0 {
            Line::Sqlite(c) => c.close().await,
            Line::Postgres(c) => c.close().await,
            Line::SqlitePooled(_) | Line::PostgresPooled(_) => Ok(()),
        };
    }
}

impl Session for Conn {
    fn link(&mut self) -> Link<'_> {
        match &mut self.0 {
            Line::Sqlite(c) => Link::Sqlite(c),
            Line::Postgres(c) => Link::Postgres(c),
            Line::SqlitePooled(c) => Link::Sqlite(c),
            Line::PostgresPooled(c) => Link::Postgres(c),
        }
    }

    fn failed(&mut self) {}
}
