//! The whole way in one process: the sample is stamped, prepared, signed, checked and verified, and every tampering is seen.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::path::{Path, PathBuf};
use std::process::Command;

use lopdf::dictionary;
use seal::key::SealKey;
use seal::verify::{Verdict, verify};
use seal::{Expectation, Mark, SignatureInfo, Stamp, check, pades, prepare, stamp};

const NOW_MS: i64 = 1_795_000_000_000;

fn sample() -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web/sample/service-agreement.pdf")).unwrap()
}

/// The sample with a turned second page and a third page of which only a part is displayed, its content unbalanced.
fn awkward() -> Vec<u8> {
    let mut document = lopdf::Document::load_mem(&sample()).unwrap();
    let pages: Vec<_> = document.page_iter().collect();
    document.get_dictionary_mut(pages[1]).unwrap().set("Rotate", 90);
    let boxed = [50, 60, 500, 700].map(lopdf::Object::Integer).to_vec();
    document.get_dictionary_mut(pages[2]).unwrap().set("CropBox", boxed);
    document.add_page_contents(pages[2], b"q 0.5 0 0 0.5 0 0 cm q".to_vec()).unwrap();
    let mut out = Vec::new();
    document.save_to(&mut out).unwrap();
    out
}

fn at(page: u32, x: f64, y: f64, width: f64, height: f64, what: Mark) -> Stamp {
    Stamp { page, x, y, width, height, what }
}

fn text(text: &str) -> Mark {
    Mark::Text { text: text.into(), size: None }
}

fn ink() -> Mark {
    let wave = |k: f64| (0..40).map(|i| (f64::from(i) / 40.0, 0.5 + 0.4 * (f64::from(i) * k).sin())).collect();
    Mark::Ink { strokes: vec![wave(0.5), wave(0.23), vec![(0.9, 0.1)]] }
}

fn stamps() -> Vec<Stamp> {
    vec![
        at(1, 68.0, 700.0, 200.0, 18.0, text("Ada Lovelace")),
        at(2, 40.0, 40.0, 260.0, 16.0, text("Zoë Müller · Ωμέγα · Журнал e\u{301}ffi")),
        at(2, 40.0, 70.0, 160.0, 16.0, text("שלום Ada עולם e\u{301}ffi")),
        at(2, 400.0, 300.0, 160.0, 40.0, Mark::Signature { text: "Ada Lovelace".into() }),
        at(3, 10.0, 10.0, 200.0, 16.0, text("山田太郎 and 🦀")),
        at(3, 200.0, 300.0, 150.0, 50.0, ink()),
        at(4, 80.0, 420.0, 180.0, 44.0, Mark::Signature { text: "Grace Brewster Murray Hopper".into() }),
        at(4, 80.0, 480.0, 120.0, 30.0, text("A long company name that has to be shrunk and wrapped, Incorporated")),
        at(4, 330.0, 420.0, 180.0, 44.0, ink()),
        at(4, 68.0, 640.0, 12.0, 12.0, Mark::Check),
    ]
}

fn info() -> SignatureInfo {
    SignatureInfo {
        name: "IUSign seal (self-signed)".into(),
        reason: "Sealed after all recipients signed – Übersicht".into(),
        location: "Dublin".into(),
        time_ms: NOW_MS,
    }
}

fn key() -> SealKey {
    let made = SealKey::generate("IUSign seal of Northwind Legal (self-signed)", NOW_MS).unwrap();
    SealKey::from_pem(&made.certificate, &made.key).unwrap()
}

fn sealed(pdf: &[u8], key: &SealKey) -> Vec<u8> {
    let stamped = stamp::stamp(pdf, &stamps(), Some("TEST – made in staging, of no legal effect")).unwrap();
    let prepared = prepare::prepare(stamped, &info()).unwrap();
    pades::sign(prepared, key, NOW_MS).unwrap()
}

