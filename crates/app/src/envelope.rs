//! Envelopes: create, send, void, and the one way in which a move is written down.

use std::collections::HashMap;

use gate::Pass;
use model::{
    BodyError, Caller, Code, DocumentId, EnvScope, EnvelopeId, Problem,
    audit::Entry,
    caller::Who,
    document::Document,
    envelope::{Effect, Envelope, LastEvent, Moved, Sender, TemplateRef},
    envelope_new::{self, Making, NewEnvelope, Pinned},
    event::NewEvent,
    template::{Content, TemplateVersion},
};
use serde_json::{Value, json};
pub use store::envelope::Filter;
use store::{Tx, job::NewJob};

use crate::{App, once::Once, paper::check_fit};

/// Characters of the reason for a void.
pub const VOID_REASON_CHARS_MAX: usize = 500;

impl App {
    /// Makes an envelope, and sends it where `send` says so.
    pub async fn create_envelope(
        &self,
        pass: &Pass,
        new: &NewEnvelope,
        send: bool,
        once: &Once<(Envelope, Content)>,
    ) -> Result<(Envelope, Content), Problem> {
        let making = self.making(pass).await?;
        let (envelope, content) = match new.template {
            Some((id, version)) => {
                no_content(new)?;
                let (template, version) = self.pinned(pass.scope(), id, version).await?;
                let pinned = pinned(template, &version);
                let envelope = envelope_new::from_template(&making, pinned, new, None).map_err(Problem::body)?;
                (envelope, version.content)
            }
            None => {
                let roles = envelope_new::roles(&new.recipients).map_err(Problem::body)?;
                let content = self.place(pass.scope(), &new.documents, &roles, &new.fields).await?;
                let envelope =
                    envelope_new::from_content(&making, &roles, content.clone(), new).map_err(Problem::body)?;
                self.dry_seal(pass.scope(), &content).await?;
                (envelope, content)
            }
        };
        check_fit(&content.fields, &envelope.values)?;
        let mut tx = self.begin(pass).await?;
        let made = self.create_in(&mut tx, pass.caller(), vec![envelope], send).await?;
        let made = made.into_iter().next().ok_or_else(|| Problem::fault("an envelope was made and is not there"))?;
        let answer = (made, content);
        once.keep(&mut tx, &answer).await?;
        tx.commit().await?;
        self.told();
        Ok(answer)
    }

    /// Writes new envelopes with their events, and with `send` invites those whose turn is first: one statement for each
    /// table, for one envelope as for a batch's five hundred. Refuses all where one's external id or row is taken.
    pub async fn create_in(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        mut envelopes: Vec<Envelope>,
        send: bool,
    ) -> Result<Vec<Envelope>, Problem> {
        let now = self.now();
        if send {
            self.sealing_key()?;
        }
        let mut all = Moved::default();
        let mut mails = Vec::new();
        for envelope in &mut envelopes {
            all.events.push(envelope.created());
            if send {
                let mut moved = envelope.send(now)?;
                mails.extend(self.mails_of(envelope, &mut moved));
                all.events.extend(moved.events);
            }
        }
        let written = store::envelope::insert(tx, caller.scope, &envelopes).await?;
        if written != envelopes.len() as u64 {
            return Err(Problem::new(Code::ExternalIdTaken, "An envelope with this external_id exists already."));
        }
        self.enqueue_mails(tx, caller.scope, mails).await?;
        self.note_events(tx, caller, &all.events).await?;
        let events = store::event::append(tx, caller, &*self.clock, &*self.random, all.events).await?;
        let last: HashMap<&str, LastEvent> = events
            .iter()
            .filter_map(|event| {
                let id = event.data.get("envelope")?.get("id")?.as_str()?;
                Some((id, LastEvent { id: event.id, seq: event.seq }))
            })
            .collect();
        for envelope in &mut envelopes {
            envelope.last_event = last.get(envelope.id.to_string().as_str()).copied();
        }
        Ok(envelopes)
    }

    /// The envelope `id` with its documents and fields.
    pub async fn get_envelope(&self, pass: &Pass, id: EnvelopeId) -> Result<(Envelope, Content), Problem> {
        let mut tx = self.read().await?;
        let envelope = store::envelope::get(&mut tx, pass.scope(), id).await?.ok_or_else(Problem::not_found)?;
        let content = store::envelope::content(&mut tx, &envelope).await?;
        Ok((envelope, content))
    }

