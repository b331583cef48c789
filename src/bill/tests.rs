//! Every shape is read to the same sums, wrong files say where, and each residual has its reason.

use jiff::civil::date;

use super::compare::{Ledger, Line, Ours, Reason, What, compare};
use super::*;

/// Fixtures have the documented fields and our own figures.
const OPENAI_COSTS: &str = r#"{"object":"page","data":[
 {"object":"bucket","start_time":1793491200,"end_time":1793577600,"results":[
  {"object":"organization.costs.result","amount":{"value":0.06,"currency":"usd"},"line_item":"gpt-5.6-luna, input","project_id":"proj_a","api_key_id":"key_1","quantity":null},
  {"object":"organization.costs.result","amount":{"value":1.2e-3,"currency":"usd"},"line_item":"gpt-5.6-luna, output","project_id":"proj_a","api_key_id":"key_2","quantity":12.5},
  {"object":"organization.costs.result","amount":{"value":-0.01,"currency":"usd"},"line_item":"gpt-5.6-luna, input","project_id":"proj_a","api_key_id":"key_1"}]},
 {"object":"bucket","start_time":1793577600,"end_time":1793664000,"results":[]}],
 "has_more":true,"next_page":"AAAA"}"#;
const OPENAI_USAGE: &str = r#"{"object":"page","data":[{"object":"bucket","start_time":1793491200,"end_time":1793577600,"results":[
 {"object":"organization.usage.completions.result","input_tokens":1000,"output_tokens":500,"input_cached_tokens":800,"input_cache_write_tokens":64,"num_model_requests":5,"project_id":null,"user_id":null,"api_key_id":null,"model":"gpt-5.6-luna","batch":null,"service_tier":null}]}],
 "has_more":false,"next_page":null}"#;
const ANTHROPIC_COST: &str = r#"{"data":[{"ending_at":"2026-11-02T00:00:00Z","results":[
 {"amount":"123.78912","context_window":"0-200k","cost_type":"tokens","currency":"USD","description":"Claude Opus 5.5 Usage - Input Tokens","inference_geo":"global","model":"claude-opus-5-5","service_tier":"standard","token_type":"uncached_input_tokens","workspace_id":"wrkspc_1"},
 {"amount":"50","context_window":null,"cost_type":"web_search","currency":"USD","description":"Web Search Usage","model":null,"service_tier":null,"token_type":null,"workspace_id":null}],
 "starting_at":"2026-11-01T00:00:00Z"}],"has_more":false,"next_page":null}"#;
const ANTHROPIC_USAGE: &str = r#"{"data":[{"ending_at":"2026-11-02T00:00:00Z","results":[
 {"api_key_id":"apikey_1","cache_creation":{"ephemeral_1h_input_tokens":1000,"ephemeral_5m_input_tokens":500},"cache_read_input_tokens":200,"context_window":"0-200k","model":"claude-opus-5-5","output_tokens":500,"server_tool_use":{"web_search_requests":10},"service_tier":"standard","uncached_input_tokens":1500,"workspace_id":"wrkspc_1"}],
 "starting_at":"2026-11-01T00:00:00Z"}],"has_more":false,"next_page":null}"#;
const OPENAI_CSV: &str = "start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,quantity,quantity_unit,line_item,user_id,api_key_id,project_id,organization_id\r\n\
 1793491200,1793577600,2026-11-01T00:00:00,2026-11-02T00:00:00,0.060000000000000000000000000000,usd,10,tokens,\"gpt-5.6-luna, input_tokens\",,key_1,proj_a,org_1\r\n\
 1793577600,1793664000,2026-11-02T00:00:00,2026-11-03T00:00:00,,,,,,,,,\r\n";
const ANTHROPIC_CSV: &str = "usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,usage_output_tokens,web_search_count,inference_geo,speed\n\
 2026-11-01,claude-opus-5-5,prod,Default,standard,0-200k,1500,500,1000,200,500,10,global,\n";

const FIRST: Date = date(2026, 11, 1);

