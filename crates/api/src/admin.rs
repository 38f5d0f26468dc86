//! What `iusign admin` sends through the server's Unix socket, and what comes back.

use serde::{Deserialize, Serialize};

use crate::tenant::ChangeTenant;
use crate::user::{Tenant, UpdateUser, User};

/// `POST /keys/revoke`; the answer is a [`crate::key::Receipt`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeKey {
    /// Its id.
    pub key: String,
    /// `manual` (left out) or `compromised`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// For the audit log.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// The answer to `POST /tenants/list`, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenants {
    /// They.
    pub tenants: Vec<Tenant>,
}

/// `POST /tenants/add`; the answer is the tenant. Its owner has no password until a session needs one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddTenant {
    /// Its name.
    pub name: String,
    /// `free`, `standard` or `enterprise`.
    pub tier: String,
    /// The owner's address.
    pub owner_email: String,
    /// The owner's name.
    pub owner_name: String,
}

/// `POST /keys/create`; the answer is a [`crate::key::CreatedKey`]. The key gets the rights of the tenant's owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    /// Of which tenant; left out: the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// `development`, `staging` or `production`.
    pub environment: String,
    /// Its name for people.
    pub label: String,
    /// Its scopes; left out: all that its administrator may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// From where it may call; needs the tier `enterprise`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowlist: Option<Vec<String>>,
    /// Until when: RFC 3339 with an offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// `POST /tenants/set-tier`; the answer is the tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetTier {
    /// Which tenant; left out: the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// `free`, `standard` or `enterprise`.
    pub tier: String,
}

/// `POST /tenants/suspend`, `/tenants/resume`: the answer is the tenant; `/users/list`: its users.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneTenant {
    /// Which tenant; left out: the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

/// The answer to `POST /users/list`, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Users {
    /// They.
    pub users: Vec<User>,
}

/// `POST /users/add`; the answer is the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddUser {
    /// To which tenant; left out: the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The address to log in with.
    pub email: String,
    /// The name.
    pub name: String,
    /// `admin`, `user` or `viewer`.
    pub role: String,
}

/// `POST /tenants/update`; the answer is the tenant, whole ([`crate::tenant::TenantDetails`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateTenant {
    /// Which tenant; left out: the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// What is to be changed.
    pub change: ChangeTenant,
}

/// `POST /users/update`; the answer is the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeUser {
    /// Of which tenant; left out: the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The user's id or address.
    pub user: String,
    /// What is to be changed.
    pub change: UpdateUser,
}

/// The answer to `POST /notices/list`, the newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notices {
    /// They.
    pub notices: Vec<Notice>,
}

/// A mail to a user. An invitation's text holds its link, which is the invited person's alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Its id.
    pub id: String,
    /// Where what it is about lives; null: it is the whole tenant's.
    pub environment: Option<String>,
    /// To which user.
    pub user: String,
    /// To which address.
    pub to: String,
    /// `invited`, `key_made`, `key_expiring` and so on.
    pub purpose: String,
    /// `queued`, `captured`, `accepted`, `bounced` or `failed`.
    pub state: String,
    /// Since when.
    pub state_at: String,
    /// The mail server's words.
    pub detail: String,
    /// When it was asked for.
    pub created_at: String,
    /// Its subject; empty where it says nothing any more, such as an invitation that was answered.
    pub subject: String,
    /// Its text.
    pub text: String,
}

/// The answer to `POST /audit/verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditChecked {
    /// Which tenant's log.
    pub tenant: String,
    /// Whether every entry is as it was written, and none is missing.
    pub holds: bool,
    /// How many entries hold.
    pub entries: Option<i64>,
    /// What doesn't.
    pub fault: Option<String>,
}
