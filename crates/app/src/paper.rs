//! From values to paper: what is stamped where, one file sealed and checked, and the certificate of completion.

use std::sync::OnceLock;

use model::{
    BodyError, Code, EnvScope, Environment, Problem, Timestamp,
    caller::Actor,
    envelope::{Envelope, pointer_part},
    envelope_new::sample_value,
    event::hex,
    field::{Field, FieldKind, Signature},
    mail::Mail,
    recipient::{Recipient, RecipientKind},
    shown::{self, Entry},
    template::Content,
};
use seal::{
    Certificate, CertificateDocument, CertificateMail, CertificateRecipient, Expectation, Mark, SealError,
    SignatureInfo, Stamp,
    key::SealKey,
    pool::{Pdf, document},
};
use serde_json::{Map, Value};

use crate::App;

/// What a worker refused, as the outside sees it. A worker's own trouble is not the sender's fault.
pub(crate) fn problem(error: SealError) -> Problem {
    match error {
        SealError::Refused { code, detail } => match Code::ALL.iter().find(|known| known.as_str() == code) {
            Some(known) => Problem::new(*known, model::word::sentence(&detail)),
            None => Problem::fault(format!("unknown refusal {code}: {detail}")),
        },
        SealError::Busy => Problem::new(Code::Unavailable, "Every document worker is busy.").retry_after(2),
        short @ SealError::Machine(_) => Problem::new(Code::Unavailable, "The server is short of memory or processes.")
            .retry_after(2)
            .caused_by(short),
        fault @ SealError::Fault(_) => Problem::fault(fault),
    }
}

/// A file's part of a seal: what was stamped, on how many pages.
pub(crate) struct Sheet {
    /// The file to stamp.
    pub pdf: Pdf,
    /// Its pages.
    pub pages: u32,
    /// What is stamped.
    pub stamps: Vec<Stamp>,
}

impl App {
    /// Stamps, seals and checks one file: reopened by the other parser, its seal verified, every value found at its box.
    pub(crate) async fn seal_file(
        &self,
        scope: EnvScope,
        sheet: Sheet,
        key: &SealKey,
        info: SignatureInfo,
    ) -> Result<Vec<u8>, SealError> {
        let group = scope.tenant.to_string();
        let stamped = match (sheet.stamps.is_empty(), banner(scope.environment)) {
            (true, None) => read_all(&sheet.pdf)?,
            (_, banner) => self.pool.stamp(&group, &sheet.pdf, sheet.stamps.clone(), banner).await?,
        };
        let time = info.time_ms;
        let prepared = self.pool.prepare(&group, stamped, info).await?;
        let sealed = seal::pades::sign(prepared, key, time)?;
        let report = self.pool.verify(&group, &document(&sealed)?, vec![key.certificate_der().to_vec()]).await?;
        if report.verdict != seal::verify::Verdict::Valid || !report.whole_file {
            return Err(SealError::Fault(format!("the seal does not verify: {}", report.reason)));
        }
        let expect = Expectation { pages: sheet.pages, stamps: sheet.stamps };
        self.pool.check(&group, sealed.clone(), expect).await?;
        Ok(sealed)
    }

    /// Stamps sample values and seals with a throw-away key: whatever can't be sealed is refused before anyone is asked.
    pub(crate) async fn dry_seal(&self, scope: EnvScope, content: &Content) -> Result<(), Problem> {
        let now = self.now();
        let key = throw_away_key(now).map_err(problem)?;
        for paper in &content.documents {
            let fields = content.fields.iter().filter(|field| field.document == paper.id);
            let mut stamps: Vec<_> = fields.map(|field| stamp(field, sample_mark(field))).collect();
            if stamps.is_empty() {
                stamps.extend(paper.pages.first().map(|page| Stamp {
                    page: 1,
                    x: page.width * 0.25,
                    y: page.height * 0.25,
                    width: page.width * 0.5,
                    height: (page.height * 0.1).min(20.0),
                    what: Mark::Text { text: "Ag".into(), size: None },
                }));
            }
            let pages = u32::try_from(paper.pages.len()).unwrap_or(u32::MAX);
            let sheet = Sheet { pdf: self.pdf(scope, &paper.working).await?, pages, stamps };
            self.seal_file(scope, sheet, &key, info("Dry seal", now)).await.map_err(|error| match error {
                SealError::Fault(why) => Problem::new(Code::DocumentCheckFailed, format!("{}: {why}.", paper.filename)),
                other => problem(other),
            })?;
        }
        Ok(())
    }
}

