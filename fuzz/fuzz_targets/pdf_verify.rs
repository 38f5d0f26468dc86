//! A file that claims to be sealed: a report comes out, and without trust anchors never "trusted".
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let report = seal::verify(bytes, &[]);
    assert_eq!(report.trusted, None, "{report:?}");
});
