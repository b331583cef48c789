//! Credentials that are made anew for a call: a signature over it, or a token that has to be had first.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use jiff::Timestamp;

use super::failure::Failure;
use super::google::Tokens;
use super::sigv4::{Signed, authorization, sha256};
use crate::config::{AwsKeys, Credential};

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// Larger bodies are hashed away from the threads that serve.
const HASHED_AT_ONCE_BYTES_MAX: usize = 256 << 10;

/// What shows who calls, call by call.
#[derive(Debug)]
pub enum Signer {
    /// A signature.
    Aws(AwsKeys),
    /// A token.
    Google(Arc<Tokens>),
}

impl Signer {
    /// That of a credential, if it needs one.
    pub fn of(credential: &Credential) -> Option<Self> {
        match credential {
            Credential::None | Credential::Bearer(_) | Credential::Header(..) => None,
            Credential::Aws(keys) => Some(Self::Aws(keys.clone())),
            Credential::Google(account) => Some(Self::Google(Tokens::of(account.clone()))),
        }
    }

    /// Shows in the headers of a request to `uri` who calls.
    ///
    /// # Errors
    ///
    /// There is no token to be had; nothing has left.
    pub async fn sign(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &mut HeaderMap,
        body: &[Bytes],
    ) -> Result<(), Failure> {
        match self {
            Self::Aws(keys) => {
                let time =
                    Timestamp::try_from(SystemTime::now()).unwrap_or_default().strftime("%Y%m%dT%H%M%SZ").to_string();
                let body_sha256 = hashed(body).await;
                sign(keys, (method, uri), headers, (&body_sha256, &time));
            }
            Self::Google(tokens) => {
                let header = tokens.header(Instant::now()).await;
                headers.insert(AUTHORIZATION, header.ok_or(Failure::Connect { why: "no access token is to be had" })?);
            }
        }
        Ok(())
    }

    /// The provider did not believe it.
    pub fn was_refused(&self) {
        if let Self::Google(tokens) = self {
            tokens.forget();
        }
    }

    /// Whether a text holds what was shown.
    pub fn is_in(&self, text: &[u8]) -> bool {
        match self {
            // Its keys are among the row's secrets, and a signature is of no use for anything else.
            Self::Aws(_) => false,
            Self::Google(tokens) => tokens.are_in(text),
        }
    }
}

async fn hashed(body: &[Bytes]) -> String {
    let hash = |body: &[Bytes]| sha256(body.iter().map(|piece| &piece[..]));
    if body.iter().map(Bytes::len).sum::<usize>() <= HASHED_AT_ONCE_BYTES_MAX {
        return hash(body);
    }
    let pieces = body.to_vec();
    tokio::task::spawn_blocking(move || hash(&pieces)).await.unwrap_or_default()
}

fn sign(keys: &AwsKeys, (method, uri): (&Method, &Uri), headers: &mut HeaderMap, (body_sha256, time): (&str, &str)) {
    let mut put = |name: HeaderName, value: &str| {
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(name != DATE);
            headers.insert(name, value);
        }
    };
    put(DATE, time);
    if let Some(token) = &keys.session_token {
        put(SECURITY_TOKEN, token.reveal());
    }
    let host = host(uri);
    let value = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let signed = [
        ("content-type", value(CONTENT_TYPE)),
        ("host", Some(host.as_str())),
        ("x-amz-date", value(DATE)),
        ("x-amz-security-token", value(SECURITY_TOKEN)),
    ];
    let signed: Vec<(&str, &str)> = signed.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    let authorization =
        authorization(keys, &Signed { method: method.as_str(), path, query, headers: &signed, body_sha256 }, time);
    if let Ok(mut value) = HeaderValue::try_from(authorization) {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
}

/// The host as the connection will name it: the usual port is left out.
fn host(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    match uri.port_u16().filter(|port| *port != usual) {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}
