//! The end of a key: put on record when it has come, and told before.

use model::audit::Entry;
use model::expiry::{self, Told};
use model::key::Key;
use model::policy::Policies;
use model::{Caller, EnvScope, KeyId, Problem, TenantId, TenantScope};

use crate::App;
use crate::clock::database_time;

/// Keys that one sweep ends.
const EXPIRED_MAX: u32 = 500;
/// Tenants that are read at once.
const TENANTS_MAX: u32 = 100;

impl App {
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
        let now = database_time(&mut tx).await?;
        let was = before.record();
        let (key, Some(event)) = before.expire(now) else { return Ok(()) };
        let entry = Entry::changed("key.expired", id, was, key.record());
        self.save_key(&mut tx, &caller, &key, entry, event).await?;
        tx.commit().await?;
        self.told();
        Ok(())
    }

    /// Tells of every key what is to be told of its age: that it expires in 30, 14, 7 or 1 days, is due to be rotated, or
    /// lies idle. By event, and by mail to its administrator; once each, however many nodes look.
    pub async fn tell_of_keys(&self) -> Result<(), Problem> {
        let mut after: Option<TenantId> = None;
        loop {
            let tenants = self.tenants(after, TENANTS_MAX).await?;
            let Some(last) = tenants.last() else { return Ok(()) };
            after = Some(last.id);
            for tenant in &tenants {
                let scope = TenantScope { tenant: tenant.id };
                if let Err(problem) = self.tell_of_tenant(scope, &tenant.policies).await {
                    tracing::warn!(tenant = %tenant.id, %problem, "what is to be told of keys can't be told");
                }
            }
        }
    }

    async fn tell_of_tenant(&self, scope: TenantScope, policies: &Policies) -> Result<(), Problem> {
        let mut after = None;
        loop {
            let mut tx = self.read().await?;
            let mut keys = store::expiry::living(&mut tx, scope, after).await?;
            drop(tx);
            let Some(last) = keys.last() else { return Ok(()) };
            after = Some(last.id);
            keys.sort_by_key(|key| key.scope);
            for of_scope in keys.chunk_by(|one, next| one.scope == next.scope) {
                self.tell_of_page(of_scope[0].scope, of_scope, policies).await?;
            }
        }
    }

    async fn tell_of_page(&self, scope: EnvScope, keys: &[Key], policies: &Policies) -> Result<(), Problem> {
        let ids: Vec<KeyId> = keys.iter().map(|key| key.id).collect();
        let mut tx = self.read().await?;
        let secrets = store::key::secrets(&mut tx, scope, &ids).await?;
        let uses = store::key::last_uses(&mut tx, scope, &ids).await?;
        let before = store::expiry::told(&mut tx, scope, &ids).await?;
        drop(tx);
        for key in keys {
            let secrets: Vec<_> = secrets.iter().filter(|secret| secret.key == key.id).cloned().collect();
            let is_own = |secret| secrets.iter().any(|own| own.id == secret);
            let uses: Vec<_> = uses.iter().filter(|used| is_own(used.secret)).cloned().collect();
            for told in expiry::told(key, &secrets, &uses, policies, self.now()) {
                if !before.iter().any(|(id, once)| *id == key.id && *once == told.once) {
                    self.tell_of_key(key, told).await?;
                }
            }
        }
        Ok(())
    }

    async fn tell_of_key(&self, key: &Key, told: Told) -> Result<(), Problem> {
        let mut tx = self.db.begin().await?;
        if !store::expiry::tell(&mut tx, key.scope, key.id, &told.once, self.now()).await? {
            return Ok(());
        }
        let once = format!("{}:{}", key.id, told.once);
        let environment = Some(key.scope.environment);
        match store::user::get(&mut tx, key.scope.tenant_scope(), key.administrator).await? {
            Some(user) if user.require_key_manager().is_ok() => {
                self.tell(&mut tx, &user, environment, &told.about, &once).await?;
            }
            // A key whose administrator is gone is everybody's.
            _ => self.tell_administrators(&mut tx, key.scope.tenant_scope(), environment, &told.about, &once).await?,
        }
        let caller = Caller::system(key.scope);
        store::event::append(&mut tx, &caller, &*self.clock, &*self.random, vec![told.event]).await?;
        tx.commit().await?;
        self.told();
        Ok(())
    }
}
