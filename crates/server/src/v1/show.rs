//! How envelopes and what hangs on them look on the wire.

use model::{
    envelope::Envelope,
    field::Field,
    recipient::Recipient,
    template::{Content, ContentDocument},
};

use crate::v1::audit::actor;

/// An envelope; its documents and fields where they are given.
pub(crate) fn envelope(envelope: &Envelope, content: Option<&Content>) -> api::envelope::Envelope {
    let body = &envelope.body;
    api::envelope::Envelope {
        id: envelope.id.to_string(),
        external_id: envelope.external_id.clone(),
        title: envelope.title.clone(),
        status: envelope.status.as_str().to_owned(),
        status_at: envelope.status_at.to_string(),
        environment: envelope.scope.environment.to_string(),
        template: envelope
            .template
            .map(|template| api::envelope::TemplateRef { id: template.id.to_string(), version: template.version }),
        batch_id: envelope.batch.map(|batch| batch.id.to_string()),
        recipients: envelope.recipients.iter().map(recipient).collect(),
        documents: content.map(|content| content.documents.iter().map(document).collect()),
        fields: content.map(|content| content.fields.iter().map(field).collect()),
        values: envelope.values_so_far(),
        message: message(&body.message),
        expires_at: envelope.expires_at.map(|at| at.to_string()),
        timezone: body.timezone.clone(),
        metadata: body.metadata.clone(),
        redirect_url: body.redirect_url.clone(),
        problem: envelope.problem.as_ref().map(|problem| api::envelope::SealProblem {
            code: problem.code.clone(),
            detail: problem.detail.clone(),
            since: problem.since.to_string(),
            attempts: problem.attempts,
            next_attempt_at: problem.next_attempt_at.to_string(),
        }),
        last_event: envelope
            .last_event
            .map(|event| api::envelope::LastEvent { id: event.id.to_string(), seq: event.seq }),
        created_at: envelope.created_at.to_string(),
        created_by: actor(&envelope.created_by),
    }
}

fn recipient(recipient: &Recipient) -> api::envelope::Recipient {
    let delivery = &recipient.body.delivery;
    api::envelope::Recipient {
        id: recipient.id.to_string(),
        role: recipient.role.clone(),
        kind: recipient.kind.as_str().to_owned(),
        name: recipient.name.clone(),
        email: recipient.email.clone(),
        order: recipient.order,
        locale: recipient.body.locale.clone(),
        status: recipient.status.as_str().to_owned(),
        status_at: recipient.status_at.to_string(),
        delivery: api::envelope::Delivery {
            channel: "email".to_owned(),
            state: recipient.delivery_word().to_owned(),
            detail: delivery.detail.clone(),
        },
        decline_reason: recipient.body.declined.as_ref().map(|declined| declined.reason.clone()),
    }
}

pub(crate) fn message(message: &model::envelope::Message) -> api::envelope::Message {
    api::envelope::Message { subject: message.subject.clone(), body: message.body.clone() }
}

pub(crate) fn document(document: &ContentDocument) -> api::envelope::EnvelopeDocument {
    api::envelope::EnvelopeDocument {
        id: document.id.to_string(),
        filename: document.filename.clone(),
        sha256: document.sha256.clone(),
        page_count: u32::try_from(document.pages.len()).unwrap_or(u32::MAX),
    }
}

pub(crate) fn field(field: &Field) -> api::envelope::Field {
    api::envelope::Field {
        key: field.key.clone(),
        kind: field.kind.as_str().to_owned(),
        recipient: field.role.clone(),
        document: field.document.to_string(),
        page: field.page,
        x: field.x,
        y: field.y,
        width: field.width,
        height: field.height,
        required: field.required,
        readonly: field.readonly,
        default: field.default.clone(),
    }
}
