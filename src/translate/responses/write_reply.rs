//! Whole answers in the words of Responses. <https://platform.openai.com/docs/api-reference/responses/object>

use std::cmp::Reverse;

use sha2::{Digest, Sha256};

use crate::reply::usage::Usage;

use super::super::citations::Citation;
use super::super::said::{Reply, Said, Why};
use super::super::talk::{Arguments, Call, Reasoning, Text};
use super::super::unwrap::unwrapped;
use super::super::write::{Out, escape};
use super::super::{Dropped, Told, Untranslatable, Written, ids, seals};
use super::echo::{Echo, Named};

/// How many bytes of a hash tell the items of answers apart.
const HASH_BYTES: usize = 12;

/// Writes an answer.
///
/// # Errors
///
/// [`Untranslatable`] if `told` has no request.
pub fn write(reply: &Reply<'_>, told: &Told<'_>) -> Result<Written, Untranslatable> {
    let echo = Echo::read(told.request)?;
    let items = Items::new(reply.id.raw);
    let (status, reason) = status(reply.why);
    let mut output: Vec<String> = Vec::new();
    let mut parts: Vec<String> = Vec::new();
    // A text in pieces is one text, and what is said without a call or a thought between is one message.
    let mut text: Vec<Text<'_>> = Vec::new();
    let mut texts = Texts::of(reply);
    let explanation = if let Why::Refused(explanation) = reply.why { explanation } else { None };
    let has_refusal = reply.parts.iter().any(|part| matches!(part, Said::Refusal(_)));
    let explained = explanation.filter(|_| !has_refusal).map(Said::Refusal);
    for part in reply.parts.iter().chain(&explained) {
        match part {
            Said::Text(said) => text.push((*said).into()),
            Said::Json(json) => text.push(Text::Plain((*json).into())),
            Said::Refusal(said) => {
                parts.extend(texts.part(&std::mem::take(&mut text)));
                parts.push(refusal_part(said.raw));
            }
            Said::Reasons(thought) => {
                parts.extend(texts.part(&std::mem::take(&mut text)));
                output.extend(items.message(output.len(), &std::mem::take(&mut parts), "completed"));
                output.extend(reasoning(&items, output.len(), thought, &echo));
            }
            Said::Calls(call) => {
                parts.extend(texts.part(&std::mem::take(&mut text)));
                output.extend(items.message(output.len(), &std::mem::take(&mut parts), "completed"));
                output.push(called(&items, output.len(), call, &echo));
            }
        }
    }
    parts.extend(texts.part(&text));
    output.extend(items.message(output.len(), &parts, status));
    let response = Response {
        id: reply.id.raw,
        model: reply.model.raw,
        created_seconds: told.created_seconds,
        status,
        reason,
        error: None,
        output: &output,
        usage: Some(&told.usage),
        echo: &echo,
    };
    Ok(Written::of(response.written(), Dropped::of(&reply.left)))
}

/// The status of an answer, and why it is incomplete.
pub(super) fn status(why: Why<'_>) -> (&'static str, Option<&'static str>) {
    match why {
        Why::Done | Why::Stop(_) | Why::Calls | Why::Refused(Some(_)) => ("completed", None),
        Why::Length => ("incomplete", Some("max_output_tokens")),
        Why::Refused(None) => ("incomplete", Some("content_filter")),
    }
}

/// A response object, whole or under way.
pub(super) struct Response<'r> {
    /// The provider's id and its model, as they are spelt.
    pub(super) id: &'r str,
    pub(super) model: &'r str,
    pub(super) created_seconds: u64,
    pub(super) status: &'r str,
    /// Why it is incomplete.
    pub(super) reason: Option<&'r str>,
    /// Why it failed: a code and a message.
    pub(super) error: Option<(&'r str, &'r str)>,
    /// Items, each written.
    pub(super) output: &'r [String],
    pub(super) usage: Option<&'r Usage>,
    pub(super) echo: &'r Echo,
}

