//! Who may pass: the decision table from top to bottom, and that no answer is older than the question.
//!
//! [`Gate::admit`] decides about a request, [`Pass::fence`] decides again within the transaction of what it changes, and
//! [`barrier`] waits, after a change that turns a yes into a no, for all that had checked before. Together: after a
//! revocation was answered nothing that the key asked for takes effect, on any node. Nothing here trusts a lease, a
//! clock of this machine, or what it remembers: see `epoch.rs`.

mod address;
mod at_hand;
mod barrier;
mod credentials;
mod decide;
mod epoch;
mod exposed;
mod fence;
mod limits;
mod memory;
mod pass;
#[cfg(test)]
mod tests;
mod throttle;
mod usage;

use http::{HeaderMap, Uri, header};
use model::exposure::How;
use model::{Caller, Clock, Code, KeyId, Problem, SecretId, TenantId, Timestamp};
use secret::{Digest, SecretKey};
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use store::gate::Epoch;
use store::usage::LastUse;
use store::{Db, StoreError, Tx};
use tokio::task::AbortHandle;

pub use address::{Client, Peer, ProxyConfig, ProxyHeader};
pub use barrier::{Touched, barrier};
pub use credentials::in_text;
#[cfg(fuzzing)]
pub use credentials::presented;
pub use decide::{Rule, challenge};
pub use exposed::Exposed;
pub use limits::{Allowance, Left, Rate};
pub use pass::{Endings, Pass};
pub use throttle::Patience;
pub use usage::Count;

use at_hand::AtHand;
use epoch::{Keys, Lane, NoAnswer, Tenants};
use memory::{Entry, Memory};
use pass::Admission;
use throttle::Throttle;
use usage::{Usage, Visit};

/// Characters of a user agent that are kept.
const USER_AGENT_CHARS_MAX: usize = 256;
/// Keys that one look-up reads when the gate begins.
const LOOK_UP_KEYS_MAX: usize = 1_000;
/// How many leaks an address may report.
const REPORTS: Patience = Patience { failures: 30, forget_ms: 2_000 };
/// How many leaks all addresses together may report, on this node: each is a row until it was looked at.
const REPORTS_IN_ALL: Patience = Patience { failures: 1_000, forget_ms: 100 };
/// How many well-formed keys are looked up all the same, on this node, for addresses that have to wait: a good key may be
/// among them that is new or was not used lately.
const LOOK_UPS_ALL_THE_SAME: Patience = Patience { failures: 20, forget_ms: 50 };
/// Whom what counts for all together is counted for: an address that nobody has.
const EVERYONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
/// Seconds after which to ask again when the database couldn't be asked.
const RETRY_AFTER_S: u32 = 1;

/// What an operator may set.
#[derive(Clone, Debug)]
pub struct GateConfig {
    /// Trusted proxies and their header.
    pub proxy: ProxyConfig,
    /// What a key may ask, on this node.
    pub key_rate: Rate,
    /// What a tenant's keys may ask together, on this node.
    pub tenant_rate: Rate,
    /// How many failures an address may have.
    pub patience: Patience,
    /// Keys that are remembered: about 1 KiB each.
    pub remembered_keys_max: usize,
}

impl Default for GateConfig {
    /// Generous: the limits stop accidents, not customers.
    fn default() -> GateConfig {
        GateConfig {
            proxy: ProxyConfig::default(),
            key_rate: Rate { per_minute: 3_000_000, burst: 100_000 },
            tenant_rate: Rate { per_minute: 6_000_000, burst: 200_000 },
            patience: Patience { failures: 60, forget_ms: 1_000 },
            remembered_keys_max: 100_000,
        }
    }
}

/// A request that wants to pass.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// All its headers, `Authorization` among them.
    pub headers: &'a HeaderMap,
    /// Its URI as it was sent.
    pub uri: &'a Uri,
    /// The other end of the socket.
    pub peer: Peer,
    /// Whether this server itself ended its TLS.
    pub is_tls: bool,
    /// What its route asks for.
    pub rule: Rule,
    /// Its route as the router writes it: `POST /v1/keys/{id}/revoke`.
    pub route: &'static str,
    /// Its id.
    pub request_id: &'a str,
}

/// The gate. A clone is the same gate.
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

