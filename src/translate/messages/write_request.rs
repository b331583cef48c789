//! Requests in the words of Messages.
//!
//! Neighbours of one role are one message, as the API would have it; the last stays open until somebody else speaks.
//! <https://platform.claude.com/docs/en/api/messages/create>

use std::borrow::Cow;

use crate::dialect::Dialect;
use crate::prompt::json::RawStr;

use super::super::effort::{BUDGET_MIN, Claude, Effort, claude_takes_format};
use super::super::read::{is_blank, is_object};
use super::super::schema::binds_at_anthropic;
use super::super::talk::{
    Answer, Arguments, Call, Choice, Field, Format, Head, Input, Item, Kind, Part, Reasoning, Sealed, Source, Talk,
    Text, Thoughts, Tier, Who,
};
use super::super::write::Out;
use super::super::{Dropped, Terms, Untranslatable, Written, ids, plain, seals};
use super::FORMAT_TOOL;
use super::caching::{self, Marks};

/// The member under which arguments stand that are no object: a model wrote what nobody asked for, and a conversation
/// must not end of it.
pub const NO_OBJECT: &str = "_raw";

/// What is left of a limit for the answer of a model that thinks by a budget: one part of so many.
const ANSWER_SHARE: u64 = 4;

/// Writes a request.
///
/// # Errors
///
/// [`Untranslatable`] names what Messages or the model cannot carry.
pub fn write(talk: &Talk<'_>, terms: &Terms<'_>) -> Result<Written, Untranslatable> {
    let out = Out::with_capacity(talk.turns.len() + talk.turns.len() / 4 + 1_024);
    let marks = Marks::of(terms.caching, terms.vendor, terms.model).filter(|_| !is_marked(talk));
    let mut writer = Writer {
        from: talk.from,
        out,
        dropped: Dropped::default(),
        who: Who::User,
        open: None,
        marks,
        goes_on: !talk.head.tools.is_empty(),
        caches: false,
        unanswered: Vec::new(),
        held: Vec::new(),
    };
    writer.out.object().key("model").string(terms.model);
    writer.head(&talk.head, terms)?;
    writer.out.key("messages").array();
    talk.turns(&mut |item| writer.item(item))?;
    writer.release()?;
    let end = writer.marks.filter(|marks| writer.goes_on && writer.out.bytes() >= marks.bytes_min);
    if let Some(marks) = end.filter(|marks| !marks.is_beside && writer.open == Some("user")) {
        writer.mark_last(marks.end);
    }
    if writer.open.is_some() {
        writer.out.end_array().end_object();
    }
    writer.out.end_array();
    if let Some(marks) = end.filter(|marks| marks.is_beside) {
        writer.out.key("cache_control").raw(marks.end);
        writer.caches = true;
    }
    writer.out.end_object();
    Ok(Written { caches: writer.caches, ..Written::of(writer.out.finish(), writer.dropped) })
}

struct Writer<'b> {
    from: Dialect,
    out: Out,
    dropped: Dropped,
    /// Who speaks in the message that is read.
    who: Who,
    /// The role of the message that is written.
    open: Option<&'static str>,
    /// What is marked for a client that marks nothing.
    marks: Option<Marks>,
    /// It has tools or has been continued: more will probably follow.
    goes_on: bool,
    /// Something is marked.
    caches: bool,
    /// The calls that no tool has answered yet.
    unanswered: Vec<Cow<'b, str>>,
    /// What others said meanwhile: results come first. <https://platform.claude.com/docs/en/agents-and-tools/tool-use>
    held: Vec<(Who, Part<'b>)>,
}