impl Response<'_> {
    pub(super) fn written(&self) -> String {
        let items: usize = self.output.iter().map(|item| item.len() + 1).sum();
        let mut out = Out::with_capacity(items + self.echo.members().len() + 1_024);
        out.object().key("id").pieces(&[Text::Plain("resp_".into()), Text::Spelt(self.id)]);
        out.key("object").string("response").key("created_at").number(self.created_seconds);
        out.key("status").string(self.status).key("completed_at");
        match self.status {
            "completed" => out.number(self.created_seconds),
            _ => out.raw("null"),
        };
        out.key("error");
        match self.error {
            Some((code, message)) => out.object().key("code").string(code).key("message").string(message).end_object(),
            None => out.raw("null"),
        };
        out.key("incomplete_details");
        match self.reason {
            Some(reason) => out.object().key("reason").string(reason).end_object(),
            None => out.raw("null"),
        };
        out.key("model").spelt(self.model).key("output").array();
        self.output.iter().for_each(|item| _ = out.raw(item));
        out.end_array();
        if let Some(usage) = self.usage {
            out.key("usage");
            write_usage(&mut out, usage);
        }
        let mut text = out.finish();
        text.push(',');
        text.push_str(self.echo.members());
        text.push('}');
        text
    }
}

/// Writes what was used. Here the input includes what was read from a cache and written to one.
fn write_usage(out: &mut Out, usage: &Usage) {
    out.object().key("input_tokens").number(usage.input_tokens);
    out.key("input_tokens_details").object().key("cached_tokens").number(usage.cached_input_tokens);
    out.key("cache_write_tokens").number(usage.cache_write_tokens + usage.cache_write_1h_tokens).end_object();
    out.key("output_tokens").number(usage.output_tokens);
    out.key("output_tokens_details").object().key("reasoning_tokens").number(usage.reasoning_tokens).end_object();
    out.key("total_tokens").number(usage.input_tokens + usage.output_tokens).end_object();
}

/// The items of an answer, whose ids follow from that of the answer and their place.
#[derive(Debug, Default)]
pub(super) struct Items {
    hash: String,
}

impl Items {
    pub(super) fn new(id: &str) -> Self {
        let hash = Sha256::digest(id).iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect();
        Self { hash }
    }

    pub(super) fn id(&self, kind: &str, at: usize) -> String {
        format!("{kind}_{}_{at}", self.hash)
    }

    /// A message of these parts, if there are any.
    pub(super) fn message(&self, at: usize, parts: &[String], status: &str) -> Option<String> {
        (!parts.is_empty()).then(|| self.message_of(at, parts, status))
    }

    pub(super) fn message_of(&self, at: usize, parts: &[String], status: &str) -> String {
        let mut out = Out::with_capacity(parts.iter().map(|part| part.len() + 1).sum::<usize>() + 128);
        out.object().key("id").string(&self.id("msg", at)).key("type").string("message");
        out.key("status").string(status).key("role").string("assistant").key("content").array();
        parts.iter().for_each(|part| _ = out.raw(part));
        out.end_array().end_object();
        out.finish()
    }

    /// A thought: its parts as they are spelt, and its seal.
    pub(super) fn reasoning(&self, at: usize, texts: &[Text<'_>], seal: Option<&str>, status: &str) -> String {
        let mut out = Out::default();
        out.object().key("id").string(&self.id("rs", at)).key("type").string("reasoning");
        out.key("summary").array();
        for text in texts.iter().filter(|text| !text.is_empty()) {
            out.raw(&summary_part(text));
        }
        out.end_array().key("encrypted_content");
        match seal {
            Some(seal) => out.string(seal),
            None => out.raw("null"),
        };
        out.key("status").string(status).end_object();
        out.finish()
    }

    /// A call of a tool with what it is called with, as that is spelt.
    pub(super) fn call(&self, at: usize, call_id: &str, tool: &Named, input: &str, status: &str) -> String {
        let (kind, prefix, key) = match tool.is_text {
            true => ("custom_tool_call", "ctc", "input"),
            false => ("function_call", "fc", "arguments"),
        };
        let mut out = Out::with_capacity(input.len() + 256);
        out.object().key("id").string(&self.id(prefix, at)).key("type").string(kind);
        if !tool.is_text {
            out.key("status").string(status);
        }
        out.key("call_id").string(&ids::from_messages(call_id)).key("name").spelt(&tool.name);
        if let Some(namespace) = &tool.namespace {
            out.key("namespace").spelt(namespace);
        }
        out.key(key).spelt(input).end_object();
        out.finish()
    }
}

/// The texts of an answer, one part after the other, with what they refer to.
struct Texts<'r, 'b> {
    /// What is yet to be told, the first last.
    citations: Vec<&'r Citation<'b>>,
    /// How many characters have been written.
    characters: u64,
}

impl<'r, 'b> Texts<'r, 'b> {
    fn of(reply: &'r Reply<'b>) -> Self {
        let mut citations: Vec<_> = reply.citations.iter().rev().collect();
        citations.sort_by_key(|citation| Reverse(citation.characters.start));
        Self { citations, characters: 0 }
    }