/// Whether every value can be read in its field's box; the answer names each that can't, before anyone signs it.
pub(crate) fn check_fit(fields: &[Field], values: &Map<String, Value>) -> Result<(), Problem> {
    let too_long = |(key, value): (&String, &Value)| {
        let field = fields.iter().find(|field| field.key == *key)?;
        let text = value.as_str().filter(|text| !fits(text, field.width, field.height))?;
        let detail = format!(
            "The field {key} is too small for this: {} characters don't fit in {:.0} × {:.0} points.",
            text.chars().count(),
            field.width,
            field.height
        );
        Some(BodyError::new(format!("/values/{}", pointer_part(key)), "does_not_fit", detail))
    };
    let errors: Vec<_> = values.iter().filter_map(too_long).collect();
    if errors.is_empty() { Ok(()) } else { Err(Problem::body(errors)) }
}

/// Whether a typed signature can be seen in every box that it goes to. A drawing always can.
pub(crate) fn check_signature_fits(fields: &[Field], role: &str, signature: Option<&Signature>) -> Result<(), Problem> {
    let Some(Signature::Typed { text }) = signature else { return Ok(()) };
    let mut boxes = fields.iter().filter(|field| field.role == role && field.kind == FieldKind::Signature);
    #[expect(clippy::cast_possible_truncation, reason = "a page's points are far within f32")]
    let small = boxes.find(|field| !seal::text::fits_signature(text.trim(), field.width as f32, field.height as f32));
    small.map_or(Ok(()), |field| {
        let detail = format!(
            "This name is too long for a signature's box of {:.0} × {:.0} points on page {}: shorten it, or draw your signature.",
            field.width, field.height, field.page
        );
        Err(Problem::body(vec![BodyError::new("/signature", "does_not_fit", detail)]))
    })
}

#[expect(clippy::cast_possible_truncation, reason = "a page's points are far within f32")]
fn fits(text: &str, width: f64, height: f64) -> bool {
    // No letter of our fonts is wider than this at the smallest size: short texts need no typesetting.
    const LETTER_POINTS_MAX: f64 = 9.0;
    text.chars().count() as f64 * LETTER_POINTS_MAX <= width || seal::text::fits(text, width as f32, height as f32)
}

/// The key of dry seals: made at the first, never stored.
fn throw_away_key(now: Timestamp) -> Result<SealKey, SealError> {
    static PEM: OnceLock<(String, zeroize::Zeroizing<String>)> = OnceLock::new();
    if PEM.get().is_none() {
        let made = SealKey::generate("IUSign dry seal, never stored", now.millis())?;
        let _ = PEM.set((made.certificate, made.key));
    }
    let (certificate, key) = PEM.get().ok_or_else(|| SealError::Fault("no throw-away key".to_owned()))?;
    SealKey::from_pem(certificate, key)
}

/// What stands in a seal's dictionary.
pub(crate) fn info(reason: &str, now: Timestamp) -> SignatureInfo {
    SignatureInfo { name: "IUSign".into(), reason: reason.to_owned(), location: String::new(), time_ms: now.millis() }
}

/// Outside production every page says that nothing binds anyone.
pub(crate) fn banner(environment: Environment) -> Option<String> {
    (!environment.binds()).then(|| format!("TEST · {environment} · not binding"))
}

fn read_all(pdf: &Pdf) -> Result<Vec<u8>, SealError> {
    use std::os::unix::fs::FileExt;
    let size = pdf.metadata().map_err(|error| SealError::Fault(error.to_string()))?.len();
    let mut bytes = vec![0; usize::try_from(size).map_err(|error| SealError::Fault(error.to_string()))?];
    pdf.read_exact_at(&mut bytes, 0).map_err(|error| SealError::Fault(error.to_string()))?;
    Ok(bytes)
}

/// What every field of `document` shows once all have signed.
pub(crate) fn stamps(envelope: &Envelope, content: &Content, document: model::DocumentId) -> Vec<Stamp> {
    let fields = content.fields.iter().filter(|field| field.document == document);
    let one = |field: &Field| {
        let recipient = envelope.recipients.iter().find(|recipient| recipient.role == field.role)?;
        let entry = shown::entry(envelope, field, recipient, recipient.body.signed.as_ref())?;
        Some(stamp(field, entry_mark(field, &entry)))
    };
    let mut stamps: Vec<_> = fields.filter_map(one).collect();
    thin(&mut stamps);
    stamps
}

