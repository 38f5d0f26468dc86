//! The data folder: what lies where, who may read it, and the keys that are made when they are not there yet.

use std::{
    fs,
    io::{self, Write},
    os::{
        fd::IntoRawFd,
        unix::{
            fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
            net::UnixStream,
        },
    },
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use app::SystemClock;
use model::{Clock, event::hex};
use seal::key::SealKey;
use zeroize::Zeroizing;

use crate::config::Settings;

/// Bytes of a key's file at most; more is not one.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;
/// The bits of a mode that let others than the owner read, write or run.
const OTHERS: u32 = 0o077;

/// Where everything lies.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The folder itself.
    pub root: PathBuf,
    /// The embedded database.
    pub database: PathBuf,
    /// The files, content-addressed.
    pub files: PathBuf,
    /// The key that links are made with and secrets are encrypted under.
    pub master_key: PathBuf,
    /// The certificate of the seal.
    pub seal_cert: PathBuf,
    /// The seal's private key.
    pub seal_key: PathBuf,
    /// The local CA's certificate, for clients to trust.
    pub ca: PathBuf,
    /// The operator's socket.
    pub admin_socket: PathBuf,
}

impl Layout {
    /// Where things lie under these settings. Nothing is made.
    pub fn of(settings: &Settings) -> anyhow::Result<Self> {
        let data_dir = settings.data_dir();
        let root = std::path::absolute(&data_dir).with_context(|| format!("{} is no path", data_dir.display()))?;
        let or = |setting: &Option<PathBuf>, name: &str| setting.clone().unwrap_or_else(|| root.join(name));
        Ok(Self {
            database: root.join("iusign.db"),
            files: or(&settings.files_dir, "files"),
            master_key: or(&settings.master_key_file, "master.key"),
            seal_cert: or(&settings.seal_cert, "seal/cert.pem"),
            seal_key: or(&settings.seal_key, "seal/key.pem"),
            ca: root.join(server::ca::CA_FILE),
            admin_socket: root.join("admin.sock"),
            root,
        })
    }

    /// The operator's socket at which a server answers: on PostgreSQL several may share the folder, and the first may have
    /// gone. Where none answers, the one that it would have.
    pub fn answering_socket(&self) -> PathBuf {
        let is_another = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("admin-") && name.ends_with(".sock")
        };
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        std::iter::once(self.admin_socket.clone())
            .chain(entries.map(|entry| entry.path()).filter(is_another))
            .find(|path| socket_path(path).is_ok_and(|path| UnixStream::connect(path).is_ok()))
            .unwrap_or_else(|| self.admin_socket.clone())
    }

    /// Makes the folder, for its owner alone.
    pub fn make(&self) -> anyhow::Result<()> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.root);
        made.with_context(|| format!("can't make the data folder {}", self.root.display()))
    }

    /// Reads the master key; one in the default place is made where there is none.
    pub fn master_key(&self, settings: &Settings) -> anyhow::Result<[u8; 32]> {
        if let Some(text) = &settings.master_key {
            return unhex(text.as_str()).context("IUSIGN_MASTER_KEY has to be 64 hexadecimal digits");
        }
        if settings.master_key_file.is_none() && !self.master_key.exists() {
            let mut key = Zeroizing::new([0; 32]);
            getrandom::fill(key.as_mut()).map_err(|error| anyhow::anyhow!("no random bits: {error}"))?;
            let text = Zeroizing::new(format!("{}\n", hex(key.as_ref())));
            write_new(&self.master_key, text.as_bytes(), 0o600)?;
        }
        let text = read_private(&self.master_key).context("the master key")?;
        let wrong =
            || format!("{} has to hold 64 hexadecimal digits; restore it from a backup", self.master_key.display());
        unhex(text.trim()).with_context(wrong)
    }

    /// Loads the seal key, or says why there is none; in the default place it is made where there is none.
    pub fn seal_key(&self, settings: &Settings) -> Result<SealKey, String> {
        let load = || {
            if settings.seal_cert.is_none() && settings.seal_key.is_none() {
                self.make_seal_key()?;
            }
            let cert = fs::read_to_string(&self.seal_cert);
            let cert = cert.with_context(|| format!("can't read the seal certificate {}", self.seal_cert.display()))?;
            let key = read_private(&self.seal_key).context("the seal key")?;
            SealKey::from_pem(&cert, &key).map_err(anyhow::Error::from)
        };
        load().map_err(|error| format!("{error:#}"))
    }

    /// Makes key and certificate together: the folder appears whole, so that two processes never mix theirs.
    fn make_seal_key(&self) -> anyhow::Result<()> {
        let folder = self.root.join("seal");
        if folder.exists() {
            return Ok(());
        }
        let made = SealKey::generate("IUSign seal (self-signed)", SystemClock.now().millis())?;
        let partial = tempfile::Builder::new().prefix(".seal").tempdir_in(&self.root)?;
        write_new(&partial.path().join("cert.pem"), made.certificate.as_bytes(), 0o644)?;
        write_new(&partial.path().join("key.pem"), made.key.as_bytes(), 0o600)?;
        match fs::rename(partial.path(), &folder) {
            Ok(()) => {
                // It has another name now: there is nothing left to remove.
                let _ = partial.keep();
                Ok(())
            }
            // Another process was first: its key is as good.
            Err(_) if folder.join("key.pem").exists() => Ok(()),
            Err(error) => Err(error).with_context(|| format!("can't make {}", folder.display())),
        }
    }
}

