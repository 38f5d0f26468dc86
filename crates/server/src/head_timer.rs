//! hyper's timer for a head that takes too long, which it sets anew for each request: looked at, never awaited.
//!
//! A timer of the runtime's is entered and taken out under its lock at every request, for what next to never happens. This
//! one remembers its moment alone; whoever serves the connection polls it now and then, and hyper asks then.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use hyper::rt::{Sleep, Timer};
use tokio::time::Instant;

/// Makes the timers. The connection has to be polled every few seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadTimer;

/// Over from this moment on; wakes nobody.
struct Until(Instant);

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(Until(Instant::now() + duration))
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Until(Instant::from_std(deadline)))
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into_std()
    }
}

impl Sleep for Until {}

impl Future for Until {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.0 { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::Empty;
    use hyper::{Response, body::Bytes, server::conn::http1::Builder, service::service_fn};
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const MAX: Duration = Duration::from_secs(60);
    const LOOK: Duration = Duration::from_secs(10);

    /// After which time a connection ends on which this was sent; none where it is there after 10 minutes.
    async fn ends_after(sent: &str) -> (Option<Duration>, String) {
        let (mut client, server) = duplex(4_096);
        client.write_all(sent.as_bytes()).await.expect("room");
        let service = service_fn(|_| async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) });
        let mut builder = Builder::new();
        let connection =
            builder.timer(HeadTimer).header_read_timeout(MAX).serve_connection(TokioIo::new(server), service);
        let (mut connection, began) = (std::pin::pin!(connection), Instant::now());
        let mut ended = None;
        for _ in 0..60 {
            tokio::select! {
                _ = connection.as_mut() => { ended = Some(began.elapsed()); break }
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        let mut said = vec![0; 4_096];
        let count = tokio::time::timeout(LOOK, client.read(&mut said)).await.map_or(0, |read| read.unwrap_or(0));
        (ended, String::from_utf8_lossy(&said[..count]).into_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_its_time_and_a_little_more() {
        let bounds = MAX..=MAX + LOOK;
        for begun in ["", "G", "GET / HTTP/1.1\r\nhost: localhost\r\n"] {
            let (ended, said) = ends_after(begun).await;
            assert!(ended.is_some_and(|after| bounds.contains(&after)), "{begun:?}: {ended:?}");
            assert!(!said.contains("200"), "{said}");
        }
        // Answered at once; then it says nothing more, and has the same time for its next.
        let (ended, said) = ends_after("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        assert!(ended.is_some_and(|after| bounds.contains(&after)), "{ended:?}");
        assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    }
}
