//! Clients of Responses at rows of other protocols, and others' clients at rows that are called in Responses: each is told what it
//! knows, and the ledger has what is billed.

use farthing::simulator::{Answer, Provider, Reply};
use http::Method;
use serde_json::{Value, json};

use crate::support::{Events, Got, Setup, World, script, whole};

const OPUS: &str = "claude-opus-5-5";

fn claude(replies: impl IntoIterator<Item = Reply>) -> Provider {
    Provider::anthropic().model(script(OPUS, replies))
}

/// A gateway in front of one model of Anthropic's.
fn to_claude(replies: impl IntoIterator<Item = Reply>) -> Setup {
    Setup::of(claude(replies)).anthropic().tiers(&format!("frontier: [sim/{OPUS}]"))
}

fn with(mut body: Value, more: Value) -> String {
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body.to_string()
}

fn asking(more: Value) -> String {
    with(json!({"model": OPUS, "input": "hi", "store": false}), more)
}

/// As Codex asks: tools of three kinds, sealed thoughts, a stream.
fn codex(input: &Value) -> String {
    let schema = json!({"type": "object", "properties": {}});
    asking(json!({
        "input": input, "stream": true, "include": ["reasoning.encrypted_content"], "tool_choice": "auto",
        "reasoning": {"effort": "medium", "summary": "auto"}, "instructions": "You are Codex", "prompt_cache_key": "k",
        "client_metadata": {"x-codex-installation-id": "1"}, "parallel_tool_calls": true,
        "tools": [
            {"type": "function", "name": "shell", "description": "Runs", "strict": false, "parameters": schema},
            {"type": "custom", "name": "apply_patch", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
            {"type": "namespace", "name": "mcp__docs", "description": "Docs", "tools": [
                {"type": "function", "name": "find", "parameters": schema}]},
            {"type": "web_search"}],
    }))
}

async fn send(world: &World, body: impl Into<String>) -> Got {
    whole(world.send(Method::POST, "/v1/responses", &[], body.into().into()).await).await
}

/// The events of a stream, numbered from nothing without a gap.
#[track_caller]
fn events(got: &Got) -> Vec<Value> {
    let read = |event: &str| {
        let (name, data) = event.split_once("\ndata: ")?;
        let data: Value = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error} in {event}"));
        assert_eq!(name.strip_prefix("event: "), data["type"].as_str(), "{event}");
        Some(data)
    };
    let events: Vec<Value> = got.text().split_terminator("\n\n").filter_map(read).collect();
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number, "{}", got.text());
    }
    events
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["type"].as_str()).collect()
}

#[tokio::test]
async fn a_client_of_responses_is_answered_by_a_row_of_messages() {
    let world = to_claude([Reply::text("good morning")]).start().await;
    let got = send(&world, asking(json!({"metadata": {"a": "b"}, "temperature": null}))).await;
    let answer = got.json();
    assert_eq!(
        (got.status, &answer["output"][0]["content"][0]["text"]),
        (200, &json!("good morning")),
        "{}",
        got.text()
    );
    assert_eq!((&answer["object"], &answer["status"]), (&json!("response"), &json!("completed")));
    assert_eq!(
        (got.header("x-farthing-edits"), got.header("x-farthing-dropped")),
        ("output_limit,translate", "metadata")
    );
    let row = world.rows("select input_tokens, output_tokens from attempts_v1").remove(0);
    let tokens = |member: &str| rusqlite::types::Value::Integer(answer["usage"][member].as_i64().expect("a figure"));
    assert_eq!(row, [tokens("input_tokens"), tokens("output_tokens")]);
    assert_eq!(answer["metadata"], json!({"a": "b"}));
    world.settled_as_billed(1);
}

