//! An envelope's states, and the one table of moves between them. Decline, void and expiry change recipients and envelope in one step.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    BatchId, Code, EnvScope, EnvelopeId, EventId, Problem, RecipientId, TemplateId, Timestamp,
    caller::Actor,
    event::{NewEvent, Object, Type},
    field::{Field, FieldKind},
    recipient::{
        Act, Consent, Declined, Delivery, DeliveryState, Recipient, RecipientKind, RecipientStatus, Signed, names,
    },
    template::Content,
};

/// Where an envelope stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Made, not sent.
    Draft,
    /// Its recipients are asked.
    Sent,
    /// Everyone has signed; the files are sealed.
    Sealing,
    /// The sealed files are stored and were checked.
    Completed,
    /// A recipient has declined.
    Declined,
    /// The sender took it back.
    Voided,
    /// Its time ran out.
    Expired,
}

names! { Status:
    Draft "draft", Sent "sent", Sealing "sealing", Completed "completed", Declined "declined", Voided "voided", Expired "expired",
}

/// The words of the mail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its subject.
    pub subject: String,
    /// Its text, before the link.
    pub body: String,
}

/// A version of a template that is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateRef {
    /// The template.
    pub id: TemplateId,
    /// Its version.
    pub version: i64,
}

/// The row of a batch that an envelope was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRef {
    /// The batch.
    pub id: BatchId,
    /// The row's number, from 1.
    pub row: i64,
}

/// Why sealing has not succeeded yet. Not a status: it is tried again without end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealProblem {
    /// For programs.
    pub code: String,
    /// For people.
    pub detail: String,
    /// Since when.
    pub since: Timestamp,
    /// How often it was tried.
    pub attempts: i64,
    /// When it is tried again.
    pub next_attempt_at: Timestamp,
}

/// The newest event of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastEvent {
    /// Its id.
    pub id: EventId,
    /// Its number in the environment.
    pub seq: i64,
}

/// What is stored of an envelope beside its columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnvelopeBody {
    /// The mail's words.
    pub message: Message,
    /// IANA name; the date on the paper is the day of signing there.
    pub timezone: String,
    /// Pairs of the sender's.
    pub metadata: Map<String, Value>,
    /// Where recipients are led when they are done.
    pub redirect_url: Option<String>,
    /// Documents and fields; none where the pinned template version's apply.
    pub content: Option<Content>,
    /// Who sends it, for mails and the certificate.
    pub sender: Sender,
}

/// Who sends an envelope, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sender {
    /// The tenant's name.
    pub tenant: String,
    /// The address that the request came from.
    pub address: Option<String>,
}

/// An envelope with its recipients.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// Its id.
    pub id: EnvelopeId,
    /// Whose and where.
    pub scope: EnvScope,
    /// The sender's own id.
    pub external_id: Option<String>,
    /// Whether others may have the same external id.
    pub allow_duplicate: bool,
    /// Its title.
    pub title: String,
    /// Where it stands.
    pub status: Status,
    /// Since when.
    pub status_at: Timestamp,
    /// The template that it was made from.
    pub template: Option<TemplateRef>,
    /// The batch that made it.
    pub batch: Option<BatchRef>,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// Values given by the sender, by field key.
    pub values: Map<String, Value>,
    /// The rest.
    pub body: EnvelopeBody,
    /// Why sealing has not succeeded yet.
    pub problem: Option<SealProblem>,
    /// The newest event.
    pub last_event: Option<LastEvent>,
    /// Who made it.
    pub created_by: Actor,
    /// When.
    pub created_at: Timestamp,
    /// Guards read-then-write.
    pub version: i64,
    /// In the order given.
    pub recipients: Vec<Recipient>,
}

/// Work that a move asks for, to be enqueued with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A mail to a recipient.
    Mail(RecipientId, Purpose),
    /// Sealing.
    Seal,
}

/// What a mail is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// "Please sign".
    Invite,
    /// "All have signed", with the files.
    Completed,
    /// "It was declined".
    Declined,
    /// "It was taken back".
    Voided,
    /// "Its time ran out".
    Expired,
}

