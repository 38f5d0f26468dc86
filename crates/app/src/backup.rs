//! Backups: database, files and journal as one folder; tried by restoring them; restored so that no revoked key lives.

use std::path::{Path, PathBuf};

use futures::TryStreamExt;
use model::event::{chain, chain_start, hex};
use model::journal::{Line, standing};
use model::{Clock, EnvScope, EnvelopeId, Environment, Problem, Random, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store::{Db, Files, StoreError, Target, backup, journal};
use tokio::io::AsyncReadExt;

/// The file that says what a backup holds; written last, so that a backup with it is whole.
const MANIFEST: &str = "manifest.json";
/// The database's file in a backup.
const DATABASE: &str = "database";
/// The folder of files in a backup.
const FILES: &str = "files";
/// What a data folder may hold before a restore, and no other folder does; the last is in every fresh file system.
const OF_A_DATA_FOLDER: [&str; 8] =
    [journal::FILE, "master.key", "iusign.toml", "seal", "ca.pem", "lock", "files", "lost+found"];
/// What a manifest is read by.
const FORMAT: u32 = 1;
/// A file's length at most: no store of ours holds a longer one.
const FILE_BYTES_MAX: u64 = 1 << 40;
/// Rows that one look reads.
const PAGE_ROWS: u32 = 500;
/// Bytes that are read at once.
const READ_BYTES: usize = 1 << 20;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// How it is laid out.
    pub format: u32,
    /// When the database was copied.
    pub made_at: Timestamp,
    /// `sqlite` or `postgres`: it is restored to the same.
    pub engine: String,
    /// SHA-256 of the database's file.
    pub database_sha256: String,
    /// SHA-256 of the journal's file: without it, or cut, revoked keys would live again.
    pub journal_sha256: String,
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub files_bytes: u64,
    /// Keys that the journal says are revoked or suspended.
    pub revocations: usize,
}

/// What was found whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Tenants.
    pub tenants: u64,
    /// Entries of audit logs whose chain holds.
    pub audit_entries: i64,
    /// Envelopes whose chain of events holds.
    pub envelopes: u64,
    /// Files that rows name, there and of the right digest.
    pub files: u64,
}

/// What a restore did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// What was restored.
    pub backup: Manifest,
    /// What was found whole.
    pub checked: Checked,
    /// Keys that the journal ended again.
    pub ended_again: usize,
    /// The latest word of the journals that were at hand.
    pub journal_until: Option<Timestamp>,
}

/// Where something lies that is backed up or restored.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// The database.
    pub target: &'a Target,
    /// The folder of files.
    pub files: &'a Path,
    /// The data folder, where the journal lies.
    pub folder: &'a Path,
}

/// Time and randomness.
pub type Machine<'a> = (&'a dyn Clock, &'a std::sync::Arc<dyn Random>);

/// Makes a backup in an empty or new folder, also while servers run: first the database as it stands at one moment, then
/// every file that it can name, for a file is there before the row that names it. It is none before each of them is there.
pub async fn make(place: &Place<'_>, to: &Path, (clock, random): Machine<'_>) -> Result<Manifest, Problem> {
    // Made here, a folder that was named wrongly would be an empty one, and the backup without files.
    if !place.files.is_dir() {
        let files = place.files.display();
        return Err(refused(format!("there is no folder of files at {files}: name the server's own (--files-dir)")));
    }
    if lies_in(to, place.files)? {
        let (to, files) = (to.display(), place.files.display());
        return Err(refused(format!("{to} lies in {files}, which is what is backed up: name a folder elsewhere")));
    }
    tokio::fs::create_dir_all(to).await.map_err(StoreError::from)?;
    if std::fs::read_dir(to).map_err(StoreError::from)?.next().is_some() {
        return Err(refused(format!("{} is not empty: name a new folder", to.display())));
    }
    private(to)?;
    let made_at = clock.now();
    let database = to.join(DATABASE);
    backup::dump(place.target, &database).await?;
    let source = Files::open(place.files, random.clone())?;
    let copy = Files::open(&to.join(FILES), random.clone())?;
    let copied = copy_files(&source, &copy).await?;
    let late = copy_late(place.target, &database, &source, &copy).await?;
    let (files, files_bytes) = (copied.0 + late.0, copied.1 + late.1);
    let lines = journal::read_all(place.folder, &source).await?;
    let text: String = lines.iter().map(Line::text).collect();
    let journal = to.join(journal::FILE);
    write(&journal, text.as_bytes()).await?;
    let manifest = Manifest {
        format: FORMAT,
        made_at,
        engine: engine(place.target).to_owned(),
        database_sha256: digest(&database).await?,
        journal_sha256: digest(&journal).await?,
        files,
        files_bytes,
        revocations: lines.len(),
    };
    write(&to.join(MANIFEST), &serde_json::to_vec_pretty(&manifest).map_err(Problem::fault)?).await?;
    Ok(manifest)
}

