//! A key in wrong hands: end it and all that it made, hold what it did since, and decide about that piece by piece.

use std::collections::BTreeSet;

use gate::{Pass, Touched};
use model::audit::Entry;
use model::batch::BatchProblem;
use model::caller::{Actor, Who};
use model::compromise::{Decision, Decisions, Draft, Seen, Verdict};
use model::envelope::Moved;
use model::event::{NewEvent, Object, Type};
use model::key::{self, Key, Reason, State};
use model::revocation::require_note;
use model::{BatchId, BodyError, Caller, Code, EnvScope, EnvelopeId, KeyId, Problem, Timestamp};
use serde_json::{Map, Value, json};
use store::compromise::Hold;
use store::{Tx, job::Job};

pub use model::compromise::Touched as Deed;

use crate::job::Outcome;
use crate::key::{KeyDetails, MadeKey, require_scope};
use crate::{App, begin_anew};

/// Rounds of looking for keys that the found ones made.
const ROUNDS_MAX: u32 = 1_000;
/// Objects that the answer to a compromise names itself; the list has the rest.
pub const FIRST_DEEDS: u32 = 20;
/// Envelopes that one transaction voids.
const VOIDED_AT_ONCE: u32 = 50;
/// The reason that recipients of a voided envelope are told.
const VOID_REASON: &str = "The sender's key was compromised.";

/// What is known of a compromise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Since when the key may have been in wrong hands, RFC 3339; left out: since it was made.
    pub since: Option<String>,
    /// For the audit log.
    pub note: String,
    /// Whether to make a new key like it.
    pub replacement: bool,
}

/// What a compromise is answered with.
#[derive(Debug)]
pub struct Compromised {
    /// The key.
    pub key: KeyDetails,
    /// Since when it may have been in wrong hands.
    pub since: Timestamp,
    /// Nothing that it or what it made asks for takes effect from then on.
    pub effective_at: Timestamp,
    /// The keys that were revoked, this one too, the oldest first.
    pub revoked: Vec<KeyId>,
    /// The batches that were paused.
    pub paused: Vec<BatchId>,
    /// The new key, where one was wanted.
    pub replacement: Option<MadeKey>,
    /// What they did since, the first of it.
    pub blast: Blast,
}

/// A page of what a compromised key did.
#[derive(Clone, Debug, PartialEq)]
pub struct Blast {
    /// Since when.
    pub since: Timestamp,
    /// By object, in the order of their ids; one more than asked for where more follow.
    pub deeds: Vec<Deed>,
    /// The addresses that it was first used from since then.
    pub new_addresses: Vec<Seen>,
}

impl App {
    /// Ends a key that got into wrong hands, in one transaction: it, every key that it made and every key whose secret it was
    /// given since are revoked, their batches are paused, and what they did since `since` is sent only once somebody has
    /// decided to keep it. It may be repeated: each answer waits for the same.
    ///
    /// Its answer is not kept in the transaction: one that was cut off before all of it was in force is no answer to give
    /// again.
    pub async fn compromise_key(&self, pass: &Pass, id: KeyId, wanted: &Wanted) -> Result<Compromised, Problem> {
        require_note(&wanted.note)?;
        // Two keys that end each other want each other's locks.
        let (tx, mut answer, keys) = begin_anew(|| self.compromise_in(pass, id, wanted)).await?;
        tx.commit().await?;
        answer.effective_at = self.in_force(&keys).await?;
        // Whoever sent something that is held now had looked before: it has been sent, and stands in the list, or never is.
        gate::barrier(&self.db, &[Touched::Tenant(pass.scope().tenant)]).await?;
        Ok(answer)
    }

