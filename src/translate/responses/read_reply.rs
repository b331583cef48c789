//! Whole answers of Responses. <https://platform.openai.com/docs/api-reference/responses/object>

use crate::prompt::json::RawStr;

use super::super::Untranslatable;
use super::super::citations::{Citation, read_annotations};
use super::super::read::{given, items, members, string, text};
use super::super::said::{Counted, Reply, Said, Why, said};
use super::super::talk::{Arguments, Call};
use super::read_turns::Fields;

/// Where it is said what a text refers to.
const ANNOTATIONS: &str = "output.content.annotations";

/// Reads an answer.
///
/// # Errors
///
/// [`Untranslatable`] for values of the wrong kind and for a response that failed or is not there yet.
pub fn read(body: &str) -> Result<Reply<'_>, Untranslatable> {
    let mut head = Response::default();
    members("body", body, |key, value| head.member(key, value))?;
    let mut output = Output::default();
    items("output", head.output.unwrap_or("[]"), |item| output.item(item))?;
    let Output { parts, citations, left, .. } = output;
    let has_calls = parts.iter().any(|part| matches!(part, Said::Calls(_)));
    let why = head.why(has_calls)?;
    let (id, model) = (said(head.id), said(head.model));
    Ok(Reply { id, model, parts, citations, citations_field: ANNOTATIONS, why, left })
}

/// The members of a response that somebody reads.
#[derive(Default)]
pub(super) struct Response<'b> {
    pub(super) id: Option<&'b str>,
    pub(super) model: Option<&'b str>,
    status: Option<RawStr<'b>>,
    reason: Option<RawStr<'b>>,
    output: Option<&'b str>,
}

impl<'b> Response<'b> {
    pub(super) fn member(&mut self, key: &str, value: &'b str) -> Result<(), Untranslatable> {
        match key {
            "id" => self.id = Some(value),
            "model" => self.model = Some(value),
            "status" => self.status = string(value),
            "output" => self.output = Some(value),
            "incomplete_details" => members("incomplete_details", value, |key, value| {
                if key == "reason" {
                    self.reason = string(value);
                }
                Ok(())
            })?,
            _ => {}
        }
        Ok(())
    }

    /// Why it ended.
    pub(super) fn why(&self, has_calls: bool) -> Result<Why<'static>, Untranslatable> {
        match self.status.map(RawStr::decode).as_deref() {
            Some("incomplete") => Ok(match self.reason.map(RawStr::decode).as_deref() {
                Some("content_filter") => Why::Refused(None),
                _ => Why::Length,
            }),
            Some("completed") | None => Ok(if has_calls { Why::Calls } else { Why::Done }),
            _ => Err(Untranslatable::field("status", "is no answer's")),
        }
    }
}

/// What the items of a response say.
#[derive(Default)]
struct Output<'b> {
    parts: Vec<Said<'b>>,
    counted: Counted,
    citations: Vec<Citation<'b>>,
    /// Names of what only this dialect has.
    left: Vec<&'static str>,
}

impl<'b> Output<'b> {
    fn item(&mut self, json: &'b str) -> Result<(), Untranslatable> {
        let item = Fields::read(json)?;
        match &*item.kind()? {
            "message" => items("output.content", item.content.unwrap_or("[]"), |part| self.part(part)),
            "reasoning" => {
                let thought = item.reasoning()?;
                if thought.sealed.is_some() || !thought.texts.is_empty() {
                    self.parts.push(Said::Reasons(thought));
                }
                Ok(())
            }
            kind @ ("function_call" | "custom_tool_call") => {
                let is_text = kind == "custom_tool_call";
                let said = if is_text { item.input } else { item.arguments };
                let said =
                    said.map_or(Ok(RawStr { raw: "", escaped: false }), |said| text("output.arguments", said))?;
                self.parts.push(Said::Calls(Call {
                    id: given("output.call_id", item.call_id)?.decode(),
                    name: given("output.name", item.name)?.raw.into(),
                    arguments: if is_text { Arguments::Text(said) } else { Arguments::Quoted(said) },
                }));
                Ok(())
            }
            // What ran at OpenAI: the text that came of it stays.
            _ => {
                self.left.push("output");
                Ok(())
            }
        }
    }

    fn part(&mut self, json: &'b str) -> Result<(), Untranslatable> {
        let (mut said, mut refusal, mut annotations) = (None, None, None);
        members("output.content", json, |key, value| {
            match key {
                "text" => said = string(value),
                "refusal" => refusal = string(value),
                "annotations" if value != "[]" => annotations = Some(value),
                _ => {}
            }
            Ok(())
        })?;
        if let Some(annotations) = annotations {
            let behind = self.counted.up_to(&self.parts);
            let are_others = read_annotations(ANNOTATIONS, annotations, behind, |citation| {
                self.citations.push(citation);
                Ok(())
            })?;
            self.left.extend(are_others.then_some(ANNOTATIONS));
        }
        self.parts.extend(said.map(Said::Text).or(refusal.map(Said::Refusal)));
        Ok(())
    }
}
