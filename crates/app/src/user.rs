//! Users, as the operator and the tenant's own owner and admins add, promote, demote, suspend, resume and remove them.

use gate::{Pass, Touched};
use model::audit::Entry;
use model::caller::Who;
use model::key::Key;
use model::user::{User, UserChange, UserStatus};
use model::{Caller, Code, Id, Problem, Role, TenantId, TenantScope, UserId};
use serde_json::{Value, json};
use store::Tx;
use zeroize::Zeroizing;

use crate::tenant::{no_tenant, operator, saved};
use crate::{App, begin_anew, password};

mod offboard;
pub use offboard::Offboarding;

impl App {
    /// Adds a user. A tenant has its owner already: to have another, give that user the role.
    pub async fn add_user(
        &self,
        tenant: TenantId,
        (email, name): (&str, &str),
        role: Role,
        password: Option<Zeroizing<String>>,
    ) -> Result<User, Problem> {
        let scope = TenantScope { tenant };
        let user = User::create(Id::new(self.now(), &*self.random), scope, (email, name), role, self.now())?;
        let hash = match password {
            Some(password) => Some(password::hash(password, &*self.random).await?),
            None => None,
        };
        let mut tx = self.db.begin().await?;
        store::tenant::lock(&mut tx, scope).await?.ok_or_else(no_tenant)?;
        if role == Role::Owner && store::user::owner(&mut tx, scope).await?.is_some() {
            let detail =
                "The tenant has an owner, and exactly one: add the user with another role, then set the role owner.";
            return Err(Problem::new(Code::Conflict, detail));
        }
        if !store::user::insert(&mut tx, &user, hash.as_deref()).await? {
            return Err(Problem::new(Code::Conflict, format!("The tenant has a user {} already.", user.email)));
        }
        let entry = Entry::created("user.added", user.id, record(&user));
        self.note(&mut tx, &operator(tenant), entry).await?;
        tx.commit().await?;
        Ok(user)
    }

    /// The user with this id or address, for the operator.
    pub async fn user(&self, tenant: TenantId, who: &str) -> Result<User, Problem> {
        let mut tx = self.read().await?;
        by_name(&mut tx, TenantScope { tenant }, who).await
    }

    /// The tenant's users, oldest first, at most `limit` after `after`.
    pub async fn users(&self, tenant: TenantId, after: Option<UserId>, limit: u32) -> Result<Vec<User>, Problem> {
        let mut tx = self.read().await?;
        Ok(store::user::list(&mut tx, TenantScope { tenant }, after, limit).await?)
    }

    /// The users of who asks, oldest first, at most one more than `limit`, after the user `after`.
    pub async fn list_users(&self, pass: &Pass, after: Option<UserId>, limit: u32) -> Result<Vec<User>, Problem> {
        let mut tx = self.read().await?;
        self.acting_role(&mut tx, pass.caller()).await?;
        let scope = pass.caller().tenant_scope();
        Ok(store::user::list(&mut tx, scope, after, limit.saturating_add(1)).await?)
    }

    /// A user of who asks.
    pub async fn get_user(&self, pass: &Pass, id: UserId) -> Result<User, Problem> {
        let mut tx = self.read().await?;
        self.acting_role(&mut tx, pass.caller()).await?;
        store::user::get(&mut tx, pass.caller().tenant_scope(), id).await?.ok_or_else(Problem::not_found)
    }

    /// Changes a user of who asks. Where keys would stop by it, it is refused with their list, unless they are handed over
    /// or that is confirmed. When this answers, nothing passes any more that the change has taken away.
    pub async fn update_user(
        &self,
        pass: &Pass,
        id: UserId,
        change: &UserChange,
        offboarding: &Offboarding,
    ) -> Result<User, Problem> {
        // Two that change each other want each other's locks.
        let (tx, after, touched, stopped) = begin_anew(|| self.update_user_in(pass, id, change, offboarding)).await?;
        tx.commit().await?;
        self.told();
        // Also where nothing changed: who repeats it must not be answered before the first.
        gate::barrier(&self.db, &touched).await?;
        if !stopped.is_empty() {
            self.in_force(&stopped).await?;
        }
        Ok(after)
    }

