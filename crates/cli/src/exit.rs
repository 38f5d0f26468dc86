//! How the program ends: one exit code for each kind of end, and an error that says what to do.

use std::{fmt, process::ExitCode};

use serde_json::json;

use crate::output;

/// The kinds of end, as `iusign help` names them. 0 is success, 2 a command line that can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// It failed, or the server refused it.
    Failed = 1,
    /// It was checked and found wanting: `verify`, `doctor`.
    Wanting = 3,
    /// The server gave no answer.
    NoAnswer = 4,
}

/// What every command's help ends with.
pub const HELP: &str = "Exit codes: 0 done; 1 failed or refused; 2 the command line can't be read; 3 checked and found \
wanting (verify, doctor); 4 the server gave no answer.";

/// An end that has printed already what it had to say.
#[derive(Debug)]
pub struct Wanting;

impl fmt::Display for Wanting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("checked and found wanting")
    }
}

impl std::error::Error for Wanting {}

/// An end of `scan`, which has printed what it had to say and ends as scanners do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scanned {
    /// Keys were found.
    Found = 1,
    /// None was found, and something could not be searched.
    Fault = 2,
}

impl fmt::Display for Scanned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Found => "secret keys were found",
            Self::Fault => "something could not be searched",
        })
    }
}

impl std::error::Error for Scanned {}

/// Prints the error, for people or as JSON, and gives its exit code.
pub fn report(error: &anyhow::Error, json: bool) -> ExitCode {
    if error.is::<Wanting>() {
        return ExitCode::from(Code::Wanting as u8);
    }
    if let Some(scanned) = error.downcast_ref::<Scanned>() {
        return ExitCode::from(*scanned as u8);
    }
    let remote = error.downcast_ref::<client::Error>();
    let code = match remote {
        Some(client::Error::NoAnswer { .. }) => Code::NoAnswer,
        _ => Code::Failed,
    };
    if json {
        let value = match remote.and_then(client::Error::problem) {
            Some(problem) => serde_json::to_value(problem).unwrap_or_default(),
            None => {
                let name = if code == Code::NoAnswer { "no_answer" } else { "failed" };
                json!({"code": name, "detail": words(error)})
            }
        };
        output::error_line(&value.to_string());
    } else {
        output::error_line(&format!("iusign: {}", words(error)));
    }
    ExitCode::from(code as u8)
}

/// The error with its causes; an error of the client names its own.
fn words(error: &anyhow::Error) -> String {
    let mut words = Vec::new();
    for cause in error.chain() {
        words.push(cause.to_string());
        if cause.is::<client::Error>() {
            break;
        }
    }
    words.join(": ")
}
