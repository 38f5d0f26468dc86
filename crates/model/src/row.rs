//! A row of a batch: which columns there are, and what its cells say, read by the same rules as a single envelope.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    BodyError, Timestamp,
    envelope::{BatchRef, Envelope, Message, pointer_part},
    envelope_new::{METADATA_NAME_CHARS_MAX, Making, NewEnvelope, NewRecipient, Pinned, from_template},
    field::{Field, FieldKind},
    template::{Role, TemplateVersion},
};

/// Columns of a file at most.
pub const COLUMNS_MAX: usize = 500;
/// Characters of a column's name at most.
const COLUMN_CHARS_MAX: usize = 300;
/// Faults that are kept of one row, and of a header.
const FAULTS_MAX: usize = 50;

/// Columns whose names begin so are this server's own remarks (`errors.csv`): a file that is put may keep them.
pub const REMARK: char = '#';
/// The remarks in front of the rows of an `errors.csv`: a row's line in the file that was put, and what is wrong with it.
pub const REMARKS: [&str; 2] = ["#line", "#errors"];

/// What every row has that does not say it itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Defaults {
    /// The envelopes' title.
    pub title: Option<String>,
    /// The mails' words.
    pub message: Option<Message>,
    /// When the envelopes expire.
    pub expires_at: Option<Timestamp>,
    /// IANA zone.
    pub timezone: Option<String>,
    /// Where recipients are led when they are done.
    pub redirect_url: Option<String>,
    /// The language of recipients whose row names none.
    pub locale: Option<String>,
    /// Values by field key.
    pub values: Map<String, Value>,
    /// Pairs of the sender's.
    pub metadata: Map<String, Value>,
}

impl Defaults {
    /// Checks them by the rules of an envelope, with people of whom nothing is wrong; pointers begin at `/defaults`.
    pub fn check(&self, making: &Making<'_>, pinned: Pinned<'_>) -> Vec<BodyError> {
        let person = |role: &Role| NewRecipient {
            role: Some(role.name.clone()),
            name: "A".to_owned(),
            email: "a@example.com".to_owned(),
            locale: self.locale.clone(),
            ..NewRecipient::default()
        };
        let new = NewEnvelope { recipients: pinned.roles.iter().map(person).collect(), ..self.envelope() };
        let Err(errors) = from_template(making, pinned, &new, None) else { return Vec::new() };
        let mut at_defaults: Vec<BodyError> = Vec::new();
        for error in errors {
            let pointer = match error.pointer.starts_with("/recipients") {
                true => "/defaults/locale".to_owned(),
                false => format!("/defaults{}", error.pointer),
            };
            // One locale is wrong once, not once for each role.
            if !at_defaults.iter().any(|first| first.pointer == pointer) {
                at_defaults.push(BodyError { pointer, ..error });
            }
        }
        at_defaults
    }

    fn envelope(&self) -> NewEnvelope {
        NewEnvelope {
            title: self.title.clone(),
            message: self.message.clone(),
            expires_at: self.expires_at,
            timezone: self.timezone.clone(),
            redirect_url: self.redirect_url.clone(),
            values: self.values.clone(),
            metadata: self.metadata.clone(),
            ..NewEnvelope::default()
        }
    }
}

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Column {
    /// The sender's own id of the envelope.
    ExternalId,
    /// The name of the person in the template's n-th role.
    Name(usize),
    /// Their address.
    Email(usize),
    /// Their language.
    Locale(usize),
    /// The value of the template's n-th field.
    Value(usize),
    /// A pair of metadata by its name.
    Metadata(String),
    /// A remark of this server's own.
    Remark,
}

/// Something wrong with one cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellError {
    /// In which column, as the template names it; empty for the row as a whole.
    pub column: String,
    /// What, for programs.
    pub code: String,
    /// What, for people.
    pub detail: String,
}

impl CellError {
    /// A fault in `column`.
    pub fn new(column: impl Into<String>, code: &str, detail: impl Into<String>) -> Self {
        Self { column: column.into(), code: code.to_owned(), detail: detail.into() }
    }
}

/// A row as it was given: never altered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Given {
    /// Cells in the header's order.
    Cells(Vec<String>),
    /// Members by column.
    Members(Map<String, Value>),
}

/// The columns of a template version: what can stand in a header.
pub struct Columns<'a> {
    roles: &'a [Role],
    fields: &'a [Field],
    exact: HashMap<String, Column>,
    folded: HashMap<String, Column>,
}

/// A header that was read: what each of a file's columns holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header(Vec<Column>);

impl Header {
    /// Whether the file is an `errors.csv` of this server, whose formulas were neutralised.
    pub fn is_export(&self) -> bool {
        self.0.contains(&Column::Remark)
    }

