//! Small promises that are easily broken without anybody noticing: each has its own watch here.

use farthing::simulator::{ModelScript, Provider, Reply};
use farthing::tokens::{Encoding, count};
use rusqlite::types::Value as SqlValue;
use serde_json::{Value, json};

use crate::support::{ASK, ASK_STREAM, Setup, World, ask, luna, raw, script};

/// An answer whose every figure is another one.
fn distinct_usage() -> Reply {
    let answer = json!({
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": 1000, "completion_tokens": 70, "total_tokens": 1070,
            "prompt_tokens_details": {"cached_tokens": 300, "cache_write_tokens": 20},
            "completion_tokens_details": {"reasoning_tokens": 6},
        },
    });
    Reply::raw("application/json", [answer.to_string()])
}

#[tokio::test]
async fn the_log_event_of_a_request_has_every_name_and_figure_in_its_place() {
    let world = Setup::of(luna([Reply::status(500), distinct_usage()])).start().await;
    let names = [
        ("x-farthing-team", "a-team"),
        ("x-farthing-project", "a-project"),
        ("x-farthing-pipeline", "a-pipeline"),
        ("x-farthing-run", "a-run"),
        ("x-farthing-prompt", "a-prompt"),
        ("x-farthing-user", "a-user"),
        ("x-farthing-task", "a-task"),
    ];
    let got = world.chat_as(ASK, &names).await;
    let cost = got.header("x-farthing-cost-usd");
    let mut event = world.logged("request", 1).await;
    let event = event.as_object_mut().expect("an object");
    assert_eq!(event.remove("request_id"), Some(json!(got.header("x-request-id"))));
    for moment in ["ts", "duration_ms", "first_byte_ms"] {
        assert!(event.remove(moment).is_some_and(|value| value.is_u64()), "`{moment}` in {event:?}");
    }
    let session = event.remove("session").and_then(|value| value.as_str().map(str::len));
    assert_eq!(session, Some(16), "a hash of the run: {event:?}");
    let expected = json!({
        "event": "request", "status": "ok", "http_status": 200, "surface": "chat.completions", "stream": false,
        "team": "a-team", "project": "a-project", "pipeline": "a-pipeline", "run": "a-run", "prompt": "a-prompt",
        "reason": "exact-model", "decided": "exact-model", "task": "a-task", "asked_model": "gpt-5.6-luna", "tier": "lightweight", "trouble": "refused by the provider", "trouble_status": 500, "provider": "sim", "model": "gpt-5.6-luna",
        "attempts": 2, "edits": "", "body_bytes": ASK.len(),
        "input_tokens": 1000, "cached_input_tokens": 300, "cache_write_tokens": 20,
        "output_tokens": 70, "reasoning_tokens": 6,
        "cost_usd": cost, "cost_low_usd": cost, "cost_high_usd": cost, "estimated": false, "saved_usd": "0",
    });
    assert_eq!(json!(event), expected);
}

#[tokio::test]
async fn the_log_event_says_null_and_not_nothing_where_no_figure_is_known() {
    let lost = || Reply::text("lost").resets_before_headers();
    for (what, reply) in [("never left a trace", lost()), ("was refused", Reply::status(400))] {
        let world = Setup::of(luna([reply])).dispatch("retries: 0").start().await;
        world.chat(ASK_STREAM).await;
        let event = world.logged("request", 1).await;
        for figure in ["input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"]
        {
            assert_eq!(event.get(figure), Some(&Value::Null), "`{figure}` of a call that {what}: {event}");
        }
    }
}

#[tokio::test]
async fn a_wait_that_would_outlast_the_caller_s_deadline_is_not_begun() {
    let busy = Reply::status(429).with_header("retry-after", "9");
    let world = Setup::of(luna([busy, Reply::text("ok")])).dispatch("retries: 1, retry_wait: 10s").start().await;
    let got = world.chat_as(ASK, &[("x-farthing-deadline", "8000")]).await;
    assert_eq!((got.status, got.header("retry-after")), (429, "9"), "{}", got.text());
    assert_eq!((world.provider.arrivals(), &*world.requests()[0].status), (1, "provider_error"));
}

#[tokio::test]
async fn a_header_of_the_row_beats_the_client_s_and_others_pass() {
    let agent = "user-agent: agent/1\r\nopenai-beta: first\r\nopenai-beta: second\r\ntraceparent: 00-ab-cd-01\r\n";
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n{agent}content-length: {}\r\nconnection: close\r\n\r\n{ASK}",
        ASK.len()
    );
    for (row, expected) in [
        ("metering: inject", [&["agent/1"][..], &["first", "second"], &["00-ab-cd-01"]]),
        ("headers: { user-agent: row/1, OpenAI-Beta: ours }", [&["row/1"], &["ours"], &["00-ab-cd-01"]]),
    ] {
        let world = Setup::of(luna([Reply::text("ok")])).row(row).start().await;
        let answer = raw(world.gateway.listen, [&request]).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let seen = world.provider.requests().remove(0);
        for (name, expected) in ["user-agent", "openai-beta", "traceparent"].into_iter().zip(expected) {
            let values: Vec<_> = seen.headers.get_all(name).into_iter().collect();
            assert_eq!(values, expected, "`{name}` with {row}");
        }
    }
}

