//! Statements: one static text, bound once, run on either engine; and the rows that come back.
//!
//! `sql("…")` runs on both engines, `either("…", "…")` is the one way out for the few that must differ. Texts are
//! literals at the place of the call: a test collects them from the sources and prepares each on both engines.
//!
//! Many rows go in by set: bind them as one `Json` and take them apart with `jsonb_each($1)` (which parses once) on SQLite and
//! `json_to_recordset($1::json)` on PostgreSQL.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Arguments, Column as _, Postgres, Row as _, Sqlite, TypeInfo, ValueRef};
use std::str::FromStr;

use crate::StoreError;

/// A statement with its values, ready to run. Made by [`sql`] or [`either`].
#[must_use = "a statement does nothing until it is run"]
pub struct Query {
    pub(crate) sqlite: &'static str,
    postgres: &'static str,
    values: Vec<Value>,
}

/// A statement that is the same on both engines.
pub fn sql(text: &'static str) -> Query {
    Query { sqlite: text, postgres: text, values: Vec::new() }
}

/// A statement that has to differ: first SQLite's text, then PostgreSQL's. Both take the same values.
pub fn either(sqlite: &'static str, postgres: &'static str) -> Query {
    Query { sqlite, postgres, values: Vec::new() }
}

/// What a statement runs on: a transaction, or a connection of its own.
pub trait Session: Send {
    /// The connection beneath.
    #[doc(hidden)]
    fn link(&mut self) -> Link<'_>;
    /// A statement failed on it: what it did before must not be committed as if nothing had happened.
    #[doc(hidden)]
    fn failed(&mut self);
}

/// A borrowed connection of one of the engines.
#[doc(hidden)]
pub enum Link<'a> {
    /// The embedded database.
    Sqlite(&'a mut SqliteConnection),
    /// The server.
    Postgres(&'a mut PgConnection),
}

impl Query {
    /// Give the next `$n` its value.
    pub fn bind(mut self, value: impl Bind) -> Query {
        self.values.push(value.value());
        self
    }

    /// Run it; the number of rows it touched.
    pub async fn run<S: Session>(self, session: &mut S) -> Result<u64, StoreError> {
        let answer = match session.link() {
            Link::Sqlite(c) => self.for_sqlite()?.execute(c).await.map(|done| done.rows_affected()),
            Link::Postgres(c) => self.for_postgres()?.execute(c).await.map(|done| done.rows_affected()),
        };
        checked(session, answer)
    }

    /// Every row. The text says `LIMIT`, or its rows are bounded by something else.
    pub async fn all<S: Session>(self, session: &mut S) -> Result<Vec<Row>, StoreError> {
        let answer = match session.link() {
            Link::Sqlite(c) => {
                self.for_sqlite()?.fetch_all(c).await.map(|rows| rows.into_iter().map(Row::Sqlite).collect())
            }
            Link::Postgres(c) => {
                self.for_postgres()?.fetch_all(c).await.map(|rows| rows.into_iter().map(Row::Postgres).collect())
            }
        };
        checked(session, answer)
    }

    /// The one row, if there is one.
    pub async fn optional<S: Session>(self, session: &mut S) -> Result<Option<Row>, StoreError> {
        // All rows are read, not the first: a statement left half-way would keep what follows it waiting.
        let mut rows = self.all(session).await?;
        match rows.len() {
            0 | 1 => Ok(rows.pop()),
            more => Err(StoreError::Corrupt(format!("{more} rows came back where one was asked for"))),
        }
    }

    /// The one row that must be there.
    pub async fn one<S: Session>(self, session: &mut S) -> Result<Row, StoreError> {
        let text = self.sqlite;
        match self.optional(session).await? {
            Some(row) => Ok(row),
            None => Err(StoreError::Corrupt(format!("no row came back from: {text}"))),
        }
    }

    fn for_sqlite(self) -> Result<sqlx::query::Query<'static, Sqlite, SqliteArguments>, StoreError> {
        let mut arguments = SqliteArguments::default();
        for value in self.values {
            match value {
                Value::Text(v) => Arguments::add(&mut arguments, v),
                Value::Integer(v) => Arguments::add(&mut arguments, v),
                Value::Boolean(v) => Arguments::add(&mut arguments, v.map(i64::from)),
                Value::Bytes(v) => Arguments::add(&mut arguments, v),
                Value::Unbindable(why) => return Err(StoreError::Unbindable(why)),
            }
            .map_err(StoreError::Statement)?;
        }
        Ok(sqlx::query_with(self.sqlite, arguments))
    }

    fn for_postgres(self) -> Result<sqlx::query::Query<'static, Postgres, PgArguments>, StoreError> {
        let mut arguments = PgArguments::default();
        for value in self.values {
            match value {
                Value::Text(Some(v)) if v.contains('\0') => {
                    return Err(StoreError::Unbindable("text with a NUL character".to_owned()));
                }
                Value::Text(v) => Arguments::add(&mut arguments, v),
                Value::Integer(v) => Arguments::add(&mut arguments, v),
                Value::Boolean(v) => Arguments::add(&mut arguments, v),
                Value::Bytes(v) => Arguments::add(&mut arguments, v),
                Value::Unbindable(why) => return Err(StoreError::Unbindable(why)),
            }
            .map_err(StoreError::Statement)?;
        }
        Ok(sqlx::query_with(self.postgres, arguments))
    }
}

