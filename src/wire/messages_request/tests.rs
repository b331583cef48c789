use serde_json::{Value, json};

use super::*;
use crate::prompt::json::WholeNumber;

fn view(more: Value) -> View {
    let mut body =
        json!({"model": "claude-opus-5-5", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]});
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    read(body.to_string().as_bytes()).unwrap()
}

#[test]
fn a_body_says_what_is_decided_on() {
    let body = br#"{"model": "claude-x", "max_tokens": 64, "stream": true, "messages": [{"role":"user","content":"hi"}],
        "metadata": {"user_id": "u-1"}, "service_tier": "standard_only", "output_config": {"format": {"type": "json_schema"}}}"#;
    let view = read(body).unwrap();
    assert_eq!((view.model.as_str(), &body[view.model_at.clone()]), ("claude-x", &br#""claude-x""#[..]));
    assert_eq!((view.output_limit, view.stream, view.messages), (WholeNumber::Is(64), true, 1));
    let at = view.output_limits_at[1].clone().unwrap();
    assert_eq!((&body[at], view.usage_in_stream), (&b"64"[..], UsageInStream::Asked));
    assert_eq!((view.claims.user.as_deref(), view.service_tier.as_deref()), (Some("u-1"), Some("default")));
    assert!(view.outline.wants_json);
}

#[track_caller]
fn check_refused(body: &str, message: &str) {
    assert_eq!(read(body.as_bytes()).unwrap_err().to_string(), message, "{body}");
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    check_refused(r#"{"model":"a","messages":[],"model":"b"}"#, "the key `model` stands twice in the body");
    check_refused(
        r#"{"model":"a","messages":[],"max_tokens":1,"max_tokens":2}"#,
        "the key `max_tokens` stands twice in the body",
    );
    check_refused(
        r#"{"model":"a","messages":[],"MAX_TOKENS":1}"#,
        "a key of the body differs from `max_tokens` only in its case, and some providers read both alike",
    );
    check_refused(r#"{"messages":[]}"#, "`model` must be given");
    check_refused(r#"{"model":"a"}"#, "`messages` must be given");
    check_refused(r#"{"model":"a","messages":"hi"}"#, "`messages` must be an array");
    check_refused(r#"{"model":7,"messages":[]}"#, "`model` must be a string");
}

fn says(content: Value) -> Value {
    json!({"role": "user", "content": content})
}

/// How many user turns there are, and how many tool results after the last.
#[track_caller]
fn check_turns(messages: &[Value], expected: (u32, usize)) {
    let view = view(json!({ "messages": messages }));
    let outline = &view.outline;
    assert_eq!((outline.user_turns, outline.tool_results.len()), expected, "{messages:?}");
}

#[test]
fn results_of_tools_are_no_turn_of_the_user() {
    let call = json!({"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]});
    let result = json!({"type": "tool_result", "tool_use_id": "t", "content": "42"});
    let reminder = json!({"type": "text", "text": "<system-reminder>\nmind the todo list\n</system-reminder>"});
    let words = json!({"type": "text", "text": "and now?"});
    let first = says(json!("go"));
    check_turns(&[first.clone(), call.clone(), says(json!([result]))], (1, 1));
    check_turns(&[first.clone(), call.clone(), says(json!([result, result, reminder]))], (1, 2));
    check_turns(&[first.clone(), call, says(json!([result, words]))], (2, 0));
    check_turns(&[first.clone(), says(json!([reminder]))], (1, 0));
    check_turns(&[says(json!([reminder, words]))], (1, 0));
    check_turns(&[first, json!({"role": "system", "content": "be brief"})], (1, 0));
}

#[test]
fn a_marker_that_moves_on_changes_nothing_of_what_is_said() {
    let marked = |mark: bool| {
        let mut block = json!({"type": "text", "text": "hello"});
        if mark {
            block["cache_control"] = json!({"type": "ephemeral"});
        }
        let tool = |name: &str| json!({"type": "custom", "name": name, "cache_control": {"type": "ephemeral"}});
        let tools = if mark { json!([tool("f")]) } else { json!([{"type": "custom", "name": "f"}]) };
        // Behind the others, as `json!` sorts the keys: the comma before it goes with it.
        let body = json!({"model": "m", "messages": [{"role": "user", "content": [block.clone()]}], "system": [block], "tools": tools});
        let text = body.to_string().replace(r#"{"cache_control":{"type":"ephemeral"},"#, "{").replace(
            r#""type":"text"}"#,
            if mark { r#""type":"text","cache_control":{"type":"ephemeral"}}"# } else { r#""type":"text"}"# },
        );
        read(text.as_bytes()).unwrap().outline.chain
    };
    let (with, without) = (marked(true), marked(false));
    assert_eq!((with.last(), with.head), (without.last(), without.head));
}

#[test]
fn claude_code_s_billing_header_is_no_part_of_the_prompt() {
    let system = |version: &str| {
        json!([{"type": "text", "text": format!("x-anthropic-billing-header: cc_version={version}")},
               {"type": "text", "text": "You are Claude Code."}])
    };
    let (one, other) = (view(json!({"system": system("2.1.0")})), view(json!({"system": system("2.1.17")})));
    assert_eq!(one.outline.chain.head, other.outline.chain.head);
    assert_ne!(one.outline.chain.head, view(json!({"system": "You are somebody else."})).outline.chain.head);
    assert_eq!(one.outline.instructions.len(), 1);
}

#[test]
fn what_no_bytes_bound_is_counted() {
    let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}});
    let file = json!({"type": "document", "source": {"type": "base64", "data": "AAAA"}});
    let plain = json!({"type": "document", "source": {"type": "text", "data": "abc"}});
    let result = json!({"type": "tool_result", "tool_use_id": "t", "content": [image]});
    let found = view(json!({"messages": [says(json!([image, file, plain, result]))]})).attachments;
    assert_eq!((found.images, found.references), (2, 1));
    for (tool, is_providers) in [
        (json!({"name": "f", "input_schema": {}}), 0),
        (json!({"type": "custom", "name": "f"}), 0),
        (json!({"type": "bash_20250124", "name": "bash"}), 0),
        (json!({"type": "web_search_20260209", "name": "web_search"}), 1),
        (json!({"type": "code_execution_20260120", "name": "code_execution"}), 1),
    ] {
        assert_eq!(view(json!({"tools": [tool]})).attachments.server_tools, is_providers, "{tool}");
    }
    assert_eq!(view(json!({"mcp_servers": [{"url": "u"}]})).attachments.server_tools, 1);
    assert_eq!(view(json!({"mcp_servers": [], "container": null})).attachments.server_tools, 0);
}

#[test]
fn what_is_charged_beside_the_list_is_no_tier_of_it() {
    for more in [json!({"speed": "fast", "service_tier": "auto"}), json!({"inference_geo": "us"})] {
        let tier = view(more).service_tier.unwrap();
        assert_eq!(crate::reply::usage::ServiceTier::from_reply(&tier), crate::reply::usage::ServiceTier::Other);
    }
    assert_eq!(view(json!({"speed": "standard", "inference_geo": "global"})).service_tier, None);
}
