//! The invoice in the shapes in which providers export sums: what their usage and cost APIs answer, and CSV.
//!
//! Shapes are those that `docs/reconcile.md` names the sources of. Amounts are not rounded further than the invoice's.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::{BilledTokens, Invoice};
use crate::money::NanoUsd;

/// A shape to export in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExportShape {
    /// OpenAI's costs API, by line item.
    OpenaiCosts,
    /// OpenAI's usage API, by model.
    OpenaiUsage,
    /// The costs that OpenAI's dashboard exports.
    OpenaiCsv,
    /// Anthropic's cost report, by description.
    AnthropicCost,
    /// Anthropic's usage report, by model.
    AnthropicUsage,
    /// CSV with the columns `Date`, `Model` and `Cost`.
    Csv,
}

/// What was billed for a model.
#[derive(Default)]
struct Billed {
    calls: u64,
    cost: NanoUsd,
    tokens: BilledTokens,
}

impl Invoice {
    /// All lines as sums of one day of UTC.
    pub fn export(&self, shape: ExportShape, day: Date) -> String {
        let moment = |day: Date| day.to_zoned(TimeZone::UTC).map_or(Timestamp::UNIX_EPOCH, |zoned| zoned.timestamp());
        let (from, until) = (moment(day), moment(day.tomorrow().unwrap_or(day)));
        let [start, end] = [from, until].map(Timestamp::as_second);
        let models = self.models();
        let openai = |result: &dyn Fn(&str, &Billed) -> Value| {
            let results: Vec<Value> = models.iter().map(|(model, billed)| result(model, billed)).collect();
            let bucket = json!({ "object": "bucket", "start_time": start, "end_time": end, "results": results });
            json!({ "object": "page", "data": [bucket], "has_more": false, "next_page": null }).to_string()
        };
        let anthropic = |result: &dyn Fn(&str, &Billed) -> Value| {
            let results: Vec<Value> = models.iter().map(|(model, billed)| result(model, billed)).collect();
            let (starting_at, ending_at) = (from.to_string(), until.to_string());
            let bucket = json!({ "ending_at": ending_at, "results": results, "starting_at": starting_at });
            json!({ "data": [bucket], "has_more": false, "next_page": null }).to_string()
        };
        match shape {
            ExportShape::OpenaiCosts => openai(&openai_cost),
            ExportShape::OpenaiUsage => openai(&openai_usage),
            ExportShape::AnthropicCost => anthropic(&anthropic_cost),
            ExportShape::AnthropicUsage => anthropic(&anthropic_usage),
            ExportShape::OpenaiCsv => {
                let lines = models.iter().map(|(model, billed)| {
                    format!("{start},{end},{from},{until},{},usd,\"{model}, input\",,,\n", billed.cost)
                });
                let header = "start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,line_item,\
                              api_key_id,project_id,organization_id\n";
                header.to_owned() + &lines.collect::<String>()
            }
            ExportShape::Csv => {
                let lines = models.iter().map(|(model, billed)| format!("{day},{model},{}\n", billed.cost));
                "Date,Model,Cost\n".to_owned() + &lines.collect::<String>()
            }
        }
    }

    fn models(&self) -> BTreeMap<&str, Billed> {
        let mut models: BTreeMap<&str, Billed> = BTreeMap::new();
        for line in &self.lines {
            let billed = models.entry(line.model.as_str()).or_default();
            billed.calls += 1;
            billed.cost += line.cost;
            billed.tokens.input += line.tokens.input;
            billed.tokens.cached_input += line.tokens.cached_input;
            billed.tokens.cache_write += line.tokens.cache_write;
            billed.tokens.output += line.tokens.output;
        }
        models
    }
}

/// The amount as a JSON number that keeps every digit.
fn openai_cost(model: &str, billed: &Billed) -> Value {
    let value: Value = serde_json::from_str(&billed.cost.to_string()).unwrap_or_default();
    json!({
        "object": "organization.costs.result", "amount": { "value": value, "currency": "usd" },
        "line_item": format!("{model}, input"), "project_id": null, "api_key_id": null, "quantity": null,
    })
}

fn openai_usage(model: &str, billed: &Billed) -> Value {
    let tokens = &billed.tokens;
    json!({
        "object": "organization.usage.completions.result", "input_tokens": tokens.input,
        "input_cached_tokens": tokens.cached_input, "input_cache_write_tokens": tokens.cache_write,
        "output_tokens": tokens.output, "num_model_requests": billed.calls, "project_id": null, "user_id": null,
        "api_key_id": null, "model": model, "batch": null, "service_tier": null,
    })
}

/// Cents, as a string.
fn anthropic_cost(model: &str, billed: &Billed) -> Value {
    let cents = format!("{}.{:07}", billed.cost.0 / 10_000_000, billed.cost.0 % 10_000_000);
    json!({
        "amount": cents, "currency": "USD", "cost_type": "tokens", "context_window": "0-200k", "model": model,
        "description": format!("{model} Usage"), "service_tier": "standard", "token_type": null, "workspace_id": null,
    })
}

fn anthropic_usage(model: &str, billed: &Billed) -> Value {
    let tokens = &billed.tokens;
    json!({
        "uncached_input_tokens": tokens.input.saturating_sub(tokens.cached_input).saturating_sub(tokens.cache_write),
        "cache_creation": { "ephemeral_5m_input_tokens": tokens.cache_write, "ephemeral_1h_input_tokens": 0 },
        "cache_read_input_tokens": tokens.cached_input, "output_tokens": tokens.output, "model": model,
        "server_tool_use": { "web_search_requests": 0 }, "api_key_id": null, "workspace_id": null,
        "service_tier": "standard", "context_window": "0-200k",
    })
}
