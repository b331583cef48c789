use jiff::civil::date;

use super::*;

const DAY: Date = date(2026, 11, 27);

fn sums(bill: &Bill) -> Vec<(String, &'static str, i64)> {
    bill.billed.iter().map(|((_, model, measure), sum)| (model.clone(), measure.as_str(), sum.amount)).collect()
}

fn pages(text: &str) -> Result<Bill, Problem> {
    read_pages("bill.json", text.as_bytes())
}

/// <https://platform.openai.com/docs/api-reference/usage/costs_object>
#[test]
fn openai_s_costs_are_dollars_by_line_item() {
    let page = r#"{"object":"page","data":[{"object":"bucket","start_time":1795737600,"end_time":1795824000,"results":[
        {"object":"organization.costs.result","amount":{"value":0.06,"currency":"usd"},"line_item":"gpt-5.6-luna, input","project_id":null},
        {"object":"organization.costs.result","amount":{"value":1.5e-05,"currency":"usd"},"line_item":"gpt-5.6-luna, output","project_id":null},
        {"object":"organization.costs.result","amount":{"value":-2.5,"currency":"usd"},"line_item":"credit","project_id":null}]}],
        "has_more":false,"next_page":null}"#;
    let bill = pages(page).expect("a bill");
    assert_eq!(sums(&bill), [("gpt-5.6-luna".to_owned(), "cost", 60_015_000)]);
    assert_eq!((bill.credits.get(&DAY), bill.decimals), (Some(&-2_500_000_000), 6));
}

/// <https://platform.openai.com/docs/api-reference/usage/completions_object>
#[test]
fn openai_s_usage_is_tokens_by_model_over_several_pages() {
    let page = |input: u64| {
        format!(
            r#"{{"object":"page","data":[{{"object":"bucket","start_time":1795737600,"end_time":1795824000,"results":[
            {{"object":"organization.usage.completions.result","input_tokens":{input},"output_tokens":500,"input_cached_tokens":800,
            "num_model_requests":5,"project_id":null,"model":"gpt-5.6-luna","batch":null}}]}}],"has_more":true}}"#
        )
    };
    let bill = pages(&format!("{}\n{}", page(1000), page(24))).expect("a bill");
    let model = "gpt-5.6-luna".to_owned();
    assert_eq!(sums(&bill), [(model.clone(), "input_tokens", 1024), (model, "output_tokens", 1000)]);
}

/// <https://platform.claude.com/docs/en/api/admin/cost_report>: "123.45" in USD represents $1.23.
#[test]
fn anthropic_s_costs_are_cents_as_text() {
    let page = r#"{"data":[{"starting_at":"2026-11-27T00:00:00Z","ending_at":"2026-11-28T00:00:00Z","results":[
        {"currency":"USD","amount":"123.78912","workspace_id":null,"description":"Claude Usage - Input Tokens","cost_type":"tokens",
        "context_window":"0-200k","model":"claude-x","service_tier":"standard","token_type":"uncached_input_tokens"},
        {"currency":"USD","amount":"1000","cost_type":"web_search","model":null}]}],"has_more":false,"next_page":null}"#;
    let bill = pages(page).expect("a bill");
    assert_eq!(sums(&bill), [(String::new(), "cost", 10_000_000_000), ("claude-x".to_owned(), "cost", 1_237_891_200)]);
    assert_eq!(bill.decimals, 7);
}

/// <https://platform.claude.com/docs/en/api/admin/usage_report/retrieve_messages>
#[test]
fn anthropic_s_usage_adds_up_what_went_through_the_cache() {
    let page = r#"{"data":[{"starting_at":"2026-11-27T00:00:00Z","ending_at":"2026-11-28T00:00:00Z","results":[
        {"uncached_input_tokens":1500,"cache_creation":{"ephemeral_1h_input_tokens":1000,"ephemeral_5m_input_tokens":500},
        "cache_read_input_tokens":200,"output_tokens":500,"server_tool_use":{"web_search_requests":10},"model":"claude-x"}]}]}"#;
    let model = "claude-x".to_owned();
    let expected = [(model.clone(), "input_tokens", 3200), (model, "output_tokens", 500)];
    assert_eq!(sums(&pages(page).expect("a bill")), expected);
}

#[test]
fn csv_is_read_by_the_columns_that_are_named() {
    let columns = Columns::read("day=Date,model=Model,usd=Cost").expect("columns");
    let csv = "Date,Team,Cost,Model\n2026-11-27T00:00:00Z,x,$12.34,m\n2026-11-27,y,-1.00,m\n\"2026-11-27\",z,0.5,m\n";
    let bill = read_csv("bill.csv", csv.as_bytes(), &columns).expect("a bill");
    assert_eq!(sums(&bill), [("m".to_owned(), "cost", 12_840_000_000)]);
    assert_eq!((bill.credits[&DAY], bill.decimals, bill.rounded_off()), (-1_000_000_000, 2, 5_000_000));
}

#[test]
fn what_cannot_be_taken_is_refused_where_it_stands() {
    let columns = Columns::read("day=Date,usd=Cost").expect("columns");
    let refused = |csv: &str| read_csv("b.csv", csv.as_bytes(), &columns).expect_err(csv).to_string();
    assert_eq!(refused("Day,Cost\n"), "b.csv:1: has no column `Date`; it has `Day`, `Cost`");
    assert_eq!(
        refused("Date,Cost\n2026-11-27,1\nyesterday,2\n"),
        "b.csv:3: the day is `yesterday`; wanted one such as `2026-11-28`"
    );
    assert_eq!(
        refused("Date,Cost\n2026-11-27,much\n"),
        "b.csv:2: the amount is `much`; wanted dollars such as `12.34`"
    );
    assert_eq!(refused("Date,Cost\n"), "b.csv:1: has no rows under its header");
    assert!(Columns::read("day=Date").expect_err("no amount").contains("`usd`"));
    assert!(Columns::read("date=Date").expect_err("no such").contains("`date=Date` is no column"));
    let page = |result: &str| format!(r#"{{"data":[{{"start_time":1795737600,"results":[{result}]}}]}}"#);
    let said = |text: &str| pages(text).expect_err(text).to_string();
    assert!(said(&page(r#"{"amount":{"value":1,"currency":"eur"}}"#)).contains("is in `eur`"));
    assert!(said(&page(r#"{"amount":{"value":null,"currency":"usd"}}"#)).contains("has the amount null"));
    assert!(said(&page("{}")).contains("neither an `amount` nor tokens"));
    assert!(said(&page("")).contains("has no results"));
    assert!(said("{\"data\":[\n{}]}").starts_with("bill.json:2:"), "{}", said("{\"data\":[\n{}]}"));
    assert!(said(r#"{"data":[{"results":[]}]}"#).contains("neither `start_time` nor"));
}
