use jiff::civil::date;

use super::*;
use crate::cost::fees_of;
use crate::money::{NanoUsd, PicoUsdPerToken};
use crate::reply::usage::Calls;

use super::super::price::Terms;

fn rows(text: &str) -> Rows {
    Book::parse("prices.yaml", text).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn input_of(price: &Price) -> Option<PicoUsdPerToken> {
    match &price.terms {
        Terms::Free => None,
        Terms::Metered(metered) => Some(metered.standard.base.input),
    }
}

#[track_caller]
fn check(book: &Book, key: &str, at: Date, expected_micro_usd_per_million: Option<u64>) {
    let price = key.split_once('/').and_then(|(vendor, model)| book.price(vendor, model, at));
    let input = price.and_then(|price| input_of(price));
    assert_eq!(input, expected_micro_usd_per_million.map(PicoUsdPerToken), "{key} on {at}");
}

const TODAY: Date = date(2026, 11, 22);

#[test]
fn every_built_in_row_reads() {
    let book = Book::builtin();
    let mut count = 0;
    for vendor in Book::built_in_vendors() {
        for (model, price) in book.rows_of(vendor) {
            assert_eq!(price.version, format!("{vendor}/{model}@builtin-2026-11"));
            assert_eq!(price.from, None, "{model}");
            count += 1;
        }
    }
    assert_eq!(count, 1227);
}

#[test]
fn a_built_in_file_holds_rows_of_its_own_vendor_only() {
    for file in &BUILT_IN {
        let rows = parse::rows(Origin::BuiltIn(EDITION), file.text).unwrap_or_else(|problems| panic!("{problems:#?}"));
        for row in rows.0 {
            assert_eq!(row.vendor, file.vendor, "{}", row.model);
        }
    }
}

#[test]
fn the_built_in_book_holds_the_published_rates() {
    for (key, input) in [
        ("openai/gpt-5.6-luna", 200_000),
        ("openai/gpt-5.6-sol", 4_000_000),
        ("openai/gpt-5.6-cyber", 12_500_000),
        ("openai/gpt-4.1-nano", 100_000),
        ("openai/text-embedding-3-small", 20_000),
        ("anthropic/claude-opus-5-5", 4_000_000),
        ("gemini/gemini-2.5-pro", 1_250_000),
        ("deepseek/deepseek-v4-pro", 1_320_000),
        ("xai/grok-4.7", 2_000_000),
        ("groq/openai/gpt-oss-120b", 150_000),
        ("bedrock/global.anthropic.claude-sonnet-5-5", 2_000_000),
    ] {
        check(Book::builtin(), key, TODAY, Some(input));
    }
}

#[test]
fn built_in_cache_writes_from_gpt_5_6_cost_a_quarter_more_than_input() {
    for model in ["gpt-5.6", "gpt-5.6-sol", "gpt-5.6-terra", "gpt-5.6-luna", "gpt-5.6-cyber", "gpt-6-sol"] {
        let price = Book::builtin().price("openai", model, TODAY).expect(model);
        let Terms::Metered(metered) = &price.terms else { panic!("{model} is free") };
        let rates = &metered.standard.base;
        assert_eq!(rates.cache_write_5m.0 * 4, rates.input.0 * 5, "{model}");
    }
}

#[test]
fn a_vendor_s_own_kinds_of_rates_are_in_its_rows() {
    let rates = |vendor: &str, model: &str, input_tokens: u64| {
        let price = Book::builtin().price(vendor, model, TODAY).expect(model);
        let Terms::Metered(metered) = &price.terms else { panic!("{model} is free") };
        *metered.standard.rates(input_tokens).expect("a rate")
    };
    let claude = rates("anthropic", "claude-sonnet-5", 1);
    assert_eq!(
        (claude.cache_write_5m.0 * 4, claude.cache_write_1h),
        (claude.input.0 * 5, Some(PicoUsdPerToken(claude.input.0 * 2)))
    );
    let (short, long) = (rates("gemini", "gemini-2.5-pro", 200_000), rates("gemini", "gemini-2.5-pro", 200_001));
    assert_eq!((short.input.0 * 2, short.cached_input.0 * 2), (long.input.0, long.cached_input.0));
    let deepseek = rates("deepseek", "deepseek-flash", 1);
    assert_eq!(deepseek.cached_input.0 * 50, deepseek.input.0);
}

#[test]
fn a_name_that_is_not_in_the_book_has_no_price() {
    for key in [
        "openai/gpt-5.6-luna-2026-03-05",
        "openai/gpt-5.6-lun",
        "openai/GPT-5.6-luna",
        "openai/gpt-audio-2",
        "azure/gpt-5.6-lun",
        "gpt-5.6-luna",
        "openai/",
        "/",
        "",
    ] {
        check(Book::builtin(), key, TODAY, None);
    }
}

#[test]
fn the_row_in_force_is_the_latest_that_has_begun() {
    let book = Book::default().with_user_rows(rows(
        "- { model: a/m, from: 2026-12-01, usd_per_million: { input: 3 } }
- { model: a/m, usd_per_million: { input: 1 } }
- { model: a/m, from: 2026-11-01, usd_per_million: { input: 2 } }
- { model: a/later, from: 2026-12-01, usd_per_million: { input: 9 } }",
    ));
    for (at, input) in [
        (date(1999, 1, 1), 1),
        (date(2026, 10, 31), 1),
        (date(2026, 11, 1), 2),
        (date(2026, 11, 30), 2),
        (date(2026, 12, 1), 3),
        (date(2050, 1, 1), 3),
    ] {
        check(&book, "a/m", at, Some(input * 1_000_000));
    }
    check(&book, "a/later", date(2026, 11, 30), None);
}

#[test]
fn a_user_row_replaces_the_row_of_the_same_model_and_date_only() {
    let book = Book::builtin().with_user_rows(rows(
        "- { model: openai/gpt-5.6-luna, usd_per_million: { input: 7, output: 8 } }
- { model: openai/gpt-5.6-sol, from: 2026-12-01, usd_per_million: { input: 5, output: 6 } }
- { model: acme/org/tiny, price: free }",
    ));
    check(&book, "openai/gpt-5.6-luna", TODAY, Some(7_000_000));
    check(&book, "openai/gpt-5.6-sol", TODAY, Some(4_000_000));
    check(&book, "openai/gpt-5.6-sol", date(2026, 12, 1), Some(5_000_000));
    check(Book::builtin(), "openai/gpt-5.6-luna", TODAY, Some(200_000));
    let mut written: Vec<_> = book.user_rows().map(|(vendor, model, _)| format!("{vendor}/{model}")).collect();
    written.sort();
    assert_eq!(written, ["acme/org/tiny", "openai/gpt-5.6-luna", "openai/gpt-5.6-sol"]);
    // The later row stands beside the built-in one, and the other in its place.
    assert_eq!(book.rows_of("openai").count(), Book::builtin().rows_of("openai").count() + 1);
    let free = book.price("acme", "org/tiny", TODAY).expect("a row of the user");
    assert_eq!(free.terms, Terms::Free);
}

#[test]
fn a_users_row_that_is_edited_in_place_is_a_new_version() {
    let version = |text: &str| {
        let rows = Book::parse("/etc/farthing/prices.yaml", text).expect("valid rows");
        rows.0[0].price.version.clone()
    };
    let before = version("- { model: a/m, from: 2026-11-01, usd_per_million: { input: 1, output: 2 } }");
    let again =
        version("# a comment\n- { from: 2026-11-01, model: a/m, usd_per_million: { output: 2.0, input: '1' } }");
    let after = version("- { model: a/m, from: 2026-11-01, usd_per_million: { input: 1, output: 2.1 } }");
    assert!(before.starts_with("a/m@prices.yaml:2026-11-01#"), "{before}");
    assert_eq!(before, again);
    assert_ne!(before, after);
}

#[test]
fn a_version_that_a_row_names_is_found_whatever_day_it_is() {
    let text = "- { model: acme/x, usd_per_million: { input: 1, output: 2 }, fees: { web_search: 0.01 } }
- { model: acme/x, from: 2026-11-01, usd_per_million: { input: 1, output: 2 }, fees: { web_search: 0.02 },
    hours: { 16:30-00:30: { input: 0.5, output: 1 } } }
";
    let book = Book::builtin().with_user_rows(Book::parse("p.yaml", text).expect("prices"));
    let versions: Vec<String> = book
        .rows_of("acme")
        .flat_map(|(_, price)| std::iter::once(price).chain(price.hours.iter().map(|(_, price)| price)))
        .map(|price| price.version.clone())
        .collect();
    assert_eq!(versions.len(), 3);
    let two = Calls { web_search: 2, ..Calls::NONE };
    let fees: Vec<_> = versions.iter().map(|version| fees_of(book.of_version(version)?, two, 100_000)).collect();
    assert_eq!(fees, [18_000_000, 36_000_000, 36_000_000].map(|nano| Some(NanoUsd(nano))));
    for unknown in ["", "acme/x", "acme/x@stated", "acme/y@p.yaml#0", "no vendor"] {
        assert!(book.of_version(unknown).is_none(), "{unknown}");
    }
    let unknown = Calls { file_search: 1, ..Calls::NONE };
    assert_eq!(fees_of(book.of_version(&versions[0]).expect("a price"), unknown, 0), None);
}
