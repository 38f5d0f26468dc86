//! What intake answers to each kind of file, through real workers.

use crate::made;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lopdf::xref::XrefType;
use lopdf::{Dictionary, Object, dictionary};
use seal::limits::Limits;
use seal::pool::{Pool, PoolConfig, document};
use seal::{Inspection, SealError};

fn pool() -> Pool {
    Pool::new(PoolConfig {
        program: PathBuf::from(env!("CARGO_BIN_EXE_seal-worker")),
        args: Vec::new(),
        workers: 2,
        limits: Limits { cpu_seconds: 5, ..Limits::default() },
        tasks_per_worker: 100,
    })
}

async fn inspect(pool: &Pool, bytes: &[u8]) -> Result<Inspection, SealError> {
    pool.inspect("tenant", &document(bytes).expect("a document")).await
}

async fn refusal(bytes: &[u8]) -> (&'static str, String) {
    let pool = pool();
    let answer = inspect(&pool, bytes).await;
    // Whatever the file did, the next one is served.
    let next = inspect(&pool, &made::good()).await.expect("a good document after a bad one");
    assert_eq!(next.pages.len(), 4);
    match answer {
        Err(SealError::Refused { code, detail }) => (code, detail),
        other => panic!("not a refusal: {other:?}"),
    }
}

#[tokio::test]
async fn a_good_document_is_measured_as_it_is_displayed() {
    let inspection = inspect(&pool(), &made::good()).await.expect("accepted");
    let pages: Vec<_> = inspection.pages.iter().map(|page| (page.width, page.height, page.rotation)).collect();
    assert_eq!(pages, [(612.0, 792.0, 0), (792.0, 612.0, 90), (400.0, 600.0, 0), (1224.0, 1584.0, 0)]);
    assert_eq!(inspection, Inspection { pages: inspection.pages.clone(), ..Inspection::default() });
}

#[tokio::test]
async fn what_is_no_pdf_is_named() {
    let cases: [(&[u8], &str); 6] = [
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "PNG"),
        (b"\n<!DOCTYPE html><html></html>", "HTML"),
        (b"PK\x03\x04....", "ZIP"),
        (b"Dear Sir or Madam,\n", "plain text"),
        (b"\0\x01\x02\x03", "unknown"),
    ];
    for (bytes, what) in cases {
        let (code, detail) = refusal(bytes).await;
        assert_eq!(code, "document_not_pdf");
        assert!(detail.contains(what), "{detail}");
    }
}

#[tokio::test]
async fn a_document_that_needs_a_password_is_refused() {
    assert_eq!(refusal(&made::encrypted("secret")).await.0, "document_encrypted");
}

#[tokio::test]
async fn a_document_with_an_empty_password_becomes_a_working_copy() {
    let pool = pool();
    let inspection = inspect(&pool, &made::encrypted("")).await.expect("accepted");
    assert_eq!(inspection.changes, ["The encryption (with an empty password) was removed."]);
    let copy = inspection.working_copy.expect("a working copy");
    let again = inspect(&pool, &copy).await.expect("the copy is an ordinary document");
    assert_eq!((again.pages.len(), again.changes.len()), (1, 0));
    let found = pool.find_text("tenant", &document(&copy).expect("a document"), vec!["Agreement".into()]).await;
    assert_eq!(found.expect("found")[0].len(), 1);
}

#[tokio::test]
async fn signed_and_certified_documents_are_refused() {
    assert_eq!(refusal(&made::signed(false)).await.0, "document_signed");
    assert_eq!(refusal(&made::signed(true)).await.0, "document_certified");
}

#[tokio::test]
async fn a_form_that_only_adobe_s_programs_can_draw_is_refused() {
    let xfa = dictionary! { "XFA" => Object::string_literal("<xdp/>") };
    assert_eq!(refusal(&made::form(true, xfa)).await.0, "document_xfa");
}

#[tokio::test]
async fn a_form_whose_values_have_no_appearance_is_refused() {
    assert_eq!(refusal(&made::form(false, Dictionary::new())).await.0, "document_form");
    assert_eq!(refusal(&made::form(true, dictionary! { "NeedAppearances" => true })).await.0, "document_form");
}

#[tokio::test]
async fn a_form_becomes_part_of_its_pages_and_looks_as_before() {
    let (pool, original) = (pool(), made::form(true, Dictionary::new()));
    let inspection = inspect(&pool, &original).await.expect("accepted");
    assert_eq!(inspection.changes, ["The form was made part of the pages (2 fields)."]);
    let fields: Vec<_> = inspection.form_fields.iter().map(|field| (&*field.name, &*field.kind)).collect();
    assert_eq!(fields, [("name", "text"), ("agree", "checkbox")]);
    let copy = inspection.working_copy.expect("a copy");
    assert!(!copy.windows(8).any(|window| window == b"AcroForm" || window == b"/Widget "));
    let pixels = |bytes: Vec<u8>| {
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
        reader.next_frame(&mut pixels).expect("pixels");
        pixels
    };
    let before = pool.render("tenant", &document(&original).expect("a document"), 1, 612).await.expect("a picture");
    let copy = document(&copy).expect("a document");
    let after = pool.render("tenant", &copy, 1, 612).await.expect("a picture");
    assert!(pixels(before) == pixels(after), "the flattened form looks different");
    let found = pool.find_text("tenant", &copy, vec!["Ada Lovelace".into()]).await.expect("found");
    assert_eq!(found[0].len(), 1);
}

