//! A mail to a user: what it is about, and every word of it in one catalogue.

use serde::{Deserialize, Serialize};

use crate::word::capital;
use crate::{Environment, KeyId, NoticeId, Role, TenantId, Timestamp, UserId, key::Key, mail::MailState};

/// A key as a mail names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyName {
    /// Its id.
    pub id: KeyId,
    /// Its label.
    pub label: String,
    /// Where it lives.
    pub environment: Environment,
}

impl KeyName {
    /// The name of `key`.
    pub fn of(key: &Key) -> Self {
        Self { id: key.id, label: key.label.clone(), environment: key.scope.environment }
    }

    fn words(&self) -> String {
        format!("the API key \"{}\" ({}, {})", self.label, self.environment, self.id)
    }
}

/// What a mail is about. Nothing in it is secret: an invitation's link is computed when the mail goes out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "purpose", rename_all = "snake_case")]
pub enum About {
    /// The user is asked to join the tenant.
    Invited {
        /// As what.
        role: Role,
        /// Which of the user's invitations: a newer one ends it.
        generation: i64,
        /// Until when.
        expires_at: Timestamp,
    },
    /// A key has made another key.
    KeyMade {
        /// The new one.
        key: KeyName,
        /// The one that made it.
        by: KeyName,
    },
    /// A key's time is over soon.
    KeyExpiring {
        /// Which.
        key: KeyName,
        /// When.
        expires_at: Timestamp,
    },
    /// A key reaches the greatest age that the tenant allows.
    KeyTooOld {
        /// Which.
        key: KeyName,
        /// When it does, or did.
        due_at: Timestamp,
        /// Whether it stops then.
        is_enforced: bool,
    },
    /// A key's secret is due to be rotated.
    KeyRotationDue {
        /// Which.
        key: KeyName,
        /// When it is, or was.
        due_at: Timestamp,
        /// Whether it is refused from then on.
        is_enforced: bool,
    },
    /// A key has not been used for long.
    KeyIdle {
        /// Which.
        key: KeyName,
        /// Its last use; none: it was never used.
        last_used_at: Option<Timestamp>,
        /// For how many days.
        days: u32,
    },
    /// A key was declared compromised.
    KeyCompromised {
        /// Which.
        key: KeyName,
        /// Since when it may have been in wrong hands.
        since: Timestamp,
        /// Keys that were revoked with it, itself among them.
        revoked: u64,
    },
    /// A right secret came the wrong way.
    KeyExposed {
        /// Whose.
        key: KeyName,
        /// How, in words that follow "its secret": `came over plain HTTP`.
        how: String,
        /// From which address.
        address: String,
        /// When.
        at: Timestamp,
        /// Whether it opens nothing any more: its key is revoked or has expired, or a rotation replaced it.
        #[serde(default)]
        is_over: bool,
    },
    /// Somebody has found a key's secret where it must not be.
    KeyLeaked {
        /// Whose.
        key: KeyName,
        /// Where, as far as it was told.
        place: Option<String>,
        /// Whether the tenant's policy has revoked it.
        is_revoked: bool,
    },
}

/// A mail to a user, as it stands in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its id; the Message-ID is made of it.
    pub id: NoticeId,
    /// Whose user.
    pub tenant: TenantId,
    /// Where what it is about lives; none: it is the whole tenant's.
    pub environment: Option<Environment>,
    /// To whom.
    pub user: UserId,
    /// To which address.
    pub address: String,
    /// What it says.
    pub about: About,
    /// Nobody is told the same twice: there is one mail for a user and this.
    pub once: String,
    /// How far it got.
    pub state: MailState,
    /// The mail server's words.
    pub detail: String,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Since when it is in this state.
    pub state_at: Timestamp,
}

/// What the words are made with beside what a mail is about.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// The tenant's name.
    pub tenant: &'a str,
    /// The user's name.
    pub user: &'a str,
    /// The server's public URL.
    pub url: &'a str,
    /// The invitation's link; empty for other mails.
    pub link: &'a str,
}