#[tokio::test]
async fn an_estimate_never_exceeds_what_the_attempt_may_cost() {
    let luna = ModelScript::named("gpt-5.6-luna").ignores_limits().then(Reply::tokens(500).without_usage());
    let world = World::new(Provider::openai().model(luna), "").await;
    for stream in [false, true] {
        let got = world.chat(ask(json!({"max_completion_tokens": 1, "stream": stream}))).await;
        let row = world.attempts().pop().expect("a row");
        assert_eq!((&*row.source, row.cost), ("estimated", row.high), "more text went by than may be billed for");
        assert!(row.output_tokens.is_some_and(|tokens| tokens > 1), "the text is counted as it came: {row:?}");
        assert!(got.status == 200 && row.high.is_some(), "{row:?}");
    }
}

/// Input and output tokens, and what counted them, of the last attempt.
fn counted(world: &World) -> (i64, i64, String) {
    let sql =
        "select input_tokens, output_tokens, coalesce(tokenizer, '') from attempts_v1 order by attempt_id desc limit 1";
    let row: Result<[SqlValue; 3], _> = world.rows(sql).remove(0).try_into();
    match row {
        Ok([SqlValue::Integer(input), SqlValue::Integer(output), SqlValue::Text(tokenizer)]) => {
            (input, output, tokenizer)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_stream_without_usage_has_as_many_input_tokens_as_its_model_s_encoding_says() {
    let text = "how many tokens, \u{1F980}, are d\u{e9}j\u{e0} vu? ".repeat(20);
    let tokens = 3 + count(Encoding::O200k, "user") + count(Encoding::O200k, &text) + 3;
    let body = json!({"model": "gpt-5.6-luna", "stream": true, "messages": [{"role": "user", "content": text}]});
    let setup = Setup::of(luna([Reply::text("eight words are quite enough for a test").stalls_after(2)]));
    let world = setup.row("metering: observe").start().await;
    let mut stream = world.stream(body.to_string()).await;
    stream.take(1).await;
    world.gateway.accounts().estimates.idle().await;
    world.provider.release();
    stream.rest().await;
    assert_eq!(counted(&world), (tokens as i64, 10, "o200k_base, bytes/4".to_owned()));
}

#[tokio::test]
async fn an_answer_without_usage_is_estimated_by_earlier_reports_or_else_by_bytes() {
    let text = "x".repeat(3000);
    let silent = || Reply::text(&"a".repeat(50)).without_usage();
    let world = World::new(luna([silent(), Reply::text(&text), silent()]), "").await;
    let body = ask(json!({"messages": [{"role": "user", "content": "y".repeat(3000)}]}));
    world.chat(body.clone()).await;
    let bytes = body.len() as i64;
    assert_eq!(counted(&world), ((bytes + 3) / 4, 13, "bytes/4".to_owned()));
    world.chat(body.clone()).await;
    let (input, output, tokenizer) = counted(&world);
    assert_eq!(tokenizer, "");
    world.chat(body).await;
    assert_eq!(counted(&world), (input, (50 * output + 1500) / 3000, "calibrated".to_owned()));
}

#[tokio::test]
async fn only_failures_in_a_row_rest_a_target() {
    let bad = || Reply::status(500);
    let replies = [bad(), bad(), Reply::text("well"), bad(), bad(), Reply::text("well")];
    let sim = Provider::openai().model(script("gpt-5.6-sol", replies));
    let spare = Provider::openai().model(script("gpt-5.6-sol", [Reply::text("from the spare")]));
    let setup = Setup::of(sim).and("spare", spare).tiers("frontier: [sim/gpt-5.6-sol, spare/gpt-5.6-sol]");
    let world = setup.dispatch("retries: 0, circuit: { failures: 3, cool_down: 1h }").start().await;
    let body = ASK.replace("gpt-5.6-luna", "frontier");
    let mut answered_by = Vec::new();
    for _ in 0..6 {
        let got = world.chat(body.clone()).await;
        answered_by.push(got.header("x-farthing-model").split('/').next().unwrap_or_default().to_owned());
    }
    assert_eq!(answered_by, ["spare", "spare", "sim", "spare", "spare", "sim"]);
    world.logged("request", 6).await;
    assert_eq!((world.provider.arrivals(), world.log_text().contains("circuit_opened")), (6, false));
}

#[tokio::test]
async fn the_overhead_is_counted_once_a_request_however_often_it_is_tried() {
    let world = Setup::of(luna([Reply::status(500), Reply::text("ok")])).start().await;
    world.chat(ASK).await;
    assert_eq!(world.chat("no json").await.status, 400);
    world.chat(ASK_STREAM).await;
    assert_eq!(world.provider.arrivals(), 3);
    assert_eq!(world.metric("farthing_overhead_seconds_count", "").await, 2.0, "of what was sent on");
}

#[tokio::test]
async fn the_journal_names_a_request_once_however_often_it_is_tried() {
    let world = Setup::of(luna([Reply::status(500), Reply::status(500), Reply::text("ok")]))
        .dispatch("retries: 2")
        .start()
        .await;
    let got = world.chat_as(ASK, &[("x-farthing-run", "run-that-is-told-once")]).await;
    assert_eq!((got.status, world.attempts().len()), (200, 3));
    let journal = world.folder.path().join("farthing.db.journal-000001");
    let journal = String::from_utf8_lossy(&std::fs::read(&journal).expect("a journal")).into_owned();
    assert_eq!(journal.matches("run-that-is-told-once").count(), 1);
    assert_eq!(journal.matches("openai/gpt-5.6-luna@").count(), 6, "three intents and three outcomes");
}