    /// Does it, up to the commit: the transaction, the answer and the revoked keys.
    async fn compromise_in(
        &self,
        pass: &Pass,
        id: KeyId,
        wanted: &Wanted,
    ) -> Result<(Tx, Compromised, Vec<Key>), Problem> {
        let (scope, caller, now) = (pass.scope(), pass.caller(), self.now());
        let mut tx = self.begin(pass).await?;
        self.require_manager(&mut tx, caller).await?;
        let key = store::key::get(&mut tx, scope, id).await?.ok_or_else(Problem::not_found)?;
        let since = since(wanted.since.as_deref(), &key, now)?;
        let ids = family(&mut tx, scope, id, since).await?;
        let mut revoked = self.revoke_in(&mut tx, scope, &ids, (Reason::Compromised, &wanted.note)).await?;
        // A key that went with another before stays under that one's root, with what was decided there.
        let root = store::compromise::lock(&mut tx, scope, id).await?.map_or(id, |hold| hold.root);
        let hold = Hold { root, since, created_by: caller.actor(), created_at: now };
        let is_new = store::compromise::hold(&mut tx, scope, &ids, &hold).await?;
        let (paused, batch_entries, batch_events) = self.pause_batches(&mut tx, scope, &ids, now).await?;
        if is_new || !revoked.events.is_empty() || !paused.is_empty() {
            let record = json!({ "since": since, "revoked": ids, "paused": paused, "note": wanted.note });
            revoked.entries.push(Entry::created("key.compromised", id, record));
            revoked.events.push(compromised(id, since, &ids));
        }
        revoked.entries.extend(batch_entries);
        revoked.events.extend(batch_events);
        let keys = revoked.keys.clone();
        self.note_revoked(&mut tx, caller, revoked).await?;
        let replacement = match wanted.replacement {
            true => Some(self.replace(&mut tx, pass, (&key, &ids), now).await.map_err(nothing_revoked)?),
            false => None,
        };
        let key = store::key::get(&mut tx, scope, id).await?.ok_or_else(Problem::not_found)?;
        let key = self.detail(&mut tx, caller, key).await?;
        let blast = blast(&mut tx, scope, id, None, FIRST_DEEDS).await?;
        let answer = Compromised { key, since, effective_at: now, revoked: ids, paused, replacement, blast };
        Ok((tx, answer, keys))
    }

    /// Pauses what runs under these keys.
    async fn pause_batches(
        &self,
        tx: &mut Tx,
        scope: EnvScope,
        keys: &[KeyId],
        now: Timestamp,
    ) -> Result<(Vec<BatchId>, Vec<Entry>, Vec<NewEvent>), Problem> {
        let (mut paused, mut entries, mut events) = (Vec::new(), Vec::new(), Vec::new());
        for id in store::revocation::running_batches(tx, scope, keys).await? {
            let Some(mut batch) = store::batch::lock(tx, scope, id).await? else { continue };
            let was = batch.record();
            let detail = "The key was compromised. Decide about the batch, then resume it with another key.";
            let problem = BatchProblem { code: "key_revoked".to_owned(), detail: detail.to_owned(), since: now };
            // It may have ended by itself since it was found.
            let Ok(Some(event)) = batch.pause(Some(problem), now) else { continue };
            store::batch::save(tx, &mut batch).await?;
            entries.push(Entry::changed("batch.paused", id, was, batch.record()));
            events.push(event);
            paused.push(id);
        }
        Ok((paused, entries, events))
    }

    /// A new key like the old one, within the rights of who asks.
    async fn replace(
        &self,
        tx: &mut Tx,
        pass: &Pass,
        (old, ended): (&Key, &[KeyId]),
        now: Timestamp,
    ) -> Result<MadeKey, Problem> {
        if let Who::Key { key, .. } = &pass.caller().who
            && ended.contains(key)
        {
            // Or whoever has the stolen key would end the alarm with a new key in hand.
            let detail = "A key that is compromised makes no replacement for itself: ask with another key.";
            return Err(Problem::new(Code::Beyond, detail));
        }
        let draft = key::Draft {
            label: old.label.clone(),
            scopes: Some(old.scopes.names()),
            allowlist: (!old.allowlist.is_empty()).then(|| old.allowlist.entries()),
            allowlist_mode: (!old.allowlist.is_empty()).then(|| old.allowlist_mode.to_string()),
            expires_at: old.expires_at.filter(|end| *end > now).map(|end| end.to_string()),
            administrator: Some(old.administrator.to_string()),
            note: old.note.clone(),
            tags: old.tags.clone(),
            confirm: true,
            pending: old.state == State::Pending,
            ..key::Draft::default()
        };
        self.make_key(tx, pass, draft.read(now)?).await
    }

