//! A Messages request, read as strictly as the real API reads it.
//!
//! What it takes depends on `anthropic-version`, on the betas and on the model. The prompt is counted in the order
//! in which it is cached: tools, system, messages. <https://platform.claude.com/docs/en/api/messages>

use serde_json::Value;

use super::super::request::Delivery;
use super::super::tokenizer::tokens;
use super::blocks::{Block, Place, marker, read, texts};
use super::fields::{Object, Read, wrong};
use super::marks::{MarkedPrompt, Stay};
use super::model::Claude;
use super::turns::{Turn, read_turns};

/// Most markers of a request.
const MARKERS_MAX: usize = 4;
/// Least tokens of a thinking budget.
const BUDGET_TOKENS_MIN: i64 = 1024;
/// Tokens that frame each block.
const BLOCK_FRAME_TOKENS: u64 = 3;

/// What the headers say of the body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header<'h> {
    pub(super) version: &'h str,
    pub(super) betas: &'h str,
}

impl Header<'_> {
    /// Since 2026-10-21: no sampling parameters, no documents from the assistant, no citations from the user.
    pub(super) fn is_new(&self) -> bool {
        self.version == "2026-10-21"
    }

    fn has_beta(&self, name: &str) -> bool {
        self.betas.split(',').any(|beta| beta.trim().starts_with(name))
    }
}

/// How a request wants the model to think.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Thinking {
    Off,
    /// As much as the model likes.
    Adaptive,
    /// Up to a budget.
    Budget,
}

/// What a request is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    Answer,
    Count,
}

/// What is read of a request.
#[derive(Debug)]
pub(super) struct MessagesRequest<'a> {
    pub(super) model: &'a str,
    pub(super) output_limit: u64,
    pub(super) delivery: Delivery,
    pub(super) thinking: Thinking,
    /// Thoughts keep their signature and lose their text.
    pub(super) omits_thoughts: bool,
    pub(super) stop_sequences: Vec<&'a str>,
    pub(super) prompt: MarkedPrompt,
    pub(super) turns: Vec<Turn<'a>>,
}

const KNOWN: [&str; 21] = [
    "cache_control",
    "container",
    "diagnostics",
    "inference_geo",
    "max_tokens",
    "messages",
    "metadata",
    "model",
    "output_config",
    "service_tier",
    "speed",
    "stop_sequences",
    "stream",
    "system",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
    "user_profile_id",
];
/// What the count of tokens does not know.
const ONLY_FOR_ANSWERS: [&str; 10] = [
    "container",
    "diagnostics",
    "inference_geo",
    "max_tokens",
    "metadata",
    "service_tier",
    "stop_sequences",
    "stream",
    "temperature",
    "top_k",
];

impl<'a> MessagesRequest<'a> {
    pub(super) fn read(body: &'a Value, header: &Header<'_>, purpose: Purpose) -> Read<Self> {
        let object = Object::of("", body)?;
        let model = object.need_text("model")?;
        let claude = Claude::named(model);
        refuse_unknown(&object, header, purpose)?;
        let output_limit = if purpose == Purpose::Answer { read_limit(&object, claude, model)? } else { 0 };
        let (thinking, omits_thoughts) = read_thinking(&object, claude, output_limit, purpose)?;
        refuse_sampling(&object, claude, header, thinking)?;
        refuse_options(&object)?;
        let tools = read_tools(&object)?;
        refuse_choice(&object, &tools, thinking)?;
        let system = match object.find("system") {
            Some(system) => read("system", system, Place::System, header)?,
            None => Vec::new(),
        };
        let messages = object.need("messages")?;
        let messages = super::fields::list("messages", messages)?;
        let turns = read_turns(messages, claude, header, thinking)?;
        let automatic = marker(&object)?;
        refuse_markers(&tools, &system, &turns, automatic)?;
        let prompt = prompt(&object, model, &tools, &system, &turns, automatic);
        let stream = object.boolean("stream")?.unwrap_or(false);
        Ok(Self {
            model,
            output_limit,
            delivery: if stream { Delivery::Streamed } else { Delivery::Whole },
            thinking,
            omits_thoughts,
            stop_sequences: read_stops(&object)?,
            prompt,
            turns,
        })
    }

