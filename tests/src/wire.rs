//! TLS by hand: what an HTTP client of today would not send.

use std::process::Command;

use crate::{Server, judge};

/// One exchange by Python's `ssl`: the protocol that was spoken and the answer, or the error's words.
const SCRIPT: &str = r#"
import socket, ssl, sys
host, port, ca, version, request, before, source = sys.argv[1], int(sys.argv[2]), *sys.argv[3:8]
context = ssl.create_default_context(cafile=ca)
context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
source = (source, 0) if source else None
try:
    with socket.create_connection((host, port), timeout=60, source_address=source) as raw:
        raw.sendall(bytes.fromhex(before))
        with context.wrap_socket(raw, server_hostname=host) as tls:
            tls.sendall(request.encode("latin-1"))
            answer = b""
            while chunk := tls.recv(65536):
                answer += chunk
            print(tls.version())
            sys.stdout.buffer.write(answer)
except ssl.SSLError as error:
    print("refused", error.reason)
except ConnectionError as error:
    print("refused", error)
"#;

/// Sends these bytes over TLS of this version (`TLSv1_2`, `TLSv1_3`) and answers what came back, the protocol first.
pub fn exchange(server: &Server, version: &str, request: &str) -> String {
    let address = server.url.strip_prefix("https://").expect("https");
    run(server, address, version, (b"", ""), request)
}

/// The same over TLS 1.3 at another of the server's addresses, with what is sent before TLS begins, from this address.
pub fn exchange_at(server: &Server, address: &str, before_from: (&[u8], &str), request: &str) -> String {
    run(server, address, "TLSv1_3", before_from, request)
}

fn run(server: &Server, address: &str, version: &str, (before, from): (&[u8], &str), request: &str) -> String {
    let (host, port) = address.rsplit_once(':').expect("a port");
    let ca = server.ca_file().display().to_string();
    let before: String = before.iter().map(|byte| format!("{byte:02x}")).collect();
    let output = Command::new(judge::python())
        .args(["-c", SCRIPT, host, port, &ca, version, request, &before, from])
        .output()
        .expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
