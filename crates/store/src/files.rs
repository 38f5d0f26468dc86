//! Files: content-addressed as `tenant/environment/sha256`, durable before a row may name them.
//!
//! A digest is computed here, on the way to the disk, never taken from a caller. Whoever knows a digest has no right
//! by it: the scope is part of the address, and rows say who may fetch what.

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use model::{EnvScope, Random, Timestamp, event::hex};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::StoreError;

/// How much of a streamed file is held in memory before it is written.
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks on their way to the disk at once.
const CHUNKS_IN_FLIGHT_MAX: usize = 4;
/// The folder of the journal's notes, beside those of tenants.
const NOTES: &str = "journal";
/// The folder of uploads that have not ended, within their scope.
const INCOMING: &str = "incoming";

/// The store of files. A clone is the same store.
#[derive(Clone)]
pub struct Files {
    store: Arc<LocalFileSystem>,
    random: Arc<dyn Random>,
}

/// What was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Of the whole content, 64 hexadecimal digits.
    pub sha256: String,
    /// Its length in bytes.
    pub size: u64,
}

impl Stored {
    /// The digest as bytes.
    pub fn digest(&self) -> [u8; 32] {
        let mut digest = [0; 32];
        for (at, byte) in digest.iter_mut().enumerate() {
            // It was written by `hex`: 64 digits.
            *byte = u8::from_str_radix(self.sha256.get(2 * at..2 * at + 2).unwrap_or("00"), 16).unwrap_or_default();
        }
        digest
    }
}

/// A file that was not written lately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Old {
    /// Whose.
    pub scope: EnvScope,
    /// Its digest; none for an upload that never ended.
    pub sha256: Option<String>,
    address: ObjectPath,
}

impl Old {
    fn at(address: ObjectPath) -> Option<Self> {
        let parts: Vec<String> = address.parts().map(|part| part.as_ref().to_owned()).collect();
        let (tenant, environment, rest) = match parts.as_slice() {
            [tenant, environment, digest] => (tenant, environment, Some(digest.clone())),
            [tenant, environment, folder, _] if folder == INCOMING => (tenant, environment, None),
            _ => return None,
        };
        let scope = EnvScope { tenant: tenant.parse().ok()?, environment: environment.parse().ok()? };
        Some(Self { scope, sha256: rest, address })
    }
}

/// A file, or a part of it, on its way out.
pub struct Reading {
    /// The length of the whole file.
    pub size: u64,
    /// The part that comes.
    pub range: Range<u64>,
    /// Its bytes.
    pub bytes: BoxStream<'static, Result<Bytes, StoreError>>,
}

impl Files {
    /// The files under a folder, which is made if it isn't there. `random` names uploads until their digest is known.
    pub fn open(folder: &Path, random: Arc<dyn Random>) -> Result<Files, StoreError> {
        std::fs::create_dir_all(folder)?;
        // fsync is off by default: without it a power cut loses what was acknowledged.
        let store = LocalFileSystem::new_with_prefix(folder).map_err(StoreError::file)?.with_fsync(true);
        Ok(Files { store: Arc::new(store), random })
    }

    /// Store bytes. When this returns, they are on the disk.
    pub async fn put(&self, scope: EnvScope, bytes: impl Into<Bytes>) -> Result<Stored, StoreError> {
        let bytes = bytes.into();
        let stored = Stored { sha256: hex(&Sha256::digest(&bytes)), size: bytes.len() as u64 };
        // Written again even where it is there already: the sweep spares what is young.
        self.store.put(&address(scope, &stored.sha256), PutPayload::from(bytes)).await.map_err(fault)?;
        Ok(stored)
    }

    /// Store a stream of at most `bytes_max`. When this returns, it is on the disk; when it fails, nothing is.
    pub async fn put_stream<S, E>(&self, scope: EnvScope, bytes_max: u64, stream: S) -> Result<Stored, StoreError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: std::error::Error + Send + Sync + 'static,
    {
        let incoming = self.incoming(scope);
        let upload = self.store.put_multipart(&incoming).await.map_err(fault)?;
        let mut writing = WriteMultipart::new_with_chunk_size(upload, CHUNK_BYTES);
        let stored = match receive(&mut writing, bytes_max, stream).await {
            Ok(stored) => stored,
            Err(error) => {
                writing.abort().await.map_err(fault)?;
                return Err(error);
            }
        };
        writing.finish().await.map_err(fault)?;
        self.store.rename(&incoming, &address(scope, &stored.sha256)).await.map_err(fault)?;
        Ok(stored)
    }

