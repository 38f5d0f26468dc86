//! The seal key: made or loaded, tested against its certificate, and asked for signatures. It never enters a worker.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey};
use const_oid::ObjectIdentifier;
use der::pem::LineEnding;
use der::{Decode, Encode};
use rcgen::{CertificateParams, DistinguishedName, DnType, IsCa, KeyUsagePurpose, SerialNumber};
use sha2::{Digest, Sha256};
use std::time::Duration;
use x509_cert::Certificate;
use zeroize::Zeroizing;

use crate::types::SealError;

/// How long a certificate made by [`SealKey::generate`] is valid: three years.
pub const CERTIFICATE_DAYS: u64 = 3 * 365;
/// A certificate is valid from a little before it was made, so that a clock that runs behind does not refuse it.
const BACKDATE_SECONDS: u64 = 3600;
/// The most certificates that a chain may have.
const CHAIN_MAX: usize = 8;
const DAY_SECONDS: u64 = 86_400;

const ID_EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ID_P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");

/// An ECDSA P-256 key and its certificate, with the certificates that lead to its root if there are any.
///
/// It has no `Debug` and no `Serialize`: the key leaves the process only as the PEM text that `generate` returned.
pub struct SealKey {
    pair: EcdsaKeyPair,
    certificate: Certificate,
    der: Vec<u8>,
    chain: Vec<Certificate>,
}

/// What [`SealKey::generate`] made. Both are PEM; the key's text is wiped when it is dropped.
pub struct GeneratedKey {
    /// The self-signed certificate, `-----BEGIN CERTIFICATE-----`.
    pub certificate: String,
    /// The key as PKCS#8, `-----BEGIN PRIVATE KEY-----`.
    pub key: Zeroizing<String>,
}

impl SealKey {
    /// Makes a key and a self-signed certificate for `subject`, which should plainly say that it is self-signed.
    pub fn generate(subject: &str, now_ms: i64) -> Result<GeneratedKey, SealError> {
        let pair = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_ASN1_SIGNING)
            .map_err(|_| SealError::fault("could not generate a P-256 key"))?;
        let pkcs8 = pair.to_pkcs8v1().map_err(|_| SealError::fault("could not encode the seal key"))?;
        let mut serial = Zeroizing::new([0_u8; 16]);
        aws_lc_rs::rand::fill(serial.as_mut()).map_err(|_| SealError::fault("no random bytes for a serial number"))?;
        // RFC 5280, 4.1.2.2: a positive integer of at most 20 octets.
        serial[0] = (serial[0] & 0x3f) | 0x40;

        let now = Duration::from_millis(u64::try_from(now_ms).map_err(|_| SealError::fault("a time before 1970"))?);
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let mut params = CertificateParams::default();
        params.not_before = epoch + now.saturating_sub(Duration::from_secs(BACKDATE_SECONDS));
        params.not_after = epoch + now + Duration::from_secs(CERTIFICATE_DAYS * DAY_SECONDS);
        params.serial_number = Some(SerialNumber::from_slice(serial.as_ref()));
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, subject);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::ContentCommitment];
        let certificate = params
            .self_signed(&CertificateSigner(&pair))
            .map_err(|error| SealError::fault(format!("could not make the seal certificate: {error}")))?;
        let key = der::pem::encode_string("PRIVATE KEY", LineEnding::LF, pkcs8.as_ref())
            .map_err(|error| SealError::fault(format!("could not encode the seal key: {error}")))?;
        let certificate = der::pem::encode_string("CERTIFICATE", LineEnding::LF, certificate.der())
            .map_err(|error| SealError::fault(format!("could not encode the seal certificate: {error}")))?;
        Ok(GeneratedKey { certificate, key: Zeroizing::new(key) })
    }

    /// Loads a certificate (with its chain after it, if any) and a PKCS#8 key, both PEM, and tries them together.
    pub fn from_pem(certificates: &str, key: &str) -> Result<Self, SealError> {
        let mut chain = certificates_from_pem(certificates)?;
        if chain.is_empty() {
            return Err(SealError::fault("the seal certificate's file holds no certificate"));
        }
        let certificate = chain.remove(0);
        let der = certificate
            .to_der()
            .map_err(|error| SealError::fault(format!("the seal certificate cannot be encoded: {error}")))?;
        let (label, pkcs8) = der::pem::decode_vec(key.trim().as_bytes()).map_err(|error| {
            SealError::fault(format!("the seal key is not PEM ({error}); it starts with -----BEGIN PRIVATE KEY-----"))
        })?;
        let pkcs8 = Zeroizing::new(pkcs8);
        match label {
            "PRIVATE KEY" => {}
            "ENCRYPTED PRIVATE KEY" => {
                return Err(SealError::fault(
                    "the seal key is encrypted with a password; decrypt it with: openssl pkcs8 -in KEY.pem -out PLAIN.pem",
                ));
            }
            other => {
                return Err(SealError::fault(format!(
                    "the seal key is a '{other}', not PKCS#8; convert it with: openssl pkcs8 -topk8 -nocrypt -in KEY.pem"
                )));
            }
        }
        let pair = EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8).map_err(|_| {
            SealError::fault("the seal key is not an ECDSA P-256 key; make one with: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256")
        })?;
        let key = Self { pair, certificate, der, chain };
        key.self_test()?;
        Ok(key)
    }

    /// Signs a few bytes and verifies them with the certificate's public key: at start, and daily.
    pub fn self_test(&self) -> Result<(), SealError> {
        let spki = &self.certificate.tbs_certificate.subject_public_key_info;
        let curve = spki.algorithm.parameters.as_ref().and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
        if spki.algorithm.oid != ID_EC_PUBLIC_KEY || curve != Some(ID_P256) {
            return Err(SealError::fault("the seal certificate is not for an ECDSA P-256 key"));
        }
        let message = b"iusign seal key self test";
        let signature = self.sign_bytes(message)?;
        UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_ASN1, spki.subject_public_key.raw_bytes())
            .verify(message, &signature)
            .map_err(|_| SealError::fault("the seal key and the seal certificate do not belong together"))
    }

    /// The signer: bytes of the signed attributes in, the signature (ASN.1, SHA-256) out.
    pub fn sign_bytes(&self, message: &[u8]) -> Result<Vec<u8>, SealError> {
        let signature = self
            .pair
            .sign(&SystemRandom::new(), message)
            .map_err(|_| SealError::fault("the seal key could not sign"))?;
        Ok(signature.as_ref().to_vec())
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The certificates that lead to the root, without the key's own.
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// The certificate, DER.
    pub fn certificate_der(&self) -> &[u8] {
        &self.der
    }

    /// The certificate, PEM: what a verifier takes as its trust root if it is self-signed.
    pub fn certificate_pem(&self) -> Result<String, SealError> {
        der::pem::encode_string("CERTIFICATE", LineEnding::LF, &self.der)
            .map_err(|error| SealError::fault(format!("could not encode the seal certificate: {error}")))
    }

    /// The certificate's SHA-256, hex.
    pub fn fingerprint(&self) -> String {
        hex(&Sha256::digest(&self.der))
    }

    /// The certificate's subject, as RFC 4514 writes it.
    pub fn subject(&self) -> String {
        self.certificate.tbs_certificate.subject.to_string()
    }

    /// The certificate's serial number, hex.
    pub fn serial(&self) -> String {
        hex(self.certificate.tbs_certificate.serial_number.as_bytes())
    }

    /// The first moment of the certificate's validity, UTC milliseconds.
    pub fn not_before(&self) -> i64 {
        time_ms(&self.certificate.tbs_certificate.validity.not_before)
    }

    /// The last moment of the certificate's validity, UTC milliseconds: `send` is refused after it.
    pub fn not_after(&self) -> i64 {
        time_ms(&self.certificate.tbs_certificate.validity.not_after)
    }
}

