//! How alike two bullets of a policy are, by what they mean and not by their words.

use std::collections::HashMap;

use crate::policy::{Policy, Task};
use crate::vectors::{Vector, cosine};

use super::bullets::covered_by;
use super::features::describe_prose;
use super::weights::Scores;

/// Compares tasks of a policy, each read once: from 0, nothing in common, to 1. Examples do not count.
pub fn similarity(policy: &Policy) -> impl Fn(&Task, &Task) -> f32 + use<> {
    let read = |task: &Task| (task.id.clone(), (covered_by(&task.text), describe_prose(&task.text).ask));
    let prose: HashMap<String, (Scores, Vector)> = policy.tasks.iter().map(read).collect();
    move |one, other| match (prose.get(&one.id), prose.get(&other.id)) {
        (Some(one), Some(other)) => overlap(&one.0, &other.0) * cosine(&one.1, &other.1).max(0.0),
        _ => 0.0,
    }
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
        check(include_str!("../../routing-policies/coding_agent.md"), 0);
        check(include_str!("../../routing-policies/support_desk.md"), 0);
    }

    #[test]
    fn two_wordings_of_one_bullet_are_alike() {
        for (one, other) in [
            ("Root cause analysis across multiple logs", "Finding the root cause from several logs"),
            ("Writing unit tests", "Test writing"),
            ("Answering customer e-mails", "Replying to customers by e-mail"),
            ("Log parsing", "The parsing of logs"),
        ] {
            check(&format!("## Frontier\n- {one}\n## Lightweight\n- {other}\n"), 1);
        }
    }
}
