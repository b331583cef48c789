//! Listeners and connections of both doors, and their orderly end.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::patience::Patient;
use crate::limits::{CLIENT_STALL_TIMEOUT, DRAIN_GRACE, HEAD_BYTES_MAX, HEAD_READ_TIMEOUT, HEADERS_MAX};

/// How long accepting rests when the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Binds an address.
///
/// # Errors
///
/// One line that names the address and what to do about it.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let hint = if error.kind() == io::ErrorKind::AddrInUse {
            "; another process listens there, choose another port with `server.listen` or `server.admin_listen` in `farthing.yaml`"
        } else {
            ""
        };
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}{hint}"))
    })
}

/// Serves connections until `closing` says so, then lets requests in flight finish, for at most `patience`;
/// meanwhile new connections are still accepted, so that they are told. What is still running then is
/// dropped, and settles itself.
pub async fn serve<S, F, B>(listener: TcpListener, service: S, closing: watch::Receiver<bool>, patience: Duration)
where
    S: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let mut connections = JoinSet::new();
    let mut until = closing.clone();
    loop {
        tokio::select! {
            stream = accept(&listener) => drop(connections.spawn(connection(stream, service.clone(), Some(closing.clone())))),
            _ = until.wait_for(|closing| *closing) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
    let mut late = JoinSet::new();
    let drained = async {
        while !connections.is_empty() {
            tokio::select! {
                stream = accept(&listener) => drop(late.spawn(connection(stream, service.clone(), None))),
                _ = connections.join_next() => {}
            }
        }
    };
    if tokio::time::timeout(patience, drained).await.is_err() {
        connections.shutdown().await;
    }
    late.shutdown().await;
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            // No descriptor is left, or the client is gone already.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// One connection; with `closing` it ends after its current request once that says so.
async fn connection<S, F, B>(stream: TcpStream, service: S, closing: Option<watch::Receiver<bool>>)
where
    S: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    // An event must leave when it is there, not when a packet is full.
    drop(stream.set_nodelay(true));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_READ_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    builder.keep_alive(closing.is_some());
    let connection =
        builder.serve_connection(Patient::new(TokioIo::new(stream), CLIENT_STALL_TIMEOUT), service_fn(service));
    tokio::pin!(connection);
    // A connection that ends badly is the client's doing; its requests have settled themselves.
    if let Some(mut closing) = closing {
        tokio::select! {
            ended = connection.as_mut() => return drop(ended),
            _ = closing.wait_for(|closing| *closing) => {}
        }
        // A request that is on its way already is told that we are leaving; it must not meet a closed door.
        tokio::select! {
            ended = connection.as_mut() => return drop(ended),
            () = tokio::time::sleep(DRAIN_GRACE) => connection.as_mut().graceful_shutdown(),
        }
    }
    drop(connection.await);
}
