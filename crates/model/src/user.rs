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
        /// Was asked by mail to join, and has not answered.
        Invited "invited";
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
    /// A new user who is asked to join: without rights until the invitation is answered. Where no name is given, the
    /// address stands for it.
    pub fn invite(
        id: UserId,
        scope: TenantScope,
        (email, name): (&str, &str),
        role: Role,
        now: Timestamp,
    ) -> Result<Self, Problem> {
        let name = if name.is_empty() { email } else { name };
        let mut errors = Vec::new();
        if role == Role::Owner {
            let detail =
                "A tenant has exactly one owner: invite the user with another role, then make the user the owner.";
            errors.push(BodyError::new("/role", "invalid_value", detail));
        }
        match Self::create(id, scope, (email, name), role, now) {
            Ok(user) if errors.is_empty() => Ok(Self { status: UserStatus::Invited, ..user }),
            Ok(_) => Err(Problem::body(errors)),
            Err(problem) => {
                errors.extend(problem.errors);
                Err(Problem::body(errors))
            }
        }
    }

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
        let name = read_name(name).unwrap_or_else(|fault| {
            errors.push(fault);
            String::new()
        });
        if !errors.is_empty() {
            return Err(Problem::body(errors));
        }
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

    /// Whether the user is an active owner or admin: only they manage keys and people, and are a key's administrator.
    pub fn is_manager(&self) -> bool {
        self.status == UserStatus::Active && self.role.manages_keys()
    }

    /// Refuses all but an active owner or admin.
    pub fn require_key_manager(&self) -> Result<(), Problem> {
        self.require_manager("API keys need")
    }

    /// Refuses all but an active owner or admin; `what` begins the sentence: "API keys need".
    pub fn require_manager(&self, what: &str) -> Result<(), Problem> {
        if self.is_manager() {
            return Ok(());
        }
        let detail = match self.status {
            UserStatus::Active => {
                format!("{what} an owner or admin; {} has the role {}.", self.email, self.role)
            }
            status => format!("{what} an active owner or admin; {} is {status}.", self.email),
        };
        Err(Problem::new(Code::RoleRequired, detail))
    }

    /// The same user with another role; with `owner`, the present `owner` steps down to admin and comes back too.
    ///
    /// A tenant has exactly one owner: the owner's role changes only by making another user the owner.
    pub fn set_role(self, role: Role, owner: Option<User>) -> Result<(User, Option<User>), Problem> {
        if self.status == UserStatus::Removed {
            return Err(Problem::new(Code::UserStatus, format!("{} was removed and has no role.", self.email)));
        }
        if self.role == role {
            return Ok((self, None));
        }
        if self.role == Role::Owner {
            let detail = format!(
                "{} is the owner, and a tenant has exactly one: make another user the owner, and this one becomes an admin.",
                self.email
            );
            return Err(Problem::new(Code::OwnerNeeded, detail));
        }
        if role == Role::Owner && self.status != UserStatus::Active {
            let detail = format!("{} is {} and can't become the owner.", self.email, self.status);
            return Err(Problem::new(Code::UserStatus, detail));
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

    /// The same user, gone for good. Removing twice changes nothing.
    pub fn remove(self) -> Result<User, Problem> {
        if self.role == Role::Owner {
            let detail = format!("{} is the owner, and a tenant has exactly one.", self.email);
            return Err(Problem::new(Code::OwnerNeeded, detail));
        }
        Ok(User { status: UserStatus::Removed, ..self })
    }

    /// The user who has answered the invitation, under this name.
    pub fn join(self, name: &str) -> Result<User, Problem> {
        if self.status != UserStatus::Invited {
            return Err(Problem::new(Code::UserStatus, format!("{} is {} already.", self.email, self.status)));
        }
        let name = read_name(name).map_err(|fault| Problem::body(vec![fault]))?;
        Ok(User { name, status: UserStatus::Active, ..self })
    }

    fn with_status(self, status: UserStatus) -> Result<User, Problem> {
        match self.status {
            UserStatus::Active | UserStatus::Suspended => Ok(User { status, ..self }),
            UserStatus::Removed => Err(Problem::new(Code::UserStatus, format!("{} was removed for good.", self.email))),
            UserStatus::Invited => {
                let detail = format!("{} has not answered the invitation yet: remove the user to end it.", self.email);
                Err(Problem::new(Code::UserStatus, detail))
            }
        }
    }

    /// The user with this change, made by somebody with the role `by` (none: the operator), and the old owner where there
    /// is a new one. Nobody gives more than they have, nor changes who has more.
    pub fn changed(
        self,
        change: &UserChange,
        by: Option<Role>,
        owner: Option<User>,
    ) -> Result<(User, Option<User>), Problem> {
        self.require_within(change, by)?;
        let mut user = self;
        if let Some(name) = &change.name {
            user.name = read_name(name).map_err(|fault| Problem::body(vec![fault]))?;
        }
        let stepping_down = match change.role {
            Some(role) => {
                let (changed, down) = user.set_role(role, owner)?;
                user = changed;
                down
            }
            None => None,
        };
        let user = match change.status {
            None => user,
            Some(UserStatus::Active) => user.resume()?,
            Some(UserStatus::Suspended) if user.role == Role::Owner => {
                let detail = format!("{} is the owner: a tenant can't be without one.", user.email);
                return Err(Problem::new(Code::OwnerNeeded, detail));
            }
            Some(UserStatus::Suspended) => user.suspend()?,
            Some(UserStatus::Removed) => user.remove()?,
            Some(UserStatus::Invited) => {
                let detail = "A status is set to active, suspended or removed.";
                return Err(Problem::body(vec![BodyError::new("/status", "invalid_value", detail)]));
            }
        };
        Ok((user, stepping_down))
    }

    /// Refuses a change by who has less than the user has or would get.
    pub fn require_within(&self, change: &UserChange, by: Option<Role>) -> Result<(), Problem> {
        let Some(by) = by else { return Ok(()) };
        let detail = match change.role {
            Some(role) if role > by => format!("The role {by} can't give the role {role}."),
            _ if self.role > by => format!("The role {by} can't change a user with the role {}.", self.role),
            _ if !by.manages_keys() => format!("Users are managed by an owner or admin, not by the role {by}."),
            _ => return Ok(()),
        };
        Err(Problem::new(Code::RoleRequired, detail))
    }
}

/// A change of a user: what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserChange {
    /// The name.
    pub name: Option<String>,
    /// The role; `owner` makes the present owner an admin.
    pub role: Option<Role>,
    /// `active`, `suspended` or, for good, `removed`.
    pub status: Option<UserStatus>,
}

