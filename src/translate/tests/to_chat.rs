use super::*;

/// As a Messages body is said to OpenAI.
#[track_caller]
fn chat(more: Value) -> (Value, Vec<String>) {
    written(Dialect::Messages, Dialect::Chat, &body(more), &terms("openai", "gpt-4.1"))
}

fn body(more: Value) -> Value {
    let mut body = json!({"model": "claude-x", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]});
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body
}

fn hi() -> Value {
    json!([{"role": "user", "content": "hi"}])
}

#[track_caller]
fn check_refused(more: Value, field: &str) {
    let body = body(more);
    assert_eq!(refused(Dialect::Messages, Dialect::Chat, &body, &terms("openai", "gpt-4.1")), field, "{body}");
}

#[track_caller]
fn check_said(messages: Value, expected: Value) {
    assert_eq!(chat(json!({ "messages": messages })).0["messages"], expected);
}

#[test]
fn what_every_client_sends_is_carried() {
    let (said, dropped) = chat(json!({
        "system": "be kind", "stream": true, "temperature": 0.20, "top_p": 1, "stop_sequences": ["\n\nHuman:", "x"],
        "service_tier": "standard_only", "metadata": {"user_id": "u-1"}, "cache_control": {"type": "ephemeral"},
    }));
    let expected = json!({
        "model": "gpt-4.1", "max_completion_tokens": 100, "stream": true, "stream_options": {"include_usage": true},
        "stop": ["\n\nHuman:", "x"], "temperature": 0.20, "top_p": 1, "safety_identifier": "u-1",
        "service_tier": "default", "messages": [
            {"role": "developer", "content": "be kind"},
            {"role": "user", "content": "hi"}],
    });
    assert_eq!((said, dropped), (expected, vec![]));
}

#[test]
fn another_vendor_is_told_in_the_older_words() {
    let body = body(json!({"system": "s", "top_k": 5, "metadata": {"user_id": "u"}, "service_tier": "auto"}));
    let (said, dropped) = written(Dialect::Messages, Dialect::Chat, &body, &terms("vllm", "qwen"));
    assert_eq!((&said["max_tokens"], &said["user"], &said["top_k"]), (&json!(100), &json!("u"), &json!(5)));
    assert_eq!((&said["messages"][0]["role"], said.get("service_tier")), (&json!("system"), None));
    assert!(dropped.is_empty(), "{dropped:?}");
}

#[test]
fn the_long_name_of_a_user_is_hashed() {
    let (said, _) = chat(json!({"metadata": {"user_id": "ü".repeat(65)}}));
    let name = said["safety_identifier"].as_str().unwrap();
    assert!(name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
    assert_eq!(chat(json!({"metadata": {"user_id": "ü".repeat(64)}})).0["safety_identifier"], "ü".repeat(64));
}

#[test]
fn tools_and_the_choice_among_them_are_carried() {
    let tools = json!([
        {"name": "read", "description": "reads", "input_schema": {"type": "object", "properties": {"p": {}}, "required": ["p"],
         "additionalProperties": false}, "cache_control": {"type": "ephemeral"}, "strict": true},
        {"type": "custom", "name": "f", "input_schema": {"b": 1, "a": 2}, "defer_loading": true, "input_examples": [{}],
         "eager_input_streaming": false}]);
    let (said, dropped) =
        chat(json!({"tools": tools, "tool_choice": {"type": "any", "disable_parallel_tool_use": true}}));
    assert_eq!(
        said["tools"],
        json!([
            {"type": "function", "function": {"name": "read", "description": "reads",
                "parameters": {"type": "object", "properties": {"p": {}}, "required": ["p"], "additionalProperties": false},
                "strict": true}},
            {"type": "function", "function": {"name": "f", "parameters": {"b": 1, "a": 2}}}])
    );
    assert_eq!((&said["tool_choice"], &said["parallel_tool_calls"]), (&json!("required"), &json!(false)));
    assert_eq!(dropped, ["tools.defer_loading", "tools.input_examples"]);
    let choice = |choice: Value| chat(json!({"tools": tools, "tool_choice": choice})).0["tool_choice"].clone();
    assert_eq!(choice(json!({"type": "auto"})), "auto");
    assert_eq!(choice(json!({"type": "none"})), "none");
    assert_eq!(choice(json!({"type": "tool", "name": "f"})), json!({"type": "function", "function": {"name": "f"}}));
    check_refused(json!({"tools": [{"type": "bash_20250124", "name": "bash"}]}), "tools.type");
    check_refused(json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}), "tools.type");
}

