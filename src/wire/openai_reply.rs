//! OpenAI Chat Completions replies: the facts that metering needs, from whole answers and from chunks.
//! <https://platform.openai.com/docs/api-reference/chat/object>, `…/chat-streaming`

use serde_json::{Value, json};

use crate::prompt::json::{JsonError, Scanner};
use crate::reply;
use crate::reply::facts::Facts;

use super::openai_usage::{self, Reported};
use super::vendors::Habits;

/// Most answers of one stream that are ended one by one: OpenAI makes at most 128.
const ENDED_ANSWERS_MAX: u64 = 128;

/// Reads one JSON object of a reply whose sender means by its words what OpenAI does.
///
/// # Errors
///
/// [`JsonError`] for what is not a JSON object.
pub fn read(json: &[u8]) -> Result<Facts, JsonError> {
    read_as(json, Habits::default())
}

/// Reads one JSON object of a vendor's reply.
///
/// # Errors
///
/// [`JsonError`] for what is not a JSON object.
pub fn read_as(json: &[u8], habits: Habits) -> Result<Facts, JsonError> {
    let mut s = Scanner::from_bytes(json)?;
    let mut facts = Facts::default();
    s.object::<JsonError>(|s, key| {
        match key.raw {
            "usage" => take_usage(&mut facts, s, habits)?,
            // Groq's streams tell it here, in the last chunk. <https://console.groq.com/docs/api-reference#chat>
            "x_groq" if s.peek() == Some(b'{') => {
                s.object::<JsonError>(
                    |s, key| {
                        if key.raw == "usage" { take_usage(&mut facts, s, habits) } else { s.pass() }
                    },
                )?;
            }
            "service_tier" => {
                facts.service_tier = s.string_or_skip()?.map(|tier| habits.charged_tier(&tier.decode()));
            }
            "choices" if s.peek() == Some(b'[') => {
                s.array::<JsonError>(|s| choice(s, &mut facts))?;
            }
            // As Mistral and the servers of open models write errors.
            "object" => facts.error |= s.string_or_skip()?.is_some_and(|object| object.raw == "error"),
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

fn take_usage(facts: &mut Facts, s: &mut Scanner<'_>, habits: Habits) -> Result<(), JsonError> {
    let range = s.skip()?;
    if let Some(Reported { usage, beside, stated }) = openai_usage::read(s.text(range), habits) {
        facts.usage = Some(facts.usage.map_or(usage, |before| before.max(usage)));
        facts.beside = facts.beside.max(beside);
        facts.stated = facts.stated.max(stated);
    }
    Ok(())
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
            // Legacy completions: <https://platform.openai.com/docs/api-reference/completions/object>
            "text" if s.peek() == Some(b'"') => {
                let text = s.string()?.decode();
                facts.text_bytes += text.len() as u64;
                facts.words += reply::words_begun(&text);
            }
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
                "content" | "refusal" | "reasoning_content" | "reasoning" | "arguments" | "name" | "input" | "text",
                Some(b'"'),
            ) => {
                let text = s.string()?.decode();
                facts.text_bytes += text.len() as u64;
                facts.words += reply::words_begun(&text);
            }
            // Content in parts, as Mistral writes thoughts: <https://docs.mistral.ai/capabilities/reasoning/>
            ("tool_calls" | "content" | "thinking", Some(b'[')) => {
                s.array::<JsonError>(|s| if s.peek() == Some(b'{') { generated(s, facts) } else { s.pass() })?;
            }
            ("function" | "custom" | "function_call", Some(b'{')) => generated(s, facts)?,
            _ => s.pass()?,
        }
        Ok(())
    })
    .map(drop)
}

