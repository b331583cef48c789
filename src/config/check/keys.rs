//! `teams:` and `keys:`: who spends, and what each key may claim.

use std::collections::{HashMap, HashSet};

use serde_saphyr::{Location, Spanned};
use sha2::{Digest, Sha256};

use crate::ids::{KeyId, ProviderId, TeamId};
use crate::problem::nearest_hint;
use crate::task::Tier;

use super::super::findings::{Findings, quoted};
use super::super::values::{self, Wanted};
use super::super::written::{self, Field};
use super::super::{Grants, Key, KeyDefaults, Team};
use super::terms;

/// Hex digits of the hash that name a key without a name.
const KEY_ID_DIGITS: usize = 12;

/// Keys of examples and first tries, which are tried first by whoever looks for an open door.
const TOY_KEYS: [&str; 48] = [
    "foo",
    "bar",
    "baz",
    "foobar",
    "test",
    "testing",
    "test123",
    "test-key",
    "secret",
    "key",
    "my-key",
    "mykey",
    "apikey",
    "api-key",
    "api_key",
    "your-api-key",
    "changeme",
    "change-me",
    "password",
    "pass",
    "letmein",
    "qwerty",
    "admin",
    "root",
    "token",
    "default",
    "demo",
    "example",
    "dummy",
    "hello",
    "none",
    "null",
    "empty",
    "EMPTY",
    "abc",
    "abc123",
    "123",
    "1234",
    "12345",
    "123456",
    "12345678",
    "123456789",
    "sk-1234",
    "sk-123",
    "sk-test",
    "sk-123456",
    "sk-farthing",
    "farthing",
];

pub(super) fn check_teams(
    findings: &mut Findings,
    written: Option<written::Rows<written::Team>>,
    providers: &[String],
) -> Vec<Team> {
    let mut teams = Vec::new();
    for (name, row) in written.map(|rows| rows.0).unwrap_or_default() {
        let row = row.unwrap_or_default();
        findings.not_built("store", &row.store);
        let id = findings.parsed("the name of a team", &name, team_id);
        let provider = |text: &str| match providers.iter().any(|name| name == text) {
            true => Ok(ProviderId::from(text)),
            false => {
                let hint = nearest_hint(text, providers.iter().map(String::as_str));
                Err(format!("the name of a provider row{hint}"))
            }
        };
        let providers = findings.list("providers", row.providers, provider);
        let mode = findings.value("mode", row.mode, values::mode);
        let own = terms::terms(findings, row.budget, row.limits);
        let projects = terms::projects(findings, row.projects);
        let users = terms::users(findings, row.users);
        teams.extend(id.map(|id| Team { id, providers, mode, terms: own, projects, users }));
    }
    teams
}

/// The keys. `declared` holds the teams that they may name; `None`: any, since no team is declared.
pub(super) fn check_keys(
    findings: &mut Findings,
    written: Field<Vec<Spanned<Option<written::Key>>>>,
    declared: Option<&[Team]>,
) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    let mut seen = Seen::default();
    let Some(Spanned { value, referenced, .. }) = written.0 else { return keys };
    let rows = value.unwrap_or_default();
    if rows.is_empty() {
        let message = "`keys` holds none; wanted at least one, or no `keys`, which accepts everybody on this machine";
        findings.at(referenced, message);
    }
    for row in rows {
        keys.extend(key(findings, row.referenced, row.value.unwrap_or_default(), declared, &mut seen));
    }
    keys
}

/// Hashes and names of the keys so far, with the lines that they stand in.
#[derive(Default)]
struct Seen {
    hashes: HashMap<[u8; 32], u64>,
    names: HashSet<KeyId>,
}

