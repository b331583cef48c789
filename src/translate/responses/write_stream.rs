//! Events of Responses, written. <https://platform.openai.com/docs/api-reference/responses-streaming>
//!
//! What was told in pieces is told once more as a whole, with each item and with the response, so that all of it is kept
//! until the end, within a bound. Calls that come in turns go on as they come: their places tell them apart.

use crate::limits::REPLY_BYTES_MAX;
use crate::prompt::json::RawStr;
use crate::reply::usage::Usage;
use crate::wire::errors::failed_code;

use super::super::citations::Citation;
use super::super::said::Why;
use super::super::stream::Event;
use super::super::talk::{Sealed, Text};
use super::super::unwrap::Unwrap;
use super::super::write::Out;
use super::super::{Told, Untranslatable, seals};
use super::echo::{Echo, Named};
use super::write_reply::{Items, Response, annotation, refusal_part, status, summary_part, text_part_of};

/// Writes one stream.
#[derive(Debug)]
pub struct Writer {
    created_seconds: u64,
    usage: Usage,
    echo: Echo,
    items: Items,
    /// The id and the model, as they are spelt.
    id: String,
    model: String,
    has_begun: bool,
    has_refused: bool,
    /// The number of the next event.
    sequence: u64,
    /// Each item that has ended, at its place; what is open is empty.
    output: Vec<String>,
    message: Option<Message>,
    thought: Option<Thought>,
    calls: Vec<Call>,
    /// How many characters of text there are before the part that is open.
    characters: u64,
    /// Everything that is kept, in bytes.
    kept_bytes: usize,
    /// The status, and why it is incomplete.
    ended: (&'static str, Option<&'static str>),
}

/// A message that is open.
#[derive(Debug)]
struct Message {
    at: usize,
    /// Its parts that have ended, each written.
    parts: Vec<String>,
    kind: PartKind,
    /// The text of the part that is open, as it is spelt.
    text: String,
    /// What that refers to.
    annotations: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum PartKind {
    Text,
    Refusal,
}

/// A thought that is open.
#[derive(Debug, Default)]
struct Thought {
    /// Its place, once anything of it is told.
    at: Option<usize>,
    /// What may be read, part by part, as it is spelt.
    parts: Vec<String>,
    /// Whether the last of them goes on.
    is_open: bool,
    seal: Option<String>,
}

/// A call that is open.
#[derive(Debug)]
struct Call {
    index: u64,
    at: usize,
    call_id: String,
    tool: Named,
    /// What it is called with so far, as it is spelt.
    input: String,
    /// For a tool that takes a text.
    unwrap: Unwrap,
}

impl Writer {
    /// Begins.
    ///
    /// # Errors
    ///
    /// [`Untranslatable`] if `told` has no request.
    pub fn new(told: &Told<'_>) -> Result<Self, Untranslatable> {
        Ok(Self {
            created_seconds: told.created_seconds,
            usage: told.usage,
            echo: Echo::read(told.request)?,
            items: Items::default(),
            id: String::new(),
            model: String::new(),
            has_begun: false,
            has_refused: false,
            sequence: 0,
            output: Vec::new(),
            message: None,
            thought: None,
            calls: Vec::new(),
            characters: 0,
            kept_bytes: 0,
            ended: ("completed", None),
        })
    }

