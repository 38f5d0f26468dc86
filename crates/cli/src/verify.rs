//! `iusign verify FILE.pdf…`: whether sealed PDFs are as they were sealed. The files are read in a confined process.

use std::{fs::File, path::PathBuf, sync::Arc};

use anyhow::Context;
use base64::{Engine, prelude::BASE64_STANDARD};
use seal::verify::{Report, Verdict};
use serde::Serialize;

use crate::{
    exit,
    output::{self, Style},
    worker,
};

/// `iusign verify`.
#[derive(Debug, clap::Args)]
pub struct Verify {
    /// The files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A certificate to trust, PEM, may be repeated: a server's own is seal/cert.pem in its data folder. Without one only
    /// soundness is judged, not who sealed
    #[arg(long, value_name = "FILE")]
    trust: Vec<PathBuf>,
}

/// What was found about one file.
#[derive(Debug, Serialize)]
pub struct Found {
    /// The file.
    pub file: PathBuf,
    /// What was found; none where it could not be judged.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
    /// Why it could not be judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Found {
    /// Whether it is valid beyond doubt.
    pub fn is_valid(&self) -> bool {
        self.report.as_ref().is_some_and(|report| report.verdict == Verdict::Valid && report.whole_file)
    }
}

/// Judges each file; ends with 3 where one is not valid.
pub async fn run(verify: Verify, json: bool) -> anyhow::Result<()> {
    let mut trust = Vec::new();
    for file in &verify.trust {
        let text = std::fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
        let certificates = certificates(&text);
        anyhow::ensure!(!certificates.is_empty(), "{} holds no certificate: PEM is wanted", file.display());
        trust.extend(certificates);
    }
    let found = judge(&verify.files, &trust).await?;
    if json {
        output::json(&found);
    } else {
        found.iter().for_each(show);
    }
    if found.iter().all(Found::is_valid) { Ok(()) } else { Err(exit::Wanting.into()) }
}

/// Judges each file in a confined process of its own group.
pub async fn judge(files: &[PathBuf], trust: &[Vec<u8>]) -> anyhow::Result<Vec<Found>> {
    let pool = worker::pool(1)?;
    let mut all = Vec::new();
    for path in files {
        let found = match File::open(path) {
            Ok(open) => match pool.verify("verify", &Arc::new(open), trust.to_vec()).await {
                Ok(report) => Found { file: path.clone(), report: Some(report), error: None },
                Err(error) => Found { file: path.clone(), report: None, error: Some(error.to_string()) },
            },
            Err(error) => {
                Found { file: path.clone(), report: None, error: Some(format!("it can't be opened: {error}")) }
            }
        };
        all.push(found);
    }
    Ok(all)
}

/// The certificates of a PEM file, DER.
pub fn certificates(pem: &str) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut rest = pem;
    while let Some((_, after)) = rest.split_once("-----BEGIN CERTIFICATE-----") {
        let Some((body, tail)) = after.split_once("-----END CERTIFICATE-----") else { break };
        let digits: String = body.split_whitespace().collect();
        all.extend(BASE64_STANDARD.decode(digits).ok());
        rest = tail;
    }
    all
}

fn show(found: &Found) {
    let style = Style::of_stdout();
    let name = found.file.display();
    let Some(report) = &found.report else {
        output::line(&format!("{}  {name}", style.red("error  ")));
        output::line(&format!("         {}", output::plain(found.error.as_deref().unwrap_or_default())));
        return;
    };
    let word = match report.verdict {
        Verdict::Valid => style.green("valid  "),
        Verdict::Invalid => style.red("INVALID"),
        Verdict::None => style.red("no seal"),
    };
    output::line(&format!("{word}  {name}"));
    output::line(&format!("         {}", output::plain(&report.reason)));
    for signature in &report.signatures {
        let Some(certificate) = &signature.certificate else { continue };
        let trusted = match certificate.trusted {
            Some(true) => "trusted",
            Some(false) => "not trusted",
            None => "trust was not asked for: --trust cert.pem",
        };
        let time = signature.claimed_time.as_deref().unwrap_or("no time");
        let who = format!("{} ({trusted}), {time}", certificate.subject);
        output::line(&format!("         {}", style.faint(&output::plain(&who))));
    }
}
