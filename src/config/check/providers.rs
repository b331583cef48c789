//! `providers:`: the rows, in file order, and the models that tiers name at them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::{HeaderName, HeaderValue};
use serde_saphyr::Spanned;

use crate::dialect::Dialect;
use crate::problem::nearest_hint;

use super::super::findings::{Findings, quoted};
use super::super::models;
use super::super::secrets::References;
use super::super::values;
use super::super::written::{self, Field};
use super::super::{Dispatch, Metering, ModelRef, ProviderConfig};
use super::Rows;
use super::dispatch;

/// Headers that Farthing or the connection sets itself.
const RESERVED_HEADERS: [&str; 9] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "host",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// What the rest of the file says that matters to a row.
pub(super) struct Surroundings<'a> {
    /// What a row's own `dispatch` overrides.
    pub dispatch: Dispatch,
    /// Where references lead.
    pub references: References<'a>,
    /// Farthing's own listeners, which no row may lead back to.
    pub own: [SocketAddr; 2],
}

pub(super) fn check(
    findings: &mut Findings,
    written: Option<written::Rows<written::Provider>>,
    surroundings: &Surroundings<'_>,
) -> Rows {
    let written = written.map(|rows| rows.0).unwrap_or_default();
    if written.is_empty() {
        findings.overall(
            "there is no provider; wanted at least one row, such as `providers: { openai: { protocol: openai, \
             base_url: https://api.openai.com/v1, key: env:OPENAI_API_KEY, models: [\"gpt-*\"] } }`",
        );
    }
    let mut rows = Rows { good: Vec::new(), names: written.iter().map(|(name, _)| name.value.clone()).collect() };
    for (name, row) in written {
        rows.good.extend(provider(findings, name, row.unwrap_or_default(), surroundings));
    }
    rows
}

/// One row; nothing if it lacks what no stand-in can replace.
fn provider(
    findings: &mut Findings,
    name: Spanned<String>,
    row: written::Provider,
    surroundings: &Surroundings<'_>,
) -> Option<ProviderConfig> {
    let id = findings.parsed("the name of a provider row", &name, values::provider_name);
    let dialect = protocol(findings, &name, row.protocol);
    let base_url = base_url(findings, &name, row.base_url, surroundings.own);
    let key = secret(findings, "key", row.key, surroundings.references);
    let models = patterns(findings, &name, row.models);
    let discount_ppm = findings.value("discount", row.discount, values::percent).unwrap_or(0);
    let metering = |text: &str| values::word(&[("inject", Metering::Inject), ("observe", Metering::Observe)], text);
    let metering = findings.value("metering", row.metering, metering).unwrap_or(Metering::Inject);
    let vendor = findings.value("vendor", row.vendor, values::provider_name);
    let dispatch = dispatch::check(findings, row.dispatch.unwrap_or_default(), surroundings.dispatch);
    let headers = headers(findings, row.headers, surroundings.references);
    let id = id?;
    Some(ProviderConfig {
        vendor: vendor.as_ref().unwrap_or(&id).as_str().to_owned(),
        dialect,
        base_url: base_url?,
        key,
        models: models?,
        discount_ppm,
        metering,
        dispatch,
        headers,
        id,
    })
}

/// What a row's protocol makes it speak; that of most where there is none, or none that is known.
fn protocol(findings: &mut Findings, row: &Spanned<String>, field: Field<String>) -> Dialect {
    if field.0.is_none() {
        missing(findings, row, "protocol", "`protocol: openai`");
    }
    let known = [("openai", Dialect::Chat), ("anthropic", Dialect::Messages)];
    let speaks = |text: &str| {
        let hint = || nearest_hint(text, known.map(|(word, _)| word));
        values::word(&known, text).map_err(|wanted| format!("{wanted}{}", hint()))
    };
    findings.value("protocol", field, speaks).unwrap_or_default()
}

fn missing(findings: &mut Findings, row: &Spanned<String>, key: &str, wanted: &str) {
    findings.at(row.referenced, format!("provider `{}` has no `{key}`; wanted {wanted}", quoted(&row.value)));
}

fn base_url(
    findings: &mut Findings,
    row: &Spanned<String>,
    field: Field<String>,
    own: [SocketAddr; 2],
) -> Option<http::Uri> {
    if field.0.is_none() {
        missing(findings, row, "base_url", "one, such as `base_url: https://api.openai.com/v1`");
    }
    let written = findings.given("base_url", field)?;
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

/// Whether a URL leads back to a listener, as far as that can be told without a name server.
fn leads_to(url: &http::Uri, listener: SocketAddr) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let ip = if host == "localhost" { Some(IpAddr::V4(Ipv4Addr::LOCALHOST)) } else { host.parse().ok() };
    let usual_port = if url.scheme_str() == Some("https") { 443 } else { 80 };
    let same_host = |ip: IpAddr| ip == listener.ip() || (listener.ip().is_unspecified() && ip.is_loopback());
    listener.port() == url.port_u16().unwrap_or(usual_port) && ip.is_some_and(same_host)
}

