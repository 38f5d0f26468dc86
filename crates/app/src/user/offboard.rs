//! What becomes of the keys of a user who administers them no longer: told first, handed over, or stopped.

use gate::Pass;
use model::audit::Entry;
use model::key::{Key, Reason};
use model::revocation::BULK_KEYS_MAX;
use model::scope::Scope;
use model::user::{User, UserStatus};
use model::{BodyError, Caller, Code, EnvScope, Environment, KeyId, Problem, UserId};
use serde_json::{Value, json};
use store::Tx;

use crate::App;
use crate::clock::database_time;
use crate::key::require_scope;
use crate::revocation::Revoked;
use crate::tenant::saved;

/// The note with which the keys of a user who was removed are revoked.
const NOTE: &str = "The key's administrator was removed.";

/// What is to become of the keys of a user who can't administer them any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offboarding {
    /// They go to this owner or admin, their secrets unchanged.
    pub transfer_keys_to: Option<UserId>,
    /// Those that are left may stop.
    pub confirm: bool,
}

impl App {
    /// Hands over or stops the keys that the change of their administrator would stop. Their rows are held from here on;
    /// what is to be written of it comes last (`note_offboarded`).
    pub(super) async fn offboard(
        &self,
        tx: &mut Tx,
        pass: &Pass,
        (before, after): (&User, &User),
        offboarding: &Offboarding,
    ) -> Result<(Revoked, Revoked), Problem> {
        let is_removed = after.status == UserStatus::Removed && before.status != UserStatus::Removed;
        if after.is_manager() || !(before.is_manager() || is_removed) {
            return Ok((Revoked::default(), Revoked::default()));
        }
        let scope = pass.caller().tenant_scope();
        let now = database_time(tx).await?;
        let limit = u32::try_from(BULK_KEYS_MAX + 1).unwrap_or(u32::MAX);
        let mut keys = store::user::living_keys(tx, scope, before.id, now, limit).await?;
        if keys.len() > BULK_KEYS_MAX {
            let detail = format!("{} has more than {BULK_KEYS_MAX} keys: revoke or transfer some first.", before.email);
            return Err(Problem::body(vec![BodyError::new("", "too_many", detail)]));
        }
        let handed_over = match offboarding.transfer_keys_to {
            Some(to) if !keys.is_empty() => self.hand_over(tx, pass, &mut keys, (before, to)).await?,
            Some(_) | None => Revoked::default(),
        };
        if keys.is_empty() {
            return Ok((handed_over, Revoked::default()));
        }
        if !offboarding.confirm {
            return Err(self.would_stop(tx, pass.caller(), before, &keys).await?);
        }
        let mut revoked = Revoked::default();
        if is_removed {
            for environment in Environment::ALL {
                let scope = EnvScope { tenant: scope.tenant, environment };
                let ids: Vec<KeyId> = keys.iter().filter(|(of, _)| *of == scope).map(|(_, id)| *id).collect();
                let why = (Reason::AdministratorRemoved, NOTE);
                let some = self.revoke_in(tx, scope, &ids, why).await?;
                revoked.keys.extend(some.keys);
                revoked.entries.extend(some.entries);
                revoked.events.extend(some.events);
            }
        }
        Ok((handed_over, revoked))
    }

