//! An open loop for `bench/run`: requests at their appointed times whatever the answers take, so that a server that falls
//! behind is charged for all who wait (what wrk leaves out). `open_loop HOST:PORT PATH KEY CA_FILE RATE CONNECTIONS SECONDS`
//! prints the number of answers and their median and 99th percentile in microseconds.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// How long the connections may take to be made before the first request.
const HEAD_START: Duration = Duration::from_millis(500);

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, path, key, ca_file, rate, connections, seconds] = &args[..] else {
        bail!("open_loop HOST:PORT PATH KEY CA_FILE RATE CONNECTIONS SECONDS");
    };
    let (rate, connections, seconds): (u32, u32, u32) = (rate.parse()?, connections.parse()?, seconds.parse()?);
    // Sleep to the microsecond: the kernel's default is 50. Threads inherit it.
    let _ = fs::write("/proc/self/timerslack_ns", "1");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n");
    let tls = client(ca_file)?;
    let start = Instant::now() + HEAD_START;
    let threads: Vec<_> = (0..connections)
        .map(|number| {
            let mut stream = connect(address, tls.clone())?;
            let request = request.clone();
            Ok(thread::spawn(move || {
                let times = (0..).map(|turn| turn * connections + number).take_while(|n| *n < rate * seconds);
                times
                    .map(|n| one(&mut stream, &request, start + Duration::from_secs(1) * n / rate))
                    .collect::<anyhow::Result<Vec<_>>>()
            }))
        })
        .collect::<anyhow::Result<_>>()?;
    let mut took = Vec::new();
    for thread in threads {
        took.extend(thread.join().map_err(|_| anyhow::anyhow!("a connection's thread panicked"))??);
    }
    took.sort_unstable();
    println!("{} {} {}", took.len(), took[took.len() / 2].as_micros(), took[took.len() * 99 / 100].as_micros());
    Ok(())
}

/// One request at its time; how long after that time its answer was there.
fn one(stream: &mut Stream, request: &str, at: Instant) -> anyhow::Result<Duration> {
    thread::sleep(at.saturating_duration_since(Instant::now()));
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::with_capacity(8 * 1024);
    let mut piece = [0; 8 * 1024];
    loop {
        let read = stream.read(&mut piece)?;
        if read == 0 {
            bail!("the connection ended");
        }
        answer.extend_from_slice(&piece[..read]);
        if let Some(length) = length(&answer)
            && answer.len() >= length
        {
            break;
        }
    }
    if !answer.starts_with(b"HTTP/1.1 200") {
        bail!("answered {}", String::from_utf8_lossy(&answer));
    }
    Ok(at.elapsed())
}

/// The whole answer's length, once its head is there.
fn length(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&answer[..head]).ok()?.to_ascii_lowercase();
    let (_, rest) = text.split_once("content-length:")?;
    Some(head + rest.split("\r\n").next()?.trim().parse::<usize>().ok()?)
}

fn client(ca_file: &str) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca_file).context("can't read the CA")? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

fn connect(address: &str, tls: Arc<ClientConfig>) -> anyhow::Result<Stream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost")?;
    let mut stream = StreamOwned::new(ClientConnection::new(tls, name)?, stream);
    stream.conn.complete_io(&mut stream.sock)?;
    Ok(stream)
}
