//! Making an envelope: from what a sender asks for, or from a template and a row, to a draft whose every part was checked.

use serde_json::{Map, Value, json};

use crate::{
    BodyError, Clock, DocumentId, EnvScope, Id, LinkId, Random, TemplateId, Timestamp,
    caller::Actor,
    content::NewField,
    email,
    envelope::{BatchRef, Envelope, EnvelopeBody, Message, Sender, Status, TemplateRef, pointer_part},
    recipient::{Delivery, DeliveryState, Recipient, RecipientBody, RecipientKind, RecipientStatus},
    template::{Content, Role},
    time::{DAY_MS, is_zone},
    word::is_hidden,
};

/// Recipients of one envelope.
pub const RECIPIENTS_MAX: usize = 50;
/// Characters of a title or a mail's subject.
pub const TITLE_CHARS_MAX: usize = 200;
/// Characters of a mail's text.
pub const MESSAGE_CHARS_MAX: usize = 5_000;
/// Characters of a name or a role.
pub const NAME_CHARS_MAX: usize = 200;
/// Characters of an external id.
pub const EXTERNAL_ID_CHARS_MAX: usize = 255;
/// Pairs of metadata.
pub const METADATA_PAIRS_MAX: usize = 50;
/// Characters of a metadata name.
pub const METADATA_NAME_CHARS_MAX: usize = 40;
/// Characters of a metadata value.
pub const METADATA_VALUE_CHARS_MAX: usize = 500;
/// Days after which a sent envelope expires where nothing is said.
const EXPIRES_DAYS: i64 = 120;

/// An envelope as a sender asks for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewEnvelope {
    /// The sender's own id.
    pub external_id: Option<String>,
    /// Whether others may have the same external id.
    pub allow_duplicate: bool,
    /// Its title; the template's or the first document's name where none is given.
    pub title: Option<String>,
    /// The template, and its version; the latest where none is given.
    pub template: Option<(TemplateId, Option<i64>)>,
    /// The documents, where there is no template.
    pub documents: Vec<DocumentId>,
    /// Who is asked.
    pub recipients: Vec<NewRecipient>,
    /// The fields, where there is no template.
    pub fields: Vec<NewField>,
    /// Values by field key.
    pub values: Map<String, Value>,
    /// The mail's words.
    pub message: Option<Message>,
    /// When it expires; 120 days after now where nothing is said.
    pub expires_at: Option<Timestamp>,
    /// IANA zone; UTC where none is given.
    pub timezone: Option<String>,
    /// Pairs of the sender's.
    pub metadata: Map<String, Value>,
    /// Where recipients are led when they are done.
    pub redirect_url: Option<String>,
}

/// A recipient as a sender asks for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewRecipient {
    /// Its role; with a template one of the template's.
    pub role: Option<String>,
    /// Its name.
    pub name: String,
    /// Its address.
    pub email: String,
    /// What it is asked for; a template says so itself.
    pub kind: Option<RecipientKind>,
    /// Its turn; a template says so itself.
    pub order: Option<u32>,
    /// The language for mails and pages; English where none is given.
    pub locale: Option<String>,
}

/// What an envelope is made with beside what the sender asks for.
pub struct Making<'a> {
    /// Whose and where.
    pub scope: EnvScope,
    /// Who makes it.
    pub by: Actor,
    /// Who sends it, in words.
    pub sender: Sender,
    /// Tells the time.
    pub clock: &'a dyn Clock,
    /// Gives random bits.
    pub random: &'a dyn Random,
}

/// The template version that an envelope is made from.
#[derive(Clone, Copy)]
pub struct Pinned<'a> {
    /// Which.
    pub template: TemplateRef,
    /// Its title.
    pub title: &'a str,
    /// Its mail's words.
    pub message: &'a Message,
    /// Its roles.
    pub roles: &'a [Role],
    /// Its documents and fields.
    pub content: &'a Content,
}