    /// A file to read from at will, as a worker process gets it.
    pub async fn open_file(&self, scope: EnvScope, sha256: &str) -> Result<File, StoreError> {
        let path = self.store.path_to_filesystem(&checked_address(scope, sha256)?).map_err(fault)?;
        let name = sha256.to_owned();
        let opening = tokio::task::spawn_blocking(move || File::open(path)).await.map_err(StoreError::file)?;
        opening.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => StoreError::FileMissing(name),
            _ => error.into(),
        })
    }

    /// A whole file in memory. For files whose size has a bound.
    pub async fn read(&self, scope: EnvScope, sha256: &str) -> Result<Bytes, StoreError> {
        let got = self.store.get(&checked_address(scope, sha256)?).await.map_err(fault)?;
        got.bytes().await.map_err(fault)
    }

    /// A file, or the part of it that `range` names, as a stream.
    pub async fn stream(
        &self,
        scope: EnvScope,
        sha256: &str,
        range: Option<Range<u64>>,
    ) -> Result<Reading, StoreError> {
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        let got = self.store.get_opts(&checked_address(scope, sha256)?, options).await.map_err(fault)?;
        let (size, range) = (got.meta.size, got.range.clone());
        Ok(Reading { size, range, bytes: got.into_stream().map_err(fault).boxed() })
    }

    /// Every file that was last written before `before`, in the order of its address; what else lies in the folder is
    /// passed over.
    pub fn older(&self, before: Timestamp) -> BoxStream<'static, Result<Old, StoreError>> {
        let listed = self.store.list(None).map_err(fault);
        let old = listed.try_filter_map(move |meta| async move {
            let is_old = meta.last_modified.timestamp_millis() < before.millis();
            Ok(if is_old { Old::at(meta.location) } else { None })
        });
        old.boxed()
    }

    /// Removes a file unless it was written again in the meantime.
    pub async fn remove(&self, old: &Old, before: Timestamp) -> Result<bool, StoreError> {
        let meta = self.store.head(&old.address).await.map_err(fault)?;
        if meta.last_modified.timestamp_millis() >= before.millis() {
            return Ok(false);
        }
        self.store.delete(&old.address).await.map_err(fault)?;
        Ok(true)
    }

    /// Keeps a note under a name, in place of the one before. When this returns, it is on the disk. `name` is an id.
    pub(crate) async fn put_note(&self, name: &str, text: String) -> Result<(), StoreError> {
        let address = ObjectPath::from(format!("{NOTES}/{name}"));
        self.store.put(&address, PutPayload::from(text.into_bytes())).await.map_err(fault)?;
        Ok(())
    }

    /// The note of that name.
    pub(crate) async fn note(&self, name: &str) -> Result<Option<String>, StoreError> {
        match self.store.get(&ObjectPath::from(format!("{NOTES}/{name}"))).await {
            Ok(got) => Ok(Some(String::from_utf8_lossy(&got.bytes().await.map_err(fault)?).into_owned())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(fault(error)),
        }
    }

    /// Every note.
    pub(crate) async fn notes(&self) -> Result<Vec<String>, StoreError> {
        let mut listed = self.store.list(Some(&ObjectPath::from(NOTES)));
        let mut notes = Vec::new();
        while let Some(meta) = listed.try_next().await.map_err(fault)? {
            let got = self.store.get(&meta.location).await.map_err(fault)?;
            notes.push(String::from_utf8_lossy(&got.bytes().await.map_err(fault)?).into_owned());
        }
        Ok(notes)
    }

    fn incoming(&self, scope: EnvScope) -> ObjectPath {
        let mut name = [0; 16];
        self.random.fill(&mut name);
        ObjectPath::from(format!("{}/{}/{INCOMING}/{}", scope.tenant, scope.environment, hex(&name)))
    }
}

async fn receive<S, E>(writing: &mut WriteMultipart, bytes_max: u64, stream: S) -> Result<Stored, StoreError>
where
    S: Stream<Item = Result<Bytes, E>> + Send,
    E: std::error::Error + Send + Sync + 'static,
{
    let mut stream = std::pin::pin!(stream);
    let mut digest = Sha256::new();
    let mut size = 0_u64;
    while let Some(bytes) = stream.next().await {
        let bytes = bytes.map_err(StoreError::file)?;
        size += bytes.len() as u64;
        if size > bytes_max {
            return Err(StoreError::TooLong(bytes_max));
        }
        digest.update(&bytes);
        writing.wait_for_capacity(CHUNKS_IN_FLIGHT_MAX).await.map_err(fault)?;
        writing.put(bytes);
    }
    Ok(Stored { sha256: hex(&digest.finalize()), size })
}

fn address(scope: EnvScope, sha256: &str) -> ObjectPath {
    ObjectPath::from(format!("{}/{}/{sha256}", scope.tenant, scope.environment))
}

