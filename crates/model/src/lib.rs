//! The rules, pure: a noun's states and the functions that move between them. No async, no I/O, no clock of its own.

pub mod allowlist;
pub mod asset;
pub mod audit;
pub mod batch;
pub mod caller;
pub mod clock;
pub mod content;
pub mod document;
pub mod email;
pub mod envelope;
pub mod envelope_new;
pub mod event;
pub mod field;
pub mod id;
pub mod key;
pub mod link;
pub mod mail;
pub mod problem;
pub mod recipient;
pub mod role;
pub mod row;
pub mod scope;
pub mod template;
pub mod tenant;
pub mod time;
pub mod user;
pub mod word;

pub use allowlist::Allowlist;
pub use caller::Caller;
pub use clock::{Clock, Random};
pub use id::*;
pub use problem::{BodyError, Code, Problem};
pub use role::Role;
pub use scope::{EnvScope, TenantScope};
pub use secret::Environment;
pub use time::Timestamp;
