//! A user of a tenant, and the rule that a tenant has exactly one owner.

use crate::word::{line_fault, words};
use crate::{BodyError, Code, Problem, Role, TenantId, TenantScope, Timestamp, UserId};

/// Characters of a user's name at most.
pub const USER_NAME_CHARS_MAX: usize = 200;
/// Characters of an e-mail address at most (RFC 5321, 4.5.3.1.3: a path of 256 with its brackets).
pub const EMAIL_CHARS_MAX: usize = 254;

words! {
    /// Whether a user may act.
    UserStatus "a user's status" {
        /// May act.
        Active "active";
        /// May not act until resumed; the keys that the user administers stand still too.
        Suspended "suspended";
        /// Gone for good.
        Removed "removed";
    }
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user's id.
    pub id: UserId,
    /// Whose.
    pub tenant: TenantId,
    /// The address to log in with, in small letters.
    pub email: String,
    /// The name.
    pub name: String,
    /// What the user may do.
    pub role: Role,
    /// Whether the user may act.
    pub status: UserStatus,
    /// When the user was added.
    pub created_at: Timestamp,
    /// Counts the changes.
    pub version: u64,
}

impl User {
    /// A new, active user.
    pub fn create(
        id: UserId,
        scope: TenantScope,
        (email, name): (&str, &str),
        role: Role,
        now: Timestamp,
    ) -> Result<Self, Problem> {
        let mut errors = Vec::new();
        let email = email_address(email).unwrap_or_else(|why| {
            errors.push(BodyError::new("/email", "invalid_email", why));
            String::new()
        });
        if let Some((code, why)) = line_fault(name, USER_NAME_CHARS_MAX) {
            errors.push(BodyError::new("/name", code, format!("The user's name {why}.")));
        }
        if !errors.is_empty() {
            return Err(Problem::body(errors));
        }
        let name = name.trim().to_owned();
        Ok(Self {
            id,
            tenant: scope.tenant,
            email,
            name,
            role,
            status: UserStatus::Active,
            created_at: now,
            version: 1,
        })
    }

    /// Refuses all but an active owner or admin: only they manage keys and are a key's administrator.
    pub fn require_key_manager(&self) -> Result<(), Problem> {
        if self.status == UserStatus::Active && self.role.manages_keys() {
            return Ok(());
        }
        let detail = match self.status {
            UserStatus::Active => {
                format!("API keys need an owner or admin; {} has the role {}.", self.email, self.role)
            }
            status => format!("API keys need an active owner or admin; {} is {status}.", self.email),
        };
        Err(Problem::new(Code::RoleRequired, detail))
    }

    /// The same user with another role; with `owner`, the present `owner` steps down to admin and comes back too.
    ///
    /// A tenant has exactly one owner: the owner's role changes only by making another user the owner.
    pub fn set_role(self, role: Role, owner: Option<User>) -> Result<(User, Option<User>), Problem> {
        if self.status == UserStatus::Removed {
            return Err(Problem::new(Code::Conflict, format!("{} was removed and has no role.", self.email)));
        }
        if self.role == role {
            return Ok((self, None));
        }
        if self.role == Role::Owner {
            let detail = format!(
                "{} is the owner, and a tenant has exactly one: make another user the owner, and this one becomes an admin.",
                self.email
            );
            return Err(Problem::new(Code::Conflict, detail));
        }
        if role == Role::Owner && self.status != UserStatus::Active {
            let detail = format!("{} is {} and can't become the owner.", self.email, self.status);
            return Err(Problem::new(Code::Conflict, detail));
        }
        let stepping_down = owner.filter(|_| role == Role::Owner).map(|owner| User { role: Role::Admin, ..owner });
        Ok((User { role, ..self }, stepping_down))
    }

    /// The same user, suspended. Suspending twice changes nothing.
    pub fn suspend(self) -> Result<User, Problem> {
        self.with_status(UserStatus::Suspended)
    }

    /// The same user, active again.
    pub fn resume(self) -> Result<User, Problem> {
        self.with_status(UserStatus::Active)
    }

    fn with_status(self, status: UserStatus) -> Result<User, Problem> {
        if self.status == UserStatus::Removed {
            return Err(Problem::new(Code::Conflict, format!("{} was removed for good.", self.email)));
        }
        Ok(User { status, ..self })
    }
}

/// Reads an e-mail address as it is used to log in: trimmed, in small letters. Strict enough to catch slips, no
/// stricter: whether it exists, only a mail can tell.
pub fn email_address(text: &str) -> Result<String, String> {
    let text = text.trim().to_lowercase();
    let plain = text.chars().all(|c| !c.is_control() && !c.is_whitespace() && !"<>,;:\"()[]\\".contains(c));
    let parts = text.rsplit_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && !local.contains('@') && domain.split('.').all(|label| !label.is_empty())
    });
    if text.len() > EMAIL_CHARS_MAX {
        Err(format!("The e-mail address has more than {EMAIL_CHARS_MAX} characters."))
    } else if plain && parts {
        Ok(text)
    } else {
        Err("The e-mail address can't be one: write it as name@example.com.".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn user(number: u128, role: Role) -> User {
        let scope = TenantScope { tenant: TenantId::from_uuid(Uuid::from_u128(1)) };
        let email = format!("u{number}@example.com");
        User::create(UserId::from_uuid(Uuid::from_u128(number)), scope, (&email, "U"), role, Timestamp::from_millis(0))
            .expect("a user")
    }

    #[test]
    fn a_tenant_keeps_exactly_one_owner() {
        let (owner, admin) = (user(1, Role::Owner), user(2, Role::Admin));
        assert_eq!(
            owner.clone().set_role(Role::Admin, Some(owner.clone())).expect_err("no owner left").code,
            Code::Conflict
        );
        let (new, old) = admin.clone().set_role(Role::Owner, Some(owner.clone())).expect("the ownership goes over");
        assert_eq!((new.role, old.map(|old| (old.id, old.role))), (Role::Owner, Some((owner.id, Role::Admin))));
        let (same, none) = owner.clone().set_role(Role::Owner, Some(owner.clone())).expect("nothing to do");
        assert_eq!((same, none), (owner.clone(), None));
        let suspended = admin.suspend().expect("suspended");
        assert_eq!(suspended.set_role(Role::Owner, Some(owner)).expect_err("suspended").code, Code::Conflict);
    }

    #[test]
    fn only_an_active_owner_or_admin_manages_keys() {
        for (role, may) in [(Role::Viewer, false), (Role::User, false), (Role::Admin, true), (Role::Owner, true)] {
            assert_eq!(user(1, role).require_key_manager().is_ok(), may, "{role}");
            let suspended = user(1, role).suspend().expect("suspended");
            assert_eq!(suspended.require_key_manager().expect_err("suspended").code, Code::RoleRequired);
            assert!(suspended.resume().expect("resumed").require_key_manager().is_ok() == may);
        }
    }

    #[test]
    fn an_address_is_read_in_small_letters_and_slips_are_refused() {
        assert_eq!(email_address(" Ada@Example.COM "), Ok("ada@example.com".to_owned()));
        assert_eq!(email_address("bücher@bücher.example"), Ok("bücher@bücher.example".to_owned()));
        for text in
            ["", "ada", "@example.com", "ada@", "ada@example..com", "a b@example.com", "<a@example.com>", "a@b@c"]
        {
            assert!(email_address(text).is_err(), "{text}");
        }
    }
}