struct Inner {
    db: Db,
    config: GateConfig,
    clock: Arc<dyn Clock>,
    // The database's time, in milliseconds, as this node saw it last: it never goes back.
    latest: Arc<AtomicI64>,
    epochs: Epochs,
    keys: Lane<Keys>,
    memory: Memory,
    throttle: Throttle,
    reports: Throttle,
    reports_in_all: Throttle,
    all_the_same: Throttle,
    exposures: exposed::Exposures,
    usage: Arc<Usage>,
    writer: std::sync::OnceLock<AbortHandle>,
}

/// How epochs are read.
enum Epochs {
    /// Of the embedded database.
    AtHand(Box<AtHand>),
    /// Of a server's, whose answer is waited for.
    Shared(Lane<Tenants>),
}

impl Gate {
    /// A gate before this database. Within a tokio runtime: it keeps connections of its own. `clock` serves limits
    /// and throttle only; what ends is decided at the database's time.
    pub fn new(db: Db, config: GateConfig, clock: Arc<dyn Clock>) -> Gate {
        let latest = Arc::new(AtomicI64::new(0));
        let gate = Gate(Arc::new(Inner {
            epochs: if db.is_postgres() {
                Epochs::Shared(Lane::new(db.clone(), latest.clone()))
            } else {
                Epochs::AtHand(Box::new(AtHand::new(db.clone(), latest.clone())))
            },
            keys: Lane::new(db.clone(), latest.clone()),
            latest,
            memory: Memory::new(config.remembered_keys_max),
            throttle: Throttle::new(config.patience),
            reports: Throttle::new(REPORTS),
            reports_in_all: Throttle::new(REPORTS_IN_ALL),
            all_the_same: Throttle::new(LOOK_UPS_ALL_THE_SAME),
            exposures: exposed::Exposures::default(),
            usage: Arc::default(),
            writer: std::sync::OnceLock::new(),
            db,
            config,
            clock,
        }));
        let writer = tokio::spawn(keep_writing(Arc::downgrade(&gate.0)));
        // The cell is new, so this is its first value.
        let _ = gate.0.writer.set(writer.abort_handle());
        gate
    }

