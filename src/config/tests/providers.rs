//! Provider rows and the models that tiers name at them.

use insta::assert_snapshot;

use super::*;

#[test]
fn without_a_provider_nothing_can_be_served() {
    assert_snapshot!(wrong("mode: observe\n"), @r#"farthing.yaml: there is no provider; wanted at least one row, such as `providers: { openai: { protocol: openai, base_url: https://api.openai.com/v1, key: env:OPENAI_API_KEY, models: ["gpt-*"] } }`"#);
}

#[test]
fn a_row_says_protocol_address_and_models() {
    assert_snapshot!(wrong("providers:\n  opnai:\n"), @r#"
    farthing.yaml:2:3: provider `opnai` has no `protocol`; wanted `protocol: openai`, or the name of a preset; did you mean `openai`?
    farthing.yaml:2:3: provider `opnai` has no `base_url`; wanted one, such as `base_url: https://api.openai.com/v1`
    farthing.yaml:2:3: provider `opnai` has no `models`; wanted patterns such as `models: ["gpt-*"]`, or `models: ["*"]` for every name
    "#);
}

#[test]
fn a_protocol_is_known_by_name() {
    assert_snapshot!(wrong("providers:\n  x: { protocol: opnai, base_url: https://x.example, models: [m] }\n"), @"farthing.yaml:2:18: `protocol` is `opnai`; wanted `openai` or `anthropic`; did you mean `openai`?");
}

#[test]
fn a_row_has_a_lower_case_name() {
    assert_snapshot!(wrong("providers:\n  Open AI: { protocol: openai, base_url: https://x.example, models: [m] }\n"), @"farthing.yaml:2:3: the name of a provider row is `Open AI`; wanted lower-case letters, digits, `_` and `-`");
}

#[test]
fn a_key_is_a_reference_and_never_echoed() {
    assert_snapshot!(wrong_row("key: sk-literal"), @"farthing.yaml:6:10: `key` holds a literal value; wanted a reference, `env:NAME` or `file:path`, so that no secret stands in this file");
}

#[test]
fn a_variable_that_is_not_set_is_named() {
    assert_snapshot!(wrong_row("key: env:NOT_SET"), @"farthing.yaml:6:10: `key`: environment variable `NOT_SET` is not set");
}

#[test]
fn an_empty_variable_is_no_secret() {
    assert_snapshot!(wrong_row("key: env:EMPTY"), @"farthing.yaml:6:10: `key`: environment variable `EMPTY` is empty; wanted a secret");
}

#[test]
fn a_secret_of_two_lines_fits_no_header() {
    assert_snapshot!(wrong_row("key: env:TWO_LINES"), @"farthing.yaml:6:10: `key`: environment variable `TWO_LINES` holds a line break, surrounding space or other characters that no header can carry; wanted printable ASCII");
}

#[test]
fn a_secret_in_place_of_a_variable_is_not_echoed() {
    assert_snapshot!(wrong_row("key: env:sk-literal"), @"farthing.yaml:6:10: `key`: what follows `env:` is not a name; wanted letters, digits and `_`, such as `env:OPENAI_API_KEY`");
}

#[test]
fn a_reference_needs_a_target() {
    assert_snapshot!(wrong_row("key: 'env:'\n    headers: { x-api-key: 'file:' }"), @"
    farthing.yaml:6:10: `key`: what follows `env:` is not a name; wanted letters, digits and `_`, such as `env:OPENAI_API_KEY`
    farthing.yaml:7:27: `x-api-key`: nothing follows `file:`; wanted a path, such as `file:/run/secrets/openai`
    ");
}

#[test]
fn a_secret_file_that_is_missing_is_named() {
    assert_snapshot!(wrong_row("key: file:missing-secret"), @"farthing.yaml:6:10: `key`: cannot read file `/etc/farthing/missing-secret`: there is no such file");
}

#[test]
fn a_forgotten_key_is_not_no_key() {
    assert_snapshot!(wrong_row("key:"), @"farthing.yaml:6:8: `key` has no value; wanted one, or no `key`");
}

#[test]
fn a_url_with_credentials_is_refused_unseen() {
    assert_snapshot!(wrong("providers:\n  x: { protocol: openai, base_url: 'https://user:sk-secret@x.example/v1', models: [m] }\n"), @"farthing.yaml:2:36: `base_url` holds credentials; wanted a URL without them, and the secret as `key: env:NAME`");
}

#[test]
fn a_url_with_a_query_is_refused_unseen() {
    assert_snapshot!(wrong("providers:\n  x: { protocol: openai, base_url: 'https://x.example/v1?key=sk-secret', models: [m] }\n"), @"farthing.yaml:2:36: `base_url` holds a query or fragment; wanted a URL without");
}

#[test]
fn a_url_has_a_scheme() {
    assert_snapshot!(wrong("providers:\n  x: { protocol: openai, base_url: api.openai.com/v1, models: [m] }\n"), @"farthing.yaml:2:36: `base_url` is `api.openai.com/v1`; wanted an `https://` or `http://` URL, such as `https://api.openai.com/v1`");
}

#[test]
fn a_url_is_http() {
    assert_snapshot!(wrong("providers:\n  x: { protocol: openai, base_url: 'ftp://x.example', models: [m] }\n"), @"farthing.yaml:2:36: `base_url` is `ftp://x.example`; wanted an `https://` or `http://` URL, such as `https://api.openai.com/v1`");
}

#[test]
fn a_url_has_a_host() {
    assert_snapshot!(wrong("providers:\n  x: { protocol: openai, base_url: 'https:///v1', models: [m] }\n"), @"farthing.yaml:2:36: `base_url` is `https:///v1`; wanted an `https://` or `http://` URL, such as `https://api.openai.com/v1`");
}

#[test]
fn a_url_has_a_port_after_its_colon() {
    assert_snapshot!(wrong("providers:\n  x: { protocol: openai, base_url: 'https://x.example:/v1', models: [m] }\n"), @"farthing.yaml:2:36: `base_url` is `https://x.example:/v1`; wanted a port after the colon, or no colon, such as `https://api.openai.com/v1`");
}

#[test]
fn a_url_is_a_base_and_no_endpoint() {
    assert_snapshot!(wrong("providers:\n  x: { protocol: openai, base_url: https://x.example/v1/chat/completions, models: [m] }\n"), @"farthing.yaml:2:36: `base_url` is `https://x.example/v1/chat/completions`; wanted the part of the URL that all endpoints share, without `/completions`, such as `https://api.openai.com/v1`");
}

#[test]
fn a_row_without_patterns_serves_nothing() {
    assert_snapshot!(wrong("providers:\n  x: { protocol: openai, base_url: https://x.example, models: [] }\n"), @r#"farthing.yaml:2:63: `models` of provider `x` is empty; wanted patterns such as `models: ["gpt-*"]`, or `models: ["*"]` for every name"#);
}

#[test]
fn a_pattern_is_well_formed() {
    assert_snapshot!(wrong("providers:\n  x: { protocol: openai, base_url: https://x.example, models: ['gpt-[', ''] }\n"), @"
    farthing.yaml:2:64: an entry of `models` is `gpt-[`; wanted a pattern such as `gpt-*` (unclosed character class; missing ']')
    farthing.yaml:2:73: an entry of `models` is ``; wanted a pattern such as `gpt-*`
    ");
}

#[test]
fn a_discount_is_a_percentage() {
    assert_snapshot!(wrong_row("discount: 0.15"), @"farthing.yaml:6:15: `discount` is `0.15`; wanted a percentage below `100%`, such as `15%` or `12.5%`");
}

#[test]
fn a_discount_stays_below_everything() {
    assert_snapshot!(wrong_row("discount: 100%"), @"farthing.yaml:6:15: `discount` is `100%`; wanted a percentage below `100%`, such as `15%` or `12.5%`");
}

#[test]
fn metering_has_two_words() {
    assert_snapshot!(wrong_row("metering: 'off'"), @"farthing.yaml:6:15: `metering` is `off`; wanted `inject` or `observe` or `reported`");
}

#[test]
fn what_is_marked_has_three_words() {
    assert_snapshot!(wrong_row("cache_control: 5m"), @"farthing.yaml:6:20: `cache_control` is `5m`; wanted `off` or `auto` or `1h`");
}

#[test]
fn a_row_overrides_dispatch_by_the_same_rules() {
    assert_snapshot!(wrong_row("dispatch: { total_timeout: never }"), @"farthing.yaml:6:32: `total_timeout` is `never`; wanted a duration such as `250ms`, `5s`, `15m` or `1h`, at most 24 hours");
}

#[test]
fn a_header_that_farthing_sets_is_refused() {
    assert_snapshot!(wrong_row("headers: { Authorization: Bearer sk-literal, host: x.example, x-farthing-team: ops }"), @"
    farthing.yaml:6:31: `authorization` is not set here; wanted the secret as the row's `key`
    farthing.yaml:6:56: header `host` is set by Farthing itself; wanted another one
    farthing.yaml:6:84: header `x-farthing-team` is set by Farthing itself; wanted another one
    ");
}

#[test]
fn a_header_that_holds_a_secret_is_a_reference() {
    assert_snapshot!(wrong_row("headers: { x-api-key: sk-literal }"), @"farthing.yaml:6:27: `x-api-key` holds a literal value; wanted a reference, `env:NAME` or `file:path`, so that no secret stands in this file");
}

#[test]
fn a_header_has_a_name_and_a_value() {
    assert_snapshot!(wrong_row("headers: { 'x tenant': ops, x-tenant: }"), @"
    farthing.yaml:6:28: `x tenant` is no header name; wanted a header name such as `x-tenant`
    farthing.yaml:6:33: header `x-tenant` has no value; wanted one
    ");
}

#[test]
fn a_header_occurs_once_in_any_case() {
    assert_snapshot!(wrong_row("headers: { x-tenant: a, X-Tenant: b }"), @"farthing.yaml:6:29: header `x-tenant` occurs twice; wanted it once");
}

#[test]
fn a_listed_tier_has_a_model() {
    assert_snapshot!(wrong_part("tiers: { frontier: [] }\n"), @"farthing.yaml:1:20: tier `frontier` is empty; wanted at least one model, or no `frontier`");
}

#[test]
fn a_tier_names_an_existing_row() {
    assert_snapshot!(wrong_part("tiers: { frontier: [opnai/gpt-5.6-sol] }\n"), @"farthing.yaml:1:21: tier `frontier`: `opnai/gpt-5.6-sol` is at no provider row; wanted one of `openai`; did you mean `openai`?");
}

#[test]
fn a_tier_names_a_model_that_its_row_serves() {
    assert_snapshot!(wrong_part("tiers: { frontier: [openai/claude-opus-5-5] }\n"), @"farthing.yaml:1:21: tier `frontier`: `models` of provider `openai` do not match `claude-opus-5-5`; wanted a pattern there that does");
}

#[test]
fn a_bare_name_in_a_tier_needs_a_row_that_serves_it() {
    assert_snapshot!(wrong_part("tiers: { frontier: [claude-opus-5-5] }\n"), @"farthing.yaml:1:21: tier `frontier`: no provider's `models` match `claude-opus-5-5`; wanted `provider/model` or a name that a row serves");
}

#[test]
fn a_tier_names_a_model_once() {
    assert_snapshot!(wrong_part("tiers: { frontier: [openai/gpt-5.6-sol, gpt-5.6-sol] }\n"), @"farthing.yaml:1:41: tier `frontier` names `gpt-5.6-sol` twice; wanted it once");
}

#[test]
fn a_tier_at_a_faulty_row_is_not_reported_twice() {
    assert_snapshot!(wrong("\
providers:
  x: { protocol: openai, base_url: nowhere, models: [m] }
tiers: { frontier: [x/m, m] }
"), @"farthing.yaml:2:36: `base_url` is `nowhere`; wanted an `https://` or `http://` URL, such as `https://api.openai.com/v1`");
}

#[test]
fn a_row_does_not_lead_back_to_the_gateway() {
    assert_snapshot!(wrong("providers:\n  x: { protocol: openai, base_url: http://localhost:4100/v1, models: [m] }\n"), @"farthing.yaml:2:36: `base_url` is `http://localhost:4100/v1`, where Farthing itself listens; wanted the provider's address");
}