impl<'b> Writer<'b> {
    fn head(&mut self, head: &Head<'_>, terms: &Terms<'_>) -> Result<(), Untranslatable> {
        self.dropped.extras(&head.extras, &[], &mut self.out)?;
        let limit = head.limit.unwrap_or(terms.output_limit);
        self.out.key("max_tokens").number(limit);
        if head.stream {
            self.out.key("stream").raw("true");
        }
        self.stop(&head.stop);
        let claude = Claude::of(terms.model);
        let forced = self.forced(head, terms.model)?;
        let thinks = self.thinking(head, claude, limit, forced);
        self.sampling(head, claude, thinks);
        if let Some(user) = head.user {
            self.out.key("metadata").object().key("user_id").spelt(user.raw).end_object();
        }
        if let Some(tier) = head.tier {
            self.out.key("service_tier").string(match tier {
                Tier::Auto => "auto",
                Tier::Standard => "standard_only",
            });
        }
        let said = |part: &&Part<'_>| !matches!(&part.kind, Kind::Text(text) if is_empty(text));
        let is_said = head.instructions.iter().any(|part| said(&part));
        let from = self.out.bytes();
        match forced {
            Some(schema) => self.format_tool(schema),
            None => self.tools(head, if is_said { None } else { self.marks }),
        }
        if is_said {
            self.out.key("system").array();
            head.instructions.iter().filter(said).try_for_each(|part| self.part(part))?;
            if let Some(marks) = self.marks.filter(|marks| self.out.bytes() - from >= marks.bytes_min) {
                self.mark_last(marks.head);
            }
            self.out.end_array();
        }
        Ok(())
    }

    /// Marks the block or tool that was written last.
    fn mark_last(&mut self, mark: &str) {
        self.out.reopen().key("cache_control").raw(mark).end_object();
        self.caches = true;
    }

    fn left(&mut self, field: Field) {
        self.dropped.note(field.name(self.from));
    }

