//! What is asked for when a key is made: read whole, every fault named at its place.

use crate::allowlist::Mode;
use crate::scope::{Scopes, ScopesError};
use crate::word::{line_fault, sentence};
use crate::{Allowlist, BodyError, Environment, Problem, Timestamp, UserId};

/// Characters of a label at most.
pub const LABEL_CHARS_MAX: usize = 100;
/// Characters of a note at most.
pub const NOTE_CHARS_MAX: usize = 2_000;
/// Tags of a key at most.
pub const TAGS_MAX: usize = 20;
/// Characters of a tag at most.
pub const TAG_CHARS_MAX: usize = 50;

/// A key as it was asked for, unread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// Its name for people.
    pub label: String,
    /// Where; left out: where the caller is.
    pub environment: Option<String>,
    /// Left out: all, or the making key's own.
    pub scopes: Option<Vec<String>>,
    /// Left out: from everywhere, or the making key's own.
    pub allowlist: Option<Vec<String>>,
    /// `enforce` or `observe`; left out: enforced, or with the making key's list its mode.
    pub allowlist_mode: Option<String>,
    /// RFC 3339 with an offset; left out: never, or with the making key.
    pub expires_at: Option<String>,
    /// Left out: the person who makes it, or the making key's own.
    pub administrator: Option<String>,
    /// For people.
    pub note: String,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Meant even where the allowlist locks out the caller's own address.
    pub confirm: bool,
    /// To be refused until it is activated.
    pub pending: bool,
    /// The age recipient that its secret is sealed to; left out: it is answered in clear.
    pub encrypt_to: Option<String>,
}

/// A key as it was asked for, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name for people.
    pub label: String,
    /// Where.
    pub environment: Option<Environment>,
    /// What it may do.
    pub scopes: Option<Scopes>,
    /// From where.
    pub allowlist: Option<Allowlist>,
    /// What becomes of a call from elsewhere.
    pub allowlist_mode: Option<Mode>,
    /// Until when.
    pub expires_at: Option<Timestamp>,
    /// Whose rights it gets.
    pub administrator: Option<UserId>,
    /// For people.
    pub note: String,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Meant even where the allowlist locks out the caller's own address.
    pub confirm: bool,
    /// To be refused until it is activated.
    pub pending: bool,
}

impl Draft {
    /// Reads it whole; every fault is named.
    pub fn read(&self, now: Timestamp) -> Result<Wanted, Problem> {
        let mut faults = Vec::new();
        if let Some((code, why)) = line_fault(&self.label, LABEL_CHARS_MAX) {
            faults.push(BodyError::new("/label", code, format!("The label {why}.")));
        }
        self.note_faults(&mut faults);
        self.tag_faults(&mut faults);
        let wanted = Wanted {
            label: self.label.trim().to_owned(),
            environment: self.environment(&mut faults),
            scopes: self.scopes(&mut faults),
            allowlist: self.allowlist(&mut faults),
            allowlist_mode: self.allowlist_mode(&mut faults),
            expires_at: self.expiry(now, &mut faults),
            administrator: self.administrator(&mut faults),
            note: self.note.trim().to_owned(),
            tags: self.tags.clone(),
            confirm: self.confirm,
            pending: self.pending,
        };
        if faults.is_empty() { Ok(wanted) } else { Err(Problem::body(faults)) }
    }

    fn note_faults(&self, faults: &mut Vec<BodyError>) {
        if self.note.chars().count() > NOTE_CHARS_MAX {
            faults.push(BodyError::new(
                "/note",
                "too_long",
                format!("The note has more than {NOTE_CHARS_MAX} characters."),
            ));
        }
        if self.note.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            faults.push(BodyError::new("/note", "control_character", "The note has a control character."));
        }
    }

    fn tag_faults(&self, faults: &mut Vec<BodyError>) {
        if self.tags.len() > TAGS_MAX {
            faults.push(BodyError::new("/tags", "too_many", format!("There are more than {TAGS_MAX} tags.")));
        }
        for (place, tag) in self.tags.iter().enumerate().take(TAGS_MAX) {
            if let Some((code, why)) = line_fault(tag, TAG_CHARS_MAX) {
                faults.push(BodyError::new(format!("/tags/{place}"), code, format!("The tag {why}.")));
            } else if self.tags[..place].contains(tag) {
                faults.push(BodyError::new(format!("/tags/{place}"), "duplicate", "The tag is there twice."));
            }
        }
    }

    fn environment(&self, faults: &mut Vec<BodyError>) -> Option<Environment> {
        self.environment
            .as_ref()?
            .parse()
            .map_err(|unknown| {
                faults.push(BodyError::new("/environment", "unknown_environment", sentence(&unknown)));
            })
            .ok()
    }

    fn scopes(&self, faults: &mut Vec<BodyError>) -> Option<Scopes> {
        match Scopes::parse(self.scopes.as_ref()?) {
            Ok(scopes) => Some(scopes),
            Err(ScopesError::Empty) => {
                faults.push(BodyError::new("/scopes", "empty", sentence(&ScopesError::Empty)));
                None
            }
            Err(ScopesError::Unknown(_)) => {
                for (place, name) in self.scopes.iter().flatten().enumerate() {
                    if let Err(unknown) = name.parse::<crate::scope::Scope>() {
                        let detail = match name.as_str() {
                            "*" | "workflows" => format!("{name:?} stands alone or not at all."),
                            _ => sentence(&unknown),
                        };
                        faults.push(BodyError::new(format!("/scopes/{place}"), "unknown_scope", detail));
                    }
                }
                None
            }
        }
    }

    fn allowlist(&self, faults: &mut Vec<BodyError>) -> Option<Allowlist> {
        Allowlist::parse(self.allowlist.as_ref()?, "/allowlist").map_err(|found| faults.extend(found)).ok()
    }

    fn allowlist_mode(&self, faults: &mut Vec<BodyError>) -> Option<Mode> {
        self.allowlist_mode
            .as_ref()?
            .parse()
            .map_err(|unknown| faults.push(BodyError::new("/allowlist_mode", "invalid_value", sentence(&unknown))))
            .ok()
    }

    fn expiry(&self, now: Timestamp, faults: &mut Vec<BodyError>) -> Option<Timestamp> {
        match self.expires_at.as_ref()?.parse::<Timestamp>() {
            Ok(time) if time > now => Some(time),
            Ok(_) => {
                faults.push(BodyError::new("/expires_at", "in_the_past", "The key would have expired already."));
                None
            }
            Err(not_a_time) => {
                faults.push(BodyError::new("/expires_at", "invalid_time", sentence(&not_a_time)));
                None
            }
        }
    }

    fn administrator(&self, faults: &mut Vec<BodyError>) -> Option<UserId> {
        self.administrator
            .as_ref()?
            .parse()
            .map_err(|not_an_id| {
                faults.push(BodyError::new("/administrator", "invalid_id", sentence(&not_an_id)));
            })
            .ok()
    }
}
