//! What is asked for when a key is made: the words of the configuration, as JSON and as arguments, checked together.

use std::time::Duration;

use globset::GlobMatcher;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::{Asked, KeysError};
use crate::budget::Terms;
use crate::budget::terms::{Budget, Limits};
use crate::config::values::{self, LIMIT_MAX};
use crate::config::{Grants, Key, Mode, Team};
use crate::ids::TeamId;
use crate::problem::nearest_hint;
use crate::task::Tier;

/// Longest name of a key that is made here, in bytes: it stands in paths of the admin API.
const NAME_BYTES_MAX: usize = 64;
/// Most entries of one list of grants.
const GRANTS_MAX: usize = 256;
/// How far ahead a key may end.
const EXPIRY_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// What a key may claim, in words; see [`Grants`].
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct May {
    /// Teams besides the key's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub teams: Vec<String>,
    /// Projects, as patterns; absent: all. The same of the following.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projects: Option<Vec<String>>,
    /// Pipelines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipelines: Option<Vec<String>>,
    /// Tiers, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tiers: Option<Vec<String>>,
    /// Task kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Vec<String>>,
    /// Models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// Requests whose cost nothing bounds, under a budget.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unbounded: bool,
}

impl May {
    /// The grants that these words mean.
    ///
    /// # Errors
    ///
    /// Which word means nothing, and what was wanted.
    pub fn grants(&self) -> Result<Grants, String> {
        let patterns = |key: &str, words: &Option<Vec<String>>| -> Result<Option<Vec<GlobMatcher>>, String> {
            words.as_ref().map(|words| each(key, words, values::pattern)).transpose()
        };
        let team = |text: &str| values::name(text).map(TeamId::from);
        let tier = |text: &str| {
            Tier::parse(text).ok_or_else(|| {
                let words = Tier::ALL.map(Tier::as_str);
                format!("one of `{}`{}", words.join("`, `"), nearest_hint(text, words))
            })
        };
        Ok(Grants {
            teams: each("teams", &self.teams, team)?,
            projects: patterns("projects", &self.projects)?,
            pipelines: patterns("pipelines", &self.pipelines)?,
            tiers: self.tiers.as_ref().map(|words| each("tiers", words, tier)).transpose()?,
            tasks: patterns("tasks", &self.tasks)?,
            models: patterns("models", &self.models)?,
            unbounded: self.unbounded,
        })
    }
}

fn each<T>(key: &str, words: &[String], read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    if words.len() > GRANTS_MAX {
        return Err(format!("`{key}` has {} entries; wanted at most {GRANTS_MAX}", words.len()));
    }
    let read = |word: &String| read(word).map_err(|wanted| wrong(&format!("an entry of `{key}`"), word, &wanted));
    words.iter().map(read).collect()
}

fn wrong(subject: &str, found: &str, wanted: &str) -> String {
    format!("{subject} is `{}`; wanted {wanted}", crate::config::quoted(found))
}

/// A new key as it is written in a request to the admin API.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wanted {
    /// Its name; absent: `key-` and eight random letters and digits.
    pub name: Option<String>,
    /// Who pays.
    pub team: Option<String>,
    /// What requests may claim.
    pub may: May,
    /// Project of requests that claim none.
    pub project: Option<String>,
    /// Pipeline of requests that claim none.
    pub pipeline: Option<String>,
    /// `enforce` or `observe`.
    pub mode: Option<String>,
    /// What it may spend.
    pub budget: Option<Budget>,
    /// How fast it may ask.
    pub limits: Limits,
    /// When it ends, see [`moment`].
    pub expires: Option<String>,
}

/// What a new key has to fit in with.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Declared teams; none: any team comes into being when a key names it.
    pub teams: &'a [Team],
    /// The keys of the configuration file.
    pub keys: &'a [Key],
    /// Where days begin.
    pub timezone: &'a TimeZone,
    /// Now, in milliseconds since the Unix epoch.
    pub now_ms: i64,
}

impl Wanted {
    /// What is to be made, if a key can be so.
    ///
    /// # Errors
    ///
    /// [`KeysError::Wrong`] with what was found and what was wanted.
    pub fn check(self, around: Surroundings<'_>) -> Result<Asked, KeysError> {
        self.checked(around).map_err(KeysError::Wrong)
    }

