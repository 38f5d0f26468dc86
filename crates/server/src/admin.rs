//! The operator's way in: a Unix socket beside the data, for `iusign admin` while the server runs.
//!
//! Only the server's own user and root may connect; the file's mode says so, and the peer's credentials are asked again.
//! Routes are POST with JSON in and out, and problems as everywhere. To add one: `.route("/keys/revoke", post(revoke))`.

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path};

use axum::Router;
use gate::Peer;
use tokio::net::UnixListener;

use crate::{listen::Serving, state::Frame};

/// The operator's routes.
pub(crate) fn router() -> Router<Frame> {
    Router::new()
}

/// Binds the socket. One that a killed server left behind is replaced: the data folder's lock tells that none runs.
pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Accepts the operator's connections until the stop.
pub(crate) async fn accept(listener: UnixListener, serving: Serving) {
    let stop = serving.frame.shutdown.clone();
    let own = rustix::process::geteuid().as_raw();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else { continue };
        if !stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0) {
            tracing::warn!("another user's connection to the operator's socket was refused");
            continue;
        }
        let connection = serving.clone();
        serving.tasks.spawn(async move { connection.serve(stream, Peer::Unix).await });
    }
}
