//! Responses over real TCP: what is answered, refused, kept and billed.

use http::Method;
use serde_json::{Value, json};

use super::super::tests::{Seen, send};
use super::super::{Answer, ModelScript, Provider, Reply, Running};

async fn start(reply: Reply) -> Running {
    Provider::openai().model(ModelScript::named("gpt-5.6-luna").then(reply)).start().await.expect("a free port")
}

async fn at(provider: &Running, method: Method, path: &str, body: &Value) -> Seen {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let headers = [("authorization", "Bearer sk-right"), ("x-client-request-id", "attempt-1")];
    send(provider, method, &format!("/v1/responses{path}"), &headers, body).await
}

async fn ask(provider: &Running, more: Value) -> Seen {
    at(provider, Method::POST, "", &request(more)).await
}

fn request(more: Value) -> Value {
    let mut body = json!({"model": "gpt-5.6-luna", "input": "why did it fail"});
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body
}

fn function(name: &str) -> Value {
    json!({"type": "function", "name": name, "parameters": {"type": "object", "properties": {}}})
}

fn events(seen: &Seen) -> Vec<Value> {
    let read = |event: &str| {
        let (name, data) = event.split_once('\n').expect("a name and data");
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON");
        assert_eq!(name.strip_prefix("event: "), data["type"].as_str());
        data
    };
    let events: Vec<_> = seen.body.split_terminator("\n\n").map(read).collect();
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number, "{event}");
    }
    events
}

#[tokio::test]
async fn a_whole_response_has_every_key_of_the_real_one() {
    let provider = start(Reply::text("the job failed")).await;
    let response = ask(&provider, json!({"store": false, "tools": [function("f")]})).await.json();
    for key in ["instructions", "error", "incomplete_details", "max_output_tokens", "previous_response_id", "user"] {
        assert_eq!(response.get(key), Some(&Value::Null), "{key}");
    }
    assert_eq!((&response["status"], &response["service_tier"]), (&json!("completed"), &json!("default")));
    assert_eq!(response["tools"][0]["strict"], true);
    let message = &response["output"][0];
    assert_eq!(message["content"][0]["text"], "the job failed");
    assert!(message["id"].as_str().is_some_and(|id| id.starts_with("msg_")));
    let tokens = provider.invoice().lines[0].tokens;
    assert_eq!(response["usage"]["input_tokens"], tokens.input);
    assert_eq!((tokens.output, &response["usage"]["output_tokens"]), (3, &json!(3)));
}

#[tokio::test]
async fn a_stream_numbers_its_events_and_ends_in_the_whole_response() {
    let answer = Answer {
        text: Some("reading".into()),
        ..Answer::calls([("read_log", json!({"task": "load"})), ("apply_patch", json!({"input": "*** Begin"}))])
    };
    let provider = start(Reply::answer(answer).thinks("the log first")).await;
    let tools = json!([function("read_log"), {"type": "custom", "name": "apply_patch"}]);
    let include = json!(["reasoning.encrypted_content"]);
    let more = json!({"stream": true, "tools": tools, "include": include, "reasoning": {"summary": "auto"}});
    let events = events(&ask(&provider, more).await);
    let kinds: Vec<_> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(kinds[..3], ["response.created", "response.in_progress", "response.output_item.added"]);
    assert_eq!(events[0]["response"].get("usage"), Some(&Value::Null));
    let last = events.last().expect("a last event");
    assert_eq!(last["type"], "response.completed");
    let output = &last["response"]["output"];
    let types: Vec<_> = output.as_array().into_iter().flatten().map(|item| &item["type"]).collect();
    assert_eq!(json!(types), json!(["reasoning", "message", "function_call", "custom_tool_call"]));
    assert_eq!((&output[2]["arguments"], &output[3]["input"]), (&json!("{\"task\":\"load\"}"), &json!("*** Begin")));
    let done: Vec<_> = events.iter().filter(|event| event["type"] == "response.output_item.done").collect();
    assert_eq!(json!(done.iter().map(|event| &event["item"]).collect::<Vec<_>>()), *output);
    let said = |kind: &str| -> String {
        events.iter().filter(|event| event["type"] == kind).filter_map(|event| event["delta"].as_str()).collect()
    };
    assert_eq!(said("response.reasoning_summary_text.delta"), "the log first");
    assert_eq!(said("response.output_text.delta"), "reading");
    assert_eq!(said("response.function_call_arguments.delta"), "{\"task\":\"load\"}");
    assert_eq!(said("response.custom_tool_call_input.delta"), "*** Begin");
    let tokens = provider.invoice().lines[0].tokens;
    assert_eq!(last["response"]["usage"]["output_tokens"], tokens.output);
    assert_eq!(last["response"]["usage"]["output_tokens_details"]["reasoning_tokens"], 3);
}

