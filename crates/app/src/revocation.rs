//! Taking a key's right away and giving it back: revoke, in bulk too, suspend, resume, transfer; and the receipts.

use gate::{Pass, Touched};
use model::audit::Entry;
use model::event::{NewEvent, Object, Type};
use model::journal::{Fact, Line};
use model::key::{Key, Reason};
use model::revocation::{Aftermath, BULK_KEYS_MAX, BulkDraft, Passed, require_note};
use model::scope::Scope;
use model::time::HOUR_MS;
use model::{BatchId, Caller, Code, EnvScope, KeyId, Problem, Timestamp, UserId};
use serde_json::{Map, Value, json};
use store::usage::{NODE_SILENT_MS_MAX, REFUSALS_MAX};
use store::{Db, Tx};

use crate::App;
use crate::clock::database_time;
use crate::key::{Filter, KeyDetails, require_scope};
use crate::tenant::saved;

/// Keys and batches of a receipt's lists at most.
const MADE_MAX: u32 = 100;
/// The status that a revoked key is refused with.
const REFUSED_STATUS: u16 = 401;
/// How old a revocation is that nobody has said to be in force before the server itself sees to it: whoever asked for it
/// has had the time.
const FINISHED_AFTER_MS: i64 = 5_000;
/// Keys that are brought into force at once.
const KEYS_MAX: u32 = 500;

/// What a revocation is answered with.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// The key, revoked.
    pub key: KeyDetails,
    /// Nothing that it asks for takes effect from then on; none where that can't be said yet.
    pub effective_at: Option<Timestamp>,
    /// When what follows was so.
    pub as_of: Timestamp,
    /// Whether every node has written what it held in memory.
    pub complete: bool,
    /// The keys that it made, the newest first: at most 100.
    pub made_keys: Vec<KeyId>,
    /// The batches that it made or that ran under it, the newest first: at most 100.
    pub made_batches: Vec<BatchId>,
    /// What it still did.
    pub aftermath: Aftermath,
}

/// What a bulk revocation is answered with.
#[derive(Clone, Debug, PartialEq)]
pub struct BulkReceipt {
    /// The keys that it meant, oldest first.
    pub keys: Vec<KeyDetails>,
    /// Nothing that they ask for takes effect from then on; none where it was only asked which they are.
    pub effective_at: Option<Timestamp>,
}

/// Keys that were revoked in a transaction, and what is still to be written of it, last.
#[derive(Default)]
pub(crate) struct Revoked {
    pub(crate) keys: Vec<Key>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) events: Vec<NewEvent>,
}

impl App {
    /// Revokes a key. When this answers, nothing that the key asked for takes effect any more, on any node. It may be
    /// repeated: each answer waits for the same.
    ///
    /// A key may revoke any key of its environment: to revoke only takes away, and in an emergency it must not matter
    /// whose key is at hand.
    pub async fn revoke_key(&self, pass: &Pass, id: KeyId, reason: Reason, note: &str) -> Result<Receipt, Problem> {
        require_note(note)?;
        let mut tx = self.begin(pass).await?;
        self.require_manager(&mut tx, pass.caller()).await?;
        let revoked = self.revoke_in(&mut tx, pass.scope(), &[id], (reason, note)).await?;
        let key = revoked.keys.first().cloned().ok_or_else(Problem::not_found)?;
        self.note_revoked(&mut tx, pass.caller(), revoked).await?;
        tx.commit().await?;
        self.in_force(std::slice::from_ref(&key)).await?;
        self.receipt_of(pass.caller(), id).await
    }

    /// The same for the operator, who knows nothing but the key's id.
    pub async fn revoke_key_as_operator(&self, id: KeyId, reason: Reason, note: &str) -> Result<Receipt, Problem> {
        let scope = self.whereabouts(id).await?;
        self.revoke_key(&Pass::operator(scope), id, reason, note).await
    }

    /// Where a key lives, for the operator.
    pub async fn whereabouts(&self, id: KeyId) -> Result<EnvScope, Problem> {
        let mut tx = self.read().await?;
        let scope = store::key::whereabouts(&mut tx, id).await?;
        scope.ok_or_else(|| Problem::new(Code::NotFound, "There is no such key on this server."))
    }