#[test]
fn a_sealed_file_is_checked_and_verified_over_its_whole_length() {
    let key = key();
    for pdf in [sample(), awkward()] {
        let sealed = sealed(&pdf, &key);
        if let Some(folder) = std::env::var_os("IUSIGN_LOOK") {
            let name = if pdf == sample() { "sealed.pdf" } else { "sealed-awkward.pdf" };
            std::fs::write(Path::new(&folder).join(name), &sealed).unwrap();
            std::fs::write(Path::new(&folder).join(format!("{name}.pem")), key.certificate_pem().unwrap()).unwrap();
        }
        check::check(sealed.clone(), &Expectation { pages: 4, stamps: stamps() }).unwrap();
        let report = verify(&sealed, &[key.certificate_der().to_vec()]);
        assert_eq!(
            (report.verdict, report.whole_file, report.trusted),
            (Verdict::Valid, true, Some(true)),
            "{report:?}"
        );
        assert_eq!(report.reason, "The file is as it was sealed, to the last byte.");
        let signature = &report.signatures[0];
        assert_eq!(signature.name.as_deref(), Some("IUSign seal (self-signed)"));
        assert_eq!(signature.reason.as_deref(), Some("Sealed after all recipients signed – Übersicht"));
        assert_eq!(signature.claimed_time_ms, Some(NOW_MS));
        assert_eq!(signature.certificate.as_ref().unwrap().fingerprint, key.fingerprint());
    }
}

#[test]
fn another_certificate_is_not_trusted_and_an_expired_key_seals_nothing() {
    let key = key();
    let sealed = sealed(&sample(), &key);
    let other = self::key();
    let report = verify(&sealed, &[other.certificate_der().to_vec()]);
    assert_eq!((report.verdict, report.trusted), (Verdict::Invalid, Some(false)));
    let prepared = prepare::prepare(sample(), &info()).unwrap();
    assert!(pades::sign(prepared, &key, key.not_after() + 1).is_err());
}

#[test]
fn a_value_that_is_not_at_its_box_fails_the_check() {
    let sealed = sealed(&sample(), &key());
    let mut moved = stamps();
    moved[0].y -= 300.0;
    let error = check::check(sealed.clone(), &Expectation { pages: 4, stamps: moved }).unwrap_err();
    assert_eq!(error.code(), Some("document_check_failed"), "{error}");
    let mut blank = stamps();
    blank[8].y = 700.0;
    blank[8].height = 10.0;
    assert!(check::check(sealed.clone(), &Expectation { pages: 4, stamps: blank }).is_err());
    assert!(check::check(sealed.clone(), &Expectation { pages: 5, stamps: stamps() }).is_err());
}

#[test]
fn every_flipped_byte_is_seen() {
    let key = key();
    let sealed = sealed(&sample(), &key);
    let report = verify(&sealed, &[]);
    let [_, a, b, _] = report.signatures[0].byte_range[..] else { panic!("no ByteRange") };
    let (a, b) = (a as usize, b as usize);
    let mut places =
        vec![0, 9, 1000, sealed.len() / 3, a - 1, a, a + 1, a + 40, a + 900, b - 2, b - 1, b, b + 20, sealed.len() - 2];
    // And a walk over the whole file, with a step that meets every residue.
    places.extend((0..sealed.len()).step_by(487));
    for place in places {
        let mut bytes = sealed.clone();
        bytes[place] ^= 1;
        let report = verify(&bytes, &[]);
        assert_ne!(report.verdict, Verdict::Valid, "byte {place} of {}", bytes.len());
    }
}

#[test]
fn whatever_follows_the_signature_is_invalid() {
    let key = key();
    let sealed = sealed(&sample(), &key);
    let append = |more: &[u8]| [sealed.as_slice(), more].concat();
    // An incremental save that changes the first page's text, as an attacker would.
    let mut document = lopdf::Document::load_mem(&sealed).unwrap();
    let page = document.page_iter().next().unwrap();
    document.get_dictionary_mut(page).unwrap().set("Contents", lopdf::Object::Array(Vec::new()));
    let mut update = lopdf::IncrementalDocument::create_from(sealed.clone(), document);
    update.opt_clone_object_to_new_document(page).unwrap();
    let mut incremental = Vec::new();
    update.save_to(&mut incremental).unwrap();

    for (what, bytes) in [
        ("a line end", append(b"\n")),
        ("a comment", append(b"% hello\n")),
        ("an incremental save", incremental),
        ("a second revision", append(&sealed[sealed.len() / 2..])),
    ] {
        let report = verify(&bytes, &[]);
        assert_eq!(report.verdict, Verdict::Invalid, "{what}: {report:?}");
        assert!(!report.whole_file, "{what}");
    }
    assert_eq!(verify(&sealed[..sealed.len() - 3], &[]).verdict, Verdict::Invalid);
}

