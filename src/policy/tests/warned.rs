use insta::assert_snapshot;

use super::*;

#[test]
fn sections_without_bullets() {
    assert_snapshot!(warnings("## Frontier\nNot used here.\n## Lightweight\n- x\n## Examples\n"), @r#"
    p.md:1:1: the section of `frontier` has no bullets, so that no work goes there by itself
    p.md:5:1: the examples have no bullets, so that nothing is held against the policy
    "#);
}

#[test]
fn a_list_of_what_a_tier_does_not_do_is_prose() {
    let policy = good("## Lightweight\nUse for:\n- x\n\nDo not use for:\n- y\n");
    assert_eq!(tasks(&policy).len(), 1);
}

#[test]
fn what_looks_like_more_than_prose() {
    assert_snapshot!(warnings(
        "# Reasoning about orders\n- not a task\n## Frontier\n- x\n\n```\n## Lightweight\ndefault: frontier\n```\n\n> ## Reasoning\n## Notes\n- \"y\" → frontier\n"
    ), @r#"
    p.md:2:3: the bullets under `# Reasoning about orders` are not read; wanted `## Reasoning about orders`
    p.md:7:1: `## Lightweight` stands in code and is not read
    p.md:8:1: `default:` stands in code and is not read; wanted it between two lines of `---` at the top of the file
    p.md:11:3: `## Reasoning` stands in a quotation and is not read
    p.md:13:3: the bullet looks like a test and stands in no section; wanted it under `## Examples`
    "#);
}

#[test]
fn rules_behind_broader_ones() {
    let rules = |rules: &[&str]| {
        let rules = rules.iter().map(|when| format!("  - {{ when: {when}, use: frontier }}\n")).collect::<String>();
        warnings(&format!("---\nrules:\n{rules}---\n"))
    };
    assert_snapshot!(rules(&[
        "{ keywords: [drop, purge] }",
        "{ keywords: [drop table, Purge] }",
        "{ keywords: [drop], tools: [run_sql] }",
        "{ keywords: [drop, delete] }",
        "{ tools: [\"run_*\"] }",
        "{ tools: [run_sql, run_bash] }",
        "{ prompt_tokens: { over: 100 } }",
        "{ prompt_tokens: { over: 200, under: 300 } }",
        "{ prompt_tokens: { over: 50 } }",
        "{ globs: [\"*.sql\", \"*.py\"] }",
        "{ globs: [\"*.sql\"] }",
        "{ globs: [\"**\"] }",
        "{ globs: [\"*.md\"] }",
    ]), @r#"
    p.md:4:5: this rule never decides: the one in line 3 matches whatever it does; wanted it in front of that one
    p.md:5:5: this rule never decides: the one in line 3 matches whatever it does; wanted it in front of that one
    p.md:8:5: this rule never decides: the one in line 7 matches whatever it does; wanted it in front of that one
    p.md:10:5: this rule never decides: the one in line 9 matches whatever it does; wanted it in front of that one
    p.md:13:5: this rule never decides: the one in line 12 matches whatever it does; wanted it in front of that one
    p.md:15:5: this rule never decides: the one in line 14 matches whatever it does; wanted it in front of that one
    "#);
}

fn both_parse(one: &Task, other: &Task) -> f32 {
    if one.text.contains("pars") && other.text.contains("pars") { 0.9 } else { 0.0 }
}

#[test]
fn bullets_that_say_the_same() {
    let policy = good("## Frontier\n- The parsing of logs\n## Lightweight\n- parsing a log\n- Translation\n");
    assert_snapshot!(lines(&doubts::alike(&policy, &both_parse)), @r#"p.md:4:3: `parsing a log` (`lightweight`) can hardly be told from line 2 (`frontier`); wanted other words, or examples under both"#);
}

#[test]
fn examples_under_both_tell_them_apart() {
    let with_examples = "## Frontier\n- Log parsing\n  - \"why?\"\n## Lightweight\n- The parsing of logs\n";
    assert_eq!(doubts::alike(&good(with_examples), &both_parse).len(), 1);
    assert_eq!(doubts::alike(&good(&format!("{with_examples}  - \"sort\"\n")), &both_parse), []);
}

#[test]
fn tiers_without_models() {
    let of = |text: &str| lines(&doubts::tiers_without_models(&good(text), &|tier| tier == Tier::Frontier));
    assert_snapshot!(of(
        "---\ndefault: reasoning\nrules:\n  - { when: { tools: [x] }, use: lightweight }\n---\n## Lightweight\n- x\n"
    ), @r#"
    p.md: unclear work goes to `reasoning`, the default, and `tiers` has no model there
    p.md:4:5: work goes to `lightweight`, and `tiers` has no model there
    "#);
}

#[test]
fn teams_and_keys_that_nobody_has_heard_of() {
    let of = |names: &str| {
        let policy = good(&format!("---\napplies_to: {{ {names} }}\n---\n## Lightweight\n- x\n"));
        lines(&doubts::applies_to_nobody(&policy, &["support", "data"], &["ci"]))
    };
    assert_snapshot!(of("teams: [suport, support, elsewhere], keys: [cii, ci, nightly]"), @r#"
    p.md: `applies_to` names the team `suport`, which is not declared; did you mean `support`?
    p.md: `applies_to` names the key `cii`, and no key of the configuration has that name; did you mean `ci`?
    p.md: `applies_to` names the key `nightly`, and no key of the configuration has that name
    "#);
}
