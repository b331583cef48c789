//! Teams and keys.

use insta::assert_snapshot;
use sha2::Digest as _;

use super::*;

#[test]
fn a_hash_is_64_digits_and_never_echoed() {
    assert_snapshot!(wrong_part("keys: [ { sha256: sk-literal, team: ops } ]\n"), @"farthing.yaml:1:19: `sha256` holds 10 characters; wanted 64 lower-case hex digits");
}

#[test]
fn a_hash_is_lower_case() {
    assert_snapshot!(wrong_part("keys: [ { sha256: 2C26B46B68FFC68FF99B453C1D30413413422D706483BFA0F98A5E886266E7AE, team: ops } ]\n"), @"farthing.yaml:1:19: `sha256` holds other characters; wanted 64 lower-case hex digits");
}

#[test]
fn a_key_has_a_hash_and_a_team() {
    assert_snapshot!(wrong_part("\
keys:
  - name: one
  -
"), @"
    farthing.yaml:2:5: a key has no `sha256`; wanted the SHA-256 of the key as 64 lower-case hex digits
    farthing.yaml:2:5: a key has no `team`; wanted `team: NAME`
    farthing.yaml:3:4: a key has no `sha256`; wanted the SHA-256 of the key as 64 lower-case hex digits
    farthing.yaml:3:4: a key has no `team`; wanted `team: NAME`
    ");
}

#[test]
fn a_key_stands_once() {
    assert_snapshot!(wrong_part("\
keys:
  - { sha256: 555f31a01b458094a14c01ac76090ba079490824880cc2e2593c18983f223de1, team: ops, name: a }
  - { sha256: 555f31a01b458094a14c01ac76090ba079490824880cc2e2593c18983f223de1, team: ops, name: b }
"), @"farthing.yaml:3:15: `sha256` is that of the key in line 2; wanted every key once");
}

#[test]
fn a_name_of_a_key_stands_once() {
    assert_snapshot!(wrong_part("\
keys:
  - { sha256: 555f31a01b458094a14c01ac76090ba079490824880cc2e2593c18983f223de1, team: ops, name: a }
  - { sha256: 16604a937a6c2d33c4436729bfc2245ddea56b2d56ad5a947a110f3976e1264a, team: ops, name: a }
"), @"farthing.yaml:3:98: `name` is `a` like that of a key above; wanted a name of its own");
}

#[test]
fn a_key_names_a_declared_team_if_any_is_declared() {
    assert_snapshot!(wrong_part(&format!("teams: {{ platform: {{}} }}\nkeys: [ {{ sha256: {HASH}, team: platfrom, may: {{ teams: [other] }} }} ]\n")), @"
    farthing.yaml:2:91: `team` is `platfrom`; wanted a team that stands under `teams`; did you mean `platform`?
    farthing.yaml:2:116: an entry of `teams` is `other`; wanted a team that stands under `teams`
    ");
}

#[test]
fn a_team_has_a_name() {
    assert_snapshot!(wrong_part(&format!("teams: {{ ' ops': {{}} }}\nkeys: [ {{ sha256: {HASH}, team: '' }} ]\n")), @"
    farthing.yaml:1:10: the name of a team is ` ops`; wanted a name of 1 to 128 bytes without control characters or surrounding space
    farthing.yaml:2:91: `team` is ``; wanted a team that stands under `teams`
    ");
}

#[test]
fn a_grant_names_known_tiers() {
    assert_snapshot!(wrong_part(&format!("keys: [ {{ sha256: {HASH}, team: ops, may: {{ tiers: [frontier, reasonin] }} }} ]\n")), @"farthing.yaml:1:121: an entry of `tiers` is `reasonin`; wanted one of `frontier`, `reasoning`, `lightweight`; did you mean `reasoning`?");
}

#[test]
fn a_grant_has_well_formed_patterns() {
    assert_snapshot!(wrong_part(&format!("keys: [ {{ sha256: {HASH}, team: ops, may: {{ projects: ['{{a'], unbounded: maybe }} }} ]\n")), @"
    farthing.yaml:1:114: an entry of `projects` is `{a`; wanted a pattern such as `gpt-*` (unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?))
    farthing.yaml:1:132: `unbounded` is `maybe`; wanted `on` or `off`
    ");
}

#[test]
fn a_grant_has_known_keys() {
    assert_snapshot!(wrong_part(&format!("keys: [ {{ sha256: {HASH}, team: ops, may: {{ model: ['*'] }} }} ]\n")), @"farthing.yaml:1:103: unknown key `model`; wanted one of `teams`, `projects`, `pipelines`, `tiers`, `tasks`, `models`, `unbounded`; did you mean `models`?");
}

#[test]
fn a_key_has_a_mode_of_two() {
    assert_snapshot!(wrong_part(&format!("keys: [ {{ sha256: {HASH}, team: ops, mode: dry }} ]\n")), @"farthing.yaml:1:102: `mode` is `dry`; wanted `enforce` or `observe`");
}

#[test]
fn a_team_names_provider_rows() {
    assert_snapshot!(wrong_part("teams: { ops: { providers: [openai, opena], mode: dry } }\n"), @"
    farthing.yaml:1:37: an entry of `providers` is `opena`; wanted the name of a provider row; did you mean `openai`?
    farthing.yaml:1:51: `mode` is `dry`; wanted `enforce` or `observe`
    ");
}

#[test]
fn a_key_is_not_empty() {
    assert_snapshot!(wrong_part("\
keys:
  - { sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855, team: ops }
  - { sha256: 01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b, team: ops }
"), @"
    farthing.yaml:2:15: `sha256` is that of an empty key, which everybody holds; wanted that of a real one
    farthing.yaml:3:15: `sha256` is that of an empty key, which everybody holds; wanted that of a real one
    ");
}

#[test]
fn a_key_that_anybody_guesses_is_refused_by_name() {
    let of = |key: &str| sha2::Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for (key, told) in [("foo", "foo"), ("12345678", "12345678"), ("changeme\n", "changeme")] {
        let problem = wrong_part(&format!("keys: [ {{ sha256: {}, team: ops }} ]\n", of(key)));
        let expected =
            format!("`sha256` is that of the key `{told}`, which anybody guesses; wanted that of a random one");
        assert!(problem.contains(&expected), "{problem}");
    }
}

#[test]
fn keys_without_a_key_are_an_error_and_not_an_open_door() {
    for keys in ["keys:\n", "keys: []\n", "keys: ~\n"] {
        assert!(
            wrong_part(keys).contains("`keys` holds none; wanted at least one, or no `keys`"),
            "{}",
            wrong_part(keys)
        );
    }
}