#[test]
fn a_byte_range_that_is_not_exactly_around_the_signature_is_invalid() {
    let key = key();
    let sealed = sealed(&sample(), &key);
    let [zero, a, b, c] = verify(&sealed, &[]).signatures[0].byte_range[..] else { panic!("no ByteRange") };
    let at = sealed.windows(11).rposition(|window| window == b"/ByteRange ").unwrap() + 11;
    let length = sealed[at..].iter().position(|byte| *byte == b']').unwrap() + 1;
    for range in [
        [1, a, b, c],
        [zero, a - 1, b, c],
        [zero, a + 1, b, c],
        [zero, a, b + 1, c - 1],
        [zero, a, b - 1, c + 1],
        [zero, a, b, c - 1],
        [zero, a, b, c + 1],
        [zero, a - 100, b, c],
        [zero, 0, b, c],
        [zero, a, b, -1],
    ] {
        let mut text = format!("[{} {} {} {}", range[0], range[1], range[2], range[3]);
        text.push_str(&" ".repeat(length - 1 - text.len()));
        text.push(']');
        let mut bytes = sealed.clone();
        bytes[at..at + length].copy_from_slice(text.as_bytes());
        let report = verify(&bytes, &[]);
        assert_eq!(report.verdict, Verdict::Invalid, "{text}");
    }
}

/// The same document with object streams and a cross-reference stream, and with an update appended to it.
fn modern() -> Vec<u8> {
    let mut out = Vec::new();
    lopdf::Document::load_mem(&sample()).unwrap().save_modern(&mut out).unwrap();
    out
}

fn updated() -> Vec<u8> {
    let bytes = sample();
    let document = lopdf::Document::load_mem(&bytes).unwrap();
    let page = document.page_iter().nth(1).unwrap();
    let mut update = lopdf::IncrementalDocument::create_from(bytes, document);
    update.opt_clone_object_to_new_document(page).unwrap();
    let mut out = Vec::new();
    update.save_to(&mut out).unwrap();
    out
}

/// A file whose catalog has a form with a field named as ours would be, and a page with annotations.
fn with_form() -> Vec<u8> {
    let mut document = lopdf::Document::load_mem(&sample()).unwrap();
    let page = document.page_iter().next().unwrap();
    let field = dictionary! {
        "Type" => "Annot", "Subtype" => "Widget", "FT" => "Tx", "T" => lopdf::Object::string_literal("Seal"),
        "Rect" => vec![0.into(), 0.into(), 10.into(), 10.into()], "P" => page,
    };
    let field = document.add_object(field);
    let annotations = document.add_object(vec![lopdf::Object::Reference(field)]);
    document.get_dictionary_mut(page).unwrap().set("Annots", annotations);
    let form = document.add_object(dictionary! { "Fields" => vec![field.into()], "NeedAppearances" => true });
    document.catalog_mut().unwrap().set("AcroForm", form);
    let mut out = Vec::new();
    document.save_to(&mut out).unwrap();
    out
}

/// Each unit is a 36th of an inch: pages are displayed twice as large.
fn in_large_units() -> Vec<u8> {
    let mut document = lopdf::Document::load_mem(&sample()).unwrap();
    let pages: Vec<_> = document.page_iter().collect();
    for page in pages {
        document.get_dictionary_mut(page).unwrap().set("UserUnit", 2);
    }
    let mut out = Vec::new();
    document.save_to(&mut out).unwrap();
    out
}

/// Its objects have generations other than 0, as after many updates.
fn renumbered() -> Vec<u8> {
    let mut document = lopdf::Document::load_mem(&sample()).unwrap();
    let font = *document.objects.keys().last().unwrap();
    let object = document.objects.remove(&font).unwrap();
    document.objects.insert((font.0, 3), object);
    document.traverse_objects(|object| {
        if *object == lopdf::Object::Reference(font) {
            *object = lopdf::Object::Reference((font.0, 3));
        }
    });
    let mut out = Vec::new();
    document.save_to(&mut out).unwrap();
    out
}

/// Every shape of file, unstamped and stamped.
fn shapes() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("sample", sample()),
        ("awkward", awkward()),
        ("modern", modern()),
        ("updated", updated()),
        ("with a form", with_form()),
        ("in large units", in_large_units()),
        ("with numbers used again", renumbered()),
    ]
}

