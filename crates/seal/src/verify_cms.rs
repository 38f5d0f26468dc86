//! The cryptographic half of verification: a detached CMS signature over the covered bytes, and the way to a trusted root.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use cms::cert::CertificateChoices;
use cms::content_info::ContentInfo;
use cms::signed_data::{SignedData, SignerIdentifier, SignerInfo};
use const_oid::ObjectIdentifier;
use der::asn1::{Any, OctetString};
use der::{Decode, Encode};
use serde::{Deserialize, Serialize};
use x509_cert::Certificate;
use x509_cert::attr::Attributes;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, KeyUsages, SubjectKeyIdentifier};

use crate::key::{hex, time_ms};
use crate::pades::{
    ID_CONTENT_TYPE, ID_DATA, ID_ECDSA_SHA256, ID_MESSAGE_DIGEST, ID_SHA256, ID_SIGNED_DATA, ID_SIGNING_CERTIFICATE_V2,
    SigningCertificateV2,
};

/// How many certificates may stand between a signer and a trusted root.
const CHAIN_MAX: usize = 8;

const ID_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const ID_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");
const ID_ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ID_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ID_RSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const ID_RSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const ID_RSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const ID_P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const ID_P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

/// The signer's certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CmsReport {
    /// Subject, as RFC 4514 writes it.
    pub subject: String,
    /// Issuer, as RFC 4514 writes it.
    pub issuer: String,
    /// Serial number, hex.
    pub serial: String,
    /// SHA-256 of the certificate, hex.
    pub fingerprint: String,
    /// First moment of validity, UTC milliseconds.
    pub not_before_ms: i64,
    /// Last moment of validity, UTC milliseconds.
    pub not_after_ms: i64,
    /// Whether it is its own issuer.
    pub self_signed: bool,
    /// Whether it leads to a trusted certificate; absent if none was given.
    pub trusted: Option<bool>,
}

/// Verifies `cms` over `signed`, the file's bytes around the gap. The error is a sentence for a person.
pub(crate) fn verify(
    cms: &[u8],
    signed: &[&[u8]],
    certificate_reference_required: bool,
    at_ms: Option<i64>,
    trust: &[Vec<u8>],
) -> Result<CmsReport, String> {
    let data = signed_data(cms).ok_or("The signature is not a CMS structure that can be read.")?;
    if data.encap_content_info.econtent_type != ID_DATA || data.encap_content_info.econtent.is_some() {
        return Err("The signature is not detached from what it signs.".into());
    }
    let [signer] = data.signer_infos.0.as_slice() else {
        return Err("The signature does not have exactly one signer.".into());
    };
    let certificates: Vec<&Certificate> = data
        .certificates
        .iter()
        .flat_map(|set| set.0.iter())
        .filter_map(|choice| match choice {
            CertificateChoices::Certificate(certificate) => Some(certificate),
            CertificateChoices::Other(_) => None,
        })
        .collect();
    let certificate = certificates
        .iter()
        .copied()
        .find(|certificate| is_signer(certificate, &signer.sid))
        .ok_or("The signature does not carry its signer's certificate.")?;
    let der = certificate.to_der().map_err(|_| "The signer's certificate cannot be encoded.")?;

    check_attributes(signer, signed, &der, certificate_reference_required)?;
    let attributes = signer.signed_attrs.to_der().map_err(|_| "The signed attributes cannot be encoded.")?;
    let algorithm = algorithm(certificate, signer.signature_algorithm.oid, Some(signer.digest_alg.oid))
        .ok_or("The signature's algorithm is not one that is accepted.")?;
    public_key(certificate, algorithm)
        .verify(&attributes, signer.signature.as_bytes())
        .map_err(|_| "The signature does not match the certificate: it was forged or damaged.")?;

    let report = describe(certificate, &der, &certificates, trust);
    if let Ok(Some((_, usage))) = certificate.tbs_certificate.get::<KeyUsage>()
        && !usage.0.contains(KeyUsages::DigitalSignature)
        && !usage.0.contains(KeyUsages::NonRepudiation)
    {
        return Err("The signer's certificate is not made for signing.".into());
    }
    match at_ms {
        Some(at) if at < report.not_before_ms || at > report.not_after_ms => {
            Err("The signer's certificate was not valid at the time that the signature claims.".into())
        }
        Some(_) => Ok(report),
        None => Err("The signature does not say when it was made.".into()),
    }
}

