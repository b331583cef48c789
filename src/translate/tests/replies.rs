use super::*;
use crate::reply::usage::Usage;

pub(super) const TOLD: Told<'static> = Told {
    request: b"{}",
    created_seconds: 1_700_000_000,
    usage: Usage {
        input_tokens: 100,
        cached_input_tokens: 60,
        cache_write_tokens: 10,
        cache_write_1h_tokens: 5,
        output_tokens: 9,
        reasoning_tokens: 4,
        apart: crate::reply::usage::Apart::NONE,
    },
};

#[track_caller]
fn answered(from: Dialect, to: Dialect, body: &Value) -> (Value, Vec<String>) {
    let written = reply(from, to, body.to_string().as_bytes(), &TOLD).unwrap();
    let dropped = written.dropped.names().map(str::to_owned).collect();
    (serde_json::from_str(&written.body).unwrap(), dropped)
}

fn claudes(content: Value, reason: &str, more: Value) -> Value {
    let mut body = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x",
        "content": content, "stop_reason": reason, "stop_sequence": null, "usage": {}});
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body
}

fn gpts(message: Value, reason: &str) -> Value {
    json!({"id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-x",
        "choices": [{"index": 0, "message": message, "finish_reason": reason, "logprobs": null}]})
}

#[test]
fn an_answer_of_messages_is_a_whole_chat_completion() {
    let content = json!([{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "H\u{2028}"},
        {"type": "text", "text": "i"}, {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}]);
    let (said, dropped) = answered(Dialect::Messages, Dialect::Chat, &claudes(content, "tool_use", json!({})));
    let expected = json!({
        "id": "chatcmpl-msg_1", "object": "chat.completion", "created": 1_700_000_000, "model": "claude-x",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "H\u{2028}i", "refusal": null, "annotations": [],
            "tool_calls": [{"id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}]},
            "logprobs": null, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 9, "total_tokens": 109,
            "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 15, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 4, "audio_tokens": 0, "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0}},
    });
    assert_eq!((said, dropped), (expected, vec![]));
}

#[test]
fn a_chat_completion_is_a_whole_answer_of_messages() {
    let message = json!({"role": "assistant", "content": "Hi", "refusal": null, "reasoning_content": "hm", "annotations": [],
        "tool_calls": [{"id": "call:1", "type": "function", "function": {"name": "f", "arguments": ""}}]});
    let (said, dropped) = answered(Dialect::Chat, Dialect::Messages, &gpts(message, "stop"));
    let expected = json!({
        "id": "msg_chatcmpl-1", "type": "message", "role": "assistant", "model": "gpt-x", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "fx1.none"},
            {"type": "text", "text": "Hi", "citations": null},
            {"type": "tool_use", "id": "fx_call_3a1", "name": "f", "input": {}, "caller": {"type": "direct"}}],
        "stop_reason": "tool_use", "stop_sequence": null, "stop_details": null, "container": null, "diagnostics": null,
        "usage": {"input_tokens": 25, "cache_creation_input_tokens": 15, "cache_read_input_tokens": 60,
            "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 5}, "output_tokens": 9,
            "output_tokens_details": {"thinking_tokens": 4}, "server_tool_use": null, "inference_geo": null,
            "service_tier": null, "speed": null},
    });
    assert_eq!((said, dropped), (expected, vec![]));
}

#[test]
fn why_an_answer_ended_is_told_in_the_clients_words() {
    let finish = |reason: &str, more: Value| {
        let body = claudes(json!([{"type": "text", "text": "x"}]), reason, more);
        answered(Dialect::Messages, Dialect::Chat, &body).0["choices"][0]["finish_reason"].clone()
    };
    assert_eq!(finish("end_turn", json!({})), "stop");
    assert_eq!(finish("stop_sequence", json!({"stop_sequence": "END"})), "stop");
    assert_eq!(finish("pause_turn", json!({})), "stop");
    assert_eq!(finish("max_tokens", json!({})), "length");
    assert_eq!(finish("model_context_window_exceeded", json!({})), "length");
    let reason = |reason: &str| {
        let body = gpts(json!({"role": "assistant", "content": "x"}), reason);
        answered(Dialect::Chat, Dialect::Messages, &body).0["stop_reason"].clone()
    };
    assert_eq!(reason("stop"), "end_turn");
    assert_eq!(reason("length"), "max_tokens");
    assert_eq!(reason("content_filter"), "refusal");
    assert_eq!(reason("content_filter: SAFETY"), "refusal");
    assert_eq!(reason("model_length"), "max_tokens");
}

#[test]
fn an_answer_that_says_that_it_failed_is_none() {
    for reason in ["error", "insufficient_system_resource", "repetition_truncation", "MALFORMED_FUNCTION_CALL"] {
        let body = gpts(json!({"role": "assistant", "content": "x"}), reason).to_string();
        assert!(reply(Dialect::Chat, Dialect::Messages, body.as_bytes(), &TOLD).is_err(), "{reason}");
    }
}

