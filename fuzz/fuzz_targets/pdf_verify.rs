//! A file that claims to be sealed: a report comes out, and without trust anchors never "trusted". What begins with 0 is DER
//! and becomes the signature in a sealed file's gap, where the file's own digest still holds; all else is a file (`shape`).
#![no_main]

mod shape;

use libfuzzer_sys::fuzz_target;

const SEALED: &[u8] = include_bytes!("../corpus/pdf_verify/sealed.pdf");

fuzz_target!(|bytes: &[u8]| shape::with_workers_stack(|| {
    let file = if bytes.first() == Some(&0x30) { signed(bytes) } else { Some(shape::pdf(bytes)) };
    let Some(file) = file else { return };
    let report = seal::verify(&file, &[]);
    assert_eq!(report.trusted, None, "{report:?}");
}));

fn signed(der: &[u8]) -> Option<Vec<u8>> {
    let mark = b"/Contents <";
    let gap = SEALED.windows(mark.len()).rposition(|window| window == mark)? + mark.len();
    let room = SEALED[gap..].iter().position(|byte| *byte == b'>')?;
    let digits: String = der.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut file = SEALED.to_vec();
    file[gap..gap + room].get_mut(..digits.len())?.copy_from_slice(digits.as_bytes());
    Some(file)
}
