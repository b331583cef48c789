//! OpenAI Chat Completions replies: the facts that metering needs, from whole answers and from chunks.
//! <https://platform.openai.com/docs/api-reference/chat/object>, `…/chat-streaming`

use serde::Deserialize;

use crate::prompt::json::{JsonError, Scanner};
use crate::reply::usage::{ServiceTier, Usage};

/// Usage beyond this many tokens is a defect of its sender, and would poison every sum that it entered.
const TOKENS_PLAUSIBLE_MAX: u64 = 1 << 40;

/// What a whole answer or one chunk of a stream says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// Usage, if it is there and not null.
    pub usage: Option<Usage>,
    /// Whether the usage has tokens of kinds that are priced apart, such as audio.
    pub other_kinds: bool,
    /// The price class that the provider applied.
    pub service_tier: Option<ServiceTier>,
    /// How many choices it carries.
    pub choices: u64,
    /// How many of them say why they ended.
    pub finished: u64,
    /// Bytes of generated text in it: content, refusals, reasoning, arguments of calls.
    pub text_bytes: u64,
    /// Whether it is an error object instead of an answer.
    pub error: bool,
}

/// Reads one JSON object of a reply.
///
/// # Errors
///
/// [`JsonError`] for what is not a JSON object.
pub fn read(json: &[u8]) -> Result<Facts, JsonError> {
    let mut s = Scanner::from_bytes(json)?;
    let mut facts = Facts::default();
    s.object::<JsonError>(|s, key| {
        match key.raw {
            "usage" => {
                let range = s.skip()?;
                if let Some((usage, other_kinds)) = read_usage(s.text(range)) {
                    facts.usage = Some(usage);
                    facts.other_kinds |= other_kinds;
                }
            }
            "service_tier" => {
                facts.service_tier = s.string_or_skip()?.map(|tier| ServiceTier::from_reply(&tier.decode()));
            }
            "choices" if s.peek() == Some(b'[') => {
                s.array::<JsonError>(|s| choice(s, &mut facts))?;
            }
            "error" => {
                let range = s.skip()?;
                // An object or a text says what went wrong; empty ones, `false` and `null` say that nothing did.
                let said = s.text(range);
                facts.error |=
                    said.starts_with(['{', '"']) && said.len() > 2 && !said[1..said.len() - 1].trim_ascii().is_empty();
            }
            _ => s.pass()?,
        }
        Ok(())
    })?;
    s.end()?;
    Ok(facts)
}

fn choice(s: &mut Scanner<'_>, facts: &mut Facts) -> Result<(), JsonError> {
    facts.choices += 1;
    if s.peek() != Some(b'{') {
        return s.pass();
    }
    s.object::<JsonError>(|s, key| {
        match key.raw {
            "finish_reason" => {
                let range = s.skip()?;
                facts.finished += u64::from(s.text(range) != "null");
            }
            "delta" | "message" if s.peek() == Some(b'{') => generated(s, facts)?,
            _ => s.pass()?,
        }
        Ok(())
    })
    .map(drop)
}

/// Adds up the text of a message or delta, nested calls included.
fn generated(s: &mut Scanner<'_>, facts: &mut Facts) -> Result<(), JsonError> {
    s.object::<JsonError>(|s, key| {
        match (key.raw, s.peek()) {
            (
                "content" | "refusal" | "reasoning_content" | "reasoning" | "arguments" | "name" | "input",
                Some(b'"'),
            ) => {
                facts.text_bytes += s.string()?.raw.len() as u64;
            }
            ("tool_calls", Some(b'[')) => {
                s.array::<JsonError>(|s| if s.peek() == Some(b'{') { generated(s, facts) } else { s.pass() })?;
            }
            ("function" | "custom" | "function_call", Some(b'{')) => generated(s, facts)?,
            _ => s.pass()?,
        }
        Ok(())
    })
    .map(drop)
}

