use std::time::Duration;

use super::*;
use crate::call::{Attribution, Surface};
use crate::ids::{ModelId, ProviderId, RequestId, TeamId};
use crate::wire::openai_chat;

pub(super) fn model(name: &str) -> ModelRef {
    ModelRef { provider: ProviderId::from("openai"), model: ModelId::from(name) }
}

pub(super) fn call(messages: &[(&str, &str)], tools: &str) -> CallFacts {
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

pub(super) fn usage(input: u64, cached: u64, written: u64) -> Usage {
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
        prefixes.answered(&met, &model(by), usage, Caching::Charged, now);
        now += pause;
    }
    assert_eq!(found, expected);
}

pub(super) const SOON: Duration = Duration::from_secs(2);

pub(super) fn first() -> CallFacts {
    call(&[("system", "be brief"), ("user", "one")], "run")
}

pub(super) fn second(tools: &str) -> CallFacts {
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

#[test]
fn conversations_that_begin_at_once_share_what_they_open_with_once_the_first_has_left() {
    let long = "be brief ".repeat(1_000);
    let step = |question: &str| call(&[("system", &long), ("user", question)], "run");
    let (prefixes, now, other) = (Prefixes::default(), Instant::now(), step("two"));
    let cached = || {
        let met = prefixes.meet(&other, &model("sol"), now);
        met.at_baseline(&other.view.outline.chain, &model("sol"), usage(2_020, 0, 1_920)).cached_input_tokens
    };
    let met = prefixes.meet(&step("one"), &model("sol"), now);
    assert_eq!(cached(), 0, "it may never leave");
    prefixes.sent(&met, now);
    assert_eq!(cached(), 1_920);
}

/// What broke the prefix of the second step, if the first was answered by `before` and the second by `after`.
#[track_caller]
fn check_lost(before: &str, tools: &str, pause: Duration, after: (&str, u64), expected: Option<(&str, u64)>) {
    let (prefixes, now) = (Prefixes::default(), Instant::now());
    let met = prefixes.meet(&first(), &model("sol"), now);
    assert_eq!(met.lost(&model(before), usage(2_000, 0, 1_920), None), None, "there was nothing to lose");
    prefixes.answered(&met, &model(before), &usage(2_000, 0, 1_920), Caching::Charged, now);
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
fn a_try_that_nobody_answered_leaves_nothing_behind() {
    let (prefixes, now) = (Prefixes::default(), Instant::now());
    let met = prefixes.meet(&first(), &model("sol"), now);
    prefixes.answered(&met, &model("luna"), &usage(2_000, 0, 1_920), Caching::Charged, now);
    let refused = prefixes.meet(&second("run"), &model("sol"), now + SOON);
    let again = prefixes.meet(&second("run"), &model("sol"), now + SOON * 2);
    let (by, cold) = (model("sol"), usage(3_000, 0, 2_944));
    for met in [refused, again] {
        let at = met.at_baseline(&second("run").view.outline.chain, &by, cold);
        assert_eq!((at.cached_input_tokens, at.cache_write_tokens), (1_920, 1_024));
        let lost = met.lost(&by, cold, None);
        assert_eq!(lost.map(|lost| (lost.culprit, lost.intact.cached_input_tokens)), Some(("model", 1_920)));
    }
    // Nor does it keep anything warm.
    let late = prefixes.meet(&second("run"), &model("sol"), now + SOON + Duration::from_secs(299));
    assert_eq!(late.lost(&by, cold, None).map(|lost| lost.culprit), Some("ttl"));
}

/// What broke the prefix of the last step, at how many tokens: the client names a model with each step, which answers.
#[track_caller]
fn check_named(session: Option<&str>, steps: &[(CallFacts, &str, Usage)], expected: Option<(&str, u64, Option<u64>)>) {
    let (prefixes, now, mut lost) = (Prefixes::default(), Instant::now(), None);
    for (call, named, usage) in steps {
        let mut call = call.clone();
        call.session = session.map(Into::into);
        let met = prefixes.meet(&call, &model(named), now);
        let last = prefixes.answered(&met, &model(named), usage, Caching::Charged, now);
        lost = met.lost(&model(named), *usage, last);
    }
    let found = lost.map(|lost| (lost.culprit, lost.intact.cached_input_tokens, lost.at_tokens));
    assert_eq!(found, expected);
}

#[test]
fn a_client_that_names_another_model_has_moved_and_rewritten_nothing() {
    let third = [("assistant", "1"), ("user", "two"), ("assistant", "2"), ("user", "three")];
    let third = || call(&[&[("system", "be brief"), ("user", "one")], &third[..]].concat(), "run");
    let begun = (first(), "sol", usage(2_000, 0, 1_920));
    let moved = (second("run"), "luna", usage(5_000, 0, 4_992));
    for session in [None, Some("nightly")] {
        let steps = [begun.clone(), moved.clone()];
        check_named(session, &steps, Some(("model", 1_920, Some(0))));
    }
    // Back at the first model, which has its own part still.
    let back = (third(), "sol", usage(6_000, 1_920, 4_032));
    check_named(Some("nightly"), &[begun, moved, back], Some(("model", 4_992, Some(1_920))));
}

#[test]
fn nothing_is_lost_that_was_in_no_cache() {
    let lost = |caching, before: Usage, after: Usage| {
        let (prefixes, now, by) = (Prefixes::default(), Instant::now(), model("sol"));
        let met = prefixes.meet(&first(), &by, now);
        prefixes.answered(&met, &by, &before, caching, now);
        let met = prefixes.meet(&second("run"), &by, now);
        let last = prefixes.answered(&met, &by, &after, caching, now);
        met.lost(&by, after, last).map(|lost| (lost.culprit, lost.intact.cached_input_tokens))
    };
    let (none, then) = (usage(4_000, 0, 0), usage(5_000, 0, 0));
    assert_eq!(lost(Caching::Charged, none, then), None, "nothing was ever written");
    assert_eq!(lost(Caching::Charged, none, usage(5_000, 0, 4_992)), None, "it is written for the first time");
    assert_eq!(lost(Caching::Charged, usage(4_000, 0, 1_536), usage(5_000, 1_536, 0)), None, "all of it was read");
    assert_eq!(lost(Caching::Charged, usage(4_000, 0, 1_536), then), Some(("provider", 1_536)));
    assert_eq!(lost(Caching::Charged, usage(4_000, 1_536, 1_024), then), Some(("provider", 2_560)));
    let of_1h = Usage { cache_write_1h_tokens: 1_536, ..none };
    assert_eq!(lost(Caching::Charged, of_1h, then), Some(("provider", 1_536)));
    assert_eq!(lost(Caching::ByItself, none, then), Some(("provider", 3_968)), "who does not charge does not say");
}

#[test]
fn a_conversation_whose_beginning_changes_is_found_by_its_first_user_turn() {
    let lost = |messages: &[(&str, &str)]| {
        let (prefixes, now) = (Prefixes::default(), Instant::now());
        let met = prefixes.meet(&first(), &model("sol"), now);
        prefixes.answered(&met, &model("sol"), &usage(2_000, 0, 1_920), Caching::Charged, now);
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
        let last = prefixes.answered(&met, &model("sol"), &usage, Caching::ByItself, now);
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
        prefixes.answered(&met, &model("sol"), &usage(2_000, 0, 1_920), Caching::Charged, now);
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
