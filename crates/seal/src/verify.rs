//! Strict verification of the signatures in a PDF: what is not covered to the last byte, or not understood, is not valid.

use lopdf::xref::XrefEntry;
use lopdf::{Dictionary, Document, Object, ObjectId};
use serde::{Deserialize, Serialize};

use crate::key::hex;
use crate::verify_cms::{self, CmsReport};

/// The most signatures that are looked at in one file.
pub const SIGNATURES_MAX: usize = 64;
/// The most fields that are looked at in one form.
const FIELDS_MAX: usize = 10_000;

/// The answer for a whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every signature is sound and the last one covers the file to its end.
    Valid,
    /// At least one signature, or the file around it, is not as it was signed.
    Invalid,
    /// The file carries no signature.
    None,
}

/// What verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The answer.
    pub verdict: Verdict,
    /// Whether the last signature covers the file from its first byte to its last, but for its own gap.
    pub whole_file: bool,
    /// Whether every signature leads to a certificate that was given as trusted; absent if none was given.
    pub trusted: Option<bool>,
    /// Why, in a sentence.
    pub reason: String,
    /// The signatures in the order of what they cover.
    pub signatures: Vec<SignatureReport>,
}

/// What verification found about one signature.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureReport {
    /// Sound: digest, signature, certificate reference and ByteRange are right.
    pub sound: bool,
    /// What is wrong, if it is not.
    pub problem: Option<String>,
    /// `/ByteRange`.
    pub byte_range: Vec<i64>,
    /// Whether it covers the file to its end.
    pub whole_file: bool,
    /// `/SubFilter`.
    pub sub_filter: String,
    /// `/Name`.
    pub name: Option<String>,
    /// `/Reason`.
    pub reason: Option<String>,
    /// `/Location`.
    pub location: Option<String>,
    /// `/M` as it stands there: the signer's own claim.
    pub claimed_time: Option<String>,
    /// The same in UTC milliseconds.
    pub claimed_time_ms: Option<i64>,
    /// The signer's certificate and whether it is trusted.
    pub certificate: Option<CmsReport>,
}

/// Verifies every signature in a file. `trust` holds certificates as DER; if empty, only soundness is judged.
///
/// A certificate's validity is judged at the time that the signature claims, since without a timestamp there is no other.
pub fn verify(bytes: &[u8], trust: &[Vec<u8>]) -> Report {
    let document = match Document::load_mem(bytes) {
        Ok(document) => document,
        Err(error) => return invalid(format!("The file cannot be read as a PDF ({error})."), Vec::new()),
    };
    let found = match signature_dictionaries(&document) {
        Ok(found) => found,
        Err(reason) => return invalid(reason, Vec::new()),
    };
    if found.is_empty() {
        let reason = "The file carries no signature.".to_owned();
        return Report { verdict: Verdict::None, whole_file: false, trusted: None, reason, signatures: Vec::new() };
    }
    let mut signatures: Vec<SignatureReport> = found.iter().map(|id| judge(bytes, &document, *id, trust)).collect();
    signatures.sort_by_key(|signature| signature.byte_range.get(2).copied());

    if let Some(unsound) = signatures.iter().find(|signature| !signature.sound) {
        let reason = unsound.problem.clone().unwrap_or_default();
        return invalid(reason, signatures);
    }
    if document.xref_recovery.is_some() {
        return invalid("The file is damaged: its cross-references had to be repaired to read it.".into(), signatures);
    }
    let mut ends = signatures.iter().map(|signature| signature.byte_range.get(2).copied());
    let distinct = ends.clone().collect::<std::collections::BTreeSet<_>>().len() == signatures.len();
    let last_covers = signatures.last().is_some_and(|signature| signature.whole_file);
    if !distinct || ends.next().is_none() {
        return invalid("Two signatures claim the same bytes.".into(), signatures);
    }
    if !last_covers {
        return invalid("Something was added after the last signature.".into(), signatures);
    }
    let trusted = (!trust.is_empty()).then(|| {
        signatures
            .iter()
            .all(|signature| signature.certificate.as_ref().is_some_and(|found| found.trusted == Some(true)))
    });
    if trusted == Some(false) {
        let reason = "The signature is sound, but its certificate does not lead to one that is trusted.".to_owned();
        return Report { verdict: Verdict::Invalid, whole_file: true, trusted, reason, signatures };
    }
    let reason = match signatures.len() {
        1 => "The file is as it was sealed, to the last byte.".to_owned(),
        count => format!(
            "All {count} signatures are sound and the last covers the file to its last byte; what was changed between them is not judged."
        ),
    };
    Report { verdict: Verdict::Valid, whole_file: true, trusted, reason, signatures }
}

