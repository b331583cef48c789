//! Where a call will be sent, in which order, and why.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::ids::{ModelId, ProviderId};
use crate::task::Tier;

/// A model at a provider row: what a call is sent to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ModelRef {
    /// The row.
    pub provider: ProviderId,
    /// The name that the row's provider knows.
    pub model: ModelId,
}

impl ModelRef {
    /// As it is written out, with room for just that.
    pub fn spelt(&self) -> String {
        [self.provider.as_str(), "/", self.model.as_str()].concat()
    }
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.model)
    }
}

/// Models of each tier, in fallback order.
#[derive(Clone, Debug, Default)]
pub struct Tiers {
    /// Highest quality.
    pub frontier: Vec<ModelRef>,
    /// Multi-step work.
    pub reasoning: Vec<ModelRef>,
    /// Cheapest.
    pub lightweight: Vec<ModelRef>,
    /// Of each tier, those of its models that are as good as one another, each group with two or more.
    pub equal: [Vec<Vec<ModelRef>>; Tier::ALL.len()],
}

impl Tiers {
    /// The models of one tier.
    pub fn models(&self, tier: Tier) -> &[ModelRef] {
        match tier {
            Tier::Frontier => &self.frontier,
            Tier::Reasoning => &self.reasoning,
            Tier::Lightweight => &self.lightweight,
        }
    }

    /// The groups of models of one tier that are as good as one another.
    pub fn equals(&self, tier: Tier) -> &[Vec<ModelRef>] {
        &self.equal[tier as usize]
    }

    /// Whether a tier has both models in one place.
    pub fn are_equal(&self, tier: Tier, one: &ModelRef, other: &ModelRef) -> bool {
        self.equals(tier).iter().any(|group| group.contains(one) && group.contains(other))
    }

    /// The tier that a model belongs to: the first, dearest first, that lists it.
    pub fn tier_of(&self, model: &ModelRef) -> Option<Tier> {
        Tier::ALL.into_iter().find(|tier| self.models(*tier).contains(model))
    }
}

/// Why a plan is what it is. Header, log and ledger print this same value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reason {
    /// What decided.
    pub why: Why,
    /// What the rule's author says it is for.
    pub because: Option<Arc<str>>,
    /// What made the plan differ from that, in the order in which it did.
    pub notes: Vec<Note>,
}

/// What decided a plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// The client named a tier.
    PinnedTier,
    /// The client named a model.
    ExactModel,
    /// A rule of the policy matched: the one at this place, counted from 1.
    Rule(u32),
    /// The client named the task kind, and the policy has it.
    NamedTask,
    /// The request was taken for one of the policy's task kinds, or for some one of several of one tier.
    Task,
    /// No rule and no task claims it: the policy's default tier.
    Ambiguous,
    /// The session is held out from levers: what it costs is what levers are measured against.
    HeldOut,
    /// Levers only watch here: the policy's default tier, whatever the work is.
    Observed,
    /// There is no plan: the request was refused before one was made.
    Refused,
    /// There is no plan: it has the answer of the request that it repeats.
    Replayed,
}

impl Why {
    /// The word in metrics, and the first in header, log and ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PinnedTier => "pinned-tier",
            Self::ExactModel => "exact-model",
            Self::Rule(_) => "rule",
            Self::NamedTask => "named-task",
            Self::Task => "task",
            Self::Ambiguous => "ambiguous",
            Self::HeldOut => "held-out",
            Self::Observed => "observed",
            Self::Refused => "refused",
            Self::Replayed => "replayed",
        }
    }
}

