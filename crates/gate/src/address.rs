//! The client's address: the socket's peer, or what one configured header of a trusted proxy says, read from the right.
//!
//! Every other header is ignored. What a trusted hop hands on and can't be parsed is refused, never guessed.

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use model::{Code, Problem};
use std::net::IpAddr;

/// Hops that are read from a header at most.
const HOPS_MAX: usize = 32;
/// Characters of such a header at most.
const HEADER_CHARS_MAX: usize = 4_096;

/// Which proxies are believed, and which header of theirs.
#[derive(Clone, Debug, Default)]
pub struct ProxyConfig {
    /// The addresses of proxies whose header is read. Empty: none is.
    pub trusted: Vec<IpNet>,
    /// Their header. None: the peer is the client.
    pub header: Option<ProxyHeader>,
    /// TLS ends at the proxy: a request is secure where the proxy says `https`.
    pub ends_tls: bool,
}

/// The header that the proxy writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`, with `X-Forwarded-Proto`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// The other end of the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A network address.
    Ip(IpAddr),
    /// A network address of a proxy that passes on what others wrote: none of the headers is its own.
    Unbelieved(IpAddr),
    /// A Unix socket: only a proxy on the same machine, trusted by the socket's file mode.
    Unix,
}

/// What is known about where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its address, IPv4 where it is IPv4.
    pub address: IpAddr,
    /// A trusted proxy says that the client came by `https`.
    pub proxied_https: bool,
    /// A trusted proxy says that the client came by something else: then TLS from the proxy on protects nothing.
    pub proxied_plain: bool,
}

impl ProxyConfig {
    /// Finds the client of a request.
    pub fn client(&self, peer: Peer, headers: &HeaderMap) -> Result<Client, Problem> {
        let direct = match peer {
            Peer::Ip(address) | Peer::Unbelieved(address) => Some(address.to_canonical()),
            Peer::Unix => None,
        };
        let is_believed = !matches!(peer, Peer::Unbelieved(_));
        let peer_is_trusted = is_believed && direct.is_none_or(|address| self.trusts(address));
        let Some(header) = self.header.filter(|_| peer_is_trusted) else {
            let client = |address| Client { address, proxied_https: false, proxied_plain: false };
            return direct.map(client).ok_or_else(no_address);
        };
        let hops = match header {
            ProxyHeader::XForwardedFor => x_forwarded_for(headers)?,
            ProxyHeader::Forwarded => forwarded(headers)?,
        };
        let mut address = direct;
        for hop in hops.iter().rev().take(HOPS_MAX) {
            let hop_address = match header {
                ProxyHeader::XForwardedFor => parse_node(&hop.node),
                ProxyHeader::Forwarded => parse_forwarded_node(&hop.node),
            };
            let hop_address = hop_address.ok_or_else(|| unreadable(&hop.node))?;
            address = Some(hop_address);
            if !self.trusts(hop_address) {
                break;
            }
        }
        let last_proto = match header {
            ProxyHeader::XForwardedFor => last_word(headers, "x-forwarded-proto"),
            ProxyHeader::Forwarded => hops.last().and_then(|hop| hop.proto.clone()),
        };
        let is_https = last_proto.map(|proto| proto.eq_ignore_ascii_case("https"));
        if hops.is_empty() && is_https.is_some() {
            // It passes on somebody's request, and its own address is not where that comes from.
            return Err(no_address());
        }
        let (proxied_https, proxied_plain) = (self.ends_tls && is_https == Some(true), is_https == Some(false));
        address.map(|address| Client { address, proxied_https, proxied_plain }).ok_or_else(no_address)
    }

    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|net| net.contains(&address))
    }
}

/// One hop as the header names it.
struct Hop {
    node: String,
    proto: Option<String>,
}

fn x_forwarded_for(headers: &HeaderMap) -> Result<Vec<Hop>, Problem> {
    let mut hops = Vec::new();
    for line in lines(headers, HeaderName::from_static("x-forwarded-for"))? {
        hops.extend(line.split(',').map(|node| Hop { node: node.trim().to_owned(), proto: None }));
    }
    Ok(hops)
}

fn forwarded(headers: &HeaderMap) -> Result<Vec<Hop>, Problem> {
    let mut hops = Vec::new();
    for line in lines(headers, http::header::FORWARDED)? {
        hops.extend(elements(line).ok_or_else(|| unreadable(line))?);
    }
    Ok(hops)
}

fn lines(headers: &HeaderMap, name: HeaderName) -> Result<Vec<&str>, Problem> {
    let values = headers.get_all(name).iter();
    values
        .map(|value| value.to_str().ok().filter(|text| text.len() <= HEADER_CHARS_MAX).ok_or_else(|| unreadable("…")))
        .collect()
}

fn last_word(headers: &HeaderMap, name: &'static str) -> Option<String> {
    let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    value.rsplit(',').next().map(|word| word.trim().to_owned())
}

