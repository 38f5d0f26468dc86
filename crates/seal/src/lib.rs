//! A PDF goes in, a sealed PDF comes out: inspect, draw, stamp, certificate, PAdES, verify; strangers' files in child processes only.

pub mod geometry;
pub mod types;

pub use types::*;
