use std::sync::Arc;

use jiff::civil::{Date, date};
use proptest::prelude::*;

use super::*;
use crate::cost::{Book, Fees, Metered, Schedule, Step, TokenLimits};
use crate::money::PicoUsdPerToken;
use crate::reply::usage::Calls;

use ServiceTier::{Batch, Flex, Other, Priority, Standard};

const TODAY: Date = date(2026, 11, 22);
const NO_DISCOUNT: u32 = 0;
const USUAL: [ServiceTier; 4] = [Standard, Batch, Flex, Priority];

fn built_in(model: &str) -> Arc<Price> {
    Book::builtin().price("openai", model, TODAY).expect(model).clone()
}

/// The price of a row that says `rest` besides its model.
fn row(rest: &str) -> Price {
    let rows = Book::parse("prices.yaml", &format!("- {{ model: a/m, {rest} }}"));
    rows.unwrap_or_else(|problems| panic!("{problems:#?}")).0.remove(0).price
}

/// `(input, cached, cache write, output, reasoning)` tokens.
fn usage((input, cached, write, output, reasoning): (u64, u64, u64, u64, u64)) -> Usage {
    Usage {
        input_tokens: input,
        cached_input_tokens: cached,
        cache_write_tokens: write,
        output_tokens: output,
        reasoning_tokens: reasoning,
        ..Usage::default()
    }
}

/// At most so many tokens of input and output, none of them sound.
fn most(input_tokens: u64, output_tokens: u64) -> Most {
    Most { input_tokens, output_tokens, hears: false }
}

fn known(price: &Price, usage: &Usage, tier: ServiceTier) -> Option<NanoUsd> {
    cost_of(price, usage, tier, NO_DISCOUNT).ok()
}

#[track_caller]
fn check(model: &str, tokens: (u64, u64, u64, u64, u64), tier: ServiceTier, expected_nano: Option<i64>) {
    let cost = known(&built_in(model), &usage(tokens), tier);
    assert_eq!(cost, expected_nano.map(NanoUsd), "{model} {tokens:?} {tier:?}");
}

#[track_caller]
fn check_row(rest: &str, usage: Usage, expected_nano: Option<i64>) {
    assert_eq!(known(&row(rest), &usage, Standard), expected_nano.map(NanoUsd), "{rest} {usage:?}");
}

#[test]
fn input_and_output_cost_what_the_list_says() {
    // 812 at $0.20 a million and 150 at $1.20 a million: $0.0001624 + $0.00018.
    check("gpt-5.6-luna", (812, 0, 0, 150, 0), Standard, Some(342_400));
    check("gpt-5.6-luna", (0, 0, 0, 0, 0), Standard, Some(0));
    check("gpt-5.6-luna", (1, 0, 0, 0, 0), Standard, Some(200));
    // Embeddings: 1,000,000 at $0.02 a million.
    check("text-embedding-3-small", (1_000_000, 0, 0, 0, 0), Standard, Some(20_000_000));
}

#[test]
fn cached_tokens_cache_writes_and_reasoning_have_their_own_rates() {
    // 3,000 at 0.20, 6,000 at 0.02, 1,000 at 0.25 (1.25 times input), 500 at 1.20: 600 + 120 + 250 + 600 micro-dollars.
    check("gpt-5.6-luna", (10_000, 6_000, 1_000, 500, 200), Standard, Some(1_570_000));
    // Reasoning costs as much as other output where no rate of its own is listed.
    check("gpt-5.6-luna", (10_000, 6_000, 1_000, 500, 0), Standard, Some(1_570_000));
    let rates = "usd_per_million: { input: 1, output: 2, reasoning: 3 }";
    check_row(rates, usage((0, 0, 0, 10, 4)), Some(6 * 2_000 + 4 * 3_000));
}

#[test]
fn service_tiers_have_their_own_rates() {
    let tokens = (10_000, 6_000, 1_000, 500, 200);
    check("gpt-5.6-luna", tokens, Flex, Some(785_000));
    check("gpt-5.6-luna", tokens, Batch, Some(785_000));
    check("gpt-5.6-luna", tokens, Priority, Some(3_140_000));
}

