//! The history of a git repository: every object that it holds, by the git that is installed.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use super::{
    Begun,
    report::{Place, Report, Why},
};

/// Objects with keys whose way into the repository is looked up.
const ORIGINS_MAX: usize = 100;
/// Of them, those whose commit is looked up: each is a walk through the history.
const COMMITS_MAX: usize = 20;
/// Characters of a line that git says about an object.
const LINE_BYTES_MAX: u64 = 4_096;

/// Searches the objects of the repository at `path`: files of every commit, messages, tags, and what no branch holds any
/// more but git has not yet removed.
pub fn search(path: &Path, report: &Report) {
    let repository = path.display().to_string();
    let mut objects = Vec::new();
    if let Err(error) = search_objects(path, &repository, report, &mut objects) {
        report.not_searched(&repository, Why::Failed(error));
    }
    let paths = paths(path, &objects);
    for (number, object) in objects.iter().enumerate() {
        let commit = (number < COMMITS_MAX).then(|| first_commit(path, object)).flatten();
        report.came_in(&repository, object, commit.as_deref(), paths.get(object).map(String::as_str));
    }
}

/// What a repository's own configuration could have git run, turned off: each is set on the command line, which outweighs it.
const NOTHING_RUN: [&str; 5] = [
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.sshCommand=false",
    // gpg.program would be run for each commit that has a signature.
    "log.showSignature=false",
    "protocol.allow=never",
];

/// git on this repository, which may be a stranger's: nothing that it names is run, replaced or fetched.
fn git(repository: &Path) -> Command {
    let mut command = Command::new("git");
    // Within a hook git sets GIT_DIR and more, which would lead to another repository than the one that was named.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"GIT_")) {
        command.env_remove(name);
    }
    command.arg("-C").arg(repository).args(["--no-pager", "--no-replace-objects"]);
    command.args(NOTHING_RUN.iter().flat_map(|setting| ["-c", setting]));
    // No protocol at all: what is missing is not fetched, by whatever helper the repository names.
    command.env("GIT_ALLOW_PROTOCOL", "").env("GIT_NO_LAZY_FETCH", "1");
    command.env("GIT_OPTIONAL_LOCKS", "0").env("GIT_TERMINAL_PROMPT", "0");
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command
}

fn search_objects(
    path: &Path,
    repository: &str,
    report: &Report,
    hit_objects: &mut Vec<String>,
) -> Result<(), &'static str> {
    let mut command = git(path);
    command.args(["cat-file", "--batch", "--batch-all-objects", "--unordered", "--buffer"]);
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|_| "git is not installed")?;
    let Some(out) = child.stdout.take() else { return Err("git says nothing") };
    let read = read_objects(BufReader::with_capacity(256 * 1024, out), repository, report, hit_objects);
    let ended = end(child);
    read.map_err(|_| "git's answer can't be read to its end")?;
    if ended { Ok(()) } else { Err("no git repository that can be read") }
}

/// `<id> <type> <size>`, the object's bytes, and a line's end, for each.
fn read_objects(
    mut from: BufReader<ChildStdout>,
    repository: &str,
    report: &Report,
    hit_objects: &mut Vec<String>,
) -> io::Result<()> {
    loop {
        let mut line = Vec::new();
        if from.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let line = String::from_utf8_lossy(&line);
        let mut words = line.split_whitespace();
        let (Some(object), Some(kind)) = (words.next(), words.next()) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let Some(size) = words.next().and_then(|size| size.parse::<u64>().ok()) else {
            // A partial clone lacks objects, and says so in place of a size.
            report.not_searched(
                &format!("{repository}: object {object}"),
                Why::Failed("the repository does not hold it"),
            );
            continue;
        };
        let mut bytes = from.by_ref().take(size);
        // A tree is searched for the names in it: they stand there as they are.
        let place = match kind {
            "tree" => Place::Tree { repository, object },
            _ => Place::Object { repository, object },
        };
        let mut is_hit = false;
        let mut begun = Begun::new(&mut bytes);
        let read = secret::search(&mut begun, |hit| {
            is_hit = true;
            report.found(&place, &hit);
        });
        report.searched(read?);
        if let Some(format) = begun.compressed().filter(|_| kind == "blob") {
            report.not_searched(&place.name(), Why::Compressed(format));
        }
        if is_hit && hit_objects.len() < ORIGINS_MAX {
            hit_objects.push(object.to_owned());
        }
        if bytes.limit() > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        from.read_exact(&mut [0])?;
    }
}

/// The path under which each of the objects stands in some commit.
fn paths(repository: &Path, objects: &[String]) -> HashMap<String, String> {
    let mut paths = HashMap::new();
    if objects.is_empty() {
        return paths;
    }
    let mut command = git(repository);
    let spawned = command.args(["rev-list", "--objects", "--all", "--reflog"]).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = spawned else { return paths };
    for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).split(b'\n')).map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        let Some((object, path)) = line.split_once(' ') else { continue };
        if objects.iter().any(|wanted| wanted == object) {
            paths.entry(object.to_owned()).or_insert_with(|| path.to_owned());
        }
    }
    end(child);
    paths
}

/// The first commit that brought the object in.
fn first_commit(repository: &Path, object: &str) -> Option<String> {
    let mut command = git(repository);
    command.args(["log", "--all", "--reflog", "--reverse", "--no-show-signature", "--no-ext-diff", "--no-textconv"]);
    command.arg("--format=%H");
    let output = command.arg(format!("--find-object={object}")).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(str::to_owned)
}

/// Whether it ended well.
fn end(mut child: Child) -> bool {
    child.wait().is_ok_and(|status| status.success())
}
