//! What goes to the terminal: tables and lines for people, JSON for programs, nothing that breaks a pipe.

use std::{
    io::{self, IsTerminal, Write},
    sync::OnceLock,
};

use serde::Serialize;

/// Why standard output takes nothing any more. What the command does and how it ends is the same without it.
static CLOSED: OnceLock<io::Error> = OnceLock::new();

/// Writes a line to standard output, unless a line before could not be written.
pub fn line(text: &str) {
    if CLOSED.get().is_some() {
        return;
    }
    let mut out = io::stdout().lock();
    if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
        // Where another thread was first, its error is as good.
        let _ = CLOSED.set(error);
    }
}

/// Whether every line was written so far. What only prints may end where nobody reads (`… | head`).
pub fn is_open() -> bool {
    CLOSED.get().is_none()
}

/// Why lines were lost, unless their reader went away by himself.
pub fn fault() -> Option<&'static io::Error> {
    CLOSED.get().filter(|error| error.kind() != io::ErrorKind::BrokenPipe)
}

/// Writes a line to standard error; where there is none, nobody reads.
pub fn error_line(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// One JSON value on one line.
pub fn json(value: &impl Serialize) {
    line(
        &serde_json::to_string(value).unwrap_or_else(|error| format!("{{\"code\":\"failed\",\"detail\":\"{error}\"}}")),
    );
}

/// JSON, or what `human` prints.
pub fn show<T: Serialize>(as_json: bool, value: &T, human: impl FnOnce(&T)) {
    if as_json { json(value) } else { human(value) }
}

/// A table: names above, columns as wide as their widest cell, the last one free.
pub fn table(names: &[&str], rows: &[Vec<String>]) {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let width = |column: usize| {
        std::iter::once(&names).chain(rows).filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..names.len()).map(|column| width(column).unwrap_or(0)).collect();
    let draw = |row: &[String]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let faint = Style::of_stdout();
    line(&faint.faint(&draw(&names.iter().map(|name| name.to_uppercase()).collect::<Vec<_>>())));
    for row in rows {
        line(&draw(row));
    }
}

/// Names and values below one another.
pub fn pairs(pairs: &[(&str, String)]) {
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let style = Style::of_stdout();
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        line(&format!("{}  {value}", style.faint(&format!("{name:<width$}"))));
    }
}

/// Few and quiet styles; plain where nobody looks, or where `NO_COLOR` is set.
#[derive(Clone, Copy, Debug)]
pub struct Style(bool);

impl Style {
    /// As standard output can show it.
    pub fn of_stdout() -> Self {
        Self(io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Less important.
    pub fn faint(self, text: &str) -> String {
        self.wrap("2", text)
    }

    /// More important.
    pub fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// Good.
    pub fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }

    /// Bad.
    pub fn red(self, text: &str) -> String {
        self.wrap("31", text)
    }

    /// To be followed.
    pub fn blue(self, text: &str) -> String {
        self.wrap("36", text)
    }
}

/// A text from outside as one line of a terminal: control characters can do nothing there.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if model::word::is_hidden(c) { ' ' } else { c }).collect()
}

/// A text from outside without the secret keys that stand in it.
pub fn masked(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = 0;
    for (start, key) in secret::find(text.as_bytes()) {
        masked.push_str(&text[rest..start]);
        masked.push_str(&key.masked());
        rest = start + key.expose().len();
    }
    masked + &text[rest..]
}

/// `2025-11-25T20:01:22.007Z` as `2025-11-25 20:01:22`.
pub fn short_time(text: &str) -> String {
    text.get(..19).unwrap_or(text).replace('T', " ")
}