#[test]
fn a_long_input_reprices_the_whole_request() {
    // 272,000 at $4 and 1,000 at $20; one token more: 272,001 at $8 and 1,000 at $30.
    check("gpt-5.6-sol", (272_000, 0, 0, 1_000, 0), Standard, Some(1_108_000_000));
    check("gpt-5.6-sol", (272_001, 0, 0, 1_000, 0), Standard, Some(2_206_008_000));
    // Cached tokens count towards the step: 40,000 at $8, 250,000 at $0.80, 10,000 at $10, 2,000 at $30.
    let tokens = (300_000, 250_000, 10_000, 2_000, 1_500);
    check("gpt-5.6-sol", tokens, Standard, Some(680_000_000));
    check("gpt-5.6-sol", tokens, Flex, Some(340_000_000));
    check("gpt-5.6-sol", tokens, Priority, Some(1_360_000_000));
}

#[test]
fn the_highest_step_that_is_exceeded_counts() {
    let rates = "usd_per_million: { input: 1 }, above: { 200: { input: 3 }, 100: { input: 2 } }";
    for (input, nano) in [(100, 100_000), (101, 202_000), (200, 400_000), (201, 603_000)] {
        check_row(rates, usage((input, 0, 0, 0, 0)), Some(nano));
    }
}

#[test]
fn an_unknown_price_is_none_and_never_zero() {
    check("gpt-5.6-luna", (10, 0, 0, 10, 0), Other, None);
    // No flex rates are listed for this model, and no priority rates beyond the step of that one.
    check("gpt-4.1", (10, 0, 0, 10, 0), Flex, None);
    check("gpt-5.4", (272_000, 0, 0, 0, 0), Priority, Some(1_360_000_000));
    check("gpt-5.4", (272_001, 0, 0, 0, 0), Priority, None);
    // An embedding has no output that could be priced.
    check("text-embedding-3-small", (10, 0, 0, 1, 0), Standard, None);
}

#[test]
fn a_free_price_is_zero_in_every_service_tier() {
    let free = row("price: free");
    for tier in [Standard, Batch, Flex, Priority, Other] {
        assert_eq!(known(&free, &usage((10, 5, 0, 10, 5)), tier), Some(NanoUsd::ZERO));
        assert_eq!(upper_bound(&free, most(10, 10), &[tier], NO_DISCOUNT), Some(NanoUsd::ZERO));
    }
}

#[test]
fn rates_that_are_not_stated_cost_as_much_as_their_dearer_relative() {
    let writes_1h = |tokens| Usage { input_tokens: tokens, cache_write_1h_tokens: tokens, ..Usage::default() };
    let bare = "usd_per_million: { input: 1, output: 2 }";
    check_row(bare, usage((10, 10, 0, 0, 0)), Some(10_000));
    check_row(bare, usage((10, 0, 10, 0, 0)), Some(10_000));
    // How much dearer an hour is than five minutes, nobody can tell.
    check_row(bare, writes_1h(10), None);
    check_row("usd_per_million: { input: 1, cache_write_5m: 1.25 }", writes_1h(10), None);
    check_row(bare, writes_1h(0), Some(0));
    check_row("usd_per_million: { input: 1, cache_write_1h: 2 }", writes_1h(10), Some(20_000));
    // A service tier never borrows the standard tier's cache discount: flex reads the cache at its input rate.
    let tiered = row("usd_per_million: { input: 1, cached_input: 0.1, output: 2 }, flex: { input: 0.5, output: 1 }");
    assert_eq!(known(&tiered, &usage((10, 10, 0, 0, 0)), Flex), Some(NanoUsd(5_000)));
}

