//! What is accepted, and the wording of every refusal.

mod accepted;
mod budgets;
mod example;
mod files;
mod keys;
mod presets;
mod providers;
mod resolution;
mod sections;
mod syntax;
mod torn;

use std::path::Path;

use super::*;

/// A good row, appended to cases that are about something else.
const A_PROVIDER: &str = "
providers:
  openai: { protocol: openai, base_url: https://api.openai.com/v1, key: env:OPENAI_API_KEY, models: [\"gpt-*\"] }
";

/// A hash as `sha256` wants it.
const HASH: &str = "555f31a01b458094a14c01ac76090ba079490824880cc2e2593c18983f223de1";

/// The environment of all cases. What it holds must never show up in a message.
fn env(name: &str) -> Option<String> {
    let value = match name {
        "OPENAI_API_KEY" | "ANTHROPIC_API_KEY" | "FARTHING_ADMIN_KEY" => "sk-hidden",
        "ANTHROPIC_KEY_OF_OPS" | "BEDROCK_KEY_ID" | "BEDROCK_KEY" => "sk-hidden",
        "OPS_WEBHOOK" => "https://hooks.example/T0/sk-hidden?x=1",
        "OPS_WEBHOOK_SECRET" => "sk-hidden",
        "LEDGER_POSTGRES_URL" => "postgres://me:sk-hidden@db/farthing",
        "EMPTY" => "",
        "TWO_LINES" => "sk-hidden\nsk-hidden",
        _ => return None,
    };
    Some(value.to_owned())
}

/// The whole of a configuration.
fn parsed(text: &str) -> Result<Config, String> {
    parse("farthing.yaml", text, Path::new("/etc/farthing"), &env).map_err(|problems| listed(&problems))
}

/// The configuration of `text` and a good provider row.
#[track_caller]
fn good(text: &str) -> Config {
    parsed(&format!("{text}{A_PROVIDER}")).unwrap_or_else(|problems| panic!("{text}\n{problems}"))
}

/// The problems of a whole file.
#[track_caller]
fn wrong(text: &str) -> String {
    let problems = parsed(text).expect_err("this file should be refused");
    assert!(!problems.contains("sk-"), "a secret shows in: {problems}");
    problems
}

/// The problems of `text` and a good provider row below it.
#[track_caller]
fn wrong_part(text: &str) -> String {
    wrong(&format!("{text}{A_PROVIDER}"))
}

/// The problems of a provider row to which `line` was added, as the sixth line of the file.
#[track_caller]
fn wrong_row(line: &str) -> String {
    wrong(&format!(
        "providers:\n  openai:\n    protocol: openai\n    base_url: https://api.openai.com/v1\n    models: [\"gpt-*\"]\n    {line}\n"
    ))
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}
