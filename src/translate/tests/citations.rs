use super::replies::TOLD;
use super::streams::{chunk, streamed};
use super::*;
use crate::translate::stream::Stream;

/// A place of which Anthropic says that a block refers to it.
fn searched(url: &str, title: Value) -> Value {
    json!({"type": "web_search_result_location", "url": url, "title": title, "cited_text": "q", "encrypted_index": "E"})
}

/// The same in OpenAI's words, at these characters.
fn cited(url: &str, title: &str, characters: [u64; 2]) -> Value {
    let [start, end] = characters;
    json!({"type": "url_citation", "start_index": start, "end_index": end, "url": url, "title": title})
}

/// What Chat Completions have of that.
fn annotated(url: &str, title: &str, characters: [u64; 2]) -> Value {
    let mut said = cited(url, title, characters);
    said.as_object_mut().unwrap().remove("type");
    json!({"type": "url_citation", "url_citation": said})
}

/// An answer of Messages that refers to places in two of its texts, which stand in two messages of a response.
fn claudes() -> Value {
    let document = json!({"type": "char_location", "document_index": 0, "start_char_index": 0, "end_char_index": 4});
    json!({"id": "msg_1", "model": "claude-x", "stop_reason": "end_turn", "content": [
        {"type": "text", "text": "H\u{e4} \u{1f600} \"", "citations": null},
        {"type": "text", "text": "late\n", "citations": [searched("https://e.x/a", json!("A \"a\"")), document]},
        {"type": "thinking", "thinking": "hm", "signature": "E"},
        {"type": "text", "text": "again", "citations": [searched("https://e.x/a", json!(null)), searched("https://e.x/b", json!("B"))]}]})
}

#[track_caller]
fn answered(from: Dialect, to: Dialect, body: &Value) -> (Value, Vec<String>) {
    let written = reply(from, to, body.to_string().as_bytes(), &TOLD).unwrap();
    let dropped = written.dropped.names().map(str::to_owned).collect();
    (serde_json::from_str(&written.body).unwrap(), dropped)
}

/// The annotations of each message of a response.
fn annotations(answer: &Value) -> Vec<Value> {
    let messages = answer["output"].as_array().unwrap().iter().filter(|item| item["type"] == "message");
    messages.map(|message| message["content"][0]["annotations"].clone()).collect()
}

#[test]
fn what_anthropic_s_searches_cite_is_told_to_clients_of_openai_with_the_characters_that_do() {
    let left = ["content.citations.cited_text", "content.citations"];
    let (answer, dropped) = answered(Dialect::Messages, Dialect::Chat, &claudes());
    let expected = json!([
        annotated("https://e.x/a", "A \"a\"", [6, 11]),
        annotated("https://e.x/a", "", [11, 16]),
        annotated("https://e.x/b", "B", [11, 16])
    ]);
    assert_eq!(
        (&answer["choices"][0]["message"]["annotations"], dropped),
        (&expected, left.map(str::to_owned).to_vec())
    );
    let (answer, dropped) = answered(Dialect::Messages, Dialect::Responses, &claudes());
    let expected = vec![
        json!([cited("https://e.x/a", "A \"a\"", [6, 11])]),
        json!([cited("https://e.x/a", "", [0, 5]), cited("https://e.x/b", "B", [0, 5])]),
    ];
    assert_eq!((annotations(&answer), dropped), (expected, left.map(str::to_owned).to_vec()));
}

