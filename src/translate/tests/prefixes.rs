use proptest::prelude::*;

use super::*;

/// The text of a body up to where the next message would stand, in the open message if that stays open.
fn stem(from: Dialect, to: Dialect, body: &Value) -> String {
    let (vendor, model) = match to {
        Dialect::Chat => ("openai", "gpt-4.1"),
        Dialect::Responses => ("openai", "gpt-5.6"),
        Dialect::Messages => ("anthropic", "claude-opus-4-6"),
    };
    let written = request(from, to, body.to_string().as_bytes(), &terms(vendor, model)).unwrap().body;
    serde_json::from_str::<Value>(&written).unwrap();
    let open = if to == Dialect::Messages && !written.ends_with(r#""messages":[]}"#) { "]}]}" } else { "]}" };
    written.strip_suffix(open).unwrap().to_owned()
}

fn words() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), Just(" \n".to_owned()), "[a-zä\"\\\\\n😀<\u{2028}]{1,12}"]
}

/// A chat message; calls have an answer or none.
fn chat_message() -> impl Strategy<Value = Value> {
    prop_oneof![
        words().prop_map(|text| json!({"role": "user", "content": text})),
        words().prop_map(|text| json!({"role": "user", "content": [{"type": "text", "text": text},
            {"type": "image_url", "image_url": {"url": "https://e.x/a"}}]})),
        words().prop_map(|text| json!({"role": "assistant", "content": text})),
        words().prop_map(|text| json!({"role": "developer", "content": text})),
        (words(), "[a-z.:]{0,6}")
            .prop_map(|(arguments, id)| json!({"role": "assistant", "content": null, "tool_calls": [
            {"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}}]})),
        (words(), "[a-z.:]{0,6}").prop_map(|(text, id)| json!({"role": "tool", "tool_call_id": id, "content": text})),
    ]
}

/// Whether a call has no answer yet.
fn is_open(messages: &[Value]) -> bool {
    let mut open: Vec<&Value> = Vec::new();
    for message in messages {
        open.extend(message["tool_calls"].as_array().into_iter().flatten().map(|call| &call["id"]));
        open.retain(|id| message.get("tool_call_id") != Some(*id));
    }
    !open.is_empty()
}

fn block() -> impl Strategy<Value = Value> {
    prop_oneof![
        words().prop_map(|text| json!({"type": "text", "text": text})),
        (words(), "[a-z_]{1,6}").prop_map(|(text, id)| json!({"type": "tool_result", "tool_use_id": id, "content": [
            {"type": "text", "text": text},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}]})),
    ]
}

fn messages_message() -> impl Strategy<Value = Value> {
    let call = (words(), "[a-z_]{1,6}")
        .prop_map(|(text, id)| json!({"type": "tool_use", "id": id, "name": "f", "input": {"t": text}}));
    let said = words().prop_map(|text| json!({"type": "text", "text": text}));
    let thought = words().prop_map(
        |text| json!({"type": "thinking", "thinking": text, "signature": format!("fx1.openai.rs_1.{}.gA", text.len())}),
    );
    prop_oneof![
        words().prop_map(|text| json!({"role": "user", "content": text})),
        prop::collection::vec(block(), 0..4).prop_map(|content| json!({"role": "user", "content": content})),
        prop::collection::vec(prop_oneof![call, said, thought], 0..4)
            .prop_map(|content| json!({"role": "assistant", "content": content})),
    ]
}

/// Items of Responses that are sent together: a message, or a step with what its calls gave.
fn step() -> impl Strategy<Value = Vec<Value>> {
    let message = |role: &str, kind: &str, text: String| json!({"type": "message", "role": role, "content": [{"type": kind, "text": text}]});
    let answered = (words(), words(), "[a-z.:]{1,6}", any::<bool>(), any::<bool>()).prop_map(
        move |(text, arguments, id, is_custom, has_image)| {
            let image = json!({"type": "input_image", "image_url": "https://e.x/a"});
            let output = if has_image { json!([{"type": "input_text", "text": text}, image]) } else { json!(text) };
            let (call, kind, key) = match is_custom {
                true => ("custom_tool_call", "custom_tool_call_output", "input"),
                false => ("function_call", "function_call_output", "arguments"),
            };
            vec![
                json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "fx1.anthropic.s"}),
                message("assistant", "output_text", text),
                json!({"type": call, "call_id": id, "name": "f", "namespace": "n", key: arguments}),
                json!({"type": call, "call_id": format!("{id}2"), "name": "g", key: arguments}),
                json!({"type": kind, "call_id": id, "output": output}),
                json!({"type": kind, "call_id": format!("{id}2"), "output": ""}),
            ]
        },
    );
    prop_oneof![
        words().prop_map(move |text| vec![message("user", "input_text", text)]),
        words().prop_map(|text| vec![json!({"role": "developer", "content": text})]),
        words().prop_map(move |text| vec![
            message("assistant", "output_text", text),
            json!({"role": "user", "content": "u"})
        ]),
        answered,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_chat_that_goes_on_begins_as_before(more in prop::collection::vec(chat_message(), 0..8), cut in 0usize..8) {
        let mut messages = vec![json!({"role": "system", "content": "s"}), json!({"role": "user", "content": "u"})];
        messages.extend(more);
        let body = |messages: &[Value]| json!({"model": "m", "messages": messages, "temperature": 0.5});
        let shorter = &messages[..messages.len().min(2 + cut)];
        let (shorter, longer) = (body(shorter), body(&messages));
        for to in [Dialect::Messages, Dialect::Chat, Dialect::Responses] {
            // Messages takes no call without a result, so that nobody has such a beginning cached.
            if to == Dialect::Messages && is_open(&messages[..messages.len().min(2 + cut)]) {
                continue;
            }
            let (shorter, longer) = (stem(Dialect::Chat, to, &shorter), stem(Dialect::Chat, to, &longer));
            prop_assert!(longer.starts_with(&shorter), "{shorter}\n{longer}");
        }
    }

    #[test]
    fn messages_that_go_on_begin_as_before(messages in prop::collection::vec(messages_message(), 0..8), cut in 0usize..8) {
        let body = |messages: &[Value]| json!({"model": "m", "max_tokens": 9, "system": "s", "messages": messages});
        let (shorter, longer) = (body(&messages[..messages.len().min(cut)]), body(&messages));
        for to in [Dialect::Chat, Dialect::Responses] {
            let (shorter, longer) = (stem(Dialect::Messages, to, &shorter), stem(Dialect::Messages, to, &longer));
            prop_assert!(longer.starts_with(&shorter), "{shorter}\n{longer}");
        }
    }

    #[test]
    fn responses_that_go_on_begin_as_before(steps in prop::collection::vec(step(), 0..6), cut in 0usize..6) {
        let body = |steps: &[Vec<Value>]| {
            let input: Vec<&Value> = steps.iter().flatten().collect();
            json!({"model": "m", "instructions": "s", "input": input})
        };
        let mut all = vec![vec![json!({"role": "user", "content": "u"})]];
        all.extend(steps);
        let (shorter, longer) = (body(&all[..all.len().min(1 + cut)]), body(&all));
        for to in [Dialect::Messages, Dialect::Chat] {
            let (shorter, longer) = (stem(Dialect::Responses, to, &shorter), stem(Dialect::Responses, to, &longer));
            prop_assert!(longer.starts_with(&shorter), "{shorter}\n{longer}");
        }
    }

    #[test]
    fn what_was_translated_comes_back_the_same(messages in prop::collection::vec(messages_message(), 0..6)) {
        // There and back; texts of white space and boundaries between neighbours of one role are not kept, so it is the
        // second way there that must equal the first.
        let body = json!({"model": "m", "max_tokens": 9, "system": "s", "messages": messages});
        let claude = terms("anthropic", "claude-opus-4-6");
        let openai = terms("openai", "gpt-4.1");
        let once = written(Dialect::Messages, Dialect::Messages, &body, &claude).0;
        let chat = written(Dialect::Messages, Dialect::Chat, &once, &openai).0;
        let back = written(Dialect::Chat, Dialect::Messages, &chat, &claude).0;
        let again = written(Dialect::Messages, Dialect::Chat, &back, &openai).0;
        prop_assert_eq!(again["messages"].to_string(), chat["messages"].to_string());
    }
}