    /// Writes an event.
    ///
    /// # Errors
    ///
    /// [`Untranslatable`] for pieces of a call that is over, and if the answer is larger than can be kept.
    pub fn event(&mut self, event: Event<'_>, usage: Option<Usage>, out: &mut String) -> Result<(), Untranslatable> {
        self.usage = usage.unwrap_or(self.usage);
        match event {
            Event::Begins { id, model } => self.begin(id, model, out),
            Event::Text(text) => self.says(PartKind::Text, text, out)?,
            Event::Cites(citation) => self.cites(&citation, out)?,
            Event::Refusal(text) => self.says(PartKind::Refusal, text, out)?,
            Event::ThoughtBegins => {
                self.close_message("completed", out);
                self.close_thought("completed", out);
                self.thought = Some(Thought::default());
            }
            Event::Thought(text) => self.thinks(text, out)?,
            Event::ThoughtBreaks => self.break_thought(out),
            Event::Sealed(sealed) => self.seal(&sealed, out)?,
            Event::ThoughtEnds => self.close_thought("completed", out),
            Event::CallBegins { index, id, name } => {
                self.close_message("completed", out);
                self.close_thought("completed", out);
                self.call(index, &id, name.raw, out)?;
            }
            Event::Arguments { index, piece } => self.piece(index, piece, out)?,
            Event::CallEnds { index } => {
                if let Some(place) = self.calls.iter().position(|call| call.index == index) {
                    let call = self.calls.remove(place);
                    self.close_call(call, "completed", out);
                }
            }
            Event::Ends(why) => {
                if let (Why::Refused(Some(text)), false) = (why, self.has_refused) {
                    self.says(PartKind::Refusal, text, out)?;
                }
                self.ended = status(why);
                self.close(self.ended.0, out);
            }
            // Said as a piece before it comes here.
            Event::Input { .. } => {}
            // No event of the dialect says nothing; a comment keeps a connection busy as well.
            Event::Ping => out.push_str(": ping\n\n"),
            Event::Over => {
                self.close(self.ended.0, out);
                self.over(out);
            }
        }
        Ok(())
    }

    /// The response as one that failed, if it has begun: its clients know no other end. `code` and `message` say why.
    pub fn failed(&self, code: &str, message: &str) -> Option<String> {
        self.has_begun.then(|| {
            let response = self.written("failed", None, Some((failed_code(code), message)));
            let mut text = String::new();
            write("response.failed", self.sequence, &mut text, |out| _ = out.key("response").raw(&response));
            text
        })
    }

    /// The number of the next event.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// How much is kept, in bytes.
    pub fn kept_bytes(&self) -> usize {
        self.kept_bytes + self.echo.members().len()
    }

    fn keep(&mut self, bytes: usize) -> Result<(), Untranslatable> {
        self.kept_bytes += bytes;
        if self.kept_bytes > REPLY_BYTES_MAX {
            return Err(Untranslatable::field("output", "is larger than can be kept until its end"));
        }
        Ok(())
    }

    fn begin(&mut self, id: RawStr<'_>, model: RawStr<'_>, out: &mut String) {
        (self.id, self.model) = (id.raw.to_owned(), model.raw.to_owned());
        self.items = Items::new(id.raw);
        self.has_begun = true;
        let response = self.written("in_progress", None, None);
        for kind in ["response.created", "response.in_progress"] {
            self.write(kind, out, |out| _ = out.key("response").raw(&response));
        }
    }

    /// The last event.
    fn over(&mut self, out: &mut String) {
        let (status, reason) = self.ended;
        let response = self.written(status, reason, None);
        let kind = if status == "incomplete" { "response.incomplete" } else { "response.completed" };
        self.write(kind, out, |out| _ = out.key("response").raw(&response));
    }

    fn written(&self, status: &str, reason: Option<&str>, error: Option<(&str, &str)>) -> String {
        let whole: Vec<String>;
        let output = match self.output.iter().any(String::is_empty) {
            true => {
                whole = self.output.iter().filter(|item| !item.is_empty()).cloned().collect();
                &whole
            }
            false => &self.output,
        };
        let response = Response {
            id: &self.id,
            model: &self.model,
            created_seconds: self.created_seconds,
            status,
            reason,
            error,
            output,
            usage: (status == "completed" || status == "incomplete").then_some(&self.usage),
            echo: &self.echo,
        };
        response.written()
    }

    /// Takes the next place of the output.
    fn place(&mut self) -> usize {
        self.output.push(String::new());
        self.output.len() - 1
    }

