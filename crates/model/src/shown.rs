//! What stands in the fields: what a recipient is shown of others' and the sender's, its digest, and what is sealed at the end.
//!
//! One function says what a field shows, for the page in the signing room and for the paper: what is shown is what is signed.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    RecipientId,
    envelope::Envelope,
    event::{canonical, hex},
    field::{Field, FieldKind, Signature, is_blank},
    recipient::{Recipient, Signed},
};

/// What a field shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry<'a> {
    /// A line of text.
    Text(String),
    /// A signature as it was made.
    Signature(&'a Signature),
    /// A tick.
    Check,
}

/// Whose word an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The field's recipient has signed with it.
    Recipient,
    /// The sender gave it, and nobody can change it.
    Sender,
    /// The sender gave it, and the field's recipient may still change it.
    SenderFirst,
}

/// An entry that a recipient is shown and cannot change.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown<'a> {
    /// The field.
    pub field: &'a Field,
    /// Whose field it is.
    pub recipient: &'a Recipient,
    /// Whose word the entry is.
    pub by: By,
    /// What stands there.
    pub entry: Entry<'a>,
}

/// What was shown of others when somebody signed: on record with the signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownValues {
    /// SHA-256 over every entry that was shown, see [`shown_values`].
    pub sha256: String,
    /// Whose signed entries were among them, in the order in which they had signed.
    pub signed_by: Vec<RecipientId>,
}

/// What `field` shows once its recipient has signed with `signed`; without it, what the sender gave.
pub fn entry<'a>(
    envelope: &'a Envelope,
    field: &'a Field,
    recipient: &'a Recipient,
    signed: Option<&'a Signed>,
) -> Option<Entry<'a>> {
    let typed = signed.and_then(|signed| signed.values.get(&field.key));
    let value = typed.or_else(|| envelope.values.get(&field.key)).or(field.default.as_ref());
    let text = |text: &str| (!is_blank(text)).then(|| Entry::Text(text.to_owned()));
    match field.kind {
        FieldKind::Signature => signed.and_then(|signed| signed.signature.as_ref()).map(Entry::Signature),
        FieldKind::DateSigned => signed.and_then(|signed| text(&signed.act.at.date_in(&envelope.body.timezone))),
        FieldKind::Checkbox => (value == Some(&Value::Bool(true))).then_some(Entry::Check),
        FieldKind::Text => text(value?.as_str()?),
        // Nobody said otherwise: it is the recipient's own name.
        FieldKind::Name if value.is_none() && (signed.is_some() || field.readonly) => text(&recipient.name),
        FieldKind::Name => text(value?.as_str()?),
    }
}

/// What `reader` is shown once `signed_by` have signed: their entries, and the sender's, in the order of the fields. Of
/// what others have typed and not signed nothing is shown; the reader's own open fields are for it to fill in.
pub fn shown<'a>(
    envelope: &'a Envelope,
    fields: &'a [Field],
    reader: RecipientId,
    signed_by: &[RecipientId],
) -> Vec<Shown<'a>> {
    let one = |field: &'a Field| {
        let recipient = envelope.recipients.iter().find(|recipient| recipient.role == field.role)?;
        let signed = recipient.body.signed.as_ref().filter(|_| signed_by.contains(&recipient.id));
        let by = match signed {
            _ if field.readonly => By::Sender,
            _ if recipient.id == reader => return None,
            Some(_) => By::Recipient,
            None => By::SenderFirst,
        };
        Some(Shown { field, recipient, by, entry: entry(envelope, field, recipient, signed)? })
    };
    fields.iter().filter_map(one).collect()
}

/// Who has signed, in that order, the reader left out.
pub fn signers(envelope: &Envelope, reader: RecipientId) -> Vec<RecipientId> {
    let others = envelope.recipients.iter().filter(|recipient| recipient.id != reader);
    let mut signed: Vec<_> =
        others.filter_map(|other| other.body.signed.as_ref().map(|signed| (signed.act.at, other.id))).collect();
    signed.sort();
    signed.into_iter().map(|(_, id)| id).collect()
}

/// The digest of what `reader` is shown once `signed_by` have signed: SHA-256 of the JSON array (members sorted, nothing
/// between tokens) of `{"by", "field", "recipient_id", "value"}`, in the order of the fields. A signature's value is the
/// SHA-256 of its JSON, a tick is `true`.
pub fn shown_values(
    envelope: &Envelope,
    fields: &[Field],
    reader: RecipientId,
    signed_by: &[RecipientId],
) -> ShownValues {
    let signatures: Vec<_> = envelope
        .recipients
        .iter()
        .filter_map(|recipient| Some((recipient.id, recipient.body.signed.as_ref()?.signature.as_ref()?)))
        .map(|(id, signature)| (id, sha256(&json!(signature))))
        .collect();
    let one = |shown: Shown<'_>| {
        let value = match &shown.entry {
            Entry::Text(text) => json!(text),
            Entry::Check => json!(true),
            // A drawing may be long and stand in many fields: its digest is made once.
            Entry::Signature(_) => json!(signatures.iter().find(|(id, _)| *id == shown.recipient.id).map(|(_, d)| d)),
        };
        let by = match shown.by {
            By::Recipient => "recipient",
            By::Sender => "sender",
            By::SenderFirst => "sender_first",
        };
        json!({ "by": by, "field": shown.field.key, "recipient_id": shown.recipient.id, "value": value })
    };
    let entries: Vec<_> = shown(envelope, fields, reader, signed_by).into_iter().map(one).collect();
    ShownValues { sha256: sha256(&Value::Array(entries)), signed_by: signed_by.to_vec() }
}

/// What a page had shown whose digest is `sha256`; an empty one stands for what is shown now. Recipients who sign in
/// parallel change what a page of another would show: any state since the reader's turn began is one that it can have
/// been shown, and nothing else is.
pub fn shown_before(envelope: &Envelope, fields: &[Field], reader: &Recipient, sha256: &str) -> Option<ShownValues> {
    let signers = signers(envelope, reader.id);
    let is_before = |id: &RecipientId| envelope.recipients.iter().any(|r| r.id == *id && r.order < reader.order);
    let least = signers.iter().rposition(is_before).map_or(0, |last| last + 1);
    let mut states =
        (least..=signers.len()).rev().map(|end| shown_values(envelope, fields, reader.id, &signers[..end]));
    if sha256.is_empty() { states.next() } else { states.find(|state| state.sha256 == sha256) }
}

fn sha256(value: &Value) -> String {
    hex(&Sha256::digest(canonical(value).as_bytes()))
}
