//! Who asks: a key, a user, a recipient in the signing room, or the system.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{EnvScope, KeyId, RecipientId, SecretId, TenantScope, UserId, scope::Scopes};

/// Who asks, as the gate found out, and from where.
#[derive(Clone, Debug, PartialEq)]
pub struct Caller {
    /// Who.
    pub who: Who,
    /// Whose and where.
    pub scope: EnvScope,
    /// The address that was seen; none for the system.
    pub address: Option<IpAddr>,
    /// The user agent, cut to 256 characters.
    pub user_agent: Option<String>,
    /// The request that it asks with.
    pub request_id: Option<String>,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Who {
    /// A program with an API key.
    Key {
        /// The key.
        key: KeyId,
        /// Its label, for people.
        label: String,
        /// Which of its secrets.
        secret: SecretId,
        /// Whose rights it has.
        administrator: UserId,
        /// What it may do.
        scopes: Scopes,
    },
    /// A user in a session, or the operator acting for one.
    User {
        /// The user.
        user: UserId,
    },
    /// A recipient in the signing room.
    Recipient {
        /// The recipient.
        recipient: RecipientId,
    },
    /// The server itself: a job.
    System,
    /// The operator, through the server's Unix socket.
    Operator,
}

impl Caller {
    /// The server itself, acting in `scope`.
    pub fn system(scope: EnvScope) -> Self {
        Self { who: Who::System, scope, address: None, user_agent: None, request_id: None }
    }

    /// The operator, acting in `scope`.
    pub fn operator(scope: EnvScope) -> Self {
        Self { who: Who::Operator, ..Self::system(scope) }
    }

    /// Its tenant.
    pub fn tenant_scope(&self) -> TenantScope {
        self.scope.tenant_scope()
    }

    /// Itself as events and the audit log name it.
    pub fn actor(&self) -> Actor {
        match &self.who {
            Who::Key { key, label, .. } => Actor::Key { id: *key, label: label.clone() },
            Who::User { user } => Actor::User { id: *user },
            Who::Recipient { recipient } => Actor::Recipient { id: *recipient },
            Who::System => Actor::System,
            Who::Operator => Actor::Operator,
        }
    }
}

/// Who did it, as stored and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Actor {
    /// A user.
    User {
        /// Which.
        id: UserId,
    },
    /// An API key.
    Key {
        /// Which.
        id: KeyId,
        /// Its label then.
        label: String,
    },
    /// A recipient.
    Recipient {
        /// Which.
        id: RecipientId,
    },
    /// The server itself.
    System,
    /// The operator.
    Operator,
}