#[tokio::test]
async fn codex_works_on_a_claude_and_thoughts_come_back_as_they_were() {
    let first = Answer::calls([("apply_patch", json!({"input": "*** Begin\n\"x\""})), ("mcp__docs__find", json!({}))]);
    let world =
        to_claude([Reply::answer(first).thinks("hm"), Reply::text("done").thinks_in_secret("yes")]).start().await;
    let mut input = json!([{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "fix it"}]}]);
    let got = send(&world, codex(&input)).await;
    let told = events(&got);
    let (first, last) = (&told[0], told.last().expect("events"));
    assert_eq!(
        (got.status, kinds(&told)[..2].to_vec(), &last["type"]),
        (200, vec!["response.created", "response.in_progress"], &json!("response.completed")),
        "{}",
        got.text()
    );
    assert_eq!((first["response"].get("usage"), &first["response"]["instructions"]), (None, &json!("You are Codex")));
    let output = last["response"]["output"].as_array().expect("items").clone();
    let told_kinds: Vec<&str> = output.iter().filter_map(|item| item["type"].as_str()).collect();
    assert_eq!(told_kinds, ["reasoning", "custom_tool_call", "function_call"], "{last}");
    assert!(output[0]["encrypted_content"].as_str().is_some_and(|seal| seal.starts_with("fx1.anthropic.")));
    assert_eq!(
        (&output[1]["input"], &output[2]["name"], &output[2]["namespace"]),
        (&json!("*** Begin\n\"x\""), &json!("find"), &json!("mcp__docs"))
    );
    let comment = got.text().find(": x-farthing-cost-usd: ").unwrap_or_else(|| panic!("{}", got.text()));
    assert!(got.text().rfind("event: response.output_item.done") < Some(comment));
    assert!(Some(comment) < got.text().find("event: response.completed"));

    let results = [
        json!({"type": "custom_tool_call_output", "call_id": output[1]["call_id"], "output": "ok"}),
        json!({"type": "function_call_output", "call_id": output[2]["call_id"], "output": [{"type": "input_text", "text": "none"}]}),
    ];
    input.as_array_mut().expect("items").extend(output.into_iter().chain(results));
    let got = send(&world, codex(&input)).await;
    let told = events(&got);
    assert_eq!(
        (got.status, told.last().map(|last| &last["type"])),
        (200, Some(&json!("response.completed"))),
        "{}",
        got.text()
    );
    assert_eq!(got.header("x-farthing-dropped"), "prompt_cache_key, tools.format, tools.web_search");
    let sent: Vec<Value> = world.provider.requests().iter().map(|sent| sent.json()).collect();
    let (before, after) = (sent[0]["messages"].as_array().unwrap(), sent[1]["messages"].as_array().unwrap());
    assert_eq!((&before[..], after.len()), (&after[..before.len()], 3));
    let step = after[1]["content"].as_array().unwrap();
    assert_eq!((&step[0]["type"], &step[0]["thinking"]), (&json!("thinking"), &json!("hm")));
    assert_eq!(
        (&step[1]["input"], &step[2]["name"]),
        (&json!({"input": "*** Begin\n\"x\""}), &json!("mcp__docs__find"))
    );
    world.settled_as_billed(2);
}

#[tokio::test]
async fn what_only_openai_has_is_refused_by_name_before_anything_leaves() {
    let world = to_claude([Reply::text("ok")]).start().await;
    let reference = json!([{"type": "compaction", "encrypted_content": "x"}]);
    for (more, param) in [
        (json!({"tools": [{"type": "file_search", "vector_store_ids": ["v"]}]}), "tools.file_search"),
        (json!({"max_tool_calls": 2}), "max_tool_calls"),
        (json!({ "input": reference }), "input.compaction"),
    ] {
        let got = send(&world, asking(more)).await;
        let error = got.json()["error"].clone();
        assert_eq!(
            (got.status, &error["code"], &error["param"]),
            (400, &json!("unsupported_parameter"), &json!(param)),
            "{}",
            got.text()
        );
    }
    assert_eq!(world.provider.arrivals(), 0);
}

#[tokio::test]
async fn a_stream_that_breaks_ends_in_a_response_that_failed() {
    for (reply, code) in [
        (Reply::text("one two three four").resets_after(5), "server_error"),
        (Reply::text("one two three four").ends_after(5), "server_error"),
        (Reply::text("one two three four").overloads_after(5), "server_error"),
    ] {
        let world = to_claude([reply]).start().await;
        let got = send(&world, asking(json!({"stream": true}))).await;
        let told = events(&got);
        let last = told.last().expect("events");
        assert_eq!(
            (&last["type"], &last["response"]["error"]["code"]),
            (&json!("response.failed"), &json!(code)),
            "{}",
            got.text()
        );
        assert_eq!(
            (&last["response"]["status"], &last["response"]["id"]),
            (&json!("failed"), &told[0]["response"]["id"])
        );
        assert!(kinds(&told).contains(&"response.output_text.delta"));
        assert_eq!(world.fates(), ["interrupted"]);
        world.the_ledger_holds_the_invoice();
    }
}

