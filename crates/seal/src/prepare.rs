//! Reserves the signature's gap: an incremental revision with a signature field, whose ByteRange covers all but the gap.

use lopdf::Writer;
use lopdf::xref::XrefType;
use lopdf::{Dictionary, Document, Object, ObjectId, StringFormat};
use sha2::{Digest, Sha256};
use std::io::Write as _;
use std::time::Duration;

use crate::renumber::without_generations;
use crate::types::{Prepared, SealError, SignatureInfo, WORK_BYTES_MAX};

/// Room for the CMS: about 1 KiB for our own certificate, the rest for chains and, later, timestamps.
pub const SIGNATURE_BYTES_MAX: usize = 8 * 1024;
/// Each offset in ByteRange gets this many columns, so that filling it in moves nothing.
const OFFSET_COLUMNS: usize = 10;
/// A classic cross-reference entry has ten digits for an offset; files are far smaller (see `WORK_BYTES_MAX`).
const OFFSET_MAX: u64 = 9_999_999_999;
/// Widget: printed, and locked against edits (ISO 32000-2, table 167).
const WIDGET_FLAGS: i64 = 4 | 128;
/// SignaturesExist and AppendOnly (ISO 32000-2, table 225).
const SIG_FLAGS: i64 = 3;
/// How many of a form's fields are asked for their names.
const FORM_NAMES_MAX: usize = 10_000;

/// Appends the revision that holds the signature field, with an empty gap.
pub fn prepare(pdf: Vec<u8>, info: &SignatureInfo) -> Result<Prepared, SealError> {
    if pdf.len() as u64 > WORK_BYTES_MAX.min(OFFSET_MAX) {
        return Err(SealError::too_complex("the document has grown too large to be sealed"));
    }
    let mut pdf = pdf;
    let mut document = load(&pdf)?;
    // A file that was read by repairing it has no revision to point at: write it anew, then it has.
    if document.xref_start == 0 || document.xref_recovery.is_some() || !ends_cleanly(&pdf) {
        without_generations(&mut document);
        let mut rewritten = Vec::with_capacity(pdf.len());
        document
            .save_to(&mut rewritten)
            .map_err(|error| SealError::fault(format!("could not rewrite the document: {error}")))?;
        rewritten.push(b'\n');
        pdf = rewritten;
        document = load(&pdf)?;
    }
    Revision::new(document, pdf).write(info)
}

fn load(pdf: &[u8]) -> Result<Document, SealError> {
    let document =
        Document::load_mem(pdf).map_err(|error| SealError::damaged(format!("the file cannot be read: {error}")))?;
    if document.is_encrypted() || document.was_encrypted() {
        return Err(SealError::refused("document_encrypted", "an encrypted file cannot be sealed; decrypt it first"));
    }
    Ok(document)
}

/// Whether nothing but line ends follows the last `%%EOF`: a revision is appended to an end that is one.
fn ends_cleanly(pdf: &[u8]) -> bool {
    pdf.trim_ascii_end().ends_with(b"%%EOF")
}

/// The objects that the new revision writes.
struct Revision {
    document: Document,
    bytes: Vec<u8>,
    offsets: Vec<(ObjectId, usize)>,
    next_id: u32,
}

impl Revision {
    fn new(document: Document, mut bytes: Vec<u8>) -> Self {
        if bytes.last() != Some(&b'\n') {
            bytes.push(b'\n');
        }
        let size = document.trailer.get(b"Size").and_then(Object::as_i64).unwrap_or(0);
        let next_id = u32::try_from(size).unwrap_or(0).max(document.max_id.saturating_add(1));
        Self { document, bytes, offsets: Vec::new(), next_id }
    }

