//! TLS by hand: what an HTTP client of today would not send.

use std::process::Command;

use crate::{Server, judge};

/// One exchange by Python's `ssl`: the protocol that was spoken and the answer, or the error's words.
const SCRIPT: &str = r#"
import socket, ssl, sys
host, port, ca, version, request = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]
context = ssl.create_default_context(cafile=ca)
context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
try:
    with socket.create_connection((host, port), timeout=60) as raw, context.wrap_socket(raw, server_hostname=host) as tls:
        tls.sendall(request.encode("latin-1"))
        answer = b""
        while chunk := tls.recv(65536):
            answer += chunk
        print(tls.version())
        sys.stdout.buffer.write(answer)
except ssl.SSLError as error:
    print("refused", error.reason)
"#;

/// Sends these bytes over TLS of this version (`TLSv1_2`, `TLSv1_3`) and answers what came back, the protocol first.
pub fn exchange(server: &Server, version: &str, request: &str) -> String {
    let address = server.url.strip_prefix("https://").expect("https");
    let (host, port) = address.rsplit_once(':').expect("a port");
    let ca = server.ca_file().display().to_string();
    let output = Command::new(judge::python())
        .args(["-c", SCRIPT, host, port, &ca, version, request])
        .output()
        .expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
