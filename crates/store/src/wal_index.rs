//! Whether anybody has committed to the embedded database: what the index of its write-ahead log begins with.
//!
//! Every commit writes that header anew, twice, before it is done (<https://www.sqlite.org/walformat.html>, "The WAL-Index
//! Header"), and SQLite itself compares it to find out whether what a connection remembers still holds. Looked at here it costs
//! one read of 96 bytes of memory, where a statement locks and unlocks a file.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// The version of the header's form, the same since there is one.
const VERSION: u32 = 3_007_000;
const HEADER_BYTES: usize = 48;
/// Where the header says that it has been filled in.
const IS_FILLED: usize = 12;
/// Where it has the salts of the log. They are zero while the log is empty and was never written since it was taken up: so
/// it is after every crash, and there is no telling the one from the other.
const SALTS: std::ops::Range<usize> = 32..40;

/// Set once marks were found not to tell of a commit, for the life of the process.
static GIVEN_UP: AtomicBool = AtomicBool::new(false);

/// What the header was at one moment. As long as it is the same nothing was committed: it counts the commits of a log, and
/// has the log's salts and a checksum.
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
        // SQLite has it beside the file itself, not beside a link to it.
        let mut path = fs::canonicalize(database)?.into_os_string();
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

    /// Nobody believes a mark any more: the file system shows it late or not at all.
    pub(crate) fn give_up() {
        GIVEN_UP.store(true, Ordering::SeqCst);
    }

    /// What it is now; none while somebody writes it, and where it is of another form.
    pub(crate) fn mark(self) -> Option<Mark> {
        if GIVEN_UP.load(Ordering::SeqCst) {
            return None;
        }
        let mut both = [0; 2 * HEADER_BYTES];
        self.0.read_exact_at(&mut both, 0).ok()?;
        let (first, second) = both.split_at(HEADER_BYTES);
        let is_known = first.starts_with(&VERSION.to_ne_bytes()) && first[IS_FILLED] == 1 && first[SALTS] != [0; 8];
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
            assert_eq!(index.mark(), Some(after), "{number}");
            before = after;
            if number % 50 == 0 {
                // It gives the log new salts, and changes nothing that can be read.
                writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("a checkpoint");
                before = index.mark().expect("a mark");
            }
        }
    }

    #[test]
    fn the_index_of_a_link_is_that_of_its_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link) = (folder.path().join("real.db"), folder.path().join("link.db"));
        let writer = Connection::open(&file).expect("opened");
        writer.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (n)").expect("made");
        std::os::unix::fs::symlink(&file, &link).expect("a link");
        // What an earlier life of the file left beside the link.
        fs::copy(folder.path().join("real.db-shm"), folder.path().join("link.db-shm")).expect("copied");
        let index = Index::of(&link).expect("an index");
        let before = index.mark();
        writer.execute_batch("INSERT INTO t VALUES (1)").expect("written");
        assert!(before.is_some() && index.mark().is_some() && index.mark() != before);
    }

    #[test]
    fn what_is_no_index_has_no_mark() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.db");
        assert!(Index::of(&path).is_err());
        fs::write(&path, "").expect("written");
        for bytes in [&[][..], &[0; 96], &[7; 32_768]] {
            fs::write(folder.path().join("a.db-shm"), bytes).expect("written");
            assert_eq!(Index::of(&path).expect("a file").mark(), None);
        }
    }
}
