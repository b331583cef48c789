use std::time::Duration;

use super::*;
use crate::meter::prefixes::tests::{SOON, call, first, model, second, usage};

/// Plays steps that others answered: where each would have gone, and its tokens, of which so many were read from a cache and
/// so many written. Gives what each would have read and written, where writes are charged.
#[track_caller]
fn check(steps: &[(CallFacts, &str, Usage)], pause: Duration, expected: &[(u64, u64)]) {
    let (prefixes, mut now, mut found) = (Prefixes::default(), Instant::now(), Vec::new());
    for (call, would, usage) in steps {
        let met = prefixes.would_meet(call, &model(would), now);
        let chain = &call.view.outline.chain;
        let there = met.at(chain, *usage, true);
        assert_eq!((there.input_tokens, there.output_tokens), (usage.input_tokens, usage.output_tokens));
        let free = met.at(chain, *usage, false);
        assert_eq!(
            (free.cached_input_tokens, free.cache_write_tokens),
            (there.cached_input_tokens, usage.cache_write_tokens)
        );
        found.push((there.cached_input_tokens, there.cache_write_tokens));
        prefixes.would_have_answered(&met, usage, now);
        now += pause;
    }
    assert_eq!(found, expected);
}

/// A conversation of three steps.
fn third() -> CallFacts {
    let turns = [
        ("system", "be brief"),
        ("user", "one"),
        ("assistant", "1"),
        ("user", "two"),
        ("assistant", "2"),
        ("user", "three"),
    ];
    call(&turns, "run")
}

#[test]
fn a_conversation_that_would_stay_has_the_cached_share_that_it_had() {
    let steps = [
        (first(), "luna", usage(2_000, 0, 1_920)),
        (second("run"), "luna", usage(3_000, 1_920, 1_024)),
        (third(), "luna", usage(4_000, 2_944, 1_000)),
    ];
    check(&steps, SOON, &[(0, 1_920), (1_920, 1_024), (2_944, 1_000)]);
}

#[test]
fn a_step_that_would_have_moved_reads_nothing_and_writes_what_it_had_read() {
    let steps = [(first(), "sol", usage(2_000, 0, 1_920)), (second("run"), "luna", usage(3_000, 1_920, 1_024))];
    check(&steps, SOON, &[(0, 1_920), (0, 2_944)]);
}

#[test]
fn one_that_would_have_come_back_reads_the_last_prompt_that_had_gone_there() {
    let steps = [
        (first(), "sol", usage(2_000, 0, 1_920)),
        (second("run"), "luna", usage(3_000, 1_920, 1_024)),
        (third(), "sol", usage(4_000, 2_944, 1_000)),
    ];
    check(&steps, SOON, &[(0, 1_920), (0, 2_944), (1_920, 2_024)]);
    let late = [steps[0].clone(), (second("run"), "sol", usage(3_000, 1_920, 1_024))];
    check(&late, Duration::from_secs(301), &[(0, 1_920), (0, 2_944)]);
}

#[test]
fn where_nothing_is_remembered_it_is_as_it_was() {
    check(&[(second("run"), "luna", usage(3_000, 1_920, 1_024))], SOON, &[(1_920, 1_024)]);
}

#[test]
fn a_first_step_reads_what_conversations_of_one_agent_share_where_they_would_have_gone() {
    let long = "be brief ".repeat(1_000);
    let step = |question: &str| call(&[("system", &long), ("user", question)], "run");
    let (cold, shared) = (usage(2_020, 0, 1_920), usage(2_020, 1_792, 128));
    let steps = [
        (step("one"), "luna", cold),
        // About 2,000 of the tokens stand before the question: nobody has said so yet.
        (step("two"), "luna", shared),
        (step("three"), "sol", shared),
        (step("four"), "luna", shared),
        (step("five"), "sol", shared),
    ];
    check(&steps, SOON, &[(0, 1_920), (1_792, 128), (0, 1_920), (1_792, 128), (1_792, 128)]);
}
