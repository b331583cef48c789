//! What was said in a request of Responses, item by item.
//! <https://platform.openai.com/docs/api-reference/responses/create#responses-create-input>

use std::borrow::Cow;

use crate::prompt::json::RawStr;

use super::super::chat::read_turns::{TOOL_ERROR, read_data};
use super::super::read::{Place, each_item, given, items, items_while, members, string, text};
use super::super::talk::{Answer, Arguments, Call, Each, Item, Kind, Part, Reasoning, Source, Text, Who};
use super::super::{Untranslatable, plain, seals};
use super::names;

/// A marker of Messages for five minutes, for a breakpoint that lasts no longer than an hour.
const MARK: &str = r#"{"type":"ephemeral"}"#;
/// A marker of Messages for an hour.
const MARK_HOUR: &str = r#"{"type":"ephemeral","ttl":"1h"}"#;

/// Reads the messages before the first item that is somebody else's than the application's.
pub(super) fn instructions<'b>(input: &'b str, into: &mut Vec<Part<'b>>) -> Result<(), Untranslatable> {
    if string(input).is_some() {
        return Ok(());
    }
    items_while("input", input, |item| {
        let item = Fields::read(item)?;
        let is_leading = item.is_instruction();
        if is_leading {
            item.parts(item.content, &mut |_| Ok(()), into)?;
        }
        Ok(is_leading)
    })
}

/// Reads `input` but for the instructions at its beginning.
///
/// # Errors
///
/// What `each` says, and [`Untranslatable`] for what only OpenAI or its models know.
pub fn read<'b>(input: &'b str, each: &mut Each<'_, 'b>) -> Result<(), Untranslatable> {
    if let Some(text) = string(input) {
        each(Item::Turn(Who::User))?;
        return each(Item::Says(Part::text(text)));
    }
    let mut reader = Reader { last: Last::Instruction };
    each_item("input", input, |item| reader.item(&Fields::read(item)?, each))
}

/// What was read last: neighbours may belong to one turn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Instruction,
    Message(Who),
    /// A call or a thought.
    Step,
    Output,
    /// What is left out.
    Other,
}

struct Reader {
    last: Last,
}

impl Reader {
    fn item<'b>(&mut self, item: &Fields<'b>, each: &mut Each<'_, 'b>) -> Result<(), Untranslatable> {
        let before = self.last;
        match &*item.kind()? {
            "message" if before == Last::Instruction && item.is_instruction() => {}
            "message" => {
                let who = item.who()?;
                // What the model says beside its calls is one answer with them.
                if !(who == Who::Assistant && before == Last::Step) {
                    each(Item::Turn(who))?;
                }
                let mut parts = Vec::new();
                item.parts(item.content, each, &mut parts)?;
                parts.into_iter().try_for_each(|part| each(Item::Says(part)))?;
                self.last = Last::Message(who);
            }
            kind @ ("function_call" | "custom_tool_call") => {
                self.step(each)?;
                let is_text = kind == "custom_tool_call";
                let field = if is_text { "input.input" } else { "input.arguments" };
                let said = if is_text { item.input } else { item.arguments };
                let said = said.map_or(Ok(RawStr { raw: "", escaped: false }), |said| text(field, said))?;
                let namespace = item.namespace.and_then(string).map(|namespace| namespace.raw);
                each(Item::Calls(Call {
                    id: given("input.call_id", item.call_id)?.decode(),
                    name: names::flat(namespace, given("input.name", item.name)?.raw),
                    arguments: if is_text { Arguments::Text(said) } else { Arguments::Quoted(said) },
                }))?;
            }
            "reasoning" => {
                self.step(each)?;
                each(Item::Reasons(item.reasoning()?))?;
            }
            "function_call_output" | "custom_tool_call_output" => {
                if before != Last::Output {
                    each(Item::Turn(Who::User))?;
                }
                self.last = Last::Output;
                let mut parts = Vec::new();
                item.parts(item.output, each, &mut parts)?;
                let is_flag = |part: &Part<'_>| matches!(&part.kind, Kind::Text(Text::Spelt(TOOL_ERROR)));
                let is_error = parts.first().is_some_and(is_flag);
                if is_error {
                    parts.remove(0);
                }
                let id = given("input.call_id", item.call_id)?.decode();
                each(Item::Answers(Answer { id, parts, is_error, mark: None }))?;
            }
            kind => {
                let name = left(kind).ok_or_else(|| refused(kind))?;
                if before == Last::Instruction {
                    self.last = Last::Other;
                }
                each(Item::Left(name))?;
            }
        }
        Ok(())
    }

    /// Begins a turn of the model unless it has one.
    fn step<'b>(&mut self, each: &mut Each<'_, 'b>) -> Result<(), Untranslatable> {
        if !matches!(self.last, Last::Step | Last::Message(Who::Assistant)) {
            each(Item::Turn(Who::Assistant))?;
        }
        self.last = Last::Step;
        Ok(())
    }
}

