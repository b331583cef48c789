//! The options of `farthing keys create` and `update`: what a key may spend, claim and be.

use clap::Args;

use crate::budget::terms::{Share, dollars};
use crate::budget::{Every, Limits, WhenNear};
use crate::config;
use crate::keys::{KeysError, May};
use crate::money::NanoUsd;

/// What a key may be given when it is made and later: the options of `create` and `update` alike. What they mean is checked
/// where keys are made.
#[derive(Args)]
pub(super) struct Options {
    /// Project of requests that claim none
    #[arg(long)]
    pub(super) project: Option<String>,
    /// Pipeline of requests that claim none
    #[arg(long)]
    pub(super) pipeline: Option<String>,
    /// `enforce` or `observe`; else the team's
    #[arg(long)]
    pub(super) mode: Option<String>,
    /// When it ends by itself: 90d, 12h, 2027-01-31 or 2027-01-31T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    pub(super) expires: Option<String>,
    /// What requests may claim, as often as needed: teams, projects, pipelines, tiers, tasks, models =A,B, or `unbounded`; `update` replaces the kinds that are named
    #[arg(long, value_name = "GRANT")]
    pub(super) may: Vec<String>,
    /// What it may spend, in dollars
    #[arg(long, value_name = "USD", value_parser = dollars)]
    pub(super) usd: Option<NanoUsd>,
    /// The period of that: `day`, `week`, `month`, `rolling 24h`
    #[arg(long, value_name = "PERIOD", value_parser = parse::<Every>)]
    pub(super) every: Option<Every>,
    /// What happens once `--near` of it is spent: `nothing`, `warn`, `downgrade`
    #[arg(long, value_name = "WHAT", value_parser = parse::<WhenNear>)]
    pub(super) when_near: Option<WhenNear>,
    /// How much is near, such as 80%
    #[arg(long, value_name = "PERCENT", value_parser = parse::<Share>)]
    pub(super) near: Option<Share>,
    /// Requests that may begin within any minute
    #[arg(long, value_name = "NUMBER")]
    pub(super) requests_per_minute: Option<u64>,
    /// Input and output tokens within any minute
    #[arg(long, value_name = "NUMBER")]
    pub(super) tokens_per_minute: Option<u64>,
    /// Requests in flight together
    #[arg(long, value_name = "NUMBER")]
    pub(super) concurrency: Option<u64>,
    /// Output tokens of one answer
    #[arg(long, value_name = "NUMBER")]
    pub(super) output_tokens: Option<u64>,
}

impl Options {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            requests_per_minute: self.requests_per_minute,
            tokens_per_minute: self.tokens_per_minute,
            concurrency: self.concurrency,
            output_tokens: self.output_tokens,
        }
    }
}

/// `projects=a,b` and its like.
pub(super) fn grants(words: &[String]) -> Result<May, KeysError> {
    let mut may = May::default();
    for word in words {
        let (kind, list) = word.split_once('=').unwrap_or((word, ""));
        let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned);
        let field = match kind {
            "unbounded" if list.is_empty() => {
                may.unbounded = true;
                continue;
            }
            "teams" => {
                may.teams.extend(entries);
                continue;
            }
            "projects" => &mut may.projects,
            "pipelines" => &mut may.pipelines,
            "tiers" => &mut may.tiers,
            "tasks" => &mut may.tasks,
            "models" => &mut may.models,
            _ => {
                let wanted = "`teams`, `projects`, `pipelines`, `tiers`, `tasks` or `models` with `=` and a list, or `unbounded`";
                return Err(KeysError::Wrong(format!("`--may` is `{}`; wanted {wanted}", config::quoted(word))));
            }
        };
        field.get_or_insert_default().extend(entries);
    }
    Ok(may)
}

fn parse<T: std::str::FromStr<Err = String>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|wanted| format!("wanted {wanted}"))
}
