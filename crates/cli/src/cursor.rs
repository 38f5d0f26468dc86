//! A cursor in a file: where a follower of events goes on after a restart. Written whole, after the work is done.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context;

/// Bytes of such a file at most.
const CURSOR_BYTES_MAX: u64 = 4_096;

/// The file, or none.
#[derive(Clone, Debug)]
pub struct CursorFile(Option<PathBuf>);

impl CursorFile {
    /// The file at this path; with none nothing is kept.
    pub fn new(path: Option<PathBuf>) -> Self {
        Self(path)
    }

    /// Where it was left.
    pub fn load(&self) -> anyhow::Result<Option<String>> {
        let Some(path) = &self.0 else { return Ok(None) };
        let said = || format!("can't read the cursor in {}", path.display());
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Ok(meta) if meta.len() > CURSOR_BYTES_MAX => anyhow::bail!("{} holds no cursor", path.display()),
            found => found.with_context(said)?,
        };
        let text = fs::read_to_string(path).with_context(said)?;
        Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
    }

    /// Goes on from here next time.
    pub fn save(&self, cursor: &str) -> anyhow::Result<()> {
        let Some(path) = &self.0 else { return Ok(()) };
        let write = || {
            use io::Write;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let mut file = tempfile::Builder::new().prefix(".cursor").tempfile_in(folder)?;
            writeln!(file, "{cursor}")?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|failed| failed.error)
        };
        write().map(drop).with_context(|| format!("can't write the cursor to {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_and_absence_is_the_beginning() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = CursorFile::new(Some(folder.path().join("cursor")));
        assert_eq!(file.load().expect("read"), None);
        file.save("abc").expect("written");
        file.save("abd").expect("written");
        assert_eq!(file.load().expect("read").as_deref(), Some("abd"));
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
        CursorFile::new(None).save("x").expect("nothing to do");
    }
}
