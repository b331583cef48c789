//! A stream that tells how a response goes on, passed on as it comes and listened to: what was made in the background says
//! in its last event what it used.
//!
//! No byte is changed. The piece in which that event ends goes on once it is booked, nothing else waits; what cannot be
//! followed (an event is too large, no memory is left) is only passed on.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::late::{Bill, Late};
use crate::memory::HeldBytes;
use crate::meter::opaque::{Opaque, Torn};
use crate::wire::sse::{self, Decoder, Events};

/// The stream.
pub struct Overheard {
    stream: Opaque,
    /// What listens, until it has heard what it waits for or cannot follow.
    ear: Option<Ear>,
    booking: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// What goes on once that is done; `None`: the end.
    waiting: Option<Piece>,
}

type Piece = Result<Frame<Bytes>, Torn>;

struct Ear {
    late: Late,
    decoder: Decoder,
    /// Holds an event that has not ended.
    held: HeldBytes,
}

/// The stream cannot be followed any further.
struct Lost;

impl Overheard {
    /// Listens to a stream for what `late` books.
    pub(super) fn new(stream: Opaque, late: Late, held: HeldBytes) -> Self {
        let ear = Ear { late, decoder: Decoder::default(), held };
        Self { stream, ear: Some(ear), booking: None, waiting: None }
    }

    /// Listens to the next piece, and to what is left behind the last one.
    fn hear(&mut self, piece: Option<&Piece>) {
        let Some(ear) = &mut self.ear else { return };
        let bytes = piece.and_then(|piece| piece.as_ref().ok()?.data_ref()).cloned();
        let is_last = piece.is_none() || self.stream.is_end_stream();
        let heard = ear.hear(bytes.unwrap_or_default(), is_last);
        if matches!(heard, Ok(None)) {
            return;
        }
        let ear = self.ear.take();
        if let (Some(Ear { late, .. }), Ok(Some(bill))) = (ear, heard) {
            self.booking = Some(Box::pin(late.book(bill)));
        }
    }
}

impl Ear {
    fn hear(&mut self, bytes: Bytes, is_last: bool) -> Result<Option<Bill>, Lost> {
        let events = self.decoder.push(bytes).map_err(|_| Lost)?;
        self.held.resize(self.decoder.pending_bytes()).map_err(|_| Lost)?;
        let bill = self.bill_in(&events);
        if bill.is_some() || !is_last {
            return Ok(bill);
        }
        let rest = self.decoder.finish();
        Ok(self.bill_in(&rest))
    }

    fn bill_in(&self, events: &Events) -> Option<Bill> {
        let mut data = events.ranges.iter().filter_map(|range| sse::data(&events.bytes[range.clone()]));
        data.find_map(|data| self.late.bill_in(&data))
    }
}

impl Body for Overheard {
    type Data = Bytes;
    type Error = Torn;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        let this = &mut *self;
        if this.booking.is_none() {
            let piece = ready!(Pin::new(&mut this.stream).poll_frame(cx));
            this.hear(piece.as_ref());
            if this.booking.is_none() {
                return Poll::Ready(piece);
            }
            this.waiting = piece;
        }
        if let Some(booking) = &mut this.booking {
            ready!(booking.as_mut().poll(cx));
            this.booking = None;
        }
        Poll::Ready(this.waiting.take())
    }

    fn is_end_stream(&self) -> bool {
        self.booking.is_none() && self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.stream.size_hint()
    }
}