#[test]
fn what_openai_s_searches_cite_is_told_in_either_of_its_dialects_and_left_out_by_name_in_messages() {
    let part =
        |text: &str, annotations: Value| json!({"type": "output_text", "text": text, "annotations": annotations});
    let file = json!({"type": "file_citation", "file_id": "f", "index": 3});
    let response = json!({"id": "resp_1", "model": "gpt-x", "status": "completed", "output": [
        {"type": "message", "role": "assistant", "content": [part("H\u{e4}", json!([])),
            part("late", json!([cited("https://e.x/a", "A", [1, 4]), file]))]}]});
    let (answer, dropped) = answered(Dialect::Responses, Dialect::Chat, &response);
    let expected = json!([annotated("https://e.x/a", "A", [3, 6])]);
    let named = vec!["output.content.annotations".to_owned()];
    assert_eq!((&answer["choices"][0]["message"]["annotations"], &dropped), (&expected, &named));
    let (answer, dropped) = answered(Dialect::Responses, Dialect::Messages, &response);
    assert_eq!((&answer["content"][1]["citations"], dropped), (&Value::Null, named));
    let message = json!({"role": "assistant", "content": "H\u{e4}late", "annotations": expected});
    let chat =
        json!({"id": "chatcmpl-1", "model": "gpt-x", "choices": [{"message": message, "finish_reason": "stop"}]});
    let (answer, dropped) = answered(Dialect::Chat, Dialect::Responses, &chat);
    assert_eq!((annotations(&answer), dropped), (vec![json!([cited("https://e.x/a", "A", [3, 6])])], vec![]));
    let (_, dropped) = answered(Dialect::Chat, Dialect::Messages, &chat);
    assert_eq!(dropped, ["choices.message.annotations"]);
}

#[test]
fn an_annotation_that_says_nothing_of_a_place_is_left_out_by_name() {
    let mut unnumbered = annotated("https://e.x/a", "A", [0, 1]);
    unnumbered["url_citation"]["start_index"] = json!(-1);
    for odd in [json!([unnumbered]), json!([7]), json!({}), json!([{"type": "url_citation", "url_citation": "x"}])] {
        let message = json!({"role": "assistant", "content": "x", "annotations": odd});
        let chat = json!({"id": "1", "model": "m", "choices": [{"message": message, "finish_reason": "stop"}]});
        let (answer, dropped) = answered(Dialect::Chat, Dialect::Responses, &chat);
        assert_eq!((annotations(&answer), dropped), (vec![json!([])], vec!["choices.message.annotations".to_owned()]));
    }
}

/// The events of a stream of Messages in which blocks refer to places.
fn events() -> Vec<Value> {
    let mut events = vec![json!({"type": "message_start", "message": {"id": "msg_1", "model": "claude-x"}})];
    for (index, block) in claudes()["content"].as_array().unwrap().iter().enumerate() {
        let delta = |delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
        let kind = &block["type"];
        events
            .push(json!({"type": "content_block_start", "index": index, "content_block": {"type": kind, "text": ""}}));
        let citations = block["citations"].as_array().cloned().unwrap_or_default();
        let mut told =
            citations.into_iter().map(|citation| delta(json!({"type": "citations_delta", "citation": citation})));
        events.extend(told.next());
        if let Some(text) = block["text"].as_str() {
            let (first, rest) = text.split_at(1);
            events.extend([first, rest].map(|piece| delta(json!({"type": "text_delta", "text": piece}))));
        }
        events.extend(told);
        events.push(json!({"type": "content_block_stop", "index": index}));
    }
    events.push(json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}}));
    events
}

