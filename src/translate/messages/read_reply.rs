//! Whole answers of Messages. <https://platform.claude.com/docs/en/api/messages/create#returns>

use crate::prompt::json::RawStr;

use super::super::Untranslatable;
use super::super::citations::{Citation, characters, read_citation};
use super::super::read::{given, items, members, string};
use super::super::said::{Counted, Reply, Said, Why, said};
use super::super::talk::{Arguments, Call};
use super::FORMAT_TOOL;
use super::read_turns::Block;

/// Where it is said what a text refers to.
const CITATIONS: &str = "content.citations";
/// What nobody else has of that: the quote, and beside it what Anthropic finds it by again.
const QUOTES: &str = "content.citations.cited_text";

/// Reads an answer.
///
/// # Errors
///
/// [`Untranslatable`] for values of the wrong kind.
pub fn read(body: &str) -> Result<Reply<'_>, Untranslatable> {
    let (mut id, mut model, mut content) = (None, None, None);
    let (mut reason, mut stop, mut explanation) = (None, None, None);
    members("body", body, |key, value| {
        match key {
            "id" => id = Some(value),
            "model" => model = Some(value),
            "content" => content = Some(value),
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
    let (mut parts, mut citations, mut left) = (Vec::new(), Vec::new(), Vec::new());
    let mut counted = Counted::default();
    items("content", content.unwrap_or("[]"), |json| {
        let block = Block::read("content", json)?;
        match &*given("content.type", block.kind)?.decode() {
            "text" => {
                let text = block.text()?;
                if let Some(json) = block.citations.filter(|_| block.has_citations()) {
                    let start = counted.up_to(&parts);
                    let characters = start..start + characters(text);
                    items(CITATIONS, json, |citation| {
                        match read_citation(CITATIONS, citation)? {
                            Some(place) => {
                                left.push(QUOTES);
                                citations.push(Citation { place, characters: characters.clone() });
                            }
                            None => left.push(CITATIONS),
                        }
                        Ok(())
                    })?;
                }
                parts.push(Said::Text(text));
            }
            "tool_use" if is_format(block.name) => parts.push(Said::Json(block.input.unwrap_or("{}"))),
            "tool_use" => parts.push(Said::Calls(Call {
                id: given("content.id", block.id)?.decode(),
                name: given("content.name", block.name)?.raw.into(),
                arguments: Arguments::Json(block.input.unwrap_or("{}")),
            })),
            "thinking" | "redacted_thinking" => parts.extend(block.reasoning()?.map(Said::Reasons)),
            // What ran at Anthropic: the text that came of it stays.
            _ => left.push("content.server_tool_use"),
        }
        Ok(())
    })?;
    let why = match why(reason, stop, explanation) {
        Why::Calls if parts.iter().any(|part| matches!(part, Said::Json(_))) => Why::Done,
        why => why,
    };
    let (id, model) = (said(id), said(model));
    Ok(Reply { id, model, parts, citations, citations_field: CITATIONS, why, left })
}

/// Whether a call is the answer itself.
pub(super) fn is_format(name: Option<&str>) -> bool {
    name.and_then(string).is_some_and(|name| name.raw == FORMAT_TOOL)
}

/// Why an answer ended, by its reason, the text that it ended at and what is said of a refusal.
pub(super) fn why<'b>(
    reason: Option<RawStr<'b>>,
    stop: Option<RawStr<'b>>,
    explanation: Option<RawStr<'b>>,
) -> Why<'b> {
    match (reason.map(RawStr::decode).as_deref(), stop) {
        (Some("stop_sequence"), Some(stop)) => Why::Stop(stop),
        (Some("max_tokens" | "model_context_window_exceeded"), _) => Why::Length,
        (Some("tool_use"), _) => Why::Calls,
        (Some("refusal"), _) => Why::Refused(explanation),
        _ => Why::Done,
    }
}
