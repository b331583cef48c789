//! A policy held against its own examples (`## Examples`), by the judgement that requests get: rules first, then what
//! the words are like.
//!
//! A policy comes in; what becomes of each example goes out, and what to tell the policy's author where it is not what
//! the file says. Reading files is `config`'s business, refusing them `app`'s.

use crate::classify::{Classifier, Explanation, Request};
use crate::policy::{Expected, Failed, Policy};
use crate::problem::Problem;
use crate::task::Tier;

use super::verdict::{Verdict, judge_first_turn};

/// What became of one example.
#[derive(Clone, Debug)]
pub struct Tried {
    /// Which it is, as an index into [`Policy::tests`].
    pub test: usize,
    /// What was decided.
    pub verdict: Verdict,
    /// The rule that decided, as an index into [`Policy::rules`].
    pub rule: Option<usize>,
    /// What the classifier found, whether or not it decided.
    pub explanation: Explanation,
    /// Whether that is what the file says.
    pub holds: bool,
}

/// Decides every example of a policy: each is a first turn and nothing else.
pub fn try_all(policy: &Policy) -> Vec<Tried> {
    if policy.tests.is_empty() {
        return Vec::new();
    }
    let classifier = Classifier::compile(policy);
    (0..policy.tests.len()).map(|test| try_one(policy, &classifier, test)).collect()
}

/// The examples of a policy that fail.
pub fn verify(policy: &Policy) -> Vec<Failed> {
    let failed = try_all(policy).into_iter().filter(|tried| !tried.holds);
    let told = |tried: Tried| Failed { problem: tried.as_problem(policy), advisory: policy.tests[tried.test].advisory };
    failed.map(told).collect()
}

fn try_one(policy: &Policy, classifier: &Classifier, index: usize) -> Tried {
    let test = &policy.tests[index];
    let text = &*test.request;
    let explanation = classifier.explain(policy, &Request { last_user: text, user_turns: 1, ..Request::default() });
    let (rule, verdict) = judge_first_turn(policy, text, explanation.classified);
    let holds = match &test.expected {
        Expected::Tier(tier) => verdict.tier == *tier,
        Expected::Task(id) => verdict.task.is_some_and(|task| policy.tasks[task].id == *id),
    };
    Tried { test: index, verdict, rule, explanation, holds }
}

impl Tried {
    /// How likely what the example wants is, and how likely what came of it is; `None` where a rule decided the tier.
    pub fn shares(&self, policy: &Policy) -> Option<(f32, f32)> {
        let explanation = &self.explanation;
        let of_task = |is: &dyn Fn(usize) -> bool| {
            explanation.nearest.iter().find(|near| is(near.task)).map_or(0.0, |near| near.share)
        };
        match &policy.tests[self.test].expected {
            Expected::Tier(_) if self.rule.is_some() => None,
            Expected::Tier(tier) => {
                let of = |tier: Tier| explanation.tiers[tier as usize];
                Some((of(*tier), of(self.verdict.tier)))
            }
            Expected::Task(id) => {
                let won = explanation.classified.task;
                let came = won.map_or(explanation.none, |won| of_task(&|task| task == won));
                Some((of_task(&|task| policy.tasks[task].id == *id), came))
            }
        }
    }