    fn checked(self, around: Surroundings<'_>) -> Result<Asked, String> {
        let Self { name, team, may, project, pipeline, mode, budget, limits, expires } = self;
        let name = match name {
            Some(name) => named(&name).map_err(|wanted| wrong("`name`", &name, &wanted)).map(|()| name)?,
            None => {
                format!("key-{}", (0..8).map(|_| fastrand::alphanumeric().to_ascii_lowercase()).collect::<String>())
            }
        };
        if around.keys.iter().any(|key| key.id.as_str() == name) {
            return Err(format!("the configuration file has a key `{name}`; wanted another name"));
        }
        let team = team.ok_or("a key has no `team`; wanted the team that pays")?;
        for team in std::iter::once(&team).chain(&may.teams) {
            known(team, around.teams).map_err(|wanted| wrong("a team", team, &wanted))?;
        }
        may.grants()?;
        for (what, name) in [("`project`", &project), ("`pipeline`", &pipeline)] {
            name.as_deref()
                .map(values::name)
                .transpose()
                .map_err(|wanted| wrong(what, name.as_deref().unwrap_or_default(), &wanted))?;
        }
        let mode =
            mode.map(|word| values::mode(&word).map_err(|wanted| wrong("`mode`", &word, &wanted))).transpose()?;
        for (what, limit) in limits.named() {
            if let Some(limit) = limit.filter(|limit| !(1..=LIMIT_MAX).contains(limit)) {
                return Err(format!("`{what}` is {limit}; wanted a whole number from 1 to {LIMIT_MAX}"));
            }
        }
        let expires_ms = expires
            .map(|text| {
                moment(&text, around.now_ms, around.timezone).map_err(|wanted| wrong("`expires`", &text, &wanted))
            })
            .transpose()?;
        Ok(Asked { name, team, may, project, pipeline, mode, terms: Terms { budget, limits }, expires_ms })
    }
}

/// A name that can stand in a path, a shell and a log.
fn named(name: &str) -> Result<(), String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_name = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(fits);
    // A secret that is given for a name would be written down wherever names are.
    match is_name && !name.starts_with('.') && !name.starts_with("fk-") && !name.starts_with("sk-") {
        true => Ok(()),
        false => Err(format!(
            "1 to {NAME_BYTES_MAX} letters, digits, `.`, `_` and `-`, not beginning with `.`, `fk-` or `sk-`"
        )),
    }
}

fn known(team: &str, declared: &[Team]) -> Result<(), String> {
    values::name(team)?;
    if declared.is_empty() || declared.iter().any(|declared| declared.id.as_str() == team) {
        return Ok(());
    }
    let hint = nearest_hint(team, declared.iter().map(|team| team.id.as_str()));
    Err(format!("one that stands under `teams` of the configuration{hint}"))
}

/// The end of a key: `90d`, `12h` or `30m` from now, a date (its first moment) or a moment as RFC 3339 writes it.
///
/// # Errors
///
/// What was wanted.
pub fn moment(text: &str, now_ms: i64, timezone: &TimeZone) -> Result<i64, String> {
    let wanted =
        || "a time ahead of now: `90d`, `12h`, a date such as `2027-01-31`, or `2027-01-31T12:00:00Z`".to_owned();
    let max = now_ms.saturating_add(millis(EXPIRY_MAX));
    let at = match (duration(text), text.parse::<Timestamp>(), text.parse::<Date>()) {
        (Ok(span), ..) => now_ms.saturating_add(millis(span)),
        (_, Ok(at), _) => at.as_millisecond(),
        (.., Ok(date)) => date.to_zoned(timezone.clone()).map_err(|_| wanted())?.timestamp().as_millisecond(),
        _ => return Err(wanted()),
    };
    if at > max {
        return Err("a time at most ten years ahead, or none".to_owned());
    }
    if at > now_ms { Ok(at) } else { Err(wanted()) }
}

/// A span such as `24h`, `7d`, `30m` or `90s`.
///
/// # Errors
///
/// What was wanted.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wanted = || "a span such as `24h`, `7d`, `30m` or `0s`".to_owned();
    let unit = text.chars().next_back().ok_or_else(wanted)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return Err(wanted()),
    };
    let digits = &text[..text.len() - 1];
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wanted());
    }
    let span = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds)).ok_or_else(wanted)?;
    Some(Duration::from_secs(span)).filter(|span| *span <= EXPIRY_MAX).ok_or_else(wanted)
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// A mode as it is written.
pub(super) fn word_of(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Observe => "observe",
    }
}

/// The mode that a word means.
pub(super) fn mode_of(word: &str) -> Result<Mode, String> {
    values::mode(word)
}
