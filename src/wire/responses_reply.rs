//! OpenAI's Responses: the facts that metering needs, from whole responses and from the events of a stream.
//! <https://platform.openai.com/docs/api-reference/responses/object>, `…/responses-streaming`

use crate::prompt::json::{JsonError, RawStr, Scanner};
use crate::reply;
use crate::reply::facts::{Ending, Facts};
use crate::reply::usage::WhyUnknown;

use super::openai_usage;
use super::vendors::Habits;

/// Items of an output that the client answers for, or that are no calls at all. What else is called, the provider ran and
/// charges.
const CLIENTS_CALLS: [&str; 5] =
    ["function_call", "custom_tool_call", "local_shell_call", "shell_call", "apply_patch_call"];

/// Reads a whole response, or one event of a stream. The last event has the whole response once more: its text is none
/// that was generated anew.
///
/// # Errors
///
/// [`JsonError`] for what is not a JSON object.
pub fn read(json: &[u8], habits: Habits) -> Result<Facts, JsonError> {
    let mut s = Scanner::from_bytes(json)?;
    let (mut response, mut event) = (Facts::default(), Facts::default());
    let (mut kind, mut object) = (None, None);
    s.object::<JsonError>(|s, key| match key.raw {
        "type" => {
            kind = s.string_or_skip()?;
            Ok(())
        }
        "object" => {
            object = s.string_or_skip()?;
            Ok(())
        }
        "response" if s.peek() == Some(b'{') => {
            s.object::<JsonError>(|s, key| member(s, key, habits, &mut event)).map(drop)
        }
        "delta" => text(s, &mut response),
        _ => member(s, key, habits, &mut response),
    })?;
    s.end()?;
    if object.is_some_and(|object| object.decode() == "response") {
        response.choices = 1;
        return Ok(response);
    }
    let mut facts = Facts { text_bytes: response.text_bytes, words: response.words, error: response.error, ..event };
    facts.finished = 0;
    match kind.map(RawStr::decode).as_deref() {
        Some("response.completed" | "response.incomplete") => {
            facts.finished = 1;
            facts.ending = Ending::Over;
        }
        Some("response.failed" | "error") => facts.error = true,
        _ => {}
    }
    Ok(facts)
}

/// A member of a response.
fn member(s: &mut Scanner<'_>, key: RawStr<'_>, habits: Habits, facts: &mut Facts) -> Result<(), JsonError> {
    match key.raw {
        "usage" => {
            let range = s.skip()?;
            if let Some(reported) = openai_usage::read(s.text(range), habits) {
                facts.usage = Some(reported.usage);
                facts.beside = facts.beside.max(reported.beside);
                facts.stated = reported.stated;
            }
        }
        "service_tier" => facts.service_tier = s.string_or_skip()?.map(|tier| habits.charged_tier(&tier.decode())),
        "error" => {
            let range = s.skip()?;
            facts.error |= s.text(range.clone()).starts_with('{') && range.len() > 2;
        }
        "status" => {
            let status = s.string_or_skip()?.map(RawStr::decode);
            facts.finished = u64::from(matches!(status.as_deref(), Some("completed" | "incomplete" | "failed")));
        }
        "output" if s.peek() == Some(b'[') => {
            s.array::<JsonError>(|s| item(s, facts))?;
        }
        _ => s.pass()?,
    }
    Ok(())
}

fn item(s: &mut Scanner<'_>, facts: &mut Facts) -> Result<(), JsonError> {
    if s.peek() != Some(b'{') {
        return s.pass();
    }
    let mut kind = None;
    s.object::<JsonError>(|s, key| match key.raw {
        "type" => {
            kind = s.string_or_skip()?;
            Ok(())
        }
        "arguments" | "input" | "name" => text(s, facts),
        "content" | "summary" if s.peek() == Some(b'[') => s
            .array::<JsonError>(|s| {
                if s.peek() != Some(b'{') {
                    return s.pass();
                }
                s.object::<JsonError>(|s, key| match key.raw {
                    "text" | "refusal" => text(s, facts),
                    _ => s.pass(),
                })
                .map(drop)
            })
            .map(drop),
        _ => s.pass(),
    })?;
    let kind = kind.map(RawStr::decode);
    let is_providers = |kind: &str| kind.ends_with("_call") && !CLIENTS_CALLS.contains(&kind);
    if kind.as_deref().is_some_and(is_providers) {
        facts.beside = facts.beside.max(Some(WhyUnknown::Fees));
    }
    Ok(())
}

fn text(s: &mut Scanner<'_>, facts: &mut Facts) -> Result<(), JsonError> {
    if s.peek() != Some(b'"') {
        return s.pass();
    }
    let text = s.string()?.decode();
    facts.text_bytes += text.len() as u64;
    facts.words += reply::words_begun(&text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(json: &str) -> Facts {
        read(json.as_bytes(), Habits::default()).unwrap()
    }

    const COMPLETED: &str = r#"{"type":"response.completed","sequence_number":9,"response":{"object":"response",
        "status":"completed","error":null,"service_tier":"default","output":[{"type":"reasoning","summary":[]},
        {"type":"message","content":[{"type":"output_text","text":"abc"}]}],"usage":{"input_tokens":36,
        "input_tokens_details":{"cached_tokens":30},"output_tokens":87,"output_tokens_details":{"reasoning_tokens":80},
        "total_tokens":123}}}"#;

    #[test]
    fn usage_comes_with_the_end() {
        let last = facts(COMPLETED);
        let told = last.usage.map(|usage| (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens));
        assert_eq!((told, last.finished, last.ending), (Some((36, 30, 87)), 1, Ending::Over));
        assert_eq!((last.text_bytes, last.error, last.beside), (0, false, None), "its text went by before");
        let created =
            facts(r#"{"type":"response.created","response":{"status":"in_progress","error":null,"usage":null}}"#);
        assert_eq!((created.usage, created.finished, created.error), (None, 0, false));
        assert_eq!(facts(r#"{"type":"response.output_text.delta","delta":"a b"}"#).text_bytes, 3);
    }

    #[test]
    fn a_whole_response_says_all_at_once() {
        let whole = facts(
            r#"{"object":"response","status":"incomplete","error":null,"output":[{"type":"function_call",
            "name":"f","arguments":"{}"}],"usage":{"input_tokens":1,"output_tokens":2}}"#,
        );
        assert_eq!((whole.choices, whole.finished, whole.text_bytes, whole.error), (1, 1, 3, false));
    }

    #[test]
    fn tools_that_the_provider_ran_are_charged_beside_the_tokens() {
        let searched =
            COMPLETED.replace(r#"{"type":"reasoning","summary":[]}"#, r#"{"type":"web_search_call","id":"w"}"#);
        assert_eq!(facts(&searched).beside, Some(WhyUnknown::Fees));
    }

    #[test]
    fn an_error_is_an_event_or_a_response_that_failed() {
        assert!(facts(r#"{"type":"error","code":"server_error","message":"m","param":null}"#).error);
        assert!(facts(r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"c"}}}"#).error);
        assert!(facts(r#"{"error":{"message":"m","type":"t"}}"#).error, "as a body");
    }
}