fn try_read(text: &str, change: impl FnOnce(&mut Asked<'_>)) -> Result<Bill, Wrong> {
    let shape = Shape::of(text.as_bytes());
    let mut asked = Asked {
        shape,
        forced: None,
        columns: None,
        copies: Copies::LeaveOut,
        api_key: None,
        project: None,
        zone: &TimeZone::UTC,
    };
    change(&mut asked);
    read(text.as_bytes(), &asked)
}

fn bill_of(text: &str) -> Bill {
    try_read(text, |_| ()).expect("an export")
}

/// A bill of lines `day,model,usd`.
fn billed(lines: &str) -> Bill {
    let columns = Columns::parse("day=day,model=model,usd=usd").expect("columns");
    let text = format!("day,model,usd\n{lines}");
    let (shape, zone) = (Shape::Csv, &TimeZone::UTC);
    let asked = Asked {
        shape,
        forced: None,
        columns: Some(&columns),
        copies: Copies::LeaveOut,
        api_key: None,
        project: None,
        zone,
    };
    read(text.as_bytes(), &asked).expect("a bill")
}

/// What a bill says of a model on the first day: nano-dollars charged and given back, and figures beside money.
#[track_caller]
fn check(text: &str, shape: Shape, model: &str, money: (i64, i64), counts: [Option<u64>; 5]) {
    let bill = bill_of(text);
    assert_eq!(bill.shape, shape);
    let sums = bill.sums.get(&(FIRST, Some(model.to_owned()))).expect("sums");
    assert_eq!((sums.charges.nano().0, sums.credits.nano().0), money);
    assert_eq!(sums.counts.0, counts);
}

#[test]
fn a_line_that_says_what_another_one_says_is_told_and_not_counted_twice() {
    let line = OPENAI_CSV.split_inclusive('\n').nth(1).expect("a line");
    let twice = OPENAI_CSV.replace(line, &line.repeat(2));
    let result = r#"{"object":"organization.costs.result","amount":{"value":1.2e-3,"currency":"usd"},"line_item":"gpt-5.6-luna, output","project_id":"proj_a","api_key_id":"key_2","quantity":12.5}"#;
    assert!(OPENAI_COSTS.contains(result));
    let turned = r#"{"api_key_id":"key_2","amount":{"value":1.2e-3,"currency":"usd"},"line_item":"gpt-5.6-luna, output","project_id":"proj_a","quantity":12.5,"object":"organization.costs.result"}"#;
    let again = OPENAI_COSTS.replace(result, &format!("{result},{turned}"));
    for (text, once, copy) in [(&*again, OPENAI_COSTS, 1_200_000), (&*twice, OPENAI_CSV, 60_000_000)] {
        let (bill, once) = (bill_of(text), bill_of(once));
        assert_eq!((&bill.sums, bill.lines), (&once.sums, once.lines), "{text}");
        assert_eq!((bill.copies.0, bill.copies.1.nano().0, once.copies.0), (1, copy, 0));
        let all = try_read(text, |asked| asked.copies = Copies::Count).expect("an export");
        assert_eq!((all.lines, all.copies.0), (once.lines + 1, 0));
    }
    // Something that is not read tells them apart as well.
    let other = OPENAI_COSTS.replace(result, &format!("{result},{}", result.replace("12.5", "13")));
    assert_eq!(bill_of(&other).copies.0, 0);
}

#[test]
fn documented_shapes_are_told_apart_and_read() {
    let none = [None; 5];
    check(OPENAI_COSTS, Shape::OpenaiCosts, "gpt-5.6-luna", (61_200_000, -10_000_000), none);
    let luna = [Some(1_000), Some(800), Some(64), Some(500), Some(5)];
    check(OPENAI_USAGE, Shape::OpenaiUsage, "gpt-5.6-luna", (0, 0), luna);
    check(ANTHROPIC_COST, Shape::AnthropicCost, "claude-opus-5-5", (1_237_891_200, 0), none);
    check(ANTHROPIC_COST, Shape::AnthropicCost, "Web Search Usage", (500_000_000, 0), none);
    // Uncached, read and written are parts of what was read.
    let opus = [Some(3_200), Some(200), Some(1_500), Some(500), None];
    check(ANTHROPIC_USAGE, Shape::AnthropicUsage, "claude-opus-5-5", (0, 0), opus);
    check(OPENAI_CSV, Shape::OpenaiCsv, "gpt-5.6-luna", (60_000_000, 0), none);
    check(ANTHROPIC_CSV, Shape::AnthropicCsv, "claude-opus-5-5", (0, 0), opus);
    let bill = bill_of(OPENAI_COSTS);
    assert_eq!((bill.days.len(), bill.lines, bill.has_more, bill.decimals), (2, 3, true, Some(4)));
    assert_eq!(bill_of(OPENAI_CSV).days.len(), 2, "a day without anything is a day of the export");
}

#[test]
fn pages_may_follow_one_another_or_stand_in_a_list() {
    let second = OPENAI_COSTS.replace("1793491200", "1793404800").replace("1793577600,\"end", "1793318400,\"end");
    let second =
        second.replace("\"end_time\":1793577600", "\"end_time\":1793491200").replace("1793664000", "1793404800");
    for text in [format!("{OPENAI_COSTS}\n{second}\n"), format!("\u{feff}[{OPENAI_COSTS},{second}]")] {
        let bill = bill_of(&text);
        assert_eq!((bill.days.len(), bill.lines), (4, 6));
    }
    let twice = try_read(&format!("{OPENAI_COSTS}\n{OPENAI_COSTS}"), |_| ()).expect_err("a page twice");
    assert_eq!(twice.message, "the bucket that begins at 2026-11-01T00:00:00Z occurs twice; wanted each page once");
    assert_eq!(twice.line, 12);
}

#[test]
fn one_key_or_project_can_be_asked_for() {
    let bill = try_read(OPENAI_COSTS, |asked| asked.api_key = Some("key_2")).expect("an export");
    assert_eq!((bill.lines, bill.others), (1, 2));
    let bill = try_read(ANTHROPIC_USAGE, |asked| asked.project = Some("wrkspc_1")).expect("an export");
    assert_eq!((bill.lines, bill.others), (1, 0));
    let wrong = try_read(OPENAI_USAGE, |asked| asked.api_key = Some("key_2")).expect_err("it names no key");
    assert_eq!(wrong.message, "no line names the API key; wanted an export grouped by it to find `key_2`");
}

#[track_caller]
fn check_wrong(text: &str, line: u32, message: &str) {
    let wrong = try_read(text, |_| ()).expect_err("it is wrong");
    assert_eq!((wrong.line, wrong.message.as_str()), (line, message));
}

#[test]
fn a_wrong_file_says_where_and_what_was_wanted() {
    let costs = |from: &str, to: &str| OPENAI_COSTS.replacen(from, to, 1);
    check_wrong(&costs("1.2e-3", "\"1,20\""), 4, "found the amount `1,20`; wanted a decimal of dollars");
    check_wrong(&costs("\"usd\"", "\"eur\""), 3, "found amounts in `eur`; wanted `USD`: the ledger keeps no other");
    check_wrong(&costs("\"start_time\":1793491200,", ""), 5, "found a bucket without `start_time` or `starting_at`");
    check_wrong(
        &costs("\"end_time\":1793577600", "\"end_time\":1793664000"),
        5,
        "found sums from 2026-11-01T00:00:00Z to 2026-11-03T00:00:00Z; wanted them by day of UTC or finer",
    );
    check_wrong(&costs("\"has_more\":true", "\"has_more\":"), 7, "expected value");
    check_wrong(&ANTHROPIC_USAGE.replace("1500,\"work", "-1,\"work"), 2, "invalid value: integer `-1`, expected u64");
    let mixed = format!(
        "{OPENAI_COSTS}{}",
        OPENAI_USAGE.replace("1793491200", "1793404800").replace("1793577600", "1793491200")
    );
    check_wrong(
        &mixed,
        8,
        "found a result as of `openai-usage`; wanted `openai-costs`: `--as` says which it is, and a file has one of them",
    );
    check_wrong(&OPENAI_CSV.replace("0.06000", "0,06"), 2, "found 14 cells; wanted 13 as in the header");
    check_wrong(
        &OPENAI_CSV.replace("1793577600,1793664000", "11/02/2026,"),
        3,
        "found the day `11/02/2026`; wanted one like `2026-11-28`, an RFC 3339 time or Unix seconds",
    );
    check_wrong(&ANTHROPIC_CSV.replace(",1500,", ",many,"), 2, "found `many` for `uncached`; wanted a whole number");
    let columns = [
        ("model=Model", "no column is the `day`"),
        ("day=Date", "no column is compared: wanted `usd`, `cents` or tokens"),
        ("day=Date,usd=A,cents=B", "amounts are either `usd` or `cents`"),
        ("day=Date,usd", "`usd` names no column; wanted something like `day=Date,model=Model,usd=Cost`"),
    ];
    for (text, message) in columns {
        assert_eq!(Columns::parse(text), Err(message.to_owned()));
    }
    assert!(Columns::parse("day=Date,ouput=B").expect_err("no word").contains("did you mean `output`"));
}

fn exactly(cost: i64) -> Ours {
    Ours { attempts: 2, low: cost, known: cost, high: Some(cost), counts: [10, 0, 0, 5, 2], ..Ours::default() }
}

fn ledger(rows: &[(Date, &str, Ours)]) -> Ledger {
    let rows = rows.iter().map(|(day, model, ours)| ((*day, (*model).to_owned()), *ours)).collect();
    Ledger { rows, kept_from: None }
}

fn told(lines: &[Line]) -> Vec<(i64, bool, Vec<Reason>)> {
    lines.iter().map(|line| (line.residual(), line.is_within, line.reasons.clone())).collect()
}

#[track_caller]
fn check_reasons(lines: &str, rows: &[(Date, &str, Ours)], expected: &[(i64, bool, &[Reason])]) {
    let found = told(&compare(&billed(lines), &ledger(rows), None));
    let expected: Vec<_> = expected.iter().map(|(residual, within, why)| (*residual, *within, why.to_vec())).collect();
    assert_eq!(found, expected, "{lines}");
}

const DOLLAR: i64 = 1_000_000_000;
const SECOND: Date = date(2026, 11, 2);

#[test]
fn each_residual_has_its_likely_reason() {
    let a = |ours: Ours| [(FIRST, "a", ours)];
    check_reasons("2026-11-01,a,1.000000000\n", &a(exactly(DOLLAR)), &[(0, true, &[])]);
    check_reasons("2026-11-01,a,1.000000001\n", &a(exactly(DOLLAR)), &[(1, true, &[Reason::Rounding])]);
    // Two decimals: half a cent a line.
    check_reasons(
        "2026-11-01,a,1.01\n2026-11-01,a,0.25\n",
        &a(exactly(DOLLAR * 125 / 100)),
        &[(10_000_000, true, &[Reason::Rounding])],
    );
    check_reasons(
        "2026-11-01,a,3.50\n",
        &a(exactly(DOLLAR)),
        &[(DOLLAR * 5 / 2, false, &[Reason::NotThroughFarthing])],
    );
    check_reasons(
        "2026-11-01,a,0.20\n",
        &a(exactly(DOLLAR * 33 / 100)),
        &[(-130_000_000, false, &[Reason::NotBilledYet])],
    );
    check_reasons("2026-11-01,a,0.85\n", &a(exactly(DOLLAR)), &[(-150_000_000, false, &[Reason::Discount(8_500)])]);
    check_reasons(
        "2026-11-01,a,1.00\n2026-11-01,a,-0.40\n",
        &a(exactly(DOLLAR)),
        &[(-400_000_000, false, &[Reason::Credit])],
    );
    let doubt = Ours { uncertain: 1, high: Some(2 * DOLLAR), ..exactly(DOLLAR) };
    check_reasons("2026-11-01,a,1.73\n", &a(doubt), &[(730_000_000, true, &[Reason::UncertainRows])]);
    check_reasons(
        "2026-11-01,a,2.73\n",
        &a(doubt),
        &[(1_730_000_000, false, &[Reason::UncertainRows, Reason::NotThroughFarthing])],
    );
    let unpriced = Ours { uncertain: 1, unpriced: 1, high: None, ..exactly(DOLLAR) };
    check_reasons("2026-11-01,a,9.73\n", &a(unpriced), &[(8_730_000_000, false, &[Reason::UnpricedModel])]);
    let unbounded = Ours { uncertain: 1, high: None, ..exactly(DOLLAR) };
    check_reasons("2026-11-01,a,9.73\n", &a(unbounded), &[(8_730_000_000, false, &[Reason::UncertainRows])]);
    check_reasons("2026-11-01,a,1.00\n", &a(unbounded), &[(0, true, &[])]);
    let estimated = Ours { estimated: 1, low: 0, high: Some(2 * DOLLAR), ..exactly(DOLLAR) };
    check_reasons("2026-11-01,a,0.73\n", &a(estimated), &[(-270_000_000, true, &[Reason::EstimatedRows])]);
    let beyond = Ours { overshoot: 7, ..exactly(DOLLAR) };
    check_reasons(
        "2026-11-01,a,1.77\n",
        &a(beyond),
        &[(770_000_000, false, &[Reason::Overshoot, Reason::NotThroughFarthing])],
    );
    check_reasons(
        "2026-11-01,a,1.00\n2026-11-01,b,2.00\n",
        &a(exactly(DOLLAR)),
        &[(0, true, &[]), (2 * DOLLAR, false, &[Reason::UnknownModel])],
    );
    check_reasons(
        "2026-11-01,a,1.37\n2026-11-02,a,1.63\n",
        &[(FIRST, "a", exactly(DOLLAR)), (SECOND, "a", exactly(2 * DOLLAR))],
        &[(370_000_000, false, &[Reason::DayEdge]), (-370_000_000, false, &[Reason::DayEdge])],
    );
    check_reasons(
        "2026-11-01,a,0.41\n2026-11-02,a,2.00\n",
        &[(FIRST, "a", exactly(DOLLAR)), (SECOND, "a", exactly(2 * DOLLAR))],
        &[(-590_000_000, false, &[Reason::NotBilled]), (0, true, &[])],
    );
    let mut old = ledger(&[]);
    old.kept_from = Some(SECOND);
    assert_eq!(told(&compare(&billed("2026-11-01,a,1.0\n"), &old, None)), [(DOLLAR, false, vec![Reason::DeletedRows])]);
}

#[test]
fn a_dated_name_is_of_the_model_that_was_asked_for() {
    let ours = [(FIRST, "gpt-x", exactly(3 * DOLLAR))];
    let lines = "2026-11-01,gpt-x-2026-08-01,1.0\n2026-11-01,GPT-X-20260901,2.0\n";
    check_reasons(lines, &ours, &[(0, true, &[])]);
    // Where both sides tell dates apart, so does the comparison.
    let ours = [(FIRST, "gpt-x-2026-08-01", exactly(DOLLAR)), (FIRST, "gpt-x", exactly(DOLLAR))];
    check_reasons("2026-11-01,gpt-x-2026-08-01,1.0\n2026-11-01,gpt-x,1.0\n", &ours, &[(0, true, &[]), (0, true, &[])]);
}

#[test]
fn without_models_whole_days_are_compared() {
    let ours = [(FIRST, "a", exactly(DOLLAR)), (FIRST, "b", exactly(2 * DOLLAR))];
    check_reasons("2026-11-01,,3.0\n", &ours, &[(0, true, &[])]);
}

#[test]
fn tokens_are_compared_kind_by_kind() {
    let ours = Ours { counts: [1_000, 800, 64, 400, 5], ..exactly(DOLLAR) };
    let lines = compare(&bill_of(OPENAI_USAGE), &ledger(&[(FIRST, "gpt-5.6-luna", ours)]), None);
    let whats: Vec<_> = lines.iter().map(|line| (line.what, line.residual())).collect();
    let expected = [(0, 0), (1, 0), (2, 0), (3, 100), (4, 0)].map(|(kind, residual)| (What::Count(kind), residual));
    assert_eq!(whats, expected);
    assert_eq!(lines[3].reasons, [Reason::NotThroughFarthing]);
}

#[test]
fn a_long_file_is_read_in_the_room_of_its_sums() {
    let lines: Vec<String> = (1..=50_000).map(|nano| format!("2026-11-01,a,0.{nano:09}")).collect();
    let bill = billed(&lines.join("\n"));
    assert_eq!((bill.lines, bill.sums.len()), (50_000, 1));
    let sums = bill.sums.values().next().expect("sums");
    assert_eq!(sums.charges.nano().0, 50_000 * 50_001 / 2);
}