#[track_caller]
fn check_refused(seen: &Seen, status: u16, code: Value, words: &str) {
    let error = &seen.json()["error"];
    assert_eq!((seen.status, &error["code"]), (status, &code), "{words}: {}", seen.body);
    assert!(error["message"].as_str().is_some_and(|message| message.contains(words)), "{error} has not {words:?}");
}

#[tokio::test]
async fn what_the_real_api_refuses_is_refused_in_its_words() {
    let provider = start(Reply::text("a")).await;
    let call = json!({"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"});
    let output = json!({"type": "function_call_output", "call_id": "c1", "output": "1"});
    let strict = json!({"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": true});
    let thought =
        |sealed: Value| json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": sealed});
    let own = super::super::seal::seal("a");
    for (more, code, words) in [
        (json!({"messages": []}), json!("unknown_parameter"), "Unknown parameter: 'messages'."),
        (json!({"model": null}), json!("missing_required_parameter"), "'model'"),
        (json!({"input": null}), json!("missing_required_parameter"), "must be provided"),
        (json!({"input": 1}), json!("invalid_type"), "got an integer instead"),
        (json!({"max_output_tokens": 5}), json!("integer_below_min_value"), "Expected a value >= 16, but got 5"),
        (json!({"reasoning": {"effort": "huge"}}), json!("invalid_value"), "Supported values are: 'none', 'minimal'"),
        (json!({"include": ["x"]}), json!("invalid_value"), "Invalid value: 'x'"),
        (json!({"temperature": 1, "reasoning": {"effort": "low"}}), json!(null), "not supported with this model"),
        (
            json!({"input": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]}),
            json!("invalid_value"),
            "'input_text'",
        ),
        (json!({"input": [{"type": "tool_use"}]}), json!("invalid_value"), "Invalid value: 'tool_use'"),
        (json!({"input": [call]}), json!(null), "No tool output found for function call c1."),
        (json!({"input": [output]}), json!(null), "No tool call found for function call output with call_id c1."),
        (
            json!({"input": [{"type": "function_call", "id": "msg_1", "call_id": "c1", "name": "f", "arguments": "{}"}]}),
            json!("invalid_value"),
            "begins with 'fc'",
        ),
        (
            json!({"input": [thought("fx1.anthropic".into())]}),
            json!("invalid_encrypted_content"),
            "could not be verified",
        ),
        (json!({"input": [thought(own.into())]}), json!(null), "without its required following item"),
        (
            json!({"tools": [{"type": "function", "function": {"name": "f"}}]}),
            json!("missing_required_parameter"),
            "tools[0].name",
        ),
        (json!({"tools": [strict]}), json!("invalid_function_parameters"), "'additionalProperties' is required"),
        (json!({"previous_response_id": "resp_1"}), json!("previous_response_not_found"), "'resp_1' not found"),
        (json!({"background": true, "store": false}), json!(null), "'store'"),
    ] {
        check_refused(&ask(&provider, more).await, 400, code, words);
    }
    check_refused(
        &ask(&provider, json!({"input": [thought(json!(null))]})).await,
        404,
        json!(null),
        "'rs_1' not found",
    );
    check_refused(&ask(&provider, json!({"model": "none"})).await, 404, json!("model_not_found"), "`none`");
    assert!(provider.invoice().lines.is_empty());
}

#[tokio::test]
async fn thoughts_and_calls_come_back_as_they_went_out() {
    let provider = start(Reply::calls("f", json!({})).thinks("the log first")).await;
    let more = json!({"store": false, "include": ["reasoning.encrypted_content"], "tools": [function("f")]});
    let mut input = vec![json!({"role": "user", "content": "why"})];
    let first = ask(&provider, at_input(&more, &input)).await.json();
    input.extend(first["output"].as_array().into_iter().flatten().cloned());
    input.push(json!({"type": "function_call_output", "call_id": first["output"][1]["call_id"], "output": "1"}));
    let second = ask(&provider, at_input(&more, &input)).await;
    assert_eq!(second.status, 200, "{}", second.body);
}