    /// A page of envelopes, newest first, one more than `limit`.
    pub async fn list_envelopes(
        &self,
        pass: &Pass,
        filter: &Filter,
        after: Option<EnvelopeId>,
        limit: u32,
    ) -> Result<Vec<Envelope>, Problem> {
        let mut tx = self.read().await?;
        Ok(store::envelope::list(&mut tx, pass.scope(), filter, after, limit.saturating_add(1)).await?)
    }

    /// Sends a draft.
    pub async fn send_envelope(
        &self,
        pass: &Pass,
        id: EnvelopeId,
        once: &Once<(Envelope, Content)>,
    ) -> Result<(Envelope, Content), Problem> {
        self.sealing_key()?;
        self.move_envelope(pass, id, once, true, |envelope, app| envelope.send(app.now())).await
    }

    /// Takes an envelope back.
    pub async fn void_envelope(
        &self,
        pass: &Pass,
        id: EnvelopeId,
        reason: &str,
        once: &Once<(Envelope, Content)>,
    ) -> Result<(Envelope, Content), Problem> {
        if reason.chars().count() > VOID_REASON_CHARS_MAX || reason.contains('\0') {
            let why = format!("A reason has {VOID_REASON_CHARS_MAX} characters at most.");
            return Err(Problem::body(vec![BodyError::new("/reason", "too_long", why)]));
        }
        self.move_envelope(pass, id, once, false, |envelope, app| envelope.void(reason, app.now())).await
    }

    async fn move_envelope(
        &self,
        pass: &Pass,
        id: EnvelopeId,
        once: &Once<(Envelope, Content)>,
        sends: bool,
        decide: impl FnOnce(&mut Envelope, &App) -> Result<Moved, Problem>,
    ) -> Result<(Envelope, Content), Problem> {
        let mut tx = self.begin(pass).await?;
        let mut envelope = store::envelope::lock(&mut tx, pass.scope(), id).await?.ok_or_else(Problem::not_found)?;
        if sends {
            let by = (&envelope.created_by, envelope.created_at);
            self.require_not_held(&mut tx, pass.scope(), by, &id.to_string()).await?;
        }
        let moved = decide(&mut envelope, self)?;
        let content = store::envelope::content(&mut tx, &envelope).await?;
        if moved != Moved::default() {
            self.moved(&mut tx, pass.caller(), &mut envelope, moved).await?;
        }
        let answer = (envelope, content);
        once.keep(&mut tx, &answer).await?;
        tx.commit().await?;
        self.told();
        Ok(answer)
    }

    /// Writes a move down: the state, the work that it asks for, and last the events, whose counter is the last lock.
    pub async fn moved(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        envelope: &mut Envelope,
        mut moved: Moved,
    ) -> Result<(), Problem> {
        let mails = self.mails_of(envelope, &mut moved);
        store::envelope::save(tx, envelope).await?;
        self.enqueue_mails(tx, envelope.scope, mails).await?;
        if moved.effects.contains(&Effect::Seal) {
            store::job::enqueue(tx, &self.new_job(envelope.scope, "seal", envelope.id.to_string())).await?;
        }
        self.note_events(tx, caller, &moved.events).await?;
        let events = store::event::append(tx, caller, &*self.clock, &*self.random, moved.events).await?;
        if let Some(last) = events.last() {
            envelope.last_event = Some(model::envelope::LastEvent { id: last.id, seq: last.seq });
        }
        Ok(())
    }

    /// What a person or a program did stands in the audit log too; what the server did by itself is told by its events.
    async fn note_events(&self, tx: &mut Tx, caller: &Caller, events: &[NewEvent]) -> Result<(), Problem> {
        if caller.who == Who::System {
            return Ok(());
        }
        for event in events.iter().filter(|event| !event.kind.is_servers_own()) {
            self.note(tx, caller, entry(event)).await?;
        }
        Ok(())
    }

    /// Something was committed: those who wait for events look, and the jobs' runner too.
    pub fn told(&self) {
        self.watch.nudge();
        self.wake.notify_waiters();
    }

