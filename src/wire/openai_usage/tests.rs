//! Each vendor's usage as it was documented or recorded, with the place.

use super::*;

fn read_of(vendor: &str, json: &str) -> Option<Reported> {
    read(json, Habits::of(vendor))
}

/// Input, cached, written, output, reasoning, and whether more is billed.
#[track_caller]
fn check(vendor: &str, json: &str, expected: (u64, u64, u64, u64, u64, bool)) {
    let Some(Reported { usage, beside, .. }) = read_of(vendor, json) else { panic!("{vendor}: no usage in {json}") };
    let found = (
        usage.input_tokens,
        usage.cached_input_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
        beside.is_some() || usage.apart.calls != Calls::NONE,
    );
    assert_eq!(found, expected, "{vendor}: {json}");
}

#[track_caller]
fn check_none(json: &str) {
    assert_eq!(read_of("openai", json), None, "{json}");
}

/// <https://platform.openai.com/docs/guides/reasoning>, `…/guides/prompt-caching`
#[test]
fn openai_counts_cached_written_and_reasoning_tokens_within_their_totals() {
    check(
        "openai",
        r#"{"prompt_tokens":2006,"completion_tokens":300,"total_tokens":2306,
            "prompt_tokens_details":{"cached_tokens":1920,"audio_tokens":0,"cache_write_tokens":64},
            "completion_tokens_details":{"reasoning_tokens":256,"audio_tokens":0,"accepted_prediction_tokens":0,
            "rejected_prediction_tokens":0}}"#,
        (2006, 1920, 64, 300, 256, false),
    );
}

/// The same object; the first chunk of a stream carries content-filter results and `usage: null`.
/// <https://learn.microsoft.com/azure/ai-foundry/openai/reference#components>
#[test]
fn azure_counts_as_openai_does() {
    check(
        "azure",
        r#"{"completion_tokens":11,"completion_tokens_details":null,"prompt_tokens":38,"prompt_tokens_details":null,
            "total_tokens":49}"#,
        (38, 0, 0, 11, 0, false),
    );
}

