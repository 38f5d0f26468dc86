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
    /// An object of a git repository.
    Object {
        /// The repository.
        repository: &'a str,
        /// Its id.
        object: &'a str,
    },
}

impl<'a> Place<'a> {
    /// A file.
    pub fn file(name: &'a str) -> Self {
        Self::File(name)
    }

    /// In a word.
    pub fn name(&self) -> String {
        match self {
            Self::File("-") => "standard input".to_owned(),
            Self::File(name) => (*name).to_owned(),
            Self::Object { repository, object } => format!("{repository}: object {object}"),
        }
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
    /// It could not be read to its end.
    Failed(&'static str),
}

impl Why {
    /// In words.
    fn words(self) -> String {
        match self {
            Self::Link => "a symbolic link, not followed".to_owned(),
            Self::Special => "no ordinary file".to_owned(),
            Self::Compressed(format) => format!("compressed, its contents were not searched ({format})"),
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
                Place::File(name) => (Some(name), None, None),
                Place::Object { repository, object } => (None, Some(repository), Some(object)),
            };
            let last4 = key.last4();
            output::json(&json!({
                "found": "key", "file": file, "repository": repository, "object": object, "line": hit.line,
                "offset": hit.offset, "key": id, "environment": key.environment(), "last4": last4,
            }));
        } else {
            let place = output::plain(&place.name());
            let line = Style::of_stdout().bold(&format!("{place}:{}", hit.line));
            output::line(&format!("{line}  {id}  {}", key.masked()));
        }
    }

    /// Where a key that was found in a repository's object came in.
    pub fn came_in(&self, repository: &str, object: &str, commit: Option<&str>, path: Option<&str>) {
        let _one_at_a_time = self.counts();
        if self.is_json {
            output::json(&json!({
                "found": "origin", "repository": repository, "object": object, "commit": commit, "path": path,
            }));
        } else {
            let commit = commit.map(|commit| format!(" in commit {commit}")).unwrap_or_default();
            let path = path.map(|path| format!(" as {}", output::plain(path))).unwrap_or_default();
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
        counts.failed += u64::from(matches!(why, Why::Failed(_)));
        let words = why.words();
        let so_far = counts.not_searched.entry(words.clone()).or_default();
        *so_far += 1;
        if self.is_json {
            output::json(&json!({"not_searched": name, "why": words}));
        } else if *so_far <= NAMES_MAX {
            output::error_line(&format!("not searched: {}: {words}", output::plain(name)));
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
