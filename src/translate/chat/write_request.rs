//! Requests in the words of Chat Completions.
//!
//! A message is written once all of it was read: results of tools stand before what else the user said, calls behind what
//! else the model said. <https://platform.openai.com/docs/api-reference/chat/create>

use sha2::{Digest, Sha256};

use crate::dialect::Dialect;
use crate::prompt::json::RawStr;
use crate::wire::vendors::output_limit_member;

use super::super::effort::reasons;
use super::super::messages::write_request::NO_OBJECT;
use super::super::read::{members, string};
use super::super::stream::UsageChunk;
use super::super::talk::{
    Answer, Arguments, Call, Choice, Field, Format, Head, Input, Item, Kind, Part, Source, Talk, Text, Tier, Who,
};
use super::super::write::Out;
use super::super::{Dropped, Terms, Untranslatable, Written, ids, steers_cache};
use super::read_turns::TOOL_ERROR;

/// The most texts that may end an answer.
const STOP_MAX: usize = 4;
/// The longest name of a user, in characters; longer ones are hashed.
pub(in super::super) const USER_CHARACTERS_MAX: usize = 64;

/// Writes a request.
///
/// # Errors
///
/// [`Untranslatable`] names what Chat Completions cannot carry.
pub fn write(talk: &Talk<'_>, terms: &Terms<'_>) -> Result<Written, Untranslatable> {
    let out = Out::with_capacity(talk.turns.len() + talk.turns.len() / 4 + 1_024);
    let mut writer = Writer {
        from: talk.from,
        out,
        dropped: Dropped::default(),
        is_openai: matches!(terms.vendor, "openai" | "azure"),
        takes_marks: terms.vendor == "openrouter",
        message: Message::default(),
    };
    writer.out.object().key("model").string(terms.model);
    writer.head(&talk.head, terms)?;
    writer.out.key("messages").array();
    writer.system(&talk.head.instructions)?;
    talk.turns(&mut |item| writer.item(item))?;
    writer.flush()?;
    writer.out.end_array().end_object();
    Ok(Written::of(writer.out.finish(), writer.dropped))
}

struct Writer<'b> {
    from: Dialect,
    out: Out,
    dropped: Dropped,
    /// Whether the target is OpenAI itself.
    is_openai: bool,
    /// Whether the target takes markers of caching.
    takes_marks: bool,
    message: Message<'b>,
}

/// The message that is read.
#[derive(Default)]
struct Message<'b> {
    who: Option<Who>,
    parts: Vec<Part<'b>>,
    calls: Vec<Call<'b>>,
    /// What tools have shown: results are texts alone, so it follows behind them.
    shown: Vec<Part<'b>>,
}

