//! Turns the written shape into the checked one, or into the list of everything that is wrong.
//!
//! Checking goes on after a finding with a stand-in value, so that one run reports as much as
//! possible; a stand-in never gets out, since any finding refuses the whole file. One function a section.

mod access;
mod dispatch;
mod keys;
mod providers;
mod server;
mod terms;

use serde_saphyr::{Location, Spanned};

use crate::limits::{LABEL_VALUES_DEFAULT, Limits};
use crate::problem::{Place, Problem};
use crate::report::periods::months;
use crate::task::Tier;

use super::findings::Findings;
use super::presets;
use super::secrets::References;
use super::values;
use super::written::{self, Field, File};
use super::{
    Bookkeeping, Config, Durability, Keyholding, LedgerConfig, MirrorReference, Mode, ModelRef, ProviderConfig, Secret,
    Tiers, WhenItFails,
};

/// The defaults of `ledger:` and `timezone:`.
const LEDGER_FILE: &str = "farthing.db";
const TIMEZONE: &str = "UTC";

/// Checks the whole file.
///
/// # Errors
///
/// Every finding, in the order of the file.
pub(super) fn check(file_name: &str, file: File, references: References<'_>) -> Result<Config, Vec<Problem>> {
    let mut findings = Findings::new(file_name);
    not_built(&mut findings, &file);
    let mode = findings.value("mode", file.mode, values::mode).unwrap_or(Mode::Enforce);
    let dispatch = dispatch::check(&mut findings, file.dispatch.unwrap_or_default(), dispatch::DEFAULT);
    let keys_are_written =
        file.keys.0.as_ref().and_then(|keys| keys.value.as_ref()).is_some_and(|keys| !keys.is_empty());
    let ledger = ledger(&mut findings, file.ledger.unwrap_or_default(), mode, references);
    // Whether there are keys in it is seen at the start; what matters here is that somebody means there to be.
    let keys_are_there = keys_are_written || ledger.keys_path().exists();
    let server = server::check(&mut findings, file.server.unwrap_or_default(), keys_are_there, references);
    let surroundings = providers::Surroundings { dispatch, references, own: [server.listen, server.admin_listen] };
    let rows = providers::check(&mut findings, file.providers, &surroundings);
    let teams_are_written = file.teams.as_ref().is_some_and(|teams| !teams.0.is_empty());
    let teams = keys::check_teams(&mut findings, file.teams, &rows.names);
    let declared = teams_are_written.then_some(teams.as_slice());
    let policies_at = file.policies.0.as_ref().map(|written| place(written.referenced));
    let config = Config {
        mode,
        server,
        tiers: tiers(&mut findings, file.tiers.unwrap_or_default(), &rows),
        limits: limits(&mut findings, file.limits.unwrap_or_default()),
        ledger,
        prices: findings.value("prices", file.prices, |path| file_path(path, references)),
        policies: findings.value("policies", file.policies, |path| folder_path(path, references)),
        policies_at,
        keys: keys::check_keys(&mut findings, file.keys, declared),
        label_values: label_values(&mut findings, file.metrics.unwrap_or_default()),
        timezone: findings.value("timezone", file.timezone, timezone).unwrap_or_else(|| TIMEZONE.to_owned()),
        holding: terms::holding(&mut findings, file.budget.unwrap_or_default()),
        webhooks: terms::webhooks(&mut findings, file.webhooks, references),
        overhead_team: findings.value("overhead_team", file.overhead_team, |text| keys::known_team(text, declared)),
        transfer_ppm: findings
            .value("cache_hit", file.transfer_price.unwrap_or_default().cache_hit, values::share)
            .unwrap_or_default(),
        providers: rows.good,
        teams,
    };
    findings.or_problems(config)
}