    /// Which of the file's columns are the sender's.
    pub fn own(&self) -> impl Iterator<Item = bool> {
        self.0.iter().map(|column| *column != Column::Remark)
    }

    /// What a cell says: in a file that this server wrote without the apostrophe that [`neutralised`] added.
    pub fn cell<'a>(&self, cell: &'a str) -> &'a str {
        match cell.strip_prefix('\'') {
            Some(rest) if self.is_export() && is_formula(rest) => rest,
            _ => cell,
        }
    }
}

/// Whether a sender may give the field a value.
fn is_settable(field: &Field) -> bool {
    matches!(field.kind, FieldKind::Name | FieldKind::Text | FieldKind::Checkbox)
}

impl<'a> Columns<'a> {
    /// The columns of `version`.
    pub fn of(version: &'a TemplateVersion) -> Self {
        let (roles, fields) = (version.roles.as_slice(), version.content.fields.as_slice());
        let mut columns = Self { roles, fields, exact: HashMap::new(), folded: HashMap::new() };
        for column in columns.all() {
            let name = columns.name(&column);
            // Of two names that differ in case alone, each is found exactly and the first without regard to case.
            columns.folded.entry(fold(&name)).or_insert_with(|| column.clone());
            columns.exact.insert(name, column);
        }
        columns
    }

    fn all(&self) -> Vec<Column> {
        let people =
            (0..self.roles.len()).flat_map(|role| [Column::Name(role), Column::Email(role), Column::Locale(role)]);
        let values = (0..self.fields.len()).filter(|field| is_settable(&self.fields[*field])).map(Column::Value);
        std::iter::once(Column::ExternalId).chain(people).chain(values).collect()
    }

    /// The header row of a file for this template.
    pub fn header(&self) -> Vec<String> {
        self.all().iter().map(|column| self.name(column)).collect()
    }

    /// A column's name.
    pub fn name(&self, column: &Column) -> String {
        match column {
            Column::ExternalId => "external_id".to_owned(),
            Column::Name(role) => format!("{}.name", self.roles[*role].name),
            Column::Email(role) => format!("{}.email", self.roles[*role].name),
            Column::Locale(role) => format!("{}.locale", self.roles[*role].name),
            Column::Value(field) => format!("values.{}", self.fields[*field].key),
            Column::Metadata(name) => format!("metadata.{name}"),
            Column::Remark => REMARK.to_string(),
        }
    }

    /// The column that `given` names: trimmed, and without regard to case where it is not found as it stands.
    fn find(&self, given: &str) -> Result<Column, BodyError> {
        let name = given.trim();
        let shown: String = name.chars().take(64).collect();
        let unknown = |detail: String| Err(BodyError::new("", "unknown_column", detail));
        if name.is_empty() {
            return unknown("A column has no name in the header.".to_owned());
        }
        if name.chars().count() > COLUMN_CHARS_MAX || name.chars().any(char::is_control) {
            return unknown(format!(
                "The column {shown:?} has a control character or more than {COLUMN_CHARS_MAX} characters in its name."
            ));
        }
        if name.starts_with(REMARK) {
            return Ok(Column::Remark);
        }
        if let Some(column) = self.exact.get(name).or_else(|| self.folded.get(&fold(name))) {
            return Ok(column.clone());
        }
        match name.split_once('.') {
            Some((noun, pair)) if fold(noun.trim()) == "metadata" => {
                let pair = pair.trim();
                if pair.is_empty() || pair.chars().count() > METADATA_NAME_CHARS_MAX {
                    return unknown(format!(
                        "The column {shown}: a metadata name has 1 to {METADATA_NAME_CHARS_MAX} characters."
                    ));
                }
                Ok(Column::Metadata(pair.to_owned()))
            }
            _ => unknown(format!("The template has no column {shown}; it has {}, metadata.<name>.", self.listed())),
        }
    }

    fn listed(&self) -> String {
        const SHOWN: usize = 30;
        let names = self.header();
        let more = names.len().saturating_sub(SHOWN);
        let mut text = names.into_iter().take(SHOWN).collect::<Vec<_>>().join(", ");
        if more > 0 {
            text.push_str(&format!(" and {more} more"));
        }
        text
    }

