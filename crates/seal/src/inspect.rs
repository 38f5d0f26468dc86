//! Intake: says what a document is, or refuses it with its own code; what has to be rewritten becomes a working copy.

use std::collections::BTreeSet;

use hayro::hayro_syntax::Pdf;
use lopdf::xref::XrefRecovery;
use lopdf::{Dictionary, Document, LoadOptions, Object, ObjectId};

use crate::flatten::flatten;
use crate::geometry::Geometry;
use crate::render;
use crate::scrub::scrub;
use crate::types::{FormField, Inspection, OBJECTS_MAX, PAGES_MAX, Page, SealError};

/// A header may stand this far from the file's start; readers look no further.
const HEADER_WITHIN: usize = 1024;
/// The document's end marker.
const END: &[u8] = b"%%EOF";
/// The place of the cross-reference table has to be named this near to the end marker.
const START_WITHIN: usize = 256;
/// What one stream may inflate to while the document is loaded.
const INFLATED_BYTES_MAX: usize = 128 * 1024 * 1024;
/// How deep a form's fields may be nested.
const FIELD_DEPTH_MAX: usize = 32;
/// The most missing fonts that are listed, and the longest name, in characters.
const FONTS_MAX: usize = 50;
const FONT_NAME_MAX: usize = 100;
/// The families of the fourteen standard fonts (ISO 32000, 9.6.2.2).
const STANDARD_FONTS: [&str; 5] = ["Helvetica", "Times-", "Courier", "Symbol", "ZapfDingbats"];
/// The most fields that are listed.
const FIELDS_MAX: usize = 10_000;

/// Looks at a document. `bytes` are those of the file as it came.
pub fn inspect(mut bytes: Vec<u8>) -> Result<Inspection, SealError> {
    let mut changes = Vec::new();
    let header = header(&bytes)?;
    if header > 0 {
        bytes.drain(..header);
        changes.push(format!("{header} bytes before the document's beginning were removed."));
    }
    let end = end(&bytes)?;
    if end < bytes.len() {
        changes.push(format!("{} bytes after the document's end were removed.", bytes.len() - end));
        bytes.truncate(end);
    }
    let drawn = render::open(bytes)?;
    let mut document = load(drawn.data().as_ref())?;
    // Where the table stands was found out; a table that had to be made up may bring back what was replaced.
    let repaired = match document.xref_recovery {
        None => false,
        Some(XrefRecovery::OffsetCorrected) => true,
        Some(_) => return Err(broken()),
    };
    if repaired {
        changes.push("The place of the cross-reference table was corrected.".to_owned());
    }
    let pages = agreed_pages(&document, &drawn)?;
    let decrypted = document.was_encrypted();
    if decrypted {
        changes.push("The encryption (with an empty password) was removed.".to_owned());
    }
    refuse_signed(&document)?;
    let form_fields = form(&document)?;
    let fonts_missing = fonts_missing(&document);
    if catalog(&document)?.has(b"AcroForm") {
        let fields = flatten(&mut document)?;
        changes.push(format!("The form was made part of the pages ({fields} fields)."));
    }
    changes.extend(scrub(&mut document));
    let mut warnings = Vec::new();
    if catalog(&document)?.has(b"OCProperties") {
        warnings.push("The document has layers that a viewer can switch on and off.".to_owned());
    }
    let mut inspection = Inspection { pages, fonts_missing, form_fields, changes, warnings, working_copy: None };
    if !inspection.changes.is_empty() {
        let copy = rewritten(&mut document, &inspection.pages)?;
        if decrypted || repaired {
            same_pictures(&drawn, &copy)?;
        }
        inspection.working_copy = Some(copy);
    }
    Ok(inspection)
}

/// Where the header stands, or what the file looks like instead.
fn header(bytes: &[u8]) -> Result<usize, SealError> {
    let start = &bytes[..bytes.len().min(HEADER_WITHIN)];
    find(start, b"%PDF-")
        .ok_or_else(|| SealError::refused("document_not_pdf", format!("the file is not a PDF: {}", looks_like(bytes))))
}

