//! A policy held against the examples that are nested under its own bullets: which of them it sends to another tier, and
//! which two bullets claim.
//!
//! The same judgement as for requests: rules first, then the words. What comes out are warnings, since an example that goes
//! astray says that the author meant something else, and not which of the two.

use crate::classify::{Basis, Classified, Classifier, Dispute, Request, disputes};
use crate::policy::{Policy, Task};
use crate::problem::Problem;

use super::verdict::judge_first_turn;

/// Bytes of an example that a warning quotes.
const QUOTED_BYTES_MAX: usize = 60;

/// Warnings of examples that their own file sends elsewhere than it says.
pub fn astray(policy: &Policy) -> Vec<Problem> {
    let disputed = disputes(policy);
    let mut warnings: Vec<Problem> = disputed.iter().map(|dispute| as_warning(policy, dispute)).collect();
    if policy.tasks.iter().all(|task| task.examples.is_empty()) {
        return warnings;
    }
    let classifier = Classifier::compile(policy);
    for (index, task) in policy.tasks.iter().enumerate() {
        for text in &task.examples {
            let is_told =
                |dispute: &Dispute| [dispute.earlier, dispute.later].contains(&index) && dispute.text == *text;
            if !disputed.iter().any(is_told) {
                warnings.extend(elsewhere(policy, &classifier, task, text));
            }
        }
    }
    warnings
}

fn as_warning(policy: &Policy, dispute: &Dispute) -> Problem {
    let (earlier, later) = (&policy.tasks[dispute.earlier], &policy.tasks[dispute.later]);
    let message = format!(
        "\"{}\" stands under `{}` and under `{}`, in line {}, and decides for neither; wanted it under one",
        quoted(&dispute.text),
        later.id,
        earlier.id,
        earlier.at.line
    );
    Problem::at(&policy.file, later.at, message)
}

/// A warning if an example does not come to the tier that it is nested under.
fn elsewhere(policy: &Policy, classifier: &Classifier, task: &Task, text: &str) -> Option<Problem> {
    let classified = classifier.classify(&Request { last_user: text, user_turns: 1, ..Request::default() });
    let (rule, verdict) = judge_first_turn(policy, text, classified);
    if verdict.tier == task.tier {
        return None;
    }
    let by = match (rule, verdict.task) {
        (Some(rule), _) => format!("by the rule in line {}", policy.rules[rule].at.line),
        (None, Some(other)) => format!("by `{}`, in line {}", policy.tasks[other].id, policy.tasks[other].at.line),
        (None, None) => as_default(&classified).to_owned(),
    };
    let message = format!(
        "the example \"{}\" under `{}` goes to {} {by}; wanted {}",
        quoted(text),
        task.id,
        verdict.tier,
        task.tier
    );
    Some(Problem::at(&policy.file, task.at, message))
}

fn as_default(classified: &Classified) -> &'static str {
    match classified.basis {
        Basis::Words => "as the default, since `confidence` is not reached by its very words",
        Basis::Nothing => "as the default, since it says nothing by itself",
        Basis::Likeness | Basis::Earlier => "as the default",
    }
}

fn quoted(text: &str) -> String {
    let end = text.floor_char_boundary(QUOTED_BYTES_MAX);
    if end < text.len() { format!("{}…", &text[..end]) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::parse;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let policy = parse("p.md", text).unwrap_or_else(|problems| panic!("{problems:?}")).0;
        let told: Vec<String> = astray(&policy).iter().map(ToString::to_string).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn an_example_that_a_rule_takes_elsewhere_is_told() {
        check(
            "---\nrules: [{ when: { keywords: [drop table] }, use: frontier }]\n---\n## Lightweight\n- Explaining SQL\n  \
             - \"What does DROP TABLE do?\"\n  - \"What does ORDER BY do?\"\n",
            &[
                "p.md:5:3: the example \"What does DROP TABLE do?\" under `explaining-sql` goes to frontier by the rule in \
                 line 2; wanted lightweight",
            ],
        );
    }

    #[test]
    fn an_example_under_two_bullets_is_told_once() {
        check(
            "## Frontier\n- Designing architectures\n  - \"Draw this up!\"\n## Lightweight\n- Translating texts\n  \
             - \"draw this up\"\n",
            &[
                "p.md:5:3: \"draw this up\" stands under `translating-texts` and under `designing-architectures`, in line 2, \
                 and decides for neither; wanted it under one",
            ],
        );
    }

    #[test]
    fn a_bound_that_nothing_reaches_is_told() {
        check(
            "---\nconfidence: 1\n---\n## Lightweight\n- Translating texts\n  - \"Put it into Dutch\"\n",
            &[
                "p.md:5:3: the example \"Put it into Dutch\" under `translating-texts` goes to frontier as the default, since \
                 `confidence` is not reached by its very words; wanted lightweight",
            ],
        );
    }

    #[test]
    fn the_shipped_policies_send_their_examples_where_they_say() {
        for (name, text) in [
            ("default.md", include_str!("../../routing-policies/default.md")),
            ("orders_daily.md", include_str!("../../routing-policies/orders_daily.md")),
            ("coding_agent.md", include_str!("../../routing-policies/coding_agent.md")),
            ("support_desk.md", include_str!("../../routing-policies/support_desk.md")),
        ] {
            let policy = parse(name, text).unwrap_or_else(|problems| panic!("{problems:?}")).0;
            assert_eq!(astray(&policy), [], "{name}");
        }
    }
}