impl<'b> Writer<'b> {
    fn head(&mut self, head: &Head<'_>, terms: &Terms<'_>) -> Result<(), Untranslatable> {
        self.dropped.extras(&head.extras, steers_cache(terms.vendor), &mut self.out)?;
        if let Some(limit) = head.limit {
            self.out.key(output_limit_member(Dialect::Chat, terms.vendor)).number(limit);
        }
        if head.stream {
            self.out.key("stream").raw("true");
            if terms.usage == UsageChunk::Asked {
                self.out.key("stream_options").raw(r#"{"include_usage":true}"#);
            }
        }
        let is_reasoner = self.is_openai && reasons(terms.vendor, terms.model);
        self.stop(&head.stop, is_reasoner)?;
        for (field, key, value) in [
            (Field::Temperature, "temperature", head.temperature),
            (Field::TopP, "top_p", head.top_p),
            (Field::TopK, "top_k", head.top_k),
        ] {
            // <https://platform.openai.com/docs/guides/reasoning>: refused by models that reason; the last by OpenAI's.
            let is_taken = !is_reasoner && (field != Field::TopK || takes_top_k(terms.vendor));
            match value {
                Some(value) if is_taken => _ = self.out.key(key).raw(value),
                Some(_) => self.left(field),
                None => {}
            }
        }
        match head.effort.map(|effort| effort.chat_word(terms.vendor, terms.model)) {
            Some(Some(word)) => _ = self.out.key("reasoning_effort").string(word),
            Some(None) => self.left(Field::Effort),
            None => {}
        }
        self.format(head.format.as_ref());
        self.user(head.user);
        if let Some(tier) = head.tier.filter(|_| self.is_openai) {
            self.out.key("service_tier").string(match tier {
                Tier::Auto => "auto",
                Tier::Standard => "default",
            });
        }
        self.tools(head);
        Ok(())
    }

    fn left(&mut self, field: Field) {
        self.dropped.note(field.name(self.from));
    }

    fn stop(&mut self, stop: &[RawStr<'_>], is_reasoner: bool) -> Result<(), Untranslatable> {
        if stop.len() > STOP_MAX {
            return Err(Untranslatable::field(Field::Stop.name(self.from), "has more than four texts"));
        }
        if is_reasoner && !stop.is_empty() {
            // <https://platform.openai.com/docs/guides/reasoning>
            return Err(Untranslatable::field(Field::Stop.name(self.from), "is not taken by models that reason"));
        }
        if !stop.is_empty() {
            self.out.key("stop").array();
            stop.iter().for_each(|text| _ = self.out.spelt(text.raw));
            self.out.end_array();
        }
        Ok(())
    }

    fn format(&mut self, format: Option<&Format<'_>>) {
        match format {
            None => {}
            Some(Format::Object) => _ = self.out.key("response_format").raw(r#"{"type":"json_object"}"#),
            Some(Format::Schema { schema, name, strict }) => {
                self.out.key("response_format").object().key("type").string("json_schema").key("json_schema").object();
                self.out.key("name").spelt(name.map_or("response", |name| name.raw));
                self.out.key("schema").raw(schema);
                self.switch("strict", *strict);
                self.out.end_object().end_object();
            }
        }
    }

    fn user(&mut self, user: Option<RawStr<'_>>) {
        let Some(user) = user else { return };
        self.out.key(if self.is_openai { "safety_identifier" } else { "user" });
        let name = user.decode();
        if name.chars().count() <= USER_CHARACTERS_MAX {
            self.out.spelt(user.raw);
        } else {
            let hash: String = Sha256::digest(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
            self.out.string(&hash);
        }
    }

    fn switch(&mut self, key: &'static str, value: Option<bool>) {
        if let Some(value) = value {
            self.out.key(key).raw(if value { "true" } else { "false" });
        }
    }

    fn tools(&mut self, head: &Head<'_>) {
        if head.tools.is_empty() {
            return;
        }
        match &head.choice {
            None => {}
            Some(Choice::Auto) => _ = self.out.key("tool_choice").string("auto"),
            Some(Choice::Any) => _ = self.out.key("tool_choice").string("required"),
            Some(Choice::Never) => _ = self.out.key("tool_choice").string("none"),
            Some(Choice::Tool(name)) => {
                self.out.key("tool_choice").object().key("type").string("function").key("function").object();
                self.out.key("name").spelt(name).end_object().end_object();
            }
        }
        self.switch("parallel_tool_calls", head.parallel);
        self.out.key("tools").array();
        for tool in &head.tools {
            self.out.object().key("type").string("function").key("function").object();
            self.out.key("name").spelt(&tool.name);
            if let Some(description) = &tool.description {
                self.out.key("description").pieces(std::slice::from_ref(description));
            }
            match tool.input {
                Input::Schema(schema) => _ = self.out.key("parameters").raw(schema),
                Input::Unsaid => {}
                Input::Text => {
                    self.out
                        .key("parameters")
                        .raw(r#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}"#);
                }
            }
            self.switch("strict", tool.strict);
            self.out.end_object();
            self.mark(tool.mark);
            self.out.end_object();
        }
        self.out.end_array();
    }

    fn item(&mut self, item: Item<'b>) -> Result<(), Untranslatable> {
        match item {
            Item::Turn(who) => {
                self.flush()?;
                self.message.who = Some(who);
            }
            Item::Left(name) => self.dropped.note(name),
            // The dialect has no thoughts.
            Item::Reasons(_) => {}
            Item::Says(part) => self.message.parts.push(part),
            Item::Calls(call) => self.message.calls.push(call),
            Item::Answers(answer) => self.answer(answer)?,
        }
        Ok(())
    }

    /// Writes the message that was read, if it says anything.
    fn flush(&mut self) -> Result<(), Untranslatable> {
        let Message { who, mut parts, calls, mut shown } = std::mem::take(&mut self.message);
        match who {
            None => Ok(()),
            Some(Who::System) => self.system(&parts),
            Some(Who::User) => {
                shown.append(&mut parts);
                if shown.is_empty() { Ok(()) } else { self.message("user", &shown, &[]) }
            }
            Some(Who::Assistant) => {
                if parts.iter().any(|part| !matches!(part.kind, Kind::Text(_))) {
                    return Err(Untranslatable::field("messages.content", "has more than text in an answer"));
                }
                if parts.is_empty() && calls.is_empty() {
                    return Ok(());
                }
                self.message("assistant", &parts, &calls)
            }
        }
    }

    fn system(&mut self, parts: &[Part<'_>]) -> Result<(), Untranslatable> {
        if parts.is_empty() {
            return Ok(());
        }
        self.message(if self.is_openai { "developer" } else { "system" }, parts, &[])
    }

    fn message(&mut self, role: &str, parts: &[Part<'_>], calls: &[Call<'_>]) -> Result<(), Untranslatable> {
        self.out.object().key("role").string(role).key("content");
        if parts.is_empty() {
            self.out.raw("null");
        } else {
            self.out.array();
            parts.iter().try_for_each(|part| self.part(part))?;
            self.out.end_array();
        }
        if !calls.is_empty() {
            self.out.key("tool_calls").array();
            calls.iter().for_each(|call| write_call(&mut self.out, call));
            self.out.end_array();
        }
        self.out.end_object();
        Ok(())
    }

    fn answer(&mut self, answer: Answer<'b>) -> Result<(), Untranslatable> {
        let id = ids::from_messages(&answer.id).into_owned();
        let (texts, shown): (Vec<_>, Vec<_>) =
            answer.parts.into_iter().partition(|part| matches!(part.kind, Kind::Text(_)));
        if !shown.is_empty() {
            let caption = Text::Plain(format!("Image of tool result {id}:").into());
            self.message.shown.push(Part::text(caption));
            self.message.shown.extend(shown);
        }
        self.out.object().key("role").string("tool").key("tool_call_id").string(&id).key("content");
        if texts.is_empty() && !answer.is_error {
            // An array must have something in it.
            self.out.string("");
        } else {
            self.out.array();
            if answer.is_error {
                self.part(&Part::text(Text::Spelt(TOOL_ERROR)))?;
            }
            let last = texts.len().saturating_sub(1);
            for (at, part) in texts.into_iter().enumerate() {
                let mark = part.mark.or(answer.mark.filter(|_| at == last));
                self.part(&Part { mark, ..part })?;
            }
            self.out.end_array();
        }
        self.out.end_object();
        Ok(())
    }

    fn part(&mut self, part: &Part<'_>) -> Result<(), Untranslatable> {
        let out = &mut self.out;
        out.object().key("type");
        match &part.kind {
            Kind::Text(text) => _ = out.string("text").key("text").pieces(std::slice::from_ref(text)),
            Kind::Image(source) => {
                out.string("image_url").key("image_url").object().key("url");
                write_url(out, source);
                out.end_object();
            }
            Kind::File { source: Source::Url(_), .. } => {
                return Err(Untranslatable::field("messages.content.source", "is a file elsewhere, which is not read"));
            }
            Kind::File { source, name } => {
                out.string("file").key("file").object();
                out.key("filename").spelt(name.map_or("document.pdf", |name| name.raw)).key("file_data");
                write_url(out, source);
                out.end_object();
            }
        }
        self.mark(part.mark);
        self.out.end_object();
        Ok(())
    }

    /// OpenAI caches by itself, and refuses what it does not know.
    fn mark(&mut self, mark: Option<&str>) {
        if let Some(mark) = mark.filter(|_| self.takes_marks) {
            self.out.key("cache_control").raw(mark);
        }
    }
}

/// Writes a call of a tool.
pub(super) fn write_call(out: &mut Out, call: &Call<'_>) {
    out.object().key("id").string(&ids::from_messages(&call.id)).key("type").string("function");
    out.key("function").object().key("name").spelt(&call.name).key("arguments");
    match call.arguments {
        Arguments::Json(json) => match wrapped(json) {
            Some(text) => _ = out.spelt(text.raw),
            None => _ = out.string(json),
        },
        Arguments::Quoted(text) => _ = out.spelt(text.raw),
        Arguments::Text(text) => {
            let mut inner = Out::default();
            inner.object().key("input").spelt(text.raw).end_object();
            out.string(&inner.finish());
        }
    }
    out.end_object().end_object();
}

fn write_url(out: &mut Out, source: &Source<'_>) {
    match source {
        Source::Url(url) => _ = out.spelt(url.raw),
        Source::Data { media_type, data } => {
            out.pieces(&[
                Text::Plain("data:".into()),
                media_type.clone(),
                Text::Plain(";base64,".into()),
                data.clone(),
            ]);
        }
    }
}

/// Servers and hosts that take it beside what OpenAI has.
fn takes_top_k(vendor: &str) -> bool {
    matches!(vendor, "vllm" | "ollama" | "llama.cpp" | "together" | "fireworks" | "openrouter")
}

/// The text that stands in arguments which were no object.
pub(in super::super) fn wrapped(json: &str) -> Option<RawStr<'_>> {
    if !json.get(1..)?.trim_start().starts_with("\"_raw\"") {
        return None;
    }
    let (mut found, mut others) = (None, 0);
    members("input", json, |key, value| {
        if key == NO_OBJECT {
            found = string(value)
        } else {
            others += 1
        }
        Ok(())
    })
    .ok()?;
    found.filter(|_| others == 0)
}
