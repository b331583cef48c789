//! Whole answers in the words of Messages. <https://platform.claude.com/docs/en/api/messages/create#returns>

use crate::prompt::json::RawStr;
use crate::reply::usage::Usage;

use super::super::said::{Reply, Said, Why};
use super::super::talk::Text;
use super::super::write::Out;
use super::super::{Dropped, Told, Written};
use super::write_request::{call_members, write_thought};

/// Who calls a tool: the model itself, where no program of the provider's did.
pub(super) const CALLER: &str = r#"{"type":"direct"}"#;

/// Writes an answer.
pub fn write(reply: &Reply<'_>, told: &Told<'_>) -> Written {
    let mut out = Out::default();
    out.object().key("id").pieces(&[Text::Plain("msg_".into()), reply.id.into()]);
    out.key("type").string("message").key("role").string("assistant").key("model").spelt(reply.model.raw);
    out.key("content").array();
    let (mut has_calls, mut refusal) = (false, None);
    for part in &reply.parts {
        match part {
            Said::Text(text) if text.raw.is_empty() => {}
            Said::Json(json) => {
                out.object().key("type").string("text").key("text").string(json);
                out.key("citations").raw("null").end_object();
            }
            Said::Text(text) | Said::Refusal(text) => {
                if matches!(part, Said::Refusal(_)) {
                    refusal = Some(*text);
                }
                out.object().key("type").string("text").key("text").spelt(text.raw);
                out.key("citations").raw("null").end_object();
            }
            Said::Reasons(thought) => write_thought(&mut out, thought),
            Said::Calls(call) => {
                has_calls = true;
                call_members(&mut out, call);
                out.key("caller").raw(CALLER).end_object();
            }
        }
    }
    out.end_array();
    let (reason, stop) = reason(reply.why, has_calls, refusal.is_some());
    out.key("stop_reason").string(reason).key("stop_sequence");
    match stop {
        Some(text) => out.spelt(text.raw),
        None => out.raw("null"),
    };
    let explanation = refusal.or(if let Why::Refused(text) = reply.why { text } else { None });
    write_details(&mut out, reason, explanation.map(|text| text.raw));
    write_usage(&mut out, &told.usage);
    out.key("container").raw("null").key("diagnostics").raw("null").end_object();
    let mut dropped = Dropped::of(&reply.left);
    if !reply.citations.is_empty() {
        // Anthropic's have a quote, and an index that it wants back.
        dropped.note(reply.citations_field);
    }
    Written::of(out.finish(), dropped)
}

/// The word for why an answer ended, and at which of the client's texts.
pub(super) fn reason(why: Why<'_>, has_calls: bool, has_refusal: bool) -> (&'static str, Option<RawStr<'_>>) {
    match why {
        Why::Refused(_) => ("refusal", None),
        _ if has_refusal => ("refusal", None),
        Why::Length => ("max_tokens", None),
        Why::Stop(text) => ("stop_sequence", Some(text)),
        Why::Calls => ("tool_use", None),
        // Some say so beside calls.
        Why::Done if has_calls => ("tool_use", None),
        Why::Done => ("end_turn", None),
    }
}

/// Writes the member `stop_details`, which says more of a refusal. `explanation` is as it is spelt.
pub(super) fn write_details(out: &mut Out, reason: &str, explanation: Option<&str>) {
    out.key("stop_details");
    if reason != "refusal" {
        out.raw("null");
        return;
    }
    out.object().key("type").string("refusal").key("category").raw("null").key("explanation");
    match explanation {
        Some(text) => out.spelt(text),
        None => out.raw("null"),
    };
    out.end_object();
}

/// Writes the member `usage` of a message.
pub(super) fn write_usage(out: &mut Out, usage: &Usage) {
    out.key("usage").object();
    write_figures(out, usage);
    out.key("cache_creation").object();
    out.key("ephemeral_5m_input_tokens").number(usage.cache_write_tokens);
    out.key("ephemeral_1h_input_tokens").number(usage.cache_write_1h_tokens).end_object();
    for unknown in ["inference_geo", "service_tier", "speed"] {
        out.key(unknown).raw("null");
    }
    out.end_object();
}

/// Writes the members of `usage` that the event at the end of a stream has too. Here the input is what was neither read
/// from a cache nor written to one.
pub(super) fn write_figures(out: &mut Out, usage: &Usage) {
    let written = usage.cache_write_tokens + usage.cache_write_1h_tokens;
    out.key("input_tokens").number(usage.input_tokens.saturating_sub(usage.cached_input_tokens + written));
    out.key("cache_creation_input_tokens").number(written);
    out.key("cache_read_input_tokens").number(usage.cached_input_tokens);
    out.key("output_tokens").number(usage.output_tokens);
    out.key("output_tokens_details").object().key("thinking_tokens").number(usage.reasoning_tokens).end_object();
    out.key("server_tool_use").raw("null");
}
