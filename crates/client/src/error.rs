//! What a call can end with besides its answer.

use std::fmt::Write as _;

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server refused it, or failed, and said why: `code`, `status`, `title`, `detail`, `resolution`, `request_id`
    /// and `errors`.
    #[error("{}", sentences(.0))]
    Problem(Box<api::Problem>),
    /// No answer came.
    #[error("{url} gave no answer: {}. {}", chain(.cause), advice(.cause))]
    NoAnswer {
        /// Where it was sent.
        url: String,
        /// What the connection says.
        #[source]
        cause: reqwest::Error,
    },
    /// An answer came that is none of this API.
    #[error("{url} answered {status}, but not as this API does: {detail}. Check that IUSIGN_URL is an IUSign server")]
    NotUnderstood {
        /// Where it was sent.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What was not understood.
        detail: String,
    },
    /// The client was given something that it can't use.
    #[error("{0}")]
    Setup(String),
    /// A local file can't be read or written.
    #[error("{what}: {cause}")]
    File {
        /// Which file, and what for.
        what: String,
        /// What the system says.
        #[source]
        cause: std::io::Error,
    },
}

impl Error {
    /// The problem, where the server told one.
    pub fn problem(&self) -> Option<&api::Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            _ => None,
        }
    }

    /// The problem's code, as `revoked_key`.
    pub fn code(&self) -> Option<&str> {
        self.problem().map(|problem| problem.code.as_str())
    }
}

fn sentences(problem: &api::Problem) -> String {
    let mut text = format!("{} ({} {}).", problem.title, problem.status, problem.code);
    if !problem.detail.is_empty() && problem.detail.trim_end_matches('.') != problem.title {
        text.push(' ');
        text.push_str(&problem.detail);
    }
    for error in &problem.errors {
        let place = if error.pointer.is_empty() { "the body" } else { &error.pointer };
        // Writing to a String can't fail.
        let _ = write!(text, "\n  {place}: {} ({})", error.detail, error.code);
    }
    for key in problem.members.get("keys").and_then(serde_json::Value::as_array).into_iter().flatten() {
        let word = |name: &str| key[name].as_str().unwrap_or("never");
        let (id, label, environment) = (word("id"), word("label"), word("environment"));
        let label: String = label.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let _ = write!(text, "\n  {id} \"{label}\" ({environment}), last used: {}", word("last_used_at"));
    }
    let _ = write!(text, "\n  What to do: {}", problem.resolution);
    if !problem.request_id.is_empty() {
        let _ = write!(text, "\n  Request id: {}", problem.request_id);
    }
    text
}

/// The innermost cause says what happened; the outer ones that something did.
fn chain(error: &dyn std::error::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string().trim_end_matches('.').to_owned()
}

fn advice(error: &reqwest::Error) -> &'static str {
    let words = chain(error);
    if words.contains("certificate") || words.contains("UnknownIssuer") {
        "Name the CA that the server's certificate comes from: IUSIGN_CA_FILE=…/ca.pem"
    } else if error.is_timeout() {
        "It was tried several times; try again, or look whether the server is well with `iusign doctor`"
    } else {
        "Check that the server runs and that IUSIGN_URL is right"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_as_sentences_with_what_to_do() {
        let problem = api::Problem {
            kind: "https://localhost/problems/invalid_body".to_owned(),
            title: "Something in the body can't be accepted".to_owned(),
            status: 422,
            detail: "One place is at fault.".to_owned(),
            code: "invalid_body".to_owned(),
            resolution: "Mend every place.".to_owned(),
            request_id: "req_1".to_owned(),
            errors: vec![api::problem::BodyError {
                pointer: "/label".to_owned(),
                code: "empty".to_owned(),
                detail: "The label is empty.".to_owned(),
            }],
            members: serde_json::Map::new(),
        };
        let error = Error::Problem(Box::new(problem));
        assert_eq!(
            error.to_string(),
            "Something in the body can't be accepted (422 invalid_body). One place is at fault.\n  /label: The label is \
             empty. (empty)\n  What to do: Mend every place.\n  Request id: req_1"
        );
        assert_eq!(error.code(), Some("invalid_body"));
    }

    #[test]
    fn keys_that_would_stop_are_named() {
        let problem: api::Problem = serde_json::from_value(serde_json::json!({
            "type": "https://localhost/problems/keys_would_stop", "title": "API keys would stop working", "status": 409,
            "detail": "One API key has the rights of bob@example.com; it would stop.", "code": "keys_would_stop",
            "resolution": "Transfer them.", "request_id": "",
            "keys": [{"id": "key_1", "label": "Invoices\n", "environment": "production", "last_used_at": null}],
        }))
        .expect("a problem");
        assert_eq!(
            Error::Problem(Box::new(problem)).to_string(),
            "API keys would stop working (409 keys_would_stop). One API key has the rights of bob@example.com; it would \
             stop.\n  key_1 \"Invoices \" (production), last used: never\n  What to do: Transfer them."
        );
    }
}
