//! The Rust SDK of `/v1`: typed calls, problems as errors, retries that can't double anything.
//!
//! ```ignore
//! let client = Client::new("https://sign.example.com", SecretText::new(key), None)?;
//! let me = client.me().await?;
//! ```
//! A call that is answered 429 or 503, or that got no answer at all, is sent again after the time in `Retry-After`; every
//! POST carries an `Idempotency-Key`, so that sending it again does it once. One file for each noun.

mod error;
mod secret;
mod transport;

mod asset;
mod audit;
mod batch;
mod document;
mod envelope;
mod event;
mod key;
mod mail;
mod me;
mod revocation;
mod rotation;
mod template;
mod tenant;
mod user;

pub use batch::{rows_body, rows_type};
pub use error::Error;
pub use event::Follow;
pub use secret::SecretText;
pub use transport::{Body, Client, Download, idempotency_key};
