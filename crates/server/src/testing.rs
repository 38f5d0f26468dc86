//! A server in process for the tests of this crate: a fresh database, one key, TLS from a local CA, some routes of its own.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use app::{App, Parts, SystemClock, SystemRandom};
use axum::{
    extract::State,
    response::Response,
    routing::{get, post},
};
use gate::{Gate, GateConfig, Rule};
use model::{Environment, Id, Problem, scope::Scope};
use secret::SecretKey;
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{
    Files, sql,
    testing::{TestDb, sqlite},
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    Answer, Config, Created, Json, Log, Pass, Query, Running, Shutdown, Tls, idempotency::kept_as, log::Format,
    router::Routes,
};

/// A running server and how to reach it.
pub(crate) struct House {
    pub(crate) running: Option<Running>,
    pub(crate) address: SocketAddr,
    pub(crate) key: SecretKey,
    pub(crate) shutdown: CancellationToken,
    pub(crate) client: reqwest::Client,
    pub(crate) folder: PathBuf,
    pub(crate) log: Arc<std::sync::Mutex<Vec<u8>>>,
    _test: TestDb,
    _folder: tempfile::TempDir,
}

#[derive(Clone, Default)]
struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("held").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl House {
    pub(crate) async fn new() -> Self {
        // Another test of this process may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (test, folder) = (sqlite().await, tempfile::tempdir().expect("a folder"));
        let key = seed(&test).await;
        let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
        let app = App::new(Parts {
            files: Files::open(&folder.path().join("files"), random.clone()).expect("files"),
            journal: store::Journal::open(folder.path(), None).await.expect("a journal"),
            gate: Gate::new(test.db.clone(), GateConfig::default(), clock.clone()),
            db: test.db.clone(),
            seal_key: Err("none in tests".to_owned()),
            config: app::Config {
                public_url: "https://sign.example.com".to_owned(),
                master_key: [7; 32],
                smtp: None,
                worker: (PathBuf::from("/nonexistent"), Vec::new()),
                workers: 1,
                github_keys: None,
            },
            clock,
            random,
        });
        let shutdown = CancellationToken::new();
        let lines = Lines::default();
        let config = Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            listener: None,
            listeners: Vec::new(),
            tls: Tls::LocalCa { dir: folder.path().to_owned(), names: Vec::new() },
            public_url: Some("https://sign.example.com/".to_owned()),
            admin_socket: Some(folder.path().join("admin.sock")),
            log: Log::to(lines.clone(), Format::Text),
        };
        let running = crate::serve(app, config, shutdown.clone()).await.expect("serves");
        let client = client(folder.path(), |builder| builder);
        let (address, path) = (running.address, folder.path().to_owned());
        Self {
            running: Some(running),
            address,
            key,
            shutdown,
            client,
            folder: path,
            log: lines.0,
            _test: test,
            _folder: folder,
        }
    }

    /// Its database, for what no route makes.
    pub(crate) fn db(&self) -> &store::Db {
        &self._test.db
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    pub(crate) fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.get(self.url(path)).bearer_auth(self.key.expose())
    }

    pub(crate) fn post(&self, path: &str, body: impl Into<String>) -> reqwest::RequestBuilder {
        self.client
            .post(self.url(path))
            .bearer_auth(self.key.expose())
            .header("content-type", "application/json")
            .body(body.into())
    }
}

