//! The schema's history: forward only, each step once, in order, also when several nodes start at the same moment.

use sha2::{Digest, Sha256};

use crate::sql::{either, sql};
use crate::{Conn, Db, StoreError};

/// One step of the schema, in both engines' words.
struct Step {
    version: i64,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

/// A step that was released never changes: what comes next is a step of its own, and the previous binary runs on it.
const STEPS: &[Step] = &[Step {
    version: 1,
    name: "first",
    sqlite: include_str!("../migrations/sqlite/0001_first.sql"),
    postgres: include_str!("../migrations/postgres/0001_first.sql"),
}];

const SQLITE_HISTORY: &str = "CREATE TABLE IF NOT EXISTS migrations (
    version INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL) STRICT";
const POSTGRES_HISTORY: &str = "CREATE TABLE IF NOT EXISTS migrations (
    version BIGINT PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL)";
/// The oldest PostgreSQL that this is tested on.
const POSTGRES_MIN: i64 = 150_000;
/// The number is arbitrary, and the same in every binary: concurrent starters wait here for each other.
const POSTGRES_BEGIN: &str = "BEGIN; SELECT pg_advisory_xact_lock(5639285128190472)";

/// Apply what is missing, in one transaction.
pub(crate) async fn run(db: &Db) -> Result<(), StoreError> {
    let mut conn = db.owner().await?;
    conn.script(if db.is_postgres() { POSTGRES_BEGIN } else { "BEGIN IMMEDIATE" }).await?;
    let outcome = apply(db, &mut conn).await;
    conn.script(if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
    conn.close().await;
    outcome
}

async fn apply(db: &Db, conn: &mut Conn) -> Result<(), StoreError> {
    if db.is_postgres() {
        let asked =
            either("SELECT 0 AS version", "SELECT CAST(current_setting('server_version_num') AS BIGINT) AS version");
        require_version(asked.one(conn).await?.get("version")?)?;
    }
    conn.script(if db.is_postgres() { POSTGRES_HISTORY } else { SQLITE_HISTORY }).await?;
    for (step, text, sha256) in missing(conn, db.is_postgres()).await? {
        conn.script(text).await.map_err(|error| {
            StoreError::Migration(format!("migration {} ({}) failed: {error}", step.version, step.name))
        })?;
        sql("INSERT INTO migrations (version, name, sha256) VALUES ($1, $2, $3)")
            .bind(step.version)
            .bind(step.name)
            .bind(sha256)
            .run(conn)
            .await?;
    }
    Ok(())
}

/// PostgreSQL's number of itself: 150004 is 15.4.
fn require_version(version: i64) -> Result<(), StoreError> {
    if version < POSTGRES_MIN {
        let (has, needs) = (version / 10_000, POSTGRES_MIN / 10_000);
        return Err(StoreError::Migration(format!("PostgreSQL {needs} or newer is needed; this one is {has}")));
    }
    Ok(())
}

/// How many steps the next start would apply to this database. Nothing is changed.
pub async fn missing_steps(conn: &mut Conn, is_postgres: bool) -> Result<usize, StoreError> {
    let history = either(
        "SELECT count(*) AS tables FROM sqlite_schema WHERE name = 'migrations'",
        "SELECT count(*) AS tables FROM pg_catalog.pg_tables
        WHERE schemaname = current_schema() AND tablename = 'migrations'",
    );
    let tables: i64 = history.one(conn).await?.get("tables")?;
    if tables == 0 { Ok(STEPS.len()) } else { Ok(missing(conn, is_postgres).await?.len()) }
}

/// The steps that were not applied yet, each with its text and that text's digest.
async fn missing(conn: &mut Conn, is_postgres: bool) -> Result<Vec<(&'static Step, &'static str, String)>, StoreError> {
    let applied = sql("SELECT version, sha256 FROM migrations ORDER BY version LIMIT 10000").all(conn).await?;
    let mut known = std::collections::BTreeMap::<i64, String>::new();
    for row in applied {
        known.insert(row.get("version")?, row.get("sha256")?);
    }
    let mut missing = Vec::new();
    for step in STEPS {
        let text = if is_postgres { step.postgres } else { step.sqlite };
        let sha256: String = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        match known.get(&step.version) {
            Some(before) if *before == sha256 => continue,
            Some(_) => {
                return Err(StoreError::Migration(format!(
                    "the database was made with another text of migration {} ({}): this binary can't use it; restore a \
                     backup with the binary that made it, or start with an empty database",
                    step.version, step.name
                )));
            }
            None => missing.push((step, text, sha256)),
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::STEPS;

    #[test]
    fn the_steps_are_numbered_one_after_the_other() {
        let versions: Vec<i64> = STEPS.iter().map(|step| step.version).collect();
        assert_eq!(versions, (1..=STEPS.len() as i64).collect::<Vec<_>>());
    }
}
