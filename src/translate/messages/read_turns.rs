//! What was said in a request of Messages, block by block.
//! <https://platform.claude.com/docs/en/api/messages/create#body-messages>

use super::super::read::{Place, each_item, given, members, string, text};
use super::super::talk::{Answer, Arguments, Call, Each, Item, Kind, Part, Reasoning, Source, Text, Who};
use super::super::{Untranslatable, seals};
use crate::prompt::json::RawStr;

/// Reads the array `messages`.
///
/// # Errors
///
/// What `each` says, and [`Untranslatable`] for blocks that nobody but Anthropic has.
pub fn read<'b>(messages: &'b str, each: &mut Each<'_, 'b>) -> Result<(), Untranslatable> {
    each_item("messages", messages, |message| {
        let (mut role, mut content) = (None, None);
        members("messages", message, |key, value| {
            match key {
                "role" => role = Some(value),
                "content" => content = Some(value),
                _ => {}
            }
            Ok(())
        })?;
        each(Item::Turn(match &*given("messages.role", role)?.decode() {
            "user" => Who::User,
            "assistant" => Who::Assistant,
            "system" => Who::System,
            _ => return Err(Untranslatable::field("messages.role", "is not known")),
        }))?;
        let content = content.ok_or(Untranslatable::field("messages.content", "must be given"))?;
        match string(content) {
            Some(text) => each(Item::Says(Part::text(text))),
            None => each_item("messages.content", content, |block| read_block(block, each)),
        }
    })
}

fn read_block<'b>(json: impl Place<'b>, each: &mut Each<'_, 'b>) -> Result<(), Untranslatable> {
    let block = Block::read("messages.content", json)?;
    match &*given("messages.content.type", block.kind)?.decode() {
        // For whoever sealed it; it is no text of the answer.
        "thinking" | "redacted_thinking" => block.reasoning()?.map_or(Ok(()), |thought| each(Item::Reasons(thought))),
        "tool_use" => each(Item::Calls(Call {
            id: given("messages.content.id", block.id)?.decode(),
            name: given("messages.content.name", block.name)?.raw.into(),
            arguments: Arguments::Json(block.input.unwrap_or("{}")),
        })),
        "tool_result" => {
            let mut parts = Vec::new();
            if let Some(content) = block.content {
                match string(content) {
                    Some(text) => parts.push(Part::text(text)),
                    None => each_item("messages.content.content", content, |inner| {
                        self::parts("messages.content.content", inner, &mut parts)
                    })?,
                }
            }
            each(Item::Answers(Answer {
                id: given("messages.content.tool_use_id", block.tool_use_id)?.decode(),
                parts,
                is_error: block.is_error == Some("true"),
                mark: block.mark,
            }))
        }
        // What ran at Anthropic: the text that came of it stays.
        "server_tool_use" => each(Item::Left("messages.content.server_tool_use")),
        "mcp_tool_use" | "mcp_tool_result" => each(Item::Left("messages.content.mcp_tool_use")),
        kind if kind.ends_with("_tool_result") => each(Item::Left("messages.content.server_tool_use")),
        _ => {
            if block.has_citations() {
                each(Item::Left("messages.content.citations"))?;
            }
            let mut parts = Vec::new();
            said("messages.content", &block, &mut parts)?;
            parts.into_iter().try_for_each(|part| each(Item::Says(part)))
        }
    }
}

/// The members of a block that somebody reads, as they are spelt.
#[derive(Default)]
pub(super) struct Block<'b> {
    pub(super) kind: Option<&'b str>,
    text: Option<&'b str>,
    source: Option<&'b str>,
    pub(super) id: Option<&'b str>,
    pub(super) name: Option<&'b str>,
    pub(super) input: Option<&'b str>,
    tool_use_id: Option<&'b str>,
    content: Option<&'b str>,
    is_error: Option<&'b str>,
    thinking: Option<&'b str>,
    signature: Option<&'b str>,
    data: Option<&'b str>,
    title: Option<&'b str>,
    context: Option<&'b str>,
    pub(super) citations: Option<&'b str>,
    mark: Option<&'b str>,
}

impl<'b> Block<'b> {
    pub(super) fn read(field: &'static str, json: impl Place<'b>) -> Result<Self, Untranslatable> {
        let mut block = Self::default();
        members(field, json, |key, value| {
            let place = match key {
                "type" => &mut block.kind,
                "text" => &mut block.text,
                "source" => &mut block.source,
                "id" => &mut block.id,
                "name" => &mut block.name,
                "input" => &mut block.input,
                "tool_use_id" => &mut block.tool_use_id,
                "content" => &mut block.content,
                "is_error" => &mut block.is_error,
                "thinking" => &mut block.thinking,
                "signature" => &mut block.signature,
                "data" => &mut block.data,
                "title" => &mut block.title,
                "context" => &mut block.context,
                "citations" => &mut block.citations,
                "cache_control" => &mut block.mark,
                _ => return Ok(()),
            };
            *place = Some(value);
            Ok(())
        })?;
        Ok(block)
    }

    pub(super) fn has_citations(&self) -> bool {
        self.citations.is_some_and(|citations| citations.starts_with('[') && citations.len() > 2)
    }

