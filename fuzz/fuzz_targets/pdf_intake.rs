//! A stranger's PDF: it is refused, or becomes a file that can be drawn.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // The worker's limits are the process', which libFuzzer has its own of: here it is about panics and endless loops.
    if let Ok(inspection) = seal::inspect::inspect(bytes.to_vec()) {
        let accepted = inspection.working_copy.unwrap_or_else(|| bytes.to_vec());
        let _ = seal::render::render(accepted, 1, 64);
    }
});