    /// Whether this address is a trusted proxy's.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.0.config.proxy.trusts(address.to_canonical())
    }

    /// Where a request comes from. Routes that anybody may call ask for this alone.
    pub fn client(&self, peer: Peer, headers: &HeaderMap) -> Result<Client, Problem> {
        self.0.config.proxy.client(peer, headers)
    }

    /// Decides about a request.
    pub async fn admit(&self, ask: &Ask<'_>) -> Result<Pass, Problem> {
        let now = self.0.clock.now();
        let client = self.client(ask.peer, ask.headers)?;
        let presented = self.presented(ask, client, now)?;
        let key = KeyId::from_uuid(presented.id());
        let digest = presented.digest();
        let (entry, time) = self.know(key).await?.ok_or_else(|| self.failed(client.address, now, decide::unknown()))?;
        let user_agent = user_agent(ask.headers);
        let visit = Visit {
            key,
            address: client.address,
            user_agent: user_agent.unwrap_or_default(),
            route: ask.route,
            request_id: ask.request_id,
            at: time,
        };
        let secret = decide::identify(&entry.known, &digest, time).map_err(|refusal| match refusal.code {
            Code::InvalidKey => self.failed(client.address, now, refusal),
            // Who presents the right secret of a dead key is not guessing.
            code => {
                self.0.usage.refused(&visit, code);
                self.note_right(&visit, digest, code);
                refusal
            }
        })?;
        let decided = decide::authorize(&entry.known, Some(client.address), ask.rule);
        let decided = decided.and_then(|()| self.take(&entry, now));
        let refused = decided.as_ref().err().map(|refusal| refusal.code);
        self.0.usage.used(&visit, secret.id, refused);
        if let Some(code) = refused {
            self.note_right(&visit, digest, code);
        }
        let left = decided?;
        // What passed alone: what was refused is on record as that.
        if decide::would_refuse(&entry.known, client.address) {
            self.0.usage.observed(&visit);
        }
        let caller = Caller {
            who: decide::who(&entry.known, secret),
            scope: entry.known.scope,
            address: Some(client.address),
            user_agent: user_agent.map(str::to_owned),
            request_id: Some(ask.request_id.to_owned()),
        };
        let (rule, route, latest) = (ask.rule, ask.route, self.0.latest.clone());
        Ok(Pass::admitted(caller, Admission { rule, route, entry, digest, left, at: time, latest }))
    }

    /// What the refusal of a right secret has to say of the key's near end, by what is remembered of it.
    pub fn endings(&self, headers: &HeaderMap) -> Endings {
        let found = headers.get(header::AUTHORIZATION).map(|value| secret::find(value.as_bytes())).unwrap_or_default();
        let Some((_, presented)) = found.first() else { return Endings::default() };
        let Some(entry) = self.0.memory.get(KeyId::from_uuid(presented.id())) else { return Endings::default() };
        let digest = presented.digest();
        let own = entry.known.secrets.iter().find(|secret| secret.digest == digest);
        let now = Timestamp::from_millis(self.0.latest.load(Ordering::Relaxed));
        own.map(|secret| Endings::of(&entry.known, secret, now)).unwrap_or_default()
    }

    /// Decides again about what was admitted: streams ask before each event and each chunk.
    pub async fn readmit(&self, pass: &Pass) -> Result<(), Problem> {
        let Some(admitted) = pass.key() else { return Ok(()) };
        let Some((entry, time)) = self.know(admitted.known.key).await? else { return Err(decide::unknown()) };
        let decided = decide::identify(&entry.known, admitted.digest, time)
            .and_then(|_| decide::authorize(&entry.known, admitted.address, admitted.rule));
        if let (Err(refusal), Some(address), Some(admission)) = (&decided, admitted.address, pass.admission()) {
            let caller = pass.caller();
            let visit = Visit {
                key: admitted.known.key,
                address,
                user_agent: caller.user_agent.as_deref().unwrap_or_default(),
                route: admission.route,
                request_id: caller.request_id.as_deref().unwrap_or_default(),
                at: time,
            };
            self.0.usage.cut(&visit, refusal.code);
        }
        decided
    }

    /// Counts what was admitted, once its answer is known.
    pub fn count(&self, pass: &Pass) -> Option<Count> {
        let admission = pass.admission()?;
        Some(Count::new(self.0.usage.clone(), admission.entry.known.key, admission.route, admission.at))
    }

    /// What is left of the limits of a key that is remembered, for the answer to one that has nothing left.
    pub fn left(&self, key: KeyId) -> Option<Left> {
        let (entry, now) = (self.0.memory.get(key)?, self.0.clock.now());
        let key = entry.key_bucket.look(self.0.config.key_rate, now);
        Some(Left { key, tenant: entry.tenant_bucket.look(self.0.config.tenant_rate, now) })
    }

    /// The last use of a secret on this node, where it is not written yet.
    pub fn last_use(&self, key: KeyId, secret: SecretId) -> Option<LastUse> {
        self.0.usage.last_use(key, secret)
    }

    /// The fence of work that goes on later for a key, such as a batch's rows: the first thing in each of its transactions.
    /// Whether the key could still pass at all; address and secret are not asked about.
    pub async fn fence_key(&self, tx: &mut Tx, key: KeyId, rule: Rule) -> Result<(), Problem> {
        fence::fence_key(tx, key, rule, &self.0.latest).await
    }

    /// Writes what is not written yet. For the end of the server's life.
    pub async fn shutdown(&self) {
        if let Some(writer) = self.0.writer.get() {
            // Not in the middle of a write, whose notes are nowhere else.
            let _between = self.0.usage.between_writes().await;
            writer.abort();
        }
        self.write_usage().await;
        if let Err(error) = self.0.usage.end(&self.0.db).await {
            tracing::warn!(%error, "that this node ends could not be written; nobody waits for it after 30 s");
        }
    }

    /// Writes what is noted of the keys' use now, rather than within the next 10 seconds.
    pub async fn write_usage(&self) {
        if let Err(error) = self.0.usage.write(&self.0.db).await {
            tracing::warn!(%error, "what keys were used for could not be written; it is kept and tried again");
        }
    }

    /// Remembers the keys that were used last, so that after a start a stranger who guesses can't shut out the good keys
    /// behind his address (row 0). What is remembered is used as always: after an epoch read that finds the same.
    async fn remember_used(&self) -> Result<(), StoreError> {
        let mut conn = self.0.db.ask().await?;
        let keys = store::key::used_last(&mut conn, self.0.config.remembered_keys_max).await?;
        for some in keys.chunks(LOOK_UP_KEYS_MAX) {
            let (_, found) = store::gate::look_up(&mut conn, some).await?;
            for known in found.into_iter().filter_map(|(_, known)| known.ok()) {
                self.0.memory.put(known);
            }
        }
        Ok(())
    }

    /// Rows 0 to 3.
    fn presented(&self, ask: &Ask<'_>, client: Client, now: Timestamp) -> Result<SecretKey, Problem> {
        let is_secure = (ask.is_tls && !client.proxied_plain) || client.proxied_https;
        let presented = credentials::presented(is_secure, ask.uri, ask.headers);
        if let Some(wait_s) = self.0.throttle.wait_s(client.address, now)
            && !presented.as_ref().is_ok_and(|key| self.remembers(key) || self.looks_up_all_the_same(now))
        {
            let detail = format!("{} has sent too many wrong keys lately.", client.address);
            return Err(Problem::new(Code::TooManyFailures, detail).retry_after(wait_s));
        }
        presented
            .inspect_err(|refusal| {
                for (key, how) in credentials::misplaced(refusal.code, ask.uri, ask.headers) {
                    self.note_exposed(&key, how, client.address);
                }
            })
            .map_err(|refusal| match refusal.code {
                Code::MalformedCredentials => self.failed(client.address, now, refusal),
                _ => refusal,
            })
    }

    /// A right secret was refused: where that says that it is in wrong hands, it is noted.
    fn note_right(&self, visit: &Visit<'_>, digest: Digest, code: Code) {
        if let Some(how) = How::of(code) {
            self.0.exposures.note(Exposed::once(visit.key, digest, how, visit.address, visit.at));
        }
    }

    /// A key was seen where it must not be. Whether it is a right one is asked when it is told.
    pub fn note_exposed(&self, key: &SecretKey, how: How, address: IpAddr) {
        self.0.exposures.note(Exposed::found(key, how, address, self.0.clock.now(), self.remembers(key)));
    }

    /// Notes the keys in a URL that no key is asked for: strangers' servers and histories hold it all the same.
    pub fn note_in_url(&self, uri: &Uri, address: IpAddr) {
        for key in credentials::in_url(uri) {
            self.note_exposed(&key, How::InUrl, address);
        }
    }

    /// Remembers a key that was made or given a new secret just now, so that nobody who guesses behind the same address
    /// shuts it out (row 0). A key that can't be read now is looked up when it comes.
    pub async fn remember(&self, key: KeyId) {
        // What is found is remembered; a failure has been told to nobody, and costs nobody anything.
        let _ = self.look_up(key).await;
    }

    /// Waits until a secret was seen where it must not be.
    pub async fn exposed(&self) {
        self.0.exposures.news.notified().await;
    }

    /// The secrets that were seen where they must not be, for whoever tells of them.
    pub fn take_exposed(&self) -> Vec<Exposed> {
        self.0.exposures.take()
    }

    /// Keeps what could not be told for another time.
    pub fn give_back_exposed(&self, seen: Vec<Exposed>) {
        self.0.exposures.give_back(seen);
    }

    /// Whether this address may report a leak now. A report counts, for its address and for all together; a signed one,
    /// which comes from whom the operator trusts, only where its signature is wrong ([`Self::report_failed`]): no stranger
    /// can keep it out.
    pub fn admit_report(&self, address: IpAddr, is_signed: bool) -> Result<(), Problem> {
        let now = self.0.clock.now();
        let limits = [(&self.0.reports, address), (&self.0.reports_in_all, EVERYONE)];
        let limits = &limits[..if is_signed { 1 } else { 2 }];
        if let Some(wait_s) = limits.iter().find_map(|(limit, whose)| limit.wait_s(*whose, now)) {
            let detail = "Leaks are reported too often; one report may name many keys.";
            return Err(Problem::new(Code::RateLimited, detail).retry_after(wait_s));
        }
        if !is_signed {
            limits.iter().for_each(|(limit, whose)| limit.failed(*whose, now));
        }
        Ok(())
    }

    /// This address sent a report whose signature is wrong.
    pub fn report_failed(&self, address: IpAddr) {
        self.0.reports.failed(address, self.0.clock.now());
    }

    /// Whether this is a secret of a remembered key: then nobody is guessing, and row 4 decides.
    fn remembers(&self, key: &SecretKey) -> bool {
        let digest = key.digest();
        let entry = self.0.memory.get(KeyId::from_uuid(key.id()));
        entry.is_some_and(|entry| entry.known.secrets.iter().any(|secret| secret.digest == digest))
    }

    fn looks_up_all_the_same(&self, now: Timestamp) -> bool {
        let may = self.0.all_the_same.wait_s(EVERYONE, now).is_none();
        if may {
            self.0.all_the_same.failed(EVERYONE, now);
        }
        may
    }

    fn failed(&self, address: IpAddr, now: Timestamp, refusal: Problem) -> Problem {
        self.0.throttle.failed(address, now);
        refusal
    }

    /// The key as it stands at a moment after this was called, and the database's time then.
    async fn know(&self, key: KeyId) -> Result<Option<(Arc<Entry>, Timestamp)>, Problem> {
        if let Some(entry) = self.0.memory.get(key) {
            let tenant = entry.known.scope.tenant;
            let (epoch, time) = self.epoch(tenant).await.map_err(no_answer)?;
            if epoch == Some(entry.known.epoch) {
                return Ok(Some((entry, time)));
            }
        }
        self.look_up(key).await
    }

    /// The tenant's epoch as it stands at a moment after this was called.
    async fn epoch(&self, tenant: TenantId) -> Result<(Option<Epoch>, Timestamp), NoAnswer> {
        match &self.0.epochs {
            Epochs::AtHand(readers) => readers.ask(tenant),
            Epochs::Shared(lane) => {
                let answer = lane.ask(tenant).await?;
                Ok((answer.found.get(&tenant).copied(), answer.time))
            }
        }
    }

    async fn look_up(&self, key: KeyId) -> Result<Option<(Arc<Entry>, Timestamp)>, Problem> {
        let answer = self.0.keys.ask(key).await.map_err(no_answer)?;
        let Some(known) = answer.found.get(&key) else {
            self.0.memory.forget(key);
            return Ok(None);
        };
        let known = known.clone().map_err(no_answer)?;
        Ok(Some((self.0.memory.put(known), answer.time)))
    }

    /// Row 9.
    fn take(&self, entry: &Entry, now: Timestamp) -> Result<Left, Problem> {
        let limited = |whose: &'static str| {
            move |wait_s: u32| {
                Problem::new(Code::RateLimited, format!("{whose} has asked too often.")).retry_after(wait_s)
            }
        };
        let key = entry.key_bucket.take(self.0.config.key_rate, now).map_err(limited("The key"))?;
        match entry.tenant_bucket.take(self.0.config.tenant_rate, now) {
            Ok(tenant) => Ok(Left { key, tenant }),
            Err(wait_s) => {
                entry.key_bucket.give_back(self.0.config.key_rate);
                Err(limited("The tenant")(wait_s))
            }
        }
    }
}

