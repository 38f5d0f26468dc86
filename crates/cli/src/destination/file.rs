//! A secret in a file, or in a line of a file of variables: for its owner alone, whole or not at all.

use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use zeroize::Zeroizing;

/// Bytes of a file of variables at most.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// What others than the owner may do to the file: nothing.
const OTHERS: u32 = 0o077;

/// A file that may take a secret.
pub struct Place {
    path: PathBuf,
    variable: Option<String>,
    written: Option<Written>,
}

/// What a file held before we wrote, and what we wrote.
struct Written {
    before: Option<Zeroizing<String>>,
    text: Zeroizing<String>,
}

impl Place {
    /// Looks whether the file may be written: it is not there yet, or it is ours alone and holds what we may replace.
    pub fn open(path: &Path, variable: Option<&str>) -> anyhow::Result<Self> {
        let place = Self { path: path.to_owned(), variable: variable.map(str::to_owned), written: None };
        let text = place.text()?;
        if variable.is_none() && !text.trim().is_empty() {
            let is_key = secret::SecretKey::parse(crate::remote::trimmed(&text)).is_ok();
            ensure!(is_key, "{} holds something else than a secret key, and that is not overwritten", path.display());
        }
        let folder = place.folder();
        ensure!(folder.is_dir(), "there is no folder {}", folder.display());
        Ok(place)
    }

    /// Writes the secret; the answer is what the file holds then.
    pub fn write(&mut self, secret: &Zeroizing<String>) -> anyhow::Result<Zeroizing<String>> {
        let before = self.text()?;
        let text = match &self.variable {
            None => Zeroizing::new(format!("{}\n", secret.as_str())),
            Some(variable) => replaced(&before, variable, secret),
        };
        let before = self.path.exists().then_some(before);
        self.put(&text)?;
        self.written = Some(Written { before, text });
        self.read()
    }

    /// Writes what was there before the secret; whether there was anything to undo.
    pub fn undo(&mut self) -> anyhow::Result<bool> {
        let Some(Written { before, text }) = self.written.take() else { return Ok(false) };
        ensure!(self.text()? == text, "somebody else has written since");
        match before {
            Some(before) => self.put(&before)?,
            None => fs::remove_file(&self.path)?,
        }
        Ok(true)
    }

    fn put(&self, text: &str) -> anyhow::Result<()> {
        let mut partial = tempfile::Builder::new().prefix(".iusign").make_in(self.folder(), |name| {
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(name)
        })?;
        partial.write_all(text.as_bytes())?;
        partial.as_file().sync_all()?;
        // Looked at once more: a rename replaces the name, and never follows a link that was put there meanwhile.
        self.text()?;
        partial.persist(&self.path)?;
        fs::File::open(self.folder())?.sync_all()?;
        Ok(())
    }

    fn read(&self) -> anyhow::Result<Zeroizing<String>> {
        let text = self.text()?;
        let value = match &self.variable {
            None => Some(text.as_str()),
            Some(variable) => text.lines().find_map(|line| Some(parts(line, variable)?.value)),
        };
        Ok(Zeroizing::new(value.context("it is not there")?.trim().to_owned()))
    }

    /// What the file holds; nothing where it is not there. Whatever is no plain file of our own is refused.
    fn text(&self) -> anyhow::Result<Zeroizing<String>> {
        let path = self.path.display();
        let meta = match fs::symlink_metadata(&self.path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Zeroizing::default()),
            Err(error) => bail!("{path}: {error}"),
        };
        ensure!(!meta.is_symlink(), "{path} is a symbolic link, which is not followed: name the file itself");
        ensure!(meta.is_file(), "{path} is no file");
        ensure!(meta.uid() == rustix::process::geteuid().as_raw(), "{path} belongs to another user");
        ensure!(meta.nlink() == 1, "{path} has further names (hard links), which would keep what it held");
        let mode = meta.mode() & 0o777;
        ensure!(mode & OTHERS == 0, "{path} can be read by others (mode {mode:o}): chmod 600 {path}");
        ensure!(meta.len() <= FILE_BYTES_MAX, "{path} is too long");
        Ok(Zeroizing::new(fs::read_to_string(&self.path)?))
    }

    fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        }
    }
}

/// The text with the variable set to the value: where it stood, else at the end; never twice. All else stays, byte for byte.
fn replaced(text: &str, variable: &str, value: &str) -> Zeroizing<String> {
    let mut all = Zeroizing::new(String::new());
    let mut is_set = false;
    for line in text.split_inclusive('\n') {
        match parts(line, variable) {
            None => all.push_str(line),
            Some(_) if is_set => {}
            Some(Parts { before, after, .. }) => {
                // A comment that stands right behind would become a part of the value.
                let gap = if after.starts_with('#') { " " } else { "" };
                [before, value, gap, after].iter().for_each(|part| all.push_str(part));
                is_set = true;
            }
        }
    }
    if !is_set {
        let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
        if !all.is_empty() && !all.ends_with('\n') {
            all.push_str(end);
        }
        [variable, "=", value, end].iter().for_each(|part| all.push_str(part));
    }
    all
}

/// A line that sets the variable, around its value.
struct Parts<'a> {
    before: &'a str,
    value: &'a str,
    /// A comment and the line's end.
    after: &'a str,
}