/// Checks what a command needs that works on the ledger alone; nothing that a secret stands in is looked at.
///
/// # Errors
///
/// Every finding in that part, in the order of the file.
pub(super) fn check_bookkeeping(
    file_name: &str,
    file: File,
    references: References<'_>,
) -> Result<Bookkeeping, Vec<Problem>> {
    let mut findings = Findings::new(file_name);
    let mode = findings.value("mode", file.mode, values::mode).unwrap_or(Mode::Enforce);
    let rows = file.providers.map(|rows| rows.0).unwrap_or_default();
    let mut of_ledger = file.ledger.unwrap_or_default();
    let lightweight = findings.given("lightweight", file.tiers.unwrap_or_default().lightweight);
    let mirror = findings.given("mirror", std::mem::take(&mut of_ledger.mirror));
    let bookkeeping = Bookkeeping {
        mirror: mirror.map(|text| MirrorReference::new(text.value, references.base_dir)),
        ledger: ledger(&mut findings, of_ledger, mode, references),
        vendors: vendors(&rows),
        vendor_of: rows.iter().map(vendor_of).collect(),
        lightweight: lightweight
            .into_iter()
            .flat_map(|ranks| ranks.value)
            .flat_map(|rank| rank.value.models())
            .collect(),
        prices: findings.value("prices", file.prices, |path| file_path(path, references)),
        providers: rows.into_iter().map(|(name, _)| name.value).collect(),
        timezone: findings.value("timezone", file.timezone, timezone).unwrap_or_else(|| TIMEZONE.to_owned()),
    };
    findings.or_problems(bookkeeping)
}

/// Checks what commands need that work on the key store; nothing that a secret stands in is looked at.
///
/// # Errors
///
/// Every finding in that part, in the order of the file.
pub(super) fn check_keyholding(
    file_name: &str,
    file: File,
    references: References<'_>,
) -> Result<Keyholding, Vec<Problem>> {
    let mut findings = Findings::new(file_name);
    let mode = findings.value("mode", file.mode, values::mode).unwrap_or(Mode::Enforce);
    let rows = file.providers.map(|rows| rows.0).unwrap_or_default();
    let providers: Vec<String> = rows.into_iter().map(|(name, _)| name.value).collect();
    let teams_are_written = file.teams.as_ref().is_some_and(|teams| !teams.0.is_empty());
    let teams = keys::check_teams(&mut findings, file.teams, &providers);
    let mut of_ledger = file.ledger.unwrap_or_default();
    // Where the mirror is, is a secret, and nobody here asks it.
    findings.given("mirror", std::mem::take(&mut of_ledger.mirror));
    let keyholding = Keyholding {
        ledger: ledger(&mut findings, of_ledger, mode, references),
        keys: keys::check_keys(&mut findings, file.keys, teams_are_written.then_some(teams.as_slice())),
        timezone: findings.value("timezone", file.timezone, timezone).unwrap_or_else(|| TIMEZONE.to_owned()),
        teams,
    };
    findings.or_problems(keyholding)
}

/// The vendor that each row names, or else is, by its preset or its name.
fn vendor_of((name, row): &(Spanned<String>, Option<written::Provider>)) -> (String, String) {
    let said = |field: &Field<String>| field.0.as_ref().and_then(|text| text.value.clone());
    let of_preset = match row {
        Some(row) if row.preset.0.is_some() => said(&row.preset),
        Some(row) => Some(name.value.clone()).filter(|_| row.protocol.0.is_none()),
        None => Some(name.value.clone()),
    };
    let of_preset = of_preset.as_deref().and_then(presets::named).map(|(name, preset)| preset.vendor(name).to_owned());
    let vendor = row.as_ref().and_then(|row| said(&row.vendor)).or(of_preset);
    (name.value.clone(), vendor.unwrap_or_else(|| name.value.clone()))
}

/// The vendors of rows, each once.
fn vendors(rows: &[(Spanned<String>, Option<written::Provider>)]) -> Vec<String> {
    let mut vendors: Vec<String> = Vec::new();
    for (_, vendor) in rows.iter().map(vendor_of) {
        if !vendors.contains(&vendor) {
            vendors.push(vendor);
        }
    }
    vendors
}

