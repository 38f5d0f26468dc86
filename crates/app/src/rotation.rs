//! Rotating a key: begin with a second secret, turn it current at its first use, end the old one on time.

use gate::{Pass, Touched};
use model::audit::Entry;
use model::caller::Who;
use model::key::{Key, LastUse};
use model::rotation::{self, Anew, Begun, Draft, Turned};
use model::time::{MINUTE_MS, SECOND_MS};
use model::{Caller, EnvScope, KeyId, Problem, Timestamp};
use secret::SecretKey;
use store::Tx;

use crate::App;
use crate::clock::database_time;
use crate::key::KeyDetails;
use crate::once::Once;
use crate::sealed;
use crate::tenant::saved;

/// Dead secrets of a key that are kept, the youngest: the gate reads no more than these with those that live.
const DEAD_KEPT: u32 = 50;
/// Keys that one sweep looks at.
const KEYS_MAX: u32 = 500;
/// How long a node that says nothing more is waited for: what it noted of uses may still be written.
const NODE_WAITED_FOR_MS: i64 = 10 * MINUTE_MS;
/// Uses that are known until then say of no secret that it was silent: only the clock ends one.
const NEVER_SILENT: Timestamp = Timestamp::from_millis(0);
/// Where no node has said what it has written: uses may be this much behind.
const USES_BEHIND_MS: i64 = 30 * SECOND_MS;

/// A key whose rotation has begun.
#[derive(Debug)]
pub struct RotatedKey {
    /// The key.
    pub details: KeyDetails,
    /// Its new secret, shown this once; none where it was made before and still waits for its first use.
    pub secret: Option<SecretKey>,
    /// The secret sealed to whom the caller named: then it is shown like this alone.
    pub sealed: Option<String>,
}

impl App {
    /// Begins a rotation: the key gets a second secret, which is pending until its first use. Where one is pending already
    /// it stays, and its secret is not shown again.
    pub async fn rotate_key(
        &self,
        pass: &Pass,
        id: KeyId,
        draft: &Draft,
        once: &Once<RotatedKey>,
    ) -> Result<RotatedKey, Problem> {
        let (plan, recipient) = sealed::with_recipient(draft.read(), draft.encrypt_to.as_deref())?;
        let scope = pass.scope();
        let mut tx = self.begin(pass).await?;
        self.require_manager(&mut tx, pass.caller()).await?;
        let key = store::key::lock(&mut tx, scope, id).await?.ok_or_else(Problem::not_found)?;
        let by = self.parent(&mut tx, pass.caller()).await?;
        key.require_rotation_by(by.as_ref())?;
        let now = database_time(&mut tx).await?;
        self.end_overdue(&mut tx, &key, (&[], NEVER_SILENT), now).await?;
        let secrets = store::key::secrets(&mut tx, scope, &[id]).await?;
        if let Who::Key { key: asks, secret, .. } = pass.caller().who
            && asks == id
        {
            Key::require_rotation_with(&secrets, secret)?;
        }
        let secret = match key.rotate(&secrets, plan, now, &*self.random)? {
            Begun::Pending => None,
            Begun::Anew(anew) => {
                let Anew { secret, text, replaced, event } = *anew;
                if let Some(replaced) = replaced {
                    saved(store::rotation::save_secret(&mut tx, scope, &replaced).await?)?;
                }
                store::rotation::forget_dead(&mut tx, scope, id, DEAD_KEPT).await?;
                store::key::insert_secret(&mut tx, scope, &secret).await?;
                let after = store::key::secrets(&mut tx, scope, &[id]).await?;
                let (was, is) = (rotation::record(&secrets), rotation::record(&after));
                self.note(&mut tx, pass.caller(), Entry::changed("key.rotation_started", id, was, is)).await?;
                store::event::append(&mut tx, pass.caller(), &*self.clock, &*self.random, vec![event]).await?;
                Some(text)
            }
        };
        let details = self.detail(&mut tx, pass.caller(), key).await?;
        let sealed = match (&recipient, &secret) {
            (Some(recipient), Some(secret)) => Some(sealed::seal(recipient, secret)?),
            _ => None,
        };
        let rotated = RotatedKey { details, secret, sealed };
        if !plan.replace {
            // One that ends a secret is kept once that is in force, by the server: cut off before, it is no answer to give
            // again, and what is done anew ends what was made here.
            once.keep(&mut tx, &rotated).await?;
        }
        tx.commit().await?;
        if plan.replace {
            gate::barrier(&self.db, &[Touched::Key(id)]).await?;
        }
        self.gate.remember(id).await;
        self.told();
        Ok(rotated)
    }

