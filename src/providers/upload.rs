//! A client's body that goes to a provider as it arrives: nothing of it is kept, and no more is taken than the provider takes.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

/// Why a body did not arrive in full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// It has more bytes than are let in.
    TooLarge,
    /// Nothing came of it for too long.
    TooSlow,
    /// Its client broke it off.
    BrokeOff,
}

/// What became of a body, for whoever let it go.
#[derive(Clone, Debug, Default)]
pub struct Fate(Arc<(OnceLock<Trouble>, AtomicBool)>);

impl Fate {
    /// What went wrong with it, if anything did.
    pub fn trouble(&self) -> Option<Trouble> {
        self.0.0.get().copied()
    }

    /// Whether it has arrived to its last byte.
    pub fn is_whole(&self) -> bool {
        self.0.1.load(Ordering::Acquire)
    }
}

/// The body.
#[derive(Debug)]
pub struct Upload {
    body: Incoming,
    /// What was read of it before.
    ahead: VecDeque<Bytes>,
    /// How many bytes it may still have.
    left: u64,
    /// How many it says that it has, as far as it says so.
    declared: Option<u64>,
    patience: Duration,
    alarm: Pin<Box<Sleep>>,
    fate: Fate,
}

impl Upload {
    /// A body of at most `bytes_max` bytes, whose client may be silent for as long as `patience`.
    pub fn new(body: Incoming, bytes_max: u64, patience: Duration) -> Self {
        let declared = body.size_hint().exact();
        let alarm = Box::pin(sleep_until(Instant::now() + patience));
        Self { body, ahead: VecDeque::new(), left: bytes_max, declared, patience, alarm, fate: Fate::default() }
    }

    /// What becomes of it.
    pub fn fate(&self) -> Fate {
        self.fate.clone()
    }

    /// Its length, if that is known.
    pub fn length(&self) -> Option<u64> {
        self.declared
    }

    /// Reads its beginning, up to about so many bytes, without taking it away.
    ///
    /// # Errors
    ///
    /// [`Trouble`].
    pub async fn begin(&mut self, bytes: usize, is_enough: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>, Trouble> {
        let mut seen = Vec::new();
        while seen.len() < bytes && !is_enough(&seen) {
            let Some(piece) = std::future::poll_fn(|cx| self.poll_next(cx)).await? else { break };
            seen.extend_from_slice(&piece);
            self.ahead.push_back(piece);
        }
        Ok(seen)
    }

    /// The next piece, on its way to the provider.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Trouble>> {
        match self.ahead.pop_front() {
            Some(piece) => Poll::Ready(Ok(Some(piece))),
            None => self.poll_next(cx),
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Trouble>> {
        loop {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    ready!(self.alarm.as_mut().poll(cx));
                    return Poll::Ready(Err(self.ends_in(Trouble::TooSlow)));
                }
            };
            self.alarm.as_mut().reset(Instant::now() + self.patience);
            let piece = match frame {
                None => {
                    self.fate.0.1.store(true, Ordering::Release);
                    return Poll::Ready(Ok(None));
                }
                Some(Err(_)) => return Poll::Ready(Err(self.ends_in(Trouble::BrokeOff))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(piece) => piece,
                    Err(_) => continue,
                },
            };
            let Some(left) = self.left.checked_sub(piece.len() as u64) else {
                return Poll::Ready(Err(self.ends_in(Trouble::TooLarge)));
            };
            self.left = left;
            if self.body.is_end_stream() {
                self.fate.0.1.store(true, Ordering::Release);
            }
            return Poll::Ready(Ok(Some(piece)));
        }
    }

    fn ends_in(&self, trouble: Trouble) -> Trouble {
        *self.fate.0.0.get_or_init(|| trouble)
    }
}
