//! A pass: who was let in, and the right to change something only while the same decision still holds.

use model::caller::Who;
use model::key::SecretStatus;
use model::time::DAY_MS;
use model::{Caller, EnvScope, Problem, RecipientId, Timestamp};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use store::Tx;
use store::gate::{Known, KnownSecret};

use crate::decide::Rule;
use crate::fence::{Admitted, fence};
use crate::limits::Left;
use crate::memory::Entry;
use secret::Digest;

/// How long before a key's end each answer says so.
const EXPIRY_TOLD_MS: i64 = 14 * DAY_MS;

/// What of a caller's own key ends soon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Endings {
    /// It came with a rotation's old secret, which ends then; none: when nothing uses it any more.
    pub old_secret: Option<Option<Timestamp>>,
    /// The key's own end, from 14 days before.
    pub key: Option<Timestamp>,
}

impl Endings {
    pub(crate) fn of(known: &Known, secret: &KnownSecret, now: Timestamp) -> Endings {
        let old_secret = (secret.status == SecretStatus::Ending).then_some(secret.ends_at);
        let end = [known.expires_at, secret.too_old_at].into_iter().flatten().min();
        Endings { old_secret, key: end.filter(|end| *end <= now.plus(EXPIRY_TOLD_MS)) }
    }
}

/// Who was let in.
#[derive(Clone)]
pub struct Pass {
    caller: Caller,
    basis: Basis,
}

#[derive(Clone)]
enum Basis {
    /// A key that the gate admitted.
    Admitted(Admission),
    /// Someone for whom the server itself answers.
    Vouched,
}

/// What admission found.
#[derive(Clone)]
pub(crate) struct Admission {
    pub(crate) rule: Rule,
    pub(crate) route: &'static str,
    pub(crate) entry: Arc<Entry>,
    pub(crate) digest: Digest,
    pub(crate) left: Left,
    /// The database's time at which it was decided.
    pub(crate) at: Timestamp,
    pub(crate) latest: Arc<AtomicI64>,
}

impl Pass {
    pub(crate) fn admitted(caller: Caller, admission: Admission) -> Pass {
        Pass { caller, basis: Basis::Admitted(admission) }
    }

    /// The server itself, acting in `scope`: a job.
    pub fn system(scope: EnvScope) -> Pass {
        Pass::vouched(Caller::system(scope))
    }

    /// The operator, through the server's Unix socket.
    pub fn operator(scope: EnvScope) -> Pass {
        Pass::vouched(Caller::operator(scope))
    }

    /// A recipient in the signing room, whose link or session was checked.
    pub fn recipient(
        scope: EnvScope,
        recipient: RecipientId,
        address: Option<IpAddr>,
        user_agent: Option<String>,
        request_id: Option<String>,
    ) -> Pass {
        Pass::vouched(Caller { who: Who::Recipient { recipient }, scope, address, user_agent, request_id })
    }

    /// A caller for whom the server itself answers: never a key. What goes on later for one is fenced by
    /// [`Gate::fence_key`](crate::Gate::fence_key).
    pub fn vouched(caller: Caller) -> Pass {
        Pass { caller, basis: Basis::Vouched }
    }

    /// Who asks.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whose and where.
    pub fn scope(&self) -> EnvScope {
        self.caller.scope
    }

    /// What is left of the limits.
    pub fn left(&self) -> Option<Left> {
        match &self.basis {
            Basis::Admitted(admission) => Some(admission.left),
            Basis::Vouched => None,
        }
    }

    /// The pieces of an answer to this secret that [`keep`](Self::keep) kept, while all that the gate reads is as it was.
    pub fn kept(&self, now: Timestamp) -> Option<Arc<[String]>> {
        match (&self.basis, &self.caller.who) {
            (Basis::Admitted(admission), Who::Key { secret, .. }) => admission.entry.kept(*secret, now),
            _ => None,
        }
    }

    /// Keeps the pieces of an answer that was made, after admission, of what the gate reads and nothing else: the key, its
    /// secrets, its administrator and its tenant.
    pub fn keep(&self, now: Timestamp, pieces: Arc<[String]>) {
        if let (Basis::Admitted(admission), Who::Key { secret, .. }) = (&self.basis, &self.caller.who) {
            admission.entry.keep(*secret, now, pieces);
        }
    }

    /// Whether it came with the new secret of a rotation, which nobody had used when it was admitted.
    pub fn is_first_use(&self) -> bool {
        self.presented().is_some_and(|(_, secret)| secret.status == SecretStatus::Pending)
    }

    /// What its answer has to say of the key's near end.
    pub fn endings(&self) -> Endings {
        let Some((known, secret)) = self.presented() else { return Endings::default() };
        Endings::of(known, secret, self.latest())
    }

    /// The secret that it came with, and its key.
    fn presented(&self) -> Option<(&Known, &KnownSecret)> {
        let (Basis::Admitted(Admission { entry, .. }), Who::Key { secret, .. }) = (&self.basis, &self.caller.who)
        else {
            return None;
        };
        let known = &entry.known;
        known.secrets.iter().find(|it| it.id == *secret).map(|secret| (known, secret))
    }

    /// The latest time that this node saw.
    fn latest(&self) -> Timestamp {
        match &self.basis {
            Basis::Admitted(Admission { latest, .. }) => Timestamp::from_millis(latest.load(Ordering::Relaxed)),
            Basis::Vouched => Timestamp::from_millis(0),
        }
    }

    /// The first thing in the transaction of every change that this caller causes: it holds off whoever would take the
    /// right away until the transaction ends, and checks that nobody has.
    pub async fn fence(&self, tx: &mut Tx) -> Result<(), Problem> {
        match (self.key(), &self.caller.who) {
            (Some(admitted), _) => fence(tx, &admitted).await,
            (None, Who::Key { .. }) => Err(Problem::fault("a key is admitted by the gate, and vouched for by nobody")),
            (None, _) => Ok(()),
        }
    }

    pub(crate) fn key(&self) -> Option<Admitted<'_>> {
        match &self.basis {
            Basis::Admitted(admission) => Some(Admitted {
                known: &admission.entry.known,
                digest: &admission.digest,
                address: self.caller.address,
                rule: admission.rule,
                latest: &admission.latest,
            }),
            Basis::Vouched => None,
        }
    }

    pub(crate) fn admission(&self) -> Option<&Admission> {
        match &self.basis {
            Basis::Admitted(admission) => Some(admission),
            Basis::Vouched => None,
        }
    }
}

impl std::fmt::Debug for Pass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pass").field("caller", &self.caller).finish_non_exhaustive()
    }
}
