//! Events of Messages, written. <https://platform.claude.com/docs/en/build-with-claude/streaming>
//!
//! Blocks follow one another here, while calls of other dialects may come in turns, with texts between their pieces: one
//! is passed on as it comes, and what begins before it has ended waits for that.

use std::borrow::Cow;

use crate::prompt::json::RawStr;
use crate::reply::usage::Usage;

use super::super::stream::Event;
use super::super::talk::{Sealed, Text};
use super::super::write::{Out, escape};
use super::super::{Told, Untranslatable, ids, seals};
use super::write_reply::{CALLER, reason, write_details, write_figures, write_usage};

/// The most that waits for the end of a call, in bytes.
const WAITING_BYTES_MAX: usize = 8 << 20;

/// The longest refusal that is told once more as a whole, in bytes.
const REFUSAL_BYTES_MAX: usize = 8 << 10;

/// Writes one stream.
#[derive(Debug)]
pub struct Writer {
    usage: Usage,
    open: Option<Open>,
    /// The number of the next block.
    next: u64,
    waiting: Vec<Waiting>,
    waiting_bytes: usize,
    /// What may be read of the thought that is under way, part by part, in bytes: its seal is written for it.
    thought_parts: Vec<usize>,
    /// Whether it has its seal.
    is_sealed: bool,
    has_calls: bool,
    has_refusal: bool,
    /// Why the model will not answer, as it is spelt; nothing where that is long.
    refusal: String,
    /// Why it ended, and at which of the client's texts, as that is spelt.
    ended: Option<(&'static str, Option<String>)>,
}

/// The block that is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Open {
    Text,
    Thought,
    Call(u64),
}

/// What begins while a call is open. Texts are as they are spelt.
#[derive(Debug)]
enum Waiting {
    Call(Call),
    Text(String),
    Thought(String),
}

/// A call that waits: its number, its id, and what is spelt of it.
#[derive(Debug)]
struct Call {
    index: u64,
    id: String,
    name: String,
    arguments: String,
}

impl Writer {
    /// Begins.
    pub fn new(told: &Told<'_>) -> Self {
        Self {
            usage: told.usage,
            open: None,
            next: 0,
            waiting: Vec::new(),
            waiting_bytes: 0,
            thought_parts: Vec::new(),
            is_sealed: false,
            has_calls: false,
            has_refusal: false,
            refusal: String::new(),
            ended: None,
        }
    }