fn secret(
    findings: &mut Findings,
    key: &str,
    field: Field<String>,
    references: References<'_>,
) -> Option<super::super::Secret> {
    let written = findings.given(key, field)?;
    references.resolve(key, &written.value).map_err(|message| findings.at(written.referenced, message)).ok()
}

fn patterns(
    findings: &mut Findings,
    row: &Spanned<String>,
    field: Field<written::Texts>,
) -> Option<Vec<globset::GlobMatcher>> {
    const WANTED: &str = "patterns such as `models: [\"gpt-*\"]`, or `models: [\"*\"]` for every name";
    match &field.0 {
        None => missing(findings, row, "models", WANTED),
        Some(list) if list.value.as_ref().is_some_and(Vec::is_empty) => {
            findings.at(list.referenced, format!("`models` of provider `{}` is empty; wanted {WANTED}", row.value));
        }
        Some(_) => {}
    }
    findings.list("models", field, values::pattern)
}

fn headers(
    findings: &mut Findings,
    written: Option<written::Rows<Spanned<String>>>,
    references: References<'_>,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    for (name, value) in written.map(|rows| rows.0).unwrap_or_default() {
        let Some(value) = value else {
            findings.at(name.referenced, format!("header `{}` has no value; wanted one", quoted(&name.value)));
            continue;
        };
        match header(&name.value, &value.value, references) {
            Ok(header) if headers.iter().any(|(known, _)| *known == header.0) => {
                findings.at(name.referenced, format!("header `{}` occurs twice; wanted it once", header.0));
            }
            Ok(header) => headers.push(header),
            Err(message) => findings.at(value.referenced, message),
        }
    }
    headers
}

fn header(name: &str, value: &str, references: References<'_>) -> Result<(HeaderName, HeaderValue), String> {
    let wanted = "wanted a header name such as `x-tenant`";
    let header: HeaderName = name.parse().map_err(|_| format!("`{}` is no header name; {wanted}", quoted(name)))?;
    if header == http::header::AUTHORIZATION {
        return Err("`authorization` is not set here; wanted the secret as the row's `key`".to_owned());
    }
    if RESERVED_HEADERS.contains(&header.as_str()) || header.as_str().starts_with("x-farthing-") {
        return Err(format!("header `{header}` is set by Farthing itself; wanted another one"));
    }
    let sensitive =
        ["key", "token", "secret", "auth", "cookie", "password"].iter().any(|word| header.as_str().contains(word));
    let reference = value.starts_with("env:") || value.starts_with("file:");
    let mut content = if sensitive || reference {
        HeaderValue::from_str(references.resolve(header.as_str(), value)?.reveal())
    } else {
        HeaderValue::from_str(value)
    }
    .map_err(|_| format!("the value of header `{header}` cannot travel in a header; wanted printable ASCII"))?;
    content.set_sensitive(sensitive || reference);
    Ok((header, content))
}

impl Rows {
    /// The model that a tier names: `provider/model`, or a bare name, which is the first row that serves it.
    ///
    /// Nothing if the name leads to a row with findings of its own.
    ///
    /// # Errors
    ///
    /// What is wrong with the name.
    pub(super) fn model(&self, asked: &str) -> Result<Option<ModelRef>, String> {
        if let Some(target) = models::resolve(&self.good, asked).next() {
            return values::model(target.model)
                .map(|model| Some(ModelRef { provider: target.provider.id.clone(), model }))
                .map_err(|wanted| format!("`{asked}` names no model; wanted {wanted}"));
        }
        let Some((first, rest)) = asked.split_once('/') else {
            return self.unless_rows_are_bad(format!(
                "no provider's `models` match `{asked}`; wanted `provider/model` or a name that a row serves"
            ));
        };
        let names = self.names.iter().map(String::as_str);
        if self.good.iter().any(|row| row.id.as_str() == first) {
            return Err(format!(
                "`models` of provider `{first}` do not match `{rest}`; wanted a pattern there that does"
            ));
        }
        if names.clone().any(|name| name == first) {
            return Ok(None);
        }
        let known: Vec<_> = names.clone().map(|name| format!("`{name}`")).collect();
        let hint = nearest_hint(first, names);
        match known.is_empty() {
            true => Ok(None),
            false => Err(format!("`{asked}` is at no provider row; wanted one of {}{hint}", known.join(", "))),
        }
    }

    /// A name that seems unknown may belong to a row that was left out because of its findings.
    fn unless_rows_are_bad(&self, message: String) -> Result<Option<ModelRef>, String> {
        if self.good.len() == self.names.len() { Err(message) } else { Ok(None) }
    }
}