/// Tries a backup by restoring its database to a place that goes again: chains hold, files are there. `beside` is a
/// PostgreSQL on which a database can be made.
pub async fn try_out(from: &Path, beside: &Target, (_, random): Machine<'_>) -> Result<Checked, Problem> {
    manifest(from, beside).await?;
    let files = Files::open(&from.join(FILES), random.clone())?;
    let mut bits = [0; 8];
    random.fill(&mut bits);
    let name = format!("iusign_check_{}", hex(&bits));
    match beside {
        Target::Sqlite(_) => {
            let folder = std::env::temp_dir().join(&name);
            tokio::fs::create_dir(&folder).await.map_err(StoreError::from)?;
            private(&folder)?;
            let checked = check_copy(&Target::Sqlite(folder.join("iusign.db")), from, &files).await;
            tokio::fs::remove_dir_all(&folder).await.map_err(StoreError::from)?;
            checked
        }
        Target::Postgres(url) => {
            let target = Target::Postgres(backup::make_beside(url, &name).await?);
            let checked = check_copy(&target, from, &files).await;
            backup::remove_beside(url, &name).await?;
            checked
        }
    }
}

async fn check_copy(target: &Target, from: &Path, files: &Files) -> Result<Checked, Problem> {
    backup::load(target, &from.join(DATABASE)).await?;
    let db = Db::open(target).await?;
    let checked = check(&db, files).await;
    db.close().await;
    checked
}

/// Restores a backup to a place where nothing is yet. Keys that the journals at hand say are revoked, the backup's, that of
/// the data folder, and those of `journals`, are revoked again, and every epoch is set anew, before anybody can be served.
pub async fn restore(
    from: &Path,
    place: &Place<'_>,
    journals: &[PathBuf],
    (clock, random): Machine<'_>,
) -> Result<Restored, Problem> {
    let manifest = manifest(from, place.target).await?;
    sure_of_place(from, place)?;
    if !backup::is_empty(place.target).await? {
        return Err(refused("there is a database already: restore to where there is none".to_owned()));
    }
    if !place.folder.exists() {
        tokio::fs::create_dir_all(place.folder).await.map_err(StoreError::from)?;
        private(place.folder)?;
    }
    // One server holds the folder at a time; on SQLite opening the database does that too.
    let held = matches!(place.target, Target::Postgres(_)).then(|| store::hold(place.folder)).transpose()?;
    let files = Files::open(place.files, random.clone())?;
    let mut lines = journal::read_all(place.folder, &files).await?;
    for path in journals {
        lines.extend(journal::read_file(path)?.lines);
    }
    lines.extend(journal::read_file(&from.join(journal::FILE))?.lines);
    let lines: Vec<Line> = standing(lines).into_values().collect();
    copy_files(&Files::open(&from.join(FILES), random.clone())?, &files).await?;
    // On SQLite it gets its name when all is done: what is interrupted is no database that a server would open.
    let target = match place.target {
        Target::Sqlite(path) => Target::Sqlite(path.with_extension("restoring")),
        postgres => postgres.clone(),
    };
    if let Target::Sqlite(path) = &target {
        remove_database(path).await?;
    }
    backup::load(&target, &from.join(DATABASE)).await?;
    let db = Db::open(&target).await?;
    let ended_again = crate::journal::restore(&db, &lines, (clock, &**random)).await?;
    let checked = check(&db, &files).await?;
    db.close().await;
    drop(db);
    let shared = matches!(target, Target::Postgres(_)).then(|| files.clone());
    store::Journal::open(place.folder, shared).await?.append(&lines).await?;
    if let (Target::Sqlite(done), Target::Sqlite(path)) = (&target, place.target) {
        // The write-ahead log of a database that is gone would be applied to this one.
        remove_database(path).await?;
        tokio::fs::rename(done, path).await.map_err(StoreError::from)?;
    }
    drop(held);
    let journal_until = lines.iter().map(|line| line.at).max();
    Ok(Restored { backup: manifest, checked, ended_again, journal_until })
}

