//! Rows as people have them: bytes of CSV or NDJSON go in piece by piece, rows with their line numbers come out.
//!
//! CSV is read by the state machine below rather than by the crate `csv`, which counts neither blank rows nor the lines
//! of files with CR alone, says nothing about a quote that is never closed, and wants to be the one that reads. Nothing
//! is guessed: what can't be read for certain is refused with its line, because it would stand in a contract.

use std::{fmt, mem};

use model::{Code, Problem, row::Given};
use serde::{
    Deserialize,
    de::{Deserializer, Error as _, MapAccess, Visitor},
};
use serde_json::{Map, Value};

/// Bytes of one row at most.
pub const ROW_BYTES_MAX: usize = 256 * 1024;
/// What separates the cells, the likelier first.
const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];
/// The bytes that windows-1252 leaves undefined, and what the others from 0x80 to 0x9F mean.
const WINDOWS_1252: [Option<char>; 32] = {
    const fn some(c: char) -> Option<char> {
        Some(c)
    }
    [
        some('€'),
        None,
        some('‚'),
        some('ƒ'),
        some('„'),
        some('…'),
        some('†'),
        some('‡'),
        some('ˆ'),
        some('‰'),
        some('Š'),
        some('‹'),
        some('Œ'),
        None,
        some('Ž'),
        None,
        None,
        some('‘'),
        some('’'),
        some('“'),
        some('”'),
        some('•'),
        some('–'),
        some('—'),
        some('˜'),
        some('™'),
        some('š'),
        some('›'),
        some('œ'),
        None,
        some('ž'),
        some('Ÿ'),
    ]
};

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A header and cells.
    Csv(Charset),
    /// A JSON object a line.
    Ndjson,
}

/// How a CSV file's characters are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    /// UTF-8, with or without a BOM.
    Utf8,
    /// Windows-1252, of which ISO 8859-1 is a part.
    Windows1252,
}

impl Format {
    /// The format that a `Content-Type` names.
    pub fn of(content_type: &str) -> Result<Self, Problem> {
        let refuse = |detail: String| Err(Problem::new(Code::UnsupportedMediaType, detail));
        let mut parts = content_type.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let charset = parts
            .filter_map(|part| part.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
            .map(|(_, value)| value.trim().trim_matches('"').to_ascii_lowercase());
        match (media.as_str(), charset.as_deref()) {
            ("text/csv", None | Some("utf-8" | "utf8" | "us-ascii")) => Ok(Self::Csv(Charset::Utf8)),
            ("text/csv", Some("windows-1252" | "cp1252" | "iso-8859-1" | "latin1")) => {
                Ok(Self::Csv(Charset::Windows1252))
            }
            ("application/x-ndjson" | "application/ndjson" | "application/jsonl", None | Some("utf-8" | "utf8")) => {
                Ok(Self::Ndjson)
            }
            ("text/csv" | "application/x-ndjson" | "application/ndjson" | "application/jsonl", Some(charset)) => {
                refuse(format!(
                    "Rows can't be read as {:?}: save them as UTF-8, or send CSV with charset=windows-1252.",
                    charset.chars().take(40).collect::<String>()
                ))
            }
            _ => refuse("Rows are sent as `Content-Type: text/csv` or `application/x-ndjson`.".to_owned()),
        }
    }
}

/// What comes out.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// The header, first and once.
    Header(Vec<String>),
    /// A row, with its number as a spreadsheet shows it; for NDJSON the line's.
    Row(i64, Given),
}

/// Reads rows piece by piece.
pub struct Parser {
    text: Text,
    kind: Kind,
}

enum Kind {
    Csv(Csv),
    Ndjson(Lines),
}

impl Parser {
    /// A parser at the beginning of a file.
    pub fn new(format: Format) -> Self {
        let (charset, kind) = match format {
            Format::Csv(charset) => (charset, Kind::Csv(Csv::default())),
            Format::Ndjson => (Charset::Utf8, Kind::Ndjson(Lines { line: 1, ..Lines::default() })),
        };
        Self { text: Text { charset, carry: Vec::new(), seen: 0, line: 1, last: 0 }, kind }
    }

