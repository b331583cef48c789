use super::replies::TOLD;
use super::*;
use crate::translate::stream::{Stream, UsageChunk};

/// What a stream becomes: the data of each event, after its name where it has one.
pub(super) fn streamed(from: Dialect, to: Dialect, events: &[Value], last: &str) -> Vec<(String, Value)> {
    let mut stream = Stream::new(from, to, &TOLD, UsageChunk::Asked).unwrap();
    let mut out = String::new();
    let events: Vec<String> = events.iter().map(Value::to_string).chain([last.to_owned()]).collect();
    for event in &events {
        stream.event(event.as_bytes(), None, &mut out).unwrap();
    }
    let data = |data: &str| serde_json::from_str(data).unwrap_or(Value::String(data.to_owned()));
    out.split_terminator("\n\n")
        .filter(|event| !event.starts_with(':'))
        .map(|event| match event.split_once("\ndata: ") {
            Some((name, rest)) => (name.strip_prefix("event: ").unwrap().to_owned(), data(rest)),
            None => (String::new(), data(event.strip_prefix("data: ").unwrap())),
        })
        .collect()
}

pub(super) fn chunk(delta: Value, reason: Value) -> Value {
    json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "gpt-x",
        "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})
}

pub(super) fn call(index: u64, id: Value, name: Value, arguments: &str) -> Value {
    let call = json!({"index": index, "id": id, "function": {"name": name, "arguments": arguments}});
    chunk(json!({ "tool_calls": [call] }), Value::Null)
}

/// The blocks that a stream of Messages is put together to: kind, and text or arguments. Fails if they interleave.
fn blocks(events: &[(String, Value)]) -> Vec<(String, String)> {
    let (mut blocks, mut open) = (Vec::<(String, String)>::new(), false);
    for (name, data) in events {
        assert_eq!(data["type"], name.as_str());
        match name.as_str() {
            "content_block_start" => {
                assert!(!open && data["index"] == blocks.len());
                let block = &data["content_block"];
                let kind = block["name"].as_str().or(block["type"].as_str()).unwrap();
                blocks.push((kind.to_owned(), String::new()));
                open = true;
            }
            "content_block_delta" => {
                assert!(open && data["index"] == blocks.len() - 1);
                let delta = &data["delta"];
                let piece = delta["text"].as_str().or(delta["partial_json"].as_str()).unwrap();
                blocks.last_mut().unwrap().1.push_str(piece);
            }
            "content_block_stop" => open = false,
            _ => assert!(!open, "{name}"),
        }
    }
    blocks
}

#[test]
fn a_stream_of_chunks_becomes_events_of_messages() {
    let null = Value::Null;
    let events = [
        json!({"id": "", "choices": [], "prompt_filter_results": []}),
        chunk(json!({"role": "assistant", "content": ""}), null.clone()),
        chunk(json!({"content": "H\u{2028}"}), null.clone()),
        chunk(json!({"content": "i"}), null),
        chunk(json!({}), json!("stop")),
        json!({"id": "chatcmpl-1", "choices": [], "usage": {"prompt_tokens": 1}}),
    ];
    let said = streamed(Dialect::Chat, Dialect::Messages, &events, "[DONE]");
    let names: Vec<&str> = said.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(names, expected);
    assert_eq!(blocks(&said), [("text".to_owned(), "H\u{2028}i".to_owned())]);
    assert_eq!(
        (&said[0].1["message"]["id"], &said[0].1["message"]["usage"]["input_tokens"]),
        (&json!("msg_chatcmpl-1"), &json!(25))
    );
    assert_eq!(
        (&said[5].1["delta"]["stop_reason"], &said[5].1["usage"]["output_tokens"]),
        (&json!("end_turn"), &json!(9))
    );
}

