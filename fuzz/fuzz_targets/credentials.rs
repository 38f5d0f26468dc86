//! How a request presents its key: the first line is the URL, each further line an `Authorization` header.
#![no_main]

mod keyed;

use http::{HeaderMap, HeaderValue, Uri, header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let bytes = keyed::keyed(bytes);
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let Ok(uri) = Uri::try_from(lines.next().unwrap_or_default()) else { return };
    let mut headers = HeaderMap::new();
    for line in lines.take(4) {
        let Ok(value) = HeaderValue::from_bytes(line) else { return };
        headers.append(header::AUTHORIZATION, value);
    }
    match gate::presented(true, &uri, &headers) {
        Ok(key) => {
            assert_eq!(headers.len(), 1, "one header, one key");
            let sent = headers[header::AUTHORIZATION].as_bytes();
            assert!(sent.windows(key.expose().len()).any(|part| part == key.expose().as_bytes()));
        }
        Err(problem) => {
            // What is refused is not repeated.
            assert!(secret::find(problem.detail.as_bytes()).is_empty(), "{}", problem.detail);
            assert_eq!(problem.code.status(), 401);
        }
    }
    assert!(gate::presented(false, &uri, &headers).is_err());
});
