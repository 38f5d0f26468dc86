//! The shapes that go into and come out of the worker: pages, stamps, certificates, refusals.

use serde::{Deserialize, Serialize};

/// The largest document that intake accepts, in bytes.
pub const DOCUMENT_BYTES_MAX: u64 = 50 * 1024 * 1024;
/// The largest file that a worker reads back for sealing, joining or checking, in bytes: stamps and joins make files grow.
pub const WORK_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// The most pages that a document may have.
pub const PAGES_MAX: usize = 5_000;
/// The most objects that a document may have.
pub const OBJECTS_MAX: usize = 500_000;

/// Every code with which a document can be refused. The outside sees them as problems of the same name.
pub const REFUSAL_CODES: [&str; 9] = [
    "document_not_pdf",
    "document_encrypted",
    "document_damaged",
    "document_signed",
    "document_certified",
    "document_xfa",
    "document_form",
    "document_too_complex",
    "document_check_failed",
];

/// Why a document was not processed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The document is at fault: its sender can do something about it, and trying again cannot.
    #[error("{code}: {detail}")]
    Refused {
        /// One of [`REFUSAL_CODES`].
        code: &'static str,
        /// What was seen and what to do, in one or two sentences.
        detail: String,
    },
    /// Every worker is busy and the queue is full: try again in a moment.
    #[error("every document worker is busy; try again in a moment")]
    Busy,
    /// The machine is short of something (memory, processes, descriptors): no file is to blame, and later it may work.
    #[error("{0}")]
    Machine(String),
    /// We are at fault: a program error.
    #[error("{0}")]
    Fault(String),
}

impl SealError {
    /// A refusal. A code that is not in [`REFUSAL_CODES`] becomes a fault, so that nothing unknown gets outside.
    pub fn refused(code: &str, detail: impl Into<String>) -> Self {
        match REFUSAL_CODES.iter().find(|known| **known == code) {
            Some(code) => Self::Refused { code, detail: detail.into() },
            None => Self::Fault(format!("unknown refusal {code}: {}", detail.into())),
        }
    }

    /// `document_damaged`.
    pub fn damaged(detail: impl Into<String>) -> Self {
        Self::refused("document_damaged", detail)
    }

    /// `document_too_complex`.
    pub fn too_complex(detail: impl Into<String>) -> Self {
        Self::refused("document_too_complex", detail)
    }

    /// A fault of ours.
    pub fn fault(detail: impl Into<String>) -> Self {
        Self::Fault(detail.into())
    }

    /// The code, if it is a refusal.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            Self::Busy | Self::Machine(_) | Self::Fault(_) => None,
        }
    }
}

/// What intake found out about a document.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// The pages as displayed, in order.
    pub pages: Vec<Page>,
    /// Names of fonts that the document uses and does not carry: drawn with a stand-in.
    pub fonts_missing: Vec<String>,
    /// The form's fields, if there is a form.
    pub form_fields: Vec<FormField>,
    /// What was changed in the working copy, one sentence each; empty if the original is used as it came.
    pub changes: Vec<String>,
    /// What the sender should know, one sentence each.
    pub warnings: Vec<String>,
    /// The file to show, stamp and seal in place of the original, where it had to be rewritten.
    #[serde(skip)]
    pub working_copy: Option<Vec<u8>>,
}

/// A page as displayed: after CropBox, Rotate and UserUnit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// Points.
    pub width: f64,
    /// Points.
    pub height: f64,
    /// Degrees clockwise: 0, 90, 180 or 270. Width and height are those after the turn.
    pub rotation: u16,
}

/// A field of the document's own form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FormField {
    /// Its full name, parents first, joined by dots.
    pub name: String,
    /// `text`, `checkbox`, `choice`, `signature` or `other`.
    pub kind: String,
}

/// Where a text stands: points, origin top left of the page as displayed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TextBox {
    /// From 1.
    pub page: u32,
    /// From the left edge.
    pub x: f64,
    /// From the top edge to the box's top.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

