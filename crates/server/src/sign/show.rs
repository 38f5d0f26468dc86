//! From what `app` knows of an envelope to what a recipient reads: every page's data, in words.

use std::collections::HashMap;

use app::room::{Room, Standing};
use model::{
    BodyError, Environment, Timestamp,
    envelope::{Status, pointer_part},
    field::{Field, FieldKind, SIGNATURE_CHARS_MAX, VALUE_CHARS_MAX},
    link::Link,
    recipient::RecipientKind,
    template::ContentDocument,
};
use serde_json::Value;

use super::{
    filled,
    form::Pairs,
    pages::{self, Block, File, Frame, Sheaf, Sheet},
    words::{self, Words, fill},
};

/// Pages whose pictures are fetched at once; those below wait until they come near.
const EAGER_PAGES: u32 = 2;

/// One envelope for one reader.
pub(super) struct Show<'a> {
    pub room: &'a Room,
    pub link: &'a Link,
    pub words: &'static Words,
}

impl<'a> Show<'a> {
    pub(super) fn new(room: &'a Room, link: &'a Link) -> Self {
        Self { room, link, words: words::of(&room.recipient().body.locale) }
    }

    pub(super) fn sender(&self) -> &str {
        &self.room.envelope.body.sender.tenant
    }

    fn title(&self) -> &str {
        &self.room.envelope.title
    }

    fn approves(&self) -> bool {
        self.room.recipient().kind == RecipientKind::Approver
    }

    fn say(&self, text: &str) -> String {
        let recipient = self.room.recipient();
        fill(
            text,
            &[
                ("sender", self.sender()),
                ("title", self.title()),
                ("name", &recipient.name),
                ("email", &recipient.email),
            ],
        )
    }

    fn say_at(&self, text: &str, at: Timestamp) -> String {
        fill(text, &[("sender", self.sender()), ("title", self.title()), ("time", &self.time(at))])
    }

    pub(super) fn time(&self, at: Timestamp) -> String {
        at.words_in(&self.room.envelope.body.timezone)
    }

    fn ask(&self) -> String {
        self.say(self.words.ask)
    }

    fn pages(&self, count: usize) -> String {
        if count == 1 {
            self.words.one_page.to_owned()
        } else {
            fill(self.words.pages, &[("count", &count.to_string())])
        }
    }

    fn about(&self) -> String {
        let count = self.room.content.documents.iter().map(|document| document.pages.len()).sum();
        fill(self.words.about, &[("sender", self.sender()), ("pages", &self.pages(count))])
    }

    pub(super) fn frame(&self) -> Frame {
        Frame {
            test: match self.room.envelope.scope.environment {
                Environment::Development => self.words.test_development,
                Environment::Staging => self.words.test_staging,
                Environment::Production => "",
            },
            sender: self.sender().to_owned(),
            initials: pages::initials(self.sender()),
            path: format!("/sign/{}", self.link.expose()),
            ..Frame::bare(self.title())
        }
    }

    fn files(&self) -> Vec<File> {
        self.room.content.documents.iter().map(|document| self.file(document)).collect()
    }

    fn file(&self, document: &ContentDocument) -> File {
        File {
            id: document.id.to_string(),
            name: document.filename.clone(),
            pages: self.pages(document.pages.len()),
            download: fill(self.words.download_named, &[("name", &document.filename)]),
        }
    }

    pub(super) fn landing(&self) -> pages::Landing {
        let words = self.words;
        let (heading, button, opening) = match self.room.standing {
            Standing::Copy => (words.landing_copy, words.see_copy, words.opening_copy),
            _ if self.approves() => (words.landing_approve, words.review_approve, words.opening),
            _ => (words.landing_sign, words.review_sign, words.opening),
        };
        pages::Landing {
            words,
            frame: self.frame(),
            heading: self.say(heading),
            addressed: self.say(words.addressed),
            message: self.room.envelope.body.message.body.clone(),
            documents: self.files(),
            button,
            until: self.room.envelope.expires_at.map_or_else(String::new, |at| self.say_at(words.until, at)),
            opening: self.say(opening),
        }
    }

