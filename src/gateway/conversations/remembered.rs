//! What is remembered of one conversation, in as few bytes as hold it: there are tens of thousands.

use std::num::NonZeroU16;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::gateway::live::InForce;
use crate::limits::REMEMBERED_MODELS_MAX;
use crate::plan::ModelRef;
use crate::task::Tier;

/// What is remembered of one conversation.
#[derive(Clone)]
pub(super) struct Entry {
    /// Whose it is: a hash that somebody else's request meets by its own making is no key to it.
    pub(super) tenant: u64,
    pub(super) id: u64,
    /// The first user turn of the request that made the prefixes warm.
    pub(super) anchor: u64,
    pub(super) policy: Arc<InForce>,
    pub(super) seen: Moment,
    /// Since when it has this version.
    pub(super) began: Moment,
    /// The rule that matched last.
    pub(super) ruled: Option<Ruled>,
    pub(super) last: Option<Tier>,
    /// The dearest tier that any of its work belongs in.
    pub(super) reached: Option<Tier>,
    pub(super) models: [Option<Known>; Tier::ALL.len()],
}

/// A model that answered.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) model: Number,
    /// How long the prompt was.
    pub(super) tokens: u32,
    pub(super) since: Moment,
}

/// A rule that matched, by its place, and how many user turns there were.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ruled {
    /// The place, counted from 1.
    rule: NonZeroU16,
    user_turns: u32,
}

impl Ruled {
    pub(super) fn new(rule: usize, user_turns: u32) -> Option<Self> {
        let rule = u16::try_from(rule).ok()?.checked_add(1).and_then(NonZeroU16::new)?;
        Some(Self { rule, user_turns })
    }

    /// The rule's place, if it matched in the last of `user_turns`.
    pub(super) fn in_turn(self, user_turns: u32) -> Option<usize> {
        (self.user_turns == user_turns).then(|| usize::from(self.rule.get() - 1))
    }
}

/// Whole seconds since conversations began to be remembered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Moment(u32);

impl Moment {
    pub(super) fn after(since: Duration) -> Self {
        Self(u32::try_from(since.as_secs()).unwrap_or(u32::MAX))
    }

    /// Whether less than `span` lies between it and `now`.
    pub(super) fn is_within(self, span: Duration, now: Self) -> bool {
        u64::from(now.0.saturating_sub(self.0)) < span.as_secs()
    }
}

/// Stands for a model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Number(NonZeroU16);

/// The models that answered, each once: a conversation has their numbers. They come from the configuration's tiers, so
/// that there are few.
#[derive(Default)]
pub(super) struct Names(RwLock<Vec<ModelRef>>);

impl Names {
    /// The number of a model; `None`: there are too many.
    pub(super) fn number(&self, model: &ModelRef) -> Option<Number> {
        let of = |known: &[ModelRef]| known.iter().position(|known| known == model);
        let found = of(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        let place = match found {
            Some(place) => place,
            None => {
                let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
                match of(&known) {
                    Some(place) => place,
                    None if known.len() >= REMEMBERED_MODELS_MAX => return None,
                    None => {
                        known.push(model.clone());
                        known.len() - 1
                    }
                }
            }
        };
        NonZeroU16::new(u16::try_from(place + 1).ok()?).map(Number)
    }

    /// The model of a number that was given here.
    pub(super) fn model(&self, Number(number): Number) -> Option<ModelRef> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.get(usize::from(number.get()) - 1).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ModelId, ProviderId};

    #[test]
    fn an_entry_with_its_key_takes_less_than_a_hundred_bytes() {
        assert_eq!(size_of::<(u64, Entry)>(), 96);
    }

    #[test]
    fn models_have_numbers_up_to_a_bound() {
        let (names, model) = (Names::default(), |n: usize| ModelRef {
            provider: ProviderId::from("p"),
            model: ModelId::from(&*n.to_string()),
        });
        let numbers: Vec<_> =
            (0..REMEMBERED_MODELS_MAX).map(|n| names.number(&model(n)).expect("there is room")).collect();
        assert_eq!(names.number(&model(3)), Some(numbers[3]));
        assert_eq!(names.model(numbers[3]), Some(model(3)));
        assert_eq!(names.number(&model(REMEMBERED_MODELS_MAX)), None);
    }

    #[test]
    fn a_rule_is_of_one_turn() {
        let ruled = Ruled::new(0, 7).expect("it is small");
        assert_eq!((ruled.in_turn(7), ruled.in_turn(8)), (Some(0), None));
        assert_eq!(Ruled::new(usize::MAX, 7), None);
    }
}