    /// The text of the newest user turn that has one.
    pub(super) fn last_user_text(&self) -> String {
        let said = self.turns.iter().rev().filter(|turn| turn.role == "user").map(Turn::text);
        said.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
    }
}

fn refuse_unknown(object: &Object<'_>, header: &Header<'_>, purpose: Purpose) -> Read<()> {
    let mut known = KNOWN.to_vec();
    known.push("workspace_id");
    if purpose == Purpose::Count {
        known.retain(|key| !ONLY_FOR_ANSWERS.contains(key) && *key != "top_p");
    }
    for (beta, key) in [("context-management-", "context_management"), ("mcp-client-", "mcp_servers")] {
        if header.has_beta(beta) {
            known.push(key);
        }
    }
    object.only(&known)
}

fn read_limit(object: &Object<'_>, claude: Claude<'_>, model: &str) -> Read<u64> {
    object.need("max_tokens")?;
    let limit = object.integer("max_tokens")?.ok_or("max_tokens: Input should be a valid integer")?;
    let most = claude.output_tokens_max();
    if limit > most {
        return Err(format!(
            "max_tokens: {limit} > {most}, which is the maximum allowed number of output tokens for {model}"
        ));
    }
    // Zero writes the cache and says nothing.
    u64::try_from(limit).map_err(|_| "max_tokens: Input should be greater than or equal to 0".to_owned())
}

fn read_thinking(object: &Object<'_>, claude: Claude<'_>, limit: u64, purpose: Purpose) -> Read<(Thinking, bool)> {
    let Some(config) = object.object("thinking")? else {
        let default = if claude.thinks_by_default() { Thinking::Adaptive } else { Thinking::Off };
        return Ok((default, claude.thinks_by_default()));
    };
    let kind = config.tag(&["adaptive", "between_tools", "disabled", "enabled"])?;
    let config = config.tagged(kind);
    let known: &[&str] = match kind {
        "enabled" => &["type", "budget_tokens", "display"],
        "adaptive" => &["type", "display"],
        _ => &["type"],
    };
    config.only(known)?;
    let display = config.word("display", &["summarized", "omitted"])?;
    let omits = display.map_or(claude.thinks_by_default(), |display| display == "omitted");
    match kind {
        "enabled" if !claude.takes_budget() => {
            Err("\"thinking.type.enabled\" is not supported for this model. Use \"thinking.type.adaptive\" and \
                 \"output_config.effort\" to control thinking behavior."
                .to_owned())
        }
        "enabled" => {
            config.need("budget_tokens")?;
            let budget = config.integer("budget_tokens")?.unwrap_or_default();
            if budget < BUDGET_TOKENS_MIN {
                let found = format!("Input should be greater than or equal to {BUDGET_TOKENS_MIN}");
                return Err(wrong(&config.at("budget_tokens"), &found));
            }
            if purpose == Purpose::Answer && i128::from(budget) >= i128::from(limit) {
                return Err("`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our \
                            documentation at \
                            https://docs.claude.com/en/docs/build-with-claude/extended-thinking#max-tokens-and-context-window-size"
                    .to_owned());
            }
            Ok((Thinking::Budget, omits))
        }
        "adaptive" | "between_tools" if !claude.takes_adaptive_thinking() => {
            Err(format!("{kind} thinking is not supported on this model"))
        }
        "adaptive" | "between_tools" => Ok((Thinking::Adaptive, omits)),
        _ => Ok((Thinking::Off, false)),
    }
}

