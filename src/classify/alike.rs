//! How alike two bullets of a policy are, by what they mean and not by their words.

use std::collections::HashMap;

use crate::policy::{Policy, Task};

use super::bullets::covered_by;
use super::features::describe_prose;
use super::weights::Scores;

/// Compares tasks of a policy, each read once, by the kinds of work that their prose covers: from 0, nothing in common, to 1.
/// Examples do not count, nor does what a task is about: synonyms are about other things.
pub fn similarity(policy: &Policy) -> impl Fn(&Task, &Task) -> f32 + use<> {
    let read = |task: &Task| (task.id.clone(), covered_by(&task.text));
    let prose: HashMap<String, Scores> = policy.tasks.iter().map(read).collect();
    move |one, other| match (prose.get(&one.id), prose.get(&other.id)) {
        (Some(one), Some(other)) => overlap(one, other),
        _ => 0.0,
    }
}

/// How much of any kind of work a task's prose covers, from 0 to 1; nothing where none of its words is known.
pub fn coverage(task: &Task) -> f32 {
    let knows_a_word = describe_prose(&task.text).ask.iter().any(|value| *value != 0.0);
    if knows_a_word { covered_by(&task.text).into_iter().fold(0.0, f32::max) } else { 0.0 }
}

/// What both cover, of what either covers.
fn overlap(one: &Scores, other: &Scores) -> f32 {
    let sum = |of: fn(f32, f32) -> f32| one.iter().zip(other).map(|(a, b)| of(*a, *b)).sum::<f32>();
    sum(f32::min) / sum(f32::max).max(f32::EPSILON)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::policy::doubts;

    #[track_caller]
    fn check(text: &str, warnings: usize) {
        let (mut policy, _) = crate::policy::parse("p.md", text).expect("a policy");
        policy.tasks.iter_mut().for_each(|task| task.examples.clear());
        let told = doubts::alike(&policy, &similarity(&policy));
        assert_eq!(told.len(), warnings, "{told:?}");
    }

    #[test]
    fn different_bullets_of_one_policy_are_not_alike() {
        check(
            "## Frontier\n- Novel failure diagnosis (patterns not seen before)\n\
             - Business logic interpretation (ambiguous requirements)\n\
             - Multi-step reasoning requiring sustained context\n\
             ## Reasoning\n- Root cause analysis across multiple logs\n- Impact assessment with complex lineage\n\
             ## Lightweight\n- Schema diff comparison\n- Log parsing and categorization\n\
             - Summarization of structured execution history\n- Routine health checks and format validation\n",
            0,
        );
        check(include_str!("../../routing-policies/default.md"), 0);
        check(include_str!("../../routing-policies/orders_daily.md"), 0);
        // Reviews of what is small and of what is risky, which it tells apart by examples.
        check(include_str!("../../routing-policies/coding_agent.md"), 1);
        check(include_str!("../../routing-policies/support_desk.md"), 0);
    }

    #[test]
    fn two_wordings_of_one_bullet_are_alike() {
        for (one, other) in [
            ("Root cause analysis across multiple logs", "Finding the root cause from several logs"),
            ("Writing unit tests", "Test writing"),
            ("Answering customer e-mails", "Replying to customers by e-mail"),
            ("Log parsing", "The parsing of logs"),
            ("Code review", "Reviewing pull requests"),
            ("Classifying tickets", "Assigning a queue to each ticket"),
            ("Extracting fields as JSON", "Pulling structured data out of documents"),
            ("SQL query writing", "Turning questions into SQL"),
        ] {
            check(&format!("## Frontier\n- {one}\n## Lightweight\n- {other}\n"), 1);
        }
    }

    #[test]
    fn neighbours_are_not_alike() {
        for (one, other) in [
            ("Novel failure diagnosis", "Root cause analysis across multiple logs"),
            ("Writing code", "Fixing code"),
            ("Code review", "Writing code"),
            ("Summaries of documents", "Translating texts"),
        ] {
            check(&format!("## Frontier\n- {one}\n## Lightweight\n- {other}\n"), 0);
        }
    }

    #[test]
    fn a_bullet_without_a_known_word_covers_nothing() {
        let (policy, _) =
            crate::policy::parse("p.md", "## Frontier\n- Разбор логов\n- Log parsing\n").expect("a policy");
        let told = doubts::claim_nothing(&policy, &coverage);
        assert!(told.len() == 1 && told[0].to_string().starts_with("p.md:2:"), "{told:?}");
    }
}