/// `NAME=value`, also behind `export`, with spaces around the sign, in quotes, and with a comment behind it.
fn parts<'a>(line: &'a str, variable: &str) -> Option<Parts<'a>> {
    let rest = line.trim_start();
    let rest = match rest.strip_prefix("export") {
        Some(named) if named.starts_with([' ', '\t']) => named.trim_start(),
        _ => rest,
    };
    let rest = rest.strip_prefix(variable)?.trim_start_matches([' ', '\t']).strip_prefix('=')?;
    let rest = rest.trim_start_matches([' ', '\t']);
    let before = &line[..line.len() - rest.len()];
    let quoted = ['"', '\''].iter().find_map(|quote| rest.strip_prefix(*quote)?.split_once(*quote));
    if let Some((value, after)) = quoted {
        return Some(Parts { before, value, after });
    }
    // As shells have it: a # within a word is a part of it.
    let is_comment = |(at, _): &(usize, &str)| line[..before.len() + *at].ends_with([' ', '\t']);
    let end = rest.match_indices('#').find(is_comment).map_or(rest.len(), |(at, _)| at);
    let value = rest[..end].trim_end();
    Some(Parts { before, value, after: &rest[value.len()..] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    const KEY: &str = "iusk_dev_01j0000000e008000000000001_00000000000000000000000000000000000000000001Eoj5w";

    fn secret() -> Zeroizing<String> {
        Zeroizing::new(KEY.to_owned())
    }

    fn refused(path: &Path, variable: Option<&str>) -> String {
        Place::open(path, variable).err().map(|error| format!("{error:#}")).unwrap_or_default()
    }

    #[test]
    fn a_line_is_replaced_where_it_stood() {
        for (before, after) in [
            ("", "KEY=new\n"),
            ("A=1\n# KEY=x\nKEY_2=3", "A=1\n# KEY=x\nKEY_2=3\nKEY=new\n"),
            ("A=1\nKEY=old\nB=2\n", "A=1\nKEY=new\nB=2\n"),
            ("export KEY=\"old\"\nKEY=older\n", "export KEY=new\n"),
            ("A=1\r\nKEY=old\r\nB=2\r\n", "A=1\r\nKEY=new\r\nB=2\r\n"),
            ("A=1\r\nB=2", "A=1\r\nB=2\r\nKEY=new\r\n"),
            ("KEY=old  # of billing\nKEY_2=a#b", "KEY=new  # of billing\nKEY_2=a#b"),
            ("KEY='a # b' # c\n", "KEY=new # c\n"),
            ("  KEY = old\nKEY\t=\told\n", "  KEY = new\n"),
            ("KEY=\nA=1", "KEY=new\nA=1"),
            ("KEY= # none yet\nKEY='a'# b\n", "KEY= new # none yet\n"),
            ("KEY='a'# b\n", "KEY=new # b\n"),
            ("KEY=#a\n", "KEY=new\n"),
            ("KEY=old", "KEY=new"),
        ] {
            assert_eq!(replaced(before, "KEY", "new").as_str(), after);
        }
        for (line, value) in [
            ("KEY=a", Some("a")),
            (" export KEY='a b'", Some("a b")),
            ("KEY = a # b\r", Some("a")),
            ("KEY=a#b", Some("a#b")),
            ("KEYS=a", None),
            ("#KEY=a", None),
            ("exportKEY=a", None),
        ] {
            assert_eq!(parts(line, "KEY").map(|parts| parts.value), value, "{line}");
        }
    }

    #[test]
    fn a_secret_is_written_for_its_owner_alone_and_replaces_a_key_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        for _ in 0..2 {
            let mut place = Place::open(&path, None).expect("a place");
            assert_eq!(place.write(&secret()).expect("written"), secret());
            let meta = fs::metadata(&path).expect("there");
            assert_eq!((meta.mode() & 0o777, meta.len()), (0o600, KEY.len() as u64 + 1));
        }
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing else is left");
        fs::write(&path, "precious\n").expect("written");
        assert!(refused(&path, None).contains("not overwritten"));
        let mut place = Place::open(&path, Some("KEY")).expect("a file of variables");
        place.write(&secret()).expect("written");
        assert_eq!(fs::read_to_string(&path).expect("read"), format!("precious\nKEY={KEY}\n"));
    }

    #[test]
    fn what_was_there_is_put_back_unless_somebody_else_has_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("app.env");
        let mut place = Place::open(&path, Some("KEY")).expect("a place");
        assert!(!place.undo().expect("nothing to undo"));
        place.write(&secret()).expect("written");
        assert!(place.undo().expect("undone"));
        assert!(!path.exists(), "it was not there before");
        place.write(&secret()).expect("written");
        let before = fs::read_to_string(&path).expect("read");
        place.write(&Zeroizing::new("another".to_owned())).expect("written");
        assert!(place.undo().expect("undone"));
        assert_eq!(fs::read_to_string(&path).expect("read"), before);
        place.write(&secret()).expect("written");
        fs::write(&path, "theirs").expect("written");
        assert!(place.undo().is_err());
        assert_eq!(fs::read_to_string(&path).expect("read"), "theirs");
    }

    #[test]
    fn what_is_no_plain_file_of_our_own_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::write(path("real"), KEY).expect("written");
        fs::set_permissions(path("real"), fs::Permissions::from_mode(0o640)).expect("a mode");
        assert!(refused(&path("real"), None).contains("chmod 600"));
        fs::set_permissions(path("real"), fs::Permissions::from_mode(0o600)).expect("a mode");
        symlink(path("real"), path("link")).expect("a link");
        assert!(refused(&path("link"), None).contains("symbolic link"));
        symlink(path("nowhere"), path("dangling")).expect("a link");
        assert!(refused(&path("dangling"), Some("KEY")).contains("symbolic link"));
        fs::hard_link(path("real"), path("hard")).expect("a link");
        assert!(refused(&path("hard"), None).contains("further names"));
        assert!(refused(folder.path(), None).contains("no file"));
        assert!(refused(&path("none/key"), None).contains("no folder"));
    }
}
