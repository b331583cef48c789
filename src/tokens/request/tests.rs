use serde_json::{Value, json};

use super::*;

#[track_caller]
fn check(body: &Value, expected: u64) {
    let body = body.to_string();
    let counted = count_request(Encoding::O200k, body.as_bytes(), &mut Memo::default());
    assert_eq!(counted, Ok(expected), "{body}");
}

fn tokens(text: &str) -> u64 {
    count(Encoding::O200k, text)
}

/// The cookbook's example, and what OpenAI's API reports for it: 124 with GPT-4o.
/// <https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken>
#[test]
fn the_cookbook_s_messages_count_as_openai_reports() {
    let user = |name: &str, text: &str| json!({"role": "system", "name": name, "content": text});
    check(
        &json!({"model": "gpt-4o", "messages": [
            {"role": "system", "content": "You are a helpful, pattern-following assistant that translates corporate jargon into plain English."},
            user("example_user", "New synergies will help drive top-line growth."),
            user("example_assistant", "Things working well together will increase revenue."),
            user("example_user", "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage."),
            user("example_assistant", "Let's talk later when we're less busy about how to do better."),
            {"role": "user", "content": "This late pivot means we don't have time to boil the ocean for the client deliverable."},
        ]}),
        124,
    );
}

/// The cookbook's tool, and what OpenAI's API reports for it: 101 with GPT-4o.
#[test]
fn the_cookbook_s_tools_count_as_openai_reports() {
    check(
        &json!({
            "model": "gpt-4o",
            "tools": [{"type": "function", "function": {
                "name": "get_current_weather",
                "description": "Get the current weather in a given location",
                "parameters": {
                    "type": "object",
                    "properties": {
                        "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"},
                        "unit": {"type": "string", "description": "The unit of temperature to return", "enum": ["celsius", "fahrenheit"]},
                    },
                    "required": ["location"],
                },
            }}],
            "messages": [
                {"role": "system", "content": "You are a helpful assistant that can answer to questions about the weather."},
                {"role": "user", "content": "What's the weather like in San Francisco?"},
            ],
        }),
        101,
    );
}

#[test]
fn calls_results_and_parts_are_text_and_ids_are_not() {
    let call =
        json!({"id": "call_1234567890", "type": "function", "function": {"name": "run", "arguments": "{\"a\":1}"}});
    let text = tokens("assistant") + tokens("{\"a\":1}") + tokens("run");
    check(
        &json!({"messages": [{"role": "assistant", "content": null, "tool_calls": [call]}]}),
        ANSWER + 2 * MESSAGE + NAME + text,
    );
    let parts = json!([{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]);
    let text = tokens("user") + tokens("one") + tokens("two");
    check(&json!({"messages": [{"role": "user", "content": parts}]}), ANSWER + MESSAGE + text);
}

#[test]
fn images_are_estimated_by_their_detail() {
    let image = |detail: &str| json!([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": detail}}]);
    for (detail, expected) in [("low", IMAGE_LOW), ("high", IMAGE), ("auto", IMAGE)] {
        let body = json!({"messages": [{"role": "user", "content": image(detail)}]});
        check(&body, ANSWER + MESSAGE + tokens("user") + expected);
    }
}

#[test]
fn escapes_count_as_what_they_mean() {
    for content in [r#""caf\u00e9 \ud83e\udd80""#, "\"caf\u{e9} \u{1F980}\""] {
        let body = format!(r#"{{"messages":[{{"role":"user","content":{content}}}]}}"#);
        let counted = count_request(Encoding::O200k, body.as_bytes(), &mut Memo::default());
        assert_eq!(counted, Ok(ANSWER + MESSAGE + tokens("user") + tokens("caf\u{e9} \u{1F980}")));
    }
}

#[test]
fn a_memo_changes_no_count() {
    let mut memo = Memo::default();
    let mut messages = Vec::new();
    for turn in 0..20 {
        messages.push(json!({"role": "user", "content": format!("turn {turn} of the same conversation")}));
        let body = json!({"messages": messages}).to_string();
        let fresh = count_request(Encoding::O200k, body.as_bytes(), &mut Memo::default());
        assert_eq!(count_request(Encoding::O200k, body.as_bytes(), &mut memo), fresh);
    }
    assert_eq!(memo.len(), 20);
}

#[test]
fn odd_bodies_are_counted_and_broken_ones_refused() {
    let odd = json!({"messages": [1, null, "x", [], {}, {"role": 7, "content": {"a": "b"}}], "tools": [null, {}, {"function": {"parameters": {"properties": {"a": 1, "b": {"type": "array", "items": {"enum": [1, "x"]}}}}}}]});
    assert!(count_request(Encoding::O200k, odd.to_string().as_bytes(), &mut Memo::default()).is_ok());
    for broken in ["", "[]", "{", r#"{"messages":[{]}"#] {
        assert!(count_request(Encoding::O200k, broken.as_bytes(), &mut Memo::default()).is_err(), "{broken}");
    }
}

#[test]
fn deep_nesting_neither_overflows_nor_is_lost() {
    let mut schema = json!({"type": "string", "description": "the deepest"});
    let mut part = json!({"role": "user", "content": "the deepest"});
    for _ in 0..40 {
        schema = json!({"type": "object", "properties": {"a": schema}});
        part = json!({"content": [part]});
    }
    let body = json!({"messages": [part], "tools": [{"function": {"name": "f", "parameters": schema}}]}).to_string();
    let counted = count_request(Encoding::O200k, body.as_bytes(), &mut Memo::default()).expect("a count");
    assert!(counted > 100 && counted < body.len() as u64, "{counted} of {}", body.len());
}

#[test]
fn what_is_nested_too_deeply_to_be_read_counts_as_the_text_that_it_is() {
    let counted = |levels: usize, unknown: &str| {
        let mut part = json!({ "unknown": unknown });
        for _ in 0..levels {
            part = json!({ "content": [part] });
        }
        let body = json!({ "messages": [part] }).to_string();
        count_request(Encoding::O200k, body.as_bytes(), &mut Memo::default()).expect("a count")
    };
    let text = "the words of a member that nobody knows";
    assert_eq!(counted(DEPTH_MAX - 1, text), counted(DEPTH_MAX - 1, ""));
    assert!(counted(DEPTH_MAX, text) > counted(DEPTH_MAX, "") + 5);
}