/// What made a plan differ from what was decided or asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Note {
    /// The policy treats the model that the client named as `auto`.
    TreatedAsAuto,
    /// The client named this task, and the policy has none of that id.
    UnknownTask(Box<str>),
    /// It was taken for work of this tier, and for none of the tier's tasks by itself.
    Unnamed,
    /// The turn says nothing by itself: it was taken for what the last one asks that does.
    AsBefore,
    /// The turn says nothing by itself, and none before it does.
    SaysNothing,
    /// The client pinned this tier, and the work is protected.
    PinOverruled(Tier),
    /// This tier has no models: the next dearer one answers.
    NoModels(Tier),
    /// The key may not use this tier: the next dearer one answers.
    NotGranted(Tier),
    /// The team may use no provider of this tier: the next dearer one answers.
    NoProvider(Tier),
    /// It is work of this tier, and the budget is nearly spent: a cheaper one answers.
    BudgetNear(Tier),
    /// The budget is nearly spent, and no cheaper tier that may do the work can answer.
    NothingCheaper,
    /// This tier would do, and leaving the model whose cache is warm would cost more than it saves.
    StaysWarm(Tier),
    /// This tier would do, and conversations that begin there mostly go on to where this one begins.
    BeginsAbove(Tier),
    /// Another model of the tier comes first, and going there would cost more than staying on the one that answered last.
    KeepsModel,
    /// Another model of the tier answered last, and going on with the tier's first one costs less.
    LeavesModel,
    /// The protected rule at this place, counted from 1, matches, and the client named a cheaper model outright.
    NotBound(u32),
    /// This target was passed over: its protocol has no words for a field of the request.
    CannotCarry(Box<str>, Box<str>),
    /// This target was slow, another one was asked as well, and that answered first.
    Hedged(Box<str>),
    /// The target was slow, this one was asked as well, and the first answered after all.
    HedgedInVain(Box<str>),
    /// The target was slow, it was asked by another key of its row as well, and that answered first.
    HedgedByKey,
    /// The same, and the first answered after all.
    HedgedByKeyInVain,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TreatedAsAuto => f.write_str("treated as auto"),
            Self::UnknownTask(name) => write!(f, "the policy has no task `{name}`"),
            Self::Unnamed => f.write_str("like several tasks of the tier, and none by itself"),
            Self::AsBefore => f.write_str("as the turn before, since this one says nothing by itself"),
            Self::SaysNothing => f.write_str("the turn says nothing by itself"),
            Self::PinOverruled(tier) => write!(f, "protected work, so the pin to {tier} is overruled"),
            Self::NoModels(tier) => write!(f, "{tier} has no models"),
            Self::NotGranted(tier) => write!(f, "{tier} is not granted"),
            Self::NoProvider(tier) => write!(f, "the team may use no provider of {tier}"),
            Self::BudgetNear(tier) => write!(f, "the budget is nearly spent, so that {tier} is not used"),
            Self::NothingCheaper => f.write_str("the budget is nearly spent, and no cheaper tier can answer"),
            Self::StaysWarm(tier) => write!(f, "{tier} would do, but a cold prefix costs more than it saves"),
            Self::BeginsAbove(tier) => {
                write!(f, "{tier} would do, but most that begins there moves up, and would pay for its prefix twice")
            }
            Self::KeepsModel => f.write_str("stays on the model that answered last, which costs no more here"),
            Self::LeavesModel => f.write_str("back to the first model of the tier, which costs less here"),
            Self::CannotCarry(target, field) => write!(f, "`{target}` cannot carry `{field}`"),
            Self::Hedged(slow) => write!(f, "`{slow}` was slow, and another that was asked as well answered first"),
            Self::HedgedInVain(other) => write!(f, "slow, so that `{other}` was asked as well, which was slower"),
            Self::HedgedByKey => f.write_str("slow, and another key of the row that was asked as well answered first"),
            Self::HedgedByKeyInVain => {
                f.write_str("slow, so that another key of the row was asked as well, which was slower")
            }
            Self::NotBound(rule) => write!(f, "protected rule {rule} does not bind exact names"),
        }
    }
}

impl Reason {
    /// Without a word more.
    pub fn of(why: Why) -> Self {
        Self { why, because: None, notes: Vec::new() }
    }

    /// The same as [`Display`](fmt::Display) writes, which is one word for most.
    pub fn wording(&self) -> Cow<'static, str> {
        match self {
            Self { why: Why::Rule(_), .. } => self.to_string().into(),
            Self { why, because: None, notes } if notes.is_empty() => why.as_str().into(),
            _ => self.to_string().into(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why.as_str())?;
        if let Why::Rule(number) = self.why {
            write!(f, " {number}")?;
        }
        if let Some(because) = &self.because {
            write!(f, " ({because})")?;
        }
        self.notes.iter().try_for_each(|note| write!(f, "; {note}"))
    }
}

/// What the policy made of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The policy and its version, such as `orders_daily@3f2c`.
    pub policy: Arc<str>,
    /// The task kind; `None`: none was likely enough.
    pub task: Option<Arc<str>>,
    /// How sure that is, in millionths.
    pub confidence_ppm: u32,
    /// Probability that a stronger model is right where the lightweight one is wrong, in millionths.
    pub needs_strong_ppm: u32,
}

/// The arm of a policy's hold-out that a session is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arm {
    /// Levers act.
    Levers,
    /// They do not.
    Holdout,
}