    /// Does it, up to the commit: the transaction, the user, what it touched and the keys that it stopped.
    async fn update_user_in(
        &self,
        pass: &Pass,
        id: UserId,
        change: &UserChange,
        offboarding: &Offboarding,
    ) -> Result<(Tx, User, Vec<Touched>, Vec<Key>), Problem> {
        let caller = pass.caller();
        let scope = caller.tenant_scope();
        let mut tx = self.begin(pass).await?;
        if change.role.is_some() || change.status.is_some() {
            // Whoever writes with the user's rights has committed by then, a further key perhaps, and those who come later
            // are decided about anew: no key is missed below. Before the tenant's row, which such a writer may want too.
            store::gate::lock_exclusive(&mut tx, &id.to_string()).await?;
        }
        store::tenant::lock(&mut tx, scope).await?.ok_or_else(Problem::not_found)?;
        let by = self.acting_role(&mut tx, caller).await?;
        let before = store::user::get(&mut tx, scope, id).await?.ok_or_else(Problem::not_found)?;
        let owner = store::user::owner(&mut tx, scope).await?;
        let (after, stepping_down) = before.clone().changed(change, by, owner.clone())?;
        // Its keys' rows are held before anything is written: see `store::user::living_keys`.
        let (handed_over, revoked) = self.offboard(&mut tx, pass, (&before, &after), offboarding).await?;
        let mut entries = Vec::new();
        let mut touched = vec![Touched::User(id)];
        // The old owner first: the index knows one owner at every moment.
        for (was, is) in owner.iter().zip(&stepping_down).chain([(&before, &after)]) {
            if was != is {
                saved(store::user::save(&mut tx, is).await?)?;
                entries.push(Entry::changed(action(was, is), is.id, record(was), record(is)));
                touched.push(Touched::User(is.id));
            }
        }
        let mut stopped = Vec::new();
        if after.status == UserStatus::Removed {
            store::user::end_invitation(&mut tx, scope, id).await?;
            // With those of a removal before that broke off once it was committed.
            stopped = store::revocation::unconfirmed_of(&mut tx, scope).await?;
            stopped.retain(|key| key.administrator == id);
        }
        touched.extend(handed_over.keys.iter().map(|key| Touched::Key(key.id)));
        for entry in entries {
            self.note(&mut tx, caller, entry).await?;
        }
        self.note_offboarded(&mut tx, caller, [handed_over, revoked]).await?;
        Ok((tx, after, touched, stopped))
    }

    /// The role of who manages users or the tenant, read live: all that is done lies within it. None: the operator and the
    /// server itself, who may do everything.
    pub(crate) async fn acting_role(&self, tx: &mut Tx, caller: &Caller) -> Result<Option<Role>, Problem> {
        let user = match &caller.who {
            Who::Key { administrator, .. } => *administrator,
            Who::User { user } => *user,
            Who::Operator | Who::System => return Ok(None),
            Who::Recipient { .. } => return Err(Code::RoleRequired.into()),
        };
        let user = store::user::get(tx, caller.tenant_scope(), user).await?.ok_or_else(Problem::not_found)?;
        user.require_manager("Users and the tenant need")?;
        Ok(Some(user.role))
    }

    /// The tenant's owner.
    pub async fn owner(&self, tenant: TenantId) -> Result<User, Problem> {
        let mut tx = self.read().await?;
        store::user::owner(&mut tx, TenantScope { tenant }).await?.ok_or_else(no_tenant)
    }
}

async fn by_name(tx: &mut Tx, scope: TenantScope, who: &str) -> Result<User, Problem> {
    let user = match who.parse() {
        Ok(id) => store::user::get(tx, scope, id).await?,
        Err(_) => store::user::by_email(tx, scope, &who.trim().to_lowercase()).await?,
    };
    user.ok_or_else(|| Problem::new(Code::NotFound, "The tenant has no such user: name the id or the e-mail address."))
}

/// What the audit log calls a change.
fn action(before: &User, after: &User) -> &'static str {
    match after.status {
        UserStatus::Removed if before.status != UserStatus::Removed => "user.removed",
        UserStatus::Suspended if before.status != UserStatus::Suspended => "user.suspended",
        UserStatus::Active if before.status == UserStatus::Suspended => "user.resumed",
        _ if before.role != after.role => "user.role_set",
        _ => "user.updated",
    }
}

/// What the audit log keeps of a user.
pub(crate) fn record(user: &User) -> Value {
    json!({"email": user.email, "name": user.name, "role": user.role, "status": user.status})
}