/// A client that trusts the house's CA alone.
pub(crate) fn client(
    folder: &std::path::Path,
    change: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> reqwest::Client {
    let pem = std::fs::read(folder.join(crate::ca::CA_FILE)).expect("ca.pem");
    let root = reqwest::Certificate::from_pem(&pem).expect("a certificate");
    let builder = reqwest::Client::builder().tls_certs_only([root]).timeout(Duration::from_secs(30));
    change(builder).build().expect("a client")
}

async fn seed(test: &TestDb) -> SecretKey {
    let clock = SystemClock;
    let now = model::Clock::now(&clock);
    let (tenant, owner) =
        (Id::<model::kind::Tenant>::new(now, &SystemRandom), Id::<model::kind::User>::new(now, &SystemRandom));
    let (key, secret) =
        (Id::<model::kind::Key>::new(now, &SystemRandom), Id::<model::kind::Secret>::new(now, &SystemRandom));
    let text = SecretKey::generate(Environment::Development, key.uuid(), [7; 32]);
    let mut tx = test.db.begin().await.expect("begins");
    for query in [
        sql("INSERT INTO tenants (id, name, tier, status, allowlist, policies, created_at, version)
            VALUES ($1, 'Acme', 'standard', 'active', '[]', '{}', 0, 1)")
        .bind(tenant),
        sql("INSERT INTO users (id, tenant_id, email, name, role, status, created_at, version)
            VALUES ($1, $2, 'ada@example.com', 'Ada', 'owner', 'active', 0, 1)")
        .bind(owner)
        .bind(tenant),
        sql("INSERT INTO keys (id, tenant_id, environment, label, status, status_at, administrator_id, created_by,
                scopes, allowlist, note, tags, created_at, version)
            VALUES ($1, $2, 'development', 'tests', 'active', 0, $3, '{\"type\":\"operator\"}',
                '[\"envelopes:write\"]', '[]', '', '[]', 0, 1)")
        .bind(key)
        .bind(tenant)
        .bind(owner),
        sql("INSERT INTO secrets (id, key_id, tenant_id, digest, last4, status, created_at)
            VALUES ($1, $2, $3, $4, 'x', 'current', 0)")
        .bind(secret)
        .bind(key)
        .bind(tenant)
        .bind(text.digest().0),
    ] {
        query.run(&mut tx).await.expect("a row");
    }
    tx.commit().await.expect("commits");
    text
}

/// The tests' own routes.
pub(crate) fn routes(routes: Routes) -> Routes {
    routes
        .page(Rule::Scope(Scope::EnvelopesWrite), "/test/echo", post(echo))
        .page(Rule::Scope(Scope::KeysWrite), "/test/keys", get(wait))
        .page(Rule::AnyKey, "/test/wait", get(wait))
        .page(Rule::AnyKey, "/test/count", post(count))
        .page(Rule::AnyKey, "/test/secret", post(secret_once))
        .page(Rule::AnyKey, "/test/list", get(list))
        .page(Rule::Public, "/test/panic", get(panics))
        .page(Rule::Public, "/test/pass", get(wait))
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Thing {
    title: String,
    #[serde(default)]
    recipients: Vec<Recipient>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Recipient {
    email: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Paging {
    limit: Option<u32>,
}

async fn echo(_: Pass, Json(thing): Json<Thing>) -> Answer<Created<Thing>> {
    Ok(Created { location: "/test/things/1".to_owned(), body: thing })
}

/// One permit for each request that waits in [`wait`].
pub(crate) static WAITING: Semaphore = Semaphore::const_new(0);

async fn wait(State(Shutdown(stop)): State<Shutdown>, _: Pass) -> Answer<Json<&'static str>> {
    WAITING.add_permits(1);
    stop.cancelled().await;
    Ok(Json("stopped"))
}

/// One permit for each call that said "slowly" and may go on.
pub(crate) static GO_ON: Semaphore = Semaphore::const_new(0);

/// A number that no other call got; a body that says so is refused or fails.
async fn count(_: Pass, Json(what): Json<String>) -> Answer<Created<u64>> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    match what.as_str() {
        "refuse" => Err(model::Code::Conflict.into()),
        "fail" => Err(Problem::fault("the disk is full").into()),
        "slowly" => {
            WAITING.add_permits(1);
            GO_ON.acquire().await.map_err(Problem::fault)?.forget();
            Ok(Created { location: "/test/counts/1".to_owned(), body: 0 })
        }
        _ => Ok(Created { location: "/test/counts/1".to_owned(), body: COUNT.fetch_add(1, Ordering::Relaxed) }),
    }
}

async fn secret_once(_: Pass) -> Response {
    kept_as(Json(json!({ "secret": "s3cr3t" })), &json!({ "secret": null }))
}

async fn list(Query(paging): Query<Paging>) -> Answer<Json<u32>> {
    Ok(Json(crate::query::limit(paging.limit, 100)?))
}

async fn panics() -> Answer<()> {
    panic!("on purpose, in a test")
}