    /// Puts the first use of a new secret on record, before the request that brought it goes on: the new secret is the
    /// current one from then on, on every node and after every crash, and the old one ends. However many requests bring it
    /// at the same moment, it is done once; each of them passes.
    pub async fn note_first_use(&self, pass: &Pass) -> Result<(), Problem> {
        let Who::Key { key: id, secret, .. } = pass.caller().who else { return Ok(()) };
        let scope = pass.scope();
        let mut tx = self.begin(pass).await?;
        let key = store::key::lock(&mut tx, scope, id).await?.ok_or_else(Problem::not_found)?;
        let now = database_time(&mut tx).await?;
        self.end_overdue(&mut tx, &key, (&[], NEVER_SILENT), now).await?;
        let secrets = store::key::secrets(&mut tx, scope, &[id]).await?;
        // Otherwise another request has done it, and its change was committed before the key's row could be locked here.
        let Some(turned) = key.first_use(&secrets, secret, now)? else { return Ok(()) };
        let ends_one = turned.ends_one();
        self.save_turned(&mut tx, pass.caller(), "key.rotated", &key, turned).await?;
        tx.commit().await?;
        if ends_one {
            gate::barrier(&self.db, &[Touched::Key(id)]).await?;
        }
        self.told();
        Ok(())
    }

    /// Ends old secrets that nothing has used for long enough, and puts on record which have ended by the clock: the gate
    /// has refused those from the very moment.
    pub async fn finish_rotations(&self) -> Result<(), Problem> {
        let mut tx = self.read().await?;
        let overdue = store::rotation::overdue(&mut tx, KEYS_MAX).await?;
        drop(tx);
        for (scope, id) in overdue {
            // One that can't be ended keeps none of the others waiting.
            if let Err(problem) = self.finish_rotation(scope, id).await {
                tracing::warn!(key = %id, %problem, "a rotation can't be finished");
            }
        }
        Ok(())
    }

    async fn finish_rotation(&self, scope: EnvScope, id: KeyId) -> Result<(), Problem> {
        let mut tx = self.db.begin().await?;
        let Some(key) = store::key::lock(&mut tx, scope, id).await? else { return Ok(()) };
        let now = database_time(&mut tx).await?;
        let known = store::rotation::uses_known_until(&mut tx, now.plus(-NODE_WAITED_FOR_MS)).await?;
        let known_until = known.unwrap_or(now.plus(-USES_BEHIND_MS)).min(now);
        // Read after the nodes' word: whatever they had written by then is in it.
        let uses = store::key::last_uses(&mut tx, scope, &[id]).await?;
        if !self.end_overdue(&mut tx, &key, (&uses, known_until), now).await? {
            return Ok(());
        }
        tx.commit().await?;
        gate::barrier(&self.db, &[Touched::Key(id)]).await?;
        self.told();
        Ok(())
    }

    /// Ends every secret of the key whose time is over: where the sweep was late, several. Whether there was one.
    async fn end_overdue(
        &self,
        tx: &mut Tx,
        key: &Key,
        (uses, known_until): (&[LastUse], Timestamp),
        now: Timestamp,
    ) -> Result<bool, Problem> {
        let mut has_ended = false;
        loop {
            let secrets = store::key::secrets(tx, key.scope, &[key.id]).await?;
            let Some(turned) = key.finish_rotation(&secrets, uses, known_until, now) else { return Ok(has_ended) };
            self.save_turned(tx, &Caller::system(key.scope), "key.rotation_finished", key, turned).await?;
            has_ended = true;
        }
    }

    async fn save_turned(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        action: &'static str,
        key: &Key,
        turned: Turned,
    ) -> Result<(), Problem> {
        let before = store::key::secrets(tx, key.scope, &[key.id]).await?;
        for secret in &turned.secrets {
            saved(store::rotation::save_secret(tx, key.scope, secret).await?)?;
        }
        let after = store::key::secrets(tx, key.scope, &[key.id]).await?;
        let entry = Entry::changed(action, key.id, rotation::record(&before), rotation::record(&after));
        self.note(tx, caller, entry).await?;
        store::event::append(tx, caller, &*self.clock, &*self.random, vec![turned.event]).await?;
        Ok(())
    }
}