    /// What a compromised key and those that it made did since, after the object `after`; one more than `limit`.
    pub async fn blast(&self, pass: &Pass, id: KeyId, after: Option<&str>, limit: u32) -> Result<Blast, Problem> {
        let mut tx = self.read().await?;
        self.require_manager(&mut tx, pass.caller()).await?;
        blast(&mut tx, pass.scope(), id, after, limit).await
    }

    /// Decides about what a compromised key did. What is kept may be sent; what is voided is taken back: named envelopes at
    /// once, batches and all the rest by a job. How many were decided about.
    pub async fn decide_compromise(&self, pass: &Pass, id: KeyId, draft: &Draft) -> Result<u64, Problem> {
        let (scope, caller, now) = (pass.scope(), pass.caller(), self.now());
        let actor = caller.actor();
        let mut tx = self.begin(pass).await?;
        self.require_manager(&mut tx, caller).await?;
        let root = store::compromise::lock(&mut tx, scope, id).await?.ok_or_else(Problem::not_found)?.root;
        let decisions = draft.read()?;
        for scope in decisions.scopes() {
            require_scope(caller, scope, "To take back what a compromised key did")?;
        }
        let (count, has_more) = match &decisions {
            Decisions::Rest(decision) => {
                let by = (&actor, now);
                let count = store::compromise::decide_rest(&mut tx, scope, root, *decision, by).await?;
                (count, *decision == Decision::Void)
            }
            Decisions::Some(decisions) => self.decide_some(&mut tx, pass, root, decisions, now).await?,
        };
        if has_more {
            store::job::enqueue(&mut tx, &self.new_job(scope, "void", id.to_string())).await?;
        }
        self.note(&mut tx, caller, Entry::created("key.compromise_decided", id, decisions.record())).await?;
        tx.commit().await?;
        self.told();
        Ok(count)
    }

    async fn decide_some(
        &self,
        tx: &mut Tx,
        pass: &Pass,
        root: KeyId,
        decisions: &[(String, Decision)],
        now: Timestamp,
    ) -> Result<(u64, bool), Problem> {
        let (scope, actor) = (pass.scope(), pass.caller().actor());
        let objects: Vec<&str> = decisions.iter().map(|(object, _)| object.as_str()).collect();
        let known = store::compromise::known(tx, scope, root, &objects).await?;
        lock_envelopes(tx, scope, objects).await?;
        let mut faults = Vec::new();
        let mut has_more = false;
        for (at, (object, decision)) in decisions.iter().enumerate() {
            if !known.contains(object) {
                let detail = "The compromised key did nothing to this object since then.";
                faults.push(BodyError::new(format!("/decisions/{at}/object"), "not_found", detail));
                continue;
            }
            let mut verdict = Verdict { decision: *decision, done_at: Some(now), outcome: None };
            match (decision, object.parse::<EnvelopeId>()) {
                (Decision::Void, Ok(envelope)) => match self.void_in(tx, pass.caller(), envelope).await? {
                    None => {}
                    Some(late) => {
                        let detail = format!("It can't be taken back any more: {}.", late.title());
                        faults.push(BodyError::new(format!("/decisions/{at}"), late.as_str(), detail));
                    }
                },
                (Decision::Void, Err(_)) => {
                    verdict.done_at = None;
                    has_more = true;
                }
                (Decision::Keep, _) => {}
            }
            let is_written = store::compromise::decide(tx, scope, root, object, &verdict, (&actor, now)).await?;
            if !is_written && *decision == Decision::Keep {
                let detail = "It was taken back already, which can't be undone.";
                faults.push(BodyError::new(format!("/decisions/{at}"), "taken_back", detail));
            }
        }
        if !faults.is_empty() {
            return Err(Problem::body(faults));
        }
        Ok((decisions.len() as u64, has_more))
    }

