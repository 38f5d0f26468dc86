//! The gate's own reader of epochs on the embedded database: outside every pool, in autocommit, on the thread that asks.
//!
//! A read is a few microseconds there; sqlx keeps a thread for each connection, and to wake it and be woken by it takes many
//! times that, before every request that is let in. And as long as nobody has committed, nothing is read again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::time::SECOND_MS;
use model::{TenantId, Timestamp};
use rusqlite::{Connection, OpenFlags, Row};

use crate::gate::{self, Epoch, Epochs};
use crate::wal_index::{Index, Mark};
use crate::{Db, StoreError};

/// How long SQLite may keep the asking thread waiting. Readers of a write-ahead log wait for nobody, but for whoever takes
/// it up after a crash.
const BUSY_MS_MAX: u64 = 100;
/// Tenants that are remembered at most.
const REMEMBERED_MAX: usize = 100_000;
/// How often it is made sure that marks tell of every commit.
const SURE_MS: i64 = SECOND_MS;

/// A connection that reads epochs and nothing else.
pub struct Reader {
    connection: Connection,
    /// None: it can't be looked at, and every epoch is read.
    index: Option<Index>,
    mark: Option<Mark>,
    /// As they were read since the mark was seen first.
    remembered: Epochs,
    /// What was found when it was made sure last that marks tell of every commit: the mark, then the count of commits.
    sure: (Timestamp, Option<Mark>, i64),
}

impl Reader {
    /// Opens the embedded database.
    pub fn open(db: &Db) -> Result<Reader, StoreError> {
        let Some(path) = db.path() else {
            return Err(StoreError::Corrupt("a database of a server has no file to read epochs from".to_owned()));
        };
        // One thread at a time has it, whichever that is.
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(Duration::from_millis(BUSY_MS_MAX))?;
        connection.pragma_update(None, "trusted_schema", false)?;
        // The first read, after which the index is there.
        let commits = others_commits(&connection)?;
        let index = Index::of(path).inspect_err(|error| {
            tracing::info!(%error, "the write-ahead log's index can't be looked at: every request reads its tenant's epoch");
        });
        let sure = (Timestamp::from_millis(0), None, commits);
        Ok(Reader { connection, index: index.ok(), mark: None, remembered: Epochs::default(), sure })
    }

    /// The tenant's epoch at a moment after this was called, and the database's time then. A tenant that is gone has none.
    pub fn epoch(&mut self, tenant: TenantId) -> Result<(Timestamp, Option<Epoch>), StoreError> {
        let now = now();
        if (now.millis() - self.sure.0.millis()).abs() >= SURE_MS {
            self.make_sure(now)?;
        }
        // Seen before the read: what is committed after it changes the mark.
        let mark = self.index.and_then(Index::mark);
        if mark.is_none() || mark != self.mark || self.remembered.len() >= REMEMBERED_MAX {
            self.remembered.clear();
            self.mark = mark;
        }
        if let Some(epoch) = self.remembered.get(&tenant) {
            return Ok((now, Some(*epoch)));
        }
        let (time, epoch) = read(&self.connection, tenant)?;
        if let Some(epoch) = epoch.filter(|_| mark.is_some()) {
            self.remembered.insert(tenant, epoch);
        }
        Ok((time, epoch))
    }

    /// SQLite's own count of commits has to move only where the mark does. Where the file system shows the index in memory
    /// and the file otherwise, the mark is not looked at any more.
    fn make_sure(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let mark = || self.index.and_then(Index::mark);
        let before = mark();
        let commits = others_commits(&self.connection)?;
        let (_, last_mark, last_commits) = std::mem::replace(&mut self.sure, (now, before, commits));
        // What is committed between the look and the count shows in a second look.
        if commits != last_commits && before.is_some() && before == last_mark && before == mark() {
            tracing::error!(
                "commits do not show in the write-ahead log's index, as on some network file systems: every request reads \
                 its tenant's epoch from now on"
            );
            Index::give_up();
        }
        Ok(())
    }
}

/// The machine's clock is the embedded database's own.
#[expect(clippy::disallowed_methods, reason = "unixepoch() in SQL asks it as well")]
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A number that changes when another connection commits (<https://www.sqlite.org/pragma.html#pragma_data_version>).
fn others_commits(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?)
}

fn read(connection: &Connection, tenant: TenantId) -> Result<(Timestamp, Option<Epoch>), StoreError> {
    let wanted = serde_json::to_string(&[tenant]).map_err(|error| StoreError::Unbindable(error.to_string()))?;
    let mut statement = connection.prepare_cached(gate::epochs_query().sqlite)?;
    let row = |row: &Row<'_>| Ok((row.get("now")?, row.get::<_, Option<[u8; 16]>>("epoch")?));
    let (now, epoch) = statement.query_row([wanted], row)?;
    Ok((Timestamp::from_millis(now), epoch.map(Epoch::from_bytes)))
}
