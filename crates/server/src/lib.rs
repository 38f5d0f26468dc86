//! The server: TLS 1.3, one router behind one gate, `/v1`, the signing room, and what the server says about itself.
//!
//! A request's way: `listen.rs` (connection, handshake) → `request.rs` (id, log line, problems, panics) → `router.rs` (every
//! route on one page) → `gatekeeper.rs` (the gate) → `idempotency.rs` (POST) → `v1/<noun>.rs`.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::Context;
use app::App;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

mod admin;
pub mod assets;
pub mod body;
pub mod ca;
mod docs;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod gatekeeper;
mod head_timer;
mod health;
mod html;
pub mod idempotency;
mod invite;
pub mod json;
mod listen;
pub mod listener;
pub mod log;
mod plain;
pub mod problem;
mod proxy_protocol;
pub mod query;
mod reference;
pub mod request;
mod router;
mod sign;
pub mod state;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod threads;
pub mod tls;
pub mod v1;
mod written;

pub use gatekeeper::Pass;
pub use json::{Created, Json};
pub use listen::DRAIN_MS_MAX;
pub use listener::Listener;
pub use log::Log;
pub use problem::{Answer, Refusal};
pub use query::{Path, Query};
pub use state::{Frame, Shutdown};
pub use tls::Tls;

use listen::{Door, Serving};
use listener::Bound;
use threads::Threads;

/// What the operator sets.
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// A socket that is bound already, in place of `listen`: for who must know the port before the app is made.
    pub listener: Option<std::net::TcpListener>,
    /// Further ways in.
    pub listeners: Vec<Listener>,
    /// Where the certificate comes from.
    pub tls: Tls,
    /// `https://…`, as clients and recipients reach the server. None: made from the bound address, see [`public_url`].
    pub public_url: Option<String>,
    /// The operator's Unix socket.
    pub admin_socket: Option<PathBuf>,
    /// Where a line per request goes.
    pub log: Log,
}

/// A server that runs.
pub struct Running {
    /// The bound address.
    pub address: SocketAddr,
    /// The public URL without a slash at its end.
    pub public_url: String,
    /// The further ways in, with the ports that they were given.
    pub listeners: Vec<Listener>,
    /// The OpenAPI document, as served at `/openapi.json`.
    pub openapi: bytes::Bytes,
    ended: JoinHandle<bool>,
    /// What began on them ends with them, so they are there until this is dropped.
    _threads: Arc<Threads>,
}

impl Running {
    /// Waits until the server has stopped, which it does when the token given to [`serve`] is cancelled. True where all
    /// that was in flight ended by itself within [`DRAIN_MS_MAX`]. Jobs may use what requests have opened, such as the
    /// workers: drop this when they are over.
    pub async fn ended(&mut self) -> bool {
        (&mut self.ended).await.unwrap_or(false)
    }
}

/// Binds the address of a server; give the result as [`Config::listener`].
pub fn bind(listen: SocketAddr) -> anyhow::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(listen).with_context(|| {
        format!("can't listen on {listen}: another program may use the port, or the address is not this machine's")
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The URL of a server on this address: the host is named `localhost` where the address is every one of the machine's.
pub fn public_url(address: SocketAddr) -> String {
    let port = address.port();
    if address.ip().is_unspecified() { format!("https://localhost:{port}") } else { format!("https://{address}") }
}

/// Serves until `shutdown` is cancelled; returns as soon as it listens. Within a tokio runtime.
pub async fn serve(app: App, config: Config, shutdown: CancellationToken) -> anyhow::Result<Running> {
    let listener = config.listener.map_or_else(|| bind(config.listen), Ok)?;
    let listener = TcpListener::from_std(listener).context("the listening socket can't be used")?;
    let address = listener.local_addr()?;
    let public_url = config.public_url.unwrap_or_else(|| public_url(address)).trim_end_matches('/').to_owned();
    let curl = match config.tls {
        Tls::LocalCa { .. } => "curl --cacert ca.pem",
        Tls::Files { .. } => "curl",
    };
    let tls = tls::config(config.tls, app.clock.clone(), shutdown.clone())?;
    let (routes, document) = router::router();
    let pages = docs::Pages::new(document, &public_url, curl);
    let openapi = pages.openapi.clone();
    let frame = Frame(Arc::new(state::Inner {
        ids: request::Ids::new(app.random.as_ref()),
        app,
        is_public: is_public(&public_url),
        public_url: public_url.clone(),
        shutdown: shutdown.clone(),
        tasks: TaskTracker::new(),
        log: config.log,
        pages,
    }));
    let serving = Serving::new(frame.clone(), routes.with_state(frame.clone()))
        .context("the threads that serve connections can't be started")?;
    if let Some(path) = &config.admin_socket {
        let socket =
            admin::bind(path).with_context(|| format!("can't make the operator's socket {}", path.display()))?;
        let operator = Serving { router: admin::router().with_state(frame), ..serving.clone() };
        tokio::spawn(admin::accept(socket, operator));
    }
    let (acceptor, threads) = (TlsAcceptor::from(tls), serving.threads.clone());
    let listeners = further(&config.listeners, &acceptor, &serving).await?;
    tokio::spawn(listen::accept(listener, Door::Tls { acceptor, proxied: false }, serving.clone()));
    let ended = tokio::spawn(async move {
        let ended = serving.drain().await;
        let sockets = config.listeners.iter().filter_map(|listener| match listener {
            Listener::Unix(path) => Some(path),
            _ => None,
        });
        for path in sockets.chain(&config.admin_socket) {
            // Where it can't be removed the next start does it.
            let _: io::Result<()> = std::fs::remove_file(path);
        }
        ended
    });
    Ok(Running { address, public_url, listeners, openapi, ended, _threads: threads })
}

/// Opens the further ways in: their names, with the ports that they were given.
async fn further(listeners: &[Listener], acceptor: &TlsAcceptor, serving: &Serving) -> anyhow::Result<Vec<Listener>> {
    let mut names = Vec::new();
    for listener in listeners {
        let (bound, name) = listener.bind().await?;
        let door = match listener {
            Listener::Tls(_) => Door::Tls { acceptor: acceptor.clone(), proxied: false },
            Listener::ProxiedTls(_) => Door::Tls { acceptor: acceptor.clone(), proxied: true },
            Listener::Http(_) | Listener::Unix(_) => Door::Http,
            Listener::Redirect(_) => Door::Redirect,
        };
        match bound {
            Bound::Tcp(socket) => drop(tokio::spawn(listen::accept(socket, door, serving.clone()))),
            Bound::Unix(socket) => drop(tokio::spawn(listen::accept_unix(socket, serving.clone()))),
        }
        names.push(name);
    }
    Ok(names)
}

/// Whether the URL's host is one of the world: not this machine's, not a bare address.
fn is_public(public_url: &str) -> bool {
    let host = public_url.trim_start_matches("https://").split(['/', '?']).next().unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let is_local = name == "localhost" || name.ends_with(".localhost") || !name.contains('.');
    !is_local && name.parse::<std::net::IpAddr>().is_err() && !name.starts_with('[')
}

#[cfg(test)]
mod public_tests {
    use super::*;

    #[test]
    fn only_a_host_of_the_world_is_bound_to_https_for_years() {
        for (url, public) in [
            ("https://sign.example.com", true),
            ("https://sign.example.com:8443", true),
            ("https://localhost:8443", false),
            ("https://127.0.0.1:8443", false),
            ("https://[::1]:8443", false),
            ("https://[::1]", false),
            ("https://iusign", false),
        ] {
            assert_eq!(is_public(url), public, "{url}");
        }
    }
}
