//! `/v1`: one file for each noun. A handler parses, asks `app`, shows.

pub mod audit;
pub mod key;
pub mod me;
