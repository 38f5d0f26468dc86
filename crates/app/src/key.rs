//! API keys: generate, list, show and revoke them.

use gate::{Pass, Touched};
use model::audit::Entry;
use model::caller::Who;
use model::key::{Draft, Key, KeySecret, LastUse, Maker, Reason, Wanted};
use model::tenant::{Tenant, Tier};
use model::user::User;
use model::{BodyError, Caller, Code, EnvScope, KeyId, Problem, TenantScope, Timestamp, UserId};
use secret::SecretKey;
use serde_json::json;
use store::Tx;

pub use store::key::Filter;

use crate::App;
use crate::once::Once;
use crate::tenant::saved;

/// Keys of a receipt's list at most.
const MADE_KEYS_MAX: u32 = 100;
/// Keys that one sweep ends.
const EXPIRED_MAX: u32 = 500;
/// Characters of a revocation's note at most.
const NOTE_CHARS_MAX: usize = 2_000;

/// A key with what is known of its secrets and their use.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyDetails {
    /// The key.
    pub key: Key,
    /// Its secrets, the oldest first: never their texts.
    pub secrets: Vec<KeySecret>,
    /// The last use of each that was used, the earliest first.
    pub uses: Vec<LastUse>,
    /// When this was so.
    pub at: Timestamp,
}

/// A key that was just made. Its secret's text is here and nowhere else.
#[derive(Debug)]
pub struct MadeKey {
    /// The key.
    pub details: KeyDetails,
    /// Its secret.
    pub secret: SecretKey,
}

/// What a revocation is answered with.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// The key, revoked.
    pub key: KeyDetails,
    /// Nothing that it asks for takes effect from then on.
    pub effective_at: Timestamp,
    /// The keys that it made, the newest first: at most 100.
    pub made_keys: Vec<KeyId>,
}

/// Who a key is, as it sees itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Me {
    /// The key.
    pub key: KeyDetails,
    /// Whose it is.
    pub tenant: Tenant,
    /// Whose rights it has.
    pub administrator: User,
    /// The address that was seen.
    pub address: Option<std::net::IpAddr>,
}

impl App {
    /// Generates a key. Its secret is shown by this answer and never again: what `once` keeps is without it.
    pub async fn create_key(&self, pass: &Pass, draft: &Draft, once: &Once<MadeKey>) -> Result<MadeKey, Problem> {
        let now = self.now();
        let wanted = draft.read(now)?;
        let mut tx = self.begin(pass).await?;
        let made = self.make_key(&mut tx, pass, wanted, now).await?;
        once.keep(&mut tx, &made).await?;
        tx.commit().await?;
        Ok(made)
    }

    async fn make_key(&self, tx: &mut Tx, pass: &Pass, wanted: Wanted, now: Timestamp) -> Result<MadeKey, Problem> {
        let caller = pass.caller();
        let tenant = store::tenant::get(tx, caller.tenant_scope()).await?.ok_or_else(Problem::not_found)?;
        tenant.tier.require(Tier::API, "An API key")?;
        if wanted.allowlist.as_ref().is_some_and(|list| !list.is_empty()) {
            tenant.tier.require(Tier::ALLOWLISTS, "An IP allowlist")?;
        }
        let confirmed = wanted.confirm;
        let set_list = wanted.allowlist.is_some();
        let actor = caller.actor();
        let parent = self.parent(tx, caller).await?;
        let maker = match &parent {
            Some(parent) => Maker::Key(parent),
            None => Maker::Person { actor: &actor, administrator: person(caller, wanted.administrator)? },
        };
        let (key, kept, secret, event) = Key::create(pass.scope(), wanted, maker, now, &*self.random)?;
        self.require_administrator(tx, caller.tenant_scope(), key.administrator).await?;
        self.require_manager(tx, caller).await?;
        if set_list {
            key.require_reach(caller.address, confirmed)?;
        }
        store::key::insert(tx, &key, &kept).await?;
        let caller = Caller { scope: key.scope, ..caller.clone() };
        self.note(tx, &caller, Entry::created("key.created", key.id, key.record())).await?;
        store::event::append(tx, &caller, &*self.clock, &*self.random, vec![event]).await?;
        let details = KeyDetails { key, secrets: vec![kept], uses: Vec::new(), at: now };
        Ok(MadeKey { details, secret })
    }