    fn added(&mut self, at: usize, item: &str, out: &mut String) {
        self.write("response.output_item.added", out, |out| {
            _ = out.key("output_index").number(at as u64).key("item").raw(item)
        });
    }

    fn done(&mut self, at: usize, item: String, out: &mut String) {
        self.write("response.output_item.done", out, |out| {
            _ = out.key("output_index").number(at as u64).key("item").raw(&item)
        });
        self.output[at] = item;
    }

    fn says(&mut self, kind: PartKind, text: RawStr<'_>, out: &mut String) -> Result<(), Untranslatable> {
        self.keep(text.raw.len())?;
        self.has_refused |= kind == PartKind::Refusal;
        self.close_thought("completed", out);
        let mut message = match self.message.take() {
            Some(message) if message.kind == kind => message,
            Some(mut message) => {
                self.close_part(&mut message, out);
                message.kind = kind;
                self.open_part(&message, out);
                message
            }
            None => {
                let at = self.place();
                let item = self.items.message_of(at, &[], "in_progress");
                self.added(at, &item, out);
                let (parts, text, annotations) = (Vec::new(), String::new(), Vec::new());
                let message = Message { at, parts, kind, text, annotations };
                self.open_part(&message, out);
                message
            }
        };
        let name = match kind {
            PartKind::Text => "response.output_text.delta",
            PartKind::Refusal => "response.refusal.delta",
        };
        self.part_event(name, &message, out, |out| {
            out.key("delta").spelt(text.raw);
            if kind == PartKind::Text {
                out.key("logprobs").array().end_array();
            }
        });
        message.text.push_str(text.raw);
        self.message = Some(message);
        Ok(())
    }

    /// Tells what the text refers to that is open; one that is over has been told as a whole.
    fn cites(&mut self, citation: &Citation<'_>, out: &mut String) -> Result<(), Untranslatable> {
        let is_open = |message: &Message| message.kind == PartKind::Text;
        let Some(mut message) = self.message.take_if(|message| is_open(message)) else { return Ok(()) };
        if citation.characters.start >= self.characters {
            let annotation = annotation(citation, self.characters);
            self.keep(annotation.len())?;
            let number = message.annotations.len() as u64;
            self.part_event("response.output_text.annotation.added", &message, out, |out| {
                out.key("annotation_index").number(number).key("annotation").raw(&annotation);
            });
            message.annotations.push(annotation);
        }
        self.message = Some(message);
        Ok(())
    }

    fn open_part(&mut self, message: &Message, out: &mut String) {
        let part = part(message.kind, "", &[]);
        self.part_event("response.content_part.added", message, out, |out| _ = out.key("part").raw(&part));
    }

    fn close_part(&mut self, message: &mut Message, out: &mut String) {
        let text = std::mem::take(&mut message.text);
        let annotations = std::mem::take(&mut message.annotations);
        match message.kind {
            PartKind::Text => {
                self.characters += Text::Spelt(&text).decode().chars().count() as u64;
                self.part_event("response.output_text.done", message, out, |out| {
                    out.key("text").spelt(&text).key("logprobs").array().end_array();
                });
            }
            PartKind::Refusal => {
                self.part_event("response.refusal.done", message, out, |out| _ = out.key("refusal").spelt(&text));
            }
        }
        let part = part(message.kind, &text, &annotations);
        self.part_event("response.content_part.done", message, out, |out| _ = out.key("part").raw(&part));
        message.parts.push(part);
    }

    fn part_event(&mut self, kind: &str, message: &Message, to: &mut String, members: impl FnOnce(&mut Out)) {
        let id = self.items.id("msg", message.at);
        self.write(kind, to, |out| {
            out.key("item_id").string(&id).key("output_index").number(message.at as u64);
            out.key("content_index").number(message.parts.len() as u64);
            members(out);
        });
    }

