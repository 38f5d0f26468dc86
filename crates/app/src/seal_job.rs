//! The sealing job: from the last signature to files that were checked, and only then `completed`. Tried again without end.

use model::{
    Caller, Code, EnvelopeId, Problem, Timestamp,
    asset::{Asset, AssetKind, Seal},
    envelope::{Envelope, Status},
    event::{Type, hex},
    template::Content,
};
use seal::{SealError, key::SealKey, pool::document};
use serde_json::{Value, json};
use store::job::Job;

use crate::{
    App,
    job::Outcome,
    paper::{Completion, Sheet, info, stamps},
};

/// The seal's profile.
const PROFILE: &str = "PAdES-B-B";

/// Bytes of a name before what is added to it. File systems take 255 in all.
const STEM_BYTES_MAX: usize = 200;
/// The longest pause between two attempts: after whatever stood in the way is mended, nobody waits for an hour.
const PAUSE_MS_MAX: i64 = 60_000;

impl App {
    /// The key that seals, while its certificate is valid: nothing is sent that could not be sealed, and nobody finds out
    /// after everyone has signed.
    pub(crate) fn sealing_key(&self) -> Result<&SealKey, Problem> {
        let key = self.seal_key.as_ref().map_err(|why| Problem::new(Code::SealUnavailable, why.clone()))?;
        let now = self.now();
        if now.millis() < key.not_before() || now.millis() > key.not_after() {
            let until = Timestamp::from_millis(key.not_after());
            let why =
                format!("The seal certificate is not valid now; it ends at {until}. The operator has to replace it.");
            return Err(Problem::new(Code::SealUnavailable, why));
        }
        Ok(key)
    }

    /// Seals the envelope that the job names. The state guards: of two runs one completes it, the other changes nothing.
    pub(crate) async fn run_seal(&self, job: &Job) -> Result<Outcome, Problem> {
        let id: EnvelopeId = job.object.parse().map_err(Problem::fault)?;
        let mut tx = self.read().await?;
        let Some(envelope) = store::envelope::get(&mut tx, job.scope, id).await? else { return Ok(Outcome::Done) };
        if envelope.status != Status::Sealing {
            return Ok(Outcome::Done);
        }
        let content = store::envelope::content(&mut tx, &envelope).await?;
        let mails = store::mail::of_envelope(&mut tx, job.scope, id).await?;
        let chain = store::event::chain_of(&mut tx, job.scope, id).await?;
        drop(tx);
        match self.seal_all(&envelope, &content, &mails, &chain).await {
            Ok(assets) => self.complete(job, id, &assets).await,
            Err(error) => self.sealing_failed(job, id, &error).await,
        }
    }

    async fn complete(&self, job: &Job, id: EnvelopeId, assets: &[Asset]) -> Result<Outcome, Problem> {
        let caller = Caller::system(job.scope);
        let mut tx = self.db.begin().await?;
        let Some(mut envelope) = store::envelope::lock(&mut tx, job.scope, id).await? else { return Ok(Outcome::Done) };
        if let Some(moved) = envelope.sealed(self.now()) {
            store::asset::insert(&mut tx, job.scope, id, assets).await?;
            store::job::done(&mut tx, job).await?;
            self.moved(&mut tx, &caller, &mut envelope, moved).await?;
            tx.commit().await?;
            self.told();
            return Ok(Outcome::Committed);
        }
        Ok(Outcome::Done)
    }

    async fn sealing_failed(&self, job: &Job, id: EnvelopeId, error: &SealError) -> Result<Outcome, Problem> {
        let now = self.now();
        let next = now.plus(store::job::backoff_ms(job.attempts).min(PAUSE_MS_MAX));
        tracing::error!(envelope = %id, %error, "sealing failed; it is tried again");
        let (code, detail) = match error {
            SealError::Refused { code, detail } => (*code, detail.clone()),
            SealError::Busy => ("busy", error.to_string()),
            SealError::Machine(why) | SealError::Fault(why) => ("seal_fault", why.clone()),
        };
        let mut tx = self.db.begin().await?;
        if let Some(mut envelope) = store::envelope::lock(&mut tx, job.scope, id).await? {
            let moved = envelope.sealing_failed(code, &detail, now, next);
            if envelope.status == Status::Sealing {
                store::job::fail(&mut tx, job, &detail, next).await?;
                self.moved(&mut tx, &Caller::system(job.scope), &mut envelope, moved).await?;
                tx.commit().await?;
                self.watch.nudge();
                return Ok(Outcome::Committed);
            }
        }
        Ok(Outcome::Done)
    }