    fn stop(&mut self, stop: &[RawStr<'_>]) {
        // Texts of white space are refused.
        if stop.iter().any(|text| is_blank(*text)) {
            self.left(Field::Stop);
        }
        if stop.iter().all(|text| is_blank(*text)) {
            return;
        }
        self.out.key("stop_sequences").array();
        for text in stop.iter().filter(|text| !is_blank(**text)) {
            self.out.spelt(text.raw);
        }
        self.out.end_array();
    }

    /// Writes how long to think and what the answer must look like; says whether the model thinks for it.
    fn thinking(&mut self, head: &Head<'_>, claude: Option<Claude>, limit: u64, forced: Option<&str>) -> bool {
        let mut word = None;
        let (thinks, is_left) = match (head.effort, claude) {
            (None, _) => (false, false),
            (Some(Effort::None), Some(claude)) if claude.is_adaptive() => {
                // 4.7 refuses to be told.
                let is_told = claude.version != (4, 7);
                if is_told {
                    self.out.key("thinking").raw(r#"{"type":"disabled"}"#);
                }
                (false, !is_told)
            }
            // Those before think when they are told to.
            (Some(Effort::None), claude) => (false, claude.is_none()),
            // Nor does any where it must call a tool.
            (Some(_), _) if forced.is_some() => (false, true),
            (Some(effort), Some(claude)) if claude.is_adaptive() => {
                self.out.key("thinking").object().key("type").string("adaptive");
                if let Some(thoughts) = head.thoughts {
                    self.out.key("display").string(match thoughts {
                        Thoughts::Summary => "summarized",
                        Thoughts::Nothing => "omitted",
                    });
                }
                self.out.end_object();
                word = effort.messages_word(claude);
                (true, false)
            }
            // Behind a call such a model wants the thoughts that led to it, signed, which no other dialect has. This
            // hangs on the tools, not on the newest turn: thinking that comes and goes loses what was cached.
            (Some(effort), Some(claude)) if claude.has_budget() && head.tools.is_empty() => {
                // The rest is for the answer.
                let budget = effort.budget().min(limit - limit / ANSWER_SHARE);
                let is_enough = budget >= BUDGET_MIN;
                if is_enough {
                    self.out.key("thinking").object().key("type").string("enabled");
                    self.out.key("budget_tokens").number(budget).end_object();
                }
                (is_enough, !is_enough)
            }
            _ => (false, true),
        };
        if is_left {
            self.left(Field::Effort);
        }
        let schema = match &head.format {
            Some(Format::Schema { schema, .. }) if forced.is_none() => Some(*schema),
            _ => None,
        };
        if word.is_some() || schema.is_some() {
            self.out.key("output_config").object();
            if let Some(word) = word {
                self.out.key("effort").string(word);
            }
            if let Some(schema) = schema {
                self.out
                    .key("format")
                    .object()
                    .key("type")
                    .string("json_schema")
                    .key("schema")
                    .raw(schema)
                    .end_object();
            }
            self.out.end_object();
        }
        thinks
    }

    /// The schema of the tool in which the answer is to be given, where it must be of some form and the model takes no schema for
    /// it, or there is none. Beside other tools it could be neither forced nor told from a call of theirs.
    fn forced<'h>(&self, head: &Head<'h>, model: &str) -> Result<Option<&'h str>, Untranslatable> {
        let (schema, why) = match &head.format {
            None => return Ok(None),
            Some(Format::Schema { schema, .. }) if claude_takes_format(model) && binds_at_anthropic(schema) => {
                return Ok(None);
            }
            Some(Format::Schema { schema, .. }) => {
                (*schema, "wants a schema beside tools that the model does not take: one that is open, or has bounds")
            }
            Some(Format::Object) => {
                (r#"{"type":"object"}"#, "wants any JSON object beside tools, for which Messages has no words")
            }
        };
        match head.tools.is_empty() {
            true => Ok(Some(schema)),
            false => Err(Untranslatable::field(Field::Format.name(self.from), why)),
        }
    }

    fn format_tool(&mut self, schema: &str) {
        self.out.key("tool_choice").object().key("type").string("tool").key("name").string(FORMAT_TOOL).end_object();
        self.out.key("tools").array().object().key("name").string(FORMAT_TOOL);
        self.out.key("description").string("Give the answer.").key("input_schema").raw(schema);
        self.out.end_object().end_array();
    }

    fn sampling(&mut self, head: &Head<'_>, claude: Option<Claude>, thinks: bool) {
        let refused = thinks || claude.is_some_and(|claude| !claude.takes_sampling());
        // Claude takes one of both.
        let has_both = claude.is_some() && head.temperature.is_some();
        if let Some(temperature) = head.temperature {
            let is_hot = temperature.parse::<f64>().is_ok_and(|value| value > 1.0);
            if refused || is_hot {
                self.left(Field::Temperature);
            }
            if !refused {
                self.out.key("temperature").raw(if is_hot { "1" } else { temperature });
            }
        }
        match head.top_p {
            Some(_) if refused || has_both => self.left(Field::TopP),
            Some(top_p) => _ = self.out.key("top_p").raw(top_p),
            None => {}
        }
        match head.top_k {
            Some(_) if refused => self.left(Field::TopK),
            Some(top_k) => _ = self.out.key("top_k").raw(top_k),
            None => {}
        }
    }

    /// Writes the tools, the last of them with a marker if nothing follows that could have it.
    fn tools(&mut self, head: &Head<'_>, marks: Option<Marks>) {
        if head.tools.is_empty() {
            return;
        }
        let from = self.out.bytes();
        let is_alone = head.parallel == Some(false) && !matches!(head.choice, Some(Choice::Never));
        let choice = head.choice.clone().or(is_alone.then_some(Choice::Auto));
        if let Some(choice) = choice {
            self.out.key("tool_choice").object().key("type").string(match &choice {
                Choice::Auto => "auto",
                Choice::Any => "any",
                Choice::Tool(_) => "tool",
                Choice::Never => "none",
            });
            if let Choice::Tool(name) = choice {
                self.out.key("name").spelt(&name);
            }
            if is_alone {
                self.out.key("disable_parallel_tool_use").raw("true");
            }
            self.out.end_object();
        }
        self.out.key("tools").array();
        for tool in &head.tools {
            self.out.object().key("name").spelt(&tool.name);
            if let Some(description) = &tool.description {
                self.out.key("description").pieces(std::slice::from_ref(description));
            }
            self.out.key("input_schema").raw(match tool.input {
                Input::Schema(schema) => schema,
                Input::Unsaid => r#"{"type":"object","properties":{}}"#,
                Input::Text => r#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}"#,
            });
            if let Some(strict) = tool.strict {
                self.out.key("strict").raw(if strict { "true" } else { "false" });
            }
            self.mark(tool.mark);
            self.out.end_object();
        }
        if let Some(marks) = marks.filter(|marks| self.out.bytes() - from >= marks.bytes_min) {
            self.mark_last(marks.head);
        }
        self.out.end_array();
    }

    fn item(&mut self, item: Item<'b>) -> Result<(), Untranslatable> {
        match item {
            Item::Turn(who) => self.who = who,
            Item::Left(name) => self.dropped.note(name),
            // Texts of white space are refused, and say nothing.
            Item::Says(Part { kind: Kind::Text(text), .. }) if is_empty(&text) => {}
            Item::Says(part) if self.who != Who::Assistant && !self.unanswered.is_empty() => {
                self.held.push((self.who, part));
            }
            Item::Says(part) => {
                if self.who == Who::Assistant {
                    self.release()?;
                }
                self.says(self.who, &part)?;
            }
            // What another vendor sealed is none of the target's business.
            Item::Reasons(Reasoning { sealed: None | Some(Sealed::OpenAi { .. } | Sealed::Google { .. }), .. }) => {}
            Item::Reasons(thought) => {
                self.release()?;
                self.speak("assistant");
                write_thought(&mut self.out, &thought);
            }
            Item::Calls(call) => {
                self.release()?;
                self.speak("assistant");
                write_call(&mut self.out, &call);
                self.unanswered.push(call.id);
            }
            Item::Answers(answer) => {
                self.speak("user");
                self.answer(&answer)?;
                self.unanswered.retain(|call| *call != answer.id);
                if self.unanswered.is_empty() {
                    self.release()?;
                }
            }
        }
        Ok(())
    }

    /// Writes what was held, once every call is answered or the model goes on without.
    fn release(&mut self) -> Result<(), Untranslatable> {
        if !self.held.is_empty() {
            self.unanswered.clear();
        }
        std::mem::take(&mut self.held).iter().try_for_each(|(who, part)| self.says(*who, part))
    }

    fn says(&mut self, who: Who, part: &Part<'_>) -> Result<(), Untranslatable> {
        match (who, &part.kind) {
            (Who::User, _) => {
                self.speak("user");
                self.part(part)
            }
            (Who::Assistant, Kind::Text(_)) => {
                self.speak("assistant");
                self.part(part)
            }
            // Not every model takes the role, and which one does is not for a body to depend on.
            (Who::System, Kind::Text(text)) => {
                self.speak("user");
                let fenced = [Text::Plain("<system>\n".into()), text.clone(), Text::Plain("\n</system>".into())];
                self.out.object().key("type").string("text").key("text").pieces(&fenced);
                self.mark(part.mark);
                self.out.end_object();
                Ok(())
            }
            _ => Err(Untranslatable::field("messages.content", "has an image where only users show any")),
        }
    }

    /// Opens a message unless one of the role is open.
    fn speak(&mut self, role: &'static str) {
        if self.open == Some(role) {
            return;
        }
        if self.open.is_some() {
            self.out.end_array().end_object();
        }
        self.out.object().key("role").string(role).key("content").array();
        self.open = Some(role);
        self.goes_on |= role == "assistant";
    }

    fn answer(&mut self, answer: &Answer<'_>) -> Result<(), Untranslatable> {
        self.out.object().key("type").string("tool_result").key("tool_use_id").string(&ids::to_messages(&answer.id));
        self.out.key("content").array();
        for part in &answer.parts {
            if !matches!(&part.kind, Kind::Text(text) if is_empty(text)) {
                self.part(part)?;
            }
        }
        self.out.end_array();
        if answer.is_error {
            self.out.key("is_error").raw("true");
        }
        self.mark(answer.mark);
        self.out.end_object();
        Ok(())
    }

    fn part(&mut self, part: &Part<'_>) -> Result<(), Untranslatable> {
        let out = &mut self.out;
        out.object().key("type");
        match &part.kind {
            Kind::Text(text) => _ = out.string("text").key("text").pieces(std::slice::from_ref(text)),
            Kind::Image(source) => write_source(out.string("image"), source),
            Kind::File { source, name } => {
                match (plain::text_of(source), source) {
                    (Some(text), _) => {
                        out.string("document").key("source").object().key("type").string("text");
                        out.key("media_type").string("text/plain").key("data").string(&text).end_object();
                    }
                    (None, Source::Data { media_type, .. }) if !is_pdf(media_type) => {
                        return Err(Untranslatable::field(
                            "messages.content.file",
                            "is neither a PDF nor text, which is all that Claude reads",
                        ));
                    }
                    (None, _) => write_source(out.string("document"), source),
                }
                if let Some(name) = name {
                    out.key("title").spelt(name.raw);
                }
            }
        }
        self.mark(part.mark);
        self.out.end_object();
        Ok(())
    }

    fn mark(&mut self, mark: Option<&str>) {
        if let Some(mark) = mark {
            self.out.key("cache_control").raw(mark);
        }
    }
}

/// Whether the client marks anything itself.
fn is_marked(talk: &Talk<'_>) -> bool {
    let Head { tools, instructions, .. } = &talk.head;
    let in_head = tools.iter().any(|tool| tool.mark.is_some()) || instructions.iter().any(|part| part.mark.is_some());
    in_head || caching::is_marked(talk.turns.as_bytes())
}

/// Writes a thought; one that nobody sealed is there to be read, and does not come back.
pub(super) fn write_thought(out: &mut Out, thought: &Reasoning<'_>) {
    match &thought.sealed {
        None if thought.texts.iter().all(Text::is_empty) => {}
        None => {
            out.object().key("type").string("thinking").key("thinking").pieces(&seals::joined(&thought.texts));
            out.key("signature").string(seals::UNSEALED).end_object();
        }
        Some(Sealed::Redacted(data)) => {
            out.object().key("type").string("redacted_thinking").key("data").string(data).end_object();
        }
        Some(sealed @ (Sealed::OpenAi { .. } | Sealed::Google { .. })) if thought.texts.iter().all(Text::is_empty) => {
            out.object().key("type").string("redacted_thinking");
            out.key("data").string(&seals::for_messages(sealed, &thought.texts)).end_object();
        }
        Some(sealed) => {
            out.object().key("type").string("thinking").key("thinking").pieces(&seals::joined(&thought.texts));
            out.key("signature").string(&seals::for_messages(sealed, &thought.texts)).end_object();
        }
    }
}

/// Writes a call of a tool.
pub(super) fn write_call(out: &mut Out, call: &Call<'_>) {
    call_members(out, call);
    out.end_object();
}

/// Begins a call of a tool, to which more may be said.
pub(super) fn call_members(out: &mut Out, call: &Call<'_>) {
    out.object().key("type").string("tool_use").key("id").string(&ids::to_messages(&call.id));
    out.key("name").spelt(&call.name).key("input");
    match call.arguments {
        Arguments::Json(json) => _ = out.raw(json),
        Arguments::Text(text) => _ = out.object().key("input").spelt(text.raw).end_object(),
        Arguments::Quoted(quoted) => {
            let json = quoted.decode();
            if json.trim().is_empty() {
                out.raw("{}");
            } else if is_object(&json) {
                out.raw(json.trim());
            } else {
                out.object().key(NO_OBJECT).spelt(quoted.raw).end_object();
            }
        }
    }
}

fn write_source(out: &mut Out, source: &Source<'_>) {
    out.key("source").object().key("type");
    match source {
        Source::Data { media_type, data } => {
            out.string("base64").key("media_type").pieces(&[plain::registered(media_type)]);
            out.key("data").pieces(std::slice::from_ref(data));
        }
        Source::Url(url) => _ = out.string("url").key("url").spelt(url.raw),
    }
    out.end_object();
}

fn is_pdf(media_type: &Text<'_>) -> bool {
    matches!(media_type, Text::Spelt("application/pdf" | "application\\/pdf"))
        || matches!(media_type, Text::Plain(kind) if kind == "application/pdf")
}

fn is_empty(text: &Text<'_>) -> bool {
    match text {
        Text::Spelt(raw) => {
            let rest = raw.trim_start();
            rest.is_empty() || rest.starts_with('\\') && is_blank(RawStr { raw: rest, escaped: true })
        }
        Text::Plain(text) => text.trim().is_empty(),
    }
}