#[tokio::test]
async fn a_stream_beyond_its_limit_is_an_incomplete_response() {
    let model = script(OPUS, [Reply::tokens(100_000)]).ignores_limits();
    let setup = Setup::of(Provider::anthropic().model(model)).anthropic().tiers(&format!("frontier: [sim/{OPUS}]"));
    let world = setup.more("teams: { default: { budget: { usd: 0.01, every: month } } }").start().await;
    let got = send(&world, asking(json!({"stream": true, "max_output_tokens": 20}))).await;
    let told = events(&got);
    let last = &told.last().expect("events")["response"];
    assert_eq!(
        (&last["status"], &last["incomplete_details"]["reason"]),
        (&json!("incomplete"), &json!("max_output_tokens")),
        "{}",
        got.text()
    );
    assert_eq!(last["output"][0]["status"], "incomplete");
    assert!(got.text().contains(": x-farthing-cost-usd: "));
    assert_eq!(world.attempts()[0].fate, "cut");
}

#[tokio::test]
async fn no_event_waits_for_the_next_and_a_client_that_hangs_up_ends_the_call() {
    let world = to_claude([Reply::text("one two three four").stalls_after(4)]).start().await;
    let body = asking(json!({"stream": true}));
    let mut events = Events::of(world.send(Method::POST, "/v1/responses", &[], body.into()).await);
    // The response begins twice over, a ping goes by, then its message, the part, the text.
    assert!(events.take(6).await[5].contains("\"delta\":\"one"));
    drop(events);
    world.until("the provider to notice", || world.provider.hang_ups() > 0).await;
    world.logged("request", 1).await;
    assert_eq!(world.fates(), ["cut"]);
    world.the_ledger_holds_the_invoice();
}

#[tokio::test]
async fn errors_and_refusals_are_told_in_the_words_of_responses() {
    let world = to_claude([Reply::status(529).with_header("retry-after", "30"), Reply::refuses("no")]).start().await;
    let got = send(&world, asking(json!({}))).await;
    assert_eq!((got.status, &*got.code(), got.header("retry-after")), (503, "overloaded", "30"), "{}", got.text());
    let got = send(&world, asking(json!({}))).await;
    let content = &got.json()["output"][0]["content"];
    assert_eq!(
        (got.status, &content[content.as_array().map_or(0, Vec::len) - 1]["type"]),
        (200, &json!("refusal")),
        "{}",
        got.text()
    );
}

const LUNA: &str = "gpt-5.6-luna";

/// A gateway in front of one model that is called in Chat Completions alone.
fn to_chat(replies: impl IntoIterator<Item = Reply>) -> Setup {
    Setup::of(crate::support::luna(replies)).row("speaks: [chat]")
}

#[tokio::test]
async fn codex_works_on_a_model_that_is_called_in_chat_alone() {
    let first = [("apply_patch", json!({"input": "*** Begin"})), ("mcp__docs__find", json!({}))];
    let world = to_chat([Reply::calls_all(first), Reply::text("done")]).start().await;
    let mut input = json!([{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "fix it"}]}]);
    let got = send(&world, codex(&input).replace(OPUS, LUNA)).await;
    let told = events(&got);
    let last = told.last().expect("events");
    assert_eq!((got.status, &last["type"]), (200, &json!("response.completed")), "{}", got.text());
    let output = last["response"]["output"].as_array().expect("items").clone();
    assert_eq!((&output[0]["type"], &output[0]["input"]), (&json!("custom_tool_call"), &json!("*** Begin")));
    assert_eq!((&output[1]["name"], &output[1]["namespace"]), (&json!("find"), &json!("mcp__docs")));
    let results = [
        json!({"type": "custom_tool_call_output", "call_id": output[0]["call_id"], "output": "ok"}),
        json!({"type": "function_call_output", "call_id": output[1]["call_id"], "output": "none"}),
    ];
    input.as_array_mut().expect("items").extend(output.into_iter().chain(results));
    let whole = codex(&input).replace(OPUS, LUNA).replace("\"stream\":true", "\"stream\":false");
    let got = send(&world, whole).await;
    assert_eq!((got.status, &got.json()["output"][0]["content"][0]["text"]), (200, &json!("done")), "{}", got.text());
    assert!(world.provider.requests().iter().all(|sent| sent.path == "/v1/chat/completions"));
    world.settled_as_billed(2);
}