#[test]
fn a_step_with_tools_is_carried() {
    check_said(
        json!([
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "text", "text": "I look"},
                {"type": "tool_use", "id": "toolu_1", "name": "read", "input": {"path": "a \"b\"\n"}},
                {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}}]},
            {"role": "user", "content": [
                {"type": "text", "text": "<system-reminder>x</system-reminder>"},
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "text"},
                {"type": "tool_result", "tool_use_id": "toolu_2", "is_error": true,
                 "content": "late"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_3", "name": "now", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_3"}]}]),
        json!([
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": "I look", "tool_calls": [
                {"id": "toolu_1", "type": "function",
                 "function": {"name": "read", "arguments": json!({"path": "a \"b\"\n"}).to_string()}},
                {"id": "toolu_2", "type": "function", "function": {"name": "now", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "toolu_1", "content": "text"},
            {"role": "tool", "tool_call_id": "toolu_2", "content": [
                {"type": "text", "text": "[tool error]"}, {"type": "text", "text": "late"}]},
            {"role": "user", "content": "<system-reminder>x</system-reminder>"},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "toolu_3", "type": "function", "function": {"name": "now", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "toolu_3", "content": ""}]),
    );
}

#[test]
fn arguments_are_copied_as_they_are_spelt() {
    let body = r#"{"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f",
        "input":{ "b":1.0, "a":"\u00e4\/" }}]}]}"#;
    let said = request(Dialect::Messages, Dialect::Chat, body.as_bytes(), &terms("openai", "gpt-4.1")).unwrap();
    assert!(said.body.contains(r#""arguments":"{ \"b\":1.0, \"a\":\"\\u00e4\\/\" }""#), "{}", said.body);
}

#[test]
fn images_are_carried_and_those_of_results_follow_behind_all_of_them() {
    let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAA/"}});
    let url = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAA/"}});
    check_said(
        json!([{"role": "user", "content": [image, {"type": "image", "source": {"type": "url", "url": "https://e.x/a"}}]}]),
        json!([{"role": "user", "content": [url, {"type": "image_url", "image_url": {"url": "https://e.x/a"}}]}]),
    );
    check_said(
        json!([{"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": [image, {"type": "text", "text": "seen"}]},
            {"type": "tool_result", "tool_use_id": "t2", "content": "ok"},
            {"type": "text", "text": "so?"}]}]),
        json!([
            {"role": "tool", "tool_call_id": "t1", "content": "seen"},
            {"role": "tool", "tool_call_id": "t2", "content": "ok"},
            {"role": "user", "content": [
                {"type": "text", "text": "Image of tool result t1:"}, url, {"type": "text", "text": "so?"}]}]),
    );
    let file = json!([{"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}]);
    check_refused(json!({ "messages": file }), "messages.content.source");
}

#[test]
fn documents_are_carried_as_files_or_as_what_is_written_in_them() {
    let says = |block: Value| json!([{"role": "user", "content": [block]}]);
    check_said(
        says(json!({"type": "document", "title": "a.pdf",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}})),
        says(json!({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}})),
    );
    check_said(
        says(json!({"type": "document", "title": "T", "context": "C",
            "source": {"type": "text", "media_type": "text/plain", "data": "words"}})),
        json!([{"role": "user", "content": [
            {"type": "text", "text": "C"}, {"type": "text", "text": "T"}, {"type": "text", "text": "words"}]}]),
    );
    check_said(
        says(json!({"type": "search_result", "title": "T", "source": "https://e.x",
            "content": "found"})),
        json!([{"role": "user", "content": [
            {"type": "text", "text": "T\nhttps://e.x"}, {"type": "text", "text": "found"}]}]),
    );
    let elsewhere = says(json!({"type": "document", "source": {"type": "url", "url": "https://e.x/a.pdf"}}));
    check_refused(json!({ "messages": elsewhere }), "messages.content.source");
}

