//! Right secrets in wrong places: what the gate has seen is proved, put on record, and told to programs and people.

use std::time::Duration;

use gate::Exposed;
use model::audit::Entry;
use model::exposure::{self, Exposure, How};
use model::key::{Key, SecretStatus, State};
use model::notice::{About, KeyName};
use model::{Caller, Problem};
use serde_json::json;
use store::exposure::{DIGESTS_MAX, Owner};
use tokio_util::sync::CancellationToken;

use crate::App;

/// How long is gathered after the first, so that a program that goes on and on is written once.
const GATHER_MS: u64 = 1_000;
/// How long after a failure it is tried again, without anything new.
const AGAIN_MS: u64 = 30_000;

/// Where a reported key was found, and what becomes of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report<'a> {
    /// Where, as far as it was told.
    pub place: Option<&'a str>,
    /// Whether the tenant's policy revokes it now.
    pub revokes: bool,
}

impl App {
    /// Tells of what the gate has seen, until `shutdown`.
    pub(crate) async fn watch_exposed(self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = self.gate.exposed() => tokio::time::sleep(Duration::from_millis(GATHER_MS)).await,
                () = tokio::time::sleep(Duration::from_millis(AGAIN_MS)) => {}
            }
            self.tell_exposed().await;
        }
    }

    /// Tells of everything that the gate has seen until now. What can't be told is kept.
    pub async fn tell_exposed(&self) {
        let seen = self.gate.take_exposed();
        for some in seen.chunks(DIGESTS_MAX) {
            let owners = match self.owners(some).await {
                Ok(owners) => owners,
                Err(problem) => {
                    tracing::warn!(%problem, "secrets in wrong places can't be told now; they are kept");
                    self.gate.give_back_exposed(some.to_vec());
                    continue;
                }
            };
            for one in some {
                // Whatever has no owner was a stranger's invention.
                let is_its = |owner: &&Owner| owner.key == one.key && owner.digest == one.digest;
                let Some(owner) = owners.iter().find(is_its) else { continue };
                if let Err(problem) = self.expose(owner, &exposure_of(one), Report::default()).await {
                    tracing::warn!(key = %one.key, %problem, "a secret in a wrong place can't be told now; it is kept");
                    self.gate.give_back_exposed(vec![Exposed { is_proved: true, ..one.clone() }]);
                }
            }
        }
    }

    async fn owners(&self, seen: &[Exposed]) -> Result<Vec<Owner>, Problem> {
        let digests: Vec<_> = seen.iter().map(|one| one.digest).collect();
        let mut conn = self.db.ask().await?;
        Ok(store::exposure::owners(&mut conn, &digests).await?)
    }

    /// Puts on record that a secret of a key was seen, and tells of it where that was not told lately.
    pub(crate) async fn expose(&self, owner: &Owner, seen: &Exposure, report: Report<'_>) -> Result<(), Problem> {
        let (scope, now) = (owner.scope, self.now());
        let caller = Caller::system(scope);
        let mut tx = self.db.begin().await?;
        let Some(key) = store::key::lock(&mut tx, scope, owner.key).await? else { return Ok(()) };
        let before = store::exposure::of_keys(&mut tx, scope, &[owner.key]).await?;
        let before: Vec<Exposure> = before.into_iter().map(|(_, exposure)| exposure).collect();
        let telling = exposure::telling(seen.how, &before, now);
        let sends_mail = telling.mail && is_worth_a_mail(&key, owner, seen.how);
        let (told_at, mailed_at) = (telling.event.then_some(now), sends_mail.then_some(now));
        let seen = Exposure { told_at, mailed_at, ..seen.clone() };
        store::exposure::note(&mut tx, scope, owner.key, &seen).await?;
        if sends_mail {
            let about = about(&key, owner, &seen, report);
            let once = format!("{}:{}:{}", about.purpose(), key.id, now.millis());
            self.tell_administrators(&mut tx, scope.tenant_scope(), Some(scope.environment), &about, &once).await?;
        }
        if telling.event {
            let event = exposure::event(&key, seen.how, &seen.address, seen.last_at, report.place);
            let record = json!({"how": seen.how, "address": seen.address, "place": report.place});
            self.note(&mut tx, &caller, Entry::created(event.kind.as_str(), key.id, record)).await?;
            store::event::append(&mut tx, &caller, &*self.clock, &*self.random, vec![event]).await?;
        }
        tx.commit().await?;
        self.told();
        Ok(())
    }
}

/// A report of a secret that opens nothing any more wakes nobody.
fn is_worth_a_mail(key: &Key, owner: &Owner, how: How) -> bool {
    how != How::Reported || !is_over(key, owner)
}

/// Whether the secret opens nothing any more.
fn is_over(key: &Key, owner: &Owner) -> bool {
    owner.status == SecretStatus::Dead || matches!(key.state, State::Revoked(_) | State::Expired)
}

fn about(key: &Key, owner: &Owner, seen: &Exposure, report: Report<'_>) -> About {
    let is_over = is_over(key, owner);
    let key = KeyName::of(key);
    match seen.how {
        How::Reported => About::KeyLeaked { key, place: report.place.map(str::to_owned), is_revoked: report.revokes },
        how => {
            let (how, address) = (how.words().to_owned(), seen.address.clone());
            About::KeyExposed { key, how, address, at: seen.last_at, is_over }
        }
    }
}

fn exposure_of(seen: &Exposed) -> Exposure {
    Exposure {
        how: seen.how,
        first_at: seen.first_at,
        last_at: seen.last_at,
        count: seen.count,
        address: seen.address.to_canonical().to_string(),
        told_at: None,
        mailed_at: None,
    }
}
