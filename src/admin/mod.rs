//! The door for operators: `/metrics`, `/healthz`, `/readyz`, and the admin API in `api`.

mod api;
mod changes;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::config::{Config, Secret};
use crate::gateway::hold;
use crate::meter::accounts::Accounts;
use crate::server::{Admission, Server};

pub use changes::Changing;

/// Everything behind the operators' door.
pub struct Admin {
    /// What is shown.
    pub accounts: Arc<Accounts>,
    /// Whose budgets are shown.
    pub config: Arc<Config>,
    /// What is in flight, and whether the process drains.
    pub admission: Arc<Admission>,
    /// Whose keys are changed.
    pub server: Arc<Server>,
    /// Changes of keys.
    pub changing: Changing,
    /// The key that opens it; without one it is open on loopback, which is the only place it may then listen.
    pub key: Option<Secret>,
    /// Whether it listens on loopback, where `/metrics` is open even with a key.
    pub on_loopback: bool,
}

impl Admin {
    /// Answers one request.
    pub async fn serve(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
        if request.uri().path().starts_with("/admin/api/") {
            return Ok(api::serve(self, request).await);
        }
        Ok(match request.uri().path() {
            "/healthz" if is_get => text(StatusCode::OK, "ok\n"),
            "/readyz" if is_get && self.admission.is_draining() => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            "/readyz" if is_get && !self.accounts.ledger.healthy() => {
                text(StatusCode::SERVICE_UNAVAILABLE, "the ledger cannot write\n")
            }
            "/readyz" if is_get => text(StatusCode::OK, "ready\n"),
            "/metrics" if !self.may_read(&request) => {
                text(StatusCode::UNAUTHORIZED, "wanted `Authorization: Bearer <admin key>`\n")
            }
            "/metrics" if is_get => self.metrics(),
            "/healthz" | "/readyz" | "/metrics" => text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n"),
            _ => text(StatusCode::NOT_FOUND, "nothing is served at this path\n"),
        })
    }

    fn may_read(&self, request: &Request<Incoming>) -> bool {
        // A name that does not say this machine may be a web page that rebound its own.
        let Ok(host) = crate::server::host(request) else { return false };
        if self.on_loopback && crate::server::is_this_machine(host) {
            return true;
        }
        self.key.as_ref().is_some_and(|key| shows(request, key))
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        self.accounts.refresh_gauges();
        hold::refresh_gauges(&self.accounts, &self.server.gateway.payers());
        self.accounts.metrics.body_bytes.set(i64::try_from(self.admission.held_bytes()).unwrap_or(i64::MAX));
        self.accounts.metrics.in_flight.set(i64::try_from(self.admission.in_flight()).unwrap_or(i64::MAX));
        let mut response = Response::new(Full::new(self.accounts.metrics.render().into()));
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
        response
    }
}

/// Whether a request shows the admin key.
fn shows(request: &Request<Incoming>, key: &Secret) -> bool {
    let given = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let given = given.and_then(|value| value.strip_prefix(b"Bearer "));
    given.is_some_and(|given| same(given, key.reveal().as_bytes()))
}

/// Compares digests, so that the time it takes says nothing about where the texts differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    use sha2::{Digest, Sha256};
    Sha256::digest(a) == Sha256::digest(b)
}

fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
