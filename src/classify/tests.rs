//! What becomes of requests by whole policies.

use super::*;
use crate::policy::parse;

const ORDERS: &str = include_str!("../../routing-policies/orders_daily.md");

fn policy(text: &str) -> Policy {
    parse("p.md", text).unwrap_or_else(|problems| panic!("{problems:?}")).0
}

fn first(text: &str) -> Request<'_> {
    Request { last_user: text, user_turns: 1, ..Request::default() }
}

/// The tier, the task's place in the file and what decided, by two tasks: 0 is frontier, the default, and 1 lightweight.
#[track_caller]
fn check(request: Request<'_>, tier: Tier, task: Option<usize>, basis: Basis) {
    let policy = policy(
        "## Frontier\n- Designing architectures (systems, data flows)\n  - \"Sort these out: 2026-11-02 02:10:01 ERROR a\"\n\
         ## Lightweight\n- Sorting log lines\n  - \"Sort these 400 log lines by error class\"\n  - \"Lines sorted, thanks!\"\n",
    );
    let found = Classifier::compile(&policy).classify(&request);
    assert_eq!((found.tier, found.task, found.basis), (tier, task, basis), "{request:?} {found:?}");
}

#[test]
fn a_request_that_repeats_a_bullet_or_an_example_belongs_there() {
    let light = |text: &str| check(first(text), Tier::Lightweight, Some(1), Basis::Words);
    light("Sort these 400 log lines by error class");
    light("sort these 7 log lines by error class!");
    light("Sorting log lines");
    light("Sort these 400 log lines by error class:\n2026-11-02 02:10:01 ERROR worker-3 lost heartbeat\n");
    light("Sort these 9 log lines by error class: 2026-11-02 02:10:01 ERROR worker-3 lost heartbeat");
    light("lines sorted. thanks");
    let dear = |text: &str| check(first(text), Tier::Frontier, Some(0), Basis::Words);
    dear("Designing architectures (systems, data flows)");
    dear("designing architectures");
    dear("Sort these out: 2026-11-03 03:10:01 WARN b is late");
}

#[test]
fn what_goes_on_in_other_words_repeats_nothing() {
    for text in [
        "Sort these 400 log lines by error class: no, rather tell me what is behind them",
        "Sort these 400 log lines by error class.\nThen find out why the job died.",
    ] {
        let found = Classifier::compile(&policy(ORDERS)).classify(&first(text));
        assert_eq!(found.basis, Basis::Likeness, "{text}");
    }
}

#[test]
fn words_of_two_tasks_decide_for_neither() {
    let policy = policy("## Frontier\n- Designs\n  - \"Draw it\"\n## Lightweight\n- Sketches\n  - \"draw it!\"\n");
    assert_eq!(Classifier::compile(&policy).classify(&first("Draw it")).basis, Basis::Likeness);
    assert_eq!(disputes(&policy), [Dispute { text: "draw it!".to_owned(), earlier: 0, later: 1 }]);
}

#[test]
fn a_turn_that_says_nothing_is_taken_for_the_last_one_that_does() {
    let light = "Sort these 400 log lines by error class";
    for turn in ["ok", "yes please", "Danke!", "👍", "continue", "はい"] {
        let goes_on =
            |before| Request { last_user: turn, previous_user: Some(before), user_turns: 2, ..Request::default() };
        check(goes_on(light), Tier::Lightweight, Some(1), Basis::Earlier);
        check(goes_on("Designing architectures"), Tier::Frontier, Some(0), Basis::Earlier);
        check(goes_on("ok"), Tier::Frontier, None, Basis::Nothing);
        check(first(turn), Tier::Frontier, None, Basis::Nothing);
    }
}

#[test]
fn a_turn_with_an_image_says_something_whatever_its_words() {
    for previous_user in [None, Some("Sort these 400 log lines by error class")] {
        let turn = Request { last_user: "ok", previous_user, user_turns: 2, ..Request::default() };
        let of = |request: &Request<'_>| Classifier::compile(&policy(ORDERS)).classify(request);
        let with_image = of(&Request { has_images: true, ..turn });
        assert_eq!(with_image.basis, Basis::Likeness, "{with_image:?}");
        assert_ne!(of(&turn).basis, Basis::Likeness);
    }
}