    /// Writes an event.
    ///
    /// # Errors
    ///
    /// [`Untranslatable`] for pieces of a call that is over, and if too much waits.
    pub fn event(&mut self, event: Event<'_>, usage: Option<Usage>, out: &mut String) -> Result<(), Untranslatable> {
        self.usage = usage.unwrap_or(self.usage);
        match event {
            Event::Begins { id, model } => self.begin(id, model, out),
            Event::Refusal(text) => {
                if self.refusal.len() + text.raw.len() > REFUSAL_BYTES_MAX {
                    self.refusal.clear();
                } else if !self.has_refusal || !self.refusal.is_empty() {
                    self.refusal.push_str(text.raw);
                }
                self.has_refusal = true;
                self.says(text, out)?;
            }
            Event::Text(text) => self.says(text, out)?,
            // Anthropic's have a quote, and an index that it wants back.
            Event::Cites(_) => {}
            Event::ThoughtBegins => self.thought_parts.clear(),
            Event::Thought(text) if self.has_open_call() => {
                self.waits(text.raw.len())?;
                match self.waiting.last_mut() {
                    Some(Waiting::Thought(thought)) => thought.push_str(text.raw),
                    _ => self.waiting.push(Waiting::Thought(text.raw.to_owned())),
                }
            }
            Event::Thought(text) => self.thought(text, out),
            Event::ThoughtBreaks if self.open == Some(Open::Thought) => {
                self.delta("thinking_delta", "thinking", seals::BREAK_SPELT, out);
                self.thought_parts.push(0);
            }
            Event::ThoughtBreaks => {}
            Event::Sealed(sealed) => self.seal(&sealed, out),
            Event::ThoughtEnds => {
                if self.open == Some(Open::Thought) {
                    if !self.is_sealed {
                        self.delta("signature_delta", "signature", seals::UNSEALED, out);
                    }
                    self.close(out);
                }
            }
            Event::CallBegins { index, id, name } => {
                self.has_calls = true;
                if self.has_open_call() {
                    let call = Call { index, id: id.into_owned(), name: name.raw.to_owned(), arguments: String::new() };
                    self.waits(call.id.len() + call.name.len())?;
                    self.waiting.push(Waiting::Call(call));
                } else {
                    self.close(out);
                    self.call(index, &id, name.raw, out);
                }
            }
            Event::Arguments { index, piece } if self.open == Some(Open::Call(index)) => self.piece(piece.raw, out),
            Event::Arguments { index, piece } => {
                self.waits(piece.raw.len())?;
                let call = self.waiting.iter_mut().find_map(|waiting| match waiting {
                    Waiting::Call(call) if call.index == index => Some(call),
                    _ => None,
                });
                let call = call.ok_or(Untranslatable::field("tool_calls", "goes on with a call that is over"))?;
                call.arguments.push_str(piece.raw);
            }
            Event::CallEnds { index } => {
                if self.open == Some(Open::Call(index)) {
                    self.close(out);
                }
            }
            Event::Ends(why) => {
                self.close(out);
                self.waiting_bytes = 0;
                for waiting in std::mem::take(&mut self.waiting) {
                    self.release(&waiting, out);
                }
                let (reason, stop) = reason(why, self.has_calls, self.has_refusal);
                self.ended = Some((reason, stop.map(|text| text.raw.to_owned())));
            }
            // Said as a piece before it comes here.
            Event::Input { .. } => {}
            Event::Ping => write("ping", out, |_| {}),
            Event::Over => self.end(out),
        }
        Ok(())
    }

