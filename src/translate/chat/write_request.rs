//! Requests in the words of Chat Completions.
//!
//! A message is written once all of it was read: results of tools stand before what else the user said, calls behind what
//! else the model said. <https://platform.openai.com/docs/api-reference/chat/create>

use sha2::{Digest, Sha256};

use crate::dialect::Dialect;
use crate::prompt::json::RawStr;
use crate::wire::vendors::{Seals, Takes, Texts, Thoughts, output_limit_member};

use super::super::effort::reasons;
use super::super::messages::write_request::NO_OBJECT;
use super::super::read::{members, string};
use super::super::schema::binds_at_openai;
use super::super::stream::UsageChunk;
use super::super::talk::{
    Answer, Arguments, Call, Choice, Field, Format, Head, Input, Item, Kind, Part, Reasoning, Sealed, Source, Talk,
    Text, Tier, Who,
};
use super::super::write::Out;
use super::super::{Dropped, Terms, Untranslatable, Written, ids, seals};
use super::read_turns::TOOL_ERROR;
use super::{SIGNATURE, THOUGHTS};

/// The most texts that may end an answer.
const STOP_MAX: usize = 4;
/// What stands in the place of a signature where there is none: a call of another model, or one whose signature a client
/// did not keep. <https://ai.google.dev/gemini-api/docs/thought-signatures#faqs>
const NO_SIGNATURE: &str = "skip_thought_signature_validator";
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
        takes: Takes::of(terms.vendor),
        insists_on_seals: Takes::of(terms.vendor).insists_on_seals(terms.model),
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
    takes: Takes,
    /// Whether the first call of a message is refused without a seal.
    insists_on_seals: bool,
    message: Message<'b>,
}

/// The message that is read.
#[derive(Default)]
struct Message<'b> {
    who: Option<Who>,
    parts: Vec<Part<'b>>,
    calls: Vec<Call<'b>>,
    /// What was thought before, for those who take it back.
    thoughts: Vec<Reasoning<'b>>,
    /// What tools have shown: results are texts alone, so it follows behind them.
    shown: Vec<Part<'b>>,
}