names! { Purpose: Invite "invite", Completed "completed", Declined "declined", Voided "voided", Expired "expired", }

/// A move: what is new, what is told, what is to be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moved {
    /// The events, in order.
    pub events: Vec<NewEvent>,
    /// The work.
    pub effects: Vec<Effect>,
}

impl Envelope {
    /// The event of being made.
    pub fn created(&self) -> NewEvent {
        self.event(Type::EnvelopeCreated, Map::new())
    }

    /// Sends a draft: those whose turn is first are invited.
    pub fn send(&mut self, now: Timestamp) -> Result<Moved, Problem> {
        if self.status != Status::Draft {
            return Err(Problem::new(Code::NotDraft, format!("The envelope is {}.", self.status.as_str())));
        }
        let previous = self.become_(Status::Sent, now);
        let events = vec![self.event(Type::EnvelopeSent, previous)];
        Ok(Moved { events, effects: self.invitations() })
    }

    /// Takes it back. Repeating it changes nothing.
    pub fn void(&mut self, reason: &str, now: Timestamp) -> Result<Moved, Problem> {
        match self.status {
            Status::Voided => return Ok(Moved::default()),
            Status::Draft | Status::Sent => {}
            Status::Sealing => return Err(Code::AlreadySealing.into()),
            Status::Completed => return Err(Code::AlreadyCompleted.into()),
            Status::Declined => return Err(Code::AlreadyDeclined.into()),
            Status::Expired => return Err(Code::AlreadyExpired.into()),
        }
        let told = self.asked();
        let previous = self.become_(Status::Voided, now);
        self.close(RecipientStatus::Voided, now);
        let mut event = self.event(Type::EnvelopeVoided, previous);
        event.data.insert("reason".into(), json!(reason));
        Ok(Moved { events: vec![event], effects: mails(&told, Purpose::Voided) })
    }

    /// Ends it when its time has run out; nothing otherwise.
    pub fn expire(&mut self, now: Timestamp) -> Moved {
        if self.status != Status::Sent || self.expires_at.is_none_or(|at| at > now) {
            return Moved::default();
        }
        let told = self.asked();
        let previous = self.become_(Status::Expired, now);
        self.close(RecipientStatus::Expired, now);
        Moved { events: vec![self.event(Type::EnvelopeExpired, previous)], effects: mails(&told, Purpose::Expired) }
    }

    /// Records how a recipient's invitation went.
    pub fn delivered(&mut self, id: RecipientId, state: DeliveryState, detail: &str, now: Timestamp) -> Moved {
        let Some(at) = self.position(id) else { return Moved::default() };
        let recipient = &mut self.recipients[at];
        recipient.body.delivery = Delivery { state, detail: detail.to_owned(), at: now };
        let kind = match state {
            DeliveryState::Queued => return Moved::default(),
            DeliveryState::Accepted => {
                if recipient.status == RecipientStatus::Waiting {
                    recipient.become_(RecipientStatus::Notified, now);
                }
                Type::RecipientNotified
            }
            DeliveryState::Bounced | DeliveryState::Failed => Type::RecipientBounced,
        };
        let mut event = self.recipient_event(kind, at, None);
        event.data.insert("delivery".into(), json!({ "state": state.as_str(), "detail": detail }));
        Moved { events: vec![event], effects: Vec::new() }
    }

    /// Whether `id` may act now; the one rule for every act in the signing room.
    pub fn may_act(&self, id: RecipientId) -> Result<usize, Problem> {
        let at = self.position(id).ok_or(Code::LinkUnknown)?;
        let recipient = &self.recipients[at];
        match (self.status, recipient.status) {
            (_, RecipientStatus::Completed) => Err(Code::RecipientAlreadySigned.into()),
            (Status::Sent, RecipientStatus::Waiting | RecipientStatus::Notified | RecipientStatus::Viewed) => {
                match self.turn() {
                    Some(turn) if recipient.acts() && recipient.order == turn => Ok(at),
                    _ => Err(Code::NotYourTurn.into()),
                }
            }
            (Status::Draft, _) => Err(Code::LinkUnknown.into()),
            (Status::Sealing | Status::Completed, _) => Err(Code::AlreadyCompleted.into()),
            (Status::Declined, _) => Err(Code::AlreadyDeclined.into()),
            (Status::Voided, _) => Err(Code::AlreadyVoided.into()),
            (Status::Expired, _) => Err(Code::AlreadyExpired.into()),
            (Status::Sent, _) => Err(Code::LinkUnknown.into()),
        }
    }

