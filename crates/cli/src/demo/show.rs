//! How the demo shows what it does: a line for each step with its time, and what happens meanwhile below it.

use std::{
    io::{self, IsTerminal, Write},
    time::Instant,
};

use serde::Serialize;

use crate::output::{self, Style};

/// Columns of a step's name.
const NAME_COLUMNS: usize = 12;
/// Columns of what it says, where the terminal is wide enough; times stand behind them.
const SAID_COLUMNS_MAX: usize = 74;
/// Columns of it in the narrowest terminal.
const SAID_COLUMNS_MIN: usize = 24;
/// Columns of a line beside what it says: mark, name, time, and what lies between.
const OTHER_COLUMNS: usize = 2 + 2 + NAME_COLUMNS + 2 + 2 + 8 + 1;

/// A step that is done.
#[derive(Debug, Serialize)]
pub struct Step {
    /// Its name.
    pub step: &'static str,
    /// What came of it.
    pub said: String,
    /// How long it took.
    pub ms: u128,
}

/// The stage: steps one after the other.
pub struct Stage {
    json: bool,
    is_live: bool,
    style: Style,
    began: Instant,
    step_began: Instant,
    name: &'static str,
    columns: usize,
    /// The steps that are done.
    pub steps: Vec<Step>,
}

impl Stage {
    /// An empty stage; with `json` nothing is shown until the end.
    pub fn new(json: bool) -> Self {
        let style = Style::of_stdout();
        let is_live = !json && io::stdout().is_terminal();
        let now = Instant::now();
        let window = rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
        let columns = window.filter(|columns| *columns > 0).unwrap_or(usize::MAX).saturating_sub(OTHER_COLUMNS);
        let columns = columns.clamp(SAID_COLUMNS_MIN, SAID_COLUMNS_MAX);
        Self { columns, json, is_live, style, began: now, step_began: now, name: "", steps: Vec::new() }
    }

    /// A line of its own.
    pub fn line(&self, text: &str) {
        if !self.json {
            output::line(text);
        }
    }

    /// Begins a step.
    pub fn begin(&mut self, name: &'static str, saying: &str) {
        self.name = name;
        self.step_began = Instant::now();
        self.live(saying);
    }

    /// What happens at this moment, where there is a terminal that can show it.
    pub fn live(&self, saying: &str) {
        if self.is_live {
            let shown = cut(saying, self.columns);
            let head = format!("  {} {:<NAME_COLUMNS$}", self.style.faint("·"), self.name);
            // A terminal that went away is noticed by the next line.
            let _ = write!(io::stdout().lock(), "\r\x1b[2K{head}  {}", self.style.faint(&shown));
            let _ = io::stdout().lock().flush();
        }
    }

    /// A line below the step that is under way, and on.
    pub fn aside(&self, text: &str) {
        if self.is_live {
            let _ = write!(io::stdout().lock(), "\r\x1b[2K");
        }
        self.line(&format!("    {:<NAME_COLUMNS$}  {}", "", self.style.faint(&cut(text, self.columns))));
    }

    /// Ends the step.
    pub fn done(&mut self, said: impl Into<String>) {
        let (said, took) = (said.into(), self.step_began.elapsed());
        if self.is_live {
            let _ = write!(io::stdout().lock(), "\r\x1b[2K");
        }
        let time = format!("{:>6.2} s", took.as_secs_f64());
        let mark = self.style.green("✓");
        let head = format!("  {mark} {:<NAME_COLUMNS$}", self.name);
        let columns = self.columns;
        self.line(&format!("{head}  {:<columns$}  {}", cut(&said, self.columns), self.style.faint(&time)));
        self.steps.push(Step { step: self.name, said, ms: took.as_millis() });
    }

    /// Seconds since it began.
    pub fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}

fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let kept: String = text.chars().take(columns - 1).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_with_a_mark() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("äbcd", 3), "äb…");
    }
}
