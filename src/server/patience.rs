//! A connection that does not wait for ever for a client that takes nothing, nor closes in the face of one that is
//! still sending.
//!
//! Timeouts of the relay only run while the client reads: a body is not asked for its next frame while the
//! socket is full. This bound makes writing fail instead, which drops the reply and settles it.
//!
//! A socket that is closed with bytes unread is reset, and a reset overtakes the answer. So where a body was refused
//! unread, what still comes of it is read and thrown away for a while once the answer is out.
//! <https://www.rfc-editor.org/rfc/rfc9112#section-9.6>

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use tokio::time::{Sleep, sleep};

use crate::limits::LINGER_BYTES_MAX;

/// How long a client may take.
#[derive(Clone, Copy)]
pub struct Patience {
    /// To take anything of what is written.
    pub stall: Duration,
    /// To stop sending what nobody reads, once it has its answer.
    pub linger: Duration,
}

/// Wraps a stream; a write that makes no progress for too long fails.
pub struct Patient<S> {
    stream: S,
    /// What was read off the stream already, to be read again first.
    first: Bytes,
    patience: Patience,
    /// Rings when the client has taken nothing for too long; `None` while it takes.
    alarm: Option<Pin<Box<Sleep>>>,
    /// Whether the client may still be sending what nobody will read.
    unread: Arc<AtomicBool>,
    closing: Option<Closing>,
}

/// Our side is closed, and what the client still sends is thrown away.
struct Closing {
    until: Pin<Box<Sleep>>,
    thrown_away: usize,
}

impl<S> Patient<S> {
    /// `first` was read off the stream and is read again. Where `unread` says so, closing lingers.
    pub fn new(stream: S, first: Bytes, patience: Patience, unread: Arc<AtomicBool>) -> Self {
        Self { stream, first, patience, alarm: None, unread, closing: None }
    }

    fn judge<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.alarm = None;
            return written;
        }
        let stall = self.patience.stall;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep(stall)));
        alarm.as_mut().poll(cx).map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl<S: Read + Unpin> Read for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.first.is_empty() && buffer.remaining() > 0 {
            let length = self.first.len().min(buffer.remaining());
            buffer.put_slice(&self.first.split_to(length));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: Read + Write + Unpin> Write for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.judge(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.judge(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.closing.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            if !this.unread.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
        }
        this.poll_linger(cx).map(Ok)
    }
}

impl<S: Read + Unpin> Patient<S> {
    /// Ready when the client has closed its side too, or has been borne with for long enough.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let linger = self.patience.linger;
        let closing = self.closing.get_or_insert_with(|| Closing { until: Box::pin(sleep(linger)), thrown_away: 0 });
        if closing.until.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut space = [0; 16 << 10];
        loop {
            let mut buffer = ReadBuf::new(&mut space);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer.unfilled()));
            let length = buffer.filled().len();
            closing.thrown_away += length;
            if read.is_err() || length == 0 || closing.thrown_away > LINGER_BYTES_MAX {
                return Poll::Ready(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const HASTE: Patience = Patience { stall: Duration::from_millis(50), linger: Duration::ZERO };

    async fn write(stream: &mut Patient<TokioIo<tokio::io::DuplexStream>>, bytes: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, bytes)).await
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_given_up_and_one_that_takes_is_not() {
        let (ours, mut theirs) = tokio::io::duplex(4);
        let mut stream = Patient::new(TokioIo::new(ours), Bytes::new(), HASTE, Arc::default());
        assert_eq!(write(&mut stream, b"full").await.unwrap(), 4);
        theirs.read_exact(&mut [0; 4]).await.unwrap();
        assert_eq!(write(&mut stream, b"full").await.unwrap(), 4);
        assert_eq!(write(&mut stream, b"more").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn closing_bears_with_a_client_that_is_still_sending_but_not_for_ever() {
        for (unread, linger, sends) in [(true, 3600, true), (true, 0, false), (false, 3600, false)] {
            let (ours, mut theirs) = tokio::io::duplex(4);
            let patience = Patience { linger: Duration::from_secs(linger), ..HASTE };
            let unread = Arc::new(AtomicBool::new(unread));
            let mut stream = Patient::new(TokioIo::new(ours), Bytes::new(), patience, unread);
            let mut closed = std::pin::pin!(poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx)));
            if sends {
                tokio::select! {
                    _ = &mut closed => panic!("closed while the client sends"),
                    sent = theirs.write_all(&[0; 64]) => sent.unwrap(),
                }
                drop(theirs);
            }
            closed.await.unwrap();
        }
    }
}
