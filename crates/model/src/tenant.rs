//! The organization that owns keys, users and envelopes: its tier and its status.

use std::net::IpAddr;

use crate::allowlist::{self, Mode};
use crate::policy::{Policies, PolicyChange};
pub use crate::tier::Tier;
use crate::word::{line_fault, words};
use crate::{Allowlist, BodyError, Code, Problem, Role, TenantId, Timestamp};

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
        let name = read_name(name).map_err(|fault| Problem::body(vec![fault]))?;
        Ok(Self {
            id,
            name,
            tier,
            status: TenantStatus::Active,
            allowlist: Allowlist::default(),
            allowlist_mode: Mode::Enforce,
            policies: Policies::default(),
            created_at: now,
            version: 1,
        })
    }

    /// The tenant with this change, made by somebody with the role `by` (none: the operator).
    pub fn changed(self, change: &TenantChange, by: Option<Role>) -> Result<Self, Problem> {
        let mut errors = Vec::new();
        let mut tenant = self.clone();
        match change.name.as_deref().map(read_name) {
            Some(Ok(name)) => tenant.name = name,
            Some(Err(fault)) => errors.push(fault),
            None => {}
        }
        match change.allowlist.as_deref().map(|entries| Allowlist::parse(entries, "/allowlist")) {
            Some(Ok(list)) => tenant.allowlist = list,
            Some(Err(faults)) => errors.extend(faults),
            None => {}
        }
        match change.allowlist_mode.as_deref().map(str::parse::<Mode>) {
            Some(Ok(mode)) => tenant.allowlist_mode = mode,
            Some(Err(_)) => {
                let detail = "An allowlist's mode is enforce or observe.";
                errors.push(BodyError::new("/allowlist_mode", "invalid_value", detail));
            }
            None => {}
        }
        match tenant.policies.changed(&change.policies, "/policies") {
            Ok(policies) => tenant.policies = policies,
            Err(faults) => errors.extend(faults),
        }
        if !errors.is_empty() {
            return Err(Problem::body(errors));
        }
        let says_who = tenant.policies.keys_may_manage_identity != self.policies.keys_may_manage_identity;
        if says_who && by.is_some_and(|by| by != Role::Owner) {
            let detail = "Whether keys may manage identity is said by the owner alone.";
            return Err(Problem::new(Code::RoleRequired, detail));
        }
        let was = (&self.allowlist, self.allowlist_mode);
        allowlist::require_tier(tenant.tier, was, (&tenant.allowlist, tenant.allowlist_mode))?;
        Ok(tenant)
    }

    /// The faults of a change to this tenant by which who makes it would lock itself out, unless that is confirmed: its
    /// address, and where it is a key its right to manage identity.
    pub fn require_reach(&self, before: &Tenant, address: Option<IpAddr>, is_key: bool) -> Result<(), Problem> {
        let mut errors = Vec::new();
        let is_new = (&self.allowlist, self.allowlist_mode) != (&before.allowlist, before.allowlist_mode);
        if let Some(address) = address
            .filter(|address| is_new && self.allowlist_mode == Mode::Enforce && !self.allowlist.contains(*address))
        {
            let detail = format!(
                "Your own address, {}, is not on this allowlist. Add it, or send `confirm: true` if that is meant.",
                address.to_canonical()
            );
            errors.push(BodyError::new("/allowlist", "locks_out_caller", detail));
        }
        if is_key && !self.policies.keys_may_manage_identity {
            let detail = "No key can undo this, only a session or the operator. Send `confirm: true` if that is meant.";
            errors.push(BodyError::new("/policies/keys_may_manage_identity", "locks_out_caller", detail));
        }
        if errors.is_empty() { Ok(()) } else { Err(Problem::body(errors)) }
    }
}