/// <https://api-docs.deepseek.com/api/create-chat-completion>: `prompt_tokens` equals hits and misses.
#[test]
fn deepseek_tells_cache_hits_from_misses() {
    let json = r#"{"prompt_tokens":1000,"completion_tokens":200,"total_tokens":1200,
        "prompt_cache_hit_tokens":896,"prompt_cache_miss_tokens":104,"completion_tokens_details":{"reasoning_tokens":150}}"#;
    check("deepseek", json, (1000, 896, 0, 200, 150, false));
    let without_prompt = json.replacen(r#""prompt_tokens":1000,"#, "", 1);
    check("deepseek", &without_prompt, (1000, 896, 0, 200, 150, false));
    let with_tools = json.replacen('{', r#"{"server_tool_use":{"web_search_requests":2},"#, 1);
    check("deepseek", &with_tools, (1000, 896, 0, 200, 150, true));
}

/// 10,120 + 1,499 + 2,809 = 14,428, and xAI billed all of it.
/// <https://github.com/Wei-Shaw/sub2api/issues/5771>,
/// <https://docs.x.ai/developers/advanced-api-usage/prompt-caching/usage-and-pricing>
#[test]
fn xai_counts_reasoning_beside_the_completion() {
    let json = r#"{"prompt_tokens":10120,"completion_tokens":1499,"total_tokens":14428,
        "prompt_tokens_details":{"text_tokens":10120,"audio_tokens":0,"image_tokens":0,"cached_tokens":128},
        "completion_tokens_details":{"reasoning_tokens":2809,"audio_tokens":0,"accepted_prediction_tokens":0,
        "rejected_prediction_tokens":0},"num_sources_used":0,"cost_in_usd_ticks":232856000}"#;
    check("xai", json, (10_120, 128, 0, 4308, 2809, false));
    check("somebody", json, (10_120, 128, 0, 4308, 2809, false));
    let without_total = json.replacen(r#""total_tokens":14428,"#, "", 1);
    check("xai", &without_total, (10_120, 128, 0, 4308, 2809, false));
    check("somebody", &without_total, (10_120, 128, 0, 2809, 2809, false));
    let searched = json.replacen(r#""num_sources_used":0"#, r#""num_sources_used":3"#, 1);
    check("xai", &searched, (10_120, 128, 0, 4308, 2809, true));
}

/// 19,693 + 7 + 609 = 20,309; 20 + 198 + 405 = 623; all was thought and nothing said: 21 + 60 = 81.
/// <https://github.com/BerriAI/litellm/issues/10667>, <https://github.com/mozilla-ai/any-llm/issues/1290>,
/// <https://github.com/router-for-me/CLIProxyAPI/issues/5733>
#[test]
fn gemini_s_thoughts_are_what_its_total_has_beside_the_rest() {
    let details = r#""completion_tokens_details":{"reasoning_tokens":609}"#;
    let told = format!(r#"{{"completion_tokens":7,"prompt_tokens":19693,"total_tokens":20309,{details}}}"#);
    check("gemini", &told, (19_693, 0, 0, 616, 609, false));
    let untold = r#"{"completion_tokens":198,"prompt_tokens":20,"total_tokens":623}"#;
    check("gemini", untold, (20, 0, 0, 603, 405, false));
    check("vertex", untold, (20, 0, 0, 603, 405, false));
    check("gemini", r#"{"completion_tokens":0,"prompt_tokens":21,"total_tokens":81}"#, (21, 0, 0, 60, 60, false));
    check("gemini", r#"{"prompt_tokens":21,"total_tokens":81}"#, (21, 0, 0, 60, 0, false));
    let within = r#"{"completion_tokens":603,"prompt_tokens":20,"total_tokens":623,"completion_tokens_details":{"reasoning_tokens":405}}"#;
    check("gemini", within, (20, 0, 0, 603, 405, false));
}

/// <https://docs.mistral.ai/api/#tag/chat>: voice is billed by the second.
#[test]
fn mistral_s_voice_is_billed_beside_its_tokens() {
    let json = r#"{"prompt_tokens":16,"completion_tokens":34,"total_tokens":50,"prompt_audio_seconds":null,
        "prompt_tokens_details":{"cached_tokens":0},"num_cached_tokens":0}"#;
    check("mistral", json, (16, 0, 0, 34, 0, false));
    check("mistral", &json.replacen("null", "12", 1), (16, 0, 0, 34, 0, true));
}

/// <https://console.groq.com/docs/api-reference#chat>, <https://github.com/vercel/ai/issues/1651>
#[test]
fn groq_s_times_are_no_tokens() {
    check(
        "groq",
        r#"{"queue_time":0.07535312,"prompt_tokens":23,"prompt_time":0.006,"completion_tokens":19,
            "completion_time":0.022,"total_tokens":42,"total_time":0.027999999999999997,
            "completion_tokens_details":{"reasoning_tokens":9}}"#,
        (23, 0, 0, 19, 9, false),
    );
}

/// <https://docs.together.ai/reference/chat-completions-1>
#[test]
fn together_tells_cached_tokens_beside_the_totals() {
    check(
        "together",
        r#"{"prompt_tokens":210,"completion_tokens":40,"total_tokens":250,"cached_tokens":192}"#,
        (210, 192, 0, 40, 0, false),
    );
}

/// <https://fireworks.ai/docs/guides/prompt-caching>
#[test]
fn fireworks_counts_as_openai_does() {
    check(
        "fireworks",
        r#"{"prompt_tokens":1024,"total_tokens":1040,"completion_tokens":16,"prompt_tokens_details":{"cached_tokens":1008}}"#,
        (1024, 1008, 0, 16, 0, false),
    );
}

/// <https://openrouter.ai/docs/use-cases/usage-accounting>: native tokens, in the last chunk of every stream.
#[test]
fn openrouter_counts_as_openai_does_and_tells_searches_apart() {
    let json = r#"{"completion_tokens":2,"completion_tokens_details":{"reasoning_tokens":0,"image_tokens":0},"cost":0.95,
        "is_byok":false,"cost_details":{"upstream_inference_cost":19},"prompt_tokens":194,
        "prompt_tokens_details":{"cached_tokens":0,"cache_write_tokens":100,"audio_tokens":0,"video_tokens":0},
        "server_tool_use":{"web_search_requests":0},"total_tokens":196}"#;
    check("openrouter", json, (194, 0, 100, 2, 0, false));
    let searched = json.replacen("requests\":0", "requests\":1", 1);
    check("openrouter", &searched, (194, 0, 100, 2, 0, true));
    assert_eq!(read_of("openrouter", &searched).expect("a usage").usage.apart.calls, Calls::of([1, 0, 0, 0]));
    check("openrouter", &json.replacen("image_tokens\":0", "image_tokens\":9", 1), (194, 0, 100, 2, 0, true));
}

/// <https://openrouter.ai/docs/client-sdks/typescript/models/batchobjectusage>: five minutes and an hour apart.
#[test]
fn writes_for_an_hour_are_told_from_those_for_five_minutes() {
    let json = r#"{"prompt_tokens":500,"completion_tokens":1,"prompt_tokens_details":{"cache_creation_input_tokens":300,
        "cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200}}}"#;
    let usage = read_of("openrouter", json).expect("a usage").usage;
    assert_eq!((usage.input_tokens, usage.cache_write_tokens, usage.cache_write_1h_tokens), (500, 100, 200));
}

/// LiteLLM, with Anthropic's names beside OpenAI's: the totals include them.
/// <https://docs.litellm.ai/docs/completion/prompt_caching>
#[test]
fn a_write_is_read_in_whatever_place_it_is_told() {
    let parts = |told: &str| {
        let json = format!(r#"{{"prompt_tokens":2000,"completion_tokens":300,"total_tokens":2300,{told}}}"#);
        let usage = read_of("anthropic", &json).expect("a usage").usage;
        assert_eq!((usage.input_tokens, usage.output_tokens), (2000, 300), "{told}");
        (usage.cached_input_tokens, usage.cache_write_tokens, usage.cache_write_1h_tokens)
    };
    let litellm = r#""prompt_tokens_details":{"audio_tokens":null,"cached_tokens":1000,"cache_creation_tokens":500,
        "cache_creation_token_details":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":400}},
        "cache_creation_input_tokens":500,"cache_read_input_tokens":1000"#;
    assert_eq!(parts(litellm), (1000, 100, 400));
    let without_a_total = r#""prompt_tokens_details":{"cached_tokens":1000,
        "cache_creation":{"ephemeral_5m_input_tokens":300,"ephemeral_1h_input_tokens":200}}"#;
    assert_eq!(parts(without_a_total), (1000, 300, 200));
    assert_eq!(parts(r#""cache_creation_input_tokens":500,"cache_read_input_tokens":1000"#), (1000, 500, 0));
    assert_eq!(parts(r#""num_cached_tokens":512"#), (512, 0, 0));
    // More of a part than of the whole: the part was written.
    let more = r#""cache_creation_input_tokens":100,"cache_creation":{"ephemeral_1h_input_tokens":200}"#;
    assert_eq!(parts(more), (0, 0, 200));
}

/// <https://docs.claude.com/en/api/messages#response-usage>: `input_tokens` are those after the last cache breakpoint;
/// <https://platform.openai.com/docs/api-reference/responses/object#responses-object-usage>: they are all.
#[test]
fn plain_names_are_read_as_their_owners_mean_them() {
    let anthropic = r#"{"input_tokens":500,"output_tokens":300,"cache_creation_input_tokens":400,
        "cache_read_input_tokens":1000,"cache_creation":{"ephemeral_5m_input_tokens":400,"ephemeral_1h_input_tokens":0}}"#;
    check("anthropic", anthropic, (1900, 1000, 400, 300, 0, false));
    let openai = r#"{"input_tokens":500,"input_tokens_details":{"cached_tokens":100},"output_tokens":300,
        "output_tokens_details":{"reasoning_tokens":64},"total_tokens":800}"#;
    check("openai", openai, (500, 100, 0, 300, 64, false));
    let both = r#"{"prompt_tokens":7,"completion_tokens":3,"input_tokens":500,"output_tokens":300}"#;
    check("openai", both, (7, 0, 0, 3, 0, false));
}

/// vLLM with `continuous_usage_stats`, llama.cpp and Ollama: plain totals, details absent or null.
/// <https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html>, <https://github.com/ggml-org/llama.cpp/issues/16048>
#[test]
fn local_servers_count_plainly() {
    let plain = r#"{"completion_tokens":31,"prompt_tokens":75,"total_tokens":106,"prompt_tokens_details":null}"#;
    for vendor in ["vllm", "llama", "ollama"] {
        check(vendor, plain, (75, 0, 0, 31, 0, false));
    }
}

/// Cohere counts in floating point. <https://docs.cohere.com/docs/compatibility-api>
#[test]
fn a_count_is_its_value_however_it_is_spelt() {
    for (prompt, completion) in [("12.0", "7.0"), ("\"12\"", "\"7\""), ("1.2e1", "7"), ("\" 12 \"", "0.7e1")] {
        let json = format!(r#"{{"prompt_tokens":{prompt},"completion_tokens":{completion}}}"#);
        check("cohere", &json, (12, 0, 0, 7, 0, false));
    }
}

#[test]
fn what_is_no_count_is_missing() {
    for odd in ["-1", "12.5", "null", "\"many\"", "\"\"", "true", "[12]", "{}", "1e400"] {
        check_none(&format!(r#"{{"prompt_tokens":{odd},"completion_tokens":7}}"#));
        check_none(&format!(r#"{{"prompt_tokens":12,"completion_tokens":{odd}}}"#));
        // A detail that says nothing takes nothing from the rest.
        let json = format!(
            r#"{{"prompt_tokens":12,"completion_tokens":7,"total_tokens":{odd},
            "prompt_tokens_details":{{"cached_tokens":{odd},"audio_tokens":{odd}}},"completion_tokens_details":{odd}}}"#
        );
        check("openai", &json, (12, 0, 0, 7, 0, false));
    }
    for not_usage in ["null", "[]", "\"none\"", "{}", "7", "{\"prompt_tokens\":1"] {
        check_none(not_usage);
    }
}

#[test]
fn an_explicit_zero_is_a_figure() {
    check("openai", r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#, (0, 0, 0, 0, 0, false));
    check_none(r#"{"prompt_tokens":1000}"#);
    check_none(r#"{"completion_tokens":1000}"#);
}

#[test]
fn an_embedding_s_total_is_its_prompt() {
    check("openai", r#"{"prompt_tokens":8,"total_tokens":8}"#, (8, 0, 0, 0, 0, false));
}

#[test]
fn a_whole_is_never_less_than_its_parts() {
    let reasoning = r#""completion_tokens_details":{"reasoning_tokens":300}"#;
    let cached = r#""prompt_tokens_details":{"cached_tokens":1000}"#;
    check(
        "openai",
        &format!(r#"{{"prompt_tokens":9,"completion_tokens":10,{reasoning}}}"#),
        (9, 0, 0, 300, 300, false),
    );
    check("openai", &format!(r#"{{"prompt_tokens":9,"completion_tokens":1,{cached}}}"#), (1000, 1000, 0, 1, 0, false));
}

#[test]
fn a_total_that_nothing_explains_makes_the_cost_unknown() {
    check("openai", r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":40}"#, (10, 0, 0, 5, 0, true));
    // Less than its parts it only contradicts itself.
    check("openai", r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":4}"#, (10, 0, 0, 5, 0, false));
}

#[test]
fn a_figure_that_nobody_can_have_used_is_none() {
    check_none(r#"{"prompt_tokens":18446744073709551615,"completion_tokens":1}"#);
    check_none(
        r#"{"prompt_tokens":1,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":18446744073709551615}}"#,
    );
    assert_eq!(
        read_of("xai", r#"{"prompt_tokens":1,"completion_tokens":1,"total_tokens":18446744073709551615}"#),
        None
    );
}

/// <https://docs.claude.com/en/api/messages#response-usage-server-tool-use>, <https://docs.x.ai/docs/guides/tools/overview>
#[test]
fn calls_of_the_provider_s_tools_are_counted_by_kind() {
    let check = |told: &str, calls: [u64; 4], beside: Option<WhyUnknown>| {
        let json = format!(r#"{{"prompt_tokens":10,"completion_tokens":1,{told}}}"#);
        let reported = read_of("any", &json).expect("a usage");
        assert_eq!((reported.usage.apart.calls, reported.beside), (Calls::of(calls), beside), "{told}");
    };
    check(r#""server_tool_use":{"web_search_requests":2,"web_fetch_requests":1}"#, [2, 1, 0, 0], None);
    check(
        r#""server_side_tool_usage_details":{"web_search_calls":3,"code_interpreter_calls":1,"file_search_calls":4,"mcp_calls":0}"#,
        [3, 0, 1, 4],
        None,
    );
    check(r#""server_tool_use":{"web_search_requests":2,"tool_of_tomorrow":1}"#, [2, 0, 0, 0], Some(WhyUnknown::Fees));
    check(r#""server_tool_use":{"web_search_requests":0,"tool_of_tomorrow":0}"#, [0; 4], None);
}

#[test]
fn kinds_that_are_priced_apart_are_noticed() {
    for details in [r#""num_search_queries":2"#, r#""prompt_audio_seconds":3"#] {
        check("any", &format!(r#"{{"prompt_tokens":10,"completion_tokens":1,{details}}}"#), (10, 0, 0, 1, 0, true));
    }
}

/// <https://platform.openai.com/docs/guides/audio>, <https://platform.openai.com/docs/guides/realtime-costs>,
/// <https://platform.openai.com/docs/api-reference/images/object#images-object-usage>
#[test]
fn sound_and_images_are_told_from_text() {
    let check = |json: &str, totals: (u64, u64), apart: Apart| {
        let reported = read_of("openai", json).expect(json);
        assert_eq!((reported.usage.input_tokens, reported.usage.output_tokens), totals, "{json}");
        assert_eq!((reported.usage.apart, reported.beside), (apart, None), "{json}");
    };
    let heard = Apart { audio_input_tokens: 122, audio_output_tokens: 76, ..Apart::NONE };
    check(
        r#"{"prompt_tokens":139,"completion_tokens":94,"total_tokens":233,
            "prompt_tokens_details":{"cached_tokens":0,"text_tokens":17,"image_tokens":0,"audio_tokens":122},
            "completion_tokens_details":{"reasoning_tokens":0,"text_tokens":18,"audio_tokens":76,
                "accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}"#,
        (139, 94),
        heard,
    );
    check(
        r#"{"total_tokens":253,"input_tokens":132,"output_tokens":121,
            "input_token_details":{"text_tokens":119,"audio_tokens":13},
            "input_tokens_details":{"text_tokens":12,"audio_tokens":120,"image_tokens":0,"cached_tokens":64,
                "cached_tokens_details":{"text_tokens":0,"audio_tokens":64}},
            "output_tokens_details":{"text_tokens":30,"audio_tokens":91}}"#,
        (132, 121),
        Apart { audio_input_tokens: 120, cached_audio_input_tokens: Some(64), audio_output_tokens: 91, ..Apart::NONE },
    );
    check(
        r#"{"total_tokens":4210,"input_tokens":50,"output_tokens":4160,
            "input_tokens_details":{"text_tokens":10,"image_tokens":40},
            "output_tokens_details":{"image_tokens":4160}}"#,
        (50, 4160),
        Apart { image_input_tokens: 40, image_output_tokens: 4160, ..Apart::NONE },
    );
}

/// What the provider says that it charges, in nano-dollars.
#[track_caller]
fn check_stated(vendor: &str, told: &str, expected: Option<i64>) {
    let json = format!(r#"{{"prompt_tokens":10,"completion_tokens":1,{told}}}"#);
    let stated = read_of(vendor, &json).expect("a usage").stated;
    assert_eq!(stated.map(|stated| stated.0), expected, "{vendor}: {told}");
}

/// <https://openrouter.ai/docs/use-cases/usage-accounting>, <https://docs.x.ai/developers/cost-tracking>,
/// <https://docs.perplexity.ai/api-reference/chat-completions-post>
#[test]
fn what_a_provider_says_that_it_charges_is_read_exactly() {
    check_stated("openrouter", r#""cost":0.00014385,"is_byok":false"#, Some(143_850));
    check_stated("openrouter", r#""cost":1.5e-05"#, Some(15_000));
    check_stated("xai", r#""cost_in_usd_ticks":232856000"#, Some(23_285_600));
    check_stated("xai", r#""cost_in_usd_ticks":7"#, Some(1));
    check_stated(
        "perplexity",
        r#""cost":{"input_tokens_cost":0.001,"request_cost":0.005,"total_cost":0.006}"#,
        Some(6_000_000),
    );
}

#[test]
fn what_may_be_no_charge_in_dollars_is_not_taken_for_one() {
    // Zero, what is no amount, another's currency, and a fee beside what the client's own key pays.
    check_stated("openrouter", r#""cost":0"#, None);
    check_stated("openrouter", r#""cost":1000000.01"#, None);
    check_stated("openrouter", r#""cost":1e300"#, None);
    check_stated("openrouter", r#""cost":null"#, None);
    check_stated("openrouter", r#""cost":-0.5"#, None);
    check_stated("openrouter", r#""cost":"0.5""#, None);
    check_stated("openrouter", r#""cost":0.95,"is_byok":true,"cost_details":{"upstream_inference_cost":19}"#, None);
    check_stated("somebody", r#""cost":0.5,"cost_in_usd_ticks":5000000"#, None);
    check_stated("xai", r#""cost":0.5"#, None);
}

/// Perplexity's shape behind a row whose vendor is not known to say what it charges: fees make the cost unknown.
#[test]
fn a_cost_that_is_more_than_its_tokens_tells_of_fees() {
    let beside = |cost: &str| {
        let json = format!(r#"{{"prompt_tokens":10,"completion_tokens":1,"cost":{cost}}}"#);
        read_of("somebody", &json).expect("a usage").beside
    };
    let parts = |total: &str| format!(r#"{{"input_tokens_cost":0.001,"output_tokens_cost":2e-4,{total}}}"#);
    assert_eq!(beside(&parts(r#""request_cost":0.005,"total_cost":0.0062"#)), Some(WhyUnknown::Fees));
    assert_eq!(beside(&parts(r#""total_cost":0.0012"#)), None);
    assert_eq!(beside(&parts(r#""total_cost":null"#)), None);
    assert_eq!(beside("0.5"), None);
}
