//! What a policy says of a request: rules first, then the task that the client names, then the one that it was taken for.

use crate::classify::{Basis, Classified};
use crate::plan::{Note, Reason, Why};
use crate::policy::Policy;
use crate::policy::rules::Facts;
use crate::task::Tier;
use crate::tokens::PromptSize;

/// Where a request's work belongs.
#[derive(Clone, PartialEq, Debug)]
pub struct Verdict {
    /// Who should do it.
    pub tier: Tier,
    /// Nobody cheaper than this may do it, whatever the client asks for.
    pub floor: Option<Tier>,
    /// Why.
    pub reason: Reason,
    /// Index of its task kind among the policy's; `None`: none was likely enough.
    pub task: Option<usize>,
}

/// What there is to judge by.
#[derive(Clone, Copy, Debug)]
pub struct Signs {
    /// Index of the first rule that matches.
    pub rule: Option<usize>,
    /// Index of the task kind that the client names, if it may.
    pub named: Option<usize>,
    /// What the request was taken for.
    pub classified: Classified,
}

/// What a text comes to as a first message and nothing else, and the rule that decided, if one did.
pub(super) fn judge_first_turn(policy: &Policy, text: &str, classified: Classified) -> (Option<usize>, Verdict) {
    let prompt_tokens = PromptSize::of_text(text).ample();
    let rule = policy.rules.first_match(&Facts { last_user_turn: &[text], prompt_tokens, ..Facts::default() });
    (rule, judge(policy, Signs { rule, named: None, classified }))
}

/// Weighs the signs. Of a rule and a task that are both protected the dearer tier is the floor; an unlikely task counts
/// for nothing.
pub fn judge(policy: &Policy, signs: Signs) -> Verdict {
    let likely = signs.classified.task.filter(|_| !signs.classified.ambiguous);
    let index = signs.named.or(likely);
    let task = index.and_then(|index| policy.tasks.get(index));
    let rule = signs.rule.and_then(|index| Some((index, policy.rules.get(index)?)));
    let (tier, mut reason) = match (rule, task) {
        (Some((index, rule)), _) => {
            let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
            let because = rule.because.as_deref().map(Into::into);
            (rule.tier, Reason { because, ..Reason::of(Why::Rule(number)) })
        }
        (None, Some(task)) if signs.named.is_some() => (task.tier, Reason::of(Why::NamedTask)),
        (None, Some(task)) => (task.tier, Reason::of(Why::Task)),
        // It is like several tasks of one tier, and like none of them enough to have its name.
        (None, None) if !signs.classified.ambiguous && signs.classified.tier != policy.default => {
            (signs.classified.tier, Reason { notes: vec![Note::Unnamed], ..Reason::of(Why::Task) })
        }
        (None, None) => (policy.default, Reason::of(Why::Ambiguous)),
    };
    if rule.is_none() && signs.named.is_none() {
        reason.notes.extend(match signs.classified.basis {
            Basis::Earlier => Some(Note::AsBefore),
            Basis::Nothing => Some(Note::SaysNothing),
            Basis::Likeness | Basis::Words => None,
        });
    }
    // A client that names another task does not talk its way out of a protected one.
    let taken_for = likely.and_then(|index| policy.tasks.get(index));
    let protected = [
        rule.filter(|(_, rule)| rule.protected).map(|(_, rule)| rule.tier),
        task.filter(|task| task.protected).map(|task| task.tier),
        taken_for.filter(|task| task.protected).map(|task| task.tier),
    ];
    let floor = protected.into_iter().flatten().reduce(Tier::or_dearer);
    let tier = floor.map_or(tier, |floor| tier.or_dearer(floor));
    Verdict { tier, floor, reason, task: task.and(index) }
}