    fn close_message(&mut self, status: &str, out: &mut String) {
        let Some(mut message) = self.message.take() else { return };
        self.close_part(&mut message, out);
        let item = self.items.message_of(message.at, &message.parts, status);
        self.done(message.at, item, out);
    }

    fn thinks(&mut self, text: RawStr<'_>, out: &mut String) -> Result<(), Untranslatable> {
        self.keep(text.raw.len())?;
        self.close_message("completed", out);
        let mut thought = self.thought.take().unwrap_or_default();
        let at = self.open_thought(&mut thought, out);
        if !thought.is_open {
            thought.is_open = true;
            thought.parts.push(String::new());
            let part = summary_part(&Text::Spelt(""));
            self.summary_event("response.reasoning_summary_part.added", at, &thought, out, |out| {
                out.key("part").raw(&part);
            });
        }
        self.summary_event("response.reasoning_summary_text.delta", at, &thought, out, |out| {
            out.key("delta").spelt(text.raw);
        });
        if let Some(part) = thought.parts.last_mut() {
            part.push_str(text.raw);
        }
        self.thought = Some(thought);
        Ok(())
    }

    /// The place of a thought, which is told with the first that is known of it.
    fn open_thought(&mut self, thought: &mut Thought, out: &mut String) -> usize {
        if let Some(at) = thought.at {
            return at;
        }
        let at = self.place();
        thought.at = Some(at);
        let item = self.items.reasoning(at, &[], None, "in_progress");
        self.added(at, &item, out);
        at
    }

    fn break_thought(&mut self, out: &mut String) {
        let Some(mut thought) = self.thought.take() else { return };
        self.close_summary(&mut thought, out);
        self.thought = Some(thought);
    }

    fn close_summary(&mut self, thought: &mut Thought, out: &mut String) {
        let (Some(at), true) = (thought.at, std::mem::take(&mut thought.is_open)) else { return };
        let text = thought.parts.last().cloned().unwrap_or_default();
        self.summary_event("response.reasoning_summary_text.done", at, thought, out, |out| {
            out.key("text").spelt(&text);
        });
        let part = summary_part(&Text::Spelt(&text));
        self.summary_event("response.reasoning_summary_part.done", at, thought, out, |out| {
            out.key("part").raw(&part);
        });
    }

    fn summary_event(
        &mut self,
        kind: &str,
        at: usize,
        thought: &Thought,
        to: &mut String,
        members: impl FnOnce(&mut Out),
    ) {
        let id = self.items.id("rs", at);
        self.write(kind, to, |out| {
            out.key("item_id").string(&id).key("output_index").number(at as u64);
            out.key("summary_index").number(thought.parts.len().saturating_sub(1) as u64);
            members(out);
        });
    }

    /// Keeps a seal for a client who takes it.
    fn seal(&mut self, sealed: &Sealed<'_>, out: &mut String) -> Result<(), Untranslatable> {
        if !self.echo.takes_seals() {
            return Ok(());
        }
        let seal = seals::for_responses(sealed).into_owned();
        self.keep(seal.len())?;
        self.close_message("completed", out);
        let mut thought = self.thought.take().unwrap_or_default();
        self.open_thought(&mut thought, out);
        thought.seal = Some(seal);
        self.thought = Some(thought);
        Ok(())
    }

    fn close_thought(&mut self, status: &str, out: &mut String) {
        let Some(mut thought) = self.thought.take() else { return };
        self.close_summary(&mut thought, out);
        // One of which nothing may be read and that nobody takes back is none.
        let Some(at) = thought.at else { return };
        let texts: Vec<Text<'_>> = thought.parts.iter().map(|part| Text::Spelt(part)).collect();
        let item = self.items.reasoning(at, &texts, thought.seal.as_deref(), status);
        self.done(at, item, out);
    }

