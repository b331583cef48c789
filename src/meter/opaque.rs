//! A provider's answer that goes to the client as it arrives and that nobody here reads: sound, files, streams of other
//! shapes. Nothing of it is kept, and no more is taken than the client takes.
//!
//! What it costs, if anything, is settled before its last frame goes out; dropping it is the client's hang-up.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::Meter;
use crate::call::Keeper;
use crate::limits::NAME_BYTES_MAX;
use crate::providers::inbound::Arriving;
use crate::wire::errors::Code;
use crate::wire::responses_reply;

/// The provider's answer broke off, and so must ours: nothing in it could say so.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the provider's answer broke off")]
pub struct Torn;

/// The answer.
pub struct Opaque {
    body: Arriving,
    meter: Meter,
    status: u16,
    patience: Duration,
    alarm: Pin<Box<Sleep>>,
    cut: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_over: bool,
}

impl Opaque {
    /// An answer whose provider may be silent for as long as `patience`.
    pub fn new(body: Arriving, meter: Meter, status: u16, patience: Duration) -> Self {
        let cut = Box::pin(meter.cut());
        let alarm = Box::pin(sleep_until(Instant::now() + patience));
        Self { body, meter, status, patience, alarm, cut, is_over: false }
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.is_over, true) {
            self.meter.passed(self.status);
        }
    }

    fn tear(&mut self, code: Code) -> Poll<Option<Result<Frame<Bytes>, Torn>>> {
        self.is_over = true;
        self.meter.broke(code);
        self.meter.refused(code, self.status);
        Poll::Ready(Some(Err(Torn)))
    }
}

impl Meter {
    /// Closes a request that was passed on as it came, and settles what it was charged for, if it was.
    pub fn passed(&mut self, http_status: u16) {
        match self.open.is_some() {
            true => drop(self.complete(http_status)),
            false => self.close_without_attempt("passed", http_status),
        }
    }

    /// Takes note of a response that the provider keeps, before its id goes to the client: it belongs to the team.
    pub fn keep(&self, json: &[u8]) {
        let Some(target) = self.last_target.as_ref().filter(|_| self.call.view.stores) else { return };
        let Some(id) = responses_reply::kept(json).filter(|id| id.len() <= NAME_BYTES_MAX) else { return };
        // What is made in the background is charged for once somebody is told that it is done.
        let owed = self.open.as_ref().filter(|_| self.call.view.background).map(|attempt| attempt.id);
        let access = self.open.as_ref().and_then(|attempt| attempt.access);
        let keeper = Keeper { provider: target.provider.clone(), access };
        self.accounts.keep(&self.call.who.team, &keeper, ("response", &id), owed);
    }
}

impl Body for Opaque {
    type Data = Bytes;
    type Error = Torn;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Torn>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(piece) = frame.into_data() else { continue };
                    self.meter.first_byte();
                    if self.body.is_end_stream() {
                        self.end();
                    } else {
                        let next = Instant::now() + self.patience;
                        self.alarm.as_mut().reset(next);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(piece))));
                }
                Poll::Ready(Some(Err(_))) => return self.tear(Code::ProviderError),
                Poll::Ready(None) => {
                    self.end();
                    return Poll::Ready(None);
                }
                Poll::Pending if self.cut.as_mut().poll(cx).is_ready() => return self.tear(Code::Draining),
                Poll::Pending if self.alarm.as_mut().poll(cx).is_ready() => return self.tear(Code::ProviderTimeout),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
