//! Bodies of requests: how long they may be, how slow, and what becomes of one that is too long.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{self, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures::Stream;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming, SizeHint};
use model::{Code, Problem};
use tokio::time::timeout;

/// A JSON body at most.
pub const JSON_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// An uploaded document at most.
pub const DOCUMENT_BYTES_MAX: u64 = 50 * 1024 * 1024;
/// The rows of a batch at most.
pub const ROWS_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// How long the next piece of a body may take.
const IDLE_MS_MAX: u64 = 30_000;
/// How long a body that is read as a whole may take, however steadily it drips: it holds a connection and its memory.
const WHOLE_MS_MAX: u64 = 60_000;
/// What is still read of a body that nobody wants, so that the client reads the answer instead of a broken connection.
const DRAIN_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How long that is done.
const DRAIN_MS_MAX: u64 = 2_000;

/// Reads a body to its end, `max` bytes at most.
pub async fn read(headers: &HeaderMap, body: Body, max: u64) -> Result<Bytes, Problem> {
    read_within(WHOLE_MS_MAX, pieces(headers, body, max)?).await
}

async fn read_within(ms_max: u64, mut pieces: Pieces) -> Result<Bytes, Problem> {
    let read = async {
        let mut whole = Vec::new();
        while let Some(piece) = pieces.next().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole.into())
    };
    timeout(Duration::from_millis(ms_max), read).await.unwrap_or_else(|_| {
        let detail = format!("The body was not whole after {} s.", ms_max / 1_000);
        Err(Problem::new(Code::RequestTimeout, detail))
    })
}

/// Reads a body piece by piece, `max` bytes at most; one that says that it is longer is refused before it is read.
pub fn pieces(headers: &HeaderMap, body: Body, max: u64) -> Result<Pieces, Problem> {
    let said = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|length| length > max) {
        return Err(too_large(max));
    }
    Ok(Pieces { body, max, seen: 0 })
}

/// A body that comes in pieces.
pub struct Pieces {
    body: Body,
    max: u64,
    seen: u64,
}

impl Pieces {
    /// The next piece; none at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let frame = timeout(Duration::from_millis(IDLE_MS_MAX), self.body.frame()).await.map_err(|_| {
                Problem::new(Code::RequestTimeout, format!("No byte of the body came for {} s.", IDLE_MS_MAX / 1_000))
            })?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|cause| {
                Problem::new(Code::BodyIncomplete, "The connection ended before the body did.").caused_by(cause)
            })?;
            // Trailers are of no interest.
            let Ok(data) = frame.into_data() else { continue };
            self.seen = self.seen.saturating_add(data.len() as u64);
            if self.seen > self.max {
                return Err(too_large(self.max));
            }
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
    }

    /// The same as a stream.
    pub fn stream(self) -> impl Stream<Item = Result<Bytes, Problem>> + Send {
        futures::stream::try_unfold(
            self,
            |mut pieces| async move { Ok(pieces.next().await?.map(|piece| (piece, pieces))) },
        )
    }
}

fn too_large(max: u64) -> Problem {
    let limit = if max >= 1024 * 1024 { format!("{} MiB", max / (1024 * 1024)) } else { format!("{max} bytes") };
    Problem::new(Code::BodyTooLarge, format!("The body is larger than {limit} ({max} bytes), the limit of this route."))
}

/// Where an unread rest of a body is left.
#[derive(Clone, Default)]
pub(crate) struct Rest(Arc<Mutex<Option<Incoming>>>);

impl Rest {
    /// The body for the handler, and the place where its rest will be found. Nothing for a request without a body.
    pub(crate) fn watch(body: Incoming, expects_continue: bool) -> (Body, Option<Self>) {
        if hyper::body::Body::is_end_stream(&body) {
            return (Body::empty(), None);
        }
        if expects_continue {
            // Reading on would invite the client to send what nobody wants (RFC 9110, 10.1.1).
            return (Body::new(body), None);
        }
        let rest = Self::default();
        (Body::new(Watched { body: Some(body), rest: rest.clone() }), Some(rest))
    }

    /// Reads and forgets a little of what is left. Whether the body ended.
    pub(crate) async fn drain(self) -> bool {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut body) = left else { return true };
        let read_on = async {
            let mut seen = 0;
            while seen <= DRAIN_BYTES_MAX {
                match body.frame().await {
                    Some(Ok(frame)) => seen += frame.data_ref().map_or(0, Bytes::len) as u64,
                    Some(Err(_)) => return false,
                    None => return true,
                }
            }
            false
        };
        timeout(Duration::from_millis(DRAIN_MS_MAX), read_on).await.unwrap_or(false)
    }
}

/// A body that is put aside when its reader loses interest.
struct Watched {
    body: Option<Incoming>,
    rest: Rest,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.body.as_mut().map_or(Poll::Ready(None), |body| Pin::new(body).poll_frame(context))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(hyper::body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, hyper::body::Body::size_hint)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !hyper::body::Body::is_end_stream(body)) {
            *self.rest.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_that_drips_without_end_is_given_up() {
        let drip = futures::stream::repeat_with(|| Ok::<_, std::io::Error>("x"));
        let drip = futures::StreamExt::then(drip, async |drop| {
            tokio::time::sleep(Duration::from_millis(1)).await;
            drop
        });
        let pieces = pieces(&HeaderMap::new(), Body::from_stream(drip), u64::MAX).expect("no length was said");
        let refused = read_within(50, pieces).await.expect_err("it never ends");
        assert_eq!(refused.code, Code::RequestTimeout);
    }
}
