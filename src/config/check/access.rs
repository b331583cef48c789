//! The ways into a provider: its address, from the row or from a preset's template, and the credential that it is shown.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_saphyr::{Location, Spanned};

use crate::dialect::Dialect;

use super::super::access::{Access, AuthStyle, AwsKeys, Credential, ServiceAccount};
use super::super::findings::{Findings, quoted};
use super::super::presets::{PARTS, Preset};
use super::super::values;
use super::super::written::{self, Field};
use super::providers::{Surroundings, missing};

/// Most keys of one row.
const KEYS_MAX: usize = 64;
/// Where AWS's own tools look for keys.
const AWS_VARIABLES: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// The row that a way in belongs to.
pub(super) struct Of<'a> {
    /// Its name, as it stands in the file.
    pub row: &'a Spanned<String>,
    /// What fills it.
    pub preset: Option<(&'static str, &'static Preset)>,
    /// What it speaks.
    pub dialect: Dialect,
}

/// What a row says of its address and of who calls.
#[derive(Default)]
pub(super) struct Said {
    base_url: Field<String>,
    parts: [Field<String>; PARTS.len()],
    key: Field<String>,
    aws: Field<written::Aws>,
    auth: Field<String>,
    keys: Field<Vec<Spanned<Option<written::KeyOfRow>>>>,
}

impl Said {
    /// Takes it out of a row.
    pub(super) fn by(row: &mut written::Provider) -> Self {
        let take = std::mem::take::<Field<String>>;
        Self {
            base_url: take(&mut row.base_url),
            parts: [&mut row.region, &mut row.resource, &mut row.project, &mut row.location].map(take),
            key: take(&mut row.key),
            aws: std::mem::take(&mut row.aws),
            auth: take(&mut row.auth),
            keys: std::mem::take(&mut row.keys),
        }
    }
}

/// Where a way in leads, as far as it is said.
#[derive(Clone, Default)]
struct Address {
    base_url: Option<Written>,
    parts: [Option<String>; PARTS.len()],
}

/// A text of the file and its place.
type Written = (String, Location);

/// What is checked against: the row, what is around it, and how its keys are shown.
struct Checking<'a, 's> {
    of: &'a Of<'a>,
    around: &'a Surroundings<'s>,
    style: AuthStyle,
}

/// The ways in of a row: one, or one for each of its `keys`.
pub(super) fn check(
    findings: &mut Findings,
    of: &Of<'_>,
    said: Said,
    around: &Surroundings<'_>,
) -> Option<Vec<Access>> {
    let usual = match (of.preset, of.dialect) {
        (Some((_, preset)), _) => preset.auth(),
        (None, Dialect::Messages) => AuthStyle::XApiKey,
        (None, _) => AuthStyle::Bearer,
    };
    let style = findings.value("auth", said.auth, |text| values::word(&AuthStyle::WORDS, text)).unwrap_or(usual);
    let checking = Checking { of, around, style };
    let shared = checking.address(findings, said.base_url, said.parts);
    let Some(place) = said.keys.0.as_ref().map(|keys| keys.referenced) else {
        let access = checking.access(findings, (said.key, said.aws), shared?, 1);
        return Some(vec![access?]);
    };
    if said.key.0.is_some() || said.aws.0.is_some() {
        findings.at(place, "`keys` stands beside `key` or `aws`; wanted one of them");
    }
    let keys = findings.given("keys", said.keys)?.value;
    if keys.is_empty() || keys.len() > KEYS_MAX {
        findings.at(place, format!("`keys` has {} entries; wanted 1 to {KEYS_MAX}", keys.len()));
    }
    let shared = shared?;
    let accesses: Vec<_> = keys.into_iter().map(|key| checking.one_of_keys(findings, key, &shared)).collect();
    accesses.into_iter().collect()
}

impl Checking<'_, '_> {
    /// An entry of `keys`.
    fn one_of_keys(
        &self,
        findings: &mut Findings,
        entry: Spanned<Option<written::KeyOfRow>>,
        shared: &Address,
    ) -> Option<Access> {
        let Some(mut entry_row) = entry.value else {
            findings.at(entry.referenced, "an entry of `keys` is empty; wanted one such as `{ key: env:NAME }`");
            return None;
        };
        let take = std::mem::take::<Field<String>>;
        let row = &mut entry_row;
        let parts = [&mut row.region, &mut row.resource, &mut row.project, &mut row.location].map(take);
        let own = self.address(findings, take(&mut row.base_url), parts)?;
        let mut parts = shared.parts.clone();
        for (part, own) in parts.iter_mut().zip(own.parts) {
            *part = own.or(part.take());
        }
        let address = Address { base_url: own.base_url.or_else(|| shared.base_url.clone()), parts };
        let weight = findings.value("weight", entry_row.weight, values::whole(1..=1000)).unwrap_or(1);
        self.access(findings, (entry_row.key, entry_row.aws), address, weight)
    }