#[tokio::test]
async fn a_client_of_responses_under_a_budget_is_bound_by_what_leaves() {
    let budget = "teams: { default: { budget: { usd: 10, every: month } } }";
    let world = to_chat([Reply::text("ok")]).more(budget).start().await;
    let tools = json!([{"type": "web_search"}]);
    let got = send(&world, asking(json!({"tools": tools, "max_output_tokens": 100})).replace(OPUS, LUNA)).await;
    assert_eq!((got.status, got.header("x-farthing-dropped")), (200, "tools.web_search"), "{}", got.text());
    world.settled_as_billed(1);
}

#[tokio::test]
async fn why_a_response_ended_is_told_to_clients_of_messages() {
    let calls = || Reply::calls("read", json!({"path": "a"}));
    let world = Setup::of(crate::support::luna([calls(), Reply::tokens(50), Reply::refuses("no")])).start().await;
    let tools = json!([{"name": "read", "input_schema": {"type": "object"}}]);
    for (limit, reason) in [(1000, "tool_use"), (20, "max_tokens"), (1000, "refusal")] {
        let body = json!({"model": LUNA, "max_tokens": limit, "stream": true, "tools": tools,
            "messages": [{"role": "user", "content": "hi"}]});
        let got = whole(world.send(Method::POST, "/v1/messages", &[], body.to_string().into()).await).await;
        let told = format!("\"stop_reason\":\"{reason}\"");
        assert!(got.text().contains(&told), "{reason} in {}", got.text());
    }
    assert!(world.provider.requests().iter().all(|sent| sent.path == "/v1/responses"));
    world.settled_as_billed(3);
}

/// Recordings of providers' streams, and what their clients are sent of them: files beside each other, whose changes are read like
/// code. Those of Messages are `translated`'s. With `FARTHING_WRITES_GOLDEN` in the environment the second is written anew.
#[tokio::test]
async fn recorded_streams_are_told_to_clients_of_responses_and_from_it_as_they_were() {
    let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let folder = tests.join("translated_responses");
    let mut recordings: Vec<std::path::PathBuf> = [tests.join("translated"), folder.clone()]
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).expect("the folder"))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    recordings.sort();
    let mut told = 0;
    for recording in recordings {
        let name = recording.file_name().and_then(|name| name.to_str()?.strip_suffix(".in.sse")).unwrap_or_default();
        let recorded = || std::fs::read_to_string(&recording).expect("a recording");
        let reply = || Reply::raw_events(recorded().split_inclusive("\n\n").map(str::to_owned).collect::<Vec<_>>());
        let got = if name.starts_with("messages_") {
            let world = to_claude([reply()]).server("cost_comment: off").start().await;
            let include = json!(["reasoning.encrypted_content"]);
            send(&world, asking(json!({"stream": true, "include": include}))).await
        } else if name.starts_with("chat_") {
            let world = to_chat([reply()]).server("cost_comment: off").start().await;
            send(&world, asking(json!({"stream": true})).replace(OPUS, LUNA)).await
        } else if name.starts_with("responses_") {
            let world = Setup::of(crate::support::luna([reply()])).server("cost_comment: off").start().await;
            let body = json!({"model": LUNA, "max_tokens": 1000, "stream": true, "messages": [{"role": "user", "content": "hi"}]});
            whole(world.send(Method::POST, "/v1/messages", &[], body.to_string().into()).await).await
        } else {
            continue;
        };
        told += 1;
        let text = got.text().replace(got.header("x-request-id"), "REQUEST");
        let text =
            ["\"created_at\":", "\"completed_at\":"].iter().fold(text, |text, member| without_time(&text, member));
        let golden = folder.join(format!("{name}.out.sse"));
        if std::env::var_os("FARTHING_WRITES_GOLDEN").is_some() {
            std::fs::write(&golden, &text).expect("a file");
        }
        assert_eq!(text, std::fs::read_to_string(&golden).unwrap_or_default(), "{name}");
    }
    assert!(told >= 10, "{told} recordings");
}

/// Whatever was made now was made at 0.
fn without_time(text: &str, member: &str) -> String {
    let mut parts = text.split(member);
    let mut told = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|digit: char| digit.is_ascii_digit());
        let time = if rest.len() < part.len() { "0" } else { "" };
        told.extend([member, time, rest]);
    }
    told
}