    /// A person opened it.
    pub fn view(&mut self, id: RecipientId, act: Act) -> Result<Moved, Problem> {
        let at = self.may_act(id)?;
        if self.recipients[at].body.viewed.is_some() {
            return Ok(Moved::default());
        }
        let now = act.at;
        let event_act = act.clone();
        self.recipients[at].body.viewed = Some(act);
        self.recipients[at].become_(RecipientStatus::Viewed, now);
        Ok(Moved {
            events: vec![self.recipient_event(Type::RecipientViewed, at, Some(&event_act))],
            effects: Vec::new(),
        })
    }

    /// A person agreed to electronic records.
    pub fn consent(&mut self, id: RecipientId, consent: Consent) -> Result<Moved, Problem> {
        let at = self.may_act(id)?;
        if self.recipients[at].body.consent.is_some() {
            return Ok(Moved::default());
        }
        let act = consent.act.clone();
        let text = json!({ "version": consent.version, "language": consent.language, "sha256": consent.sha256 });
        self.recipients[at].body.consent = Some(consent);
        let mut event = self.recipient_event(Type::RecipientConsented, at, Some(&act));
        event.data.insert("consent".into(), text);
        Ok(Moved { events: vec![event], effects: Vec::new() })
    }

    /// Saves what was typed so far, under the version that the page had. A lost update is refused, not silent.
    pub fn save_values(
        &mut self,
        id: RecipientId,
        fields: &[Field],
        version: i64,
        values: &Map<String, Value>,
    ) -> Result<i64, Problem> {
        let at = self.may_act(id)?;
        if self.recipients[at].body.consent.is_none() {
            return Err(Code::ConsentRequired.into());
        }
        if self.recipients[at].body.values_version != version {
            return Err(Code::ValuesOutdated.into());
        }
        let errors: Vec<_> =
            values.iter().filter_map(|(key, value)| self.check_own(at, fields, key, value).err()).collect();
        if !errors.is_empty() {
            return Err(Problem::body(errors));
        }
        let body = &mut self.recipients[at].body;
        body.values.extend(values.iter().map(|(key, value)| (key.clone(), value.clone())));
        body.values_version += 1;
        Ok(body.values_version)
    }

    fn check_own(&self, at: usize, fields: &[Field], key: &str, value: &Value) -> Result<(), crate::BodyError> {
        let pointer = format!("/values/{}", pointer_part(key));
        match fields.iter().find(|field| field.key == key && field.role == self.recipients[at].role) {
            None => Err(crate::BodyError::new(pointer, "unknown_field", format!("There is no field {key} for you."))),
            Some(field) if field.readonly => {
                Err(crate::BodyError::new(pointer, "readonly", format!("The field {key} is filled in by the sender.")))
            }
            Some(field) => field.check_value(value, &pointer),
        }
    }

