//! Rows: headers as people write them, cells by the envelope's own rules, and no input that panics.

use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::{
    Clock, DocumentId, EnvScope, Environment, Random, TemplateId, TenantId,
    caller::Actor,
    envelope::{Sender, TemplateRef},
    recipient::RecipientKind,
    template::{Content, ContentDocument},
};

struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000)
    }
}

impl Random for Still {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

fn field(key: &str, kind: FieldKind, role: &str) -> Field {
    Field {
        key: key.to_owned(),
        kind,
        role: role.to_owned(),
        document: DocumentId::from_uuid(Uuid::from_u128(1)),
        page: 1,
        x: 10.0,
        y: 10.0,
        width: 100.0,
        height: 20.0,
        required: false,
        readonly: false,
        default: None,
        max_length: None,
    }
}

fn version() -> TemplateVersion {
    let role = |name: &str, order| Role { name: name.to_owned(), kind: RecipientKind::Signer, order };
    let amount = Field { readonly: true, required: true, ..field("amount", FieldKind::Text, "Client") };
    let document = DocumentId::from_uuid(Uuid::from_u128(1));
    TemplateVersion {
        number: 1,
        title: "Contract".to_owned(),
        roles: vec![role("Client", 1), role("Firma ÄÖ", 2)],
        content: Content {
            documents: vec![ContentDocument {
                id: document,
                filename: "a.pdf".to_owned(),
                sha256: String::new(),
                working: String::new(),
                pages: Vec::new(),
            }],
            fields: vec![
                field("sign", FieldKind::Signature, "Client"),
                amount,
                field("agreed", FieldKind::Checkbox, "Client"),
            ],
        },
        message: Message::default(),
    }
}

fn texts(cells: &[&str]) -> Vec<String> {
    cells.iter().map(ToString::to_string).collect()
}

fn made(version: &TemplateVersion, header: &[&str], given: &Given) -> Result<Envelope, Vec<(String, String)>> {
    let columns = Columns::of(version);
    let header = columns.read_header(&texts(header)).expect("a header");
    let scope = EnvScope { tenant: TenantId::from_uuid(Uuid::from_u128(1)), environment: Environment::Development };
    let sender = Sender { tenant: "T".to_owned(), address: None };
    let making = Making { scope, by: Actor::System, sender, clock: &Still, random: &Still };
    let template = TemplateRef { id: TemplateId::from_uuid(Uuid::from_u128(1)), version: 1 };
    let pinned = Pinned {
        template,
        title: &version.title,
        message: &version.message,
        roles: &version.roles,
        content: &version.content,
    };
    let (_, made) = columns.envelope(&making, pinned, (&header, given, &Defaults::default()), None);
    made.map_err(|errors| errors.into_iter().map(|error| (error.column, error.code)).collect())
}

const HEADER: [&str; 7] = [
    "External_ID ",
    "client.NAME",
    " Client.email",
    "firma äö.name",
    "FIRMA ÄÖ.Email",
    "Values.Amount",
    "metadata.Order",
];

#[test]
fn headers_are_trimmed_and_case_does_not_matter() {
    let version = version();
    let columns = Columns::of(&version);
    let read = columns.read_header(&texts(&HEADER)).expect("a header");
    let order = Column::Metadata("Order".to_owned());
    use Column::{Email, ExternalId, Name, Value};
    assert_eq!(read.0, [ExternalId, Name(0), Email(0), Name(1), Email(1), Value(1), order]);
    assert!(!read.is_export());
    let template = columns.header();
    assert_eq!(
        template,
        [
            "external_id",
            "Client.name",
            "Client.email",
            "Client.locale",
            "Firma ÄÖ.name",
            "Firma ÄÖ.email",
            "Firma ÄÖ.locale",
            "values.amount",
            "values.agreed"
        ]
    );
    assert!(columns.read_header(&template).is_ok());
}

#[test]
fn unknown_double_and_missing_columns_are_refused_by_name() {
    let version = version();
    let columns = Columns::of(&version);
    let given =
        ["Client.name", "client.Name ", "Client.mail", "values.sign", "", "Firma ÄÖ.name", "Firma ÄÖ.email", " "];
    let errors = columns.read_header(&texts(&given)).expect_err("refused");
    let found: Vec<_> =
        errors.iter().map(|e| (e.code.as_ref(), e.detail.split(';').next().unwrap_or_default())).collect();
    assert_eq!(
        found,
        [
            ("duplicate_column", "The column client.Name comes twice (first as Client.name)."),
            ("unknown_column", "The template has no column Client.mail"),
            ("unknown_column", "The template has no column values.sign"),
            ("unknown_column", "A column has no name in the header."),
            ("missing_column", "The column Client.email is missing."),
        ]
    );
}

#[test]
fn a_row_becomes_an_envelope() {
    let cells = ["A-1", " Taro Yamada ", " taro@example.com ", "Ö", "o@example.com", "12,50 €", "ß"];
    let envelope = made(&version(), &HEADER, &Given::Cells(texts(&cells))).expect("valid");
    assert_eq!(envelope.external_id.as_deref(), Some("A-1"));
    let people: Vec<_> =
        envelope.recipients.iter().map(|r| (r.role.as_str(), r.name.as_str(), r.email.as_str())).collect();
    assert_eq!(people, [("Client", "Taro Yamada", "taro@example.com"), ("Firma ÄÖ", "Ö", "o@example.com")]);
    assert_eq!(json!(envelope.values), json!({"amount": "12,50 €"}));
    assert_eq!(json!(envelope.body.metadata), json!({"Order": "ß"}));
}

#[test]
fn every_fault_of_a_row_is_named_at_its_column() {
    let cells = ["", "", "nobody", "Ö\u{7}", "", "", "m", "left over"];
    let long = "x".repeat(256);
    for (first, more) in [("", None), (long.as_str(), Some(("external_id", "too_long")))] {
        let mut cells = texts(&cells);
        cells[0] = first.to_owned();
        let mut errors = made(&version(), &HEADER, &Given::Cells(cells)).expect_err("refused");
        errors.sort();
        let mut expected = vec![
            ("", "too_many_cells"),
            ("Client.email", "malformed"),
            ("Client.name", "required"),
            ("Firma ÄÖ.email", "required"),
            ("Firma ÄÖ.name", "control_character"),
            ("values.amount", "required"),
        ];
        expected.extend(more);
        expected.sort_unstable();
        let errors: Vec<_> = errors.iter().map(|(column, code)| (column.as_str(), code.as_str())).collect();
        assert_eq!(errors, expected);
    }
}

#[test]
fn json_rows_are_typed_and_may_be_nested() {
    let members = |value: Value| match value {
        Value::Object(members) => Given::Members(members),
        _ => Given::Members(Map::new()),
    };
    let good = json!({"Client": {"name": "T", "email": "t@example.com", "locale": "ja"}, "Firma ÄÖ.name": "Ö",
        "Firma ÄÖ.email": "o@example.com", "values": {"amount": "=1", "agreed": true}, "metadata": {"a": "b"}});
    let envelope = made(&version(), &HEADER, &members(good)).expect("valid");
    assert_eq!(json!(envelope.values), json!({"amount": "=1", "agreed": true}));
    assert_eq!(envelope.recipients[0].body.locale, "ja");
    let bad = json!({"Client": {"name": 7, "email": "t@example.com"}, "client.email": "u@example.com", "Firma ÄÖ.name": "Ö",
        "Firma ÄÖ.email": "o@example.com", "values.amount": 5, "values.agreed": "x", "metadata.a": {}, "Chef.name": "C"});
    let mut errors = made(&version(), &HEADER, &members(bad)).expect_err("refused");
    errors.sort();
    let errors: Vec<_> = errors.iter().map(|(column, code)| (column.as_str(), code.as_str())).collect();
    assert_eq!(
        errors,
        [
            ("Chef.name", "unknown_column"),
            ("Client.email", "duplicate_column"),
            ("Client.name", "wrong_type"),
            ("values.agreed", "wrong_type"),
            ("values.amount", "wrong_type"),
        ]
    );
}

#[test]
fn ticks_are_read_as_people_write_them() {
    let header = [HEADER.as_slice(), &["values.agreed"]].concat();
    for (word, value) in [("Yes", json!(true)), (" X ", json!(true)), ("0", json!(false)), ("FALSE", json!(false))] {
        let cells = ["", "T", "t@example.com", "Ö", "o@example.com", "1", "", word];
        let envelope = made(&version(), &header, &Given::Cells(texts(&cells))).expect("valid");
        assert_eq!(envelope.values["agreed"], value, "{word}");
    }
    let cells = ["", "T", "t@example.com", "Ö", "o@example.com", "1", "", "perhaps"];
    let errors = made(&version(), &header, &Given::Cells(texts(&cells))).expect_err("refused");
    assert_eq!(errors, [("values.agreed".to_owned(), "wrong_type".to_owned())]);
}

#[test]
fn formulas_are_neutralised_and_come_back_as_they_were() {
    let version = version();
    let columns = Columns::of(&version);
    let mut given = texts(&HEADER);
    let plain = columns.read_header(&given).expect("a header");
    given.push("#errors".to_owned());
    let export = columns.read_header(&given).expect("a header");
    for text in ["=1+1", "-5", "+49 30", "@x", "'=1", "''-", "plain", "'quoted'", "", "\tx"] {
        assert_eq!(export.cell(&neutralised(text)), text);
        assert_eq!(plain.cell(text), text);
        assert!(!neutralised(text).starts_with(['=', '+', '-', '@', '\t', '\r']));
    }
}

proptest! {
    #[test]
    fn no_header_and_no_row_panics(header in prop::collection::vec(any::<String>(), 0..12), cells in prop::collection::vec(any::<String>(), 0..12)) {
        let version = version();
        let columns = Columns::of(&version);
        let read = columns.read_header(&header).or_else(|_| columns.read_header(&texts(&HEADER))).expect("a header");
        let members = header.iter().cloned().zip(cells.iter().map(|cell| json!(cell))).collect();
        for given in [Given::Cells(cells), Given::Members(members)] {
            let _ = columns.read(&read, &given, &Defaults::default());
            let _ = made(&version, &HEADER, &given);
        }
    }

    #[test]
    fn what_is_exported_comes_back(text in "\\PC{0,20}") {
        let version = version();
        let columns = Columns::of(&version);
        let header = columns.read_header(&[texts(&HEADER), texts(&["#errors"])].concat()).expect("a header");
        let exported = neutralised(&text);
        prop_assert_eq!(header.cell(&exported), text);
    }
}