    /// Takes the next piece; what is complete comes out.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<Item>) -> Result<(), Problem> {
        // What stands before an unreadable byte is read first, so that the first fault of a file is the one that is told,
        // however the file is cut into pieces.
        let (text, fault) = self.text.decode(piece);
        match &mut self.kind {
            Kind::Csv(csv) => csv.push(text.as_bytes(), out),
            Kind::Ndjson(lines) => lines.push(text.as_bytes(), out),
        }?;
        fault.map_or(Ok(()), Err)
    }

    /// The file ends here.
    pub fn end(mut self, out: &mut Vec<Item>) -> Result<(), Problem> {
        self.text.end()?;
        match &mut self.kind {
            Kind::Csv(csv) => csv.end(out),
            Kind::Ndjson(lines) => lines.end(out),
        }
    }
}

fn unreadable(line: u64, why: impl fmt::Display) -> Problem {
    Problem::new(Code::RowsUnreadable, format!("Line {line}: {why}"))
}

/// Bytes become characters, or are refused by line and byte.
struct Text {
    charset: Charset,
    carry: Vec<u8>,
    seen: u64,
    line: u64,
    last: u8,
}

impl Text {
    /// The characters of a piece, up to the first byte that is none, and what is wrong with that.
    fn decode(&mut self, piece: &[u8]) -> (String, Option<Problem>) {
        let (text, fault) = match self.charset {
            Charset::Utf8 => self.utf8(piece),
            Charset::Windows1252 => self.windows_1252(piece),
        };
        // The first text of a file may begin with a byte order mark.
        match text.strip_prefix('\u{feff}') {
            Some(rest) if self.charset == Charset::Utf8 && self.seen == text.len() as u64 => (rest.to_owned(), fault),
            _ => (text, fault),
        }
    }

    fn utf8(&mut self, piece: &[u8]) -> (String, Option<Problem>) {
        let mut bytes = mem::take(&mut self.carry);
        bytes.extend_from_slice(piece);
        let (valid, wrong) = match std::str::from_utf8(&bytes) {
            Ok(_) => (bytes.len(), None),
            Err(error) => (error.valid_up_to(), error.error_len().map(|_| bytes[error.valid_up_to()])),
        };
        self.carry = bytes.split_off(valid);
        self.count(&bytes);
        let fault = wrong.map(|byte| self.wrong(byte));
        (String::from_utf8_lossy(&bytes).into_owned(), fault)
    }

    fn windows_1252(&mut self, piece: &[u8]) -> (String, Option<Problem>) {
        let mut text = String::with_capacity(piece.len() + piece.len() / 8);
        for (at, byte) in piece.iter().enumerate() {
            let read = match byte {
                0x80..=0x9f => WINDOWS_1252[usize::from(byte - 0x80)],
                byte => Some(char::from(*byte)),
            };
            let Some(read) = read else {
                self.count(&piece[..at]);
                return (text, Some(self.wrong(*byte)));
            };
            text.push(read);
        }
        self.count(piece);
        (text, None)
    }

    fn end(&mut self) -> Result<(), Problem> {
        match self.carry.first() {
            Some(byte) => Err(self.wrong(*byte)),
            None => Ok(()),
        }
    }

    fn count(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.line += u64::from(is_break(self.last, *byte));
            self.last = *byte;
        }
        self.seen += bytes.len() as u64;
    }

    fn wrong(&self, byte: u8) -> Problem {
        let charset = match self.charset {
            Charset::Utf8 => "UTF-8",
            Charset::Windows1252 => "windows-1252",
        };
        let hint = match (self.seen, byte) {
            (0, 0xfe | 0xff) => " It looks like UTF-16: save it as UTF-8.",
            (_, _) if self.charset == Charset::Utf8 => {
                " Save it as UTF-8, or say `Content-Type: text/csv; charset=windows-1252` if it is that."
            }
            _ => "",
        };
        unreadable(self.line, format!("byte {} of the file ({byte:#04x}) is not {charset}.{hint}", self.seen + 1))
    }
}

