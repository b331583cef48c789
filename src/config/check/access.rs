//! The ways into a provider: its address, from the row or from a preset's template, and the credential that it is shown.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_saphyr::Spanned;

use crate::dialect::Dialect;

use super::super::access::{Access, AuthStyle, Credential};
use super::super::findings::{Findings, quoted};
use super::super::presets::{PARTS, Preset};
use super::super::values;
use super::super::written::{self, Field};
use super::providers::{Surroundings, missing};

/// The row that a way in belongs to.
pub(super) struct Of<'a> {
    /// Its name, as it stands in the file.
    pub row: &'a Spanned<String>,
    /// What fills it.
    pub preset: Option<(&'static str, &'static Preset)>,
    /// What it speaks.
    pub dialect: Dialect,
}

/// What a row says of its address.
#[derive(Default)]
pub(super) struct Address {
    base_url: Field<String>,
    parts: [Field<String>; PARTS.len()],
}

impl Address {
    /// Takes it out of a row.
    pub(super) fn of(row: &mut written::Provider) -> Self {
        let take = std::mem::take::<Field<String>>;
        Self {
            base_url: take(&mut row.base_url),
            parts: [&mut row.region, &mut row.resource, &mut row.project, &mut row.location].map(take),
        }
    }
}

/// The one way in of a row that names a single key, or none.
pub(super) fn check(
    findings: &mut Findings,
    of: &Of<'_>,
    (address, key, auth): (Address, Field<String>, Field<String>),
    surroundings: &Surroundings<'_>,
) -> Option<Access> {
    let base_url = base_url(findings, of, address, surroundings.own);
    let credential = credential(findings, of, key, auth, surroundings);
    let (credential, from) = credential?;
    Some(Access { base_url: base_url?, credential, from, weight: 1 })
}

/// Who calls, and where that is said.
fn credential(
    findings: &mut Findings,
    of: &Of<'_>,
    key: Field<String>,
    auth: Field<String>,
    surroundings: &Surroundings<'_>,
) -> Option<(Credential, Option<String>)> {
    let usual = match (of.preset, of.dialect) {
        (Some((_, preset)), _) => preset.auth(),
        (None, Dialect::Messages) => AuthStyle::XApiKey,
        (None, _) => AuthStyle::Bearer,
    };
    let style = findings.value("auth", auth, |text| values::word(&AuthStyle::WORDS, text)).unwrap_or(usual);
    let is_given = key.0.is_some();
    let from = match findings.given("key", key) {
        Some(written) => written,
        None if is_given => return None,
        None => match of.preset.and_then(|(_, preset)| preset.key_env.as_deref()) {
            Some(variable) if (surroundings.references.env)(variable).is_some() => {
                Spanned { value: format!("env:{variable}"), referenced: of.row.referenced, defined: of.row.defined }
            }
            Some(variable) => {
                let wanted = format!("`key: env:NAME`, or the environment variable `{variable}`");
                missing(findings, of.row, "key", &wanted);
                return None;
            }
            None => return Some((Credential::None, None)),
        },
    };
    match surroundings.references.resolve("key", &from.value) {
        Ok(secret) => Some((Credential::of(secret, style), Some(from.value))),
        Err(message) => {
            findings.at(from.referenced, message);
            None
        }
    }
}

/// Where the row's paths begin: as it says itself, or by its preset.
fn base_url(findings: &mut Findings, of: &Of<'_>, address: Address, own: [SocketAddr; 2]) -> Option<http::Uri> {
    let parts = parts(findings, of, address.parts)?;
    let is_given = address.base_url.0.is_some();
    let written = match (findings.given("base_url", address.base_url), of.preset) {
        (Some(written), _) => written,
        (None, Some((_, preset))) if !is_given => {
            let part = |name: &str| {
                let at = PARTS.iter().position(|known| *known == name)?;
                parts[at].as_deref()
            };
            match preset.base_url(part) {
                Ok(url) => Spanned { value: url, referenced: of.row.referenced, defined: of.row.defined },
                Err(lacking) => {
                    for part in lacking {
                        let wanted = format!("it for `{}`", preset.template(None));
                        missing(findings, of.row, part, &wanted);
                    }
                    return None;
                }
            }
        }
        (None, _) => {
            if !is_given {
                missing(findings, of.row, "base_url", "one, such as `base_url: https://api.openai.com/v1`");
            }
            return None;
        }
    };
    // Credentials and query strings may be secret, so that these two messages do not quote the URL.
    if written.value.contains('@') {
        let message = "`base_url` holds credentials; wanted a URL without them, and the secret as `key: env:NAME`";
        findings.at(written.referenced, message);
        return None;
    }
    if written.value.contains(['?', '#']) {
        findings.at(written.referenced, "`base_url` holds a query or fragment; wanted a URL without");
        return None;
    }
    let url = findings.parsed("`base_url`", &written, values::base_url)?;
    if own.into_iter().any(|own| leads_to(&url, own)) {
        let message = format!("`base_url` is `{url}`, where Farthing itself listens; wanted the provider's address");
        findings.at(written.referenced, message);
    }
    Some(url)
}

/// The parts that a row gives for its preset's base URL; nothing if one of them is wrong.
fn parts(
    findings: &mut Findings,
    of: &Of<'_>,
    fields: [Field<String>; PARTS.len()],
) -> Option<[Option<String>; PARTS.len()]> {
    let mut parts = [const { None }; PARTS.len()];
    let mut are_good = true;
    for ((name, field), part) in PARTS.into_iter().zip(fields).zip(&mut parts) {
        let is_given = field.0.is_some();
        let Some(written) = findings.given(name, field) else {
            are_good &= !is_given;
            continue;
        };
        if !of.preset.is_some_and(|(_, preset)| preset.has(name)) {
            let whose = match of.preset {
                Some((preset, _)) => format!("the preset `{preset}` has no `{{{name}}}` in its URL"),
                None => format!("provider `{}` has no preset", quoted(&of.row.value)),
            };
            findings.at(written.referenced, format!("`{name}` is of no use here: {whose}; wanted the row without it"));
            are_good = false;
            continue;
        }
        *part = findings.parsed(&format!("`{name}`"), &written, values::url_part);
        are_good &= part.is_some();
    }
    are_good.then_some(parts)
}

/// Whether a URL leads back to a listener, as far as that can be told without a name server.
fn leads_to(url: &http::Uri, listener: SocketAddr) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let ip = if host == "localhost" { Some(IpAddr::V4(Ipv4Addr::LOCALHOST)) } else { host.parse().ok() };
    let usual_port = if url.scheme_str() == Some("https") { 443 } else { 80 };
    let same_host = |ip: IpAddr| ip == listener.ip() || (listener.ip().is_unspecified() && ip.is_loopback());
    listener.port() == url.port_u16().unwrap_or(usual_port) && ip.is_some_and(same_host)
}