    /// Voids an envelope; the reason why it can't be, where it is too late.
    async fn void_in(&self, tx: &mut Tx, caller: &Caller, id: EnvelopeId) -> Result<Option<Code>, Problem> {
        let envelope = store::envelope::lock(tx, caller.scope, id).await?;
        let mut envelope = envelope.ok_or_else(Problem::not_found)?;
        match envelope.void(VOID_REASON, self.now()) {
            Ok(moved) if moved == Moved::default() => Ok(None),
            Ok(moved) => {
                self.moved(tx, caller, &mut envelope, moved).await?;
                Ok(None)
            }
            Err(problem) => Ok(Some(problem.code)),
        }
    }

    /// Refuses to send what a compromised key made, until somebody has decided about it.
    pub(crate) async fn require_not_held(
        &self,
        tx: &mut Tx,
        scope: EnvScope,
        (by, at): (&Actor, Timestamp),
        object: &str,
    ) -> Result<(), Problem> {
        let Actor::Key { id, .. } = by else { return Ok(()) };
        if store::compromise::is_held(tx, scope, *id, object, at).await? {
            let detail = format!("{object} was made by {id}, which was compromised.");
            return Err(Problem::new(Code::HeldAfterCompromise, detail));
        }
        Ok(())
    }

    /// Does the voids that were decided and are not done yet, some in each transaction.
    pub(crate) async fn run_void(&self, job: &Job) -> Result<Outcome, Problem> {
        let (scope, key) = (job.scope, job.object.parse::<KeyId>().map_err(Problem::fault)?);
        let caller = Caller::system(scope);
        loop {
            let mut tx = self.db.begin().await?;
            // Asked each time: what the key did may have come under another's root since the job was made.
            let root = store::compromise::lock(&mut tx, scope, key).await?.ok_or_else(Problem::not_found)?.root;
            let pending = store::compromise::pending(&mut tx, scope, root, VOIDED_AT_ONCE).await?;
            if pending.is_empty() {
                store::job::done(&mut tx, job).await?;
                tx.commit().await?;
                return Ok(Outcome::Committed);
            }
            lock_envelopes(&mut tx, scope, pending.iter().map(String::as_str)).await?;
            for object in pending {
                if let Ok(envelope) = object.parse::<EnvelopeId>() {
                    let late = self.void_in(&mut tx, &caller, envelope).await?;
                    let outcome = late.map(Code::as_str);
                    store::compromise::done(&mut tx, scope, root, &object, outcome, self.now()).await?;
                } else if self.void_batch(&mut tx, &caller, root, &object).await? {
                    // Its envelopes come in pieces: what was voided is committed before the next.
                    break;
                }
            }
            tx.commit().await?;
            self.told();
        }
    }

    /// Cancels a batch and voids some of its envelopes; whether more may be left.
    async fn void_batch(&self, tx: &mut Tx, caller: &Caller, root: KeyId, object: &str) -> Result<bool, Problem> {
        let (id, scope) = (object.parse::<BatchId>().map_err(Problem::fault)?, caller.scope);
        let mut batch = store::batch::lock(tx, scope, id).await?.ok_or_else(Problem::not_found)?;
        let was = batch.record();
        // A completed batch has nothing left to cancel; its envelopes are voided all the same.
        let cancelled = batch.cancel(self.now()).ok().flatten();
        if cancelled.is_some() {
            store::batch::save(tx, &mut batch).await?;
        }
        let envelopes = store::compromise::voidable(tx, scope, id, VOIDED_AT_ONCE).await?;
        let named: Vec<String> = envelopes.iter().map(ToString::to_string).collect();
        lock_envelopes(tx, scope, named.iter().map(String::as_str)).await?;
        for envelope in &envelopes {
            self.void_in(tx, caller, *envelope).await?;
        }
        if envelopes.is_empty() {
            store::compromise::done(tx, scope, root, object, None, self.now()).await?;
        }
        if let Some(event) = cancelled {
            self.note(tx, caller, Entry::changed("batch.cancelled", id, was, batch.record())).await?;
            store::event::append(tx, caller, &*self.clock, &*self.random, vec![event]).await?;
        }
        Ok(!envelopes.is_empty())
    }
}

