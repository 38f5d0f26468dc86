//! Lists of addresses and nets, an entry a line: what is accepted is written back and read the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::allowlist::Allowlist;

fuzz_target!(|text: &str| {
    let entries: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let Ok(list) = Allowlist::parse(&entries, "/allowlist") else { return };
    let again = Allowlist::parse(&list.entries(), "/allowlist").expect("its own words");
    assert_eq!(again.entries(), list.entries());
    assert!(list.covers(&again) && again.covers(&list));
    for entry in list.entries() {
        let address = entry.split('/').next().unwrap_or_default().parse().expect("an address");
        assert!(list.contains(address), "{entry}");
    }
});
