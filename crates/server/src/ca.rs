//! A local certificate authority for development: its root lies beside the data, the server's certificate lives in memory.
//!
//! `ca.key` (0600) is made once; `ca.pem` is what clients are told to trust (`curl --cacert`). The leaf is issued anew at
//! every start and once a year while the server runs, so nothing has to be watched for its end but the clock.

use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use anyhow::Context;
use model::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::{crypto::aws_lc_rs, sign::CertifiedKey};
use rustls_pki_types::PrivateKeyDer;
use sha2::{Digest, Sha256};

/// The root's certificate, for clients to trust.
pub const CA_FILE: &str = "ca.pem";
/// The root's key; readable by the server's user alone.
pub const CA_KEY_FILE: &str = "ca.key";
/// Names that the leaf always has.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// How long a leaf is valid. Apple and Chromium refuse more than 398 days; one day before now is for clocks that are slow.
const LEAF_DAYS: i64 = 396;
/// How long the root is valid.
const ROOT_DAYS: i64 = 3_650;
const DAY_MS: i64 = model::time::DAY_MS;

/// Midnight (UTC) of the day of `moment`. An expression, as rcgen's time is of a crate that this one need not name.
macro_rules! midnight {
    ($moment:expr) => {{
        let date = $moment.date_in("UTC");
        let mut parts = date.splitn(3, '-');
        let mut next = || parts.next().context("a date has three parts");
        rcgen::date_time_ymd(next()?.parse()?, next()?.parse()?, next()?.parse()?)
    }};
}

/// Issues the server's certificate from the root in `dir`, which is made when it is not there.
pub fn issue(dir: &Path, names: &[String], now: Timestamp) -> anyhow::Result<CertifiedKey> {
    fs::create_dir_all(dir).with_context(|| format!("can't make the folder {}", dir.display()))?;
    let key = root_key(&dir.join(CA_KEY_FILE))?;
    let params = root_params(&key, now)?;
    let file = dir.join(CA_FILE);
    if !file.exists() {
        let root = params.self_signed(&key).context("can't make the local CA's certificate")?;
        write_new(&file, root.pem().as_bytes(), 0o644)?;
    }
    leaf(&Issuer::new(params, key), names, now)
}

fn root_key(file: &Path) -> anyhow::Result<KeyPair> {
    if file.exists() {
        let pem = fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
        return KeyPair::from_pem(&pem)
            .with_context(|| format!("{} is not a private key: move it away and a new CA is made", file.display()));
    }
    let key = KeyPair::generate().context("can't generate the local CA's key")?;
    write_new(file, key.serialize_pem().as_bytes(), 0o600)?;
    Ok(key)
}

/// The root is known by its key: the name holds the key's digest, so that two installations are never mistaken for
/// one another, and the issuer can be made again from the key alone.
fn root_params(key: &KeyPair, now: Timestamp) -> anyhow::Result<CertificateParams> {
    let digest = Sha256::digest(key.public_key_raw());
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = name(&format!("IUSign local CA {:02x}{:02x}{:02x}", digest[0], digest[1], digest[2]));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = midnight!(now.plus(-DAY_MS));
    params.not_after = midnight!(now.plus((ROOT_DAYS - 1) * DAY_MS));
    Ok(params)
}

fn leaf(issuer: &Issuer<'_, KeyPair>, names: &[String], now: Timestamp) -> anyhow::Result<CertifiedKey> {
    let mut all: Vec<String> = LOCAL_NAMES.iter().map(ToString::to_string).collect();
    all.extend(names.iter().filter(|name| !LOCAL_NAMES.contains(&name.as_str())).cloned());
    let mut params = CertificateParams::new(all).with_context(|| {
        format!("a name among {names:?} can't stand in a certificate: use host names and addresses")
    })?;
    params.distinguished_name = name(names.first().map_or("localhost", String::as_str));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = midnight!(now.plus(-DAY_MS));
    params.not_after = midnight!(now.plus((LEAF_DAYS - 1) * DAY_MS));
    let key = KeyPair::generate().context("can't generate the server's key")?;
    let certificate = params.signed_by(&key, issuer).context("can't issue the server's certificate")?;
    let der = PrivateKeyDer::try_from(key.serialize_der()).map_err(|why| anyhow::anyhow!("the server's key: {why}"))?;
    let signing = aws_lc_rs::sign::any_supported_type(&der).context("the server's key can't be used")?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], signing))
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "IUSign (local)");
    // RFC 5280, A.1: a common name has at most 64 characters.
    name.push(DnType::CommonName, common.chars().take(64).collect::<String>());
    name
}

/// Writes a file that is not there yet, whole or not at all.
fn write_new(file: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let partial = file.with_extension("partial");
    let write = || {
        // One that a crash left behind may have another mode.
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut open = fs::OpenOptions::new();
        let mut out = open.write(true).create_new(true).mode(mode).open(&partial)?;
        out.write_all(bytes)?;
        out.sync_all()?;
        fs::rename(&partial, file)
    };
    write().with_context(|| format!("can't write {}", file.display()))
}
