use serde_json::{Value, json};

use super::*;
use crate::prompt::json::WholeNumber;

fn body(more: Value) -> String {
    let mut body = json!({"model": "gpt-5.6-luna", "input": "hi"});
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body.to_string()
}

fn view(more: Value) -> View {
    let body = body(more);
    read(body.as_bytes()).unwrap_or_else(|error| panic!("{error}: {body}"))
}

#[test]
fn a_body_says_what_is_decided_on() {
    let body =
        br#"{"model": "gpt-x", "max_output_tokens": 64, "stream": true, "input": "hi", "instructions": "be brief",
        "metadata": {"team": "t", "user": "u-1"}, "prompt_cache_key": "k", "service_tier": "flex",
        "text": {"format": {"type": "json_schema", "name": "n"}, "verbosity": "low"}, "user": "u-2", "store": false,
        "previous_response_id": null, "background": false}"#;
    let view = read(body).unwrap();
    assert_eq!((view.model.as_str(), &body[view.model_at.clone()]), ("gpt-x", &br#""gpt-x""#[..]));
    assert_eq!((view.output_limit, view.stream, view.messages), (WholeNumber::Is(64), true, 1));
    let at = view.output_limits_at[0].clone().unwrap();
    assert_eq!((&body[at], view.usage_in_stream), (&b"64"[..], UsageInStream::Asked));
    assert_eq!((view.claims.user.as_deref(), view.claims.team.as_deref()), (Some("u-1"), Some("t")));
    assert_eq!((view.cache_key.as_deref(), view.service_tier.as_deref()), (Some("k"), Some("flex")));
    assert_eq!(&body[view.system_at.clone().unwrap()], br#""be brief""#);
    assert!(view.outline.wants_json);
    assert_eq!((view.outline.user_turns, view.outline.last_user.map(|at| &body[at])), (1, Some(&br#""hi""#[..])));
}

#[track_caller]
fn check_refused(body: &str, message: &str) {
    assert_eq!(read(body.as_bytes()).unwrap_err().to_string(), message, "{body}");
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    check_refused(r#"{"model":"a","input":"x","input":"y"}"#, "the key `input` stands twice in the body");
    check_refused(
        r#"{"model":"a","input":[],"max_output_tokens":1,"max_output_tokens":2}"#,
        "the key `max_output_tokens` stands twice in the body",
    );
    check_refused(
        r#"{"model":"a","input":[],"Background":true}"#,
        "a key of the body differs from `background` only in its case, and some providers read both alike",
    );
    check_refused(r#"{"input":[]}"#, "`model` must be given");
    check_refused(r#"{"model":"a"}"#, "`input` must be given");
    check_refused(r#"{"model":"a","input":7}"#, "`input` must be a string or an array");
}

#[test]
fn what_nobody_makes_through_here_is_named_by_nobody() {
    for (key, value) in
        [("prompt", json!({"id": "pmpt_1"})), ("input", json!([{"type": "item_reference", "id": "msg_1"}]))]
    {
        let body = body(json!({ key: value }));
        assert_eq!(read(body.as_bytes()), Err(BodyError::NotServed(key)), "{body}");
    }
}

#[test]
fn what_a_provider_keeps_is_named_and_what_is_kept_is_told() {
    let named = |view: &View| view.named.iter().map(|named| (named.key, named.id.clone())).collect::<Vec<_>>();
    let from = view(json!({"previous_response_id": "resp_1", "store": false}));
    assert_eq!(
        (named(&from), from.continues, from.stores),
        (vec![("previous_response_id", "resp_1".to_owned())], true, false)
    );
    let from = view(json!({"conversation": {"id": "conv_1"}, "background": true}));
    assert_eq!((named(&from), from.continues, from.stores), (vec![("conversation", "conv_1".to_owned())], true, true));
    assert!(from.background);
    let file = json!({"type": "input_file", "file_id": "file-1"});
    let from = view(json!({"input": [{"role": "user", "content": [file]}], "previous_response_id": null}));
    assert_eq!((named(&from), from.continues), (vec![("input", "file-1".to_owned())], false));
    for wrong in [json!(7), json!({}), json!([])] {
        let body = body(json!({"previous_response_id": wrong}));
        let wanted = BodyError::Wrong { key: "previous_response_id", wanted: "the id of an object" };
        assert_eq!(read(body.as_bytes()), Err(wanted), "{body}");
    }
    assert!(read(br#"{"model":"a","previous_response_id":"resp_1"}"#).is_ok(), "nothing need be said to go on");
}

/// How many user turns there are, and how many results of tools after the last.
#[track_caller]
fn check_turns(input: Value, expected: (u32, usize)) {
    let view = view(json!({ "input": input }));
    assert_eq!((view.outline.user_turns, view.outline.tool_results.len()), expected, "{input}");
}

#[test]
fn items_are_turns_of_the_user_results_of_tools_or_neither() {
    let says = |text: &str| json!({"role": "user", "content": [{"type": "input_text", "text": text}]});
    let call = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"});
    let result = json!({"type": "function_call_output", "call_id": "c", "output": "r"});
    let patched =
        json!({"type": "custom_tool_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "r"}]});
    let thought = json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "e"});
    let answer = json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]});
    check_turns(json!([says("a")]), (1, 0));
    check_turns(json!([{"type": "message", "role": "user", "content": "a"}, answer, says("b")]), (2, 0));
    check_turns(json!([says("a"), thought, call, result]), (1, 1));
    check_turns(json!([says("a"), call, call, result, patched]), (1, 2));
    check_turns(json!([{"role": "developer", "content": "be brief"}, says("a")]), (1, 0));
}

#[test]
fn a_conversation_goes_on_where_its_input_begins_with_the_one_before() {
    let first = json!({"role": "user", "content": "a"});
    let short = view(json!({"instructions": "i", "input": [first]}));
    let long = view(json!({"instructions": "i", "input": [first, {"role": "assistant", "content": "b"}, first]}));
    assert!(long.outline.chain.earlier().any(|link| link == short.outline.chain.last()));
    assert_eq!(short.outline.chain.head, long.outline.chain.head);
    let other = view(json!({"instructions": "j", "input": [first]}));
    assert_ne!(short.outline.chain.head, other.outline.chain.head);
}

#[test]
fn what_no_bytes_bound_is_counted() {
    let parts = json!([
        {"type": "input_image", "image_url": "https://x"}, {"type": "input_file", "file_id": "f"},
        {"type": "input_audio", "input_audio": {}}, {"type": "input_text", "text": "t"}
    ]);
    let shown = json!({"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot"}});
    let found = view(json!({"input": [{"role": "user", "content": parts}, shown]})).attachments;
    assert_eq!((found.images, found.references, found.recordings, found.server_tools), (2, 1, 1, 0));
    assert!(found.bytes > 60);
}

#[test]
fn tools_are_the_client_s_or_the_provider_s() {
    let tools = json!([
        {"type": "function", "name": "f", "parameters": {}}, {"type": "custom", "name": "apply_patch"},
        {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "inner"}]},
        {"type": "local_shell"}, {"type": "shell", "environment": {"type": "local"}}
    ]);
    let mine = view(json!({ "tools": tools }));
    assert_eq!((mine.attachments.server_tools, mine.outline.tools.len()), (0, 3));
    let hosted =
        json!([{"type": "web_search"}, {"type": "mcp"}, {"type": "shell", "environment": {"type": "container_auto"}}]);
    assert_eq!(view(json!({ "tools": hosted })).attachments.server_tools, 3);
    let later = json!([{"type": "additional_tools", "role": "developer", "tools": [{"type": "web_search"}]}]);
    assert_eq!(view(json!({ "input": later })).attachments.server_tools, 1);
}
