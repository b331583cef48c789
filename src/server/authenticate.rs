//! Who may come in: virtual keys by their hash, and on loopback without keys the checks that keep web pages out.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use http::header::{AUTHORIZATION, ORIGIN};
use http::{HeaderMap, HeaderValue, Uri};
use sha2::{Digest, Sha256};

use crate::config::{Config, Key, ServerConfig, Team};
use crate::ids::{KeyId, TeamId};
use crate::keys::StoredKey;
use crate::telemetry::log::now_ms;
use crate::wire::errors::{ApiError, Code};

/// The keys that are known now, by SHA-256 of their secrets: those of the configuration, and those of the key store.
#[derive(Clone, Default)]
pub struct KeyRing {
    by_hash: HashMap<[u8; 32], Entry>,
    is_closed: bool,
}

/// What a secret leads to.
#[derive(Clone)]
enum Entry {
    /// The key that it opens the door with.
    Key {
        key: Arc<Key>,
        /// When that ends, in milliseconds since the Unix epoch.
        until_ms: Option<i64>,
    },
    /// Nowhere, and why; for the log.
    Out(String),
}

impl KeyRing {
    /// A ring of both kinds of keys, and what of the stored ones has no place on it: a name or a secret that the
    /// configuration gives to a key of its own, or a team that it does not declare.
    pub fn of(written: &[Key], stored: &[StoredKey], teams: &[Team]) -> (Self, Vec<String>) {
        let (mut by_hash, mut problems) = (HashMap::new(), Vec::new());
        for stored in stored {
            let name = &stored.asked.name;
            let out = match fit(stored, written, teams) {
                Ok(_) if stored.revoked_ms.is_some() => Err(format!("revoked: `{name}`")),
                Ok(key) => Ok(key),
                Err(why) => {
                    problems.push(format!("stored key `{name}` is not in force: {why}"));
                    Err(format!("not in force: `{name}`"))
                }
            };
            for secret in &stored.secrets {
                let entry = match &out {
                    Err(why) => Entry::Out(why.clone()),
                    Ok(key) => {
                        let ends = [secret.until_ms, stored.asked.expires_ms];
                        Entry::Key { key: Arc::clone(key), until_ms: ends.into_iter().flatten().min() }
                    }
                };
                by_hash.insert(secret.sha256, entry);
            }
        }
        // Behind the others: what the file says holds.
        by_hash
            .extend(written.iter().map(|key| (key.sha256, Entry::Key { key: Arc::new(key.clone()), until_ms: None })));
        (Self { is_closed: !by_hash.is_empty(), by_hash }, problems)
    }

    /// Whether a key is wanted of everybody. A ring that ever had a key stays closed: that all of them were revoked, or
    /// have expired, opens no door.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Keeps a door closed that was: also a file that lost its keys opens none.
    pub(super) fn stays_closed(&mut self, before: &Self) {
        self.is_closed |= before.is_closed;
    }

    /// The keys on it, each once.
    pub fn keys(&self) -> Vec<&Key> {
        let mut told = HashSet::new();
        let keys = self.by_hash.values().filter_map(|entry| match entry {
            Entry::Key { key, .. } => Some(&**key),
            Entry::Out(_) => None,
        });
        keys.filter(|key| told.insert(&key.id)).collect()
    }

    /// Takes keys off it until what they spent is known. Those that were on the one before stay as they were.
    pub(super) fn withhold(&mut self, keys: &[Key], before: &Self) {
        if keys.is_empty() {
            return;
        }
        let was = |id: &KeyId| {
            before.by_hash.values().find_map(|entry| match entry {
                Entry::Key { key, .. } if key.id == *id => Some(Arc::clone(key)),
                _ => None,
            })
        };
        let old: HashMap<&KeyId, Option<Arc<Key>>> = keys.iter().map(|key| (&key.id, was(&key.id))).collect();
        for entry in self.by_hash.values_mut() {
            let Entry::Key { key, .. } = entry else { continue };
            match old.get(&key.id) {
                None => {}
                Some(Some(old)) => *key = Arc::clone(old),
                Some(None) => *entry = Entry::Out(format!("what it has spent is not known yet: `{}`", key.id)),
            }
        }
    }

    /// The key of a secret, or why there is none.
    fn find(&self, secret: &[u8], now_ms: impl FnOnce() -> i64) -> Result<&Arc<Key>, String> {
        // Looked up by a digest that the caller cannot steer: how long it takes says nothing about other keys.
        match self.by_hash.get(&<[u8; 32]>::from(Sha256::digest(secret))) {
            None => Err("unknown".to_owned()),
            Some(Entry::Out(why)) => Err(why.clone()),
            Some(Entry::Key { key, until_ms: None }) => Ok(key),
            Some(Entry::Key { key, until_ms: Some(end) }) if *end > now_ms() => Ok(key),
            Some(Entry::Key { key, .. }) => Err(format!("expired: `{}`", key.id)),
        }
    }
}

/// A stored key as the door takes it, if it goes with the configuration.
fn fit(stored: &StoredKey, written: &[Key], teams: &[Team]) -> Result<Arc<Key>, String> {
    let key = stored.at_the_door()?;
    if written.iter().any(|written| written.id == key.id) {
        return Err("the configuration file has a key of that name, which holds".to_owned());
    }
    if written.iter().any(|written| stored.secrets.iter().any(|secret| secret.sha256 == written.sha256)) {
        return Err("the configuration file has a key with its secret, which holds".to_owned());
    }
    // What its team may not do would not hold.
    let undeclared = |team: &&TeamId| !teams.is_empty() && !teams.iter().any(|declared| declared.id == **team);
    match std::iter::once(&key.team).chain(&key.may.teams).find(undeclared) {
        Some(team) => Err(format!("team `{team}` does not stand under `teams` of the configuration")),
        None => Ok(Arc::new(key)),
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
    if !ring.is_closed() {
        return from_this_machine(host, headers, &config.server).map(|()| None);
    }
    let secret = credential(headers).ok_or_else(|| {
        ApiError::new(Code::InvalidApiKey, "no API key was given; wanted `Authorization: Bearer …` or `x-api-key: …`")
    })?;
    // Whether a key was one once is nobody's business but the log's.
    let unknown = |why: String| ApiError::new(Code::InvalidApiKey, "this API key is not known here").aside(&why);
    ring.find(secret, now_ms).map(|key| Some(Arc::clone(key))).map_err(unknown)
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