    /// Revokes every key of the caller's environment that all that is given fits, in one transaction; with `dry_run` only
    /// says which they are.
    pub async fn revoke_keys(
        &self,
        pass: &Pass,
        draft: &BulkDraft,
        note: &str,
        dry_run: bool,
    ) -> Result<BulkReceipt, Problem> {
        require_note(note)?;
        if dry_run {
            // It takes nothing away, and shows what a list does.
            require_scope(pass.caller(), Scope::KeysRead, "A dry run")?;
        }
        let (scope, now) = (pass.scope(), self.now());
        let bulk = draft.read(scope.environment, now)?;
        let mut tx = if dry_run { self.read().await? } else { self.begin(pass).await? };
        self.require_manager(&mut tx, pass.caller()).await?;
        let meant = store::revocation::meant(&mut tx, scope, &bulk, BULK_KEYS_MAX + 1).await?;
        if meant.len() > BULK_KEYS_MAX {
            let detail = format!("More than {BULK_KEYS_MAX} keys are meant: say more of them, and repeat it.");
            return Err(Problem::body(vec![model::BodyError::new("", "too_many", detail)]));
        }
        if dry_run {
            return Ok(BulkReceipt {
                keys: self.details(&mut tx, pass.caller(), meant, now).await?,
                effective_at: None,
            });
        }
        // What broke off before is waited for again, and is the caller's too.
        let mut keys = store::revocation::unconfirmed_of(&mut tx, scope.tenant_scope()).await?;
        keys.retain(|key| key.scope == scope && bulk.names(key));
        let ids: Vec<KeyId> = meant.iter().map(|key| key.id).collect();
        let revoked = self.revoke_in(&mut tx, scope, &ids, (Reason::Manual, note)).await?;
        keys.extend(revoked.keys.iter().cloned());
        self.note_revoked(&mut tx, pass.caller(), revoked).await?;
        let details = self.details(&mut tx, pass.caller(), keys.clone(), now).await?;
        tx.commit().await?;
        let effective_at = Some(self.in_force(&keys).await?);
        Ok(BulkReceipt { keys: details, effective_at })
    }

    /// Revokes these keys in the order of their ids; their rows are held from here on. What is revoked already stays as it
    /// is, and is among the keys all the same. Those that are not there are left out.
    pub(crate) async fn revoke_in(
        &self,
        tx: &mut Tx,
        scope: EnvScope,
        ids: &[KeyId],
        (reason, note): (Reason, &str),
    ) -> Result<Revoked, Problem> {
        let mut ids = ids.to_vec();
        ids.sort();
        // Every row is held before the first is written: a write takes the epoch's row too, and who held that and waited
        // for a key could wait in a circle with whoever holds the key.
        let mut held = Vec::with_capacity(ids.len());
        for id in ids {
            held.extend(store::key::lock(tx, scope, id).await?);
        }
        let now = database_time(tx).await?;
        let mut revoked = Revoked::default();
        for before in held {
            let (id, was) = (before.id, before.record());
            let (key, event) = before.revoke(reason, now);
            if let Some(event) = event {
                saved(store::key::save(tx, &key).await?)?;
                store::key::end_secrets(tx, scope, id, now).await?;
                let mut is = key.record();
                is["revocation_note"] = json!(note);
                revoked.entries.push(Entry::changed("key.revoked", id, was, is));
                revoked.events.push(event);
            }
            store::revocation::begin_receipt(tx, scope, id, key.since).await?;
            revoked.keys.push(key);
        }
        Ok(revoked)
    }

    /// Writes what was revoked into the audit log and tells it: the last that its transaction does.
    pub(crate) async fn note_revoked(&self, tx: &mut Tx, caller: &Caller, revoked: Revoked) -> Result<(), Problem> {
        for entry in revoked.entries {
            self.note(tx, caller, entry).await?;
        }
        store::event::append(tx, caller, &*self.clock, &*self.random, revoked.events).await?;
        Ok(())
    }

    /// Makes committed revocations hold: they are in the journal, and nothing that was in flight takes effect any more. The
    /// moment from which that is so. What breaks off here is brought into force by `finish_revocations`.
    pub(crate) async fn in_force(&self, keys: &[Key]) -> Result<Timestamp, Problem> {
        self.told();
        let lines: Vec<Line> = keys.iter().filter_map(line).collect();
        self.journal.append(&lines).await?;
        confirm(&self.db, &keys.iter().map(|key| key.id).collect::<Vec<_>>()).await
    }

    /// Brings into force what was committed and then broke off, at the journal, at the barrier or with its server: whoever
    /// asked for it was not told that it holds, and may never ask again. False: some could not be.
    pub(crate) async fn finish_revocations(&self) -> Result<bool, Problem> {
        let (mut is_done, mut after) = (true, None);
        loop {
            let mut tx = self.read().await?;
            let before = database_time(&mut tx).await?.plus(-FINISHED_AFTER_MS);
            let keys = store::revocation::unconfirmed(&mut tx, before, after, KEYS_MAX).await?;
            drop(tx);
            let Some(last) = keys.last() else { return Ok(is_done) };
            after = Some(last.id);
            if self.in_force(&keys).await.is_ok() {
                continue;
            }
            // Each by itself: one that can't be keeps none of the others waiting.
            for key in &keys {
                if let Err(problem) = self.in_force(std::slice::from_ref(key)).await {
                    tracing::warn!(key = %key.id, %problem, "a revocation can't be brought into force yet");
                    is_done = false;
                }
            }
        }
    }