    /// The page of a state in which nothing can be done here.
    pub(super) fn state(&self) -> pages::State {
        let words = self.words;
        let envelope = &self.room.envelope;
        let recipient = self.room.recipient();
        let at = envelope.status_at;
        let declined = recipient.body.declined.as_ref();
        let (icon, tone, heading, line) = match self.room.standing {
            Standing::NotYourTurn => ("clock", "warn", words.not_turn, self.say(words.not_turn_line)),
            Standing::Signed | Standing::Copy | Standing::Open => {
                let heading = if self.approves() { words.approved } else { words.signed };
                ("check", "good", heading, self.say_at(words.signed_at, recipient.status_at))
            }
            Standing::Declined => {
                let heading = if declined.is_some() { words.declined_self } else { words.declined_other };
                ("cross", "bad", heading, self.say_at(words.declined_line, at))
            }
            Standing::Voided => ("cross", "bad", words.voided, self.say_at(words.voided_line, at)),
            Standing::Expired => {
                let line = self.say_at(words.expired_line, envelope.expires_at.unwrap_or(at));
                ("clock", "warn", words.expired, line)
            }
            Standing::Replaced => ("link", "warn", words.replaced, words.replaced_line.to_owned()),
        };
        pages::State {
            words,
            frame: self.frame(),
            icon,
            tone,
            heading: heading.to_owned(),
            lines: vec![line],
            quote: declined.map(|declined| declined.reason.clone()).unwrap_or_default(),
            open: if self.room.standing == Standing::Signed { words.signed_open } else { "" },
            back: "",
            ask: self.ask(),
        }
    }

    pub(super) fn session_ended(&self) -> pages::State {
        let words = self.words;
        pages::State {
            words,
            frame: self.frame(),
            icon: "clock",
            tone: "",
            heading: words.ended_title.to_owned(),
            lines: vec![words.ended_line.to_owned()],
            quote: String::new(),
            open: "",
            back: words.ended_back,
            ask: self.ask(),
        }
    }

    pub(super) fn consent(&self, error: &'static str) -> pages::Consent {
        let disclosure = self.room.disclosure();
        pages::Consent {
            words: self.words,
            frame: self.frame(),
            about: self.about(),
            documents: Vec::new(),
            blocks: blocks(disclosure.text),
            version: disclosure.version,
            error,
            stamp: fill(self.words.consent_stamp, &[("version", disclosure.version)]),
        }
    }

    pub(super) fn decline(&self, reason: &str, error: &str) -> pages::Decline {
        pages::Decline {
            words: self.words,
            frame: self.frame(),
            heading: self.say(self.words.decline_title),
            consequence: self.say(self.words.decline_consequence),
            reason_label: self.words.decline_reason,
            reason: reason.to_owned(),
            error: self.say(error),
        }
    }

    pub(super) fn done(&self) -> pages::Done {
        let words = self.words;
        let recipient = self.room.recipient();
        let next = match self.room.envelope.status {
            Status::Completed => words.done_completed,
            Status::Sealing => words.done_sealing,
            _ => words.done_waits,
        };
        let mut lines = vec![next.to_owned()];
        let heading = match self.room.standing {
            Standing::Copy => words.done_copy,
            _ => {
                lines.push(self.say_at(words.done_at, recipient.status_at));
                if self.approves() { words.done_approve } else { words.done_sign }
            }
        };
        if self.room.envelope.status != Status::Completed {
            lines.push(words.done_unsealed.to_owned());
        }
        let (return_to, host) = self.way_back().unwrap_or_default();
        pages::Done {
            words,
            frame: self.frame(),
            is_sealing: self.room.envelope.status == Status::Sealing,
            heading: self.say(heading),
            lines,
            documents: self.files(),
            return_words: fill(words.return_to, &[("host", &host)]),
            return_to,
            ask: self.ask(),
        }
    }

    /// The sender's page to go on to, with a hint of what happened; and its host, for the button.
    fn way_back(&self) -> Option<(String, String)> {
        let url = self.room.envelope.body.redirect_url.as_deref()?;
        let host = model::envelope_new::host_of(url)?.to_owned();
        let (url, fragment) = url.split_once('#').map_or((url, None), |(url, fragment)| (url, Some(fragment)));
        let mark = if url.contains('?') { '&' } else { '?' };
        let fragment = fragment.map(|fragment| format!("#{fragment}")).unwrap_or_default();
        Some((format!("{url}{mark}event=signing_complete{fragment}"), host))
    }