    /// Keys, newest first, at most one more than `limit`, after the key `after`.
    pub async fn list_keys(
        &self,
        pass: &Pass,
        filter: Filter,
        after: Option<KeyId>,
        limit: u32,
    ) -> Result<Vec<KeyDetails>, Problem> {
        let now = self.now();
        let mut tx = self.read().await?;
        self.require_manager(&mut tx, pass.caller()).await?;
        let keys = store::key::list(&mut tx, pass.scope(), filter, now, after, limit.saturating_add(1)).await?;
        self.details(&mut tx, pass.scope(), keys, now).await
    }

    /// A key.
    pub async fn get_key(&self, pass: &Pass, id: KeyId) -> Result<KeyDetails, Problem> {
        let mut tx = self.read().await?;
        self.require_manager(&mut tx, pass.caller()).await?;
        let key = store::key::get(&mut tx, pass.scope(), id).await?.ok_or_else(Problem::not_found)?;
        self.detail(&mut tx, key).await
    }

    /// Who the calling key is.
    pub async fn me(&self, pass: &Pass) -> Result<Me, Problem> {
        let Who::Key { key, .. } = &pass.caller().who else {
            return Err(Problem::new(Code::MissingCredentials, "Only a key can ask who it is."));
        };
        // One statement on a connection without a transaction: nothing is asked more often than this.
        let mut conn = self.db.ask().await?;
        let found = store::me::get(&mut conn, pass.scope(), *key).await?.ok_or_else(Problem::not_found)?;
        let store::me::Found { key, tenant, administrator, secrets, uses } = found;
        let key = KeyDetails { key, secrets, uses, at: self.now() };
        Ok(Me { key, tenant, administrator, address: pass.caller().address.map(|address| address.to_canonical()) })
    }

    /// Revokes a key. When this answers, nothing that the key asked for takes effect any more, on any node. It may be
    /// repeated: each answer waits for the same.
    ///
    /// A key may revoke any key of its environment: to revoke only takes away, and in an emergency it must not matter
    /// whose key is at hand.
    pub async fn revoke_key(&self, pass: &Pass, id: KeyId, reason: Reason, note: &str) -> Result<Receipt, Problem> {
        require_note(note)?;
        let now = self.now();
        let mut tx = self.begin(pass).await?;
        self.require_manager(&mut tx, pass.caller()).await?;
        let before = store::key::lock(&mut tx, pass.scope(), id).await?.ok_or_else(Problem::not_found)?;
        let was = before.record();
        let (key, event) = before.revoke(reason, now);
        if let Some(event) = event {
            saved(store::key::save(&mut tx, &key).await?)?;
            store::key::end_secrets(&mut tx, pass.scope(), id, now).await?;
            let mut is = key.record();
            is["revocation_note"] = json!(note);
            self.note(&mut tx, pass.caller(), Entry::changed("key.revoked", id, was, is)).await?;
            store::event::append(&mut tx, pass.caller(), &*self.clock, &*self.random, vec![event]).await?;
        }
        let children = Filter { parent: Some(id), ..Filter::default() };
        let children = store::key::list(&mut tx, pass.scope(), children, now, None, MADE_KEYS_MAX).await?;
        let key = self.detail(&mut tx, key).await?;
        tx.commit().await?;
        gate::barrier(&self.db, &[Touched::Key(id)]).await?;
        let made_keys = children.into_iter().map(|child| child.id).collect();
        Ok(Receipt { key, effective_at: self.now(), made_keys })
    }

    /// The same for the operator, who knows nothing but the key's id.
    pub async fn revoke_key_as_operator(&self, id: KeyId, reason: Reason, note: &str) -> Result<Receipt, Problem> {
        let mut tx = self.read().await?;
        let scope = store::key::whereabouts(&mut tx, id).await?;
        drop(tx);
        let scope = scope.ok_or_else(|| Problem::new(Code::NotFound, "There is no such key on this server."))?;
        self.revoke_key(&Pass::operator(scope), id, reason, note).await
    }

    /// Puts on record which keys have expired, by the database's time: from then on no clock that is set back, of no
    /// node and after no restart, lets them pass again. The gate has refused them from the very moment.
    pub async fn expire_keys(&self) -> Result<(), Problem> {
        let mut tx = self.read().await?;
        let overdue = store::key::overdue(&mut tx, EXPIRED_MAX).await?;
        drop(tx);
        for (scope, id) in overdue {
            // One that can't be ended keeps none of the others waiting.
            if let Err(problem) = self.expire_key(scope, id).await {
                tracing::warn!(key = %id, %problem, "that a key has expired can't be put on record");
            }
        }
        Ok(())
    }

