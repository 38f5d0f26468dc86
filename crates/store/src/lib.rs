//! What is kept: the database on two engines, the files, the jobs, and every noun's statements and rows.
//!
//! This crate alone depends on sqlx, rusqlite and object_store. A noun is a module of free functions over `&mut Tx` and a scope:
//! every statement names its tenant and environment, so no id alone finds anything.

pub mod asset;
pub mod audit;
pub mod backup;
pub mod batch;
pub mod compromise;
mod db;
pub mod document;
pub mod durability;
pub mod envelope;
pub mod epoch;
mod error;
pub mod event;
pub mod expiry;
pub mod exposure;
pub mod file;
mod files;
pub mod gate;
pub mod idempotency;
#[cfg(test)]
mod identity_tests;
pub mod job;
pub mod journal;
pub mod key;
pub mod mail;
pub mod me;
mod migrate;
pub mod notice;
pub mod revocation;
pub mod room;
pub mod rotation;
pub mod setting;
mod sql;
pub mod template;
pub mod tenant;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod usage;
pub mod user;
mod values;
mod wal_index;

pub use db::{Conn, Db, Target, Tx, hold};
pub use error::StoreError;
pub use files::{Files, Old, Reading, Stored};
pub use journal::Journal;
pub use migrate::missing_steps;
pub use sql::{Bind, Cell, Column, Json, Query, Row, Session, Value, either, sql};
