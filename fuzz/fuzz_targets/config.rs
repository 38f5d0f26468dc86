//! The operator's TOML file: what is read is printed, without its secrets.
#![no_main]
#![expect(dead_code, reason = "a part of the module is the command line's")]

#[path = "../../crates/cli/src/config.rs"]
mod config;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(settings) = toml::from_str::<config::Settings>(text) {
        let _ = settings.print();
    }
});