/// What a file that is no PDF looks like, in words.
fn looks_like(bytes: &[u8]) -> &'static str {
    const MARKS: [(&[u8], &str); 11] = [
        (b"\x89PNG", "it looks like a PNG picture"),
        (b"\xff\xd8\xff", "it looks like a JPEG picture"),
        (b"GIF8", "it looks like a GIF picture"),
        (b"II*\0", "it looks like a TIFF picture"),
        (b"MM\0*", "it looks like a TIFF picture"),
        (b"RIFF", "it looks like a WebP picture or a media file"),
        (b"PK\x03\x04", "it looks like a ZIP archive or an Office document"),
        (b"\xd0\xcf\x11\xe0", "it looks like an old Office document"),
        (b"{\\rtf", "it looks like an RTF document"),
        (b"%!PS", "it looks like PostScript"),
        (b"\x1f\x8b", "it looks like a gzip archive"),
    ];
    if bytes.is_empty() {
        return "it is empty";
    }
    if let Some((_, what)) = MARKS.iter().find(|(mark, _)| bytes.starts_with(mark)) {
        return what;
    }
    let start = bytes[..bytes.len().min(HEADER_WITHIN)].to_ascii_lowercase();
    if find(&start, b"<!doctype html").or(find(&start, b"<html")).is_some() {
        return "it looks like an HTML page";
    }
    if start.trim_ascii_start().starts_with(b"<?xml") {
        return "it looks like XML";
    }
    if start.iter().all(|byte| *byte >= 0x20 || byte.is_ascii_whitespace()) {
        return "it looks like plain text";
    }
    "its kind is unknown"
}

/// What can be said without parsing: there are not too many objects, and the document's end is there. Answers where
/// it is; what follows may be padding, but not the beginning of a newer version that was cut off.
fn end(bytes: &[u8]) -> Result<usize, SealError> {
    let objects = bytes.windows(4).filter(|window| *window == b" obj").count();
    if objects > OBJECTS_MAX {
        return Err(too_many("objects", objects, OBJECTS_MAX));
    }
    let truncated = || {
        SealError::damaged("the document's end is missing: it was probably cut off; upload it again from its source")
    };
    let mut end = rfind(bytes, END).ok_or_else(truncated)? + END.len();
    let tail = &bytes[end - END.len().min(end)..];
    if find(tail, b"obj").or(find(tail, b"xref")).is_some() {
        return Err(truncated());
    }
    let before = &bytes[(end - END.len()).saturating_sub(START_WITHIN)..end];
    let start = rfind(before, b"startxref").ok_or_else(truncated)? + b"startxref".len();
    let digits = before[start..before.len() - END.len()].trim_ascii();
    let offset: Option<usize> = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    if offset.is_none_or(|offset| offset >= bytes.len()) {
        return Err(truncated());
    }
    // Line ends belong to the end marker.
    while bytes.get(end).is_some_and(|byte| matches!(byte, b'\r' | b'\n' | b' ')) {
        end += 1;
    }
    Ok(end)
}

fn too_many(what: &str, count: usize, max: usize) -> SealError {
    SealError::too_complex(format!("the document has {count} {what}; at most {max} are accepted"))
}

/// Opens a document with the parser that writes.
pub fn load(bytes: &[u8]) -> Result<Document, SealError> {
    let options = LoadOptions { max_decompressed_size: Some(INFLATED_BYTES_MAX), ..LoadOptions::default() };
    let document = Document::load_mem_with_options(bytes, options).map_err(|error| match error {
        lopdf::Error::InvalidPassword | lopdf::Error::Decryption(_) => needs_password(),
        lopdf::Error::Decompress(lopdf::DecompressError::MemoryLimitExceeded { .. }) => {
            SealError::too_complex("a part of the document inflates beyond all measure")
        }
        other => SealError::damaged(format!("the document's structure cannot be read ({other})")),
    })?;
    if document.trailer.has(b"Encrypt") {
        return Err(needs_password());
    }
    if document.objects.len() > OBJECTS_MAX {
        return Err(too_many("objects", document.objects.len(), OBJECTS_MAX));
    }
    Ok(document)
}

fn broken() -> SealError {
    SealError::damaged("the document's cross-references are broken")
}

fn needs_password() -> SealError {
    SealError::refused("document_encrypted", "the document needs a password to be opened")
}

