use super::rises::Rise;
use super::warm::Warm;
use super::*;
use crate::ids::{ModelId, ProviderId};
use crate::money::NanoUsd;
use crate::reply::usage::Usage;

fn model(name: &str) -> ModelRef {
    let (provider, model) = name.split_once('/').unwrap();
    ModelRef { provider: ProviderId::from(provider), model: ModelId::from(model) }
}

/// The reasoning tier is empty.
fn tiers() -> Tiers {
    let (frontier, lightweight) = (vec![model("a/big"), model("b/big")], vec![model("a/small")]);
    Tiers { frontier, lightweight, ..Tiers::default() }
}

fn full() -> Tiers {
    Tiers { reasoning: vec![model("a/middle")], ..tiers() }
}

fn verdict(tier: Tier, floor: Option<Tier>) -> Verdict {
    Verdict { tier, floor, reason: Reason::of(Why::Task), task: Some(0) }
}

type Expected<'a> = Result<(&'a [&'a str], Option<Tier>, &'a str), NoPlan>;

#[track_caller]
fn check_plan(plan: Result<Plan, NoPlan>, expected: Expected<'_>) {
    let names = |plan: &Plan| plan.targets.iter().map(ToString::to_string).collect::<Vec<_>>();
    let found = plan.map(|plan| (names(&plan), plan.tier, plan.reason.to_string()));
    assert_eq!(
        found,
        expected.map(|(names, tier, reason)| (
            names.iter().map(ToString::to_string).collect(),
            tier,
            reason.to_owned()
        ))
    );
}

#[track_caller]
fn check(asked: Asked, verdict: Option<&Verdict>, allowed: Allowed<'_>, expected: Expected<'_>) {
    check_plan(choose(asked, verdict, None, &tiers(), allowed), expected);
}

#[test]
fn what_is_left_to_us_goes_where_the_policy_says() {
    let (light, all) = (verdict(Tier::Lightweight, None), Allowed::default());
    check(Asked::Auto, Some(&light), all, Ok((&["a/small"], Some(Tier::Lightweight), "task")));
    check(Asked::Auto, None, all, Ok((&["a/big", "b/big"], Some(Tier::Frontier), "ambiguous")));
}

#[test]
fn a_tier_without_models_falls_upward_unless_the_client_named_it() {
    let middle = verdict(Tier::Reasoning, None);
    let expected = "task; reasoning has no models";
    check(Asked::Auto, Some(&middle), Allowed::default(), Ok((&["a/big", "b/big"], Some(Tier::Frontier), expected)));
    check(Asked::Tier(Tier::Reasoning), None, Allowed::default(), Err(NoPlan::EmptyTier(Tier::Reasoning)));
    let only_light = Tiers { frontier: vec![], ..tiers() };
    check_plan(
        choose(Asked::Auto, Some(&middle), None, &only_light, Allowed::default()),
        Err(NoPlan::EmptyTier(Tier::Reasoning)),
    );
}

#[test]
fn a_tier_that_is_not_granted_falls_upward_and_never_down() {
    let light = verdict(Tier::Lightweight, None);
    let frontier = Allowed { tiers: Some(&[Tier::Frontier]), ..Allowed::default() };
    let expected = "task; lightweight is not granted; reasoning is not granted";
    check(Asked::Auto, Some(&light), frontier, Ok((&["a/big", "b/big"], Some(Tier::Frontier), expected)));
    let small = Allowed { tiers: Some(&[Tier::Lightweight]), ..Allowed::default() };
    check(Asked::Auto, Some(&verdict(Tier::Frontier, None)), small, Err(NoPlan::TierNotGranted(Tier::Frontier)));
}

#[test]
fn a_pin_beats_the_classifier_but_not_protected_work() {
    let (pin, all) = (Asked::Tier(Tier::Lightweight), Allowed::default());
    let light = Ok((&["a/small"][..], Some(Tier::Lightweight), "pinned-tier"));
    check(pin.clone(), Some(&verdict(Tier::Frontier, None)), all, light);
    let guarded = verdict(Tier::Frontier, Some(Tier::Frontier));
    let expected = "task; protected work, so the pin to lightweight is overruled";
    check(pin.clone(), Some(&guarded), all, Ok((&["a/big", "b/big"], Some(Tier::Frontier), expected)));
    let small = Allowed { tiers: Some(&[Tier::Lightweight]), ..Allowed::default() };
    check(pin.clone(), Some(&guarded), small, Err(NoPlan::TierNotGranted(Tier::Frontier)));
    // A pin to something dearer is the client's affair.
    let floor = verdict(Tier::Lightweight, Some(Tier::Lightweight));
    check(pin, Some(&floor), all, light);
    let dearer = Ok((&["a/big", "b/big"][..], Some(Tier::Frontier), "pinned-tier"));
    check(Asked::Tier(Tier::Frontier), Some(&floor), all, dearer);
}

#[test]
fn grants_of_tiers_bind_exact_names_unless_models_widen_them() {
    let light = Allowed { tiers: Some(&[Tier::Lightweight]), ..Allowed::default() };
    let exact = |name| Asked::Exact(vec![model(name)]);
    check(Asked::Auto, None, light, Err(NoPlan::TierNotGranted(Tier::Frontier)));
    check(exact("a/big"), None, light, Err(NoPlan::ModelNotGranted));
    check(exact("a/small"), None, light, Ok((&["a/small"], Some(Tier::Lightweight), "exact-model")));
    let widened = Allowed { model: Some(&|m: &ModelRef| m.model.as_str() == "other"), ..light };
    check(exact("a/other"), None, widened, Ok((&["a/other"], None, "exact-model")));
}

