//! A PostgreSQL of a test's own with a synchronous standby, and a wire to it that can be cut.

use std::{
    net::TcpListener as StdListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::watch,
};

/// The password of the superuser: the server listens on this machine alone and lives as long as its test.
const PASSWORD: &str = "proof";
/// Times that a port may turn out to be taken.
const PORTS_MAX: usize = 8;

/// A PostgreSQL server that runs until it is dropped.
pub struct Postgres {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    child: Option<Child>,
    data: PathBuf,
    folder: Arc<TempDir>,
}

/// Runs one of PostgreSQL's programs as somebody who is not root, whom they refuse.
fn unprivileged(program: &str, folder: &std::path::Path) -> Command {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.starts_with(b"0\n"));
    let mut command = if is_root {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--", program]);
        command
    } else {
        Command::new(program)
    };
    command.current_dir(folder).env("LC_ALL", "C").env("PGPASSWORD", PASSWORD).stdin(Stdio::null());
    command
}

fn done(mut command: Command) -> String {
    let output = command.output().expect("PostgreSQL's programs are on the path: ./test puts them there");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {out}{err}");
    out.into_owned()
}

impl Postgres {
    /// A fresh one.
    pub fn start() -> Postgres {
        let folder = tempfile::Builder::new().prefix("iusign-cluster-").tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("password"), PASSWORD).expect("written");
        // Whoever it is run as, root or not: without a user of that name it stays ours.
        let _ = Command::new("chown").args(["-R", "postgres"]).arg(folder.path()).output();
        let mut initdb = unprivileged("initdb", folder.path());
        initdb.args(["-D", "primary", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync", "--pwfile=password"]);
        done({
            initdb.args(["--auth-local=scram-sha-256", "--auth-host=scram-sha-256"]);
            initdb
        });
        let mut postgres = Postgres { port: 0, child: None, data: "primary".into(), folder: Arc::new(folder) };
        postgres.run();
        postgres
    }

    /// A standby of it that follows from now on, and without which it answers no COMMIT.
    pub fn standby(&self) -> Postgres {
        let mut copy = unprivileged("pg_basebackup", self.folder.path());
        copy.args(["-d", &self.url("postgres"), "-D", "standby", "-R", "-X", "stream", "-c", "fast", "--no-sync"]);
        done(copy);
        let mut standby = Postgres { port: 0, child: None, data: "standby".into(), folder: self.folder.clone() };
        standby.run();
        self.sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.sql("SELECT pg_reload_conf()");
        while self.sql("SELECT sync_state FROM pg_stat_replication") != "sync" {}
        standby
    }

    fn run(&mut self) {
        for _ in 0..PORTS_MAX {
            let free = StdListener::bind(("127.0.0.1", 0)).expect("a port");
            self.port = free.local_addr().expect("an address").port();
            drop(free);
            let mut server = unprivileged("postgres", self.folder.path());
            server.arg("-D").arg(&self.data).args(["-p", &self.port.to_string(), "-k", "."]);
            for setting in [
                "listen_addresses=127.0.0.1",
                "fsync=off",
                "max_connections=200",
                "shared_buffers=64MB",
                "wal_keep_size=256MB",
                "log_min_messages=warning",
            ] {
                server.args(["-c", setting]);
            }
            let log = std::fs::File::create(self.folder.path().join(format!("{}.log", self.data.display())));
            server.stdout(Stdio::null()).stderr(log.expect("a log file"));
            let mut child = server.spawn().expect("postgres runs");
            while child.try_wait().expect("asked").is_none() {
                let mut asks = Command::new("psql");
                asks.args(["-Atqc", "SELECT 1", &self.url("postgres")]);
                if asks.output().is_ok_and(|answer| answer.status.success()) {
                    self.child = Some(child);
                    return;
                }
            }
        }
        let log = std::fs::read_to_string(self.folder.path().join(format!("{}.log", self.data.display())));
        panic!("PostgreSQL did not start: {}", log.unwrap_or_default());
    }

    /// Starts it again after [`stop`](Self::stop): at another port.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "it still runs");
        self.run();
    }

    /// The URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// Asks it. Without rows, an empty text.
    pub fn sql(&self, text: &str) -> String {
        let mut asks = Command::new("psql");
        asks.args(["-Atqc", text, &self.url("postgres")]);
        done(asks).trim_end().to_owned()
    }

    /// Ends it at once, with all its processes, as a fence does: nothing that it had open goes on.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let mut ends = unprivileged("pg_ctl", self.folder.path());
        ends.args(["stop", "-D"]).arg(&self.data).args(["-m", "immediate", "-w"]);
        // It may have ended by itself.
        let _ = ends.output();
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Makes a standby the primary.
    pub fn promote(&self) {
        assert_eq!(self.sql("SELECT pg_promote()"), "t");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A wire to a database: what connects to its port is connected to where it leads. It can be cut, so that nothing comes
/// through and nobody is told, and it can be led elsewhere, which ends what is connected.
pub struct Wire {
    /// Where it begins, on 127.0.0.1.
    pub port: u16,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct State {
    to: u16,
    flows: bool,
    // Connections of an earlier life are ended.
    life: u64,
}

impl Wire {
    /// A wire to this port.
    pub async fn to(port: u16) -> Wire {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let (state, sees) = watch::channel(State { to: port, flows: true, life: 0 });
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, sees.clone()));
            }
        });
        Wire { port, state }
    }

    /// From now on nothing comes through, in either direction.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.flows = false);
    }

    /// What was held back comes through, and what follows.
    pub fn mend(&self) {
        self.state.send_modify(|state| state.flows = true);
    }

    /// Leads to another port; what is connected is ended.
    pub fn lead_to(&self, port: u16) {
        self.state.send_modify(|state| *state = State { to: port, flows: true, life: state.life + 1 });
    }
}

async fn carry(near: TcpStream, mut state: watch::Receiver<State>) {
    let Ok(now) = state.wait_for(|state| state.flows).await.map(|state| *state) else { return };
    let Ok(far) = TcpStream::connect(("127.0.0.1", now.to)).await else { return };
    // Small messages, as database drivers send them.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    tokio::select! {
        () = one_way(near_in, far_out, state.clone()) => {}
        () = one_way(far_in, near_out, state.clone()) => {}
        _ = state.wait_for(|state| state.life != now.life) => {}
    }
}

async fn one_way(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if state.wait_for(|state| state.flows).await.is_err() || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