fn checked<S: Session, T>(session: &mut S, answer: Result<T, sqlx::Error>) -> Result<T, StoreError> {
    if answer.is_err() {
        session.failed();
    }
    answer.map_err(StoreError::from)
}

/// A value on its way in. NULL keeps its type, which PostgreSQL wants to know.
#[derive(Clone, Debug)]
pub enum Value {
    /// TEXT.
    Text(Option<String>),
    /// INTEGER, BIGINT.
    Integer(Option<i64>),
    /// INTEGER, BOOLEAN.
    Boolean(Option<bool>),
    /// BLOB, BYTEA.
    Bytes(Option<Vec<u8>>),
    /// What has no place in a column, and why.
    Unbindable(String),
}

/// What can be bound.
pub trait Bind {
    /// NULL of this type.
    const NULL: Value;
    /// The value as its column takes it.
    fn value(&self) -> Value;
}

impl<T: Bind + ?Sized> Bind for &T {
    const NULL: Value = T::NULL;
    fn value(&self) -> Value {
        (**self).value()
    }
}

impl<T: Bind> Bind for Option<T> {
    const NULL: Value = T::NULL;
    fn value(&self) -> Value {
        self.as_ref().map_or(T::NULL, Bind::value)
    }
}

impl Bind for str {
    const NULL: Value = Value::Text(None);
    fn value(&self) -> Value {
        Value::Text(Some(self.to_owned()))
    }
}

impl Bind for String {
    const NULL: Value = Value::Text(None);
    fn value(&self) -> Value {
        Value::Text(Some(self.clone()))
    }
}

impl Bind for i64 {
    const NULL: Value = Value::Integer(None);
    fn value(&self) -> Value {
        Value::Integer(Some(*self))
    }
}

impl Bind for u32 {
    const NULL: Value = Value::Integer(None);
    fn value(&self) -> Value {
        Value::Integer(Some(i64::from(*self)))
    }
}

impl Bind for u64 {
    const NULL: Value = Value::Integer(None);
    fn value(&self) -> Value {
        i64::try_from(*self).map_or_else(
            |_| Value::Unbindable(format!("{self} is more than a BIGINT holds")),
            |v| Value::Integer(Some(v)),
        )
    }
}

impl Bind for usize {
    const NULL: Value = Value::Integer(None);
    fn value(&self) -> Value {
        (*self as u64).value()
    }
}

impl Bind for bool {
    const NULL: Value = Value::Boolean(None);
    fn value(&self) -> Value {
        Value::Boolean(Some(*self))
    }
}

impl Bind for [u8] {
    const NULL: Value = Value::Bytes(None);
    fn value(&self) -> Value {
        Value::Bytes(Some(self.to_vec()))
    }
}

impl Bind for Vec<u8> {
    const NULL: Value = Value::Bytes(None);
    fn value(&self) -> Value {
        Value::Bytes(Some(self.clone()))
    }
}

impl<const N: usize> Bind for [u8; N] {
    const NULL: Value = Value::Bytes(None);
    fn value(&self) -> Value {
        Value::Bytes(Some(self.to_vec()))
    }
}

/// Any value as JSON in a TEXT column, or many rows on their way in.
#[derive(Clone, Debug, PartialEq)]
pub struct Json<T>(pub T);

impl<T: Serialize> Bind for Json<T> {
    const NULL: Value = Value::Text(None);
    fn value(&self) -> Value {
        serde_json::to_string(&self.0)
            .map_or_else(|error| Value::Unbindable(error.to_string()), |v| Value::Text(Some(v)))
    }
}

/// A row that came back.
pub enum Row {
    /// From the embedded database.
    Sqlite(SqliteRow),
    /// From the server.
    Postgres(PgRow),
}

impl Row {
    /// A column's value by its name.
    pub fn get<T: Column>(&self, name: &str) -> Result<T, StoreError> {
        T::read(Cell { row: self, name })
    }

    /// A TEXT column that holds a word: `row.parse::<KeyStatus>("status")`.
    pub fn parse<T: FromStr>(&self, name: &str) -> Result<T, StoreError> {
        let text: String = self.get(name)?;
        text.parse().map_err(|_| Cell { row: self, name }.wrong(&format!("the unknown word {text:?}")))
    }

