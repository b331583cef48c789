use super::*;

/// As a Messages body is said to a model of OpenAI's.
#[track_caller]
fn gpt(model: &str, more: Value) -> (Value, Vec<String>) {
    let mut body = json!({"model": "claude-x", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]});
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    written(Dialect::Messages, Dialect::Responses, &body, &terms("openai", model))
}

#[test]
fn what_claude_code_sends_reaches_a_gpt() {
    let (said, dropped) = gpt(
        "gpt-5.6",
        json!({
            "max_tokens": 32_000, "stream": true, "metadata": {"user_id": "u-1"},
            "thinking": {"type": "enabled", "budget_tokens": 31_999}, "context_management": {"edits": []},
            "system": [{"type": "text", "text": "x-anthropic-billing-header: cc_version=2"},
                {"type": "text", "text": "You are Claude Code", "cache_control": {"type": "ephemeral"}}],
            "tools": [{"name": "Read", "description": "reads", "input_schema": {"type": "object"}, "cache_control": {"type": "ephemeral"}}],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "go"}]},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "ab\n\nc", "signature": "fx1.openai.rs_1.2-1.gAA.A="},
                    {"type": "text", "text": "I read"},
                    {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"path":  "a"}}]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": true, "content": [
                        {"type": "text", "text": "no"},
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}]},
                    {"type": "text", "text": "<system-reminder>x</system-reminder>"}]},
                {"role": "assistant", "content": [
                    {"type": "redacted_thinking", "data": "fx1.openai.rs_2..gB"},
                    {"type": "text", "text": "done"}]},
                {"role": "user", "content": "thanks"}],
        }),
    );
    let text = |text: &str| json!({"type": "input_text", "text": text});
    let expected = json!({
        "model": "gpt-5.6", "store": false, "max_output_tokens": 32_000, "stream": true,
        "include": ["reasoning.encrypted_content"], "reasoning": {"effort": "high"}, "safety_identifier": "u-1",
        "tools": [{"type": "function", "name": "Read", "description": "reads", "parameters": {"type": "object"}, "strict": false}],
        "input": [
            {"type": "message", "role": "developer", "content": [text("You are Claude Code")]},
            {"type": "message", "role": "user", "content": [text("go")]},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "ab"},
                {"type": "summary_text", "text": "c"}], "encrypted_content": "gAA.A="},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I read"}]},
            {"type": "function_call", "call_id": "toolu_1", "name": "Read", "arguments": "{\"path\":\"a\"}"},
            {"type": "function_call_output", "call_id": "toolu_1", "output": [text("[tool error]"), text("no"),
                {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "auto"}]},
            {"type": "message", "role": "user", "content": [text("<system-reminder>x</system-reminder>")]},
            {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gB"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "done"}]},
            {"type": "message", "role": "user", "content": [text("thanks")]}],
    });
    assert_eq!((said, dropped), (expected, vec!["context_management".to_owned()]));
}

#[test]
fn thoughts_that_others_sealed_or_that_lead_to_nothing_are_left_out() {
    let (said, dropped) = gpt(
        "gpt-5.6",
        json!({"messages": [
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "Er0="},
                {"type": "text", "text": "a"}]},
            {"role": "user", "content": "and?"},
            {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "fx1.openai.rs_2..gB"}]},
            {"role": "user", "content": "well?"}]}),
    );
    let kinds: Vec<&str> =
        said["input"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!((kinds, dropped), (vec!["message"; 4], vec![]));
}

#[test]
fn a_model_that_does_not_reason_is_told_how_to_choose() {
    let (said, dropped) = gpt("gpt-4.1", json!({"temperature": 0.2, "top_p": 0.9, "top_k": 5, "max_tokens": 4}));
    assert_eq!((&said["temperature"], &said["top_p"], said.get("include")), (&json!(0.2), &json!(0.9), None));
    assert_eq!((&said["max_output_tokens"], dropped), (&json!(16), vec!["top_k".to_owned()]));
    let (said, dropped) = gpt("gpt-5.6", json!({"temperature": 0.2}));
    assert_eq!((said.get("temperature"), dropped), (None, vec!["temperature".to_owned()]));
}

