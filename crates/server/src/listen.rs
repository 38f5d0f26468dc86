//! The way in: accept, look at the first byte, shake hands, serve; and stop without breaking what is in flight.

use std::{
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::Router;
use gate::Peer;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{
    head_timer::HeadTimer,
    plain,
    proxy_protocol::{self, Source},
    request,
    state::Frame,
    threads::Threads,
};

/// Connections at one time; more wait in the system's queue.
const CONNECTIONS_MAX: usize = 16_384;
/// How long a first byte and a TLS handshake may take together.
const HANDSHAKE_MS_MAX: u64 = 10_000;
/// How long a head may take, and how long a connection may be idle between requests; up to [`LOOK_MS`] more.
const HEAD_MS_MAX: u64 = 60_000;
/// How often a connection looks whether that is over.
const LOOK_MS: u64 = 10_000;
/// A head's bytes at most, on HTTP/1.1.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// A head's bytes at most, on HTTP/2.
const HEADER_LIST_BYTES_MAX: u32 = 64 * 1024;
/// Requests of one HTTP/2 connection at one time.
const STREAMS_MAX: u32 = 256;
/// How often a silent HTTP/2 connection is asked whether it lives.
const PING_MS: u64 = 30_000;
/// How long what is in flight may go on after the stop.
/// The process has 10 s in all: what is left is for the last writes.
pub const DRAIN_MS_MAX: u64 = 8_000;
/// How long connections that were cut off may take to end.
const CUT_MS_MAX: u64 = 300;
/// How long accepting waits after the system refused, as with no file handles left.
const ACCEPT_RETRY_MS: u64 = 100;
/// The first byte of a TLS record with a handshake (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 22;
/// What a connection needs.
#[derive(Clone)]
pub(crate) struct Serving {
    pub(crate) frame: Frame,
    pub(crate) router: Router,
    pub(crate) http: Arc<Builder<TokioExecutor>>,
    pub(crate) threads: Arc<Threads>,
    /// Cancelled when the time to drain is over.
    pub(crate) cut: CancellationToken,
}

impl Serving {
    pub(crate) fn new(frame: Frame, router: Router) -> io::Result<Self> {
        let threads = Arc::new(Threads::start()?);
        Ok(Self { frame, router, http: Arc::new(http()), threads, cut: CancellationToken::new() })
    }

    /// Serves a new connection, on one of the threads for that; it has its place among all until it ends.
    fn spawn<S>(&self, among_all: OwnedSemaphorePermit, entered: impl FnOnce(Self) -> S)
    where
        S: Future<Output = ()> + Send + 'static,
    {
        let (thread, on_thread) = self.threads.least();
        let served = entered(self.clone());
        self.frame.tasks.spawn_on(
            async move {
                served.await;
                drop((among_all, on_thread));
            },
            &thread,
        );
    }

    /// Waits for the stop, then for what is in flight, at most [`DRAIN_MS_MAX`]. Whether everything ended by itself.
    pub(crate) async fn drain(self) -> bool {
        self.frame.shutdown.cancelled().await;
        self.frame.tasks.close();
        let ended = timeout(Duration::from_millis(DRAIN_MS_MAX), self.frame.tasks.wait()).await.is_ok();
        self.cut.cancel();
        // Whoever is not gone by then stands still, as on a disk that does not answer.
        let _ = timeout(Duration::from_millis(CUT_MS_MAX), self.frame.tasks.wait()).await;
        ended
    }
}

fn http() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // A head has 100 headers at most: hyper's own limit, whose room costs nothing while nobody sets another.
    builder
        .http1()
        .timer(HeadTimer)
        .header_read_timeout(Duration::from_millis(HEAD_MS_MAX))
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(Duration::from_millis(PING_MS));
    builder
}

/// How a connection comes in.
#[derive(Clone)]
pub(crate) enum Door {
    /// By TLS that ends here. `proxied`: trusted proxies pass it on and say first from where, by the PROXY protocol.
    Tls { acceptor: TlsAcceptor, proxied: bool },
    /// From a trusted proxy that ends TLS.
    Http,
    /// To be sent to `https://`.
    Redirect,
}

/// How a connection came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    /// The other end.
    pub(crate) peer: Peer,
    /// Whether this server itself ended its TLS.
    pub(crate) is_tls: bool,
}

/// Accepts connections until the stop.
pub(crate) async fn accept(listener: TcpListener, door: Door, serving: Serving) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let stop = serving.frame.shutdown.clone();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = place_and_stream(&places, &listener) => accepted,
        };
        match accepted {
            Ok((place, stream, peer)) => {
                let door = door.clone();
                serving.spawn(place, |connection| async move {
                    match TcpStream::from_std(stream) {
                        Ok(stream) => connection.enter(stream, peer, door).await,
                        Err(error) => tracing::warn!(%error, "a connection could not be accepted"),
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await;
            }
        }
    }
}

/// Accepts connections of a proxy on this machine that ends TLS, until the stop.
pub(crate) async fn accept_unix(listener: UnixListener, serving: Serving) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let stop = serving.frame.shutdown.clone();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = async {
                let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
                listener.accept().await.and_then(|(stream, _)| Ok((place, stream.into_std()?)))
            } => accepted,
        };
        match accepted {
            Ok((place, stream)) => serving.spawn(place, |connection| async move {
                match UnixStream::from_std(stream) {
                    Ok(stream) => connection.serve(stream, Way { peer: Peer::Unix, is_tls: false }).await,
                    Err(error) => tracing::warn!(%error, "a connection could not be accepted"),
                }
            }),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await;
            }
        }
    }
}

