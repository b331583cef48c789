use super::replies::TOLD;
use super::streams::{call, chunk};
use super::*;
use crate::translate::stream::{Stream, UsageChunk};

const REQUEST: &str = r#"{"model":"gpt-x","input":"hi","include":["reasoning.encrypted_content"],
  "tools":[{"type":"custom","name":"apply_patch"},{"type":"namespace","name":"crm","tools":[{"type":"function","name":"read"}]}]}"#;

/// What a stream becomes for a client of Responses, whose events are numbered without a gap.
#[track_caller]
fn responded(from: Dialect, events: &[Value], last: &str) -> Vec<Value> {
    let told = Told { request: REQUEST.as_bytes(), ..TOLD };
    let mut stream = Stream::new(from, Dialect::Responses, &told, UsageChunk::Unasked).unwrap();
    let mut out = String::new();
    for event in events.iter().map(Value::to_string).chain([last.to_owned()]) {
        stream.event(event.as_bytes(), None, &mut out).unwrap();
    }
    let read = |(number, event): (usize, &str)| {
        let (name, data) = event.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!((&data["type"], &data["sequence_number"]), (&json!(name), &json!(number)));
        data
    };
    // A comment says that the provider is there, and is no event.
    out.split_terminator("\n\n").filter(|event| !event.starts_with(':')).enumerate().map(read).collect()
}

/// Each event in short: its kind, its places, and what it says.
fn told(events: &[Value]) -> Vec<String> {
    let word = |event: &Value| {
        let places: String = ["output_index", "content_index", "summary_index"]
            .iter()
            .filter_map(|key| Some(format!(" {}", event.get(*key)?)))
            .collect();
        let said = ["delta", "text", "arguments", "input", "refusal"].iter().find_map(|key| event.get(*key));
        let item = || event.get("item").or(event.get("part")).map(|item| &item["type"]);
        let said = said.or_else(item).map_or(String::new(), |said| format!(" {said}"));
        let kind = event["type"].as_str().unwrap().strip_prefix("response.").unwrap().to_owned();
        kind + &places + &said
    };
    events.iter().map(word).collect()
}

/// The last event has what every item had when it was done, and deltas add up to what was told as a whole.
#[track_caller]
fn adds_up(events: &[Value]) {
    let done: Vec<&Value> = events
        .iter()
        .filter(|event| event["type"] == "response.output_item.done")
        .map(|event| &event["item"])
        .collect();
    let mut output: Vec<&Value> = events.last().unwrap()["response"]["output"].as_array().unwrap().iter().collect();
    output.sort_by_key(|item| item["id"].as_str());
    let mut sorted = done;
    sorted.sort_by_key(|item| item["id"].as_str());
    assert_eq!(output, sorted);
    let mut pieces = std::collections::HashMap::<String, String>::new();
    for event in events {
        let (kind, id) = (event["type"].as_str().unwrap(), &event["item_id"]);
        let whole = ["text", "arguments", "input", "refusal"].iter().find_map(|key| event.get(*key)?.as_str());
        let place = |kind: &str| format!("{kind} {id} {} {}", event["content_index"], event["summary_index"]);
        if let Some(kind) = kind.strip_suffix(".delta") {
            pieces.entry(place(kind)).or_default().push_str(event["delta"].as_str().unwrap());
        } else if let (Some(kind), Some(whole)) = (kind.strip_suffix(".done"), whole) {
            assert_eq!(pieces.remove(&place(kind)).unwrap_or_default(), whole, "{event}");
        }
    }
    assert!(pieces.is_empty(), "{pieces:?}");
}

fn start(index: u64, block: Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block})
}

fn delta(index: u64, delta: Value) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": delta})
}

fn stop(index: u64) -> Value {
    json!({"type": "content_block_stop", "index": index})
}

fn begun() -> Value {
    json!({"type": "message_start", "message": {"id": "msg_1", "model": "claude-x", "content": [], "usage": {}}})
}