/// A mark at a place: points, origin top left of the page as displayed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stamp {
    /// From 1.
    pub page: u32,
    /// From the left edge.
    pub x: f64,
    /// From the top edge to the box's top.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
    /// What is drawn.
    pub what: Mark,
}

/// What a stamp draws.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Text, left aligned; shrunk to fit, then wrapped.
    Text {
        /// Any script that the fonts cover.
        text: String,
        /// Points; chosen by the box if absent.
        size: Option<f64>,
    },
    /// A typed signature, in an italic face.
    Signature {
        /// The name as it was typed.
        text: String,
    },
    /// A drawn signature.
    Ink {
        /// Points from 0 to 1 within the box, origin top left.
        strokes: Vec<Vec<(f64, f64)>>,
    },
    /// A tick.
    Check,
}

/// What stands in the signature's dictionary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureInfo {
    /// `/Name`: who seals.
    pub name: String,
    /// `/Reason`.
    pub reason: String,
    /// `/Location`.
    pub location: String,
    /// `/M`, UTC milliseconds.
    pub time_ms: i64,
}

/// A file with a gap that waits for its signature.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// The whole file; the gap is `<000…>`.
    #[serde(skip)]
    pub bytes: Vec<u8>,
    /// Offset of the gap's `<`.
    pub gap_start: usize,
    /// Offset after the gap's `>`.
    pub gap_end: usize,
}

/// What the check after sealing has to find.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expectation {
    /// The number of pages.
    pub pages: u32,
    /// Every stamp that was asked for.
    pub stamps: Vec<Stamp>,
}

/// What the certificate of completion says. Times are text, as the sender's zone has them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Certificate {
    /// `env_…`
    pub envelope_id: String,
    /// The sender's own id for it.
    pub external_id: Option<String>,
    /// The envelope's name or subject.
    pub subject: String,
    /// `development`, `staging` or `production`.
    pub environment: String,
    /// A line across each page, where the envelope was only a test.
    pub banner: Option<String>,
    /// The zone and offset of the times, in words.
    pub zone: String,
    /// When it was created.
    pub created: String,
    /// When it was sent.
    pub sent: String,
    /// When it was completed.
    pub completed: String,
    /// The documents in order.
    pub documents: Vec<CertificateDocument>,
    /// Who sent it: a user's name and mail, or an API key's id and label.
    pub sender: String,
    /// The address from which it was sent.
    pub sender_address: String,
    /// The recipients in order.
    pub recipients: Vec<CertificateRecipient>,
    /// Mails as they went, in order.
    pub mails: Vec<CertificateMail>,
    /// Subject, serial number and SHA-256 of the seal's certificate.
    pub seal_certificate: String,
    /// The timestamping authority, or that there is none.
    pub timestamp: String,
    /// The hash of the last event in the chain.
    pub chain_head: String,
    /// How to verify, offline: one paragraph each.
    pub how_to_verify: Vec<String>,
}

/// A document in the certificate.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CertificateDocument {
    /// `doc_…`
    pub id: String,
    /// The file's name.
    pub name: String,
    /// Number of pages.
    pub pages: u32,
    /// Which file and its SHA-256 in hex: ("original", "…"), ("working copy", "…"), ("sealed", "…").
    pub digests: Vec<(String, String)>,
}

/// A recipient in the certificate.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CertificateRecipient {
    /// `rec_…`
    pub id: String,
    /// Name.
    pub name: String,
    /// Mail address.
    pub email: String,
    /// `signer`, `approver` or `copy`.
    pub kind: String,
    /// Place in the order.
    pub order: u32,
    /// How the person was authenticated, and the result.
    pub authentication: String,
    /// Version, language and time of the consent.
    pub consent: Option<String>,
    /// What else is known, as (label, value): addresses, proxy, user agent, times.
    pub facts: Vec<(String, String)>,
    /// The signature as it was made.
    pub signature: Option<Mark>,
    /// How it was made, in words.
    pub signature_how: Option<String>,
}

/// A mail that the certificate tells of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CertificateMail {
    /// When.
    pub time: String,
    /// What it was for, and how far it got.
    pub what: String,
    /// To which address.
    pub to: String,
}
