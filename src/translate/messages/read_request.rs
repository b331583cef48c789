//! Requests of Messages, but for what was said in them.
//! <https://platform.claude.com/docs/en/api/messages/create>

use crate::dialect::Dialect;
use crate::prompt::json::RawStr;

use super::super::Untranslatable;
use super::super::effort::Effort;
use super::super::read::{given, items, members, string, switch, text};
use super::super::talk::{Choice, Extra, Format, Head, Input, Part, Talk, Thoughts, Tier, Tool, Weight};
use super::read_turns;

/// What Claude Code puts before its system prompt. Anthropic reads it as a header; it changes where the prompt does
/// not, and stands before everything that a provider could have cached.
const BILLING_HEADER: &str = "x-anthropic-billing-header";

/// Reads a request.
///
/// # Errors
///
/// [`Untranslatable`] for values of the wrong kind and for tools that only Anthropic or its models know.
pub fn read(body: &str) -> Result<Talk<'_>, Untranslatable> {
    let mut reader = Reader::default();
    members("body", body, |key, value| reader.member(key, value))?;
    let Reader { mut head, turns, thinking, word } = reader;
    // Who turns thinking off means it, whatever the effort is for what is said.
    head.effort = if thinking == Some(Effort::None) { thinking } else { word.or(thinking) };
    let turns = turns.ok_or(Untranslatable::field("messages", "must be given"))?;
    Ok(Talk { from: Dialect::Messages, head, turns })
}

#[derive(Default)]
struct Reader<'b> {
    head: Head<'b>,
    turns: Option<&'b str>,
    /// What `thinking` says.
    thinking: Option<Effort>,
    /// What `output_config.effort` says.
    word: Option<Effort>,
}

impl<'b> Reader<'b> {
    fn member(&mut self, key: &str, value: &'b str) -> Result<(), Untranslatable> {
        let head = &mut self.head;
        match key {
            // The target's own is written.
            "model" => {}
            "messages" => self.turns = Some(value),
            "system" => read_system(value, &mut head.instructions)?,
            "max_tokens" => {
                let limit = value.parse().map_err(|_| Untranslatable::field("max_tokens", "must be a whole number"))?;
                head.limit = Some(limit);
            }
            "stream" => head.stream = switch("stream", value)?,
            "stop_sequences" => items("stop_sequences", value, |stop| {
                head.stop.push(text("stop_sequences", stop)?);
                Ok(())
            })?,
            "temperature" => head.temperature = Some(value),
            "top_p" => head.top_p = Some(value),
            "top_k" => head.top_k = Some(value),
            "tools" => items("tools", value, |tool| {
                let tool = read_tool(tool, &mut head.extras)?;
                head.tools.push(tool);
                Ok(())
            })?,
            "tool_choice" => self.choice(value)?,
            "thinking" => self.thinking(value)?,
            "output_config" => self.output_config(value)?,
            "output_format" => self.head.format = Some(read_format(value)?),
            "metadata" => members("metadata", value, |key, value| {
                if key == "user_id" {
                    head.user = Some(text("metadata.user_id", value)?);
                }
                Ok(())
            })?,
            "service_tier" => {
                head.tier = match &*text("service_tier", value)?.decode() {
                    "auto" => Some(Tier::Auto),
                    "standard_only" => Some(Tier::Standard),
                    _ => return Err(Untranslatable::field("service_tier", "names a price class of Anthropic's own")),
                }
            }
            // What caches by itself needs no marker.
            "cache_control" => {}
            "speed" if value == r#""standard""# => {}
            "inference_geo" if value == r#""global""# => {}
            "mcp_servers" if string(value).is_none() && value[1..].trim_ascii_start().starts_with(']') => {}
            "speed" | "inference_geo" | "mcp_servers" | "container" => self.extra(key, value, Weight::Meaning),
            _ => self.extra(key, value, Weight::Style),
        }
        Ok(())
    }

    fn extra(&mut self, key: &str, value: &'b str, weight: Weight) {
        self.head.extras.push(Extra { name: key.to_owned().into(), value, weight });
    }