    /// The receipt of a revoked key.
    pub async fn get_receipt(&self, pass: &Pass, id: KeyId) -> Result<Receipt, Problem> {
        let mut tx = self.read().await?;
        self.require_manager(&mut tx, pass.caller()).await?;
        drop(tx);
        self.receipt_of(pass.caller(), id).await
    }

    async fn receipt_of(&self, caller: &Caller, id: KeyId) -> Result<Receipt, Problem> {
        let scope = caller.scope;
        let mut tx = self.read().await?;
        let mut kept = store::revocation::receipt(&mut tx, scope, id).await?.ok_or_else(Problem::not_found)?;
        let key = store::key::get(&mut tx, scope, id).await?.ok_or_else(Problem::not_found)?;
        let made = Filter { parent: Some(id), ..Filter::default() };
        let made = store::key::list(&mut tx, scope, made, self.now(), None, MADE_MAX).await?;
        let made_batches = store::revocation::made_batches(&mut tx, scope, id, MADE_MAX).await?;
        if !kept.complete {
            kept.as_of = database_time(&mut tx).await?;
            kept.aftermath = aftermath(&mut tx, scope, id, kept.revoked_at).await?;
        }
        let key = self.detail(&mut tx, caller, key).await?;
        Ok(Receipt {
            key,
            effective_at: kept.effective_at,
            as_of: kept.as_of,
            complete: kept.complete,
            made_keys: made.into_iter().map(|child| child.id).collect(),
            made_batches,
            aftermath: kept.aftermath,
        })
    }

    /// Completes the receipts of revocations since which every node that lives has written what it held in memory.
    pub async fn complete_receipts(&self) -> Result<(), Problem> {
        let mut tx = self.read().await?;
        let now = database_time(&mut tx).await?;
        let due = store::revocation::due_receipts(&mut tx, now, now.plus(-NODE_SILENT_MS_MAX)).await?;
        drop(tx);
        for receipt in due {
            // One that can't be completed keeps none of the others waiting.
            if let Err(problem) = self.complete_receipt(&receipt).await {
                tracing::warn!(key = %receipt.key, %problem, "a revocation's receipt can't be completed yet");
            }
        }
        Ok(())
    }

    async fn complete_receipt(&self, receipt: &store::revocation::Receipt) -> Result<(), Problem> {
        let scope = receipt.scope;
        let caller = Caller::system(scope);
        let mut tx = self.db.begin().await?;
        let as_of = database_time(&mut tx).await?;
        let aftermath = aftermath(&mut tx, scope, receipt.key, receipt.revoked_at).await?;
        let complete = store::revocation::Receipt { as_of, complete: true, aftermath, ..receipt.clone() };
        if !store::revocation::complete_receipt(&mut tx, &complete).await? {
            return Ok(());
        }
        store::event::append(&mut tx, &caller, &*self.clock, &*self.random, vec![completed(&complete)]).await?;
        tx.commit().await?;
        self.told();
        Ok(())
    }

    /// Suspends a key: from the answer on it is refused until it is resumed.
    pub async fn suspend_key(&self, pass: &Pass, id: KeyId, note: &str) -> Result<KeyDetails, Problem> {
        require_note(note)?;
        self.turn_key(pass, id, ("key.suspended", note), |key, _, now| key.suspend(now)).await
    }

    /// Lets a suspended key pass again.
    pub async fn resume_key(&self, pass: &Pass, id: KeyId, note: &str) -> Result<KeyDetails, Problem> {
        require_note(note)?;
        self.turn_key(pass, id, ("key.resumed", note), |key, by, now| key.resume(by, now)).await
    }

    /// The same as [`App::transfer_key`], for a user's id as it was sent.
    pub async fn transfer_key_to(&self, pass: &Pass, id: KeyId, to: &str) -> Result<KeyDetails, Problem> {
        let Ok(to) = to.parse() else {
            // A key that is not there is not found, whatever else is wrong.
            self.get_key(pass, id).await?;
            let detail = "Name the user's id: it reads usr_….";
            return Err(Problem::body(vec![model::BodyError::new("/administrator", "invalid_value", detail)]));
        };
        self.transfer_key(pass, id, to).await
    }

    /// Gives a key the rights of another owner or admin. Its secret stays.
    pub async fn transfer_key(&self, pass: &Pass, id: KeyId, to: UserId) -> Result<KeyDetails, Problem> {
        self.turn_key(pass, id, ("key.transferred", ""), |key, by, now| key.transfer(to, by, now)).await
    }

