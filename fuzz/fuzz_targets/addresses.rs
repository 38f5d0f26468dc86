//! The client's address behind proxies: each line is a forwarding header, by its first byte.
#![no_main]

use gate::{Peer, ProxyConfig, ProxyHeader};
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(6) {
        let Some((which, value)) = line.split_first() else { continue };
        let name = match which % 3 {
            0 => HeaderName::from_static("x-forwarded-for"),
            1 => HeaderName::from_static("forwarded"),
            _ => HeaderName::from_static("x-forwarded-proto"),
        };
        let Ok(value) = HeaderValue::from_bytes(value) else { return };
        headers.append(name, value);
    }
    let peer = Peer::Ip([10, 0, 0, 1].into());
    for header in [None, Some(ProxyHeader::XForwardedFor), Some(ProxyHeader::Forwarded)] {
        let trusting = ProxyConfig {
            trusted: vec!["10.0.0.0/8".parse().expect("a net")],
            header,
            ..ProxyConfig::default()
        };
        let client = trusting.client(peer, &headers);
        if let Ok(client) = client {
            // An address that is written as IPv6 and is IPv4 would pass another list than it should.
            assert_eq!(client.address, client.address.to_canonical());
        }
        // Whom nobody trusts can't say who he is.
        let strict = ProxyConfig { trusted: Vec::new(), header, ..ProxyConfig::default() };
        if let Ok(client) = strict.client(peer, &headers) {
            assert_eq!(Peer::Ip(client.address), peer);
        }
    }
});
