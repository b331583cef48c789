//! A Responses request, read as strictly as the real API reads it.
//!
//! <https://platform.openai.com/docs/api-reference/responses/create>

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::super::prefix_cache::PromptTokens;
use super::super::prices::PriceClass;
use super::super::request::Delivery;
use super::super::tokenizer::tokens;
use super::items;
use super::kept::Kept;
use super::refusal::{Read, Refusal};

/// Least `max_output_tokens`.
const OUTPUT_TOKENS_MIN: u64 = 16;
/// Tokens that open the answer.
const ANSWER_FRAME_TOKENS: usize = 3;

const KNOWN: [&str; 35] = [
    "access_programs",
    "background",
    "background_options",
    "client_metadata",
    "context_management",
    "conversation",
    "image",
    "include",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "model",
    "moderation",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
];
const INCLUDABLE: [&str; 8] = [
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "message.input_image.image_url",
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
    "web_search_call.action.sources",
    "web_search_call.results",
];
const TOOLS: [&str; 16] = [
    "apply_patch",
    "code_interpreter",
    "computer",
    "computer_use_preview",
    "custom",
    "file_search",
    "function",
    "image_generation",
    "local_shell",
    "mcp",
    "namespace",
    "programmatic_tool_calling",
    "shell",
    "tool_search",
    "web_search",
    "web_search_preview",
];
const EFFORTS: [&str; 7] = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];

/// What a tool that may be called is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Offered {
    pub(super) is_custom: bool,
    pub(super) namespace: Option<String>,
}

/// What is read of a request.
#[derive(Debug)]
pub(super) struct ResponsesRequest<'a> {
    pub(super) fields: &'a Map<String, Value>,
    pub(super) model: &'a str,
    /// The items of its own input.
    pub(super) input: Vec<Value>,
    /// What was said before, and its own input.
    pub(super) context: Vec<Value>,
    pub(super) output_limit: Option<u64>,
    pub(super) delivery: Delivery,
    pub(super) class: PriceClass,
    pub(super) reasons: bool,
    pub(super) summarizes: bool,
    pub(super) includes_sealed: bool,
    pub(super) stores: bool,
    pub(super) is_background: bool,
    pub(super) obfuscates: bool,
    pub(super) offered: HashMap<String, Offered>,
}

impl<'a> ResponsesRequest<'a> {
    pub(super) fn read(body: &'a Value, kept: &mut Kept) -> Read<Self> {
        let Some(fields) = body.as_object() else { return Err(Refusal::wrong_type("body", "an object", body)) };
        if let Some(key) = fields.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            return Err(Refusal::unknown(key));
        }
        let model = text(fields, "model")?.ok_or_else(|| Refusal::missing("model"))?;
        let background = flag(fields, "background")?.unwrap_or(false);
        let stores = flag(fields, "store")?.unwrap_or(true);
        if background && !stores {
            return Err(Refusal::bad("Background mode requires 'store' to be true.", "background", None));
        }
        let before = read_previous(fields, kept)?;
        let input = match find(fields, "input") {
            Some(input) => items::read(input, kept)?,
            None if before.is_some() || find(fields, "prompt").is_some() => Vec::new(),
            None => {
                let message =
                    "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation_id' must be provided.";
                return Err(Refusal::bad(message, "input", Some("missing_required_parameter")));
            }
        };
        let context: Vec<Value> = before.unwrap_or_default().into_iter().chain(input.iter().cloned()).collect();
        items::refuse_disorder(&context)?;
        let effort = read_effort(fields)?;
        refuse_options(fields, effort)?;
        let include = read_include(fields)?;
        let stream = flag(fields, "stream")?.unwrap_or(false);
        Ok(Self {
            fields,
            model,
            input,
            context,
            output_limit: read_limit(fields)?,
            delivery: if stream { Delivery::Streamed } else { Delivery::Whole },
            class: PriceClass::asked(text(fields, "service_tier")?),
            reasons: effort != Some("none"),
            summarizes: fields.get("reasoning").is_some_and(|reasoning| reasoning["summary"].is_string()),
            includes_sealed: include.contains(&"reasoning.encrypted_content"),
            stores,
            is_background: background,
            obfuscates: fields.get("stream_options").is_none_or(|options| options["include_obfuscation"] != false),
            offered: read_tools(fields)?,
        })
    }

    /// The prompt as this provider counts it.
    pub(super) fn prompt_tokens(&self) -> PromptTokens {
        let mut prompt = PromptTokens::of(self.model);
        let format = self.fields.get("text").map(|text| &text["format"]);
        for value in self.fields.get("tools").into_iter().chain(format).filter(|value| !value.is_null()) {
            tokens(&value.to_string()).for_each(|token| prompt.push(token));
        }
        if let Some(instructions) = self.fields.get("instructions").and_then(Value::as_str) {
            // The API says: as the first message in the model's context, of the system or the developer.
            items::feed(&json!({"type": "message", "role": "developer", "content": instructions}), &mut prompt);
        }
        self.context.iter().for_each(|item| items::feed(item, &mut prompt));
        (0..ANSWER_FRAME_TOKENS).for_each(|_| prompt.push("<|answer|>"));
        prompt
    }
}

