//! Connections to providers: TCP and TLS, pooled, with one bound on the whole of connecting.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower_service::Service;

use super::body::OutBody;
use super::places::{Placed, Places};
use crate::limits::{H2_CALLS_MAX, H2_LANES_MAX, H2_PING_INTERVAL, H2_PING_TIMEOUT, H2_STREAM_WINDOW_BYTES};

/// How long an unused connection is kept; most providers keep theirs a minute or longer.
const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(50);

/// A pooled client of one provider row.
pub type HttpClient = Client<Timed<HttpsConnector<HttpConnector>>, OutBody>;

/// The clients of one provider row. Over TLS a provider may choose HTTP/2, and then all calls of one client share
/// one connection, in which it allows about a hundred at a time: the calls beyond that take the next lane.
pub struct Lanes {
    lanes: Box<[Lane]>,
    connector: Timed<HttpsConnector<HttpConnector>>,
}

#[derive(Default)]
struct Lane {
    client: OnceLock<HttpClient>,
    calls: Arc<AtomicUsize>,
}

/// A call's place in its lane, and where there are several ways into a provider in one of them, until its answer has been
/// read.
#[derive(Debug)]
pub struct Place([Option<Arc<AtomicUsize>>; 2]);

impl Lanes {
    /// Clients whose connections, TLS included, are up within `connect_timeout` and each have one of `places`; nothing is
    /// connected yet.
    pub fn new(connect_timeout: Duration, tls: bool, places: Places) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(connect_timeout));
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls_config(tls)).https_or_http();
        let https = builder.enable_all_versions().wrap_connector(tcp);
        let lanes = (0..if tls { H2_LANES_MAX } else { 1 }).map(|_| Lane::default()).collect();
        Self { lanes, connector: Timed { inner: https, timeout: connect_timeout, places } }
    }

    /// The client for the next call, and its place. Without TLS there is one lane and nothing to count.
    pub fn pick(&self) -> (&HttpClient, Place) {
        let last = self.lanes.len() - 1;
        for (number, lane) in self.lanes.iter().enumerate() {
            if last == 0 {
                return (self.client(lane), Place([None, None]));
            }
            let before = lane.calls.fetch_add(1, Ordering::Relaxed);
            let place = Place([Some(Arc::clone(&lane.calls)), None]);
            if before < H2_CALLS_MAX || number == last {
                return (self.client(lane), place);
            }
        }
        unreachable!("the last lane takes every call");
    }

    fn client<'a>(&'a self, lane: &'a Lane) -> &'a HttpClient {
        lane.client.get_or_init(|| {
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_CONNECTION_TIMEOUT)
                .http2_keep_alive_interval(H2_PING_INTERVAL)
                .http2_keep_alive_timeout(H2_PING_TIMEOUT)
                .http2_initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
                // Room for all: a client that does not read must not hold its neighbours' answers back.
                .http2_initial_connection_window_size(H2_STREAM_WINDOW_BYTES * H2_CALLS_MAX as u32)
                .build(self.connector.clone())
        })
    }
}

/// A client for messages of ours to whoever is not a provider, with the same certificates.
pub fn plain_client(connect_timeout: Duration) -> Client<HttpsConnector<HttpConnector>, Full<Bytes>> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(connect_timeout));
    let https = HttpsConnectorBuilder::new().with_tls_config(tls_config(true)).https_or_http();
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_CONNECTION_TIMEOUT)
        .build(https.enable_http1().wrap_connector(tcp))
}

impl Place {
    /// The same, counted in `calls` too.
    pub fn and_in(mut self, calls: &Arc<AtomicUsize>) -> Self {
        calls.fetch_add(1, Ordering::Relaxed);
        self.0[1] = Some(Arc::clone(calls));
        self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for calls in self.0.iter().flatten() {
            calls.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Whether the provider says that it has not looked at the call: then it bills nothing, whatever has been sent.
/// <https://www.rfc-editor.org/rfc/rfc9113#section-8.7>
pub fn was_refused(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        }
        next = error.source();
    }
    false
}

/// What is wrong with the head of an answer, if that is what failed: then something has answered.
pub fn broken_head(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<hyper::Error>().filter(|error| error.is_parse()) {
            return Some(if error.is_parse_too_large() { "its head is too large" } else { "its head is not HTTP" });
        }
        next = error.source();
    }
    None
}