/// Whether a line ends with `byte`: LF, CR, or CR LF counted once.
fn is_break(last: u8, byte: u8) -> bool {
    byte == b'\r' || (byte == b'\n' && last != b'\r')
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// At the beginning of a cell.
    #[default]
    Start,
    /// In a cell without quotes.
    Plain,
    /// Between quotes.
    Quoted,
    /// After a quote that may be the closing one.
    Closing,
}

/// CSV (RFC 4180, and what spreadsheets make of it).
#[derive(Default)]
struct Csv {
    delimiter: Option<u8>,
    head: Head,
    state: State,
    cells: Vec<u8>,
    ends: Vec<usize>,
    /// Rows before this one, as a spreadsheet counts: a cell with line breaks is still one row.
    rows: i64,
    /// Line breaks before this byte, as an editor counts.
    breaks: u64,
    opened: u64,
    last: u8,
    has_header: bool,
}

/// The first row, until it is known what separates its cells.
#[derive(Default)]
struct Head {
    bytes: Vec<u8>,
    counts: [usize; 3],
    is_quoted: bool,
    has_content: bool,
}

impl Head {
    /// Takes a byte; the delimiter once the first row that is not blank has ended.
    fn take(&mut self, byte: u8) -> Option<u8> {
        self.bytes.push(byte);
        match byte {
            b'"' => {
                self.is_quoted = !self.is_quoted;
                self.has_content = true;
            }
            b'\r' | b'\n' if !self.is_quoted && self.has_content => return Some(self.delimiter()),
            b'\r' | b'\n' if !self.is_quoted => self.counts = [0; 3],
            byte if !self.is_quoted => {
                if let Some(at) = DELIMITERS.iter().position(|delimiter| *delimiter == byte) {
                    self.counts[at] += 1;
                } else if byte != b' ' {
                    self.has_content = true;
                }
            }
            _ => {}
        }
        None
    }

    /// What stands there most often; a comma where nothing does.
    fn delimiter(&self) -> u8 {
        let most = self.counts.iter().max().copied().unwrap_or_default();
        self.counts.iter().position(|count| *count == most).map_or(b',', |at| DELIMITERS[at])
    }
}