    /// The document with its fields; `posted` and `errors` are what was sent and refused.
    pub(super) fn document(
        &self,
        posted: Option<&Pairs>,
        errors: &[BodyError],
        notice: &'static str,
    ) -> pages::Document {
        let words = self.words;
        let errors: HashMap<&str, &str> = errors.iter().map(|e| (e.pointer.as_str(), e.detail.as_str())).collect();
        let fields = self.fields(posted, &errors);
        let failed: Vec<_> =
            fields.iter().filter(|(_, shown)| !shown.error.is_empty()).map(|(_, s)| s.clone()).collect();
        let signature = self.signature(posted);
        let must: Vec<_> =
            fields.iter().map(|(_, s)| s).filter(|s| s.required && (s.kind != "signature" || s.first)).collect();
        let empty = must.iter().filter(|field| match field.kind {
            "signature" => signature.text.trim().is_empty() && signature.strokes.is_empty(),
            "checkbox" => !field.checked,
            _ => field.value.trim().is_empty(),
        });
        let left = empty.count();
        let (legal, finish_button) = match self.approves() {
            true => (words.legal_approve, words.finish_approve),
            false => (words.legal_sign, words.finish_sign),
        };
        let test = if self.frame().test.is_empty() { String::new() } else { format!(" {}", words.legal_test) };
        let count = failed.len().max(errors.len());
        pages::Document {
            words,
            frame: self.frame(),
            about: self.about(),
            documents: self.room.content.documents.iter().map(|document| self.sheaf(document, &fields)).collect(),
            version: self.room.recipient().body.values_version,
            shown: self.room.shown_values().sha256,
            signature,
            notice,
            errors: count,
            errors_heading: match count {
                1 => words.errors_one.to_owned(),
                many => fill(words.errors_many, &[("count", &many.to_string())]),
            },
            failed,
            legal_line: format!("{}{test}", self.say(legal)),
            left: match left {
                0 => words.left_none.to_owned(),
                left => fill(words.left, &[("left", &left.to_string()), ("all", &must.len().to_string())]),
            },
            finish_button,
        }
    }

    fn signature(&self, posted: Option<&Pairs>) -> pages::Signature {
        let get = |name| posted.map(|form| form.get(name).to_owned()).unwrap_or_default();
        let is_drawn = posted.is_some_and(|form| form.get("signature.kind") == "drawn");
        pages::Signature {
            kind: if is_drawn { "drawn" } else { "typed" },
            text: get("signature.text").chars().take(SIGNATURE_CHARS_MAX).collect(),
            strokes: get("signature.strokes"),
            aspect: get("signature.aspect"),
            suggested: self.room.recipient().name.clone(),
        }
    }

    fn sheaf(&self, document: &ContentDocument, fields: &[(&Field, pages::Field)]) -> Sheaf {
        let file = self.file(document);
        let count = document.pages.len();
        let filled = self.room.filled(document.id);
        let sheets = (1_u32..).zip(&document.pages).map(|(number, page)| {
            let here = fields.iter().filter(|(field, _)| field.document == document.id && field.page == number);
            let (page_text, count) = (number.to_string(), count.to_string());
            Sheet {
                anchor: format!("{}-{number}", file.id),
                src: format!("/sign/{}/pages/{}/{number}.png", self.link.expose(), file.id),
                width: page.width.round().max(1.0) as u32,
                height: page.height.round().max(1.0) as u32,
                alt: fill(
                    self.words.page_alt,
                    &[("page", &page_text), ("count", &count), ("name", &document.filename)],
                ),
                lazy: number > EAGER_PAGES,
                filled: filled::page(self, &filled, page, number),
                fields: here.map(|(_, shown)| shown.clone()).collect(),
                fields_label: fill(self.words.page_fields, &[("page", &page_text)]),
            }
        });
        let sheets = sheets.collect();
        Sheaf { sheets, id: file.id, name: file.name, download: file.download }
    }