/// What is wrong with the mode of a file or folder that is its owner's alone, if anything.
pub fn too_open(path: &Path) -> io::Result<Option<String>> {
    let meta = fs::metadata(path)?;
    let mode = meta.mode() & 0o777;
    let wanted = if meta.is_dir() { 0o700 } else { 0o600 };
    Ok((mode & OTHERS != 0)
        .then(|| format!("{} can be read by others (mode {mode:o}): chmod {wanted:o} {0}", path.display())))
}

/// Reads a file that nobody else may read.
pub fn read_private(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let said = || format!("can't read {}", path.display());
    if let Some(wrong) = too_open(path).with_context(said)? {
        bail!("{wrong}");
    }
    if fs::metadata(path).with_context(said)?.len() > KEY_FILE_BYTES_MAX {
        bail!("{} is too long to be a key's file", path.display());
    }
    Ok(Zeroizing::new(fs::read_to_string(path).with_context(said)?))
}

/// Writes a file that is not there yet: whole and durable, or not at all. Where another process was first, its file stays.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let write = || {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut partial = tempfile::Builder::new()
            .prefix(".partial")
            .make_in(folder, |name| fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(name))?;
        partial.write_all(bytes)?;
        partial.as_file().sync_all()?;
        match partial.persist_noclobber(path) {
            Ok(_) => fs::File::open(folder)?.sync_all(),
            Err(lost) if lost.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(failed) => Err(failed.error),
        }
    };
    write().with_context(|| format!("can't write {}", path.display()))
}

/// The same place by a path that is short enough for a socket: the folder is held open and named by its descriptor.
pub fn socket_path(path: &Path) -> anyhow::Result<PathBuf> {
    // sockaddr_un, unix(7): 108 bytes with the zero at the end.
    const SOCKET_PATH_BYTES_MAX: usize = 107;
    if path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
        return Ok(path.to_owned());
    }
    let (folder, name) = (path.parent().unwrap_or(Path::new("/")), path.file_name().unwrap_or_default());
    let open = fs::File::open(folder).with_context(|| format!("can't open the folder {}", folder.display()))?;
    // Open as long as the process lives: the path is only good while the folder is.
    Ok(Path::new("/proc/self/fd").join(open.into_raw_fd().to_string()).join(name))
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    fn layout(folder: &Path) -> (Settings, Layout) {
        let settings = Settings { data_dir: Some(folder.join("data")), ..Settings::default() };
        let layout = Layout::of(&settings).expect("a layout");
        layout.make().expect("a folder");
        (settings, layout)
    }

    #[test]
    fn keys_are_made_once_and_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let (settings, layout) = layout(folder.path());
        let first = layout.master_key(&settings).expect("made");
        assert_eq!(layout.master_key(&settings).expect("read"), first);
        let seal = layout.seal_key(&settings).map_err(|why| panic!("{why}")).map(|key| key.fingerprint());
        assert_eq!(layout.seal_key(&settings).map(|key| key.fingerprint()), seal);
        for path in [&layout.master_key, &layout.seal_key, &layout.root] {
            assert_eq!(too_open(path).expect("a mode"), None);
        }
    }

    #[test]
    fn the_operator_reaches_a_server_that_is_not_the_first_of_its_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let (_, layout) = layout(folder.path());
        assert_eq!(layout.answering_socket(), layout.admin_socket);
        // Whoever is killed leaves the name behind.
        drop(UnixListener::bind(&layout.admin_socket).expect("bound"));
        let second = layout.root.join("admin-4711.sock");
        let _listener = UnixListener::bind(&second).expect("bound");
        assert_eq!(layout.answering_socket(), second);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let (settings, layout) = layout(folder.path());
        layout.master_key(&settings).expect("made");
        fs::set_permissions(&layout.master_key, fs::Permissions::from_mode(0o644)).expect("a mode");
        let refused = format!("{:#}", layout.master_key(&settings).expect_err("too open"));
        assert!(refused.contains("chmod 600"), "{refused}");
    }

    #[test]
    fn a_master_key_that_is_none_is_refused_and_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let (settings, layout) = layout(folder.path());
        write_new(&layout.master_key, b"short", 0o600).expect("written");
        assert!(layout.master_key(&settings).is_err());
        assert_eq!(fs::read(&layout.master_key).expect("still there"), b"short");
    }

    #[test]
    fn a_socket_deep_in_the_tree_is_reached_all_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let deep = folder.path().join("a".repeat(120));
        fs::create_dir(&deep).expect("a folder");
        let path = deep.join("admin.sock");
        let _listener = UnixListener::bind(socket_path(&path).expect("a path")).expect("bound");
        assert!(path.exists());
        UnixStream::connect(socket_path(&path).expect("a path")).expect("connected");
        assert_eq!(socket_path(Path::new("/x/admin.sock")).expect("a path"), Path::new("/x/admin.sock"));
    }

    #[test]
    fn hexadecimal_digits_are_read_back() {
        assert_eq!(unhex(&hex(&[0xa7; 32])), Some([0xa7; 32]));
        assert_eq!(unhex(&"g".repeat(64)), None);
        assert_eq!(unhex("a7"), None);
    }
}
