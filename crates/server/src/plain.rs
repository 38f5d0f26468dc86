//! Plain HTTP where TLS is wanted: browsers' pages are sent to `https://`, everything else is refused, and a key that came
//! so is on record as exposed.

use std::{io, net::IpAddr, time::Duration};

use model::{Code, Problem, exposure::How};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{json, problem, state::Frame};

/// What is read of a plain request before it is answered.
const BYTES_MAX: usize = 16 * 1024;
/// How long that may take.
const MS_MAX: u64 = 2_000;

/// Answers plain HTTP in plain HTTP. What was sent is not logged, least of all a key; it is read so that the client reads the
/// answer. `redirects`: pages are sent to where they are served.
pub(crate) async fn answer(stream: &mut TcpStream, from: IpAddr, frame: &Frame, redirects: bool) {
    let mut head = Vec::new();
    let read = async {
        while head.len() < BYTES_MAX && !head.windows(4).any(|end| end == b"\r\n\r\n") {
            if stream.read_buf(&mut head).await? == 0 {
                break;
            }
        }
        Ok::<(), io::Error>(())
    };
    let _ = timeout(Duration::from_millis(MS_MAX), read).await;
    if head.is_empty() {
        return;
    }
    let keys = secret::find(&head);
    for (_, key) in &keys {
        frame.app().gate.note_exposed(key, How::PlainHttp, from);
    }
    let target = page(&head).filter(|_| redirects && keys.is_empty());
    let answer = match target {
        Some(target) => redirect(&frame.public_url, target),
        None => {
            let key_was_sent = !keys.is_empty();
            tracing::warn!(key_was_sent, "plain HTTP came and was refused");
            refusal(frame)
        }
    };
    let write = async {
        stream.write_all(&answer).await?;
        stream.shutdown().await?;
        // What still comes is taken, or the system would break the connection under the answer.
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        Ok::<(), io::Error>(())
    };
    let _ = timeout(Duration::from_millis(MS_MAX), write).await;
}

/// The target of a request as a browser makes it for a page: a GET or HEAD of a path that is not the API's, without
/// credentials. Credentials would be sent again to wherever the redirect points, and the habit would stay.
fn page(head: &[u8]) -> Option<&str> {
    let head = std::str::from_utf8(head).ok()?;
    let (request, headers) = head.split_once("\r\n")?;
    let parts: Vec<&str> = request.split(' ').collect();
    let [method, target, version] = parts[..] else { return None };
    let is_page = matches!(method, "GET" | "HEAD")
        && version.starts_with("HTTP/1.")
        && target.starts_with('/')
        && target.bytes().all(|byte| byte.is_ascii_graphic())
        && target.split(['/', '?']).nth(1) != Some("v1");
    let mut names = headers.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim());
    let has_credentials = names.any(|name| name.eq_ignore_ascii_case("authorization"));
    (is_page && !has_credentials).then_some(target)
}

/// To the public URL, whatever host the request named.
fn redirect(public_url: &str, target: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 308 Permanent Redirect\r\nlocation: {public_url}{target}\r\ncontent-length: 0\r\n\
         cache-control: no-store\r\nconnection: close\r\n\r\n"
    )
    .into_bytes()
}

fn refusal(frame: &Frame) -> Vec<u8> {
    let detail =
        format!("The API is spoken over TLS only, and the request came without. The server is {}.", frame.public_url);
    let problem = Problem::new(Code::InsecureTransport, detail);
    let id = frame.new_request_id();
    let body = json::bytes(&problem::on_the_wire(&problem, &frame.public_url, &id));
    let head = format!(
        "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\
         request-id: {id}\r\nwww-authenticate: {}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n",
        body.len(),
        gate::challenge(&problem).unwrap_or_default()
    );
    [head.as_bytes(), &body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_redirected_and_nothing_else_is() {
        for (head, want) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Some("/")),
            ("HEAD /sign/abc?x=1 HTTP/1.0\r\n\r\n", Some("/sign/abc?x=1")),
            ("GET /v1x HTTP/1.1\r\n\r\n", Some("/v1x")),
            ("GET /v1 HTTP/1.1\r\n\r\n", None),
            ("GET /v1/me HTTP/1.1\r\n\r\n", None),
            ("GET /v1?x HTTP/1.1\r\n\r\n", None),
            ("GET / HTTP/1.1\r\nauthorization: Basic eA==\r\n\r\n", None),
            ("GET / HTTP/1.1\r\nHost: a\r\nAUTHORIZATION : x\r\n\r\n", None),
            ("POST /sign/abc HTTP/1.1\r\n\r\n", None),
            ("GET http://a/ HTTP/1.1\r\n\r\n", None),
            ("GET /a\tb HTTP/1.1\r\n\r\n", None),
            ("GET / HTTP/2.0\r\n\r\n", None),
            ("GET /", None),
            ("", None),
        ] {
            assert_eq!(page(head.as_bytes()), want, "{head:?}");
        }
        let answer = String::from_utf8(redirect("https://sign.example.com", "/sign/a")).expect("text");
        assert!(answer.contains("\r\nlocation: https://sign.example.com/sign/a\r\n"), "{answer}");
    }
}