async fn keep_writing(gate: Weak<Inner>) {
    if let Some(inner) = gate.upgrade()
        && let Err(error) = Gate(inner).remember_used().await
    {
        tracing::warn!(%error, "the keys that were used last can't be remembered; each is looked up when it comes");
    }
    // At once: so others know from the beginning that this node is to be waited for.
    while let Some(inner) = gate.upgrade() {
        Gate(inner).write_usage().await;
        tokio::time::sleep(Duration::from_secs(usage::WRITE_EVERY_S)).await;
    }
}

/// The user agent, cut on a character's boundary; header values that are no text are left out. It is stored and shown, so
/// a secret key that a program put into it by mistake is not taken.
fn user_agent(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::USER_AGENT)?.to_str().ok()?;
    if credentials::in_text(text.as_bytes()).next().is_some() {
        return Some("(held a secret key)");
    }
    Some(text.char_indices().nth(USER_AGENT_CHARS_MAX).map_or(text, |(end, _)| &text[..end]))
}

fn no_answer(NoAnswer(why): NoAnswer) -> Problem {
    unavailable(&why)
}

fn unavailable(why: &str) -> Problem {
    Problem::new(Code::Unavailable, "Whether the key may pass can't be decided at present, so nobody is let in.")
        .retry_after(RETRY_AFTER_S)
        .caused_by(why)
}
