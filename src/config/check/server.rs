//! `server:`: the two listeners, and who may reach them.

use std::net::SocketAddr;
use std::time::Duration;

use serde_saphyr::{Location, Spanned};

use super::super::findings::Findings;
use super::super::secrets::References;
use super::super::values;
use super::super::written::{self, Field};
use super::super::{Cors, Secret, ServerConfig, TlsFiles};
use super::file_path;

const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4100);
const ADMIN_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4101);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);
const CORS_MAX_AGE: Duration = Duration::from_secs(600);

pub(super) fn check(
    findings: &mut Findings,
    written: written::Server,
    keys_are_written: bool,
    references: References<'_>,
) -> ServerConfig {
    findings.not_built("pass_credentials", &written.pass_credentials);
    let (listen, listen_place) = listener(findings, "listen", written.listen, LISTEN);
    let (admin_listen, admin_place) = listener(findings, "admin_listen", written.admin_listen, ADMIN_LISTEN);
    let admin_key_is_written = written.admin_key.0.is_some();
    let admin_key = admin_key(findings, written.admin_key, references);
    if beyond_loopback(listen) && !keys_are_written {
        findings.at(
            listen_place,
            format!(
                "`listen` is `{listen}`, beyond loopback, and there are no `keys`; \
                 wanted at least one key, or a loopback address such as `{LISTEN}`"
            ),
        );
    }
    if beyond_loopback(admin_listen) && !admin_key_is_written {
        findings.at(
            admin_place,
            format!(
                "`admin_listen` is `{admin_listen}`, beyond loopback, and there is no `admin_key`; \
                 wanted one, such as `env:FARTHING_ADMIN_KEY`, or a loopback address such as `{ADMIN_LISTEN}`"
            ),
        );
    }
    if collide(listen, admin_listen) {
        let place = if admin_place == Location::UNKNOWN { listen_place } else { admin_place };
        let message = format!(
            "`admin_listen` is `{admin_listen}` and `listen` is `{listen}`; wanted two that differ in their port"
        );
        findings.at(place, message);
    }
    ServerConfig {
        listen,
        admin_listen,
        admin_key,
        hosts: findings.list("hosts", written.hosts, values::host).unwrap_or_default(),
        cost_comment: findings.value("cost_comment", written.cost_comment, values::switch).unwrap_or(true),
        drain_timeout: findings
            .value("drain_timeout", written.drain_timeout, values::duration)
            .unwrap_or(DRAIN_TIMEOUT),
        tls: tls(findings, written.tls, references),
        cors: cors(findings, written.cors, keys_are_written),
    }
}

fn tls(findings: &mut Findings, field: Field<written::Tls>, references: References<'_>) -> Option<TlsFiles> {
    let Spanned { value: written, referenced: place, .. } = findings.given("tls", field)?;
    let path = |path: &str| file_path(path, references);
    let both_are_written = written.cert.0.is_some() && written.key.0.is_some();
    let cert = findings.value("cert", written.cert, path);
    let key = findings.value("key", written.key, path);
    let client_ca = findings.value("client_ca", written.client_ca, path);
    if !both_are_written {
        findings.at(place, "`tls` lacks one of its files; wanted `cert` and `key`, both in PEM");
    }
    Some(TlsFiles { cert: cert?, key: key?, client_ca })
}

fn cors(findings: &mut Findings, field: Field<written::Cors>, keys_are_written: bool) -> Option<Cors> {
    let Spanned { value: written, referenced: place, .. } = findings.given("cors", field)?;
    let origins_are_written = written.origins.0.is_some();
    let origins = findings.list("origins", written.origins, values::origin).unwrap_or_default();
    let max_age = findings.value("max_age", written.max_age, values::duration).unwrap_or(CORS_MAX_AGE);
    if origins.is_empty() && !origins_are_written {
        findings
            .at(place, "`cors` lets nobody in; wanted `origins`, such as `[\"https://app.example\"]`, or no `cors`");
    }
    if origins.iter().any(|origin| origin == "*") && !keys_are_written {
        let message = "`origins` is `*` and there are no `keys`, so that any web page could spend; \
                       wanted the origins by name, or at least one key";
        findings.at(place, message);
    }
    Some(Cors { origins, max_age })
}

fn listener(findings: &mut Findings, key: &str, field: Field<String>, default: SocketAddr) -> (SocketAddr, Location) {
    let place = field.0.as_ref().map_or(Location::UNKNOWN, |value| value.referenced);
    (findings.value(key, field, values::address).unwrap_or(default), place)
}

fn admin_key(findings: &mut Findings, field: Field<String>, references: References<'_>) -> Option<Secret> {
    let written = findings.given("admin_key", field)?;
    references.resolve("admin_key", &written.value).map_err(|message| findings.at(written.referenced, message)).ok()
}

/// Whether others than this machine can connect.
fn beyond_loopback(address: SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
}

/// Whether the second of two listeners would find its place taken.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let covers =
        |a: SocketAddr, b: SocketAddr| a.ip().is_unspecified() || a.ip().to_canonical() == b.ip().to_canonical();
    one.port() != 0 && one.port() == other.port() && (covers(one, other) || covers(other, one))
}
