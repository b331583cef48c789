use super::*;

fn body(more: Value) -> Value {
    let mut body = json!({"model": "gpt-x", "messages": [{"role": "user", "content": "hi"}]});
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body
}

/// As a Chat body is said to a Claude.
#[track_caller]
fn claude(model: &str, more: Value) -> (Value, Vec<String>) {
    written(Dialect::Chat, Dialect::Messages, &body(more), &terms("anthropic", model))
}

#[track_caller]
fn check_refused(more: Value, field: &str) {
    let body = body(more);
    assert_eq!(
        refused(Dialect::Chat, Dialect::Messages, &body, &terms("anthropic", "claude-opus-4-6")),
        field,
        "{body}"
    );
}

#[track_caller]
fn check_said(messages: Value, expected: Value) {
    assert_eq!(claude("claude-opus-4-6", json!({ "messages": messages })).0["messages"], expected);
}

#[test]
fn what_every_client_sends_is_carried() {
    let (said, dropped) = claude(
        "claude-sonnet-4-5",
        json!({
            "messages": [{"role": "system", "content": "be kind"}, {"role": "developer", "content": [{"type": "text", "text": "brief"}]},
                {"role": "user", "content": "hi", "name": "ann"}],
            "max_tokens": 50, "max_completion_tokens": 70, "stream": true, "stream_options": {"include_usage": true},
            "temperature": 0.5, "stop": "END", "user": "u", "service_tier": "default", "n": 1, "store": false,
            "logprobs": false, "modalities": ["text"], "frequency_penalty": 0,
        }),
    );
    let expected = json!({
        "model": "claude-sonnet-4-5", "max_tokens": 70, "stream": true, "stop_sequences": ["END"], "temperature": 0.5,
        "metadata": {"user_id": "u"}, "service_tier": "standard_only",
        "system": [{"type": "text", "text": "be kind"}, {"type": "text", "text": "brief"}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    });
    assert_eq!((said, dropped), (expected, vec!["messages.name".to_owned()]));
}

#[test]
fn a_limit_is_named_where_the_client_names_none() {
    assert_eq!(claude("claude-opus-4-6", json!({})).0["max_tokens"], 4_096);
}

#[test]
fn a_step_with_tools_is_carried() {
    check_said(
        json!([
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": "I look", "refusal": null, "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "read", "arguments": "{\"path\": \"a\"}"}},
                {"id": "functions.f:0", "type": "function", "function": {"name": "now", "arguments": ""}}]},
            {"role": "tool", "tool_call_id": "call_1", "content": "text"},
            {"role": "tool", "tool_call_id": "functions.f:0", "content": [
                {"type": "text", "text": "[tool error]"}, {"type": "text", "text": "late"}]},
            {"role": "user", "content": "and?"}]),
        json!([
            {"role": "user", "content": [{"type": "text", "text": "go"}]},
            {"role": "assistant", "content": [
                {"type": "text", "text": "I look"},
                {"type": "tool_use", "id": "call_1", "name": "read", "input": {"path": "a"}},
                {"type": "tool_use", "id": "fx_functions_2ef_3a0", "name": "now", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "text"}]},
                {"type": "tool_result", "tool_use_id": "fx_functions_2ef_3a0", "content": [{"type": "text", "text": "late"}],
                 "is_error": true},
                {"type": "text", "text": "and?"}]}]),
    );
}