/// A change of a tenant, as it was asked for: what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantChange {
    /// The name.
    pub name: Option<String>,
    /// From where its keys may call.
    pub allowlist: Option<Vec<String>>,
    /// What becomes of a call from elsewhere.
    pub allowlist_mode: Option<String>,
    /// How its keys are held.
    pub policies: PolicyChange,
    /// It may lock out who makes it.
    pub confirm: bool,
}

fn read_name(name: &str) -> Result<String, BodyError> {
    match line_fault(name, TENANT_NAME_CHARS_MAX) {
        Some((code, why)) => Err(BodyError::new("/name", code, format!("The tenant's name {why}."))),
        None => Ok(name.trim().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn tenant() -> Tenant {
        let id = TenantId::from_uuid(Uuid::from_u128(1));
        Tenant::create(id, "Kestrel", Tier::Enterprise, Timestamp::from_millis(0)).expect("a tenant")
    }

    #[test]
    fn a_change_names_every_fault_and_leaves_the_rest() {
        let entries = |list: &[&str]| Some(list.iter().map(|entry| (*entry).to_owned()).collect());
        let name = Some(" Kestrel Ltd ".to_owned());
        let change = TenantChange { name, allowlist: entries(&["10.0.0.0/8"]), ..TenantChange::default() };
        let changed = tenant().changed(&change, Some(Role::Admin)).expect("changed");
        assert_eq!(
            (changed.name.as_str(), changed.allowlist.entries()),
            ("Kestrel Ltd", vec!["10.0.0.0/8".to_owned()])
        );
        assert_eq!((changed.tier, changed.policies), (Tier::Enterprise, Policies::default()));
        let mut change = TenantChange {
            name: Some(String::new()),
            allowlist: entries(&["10.0.0.5/8"]),
            allowlist_mode: Some("off".to_owned()),
            ..TenantChange::default()
        };
        change.policies.idle_key_days = Some(Some(0));
        let faults = tenant().changed(&change, None).expect_err("four faults").errors;
        let at: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(at, ["/name", "/allowlist/0", "/allowlist_mode", "/policies/idle_key_days"]);
    }

    #[test]
    fn the_owner_alone_says_whether_keys_manage_identity_and_nobody_locks_themselves_out_unasked() {
        let mut change = TenantChange::default();
        change.policies.keys_may_manage_identity = Some(false);
        for (by, want) in [(Some(Role::Admin), Err(Code::RoleRequired)), (Some(Role::Owner), Ok(())), (None, Ok(()))] {
            assert_eq!(tenant().changed(&change, by).map(|_| ()).map_err(|problem| problem.code), want);
        }
        change.policies.keys_may_manage_identity = Some(true);
        assert!(tenant().changed(&change, Some(Role::Admin)).is_ok(), "it is so already");
        change.policies.keys_may_manage_identity = Some(false);
        change.allowlist = Some(vec!["10.0.0.0/8".to_owned()]);
        let changed = tenant().changed(&change, None).expect("changed");
        let here = Some(IpAddr::from([192, 0, 2, 1]));
        let faults = changed.require_reach(&tenant(), here, true).expect_err("two faults").errors;
        let at: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(at, ["/allowlist", "/policies/keys_may_manage_identity"]);
        assert!(changed.require_reach(&tenant(), Some(IpAddr::from([10, 1, 2, 3])), false).is_ok());
        assert!(changed.require_reach(&changed, here, false).is_ok(), "the list is as it was");
    }

    #[test]
    fn after_a_lower_tier_a_list_is_only_narrowed() {
        let list = |entry: &str| TenantChange { allowlist: Some(vec![entry.to_owned()]), ..TenantChange::default() };
        let held = tenant().changed(&list("10.0.0.0/8"), None).expect("enterprise");
        let lowered = Tenant { tier: Tier::Standard, ..held };
        assert!(lowered.clone().changed(&list("10.1.0.0/16"), None).is_ok());
        assert_eq!(lowered.changed(&list("192.0.2.0/24"), None).expect_err("wider").code, Code::TierRequired);
    }
}
