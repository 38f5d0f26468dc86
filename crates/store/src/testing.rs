//! Both engines, each with a database of its own, for tests of this crate and of those above it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Db, Target};

/// Names the server on which a database for each test is made, such as `postgres://postgres@127.0.0.1:5432/postgres`.
/// `./test` sets it.
pub const SERVER: &str = "IUSIGN_TEST_POSTGRES";

/// An open database that nobody else uses. SQLite's is gone when this is dropped.
pub struct TestDb {
    /// The database.
    pub db: Db,
    /// How to open it another time (PostgreSQL: as a second node would).
    pub target: Target,
    /// `sqlite` or `postgres`, for messages.
    pub engine: &'static str,
    _folder: Option<tempfile::TempDir>,
}

/// A fresh SQLite database.
pub async fn sqlite() -> TestDb {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let target = Target::Sqlite(folder.path().join("iusign.db"));
    let db = Db::open(&target).await.expect("SQLite opens");
    TestDb { db, target, engine: "sqlite", _folder: Some(folder) }
}

/// A fresh PostgreSQL database; none, with a word about it, where no server is named.
pub async fn postgres() -> Option<TestDb> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let Ok(server) = std::env::var(SERVER) else {
        eprintln!("skipped on PostgreSQL: {SERVER} names no server (./test sets it)");
        return None;
    };
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    // The folder's name is random: two runs of the tests at once don't meet.
    let random: String =
        folder.path().to_string_lossy().chars().rev().take_while(char::is_ascii_alphanumeric).collect();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("iusign_test_{}_{number}_{}", std::process::id(), random.to_ascii_lowercase());
    create_database(&server, &name).await;
    let (address, _) = server.rsplit_once('/').expect("the server's URL ends in a database's name");
    let target = Target::Postgres(format!("{address}/{name}"));
    let db = Db::open(&target).await.expect("PostgreSQL opens");
    Some(TestDb { db, target, engine: "postgres", _folder: None })
}

/// Both engines, as far as they are there.
pub async fn engines() -> Vec<TestDb> {
    let mut engines = vec![sqlite().await];
    engines.extend(postgres().await);
    engines
}

async fn create_database(server: &str, name: &str) {
    use sqlx::{Connection, Executor};
    let mut conn = sqlx::PgConnection::connect(server).await.expect("the test server answers");
    // The name is made above of letters and digits. template0, so that nobody's connection to template1 is in the way.
    let text = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'");
    conn.execute(sqlx::AssertSqlSafe(text)).await.expect("a database can be made");
    conn.close().await.expect("the connection closes");
}
