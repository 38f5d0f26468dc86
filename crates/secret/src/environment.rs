//! The environment: every key and every envelope lives in exactly one, and none sees another's.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Where a key and what it makes live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// For building: nothing binds anyone.
    Development,
    /// For trying: nothing binds anyone.
    Staging,
    /// For contracts.
    Production,
}

impl Environment {
    /// All of them, in order.
    pub const ALL: [Environment; 3] = [Self::Development, Self::Staging, Self::Production];

    /// Its name, as in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Staging => "staging",
            Self::Production => "production",
        }
    }

    /// Its short name, as in a secret key.
    pub fn short(self) -> &'static str {
        match self {
            Self::Development => "dev",
            Self::Staging => "stg",
            Self::Production => "prod",
        }
    }

    /// Whether what is signed here binds people; elsewhere every page and file says TEST.
    pub fn binds(self) -> bool {
        self == Self::Production
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Not one of the three names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an environment is development, staging or production")]
pub struct UnknownEnvironment;

impl FromStr for Environment {
    type Err = UnknownEnvironment;

    fn from_str(text: &str) -> Result<Self, UnknownEnvironment> {
        Self::ALL.into_iter().find(|environment| environment.as_str() == text).ok_or(UnknownEnvironment)
    }
}
