use super::*;

const MONTH: Span = Span { length_ms: 2_629_800_000 };

#[track_caller]
fn check(question: &Question, span: Span, expected: &[&str]) {
    let told: Vec<String> = question.advice.iter().map(|advice| advice.words(span)).collect();
    assert_eq!(told, expected);
}

fn prompt() -> Prompt {
    Prompt {
        name: "triage".to_owned(),
        names: 1,
        calls: 100,
        input_tokens: 500_000,
        cost: 1_000_000_000,
        sketched: 100,
        beginnings: 1,
        beginning_tokens: 200_000,
        read: 90,
        ..Prompt::default()
    }
}

#[test]
fn what_is_wasteful_in_a_prompt_is_told_dearest_first() {
    let wasteful = Prompt { repeated: 2e8, cacheable: 3e8, beginnings: 50, ..prompt() };
    let losses = [Loss { culprit: "system".to_owned(), requests: 40, cost: 100_000_000 }];
    check(
        &prompts(&[wasteful], &losses, MONTH),
        MONTH,
        &[
            "$0.30 a month: `triage` begins in 50 ways over 100 calls, so that its 2000 tokens of instructions and tools are \
             seldom cached: put what changes at its end (n = 100)",
            "$0.20 a month: `triage` repeats blocks of text within one request: say them once (n = 90)",
            "$0.10 a month: cached prefixes that broke: the system prompt changed on the way; put what changes into the last \
             turn (n = 40)",
        ],
    );
    let volatile = Prompt { cacheable: 3e8, names: 90, beginnings: 90, ..prompt() };
    check(
        &prompts(&[volatile], &[], MONTH),
        MONTH,
        &[
            "$0.30 a month: `triage`: 90 system prompts differ in hours, ids and numbers only; put those behind what stays the \
           same (n = 100)",
        ],
    );
    let full = Prompt { cacheable: 3e8, ..prompt() };
    check(
        &prompts(&[full.clone(), Prompt { name: "plan".to_owned(), unmarked: 51, ..full }], &[], MONTH),
        MONTH,
        &[
            "$0.30 a month: `triage` sends 2000 tokens of instructions and tools that never vary with each call and mostly pays \
             for them in full: see that the provider caches them (n = 100)",
            "$0.30 a month: `plan` sends 2000 tokens of instructions and tools that never vary with each call and asks for no \
             cache: set `cache_control` at their end (n = 100)",
        ],
    );
    let question = prompts(&[Prompt { cacheable: 3e8, repeated: 2e8, lost: 5, ..prompt() }], &[], MONTH);
    let amounts = [Cell::Count(2_000), Cell::Nano(300_000_000), Cell::Nano(5), Cell::Nano(200_000_000)];
    assert_eq!(question.rows[0][7..], amounts);
    assert!(question.note.is_some_and(|note| note.contains("the same tokens")));
    let cached = Prompt { cacheable: 1e6, ..prompt() };
    check(&prompts(&[cached], &[], MONTH), MONTH, &[]);
}

#[test]
fn little_is_told_to_be_little() {
    let span = Span { length_ms: 172_800_000 };
    let few = Prompt { repeated: 2e8, read: 3, ..prompt() };
    let told = prompts(std::slice::from_ref(&few), &[], span).advice[0].words(span);
    assert!(told.ends_with("(n = 3 over 2.0 days, too short)"), "{told}");
    let told = prompts(&[few], &[], MONTH).advice[0].words(MONTH);
    assert!(told.ends_with("(n = 3, too small)"), "{told}");
}

