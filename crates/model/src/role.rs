//! What a user may do in a tenant.

use crate::word::words;

words! {
    /// A user's role. Later ones may do more.
    Role "a role" {
        /// Sees.
        Viewer "viewer";
        /// Works with envelopes.
        User "user";
        /// Manages keys and people too.
        Admin "admin";
        /// Everything; exactly one in each tenant.
        Owner "owner";
    }
}

impl Role {
    /// Whether it may generate, change and revoke API keys, and be a key's administrator.
    pub fn manages_keys(self) -> bool {
        self >= Self::Admin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_owner_and_admin_manage_keys() {
        let managing: Vec<_> = Role::ALL.iter().filter(|role| role.manages_keys()).map(|role| role.as_str()).collect();
        assert_eq!(managing, ["admin", "owner"]);
        assert_eq!(
            "Owner".parse::<Role>().map_err(|e| e.to_string()),
            Err("a role is one of viewer, user, admin, owner".to_owned())
        );
    }
}
