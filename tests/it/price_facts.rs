//! The built-in prices against independent facts: every row is computed anew from public price lists.
//!
//! The lists are not part of the repository: `FARTHING_EVAL_DATA` names the folder that holds `prices.jsonl`, and
//! without it the comparison is skipped with a message.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use farthing::cost::{ApartRates, Book, Fees, Metered, Rates, Schedule, Step, Terms, TokenLimits};
use farthing::money::PicoUsdPerToken;
use jiff::civil::{Date, date};
use serde_json::{Map, Value};

/// One model's list prices by the names of the lists, such as `input_cost_per_token_flex_usd`.
type Fact = Map<String, Value>;

/// The service tiers of the book and what the lists' names of their rates end in.
const TIERS: [(&str, &str); 3] = [("batch", "_batches"), ("flex", "_flex"), ("priority", "_priority")];

/// What is billed by more than tokens of text, by a part of its name.
const BILLED_OTHERWISE: [&str; 5] = ["-tts", "-search", "-omni", "-multimodal", "/flux-"];

#[test]
fn the_built_in_prices_are_those_of_the_public_lists() {
    let Some(facts) = facts() else { return };
    let vendors: BTreeSet<&str> = facts.keys().map(|(vendor, _)| vendor.as_str()).collect();
    assert_eq!(vendors, Book::built_in_vendors().collect());
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for ((vendor, model), fact) in &facts {
        let key = format!("{vendor}/{model}");
        let expected = expected(vendor, model, fact);
        let row = Book::builtin().price(vendor, model, date(2026, 11, 30));
        let found = row.map(|price| match &price.terms {
            Terms::Free => panic!("{key} is free"),
            Terms::Metered(metered) => (*metered.clone(), price.limits, price.deprecated),
        });
        compared += usize::from(found.is_some());
        if found != expected {
            wrong.push(format!("{key}:\n  book {found:?}\n  list {expected:?}"));
        }
    }
    let rows: usize = Book::built_in_vendors().map(|vendor| Book::builtin().rows_of(vendor).count()).sum();
    assert!(wrong.is_empty(), "{} rows differ\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(compared, rows, "rows of the book that the lists do not have");
}

/// Prints what reading a vendor's prices takes: `cargo test --test it -- --ignored --nocapture what_reading`.
#[test]
#[ignore = "a measurement"]
fn what_reading_each_vendor_s_prices_takes() {
    let start = resident_kib();
    for vendor in Book::built_in_vendors() {
        let (before, resident) = (std::time::Instant::now(), resident_kib());
        let rows = Book::builtin().rows_of(vendor).count();
        println!("{vendor:10} {rows:4} rows {:9.2?} {:5} KiB", before.elapsed(), resident_kib() - resident);
    }
    println!("together {} KiB", resident_kib() - start);
}

fn resident_kib() -> i64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or_default()
}

/// All facts by vendor and model; of two about one model the later counts.
fn facts() -> Option<BTreeMap<(String, String), Fact>> {
    let Some(folder) = std::env::var_os("FARTHING_EVAL_DATA") else {
        println!("skipped: FARTHING_EVAL_DATA names no folder with `prices.jsonl`");
        return None;
    };
    let text = fs::read_to_string(Path::new(&folder).join("prices.jsonl")).expect("readable facts");
    let rows = text.lines().map(|line| serde_json::from_str::<Fact>(line).expect("a row of facts"));
    let name = |fact: &Fact, key: &str| fact[key].as_str().expect("a name").to_owned();
    Some(rows.map(|fact| ((name(&fact, "provider"), name(&fact, "model")), fact)).collect())
}

/// The row that the book must have; `None`: it must have none, so that the cost is unknown rather than too low.
fn expected(vendor: &str, model: &str, fact: &Fact) -> Option<(Metered, TokenLimits, Option<Date>)> {
    let embeds = fact["mode"] == "embedding";
    if is_left_out(vendor, model, fact) {
        return None;
    }
    let standard = block(fact, "", "").filter(|rates| embeds || rates.output.is_some())?;
    let steps = steps(fact, "");
    let inherited = steps.first().map(|step| step.above);
    let tier = |suffix: &str| {
        let base = block(fact, "", suffix).filter(|rates| embeds || rates.output.is_some())?;
        let mut steps = self::steps(fact, suffix);
        if steps.is_empty() {
            steps.extend(inherited.map(|above| Step { above, rates: None }));
        }
        Some(Schedule { base, steps })
    };
    let [batch, flex, priority] = TIERS.map(|(_, suffix)| tier(suffix));
    let fees = Fees::usual(vendor);
    let metered = Metered { standard: Schedule { base: standard, steps }, batch, flex, priority, fees };
    let tokens = |key: &str| fact.get(key).and_then(Value::as_u64).filter(|tokens| *tokens > 0);
    let output = tokens("max_output_tokens").filter(|_| !embeds);
    let limits = TokenLimits { input: tokens("max_input_tokens"), output };
    let deprecated =
        fact.get("deprecation_date").map(|day| day.as_str().and_then(|day| day.parse().ok()).expect("a day"));
    Some((metered, limits, deprecated))
}