#[test]
fn files_of_every_kind_keep_their_kind_and_are_sealed() {
    let key = key();
    for (name, pdf) in shapes() {
        let kind = |bytes: &[u8]| bytes.windows(9).filter(|window| window == b"\ntrailer\n").count();
        let bare = pades::sign(prepare::prepare(pdf.clone(), &info()).unwrap(), &key, NOW_MS).unwrap();
        assert!(
            bare.starts_with(pdf.trim_ascii_end()),
            "{name}: the revision is appended, and nothing before it changed"
        );
        assert_eq!(kind(&pdf) > 0, kind(&bare[pdf.len()..]) > 0, "{name}: another kind of cross-references");
        let stamped = sealed(&pdf, &key);
        check::check(stamped.clone(), &Expectation { pages: 4, stamps: stamps() }).unwrap();
        for bytes in [bare, stamped] {
            let report = verify(&bytes, &[]);
            assert_eq!(report.verdict, Verdict::Valid, "{name}: {report:?}");
        }
        let twin = lopdf::Document::load_mem(&sealed(&pdf, &key)).unwrap();
        let form = twin.catalog().unwrap().get(b"AcroForm").and_then(|form| form.as_dict()).unwrap();
        let expected = if name == "with a form" { 2 } else { 1 };
        assert_eq!(form.get(b"Fields").and_then(|fields| fields.as_array()).unwrap().len(), expected, "{name}");
    }
}

#[test]
fn a_signature_moved_into_another_place_is_invalid() {
    let key = key();
    let sealed = sealed(&sample(), &key);
    let [_, a, b, _] = verify(&sealed, &[]).signatures[0].byte_range[..] else { panic!("no ByteRange") };
    let (a, b) = (a as usize, b as usize);
    // Wrapping: the covered bytes move behind, and something else stands between.
    let mut wrapped = sealed[..b].to_vec();
    wrapped.extend_from_slice(b"\n/Reason (other)>>\nendobj\n");
    wrapped.extend_from_slice(&sealed[b..]);
    assert_eq!(verify(&wrapped, &[]).verdict, Verdict::Invalid);
    // Forgery: the signature is emptied, or its digits end early.
    for contents in [&b"<>"[..], b"<00>", b"null"] {
        let mut forged = sealed[..a].to_vec();
        forged.extend_from_slice(contents);
        forged.resize(b, b' ');
        forged.extend_from_slice(&sealed[b..]);
        assert_eq!(verify(&forged, &[]).verdict, Verdict::Invalid, "{}", String::from_utf8_lossy(contents));
    }
    // Hidden behind the signature, in the padding of the gap.
    let mut hidden = sealed.clone();
    hidden[b - 9..b - 1].copy_from_slice(b"deadbeef");
    assert_eq!(verify(&hidden, &[]).verdict, Verdict::Invalid);
}

#[test]
fn a_key_can_be_shared_by_all_that_seal() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&key());
}

#[test]
fn an_unsigned_file_has_no_verdict() {
    assert_eq!(verify(&sample(), &[]).verdict, Verdict::None);
}

#[test]
fn two_seals_of_one_file_are_both_sound() {
    let key = key();
    let once = sealed(&sample(), &key);
    let twice = pades::sign(prepare::prepare(once, &info()).unwrap(), &key, NOW_MS).unwrap();
    let report = verify(&twice, &[key.certificate_der().to_vec()]);
    assert_eq!((report.verdict, report.signatures.len()), (Verdict::Valid, 2), "{report:?}");
    assert!(!report.signatures[0].whole_file && report.signatures[1].whole_file);
}

/// A field of each kind in the corner of the first page, and the expectation that belongs to it.
fn corner(pages: usize) -> Expectation {
    let stamps = vec![
        at(1, 4.0, 4.0, 90.0, 14.0, text("Zoë Ω Жук")),
        at(1, 4.0, 22.0, 60.0, 18.0, Mark::Signature { text: "Ada".into() }),
        at(pages as u32, 4.0, 44.0, 50.0, 20.0, ink()),
    ];
    Expectation { pages: pages as u32, stamps }
}

#[test]
fn every_file_of_a_named_folder_is_refused_or_sealed() {
    let Some(folder) = std::env::var_os("IUSIGN_TRY") else {
        println!("skipped: IUSIGN_TRY names no folder with PDFs");
        return;
    };
    let key = key();
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "pdf")) {
        let bytes = std::fs::read(file).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let inspected = match seal::inspect::inspect(bytes.clone()) {
            Ok(inspected) => inspected,
            Err(error) => {
                println!("{name}: refused, {error}");
                continue;
            }
        };
        let source = inspected.working_copy.unwrap_or(bytes);
        let expect = corner(inspected.pages.len());
        let started = std::time::Instant::now();
        let stamped =
            stamp::stamp(&source, &expect.stamps, Some("TEST")).and_then(|pdf| prepare::prepare(pdf, &info()));
        let outcome = stamped.and_then(|prepared| pades::sign(prepared, &key, NOW_MS)).and_then(|sealed| {
            if let Some(look) = std::env::var_os("IUSIGN_LOOK") {
                std::fs::write(Path::new(&look).join(&name), &sealed).unwrap();
                std::fs::write(Path::new(&look).join("seal.pem"), key.certificate_pem()?).unwrap();
            }
            check::check(sealed, &expect)
        });
        println!("{name}: {} pages, {} ms, {outcome:?}", inspected.pages.len(), started.elapsed().as_millis());
    }
}

