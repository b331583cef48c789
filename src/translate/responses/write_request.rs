//! Requests in the words of Responses.
//!
//! What is said before the first turn is a message of the developer, not `instructions`: then it stands where a longer
//! conversation has it too. A thought is written once what it led to follows, since OpenAI refuses one that leads to
//! nothing. <https://platform.openai.com/docs/api-reference/responses/create>

use sha2::{Digest, Sha256};

use crate::dialect::Dialect;
use crate::prompt::json::RawStr;
use crate::wire::vendors::Takes;

use super::super::chat::read_turns::TOOL_ERROR;
use super::super::chat::write_request::{USER_CHARACTERS_MAX, wrapped};
use super::super::effort::reasons;
use super::super::schema::binds_at_openai;
use super::super::talk::{
    Answer, Arguments, Call, Choice, Field, Format, Head, Input, Item, Kind, Part, Reasoning, Sealed, Source, Talk,
    Text, Thoughts, Tier, Who,
};
use super::super::write::Out;
use super::super::{Dropped, Terms, Untranslatable, Written, ids};

/// The least limit of output that is taken, in tokens.
const OUTPUT_TOKENS_MIN: u64 = 16;

/// Writes a request.
///
/// # Errors
///
/// [`Untranslatable`] names what Responses cannot carry.
pub fn write(talk: &Talk<'_>, terms: &Terms<'_>) -> Result<Written, Untranslatable> {
    let out = Out::with_capacity(talk.turns.len() + talk.turns.len() / 4 + 1_024);
    let mut writer = Writer {
        from: talk.from,
        out,
        dropped: Dropped::default(),
        who: Who::User,
        is_open: false,
        thoughts: Vec::new(),
    };
    writer.out.object().key("model").string(terms.model);
    writer.head(&talk.head, terms)?;
    writer.out.key("input").array();
    writer.who = Who::System;
    for part in &talk.head.instructions {
        writer.says(part)?;
    }
    talk.turns(&mut |item| writer.item(item))?;
    writer.close();
    writer.out.end_array().end_object();
    Ok(Written::of(writer.out.finish(), writer.dropped))
}

struct Writer<'b> {
    from: Dialect,
    out: Out,
    dropped: Dropped,
    /// Who speaks in the message that is read.
    who: Who,
    /// Whether a message is open.
    is_open: bool,
    /// What was thought and has led to nothing yet.
    thoughts: Vec<Reasoning<'b>>,
}

