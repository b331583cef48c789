//! Names of models that a client may ask for, and what one is told whose name leads nowhere.

use std::collections::BTreeSet;

use super::routing::Routing;
use crate::config::Key;
use crate::cost::Book;
use crate::problem::{nearest, shown_name};
use crate::task::Tier;
use crate::wire::errors::{ApiError, Code};

/// The refusal of a word that stands for our choice, where none is to be made.
pub(super) fn nobody_chooses(name: &str) -> ApiError {
    let message =
        format!("`{name}` stands for models of conversations; at this path a model is asked for by its own name");
    ApiError::new(Code::ModelNotFound, message).param("model")
}

impl Routing {
    /// `auto`, the tiers, the models in tiers, and the priced models that the rows' patterns match, before grants.
    pub fn known_models(&self, book: &Book) -> BTreeSet<String> {
        let config = &self.config;
        let of_tiers =
            Tier::ALL.into_iter().flat_map(|tier| config.tiers.models(tier)).map(|model| model.model.to_string());
        let priced = config.providers.iter().flat_map(|row| {
            let served = book.rows_of(&row.vendor).filter(|(model, _)| row.serves(model));
            served.map(|(model, _)| model.to_owned())
        });
        let ours = Tier::ALL.into_iter().map(|tier| tier.to_string()).chain(["auto".to_owned()]);
        ours.chain(of_tiers).chain(priced).collect()
    }

    /// The refusal of a model that no row serves, with the nearest name that the key may ask for.
    pub(super) fn unknown_model(&self, name: &str, team: &str, key: Option<&Key>, book: &Book) -> ApiError {
        let shown = shown_name(name);
        let known = self.known_models(book);
        // A provider's name in front says nothing of how the model is spelt.
        let bare = name.rsplit_once('/').map_or(name, |(_, bare)| bare);
        let near = shown.as_ref().and_then(|_| nearest(bare, known.iter().map(String::as_str)));
        // `light`.
        let begun = || Tier::ALL.map(Tier::as_str).into_iter().find(|tier| bare.len() >= 3 && tier.starts_with(bare));
        let near = near.or_else(begun).filter(|near| self.may_ask(near, team, key).is_some());
        let what = shown.map_or_else(|| "this model".to_owned(), |name| format!("the model `{name}`"));
        let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        let message = format!("no provider row serves {what}{hint}; `GET /v1/models` lists those that are known");
        ApiError::new(Code::ModelNotFound, message).param("model")
    }
}