#[test]
fn calls_that_come_in_turns_follow_one_another() {
    let null = Value::Null;
    let events = [
        chunk(json!({"content": "x"}), null.clone()),
        call(0, json!("c0"), json!("f"), ""),
        call(1, json!("c1"), json!("g"), "{\"b\""),
        call(0, null.clone(), null.clone(), "{\"a\":"),
        call(1, null.clone(), null.clone(), ":2}"),
        call(0, null.clone(), null, "1}"),
        chunk(json!({}), json!("tool_calls")),
    ];
    let said = streamed(Dialect::Chat, Dialect::Messages, &events, "[DONE]");
    let pair = |kind: &str, text: &str| (kind.to_owned(), text.to_owned());
    assert_eq!(blocks(&said), [pair("text", "x"), pair("f", "{\"a\":1}"), pair("g", "{\"b\":2}")]);
    assert_eq!(said[said.len() - 2].1["delta"]["stop_reason"], "tool_use");
}

#[test]
fn events_of_messages_become_a_stream_of_chunks() {
    let start =
        |index: u64, block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
    let delta = |index: u64, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let stop = |index: u64| json!({"type": "content_block_stop", "index": index});
    let events = [
        json!({"type": "message_start", "message": {"id": "msg_1", "model": "claude-x", "content": [], "usage": {}}}),
        start(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        delta(0, json!({"type": "thinking_delta", "thinking": "hm"})),
        delta(0, json!({"type": "signature_delta", "signature": "s"})),
        stop(0),
        json!({"type": "ping"}),
        start(1, json!({"type": "text", "text": ""})),
        delta(1, json!({"type": "text_delta", "text": "Hi"})),
        stop(1),
        start(2, json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}})),
        delta(2, json!({"type": "input_json_delta", "partial_json": "{}"})),
        stop(2),
        start(3, json!({"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}})),
        delta(3, json!({"type": "input_json_delta", "partial_json": ""})),
        delta(3, json!({"type": "input_json_delta", "partial_json": "{\"a\":1}"})),
        stop(3),
        start(4, json!({"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}})),
        stop(4),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {}}),
    ];
    let said = streamed(Dialect::Messages, Dialect::Chat, &events, r#"{"type":"message_stop"}"#);
    let deltas: Vec<&Value> = said.iter().map(|(_, data)| &data["choices"][0]["delta"]).collect();
    let piece =
        |index: u64, arguments: &str| json!({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]});
    let begins = |index: u64, id: &str, name: &str| json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}]});
    let expected = [
        json!({"role": "assistant", "content": "", "refusal": null}),
        json!({"content": "Hi"}),
        begins(0, "toolu_1", "f"),
        piece(0, "{\"a\":1}"),
        begins(1, "toolu_2", "g"),
        piece(1, "{}"),
        json!({}),
        Value::Null,
        Value::Null,
    ];
    assert_eq!(deltas, expected.iter().collect::<Vec<_>>());
    let (end, usage, done) = (&said[6].1, &said[7].1, &said[8].1);
    assert_eq!((&end["choices"][0]["finish_reason"], &end["usage"]), (&json!("tool_calls"), &Value::Null));
    assert!(end.as_object().unwrap().contains_key("usage"));
    assert_eq!((&usage["choices"], &usage["usage"]["prompt_tokens"]), (&json!([]), &json!(100)));
    assert_eq!(done, "[DONE]");
}

#[test]
fn an_error_amid_a_stream_is_no_part_of_an_answer() {
    for (from, to, data) in [
        (Dialect::Chat, Dialect::Messages, r#"{"error":{"message":"x"}}"#),
        (Dialect::Messages, Dialect::Chat, r#"{"type":"error","error":{"type":"overloaded_error"}}"#),
    ] {
        let mut stream = Stream::new(from, to, &TOLD, UsageChunk::Unasked).unwrap();
        let mut out = String::new();
        let error = stream.event(data.as_bytes(), None, &mut out).unwrap_err();
        assert_eq!((error.to_string().as_str(), out.as_str()), ("`error` is no part of an answer", ""));
    }
}

#[test]
fn thoughts_that_nobody_seals_are_read_and_come_back_to_who_wants_them() {
    let null = Value::Null;
    let events = [
        chunk(json!({"role": "assistant", "content": "", "reasoning_content": "h", "reasoning": "h"}), null.clone()),
        chunk(json!({"reasoning": "m", "reasoning_content": "m"}), null.clone()),
        chunk(json!({"content": "Hi"}), null),
        chunk(json!({}), json!("stop")),
    ];
    let said = streamed(Dialect::Chat, Dialect::Messages, &events, "[DONE]");
    let pieces = |key: &str| -> String { said.iter().filter_map(|(_, data)| data["delta"][key].as_str()).collect() };
    assert_eq!((&*pieces("thinking"), &*pieces("signature"), &*pieces("text")), ("hm", "fx1.none", "Hi"));
    let back = json!({"model": "m", "max_tokens": 9, "messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "fx1.none"},
            {"type": "text", "text": "Hi"}]}]});
    let said = json!({"role": "assistant", "content": "Hi"});
    let wanted = json!({"role": "assistant", "content": "Hi", "reasoning_content": "hm"});
    for (vendor, expected) in [("deepseek", wanted), ("mistral", said)] {
        let (asked, dropped) = written(Dialect::Messages, Dialect::Chat, &back, &terms(vendor, "m"));
        assert_eq!((&asked["messages"][1], dropped), (&expected, vec![]), "{vendor}");
    }
}

