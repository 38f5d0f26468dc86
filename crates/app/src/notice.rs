//! Mails to users: written with what they tell, sent by a job, never twice the same.
//!
//! Development's and staging's are captured, as all are where no mail server is configured: the operator reads them.

use model::link::Invitation;
use model::mail::MailState;
use model::notice::{About, Notice, Setting};
use model::tenant::Tenant;
use model::user::{User, UserStatus};
use model::{EnvScope, Environment, NoticeId, Problem, TenantId, TenantScope, UserId};
use store::{Tx, job::Job};

use crate::App;
use crate::job::Outcome;
use crate::mail::{ATTEMPTS_MAX, CAPTURED, Refused, Words, send};

/// Administrators who are told the same thing at most.
const ADMINISTRATORS_MAX: u32 = 100;

/// A mail to a user, with its words.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The row.
    pub notice: Notice,
    /// The words.
    pub words: Words,
}

impl App {
    /// Tells the tenant's active owner and admins: one mail each, however often it is asked for with the same `once`.
    /// It goes out after the commit.
    pub(crate) async fn tell_administrators(
        &self,
        tx: &mut Tx,
        scope: TenantScope,
        environment: Option<Environment>,
        about: &About,
        once: &str,
    ) -> Result<(), Problem> {
        let users = store::user::administrators(tx, scope, ADMINISTRATORS_MAX).await?;
        self.tell_all(tx, scope, environment, &users, about, once).await
    }

    /// Tells one user.
    pub(crate) async fn tell(
        &self,
        tx: &mut Tx,
        user: &User,
        environment: Option<Environment>,
        about: &About,
        once: &str,
    ) -> Result<(), Problem> {
        let scope = TenantScope { tenant: user.tenant };
        self.tell_all(tx, scope, environment, std::slice::from_ref(user), about, once).await
    }

    async fn tell_all(
        &self,
        tx: &mut Tx,
        scope: TenantScope,
        environment: Option<Environment>,
        users: &[User],
        about: &About,
        once: &str,
    ) -> Result<(), Problem> {
        let now = self.now();
        let captures = self.captures_notices(environment);
        let notice = |user: &User| Notice {
            id: self.id(),
            tenant: scope.tenant,
            environment,
            user: user.id,
            address: user.email.clone(),
            about: about.clone(),
            once: once.to_owned(),
            state: if captures { MailState::Captured } else { MailState::Queued },
            detail: if captures { CAPTURED.to_owned() } else { String::new() },
            created_at: now,
            state_at: now,
        };
        let notices: Vec<_> = users.iter().map(notice).collect();
        let written = store::notice::insert(tx, scope, &notices).await?;
        if !captures {
            // Jobs are all in some environment; what is the whole tenant's goes with production's.
            let scope = EnvScope { tenant: scope.tenant, environment: environment.unwrap_or(Environment::Production) };
            let jobs: Vec<_> = written.iter().map(|id| self.new_job(scope, "notice", id.to_string())).collect();
            store::job::enqueue_all(tx, &jobs).await?;
        }
        Ok(())
    }

    fn captures_notices(&self, environment: Option<Environment>) -> bool {
        self.config.smtp.is_none() || environment.is_some_and(|environment| !environment.binds())
    }

