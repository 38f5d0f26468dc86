//! The certificate of completion: who signed what, when and how, and how to verify it, on A4.

use crate::sheet::{A4, Color, Margins, Sheet, styles::style};
use crate::text::{Align, Face, Style};
use crate::types::{Certificate, CertificateDocument, CertificateMail, CertificateRecipient, SealError};

const INK: Color = (27, 31, 40);
const QUIET: Color = (101, 109, 122);
const BLUE: Color = (22, 62, 110);
const LINE: Color = (205, 211, 221);
const PALE: Color = (244, 246, 250);
const GREEN: Color = (20, 108, 67);
const PALE_GREEN: Color = (230, 244, 236);

const MARGIN: f32 = 54.0;
const LABEL_WIDTH: f32 = 112.0;
const GAP: f32 = 10.0;
/// The box in which a signature is shown.
const SIGNATURE: (f32, f32) = (168.0, 52.0);

const TITLE: Style = style(Face::SerifBold, 25.0, 1.15, Align::Left);
const SUBJECT: Style = style(Face::Serif, 12.5, 1.3, Align::Left);
const HEADING: Style = style(Face::SansBold, 12.0, 1.3, Align::Left);
const NAME: Style = style(Face::SansBold, 10.0, 1.3, Align::Left);
const LABEL: Style = style(Face::Sans, 8.4, 1.4, Align::Left);
const VALUE: Style = style(Face::Sans, 8.6, 1.4, Align::Left);
const CODE: Style = style(Face::Mono, 7.8, 1.5, Align::Left);
const SMALL: Style = style(Face::Sans, 7.4, 1.3, Align::Left);

/// Makes the certificate; it is sealed as a file of its own.
pub fn certificate(data: &Certificate) -> Result<Vec<u8>, SealError> {
    let mut sheet = Sheet::new(Margins { left: MARGIN, right: MARGIN, top: 62.0, bottom: 64.0 });
    opening(&mut sheet, data);
    heading(&mut sheet, "Documents");
    data.documents.iter().for_each(|document| show_document(&mut sheet, document));
    heading(&mut sheet, "Recipients");
    data.recipients.iter().for_each(|recipient| show_recipient(&mut sheet, recipient));
    if !data.mails.is_empty() {
        heading(&mut sheet, "Mails");
        mails(&mut sheet, &data.mails);
    }
    heading(&mut sheet, "Seal");
    row(&mut sheet, "Seal certificate", &data.seal_certificate, VALUE);
    row(&mut sheet, "Timestamp", &data.timestamp, VALUE);
    row(&mut sheet, "Head of the event chain", &data.chain_head, CODE);
    if !data.how_to_verify.is_empty() {
        heading(&mut sheet, "How to verify");
        for paragraph in &data.how_to_verify {
            sheet.text(paragraph, style(Face::Sans, 8.8, 1.45, Align::Left), INK);
            sheet.space(5.0);
        }
    }
    let title = format!("Certificate of completion {}", data.envelope_id);
    sheet.finish(&title, data.banner.as_deref(), |sheet, page, pages| {
        let (right, bottom) = (A4.0 - MARGIN, A4.1 - 46.0);
        sheet.line((MARGIN, bottom), (right, bottom), LINE, 0.6);
        let left = format!("Certificate of completion · {}", data.envelope_id);
        sheet.line_at(&left, SMALL, QUIET, MARGIN, bottom + 7.0);
        let number = format!("Page {page} of {pages}");
        sheet.line_at(&number, Style { align: Align::Right, ..SMALL }, QUIET, right, bottom + 7.0);
    })
}

fn opening(sheet: &mut Sheet, data: &Certificate) {
    sheet.rectangle((0.0, 0.0, A4.0, 6.0), 0.0, Some(BLUE), None);
    let top = sheet.y;
    sheet.text("Certificate of completion", TITLE, INK);
    let done = sheet.paragraph("Completed", style(Face::SansBold, 9.0, 1.2, Align::Left), 100.0);
    let (width, height) = (done.width() + 20.0, 19.0);
    let left = A4.0 - MARGIN - width;
    sheet.rectangle((left, top + 6.0, width, height), height / 2.0, Some(PALE_GREEN), None);
    sheet.place(&done, left + 10.0, top + 6.0 + (height - done.height()) / 2.0, GREEN);
    sheet.space(5.0);
    sheet.text(&data.subject, SUBJECT, QUIET);
    sheet.space(12.0);
    row(sheet, "Envelope", &data.envelope_id, CODE);
    if let Some(external_id) = &data.external_id {
        row(sheet, "External id", external_id, VALUE);
    }
    row(sheet, "Environment", &data.environment, VALUE);
    row(sheet, "Sent by", &data.sender, VALUE);
    row(sheet, "From the address", &data.sender_address, CODE);
    row(sheet, "Created", &data.created, VALUE);
    row(sheet, "Sent", &data.sent, VALUE);
    row(sheet, "Completed", &data.completed, VALUE);
    row(sheet, "Times", &data.zone, VALUE);
}

fn heading(sheet: &mut Sheet, text: &str) {
    sheet.need(96.0);
    sheet.space(14.0);
    sheet.bookmark(text);
    sheet.text(text, HEADING, BLUE);
    sheet.space(3.0);
    sheet.rule(BLUE, 0.9);
    sheet.space(8.0);
}