fn key(
    findings: &mut Findings,
    place: Location,
    row: written::Key,
    declared: Option<&[Team]>,
    seen: &mut Seen,
) -> Option<Key> {
    let hash = sha256(findings, place, row.sha256, seen);
    let name_place = row.name.0.as_ref().map_or(place, |name| name.referenced);
    let named = findings.value("name", row.name, |text| values::name(text).map(KeyId::from));
    if row.team.0.is_none() {
        findings.at(place, "a key has no `team`; wanted `team: NAME`");
    }
    let team = findings.value("team", row.team, |text| known_team(text, declared));
    let may = grants(findings, row.may.unwrap_or_default(), declared);
    let mode = findings.value("mode", row.mode, values::mode);
    let own = |text: &str| values::name(text).map(str::to_owned);
    let defaults = KeyDefaults {
        project: findings.value("project", row.project, own),
        pipeline: findings.value("pipeline", row.pipeline, own),
    };
    let terms = terms::terms(findings, row.budget, row.limits);
    let (sha256, digits) = hash?;
    let id = named.unwrap_or_else(|| KeyId::from(digits.as_str()));
    if !seen.names.insert(id.clone()) {
        findings.at(name_place, format!("`name` is `{id}` like that of a key above; wanted a name of its own"));
    }
    Some(Key { sha256, id, team: team?, may, mode, defaults, terms })
}

/// The hash and its first digits. Never quoted in messages: it is easily mistaken for the key itself.
fn sha256(
    findings: &mut Findings,
    place: Location,
    field: Field<String>,
    seen: &mut Seen,
) -> Option<([u8; 32], String)> {
    if field.0.is_none() {
        findings.at(place, "a key has no `sha256`; wanted the SHA-256 of the key as 64 lower-case hex digits");
    }
    let written = findings.given("sha256", field)?;
    let Some(hash) = values::sha256(&written.value) else {
        let found = match written.value.chars().count() {
            64 => "other characters".to_owned(),
            count => format!("{count} characters"),
        };
        findings.at(written.referenced, format!("`sha256` holds {found}; wanted 64 lower-case hex digits"));
        return None;
    };
    if [&b""[..], b"\n"].into_iter().any(|nothing| hash == *Sha256::digest(nothing)) {
        let message = "`sha256` is that of an empty key, which everybody holds; wanted that of a real one";
        findings.at(written.referenced, message);
    }
    if let Some(toy) =
        TOY_KEYS.iter().find(|toy| hash == *Sha256::digest(toy) || hash == *Sha256::digest(format!("{toy}\n")))
    {
        let message =
            format!("`sha256` is that of the key `{toy}`, which anybody guesses; wanted that of a random one");
        findings.at(written.referenced, message);
    }
    if let Some(line) = seen.hashes.insert(hash, written.referenced.line()) {
        findings.at(written.referenced, format!("`sha256` is that of the key in line {line}; wanted every key once"));
    }
    Some((hash, written.value[..KEY_ID_DIGITS].to_owned()))
}

fn grants(findings: &mut Findings, may: written::May, declared: Option<&[Team]>) -> Grants {
    Grants {
        teams: findings.list("teams", may.teams, |text| known_team(text, declared)).unwrap_or_default(),
        projects: findings.list("projects", may.projects, values::pattern),
        pipelines: findings.list("pipelines", may.pipelines, values::pattern),
        tiers: findings.list("tiers", may.tiers, tier),
        tasks: findings.list("tasks", may.tasks, values::pattern),
        models: findings.list("models", may.models, values::pattern),
        unbounded: findings.value("unbounded", may.unbounded, values::switch).unwrap_or(false),
    }
}

fn team_id(text: &str) -> Result<TeamId, Wanted> {
    values::name(text).map(TeamId::from)
}

pub(super) fn known_team(text: &str, declared: Option<&[Team]>) -> Result<TeamId, Wanted> {
    let Some(declared) = declared else { return team_id(text) };
    match declared.iter().find(|team| team.id.as_str() == text) {
        Some(team) => Ok(team.id.clone()),
        None => {
            let hint = nearest_hint(text, declared.iter().map(|team| team.id.as_str()));
            Err(format!("a team that stands under `teams`{hint}"))
        }
    }
}

fn tier(text: &str) -> Result<Tier, Wanted> {
    Tier::parse(text).ok_or_else(|| {
        let words = Tier::ALL.map(Tier::as_str);
        let listed: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
        format!("one of {}{}", listed.join(", "), nearest_hint(&quoted(text), words))
    })
}
