//! Lines for the log: formatted by hand and handed to one writing thread, so that a request never waits for a disk.
//!
//! A line per request names the route's template, never the path or the query: those hold ids at best and secrets at worst.

use std::{
    fmt::Write as _,
    io::{self, Write},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
};

use model::{KeyId, Timestamp};

/// Lines that wait for the writing thread at most; what comes beyond is dropped, counted and said.
const LINES_MAX: usize = 8_192;
/// Bytes that are written at once.
const WRITE_BYTES: usize = 64 * 1024;

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
    lines: Option<SyncSender<Vec<u8>>>,
    dropped: Arc<AtomicU64>,
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
    pub(crate) micros: u128,
    pub(crate) code: Option<&'static str>,
}

impl Log {
    /// Nowhere: for tests and for those who don't want lines per request.
    pub fn off() -> Self {
        Self { format: Format::Text, lines: None, dropped: Arc::default() }
    }

    /// To standard error.
    pub fn stderr(format: Format) -> Self {
        Self::to(io::stderr(), format)
    }

    /// To `out`, by a thread that ends when the last clone is gone.
    pub fn to(out: impl Write + Send + 'static, format: Format) -> Self {
        let (lines, waiting) = sync_channel(LINES_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = dropped.clone();
        // Without the thread lines are dropped and counted, which is better than no server.
        let _ = std::thread::Builder::new().name("log".to_owned()).spawn(move || write(out, &waiting, &counted));
        Self { format, lines: Some(lines), dropped }
    }

    pub(crate) fn access(&self, access: &Access<'_>) {
        if self.lines.is_some() {
            self.send(access.line(self.format).into_bytes());
        }
    }

    fn send(&self, line: Vec<u8>) {
        let Some(lines) = &self.lines else { return };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = lines.try_send(line) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Access<'_> {
    /// Everything in it is either made here (ids, templates, numbers) or checked (method): nothing needs escaping.
    fn line(&self, format: Format) -> String {
        let mut line = String::with_capacity(256);
        let ms = self.micros / 1_000;
        let fraction = self.micros % 1_000;
        // Writing to a String can't fail.
        let _ = match format {
            Format::Text => write!(
                line,
                "{} {} {} {} {ms}.{fraction:03}ms request_id={}",
                self.at, self.status, self.method, self.route, self.request_id
            ),
            Format::Json => write!(
                line,
                r#"{{"time":"{}","level":"info","request_id":"{}","method":"{}","route":"{}","status":{},"ms":{ms}.{fraction:03}"#,
                self.at, self.request_id, self.method, self.route, self.status
            ),
        };
        let mut pair = |name: &str, value: &dyn std::fmt::Display| match format {
            Format::Text => write!(line, " {name}={value}"),
            Format::Json => write!(line, r#","{name}":"{value}""#),
        };
        let _ = self.key.map_or(Ok(()), |key| pair("key_id", &key));
        let _ = self.code.map_or(Ok(()), |code| pair("code", &code));
        let _ = self.address.map_or(Ok(()), |address| pair("address", &address));
        line.push_str(if format == Format::Json { "}\n" } else { "\n" });
        line
    }
}

fn write(mut out: impl Write, waiting: &Receiver<Vec<u8>>, dropped: &AtomicU64) {
    let mut buffer = Vec::with_capacity(WRITE_BYTES);
    while let Ok(line) = waiting.recv() {
        buffer.extend_from_slice(&line);
        while buffer.len() < WRITE_BYTES
            && let Ok(line) = waiting.try_recv()
        {
            buffer.extend_from_slice(&line);
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            buffer.extend_from_slice(
                format!("log: {lost} lines were dropped, the log is slower than the requests\n").as_bytes(),
            );
        }
        // A log that can't be written must not stop the server.
        let _ = out.write_all(&buffer).and_then(|()| out.flush());
        buffer.clear();
    }
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
