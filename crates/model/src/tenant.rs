//! The organization that owns keys, users and envelopes: its tier and its status.

use crate::allowlist::Mode;
use crate::policy::Policies;
pub use crate::tier::Tier;
use crate::word::{line_fault, words};
use crate::{Allowlist, BodyError, Problem, TenantId, Timestamp};

/// Characters of a tenant's name at most.
pub const TENANT_NAME_CHARS_MAX: usize = 200;

words! {
    /// Whether the tenant may use the server.
    TenantStatus "a tenant's status" {
        /// It may.
        Active "active";
        /// Its keys and users are refused; what it sent stays.
        Suspended "suspended";
    }
}

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its name, shown to recipients.
    pub name: String,
    /// Its subscription.
    pub tier: Tier,
    /// Whether it may use the server.
    pub status: TenantStatus,
    /// From where its keys may call; beside each key's own list.
    pub allowlist: Allowlist,
    /// What becomes of a call from elsewhere.
    pub allowlist_mode: Mode,
    /// How its keys are held.
    pub policies: Policies,
    /// When it was created.
    pub created_at: Timestamp,
    /// Counts its changes.
    pub version: u64,
}

impl Tenant {
    /// A new, active tenant.
    pub fn create(id: TenantId, name: &str, tier: Tier, now: Timestamp) -> Result<Self, Problem> {
        if let Some((code, why)) = line_fault(name, TENANT_NAME_CHARS_MAX) {
            return Err(Problem::body(vec![BodyError::new("/name", code, format!("The tenant's name {why}."))]));
        }
        Ok(Self {
            id,
            name: name.trim().to_owned(),
            tier,
            status: TenantStatus::Active,
            allowlist: Allowlist::default(),
            allowlist_mode: Mode::Enforce,
            policies: Policies::default(),
            created_at: now,
            version: 1,
        })
    }
}
