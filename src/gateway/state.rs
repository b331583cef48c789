//! What a plan depends on besides request and policy: where the conversation has been, and which targets rest. Rows keep
//! it as JSON, and `farthing explain --state` reads it back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{ModelId, ProviderId};
use crate::plan::ModelRef;
use crate::route::rises::Rise;
use crate::route::warm::{Held, Warm};
use crate::task::Tier;

/// The state of one decision.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct State {
    /// Where the conversation has been; `None`: it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
    /// Where such conversations mostly go on to, if that decided where this one begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rise: Option<Rising>,
    /// The rule that an earlier step of the turn matched, counted from 1, if the texts of this one do not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ruled: Option<usize>,
    /// Targets of the plan whose circuits are open.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resting: Vec<String>,
    /// Of targets that are as good as one another, the one that came first since it was less busy than the one that would have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub less_busy: Option<String>,
}

/// Where a conversation has been.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Session {
    /// The tier of its last answer.
    pub tier: Option<String>,
    /// By tier, the model that answered last and how many tokens of its prompt are warm there.
    pub models: BTreeMap<String, (String, u64)>,
}

/// How often conversations that begin in a tier go on to a dearer one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rising {
    /// The tier that they begin in.
    pub from: String,
    /// The one that they go on to.
    pub to: String,
    /// How many of them do, in millionths.
    pub ppm: u32,
}

impl State {
    /// The state as rows keep it; `None`: there is nothing to keep.
    pub fn of(held: &Held, resting: Vec<String>, less_busy: Option<String>) -> Option<String> {
        let session = held.tier.map(|tier| {
            let models = Tier::ALL.into_iter().filter_map(|tier| {
                let warm = held.of(tier)?;
                Some((tier.to_string(), (warm.model.to_string(), warm.tokens)))
            });
            Session { tier: Some(tier.to_string()), models: models.collect() }
        });
        let rise = held.rise.map(|rise| Rising { from: rise.from.to_string(), to: rise.to.to_string(), ppm: rise.ppm });
        let ruled = held.ruled.map(|rule| rule + 1);
        let state = Self { session, rise, ruled, resting, less_busy };
        if state == Self::default() { None } else { serde_json::to_string(&state).ok() }
    }

    /// Where the conversation has been.
    ///
    /// # Errors
    ///
    /// What is wrong with a tier or a model in it.
    pub fn held(&self) -> Result<Held, String> {
        let mut held = Held::default();
        let tier_of = |word: &String| {
            Tier::parse(word)
                .ok_or_else(|| format!("`{word}` is no tier; wanted `frontier`, `reasoning` or `lightweight`"))
        };
        if let Some(Rising { from, to, ppm }) = &self.rise {
            held.rise = Some(Rise { from: tier_of(from)?, to: tier_of(to)?, ppm: *ppm });
        }
        held.ruled = self.ruled.and_then(|number| number.checked_sub(1));
        let Some(session) = &self.session else { return Ok(held) };
        held.tier = session.tier.as_ref().map(tier_of).transpose()?;
        for (tier, (model, tokens)) in &session.models {
            let (provider, name) = model.split_once('/').ok_or_else(|| format!("`{model}` is no `provider/model`"))?;
            let model = ModelRef { provider: ProviderId::from(provider), model: ModelId::from(name) };
            held.models[tier_of(tier)? as usize] = Some(Warm { model, tokens: *tokens });
        }
        Ok(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_reads_back_as_it_was_kept() {
        let text = r#"{"session":{"tier":"frontier","models":{"frontier":["openai/a/b",1200]}},"resting":["x/y"]}"#;
        let state: State = serde_json::from_str(text).unwrap();
        let held = state.held().unwrap();
        assert_eq!((held.tier, held.of(Tier::Frontier).map(|warm| warm.tokens)), (Some(Tier::Frontier), Some(1_200)));
        assert_eq!(State::of(&held, vec!["x/y".to_owned()], None).as_deref(), Some(text));
        assert_eq!(State::of(&Held::default(), Vec::new(), None), None);
        let text = r#"{"rise":{"from":"reasoning","to":"frontier","ppm":750000}}"#;
        let held = serde_json::from_str::<State>(text).unwrap().held().unwrap();
        assert_eq!(held.rise, Some(Rise { from: Tier::Reasoning, to: Tier::Frontier, ppm: 750_000 }));
        assert_eq!(State::of(&held, Vec::new(), None).as_deref(), Some(text));
        let held = serde_json::from_str::<State>(r#"{"ruled":2}"#).unwrap().held().unwrap();
        assert_eq!((held.ruled, State::of(&held, Vec::new(), None).as_deref()), (Some(1), Some(r#"{"ruled":2}"#)));
    }

    #[test]
    fn what_is_wrong_with_a_state_is_told() {
        let check = |text: &str, expected: &str| {
            let state: State = serde_json::from_str(text).unwrap();
            assert_eq!(state.held().unwrap_err(), expected);
        };
        check(r#"{"session":{"tier":"best"}}"#, "`best` is no tier; wanted `frontier`, `reasoning` or `lightweight`");
        check(r#"{"session":{"models":{"frontier":["sol",1]}}}"#, "`sol` is no `provider/model`");
    }
}