impl<'b> Writer<'b> {
    fn head(&mut self, head: &Head<'_>, terms: &Terms<'_>) -> Result<(), Untranslatable> {
        self.dropped.extras(&head.extras, self.takes.cache_members, &mut self.out)?;
        if let Some(limit) = head.limit {
            self.out.key(output_limit_member(Dialect::Chat, terms.vendor)).number(limit);
        }
        if head.stream {
            self.out.key("stream").raw("true");
            if terms.usage == UsageChunk::Asked {
                self.out.key("stream_options").raw(r#"{"include_usage":true}"#);
            }
        }
        let is_reasoner = self.takes.is_openai() && reasons(terms.vendor, terms.model);
        self.stop(&head.stop, is_reasoner)?;
        for (field, key, value) in [
            (Field::Temperature, "temperature", head.temperature),
            (Field::TopP, "top_p", head.top_p),
            (Field::TopK, "top_k", head.top_k),
        ] {
            // <https://platform.openai.com/docs/guides/reasoning>: refused by models that reason; the last by OpenAI's.
            let is_taken = !is_reasoner && (field != Field::TopK || self.takes.top_k);
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
        if let Some(tier) = head.tier.filter(|_| self.takes.is_openai()) {
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
                self.switch("strict", strict.map(|strict| strict && binds_at_openai(schema)));
                self.out.end_object().end_object();
            }
        }
    }

    fn user(&mut self, user: Option<RawStr<'_>>) {
        let Some(user) = user else { return };
        if !self.takes.user {
            self.left(Field::User);
            return;
        }
        self.out.key(if self.takes.is_openai() { "safety_identifier" } else { "user" });
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
            let mut strict = tool.strict;
            match tool.input {
                Input::Schema(schema) if strict == Some(true) && !binds_at_openai(schema) => {
                    strict = Some(false);
                    self.dropped.note("tools.strict");
                    self.out.key("parameters").raw(schema);
                }
                Input::Schema(schema) => _ = self.out.key("parameters").raw(schema),
                Input::Unsaid => {}
                Input::Text => {
                    self.out
                        .key("parameters")
                        .raw(r#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}"#);
                }
            }
            self.switch("strict", strict);
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
            Item::Reasons(thought) => self.message.thoughts.push(thought),
            Item::Says(part) => self.message.parts.push(part),
            Item::Calls(call) => self.message.calls.push(call),
            Item::Answers(answer) => self.answer(answer)?,
        }
        Ok(())
    }

    /// Writes the message that was read, if it says anything.
    fn flush(&mut self) -> Result<(), Untranslatable> {
        let Message { who, mut parts, calls, thoughts, mut shown } = std::mem::take(&mut self.message);
        match who {
            None => Ok(()),
            Some(Who::System) => self.system(&parts),
            Some(Who::User) => {
                shown.append(&mut parts);
                if shown.is_empty() { Ok(()) } else { self.message("user", &shown, (&[], &[])) }
            }
            Some(Who::Assistant) => {
                if parts.iter().any(|part| !matches!(part.kind, Kind::Text(_))) {
                    return Err(Untranslatable::field("messages.content", "has more than text in an answer"));
                }
                if parts.is_empty() && calls.is_empty() {
                    return Ok(());
                }
                self.message("assistant", &parts, (&calls, &thoughts))
            }
        }
    }

    fn system(&mut self, parts: &[Part<'_>]) -> Result<(), Untranslatable> {
        if parts.is_empty() {
            return Ok(());
        }
        self.message(if self.takes.is_openai() { "developer" } else { "system" }, parts, (&[], &[]))
    }

    fn message(
        &mut self,
        role: &str,
        parts: &[Part<'_>],
        (calls, thoughts): (&[Call<'_>], &[Reasoning<'_>]),
    ) -> Result<(), Untranslatable> {
        self.out.object().key("role").string(role).key("content");
        if parts.is_empty() {
            self.out.raw("null");
        } else {
            // What the model said in pieces is one text; whoever else speaks says one thing after the other.
            self.content(parts, if role == "assistant" { "" } else { seals::BREAK_SPELT })?;
        }
        self.thoughts(thoughts, !calls.is_empty());
        if !calls.is_empty() {
            self.out.key("tool_calls").array();
            for (at, call) in calls.iter().enumerate() {
                call_members(&mut self.out, call, &ids::for_chat(&call.id, self.takes.call_ids));
                self.seal(call, thoughts, at == 0);
                self.out.end_object();
            }
            self.out.end_array();
        }
        self.out.end_object();
        Ok(())
    }

    /// Writes what is said: a text without a marker as a text, which everybody takes, and several in parts unless the target
    /// takes none.
    fn content(&mut self, parts: &[Part<'_>], between: &'static str) -> Result<(), Untranslatable> {
        let is_bare = |part: &Part<'_>| part.mark.is_none() || !self.takes.marks;
        let is_text = |part: &Part<'_>| matches!(part.kind, Kind::Text(_)) && is_bare(part);
        let is_one = parts.len() == 1 || self.takes.texts == Texts::Joined;
        if !is_one || !parts.iter().all(is_text) {
            self.out.array();
            parts.iter().try_for_each(|part| self.part(part))?;
            self.out.end_array();
            return Ok(());
        }
        let mut pieces = Vec::with_capacity(parts.len() * 2);
        for part in parts {
            let Kind::Text(text) = &part.kind else { continue };
            if !pieces.is_empty() {
                pieces.push(Text::Spelt(between));
            }
            pieces.push(text.clone());
        }
        self.out.pieces(&pieces);
        Ok(())
    }

    /// Writes what the model thought, for one that wants it back; beside calls it wants something in any case.
    fn thoughts(&mut self, thoughts: &[Reasoning<'_>], has_calls: bool) {
        if self.takes.thoughts != Thoughts::Back {
            return;
        }
        let texts: Vec<Text<'_>> = thoughts
            .iter()
            .filter(|thought| thought.sealed.is_none())
            .flat_map(|thought| thought.texts.clone())
            .collect();
        if has_calls || texts.iter().any(|text| !text.is_empty()) {
            self.out.key(THOUGHTS[0]).pieces(&seals::joined(&texts));
        }
    }

    /// Writes Google's signature of a call; where the first of a message has none, what says so.
    fn seal(&mut self, call: &Call<'_>, thoughts: &[Reasoning<'_>], is_first: bool) {
        let Seals::Google { .. } = self.takes.seals else { return };
        let own = thoughts.iter().find_map(|thought| match &thought.sealed {
            Some(Sealed::Google { call: id, signature }) if *id == ids::from_messages(&call.id) => Some(&**signature),
            _ => None,
        });
        if let Some(signature) = own.or((is_first && self.insists_on_seals).then_some(NO_SIGNATURE)) {
            self.out.key("extra_content").object().key("google").object();
            self.out.key(SIGNATURE).string(signature).end_object().end_object();
        }
    }

    fn answer(&mut self, answer: Answer<'b>) -> Result<(), Untranslatable> {
        let id = ids::for_chat(&answer.id, self.takes.call_ids).into_owned();
        let (texts, shown): (Vec<_>, Vec<_>) =
            answer.parts.into_iter().partition(|part| matches!(part.kind, Kind::Text(_)));
        if !shown.is_empty() {
            let caption = Text::Plain(format!("Image of tool result {id}:").into());
            self.message.shown.push(Part::text(caption));
            self.message.shown.extend(shown);
        }
        self.out.object().key("role").string("tool").key("tool_call_id").string(&id).key("content");
        let flag = answer.is_error.then(|| Part::text(Text::Spelt(TOOL_ERROR)));
        let mut said: Vec<Part<'_>> = flag.into_iter().chain(texts).collect();
        match said.last_mut() {
            Some(last) => last.mark = last.mark.or(answer.mark),
            None => said.push(Part::text(Text::Spelt(""))),
        }
        self.content(&said, seals::BREAK_SPELT)?;
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
        if let Some(mark) = mark.filter(|_| self.takes.marks) {
            self.out.key("cache_control").raw(mark);
        }
    }
}

/// Writes a call of a tool.
pub(super) fn write_call(out: &mut Out, call: &Call<'_>) {
    call_members(out, call, &ids::from_messages(&call.id));
    out.end_object();
}

/// Begins a call of a tool, to which more may be said.
fn call_members(out: &mut Out, call: &Call<'_>, id: &str) {
    out.object().key("id").string(id).key("type").string("function");
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
    out.end_object();
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
