//! `GET /v1/models`: what a client may ask for, within its grants.
//! <https://platform.openai.com/docs/api-reference/models>

use std::collections::BTreeMap;

use serde::Serialize;

use crate::config::Key;
use crate::gateway::Gateway;
use crate::ids::ProviderId;
use crate::task::Tier;

/// Who owns the names that are not models.
const OURS: &str = "farthing";

/// All models.
#[derive(Serialize)]
pub struct List {
    object: &'static str,
    data: Vec<Model>,
}

/// One model.
#[derive(Serialize)]
pub struct Model {
    id: String,
    object: &'static str,
    /// Seconds since the Unix epoch; providers' dates are not known here.
    created: u64,
    owned_by: String,
}

/// `auto`, the tiers, the models in tiers, and the priced models that the rows' patterns match.
pub fn list(gateway: &Gateway, key: Option<&Key>) -> List {
    let names = names(gateway, key);
    List { object: "list", data: names.into_iter().map(|(id, owned_by)| model(id, owned_by)).collect() }
}

/// One of them by name, which may be percent-encoded.
pub fn one(gateway: &Gateway, key: Option<&Key>, asked: &str) -> Option<Model> {
    let asked = decode(asked);
    let owned_by = names(gateway, key).remove(&*asked)?;
    Some(model(asked, owned_by))
}

fn model(id: String, owned_by: String) -> Model {
    Model { id, object: "model", created: 0, owned_by }
}

/// Every name once, with who serves it first.
fn names(gateway: &Gateway, key: Option<&Key>) -> BTreeMap<String, String> {
    let config = gateway.config();
    let granted_tier =
        |tier: &Tier| key.and_then(|key| key.may.tiers.as_ref()).is_none_or(|tiers| tiers.contains(tier));
    let by_name = key.and_then(|key| key.may.models.as_ref());
    let named = |row: &str, model: &str| {
        by_name.is_some_and(|globs| {
            globs.iter().any(|glob| glob.is_match(model) || glob.is_match(format!("{row}/{model}")))
        })
    };
    // A grant of tiers covers their models by name too; where only names are granted, nothing else may be asked by name.
    let all_of_tier = by_name.is_none() || key.is_some_and(|key| key.may.tiers.is_some());
    let usable = key.and_then(|key| config.team(key.team.as_str())?.providers.as_ref());
    let may_use = |row: &ProviderId| usable.is_none_or(|rows| rows.contains(row));
    let mut names = BTreeMap::new();
    for tier in Tier::ALL.into_iter().filter(granted_tier) {
        let models = || config.tiers.models(tier).iter().filter(|model| may_use(&model.provider));
        if models().next().is_none() {
            continue;
        }
        names.insert(tier.to_string(), OURS.to_owned());
        if tier == Tier::Frontier {
            names.insert("auto".to_owned(), OURS.to_owned());
        }
        for model in models().filter(|m| all_of_tier || named(m.provider.as_str(), m.model.as_str())) {
            names.entry(model.model.to_string()).or_insert_with(|| model.provider.to_string());
        }
    }
    if by_name.is_some() || key.is_none_or(|key| key.may.tiers.is_none()) {
        for row in config.providers.iter().filter(|row| may_use(&row.id)) {
            let book = gateway.accounts().book.load();
            let priced = book.rows().filter(|(vendor, model, _)| *vendor == row.vendor && row.serves(model));
            let granted = priced.filter(|(_, model, _)| by_name.is_none() || named(row.id.as_str(), model));
            for (_, model, _) in granted {
                names.entry(model.to_owned()).or_insert_with(|| row.id.to_string());
            }
        }
    }
    names
}

fn decode(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = (first == b'%').then(|| std::str::from_utf8(tail.get(..2)?).ok()).flatten();
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_names_are_decoded() {
        assert_eq!(decode("openai%2Fgpt-5.6-luna"), "openai/gpt-5.6-luna");
        assert_eq!(decode("100%"), "100%");
    }
}
