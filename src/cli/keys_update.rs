//! `farthing keys update`: the arguments, as the patch that the admin API takes.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Map, Value, json};

use super::keys::Common;
use super::keys_options::{Options, grants};
use crate::keys::KeysError;

#[derive(Args)]
pub(super) struct Update {
    /// The key's name, which does not change; nor does its team
    pub(super) name: String,
    #[command(flatten)]
    options: Options,
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
        let options = &self.options;
        let texts = [
            ("project", &options.project),
            ("pipeline", &options.pipeline),
            ("mode", &options.mode),
            ("expires", &options.expires),
        ];
        patch.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), json!(text.as_ref()?)))));
        let budget = [
            ("usd", options.usd.map(|usd| usd.to_string())),
            ("every", options.every.map(|every| every.to_string())),
            ("when_near", options.when_near.map(|when| when.to_string())),
            ("near", options.near.map(|near| near.to_string())),
        ];
        for (name, text) in budget.into_iter().filter_map(|(name, text)| Some((name, text?))) {
            put(&mut patch, "budget", name, json!(text));
        }
        for (name, limit) in options.limits().named().into_iter().filter_map(|(name, limit)| Some((name, limit?))) {
            put(&mut patch, "limits", name, json!(limit));
        }
        let may = serde_json::to_value(grants(&options.may)?).map_err(|error| KeysError::Wrong(error.to_string()))?;
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
