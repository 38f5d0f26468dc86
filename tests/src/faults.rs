//! Faults at a chosen sync of the server: `tests/tools/faults.c`, preloaded, and the file through which it is steered.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    process::Command,
};

use tempfile::TempDir;

use crate::server::root;

/// What happens at the chosen sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server is killed, as by a power cut.
    Kill = 1,
    /// The sync fails: input/output error.
    Eio = 2,
    /// From then on no file can be written, until [`Faults::end`].
    FullDisk = 3,
}

/// The steering of one server.
pub struct Faults {
    folder: TempDir,
    file: File,
}

impl Faults {
    /// Builds the library; nothing happens yet.
    pub fn new() -> Faults {
        let folder = tempfile::Builder::new().prefix("iusign-faults-").tempdir().expect("a temporary folder");
        let library = folder.path().join("faults.so");
        let source = root().join("tests/tools/faults.c");
        let built = Command::new("cc").args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(&source).output();
        let built = built.expect("cc runs: ./test installs it");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let path = folder.path().join("steering");
        fs::write(&path, [0; 24]).expect("written");
        let file = File::options().read(true).write(true).open(path).expect("a file");
        Faults { folder, file }
    }

    /// What the server's environment has to hold.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        vec![("LD_PRELOAD", path("faults.so")), ("FAULTS_FILE", path("steering"))]
    }

    /// How many syncs there were, over all lives of the server.
    pub fn syncs(&self) -> i64 {
        self.read(0)
    }

    /// The fault comes at the `nth` sync from now.
    pub fn at(&self, nth: i64, fault: Fault) {
        self.write(2, fault as i64);
        self.write(1, self.syncs() + nth);
    }

    /// Whether it has come.
    pub fn came(&self) -> bool {
        self.read(1) == 0
    }

    /// No more faults; a full disk has room again.
    pub fn end(&self) {
        self.write(2, 0);
        self.write(1, 0);
    }

    fn read(&self, place: u64) -> i64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, place * 8).expect("read");
        i64::from_ne_bytes(bytes)
    }

    fn write(&self, place: u64, value: i64) {
        self.file.write_all_at(&value.to_ne_bytes(), place * 8).expect("written");
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::new()
    }
}
