//! Requests of Responses, but for what was said in them.
//! <https://platform.openai.com/docs/api-reference/responses/create>

use std::borrow::Cow;

use crate::dialect::Dialect;
use crate::prompt::json::RawStr;

use super::super::Untranslatable;
use super::super::effort::Effort;
use super::super::read::{given, items, members, string, switch, text};
use super::super::talk::{Choice, Extra, Format, Head, Input, Part, Talk, Text, Thoughts, Tier, Tool, Weight};
use super::{echo, names, read_turns};

/// Members without which an answer would be another one: what the provider keeps for it, and what bounds it.
const MEANING: [&str; 6] =
    ["previous_response_id", "conversation", "background", "prompt", "max_tool_calls", "top_logprobs"];

/// Members that say nothing of the answer, or what is so without them.
const NEUTRAL: [&str; 2] = ["client_metadata", "stream_options"];

/// Members of a tool that only steer how it is offered, each as it is left out.
const WITHOUT_COUNTERPART: [(&str, &str); 5] = [
    ("format", "tools.format"),
    ("defer_loading", "tools.defer_loading"),
    ("async", "tools.async"),
    ("allowed_callers", "tools.allowed_callers"),
    ("output_schema", "tools.output_schema"),
];

/// What a client may ask to be included that no answer of another dialect has anything of.
const SEALED: &str = "reasoning.encrypted_content";

/// Reads a request.
///
/// # Errors
///
/// [`Untranslatable`] for values of the wrong kind, for what the provider must have kept, and for tools that only OpenAI
/// or its models know.
pub fn read(body: &str) -> Result<Talk<'_>, Untranslatable> {
    let mut reader = Reader::default();
    members("body", body, |key, value| reader.member(key, value))?;
    let Reader { mut head, instructions, turns, user, safety_identifier, searches } = reader;
    head.user = safety_identifier.or(user);
    if searches {
        // Codex always offers it; a model that need not call anything can do without.
        let is_needed = !matches!(head.choice, None | Some(Choice::Auto | Choice::Never));
        let weight = if is_needed { Weight::Meaning } else { Weight::Style };
        head.extras.push(Extra { name: "tools.web_search".into(), value: "true", weight });
    }
    let turns = turns.ok_or(Untranslatable::field("input", "must be given"))?;
    head.instructions.extend(instructions.map(Part::text));
    read_turns::instructions(turns, &mut head.instructions)?;
    Ok(Talk { from: Dialect::Responses, head, turns })
}

#[derive(Default)]
struct Reader<'b> {
    head: Head<'b>,
    instructions: Option<RawStr<'b>>,
    turns: Option<&'b str>,
    user: Option<RawStr<'b>>,
    safety_identifier: Option<RawStr<'b>>,
    /// Whether the provider's search of the web is among the tools.
    searches: bool,
}

