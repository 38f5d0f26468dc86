//! The whole database as one file, out and in: SQLite by its own online copy, PostgreSQL by its own programs.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use crate::sql::either;
use crate::{Db, StoreError, Target};

/// Bytes of a program's complaint that are passed on.
const COMPLAINT_BYTES_MAX: usize = 2_000;

/// Copies the database as it stands at one moment to a new file, also while servers use it.
pub async fn dump(target: &Target, to: &Path) -> Result<(), StoreError> {
    match target {
        Target::Sqlite(_) => {
            let mut conn = Db::reach(target).await?;
            let path = to.to_string_lossy().into_owned();
            // Without parameters of other kinds, the other engine's text only keeps the shape.
            either("VACUUM INTO $1", "SELECT $1").bind(path).run(&mut conn).await?;
            conn.close().await;
        }
        Target::Postgres(url) => {
            let file = format!("--file={}", to.display());
            let arguments = ["--format=custom", "--no-owner", "--no-privileges", &file];
            program("pg_dump", url, &arguments, &[]).await?;
        }
    }
    sync(to).await
}

/// Fills an empty database with what [`dump`] wrote.
pub async fn load(target: &Target, from: &Path) -> Result<(), StoreError> {
    match target {
        Target::Sqlite(path) => {
            tokio::fs::copy(from, path).await?;
            sync(path).await
        }
        Target::Postgres(url) => {
            let arguments = ["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction"];
            let from = from.to_string_lossy().into_owned();
            program("pg_restore", url, &arguments, &[&from]).await
        }
    }
}

/// Whether there is nothing yet where a database is to be restored.
pub async fn is_empty(target: &Target) -> Result<bool, StoreError> {
    match target {
        Target::Sqlite(path) => Ok(!path.exists()),
        Target::Postgres(_) => {
            let mut conn = Db::reach(target).await?;
            let tables = either(
                "SELECT count(*) AS tables FROM sqlite_schema",
                "SELECT count(*) AS tables FROM pg_catalog.pg_tables WHERE schemaname = current_schema()",
            );
            let tables: i64 = tables.one(&mut conn).await?.get("tables")?;
            conn.close().await;
            Ok(tables == 0)
        }
    }
}

/// Makes a database beside a PostgreSQL one, to try a backup on. It goes with [`remove_beside`].
pub async fn make_beside(url: &str, name: &str) -> Result<String, StoreError> {
    let maintenance = format!("--maintenance-db={}", without_password(url).0);
    run("createdb", url, &["--template=template0", "--encoding=UTF8", &maintenance, name]).await?;
    Ok(beside(url, name))
}

/// Removes what [`make_beside`] made.
pub async fn remove_beside(url: &str, name: &str) -> Result<(), StoreError> {
    let maintenance = format!("--maintenance-db={}", without_password(url).0);
    run("dropdb", url, &["--force", "--if-exists", &maintenance, name]).await
}

/// The URL of another database of the same server.
fn beside(url: &str, name: &str) -> String {
    let (address, options) = url.split_once('?').map_or((url, String::new()), |(a, o)| (a, format!("?{o}")));
    let start = address.find("://").map_or(0, |at| at + 3);
    let address = address[start..].find('/').map_or(address, |at| &address[..start + at]);
    format!("{address}/{name}{options}")
}

async fn program(name: &str, url: &str, options: &[&str], rest: &[&str]) -> Result<(), StoreError> {
    let database = format!("--dbname={}", without_password(url).0);
    let mut arguments = options.to_vec();
    arguments.push(&database);
    arguments.extend(rest);
    run(name, url, &arguments).await
}

/// Runs one of PostgreSQL's programs. The password goes by the environment: arguments are seen by every process.
async fn run(name: &str, url: &str, arguments: &[&str]) -> Result<(), StoreError> {
    let mut command = Command::new(name);
    command.args(arguments).arg("--no-password").stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    if let Some(password) = without_password(url).1 {
        command.env("PGPASSWORD", password);
    }
    let ended = command.output().await.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            let why = format!("the program {name} is not here: install PostgreSQL's client programs");
            StoreError::File(why.into())
        }
        _ => error.into(),
    })?;
    if ended.status.success() {
        return Ok(());
    }
    let mut said = ended.stderr;
    said.truncate(COMPLAINT_BYTES_MAX);
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    Err(StoreError::File(format!("{name} failed: {said}").into()))
}

/// The URL as it may be shown, and its password.
fn without_password(url: &str) -> (String, Option<String>) {
    let parts = url.split_once("://").and_then(|(scheme, rest)| {
        // A path or a query may hold an @ as well; the login ends before the first slash.
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (login, host) = rest[..end].rsplit_once('@')?;
        let (user, password) = login.split_once(':')?;
        Some((format!("{scheme}://{user}@{host}{}", &rest[end..]), decoded(password)))
    });
    parts.map_or_else(|| (url.to_owned(), None), |(url, password)| (url, Some(password)))
}

/// A part of a URL without its percent signs.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match digits.filter(|_| *first == b'%').and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn sync(path: &Path) -> Result<(), StoreError> {
    tokio::fs::File::open(path).await?.sync_all().await?;
    if let Some(folder) = path.parent() {
        tokio::fs::File::open(folder).await?.sync_all().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_goes_by_the_environment() {
        for (url, shown, password) in [
            ("postgres://app@db/x", "postgres://app@db/x", None),
            (
                "postgres://app:p%40ss@db:5432/x?sslmode=require",
                "postgres://app@db:5432/x?sslmode=require",
                Some("p@ss"),
            ),
            ("postgres://app:a:b@db/x", "postgres://app@db/x", Some("a:b")),
            ("postgres:///x", "postgres:///x", None),
        ] {
            assert_eq!(without_password(url), (shown.to_owned(), password.map(str::to_owned)), "{url}");
        }
    }

    #[test]
    fn a_database_beside_has_the_same_server() {
        assert_eq!(beside("postgres://a@db/x?sslmode=require", "y"), "postgres://a@db/y?sslmode=require");
        assert_eq!(beside("postgres://a@db", "y"), "postgres://a@db/y");
    }
}
