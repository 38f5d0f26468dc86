//! What can go wrong beneath a use case: the database or the disk can't be asked, or holds what it must not.

use model::{Code, Problem};
use std::error::Error as StdError;

/// A fault of the store. Refusals are no faults: they are rows not found and counts of zero.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database can't be reached, is starting, read-only, or answers too late: the caller may try again.
    #[error("the database can't be asked: {0}")]
    Unavailable(#[source] Box<dyn StdError + Send + Sync>),
    /// A unique index, foreign key or check said no where no statement may run into one.
    #[error("the database refused a row (constraint {constraint})")]
    Constraint {
        /// The constraint's or the index's name, or what the engine says instead.
        constraint: String,
        /// What the engine said.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The statement itself failed: a fault of ours.
    #[error("a statement failed: {0}")]
    Statement(#[source] Box<dyn StdError + Send + Sync>),
    /// A row or a value was not what the code holds it to be.
    #[error("the store holds what the code can't read: {0}")]
    Corrupt(String),
    /// A value can't be stored: it is outside the range of its column.
    #[error("a value can't be stored: {0}")]
    Unbindable(String),
    /// Another process holds this data directory.
    #[error("{0}")]
    Held(String),
    /// The schema in the database and this binary's migrations don't fit.
    #[error("{0}")]
    Migration(String),
    /// Another holder took the lease of a job or a request: what this one did must not commit.
    #[error("the lease of {0} was lost to another holder")]
    LeaseLost(String),
    /// The row was changed by another since it was read: what was decided on it must not commit.
    #[error("{0}")]
    Conflict(String),
    /// A file can't be read or written.
    #[error("a file can't be read or written: {0}")]
    File(#[source] Box<dyn StdError + Send + Sync>),
    /// There is no such file.
    #[error("there is no file {0} in the store")]
    FileMissing(String),
    /// A stream was longer than its bound.
    #[error("the file is longer than {0} bytes")]
    TooLong(u64),
}

impl StoreError {
    /// Whether asking again later can help.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, StoreError::Unavailable(_))
    }

    /// A file's fault.
    pub(crate) fn file(error: impl Into<Box<dyn StdError + Send + Sync>>) -> StoreError {
        StoreError::File(error.into())
    }
}

/// Seconds after which to ask again when the database couldn't be asked.
const RETRY_AFTER_S: u32 = 1;

impl From<StoreError> for Problem {
    /// Faults keep their cause; what can pass says when to try again.
    fn from(error: StoreError) -> Problem {
        match error {
            StoreError::Unavailable(_) => {
                Problem::new(Code::Unavailable, "The database can't be asked at present.").retry_after(RETRY_AFTER_S)
            }
            StoreError::Conflict(_) => Code::Conflict.into(),
            StoreError::LeaseLost(_) => Problem::new(Code::Conflict, "Another attempt took over in the meantime."),
            _ => return Problem::fault(error),
        }
        .caused_by(error)
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        StoreError::File(Box::new(error))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error;
        match &error {
            Error::Io(_)
            | Error::Tls(_)
            | Error::PoolTimedOut
            | Error::PoolClosed
            | Error::WorkerCrashed
            | Error::BeginFailed => StoreError::Unavailable(Box::new(error)),
            Error::Database(said) => match said.code().as_deref() {
                Some(code) if is_transient(code) => StoreError::Unavailable(Box::new(error)),
                _ if said.is_unique_violation() || said.is_foreign_key_violation() || said.is_check_violation() => {
                    let constraint = said.constraint().unwrap_or(said.message()).to_owned();
                    StoreError::Constraint { constraint, source: Box::new(error) }
                }
                _ => StoreError::Statement(Box::new(error)),
            },
            _ => StoreError::Statement(Box::new(error)),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match &error {
            rusqlite::Error::SqliteFailure(said, _) if is_transient(&said.extended_code.to_string()) => {
                StoreError::Unavailable(Box::new(error))
            }
            _ => StoreError::Statement(Box::new(error)),
        }
    }
}

/// PostgreSQL's classes 08 (connection), 53 (resources), 57 (cancelled, shutting down), 58 (system), 40 (rolled
/// back), 25006 (a standby), 25P03 (idle in a transaction for too long), 55P03 (lock timeout), and SQLite's BUSY, IOERR, FULL and CANTOPEN with their extensions.
fn is_transient(code: &str) -> bool {
    const CLASSES: [&str; 5] = ["08", "53", "57", "58", "40"];
    const CODES: [&str; 3] = ["25006", "25P03", "55P03"];
    if code.len() == 5 && (CLASSES.iter().any(|class| code.starts_with(class)) || CODES.contains(&code)) {
        return true;
    }
    // SQLite's codes are numbers, the primary code in the low byte.
    code.len() < 5 && code.parse::<i64>().is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 10 | 13 | 14))
}

#[cfg(test)]
mod tests {
    use super::is_transient;

    #[test]
    fn what_may_pass_is_told_from_what_will_not() {
        for code in ["08006", "53300", "57P01", "57014", "40P01", "25006", "25P03", "55P03", "5", "261", "13", "778"] {
            assert!(is_transient(code), "{code}");
        }
        for code in ["23505", "42601", "22P02", "1", "19", "2067", "1555"] {
            assert!(!is_transient(code), "{code}");
        }
    }
}
