//! Connections to providers: TCP and TLS, pooled, with one bound on the whole of connecting.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower_service::Service;

use super::body::OutBody;

/// How long an unused connection is kept; most providers keep theirs a minute or longer.
const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(50);

/// A pooled client of one provider row.
pub type HttpClient = Client<Timed<HttpsConnector<HttpConnector>>, OutBody>;

/// A client whose connections, TLS included, are up within `connect_timeout`.
pub fn client(connect_timeout: Duration, tls: bool) -> HttpClient {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(connect_timeout));
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls_config(tls))
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_CONNECTION_TIMEOUT)
        .build(Timed { inner: https, timeout: connect_timeout })
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
            if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                return why_not_tls(tls);
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

/// A connector that gives up after `timeout`.
#[derive(Clone)]
pub struct Timed<C> {
    inner: C,
    timeout: Duration,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl<C> Service<Uri> for Timed<C>
where
    C: Service<Uri>,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let connecting = self.inner.call(target);
        let timeout = self.timeout;
        Box::pin(async move {
            match tokio::time::timeout(timeout, connecting).await {
                Ok(connected) => connected.map_err(Into::into),
                Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "connecting took too long").into()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
