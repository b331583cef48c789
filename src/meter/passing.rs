//! What becomes of the events of a stream on their way to the client, and the words that we write into it ourselves.
//!
//! Between equal dialects only two things are ever changed: the usage chunk that we asked for is withheld, and a comment with
//! the cost goes before the terminator. A stream that is translated is written anew, event by event. When which bytes go
//! out is [`relay`](super::relay)'s.

use bytes::Bytes;

use crate::call::CallFacts;
use crate::dialect::Dialect;
use crate::money::CostInterval;
use crate::prompt::json::JsonError;
use crate::prompt::view::UsageInStream;
use crate::reply::facts::Facts;
use crate::reply::usage::Usage;
use crate::translate::stream::{Stream, UsageChunk};
use crate::translate::{Told, Untranslatable};
use crate::wire::errors::{ApiError, Retold};
use crate::wire::sse::{self, Events};
use crate::wire::tap::Tap;
use crate::wire::vendors::Habits;

/// How one stream is passed on.
pub struct Passing {
    tap: Tap,
    /// Withhold the chunk that carries nothing but usage.
    withhold_usage: bool,
    /// State the cost in a comment before the terminator.
    cost_comment: bool,
    /// Events with data that have gone by.
    events: u64,
    translation: Option<Box<Translation>>,
}

/// A stream that is said in another dialect.
struct Translation {
    stream: Stream,
    to: Dialect,
    /// What the event at hand became.
    said: String,
}

impl Passing {
    /// A stream in `dialect`, of a vendor with these habits.
    pub fn new(dialect: Dialect, habits: Habits, withhold_usage: bool, cost_comment: bool) -> Self {
        Self { tap: Tap::new(dialect, habits), withhold_usage, cost_comment, events: 0, translation: None }
    }

    /// The same for a client who speaks `to`. What `told` has of usage is what is known before the first event.
    ///
    /// # Errors
    ///
    /// [`Untranslatable::Pair`] where nobody translates.
    pub fn said_in(self, to: Dialect, told: &Told<'_>, call: &CallFacts) -> Result<Self, Untranslatable> {
        let stream = Stream::new(self.dialect(), to, told, usage_chunk(call))?;
        Ok(Self { translation: Some(Box::new(Translation { stream, to, said: String::new() })), ..self })
    }

    /// Whether it is said in another dialect.
    pub(super) fn is_translated(&self) -> bool {
        self.translation.is_some()
    }