    fn choice(&mut self, value: &'b str) -> Result<(), Untranslatable> {
        let (mut kind, mut name, mut is_alone) = (None, None, None);
        members("tool_choice", value, |key, value| {
            match key {
                "type" => kind = Some(value),
                "name" => name = Some(value),
                "disable_parallel_tool_use" => is_alone = Some(switch("tool_choice.disable_parallel_tool_use", value)?),
                _ => {}
            }
            Ok(())
        })?;
        self.head.parallel = is_alone.map(|alone| !alone);
        self.head.choice = Some(match &*given("tool_choice.type", kind)?.decode() {
            "auto" => Choice::Auto,
            "any" => Choice::Any,
            "none" => Choice::Never,
            "tool" => Choice::Tool(given("tool_choice.name", name)?.raw.into()),
            _ => return Err(Untranslatable::field("tool_choice.type", "is not known")),
        });
        Ok(())
    }

    fn thinking(&mut self, value: &'b str) -> Result<(), Untranslatable> {
        let (mut kind, mut budget, mut display) = (None, None, None);
        members("thinking", value, |key, value| {
            match key {
                "type" => kind = Some(value),
                "budget_tokens" => budget = value.parse().ok(),
                "display" => display = string(value),
                _ => {}
            }
            Ok(())
        })?;
        self.head.thoughts = match display.map(RawStr::decode).as_deref() {
            Some("summarized") => Some(Thoughts::Summary),
            Some("omitted") => Some(Thoughts::Nothing),
            _ => None,
        };
        self.thinking = match &*given("thinking.type", kind)?.decode() {
            "enabled" => budget.map(Effort::of_budget),
            "disabled" => Some(Effort::None),
            // As long as the model likes: what every target does unasked.
            _ => None,
        };
        Ok(())
    }

    fn output_config(&mut self, value: &'b str) -> Result<(), Untranslatable> {
        members("output_config", value, |key, value| {
            match key {
                "effort" => self.word = Effort::of_word(&text("output_config.effort", value)?.decode()),
                "format" => self.head.format = Some(read_format(value)?),
                "task_budget" => self.extra("output_config.task_budget", value, Weight::Style),
                _ => {}
            }
            Ok(())
        })
    }
}

fn read_system<'b>(value: &'b str, instructions: &mut Vec<Part<'b>>) -> Result<(), Untranslatable> {
    if let Some(text) = string(value) {
        instructions.push(Part::text(text));
        return Ok(());
    }
    items("system", value, |block| {
        if read_turns::Block::read("system", block)?.text()?.raw.starts_with(BILLING_HEADER) {
            return Ok(());
        }
        read_turns::parts("system", block, instructions)
    })
}

fn read_format(value: &str) -> Result<Format<'_>, Untranslatable> {
    let mut found = None;
    members("output_config.format", value, |key, value| {
        if key == "schema" {
            found = Some(value);
        }
        Ok(())
    })?;
    let schema = found.ok_or(Untranslatable::field("output_config.format", "has no `schema`"))?;
    Ok(Format::Schema { schema, name: None, strict: Some(true) })
}

fn read_tool<'b>(value: &'b str, extras: &mut Vec<Extra<'b>>) -> Result<Tool<'b>, Untranslatable> {
    let (mut kind, mut name, mut description, mut schema, mut strict, mut mark) = (None, None, None, None, None, None);
    members("tools", value, |key, value| {
        match key {
            "type" => kind = Some(text("tools.type", value)?),
            "name" => name = Some(value),
            "description" => description = Some(text("tools.description", value)?.into()),
            "input_schema" => schema = Some(value),
            "strict" => strict = Some(switch("tools.strict", value)?),
            "cache_control" => mark = Some(value),
            _ if value == "false" => {}
            other => {
                extras.push(Extra { name: format!("tools.{other}").into(), value, weight: Weight::Style });
            }
        }
        Ok(())
    })?;
    if kind.is_some_and(|kind| kind.decode() != "custom") {
        // The schema of those that clients run is known to Anthropic's models alone, the others run at Anthropic.
        return Err(Untranslatable::field("tools.type", "names a tool that only Anthropic's models have"));
    }
    let input = schema.map_or(Input::Unsaid, Input::Schema);
    Ok(Tool { name: given("tools.name", name)?.raw.into(), description, input, strict, mark })
}