    /// A person signed: the values are checked once more, the next turn is invited, or all is sealed.
    pub fn complete(&mut self, id: RecipientId, fields: &[Field], signed: Signed) -> Result<Moved, Problem> {
        let at = self.may_act(id)?;
        if self.recipients[at].body.consent.is_none() {
            return Err(Code::ConsentRequired.into());
        }
        let errors = self.faults_of(at, fields, &signed);
        if !errors.is_empty() {
            return Err(Problem::body(errors));
        }
        let act = signed.act.clone();
        let now = act.at;
        let turn = self.recipients[at].order;
        let shown = signed.shown.iter().map(|(id, sha256)| json!({ "id": id, "sha256": sha256 })).collect::<Vec<_>>();
        let shown_values = json!(signed.shown_values);
        self.recipients[at].body.signed = Some(signed);
        self.recipients[at].become_(RecipientStatus::Completed, now);
        let mut event = self.recipient_event(Type::RecipientCompleted, at, Some(&act));
        event.data.insert("shown".into(), json!(shown));
        event.data.insert("shown_values".into(), shown_values);
        let mut moved = Moved { events: vec![event], effects: Vec::new() };
        match self.turn() {
            None => {
                let previous = self.become_(Status::Sealing, now);
                moved.events.push(self.event(Type::EnvelopeSigned, previous));
                moved.effects.push(Effect::Seal);
            }
            Some(next) if next != turn => moved.effects = self.invitations(),
            Some(_) => {}
        }
        Ok(moved)
    }

    fn faults_of(&self, at: usize, fields: &[Field], signed: &Signed) -> Vec<crate::BodyError> {
        let role = &self.recipients[at].role;
        let mut errors: Vec<_> =
            signed.values.iter().filter_map(|(key, value)| self.check_own(at, fields, key, value).err()).collect();
        for field in fields.iter().filter(|field| field.role == *role && field.required && !field.readonly) {
            let missing = match field.kind {
                FieldKind::Signature | FieldKind::DateSigned => false,
                FieldKind::Name | FieldKind::Text | FieldKind::Checkbox => {
                    Field::is_empty(signed.values.get(&field.key))
                }
            };
            if missing {
                let pointer = format!("/values/{}", pointer_part(&field.key));
                errors.push(crate::BodyError::new(pointer, "required", "This has to be filled in."));
            }
        }
        let wants =
            fields.iter().any(|field| field.role == *role && field.kind == FieldKind::Signature && field.required);
        match &signed.signature {
            Some(signature) => errors.extend(signature.check().err()),
            None if wants => errors.push(crate::BodyError::new("/signature", "required", "Sign before you finish.")),
            None => {}
        }
        errors
    }

    /// A person declined: that ends the envelope.
    pub fn decline(&mut self, id: RecipientId, declined: Declined) -> Result<Moved, Problem> {
        let at = self.may_act(id)?;
        let (act, reason) = (declined.act.clone(), declined.reason.clone());
        let told: Vec<_> = self.asked().into_iter().filter(|other| *other != id).collect();
        self.recipients[at].body.declined = Some(declined);
        self.recipients[at].become_(RecipientStatus::Declined, act.at);
        let mut event = self.recipient_event(Type::RecipientDeclined, at, Some(&act));
        event.data.insert("reason".into(), json!(reason));
        let previous = self.become_(Status::Declined, act.at);
        self.close(RecipientStatus::Voided, act.at);
        let envelope = self.event(Type::EnvelopeDeclined, previous);
        Ok(Moved { events: vec![event, envelope], effects: mails(&told, Purpose::Declined) })
    }

    /// The sealed files are stored and were checked. Nothing when another run was first.
    pub fn sealed(&mut self, now: Timestamp) -> Option<Moved> {
        if self.status != Status::Sealing {
            return None;
        }
        let previous = self.become_(Status::Completed, now);
        self.problem = None;
        let everyone: Vec<_> =
            self.recipients.iter().filter(|r| r.status != RecipientStatus::Replaced).map(|r| r.id).collect();
        Some(Moved {
            events: vec![self.event(Type::EnvelopeCompleted, previous)],
            effects: mails(&everyone, Purpose::Completed),
        })
    }

    /// Sealing failed and is tried again. The event is told once for each code.
    pub fn sealing_failed(&mut self, code: &str, detail: &str, now: Timestamp, next_attempt_at: Timestamp) -> Moved {
        if self.status != Status::Sealing {
            return Moved::default();
        }
        let old = self.problem.take();
        let told = old.as_ref().is_some_and(|old| old.code == code);
        let problem = SealProblem {
            code: code.to_owned(),
            detail: detail.to_owned(),
            since: old.as_ref().map_or(now, |old| old.since),
            attempts: old.as_ref().map_or(1, |old| old.attempts + 1),
            next_attempt_at,
        };
        let mut event = self.event(Type::EnvelopeSealingFailed, Map::new());
        event.data.insert("problem".into(), json!({ "code": problem.code, "detail": problem.detail }));
        self.problem = Some(problem);
        Moved { events: if told { Vec::new() } else { vec![event] }, effects: Vec::new() }
    }