fn invalid(reason: String, signatures: Vec<SignatureReport>) -> Report {
    let whole_file = signatures.last().is_some_and(|signature| signature.whole_file);
    Report { verdict: Verdict::Invalid, whole_file, trusted: None, reason, signatures }
}

/// Every object that is, or is used as, a signature: those of the form, and those that nobody points at any more.
fn signature_dictionaries(document: &Document) -> Result<Vec<ObjectId>, String> {
    let mut found = Vec::new();
    for (id, object) in &document.objects {
        let Ok(dictionary) = object.as_dict() else { continue };
        let typed = matches!(dictionary.get_type(), Ok(name) if name == b"Sig" || name == b"DocTimeStamp");
        if typed || dictionary.has(b"ByteRange") {
            found.push(*id);
        }
    }
    // A field whose value is no signature, or no object of its own, hides what a viewer would show as signed.
    let fields = document.objects.values().filter_map(|object| object.as_dict().ok());
    for field in
        fields.filter(|field| matches!(field.get(b"FT").and_then(Object::as_name), Ok(b"Sig"))).take(FIELDS_MAX)
    {
        match field.get(b"V") {
            Err(_) => {}
            Ok(Object::Reference(id)) if found.contains(id) => {}
            Ok(_) => return Err("A signature field holds something that is no signature.".into()),
        }
    }
    if found.len() > SIGNATURES_MAX {
        return Err(format!("The file has more than {SIGNATURES_MAX} signatures."));
    }
    Ok(found)
}

fn judge(bytes: &[u8], document: &Document, id: ObjectId, trust: &[Vec<u8>]) -> SignatureReport {
    let mut report = SignatureReport::default();
    let Ok(dictionary) = document.get_dictionary(id) else {
        report.problem = Some("A signature is not a dictionary.".into());
        return report;
    };
    let text = |key: &[u8]| dictionary.get(key).and_then(Object::as_str).ok().map(decode_text);
    report.sub_filter = dictionary
        .get(b"SubFilter")
        .and_then(Object::as_name)
        .map(|n| String::from_utf8_lossy(n).into())
        .unwrap_or_default();
    (report.name, report.reason, report.location) = (text(b"Name"), text(b"Reason"), text(b"Location"));
    report.claimed_time = text(b"M");
    report.claimed_time_ms = report.claimed_time.as_deref().and_then(parse_pdf_date);
    report.byte_range = dictionary
        .get(b"ByteRange")
        .and_then(Object::as_array)
        .map(|range| range.iter().map(|item| item.as_i64().unwrap_or(-1)).collect())
        .unwrap_or_default();

    let gap = match gap(bytes, document, id, dictionary, &report.byte_range) {
        Ok(gap) => gap,
        Err(problem) => {
            report.problem = Some(problem);
            return report;
        }
    };
    report.whole_file = gap.covered_to == bytes.len();
    let attributes_required = report.sub_filter == "ETSI.CAdES.detached";
    if !attributes_required && report.sub_filter != "adbe.pkcs7.detached" {
        report.problem = Some(format!("The signature's format '{}' is not one that is understood.", report.sub_filter));
        return report;
    }
    let signed = [&bytes[..gap.start], &bytes[gap.end..gap.covered_to]];
    match verify_cms::verify(&gap.cms, &signed, attributes_required, report.claimed_time_ms, trust) {
        Ok(certificate) => {
            report.certificate = Some(certificate);
            report.sound = true;
        }
        Err(problem) => report.problem = Some(problem),
    }
    report
}

struct Gap {
    start: usize,
    end: usize,
    covered_to: usize,
    cms: Vec<u8>,
}

/// ByteRange is exactly `[0 a b c]`; from a to b stands this dictionary's own /Contents, hex, and nothing else.
fn gap(bytes: &[u8], document: &Document, id: ObjectId, dictionary: &Dictionary, range: &[i64]) -> Result<Gap, String> {
    let &[0, a, b, c] = range else {
        return Err("The signature's ByteRange is not [0 a b c].".into());
    };
    let offsets = (usize::try_from(a), usize::try_from(b), usize::try_from(c));
    let (Ok(start), Ok(end), Ok(tail)) = offsets else {
        return Err("The signature's ByteRange has a negative number.".into());
    };
    let covered_to = end.checked_add(tail).filter(|to| *to <= bytes.len());
    let Some(covered_to) = covered_to else {
        return Err("The signature's ByteRange reaches beyond the file.".into());
    };
    if end < start.saturating_add(2) || end > covered_to || bytes[start] != b'<' || bytes[end - 1] != b'>' {
        return Err("The gap in the signature's ByteRange is not the signature.".into());
    }
    let digits = &bytes[start + 1..end - 1];
    let padded = decode_hex(digits).ok_or("The gap in the signature's ByteRange holds more than the signature.")?;
    let contents = dictionary.get(b"Contents").and_then(Object::as_str).map_err(|_| "A signature is empty.")?;
    if contents != padded {
        return Err("The gap in the signature's ByteRange is not the signature's own.".into());
    }
    if !stands_in_object(bytes, document, id, start) {
        return Err("The gap in the signature's ByteRange lies outside of the signature.".into());
    }
    let length = der_length(&padded).ok_or("The signature is not DER.")?;
    if padded[length..].iter().any(|byte| *byte != 0) {
        return Err("Something is hidden behind the signature, in its gap.".into());
    }
    Ok(Gap { start, end, covered_to, cms: padded[..length].to_vec() })
}