#[test]
fn a_stream_of_chat_has_thoughts_for_whoever_asks() {
    let delta = |delta: Value| json!({"type": "content_block_delta", "index": 0, "delta": delta});
    let events = [
        json!({"type": "message_start", "message": {"id": "msg_1", "model": "claude-x"}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}),
        delta(json!({"type": "thinking_delta", "thinking": "hm"})),
        delta(json!({"type": "signature_delta", "signature": "s"})),
        json!({"type": "content_block_stop", "index": 0}),
    ];
    for (request, expected) in [(r#"{"include_reasoning": true}"#, 1), ("{}", 0)] {
        let told = Told { request: request.as_bytes(), ..TOLD };
        let mut stream = Stream::new(Dialect::Messages, Dialect::Chat, &told, UsageChunk::Asked).unwrap();
        let mut out = String::new();
        for event in &events {
            stream.event(event.to_string().as_bytes(), None, &mut out).unwrap();
        }
        assert_eq!(out.matches(r#""delta":{"reasoning_content":"hm"}"#).count(), expected, "{out}");
    }
}

/// Calls as they are begun in a stream of Messages.
fn ids(events: &[(String, Value)]) -> Vec<&str> {
    events.iter().filter_map(|(_, data)| data["content_block"]["id"].as_str()).collect()
}

fn pair(kind: &str, text: &str) -> (String, String) {
    (kind.to_owned(), text.to_owned())
}

#[test]
fn calls_are_whole_though_nobody_says_why_the_answer_ended() {
    let null = Value::Null;
    let events = [
        call(0, json!("c0"), json!("f"), "{\"a\":1}"),
        call(1, json!("c1"), json!("g"), "{\"b\""),
        call(1, null.clone(), null, ":2}"),
    ];
    let said = streamed(Dialect::Chat, Dialect::Messages, &events, "[DONE]");
    assert_eq!(blocks(&said), [pair("f", "{\"a\":1}"), pair("g", "{\"b\":2}")]);
    assert_eq!(said[said.len() - 2].1["delta"]["stop_reason"], "tool_use");
}

#[test]
fn a_call_with_another_id_is_another_call_and_one_without_an_id_gets_one() {
    let events = [
        call(0, json!("c0"), json!("f"), "{}"),
        call(0, json!("c1"), json!("f"), "{}"),
        call(0, json!("c1"), json!(""), ""),
        call(1, json!(""), json!("g"), "{}"),
        chunk(json!({"tool_calls": [{"index": 2, "function": {"name": "h", "arguments": {"a": 1}}}]}), Value::Null),
        chunk(json!({}), json!("tool_calls")),
    ];
    let said = streamed(Dialect::Chat, Dialect::Messages, &events, "[DONE]");
    assert_eq!(blocks(&said), [pair("f", "{}"), pair("f", "{}"), pair("g", "{}"), pair("h", "{\"a\":1}")]);
    let found = ids(&said);
    assert!(found[..2] == ["c0", "c1"] && found[2].starts_with("call_") && found[2] != found[3], "{found:?}");
}

#[test]
fn what_is_said_between_the_pieces_of_a_call_stands_behind_it() {
    let null = Value::Null;
    let events = [
        call(0, json!("c0"), json!("f"), "{\"a\":"),
        chunk(json!({"content": "so"}), null.clone()),
        call(0, null.clone(), null, "1}"),
        chunk(json!({"content": " it is"}), Value::Null),
        chunk(json!({}), json!("tool_calls")),
    ];
    let said = streamed(Dialect::Chat, Dialect::Messages, &events, "[DONE]");
    assert_eq!(blocks(&said), [pair("f", "{\"a\":1}"), pair("text", "so it is")]);
}

#[test]
fn content_in_parts_is_told_as_thoughts_and_texts() {
    let thinks = json!([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]);
    let events = [
        chunk(json!({ "content": thinks }), Value::Null),
        chunk(json!({"content": [{"type": "text", "text": "Hi"}]}), Value::Null),
        chunk(json!({}), json!("stop")),
    ];
    let said = streamed(Dialect::Chat, Dialect::Messages, &events, "[DONE]");
    let pieces = |key: &str| -> String { said.iter().filter_map(|(_, data)| data["delta"][key].as_str()).collect() };
    assert_eq!((&*pieces("thinking"), &*pieces("text")), ("hm", "Hi"));
}

#[test]
fn a_stream_that_says_that_the_answer_failed_has_no_end() {
    for reason in ["error", "insufficient_system_resource", "function_call_filter: MALFORMED_FUNCTION_CALL"] {
        let mut stream = Stream::new(Dialect::Chat, Dialect::Messages, &TOLD, UsageChunk::Unasked).unwrap();
        let mut out = String::new();
        stream.event(chunk(json!({"content": "x"}), Value::Null).to_string().as_bytes(), None, &mut out).unwrap();
        let end = chunk(json!({}), json!(reason)).to_string();
        let error = stream.event(end.as_bytes(), None, &mut out).unwrap_err();
        assert!(error.to_string().contains("finish_reason") && !out.contains("message_stop"), "{error}");
    }
}

#[test]
fn a_signature_of_google_s_is_a_seal_of_its_own_in_a_stream() {
    let signed = |index: u64, id: &str, signature: &str| {
        json!({"index": index, "id": id, "function": {"name": "f", "arguments": "{}"},
            "extra_content": {"google": {"thought_signature": signature}}})
    };
    let late = json!({"index": 0, "extra_content": {"google": {"thought_signature": "late"}}});
    for (first, more, expected) in [
        (signed(0, "c0", "s0"), json!([]), vec!["fx1.google.c0.s0"]),
        (signed(0, "c0", ""), json!([late]), vec!["fx1.google.c0.late"]),
        (signed(0, "c0", "s0"), json!([signed(1, "c1", "s1")]), vec!["fx1.google.c0.s0", "fx1.google.c1.s1"]),
    ] {
        let events = [
            chunk(json!({"tool_calls": [first]}), Value::Null),
            chunk(json!({ "tool_calls": more }), Value::Null),
            chunk(json!({}), json!("tool_calls")),
        ];
        let said = streamed(Dialect::Chat, Dialect::Messages, &events, "[DONE]");
        let seals: Vec<&str> = said.iter().filter_map(|(_, data)| data["content_block"]["data"].as_str()).collect();
        assert_eq!(seals, expected);
        assert_eq!(ids(&said).len(), 1 + more.as_array().unwrap().iter().filter(|call| call["id"].is_string()).count());
    }
}

#[test]
fn a_call_that_a_host_of_messages_tells_at_once_is_told_whole() {
    let tool = json!({"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}});
    let events = [
        json!({"type": "message_start", "message": {"id": null, "content": [], "usage": {}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": tool}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{\"a\":1}"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {}}),
    ];
    let said = streamed(Dialect::Messages, Dialect::Chat, &events, r#"{"type":"message_stop"}"#);
    let pieces: String = said
        .iter()
        .filter_map(|(_, data)| data["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"].as_str())
        .collect();
    assert_eq!(pieces, "{\"a\":1}");
    assert!(said[0].1["id"].as_str().unwrap().len() > "chatcmpl-".len(), "{}", said[0].1);
    assert_eq!(said[0].1["model"], "unknown");
}
