//! The sweep on both engines: what a row names stays, what none names goes after a day.

use std::sync::Arc;

use app::{App, Config, Parts, SystemClock, SystemRandom, tenant::NewTenant};
use gate::{Gate, GateConfig};
use model::{
    Clock, EnvScope, Environment, Timestamp,
    caller::Actor,
    document::{Document, DocumentBody},
    tenant::Tier,
    time::DAY_MS,
};
use store::{Files, testing::engines};

/// The machine's clock, some days ahead.
struct Ahead(i64);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus(self.0 * DAY_MS)
    }
}

#[tokio::test]
async fn what_a_row_names_stays_and_what_none_names_goes_after_a_day() {
    for test in engines().await {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = tempfile::tempdir().expect("a folder");
        for (days, left) in [(0, 3), (2, 2)] {
            let clock = Arc::new(Ahead(days));
            let files = Files::open(folder.path(), Arc::new(SystemRandom)).expect("files");
            let app = App::new(Parts {
                db: test.db.clone(),
                files: files.clone(),
                journal: store::Journal::open(journal.path(), None).await.expect("a journal"),
                gate: Gate::new(test.db.clone(), GateConfig::default(), clock.clone()),
                seal_key: Err("none is needed".to_owned()),
                config: Config {
                    public_url: "https://sign.example.com".to_owned(),
                    master_key: [7; 32],
                    smtp: None,
                    worker: ("/bin/false".into(), Vec::new()),
                    workers: 1,
                    github_keys: None,
                },
                clock,
                random: Arc::new(SystemRandom),
            });
            if days == 0 {
                let tenant = NewTenant {
                    name: "Northwind Legal".to_owned(),
                    tier: Tier::Standard,
                    owner_email: "ana@example.com".to_owned(),
                    owner_name: "Ana".to_owned(),
                    owner_password: None,
                };
                let (tenant, _) = app.create_tenant(tenant).await.expect("a tenant");
                let scope = EnvScope { tenant: tenant.id, environment: Environment::Development };
                fill(&app, scope).await;
            }
            let removed = app.sweep_files().await.expect("swept");
            assert_eq!((removed, count(folder.path())), (3 - left, left), "{}, {days} days later", test.engine);
        }
    }
}

/// An original, its working copy, and a file that no row names.
async fn fill(app: &App, scope: EnvScope) {
    let original = app.files.put(scope, &b"original"[..]).await.expect("stored");
    let working = app.files.put(scope, &b"working copy"[..]).await.expect("stored");
    app.files.put(scope, &b"refused"[..]).await.expect("stored");
    let document = Document {
        id: app.id(),
        filename: "a.pdf".to_owned(),
        size: original.size,
        sha256: original.sha256,
        working: working.sha256,
        body: DocumentBody {
            pages: Vec::new(),
            fonts_missing: Vec::new(),
            changes: Vec::new(),
            warnings: Vec::new(),
            created_by: Actor::System,
        },
        created_at: app.now(),
    };
    let mut tx = app.db.begin().await.expect("begins");
    store::document::insert(&mut tx, scope, &document).await.expect("named");
    tx.commit().await.expect("commits");
}

fn count(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
}