    /// One way in.
    fn access(
        &self,
        findings: &mut Findings,
        (key, aws): (Field<String>, Field<written::Aws>),
        mut address: Address,
        weight: u32,
    ) -> Option<Access> {
        let credential = self.credential(findings, key, aws, &address);
        if let Some((Credential::Google(account), _)) = &credential {
            let [_, _, project, _] = &mut address.parts;
            *project = project.take().or_else(|| account.project.clone());
        }
        let base_url = self.base_url(findings, &address);
        let (credential, from) = credential?;
        Some(Access { base_url: base_url?, credential, from, weight })
    }

    /// What is said of an address; nothing if a part of it is wrong.
    fn address(
        &self,
        findings: &mut Findings,
        base_url: Field<String>,
        fields: [Field<String>; PARTS.len()],
    ) -> Option<Address> {
        let mut address = Address::default();
        let is_given = base_url.0.is_some();
        address.base_url = findings.given("base_url", base_url).map(|written| (written.value, written.referenced));
        let mut is_good = is_given == address.base_url.is_some();
        for ((name, field), part) in PARTS.into_iter().zip(fields).zip(&mut address.parts) {
            let is_given = field.0.is_some();
            let Some(written) = findings.given(name, field) else {
                is_good &= !is_given;
                continue;
            };
            if !self.of.preset.is_some_and(|(_, preset)| preset.has(name)) {
                let whose = match self.of.preset {
                    Some((preset, _)) => format!("the preset `{preset}` has no `{{{name}}}` in its URL"),
                    None => format!("provider `{}` has no preset", quoted(&self.of.row.value)),
                };
                let message = format!("`{name}` is of no use here: {whose}; wanted the row without it");
                findings.at(written.referenced, message);
                is_good = false;
                continue;
            }
            *part = findings.parsed(&format!("`{name}`"), &written, values::url_part);
            is_good &= part.is_some();
        }
        is_good.then_some(address)
    }

    /// Who calls, and where that is said.
    fn credential(
        &self,
        findings: &mut Findings,
        key: Field<String>,
        aws: Field<written::Aws>,
        address: &Address,
    ) -> Option<(Credential, Option<String>)> {
        let is_given = key.0.is_some();
        if let Some(aws) = findings.given("aws", aws) {
            if is_given {
                findings.at(aws.referenced, "`aws` stands beside `key`; wanted one of the two");
            }
            return self.aws(findings, aws.value, aws.referenced, address);
        }
        let (reference, place) = match findings.given("key", key) {
            Some(written) => (written.value, written.referenced),
            None if is_given => return None,
            None => {
                let variable = self.of.preset.and_then(|(_, preset)| preset.key_env.as_deref());
                let Some(variable) = variable else { return Some((Credential::None, None)) };
                let set = |name: &str| (self.around.references.env)(name);
                match (set(variable), self.of.preset.and_then(|(_, preset)| preset.service.as_ref())) {
                    // The variable of Google's tools has the name of the file.
                    (Some(file), _) if self.style == AuthStyle::Google => {
                        (format!("file:{file}"), self.of.row.referenced)
                    }
                    (Some(_), _) => (format!("env:{variable}"), self.of.row.referenced),
                    (None, Some(_)) if set(AWS_VARIABLES[0]).is_some() => {
                        return self.aws_of_environment(findings, address);
                    }
                    (None, service) => {
                        let or_aws = if service.is_some() { ", `aws: { … }`" } else { "" };
                        let wanted = format!("`key: env:NAME`{or_aws}, or the environment variable `{variable}`");
                        missing(findings, self.of.row, "key", &wanted);
                        return None;
                    }
                }
            }
        };
        let credential = match self.style {
            AuthStyle::Google => self.around.references.text("key", &reference).and_then(|(origin, text)| {
                ServiceAccount::parse(&text).map(Credential::Google).map_err(|why| format!("`key`: {origin}: {why}"))
            }),
            AuthStyle::Aws => Err("`auth` is `aws`, which wants `aws: { … }` and no `key`".to_owned()),
            style => self.around.references.resolve("key", &reference).map(|key| Credential::of(key, style)),
        };
        credential.map(|credential| (credential, Some(reference))).map_err(|message| findings.at(place, message)).ok()
    }

