//! The organization that owns keys, users and envelopes: its tier and its status.

use crate::word::{line_fault, words};
use crate::{Allowlist, BodyError, Code, Problem, TenantId, Timestamp};

/// Characters of a tenant's name at most.
pub const TENANT_NAME_CHARS_MAX: usize = 200;

words! {
    /// The tenant's subscription. Later ones include earlier ones.
    Tier "a tier" {
        /// The signing room and the dashboard; no API.
        Free "free";
        /// The API.
        Standard "standard";
        /// IP allowlists too.
        Enterprise "enterprise";
    }
}

impl Tier {
    /// The lowest tier with an API.
    pub const API: Tier = Tier::Standard;
    /// The lowest tier with IP allowlists.
    pub const ALLOWLISTS: Tier = Tier::Enterprise;

    /// Refuses a tier below `needed`; `what` begins the sentence: "The API".
    pub fn require(self, needed: Tier, what: &str) -> Result<(), Problem> {
        if self >= needed {
            return Ok(());
        }
        let detail = format!("{what} needs the tier {needed} or above; this tenant's tier is {self}.");
        Err(Problem::new(Code::TierRequired, detail))
    }
}

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
            created_at: now,
            version: 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_needs_standard_and_allowlists_need_enterprise() {
        for (tier, api, allowlists) in
            [(Tier::Free, false, false), (Tier::Standard, true, false), (Tier::Enterprise, true, true)]
        {
            assert_eq!(tier.require(Tier::API, "The API").is_ok(), api, "{tier}");
            assert_eq!(tier.require(Tier::ALLOWLISTS, "An IP allowlist").is_ok(), allowlists, "{tier}");
        }
        let refusal = Tier::Free.require(Tier::API, "The API").expect_err("free has no API");
        assert_eq!(refusal.code, Code::TierRequired);
        assert_eq!(refusal.detail, "The API needs the tier standard or above; this tenant's tier is free.");
    }
}
