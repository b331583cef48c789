//! What was said in a request of Chat Completions, message by message.
//! <https://platform.openai.com/docs/api-reference/chat/create#chat-create-messages>

use std::borrow::Cow;

use crate::prompt::json::{RawStr, Scanner};

use super::super::Untranslatable;
use super::super::read::{Place, each_item, given, items_while, members, string};
use super::super::talk::{Answer, Arguments, Call, Each, Item, Kind, Part, Source, Text, Who};

/// What the first part of a result says of a tool that failed: the dialect has no flag.
pub const TOOL_ERROR: &str = "[tool error]";

/// Reads the messages before the first that is somebody else's than the application's.
pub(super) fn instructions<'b>(messages: &'b str, into: &mut Vec<Part<'b>>) -> Result<(), Untranslatable> {
    items_while("messages", messages, |message| {
        let message = Message::read(message)?;
        let is_leading = message.is_instruction()?;
        if is_leading {
            message.parts(into)?;
        }
        Ok(is_leading)
    })
}

/// Reads the array `messages` but for the instructions at its beginning.
///
/// # Errors
///
/// What `each` says, and [`Untranslatable`] for what no other dialect has.
pub fn read<'b>(messages: &'b str, each: &mut Each<'_, 'b>) -> Result<(), Untranslatable> {
    let mut is_leading = true;
    each_item("messages", messages, |message| {
        let message = Message::read(message)?;
        is_leading = is_leading && message.is_instruction()?;
        if is_leading { Ok(()) } else { message.tell(each) }
    })
}

/// The members of a message that somebody reads, as they are spelt.
#[derive(Default)]
struct Message<'b> {
    role: Option<&'b str>,
    content: Option<&'b str>,
    calls: Option<&'b str>,
    call_id: Option<&'b str>,
    refusal: Option<&'b str>,
    name: Option<&'b str>,
    audio: Option<&'b str>,
    function_call: Option<&'b str>,
    annotations: Option<&'b str>,
    mark: Option<&'b str>,
}

impl<'b> Message<'b> {
    fn read(json: impl Place<'b>) -> Result<Self, Untranslatable> {
        let mut message = Self::default();
        members("messages", json, |key, value| {
            let place = match key {
                "role" => &mut message.role,
                "content" => &mut message.content,
                "tool_calls" => &mut message.calls,
                "tool_call_id" => &mut message.call_id,
                "refusal" => &mut message.refusal,
                "name" => &mut message.name,
                "audio" => &mut message.audio,
                "function_call" => &mut message.function_call,
                "annotations" => &mut message.annotations,
                "cache_control" => &mut message.mark,
                // Thoughts among them: without a signature nobody else takes them.
                _ => return Ok(()),
            };
            *place = Some(value);
            Ok(())
        })?;
        Ok(message)
    }

    fn role(&self) -> Result<Cow<'b, str>, Untranslatable> {
        Ok(given("messages.role", self.role)?.decode())
    }

    fn is_instruction(&self) -> Result<bool, Untranslatable> {
        Ok(matches!(&*self.role()?, "system" | "developer"))
    }

    fn tell(&self, each: &mut Each<'_, 'b>) -> Result<(), Untranslatable> {
        let role = self.role()?;
        let who = match &*role {
            "system" | "developer" => Who::System,
            "user" | "tool" => Who::User,
            "assistant" => Who::Assistant,
            _ => return Err(Untranslatable::field("messages.role", "is one that the target has not")),
        };
        each(Item::Turn(who))?;
        if self.name.is_some() && role != "tool" {
            each(Item::Left("messages.name"))?;
        }
        if self.annotations.is_some_and(|annotations| annotations != "[]") {
            each(Item::Left("messages.annotations"))?;
        }
        let mut parts = Vec::new();
        self.parts(&mut parts)?;
        if role == "tool" {
            let is_flag = |part: &Part<'_>| matches!(&part.kind, Kind::Text(Text::Spelt(TOOL_ERROR)));
            let is_error = parts.first().is_some_and(is_flag);
            if is_error {
                parts.remove(0);
            }
            let id = given("messages.tool_call_id", self.call_id)?.decode();
            return each(Item::Answers(Answer { id, parts, is_error, mark: self.mark }));
        }
        if let (Some(last), Some(_)) = (parts.last_mut(), self.mark) {
            last.mark = self.mark;
        }
        parts.into_iter().try_for_each(|part| each(Item::Says(part)))?;
        if let Some(refusal) = self.refusal.and_then(string) {
            each(Item::Says(Part::text(refusal)))?;
        }
        if self.audio.is_some() {
            return Err(Untranslatable::field("messages.audio", "is sound, which the target does not hear"));
        }
        if self.function_call.is_some() {
            return Err(Untranslatable::field("messages.function_call", "is a call without an id; use `tool_calls`"));
        }
        match self.calls {
            Some(calls) => each_item("messages.tool_calls", calls, |call| each(Item::Calls(read_call(call)?))),
            None => Ok(()),
        }
    }

    fn parts(&self, into: &mut Vec<Part<'b>>) -> Result<(), Untranslatable> {
        let Some(content) = self.content else { return Ok(()) };
        match string(content) {
            Some(text) => into.push(Part::text(text)),
            None => each_item("messages.content", content, |part| {
                into.push(read_part(part)?);
                Ok(())
            })?,
        }
        Ok(())
    }
}

