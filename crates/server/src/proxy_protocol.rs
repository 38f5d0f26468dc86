//! The PROXY protocol, versions 1 and 2: a proxy that passes TLS on says first where the connection comes from.
//!
//! <https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>. Not one byte more than the header is read, as TLS follows it;
//! the caller sets the deadline.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// How version 2 begins.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// A line of version 1 at most, with its end.
const LINE_BYTES_MAX: usize = 107;
/// What follows the first 16 bytes of version 2 at most: addresses, and extensions that nobody here reads.
const REST_BYTES_MAX: usize = 4_096;

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// From this address, through the proxy.
    Client(IpAddr),
    /// From the proxy itself, as for its health checks, or it does not say from where.
    Proxy,
}

/// Reads the header that a connection has to begin with.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Source> {
    // The shortest line of version 1 has 15 bytes: so many are there in either version.
    let mut first = [0; SIGNATURE.len()];
    stream.read_exact(&mut first).await?;
    let source = if first == SIGNATURE { version_2(stream).await? } else { version_1(stream, &first).await? };
    source.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no PROXY header can be read from the proxy"))
}

async fn version_1(stream: &mut (impl AsyncRead + Unpin), first: &[u8]) -> io::Result<Option<Source>> {
    let mut line = first.to_vec();
    if !line.starts_with(b"PROXY ") {
        return Ok(None);
    }
    while !line.ends_with(b"\r\n") {
        if line.len() >= LINE_BYTES_MAX {
            return Ok(None);
        }
        line.push(stream.read_u8().await?);
    }
    Ok(parse_line(&line))
}

fn parse_line(line: &[u8]) -> Option<Source> {
    let line = std::str::from_utf8(line).ok()?.strip_prefix("PROXY ")?.strip_suffix("\r\n")?;
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Some(Source::Proxy);
    }
    let parts: Vec<&str> = line.split(' ').collect();
    let [family, source, destination, source_port, destination_port] = parts[..] else { return None };
    if !is_port(source_port) || !is_port(destination_port) {
        return None;
    }
    let source = match family {
        "TCP4" => destination.parse::<Ipv4Addr>().ok().and(source.parse::<Ipv4Addr>().ok()).map(IpAddr::V4),
        "TCP6" => destination.parse::<Ipv6Addr>().ok().and(source.parse::<Ipv6Addr>().ok()).map(IpAddr::V6),
        _ => None,
    };
    source.map(|address| Source::Client(address.to_canonical()))
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

async fn version_2(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Source>> {
    let (command, family) = (stream.read_u8().await?, stream.read_u8().await?);
    let length = usize::from(stream.read_u16().await?);
    if length > REST_BYTES_MAX {
        return Ok(None);
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    Ok(parse_binary(command, family, &rest))
}

fn parse_binary(command: u8, family: u8, rest: &[u8]) -> Option<Source> {
    match (command, family) {
        // LOCAL: whatever follows is to be passed over. So is what a proxy says of a family that it does not name.
        (0x20, _) | (0x21, 0x00) => Some(Source::Proxy),
        // TCP over IPv4: two addresses of 4 bytes, two ports.
        (0x21, 0x11) if rest.len() >= 12 => {
            let address: [u8; 4] = rest[..4].try_into().ok()?;
            Some(Source::Client(IpAddr::from(address)))
        }
        // TCP over IPv6.
        (0x21, 0x21) if rest.len() >= 36 => {
            let address: [u8; 16] = rest[..16].try_into().ok()?;
            Some(Source::Client(IpAddr::from(address).to_canonical()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is read, and how many bytes are left for TLS.
    async fn of(bytes: &[u8]) -> (Option<Source>, usize) {
        let mut stream = bytes;
        let source = read(&mut stream).await.ok();
        (source, stream.len())
    }

    fn client(text: &str) -> Option<Source> {
        Some(Source::Client(text.parse().expect("an address")))
    }

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest, b"TLS"].concat()
    }

    #[tokio::test]
    async fn a_line_of_version_1_is_read_to_its_end_and_no_further() {
        for (line, want) in [
            ("PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n", client("203.0.113.7")),
            ("PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n", client("2001:db8::7")),
            ("PROXY TCP6 ::ffff:203.0.113.7 2001:db8::1 1 2\r\n", client("203.0.113.7")),
            ("PROXY UNKNOWN\r\n", Some(Source::Proxy)),
            ("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", Some(Source::Proxy)),
        ] {
            assert_eq!(of(format!("{line}TLS").as_bytes()).await, (want, 3), "{line}");
        }
        for line in [
            "PROXY TCP4 203.0.113.7 192.0.2.1 56324 65536\r\n",
            "PROXY TCP4 203.0.113.7 192.0.2.1 +1 443\r\n",
            "PROXY TCP4 203.0.113.07 192.0.2.1 1 443\r\n",
            "PROXY TCP4 2001:db8::7 192.0.2.1 1 443\r\n",
            "PROXY TCP4 203.0.113.7  192.0.2.1 1 443\r\n",
            "PROXY TCP4 203.0.113.7 192.0.2.1 1\r\n",
            "PROXY TCP5 203.0.113.7 192.0.2.1 1 443\r\n",
            "PROXY TCP4 203.0.113.7 192.0.2.1 1 443\n",
            "proxy TCP4 203.0.113.7 192.0.2.1 1 443\r\n",
            "PROXY UNKNOWNTCP4\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "PROXY",
            "",
        ] {
            assert_eq!(of(line.as_bytes()).await.0, None, "{line}");
        }
        let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 1_000]].concat();
        assert_eq!(of(&endless).await, (None, endless.len() - LINE_BYTES_MAX));
    }

    #[tokio::test]
    async fn version_2_is_read_to_its_end_with_what_follows_the_addresses() {
        let v4 = [203, 0, 113, 7, 192, 0, 2, 1, 0xdc, 0x04, 1, 0xbb];
        let mut v6 = [0; 36];
        v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        v6[15] = 7;
        let extended = [&v4[..], &[0x04, 0, 1, 0]].concat();
        for (bytes, want) in [
            (binary(0x21, 0x11, &v4), client("203.0.113.7")),
            (binary(0x21, 0x11, &extended), client("203.0.113.7")),
            (binary(0x21, 0x21, &v6), client("2001:db8::7")),
            (binary(0x20, 0x00, &[]), Some(Source::Proxy)),
            (binary(0x20, 0x11, &v4), Some(Source::Proxy)),
            (binary(0x21, 0x00, &[1, 2, 3]), Some(Source::Proxy)),
            // Too short for what it says it is, UDP, a Unix socket, another version, another command.
            (binary(0x21, 0x11, &v4[..11]), None),
            (binary(0x21, 0x21, &v6[..35]), None),
            (binary(0x21, 0x12, &v4), None),
            (binary(0x21, 0x31, &[0; 216]), None),
            (binary(0x11, 0x11, &v4), None),
            (binary(0x22, 0x11, &v4), None),
        ] {
            assert_eq!(of(&bytes).await, (want, 3), "{bytes:?}");
        }
        assert_eq!(of(&binary(0x21, 0x11, &vec![0; REST_BYTES_MAX + 1])).await.0, None);
        let cut = binary(0x21, 0x11, &v4);
        assert_eq!(of(&cut[..20]).await.0, None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), start in 0_u8..3) {
            let start: &[u8] = match start { 0 => b"", 1 => b"PROXY TCP4 ", _ => &SIGNATURE };
            let all = [start, &bytes].concat();
            futures::executor::block_on(of(&all));
        }
    }
}