impl<'b> Reader<'b> {
    fn member(&mut self, key: &str, value: &'b str) -> Result<(), Untranslatable> {
        let head = &mut self.head;
        head.repeated.extend(echo::repeated(key).map(|name| (name, value)));
        match key {
            // The target's own is written.
            "model" => {}
            "input" => self.turns = Some(value),
            "instructions" => self.instructions = Some(text("instructions", value)?),
            "max_output_tokens" => {
                let limit =
                    value.parse().map_err(|_| Untranslatable::field("max_output_tokens", "must be a whole number"))?;
                head.limit = Some(limit);
            }
            "stream" => head.stream = switch("stream", value)?,
            "temperature" => head.temperature = Some(value),
            "top_p" => head.top_p = Some(value),
            "tools" => self.tools(value)?,
            "tool_choice" => head.choice = Some(read_choice(value)?),
            "parallel_tool_calls" => head.parallel = Some(switch("parallel_tool_calls", value)?),
            "reasoning" => self.reasoning(value)?,
            "text" => self.text(value)?,
            "include" => items("include", value, |word| {
                match &*text("include", word)?.decode() {
                    SEALED => {}
                    "message.output_text.logprobs" => {
                        return Err(Untranslatable::field("include", "asks for log probabilities"));
                    }
                    _ => head.extras.push(Extra { name: "include".into(), value, weight: Weight::Style }),
                }
                Ok(())
            })?,
            "user" => self.user = Some(text("user", value)?),
            "safety_identifier" => self.safety_identifier = Some(text("safety_identifier", value)?),
            "service_tier" => {
                head.tier = match &*text("service_tier", value)?.decode() {
                    "auto" => Some(Tier::Auto),
                    "default" => Some(Tier::Standard),
                    _ => return Err(Untranslatable::field("service_tier", "names a price class of OpenAI's own")),
                }
            }
            "truncation" if value == r#""disabled""# => {}
            _ if NEUTRAL.contains(&key) => {}
            // It says what is so without it.
            _ if matches!(value, "false" | "0" | "{}" | "[]") => {}
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

    fn reasoning(&mut self, value: &'b str) -> Result<(), Untranslatable> {
        members("reasoning", value, |key, value| {
            match key {
                "effort" => {
                    self.head.effort = Effort::of_word(&text("reasoning.effort", value)?.decode());
                    if self.head.effort.is_none() {
                        self.extra("reasoning.effort", value, Weight::Style);
                    }
                }
                "summary" | "generate_summary" => self.head.thoughts = Some(Thoughts::Summary),
                // How thoughts of earlier turns are read, and by which kind of model, is the target's own affair.
                other => self.extra(&format!("reasoning.{other}"), value, Weight::Style),
            }
            Ok(())
        })
    }

    fn text(&mut self, value: &'b str) -> Result<(), Untranslatable> {
        members("text", value, |key, value| {
            match key {
                "format" => self.head.format = read_format(value)?,
                other => self.extra(&format!("text.{other}"), value, Weight::Style),
            }
            Ok(())
        })
    }

    fn tools(&mut self, value: &'b str) -> Result<(), Untranslatable> {
        items("tools", value, |tool| self.tool(tool))?;
        let mut names: Vec<&str> = self.head.tools.iter().map(|tool| &*tool.name).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Untranslatable::field("tools.name", "is that of two tools where there are no namespaces"));
        }
        Ok(())
    }

    fn tool(&mut self, json: &'b str) -> Result<(), Untranslatable> {
        let tool = Offered::read(json)?;
        match &*given("tools.type", tool.kind)?.decode() {
            "function" | "custom" => self.offer(&tool, None),
            "namespace" => {
                let name = given("tools.name", tool.name)?;
                let description = tool.description.and_then(string);
                items("tools.tools", tool.inner.unwrap_or("[]"), |inner| {
                    self.offer(&Offered::read(inner)?, Some((name, description)))
                })
            }
            "web_search" | "web_search_preview" | "web_search_2025_08_26" | "web_search_preview_2025_03_11" => {
                self.searches = true;
                Ok(())
            }
            kind => Err(refused(kind)),
        }
    }

    /// A tool of its own, or of a namespace with this name and description.
    fn offer(
        &mut self,
        tool: &Offered<'b>,
        namespace: Option<(RawStr<'b>, Option<RawStr<'b>>)>,
    ) -> Result<(), Untranslatable> {
        let is_text = match &*given("tools.type", tool.kind)?.decode() {
            "function" => false,
            "custom" => true,
            kind => return Err(refused(kind)),
        };
        for (name, value) in &tool.others {
            if *value != "false" {
                self.extra(name, value, Weight::Style);
            }
        }
        let name = names::flat(namespace.map(|(name, _)| name.raw), given("tools.name", tool.name)?.raw);
        let own: Option<Text<'b>> = tool.description.and_then(string).map(Into::into);
        let around = namespace.and_then(|(_, description)| description).filter(|text| !text.raw.is_empty());
        let description = match (around, own) {
            (Some(around), Some(own)) => {
                let both = format!("{}\n\n{}", around.decode(), own.decode());
                Some(Text::Plain(both.into()))
            }
            (around, own) => own.or(around.map(Into::into)),
        };
        let input = if is_text { Input::Text } else { tool.parameters.map_or(Input::Unsaid, Input::Schema) };
        let strict = tool.strict.map(|strict| switch("tools.strict", strict)).transpose()?;
        self.head.tools.push(Tool { name, description, input, strict, mark: None });
        Ok(())
    }
}