    /// What waits of calls, in bytes.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    fn waits(&mut self, bytes: usize) -> Result<(), Untranslatable> {
        self.waiting_bytes += bytes;
        if self.waiting_bytes > WAITING_BYTES_MAX {
            return Err(Untranslatable::field("tool_calls", "has more of calls at once than can be kept"));
        }
        Ok(())
    }

    fn has_open_call(&self) -> bool {
        matches!(self.open, Some(Open::Call(_)))
    }

    /// Writes what has waited.
    fn release(&mut self, waiting: &Waiting, out: &mut String) {
        match waiting {
            Waiting::Call(call) => {
                self.call(call.index, &call.id, &call.name, out);
                self.piece(&call.arguments, out);
            }
            Waiting::Text(text) => self.text(RawStr { raw: text, escaped: true }, out),
            Waiting::Thought(text) => {
                self.thought_parts.clear();
                self.thought(RawStr { raw: text, escaped: true }, out);
                self.delta("signature_delta", "signature", seals::UNSEALED, out);
            }
        }
        self.close(out);
    }

    /// A text, which waits while a call is open: the call may go on.
    fn says(&mut self, text: RawStr<'_>, out: &mut String) -> Result<(), Untranslatable> {
        if !self.has_open_call() {
            self.text(text, out);
            return Ok(());
        }
        self.waits(text.raw.len())?;
        match self.waiting.last_mut() {
            Some(Waiting::Text(before)) => before.push_str(text.raw),
            _ => self.waiting.push(Waiting::Text(text.raw.to_owned())),
        }
        Ok(())
    }

    /// What the input was is known at the end only: until then there is what was known before.
    fn begin(&self, id: RawStr<'_>, model: RawStr<'_>, to: &mut String) {
        write("message_start", to, |out| {
            out.key("message").object().key("id").pieces(&[Text::Plain("msg_".into()), id.into()]);
            out.key("type").string("message").key("role").string("assistant").key("model").spelt(model.raw);
            out.key("content").array().end_array();
            for unknown in ["stop_reason", "stop_sequence", "stop_details", "container", "diagnostics"] {
                out.key(unknown).raw("null");
            }
            write_usage(out, &self.usage);
            out.end_object();
        });
    }

    fn text(&mut self, text: RawStr<'_>, to: &mut String) {
        if self.open != Some(Open::Text) {
            self.close(to);
            let block = |out: &mut Out| _ = out.string("text").key("text").string("").key("citations").raw("null");
            self.start(Open::Text, block, to);
        }
        self.delta("text_delta", "text", text.raw, to);
    }

    fn thought(&mut self, text: RawStr<'_>, to: &mut String) {
        if self.open != Some(Open::Thought) {
            self.close(to);
            let block =
                |out: &mut Out| _ = out.string("thinking").key("thinking").string("").key("signature").string("");
            self.start(Open::Thought, block, to);
            self.is_sealed = false;
            self.thought_parts.push(0);
        }
        if let Some(part) = self.thought_parts.last_mut() {
            *part += text.decode().len();
        }
        self.delta("thinking_delta", "thinking", text.raw, to);
    }

    /// A thought of which nothing may be read is a block of its own.
    fn seal(&mut self, sealed: &Sealed<'_>, to: &mut String) {
        let seal = seals::for_messages_of(sealed, &self.thought_parts);
        let mut spelt = String::new();
        escape(&seal, &mut spelt);
        self.is_sealed = true;
        if self.open == Some(Open::Thought) {
            self.delta("signature_delta", "signature", &spelt, to);
        } else if matches!(sealed, Sealed::Signature(_)) {
            self.close(to);
            let block =
                |out: &mut Out| _ = out.string("thinking").key("thinking").string("").key("signature").string("");
            self.start(Open::Thought, block, to);
            self.delta("signature_delta", "signature", &spelt, to);
        } else {
            self.close(to);
            self.start(Open::Thought, |out| _ = out.string("redacted_thinking").key("data").spelt(&spelt), to);
            self.close(to);
        }
    }

    fn call(&mut self, index: u64, id: &str, name: &str, to: &mut String) {
        let id: Cow<'_, str> = ids::to_messages(id);
        let block = |out: &mut Out| {
            out.string("tool_use").key("id").string(&id).key("name").spelt(name).key("input").object().end_object();
            out.key("caller").raw(CALLER);
        };
        self.start(Open::Call(index), block, to);
    }

    fn piece(&self, piece: &str, to: &mut String) {
        if !piece.is_empty() {
            self.delta("input_json_delta", "partial_json", piece, to);
        }
    }

    fn start(&mut self, open: Open, block: impl FnOnce(&mut Out), to: &mut String) {
        write("content_block_start", to, |out| {
            out.key("index").number(self.next).key("content_block").object().key("type");
            block(out);
            out.end_object();
        });
        self.open = Some(open);
    }

    fn delta(&self, kind: &str, key: &'static str, piece: &str, to: &mut String) {
        write("content_block_delta", to, |out| {
            out.key("index").number(self.next).key("delta").object().key("type").string(kind);
            out.key(key).spelt(piece).end_object();
        });
    }

    fn close(&mut self, to: &mut String) {
        if self.open.take().is_some() {
            write("content_block_stop", to, |out| _ = out.key("index").number(self.next));
            self.next += 1;
        }
    }

    fn end(&mut self, to: &mut String) {
        self.close(to);
        let (reason, stop) = self.ended.take().unwrap_or(("end_turn", None));
        write("message_delta", to, |out| {
            out.key("delta").object().key("stop_reason").string(reason).key("stop_sequence");
            match &stop {
                Some(text) => out.spelt(text),
                None => out.raw("null"),
            };
            write_details(out, reason, (!self.refusal.is_empty()).then_some(&*self.refusal));
            out.key("container").raw("null").end_object();
            out.key("usage").object();
            write_figures(out, &self.usage);
            out.end_object();
        });
        write("message_stop", to, |_| {});
    }
}

/// An event with its name before it, without which the SDKs pass over it.
fn write(kind: &str, to: &mut String, members: impl FnOnce(&mut Out)) {
    let mut out = Out::default();
    out.object().key("type").string(kind);
    members(&mut out);
    out.end_object();
    to.push_str("event: ");
    to.push_str(kind);
    to.push_str("\ndata: ");
    to.push_str(&out.finish());
    to.push_str("\n\n");
}
