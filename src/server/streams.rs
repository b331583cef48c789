//! The streams of HTTP/2 connections: each is a task that is given up when its client takes nothing for too long.
//!
//! A connection's own patience does not see that one stream of many is left unread, since the others go on.
//! A reply says after each frame whose turn it is; a stream whose client has had its turn for too long is dropped,
//! which resets it and settles it. Whoever closes a door cuts what still runs and waits for it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

tokio::task_local! {
    /// Whose turn it is in the stream that this task serves.
    static TURN: Arc<Turn>;
}

/// Runs streams. All clones belong to one door.
#[derive(Clone)]
pub struct Streams {
    stall_max: Duration,
    cut: watch::Receiver<bool>,
    alive: mpsc::Sender<Infallible>,
}

/// The streams of a door, as their owner sees them.
pub struct Owner {
    cut: watch::Sender<bool>,
    alive: mpsc::Receiver<Infallible>,
}

/// No streams yet; each will be given up when its client takes nothing for `stall_max`.
pub fn streams(stall_max: Duration) -> (Streams, Owner) {
    let (cut, cut_seen) = watch::channel(false);
    let (running, alive) = mpsc::channel(1);
    (Streams { stall_max, cut: cut_seen, alive: running }, Owner { cut, alive })
}

impl Owner {
    /// Drops every stream that still runs, and returns once all have settled. No [`Streams`] may be held by the caller.
    pub async fn cut(mut self) {
        self.cut.send_replace(true);
        while self.alive.recv().await.is_some() {}
    }
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        let Self { stall_max, mut cut, alive } = self.clone();
        tokio::spawn(async move {
            let turn = Arc::new(Turn::default());
            tokio::select! {
                biased;
                _ = TURN.scope(Arc::clone(&turn), stream) => {}
                () = turn.stalled(stall_max) => {}
                _ = cut.wait_for(|cut| *cut) => {}
            }
            // Held to here: its owner waits for it.
            drop(alive);
        });
    }
}

/// Whose turn it is.
struct Turn {
    began: Instant,
    /// Milliseconds after `began` at which the client's turn came, and one; 0 while it is ours.
    client: AtomicU64,
}

impl Default for Turn {
    fn default() -> Self {
        Self { began: Instant::now(), client: AtomicU64::new(0) }
    }
}

impl Turn {
    fn is_ours(&self) {
        self.client.store(0, Ordering::Relaxed);
    }

    fn is_the_client_s(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.client.store(now.saturating_add(1), Ordering::Relaxed);
    }

    /// Returns once the client's turn has lasted for `stall_max`.
    async fn stalled(&self, stall_max: Duration) {
        let mut look = Instant::now() + stall_max;
        loop {
            tokio::time::sleep_until(look).await;
            look = match self.client.load(Ordering::Relaxed) {
                0 => Instant::now() + stall_max,
                since => self.began + Duration::from_millis(since) + stall_max,
            };
            if look <= Instant::now() {
                return;
            }
        }
    }
}

/// A reply that says whose turn it is.
pub struct Watched<B> {
    body: B,
    turn: Option<Arc<Turn>>,
}

impl<B> Watched<B> {
    /// Watches a reply of the stream that runs.
    pub fn new(body: B) -> Self {
        Self { body, turn: TURN.try_with(Arc::clone).ok() }
    }
}

impl<B: Body + Unpin> Body for Watched<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(turn) = &self.turn {
            // It is asked for the next frame when the client has room for it.
            if matches!(polled, Poll::Ready(Some(_))) { turn.is_the_client_s() } else { turn.is_ours() }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};

    use super::*;

    /// Set when it is dropped.
    struct Settles(watch::Sender<bool>);

    impl Drop for Settles {
        fn drop(&mut self) {
            self.0.send_replace(true);
        }
    }

    /// A stream that is asked for so many frames of `body`, and whether it has been dropped.
    fn run<B>(streams: &Streams, body: B, frames: usize) -> Dropped
    where
        B: Body<Data = Bytes, Error = Infallible> + Unpin + Send + 'static,
    {
        let (settles, settled) = watch::channel(false);
        let settles = Settles(settles);
        streams.execute(async move {
            let mut body = Watched::new(body);
            for _ in 0..frames {
                body.frame().await;
            }
            // There is no room for more: the body is not asked again.
            pending::<()>().await;
            drop(settles);
        });
        settled
    }

    type Dropped = watch::Receiver<bool>;

    /// Silent, but for one event if it has it.
    struct Silent(Option<&'static str>);

    impl Body for Silent {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.take().map_or(Poll::Pending, |event| Poll::Ready(Some(Ok(Frame::data(event.into())))))
        }
    }

    /// What `future` gives, in time.
    async fn soon<F: Future>(future: F) -> F::Output {
        tokio::time::timeout(Duration::from_secs(20), future).await.expect("in time")
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_given_up_and_one_that_waits_for_its_provider_is_not() {
        let (streams, owner) = streams(Duration::from_millis(50));
        let waiting = [run(&streams, Silent(None), 1), run(&streams, Silent(Some("event")), 2)];
        for _ in 0..2 {
            let mut takes_nothing = run(&streams, Full::new(Bytes::from_static(b"event")), 1);
            assert!(soon(takes_nothing.wait_for(|dropped| *dropped)).await.is_ok());
        }
        assert!(waiting.iter().all(|waits| !*waits.borrow()), "the silence is the provider's, after an event too");
        drop(streams);
        soon(owner.cut()).await;
        assert!(waiting.iter().all(|waits| *waits.borrow()), "whoever closes the door has waited for them");
    }
}
