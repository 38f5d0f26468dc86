//! Forged forwarding headers: none passes an allowlist that it should not, over HTTP/1.1 and HTTP/2, whoever sends it.
//!
//! Which address a request came from is decided before any database is asked, so one engine tells it.

use std::process::Command;

use serde_json::{Value, json};
use tests::{Engine, Server};

/// The address that the key may call from: documentation's, no one's here.
const ALLOWED: &str = "203.0.113.7";
/// A trusted proxy's address, and one that nobody trusts: both this machine's.
const PROXY: u8 = 1;
const STRANGER: u8 = 9;

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
enum Want {
    /// It was seen to come from the allowed address.
    Passes,
    /// It was seen to come from this one, which is refused.
    Seen(&'static str),
    /// Nobody can say where it came from.
    Unreadable,
}
use Want::{Passes, Seen, Unreadable};

/// Headers that some server somewhere believes. Here they are words.
const BELIEVED_ELSEWHERE: &[&str] = &[
    "X-Real-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "CF-Connecting-IPv6",
    "X-Client-IP",
    "Client-IP",
    "X-Cluster-Client-IP",
    "Fastly-Client-IP",
    "Fly-Client-IP",
    "X-Original-Forwarded-For",
    "X-Forwarded",
    "Forwarded-For",
    "X-Forwarded-By",
    "X-Forwarded-Host",
    "X-Remote-IP",
    "X-Remote-Addr",
    "X-Originating-IP",
    "X-Envoy-External-Address",
    "X-Azure-ClientIP",
    "X-AppEngine-User-IP",
    "WL-Proxy-Client-IP",
    "Proxy-Client-IP",
    "X-ProxyUser-Ip",
    "X_Forwarded_For",
    "X-Forwarded-For-Original",
    "Via",
];

/// With `X-Forwarded-For` configured, from the trusted proxy: what its header holds, and who is seen.
const X_FORWARDED_FOR: &[(&[&str], Want)] = &[
    (&["203.0.113.7"], Passes),
    (&["  203.0.113.7\t"], Passes),
    (&["203.0.113.7:4711"], Passes),
    (&["::ffff:203.0.113.7"], Passes),
    (&["[::ffff:203.0.113.7]:4711"], Passes),
    (&["198.51.100.1, 203.0.113.7"], Passes),
    (&["203.0.113.7, 10.1.2.3"], Passes),
    (&["rubbish, 203.0.113.7"], Passes),
    // What the stranger wrote stands to the left of what the proxy saw.
    (&["203.0.113.7, 198.51.100.9"], Seen("198.51.100.9")),
    (&["203.0.113.7,198.51.100.9"], Seen("198.51.100.9")),
    (&["203.0.113.7", "198.51.100.9"], Seen("198.51.100.9")),
    (&["203.0.113.7, 203.0.113.7", "198.51.100.9, 127.0.0.1"], Seen("198.51.100.9")),
    (&["203.0.113.7, 198.51.100.9, 10.1.2.3, 127.0.0.1"], Seen("198.51.100.9")),
    (&["203.0.113.7, 2001:db8::9"], Seen("2001:db8::9")),
    (&["203.0.113.7, [2001:db8::9]:1"], Seen("2001:db8::9")),
    // Addresses that only look like it.
    (&["64:ff9b::203.0.113.7"], Seen("64:ff9b::cb00:7107")),
    (&["::203.0.113.7"], Seen("::cb00:7107")),
    (&["2002:cb00:7107::1"], Seen("2002:cb00:7107::1")),
    (&["::ffff:0:203.0.113.7"], Seen("::ffff:0:cb00:7107")),
    (&["203.0.113.70"], Seen("203.0.113.70")),
    // What can't be read is refused, never guessed.
    (&["203.0.113.7, unknown"], Unreadable),
    (&["203.0.113.7, _hidden"], Unreadable),
    (&["203.0.113.7,"], Unreadable),
    (&["203.0.113.7, ,"], Unreadable),
    (&["203.0.113.7 198.51.100.9"], Unreadable),
    (&["203.0.113.7;198.51.100.9"], Unreadable),
    (&["\"203.0.113.7\""], Unreadable),
    (&["203.0.113.007"], Unreadable),
    (&["203.0.113"], Unreadable),
    (&["203.0.113.7.1"], Unreadable),
    (&["0xcb007107"], Unreadable),
    (&["3405803783"], Unreadable),
    (&["203.0.113.7/32"], Unreadable),
    (&["203.0.113.7:99999"], Unreadable),
    (&["203.0.113.7%lo"], Unreadable),
    (&["for=203.0.113.7"], Unreadable),
    (&["203.0.113.7\u{a0}"], Unreadable),
    (&["２０３.0.113.7"], Unreadable),
    (&["localhost"], Unreadable),
];

/// The same with `Forwarded` configured.
const FORWARDED: &[(&[&str], Want)] = &[
    (&["for=203.0.113.7"], Passes),
    (&["For=\"203.0.113.7:4711\";proto=https;by=_edge"], Passes),
    (&["for=\"[::ffff:203.0.113.7]\""], Passes),
    (&["for=_x, for=203.0.113.7, for=10.1.2.3"], Passes),
    (&["for=203.0.113.7, for=198.51.100.9"], Seen("198.51.100.9")),
    (&["for=203.0.113.7", "for=198.51.100.9;proto=https"], Seen("198.51.100.9")),
    (&["for=203.0.113.7, for=\"[2001:db8::9]:_port\""], Seen("2001:db8::9")),
    (&["for=198.51.100.9;by=203.0.113.7;host=203.0.113.7"], Seen("198.51.100.9")),
    // An open quote does not swallow what the proxy appended.
    (&["for=203.0.113.7;by=\", for=198.51.100.9"], Unreadable),
    (&["for=\"203.0.113.7, for=198.51.100.9"], Unreadable),
    (&["for=203.0.113.7;for=198.51.100.9"], Unreadable),
    (&["for=203.0.113.7, for=unknown"], Unreadable),
    (&["for=203.0.113.7, for=_hidden"], Unreadable),
    (&["for=203.0.113.7, by=198.51.100.9"], Unreadable),
    (&["for=203.0.113.7,"], Unreadable),
    (&["for=203.0.113.7:4711"], Unreadable),
    (&["for=\"203.0.113.7:4711:1\""], Unreadable),
    (&["for=[::ffff:203.0.113.7]"], Unreadable),
    (&["for=\"::ffff:203.0.113.7\""], Unreadable),
    (&["for = 203.0.113.7"], Unreadable),
    (&["203.0.113.7"], Unreadable),
    (&["for=203.0.113.7 for=198.51.100.9"], Unreadable),
];

/// One request over each protocol, and what it has to be answered.
fn check(server: &Server, key: &str, from: u8, headers: &[(String, String)], want: Want) {
    for (protocol, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", protocol, "--interface", &format!("127.0.0.{from}")]);
        curl.args(["--write-out", "\n%{http_version} %{http_code}", "--cacert"]).arg(server.ca_file());
        curl.args(["--header", &format!("Authorization: Bearer {key}")]);
        for (name, value) in headers {
            curl.args(["--header", &format!("{name}: {value}")]);
        }
        let output = curl.arg(format!("{}/v1/me", server.url)).output().expect("curl runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let what = format!("HTTP/{version} from 127.0.0.{from} with {headers:?}");
        assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
        let (body, told) = text.rsplit_once('\n').expect("the last line");
        let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{what}: {error}: {text}"));
        let status = told.strip_prefix(version).unwrap_or_else(|| panic!("{what}: another version: {told}")).trim();
        let detail = body["detail"].as_str().unwrap_or_default();
        match want {
            Passes => assert_eq!((status, &body["address"]), ("200", &json!(ALLOWED)), "{what}: {body}"),
            Seen(address) => {
                assert_eq!((status, &body["code"]), ("403", &json!("ip_not_allowed")), "{what}: {body}");
                assert!(detail.contains(&format!("came from {address},")), "{what}: {detail}");
            }
            Unreadable => {
                assert_eq!((status, &body["code"]), ("403", &json!("ip_not_allowed")), "{what}: {body}");
                assert!(!detail.contains("came from"), "{what}: {detail}");
            }
        }
    }
}

/// A server with these settings, and a key that may call from [`ALLOWED`] alone.
async fn house(settings: &[&str]) -> (Server, String) {
    let server = Server::start_with(Engine::Sqlite, settings).await;
    server.admin(&["tenants", "set-tier", "enterprise"]);
    let body = json!({ "label": "Office", "allowlist": [ALLOWED], "confirm": true });
    let made = server.api().post("/v1/keys", body).await.expect(201);
    let key = made["secret"].as_str().expect("a secret").to_owned();
    (server, key)
}

fn all(name: &str, values: &[&str]) -> Vec<(String, String)> {
    values.iter().map(|value| (name.to_owned(), (*value).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_a_trusted_proxy_is_believed_in_no_header() {
    let trusting =
        ["--trusted-proxy", "127.0.0.1", "--trusted-proxy", "10.0.0.0/8", "--proxy-header", "x-forwarded-for"];
    let mut rows = 0;
    for settings in [&[][..], &trusting] {
        let (server, key) = house(settings).await;
        for name in BELIEVED_ELSEWHERE.iter().chain(&["X-Forwarded-For"]) {
            check(&server, &key, STRANGER, &all(name, &[ALLOWED]), Seen("127.0.0.9"));
            rows += 1;
        }
        let many: Vec<_> = BELIEVED_ELSEWHERE.iter().flat_map(|name| all(name, &[ALLOWED])).collect();
        check(&server, &key, STRANGER, &many, Seen("127.0.0.9"));
        check(&server, &key, STRANGER, &all("Forwarded", &["for=203.0.113.7"]), Seen("127.0.0.9"));
        rows += 2;
    }
    assert!(rows >= 56, "{rows}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_proxy_is_believed_in_its_one_header_read_from_the_right() {
    let trusted = ["--trusted-proxy", "127.0.0.1", "--trusted-proxy", "::ffff:10.0.0.0/104", "--proxy-header"];
    let (server, key) = house(&[&trusted[..], &["x-forwarded-for"]].concat()).await;
    for (values, want) in X_FORWARDED_FOR {
        check(&server, &key, PROXY, &all("X-Forwarded-For", values), *want);
    }
    // More hops than are walked, and longer than is read.
    let hops = format!("{ALLOWED}, {}", vec!["10.0.0.1"; 40].join(", "));
    check(&server, &key, PROXY, &all("X-Forwarded-For", &[&hops]), Seen("10.0.0.1"));
    let long = format!("{}, {ALLOWED}", vec!["10.0.0.1"; 500].join(", "));
    check(&server, &key, PROXY, &all("X-Forwarded-For", &[&long]), Unreadable);
    // Not a word of any other header.
    for name in BELIEVED_ELSEWHERE {
        check(&server, &key, PROXY, &all(name, &[ALLOWED]), Seen("127.0.0.1"));
    }
    let both = [all("Forwarded", &["for=203.0.113.7"]), all("X-Forwarded-For", &["198.51.100.9"])].concat();
    check(&server, &key, PROXY, &both, Seen("198.51.100.9"));
    check(&server, &key, PROXY, &all("Forwarded", &["for=203.0.113.7"]), Seen("127.0.0.1"));

    let (server, key) = house(&[&trusted[..], &["forwarded"]].concat()).await;
    for (values, want) in FORWARDED {
        check(&server, &key, PROXY, &all("Forwarded", values), *want);
    }
    let both = [all("X-Forwarded-For", &[ALLOWED]), all("Forwarded", &["for=198.51.100.9"])].concat();
    check(&server, &key, PROXY, &both, Seen("198.51.100.9"));
    check(&server, &key, PROXY, &all("X-Forwarded-For", &[ALLOWED]), Seen("127.0.0.1"));
}