async fn blast(tx: &mut Tx, scope: EnvScope, id: KeyId, after: Option<&str>, limit: u32) -> Result<Blast, Problem> {
    let hold = store::compromise::get(tx, scope, id).await?.ok_or_else(Problem::not_found)?;
    let root = hold.root;
    let limit = limit.saturating_add(1);
    let deeds = store::compromise::touched(tx, scope, root, after.unwrap_or_default(), limit).await?;
    let new_addresses = store::compromise::new_addresses(tx, scope, root).await?;
    Ok(Blast { since: hold.since, deeds, new_addresses })
}

fn since(text: Option<&str>, key: &Key, now: Timestamp) -> Result<Timestamp, Problem> {
    let Some(text) = text else { return Ok(key.created_at) };
    let fault = |detail: String| Problem::body(vec![BodyError::new("/since", "invalid_value", detail)]);
    let since: Timestamp = text.parse().map_err(|why: model::time::NotATime| fault(format!("{why}.")))?;
    if since > now { Err(fault("It lies in the future.".to_owned())) } else { Ok(since.max(key.created_at)) }
}

/// The key, all that descends from it, and the keys of which these were given a secret by a rotation since, with what those
/// made since. Each is locked against those who write with it, so that they have committed what they make, a further key
/// perhaps, before it is looked for; and they begin anew, and are refused, after this commits. The oldest first.
async fn family(tx: &mut Tx, scope: EnvScope, root: KeyId, since: Timestamp) -> Result<Vec<KeyId>, Problem> {
    let mut ids = BTreeSet::from([root]);
    let mut locked = BTreeSet::new();
    for _ in 0..ROUNDS_MAX {
        for id in ids.difference(&locked) {
            store::gate::lock_exclusive(tx, &id.to_string()).await?;
        }
        locked.clone_from(&ids);
        // Statements of their own: they see what those who held the locks have committed.
        ids.extend(store::revocation::descendants(tx, scope, root).await?);
        let known: Vec<KeyId> = ids.iter().copied().collect();
        ids.extend(store::revocation::obtained(tx, scope, &known, since).await?);
        if ids == locked {
            return Ok(ids.into_iter().collect());
        }
    }
    Err(Problem::fault(format!("the keys that {root} made have no end")))
}

/// A refusal of the replacement says what became of the alarm.
fn nothing_revoked(mut refusal: Problem) -> Problem {
    if refusal.code.status() < 500 {
        refusal.detail += " Nothing was revoked: without `replacement` the key is revoked all the same.";
    }
    refusal
}

/// Holds these envelopes, in the order of their ids, before anything takes a number: every transaction keeps to that order.
async fn lock_envelopes<'a>(
    tx: &mut Tx,
    scope: EnvScope,
    objects: impl IntoIterator<Item = &'a str>,
) -> Result<(), Problem> {
    let mut ids: Vec<EnvelopeId> = objects.into_iter().filter_map(|object| object.parse().ok()).collect();
    ids.sort();
    for id in ids {
        store::envelope::lock(tx, scope, id).await?;
    }
    Ok(())
}

fn compromised(id: KeyId, since: Timestamp, revoked: &[KeyId]) -> NewEvent {
    let data = Map::from_iter([
        ("key".to_owned(), json!({ "id": id })),
        ("since".to_owned(), json!(since)),
        ("revoked".to_owned(), Value::from_iter(revoked.iter().map(ToString::to_string))),
    ]);
    NewEvent { kind: Type::KeyCompromised, object: Object::Key(id), data, previous: Map::new() }
}
