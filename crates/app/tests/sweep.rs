//! The sweep on both engines: what a row names stays, what none names goes after a day.

use std::sync::Arc;

use app::{App, SystemClock, tenant::NewTenant};
use model::{
    Clock, EnvScope, Environment, Timestamp,
    caller::Actor,
    document::{Document, DocumentBody},
    tenant::Tier,
    time::DAY_MS,
};
use store::testing::engines;

mod parts;
use parts::parts;

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
        for (days, left) in [(0, 3), (2, 2)] {
            let clock = Arc::new(Ahead(days));
            let app = App::new(parts(&test.db, folder.path(), clock).await);
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
            assert_eq!(
                (removed, count(&folder.path().join("files"))),
                (3 - left, left),
                "{}, {days} days later",
                test.engine
            );
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