/// The roles of recipients that come without a template: given, or made from their place.
pub fn roles(recipients: &[NewRecipient]) -> Result<Vec<Role>, Vec<BodyError>> {
    // First: below each is compared with all before it.
    few(recipients)?;
    let mut errors = Vec::new();
    let mut roles: Vec<Role> = Vec::with_capacity(recipients.len());
    for (at, new) in recipients.iter().enumerate() {
        let name = new.role.clone().unwrap_or_else(|| format!("Recipient {}", at + 1));
        let pointer = format!("/recipients/{at}/role");
        if name.trim().is_empty() || name.chars().count() > NAME_CHARS_MAX || name.chars().any(is_hidden) {
            errors.push(BodyError::new(pointer, "malformed", format!("A role has 1 to {NAME_CHARS_MAX} characters.")));
        } else if roles.iter().any(|role| role.name == name) {
            errors.push(BodyError::new(pointer, "duplicate", format!("Two recipients have the role {name}.")));
        }
        let order = new.order.unwrap_or(1);
        if !(1..=1_000).contains(&order) {
            errors.push(BodyError::new(format!("/recipients/{at}/order"), "out_of_range", "An order is 1 to 1000."));
        }
        roles.push(Role { name, kind: new.kind.unwrap_or(RecipientKind::Signer), order });
    }
    if !roles.iter().any(|role| role.kind != RecipientKind::Copy) {
        errors.push(BodyError::new("/recipients", "nobody_acts", "At least one recipient has to sign or approve."));
    }
    if errors.is_empty() { Ok(roles) } else { Err(errors) }
}

fn few(recipients: &[NewRecipient]) -> Result<(), Vec<BodyError>> {
    if recipients.len() <= RECIPIENTS_MAX {
        return Ok(());
    }
    let why = format!("There are more than {RECIPIENTS_MAX} recipients.");
    Err(vec![BodyError::new("/recipients", "too_many", why)])
}

/// Makes the draft from a template version.
pub fn from_template(
    making: &Making<'_>,
    pinned: Pinned<'_>,
    new: &NewEnvelope,
    batch: Option<BatchRef>,
) -> Result<Envelope, Vec<BodyError>> {
    few(&new.recipients)?;
    let mut errors = Vec::new();
    let mut recipients = Vec::with_capacity(pinned.roles.len());
    for role in pinned.roles {
        let given = new.recipients.iter().enumerate().find(|(_, r)| match &r.role {
            Some(name) => *name == role.name,
            None => pinned.roles.len() == 1,
        });
        match given {
            Some((at, given)) => recipients.push(recipient(making, role, given, at, &mut errors)),
            None => errors.push(BodyError::new(
                "/recipients",
                "role_missing",
                format!("Nobody stands for the template's role {}.", role.name),
            )),
        }
    }
    for (at, given) in new.recipients.iter().enumerate() {
        let known =
            given.role.as_ref().map_or(pinned.roles.len() == 1, |name| pinned.roles.iter().any(|r| r.name == *name));
        if !known {
            errors.push(BodyError::new(
                format!("/recipients/{at}/role"),
                "unknown_role",
                match &given.role {
                    Some(name) => format!("The template has no role {name}."),
                    None => "Say which of the template's roles this recipient stands for.".to_owned(),
                },
            ));
        }
        if given.kind.is_some() || given.order.is_some() {
            errors.push(BodyError::new(
                format!("/recipients/{at}"),
                "set_by_template",
                "The template says what its roles are asked for, and in which order: leave kind and order out.",
            ));
        }
    }
    let title = new.title.clone().unwrap_or_else(|| pinned.title.to_owned());
    let message = new.message.clone().unwrap_or_else(|| pinned.message.clone());
    let mut envelope = draft(making, new, pinned.content, title, message, &mut errors);
    envelope.template = Some(pinned.template);
    envelope.batch = batch;
    envelope.recipients = recipients;
    if errors.is_empty() { Ok(envelope) } else { Err(errors) }
}