#[test]
fn arguments_that_are_no_object_do_not_end_a_conversation() {
    let call = |arguments: &str| {
        json!([{"role": "assistant", "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}]}])
    };
    for arguments in ["[1]", "{\"a\":", "plain \"text\"", "{} {}"] {
        let (there, _) = claude("claude-opus-4-6", json!({ "messages": call(arguments) }));
        assert_eq!(there["messages"][0]["content"][0]["input"], json!({ "_raw": arguments }));
        let (back, _) = written(Dialect::Messages, Dialect::Chat, &there, &terms("openai", "gpt-4.1"));
        assert_eq!(back["messages"][0]["tool_calls"][0]["function"]["arguments"], arguments);
    }
}

#[test]
fn tools_and_the_choice_among_them_are_carried() {
    let tools = json!([
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"b": 1, "a": 2}, "strict": false}},
        {"type": "function", "function": {"name": "g"}, "cache_control": {"type": "ephemeral"}},
        {"type": "custom", "custom": {"name": "patch", "format": {"type": "grammar"}}}]);
    let (said, dropped) = claude("claude-opus-4-6", json!({"tools": tools, "parallel_tool_calls": false}));
    assert_eq!(
        said["tools"],
        json!([
            {"name": "f", "description": "d", "input_schema": {"b": 1, "a": 2}, "strict": false},
            {"name": "g", "input_schema": {"type": "object", "properties": {}}, "cache_control": {"type": "ephemeral"}},
            {"name": "patch", "input_schema": {"type": "object", "properties": {"input": {"type": "string"}},
                "required": ["input"]}}])
    );
    assert_eq!(said["tool_choice"], json!({"type": "auto", "disable_parallel_tool_use": true}));
    assert_eq!(dropped, ["tools.custom.format"]);
    let choice = |choice: Value| {
        claude("claude-opus-4-6", json!({"tools": tools, "tool_choice": choice})).0["tool_choice"].clone()
    };
    assert_eq!(choice(json!("required")), json!({"type": "any"}));
    assert_eq!(choice(json!("none")), json!({"type": "none"}));
    assert_eq!(choice(json!({"type": "function", "function": {"name": "f"}})), json!({"type": "tool", "name": "f"}));
    check_refused(json!({"tool_choice": {"type": "allowed_tools", "allowed_tools": {}}}), "tool_choice");
    check_refused(json!({"tools": [{"type": "web_search"}]}), "tools.type");
    let (said, _) = claude("claude-opus-4-6", json!({"parallel_tool_calls": false}));
    assert_eq!(said.get("tool_choice"), None);
}

