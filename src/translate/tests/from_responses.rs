use super::*;

fn body(more: Value) -> Value {
    let mut body = json!({"model": "gpt-x", "input": "hi"});
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body
}

/// As a Responses body is said to a Claude.
#[track_caller]
fn claude(more: Value) -> (Value, Vec<String>) {
    written(Dialect::Responses, Dialect::Messages, &body(more), &terms("anthropic", "claude-opus-4-6"))
}

/// The same to a chat model.
#[track_caller]
fn chat(more: Value) -> (Value, Vec<String>) {
    written(Dialect::Responses, Dialect::Chat, &body(more), &terms("openai", "gpt-4.1"))
}

#[track_caller]
fn check_refused(more: Value, field: &str) {
    let body = body(more);
    for (to, terms) in
        [(Dialect::Messages, terms("anthropic", "claude-opus-4-6")), (Dialect::Chat, terms("groq", "llama-4"))]
    {
        assert_eq!(refused(Dialect::Responses, to, &body, &terms), field, "{body}");
    }
}

/// As Codex asks, but for the length of its texts.
fn codex() -> Value {
    json!({
        "model": "gpt-5.6-codex", "stream": true, "store": false, "include": ["reasoning.encrypted_content"],
        "client_metadata": {"x-codex-installation-id": "1"}, "prompt_cache_key": "01a0", "parallel_tool_calls": true,
        "reasoning": {"effort": "medium", "summary": "auto"}, "tool_choice": "auto",
        "tools": [
            {"type": "function", "name": "shell_command", "description": "Runs a command", "strict": false,
             "parameters": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}},
            {"type": "custom", "name": "apply_patch", "description": "Edits files",
             "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"}},
            {"type": "namespace", "name": "mcp__docs", "description": "Documents", "tools": [
                {"type": "function", "name": "find", "description": "Finds one", "strict": false,
                 "parameters": {"type": "object", "properties": {}}, "defer_loading": false}]},
            {"type": "web_search", "external_web_access": false}],
        "input": [
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "permissions"}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "context"}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "fix it"}]},
            {"type": "reasoning", "id": "rs_0", "summary": [{"type": "summary_text", "text": "hm"}], "content": null,
             "encrypted_content": "fx1.anthropic.Er0="},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"},
            {"type": "message", "role": "assistant", "id": "msg_1", "phase": "commentary", "status": "completed",
             "content": [{"type": "output_text", "text": "I look", "annotations": [], "logprobs": []}]},
            {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "shell_command", "arguments": "{\"command\":\"ls\"}"},
            {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_2", "name": "apply_patch", "input": "*** Begin\n\"x\"", "status": "completed"},
            {"type": "function_call", "call_id": "call_3", "name": "find", "namespace": "mcp__docs", "arguments": ""},
            {"type": "function_call_output", "call_id": "call_1", "output": "a.rs"},
            {"type": "custom_tool_call_output", "call_id": "call_2", "output": "[tool error]"},
            {"type": "function_call_output", "call_id": "call_3", "output": [{"type": "input_text", "text": "see"},
                {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "high"}]}],
    })
}