/// Makes the draft from documents and fields of its own, which were placed already.
pub fn from_content(
    making: &Making<'_>,
    roles: &[Role],
    content: Content,
    new: &NewEnvelope,
) -> Result<Envelope, Vec<BodyError>> {
    let mut errors = Vec::new();
    let recipients = roles
        .iter()
        .zip(&new.recipients)
        .enumerate()
        .map(|(at, (role, given))| recipient(making, role, given, at, &mut errors))
        .collect();
    let named = content.documents.first().map_or("Document", |document| document.filename.as_str());
    let title = new.title.clone().unwrap_or_else(|| named.trim_end_matches(".pdf").to_owned());
    let message = new.message.clone().unwrap_or_default();
    let mut envelope = draft(making, new, &content, title, message, &mut errors);
    envelope.recipients = recipients;
    envelope.body.content = Some(content);
    if errors.is_empty() { Ok(envelope) } else { Err(errors) }
}

fn recipient(
    making: &Making<'_>,
    role: &Role,
    given: &NewRecipient,
    at: usize,
    errors: &mut Vec<BodyError>,
) -> Recipient {
    let now = making.clock.now();
    if let Err(why) = email::check(&given.email) {
        errors.push(BodyError::new(format!("/recipients/{at}/email"), "malformed", why));
    }
    let name = given.name.trim();
    if let Err((code, why)) = line(name, NAME_CHARS_MAX, true) {
        errors.push(BodyError::new(format!("/recipients/{at}/name"), code, why));
    }
    let locale = given.locale.clone().unwrap_or_else(|| "en".to_owned());
    if locale.is_empty() || locale.len() > 35 || !locale.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        errors.push(BodyError::new(
            format!("/recipients/{at}/locale"),
            "malformed",
            "A locale is a language tag such as en or de-CH.",
        ));
    }
    Recipient {
        id: Id::new(now, making.random),
        kind: role.kind,
        role: role.name.clone(),
        name: name.to_owned(),
        email: given.email.clone(),
        order: role.order,
        status: RecipientStatus::Waiting,
        status_at: now,
        link: LinkId::new(now, making.random),
        link_generation: 1,
        body: RecipientBody {
            locale,
            delivery: Delivery { state: DeliveryState::Queued, detail: String::new(), at: now },
            values: Map::new(),
            values_version: 0,
            viewed: None,
            consent: None,
            signed: None,
            declined: None,
        },
    }
}

fn draft(
    making: &Making<'_>,
    new: &NewEnvelope,
    content: &Content,
    title: String,
    message: Message,
    errors: &mut Vec<BodyError>,
) -> Envelope {
    let now = making.clock.now();
    check_texts(new, &title, &message, errors);
    check_values(&new.values, content, errors);
    check_metadata(&new.metadata, errors);
    if new.expires_at.is_some_and(|at| at <= now) {
        errors.push(BodyError::new("/expires_at", "in_the_past", "expires_at lies in the past."));
    }
    let timezone = new.timezone.clone().unwrap_or_else(|| "UTC".to_owned());
    if !is_zone(&timezone) {
        errors.push(BodyError::new("/timezone", "unknown_zone", "A timezone is an IANA name such as Europe/Berlin."));
    }
    Envelope {
        id: Id::new(now, making.random),
        scope: making.scope,
        external_id: new.external_id.clone(),
        allow_duplicate: new.allow_duplicate,
        title,
        status: Status::Draft,
        status_at: now,
        template: None,
        batch: None,
        expires_at: Some(new.expires_at.unwrap_or_else(|| now.plus(EXPIRES_DAYS * DAY_MS))),
        values: new.values.clone(),
        body: EnvelopeBody {
            message,
            timezone,
            metadata: new.metadata.clone(),
            redirect_url: new.redirect_url.clone(),
            content: None,
            sender: making.sender.clone(),
        },
        problem: None,
        last_event: None,
        created_by: making.by.clone(),
        created_at: now,
        version: 1,
        recipients: Vec::new(),
    }
}

/// A title or a name, by the one rule for envelopes and templates.
pub fn check_title(pointer: &str, title: &str, errors: &mut Vec<BodyError>) {
    if let Err((code, why)) = line(title, TITLE_CHARS_MAX, true) {
        errors.push(BodyError::new(pointer, code, why));
    }
}

