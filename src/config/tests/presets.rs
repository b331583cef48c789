//! Rows that a preset fills, and how one is told what it lacks.

use insta::assert_snapshot;

use super::*;
use crate::dialect::Dialect;

/// The row of a file.
#[track_caller]
fn row(text: &str) -> ProviderConfig {
    parsed(text).unwrap_or_else(|problems| panic!("{text}\n{problems}")).providers.remove(0)
}

#[test]
fn the_name_of_a_preset_is_a_whole_row() {
    let row = row("providers: { anthropic: {} }\n");
    assert_eq!(row.access().base_url, "https://api.anthropic.com/v1");
    assert_eq!((row.dialect, row.speaks.as_slice()), (Dialect::Messages, &[Dialect::Messages][..]));
    assert_eq!((row.vendor.as_str(), row.preset, row.after_cut), ("anthropic", Some("anthropic"), AfterCut::SoFar));
    assert_eq!(row.access().from.as_deref(), Some("env:ANTHROPIC_API_KEY"));
    let (name, value) = row.access().credential.header().expect("a key");
    assert_eq!((name.as_str(), value.as_str()), ("x-api-key", "sk-hidden"));
    assert!(row.serves("claude-opus-5-5") && !row.serves("gpt-5.6-sol"));
}

#[test]
fn a_row_names_its_preset_and_overrides_what_it_says_itself() {
    let row = row("providers:
  spare:
    preset: openai
    base_url: https://proxy.example/openai/v1
    key: env:ANTHROPIC_API_KEY
    auth: api-key
    speaks: [chat]
    models: [gpt-5.6-luna]
    vendor: azure
    metering: observe
    after_cut: nothing
");
    assert_eq!(row.access().base_url, "https://proxy.example/openai/v1");
    assert_eq!(row.access().credential.words(), "api-key");
    assert_eq!((row.speaks.as_slice(), row.vendor.as_str()), (&[Dialect::Chat][..], "azure"));
    assert_eq!((row.metering, row.after_cut), (Metering::Observe, AfterCut::Nothing));
    assert!(!row.serves("gpt-5.6-sol"));
}

#[test]
fn a_row_that_says_its_protocol_is_no_preset_whatever_its_name() {
    let row = row("providers: { openai: { protocol: openai, base_url: http://127.0.0.1:1/v1, models: ['*'] } }\n");
    assert!(row.preset.is_none() && row.access().credential.is_none());
    assert_eq!((row.speaks.as_slice(), row.after_cut), (&[Dialect::Chat, Dialect::Responses][..], AfterCut::Nothing));
}

#[test]
fn a_local_server_needs_no_key() {
    let row = row("providers: { ollama: { models: [\"qwen*\"] } }\n");
    assert!(row.access().credential.is_none() && row.access().from.is_none());
}

#[test]
fn what_a_preset_needs_of_a_row_is_named_with_its_url() {
    assert_snapshot!(wrong("providers:\n  azure: { key: env:OPENAI_API_KEY, models: [chat] }\n"), @"farthing.yaml:2:3: provider `azure` has no `resource`; wanted it for `https://{resource}.openai.azure.com/openai/v1`");
    assert_snapshot!(wrong("providers:\n  azure: { key: env:OPENAI_API_KEY, resource: acme }\n"), @r#"farthing.yaml:2:3: provider `azure` has no `models`; wanted patterns such as `models: ["gpt-*"]`, or `models: ["*"]` for every name"#);
    assert_snapshot!(wrong("providers:\n  azure: { key: env:OPENAI_API_KEY, resource: acme.example, models: [chat] }\n"), @"farthing.yaml:2:47: `resource` is `acme.example`; wanted lower-case letters, digits and `-`, such as `us-east-1`");
    assert_snapshot!(wrong("providers:\n  openai: { region: us-east-1 }\n"), @"farthing.yaml:2:21: `region` is of no use here: the preset `openai` has no `{region}` in its URL; wanted the row without it");
    assert_snapshot!(wrong_row("region: us-east-1"), @"farthing.yaml:6:13: `region` is of no use here: provider `openai` has no preset; wanted the row without it");
}

#[test]
fn a_key_is_looked_for_where_the_preset_says() {
    assert_snapshot!(wrong("providers:\n  groq: {}\n"), @"farthing.yaml:2:3: provider `groq` has no `key`; wanted `key: env:NAME`, or the environment variable `GROQ_API_KEY`");
    assert_snapshot!(wrong("providers:\n  groq: { key: env:EMPTY }\n"), @"farthing.yaml:2:16: `key`: environment variable `EMPTY` is empty; wanted a secret");
}

#[test]
fn a_preset_is_known_by_name() {
    let problems = wrong("providers:\n  x: { preset: opnai, key: env:OPENAI_API_KEY }\n");
    assert!(
        problems.starts_with("farthing.yaml:2:16: `preset` is `opnai`; wanted one of `anthropic`, `azure`"),
        "{problems}"
    );
    assert!(problems.ends_with("; did you mean `openai`?"), "{problems}");
    assert_snapshot!(wrong("providers:\n  x: { preset: openai, protocol: openai, key: env:OPENAI_API_KEY }\n"), @"farthing.yaml:2:34: `protocol` is what the preset says; wanted one of the two");
}

#[test]
fn a_row_speaks_its_protocol_at_least() {
    assert_snapshot!(wrong_row("speaks: [responses]"), @"farthing.yaml:6:13: `speaks` lacks `chat`, which is what the row's protocol is; wanted it too");
    assert_snapshot!(wrong_row("speaks: [chat, telnet]"), @"farthing.yaml:6:20: an entry of `speaks` is `telnet`; wanted `chat`, `responses` or `messages`");
    assert_snapshot!(wrong_row("auth: basic"), @"farthing.yaml:6:11: `auth` is `basic`; wanted `bearer` or `x-api-key` or `api-key` or `aws` or `google`");
    assert_snapshot!(wrong_row("after_cut: some"), @"farthing.yaml:6:16: `after_cut` is `some`; wanted `nothing` or `so_far` or `all`");
}

#[test]
fn books_know_the_vendor_of_a_row_by_its_preset() {
    let text = "providers: { claude: { preset: bedrock-anthropic }, azure-anthropic: { resource: r }, x: { protocol: openai } }\n";
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("farthing.yaml");
    fs::write(&file, text).expect("a file");
    let books = load_bookkeeping(Some(&file)).unwrap_or_else(|problems| panic!("{}", listed(&problems)));
    assert_eq!(books.vendors, ["bedrock", "azure", "x"]);
}

#[test]
fn aws_keys_sign_for_the_preset_s_service_in_the_row_s_region() {
    let row = row("providers:
  bedrock: { region: eu-west-1, aws: { access_key_id: env:OPENAI_API_KEY, secret_access_key: env:ANTHROPIC_API_KEY } }
");
    let Credential::Aws(keys) = &row.access().credential else { panic!("{:?}", row.access()) };
    assert_eq!((keys.region.as_str(), keys.service.as_str()), ("eu-west-1", "bedrock"));
    assert!(keys.session_token.is_none());
    assert_eq!(row.access().base_url, "https://bedrock-runtime.eu-west-1.amazonaws.com/openai/v1");
    assert_snapshot!(wrong("providers:\n  bedrock: {}\n"), @"
    farthing.yaml:2:3: provider `bedrock` has no `key`; wanted `key: env:NAME`, `aws: { … }`, or the environment variable `AWS_BEARER_TOKEN_BEDROCK`
    farthing.yaml:2:3: provider `bedrock` has no `region`; wanted it for `https://bedrock-runtime.{region}.amazonaws.com/openai/v1`
    ");
    assert_snapshot!(wrong("providers:\n  bedrock: { base_url: https://vpce.example/openai/v1, aws: { access_key_id: env:OPENAI_API_KEY } }\n"), @"
    farthing.yaml:2:3: provider `bedrock` has no `region`; wanted the one that calls are signed for, such as `region: us-east-1`
    farthing.yaml:2:61: `aws` has no `secret_access_key`; wanted one, such as `secret_access_key: env:SECRET_ACCESS_KEY`
    ");
    assert_snapshot!(wrong("providers:\n  openai: { aws: { access_key_id: env:OPENAI_API_KEY, secret_access_key: env:OPENAI_API_KEY } }\n"), @"farthing.yaml:2:18: `aws` is of no use here; wanted a preset that takes signatures, such as `preset: bedrock`");
}

#[test]
fn several_keys_are_several_ways_in() {
    let row = row("providers:
  azure:
    models: [chat]
    keys:
      - { key: env:OPENAI_API_KEY, resource: east, weight: 3 }
      - { key: env:ANTHROPIC_API_KEY, resource: west }
");
    let told: Vec<_> =
        row.accesses.iter().map(|access| (access.base_url.host(), access.weight, access.from.clone())).collect();
    assert_eq!(
        told,
        [
            (Some("east.openai.azure.com"), 3, Some("env:OPENAI_API_KEY".to_owned())),
            (Some("west.openai.azure.com"), 1, Some("env:ANTHROPIC_API_KEY".to_owned())),
        ]
    );
    assert_snapshot!(wrong_row("keys: []"), @"farthing.yaml:6:11: `keys` has 0 entries; wanted 1 to 64");
    assert_snapshot!(wrong_row("key: env:OPENAI_API_KEY\n    keys: [{ key: env:ANTHROPIC_API_KEY, weight: 0 }]"), @"
    farthing.yaml:7:11: `keys` stands beside `key` or `aws`; wanted one of them
    farthing.yaml:7:50: `weight` is `0`; wanted a whole number from 1 to 1000
    ");
    assert_snapshot!(wrong_row("keys: [{ kye: env:OPENAI_API_KEY }]"), @"farthing.yaml:6:14: unknown key `kye`; wanted one of `key`, `aws`, `weight`, `base_url`, `region`, `resource`, `project`, `location`; did you mean `key`?");
}
