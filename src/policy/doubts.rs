//! What a policy may say and yet probably does not mean; `farthing check` tells it as warnings.

use crate::problem::{Problem, nearest, nearest_hint};
use crate::task::Tier;
use crate::yaml::findings::found;

use super::{AppliesTo, Policy, Task};

/// How alike two tasks are by what they mean, from 0 to 1: 1 cannot be told apart. Made by whoever can classify.
pub type Similarity<'a> = &'a dyn Fn(&Task, &Task) -> f32;

/// From here on two bullets of different tiers count as alike: rewordings of one mostly reach 0.4 to 0.8, different
/// bullets 0.3.
const ALIKE: f32 = 0.38;
/// The same for two of one tier, where the wrong one of them costs a name in reports and nothing else. Different bullets of
/// the shipped policies reach 0.5.
const ALIKE_IN_ONE_TIER: f32 = 0.55;

/// Rules that never decide, since an earlier one matches whatever they do.
pub(super) fn rules_without_effect(policy: &Policy) -> Vec<Problem> {
    let mut warnings = Vec::new();
    for (index, rule) in policy.rules.iter().enumerate() {
        if let Some(earlier) = policy.rules[..index].iter().find(|earlier| earlier.when.covers(&rule.when)) {
            let message = format!(
                "this rule never decides: the one in line {} matches whatever it does; wanted it in front of that one",
                earlier.at.line
            );
            warnings.push(Problem::at(&policy.file, rule.at, message));
        }
    }
    warnings
}

/// Bullets that cannot be told apart, neither by their prose nor by examples.
pub fn alike(policy: &Policy, similarity: Similarity<'_>) -> Vec<Problem> {
    let mut warnings = Vec::new();
    for (index, task) in policy.tasks.iter().enumerate() {
        let is_told_by_examples = |other: &Task| !task.examples.is_empty() && !other.examples.is_empty();
        let earlier = policy.tasks[..index].iter().filter(|earlier| !is_told_by_examples(earlier));
        let bound = |earlier: &Task| if earlier.tier == task.tier { ALIKE_IN_ONE_TIER } else { ALIKE };
        for earlier in earlier.filter(|earlier| similarity(earlier, task) >= bound(earlier)) {
            let message = format!(
                "{} (`{}`) can hardly be told from line {} (`{}`); wanted other words, or examples under both",
                found(&task.text),
                task.tier,
                earlier.at.line,
                earlier.tier
            );
            warnings.push(Problem::at(&policy.file, task.at, message));
        }
    }
    warnings
}

/// How much work a task's prose covers, from 0 to 1. Made by whoever can classify.
pub type Coverage<'a> = &'a dyn Fn(&Task) -> f32;

/// Below this a bullet's prose claims next to nothing. Bullets of the shipped policies have 0.28 and more.
const COVERED_MIN: f32 = 0.2;

/// Bullets whose prose claims next to nothing, and that have no examples to claim it for them.
pub fn claim_nothing(policy: &Policy, coverage: Coverage<'_>) -> Vec<Problem> {
    let tasks = policy.tasks.iter().filter(|task| task.examples.is_empty() && coverage(task) < COVERED_MIN);
    let told = tasks.map(|task| {
        let message = format!(
            "{} (`{}`) claims hardly any request: its words name no work that is known, and those of English are known best; \
             wanted other words, or some requests nested under it as examples",
            found(&task.text),
            task.tier
        );
        Problem::at(&policy.file, task.at, message)
    });
    told.collect()
}

/// Teams and keys that a policy is for and nobody has heard of. A team need not be declared: only what is spelt nearly like
/// one that is counts. The names of keys are all known.
pub fn applies_to_nobody(policy: &Policy, teams: &[&str], keys: &[&str]) -> Vec<Problem> {
    let AppliesTo { teams: of_teams, keys: of_keys, .. } = &policy.applies_to;
    let unknown = |name: &&String, known: &[&str]| !known.contains(&name.as_str());
    let teams = of_teams.iter().filter(|name| unknown(name, teams)).filter_map(|name| {
        let near = nearest(name, teams.iter().copied())?;
        Some(format!("`applies_to` names the team `{name}`, which is not declared; did you mean `{near}`?"))
    });
    let keys = of_keys.iter().filter(|name| unknown(name, keys)).map(|name| {
        let hint = nearest_hint(name, keys.iter().copied());
        format!("`applies_to` names the key `{name}`, and no key of the configuration has that name{hint}")
    });
    teams.chain(keys).map(|message| Problem::of_file(&policy.file, message)).collect()
}

/// Tiers that a policy sends work to although the configuration gives them no model.
pub fn tiers_without_models(policy: &Policy, has_models: &dyn Fn(Tier) -> bool) -> Vec<Problem> {
    let mut warnings = Vec::new();
    for tier in Tier::ALL.into_iter().filter(|tier| !has_models(*tier)) {
        let of_task = policy.tasks.iter().filter(|task| task.tier == tier).map(|task| task.at);
        let of_rule = policy.rules.iter().filter(|rule| rule.tier == tier).map(|rule| rule.at);
        if let Some(at) = of_task.chain(of_rule).min() {
            let message = format!("work goes to `{tier}`, and `tiers` has no model there");
            warnings.push(Problem::at(&policy.file, at, message));
        } else if policy.default == tier {
            let message = format!("unclear work goes to `{tier}`, the default, and `tiers` has no model there");
            warnings.push(Problem::of_file(&policy.file, message));
        }
    }
    warnings
}