/// The members of a tool that somebody reads.
#[derive(Default)]
struct Offered<'b> {
    kind: Option<&'b str>,
    name: Option<&'b str>,
    description: Option<&'b str>,
    parameters: Option<&'b str>,
    strict: Option<&'b str>,
    inner: Option<&'b str>,
    /// What has no counterpart, by name.
    others: Vec<(&'static str, &'b str)>,
}

impl<'b> Offered<'b> {
    fn read(json: &'b str) -> Result<Self, Untranslatable> {
        let mut tool = Self::default();
        members("tools", json, |key, value| {
            let place = match key {
                "type" => &mut tool.kind,
                "name" => &mut tool.name,
                "description" => &mut tool.description,
                "parameters" => &mut tool.parameters,
                "strict" => &mut tool.strict,
                "tools" => &mut tool.inner,
                "format" if is_free(value) => return Ok(()),
                other => {
                    let without = WITHOUT_COUNTERPART.iter().find(|(name, _)| *name == other);
                    tool.others.extend(without.map(|(_, field)| (*field, value)));
                    return Ok(());
                }
            };
            *place = Some(value);
            Ok(())
        })?;
        Ok(tool)
    }
}

/// Whether a custom tool takes any text: the format is a grammar else.
fn is_free(format: &str) -> bool {
    let mut is_free = false;
    let read = members("tools.format", format, |key, value| {
        is_free |= key == "type" && value == r#""text""#;
        Ok(())
    });
    read.is_ok() && is_free
}

/// A tool that runs at OpenAI, or whose input only its models know, by its name.
fn refused(kind: &str) -> Untranslatable {
    let field = match kind {
        "file_search" => "tools.file_search",
        "code_interpreter" => "tools.code_interpreter",
        "image_generation" => "tools.image_generation",
        "computer" | "computer_use_preview" => "tools.computer",
        "mcp" => "tools.mcp",
        "local_shell" => "tools.local_shell",
        "shell" => "tools.shell",
        "apply_patch" => "tools.apply_patch",
        "tool_search" => "tools.tool_search",
        "programmatic_tool_calling" => "tools.programmatic_tool_calling",
        _ => "tools.type",
    };
    Untranslatable::field(field, "is a tool that only OpenAI's models have")
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
    let (mut kind, mut name, mut namespace) = (None, None, None);
    members(FIELD, value, |key, value| {
        match key {
            "type" => kind = Some(value),
            "name" => name = Some(value),
            "namespace" => namespace = string(value),
            _ => {}
        }
        Ok(())
    })?;
    match &*given("tool_choice.type", kind)?.decode() {
        "function" | "custom" => {
            let name = given("tool_choice.name", name)?;
            let name: Cow<'_, str> = names::flat(namespace.map(|namespace| namespace.raw), name.raw);
            Ok(Choice::Tool(name))
        }
        // Fewer tools would be another prompt.
        "allowed_tools" => {
            Err(Untranslatable::field(FIELD, "allows some of the tools, for which the target has no words"))
        }
        _ => Err(Untranslatable::field(FIELD, "wants a tool that only OpenAI's models have")),
    }
}

fn read_format(value: &str) -> Result<Option<Format<'_>>, Untranslatable> {
    let (mut kind, mut schema, mut name, mut strict) = (None, None, None, None);
    members("text.format", value, |key, value| {
        match key {
            "type" => kind = Some(value),
            "schema" => schema = Some(value),
            "name" => name = string(value),
            "strict" => strict = Some(switch("text.format.strict", value)?),
            _ => {}
        }
        Ok(())
    })?;
    match &*given("text.format.type", kind)?.decode() {
        "text" => Ok(None),
        "json_object" => Ok(Some(Format::Object)),
        "json_schema" => {
            let schema = schema.ok_or(Untranslatable::field("text.format", "has no `schema`"))?;
            Ok(Some(Format::Schema { schema, name, strict }))
        }
        _ => Err(Untranslatable::field("text.format.type", "is not known")),
    }
}