    fn write(mut self, info: &SignatureInfo) -> Result<Prepared, SealError> {
        let damaged = |what: &str| SealError::damaged(format!("the file has no {what}; export it again as PDF"));
        let catalog_id =
            self.document.trailer.get(b"Root").and_then(Object::as_reference).map_err(|_| damaged("catalog"))?;
        let page_id = self.document.page_iter().next().ok_or_else(|| damaged("page"))?;
        let (signature_id, field_id) = ((self.take_id()?, 0), (self.take_id()?, 0));

        let name = self.field_name(catalog_id);
        let field = Dictionary::from_iter([
            ("Type", Object::Name(b"Annot".to_vec())),
            ("Subtype", Object::Name(b"Widget".to_vec())),
            ("FT", Object::Name(b"Sig".to_vec())),
            ("T", text_string(&name)),
            ("V", Object::Reference(signature_id)),
            ("P", Object::Reference(page_id)),
            ("F", Object::Integer(WIDGET_FLAGS)),
            ("Rect", Object::Array(vec![Object::Integer(0); 4])),
        ]);
        let page = self.page_with(page_id, field_id)?;
        let catalog = self.catalog_with(catalog_id, field_id)?;
        self.object(catalog_id, &Object::Dictionary(catalog))?;
        self.object(page_id, &Object::Dictionary(page))?;
        self.object(field_id, &Object::Dictionary(field))?;
        let (range_at, gap_start, gap_end) = self.signature(signature_id, info)?;
        self.cross_references(catalog_id)?;

        let tail = self.bytes.len() - gap_end;
        let numbers = format!("[0 {gap_start:>OFFSET_COLUMNS$} {gap_end:>OFFSET_COLUMNS$} {tail:>OFFSET_COLUMNS$}]");
        self.bytes[range_at..range_at + numbers.len()].copy_from_slice(numbers.as_bytes());
        Ok(Prepared { bytes: self.bytes, gap_start, gap_end })
    }

    fn take_id(&mut self) -> Result<u32, SealError> {
        let id = self.next_id;
        self.next_id = id.checked_add(1).ok_or_else(|| SealError::damaged("the file has too many objects"))?;
        Ok(id)
    }

    /// "Seal", or the first "Seal 2", "Seal 3" … that no field of the form has.
    fn field_name(&self, catalog_id: ObjectId) -> String {
        let mut names = std::collections::BTreeSet::new();
        let fields = self
            .document
            .get_dictionary(catalog_id)
            .and_then(|catalog| catalog.get_deref(b"AcroForm", &self.document))
            .and_then(Object::as_dict)
            .and_then(|form| form.get_deref(b"Fields", &self.document))
            .and_then(Object::as_array);
        for field in fields.into_iter().flatten().take(FORM_NAMES_MAX) {
            let name = self.document.dereference(field).and_then(|(_, field)| field.as_dict()?.get(b"T")?.as_str());
            names.extend(name.ok().map(<[u8]>::to_vec));
        }
        let taken = |name: &String| match text_string(name) {
            Object::String(bytes, _) => names.contains(&bytes),
            _ => false,
        };
        std::iter::once("Seal".to_owned())
            .chain((2..).map(|n| format!("Seal {n}")))
            .find(|name| !taken(name))
            .unwrap_or_default()
    }

    fn page_with(&self, page_id: ObjectId, field_id: ObjectId) -> Result<Dictionary, SealError> {
        let mut page = self
            .document
            .get_dictionary(page_id)
            .map_err(|_| SealError::damaged("the first page is not a dictionary"))?
            .clone();
        let mut annotations =
            page.get_deref(b"Annots", &self.document).and_then(Object::as_array).cloned().unwrap_or_default();
        annotations.push(Object::Reference(field_id));
        page.set("Annots", annotations);
        Ok(page)
    }

