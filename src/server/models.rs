//! `GET /v1/models`: what a client may ask for, within its grants.
//! <https://platform.openai.com/docs/api-reference/models>

use serde::Serialize;

use super::attribute::DEFAULT_TEAM;
use crate::config::Key;
use crate::gateway::Gateway;
use crate::plan::{Plan, Why};

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

/// `auto`, the tiers, the models in tiers, and the priced models that the rows' patterns match, each once.
pub fn list(gateway: &Gateway, key: Option<&Key>) -> List {
    let names = gateway.routing().known_models(&gateway.accounts().book.load()).into_iter();
    List {
        object: "list",
        data: names.filter_map(|name| plan(gateway, key, &name).map(|plan| model(name, &plan))).collect(),
    }
}

/// One of them by name, which may be percent-encoded and may begin with the provider's.
pub fn one(gateway: &Gateway, key: Option<&Key>, asked: &str) -> Option<Model> {
    let asked = decode(asked);
    let plan = plan(gateway, key, &asked)?;
    let candidates = gateway.routing().known_models(&gateway.accounts().book.load());
    let known = candidates.contains(&asked)
        || plan.targets.iter().any(|target| target.to_string() == asked && candidates.contains(target.model.as_str()));
    known.then(|| model(asked, &plan))
}

/// What a request for this name would get: whatever would be refused is not listed either.
fn plan(gateway: &Gateway, key: Option<&Key>, name: &str) -> Option<Plan> {
    let team = key.map_or(DEFAULT_TEAM, |key| key.team.as_str());
    gateway.routing().may_ask(name, team, key)
}

fn model(id: String, plan: &Plan) -> Model {
    let by_name = plan.targets.first().filter(|_| plan.reason.why == Why::ExactModel);
    let owned_by = by_name.map_or_else(|| "farthing".to_owned(), |target| target.provider.to_string());
    Model { id, object: "model", created: 0, owned_by }
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