#[test]
fn work_leaves_the_default_tier_from_the_bound_of_the_other_one_on() {
    let bound = Weights::built_in().confidence;
    let one_each = Classifier::compile(&policy("## Frontier\n- Designs\n## Lightweight\n- Sketches\n"));
    let described = Described::of(&first("Draw it"));
    for (tier, default, bound) in [
        (Tier::Lightweight, Tier::Frontier, bound),
        (Tier::Frontier, Tier::Lightweight, 0.75 * bound),
        (Tier::Reasoning, Tier::Lightweight, 0.75 * bound),
    ] {
        let classifier = Classifier { tiers: vec![tier, default], default, confidence: None, ..one_each.clone() };
        for (share, expected) in [(bound + 1e-3, tier), (bound - 1e-3, default)] {
            let found = classifier.decide(&described, &[share, 1.0 - share, 0.0]);
            assert_eq!((found.tier, found.ambiguous), (expected, expected == default), "{tier:?} at {share}");
        }
    }
}

#[test]
fn work_without_a_task_at_the_default_tier_is_ambiguous() {
    let found = Classifier::compile(&policy(ORDERS)).classify(&first("Please write a sonnet about the sea"));
    assert_eq!((found.task, found.tier, found.ambiguous), (None, Tier::Frontier, true));
}

#[test]
fn sentences_that_sound_like_code_go_where_their_sense_belongs() {
    let classifier = Classifier::compile(&policy(ORDERS));
    for (one, other) in [
        ("Sort these four hundred log lines by error class", "Sort these 300 log lines by error class, please"),
        ("Sort 40 tickets by kind: A, B or C", "Sort 40 tickets by class: A, B or C"),
        ("Extract the order number, 5 digits, and give it", "Extract the order number (5 digits) and return it"),
    ] {
        let (one, other) = (classifier.classify(&first(one)), classifier.classify(&first(other)));
        assert_eq!((one.tier, other.tier), (Tier::Lightweight, Tier::Lightweight), "{one:?} {other:?}");
    }
}

#[test]
fn advice_that_was_followed_changes_what_becomes_of_a_request() {
    let bullets = "## Frontier\n- Finding the cause of failures\n## Lightweight\n- Parsing logs\n- Health checks\n";
    for text in [
        "Please write a sonnet about the sea",
        "Which of these alarms is a false one?",
        "Root cause analysis across multiple logs",
        "Parse these logs",
    ] {
        let plain = policy(bullets);
        let found = Classifier::compile(&plain).explain(&plain, &first(text));
        for (task, bullet) in plain.tasks.iter().enumerate() {
            let nested = policy(&bullets.replace(&bullet.text, &format!("{}\n  - \"{text}\"", bullet.text)));
            let after = Classifier::compile(&nested).classify(&first(text));
            assert!(found.if_nested[task] && after.task == Some(task), "{text} under {}: {after:?}", bullet.id);
        }
    }
}

#[test]
fn advice_does_not_tell_to_nest_what_is_nested_or_names_the_winner_as_the_next() {
    let advice = |text: &str| {
        let policy = policy(ORDERS);
        Classifier::compile(&policy).explain(&policy, &first(text)).advice(&policy)
    };
    assert!(advice("Group the messages by table").starts_with("it repeats `parsing-log-lines-"));
    assert!(advice("thanks").contains("`x-farthing-task`"));
    let policy = policy(ORDERS);
    let classifier = Classifier::compile(&policy);
    for text in ["List what changed in the table", "Which file has no header?", "Sum up the last ten runs"] {
        let found = classifier.explain(&policy, &first(text));
        let Some(task) = found.classified.task else { continue };
        let (_, next) = found
            .advice(&policy)
            .split_once("next nearest is ")
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .expect("a next one");
        assert_ne!(next, format!("`{}`", policy.tasks[task].id), "{text}");
    }
}