    /// The same for a column that may be NULL.
    pub fn parse_optional<T: FromStr>(&self, name: &str) -> Result<Option<T>, StoreError> {
        let text: Option<String> = self.get(name)?;
        text.map(|text| text.parse().map_err(|_| Cell { row: self, name }.wrong(&format!("the unknown word {text:?}"))))
            .transpose()
    }

    fn columns(&self) -> Vec<&str> {
        match self {
            Row::Sqlite(row) => row.columns().iter().map(|c| c.name()).collect(),
            Row::Postgres(row) => row.columns().iter().map(|c| c.name()).collect(),
        }
    }
}

impl std::fmt::Debug for Row {
    // Names only: a row can hold what no log may show.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Row").field(&self.columns()).finish()
    }
}

/// One column of one row, not yet read.
#[derive(Clone, Copy)]
pub struct Cell<'a> {
    row: &'a Row,
    name: &'a str,
}

impl Cell<'_> {
    /// A fault that names the column.
    pub fn wrong(&self, what: &str) -> StoreError {
        StoreError::Corrupt(format!("column {} holds {what}", self.name))
    }

    fn is_null(&self) -> Result<bool, StoreError> {
        Ok(match self.row {
            Row::Sqlite(row) => row.try_get_raw(self.name)?.is_null(),
            Row::Postgres(row) => row.try_get_raw(self.name)?.is_null(),
        })
    }

    /// TEXT.
    pub fn text(&self) -> Result<String, StoreError> {
        Ok(match self.row {
            Row::Sqlite(row) => row.try_get(self.name)?,
            Row::Postgres(row) => row.try_get(self.name)?,
        })
    }

    /// INTEGER, BIGINT; PostgreSQL's own 32-bit literals too.
    pub fn integer(&self) -> Result<i64, StoreError> {
        Ok(match self.row {
            Row::Sqlite(row) => row.try_get(self.name)?,
            Row::Postgres(row) if row.try_get_raw(self.name)?.type_info().name() == "INT4" => {
                i64::from(row.try_get::<i32, _>(self.name)?)
            }
            Row::Postgres(row) => row.try_get(self.name)?,
        })
    }

    /// BOOLEAN; on SQLite 0 or 1.
    pub fn boolean(&self) -> Result<bool, StoreError> {
        match self.row {
            Row::Sqlite(row) => match row.try_get::<i64, _>(self.name)? {
                0 => Ok(false),
                1 => Ok(true),
                other => Err(self.wrong(&format!("{other} as a truth value"))),
            },
            Row::Postgres(row) => Ok(row.try_get(self.name)?),
        }
    }

    /// BLOB, BYTEA.
    pub fn bytes(&self) -> Result<Vec<u8>, StoreError> {
        Ok(match self.row {
            Row::Sqlite(row) => row.try_get(self.name)?,
            Row::Postgres(row) => row.try_get(self.name)?,
        })
    }
}

/// What can be read from a column.
pub trait Column: Sized {
    /// Read it.
    fn read(cell: Cell<'_>) -> Result<Self, StoreError>;
}

impl<T: Column> Column for Option<T> {
    fn read(cell: Cell<'_>) -> Result<Self, StoreError> {
        if cell.is_null()? { Ok(None) } else { T::read(cell).map(Some) }
    }
}

impl Column for String {
    fn read(cell: Cell<'_>) -> Result<Self, StoreError> {
        cell.text()
    }
}

impl Column for i64 {
    fn read(cell: Cell<'_>) -> Result<Self, StoreError> {
        cell.integer()
    }
}

impl Column for u64 {
    fn read(cell: Cell<'_>) -> Result<Self, StoreError> {
        u64::try_from(cell.integer()?).map_err(|_| cell.wrong("a number below zero"))
    }
}

impl Column for u32 {
    fn read(cell: Cell<'_>) -> Result<Self, StoreError> {
        u32::try_from(cell.integer()?).map_err(|_| cell.wrong("a number outside 32 bits"))
    }
}

impl Column for bool {
    fn read(cell: Cell<'_>) -> Result<Self, StoreError> {
        cell.boolean()
    }
}

impl Column for Vec<u8> {
    fn read(cell: Cell<'_>) -> Result<Self, StoreError> {
        cell.bytes()
    }
}

impl<const N: usize> Column for [u8; N] {
    fn read(cell: Cell<'_>) -> Result<Self, StoreError> {
        cell.bytes()?.try_into().map_err(|v: Vec<u8>| cell.wrong(&format!("{} bytes in place of {N}", v.len())))
    }
}

impl<T: DeserializeOwned> Column for Json<T> {
    fn read(cell: Cell<'_>) -> Result<Self, StoreError> {
        serde_json::from_str(&cell.text()?).map(Json).map_err(|error| cell.wrong(&format!("other JSON: {error}")))
    }
}
