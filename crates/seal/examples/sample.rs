//! Writes the sample contract, a service agreement of four pages: `cargo run -p iusign-seal --example sample -- FILE`.

use seal::sheet::{A4, Color, Margins, Sheet, styles::style};
use seal::text::{Align, Face, Style};

const INK: Color = (28, 32, 40);
const QUIET: Color = (104, 112, 124);
const BLUE: Color = (22, 62, 110);
const LINE: Color = (196, 203, 214);

const BODY: Style = style(Face::Serif, 10.4, 1.42, Align::Justify);
const CLAUSE: Style = style(Face::SansBold, 10.6, 1.3, Align::Left);
const LABEL: Style = style(Face::Sans, 8.6, 1.3, Align::Left);

const NUMBER_WIDTH: f32 = 30.0;

/// The agreement: a heading, then its numbered sentences.
const CLAUSES: [(&str, &[&str]); 14] = [
    (
        "Services",
        &[
            "The Provider shall supply to the Client the legal operations services described in Schedule A (the “Services”), namely the review, drafting and administration of commercial contracts, the upkeep of the Client’s contract register, and quarterly reports on obligations and renewals.",
            "The Provider shall perform the Services with the skill, care and diligence that may reasonably be expected of an experienced provider of comparable services, and in accordance with all laws that apply to it.",
            "Each piece of work beyond Schedule A requires a written order that states its scope, its fee and its date of delivery. An order becomes part of this Agreement when both parties have signed it.",
        ],
    ),
    (
        "Term",
        &[
            "This Agreement begins on the Effective Date and continues for twelve months. It is then renewed for further periods of twelve months unless either party gives written notice at least sixty days before the end of the current period.",
        ],
    ),
    (
        "Fees and payment",
        &[
            "The Client shall pay a monthly fee of EUR 4,800, together with the hourly rates of Schedule A for work under an order. All amounts are exclusive of value added tax.",
            "The Provider invoices monthly in arrears. Invoices are due within thirty days of receipt. On sums not paid when due, interest accrues at eight percentage points above the base rate of the European Central Bank.",
            "If the Client disputes part of an invoice in good faith, it shall pay the part that is not disputed and give its reasons in writing within ten business days; the parties shall then seek to settle the dispute without delay.",
        ],
    ),
    (
        "The Client’s part",
        &[
            "The Client shall give the Provider timely access to the documents, systems and persons that the Services require, and shall name one contact who may decide in questions of everyday business.",
            "The Provider is not in default to the extent that a delay is caused by information or access that the Client has not given.",
        ],
    ),
    (
        "Confidentiality",
        &[
            "Each party shall keep secret all information of the other that is marked as confidential or is by its nature confidential, shall use it only for the purposes of this Agreement, and shall disclose it only to employees and advisers who need it and are bound by equivalent duties.",
            "These duties do not apply to information that is or becomes public without breach of this Agreement, that the recipient already held or independently developed, or that must be disclosed by law. They continue for five years after this Agreement ends.",
        ],
    ),
    (
        "Data protection",
        &[
            "Where the Provider processes personal data on behalf of the Client, it does so only on the Client’s documented instructions, within the European Economic Area, and under the data processing terms of Schedule B.",
            "The Provider shall notify the Client of any personal data breach without undue delay and in any case within forty-eight hours after becoming aware of it.",
        ],
    ),
    (
        "Intellectual property",
        &[
            "Documents that the Provider prepares for the Client become the Client’s property once they have been paid for. The Provider keeps all rights in its templates, methods and software, and grants the Client a perpetual, non-exclusive licence to use them as far as they are contained in such documents.",
        ],
    ),
    (
        "Warranties",
        &[
            "Each party warrants that it has full power to enter into this Agreement and that the person who signs for it is authorised to do so.",
            "If the Services do not conform to this Agreement, the Provider shall perform them again at its own cost within a reasonable time. If that fails twice, the Client may reduce the fee accordingly.",
        ],
    ),
    (
        "Liability",
        &[
            "Nothing in this Agreement limits liability for intent, gross negligence, death or personal injury, or any liability that cannot be limited by law.",
            "Otherwise, each party’s total liability in any contract year is limited to the fees paid and payable for that year. Neither party is liable for loss of profit or for indirect loss.",
        ],
    ),
    (
        "Termination",
        &[
            "Either party may end this Agreement with immediate effect by written notice if the other commits a material breach and does not remedy it within thirty days of being asked to, or if it becomes insolvent.",
            "On termination the Provider shall return the Client’s documents and data in a common format within fourteen days, and shall delete its copies unless the law requires it to keep them.",
        ],
    ),
    (
        "Force majeure",
        &[
            "Neither party is liable for a failure to perform that is caused by events beyond its reasonable control, provided that it informs the other at once and does what it reasonably can to limit the effects.",
        ],
    ),
    (
        "Notices and electronic signature",
        &[
            "Notices are given in writing to the addresses on the first page or by electronic mail to the addresses that the parties have named to one another.",
            "The parties agree that this Agreement may be signed electronically and in counterparts, and that an electronic signature has the same effect as one made by hand.",
        ],
    ),
    (
        "General",
        &[
            "This Agreement and its schedules are the entire agreement of the parties on its subject. Changes must be made in writing, and this requirement can itself be waived only in writing.",
            "If a provision is or becomes invalid, the others remain in force. The parties shall replace it by a valid one that comes closest to its economic purpose.",
            "Neither party may assign this Agreement without the written consent of the other, which shall not be withheld unreasonably.",
        ],
    ),
    (
        "Governing law",
        &[
            "This Agreement is governed by the laws of Ireland. The courts of Dublin have exclusive jurisdiction over all disputes that arise from it or in connection with it.",
        ],
    ),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: sample FILE")?;
    std::fs::write(path, agreement()?)?;
    Ok(())
}

