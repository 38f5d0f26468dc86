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
    let stamp = tls.stamp();
    let current = Arc::new(Current(RwLock::new(Arc::new(tls.load(clock.now())?))));
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .context("TLS 1.3 can't be set up")?
        .with_no_client_auth()
        .with_cert_resolver(current.clone());
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Early data can be replayed (RFC 8446, 8); 0 is rustls' default, said here so that it stays.
    config.max_early_data_size = 0;
    tokio::spawn(look_after(tls, stamp, current, clock, shutdown));
    Ok(Arc::new(config))
}

async fn look_after(
    tls: Tls,
    mut stamp: Option<(SystemTime, SystemTime)>,
    current: Arc<Current>,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
) {
    let mut issued = clock.now();
    let mut tick = tokio::time::interval(Duration::from_millis(LOOK_INTERVAL_MS));
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = tick.tick() => {}
        }
        let seen = tls.stamp();
        let due = match &tls {
            Tls::Files { .. } => seen.is_some() && seen != stamp,
            Tls::LocalCa { .. } => clock.now() > issued.plus(REISSUE_MS),
        };
        if !due {
            continue;
        }
        (stamp, issued) = (seen, clock.now());
        match tls.load(issued) {
            Ok(pair) => {
                *current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair);
                tracing::info!("a new TLS certificate is in use");
            }
            // Perhaps only half of the pair was written: the next change is looked at again.
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "the new TLS certificate is not used; the old one stays")
            }
        }
    }
}