fn signed_data(cms: &[u8]) -> Option<SignedData> {
    let info = ContentInfo::from_der(cms).ok()?;
    if info.content_type != ID_SIGNED_DATA {
        return None;
    }
    info.content.decode_as::<SignedData>().ok()
}

fn is_signer(certificate: &Certificate, sid: &SignerIdentifier) -> bool {
    match sid {
        SignerIdentifier::IssuerAndSerialNumber(id) => {
            certificate.tbs_certificate.issuer == id.issuer
                && certificate.tbs_certificate.serial_number == id.serial_number
        }
        SignerIdentifier::SubjectKeyIdentifier(id) => {
            matches!(certificate.tbs_certificate.get::<SubjectKeyIdentifier>(), Ok(Some((_, own))) if own == *id)
        }
    }
}

/// Content type, digest and certificate reference, each exactly once and each right.
fn check_attributes(
    signer: &SignerInfo,
    signed: &[&[u8]],
    certificate: &[u8],
    reference_required: bool,
) -> Result<(), String> {
    let attributes = signer.signed_attrs.as_ref().ok_or("The signature has no signed attributes.")?;
    let content_type = single(attributes, ID_CONTENT_TYPE)
        .and_then(|value| value.decode_as::<ObjectIdentifier>().ok())
        .ok_or("The signature does not say what it signs.")?;
    if content_type != ID_DATA {
        return Err("The signature signs something other than a file.".into());
    }
    let claimed = single(attributes, ID_MESSAGE_DIGEST)
        .and_then(|value| value.decode_as::<OctetString>().ok())
        .ok_or("The signature holds no digest.")?;
    let algorithm =
        digest_algorithm(signer.digest_alg.oid).ok_or("The digest's algorithm is not one that is accepted.")?;
    let mut context = digest::Context::new(algorithm);
    signed.iter().for_each(|part| context.update(part));
    if context.finish().as_ref() != claimed.as_bytes() {
        return Err("The file was changed after it was signed.".into());
    }
    let Some(reference) = single(attributes, ID_SIGNING_CERTIFICATE_V2) else {
        return if reference_required {
            Err("The signature does not name its certificate (signing-certificate-v2).".into())
        } else {
            Ok(())
        };
    };
    let reference = reference
        .decode_as::<SigningCertificateV2>()
        .map_err(|_| "The signature's reference to its certificate cannot be read.")?;
    let first = reference.certs.first().ok_or("The signature's reference to its certificate is empty.")?;
    let oid = first.hash_algorithm.as_ref().map_or(ID_SHA256, |algorithm| algorithm.oid);
    let algorithm = digest_algorithm(oid).ok_or("The certificate reference's digest is not one that is accepted.")?;
    if digest::digest(algorithm, certificate).as_ref() != first.cert_hash.as_bytes() {
        return Err("The signature names another certificate than the one it carries.".into());
    }
    Ok(())
}

/// The one value of the one attribute of this kind.
fn single(attributes: &Attributes, oid: ObjectIdentifier) -> Option<&Any> {
    let mut all = attributes.iter().filter(|attribute| attribute.oid == oid);
    let attribute = all.next()?;
    match (all.next(), attribute.values.as_slice()) {
        (None, [value]) => Some(value),
        _ => None,
    }
}