    /// Sends the mail that the job names.
    pub(crate) async fn run_notice(&self, job: &Job) -> Result<Outcome, Problem> {
        let scope = job.scope.tenant_scope();
        let id: NoticeId = job.object.parse().map_err(Problem::fault)?;
        let mut tx = self.read().await?;
        let Some(notice) = store::notice::get(&mut tx, scope, id).await? else { return Ok(Outcome::Done) };
        if notice.state != MailState::Queued {
            return Ok(Outcome::Done);
        }
        let Some(user) = store::user::get(&mut tx, scope, notice.user).await? else { return Ok(Outcome::Done) };
        let tenant = store::tenant::get(&mut tx, scope).await?.ok_or_else(Problem::not_found)?;
        let words = self.notice_words(&mut tx, &tenant, &notice, &user).await?;
        drop(tx);
        let Some(words) = words else {
            return self.notice_went(job, &notice, MailState::Failed, "Not sent: it says nothing any more.").await;
        };
        let Some(smtp) = &self.config.smtp else {
            return self.notice_went(job, &notice, MailState::Captured, CAPTURED).await;
        };
        match send(smtp, notice.id, (&user.name, &notice.address), words).await {
            Ok(said) => self.notice_went(job, &notice, MailState::Accepted, &said).await,
            Err(Refused { is_final: true, said }) => self.notice_went(job, &notice, MailState::Bounced, &said).await,
            Err(Refused { said, .. }) if job.attempts + 1 >= ATTEMPTS_MAX => {
                self.notice_went(job, &notice, MailState::Failed, &said).await
            }
            Err(Refused { said, .. }) => Err(Problem::fault(said)),
        }
    }

    async fn notice_went(&self, job: &Job, notice: &Notice, state: MailState, said: &str) -> Result<Outcome, Problem> {
        let mut tx = self.db.begin().await?;
        store::notice::set_state(&mut tx, job.scope.tenant_scope(), notice.id, (state, said), self.now()).await?;
        store::job::done(&mut tx, job).await?;
        tx.commit().await?;
        Ok(Outcome::Committed)
    }

    /// A mail's words, with the link that is computed for it; none where it says nothing any more: to a user who is gone,
    /// or an invitation that was answered or followed by another.
    async fn notice_words(
        &self,
        tx: &mut Tx,
        tenant: &Tenant,
        notice: &Notice,
        user: &User,
    ) -> Result<Option<Words>, Problem> {
        let scope = TenantScope { tenant: tenant.id };
        let link = match (&notice.about, user.status) {
            (About::Invited { generation, .. }, UserStatus::Invited) => {
                let invitation = store::user::invitation(tx, scope, user.id).await?;
                if invitation.is_none_or(|invitation| invitation.generation != *generation) {
                    return Ok(None);
                }
                self.invitation_url(user.id, *generation)
            }
            (About::Invited { .. }, _) | (_, UserStatus::Invited | UserStatus::Suspended | UserStatus::Removed) => {
                return Ok(None);
            }
            (_, UserStatus::Active) => String::new(),
        };
        let setting = Setting { tenant: &tenant.name, user: &user.name, url: &self.config.public_url, link: &link };
        let (subject, text) = notice.about.words(&setting);
        Ok(Some(match notice.environment {
            Some(environment) if !environment.binds() => Words {
                subject: format!("[TEST] {subject}"),
                text: format!("This is about a test environment ({environment}).\n\n{text}"),
            },
            _ => Words { subject, text },
        }))
    }

    fn invitation_url(&self, user: UserId, generation: i64) -> String {
        let link = Invitation::make(&self.config.master_key, user, generation);
        format!("{}/invite/{}", self.config.public_url, link.expose())
    }

    /// The mails to the tenant's users, newest first, at most `limit` after `after`: for the operator. Those that say
    /// nothing any more come without words.
    pub async fn notices(&self, tenant: TenantId, after: Option<NoticeId>, limit: u32) -> Result<Vec<Told>, Problem> {
        let scope = TenantScope { tenant };
        let mut tx = self.read().await?;
        let mut told = Vec::new();
        let notices = store::notice::list(&mut tx, scope, after, limit).await?;
        let ids: Vec<UserId> = notices.iter().map(|notice| notice.user).collect();
        let users = store::user::of_ids(&mut tx, scope, &ids).await?;
        let tenant = store::tenant::get(&mut tx, scope).await?.ok_or_else(Problem::not_found)?;
        for notice in notices {
            let user = users.iter().find(|user| user.id == notice.user).ok_or_else(Problem::not_found)?;
            let words = self.notice_words(&mut tx, &tenant, &notice, user).await?;
            let words = words.unwrap_or_else(|| Words { subject: String::new(), text: String::new() });
            told.push(Told { notice, words });
        }
        Ok(told)
    }
}
