//! Events of Responses. <https://platform.openai.com/docs/api-reference/responses-streaming>

use crate::prompt::json::RawStr;

use super::super::Untranslatable;
use super::super::citations::{characters, read_annotation, read_annotations};
use super::super::read::{given, items, members, string};
use super::super::said::said;
use super::super::stream::{Each, Event};
use super::read_reply::Response;
use super::read_turns::Fields;

/// The most items of one answer.
const ITEMS_MAX: usize = 4_096;

/// Reads one stream.
#[derive(Debug, Default)]
pub struct Reader {
    has_calls: bool,
    /// Items of which pieces have gone by: not every host sends pieces.
    told: Vec<u64>,
    /// Whether a thought is open, and whether a part of it is.
    thinks: Option<bool>,
    /// How many characters of text have gone by, and how many of them before the part that is open.
    characters: u64,
    characters_before: u64,
}

/// The members of an event that somebody reads.
#[derive(Default)]
struct Fragment<'e> {
    kind: Option<&'e str>,
    response: Option<&'e str>,
    item: Option<&'e str>,
    at: u64,
    delta: Option<&'e str>,
    annotation: Option<&'e str>,
}

impl Reader {
    /// Reads one event.
    ///
    /// # Errors
    ///
    /// What `each` says, and [`Untranslatable`] for what is no event of an answer.
    pub fn read<'e>(&mut self, data: &'e str, each: &mut Each<'_, 'e>) -> Result<(), Untranslatable> {
        // As imitators end it; what ends it has gone by.
        if data.trim() == "[DONE]" {
            return Ok(());
        }
        let mut event = Fragment::default();
        members("data", data, |key, value| {
            match key {
                "type" => event.kind = Some(value),
                "response" => event.response = Some(value),
                "item" => event.item = Some(value),
                "output_index" => event.at = value.parse().unwrap_or_default(),
                "delta" => event.delta = Some(value),
                "annotation" => event.annotation = Some(value),
                _ => {}
            }
            Ok(())
        })?;
        let delta = event.delta.and_then(string).filter(|delta| !delta.raw.is_empty());
        let kind = given("type", event.kind)?.decode();
        match (&*kind, delta) {
            ("response.created", _) => {
                let head = head(event.response)?;
                each(Event::Begins { id: said(head.id), model: said(head.model) })
            }
            ("response.output_item.added", _) => self.begin(&event, each),
            ("response.output_item.done", _) => self.end(&event, each),
            ("response.output_text.delta", Some(delta)) => {
                self.note(event.at)?;
                self.text(delta, each)
            }
            ("response.content_part.added", _) => {
                self.characters_before = self.characters;
                Ok(())
            }
            ("response.output_text.annotation.added", _) => {
                let json = event.annotation.unwrap_or_default();
                let citation = read_annotation("annotation", json, self.characters_before)?;
                citation.map_or(Ok(()), |citation| each(Event::Cites(citation)))
            }
            ("response.refusal.delta", Some(delta)) => {
                self.note(event.at)?;
                each(Event::Refusal(delta))
            }
            ("response.reasoning_summary_text.delta" | "response.reasoning_text.delta", Some(delta)) => {
                self.note(event.at)?;
                self.thinks = Some(true);
                each(Event::Thought(delta))
            }
            ("response.reasoning_summary_part.added", _) if self.thinks == Some(true) => each(Event::ThoughtBreaks),
            ("response.function_call_arguments.delta", Some(piece)) => {
                self.note(event.at)?;
                each(Event::Arguments { index: event.at, piece })
            }
            ("response.completed" | "response.incomplete", _) => {
                each(Event::Ends(head(event.response)?.why(self.has_calls)?))?;
                each(Event::Over)
            }
            ("response.failed" | "error", _) => Err(Untranslatable::field("error", "is no part of an answer")),
            // New kinds come without notice.
            _ => Ok(()),
        }
    }

    fn text<'e>(&mut self, text: RawStr<'e>, each: &mut Each<'_, 'e>) -> Result<(), Untranslatable> {
        self.characters += characters(text);
        each(Event::Text(text))
    }

    fn note(&mut self, at: u64) -> Result<(), Untranslatable> {
        if self.told.last() != Some(&at) && !self.told.contains(&at) {
            if self.told.len() == ITEMS_MAX {
                return Err(Untranslatable::field("output", "has too many items"));
            }
            self.told.push(at);
        }
        Ok(())
    }

    fn begin<'e>(&mut self, event: &Fragment<'e>, each: &mut Each<'_, 'e>) -> Result<(), Untranslatable> {
        let item = Fields::read(event.item.unwrap_or("{}"))?;
        match &*item.kind()? {
            "function_call" => self.call(event.at, &item, each),
            "reasoning" => {
                self.thinks = Some(false);
                each(Event::ThoughtBegins)
            }
            _ => Ok(()),
        }
    }

    fn call<'e>(&mut self, index: u64, item: &Fields<'e>, each: &mut Each<'_, 'e>) -> Result<(), Untranslatable> {
        self.has_calls = true;
        let id = given("item.call_id", item.call_id)?.decode();
        each(Event::CallBegins { index, id, name: given("item.name", item.name)? })
    }

    fn end<'e>(&mut self, event: &Fragment<'e>, each: &mut Each<'_, 'e>) -> Result<(), Untranslatable> {
        let index = event.at;
        let item = Fields::read(event.item.unwrap_or("{}"))?;
        let is_told = self.told.contains(&index);
        match &*item.kind()? {
            "function_call" => {
                if let Some(piece) = item.arguments.and_then(string).filter(|piece| !is_told && !piece.raw.is_empty()) {
                    each(Event::Arguments { index, piece })?;
                }
                each(Event::CallEnds { index })
            }
            "reasoning" => {
                self.thinks = None;
                if let Some(sealed) = item.reasoning()?.sealed {
                    each(Event::Sealed(sealed))?;
                }
                each(Event::ThoughtEnds)
            }
            "message" if !is_told => items("item.content", item.content.unwrap_or("[]"), |part| {
                let (mut text, mut refusal, mut annotations) = (None, None, "[]");
                members("item.content", part, |key, value| {
                    match key {
                        "text" => text = string(value),
                        "refusal" => refusal = string(value),
                        "annotations" => annotations = value,
                        _ => {}
                    }
                    Ok(())
                })?;
                let behind = self.characters;
                match (text, refusal) {
                    (Some(text), _) if !text.raw.is_empty() => self.text(text, each)?,
                    (_, Some(refusal)) => each(Event::Refusal(refusal))?,
                    _ => {}
                }
                read_annotations("item.content.annotations", annotations, behind, |citation| {
                    each(Event::Cites(citation))
                })
                .map(drop)
            }),
            _ => Ok(()),
        }
    }
}

fn head(response: Option<&str>) -> Result<Response<'_>, Untranslatable> {
    let mut head = Response::default();
    let response = response.ok_or(Untranslatable::field("response", "must be given"))?;
    members("response", response, |key, value| head.member(key, value))?;
    Ok(head)
}
