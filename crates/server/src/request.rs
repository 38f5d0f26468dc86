//! The frame of every request: its id, its log line, its problem written out, its headers, and what to do when it panics.
//!
//! Plain code around one call instead of a stack of middleware: it is read from top to bottom and costs less.

use std::{
    net::IpAddr,
    panic::AssertUnwindSafe,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use axum::{
    Router,
    extract::Request,
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use gate::{Client, Peer};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use hyper::body::Incoming;
use model::{Code, KeyId, Problem, Random, Timestamp};
use secret::base32;
use tower::Service;

use crate::{
    body::Rest,
    listen::Way,
    log::Access,
    problem::{self, Refusal},
    state::Frame,
};

/// The request's id, on every response.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
/// Characters of a path and query together at most.
const URI_CHARS_MAX: usize = 8_192;

/// What the frame knows of a request; in its extensions as `Arc<Arrival>`.
pub struct Arrival {
    /// Its id, as `req_…`.
    pub id: String,
    /// The other end of the socket.
    pub peer: Peer,
    /// Whether this server itself ended its TLS.
    pub(crate) is_tls: bool,
    pub(crate) frame: Frame,
    pub(crate) at: Instant,
    /// Its route as the router writes it, `POST /v1/keys`, once it is known.
    pub(crate) route: OnceLock<&'static str>,
    /// Where it came from, behind all trusted proxies, once the gate was asked.
    pub(crate) client: OnceLock<IpAddr>,
    /// The key that it came with, once the gate let it in.
    pub(crate) key: OnceLock<KeyId>,
}

impl Arrival {
    /// Where a request comes from that no key is asked for; the keys in its URL stand in histories and logs all the same,
    /// and are noted.
    pub(crate) fn client_without_key(&self, request: &Request) -> Result<Client, Problem> {
        let gate = &self.frame.app().gate;
        let client = gate.client(self.peer, request.headers())?;
        // A request has one client, so this is its first value.
        let _ = self.client.set(client.address);
        gate.note_in_url(request.uri(), client.address);
        Ok(client)
    }
}

/// Makes request ids: UUIDv7 (RFC 9562, 5.7) of the time, this process' random number and a counter. They need not be
/// secret, and a counter costs less than random bits.
pub(crate) struct Ids {
    process: u64,
    counter: AtomicU64,
}

impl Ids {
    pub(crate) fn new(random: &dyn Random) -> Self {
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        Self { process: u64::from_be_bytes(bytes), counter: AtomicU64::new(0) }
    }

    pub(crate) fn next(&self, now: Timestamp) -> String {
        let count = self.counter.fetch_add(1, Ordering::Relaxed);
        let mut bits = [0; 10];
        bits[..2].copy_from_slice(&count.to_be_bytes()[6..]);
        bits[2..].copy_from_slice(&self.process.wrapping_add(count).to_be_bytes());
        let uuid = uuid::Builder::from_unix_timestamp_millis(now.millis().unsigned_abs(), &bits).into_uuid();
        // The letters are ASCII.
        ["req_", std::str::from_utf8(&base32::letters(*uuid.as_bytes())).unwrap_or_default()].concat()
    }
}

/// Answers one request.
pub(crate) async fn answer(frame: &Frame, mut router: Router, way: Way, request: http::Request<Incoming>) -> Response {
    let now = frame.app().clock.now();
    let arrival = Arc::new(Arrival {
        id: frame.ids.next(now),
        peer: way.peer,
        is_tls: way.is_tls,
        frame: frame.clone(),
        at: Instant::now(),
        route: OnceLock::new(),
        client: OnceLock::new(),
        key: OnceLock::new(),
    });
    let method = request.method().clone();
    let (request, rest) = prepare(request, &arrival);
    let mut response = match request {
        Err(problem) => Refusal(problem).into_response(),
        Ok(request) => match AssertUnwindSafe(router.call(request)).catch_unwind().await {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(panic) => Refusal(panicked(panic.as_ref())).into_response(),
        },
    };
    let code = write_problem(&arrival, &mut response);
    complete(&arrival, response.headers_mut());
    if let Some(rest) = rest
        && !rest.drain().await
    {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    frame.log.access(&Access {
        at: now,
        request_id: &arrival.id,
        key: arrival.key.get().copied(),
        address: arrival.client.get().copied().or(match way.peer {
            Peer::Ip(address) | Peer::Unbelieved(address) => Some(address),
            Peer::Unix => None,
        }),
        method: method.as_str(),
        route: arrival.route.get().and_then(|route| route.split_once(' ')).map_or("-", |(_, template)| template),
        status: response.status().as_u16(),
        micros: u64::try_from(arrival.at.elapsed().as_micros()).unwrap_or(u64::MAX),
        code,
    });
    response
}

/// Checks what is common to all and hands the request on with its arrival.
fn prepare(request: http::Request<Incoming>, arrival: &Arc<Arrival>) -> (Result<Request, Problem>, Option<Rest>) {
    let (mut parts, incoming) = request.into_parts();
    let expects_continue = parts.headers.contains_key(header::EXPECT);
    let (body, rest) = Rest::watch(incoming, expects_continue);
    if parts.uri.path_and_query().is_some_and(|text| text.as_str().len() > URI_CHARS_MAX) {
        let detail = format!("The path and query are longer than {URI_CHARS_MAX} characters.");
        return (Err(Problem::new(Code::HeadersTooLarge, detail)), rest);
    }
    // RFC 9112, 3.2: exactly one, or two servers on the way may understand two requests.
    let hosts = parts.headers.get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && parts.version == http::Version::HTTP_11) {
        let detail = format!("The request has {hosts} Host headers.");
        return (Err(Problem::new(Code::HostInvalid, detail)), rest);
    }
    parts.extensions.insert(arrival.clone());
    (Ok(Request::from_parts(parts, body)), rest)
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Problem {
    let text =
        panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
    Problem::fault(format!("a handler panicked: {}", text.unwrap_or_else(|| "without a word".to_owned())))
}

/// Writes the problem that a response carries, and logs the cause of a fault.
fn write_problem(arrival: &Arrival, response: &mut Response) -> Option<&'static str> {
    let Refusal(problem) = response.extensions_mut().remove::<Refusal>()?;
    problem::write(response, &problem, &arrival.frame.public_url, &arrival.id);
    if let Some(cause) = problem.cause() {
        let cause = model::causes(cause);
        let route = arrival.route.get().copied().unwrap_or("-");
        if problem.code.status() >= 500 {
            tracing::error!(request_id = arrival.id, route, code = problem.code.as_str(), cause, "a request failed");
        } else {
            tracing::debug!(
                request_id = arrival.id,
                route,
                code = problem.code.as_str(),
                cause,
                "a request was refused"
            );
        }
    }
    Some(problem.code.as_str())
}

/// What every response says, where the handler said nothing else.
fn complete(arrival: &Arrival, headers: &mut HeaderMap) {
    const DEFAULTS: [(HeaderName, HeaderValue); 3] = [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    const OF_PAGES: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; font-src 'self'; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    // What is no page loads nothing.
    const OF_OTHERS: &str = "default-src 'none'; frame-ancestors 'none'";
    if let Ok(id) = HeaderValue::from_str(&arrival.id) {
        headers.insert(REQUEST_ID, id);
    }
    for (name, value) in DEFAULTS {
        headers.entry(name).or_insert(value);
    }
    let is_page = headers.get(header::CONTENT_TYPE).is_some_and(|media| media.as_bytes().starts_with(b"text/html"));
    let policy = HeaderValue::from_static(if is_page { OF_PAGES } else { OF_OTHERS });
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(policy);
    if arrival.frame.is_public {
        // Two years, as the preload list wants; never for localhost, where it would bind every other port too.
        headers
            .entry(header::STRICT_TRANSPORT_SECURITY)
            .or_insert(HeaderValue::from_static("max-age=63072000; includeSubDomains"));
    }
}
