//! Reports of leaks, and the search of streams: nothing that a stranger sends breaks either, and a stream is searched like
//! its whole.
#![no_main]

mod keyed;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let bytes = keyed::keyed(bytes);
    let bytes = bytes.as_slice();
    if let Ok(entries) = model::leak::read_github(bytes) {
        let found: Vec<_> = entries.iter().map(model::leak::GithubEntry::found).collect();
        assert_eq!(model::leak::from_row(&model::leak::to_row(&found)), found);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if let Ok(found) = model::leak::read(&lines, &lines, lines.first().map(String::as_str)) {
            assert!(found.iter().all(|one| one.place.as_ref().is_none_or(|place| secret::find(place.as_bytes()).is_empty())));
        }
    }
    let whole: Vec<_> = secret::find(bytes).into_iter().map(|(at, _)| at as u64).collect();
    let mut streamed = Vec::new();
    let read = secret::search(bytes, |hit| streamed.push(hit.offset)).expect("read from memory");
    assert_eq!(read, bytes.len() as u64);
    assert!(whole.iter().all(|at| streamed.contains(at)));
});