    fn catalog_with(&self, catalog_id: ObjectId, field_id: ObjectId) -> Result<Dictionary, SealError> {
        let mut catalog = self
            .document
            .get_dictionary(catalog_id)
            .map_err(|_| SealError::damaged("the file's catalog is not a dictionary"))?
            .clone();
        let mut form =
            catalog.get_deref(b"AcroForm", &self.document).and_then(Object::as_dict).cloned().unwrap_or_default();
        let mut fields =
            form.get_deref(b"Fields", &self.document).and_then(Object::as_array).cloned().unwrap_or_default();
        fields.push(Object::Reference(field_id));
        form.set("Fields", fields);
        form.set("SigFlags", SIG_FLAGS);
        // Asking the viewer to redraw fields would change what was sealed.
        form.remove(b"NeedAppearances");
        catalog.set("AcroForm", form);

        // ETSI EN 319 142-1, 5.6: the subfilter is not of PDF 1.7, so the file names the extension that has it.
        let mut extensions =
            catalog.get_deref(b"Extensions", &self.document).and_then(Object::as_dict).cloned().unwrap_or_default();
        if !extensions.has(b"ESIC") {
            let level = Dictionary::from_iter([
                ("BaseVersion", Object::Name(b"1.7".to_vec())),
                ("ExtensionLevel", Object::Integer(1)),
            ]);
            extensions.set("ESIC", level);
            catalog.set("Extensions", extensions);
        }
        Ok(catalog)
    }

    fn object(&mut self, id: ObjectId, object: &Object) -> Result<(), SealError> {
        self.begin(id);
        self.value(object)?;
        self.bytes.extend_from_slice(b"\nendobj\n");
        Ok(())
    }

    fn begin(&mut self, id: ObjectId) {
        self.offsets.push((id, self.bytes.len()));
        self.bytes.extend_from_slice(format!("{} {} obj\n", id.0, id.1).as_bytes());
    }

    fn value(&mut self, object: &Object) -> Result<(), SealError> {
        Writer::write_object(&mut self.bytes, object)
            .map_err(|error| SealError::fault(format!("could not write an object: {error}")))
    }

    /// Writes the signature's dictionary by hand, since its places have to be known to the byte.
    fn signature(&mut self, id: ObjectId, info: &SignatureInfo) -> Result<(usize, usize, usize), SealError> {
        self.begin(id);
        self.bytes.extend_from_slice(b"<</Type/Sig/Filter/Adobe.PPKLite/SubFilter/ETSI.CAdES.detached\n/ByteRange ");
        let range_at = self.bytes.len();
        let columns = "[0 ".len() + 3 * OFFSET_COLUMNS + "  ]".len();
        self.bytes.resize(range_at + columns, b' ');
        self.bytes.extend_from_slice(b"\n/Contents ");
        let gap_start = self.bytes.len();
        self.bytes.push(b'<');
        self.bytes.resize(gap_start + 1 + 2 * SIGNATURE_BYTES_MAX, b'0');
        self.bytes.push(b'>');
        let gap_end = self.bytes.len();
        let entries = [
            ("\n/M ", pdf_date(info.time_ms)?),
            ("\n/Name ", info.name.clone()),
            ("\n/Reason ", info.reason.clone()),
            ("\n/Location ", info.location.clone()),
        ];
        for (key, text) in entries {
            if !text.is_empty() {
                self.bytes.extend_from_slice(key.as_bytes());
                self.value(&text_string(&text))?;
            }
        }
        self.bytes.extend_from_slice(b">>\nendobj\n");
        Ok((range_at, gap_start, gap_end))
    }

    /// The same kind of cross-references as the file has, pointing back at the ones before.
    fn cross_references(&mut self, catalog_id: ObjectId) -> Result<(), SealError> {
        let mut trailer = Dictionary::new();
        trailer.set("Root", Object::Reference(catalog_id));
        if let Ok(info) = self.document.trailer.get(b"Info") {
            trailer.set("Info", info.clone());
        }
        trailer.set("ID", self.file_identifier());
        trailer.set("Prev", i64::try_from(self.document.xref_start).unwrap_or(i64::MAX));
        let start = self.bytes.len();
        if matches!(self.document.reference_table.cross_reference_type, XrefType::CrossReferenceStream) {
            self.cross_reference_stream(trailer, start)?;
        } else {
            self.cross_reference_table(trailer)?;
        }
        self.bytes.extend_from_slice(format!("startxref\n{start}\n%%EOF\n").as_bytes());
        Ok(())
    }

