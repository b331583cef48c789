use jiff::civil::date;

use super::*;
use crate::cost::{Book, figures};

const FROM: Date = date(2026, 12, 1);

/// The figures of the one row of a list with one entry.
#[track_caller]
fn check(name: &str, fields: &str, key: &str, expected: &[(&str, &str)]) {
    let list = format!(r#"{{"sample_spec":{{"input_cost_per_token":0}},"{name}":{{{fields}}}}}"#);
    let imported = import_litellm(&list, FROM).expect("a list");
    assert_eq!(imported.left_out, []);
    let row = &imported.rows.0[0];
    assert_eq!((format!("{}/{}", row.vendor, row.model), row.price.from), (key.to_owned(), Some(FROM)));
    let found = figures(&row.price);
    let found: Vec<(&str, &str)> = found.iter().map(|(name, figure)| (name.as_str(), figure.as_str())).collect();
    assert_eq!(found, expected);
}

#[track_caller]
fn check_left_out(name: &str, fields: &str, word: &str) {
    let list = format!(r#"{{"{name}":{{{fields}}}}}"#);
    let imported = import_litellm(&list, FROM).expect("a list");
    assert_eq!(imported.rows.0, []);
    let LeftOut { name: found, why, .. } = &imported.left_out[0];
    assert_eq!(found, name);
    assert!(why.contains(word), "{name}: {why}");
}

#[test]
fn dollars_a_token_with_exponents_become_exact_dollars_per_million() {
    check(
        "gpt-x",
        r#""litellm_provider":"openai","mode":"chat","input_cost_per_token":2.5e-07,"output_cost_per_token":0.00001,
        "cache_read_input_token_cost":2.5E-08,"max_input_tokens":272000,"max_output_tokens":128000.0,
        "deprecation_date":"2027-06-30","input_cost_per_token_flex":1.25e-07,"output_cost_per_token_flex":5e-06"#,
        "openai/gpt-x",
        &[
            ("input", "0.25"),
            ("cached_input", "0.025"),
            ("cache_write_5m", "0.25"),
            ("output", "10"),
            ("reasoning", "10"),
            ("flex input", "0.125"),
            ("flex cached_input", "0.125"),
            ("flex cache_write_5m", "0.125"),
            ("flex output", "5"),
            ("flex reasoning", "5"),
            ("limits input", "272000"),
            ("limits output", "128000"),
            ("deprecated", "2027-06-30"),
        ],
    );
}

#[test]
fn what_a_float_left_behind_is_rounded_away() {
    check(
        "deepseek/deepseek-chat",
        r#""litellm_provider":"deepseek","input_cost_per_token":1.4000000000000001e-07,
        "input_cost_per_token_cache_hit":1.4e-08,"output_cost_per_token":2.8e-07"#,
        "deepseek/deepseek-chat",
        &[
            ("input", "0.14"),
            ("cached_input", "0.014"),
            ("cache_write_5m", "0.14"),
            ("output", "0.28"),
            ("reasoning", "0.28"),
        ],
    );
}

#[test]
fn anthropic_s_writes_and_long_context_are_read_and_gaps_filled_by_its_multiples() {
    check(
        "vertex_ai/claude-x",
        r#""litellm_provider":"vertex_ai-anthropic_models","mode":"chat","input_cost_per_token":3e-06,
        "output_cost_per_token":1.5e-05,"cache_read_input_token_cost":3e-07,"cache_creation_input_token_cost":3.75e-06,
        "cache_creation_input_token_cost_above_1hr":6e-06,
        "input_cost_per_token_above_200k_tokens":6e-06,"output_cost_per_token_above_200k_tokens":2.25e-05,
        "cache_read_input_token_cost_above_200k_tokens":6e-07"#,
        "vertex/claude-x",
        &[
            ("input", "3"),
            ("cached_input", "0.3"),
            ("cache_write_5m", "3.75"),
            ("cache_write_1h", "6"),
            ("output", "15"),
            ("reasoning", "15"),
            ("above 200000 input", "6"),
            ("above 200000 cached_input", "0.6"),
            ("above 200000 cache_write_5m", "7.5"),
            ("above 200000 cache_write_1h", "12"),
            ("above 200000 output", "22.5"),
            ("above 200000 reasoning", "22.5"),
        ],
    );
}

#[test]
fn a_long_context_step_of_input_or_output_alone_leaves_the_other_as_it_was() {
    let entry = |step: &str| {
        format!(
            r#""litellm_provider":"gemini","mode":"chat","input_cost_per_token":1e-06,"output_cost_per_token":8e-06,
            "cache_read_input_token_cost":1e-07,{step}"#
        )
    };
    let base = [("input", "1"), ("cached_input", "0.1"), ("cache_write_5m", "1"), ("output", "8"), ("reasoning", "8")];
    let with = |above: [(&'static str, &'static str); 5]| [base, above].concat();
    let of_input = with([
        ("above 200000 input", "2"),
        ("above 200000 cached_input", "0.2"),
        ("above 200000 cache_write_5m", "2"),
        ("above 200000 output", "8"),
        ("above 200000 reasoning", "8"),
    ]);
    check(
        "gemini/x",
        &entry(
            r#""input_cost_per_token_above_200k_tokens":2e-06,"cache_read_input_token_cost_above_200k_tokens":2e-07"#,
        ),
        "gemini/x",
        &of_input,
    );
    let of_output = with([
        ("above 200000 input", "1"),
        ("above 200000 cached_input", "0.1"),
        ("above 200000 cache_write_5m", "1"),
        ("above 200000 output", "12"),
        ("above 200000 reasoning", "12"),
    ]);
    check("gemini/x", &entry(r#""output_cost_per_token_above_200k_tokens":1.2e-05"#), "gemini/x", &of_output);
}

#[test]
fn a_second_step_keeps_what_the_first_one_made_dearer() {
    check(
        "gemini/x",
        r#""litellm_provider":"gemini","mode":"chat","input_cost_per_token":1e-06,"output_cost_per_token":8e-06,
        "cache_read_input_token_cost":1e-07,"input_cost_per_token_above_128k_tokens":2e-06,
        "cache_read_input_token_cost_above_128k_tokens":2e-07,"output_cost_per_token_above_200k_tokens":1.2e-05"#,
        "gemini/x",
        &[
            ("input", "1"),
            ("cached_input", "0.1"),
            ("cache_write_5m", "1"),
            ("output", "8"),
            ("reasoning", "8"),
            ("above 128000 input", "2"),
            ("above 128000 cached_input", "0.2"),
            ("above 128000 cache_write_5m", "2"),
            ("above 128000 output", "8"),
            ("above 128000 reasoning", "8"),
            ("above 200000 input", "2"),
            ("above 200000 cached_input", "0.2"),
            ("above 200000 cache_write_5m", "2"),
            ("above 200000 output", "12"),
            ("above 200000 reasoning", "12"),
        ],
    );
}

#[test]
fn what_is_billed_by_the_request_or_by_a_list_of_lengths_is_left_out() {
    let chat = r#""litellm_provider":"groq","input_cost_per_token":1e-06,"output_cost_per_token":2e-06"#;
    for field in ["input_cost_per_request", "output_cost_per_second"] {
        check_left_out("groq/m", &format!(r#"{chat},"{field}":0.005"#), "by the request");
    }
    let tiers = r#""tiered_pricing":[{"range":[0,32000],"input_cost_per_token":1e-06}]"#;
    check_left_out("groq/m", &format!("{chat},{tiers}"), "length of the input");
    let search = r#""search_context_cost_per_query":{"search_context_size_low":0.005}"#;
    let sonar = chat.replace("groq", "perplexity");
    check_left_out("perplexity/sonar", &format!("{sonar},{search}"), "by the request");
}

#[test]
fn parts_of_an_entry_that_cannot_be_taken_are_told() {
    let check = |field: &str, word: &str| {
        let list = format!(
            r#"{{"x":{{"litellm_provider":"openai","input_cost_per_token":1e-06,"output_cost_per_token":8e-06,{field}}}}}"#
        );
        let imported = import_litellm(&list, FROM).expect("a list");
        assert_eq!(imported.rows.0.len(), 1);
        let whys: Vec<&str> = imported.left_out.iter().map(|out| out.why).collect();
        assert!(matches!(whys[..], [why] if why.contains(word)), "{field}: {whys:?}");
    };
    check(r#""input_cost_per_token_flex":5e-07"#, "`flex` rates");
    check(r#""output_cost_per_token_batches":4e-06"#, "`batch` rates");
    check(r#""input_cost_per_token_above_1m_tokens":2e-06"#, "long-context step");
    let step = r#""cache_read_input_token_cost":1e-07,"input_cost_per_token_above_200k_tokens":2e-06"#;
    check(step, "cached input");
    check(r#""search_context_cost_per_query":{"search_context_size_low":0.01}"#, "searches");
    check(r#""code_interpreter_cost_per_session":0.03"#, "running code");
    check(r#""citation_cost_per_token":2e-06"#, "citations");
    check(r#""regional_processing_uplift_multiplier_eu":1.1"#, "region");
}

#[test]
fn providers_and_models_get_the_names_that_the_book_knows() {
    for (name, provider, key) in [
        ("gpt-x", "openai", "openai/gpt-x"),
        ("openai/gpt-x", "openai", "openai/gpt-x"),
        ("azure/eu/gpt-x", "azure", "azure/eu/gpt-x"),
        ("anthropic.claude-x-v1:0", "bedrock_converse", "bedrock/anthropic.claude-x-v1:0"),
        ("bedrock/us-east-1/anthropic.claude-x", "bedrock", "bedrock/us-east-1/anthropic.claude-x"),
        ("gemini-x", "vertex_ai-language-models", "vertex/gemini-x"),
        ("gemini/gemini-x", "gemini", "gemini/gemini-x"),
        ("together_ai/meta/llama", "together_ai", "together/meta/llama"),
        ("fireworks_ai/accounts/a/models/m", "fireworks_ai", "fireworks/accounts/a/models/m"),
        ("command-x", "cohere_chat", "cohere/command-x"),
        ("openrouter/openai/gpt-x", "openrouter", "openrouter/openai/gpt-x"),
        ("perplexity/sonar", "perplexity", "perplexity/sonar"),
    ] {
        let (vendor, model) = key_of(name, provider);
        assert_eq!(format!("{vendor}/{model}"), key, "{name} of {provider}");
    }
}

#[test]
fn zero_is_unknown_and_never_a_price() {
    let zero = r#""litellm_provider":"groq","mode":"chat","input_cost_per_token":0.0,"output_cost_per_token":0"#;
    check_left_out("groq/m", zero, "zero is none");
    let half = r#""litellm_provider":"groq","mode":"chat","input_cost_per_token":1e-06,"output_cost_per_token":0e-07"#;
    check_left_out("groq/m", half, "zero is none");
    check(
        "groq/m",
        r#""litellm_provider":"groq","input_cost_per_token":1e-06,"output_cost_per_token":2e-06,
        "cache_read_input_token_cost":0"#,
        "groq/m",
        &[("input", "1"), ("cached_input", "1"), ("cache_write_5m", "1"), ("output", "2"), ("reasoning", "2")],
    );
}

#[test]
fn what_is_billed_by_more_than_tokens_of_text_is_left_out() {
    let chat = r#""litellm_provider":"openai","input_cost_per_token":1e-06,"output_cost_per_token":2e-06"#;
    check_left_out("dall-e", &format!(r#"{chat},"mode":"image_generation""#), "otherwise");
    check_left_out("gpt-x-audio", chat, "more than tokens");
    let groq = chat.replace("openai", "groq");
    check_left_out("groq/x", &format!(r#"{groq},"output_cost_per_image_token":3e-05"#), "more than tokens");
    check_left_out("groq/x", &format!(r#"{groq},"input_cost_per_image_token":3e-06"#), "more than tokens");
    check_left_out("groq/x-audio", &format!(r#"{groq},"input_cost_per_audio_token":3e-06"#), "more than tokens");
    check_left_out("a b", chat, "no name");
    check_left_out("m", r#""litellm_provider":"","input_cost_per_token":1e-06"#, "no provider");
    check_left_out("m", r#""litellm_provider":"openai","input_cost_per_token":-1e-06"#, "no price");
}

#[test]
fn sound_and_images_are_priced_where_the_usage_tells_them_from_text() {
    check(
        "gpt-x-audio",
        r#""litellm_provider":"openai","mode":"chat","input_cost_per_token":2.5e-06,"output_cost_per_token":1e-05,
        "input_cost_per_audio_token":3.2e-05,"output_cost_per_audio_token":6.4e-05,"cache_read_input_audio_token_cost":5e-07,
        "input_cost_per_image_token":5e-06,"output_cost_per_image_token":4e-05"#,
        "openai/gpt-x-audio",
        &[
            ("input", "2.5"),
            ("cached_input", "2.5"),
            ("cache_write_5m", "2.5"),
            ("output", "10"),
            ("reasoning", "10"),
            ("audio_input", "32"),
            ("cached_audio_input", "0.5"),
            ("audio_output", "64"),
            ("image_input", "5"),
            ("image_output", "40"),
        ],
    );
}

#[test]
fn what_is_no_list_is_refused() {
    for (text, word) in [("", "EOF"), ("[]", "invalid type"), ("{}", "no entry"), (r#"{"a":1}"#, "no entry")] {
        let refused = import_litellm(text, FROM).expect_err(text);
        assert!(refused.contains(word), "{text}: {refused}");
    }
}

#[test]
fn an_import_says_of_itself_what_the_book_says() {
    let list = r#"{"gpt-4o":{"litellm_provider":"openai","mode":"chat","input_cost_per_token":2.5e-06,
        "output_cost_per_token":1e-05,"cache_read_input_token_cost":1.25e-06}}"#;
    let rows = import_litellm(list, FROM).expect("a list").rows;
    let book = Book::default().with_user_rows(rows.clone());
    assert_eq!(crate::cost::change(&book, &rows.0[0], FROM), None);
    assert_eq!(crate::cost::change(&book, &rows.0[0], date(2026, 11, 30)).map(|change| change.replaces), Some(None));
}
