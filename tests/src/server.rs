//! The real binary, running: started by `iusign quickstart`, stopped or killed, and started again on the same data.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{atomic::AtomicU32, atomic::Ordering, mpsc},
    time::Duration,
};

use reqwest::{Certificate, ClientBuilder};
use serde_json::Value;
use tempfile::TempDir;

use crate::Api;

/// Names the PostgreSQL on which each test makes a database of its own.
const POSTGRES: &str = "IUSIGN_TEST_POSTGRES";
/// Names the binary.
const BINARY: &str = "IUSIGN_TEST_BIN";
/// How long the binary may take until it answers.
const READY_MS_MAX: u64 = 60_000;
/// Characters of the server's log that a failed start shows.
const LOG_TAIL_CHARS: usize = 4_000;

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The embedded one.
    Sqlite,
    /// The server that `./test` starts.
    Postgres,
}

impl Engine {
    /// Whether a PostgreSQL is there; without one its tests are skipped with a word, as elsewhere in this tree.
    pub fn postgres_is_there() -> bool {
        let is_there = std::env::var_os(POSTGRES).is_some();
        if !is_there {
            eprintln!("skipped on PostgreSQL: {POSTGRES} names no server (./test sets it)");
        }
        is_there
    }
}

/// A server that runs, with its tenant and a key of the development environment.
pub struct Server {
    /// Which database it has.
    pub engine: Engine,
    /// Where it is reached.
    pub url: String,
    /// The secret key that `quickstart` printed: all scopes.
    pub key: String,
    /// Its tenant.
    pub tenant: String,
    /// The line that `quickstart` printed.
    pub ready: Value,
    data: TempDir,
    database: Option<Database>,
    child: Option<Child>,
    starts: u32,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
}

/// A PostgreSQL database that goes when it is dropped, where it was made here.
struct Database {
    url: String,
    _made: Option<Made>,
}

struct Made {
    name: String,
    maintenance: String,
}

impl Drop for Made {
    fn drop(&mut self) {
        let maintenance = format!("--maintenance-db={}", self.maintenance);
        // A database that stays is removed with the whole server at the end of `./test`.
        let _ = Command::new("dropdb").args(["--force", "--if-exists", &maintenance, &self.name]).output();
    }
}

impl Database {
    fn make() -> Database {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let maintenance = std::env::var(POSTGRES).expect("asked for before");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("iusign_black_{}_{number}_{}", std::process::id(), random_word());
        let made = Command::new("createdb")
            .args(["--template=template0", "--encoding=UTF8", &format!("--maintenance-db={maintenance}"), &name])
            .output()
            .expect("createdb runs: ./test puts it on the path");
        assert!(made.status.success(), "createdb: {}", String::from_utf8_lossy(&made.stderr));
        let (address, _) = maintenance.rsplit_once('/').expect("the server's URL ends in a database's name");
        Database { url: format!("{address}/{name}"), _made: Some(Made { name, maintenance }) }
    }
}

impl Server {
    /// Starts one on fresh data.
    pub async fn start(engine: Engine) -> Server {
        Server::start_with(engine, &[]).await
    }

    /// Starts one on fresh data with further arguments.
    pub async fn start_with(engine: Engine, arguments: &[&str]) -> Server {
        Server::start_in(engine, arguments, Vec::new()).await
    }