/// The pages, if both parsers see the same ones: never is one page shown and another sealed.
fn agreed_pages(document: &Document, drawn: &Pdf) -> Result<Vec<Page>, SealError> {
    let ids: Vec<ObjectId> = document.page_iter().collect();
    let shown = drawn.pages();
    if ids.is_empty() || shown.is_empty() {
        return Err(SealError::damaged("the document has no pages that can be read"));
    }
    if ids.len() > PAGES_MAX || shown.len() > PAGES_MAX {
        return Err(too_many("pages", ids.len().max(shown.len()), PAGES_MAX));
    }
    let unique: BTreeSet<_> = ids.iter().collect();
    if ids.len() != shown.len() || unique.len() != ids.len() {
        return Err(SealError::damaged("the document's pages can be read in more than one way"));
    }
    let mut pages = Vec::with_capacity(ids.len());
    for (index, (id, page)) in ids.iter().zip(shown.iter()).enumerate() {
        let number = index + 1;
        let on_page = |error| match error {
            SealError::Refused { code, detail } => {
                SealError::Refused { code, detail: format!("page {number}: {detail}") }
            }
            other => other,
        };
        let written = Geometry::of_lopdf(document, *id).map_err(on_page)?;
        let same_object =
            page.raw().obj_id().is_none_or(|object| (object.obj_number, object.gen_number) == (id.0, i32::from(id.1)));
        if !same_object || !written.agrees(&Geometry::of_hayro(page).map_err(on_page)?) {
            return Err(SealError::damaged(format!("page {number} can be read in more than one way")));
        }
        pages.push(written.page());
    }
    Ok(pages)
}

/// Refuses what carries a signature: stamping would break it.
fn refuse_signed(document: &Document) -> Result<(), SealError> {
    let catalog = catalog(document)?;
    if let Ok(permissions) = catalog.get_deref(b"Perms", document).and_then(Object::as_dict)
        && let Ok(signature) = permissions.get_deref(b"DocMDP", document).and_then(Object::as_dict)
    {
        if certified_without_changes(document, signature) {
            return Err(SealError::refused("document_certified", "the document is certified and permits no changes"));
        }
        return Err(signed());
    }
    let has_value = |field: &Dictionary| field.get_deref(b"V", document).is_ok_and(|value| !value.is_null());
    // A signature's field may stand on a page and not in the form.
    let mut signed_field = document.page_iter().any(|page| {
        document.get_page_annotations(page).is_ok_and(|annotations| {
            annotations.iter().any(|annotation| {
                annotation.get_deref(b"FT", document).and_then(Object::as_name).is_ok_and(|kind| kind == b"Sig")
                    && has_value(annotation)
            })
        })
    });
    each_field(document, |_, kind, field| {
        signed_field |= kind == b"Sig" && has_value(field);
    });
    if signed_field { Err(signed()) } else { Ok(()) }
}

fn signed() -> SealError {
    SealError::refused(
        "document_signed",
        "the document is already signed, and filling it in would break that signature",
    )
}

fn certified_without_changes(document: &Document, signature: &Dictionary) -> bool {
    let references = signature.get_deref(b"Reference", document).and_then(Object::as_array);
    references.is_ok_and(|references| {
        references.iter().any(|reference| {
            let parameters = document
                .dereference(reference)
                .and_then(|(_, reference)| reference.as_dict())
                .and_then(|reference| reference.get_deref(b"TransformParams", document))
                .and_then(Object::as_dict);
            parameters
                .is_ok_and(|values| values.get_deref(b"P", document).and_then(Object::as_i64).is_ok_and(|p| p == 1))
        })
    })
}

/// Names of the fonts that the document uses and does not carry, beside the fourteen that every reader has.
fn fonts_missing(document: &Document) -> Vec<String> {
    let mut missing = BTreeSet::new();
    for font in document.objects.values().filter_map(|object| object.as_dict().ok()) {
        let kind = font.get_deref(b"Subtype", document).and_then(Object::as_name).unwrap_or_default();
        if !font.has_type(b"Font") || matches!(kind, b"Type0" | b"Type3") || missing.len() >= FONTS_MAX {
            continue;
        }
        let descriptor = font.get_deref(b"FontDescriptor", document).and_then(Object::as_dict);
        let carried = [b"FontFile".as_slice(), b"FontFile2", b"FontFile3"];
        if descriptor.is_ok_and(|descriptor| carried.iter().any(|key| descriptor.has(key))) {
            continue;
        }
        if let Ok(name) = font.get_deref(b"BaseFont", document).and_then(Object::as_name) {
            let name: String = String::from_utf8_lossy(name).chars().take(FONT_NAME_MAX).collect();
            if !STANDARD_FONTS.iter().any(|family| name.starts_with(family)) {
                missing.insert(name);
            }
        }
    }
    missing.into_iter().collect()
}

