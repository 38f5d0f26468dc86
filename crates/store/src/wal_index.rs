//! Whether anybody has committed to the embedded database: what the index of its write-ahead log begins with.
//!
//! Every commit writes that header anew, twice, before it is done (<https://www.sqlite.org/walformat.html>, "The WAL-Index
//! Header"), and SQLite itself compares it to find out whether what a connection remembers still holds. Looked at here it costs
//! one read of 96 bytes of memory, where a statement locks and unlocks a file.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// The version of the header's form, the same since there is one.
const VERSION: u32 = 3_007_000;
const HEADER_BYTES: usize = 48;
/// Where the header says that it has been filled in.
const IS_FILLED: usize = 12;

/// What the header was at one moment. As long as it is the same nothing was committed: it has a count of all commits, a
/// checksum, and the salts of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark([u8; HEADER_BYTES]);

/// The index of a database's write-ahead log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Index(&'static File);

impl Index {
    /// The index of the database in this file, which a connection has read from and keeps open as long as the index is looked
    /// at: then the file is not exchanged.
    pub(crate) fn of(database: &Path) -> io::Result<Index> {
        // A process loses all its locks on a file when it closes any handle to it (POSIX, `fcntl`), and SQLite locks this one
        // (<https://www.sqlite.org/howtocorrupt.html>, 2.2). So there is one handle for each file, which is never closed.
        static OPEN: Mutex<Vec<(u64, u64, &'static File)>> = Mutex::new(Vec::new());
        let mut path = database.as_os_str().to_owned();
        path.push("-shm");
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = fs::metadata(&path)?;
        if let Some((.., file)) = open.iter().find(|(device, inode, _)| (*device, *inode) == (seen.dev(), seen.ino())) {
            return Ok(Index(file));
        }
        let file: &'static File = Box::leak(Box::new(File::open(&path)?));
        open.push((seen.dev(), seen.ino(), file));
        Ok(Index(file))
    }

    /// What it is now; none while somebody writes it, and where it is of another form.
    pub(crate) fn mark(self) -> Option<Mark> {
        let mut both = [0; 2 * HEADER_BYTES];
        self.0.read_exact_at(&mut both, 0).ok()?;
        let (first, second) = both.split_at(HEADER_BYTES);
        let is_known = first.starts_with(&VERSION.to_ne_bytes()) && first[IS_FILLED] == 1;
        (is_known && first == second).then(|| first.try_into().ok().map(Mark)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

    #[test]
    fn every_commit_changes_the_mark_and_nothing_else_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.db");
        let open = || Connection::open(&path).expect("opened");
        let (reader, writer) = (open(), open());
        writer.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (n)").expect("made");
        let count =
            |of: &Connection| of.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).expect("read");
        assert_eq!(count(&reader), 0);
        let index = Index::of(&path).expect("an index");
        let mut before = index.mark().expect("a mark");
        for number in 1..=200 {
            // Also a commit of another process, as of an operator's shell, which every tenth is; and the log begins anew.
            let text = format!("INSERT INTO t VALUES ({number})");
            if number % 10 == 0 {
                let script = "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit()";
                let mut python = std::process::Command::new("python3");
                assert!(python.args(["-c", script]).arg(&path).arg(&text).status().expect("Python runs").success());
            } else {
                writer.execute_batch(&text).expect("written");
            }
            let after = index.mark().expect("a mark");
            assert_ne!(after, before, "{number}");
            assert_eq!(count(&reader), number);
            open().execute_batch("BEGIN IMMEDIATE; INSERT INTO t VALUES (0); ROLLBACK").expect("rolled back");
            if number % 50 == 0 {
                writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("a checkpoint");
            }
            assert_eq!(index.mark(), Some(after), "{number}");
            before = after;
        }
    }

    #[test]
    fn what_is_no_index_has_no_mark() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.db");
        assert!(Index::of(&path).is_err());
        for bytes in [&[][..], &[0; 96], &[7; 32_768]] {
            fs::write(folder.path().join("a.db-shm"), bytes).expect("written");
            assert_eq!(Index::of(&path).expect("a file").mark(), None);
        }
    }
}