/// The name of what ran at OpenAI: the text that came of it stays.
fn left(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "web_search_call" => "input.web_search_call",
        "file_search_call" => "input.file_search_call",
        "code_interpreter_call" => "input.code_interpreter_call",
        "image_generation_call" => "input.image_generation_call",
        "mcp_call" | "mcp_list_tools" => "input.mcp_call",
        _ => return None,
    })
}

/// An item that stands for what only OpenAI has, by its name.
fn refused(kind: &str) -> Untranslatable {
    let field = match kind {
        "item_reference" => "input.item_reference",
        "compaction" | "compaction_summary" | "compaction_trigger" => "input.compaction",
        "additional_tools" => "input.additional_tools",
        "tool_search_call" | "tool_search_output" => "input.tool_search_call",
        "local_shell_call" | "local_shell_call_output" => "input.local_shell_call",
        "shell_call" | "shell_call_output" => "input.shell_call",
        "apply_patch_call" | "apply_patch_call_output" => "input.apply_patch_call",
        "computer_call" | "computer_call_output" => "input.computer_call",
        "mcp_approval_request" | "mcp_approval_response" => "input.mcp_approval_request",
        _ => "input.type",
    };
    Untranslatable::field(field, "is an item that only OpenAI's models have")
}

/// The members of an item that somebody reads, as they are spelt.
#[derive(Default)]
pub(super) struct Fields<'b> {
    kind: Option<&'b str>,
    role: Option<&'b str>,
    pub(super) content: Option<&'b str>,
    pub(super) output: Option<&'b str>,
    pub(super) call_id: Option<&'b str>,
    pub(super) id: Option<&'b str>,
    pub(super) name: Option<&'b str>,
    namespace: Option<&'b str>,
    pub(super) arguments: Option<&'b str>,
    pub(super) input: Option<&'b str>,
    summary: Option<&'b str>,
    encrypted: Option<&'b str>,
}

impl<'b> Fields<'b> {
    pub(super) fn read(json: impl Place<'b>) -> Result<Self, Untranslatable> {
        let mut item = Self::default();
        members("input", json, |key, value| {
            let place = match key {
                "type" => &mut item.kind,
                "role" => &mut item.role,
                "content" => &mut item.content,
                "output" => &mut item.output,
                "call_id" => &mut item.call_id,
                "id" => &mut item.id,
                "name" => &mut item.name,
                "namespace" => &mut item.namespace,
                "arguments" => &mut item.arguments,
                "input" => &mut item.input,
                "summary" => &mut item.summary,
                "encrypted_content" => &mut item.encrypted,
                _ => return Ok(()),
            };
            *place = Some(value);
            Ok(())
        })?;
        Ok(item)
    }