    /// The same, with further variables in its environment.
    pub async fn start_in(engine: Engine, arguments: &[&str], environment: Vec<(&'static str, String)>) -> Server {
        let database = (engine == Engine::Postgres).then(Database::make);
        Server::start_before(database, arguments, environment)
    }

    /// Starts one on fresh data before this PostgreSQL database, which is the test's.
    pub async fn start_on(url: &str) -> Server {
        Server::start_before(Some(Database { url: url.to_owned(), _made: None }), &[], Vec::new())
    }

    fn start_before(
        database: Option<Database>,
        arguments: &[&str],
        environment: Vec<(&'static str, String)>,
    ) -> Server {
        let engine = if database.is_some() { Engine::Postgres } else { Engine::Sqlite };
        let data = tempfile::Builder::new().prefix("iusign-test-").tempdir().expect("a temporary folder");
        let mut server = Server {
            engine,
            url: String::new(),
            key: String::new(),
            tenant: String::new(),
            ready: Value::Null,
            data,
            database,
            child: None,
            starts: 0,
            arguments: arguments.iter().map(ToString::to_string).collect(),
            environment,
        };
        server.run("127.0.0.1:0".to_owned());
        let text = |name: &str| server.ready[name].as_str().expect("a text").to_owned();
        (server.key, server.tenant) = (text("key"), text("tenant_id"));
        server
    }

    /// Starts it again on the same data and at the same address. It has to be stopped or killed.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "it still runs");
        let address = self.url.strip_prefix("https://").expect("https").to_owned();
        self.run(address);
    }

    /// A further process on the same PostgreSQL, with the same files: another node. It prints no key.
    pub fn node(&self) -> Node {
        self.node_at(&self.database.as_ref().expect("only PostgreSQL has several nodes").url)
    }

    /// The same, to which the database is reached at this URL.
    pub fn node_at(&self, database: &str) -> Node {
        let data = tempfile::Builder::new().prefix("iusign-node-").tempdir().expect("a temporary folder");
        for name in ["master.key", "ca.pem", "ca.key"] {
            fs::copy(self.data_dir().join(name), data.path().join(name)).expect("copied");
        }
        copy_folder(&self.data_dir().join("seal"), &data.path().join("seal"));
        let files = self.data_dir().join("files").display().to_string();
        let mut node = Node { url: String::new(), child: None, data, database: database.to_owned(), files };
        node.run("127.0.0.1:0");
        node
    }

    fn run(&mut self, address: String) {
        self.starts += 1;
        let mut command = command(self.data.path().join("data").as_path(), &address);
        if let Some(database) = &self.database {
            command.args(["--database", &database.url]);
        }
        command.args(&self.arguments).envs(self.environment.iter().cloned());
        let (child, ready) = spawn(command, &self.log_file(self.starts));
        self.url = ready["url"].as_str().expect("a URL").to_owned();
        self.ready = ready;
        self.child = Some(child);
    }

    /// Where its PostgreSQL database is reached.
    pub fn database_url(&self) -> Option<&str> {
        self.database.as_ref().map(|database| database.url.as_str())
    }

    /// The data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.data.path().join("data")
    }

    /// Puts something in the way of the journal's shared notes, so that no revocation comes into force; false where there
    /// are none: on SQLite.
    pub fn block_journal(&self) -> bool {
        let notes = self.notes();
        let is_shared = matches!(self.engine, Engine::Postgres);
        if is_shared {
            fs::create_dir_all(notes.parent().expect("a folder")).expect("made");
            fs::write(&notes, "in the way").expect("written");
        }
        is_shared
    }

    /// Takes it away again.
    pub fn unblock_journal(&self) {
        fs::remove_file(self.notes()).expect("removed");
    }

    /// Whether the journal's shared notes have one of this key.
    pub fn has_note(&self, key: &str) -> bool {
        self.notes().join(key).exists()
    }

    fn notes(&self) -> PathBuf {
        self.data_dir().join("files/journal")
    }

    fn log_file(&self, start: u32) -> PathBuf {
        self.data.path().join(format!("server-{start}.log"))
    }

