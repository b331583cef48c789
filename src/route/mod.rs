//! Chooses the plan: which tier answers, and which models of it in which order.
//!
//! Pure: what the client asked for, what the policy says ([`verdict`]), where the conversation has been ([`warm`]), the
//! tiers and the grants come in; a plan with its reason, or why there is none, goes out. Health decides later, in
//! `providers`, which target of a plan is up.

pub mod examples;
pub mod nested;
pub mod rises;
pub mod verdict;
pub mod warm;

use crate::plan::{ModelRef, Note, Plan, Reason, Tiers, Why};
use crate::task::Tier;

use verdict::Verdict;
use warm::{Held, PriceOf, Step, begins_above, keeps, stays};

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

/// Where the conversation stands, and what its next step would cost.
#[derive(Clone, Copy)]
pub struct Standing<'a> {
    /// Where it has been.
    pub held: &'a Held,
    /// How large the step is.
    pub step: Step,
    /// What models charge.
    pub price: PriceOf<'a>,
}

/// Makes the plan for one call. Without a `verdict` on what is left to us, or without one that knows a floor, nothing is
/// protected and `auto` is frontier work.
///
/// # Errors
///
/// [`NoPlan`] when grants or the configuration leave no target.
pub fn choose(
    asked: Asked,
    verdict: Option<&Verdict>,
    standing: Option<Standing<'_>>,
    tiers: &Tiers,
    allowed: Allowed<'_>,
) -> Result<Plan, NoPlan> {
    let within = Within { tiers, allowed };
    match asked {
        Asked::Exact(targets) => within.exact(targets),
        Asked::Tier(pinned) => match verdict.and_then(|verdict| Some((verdict, verdict.floor?))) {
            Some((verdict, floor)) if pinned.is_below(floor) => {
                let reason = with(&verdict.reason, Note::PinOverruled(pinned));
                within.upward(verdict.tier, reason).map(|plan| within.on_its_model(plan, standing))
            }
            _ => {
                let targets = within.tier(pinned)?;
                Ok(within.on_its_model(Plan::new(Some(pinned), targets, Reason::of(Why::PinnedTier)), standing))
            }
        },
        Asked::Auto => {
            let (tier, reason) = match verdict {
                Some(verdict) => (verdict.tier, verdict.reason.clone()),
                None => (Tier::Frontier, Reason::of(Why::Ambiguous)),
            };
            let plan = within.upward(tier, reason)?;
            Ok(match standing {
                Some(standing) if standing.held.is_cold() => within.unless_it_rises(plan, standing),
                Some(standing) => within.unless_it_stays(plan, standing),
                None => plan,
            })
        }
    }
}

/// The model that a call would go to if nobody chose for the client: the one that it asked for, or the first one of the
/// tier that it asked for; what is left to us is work of the policy's `default` tier. What may not be used is passed over
/// as in a plan. `None`: there is none.
pub fn baseline(asked: &Asked, default: Tier, tiers: &Tiers, allowed: Allowed<'_>) -> Option<ModelRef> {
    let within = Within { tiers, allowed };
    match asked {
        Asked::Exact(known) => within.first(known),
        Asked::Tier(tier) => within.first_of(*tier),
        Asked::Auto => default.upward().find_map(|tier| within.first_of(tier)),
    }
}

/// Why nobody of a tier can answer; `None`: somebody can.
pub fn why_not(tier: Tier, tiers: &Tiers, allowed: Allowed<'_>) -> Option<Note> {
    Within { tiers, allowed }.tier(tier).err().map(|why| why.note(tier))
}

impl NoPlan {
    /// As a plan for another tier tells it.
    fn note(&self, tier: Tier) -> Note {
        match self {
            Self::EmptyTier(_) => Note::NoModels(tier),
            Self::NoProviderForTeam => Note::NoProvider(tier),
            Self::TierNotGranted(_) | Self::ModelNotGranted => Note::NotGranted(tier),
        }
    }
}

/// What plans are made of.
#[derive(Clone, Copy)]
struct Within<'a> {
    tiers: &'a Tiers,
    allowed: Allowed<'a>,
}

