//! What a configuration allows and probably does not mean: `check` prints it, a start logs it.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::config::Config;
use crate::cost::{Book, Price, Schedule, Terms};
use crate::ledger::mirror::Target;
use crate::policy::{Policy, doubts};
use crate::server::KeyRing;
use crate::task::Tier;

/// The warnings about `config` with the prices of `book` as of `now`, each once.
pub fn warnings(config: &Config, book: &Book, now: Timestamp) -> Vec<String> {
    let today = now.to_zoned(TimeZone::get(&config.timezone).unwrap_or(TimeZone::UTC)).date();
    let mut warnings = Vec::new();
    of_mirror(config, &mut warnings);
    of_providers(config, &mut warnings);
    of_prices(config, book, &mut warnings);
    of_tiers(config, book, today, &mut warnings);
    let mut told = std::collections::HashSet::new();
    warnings.retain(|warning| told.insert(warning.clone()));
    warnings
}

/// What policies say and probably do not mean, beside what their own files tell; without a configuration nothing is known
/// of the tiers' models, and without keys (those in force) nothing of who asks.
pub fn of_policies(policies: &[Arc<Policy>], config: Option<&Config>, keys: Option<&KeyRing>) -> Vec<String> {
    let mut warnings = Vec::new();
    for policy in policies {
        if let Some(config) = config {
            warnings.extend(doubts::tiers_without_models(policy, &|tier| !config.tiers.models(tier).is_empty()));
        }
        if let (Some(config), Some(keys)) = (config, keys) {
            let keys = keys.keys();
            let teams = config.teams.iter().map(|team| team.id.as_str());
            let of_keys = keys.iter().map(|key| key.team.as_str());
            let keys = keys.iter().map(|key| key.id.as_str());
            warnings.extend(doubts::applies_to_nobody(
                policy,
                &teams.chain(of_keys).collect::<Vec<_>>(),
                &keys.collect::<Vec<_>>(),
            ));
        }
    }
    warnings.iter().map(ToString::to_string).collect()
}

fn of_mirror(config: &Config, warnings: &mut Vec<String>) {
    let target = config.ledger.mirror.as_ref().and_then(|url| Target::parse(url.reveal()).ok());
    if target.is_some_and(|target| target.is_unproven()) {
        warnings.push(
            "`mirror` is on another machine that proves nothing of itself; wanted `sslmode=verify-full` in its URL"
                .to_owned(),
        );
    }
}

fn of_providers(config: &Config, warnings: &mut Vec<String>) {
    for (row, access) in config.providers.iter().flat_map(|row| row.accesses.iter().map(move |access| (row, access))) {
        let url = &access.base_url;
        let is_local =
            url.host().is_some_and(|host| host == "localhost" || host.starts_with("127.") || host == "[::1]");
        if !access.credential.is_none() && url.scheme_str() == Some("http") && !is_local {
            warnings.push(format!("`{}` is called over `http`, so its key travels in clear", row.id));
        }
        if access.path_prefix().is_empty() && row.preset.is_none() {
            warnings.push(format!("`{}`: the base URL `{url}` has no path; most providers' end in `/v1`", row.id));
        }
    }
}

fn of_prices(config: &Config, book: &Book, warnings: &mut Vec<String>) {
    let served =
        |vendor: &str, model: &str| config.providers.iter().any(|row| row.vendor == vendor && row.serves(model));
    for (vendor, model, price) in book.user_rows() {
        if !served(vendor, model) {
            warnings.push(format!(
                "the price of `{vendor}/{model}` ({}) is for a model that no provider row serves",
                price.version
            ));
        }
        if lacks_output(price) {
            warnings.push(format!(
                "the price of `{vendor}/{model}` ({}) has no `output`; the cost of every answer will be unknown",
                price.version
            ));
        }
    }
}

/// A chat model answers with output; without a rate for it nothing that it does has a cost.
fn lacks_output(price: &Price) -> bool {
    let lacks = |schedule: &Schedule| {
        let steps = schedule.steps.iter().filter_map(|step| step.rates.as_ref());
        std::iter::once(&schedule.base).chain(steps).any(|rates| rates.output.is_none())
    };
    match &price.terms {
        Terms::Free => false,
        Terms::Metered(metered) => lacks(&metered.standard),
    }
}

fn of_tiers(config: &Config, book: &Book, today: Date, warnings: &mut Vec<String>) {
    for tier in Tier::ALL {
        let models = config.tiers.models(tier);
        if models.is_empty() {
            let dearer = tier.upward().find(|dearer| !config.tiers.models(*dearer).is_empty());
            let what =
                dearer.map_or("requests for it are refused".to_owned(), |dearer| format!("`{dearer}` does its work"));
            warnings.push(format!("the tier `{tier}` has no models; {what}"));
        }
        for model in models {
            let vendor = config.provider(model.provider.as_str()).map_or("", |row| row.vendor.as_str());
            match book.price(vendor, model.model.as_str(), today) {
                None => warnings
                    .push(format!("`{model}` has no price as `{vendor}/{}`; its cost will be unknown", model.model)),
                Some(price) => warnings.extend(price.deprecated.map(|day| {
                    let is = if day <= today { "was" } else { "is" };
                    format!("`{model}` {is} withdrawn by its provider on {day}")
                })),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(config: &str, prices: &str, expected: &[&str]) {
        let rows = "providers: { sim: { protocol: openai, base_url: http://127.0.0.1:9/v1, models: [\"*\"] } }\n";
        let config = crate::config::parse("f", &format!("{rows}{config}"), std::path::Path::new(""), &|_| None);
        let config = config.expect("it is good");
        let book = Book::builtin().with_user_rows(Book::parse("prices.yaml", prices).expect("they are good"));
        let now = "2026-12-01T12:00:00Z".parse().expect("it is an instant");
        assert_eq!(warnings(&config, &book, now), expected);
    }

    #[test]
    fn a_price_without_output_is_named() {
        check(
            "tiers: { frontier: [sim/m], reasoning: [sim/m], lightweight: [sim/m] }\n",
            "- { model: sim/m, usd_per_million: { input: 1 } }\n",
            &[
                "the price of `sim/m` (sim/m@prices.yaml#bd8ef745) has no `output`; the cost of every answer will be unknown",
            ],
        );
    }

    #[test]
    fn a_tier_without_models_is_named_with_the_one_that_does_its_work() {
        check(
            "tiers: { reasoning: [sim/m] }\n",
            "- { model: sim/m, price: free }\n",
            &[
                "the tier `frontier` has no models; requests for it are refused",
                "the tier `lightweight` has no models; `reasoning` does its work",
            ],
        );
    }

    #[test]
    fn a_model_that_is_or_was_withdrawn_is_named_with_the_day() {
        check(
            "tiers: { frontier: [sim/m], reasoning: [sim/m], lightweight: [sim/old] }\n",
            "- { model: sim/m, price: free, deprecated: 2027-06-30 }\n- { model: sim/old, price: free, deprecated: 2026-12-01 }\n",
            &[
                "`sim/m` is withdrawn by its provider on 2027-06-30",
                "`sim/old` was withdrawn by its provider on 2026-12-01",
            ],
        );
    }

    #[test]
    fn the_same_warning_is_told_once() {
        check(
            "tiers: { frontier: [sim/m], reasoning: [sim/m], lightweight: [sim/m] }\n",
            "[]\n",
            &["`sim/m` has no price as `sim/m`; its cost will be unknown"],
        );
    }
}