    /// What it has logged in all its lives.
    pub fn log(&self) -> String {
        (1..=self.starts)
            .map(|start| String::from_utf8_lossy(&fs::read(self.log_file(start)).expect("a log")).into_owned())
            .collect()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Whether it has ended by itself, or by a signal that was not [`Server::kill`]'s.
    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().expect("asked").is_some())
    }

    /// Kills it as a power cut would: SIGKILL, and no last word.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }

    /// Asks it to stop, and waits until it has. Whether it ended well.
    pub fn stop(&mut self) -> bool {
        let mut child = self.child.take().expect("it runs");
        let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
        assert!(told.success());
        child.wait().expect("reaped").success()
    }

    /// A caller with the first key.
    pub fn api(&self) -> Api {
        self.api_with(&self.key)
    }

    /// A caller with this key.
    pub fn api_with(&self, key: &str) -> Api {
        Api::new(self.client(|builder| builder), &self.url, Some(key))
    }

    /// A caller who sends no key.
    pub fn stranger(&self) -> Api {
        Api::new(self.client(|builder| builder), &self.url, None)
    }

    /// A caller from another address of this machine, so that wrong keys are not counted with those of others.
    pub fn stranger_from(&self, last: u8) -> Api {
        let address = std::net::IpAddr::from([127, 0, 0, last]);
        Api::new(self.client(|builder| builder.local_address(address)), &self.url, None)
    }

    /// The certificate of the local CA.
    pub fn ca_file(&self) -> PathBuf {
        self.data_dir().join("ca.pem")
    }

    /// An HTTP client that trusts the server's CA and nobody else's.
    pub fn client(&self, change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> reqwest::Client {
        let root = Certificate::from_pem(&fs::read(self.ca_file()).expect("ca.pem")).expect("a certificate");
        change(builder().tls_certs_only([root])).build().expect("a client")
    }

    /// Runs `iusign` with these arguments, and the first key in the environment.
    pub fn iusign(&self, arguments: &[&str]) -> Output {
        Command::new(binary())
            .args(arguments)
            .env("IUSIGN_API_KEY", &self.key)
            .env("IUSIGN_URL", &self.url)
            .env("IUSIGN_CA_FILE", self.ca_file())
            .stdin(Stdio::null())
            .output()
            .expect("the binary runs")
    }

    /// Runs `iusign admin … --json` on the running server, and reads what it printed.
    pub fn admin(&self, arguments: &[&str]) -> Value {
        let folder = self.data_dir().display().to_string();
        let mut all = vec!["admin", "--data-dir", &folder, "--json"];
        all.extend(arguments);
        let output = self.iusign(&all);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "iusign {all:?}: {out}{err}");
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("iusign {all:?} printed no JSON, {error}: {out}"))
    }

    /// Asks through the operator's socket.
    pub async fn operator(&self, route: &str, body: Value) -> Value {
        let client = builder().unix_socket(self.data_dir().join("admin.sock")).build().expect("a client");
        let operator = Api::new(client, "http://localhost", None);
        operator.post(route, body).await.expect(200)
    }

    /// A new key, made by the operator: of any tenant and environment.
    pub async fn key_of(&self, tenant: &str, environment: &str, scopes: Option<&[&str]>) -> (String, String) {
        let mut body = serde_json::json!({ "tenant": tenant, "environment": environment, "label": "Test" });
        if let Some(scopes) = scopes {
            body["scopes"] = scopes.into();
        }
        let made = self.operator("/keys/create", body).await;
        let text = |name: &str| made[name].as_str().expect("a text").to_owned();
        (text("id"), text("secret"))
    }

    /// A further tenant, with the id that it was given.
    pub async fn tenant(&self, name: &str) -> String {
        let body = serde_json::json!({ "name": name, "tier": "standard", "owner_email": "owner@other.example", "owner_name": "Other" });
        self.operator("/tenants/add", body).await["id"].as_str().expect("an id").to_owned()
    }

    /// Everything that the server has written: data folder, logs and, on PostgreSQL, a dump. For tests that look for what
    /// must not be there. Name and bytes of each.
    pub fn everything_written(&self) -> Vec<(String, Vec<u8>)> {
        let mut all = Vec::new();
        read_folder(self.data.path(), &mut all);
        if let Some(database) = &self.database {
            let dump = Command::new("pg_dump").args(["--inserts", &database.url]).output().expect("pg_dump runs");
            assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
            all.push(("pg_dump".to_owned(), dump.stdout));
        }
        all
    }

    /// Asks the database itself, where a test has to see behind the API. One line a row, columns separated by `|`.
    pub fn sql(&self, text: &str) -> Vec<String> {
        let output = match &self.database {
            Some(database) => {
                Command::new("psql").args(["-At", "-v", "ON_ERROR_STOP=1", "-c", text, &database.url]).output()
            }
            None => {
                let script = "import sqlite3,sys\nfor r in sqlite3.connect('file:'+sys.argv[1]+'?mode=ro',uri=True).execute(sys.argv[2]): print('|'.join('' if c is None else str(c) for c in r))";
                let file = self.data_dir().join("iusign.db").display().to_string();
                Command::new("python3").args(["-c", script, &file, text]).output()
            }
        };
        let output = output.expect("the database's program runs");
        assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() && self.starts > 0 {
            let log = self.log();
            let from = log.char_indices().rev().nth(LOG_TAIL_CHARS).map_or(0, |(at, _)| at);
            eprintln!("--- the end of the server's log ---\n{}", &log[from..]);
        }
    }
}

