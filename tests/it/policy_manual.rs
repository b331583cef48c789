//! `routing-policies/README.md` is held to the code: every key is explained, and every explained key is read.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use farthing::classify;
use farthing::config::policies;
use farthing::policy::{self, GRAMMAR, NOT_BUILT, doubts};
use farthing::route::{examples, nested};
use farthing::task::Tier;

use crate::process::FARTHING;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("routing-policies")
}

/// The rows of the table right under a heading: key and example.
fn rows(manual: &str, heading: &str) -> Vec<(String, String)> {
    let after =
        manual.lines().skip_while(|line| line.trim_start_matches('#').trim() != heading || !line.starts_with('#'));
    let section = after.skip(1).take_while(|line| !line.starts_with('#'));
    let rows = section.filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let mut code = row.split('`').skip(1).step_by(2).map(str::to_owned);
        (code.next().expect("a key"), code.next().expect("an example"))
    })
    .collect()
}

/// A file in which an example of the manual stands where it belongs.
fn file_with(example: &str) -> String {
    let bullets = "## Lightweight\n- Other work\n";
    match example.strip_prefix("- ") {
        Some(test) if test.contains('→') => format!("{bullets}## Examples\n{example}\n"),
        Some(_) => format!("{bullets}{example}\n"),
        None => format!("---\n{example}\n---\n{bullets}"),
    }
}

#[test]
fn every_key_is_explained_with_an_example_that_is_read() {
    let manual = fs::read_to_string(folder().join("README.md")).expect("the manual");
    for (heading, keys) in GRAMMAR {
        let rows = rows(&manual, heading);
        let explained: BTreeSet<&str> = rows.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(explained, keys.iter().copied().collect(), "under {heading}");
        for (key, example) in &rows {
            assert!(example.contains(&format!("{key}:")), "{example} has no {key}");
            let (read, warnings) = policy::parse("p.md", &file_with(example)).expect(example);
            assert!(warnings.is_empty(), "{example}: {warnings:?}");
            let without = example.replace(&format!("{key}:"), "no_such_key:");
            let is_refused = policy::parse("p.md", &file_with(&without)).is_err();
            let is_text = policy::parse("p.md", &file_with(&without)).is_ok_and(|(other, _)| other.tasks != read.tasks);
            assert!(is_refused || is_text || example.contains("advisory"), "{without} says the same as {example}");
        }
    }
}

#[test]
fn what_this_version_lacks_is_listed_and_refused_by_name() {
    let manual = fs::read_to_string(folder().join("README.md")).expect("the manual");
    let (_, section) = manual.split_once("\n## Not in this version\n").expect("the section");
    let (front, options) = section.split_once("As options").expect("two lists");
    let (options, _) = options.split_once("The folders").expect("the end of the lists");
    let names = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
    let owned = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!((names(front), names(options)), (owned(NOT_BUILT.0), owned(NOT_BUILT.1)));
    let examples = NOT_BUILT.0.iter().map(|key| (key, format!("{key}: x")));
    for (key, example) in examples.chain(NOT_BUILT.1.iter().map(|key| (key, format!("- Work {{{key}: x}}")))) {
        let problems = policy::parse("p.md", &file_with(&example)).map(|_| ()).expect_err(&example);
        assert_eq!(problems[0].message, format!("`{key}` is not available in this version"));
    }
}

#[test]
fn the_whole_policy_in_the_manual_is_read() {
    let manual = fs::read_to_string(folder().join("README.md")).expect("the manual");
    let (_, example) = manual.split_once("```markdown\n").expect("an example");
    let (example, _) = example.split_once("```").expect("its end");
    let (policy, warnings) = policy::parse("orders_daily.md", example).expect("a policy");
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!((policy.tasks.len(), policy.tests.len()), (2, 2));
    assert_eq!(policy.applies_to.pipelines, ["orders_daily"]);
}

/// What stands in fences of `kind` in the documents that show policies.
fn shown(kind: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut blocks = Vec::new();
    for document in ["README.md", "routing-policies/README.md", "docs/operating.md"] {
        let text = fs::read_to_string(root.join(document)).expect("a document");
        let fence = format!("```{kind}\n");
        let of_kind = text.split(&*fence).skip(1).filter_map(|after| after.split("```").next());
        blocks.extend(of_kind.map(|block| (document.to_owned(), block.to_owned())));
    }
    blocks
}

#[test]
fn every_policy_that_is_shown_passes_its_own_tests() {
    let policies: Vec<_> = shown("markdown")
        .into_iter()
        .filter(|(_, block)| block.contains("\n## ") || block.starts_with("## "))
        .collect();
    assert!(policies.len() >= 2, "{policies:?}");
    for (document, block) in policies {
        let (policy, warnings) = policy::parse("orders_daily.md", &block).expect(&document);
        assert!(warnings.is_empty(), "{document}: {warnings:?}");
        assert_eq!(examples::verify(&policy), [], "{document}");
        assert_eq!(nested::astray(&policy), [], "{document}");
    }
}

#[test]
fn every_command_that_explains_is_answered_as_shown() {
    let commands: Vec<_> = shown("sh")
        .into_iter()
        .flat_map(|(document, block)| block.lines().map(|line| (document.clone(), line.to_owned())).collect::<Vec<_>>())
        .filter(|(_, line)| line.contains("farthing explain") && line.contains("echo "))
        .collect();
    assert!(!commands.is_empty());
    let empty = tempfile::tempdir().expect("a temporary folder");
    for (document, line) in commands {
        let command = line.replace("farthing explain", &format!("'{FARTHING}' explain"));
        let ran = Command::new("sh").arg("-c").arg(&command).current_dir(empty.path()).output().expect("a shell");
        let told = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success(), "{document}: {line}: {}", String::from_utf8_lossy(&ran.stderr));
        let answer: serde_json::Value = serde_json::from_str(&told).expect("a line of JSON");
        assert_eq!(answer["tier"], "lightweight", "{document}: {line}: {told}");
    }
}

#[test]
fn the_shipped_policies_are_read_together_without_a_warning() {
    let (set, warnings) = policies::load(&folder(), &|_| Vec::new()).expect("four policies");
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(set.policies().len(), 4);
    for policy in set.policies() {
        let alike = doubts::alike(policy, &classify::similarity(policy));
        assert!(alike.is_empty(), "{alike:?}");
        assert!(policy.tests.len() >= 8, "{}", policy.name);
        assert!(policy.tasks.iter().all(|task| task.examples.len() >= 4), "{}", policy.name);
    }
}

#[test]
fn the_bounds_of_confidence_are_those_in_force() {
    let manual = fs::read_to_string(folder().join("README.md")).expect("the manual");
    let [frontier, reasoning, light] = Tier::ALL.map(|tier| format!("{:.2}", classify::confidence_default(tier)));
    assert_eq!(frontier, reasoning);
    let told =
        format!("{light} for work that leaves the default for lightweight, {reasoning} for reasoning and\nfrontier");
    assert!(manual.contains(&told), "{told}");
}

#[test]
fn every_shipped_policy_is_listed() {
    let manual = fs::read_to_string(folder().join("README.md")).expect("the manual");
    for entry in folder().read_dir().expect("the folder") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        assert!(name == "README.md" || manual.contains(&format!("| `{name}` |")), "{name} is not listed");
    }
}