    /// Makes every file, checks it, and makes it durable; nothing of it is seen before the commit.
    async fn seal_all(
        &self,
        envelope: &Envelope,
        content: &Content,
        mails: &[model::mail::Mail],
        chain: &[store::event::Link],
    ) -> Result<Vec<Asset>, SealError> {
        let key = self.seal_key.as_ref().map_err(|why| SealError::Fault(why.clone()))?;
        let scope = envelope.scope;
        let now = self.now();
        let group = scope.tenant.to_string();
        let reason = format!("Completed envelope {}", envelope.id);
        let (mut assets, mut digests, mut flat) = (Vec::new(), Vec::new(), Vec::new());
        for paper in &content.documents {
            let pages = u32::try_from(paper.pages.len()).unwrap_or(u32::MAX);
            let pdf = self.pdf(scope, &paper.working).await.map_err(fault)?;
            let sheet = Sheet { pdf: pdf.clone(), pages, stamps: stamps(envelope, content, paper.id) };
            if content.documents.len() > 1 {
                let banner = crate::paper::banner(scope.environment);
                let stamped = self.pool.stamp(&group, &pdf, sheet.stamps.clone(), banner).await?;
                flat.push((paper.filename.clone(), document(&stamped)?));
            }
            let sealed = self.seal_file(scope, sheet, key, info(&reason, now)).await?;
            let name = format!("{} (signed).pdf", stem(&paper.filename));
            let asset = self.keep(envelope, AssetKind::Document, Some(paper.id), name, sealed, now).await?;
            digests.push(asset.sha256.clone());
            assets.push(asset);
        }
        assets.push(self.combined(envelope, content, flat, assets.first(), key, now).await?);
        let head = chain.last().map(|link| link.hash).unwrap_or_default();
        let sent_at = chain.iter().find(|link| link.event.kind == Type::EnvelopeSent.as_str());
        let sent_at = sent_at.map_or(envelope.created_at, |link| link.event.created_at);
        let completion = Completion { envelope, content, sealed: &digests, mails, head, sent_at, now, key };
        let certificate = self.pool.certificate(&group, completion.certificate()).await?;
        let certificate = self.seal_plain(envelope, certificate, key, now).await?;
        let name = format!("{} (certificate).pdf", stem(&envelope.title));
        assets.push(self.keep(envelope, AssetKind::Certificate, None, name, certificate, now).await?);
        let name = format!("{} (audit).json", stem(&envelope.title));
        let audit =
            serde_json::to_vec_pretty(&audit(envelope, chain)).map_err(|error| SealError::Fault(error.to_string()))?;
        assets.push(self.keep(envelope, AssetKind::Audit, None, name, audit, now).await?);
        Ok(assets)
    }

    /// All documents in one file. Joining sealed files would break their seals, so the stamped ones are joined and sealed;
    /// where there is one document, its sealed file is the whole.
    async fn combined(
        &self,
        envelope: &Envelope,
        content: &Content,
        flat: Vec<(String, seal::pool::Pdf)>,
        only: Option<&Asset>,
        key: &SealKey,
        now: Timestamp,
    ) -> Result<Asset, SealError> {
        let name = format!("{} (combined).pdf", stem(&envelope.title));
        if let (true, Some(only)) = (content.documents.len() == 1, only) {
            return Ok(Asset {
                id: self.id(),
                kind: AssetKind::Combined,
                document: None,
                filename: name,
                ..only.clone()
            });
        }
        let joined = self.pool.combine(&envelope.scope.tenant.to_string(), flat).await?;
        let sealed = self.seal_plain(envelope, joined, key, now).await?;
        self.keep(envelope, AssetKind::Combined, None, name, sealed, now).await
    }