    /// What kind of item it is: a message need not say so.
    pub(super) fn kind(&self) -> Result<Cow<'b, str>, Untranslatable> {
        match (self.kind, self.role) {
            (None, Some(_)) => Ok("message".into()),
            (kind, _) => Ok(given("input.type", kind)?.decode()),
        }
    }

    fn who(&self) -> Result<Who, Untranslatable> {
        match &*given("input.role", self.role)?.decode() {
            "user" => Ok(Who::User),
            "assistant" => Ok(Who::Assistant),
            "system" | "developer" => Ok(Who::System),
            _ => Err(Untranslatable::field("input.role", "is not known")),
        }
    }

    fn is_instruction(&self) -> bool {
        self.kind().is_ok_and(|kind| kind == "message") && self.who() == Ok(Who::System)
    }

    pub(super) fn reasoning(&self) -> Result<Reasoning<'b>, Untranslatable> {
        let mut texts = Vec::new();
        items("input.summary", self.summary.unwrap_or("[]"), |part| {
            members("input.summary", part, |key, value| {
                if key == "text" {
                    texts.push(text("input.summary.text", value)?.into());
                }
                Ok(())
            })
        })?;
        let content = self.encrypted.map(|content| text("input.encrypted_content", content)).transpose()?;
        let id = self.id.and_then(string).map(RawStr::decode).unwrap_or_default();
        let sealed = content.and_then(|content| seals::read_responses(id, content.decode()));
        Ok(Reasoning { texts, sealed })
    }

    /// The parts of a message or of an output, which may be a text alone.
    fn parts(
        &self,
        content: Option<&'b str>,
        each: &mut Each<'_, 'b>,
        into: &mut Vec<Part<'b>>,
    ) -> Result<(), Untranslatable> {
        let Some(content) = content else { return Ok(()) };
        match string(content) {
            Some(text) => into.push(Part::text(text)),
            None => each_item("input.content", content, |part| {
                into.push(read_part(part, each)?);
                Ok(())
            })?,
        }
        Ok(())
    }
}

fn read_part<'b>(json: impl Place<'b>, each: &mut Each<'_, 'b>) -> Result<Part<'b>, Untranslatable> {
    let (mut kind, mut said, mut name, mut mark) = (None, None, None, None);
    let (mut file_id, mut file_url, mut cites) = (None, None, false);
    members("input.content", json, |key, value| {
        match key {
            "type" => kind = Some(value),
            "text" | "refusal" | "image_url" | "file_data" => said = Some(value),
            "filename" => name = string(value),
            "file_id" => file_id = Some(value),
            "file_url" => file_url = string(value),
            "annotations" => cites = value.starts_with('[') && value.len() > 2,
            "prompt_cache_breakpoint" => mark = Some(read_mark(value)?),
            _ => {}
        }
        Ok(())
    })?;
    if cites {
        each(Item::Left("input.content.annotations"))?;
    }
    let kind = match &*given("input.content.type", kind)?.decode() {
        "input_text" | "output_text" | "text" => Kind::Text(given("input.content.text", said)?.into()),
        "refusal" => Kind::Text(given("input.content.refusal", said)?.into()),
        "input_image" | "input_file" if file_id.is_some() => {
            return Err(Untranslatable::field("input.content.file_id", "is a file that only OpenAI has"));
        }
        "input_image" => {
            let url = given("input.content.image_url", said)?;
            Kind::Image(read_data("input.content.image_url", url)?.unwrap_or(Source::Url(url)))
        }
        "input_file" => match file_url {
            Some(url) => Kind::File { source: Source::Url(url), name },
            None => Kind::File { source: read_file(given("input.content.file_data", said)?, name)?, name },
        },
        _ => return Err(Untranslatable::field("input.content.type", "is one that the target has not")),
    };
    Ok(Part { kind, mark })
}

/// A file that stands in the body, in base64 alone or as a data URL. The one says what it is by its name alone.
fn read_file<'b>(data: RawStr<'b>, name: Option<RawStr<'_>>) -> Result<Source<'b>, Untranslatable> {
    let kind = plain::type_of(&name.map(RawStr::decode).unwrap_or_default());
    let bare = || Source::Data { media_type: Text::Plain(kind.into()), data: data.into() };
    Ok(read_data("input.content.file_data", data)?.unwrap_or_else(bare))
}

fn read_mark(value: &str) -> Result<&'static str, Untranslatable> {
    let mut mark = MARK;
    members("input.content.prompt_cache_breakpoint", value, |key, value| {
        if key == "ttl" && value != r#""5m""# {
            mark = MARK_HOUR;
        }
        Ok(())
    })?;
    Ok(mark)
}
