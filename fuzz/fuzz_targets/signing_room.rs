//! The signing room's link, cookie and form: the first line is the link, the second the cookie, the rest the form.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(3, |byte| *byte == b'\n');
    let mut next = || parts.next().unwrap_or_default();
    server::fuzzing::room(next(), next(), next());
});
