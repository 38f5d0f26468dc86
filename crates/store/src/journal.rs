//! The journal of revocations on the disk: appended to and synced before a revocation is answered.
//!
//! It lies in the data folder, beside the database and not in it, so that a database restored from an older backup does
//! not bring revoked keys back. Where several servers share one database, each line is also kept among the shared files.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use model::KeyId;
use model::journal::{Fact, Line, Read, latest, read, standing};

use crate::{Files, StoreError};

/// The journal's file in the data folder.
pub const FILE: &str = "revocations.log";

/// The journal. A clone is the same journal.
#[derive(Clone)]
pub struct Journal(Arc<Inner>);

struct Inner {
    disk: Mutex<Disk>,
    shared: Option<Files>,
    // What is written for each key, in the file and among the shared ones, as far as this server knows: the same need not be
    // written again.
    latest: Mutex<BTreeMap<KeyId, Line>>,
    damaged: usize,
}

struct Disk {
    file: File,
    // What the file itself says of each key.
    latest: BTreeMap<KeyId, Line>,
    // A write has failed: what it left is no line.
    is_torn: bool,
}

impl Disk {
    /// Appends what the file does not say already, and waits for the disk.
    fn append(&mut self, lines: &[Line]) -> Result<(), StoreError> {
        let new: Vec<Line> = lines.iter().filter(|line| !says_already(&self.latest, line)).copied().collect();
        if new.is_empty() {
            return Ok(());
        }
        // What was torn stays alone.
        let begins = if self.is_torn { "\n" } else { "" };
        let text: String = std::iter::once(begins.to_owned()).chain(new.iter().map(Line::text)).collect();
        self.is_torn = true;
        // One write, at the end whoever else appends: the file is open for that.
        self.file.write_all(text.as_bytes())?;
        self.file.sync_data()?;
        self.is_torn = false;
        self.latest = latest(std::mem::take(&mut self.latest).into_values().chain(new));
        Ok(())
    }
}

impl Journal {
    /// The journal in this folder, which is made where there is none; with `shared`, also among those files.
    pub async fn open(folder: &Path, shared: Option<Files>) -> Result<Journal, StoreError> {
        let path = folder.join(FILE);
        let (file, text) = tokio::task::spawn_blocking(move || open(&path)).await.map_err(StoreError::file)??;
        let Read { mut lines, damaged } = read(&text);
        let disk = Mutex::new(Disk { file, latest: latest(lines.clone()), is_torn: false });
        if let Some(shared) = &shared {
            lines.extend(shared.notes().await?.iter().flat_map(|text| read(text).lines));
        }
        let latest = Mutex::new(latest(lines));
        Ok(Journal(Arc::new(Inner { disk, shared, latest, damaged })))
    }

    /// What each key that stands in it has to be.
    pub fn standing(&self) -> Vec<Line> {
        let known = self.0.latest.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().filter(|line| line.fact != Fact::Resumed).copied().collect()
    }

    /// Lines of the file that can't be read.
    pub fn damaged(&self) -> usize {
        self.0.damaged
    }

    /// Writes these lines. When this returns, they are on the disk.
    pub async fn append(&self, lines: &[Line]) -> Result<(), StoreError> {
        let new: Vec<Line> = {
            let known = self.0.latest.lock().unwrap_or_else(PoisonError::into_inner);
            lines.iter().filter(|line| !says_already(&known, line)).copied().collect()
        };
        if new.is_empty() {
            return Ok(());
        }
        let (inner, lines) = (self.0.clone(), new.clone());
        let written = tokio::task::spawn_blocking(move || {
            inner.disk.lock().unwrap_or_else(PoisonError::into_inner).append(&lines)
        });
        written.await.map_err(StoreError::file)??;
        if let Some(shared) = &self.0.shared {
            for line in &new {
                // One note a key, the one that holds, whichever server wrote it; a key that was resumed last has one that
                // says so.
                let name = line.key.to_string();
                let before = shared.note(&name).await?.map_or_else(Vec::new, |text| read(&text).lines);
                let after = latest(before.into_iter().chain([*line]));
                shared.put_note(&name, after.get(&line.key).unwrap_or(line).text()).await?;
            }
        }
        // Last: what failed above is written again when it is asked for again.
        let mut known = self.0.latest.lock().unwrap_or_else(PoisonError::into_inner);
        *known = latest(std::mem::take(&mut *known).into_values().chain(new));
        Ok(())
    }
}

/// Of the same fact only a line that is not older says it: another server may have written the opposite in between.
fn says_already(known: &BTreeMap<KeyId, Line>, line: &Line) -> bool {
    known.get(&line.key).is_some_and(|known| match known.fact {
        Fact::Revoked(_) => true,
        fact => fact == line.fact && known.at >= line.at,
    })
}

fn open(path: &Path) -> Result<(File, String), StoreError> {
    let is_new = !path.exists();
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    if is_new && let Some(folder) = path.parent() {
        // The name is durable too.
        File::open(folder)?.sync_all()?;
    }
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    if bytes.last().is_some_and(|last| *last != b'\n') {
        // A line that was torn by a crash stays alone.
        file.write_all(b"\n")?;
        file.sync_data()?;
    }
    Ok((file, String::from_utf8_lossy(&bytes).into_owned()))
}

/// What each key has to be by the journal of this folder and by the notes among these files: for a backup.
pub async fn read_all(folder: &Path, shared: &Files) -> Result<Vec<Line>, StoreError> {
    let mut lines = read_file(&folder.join(FILE))?.lines;
    lines.extend(shared.notes().await?.iter().flat_map(|text| read(text).lines));
    Ok(standing(lines).into_values().collect())
}

