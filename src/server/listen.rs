//! Listeners and connections of both doors, and their orderly end.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::RequestBody;
use super::opening::{self, Protocol};
use super::patience::{Patience, Patient};
use super::requests::{Counted, Requests};
use super::streams::{Streams, Watched, streams};
use super::tls::{self, Tls};
use crate::limits::{
    CLIENT_STALL_TIMEOUT, DRAIN_GRACE, H2_CONNECTION_AGE_MAX, H2_CONNECTION_WINDOW_BYTES, H2_PING_INTERVAL,
    H2_PING_TIMEOUT, H2_RESETS_MAX, H2_SEND_BUFFER_BYTES, H2_STREAM_WINDOW_BYTES, H2_STREAMS_MAX, HEAD_BYTES_MAX,
    HEAD_READ_TIMEOUT, HEADERS_MAX, LINGER_TIMEOUT,
};
use crate::telemetry::log::Log;

/// How long a client may take its time.
const PATIENCE: Patience = Patience { stall: CLIENT_STALL_TIMEOUT, linger: LINGER_TIMEOUT };
/// Connections that are told that we are leaving, although the door is full.
const LATE_CONNECTIONS: usize = 8;
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
            "; another process listens there, choose another port with `server.listen` or `server.admin_listen` in the configuration"
        } else {
            ""
        };
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}{hint}"))
    })
}

/// Where connections come in.
pub struct Listener {
    /// The bound address.
    pub listener: TcpListener,
    /// What TLS is served with; `None`: none.
    pub tls: Option<Arc<Tls>>,
    /// Most connections at once.
    pub connections_max: usize,
    /// Where it is told that a client speaks no TLS where it must.
    pub log: Log,
}