    /// Reads a file's header. Every fault is named: what is unknown, comes twice, or is missing.
    pub fn read_header(&self, given: &[String]) -> Result<Header, Vec<BodyError>> {
        let mut errors = Vec::new();
        if given.len() > COLUMNS_MAX {
            let detail = format!("The header has {} columns; {COLUMNS_MAX} at most.", given.len());
            return Err(vec![BodyError::new("", "too_many_columns", detail)]);
        }
        let mut columns = Vec::with_capacity(given.len());
        let mut seen = HashMap::<String, &str>::new();
        // Spreadsheets leave empty columns at the end.
        let used = given.iter().rposition(|name| !name.trim().is_empty()).map_or(0, |last| last + 1);
        for name in &given[..used] {
            match self.find(name) {
                Err(error) => errors.push(error),
                Ok(Column::Remark) => columns.push(Column::Remark),
                Ok(column) => {
                    if let Some(first) = seen.insert(fold(&self.name(&column)), name) {
                        let (first, name) = (first.trim(), name.trim());
                        let detail = format!("The column {name} comes twice (first as {first}).");
                        errors.push(BodyError::new("", "duplicate_column", detail));
                    }
                    columns.push(column);
                }
            }
        }
        for role in 0..self.roles.len() {
            for column in [Column::Name(role), Column::Email(role)] {
                if !columns.contains(&column) {
                    let detail = format!("The column {} is missing.", self.name(&column));
                    errors.push(BodyError::new("", "missing_column", detail));
                }
            }
        }
        errors.truncate(FAULTS_MAX);
        if errors.is_empty() { Ok(Header(columns)) } else { Err(errors) }
    }

    /// What a row says.
    fn read(&self, header: &Header, given: &Given, defaults: &Defaults) -> (NewEnvelope, Vec<CellError>) {
        let mut reading = Reading::new(self, defaults);
        match given {
            Given::Cells(cells) => {
                for (column, cell) in header.0.iter().zip(cells) {
                    reading.cell(column, header.cell(cell));
                }
                if cells.iter().skip(header.0.len()).any(|cell| !cell.trim().is_empty()) {
                    let detail = format!("The row has more cells than the header has columns ({}).", header.0.len());
                    reading.errors.push(CellError::new("", "too_many_cells", detail));
                }
            }
            Given::Members(members) => {
                let mut seen = HashMap::new();
                for (name, value) in members {
                    match value {
                        // {"values": {"amount": "5"}} says the same as {"values.amount": "5"}.
                        Value::Object(inner) => {
                            for (rest, value) in inner {
                                reading.member(&format!("{}.{rest}", name.trim()), value, &mut seen);
                            }
                        }
                        value => reading.member(name, value, &mut seen),
                    }
                }
            }
        }
        reading.errors.truncate(FAULTS_MAX);
        (reading.new, reading.errors)
    }

    /// Makes the envelope that a row asks for, or says all that is wrong with it.
    pub fn envelope(
        &self,
        making: &Making<'_>,
        pinned: Pinned<'_>,
        row: (&Header, &Given, &Defaults),
        batch: Option<BatchRef>,
    ) -> (Option<String>, Result<Envelope, Vec<CellError>>) {
        let (header, given, defaults) = row;
        let (new, mut errors) = self.read(header, given, defaults);
        let made = self.make(making, pinned, &new, batch);
        let made = match made {
            Ok(envelope) if errors.is_empty() => Ok(envelope),
            Ok(_) => Err(errors),
            Err(more) => {
                // What could not be read is not missing as well.
                let more = more.into_iter().filter(|error| !errors.iter().any(|first| first.column == error.column));
                let more: Vec<_> = more.collect();
                errors.extend(more);
                errors.truncate(FAULTS_MAX);
                Err(errors)
            }
        };
        (new.external_id, made)
    }

    /// Makes the envelope that the cells ask for, or says what is wrong with them.
    fn make(
        &self,
        making: &Making<'_>,
        pinned: Pinned<'_>,
        new: &NewEnvelope,
        batch: Option<BatchRef>,
    ) -> Result<Envelope, Vec<CellError>> {
        let made = from_template(making, pinned, new, batch);
        let mut errors: Vec<CellError> = match &made {
            Ok(_) => Vec::new(),
            Err(errors) => errors.iter().map(|error| self.at_column(error, new)).collect(),
        };
        for field in self.fields.iter().filter(|field| field.readonly && field.required && is_settable(field)) {
            let column = format!("values.{}", field.key);
            let given = new.values.get(&field.key).or(field.default.as_ref());
            if Field::is_empty(given) && !errors.iter().any(|error| error.column == column) {
                let detail = format!("The field {} is the sender's to fill in: give it a value.", field.key);
                errors.push(CellError::new(column, "required", detail));
            }
        }
        errors.truncate(FAULTS_MAX);
        match made {
            Ok(envelope) if errors.is_empty() => Ok(envelope),
            _ => Err(errors),
        }
    }