impl Within<'_> {
    /// The models of one tier that may be used.
    fn tier(self, tier: Tier) -> Result<Vec<ModelRef>, NoPlan> {
        if self.allowed.tiers.is_some_and(|granted| !granted.contains(&tier)) {
            return Err(NoPlan::TierNotGranted(tier));
        }
        match self.tiers.models(tier) {
            [] => Err(NoPlan::EmptyTier(tier)),
            models => self.of_team(models.to_vec()),
        }
    }

    fn first_of(self, tier: Tier) -> Option<ModelRef> {
        let is_granted = self.allowed.tiers.is_none_or(|granted| granted.contains(&tier));
        if is_granted { self.first(self.tiers.models(tier)) } else { None }
    }

    fn first(self, models: &[ModelRef]) -> Option<ModelRef> {
        models.iter().find(|model| self.allowed.provider.is_none_or(|may_use| may_use(model))).cloned()
    }

    fn of_team(self, targets: Vec<ModelRef>) -> Result<Vec<ModelRef>, NoPlan> {
        let targets: Vec<ModelRef> = match self.allowed.provider {
            Some(may_use) => targets.into_iter().filter(may_use).collect(),
            None => targets,
        };
        if targets.is_empty() { Err(NoPlan::NoProviderForTeam) } else { Ok(targets) }
    }

    /// The plan for `tier`, or the nearest dearer one that can be had; never a cheaper one. Refused as the first was.
    fn upward(self, tier: Tier, mut reason: Reason) -> Result<Plan, NoPlan> {
        let mut refused = None;
        for tier in tier.upward() {
            match self.tier(tier) {
                Ok(targets) => return Ok(Plan::new(Some(tier), targets, reason)),
                Err(why) => {
                    reason.notes.push(why.note(tier));
                    refused.get_or_insert(why);
                }
            }
        }
        Err(refused.unwrap_or(NoPlan::EmptyTier(tier)))
    }

    /// The same plan, or one for the dearer tier that the conversation is on, where leaving it costs more than it saves.
    fn unless_it_stays(self, plan: Plan, standing: Standing<'_>) -> Plan {
        let reason = plan.reason.clone();
        let plan = self.on_its_model(plan, Some(standing));
        let Some(tier) = plan.tier else { return plan };
        let Some(held_tier) = standing.held.tier.filter(|held| tier.is_below(*held)) else { return plan };
        let (Some(held), Ok(targets)) = (standing.held.of(held_tier), self.tier(held_tier)) else { return plan };
        let Some(cheaper) = plan.targets.first().filter(|_| targets.contains(&held.model)) else { return plan };
        let warm = standing.held.of(tier).filter(|warm| warm.model == *cheaper).map_or(0, |warm| warm.tokens);
        if !stays(held, cheaper, warm, standing.step, standing.price) {
            return plan;
        }
        self.on_its_model(Plan::new(Some(held_tier), targets, with(&reason, Note::StaysWarm(tier))), Some(standing))
    }

    /// The same plan, or one for the dearer tier that such conversations mostly go on to, where beginning there costs less.
    fn unless_it_rises(self, plan: Plan, standing: Standing<'_>) -> Plan {
        let above = standing.held.rise.filter(|rise| plan.tier == Some(rise.from)).and_then(|rise| {
            let (targets, cheaper) = (self.tier(rise.to).ok()?, plan.targets.first()?);
            let dearer = targets.first()?;
            let pays = begins_above(cheaper, dearer, rise.ppm, standing.step, standing.price);
            pays.then(|| Plan::new(Some(rise.to), targets, with(&plan.reason, Note::BeginsAbove(rise.from))))
        });
        self.on_its_model(above.unwrap_or(plan), Some(standing))
    }

    /// A grant of tiers also limits exact names to those tiers' models, unless a grant of models widens it.
    fn exact(self, targets: Vec<ModelRef>) -> Result<Plan, NoPlan> {
        let granted = |target: &ModelRef| match (self.allowed.tiers, self.allowed.model) {
            (None, None) => true,
            (_, Some(covers)) if covers(target) => true,
            (Some(granted), _) => granted.iter().any(|tier| self.tiers.models(*tier).contains(target)),
            (None, Some(_)) => false,
        };
        let targets: Vec<ModelRef> = targets.into_iter().filter(granted).collect();
        let tier = self.tiers.tier_of(targets.first().ok_or(NoPlan::ModelNotGranted)?);
        Ok(Plan::new(tier, self.of_team(targets)?, Reason::of(Why::ExactModel)))
    }

    /// The model of the tier that answered the conversation last comes first, unless the one in front of it costs less even so
    /// and is not as good; the others keep their order behind it.
    fn on_its_model(self, mut plan: Plan, standing: Option<Standing<'_>>) -> Plan {
        let Some((standing, tier)) = standing.zip(plan.tier) else { return plan };
        let Some(held) = standing.held.of(tier) else { return plan };
        match (plan.targets.iter().position(|target| *target == held.model), plan.targets.first()) {
            (Some(place), Some(first)) if place > 0 => {
                if self.tiers.are_equal(tier, &held.model, first) {
                    plan.targets[..=place].rotate_right(1);
                } else if keeps(held, first, standing.step, standing.price) {
                    plan.targets[..=place].rotate_right(1);
                    plan.reason.notes.push(Note::KeepsModel);
                } else {
                    plan.reason.notes.push(Note::LeavesModel);
                }
            }
            _ => {}
        }
        plan
    }
}

fn with(reason: &Reason, note: Note) -> Reason {
    let mut reason = reason.clone();
    reason.notes.push(note);
    reason
}

#[cfg(test)]
mod tests;
