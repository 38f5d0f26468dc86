//! The secret key as text: generate, parse, mask, digest, find. Nothing of ours lies beneath it.
//!
//! A key reads `iusk_{dev|stg|prod}_{id}_{secret}{check}`:
//! - `id`: the key's public id, 26 characters of Crockford base32 (a UUIDv7), the same as in `key_{id}`;
//! - `secret`: 256 random bits as 43 characters of base62, left-padded with `0`;
//! - `check`: CRC-32/ISO-HDLC over everything before it, 6 characters of the same alphabet. A stranger can compute it:
//!   it catches typing errors and lets scanners decide without a look-up; it is no security.
//!
//! [`PATTERN`] finds every key; the checksum decides. Test vectors stand in `docs/reference/secret-keys.md`.

pub mod base32;
pub mod base62;
mod environment;
mod find;
mod key;

pub use environment::{Environment, UnknownEnvironment};
pub use find::{Hit, PREFIX, find, search};
pub use key::{Digest, Malformed, PATTERN, SECRET_KEY_CHARS_MAX, SecretKey};