/// Provider rows as far as they are good, and the names of all.
struct Rows {
    good: Vec<ProviderConfig>,
    names: Vec<String>,
}

fn not_built(findings: &mut Findings, file: &File) {
    findings.not_built("shared", &file.shared);
}

fn tiers(findings: &mut Findings, written: written::Tiers, rows: &Rows) -> Tiers {
    let (frontier, equal_frontier) = tier(findings, Tier::Frontier, written.frontier, rows);
    let (reasoning, equal_reasoning) = tier(findings, Tier::Reasoning, written.reasoning, rows);
    let (lightweight, equal_lightweight) = tier(findings, Tier::Lightweight, written.lightweight, rows);
    let mut equal = <[Vec<Vec<ModelRef>>; Tier::ALL.len()]>::default();
    equal[Tier::Frontier as usize] = equal_frontier;
    equal[Tier::Reasoning as usize] = equal_reasoning;
    equal[Tier::Lightweight as usize] = equal_lightweight;
    Tiers { frontier, reasoning, lightweight, equal }
}

/// The models of a tier in their order, and those of them that share a place.
fn tier(
    findings: &mut Findings,
    tier: Tier,
    field: Field<written::Ranking>,
    rows: &Rows,
) -> (Vec<ModelRef>, Vec<Vec<ModelRef>>) {
    let (mut models, mut equal) = (Vec::new(), Vec::new());
    let Some(ranks) = findings.given(tier.as_str(), field) else { return (models, equal) };
    if ranks.value.is_empty() {
        findings.at(ranks.referenced, format!("tier `{tier}` is empty; wanted at least one model, or no `{tier}`"));
    }
    for rank in ranks.value {
        let before = models.len();
        match rank.value {
            written::Rank::One(model) => {
                entry(findings, tier, &Spanned::new(model, rank.referenced, rank.defined), (rows, &mut models));
            }
            written::Rank::Equal(entries) => {
                if entries.len() < 2 {
                    let wanted = "wanted two or more models, or one without brackets";
                    findings
                        .at(rank.referenced, format!("tier `{tier}` has a list of {} in it; {wanted}", entries.len()));
                }
                entries.iter().for_each(|one| entry(findings, tier, one, (rows, &mut models)));
                equal.extend(Some(models[before..].to_vec()).filter(|group| group.len() > 1));
            }
            written::Rank::Empty => {
                findings.at(rank.referenced, "an empty entry in a list; wanted a value".to_owned());
            }
            written::Rank::Other => {
                let wanted = "wanted a model such as `openai/gpt-5.6-sol`, in quotes if it reads like a number, or a list of models \
                              that are as good as one another";
                findings.at(rank.referenced, format!("an entry of `{tier}` is neither a model nor a list; {wanted}"));
            }
        }
    }
    (models, equal)
}

fn entry(findings: &mut Findings, tier: Tier, entry: &Spanned<String>, (rows, models): (&Rows, &mut Vec<ModelRef>)) {
    let model =
        findings.parsed(&format!("an entry of `{tier}`"), entry, values::model).map(|asked| rows.model(asked.as_str()));
    match model {
        Some(Ok(Some(model))) if models.contains(&model) => {
            findings.at(entry.referenced, format!("tier `{tier}` names `{}` twice; wanted it once", entry.value));
        }
        Some(Ok(Some(model))) => models.push(model),
        Some(Err(message)) => findings.at(entry.referenced, format!("tier `{tier}`: {message}")),
        Some(Ok(None)) | None => {}
    }
}

