//! What a scan tells: each key where it stood, masked; what was not searched, and why. Nothing grows with what is found.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use model::KeyId;
use secret::Hit;
use serde_json::json;

use crate::output::{self, Style};

/// Names of one reason that are told to people; programs are told all.
const NAMES_MAX: u64 = 10;

/// Where bytes came from.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// A file, or `-` for standard input.
    File(&'a str),
    /// The name of what lies at this path, whatever it is.
    Name(&'a str),
    /// An object of a git repository.
    Object {
        /// The repository.
        repository: &'a str,
        /// Its id.
        object: &'a str,
    },
    /// A tree of a git repository: names, and no contents.
    Tree {
        /// The repository.
        repository: &'a str,
        /// Its id.
        object: &'a str,
    },
}

impl Place<'_> {
    /// In a word.
    pub fn name(&self) -> String {
        match self {
            Self::File("-") => "standard input".to_owned(),
            Self::File(name) | Self::Name(name) => output::masked(name),
            Self::Object { repository, object } | Self::Tree { repository, object } => {
                format!("{}: object {object}", output::masked(repository))
            }
        }
    }

    /// Whether it is a name, which has no lines.
    fn is_name(&self) -> bool {
        matches!(self, Self::Name(_) | Self::Tree { .. })
    }
}

/// Why something was not searched.
#[derive(Clone, Copy, Debug)]
pub enum Why {
    /// A symbolic link below a folder.
    Link,
    /// No file: a pipe, a socket, a device.
    Special,
    /// Its bytes were searched, what is packed in them was not.
    Compressed(&'static str),
    /// The same, of something that was named by hand: whoever named it expects it to be searched.
    NamedCompressed(&'static str),
    /// It could not be read to its end.
    Failed(&'static str),
}

impl Why {
    /// In words.
    fn words(self) -> String {
        match self {
            Self::Link => "a symbolic link, not followed".to_owned(),
            Self::Special => "no ordinary file".to_owned(),
            Self::Compressed(format) | Self::NamedCompressed(format) => {
                format!("compressed, its contents were not searched ({format})")
            }
            Self::Failed(why) => why.to_owned(),
        }
    }
}

/// What was found so far; it is told as it comes.
pub struct Report {
    is_json: bool,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    files: u64,
    bytes: u64,
    found: u64,
    failed: u64,
    not_searched: BTreeMap<String, u64>,
}

impl Report {
    /// Nothing is found yet.
    pub fn new(is_json: bool) -> Self {
        Self { is_json, counts: Mutex::default() }
    }

    /// A key stood at this place.
    pub fn found(&self, place: &Place<'_>, hit: &Hit) {
        let mut counts = self.counts();
        counts.found += 1;
        let (key, id) = (&hit.key, KeyId::from_uuid(hit.key.id()));
        if self.is_json {
            let (file, repository, object) = match place {
                Place::File(name) | Place::Name(name) => (Some(output::masked(name)), None, None),
                Place::Object { repository, object } | Place::Tree { repository, object } => {
                    (None, Some(output::masked(repository)), Some(object))
                }
            };
            let (last4, line) = (key.last4(), (!place.is_name()).then_some(hit.line));
            output::json(&json!({
                "found": "key", "file": file, "repository": repository, "object": object, "line": line,
                "in_name": place.is_name(), "offset": hit.offset, "key": id, "environment": key.environment(),
                "last4": last4,
            }));
        } else {
            let name = output::plain(&place.name());
            let place = match place {
                Place::Name(_) => format!("{name}: in its name"),
                Place::Tree { .. } => format!("{name}: in the name of what lies in it"),
                Place::File(_) | Place::Object { .. } => format!("{name}:{}", hit.line),
            };
            let line = Style::of_stdout().bold(&place);
            output::line(&format!("{line}  {id}  {}", key.masked()));
        }
    }

    /// Where a key that was found in a repository's object came in.
    pub fn came_in(&self, repository: &str, object: &str, commit: Option<&str>, path: Option<&str>) {
        let _one_at_a_time = self.counts();
        // A name may hold a key as well as what it names. The root of a tree has none.
        let path = path.filter(|path| !path.is_empty()).map(output::masked);
        let repository = output::masked(repository);
        if self.is_json {
            output::json(&json!({
                "found": "origin", "repository": repository, "object": object, "commit": commit, "path": path,
            }));
        } else {
            let commit = commit.map(|commit| format!(" in commit {commit}")).unwrap_or_default();
            let path = path.map(|path| format!(" as {}", output::plain(&path))).unwrap_or_default();
            output::line(&format!("  object {object} came in{commit}{path}"));
        }
    }

    /// So many bytes of one thing were searched to the end.
    pub fn searched(&self, bytes: u64) {
        let mut counts = self.counts();
        counts.files += 1;
        counts.bytes += bytes;
    }

    /// This was not searched, or not to the end.
    pub fn not_searched(&self, name: &str, why: Why) {
        let mut counts = self.counts();
        counts.failed += u64::from(matches!(why, Why::Failed(_) | Why::NamedCompressed(_)));
        let (words, name) = (why.words(), output::masked(name));
        let so_far = counts.not_searched.entry(words.clone()).or_default();
        *so_far += 1;
        if self.is_json {
            output::json(&json!({"not_searched": name, "why": words}));
        } else if *so_far <= NAMES_MAX {
            output::error_line(&format!("not searched: {}: {words}", output::plain(&name)));
        }
    }

    /// Tells the sum; the answer is how many keys were found and how many things could not be read.
    pub fn end(&self) -> (u64, u64) {
        let counts = self.counts();
        let Counts { files, bytes, found, failed, not_searched } = &*counts;
        if self.is_json {
            output::json(
                &json!({"keys": found, "files": files, "bytes": bytes, "not_searched": not_searched, "failed": failed}),
            );
            return (*found, *failed);
        }
        for (why, count) in not_searched.iter().filter(|(_, count)| **count > NAMES_MAX) {
            output::error_line(&format!("not searched: {count} in all: {why} (--json names each)"));
        }
        let sum = match found {
            0 => format!("No secret key in {files} files, {bytes} bytes."),
            1 => format!("1 secret key in {files} files, {bytes} bytes: revoke it now."),
            many => format!("{many} secret keys in {files} files, {bytes} bytes: revoke them now."),
        };
        output::error_line(&sum);
        (*found, *failed)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