/// Every certificate in a PEM text, in order. Text between them is skipped, keys are not looked at.
pub fn certificates_from_pem(text: &str) -> Result<Vec<Certificate>, SealError> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let mut certificates = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(BEGIN) {
        let Some(length) = rest[start..].find(END) else {
            return Err(SealError::fault("a certificate's PEM text ends before -----END CERTIFICATE-----"));
        };
        let end = start + length + END.len();
        let (_, der) = der::pem::decode_vec(&rest.as_bytes()[start..end])
            .map_err(|error| SealError::fault(format!("a certificate's PEM text is damaged: {error}")))?;
        let certificate = Certificate::from_der(&der)
            .map_err(|error| SealError::fault(format!("a certificate cannot be read: {error}")))?;
        if certificates.len() == CHAIN_MAX {
            return Err(SealError::fault(format!("more than {CHAIN_MAX} certificates in one file")));
        }
        certificates.push(certificate);
        rest = &rest[end..];
    }
    Ok(certificates)
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .map(char::from)
        .collect()
}

/// A certificate's time in UTC milliseconds.
pub(crate) fn time_ms(time: &x509_cert::time::Time) -> i64 {
    i64::try_from(time.to_unix_duration().as_millis()).unwrap_or(i64::MAX)
}

/// Lets rcgen sign the certificate without ever holding a copy of the key.
struct CertificateSigner<'a>(&'a EcdsaKeyPair);

impl rcgen::PublicKeyData for CertificateSigner<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for CertificateSigner<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.0.sign(&SystemRandom::new(), message).map_err(|_| rcgen::Error::RemoteKeyError)?;
        Ok(signature.as_ref().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_800_000_000_000;

    #[test]
    fn a_generated_key_loads_and_is_valid_for_three_years() {
        let made = SealKey::generate("IUSign seal (self-signed)", NOW_MS).expect("a key");
        let key = SealKey::from_pem(&made.certificate, &made.key).expect("the same key");
        assert_eq!(key.subject(), "CN=IUSign seal (self-signed)");
        assert_eq!(key.not_before(), NOW_MS - 3_600_000);
        assert_eq!(key.not_after(), NOW_MS + 3 * 365 * 86_400_000);
        assert_eq!(key.certificate_pem().expect("PEM"), made.certificate);
        assert_eq!(key.fingerprint().len(), 64);
    }

    #[test]
    fn a_key_that_is_not_the_certificates_is_refused() {
        let one = SealKey::generate("one", NOW_MS).expect("a key");
        let two = SealKey::generate("two", NOW_MS).expect("a key");
        let error = SealKey::from_pem(&one.certificate, &two.key).err().expect("a refusal");
        assert_eq!(error.to_string(), "the seal key and the seal certificate do not belong together");
    }

    #[test]
    fn what_is_wrong_with_a_key_file_is_said() {
        let made = SealKey::generate("x", NOW_MS).expect("a key");
        let wrong = made.key.replace("PRIVATE KEY", "EC PRIVATE KEY");
        let error = SealKey::from_pem(&made.certificate, &wrong).err().expect("a refusal").to_string();
        assert!(error.contains("openssl pkcs8 -topk8"), "{error}");
        let error = SealKey::from_pem(&made.certificate, "nothing").err().expect("a refusal").to_string();
        assert!(error.contains("not PEM"), "{error}");
        let error = SealKey::from_pem("", &made.key).err().expect("a refusal").to_string();
        assert!(error.contains("no certificate"), "{error}");
    }
}
