//! Events of Messages. <https://platform.claude.com/docs/en/build-with-claude/streaming>

use crate::prompt::json::RawStr;

use super::super::Untranslatable;
use super::super::citations::{Citation, Place, characters, read_citation};
use super::super::read::{given, members, string};
use super::super::said::{Why, said};
use super::super::stream::{Each, Event};
use super::super::talk::Sealed;
use super::read_reply::{is_format, why};

/// The most places that one block refers to.
const CITED_MAX: usize = 64;
/// The most that they take in memory, in bytes.
const CITED_BYTES_MAX: usize = 64 << 10;

/// Reads one stream.
#[derive(Debug, Default)]
pub struct Reader {
    /// The number of the call that is open: blocks never interleave.
    call: Option<u64>,
    /// The number of the call that is the answer itself.
    format: Option<u64>,
    /// Whether what the block that is open is called with was told with its beginning.
    is_whole: bool,
    /// Whether a thought is open.
    thinks: bool,
    /// How many characters of text have gone by, and how many of them before the block that is open.
    characters: u64,
    characters_before: u64,
    /// What the block that is open refers to: which of its characters do is known at its end.
    cited: Vec<Place<'static>>,
    has_ended: bool,
}

impl Reader {
    /// Reads one event.
    ///
    /// # Errors
    ///
    /// What `each` says, and [`Untranslatable`] for what is no event of an answer.
    pub fn read<'e>(&mut self, data: &'e str, each: &mut Each<'_, 'e>) -> Result<(), Untranslatable> {
        let (mut kind, mut index, mut inner) = (None, None, None);
        members("data", data, |key, value| {
            match key {
                "type" => kind = Some(value),
                "index" => index = value.parse().ok(),
                "message" | "content_block" | "delta" => inner = Some(value),
                _ => {}
            }
            Ok(())
        })?;
        let kind = given("type", kind)?.decode();
        match (&*kind, inner, index) {
            ("message_start", Some(message), _) => {
                let (mut id, mut model) = (None, None);
                members("message", message, |key, value| {
                    match key {
                        "id" => id = Some(value),
                        "model" => model = Some(value),
                        _ => {}
                    }
                    Ok(())
                })?;
                each(Event::Begins { id: said(id), model: said(model) })
            }
            ("content_block_start", Some(block), Some(index)) => self.start(block, index, each),
            ("content_block_delta", Some(delta), Some(index)) => self.delta(delta, index, each),
            ("content_block_stop", _, _) if std::mem::take(&mut self.thinks) => each(Event::ThoughtEnds),
            ("content_block_stop", _, _) => {
                self.cite(each)?;
                self.call.take().map_or(Ok(()), |index| each(Event::CallEnds { index }))
            }
            ("message_delta", Some(delta), _) => self.end(delta, each),
            ("message_stop", ..) => each(Event::Over),
            ("ping", ..) => each(Event::Ping),
            ("error", ..) => Err(Untranslatable::field("error", "is no part of an answer")),
            // New kinds come without notice.
            _ => Ok(()),
        }
    }

    fn start<'e>(&mut self, block: &'e str, index: u64, each: &mut Each<'_, 'e>) -> Result<(), Untranslatable> {
        let (mut kind, mut id, mut name, mut text, mut data, mut input) = (None, None, None, None, None, None);
        members("content_block", block, |key, value| {
            match key {
                "type" => kind = Some(value),
                "id" => id = Some(value),
                "name" => name = Some(value),
                "text" => text = string(value),
                "data" => data = string(value),
                // As some hosts say it, at once and whole; Anthropic's is empty.
                "input" => input = Some(value).filter(|json| json.starts_with('{') && json.contains('"')),
                _ => {}
            }
            Ok(())
        })?;
        self.is_whole = input.is_some();
        self.cited.clear();
        // Those that run at Anthropic get arguments too.
        match (&*given("content_block.type", kind)?.decode(), text) {
            ("tool_use", _) if is_format(name) => {
                self.format = Some(index);
                input.map_or(Ok(()), |json| each(Event::Input { index: None, json }))
            }
            ("tool_use", _) => {
                self.call = Some(index);
                let id = given("content_block.id", id)?.decode();
                each(Event::CallBegins { index, id, name: given("content_block.name", name)? })?;
                input.map_or(Ok(()), |json| each(Event::Input { index: Some(index), json }))
            }
            ("thinking", _) => {
                self.thinks = true;
                each(Event::ThoughtBegins)
            }
            ("redacted_thinking", _) => {
                self.thinks = true;
                each(Event::ThoughtBegins)?;
                data.map_or(Ok(()), |data| each(Event::Sealed(Sealed::Redacted(data.decode()))))
            }
            ("text", Some(text)) => {
                self.characters_before = self.characters;
                if text.raw.is_empty() { Ok(()) } else { self.text(text, each) }
            }
            _ => Ok(()),
        }
    }

    fn text<'e>(&mut self, text: RawStr<'e>, each: &mut Each<'_, 'e>) -> Result<(), Untranslatable> {
        self.characters += characters(text);
        each(Event::Text(text))
    }

    /// Tells what the block refers to that ends.
    fn cite<'e>(&mut self, each: &mut Each<'_, 'e>) -> Result<(), Untranslatable> {
        let characters = self.characters_before..self.characters;
        let cited = std::mem::take(&mut self.cited);
        cited.into_iter().try_for_each(|place| each(Event::Cites(Citation { place, characters: characters.clone() })))
    }

    /// Keeps a place for the end of the block, as far as there is room.
    fn keep(&mut self, place: Place<'_>) {
        let kept: usize = self.cited.iter().map(Place::bytes).sum();
        if self.cited.len() < CITED_MAX && kept + place.bytes() <= CITED_BYTES_MAX {
            self.cited.push(place.into_owned());
        }
    }

    fn delta<'e>(&mut self, delta: &'e str, index: u64, each: &mut Each<'_, 'e>) -> Result<(), Untranslatable> {
        members("delta", delta, |key, value| match (key, string(value)) {
            ("text", Some(text)) => self.text(text, each),
            ("citation", None) => {
                if let Some(place) = read_citation("delta.citation", value)? {
                    self.keep(place);
                }
                Ok(())
            }
            ("thinking", Some(text)) if !text.raw.is_empty() => each(Event::Thought(text)),
            ("signature", Some(signature)) if !signature.raw.is_empty() => {
                each(Event::Sealed(Sealed::Signature(signature.decode())))
            }
            ("partial_json", _) if self.is_whole => Ok(()),
            ("partial_json", Some(piece)) if !piece.raw.is_empty() && self.format == Some(index) => {
                self.text(piece, each)
            }
            ("partial_json", Some(piece)) if !piece.raw.is_empty() && self.call == Some(index) => {
                each(Event::Arguments { index, piece })
            }
            _ => Ok(()),
        })
    }

    fn end<'e>(&mut self, delta: &'e str, each: &mut Each<'_, 'e>) -> Result<(), Untranslatable> {
        let (mut reason, mut stop, mut explanation) = (None, None, None);
        members("delta", delta, |key, value| {
            match key {
                "stop_reason" => reason = string(value),
                "stop_sequence" => stop = string(value),
                "stop_details" => members("stop_details", value, |key, value| {
                    if key == "explanation" {
                        explanation = string(value);
                    }
                    Ok(())
                })?,
                _ => {}
            }
            Ok(())
        })?;
        if reason.is_none() || self.has_ended {
            return Ok(());
        }
        self.has_ended = true;
        if let Some(explanation) = explanation {
            each(Event::Refusal(explanation))?;
        }
        let why = match why(reason, stop, explanation) {
            Why::Calls if self.format.is_some() => Why::Done,
            why => why,
        };
        each(Event::Ends(why))
    }
}
