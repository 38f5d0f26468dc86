//! The audit log: who did what, from where, before and after, in a chain of its own for each tenant.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::caller::Actor;
use crate::event::{Hash, canonical};
use crate::{AuditId, Environment, TenantId, Timestamp};

/// What is to be written: the caller, the time and the place in the chain are added by the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What was done, as `key.created`.
    pub action: &'static str,
    /// To what: an id.
    pub object: String,
    /// How it was.
    pub before: Option<Value>,
    /// How it is now.
    pub after: Option<Value>,
}

impl Entry {
    /// Something new.
    pub fn created(action: &'static str, object: impl ToString, after: Value) -> Self {
        Self { action, object: object.to_string(), before: None, after: Some(after) }
    }

    /// A change.
    pub fn changed(action: &'static str, object: impl ToString, before: Value, after: Value) -> Self {
        Self { action, object: object.to_string(), before: Some(before), after: Some(after) }
    }

    /// Whether it is the whole tenant's: tenants and users are in no environment.
    pub fn is_tenant_wide(&self) -> bool {
        ["ten_", "usr_"].iter().any(|prefix| self.object.starts_with(prefix))
    }
}

/// An entry as it stands in the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its id.
    pub id: AuditId,
    /// Its number, dense per tenant, from 1.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// Where; none for what is the whole tenant's.
    pub environment: Option<Environment>,
    /// Who.
    pub actor: Actor,
    /// From where.
    pub address: Option<String>,
    /// With which request.
    pub request_id: Option<String>,
    /// What was done.
    pub action: String,
    /// To what.
    pub object: String,
    /// How it was.
    pub before: Option<Value>,
    /// How it is now.
    pub after: Option<Value>,
}

/// Where a tenant's chain begins: SHA-256 of its id.
pub fn chain_start(tenant: TenantId) -> Hash {
    Sha256::digest(tenant.to_string().as_bytes()).into()
}

/// The next link: SHA-256(previous ‖ RFC 8785 JSON of the entry).
pub fn chain(previous: &Hash, record: &Record) -> Hash {
    let whole = json!({
        "id": record.id,
        "seq": record.seq,
        "at": record.at,
        "environment": record.environment,
        "actor": record.actor,
        "address": record.address,
        "request_id": record.request_id,
        "action": record.action,
        "object": record.object,
        "before": record.before,
        "after": record.after,
    });
    Sha256::new().chain_update(previous).chain_update(canonical(&whole)).finalize().into()
}

/// Why a chain does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A number is missing or comes twice.
    #[error("entry {found} stands where {expected} belongs: something was removed or added")]
    Gap {
        /// The number that belongs there.
        expected: i64,
        /// The number that stands there.
        found: i64,
    },
    /// An entry was changed after it was written.
    #[error("entry {0} does not fit its hash: it was changed after it was written")]
    Changed(i64),
}

/// Checks that `records`, with their hashes, follow on `(seq, hash)`; gives back the new end.
pub fn verify<'a>(
    (mut seq, mut hash): (i64, Hash),
    records: impl IntoIterator<Item = (&'a Record, &'a Hash)>,
) -> Result<(i64, Hash), Broken> {
    for (record, written) in records {
        if record.seq != seq + 1 {
            return Err(Broken::Gap { expected: seq + 1, found: record.seq });
        }
        (seq, hash) = (record.seq, chain(&hash, record));
        if hash != *written {
            return Err(Broken::Changed(seq));
        }
    }
    Ok((seq, hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn record(seq: i64) -> Record {
        Record {
            id: AuditId::from_uuid(Uuid::from_u128(7)),
            seq,
            at: Timestamp::from_millis(1_764_100_882_007),
            environment: None,
            actor: Actor::Operator,
            address: None,
            request_id: None,
            action: "tenant.created".to_owned(),
            object: "ten_1".to_owned(),
            before: None,
            after: Some(json!({"tier": "free"})),
        }
    }

    #[test]
    fn a_changed_removed_or_added_entry_breaks_the_chain() {
        let start = (0, chain_start(TenantId::from_uuid(Uuid::from_u128(1))));
        let mut log: Vec<(Record, Hash)> = Vec::new();
        for seq in 1..=4 {
            let hash = chain(&log.last().map_or(start.1, |last| last.1), &record(seq));
            log.push((record(seq), hash));
        }
        let check = |log: &[(Record, Hash)]| verify(start, log.iter().map(|(record, hash)| (record, hash)));
        assert_eq!(check(&log), Ok((4, log[3].1)));
        let mut changed = log.clone();
        changed[1].0.after = Some(json!({"tier": "enterprise"}));
        assert_eq!(check(&changed), Err(Broken::Changed(2)));
        let mut removed = log.clone();
        removed.remove(2);
        assert_eq!(check(&removed), Err(Broken::Gap { expected: 3, found: 4 }));
        let mut renumbered = removed;
        renumbered[2].0.seq = 3;
        assert_eq!(check(&renumbered), Err(Broken::Changed(3)));
    }
}
