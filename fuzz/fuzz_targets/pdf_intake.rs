//! A stranger's PDF: it is refused, or becomes a file that can be drawn, searched, stamped and prepared. What is no whole file
//! is made one (`shape`).
#![no_main]

mod shape;

use libfuzzer_sys::fuzz_target;
use seal::{Mark, SignatureInfo, Stamp};

// The worker's limits are the process', which libFuzzer has its own of: here it is about panics and endless loops.
fuzz_target!(|bytes: &[u8]| shape::with_workers_stack(|| {
    let bytes = shape::pdf(bytes);
    let Ok(inspection) = seal::inspect::inspect(bytes.clone()) else { return };
    let accepted = inspection.working_copy.unwrap_or(bytes);
    if seal::render::draw_all(accepted.clone(), 0).is_err() {
        return;
    }
    seal::find::find_text(accepted.clone(), &["Sign".to_owned()], 0).expect("what is drawn can be searched");
    let page = inspection.pages.first().expect("a document has a page");
    let stamp =
        Stamp { page: 1, x: page.width / 4.0, y: page.height / 4.0, width: 10.0, height: 10.0, what: Mark::Check };
    if let Ok(stamped) = seal::stamp::stamp(&accepted, &[stamp], None) {
        let (name, reason, location) = ("IUSign".to_owned(), "Sealed".to_owned(), String::new());
        let _ = seal::prepare::prepare(stamped, &SignatureInfo { name, reason, location, time_ms: 1_795_000_000_000 });
    }
}));
