//! API keys: generate, list, show and revoke them.

use gate::{Pass, Touched};
use model::allowlist::{self, Mode};
use model::audit::Entry;
use model::caller::Who;
use model::event::NewEvent;
use model::exposure::{self, Exposure};
use model::key::{Draft, Key, KeySecret, LastUse, Maker, Patch, SecretStatus, Wanted};
use model::notice::{About, KeyName};
use model::policy::Policies;
use model::scope::Scope;
use model::tenant::{Tenant, Tier};
use model::user::User;
use model::{Allowlist, BodyError, Caller, Code, KeyId, Problem, TenantScope, Timestamp, UserId};
use secret::SecretKey;
use store::Tx;

pub use store::key::Filter;

use crate::App;
use crate::clock::database_time;
use crate::once::Once;
use crate::sealed;
use crate::tenant::saved;

/// A key with what is known of its secrets and their use.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyDetails {
    /// The key.
    pub key: Key,
    /// Its secrets, the oldest first: never their texts.
    pub secrets: Vec<KeySecret>,
    /// The last use of each that was used, the earliest first.
    pub uses: Vec<LastUse>,
    /// The tenant's policies, which say how old its secrets may become.
    pub policies: Policies,
    /// Where a right secret was last seen in a wrong place, since the current one was made. What a key hears of itself is
    /// without it.
    pub exposed: Option<Exposure>,
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
    /// The secret sealed to whom the caller named: then it is shown like this alone.
    pub sealed: Option<String>,
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
        let (wanted, recipient) = sealed::with_recipient(draft.read(now), draft.encrypt_to.as_deref())?;
        let mut tx = self.begin(pass).await?;
        let mut made = self.make_key(&mut tx, pass, wanted).await?;
        made.sealed = recipient.map(|recipient| sealed::seal(&recipient, &made.secret)).transpose()?;
        once.keep(&mut tx, &made).await?;
        tx.commit().await?;
        self.gate.remember(made.details.key.id).await;
        Ok(made)
    }

    pub(crate) async fn make_key(&self, tx: &mut Tx, pass: &Pass, wanted: Wanted) -> Result<MadeKey, Problem> {
        let (caller, now) = (pass.caller(), database_time(tx).await?);
        let tenant = store::tenant::get(tx, caller.tenant_scope()).await?.ok_or_else(Problem::not_found)?;
        tenant.tier.require(Tier::API, "An API key")?;
        let confirmed = wanted.confirm;
        let set_list = wanted.allowlist.is_some();
        let actor = caller.actor();
        let parent = self.parent(tx, caller).await?;
        let maker = match &parent {
            Some(parent) => Maker::Key(parent),
            None => Maker::Person { actor: &actor, administrator: person(caller, wanted.administrator)? },
        };
        let (key, kept, secret, event) = Key::create(pass.scope(), wanted, maker, now, &*self.random)?;
        // A list that the making key had before the tier was lowered is handed on all the same.
        let none = Allowlist::default();
        let before =
            parent.as_ref().map_or((&none, Mode::Enforce), |parent| (&parent.allowlist, parent.allowlist_mode));
        allowlist::require_tier(tenant.tier, before, (&key.allowlist, key.allowlist_mode))?;
        self.require_administrator(tx, caller.tenant_scope(), key.administrator).await?;
        self.require_manager(tx, caller).await?;
        if set_list {
            key.require_reach(caller.address, confirmed)?;
        }
        store::key::insert(tx, &key, &kept).await?;
        let caller = Caller { scope: key.scope, ..caller.clone() };
        if let Some(parent) = &parent {
            let about = About::KeyMade { key: KeyName::of(&key), by: KeyName::of(parent) };
            let (scope, environment) = (caller.tenant_scope(), Some(key.scope.environment));
            self.tell_administrators(tx, scope, environment, &about, &format!("{}:made", key.id)).await?;
        }
        self.note(tx, &caller, Entry::created("key.created", key.id, key.record())).await?;
        store::event::append(tx, &caller, &*self.clock, &*self.random, vec![event]).await?;
        let details = KeyDetails {
            key,
            secrets: vec![kept],
            uses: Vec::new(),
            policies: tenant.policies,
            exposed: None,
            at: now,
        };
        Ok(MadeKey { details, secret, sealed: None })
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
        let tenant = store::tenant::get(&mut tx, pass.caller().tenant_scope()).await?.ok_or_else(Problem::not_found)?;
        let age_ms_max = tenant.policies.secret_age_ms_max(pass.scope().environment);
        let filter = Filter { too_old: age_ms_max.map(|ms| now.plus(-ms)), ..filter };
        let keys = store::key::list(&mut tx, pass.scope(), filter, now, after, limit.saturating_add(1)).await?;
        self.details(&mut tx, pass.caller(), keys, now).await
    }

    /// A key.
    pub async fn get_key(&self, pass: &Pass, id: KeyId) -> Result<KeyDetails, Problem> {
        let mut tx = self.read().await?;
        self.require_manager(&mut tx, pass.caller()).await?;
        let key = store::key::get(&mut tx, pass.scope(), id).await?.ok_or_else(Problem::not_found)?;
        self.detail(&mut tx, pass.caller(), key).await
    }

    /// Changes a key: what is left out stays. What a key changes lies within it afterwards. When this answers, nothing
    /// passes any more that the change has taken away.
    pub async fn update_key(&self, pass: &Pass, id: KeyId, patch: &Patch) -> Result<KeyDetails, Problem> {
        let mut tx = self.begin(pass).await?;
        self.require_manager(&mut tx, pass.caller()).await?;
        let before = store::key::lock(&mut tx, pass.scope(), id).await?.ok_or_else(Problem::not_found)?;
        let by = self.parent(&mut tx, pass.caller()).await?;
        let (key, event) = before.clone().patch(patch, by.as_ref(), database_time(&mut tx).await?)?;
        let tenant = store::tenant::get(&mut tx, pass.caller().tenant_scope()).await?.ok_or_else(Problem::not_found)?;
        let (was, is) = ((&before.allowlist, before.allowlist_mode), (&key.allowlist, key.allowlist_mode));
        allowlist::require_tier(tenant.tier, was, is)?;
        if was != is {
            key.require_reach(pass.caller().address, patch.confirm)?;
        }
        if let Some(event) = event {
            let entry = Entry::changed("key.updated", id, before.record(), key.record());
            self.save_key(&mut tx, pass.caller(), &key, entry, event).await?;
        }
        let details = self.detail(&mut tx, pass.caller(), key).await?;
        tx.commit().await?;
        // Also where nothing changed: who repeats it must not be answered before the first.
        gate::barrier(&self.db, &[Touched::Key(id)]).await?;
        self.told();
        Ok(details)
    }

    /// Lets a pending key call. It may be repeated.
    pub async fn activate_key(&self, pass: &Pass, id: KeyId) -> Result<KeyDetails, Problem> {
        let mut tx = self.begin(pass).await?;
        self.require_manager(&mut tx, pass.caller()).await?;
        let before = store::key::lock(&mut tx, pass.scope(), id).await?.ok_or_else(Problem::not_found)?;
        let by = self.parent(&mut tx, pass.caller()).await?;
        let was = before.record();
        let (key, event) = before.activate(by.as_ref(), database_time(&mut tx).await?)?;
        if let Some(event) = event {
            let entry = Entry::changed("key.activated", id, was, key.record());
            self.save_key(&mut tx, pass.caller(), &key, entry, event).await?;
        }
        let details = self.detail(&mut tx, pass.caller(), key).await?;
        tx.commit().await?;
        self.told();
        Ok(details)
    }

    /// Writes a changed key down, with what the audit log and the events say of it: the last that its transaction changes.
    pub(crate) async fn save_key(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        key: &Key,
        entry: Entry,
        event: NewEvent,
    ) -> Result<(), Problem> {
        saved(store::key::save(tx, key).await?)?;
        self.note(tx, caller, entry).await?;
        store::event::append(tx, caller, &*self.clock, &*self.random, vec![event]).await?;
        Ok(())
    }

    /// Who the calling key is.
    pub async fn me(&self, pass: &Pass) -> Result<Me, Problem> {
        let Who::Key { key, .. } = &pass.caller().who else {
            return Err(Problem::new(Code::MissingCredentials, "Only a key can ask who it is."));
        };
        // One statement on a connection without a transaction.
        let mut conn = self.db.ask().await?;
        let found = store::me::get(&mut conn, pass.scope(), *key).await?.ok_or_else(Problem::not_found)?;
        let store::me::Found { key, tenant, administrator, secrets, uses } = found;
        let key = KeyDetails { key, secrets, uses, policies: tenant.policies, exposed: None, at: self.now() };
        Ok(Me { key, tenant, administrator, address: pass.caller().address.map(|address| address.to_canonical()) })
    }

    /// The key that asks, whole: what it makes lies within it.
    pub(crate) async fn parent(&self, tx: &mut Tx, caller: &Caller) -> Result<Option<Key>, Problem> {
        let Who::Key { key, .. } = &caller.who else { return Ok(None) };
        store::key::get(tx, caller.scope, *key).await?.map(Some).ok_or_else(Problem::not_found)
    }

    /// The new key's administrator has to be an active owner or admin of the tenant.
    pub(crate) async fn require_administrator(
        &self,
        tx: &mut Tx,
        scope: TenantScope,
        id: UserId,
    ) -> Result<(), Problem> {
        match store::user::get(tx, scope, id).await? {
            Some(user) => user.require_key_manager(),
            None => {
                let detail = "The tenant has no such user.";
                Err(Problem::body(vec![BodyError::new("/administrator", "not_found", detail)]))
            }
        }
    }

    /// A user who manages keys has to be an active owner or admin, at this moment. For a key the gate sees to that.
    pub(crate) async fn require_manager(&self, tx: &mut Tx, caller: &Caller) -> Result<(), Problem> {
        let user = match &caller.who {
            Who::User { user } => *user,
            Who::Key { .. } | Who::Operator | Who::System => return Ok(()),
            Who::Recipient { .. } => return Err(Code::RoleRequired.into()),
        };
        let user = store::user::get(tx, caller.tenant_scope(), user).await?.ok_or_else(Problem::not_found)?;
        user.require_key_manager()
    }

    pub(crate) async fn detail(&self, tx: &mut Tx, caller: &Caller, key: Key) -> Result<KeyDetails, Problem> {
        let mut details = self.details(tx, caller, vec![key], self.now()).await?;
        details.pop().ok_or_else(Problem::not_found)
    }

    /// Keys of the caller's environment as it is shown them.
    pub(crate) async fn details(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        keys: Vec<Key>,
        at: Timestamp,
    ) -> Result<Vec<KeyDetails>, Problem> {
        let scope = caller.scope;
        let ids: Vec<KeyId> = keys.iter().map(|key| key.id).collect();
        let secrets = store::key::secrets(tx, scope, &ids).await?;
        let uses = store::key::last_uses(tx, scope, &ids).await?;
        let exposures = store::exposure::of_keys(tx, scope, &ids).await?;
        let tenant = store::tenant::get(tx, scope.tenant_scope()).await?.ok_or_else(Problem::not_found)?;
        let policies = tenant.policies;
        let details = keys.into_iter().map(|key| {
            let secrets: Vec<_> = secrets.iter().filter(|secret| secret.key == key.id).cloned().collect();
            let is_own = |used: &&LastUse| secrets.iter().any(|secret| secret.id == used.secret);
            let uses = uses.iter().filter(is_own).cloned().collect();
            let seen = exposures.iter().filter(|(exposed, _)| *exposed == key.id).map(|(_, seen)| seen.clone());
            let current = secrets.iter().find(|secret| secret.status == SecretStatus::Current).or(secrets.last());
            let since = current.map_or(key.created_at, |secret| secret.created_at);
            // Whoever has a stolen key would hear from it that the theft was noticed.
            let is_own = matches!(&caller.who, Who::Key { key: own, .. } if *own == key.id);
            let exposed = exposure::badge(&seen.collect::<Vec<_>>(), since).filter(|_| !is_own).cloned();
            KeyDetails { key, secrets, uses, policies, exposed, at }
        });
        Ok(details.collect())
    }
}

/// Refuses a key without this scope; `what` takes it.
pub(crate) fn require_scope(caller: &Caller, scope: Scope, what: &str) -> Result<(), Problem> {
    match &caller.who {
        Who::Key { scopes, .. } if !scopes.cover(scope) => {
            let mut refusal = Problem::new(Code::ScopeRequired, format!("{what} takes the scope {scope} too."));
            refusal.scope = Some(scope.as_str());
            Err(refusal)
        }
        _ => Ok(()),
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
