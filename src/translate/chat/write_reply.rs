//! Whole answers in the words of Chat Completions. <https://platform.openai.com/docs/api-reference/chat/object>

use crate::reply::usage::Usage;

use super::super::citations::Citation;
use super::super::said::{Reply, Said, Why};
use super::super::talk::Text;
use super::super::write::Out;
use super::super::{Dropped, Told, Written, seals};
use super::write_request::write_call;
use super::{THOUGHTS, wants_thoughts};

/// Writes an answer. Keys that may be `null` are there all the same: clients of typed languages want them.
pub fn write(reply: &Reply<'_>, told: &Told<'_>) -> Written {
    let mut out = Out::default();
    out.object().key("id").pieces(&[Text::Plain("chatcmpl-".into()), reply.id.into()]);
    out.key("object").string("chat.completion").key("created").number(told.created_seconds);
    out.key("model").spelt(reply.model.raw).key("choices").array().object().key("index").number(0);
    out.key("message").object().key("role").string("assistant").key("content");
    let texts: Vec<Text<'_>> = reply.parts.iter().filter_map(text).filter(|text| !text.is_empty()).collect();
    if texts.is_empty() {
        out.raw("null")
    } else {
        out.pieces(&texts)
    };
    let told_refusal = if let Why::Refused(text) = reply.why { text } else { None };
    let refusal = reply.parts.iter().find_map(|part| if let Said::Refusal(text) = part { Some(*text) } else { None });
    out.key("refusal");
    match refusal.or(told_refusal) {
        Some(text) => out.spelt(text.raw),
        None => out.raw("null"),
    };
    out.key("annotations");
    write_annotations(&mut out, &reply.citations);
    let thoughts: Vec<Text<'_>> = reply.parts.iter().flat_map(thought).collect();
    if !thoughts.is_empty() && wants_thoughts(told.request) {
        out.key(THOUGHTS[0]).pieces(&seals::joined(&thoughts));
    }
    let has_calls = reply.parts.iter().any(|part| matches!(part, Said::Calls(_)));
    if has_calls {
        out.key("tool_calls").array();
        for part in &reply.parts {
            if let Said::Calls(call) = part {
                write_call(&mut out, call);
            }
        }
        out.end_array();
    }
    out.end_object().key("logprobs").raw("null").key("finish_reason").string(reason(reply.why));
    out.end_object().end_array();
    write_usage(&mut out, &told.usage);
    out.end_object();
    Written::of(out.finish(), Dropped::of(&reply.left))
}

/// Writes places on the web that a text refers to.
pub(super) fn write_annotations(out: &mut Out, citations: &[Citation<'_>]) {
    out.array();
    for Citation { place, characters } in citations {
        out.object().key("type").string("url_citation").key("url_citation").object();
        place.write(out, characters.clone());
        out.end_object().end_object();
    }
    out.end_array();
}

/// What may be read of a thought.
fn thought<'s, 'b>(part: &'s Said<'b>) -> impl Iterator<Item = Text<'b>> + use<'s, 'b> {
    let texts = if let Said::Reasons(thought) = part { thought.texts.as_slice() } else { &[] };
    texts.iter().filter(|text| !text.is_empty()).cloned()
}

fn text<'b>(part: &Said<'b>) -> Option<Text<'b>> {
    match part {
        Said::Text(text) => Some((*text).into()),
        Said::Json(json) => Some(Text::Plain((*json).into())),
        Said::Refusal(_) | Said::Reasons(_) | Said::Calls(_) => None,
    }
}

/// The word for why an answer ended. A refusal that says why is an answer at OpenAI, and only what a filter took away
/// without a word is not: SDKs that parse answers read the one and raise the other.
/// <https://platform.openai.com/docs/guides/structured-outputs#refusals>
pub(super) fn reason(why: Why<'_>) -> &'static str {
    match why {
        Why::Done | Why::Stop(_) | Why::Refused(Some(_)) => "stop",
        Why::Length => "length",
        Why::Calls => "tool_calls",
        Why::Refused(None) => "content_filter",
    }
}

/// Writes the member `usage`.
pub(super) fn write_usage(out: &mut Out, usage: &Usage) {
    out.key("usage").object();
    out.key("prompt_tokens").number(usage.input_tokens).key("completion_tokens").number(usage.output_tokens);
    out.key("total_tokens").number(usage.input_tokens + usage.output_tokens);
    out.key("prompt_tokens_details").object().key("cached_tokens").number(usage.cached_input_tokens);
    out.key("cache_write_tokens").number(usage.cache_write_tokens + usage.cache_write_1h_tokens);
    out.key("audio_tokens").number(0).end_object();
    out.key("completion_tokens_details").object().key("reasoning_tokens").number(usage.reasoning_tokens);
    out.key("audio_tokens").number(0).key("accepted_prediction_tokens").number(0);
    out.key("rejected_prediction_tokens").number(0).end_object().end_object();
}
