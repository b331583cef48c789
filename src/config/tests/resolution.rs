//! Which rows an exact model name leads to.

use super::*;

const ROWS: &str = r#"
providers:
  openai: { protocol: openai, base_url: https://api.openai.com/v1, models: ["gpt-*", "o[0-9]*"] }
  azure: { protocol: openai, base_url: https://x.openai.azure.com/openai/v1, models: ["gpt-*"] }
  router: { protocol: openai, base_url: https://router.example/v1, models: ["meta/*", "openai/gpt-oss-*", "gpt-5.6-sol"] }
"#;

/// The targets of `asked` as `row=model`, in the order in which they are tried.
#[track_caller]
fn check(asked: &str, expected: &[&str]) {
    let config = parsed(ROWS).unwrap_or_else(|problems| panic!("{problems}"));
    let targets: Vec<_> =
        config.resolve(asked).map(|target| format!("{}={}", target.provider.id, target.model)).collect();
    assert_eq!(targets, expected, "{asked}");
}

#[test]
fn a_bare_name_falls_back_among_the_rows_that_match_it_in_file_order() {
    check("gpt-5.6-luna", &["openai=gpt-5.6-luna", "azure=gpt-5.6-luna"]);
    check("gpt-5.6-sol", &["openai=gpt-5.6-sol", "azure=gpt-5.6-sol", "router=gpt-5.6-sol"]);
    check("o3", &["openai=o3"]);
}

#[test]
fn a_name_that_begins_with_a_row_is_that_row_alone() {
    check("azure/gpt-5.6-luna", &["azure=gpt-5.6-luna"]);
    check("router/meta/llama-4", &["router=meta/llama-4"]);
    check("openai/gpt-oss-120b", &["openai=gpt-oss-120b"]);
}

#[test]
fn a_name_whose_first_segment_is_a_row_that_does_not_serve_it_is_bare() {
    check("azure/o3", &[]);
    check("router/openai/gpt-oss-20b", &["router=openai/gpt-oss-20b"]);
}

#[test]
fn a_star_matches_slashes_in_a_bare_name() {
    check("meta/llama-4/fp8", &["router=meta/llama-4/fp8"]);
}

#[test]
fn a_name_that_no_row_serves_leads_nowhere() {
    for asked in ["claude-opus-5-5", "", "/", "openai/", "GPT-5.6-luna", "auto"] {
        check(asked, &[]);
    }
}
