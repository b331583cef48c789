//! Chooses the plan: which tier answers, and which models of it in which order.
//!
//! Pure: what the client asked for, the tiers and the grants come in; a plan with its reason, or why
//! there is none, goes out. Health decides later, in `providers`, which target of a plan is up.

use crate::plan::{ModelRef, Plan, Reason, Tiers};
use crate::task::Tier;

/// What a client's `model` means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// `auto`: the choice is ours.
    Auto,
    /// The name of a tier.
    Tier(Tier),
    /// A model by name, with the rows that serve that name in order; never empty.
    Exact(Vec<ModelRef>),
}

/// Why no plan could be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoPlan {
    /// The tier has no models.
    EmptyTier(Tier),
    /// The key's grants exclude the tier.
    TierNotGranted(Tier),
    /// The key's grants exclude the model.
    ModelNotGranted,
    /// The team may use none of the providers that serve it.
    NoProviderForTeam,
}

/// What a key may ask for. The default allows everything.
#[derive(Clone, Copy, Default)]
pub struct Allowed<'a> {
    /// Tiers; `None`: all.
    pub tiers: Option<&'a [Tier]>,
    /// Whether an exact model is covered by the grants' `models`; `None`: there is no such grant.
    pub model: Option<&'a dyn Fn(&ModelRef) -> bool>,
    /// Whether the team may use a provider; `None`: all.
    pub provider: Option<&'a dyn Fn(&ModelRef) -> bool>,
}

/// Makes the plan for one call.
///
/// # Errors
///
/// [`NoPlan`] when grants or the configuration leave no target.
pub fn choose(asked: Asked, tiers: &Tiers, allowed: Allowed<'_>) -> Result<Plan, NoPlan> {
    let (tier, targets, reason) = match asked {
        Asked::Auto => of_tier(Tier::Frontier, tiers, allowed, Reason::AutoDefault)?,
        Asked::Tier(tier) => of_tier(tier, tiers, allowed, Reason::PinnedTier)?,
        Asked::Exact(targets) => exact(targets, tiers, allowed)?,
    };
    let targets: Vec<ModelRef> = match allowed.provider {
        Some(may_use) => targets.into_iter().filter(may_use).collect(),
        None => targets,
    };
    if targets.is_empty() { Err(NoPlan::NoProviderForTeam) } else { Ok(Plan { tier, targets, reason }) }
}

type Draft = (Option<Tier>, Vec<ModelRef>, Reason);

fn of_tier(tier: Tier, tiers: &Tiers, allowed: Allowed<'_>, reason: Reason) -> Result<Draft, NoPlan> {
    if allowed.tiers.is_some_and(|granted| !granted.contains(&tier)) {
        return Err(NoPlan::TierNotGranted(tier));
    }
    match tiers.models(tier) {
        [] => Err(NoPlan::EmptyTier(tier)),
        models => Ok((Some(tier), models.to_vec(), reason)),
    }
}

/// A grant of tiers also limits exact names to those tiers' models, unless a grant of models widens it.
fn exact(targets: Vec<ModelRef>, tiers: &Tiers, allowed: Allowed<'_>) -> Result<Draft, NoPlan> {
    let granted = |target: &ModelRef| match (allowed.tiers, allowed.model) {
        (None, None) => true,
        (_, Some(covers)) if covers(target) => true,
        (Some(granted), _) => granted.iter().any(|tier| tiers.models(*tier).contains(target)),
        (None, Some(_)) => false,
    };
    let targets: Vec<ModelRef> = targets.into_iter().filter(granted).collect();
    let first = targets.first().ok_or(NoPlan::ModelNotGranted)?;
    Ok((tiers.tier_of(first), targets, Reason::ExactModel))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ModelId, ProviderId};

    fn model(name: &str) -> ModelRef {
        let (provider, model) = name.split_once('/').unwrap();
        ModelRef { provider: ProviderId::from(provider), model: ModelId::from(model) }
    }

    fn tiers() -> Tiers {
        Tiers { frontier: vec![model("a/big"), model("b/big")], reasoning: vec![], lightweight: vec![model("a/small")] }
    }

    #[track_caller]
    fn check(asked: Asked, allowed: Allowed<'_>, expected: Result<(&[&str], Option<Tier>), NoPlan>) {
        let plan = choose(asked, &tiers(), allowed);
        let plan = plan.map(|plan| (plan.targets.iter().map(ToString::to_string).collect::<Vec<_>>(), plan.tier));
        assert_eq!(plan, expected.map(|(names, tier)| (names.iter().map(ToString::to_string).collect(), tier)));
    }

    #[test]
    fn auto_means_the_frontier_models_in_order() {
        check(Asked::Auto, Allowed::default(), Ok((&["a/big", "b/big"], Some(Tier::Frontier))));
    }

    #[test]
    fn a_tier_without_models_is_refused_by_name() {
        check(Asked::Tier(Tier::Reasoning), Allowed::default(), Err(NoPlan::EmptyTier(Tier::Reasoning)));
    }

    #[test]
    fn grants_of_tiers_bind_exact_names_unless_models_widen_them() {
        let light = Allowed { tiers: Some(&[Tier::Lightweight]), ..Allowed::default() };
        check(Asked::Auto, light, Err(NoPlan::TierNotGranted(Tier::Frontier)));
        check(Asked::Exact(vec![model("a/big")]), light, Err(NoPlan::ModelNotGranted));
        check(Asked::Exact(vec![model("a/small")]), light, Ok((&["a/small"], Some(Tier::Lightweight))));
        let widened = Allowed { model: Some(&|m: &ModelRef| m.model.as_str() == "other"), ..light };
        check(Asked::Exact(vec![model("a/other")]), widened, Ok((&["a/other"], None)));
    }

    #[test]
    fn a_team_is_never_sent_to_a_provider_that_it_may_not_use() {
        let only_b = Allowed { provider: Some(&|m: &ModelRef| m.provider.as_str() == "b"), ..Allowed::default() };
        check(Asked::Auto, only_b, Ok((&["b/big"], Some(Tier::Frontier))));
        check(Asked::Tier(Tier::Lightweight), only_b, Err(NoPlan::NoProviderForTeam));
    }
}
