//! A compromised key: what it did since, and what is decided about that.

use serde_json::{Value, json};

use crate::scope::Scope;
use crate::word::words;
use crate::{BodyError, Problem, Timestamp};

/// Objects that one body decides about at most.
pub const DECISIONS_MAX: usize = 100;

words! {
    /// What becomes of something that a compromised key did.
    Decision "a decision" {
        /// It is meant: it may be sent, and goes on.
        Keep "keep";
        /// It is taken back.
        Void "void";
    }
}

/// What was decided about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What.
    pub decision: Decision,
    /// When it was done; none while it waits for its turn.
    pub done_at: Option<Timestamp>,
    /// Why a void could not be done: the code of its problem.
    pub outcome: Option<String>,
}

/// An object that a compromised key did something to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touched {
    /// Its id.
    pub object: String,
    /// When first.
    pub first_at: Timestamp,
    /// When last.
    pub last_at: Timestamp,
    /// What: the actions of the audit log.
    pub actions: Vec<String>,
    /// What was decided about it, if anything was.
    pub verdict: Option<Verdict>,
}

/// An address that a compromised key was used from for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The address.
    pub address: String,
    /// When first.
    pub first_at: Timestamp,
    /// When last.
    pub last_at: Timestamp,
    /// How often.
    pub count: i64,
}

/// What can be decided about: envelopes and batches are kept or voided; for everything else the list is what there is.
pub fn is_decidable(object: &str) -> bool {
    // What no id has is not looked for: PostgreSQL can't be asked for a NUL character.
    (object.starts_with("env_") || object.starts_with("bat_"))
        && object.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Decisions as they were asked for, unread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// Object and decision.
    pub decisions: Vec<(String, String)>,
    /// The decision about all the rest.
    pub all: Option<String>,
}

/// Decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decisions {
    /// About these.
    Some(Vec<(String, Decision)>),
    /// About every envelope and batch that nothing was decided about yet.
    Rest(Decision),
}

impl Draft {
    /// Reads it whole; every fault is named.
    pub fn read(&self) -> Result<Decisions, Problem> {
        let mut faults = Vec::new();
        let mut fault = |pointer: String, code, detail: &str| faults.push(BodyError::new(pointer, code, detail));
        let rest = self.all.as_deref().map(str::parse::<Decision>);
        if self.decisions.is_empty() == rest.is_none() {
            fault(String::new(), "required", "Send decisions, or all: keep or void; one of the two.");
        }
        if self.decisions.len() > DECISIONS_MAX {
            fault("/decisions".to_owned(), "too_many", "A body has 100 decisions at most: send several.");
        }
        let mut decisions = Vec::new();
        for (at, (object, word)) in self.decisions.iter().enumerate() {
            if !is_decidable(object) {
                let detail = "Envelopes and batches are kept or voided: an id reads env_… or bat_….";
                fault(format!("/decisions/{at}/object"), "invalid_value", detail);
            } else if self.decisions[..at].iter().any(|(before, _)| before == object) {
                fault(format!("/decisions/{at}/object"), "duplicate", "This object is named twice.");
            }
            match word.parse() {
                Ok(decision) => decisions.push((object.clone(), decision)),
                Err(_) => fault(format!("/decisions/{at}/decision"), "invalid_value", "A decision is keep or void."),
            }
        }
        if let Some(Err(_)) = rest {
            fault("/all".to_owned(), "invalid_value", "A decision is keep or void.");
        }
        match rest {
            _ if !faults.is_empty() => Err(Problem::body(faults)),
            Some(Ok(decision)) => Ok(Decisions::Rest(decision)),
            _ => Ok(Decisions::Some(decisions)),
        }
    }
}

impl Decisions {
    /// The scopes that they take beside `keys:write`: what is taken back here takes no less than elsewhere.
    pub fn scopes(&self) -> Vec<Scope> {
        let voids = |prefix: &str| match self {
            Self::Rest(decision) => *decision == Decision::Void,
            Self::Some(decisions) => {
                decisions.iter().any(|(object, decision)| *decision == Decision::Void && object.starts_with(prefix))
            }
        };
        let mut scopes = Vec::new();
        if voids("") {
            scopes.push(Scope::EnvelopesWrite);
        }
        if voids("bat_") {
            scopes.push(Scope::BatchesWrite);
        }
        scopes
    }

    /// What the audit log keeps of them.
    pub fn record(&self) -> Value {
        match self {
            Self::Some(decisions) => json!({ "decisions": decisions }),
            Self::Rest(decision) => json!({ "all": decision }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_name_envelopes_and_batches_once_or_all() {
        let pair = |object: &str, decision: &str| (object.to_owned(), decision.to_owned());
        let faults = |decisions: &[(String, String)], all: Option<&str>| {
            let draft = Draft { decisions: decisions.to_vec(), all: all.map(str::to_owned) };
            let refused = draft.read().expect_err("refused");
            refused.errors.into_iter().map(|error| error.pointer).collect::<Vec<_>>()
        };
        assert_eq!(faults(&[], None), [""]);
        assert_eq!(faults(&[pair("env_1", "keep")], Some("keep")), [""]);
        assert_eq!(faults(&[], Some("burn")), ["/all"]);
        let wrong = [pair("key_1", "keep"), pair("env_1", "burn"), pair("env_1", "keep")];
        assert_eq!(faults(&wrong, None), ["/decisions/0/object", "/decisions/1/decision", "/decisions/2/object"]);
        let draft = Draft { decisions: vec![pair("bat_1", "void")], all: None };
        assert_eq!(draft.read().expect("read"), Decisions::Some(vec![("bat_1".to_owned(), Decision::Void)]));
    }

    #[test]
    fn what_is_voided_takes_the_scopes_that_voiding_takes_elsewhere() {
        let scopes = |pairs: &[(&str, Decision)]| {
            Decisions::Some(pairs.iter().map(|(object, decision)| ((*object).to_owned(), *decision)).collect()).scopes()
        };
        let both = [Scope::EnvelopesWrite, Scope::BatchesWrite];
        assert_eq!(scopes(&[("env_1", Decision::Keep), ("bat_1", Decision::Keep)]), []);
        assert_eq!(scopes(&[("env_1", Decision::Void), ("bat_1", Decision::Keep)]), [Scope::EnvelopesWrite]);
        assert_eq!(scopes(&[("bat_1", Decision::Void)]), both);
        assert_eq!(Decisions::Rest(Decision::Keep).scopes(), []);
        assert_eq!(Decisions::Rest(Decision::Void).scopes(), both);
    }
}