    fn fields(&self, posted: Option<&Pairs>, errors: &HashMap<&str, &str>) -> Vec<(&'a Field, pages::Field)> {
        let mut signature_seen = false;
        let mut shown = Vec::new();
        for (number, field) in (1..).zip(self.room.fields()) {
            let first = field.kind == FieldKind::Signature && !std::mem::replace(&mut signature_seen, true);
            let pointer = match field.kind {
                FieldKind::Signature if first => "/signature".to_owned(),
                FieldKind::Signature => String::new(),
                _ => format!("/values/{}", pointer_part(&field.key)),
            };
            let error = errors.get(pointer.as_str()).map(|detail| (*detail).to_owned()).unwrap_or_default();
            shown.push((field, self.field(number, field, first, posted, error)));
        }
        // The one signature is wanted where any of its fields wants it.
        let is_wanted = shown.iter().any(|(field, _)| field.kind == FieldKind::Signature && field.required);
        for (_, field) in shown.iter_mut().filter(|(_, field)| field.first) {
            field.required = is_wanted;
        }
        shown
    }

    fn field(&self, number: usize, field: &Field, first: bool, posted: Option<&Pairs>, error: String) -> pages::Field {
        let words = self.words;
        let envelope = &self.room.envelope;
        let stored = envelope.value_of(field);
        let name = format!("value.{}", field.key);
        let posted = posted.filter(|_| !field.readonly);
        let ticked = posted.map(|form| form.is_ticked(&name));
        let posted = posted.map(|form| form.get(&name).to_owned());
        let text = || stored.and_then(Value::as_str).map(ToOwned::to_owned);
        let (label, prompt, value) = match field.kind {
            FieldKind::Signature => (words.field_signature, words.sign_here, String::new()),
            FieldKind::DateSigned => (words.field_date, "", self.room.now.date_in(&envelope.body.timezone)),
            FieldKind::Checkbox => (words.field_checkbox, "", String::new()),
            FieldKind::Text => (words.field_text, words.prompt_text, posted.clone().or_else(text).unwrap_or_default()),
            FieldKind::Name => {
                let value = posted.clone().or_else(text).unwrap_or_else(|| self.room.recipient().name.clone());
                (words.field_name, words.prompt_name, value)
            }
        };
        let ticked = ticked.unwrap_or(stored == Some(&Value::Bool(true)));
        let label = label_of(field, label);
        pages::Field {
            number,
            kind: field.kind.as_str(),
            key: field.key.clone(),
            name: label.to_lowercase(),
            label,
            page_label: self.page_label(field),
            prompt: prompt.to_owned(),
            help: words.date_help,
            required: field.required && !field.readonly && field.kind != FieldKind::DateSigned,
            readonly: field.readonly,
            checked: ticked,
            first,
            max: field.max_length.map_or(VALUE_CHARS_MAX, |max| max as usize),
            value,
            error,
        }
    }

    fn page_label(&self, field: &Field) -> String {
        let documents = &self.room.content.documents;
        let name = documents.iter().find(|document| document.id == field.document).map_or("", |d| &d.filename);
        let text = if documents.len() > 1 { self.words.on_page_of } else { self.words.on_page };
        fill(text, &[("page", &field.page.to_string()), ("name", name)])
    }
}

/// A field's purpose: its key in words where the sender chose one that says more than its kind (`billing_address`).
pub(super) fn label_of(field: &Field, kind: &str) -> String {
    if !matches!(field.kind, FieldKind::Text | FieldKind::Checkbox) {
        return kind.to_owned();
    }
    let key = field.key.rsplit('.').next().unwrap_or(&field.key);
    let words = key.replace(['_', '-'], " ");
    let words = words.trim();
    let mut letters = words.chars();
    match letters.next() {
        Some(first) if first.is_alphabetic() => first.to_uppercase().chain(letters).collect(),
        _ => kind.to_owned(),
    }
}

/// The disclosure's few marks: headings, paragraphs, lists.
pub(super) fn blocks(text: &str) -> Vec<Block> {
    text.split("\n\n")
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            let block = |kind, text: &str| Block { kind, text: text.replace('\n', " "), lines: Vec::new() };
            if let Some(text) = part.strip_prefix("# ") {
                block("h1", text)
            } else if let Some(text) = part.strip_prefix("## ") {
                block("h2", text)
            } else if part.starts_with("- ") {
                let lines = part.lines().map(|line| line.trim_start_matches("- ").to_owned()).collect();
                Block { kind: "ul", text: String::new(), lines }
            } else {
                block("p", part)
            }
        })
        .collect()
}
