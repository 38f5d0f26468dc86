//! Invitations: a user is asked by mail to join, and joins with a name and a password of their own.
//!
//! The link in the mail is computed, like a recipient's: no row holds it, and a new mail ends the one before.

use gate::Pass;
use model::audit::Entry;
use model::caller::Who;
use model::link::Invitation;
use model::notice::About;
use model::tenant::{Tenant, TenantStatus};
use model::time::DAY_MS;
use model::user::{User, UserStatus};
use model::{BodyError, Caller, Code, EnvScope, Environment, Problem, Role, Timestamp, UserId};
use store::Tx;
use zeroize::Zeroizing;

use crate::room::Visitor;
use crate::user::record;
use crate::{App, password};

/// How long an invitation can be answered.
const INVITATION_MS: i64 = 7 * DAY_MS;
/// Invitations of one tenant that wait for an answer at most: nobody sends mails to the whole world through this server.
const OPEN_MAX: i64 = 200;

/// What the link of an invitation leads to.
#[derive(Clone, Debug, PartialEq)]
pub struct Invited {
    /// Who is invited.
    pub user: User,
    /// By which tenant.
    pub tenant: Tenant,
    /// Until when.
    pub expires_at: Timestamp,
}

impl App {
    /// Asks somebody by mail to join the tenant of who asks, with a role within that of who asks.
    pub async fn invite_user(&self, pass: &Pass, names: (&str, &str), role: Role) -> Result<User, Problem> {
        let (caller, now) = (pass.caller(), self.now());
        let scope = caller.tenant_scope();
        let user = User::invite(self.id(), scope, names, role, now)?;
        let mut tx = self.begin(pass).await?;
        store::tenant::lock(&mut tx, scope).await?.ok_or_else(Problem::not_found)?;
        let by = self.acting_role(&mut tx, caller).await?;
        user.require_within(&model::user::UserChange::default(), by)?;
        if store::user::open_invitations(&mut tx, scope, now).await? >= OPEN_MAX {
            let detail = format!("{OPEN_MAX} invitations wait for an answer: remove some of the invited users first.");
            return Err(Problem::body(vec![BodyError::new("", "too_many", detail)]));
        }
        if !store::user::insert(&mut tx, &user, None).await? {
            let detail = format!("The tenant has a user {} already.", user.email);
            return Err(Problem::body(vec![BodyError::new("/email", "taken", detail)]));
        }
        self.send_invitation(&mut tx, &user, now).await?;
        self.note(&mut tx, caller, Entry::created("user.invited", user.id, record(&user))).await?;
        tx.commit().await?;
        self.told();
        Ok(user)
    }

    /// Sends the invitation once more; the link of the mail before ends.
    pub async fn invite_again(&self, pass: &Pass, id: UserId) -> Result<User, Problem> {
        let (caller, now) = (pass.caller(), self.now());
        let scope = caller.tenant_scope();
        let mut tx = self.begin(pass).await?;
        store::tenant::lock(&mut tx, scope).await?.ok_or_else(Problem::not_found)?;
        let by = self.acting_role(&mut tx, caller).await?;
        let user = store::user::get(&mut tx, scope, id).await?.ok_or_else(Problem::not_found)?;
        user.require_within(&model::user::UserChange::default(), by)?;
        if user.status != UserStatus::Invited {
            let detail = format!("Only who has not joined yet is invited again; {} is {}.", user.email, user.status);
            return Err(Problem::new(Code::UserStatus, detail));
        }
        self.send_invitation(&mut tx, &user, now).await?;
        let is = record(&user);
        self.note(&mut tx, caller, Entry::changed("user.invited_again", id, is.clone(), is)).await?;
        tx.commit().await?;
        self.told();
        Ok(user)
    }

    async fn send_invitation(&self, tx: &mut Tx, user: &User, now: Timestamp) -> Result<(), Problem> {
        let scope = model::TenantScope { tenant: user.tenant };
        let expires_at = now.plus(INVITATION_MS);
        let generation = store::user::invite(tx, scope, user.id, expires_at).await?;
        let about = About::Invited { role: user.role, generation, expires_at };
        self.tell(tx, user, None, &about, &format!("invited:{generation}")).await
    }

    /// What an invitation's link leads to. Changes nothing.
    pub async fn invitation(&self, link: &Invitation) -> Result<Invited, Problem> {
        let mut tx = self.read().await?;
        self.proven(&mut tx, link).await
    }

    /// Joins: from then on the user may act with the role.
    pub async fn join(
        &self,
        link: &Invitation,
        visitor: &Visitor,
        name: &str,
        password: &str,
    ) -> Result<Invited, Problem> {
        // Proven first: hashing is dear, and a stranger's guess shall cost nothing.
        let invited = self.invitation(link).await?;
        let mut faults = Vec::new();
        if let Err(problem) = invited.user.clone().join(name) {
            faults.extend(problem.errors);
        }
        faults.extend(password::check(password, [&invited.user.email, name]).err());
        if !faults.is_empty() {
            return Err(Problem::body(faults));
        }
        let hash = password::hash(Zeroizing::new(password.to_owned()), &*self.random).await?;
        let mut tx = self.db.begin().await?;
        let scope = model::TenantScope { tenant: invited.tenant.id };
        store::tenant::lock(&mut tx, scope).await?.ok_or_else(unknown)?;
        let Invited { user: before, tenant, expires_at } = self.proven(&mut tx, link).await?;
        let user = before.clone().join(name)?;
        crate::tenant::saved(store::user::save(&mut tx, &user).await?)?;
        store::user::set_password_hash(&mut tx, scope, user.id, &hash).await?;
        store::user::end_invitation(&mut tx, scope, user.id).await?;
        let caller = Caller {
            who: Who::User { user: user.id },
            scope: EnvScope { tenant: tenant.id, environment: Environment::Production },
            address: visitor.address,
            user_agent: visitor.user_agent.clone(),
            request_id: visitor.request_id.clone(),
        };
        self.note(&mut tx, &caller, Entry::changed("user.joined", user.id, record(&before), record(&user))).await?;
        tx.commit().await?;
        Ok(Invited { user, tenant, expires_at })
    }

    async fn proven(&self, tx: &mut Tx, link: &Invitation) -> Result<Invited, Problem> {
        let scope = store::user::tenant_of(tx, link.id()).await?.ok_or_else(unknown)?;
        let kept = store::user::invitation(tx, scope, link.id()).await?.ok_or_else(unknown)?;
        if !link.is_of(&self.config.master_key, kept.generation) {
            return Err(unknown());
        }
        let user = store::user::get(tx, scope, link.id()).await?.ok_or_else(unknown)?;
        let tenant = store::tenant::get(tx, scope).await?.ok_or_else(unknown)?;
        if user.status != UserStatus::Invited {
            return Err(unknown());
        }
        if kept.expires_at <= self.now() {
            let detail = format!("The invitation worked until {}.", kept.expires_at);
            return Err(Problem::new(Code::InvitationExpired, detail));
        }
        if tenant.status != TenantStatus::Active {
            return Err(Code::TenantSuspended.into());
        }
        Ok(Invited { user, tenant, expires_at: kept.expires_at })
    }
}

/// The same whether it never was, was answered, or was followed by another.
fn unknown() -> Problem {
    Problem::new(Code::LinkUnknown, "This invitation is not known, or was answered already.")
}