fn foreign(program: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/venv/bin").join(program);
    let found = path.exists();
    if !found {
        println!("skipped: {} is not there; make a venv with pyhanko and pyhanko-cli", path.display());
    }
    found.then_some(path)
}

#[test]
fn pyhanko_calls_a_sealed_file_valid_to_its_end() {
    let Some(pyhanko) = foreign("pyhanko") else { return };
    let key = key();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("seal.pem");
    std::fs::write(&root, key.certificate_pem().unwrap()).unwrap();
    for (name, pdf) in shapes() {
        let file = folder.path().join(name);
        std::fs::write(&file, sealed(&pdf, &key)).unwrap();
        let out = Command::new(&pyhanko)
            .args(["sign", "validate", "--pretty-print", "--no-revocation-check", "--trust-replace", "--trust"])
            .arg(&root)
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{said}");
        for sentence in [
            "The signature is cryptographically sound",
            "The signature covers the entire file",
            "The signature is judged VALID",
        ] {
            assert!(said.contains(sentence), "{sentence} is missing in: {said}");
        }
    }
}

#[test]
fn what_pyhanko_signs_is_valid_to_us_and_a_dot_is_seen() {
    let dot = vec![at(1, 300.5, 60.5, 30.0, 12.0, Mark::Ink { strokes: vec![vec![(0.5, 0.5)]] })];
    let key = key();
    let stamped = stamp::stamp(&sample(), &dot, None).unwrap();
    let sealed = pades::sign(prepare::prepare(stamped, &info()).unwrap(), &key, NOW_MS).unwrap();
    check::check(sealed, &Expectation { pages: 4, stamps: dot }).unwrap();

    let Some(pyhanko) = foreign("pyhanko") else { return };
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    // It signs at the machine's time, so the certificate has to be valid now.
    let written = std::fs::metadata(folder.path()).unwrap().modified().unwrap();
    let now = written.duration_since(std::time::UNIX_EPOCH).unwrap();
    let made = SealKey::generate("Foreign", i64::try_from(now.as_millis()).unwrap()).unwrap();
    std::fs::write(place("key.pem"), made.key.as_bytes()).unwrap();
    std::fs::write(place("certificate.pem"), &made.certificate).unwrap();
    std::fs::write(place("in.pdf"), sample()).unwrap();
    let out = Command::new(&pyhanko)
        .args(["sign", "addsig", "--use-pades", "--field", "Sig1", "pemder", "--no-pass", "--key"])
        .args([place("key.pem"), "--cert".into(), place("certificate.pem"), place("in.pdf"), place("out.pdf")])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let trust = SealKey::from_pem(&made.certificate, &made.key).unwrap().certificate_der().to_vec();
    let report = verify(&std::fs::read(place("out.pdf")).unwrap(), &[trust]);
    assert_eq!((report.verdict, report.trusted), (Verdict::Valid, Some(true)), "{report:?}");
}

#[test]
fn values_that_share_shapes_are_found_all_the_same() {
    // A bracket from right to left has its opposite's shape; the ohm sign has omega's, the micro sign may have mu's.
    let key = key();
    for values in [
        ["(שלום) 12,5", "Zoë (x)", "[a] {b}"],
        ["Zoë (x)", "(שלום) 12,5", "«ab» <c>"],
        ["Ω Ω µ μ Å Å", "Ω", "Ω"],
        ["a\u{2010}b\u{2011}c-d", "µ", "μ"],
    ] {
        let text = |(row, text): (usize, &&str)| {
            let y = 60.0 + 24.0 * row as f64;
            at(1, 300.0, y, 200.0, 18.0, Mark::Text { text: (*text).to_owned(), size: None })
        };
        let stamps: Vec<_> = values.iter().enumerate().map(text).collect();
        let stamped = stamp::stamp(&sample(), &stamps, None).unwrap();
        let sealed = pades::sign(prepare::prepare(stamped, &info()).unwrap(), &key, NOW_MS).unwrap();
        check::check(sealed.clone(), &Expectation { pages: 4, stamps: stamps.clone() }).unwrap();
        let mut others = stamps;
        others[1].what = Mark::Text { text: "Zoe (y)".into(), size: None };
        assert!(check::check(sealed, &Expectation { pages: 4, stamps: others }).is_err(), "another value is missed");
    }
}
