//! How the model's values stand in columns: ids and environments as TEXT, times as milliseconds.

use model::{Environment, Id, Kind, Timestamp};

use crate::StoreError;
use crate::sql::{Bind, Cell, Column, Value};

impl Bind for Timestamp {
    const NULL: Value = Value::Integer(None);
    fn value(&self) -> Value {
        Value::Integer(Some(self.millis()))
    }
}

impl<K: Kind> Bind for Id<K> {
    const NULL: Value = Value::Text(None);
    fn value(&self) -> Value {
        Value::Text(Some(self.to_string()))
    }
}

impl Bind for Environment {
    const NULL: Value = Value::Text(None);
    fn value(&self) -> Value {
        Value::Text(Some(self.to_string()))
    }
}

impl Column for Timestamp {
    fn read(cell: Cell<'_>) -> Result<Self, StoreError> {
        cell.integer().map(Timestamp::from_millis)
    }
}

impl<K: Kind> Column for Id<K> {
    fn read(cell: Cell<'_>) -> Result<Self, StoreError> {
        let text = cell.text()?;
        text.parse().map_err(|_| cell.wrong(&format!("{text:?}, which is no id of its kind")))
    }
}

impl Column for Environment {
    fn read(cell: Cell<'_>) -> Result<Self, StoreError> {
        let text = cell.text()?;
        text.parse().map_err(|_| cell.wrong(&format!("{text:?}, which is no environment")))
    }
}