/// <https://docs.claude.com/en/docs/build-with-claude/prompt-caching#pricing>
#[test]
fn anthropic_s_cache_writes_cost_so_many_times_the_input_at_every_host() {
    for key in [
        "anthropic/claude-opus-5-5",
        "bedrock/us.anthropic.claude-opus-4-1-20250805-v1:0",
        "bedrock/apac.anthropic.claude-haiku-4-5-20251001-v1:0",
        "vertex/claude-3-5-sonnet",
    ] {
        let (vendor, model) = key.split_once('/').expect(key);
        let price = Book::builtin().price(vendor, model, TODAY).expect(key);
        let of = |usage: Usage| known(price, &usage, Standard).expect(key).0;
        let read = of(Usage { input_tokens: 1000, ..Usage::default() });
        let written = of(Usage { input_tokens: 1000, cache_write_tokens: 1000, ..Usage::default() });
        let written_1h = of(Usage { input_tokens: 1000, cache_write_1h_tokens: 1000, ..Usage::default() });
        assert_eq!((written * 4, written_1h), (read * 5, read * 2), "{key}");
    }
    let user_s =
        Book::parse("p", "- { model: proxy/claude-x, usd_per_million: { input: 4, output: 9 } }").expect("a row");
    let written = Usage { input_tokens: 10, cache_write_tokens: 4, cache_write_1h_tokens: 6, ..Usage::default() };
    assert_eq!(known(&user_s.0[0].price, &written, Standard), Some(NanoUsd(4 * 5_000 + 6 * 8_000)));
}

#[test]
fn what_keeps_a_cost_from_being_known_is_named() {
    let why = |rest: &str, usage: &Usage, tier| cost_of(&row(rest), usage, tier, NO_DISCOUNT).expect_err("unknown");
    let some = usage((10, 0, 0, 10, 0));
    assert_eq!(why("usd_per_million: { input: 1, output: 2 }", &some, Flex), WhyUnknown::ServiceTier);
    assert_eq!(why("usd_per_million: { input: 1 }", &some, Standard), WhyUnknown::OutputRate);
    let long = "usd_per_million: { input: 1, output: 2 }, above: { 5: { input: 2, output: 4 } }, flex: { input: 1, output: 2 }";
    assert_eq!(why(long, &some, Flex), WhyUnknown::Length);
    let written = Usage { input_tokens: 10, cache_write_1h_tokens: 10, ..Usage::default() };
    assert_eq!(why("usd_per_million: { input: 1 }", &written, Standard), WhyUnknown::CacheWriteRate);
}

#[test]
fn figures_that_contradict_each_other_are_priced_at_the_dearest_rate() {
    let rates = "usd_per_million: { input: 4, cached_input: 1, cache_write_5m: 5, output: 2, reasoning: 3 }";
    check_row(rates, usage((10, 10, 0, 0, 0)), Some(10_000));
    check_row(rates, usage((10, 11, 0, 0, 0)), Some(50_000));
    check_row(rates, usage((10, 6, 6, 0, 0)), Some(50_000));
    check_row(rates, usage((10, u64::MAX, u64::MAX, 0, 0)), Some(50_000));
    check_row(rates, usage((0, 0, 0, 10, 11)), Some(30_000));
    check_row(rates, usage((0, 0, 0, 0, 11)), Some(0));
}

#[test]
fn discount_and_rounding_are_one_exact_step() {
    // Half a nano-dollar a token.
    let half = row("usd_per_million: { input: 0.0005 }");
    for (tokens, discount_ppm, nano) in [
        (1, 0, 0),
        (2, 0, 1),
        (3, 0, 2),
        (5, 0, 2),
        (7, 0, 4),
        (20, 150_000, 8),
        (60, 150_000, 26),
        (7, 1, 3),
        (7, 1_000_000, 0),
        (7, u32::MAX, 0),
        // 1.5 nano-dollars less a quarter; rounding before the discount would make it 2, and then 1.5, and then 2.
        (3, 250_000, 1),
    ] {
        let cost = cost_of(&half, &usage((tokens, 0, 0, 0, 0)), Standard, discount_ppm).ok();
        assert_eq!(cost, Some(NanoUsd(nano)), "{tokens} tokens less {discount_ppm} ppm");
    }
}

#[test]
fn absurd_figures_saturate() {
    let dear = row("usd_per_million: { input: 18446744073709, output: 18446744073709 }");
    let all = usage((u64::MAX, 0, 0, u64::MAX, u64::MAX));
    for discount_ppm in [0, 1, 999_999] {
        assert_eq!(cost_of(&dear, &all, Standard, discount_ppm), Ok(NanoUsd(i64::MAX)), "{discount_ppm}");
    }
    assert_eq!(upper_bound(&dear, most(u64::MAX, u64::MAX), &[Standard], 0), Some(NanoUsd(i64::MAX)));
}

