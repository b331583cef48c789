//! A stream in one dialect that becomes one in another, event by event, with no more memory than what is open.

use std::borrow::Cow;

use crate::dialect::Dialect;
use crate::prompt::json::RawStr;
use crate::reply::usage::Usage;

use super::citations::Citation;
use super::said::Why;
use super::talk::Sealed;
use super::write::escape;
use super::{NO_MODEL, Told, Untranslatable, chat, messages, or_else, responses, text_of, unnamed};

/// What one event says, in nobody's dialect. Parts are told apart by the numbers that the provider gives them.
#[derive(Debug)]
pub enum Event<'e> {
    /// The answer begins.
    Begins {
        /// The provider's id of it; empty where it has none.
        id: RawStr<'e>,
        /// The model that the provider names; empty where it names none.
        model: RawStr<'e>,
    },
    /// More of a text.
    Text(RawStr<'e>),
    /// Some of the texts so far refer to a place on the web.
    Cites(Citation<'e>),
    /// More of why the model will not answer.
    Refusal(RawStr<'e>),
    /// The model begins to think.
    ThoughtBegins,
    /// More of what may be read of its thoughts.
    Thought(RawStr<'e>),
    /// What follows is another part of them.
    ThoughtBreaks,
    /// The thoughts themselves.
    Sealed(Sealed<'e>),
    /// That was the thought.
    ThoughtEnds,
    /// A call of a tool begins.
    CallBegins {
        /// Its number.
        index: u64,
        /// Its id.
        id: Cow<'e, str>,
        /// The tool's name.
        name: RawStr<'e>,
    },
    /// More of what a tool is called with.
    Arguments {
        /// The call's number.
        index: u64,
        /// The piece.
        piece: RawStr<'e>,
    },
    /// What a tool is called with, whole and as it is spelt; without a number, a text that is JSON.
    Input {
        /// The call's number.
        index: Option<u64>,
        /// The value.
        json: &'e str,
    },
    /// A call is complete; not every dialect says so.
    CallEnds {
        /// Its number.
        index: u64,
    },
    /// The answer is complete but for its figures.
    Ends(Why<'e>),
    /// The answer goes on, and says nothing yet.
    Ping,
    /// Nothing follows.
    Over,
}

/// Takes one event.
pub type Each<'s, 'e> = dyn FnMut(Event<'e>) -> Result<(), Untranslatable> + 's;

/// Whether a client of Chat Completions asked for a last chunk with usage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UsageChunk {
    /// It did.
    Asked,
    /// It did not.
    Unasked,
}

/// One stream.
#[derive(Debug)]
pub struct Stream {
    reader: Reader,
    writer: Writer,
    course: Course,
}

/// What is known of a stream whatever its dialects are.
#[derive(Debug)]
struct Course {
    /// What an answer without an id is called.
    unnamed: String,
    has_begun: bool,
    has_calls: bool,
    has_ended: bool,
}

#[derive(Debug)]
enum Reader {
    Chat(chat::read_stream::Reader),
    Messages(messages::read_stream::Reader),
    Responses(responses::read_stream::Reader),
}

#[derive(Debug)]
enum Writer {
    Chat(chat::write_stream::Writer),
    Messages(messages::write_stream::Writer),
    Responses(Box<responses::write_stream::Writer>),
}

impl Stream {
    /// Begins. What `told` has of usage is what is known before the first event: an estimate of the input.
    ///
    /// # Errors
    ///
    /// [`Untranslatable::Pair`] if one of the dialects has no streams here.
    pub fn new(from: Dialect, to: Dialect, told: &Told<'_>, chunk: UsageChunk) -> Result<Self, Untranslatable> {
        let unnamed = unnamed(told, b"");
        let reader = match from {
            Dialect::Chat => Reader::Chat(chat::read_stream::Reader::new(&unnamed)),
            Dialect::Messages => Reader::Messages(messages::read_stream::Reader::default()),
            Dialect::Responses => Reader::Responses(responses::read_stream::Reader::default()),
        };
        let writer = match to {
            Dialect::Chat => Writer::Chat(chat::write_stream::Writer::new(told, chunk)),
            Dialect::Messages => Writer::Messages(messages::write_stream::Writer::new(told)),
            Dialect::Responses => Writer::Responses(Box::new(responses::write_stream::Writer::new(told)?)),
        };
        let course = Course { unnamed, has_begun: false, has_calls: false, has_ended: false };
        Ok(Self { reader, writer, course })
    }

    /// Writes behind `out` what the data of the next event becomes, which may be nothing. `usage` is what has been told of
    /// it so far, this event's included.
    ///
    /// # Errors
    ///
    /// [`Untranslatable`] for an error, which is told by other words, and for what is no event of the dialect. What is in
    /// `out` is whole events all the same; nothing may follow them but an error.
    pub fn event(&mut self, data: &[u8], usage: Option<Usage>, out: &mut String) -> Result<(), Untranslatable> {
        let text = text_of(data)?;
        let Self { reader, writer, course } = self;
        let mut each = |event: Event<'_>| course.tell(event, &mut |event| writer.event(event, usage, out));
        match reader {
            Reader::Chat(reader) => reader.read(text, &mut each),
            Reader::Messages(reader) => reader.read(text, &mut each),
            Reader::Responses(reader) => reader.read(text, &mut each),
        }
    }

    /// Writes behind `out` what a provider's stream lacks that ended without its terminator.
    ///
    /// # Errors
    ///
    /// As [`event`](Self::event).
    pub fn over(&mut self, usage: Usage, out: &mut String) -> Result<(), Untranslatable> {
        let Self { writer, course, .. } = self;
        course.tell(Event::Over, &mut |event| writer.event(event, Some(usage), out))
    }

    /// What ends the stream with an error, if its dialect has a way of its own to say that an answer which has begun fails.
    pub fn failed(&self, code: &str, message: &str) -> Option<String> {
        match &self.writer {
            Writer::Responses(writer) => writer.failed(code, message),
            Writer::Chat(_) | Writer::Messages(_) => None,
        }
    }

    /// The number of the next event, where the dialect numbers them.
    pub fn sequence(&self) -> Option<u64> {
        match &self.writer {
            Writer::Responses(writer) => Some(writer.sequence()),
            Writer::Chat(_) | Writer::Messages(_) => None,
        }
    }

    /// How many bytes wait for what must come before them, or are kept to be told once more.
    pub fn waiting_bytes(&self) -> usize {
        match &self.writer {
            Writer::Chat(_) => 0,
            Writer::Messages(writer) => writer.waiting_bytes(),
            Writer::Responses(writer) => writer.kept_bytes(),
        }
    }

    /// Writes behind `out` what ends the answer here, at its limit of tokens: the end of what is open, usage, the terminator.
    ///
    /// # Errors
    ///
    /// As [`event`](Self::event).
    pub fn cut(&mut self, usage: Usage, out: &mut String) -> Result<(), Untranslatable> {
        self.course.has_ended = true;
        self.writer.event(Event::Ends(Why::Length), Some(usage), out)?;
        self.writer.event(Event::Over, Some(usage), out)
    }
}

impl Course {
    /// Tells an event, with what the provider has left out of it.
    fn tell(
        &mut self,
        event: Event<'_>,
        each: &mut dyn FnMut(Event<'_>) -> Result<(), Untranslatable>,
    ) -> Result<(), Untranslatable> {
        match event {
            Event::Begins { id, model } => {
                self.has_begun = true;
                each(Event::Begins { id: or_else(id, &self.unnamed), model: or_else(model, NO_MODEL) })
            }
            Event::Input { index, json } => {
                let mut spelt = String::new();
                escape(json, &mut spelt);
                let piece = RawStr { raw: &spelt, escaped: true };
                each(index.map_or(Event::Text(piece), |index| Event::Arguments { index, piece }))
            }
            Event::CallBegins { .. } => {
                self.has_calls = true;
                each(event)
            }
            Event::Ends(_) => {
                self.has_ended = true;
                each(event)
            }
            // It came to its end without a word on why: calls that were told are waited for all the same.
            Event::Over if self.has_begun && !self.has_ended => {
                self.has_ended = true;
                each(Event::Ends(if self.has_calls { Why::Calls } else { Why::Done }))?;
                each(Event::Over)
            }
            event => each(event),
        }
    }
}

impl Writer {
    fn event(&mut self, event: Event<'_>, usage: Option<Usage>, out: &mut String) -> Result<(), Untranslatable> {
        match self {
            Self::Chat(writer) => {
                writer.event(event, usage, out);
                Ok(())
            }
            Self::Messages(writer) => writer.event(event, usage, out),
            Self::Responses(writer) => writer.event(event, usage, out),
        }
    }
}