    /// The order whose recipients the envelope waits for; none when everyone has acted.
    pub fn turn(&self) -> Option<u32> {
        self.recipients.iter().filter(|r| r.acts() && r.status.is_open()).map(|r| r.order).min()
    }

    /// The value of `field` now: what its recipient typed or signed with, else the sender's, else the default.
    pub fn value_of<'a>(&'a self, field: &'a Field) -> Option<&'a Value> {
        let typed = self.recipients.iter().find(|r| r.role == field.role).and_then(|r| {
            let values = r.body.signed.as_ref().map_or(&r.body.values, |signed| &signed.values);
            values.get(&field.key)
        });
        typed.or_else(|| self.values.get(&field.key)).or(field.default.as_ref())
    }

    /// The sender's values, and over them what recipients have signed. What is typed and not signed yet is nobody's business.
    pub fn values_so_far(&self) -> Map<String, Value> {
        let mut values = self.values.clone();
        for signed in self.recipients.iter().filter_map(|recipient| recipient.body.signed.as_ref()) {
            values.extend(signed.values.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        values
    }

    fn invitations(&self) -> Vec<Effect> {
        let Some(turn) = self.turn() else { return Vec::new() };
        self.recipients
            .iter()
            .filter(|r| r.acts() && r.order == turn && r.status == RecipientStatus::Waiting)
            .map(|r| Effect::Mail(r.id, Purpose::Invite))
            .collect()
    }

    /// Those who were asked already and could still act.
    fn asked(&self) -> Vec<RecipientId> {
        let told = [RecipientStatus::Notified, RecipientStatus::Viewed, RecipientStatus::Completed];
        self.recipients
            .iter()
            .filter(|r| r.kind != RecipientKind::Copy && told.contains(&r.status))
            .map(|r| r.id)
            .collect()
    }

    fn close(&mut self, status: RecipientStatus, now: Timestamp) {
        for recipient in self.recipients.iter_mut().filter(|r| r.status.is_open()) {
            recipient.become_(status, now);
        }
    }

    fn become_(&mut self, status: Status, now: Timestamp) -> Map<String, Value> {
        let previous = Map::from_iter([("status".to_owned(), json!(self.status.as_str()))]);
        self.status = status;
        self.status_at = now;
        previous
    }

    fn position(&self, id: RecipientId) -> Option<usize> {
        self.recipients.iter().position(|recipient| recipient.id == id)
    }

    fn event(&self, kind: Type, previous: Map<String, Value>) -> NewEvent {
        let envelope = json!({
            "id": self.id,
            "external_id": self.external_id,
            "batch_id": self.batch.map(|batch| batch.id),
            "status": self.status.as_str(),
            "metadata": self.body.metadata,
        });
        let data = Map::from_iter([("envelope".to_owned(), envelope)]);
        NewEvent { kind, object: Object::Envelope(self.id), data, previous }
    }

    fn recipient_event(&self, kind: Type, at: usize, act: Option<&Act>) -> NewEvent {
        let mut event = self.event(kind, Map::new());
        let recipient = &self.recipients[at];
        event.data.insert("recipient_id".into(), json!(recipient.id));
        event.data.insert("recipient".into(), recipient.event_json());
        if let Some(act) = act {
            event.data.insert("address".into(), json!(act.address));
            event.data.insert("user_agent".into(), json!(act.user_agent));
        }
        event
    }
}

fn mails(recipients: &[RecipientId], purpose: Purpose) -> Vec<Effect> {
    recipients.iter().map(|id| Effect::Mail(*id, purpose)).collect()
}

/// A member's name as a part of a JSON pointer (RFC 6901, 3).
pub fn pointer_part(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
