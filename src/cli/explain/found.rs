//! What the classifier found of a request and what would change it, as `farthing explain --verbose` prints it.

use serde::Serialize;

use crate::classify::{Explanation, Near};
use crate::gateway::routing::Decided;
use crate::plan::Why;
use crate::policy::Policy;
use crate::task::Tier;

/// Bullets that are shown.
const NEAREST_SHOWN: usize = 3;

/// What the classifier found, before rules, pins and grants, and who decided.
#[derive(Serialize)]
pub struct Classifier<'a> {
    decided_by: String,
    task: Option<&'a str>,
    tier: &'static str,
    ambiguous: bool,
    confidence: f64,
    needs_strong: f64,
    tiers: Tiers,
    bound: f64,
    kinds: Vec<Kind>,
    nearest: Vec<Bullet<'a>>,
    none: f64,
    margin: f64,
    material: Vec<&'static str>,
    signals: Vec<String>,
    advice: String,
}

#[derive(Serialize)]
struct Tiers {
    frontier: f64,
    reasoning: f64,
    lightweight: f64,
}

#[derive(Serialize)]
struct Kind {
    kind: &'static str,
    share: f64,
}

#[derive(Serialize)]
struct Bullet<'a> {
    task: &'a str,
    tier: &'static str,
    line: u32,
    share: f64,
    kinds: Vec<Kind>,
    example: Option<Example<'a>>,
}

#[derive(Serialize)]
struct Example<'a> {
    text: &'a str,
    similarity: f64,
}

impl<'a> Classifier<'a> {
    /// Puts together what is printed.
    pub fn of(explanation: &Explanation, decided: &'a Decided) -> Self {
        let (policy, found, why) = (decided.policy(), explanation.classified, decided.plan.reason.why);
        let of_tier = |tier: Tier| rounded(explanation.tiers[tier as usize]);
        Self {
            decided_by: decided_by(why, policy),
            task: decided.task_of(&found),
            tier: found.tier.as_str(),
            ambiguous: found.ambiguous,
            confidence: rounded(found.confidence),
            needs_strong: rounded(found.needs_strong),
            tiers: Tiers {
                frontier: of_tier(Tier::Frontier),
                reasoning: of_tier(Tier::Reasoning),
                lightweight: of_tier(Tier::Lightweight),
            },
            bound: rounded(explanation.bound),
            kinds: kinds(&explanation.kinds),
            nearest: explanation.nearest.iter().take(NEAREST_SHOWN).map(|near| bullet(near, policy)).collect(),
            none: rounded(explanation.none),
            margin: rounded(explanation.margin()),
            material: explanation.material.clone(),
            signals: explanation.signals.clone(),
            advice: advice(why, explanation, policy),
        }
    }
}

fn decided_by(why: Why, policy: &Policy) -> String {
    match why {
        Why::PinnedTier => "the tier that the client pinned".to_owned(),
        Why::ExactModel => "the model that the client named".to_owned(),
        Why::NamedTask => "the task that the client named".to_owned(),
        Why::Task => "the classifier".to_owned(),
        Why::Ambiguous => format!("the default, {}, since no rule and no task claims it", policy.default),
        Why::HeldOut => format!("the default, {}, since the policy holds its session out", policy.default),
        Why::Observed => format!("the default, {}, since levers only watch here", policy.default),
        Why::Refused => "nobody: it is refused".to_owned(),
        Why::Replayed => "nobody: it has the answer of the request that it repeats".to_owned(),
        Why::Rule(number) => {
            let at = policy.rules.get(number.saturating_sub(1) as usize).map_or(0, |rule| rule.at.line);
            format!("rule {number}, {}:{at}", policy.file)
        }
    }
}

/// What to write to change what was decided, which is not always a matter of bullets.
fn advice(why: Why, explanation: &Explanation, policy: &Policy) -> String {
    let if_not = || format!("without it the classifier's word counts, and {}", explanation.advice(policy));
    match why {
        Why::Rule(number) => format!("rule {number} decides whatever tasks there are: narrow it; {}", if_not()),
        Why::PinnedTier | Why::ExactModel => format!("the client's name decides: have it ask for `auto`; {}", if_not()),
        Why::NamedTask => format!("the client's `x-farthing-task` decides; {}", if_not()),
        Why::HeldOut => format!("the policy's `holdout` keeps this session from all levers; {}", if_not()),
        Why::Observed => format!("levers only watch here, by `mode`; {}", if_not()),
        Why::Task | Why::Ambiguous | Why::Refused | Why::Replayed => explanation.advice(policy),
    }
}

fn bullet<'a>(near: &Near, policy: &'a Policy) -> Bullet<'a> {
    let task = &policy.tasks[near.task];
    let example = |(index, similarity): (usize, f32)| {
        Some(Example { text: task.examples.get(index)?, similarity: rounded(similarity) })
    };
    Bullet {
        task: &task.id,
        tier: task.tier.as_str(),
        line: task.at.line,
        share: rounded(near.share),
        kinds: kinds(&near.covers),
        example: near.example.and_then(example),
    }
}

fn kinds(shares: &[(&'static str, f32)]) -> Vec<Kind> {
    shares.iter().map(|(kind, share)| Kind { kind, share: rounded(*share) }).collect()
}

/// Four digits tell all that a share can.
fn rounded(share: f32) -> f64 {
    (f64::from(share) * 1e4).round() / 1e4
}
