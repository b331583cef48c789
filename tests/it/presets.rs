//! Providers by their presets: what `check` says of each, and how it is called.

use std::collections::BTreeSet;
use std::process::Command;

use farthing::config::{self, presets};
use farthing::simulator::{ModelScript, Provider};
use serde_json::{Value, json};

use crate::support::Fake;

/// What `farthing check` prints of a configuration, with these variables in its environment.
fn check(text: &str, arguments: &[&str], variables: &[(&str, &str)]) -> (bool, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("farthing.yaml");
    std::fs::write(&file, text).expect("a file");
    let ran = Command::new(env!("CARGO_BIN_EXE_farthing"))
        .args(["check", "--config"])
        .arg(&file)
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .current_dir(folder.path())
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    (ran.status.success(), said)
}

#[test]
fn check_prints_what_a_row_comes_to_and_never_its_secret() {
    let text =
        "providers:\n  anthropic: {}\n  azure: { resource: acme, models: [chat] }\n  ollama: { models: [\"qwen*\"] }\n";
    let variables = [("ANTHROPIC_API_KEY", "sk-canary-1"), ("AZURE_OPENAI_API_KEY", "sk-canary-2")];
    let (ok, said) = check(text, &[], &variables);
    assert!(ok, "{said}");
    for line in [
        "  provider anthropic: https://api.anthropic.com/v1, x-api-key from env:ANTHROPIC_API_KEY\n",
        "    preset anthropic, speaks messages; usage in streams: asked for\n",
        "  provider azure: https://acme.openai.azure.com/openai/v1, api-key from env:AZURE_OPENAI_API_KEY\n",
        "    models chat; 0 of them are priced, as azure's; after a cut it bills so far\n",
        "  provider ollama: http://127.0.0.1:11434/v1, without a key\n",
        "    preset ollama, speaks chat.completions, responses, messages; usage in streams: asked for\n",
    ] {
        assert!(said.contains(line), "{line}{said}");
    }
    let (_, json) = check(text, &["--format", "json"], &variables);
    let told: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(told["providers"][0]["accesses"][0]["key"], "env:ANTHROPIC_API_KEY");
    assert!(told["providers"][0]["priced_models"].as_u64() > Some(5), "{json}");
    assert!(!said.contains("canary") && !json.contains("canary"), "{said}{json}");
}

/// The manual's snippets are configurations that `check` takes, and its table is what the presets say.
#[test]
fn the_manual_s_snippets_are_good_and_its_table_is_complete() {
    let manual = include_str!("../../docs/providers.md");
    let folder = tempfile::tempdir().expect("a folder");
    let account = json!({
        "type": "service_account", "client_email": "a@p.iam.gserviceaccount.com", "project_id": "p",
        "private_key": include_str!("support/service-account.pem"),
    });
    std::fs::write(folder.path().join("vertex.json"), account.to_string()).expect("a file");
    let env = |name: &str| (!name.starts_with("AWS_ACCESS")).then(|| "sk-canary".to_owned());
    let snippets: Vec<&str> = manual.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let mut shown = BTreeSet::new();
    for snippet in &snippets {
        let config = config::parse("farthing.yaml", snippet, folder.path(), &env)
            .unwrap_or_else(|problems| panic!("{problems:?}\n{snippet}"));
        shown.extend(config.providers.iter().filter_map(|row| row.preset));
    }
    let all: BTreeSet<&str> = presets::all().map(|(name, _)| name).collect();
    let unshown: Vec<_> = all.difference(&shown).collect();
    assert_eq!(unshown, [&"deepseek-anthropic"], "each preset is configured somewhere");
    for (name, preset) in presets::all() {
        let row = format!("| `{name}` | `{}` |", preset.template(None));
        let row = manual.lines().find(|line| line.starts_with(&row)).unwrap_or_else(|| panic!("no row of {name}"));
        assert!(row.contains(&preset.key_env.as_ref().map_or("none".to_owned(), |name| format!("`{name}`"))), "{row}");
        assert!(row.ends_with(&format!("| {} |", preset.after_cut().as_str().replace('_', " "))), "{row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_live_calls_each_key_once_and_says_which_does_not_answer() {
    let provider = Provider::openai().model(ModelScript::named("gpt-5.6-luna")).requires_key("sk-canary-good");
    let provider = provider.start().await.expect("the simulator starts");
    let answer = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": "max_tokens",
        "stop_sequence": null, "usage": {"input_tokens": 10, "output_tokens": 1},
    });
    let bedrock = Fake::answering(move |_, _| (200, answer.to_string())).await;
    let text = format!(
        "server: {{ listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0 }}\nproviders:\n  sim: {{ preset: openai, base_url: {url}, \
         keys: [{{ key: env:GOOD }}, {{ key: env:BAD }}] }}\n  bedrock-anthropic: {{ region: us-east-1, \
         base_url: 'http://{address}/anthropic/v1', key: env:GOOD, models: ['anthropic.claude-sonnet-5'] }}\n",
        url = provider.base_url(),
        address = bedrock.address,
    );
    let (ok, said) = run_check(text, &["--live"]).await;
    assert!(!ok, "{said}");
    let url = provider.base_url();
    assert!(
        said.contains(&format!("  provider sim at {url} with env:GOOD: lists 1 models, 1 of them served, ")),
        "{said}"
    );
    assert!(said.contains(&format!("provider sim at {url} with env:BAD: status 401, invalid_api_key\n")), "{said}");
    assert!(said.contains("with env:GOOD: anthropic.claude-sonnet-5 answers, for $0.0000"), "{said}");
    assert!(!said.contains("canary"), "{said}");
    let asked: Value = serde_json::from_str(&bedrock.seen()[0].body).expect("JSON");
    assert_eq!((&asked["max_tokens"], bedrock.seen().len()), (&json!(1), 1));
    assert_eq!(bedrock.seen()[0].header("authorization"), "Bearer sk-canary-good");
}

async fn run_check(text: String, arguments: &'static [&'static str]) -> (bool, String) {
    let variables = [("GOOD", "sk-canary-good"), ("BAD", "sk-canary-bad")];
    tokio::task::spawn_blocking(move || check(&text, arguments, &variables)).await.expect("no panic")
}
