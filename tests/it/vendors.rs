//! Vendors that speak OpenAI's protocol and mean something else by it: what they say is settled at what they bill.

use farthing::simulator::{Provider, Reply};
use serde_json::{Value, json};

use crate::support::{Setup, World, script};

const DONE: &str = "data: [DONE]\n\n";

/// A gateway in front of one model of a vendor.
async fn world(vendor: &str, model: &str, reply: Reply) -> World {
    let provider = Provider::openai().model(script(model, [reply]));
    let tiers = format!("lightweight: [sim/{model}]");
    Setup::of(provider).vendor(vendor).tiers(&tiers).start().await
}

fn stream(chunks: &[Value]) -> Reply {
    let events = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).chain([DONE.to_owned()]);
    Reply::raw_events(events.collect::<Vec<_>>())
}

fn asks(model: &str, stream: bool, content: Value) -> String {
    json!({"model": model, "stream": stream, "max_tokens": 10_000, "messages": [{"role": "user", "content": content}]})
        .to_string()
}

fn said(text: &str, finish: Value) -> Value {
    json!([{"index": 0, "delta": {"content": text}, "finish_reason": finish}])
}

#[tokio::test]
async fn xai_s_running_totals_are_settled_with_the_reasoning_beside_them() {
    let usage = |completion: u64, reasoning: u64| {
        json!({"prompt_tokens": 1000, "completion_tokens": completion, "total_tokens": 1000 + completion + reasoning,
            "prompt_tokens_details": {"cached_tokens": 400}, "completion_tokens_details": {"reasoning_tokens": reasoning}})
    };
    let reply = stream(&[
        json!({"choices": said("four", Value::Null), "usage": usage(1, 250)}),
        json!({"choices": said("two", json!("stop")), "usage": usage(2, 250)}),
        json!({"choices": [], "usage": usage(2, 300)}),
    ]);
    let world = world("xai", "grok-4.7", reply).await;
    let got = world.chat(asks("grok-4.7", true, json!("hi"))).await;
    // 600 × $2 + 400 × $0.50 + 302 × $6, a million.
    assert_eq!(got.cost_comment(), Some("0.003212"));
    let row = &world.attempts()[0];
    assert_eq!((row.cost, row.output_tokens, &*row.source), (Some(3_212_000), Some(302), "reported"));
}

#[tokio::test]
async fn groq_s_usage_and_service_tier_are_understood_where_they_stand() {
    let usage = json!({"queue_time": 0.07, "prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100});
    for tier in ["on_demand", "flex"] {
        let reply = stream(&[
            json!({"choices": said("hi", Value::Null), "x_groq": {"id": "req_1"}, "service_tier": tier}),
            json!({"choices": said("", json!("stop")), "x_groq": {"id": "req_1", "usage": usage}}),
        ]);
        let world = world("groq", "openai/gpt-oss-120b", reply).await;
        world.chat(asks("openai/gpt-oss-120b", true, json!("hi"))).await;
        // 1,000 × $0.15 + 100 × $0.60, a million.
        assert_eq!(world.attempts()[0].cost, Some(210_000), "{tier}");
    }
}

#[tokio::test]
async fn what_gemini_heard_costs_no_less_than_its_text_and_no_one_knows_how_much_more() {
    let reply = || {
        Reply::raw(
            "application/json",
            [json!({"choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1100}})
            .to_string()],
        )
    };
    let heard = json!([{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]);
    // 1,000 × $0.30 + 100 × $2.50, a million: the thoughts are what the total has beside the rest.
    for (content, exact) in [(json!("hi"), Some(550_000)), (heard, None)] {
        let world = world("gemini", "gemini-2.5-flash", reply()).await;
        world.chat(asks("gemini-2.5-flash", false, content)).await;
        let row = &world.attempts()[0];
        assert_eq!((row.low, row.cost, row.output_tokens), (550_000, exact, Some(100)));
        assert_eq!(row.high, exact, "sound is dearer than any rate in the book");
    }
}
