//! Times the stages of one seal on the sample contract: `cargo run --release -p iusign-seal --example stages`.

use std::time::Instant;

use seal::key::SealKey;
use seal::{Expectation, Mark, SealError, SignatureInfo, Stamp, check, pades, prepare, stamp, verify};

const ROUNDS: u32 = 50;
const NOW_MS: i64 = 1_795_000_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sample = std::env::args().nth(1).unwrap_or_else(|| "web/sample/service-agreement.pdf".into());
    let pdf = std::fs::read(sample)?;
    let made = SealKey::generate("stages", NOW_MS)?;
    let key = SealKey::from_pem(&made.certificate, &made.key)?;
    let at = |y: f64, what: Mark| Stamp { page: 4, x: 80.0, y, width: 160.0, height: 30.0, what };
    let wave = (0..60).map(|i| (f64::from(i) / 60.0, 0.5 + 0.4 * (f64::from(i) * 0.4).sin())).collect();
    let stamps = vec![
        at(300.0, Mark::Signature { text: "Ada Lovelace".into() }),
        at(400.0, Mark::Text { text: "Zoë Ωμέγα Журнал".into(), size: None }),
        at(500.0, Mark::Ink { strokes: vec![wave] }),
    ];
    let info =
        SignatureInfo { name: "stages".into(), reason: "timing".into(), location: String::new(), time_ms: NOW_MS };

    let stamped = timed("stamp", || stamp::stamp(&pdf, &stamps, None))?;
    timed("prepare", || prepare::prepare(stamped.clone(), &info))?;
    let sealed = timed("prepare and sign", || pades::sign(prepare::prepare(stamped.clone(), &info)?, &key, NOW_MS))?;
    timed("verify", || Ok(verify::verify(&sealed, &[])))?;
    let expect = Expectation { pages: 4, stamps };
    timed("check", || check::check(sealed.clone(), &expect))?;
    timed("typesetter", || Ok(seal::text::Typesetter::new()))?;
    Ok(())
}

fn timed<T>(stage: &str, mut work: impl FnMut() -> Result<T, SealError>) -> Result<T, SealError> {
    let started = Instant::now();
    let mut last = work()?;
    for _ in 1..ROUNDS {
        last = work()?;
    }
    println!("{stage:<18}{:>8.2} ms", started.elapsed().as_secs_f64() * 1000.0 / f64::from(ROUNDS));
    Ok(last)
}