fn at_input(more: &Value, input: &[Value]) -> Value {
    let mut more = more.clone();
    more["input"] = input.into();
    more
}

#[tokio::test]
async fn a_stored_response_is_read_continued_and_deleted_by_its_id() {
    let provider = start(Reply::text("the job failed")).await;
    let first = ask(&provider, json!({})).await.json();
    let id = first["id"].as_str().expect("an id");
    assert_eq!(at(&provider, Method::GET, &format!("/{id}"), &Value::Null).await.json(), first);
    let items = at(&provider, Method::GET, &format!("/{id}/input_items"), &Value::Null).await.json();
    assert_eq!(items["data"][0]["content"][0]["text"], "why did it fail");
    let second = ask(&provider, json!({"input": "and now", "previous_response_id": id})).await.json();
    assert_eq!(second["previous_response_id"], id);
    let lines = provider.invoice().lines;
    assert!(lines[1].tokens.input > lines[0].tokens.input, "what was said before is input again");
    check_refused(
        &at(&provider, Method::POST, &format!("/{id}/cancel"), &Value::Null).await,
        400,
        json!(null),
        "synchronous",
    );
    let deleted = at(&provider, Method::DELETE, &format!("/{id}"), &Value::Null).await.json();
    assert_eq!(deleted["deleted"], true);
    check_refused(&at(&provider, Method::GET, &format!("/{id}"), &Value::Null).await, 404, json!(null), "not found");
    let count = at(&provider, Method::POST, "/input_tokens", &request(json!({}))).await.json();
    assert_eq!(count, json!({"object": "response.input_tokens", "input_tokens": lines[0].tokens.input}));
}

#[tokio::test]
async fn a_response_in_the_background_is_done_when_somebody_asks() {
    let provider = start(Reply::text("the job failed")).await;
    for (path, method, status) in [("", Method::GET, "completed"), ("/cancel", Method::POST, "cancelled")] {
        let queued = ask(&provider, json!({"background": true})).await.json();
        assert_eq!((&queued["status"], &queued["output"]), (&json!("queued"), &json!([])));
        let path = format!("/{}{path}", queued["id"].as_str().expect("an id"));
        assert_eq!(at(&provider, method, &path, &Value::Null).await.json()["status"], status);
    }
    assert_eq!(provider.invoice().lines.len(), 2);
}

#[tokio::test]
async fn a_stream_breaks_where_the_script_says() {
    let words = || Reply::tokens(20);
    // created, in_progress, item, part, twenty words, text, part, item, completed.
    for (reply, count, last) in [
        (words(), 28, "response.completed"),
        (words().without_done(), 27, "response.output_item.done"),
        (words().ends_after(6), 6, "response.output_text.delta"),
        (words().fails_after(6), 7, "error"),
        (words().response_fails_after(6), 7, "response.failed"),
        (words().response_is_limited_after(0), 1, "response.failed"),
    ] {
        let provider = start(reply).await;
        let events = events(&ask(&provider, json!({"stream": true})).await);
        assert_eq!((events.len(), &events[events.len() - 1]["type"]), (count, &json!(last)));
        provider.settled().await.expect("settled");
        assert_eq!(provider.invoice().lines.len(), 1);
    }
    let provider = start(words()).await;
    let events = events(&ask(&provider, json!({"stream": true, "max_output_tokens": 16})).await);
    let last = &events[events.len() - 1];
    assert_eq!(
        (&last["type"], &last["response"]["incomplete_details"]),
        (&json!("response.incomplete"), &json!({"reason": "max_output_tokens"}))
    );
}

#[tokio::test]
async fn bad_habits_are_those_of_the_other_dialects() {
    let model = ModelScript::named("gpt-5.6-luna").hides_reasoning(50).ignores_limits().then(Reply::tokens(30));
    let provider = Provider::openai().model(model).start().await.expect("a free port");
    let response = ask(&provider, json!({"max_output_tokens": 16})).await.json();
    assert_eq!((&response["usage"]["output_tokens"], provider.invoice().lines[0].tokens.output), (&json!(30), 80));
    for (reply, expected) in
        [(Reply::text("a").without_usage(), json!(null)), (Reply::text("a").with_zero_usage(), json!(0))]
    {
        let provider = start(reply).await;
        assert_eq!(ask(&provider, json!({})).await.json()["usage"]["input_tokens"], expected);
        assert!(provider.invoice().lines[0].tokens.input > 0);
    }
}