fn agreement() -> Result<Vec<u8>, seal::SealError> {
    let mut sheet = Sheet::new(Margins { left: 68.0, right: 68.0, top: 84.0, bottom: 76.0 });
    opening(&mut sheet);
    for (number, (heading, sentences)) in CLAUSES.iter().enumerate() {
        clause(&mut sheet, number + 1, heading, sentences);
    }
    schedule_a(&mut sheet);
    schedule_b(&mut sheet);
    signatures(&mut sheet);
    sheet.finish("Service agreement", None, |sheet, page, pages| {
        let right = A4.0 - 68.0;
        if page > 1 {
            sheet.line_at("NORTHWIND LEGAL", style(Face::SansBold, 7.6, 1.2, Align::Left), BLUE, 68.0, 44.0);
            sheet.line_at("Service agreement", style(Face::Sans, 8.0, 1.2, Align::Right), QUIET, right, 44.0);
            sheet.line((68.0, 58.0), (right, 58.0), LINE, 0.6);
        }
        sheet.line((68.0, A4.1 - 56.0), (right, A4.1 - 56.0), LINE, 0.6);
        sheet.line_at(
            "Northwind Legal Ltd · 14 Harbour Row, Dublin 2, Ireland · office@northwind.example",
            style(Face::Sans, 7.4, 1.2, Align::Left),
            QUIET,
            68.0,
            A4.1 - 48.0,
        );
        let number = format!("Page {page} of {pages}");
        sheet.line_at(&number, style(Face::Sans, 7.4, 1.2, Align::Right), QUIET, right, A4.1 - 48.0);
    })
}

fn opening(sheet: &mut Sheet) {
    let right = A4.0 - 68.0;
    sheet.rectangle((0.0, 0.0, A4.0, 8.0), 0.0, Some(BLUE), None);
    // The mark: a compass needle, as the name has it.
    sheet.rectangle((68.0, 46.0, 26.0, 26.0), 6.0, Some(BLUE), None);
    sheet.line((81.0, 66.0), (81.0, 52.0), (255, 255, 255), 2.0);
    sheet.line((75.5, 58.0), (81.0, 52.0), (255, 255, 255), 2.0);
    sheet.line((86.5, 58.0), (81.0, 52.0), (255, 255, 255), 2.0);
    sheet.line_at("Northwind Legal", style(Face::SerifBold, 17.0, 1.2, Align::Left), INK, 103.0, 48.5);
    sheet.line_at("14 Harbour Row, Dublin 2", style(Face::Sans, 8.0, 1.3, Align::Right), QUIET, right, 48.0);
    sheet.line_at("office@northwind.example", style(Face::Sans, 8.0, 1.3, Align::Right), QUIET, right, 59.0);
    sheet.y = 112.0;
    sheet.text("Service agreement", style(Face::SerifBold, 27.0, 1.15, Align::Left), INK);
    sheet.space(4.0);
    sheet.text("for legal operations services", style(Face::SerifItalic, 13.0, 1.3, Align::Left), QUIET);
    sheet.space(16.0);
    parties(sheet);
    sheet.text(
        "The Client wishes to have its commercial contracts administered by a specialised provider, and the Provider offers such services. The parties therefore agree as follows:",
        BODY,
        INK,
    );
    sheet.space(10.0);
}