#[track_caller]
fn check_bound(model: &str, (input, output): (u64, u64), tiers: &[ServiceTier], expected_nano: Option<i64>) {
    let bound = upper_bound(&built_in(model), most(input, output), tiers, NO_DISCOUNT);
    assert_eq!(bound, expected_nano.map(NanoUsd), "{model} {input} {output} {tiers:?}");
}

#[test]
fn an_upper_bound_takes_the_dearest_input_step_and_service_tier() {
    // Everything might be written to the cache: 1,000 at $0.25 and 100 at $1.20.
    check_bound("gpt-5.6-luna", (1_000, 100), &[Standard], Some(370_000));
    check_bound("gpt-5.6-luna", (1_000, 100), &[Standard, Flex], Some(370_000));
    check_bound("gpt-5.6-luna", (1_000, 100), &[Flex, Priority, Standard], Some(740_000));
    // The bound reaches beyond the step: 272,001 at $10 and 100 at $30.
    check_bound("gpt-5.6-sol", (272_001, 100), &[Standard], Some(2_723_010_000));
    check_bound("gpt-5.6-sol", (272_000, 100), &[Standard], Some(1_362_000_000));
}

#[test]
fn nothing_bounds_what_has_no_price() {
    check_bound("gpt-5.6-luna", (1_000, 100), &[], None);
    check_bound("gpt-5.6-luna", (1_000, 100), &[Standard, Other], None);
    check_bound("gpt-4.1", (1_000, 100), &[Standard, Flex], None);
    check_bound("gpt-5.4", (272_001, 100), &[Priority], None);
    check_bound("text-embedding-3-small", (1_000, 1), &[Standard], None);
    check_bound("text-embedding-3-small", (1_000, 0), &[Standard], Some(20_000));
}

fn any_rates() -> impl Strategy<Value = Rates> {
    let rate = || prop_oneof![0..200_000_000u64, Just(0), any::<u64>()].prop_map(PicoUsdPerToken);
    let outputs = proptest::option::weighted(0.9, (rate(), rate()));
    let written_1h = proptest::option::weighted(0.9, rate());
    (rate(), rate(), rate(), written_1h, outputs).prop_map(
        |(input, cached_input, cache_write_5m, cache_write_1h, outputs)| {
            let (output, reasoning) = (outputs.map(|(output, _)| output), outputs.map(|(_, reasoning)| reasoning));
            let apart = crate::cost::ApartRates::default();
            Rates { input, cached_input, cache_write_5m, cache_write_1h, output, reasoning, apart }
        },
    )
}

fn any_schedule() -> impl Strategy<Value = Schedule> {
    let steps = proptest::collection::btree_map(1..2_000u64, proptest::option::weighted(0.9, any_rates()), 0..3);
    (any_rates(), steps).prop_map(|(base, steps)| {
        let steps = steps.into_iter().map(|(above, rates)| Step { above, rates }).collect();
        Schedule { base, steps }
    })
}

fn any_price() -> impl Strategy<Value = Price> {
    let other = || proptest::option::weighted(0.8, any_schedule());
    (any_schedule(), other(), other(), other()).prop_map(|(standard, batch, flex, priority)| Price {
        version: "a/m@test".to_owned(),
        from: None,
        terms: Terms::Metered(Box::new(Metered { standard, batch, flex, priority, fees: Fees::default() })),
        limits: TokenLimits::default(),
        hours: Vec::new(),
        deprecated: None,
    })
}

fn any_tokens() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..3_000u64, 1 => any::<u64>()]
}

/// Mostly consistent, sometimes not: parts are drawn freely.
fn any_usage() -> impl Strategy<Value = Usage> {
    let parts = [any_tokens(), any_tokens(), any_tokens(), any_tokens(), any_tokens(), any_tokens()];
    (parts, any::<bool>()).prop_map(|([uncached, cached, write, write_1h, visible, reasoning], consistent)| {
        let whole = |parts: &[u64]| parts.iter().fold(0u64, |sum, part| sum.saturating_add(*part));
        Usage {
            input_tokens: if consistent { whole(&[uncached, cached, write, write_1h]) } else { uncached },
            cached_input_tokens: cached,
            cache_write_tokens: write,
            cache_write_1h_tokens: write_1h,
            output_tokens: if consistent { whole(&[visible, reasoning]) } else { visible },
            reasoning_tokens: reasoning,
            ..Usage::default()
        }
    })
}