/// Reads a call of a tool.
pub(super) fn read_call<'b>(json: impl Place<'b>) -> Result<Call<'b>, Untranslatable> {
    let (mut id, mut function, mut custom) = (None, None, None);
    members("messages.tool_calls", json, |key, value| {
        match key {
            "id" => id = Some(value),
            "function" => function = Some(value),
            "custom" => custom = Some(value),
            _ => {}
        }
        Ok(())
    })?;
    let said = function.or(custom).ok_or(Untranslatable::field("messages.tool_calls", "has no `function`"))?;
    let (mut name, mut input) = (None, None);
    members("messages.tool_calls", said, |key, value| {
        match key {
            "name" => name = Some(value),
            "arguments" | "input" => input = Some(value),
            _ => {}
        }
        Ok(())
    })?;
    let input = match input {
        None => RawStr { raw: "", escaped: false },
        input => given("messages.tool_calls.function.arguments", input)?,
    };
    Ok(Call {
        id: given("messages.tool_calls.id", id)?.decode(),
        name: given("messages.tool_calls.function.name", name)?.raw.into(),
        arguments: if function.is_some() { Arguments::Quoted(input) } else { Arguments::Text(input) },
    })
}

fn read_part<'b>(s: &mut Scanner<'b>) -> Result<Part<'b>, Untranslatable> {
    // As some clients send it.
    if s.peek() == Some(b'"') {
        return Ok(Part::text(s.string()?));
    }
    let (mut kind, mut said, mut mark) = (None, None, None);
    members("messages.content", s, |key, value| {
        match key {
            "type" => kind = Some(value),
            "text" | "refusal" | "image_url" | "file" => said = Some(value),
            "cache_control" => mark = Some(value),
            _ => {}
        }
        Ok(())
    })?;
    let kind = match &*given("messages.content.type", kind)?.decode() {
        "text" => Kind::Text(given("messages.content.text", said)?.into()),
        "refusal" => Kind::Text(given("messages.content.refusal", said)?.into()),
        "image_url" => read_image(said)?,
        "file" => read_file(said)?,
        _ => return Err(Untranslatable::field("messages.content.type", "is one that the target has not")),
    };
    Ok(Part { kind, mark })
}

fn read_image(said: Option<&str>) -> Result<Kind<'_>, Untranslatable> {
    const FIELD: &str = "messages.content.image_url";
    let said = said.ok_or(Untranslatable::field(FIELD, "must be given"))?;
    let mut url = string(said);
    if url.is_none() {
        members(FIELD, said, |key, value| {
            if key == "url" {
                url = string(value);
            }
            Ok(())
        })?;
    }
    let url = url.ok_or(Untranslatable::field(FIELD, "has no `url`"))?;
    Ok(Kind::Image(read_data(FIELD, url)?.unwrap_or(Source::Url(url))))
}

fn read_file(said: Option<&str>) -> Result<Kind<'_>, Untranslatable> {
    const FIELD: &str = "messages.content.file";
    let (mut data, mut name) = (None, None);
    members(FIELD, said.ok_or(Untranslatable::field(FIELD, "must be given"))?, |key, value| {
        match key {
            "file_data" => data = string(value),
            "filename" => name = string(value),
            _ => {}
        }
        Ok(())
    })?;
    let data = data.ok_or(Untranslatable::field(FIELD, "is one that only OpenAI has"))?;
    let source = read_data(FIELD, data)?.ok_or(Untranslatable::field(FIELD, "must be a data URL"))?;
    Ok(Kind::File { source, name })
}

/// What stands in a data URL; nothing if it is another one. <https://www.rfc-editor.org/rfc/rfc2397>
pub(in super::super) fn read_data<'b>(
    field: &'static str,
    url: RawStr<'b>,
) -> Result<Option<Source<'b>>, Untranslatable> {
    const SCHEME: &str = "data:";
    let url = url.decode();
    if !url.starts_with(SCHEME) {
        return Ok(None);
    }
    let comma = url.find(',').filter(|comma| url[..*comma].ends_with(";base64"));
    let from = comma.ok_or(Untranslatable::field(field, "must be in base64"))? + 1;
    // Behind the type there may be parameters, which a target has no place for.
    let kind_end = url.find(';').unwrap_or(from);
    let part = |from: usize, to: usize| match &url {
        Cow::Borrowed(url) => Cow::Borrowed(&url[from..to]),
        Cow::Owned(url) => Cow::Owned(url[from..to].to_owned()),
    };
    let (media_type, data) = (part(SCHEME.len(), kind_end), part(from, url.len()));
    Ok(Some(Source::Data { media_type: Text::Plain(media_type), data: Text::Plain(data) }))
}