#[test]
fn a_team_is_never_sent_to_a_provider_that_it_may_not_use() {
    let only_b = Allowed { provider: Some(&|m: &ModelRef| m.provider.as_str() == "b"), ..Allowed::default() };
    check(Asked::Auto, None, only_b, Ok((&["b/big"], Some(Tier::Frontier), "ambiguous")));
    check(Asked::Tier(Tier::Lightweight), None, only_b, Err(NoPlan::NoProviderForTeam));
    let expected = "task; the team may use no provider of lightweight; reasoning has no models";
    let light = verdict(Tier::Lightweight, None);
    check(Asked::Auto, Some(&light), only_b, Ok((&["b/big"], Some(Tier::Frontier), expected)));
}

/// A tenth for what is cached; ten times as dear from tier to tier.
fn price(model: &ModelRef, usage: &Usage) -> Option<NanoUsd> {
    let rate = match model.model.as_str() {
        "big" => 100,
        "middle" => 50,
        "small" => 1,
        _ => return None,
    };
    let tokens = 10 * (usage.input_tokens - usage.cached_input_tokens) + usage.cached_input_tokens;
    i64::try_from((tokens + 60 * usage.output_tokens) * rate).ok().map(NanoUsd)
}

#[track_caller]
fn check_step(held: Held, wanted: Tier, tiers: &Tiers, expected: (&[&str], Tier, &str)) {
    let step = Step { prompt_tokens: 20_000, output_tokens: 256 };
    let standing = Standing { held: &held, step, price: &price };
    let plan = choose(Asked::Auto, Some(&verdict(wanted, None)), Some(standing), tiers, Allowed::default());
    check_plan(plan, Ok((expected.0, Some(expected.1), expected.2)));
}

fn on(tier: Tier, name: &str, tokens: u64) -> Held {
    let mut models = Held::default().models;
    models[tier as usize] = Some(Warm { model: model(name), tokens });
    Held { tier: Some(tier), models, ..Held::default() }
}

#[track_caller]
fn check_held(held: (Tier, &str, u64), wanted: Tier, expected: (&[&str], Tier, &str)) {
    check_step(on(held.0, held.1, held.2), wanted, &full(), expected);
}

#[test]
fn a_conversation_moves_up_freely_and_down_only_where_that_pays() {
    let (light, middle, big) = (Tier::Lightweight, Tier::Reasoning, Tier::Frontier);
    check_held((light, "a/small", 19_000), big, (&["a/big", "b/big"], big, "task"));
    let stays = "task; reasoning would do, but a cold prefix costs more than it saves";
    check_held((big, "a/big", 19_000), middle, (&["a/big", "b/big"], big, stays));
    check_held((big, "a/big", 19_000), light, (&["a/small"], light, "task"));
    check_held((big, "a/big", 0), middle, (&["a/middle"], middle, "task"));
}

#[test]
fn a_conversation_keeps_the_model_of_its_tier() {
    let big = Tier::Frontier;
    let keeps = "task; stays on the model that answered last, which costs no more here";
    check_held((big, "b/big", 19_000), big, (&["b/big", "a/big"], big, keeps));
    check_held((big, "b/big", 0), big, (&["b/big", "a/big"], big, keeps));
    check_held((big, "a/big", 19_000), big, (&["a/big", "b/big"], big, "task"));
    // A model that has left the tier is not stayed on.
    check_held((big, "c/big", 19_000), Tier::Reasoning, (&["a/middle"], Tier::Reasoning, "task"));
}

#[test]
fn a_conversation_leaves_a_dearer_fallback_for_the_first_model_of_its_tier() {
    let light = Tier::Lightweight;
    let tiers = Tiers { lightweight: vec![model("a/small"), model("b/big")], ..full() };
    let back = "task; back to the first model of the tier, which costs less here";
    check_step(on(light, "b/big", 19_000), light, &tiers, (&["a/small", "b/big"], light, back));
    // A tenth of half the price is less than all of it.
    let tiers = Tiers { lightweight: vec![model("a/middle"), model("b/big")], ..full() };
    let keeps = "task; stays on the model that answered last, which costs no more here";
    check_step(on(light, "b/big", 19_000), light, &tiers, (&["b/big", "a/middle"], light, keeps));
    check_step(on(light, "b/big", 0), light, &tiers, (&["a/middle", "b/big"], light, back));
}

#[test]
fn a_conversation_begins_where_such_ones_mostly_go_on_to_if_its_prefix_is_dear() {
    let (light, middle, big) = (Tier::Lightweight, Tier::Reasoning, Tier::Frontier);
    let rising = |ppm, from| Held { rise: Some(Rise { from, to: big, ppm }), ..Held::default() };
    let above = "task; reasoning would do, but most that begins there moves up, and would pay for its prefix twice";
    check_step(rising(900_000, middle), middle, &full(), (&["a/big", "b/big"], big, above));
    check_step(rising(500_000, middle), middle, &full(), (&["a/middle"], middle, "task"));
    check_step(rising(900_000, light), light, &full(), (&["a/small"], light, "task"));
    // Where it has begun, its prefix is paid for.
    let held = Held { rise: rising(900_000, middle).rise, ..on(middle, "a/middle", 19_000) };
    check_step(held, middle, &full(), (&["a/middle"], middle, "task"));
    // A tier that is not there is nobody's to begin in.
    let without = Tiers { frontier: vec![], ..full() };
    check_step(rising(900_000, middle), middle, &without, (&["a/middle"], middle, "task"));
}