#[tokio::test]
async fn a_truncated_document_is_damaged() {
    let good = made::good();
    for length in [20, good.len() / 2, good.len() - 30] {
        assert_eq!(refusal(&good[..length]).await.0, "document_damaged", "{length} of {}", good.len());
    }
}

#[tokio::test]
async fn a_page_tree_that_bites_its_tail_is_refused_or_read_once() {
    assert_eq!(refusal(&made::cycle()).await.0, "document_damaged");
}

/// Whichever content a reader takes, the file is refused, or shows the same before and after it was written anew.
#[tokio::test]
async fn a_page_that_two_parsers_read_differently_is_never_accepted() {
    let pool = pool();
    for swap in [false, true] {
        let original = made::two_contents(swap);
        match inspect(&pool, &original).await {
            Err(error) => assert_eq!(error.code(), Some("document_damaged"), "{error}"),
            Ok(_) => {
                let pdf = document(&original).expect("a document");
                let stamped = pool.stamp("tenant", &pdf, Vec::new(), Some("TEST".into())).await.expect("stamped");
                let needle = vec!["10,000,000".to_owned()];
                let before = pool.find_text("tenant", &pdf, needle.clone()).await.expect("found");
                let stamped = document(&stamped).expect("a document");
                let after = pool.find_text("tenant", &stamped, needle).await.expect("found");
                assert_eq!(before, after);
            }
        }
    }
}

#[tokio::test]
async fn a_font_that_is_named_like_an_action_is_left_alone() {
    let mut maker = made::simple();
    let font = maker.font;
    let page =
        maker.page("BT /AA 12 Tf 72 500 Td (one) Tj /A 12 Tf (two) Tj /EF 12 Tf (three) Tj ET", Dictionary::new());
    let fonts = dictionary! { "AA" => font, "A" => font, "EF" => font, "F" => font, "Next" => font };
    let resources = dictionary! { "Font" => fonts };
    maker.document.get_dictionary_mut(page).expect("the page").set("Resources", resources);
    let inspection = inspect(&pool(), &made::bytes(maker.finish(Dictionary::new()))).await.expect("accepted");
    assert_eq!((inspection.changes.len(), inspection.warnings.len()), (0, 0), "{inspection:?}");
}

#[tokio::test]
async fn junk_before_the_beginning_is_cut_off() {
    let mut bytes = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    bytes.extend(made::good());
    let inspection = inspect(&pool(), &bytes).await.expect("accepted");
    assert_eq!(inspection.changes, ["19 bytes before the document's beginning were removed."]);
    assert!(inspection.working_copy.expect("a copy").starts_with(b"%PDF-"));
}

#[tokio::test]
async fn what_follows_the_end_is_cut_off_unless_it_is_half_a_version() {
    let pool = pool();
    let good = made::good();
    for tail in [&[0; 5000][..], b"</body></html>"] {
        let inspection = inspect(&pool, &[&good, tail].concat()).await.expect("accepted");
        assert_eq!(inspection.changes, [format!("{} bytes after the document's end were removed.", tail.len())]);
        let copy = inspection.working_copy.expect("a copy");
        assert!(inspect(&pool, &copy).await.expect("accepted").changes.is_empty());
    }
    let half = [&good[..], b"12 0 obj\n<< /Type /Page >>\nendobj\n"].concat();
    assert_eq!(refusal(&half).await.0, "document_damaged");
}

#[tokio::test]
async fn a_cross_reference_table_that_stands_elsewhere_is_found_and_one_that_is_lost_is_not_made_up() {
    let mut document = lopdf::Document::load_mem(&made::good()).expect("good");
    document.reference_table.cross_reference_type = XrefType::CrossReferenceTable;
    let good = made::bytes(document);
    let at = |needle: &[u8]| good.windows(needle.len()).rposition(|window| window == needle).expect("there");
    let table = at(b"\nxref");
    let (start, end) = (at(b"startxref"), at(b"%%EOF"));
    let moved = [&good[..start], format!("startxref\n{}\n", table - 5).as_bytes(), &good[end..]].concat();
    let inspection = inspect(&pool(), &moved).await.expect("accepted");
    assert_eq!(inspection.changes, ["The place of the cross-reference table was corrected."]);
    let mut lost = good.clone();
    lost[table..table + 5].copy_from_slice(b"     ");
    assert_eq!(refusal(&lost).await.0, "document_damaged");
}