    /// Gives the keys that who asks may give to `to`, and leaves the others in `keys`. A key reaches its own environment
    /// alone, needs the scope for keys, and what it hands over lies within it.
    async fn hand_over(
        &self,
        tx: &mut Tx,
        pass: &Pass,
        keys: &mut Vec<(EnvScope, KeyId)>,
        (from, to): (&User, UserId),
    ) -> Result<Revoked, Problem> {
        let caller = pass.caller();
        let scope = caller.tenant_scope();
        let parent = self.parent(tx, caller).await?;
        require_scope(caller, Scope::KeysWrite, "To transfer keys")?;
        let heir = store::user::get(tx, scope, to).await?;
        if !heir.is_some_and(|user| user.is_manager() && user.id != from.id) {
            let detail = "Keys are transferred to another active owner or admin of the tenant.";
            return Err(Problem::body(vec![BodyError::new("/transfer_keys_to", "invalid_value", detail)]));
        }
        let is_within_reach = |of: EnvScope| parent.is_none() || of == caller.scope;
        let now = database_time(tx).await?;
        let mut handed_over = Revoked::default();
        for (of, id) in keys.iter().filter(|(of, _)| is_within_reach(*of)) {
            let Some(before) = store::key::lock(tx, *of, *id).await? else { continue };
            let was = before.record();
            let (key, event) = before.transfer(to, parent.as_ref(), now)?;
            if let Some(event) = event {
                saved(store::key::save(tx, &key).await?)?;
                handed_over.entries.push(Entry::changed("key.transferred", id, was, key.record()));
                handed_over.events.push(event);
            }
            handed_over.keys.push(key);
        }
        keys.retain(|(of, _)| !is_within_reach(*of));
        Ok(handed_over)
    }

    /// The refusal that names the keys that would stop, and when each was last used; to a key only with the scope to read
    /// keys.
    async fn would_stop(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        user: &User,
        keys: &[(EnvScope, KeyId)],
    ) -> Result<Problem, Problem> {
        let mut detail = match keys.len() {
            1 => format!("One API key has the rights of {}; it would stop.", user.email),
            many => format!("{many} API keys have the rights of {}; they would stop.", user.email),
        };
        if let Err(refusal) = require_scope(caller, Scope::KeysRead, "To be told which") {
            detail = format!("{detail} {}", refusal.detail);
            return Ok(Problem::new(Code::KeysWouldStop, detail).with_member("keys", Value::Array(Vec::new())));
        }
        let mut shown: Vec<Value> = Vec::with_capacity(keys.len());
        for environment in Environment::ALL {
            let scope = EnvScope { tenant: user.tenant, environment };
            let ids: Vec<KeyId> = keys.iter().filter(|(of, _)| *of == scope).map(|(_, id)| *id).collect();
            let uses = store::key::last_uses(tx, scope, &ids).await?;
            let secrets = store::key::secrets(tx, scope, &ids).await?;
            for id in ids {
                let key: Key = store::key::get(tx, scope, id).await?.ok_or_else(Problem::not_found)?;
                let is_its = |secret| secrets.iter().any(|own| own.key == id && own.id == secret);
                let used = uses.iter().filter(|used| is_its(used.secret)).map(|used| used.at).max();
                shown.push(json!({
                    "id": id,
                    "label": key.label,
                    "environment": environment,
                    "status": key.status_at(self.now()),
                    "last_used_at": used,
                }));
            }
        }
        Ok(Problem::new(Code::KeysWouldStop, detail).with_member("keys", shown.into()))
    }

    /// Writes what became of keys into the audit log and tells it, each in the key's own environment: the last that its
    /// transaction does.
    pub(super) async fn note_offboarded(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        parts: [Revoked; 2],
    ) -> Result<(), Problem> {
        let mut by_environment = Environment::ALL.map(|environment| {
            let scope = EnvScope { tenant: caller.scope.tenant, environment };
            (Caller { scope, ..caller.clone() }, Vec::new())
        });
        // All entries before all events: every transaction takes the two counters in this order.
        for Revoked { keys, entries, events } in parts {
            let of = |id: &str| keys.iter().find(|key| key.id.to_string() == id).map(|key| key.scope);
            for entry in entries {
                let Some(scope) = of(&entry.object) else { continue };
                self.note(tx, &Caller { scope, ..caller.clone() }, entry).await?;
            }
            for event in events {
                let Some(scope) = of(&event.object.to_string()) else { continue };
                for (by, told) in &mut by_environment {
                    if by.scope == scope {
                        told.push(event.clone());
                    }
                }
            }
        }
        for (by, told) in by_environment {
            if !told.is_empty() {
                store::event::append(tx, &by, &*self.clock, &*self.random, told).await?;
            }
        }
        Ok(())
    }
}