    /// A part of a message with this text; nothing if that is empty.
    fn part(&mut self, text: &[Text<'_>]) -> Option<String> {
        if text.iter().all(Text::is_empty) {
            return None;
        }
        let mut annotations = Vec::new();
        if !self.citations.is_empty() {
            let from = self.characters;
            self.characters += text.iter().map(|text| text.decode().chars().count() as u64).sum::<u64>();
            while let Some(here) = self.citations.pop_if(|citation| citation.characters.start < self.characters) {
                annotations.push(annotation(here, from));
            }
        }
        Some(text_part_of(text, &annotations))
    }
}

/// A part of a message with a text, which may be empty, and what that refers to.
pub(super) fn text_part_of(text: &[Text<'_>], annotations: &[String]) -> String {
    let mut out = Out::default();
    out.object().key("type").string("output_text").key("text").pieces(text).key("annotations").array();
    annotations.iter().for_each(|annotation| _ = out.raw(annotation));
    out.end_array().key("logprobs").array().end_array().end_object();
    out.finish()
}

/// What a text refers to that begins behind so many characters.
pub(super) fn annotation(citation: &Citation<'_>, behind: u64) -> String {
    let Citation { place, characters } = citation;
    let mut out = Out::default();
    out.object().key("type").string("url_citation");
    place.write(&mut out, characters.start.saturating_sub(behind)..characters.end.saturating_sub(behind));
    out.end_object();
    out.finish()
}

/// A part of a message that refuses, as that is spelt.
pub(super) fn refusal_part(text: &str) -> String {
    let mut out = Out::default();
    out.object().key("type").string("refusal").key("refusal").spelt(text).end_object();
    out.finish()
}

/// A part of what may be read of a thought.
pub(super) fn summary_part(text: &Text<'_>) -> String {
    let mut out = Out::default();
    out.object().key("type").string("summary_text").key("text").pieces(std::slice::from_ref(text)).end_object();
    out.finish()
}

/// A thought, if the client may read any of it or takes its seal.
fn reasoning(items: &Items, at: usize, thought: &Reasoning<'_>, echo: &Echo) -> Option<String> {
    let seal = thought.sealed.as_ref().filter(|_| echo.takes_seals()).map(seals::for_responses);
    let is_seen = thought.texts.iter().any(|text| !text.is_empty());
    (is_seen || seal.is_some()).then(|| items.reasoning(at, &thought.texts, seal.as_deref(), "completed"))
}

fn called(items: &Items, at: usize, call: &Call<'_>, echo: &Echo) -> String {
    let tool = echo.called(&call.name);
    let mut spelt = String::new();
    match call.arguments {
        Arguments::Text(text) => spelt.push_str(text.raw),
        Arguments::Json(json) if tool.is_text => spelt = unwrapped(json),
        Arguments::Quoted(text) if tool.is_text => spelt = unwrapped(&text.decode()),
        Arguments::Json(json) => escape(json, &mut spelt),
        Arguments::Quoted(text) => spelt.push_str(text.raw),
    }
    if spelt.is_empty() && !tool.is_text {
        spelt.push_str("{}");
    }
    items.call(at, &call.id, &tool, &spelt, "completed")
}
