use super::*;
use crate::ids::{ModelId, ProviderId};

/// Output costs 20 (sol) and 1.20 (luna) dollars a million tokens, input 4 and 0.20, cached input a tenth of that.
const SOL: &str = "gpt-5.6-sol";
const LUNA: &str = "gpt-5.6-luna";

fn model(provider: &str, name: &str) -> ModelRef {
    ModelRef { provider: ProviderId::from(provider), model: ModelId::from(name) }
}

fn priced(provider: &str, name: &str) -> Priced {
    let day = jiff::civil::date(2026, 11, 28);
    Priced { model: model(provider, name), price: Book::builtin().price("openai", name, day).cloned(), discount_ppm: 0 }
}

const USAGE: Usage = Usage {
    input_tokens: 1_000,
    cached_input_tokens: 0,
    cache_write_tokens: 0,
    cache_write_1h_tokens: 0,
    output_tokens: 100,
    reasoning_tokens: 0,
    apart: crate::reply::usage::Apart::NONE,
};

fn answered<'a>(target: &'a ModelRef, of: &Priced) -> Answered<'a> {
    let cost = of.cost(&USAGE, ServiceTier::Standard).expect("a price");
    Answered { target, usage: USAGE, tier: ServiceTier::Standard, cost, uncached: Some(cost), intact: None }
}

fn known(comparison: &Comparison<'_>, spent: i64) -> (i64, Vec<(&'static str, i64)>) {
    let (saved, causes) = parts(comparison, CostInterval::exactly(NanoUsd(spent))).expect("all of it is known");
    assert_eq!(causes.iter().map(|(_, amount)| amount.0).sum::<i64>(), saved.0);
    (saved.0, causes.into_iter().filter(|(_, amount)| amount.0 != 0).map(|(cause, amount)| (cause, amount.0)).collect())
}

#[test]
fn a_cheaper_model_saves_by_route() {
    let (luna, target) = (priced("openai", LUNA), model("openai", LUNA));
    let beside = Beside::new(priced("openai", SOL), Some(luna.clone()), Met::default());
    let found = beside.compare(answered(&target, &luna), CostInterval::NOTHING, &Chain::default());
    assert_eq!((found.model, found.baseline), (Some("openai/gpt-5.6-sol"), Some(NanoUsd(6_000_000))));
    assert_eq!(known(&found, 320_000), (5_680_000, vec![("route", 5_680_000)]));
}

#[test]
fn the_model_that_was_asked_for_saves_nothing_whatever_it_cost() {
    let (sol, target) = (priced("openai", SOL), model("openai", SOL));
    let beside = Beside::new(sol.clone(), Some(sol.clone()), Met::default());
    let clipped = Answered { cost: NanoUsd(7), ..answered(&target, &sol) };
    let found = beside.compare(clipped, CostInterval::NOTHING, &Chain::default());
    assert_eq!(known(&found, 7), (0, vec![]));
}

#[test]
fn a_dearer_fallback_and_attempts_that_gave_nothing_take_off_what_routing_saved() {
    let (luna, sol, target) = (priced("openai", LUNA), priced("openai", SOL), model("backup", SOL));
    let beside = Beside::new(sol.clone(), Some(luna), Met::default());
    let before = CostInterval::exactly(NanoUsd(1_000));
    let found = beside.compare(answered(&target, &sol), before, &Chain::default());
    let expected = vec![("route", 5_680_000), ("fallback", -5_680_000), ("retry", -1_000)];
    assert_eq!(known(&found, 6_001_000), (-1_000, expected));
}

#[test]
fn what_is_not_known_is_not_made_up() {
    let (luna, target) = (priced("openai", LUNA), model("openai", LUNA));
    let of = |baseline: Priced, planned: Option<Priced>, before: CostInterval, spent: CostInterval| {
        let beside = Beside::new(baseline, planned, Met::default());
        let found = beside.compare(answered(&target, &luna), before, &Chain::default());
        assert_eq!(found.provider_cache, Some(NanoUsd::ZERO));
        assert!(found.baseline.is_none() || found.fallback.is_some());
        parts(&found, spent)
    };
    let (sol, nobody) = (priced("openai", SOL), Priced { price: None, ..priced("openai", SOL) });
    let (nothing, open) = (CostInterval::NOTHING, CostInterval::default());
    assert!(of(sol.clone(), Some(luna.clone()), nothing, nothing).is_some());
    assert!(of(nobody.clone(), Some(luna.clone()), nothing, nothing).is_none());
    assert!(of(sol.clone(), Some(nobody), nothing, nothing).is_none());
    assert!(of(sol.clone(), None, nothing, nothing).is_none());
    assert!(of(sol.clone(), Some(luna.clone()), open, nothing).is_none());
    assert!(of(sol, Some(luna.clone()), nothing, open).is_none());
}