fn refuse_sampling(object: &Object<'_>, claude: Claude<'_>, header: &Header<'_>, thinking: Thinking) -> Read<()> {
    let keys = ["temperature", "top_p", "top_k"];
    if let Some(key) = keys.into_iter().find(|key| object.has(key)) {
        if header.is_new() {
            return Err(object.extra(key));
        }
        if !claude.takes_sampling() {
            return Err(format!("`{key}` is deprecated for this model."));
        }
    }
    let (temperature, top_p) = (object.number("temperature")?, object.number("top_p")?);
    for (key, value) in [("temperature", temperature), ("top_p", top_p)] {
        if value.is_some_and(|value| !(0.0..=1.0).contains(&value)) {
            return Err(format!("{key}: range: 0..1"));
        }
    }
    object.integer("top_k")?;
    if temperature.is_some() && top_p.is_some() {
        return Err(
            "`temperature` and `top_p` cannot both be specified for this model. Please use only one.".to_owned()
        );
    }
    if thinking == Thinking::Budget && temperature.is_some_and(|temperature| temperature < 1.0) {
        return Err("`temperature` may only be set to 1 when thinking is enabled.".to_owned());
    }
    Ok(())
}

fn refuse_options(object: &Object<'_>) -> Read<()> {
    object.word("service_tier", &["auto", "standard_only"])?;
    object.word("speed", &["standard", "fast"])?;
    if let Some(metadata) = object.object("metadata")? {
        metadata.only(&["user_id"])?;
        metadata.text("user_id")?;
    }
    let Some(output) = object.object("output_config")? else { return Ok(()) };
    output.only(&["effort", "format", "task_budget"])?;
    output.word("effort", &["low", "medium", "high", "xhigh", "max"])?;
    if let Some(format) = output.object("format")? {
        format.tag(&["json_schema"])?;
        format.tagged("json_schema").only(&["type", "schema"])?;
        Object::of(format.at("schema"), format.tagged("json_schema").need("schema")?)?;
    }
    Ok(())
}

fn read_stops<'a>(object: &Object<'a>) -> Read<Vec<&'a str>> {
    let stops = texts(object, "stop_sequences")?;
    match stops.iter().any(|stop| stop.trim().is_empty()) {
        true => Err("stop_sequences: each stop sequence must contain non-whitespace".to_owned()),
        false => Ok(stops),
    }
}

/// A tool that was offered.
#[derive(Debug)]
struct Tool<'a> {
    name: &'a str,
    words: String,
    marker: Option<Stay>,
}

const TYPED_TOOLS: [&str; 11] = [
    "bash_",
    "browser_toolset_",
    "code_execution_",
    "computer_",
    "mcp_toolset",
    "memory_",
    "text_editor_",
    "tool_search_tool_",
    "web_fetch_",
    "web_search_",
    "computer_toolset_",
];

fn read_tools<'a>(object: &Object<'a>) -> Read<Vec<Tool<'a>>> {
    let mut tools: Vec<Tool<'a>> = Vec::new();
    for (index, value) in object.list("tools")?.iter().enumerate() {
        let tool = Object::of(format!("tools.{index}"), value)?;
        let kind = tool.text("type")?.unwrap_or("custom");
        if kind != "custom" && !TYPED_TOOLS.iter().any(|known| kind.starts_with(known)) {
            let found = format!("Input tag '{kind}' found using 'type' does not match any of the expected tags");
            return Err(wrong(&tool.path, &found));
        }
        let tool = tool.tagged(kind);
        if kind == "custom" {
            refuse_custom(&tool)?;
        }
        let name = tool.text("name")?.unwrap_or(kind);
        if tools.iter().any(|other| other.name == name) {
            return Err("tools: Tool names must be unique.".to_owned());
        }
        let mut words = value.clone();
        if let Some(fields) = words.as_object_mut() {
            fields.remove("cache_control");
        }
        tools.push(Tool { name, words: words.to_string(), marker: marker(&tool)? });
    }
    Ok(tools)
}

fn refuse_custom(tool: &Object<'_>) -> Read<()> {
    tool.only(&[
        "type",
        "name",
        "description",
        "input_schema",
        "strict",
        "cache_control",
        "defer_loading",
        "eager_input_streaming",
        "input_examples",
        "allowed_callers",
    ])?;
    let name = tool.need_text("name")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if name.is_empty() || name.len() > 128 || !name.bytes().all(plain) {
        return Err(wrong(&tool.at("name"), "String should match pattern '^[a-zA-Z0-9_-]{1,128}$'"));
    }
    tool.text("description")?;
    tool.boolean("strict")?;
    let schema = Object::of(tool.at("input_schema"), tool.need("input_schema")?)?;
    match schema.need("type")?.as_str() {
        Some("object") => Ok(()),
        _ => Err(wrong(&schema.at("type"), "Input should be 'object'")),
    }
}

