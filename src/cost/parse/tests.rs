use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;

fn problems(text: &str) -> String {
    match rows(Origin::File("prices.yaml"), text) {
        Ok(rows) => format!("valid: {} rows", rows.0.len()),
        Err(problems) => problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"),
    }
}

/// The findings about one row of `openai/gpt-x` that says `rest` besides its model.
fn about(rest: &str) -> String {
    problems(&format!("- model: openai/gpt-x\n  {rest}\n"))
}

fn metered(text: &str) -> Metered {
    let rows = rows(Origin::File("prices.yaml"), text).unwrap_or_else(|problems| panic!("{problems:#?}"));
    match rows.0[0].price.terms.clone() {
        Terms::Metered(metered) => *metered,
        Terms::Free => panic!("free"),
    }
}

#[test]
fn quoted_and_unquoted_decimals_are_the_same_exact_price() {
    let plain = metered("- { model: a/m, usd_per_million: { input: 0.100001, output: 1.50 } }");
    let quoted = metered("- { model: 'a/m', usd_per_million: { input: \"0.100001\", output: '1.50' } }");
    assert_eq!(plain, quoted);
    assert_eq!(plain.standard.base.input, PicoUsdPerToken(100_001));
    assert_eq!(plain.standard.base.output, Some(PicoUsdPerToken(1_500_000)));
}

#[test]
fn what_is_nested_too_deeply_is_refused_where_it_gets_too_deep() {
    let nested = |lists: usize| problems(&format!("{}{}", "[".repeat(lists), "]".repeat(lists)));
    assert_eq!(nested(18), "prices.yaml:1:18: nested deeper than 16 levels");
    assert!(!nested(17).contains("nested"), "{}", nested(17));
}

#[test]
fn a_row_may_say_everything() {
    let text = "
- model: openai/gpt-x
  from: 2026-11-01
  usd_per_million: { input: 1, cached_input: 0.1, cache_write_5m: 1.25, cache_write_1h: 2, output: 8, reasoning: 9 }
  above:
    272000: { input: 2, output: 12 }
    128000: { input: 1.5, output: 10 }
  batch: { input: 0.5, output: 4 }
  flex:
    input: 0.5
    output: 4
    above: { 272000: { input: 1, output: 6 } }
  priority: { input: 2, output: 16 }
  limits: { input: 922000, output: 128000 }
  deprecated: 2027-06-30
";
    let rows = rows(Origin::File("prices.yaml"), text).expect("valid rows");
    let price = &rows.0[0].price;
    assert_eq!(price.limits, TokenLimits { input: Some(922_000), output: Some(128_000) });
    assert_eq!(price.deprecated, Some(jiff::civil::date(2027, 6, 30)));
    let metered = metered(text);
    let steps = |schedule: &Schedule| schedule.steps.iter().map(|step| step.above).collect::<Vec<_>>();
    assert_eq!(steps(&metered.standard), [128_000, 272_000]);
    assert_eq!(metered.flex.as_ref().map(steps), Some(vec![272_000]));
    assert_eq!(metered.batch.as_ref().and_then(|batch| batch.rates(128_001)), None);
}

#[test]
fn an_empty_file_has_no_rows() {
    for text in ["", "\n", "# nothing yet\n", "[]", "---\n", "~"] {
        assert_eq!(problems(text), "valid: 0 rows", "{text:?}");
    }
}

#[test]
fn a_free_price_is_one_word() {
    assert_eq!(about("price: free"), "valid: 1 rows");
    assert_eq!(about("price: 'free'"), "valid: 1 rows");
    assert_snapshot!(about("price: fre"), @"prices.yaml:2:10: `price` is `fre`; wanted `free`, or rates under `usd_per_million`; did you mean `free`?");
    assert_snapshot!(about("price: 0"), @"prices.yaml:2:10: `price` is `0`; wanted `free`, or rates under `usd_per_million`");
    assert_snapshot!(about("price:"), @"prices.yaml:2:8: `price` is nothing; wanted `free`");
    assert_snapshot!(about("price: free\n  usd_per_million: { input: 1 }"), @"prices.yaml:2:10: `price: free` stands beside `usd_per_million`; wanted one of the two");
    assert_snapshot!(about("usd_per_million: { input: 0, output: 0 }"), @"prices.yaml:2:20: every rate of `usd_per_million` is zero; wanted rates that are known, or `price: free` for the row if nothing is charged");
}

