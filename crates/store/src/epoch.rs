//! The gate's own reader of epochs: outside every pool, in autocommit, one statement a read.
//!
//! SQLite is asked on the thread that asks. A read is a few microseconds there; sqlx keeps a thread for each connection,
//! and to wake it and be woken by it takes many times that, before every request that is let in.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use model::TenantId;
use rusqlite::{Connection, OpenFlags, Row};

use crate::gate::{self, Epoch, Moment};
use crate::{Conn, Db, StoreError};

/// How long SQLite may keep the asking thread waiting. Readers of a write-ahead log wait for nobody, but for whoever takes
/// it up after a crash.
const BUSY_MS_MAX: u64 = 100;

/// A connection that reads epochs and nothing else.
pub struct Reader(Line);

enum Line {
    Sqlite(Connection),
    Postgres(Conn),
}

impl Reader {
    /// Connects.
    pub async fn open(db: &Db) -> Result<Reader, StoreError> {
        Ok(Reader(match db.path() {
            Some(path) => Line::Sqlite(open(path)?),
            None => Line::Postgres(db.connect().await?),
        }))
    }

    /// The epochs of these tenants, with the database's time, in one statement. A tenant that is gone has none.
    pub async fn read(&mut self, tenants: &[TenantId]) -> Result<(Moment, HashMap<TenantId, Epoch>), StoreError> {
        match &mut self.0 {
            Line::Sqlite(connection) => read(connection, tenants),
            Line::Postgres(conn) => gate::epochs(conn, tenants).await,
        }
    }

    /// Says good-bye to the server.
    pub async fn close(self) {
        match self.0 {
            Line::Sqlite(connection) => drop(connection),
            Line::Postgres(conn) => conn.close().await,
        }
    }
}

fn open(path: &Path) -> Result<Connection, StoreError> {
    // One thread at a time has it, whichever that is.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_millis(BUSY_MS_MAX))?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}

fn read(connection: &Connection, tenants: &[TenantId]) -> Result<(Moment, HashMap<TenantId, Epoch>), StoreError> {
    let wanted = serde_json::to_string(tenants).map_err(|error| StoreError::Unbindable(error.to_string()))?;
    let mut statement = connection.prepare_cached(gate::epochs_query().sqlite)?;
    let mut rows = statement.query([wanted])?;
    let mut moment = None;
    let mut epochs = HashMap::with_capacity(tenants.len());
    while let Some(row) = rows.next()? {
        moment = Some(read_moment(row)?);
        if let Some(tenant) = row.get::<_, Option<String>>("tenant_id")? {
            let tenant = tenant.parse().map_err(|_| StoreError::Corrupt(format!("an epoch of {tenant:?}")))?;
            epochs.insert(tenant, Epoch::from_bytes(row.get("epoch")?));
        }
    }
    let moment = moment.ok_or_else(|| StoreError::Corrupt("an epoch read answered without the time".to_owned()))?;
    Ok((moment, epochs))
}

fn read_moment(row: &Row<'_>) -> Result<Moment, StoreError> {
    Ok(Moment { time: model::Timestamp::from_millis(row.get("now")?), is_standby: row.get("is_standby")? })
}
