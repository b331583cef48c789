//! A connection that does not wait for ever for a client that takes nothing.
//!
//! Timeouts of the relay only run while the client reads: a body is not asked for its next frame while the
//! socket is full. This bound makes writing fail instead, which drops the reply and settles it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::time::{Sleep, sleep};

/// Wraps a stream whose writes may stall for at most so long.
pub struct Patient<S> {
    stream: S,
    /// What was read off the stream already, to be read again first.
    first: Bytes,
    stall_max: Duration,
    /// Rings when the client has taken nothing for too long; `None` while it takes.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    /// Fails a write that makes no progress for `stall_max`; `first` was read off the stream and is read again.
    pub fn new(stream: S, first: Bytes, stall_max: Duration) -> Self {
        Self { stream, first, stall_max, alarm: None }
    }

    fn judge<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.alarm = None;
            return written;
        }
        let stall_max = self.stall_max;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep(stall_max)));
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

impl<S: Write + Unpin> Write for Patient<S> {
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
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use hyper_util::rt::TokioIo;
    use tokio::io::AsyncReadExt;

    use super::*;

    async fn write(stream: &mut Patient<TokioIo<tokio::io::DuplexStream>>, bytes: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, bytes)).await
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_given_up_and_one_that_takes_is_not() {
        let (ours, mut theirs) = tokio::io::duplex(4);
        let mut stream = Patient::new(TokioIo::new(ours), Bytes::new(), Duration::from_millis(50));
        assert_eq!(write(&mut stream, b"full").await.unwrap(), 4);
        theirs.read_exact(&mut [0; 4]).await.unwrap();
        assert_eq!(write(&mut stream, b"full").await.unwrap(), 4);
        assert_eq!(write(&mut stream, b"more").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