fn ended(reason: &str, more: Value) -> Value {
    let mut delta = json!({"stop_reason": reason});
    delta.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"type": "message_delta", "delta": delta, "usage": {}})
}

#[test]
fn events_of_messages_become_events_of_responses() {
    let piece = |index: u64, json: &str| delta(index, json!({"type": "input_json_delta", "partial_json": json}));
    let events = [
        begun(),
        start(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        delta(0, json!({"type": "thinking_delta", "thinking": "h"})),
        delta(0, json!({"type": "thinking_delta", "thinking": "m"})),
        delta(0, json!({"type": "signature_delta", "signature": "Er0="})),
        stop(0),
        json!({"type": "ping"}),
        start(1, json!({"type": "text", "text": ""})),
        delta(1, json!({"type": "text_delta", "text": "H\u{2028}"})),
        delta(1, json!({"type": "text_delta", "text": "i"})),
        stop(1),
        start(2, json!({"type": "tool_use", "id": "toolu_1", "name": "apply_patch", "input": {}})),
        piece(2, ""),
        piece(2, "{\"inp"),
        piece(2, "ut\": \"a\\"),
        piece(2, "nb\"}"),
        stop(2),
        start(3, json!({"type": "tool_use", "id": "toolu_2", "name": "crm__read", "input": {}})),
        stop(3),
        ended("tool_use", json!({})),
    ];
    let events = responded(Dialect::Messages, &events, r#"{"type":"message_stop"}"#);
    let expected = [
        "created",
        "in_progress",
        "output_item.added 0 \"reasoning\"",
        "reasoning_summary_part.added 0 0 \"summary_text\"",
        "reasoning_summary_text.delta 0 0 \"h\"",
        "reasoning_summary_text.delta 0 0 \"m\"",
        "reasoning_summary_text.done 0 0 \"hm\"",
        "reasoning_summary_part.done 0 0 \"summary_text\"",
        "output_item.done 0 \"reasoning\"",
        "output_item.added 1 \"message\"",
        "content_part.added 1 0 \"output_text\"",
        "output_text.delta 1 0 \"H\u{2028}\"",
        "output_text.delta 1 0 \"i\"",
        "output_text.done 1 0 \"H\u{2028}i\"",
        "content_part.done 1 0 \"output_text\"",
        "output_item.done 1 \"message\"",
        "output_item.added 2 \"custom_tool_call\"",
        "custom_tool_call_input.delta 2 \"a\"",
        "custom_tool_call_input.delta 2 \"\\nb\"",
        "custom_tool_call_input.done 2 \"a\\nb\"",
        "output_item.done 2 \"custom_tool_call\"",
        "output_item.added 3 \"function_call\"",
        "function_call_arguments.delta 3 \"{}\"",
        "function_call_arguments.done 3 \"{}\"",
        "output_item.done 3 \"function_call\"",
        "completed",
    ];
    assert_eq!(told(&events), expected);
    adds_up(&events);
    let (first, last) = (&events[0]["response"], &events[25]["response"]);
    assert_eq!((&first["status"], first.get("usage"), &first["output"]), (&json!("in_progress"), None, &json!([])));
    assert_eq!(
        (&last["status"], &last["usage"]["total_tokens"], &last["id"]),
        (&json!("completed"), &json!(109), &json!("resp_msg_1"))
    );
    let mut begun = first.clone();
    // What it uses is told at its end.
    begun["usage"] = last["usage"].clone();
    assert_eq!(
        begun.as_object().unwrap().keys().collect::<Vec<_>>(),
        last.as_object().unwrap().keys().collect::<Vec<_>>()
    );
    assert_eq!(last["output"][0]["encrypted_content"], "fx1.anthropic.Er0=");
    assert_eq!((&last["output"][3]["name"], &last["output"][3]["namespace"]), (&json!("read"), &json!("crm")));
}

#[test]
fn a_stream_is_the_same_answer_as_a_whole_one() {
    let content = json!([{"type": "redacted_thinking", "data": "R"}, {"type": "text", "text": "x"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"a":1}}]);
    let body = json!({"id": "msg_1", "model": "claude-x", "content": content, "stop_reason": "max_tokens"}).to_string();
    let asked = Told { request: REQUEST.as_bytes(), ..TOLD };
    let whole = reply(Dialect::Messages, Dialect::Responses, body.as_bytes(), &asked).unwrap().body;
    let whole: Value = serde_json::from_str(&whole).unwrap();
    let events = [
        begun(),
        start(0, json!({"type": "redacted_thinking", "data": "R"})),
        stop(0),
        start(1, json!({"type": "text", "text": "x"})),
        stop(1),
        start(2, json!({"type": "tool_use", "id": "t", "name": "f", "input": {}})),
        delta(2, json!({"type": "input_json_delta", "partial_json": "{\"a\":1}"})),
        stop(2),
        ended("max_tokens", json!({})),
    ];
    let events = responded(Dialect::Messages, &events, r#"{"type":"message_stop"}"#);
    assert_eq!(events.last().unwrap()["type"], "response.incomplete");
    assert_eq!(events.last().unwrap()["response"], whole);
}

#[test]
fn calls_of_a_chat_that_come_in_turns_are_told_as_they_come() {
    let null = Value::Null;
    let events = [
        chunk(json!({"role": "assistant", "content": "x"}), null.clone()),
        call(0, json!("c0"), json!("f"), ""),
        call(1, json!("c1"), json!("apply_patch"), "{\"input\":\"\\ud83d"),
        call(0, null.clone(), null.clone(), "{\"a\":"),
        call(1, null.clone(), null.clone(), "\\ude00\"}"),
        call(0, null.clone(), null, "1}"),
        chunk(json!({}), json!("tool_calls")),
        json!({"id": "chatcmpl-1", "choices": [], "usage": {"prompt_tokens": 1}}),
    ];
    let events = responded(Dialect::Chat, &events, "[DONE]");
    adds_up(&events);
    let told = told(&events);
    let expected = [
        "output_item.added 1 \"function_call\"",
        "output_item.added 2 \"custom_tool_call\"",
        "function_call_arguments.delta 1 \"{\\\"a\\\":\"",
        "custom_tool_call_input.delta 2 \"😀\"",
        "function_call_arguments.delta 1 \"1}\"",
        "function_call_arguments.done 1 \"{\\\"a\\\":1}\"",
        "output_item.done 1 \"function_call\"",
        "custom_tool_call_input.done 2 \"😀\"",
        "output_item.done 2 \"custom_tool_call\"",
        "completed",
    ];
    assert_eq!(told[told.len() - expected.len()..], expected);
}

#[test]
fn a_refusal_follows_what_was_said_before_it() {
    let events = [
        begun(),
        start(0, json!({"type": "text", "text": "w"})),
        stop(0),
        ended("refusal", json!({"stop_details": {"explanation": "no"}})),
    ];
    let events = responded(Dialect::Messages, &events, r#"{"type":"message_stop"}"#);
    adds_up(&events);
    let last = &events.last().unwrap()["response"];
    assert_eq!((&last["status"], &last["output"][0]["content"][1]["refusal"]), (&json!("completed"), &json!("no")));
    let filtered = [chunk(json!({"content": "w"}), Value::Null), chunk(json!({}), json!("content_filter"))];
    let events = responded(Dialect::Chat, &filtered, "[DONE]");
    let last = &events.last().unwrap()["response"];
    assert_eq!(
        (&last["status"], &last["incomplete_details"]["reason"]),
        (&json!("incomplete"), &json!("content_filter"))
    );
}

/// Events of a response with these items, as the API sends them.
fn response(items: &[Value], status: &str) -> Vec<Value> {
    let object = |status: &str| {
        json!({"id": "resp_1", "model": "gpt-x", "status": status, "output": [], "error": null,
        "incomplete_details": {"reason": "max_output_tokens"}})
    };
    let mut events = vec![
        json!({"type": "response.created", "response": object("in_progress")}),
        json!({"type": "response.in_progress", "response": object("in_progress")}),
    ];
    for (at, item) in items.iter().enumerate() {
        let added = match item["type"].as_str().unwrap() {
            "reasoning" => json!({"type": "reasoning", "id": item["id"], "summary": []}),
            "function_call" => {
                json!({"type": "function_call", "call_id": item["call_id"], "name": item["name"], "arguments": ""})
            }
            kind => json!({"type": kind, "role": "assistant", "content": []}),
        };
        let event = |kind: &str, key: &str, value: Value| json!({"type": format!("response.{kind}"), "output_index": at, key: value});
        events.push(event("output_item.added", "item", added));
        for part in item["summary"].as_array().into_iter().flatten() {
            events.push(event("reasoning_summary_part.added", "part", json!({"type": "summary_text", "text": ""})));
            events.push(event("reasoning_summary_text.delta", "delta", part["text"].clone()));
            events.push(event("reasoning_summary_text.done", "text", part["text"].clone()));
        }
        for part in item["content"].as_array().into_iter().flatten() {
            let kind = if part["refusal"].is_string() { "refusal.delta" } else { "output_text.delta" };
            let text = if part["refusal"].is_string() { &part["refusal"] } else { &part["text"] };
            events.push(event(kind, "delta", text.clone()));
        }
        if let Some(arguments) = item["arguments"].as_str() {
            for piece in [&arguments[..1], &arguments[1..]] {
                events.push(event("function_call_arguments.delta", "delta", json!(piece)));
            }
        }
        events.push(event("output_item.done", "item", item.clone()));
    }
    events.push(json!({"type": format!("response.{status}"), "response": object(status)}));
    events
}

/// What a stream of Responses becomes: the data of each event.
#[track_caller]
fn said(to: Dialect, events: &[Value]) -> Vec<Value> {
    let mut stream = Stream::new(Dialect::Responses, to, &TOLD, UsageChunk::Asked).unwrap();
    let mut out = String::new();
    for event in events {
        stream.event(event.to_string().as_bytes(), None, &mut out).unwrap();
    }
    let data = out.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| json!(data))).collect()
}

fn thought(id: &str, summary: &[&str], content: &str) -> Value {
    let summary: Vec<Value> = summary.iter().map(|text| json!({"type": "summary_text", "text": text})).collect();
    json!({"type": "reasoning", "id": id, "summary": summary, "encrypted_content": content})
}

fn message(content: Value) -> Value {
    json!({"type": "message", "id": "msg_1", "role": "assistant", "content": content})
}

fn called() -> Value {
    json!({"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{\"a\":1}"})
}

#[test]
fn events_of_responses_become_events_of_messages() {
    let items = [
        thought("rs_1", &["ä", "b"], "gA"),
        thought("rs_2", &[], "gB"),
        message(json!([{"type": "output_text", "text": "Hi"}])),
        called(),
    ];
    let said = said(Dialect::Messages, &response(&items, "completed"));
    let mut blocks: Vec<Value> = Vec::new();
    for event in &said {
        match event["type"].as_str().unwrap() {
            "content_block_start" => blocks.push(event["content_block"].clone()),
            "content_block_delta" => {
                assert_eq!(event["index"], blocks.len() - 1);
                for key in ["thinking", "signature", "text", "partial_json"] {
                    if let Some(piece) = event["delta"][key].as_str() {
                        let block = blocks.last_mut().unwrap();
                        let before = block[key].as_str().unwrap_or_default().to_owned();
                        block[key] = json!(before + piece);
                    }
                }
            }
            _ => {}
        }
    }
    let expected = json!([
        {"type": "thinking", "thinking": "ä\n\nb", "signature": "fx1.openai.rs_1.2-1.gA"},
        {"type": "redacted_thinking", "data": "fx1.openai.rs_2..gB"},
        {"type": "text", "text": "Hi", "citations": null},
        {"type": "tool_use", "id": "call_1", "name": "f", "input": {}, "caller": {"type": "direct"}, "partial_json": "{\"a\":1}"}]);
    assert_eq!(Value::Array(blocks), expected);
    let names: Vec<&Value> = said[said.len() - 2..].iter().map(|event| &event["type"]).collect();
    assert_eq!(
        (names, &said[said.len() - 2]["delta"]["stop_reason"]),
        (vec![&json!("message_delta"), &json!("message_stop")], &json!("tool_use"))
    );
}

#[test]
fn events_of_responses_become_a_stream_of_chunks() {
    let items = [thought("rs_1", &["a"], "gA"), message(json!([{"type": "output_text", "text": "Hi"}])), called()];
    let said = said(Dialect::Chat, &response(&items, "completed"));
    let deltas: Vec<Value> = said.iter().map(|data| data["choices"][0]["delta"].clone()).collect();
    let call = |rest: Value| json!({"tool_calls": [rest]});
    let expected = json!([
        {"role": "assistant", "content": "", "refusal": null}, {"content": "Hi"},
        call(json!({"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}})),
        call(json!({"index": 0, "function": {"arguments": "{"}})),
        call(json!({"index": 0, "function": {"arguments": "\"a\":1}"}})),
        {}, null, null]);
    assert_eq!(Value::Array(deltas), expected);
    assert_eq!(
        (&said[5]["choices"][0]["finish_reason"], said.last().unwrap()),
        (&json!("tool_calls"), &json!("[DONE]"))
    );
    let cut =
        self::said(Dialect::Chat, &response(&[message(json!([{"type": "refusal", "refusal": "no"}]))], "incomplete"));
    assert_eq!(
        (&cut[1]["choices"][0]["delta"]["refusal"], &cut[2]["choices"][0]["finish_reason"]),
        (&json!("no"), &json!("length"))
    );
}

#[test]
fn a_host_that_sends_no_pieces_is_understood() {
    let items = [message(json!([{"type": "output_text", "text": "Hi"}])), called()];
    let mut events = response(&items, "completed");
    events.retain(|event| !event["type"].as_str().unwrap().ends_with(".delta"));
    let said = said(Dialect::Chat, &events);
    assert_eq!(said[1]["choices"][0]["delta"]["content"], "Hi");
    assert_eq!(said[3]["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"], "{\"a\":1}");
}

#[test]
fn a_response_that_fails_is_no_part_of_an_answer() {
    for data in
        [r#"{"type":"error","code":"x","message":"m"}"#, r#"{"type":"response.failed","response":{"status":"failed"}}"#]
    {
        let mut stream = Stream::new(Dialect::Responses, Dialect::Chat, &TOLD, UsageChunk::Unasked).unwrap();
        let error = stream.event(data.as_bytes(), None, &mut String::new()).unwrap_err();
        assert_eq!(error.to_string(), "`error` is no part of an answer");
    }
}

#[test]
fn an_answer_that_cannot_be_kept_until_its_end_is_none() {
    let told = Told { request: REQUEST.as_bytes(), ..TOLD };
    let mut stream = Stream::new(Dialect::Chat, Dialect::Responses, &told, UsageChunk::Unasked).unwrap();
    let event = chunk(json!({"content": "x".repeat(1 << 20)}), Value::Null).to_string();
    let error = (0..=16).find_map(|_| stream.event(event.as_bytes(), None, &mut String::new()).err()).unwrap();
    assert_eq!(error.to_string(), "`output` is larger than can be kept until its end");
    let failed = stream.failed("overloaded", "it is too large").unwrap();
    assert!(failed.starts_with("event: response.failed\n"), "{failed}");
}