/// What is drawn for an entry.
pub(crate) fn entry_mark(field: &Field, entry: &Entry<'_>) -> Mark {
    match entry {
        Entry::Text(text) => Mark::Text { text: text.clone(), size: None },
        Entry::Signature(signature) => signature_mark(signature, field.width / field.height),
        Entry::Check => Mark::Check,
    }
}

/// What a field shows in a dry seal.
fn sample_mark(field: &Field) -> Mark {
    match (field.kind, sample_value(field)) {
        (FieldKind::Signature, Value::String(text)) => Mark::Signature { text },
        (_, Value::String(text)) => Mark::Text { text, size: None },
        _ => Mark::Check,
    }
}

/// Points of drawings on one document. A drawing of many points that stands in many fields would keep a worker busy for
/// longer than it may be: then sealing would never succeed.
pub(crate) const INK_POINTS_MAX: usize = 300_000;

/// Leaves out points of drawings that are drawn from more than their even share, where all together are too many. Every
/// stroke keeps its ends.
pub(crate) fn thin(stamps: &mut [Stamp]) {
    let mut drawings: Vec<_> = stamps
        .iter_mut()
        .filter_map(|stamp| match &mut stamp.what {
            Mark::Ink { strokes } => Some(strokes),
            _ => None,
        })
        .collect();
    let count = |strokes: &Vec<Vec<(f64, f64)>>| strokes.iter().map(Vec::len).sum::<usize>();
    if drawings.iter().map(|strokes| count(strokes)).sum::<usize>() <= INK_POINTS_MAX {
        return;
    }
    let share = INK_POINTS_MAX / drawings.len();
    for strokes in &mut drawings {
        let every = count(strokes).div_ceil(share.max(1));
        for stroke in strokes.iter_mut().filter(|_| every > 1) {
            let last = stroke.len().saturating_sub(1);
            let mut at = 0;
            stroke.retain(|_| {
                at += 1;
                (at - 1) % every == 0 || at - 1 == last
            });
        }
    }
}

/// A signature in a box of this aspect: a drawing keeps its own proportions, in the middle of the box.
fn signature_mark(signature: &Signature, box_aspect: f64) -> Mark {
    match signature {
        Signature::Typed { text } => Mark::Signature { text: text.trim().to_owned() },
        Signature::Drawn { strokes, aspect } => {
            let (width, height) =
                if *aspect > box_aspect { (1.0, box_aspect / aspect) } else { (aspect / box_aspect, 1.0) };
            let fit = |(x, y): &(f64, f64)| ((1.0 - width) / 2.0 + x * width, (1.0 - height) / 2.0 + y * height);
            Mark::Ink { strokes: strokes.iter().map(|stroke| stroke.iter().map(fit).collect()).collect() }
        }
    }
}

/// A mark at its field's box.
pub(crate) fn stamp(field: &Field, what: Mark) -> Stamp {
    Stamp { page: field.page, x: field.x, y: field.y, width: field.width, height: field.height, what }
}

/// What the certificate of completion is made from.
pub(crate) struct Completion<'a> {
    /// The envelope, everyone having signed.
    pub envelope: &'a Envelope,
    /// Its documents and fields.
    pub content: &'a Content,
    /// SHA-256 of each sealed document, in order.
    pub sealed: &'a [String],
    /// Its mails.
    pub mails: &'a [Mail],
    /// The chain's head when everyone had signed.
    pub head: [u8; 32],
    /// When it was sent.
    pub sent_at: Timestamp,
    /// Now.
    pub now: Timestamp,
    /// The key that seals.
    pub key: &'a SealKey,
}