    /// What a block of thinking says; nothing if nobody sealed it.
    pub(super) fn reasoning(&self) -> Result<Option<Reasoning<'b>>, Untranslatable> {
        let sealed = match (self.signature, self.data) {
            (Some(signature), _) => (text("signature", signature)?, false),
            (None, Some(data)) => (text("data", data)?, true),
            (None, None) => return Ok(None),
        };
        let thinking = self.thinking.and_then(string).unwrap_or(RawStr { raw: "", escaped: false });
        Ok(seals::read_messages(thinking, sealed.0, sealed.1))
    }

    pub(super) fn text(&self) -> Result<RawStr<'b>, Untranslatable> {
        given("text", self.text)
    }
}

/// Reads a block that somebody says: a text, an image, a document, a result of a search.
pub(super) fn parts<'b>(
    field: &'static str,
    json: impl Place<'b>,
    into: &mut Vec<Part<'b>>,
) -> Result<(), Untranslatable> {
    said(field, &Block::read(field, json)?, into)
}

fn said<'b>(field: &'static str, block: &Block<'b>, into: &mut Vec<Part<'b>>) -> Result<(), Untranslatable> {
    let before = into.len();
    match &*given(field, block.kind)?.decode() {
        "text" => into.push(Part::text(block.text()?)),
        "image" => into.push(Part { kind: Kind::Image(read_source(block.source)?), mark: None }),
        "document" => read_document(block, into)?,
        "search_result" => {
            let line = |value: Option<&'b str>| value.and_then(string).map(RawStr::decode).unwrap_or_default();
            let head = format!("{}\n{}", line(block.title), line(block.source));
            into.push(Part::text(Text::Plain(head.into())));
            read_content(block.content, into)?;
        }
        _ => return Err(Untranslatable::field(field, "has a block of a kind that only Anthropic has")),
    }
    if let Some(last) = into[before..].last_mut() {
        last.mark = block.mark;
    }
    Ok(())
}

fn read_content<'b>(content: Option<&'b str>, into: &mut Vec<Part<'b>>) -> Result<(), Untranslatable> {
    const FIELD: &str = "messages.content.content";
    let content = content.ok_or(Untranslatable::field(FIELD, "must be given"))?;
    match string(content) {
        Some(text) => into.push(Part::text(text)),
        None => each_item(FIELD, content, |inner| {
            // Nothing but texts and images stands here, so that this does not go deeper.
            let block = Block::read(FIELD, inner)?;
            match &*given(FIELD, block.kind)?.decode() {
                "text" => into.push(Part::text(block.text()?)),
                "image" => into.push(Part { kind: Kind::Image(read_source(block.source)?), mark: None }),
                _ => return Err(Untranslatable::field(FIELD, "has a block that does not belong there")),
            }
            Ok(())
        })?,
    }
    Ok(())
}

/// The members of a source that somebody reads.
#[derive(Default)]
struct Where<'b> {
    kind: Option<&'b str>,
    media_type: Option<&'b str>,
    data: Option<&'b str>,
    url: Option<&'b str>,
    content: Option<&'b str>,
}

impl<'b> Where<'b> {
    fn read(source: Option<&'b str>) -> Result<Self, Untranslatable> {
        let mut found = Self::default();
        let source = source.ok_or(Untranslatable::field("messages.content.source", "must be given"))?;
        members("messages.content.source", source, |key, value| {
            match key {
                "type" => found.kind = Some(value),
                "media_type" => found.media_type = Some(value),
                "data" => found.data = Some(value),
                "url" => found.url = Some(value),
                "content" => found.content = Some(value),
                _ => {}
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn data(&self) -> Result<Source<'b>, Untranslatable> {
        Ok(Source::Data {
            media_type: given("messages.content.source.media_type", self.media_type)?.into(),
            data: given("messages.content.source.data", self.data)?.into(),
        })
    }
}

fn read_source(source: Option<&str>) -> Result<Source<'_>, Untranslatable> {
    let found = Where::read(source)?;
    match &*given("messages.content.source.type", found.kind)?.decode() {
        "base64" => found.data(),
        "url" => Ok(Source::Url(given("messages.content.source.url", found.url)?)),
        _ => Err(Untranslatable::field("messages.content.source", "is a file that only Anthropic has")),
    }
}

fn read_document<'b>(block: &Block<'b>, into: &mut Vec<Part<'b>>) -> Result<(), Untranslatable> {
    if let Some(context) = block.context {
        into.push(Part::text(text("messages.content.context", context)?));
    }
    let found = Where::read(block.source)?;
    let title = block.title.and_then(string);
    match &*given("messages.content.source.type", found.kind)?.decode() {
        "base64" => into.push(Part { kind: Kind::File { source: found.data()?, name: title }, mark: None }),
        "text" => {
            into.extend(title.map(Part::text));
            into.push(Part::text(given("messages.content.source.data", found.data)?));
        }
        "content" => {
            into.extend(title.map(Part::text));
            read_content(found.content, into)?;
        }
        "url" => {
            let source = Source::Url(given("messages.content.source.url", found.url)?);
            into.push(Part { kind: Kind::File { source, name: title }, mark: None });
        }
        _ => return Err(Untranslatable::field("messages.content.source", "is a file that only Anthropic has")),
    }
    Ok(())
}