#[test]
fn a_block_of_zeros_is_not_taken_for_a_price() {
    assert_snapshot!(about("usd_per_million: { input: 0 }"), @"prices.yaml:2:20: every rate of `usd_per_million` is zero; wanted rates that are known, or `price: free` for the row if nothing is charged");
    assert_snapshot!(about("usd_per_million: { input: 1, output: 2 }\n  flex: { input: 0, output: 0 }"), @"prices.yaml:3:9: every rate of `flex` is zero; wanted rates that are known, or `price: free` for the row if nothing is charged");
    assert_eq!(about("usd_per_million: { input: 1, cached_input: 0, output: 0 }"), "valid: 1 rows");
}

#[test]
fn rates_that_cannot_be_read_exactly_say_what_was_wanted() {
    assert_snapshot!(about("usd_per_million: { input: -1 }"), @"prices.yaml:2:29: `input` is `-1`; prices are not negative; wanted zero or more dollars per million tokens");
    assert_snapshot!(about("usd_per_million: { input: 1e-6 }"), @"prices.yaml:2:29: `input` is `1e-6`; exponents are not read; wanted dollars per million tokens as a plain decimal, such as `1.25`");
    assert_snapshot!(about("usd_per_million: { input: .nan }"), @"prices.yaml:2:29: `input` is `.nan`; wanted dollars per million tokens as a plain decimal, such as `1.25`");
    assert_snapshot!(about("usd_per_million: { input: 0.1234567 }"), @"prices.yaml:2:29: `input` is `0.1234567`; wanted at most six decimals of a dollar per million tokens");
    assert_snapshot!(about("usd_per_million: { input: $1.25 }"), @"prices.yaml:2:29: `input` is `$1.25`; wanted dollars per million tokens as a plain decimal, such as `1.25`");
    assert_snapshot!(about("usd_per_million: { input: }"), @"prices.yaml:2:27: `input` is nothing; wanted dollars per million tokens, such as `1.25`");
    assert_snapshot!(about("usd_per_million: { input: [1] }"), @"prices.yaml:2:29: `input` is a list; wanted dollars per million tokens, such as `1.25`");
}