fn any_discount() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), 0..=1_000_000u32, any::<u32>()]
}

fn any_tiers() -> impl Strategy<Value = Vec<ServiceTier>> {
    proptest::sample::subsequence(USUAL.to_vec(), 1..=USUAL.len())
}

/// A model that hears and speaks, sees and draws, at 2 and 8 dollars a million for text.
const SPEAKS: &str = "usd_per_million: { input: 2, cached_input: 1, output: 8, audio_input: 32, cached_audio_input: 0.5, \
                      audio_output: 64, image_input: 10, image_output: 40 }";

#[track_caller]
fn check_apart(rest: &str, cached: u64, apart: Apart, expected: Result<i64, WhyUnknown>) {
    let usage = Usage { apart, ..usage((1000, cached, 0, 500, 0)) };
    let cost = cost_of(&row(rest), &usage, Standard, NO_DISCOUNT);
    assert_eq!(cost, expected.map(|dollars| NanoUsd(dollars * 1000)), "{rest} {usage:?}");
}

#[test]
fn sound_and_images_have_rates_of_their_own() {
    let heard = Apart { audio_input_tokens: 400, ..Apart::default() };
    // 600 × $2 + 400 × $32 + 500 × $8, a million.
    check_apart(SPEAKS, 0, heard, Ok(1_200 + 12_800 + 4_000));
    let spoken = Apart { audio_output_tokens: 300, ..Apart::default() };
    check_apart(SPEAKS, 0, spoken, Ok(2_000 + 19_200 + 1_600));
    let seen = Apart { image_input_tokens: 400, image_output_tokens: 500, ..Apart::default() };
    check_apart(SPEAKS, 0, seen, Ok(1_200 + 4_000 + 20_000));
    // 250 cached, of which 100 were sound: 350 × $2 + 150 × $1 + 400 × $32 + 100 × $0.50.
    let cached = Apart { audio_input_tokens: 500, cached_audio_input_tokens: Some(100), ..Apart::default() };
    check_apart(SPEAKS, 250, cached, Ok(700 + 150 + 12_800 + 50 + 4_000));
    // A cached rate that is not stated is no discount.
    check_apart(&SPEAKS.replace("cached_audio_input: 0.5, ", ""), 250, cached, Ok(700 + 150 + 16_000 + 4_000));
}

#[test]
fn sound_without_a_rate_is_unknown_and_images_are_text_without_one() {
    const TEXT: &str = "usd_per_million: { input: 2, cached_input: 1, output: 8 }";
    let unknown = Err(WhyUnknown::OtherTokens);
    check_apart(TEXT, 0, Apart { audio_input_tokens: 1, ..Apart::default() }, unknown);
    check_apart(TEXT, 0, Apart { audio_output_tokens: 1, ..Apart::default() }, unknown);
    check_apart(TEXT, 0, Apart { image_output_tokens: 1, ..Apart::default() }, unknown);
    check_apart(TEXT, 100, Apart { image_input_tokens: 400, ..Apart::default() }, Ok(1_800 + 100 + 4_000));
    // Nobody said what of the sound, or of the dearer images, was read from the cache.
    check_apart(SPEAKS, 100, Apart { audio_input_tokens: 400, ..Apart::default() }, unknown);
    check_apart(SPEAKS, 100, Apart { image_input_tokens: 400, ..Apart::default() }, unknown);
}

#[test]
fn a_bound_covers_sound_where_some_may_be_heard_and_whatever_may_be_made() {
    let price = row(SPEAKS);
    let bound = |hears| upper_bound(&price, Most { hears, ..most(1000, 500) }, &[Standard], NO_DISCOUNT);
    assert_eq!(bound(false), Some(NanoUsd(10_000_000 + 32_000_000)));
    assert_eq!(bound(true), Some(NanoUsd(32_000_000 + 32_000_000)));
    assert!(price.knows_sound(&[Standard]) && !price.knows_sound(&[Standard, Flex]));
}