#[test]
fn a_stream_tells_what_its_text_refers_to_as_the_whole_answer_does() {
    let said = streamed(Dialect::Messages, Dialect::Chat, &events(), r#"{"type":"message_stop"}"#);
    let deltas = said.iter().filter_map(|(_, data)| data["choices"][0]["delta"]["annotations"].as_array());
    let told: Vec<Value> = deltas.flatten().cloned().collect();
    let (whole, _) = answered(Dialect::Messages, Dialect::Chat, &claudes());
    assert_eq!(Value::Array(told), whole["choices"][0]["message"]["annotations"]);
    let said = streamed(Dialect::Messages, Dialect::Responses, &events(), r#"{"type":"message_stop"}"#);
    let (whole, _) = answered(Dialect::Messages, Dialect::Responses, &claudes());
    let (_, last) = said.last().unwrap();
    assert_eq!(annotations(&last["response"]), annotations(&whole));
    let added = said.iter().filter(|(name, _)| name == "response.output_text.annotation.added");
    let places: Vec<_> = added.map(|(_, data)| (&data["output_index"], &data["annotation_index"])).collect();
    assert_eq!(places, [(&json!(0), &json!(0)), (&json!(1), &json!(0)), (&json!(1), &json!(1))]);
}

#[test]
fn a_stream_of_responses_tells_what_each_part_refers_to() {
    let part = |number: u64, text: &str, citation: Value| {
        let of = |kind: &str, more: Value| {
            let mut event = json!({"type": kind, "output_index": 0, "content_index": number, "item_id": "msg_1"});
            event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            event
        };
        [
            of("response.content_part.added", json!({"part": {"type": "output_text"}})),
            of("response.output_text.delta", json!({"delta": text})),
            of("response.output_text.annotation.added", json!({"annotation_index": 0, "annotation": citation})),
        ]
    };
    let mut events = vec![json!({"type": "response.created", "response": {"id": "resp_1", "model": "gpt-x"}})];
    events.extend(part(0, "H\u{e4}", cited("https://e.x/a", "A", [0, 1])));
    events.extend(part(1, "late", cited("https://e.x/b", "B", [1, 4])));
    let last = json!({"type": "response.completed", "response": {"status": "completed"}}).to_string();
    let said = streamed(Dialect::Responses, Dialect::Chat, &events, &last);
    let told: Vec<&Value> =
        said.iter().filter_map(|(_, data)| data["choices"][0]["delta"].get("annotations")).collect();
    let expected = [json!([annotated("https://e.x/a", "A", [0, 1])]), json!([annotated("https://e.x/b", "B", [3, 6])])];
    assert_eq!(told, expected.iter().collect::<Vec<_>>());
}

#[test]
fn a_block_that_refers_to_more_than_can_be_kept_tells_the_first_of_it() {
    let mut stream = Stream::new(Dialect::Messages, Dialect::Chat, &TOLD, UsageChunk::Unasked).unwrap();
    let mut out = String::new();
    let mut said = |event: Value| stream.event(event.to_string().as_bytes(), None, &mut out).unwrap();
    said(json!({"type": "message_start", "message": {"id": "msg_1", "model": "claude-x"}}));
    said(json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "x"}}));
    for number in 0..1_000 {
        let citation = searched(&format!("https://e.x/{number}"), json!("x".repeat(2_000)));
        said(
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": citation}}),
        );
    }
    said(json!({"type": "content_block_stop", "index": 0}));
    let told = out.matches("url_citation\",").count();
    assert!((10..=64).contains(&told) && out.len() < 200_000, "{told} places");
}

#[test]
fn what_an_earlier_answer_referred_to_is_left_out_of_a_request_by_name() {
    let message =
        json!({"role": "assistant", "content": "x", "annotations": [annotated("https://e.x/a", "A", [0, 1])]});
    let body = json!({"model": "m", "messages": [message, {"role": "assistant", "content": "y", "annotations": []}]});
    for (to, vendor) in [(Dialect::Messages, "anthropic"), (Dialect::Responses, "openai")] {
        let (_, dropped) = written(Dialect::Chat, to, &body, &terms(vendor, "m"));
        assert_eq!(dropped, ["messages.annotations"]);
    }
}

#[test]
fn a_chat_that_refers_to_a_place_in_mid_stream_goes_on() {
    let delta = json!({"annotations": [annotated("https://e.x/a", "A", [0, 1])]});
    let events = [
        chunk(json!({"content": "x"}), Value::Null),
        chunk(delta, Value::Null),
        chunk(json!({"content": "y"}), json!("stop")),
    ];
    for to in [Dialect::Responses, Dialect::Messages] {
        let said = streamed(Dialect::Chat, to, &events, "[DONE]");
        let texts: String = said
            .iter()
            .filter(|(name, _)| name.ends_with("delta"))
            .filter_map(|(_, data)| data["delta"].as_str().or(data["delta"]["text"].as_str()))
            .collect();
        assert_eq!(texts, "xy");
    }
}