fn refuse_choice(object: &Object<'_>, tools: &[Tool<'_>], thinking: Thinking) -> Read<()> {
    let Some(choice) = object.object("tool_choice")? else { return Ok(()) };
    let kind = choice.tag(&["any", "auto", "none", "tool"])?;
    let choice = choice.tagged(kind);
    match kind {
        "none" => choice.only(&["type"])?,
        "tool" => choice.only(&["type", "name", "disable_parallel_tool_use"])?,
        _ => choice.only(&["type", "disable_parallel_tool_use"])?,
    }
    choice.boolean("disable_parallel_tool_use")?;
    if tools.is_empty() && kind != "none" {
        return Err("tool_choice: tool_choice may only be specified while providing tools.".to_owned());
    }
    if kind == "tool" {
        let name = choice.need_text("name")?;
        if !tools.iter().any(|tool| tool.name == name) {
            return Err(format!("tool_choice: Tool '{name}' not found in provided tools"));
        }
    }
    match (kind, thinking) {
        ("any" | "tool", Thinking::Budget) => {
            Err("Thinking may not be enabled when tool_choice forces tool use.".to_owned())
        }
        _ => Ok(()),
    }
}

/// At most four markers, and none for an hour after one for five minutes.
fn refuse_markers(tools: &[Tool<'_>], system: &[Block<'_>], turns: &[Turn<'_>], automatic: Option<Stay>) -> Read<()> {
    let tools = tools.iter().enumerate().map(|(index, tool)| (format!("tools.{index}"), tool.marker));
    let blocks = system.iter().chain(turns.iter().flat_map(|turn| &turn.blocks));
    let blocks = blocks.map(|block| (block.path.clone(), block.marker));
    let markers = tools.chain(blocks).chain([(String::new(), automatic)]);
    let markers: Vec<_> = markers.filter_map(|(path, marker)| Some((path, marker?))).collect();
    if markers.len() > MARKERS_MAX {
        return Err(format!(
            "A maximum of {MARKERS_MAX} blocks with cache_control may be provided. Found {}.",
            markers.len()
        ));
    }
    for pair in markers.windows(2) {
        if let [(_, Stay::FiveMinutes), (path, Stay::Hour)] = pair {
            let path =
                if path.is_empty() { "cache_control.ttl".to_owned() } else { format!("{path}.cache_control.ttl") };
            return Err(format!(
                "{path}: a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. Note that \
                 blocks are processed in the following order: `tools`, `system`, `messages`."
            ));
        }
    }
    Ok(())
}

fn prompt(
    object: &Object<'_>,
    model: &str,
    tools: &[Tool<'_>],
    system: &[Block<'_>],
    turns: &[Turn<'_>],
    automatic: Option<Stay>,
) -> MarkedPrompt {
    let mut prompt = MarkedPrompt::of(model);
    for tool in tools {
        prompt.push("tool", &tool.words, BLOCK_FRAME_TOKENS, tool.marker);
    }
    if let Some(format) = object.find("output_config").and_then(|config| config.get("format")) {
        prompt.push("format", &format.to_string(), 0, None);
    }
    for block in system {
        prompt.push("system", &block.words, BLOCK_FRAME_TOKENS, block.marker);
    }
    // Another choice of tools or another way to think reads the messages anew, and nothing before them.
    for key in ["tool_choice", "thinking"] {
        prompt.turn(&object.find(key).map(Value::to_string).unwrap_or_default());
    }
    for turn in turns {
        prompt.turn(turn.role);
        for block in &turn.blocks {
            let named = format!("{}{}", block.kind, block.call.unwrap_or_default());
            let frame = BLOCK_FRAME_TOKENS + tokens(block.call.unwrap_or_default()).map(|_| 1).sum::<u64>();
            prompt.push(&named, &block.words, frame, block.marker);
        }
    }
    if let Some(stay) = automatic {
        prompt.mark_last(stay);
    }
    prompt
}