/// What the monthly fee covers and what work beyond it costs.
const SCHEDULE_A: [(&str, &str, &str); 6] = [
    ("Contract review and drafting", "up to 25 documents a month", "included"),
    ("Contract register", "entries within two business days", "included"),
    ("Quarterly report", "obligations, renewals, open risks", "included"),
    ("Senior counsel", "work under an order", "EUR 210 an hour"),
    ("Associate", "work under an order", "EUR 145 an hour"),
    ("Paralegal", "work under an order", "EUR 85 an hour"),
];

const SCHEDULE_B: [&str; 4] = [
    "Subject and duration: personal data contained in the Client’s contracts, such as names, business addresses and signatures, for the term of this Agreement.",
    "Measures: access by named persons only and with two factors; encryption in transit and at rest; daily backups, restored on trial every quarter; records of access kept for twelve months.",
    "Sub-processors: none without the Client’s prior written consent. The Provider answers for them as for itself.",
    "Audit: the Client may once a year, and after any breach, inspect the Provider’s measures on ten business days’ notice, itself or through an auditor bound to secrecy.",
];

fn schedule_a(sheet: &mut Sheet) {
    sheet.need(220.0);
    sheet.space(8.0);
    schedule(sheet, "Schedule A", "Services and rates");
    let (left, width) = (sheet.left(), sheet.width());
    let cell = style(Face::Serif, 10.0, 1.3, Align::Left);
    for (row, (what, extent, fee)) in SCHEDULE_A.into_iter().enumerate() {
        let y = sheet.y;
        if row % 2 == 0 {
            sheet.rectangle((left, y, width, 21.0), 0.0, Some((245, 247, 250)), None);
        }
        sheet.line_at(what, cell, INK, left + 8.0, y + 4.0);
        sheet.line_at(extent, cell, QUIET, left + width * 0.40, y + 4.0);
        sheet.line_at(fee, Style { align: Align::Right, ..cell }, INK, left + width - 8.0, y + 4.0);
        sheet.space(21.0);
    }
    sheet.space(10.0);
}

fn schedule_b(sheet: &mut Sheet) {
    sheet.break_page();
    schedule(sheet, "Schedule B", "Data processing terms");
    for (number, sentence) in SCHEDULE_B.into_iter().enumerate() {
        let y = sheet.y;
        let left = sheet.left();
        sheet.line_at(&format!("B.{}", number + 1), Style { align: Align::Left, ..BODY }, QUIET, left, y);
        sheet.text_at(sentence, BODY, INK, left + NUMBER_WIDTH, sheet.width() - NUMBER_WIDTH);
        sheet.space(5.0);
    }
    sheet.space(12.0);
}

fn schedule(sheet: &mut Sheet, name: &str, title: &str) {
    sheet.bookmark(&format!("{name}: {title}"));
    sheet.text(name, style(Face::SansBold, 8.4, 1.4, Align::Left), BLUE);
    sheet.text(title, style(Face::SerifBold, 16.0, 1.25, Align::Left), INK);
    sheet.space(8.0);
}

