//! The parts of an `app` for a test: files and journal in a folder, nothing that seals, sends or draws.

use std::path::Path;
use std::sync::Arc;

use app::{Config, Parts, SystemRandom};
use gate::{Gate, GateConfig};
use model::Clock;
use store::{Db, Files, Journal};

/// The master key of every test.
pub const MASTER: [u8; 32] = [7; 32];

/// An `app`'s parts: what a test needs otherwise it says itself.
pub async fn parts(db: &Db, folder: &Path, clock: Arc<dyn Clock>) -> Parts {
    let random = Arc::new(SystemRandom);
    Parts {
        db: db.clone(),
        files: Files::open(&folder.join("files"), random.clone()).expect("files"),
        journal: Journal::open(folder, None).await.expect("a journal"),
        gate: Gate::new(db.clone(), GateConfig::default(), clock.clone()),
        seal_key: Err("no key in this test".to_owned()),
        config: Config {
            public_url: "https://sign.example.com".to_owned(),
            master_key: MASTER,
            smtp: None,
            worker: ("/bin/false".into(), Vec::new()),
            workers: 1,
            github_keys: None,
        },
        clock,
        random,
    }
}
