//! `/v1` on the wire: types only, shared by server and client.

pub mod admin;
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
pub mod page;
pub mod problem;
pub mod revocation;
pub mod rotation;
pub mod template;
pub mod tenant;
pub mod usage;
pub mod user;

pub use page::Page;
pub use problem::Problem;