#[tokio::test]
async fn fonts_that_are_not_there_are_named() {
    let mut maker = made::simple();
    let font = maker.font;
    let font = maker.document.get_dictionary_mut(font).expect("the font");
    font.set("BaseFont", "CorporateSans-Bold");
    let inspection = inspect(&pool(), &made::bytes(maker.finish(Dictionary::new()))).await.expect("accepted");
    assert_eq!(inspection.fonts_missing, ["CorporateSans-Bold"]);
}

/// Every answer to a damaged file is an answer about the file: nothing in here is our fault.
#[tokio::test]
async fn files_with_random_damage_are_accepted_or_refused() {
    let pool = pool();
    let inputs = [made::good(), made::active(), made::form(true, Dictionary::new()), made::encrypted("")];
    let mut seed: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    let mut accepted = 0;
    for round in 0..400 {
        let mut bytes = inputs[round % inputs.len()].clone();
        for _ in 0..1 + random(6) {
            let at = random(bytes.len());
            match random(3) {
                0 => bytes[at] = random(256) as u8,
                1 => drop(bytes.drain(at..(at + random(40)).min(bytes.len()))),
                _ => {
                    let copied = bytes[at..(at + random(40)).min(bytes.len())].to_vec();
                    let to = random(bytes.len());
                    bytes.splice(to..to, copied);
                }
            }
        }
        match inspect(&pool, &bytes).await {
            Ok(inspection) => {
                assert!(!inspection.pages.is_empty());
                accepted += 1;
            }
            Err(SealError::Refused { .. }) => {}
            Err(error) => panic!("round {round}: {error}"),
        }
    }
    println!("{accepted} of 400 accepted");
}

#[tokio::test]
async fn what_acts_by_itself_is_removed_and_listed() {
    let pool = pool();
    let inspection = inspect(&pool, &made::active()).await.expect("accepted");
    assert_eq!(
        inspection.changes,
        [
            "1 automatic action was removed.",
            "1 embedded file was removed.",
            "1 script was removed.",
            "1 web link was removed."
        ]
    );
    let copy = inspection.working_copy.expect("a copy");
    for trace in ["JavaScript", "secret-place", "EmbeddedFile", "hidden", "app.alert"] {
        assert!(!copy.windows(trace.len()).any(|window| window == trace.as_bytes()), "{trace} is still there");
    }
    assert!(inspect(&pool, &copy).await.expect("accepted").changes.is_empty());
}

#[tokio::test]
async fn nested_patterns_and_bombs_leave_the_server_unharmed() {
    for (what, bytes) in
        [("patterns", made::nested_patterns(300)), ("bomb", made::bomb(1500)), ("forms", made::doubling(45))]
    {
        let started = std::time::Instant::now();
        let (code, detail) = refusal(&bytes).await;
        assert_eq!(code, "document_too_complex", "{what}: {detail}");
        assert!(started.elapsed() < Duration::from_secs(25), "{what} took {:?}", started.elapsed());
        println!("{what}: {detail} ({:?})", started.elapsed());
    }
}

#[tokio::test]
async fn pages_are_drawn_and_texts_are_found_where_they_are_displayed() {
    let pool = pool();
    let pdf = document(&made::good()).expect("a document");
    let sizes = [(1, 792 * 300 / 612), (2, 612 * 300 / 792), (3, 450), (4, 792 * 300 / 612)];
    for (page, height) in sizes {
        let picture = pool.render("tenant", &pdf, page, 300).await.expect("a picture");
        let reader = png::Decoder::new(std::io::Cursor::new(picture)).read_info().expect("a PNG");
        assert_eq!((reader.info().width, reader.info().height), (300, height));
    }
    let needles = ["/sig1/", "Sign here", "/sig2/", "/sig3/", "/sig4/", "nowhere"].map(String::from).to_vec();
    let found = pool.find_text("tenant", &pdf, needles).await.expect("found");
    let places: Vec<Vec<_>> = found
        .iter()
        .map(|boxes| boxes.iter().map(|place| (place.page, place.x.round(), place.y.round())).collect())
        .collect();
    // Helvetica of 12 points, 0.78 of it above the line; "Sign here " is 54.7 points wide, "turned " 37.4, "cropped " 46.7.
    // On the turned page the text runs downward, and what was up points to the right.
    assert_eq!(
        places,
        [
            vec![(1, 127.0, 83.0)],
            vec![(1, 72.0, 83.0)],
            vec![(2, 197.0, 137.0)],
            vec![(3, 97.0, 491.0)],
            vec![(4, 292.0, 1165.0)],
            vec![]
        ]
    );
    assert_eq!(Arc::strong_count(&pdf), 1);
}
