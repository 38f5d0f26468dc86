//! A pass: who was let in, and the right to change something only while the same decision still holds.

use model::caller::Who;
use model::{Caller, EnvScope, Problem, RecipientId};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use store::Tx;

use crate::decide::Rule;
use crate::fence::{Admitted, fence, fence_key};
use crate::limits::Allowance;
use crate::memory::Entry;
use secret::Digest;

/// Who was let in.
#[derive(Clone)]
pub struct Pass {
    caller: Caller,
    basis: Basis,
}

#[derive(Clone)]
enum Basis {
    /// A key that the gate admitted.
    Admitted { rule: Rule, entry: Arc<Entry>, digest: Digest, allowance: Allowance, latest: Arc<AtomicI64> },
    /// Someone for whom the server itself answers.
    Vouched,
}

impl Pass {
    pub(crate) fn admitted(
        caller: Caller,
        rule: Rule,
        entry: Arc<Entry>,
        digest: Digest,
        allowance: Allowance,
        latest: Arc<AtomicI64>,
    ) -> Pass {
        Pass { caller, basis: Basis::Admitted { rule, entry, digest, allowance, latest } }
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

    /// A caller for whom the server itself answers. A key among them is what goes on later for it, such as a batch's
    /// rows: each of its transactions is fenced by the key as it stands then.
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

    /// What is left of the key's limit.
    pub fn allowance(&self) -> Option<Allowance> {
        match &self.basis {
            Basis::Admitted { allowance, .. } => Some(*allowance),
            Basis::Vouched => None,
        }
    }

    /// The first thing in the transaction of every change that this caller causes: it holds off whoever would take the
    /// right away until the transaction ends, and checks that nobody has.
    pub async fn fence(&self, tx: &mut Tx) -> Result<(), Problem> {
        match (self.key(), &self.caller.who) {
            (Some(admitted), _) => fence(tx, &admitted).await,
            (None, Who::Key { key, .. }) => fence_key(tx, *key, Rule::AnyKey).await,
            (None, _) => Ok(()),
        }
    }

    pub(crate) fn key(&self) -> Option<Admitted<'_>> {
        match &self.basis {
            Basis::Admitted { rule, entry, digest, latest, .. } => {
                Some(Admitted { known: &entry.known, digest, address: self.caller.address, rule: *rule, latest })
            }
            Basis::Vouched => None,
        }
    }
}

impl std::fmt::Debug for Pass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pass").field("caller", &self.caller).finish_non_exhaustive()
    }
}
