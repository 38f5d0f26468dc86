//! The rules, pure: a noun's states and the functions that move between them. No async, no I/O, no clock of its own.

pub mod caller;
pub mod clock;
pub mod document;
pub mod envelope;
pub mod event;
pub mod field;
pub mod id;
pub mod problem;
pub mod recipient;
pub mod scope;
pub mod template;
pub mod time;

pub use caller::Caller;
pub use clock::{Clock, Random};
pub use id::*;
pub use problem::{BodyError, Code, Problem};
pub use scope::{EnvScope, TenantScope};
pub use secret::Environment;
pub use time::Timestamp;
