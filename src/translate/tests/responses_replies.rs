use super::replies::TOLD;
use super::*;

/// A request of which much is repeated, spelt as nobody would write it anew.
const REQUEST: &str = r#"{ "model":"gpt-x", "instructions":"be\u0020kind", "temperature": 0.50,
  "include":["reasoning.encrypted_content"], "text":{"verbosity":"low"}, "metadata":{"a":"b"}, "prompt_cache_key":"k",
  "tools":[{"type":"function","name":"f"}, {"type":"custom","name":"apply_patch"},
    {"type":"namespace","name":"crm","description":"d","tools":[{"type":"function","name":"read"}]}],
  "input":"hi" }"#;

#[track_caller]
fn answered(from: Dialect, body: &Value) -> Value {
    let told = Told { request: REQUEST.as_bytes(), ..TOLD };
    let written = reply(from, Dialect::Responses, body.to_string().as_bytes(), &told).unwrap();
    assert!(written.dropped.is_empty(), "{:?}", written.dropped);
    serde_json::from_str(&written.body).unwrap()
}

fn claudes(content: Value, reason: &str) -> Value {
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": content,
        "stop_reason": reason, "stop_sequence": null, "usage": {}})
}

/// The items of an answer without their ids, which are told apart.
#[track_caller]
fn items(answer: &Value) -> Vec<Value> {
    let mut items = answer["output"].as_array().unwrap().clone();
    let ids: std::collections::HashSet<String> =
        items.iter_mut().map(|item| item.as_object_mut().unwrap().remove("id").unwrap().to_string()).collect();
    assert_eq!(ids.len(), items.len());
    items
}

#[test]
fn an_answer_of_messages_is_a_whole_response() {
    let answer = answered(
        Dialect::Messages,
        &claudes(
            json!([{"type": "thinking", "thinking": "hm", "signature": "Er0="}, {"type": "redacted_thinking", "data": "R"},
                {"type": "text", "text": "H\u{2028}"}, {"type": "text", "text": "i"},
                {"type": "tool_use", "id": "toolu_1", "name": "apply_patch", "input": {"input": "a\n\"b\""}},
                {"type": "tool_use", "id": "fx_a_3ab", "name": "crm__read", "input": {"x": 1}}]),
            "tool_use",
        ),
    );
    let mut rest = answer.clone();
    rest.as_object_mut().unwrap().remove("output");
    let expected = json!({
        "id": "resp_msg_1", "object": "response", "created_at": 1_700_000_000, "status": "completed", "background": false,
        "completed_at": 1_700_000_000, "error": null, "incomplete_details": null, "instructions": "be kind",
        "max_output_tokens": null, "max_tool_calls": null, "model": "claude-x", "parallel_tool_calls": true,
        "previous_response_id": null, "prompt_cache_key": "k", "prompt_cache_retention": null,
        "reasoning": {"effort": null, "summary": null}, "safety_identifier": null, "service_tier": "default", "access_programs": null,
        "temperature": 0.5, "text": {"format": {"type": "text"}, "verbosity": "low"}, "tool_choice": "auto",
        "tools": serde_json::from_str::<Value>(REQUEST).unwrap()["tools"], "top_logprobs": 0, "top_p": null,
        "truncation": "disabled", "metadata": {"a": "b"},
        "usage": {"input_tokens": 100, "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 15},
            "output_tokens": 9, "output_tokens_details": {"reasoning_tokens": 4}, "total_tokens": 109},
    });
    let mut expected = expected;
    // What every answer has of a tool is there, said or not.
    for lacking in ["parameters", "strict"] {
        expected["tools"][0][lacking] = Value::Null;
    }
    assert_eq!(rest, expected);
    let items = items(&answer);
    let expected = json!([
        {"type": "reasoning", "status": "completed", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "fx1.anthropic.Er0="},
        {"type": "reasoning", "status": "completed", "summary": [], "encrypted_content": "fx1.anthropic-redacted.R"},
        {"type": "message", "status": "completed", "role": "assistant", "content": [
            {"type": "output_text", "text": "H\u{2028}i", "annotations": [], "logprobs": []}]},
        {"type": "custom_tool_call", "call_id": "toolu_1", "name": "apply_patch", "input": "a\n\"b\""},
        {"type": "function_call", "status": "completed", "call_id": "a:b", "name": "read", "namespace": "crm", "arguments": "{\"x\":1}"}]);
    assert_eq!(Value::Array(items), expected);
}

#[test]
fn a_chat_completion_is_a_whole_response() {
    let calls = json!([{"id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"id": "c2", "type": "function", "function": {"name": "apply_patch", "arguments": "{\"input\": \"p\\n\"}"}}]);
    let body = json!({"id": "chatcmpl-1", "model": "gpt-x", "choices": [{"index": 0, "finish_reason": "tool_calls",
        "message": {"role": "assistant", "content": "x", "tool_calls": calls}}]});
    let answer = answered(Dialect::Chat, &body);
    let items = items(&answer);
    assert_eq!((&items[1]["arguments"], &items[2]["input"]), (&json!("{}"), &json!("p\n")));
    assert_eq!((&answer["id"], &items[0]["content"][0]["text"]), (&json!("resp_chatcmpl-1"), &json!("x")));
}

