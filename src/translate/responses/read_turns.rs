//! What was said in a request of Responses, item by item.
//! <https://platform.openai.com/docs/api-reference/responses/create#responses-create-input>

use std::borrow::Cow;

use crate::prompt::json::RawStr;

use super::super::chat::read_turns::TOOL_ERROR;
use super::super::read::{Place, each_item, each_member, given, items, items_while, members, string, text, value};
use super::super::talk::{Answer, Arguments, Call, Each, Item, Kind, Part, Reasoning, Text, Who};
use super::super::{Untranslatable, seals};
use super::names;
use super::read_parts::{Content, read_content};

/// Reads the messages before the first item that is somebody else's than the application's.
pub(super) fn instructions<'b>(input: &'b str, into: &mut Vec<Part<'b>>) -> Result<(), Untranslatable> {
    if string(input).is_some() {
        return Ok(());
    }
    items_while("input", input, |item| {
        let item = Said::read(item)?;
        let is_leading = item.fields.is_instruction();
        if is_leading {
            read_content(item.content, &mut |_| Ok(()), into)?;
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
    each_item("input", input, |item| reader.item(Said::read(item)?, each))
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
    fn item<'b>(&mut self, said: Said<'b>, each: &mut Each<'_, 'b>) -> Result<(), Untranslatable> {
        let (before, item) = (self.last, &said.fields);
        match &*item.kind()? {
            "message" if before == Last::Instruction && item.is_instruction() => {}
            "message" => {
                let who = item.who()?;
                // What the model says beside its calls is one answer with them.
                if !(who == Who::Assistant && before == Last::Step) {
                    each(Item::Turn(who))?;
                }
                let mut parts = Vec::new();
                read_content(said.content, each, &mut parts)?;
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
                read_content(said.output, each, &mut parts)?;
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
            item.member(key, value);
            Ok(())
        })?;
        Ok(item)
    }

    fn member(&mut self, key: &str, value: &'b str) {
        let place = match key {
            "type" => &mut self.kind,
            "role" => &mut self.role,
            "content" => &mut self.content,
            "call_id" => &mut self.call_id,
            "id" => &mut self.id,
            "name" => &mut self.name,
            "namespace" => &mut self.namespace,
            "arguments" => &mut self.arguments,
            "input" => &mut self.input,
            "summary" => &mut self.summary,
            "encrypted_content" => &mut self.encrypted,
            _ => return,
        };
        *place = Some(value);
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
}

/// An item of a request, with what it says read where it stands: most of a long conversation is that.
struct Said<'b> {
    fields: Fields<'b>,
    content: Option<Content<'b>>,
    output: Option<Content<'b>>,
}

impl<'b> Said<'b> {
    fn read(json: impl Place<'b>) -> Result<Self, Untranslatable> {
        let mut item = Self { fields: Fields::default(), content: None, output: None };
        each_member("input", json, |key, s| {
            let said = match key {
                "content" => &mut item.content,
                "output" => &mut item.output,
                _ => {
                    if let Some(value) = value(s)? {
                        item.fields.member(key, value);
                    }
                    return Ok(());
                }
            };
            if let Some(content) = Content::read(s)? {
                *said = Some(content);
            }
            Ok(())
        })?;
        Ok(item)
    }
}