#[test]
fn a_lighter_tier_is_advised_where_it_is_cheaper_mostly_right_and_nobody_complains() {
    let task = Task {
        name: "log-parsing".to_owned(),
        tier: "frontier".to_owned(),
        calls: 50,
        cost: 2_000_000_000,
        needs_strong: Some(0.08),
        lighter: Some(500_000_000),
        ..Task::default()
    };
    let advised = |task: Task| tasks(&[task], MONTH).advice.len();
    check(
        &tasks(std::slice::from_ref(&task), MONTH),
        MONTH,
        &[
            "$1.50 a month: try `log-parsing` at the lightweight tier instead of frontier: in about 8 of 100 calls only the \
           stronger model would be right (n = 50)",
        ],
    );
    assert_eq!(advised(Task { needs_strong: Some(0.4), ..task.clone() }), 0);
    assert_eq!(advised(Task { said: 10, failures: 3, ..task.clone() }), 0);
    assert_eq!(advised(Task { lighter: Some(3_000_000_000), ..task.clone() }), 0);
    assert_eq!(advised(Task { name: String::new(), ..task.clone() }), 0, "no policy can name what is no task");
    check(
        &tasks(&[Task { is_named: true, ..task.clone() }], MONTH),
        MONTH,
        &[
            "$1.50 a month: have clients ask for `auto` with `log-parsing`, for which they name frontier: in about 8 of 100 calls \
           only the stronger model would be right (n = 50)",
        ],
    );
    let unpriced = tasks(&[Task { lighter: None, ..task }], MONTH);
    assert!(unpriced.advice.is_empty() && unpriced.note.is_some());
}

#[test]
fn repeats_are_told_with_the_masks_that_would_make_them_hit() {
    let repeats = [Repeats {
        team: "data".to_owned(),
        task: "health".to_owned(),
        requests: 60,
        exact: 10,
        exact_cost: 1e8,
        near: 40,
        near_cost: 4e8,
        masks: vec!["timestamps", "numbers"],
    }];
    let histories = [Repeats { masks: Vec::new(), exact: 0, ..repeats[0].clone() }];
    check(
        &super::repeats(&histories, MONTH),
        MONTH,
        &[
            "$0.40 a month: `health` of `data`: 40 more ask the same behind other words of the model or other ids of its calls \
           (n = 60)",
        ],
    );
    check(
        &super::repeats(&repeats, MONTH),
        MONTH,
        &[
            "$0.40 a month: `health` of `data`: 40 more would be, with timestamps, numbers masked, if the answer does not depend \
             on them (n = 60)",
            "$0.10 a month: `health` of `data`: 10 of 60 requests are exact repeats; cache them (n = 60)",
        ],
    );
}

#[test]
fn cost_is_held_against_hours_or_incidents_from_month_to_month() {
    let month = |month: &str, cost, milli_hours| Worth {
        team: "data".to_owned(),
        month: month.to_owned(),
        cost,
        said: 20,
        successes: 15,
        incidents: 4,
        milli_hours,
    };
    let rows = [month("2026-10", 1_000_000_000, 10_000), month("2026-11", 2_000_000_000, 11_000)];
    let question = worth(&rows, MONTH);
    assert_eq!(question.rows[0][6..], [Cell::Nano(250_000_000), Cell::Thousandths(10_000), Cell::Nano(100_000_000)]);
    check(
        &question,
        MONTH,
        &[
            "$0.90 a month: `data`: from 2026-10 to 2026-11 cost went to 200 %, hours saved to 110 %: cost does not track value \
             (n = 40)",
        ],
    );
    let parts = worth(&[month("2026-11", 2_000_000_000, 1_750), month("2026-12", 1, 11_000)], MONTH);
    assert_eq!(parts.rows.iter().map(|row| row[7].shown()).collect::<Vec<_>>(), ["1.75", "11"]);
    assert_eq!(parts.json(5)["rows"][0]["hours_saved"], 1.75);
    let silent = Worth { team: "ops".to_owned(), said: 0, successes: 0, ..rows[0].clone() };
    let told: Vec<String> = worth(&[silent, rows[0].clone()], MONTH).advice.iter().map(|a| a.words(MONTH)).collect();
    assert_eq!(
        told,
        ["$1.00 a month: `ops` says of nothing what it was worth: have it send feedback (n = 1, too small)"]
    );
    let only_words = rows.clone().map(|of| Worth { incidents: 0, milli_hours: 0, ..of });
    let question = worth(&only_words, MONTH);
    assert!(question.advice[0].text.contains("successes to 100 %: cost does not track value"), "{question:?}");
    assert!(worth(&[], MONTH).note.is_some_and(|note| note.contains("feedback")));
    assert_eq!(worth(&rows, MONTH).json(5)["rows"][0]["hour_nano"], 100_000_000);
}
