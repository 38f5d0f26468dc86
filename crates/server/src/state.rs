//! What handlers share: `State<App>`, `State<Shutdown>`, `State<Frame>`.

use std::{ops::Deref, sync::Arc};

use app::App;
use axum::extract::FromRef;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{docs::Pages, log::Log, request::Ids};

/// The server's frame, the state of every route. Cheap to clone.
#[derive(Clone)]
pub struct Frame(pub(crate) Arc<Inner>);

/// What a [`Frame`] holds.
pub struct Inner {
    pub(crate) app: App,
    /// The public URL without a slash at its end: every link is made from it, never from the header Host.
    pub(crate) public_url: String,
    /// Whether it is a host of the world, not of this machine.
    pub(crate) is_public: bool,
    pub(crate) shutdown: CancellationToken,
    /// What a stop waits for: connections, and what goes on when its client is gone.
    pub(crate) tasks: TaskTracker,
    pub(crate) log: Log,
    pub(crate) ids: Ids,
    pub(crate) pages: Pages,
}

impl Frame {
    /// The application.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// The public URL without a slash at its end.
    pub fn public_url(&self) -> &str {
        &self.public_url
    }

    pub(crate) fn new_request_id(&self) -> String {
        self.ids.next(self.app.clock.now())
    }
}

impl Deref for Frame {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl FromRef<Frame> for App {
    fn from_ref(frame: &Frame) -> Self {
        frame.app.clone()
    }
}

/// Cancelled when the server begins to stop: a long poll or stream ends then, within 10 s.
#[derive(Clone)]
pub struct Shutdown(pub CancellationToken);

impl FromRef<Frame> for Shutdown {
    fn from_ref(frame: &Frame) -> Self {
        Self(frame.shutdown.clone())
    }
}