/// A mail's words, by the one rule for envelopes and templates: what a template holds, its envelopes may hold.
pub fn check_message(message: &Message, errors: &mut Vec<BodyError>) {
    if let Err((code, why)) = line(&message.subject, TITLE_CHARS_MAX, false) {
        errors.push(BodyError::new("/message/subject", code, why));
    }
    let odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    if message.body.chars().count() > MESSAGE_CHARS_MAX || message.body.chars().any(odd) {
        let why = format!("A message has {MESSAGE_CHARS_MAX} characters at most, and no control characters.");
        errors.push(BodyError::new("/message/body", "malformed", why));
    }
}

fn check_texts(new: &NewEnvelope, title: &str, message: &Message, errors: &mut Vec<BodyError>) {
    check_title("/title", title, errors);
    check_message(message, errors);
    if let Some(Err((code, why))) = new.external_id.as_ref().map(|id| line(id, EXTERNAL_ID_CHARS_MAX, true)) {
        errors.push(BodyError::new("/external_id", code, why));
    }
    let is_web = |url: &str| url.len() <= 2_000 && url.bytes().all(|b| b.is_ascii_graphic()) && host_of(url).is_some();
    if new.redirect_url.as_ref().is_some_and(|url| !is_web(url)) {
        errors.push(BodyError::new(
            "/redirect_url",
            "malformed",
            "A redirect_url begins with https:// and a host, without a user's name, and has 2000 characters at most.",
        ));
    }
}

/// The host that an `https` address leads to. None where programs may read it differently (WHATWG URL takes `\` for `/`,
/// and what stands before an `@` for a user's name): a recipient is told the host, so it has to be that one.
pub fn host_of(url: &str) -> Option<&str> {
    let host = url.strip_prefix("https://")?.split(['/', '?', '#']).next()?;
    let is_plain = host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']' | '_'));
    (is_plain && host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')).then_some(host)
}

/// A line of text: its length, and nothing that could break a mail's header or a page.
fn line(text: &str, chars_max: usize, required: bool) -> Result<(), (&'static str, String)> {
    let length = text.chars().count();
    if required && text.trim().is_empty() {
        Err(("required", "This can't be empty.".to_owned()))
    } else if length > chars_max {
        Err(("too_long", format!("This has {length} characters; {chars_max} at most.")))
    } else if text.chars().any(is_hidden) {
        Err((
            "control_character",
            "This can't hold line breaks, control characters or hidden marks of direction.".to_owned(),
        ))
    } else {
        Ok(())
    }
}

fn check_values(values: &Map<String, Value>, content: &Content, errors: &mut Vec<BodyError>) {
    for (key, value) in values {
        let pointer = format!("/values/{}", pointer_part(key));
        match content.fields.iter().find(|field| field.key == *key) {
            Some(field) => errors.extend(field.check_value(value, &pointer).err()),
            None => errors.push(BodyError::new(pointer, "unknown_field", format!("There is no field {key}."))),
        }
    }
}

fn check_metadata(metadata: &Map<String, Value>, errors: &mut Vec<BodyError>) {
    if metadata.len() > METADATA_PAIRS_MAX {
        errors.push(BodyError::new(
            "/metadata",
            "too_many",
            format!("There are more than {METADATA_PAIRS_MAX} pairs."),
        ));
    }
    for (name, value) in metadata.iter().take(METADATA_PAIRS_MAX) {
        let pointer = format!("/metadata/{}", pointer_part(name));
        if let Err((code, why)) = line(name, METADATA_NAME_CHARS_MAX, true) {
            errors.push(BodyError::new(pointer, code, why));
            continue;
        }
        let Value::String(text) = value else {
            errors.push(BodyError::new(pointer, "wrong_type", "A metadata value is a string."));
            continue;
        };
        if let Err((code, why)) = line(text, METADATA_VALUE_CHARS_MAX, false) {
            errors.push(BodyError::new(pointer, code, why));
        }
    }
}

/// A value that fits a field, for the dry seal of a template: nobody finds out after everyone has signed.
pub fn sample_value(field: &crate::field::Field) -> Value {
    use crate::field::FieldKind as Kind;
    match field.kind {
        Kind::Checkbox => json!(true),
        Kind::DateSigned => json!("2026-12-31"),
        Kind::Signature | Kind::Name | Kind::Text => json!("Ag"),
    }
}
