//! Who the calling key is, on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{key::Key, user::Tenant, user::User};

/// Who the calling key is, what it may do, and from where it was seen to call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Me {
    /// The key.
    pub key: Key,
    /// Whose it is.
    pub tenant: Tenant,
    /// The user whose rights it has.
    pub administrator: User,
    /// The address that this call was seen to come from: the one that allowlists are asked about.
    #[schema(example = "192.0.2.7")]
    pub address: Option<String>,
}
