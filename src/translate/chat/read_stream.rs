//! Chunks of Chat Completions. <https://platform.openai.com/docs/api-reference/chat/streaming>

use crate::prompt::json::RawStr;

use super::super::Untranslatable;
use super::super::citations::read_annotations;
use super::super::read::{given, items, members, string};
use super::super::stream::{Each, Event};
use super::THOUGHTS;
use super::read_reply::why;

/// What ends a stream.
const DONE: &str = "[DONE]";
/// The most calls of one answer.
const CALLS_MAX: usize = 1_024;

/// Reads one stream.
#[derive(Debug, Default)]
pub struct Reader {
    has_begun: bool,
    has_ended: bool,
    /// The member in which thoughts come: some hosts say them twice.
    thoughts: Option<&'static str>,
    /// Whether a thought is open.
    thinks: bool,
    /// The numbers of the calls that have begun.
    calls: Vec<u64>,
}

impl Reader {
    /// Reads one chunk.
    ///
    /// # Errors
    ///
    /// What `each` says, and [`Untranslatable`] for what is no chunk.
    pub fn read<'e>(&mut self, data: &'e str, each: &mut Each<'_, 'e>) -> Result<(), Untranslatable> {
        if data.trim() == DONE {
            return each(Event::Over);
        }
        let (mut id, mut model, mut choice) = (None, None, None);
        members("data", data, |key, value| match key {
            "id" => {
                id = Some(value);
                Ok(())
            }
            "model" => {
                model = Some(value);
                Ok(())
            }
            "choices" => items("choices", value, |one| {
                choice = choice.or(Some(one));
                Ok(())
            }),
            "error" => Err(Untranslatable::field("error", "is no part of an answer")),
            _ => Ok(()),
        })?;
        // Usage comes without a choice, and so do some vendors' remarks before the answer.
        let Some(choice) = choice else { return Ok(()) };
        if !self.has_begun {
            self.has_begun = true;
            each(Event::Begins { id: given("id", id)?, model: given("model", model)? })?;
        }
        let (mut delta, mut reason) = (None, None);
        members("choices", choice, |key, value| {
            match key {
                "delta" => delta = Some(value),
                "finish_reason" => reason = string(value),
                _ => {}
            }
            Ok(())
        })?;
        if let Some(delta) = delta {
            self.delta(delta, each)?;
        }
        match reason {
            Some(reason) if !self.has_ended => {
                self.has_ended = true;
                self.end_thought(each)?;
                each(Event::Ends(why(Some(reason))))
            }
            _ => Ok(()),
        }
    }

    fn delta<'e>(&mut self, delta: &'e str, each: &mut Each<'_, 'e>) -> Result<(), Untranslatable> {
        members("choices.delta", delta, |key, value| match (key, string(value)) {
            (key, Some(text)) if !text.raw.is_empty() && THOUGHTS.contains(&key) => self.think(key, text, each),
            ("content", Some(text)) if !text.raw.is_empty() => {
                self.end_thought(each)?;
                each(Event::Text(text))
            }
            ("refusal", Some(text)) if !text.raw.is_empty() => {
                self.end_thought(each)?;
                each(Event::Refusal(text))
            }
            ("annotations", None) => {
                let each = |citation| each(Event::Cites(citation));
                read_annotations("choices.delta.annotations", value, 0, each).map(drop)
            }
            ("tool_calls", None) => items("choices.delta.tool_calls", value, |call| {
                self.end_thought(each)?;
                self.call(call, each)
            }),
            _ => Ok(()),
        })
    }

    /// What other vendors' models think has no seal, and is there to be read.
    fn think<'e>(&mut self, key: &str, text: RawStr<'e>, each: &mut Each<'_, 'e>) -> Result<(), Untranslatable> {
        let known = *self.thoughts.get_or_insert(if key == THOUGHTS[0] { THOUGHTS[0] } else { THOUGHTS[1] });
        if known != key {
            return Ok(());
        }
        if !std::mem::replace(&mut self.thinks, true) {
            each(Event::ThoughtBegins)?;
        }
        each(Event::Thought(text))
    }

    fn end_thought<'e>(&mut self, each: &mut Each<'_, 'e>) -> Result<(), Untranslatable> {
        if std::mem::take(&mut self.thinks) { each(Event::ThoughtEnds) } else { Ok(()) }
    }

    fn call<'e>(&mut self, json: &'e str, each: &mut Each<'_, 'e>) -> Result<(), Untranslatable> {
        const FIELD: &str = "choices.delta.tool_calls";
        let (mut index, mut id, mut name, mut piece) = (None, None, None, None);
        members(FIELD, json, |key, value| {
            match key {
                "index" => index = value.parse().ok(),
                "id" => id = string(value).filter(|id| !id.raw.is_empty()),
                "function" => members(FIELD, value, |key, value| {
                    match key {
                        "name" => name = string(value),
                        "arguments" => piece = string(value),
                        _ => {}
                    }
                    Ok(())
                })?,
                _ => {}
            }
            Ok(())
        })?;
        // Some number none: then each that has an id is another one.
        let unnumbered = self.calls.len() as u64;
        let index = index.unwrap_or(if id.is_some() { unnumbered } else { unnumbered.saturating_sub(1) });
        if !self.calls.contains(&index) {
            if self.calls.len() == CALLS_MAX {
                return Err(Untranslatable::field(FIELD, "are too many"));
            }
            self.calls.push(index);
            let id = id.ok_or(Untranslatable::field(FIELD, "has no `id`"))?.decode();
            each(Event::CallBegins { index, id, name: name.ok_or(Untranslatable::field(FIELD, "has no `name`"))? })?;
        }
        match piece.filter(|piece| !piece.raw.is_empty()) {
            Some(piece) => each(Event::Arguments { index, piece }),
            None => Ok(()),
        }
    }
}