    /// Seals a file that was made here and says all that it has to.
    async fn seal_plain(
        &self,
        envelope: &Envelope,
        pdf: Vec<u8>,
        key: &SealKey,
        now: Timestamp,
    ) -> Result<Vec<u8>, SealError> {
        let group = envelope.scope.tenant.to_string();
        let reason = format!("Completed envelope {}", envelope.id);
        let prepared = self.pool.prepare(&group, pdf, info(&reason, now)).await?;
        let sealed = seal::pades::sign(prepared, key, now.millis())?;
        let report = self.pool.verify(&group, &document(&sealed)?, vec![key.certificate_der().to_vec()]).await?;
        if report.verdict != seal::verify::Verdict::Valid || !report.whole_file {
            return Err(SealError::Fault(format!("the seal does not verify: {}", report.reason)));
        }
        Ok(sealed)
    }

    async fn keep(
        &self,
        envelope: &Envelope,
        kind: AssetKind,
        document: Option<model::DocumentId>,
        filename: String,
        bytes: Vec<u8>,
        now: Timestamp,
    ) -> Result<Asset, SealError> {
        let stored = self.files.put(envelope.scope, bytes).await.map_err(fault)?;
        let (content_type, seal) = match kind {
            AssetKind::Audit => ("application/json", None),
            _ => ("application/pdf", Some(Seal { profile: PROFILE.to_owned(), time: now })),
        };
        Ok(Asset {
            id: self.id(),
            kind,
            document,
            filename,
            content_type: content_type.to_owned(),
            size: stored.size,
            sha256: stored.sha256,
            seal,
            created_at: now,
        })
    }
}

fn fault(error: impl Into<Problem>) -> SealError {
    SealError::Fault(error.into().to_string())
}

/// A name without its `.pdf` and without what a file system minds; cut, so that what is added to it fits too.
fn stem(name: &str) -> String {
    let name = name.strip_suffix(".pdf").unwrap_or(name);
    let name = &name[..name.floor_char_boundary(STEM_BYTES_MAX)];
    name.chars()
        .map(|c| if matches!(c, '/' | '\\' | ':' | '"' | '<' | '>' | '|' | '?' | '*') { '-' } else { c })
        .collect()
}

/// How the audit file is checked: what is joined is bytes, and which bytes they are is said of each.
const AUDIT_HOW: &str = "Begin with the 32 bytes that `start` names (SHA-256 of the envelope's id as ASCII). For each entry \
    of `events`, in order: take its `event`; replace the value at each JSON pointer that `salts` names by the text \
    \"sha256:\" followed by the lowercase hex of SHA-256(the salt's 32 hex digits as ASCII text, then the value as RFC 8785 \
    JSON in UTF-8); then hash = SHA-256(the previous hash as 32 raw bytes, then the event as RFC 8785 JSON in UTF-8), \
    which `hash` has in hex. The last one is `chain_head`, as the certificate of completion prints it.";

/// The audit file: every event up to sealing with its salts and links, so that the chain can be checked without this server.
fn audit(envelope: &Envelope, chain: &[store::event::Link]) -> Value {
    let head = chain.last().map(|link| link.hash).unwrap_or_default();
    let links: Vec<_> =
        chain.iter().map(|link| json!({ "event": link.event, "salts": link.salts, "hash": hex(&link.hash) })).collect();
    json!({
        "envelope_id": envelope.id,
        "start": hex(&model::event::chain_start(envelope.id)),
        "chain_head": hex(&head),
        "what": "Every event of the envelope up to its sealing; envelope.completed, which follows it, is not among them.",
        "how": AUDIT_HOW,
        "events": links,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fits_into_a_file_system() {
        assert_eq!(stem("Vertrag: A/B.pdf"), "Vertrag- A-B");
        let long = stem(&"長い".repeat(100));
        assert!(long.len() <= STEM_BYTES_MAX && long.chars().all(|c| "長い".contains(c)), "{long}");
    }
}
