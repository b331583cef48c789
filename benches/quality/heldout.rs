//! Requests of held-out domains against nine bullets: is the tier right, is expensive work sent down, does unrelated work
//! stay at the default, is light work kept light.

use std::path::Path;

use comfy_table::Table;
use farthing::classify::Classifier;
use farthing::policy::{self, Policy};
use farthing::task::Tier;
use serde_json::Value;

use crate::baselines::{by_angle, by_words};
use crate::requests::with_request;
use crate::statistics::{Interval, brier, calibration_error};

const POLICY: &str = include_str!("orders_daily.md");
const EXAMPLES: &str = include_str!("examples.txt");
const REQUESTS: &str = include_str!("../../models/corpus/heldout/orders_daily.jsonl");
/// Labels in the order of the policy's bullets; any other belongs to none.
const LABELS: [&str; 9] = ["F1", "F2", "F3", "R1", "R2", "L1", "L2", "L3", "L4"];

struct Case {
    label: Option<usize>,
    line: Value,
}

/// The policy with the nine bullets.
pub fn policy() -> Policy {
    read(POLICY)
}

/// Prints the table.
pub fn run(policy: Option<&Path>, requests: Option<&Path>, confusion: bool) {
    let text = policy.map_or(POLICY.to_owned(), |path| std::fs::read_to_string(path).expect("a policy"));
    let requests = requests.map_or(REQUESTS.to_owned(), |path| std::fs::read_to_string(path).expect("requests"));
    let cases: Vec<Case> = requests.lines().map(case).collect();
    let plain = read(&text);
    let with_examples = read(&nested(&text));
    let outcomes = |classifier: &Classifier| -> Vec<(Tier, f64)> {
        let classified = cases.iter().map(|case| with_request(&case.line, |request| classifier.classify(request)));
        classified.map(|c| (c.tier, f64::from(c.confidence))).collect()
    };
    let prose = outcomes(&Classifier::compile(&plain));
    let examples = outcomes(&Classifier::compile(&with_examples));
    let tier_of = |task: Option<usize>| task.map_or(plain.default, |task| plain.tasks[task].tier);
    let last = |case: &Case| {
        case.line["turns"].as_array().and_then(|t| t.last()).map(|t| t["text"].to_string()).unwrap_or_default()
    };
    let baseline = |by: &dyn Fn(&Policy, &str) -> Option<usize>| -> Vec<(Tier, f64)> {
        cases.iter().map(|case| (tier_of(by(&plain, &last(case))), 0.0)).collect()
    };
    let mut shuffled = prose.clone();
    fastrand::Rng::with_seed(1).shuffle(&mut shuffled);

    let mut table = Table::new();
    table.set_header(["", "tier right", "dear work sent down", "unrelated at default", "light kept light"]);
    let rows = [
        ("always the default", cases.iter().map(|_| (plain.default, 0.0)).collect()),
        ("our answers, shuffled", shuffled),
        ("most words in common", baseline(&by_words)),
        ("smallest angle", baseline(&by_angle)),
        ("Farthing, prose alone", prose.clone()),
        ("Farthing, two examples a bullet", examples.clone()),
    ];
    for (name, outcome) in rows {
        let all: Vec<(&Case, Tier)> = cases.iter().zip(outcome.iter().map(|o| o.0)).collect();
        let right = |(case, tier): &(&Case, Tier)| *tier == tier_of(case.label);
        let of = |filter: &dyn Fn(&Case) -> bool, holds: &dyn Fn(Tier) -> bool| {
            Interval::of_share(all.iter().filter(|(case, _)| filter(case)).map(|(_, tier)| holds(*tier))).to_string()
        };
        let dear = |case: &Case| case.label.is_some_and(|label| plain.tasks[label].tier != Tier::Lightweight);
        let light = |case: &Case| case.label.is_some_and(|label| plain.tasks[label].tier == Tier::Lightweight);
        table.add_row([
            name.to_owned(),
            Interval::of_share(all.iter().map(right)).to_string(),
            of(&dear, &|tier| tier == Tier::Lightweight),
            of(&|case| case.label.is_none(), &|tier| tier == plain.default),
            of(&light, &|tier| tier == Tier::Lightweight),
        ]);
    }
    println!(
        "{} requests of domains that no training request comes from, against {} bullets\n{table}",
        cases.len(),
        plain.tasks.len()
    );
    let right = |outcome: &[(Tier, f64)]| -> Vec<bool> {
        cases.iter().zip(outcome).map(|(c, o)| o.0 == tier_of(c.label)).collect()
    };
    let gain: Vec<f64> = right(&examples)
        .iter()
        .zip(right(&prose))
        .map(|(a, b)| f64::from(u8::from(*a)) - f64::from(u8::from(b)))
        .collect();
    println!("two examples a bullet against prose alone, paired: {}", Interval::of(&gain));
    let said: Vec<(f64, bool)> = prose.iter().map(|o| o.1).zip(right(&prose)).collect();
    println!("confidence: calibration error {:.3}, Brier {:.3}", calibration_error(&said), brier(&said));
    if confusion {
        print_confusion(&plain, &cases);
    }
}

fn read(text: &str) -> Policy {
    match policy::parse("orders_daily.md", text) {
        Ok((policy, _)) if policy.tasks.len() == LABELS.len() => policy,
        Ok((policy, _)) => panic!("{} bullets; wanted {}", policy.tasks.len(), LABELS.len()),
        Err(problems) => panic!("{problems:?}"),
    }
}

/// The policy with two examples under each bullet.
fn nested(text: &str) -> String {
    let mut examples = EXAMPLES.lines();
    let mut nested = String::new();
    for line in text.lines() {
        nested.push_str(line);
        nested.push('\n');
        if line.starts_with("- ") {
            examples.by_ref().take(2).for_each(|example| nested.push_str(&format!("  - \"{example}\"\n")));
        }
    }
    nested
}

fn case(line: &str) -> Case {
    let line: Value = serde_json::from_str(line).expect("JSON");
    let label = line["bullet"].as_str().and_then(|bullet| LABELS.iter().position(|label| *label == bullet));
    Case { label, line }
}

fn print_confusion(policy: &Policy, cases: &[Case]) {
    let classifier = Classifier::compile(policy);
    let mut counts = [[0; LABELS.len() + 1]; LABELS.len() + 1];
    for case in cases {
        let explanation = with_request(&case.line, |request| classifier.explain(policy, request));
        let best = &explanation.nearest[0];
        let won = if best.share > explanation.none { best.task } else { LABELS.len() };
        counts[case.label.unwrap_or(LABELS.len())][won] += 1;
    }
    let names = || LABELS.into_iter().chain(["none"]);
    let mut table = Table::new();
    table.set_header(["is \\ taken for"].into_iter().chain(names()));
    for (name, row) in names().zip(counts) {
        table.add_row([name.to_owned()].into_iter().chain(row.map(|count| count.to_string())));
    }
    println!("{table}");
}