fn read_name(name: &str) -> Result<String, BodyError> {
    match line_fault(name, USER_NAME_CHARS_MAX) {
        Some((code, why)) => Err(BodyError::new("/name", code, format!("The user's name {why}."))),
        None => Ok(name.trim().to_owned()),
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
            Code::OwnerNeeded
        );
        let (new, old) = admin.clone().set_role(Role::Owner, Some(owner.clone())).expect("the ownership goes over");
        assert_eq!((new.role, old.map(|old| (old.id, old.role))), (Role::Owner, Some((owner.id, Role::Admin))));
        let (same, none) = owner.clone().set_role(Role::Owner, Some(owner.clone())).expect("nothing to do");
        assert_eq!((same, none), (owner.clone(), None));
        let suspended = admin.suspend().expect("suspended");
        assert_eq!(suspended.set_role(Role::Owner, Some(owner)).expect_err("suspended").code, Code::UserStatus);
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

    fn change(role: Option<Role>, status: Option<UserStatus>) -> UserChange {
        UserChange { role, status, ..UserChange::default() }
    }

    #[test]
    fn nobody_gives_more_than_they_have_nor_changes_who_has_more() {
        let owner = user(9, Role::Owner);
        for by in Role::ALL {
            for has in Role::ALL.iter().filter(|role| **role != Role::Owner) {
                for gets in Role::ALL {
                    let changed = user(1, *has).changed(&change(Some(*gets), None), Some(*by), Some(owner.clone()));
                    let may = by.manages_keys() && has <= by && gets <= by;
                    assert_eq!(changed.map_err(|p| p.code).is_ok(), may, "{by} makes {has} {gets}");
                }
                let removed = user(1, *has).changed(&change(None, Some(UserStatus::Removed)), Some(*by), None);
                assert_eq!(removed.is_ok(), by.manages_keys() && has <= by, "{by} removes {has}");
            }
            let suspended = owner.clone().changed(&change(None, Some(UserStatus::Suspended)), Some(*by), None);
            let want = if *by == Role::Owner { Code::OwnerNeeded } else { Code::RoleRequired };
            assert_eq!(suspended.expect_err("never").code, want, "{by}");
        }
    }

    #[test]
    fn an_invited_user_has_no_rights_and_joins_once() {
        let scope = TenantScope { tenant: TenantId::from_uuid(Uuid::from_u128(1)) };
        let (id, now) = (UserId::from_uuid(Uuid::from_u128(2)), Timestamp::from_millis(0));
        let invite = |name, role| User::invite(id, scope, ("Bob@example.com", name), role, now);
        let bob = invite("", Role::Admin).expect("an invitation");
        assert_eq!((bob.name.as_str(), bob.status, bob.is_manager()), ("Bob@example.com", UserStatus::Invited, false));
        assert_eq!(bob.clone().resume().expect_err("no way in").code, Code::UserStatus);
        assert_eq!(bob.clone().set_role(Role::Owner, None).expect_err("not yet").code, Code::UserStatus);
        let bob = bob.join(" Bob ").expect("joined");
        assert_eq!((bob.name.as_str(), bob.is_manager()), ("Bob", true));
        assert_eq!(bob.clone().join("Bob").expect_err("once").code, Code::UserStatus);
        let gone = bob.remove().expect("removed");
        assert_eq!(gone.clone().remove().expect("again"), gone);
        let faults = invite("\n", Role::Owner).expect_err("two faults").errors;
        let at: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(at, ["/role", "/name"]);
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