fn limits(findings: &mut Findings, written: written::Limits) -> Limits {
    let default = Limits::default();
    let place = written.body_bytes.0.as_ref().or(written.memory_bytes.0.as_ref()).map(|value| value.referenced);
    let limits = Limits {
        body_bytes: findings.value("body_bytes", written.body_bytes, values::size).unwrap_or(default.body_bytes),
        upload_bytes: findings
            .value("upload_bytes", written.upload_bytes, values::size)
            .unwrap_or(default.upload_bytes),
        memory_bytes: findings
            .value("memory_bytes", written.memory_bytes, values::size)
            .unwrap_or(default.memory_bytes),
        concurrency: findings
            .value("concurrency", written.concurrency, values::whole(1..=1_000_000))
            .unwrap_or(default.concurrency),
    };
    if let Some(place) = place.filter(|_| limits.body_bytes > limits.memory_bytes) {
        findings.at(
            place,
            format!(
                "`body_bytes` is {} bytes and `memory_bytes` {}; wanted room for at least one body",
                limits.body_bytes, limits.memory_bytes
            ),
        );
    }
    limits
}

fn ledger(findings: &mut Findings, written: written::Ledger, mode: Mode, references: References<'_>) -> LedgerConfig {
    let durability = |text: &str| values::word(&[("process", Durability::Process), ("power", Durability::Power)], text);
    let when_it_fails = |text: &str| values::word(&[("deny", WhenItFails::Deny), ("allow", WhenItFails::Allow)], text);
    let default = match mode {
        Mode::Enforce => WhenItFails::Deny,
        Mode::Observe => WhenItFails::Allow,
    };
    LedgerConfig {
        path: findings
            .value("path", written.path, |path| ledger_path(path, references))
            .unwrap_or_else(|| references.base_dir.join(LEDGER_FILE)),
        durability: findings.value("durability", written.durability, durability).unwrap_or(Durability::Process),
        when_it_fails: findings.value("when_it_fails", written.when_it_fails, when_it_fails).unwrap_or(default),
        mirror: mirror(findings, written.mirror, references),
        keep: findings.value("keep", written.keep, |text| {
            months(text).ok_or_else(|| "a number of months or years, such as `18mo` or `2y`".to_owned())
        }),
    }
}

/// The mirror's URL, which is a secret.
fn mirror(findings: &mut Findings, field: Field<String>, references: References<'_>) -> Option<Secret> {
    let written = findings.given("mirror", field)?;
    references.resolve("mirror", &written.value).map_err(|message| findings.at(written.referenced, message)).ok()
}

fn place(at: Location) -> Place {
    Place { line: at.line().try_into().unwrap_or(u32::MAX), column: at.column().try_into().unwrap_or(u32::MAX) }
}

fn file_path(text: &str, references: References<'_>) -> Result<std::path::PathBuf, values::Wanted> {
    if text.is_empty() || text.ends_with('/') || text.contains('\0') {
        return Err("the path of a file".to_owned());
    }
    Ok(references.base_dir.join(text))
}

fn ledger_path(text: &str, references: References<'_>) -> Result<std::path::PathBuf, values::Wanted> {
    let path = file_path(text, references)?;
    if path.is_dir() {
        return Err(format!("a file, such as `{text}/{LEDGER_FILE}`, and this is a folder"));
    }
    Ok(path)
}

fn folder_path(text: &str, references: References<'_>) -> Result<std::path::PathBuf, values::Wanted> {
    if text.is_empty() || text.contains('\0') {
        return Err("the path of a folder, such as `routing-policies`".to_owned());
    }
    if text.ends_with(".md") {
        return Err("the folder that the policy stands in, such as `routing-policies`".to_owned());
    }
    Ok(references.base_dir.join(text))
}

fn label_values(findings: &mut Findings, written: written::Metrics) -> usize {
    findings.value("label_values", written.label_values, values::whole(1..=10_000)).unwrap_or(LABEL_VALUES_DEFAULT)
}

/// The zone's own spelling of its name.
fn timezone(text: &str) -> Result<String, values::Wanted> {
    match jiff::tz::TimeZone::get(text) {
        Ok(zone) => Ok(zone.iana_name().unwrap_or(text).to_owned()),
        Err(_) => Err("an IANA name such as `UTC` or `Europe/Berlin`".to_owned()),
    }
}