    fn call(&mut self, index: u64, id: &str, name: &str, out: &mut String) -> Result<(), Untranslatable> {
        self.keep(id.len() + name.len())?;
        let at = self.place();
        let tool = self.echo.called(name);
        let item = self.items.call(at, id, &tool, "", "in_progress");
        self.added(at, &item, out);
        let (call_id, input) = (id.to_owned(), String::new());
        self.calls.push(Call { index, at, call_id, tool, input, unwrap: Unwrap::default() });
        Ok(())
    }

    fn piece(&mut self, index: u64, piece: RawStr<'_>, out: &mut String) -> Result<(), Untranslatable> {
        self.keep(piece.raw.len())?;
        let call = self.calls.iter_mut().find(|call| call.index == index);
        let call = call.ok_or(Untranslatable::field("tool_calls", "goes on with a call that is over"))?;
        let mut said = String::new();
        if call.tool.is_text {
            call.unwrap.piece(&piece.decode(), &mut said);
        } else {
            said.push_str(piece.raw);
        }
        call.input.push_str(&said);
        let (at, is_text) = (call.at, call.tool.is_text);
        self.input_delta(at, is_text, &said, out);
        Ok(())
    }

    fn input_delta(&mut self, at: usize, is_text: bool, piece: &str, out: &mut String) {
        if piece.is_empty() {
            return;
        }
        let kind = match is_text {
            true => "response.custom_tool_call_input.delta",
            false => "response.function_call_arguments.delta",
        };
        self.call_event(kind, at, is_text, out, |out| _ = out.key("delta").spelt(piece));
    }

    fn call_event(&mut self, kind: &str, at: usize, is_text: bool, to: &mut String, members: impl FnOnce(&mut Out)) {
        let id = self.items.id(if is_text { "ctc" } else { "fc" }, at);
        self.write(kind, to, |out| {
            out.key("item_id").string(&id).key("output_index").number(at as u64);
            members(out);
        });
    }

    fn close_call(&mut self, call: Call, status: &str, out: &mut String) {
        let Call { at, call_id, tool, mut input, mut unwrap, .. } = call;
        let mut rest = String::new();
        if tool.is_text {
            unwrap.finish(&mut rest);
        } else if input.is_empty() && status == "completed" {
            // What is called with nothing is called with an empty object.
            rest.push_str("{}");
        }
        self.input_delta(at, tool.is_text, &rest, out);
        input.push_str(&rest);
        if tool.is_text {
            self.call_event("response.custom_tool_call_input.done", at, true, out, |out| {
                out.key("input").spelt(&input);
            });
        } else {
            self.call_event("response.function_call_arguments.done", at, false, out, |out| {
                out.key("arguments").spelt(&input);
            });
        }
        let item = self.items.call(at, &call_id, &tool, &input, status);
        self.done(at, item, out);
    }

    /// Ends whatever is open.
    fn close(&mut self, status: &str, out: &mut String) {
        self.close_thought(status, out);
        self.close_message(status, out);
        for call in std::mem::take(&mut self.calls) {
            self.close_call(call, status, out);
        }
    }

    fn write(&mut self, kind: &str, to: &mut String, members: impl FnOnce(&mut Out)) {
        write(kind, self.sequence, to, members);
        self.sequence += 1;
    }
}

/// An event with its name before it.
fn write(kind: &str, sequence: u64, to: &mut String, members: impl FnOnce(&mut Out)) {
    let mut out = Out::default();
    out.object().key("type").string(kind).key("sequence_number").number(sequence);
    members(&mut out);
    out.end_object();
    to.push_str("event: ");
    to.push_str(kind);
    to.push_str("\ndata: ");
    to.push_str(&out.finish());
    to.push_str("\n\n");
}

fn part(kind: PartKind, text: &str, annotations: &[String]) -> String {
    match kind {
        PartKind::Text => text_part_of(&[Text::Spelt(text)], annotations),
        PartKind::Refusal => refusal_part(text),
    }
}
