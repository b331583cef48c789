//! Public prompts to a general assistant, in eight coarse types (`other`, which only means "default", is left out).
//!
//! GAIR-NLP/auto-j, <https://github.com/GAIR-NLP/auto-j>. Figures are of every second prompt; examples come from the
//! others, and so do some of the requests that the weights were trained on (`models/README.md`).

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use comfy_table::Table;
use farthing::classify::{Classifier, Request};
use farthing::policy::{self, Policy};
use serde_json::Value;

use crate::baselines::{by_angle, by_words};
use crate::statistics::{Interval, brier, calibration_error};

const POLICY: &str = include_str!("scenarios.md");
/// Coarse types in the order of the policy's bullets.
const TYPES: [&str; 8] = ["math_reasoning", "code", "qa", "plan", "write", "rewrite", "extract_summarise", "chat"];
/// Examples a bullet.
const EXAMPLES: [usize; 3] = [2, 10, 60];

/// Prints the table.
pub fn run(folder: &Path, confusion: bool) {
    let path = folder.join("tasks/scenarios.jsonl.gz");
    let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = BufReader::new(flate2::read::MultiGzDecoder::new(file)).lines();
    let mut halves = [Vec::new(), Vec::new()];
    for (number, line) in lines.enumerate() {
        halves[number % 2].extend(case(&line.expect("a line")));
    }
    let [known, tested] = &halves;
    let plain = read(&[]);

    let mut table = Table::new();
    table.set_header(["", "type right", "calibration error", "Brier", "Brier of the prior"]);
    let mut counts = [0.0; TYPES.len()];
    known.iter().for_each(|(_, label)| counts[*label] += 1.0 / known.len() as f64);
    let prior = counts.iter().copied().fold(0.0, f64::max);
    let commonest = counts.iter().position(|share| share.to_bits() == prior.to_bits()).unwrap_or_default();
    let share = |pick: &dyn Fn(&str) -> Option<usize>| {
        Interval::of_share(tested.iter().map(|(text, label)| pick(text) == Some(*label))).to_string()
    };
    table.add_row(["always the commonest".to_owned(), share(&|_| Some(commonest))]);
    table.add_row(["most words in common".to_owned(), share(&|text| by_words(&plain, text))]);
    table.add_row(["smallest angle".to_owned(), share(&|text| by_angle(&plain, text))]);
    for examples in [0].into_iter().chain(EXAMPLES) {
        let nested: Vec<Vec<&str>> = (0..TYPES.len())
            .map(|of| known.iter().filter(|(_, label)| *label == of).take(examples).map(|(text, _)| &**text).collect())
            .collect();
        let policy = read(&nested);
        let classifier = Classifier::compile(&policy);
        let said: Vec<(f64, bool)> = tested
            .iter()
            .map(|(text, label)| {
                let request = Request { last_user: text, user_turns: 1, ..Request::default() };
                let explanation = classifier.explain(&policy, &request);
                let best = &explanation.nearest[0];
                let sure = f64::from(best.share) / f64::from(1.0 - explanation.none).max(1e-6);
                (sure, best.task == *label)
            })
            .collect();
        let constant: Vec<(f64, bool)> = said.iter().map(|(_, right)| (prior, *right)).collect();
        table.add_row([
            format!("Farthing, {examples} examples a bullet"),
            Interval::of_share(said.iter().map(|s| s.1)).to_string(),
            format!("{:.3}", calibration_error(&said)),
            format!("{:.3}", brier(&said)),
            format!("{:.3}", brier(&constant)),
        ]);
        if confusion && examples == 0 {
            print_confusion(&classifier, &policy, tested);
        }
    }
    println!("\n{} public prompts in {} types, one bullet of prose each\n{table}", tested.len(), TYPES.len());
}

fn print_confusion(classifier: &Classifier, policy: &Policy, tested: &[(String, usize)]) {
    let mut counts = [[0; TYPES.len()]; TYPES.len()];
    for (text, label) in tested {
        let request = Request { last_user: text, user_turns: 1, ..Request::default() };
        counts[*label][classifier.explain(policy, &request).nearest[0].task] += 1;
    }
    let mut table = Table::new();
    table.set_header(["is \\ taken for"].into_iter().chain(TYPES));
    for (name, row) in TYPES.into_iter().zip(counts) {
        table.add_row([name.to_owned()].into_iter().chain(row.map(|count| count.to_string())));
    }
    println!("{table}");
}

fn case(line: &str) -> Option<(String, usize)> {
    let line: Value = serde_json::from_str(line).expect("JSON");
    let label = TYPES.iter().position(|name| line["coarse"] == *name)?;
    Some((line["prompt"].as_str().expect("a prompt").to_owned(), label))
}

fn read(examples: &[Vec<&str>]) -> Policy {
    let (mut policy, _) = policy::parse("scenarios.md", POLICY).expect("a valid policy");
    assert_eq!(policy.tasks.len(), TYPES.len());
    for (task, examples) in policy.tasks.iter_mut().zip(examples) {
        task.examples = examples.iter().map(|text| (*text).to_owned()).collect();
    }
    policy
}