fn find<'a>(fields: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    fields.get(key).filter(|value| !value.is_null())
}

fn text<'a>(fields: &'a Map<String, Value>, key: &str) -> Read<Option<&'a str>> {
    let read = |value: &'a Value| value.as_str().ok_or_else(|| Refusal::wrong_type(key, "a string", value));
    find(fields, key).map(read).transpose()
}

fn flag(fields: &Map<String, Value>, key: &str) -> Read<Option<bool>> {
    let read = |value: &Value| value.as_bool().ok_or_else(|| Refusal::wrong_type(key, "a boolean", value));
    find(fields, key).map(read).transpose()
}

/// Everything that was said until the end of the response before.
fn read_previous(fields: &Map<String, Value>, kept: &mut Kept) -> Read<Option<Vec<Value>>> {
    let Some(id) = text(fields, "previous_response_id")? else { return Ok(None) };
    match kept.find(id) {
        Some(held) => Ok(Some(held.context.clone())),
        None => {
            let message = format!("Previous response with id '{id}' not found.");
            Err(Refusal::bad(message, "previous_response_id", Some("previous_response_not_found")))
        }
    }
}

fn read_limit(fields: &Map<String, Value>) -> Read<Option<u64>> {
    let Some(value) = find(fields, "max_output_tokens") else { return Ok(None) };
    let limit = value.as_i64().ok_or_else(|| Refusal::wrong_type("max_output_tokens", "an integer", value))?;
    match u64::try_from(limit).ok().filter(|limit| *limit >= OUTPUT_TOKENS_MIN) {
        Some(limit) => Ok(Some(limit)),
        None => {
            let message = format!(
                "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= {OUTPUT_TOKENS_MIN}, \
                 but got {limit} instead."
            );
            Err(Refusal::bad(message, "max_output_tokens", Some("integer_below_min_value")))
        }
    }
}

fn read_effort(fields: &Map<String, Value>) -> Read<Option<&str>> {
    let Some(reasoning) = find(fields, "reasoning") else { return Ok(None) };
    let Some(reasoning) = reasoning.as_object() else {
        return Err(Refusal::wrong_type("reasoning", "an object", reasoning));
    };
    let known = ["effort", "summary", "generate_summary", "context", "mode"];
    if let Some(key) = reasoning.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(Refusal::unknown(&format!("reasoning.{key}")));
    }
    let effort = text(reasoning, "effort")?;
    match effort.filter(|effort| !EFFORTS.contains(effort)) {
        Some(effort) => Err(Refusal::wrong_value("reasoning.effort", effort, &EFFORTS)),
        None => Ok(effort),
    }
}

fn refuse_options(fields: &Map<String, Value>, effort: Option<&str>) -> Read<()> {
    for key in ["temperature", "top_p"] {
        let Some(value) = find(fields, key) else { continue };
        if effort.is_some_and(|effort| effort != "none") {
            let message = format!("Unsupported parameter: '{key}' is not supported with this model.");
            return Err(Refusal::bad(message, key, None));
        }
        if !value.is_number() {
            return Err(Refusal::wrong_type(key, "a decimal", value));
        }
    }
    for (key, known) in [
        ("truncation", &["auto", "disabled"][..]),
        ("service_tier", &["auto", "default", "flex", "scale", "priority"][..]),
        ("prompt_cache_retention", &["in_memory", "24h"][..]),
    ] {
        if let Some(word) = text(fields, key)?.filter(|word| !known.contains(word)) {
            return Err(Refusal::wrong_value(key, word, known));
        }
    }
    let kind = fields.get("text").map(|text| &text["format"]["type"]).and_then(Value::as_str).unwrap_or("text");
    let known = ["text", "json_schema", "json_object"];
    match known.contains(&kind) {
        true => Ok(()),
        false => Err(Refusal::wrong_value("text.format.type", kind, &known)),
    }
}