fn checked_address(scope: EnvScope, sha256: &str) -> Result<ObjectPath, StoreError> {
    // What comes from a row is a digest; anything else could name another file.
    let is_digest = sha256.len() == 64 && sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if is_digest { Ok(address(scope, sha256)) } else { Err(StoreError::FileMissing("(not a digest)".to_owned())) }
}

fn fault(error: object_store::Error) -> StoreError {
    match error {
        object_store::Error::NotFound { path, .. } => StoreError::FileMissing(path),
        other => StoreError::file(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Environment, TenantId};
    use std::io::Read;
    use std::sync::atomic::{AtomicU8, Ordering};

    struct Counting(AtomicU8);

    impl Random for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0.fetch_add(1, Ordering::Relaxed));
        }
    }

    fn files() -> (tempfile::TempDir, Files, EnvScope) {
        let folder = tempfile::tempdir().expect("a folder");
        let random = Counting(AtomicU8::new(0));
        let tenant = TenantId::new(Timestamp::from_millis(1), &random);
        let files = Files::open(&folder.path().join("files"), Arc::new(random)).expect("opens");
        (folder, files, EnvScope { tenant, environment: Environment::Production })
    }

    fn pieces(content: &[u8], piece: usize) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + use<> {
        let pieces: Vec<_> = content.chunks(piece).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
        futures::stream::iter(pieces)
    }

    #[tokio::test]
    async fn a_streamed_file_is_found_by_its_digest_in_its_own_scope_alone() {
        let (_folder, files, scope) = files();
        let content: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
        let stored = files.put_stream(scope, 3_000_000, pieces(&content, 70_001)).await.expect("stored");
        assert_eq!(stored, Stored { sha256: hex(&Sha256::digest(&content)), size: 3_000_000 });
        assert_eq!(files.put(scope, content.clone()).await.expect("again"), stored);
        assert_eq!(files.read(scope, &stored.sha256).await.expect("read"), content);
        let mut file = files.open_file(scope, &stored.sha256).await.expect("opened");
        let mut read = Vec::new();
        file.read_to_end(&mut read).expect("read");
        assert_eq!(read, content);
        let elsewhere = EnvScope { environment: Environment::Staging, ..scope };
        assert!(matches!(files.read(elsewhere, &stored.sha256).await, Err(StoreError::FileMissing(_))));
        assert!(matches!(files.open_file(elsewhere, &stored.sha256).await, Err(StoreError::FileMissing(_))));
        assert!(matches!(files.read(scope, "../../etc/passwd").await, Err(StoreError::FileMissing(_))));
    }

    #[tokio::test]
    async fn what_was_written_again_is_not_removed() {
        let (_folder, files, scope) = files();
        let stored = files.put(scope, &b"0123456789"[..]).await.expect("stored");
        let (past, future) = (Timestamp::from_millis(0), Timestamp::from_millis(9_000_000_000_000));
        let old: Vec<Old> = files.older(future).try_collect().await.expect("a list");
        assert_eq!(
            old.iter().map(|old| (old.scope, old.sha256.clone())).collect::<Vec<_>>(),
            [(scope, Some(stored.sha256))]
        );
        assert!(files.older(past).try_collect::<Vec<_>>().await.expect("a list").is_empty());
        assert!(!files.remove(&old[0], past).await.expect("looked at"));
        assert!(files.remove(&old[0], future).await.expect("removed"));
        assert!(files.older(future).try_collect::<Vec<_>>().await.expect("a list").is_empty());
    }

    #[tokio::test]
    async fn a_part_of_a_file_comes_with_the_length_of_the_whole() {
        let (_folder, files, scope) = files();
        let stored = files.put(scope, &b"0123456789"[..]).await.expect("stored");
        let reading = files.stream(scope, &stored.sha256, Some(2..5)).await.expect("a stream");
        assert_eq!((reading.size, reading.range), (10, 2..5));
        let bytes: Vec<Bytes> = reading.bytes.try_collect().await.expect("bytes");
        assert_eq!(bytes.concat(), b"234");
    }

    #[tokio::test]
    async fn a_stream_that_is_too_long_or_breaks_leaves_nothing_behind() {
        let (folder, files, scope) = files();
        let long = files.put_stream(scope, 99, pieces(&[7; 100], 10)).await;
        assert!(matches!(long, Err(StoreError::TooLong(99))));
        let broken = pieces(&[7; 50], 10).chain(futures::stream::iter([Err(std::io::Error::other("cut"))]));
        assert!(matches!(files.put_stream(scope, 99, broken).await, Err(StoreError::File(_))));
        let mut folders = vec![folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                assert!(path.is_dir(), "left behind: {}", path.display());
                folders.push(path);
            }
        }
    }
}
