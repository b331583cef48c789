//! `farthing keys update`: the arguments, as the patch that the admin API takes.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Map, Value, json};

use super::keys::{Common, grants};
use crate::keys::KeysError;

#[derive(Args)]
pub(super) struct Update {
    /// The key's name, which does not change; nor does its team
    pub(super) name: String,
    /// Project of requests that claim none
    #[arg(long)]
    project: Option<String>,
    /// Pipeline of requests that claim none
    #[arg(long)]
    pipeline: Option<String>,
    /// `enforce` or `observe`
    #[arg(long)]
    mode: Option<String>,
    /// When it ends by itself: 90d, 12h, 2027-01-31 or 2027-01-31T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
    /// What requests may claim, as with `create`; each kind that is named is replaced
    #[arg(long, value_name = "GRANT")]
    may: Vec<String>,
    /// What it may spend, in dollars
    #[arg(long, value_name = "USD")]
    usd: Option<String>,
    /// The period of that: `day`, `week`, `month`, `rolling 24h`
    #[arg(long, value_name = "PERIOD")]
    every: Option<String>,
    /// What happens once `--near` of it is spent: `nothing`, `warn`, `downgrade`
    #[arg(long, value_name = "WHAT")]
    when_near: Option<String>,
    /// How much is near, such as 80%
    #[arg(long, value_name = "PERCENT")]
    near: Option<String>,
    #[arg(long, value_name = "NUMBER")]
    requests_per_minute: Option<u64>,
    #[arg(long, value_name = "NUMBER")]
    tokens_per_minute: Option<u64>,
    /// Requests in flight together
    #[arg(long, value_name = "NUMBER")]
    concurrency: Option<u64>,
    /// Output tokens of one answer
    #[arg(long, value_name = "NUMBER")]
    output_tokens: Option<u64>,
    /// What it is to have no more, as often as needed: `budget`, `limits`, `expires`, `project`, `limits.concurrency`, `may.tiers` …
    #[arg(long, value_name = "WHAT")]
    remove: Vec<String>,
    #[command(flatten)]
    pub(super) common: Common,
}

impl Update {
    /// The patch that it means.
    pub(super) fn patch(&self) -> Result<Value, KeysError> {
        let mut patch = Map::new();
        for what in &self.remove {
            match what.split_once('.') {
                None => patch.insert(what.clone(), Value::Null).map_or((), drop),
                Some((whole, part)) => put(&mut patch, whole, part, Value::Null),
            }
        }
        let texts = [
            ("project", &self.project),
            ("pipeline", &self.pipeline),
            ("mode", &self.mode),
            ("expires", &self.expires),
        ];
        patch.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), json!(text.as_ref()?)))));
        let budget = [("usd", &self.usd), ("every", &self.every), ("when_near", &self.when_near), ("near", &self.near)];
        for (name, text) in budget.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?))) {
            put(&mut patch, "budget", name, json!(text));
        }
        let limits = [
            ("requests_per_minute", self.requests_per_minute),
            ("tokens_per_minute", self.tokens_per_minute),
            ("concurrency", self.concurrency),
            ("output_tokens", self.output_tokens),
        ];
        for (name, limit) in limits.into_iter().filter_map(|(name, limit)| Some((name, limit?))) {
            put(&mut patch, "limits", name, json!(limit));
        }
        let may = serde_json::to_value(grants(&self.may)?).map_err(|error| KeysError::Wrong(error.to_string()))?;
        let may: BTreeMap<String, Value> =
            serde_json::from_value(may).map_err(|error| KeysError::Wrong(error.to_string()))?;
        for (kind, words) in may {
            put(&mut patch, "may", &kind, words);
        }
        Ok(Value::Object(patch))
    }
}

fn put(patch: &mut Map<String, Value>, whole: &str, part: &str, value: Value) {
    let members = patch.entry(whole).or_insert_with(|| json!({}));
    if !members.is_object() {
        *members = json!({});
    }
    if let Value::Object(members) = members {
        members.insert(part.to_owned(), value);
    }
}