/// The stream is of no runtime: its thread's takes it up.
async fn place_and_stream(
    places: &Arc<Semaphore>,
    listener: &TcpListener,
) -> io::Result<(OwnedSemaphorePermit, std::net::TcpStream, SocketAddr)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((place, stream.into_std()?, peer))
}

impl Serving {
    async fn enter(&self, mut stream: TcpStream, peer: SocketAddr, door: Door) {
        // Without it small answers wait for acknowledgements (Nagle).
        let _ = stream.set_nodelay(true);
        let is_trusted = self.frame.app().gate.trusts(peer.ip());
        match door {
            Door::Tls { acceptor, proxied } => self.tls(stream, peer, acceptor, proxied && is_trusted).await,
            Door::Http if is_trusted => self.serve(stream, Way { peer: Peer::Ip(peer.ip()), is_tls: false }).await,
            Door::Http | Door::Redirect => {
                let redirects = matches!(door, Door::Redirect);
                tokio::select! {
                    () = plain::answer(&mut stream, peer.ip(), &self.frame, redirects) => {}
                    () = self.cut.cancelled() => {}
                }
            }
        }
    }

    /// `proxied`: a trusted proxy has to say first where the connection comes from. From others nobody would believe it:
    /// it is no TLS, so it is refused.
    async fn tls(&self, mut stream: TcpStream, peer: SocketAddr, acceptor: TlsAcceptor, proxied: bool) {
        let hands = async {
            let (mut from, mut address) = (Peer::Ip(peer.ip()), peer.ip());
            if proxied {
                match proxy_protocol::read(&mut stream).await? {
                    Source::Client(client) => (from, address) = (Peer::Ip(client), client),
                    Source::Proxy => from = Peer::Unbelieved(address),
                }
            }
            let mut first = [0];
            if stream.peek(&mut first).await? == 0 {
                return Ok(None);
            }
            if first[0] != TLS_HANDSHAKE {
                plain::answer(&mut stream, address, &self.frame, false).await;
                return Ok(None);
            }
            acceptor.accept(stream).await.map(|stream| Some((stream, from)))
        };
        let hands = timeout(Duration::from_millis(HANDSHAKE_MS_MAX), hands);
        let shaken = tokio::select! {
            shaken = hands => shaken,
            () = self.cut.cancelled() => return,
        };
        match shaken {
            Ok(Ok(Some((stream, peer)))) => self.serve(stream, Way { peer, is_tls: true }).await,
            Ok(Ok(None)) => {}
            // Scanners and clients of old TLS versions: everyday, and none of the operator's business.
            Ok(Err(error)) => tracing::debug!(%error, address = %peer.ip(), "a TLS handshake failed"),
            Err(_) => tracing::debug!(address = %peer.ip(), "a TLS handshake took too long"),
        }
    }

    pub(crate) async fn serve<S>(&self, stream: S, way: Way)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Arc::new(Activity::default());
        let service = service_fn(|request: http::Request<Incoming>| {
            let (frame, router, under_way) = (self.frame.clone(), self.router.clone(), activity.begin());
            async move {
                let answer = request::answer(&frame, router, way, request).await;
                drop(under_way);
                Ok::<_, std::convert::Infallible>(answer)
            }
        });
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(stream), service));
        // A token of its own: all connections would ask one at every step.
        let stop = self.frame.shutdown.child_token();
        let mut idle_ms = 0;
        let ended = loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => break ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        ended = connection.as_mut() => break ended,
                        () = self.cut.cancelled() => return,
                    }
                }
                // Now hyper looks at its own timer, for a head of HTTP/1.1 that takes too long. A connection that says
                // nothing, or only answers pings, would keep its place for ever. An answer that is still on its way is
                // sent to its end.
                () = sleep(Duration::from_millis(LOOK_MS)) => {
                    idle_ms = if activity.was_idle() { idle_ms + LOOK_MS } else { 0 };
                    if idle_ms >= HEAD_MS_MAX {
                        connection.as_mut().graceful_shutdown();
                    }
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(error, "a connection ended early");
        }
    }
}

/// Whether a connection has had anything to do.
#[derive(Default)]
struct Activity {
    under_way: AtomicUsize,
    begun: AtomicBool,
}

/// A request under way.
struct UnderWay(Arc<Activity>);

impl Activity {
    fn begin(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        self.begun.store(true, Ordering::Relaxed);
        UnderWay(self.clone())
    }

    /// Whether nothing began since this was last asked, and nothing is under way.
    fn was_idle(&self) -> bool {
        !self.begun.swap(false, Ordering::Relaxed) && self.under_way.load(Ordering::Relaxed) == 0
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