#[test]
fn a_request_is_repeated_on_one_line() {
    let told = Told { request: REQUEST.as_bytes(), ..TOLD };
    let body = claudes(json!([]), "end_turn").to_string();
    let written = reply(Dialect::Messages, Dialect::Responses, body.as_bytes(), &told).unwrap().body;
    assert!(!written.contains('\n') && written.contains(r#""instructions":"be\u0020kind","#), "{written}");
}

#[test]
fn why_an_answer_ended_is_its_status() {
    let status = |reason: &str, more: Value| {
        let mut body = claudes(json!([{"type": "text", "text": "x"}]), reason);
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = answered(Dialect::Messages, &body);
        let last = answer["output"].as_array().unwrap().last().unwrap().clone();
        (answer["status"].clone(), answer["incomplete_details"]["reason"].clone(), last)
    };
    for reason in ["end_turn", "stop_sequence", "pause_turn"] {
        assert_eq!(status(reason, json!({})).0, "completed");
    }
    for reason in ["max_tokens", "model_context_window_exceeded"] {
        let (status, reason, last) = status(reason, json!({}));
        assert_eq!(
            (status, reason, &last["status"]),
            (json!("incomplete"), json!("max_output_tokens"), &json!("incomplete"))
        );
    }
    assert_eq!(status("refusal", json!({})).1, "content_filter");
    let (status, _, last) = status("refusal", json!({"stop_details": {"explanation": "no"}}));
    assert_eq!((status, &last["content"][1]), (json!("completed"), &json!({"type": "refusal", "refusal": "no"})));
}

/// What a response becomes.
#[track_caller]
fn said(to: Dialect, output: Value, more: Value) -> (Value, Vec<String>) {
    let mut body = json!({"id": "resp_1", "object": "response", "model": "gpt-x", "status": "completed", "error": null,
        "incomplete_details": null, "output": output});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let written = reply(Dialect::Responses, to, body.to_string().as_bytes(), &TOLD).unwrap();
    let dropped = written.dropped.names().map(str::to_owned).collect();
    (serde_json::from_str(&written.body).unwrap(), dropped)
}

fn message(content: Value) -> Value {
    json!({"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": content})
}

#[test]
fn a_response_is_a_whole_answer_of_messages() {
    let output = json!([
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "ä"}, {"type": "summary_text", "text": "b"}],
         "encrypted_content": "gA="},
        {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gB"},
        {"type": "reasoning", "id": "rs_3", "summary": []},
        message(json!([{"type": "output_text", "text": "Hi", "annotations": []}])),
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{\"a\":1}"}]);
    let (answer, dropped) = said(Dialect::Messages, output, json!({}));
    let expected = json!([
        {"type": "thinking", "thinking": "ä\n\nb", "signature": "fx1.openai.rs_1.2-1.gA="},
        {"type": "redacted_thinking", "data": "fx1.openai.rs_2..gB"},
        {"type": "text", "text": "Hi", "citations": null},
        {"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1}, "caller": {"type": "direct"}}]);
    assert_eq!((&answer["content"], dropped), (&expected, vec![]));
    assert_eq!((&answer["id"], &answer["stop_reason"]), (&json!("msg_resp_1"), &json!("tool_use")));
    assert_eq!(answer["usage"]["input_tokens"], 25);
}

#[test]
fn a_response_is_a_whole_chat_completion() {
    let output = json!([{"type": "reasoning", "id": "rs_1", "summary": []},
        message(json!([{"type": "output_text", "text": "Hi", "annotations": [{"type": "url_citation"}]}])),
        {"type": "web_search_call", "id": "ws_1"}]);
    let details = json!({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}});
    let (answer, dropped) = said(Dialect::Chat, output, details);
    let choice = &answer["choices"][0];
    assert_eq!((&choice["message"]["content"], &choice["finish_reason"]), (&json!("Hi"), &json!("length")));
    assert_eq!(dropped, ["output.content.annotations", "output"]);
    let filtered = json!({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}});
    assert_eq!(said(Dialect::Chat, json!([]), filtered).0["choices"][0]["finish_reason"], "content_filter");
}

#[test]
fn a_refusal_is_told_as_one() {
    let output = json!([message(json!([{"type": "refusal", "refusal": "no"}]))]);
    let (answer, _) = said(Dialect::Messages, output.clone(), json!({}));
    assert_eq!((&answer["stop_reason"], &answer["stop_details"]["explanation"]), (&json!("refusal"), &json!("no")));
    assert_eq!(said(Dialect::Chat, output, json!({})).0["choices"][0]["message"]["refusal"], "no");
}

#[test]
fn a_response_that_failed_is_no_answer() {
    let body = json!({"id": "r", "model": "m", "status": "failed", "error": {"code": "server_error"}, "output": []})
        .to_string();
    let error = reply(Dialect::Responses, Dialect::Chat, body.as_bytes(), &TOLD).unwrap_err();
    assert_eq!(error.to_string(), "`status` is no answer's");
}