#[test]
fn calls_of_tools_have_fees_of_their_own_and_one_that_is_not_known_makes_the_cost_unknown() {
    let price = |text: &str| Book::parse("prices.yaml", text).expect(text).0.remove(0).price;
    let called = |calls: [u64; 4]| {
        let apart = Apart { calls: Calls::of(calls), ..Apart::NONE };
        Usage { input_tokens: 1_000, output_tokens: 10, apart, ..Usage::default() }
    };
    let stated = price(
        "- { model: a/m, usd_per_million: { input: 1, output: 10 }, fees: { web_search: 0.01, file_search: 0.0025 } }",
    );
    for (calls, cost) in [
        ([0, 0, 0, 0], Ok(1_100_000)),
        ([3, 0, 0, 2], Ok(1_100_000 + 30_000_000 + 5_000_000)),
        ([3, 1, 0, 0], Err(WhyUnknown::Fees)),
        ([0, 0, 1, 0], Err(WhyUnknown::Fees)),
    ] {
        assert_eq!(cost_of(&stated, &called(calls), Standard, 0), cost.map(NanoUsd), "{calls:?}");
    }
    assert_eq!(
        cost_of(&stated, &called([1, 0, 0, 0]), Standard, 150_000),
        Ok(NanoUsd(9_435_000)),
        "a discount is off all of it"
    );
    // Anthropic's own searches are ten dollars a thousand, what it fetches is tokens alone; at other hosts nobody knows.
    let anthropic = price("- { model: anthropic/claude-x, usd_per_million: { input: 1, output: 10 } }");
    assert_eq!(cost_of(&anthropic, &called([2, 5, 0, 0]), Standard, 0), Ok(NanoUsd(21_100_000)));
    let elsewhere = price("- { model: bedrock/claude-x, usd_per_million: { input: 1, output: 10 } }");
    assert_eq!(cost_of(&elsewhere, &called([2, 0, 0, 0]), Standard, 0), Err(WhyUnknown::Fees));
    assert_eq!(cost_of(&price("- { model: a/m, price: free }"), &called([9, 9, 9, 9]), Standard, 0), Ok(NanoUsd::ZERO));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_cost_is_above_its_bound(
        price in any_price(),
        usage in any_usage(),
        (more_input, more_output) in (any_tokens(), any_tokens()),
        tiers in any_tiers(),
        discount_ppm in any_discount(),
    ) {
        let most = (usage.input_tokens.saturating_add(more_input), usage.output_tokens.saturating_add(more_output));
        let high = upper_bound(&price, self::most(most.0, most.1), &tiers, discount_ppm);
        for &tier in &tiers {
            let cost = cost_of(&price, &usage, tier, discount_ppm);
            if let Some(high) = high {
                let holds = cost.map_or_else(|why| why == WhyUnknown::CacheWriteRate, |cost| cost <= high);
                prop_assert!(holds, "{cost:?} above {high}");
            }
        }
    }

    #[test]
    fn no_cost_of_sound_and_images_is_above_its_bound(usage in any_usage(), parts in any::<[u16; 4]>(), cached in any::<Option<u8>>()) {
        let [heard, seen, spoken, drawn] = parts.map(u64::from);
        let apart = Apart {
            calls: Calls::NONE,
            audio_input_tokens: heard.min(usage.input_tokens),
            cached_audio_input_tokens: cached.map(u64::from),
            audio_output_tokens: spoken.min(usage.output_tokens),
            image_input_tokens: seen.min(usage.input_tokens.saturating_sub(heard)),
            image_output_tokens: drawn.min(usage.output_tokens.saturating_sub(spoken)),
        };
        let usage = Usage { apart, cache_write_1h_tokens: 0, ..usage };
        let most = Most { hears: true, ..most(usage.input_tokens, usage.output_tokens) };
        let (cost, bound) = (known(&row(SPEAKS), &usage, Standard), upper_bound(&row(SPEAKS), most, &[Standard], 0));
        prop_assert!(cost <= bound, "{cost:?} above {bound:?}");
    }

    #[test]
    fn an_undiscounted_cost_is_the_rounded_sum_of_tokens_times_rates(
        rates in any_rates(),
        parts in [0..1_000_000u64, 0..1_000_000u64, 0..1_000_000u64, 0..1_000_000u64, 0..1_000_000u64, 0..1_000_000u64],
    ) {
        let [uncached, cached, write, write_1h, visible, reasoning] = parts;
        let usage = Usage {
            input_tokens: uncached + cached + write + write_1h,
            cached_input_tokens: cached,
            cache_write_tokens: write,
            cache_write_1h_tokens: write_1h,
            output_tokens: visible + reasoning,
            reasoning_tokens: reasoning,
            ..Usage::default()
        };
        let standard = Schedule { base: rates, steps: Vec::new() };
        let terms = Terms::Metered(Box::new(Metered { standard, batch: None, flex: None, priority: None, fees: Fees::default() }));
        let price = Price { terms, ..row("price: free") };
        let cost = known(&price, &usage, Standard);
        let Some(rate_1h) = rates.cache_write_1h.or((write_1h == 0).then_some(PicoUsdPerToken(0))) else {
            prop_assert_eq!(cost, None);
            return Ok(());
        };
        let (Some(output), Some(reasoning_rate)) = (rates.output, rates.reasoning) else {
            prop_assert_eq!(cost.is_some(), usage.output_tokens == 0);
            return Ok(());
        };
        let terms = [
            (uncached, rates.input),
            (cached, rates.cached_input),
            (write, rates.cache_write_5m),
            (write_1h, rate_1h),
            (visible, output),
            (reasoning, reasoning_rate),
        ];
        let sum: u128 = terms.iter().map(|(tokens, rate)| u128::from(*tokens) * u128::from(rate.0)).sum();
        prop_assert_eq!(cost, Some(PicoUsd(sum).round()));
    }

    #[test]
    fn a_larger_discount_never_costs_more(
        price in any_price(), usage in any_usage(), a in any_discount(), b in any_discount(),
    ) {
        let cost = |discount_ppm| cost_of(&price, &usage, Standard, discount_ppm);
        prop_assert!(cost(a.max(b)) <= cost(a.min(b)));
    }
}