/// The elements of one `Forwarded` line (RFC 7239, 4): pairs may be empty, names are in any case. Strict, so that a quote which a client left open can't swallow what the proxy
/// appended: then the whole line is unreadable.
fn elements(line: &str) -> Option<Vec<Hop>> {
    let mut hops = Vec::new();
    let mut rest = line;
    loop {
        let (mut node, mut proto) = (None, None);
        loop {
            rest = rest.trim_start_matches([' ', '\t']);
            if let Some(more) = rest.strip_prefix(';') {
                rest = more;
                continue;
            }
            if rest.is_empty() || rest.starts_with(',') {
                break;
            }
            let (name, after) = rest.split_once('=')?;
            if name.is_empty() || !name.bytes().all(is_token) {
                return None;
            }
            let (value, after) = value(after)?;
            match name.to_ascii_lowercase().as_str() {
                "for" if node.is_none() => node = Some(value),
                "proto" if proto.is_none() => proto = Some(value),
                "for" | "proto" => return None,
                _ => {}
            }
            rest = after.trim_start_matches([' ', '\t']);
            match rest.strip_prefix(';') {
                Some(more) => rest = more,
                None => break,
            }
        }
        hops.push(Hop { node: node.unwrap_or_default(), proto });
        if rest.is_empty() {
            return Some(hops);
        }
        rest = rest.strip_prefix(',')?;
    }
}