/// Serves connections until `closing` says so, then lets requests in flight finish, for at most `patience`;
/// meanwhile new connections are still accepted, so that they are told. What is still running then is
/// dropped, and settles itself.
pub async fn serve<S, F, B>(at: Listener, service: S, closing: watch::Receiver<bool>, patience: Duration)
where
    S: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: http_body::Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin + Send + 'static,
{
    let Listener { listener, tls, connections_max, log } = at;
    let (streams, owner) = streams(CLIENT_STALL_TIMEOUT);
    let door = Door { service, streams, tls, log };
    let mut connections = JoinSet::new();
    let mut silent = Silent::default();
    let mut until = closing.clone();
    loop {
        let is_full = connections.len() >= connections_max;
        let may_accept = !is_full || silent.any();
        tokio::select! {
            stream = accept(&listener), if may_accept => {
                if is_full || stream.is_none() {
                    silent.dismiss();
                }
                if let Some(stream) = stream {
                    let signs = Signs::default();
                    let serving = connection(stream, door.clone(), Some(closing.clone()), signs.clone());
                    silent.add(connections.spawn(serving), signs.spoke, connections_max);
                }
            }
            _ = until.wait_for(|closing| *closing) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
    let mut late = JoinSet::new();
    let drained = async {
        while !connections.is_empty() {
            tokio::select! {
                stream = accept(&listener), if late.len() + connections.len() < connections_max + LATE_CONNECTIONS => {
                    if let Some(stream) = stream {
                        late.spawn(connection(stream, door.clone(), None, Signs::default()));
                    }
                }
                _ = connections.join_next() => {}
                Some(_) = late.join_next(), if !late.is_empty() => {}
            }
        }
    };
    if tokio::time::timeout(patience, drained).await.is_err() {
        connections.shutdown().await;
    }
    late.shutdown().await;
    drop(door);
    owner.cut().await;
}

/// What the requests of a connection tell about it.
#[derive(Clone, Default)]
struct Signs {
    /// A request has come.
    spoke: Arc<AtomicBool>,
    /// The body of the last one was refused unread: its client may still be sending.
    unread: Arc<AtomicBool>,
}

/// Connections from which no request has come yet, the oldest first. They make room when the door is full.
#[derive(Default)]
struct Silent(VecDeque<(AbortHandle, Arc<AtomicBool>)>);

impl Silent {
    fn add(&mut self, connection: AbortHandle, spoke: Arc<AtomicBool>, connections_max: usize) {
        self.0.push_back((connection, spoke));
        if self.0.len() > 2 * connections_max {
            self.0.retain(is_silent);
        }
    }

    fn any(&mut self) -> bool {
        while self.0.front().is_some_and(|oldest| !is_silent(oldest)) {
            self.0.pop_front();
        }
        !self.0.is_empty()
    }

    /// Ends the oldest.
    fn dismiss(&mut self) {
        if self.any()
            && let Some((oldest, _)) = self.0.pop_front()
        {
            oldest.abort();
        }
    }
}

fn is_silent((connection, spoke): &(AbortHandle, Arc<AtomicBool>)) -> bool {
    !connection.is_finished() && !spoke.load(Ordering::Relaxed)
}

/// What all connections of a listener share.
#[derive(Clone)]
struct Door<S> {
    service: S,
    streams: Streams,
    tls: Option<Arc<Tls>>,
    log: Log,
}

/// The next connection; `None` where that took a descriptor that is not there, or its client is gone already.
async fn accept(listener: &TcpListener) -> Option<TcpStream> {
    match listener.accept().await {
        Ok((stream, _)) => Some(stream),
        Err(_) => {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// One connection; with `closing` it ends after its current requests once that says so.
async fn connection<S, F, B>(stream: TcpStream, door: Door<S>, closing: Option<watch::Receiver<bool>>, signs: Signs)
where
    S: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: http_body::Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin + Send + 'static,
{
    // An event must leave when it is there, not when a packet is full.
    drop(stream.set_nodelay(true));
    let left = closed(closing.clone());
    match &door.tls {
        None => {
            let mut stream = stream;
            let opening = tokio::time::timeout(HEAD_READ_TIMEOUT, opening::read(&mut stream));
            if let Some(Ok(Ok((protocol, first)))) = before(left, opening).await {
                let stream = Patient::new(TokioIo::new(stream), first, PATIENCE, signs.unread.clone());
                speak(protocol, stream, door, closing, signs).await;
            }
        }
        Some(tls) => {
            let agreed = async {
                if tls::speaks_plain_http(&stream).await {
                    door.log.event("plain_http", &json!({ "hint": "this port speaks TLS: `https://`" }));
                    return tls::refuse_plain_http(stream).await;
                }
                tls.accept(stream).await
            };
            if let Some(Ok((stream, protocol))) = before(left, agreed).await {
                let stream = Patient::new(TokioIo::new(stream), Bytes::new(), PATIENCE, signs.unread.clone());
                speak(protocol, stream, door, closing, signs).await;
            }
        }
    }
}

/// What `work` gives, unless `end` comes before.
async fn before<T>(end: impl Future<Output = ()>, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = end => None,
    }
}

/// Serves requests until the client or `closing` ends it.
async fn speak<I, S, F, B>(
    protocol: Protocol,
    stream: I,
    door: Door<S>,
    closing: Option<watch::Receiver<bool>>,
    signs: Signs,
) where
    I: Read + Write + Unpin + Send + 'static,
    S: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: http_body::Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin + Send + 'static,
{
    let Door { service, streams, .. } = door;
    let requests = Requests::default();
    let counted = requests.clone();
    let service = move |request| {
        let (reply, request) = (service(request), counted.begin());
        async { reply.await.map(|reply| reply.map(|body| Counted::new(body, request))) }
    };
    match protocol {
        Protocol::Http1 => {
            let service = service_fn(move |request| {
                signs.spoke.store(true, Ordering::Relaxed);
                let (reply, unread) = (service(request), Arc::clone(&signs.unread));
                async move {
                    let mut reply = reply.await?;
                    let is_unread = reply.extensions().get() == Some(&RequestBody::Unread);
                    if is_unread {
                        // What comes next on this connection is that body. Whoever is not told sends a request there.
                        reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                    }
                    unread.store(is_unread, Ordering::Relaxed);
                    Ok::<_, Infallible>(reply)
                }
            });
            let connection = http1(closing.is_some()).serve_connection(stream, service);
            see_out(connection, closed(closing.clone()), abandoned(closing, &requests)).await;
        }
        Protocol::Http2 => {
            let service = service_fn(move |request| {
                signs.spoke.store(true, Ordering::Relaxed);
                let reply = service(request);
                async { reply.await.map(|reply| reply.map(Watched::new)) }
            });
            let aged = tokio::time::sleep(H2_CONNECTION_AGE_MAX);
            let ends = async { before(aged, closed(closing.clone())).await.unwrap_or_default() };
            let connection = http2(streams).serve_connection(stream, service);
            see_out(connection, ends, abandoned(closing.clone(), &requests)).await;
        }
    }
}

fn http1(keep_alive: bool) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_READ_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .keep_alive(keep_alive);
    builder
}

fn http2(streams: Streams) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS_MAX)
        .max_pending_accept_reset_streams(H2_RESETS_MAX)
        .max_local_error_reset_streams(H2_RESETS_MAX)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).expect("a head is far below 4 GiB"))
        .initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(H2_SEND_BUFFER_BYTES)
        .keep_alive_interval(H2_PING_INTERVAL)
        .keep_alive_timeout(H2_PING_TIMEOUT);
    builder
}

/// Returns some time after `closing` says so: a request that is on its way already is told that we are leaving,
/// it must not meet a closed door. A late connection serves one request in any case.
async fn closed(closing: Option<watch::Receiver<bool>>) {
    let Some(mut closing) = closing else { return std::future::pending().await };
    // A sender that is gone closes as well.
    drop(closing.wait_for(|closing| *closing).await);
    tokio::time::sleep(DRAIN_GRACE).await;
}

/// Returns once `closing` was said and the client leaves open a connection that has no request: one of HTTP/2 that
/// never answers would else be waited for until its pings run out.
async fn abandoned(closing: Option<watch::Receiver<bool>>, requests: &Requests) {
    loop {
        closed(closing.clone()).await;
        if requests.are_over() {
            return;
        }
    }
}

/// Serves a connection, and once `ends` only the requests that it has begun, until it is `abandoned` after that.
/// A connection that ends badly is the client's doing; its requests have settled themselves.
async fn see_out(
    connection: impl GracefulConnection,
    ends: impl Future<Output = ()>,
    abandoned: impl Future<Output = ()>,
) {
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return drop(ended),
        () = ends => connection.as_mut().graceful_shutdown(),
    }
    drop(before(abandoned, connection).await);
}