/// A label and its value, which may wrap, in two columns. What is empty is not shown.
fn row(sheet: &mut Sheet, label: &str, value: &str, style: Style) {
    let (left, width) = (sheet.left(), sheet.width());
    row_in(sheet, label, value, style, left, width);
}

fn row_in(sheet: &mut Sheet, label: &str, value: &str, style: Style, left: f32, width: f32) {
    if value.is_empty() {
        return;
    }
    let label = sheet.paragraph(label, LABEL, LABEL_WIDTH);
    let value = sheet.paragraph(value, style, width - LABEL_WIDTH - GAP);
    let height = label.height().max(value.height());
    sheet.need(height.min(60.0));
    let (page, top) = (sheet.pages(), sheet.y);
    sheet.place(&label, left, top, QUIET);
    sheet.flow(&value, INK, left + LABEL_WIDTH + GAP);
    if sheet.pages() == page {
        sheet.y = sheet.y.max(top + label.height());
    }
    sheet.space(2.2);
}

fn show_document(sheet: &mut Sheet, document: &CertificateDocument) {
    sheet.need(64.0);
    let pages = if document.pages == 1 { "1 page".to_owned() } else { format!("{} pages", document.pages) };
    titled(sheet, &document.name, &pages);
    row(sheet, "Document", &document.id, CODE);
    for (which, digest) in &document.digests {
        row(sheet, &format!("SHA-256, {which}"), digest, CODE);
    }
    sheet.space(8.0);
}

/// A name that may wrap on a pale ground, with a remark at its right.
fn titled(sheet: &mut Sheet, name: &str, remark: &str) {
    let (left, width) = (sheet.left(), sheet.width());
    let remark = sheet.paragraph(remark, Style { align: Align::Left, ..LABEL }, width / 3.0);
    let name = sheet.paragraph(name, NAME, width - remark.width() - 28.0);
    let height = name.height() + 9.0;
    sheet.need(height + 30.0);
    let top = sheet.y;
    sheet.rectangle((left, top, width, height), 4.0, Some(PALE), None);
    sheet.place(&name, left + 8.0, top + 4.5, INK);
    sheet.place(&remark, left + width - 8.0 - remark.width(), top + 5.3, QUIET);
    sheet.space(height + 6.0);
}

fn show_recipient(sheet: &mut Sheet, recipient: &CertificateRecipient) {
    sheet.need(118.0);
    titled(sheet, &recipient.name, &format!("{} · order {}", recipient.kind, recipient.order));
    let (left, full) = (sheet.left(), sheet.width());
    let (page, top) = (sheet.pages(), sheet.y);
    let mut below = top;
    if let Some(mark) = &recipient.signature {
        let x = left + full - SIGNATURE.0;
        sheet.rectangle((x, top, SIGNATURE.0, SIGNATURE.1), 4.0, None, Some((LINE, 0.8)));
        sheet.mark(mark, (x + 8.0, top + 6.0, SIGNATURE.0 - 16.0, SIGNATURE.1 - 12.0));
        below += SIGNATURE.1 + 3.0;
        if let Some(how) = &recipient.signature_how {
            let how = sheet.paragraph(how, SMALL, SIGNATURE.0);
            sheet.place(&how, x, below, QUIET);
            below += how.height();
        }
    }
    let mut rows = vec![
        ("Mail", recipient.email.as_str(), VALUE),
        ("Recipient", recipient.id.as_str(), CODE),
        ("Authentication", recipient.authentication.as_str(), VALUE),
        ("Consent", recipient.consent.as_deref().unwrap_or_default(), VALUE),
    ];
    rows.extend(recipient.facts.iter().map(|(label, value)| (label.as_str(), value.as_str(), VALUE)));
    for (label, value, style) in rows {
        // Beside the signature the column is narrower, below it and on the next page it is not.
        let beside = sheet.pages() == page && sheet.y < below;
        let width = if beside { full - SIGNATURE.0 - 14.0 } else { full };
        row_in(sheet, label, value, style, left, width);
    }
    if sheet.pages() == page {
        sheet.y = sheet.y.max(below);
    }
    sheet.space(10.0);
}

/// When, what and to whom, with its heading again on each page.
fn mails(sheet: &mut Sheet, mails: &[CertificateMail]) {
    let (left, width) = (sheet.left(), sheet.width());
    let columns = [0.0, 0.30, 0.62].map(|part| left + part * width);
    let widths = [0.30, 0.32, 0.38].map(|part| part * width - 8.0);
    let head = |sheet: &mut Sheet| {
        for (x, text) in columns.iter().zip(["When", "What", "To"]) {
            let y = sheet.y;
            sheet.line_at(text, style(Face::SansBold, 7.8, 1.3, Align::Left), QUIET, *x, y);
        }
        sheet.space(13.0);
    };
    head(sheet);
    for mail in mails {
        let cells = [&mail.time, &mail.what, &mail.to];
        let small = style(Face::Sans, 8.0, 1.35, Align::Left);
        let cells: Vec<_> = cells.iter().zip(widths).map(|(text, width)| sheet.paragraph(text, small, width)).collect();
        let height = cells.iter().map(|cell| cell.height()).fold(0.0, f32::max);
        let page = sheet.pages();
        sheet.need(height + 6.0);
        if sheet.pages() != page {
            head(sheet);
        }
        sheet.rule(LINE, 0.4);
        sheet.space(2.5);
        let y = sheet.y;
        for (cell, x) in cells.iter().zip(columns) {
            sheet.place(cell, x, y, INK);
        }
        sheet.space(height + 2.5);
    }
}
