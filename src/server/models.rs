//! `GET /v1/models`: what a client may ask for, within its grants.
//! <https://platform.openai.com/docs/api-reference/models>; Anthropic's clients are told in their own words what their
//! dialect can ask for: <https://platform.claude.com/docs/en/api/models-list>

use percent_encoding::percent_decode_str;
use serde::Serialize;

use super::attribute::DEFAULT_TEAM;
use crate::config::Key;
use crate::dialect::Dialect;
use crate::gateway::Gateway;
use crate::plan::{Plan, Why};

/// When all models were made, for Anthropic's clients: providers' dates are not known here.
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// All models.
#[derive(Serialize)]
#[serde(untagged)]
pub enum List {
    /// For OpenAI's clients.
    OpenAi {
        /// `list`.
        object: &'static str,
        /// The models.
        data: Vec<Model>,
    },
    /// For Anthropic's: one page.
    Anthropic {
        /// The models.
        data: Vec<Model>,
        /// Whether another page follows.
        has_more: bool,
        /// The first of this one.
        first_id: Option<String>,
        /// The last of it.
        last_id: Option<String>,
    },
}

/// One model.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Model {
    /// For OpenAI's clients.
    OpenAi {
        /// Its name.
        id: String,
        /// `model`.
        object: &'static str,
        /// Seconds since the Unix epoch; providers' dates are not known here.
        created: u64,
        /// The row that has it.
        owned_by: String,
    },
    /// For Anthropic's.
    Anthropic {
        /// `model`.
        #[serde(rename = "type")]
        kind: &'static str,
        /// Its name.
        id: String,
        /// The same.
        display_name: String,
        /// RFC 3339.
        created_at: &'static str,
        /// `active`: what is retired is not listed.
        lifecycle: &'static str,
        /// What is not known of it here.
        #[serde(flatten)]
        unknown: Unknown,
    },
}

/// Members that every model has, and of which nothing is known here.
#[derive(Serialize, Default)]
pub struct Unknown {
    capabilities: Option<()>,
    deprecated_at: Option<()>,
    line: Option<()>,
    max_input_tokens: Option<()>,
    max_tokens: Option<()>,
    retires_at: Option<()>,
}

/// `auto`, the tiers, the models in tiers, and the priced models that the rows' patterns match, each once.
pub fn list(gateway: &Gateway, key: Option<&Key>, dialect: Dialect) -> List {
    let mut names = gateway.routing().known_models(&gateway.accounts().book.load());
    if dialect != Dialect::Messages {
        let names = names.into_iter();
        let data = names.filter_map(|name| plan(gateway, key, &name).map(|plan| model(name, &plan, dialect)));
        return List::OpenAi { object: "list", data: data.collect() };
    }
    names.retain(|name| plan(gateway, key, name).is_some());
    let names: Vec<String> = names.into_iter().collect();
    List::Anthropic {
        has_more: false,
        first_id: names.first().cloned(),
        last_id: names.last().cloned(),
        data: names.into_iter().map(of_anthropic).collect(),
    }
}

/// One of them by name, which may be percent-encoded and may begin with the provider's.
pub fn one(gateway: &Gateway, key: Option<&Key>, asked: &str, dialect: Dialect) -> Option<Model> {
    let asked = decode(asked);
    let plan = plan(gateway, key, &asked)?;
    let candidates = gateway.routing().known_models(&gateway.accounts().book.load());
    let known = candidates.contains(&asked)
        || plan.targets.iter().any(|target| target.to_string() == asked && candidates.contains(target.model.as_str()));
    known.then(|| model(asked, &plan, dialect))
}

/// What a request for this name would get: whatever would be refused is not listed either.
fn plan(gateway: &Gateway, key: Option<&Key>, name: &str) -> Option<Plan> {
    let team = key.map_or(DEFAULT_TEAM, |key| key.team.as_str());
    gateway.routing().may_ask(name, team, key)
}

fn model(id: String, plan: &Plan, dialect: Dialect) -> Model {
    if dialect == Dialect::Messages {
        return of_anthropic(id);
    }
    let by_name = plan.targets.first().filter(|_| plan.reason.why == Why::ExactModel);
    let owned_by = by_name.map_or_else(|| "farthing".to_owned(), |target| target.provider.to_string());
    Model::OpenAi { id, object: "model", created: 0, owned_by }
}

fn of_anthropic(id: String) -> Model {
    Model::Anthropic {
        kind: "model",
        display_name: id.clone(),
        id,
        created_at: EPOCH,
        lifecycle: "active",
        unknown: Unknown::default(),
    }
}

fn decode(name: &str) -> String {
    percent_decode_str(name).decode_utf8_lossy().into_owned()
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
