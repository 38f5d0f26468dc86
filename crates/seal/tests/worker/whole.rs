//! The whole way of a document through the workers: intake, stamps, seal, check, certificate, join.

use std::path::PathBuf;

use seal::key::SealKey;
use seal::limits::Limits;
use seal::pades::sign;
use seal::pool::{Pool, PoolConfig, document};
use seal::verify::{Verdict, verify};
use seal::{Certificate, CertificateDocument, Expectation, Mark, SealError, SignatureInfo, Stamp};

use crate::made;

const NOW_MS: i64 = 1_800_000_000_000;

fn pool() -> Pool {
    Pool::new(PoolConfig {
        program: PathBuf::from(env!("CARGO_BIN_EXE_seal-worker")),
        args: Vec::new(),
        workers: 2,
        limits: Limits::default(),
        tasks_per_worker: 100,
    })
}

fn stamps() -> Vec<Stamp> {
    let ink = vec![vec![(0.1, 0.9), (0.5, 0.1), (0.9, 0.9)], vec![(0.2, 0.5), (0.8, 0.5)]];
    (1..=4)
        .flat_map(|page| {
            [
                Mark::Text { text: format!("Zoë Ødegård {page}"), size: None },
                Mark::Signature { text: "Ada Lovelace".into() },
                Mark::Ink { strokes: ink.clone() },
                Mark::Check,
            ]
            .into_iter()
            .enumerate()
            .map(move |(row, what)| Stamp {
                page,
                x: 150.0,
                y: 250.0 + 40.0 * row as f64,
                width: 150.0,
                height: 24.0,
                what,
            })
        })
        .collect()
}

fn key() -> SealKey {
    let made = SealKey::generate("IUSign test seal (self-signed)", NOW_MS).expect("a key");
    SealKey::from_pem(&made.certificate, &made.key).expect("the key again")
}

async fn sealed(pool: &Pool, unsealed: Vec<u8>, key: &SealKey) -> Vec<u8> {
    let info = SignatureInfo {
        name: "IUSign".into(),
        reason: "All have signed".into(),
        location: "Vienna".into(),
        time_ms: NOW_MS,
    };
    let prepared = pool.prepare("tenant", unsealed, info).await.expect("prepared");
    sign(prepared, key, NOW_MS).expect("signed")
}

#[tokio::test]
async fn every_page_is_stamped_sealed_and_checked_through_the_workers() {
    let (pool, key, stamps) = (pool(), key(), stamps());
    let pdf = document(&made::good()).expect("a document");
    let stamped = pool.stamp("tenant", &pdf, stamps.clone(), Some("TEST, not binding".into())).await.expect("stamped");
    let sealed = sealed(&pool, stamped, &key).await;
    let expect = Expectation { pages: 4, stamps: stamps.clone() };
    pool.check("tenant", sealed.clone(), expect).await.expect("all is found");
    let trust = vec![key.certificate_der().to_vec()];
    let report = pool.verify("tenant", &document(&sealed).expect("a document"), trust.clone()).await.expect("a report");
    assert!(report.verdict == Verdict::Valid && report.whole_file, "{report:?}");
    assert_eq!(report, verify(&sealed, &trust));

    let needles = (1..=4).map(|page| format!("Zoë Ødegård {page}")).collect();
    let found = pool.find_text("tenant", &document(&sealed).expect("a document"), needles).await.expect("found");
    for (index, places) in found.iter().enumerate() {
        let [place] = places.as_slice() else { panic!("{places:?}") };
        assert_eq!(place.page, index as u32 + 1);
        assert!((place.x - 150.0).abs() < 4.0 && place.y > 245.0 && place.y + place.height < 280.0, "{place:?}");
    }

    // What was not stamped is missed.
    let mut more = stamps;
    more.push(Stamp {
        page: 2,
        x: 10.0,
        y: 10.0,
        width: 90.0,
        height: 20.0,
        what: Mark::Text { text: "Eve".into(), size: None },
    });
    let error = pool.check("tenant", sealed.clone(), Expectation { pages: 4, stamps: more }).await.expect_err("missed");
    assert!(matches!(error, SealError::Refused { code: "document_check_failed", .. }), "{error:?}");
    assert_eq!(
        pool.inspect("tenant", &document(&sealed).expect("a document")).await.expect_err("refused").code(),
        Some("document_signed")
    );
}

#[tokio::test]
async fn a_certificate_is_made_joined_and_sealed() {
    let (pool, key) = (pool(), key());
    let certificate = Certificate {
        envelope_id: "env_01".into(),
        subject: "Agreement".into(),
        documents: vec![CertificateDocument { name: "agreement.pdf".into(), pages: 4, ..Default::default() }],
        ..Certificate::default()
    };
    let certificate = pool.certificate("tenant", certificate).await.expect("a certificate");
    let found = pool.find_text("tenant", &document(&certificate).expect("a document"), vec!["env_01".into()]).await;
    assert!(!found.expect("found")[0].is_empty());
    let parts = [("Agreement", made::good()), ("Certificate", certificate)]
        .map(|(name, bytes)| (name.to_owned(), document(&bytes).expect("a document")))
        .to_vec();
    let joined = pool.combine("tenant", parts).await.expect("joined");
    let inspection = pool.inspect("tenant", &document(&joined).expect("a document")).await.expect("a good document");
    assert!(inspection.pages.len() > 4 && inspection.working_copy.is_none(), "{inspection:?}");
    let report = verify(&sealed(&pool, joined, &key).await, &[key.certificate_der().to_vec()]);
    assert!(report.verdict == Verdict::Valid && report.whole_file, "{report:?}");
}