/// Two boxes side by side, and the date below.
fn parties(sheet: &mut Sheet) {
    let (left, width, top) = (sheet.left(), sheet.width(), sheet.y);
    let half = (width - 14.0) / 2.0;
    let sides = [
        (
            "PROVIDER",
            "Northwind Legal Ltd",
            "a company incorporated in Ireland, with its seat at 14 Harbour Row, Dublin 2, Ireland (the “Provider”)",
        ),
        (
            "CLIENT",
            "The company that signs on the last page",
            "acting through the person who is named there and authorised to represent it (the “Client”)",
        ),
    ];
    for (index, (role, name, what)) in sides.into_iter().enumerate() {
        let x = left + index as f32 * (half + 14.0);
        sheet.rectangle((x, top, half, 90.0), 5.0, Some((245, 247, 250)), Some((LINE, 0.7)));
        sheet.line_at(role, style(Face::SansBold, 7.4, 1.2, Align::Left), BLUE, x + 12.0, top + 11.0);
        let name = sheet.paragraph(name, style(Face::SerifBold, 11.4, 1.25, Align::Left), half - 24.0);
        sheet.place(&name, x + 12.0, top + 24.0, INK);
        let what = sheet.paragraph(what, style(Face::Serif, 9.6, 1.32, Align::Left), half - 24.0);
        sheet.place(&what, x + 12.0, top + 41.0, INK);
    }
    sheet.y = top + 106.0;
    sheet.text(
        "Effective Date: the day on which the last of the parties signs.",
        style(Face::SerifItalic, 10.4, 1.3, Align::Left),
        INK,
    );
    sheet.space(8.0);
}

fn clause(sheet: &mut Sheet, number: usize, heading: &str, sentences: &[&str]) {
    sheet.need(58.0);
    sheet.bookmark(&format!("{number}. {heading}"));
    let (left, y) = (sheet.left(), sheet.y);
    sheet.line_at(&format!("{number}."), CLAUSE, BLUE, left, y);
    sheet.text_at(heading, CLAUSE, INK, left + NUMBER_WIDTH, sheet.width() - NUMBER_WIDTH);
    sheet.space(3.5);
    for (index, sentence) in sentences.iter().enumerate() {
        let paragraph = sheet.paragraph(sentence, BODY, sheet.width() - NUMBER_WIDTH);
        // Two lines at least stand together at a page's end.
        sheet.need(if paragraph.lines() > 3 { 30.0 } else { paragraph.height() });
        let y = sheet.y;
        sheet.line_at(&format!("{number}.{}", index + 1), Style { align: Align::Left, ..BODY }, QUIET, left, y);
        sheet.flow(&paragraph, INK, left + NUMBER_WIDTH);
        sheet.space(5.0);
    }
    sheet.space(6.5);
}

/// The last part: anchors for the fields of both sides.
fn signatures(sheet: &mut Sheet) {
    sheet.need(300.0);
    sheet.space(6.0);
    sheet.bookmark("Signatures");
    sheet.text("Signatures", style(Face::SerifBold, 16.0, 1.25, Align::Left), INK);
    sheet.space(4.0);
    sheet.text(
        "Each party has read this Agreement, agrees to it, and signs through the person named below.",
        BODY,
        INK,
    );
    sheet.space(14.0);
    let (left, width, top) = (sheet.left(), sheet.width(), sheet.y);
    let half = (width - 22.0) / 2.0;
    let sides = [
        ("Signed for the client", ["Client name", "Client company", "Date signed by client"]),
        ("Signed for Northwind Legal", ["Provider name", "Provider title", "Date signed by provider"]),
    ];
    for (index, (signed, rows)) in sides.into_iter().enumerate() {
        let x = left + index as f32 * (half + 22.0);
        sheet.rectangle((x, top, half, 214.0), 5.0, None, Some((LINE, 0.7)));
        sheet.line_at(signed, style(Face::SansBold, 9.2, 1.2, Align::Left), BLUE, x + 12.0, top + 12.0);
        sheet.line((x + 12.0, top + 80.0), (x + half - 12.0, top + 80.0), INK, 0.8);
        for (row, label) in rows.into_iter().enumerate() {
            let y = top + 92.0 + row as f32 * 40.0;
            sheet.line_at(label, LABEL, QUIET, x + 12.0, y);
            sheet.line((x + 12.0, y + 31.0), (x + half - 12.0, y + 31.0), LINE, 0.8);
        }
    }
    sheet.y = top + 230.0;
    sheet.rectangle((left, sheet.y, 11.0, 11.0), 1.5, None, Some((INK, 0.9)));
    let y = sheet.y - 1.5;
    sheet.line_at(
        "The client has received Schedules A and B and agrees to them.",
        style(Face::Serif, 10.4, 1.3, Align::Left),
        INK,
        left + 19.0,
        y,
    );
    sheet.space(20.0);
}
