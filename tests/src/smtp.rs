//! A mail server on loopback that others wrote: it refuses, puts off or takes mails, and Python's `email` reads them.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use serde_json::Value;

use crate::judge;

/// How long a mail may take until it arrives.
const ARRIVES_MS_MAX: u64 = 60_000;

/// A mail server that runs.
pub struct MailServer {
    /// Its port.
    pub port: u16,
    child: Child,
    mails: mpsc::Receiver<Value>,
}

impl MailServer {
    /// Starts one; where it is `closed`, it lets nobody's account in.
    pub fn start(closed: bool) -> MailServer {
        let script = crate::server::root().join("tests/tools/smtp.py");
        let mut command = Command::new(judge::python());
        command.arg(script).args(closed.then_some("--account"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python runs");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let port = lines.next().expect("a line").expect("text").parse().expect("a port");
        let (told, mails) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mail = serde_json::from_str(&line).expect("JSON");
                // The test may have ended.
                let _ = told.send(mail);
            }
        });
        MailServer { port, child, mails }
    }

    /// The next mail that arrives.
    pub fn mail(&self) -> Value {
        self.mails.recv_timeout(Duration::from_millis(ARRIVES_MS_MAX)).expect("a mail arrives")
    }

    /// Mails that have arrived and nobody has asked for.
    pub fn others(&self) -> Vec<Value> {
        self.mails.try_iter().collect()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