/// Whose usage tells sound and images from text.
fn tells(vendor: &str) -> bool {
    matches!(vendor, "openai" | "azure")
}

fn is_left_out(vendor: &str, model: &str, fact: &Fact) -> bool {
    let named = BILLED_OTHERWISE.iter().any(|part| model.contains(part))
        || model.starts_with("lyria")
        || model.starts_with("together-ai-")
        || (vendor == "gemini" && model.starts_with("deep-research"))
        // A thousand times its siblings' price.
        || (vendor, model) == ("cohere", "embed-multilingual-light-v3.0");
    let charged = |key: &str| rate(fact, key).is_some();
    let draws =
        ["output_cost_per_image_token_usd", "output_cost_per_audio_token_usd", "output_cost_per_video_token_usd"];
    let heard = tells(vendor) && charged("input_cost_per_audio_token_usd");
    if heard || !model.contains("-audio") {
        let draws = draws.into_iter().any(|key| charged(key) && (key.contains("video") || !tells(vendor)));
        let dearer_images =
            !tells(vendor) && rate(fact, "input_cost_per_image_token_usd") > rate(fact, "input_cost_per_token_usd");
        return named || draws || charged("input_cost_per_image_usd") || dearer_images;
    }
    true
}

fn steps(fact: &Fact, tier: &str) -> Vec<Step> {
    let step = |thousands: u64| {
        let rates = block(fact, &format!("_above_{thousands}k_tokens"), tier).filter(|rates| rates.output.is_some())?;
        Some(Step { above: thousands * 1000, rates: Some(rates) })
    };
    [100, 200, 272].into_iter().filter_map(step).collect()
}

/// The rates of one block, gaps filled: without a price of its own a token costs what its dearer relative does.
fn block(fact: &Fact, step: &str, tier: &str) -> Option<Rates> {
    let of = |kind: &str| rate(fact, &format!("{kind}{step}{tier}_usd"));
    let of_other = |kind: &str| of(kind).filter(|_| fact["provider"].as_str().is_some_and(tells));
    let input = of("input_cost_per_token")?;
    let output = of("output_cost_per_token").filter(|_| fact["mode"] != "embedding");
    // Anthropic publishes what a write costs as so many times the input.
    let is_claude =
        fact["provider"] == "anthropic" || fact["model"].as_str().is_some_and(|name| name.contains("claude"));
    let times = |quarters: u64| is_claude.then(|| PicoUsdPerToken((input.0 * quarters).div_ceil(4)));
    let written = of("cache_creation_input_token_cost").filter(|written| *written >= input).or(times(5));
    let written_1h = of("cache_creation_input_token_cost_above_1hr").or(times(8));
    Some(Rates {
        input,
        cached_input: of("cache_read_input_token_cost").unwrap_or(input),
        cache_write_5m: written.unwrap_or(input),
        cache_write_1h: written_1h,
        output,
        reasoning: output.and(of("output_cost_per_reasoning_token").or(output)),
        apart: ApartRates {
            audio_input: of_other("input_cost_per_audio_token"),
            cached_audio_input: of_other("cache_read_input_audio_token_cost"),
            audio_output: of_other("output_cost_per_audio_token"),
            image_input: of_other("input_cost_per_image_token"),
            image_output: of_other("output_cost_per_image_token"),
        },
    })
}

/// A rate; zero and absent both mean that it is not known.
fn rate(fact: &Fact, key: &str) -> Option<PicoUsdPerToken> {
    let dollars = fact.get(key)?.as_f64().filter(|dollars| *dollars > 0.0)?;
    let pico = dollars * 1e12;
    assert!((pico - pico.round()).abs() < 1e-3, "{key} of {dollars} is no whole number of pico-dollars");
    Some(PicoUsdPerToken(pico.round() as u64))
}