impl About {
    /// Its name in columns and in the API.
    pub fn purpose(&self) -> &'static str {
        match self {
            Self::Invited { .. } => "invited",
            Self::KeyMade { .. } => "key_made",
            Self::KeyExpiring { .. } => "key_expiring",
            Self::KeyTooOld { .. } => "key_too_old",
            Self::KeyRotationDue { .. } => "key_rotation_due",
            Self::KeyIdle { .. } => "key_idle",
            Self::KeyCompromised { .. } => "key_compromised",
            Self::KeyExposed { .. } => "key_exposed",
            Self::KeyLeaked { .. } => "key_leaked",
        }
    }

    /// Its subject and its text.
    pub fn words(&self, setting: &Setting<'_>) -> (String, String) {
        let Setting { tenant, user, url, link } = *setting;
        let (subject, body) = match self {
            Self::Invited { role, expires_at, .. } => {
                let until = expires_at.words_in("UTC");
                let body = format!(
                    "{tenant} asks you to join its team on {url}, with the role {role}.\n\n\
                     Set your name and your password here:\n{link}\n\n\
                     The link is yours alone and works until {until}. If you did not expect this mail, ignore it."
                );
                (format!("Join {tenant}"), body)
            }
            other => other.key_words(tenant),
        };
        (subject, format!("Hello {user},\n\n{body}\n"))
    }

    fn key_words(&self, tenant: &str) -> (String, String) {
        let subject = |what: &str, key: &KeyName| format!("{what}: {} ({})", key.label, key.environment);
        match self {
            // The one mail that is about no key has words of its own.
            Self::Invited { .. } => (String::new(), String::new()),
            Self::KeyMade { key, by } => {
                let (new, maker) = (key.words(), by.words());
                let body = format!(
                    "{maker} of {tenant} has generated {new}.\n\n\
                     If that was not meant, revoke both: iusign keys revoke {}",
                    by.id
                );
                (subject("A key made a key", key), capital(&body))
            }
            Self::KeyExpiring { key, expires_at } => {
                let (name, at) = (key.words(), expires_at.words_in("UTC"));
                let body = format!(
                    "{name} of {tenant} expires at {at}. From then on every call with it is refused.\n\n\
                     Give it a later expiry (iusign keys update {}), or generate a new key in time.",
                    key.id
                );
                (subject("A key expires soon", key), capital(&body))
            }
            Self::KeyTooOld { key, due_at, is_enforced } => {
                let (name, at) = (key.words(), due_at.words_in("UTC"));
                let then = if *is_enforced { " From then on every call with it is refused." } else { "" };
                let body = format!(
                    "{name} of {tenant} reaches the greatest age that the tenant allows at {at}.{then}\n\n\
                     Rotate it without an outage: iusign keys rotate {}",
                    key.id
                );
                (subject("A key gets too old", key), capital(&body))
            }
            Self::KeyRotationDue { key, due_at, is_enforced } => {
                let (name, at) = (key.words(), due_at.words_in("UTC"));
                let then = if *is_enforced { " From then on every call with it is refused." } else { "" };
                let body = format!(
                    "The secret of {name} of {tenant} is due to be rotated by {at}.{then}\n\n\
                     Rotate it without an outage: iusign keys rotate {}",
                    key.id
                );
                (subject("A key is due to be rotated", key), body)
            }
            Self::KeyIdle { key, last_used_at, days } => {
                let name = key.words();
                let since = match last_used_at {
                    Some(at) => format!("was last used at {}", at.words_in("UTC")),
                    None => "was never used".to_owned(),
                };
                let body = format!(
                    "{name} of {tenant} {since}, for {days} days or more.\n\n\
                     A key that nobody needs is a risk. See what would break (iusign keys suspend {0}), then revoke it \
                     (iusign keys revoke {0}).",
                    key.id
                );
                (subject("A key is not used", key), capital(&body))
            }
            Self::KeyCompromised { key, since, revoked } => {
                let (name, since) = (key.words(), since.words_in("UTC"));
                let body = format!(
                    "{name} of {tenant} was declared compromised, since {since}. Keys revoked with it, itself among \
                     them: {revoked}.\n\nWhat it has made since then waits until somebody decides about it: iusign keys \
                     blast {}",
                    key.id
                );
                (subject("A key is compromised", key), capital(&body))
            }
            Self::KeyExposed { key, how, address, at, is_over } => {
                let (name, at) = (key.words(), at.words_in("UTC"));
                let todo = if *is_over {
                    "It opens nothing any more: find the program that still sends it".to_owned()
                } else {
                    format!("Rotate it now (iusign keys rotate {})", key.id)
                };
                let body = format!(
                    "The secret of {name} of {tenant} {how}, from {address}, at {at}. Others may have read it.\n\n\
                     {todo}; if it is in wrong hands, say so: iusign keys compromise {}",
                    key.id
                );
                (subject("A key's secret was exposed", key), body)
            }
            Self::KeyLeaked { key, place, is_revoked } => {
                let name = key.words();
                let place = place.as_deref().map_or_else(String::new, |place| format!(" at {place}"));
                let state = if *is_revoked {
                    "The tenant's policy has revoked it: generate a new key.".to_owned()
                } else {
                    format!(
                        "It still works. Revoke it now (iusign keys revoke {0}), or rotate it if nobody can have used it \
                         (iusign keys rotate {0}).",
                        key.id
                    )
                };
                let body = format!("The secret of {name} of {tenant} was found{place}. {state}");
                (subject("A key was found by others", key), body)
            }
        }
    }
}