    /// Keys of AWS's, for the preset's service in the row's region.
    fn aws(
        &self,
        findings: &mut Findings,
        aws: written::Aws,
        place: Location,
        address: &Address,
    ) -> Option<(Credential, Option<String>)> {
        let mut secret = |key: &'static str, field: Field<String>, is_wanted: bool| {
            if is_wanted && field.0.is_none() {
                findings.at(
                    place,
                    format!("`aws` has no `{key}`; wanted one, such as `{key}: env:{}`", key.to_uppercase()),
                );
            }
            let is_given = field.0.is_some();
            let Some(written) = findings.given(key, field) else { return Err(is_wanted || is_given) };
            let resolved = self.around.references.resolve(key, &written.value);
            resolved.map(|secret| (secret, written.value)).map_err(|message| {
                findings.at(written.referenced, message);
                true
            })
        };
        let id = secret("access_key_id", aws.access_key_id, true);
        let key = secret("secret_access_key", aws.secret_access_key, true);
        let token = secret("session_token", aws.session_token, false);
        let scope = self.scope(findings, place, address);
        let session_token = match token {
            Ok((token, _)) => Some(token),
            Err(false) => None,
            Err(true) => return None,
        };
        let ((access_key_id, from), (secret_access_key, _), (region, service)) = (id.ok()?, key.ok()?, scope?);
        let keys = AwsKeys { access_key_id, secret_access_key, session_token, region, service };
        Some((Credential::Aws(keys), Some(from)))
    }

    /// The same from the variables that AWS's own tools read.
    fn aws_of_environment(&self, findings: &mut Findings, address: &Address) -> Option<(Credential, Option<String>)> {
        let place = self.of.row.referenced;
        let resolved = |name: &str| self.around.references.resolve("aws", &format!("env:{name}"));
        let [id, key, token] = AWS_VARIABLES;
        let has_token = (self.around.references.env)(token).is_some_and(|token| !token.is_empty());
        let keys =
            resolved(id).and_then(|id| Ok((id, resolved(key)?, has_token.then(|| resolved(token)).transpose()?)));
        let scope = self.scope(findings, place, address);
        let (access_key_id, secret_access_key, session_token) =
            keys.map_err(|message| findings.at(place, message)).ok()?;
        let (region, service) = scope?;
        let keys = AwsKeys { access_key_id, secret_access_key, session_token, region, service };
        Some((Credential::Aws(keys), Some(format!("env:{id}"))))
    }

    /// The region and the service that calls are signed for.
    fn scope(&self, findings: &mut Findings, place: Location, address: &Address) -> Option<(String, String)> {
        let Some(service) = self.of.preset.and_then(|(_, preset)| preset.service.clone()) else {
            findings
                .at(place, "`aws` is of no use here; wanted a preset that takes signatures, such as `preset: bedrock`");
            return None;
        };
        let [region, ..] = &address.parts;
        // Without a region there is no base URL either, which is told; with one of the row's own it is not.
        if region.is_none() && address.base_url.is_some() {
            missing(findings, self.of.row, "region", "the one that calls are signed for, such as `region: us-east-1`");
        }
        Some((region.clone()?, service))
    }

    /// Where the row's paths begin: as it says itself, or by its preset.
    fn base_url(&self, findings: &mut Findings, address: &Address) -> Option<http::Uri> {
        let row = self.of.row;
        let (value, referenced) = match (&address.base_url, self.of.preset) {
            (Some(written), _) => written.clone(),
            (None, Some((_, preset))) => {
                let part = |name: &str| {
                    let at = PARTS.iter().position(|known| *known == name)?;
                    address.parts[at].as_deref()
                };
                match preset.base_url(part) {
                    Ok(url) => (url, row.referenced),
                    Err(lacking) => {
                        for part in lacking {
                            missing(findings, row, part, &format!("it for `{}`", preset.template(None)));
                        }
                        return None;
                    }
                }
            }
            (None, None) => {
                missing(findings, row, "base_url", "one, such as `base_url: https://api.openai.com/v1`");
                return None;
            }
        };
        // Credentials and query strings may be secret, so that these two messages do not quote the URL.
        if value.contains('@') {
            let message = "`base_url` holds credentials; wanted a URL without them, and the secret as `key: env:NAME`";
            findings.at(referenced, message);
            return None;
        }
        if value.contains(['?', '#']) {
            findings.at(referenced, "`base_url` holds a query or fragment; wanted a URL without");
            return None;
        }
        let written = Spanned { value, referenced, defined: referenced };
        let url = findings.parsed("`base_url`", &written, values::base_url)?;
        if self.around.own.into_iter().any(|own| leads_to(&url, own)) {
            let message =
                format!("`base_url` is `{url}`, where Farthing itself listens; wanted the provider's address");
            findings.at(referenced, message);
        }
        Some(url)
    }
}

/// Whether a URL leads back to a listener, as far as that can be told without a name server.
fn leads_to(url: &http::Uri, listener: SocketAddr) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let ip = if host == "localhost" { Some(IpAddr::V4(Ipv4Addr::LOCALHOST)) } else { host.parse().ok() };
    let usual_port = if url.scheme_str() == Some("https") { 443 } else { 80 };
    let same_host = |ip: IpAddr| ip == listener.ip() || (listener.ip().is_unspecified() && ip.is_loopback());
    listener.port() == url.port_u16().unwrap_or(usual_port) && ip.is_some_and(same_host)
}
