//! How many connections to providers there may be, all rows together: a process has only so many file descriptors.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use rustix::io::Errno;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of connections.
#[derive(Clone)]
pub struct Places(Arc<Semaphore>);

/// A connection that holds a place, also while it is kept for later calls.
pub struct Placed<S> {
    stream: S,
    _place: OwnedSemaphorePermit,
}

impl Places {
    /// So many.
    pub fn new(connections: usize) -> Self {
        Self(Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS))))
    }

    /// A place for one more.
    ///
    /// # Errors
    ///
    /// What the system says of a process that has no file descriptor left.
    pub fn take(&self) -> io::Result<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().map_err(|_| Errno::MFILE.into())
    }
}

impl<S> Placed<S> {
    /// `stream` in its place.
    pub fn new(stream: S, place: OwnedSemaphorePermit) -> Self {
        Self { stream, _place: place }
    }
}

/// Whether a connection failed for want of a file descriptor: that is our own trouble, not the other side's.
pub fn none_left(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let of_system = error.downcast_ref::<io::Error>();
        if let Some(code) = of_system.and_then(io::Error::raw_os_error) {
            return [Errno::MFILE, Errno::NFILE].iter().any(|errno| errno.raw_os_error() == code);
        }
        // One that wraps another passes over it on the way to its source.
        let wrapped = of_system.and_then(io::Error::get_ref).map(|inner| inner as &(dyn std::error::Error + 'static));
        next = wrapped.or_else(|| error.source());
    }
    false
}

impl<S: Connection> Connection for Placed<S> {
    /// Without the addresses, which nobody asks for and every response would carry in a map of its own.
    fn connected(&self) -> Connected {
        let connected = self.stream.connected();
        if connected.is_negotiated_h2() { Connected::new().negotiated_h2() } else { Connected::new() }
    }
}

impl<S: Read + Unpin> Read for Placed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: Write + Unpin> Write for Placed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_connection_is_gone() {
        let places = Places::new(1);
        let connection = Placed::new((), places.take().unwrap());
        let error = places.take().unwrap_err();
        assert!(none_left(&error), "{error:?}");
        drop(connection);
        assert!(places.take().is_ok());
    }

    #[test]
    fn only_the_want_of_a_descriptor_is_ours() {
        let wrapped = |errno: Errno| io::Error::other(io::Error::from(errno));
        assert!(none_left(&io::Error::from(Errno::NFILE)) && none_left(&wrapped(Errno::MFILE)));
        assert!(!none_left(&wrapped(Errno::CONNREFUSED)) && !none_left(&io::Error::other("full")));
    }
}