#[test]
fn a_call_with_a_text_is_carried() {
    check_said(
        json!([{"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "patch", "input": "a\nb"}}]}]),
        json!([{"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "patch", "input": {"input": "a\nb"}}]}]),
    );
}

#[test]
fn images_and_files_are_carried() {
    check_said(
        json!([{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAA/", "detail": "high"}},
            {"type": "image_url", "image_url": {"url": "https://e.x/a"}},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}}]}]),
        json!([{"role": "user", "content": [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAA/"}},
            {"type": "image", "source": {"type": "url", "url": "https://e.x/a"}},
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"},
             "title": "a.pdf"}]}]),
    );
    // Spelt with escapes.
    let body = r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image\/png;base64,A\/"}}]}]}"#;
    let said =
        request(Dialect::Chat, Dialect::Messages, body.as_bytes(), &terms("anthropic", "claude-opus-4-6")).unwrap();
    assert!(said.body.contains(r#""media_type":"image/png","data":"A/""#), "{}", said.body);
    let says = |part: Value| json!({"messages": [{"role": "user", "content": [part]}]});
    check_refused(says(json!({"type": "input_audio", "input_audio": {}})), "messages.content.type");
    check_refused(says(json!({"type": "file", "file": {"file_id": "f"}})), "messages.content.file");
    check_refused(
        says(json!({"type": "file", "file": {"file_data": "data:application/zip;base64,AA=="}})),
        "messages.content.file",
    );
    check_refused(says(json!({"type": "image_url", "image_url": {"url": "data:,x"}})), "messages.content.image_url");
}

#[test]
fn instructions_amid_a_conversation_stand_fenced_in_the_users_turn() {
    check_said(
        json!([
            {"role": "user", "content": "a"}, {"role": "system", "content": "be \"brief\""},
            {"role": "assistant", "content": "b"}, {"role": "assistant", "content": ""},
            {"role": "user", "content": " \n"}, {"role": "user", "content": "c"}]),
        json!([
            {"role": "user", "content": [{"type": "text", "text": "a"},
                {"type": "text", "text": "<system>\nbe \"brief\"\n</system>"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "b"}]},
            {"role": "user", "content": [{"type": "text", "text": "c"}]}]),
    );
}

#[test]
fn markers_of_caching_that_a_client_places_stay_where_they_are() {
    let mark = json!({"type": "ephemeral", "ttl": "1h"});
    let part = json!([{"type": "text", "text": "x", "cache_control": mark}]);
    let (said, _) = claude(
        "claude-opus-4-6",
        json!({"messages": [{"role": "system", "content": part}, {"role": "user", "content": part}]}),
    );
    assert_eq!((&said["system"], &said["messages"][0]["content"]), (&part, &part));
    let automatic = Terms { caching: Caching::Automatic, ..terms("anthropic", "claude-sonnet-4-5") };
    let long = json!([{"type": "text", "text": "x".repeat(2_000), "cache_control": mark}]);
    let marked = body(json!({"messages": [{"role": "system", "content": long}, {"role": "user", "content": "a"}]}));
    let (said, _) = written(Dialect::Chat, Dialect::Messages, &marked, &automatic);
    assert_eq!((&said["system"], &said["cache_control"]), (&long, &Value::Null));
}

/// A chat with tools, long instructions if `has_system`, and so many turns, for a row that marks.
fn marking(vendor: &str, caching: Caching, has_system: bool, turns: usize) -> String {
    let system = json!({"role": "system", "content": "x".repeat(1_100)});
    let turn = |number: usize| json!({"role": if number.is_multiple_of(2) { "user" } else { "assistant" }, "content": format!("t{number}")});
    let messages: Vec<Value> = has_system.then_some(system).into_iter().chain((0..turns).map(turn)).collect();
    let tool = |name: &str| json!({"type": "function", "function": {"name": name, "description": "y".repeat(600)}});
    let body = json!({"model": "m", "messages": messages, "tools": [tool("f"), tool("g")]});
    let terms = Terms { caching, ..terms(vendor, "claude-sonnet-4-5") };
    request(Dialect::Chat, Dialect::Messages, body.to_string().as_bytes(), &terms).unwrap().body
}

#[test]
fn a_row_that_says_so_marks_instructions_and_end_for_clients_that_mark_nothing() {
    let said = |vendor, caching, has_system, turns| -> Value {
        serde_json::from_str(&marking(vendor, caching, has_system, turns)).unwrap()
    };
    let (five, hour) = (json!({"type": "ephemeral"}), json!({"type": "ephemeral", "ttl": "1h"}));
    let all = said("anthropic", Caching::Hour, true, 3);
    assert_eq!((&all["system"][0]["cache_control"], &all["cache_control"]), (&hour, &five));
    assert_eq!(all.to_string().matches("cache_control").count(), 2);
    let tools = said("anthropic", Caching::Automatic, false, 3);
    assert_eq!((&tools["tools"][1]["cache_control"], &tools["tools"][0]["cache_control"]), (&five, &Value::Null));
    let cloud = said("bedrock", Caching::Automatic, true, 3);
    let last = &cloud["messages"].as_array().unwrap().last().unwrap()["content"][0];
    assert_eq!((&last["cache_control"], &cloud["cache_control"]), (&five, &Value::Null));
    assert_eq!(cloud.to_string().matches("cache_control").count(), 2);
    assert!(!marking("anthropic", Caching::AsMarked, true, 3).contains("cache_control"));
}

#[test]
fn markers_leave_what_was_said_before_as_it_was() {
    let stem = |turns| {
        let body = marking("anthropic", Caching::Automatic, true, turns);
        body.strip_suffix(r#"]}],"cache_control":{"type":"ephemeral"}}"#).unwrap().to_owned()
    };
    assert!(stem(3).starts_with(&stem(1)) && stem(5).starts_with(&stem(3)));
}

#[test]
fn an_effort_is_said_as_the_model_takes_it() {
    let thinks = |model: &str, more: Value| {
        let (said, dropped) = claude(model, more);
        (said["thinking"].clone(), said["output_config"]["effort"].clone(), dropped)
    };
    let none: Vec<String> = vec![];
    let left = vec!["reasoning_effort".to_owned()];
    let adaptive = json!({"type": "adaptive"});
    let high = json!({"reasoning_effort": "high"});
    assert_eq!(thinks("claude-opus-4-6", high.clone()), (adaptive.clone(), json!("high"), none.clone()));
    assert_eq!(
        thinks("claude-opus-5-5", json!({"reasoning_effort": "xhigh"})),
        (adaptive, json!("xhigh"), none.clone())
    );
    let off = json!({"reasoning_effort": "none"});
    assert_eq!(thinks("claude-opus-5-5", off.clone()), (json!({"type": "disabled"}), Value::Null, none.clone()));
    assert_eq!(thinks("claude-opus-4-7", off.clone()), (Value::Null, Value::Null, left.clone()));
    assert_eq!(thinks("claude-sonnet-4-5", off), (Value::Null, Value::Null, none.clone()));
    let budget = |tokens: u64| json!({"type": "enabled", "budget_tokens": tokens});
    let asked = |limit: u64| json!({"reasoning_effort": "high", "max_tokens": limit});
    assert_eq!(thinks("claude-sonnet-4-5", asked(32_000)), (budget(16_384), Value::Null, none.clone()));
    assert_eq!(thinks("claude-sonnet-4-5", asked(4_000)), (budget(3_000), Value::Null, none));
    assert_eq!(thinks("claude-sonnet-4-5", asked(1_024)), (Value::Null, Value::Null, left.clone()));
    let with_tools = json!({"reasoning_effort": "high", "tools": [{"type": "function", "function": {"name": "f"}}]});
    assert_eq!(thinks("claude-sonnet-4-5", with_tools), (Value::Null, Value::Null, left.clone()));
    assert_eq!(thinks("deepseek-chat", high), (Value::Null, Value::Null, left));
}

#[test]
fn randomness_is_said_as_far_as_the_model_takes_it() {
    let sampled = |model: &str, more: Value| {
        let (said, dropped) = claude(model, more);
        (said["temperature"].clone(), said["top_p"].clone(), dropped)
    };
    let both = json!({"temperature": 1.5, "top_p": 0.9});
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(sampled("claude-opus-4-6", both.clone()), (json!(1), Value::Null, named(&["temperature", "top_p"])));
    assert_eq!(sampled("claude-opus-4-7", both), (Value::Null, Value::Null, named(&["temperature", "top_p"])));
    assert_eq!(sampled("claude-opus-4-6", json!({"top_p": 0.9})), (Value::Null, json!(0.9), named(&[])));
    let thinking = json!({"temperature": 0, "reasoning_effort": "low"});
    assert_eq!(sampled("claude-opus-4-6", thinking), (Value::Null, Value::Null, named(&["temperature"])));
}

#[test]
fn a_schema_is_carried_to_models_that_take_one() {
    let format =
        json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"z": 1, "a": 2}}}});
    let (said, _) = claude("claude-opus-4-6", format);
    assert_eq!(said["output_config"], json!({"format": {"type": "json_schema", "schema": {"z": 1, "a": 2}}}));
    assert_eq!(claude("claude-opus-4-6", json!({"response_format": {"type": "text"}})).0.get("output_config"), None);
}

