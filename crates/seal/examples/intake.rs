//! Runs PDF files through intake, picture, text search, stamp and seal as the server does, and says what came of each and how long it took.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use seal::key::SealKey;
use seal::limits::Limits;
use seal::pades::sign;
use seal::pool::{Pool, PoolConfig, document};
use seal::{Expectation, Mark, SealError, SignatureInfo, Stamp};

/// The example's present: any time will do, if it is one.
const NOW_MS: i64 = 1_800_000_000_000;
/// So many pages get a value; the banner goes on all.
const STAMPED_PAGES: usize = 40;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        eprintln!("usage: intake PATH-OF-SEAL-WORKER FILE.pdf …");
        return;
    };
    let pool = Pool::new(PoolConfig {
        program: PathBuf::from(program),
        args: Vec::new(),
        workers: 2,
        limits: Limits::default(),
        tasks_per_worker: 1_000,
    });
    for path in arguments {
        let path = PathBuf::from(path);
        let started = Instant::now();
        let mut steps = Steps::new();
        let outcome = match one(&pool, &path, &mut steps).await {
            Ok(outcome) => outcome,
            Err(error) => format!("{error}; ms: {}", steps.text),
        };
        println!("{}\t{} ms\t{outcome}", path.display(), started.elapsed().as_millis());
    }
}

async fn one(pool: &Pool, path: &std::path::Path, step: &mut Steps) -> Result<String, SealError> {
    let file = std::fs::File::open(path).map_err(|error| SealError::fault(error.to_string()))?;
    let original = Arc::new(file);
    let inspection = pool.inspect("example", &original).await?;
    step.done("inspect");
    let pdf = match &inspection.working_copy {
        Some(copy) => document(copy)?,
        None => original,
    };
    let picture = pool.render("example", &pdf, 1, 1_000).await?;
    step.done("render");
    let found = pool.find_text("example", &pdf, vec!["the".to_owned()]).await?;
    step.done("find");
    let stamps: Vec<Stamp> = (1..=inspection.pages.len() as u32)
        .take(STAMPED_PAGES)
        .map(|page| Stamp {
            page,
            x: 20.0,
            y: 20.0,
            width: 120.0,
            height: 16.0,
            what: Mark::Text { text: "Zoë Ødegård".to_owned(), size: None },
        })
        .collect();
    let stamped = pool.stamp("example", &pdf, stamps.clone(), Some("TEST".to_owned())).await?;
    step.done("stamp");
    let info =
        SignatureInfo { name: "Example".into(), reason: "Test".into(), location: String::new(), time_ms: NOW_MS };
    let prepared = pool.prepare("example", stamped, info).await?;
    step.done("prepare");
    let made = SealKey::generate("Example (self-signed)", NOW_MS)?;
    let key = SealKey::from_pem(&made.certificate, &made.key)?;
    let sealed = sign(prepared, &key, NOW_MS)?;
    step.done("sign");
    let expect = Expectation { pages: inspection.pages.len() as u32, stamps };
    pool.check("example", sealed.clone(), expect).await?;
    step.done("check");
    if let Some(folder) = std::env::var_os("OUT") {
        let name = path.file_name().unwrap_or_default();
        std::fs::write(PathBuf::from(folder).join(name), sealed)
            .map_err(|error| SealError::fault(error.to_string()))?;
    }
    Ok(format!(
        "{} pages, {} places, {} bytes of picture, changes {:?}, warnings {:?}, missing {:?}; ms: {}",
        inspection.pages.len(),
        found[0].len(),
        picture.len(),
        inspection.changes,
        inspection.warnings,
        inspection.fonts_missing,
        step.text
    ))
}

struct Steps {
    last: Instant,
    text: String,
}

impl Steps {
    fn new() -> Self {
        Self { last: Instant::now(), text: String::new() }
    }

    fn done(&mut self, name: &str) {
        self.text.push_str(&format!("{name} {} ", self.last.elapsed().as_millis()));
        self.last = Instant::now();
    }
}