#[test]
fn the_hour_of_arrival_decides_where_a_row_tells_hours_apart() {
    let rows = Book::parse(
        "prices.yaml",
        "- { model: a/m, usd_per_million: { input: 4, output: 8 }, flex: { input: 2, output: 4 }, \
            hours: { 16:30-00:30: { input: 1, cached_input: 0.1, output: 2 }, 01:00-02:00: { input: 3, output: 6 } } }\n\
         - { model: a/m, from: 2026-12-01, usd_per_million: { input: 5, output: 9 } }",
    );
    let book = Book::default().with_user_rows(rows.expect("good rows"));
    let at = |arrived: &str, tier| {
        let price = book.price_at("a", "m", &arrived.parse().expect("a time")).expect("a price");
        known(price, &usage((1000, 0, 0, 1000, 0)), tier).map(|cost| cost.0 / 1000)
    };
    // UTC counts, not the zone in which days begin: 17:29 in Berlin is 16:29.
    for (arrived, cost) in [
        ("2026-11-22T16:29:59+00:00[UTC]", 12_000),
        ("2026-11-22T16:30:00+00:00[UTC]", 3_000),
        ("2026-11-22T17:29:59+01:00[Europe/Berlin]", 12_000),
        ("2026-11-22T17:30:00+01:00[Europe/Berlin]", 3_000),
        ("2026-11-23T00:29:59+00:00[UTC]", 3_000),
        ("2026-11-23T00:30:00+00:00[UTC]", 12_000),
        ("2026-11-23T01:59:59+00:00[UTC]", 9_000),
        ("2026-11-23T02:00:00+00:00[UTC]", 12_000),
        // The day is that of the zone.
        ("2026-12-01T00:10:00+01:00[Europe/Berlin]", 14_000),
    ] {
        assert_eq!(at(arrived, Standard), Some(cost), "{arrived}");
    }
    assert_eq!(at("2026-11-22T20:00:00+00:00[UTC]", Flex), Some(6_000), "other service tiers cost the same all day");
    let at_night = book.price_at("a", "m", &"2026-11-22T20:00:00+00:00[UTC]".parse().expect("a time"));
    let version = &at_night.expect("a price").version;
    assert!(version.starts_with("a/m@prices.yaml#") && version.ends_with("/16:30-00:30"), "{version}");
}
