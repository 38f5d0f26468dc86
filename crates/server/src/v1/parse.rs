//! From the wire to what the use cases take: every fault at once, each with its JSON pointer.

use std::str::FromStr;

use app::template::NewTemplate;
use model::{
    BodyError, Problem,
    content::{NewField, Place},
    envelope::Message,
    envelope_new::{NewEnvelope, NewRecipient},
    field::FieldKind,
    recipient::RecipientKind,
};

/// Collects faults.
#[derive(Default)]
struct Faults(Vec<BodyError>);

impl Faults {
    fn refuse(&mut self, pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) {
        self.0.push(BodyError::new(pointer, code, detail));
    }

    /// Reads a text; a wrong one is a fault.
    fn read<T: FromStr>(&mut self, text: &str, pointer: String, detail: &str) -> Option<T> {
        let value = text.parse().ok();
        if value.is_none() {
            self.refuse(pointer, "malformed", detail);
        }
        value
    }

    fn done<T>(self, value: T) -> Result<T, Problem> {
        if self.0.is_empty() { Ok(value) } else { Err(Problem::body(self.0)) }
    }
}

/// An envelope as it was asked for.
pub(crate) fn envelope(body: api::envelope::NewEnvelope) -> Result<NewEnvelope, Problem> {
    let mut faults = Faults::default();
    let template = body.template.and_then(|template| {
        let id = faults.read(&template.id, "/template/id".into(), "A template's id reads tpl_ and 26 characters.")?;
        Some((id, template.version))
    });
    let expires_at = body.expires_at.and_then(|at| {
        faults.read(&at, "/expires_at".into(), "A time is RFC 3339 with an offset, such as 2026-11-25T20:01:22Z.")
    });
    let documents = documents(&body.documents, &mut faults);
    let recipients = body
        .recipients
        .into_iter()
        .enumerate()
        .map(|(at, recipient)| self::recipient(recipient, at, &mut faults))
        .collect();
    let fields = fields(body.fields, &mut faults);
    let new = NewEnvelope {
        external_id: body.external_id,
        allow_duplicate: body.allow_duplicate,
        title: body.title,
        template,
        documents,
        recipients,
        fields,
        values: body.values,
        message: body.message.map(message),
        expires_at,
        timezone: body.timezone,
        metadata: body.metadata,
        redirect_url: body.redirect_url,
    };
    faults.done(new)
}

/// A template as it was asked for.
pub(crate) fn template(body: api::template::NewTemplate) -> Result<NewTemplate, Problem> {
    let mut faults = Faults::default();
    let documents = documents(&body.documents, &mut faults);
    let roles = body
        .roles
        .into_iter()
        .enumerate()
        .map(|(at, role)| {
            let kind = kind(role.kind.as_deref(), format!("/roles/{at}/kind"), &mut faults);
            (role.name, kind, role.order)
        })
        .collect();
    let fields = fields(body.fields, &mut faults);
    let new =
        NewTemplate { name: body.name, title: body.title, documents, roles, fields, message: message(body.message) };
    faults.done(new)
}

fn message(message: api::envelope::Message) -> Message {
    Message { subject: message.subject, body: message.body }
}

fn documents(ids: &[String], faults: &mut Faults) -> Vec<model::DocumentId> {
    ids.iter()
        .enumerate()
        .filter_map(|(at, id)| {
            faults.read(id, format!("/documents/{at}"), "A document's id reads doc_ and 26 characters.")
        })
        .collect()
}

fn recipient(recipient: api::envelope::NewRecipient, at: usize, faults: &mut Faults) -> NewRecipient {
    NewRecipient {
        role: recipient.role,
        name: recipient.name,
        email: recipient.email,
        kind: kind(recipient.kind.as_deref(), format!("/recipients/{at}/kind"), faults),
        order: recipient.order,
        locale: recipient.locale,
    }
}

fn kind(word: Option<&str>, pointer: String, faults: &mut Faults) -> Option<RecipientKind> {
    let kind = RecipientKind::parse(word?);
    if kind.is_none() {
        faults.refuse(pointer, "invalid_value", "A kind is signer, approver or copy.");
    }
    kind
}

fn fields(fields: Vec<api::envelope::NewField>, faults: &mut Faults) -> Vec<NewField> {
    fields.into_iter().enumerate().filter_map(|(at, new)| field(new, at, faults)).collect()
}

fn field(new: api::envelope::NewField, at: usize, faults: &mut Faults) -> Option<NewField> {
    let kind = FieldKind::parse(&new.kind);
    if kind.is_none() {
        let detail = "A type is signature, name, date_signed, text or checkbox.";
        faults.refuse(format!("/fields/{at}/type"), "invalid_value", detail);
    }
    let document = new.document.as_ref().and_then(|id| {
        faults.read(id, format!("/fields/{at}/document"), "A document's id reads doc_ and 26 characters.")
    });
    let place = match (new.anchor, new.page, new.x, new.y) {
        (Some(anchor), None, None, None) => {
            Some(Place::Anchor { text: anchor.text, occurrence: anchor.occurrence, dx: anchor.dx, dy: anchor.dy })
        }
        (None, Some(page), Some(x), Some(y)) => Some(Place::At { page, x, y }),
        (Some(_), ..) => {
            faults.refuse(format!("/fields/{at}"), "two_places", "Give an anchor, or page, x and y, not both.");
            None
        }
        (None, ..) => {
            faults.refuse(
                format!("/fields/{at}"),
                "required",
                "Say where the field stands: page, x and y, or an anchor.",
            );
            None
        }
    };
    Some(NewField {
        key: new.key,
        kind: kind?,
        recipient: new.recipient,
        document,
        place: place?,
        width: new.width,
        height: new.height,
        required: new.required,
        readonly: new.readonly,
        default: new.default,
        max_length: new.validation.and_then(|validation| validation.max_length),
    })
}