    async fn expire_key(&self, scope: EnvScope, id: KeyId) -> Result<(), Problem> {
        let caller = Caller::system(scope);
        let mut tx = self.db.begin().await?;
        let Some(before) = store::key::lock(&mut tx, scope, id).await? else { return Ok(()) };
        let (moment, _) = store::gate::epochs(&mut tx, &[scope.tenant]).await?;
        let was = before.record();
        let (key, Some(event)) = before.expire(moment.time) else { return Ok(()) };
        saved(store::key::save(&mut tx, &key).await?)?;
        self.note(&mut tx, &caller, Entry::changed("key.expired", id, was, key.record())).await?;
        store::event::append(&mut tx, &caller, &*self.clock, &*self.random, vec![event]).await?;
        tx.commit().await?;
        self.told();
        Ok(())
    }

    /// The key that asks, whole: what it makes lies within it.
    async fn parent(&self, tx: &mut Tx, caller: &Caller) -> Result<Option<Key>, Problem> {
        let Who::Key { key, .. } = &caller.who else { return Ok(None) };
        store::key::get(tx, caller.scope, *key).await?.map(Some).ok_or_else(Problem::not_found)
    }

    /// The new key's administrator has to be an active owner or admin of the tenant.
    async fn require_administrator(&self, tx: &mut Tx, scope: TenantScope, id: UserId) -> Result<(), Problem> {
        match store::user::get(tx, scope, id).await? {
            Some(user) => user.require_key_manager(),
            None => {
                let detail = "The tenant has no such user.";
                Err(Problem::body(vec![BodyError::new("/administrator", "not_found", detail)]))
            }
        }
    }

    /// A user who manages keys has to be an active owner or admin, at this moment. For a key the gate sees to that.
    async fn require_manager(&self, tx: &mut Tx, caller: &Caller) -> Result<(), Problem> {
        let user = match &caller.who {
            Who::User { user } => *user,
            Who::Key { .. } | Who::Operator | Who::System => return Ok(()),
            Who::Recipient { .. } => return Err(Code::RoleRequired.into()),
        };
        let user = store::user::get(tx, caller.tenant_scope(), user).await?.ok_or_else(Problem::not_found)?;
        user.require_key_manager()
    }

    async fn detail(&self, tx: &mut Tx, key: Key) -> Result<KeyDetails, Problem> {
        let scope = key.scope;
        let mut details = self.details(tx, scope, vec![key], self.now()).await?;
        details.pop().ok_or_else(Problem::not_found)
    }

    async fn details(
        &self,
        tx: &mut Tx,
        scope: EnvScope,
        keys: Vec<Key>,
        at: Timestamp,
    ) -> Result<Vec<KeyDetails>, Problem> {
        let ids: Vec<KeyId> = keys.iter().map(|key| key.id).collect();
        let secrets = store::key::secrets(tx, scope, &ids).await?;
        let uses = store::key::last_uses(tx, scope, &ids).await?;
        let details = keys.into_iter().map(|key| {
            let secrets: Vec<_> = secrets.iter().filter(|secret| secret.key == key.id).cloned().collect();
            let is_own = |used: &&LastUse| secrets.iter().any(|secret| secret.id == used.secret);
            let uses = uses.iter().filter(is_own).cloned().collect();
            KeyDetails { key, secrets, uses, at }
        });
        Ok(details.collect())
    }
}

/// For whom a person makes a key: for themselves, or for another owner or admin.
fn person(caller: &Caller, wanted: Option<UserId>) -> Result<UserId, Problem> {
    match (&caller.who, wanted) {
        (_, Some(administrator)) => Ok(administrator),
        (Who::User { user }, None) => Ok(*user),
        _ => {
            let detail = "Name the key's administrator: an owner or admin of the tenant.";
            Err(Problem::body(vec![BodyError::new("/administrator", "required", detail)]))
        }
    }
}

fn require_note(note: &str) -> Result<(), Problem> {
    let too_long = note.chars().count() > NOTE_CHARS_MAX;
    if too_long || note.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        let detail = format!("The note has at most {NOTE_CHARS_MAX} characters and no control characters.");
        return Err(Problem::body(vec![BodyError::new("/note", "invalid_value", detail)]));
    }
    Ok(())
}
