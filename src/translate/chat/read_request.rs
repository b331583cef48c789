//! Requests of Chat Completions, but for what was said in them.
//! <https://platform.openai.com/docs/api-reference/chat/create>

use crate::dialect::Dialect;
use crate::prompt::json::RawStr;

use super::super::Untranslatable;
use super::super::effort::Effort;
use super::super::read::{given, items, members, string, switch, text};
use super::super::talk::{Choice, Extra, Format, Head, Input, Talk, Thoughts, Tier, Tool, Weight};
use super::{WANTS_THOUGHTS, read_turns};

/// Members without which an answer would be another one.
const MEANING: [&str; 7] = ["n", "logprobs", "modalities", "audio", "web_search_options", "functions", "function_call"];

/// Reads a request.
///
/// # Errors
///
/// [`Untranslatable`] for values of the wrong kind and for what no other dialect has.
pub fn read(body: &str) -> Result<Talk<'_>, Untranslatable> {
    let mut reader = Reader::default();
    members("body", body, |key, value| reader.member(key, value))?;
    let Reader { mut head, turns, user, safety_identifier } = reader;
    head.user = safety_identifier.or(user);
    let turns = turns.ok_or(Untranslatable::field("messages", "must be given"))?;
    read_turns::instructions(turns, &mut head.instructions)?;
    Ok(Talk { from: Dialect::Chat, head, turns })
}

#[derive(Default)]
struct Reader<'b> {
    head: Head<'b>,
    turns: Option<&'b str>,
    user: Option<RawStr<'b>>,
    safety_identifier: Option<RawStr<'b>>,
}

impl<'b> Reader<'b> {
    fn member(&mut self, key: &str, value: &'b str) -> Result<(), Untranslatable> {
        let head = &mut self.head;
        match key {
            // The target's own is written.
            "model" => {}
            "messages" => self.turns = Some(value),
            "max_tokens" => head.limit = head.limit.max(Some(limit("max_tokens", value)?)),
            "max_completion_tokens" => head.limit = head.limit.max(Some(limit("max_completion_tokens", value)?)),
            "stream" => head.stream = switch("stream", value)?,
            // Usage is told by every stream of ours.
            "stream_options" => {}
            "stop" => match string(value) {
                Some(stop) => head.stop.push(stop),
                None => items("stop", value, |stop| {
                    head.stop.push(text("stop", stop)?);
                    Ok(())
                })?,
            },
            "temperature" => head.temperature = Some(value),
            "top_p" => head.top_p = Some(value),
            "top_k" => head.top_k = Some(value),
            "tools" => items("tools", value, |tool| {
                let tool = read_tool(tool, &mut head.extras)?;
                head.tools.push(tool);
                Ok(())
            })?,
            "tool_choice" => head.choice = Some(read_choice(value)?),
            "parallel_tool_calls" => head.parallel = Some(switch("parallel_tool_calls", value)?),
            "reasoning_effort" => {
                head.effort = Effort::of_word(&text("reasoning_effort", value)?.decode());
                if head.effort.is_none() {
                    self.extra(key, value, Weight::Style);
                }
            }
            WANTS_THOUGHTS => head.thoughts = switch(WANTS_THOUGHTS, value)?.then_some(Thoughts::Summary),
            "response_format" => head.format = read_format(value)?,
            "user" => self.user = Some(text("user", value)?),
            "safety_identifier" => self.safety_identifier = Some(text("safety_identifier", value)?),
            "service_tier" => {
                head.tier = match &*text("service_tier", value)?.decode() {
                    "auto" => Some(Tier::Auto),
                    "default" => Some(Tier::Standard),
                    _ => return Err(Untranslatable::field("service_tier", "names a price class of OpenAI's own")),
                }
            }
            "n" if value == "1" => {}
            "modalities" if is_text_only(value)? => {}
            // It says what is so without it.
            _ if matches!(value, "false" | "0" | "0.0" | "{}" | "[]") => {}
            _ => {
                let weight = if MEANING.contains(&key) { Weight::Meaning } else { Weight::Style };
                self.extra(key, value, weight);
            }
        }
        Ok(())
    }

