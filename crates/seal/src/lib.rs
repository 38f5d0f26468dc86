//! A PDF goes in, a sealed PDF comes out: inspect, draw, stamp, certificate, PAdES, verify; strangers' files in child processes only.

pub mod certificate;
pub mod check;
pub mod combine;
mod content;
pub mod find;
mod flatten;
pub mod frame;
pub mod geometry;
pub mod inspect;
pub mod key;
pub mod limits;
pub mod pades;
pub mod place;
pub mod pool;
pub mod prepare;
pub mod render;
mod renumber;
mod scrub;
pub mod sheet;
pub mod stamp;
pub mod text;
pub mod types;
pub mod verify;
mod verify_cms;
pub mod worker;

pub use key::SealKey;
pub use limits::Limits;
pub use pades::sign;
pub use pool::{Pool, PoolConfig};
pub use types::*;
pub use verify::verify;