/// The events that end each answer of a stream at its output limit, made after one of its own chunks; with `used`,
/// input and output tokens, also the one that tells usage. <https://platform.openai.com/docs/api-reference/chat-streaming>
pub fn length_ending(mut chunk: Value, answers: u64, used: Option<(u64, u64)>) -> String {
    let is_text = chunk["object"] == "text_completion";
    let ends = |index| match is_text {
        true => json!({ "text": "", "index": index, "logprobs": null, "finish_reason": "length" }),
        false => json!({ "index": index, "delta": {}, "logprobs": null, "finish_reason": "length" }),
    };
    let mut text = String::new();
    if let Some(chunk) = chunk.as_object_mut() {
        chunk.remove("usage");
        chunk.insert("choices".to_owned(), (0..answers.min(ENDED_ANSWERS_MAX)).map(ends).collect());
        text = format!("data: {}\n\n", json!(chunk));
        if let Some((input, output)) = used {
            let total = input.saturating_add(output);
            let usage = json!({ "prompt_tokens": input, "completion_tokens": output, "total_tokens": total });
            chunk.insert("choices".to_owned(), json!([]));
            chunk.insert("usage".to_owned(), usage);
            text.push_str(&format!("data: {}\n\n", json!(chunk)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::usage::{ServiceTier, Usage};

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
            ..Usage::default()
        };
        assert_eq!(facts.usage, Some(expected));
        assert_eq!((facts.service_tier, facts.choices, facts.finished), (Some(ServiceTier::Flex), 1, 1));
        assert_eq!((facts.text_bytes, facts.words), (5, 0));
        assert_eq!(read(br#"{"choices":[{"delta":{"content":" two words"}}]}"#).unwrap().words, 2);
    }

    #[test]
    fn an_explicit_zero_is_a_figure_and_null_is_none() {
        assert_eq!(read(br#"{"usage":null}"#).unwrap().usage, None);
        assert_eq!(read(br#"{}"#).unwrap().usage, None);
        let zero = read(br#"{"usage":{"prompt_tokens":0,"completion_tokens":0}}"#).unwrap();
        assert_eq!(zero.usage, Some(Usage::default()));
    }

    /// <https://github.com/vercel/ai/issues/1651>
    #[test]
    fn groq_tells_usage_in_a_member_of_its_own() {
        let last = br#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"x_groq":{"id":"req_1",
            "usage":{"queue_time":0.07,"prompt_tokens":23,"completion_tokens":19,"total_tokens":42}},"service_tier":"on_demand"}"#;
        let facts = read(last).unwrap();
        assert_eq!(facts.usage.map(|usage| (usage.input_tokens, usage.output_tokens)), Some((23, 19)));
        assert_eq!(facts.service_tier, Some(ServiceTier::Standard));
        let twice =
            String::from_utf8_lossy(last).replacen('{', r#"{"usage":{"prompt_tokens":23,"completion_tokens":19},"#, 1);
        assert_eq!(read(twice.as_bytes()).unwrap().usage, facts.usage);
        let first = read(br#"{"choices":[{"delta":{"role":"assistant"}}],"x_groq":{"id":"req_1"}}"#).unwrap();
        assert_eq!(first.usage, None);
    }

    #[test]
    fn groq_s_flex_tier_is_charged_at_list_price() {
        let flex = br#"{"service_tier":"flex"}"#;
        assert_eq!(read(flex).unwrap().service_tier, Some(ServiceTier::Flex));
        assert_eq!(read_as(flex, Habits::of("groq")).unwrap().service_tier, Some(ServiceTier::Standard));
    }

    #[test]
    fn content_in_parts_is_text_too() {
        let parts = br#"{"choices":[{"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"abc"}]},
            {"type":"text","text":"de"}]}}]}"#;
        assert_eq!(read(parts).unwrap().text_bytes, 5);
    }

    #[test]
    fn legacy_completions_have_their_text_in_the_choice() {
        let facts =
            read(br#"{"object":"text_completion","choices":[{"text":" ab cd","index":0,"finish_reason":"stop"}]}"#);
        let facts = facts.unwrap();
        assert_eq!((facts.text_bytes, facts.words, facts.finished), (6, 2, 1));
        let ending = length_ending(json!({ "id": "cmpl-1", "object": "text_completion" }), 1, None);
        assert!(ending.contains(r#""text":"""#) && !ending.contains("delta"), "{ending}");
    }

    #[test]
    fn text_is_as_long_as_it_is_when_it_is_read() {
        let escaped = br#"{"choices":[{"delta":{"content":"\u00e4\n\ud83d\ude00","reasoning":"a\u0020b"}}]}"#;
        assert_eq!(read(escaped).unwrap().text_bytes, 2 + 1 + 4 + 3);
    }

    /// llama.cpp counts in `timings` too, which leave out what was cached.
    #[test]
    fn timings_are_no_usage() {
        let last = br#"{"choices":[],"timings":{"cache_n":236,"prompt_n":1,"predicted_n":35,"predicted_ms":661.064}}"#;
        assert_eq!(read(last).unwrap().usage, None);
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
