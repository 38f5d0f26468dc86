//! A secret key's text, and keys within other text: what is read is written back the same.
#![no_main]

mod keyed;

use libfuzzer_sys::fuzz_target;
use secret::SecretKey;

fuzz_target!(|bytes: &[u8]| {
    let bytes = keyed::keyed(bytes);
    let bytes = bytes.as_slice();
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(key) = SecretKey::parse(text)
    {
        assert_eq!(key.expose(), text);
        assert!(!format!("{key:?}").contains(text) && !key.masked().contains(&text[20..]));
    }
    for (at, key) in secret::find(bytes) {
        let text = key.expose().as_bytes();
        assert_eq!(&bytes[at..at + text.len()], text);
    }
});