impl<'b> Writer<'b> {
    fn head(&mut self, head: &Head<'_>, terms: &Terms<'_>) -> Result<(), Untranslatable> {
        self.dropped.extras(&head.extras, Takes::of(terms.vendor).cache_members, &mut self.out)?;
        // Nobody could ask for it: what was answered is told in another shape.
        self.out.key("store").raw("false");
        if let Some(limit) = head.limit {
            self.out.key("max_output_tokens").number(limit.max(OUTPUT_TOKENS_MIN));
        }
        if head.stream {
            self.out.key("stream").raw("true");
        }
        let is_reasoner = reasons(terms.vendor, terms.model);
        if !head.stop.is_empty() {
            return Err(Untranslatable::field(Field::Stop.name(self.from), "has no counterpart in Responses"));
        }
        for (field, key, value) in [
            (Field::Temperature, Some("temperature"), head.temperature),
            (Field::TopP, Some("top_p"), head.top_p),
            (Field::TopK, None, head.top_k),
        ] {
            match (value, key.filter(|_| !is_reasoner)) {
                (Some(value), Some(key)) => _ = self.out.key(key).raw(value),
                (Some(_), None) => self.left(field),
                (None, _) => {}
            }
        }
        if is_reasoner && self.from == Dialect::Messages {
            // Its clients bring back what they are given, and then the model need not think it anew.
            self.out.key("include").raw(r#"["reasoning.encrypted_content"]"#);
        }
        self.reasoning(head, terms, is_reasoner);
        self.format(head.format.as_ref());
        self.user(head.user);
        if let Some(tier) = head.tier {
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

    fn reasoning(&mut self, head: &Head<'_>, terms: &Terms<'_>, is_reasoner: bool) {
        let word = head.effort.and_then(|effort| effort.chat_word(terms.vendor, terms.model));
        if head.effort.is_some() && word.is_none() {
            self.left(Field::Effort);
        }
        let summary = is_reasoner && head.thoughts == Some(Thoughts::Summary);
        if word.is_none() && !summary {
            return;
        }
        self.out.key("reasoning").object();
        if let Some(word) = word {
            self.out.key("effort").string(word);
        }
        if summary {
            self.out.key("summary").string("auto");
        }
        self.out.end_object();
    }

    fn format(&mut self, format: Option<&Format<'_>>) {
        let Some(format) = format else { return };
        self.out.key("text").object().key("format").object().key("type");
        match format {
            Format::Object => _ = self.out.string("json_object"),
            Format::Schema { schema, name, strict } => {
                self.out.string("json_schema").key("name").spelt(name.map_or("response", |name| name.raw));
                self.out.key("schema").raw(schema);
                if let Some(strict) = strict {
                    self.out.key("strict").raw(if *strict && binds_at_openai(schema) { "true" } else { "false" });
                }
            }
        }
        self.out.end_object().end_object();
    }

    fn user(&mut self, user: Option<RawStr<'_>>) {
        let Some(user) = user else { return };
        self.out.key("safety_identifier");
        let name = user.decode();
        if name.chars().count() <= USER_CHARACTERS_MAX {
            self.out.spelt(user.raw);
        } else {
            let hash: String = Sha256::digest(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
            self.out.string(&hash);
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
                self.out.key("tool_choice").object().key("type").string("function");
                self.out.key("name").spelt(name).end_object();
            }
        }
        if let Some(parallel) = head.parallel {
            self.out.key("parallel_tool_calls").raw(if parallel { "true" } else { "false" });
        }
        self.out.key("tools").array();
        for tool in &head.tools {
            self.out.object().key("type").string("function").key("name").spelt(&tool.name);
            if let Some(description) = &tool.description {
                self.out.key("description").pieces(std::slice::from_ref(description));
            }
            self.out.key("parameters").raw(match tool.input {
                Input::Schema(schema) => schema,
                Input::Unsaid => r#"{"type":"object","properties":{}}"#,
                Input::Text => r#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}"#,
            });
            // Said always: a schema is made to bind here if it can, where others only do if they are told to.
            let is_strict = tool.strict == Some(true);
            let binds = is_strict && matches!(tool.input, Input::Schema(schema) if binds_at_openai(schema));
            if is_strict && !binds {
                self.dropped.note("tools.strict");
            }
            self.out.key("strict").raw(if binds { "true" } else { "false" });
            self.out.end_object();
        }
        self.out.end_array();
    }

    fn item(&mut self, item: Item<'b>) -> Result<(), Untranslatable> {
        match item {
            Item::Turn(who) => {
                self.close();
                if who != Who::Assistant {
                    self.thoughts.clear();
                }
                self.who = who;
            }
            Item::Left(name) => self.dropped.note(name),
            Item::Says(part) => self.says(&part)?,
            // What another vendor sealed is none of the target's business.
            Item::Reasons(thought) if matches!(thought.sealed, Some(Sealed::OpenAi { .. })) => {
                self.close();
                self.thoughts.push(thought);
            }
            Item::Reasons(_) => {}
            Item::Calls(call) => {
                self.close();
                self.think();
                write_call(&mut self.out, &call);
            }
            Item::Answers(answer) => {
                self.close();
                self.answer(&answer);
            }
        }
        Ok(())
    }

    /// Writes what was thought before what follows.
    fn think(&mut self) {
        for thought in std::mem::take(&mut self.thoughts) {
            write_thought(&mut self.out, &thought);
        }
    }

    fn says(&mut self, part: &Part<'_>) -> Result<(), Untranslatable> {
        if matches!(&part.kind, Kind::Text(text) if text.is_empty()) {
            return Ok(());
        }
        let kind = match (self.who, &part.kind) {
            (Who::Assistant, Kind::Text(_)) => "output_text",
            (Who::System, Kind::Text(_)) | (Who::User, _) => "input_text",
            _ => return Err(Untranslatable::field("messages.content", "has an image where only users show any")),
        };
        if !self.is_open {
            self.think();
            self.out.object().key("type").string("message").key("role").string(match self.who {
                Who::System => "developer",
                Who::User => "user",
                Who::Assistant => "assistant",
            });
            self.out.key("content").array();
            self.is_open = true;
        }
        write_part(&mut self.out, part, kind);
        Ok(())
    }

    fn close(&mut self) {
        if std::mem::take(&mut self.is_open) {
            self.out.end_array().end_object();
        }
    }

    fn answer(&mut self, answer: &Answer<'_>) {
        self.out.object().key("type").string("function_call_output");
        self.out.key("call_id").string(&ids::from_messages(&answer.id)).key("output");
        if answer.parts.is_empty() && !answer.is_error {
            self.out.string("");
        } else {
            self.out.array();
            if answer.is_error {
                write_part(&mut self.out, &Part::text(Text::Spelt(TOOL_ERROR)), "input_text");
            }
            answer.parts.iter().for_each(|part| write_part(&mut self.out, part, "input_text"));
            self.out.end_array();
        }
        self.out.end_object();
    }
}

/// Writes a part; a text is one of this kind.
fn write_part(out: &mut Out, part: &Part<'_>, text_kind: &str) {
    out.object().key("type");
    match &part.kind {
        Kind::Text(text) => _ = out.string(text_kind).key("text").pieces(std::slice::from_ref(text)),
        Kind::Image(source) => {
            out.string("input_image").key("image_url");
            write_url(out, source);
            // <https://platform.openai.com/docs/guides/images-vision>: what is so where nobody says anything.
            out.key("detail").string("auto");
        }
        Kind::File { source: source @ Source::Url(_), .. } => {
            out.string("input_file").key("file_url");
            write_url(out, source);
        }
        Kind::File { source, name } => {
            out.string("input_file").key("filename").spelt(name.map_or("document.pdf", |name| name.raw));
            out.key("file_data");
            write_url(out, source);
        }
    }
    out.end_object();
}

fn write_url(out: &mut Out, source: &Source<'_>) {
    match source {
        Source::Url(url) => _ = out.spelt(url.raw),
        Source::Data { media_type, data } => {
            let before =
                [Text::Plain("data:".into()), media_type.clone(), Text::Plain(";base64,".into()), data.clone()];
            out.pieces(&before);
        }
    }
}

/// Writes a call of a tool.
fn write_call(out: &mut Out, call: &Call<'_>) {
    out.object().key("type").string("function_call").key("call_id").string(&ids::from_messages(&call.id));
    out.key("name").spelt(&call.name).key("arguments");
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

/// Writes a thought as it was.
fn write_thought(out: &mut Out, thought: &Reasoning<'_>) {
    let Some(Sealed::OpenAi { id, content }) = &thought.sealed else { return };
    out.object().key("type").string("reasoning").key("id").string(id).key("summary").array();
    for text in &thought.texts {
        out.object().key("type").string("summary_text").key("text").pieces(std::slice::from_ref(text)).end_object();
    }
    out.end_array().key("encrypted_content").string(content).end_object();
}
