use std::time::Duration;

use super::*;
use crate::call::{Attribution, Surface};
use crate::ids::{ModelId, ProviderId, RequestId, TeamId};
use crate::wire::openai_chat;

fn model(name: &str) -> ModelRef {
    ModelRef { provider: ProviderId::from("openai"), model: ModelId::from(name) }
}

fn call(messages: &[(&str, &str)], tools: &str) -> CallFacts {
    let messages: Vec<_> =
        messages.iter().map(|(role, text)| serde_json::json!({"role": role, "content": text})).collect();
    let body = serde_json::json!({"model": "auto", "messages": messages, "tools": [{"type": "function", "function": {"name": tools}}]});
    let body = body.to_string();
    CallFacts {
        id: RequestId::new(),
        arrived: Instant::now(),
        read: Instant::now(),
        at_ms: 0,
        surface: Surface::ChatCompletions,
        body_bytes: body.len(),
        view: openai_chat::read(body.as_bytes()).expect("a chat body"),
        who: Attribution::of_team(TeamId::from("data")),
        pinned_tier: None,
        session: None,
        deadline: None,
        on_short: None,
    }
}

fn usage(input: u64, cached: u64, written: u64) -> Usage {
    Usage {
        input_tokens: input,
        cached_input_tokens: cached,
        cache_write_tokens: written,
        output_tokens: 9,
        ..Usage::default()
    }
}

/// Plays steps that all would have gone to `sol`: who answered, with how many tokens, of which so many were read from its
/// cache and so many written. Gives what each would have read at `sol`.
#[track_caller]
fn check(steps: &[(CallFacts, &str, Usage)], pause: Duration, expected: &[(u64, u64)]) {
    let (prefixes, mut now, mut found) = (Prefixes::default(), Instant::now(), Vec::new());
    for (call, by, usage) in steps {
        let met = prefixes.meet(call, &model("sol"), now);
        let at = met.at_baseline(&call.view.outline.chain, &model(by), *usage);
        assert_eq!((at.input_tokens, at.output_tokens), (usage.input_tokens, usage.output_tokens));
        found.push((at.cached_input_tokens, at.cache_write_tokens));
        prefixes.answered(&met, &model(by), usage, now);
        now += pause;
    }
    assert_eq!(found, expected);
}

const SOON: Duration = Duration::from_secs(2);

fn first() -> CallFacts {
    call(&[("system", "be brief"), ("user", "one")], "run")
}

fn second(tools: &str) -> CallFacts {
    call(&[("system", "be brief"), ("user", "one"), ("assistant", "1"), ("user", "two")], tools)
}

#[test]
fn a_conversation_that_stays_has_the_cached_share_that_it_had() {
    let steps = [(first(), "luna", usage(2_000, 0, 1_920)), (second("run"), "luna", usage(3_000, 1_920, 1_024))];
    check(&steps, SOON, &[(0, 1_920), (1_920, 1_024)]);
    let unlucky = [(first(), "sol", usage(2_000, 0, 1_920)), (second("run"), "sol", usage(3_000, 0, 2_944))];
    check(&unlucky, SOON, &[(0, 1_920), (0, 2_944)]);
}

#[test]
fn one_that_moved_would_have_found_the_prompt_that_it_extends() {
    let steps = [(first(), "luna", usage(2_000, 0, 1_920)), (second("run"), "sol", usage(3_000, 0, 2_944))];
    check(&steps, SOON, &[(0, 1_920), (1_920, 1_024)]);
    // Where nobody writes at a price there is nothing to take off.
    let plain = [(first(), "luna", usage(2_000, 0, 0)), (second("run"), "sol", usage(3_000, 0, 0))];
    check(&plain, SOON, &[(0, 0), (1_920, 0)]);
}

#[test]
fn what_is_too_old_too_short_or_behind_other_tools_is_not_found() {
    let steps = |tools, tokens| [(first(), "luna", usage(tokens, 0, 0)), (second(tools), "sol", usage(3_000, 0, 0))];
    check(&steps("run", 2_000), Duration::from_secs(301), &[(0, 0), (0, 0)]);
    check(&steps("walk", 2_000), SOON, &[(0, 0), (0, 0)]);
    check(&steps("run", 1_026), SOON, &[(0, 0), (0, 0)]);
}

#[test]
fn a_first_step_finds_what_conversations_of_one_agent_share() {
    let long = "be brief ".repeat(1_000);
    let step = |question: &str| call(&[("system", &long), ("user", question)], "run");
    let cold = usage(2_020, 0, 1_920);
    let steps = [
        (step("one"), "luna", cold),
        // About 2,000 of the tokens stand before the question: nobody has said so yet.
        (step("two"), "sol", cold),
        // What was read shows how many they are.
        (step("three"), "sol", usage(2_020, 1_792, 128)),
        (step("four"), "luna", usage(2_020, 0, 1_920)),
    ];
    check(&steps, SOON, &[(0, 1_920), (1_920, 0), (1_792, 128), (1_792, 128)]);
}