/// Cached, cache-write and reasoning tokens are parts of their totals here already. Figures that contradict
/// that are taken for what they must at least mean: a whole is never less than its parts.
fn read_usage(json: &str) -> Option<(Usage, bool)> {
    #[derive(Deserialize)]
    struct Wire {
        prompt_tokens: Option<u64>,
        completion_tokens: Option<u64>,
        total_tokens: Option<u64>,
        #[serde(default)]
        prompt_tokens_details: Option<Prompt>,
        #[serde(default)]
        completion_tokens_details: Option<Completion>,
    }
    #[derive(Deserialize, Default)]
    struct Prompt {
        cached_tokens: Option<u64>,
        cache_write_tokens: Option<u64>,
        audio_tokens: Option<u64>,
    }
    #[derive(Deserialize, Default)]
    struct Completion {
        reasoning_tokens: Option<u64>,
        audio_tokens: Option<u64>,
    }
    let wire: Wire = serde_json::from_str::<Option<Wire>>(json).ok()??;
    let prompt = wire.prompt_tokens_details.unwrap_or_default();
    let completion = wire.completion_tokens_details.unwrap_or_default();
    let (input, output) = (wire.prompt_tokens?, wire.completion_tokens?);
    if input.max(output) > TOKENS_PLAUSIBLE_MAX {
        return None;
    }
    let (cached, written) = (prompt.cached_tokens.unwrap_or(0), prompt.cache_write_tokens.unwrap_or(0));
    let reasoning = completion.reasoning_tokens.unwrap_or(0);
    // Some providers count reasoning beside the completion and not in it; their total tells.
    let beside = input.saturating_add(output).saturating_add(reasoning);
    let output =
        if reasoning > 0 && wire.total_tokens == Some(beside) { output.saturating_add(reasoning) } else { output };
    let usage = Usage {
        input_tokens: input.max(cached.saturating_add(written)),
        cached_input_tokens: cached,
        cache_write_tokens: written,
        cache_write_1h_tokens: 0,
        output_tokens: output.max(reasoning),
        reasoning_tokens: reasoning,
    };
    let audio = prompt.audio_tokens.unwrap_or(0) > 0 || completion.audio_tokens.unwrap_or(0) > 0;
    Some((usage, audio))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_comes_out_with_its_parts() {
        let facts = read(
            br#"{"choices":[{"message":{"content":"hi","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]},"finish_reason":"stop"}],
            "service_tier":"flex","usage":{"prompt_tokens":10,"completion_tokens":7,"total_tokens":17,
            "prompt_tokens_details":{"cached_tokens":4,"cache_write_tokens":2,"audio_tokens":null},"completion_tokens_details":{"reasoning_tokens":5}}}"#,
        )
        .unwrap();
        let expected = Usage {
            input_tokens: 10,
            cached_input_tokens: 4,
            cache_write_tokens: 2,
            cache_write_1h_tokens: 0,
            output_tokens: 7,
            reasoning_tokens: 5,
        };
        assert_eq!(facts.usage, Some(expected));
        assert_eq!((facts.service_tier, facts.choices, facts.finished), (Some(ServiceTier::Flex), 1, 1));
        assert_eq!(facts.text_bytes, 5);
    }

    #[test]
    fn an_explicit_zero_is_a_figure_and_null_is_none() {
        assert_eq!(read(br#"{"usage":null}"#).unwrap().usage, None);
        assert_eq!(read(br#"{}"#).unwrap().usage, None);
        let zero = read(br#"{"usage":{"prompt_tokens":0,"completion_tokens":0}}"#).unwrap();
        assert_eq!(zero.usage, Some(Usage::default()));
    }

    #[track_caller]
    fn check_usage(json: &str, expected: Option<(u64, u64, bool)>) {
        let facts = read(format!("{{\"usage\":{json}}}").as_bytes()).unwrap();
        assert_eq!(facts.usage.map(|u| (u.input_tokens, u.output_tokens, facts.other_kinds)), expected, "{json}");
    }

    #[test]
    fn a_figure_that_is_missing_is_not_zero() {
        check_usage(r#"{"prompt_tokens":1000}"#, None);
        check_usage(r#"{"completion_tokens":1000}"#, None);
        check_usage(r#"{"prompt_tokens":18446744073709551615,"completion_tokens":1}"#, None);
    }

    #[test]
    fn a_whole_is_never_less_than_its_parts() {
        let reasoning = r#""completion_tokens_details":{"reasoning_tokens":300}"#;
        check_usage(
            &format!(r#"{{"prompt_tokens":1000,"completion_tokens":10,"total_tokens":1310,{reasoning}}}"#),
            Some((1000, 310, false)),
        );
        check_usage(
            &format!(r#"{{"prompt_tokens":1000,"completion_tokens":10,{reasoning}}}"#),
            Some((1000, 300, false)),
        );
        check_usage(
            &format!(r#"{{"prompt_tokens":1000,"completion_tokens":400,"total_tokens":1400,{reasoning}}}"#),
            Some((1000, 400, false)),
        );
        check_usage(
            r#"{"prompt_tokens":10,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":1000}}"#,
            Some((1000, 1, false)),
        );
    }

    #[test]
    fn kinds_that_are_priced_apart_are_noticed() {
        check_usage(
            r#"{"prompt_tokens":10,"completion_tokens":1,"completion_tokens_details":{"audio_tokens":1}}"#,
            Some((10, 1, true)),
        );
    }

    #[test]
    fn the_word_usage_inside_content_is_only_text() {
        let facts =
            read(br#"{"choices":[{"delta":{"content":"\"usage\":{\"prompt_tokens\":9}"},"finish_reason":null}]}"#)
                .unwrap();
        assert_eq!((facts.usage, facts.finished), (None, 0));
    }

    #[test]
    fn an_error_object_is_told_from_an_answer() {
        assert!(read(br#"{"error":{"message":"overloaded"}}"#).unwrap().error);
        assert!(read(br#"{"error":"overloaded"}"#).unwrap().error);
        for nothing in ["null", "false", "{}", "{ }", "\"\"", "[]"] {
            assert!(!read(format!("{{\"error\":{nothing},\"choices\":[]}}").as_bytes()).unwrap().error, "{nothing}");
        }
    }
}