/// The form's fields, as they are called before the form is flattened.
fn form(document: &Document) -> Result<Vec<FormField>, SealError> {
    let Ok(form) = catalog(document)?.get_deref(b"AcroForm", document).and_then(Object::as_dict) else {
        return Ok(Vec::new());
    };
    if form.get_deref(b"XFA", document).is_ok_and(|value| !value.is_null()) {
        return Err(SealError::refused(
            "document_xfa",
            "the document is an XFA form, whose pages are made by Adobe's programs only",
        ));
    }
    let mut fields = Vec::new();
    each_field(document, |name, kind, _| {
        let kind = match kind {
            b"Tx" => "text",
            b"Btn" => "checkbox",
            b"Ch" => "choice",
            b"Sig" => "signature",
            _ => "other",
        };
        fields.push(FormField { name: name.to_owned(), kind: kind.to_owned() });
    });
    Ok(fields)
}

/// Calls with full name, type and dictionary of each field that has one. Cycles and depth are bounded.
fn each_field(document: &Document, mut with: impl FnMut(&str, &[u8], &Dictionary)) {
    let fields = document
        .catalog()
        .and_then(|catalog| catalog.get_deref(b"AcroForm", document))
        .and_then(Object::as_dict)
        .and_then(|form| form.get_deref(b"Fields", document))
        .and_then(Object::as_array);
    let Ok(fields) = fields else { return };
    let mut seen = BTreeSet::new();
    let mut left = FIELDS_MAX;
    let mut stack: Vec<(&Object, String, &[u8], usize)> =
        fields.iter().rev().map(|field| (field, String::new(), b"".as_slice(), 0)).collect();
    while let Some((object, parent, inherited, depth)) = stack.pop() {
        if left == 0 || depth > FIELD_DEPTH_MAX || object.as_reference().is_ok_and(|id| !seen.insert(id)) {
            continue;
        }
        left -= 1;
        let Ok(field) = document.dereference(object).and_then(|(_, object)| object.as_dict()) else { continue };
        let own = field.get_deref(b"T", document).ok().and_then(|name| lopdf::decode_text_string(name).ok());
        let name = match own {
            Some(own) if parent.is_empty() => own,
            Some(own) => format!("{parent}.{own}"),
            None => parent,
        };
        let kind = field.get_deref(b"FT", document).and_then(Object::as_name).unwrap_or(inherited);
        let kids = field.get_deref(b"Kids", document).and_then(Object::as_array);
        if field.has(b"T") || kids.is_err() {
            with(&name, kind, field);
        }
        for kid in kids.into_iter().flatten().rev() {
            stack.push((kid, name.clone(), kind, depth + 1));
        }
    }
}

fn catalog(document: &Document) -> Result<&Dictionary, SealError> {
    document.catalog().map_err(|_| SealError::damaged("the document has no catalog"))
}

/// The document as it is now, written anew and read again: with the same pages, or not at all.
fn rewritten(document: &mut Document, pages: &[Page]) -> Result<Vec<u8>, SealError> {
    let mut copy = Vec::new();
    document.save_to(&mut copy).map_err(|error| SealError::fault(format!("writing the working copy: {error}")))?;
    let drawn = render::open(copy)?;
    let again = load(drawn.data().as_ref())?;
    if again.xref_recovery.is_some() {
        return Err(broken());
    }
    if agreed_pages(&again, &drawn)? != pages {
        return Err(SealError::damaged("the document changes its pages when it is written anew"));
    }
    Ok(drawn.data().as_ref().to_vec())
}

/// Whether a decrypted or repaired copy shows what the original shows.
fn same_pictures(original: &Pdf, copy: &[u8]) -> Result<(), SealError> {
    let copy = render::open(copy.to_vec())?;
    if render::same_content(original, &copy) {
        return Ok(());
    }
    Err(SealError::damaged("the document changes what it shows when it is written anew"))
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

fn rfind(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).rposition(|window| window == needle)
}
