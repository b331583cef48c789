//! Vendors that speak OpenAI's protocol and mean something else by it: what they say is settled at what they bill.

use farthing::simulator::{Provider, Reply};
use rusqlite::types::Value::{Integer as Int, Null};
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

/// What was read at the start and what was written at the end, as Anthropic tells it and those who pass it on do.
#[tokio::test]
async fn usage_split_over_events_is_put_together() {
    let read = json!({"prompt_tokens": 1000, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 400}});
    let wrote = json!({"prompt_tokens": 0, "completion_tokens": 100});
    let reply = stream(&[
        json!({"choices": said("hi", Value::Null), "usage": read}),
        json!({"choices": said("", json!("stop"))}),
        json!({"choices": [], "usage": wrote}),
    ]);
    let world = world("openai", "gpt-5.6-luna", reply).await;
    world.chat(asks("gpt-5.6-luna", true, json!("hi"))).await;
    // 600 × $0.20 + 400 × $0.02 + 100 × $1.20, a million.
    let row = &world.attempts()[0];
    assert_eq!((row.cost, row.output_tokens, &*row.source), (Some(248_000), Some(100), "reported"));
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

/// <https://platform.openai.com/docs/guides/audio>
#[tokio::test]
async fn what_a_model_of_openai_s_heard_and_said_costs_what_its_usage_tells() {
    let reply = |details: Value| {
        Reply::raw(
            "application/json",
            [json!({"choices": [{"index": 0, "message": {"content": null, "audio": {"id": "a", "data": "AAAA"}},
                    "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 139, "completion_tokens": 94, "total_tokens": 233,
                    "prompt_tokens_details": details,
                    "completion_tokens_details": {"reasoning_tokens": 0, "text_tokens": 18, "audio_tokens": 76}}})
            .to_string()],
        )
    };
    let heard = json!([{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]);
    // 17 × $2.50 + 122 × $32 + 18 × $10 + 76 × $64, a million; without a word on the sound no less than as text.
    for (details, low, exact) in [
        (json!({"text_tokens": 17, "audio_tokens": 122, "cached_tokens": 0}), 8_990_500, Some(8_990_500)),
        (json!({"cached_tokens": 0}), 139 * 2_500 + 94 * 10_000, None),
    ] {
        let world = world("openai", "gpt-audio-1.5", reply(details)).await;
        let got = world.chat(asks("gpt-audio-1.5", false, heard.clone())).await;
        let row = &world.attempts()[0];
        assert_eq!((row.low, row.cost, row.output_tokens), (low, exact, Some(94)), "{}", got.text());
        let tier = world.rows("select priced_tier is null, unknown_reason from attempts_v1").remove(0);
        assert_eq!(tier[0], Int(0));
        let told =
            world.rows("select audio_input_tokens, audio_output_tokens, image_input_tokens from attempts_v1").remove(0);
        assert_eq!(told, [if exact.is_some() { Int(122) } else { Null }, Int(76), Null]);
        let event = world.logged("request", 1).await;
        assert_eq!(event["audio_output_tokens"], 76);
        assert_eq!(event["audio_input_tokens"], if exact.is_some() { json!(122) } else { json!(null) });
    }
}

#[tokio::test]
async fn a_request_costs_what_the_hour_of_its_arrival_says() {
    let usage = json!({"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100,
        "prompt_cache_hit_tokens": 400, "prompt_cache_miss_tokens": 600});
    let reply = stream(&[json!({"choices": said("hi", json!("stop")), "usage": usage})]);
    let provider = Provider::openai().model(script("deepseek-chat", [reply]));
    // Whatever the hour is now, it is one of these.
    let cheap = "{ input: 0.135, cached_input: 0.035, output: 0.55 }";
    let prices = format!(
        "- {{ model: deepseek/deepseek-chat, usd_per_million: {{ input: 0.27, output: 1.1 }},\n    \
         hours: {{ 06:00-18:30: {cheap}, 18:30-06:00: {cheap} }} }}\n"
    );
    let setup = Setup::of(provider).vendor("deepseek").tiers("lightweight: [sim/deepseek-chat]");
    let world = setup.file("prices.yaml", &prices).more("prices: prices.yaml").start().await;
    world.chat(asks("deepseek-chat", true, json!("hi"))).await;
    // 600 × $0.135 + 400 × $0.035 + 100 × $0.55, a million.
    assert_eq!(world.attempts()[0].cost, Some(150_000));
    let rows = world.rows("SELECT price_version FROM attempts_v1");
    let version = format!("{:?}", rows[0][0]);
    assert!(version.contains("deepseek/deepseek-chat@prices.yaml#"), "{version}");
    assert!(version.contains("/18:30-06:00") || version.contains("/06:00-18:30"), "{version}");
}

/// <https://platform.openai.com/docs/guides/realtime-costs>
#[tokio::test]
async fn what_the_provider_s_cache_took_off_sound_is_told() {
    let usage = json!({"prompt_tokens": 139, "completion_tokens": 10, "total_tokens": 149,
        "prompt_tokens_details": {"audio_tokens": 122, "cached_tokens": 64, "cached_tokens_details": {"audio_tokens": 64}}});
    let reply = stream(&[json!({"choices": said("hi", json!("stop")), "usage": usage})]);
    let provider = Provider::openai().model(script("gpt-x", [reply]));
    let setup = Setup::of(provider).vendor("openai").tiers("lightweight: [sim/gpt-x]");
    let rates = "{ input: 1, output: 10, audio_input: 30, cached_audio_input: 3 }";
    let prices = format!("- {{ model: openai/gpt-x, usd_per_million: {rates} }}\n");
    let world = setup.file("prices.yaml", &prices).more("prices: prices.yaml").start().await;
    world.chat(asks("gpt-x", true, json!("hi"))).await;
    let sql = "select a.cost_nano, provider_cache_nano, cached_audio_input_tokens
        from requests_v1 join attempts_v1 a using (request_id)";
    // 17 × $1 + 58 × $30 + 64 × $3 + 10 × $10, a million; the 64 would have cost 27 more.
    let row = world.rows(sql).remove(0);
    assert_eq!(row, [Int(17_000 + 1_740_000 + 192_000 + 100_000), Int(1_728_000), Int(64)]);
}

/// <https://docs.claude.com/en/api/messages#response-usage-server-tool-use>
#[tokio::test]
async fn what_a_provider_searched_costs_its_fee_where_the_book_knows_it_and_is_uncertain_where_not() {
    let usage = json!({"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100,
        "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1}});
    let rates = "usd_per_million: { input: 1, output: 10 }";
    for (vendor, fees, exact) in [
        ("anthropic", "", Some(22_000_000)),
        ("anthropic", ", fees: { web_search: 0.02 }", Some(42_000_000)),
        ("openrouter", "", None),
        ("openrouter", ", fees: { web_search: 0.02 }", None),
        ("openrouter", ", fees: { web_search: 0.02, web_fetch: 0.001 }", Some(43_000_000)),
    ] {
        let reply = stream(&[json!({"choices": said("hi", json!("stop")), "usage": usage})]);
        let provider = Provider::openai().model(script("claude-x", [reply]));
        let setup = Setup::of(provider).vendor(vendor).tiers("lightweight: [sim/claude-x]");
        let prices = format!("- {{ model: {vendor}/claude-x, {rates}{fees} }}\n");
        let world = setup.file("prices.yaml", &prices).more("prices: prices.yaml").start().await;
        world.chat(asks("claude-x", true, json!("hi"))).await;
        let row = &world.attempts()[0];
        assert_eq!((row.cost, row.low, row.high), (exact, exact.unwrap_or(2_000_000), exact), "{vendor} {fees}");
        let sql = "select web_search_calls, web_fetch_calls, file_search_calls, unknown_reason from attempts_v1";
        let told = world.rows(sql).remove(0);
        let why = if exact.is_none() { rusqlite::types::Value::Text("fees".to_owned()) } else { Null };
        assert_eq!(told, [Int(2), Int(1), Null, why], "{vendor} {fees}");
    }
}

/// One answer of xAI's that says what it charges in ticks, and how many sources were searched.
async fn xai_stating(ticks: u64, sources: u64) -> World {
    let usage = json!({"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100,
        "prompt_tokens_details": {"cached_tokens": 400}, "num_sources_used": sources, "cost_in_usd_ticks": ticks});
    let reply = stream(&[json!({"choices": said("hi", json!("stop")), "usage": usage})]);
    let world = world("xai", "grok-4.7", reply).await;
    world.chat(asks("grok-4.7", true, json!("hi"))).await;
    world
}

// 600 × $2 + 400 × $0.50 + 100 × $6, a million: 0.002 dollars are 20,000,000 ticks.

#[tokio::test]
async fn a_stated_cost_that_agrees_changes_nothing() {
    let world = xai_stating(20_000_000, 0).await;
    assert_eq!(world.attempts()[0].cost, Some(2_000_000));
    assert_eq!(world.metric("farthing_stated_cost_differs_total", "").await, 0.0);
}

#[tokio::test]
async fn a_stated_cost_that_differs_from_the_book_is_told_and_the_book_counts() {
    let world = xai_stating(25_000_000, 0).await;
    assert_eq!(world.attempts()[0].cost, Some(2_000_000));
    assert_eq!(world.metric("farthing_stated_cost_differs_total", "provider=\"sim\"").await, 1.0);
    let told = world.logged("stated_cost_differs", 1).await;
    assert_eq!((&told["cost_usd"], &told["stated_usd"]), (&json!("0.002"), &json!("0.0025")));
}

#[tokio::test]
async fn a_stated_cost_settles_fees_that_no_book_knows() {
    let world = xai_stating(270_000_000, 3).await;
    let row = &world.attempts()[0];
    assert_eq!(
        (row.low, row.cost, row.high, &*row.source),
        (27_000_000, Some(27_000_000), Some(27_000_000), "reported")
    );
    let rows = world.rows("SELECT price_version, priced_tier, unknown_reason FROM attempts_v1");
    assert_eq!(format!("{rows:?}"), r#"[[Text("xai/grok-4.7@stated"), Null, Null]]"#);
    // Less than the tokens alone: then nobody knows.
    let world = xai_stating(19_000_000, 3).await;
    assert_eq!((world.attempts()[0].low, world.attempts()[0].cost), (2_000_000, None));
    assert_eq!(world.metric("farthing_stated_cost_differs_total", "").await, 1.0);
}

#[tokio::test]
async fn openrouter_s_own_word_is_the_cost_of_a_model_without_a_price() {
    let usage = |cost: Value| {
        json!({"prompt_tokens": 194, "completion_tokens": 2, "total_tokens": 196, "is_byok": false, "cost": cost,
            "prompt_tokens_details": {"cached_tokens": 0}, "server_tool_use": {"web_search_requests": 1}})
    };
    for (cost, exact) in [(json!(0.00095), Some(950_000)), (json!(0), None)] {
        let reply = stream(&[
            json!({"choices": said("hi", json!("stop"))}),
            json!({"choices": [], "usage": usage(cost.clone())}),
        ]);
        let world = world("openrouter", "somebody/m", reply).await;
        let got = world.chat(asks("somebody/m", true, json!("hi"))).await;
        assert_eq!(got.cost_comment(), Some(if exact.is_some() { "0.00095" } else { "unknown" }), "{cost}");
        assert_eq!(world.attempts()[0].cost, exact, "{cost}: zero is no price that somebody wrote");
    }
}