/// Moves work to the next cheaper tier that can answer, since a budget is nearly spent; never below the floor of what is
/// protected. `why_not` says why a tier cannot.
pub fn downgrade(verdict: &mut Verdict, why_not: impl Fn(Tier) -> Option<Note>) {
    let Verdict { tier, floor, .. } = *verdict;
    let mut passed_over = Vec::new();
    for cheaper in Tier::ALL.into_iter().filter(|cheaper| cheaper.is_below(tier)) {
        if floor.is_some_and(|floor| cheaper.is_below(floor)) {
            break;
        }
        match why_not(cheaper) {
            Some(why) => passed_over.push(why),
            None => {
                verdict.reason.notes.push(Note::BudgetNear(tier));
                verdict.reason.notes.append(&mut passed_over);
                verdict.tier = cheaper;
                return;
            }
        }
    }
    if !passed_over.is_empty() {
        verdict.reason.notes.push(Note::NothingCheaper);
        verdict.reason.notes.append(&mut passed_over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::rules::When;
    use crate::policy::{Rule, Rules, Task, builtin};
    use crate::problem::Place;

    const AT: Place = Place { line: 1, column: 1 };

    fn task(id: &str, tier: Tier, protected: bool) -> Task {
        let (id, text) = (id.to_owned(), id.to_owned());
        Task { id, text, tier, examples: Vec::new(), protected, max_output: None, at: AT }
    }

    fn rule(tier: Tier, protected: bool) -> Rule {
        Rule { when: When::default(), tier, protected, because: Some("so".to_owned()), at: AT }
    }

    fn policy() -> Policy {
        Policy {
            default: Tier::Reasoning,
            rules: Rules::new(vec![rule(Tier::Lightweight, false), rule(Tier::Reasoning, true)]).unwrap(),
            tasks: vec![
                task("logs", Tier::Lightweight, false),
                task("sql", Tier::Frontier, true),
                task("plan", Tier::Reasoning, false),
            ],
            ..Policy::clone(builtin())
        }
    }

    fn taken_for(task: Option<usize>) -> Classified {
        let ambiguous = task.is_none();
        Classified { task, tier: Tier::Frontier, confidence: 0.5, needs_strong: 0.5, ambiguous, basis: Basis::Likeness }
    }

    #[track_caller]
    fn check(
        rule: Option<usize>,
        named: Option<usize>,
        classified: Classified,
        expected: (Tier, Option<Tier>, &str, Option<usize>),
    ) {
        let verdict = judge(&policy(), Signs { rule, named, classified });
        let found = (verdict.tier, verdict.floor, verdict.reason.to_string(), verdict.task);
        assert_eq!(found, (expected.0, expected.1, expected.2.to_owned(), expected.3));
    }

    #[test]
    fn rules_come_before_named_tasks_and_those_before_what_it_was_taken_for() {
        check(None, None, taken_for(Some(0)), (Tier::Lightweight, None, "task", Some(0)));
        check(None, Some(2), taken_for(Some(0)), (Tier::Reasoning, None, "named-task", Some(2)));
        check(Some(0), Some(2), taken_for(Some(0)), (Tier::Lightweight, None, "rule 1 (so)", Some(2)));
        check(None, None, taken_for(None), (Tier::Reasoning, None, "ambiguous", None));
    }

    #[test]
    fn an_unlikely_task_counts_for_nothing() {
        let unsure = Classified { ambiguous: true, ..taken_for(Some(1)) };
        check(None, None, unsure, (Tier::Reasoning, None, "ambiguous", None));
    }

    #[test]
    fn work_of_a_sure_tier_goes_there_without_the_name_of_a_task() {
        let nameless = Classified { ambiguous: false, ..taken_for(None) };
        let told = "task; like several tasks of the tier, and none by itself";
        check(None, None, nameless, (Tier::Frontier, None, told, None));
        check(None, None, Classified { tier: Tier::Reasoning, ..nameless }, (Tier::Reasoning, None, "ambiguous", None));
    }

    #[test]
    fn a_turn_that_says_nothing_is_told_where_what_it_was_taken_for_decides() {
        let before = Classified { basis: Basis::Earlier, ..taken_for(Some(0)) };
        let told = "task; as the turn before, since this one says nothing by itself";
        check(None, None, before, (Tier::Lightweight, None, told, Some(0)));
        check(Some(0), None, before, (Tier::Lightweight, None, "rule 1 (so)", Some(0)));
        let nothing = Classified { basis: Basis::Nothing, ..taken_for(None) };
        check(None, None, nothing, (Tier::Reasoning, None, "ambiguous; the turn says nothing by itself", None));
    }

    #[test]
    fn protected_work_has_a_floor_that_no_rule_and_no_name_goes_below() {
        check(None, None, taken_for(Some(1)), (Tier::Frontier, Some(Tier::Frontier), "task", Some(1)));
        check(Some(1), None, taken_for(None), (Tier::Reasoning, Some(Tier::Reasoning), "rule 2 (so)", None));
        check(Some(1), None, taken_for(Some(1)), (Tier::Frontier, Some(Tier::Frontier), "rule 2 (so)", Some(1)));
        check(Some(0), None, taken_for(Some(1)), (Tier::Frontier, Some(Tier::Frontier), "rule 1 (so)", Some(1)));
        check(None, Some(0), taken_for(Some(1)), (Tier::Frontier, Some(Tier::Frontier), "named-task", Some(0)));
    }

    #[test]
    fn a_nearly_spent_budget_moves_work_one_tier_down_and_never_below_its_floor() {
        let check = |classified: Classified, expected: Tier, told: &str| {
            let mut verdict = judge(&policy(), Signs { rule: None, named: None, classified });
            downgrade(&mut verdict, |_| None);
            assert_eq!((verdict.tier, &*verdict.reason.to_string()), (expected, told));
        };
        let told = "task; the budget is nearly spent, so that reasoning is not used";
        check(taken_for(Some(2)), Tier::Lightweight, told);
        check(taken_for(Some(0)), Tier::Lightweight, "task");
        check(taken_for(Some(1)), Tier::Frontier, "task");
    }

    #[test]
    fn a_nearly_spent_budget_passes_over_cheaper_tiers_that_cannot_answer() {
        let check = |empty: &[Tier], floor: Option<Tier>, expected: Tier, told: &str| {
            let mut verdict = Verdict { tier: Tier::Frontier, floor, reason: Reason::of(Why::Task), task: None };
            downgrade(&mut verdict, |tier| empty.contains(&tier).then_some(Note::NoModels(tier)));
            assert_eq!((verdict.tier, &*verdict.reason.to_string()), (expected, told));
        };
        let near = "task; the budget is nearly spent, so that frontier is not used";
        check(&[], None, Tier::Reasoning, near);
        let (reasoning, both) = ([Tier::Reasoning], [Tier::Reasoning, Tier::Lightweight]);
        check(&reasoning, None, Tier::Lightweight, &format!("{near}; reasoning has no models"));
        let none = "task; the budget is nearly spent, and no cheaper tier can answer; reasoning has no models";
        check(&both, None, Tier::Frontier, &format!("{none}; lightweight has no models"));
        check(&reasoning, Some(Tier::Reasoning), Tier::Frontier, none);
    }
}
