//! What a query may see (`EnvScope`, `TenantScope`) and what a key may do (`Right`, `Rights`).

use std::{collections::BTreeSet, fmt, str::FromStr};

use secret::Environment;
use serde::{Deserialize, Serialize};

use crate::TenantId;

/// One tenant's one environment: keys, envelopes and all that hangs on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EnvScope {
    /// Whose.
    pub tenant: TenantId,
    /// Where.
    pub environment: Environment,
}

impl EnvScope {
    /// The tenant alone.
    pub fn tenant_scope(self) -> TenantScope {
        TenantScope { tenant: self.tenant }
    }
}

/// One tenant: users, audit, settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantScope {
    /// Whose.
    pub tenant: TenantId,
}

macro_rules! scopes {
    ($($(#[$doc:meta])* $name:ident $text:literal $identity:literal;)*) => {
        /// One scope of a key, as `envelopes:write`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Scope { $($(#[$doc])* $name,)* }

        impl Scope {
            /// All of them.
            pub const ALL: &'static [Scope] = &[$(Scope::$name,)*];

            /// Its name in the API.
            pub fn as_str(self) -> &'static str {
                match self { $(Scope::$name => $text,)* }
            }

            /// Whether it touches identity (keys, people, allowlists, policies); the preset `workflows` has none of these.
            pub fn is_identity(self) -> bool {
                match self { $(Scope::$name => $identity,)* }
            }
        }
    };
}

scopes! {
    /// See envelopes and their assets' list.
    EnvelopesRead "envelopes:read" false;
    /// Create, send and void envelopes.
    EnvelopesWrite "envelopes:write" false;
    /// See documents.
    DocumentsRead "documents:read" false;
    /// Upload documents.
    DocumentsWrite "documents:write" false;
    /// See templates.
    TemplatesRead "templates:read" false;
    /// Create templates.
    TemplatesWrite "templates:write" false;
    /// See batches.
    BatchesRead "batches:read" false;
    /// Create and start batches.
    BatchesWrite "batches:write" false;
    /// Read the event log.
    EventsRead "events:read" false;
    /// Fetch assets.
    AssetsRead "assets:read" false;
    /// See keys.
    KeysRead "keys:read" true;
    /// Generate, change, rotate and revoke keys.
    KeysWrite "keys:write" true;
    /// Rotate the key itself, and no other.
    KeysRotateSelf "keys:rotate_self" true;
    /// See the tenant's users.
    TeamRead "team:read" true;
    /// Invite users, change their roles, suspend and remove them.
    TeamWrite "team:write" true;
    /// See the tenant's tier, allowlist and policies.
    TenantRead "tenant:read" true;
    /// Change the tenant's name, allowlist and policies.
    TenantWrite "tenant:write" true;
    /// Read the audit log.
    AuditRead "audit:read" true;
}

impl Scope {
    /// Whether it changes identity: what a key may not do where the tenant says `keys_may_manage_identity: false`.
    pub fn manages_identity(self) -> bool {
        self.is_identity() && !self.as_str().ends_with(":read")
    }

    /// Whether it changes what is the whole tenant's, in no environment: a key does that from production alone.
    pub fn manages_tenant(self) -> bool {
        matches!(self, Self::TeamWrite | Self::TenantWrite)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A scope that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no scope {0}")]
pub struct UnknownScope(pub String);

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Self::ALL
            .iter()
            .copied()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| UnknownScope(text.chars().take(64).collect()))
    }
}

/// What a key may do: everything its administrator may do in the API, or a set of scopes. Never empty: empty never means all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scopes {
    /// `["*"]`: the full permissions of the key's administrator.
    All,
    /// Just these.
    Some(BTreeSet<Scope>),
}

impl Scopes {
    /// The preset of everything that does not touch identity.
    pub fn workflows() -> Self {
        Self::Some(Scope::ALL.iter().copied().filter(|scope| !scope.is_identity()).collect())
    }

    /// Reads the API's list: `["*"]`, `["workflows"]` or scopes by name.
    pub fn parse(names: &[String]) -> Result<Self, ScopesError> {
        match names {
            [] => Err(ScopesError::Empty),
            [one] if one == "*" => Ok(Self::All),
            [one] if one == "workflows" => Ok(Self::workflows()),
            names => names
                .iter()
                .map(|name| name.parse().map_err(ScopesError::Unknown))
                .collect::<Result<BTreeSet<Scope>, _>>()
                .map(Self::Some),
        }
    }

    /// The API's list.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::All => vec!["*".to_owned()],
            Self::Some(scopes) => scopes.iter().map(ToString::to_string).collect(),
        }
    }

    /// Whether they cover `scope`.
    pub fn cover(&self, scope: Scope) -> bool {
        match self {
            Self::All => true,
            // Who may change any key may rotate its own.
            Self::Some(scopes) if scope == Scope::KeysRotateSelf && scopes.contains(&Scope::KeysWrite) => true,
            Self::Some(scopes) => scopes.contains(&scope),
        }
    }

    /// Whether all of `other` lies within these: what a key makes is within the key.
    pub fn contain(&self, other: &Scopes) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Some(_), Self::All) => false,
            (Self::Some(_), Self::Some(theirs)) => theirs.iter().all(|scope| self.cover(*scope)),
        }
    }
}

/// Why a list of scopes is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopesError {
    /// Nothing in it.
    #[error("the list is empty: name the scopes, or [\"*\"] for all that the administrator may do")]
    Empty,
    /// A name that does not exist.
    #[error("{0}")]
    Unknown(UnknownScope),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_never_means_all_and_unknown_is_named() {
        assert_eq!(Scopes::parse(&[]), Err(ScopesError::Empty));
        let unknown = Scopes::parse(&["envelopes:read".to_owned(), "everything".to_owned()]);
        assert_eq!(unknown.expect_err("unknown").to_string(), "there is no scope everything");
    }

    #[test]
    fn what_a_key_makes_is_within_the_key() {
        let workflows = Scopes::workflows();
        assert!(Scopes::All.contain(&workflows) && workflows.contain(&workflows));
        assert!(!workflows.contain(&Scopes::All));
        let [write, rotate] = [Scope::KeysWrite, Scope::KeysRotateSelf].map(|scope| Scopes::Some([scope].into()));
        assert!(write.contain(&rotate) && !rotate.contain(&write));
        assert!(!workflows.cover(Scope::KeysWrite) && workflows.cover(Scope::EnvelopesWrite));
    }

    #[test]
    fn to_see_identity_is_not_to_manage_it() {
        let managing: Vec<_> = Scope::ALL.iter().filter(|scope| scope.manages_identity()).map(|s| s.as_str()).collect();
        assert_eq!(managing, ["keys:write", "keys:rotate_self", "team:write", "tenant:write"]);
        assert!(Scope::ALL.iter().all(|scope| !scope.manages_tenant() || scope.manages_identity()));
    }
}