#[test]
fn what_ran_at_anthropic_is_left_out_and_what_came_of_it_stays() {
    let (said, dropped) = chat(json!({"messages": [
        {"role": "assistant", "content": [
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
            {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
            {"type": "text", "text": "so", "citations": [{"type": "x"}]}]},
        {"role": "system", "content": "be brief"}]}));
    assert_eq!(
        said["messages"],
        json!([{"role": "assistant", "content": "so"},
            {"role": "developer", "content": "be brief"}])
    );
    assert_eq!(dropped, ["messages.content.server_tool_use", "messages.content.citations"]);
}

#[test]
fn claude_code_is_carried() {
    let (said, dropped) = chat(json!({
        "system": [{"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.197"},
            {"type": "text", "text": "You are Claude Code", "cache_control": {"type": "ephemeral"}}],
        "thinking": {"type": "enabled", "budget_tokens": 31999}, "context_management": {"edits": []},
        "metadata": {"user_id": "u"}, "tools": [], "max_tokens": 32000,
    }));
    assert_eq!(said["messages"][0]["content"], "You are Claude Code");
    assert_eq!((said.get("tools"), said.get("reasoning_effort")), (None, None));
    assert_eq!(dropped, ["context_management", "thinking"]);
    let body = body(json!({"thinking": {"type": "enabled", "budget_tokens": 31999}, "temperature": 1}));
    let (said, dropped) = written(Dialect::Messages, Dialect::Chat, &body, &terms("openai", "gpt-5.6"));
    assert_eq!(said["reasoning_effort"], "high");
    assert_eq!(dropped, ["temperature"]);
}

#[test]
fn an_effort_is_said_by_its_word_and_none_where_thinking_is_off() {
    let effort = |more: Value| {
        written(Dialect::Messages, Dialect::Chat, &body(more), &terms("openai", "gpt-5.6")).0["reasoning_effort"]
            .clone()
    };
    assert_eq!(effort(json!({"output_config": {"effort": "max"}, "thinking": {"type": "adaptive"}})), "xhigh");
    assert_eq!(effort(json!({"thinking": {"type": "adaptive"}})), Value::Null);
    assert_eq!(effort(json!({"output_config": {"effort": "low"}, "thinking": {"type": "disabled"}})), "none");
    assert_eq!(effort(json!({"thinking": {"type": "enabled", "budget_tokens": 2048}})), "low");
}

#[test]
fn a_schema_is_carried() {
    let open = json!({"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "integer"}}});
    let mut closed = open.clone();
    closed["required"] = json!(["z", "a"]);
    closed["additionalProperties"] = json!(false);
    for (schema, strict) in [(open, false), (closed, true)] {
        let (said, _) = chat(json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}}));
        let expected = json!({"type": "json_schema",
            "json_schema": {"name": "response", "schema": schema, "strict": strict}});
        assert_eq!(said["response_format"], expected);
    }
    let tool = json!([{"name": "f", "input_schema": {"type": "object"}, "strict": true}]);
    let (said, dropped) = chat(json!({ "tools": tool }));
    assert_eq!((&said["tools"][0]["function"]["strict"], dropped), (&json!(false), vec!["tools.strict".to_owned()]));
}