impl Completion<'_> {
    /// The certificate's words. Nothing that did not happen.
    pub(crate) fn certificate(&self) -> Certificate {
        let envelope = self.envelope;
        let zone = envelope.body.timezone.as_str();
        let time = |at: Timestamp| at.words_in(zone);
        Certificate {
            envelope_id: envelope.id.to_string(),
            external_id: envelope.external_id.clone(),
            subject: envelope.title.clone(),
            environment: envelope.scope.environment.to_string(),
            banner: banner(envelope.scope.environment),
            zone: zone.to_owned(),
            created: time(envelope.created_at),
            sent: time(self.sent_at),
            completed: time(self.now),
            documents: self.documents(),
            sender: match &envelope.created_by {
                Actor::Key { id, label } => format!("{}, by API key {id} ({label})", envelope.body.sender.tenant),
                Actor::User { id } => format!("{}, by user {id}", envelope.body.sender.tenant),
                _ => envelope.body.sender.tenant.clone(),
            },
            sender_address: envelope.body.sender.address.clone().unwrap_or_default(),
            recipients: envelope.recipients.iter().map(|recipient| certificate_recipient(recipient, zone)).collect(),
            mails: self.mails.iter().map(|mail| self.mail(mail)).collect(),
            seal_certificate: format!(
                "{}, serial {}, SHA-256 {}",
                self.key.subject(),
                self.key.serial(),
                self.key.fingerprint()
            ),
            timestamp: "No time-stamping authority: times are this server's.".to_owned(),
            chain_head: hex(&self.head),
            how_to_verify: vec![
                "Open a sealed file in a PDF program that shows signatures: it names the seal's certificate above and says that the document was not changed.".to_owned(),
                "Or run `iusign verify FILE.pdf --trust CERTIFICATE.pem`, or `pyhanko sign validate --trust CERTIFICATE.pem FILE.pdf`; both work offline.".to_owned(),
                "The SHA-256 of each file can be computed with `sha256sum FILE.pdf` and compared with the digests above. The audit file holds every event up to sealing, and says how its chain is computed; its `chain_head` is the one above.".to_owned(),
                "Each recipient signed electronically (a simple electronic signature); the operator of this server sealed the files.".to_owned(),
            ],
        }
    }

    fn documents(&self) -> Vec<CertificateDocument> {
        let digests = |paper: &model::template::ContentDocument, sealed: &String| {
            let mut digests = vec![("original".to_owned(), paper.sha256.clone())];
            if paper.working != paper.sha256 {
                digests.push(("working copy".to_owned(), paper.working.clone()));
            }
            digests.push(("sealed".to_owned(), sealed.clone()));
            digests
        };
        let papers = self.content.documents.iter().zip(self.sealed);
        papers
            .map(|(paper, sealed)| CertificateDocument {
                id: paper.id.to_string(),
                name: paper.filename.clone(),
                pages: u32::try_from(paper.pages.len()).unwrap_or(u32::MAX),
                digests: digests(paper, sealed),
            })
            .collect()
    }

    fn mail(&self, mail: &Mail) -> CertificateMail {
        let what = match mail.detail.as_str() {
            "" => format!("{}: {}", mail.purpose.as_str(), mail.state.as_str()),
            detail => format!("{}: {}, {detail}", mail.purpose.as_str(), mail.state.as_str()),
        };
        CertificateMail { time: mail.state_at.words_in(&self.envelope.body.timezone), what, to: mail.address.clone() }
    }
}

fn certificate_recipient(recipient: &Recipient, zone: &str) -> CertificateRecipient {
    let body = &recipient.body;
    let mut facts = Vec::new();
    for (label, act) in [("Viewed", body.viewed.as_ref()), ("Signed", body.signed.as_ref().map(|signed| &signed.act))] {
        if let Some(act) = act {
            facts.push((label.to_owned(), act.at.words_in(zone)));
            facts.push(("from address".to_owned(), act.address.clone()));
            facts.push(("with".to_owned(), act.user_agent.clone()));
        }
    }
    let signature = body.signed.as_ref().and_then(|signed| signed.signature.as_ref());
    CertificateRecipient {
        id: recipient.id.to_string(),
        name: recipient.name.clone(),
        email: recipient.email.clone(),
        kind: recipient.kind.as_str().to_owned(),
        order: recipient.order,
        authentication: match recipient.kind {
            RecipientKind::Copy => "none: receives a copy".to_owned(),
            _ => "the personal link in a mail to this address".to_owned(),
        },
        consent: body.consent.as_ref().map(|consent| {
            format!(
                "{}, in {}, at {} (text SHA-256 {})",
                consent.version,
                consent.language,
                consent.act.at.words_in(zone),
                consent.sha256
            )
        }),
        facts,
        signature: signature.map(|signature| signature_mark(signature, 4.5)),
        signature_how: signature.map(|signature| match signature {
            Signature::Typed { .. } => "typed".to_owned(),
            Signature::Drawn { .. } => "drawn by hand".to_owned(),
        }),
    }
}
