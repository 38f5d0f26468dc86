//! PAdES: the CMS signature that fills a prepared file's gap (ETSI EN 319 142-1, baseline B-B).

use cms::cert::{CertificateChoices, IssuerAndSerialNumber};
use cms::content_info::{CmsVersion, ContentInfo};
use cms::signed_data::{
    CertificateSet, EncapsulatedContentInfo, SignedData, SignerIdentifier, SignerInfo, SignerInfos,
};
use const_oid::ObjectIdentifier;
use der::asn1::{Any, OctetString, SetOfVec};
use der::{Encode, Sequence};
use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::attr::Attribute;
use x509_cert::spki::AlgorithmIdentifierOwned;

use crate::key::SealKey;
use crate::types::{Prepared, SealError};

pub(crate) const ID_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
pub(crate) const ID_SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
pub(crate) const ID_CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
pub(crate) const ID_MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
pub(crate) const ID_SIGNING_CERTIFICATE_V2: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");
pub(crate) const ID_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
pub(crate) const ID_ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");

/// RFC 5035, 3: which certificate signs. The digest's algorithm is left out where it is SHA-256, the default.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(crate) struct SigningCertificateV2 {
    pub certs: Vec<EssCertIdV2>,
    #[asn1(optional = "true")]
    pub policies: Option<Any>,
}

/// RFC 5035, 4.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(crate) struct EssCertIdV2 {
    #[asn1(optional = "true")]
    pub hash_algorithm: Option<AlgorithmIdentifierOwned>,
    pub cert_hash: OctetString,
    #[asn1(optional = "true")]
    pub issuer_serial: Option<Any>,
}

/// Signs a prepared file with the seal key and fills the gap.
///
/// `now_ms` is compared with the certificate's validity: an expired key seals nothing.
pub fn sign(prepared: Prepared, key: &SealKey, now_ms: i64) -> Result<Vec<u8>, SealError> {
    if now_ms < key.not_before() || now_ms > key.not_after() {
        return Err(SealError::fault(
            "the seal certificate is not valid at this time; replace it, then sealing goes on by itself",
        ));
    }
    sign_with(prepared, key.certificate(), key.chain(), |message| key.sign_bytes(message))
}

/// Signs with any signer of ECDSA P-256 and SHA-256: DER of the signed attributes in, the signature out.
pub fn sign_with(
    mut prepared: Prepared,
    certificate: &Certificate,
    chain: &[Certificate],
    signer: impl FnOnce(&[u8]) -> Result<Vec<u8>, SealError>,
) -> Result<Vec<u8>, SealError> {
    let (start, end) = (prepared.gap_start, prepared.gap_end);
    let well_formed = start.checked_add(2).is_some_and(|least| least <= end)
        && prepared.bytes.get(start) == Some(&b'<')
        && prepared.bytes.get(end.wrapping_sub(1)) == Some(&b'>')
        && prepared.bytes[start + 1..end - 1].iter().all(|byte| *byte == b'0');
    if !well_formed {
        return Err(SealError::fault("the prepared file has no empty gap where it says"));
    }
    let mut digest = Sha256::new();
    digest.update(&prepared.bytes[..start]);
    digest.update(&prepared.bytes[end..]);
    let cms = signed_data(&digest.finalize(), certificate, chain, signer)
        .map_err(|error| SealError::fault(format!("could not make the signature: {error}")))?;
    let gap = &mut prepared.bytes[start + 1..end - 1];
    let digits = crate::key::hex(&cms);
    if digits.len() > gap.len() {
        return Err(SealError::fault(format!(
            "the signature has {} bytes and its gap {}; the certificate chain is too long",
            cms.len(),
            gap.len() / 2
        )));
    }
    gap[..digits.len()].copy_from_slice(digits.as_bytes());
    Ok(prepared.bytes)
}

/// The detached CMS, DER. No signing-time attribute: PAdES has the time in the dictionary's /M (6.3, table 1).
fn signed_data(
    digest: &[u8],
    certificate: &Certificate,
    chain: &[Certificate],
    signer: impl FnOnce(&[u8]) -> Result<Vec<u8>, SealError>,
) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let reference = SigningCertificateV2 {
        certs: vec![EssCertIdV2 {
            hash_algorithm: None,
            cert_hash: OctetString::new(Sha256::digest(certificate.to_der()?).to_vec())?,
            issuer_serial: None,
        }],
        policies: None,
    };
    // A SetOfVec keeps its members in DER's order, and the bytes that are signed are those of the SET, not of [0].
    let attributes = SetOfVec::try_from(vec![
        attribute(ID_CONTENT_TYPE, &ID_DATA)?,
        attribute(ID_MESSAGE_DIGEST, &OctetString::new(digest)?)?,
        attribute(ID_SIGNING_CERTIFICATE_V2, &reference)?,
    ])?;
    let signature = signer(&attributes.to_der()?)?;
    let sha256 = AlgorithmIdentifierOwned { oid: ID_SHA256, parameters: None };
    let signer_info = SignerInfo {
        version: CmsVersion::V1,
        sid: SignerIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber {
            issuer: certificate.tbs_certificate.issuer.clone(),
            serial_number: certificate.tbs_certificate.serial_number.clone(),
        }),
        digest_alg: sha256.clone(),
        signed_attrs: Some(attributes),
        signature_algorithm: AlgorithmIdentifierOwned { oid: ID_ECDSA_SHA256, parameters: None },
        signature: OctetString::new(signature)?,
        unsigned_attrs: None,
    };
    let certificates =
        std::iter::once(certificate).chain(chain).cloned().map(CertificateChoices::Certificate).collect::<Vec<_>>();
    let signed = SignedData {
        version: CmsVersion::V1,
        digest_algorithms: SetOfVec::try_from(vec![sha256])?,
        encap_content_info: EncapsulatedContentInfo { econtent_type: ID_DATA, econtent: None },
        certificates: Some(CertificateSet(SetOfVec::try_from(certificates)?)),
        crls: None,
        signer_infos: SignerInfos(SetOfVec::try_from(vec![signer_info])?),
    };
    let content = ContentInfo { content_type: ID_SIGNED_DATA, content: Any::encode_from(&signed)? };
    Ok(content.to_der()?)
}

fn attribute<T: der::EncodeValue + der::Tagged>(oid: ObjectIdentifier, value: &T) -> der::Result<Attribute> {
    Ok(Attribute { oid, values: SetOfVec::try_from(vec![Any::encode_from(value)?])? })
}