    /// A fault of the envelope as one of the row's column.
    fn at_column(&self, error: &BodyError, new: &NewEnvelope) -> CellError {
        let parts: Vec<&str> = error.pointer.split('/').skip(1).collect();
        let plain = |part: &str| part.replace("~1", "/").replace("~0", "~");
        let (column, is_missing) = match parts.as_slice() {
            ["recipients", at, attribute] => {
                let role = at.parse::<usize>().ok().filter(|role| *role < self.roles.len());
                let is_missing = *attribute == "email"
                    && role.is_some_and(|role| new.recipients.get(role).is_some_and(|given| given.email.is_empty()));
                (role.map_or_else(String::new, |role| format!("{}.{attribute}", self.roles[role].name)), is_missing)
            }
            [noun @ ("values" | "metadata"), name] => (format!("{noun}.{}", plain(name)), false),
            ["external_id"] => ("external_id".to_owned(), false),
            _ => (String::new(), false),
        };
        CellError::new(column, if is_missing { "required" } else { error.code.as_ref() }, error.detail.clone())
    }
}

/// One row being read.
struct Reading<'a> {
    columns: &'a Columns<'a>,
    new: NewEnvelope,
    errors: Vec<CellError>,
}

impl<'a> Reading<'a> {
    fn new(columns: &'a Columns<'a>, defaults: &Defaults) -> Self {
        let recipients = columns
            .roles
            .iter()
            .map(|role| NewRecipient {
                role: Some(role.name.clone()),
                locale: defaults.locale.clone(),
                ..NewRecipient::default()
            })
            .collect();
        let new = NewEnvelope { recipients, ..defaults.envelope() };
        Self { columns, new, errors: Vec::new() }
    }

    /// A cell of a file: text. An empty one says nothing, so that the default stands.
    fn cell(&mut self, column: &Column, text: &str) {
        if text.trim().is_empty() {
            return;
        }
        match column {
            Column::Value(field) if self.columns.fields[*field].kind == FieldKind::Checkbox => {
                let value = ticked(text).map_or_else(|| Value::String(text.to_owned()), Value::Bool);
                self.new.values.insert(self.columns.fields[*field].key.clone(), value);
            }
            column => self.set(column, Value::String(text.to_owned())),
        }
    }

    /// A member of a JSON row: typed, and exact.
    fn member(&mut self, name: &str, value: &Value, seen: &mut HashMap<String, ()>) {
        match self.columns.find(name) {
            Err(error) => {
                let shown = name.trim().chars().take(64).collect::<String>();
                self.errors.push(CellError::new(shown, &error.code, error.detail));
            }
            Ok(Column::Remark) => {}
            Ok(column) => {
                let name = self.columns.name(&column);
                if seen.insert(fold(&name), ()).is_some() {
                    let detail = format!("The column {name} comes twice.");
                    self.errors.push(CellError::new(name, "duplicate_column", detail));
                } else if !value.is_null() {
                    self.set(&column, value.clone());
                }
            }
        }
    }

    fn set(&mut self, column: &Column, value: Value) {
        if let Column::Value(field) = column {
            self.new.values.insert(self.columns.fields[*field].key.clone(), value);
            return;
        }
        if let Column::Metadata(name) = column {
            self.new.metadata.insert(name.clone(), value);
            return;
        }
        let Value::String(text) = value else {
            let name = self.columns.name(column);
            self.errors.push(CellError::new(name, "wrong_type", "This takes a string."));
            return;
        };
        let text = text.trim().to_owned();
        match column {
            Column::ExternalId => self.new.external_id = Some(text).filter(|text| !text.is_empty()),
            Column::Name(role) => self.new.recipients[*role].name = text,
            Column::Email(role) => self.new.recipients[*role].email = text,
            Column::Locale(role) if !text.is_empty() => self.new.recipients[*role].locale = Some(text),
            Column::Locale(_) | Column::Value(_) | Column::Metadata(_) | Column::Remark => {}
        }
    }
}

fn fold(name: &str) -> String {
    name.to_lowercase()
}

/// What people write for a tick and for none.
fn ticked(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" | "x" => Some(true),
        "false" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// Whether a spreadsheet could take the text for a formula (OWASP, CSV injection), or for one that was neutralised.
fn is_formula(text: &str) -> bool {
    text.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠'])
}

/// A cell on its way into a spreadsheet: formulas get an apostrophe, so that they are shown and not run.
pub fn neutralised(text: &str) -> String {
    if is_formula(text) { format!("'{text}") } else { text.to_owned() }
}

/// Where a fault of a row stands in a JSON body: `/rows/3/Client.email`.
pub fn pointer(row: usize, column: &str) -> String {
    if column.is_empty() { format!("/rows/{row}") } else { format!("/rows/{row}/{}", pointer_part(column)) }
}

#[cfg(test)]
mod tests;
