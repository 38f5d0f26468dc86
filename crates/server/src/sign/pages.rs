//! The signing room's pages: what each template is given. Words are whole by the time they come here.
//!
//! `frame.path` holds the link, which is a credential: no Debug here.

use askama::Template;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use model::Problem;

use super::words::Words;
use crate::assets;

/// What every page has.
#[derive(Clone)]
pub(crate) struct Frame {
    pub title: String,
    /// Says that this is a test, and where; empty in production.
    pub test: &'static str,
    /// Who asks; empty where nothing may be told.
    pub sender: String,
    pub initials: String,
    /// `/sign/{link}`; empty where the link is not known.
    pub path: String,
    pub icon: String,
    pub look: String,
    pub style: String,
    pub script: String,
}

impl Frame {
    /// A frame that tells nothing of any envelope.
    pub(crate) fn bare(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            test: "",
            sender: String::new(),
            initials: String::new(),
            path: String::new(),
            icon: assets::url("icon.svg"),
            look: assets::url("look.css"),
            style: assets::url("sign.css"),
            script: assets::url("sign.js"),
        }
    }
}

/// A document in a list.
pub(super) struct File {
    pub id: String,
    pub name: String,
    pub pages: String,
    pub download: String,
}

#[derive(Template)]
#[template(path = "sign/landing.html")]
pub(super) struct Landing {
    pub words: &'static Words,
    pub frame: Frame,
    pub heading: String,
    pub addressed: String,
    pub message: String,
    pub documents: Vec<File>,
    pub button: &'static str,
    pub until: String,
    pub opening: String,
}

/// A page for a state, or for what went wrong.
#[derive(Template)]
#[template(path = "sign/state.html")]
pub(super) struct State {
    pub words: &'static Words,
    pub frame: Frame,
    pub icon: &'static str,
    pub tone: &'static str,
    pub heading: String,
    pub lines: Vec<String>,
    pub quote: String,
    /// The button that begins a session; empty for none.
    pub open: &'static str,
    /// The button that leads to the landing page; empty for none.
    pub back: &'static str,
    pub ask: String,
}

/// A part of the disclosure.
pub(super) struct Block {
    pub kind: &'static str,
    pub text: String,
    pub lines: Vec<String>,
}

#[derive(Template)]
#[template(path = "sign/consent.html")]
pub(super) struct Consent {
    pub words: &'static Words,
    pub frame: Frame,
    pub about: String,
    pub documents: Vec<File>,
    pub blocks: Vec<Block>,
    pub version: &'static str,
    pub error: &'static str,
    pub stamp: String,
}

#[derive(Template)]
#[template(path = "sign/decline.html")]
pub(super) struct Decline {
    pub words: &'static Words,
    pub frame: Frame,
    pub heading: String,
    pub consequence: String,
    pub reason_label: &'static str,
    pub reason: String,
    pub error: String,
}

#[derive(Template)]
#[template(path = "sign/done.html")]
pub(super) struct Done {
    pub words: &'static Words,
    pub frame: Frame,
    /// A script asks again until the page can say that the documents are sealed.
    pub is_sealing: bool,
    pub heading: String,
    pub lines: Vec<String>,
    pub documents: Vec<File>,
    pub return_to: String,
    pub return_words: String,
    pub ask: String,
}

/// A document with its pages.
pub(super) struct Sheaf {
    pub id: String,
    pub name: String,
    pub download: String,
    pub sheets: Vec<Sheet>,
}

/// A page with its fields.
pub(super) struct Sheet {
    pub anchor: String,
    pub src: String,
    pub width: u32,
    pub height: u32,
    pub alt: String,
    pub lazy: bool,
    pub filled: Filled,
    pub fields: Vec<Field>,
    pub fields_label: String,
}

/// What others and the sender have filled in on a page: drawn as it will be sealed, and in words.
#[derive(Default)]
pub(super) struct Filled {
    pub label: String,
    /// Width and height of the page, in points.
    pub view: String,
    pub marks: Vec<Mark>,
}

/// A value on a page that its reader cannot change.
pub(super) struct Mark {
    /// `print`, `ink`, `script`, and ` may` where it can still change.
    pub class: String,
    /// What it is and whose, in words.
    pub words: String,
    /// The letters' size, in points.
    pub size: String,
    pub lines: Vec<Line>,
    /// The pen's width, in points.
    pub pen: String,
    pub paths: Vec<String>,
}

/// A line of text upon a page, in points.
pub(super) struct Line {
    pub text: String,
    pub x: String,
    pub y: String,
    pub width: String,
}

/// A field as it is shown.
#[derive(Clone)]
pub(super) struct Field {
    /// Its place in reading order, from 1: names its inputs and styles.
    pub number: usize,
    pub kind: &'static str,
    pub key: String,
    pub label: String,
    /// For "Next: …".
    pub name: String,
    pub page_label: String,
    pub prompt: String,
    pub help: &'static str,
    pub required: bool,
    pub readonly: bool,
    pub checked: bool,
    /// The signature is made here; further signature fields show it.
    pub first: bool,
    pub max: usize,
    pub value: String,
    pub error: String,
}

/// The signature as the form holds it.
pub(super) struct Signature {
    pub kind: &'static str,
    pub text: String,
    pub strokes: String,
    pub aspect: String,
    pub suggested: String,
}

#[derive(Template)]
#[template(path = "sign/document.html")]
pub(super) struct Document {
    pub words: &'static Words,
    pub frame: Frame,
    pub about: String,
    pub documents: Vec<Sheaf>,
    pub version: i64,
    /// The digest of what is shown and cannot be changed.
    pub shown: String,
    pub signature: Signature,
    pub notice: &'static str,
    pub errors: usize,
    pub errors_heading: String,
    pub failed: Vec<Field>,
    pub legal_line: String,
    pub left: String,
    pub finish_button: &'static str,
}

/// A page on its way out. The headers that every response has (policy, referrer, no-store) are the server's.
pub(crate) fn page(status: StatusCode, template: &impl Template) -> Result<Response, Problem> {
    let html = template.render().map_err(Problem::fault)?;
    let mut response = (status, html).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    keep_out(headers);
    Ok(response)
}

/// Search engines stay outside: whoever posts a link somewhere must not have it found.
pub(super) fn keep_out(headers: &mut http::HeaderMap) {
    headers.insert("x-robots-tag", HeaderValue::from_static("noindex, nofollow, noarchive"));
}

/// One or two letters for the mark.
pub(crate) fn initials(name: &str) -> String {
    name.split_whitespace()
        .filter_map(|word| word.chars().find(|c| c.is_alphanumeric()))
        .take(2)
        .flat_map(char::to_uppercase)
        .collect()
}
