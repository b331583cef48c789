//! Chunks of Chat Completions, written. <https://platform.openai.com/docs/api-reference/chat/streaming>

use crate::reply::usage::Usage;

use super::super::stream::{Event, UsageChunk};
use super::super::talk::Text;
use super::super::write::Out;
use super::super::{Told, ids, seals};
use super::write_reply::{reason, write_annotations, write_usage};
use super::{THOUGHTS, wants_thoughts};

/// Writes one stream.
#[derive(Debug)]
pub struct Writer {
    created_seconds: u64,
    chunk: UsageChunk,
    usage: Usage,
    /// Whether the client wants to read thoughts.
    tells_thoughts: bool,
    /// The id and the model, as they are spelt.
    id: String,
    model: String,
    /// The numbers of the calls that have begun, the place of each being its own here.
    calls: Vec<u64>,
    /// Whether the last of them has been said anything of what it is called with.
    has_arguments: bool,
}

impl Writer {
    /// Begins.
    pub fn new(told: &Told<'_>, chunk: UsageChunk) -> Self {
        let Told { created_seconds, usage, request } = *told;
        let (id, model, tells_thoughts) = (String::new(), String::new(), wants_thoughts(request));
        Self { created_seconds, chunk, usage, tells_thoughts, id, model, calls: Vec::new(), has_arguments: false }
    }

    /// Writes an event.
    pub fn event(&mut self, event: Event<'_>, usage: Option<Usage>, out: &mut String) {
        self.usage = usage.unwrap_or(self.usage);
        match event {
            Event::Begins { id, model } => {
                (self.id, self.model) = (id.raw.to_owned(), model.raw.to_owned());
                self.delta(out, |out| {
                    out.key("role").string("assistant").key("content").string("").key("refusal").raw("null");
                });
            }
            Event::Text(text) => self.delta(out, |out| _ = out.key("content").spelt(text.raw)),
            Event::Cites(citation) => self.delta(out, |out| {
                out.key("annotations");
                write_annotations(out, std::slice::from_ref(&citation));
            }),
            Event::Thought(text) if self.tells_thoughts => self.thought(text.raw, out),
            Event::ThoughtBreaks if self.tells_thoughts => self.thought(seals::BREAK_SPELT, out),
            // The dialect itself has no thoughts.
            Event::ThoughtBegins | Event::Thought(_) | Event::ThoughtBreaks | Event::Sealed(_) | Event::ThoughtEnds => {
            }
            Event::Refusal(text) => self.delta(out, |out| _ = out.key("refusal").spelt(text.raw)),
            Event::CallBegins { index, id, name } => {
                let place = self.calls.len() as u64;
                self.calls.push(index);
                self.has_arguments = false;
                self.delta(out, |out| {
                    out.key("tool_calls").array().object().key("index").number(place);
                    out.key("id").string(&ids::from_messages(&id)).key("type").string("function");
                    out.key("function").object().key("name").spelt(name.raw).key("arguments").string("");
                    out.end_object().end_object().end_array();
                });
            }
            Event::Arguments { index, piece } => self.arguments(index, piece.raw, out),
            // What is called with nothing is called with an empty object.
            Event::CallEnds { index } if !self.has_arguments => self.arguments(index, "{}", out),
            Event::CallEnds { .. } => {}
            // Said as a piece before it comes here.
            Event::Input { .. } => {}
            Event::Ends(why) => self.chunk(out, |out| {
                out.key("choices").array().object().key("index").number(0).key("delta").object().end_object();
                out.key("logprobs").raw("null").key("finish_reason").string(reason(why)).end_object().end_array();
            }),
            // No chunk says nothing; a comment keeps a connection busy as well.
            Event::Ping => out.push_str(": ping\n\n"),
            Event::Over => {
                if self.chunk == UsageChunk::Asked {
                    let usage = self.usage;
                    self.write(out, |out| {
                        out.key("choices").array().end_array();
                        write_usage(out, &usage);
                    });
                }
                out.push_str("data: [DONE]\n\n");
            }
        }
    }

    fn thought(&self, piece: &str, out: &mut String) {
        self.delta(out, |out| _ = out.key(THOUGHTS[0]).spelt(piece));
    }

    fn arguments(&mut self, index: u64, piece: &str, out: &mut String) {
        self.has_arguments = true;
        let place = self.calls.iter().position(|call| *call == index).unwrap_or_default() as u64;
        self.delta(out, |out| {
            out.key("tool_calls").array().object().key("index").number(place);
            out.key("function").object().key("arguments").spelt(piece).end_object().end_object().end_array();
        });
    }

    fn delta(&self, out: &mut String, delta: impl FnOnce(&mut Out)) {
        self.chunk(out, |out| {
            out.key("choices").array().object().key("index").number(0).key("delta").object();
            delta(out);
            out.end_object().key("logprobs").raw("null").key("finish_reason").raw("null").end_object().end_array();
        });
    }

    /// A chunk of the answer itself, whose usage is there and null if it was asked for.
    fn chunk(&self, out: &mut String, choices: impl FnOnce(&mut Out)) {
        self.write(out, |out| {
            choices(out);
            if self.chunk == UsageChunk::Asked {
                out.key("usage").raw("null");
            }
        });
    }

    fn write(&self, to: &mut String, members: impl FnOnce(&mut Out)) {
        let mut out = Out::default();
        out.object().key("id").pieces(&[Text::Plain("chatcmpl-".into()), Text::Spelt(&self.id)]);
        out.key("object").string("chat.completion.chunk").key("created").number(self.created_seconds);
        out.key("model").spelt(&self.model);
        members(&mut out);
        out.end_object();
        to.push_str("data: ");
        to.push_str(&out.finish());
        to.push_str("\n\n");
    }
}