    /// A job that is due at once.
    pub(crate) fn new_job(&self, scope: EnvScope, kind: &'static str, object: String) -> NewJob {
        let now = self.now();
        NewJob { id: self.id(), scope, kind, object, body: serde_json::Value::Null, run_at: now, created_at: now }
    }

    /// What envelopes of this caller are made with.
    pub(crate) async fn making(&self, pass: &Pass) -> Result<Making<'_>, Problem> {
        let mut tx = self.read().await?;
        let caller = pass.caller();
        let tenant = store::tenant::get(&mut tx, caller.tenant_scope()).await?.ok_or_else(Problem::not_found)?;
        Ok(Making {
            scope: caller.scope,
            by: caller.actor(),
            sender: Sender { tenant: tenant.name, address: caller.address.map(|address| address.to_string()) },
            clock: &*self.clock,
            random: &*self.random,
        })
    }

    /// The version of a template that is asked for, or its latest.
    pub(crate) async fn pinned(
        &self,
        scope: EnvScope,
        id: model::TemplateId,
        version: Option<i64>,
    ) -> Result<(TemplateRef, TemplateVersion), Problem> {
        let mut tx = self.read().await?;
        let found = match version {
            Some(number) => store::template::version(&mut tx, scope, id, number).await?,
            None => store::template::get(&mut tx, scope, id).await?.map(|template| template.version),
        };
        let missing = || BodyError::new("/template", "not_found", "There is no such template, or not in that version.");
        let version = found.ok_or_else(|| Problem::body(vec![missing()]))?;
        Ok((TemplateRef { id, version: version.number }, version))
    }

    /// The documents of a body, in its order; every one that is not there is named.
    pub(crate) async fn documents_of(&self, scope: EnvScope, ids: &[DocumentId]) -> Result<Vec<Document>, Problem> {
        let refuse = |pointer: String, code, why: &str| Problem::body(vec![BodyError::new(pointer, code, why)]);
        if ids.is_empty() {
            return Err(refuse("/documents".into(), "required", "Name at least one document, or a template."));
        }
        if ids.len() > model::content::DOCUMENTS_MAX {
            return Err(refuse("/documents".into(), "too_many", "There are more than 20 documents."));
        }
        let mut tx = self.read().await?;
        let mut found = store::document::get_all(&mut tx, scope, ids).await?;
        let mut documents = Vec::with_capacity(ids.len());
        let mut errors = Vec::new();
        for (at, id) in ids.iter().enumerate() {
            match found.iter().position(|document| document.id == *id) {
                Some(place) => documents.push(found.swap_remove(place)),
                None => errors.push(BodyError::new(
                    format!("/documents/{at}"),
                    "not_found",
                    format!("There is no document {id} in this environment, or it is named twice."),
                )),
            }
        }
        if errors.is_empty() { Ok(documents) } else { Err(Problem::body(errors)) }
    }
}

/// An event as the audit log has it: what it was before, the status it is in now, and which recipient it is about.
fn entry(event: &NewEvent) -> Entry {
    let status = event.data.get("envelope").and_then(|envelope| envelope.get("status"));
    let after = json!({ "status": status, "recipient_id": event.data.get("recipient_id") });
    let before = (!event.previous.is_empty()).then(|| Value::Object(event.previous.clone()));
    Entry { action: event.kind.as_str(), object: event.object.to_string(), before, after: Some(after) }
}

/// A template version as an envelope pins it.
pub(crate) fn pinned(template: TemplateRef, version: &TemplateVersion) -> Pinned<'_> {
    Pinned {
        template,
        title: &version.title,
        message: &version.message,
        roles: &version.roles,
        content: &version.content,
    }
}

fn no_content(new: &NewEnvelope) -> Result<(), Problem> {
    let mut errors = Vec::new();
    let given = [("/documents", !new.documents.is_empty()), ("/fields", !new.fields.is_empty())];
    for (pointer, _) in given.into_iter().filter(|(_, given)| *given) {
        errors.push(BodyError::new(
            pointer,
            "set_by_template",
            "The template brings its documents and fields: leave this out.",
        ));
    }
    if errors.is_empty() { Ok(()) } else { Err(Problem::body(errors)) }
}
