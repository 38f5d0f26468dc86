//! The operator's TOML file: what is read is printed, without its secrets.
#![no_main]
#![expect(dead_code, reason = "a part of the module is the command line's")]

#[path = "../../crates/cli/src/config.rs"]
mod config;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(settings) = toml::from_str::<config::Settings>(text) else { return };
    let shown = settings.print().expect("what was read can be written");
    let again: config::Settings = toml::from_str(&shown).expect("its own words");
    assert_eq!(again.print().expect("written again"), shown);
});