    async fn turn_key(
        &self,
        pass: &Pass,
        id: KeyId,
        (action, note): (&'static str, &str),
        turn: impl FnOnce(Key, Option<&Key>, Timestamp) -> Result<(Key, Option<NewEvent>), Problem>,
    ) -> Result<KeyDetails, Problem> {
        let mut tx = self.begin(pass).await?;
        self.require_manager(&mut tx, pass.caller()).await?;
        let by = self.parent(&mut tx, pass.caller()).await?;
        let before = store::key::lock(&mut tx, pass.scope(), id).await?.ok_or_else(Problem::not_found)?;
        let (was, administrator) = (before.record(), before.administrator);
        let (key, event) = turn(before, by.as_ref(), database_time(&mut tx).await?)?;
        if let Some(event) = event {
            if key.administrator != administrator {
                self.require_administrator(&mut tx, pass.caller().tenant_scope(), key.administrator).await?;
            }
            let mut is = key.record();
            is["note_of_change"] = json!(note);
            self.save_key(&mut tx, pass.caller(), &key, Entry::changed(action, id, was, is), event).await?;
        }
        // A transfer is none of the journal's words.
        let lines: Vec<Line> = line(&key).filter(|_| action != "key.transferred").into_iter().collect();
        let details = self.detail(&mut tx, pass.caller(), key).await?;
        tx.commit().await?;
        self.told();
        self.journal.append(&lines).await?;
        // Also where nothing changed: who repeats it must not be answered before the first.
        gate::barrier(&self.db, &[Touched::Key(id)]).await?;
        Ok(details)
    }
}

/// Waits until nothing of these revoked keys takes effect any more, and puts on record that it is so. The moment.
pub(crate) async fn confirm(db: &Db, keys: &[KeyId]) -> Result<Timestamp, Problem> {
    gate::barrier(db, &keys.iter().map(|id| Touched::Key(*id)).collect::<Vec<_>>()).await?;
    let mut tx = db.begin().await?;
    let now = database_time(&mut tx).await?;
    store::revocation::confirm_receipts(&mut tx, keys, now).await?;
    tx.commit().await?;
    Ok(now)
}

/// What the journal says of a key as it is.
fn line(key: &Key) -> Option<Line> {
    use model::key::State;
    let fact = match key.state {
        State::Revoked(reason) => Fact::Revoked(reason),
        State::Suspended => Fact::Suspended,
        State::Active => Fact::Resumed,
        State::Pending | State::Expired => return None,
    };
    Some(Line { at: key.since, key: key.id, scope: key.scope, fact })
}

/// What is known of what a revoked key still did, as far as it is written.
async fn aftermath(tx: &mut Tx, scope: EnvScope, key: KeyId, since: Timestamp) -> Result<Aftermath, Problem> {
    let passed = store::usage::last_pass(tx, scope, key).await?;
    let last_passed = passed.map(|passed| Passed {
        request_id: passed.request_id,
        at: passed.at,
        address: passed.address.to_string(),
        route: passed.route.into_owned(),
    });
    let refusals = store::usage::refusals(tx, scope, key).await?;
    let since_then = refusals.iter().filter(|refusal| refusal.was_refused && refusal.at >= since);
    let (cut, refused): (Vec<_>, Vec<_>) = since_then.partition(|refusal| refusal.was_cut);
    let mut count = i64::try_from(refused.len()).unwrap_or(i64::MAX);
    if refusals.len() >= REFUSALS_MAX as usize {
        // More than are kept one by one: the hours count them all.
        let hour = Timestamp::from_millis(since.millis() - since.millis().rem_euclid(HOUR_MS));
        let calls = store::usage::routes(tx, scope, key, hour, Timestamp::from_millis(i64::MAX)).await?;
        let refused = calls.iter().filter(|calls| calls.status == REFUSED_STATUS).map(|calls| calls.count).sum::<u64>();
        count = count.max(i64::try_from(refused).unwrap_or(i64::MAX));
    }
    let streams_closed = i64::try_from(cut.len()).unwrap_or(i64::MAX);
    Ok(Aftermath { last_passed, refused: count, streams_closed })
}

/// That a receipt is complete.
fn completed(receipt: &store::revocation::Receipt) -> NewEvent {
    let data = json!({
        "key": { "id": receipt.key },
        "receipt": {
            "effective_at": receipt.effective_at,
            "as_of": receipt.as_of,
            "last_passed": receipt.aftermath.last_passed,
            "refused": receipt.aftermath.refused,
            "streams_closed": receipt.aftermath.streams_closed,
        },
    });
    let data = match data {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    NewEvent { kind: Type::KeyReceiptCompleted, object: Object::Key(receipt.key), data, previous: Map::new() }
}
