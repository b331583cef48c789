//! Whole answers of Chat Completions. <https://platform.openai.com/docs/api-reference/chat/object>

use crate::prompt::json::RawStr;

use super::super::Untranslatable;
use super::super::citations::{Citation, read_annotations};
use super::super::read::{items, members, string};
use super::super::said::{NOT_SAID, Reply, Said, Why};
use super::super::talk::Reasoning;
use super::THOUGHTS;
use super::calls::Told;

/// Where it is said what a text refers to.
const ANNOTATIONS: &str = "choices.message.annotations";

/// Reads an answer. One that has no id is called `unnamed` where its calls have none either.
///
/// # Errors
///
/// [`Untranslatable`] for values of the wrong kind, for an answer that failed, and for one of several choices, which nobody
/// asked for.
pub fn read<'b>(body: &'b str, unnamed: &str) -> Result<Reply<'b>, Untranslatable> {
    let (mut id, mut model, mut choices) = (None, None, Vec::new());
    members("body", body, |key, value| {
        match key {
            "id" => id = string(value),
            "model" => model = string(value),
            "choices" => items("choices", value, |choice| {
                choices.push(choice);
                Ok(())
            })?,
            _ => {}
        }
        Ok(())
    })?;
    let [choice] = choices[..] else { return Err(Untranslatable::field("choices", "must be one")) };
    let (mut message, mut reason) = (None, None);
    members("choices", choice, |key, value| {
        match key {
            "message" => message = Some(value),
            "finish_reason" => reason = string(value),
            _ => {}
        }
        Ok(())
    })?;
    let message = message.ok_or(Untranslatable::field("choices.message", "must be given"))?;
    let (id, model) = (id.unwrap_or(NOT_SAID), model.unwrap_or(NOT_SAID));
    let Message { parts, citations, left } = read_message(message, if id.raw.is_empty() { unnamed } else { id.raw })?;
    let why = why(reason)?;
    Ok(Reply { id, model, parts, citations, citations_field: ANNOTATIONS, why, left })
}

/// What a message says.
struct Message<'b> {
    /// In the order in which Messages has it.
    parts: Vec<Said<'b>>,
    citations: Vec<Citation<'b>>,
    /// Names of what only this dialect has.
    left: Vec<&'static str>,
}

fn read_message<'b>(message: &'b str, id: &str) -> Result<Message<'b>, Untranslatable> {
    let (mut said, mut refusal, mut calls, mut left) = (Vec::new(), None, None, Vec::new());
    let (mut thought, mut citations) = (None, Vec::new());
    members("choices.message", message, |key, value| {
        match key {
            "content" => read_content(value, &mut said)?,
            "refusal" => refusal = string(value),
            key if THOUGHTS.contains(&key) => thought = thought.or(string(value)),
            "tool_calls" => calls = Some(value),
            "annotations" => {
                let are_others = read_annotations(ANNOTATIONS, value, 0, |citation| {
                    citations.push(citation);
                    Ok(())
                })?;
                left.extend(are_others.then_some(ANNOTATIONS));
            }
            "audio" => left.push("choices.message.audio"),
            _ => {}
        }
        Ok(())
    })?;
    if let Some(text) = thought.filter(|text| !text.raw.is_empty()) {
        said.insert(0, Said::Reasons(Reasoning { texts: vec![text.into()], sealed: None }));
    }
    said.extend(refusal.map(Said::Refusal));
    let mut index = 0;
    items("choices.message.tool_calls", calls.unwrap_or("[]"), |call| {
        index += 1;
        Told::read("choices.message.tool_calls", call)?.whole(id, index - 1, &mut said)
    })?;
    Ok(Message { parts: said, citations, left })
}

/// A text, or, as Mistral answers, an array of parts. <https://docs.mistral.ai/capabilities/reasoning/>
fn read_content<'b>(content: &'b str, said: &mut Vec<Said<'b>>) -> Result<(), Untranslatable> {
    const FIELD: &str = "choices.message.content";
    if let Some(text) = string(content) {
        said.push(Said::Text(text));
        return Ok(());
    }
    parts_of(FIELD, content, &mut |part| {
        match part {
            Piece::Text(text) => said.push(Said::Text(text)),
            Piece::Thought(text) => {
                said.push(Said::Reasons(Reasoning { texts: vec![text.into()], sealed: None }));
            }
        }
        Ok(())
    })
}

/// A part of a content that is an array.
pub(super) enum Piece<'b> {
    Text(RawStr<'b>),
    Thought(RawStr<'b>),
}

/// Reads the parts of a content that is an array; empty ones are none.
pub(super) fn parts_of<'b>(
    field: &'static str,
    content: &'b str,
    each: &mut dyn FnMut(Piece<'b>) -> Result<(), Untranslatable>,
) -> Result<(), Untranslatable> {
    items(field, content, |part| {
        members(field, part, |key, value| match (key, string(value)) {
            ("text", Some(text)) if !text.raw.is_empty() => each(Piece::Text(text)),
            ("thinking", Some(text)) if !text.raw.is_empty() => each(Piece::Thought(text)),
            ("thinking", None) if value.starts_with('[') => items(field, value, |inner| {
                members(field, inner, |key, value| match (key, string(value)) {
                    ("text", Some(text)) if !text.raw.is_empty() => each(Piece::Thought(text)),
                    _ => Ok(()),
                })
            }),
            _ => Ok(()),
        })
    })
}

/// Why an answer ended. Which of the client's texts ended it is not told. Words beside OpenAI's are those of
/// <https://api-docs.deepseek.com/api/create-chat-completion>, <https://docs.mistral.ai/api/>,
/// <https://openrouter.ai/docs/api-reference/overview>, and those of Gemini's own API, which come through.
///
/// # Errors
///
/// [`Untranslatable`] for a word that says that the answer failed: what there is of it is no answer.
pub(super) fn why(reason: Option<RawStr<'_>>) -> Result<Why<'static>, Untranslatable> {
    let Some(word) = reason.map(|reason| reason.decode().to_ascii_lowercase()) else { return Ok(Why::Done) };
    Ok(match &*word {
        "length" | "model_length" | "max_tokens" => Why::Length,
        "tool_calls" | "function_call" => Why::Calls,
        _ if word.starts_with("content_filter") => Why::Refused(None),
        "safety" | "recitation" | "prohibited_content" | "blocklist" | "spii" => Why::Refused(None),
        "error" | "insufficient_system_resource" | "repetition_truncation" => return Err(failed()),
        _ if word.contains("malformed_function_call") => return Err(failed()),
        _ => Why::Done,
    })
}

fn failed() -> Untranslatable {
    Untranslatable::field("choices.finish_reason", "says that the answer failed")
}