/// A sentence begins with a capital letter.
#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_purpose_is_the_same_in_the_column_and_in_the_row() {
        let key = KeyName {
            id: KeyId::from_uuid(Uuid::from_u128(1)),
            label: "Invoices".to_owned(),
            environment: Environment::Production,
        };
        let at = Timestamp::from_millis(1_764_100_882_007);
        let setting =
            Setting { tenant: "Kestrel", user: "Ada", url: "https://s.example", link: "https://s.example/invite/x" };
        let all = [
            About::Invited { role: Role::Admin, generation: 1, expires_at: at },
            About::KeyMade { key: key.clone(), by: key.clone() },
            About::KeyExpiring { key: key.clone(), expires_at: at },
            About::KeyTooOld { key: key.clone(), due_at: at, is_enforced: true },
            About::KeyRotationDue { key: key.clone(), due_at: at, is_enforced: false },
            About::KeyIdle { key: key.clone(), last_used_at: None, days: 90 },
            About::KeyCompromised { key: key.clone(), since: at, revoked: 2 },
            About::KeyExposed {
                key: key.clone(),
                how: "came over plain HTTP".to_owned(),
                address: "::1".to_owned(),
                at,
                is_over: false,
            },
            About::KeyLeaked { key, place: None, is_revoked: false },
        ];
        for about in all {
            let row = serde_json::to_value(&about).expect("JSON");
            assert_eq!(row["purpose"], about.purpose());
            assert_eq!(serde_json::from_value::<About>(row).expect("the same"), about);
            let (subject, text) = about.words(&setting);
            assert!(!subject.is_empty() && !subject.contains('\n'), "{subject}");
            assert!(text.starts_with("Hello Ada,\n\n") && text.contains("Kestrel") && text.ends_with('\n'), "{text}");
            assert!(text.contains(setting.link) == matches!(about, About::Invited { .. }), "{text}");
        }
    }

    #[test]
    fn an_exposed_secret_that_is_dead_is_not_to_be_rotated() {
        let key = KeyName {
            id: KeyId::from_uuid(Uuid::from_u128(1)),
            label: "Invoices".to_owned(),
            environment: Environment::Production,
        };
        let setting = Setting { tenant: "Kestrel", user: "Ada", url: "https://s.example", link: "https://s.example" };
        for is_over in [false, true] {
            let (how, address) = ("came over plain HTTP".to_owned(), "::1".to_owned());
            let at = Timestamp::from_millis(0);
            let (_, text) = About::KeyExposed { key: key.clone(), how, address, at, is_over }.words(&setting);
            assert_eq!(text.contains("Rotate it now (iusign keys rotate"), !is_over, "{text}");
            assert_eq!(
                text.contains("It opens nothing any more: find the program that still sends it"),
                is_over,
                "{text}"
            );
            assert!(text.contains(&format!("say so: iusign keys compromise {}", key.id)), "{text}");
        }
    }

    #[test]
    fn an_invitation_says_who_asks_and_until_when() {
        let about = About::Invited { role: Role::Admin, generation: 1, expires_at: Timestamp::from_millis(0) };
        let setting = Setting {
            tenant: "Kestrel",
            user: "ada@example.com",
            url: "https://s.example",
            link: "https://s.example/invite/x",
        };
        let (subject, text) = about.words(&setting);
        assert_eq!(subject, "Join Kestrel");
        assert_eq!(
            text,
            "Hello ada@example.com,\n\nKestrel asks you to join its team on https://s.example, with the role admin.\n\n\
             Set your name and your password here:\nhttps://s.example/invite/x\n\n\
             The link is yours alone and works until 1970-01-01 00:00:00 UTC (+00:00). If you did not expect this mail, \
             ignore it.\n"
        );
    }
}