#[test]
fn texts_that_end_an_answer_are_refused_where_nobody_would_end_it_there() {
    let body = json!({"model": "m", "max_tokens": 9, "messages": [], "stop_sequences": ["x"]});
    for (to, model) in [(Dialect::Responses, "gpt-4.1"), (Dialect::Responses, "gpt-5.6"), (Dialect::Chat, "o3")] {
        assert_eq!(refused(Dialect::Messages, to, &body, &terms("openai", model)), "stop_sequences", "{model}");
    }
}

#[test]
fn a_chat_is_said_in_responses() {
    let body = json!({
        "model": "m", "reasoning_effort": "low", "response_format": {"type": "json_object"}, "tool_choice": {"type": "function", "function": {"name": "f"}},
        "tools": [{"type": "function", "function": {"name": "f", "strict": true, "parameters": {"type": "object",
            "properties": {}, "required": [], "additionalProperties": false}}},
            {"type": "custom", "custom": {"name": "g", "format": {"type": "text"}}}],
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [{"type": "text", "text": "u"}, {"type": "image_url", "image_url": {"url": "https://e.x/a"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"}}]},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "g", "input": "x"}}]},
            {"role": "tool", "tool_call_id": "c", "content": ""},
            {"role": "developer", "content": "later"}],
    });
    let (said, dropped) = written(Dialect::Chat, Dialect::Responses, &body, &terms("openai", "gpt-5.6"));
    assert_eq!(dropped, ["tools.custom.format"]);
    assert_eq!(
        (&said["reasoning"], &said["text"]["format"]),
        (&json!({"effort": "low"}), &json!({"type": "json_object"}))
    );
    assert_eq!(said["tool_choice"], json!({"type": "function", "name": "f"}));
    assert_eq!((&said["tools"][0]["strict"], &said["tools"][1]["strict"]), (&json!(true), &json!(false)));
    let expected = json!([
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "s"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "u"},
            {"type": "input_image", "image_url": "https://e.x/a", "detail": "auto"},
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"}]},
        {"type": "function_call", "call_id": "c", "name": "g", "arguments": "{\"input\":\"x\"}"},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": ""}]},
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "later"}]}]);
    assert_eq!(said["input"], expected);
}

#[test]
fn a_key_to_the_cache_of_prompts_is_carried_where_the_vendor_has_one() {
    let more = json!({"prompt_cache_key": "k\u{e9}", "prompt_cache_retention": "24h"});
    let chat = json!({"model": "m", "messages": [], "prompt_cache_key": more["prompt_cache_key"],
        "prompt_cache_retention": "24h"});
    let responses = json!({"model": "m", "input": [], "prompt_cache_key": more["prompt_cache_key"],
        "prompt_cache_retention": "24h"});
    let names = ["prompt_cache_key", "prompt_cache_retention"];
    for (from, to, body, vendor, carried) in [
        (Dialect::Chat, Dialect::Responses, &chat, "openai", 2),
        (Dialect::Responses, Dialect::Chat, &responses, "openai", 2),
        (Dialect::Responses, Dialect::Chat, &responses, "azure", 1),
        (Dialect::Responses, Dialect::Chat, &responses, "groq", 0),
        (Dialect::Chat, Dialect::Messages, &chat, "anthropic", 0),
    ] {
        let (carried, left) = names.split_at(carried);
        let (said, dropped) = written(from, to, body, &terms(vendor, "gpt-4.1"));
        let found: Vec<&str> = carried.iter().filter(|name| said[**name] == more[**name]).copied().collect();
        assert_eq!(
            (found, dropped),
            (carried.to_vec(), left.iter().map(|name| (*name).to_owned()).collect()),
            "{vendor}"
        );
    }
}