/// Whether the gap is the /Contents that stands in this very object, at its place in the file.
fn stands_in_object(bytes: &[u8], document: &Document, id: ObjectId, start: usize) -> bool {
    let Some(XrefEntry::Normal { offset, .. }) = document.reference_table.get(id.0) else { return false };
    let offset = *offset as usize;
    if offset >= start {
        return false;
    }
    let before = &bytes[offset..start];
    let object = format!("{} {} obj", id.0, id.1);
    let begins = before.trim_ascii_start().starts_with(object.as_bytes());
    let named = before.trim_ascii_end().ends_with(b"/Contents");
    begins && named && !contains(before, b"endobj")
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn decode_hex(digits: &[u8]) -> Option<Vec<u8>> {
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks_exact(2)
        .map(|pair| {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            u8::try_from(high * 16 + low).ok()
        })
        .collect()
}

/// The length of the first DER value: its header and its content.
fn der_length(bytes: &[u8]) -> Option<usize> {
    let first = usize::from(*bytes.get(1)?);
    let (header, content) = if first < 0x80 {
        (2, first)
    } else {
        let count = first - 0x80;
        if count == 0 || count > 4 {
            return None;
        }
        (2 + count, bytes.get(2..2 + count)?.iter().fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte)))
    };
    header.checked_add(content).filter(|length| *length <= bytes.len())
}

/// A text string: UTF-16 or UTF-8 with its mark, else Latin-1, which PDFDocEncoding mostly is.
fn decode_text(bytes: &[u8]) -> String {
    match bytes {
        [0xfe, 0xff, rest @ ..] => {
            let units: Vec<u16> = rest.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            String::from_utf16_lossy(&units)
        }
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        _ => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// `D:YYYYMMDDHHmmSS` with `Z`, nothing, or an offset such as `+01'00'`.
fn parse_pdf_date(text: &str) -> Option<i64> {
    let rest = text.strip_prefix("D:")?;
    let number = |from: usize, to: usize, default: u16| match rest.get(from..to) {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse::<u16>().ok(),
        Some(_) => None,
        None => Some(default),
    };
    let small = |value: Option<u16>| value.and_then(|value| u8::try_from(value).ok());
    let date = der::DateTime::new(
        number(0, 4, 0)?,
        small(number(4, 6, 1))?,
        small(number(6, 8, 1))?,
        small(number(8, 10, 0))?,
        small(number(10, 12, 0))?,
        small(number(12, 14, 0))?,
    )
    .ok()?;
    let local = i64::try_from(date.unix_duration().as_millis()).ok()?;
    let zone = rest.get(14..).unwrap_or_default();
    let sign = match zone.bytes().next() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return Some(local),
    };
    let digits: String = zone.chars().filter(char::is_ascii_digit).collect();
    let part = |from: usize| digits.get(from..from + 2).and_then(|two| two.parse::<i64>().ok()).unwrap_or(0);
    Some(local - sign * (part(0) * 60 + part(2)) * 60_000)
}

/// Formats a report's bytes for a person: the SHA-256 of a whole file, as the audit trail has it.
pub fn file_digest(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex(&sha2::Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_with_their_offsets() {
        assert_eq!(parse_pdf_date("D:20260131120000Z"), Some(1_769_860_800_000));
        assert_eq!(parse_pdf_date("D:20260131130000+01'00'"), Some(1_769_860_800_000));
        assert_eq!(parse_pdf_date("D:20260131"), Some(1_769_817_600_000));
        assert_eq!(parse_pdf_date("yesterday"), None);
    }

    #[test]
    fn a_file_without_a_signature_has_no_verdict_and_rubbish_is_invalid() {
        assert_eq!(verify(b"not a pdf", &[]).verdict, Verdict::Invalid);
    }
}
