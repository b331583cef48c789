//! A request body in pieces that share memory with the original, and the knowledge whether any of it left.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::upload::Upload;

const UNDECIDED: u8 = 0;
const SENT: u8 = 1;
const WITHHELD: u8 = 2;

/// Whether a body may have left: decided once, by the connection that asks for its first byte or by whoever
/// gives the call up, whichever comes first. Both may happen at the same time on different threads.
#[derive(Clone, Debug, Default)]
pub struct Sent(Arc<AtomicU8>);

impl Sent {
    /// Gives the call up. True if nothing of the body has left, and then nothing ever will; false if it may have
    /// reached the provider.
    pub fn withhold(&self) -> bool {
        self.decide(WITHHELD)
    }

    fn decide(&self, wanted: u8) -> bool {
        let decided = self.0.compare_exchange(UNDECIDED, wanted, Ordering::AcqRel, Ordering::Acquire);
        decided.is_ok() || decided == Err(wanted)
    }
}

/// The call was given up before its body left, or its client did not send all of it; the connection breaks off.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the call was given up before its body had left")]
pub struct Withheld;

/// The body that leaves.
#[derive(Debug)]
pub struct OutBody {
    pieces: VecDeque<Bytes>,
    left: u64,
    sent: Sent,
    upload: Option<Box<Upload>>,
}

impl OutBody {
    /// A body of `pieces`; `sent` is decided when the first is asked for.
    pub fn new(pieces: Vec<Bytes>, sent: Sent) -> Self {
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { pieces: pieces.into(), left, sent, upload: None }
    }

    /// Adds what goes on as it arrives.
    pub(super) fn upload(&mut self, upload: Option<Box<Upload>>) {
        self.upload = upload;
    }
}

impl http_body::Body for OutBody {
    type Data = Bytes;
    type Error = Withheld;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Withheld>>> {
        if !self.sent.decide(SENT) {
            return Poll::Ready(Some(Err(Withheld)));
        }
        if let Some(upload) = &mut self.upload {
            return upload.poll_piece(cx).map(|piece| match piece {
                Ok(piece) => piece.map(|piece| Ok(Frame::data(piece))),
                Err(_) => Some(Err(Withheld)),
            });
        }
        let piece = self.pieces.pop_front();
        self.left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.upload.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.upload {
            None => SizeHint::with_exact(self.left),
            Some(upload) => upload.length().map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use http_body::Body as _;

    use super::*;

    fn ask(body: &mut OutBody) -> Result<Bytes, Withheld> {
        match Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(frame)) => frame.map(|frame| frame.into_data().unwrap_or_default()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_body_that_was_given_up_never_leaves() {
        let sent = Sent::default();
        let mut body = OutBody::new(vec![Bytes::from_static(b"{}")], sent.clone());
        assert!(sent.withhold());
        assert_eq!(ask(&mut body), Err(Withheld));
        assert!(sent.withhold(), "giving up twice is giving up");
    }

    #[test]
    fn a_body_that_has_begun_to_leave_cannot_be_withheld() {
        let sent = Sent::default();
        let mut body = OutBody::new(vec![Bytes::from_static(b"{"), Bytes::from_static(b"}")], sent.clone());
        assert_eq!(ask(&mut body).as_deref(), Ok(&b"{"[..]));
        assert!(!sent.withhold());
        assert_eq!(ask(&mut body).as_deref(), Ok(&b"}"[..]));
    }
}