/// A further process on a server's database.
pub struct Node {
    /// Where it is reached; it has the same CA.
    pub url: String,
    child: Option<Child>,
    data: TempDir,
    database: String,
    files: String,
}

impl Node {
    fn run(&mut self, address: &str) {
        let mut command = command(self.data.path(), address);
        command.args(["--database", &self.database, "--files-dir", &self.files]);
        let (child, ready) = spawn(command, &self.data.path().join("server.log"));
        self.url = ready["url"].as_str().expect("a URL").to_owned();
        self.child = Some(child);
    }

    /// Kills it as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again at the same address, after it was killed.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "it still runs");
        let address = self.url.strip_prefix("https://").expect("https").to_owned();
        self.run(&address);
    }

    /// Sends it a signal: `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([format!("-{name}"), id]).status().expect("kill runs").success());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

fn builder() -> ClientBuilder {
    // The second and later calls find one installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder().timeout(Duration::from_secs(90)).no_proxy()
}

/// The binary that is tested.
pub fn binary() -> PathBuf {
    let named = std::env::var_os(BINARY).map(PathBuf::from);
    let path = named.unwrap_or_else(|| {
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        target.unwrap_or_else(|| root().join("target")).join("debug/iusign")
    });
    assert!(path.exists(), "{} is missing: build it with `cargo build -p iusign`, or run ./test", path.display());
    path
}

/// The tree that these tests stand in.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace's folder")
}

fn command(data: &Path, address: &str) -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("IUSIGN_")) {
        command.env_remove(name);
    }
    command.arg("quickstart").arg("--data-dir").arg(data).args(["--listen", address, "--json"]);
    command
}

/// Starts the server and waits for the line that says that it answers.
fn spawn(mut command: Command, log: &Path) -> (Child, Value) {
    let file = fs::File::create(log).expect("a log file");
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file).spawn().expect("the binary starts");
    let out = child.stdout.take().expect("piped");
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut out = BufReader::new(out);
        let mut line = String::new();
        // Nobody listens any more once the wait is over.
        let _ = out.read_line(&mut line).map(|_| sender.send(line));
        // What else it prints is read to its end: a full pipe would stop it.
        let _ = out.read_to_end(&mut Vec::new());
    });
    let line = receiver.recv_timeout(Duration::from_millis(READY_MS_MAX)).unwrap_or_default();
    match serde_json::from_str(&line) {
        Ok(ready) => (child, ready),
        Err(_) => {
            let _ = child.kill();
            let _ = child.wait();
            panic!("no ready line but {line:?}; its log:\n{}", fs::read_to_string(log).unwrap_or_default());
        }
    }
}

fn read_folder(folder: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let kind = fs::symlink_metadata(&path).map(|metadata| metadata.file_type());
        match kind {
            Ok(kind) if kind.is_dir() => read_folder(&path, into),
            Ok(kind) if kind.is_file() => {
                // A file may go while it is looked for.
                into.extend(fs::read(&path).ok().map(|bytes| (path.display().to_string(), bytes)));
            }
            _ => {}
        }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("copied");
    }
}

/// Letters that no other test has.
fn random_word() -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let name = folder.path().file_name().expect("a name").to_string_lossy().to_ascii_lowercase();
    name.chars().filter(char::is_ascii_alphanumeric).collect()
}