#[test]
fn what_codex_sends_reaches_a_claude() {
    let (said, dropped) = claude(codex());
    let text = |text: &str| json!({"type": "text", "text": text});
    let schema = json!({"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]});
    let wrapped = json!({"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]});
    let expected = json!({
        "model": "claude-opus-4-6", "max_tokens": 4096, "stream": true,
        "thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "medium"},
        "tool_choice": {"type": "auto"},
        "tools": [
            {"name": "shell_command", "description": "Runs a command", "input_schema": schema, "strict": false},
            {"name": "apply_patch", "description": "Edits files", "input_schema": wrapped},
            {"name": "mcp__docs__find", "description": "Documents\n\nFinds one", "strict": false,
             "input_schema": {"type": "object", "properties": {}}}],
        "system": [text("permissions")],
        "messages": [
            {"role": "user", "content": [text("context"), text("fix it")]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "Er0="}, text("I look"),
                {"type": "tool_use", "id": "call_1", "name": "shell_command", "input": {"command": "ls"}},
                {"type": "tool_use", "id": "call_2", "name": "apply_patch", "input": {"input": "*** Begin\n\"x\""}},
                {"type": "tool_use", "id": "call_3", "name": "mcp__docs__find", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": [text("a.rs")]},
                {"type": "tool_result", "tool_use_id": "call_2", "content": [], "is_error": true},
                {"type": "tool_result", "tool_use_id": "call_3", "content": [text("see"),
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}]}]}],
    });
    assert_eq!(said, expected);
    assert_eq!(dropped, ["prompt_cache_key", "tools.format", "tools.web_search"]);
}

#[test]
fn what_codex_sends_reaches_a_chat_model() {
    let (said, dropped) = written(Dialect::Responses, Dialect::Chat, &codex(), &terms("deepseek", "deepseek-chat"));
    let text = |text: &str| json!(text);
    let call = |id: &str, name: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
    let expected = json!([
        {"role": "system", "content": text("permissions")},
        {"role": "user", "content": text("context")},
        {"role": "user", "content": text("fix it")},
        {"role": "assistant", "content": text("I look"), "reasoning_content": "", "tool_calls": [
            call("call_1", "shell_command", "{\"command\":\"ls\"}"),
            call("call_2", "apply_patch", "{\"input\":\"*** Begin\\n\\\"x\\\"\"}"),
            call("call_3", "mcp__docs__find", "")]},
        {"role": "tool", "tool_call_id": "call_1", "content": text("a.rs")},
        {"role": "tool", "tool_call_id": "call_2", "content": text("[tool error]")},
        {"role": "tool", "tool_call_id": "call_3", "content": text("see")},
        {"role": "user", "content": [{"type": "text", "text": "Image of tool result call_3:"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]}]);
    assert_eq!(said["messages"], expected);
    assert_eq!(dropped, ["prompt_cache_key", "tools.format", "tools.web_search", "reasoning.effort"]);
    let names: Vec<&Value> = said["tools"].as_array().unwrap().iter().map(|tool| &tool["function"]["name"]).collect();
    assert_eq!(names, ["shell_command", "apply_patch", "mcp__docs__find"]);
}

#[test]
fn a_plain_request_is_carried() {
    let schema = json!({"type": "object", "properties": {}, "required": [], "additionalProperties": false});
    let (said, dropped) = chat(json!({
        "instructions": "be kind", "max_output_tokens": 50, "temperature": 0.5, "top_p": 1, "store": true,
        "safety_identifier": "s", "user": "u", "service_tier": "default", "truncation": "disabled",
        "text": {"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": true}},
        "background": false, "previous_response_id": null, "metadata": {}, "top_logprobs": 0,
    }));
    let expected = json!({
        "model": "gpt-4.1", "max_completion_tokens": 50, "temperature": 0.5, "top_p": 1, "safety_identifier": "s",
        "service_tier": "default",
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": true}},
        "messages": [{"role": "developer", "content": "be kind"}, {"role": "user", "content": "hi"}],
    });
    assert_eq!((said, dropped), (expected, vec!["store".to_owned()]));
}

#[test]
fn what_a_provider_must_have_kept_is_refused_by_name() {
    check_refused(json!({"previous_response_id": "resp_1"}), "previous_response_id");
    check_refused(json!({"conversation": "conv_1"}), "conversation");
    check_refused(json!({"prompt": {"id": "p"}}), "prompt");
    check_refused(json!({"background": true}), "background");
    check_refused(json!({"input": [{"type": "item_reference", "id": "x"}]}), "input.item_reference");
    check_refused(json!({"input": [{"type": "compaction", "encrypted_content": "x"}]}), "input.compaction");
    let file = json!([{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]);
    check_refused(json!({ "input": file }), "input.content.file_id");
}

#[test]
fn tools_that_only_openai_has_are_refused_by_name() {
    for kind in ["file_search", "code_interpreter", "image_generation", "mcp", "local_shell", "shell", "apply_patch"] {
        check_refused(json!({"tools": [{"type": kind}]}), &format!("tools.{kind}"));
    }
    check_refused(json!({"tools": [{"type": "brand_new"}]}), "tools.type");
    check_refused(json!({"tools": [{"type": "web_search"}], "tool_choice": "required"}), "tools.web_search");
    check_refused(json!({"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}}), "tool_choice");
    check_refused(json!({"input": [{"type": "shell_call", "call_id": "c"}]}), "input.shell_call");
}

#[test]
fn what_would_make_another_answer_is_refused_by_name() {
    check_refused(json!({"max_tool_calls": 3}), "max_tool_calls");
    check_refused(json!({"top_logprobs": 2}), "top_logprobs");
    check_refused(json!({"include": ["message.output_text.logprobs"]}), "include");
    check_refused(json!({"service_tier": "flex"}), "service_tier");
    check_refused(json!({"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}}), "tool_choice");
    let both = json!([{"type": "function", "name": "a__b"}, {"type": "namespace", "name": "a", "tools": [
        {"type": "function", "name": "b"}]}]);
    check_refused(json!({ "tools": both }), "tools.name");
}

#[test]
fn what_only_steers_is_left_out_by_name() {
    let (_, dropped) = claude(json!({
        "store": true, "truncation": "auto", "metadata": {"a": "b"}, "text": {"verbosity": "low"},
        "include": ["web_search_call.action.sources"], "context_management": [{"type": "compaction"}],
        "prompt_cache_retention": "24h", "stream_options": {"include_obfuscation": false},
        "reasoning": {"effort": "low", "context": "all"},
    }));
    let expected = [
        "store",
        "truncation",
        "metadata",
        "text.verbosity",
        "include",
        "context_management",
        "prompt_cache_retention",
        "reasoning.context",
    ];
    let mut sorted = (dropped.clone(), expected.to_vec());
    sorted.0.sort();
    sorted.1.sort_unstable();
    assert_eq!(sorted.0, sorted.1, "{dropped:?}");
}

#[test]
fn a_choice_may_be_a_tool_in_a_namespace() {
    let tools = json!([{"type": "namespace", "name": "crm", "tools": [{"type": "function", "name": "read"}]}]);
    let choice = json!({"type": "function", "name": "read", "namespace": "crm"});
    let (said, _) = claude(json!({"tools": tools, "tool_choice": choice, "parallel_tool_calls": false}));
    let expected = json!({"type": "tool", "name": "crm__read", "disable_parallel_tool_use": true});
    assert_eq!(said["tool_choice"], expected);
}

#[test]
fn what_ran_at_openai_is_left_out_and_what_came_of_it_stays() {
    let (said, dropped) = chat(json!({"input": [
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"role": "system", "content": "not lost"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "found", "annotations": [{"type": "url_citation"}]}]},
        {"role": "user", "content": "more"}]}));
    assert_eq!(dropped, ["input.web_search_call", "input.content.annotations"]);
    let texts: Vec<&Value> = said["messages"].as_array().unwrap().iter().map(|message| &message["content"]).collect();
    assert_eq!(texts, ["not lost", "found", "more"]);
}

#[test]
fn files_and_breakpoints_are_carried() {
    let content = json!([
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"},
        {"type": "input_file", "file_url": "https://e.x/a.pdf"},
        {"type": "input_image", "image_url": "https://e.x/a.png", "detail": "low"},
        {"type": "input_text", "text": "see", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}}]);
    let (said, _) = claude(json!({"input": [{"role": "user", "content": content}]}));
    let expected = json!([
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AA"}, "title": "a.pdf"},
        {"type": "document", "source": {"type": "url", "url": "https://e.x/a.pdf"}},
        {"type": "image", "source": {"type": "url", "url": "https://e.x/a.png"}},
        {"type": "text", "text": "see", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]);
    assert_eq!(said["messages"][0]["content"], expected);
}

#[test]
fn what_others_say_while_a_call_is_open_stands_behind_its_result() {
    let (said, _) = claude(json!({"input": [
        {"role": "user", "content": "go"},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "b", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": "1"},
        {"role": "user", "content": "hurry"},
        {"type": "function_call_output", "call_id": "b", "output": "2"},
        {"role": "developer", "content": "be brief"}]}));
    let text = |text: &str| json!({"type": "text", "text": text});
    let result = |id: &str, said: &str| json!({"type": "tool_result", "tool_use_id": id, "content": [text(said)]});
    let expected = json!([result("a", "1"), result("b", "2"), text("hurry"), text("<system>\nbe brief\n</system>")]);
    assert_eq!(said["messages"][2]["content"], expected);
    let (said, _) = claude(json!({"input": [
        {"role": "user", "content": "go"},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
        {"role": "user", "content": "hurry"}]}));
    assert_eq!(said["messages"][2]["content"], json!([text("hurry")]));
}

#[test]
fn a_file_of_text_is_read_by_a_claude_as_what_is_written_in_it() {
    let content = json!([
        {"type": "input_file", "filename": "a.txt", "file_data": "w6QK"},
        {"type": "input_file", "filename": "b.md", "file_data": "data:text/markdown;base64,YQ=="},
        {"type": "input_image", "image_url": "data:image/jpg;base64,AA"}]);
    let (said, _) = claude(json!({"input": [{"role": "user", "content": content}]}));
    let text = |title: &str, data: &str| {
        json!({"type": "document", "title": title,
        "source": {"type": "text", "media_type": "text/plain", "data": data}})
    };
    let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "AA"}});
    assert_eq!(said["messages"][0]["content"], json!([text("a.txt", "\u{e4}\n"), text("b.md", "a"), image]));
}
