//! Ids, times, durations and environments: what is read is written back and read the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::{EnvelopeId, Timestamp, link::Link};

fuzz_target!(|text: &str| {
    if let Ok(id) = text.parse::<EnvelopeId>() {
        assert_eq!(id.to_string(), text);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        assert_eq!(time.to_string().parse::<Timestamp>().expect("its own words"), time);
        let _ = (time.date_in("Europe/Berlin"), time.words_in("Asia/Tokyo"));
    }
    if let Some(ms) = model::time::duration_ms(text) {
        assert!(ms > 0, "{text}: {ms}");
    }
    if let Some(link) = Link::parse(text) {
        assert_eq!(link.expose(), text);
    }
    let _ = model::time::is_zone(text);
});
