//! Who may come in: virtual keys by their hash, and on loopback without keys the checks that keep web pages out.

use std::collections::HashMap;
use std::sync::Arc;

use http::header::{AUTHORIZATION, ORIGIN};
use http::{HeaderMap, HeaderValue, Uri};
use sha2::{Digest, Sha256};

use crate::config::{Config, Key, ServerConfig};
use crate::wire::errors::{ApiError, Code};

/// The keys that are valid now, by SHA-256 of their bytes.
#[derive(Default)]
pub struct KeyRing {
    by_hash: HashMap<[u8; 32], Arc<Key>>,
}

impl KeyRing {
    /// A ring of these keys.
    pub fn new(keys: &[Key]) -> Self {
        Self { by_hash: keys.iter().map(|key| (key.sha256, Arc::new(key.clone()))).collect() }
    }

    /// How many keys are on it.
    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// Whether there is none: then the door is open to this machine.
    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    fn find(&self, secret: &[u8]) -> Option<&Arc<Key>> {
        // Looked up by a digest that the caller cannot steer: how long it takes says nothing about other keys.
        self.by_hash.get(&<[u8; 32]>::from(Sha256::digest(secret)))
    }
}

/// The key of a request to `host`; `None` on loopback without keys.
///
/// # Errors
///
/// 401 `invalid_api_key`; without keys 403 `not_granted` for a foreign `Host` or `Origin`.
pub fn authenticate(
    ring: &KeyRing,
    host: &str,
    headers: &HeaderMap,
    config: &Config,
) -> Result<Option<Arc<Key>>, ApiError> {
    if ring.is_empty() {
        return from_this_machine(host, headers, &config.server).map(|()| None);
    }
    let secret = credential(headers).ok_or_else(|| {
        ApiError::new(Code::InvalidApiKey, "no API key was given; wanted `Authorization: Bearer …` or `x-api-key: …`")
    })?;
    let key = ring.find(secret).ok_or_else(|| ApiError::new(Code::InvalidApiKey, "this API key is not known here"))?;
    Ok(Some(Arc::clone(key)))
}

fn credential(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).and_then(|value| {
        let (scheme, secret) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then(|| secret.trim_ascii())
    });
    bearer
        .or_else(|| headers.get("x-api-key").map(|value| value.as_bytes().trim_ascii()))
        .filter(|secret| !secret.is_empty())
}

/// Loopback is not trust: a web page must not reach the gateway under a name of its own or from its own origin.
fn from_this_machine(host: &str, headers: &HeaderMap, server: &ServerConfig) -> Result<(), ApiError> {
    let hosts = &server.hosts;
    if !is_local(host_name(host), hosts) {
        let message = "this `Host` is not accepted without keys; add it to `server.hosts` if it is yours";
        return Err(ApiError::new(Code::NotGranted, message));
    }
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    if server.cors.as_ref().is_some_and(|cors| cors.admits(origin)) {
        return Ok(());
    }
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    if origin.as_ref().and_then(Uri::host).is_some_and(|origin| is_local(origin, hosts)) {
        return Ok(());
    }
    Err(ApiError::new(Code::NotGranted, "requests from other web origins are not accepted"))
}

/// Whether a `Host` header names this machine by a loopback name or address.
pub fn is_this_machine(host: &str) -> bool {
    is_local(host_name(host), &[])
}

fn host_name(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split(':').next().unwrap_or_default(),
    }
}

fn is_local(name: &str, hosts: &[String]) -> bool {
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
        || hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[track_caller]
    fn check_local(pairs: &[(&'static str, &'static str)], accepted: bool) {
        let text = "server: { hosts: [gw.internal], cors: { origins: [\"https://app.example\"] } }\n\
                    providers: { sim: { protocol: openai, base_url: \"http://localhost/v1\", models: [\"*\"] } }";
        let config = crate::config::parse("farthing.yaml", text, std::path::Path::new(""), &|_| None).unwrap();
        let headers = headers(pairs);
        let host = headers.get("host").map_or("", |host| host.to_str().unwrap());
        assert_eq!(from_this_machine(host, &headers, &config.server).is_ok(), accepted, "{pairs:?}");
    }

    #[test]
    fn without_keys_only_this_machine_is_heard() {
        check_local(&[("host", "127.0.0.1:4100")], true);
        check_local(&[("host", "localhost")], true);
        check_local(&[("host", "[::1]:4100")], true);
        check_local(&[("host", "GW.internal:80")], true);
        check_local(&[], false);
        check_local(&[("host", "evil.example")], false);
        check_local(&[("host", "127.0.0.1.evil.example")], false);
        check_local(&[("host", "localhost"), ("origin", "https://evil.example")], false);
        check_local(&[("host", "localhost"), ("origin", "null")], false);
        check_local(&[("host", "localhost"), ("origin", "http://localhost:3000")], true);
        check_local(&[("host", "localhost"), ("origin", "https://app.example")], true);
        check_local(&[("host", "localhost"), ("origin", "https://app.example.evil.example")], false);
        check_local(&[("host", "app.example"), ("origin", "https://app.example")], false);
    }

    #[test]
    fn the_credential_comes_in_either_header() {
        assert_eq!(credential(&headers(&[("authorization", "bearer abc")])), Some(&b"abc"[..]));
        assert_eq!(credential(&headers(&[("x-api-key", "abc")])), Some(&b"abc"[..]));
        assert_eq!(credential(&headers(&[("authorization", "Basic abc")])), None);
        assert_eq!(credential(&headers(&[("authorization", "Bearer ")])), None);
    }
}