/// The system's certificates, or Mozilla's where the system has none (minimal containers).
fn tls_config(wanted: bool) -> rustls::ClientConfig {
    use hyper_rustls::ConfigBuilderExt;
    let builder = || {
        let provider = rustls::crypto::ring::default_provider();
        rustls::ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .expect("ring supports the default versions of TLS")
    };
    if !wanted {
        return builder().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    }
    match builder().with_native_roots() {
        Ok(config) => config.with_no_client_auth(),
        Err(_) => builder().with_webpki_roots().with_no_client_auth(),
    }
}

/// Why no connection came up, in a closed vocabulary: never the error's own text, which names addresses.
pub fn why(error: &(dyn std::error::Error + 'static)) -> &'static str {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.to_string() == "dns error" {
            return "its name was not found";
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            // Connectors wrap one within another, and `source` leaves out what is wrapped.
            let mut inner: Option<&(dyn std::error::Error + Send + Sync + 'static)> = error.get_ref();
            while let Some(wrapped) = inner {
                if let Some(tls) = wrapped.downcast_ref::<rustls::Error>() {
                    return why_not_tls(tls);
                }
                inner = wrapped.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            }
            match error.kind() {
                io::ErrorKind::TimedOut => return "connecting took too long",
                io::ErrorKind::ConnectionRefused => return "the connection was refused",
                io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => return "the connection was closed",
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => return "there is no way to it",
                _ => {}
            }
        }
        next = error.source();
    }
    "no connection came up"
}

fn why_not_tls(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidCertificate(_) => "TLS: its certificate is not trusted",
        rustls::Error::InvalidMessage(_) => "TLS: it does not speak TLS",
        _ => "TLS: no agreement",
    }
}

/// A connector that gives up after `timeout`, or at once where there is no place for a connection.
#[derive(Clone)]
pub struct Timed<C> {
    inner: C,
    timeout: Duration,
    places: Places,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl<C> Service<Uri> for Timed<C>
where
    C: Service<Uri>,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
{
    type Response = Placed<C::Response>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Placed<C::Response>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        // One that is not polled has opened nothing yet.
        let connecting = self.inner.call(target);
        let (place, timeout) = (self.places.take(), self.timeout);
        Box::pin(async move {
            let place = place?;
            match tokio::time::timeout(timeout, connecting).await {
                Ok(connected) => connected.map(|stream| Placed::new(stream, place)).map_err(Into::into),
                Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "connecting took too long").into()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_take_the_first_lane_with_room() {
        let lanes = Lanes::new(Duration::from_secs(1), true, Places::new(1));
        let lane = |client: &HttpClient| {
            lanes.lanes.iter().position(|lane| lane.client.get().is_some_and(|known| std::ptr::eq(known, client)))
        };
        let mut places: Vec<_> = (0..H2_CALLS_MAX).map(|_| lanes.pick()).collect();
        assert!(places.iter().all(|(client, _)| lane(client) == Some(0)));
        let (client, next) = lanes.pick();
        assert_eq!(lane(client), Some(1));
        places.pop();
        assert_eq!(lane(lanes.pick().0), Some(0));
        drop((places, next));
        assert!(lanes.lanes.iter().all(|lane| lane.calls.load(Ordering::Relaxed) == 0));
    }

    #[test]
    fn the_reason_is_a_word_of_ours() {
        let io = |kind| io::Error::new(kind, "10.1.2.3:443");
        assert_eq!(why(&io(io::ErrorKind::ConnectionRefused)), "the connection was refused");
        assert_eq!(why(&io(io::ErrorKind::TimedOut)), "connecting took too long");
        let tls = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        assert_eq!(why(&io::Error::new(io::ErrorKind::InvalidData, tls)), "TLS: its certificate is not trusted");
        assert_eq!(why(&io(io::ErrorKind::Other)), "no connection came up");
    }
}
