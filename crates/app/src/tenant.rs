//! Tenants, as the operator makes, raises, lowers, suspends and resumes them, and as they change themselves.

use gate::{Pass, Touched};
use model::audit::Entry;
use model::caller::Who;
use model::tenant::{Tenant, TenantChange, TenantStatus, Tier};
use model::user::User;
use model::{BodyError, Caller, Code, EnvScope, Environment, Id, Problem, Role, TenantId, TenantScope};
use serde_json::json;
use store::Tx;
use zeroize::Zeroizing;

use crate::{App, password};

/// A tenant that is to be made, with its owner.
#[derive(Debug)]
pub struct NewTenant {
    /// Its name.
    pub name: String,
    /// Its subscription.
    pub tier: Tier,
    /// The owner's address.
    pub owner_email: String,
    /// The owner's name.
    pub owner_name: String,
    /// The owner's password, if there is to be one.
    pub owner_password: Option<Zeroizing<String>>,
}

impl App {
    /// Makes a tenant and its owner.
    pub async fn create_tenant(&self, new: NewTenant) -> Result<(Tenant, User), Problem> {
        let now = self.now();
        let tenant = Tenant::create(Id::new(now, &*self.random), &new.name, new.tier, now)?;
        let scope = TenantScope { tenant: tenant.id };
        let names = (new.owner_email.as_str(), new.owner_name.as_str());
        let owner = User::create(Id::new(now, &*self.random), scope, names, Role::Owner, now).map_err(of_owner)?;
        let hash = match new.owner_password {
            Some(password) => Some(password::hash(password, &*self.random).await?),
            None => None,
        };
        let mut tx = self.db.begin().await?;
        store::tenant::insert(&mut tx, &tenant).await?;
        store::user::insert(&mut tx, &owner, hash.as_deref()).await?;
        let made = Entry::created("tenant.created", tenant.id, record(&tenant));
        self.note(&mut tx, &operator(tenant.id), made).await?;
        let added = Entry::created("user.added", owner.id, crate::user::record(&owner));
        self.note(&mut tx, &operator(tenant.id), added).await?;
        tx.commit().await?;
        Ok((tenant, owner))
    }

    /// The tenant.
    pub async fn tenant(&self, tenant: TenantId) -> Result<Tenant, Problem> {
        let mut tx = self.read().await?;
        store::tenant::get(&mut tx, TenantScope { tenant }).await?.ok_or_else(no_tenant)
    }

    /// The tenants of this server, oldest first, at most `limit` after `after`.
    pub async fn tenants(&self, after: Option<TenantId>, limit: u32) -> Result<Vec<Tenant>, Problem> {
        let mut tx = self.read().await?;
        Ok(store::tenant::list(&mut tx, after, limit).await?)
    }

    /// Raises or lowers the tenant's tier.
    pub async fn set_tier(&self, tenant: TenantId, tier: Tier) -> Result<Tenant, Problem> {
        self.change_tenant("tenant.tier_set", tenant, |before| Tenant { tier, ..before }).await
    }

    /// Suspends the tenant: from the answer on its keys are refused.
    pub async fn suspend_tenant(&self, tenant: TenantId) -> Result<Tenant, Problem> {
        self.change_tenant("tenant.suspended", tenant, |before| Tenant { status: TenantStatus::Suspended, ..before })
            .await
    }

    /// Lets the tenant go on.
    pub async fn resume_tenant(&self, tenant: TenantId) -> Result<Tenant, Problem> {
        self.change_tenant("tenant.resumed", tenant, |before| Tenant { status: TenantStatus::Active, ..before }).await
    }

    /// The tenant of who asks.
    pub async fn own_tenant(&self, pass: &Pass) -> Result<Tenant, Problem> {
        let mut tx = self.read().await?;
        self.acting_role(&mut tx, pass.caller()).await?;
        store::tenant::get(&mut tx, pass.caller().tenant_scope()).await?.ok_or_else(Problem::not_found)
    }

    /// Changes the tenant of who asks: its name, allowlist and policies. When this answers, nothing passes any more that
    /// the change has taken away.
    pub async fn update_tenant(&self, pass: &Pass, change: &TenantChange) -> Result<Tenant, Problem> {
        let caller = pass.caller();
        let scope = caller.tenant_scope();
        let mut tx = self.begin(pass).await?;
        let before = store::tenant::lock(&mut tx, scope).await?.ok_or_else(Problem::not_found)?;
        let by = self.acting_role(&mut tx, caller).await?;
        let after = before.clone().changed(change, by)?;
        if !change.confirm {
            after.require_reach(&before, caller.address, matches!(caller.who, Who::Key { .. }))?;
        }
        if after != before {
            saved(store::tenant::save(&mut tx, &after).await?)?;
            let entry = Entry::changed("tenant.updated", after.id, record(&before), record(&after));
            self.note(&mut tx, caller, entry).await?;
        }
        tx.commit().await?;
        // Also where nothing changed: who repeats it must not be answered before the first.
        gate::barrier(&self.db, &[Touched::Tenant(scope.tenant)]).await?;
        Ok(after)
    }

    async fn change_tenant(
        &self,
        action: &'static str,
        tenant: TenantId,
        change: impl FnOnce(Tenant) -> Tenant + Send,
    ) -> Result<Tenant, Problem> {
        let mut tx = self.db.begin().await?;
        let before = store::tenant::lock(&mut tx, TenantScope { tenant }).await?.ok_or_else(no_tenant)?;
        let after = change(before.clone());
        if after != before {
            saved(store::tenant::save(&mut tx, &after).await?)?;
            let entry = Entry::changed(action, tenant, record(&before), record(&after));
            self.note(&mut tx, &operator(tenant), entry).await?;
        }
        tx.commit().await?;
        // Also where nothing changed: who repeats it must not be answered before the first.
        gate::barrier(&self.db, &[Touched::Tenant(tenant)]).await?;
        Ok(after)
    }

    /// Writes to the audit log what happens in this transaction.
    pub(crate) async fn note(&self, tx: &mut Tx, caller: &Caller, entry: Entry) -> Result<(), Problem> {
        store::audit::append(tx, caller, self.now(), &*self.random, entry).await?;
        Ok(())
    }
}

/// The operator, acting on the tenant as a whole: what concerns it is in no environment.
pub(crate) fn operator(tenant: TenantId) -> Caller {
    Caller::operator(EnvScope { tenant, environment: Environment::Production })
}

/// A change that lost against another one is refused.
pub(crate) fn saved(written: bool) -> Result<(), Problem> {
    if written { Ok(()) } else { Err(Code::Conflict.into()) }
}

pub(crate) fn no_tenant() -> Problem {
    Problem::new(Code::NotFound, "There is no such tenant on this server.")
}

fn of_owner(mut problem: Problem) -> Problem {
    for error in &mut problem.errors {
        *error = BodyError { pointer: format!("/owner{}", error.pointer), ..error.clone() };
    }
    problem
}

fn record(tenant: &Tenant) -> serde_json::Value {
    json!({
        "name": tenant.name,
        "tier": tenant.tier,
        "status": tenant.status,
        "allowlist": tenant.allowlist,
        "allowlist_mode": tenant.allowlist_mode,
        "policies": tenant.policies,
    })
}
