//! TLS 1.3 and nothing else: aws-lc-rs, no early data, HTTP/2 and HTTP/1.1 by ALPN, certificates that can be exchanged.

use std::{fs, path::PathBuf, sync::Arc, time::SystemTime};

use anyhow::{Context, bail};
use model::{Clock, Timestamp};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

use crate::ca;

/// How often certificate files are looked at.
const LOOK_INTERVAL_MS: u64 = 5_000;
/// When a certificate of the local CA is issued anew; it is valid for 396 days.
const REISSUE_MS: i64 = 300 * model::time::DAY_MS;

/// Where the certificate comes from.
#[derive(Clone, Debug)]
pub enum Tls {
    /// PEM files; a changed one is taken up without dropping a connection.
    Files {
        /// The certificate, followed by those that lead to its root.
        cert: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// A local CA, for development: see `ca.rs`.
    LocalCa {
        /// The folder of `ca.pem` and `ca.key`.
        dir: PathBuf,
        /// Names and addresses besides `localhost`, `127.0.0.1` and `::1`.
        names: Vec<String>,
    },
}

impl Tls {
    fn load(&self, now: Timestamp) -> anyhow::Result<CertifiedKey> {
        match self {
            Self::Files { cert, key } => from_files(cert, key),
            Self::LocalCa { dir, names } => ca::issue(dir, names, now),
        }
    }

    /// What a change shows by: the files' times.
    fn stamp(&self) -> Option<(SystemTime, SystemTime)> {
        let modified = |path| fs::metadata(path).and_then(|meta| meta.modified()).ok();
        match self {
            Self::Files { cert, key } => Some((modified(cert)?, modified(key)?)),
            Self::LocalCa { .. } => None,
        }
    }
}

fn from_files(cert: &PathBuf, key: &PathBuf) -> anyhow::Result<CertifiedKey> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .with_context(|| format!("can't read the certificate {}: PEM is wanted", cert.display()))?;
    if chain.is_empty() {
        bail!("{} holds no certificate: PEM is wanted", cert.display());
    }
    let key_der = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("can't read the private key {}: PEM without a password is wanted", key.display()))?;
    let signing = aws_lc_rs::sign::any_supported_type(&key_der)
        .with_context(|| format!("the private key {} is of a kind that can't be used", key.display()))?;
    let pair = CertifiedKey::new(chain, signing);
    match pair.keys_match() {
        // Unknown means that the key can't tell its public half; the first handshake shows.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(pair),
        Err(_) => bail!("{} is not the key of the certificate {}", key.display(), cert.display()),
    }
}

/// The certificate at present.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // One assignment happens under the lock: a panic elsewhere leaves a whole value.
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// The configuration of every connection. A task looks after the certificate until `shutdown`.
pub(crate) fn config(
    tls: Tls,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
) -> anyhow::Result<Arc<ServerConfig>> {
    let mut care = Care::begin(tls, clock)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .context("TLS 1.3 can't be set up")?
        .with_no_client_auth()
        .with_cert_resolver(care.current.clone());
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Early data can be replayed (RFC 8446, 8); 0 is rustls' default, said here so that it stays.
    config.max_early_data_size = 0;
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(LOOK_INTERVAL_MS));
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = tick.tick() => care.look(),
            }
        }
    });
    Ok(Arc::new(config))
}

/// Keeps the certificate fresh.
struct Care {
    tls: Tls,
    stamp: Option<(SystemTime, SystemTime)>,
    issued: Timestamp,
    current: Arc<Current>,
    clock: Arc<dyn Clock>,
}

impl Care {
    fn begin(tls: Tls, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let (stamp, issued) = (tls.stamp(), clock.now());
        let current = Arc::new(Current(RwLock::new(Arc::new(tls.load(issued)?))));
        Ok(Self { tls, stamp, issued, current, clock })
    }

