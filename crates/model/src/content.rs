//! Placing fields: from what a sender asks for to fields that stand on a page, every fault at once with its pointer.

use serde_json::Value;

use crate::{
    BodyError, DocumentId,
    document::{Document, Page},
    field::{FIELD_KEY_CHARS_MAX, Field, FieldKind, MAX_LENGTH_MAX},
    recipient::RecipientKind,
    template::{Content, ContentDocument, Role},
    word::is_hidden,
};

/// Fields of one envelope or template.
pub const FIELDS_MAX: usize = 1_000;
/// Documents of one envelope or template.
pub const DOCUMENTS_MAX: usize = 20;
/// Characters of an anchor's text.
pub const ANCHOR_CHARS_MAX: usize = 200;

/// A field as a sender asks for it.
#[derive(Clone, Debug, PartialEq)]
pub struct NewField {
    /// Names its value; made from its type and place where none is given.
    pub key: Option<String>,
    /// What it takes.
    pub kind: FieldKind,
    /// Whose it is: a role; may be left out where there is only one that signs.
    pub recipient: Option<String>,
    /// On which document; the first where none is given.
    pub document: Option<DocumentId>,
    /// Where.
    pub place: Place,
    /// Width in points; by its type where none is given.
    pub width: Option<f64>,
    /// Height in points; by its type where none is given.
    pub height: Option<f64>,
    /// Whether it has to be filled in; true where nothing is said, but for checkboxes.
    pub required: Option<bool>,
    /// Whether only the sender may fill it in.
    pub readonly: bool,
    /// Its value unless given.
    pub default: Option<Value>,
    /// The most characters of its value.
    pub max_length: Option<u32>,
}

/// Where a field stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// At coordinates: points from the page's top left as displayed.
    At {
        /// From 1.
        page: u32,
        /// From the left.
        x: f64,
        /// From the top.
        y: f64,
    },
    /// Beside a text of the document.
    Anchor {
        /// The text.
        text: String,
        /// Which one, from 1; without it the text has to stand exactly once.
        occurrence: Option<u32>,
        /// To the right of the text's left edge, in points.
        dx: f64,
        /// Below the text's top edge, in points.
        dy: f64,
    },
}

/// Where a text was found: page from 1, left and top in points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// From 1.
    pub page: u32,
    /// Left edge.
    pub x: f64,
    /// Top edge.
    pub y: f64,
}

/// Places the fields of `roles` on `documents`. `find` answers where an anchor's text stands in a document.
pub fn place(
    documents: &[Document],
    roles: &[Role],
    fields: &[NewField],
    find: &dyn Fn(DocumentId, &str) -> Vec<Found>,
) -> Result<Content, Vec<BodyError>> {
    let mut errors = Vec::new();
    if fields.len() > FIELDS_MAX {
        errors.push(BodyError::new("/fields", "too_many", format!("There are more than {FIELDS_MAX} fields.")));
        return Err(errors);
    }
    let mut placed: Vec<Field> = Vec::with_capacity(fields.len());
    for (at, new) in fields.iter().enumerate() {
        match place_one(documents, roles, new, at, find) {
            Ok(field) if placed.iter().any(|other| other.key == field.key) => errors.push(BodyError::new(
                format!("/fields/{at}/key"),
                "duplicate",
                format!("Two fields have the key {}.", field.key),
            )),
            Ok(field) => placed.push(field),
            Err(more) => errors.extend(more),
        }
    }
    for role in roles.iter().filter(|role| role.kind == RecipientKind::Signer) {
        let signs = fields.iter().any(|field| {
            field.kind == FieldKind::Signature && role_of(roles, field).is_some_and(|named| named.name == role.name)
        });
        if !signs {
            errors.push(BodyError::new(
                "/fields",
                "nothing_to_sign",
                format!("{} is a signer without a signature field: add one, or make it an approver.", role.name),
            ));
        }
    }
    if errors.is_empty() {
        Ok(Content { documents: documents.iter().map(pinned).collect(), fields: in_order(documents, placed) })
    } else {
        Err(errors)
    }
}

/// Reading order: by document, page, top, left.
fn in_order(documents: &[Document], mut fields: Vec<Field>) -> Vec<Field> {
    let position = |id| documents.iter().position(|document| document.id == id).unwrap_or_default();
    fields.sort_by(|a, b| {
        (position(a.document), a.page)
            .cmp(&(position(b.document), b.page))
            .then(a.y.total_cmp(&b.y))
            .then(a.x.total_cmp(&b.x))
    });
    fields
}

fn pinned(document: &Document) -> ContentDocument {
    ContentDocument {
        id: document.id,
        filename: document.filename.clone(),
        sha256: document.sha256.clone(),
        working: document.working.clone(),
        pages: document.body.pages.clone(),
    }
}

/// The role that a field names, or the only one that acts.
fn role_of<'a>(roles: &'a [Role], field: &NewField) -> Option<&'a Role> {
    match &field.recipient {
        Some(name) => roles.iter().find(|role| role.name == *name),
        None => {
            let mut acting = roles.iter().filter(|role| role.kind != RecipientKind::Copy);
            acting.next().filter(|_| acting.next().is_none())
        }
    }
}