#[test]
fn an_answer_that_was_paid_for_is_told_though_something_is_missing() {
    let call = json!({"type": "function", "function": {"name": "f", "arguments": {"a": 1}}});
    let mut body = gpts(json!({"role": "assistant", "content": null, "tool_calls": [call, call]}), "tool_calls");
    body["id"] = Value::Null;
    body.as_object_mut().unwrap().remove("model");
    let (said, _) = answered(Dialect::Chat, Dialect::Messages, &body);
    assert!(said["id"].as_str().unwrap().len() > "msg_".len(), "{said}");
    assert_eq!((&said["model"], &said["content"][0]["input"]), (&json!("unknown"), &json!({"a": 1})));
    assert_ne!(said["content"][0]["id"], said["content"][1]["id"]);
}

#[test]
fn a_signature_of_google_s_comes_beside_its_call() {
    let call = json!({"id": "c:0", "type": "function", "function": {"name": "f", "arguments": "{}"},
        "extra_content": {"google": {"thought_signature": "CiQ="}}});
    let body = gpts(json!({"role": "assistant", "content": null, "tool_calls": [call]}), "tool_calls");
    let (said, _) = answered(Dialect::Chat, Dialect::Messages, &body);
    let expected = json!({"type": "redacted_thinking", "data": "fx1.google.fx_c_3a0.CiQ="});
    assert_eq!((&said["content"][0], &said["content"][1]["id"]), (&expected, &json!("fx_c_3a0")));
    let told = Told { request: br#"{"include":["reasoning.encrypted_content"]}"#, ..TOLD };
    let written = reply(Dialect::Chat, Dialect::Responses, body.to_string().as_bytes(), &told).unwrap();
    let said: Value = serde_json::from_str(&written.body).unwrap();
    assert_eq!(
        (&said["output"][0]["encrypted_content"], &said["output"][1]["call_id"]),
        (&expected["data"], &json!("c:0"))
    );
}

#[test]
fn a_refusal_is_told_as_one() {
    let details = json!({"stop_details": {"type": "refusal", "category": "x", "explanation": "no"}});
    let (said, _) = answered(Dialect::Messages, Dialect::Chat, &claudes(json!([]), "refusal", details));
    let choice = &said["choices"][0];
    assert_eq!((&choice["message"]["content"], &choice["message"]["refusal"]), (&Value::Null, &json!("no")));
    assert_eq!(choice["finish_reason"], "stop", "it is an answer, as at OpenAI itself");
    let (said, _) = answered(Dialect::Messages, Dialect::Chat, &claudes(json!([]), "refusal", json!({})));
    let choice = &said["choices"][0];
    assert_eq!((&choice["message"]["refusal"], &choice["finish_reason"]), (&Value::Null, &json!("content_filter")));
    let message = json!({"role": "assistant", "content": null, "refusal": "no"});
    let (said, _) = answered(Dialect::Chat, Dialect::Messages, &gpts(message, "stop"));
    assert_eq!(said["content"], json!([{"type": "text", "text": "no", "citations": null}]));
    assert_eq!((&said["stop_reason"], &said["stop_details"]["explanation"]), (&json!("refusal"), &json!("no")));
}

#[test]
fn what_a_model_thought_is_told_to_clients_of_chat_who_ask_for_it() {
    let content = json!([{"type": "thinking", "thinking": "hm\n", "signature": "s"}, {"type": "text", "text": "Hi"}]);
    let body = claudes(content, "end_turn", json!({})).to_string();
    let message = |request: Value| {
        let request = request.to_string();
        let told = Told { request: request.as_bytes(), ..TOLD };
        let written = reply(Dialect::Messages, Dialect::Chat, body.as_bytes(), &told).unwrap();
        serde_json::from_str::<Value>(&written.body).unwrap()["choices"][0]["message"].clone()
    };
    for asks in [
        json!({"include_reasoning": true}),
        json!({"messages": [{"role": "assistant", "content": "x", "reasoning_content": "before"}]}),
    ] {
        assert_eq!(message(asks)["reasoning_content"], "hm\n");
    }
    let quoted = json!({"messages": [{"role": "user", "content": "what is \"reasoning_content\"?"}]});
    for silent in [json!({}), json!({"include_reasoning": false}), quoted] {
        assert_eq!(message(silent).get("reasoning_content"), None);
    }
}

#[test]
fn what_only_one_dialect_has_is_left_out_of_an_answer_by_name() {
    let content = json!([{"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "text", "text": "x", "citations": [{"type": "web"}]}]);
    let (_, dropped) = answered(Dialect::Messages, Dialect::Chat, &claudes(content, "end_turn", json!({})));
    assert_eq!(dropped, ["content.server_tool_use", "content.citations"]);
    let message = json!({"role": "assistant", "content": [{"type": "text", "text": "x"}], "annotations": [{}]});
    let (said, dropped) = answered(Dialect::Chat, Dialect::Messages, &gpts(message, "stop"));
    assert_eq!((&said["content"][0]["text"], dropped), (&json!("x"), vec!["choices.message.annotations".to_owned()]));
}

#[test]
fn an_answer_of_several_choices_is_refused() {
    let body = json!({"id": "1", "model": "m", "choices": []}).to_string();
    let error = reply(Dialect::Chat, Dialect::Messages, body.as_bytes(), &TOLD).unwrap_err();
    assert_eq!(error.to_string(), "`choices` must be one");
}
