//! Whole answers of Chat Completions. <https://platform.openai.com/docs/api-reference/chat/object>

use crate::prompt::json::RawStr;

use super::super::Untranslatable;
use super::super::citations::{Citation, read_annotations};
use super::super::read::{given, items, members, string};
use super::super::said::{Reply, Said, Why};
use super::super::talk::Reasoning;
use super::THOUGHTS;
use super::read_turns::read_call;

/// Where it is said what a text refers to.
const ANNOTATIONS: &str = "choices.message.annotations";

/// Reads an answer.
///
/// # Errors
///
/// [`Untranslatable`] for values of the wrong kind and for an answer of several choices, which nobody asked for.
pub fn read(body: &str) -> Result<Reply<'_>, Untranslatable> {
    let (mut id, mut model, mut choices) = (None, None, Vec::new());
    members("body", body, |key, value| {
        match key {
            "id" => id = Some(value),
            "model" => model = Some(value),
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
    let Message { parts, citations, left } = read_message(message)?;
    let (id, model, why) = (given("id", id)?, given("model", model)?, why(reason));
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

fn read_message(message: &str) -> Result<Message<'_>, Untranslatable> {
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
    items("choices.message.tool_calls", calls.unwrap_or("[]"), |call| {
        said.push(Said::Calls(read_call(call)?));
        Ok(())
    })?;
    Ok(Message { parts: said, citations, left })
}

/// A text, or, as some answer, an array of parts, whose thoughts are left out.
fn read_content<'b>(content: &'b str, said: &mut Vec<Said<'b>>) -> Result<(), Untranslatable> {
    const FIELD: &str = "choices.message.content";
    if let Some(text) = string(content) {
        said.push(Said::Text(text));
        return Ok(());
    }
    items(FIELD, content, |part| {
        members(FIELD, part, |key, value| {
            if key == "text" {
                said.extend(string(value).map(Said::Text));
            }
            Ok(())
        })
    })
}

/// Why an answer ended. Which of the client's texts ended it is not told.
pub(super) fn why(reason: Option<RawStr<'_>>) -> Why<'static> {
    match reason.map(RawStr::decode).as_deref() {
        Some("length") => Why::Length,
        Some("tool_calls" | "function_call") => Why::Calls,
        Some("content_filter") => Why::Refused(None),
        _ => Why::Done,
    }
}
