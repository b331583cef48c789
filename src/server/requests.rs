//! The requests of one connection, so that whoever sees it out knows whether it has any.
//!
//! A request lasts until its reply's body is let go. Its last bytes may then still be on their way to a client
//! that is slow to take them: it counts as over once that had its time.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::limits::CLIENT_STALL_TIMEOUT;

/// The requests of one connection; clones count together.
#[derive(Clone, Default)]
pub struct Requests(Arc<Mutex<Count>>);

#[derive(Default)]
struct Count {
    running: usize,
    ended: Option<Instant>,
}

/// One request. Dropping it ends it.
pub struct Request(Requests);

impl Requests {
    /// A request has come.
    pub fn begin(&self) -> Request {
        self.count(|count| count.running += 1);
        Request(self.clone())
    }

    /// Whether nothing runs, and nothing can still be on its way to a client that takes it.
    pub fn are_over(&self) -> bool {
        self.count(|count| count.running == 0 && count.ended.is_none_or(|at| at.elapsed() >= CLIENT_STALL_TIMEOUT))
    }

    fn count<T>(&self, with: impl FnOnce(&mut Count) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.0.count(|count| {
            count.running -= 1;
            count.ended = Some(Instant::now());
        });
    }
}

/// A reply that ends its request when it is let go.
pub struct Counted<B> {
    body: B,
    _request: Request,
}

impl<B> Counted<B> {
    /// The reply to a request.
    pub fn new(body: B, request: Request) -> Self {
        Self { body, _request: request }
    }
}

impl<B: Body + Unpin> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
