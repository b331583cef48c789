//! Structure: YAML itself, unknown keys, values of the wrong kind, rooms that are not built.

use insta::assert_snapshot;

use super::*;

#[test]
fn a_tab_in_the_indentation_is_named() {
    assert_snapshot!(wrong("server:\n\tlisten: 127.0.0.1:4100\n"), @"farthing.yaml:2:1: a tab in the indentation; wanted spaces");
}

#[test]
fn a_tab_in_front_of_a_later_key_is_named() {
    assert_snapshot!(wrong("server:\n  listen: 127.0.0.1:4100\n\tadmin_listen: 127.0.0.1:4101\n"), @"farthing.yaml:3:1: a tab in the indentation; wanted spaces");
}

#[test]
fn an_empty_file_says_what_is_least() {
    assert_snapshot!(wrong("\
# nothing yet
---

"), @"farthing.yaml: the file is empty; wanted at least `providers`");
}

#[test]
fn an_unknown_key_lists_its_neighbours() {
    assert_snapshot!(wrong_part("limts: { body_bytes: 1MiB }\n"), @"farthing.yaml:1:1: unknown key `limts`; wanted one of `mode`, `server`, `providers`, `tiers`, `dispatch`, `limits`, `prices`, `policies`, `ledger`, `timezone`, `teams`, `keys`, `metrics`, `overhead_team`, `transfer_price`, `webhooks`, `budget`; did you mean `limits`?");
}

#[test]
fn an_unknown_key_that_resembles_none_gets_no_hint() {
    assert_snapshot!(wrong_part("server: { banner: 4100 }\n"), @"farthing.yaml:1:11: unknown key `banner`; wanted one of `listen`, `admin_listen`, `admin_key`, `hosts`, `cost_comment`, `drain_timeout`, `tls`, `cors`");
}

#[test]
fn a_key_in_another_case_is_unknown() {
    assert_snapshot!(wrong_part("Mode: observe\n"), @"farthing.yaml:1:1: unknown key `Mode`; wanted one of `mode`, `server`, `providers`, `tiers`, `dispatch`, `limits`, `prices`, `policies`, `ledger`, `timezone`, `teams`, `keys`, `metrics`, `overhead_team`, `transfer_price`, `webhooks`, `budget`; did you mean `mode`?");
}

#[test]
fn an_unknown_key_of_a_provider_row_is_named() {
    assert_snapshot!(wrong_row("url: https://example.com"), @"farthing.yaml:6:5: unknown key `url`; wanted one of `preset`, `protocol`, `base_url`, `region`, `resource`, `project`, `location`, `key`, `auth`, `aws`, `keys`, `speaks`, `models`, `vendor`, `discount`, `metering`, `after_cut`, `cache_control`, `dispatch`, `headers`");
}

#[test]
fn an_unknown_key_of_a_team_does_not_offer_what_is_not_built() {
    assert_snapshot!(wrong_part("teams: { ops: { limit: 5 } }\n"), @"farthing.yaml:1:17: unknown key `limit`; wanted one of `providers`, `mode`, `budget`, `limits`, `projects`, `users`; did you mean `limits`?");
}

#[test]
fn an_unknown_tier_lists_the_tiers() {
    assert_snapshot!(wrong_part("tiers:\n  fronteer: [openai/gpt-5.6-sol]\n"), @"farthing.yaml:2:3: unknown tier `fronteer`; wanted one of `frontier`, `reasoning`, `lightweight`; did you mean `frontier`?");
}

#[test]
fn a_repeated_key_is_refused() {
    assert_snapshot!(wrong_part("\
server:
  listen: 127.0.0.1:1
  listen: 127.0.0.1:2
"), @"farthing.yaml:3:3: `listen` occurs twice; wanted it once");
}

#[test]
fn a_repeated_provider_row_is_refused() {
    assert_snapshot!(wrong("\
providers:
  openai: {}
  openai: {}
"), @"farthing.yaml:3:3: `openai` occurs twice; wanted it once");
}

#[test]
fn a_repeated_section_is_refused() {
    assert_snapshot!(wrong("\
limits: {}
ledger: {}
limits: {}
"), @"farthing.yaml:3:1: `limits` occurs twice; wanted it once");
}

#[test]
fn a_list_where_one_value_is_wanted() {
    assert_snapshot!(wrong_part("mode: [enforce]\n"), @"farthing.yaml:1:7: `mode` holds a list; wanted a single value");
}

#[test]
fn a_block_list_where_one_value_is_wanted() {
    assert_snapshot!(wrong_part("prices:\n  - prices.yaml\n"), @"farthing.yaml:2:3: `prices` holds a list; wanted a single value");
}

#[test]
fn one_value_where_a_list_is_wanted() {
    assert_snapshot!(wrong_part("tiers: { frontier: openai/gpt-5.6-sol }\n"), @"farthing.yaml:1:20: `frontier` holds a single value; wanted a list such as `[first, second]`");
}

#[test]
fn one_value_where_rows_are_wanted() {
    assert_snapshot!(wrong_part("server: 127.0.0.1:4100\n"), @"farthing.yaml:1:9: `server` holds a single value; wanted rows of the form `name: value`");
}

#[test]
fn a_list_where_rows_are_wanted() {
    assert_snapshot!(wrong("providers:\n  - protocol: openai\n"), @"farthing.yaml:2:3: `providers` holds a list; wanted rows of the form `name: value`");
}

#[test]
fn rows_where_a_list_is_wanted() {
    assert_snapshot!(wrong_part("keys:\n  team: ops\n"), @"farthing.yaml:2:3: `keys` holds rows; wanted a list such as `[first, second]`");
}

#[test]
fn rows_where_one_value_is_wanted() {
    assert_snapshot!(wrong_part("mode:\n  name: observe\n"), @"farthing.yaml:2:3: `mode` holds rows; wanted a single value");
}

#[test]
fn a_list_as_the_whole_file() {
    assert_snapshot!(wrong("- mode: observe\n"), @"farthing.yaml:1:1: found a list; wanted rows of the form `name: value`");
}

#[test]
fn an_empty_entry_in_a_list() {
    assert_snapshot!(wrong_part("\
tiers:
  frontier:
    - openai/gpt-5.6-sol
    -
"), @"farthing.yaml:4:6: an empty entry in a list; wanted a value");
}

#[test]
fn an_unclosed_quote() {
    assert_snapshot!(wrong_part("prices: \"prices.yaml\n"), @"farthing.yaml:4:103: not YAML: a quote is not closed, or text follows a closed one");
}

#[test]
fn a_second_colon_in_a_line() {
    assert_snapshot!(wrong_part("prices: env: PRICES\n"), @"farthing.yaml:1:12: not YAML: a second `: ` in one line, or a line that is indented too far; wanted quotes around a value that contains `: `");
}

#[test]
fn a_value_that_begins_with_a_reserved_character() {
    assert_snapshot!(wrong_part("prices: @prices\n"), @"farthing.yaml:1:9: not YAML: a value begins with a character that has a meaning of its own; wanted quotes around it");
}

#[test]
fn an_unclosed_bracket() {
    assert_snapshot!(wrong("tiers: { frontier: [openai/gpt-5.6-sol }\n"), @"farthing.yaml:1:20: not YAML: mismatched bracket '[' closed by '}'");
}

#[test]
fn a_second_document() {
    assert_snapshot!(wrong("\
mode: observe
---
mode: enforce
"), @"farthing.yaml:3:1: a second document begins; wanted a single one");
}

#[test]
fn an_alias_without_anchor() {
    assert_snapshot!(wrong_part("prices: *prices\n"), @"farthing.yaml:1:9: an alias without its anchor; wanted `&name` above `*name`");
}

#[test]
fn a_circuit_of_another_kind() {
    assert_snapshot!(wrong_part("dispatch: { circuit: 5 }\n"), @"farthing.yaml:1:22: `circuit` is neither a switch nor a row; wanted `on`, `off`, or a row such as `{ failures: 5, cool_down: 30s }`");
}

#[test]
fn a_circuit_that_is_a_list() {
    assert_snapshot!(wrong_part("dispatch: { circuit: [5] }\n"), @"farthing.yaml:1:22: `circuit` is neither a switch nor a row; wanted `on`, `off`, or a row such as `{ failures: 5, cool_down: 30s }`");
}

#[test]
fn a_forgotten_value_does_not_pass_for_a_default() {
    assert_snapshot!(wrong_part("\
server:
  listen:
mode:
"), @"
    farthing.yaml:2:9: `listen` has no value; wanted one, or no `listen`
    farthing.yaml:3:5: `mode` has no value; wanted one, or no `mode`
    ");
}

#[test]
fn what_is_not_built_is_reported_all_at_once() {
    assert_snapshot!(wrong_part("\
server:
  pass_credentials: false
shared: env:REDIS_URL
teams:
  ops: { store: true }
"), @"
    farthing.yaml:2:21: `pass_credentials` is not available in this version
    farthing.yaml:3:9: `shared` is not available in this version
    farthing.yaml:5:17: `store` is not available in this version
    ");
}

#[test]
fn a_missing_space_after_a_colon_does_not_show_what_follows() {
    assert_snapshot!(wrong("providers: { x: { protocol: openai, key:sk-literal } }\n"), @"farthing.yaml:1:37: `key:` and what follows it are one word; wanted a space after the colon");
}

#[test]
fn a_misplaced_long_word_is_not_echoed() {
    assert_snapshot!(wrong("providers: { x: { protocol: openai, sk-literal-of-more-than-32-characters } }\n"), @"farthing.yaml:1:37: unknown key of 37 characters; wanted `key: value`");
}

#[test]
fn a_missing_space_in_a_block_is_no_key() {
    assert_snapshot!(wrong("providers:\n  x:\n    protocol: openai\n    key:sk-literal\n"), @"farthing.yaml:4:5: not YAML: simple key expected ':'");
}

#[test]
fn a_key_of_other_letters_is_no_stumbling_block() {
    assert_snapshot!(wrong_part("teams: { é: [a], ops: {} }\n"), @"farthing.yaml:1:13: `é` holds a list; wanted rows of the form `name: value`");
    assert_snapshot!(wrong_part("teams: { équipe: [a] }\n"), @"farthing.yaml:1:18: `équipe` holds a list; wanted rows of the form `name: value`");
}

#[test]
fn all_unknown_keys_are_told_at_once() {
    assert_snapshot!(wrong_part("mod: enforce\nserver:\n  lissen: 127.0.0.1:1\n  listen: 127.0.0.1:2\nlimts:\n  a: 1\n  b: 2\nteam: {}\n"), @"
    farthing.yaml:1:1: unknown key `mod`; wanted one of `mode`, `server`, `providers`, `tiers`, `dispatch`, `limits`, `prices`, `policies`, `ledger`, `timezone`, `teams`, `keys`, `metrics`, `overhead_team`, `transfer_price`, `webhooks`, `budget`; did you mean `mode`?
    farthing.yaml:3:3: unknown key `lissen`; wanted one of `listen`, `admin_listen`, `admin_key`, `hosts`, `cost_comment`, `drain_timeout`, `tls`, `cors`; did you mean `listen`?
    farthing.yaml:5:1: unknown key `limts`; wanted one of `mode`, `server`, `providers`, `tiers`, `dispatch`, `limits`, `prices`, `policies`, `ledger`, `timezone`, `teams`, `keys`, `metrics`, `overhead_team`, `transfer_price`, `webhooks`, `budget`; did you mean `limits`?
    farthing.yaml:8:1: unknown key `team`; wanted one of `mode`, `server`, `providers`, `tiers`, `dispatch`, `limits`, `prices`, `policies`, `ledger`, `timezone`, `teams`, `keys`, `metrics`, `overhead_team`, `transfer_price`, `webhooks`, `budget`; did you mean `teams`?
    ");
}

#[test]
fn places_of_a_tier_that_are_none_and_hedges_of_another_kind() {
    for (text, expected) in [
        ("tiers: { frontier: [[openai/gpt-a]] }", "tier `frontier` has a list of 1 in it; wanted two or more models"),
        ("tiers: { frontier: [[openai/gpt-a, openai/gpt-a]] }", "tier `frontier` names `openai/gpt-a` twice"),
        ("tiers: { frontier: [{ a: b }] }", "an entry of `frontier` is neither a model nor a list"),
        ("tiers: { frontier: [7] }", "in quotes if it reads like a number"),
        ("tiers: { frontier: [[nobody/gpt-a, openai/gpt-b]] }", "tier `frontier`: "),
        ("dispatch: { hedge: 5 }", "`hedge` is neither a switch nor a row; wanted `on`, `off`, or a row such as"),
        ("dispatch: { hedge: { after: p100 } }", "a percentile of how long answers take, such as `p95`, or a time"),
        ("dispatch: { hedge: { after: 0s } }", "a percentile of how long answers take, such as `p95`, or a time"),
        ("dispatch: { hedge: { at_most: 101% } }", "a percentage up to `100%`"),
    ] {
        let told = wrong_part(&format!("{text}\n"));
        assert!(told.contains(expected) && told.starts_with("farthing.yaml:1:"), "{text}: {told}");
    }
}
