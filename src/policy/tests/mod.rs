//! Whole files: what is read, and the wording of what is refused.

mod accepted;
mod refused;
mod warned;

use super::*;

#[track_caller]
fn good(text: &str) -> Policy {
    parse("p.md", text).unwrap_or_else(|problems| panic!("{}", lines(&problems))).0
}

/// Everything that is wrong with a file.
#[track_caller]
fn problems(text: &str) -> String {
    match parse("p.md", text) {
        Ok((policy, _)) => panic!("taken: {policy:#?}"),
        Err(problems) => lines(&problems),
    }
}

#[track_caller]
fn warnings(text: &str) -> String {
    lines(&parse("p.md", text).unwrap_or_else(|problems| panic!("{}", lines(&problems))).1)
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Tier, id and text of each task.
fn tasks(policy: &Policy) -> Vec<String> {
    let line = |task: &Task| format!("{} {}: {} {:?}", task.tier, task.id, task.text, task.examples);
    policy.tasks.iter().map(line).collect()
}

/// The same task in whatever way its file is written.
#[track_caller]
fn check_task(text: &str, expected: &str) {
    assert_eq!(tasks(&good(text)), [expected], "{text}");
}
