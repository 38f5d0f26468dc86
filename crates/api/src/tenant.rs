//! The tenant on the wire: its policies, and what its tier allows.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::user::Tenant;

/// The tenant, whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TenantDetails {
    /// The tenant.
    #[serde(flatten)]
    pub tenant: Tenant,
    /// What its tier allows.
    pub allows: Allows,
    /// How its keys are held.
    pub policies: Policies,
}

/// What a tier allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Allows {
    /// Recipients read, sign and download what was sent.
    pub signing_room: bool,
    /// Users are invited, and have roles.
    pub users: bool,
    /// API keys are generated, and programs call with them.
    pub api: bool,
    /// A key and the tenant say from which addresses calls may come.
    pub allowlists: bool,
}

/// How a tenant's keys are held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Policies {
    /// Whether keys may change keys, users and the tenant; otherwise that takes a session.
    pub keys_may_manage_identity: bool,
    /// How old keys may become: `off`, `warn` or `enforce`, after so many days.
    pub key_max_age: ByEnvironment<AgeRule>,
    /// How often their secrets are rotated: `off`, `remind` or `enforce`, after so many days.
    pub key_rotation: ByEnvironment<AgeRule>,
    /// After how many days without use a key is pointed out; null: never.
    pub idle_key_days: Option<u32>,
    /// What happens to keys that turn up where they must not.
    pub leaks: LeakPolicy,
}

/// One for each environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ByEnvironment<T> {
    /// Development's.
    pub development: T,
    /// Staging's.
    pub staging: T,
    /// Production's.
    pub production: T,
}

/// A rule about age.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgeRule {
    /// What happens.
    #[schema(example = "enforce")]
    pub mode: String,
    /// After how many days, 1 to 3,650.
    #[schema(example = 90)]
    pub days: u32,
}

/// What happens to keys that turn up where they must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeakPolicy {
    /// A key that was reported as leaked is revoked at once.
    pub revoke: bool,
}

/// A change of the tenant: what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"name": "Kestrel Ltd", "policies": {"idle_key_days": 90}}))]
#[serde(deny_unknown_fields)]
pub struct ChangeTenant {
    /// Its name, 1 to 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "Kestrel Ltd")]
    pub name: Option<String>,
    /// From where its keys may call, beside each key's own list: addresses and CIDRs; empty: from everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = json!(["192.0.2.0/24"]))]
    pub allowlist: Option<Vec<String>>,
    /// What becomes of a call from elsewhere: `enforce` or `observe`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "observe")]
    pub allowlist_mode: Option<String>,
    /// Its policies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<ChangePolicies>,
    /// Needed where the change would lock out who makes it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub confirm: bool,
}

/// A change of policies: what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePolicies {
    /// Whether keys may change keys, users and the tenant; the owner alone changes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_may_manage_identity: Option<bool>,
    /// How old keys may become: `off`, `warn` or `enforce`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_max_age: Option<ChangeByEnvironment>,
    /// How often their secrets are rotated: `off`, `remind` or `enforce`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_rotation: Option<ChangeByEnvironment>,
    /// After how many days without use a key is pointed out, 1 to 3,650; null: never.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = Option<u32>, example = 90)]
    pub idle_key_days: Option<Option<u32>>,
    /// What happens to keys that turn up where they must not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaks: Option<ChangeLeakPolicy>,
}

/// A change of a rule about age, for each environment: what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeByEnvironment {
    /// Development's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub development: Option<ChangeAge>,
    /// Staging's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staging: Option<ChangeAge>,
    /// Production's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub production: Option<ChangeAge>,
}

/// A change of a rule about age: what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeAge {
    /// What happens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "enforce")]
    pub mode: Option<String>,
    /// After how many days, 1 to 3,650.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 90)]
    pub days: Option<u32>,
}

/// A change of what happens to keys that turn up where they must not: what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeLeakPolicy {
    /// A key that was reported as leaked is revoked at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoke: Option<bool>,
}

/// What was given, also where that is null; what was left out is the default, none.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u32>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_not_the_same_as_left_out() {
        let read = |text: &str| serde_json::from_str::<ChangePolicies>(text).map(|change| change.idle_key_days);
        assert_eq!(read("{}").expect("read"), None);
        assert_eq!(read(r#"{"idle_key_days": null}"#).expect("read"), Some(None));
        assert_eq!(read(r#"{"idle_key_days": 30}"#).expect("read"), Some(Some(30)));
        let never = ChangePolicies { idle_key_days: Some(None), ..ChangePolicies::default() };
        assert_eq!(serde_json::to_string(&never).expect("JSON"), r#"{"idle_key_days":null}"#);
    }
}