    fn cross_reference_table(&mut self, mut trailer: Dictionary) -> Result<(), SealError> {
        self.offsets.sort_unstable();
        let mut table = b"xref\n".to_vec();
        for run in runs(&self.offsets) {
            let _ = writeln!(table, "{} {}", run[0].0.0, run.len());
            for ((_, generation), offset) in run {
                let _ = write!(table, "{offset:010} {generation:05} n\r\n");
            }
        }
        self.bytes.append(&mut table);
        trailer.set("Size", i64::from(self.next_id));
        self.bytes.extend_from_slice(b"trailer\n");
        self.value(&Object::Dictionary(trailer))?;
        self.bytes.push(b'\n');
        Ok(())
    }

    fn cross_reference_stream(&mut self, mut trailer: Dictionary, start: usize) -> Result<(), SealError> {
        let id = (self.take_id()?, 0);
        self.offsets.push((id, start));
        self.offsets.sort_unstable();
        let (mut index, mut content) = (Vec::new(), Vec::new());
        for run in runs(&self.offsets) {
            index.extend([Object::Integer(i64::from(run[0].0.0)), Object::Integer(run.len() as i64)]);
            for ((_, generation), offset) in run {
                content.push(1);
                content.extend_from_slice(&(*offset as u64).to_be_bytes()[3..]);
                content.extend_from_slice(&generation.to_be_bytes());
            }
        }
        trailer.set("Type", Object::Name(b"XRef".to_vec()));
        trailer.set("Size", i64::from(self.next_id));
        trailer.set("Index", index);
        trailer.set("W", vec![Object::Integer(1), Object::Integer(5), Object::Integer(2)]);
        trailer.set("Length", content.len() as i64);
        self.bytes.extend_from_slice(format!("{} 0 obj\n", id.0).as_bytes());
        self.value(&Object::Dictionary(trailer))?;
        self.bytes.extend_from_slice(b"\nstream\n");
        self.bytes.append(&mut content);
        self.bytes.extend_from_slice(b"\nendstream\nendobj\n");
        Ok(())
    }

    /// The first half stays what it was, the second says which revision this is (ISO 32000-2, 14.4).
    fn file_identifier(&self) -> Vec<Object> {
        let now = Sha256::digest(&self.bytes)[..16].to_vec();
        let first = self
            .document
            .trailer
            .get_deref(b"ID", &self.document)
            .and_then(Object::as_array)
            .ok()
            .and_then(|id| id.first()?.as_str().ok())
            .map_or_else(|| now.clone(), <[u8]>::to_vec);
        [first, now].map(|half| Object::String(half, StringFormat::Hexadecimal)).to_vec()
    }
}

/// Splits sorted objects into runs of consecutive numbers.
fn runs(offsets: &[(ObjectId, usize)]) -> impl Iterator<Item = &[(ObjectId, usize)]> {
    offsets.chunk_by(|a, b| a.0.0.checked_add(1) == Some(b.0.0))
}

/// A text string: ASCII as it is, everything else as UTF-16 with its mark (ISO 32000-2, 7.9.2.2).
pub(crate) fn text_string(text: &str) -> Object {
    if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Object::String(text.as_bytes().to_vec(), StringFormat::Literal);
    }
    let mut bytes = vec![0xfe, 0xff];
    bytes.extend(text.encode_utf16().flat_map(u16::to_be_bytes));
    Object::String(bytes, StringFormat::Hexadecimal)
}

/// `D:20260131235959Z`.
pub(crate) fn pdf_date(time_ms: i64) -> Result<String, SealError> {
    let time = u64::try_from(time_ms)
        .ok()
        .and_then(|ms| der::DateTime::from_unix_duration(Duration::from_millis(ms)).ok())
        .ok_or_else(|| SealError::fault("the time of the seal is out of range"))?;
    Ok(format!(
        "D:{:04}{:02}{:02}{:02}{:02}{:02}Z",
        time.year(),
        time.month(),
        time.day(),
        time.hour(),
        time.minutes(),
        time.seconds()
    ))
}
