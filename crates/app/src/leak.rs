//! Reports of leaked keys: taken from anybody, answered the same for hit and miss; what follows from a hit is a job's.

mod github;

use std::net::IpAddr;

use gate::Pass;
use model::exposure::{Exposure, How};
use model::id::JobId;
use model::key::{Reason, SecretStatus};
use model::leak::{self, Found, GithubEntry};
use model::{EnvScope, Environment, Problem, TenantId};
use serde_json::json;
use store::exposure::{DIGESTS_MAX, Owner};
use store::job::{Job, NewJob};

pub(crate) use github::GithubKeys;

use crate::App;
use crate::exposure::Report;
use crate::job::Outcome;

/// Why a key was revoked, for the audit log.
const NOTE: &str = "A secret of it was reported as leaked, and the tenant's policy revokes such keys.";

impl App {
    /// Takes a report. It is durable when this answers, and whether any of it is a key of this server is asked later.
    pub async fn report_leaks(&self, address: IpAddr, found: &[Found]) -> Result<(), Problem> {
        let now = self.now();
        let id: JobId = self.id();
        let body = json!({"found": leak::to_row(found), "address": address.to_canonical().to_string()});
        let (scope, object) = (nobodys(), id.to_string());
        let job = NewJob { id, scope, kind: "leak", object, body, run_at: now, created_at: now };
        let mut tx = self.db.begin().await?;
        store::job::enqueue(&mut tx, &job).await?;
        tx.commit().await?;
        self.wake.notify_waiters();
        Ok(())
    }

    /// Takes GitHub's payload, whose signature is checked first. GitHub, and nobody else, is told which of its matches are
    /// keys of this server.
    pub async fn report_github(
        &self,
        address: IpAddr,
        key_id: &str,
        signature: &str,
        body: &[u8],
    ) -> Result<Vec<(GithubEntry, bool)>, Problem> {
        self.github_keys.require_signature(key_id, signature, body, self.now()).await?;
        let entries = leak::read_github(body)?;
        let found: Vec<Found> = entries.iter().map(GithubEntry::found).collect();
        let owners = self.leak_owners(&found).await?;
        self.report_leaks(address, &found).await?;
        let is_ours = |found: &Found| owners.iter().any(|owner| owner.digest == found.digest);
        Ok(entries.into_iter().zip(&found).map(|(entry, found)| (entry, is_ours(found))).collect())
    }

    /// Tells the administrators of every key that was reported, and revokes it where the tenant chose so.
    pub(crate) async fn run_leak(&self, job: &Job) -> Result<Outcome, Problem> {
        let found = leak::from_row(&job.body["found"]);
        for owner in self.leak_owners(&found).await? {
            let place = found.iter().find(|one| one.digest == owner.digest).and_then(|one| one.place.as_deref());
            let seen = Exposure {
                how: How::Reported,
                first_at: job.created_at,
                last_at: job.created_at,
                count: 1,
                address: job.body["address"].as_str().unwrap_or_default().to_owned(),
                told_at: None,
                mailed_at: None,
            };
            let revokes = owner.status != SecretStatus::Dead && self.revokes_leaked(&owner).await?;
            self.expose(&owner, &seen, Report { place, revokes }).await?;
            if revokes {
                self.revoke_key(&Pass::system(owner.scope), owner.key, Reason::Policy, NOTE).await?;
            }
        }
        Ok(Outcome::Done)
    }

    async fn leak_owners(&self, found: &[Found]) -> Result<Vec<Owner>, Problem> {
        let digests: Vec<_> = found.iter().map(|one| one.digest).collect();
        let mut conn = self.db.ask().await?;
        let mut owners = Vec::new();
        for some in digests.chunks(DIGESTS_MAX) {
            owners.extend(store::exposure::owners(&mut conn, some).await?);
        }
        Ok(owners)
    }

    /// The tenant's policy.
    async fn revokes_leaked(&self, owner: &Owner) -> Result<bool, Problem> {
        let mut tx = self.read().await?;
        let tenant = store::tenant::get(&mut tx, owner.scope.tenant_scope()).await?;
        Ok(tenant.is_some_and(|tenant| tenant.policies.leaks.revoke))
    }
}

/// Whose job a report is: whose keys it names is not known yet.
fn nobodys() -> EnvScope {
    EnvScope { tenant: TenantId::from_uuid(Default::default()), environment: Environment::Production }
}