/// Reads a journal's file, where there is one: for a restore.
pub fn read_file(path: &Path) -> Result<Read, StoreError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(read(&String::from_utf8_lossy(&bytes))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Read::default()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::journal::Fact;
    use model::key::Reason;
    use model::{EnvScope, Environment, TenantId, Timestamp};

    struct Zero;

    impl model::Random for Zero {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
    }

    fn line(number: u8, fact: Fact) -> Line {
        struct Fixed(u8);
        impl model::Random for Fixed {
            fn fill(&self, bytes: &mut [u8]) {
                bytes.fill(self.0);
            }
        }
        let at = Timestamp::from_millis(1_800_000_000_000 + i64::from(number));
        let tenant = TenantId::new(at, &Fixed(0));
        let scope = EnvScope { tenant, environment: Environment::Production };
        Line { at, key: KeyId::new(at, &Fixed(number)), scope, fact }
    }

    #[test]
    fn what_a_failed_write_left_spoils_no_later_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(FILE);
        let whole = line(1, Fact::Revoked(Reason::Manual));
        let (file, _) = open(&path).expect("opened");
        let mut disk = Disk { file, latest: BTreeMap::new(), is_torn: false };
        // As a disk that fills up: half of a line is there, and the file can't be written.
        disk.file.write_all(&whole.text().as_bytes()[..20]).expect("written");
        let writable = std::mem::replace(&mut disk.file, File::open(&path).expect("opened"));
        disk.append(&[whole]).expect_err("not written");
        disk.file = writable;
        disk.append(&[whole]).expect("written");
        disk.append(&[whole]).expect("it stands there already");
        let Read { lines, damaged } = read_file(&path).expect("read");
        assert_eq!((lines, damaged), (vec![whole], 1));
    }

    #[tokio::test]
    async fn what_was_appended_is_there_after_a_start_and_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let lines = [line(1, Fact::Revoked(Reason::Manual)), line(2, Fact::Suspended)];
        let journal = Journal::open(folder.path(), None).await.expect("opens");
        journal.append(&lines).await.expect("appended");
        journal.append(&lines).await.expect("known already");
        drop(journal);
        let path = folder.path().join(FILE);
        assert_eq!(std::fs::read_to_string(&path).expect("read").lines().count(), 2);
        // A crash tore the next line.
        let mut torn = OpenOptions::new().append(true).open(&path).expect("opens");
        torn.write_all(&line(3, Fact::Suspended).text().as_bytes()[..40]).expect("written");
        let journal = Journal::open(folder.path(), None).await.expect("opens");
        assert_eq!((journal.standing(), journal.damaged()), (lines.to_vec(), 0));
        journal.append(&[line(4, Fact::Revoked(Reason::Policy))]).await.expect("appended");
        let journal = Journal::open(folder.path(), None).await.expect("opens");
        assert_eq!(journal.standing().len(), 3);
    }

    #[tokio::test]
    async fn a_server_beside_it_finds_it_among_the_shared_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = Files::open(&folder.path().join("files"), Arc::new(Zero)).expect("files");
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        for path in [&one, &other] {
            std::fs::create_dir(path).expect("made");
        }
        let journal = Journal::open(&one, Some(files.clone())).await.expect("opens");
        let revoked = line(1, Fact::Revoked(Reason::Compromised));
        journal.append(&[revoked]).await.expect("appended");
        let suspended = line(2, Fact::Suspended);
        journal.append(&[suspended]).await.expect("appended");
        journal.append(&[Line { at: suspended.at.plus(1), fact: Fact::Resumed, ..suspended }]).await.expect("appended");
        let beside = Journal::open(&other, Some(files)).await.expect("opens");
        assert_eq!(beside.standing(), [revoked]);
    }

    #[tokio::test]
    async fn servers_that_suspend_and_resume_in_turn_leave_the_last_word() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = Files::open(&folder.path().join("files"), Arc::new(Zero)).expect("files");
        let mut journals = Vec::new();
        for name in ["one", "other"] {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).expect("made");
            journals.push(Journal::open(&path, Some(files.clone())).await.expect("opens"));
        }
        let suspended = line(1, Fact::Suspended);
        let later = |ms, fact| Line { at: suspended.at.plus(ms), fact, ..suspended };
        let mut after = Vec::new();
        for (turn, line) in
            [(0, suspended), (1, later(1, Fact::Resumed)), (0, later(2, Fact::Suspended)), (1, later(3, Fact::Resumed))]
        {
            journals[turn].append(&[line]).await.expect("appended");
            let read = folder.path().join(["one", "other"][1 - turn]);
            after.push(read_all(&read, &files).await.expect("read"));
            // Again: nothing more is written.
            journals[turn].append(&[line]).await.expect("known");
        }
        assert_eq!(after, [vec![suspended], vec![], vec![later(2, Fact::Suspended)], vec![]]);
        for name in ["one", "other"] {
            let text = std::fs::read_to_string(folder.path().join(name).join(FILE)).expect("read");
            assert_eq!(text.lines().count(), 2, "{name}");
        }
        // What another server revoked stays, whatever this one has not heard.
        journals[0].append(&[later(4, Fact::Revoked(Reason::Manual))]).await.expect("appended");
        journals[1].append(&[later(5, Fact::Suspended)]).await.expect("appended");
        let revoked = read_all(&folder.path().join("other"), &files).await.expect("read");
        assert_eq!(revoked, [later(4, Fact::Revoked(Reason::Manual))]);
    }
}