impl Arm {
    /// The arm of a session, where so many millionths of all are held out; always the same one. `None`: none are.
    pub fn of(session: u64, holdout_ppm: u32) -> Option<Self> {
        let drawn = xxh3_64_with_seed(&session.to_le_bytes(), 0x686f_6c64_6f75_7400) % 1_000_000;
        (holdout_ppm > 0).then_some(if drawn < u64::from(holdout_ppm) { Self::Holdout } else { Self::Levers })
    }

    /// The word in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Levers => "levers",
            Self::Holdout => "holdout",
        }
    }
}

/// Where a call would have gone if levers acted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Would {
    /// The tier; `None` for a model named exactly that belongs to none.
    pub tier: Option<Tier>,
    /// The first model that would have been tried.
    pub model: ModelRef,
    /// Why.
    pub reason: Reason,
}

/// The targets of a call in fallback order; never empty but where the call is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The tier that answers; `None` for a model named exactly that belongs to none.
    pub tier: Option<Tier>,
    /// Where to send it: the first, then the others as long as nothing has gone downstream.
    pub targets: Vec<ModelRef>,
    /// Why.
    pub reason: Reason,
    /// What the policy made of it; `None` where nobody asked.
    pub finding: Option<Finding>,
    /// Where levers only watch: what they would have done.
    pub would: Option<Would>,
    /// The conversation that it belongs to, hashed; `None`: it has no messages.
    pub session: Option<u64>,
    /// Where the call would have gone without levers: the model that the client asked for, the first one of the tier that
    /// it asked for, and where the choice is ours of the policy's default tier. `None`: there is no such model.
    pub baseline: Option<ModelRef>,
    /// The arm that the session is in; `None`: the policy holds none out, or levers only watch.
    pub arm: Option<Arm>,
    /// What the plan depends on besides request and policy, as rows keep it; `None`: nothing.
    pub state: Option<String>,
}

impl Plan {
    /// A plan that no policy was asked about.
    pub fn new(tier: Option<Tier>, targets: Vec<ModelRef>, reason: Reason) -> Self {
        Self {
            tier,
            targets,
            reason,
            finding: None,
            would: None,
            session: None,
            baseline: None,
            arm: None,
            state: None,
        }
    }

    /// Why, as rows have it: where levers only watch, with why they would have done otherwise.
    pub fn told(&self) -> Cow<'static, str> {
        match &self.would {
            Some(would) => format!("{}; would: {}", self.reason, would.reason).into(),
            None => self.reason.wording(),
        }
    }

    /// The task kind that the policy took it for.
    pub fn task(&self) -> Option<&str> {
        self.finding.as_ref()?.task.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_stays_in_its_arm_and_the_share_is_what_was_said() {
        assert_eq!(Arm::of(7, 0), None);
        let held = (0..100_000).filter(|session| Arm::of(*session, 20_000) == Some(Arm::Holdout)).count();
        assert!((1_800..2_200).contains(&held), "{held} of 2,000");
        // Who is held out at a small share is at a larger one too.
        assert!(
            (0..10_000).all(|s| Arm::of(s, 10_000) != Some(Arm::Holdout) || Arm::of(s, 50_000) == Some(Arm::Holdout))
        );
    }

    #[test]
    fn a_reason_has_one_wording() {
        let because = Some("destructive SQL is high stakes".into());
        let notes = vec![Note::PinOverruled(Tier::Lightweight), Note::NoModels(Tier::Reasoning)];
        let reason = Reason { why: Why::Rule(2), because, notes };
        assert_eq!(
            reason.to_string(),
            "rule 2 (destructive SQL is high stakes); protected work, so the pin to lightweight is overruled; \
             reasoning has no models"
        );
        for reason in [reason, Reason::of(Why::Task), Reason::of(Why::Rule(3))] {
            assert_eq!(reason.wording(), reason.to_string());
        }
        assert_eq!(Reason::of(Why::Task).to_string(), "task");
    }

    #[test]
    fn a_row_has_both_reasons_where_levers_only_watch() {
        let model = ModelRef { provider: ProviderId::from("p"), model: ModelId::from("m") };
        let plan = Plan::new(None, vec![model.clone()], Reason::of(Why::Observed));
        assert_eq!(plan.told(), "observed");
        let reason = Reason { notes: vec![Note::TreatedAsAuto], ..Reason::of(Why::Task) };
        let plan = Plan { would: Some(Would { tier: None, model, reason }), ..plan };
        assert_eq!(plan.told(), "observed; would: task; treated as auto");
    }
}