#[test]
fn a_schema_that_is_open_or_has_bounds_is_that_of_a_tool_which_must_be_called() {
    for schema in [
        json!({"type": "object", "properties": {"a": {"type": "string"}}}),
        json!({"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}, "additionalProperties": false}),
    ] {
        let format = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema}});
        let more = json!({"response_format": format, "reasoning_effort": "high"});
        let (said, dropped) = claude("claude-opus-4-6", more);
        assert_eq!((&said["tools"][0]["input_schema"], said.get("output_config")), (&schema, None));
        assert_eq!((said.get("thinking"), dropped), (None, vec!["reasoning_effort".to_owned()]));
    }
}

#[test]
fn a_form_that_a_model_takes_no_schema_for_is_that_of_a_tool_which_must_be_called() {
    let schema = json!({"type": "object", "properties": {"z": {"type": "string"}}});
    let format = json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}, "reasoning_effort": "high"});
    let old = terms("anthropic", "claude-opus-4-1");
    let (said, dropped) = written(Dialect::Chat, Dialect::Messages, &body(format), &old);
    assert_eq!(said["tool_choice"], json!({"type": "tool", "name": "fx_format"}));
    assert_eq!((&said["tools"][0]["name"], &said["tools"][0]["input_schema"]), (&json!("fx_format"), &schema));
    assert_eq!(
        (said.get("thinking"), &*dropped),
        (None, &["reasoning_effort".to_owned()][..]),
        "it would refuse both at once"
    );
    let (said, _) = claude("claude-opus-4-6", json!({"response_format": {"type": "json_object"}}));
    assert_eq!(said["tools"][0]["input_schema"], json!({"type": "object"}));
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    check_refused(json!({"response_format": {"type": "json_object"}, "tools": tools}), "response_format");
}

#[test]
fn what_changes_the_meaning_or_the_price_is_refused_by_name() {
    check_refused(json!({"n": 2}), "n");
    check_refused(json!({"logprobs": true}), "logprobs");
    check_refused(json!({"modalities": ["text", "audio"]}), "modalities");
    check_refused(json!({"web_search_options": {"search_context_size": "low"}}), "web_search_options");
    check_refused(json!({"functions": [{"name": "f"}]}), "functions");
    check_refused(json!({"service_tier": "flex"}), "service_tier");
    check_refused(json!({"messages": [{"role": "function", "name": "f", "content": "x"}]}), "messages.role");
}

#[test]
fn what_only_steers_is_left_out_by_name() {
    let (_, dropped) = claude(
        "claude-opus-4-6",
        json!({
            "logit_bias": {"1": 5}, "seed": 7, "presence_penalty": 0.5, "frequency_penalty": 0, "verbosity": "low",
            "store": true, "prompt_cache_key": "k", "prediction": {"type": "content"}, "stop": ["a", " "], "my field": 1,
        }),
    );
    // Keys of a `Value` come in order.
    let expected = [
        "logit_bias",
        "other",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "seed",
        "store",
        "verbosity",
        "stop",
    ];
    assert_eq!(dropped, expected);
}