/// Whether every chain holds and every file that a row names is there, with its digest.
pub async fn check(db: &Db, files: &Files) -> Result<Checked, Problem> {
    let mut checked = Checked::default();
    let mut after: Option<TenantId> = None;
    loop {
        let mut tx = db.read().await?;
        let tenants = store::tenant::list(&mut tx, after, PAGE_ROWS).await?;
        drop(tx);
        let Some(last) = tenants.last() else { break };
        after = Some(last.id);
        for tenant in &tenants {
            checked.tenants += 1;
            match crate::audit::verify_chain(db, tenant.id).await? {
                Ok(entries) => checked.audit_entries += entries,
                Err(broken) => return Err(refused(format!("the audit log of {}: {broken}", tenant.id))),
            }
            for environment in [Environment::Development, Environment::Staging, Environment::Production] {
                checked.envelopes += check_envelopes(db, EnvScope { tenant: tenant.id, environment }).await?;
            }
        }
    }
    checked.files = check_files(db, files).await?;
    Ok(checked)
}

async fn check_envelopes(db: &Db, scope: EnvScope) -> Result<u64, Problem> {
    let (mut count, mut after): (u64, Option<EnvelopeId>) = (0, None);
    loop {
        let mut tx = db.read().await?;
        let filter = store::envelope::Filter::default();
        let envelopes = store::envelope::list(&mut tx, scope, &filter, after, PAGE_ROWS).await?;
        let Some(last) = envelopes.last() else { return Ok(count) };
        after = Some(last.id);
        for envelope in &envelopes {
            count += 1;
            let mut end = chain_start(envelope.id);
            for link in store::event::chain_of(&mut tx, scope, envelope.id).await? {
                end = chain(&end, &link.event, &link.salts);
                if end != link.hash {
                    return Err(refused(format!("the events of {} were changed after they were written", envelope.id)));
                }
            }
        }
    }
}

async fn check_files(db: &Db, files: &Files) -> Result<u64, Problem> {
    let (mut count, mut after) = (0, None);
    loop {
        let mut tx = db.read().await?;
        let named = store::file::named(&mut tx, after.as_ref(), PAGE_ROWS).await?;
        drop(tx);
        let Some(last) = named.last() else { return Ok(count) };
        after = Some(last.clone());
        for (scope, sha256) in &named {
            let mut bytes = files.stream(*scope, sha256, None).await?.bytes;
            let mut digest = Sha256::new();
            while let Some(piece) = bytes.try_next().await? {
                digest.update(&piece);
            }
            if hex(&digest.finalize()) != *sha256 {
                return Err(refused(format!("the file {sha256} is not as it was written")));
            }
            count += 1;
        }
    }
}

/// Copies every file; each is read against its digest on the way. How many, and their bytes.
async fn copy_files(from: &Files, to: &Files) -> Result<(u64, u64), Problem> {
    let (mut count, mut bytes) = (0, 0);
    let mut listed = from.older(Timestamp::from_millis(i64::MAX));
    while let Some(file) = listed.try_next().await? {
        let Some(sha256) = &file.sha256 else { continue };
        // Where there is none any more, the sweep took it: no row of the database that was copied before names it.
        let Some(size) = copy_file(from, to, file.scope, sha256).await? else { continue };
        count += 1;
        bytes += size;
    }
    Ok((count, bytes))
}

/// Copies one file and says how long it is; none: it is not there.
async fn copy_file(from: &Files, to: &Files, scope: EnvScope, sha256: &str) -> Result<Option<u64>, Problem> {
    let reading = match from.stream(scope, sha256, None).await {
        Err(StoreError::FileMissing(_)) => return Ok(None),
        other => other?,
    };
    let stored = to.put_stream(scope, FILE_BYTES_MAX, reading.bytes).await?;
    if stored.sha256 != *sha256 {
        return Err(refused(format!("the file {sha256} is not as it was written: its disk is at fault")));
    }
    Ok(Some(stored.size))
}

/// Sees to it that each file that a row names is in the copy. On SQLite the rows are those of the copied database. A dump of
/// PostgreSQL can't be asked: there they are those of now, and what was written since the files were copied is copied too.
async fn copy_late(target: &Target, database: &Path, from: &Files, to: &Files) -> Result<(u64, u64), Problem> {
    let target = match target {
        Target::Sqlite(_) => Target::Sqlite(database.to_owned()),
        Target::Postgres(url) => Target::Postgres(url.clone()),
    };
    let mut conn = Db::reach(&target).await?;
    let (mut count, mut bytes, mut after) = (0, 0, None);
    loop {
        let named = store::file::named(&mut conn, after.as_ref(), PAGE_ROWS).await?;
        let Some(last) = named.last() else { break };
        after = Some(last.clone());
        for (scope, sha256) in &named {
            match to.stream(*scope, sha256, None).await {
                Err(StoreError::FileMissing(_)) => {}
                other => {
                    other?;
                    continue;
                }
            }
            let Some(size) = copy_file(from, to, *scope, sha256).await? else {
                return Err(refused(format!(
                    "the database names the file {sha256} of {}, {}, which is not in the folder of files: this is no backup; \
                     name the server's own folder (--files-dir)",
                    scope.tenant, scope.environment
                )));
            };
            count += 1;
            bytes += size;
        }
    }
    conn.close().await;
    Ok((count, bytes))
}

