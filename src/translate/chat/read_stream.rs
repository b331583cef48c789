//! Chunks of Chat Completions. <https://platform.openai.com/docs/api-reference/chat/streaming>

use std::borrow::Cow;

use crate::prompt::json::RawStr;

use super::super::citations::read_annotations;
use super::super::read::{items, members, string};
use super::super::said::NOT_SAID;
use super::super::stream::{Each, Event};
use super::super::talk::Sealed;
use super::super::{Untranslatable, ids};
use super::THOUGHTS;
use super::calls::Told;
use super::read_reply::{Piece, parts_of, why};

/// What ends a stream.
const DONE: &str = "[DONE]";
/// The most calls of one answer.
const CALLS_MAX: usize = 1_024;

/// Reads one stream.
#[derive(Debug)]
pub struct Reader {
    /// What the answer is called, as that is spelt.
    id: String,
    has_begun: bool,
    has_ended: bool,
    /// The member in which thoughts come: some hosts say them twice.
    thoughts: Option<&'static str>,
    /// Whether a thought is open.
    thinks: bool,
    /// The calls that have begun; the place of each is the number that it goes on by.
    calls: Vec<Begun>,
    /// Signatures of calls that are told behind them: a call and its signature.
    signatures: Vec<(String, String)>,
}

/// A call that has begun: the provider's number for it, and its id.
#[derive(Debug)]
struct Begun {
    index: Option<u64>,
    id: String,
}

impl Reader {
    /// Begins. An answer without an id is called `unnamed` where its calls have none either.
    pub fn new(unnamed: &str) -> Self {
        Self {
            id: unnamed.to_owned(),
            has_begun: false,
            has_ended: false,
            thoughts: None,
            thinks: false,
            calls: Vec::new(),
            signatures: Vec::new(),
        }
    }

    /// Reads one chunk.
    ///
    /// # Errors
    ///
    /// What `each` says, and [`Untranslatable`] for what is no chunk.
    pub fn read<'e>(&mut self, data: &'e str, each: &mut Each<'_, 'e>) -> Result<(), Untranslatable> {
        if data.trim() == DONE {
            self.finish(each)?;
            return each(Event::Over);
        }
        let (mut id, mut model, mut choice) = (None, None, None);
        members("data", data, |key, value| match key {
            "id" => {
                id = string(value).filter(|id| !id.raw.is_empty());
                Ok(())
            }
            "model" => {
                model = string(value);
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
            if let Some(id) = id {
                id.raw.clone_into(&mut self.id);
            }
            each(Event::Begins { id: id.unwrap_or(NOT_SAID), model: model.unwrap_or(NOT_SAID) })?;
        }
        let (mut delta, mut reason) = (None, None);
        members("choices", choice, |key, value| {
            match key {
                "delta" => delta = Some(value),
                "finish_reason" => reason = string(value).filter(|reason| !reason.raw.is_empty()),
                _ => {}
            }
            Ok(())
        })?;
        if let Some(delta) = delta {
            self.delta(delta, each)?;
        }
        match reason {
            Some(reason) if !self.has_ended => {
                let why = why(Some(reason))?;
                self.finish(each)?;
                each(Event::Ends(why))
            }
            _ => Ok(()),
        }
    }

    fn delta<'e>(&mut self, delta: &'e str, each: &mut Each<'_, 'e>) -> Result<(), Untranslatable> {
        members("choices.delta", delta, |key, value| match (key, string(value)) {
            (key, Some(text)) if !text.raw.is_empty() && THOUGHTS.contains(&key) => self.think(key, text, each),
            ("content", Some(text)) if !text.raw.is_empty() => self.text(text, each),
            ("content", None) if value.starts_with('[') => {
                parts_of("choices.delta.content", value, &mut |piece| match piece {
                    Piece::Text(text) => self.text(text, each),
                    Piece::Thought(text) => self.think(THOUGHTS[0], text, each),
                })
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

    fn text<'e>(&mut self, text: RawStr<'e>, each: &mut Each<'_, 'e>) -> Result<(), Untranslatable> {
        self.end_thought(each)?;
        each(Event::Text(text))
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
        let told = Told::read(FIELD, json)?;
        let place = match self.place_of(&told) {
            Some(place) => place,
            None => {
                let place = self.calls.len();
                if place == CALLS_MAX {
                    return Err(Untranslatable::field(FIELD, "are too many"));
                }
                let name = told.name.ok_or(Untranslatable::field(FIELD, "has no `name`"))?;
                let id = told.id.map_or_else(|| ids::unnamed(&self.id, place as u64), |id| id.decode().into_owned());
                // Beside a call that goes on nothing else can be told.
                if let Some(signature) = told.signature.filter(|_| self.calls.is_empty()) {
                    seal(&id, signature.decode(), each)?;
                } else if let Some(signature) = told.signature {
                    self.signatures.push((id.clone(), signature.decode().into_owned()));
                }
                self.calls.push(Begun { index: told.index, id: id.clone() });
                each(Event::CallBegins { index: place as u64, id: id.into(), name })?;
                return self.input(place, &told, each);
            }
        };
        // What only says more of a call may come behind it.
        if let Some(signature) = told.signature {
            self.signatures.push((self.calls[place].id.clone(), signature.decode().into_owned()));
        }
        self.input(place, &told, each)
    }

    /// The call that goes on, if none begins. Some number none: then each that has an id or a name is another one. And some
    /// give all the same number: then one with another id is.
    fn place_of(&self, told: &Told<'_>) -> Option<usize> {
        let id = told.id.map(RawStr::decode);
        let is_same = |begun: &Begun| id.as_deref().is_none_or(|id| id == begun.id);
        let place = match told.index {
            Some(index) => self.calls.iter().rposition(|begun| begun.index == Some(index))?,
            None if id.is_some() => self.calls.iter().rposition(is_same)?,
            None if told.name.is_some() => return None,
            None => self.calls.len().checked_sub(1)?,
        };
        (is_same(&self.calls[place]) || told.name.is_none()).then_some(place)
    }

    fn input<'e>(&self, place: usize, told: &Told<'e>, each: &mut Each<'_, 'e>) -> Result<(), Untranslatable> {
        let index = place as u64;
        match told.input.map(|input| (string(input), input)) {
            Some((Some(piece), _)) if !piece.raw.is_empty() => each(Event::Arguments { index, piece }),
            Some((None, json)) if json.starts_with('{') => each(Event::Input { index: Some(index), json }),
            _ => Ok(()),
        }
    }

    /// Tells what may only be told once nothing else follows but the end.
    fn finish<'e>(&mut self, each: &mut Each<'_, 'e>) -> Result<(), Untranslatable> {
        self.has_ended = true;
        self.end_thought(each)?;
        for (id, signature) in std::mem::take(&mut self.signatures) {
            seal(&id, signature.into(), each)?;
        }
        Ok(())
    }
}

/// Tells Google's signature of a call.
fn seal<'e>(id: &str, signature: Cow<'e, str>, each: &mut Each<'_, 'e>) -> Result<(), Untranslatable> {
    each(Event::ThoughtBegins)?;
    each(Event::Sealed(Sealed::Google { call: id.to_owned().into(), signature }))?;
    each(Event::ThoughtEnds)
}