fn read_include(fields: &Map<String, Value>) -> Read<Vec<&str>> {
    let include = find(fields, "include").and_then(Value::as_array).into_iter().flatten();
    let include: Vec<_> = include.filter_map(Value::as_str).collect();
    match include.iter().position(|word| !INCLUDABLE.contains(word)) {
        Some(at) => Err(Refusal::wrong_value(&format!("include[{at}]"), include[at], &INCLUDABLE)),
        None => Ok(include),
    }
}

fn read_tools(fields: &Map<String, Value>) -> Read<HashMap<String, Offered>> {
    let mut offered = HashMap::new();
    let tools = find(fields, "tools").and_then(Value::as_array).into_iter().flatten();
    for (index, tool) in tools.enumerate() {
        let path = format!("tools[{index}]");
        let Some(kind) = tool["type"].as_str() else { return Err(Refusal::missing(&format!("{path}.type"))) };
        match kind {
            "function" | "custom" => offer(&path, tool, None, &mut offered)?,
            "namespace" => {
                let name = tool["name"].as_str().ok_or_else(|| Refusal::missing(&format!("{path}.name")))?;
                let inner = tool["tools"].as_array().into_iter().flatten().enumerate();
                for (at, inner) in inner {
                    offer(&format!("{path}.tools[{at}]"), inner, Some(name), &mut offered)?;
                }
            }
            _ if TOOLS.contains(&kind) => {}
            _ => return Err(Refusal::wrong_value(&format!("{path}.type"), kind, &TOOLS)),
        }
    }
    let choice = fields.get("tool_choice").filter(|choice| choice["type"] == "function");
    match choice.and_then(|choice| choice["name"].as_str()).filter(|name| !offered.contains_key(*name)) {
        Some(name) => {
            let message = format!("Tool choice 'function' not found in 'tools' parameter: {name}.");
            Err(Refusal::bad(message, "tool_choice", None))
        }
        None => Ok(offered),
    }
}

fn offer(path: &str, tool: &Value, namespace: Option<&str>, offered: &mut HashMap<String, Offered>) -> Read<()> {
    let Some(fields) = tool.as_object() else { return Err(Refusal::wrong_type(path, "an object", tool)) };
    // The flat form: a tool in the words of chat completions has no name of its own.
    let name = tool["name"].as_str().ok_or_else(|| Refusal::missing(&format!("{path}.name")))?;
    let is_custom = tool["type"] == "custom";
    let known: &[&str] = match is_custom {
        true => &["type", "name", "description", "format", "defer_loading", "async"],
        false => &[
            "type",
            "name",
            "description",
            "parameters",
            "strict",
            "defer_loading",
            "async",
            "allowed_callers",
            "output_schema",
        ],
    };
    if let Some(key) = fields.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(Refusal::unknown(&format!("{path}.{key}")));
    }
    if tool["strict"] == true && !is_strict(&tool["parameters"]) {
        let message = format!(
            "Invalid schema for function '{name}': In context=(), 'additionalProperties' is required to be supplied \
             and to be false."
        );
        return Err(Refusal::bad(message, &format!("{path}.parameters"), Some("invalid_function_parameters")));
    }
    offered.insert(name.to_owned(), Offered { is_custom, namespace: namespace.map(str::to_owned) });
    Ok(())
}

/// A strict schema closes its object and requires all that it has.
fn is_strict(schema: &Value) -> bool {
    let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
    let has_all =
        |properties: &Map<String, Value>| properties.keys().all(|key| required.iter().any(|name| name == key));
    schema["additionalProperties"] == false && schema["properties"].as_object().is_none_or(has_all)
}