    /// A finding at the example: what was wanted, what came of it, by which bullet or rule, and by how much.
    pub fn as_problem(&self, policy: &Policy) -> Problem {
        let test = &policy.tests[self.test];
        let tier = self.verdict.tier;
        let wanted = match &test.expected {
            Expected::Tier(tier) => tier.to_string(),
            Expected::Task(id) => format!("`{id}`"),
        };
        let message = match (self.rule, self.shares(policy)) {
            (Some(rule), None) => format!(
                "this example goes to {tier} by rule {}, in line {}; wanted {wanted}: narrow the rule, or change the \
                 example",
                rule + 1,
                policy.rules[rule].at.line
            ),
            (_, shares) => {
                let by = match self.verdict.task {
                    Some(task) => format!("by `{}`, in line {}", policy.tasks[task].id, policy.tasks[task].at.line),
                    None if self.explanation.classified.ambiguous => "as the default".to_owned(),
                    None => "by no single bullet".to_owned(),
                };
                let (right, came) = shares.unwrap_or_default();
                let margin = if self.explanation.classified.ambiguous {
                    format!("{right:.3}")
                } else {
                    format!("{right:.2} against {came:.2}, {:.2} short", came - right)
                };
                let advice = self.explanation.advice(policy);
                format!("this example goes to {tier} {by}; wanted {wanted}, which has {margin}: {advice}")
            }
        };
        Problem::at(&policy.file, test.at, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{builtin, parse};

    const SHIPPED: [(&str, &str); 4] = [
        ("default.md", include_str!("../../routing-policies/default.md")),
        ("orders_daily.md", include_str!("../../routing-policies/orders_daily.md")),
        ("coding_agent.md", include_str!("../../routing-policies/coding_agent.md")),
        ("support_desk.md", include_str!("../../routing-policies/support_desk.md")),
    ];

    fn policy(text: &str) -> Policy {
        parse("p.md", text).unwrap_or_else(|problems| panic!("{problems:?}")).0
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let told = verify(&policy(text)).into_iter().map(|failed| failed.problem.to_string()).collect::<Vec<_>>();
        assert_eq!(told.len(), expected.len(), "{told:?}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.starts_with(expected), "{told}");
        }
    }

    #[test]
    fn the_policies_that_are_shipped_hold_their_examples() {
        let shipped = SHIPPED.map(|(name, text)| parse(name, text).unwrap_or_else(|found| panic!("{found:?}")).0);
        for policy in shipped.iter().chain([&**builtin()]) {
            let failed = verify(policy).into_iter().filter(|failed| !failed.advisory);
            assert_eq!(failed.collect::<Vec<_>>(), [], "{}", policy.name);
            assert!(policy.tests.iter().filter(|test| !test.advisory).count() >= 6, "{}", policy.name);
        }
    }

    #[test]
    fn an_example_that_fails_names_the_bullet_that_won_and_by_how_much() {
        check(
            "---\ndefault: lightweight\n---\n## Frontier\n- Designing architectures\n## Lightweight\n- Translating texts\n\
             ## Examples\n- \"Translate this letter into French\" → frontier\n\
             - \"Translate this letter into French\" → translating-texts\n",
            &[
                "p.md:9:3: this example goes to lightweight by `translating-texts`, in line 7; wanted frontier, which has 0.",
            ],
        );
    }

    #[test]
    fn rules_decide_examples_as_they_decide_requests() {
        let of = |wanted: &str| {
            format!(
                "---\nrules:\n  - {{ when: {{ keywords: [drop table] }}, use: frontier }}\n---\n## Lightweight\n\
                 - Translating texts\n## Examples\n- \"Translate DROP TABLE into plain English\" → {wanted}\n"
            )
        };
        check(&of("frontier"), &[]);
        check(
            &of("lightweight"),
            &["p.md:8:3: this example goes to frontier by rule 1, in line 3; wanted lightweight"],
        );
    }

    #[test]
    fn an_example_is_as_long_as_it_is() {
        check(
            "---\nrules:\n  - { when: { prompt_tokens: { under: 1 } }, use: frontier }\n---\n## Lightweight\n\
             - Translating texts\n## Examples\n- \"Translate this letter into French\" → lightweight\n",
            &[],
        );
    }

    #[test]
    fn an_advisory_example_that_fails_is_told_as_such() {
        let text =
            "## Frontier\n- Designing architectures\n## Examples\n- \"hi there\" → lightweight {advisory: true}\n";
        assert!(matches!(verify(&policy(text)).as_slice(), [failed] if failed.advisory));
    }
}
