//! Queries, cursors, `Idempotency-Key`s and parts of paths.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| server::fuzzing::query(text));