fn place_one(
    documents: &[Document],
    roles: &[Role],
    new: &NewField,
    at: usize,
    find: &dyn Fn(DocumentId, &str) -> Vec<Found>,
) -> Result<Field, Vec<BodyError>> {
    let mut errors = Vec::new();
    let mut refuse =
        |part: &str, code, detail: String| errors.push(BodyError::new(format!("/fields/{at}{part}"), code, detail));
    let role = role_of(roles, new);
    match (role, &new.recipient) {
        (None, Some(name)) => refuse("/recipient", "unknown_role", format!("No recipient has the role {name}.")),
        (None, None) => {
            refuse("/recipient", "required", "Say whose field it is: there are several recipients.".to_owned())
        }
        (Some(role), _) if role.kind == RecipientKind::Copy => {
            refuse("/recipient", "copy", format!("{} receives a copy and fills in nothing.", role.name));
        }
        (Some(_), _) => {}
    }
    let document = match new.document {
        None => documents.first(),
        Some(id) => documents.iter().find(|document| document.id == id),
    };
    if document.is_none() {
        refuse("/document", "unknown_document", "That document is not one of the envelope's documents.".to_owned());
    }
    let key = new.key.clone().unwrap_or_else(|| format!("{}_{}", new.kind.as_str(), at + 1));
    if key.is_empty() || key.chars().count() > FIELD_KEY_CHARS_MAX || key.chars().any(is_hidden) {
        refuse("/key", "malformed", format!("A key has 1 to {FIELD_KEY_CHARS_MAX} characters."));
    }
    let (default_width, default_height) = new.kind.default_size();
    let (width, height) = (new.width.unwrap_or(default_width), new.height.unwrap_or(default_height));
    if !(width >= 1.0 && height >= 1.0) {
        refuse("", "zero_area", format!("The field {key} has no area: width and height are at least 1 point."));
    }
    let (least_width, least_height) = new.kind.least_size();
    if width < least_width || height < least_height {
        let kind = new.kind.as_str();
        let detail =
            format!("The field {key} is too small: a {kind} has {least_width} × {least_height} points at least.");
        refuse("", "too_small", detail);
    }
    if new.max_length.is_some_and(|max| !(1..=MAX_LENGTH_MAX).contains(&max)) {
        refuse("/validation/max_length", "out_of_range", format!("A max_length is 1 to {MAX_LENGTH_MAX}."));
    }
    let spot = document.and_then(|document| match locate(document, new, find) {
        Ok(spot) => match fits(&document.body.pages, spot, width, height) {
            Ok(()) => Some(spot),
            Err((code, detail)) => {
                refuse("", code, detail);
                None
            }
        },
        Err((code, detail)) => {
            refuse("/anchor", code, detail);
            None
        }
    });
    let (Some(role), Some(document), Some(spot)) = (role, document, spot) else { return Err(errors) };
    let field = Field {
        key,
        kind: new.kind,
        role: role.name.clone(),
        document: document.id,
        page: spot.page,
        x: spot.x,
        y: spot.y,
        width,
        height,
        required: new.required.unwrap_or(new.kind != FieldKind::Checkbox) && !new.readonly,
        readonly: new.readonly,
        default: new.default.clone(),
        max_length: new.max_length,
    };
    if let Some(default) = &new.default {
        errors.extend(field.check_value(default, &format!("/fields/{at}/default")).err());
    }
    if errors.is_empty() { Ok(field) } else { Err(errors) }
}

fn locate(
    document: &Document,
    new: &NewField,
    find: &dyn Fn(DocumentId, &str) -> Vec<Found>,
) -> Result<Found, (&'static str, String)> {
    match &new.place {
        Place::At { page, x, y } => Ok(Found { page: *page, x: *x, y: *y }),
        Place::Anchor { text, occurrence, dx, dy } => {
            if text.trim().is_empty() || text.chars().count() > ANCHOR_CHARS_MAX {
                return Err(("malformed", format!("An anchor's text has 1 to {ANCHOR_CHARS_MAX} characters.")));
            }
            let found = find(document.id, text);
            let times = format!("\"{text}\" stands {} times in {}", found.len(), document.filename);
            let spot = match occurrence {
                None if found.len() == 1 => found.first(),
                None if found.is_empty() => None,
                None => return Err(("anchor_ambiguous", format!("{times}: say which one with `occurrence`."))),
                Some(n) => (*n as usize).checked_sub(1).and_then(|n| found.get(n)),
            };
            spot.map(|spot| Found { page: spot.page, x: spot.x + dx, y: spot.y + dy })
                .ok_or_else(|| ("anchor_not_found", format!("{times}.")))
        }
    }
}

/// Whether a box lies on its page; a hair's breadth is no fault.
fn fits(pages: &[Page], spot: Found, width: f64, height: f64) -> Result<(), (&'static str, String)> {
    const SLACK: f64 = 0.5;
    let Some(page) = (spot.page as usize).checked_sub(1).and_then(|page| pages.get(page)) else {
        return Err(("no_such_page", format!("There is no page {}: the document has {}.", spot.page, pages.len())));
    };
    let inside = spot.x >= -SLACK
        && spot.y >= -SLACK
        && spot.x + width <= page.width + SLACK
        && spot.y + height <= page.height + SLACK;
    if inside {
        return Ok(());
    }
    Err((
        "off_page",
        format!(
            "The field from ({:.1}, {:.1}) of {width:.1} × {height:.1} points leaves page {}, which is {:.1} × {:.1} points.",
            spot.x, spot.y, spot.page, page.width, page.height
        ),
    ))
}
