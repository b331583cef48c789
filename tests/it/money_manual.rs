//! docs/money.md names a test for each rule: every one of them exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The providers that finance asks about.
const PROVIDERS: [&str; 14] = [
    "OpenAI",
    "Anthropic",
    "Gemini",
    "DeepSeek",
    "xAI",
    "Mistral",
    "Groq",
    "Bedrock",
    "Vertex",
    "Azure",
    "OpenRouter",
    "Cohere",
    "Together",
    "Fireworks",
];

fn manual() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/money.md");
    fs::read_to_string(file).expect("the manual")
}

/// The names of all functions under `folder`.
pub fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            functions(&entry, found);
        } else if entry.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&entry).expect("a source");
            let names = text.lines().filter_map(|line| line.split_once("fn ")?.1.split_once(['(', '<']));
            found.extend(names.map(|(name, _)| name.to_owned()));
        }
    }
}

#[test]
fn every_test_that_the_manual_of_money_names_exists() {
    let mut known = BTreeSet::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    ["src", "tests/it"].iter().for_each(|folder| functions(&root.join(folder), &mut known));
    let manual = manual();
    let (mut named, mut without, mut is_of_rules) = (0, Vec::new(), false);
    for line in manual.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let last = cells.last().copied().unwrap_or_default();
        if line.starts_with("|---") {
            continue;
        }
        if !last.contains('`') {
            // A head says whether the rows under it name tests; a row of rules without one does not.
            is_of_rules = if last == "test" {
                true
            } else if last == "becomes" {
                false
            } else {
                is_of_rules
            };
            without.extend((is_of_rules && last != "test").then_some(line));
            continue;
        }
        if is_of_rules {
            for name in last.split('`').skip(1).step_by(2) {
                assert!(known.contains(name), "no test is called `{name}`: {line}");
                named += 1;
            }
        }
    }
    assert_eq!(without, [] as [&str; 0], "rules without a test");
    assert!(named > 60, "{named} tests are named");
}

#[test]
fn every_provider_has_a_section_in_the_manual_of_money() {
    let manual = manual();
    let heads: Vec<&str> = manual.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    for provider in PROVIDERS {
        let has = heads.iter().any(|head| head.split(" and ").any(|name| name == provider));
        assert!(has, "no section for {provider}");
    }
}
