//! Users, as the operator adds, promotes, demotes, suspends and resumes them.

use gate::Touched;
use model::audit::Entry;
use model::user::User;
use model::{Code, Id, Problem, Role, TenantId, TenantScope, UserId};
use serde_json::{Value, json};
use store::Tx;
use zeroize::Zeroizing;

use crate::tenant::{no_tenant, operator, saved};
use crate::{App, password};

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

    /// The tenant's users, oldest first, at most `limit` after `after`.
    pub async fn users(&self, tenant: TenantId, after: Option<UserId>, limit: u32) -> Result<Vec<User>, Problem> {
        let mut tx = self.read().await?;
        Ok(store::user::list(&mut tx, TenantScope { tenant }, after, limit).await?)
    }

    /// The tenant's owner.
    pub async fn owner(&self, tenant: TenantId) -> Result<User, Problem> {
        let mut tx = self.read().await?;
        store::user::owner(&mut tx, TenantScope { tenant }).await?.ok_or_else(no_tenant)
    }

    /// Gives the user another role; `who` is an id or an address. A new owner takes the place of the old one, who
    /// becomes an admin. From the answer on the keys of a user who is no admin any more are refused.
    pub async fn set_role(&self, tenant: TenantId, who: &str, role: Role) -> Result<User, Problem> {
        let scope = TenantScope { tenant };
        let mut tx = self.db.begin().await?;
        let before = found(&mut tx, scope, who).await?;
        let owner = store::user::owner(&mut tx, scope).await?;
        let old_owner = owner.clone();
        let (after, stepping_down) = before.clone().set_role(role, owner)?;
        let mut touched = vec![Touched::User(after.id)];
        // The old owner first: the index knows one owner at every moment.
        if let (Some(down), Some(up)) = (stepping_down, old_owner) {
            touched.push(Touched::User(down.id));
            self.save_user(&mut tx, "user.role_set", &up, &down).await?;
        }
        self.save_user(&mut tx, "user.role_set", &before, &after).await?;
        tx.commit().await?;
        gate::barrier(&self.db, &touched).await?;
        Ok(after)
    }

    /// Suspends the user: from the answer on the keys that the user administers are refused.
    pub async fn suspend_user(&self, tenant: TenantId, who: &str) -> Result<User, Problem> {
        self.change_user("user.suspended", tenant, who, User::suspend).await
    }

    /// Lets the user act again.
    pub async fn resume_user(&self, tenant: TenantId, who: &str) -> Result<User, Problem> {
        self.change_user("user.resumed", tenant, who, User::resume).await
    }

    async fn change_user(
        &self,
        action: &'static str,
        tenant: TenantId,
        who: &str,
        change: impl FnOnce(User) -> Result<User, Problem> + Send,
    ) -> Result<User, Problem> {
        let mut tx = self.db.begin().await?;
        let before = found(&mut tx, TenantScope { tenant }, who).await?;
        let after = change(before.clone())?;
        self.save_user(&mut tx, action, &before, &after).await?;
        tx.commit().await?;
        gate::barrier(&self.db, &[Touched::User(after.id)]).await?;
        Ok(after)
    }

    async fn save_user(&self, tx: &mut Tx, action: &'static str, before: &User, after: &User) -> Result<(), Problem> {
        if before == after {
            return Ok(());
        }
        saved(store::user::save(tx, after).await?)?;
        let entry = Entry::changed(action, after.id, record(before), record(after));
        self.note(tx, &operator(after.tenant), entry).await
    }
}

/// The user with this id or address, to be changed: the tenant's row is held, so that changes of its users follow one
/// another.
async fn found(tx: &mut Tx, scope: TenantScope, who: &str) -> Result<User, Problem> {
    store::tenant::lock(tx, scope).await?.ok_or_else(no_tenant)?;
    let user = match who.parse() {
        Ok(id) => store::user::get(tx, scope, id).await?,
        Err(_) => store::user::by_email(tx, scope, &who.trim().to_lowercase()).await?,
    };
    user.ok_or_else(|| Problem::new(Code::NotFound, "The tenant has no such user: name the id or the e-mail address."))
}

/// What the audit log keeps of a user.
pub(crate) fn record(user: &User) -> Value {
    json!({"email": user.email, "name": user.name, "role": user.role, "status": user.status})
}