/// Whether a path, which need not be there yet, is this folder or lies below it.
fn lies_in(path: &Path, folder: &Path) -> Result<bool, StoreError> {
    let path = std::path::absolute(path)?;
    let mut there = path.as_path();
    // What is there already may be reached by a link.
    let real = loop {
        match there.canonicalize() {
            Ok(real) => break real.join(path.strip_prefix(there).unwrap_or(Path::new(""))),
            Err(_) => match there.parent() {
                Some(parent) => there = parent,
                None => break path.clone(),
            },
        }
    };
    Ok(real.starts_with(folder.canonicalize()?))
}

/// Refuses a place that is not for a server's data: a backup, a folder within this one, or one full of other things.
fn sure_of_place(from: &Path, place: &Place<'_>) -> Result<(), Problem> {
    for folder in [place.folder, place.files] {
        if lies_in(folder, from)? || folder.join(MANIFEST).exists() {
            return Err(refused(format!("{} is a backup, or lies in one: name a data folder", folder.display())));
        }
    }
    let mut names = Vec::new();
    if place.folder.exists() {
        for entry in std::fs::read_dir(place.folder).map_err(StoreError::from)? {
            names.push(entry.map_err(StoreError::from)?.file_name());
        }
    }
    if !names.is_empty() && !names.iter().any(|name| OF_A_DATA_FOLDER.iter().any(|known| name == known)) {
        let folder = place.folder.display();
        return Err(refused(format!(
            "{folder} is not empty, and no data folder: name a new folder, or a server's own"
        )));
    }
    Ok(())
}

/// The manifest of a backup whose database and journal are as they were written.
async fn manifest(from: &Path, target: &Target) -> Result<Manifest, Problem> {
    let path = from.join(MANIFEST);
    let bytes = tokio::fs::read(&path).await;
    let bytes = bytes.map_err(|error| refused(format!("{} is no whole backup: {error}", from.display())))?;
    let manifest: Manifest = serde_json::from_slice(&bytes)
        .map_err(|error| refused(format!("{} can't be read: {error}", path.display())))?;
    if manifest.format != FORMAT {
        return Err(refused(format!("the backup's format {} is of another version of iusign", manifest.format)));
    }
    if manifest.engine != engine(target) {
        let engine = engine(target);
        return Err(refused(format!(
            "the backup is of {}, and this is {engine}: restore it to its own",
            manifest.engine
        )));
    }
    for (name, sha256) in [(DATABASE, &manifest.database_sha256), (journal::FILE, &manifest.journal_sha256)] {
        match digest(&from.join(name)).await {
            Ok(found) if found == *sha256 => {}
            Ok(_) => return Err(refused(format!("the backup's {name} is not as it was written"))),
            Err(error) => return Err(refused(format!("the backup's {name} can't be read: {error}"))),
        }
    }
    Ok(manifest)
}

fn engine(target: &Target) -> &'static str {
    match target {
        Target::Sqlite(_) => "sqlite",
        Target::Postgres(_) => "postgres",
    }
}

async fn digest(path: &Path) -> Result<String, StoreError> {
    let mut file = tokio::fs::File::open(path).await?;
    let (mut digest, mut buffer) = (Sha256::new(), vec![0; READ_BYTES]);
    loop {
        match file.read(&mut buffer).await? {
            0 => return Ok(hex(&digest.finalize())),
            read => digest.update(&buffer[..read]),
        }
    }
}

async fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    tokio::fs::write(path, bytes).await?;
    tokio::fs::File::open(path).await?.sync_all().await?;
    if let Some(folder) = path.parent() {
        tokio::fs::File::open(folder).await?.sync_all().await?;
    }
    Ok(())
}

/// A backup is for its owner alone: it holds everything but the keys.
fn private(folder: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt;
    Ok(std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?)
}

async fn remove_database(path: &Path) -> Result<(), StoreError> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match tokio::fs::remove_file(PathBuf::from(name)).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

fn refused(detail: String) -> Problem {
    Problem::new(model::Code::Conflict, detail)
}