    /// Takes up a new certificate where there is one; a bad one is told and the old one stays.
    fn look(&mut self) {
        let (stamp, now) = (self.tls.stamp(), self.clock.now());
        let due = match &self.tls {
            Tls::Files { .. } => stamp.is_some() && stamp != self.stamp,
            Tls::LocalCa { .. } => now > self.issued.plus(REISSUE_MS),
        };
        if !due {
            return;
        }
        // Where only half of the pair was written, the other half's change is looked at again.
        (self.stamp, self.issued) = (stamp, now);
        match self.tls.load(now) {
            Ok(pair) => {
                *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair);
                tracing::info!("a new TLS certificate is in use");
            }
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "the new TLS certificate is not used; the old one stays");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::sync::atomic::{AtomicI64, Ordering};

    struct Moved(AtomicI64);

    impl Clock for Moved {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.0.load(Ordering::Relaxed))
        }
    }

    fn clock() -> Arc<Moved> {
        Arc::new(Moved(AtomicI64::new(1_800_000_000_000)))
    }

    /// Writes a pair whose files were changed `age_s` seconds after 2027.
    fn write(cert: &Path, key: &Path, age_s: u64) -> Vec<u8> {
        let pair = rcgen::generate_simple_self_signed(vec!["sign.example.com".to_owned()]).expect("a certificate");
        fs::write(cert, pair.cert.pem()).expect("writes");
        fs::write(key, pair.signing_key.serialize_pem()).expect("writes");
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + age_s);
        for file in [cert, key] {
            fs::File::options().append(true).open(file).and_then(|file| file.set_modified(at)).expect("a time");
        }
        pair.cert.der().to_vec()
    }

    fn in_use(care: &Care) -> Vec<u8> {
        care.current.0.read().expect("held").cert[0].to_vec()
    }

    #[test]
    fn a_changed_file_is_taken_up_and_a_bad_one_keeps_the_old() {
        let folder = tempfile::tempdir().expect("a folder");
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let first = write(&cert, &key, 0);
        let mut care = Care::begin(Tls::Files { cert: cert.clone(), key: key.clone() }, clock()).expect("good");
        assert_eq!(in_use(&care), first);
        let second = write(&cert, &key, 1);
        care.look();
        assert_eq!(in_use(&care), second);
        let other = folder.path().join("other.pem");
        write(&cert, &other, 2);
        care.look();
        assert_eq!(in_use(&care), second, "the key is not the certificate's");
        fs::remove_file(&cert).expect("removes");
        care.look();
        assert_eq!(in_use(&care), second);
        let third = write(&cert, &key, 3);
        care.look();
        assert_eq!(in_use(&care), third);
    }

    #[test]
    fn what_is_wrong_with_the_files_is_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let load = |cert: &Path, key: &Path| {
            let error = from_files(&cert.to_owned(), &key.to_owned()).expect_err("refused");
            format!("{error:#}").replace(&folder.path().display().to_string(), "DIR")
        };
        assert!(load(&cert, &key).starts_with("can't read the certificate DIR/cert.pem: PEM is wanted"));
        fs::write(&cert, "nothing").expect("writes");
        assert_eq!(load(&cert, &key), "DIR/cert.pem holds no certificate: PEM is wanted");
        let other = folder.path().join("other.pem");
        write(&folder.path().join("unused.pem"), &other, 0);
        write(&cert, &key, 0);
        assert_eq!(load(&cert, &other), "DIR/other.pem is not the key of the certificate DIR/cert.pem");
        assert!(load(&cert, &cert).starts_with("can't read the private key DIR/cert.pem"));
    }

    #[test]
    fn the_local_ca_stays_and_its_leaf_is_issued_anew_before_it_ends() {
        let (folder, clock) = (tempfile::tempdir().expect("a folder"), clock());
        let tls = Tls::LocalCa { dir: folder.path().to_owned(), names: vec!["sign.test".to_owned()] };
        let mut care = Care::begin(tls.clone(), clock.clone()).expect("issues");
        let (root, first) = (fs::read(folder.path().join(ca::CA_FILE)).expect("ca.pem"), in_use(&care));
        care.look();
        assert_eq!(in_use(&care), first);
        clock.0.fetch_add(REISSUE_MS + 1, Ordering::Relaxed);
        care.look();
        assert_ne!(in_use(&care), first);
        Care::begin(tls, clock).expect("a second start");
        assert_eq!(fs::read(folder.path().join(ca::CA_FILE)).expect("ca.pem"), root);
    }
}
