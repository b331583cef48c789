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

/// What broke the prefix of the second step, if the first was answered by `before` and the second by `after`.
#[track_caller]
fn check_lost(before: &str, tools: &str, pause: Duration, after: (&str, u64), expected: Option<(&str, u64)>) {
    let (prefixes, now) = (Prefixes::default(), Instant::now());
    let met = prefixes.meet(&first(), &model("sol"), now);
    assert_eq!(met.lost(&model(before), usage(2_000, 0, 1_920), None), None, "there was nothing to lose");
    prefixes.answered(&met, &model(before), &usage(2_000, 0, 1_920), now);
    let met = prefixes.meet(&second(tools), &model("sol"), now + pause);
    let lost = met.lost(&model(after.0), usage(3_000, after.1, 2_944 - after.1), None);
    assert_eq!(lost.map(|lost| (lost.culprit, lost.intact.cached_input_tokens)), expected);
}

#[test]
fn a_broken_prefix_has_a_culprit() {
    check_lost("luna", "run", SOON, ("luna", 1_920), None);
    check_lost("luna", "run", SOON, ("luna", 0), Some(("provider", 1_920)));
    check_lost("luna", "run", SOON, ("sol", 0), Some(("model", 1_920)));
    check_lost("luna", "walk", SOON, ("luna", 0), Some(("tools", 1_920)));
    check_lost("luna", "run", Duration::from_secs(301), ("luna", 0), Some(("ttl", 1_920)));
}

#[test]
fn a_conversation_whose_beginning_changes_is_found_by_its_first_user_turn() {
    let lost = |messages: &[(&str, &str)]| {
        let (prefixes, now) = (Prefixes::default(), Instant::now());
        let met = prefixes.meet(&first(), &model("sol"), now);
        prefixes.answered(&met, &model("sol"), &usage(2_000, 0, 1_920), now);
        let met = prefixes.meet(&call(messages, "run"), &model("sol"), now + SOON);
        met.lost(&model("sol"), usage(3_000, 0, 2_944), None).map(|lost| lost.culprit)
    };
    let now = [("system", "it is 10:02"), ("user", "one"), ("assistant", "1"), ("user", "two")];
    assert_eq!(lost(&now), Some("system"));
    assert_eq!(lost(&now[..2]), None, "another conversation may begin alike");
    let other = [("system", "it is 10:02"), ("user", "other"), ("assistant", "1"), ("user", "two")];
    assert_eq!(lost(&other), None);
    let second = [("system", "be brief"), ("user", "one"), ("assistant", "1"), ("user", "two")];
    assert_eq!(lost(&second), Some("provider"), "it extends the first");
}

/// What the third step of a conversation lost that sends its history anew: its messages, its tokens, those that were cached.
#[track_caller]
fn check_rewritten(session: Option<&str>, messages: &[(&str, &str)], tokens: (u64, u64), expected: Option<(u64, u64)>) {
    let (prefixes, now) = (Prefixes::default(), Instant::now());
    let mut lost = None;
    let steps = [(first(), usage(2_000, 0, 0)), (second("run"), usage(5_000, 1_920, 0))];
    for (mut call, usage) in steps.into_iter().chain([(call(messages, "run"), usage(tokens.0, tokens.1, 0))]) {
        call.session = session.map(Into::into);
        let met = prefixes.meet(&call, &model("sol"), now);
        let last = prefixes.answered(&met, &model("sol"), &usage, now);
        lost = met.lost(&model("sol"), usage, last);
    }
    let found = lost.map(|lost| (lost.culprit, lost.intact.cached_input_tokens, lost.at_tokens));
    assert_eq!(found, expected.map(|(intact, at)| ("history", intact, Some(at))));
}

#[test]
fn a_history_that_is_rewritten_behind_its_first_turns_is_a_loss_where_the_client_names_the_conversation() {
    let begun = [("system", "be brief"), ("user", "one"), ("assistant", "1"), ("user", "two")];
    let goes_on = [&begun[..], &[("assistant", "2"), ("user", "three")]].concat();
    let rewritten = [("system", "be brief"), ("user", "one"), ("assistant", "(left out)"), ("user", "two")];
    check_rewritten(Some("nightly"), &goes_on, (6_000, 4_992), None);
    check_rewritten(Some("nightly"), &rewritten, (6_000, 1_920), Some((4_992, 2_000)));
    check_rewritten(Some("nightly"), &rewritten, (4_500, 1_920), Some((4_500, 2_000)));
    // It was cut down; or two conversations begin alike.
    check_rewritten(Some("nightly"), &rewritten, (2_500, 1_920), None);
    check_rewritten(None, &rewritten, (6_000, 1_920), None);
}

#[test]
fn both_sides_of_a_beginning_that_changed_are_known_by_their_hashes() {
    let (prefixes, now) = (Prefixes::default(), Instant::now());
    let sides = |call: &CallFacts| {
        let met = prefixes.meet(call, &model("sol"), now);
        prefixes.answered(&met, &model("sol"), &usage(2_000, 0, 1_920), now);
        met.sides()
    };
    let (before, after) = (first(), second("walk"));
    assert_eq!(sides(&before), None);
    let hashes = |call: &CallFacts| {
        let chain = &call.view.outline.chain;
        (half(chain.head.hash), half(chain.opening))
    };
    let ((head, opening), (other, _)) = (hashes(&before), hashes(&after));
    assert_eq!(sides(&after), Some(Sides { heads: [head, other], openings: [opening; 2] }));
    let both = call(&[("system", "be long"), ("user", "one"), ("assistant", "1"), ("user", "two")], "run");
    let (_, changed) = hashes(&both);
    assert_eq!(sides(&both), Some(Sides { heads: [other, head], openings: [opening, changed] }));
}
