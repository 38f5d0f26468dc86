//! `iusign scan PATH…`: finds secret keys in files, folders, standard input and the history of git repositories, and says
//! what it did not search. It needs no server and shows no secret.

mod git;
mod report;
pub mod rules;

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
};

use secret::Hit;
use walkdir::{DirEntry, WalkDir};

use crate::{exit::Scanned, output};
use report::{Place, Report, Why};
use rules::Scanner;

/// Threads that search at most: then the disk is what they wait for.
const THREADS_MAX: usize = 16;
/// Bytes at a file's beginning that tell whether it is compressed.
const MAGIC_BYTES: usize = 8;

/// `iusign scan`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 no key was found; 1 keys were found; 2 something could not be searched, or what was named \
is compressed, and no key was found in the rest. What is compressed, a link or no file below a folder is only listed."
)]
pub struct Scan {
    /// Files, pipes, folders with all that lies below them (hidden and ignored files too), or - for standard input
    #[arg(value_name = "PATH", required_unless_present_any = ["git", "rules"])]
    paths: Vec<PathBuf>,
    /// A git repository: everything that its object store holds, also what no branch holds any more; may be repeated
    #[arg(long, value_name = "REPO")]
    git: Vec<PathBuf>,
    /// Print the rule for another scanner, and search nothing
    #[arg(long, value_enum, value_name = "SCANNER", conflicts_with_all = ["paths", "git"])]
    rules: Option<Scanner>,
}

/// Searches, and ends with the codes of scanners.
pub fn run(scan: &Scan, json: bool) -> anyhow::Result<()> {
    if let Some(scanner) = scan.rules {
        output::line(rules::rules(scanner).trim_end());
        return Ok(());
    }
    let report = Report::new(json);
    for path in &scan.paths {
        if path == Path::new("-") {
            search(io::stdin().lock(), "-", Why::NamedCompressed, &report);
        } else {
            search_below(path, &report);
        }
    }
    for repository in &scan.git {
        git::search(repository, &report);
    }
    let (found, failed) = report.end();
    match (found, failed) {
        (0, 0) => Ok(()),
        (0, _) => Err(Scanned::Fault.into()),
        _ => Err(Scanned::Found.into()),
    }
}

/// A file, or all that lies below a folder. One thread walks at a time, all search.
fn search_below(root: &Path, report: &Report) {
    let walk = Mutex::new(WalkDir::new(root).into_iter());
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get).min(THREADS_MAX);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = walk.lock().unwrap_or_else(PoisonError::into_inner).next();
                    match next {
                        Some(Ok(entry)) => search_entry(&entry, report),
                        Some(Err(error)) => {
                            let path = error.path().unwrap_or(root).display().to_string();
                            report.not_searched(&path, Why::Failed(error.io_error().map_or("a loop", said)));
                        }
                        None => break,
                    }
                }
            });
        }
    });
}

fn search_entry(entry: &DirEntry, report: &Report) {
    let (path, kind) = (entry.path(), entry.file_type());
    let name = path.display().to_string();
    // Each name once: those of the folders above were searched when they were met.
    for (offset, key) in secret::find(entry.file_name().as_encoded_bytes()) {
        report.found(&Place::Name(&name), &Hit { offset: offset as u64, line: 1, key });
    }
    // What was named is meant, be it a link, a pipe or a device. A link below a folder may lead anywhere, and its target is
    // searched where it is; a pipe there may never give anything.
    let is_named = entry.depth() == 0;
    if kind.is_dir() || is_named && path.is_dir() {
        return;
    }
    if kind.is_symlink() && !is_named {
        return report.not_searched(&name, Why::Link);
    }
    if !kind.is_file() && !is_named {
        return report.not_searched(&name, Why::Special);
    }
    let packed = if is_named { Why::NamedCompressed } else { Why::Compressed };
    match File::open(path) {
        Ok(file) => search(file, &name, packed, report),
        Err(error) => report.not_searched(&name, Why::Failed(said(&error))),
    }
}

/// One stream of bytes; `packed` says what it means where they are compressed.
fn search(from: impl Read, name: &str, packed: fn(&'static str) -> Why, report: &Report) {
    let place = Place::File(name);
    let mut begun = Begun::new(from);
    let read = secret::search(&mut begun, |hit| report.found(&place, &hit));
    match read {
        Ok(bytes) => report.searched(bytes),
        Err(error) => report.not_searched(&place.name(), Why::Failed(said(&error))),
    }
    if let Some(format) = begun.compressed() {
        report.not_searched(&place.name(), packed(format));
    }
}

/// A stream whose first bytes are kept.
struct Begun<R> {
    from: R,
    magic: [u8; MAGIC_BYTES],
    length: usize,
}

impl<R> Begun<R> {
    fn new(from: R) -> Self {
        Self { from, magic: [0; MAGIC_BYTES], length: 0 }
    }

    /// The format of what is packed, as far as it was read.
    fn compressed(&self) -> Option<&'static str> {
        compressed(&self.magic[..self.length])
    }
}

impl<R: Read> Read for Begun<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        let kept = read.min(MAGIC_BYTES - self.length);
        self.magic[self.length..self.length + kept].copy_from_slice(&buffer[..kept]);
        self.length += kept;
        Ok(read)
    }
}

/// The format of a file whose contents are packed, so that a search of its bytes says nothing about them.
fn compressed(magic: &[u8]) -> Option<&'static str> {
    const FORMATS: [(&[u8], &str); 13] = [
        (b"\x1f\x8b", "gzip"),
        (b"PK\x03\x04", "zip"),
        (b"BZh", "bzip2"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (b"Rar!\x1a\x07", "rar"),
        (b"\x04\x22\x4d\x18", "lz4"),
        (b"PACK\0\0\0", "a git pack: see --git"),
        (b"x\x01", "zlib, as git's objects: see --git"),
        (b"x\x9c", "zlib"),
        (b"%PDF-", "pdf"),
        (b"age-encr", "encrypted by age"),
    ];
    FORMATS.iter().find(|(begin, _)| magic.starts_with(begin)).map(|(_, format)| *format)
}

/// What the system said, without its number.
fn said(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file",
        io::ErrorKind::PermissionDenied => "permission denied",
        io::ErrorKind::IsADirectory => "a folder",
        _ => "it can't be read",
    }
}