fn digest_algorithm(oid: ObjectIdentifier) -> Option<&'static digest::Algorithm> {
    match oid {
        ID_SHA256 => Some(&digest::SHA256),
        ID_SHA384 => Some(&digest::SHA384),
        ID_SHA512 => Some(&digest::SHA512),
        _ => None,
    }
}

/// The algorithm for this certificate's key. With `rsaEncryption` the digest is the signer's; nothing older than SHA-256.
fn algorithm(
    certificate: &Certificate,
    oid: ObjectIdentifier,
    digest: Option<ObjectIdentifier>,
) -> Option<&'static dyn VerificationAlgorithm> {
    let spki = &certificate.tbs_certificate.subject_public_key_info.algorithm;
    let curve = spki.parameters.as_ref().and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
    match (oid, curve) {
        (ID_ECDSA_SHA256, Some(ID_P256)) => return Some(&signature::ECDSA_P256_SHA256_ASN1),
        (ID_ECDSA_SHA384, Some(ID_P384)) => return Some(&signature::ECDSA_P384_SHA384_ASN1),
        _ => {}
    }
    if spki.oid != ID_RSA {
        return None;
    }
    match (oid, digest) {
        (ID_RSA_SHA256, _) | (ID_RSA, Some(ID_SHA256)) => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        (ID_RSA_SHA384, _) | (ID_RSA, Some(ID_SHA384)) => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        (ID_RSA_SHA512, _) | (ID_RSA, Some(ID_SHA512)) => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
        _ => None,
    }
}

fn public_key<'a>(
    certificate: &'a Certificate,
    algorithm: &'static dyn VerificationAlgorithm,
) -> UnparsedPublicKey<&'a [u8]> {
    UnparsedPublicKey::new(
        algorithm,
        certificate.tbs_certificate.subject_public_key_info.subject_public_key.raw_bytes(),
    )
}

fn describe(certificate: &Certificate, der: &[u8], carried: &[&Certificate], trust: &[Vec<u8>]) -> CmsReport {
    let tbs = &certificate.tbs_certificate;
    CmsReport {
        subject: tbs.subject.to_string(),
        issuer: tbs.issuer.to_string(),
        serial: hex(tbs.serial_number.as_bytes()),
        fingerprint: hex(digest::digest(&digest::SHA256, der).as_ref()),
        not_before_ms: time_ms(&tbs.validity.not_before),
        not_after_ms: time_ms(&tbs.validity.not_after),
        self_signed: tbs.subject == tbs.issuer,
        trusted: (!trust.is_empty()).then(|| is_trusted(certificate, carried, trust)),
    }
}

/// Follows the issuers, each checked by its signature and as an authority, until one is trusted.
fn is_trusted(certificate: &Certificate, carried: &[&Certificate], trust: &[Vec<u8>]) -> bool {
    let roots: Vec<Certificate> = trust.iter().filter_map(|der| Certificate::from_der(der).ok()).collect();
    let mut current = certificate;
    for _ in 0..CHAIN_MAX {
        if roots.contains(current) {
            return true;
        }
        let issued = |issuer: &&Certificate| is_issuer(issuer, current);
        let Some(issuer) = roots.iter().find(issued).or_else(|| carried.iter().copied().find(issued)) else {
            return false;
        };
        if issuer == current {
            return false;
        }
        current = issuer;
    }
    false
}

fn is_issuer(issuer: &Certificate, subject: &Certificate) -> bool {
    let authority =
        matches!(issuer.tbs_certificate.get::<BasicConstraints>(), Ok(Some((_, constraints))) if constraints.ca);
    let Some(signature) = subject.signature.as_bytes() else { return false };
    let (Ok(tbs), Some(algorithm)) =
        (subject.tbs_certificate.to_der(), algorithm(issuer, subject.signature_algorithm.oid, None))
    else {
        return false;
    };
    authority
        && issuer.tbs_certificate.subject == subject.tbs_certificate.issuer
        && public_key(issuer, algorithm).verify(&tbs, signature).is_ok()
}
