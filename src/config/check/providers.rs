//! `providers:`: the rows, in file order, and the models that tiers name at them.

use std::net::SocketAddr;

use http::{HeaderName, HeaderValue};
use serde_saphyr::Spanned;

use crate::dialect::Dialect;
use crate::ids::ProviderId;
use crate::problem::nearest_hint;
use crate::translate::Caching;

use super::super::access::AfterCut;
use super::super::findings::{Findings, quoted};
use super::super::models;
use super::super::presets::{self, Preset};
use super::super::secrets::References;
use super::super::values;
use super::super::written::{self, Field};
use super::super::{Dispatch, Metering, ModelRef, ProviderConfig};
use super::access::{self, Of, Said};
use super::{Rows, dispatch};

/// The words of `metering`.
const METERING: [(&str, Metering); 3] =
    [("inject", Metering::Inject), ("observe", Metering::Observe), ("reported", Metering::Reported)];

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
    mut row: written::Provider,
    surroundings: &Surroundings<'_>,
) -> Option<ProviderConfig> {
    let id = findings.parsed("the name of a provider row", &name, values::provider_name);
    let preset = preset(findings, &name, &mut row);
    let known = preset.map(|(_, preset)| preset);
    let dialect = match known {
        Some(preset) => preset.dialect(),
        None => protocol(findings, &name, std::mem::take(&mut row.protocol)),
    };
    let of = Of { row: &name, preset, dialect };
    let accesses = access::check(findings, &of, Said::by(&mut row), surroundings);
    let models = patterns(findings, &name, row.models, known);
    let discount_ppm = findings.value("discount", row.discount, values::percent).unwrap_or(0);
    let metering = findings.value("metering", row.metering, |text| values::word(&METERING, text));
    let after_cut = findings.value("after_cut", row.after_cut, |text| values::word(&AfterCut::WORDS, text));
    let speaks = speaks(findings, row.speaks, dialect);
    let caching = |text: &str| {
        values::word(&[("off", Caching::AsMarked), ("auto", Caching::Automatic), ("1h", Caching::Hour)], text)
    };
    let caching = findings.value("cache_control", row.cache_control, caching);
    let vendor = findings.value("vendor", row.vendor, values::provider_name);
    let dispatch = dispatch::check(findings, row.dispatch.unwrap_or_default(), surroundings.dispatch);
    let headers = headers(findings, row.headers, surroundings.references);
    let id = id?;
    let usual_vendor = preset.map_or(id.as_str(), |(name, preset)| preset.vendor(name));
    Some(ProviderConfig {
        vendor: vendor.as_ref().map_or(usual_vendor, ProviderId::as_str).to_owned(),
        preset: preset.map(|(name, _)| name),
        dialect,
        speaks: speaks.or_else(|| Some(known?.speaks())).unwrap_or_else(|| spoken(dialect)),
        accesses: accesses?,
        models: models?,
        discount_ppm,
        metering: metering.or_else(|| Some(known?.metering())).unwrap_or(Metering::Inject),
        after_cut: after_cut.or_else(|| Some(known?.after_cut())).unwrap_or_default(),
        caching,
        dispatch,
        headers,
        id,
    })
}

/// What fills a row: the preset that it names, or else the one of its own name, unless it says its protocol itself.
fn preset(
    findings: &mut Findings,
    name: &Spanned<String>,
    row: &mut written::Provider,
) -> Option<(&'static str, &'static Preset)> {
    if row.preset.0.is_none() {
        return presets::named(&name.value).filter(|_| row.protocol.0.is_none());
    }
    let known = |text: &str| {
        let names = || presets::all().map(|(name, _)| name);
        let listed = || names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        presets::named(text).ok_or_else(|| format!("one of {}{}", listed(), nearest_hint(text, names())))
    };
    let preset = findings.value("preset", std::mem::take(&mut row.preset), known);
    if let Some(protocol) = row.protocol.0.take() {
        findings.at(protocol.referenced, "`protocol` is what the preset says; wanted one of the two");
    }
    // What else a row without a protocol lacks would only repeat this.
    preset.or_else(|| presets::named("openai"))
}

/// What a row's protocol makes it speak; that of most where there is none, or none that is known.
fn protocol(findings: &mut Findings, row: &Spanned<String>, field: Field<String>) -> Dialect {
    if field.0.is_none() {
        let hint = nearest_hint(&row.value, presets::all().map(|(name, _)| name));
        missing(findings, row, "protocol", &format!("`protocol: openai`, or the name of a preset{hint}"));
    }
    let known = [("openai", Dialect::Chat), ("anthropic", Dialect::Messages)];
    let speaks = |text: &str| {
        let hint = || nearest_hint(text, known.map(|(word, _)| word));
        values::word(&known, text).map_err(|wanted| format!("{wanted}{}", hint()))
    };
    findings.value("protocol", field, speaks).unwrap_or_default()
}

/// What most who speak a protocol speak. One that has no responses says so itself.
fn spoken(dialect: Dialect) -> Vec<Dialect> {
    match dialect {
        Dialect::Chat | Dialect::Responses => vec![Dialect::Chat, Dialect::Responses],
        Dialect::Messages => vec![Dialect::Messages],
    }
}

/// The dialects that a row says it speaks; that of its protocol must be among them.
fn speaks(findings: &mut Findings, field: Field<written::Texts>, dialect: Dialect) -> Option<Vec<Dialect>> {
    let place = field.0.as_ref()?.referenced;
    let known = |text: &str| presets::dialect(text).ok_or_else(|| "`chat`, `responses` or `messages`".to_owned());
    let speaks = findings.list("speaks", field, known)?;
    if !speaks.contains(&dialect) {
        let word = if dialect == Dialect::Messages { "messages" } else { "chat" };
        findings.at(place, format!("`speaks` lacks `{word}`, which is what the row's protocol is; wanted it too"));
    }
    Some(speaks)
}

pub(super) fn missing(findings: &mut Findings, row: &Spanned<String>, key: &str, wanted: &str) {
    findings.at(row.referenced, format!("provider `{}` has no `{key}`; wanted {wanted}", quoted(&row.value)));
}

fn patterns(
    findings: &mut Findings,
    row: &Spanned<String>,
    field: Field<written::Texts>,
    preset: Option<&Preset>,
) -> Option<Vec<globset::GlobMatcher>> {
    let usual = preset.filter(|preset| field.0.is_none() && !preset.models.is_empty());
    if let Some(preset) = usual {
        return Some(preset.models.iter().filter_map(|pattern| values::pattern(pattern).ok()).collect());
    }
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