impl Csv {
    fn push(&mut self, text: &[u8], out: &mut Vec<Item>) -> Result<(), Problem> {
        let mut text = text.iter();
        if self.delimiter.is_none() {
            for byte in text.by_ref() {
                self.delimiter = self.head.take(*byte);
                if self.delimiter.is_some() {
                    self.feed_head(out)?;
                    break;
                }
                if self.head.bytes.len() > ROW_BYTES_MAX {
                    return Err(self.too_long());
                }
            }
        }
        for byte in text {
            self.byte(*byte, out)?;
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<Item>) -> Result<(), Problem> {
        if self.delimiter.is_none() {
            self.delimiter = Some(self.head.delimiter());
            self.feed_head(out)?;
        }
        if self.state == State::Quoted {
            return Err(unreadable(self.opened, "the quote that opens here is never closed."));
        }
        if self.state != State::Start || !self.ends.is_empty() {
            self.end_row(out)?;
        }
        if self.has_header { Ok(()) } else { Err(unreadable(1, "there is no header: the file is empty.")) }
    }

    fn feed_head(&mut self, out: &mut Vec<Item>) -> Result<(), Problem> {
        for byte in mem::take(&mut self.head.bytes) {
            self.byte(byte, out)?;
        }
        Ok(())
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<Item>) -> Result<(), Problem> {
        let last = mem::replace(&mut self.last, byte);
        match (self.state, byte) {
            (State::Quoted, b'"') => self.state = State::Closing,
            (State::Quoted, byte) => self.cells.push(byte),
            (State::Closing, b'"') => {
                self.cells.push(byte);
                self.state = State::Quoted;
            }
            // The second half of CR LF.
            (State::Start, b'\n') if last == b'\r' => {}
            (_, b'\r' | b'\n') => self.end_row(out)?,
            (_, byte) if Some(byte) == self.delimiter => {
                self.ends.push(self.cells.len());
                self.state = State::Start;
            }
            (State::Start, b'"') => {
                self.opened = self.breaks + 1;
                self.state = State::Quoted;
            }
            (State::Closing, b' ') => {}
            (State::Closing, _) => {
                let why = "text follows a closing quote: quotes within a cell are doubled (\"\").";
                return Err(unreadable(self.breaks + 1, why));
            }
            (State::Start | State::Plain, byte) => {
                self.cells.push(byte);
                self.state = State::Plain;
            }
        }
        self.breaks += u64::from(is_break(last, byte));
        if self.cells.len() + self.ends.len() > ROW_BYTES_MAX { Err(self.too_long()) } else { Ok(()) }
    }

    fn end_row(&mut self, out: &mut Vec<Item>) -> Result<(), Problem> {
        self.ends.push(self.cells.len());
        self.state = State::Start;
        self.rows += 1;
        let (cells, ends) = (mem::take(&mut self.cells), mem::take(&mut self.ends));
        let text = String::from_utf8(cells).map_err(Problem::fault)?;
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let cells: Vec<String> = starts.zip(&ends).map(|(start, end)| text[start..*end].to_owned()).collect();
        // Before the header a blank row may be made of what turned out not to be the delimiter.
        let blank = |c: char| c.is_whitespace() || (!self.has_header && matches!(c, ',' | ';' | '\t'));
        if cells.iter().all(|cell| cell.chars().all(blank)) {
            return Ok(());
        }
        if mem::replace(&mut self.has_header, true) {
            out.push(Item::Row(self.rows, Given::Cells(cells)));
        } else {
            out.push(Item::Header(cells));
        }
        Ok(())
    }

    fn too_long(&self) -> Problem {
        let why = format!("the row that begins above is longer than {} KiB", ROW_BYTES_MAX / 1024);
        match self.state {
            State::Quoted => unreadable(self.opened, format!("{why}. A quote that opens here may never be closed.")),
            _ => unreadable(self.breaks + 1, format!("{why}.")),
        }
    }
}

/// NDJSON: an object a line.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    line: u64,
}

impl Lines {
    fn push(&mut self, text: &[u8], out: &mut Vec<Item>) -> Result<(), Problem> {
        let mut parts = text.split(|byte| *byte == b'\n');
        // What follows the last line break is not a whole line yet.
        let rest = parts.next_back().unwrap_or_default();
        for part in parts {
            self.extend(part)?;
            self.row(out)?;
        }
        self.extend(rest)
    }

    fn extend(&mut self, part: &[u8]) -> Result<(), Problem> {
        self.bytes.extend_from_slice(part);
        if self.bytes.len() > ROW_BYTES_MAX {
            return Err(unreadable(self.line, format!("it is longer than {} KiB.", ROW_BYTES_MAX / 1024)));
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<Item>) -> Result<(), Problem> {
        self.row(out)
    }

    fn row(&mut self, out: &mut Vec<Item>) -> Result<(), Problem> {
        let bytes = mem::take(&mut self.bytes);
        let line = self.line;
        self.line += 1;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let Members(members) = serde_json::from_slice(&bytes).map_err(|error| {
            let text = error.to_string();
            let place = format!(" at line {} column {}", error.line(), error.column());
            let why = text.strip_suffix(&place).unwrap_or(&text);
            unreadable(line, format!("{why} at byte {} of the line.", error.column()))
        })?;
        let number = i64::try_from(line).map_err(Problem::fault)?;
        out.push(Item::Row(number, Given::Members(members)));
        Ok(())
    }
}

/// An object whose members have different names: serde_json alone would keep the last of two.
struct Members(Map<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object for each line")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Map::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if members.contains_key(&name) {
                        let name: String = name.chars().take(64).collect();
                        return Err(A::Error::custom(format!("the member {name:?} comes twice")));
                    }
                    members.insert(name, value);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Read)
    }
}

#[cfg(test)]
mod tests;