#[test]
fn unknown_keys_are_met_with_their_neighbours() {
    assert_snapshot!(about("usd_per_millon: { input: 1 }"), @"prices.yaml:2:3: unknown key `usd_per_millon`; wanted one of `model`, `from`, `usd_per_million`, `above`, `batch`, `flex`, `priority`, `hours`, `fees`, `price`, `limits`, `deprecated`; did you mean `usd_per_million`?");
    assert_snapshot!(about("usd_per_million: { input: 1, cached_inputs: 2 }"), @"prices.yaml:2:32: unknown key `cached_inputs`; wanted one of `input`, `cached_input`, `cache_write_5m`, `cache_write_1h`, `output`, `reasoning`, `audio_input`, `cached_audio_input`, `audio_output`, `image_input`, `image_output`; did you mean `cached_input`?");
    assert_snapshot!(about("usd_per_million: { input: 1, above: { 272000: { input: 2 } } }"), @"prices.yaml:2:32: `above` stands inside `usd_per_million`; wanted it beside it, as a key of the row");
    assert_snapshot!(about("usd_per_million: { input: 1 }\n  fees: { web_serach: 0.01, web_fetch: a cent, file_search: }"), @r"
    prices.yaml:3:11: unknown key `web_serach`; wanted one of `web_search`, `web_fetch`, `code_interpreter`, `file_search`; did you mean `web_search`?
    prices.yaml:3:40: `web_fetch` is `a cent`; wanted dollars a call as a plain decimal of at most six decimals, such as `0.01`
    prices.yaml:3:59: `file_search` is nothing; wanted dollars a call, such as `0.01`
    ");
    assert_snapshot!(about("price: free\n  fees: { web_search: 0.01 }"), @"prices.yaml:2:10: `price: free` stands beside `fees`; wanted one of the two");
    assert_snapshot!(about("usd_per_million: { input: 1 }\n  limits: { inputs: 5, output: many }"), @r"
    prices.yaml:3:13: unknown key `inputs`; wanted one of `input`, `output`; did you mean `input`?
    prices.yaml:3:32: `output` is `many`; wanted a count of tokens, such as `128000`
    ");
}

#[test]
fn a_row_needs_a_model_and_a_price() {
    assert_snapshot!(problems("- { usd_per_million: { input: 1 } }"), @"prices.yaml:1:3: the row has no `model`; wanted `model: vendor/name`, such as `openai/gpt-x`");
    assert_snapshot!(problems("- { model: gpt-x, price: free }"), @"prices.yaml:1:12: `model` is `gpt-x`; wanted `vendor/name`, such as `openai/gpt-x`");
    assert_snapshot!(problems("- { model: [openai], price: free }"), @"prices.yaml:1:12: `model` is a list; wanted `vendor/name`, such as `openai/gpt-x`");
    assert_snapshot!(problems("- { model: openai/gpt-x }"), @"prices.yaml:1:3: the row has no price; wanted `usd_per_million: { input: …, output: … }` or `price: free`");
    assert_snapshot!(problems("- openai/gpt-x"), @"prices.yaml:1:3: a row is a plain value; wanted `- { model: openai/gpt-x, usd_per_million: { input: 1.25, output: 10 } }`");
    assert_snapshot!(problems("model: openai/gpt-x"), @"prices.yaml:1:1: the file is a map; wanted a list of rows: `- { model: openai/gpt-x, usd_per_million: { input: 1.25, output: 10 } }`");
    assert_snapshot!(about("usd_per_million: { output: 1 }"), @"prices.yaml:2:20: `usd_per_million` has no `input` rate; wanted at least `input`");
}

#[test]
fn every_block_states_what_it_prices() {
    assert_snapshot!(about("usd_per_million: { input: 1, output: 2 }\n  above: { 272000: { input: 2 } }"), @"prices.yaml:3:20: `above.272000` has no `output` rate; each block is priced by itself, so wanted `output` here too");
    assert_snapshot!(about("usd_per_million: { input: 1, output: 2 }\n  flex: { output: 1 }"), @"prices.yaml:3:9: `flex` has no `input` rate; wanted at least `input`");
    assert_snapshot!(about("usd_per_million: { input: 1 }\n  above: { 272k: { input: 2 } }"), @"prices.yaml:3:12: `272k` is no step of `above`; wanted a count of input tokens, such as `272000`");
    assert_snapshot!(about("usd_per_million: { input: 1 }\n  above: { 5: { input: 2 }, 5: { input: 3 } }"), @"prices.yaml:3:29: `5` occurs twice; first in line 3");
}

#[test]
fn dates_are_days_of_the_calendar() {
    assert_eq!(about("from: 2026-11-01\n  price: free"), "valid: 1 rows");
    assert_snapshot!(about("from: 2026-13-01\n  price: free"), @"prices.yaml:2:9: `from` is `2026-13-01`; wanted a date such as `2026-11-01`");
    assert_snapshot!(about("from: 20261101\n  price: free"), @"prices.yaml:2:9: `from` is `20261101`; wanted a date such as `2026-11-01`");
    assert_snapshot!(about("deprecated: 1 May 2027\n  price: free"), @"prices.yaml:2:15: `deprecated` is `1 May 2027`; wanted a date such as `2026-11-01`");
}

#[test]
fn a_model_has_one_row_a_date() {
    let row = "- { model: a/m, price: free }\n";
    assert_snapshot!(problems(&format!("{row}# again\n{row}")), @"prices.yaml:3:3: a second row for `a/m` without `from`; another is in line 1");
    let dated = "- { model: a/m, from: 2026-11-01, price: free }\n";
    assert_eq!(problems(&format!("{row}{dated}")), "valid: 2 rows");
    assert_snapshot!(problems(&format!("{row}{dated}{dated}")), @"prices.yaml:3:3: a second row for `a/m` from `2026-11-01`; another is in line 2");
    assert_snapshot!(about("price: free\n  price: free"), @"prices.yaml:3:3: `price` occurs twice; first in line 2");
}

#[test]
fn a_text_that_is_not_yaml_is_refused_where_it_goes_wrong() {
    assert_snapshot!(problems("- model: a/m\n\tprice: free\n"), @"prices.yaml:2:1: a tab indents this line; wanted spaces");
    assert_snapshot!(problems("- model: a/m\n  usd_per_million:\n  \tinput: 1\n"), @"prices.yaml:3:3: a tab indents this line; wanted spaces");
    assert_snapshot!(problems("- { model: a/m, price: free\n- { model: a/n, price: free }\n"), @"prices.yaml:1:3: not YAML: unclosed bracket '{'");
    assert_snapshot!(problems("- { model: a/m, price: free }\n---\n- { model: a/n, price: free }\n"), @"prices.yaml:2:1: a second document begins here; wanted a single one");
    assert_snapshot!(problems("- { model: a/m, price: &word free }\n- { model: a/n, price: *word }\n"), @"prices.yaml:2:24: aliases are not read here; wanted the value itself");
    assert_snapshot!(problems("- { model: !vendor a/m, price: free }\n"), @"prices.yaml:1:20: tags are not read here; wanted a plain value");
    assert_snapshot!(problems("- { [a]: b }\n"), @"prices.yaml:1:5: wanted a word as the key");
    assert_snapshot!(problems(&"[".repeat(20)), @"prices.yaml:1:20: not YAML: unclosed bracket '['");
}

#[test]
fn all_findings_of_a_file_are_reported_together() {
    let text = "
- { model: openai/gpt-x, usd_per_million: { input: 1, outptu: -2 } }
- { model: gpt-y, from: soon, price: fee }
- { model: openai/gpt-z, usd_per_million: { input: 1.0, output: 2 }, flex: cheap }
";
    assert_snapshot!(problems(text), @r"
    prices.yaml:2:55: unknown key `outptu`; wanted one of `input`, `cached_input`, `cache_write_5m`, `cache_write_1h`, `output`, `reasoning`, `audio_input`, `cached_audio_input`, `audio_output`, `image_input`, `image_output`; did you mean `output`?
    prices.yaml:3:12: `model` is `gpt-y`; wanted `vendor/name`, such as `openai/gpt-x`
    prices.yaml:3:25: `from` is `soon`; wanted a date such as `2026-11-01`
    prices.yaml:3:38: `price` is `fee`; wanted `free`, or rates under `usd_per_million`; did you mean `free`?
    prices.yaml:4:76: `flex` is a plain value; wanted a map of rates, such as `{ input: 1.25, output: 10 }`
    ");
}

#[test]
fn line_ends_and_a_byte_order_mark_do_not_matter() {
    assert_eq!(problems("\u{feff}- model: a/m\r\n  price: free\r\n- model: a/n\r\n  price: free\r\n"), "valid: 2 rows");
}

#[test]
fn a_long_value_is_cut_in_the_message() {
    let text = about(&format!("price: {}", "é".repeat(100)));
    assert_eq!(text.matches('é').count(), 40, "{text}");
}

fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        proptest::sample::select(ROW_KEYS.to_vec()).prop_map(str::to_owned),
        proptest::sample::select(RATE_KEYS.to_vec()).prop_map(str::to_owned),
        proptest::sample::select(vec![
            ": ",
            "\n- ",
            "\n  ",
            "{ ",
            " }",
            "[",
            "]",
            ", ",
            "'",
            "\"",
            "\t",
            "&a ",
            "*a",
            "!t ",
            "|\n",
            "? ",
            "---\n",
            "#",
            "272000",
            "-",
            "a/m",
            "free",
            "2026-11-01",
            "%",
            "@",
        ])
        .prop_map(str::to_owned),
        "[0-9.e+-]{0,30}",
        "\\PC{0,5}",
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_text_makes_the_reader_panic(text in any_text()) {
        if let Err(problems) = rows(Origin::File("prices.yaml"), &text) {
            prop_assert!(!problems.is_empty());
            prop_assert!(problems.iter().all(|problem| problem.line > 0 && problem.column > 0), "{problems:?}");
        }
    }

    #[test]
    fn every_price_of_six_decimals_reads_back_exactly(pico in any::<u64>(), input in 1..u64::MAX) {
        let dollars = |pico: u64| format!("{}.{:06}", pico / 1_000_000, pico % 1_000_000);
        let (input_text, output_text) = (dollars(input), dollars(pico));
        let text = format!("- {{ model: a/m, usd_per_million: {{ input: {input_text}, output: {output_text} }} }}");
        let rates = metered(&text).standard.base;
        prop_assert_eq!((rates.input, rates.output), (PicoUsdPerToken(input), Some(PicoUsdPerToken(pico))));
    }
}

#[test]
fn hours_are_refused_where_they_say_nothing_or_two_things() {
    let hours = |hours: &str| about(&format!("usd_per_million: {{ input: 1, output: 2 }}\n  hours: {{ {hours} }}"));
    let block = "{ input: 1, output: 2 }";
    assert_eq!(hours(&format!("16:30-00:30: {block}, 00:30-16:30: {block}")), "valid: 1 rows");
    for odd in ["24:00-01:00", "1:00-02:00", "01:00", "01:60-02:00", "01:00-01:00", "01:00 - 02:00", "night"] {
        assert!(hours(&format!("{odd}: {block}")).contains("wanted a time of the day in UTC"), "{odd}");
    }
    for (one, other) in [("16:30-00:30", "00:00-01:00"), ("01:00-03:00", "02:00-02:30"), ("02:00-02:30", "01:00-03:00")]
    {
        let found = hours(&format!("{one}: {block}, {other}: {block}"));
        assert!(found.contains(&format!("`{other}` overlaps `{one}`")), "{found}");
    }
    assert!(hours("01:00-02:00: { input: 1 }").contains("`hours.01:00-02:00` has no `output` rate"));
    assert!(hours("01:00-02:00: { input: 0, output: 0 }").contains("every rate of `hours.01:00-02:00` is zero"));
    let free = about(&format!("price: free\n  hours: {{ 01:00-02:00: {block} }}"));
    assert!(free.contains("`price: free` stands beside `hours.01:00-02:00`"), "{free}");
}