    /// How many bytes of a translated stream wait for what must come before them.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.translation.as_ref().map_or(0, |translation| translation.stream.waiting_bytes())
    }

    /// Says the event with this `data` in the client's dialect, if that is another one. `usage` is what has been told of it.
    ///
    /// # Errors
    ///
    /// [`Untranslatable`] for what is no part of an answer: nothing may follow but an error.
    pub(super) fn say(&mut self, data: &[u8], usage: Option<Usage>) -> Result<(), Untranslatable> {
        let Some(translation) = &mut self.translation else { return Ok(()) };
        translation.said.clear();
        translation.stream.event(data, usage, &mut translation.said)
    }

    /// The same of one without data: comments go on.
    pub(super) fn say_nothing(&mut self, event: &[u8]) {
        let Some(translation) = &mut self.translation else { return };
        translation.said.clear();
        let is_comment = event.split(|byte| *byte == b'\n').all(|line| matches!(line, [] | [b':', ..] | [b'\r']));
        if is_comment && let Ok(comment) = std::str::from_utf8(event) {
            translation.said.push_str(comment);
        }
    }

    /// What the event that was just judged becomes.
    pub(super) fn becomes<'e>(&'e self, event: &'e [u8]) -> &'e [u8] {
        self.translation.as_ref().map_or(event, |translation| translation.said.as_bytes())
    }

    /// The end of a translated answer that is complete, with `comment` before its terminator; `None` if it is not translated.
    /// The `event` that ends it may say why; a provider may leave it out.
    pub(super) fn ending(&mut self, event: Option<&[u8]>, usage: Usage, comment: &str) -> Option<String> {
        let translation = self.translation.as_mut()?;
        let mut text = String::new();
        let data = event.and_then(sse::data);
        let told = data.map(|data| translation.stream.event(&data, Some(usage), &mut text));
        if !matches!(told, Some(Ok(()))) {
            // Nothing is read for it that could be wrong.
            let _ = translation.stream.over(usage, &mut text);
        }
        Some(before_terminator(text, comment))
    }

    /// The dialect of the stream.
    pub(super) fn dialect(&self) -> Dialect {
        self.tap.dialect()
    }

    /// What the data of the next event says.
    ///
    /// # Errors
    ///
    /// [`JsonError`] for what no reader of its dialect understands; it goes on all the same.
    pub(super) fn read(&mut self, data: &[u8]) -> Result<Facts, JsonError> {
        self.events += 1;
        self.tap.read(data)
    }

    /// Whether an event with these facts is kept from the client.
    pub(super) fn withholds(&self, facts: &Facts) -> bool {
        self.withhold_usage && facts.usage.is_some() && facts.choices == 0
    }

    /// Whether the first event of a stream is an error. Most say nothing of one, and are read once, where all events are.
    pub(super) fn begins_with_error(&self, data: &[u8]) -> bool {
        memchr::memmem::find(data, b"\"error\"").is_some() && self.tap.peek(data).is_ok_and(|facts| facts.error)
    }

    /// A last event that lacks only its blank line. A torn one is worse than none, and so is half of a comment,
    /// which would swallow what is written behind it.
    pub(super) fn is_whole(&self, event: &[u8]) -> bool {
        sse::data(event).is_some_and(|data| self.tap.peek(&data).is_ok())
    }

    /// Whether a stream that just ends here is complete: every answer said why it ended.
    pub(super) fn is_complete(&self, call: &CallFacts) -> bool {
        self.tap.is_complete(call.view.answers_expected())
    }

    /// The comment that goes before the terminator.
    pub(super) fn cost_comment(&self, cost: CostInterval, estimated: bool) -> String {
        if !self.cost_comment {
            return String::new();
        }
        let cost = cost.exact.map_or_else(|| "unknown".to_owned(), |cost| cost.to_string());
        let source = if estimated { ": x-farthing-cost-source: estimated\n" } else { "" };
        format!(": x-farthing-cost-usd: {cost}\n{source}\n")
    }

    /// Ends a stream behind `event` as one that has reached its limit: the end of each answer, usage if the client asked for
    /// it, the cost, the terminator.
    pub(super) fn cut_short(&mut self, event: &[u8], call: &CallFacts, used: (u64, u64), cost: CostInterval) -> String {
        let data = sse::data(event).unwrap_or_default();
        if let Some(translation) = &mut self.translation {
            let mut text = String::new();
            let (input_tokens, output_tokens) = used;
            let _ = translation.stream.cut(Usage { input_tokens, output_tokens, ..Usage::default() }, &mut text);
            return before_terminator(text, &self.cost_comment(cost, false));
        }
        let asked = matches!(call.view.usage_in_stream, UsageInStream::Asked);
        let (mut text, terminator) = self.tap.length_ending(&data, call.view.answers_expected(), used, asked);
        text.push_str(&self.cost_comment(cost, false));
        text.push_str(&terminator);
        text
    }

    /// An error of ours as the last event, in the client's dialect.
    pub(super) fn told(&self, error: &ApiError, call: &CallFacts) -> String {
        let failed = match &self.translation {
            Some(translation) => translation.stream.failed(error.code.as_str(), &error.message),
            None => self.tap.failed_ending(error),
        };
        failed.unwrap_or_else(|| error.event(call.surface.errors(), call.id, self.sequence()))
    }
}

impl Passing {
    /// The provider's error as the last event, in the client's dialect.
    pub(super) fn retold(&self, (data, event): (&[u8], &[u8]), status: u16, call: &CallFacts) -> Bytes {
        match &self.translation {
            None => Bytes::copy_from_slice(event),
            Some(translation) => {
                let retold = Retold::of(data, self.dialect(), translation.to, status);
                let failed = translation.stream.failed(retold.code(), retold.message());
                failed.unwrap_or_else(|| retold.event(call.id, self.sequence())).into()
            }
        }
    }

    /// The number of the next event that the client sees.
    fn sequence(&self) -> u64 {
        let translated = self.translation.as_ref().and_then(|translation| translation.stream.sequence());
        translated.unwrap_or(self.events)
    }
}

fn usage_chunk(call: &CallFacts) -> UsageChunk {
    match call.view.usage_in_stream {
        UsageInStream::Asked => UsageChunk::Asked,
        UsageInStream::Unsaid | UsageInStream::Declined { .. } => UsageChunk::Unasked,
    }
}

/// Writes a comment before the last event of `text`.
fn before_terminator(mut text: String, comment: &str) -> String {
    let at = text.trim_end().rfind("\n\n").map_or(0, |at| at + 2);
    text.insert_str(at, comment);
    text
}

/// What a last event lacks to its blank line, without which whatever follows would become part of it.
pub(super) fn missing_end(event: &[u8]) -> &'static [u8] {
    if event.ends_with(b"\n") { b"\n" } else { b"\n\n" }
}

/// An event that lacks only that.
pub(super) fn closed(event: &[u8]) -> Events {
    let bytes = Bytes::from([event, missing_end(event)].concat());
    Events { ranges: vec![0..bytes.len(); 1], bytes }
}
