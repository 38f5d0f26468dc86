//! `/v1`: one file for each noun. A handler parses, asks `app`, shows.

pub mod asset;
pub mod audit;
pub mod batch;
pub mod document;
pub mod envelope;
pub mod event;
pub mod key;
pub mod mail;
pub mod me;
mod parse;
mod show;
pub mod template;
