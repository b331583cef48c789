//! Public prompts to a general assistant, in eight coarse types (`other`, which only means "default", is left out).
//!
//! GAIR-NLP/auto-j, <https://github.com/GAIR-NLP/auto-j>. Some of the requests that the weights were trained on are every
//! second of these prompts (`models/README.md`); figures are of the others. Half of those give the examples by which the
//! other half is classified, and the other way round.

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
/// Examples a bullet, at most; with all, the numbers say how common a type is.
const EXAMPLES: [usize; 5] = [2, 5, 10, 60, usize::MAX];

/// A prompt and its type.
type Case = (String, usize);

/// Prints the table.
pub fn run(folder: &Path, confusion: bool) {
    let path = folder.join("tasks/scenarios.jsonl.gz");
    let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = BufReader::new(flate2::read::MultiGzDecoder::new(file)).lines();
    let mut known = Vec::new();
    let mut quarters = [Vec::new(), Vec::new()];
    for (number, line) in lines.enumerate() {
        let of = if number % 2 == 0 { &mut known } else { &mut quarters[number / 2 % 2] };
        of.extend(case(&line.expect("a line")));
    }
    let tested: Vec<Case> = quarters.concat();
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
    let constant: Vec<(f64, bool)> = tested.iter().map(|(_, label)| (prior, *label == commonest)).collect();
    for examples in [0].into_iter().chain(EXAMPLES) {
        let [one, other] = &quarters;
        let said: Vec<(f64, bool)> =
            [(other, one), (one, other)].into_iter().flat_map(|(from, asked)| told(from, examples, asked)).collect();
        table.add_row([
            match examples {
                usize::MAX => "Farthing, all the examples there are".to_owned(),
                examples => format!("Farthing, {examples} examples a bullet"),
            },
            Interval::of_share(said.iter().map(|s| s.1)).to_string(),
            format!("{:.3}", calibration_error(&said)),
            format!("{:.3}", brier(&said)),
            format!("{:.3}", brier(&constant)),
        ]);
        if confusion && examples == 0 {
            print_confusion(&Classifier::compile(&plain), &plain, &tested);
        }
    }
    println!("\n{} public prompts in {} types, one bullet of prose each\n{table}", tested.len(), TYPES.len());
}

/// How sure of its answer a policy is that has learned from some, and whether it is right.
fn told(from: &[Case], examples: usize, asked: &[Case]) -> Vec<(f64, bool)> {
    let of_type =
        |of: usize| from.iter().filter(move |(_, label)| *label == of).take(examples).map(|(text, _)| &**text);
    let policy = read(&(0..TYPES.len()).map(|of| of_type(of).collect()).collect::<Vec<Vec<&str>>>());
    let classifier = Classifier::compile(&policy);
    let answer = |(text, label): &Case| {
        let request = Request { last_user: text, user_turns: 1, ..Request::default() };
        let explanation = classifier.explain(&policy, &request);
        let best = &explanation.nearest[0];
        (f64::from(best.share) / f64::from(1.0 - explanation.none).max(1e-6), best.task == *label)
    };
    asked.iter().map(answer).collect()
}

fn print_confusion(classifier: &Classifier, policy: &Policy, tested: &[Case]) {
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

fn case(line: &str) -> Option<Case> {
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