/// As a conversation with a tool is said to a vendor's model.
fn step_at(vendor: &str, model: &str) -> Value {
    let body = body(json!({"system": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "messages": [
        {"role": "user", "content": [{"type": "text", "text": "go"}, {"type": "text", "text": "on"}]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "fx1.none"},
            {"type": "redacted_thinking", "data": "fx1.google.toolu_1.CiQB.+/="},
            {"type": "text", "text": "I "}, {"type": "text", "text": "look"},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
            {"type": "tool_use", "id": "toolu_2", "name": "f", "input": {}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": "ok"},
            {"type": "tool_result", "tool_use_id": "toolu_2", "is_error": true, "content": "late"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_3", "name": "f", "input": {}}]}]}));
    written(Dialect::Messages, Dialect::Chat, &body, &terms(vendor, model)).0["messages"].take()
}

#[test]
fn texts_are_one_for_vendors_that_take_no_parts() {
    let said = step_at("groq", "llama-4");
    let texts: Vec<&Value> = said.as_array().unwrap().iter().map(|message| &message["content"]).collect();
    let expected =
        [json!("a\n\nb"), json!("go\n\non"), json!("I look"), json!("ok"), json!("[tool error]\n\nlate"), Value::Null];
    assert_eq!(texts, expected.iter().collect::<Vec<_>>());
    assert_eq!(step_at("openai", "gpt-4.1")[0]["content"][1]["text"], "b");
}

#[test]
fn thoughts_go_back_to_who_wants_them_with_every_call() {
    let said = step_at("deepseek", "deepseek-chat");
    assert_eq!((&said[2]["reasoning_content"], &said[5]["reasoning_content"]), (&json!("hm"), &json!("")));
    assert_eq!(said[1].get("reasoning_content"), None);
    for other in ["mistral", "groq", "openai", "gemini"] {
        assert!(!step_at(other, "m").to_string().contains("reasoning_content"), "{other}");
    }
}

#[test]
fn a_signature_of_google_s_goes_back_with_its_call_and_one_that_is_missing_is_named() {
    let signature = |call: &Value| call["extra_content"]["google"]["thought_signature"].clone();
    let said = step_at("gemini", "gemini-3-pro");
    let calls = &said[2]["tool_calls"];
    assert_eq!((signature(&calls[0]), signature(&calls[1])), (json!("CiQB.+/="), Value::Null));
    assert_eq!(signature(&said[5]["tool_calls"][0]), "skip_thought_signature_validator");
    let said = step_at("vertex", "google/gemini-2.5-pro");
    assert_eq!(signature(&said[2]["tool_calls"][0]), "CiQB.+/=");
    assert_eq!(said[5]["tool_calls"][0].get("extra_content"), None);
    for other in ["openai", "deepseek"] {
        assert!(!step_at(other, "m").to_string().contains("extra_content"), "{other}");
    }
}

#[test]
fn ids_of_calls_and_names_of_users_are_as_mistral_takes_them() {
    let said = step_at("mistral", "mistral-large-latest");
    let id = said[2]["tool_calls"][0]["id"].as_str().unwrap();
    assert!(id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
    assert_eq!(said[3]["tool_call_id"], id);
    let body = body(json!({"metadata": {"user_id": "u"}}));
    let (said, dropped) = written(Dialect::Messages, Dialect::Chat, &body, &terms("mistral", "m"));
    assert_eq!((said.get("user"), dropped), (None, vec!["metadata.user_id".to_owned()]));
}

#[test]
fn what_changes_the_meaning_or_the_price_is_refused_by_name() {
    check_refused(json!({"speed": "fast"}), "speed");
    check_refused(json!({"inference_geo": "us"}), "inference_geo");
    check_refused(json!({"mcp_servers": [{"url": "https://e.x"}]}), "mcp_servers");
    check_refused(json!({"container": "c"}), "container");
    check_refused(json!({"stop_sequences": ["a", "b", "c", "d", "e"]}), "stop_sequences");
    check_refused(json!({"service_tier": "batch"}), "service_tier");
    let upload = json!([{"role": "user", "content": [{"type": "container_upload", "file_id": "f"}]}]);
    check_refused(json!({ "messages": upload }), "messages.content");
    check_refused(json!({"messages": [{"role": "tool", "content": "x"}]}), "messages.role");
    check_refused(json!({"messages": "hi"}), "messages");
    check_refused(json!({"messages": [7]}), "messages");
}

#[test]
fn what_says_nothing_is_carried_by_saying_nothing() {
    let (said, dropped) = chat(json!({"mcp_servers": [], "speed": "standard", "container": null, "thinking": null,
        "top_k": 3, "diagnostics": {}}));
    assert_eq!(said["messages"], hi());
    assert_eq!(dropped, ["diagnostics", "top_k"]);
}