    fn extra(&mut self, key: &str, value: &'b str, weight: Weight) {
        self.head.extras.push(Extra { name: key.to_owned().into(), value, weight });
    }
}

fn limit(field: &'static str, value: &str) -> Result<u64, Untranslatable> {
    value.parse().map_err(|_| Untranslatable::field(field, "must be a whole number"))
}

fn is_text_only(value: &str) -> Result<bool, Untranslatable> {
    let mut is_only = true;
    items("modalities", value, |kind| {
        is_only &= kind == r#""text""#;
        Ok(())
    })?;
    Ok(is_only)
}

fn read_tool<'b>(value: &'b str, extras: &mut Vec<Extra<'b>>) -> Result<Tool<'b>, Untranslatable> {
    let (mut kind, mut said, mut mark) = (None, None, None);
    members("tools", value, |key, value| {
        match key {
            "type" => kind = Some(value),
            "function" | "custom" => said = Some(value),
            "cache_control" => mark = Some(value),
            _ => {}
        }
        Ok(())
    })?;
    let is_text = match &*given("tools.type", kind)?.decode() {
        "function" => false,
        "custom" => true,
        _ => return Err(Untranslatable::field("tools.type", "names a tool that only OpenAI has")),
    };
    let (mut name, mut description, mut schema, mut strict) = (None, None, None, None);
    members("tools", said.ok_or(Untranslatable::field("tools.function", "must be given"))?, |key, value| {
        match key {
            "name" => name = Some(value),
            "description" => description = Some(text("tools.function.description", value)?.into()),
            "parameters" => schema = Some(value),
            "strict" => strict = Some(switch("tools.function.strict", value)?),
            "format" if is_text => {
                extras.push(Extra { name: "tools.custom.format".into(), value, weight: Weight::Style });
            }
            _ => {}
        }
        Ok(())
    })?;
    let input = if is_text { Input::Text } else { schema.map_or(Input::Unsaid, Input::Schema) };
    Ok(Tool { name: given("tools.function.name", name)?.raw.into(), description, input, strict, mark })
}

fn read_choice(value: &str) -> Result<Choice<'_>, Untranslatable> {
    const FIELD: &str = "tool_choice";
    if let Some(word) = string(value) {
        return match &*word.decode() {
            "auto" => Ok(Choice::Auto),
            "required" => Ok(Choice::Any),
            "none" => Ok(Choice::Never),
            _ => Err(Untranslatable::field(FIELD, "is not known")),
        };
    }
    let (mut name, mut is_set) = (None, false);
    members(FIELD, value, |key, value| match key {
        "function" | "custom" => members(FIELD, value, |key, value| {
            if key == "name" {
                name = Some(value);
            }
            Ok(())
        }),
        "allowed_tools" => {
            is_set = true;
            Ok(())
        }
        _ => Ok(()),
    })?;
    if is_set {
        // Fewer tools would be another prompt.
        return Err(Untranslatable::field(FIELD, "allows some of the tools, for which the target has no words"));
    }
    Ok(Choice::Tool(given(FIELD, name)?.raw.into()))
}

fn read_format(value: &str) -> Result<Option<Format<'_>>, Untranslatable> {
    const FIELD: &str = "response_format";
    let (mut kind, mut said) = (None, None);
    members(FIELD, value, |key, value| {
        match key {
            "type" => kind = Some(value),
            "json_schema" => said = Some(value),
            _ => {}
        }
        Ok(())
    })?;
    match &*given("response_format.type", kind)?.decode() {
        "text" => return Ok(None),
        "json_object" => return Ok(Some(Format::Object)),
        "json_schema" => {}
        _ => return Err(Untranslatable::field("response_format.type", "is not known")),
    }
    let (mut schema, mut name, mut strict) = (None, None, None);
    members(FIELD, said.ok_or(Untranslatable::field(FIELD, "has no `json_schema`"))?, |key, value| {
        match key {
            "schema" => schema = Some(value),
            "name" => name = string(value),
            "strict" => strict = Some(switch("response_format.json_schema.strict", value)?),
            _ => {}
        }
        Ok(())
    })?;
    let schema = schema.ok_or(Untranslatable::field(FIELD, "has no `schema`"))?;
    Ok(Some(Format::Schema { schema, name, strict }))
}
