//! Lines for the log: formatted by hand and handed to one writing thread, so that a request never waits for a disk.
//!
//! A line per request names the route's template, never the path or the query: those hold ids at best and secrets at worst.

use std::{
    fmt::Write as _,
    io::{self, Write},
    net::IpAddr,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use model::{KeyId, Timestamp};

use crate::written;

/// Bytes that wait for the writing thread at most; lines that come beyond are dropped, counted and said.
const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Characters of a request's line, mostly.
const LINE_CHARS: usize = 320;
/// Bytes of room that are kept for the next lines after many were written.
const KEPT_BYTES_MAX: usize = 64 * 1024;
/// How long a request's line may wait for others, so that a busy server wakes the writing thread a hundred times a second
/// and not at each request. Every other line is written at once, with those that wait.
const GATHER_MS: u64 = 10;

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// Where lines go. Cheap to clone; also a [`Write`] for what else logs, so that lines never mix.
#[derive(Clone)]
pub struct Log {
    format: Format,
    way: Option<Arc<Way>>,
}

/// The way to the writing thread. Its end ends the thread.
struct Way(Arc<Desk>);

/// What the writing thread is handed.
#[derive(Default)]
struct Desk {
    tray: Mutex<Tray>,
    called: Condvar,
}

#[derive(Default)]
struct Tray {
    lines: Vec<u8>,
    /// Lines for which there was no room.
    dropped: u64,
    /// Write now.
    urgent: bool,
    /// Nothing comes any more.
    ended: bool,
}

/// One request, when it was answered.
pub(crate) struct Access<'a> {
    pub(crate) at: Timestamp,
    pub(crate) request_id: &'a str,
    pub(crate) key: Option<KeyId>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) method: &'a str,
    pub(crate) route: &'a str,
    pub(crate) status: u16,
    pub(crate) micros: u64,
    pub(crate) code: Option<&'static str>,
}

impl Log {
    /// Nowhere: for tests and for those who don't want lines per request.
    pub fn off() -> Self {
        Self { format: Format::Text, way: None }
    }

    /// To standard error.
    pub fn stderr(format: Format) -> Self {
        Self::to(io::stderr(), format)
    }

    /// To `out`, by a thread that ends when the last clone is gone.
    pub fn to(out: impl Write + Send + 'static, format: Format) -> Self {
        let desk = Arc::new(Desk::default());
        let way = Some(Arc::new(Way(desk.clone())));
        // Without the thread lines are dropped and counted, which is better than no server.
        let _ = std::thread::Builder::new().name("log".to_owned()).spawn(move || desk.write(out));
        Self { format, way }
    }

    pub(crate) fn access(&self, access: &Access<'_>) {
        if let Some(way) = &self.way {
            way.0.put(access.line(self.format).as_bytes(), false);
        }
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(way) = &self.way {
            way.0.put(bytes, true);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.0.tray().ended = true;
        self.0.called.notify_one();
    }
}

impl Desk {
    /// A panic elsewhere leaves whole lines: nothing under the lock can panic.
    fn tray(&self) -> MutexGuard<'_, Tray> {
        self.tray.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, line: &[u8], urgent: bool) {
        let mut tray = self.tray();
        if tray.lines.len() + line.len() > WAITING_BYTES_MAX {
            tray.dropped += 1;
            return;
        }
        let first = tray.lines.is_empty();
        tray.lines.extend_from_slice(line);
        let hurry = urgent && !tray.urgent;
        tray.urgent |= urgent;
        drop(tray);
        if first || hurry {
            self.called.notify_one();
        }
    }

