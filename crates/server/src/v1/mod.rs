//! `/v1`: one file for each noun. A handler parses, asks `app`, shows.

pub mod asset;
pub mod audit;
pub mod batch;
pub mod compromise;
pub mod document;
pub mod envelope;
pub mod event;
pub mod key;
pub mod leak;
pub mod mail;
pub mod me;
pub(crate) mod parse;
pub mod revocation;
pub mod rotation;
mod show;
pub mod template;
pub mod tenant;
pub mod usage;
pub mod user;