/// A token or a quoted string, and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.bytes().position(|b| !is_token(b)).unwrap_or(text.len());
        return (end > 0).then(|| (text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

/// A node as RFC 7239, 6 has it: an IPv6 address stands in brackets, and a port may be hidden. A name that hides the address,
/// such as `unknown` or `_gateway`, is none.
fn parse_forwarded_node(node: &str) -> Option<IpAddr> {
    let (address, port) = match node.strip_prefix('[') {
        Some(bracketed) => {
            let (address, port) = bracketed.split_once(']')?;
            (IpAddr::V6(address.parse().ok()?), port)
        }
        None => {
            let (address, port) = node.split_at(node.find(':').unwrap_or(node.len()));
            (IpAddr::V4(address.parse().ok()?), port)
        }
    };
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_forwarded_port);
    is_port.then(|| address.to_canonical())
}

/// 1 to 5 digits, or a hidden one: `_` and what may follow it (RFC 7239, 6.3).
fn is_forwarded_port(port: &str) -> bool {
    match port.strip_prefix('_') {
        Some(hidden) => {
            let may = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            !hidden.is_empty() && hidden.bytes().all(may)
        }
        None => port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok(),
    }
}

/// RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// `192.0.2.1`, `192.0.2.1:443`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:443`.
fn parse_node(node: &str) -> Option<IpAddr> {
    if let Ok(address) = node.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    if let Ok(socket) = node.parse::<std::net::SocketAddr>() {
        return Some(socket.ip().to_canonical());
    }
    let bare = node.strip_prefix('[')?.strip_suffix(']')?;
    bare.parse::<std::net::Ipv6Addr>().ok().map(|address| IpAddr::V6(address).to_canonical())
}

fn unreadable(node: &str) -> Problem {
    let shown: String = node.chars().filter(|c| !c.is_control()).take(64).collect();
    Problem::new(Code::IpNotAllowed, format!("The proxy handed on an address that can't be read: {shown:?}."))
}

fn no_address() -> Problem {
    Problem::new(Code::IpNotAllowed, "The proxy did not say which address the request comes from.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn config(header: ProxyHeader) -> ProxyConfig {
        let trusted = ["10.0.0.0/8", "2001:db8:1::/48"].map(|net| net.parse().expect("a net")).to_vec();
        ProxyConfig { trusted, header: Some(header), ends_tls: true }
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_str(value).expect("a header"));
        }
        map
    }

    fn ip(text: &str) -> Peer {
        Peer::Ip(text.parse().expect("an address"))
    }

    fn seen(config: &ProxyConfig, peer: &str, lines: &[(&'static str, &str)]) -> Result<String, Code> {
        config.client(ip(peer), &headers(lines)).map(|c| c.address.to_string()).map_err(|p| p.code)
    }

    #[test]
    fn only_the_configured_header_of_a_trusted_proxy_is_read() {
        let xff = config(ProxyHeader::XForwardedFor);
        let lines = [("x-forwarded-for", "1.1.1.1, 9.9.9.9 , 10.0.0.7"), ("forwarded", "for=8.8.8.8")];
        for (peer, want) in [
            ("10.0.0.1", "9.9.9.9"),
            ("::ffff:10.0.0.1", "9.9.9.9"),
            ("11.0.0.1", "11.0.0.1"),
            ("::ffff:11.0.0.1", "11.0.0.1"),
        ] {
            assert_eq!(seen(&xff, peer, &lines), Ok(want.to_owned()), "{peer}");
        }
        assert_eq!(seen(&config(ProxyHeader::Forwarded), "10.0.0.1", &lines), Ok("8.8.8.8".to_owned()));
        assert_eq!(seen(&ProxyConfig::default(), "10.0.0.1", &lines), Ok("10.0.0.1".to_owned()));
        assert_eq!(seen(&xff, "10.0.0.1", &[]), Ok("10.0.0.1".to_owned()));
    }

    #[test]
    fn what_strangers_wrote_further_left_is_never_reached() {
        let xff = config(ProxyHeader::XForwardedFor);
        let lines = [("x-forwarded-for", "10.0.0.9"), ("x-forwarded-for", "rubbish, 7.7.7.7")];
        assert_eq!(seen(&xff, "10.0.0.1", &lines), Ok("7.7.7.7".to_owned()));
        assert_eq!(seen(&xff, "10.0.0.1", &[("x-forwarded-for", "7.7.7.7, x")]), Err(Code::IpNotAllowed));
        assert_eq!(seen(&xff, "10.0.0.1", &[("x-forwarded-for", "")]), Err(Code::IpNotAllowed));
        assert_eq!(seen(&xff, "10.0.0.1", &[("x-forwarded-for", "[2001:db8::1]:4711")]), Ok("2001:db8::1".to_owned()));
        assert_eq!(seen(&xff, "10.0.0.1", &[("x-forwarded-for", "1.2.3.4:80")]), Ok("1.2.3.4".to_owned()));
    }

    #[test]
    fn an_open_quote_does_not_swallow_what_the_proxy_appends() {
        let forwarded = config(ProxyHeader::Forwarded);
        for (line, want) in [
            (r#"for=5.5.5.5;proto=https, for="[2001:db8::9]:1";by=_x"#, Ok("2001:db8::9")),
            (r#"For = 1.2.3.4"#, Err(Code::IpNotAllowed)),
            (r#"FOR="1.2.3.4:_hidden"; Proto=HTTPS"#, Ok("1.2.3.4")),
            (r#"for="[2001:db8::9]:65535""#, Ok("2001:db8::9")),
            (r#"for="[::ffff:1.2.3.4]""#, Ok("1.2.3.4")),
            (r#";for=1.2.3.4;;by="a\"b, for=9.9.9.9";"#, Ok("1.2.3.4")),
            (r#"for="2001:db8::9""#, Err(Code::IpNotAllowed)),
            (r#"for="[2001:db8::9""#, Err(Code::IpNotAllowed)),
            (r#"for="[1.2.3.4]""#, Err(Code::IpNotAllowed)),
            (r#"for="1.2.3.4:""#, Err(Code::IpNotAllowed)),
            (r#"for="1.2.3.4:99999""#, Err(Code::IpNotAllowed)),
            (r#"for="1.2.3.4:_""#, Err(Code::IpNotAllowed)),
            (r#"for=1.2.3.4:80"#, Err(Code::IpNotAllowed)),
            ("for=1.2.3.4, by=_x", Err(Code::IpNotAllowed)),
            ("for=1.2.3.4,,", Err(Code::IpNotAllowed)),
            (r#"for=", for=6.6.6.6"#, Err(Code::IpNotAllowed)),
            (r#"for=1.1.1.1;by=", for=2.2.2.2, for="[2001:db8::1]""#, Err(Code::IpNotAllowed)),
            ("for=unknown", Err(Code::IpNotAllowed)),
            ("for=_hidden", Err(Code::IpNotAllowed)),
            ("for=1.2.3.4;for=5.6.7.8", Err(Code::IpNotAllowed)),
            ("for=1.2.3.4,", Err(Code::IpNotAllowed)),
        ] {
            assert_eq!(seen(&forwarded, "10.0.0.1", &[("forwarded", line)]), want.map(str::to_owned), "{line}");
        }
    }

    #[test]
    fn a_proxy_that_passes_on_what_others_wrote_is_believed_in_nothing() {
        let lines = headers(&[("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https")]);
        let peer = Peer::Unbelieved(IpAddr::from([10, 0, 0, 1]));
        let client = config(ProxyHeader::XForwardedFor).client(peer, &lines).map_err(|p| p.code);
        let address = IpAddr::from([10, 0, 0, 1]);
        assert_eq!(client, Ok(Client { address, proxied_https: false, proxied_plain: false }));
    }

    #[test]
    fn a_unix_socket_needs_a_header_and_https_is_what_the_last_proxy_says() {
        let xff = config(ProxyHeader::XForwardedFor);
        let client = |lines: &[(&'static str, &str)]| xff.client(Peer::Unix, &headers(lines)).map_err(|p| p.code);
        assert_eq!(client(&[]), Err(Code::IpNotAllowed));
        let proxied_https =
            |proto| client(&[("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", proto)]).map(|c| c.proxied_https);
        let proxied_plain =
            |proto| client(&[("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", proto)]).map(|c| c.proxied_plain);
        assert_eq!((proxied_plain("https"), proxied_plain("http")), (Ok(false), Ok(true)));
        let from_nowhere = headers(&[("x-forwarded-proto", "https")]);
        assert_eq!(xff.client(ip("10.0.0.1"), &from_nowhere).map_err(|p| p.code), Err(Code::IpNotAllowed));
        assert_eq!(proxied_https("https"), Ok(true));
        assert_eq!(proxied_https("http"), Ok(false));
        assert_eq!(proxied_https("https, http"), Ok(false));
    }
}