    /// What the writing thread does.
    fn write(&self, mut out: impl Write) {
        let mut lines = Vec::new();
        loop {
            let tray = self.tray();
            let waiting = self.called.wait_while(tray, |tray| tray.lines.is_empty() && !tray.ended);
            let tray = waiting.unwrap_or_else(PoisonError::into_inner);
            let gather = Duration::from_millis(GATHER_MS);
            let waiting = self.called.wait_timeout_while(tray, gather, |tray| !tray.urgent && !tray.ended);
            let mut tray = waiting.unwrap_or_else(PoisonError::into_inner).0;
            std::mem::swap(&mut tray.lines, &mut lines);
            tray.urgent = false;
            let lost = std::mem::take(&mut tray.dropped);
            let ended = tray.ended;
            drop(tray);
            if lost > 0 {
                lines.extend_from_slice(
                    format!("log: {lost} lines were dropped, the log is slower than the requests\n").as_bytes(),
                );
            }
            // A log that can't be written must not stop the server.
            let _ = out.write_all(&lines).and_then(|()| out.flush());
            lines.clear();
            lines.shrink_to(KEPT_BYTES_MAX);
            if ended {
                return;
            }
        }
    }
}

impl Access<'_> {
    /// Everything in it is either made here (ids, templates, numbers) or checked (method): nothing needs escaping.
    fn line(&self, format: Format) -> String {
        let mut line = String::with_capacity(LINE_CHARS);
        let is_json = format == Format::Json;
        if is_json {
            // Writing to a String can't fail.
            let _ = write!(line, r#"{{"time":"{}","level":"info""#, self.at);
            for (name, value) in [("request_id", self.request_id), ("method", self.method), ("route", self.route)] {
                pair(&mut line, format, name, |line| line.push_str(value));
            }
            line.push_str(r#","status":"#);
            written::number(&mut line, self.status.into(), 1);
            line.push_str(r#","ms":"#);
            self.milliseconds(&mut line);
        } else {
            let _ = write!(line, "{} ", self.at);
            written::number(&mut line, self.status.into(), 1);
            for part in [" ", self.method, " ", self.route, " "] {
                line.push_str(part);
            }
            self.milliseconds(&mut line);
            line.push_str("ms");
            pair(&mut line, format, "request_id", |line| line.push_str(self.request_id));
        }
        if let Some(key) = self.key {
            pair(&mut line, format, "key_id", |line| {
                let _ = write!(line, "{key}");
            });
        }
        if let Some(code) = self.code {
            pair(&mut line, format, "code", |line| line.push_str(code));
        }
        if let Some(address) = self.address {
            pair(&mut line, format, "address", |line| written::address(line, address));
        }
        line.push_str(if is_json { "}\n" } else { "\n" });
        line
    }

    fn milliseconds(&self, line: &mut String) {
        written::number(line, self.micros / 1_000, 1);
        line.push('.');
        written::number(line, self.micros % 1_000, 3);
    }
}

/// ` name=value`, or in JSON `,"name":"value"`.
fn pair(line: &mut String, format: Format, name: &str, value: impl FnOnce(&mut String)) {
    let (before, between, after) = match format {
        Format::Text => (" ", "=", ""),
        Format::Json => (",\"", "\":\"", "\""),
    };
    for part in [before, name, between] {
        line.push_str(part);
    }
    value(line);
    line.push_str(after);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access<'static> {
        Access {
            at: Timestamp::from_millis(1_764_100_882_007),
            request_id: "req_1",
            key: "key_01j0000000e008000000000001".parse().ok(),
            address: Some(IpAddr::from([127, 0, 0, 1])),
            method: "GET",
            route: "/v1/keys/{id}",
            status: 404,
            micros: 1_042,
            code: Some("not_found"),
        }
    }

    #[test]
    fn a_line_for_people_and_one_for_programs() {
        assert_eq!(
            access().line(Format::Text),
            "2025-11-25T20:01:22.007Z 404 GET /v1/keys/{id} 1.042ms request_id=req_1 \
             key_id=key_01j0000000e008000000000001 code=not_found address=127.0.0.1\n"
        );
        let json: serde_json::Value = serde_json::from_str(&access().line(Format::Json)).expect("JSON");
        assert_eq!(json["ms"], 1.042);
        assert_eq!(json["key_id"], "key_01j0000000e008000000000001");
        assert_eq!(json["route"], "/v1/keys/{id}");
    }
}
