use insta::assert_snapshot;

use super::*;

/// The problems of each text, under its number.
fn each(texts: &[&str]) -> String {
    texts.iter().map(|text| problems(text)).collect::<Vec<_>>().join("\n")
}

/// The problems of front matter in front of a good body.
fn front(texts: &[&str]) -> String {
    let whole = |text: &&str| problems(&format!("---\n{text}\n---\n## Lightweight\n- x\n"));
    texts.iter().map(whole).collect::<Vec<_>>().join("\n")
}

#[test]
fn headings_that_nearly_name_a_tier() {
    assert_snapshot!(each(&[
        "## Light weight model\n- x\n",
        "## Light-weight\n- x\n",
        "## Frontiers\n- x\n",
        "## Fronteir model\n- x\n",
        "## Reasonning\n- x\n",
        "## Frontier-model\n- x\n",
        "## The frontier model\nUse for:\n- x\n",
        "## 1. Lightweight\n- x\n",
        "## Cheap model\n- x\n",
        "### Reasoning model\n- x\n",
        "## Frontier\n- y\n### Reasoning model\n- x\n",
        "## Frontier\n- y\n## Example\n- \"x\" → frontier\n",
    ]), @r#"
    p.md:1:1: `## Light weight model` nearly names a tier; wanted `Lightweight` as its first word
    p.md:1:1: `## Light-weight` nearly names a tier; wanted `Lightweight` as its first word
    p.md:1:1: `## Frontiers` nearly names a tier; wanted `Frontier` as its first word
    p.md:1:1: `## Fronteir model` nearly names a tier; wanted `Frontier` as its first word
    p.md:1:1: `## Reasonning` nearly names a tier; wanted `Reasoning` as its first word
    p.md:1:1: `## Frontier-model` nearly names a tier; wanted `Frontier` as its first word
    p.md:1:1: `## The frontier model` has its tier in second place; wanted `Frontier` as its first word
    p.md:1:1: `## 1. Lightweight` has its tier in second place; wanted `Lightweight` as its first word
    p.md:1:1: `## Cheap model` names no tier; wanted `Frontier`, `Reasoning` or `Lightweight` as its first word
    p.md:1:1: `### Reasoning model` begins with a tier; wanted `## Reasoning model`
    p.md:3:1: `### Reasoning model` begins with a tier; wanted `## Reasoning model`
    p.md:3:1: `## Example` nearly names the examples; wanted `Examples` as its first word
    "#);
}

#[test]
fn other_headings_are_prose() {
    for heading in ["## Frontend work", "## Reasons", "## Lights", "# Reasoning about orders", "### Examples of it"] {
        good(&format!("{heading}\n- no task\n## Frontier\n- x\n"));
    }
}

#[test]
fn lists_that_nobody_would_read() {
    assert_snapshot!(each(&[
        "## Cheap work\nUse for:\n- x\n",
        "Use for:\n- x\n",
        "## Lightweight\nBest for:\n- x\n",
        "## Lightweight\nUse for:\n\n    - x\n    - y\n",
        "## Lightweight\nUse for:\n• x\n• y\n",
        "## Lightweight\nUse for:\n-x\n-y\n",
        "##Lightweight\n\n- x\n",
        "# Notes only\n",
        "",
    ]), @r#"
    p.md:2:1: `Use for:` under `Cheap work`, which names no tier; wanted a heading such as `## Lightweight model`
    p.md:1:1: `Use for:` under no tier; wanted a heading such as `## Lightweight model` above it
    p.md:2:1: the list under `Best for:` says not whether `lightweight` does this work; wanted `Use for:`, or a line with `not` in it for what it does not do
    p.md:4:5: a list that is indented so far is code in Markdown; wanted it at the margin
    p.md:3:1: a line begins with `•`, which makes no bullet; wanted `- `
    p.md:4:1: a line begins with `•`, which makes no bullet; wanted `- `
    p.md:3:1: a line begins with `-` without a space; wanted `- `
    p.md:4:1: a line begins with `-` without a space; wanted `- `
    p.md:1:1: `##Lightweight` is no heading; wanted a space behind `##`
    p.md: says nothing about any work; wanted a heading such as `## Lightweight model` with bullets
    p.md: says nothing about any work; wanted a heading such as `## Lightweight model` with bullets
    "#);
}

#[test]
fn bullets_that_collide() {
    assert_snapshot!(each(&[
        "## Frontier\n- Triage\n## Lightweight\n- Triage\n",
        "## Lightweight\n- Triage\n- triage\n",
        "## Lightweight\n- Triage (logs)\n- Triage (tickets)\n",
        "## Lightweight\n- Triage {id: a}\n- Parsing {id: a}\n",
        "## Lightweight\n- …\n",
        "## Lightweight\n- Reasoning (simple)\n",
        "## Lightweight\n- \n",
        "## Lightweight\n- x\n  - \"\"\n  - y\n    - z\n",
    ]), @r#"
    p.md:4:3: `Triage` stands under `lightweight`, and in line 2 under `frontier`; wanted one tier
    p.md:3:3: `triage` occurs twice; first in line 2
    p.md:3:3: `Triage (tickets)` has the id `triage`, as has line 2; wanted `{id: …}` behind one of them
    p.md:3:3: the id `a` occurs twice; first in line 2
    p.md:2:3: `…` makes no id; wanted one of your own behind it, such as `{id: triage}`
    p.md:2:3: `Reasoning (simple)` makes no id; wanted one of your own behind it, such as `{id: triage}`
    p.md:2:1: an empty bullet; wanted the kind of work in a few words
    p.md:3:5: an empty example; wanted a request as it could come in
    p.md:5:7: a bullet under an example; wanted examples right under their bullet
    "#);
}

#[test]
fn options_that_are_none() {
    assert_snapshot!(each(&[
        "## Lightweight\n- x {protcted: true}\n",
        "## Lightweight\n- x {ID: y}\n",
        "## Lightweight\n- x {id: y, max_ouput: 8}\n",
        "## Lightweight\n- x {id:y}\n",
        "## Lightweight\n- x {protected}\n",
        "## Lightweight\n- x {id: X y, max_output: many, protected: perhaps}\n",
        "## Lightweight\n- x {id: frontier, max_output: 0}\n",
        "## Lightweight\n- x {id: y, id: z}\n",
        "## Lightweight\n- x {id: [y, z], protected:}\n",
        "## Lightweight\n- x\n  wrapped {id: y,\n  cache: semantic, mask: [a], ttl: 10m, compress: logs}\n",
    ]), @r#"
    p.md:2:5: unknown option `protcted`; did you mean `protected`?
    p.md:2:5: unknown option `ID`; did you mean `id`?
    p.md:2:13: unknown key `max_ouput`; wanted one of `id`, `protected`, `max_output`; did you mean `max_output`?
    p.md:2:6: `id:` and what follows it are one word; wanted a space after the colon
    p.md:2:5: `{protected}` has no value; wanted `{protected: true}`
    p.md:2:10: `id` is `X y`; wanted lower-case letters, digits, `-`, `_` and `.`, such as `log-parsing`
    p.md:2:27: `max_output` is `many`; wanted a count of tokens, such as `200000`
    p.md:2:44: `protected` is `perhaps`; wanted `true` or `false`
    p.md:2:10: `id` is `frontier`, which is a tier; wanted another word
    p.md:2:32: `max_output` is `0`; wanted room for an answer, such as `800`
    p.md:2:13: `id` occurs twice; first in line 2
    p.md:2:10: `id` is a list; wanted lower-case letters, digits, `-`, `_` and `.`, such as `log-parsing`
    p.md:2:27: `protected` is nothing; wanted `true` or `false`
    p.md:4:3: `cache` is not available in this version
    p.md:4:20: `mask` is not available in this version
    p.md:4:31: `ttl` is not available in this version
    p.md:4:41: `compress` is not available in this version
    "#);
}

#[test]
fn tests_that_test_nothing() {
    assert_snapshot!(each(&[
        "## Lightweight\n- x\n## Examples\n- \"a\" → cheap\n- \"a\" → lightweigt\n- \"a\" → xx\n",
        "## Lightweight\n- x\n## Examples\n- \"a\" lightweight\n- → frontier\n- \"a\" →\n",
        "## Lightweight\n- x\n## Examples\n- \"a\" → x {advisry: true}\n- \"a\" → x {advisory: maybe}\n",
        "## Lightweight\n- x\n## Examples\n- \"a\" → x\n  - \"b\"\n",
    ]), @r#"
    p.md:4:3: `cheap` is neither a tier nor a task of this file; wanted `frontier`, `reasoning`, `lightweight` or the id of a bullet
    p.md:5:3: `lightweigt` is neither a tier nor a task of this file; wanted `frontier`, `reasoning`, `lightweight` or the id of a bullet; did you mean `lightweight`?
    p.md:6:3: `xx` is neither a tier nor a task of this file; wanted `frontier`, `reasoning`, `lightweight` or the id of a bullet; did you mean `x`?
    p.md:4:3: `"a" lightweight` has no arrow; wanted `"a request" → lightweight`
    p.md:5:3: `→ frontier` is half a test; wanted `"a request" → lightweight`
    p.md:6:3: `"a" →` is half a test; wanted `"a request" → lightweight`
    p.md:4:11: unknown option `advisry`; did you mean `advisory`?
    p.md:5:22: `advisory` is `maybe`; wanted `true` or `false`
    p.md:5:5: a bullet under a test; examples to learn from stand under the bullets of a tier
    "#);
}

#[test]
fn front_matter_with_mistakes() {
    assert_snapshot!(front(&[
        "defualt: frontier",
        "default: fronteir\nconfidence: 60%\ntreat_as_auto: gpt-5\nrules: none",
        "default:\nconfidence: 1.5",
        "applies_to: {}",
        "applies_to: { pipeline: [x], teams: [], projects: daily, keys: [\"a*\", ''] }",
        "treat_as_auto: [\"gpt-[5\"]",
        "holdout: 60%",
        "promotion: evidence\nrollout: { canary: 0.05 }\nrun: { max_calls: 40 }\ncompress: balanced\nerror_budget: { routing: 0.02 }",
        "default: frontier\ndefault: reasoning",
        "default: [frontier",
        "- a list",
        "just words",
    ]), @r#"
    p.md:2:1: unknown key `defualt`; wanted one of `applies_to`, `default`, `confidence`, `treat_as_auto`, `holdout`, `rules`; did you mean `default`?
    p.md:2:10: `default` is `fronteir`; wanted `frontier`, `reasoning` or `lightweight`; did you mean `frontier`?
    p.md:3:13: `confidence` is `60%`; wanted a number from 0 to 1, such as `0.6`
    p.md:4:16: `treat_as_auto` is a plain value; wanted a list of models, such as `["gpt-5.6*"]`
    p.md:5:8: `rules` is a plain value; wanted a list: `- { when: { keywords: [drop table] }, use: frontier }`
    p.md:2:1: `default` has no value; wanted one, or no `default`
    p.md:3:13: `confidence` is `1.5`; wanted a number from 0 to 1, such as `0.6`
    p.md:2:13: `applies_to` names nothing; wanted lists of names, such as `{ pipelines: [orders_daily] }`
    p.md:2:15: unknown key `pipeline`; wanted one of `teams`, `projects`, `pipelines`, `keys`; did you mean `pipelines`?
    p.md:2:37: `teams` is empty; wanted a list of names, such as `[orders_daily]`
    p.md:2:51: `projects` is a plain value; wanted a list of names, such as `[orders_daily]`
    p.md:2:65: `a*` is a pattern; wanted names in full, so that one policy wins
    p.md:2:71: an entry of `keys` is empty; wanted a list of names, such as `[orders_daily]`
    p.md:2:17: `gpt-[5` is no pattern (unclosed character class; missing ']'); wanted one such as `gpt-5.6*`
    p.md:2:10: `holdout` is `60%`; wanted a share from 0 to 0.5, such as `0.01`
    p.md:2:1: `promotion` is not available in this version
    p.md:3:1: `rollout` is not available in this version
    p.md:4:1: `run` is not available in this version
    p.md:5:1: `compress` is not available in this version
    p.md:6:1: `error_budget` is not available in this version
    p.md:3:1: `default` occurs twice; first in line 2
    p.md:2:10: not YAML: unclosed bracket '['
    p.md:2:1: `front matter` is a list; wanted keys such as `default: frontier`
    p.md:2:1: `front matter` is a plain value; wanted keys such as `default: frontier`
    "#);
}

#[test]
fn rules_with_mistakes() {
    assert_snapshot!(front(&[
        "rules:\n  - { use: frontier }\n  - { when: { keywords: [x] } }\n  - { when: {}, use: frontier }",
        "rules:\n  - { when: { keyword: [x] }, use: frontir, protect: true }",
        "rules:\n  - { when: { keywords: drop table, globs: [], tools: [[a]] }, use: frontier }",
        "rules:\n  - { when: { globs: [\"a/[\"], tools: [\"b[\"], prompt_tokens: { over: 2e5 } }, use: frontier }",
        "rules:\n  - { when: { prompt_tokens: { over: 9, under: 10 } }, use: frontier }\n  - { when: { prompt_tokens: {} }, use: frontier }",
        "rules:\n  - x\n  -\n  - { when: { keywords: [x] }, use: frontier, because: [y], protected: 1 }",
    ]), @r#"
    p.md:3:5: the rule has no `when`; wanted `- { when: { keywords: [drop table] }, use: frontier }`
    p.md:4:5: the rule has no `use`; wanted the tier that does the work, such as `use: frontier`
    p.md:5:13: `when` asks for nothing; wanted conditions, such as `{ keywords: [drop table] }`, or `default` for everything
    p.md:3:15: unknown key `keyword`; wanted one of `keywords`, `globs`, `tools`, `prompt_tokens`; did you mean `keywords`?
    p.md:3:36: `use` is `frontir`; wanted `frontier`, `reasoning` or `lightweight`; did you mean `frontier`?
    p.md:3:45: unknown key `protect`; wanted one of `when`, `use`, `protected`, `because`; did you mean `protected`?
    p.md:3:25: `keywords` is a plain value; wanted a list of words, such as `[drop table, delete from]`
    p.md:3:44: `globs` is empty; wanted a list of paths, such as `["**/migrations/*.sql"]`
    p.md:3:56: an entry of `tools` is a list; wanted a list of names, such as `[run_sql]`
    p.md:3:23: `a/[` is no pattern (unclosed character class; missing ']')
    p.md:3:39: `b[` is no pattern (unclosed character class; missing ']')
    p.md:3:69: `over` is `2e5`; wanted a count of tokens, such as `200000`
    p.md:3:30: no prompt has more than 9 and fewer than 10 tokens; wanted `over` below `under`
    p.md:4:30: `prompt_tokens` has no bound; wanted bounds, such as `{ over: 200000 }`
    p.md:3:5: `rule` is a plain value; wanted `- { when: { keywords: [drop table] }, use: frontier }`
    p.md:4:4: `rule` is nothing; wanted `- { when: { keywords: [drop table] }, use: frontier }`
    p.md:5:56: `because` is a list; wanted a sentence in quotes
    p.md:5:72: `protected` is `1`; wanted `true` or `false`
    "#);
}

#[test]
fn patterns_that_no_compiler_should_see() {
    let braces = |depth: usize| format!("[\"{}a{}\"]", "{".repeat(depth), "}".repeat(depth));
    let (deep, deepest) = (braces(300), braces(10_000));
    assert_snapshot!(front(&[
        &format!("treat_as_auto: {deep}"),
        &format!("rules:\n  - {{ when: {{ globs: {deepest} }}, use: frontier }}"),
        &format!("rules:\n  - {{ when: {{ tools: {deepest} }}, use: frontier }}"),
    ]), @r#"
    p.md:2:17: `{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{…` is no pattern (it has 300 braces within each other; wanted at most 8); wanted one such as `gpt-5.6*`
    p.md:3:23: `{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{…` is no pattern (it has 20004 bytes; wanted at most 1024)
    p.md:3:23: `{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{…` is no pattern (it has 20001 bytes; wanted at most 1024)
    "#);
}

#[test]
fn front_matter_that_nearly_begins() {
    let of = |before: &str| {
        problems(&format!(
            "{before}\nrules:\n  - {{ when: {{ keywords: [x] }}, use: frontier }}\n---\n\n## Lightweight\n- x\n"
        ))
    };
    for before in [
        "--- # policy",
        "---yaml",
        "--- yaml",
        "+++",
        "\u{feff}\u{feff}---",
        "\u{200b}---",
        "\u{a0}---",
        "   ---",
        "\t---",
        "```yaml",
        "~~~\n---",
        "> ---",
        "<div>\n---",
        "    ---",
    ] {
        let told = of(before);
        assert!(told.starts_with("p.md:1:1: ") || told.contains("`rules:` stands"), "{before:?}: {told}");
    }
    let quoted = "> ---\n> rules:\n>   - { when: { keywords: [x] }, use: frontier }\n> ---\n\n## Lightweight\n- x\n";
    assert!(problems(quoted).contains("p.md:2:3: `rules:` stands in a quotation"));
    let indented = "    ---\n    default: reasoning\n    ---\n\n## Lightweight\n- x\n";
    assert!(problems(indented).starts_with("p.md:1:1: `---` is indented"));
}

#[test]
fn what_swallows_the_sections_below_it() {
    for (text, expected) in [
        ("## Frontier\n- a\n\n<!-- ours\n\n## Lightweight\n- x\n", "p.md:4:1: a comment begins here and does not end"),
        (
            "## Frontier\n- a\n\n```\nx\n\n## Lightweight\n- x\n",
            "p.md:4:1: a block of code begins here and does not end",
        ),
        ("## Frontier\n- a\n\n~~~\n", "p.md:4:1: a block of code begins here and does not end"),
        (
            "## Frontier\n- a\n\n<div>\n## Lightweight\n- x\n",
            "p.md:5:1: `## Lightweight` stands in HTML and is not read",
        ),
        (
            "## Frontier\n- a\n\n<script>\n\n## Lightweight\n- x\n",
            "p.md:6:1: `## Lightweight` stands in HTML and is not read",
        ),
    ] {
        let told = problems(text);
        assert!(told.starts_with(expected), "{text}: {told}");
    }
    for text in [
        "## Frontier\n- a\n\n<!--\n## Lightweight\n- x\n-->\n",
        "## Frontier\n- a\n\n```\nx\n```\n\n## Lightweight\n- x\n",
        "## Frontier\n- a\n\n````md\n```\n````\n\n<b>x</b>\n",
    ] {
        good(text);
    }
}

#[test]
fn bullets_under_headings_that_nearly_mean_something() {
    assert_snapshot!(each(&[
        "# Lightweight\n- x\n",
        "Lightweight model\n=====\n- x\n",
        "# Examples\n- \"x\" → frontier\n## Frontier\n- y\n",
        "## Frontier\n- y\n### Examples\n- \"x\" → frontier\n",
        "## Light\n- x\n",
        "## Fast\n- x\n",
        "## Frontier\n- y\n## Tests\n- \"x\" → frontier\n",
        "## Notes\n- Triage {id: triage, protected: true}\n",
    ]), @r#"
    p.md:2:3: the bullets under `# Lightweight` are not read; wanted `## Lightweight`
    p.md:3:3: the bullets under `# Lightweight model` are not read; wanted `## Lightweight model`
    p.md:2:3: the bullets under `# Examples` are not read; wanted `## Examples`
    p.md:4:3: the bullets under `### Examples` are no tests; wanted `## Examples`
    p.md:2:3: the bullets under `## Light` are not read; wanted `## Lightweight`
    p.md:2:3: the bullets under `## Fast` are not read; wanted `## Lightweight`
    p.md:4:3: the bullets under `## Tests` are not read; wanted `## Examples`
    p.md:2:3: the bullet has options and stands in no section; wanted it under a tier or `## Examples`
    "#);
}

#[test]
fn options_that_would_be_read_as_text() {
    for bullet in [
        "Schema changes {protected: true} {id: sierra}",
        "Schema changes {protected: true}.",
        "Schema changes {protected: true} (see runbook)",
        "Schema {protected: true} changes",
        "Schema changes `{protected: true}`",
        "Schema changes {{protected: true}}",
        "Schema changes {protected=true}",
        "Schema changes {protected true}",
        "Schema changes {.protected}",
        "Schema changes {#sierra .protected}",
        "Schema changes (protected: true)",
        "Schema changes {protected：true}",
        "Schema changes, **protected**: yes",
        "Schema changes {max_output: 800} and more",
        "Schema changes {cache: semantic}.",
    ] {
        let told = problems(&format!("## Frontier\n- {bullet}\n"));
        assert!(told.starts_with("p.md:2:"), "{bullet}: {told}");
    }
    for text in [
        "## Frontier {protected: true}\n- x\n",
        "## Frontier\nUse for {protected: true}:\n- x\n",
        "## Frontier\n- x\n  - \"y\" {protected: true}\n",
        "## Frontier\n- x\n## Examples\n- \"y\" → frontier (advisory: true)\n",
    ] {
        assert!(problems(text).contains("looks like an option"), "{text}");
    }
    for bullet in [
        "Changes of protected branches",
        "Protected: no changes",
        "Work on {customer} caches",
        "The protected-mode flag",
    ] {
        good(&format!("## Frontier\n- {bullet}\n"));
    }
}

#[test]
fn a_reason_that_no_header_can_carry() {
    assert_snapshot!(front(&["rules:\n  - { when: { tools: [x] }, use: frontier, because: \"a\\nb\" }"]), @"p.md:3:53: `because` has a control character or a line break; wanted a sentence in quotes");
}

#[test]
fn very_many_problems() {
    let told = problems(&format!("## Frontier\n{}", "- \n".repeat(5_000)));
    assert_eq!(told.lines().count(), 101);
    assert!(told.ends_with("p.md: 4900 more problems are not shown"), "{told}");
}

#[test]
fn front_matter_in_the_wrong_place() {
    assert_snapshot!(each(&[
        "---\ndefault: frontier\n## Lightweight\n- x\n",
        "default: frontier\n\n## Lightweight\n- x\n",
        "<!-- ours -->\n\n---\ndefault: reasoning\n---\n## Lightweight\n- x\n",
    ]), @r#"
    p.md:1:1: front matter begins here and does not end; wanted a second line of `---` below it
    p.md:1:1: `default:` stands outside of the front matter; wanted it between two lines of `---` at the top of the file
    p.md:4:1: `default:` stands outside of the front matter; wanted it between two lines of `---` at the top of the file
    "#);
}

#[test]
fn a_default_applies_to_everything_or_has_another_name() {
    let text = "---\napplies_to: { teams: [a] }\n---\n## Lightweight\n- x\n";
    assert_snapshot!(lines(&parse("default.md", text).unwrap_err()), @r#"default.md:2:1: `default.md` applies where no other policy does; wanted another name, or no `applies_to`"#);
}

#[test]
fn what_is_too_large() {
    let bullets = |count: usize| (0..count).map(|n| format!("- task {n}\n")).collect::<String>();
    let examples: String = (0..5000).map(|n| format!("  - example {n}\n")).collect();
    let rules = "  - { when: { tools: [x] }, use: frontier }\n".repeat(65);
    assert_snapshot!(each(&[
        &format!("## Lightweight\n{}", bullets(300)),
        &format!("## Lightweight\n- x\n{examples}"),
        &format!("---\nrules:\n{rules}---\n"),
        &" ".repeat(300_000),
    ]), @r#"
    p.md:258:3: one bullet too many; wanted at most 256 in a file
    p.md:4099:5: one example too many; wanted at most 4096 in a file
    p.md:3:3: `rules` has 65 entries; wanted at most 64
    p.md: has 300000 bytes; wanted a policy of at most 262144
    "#);
}

#[test]
fn everything_wrong_is_told_at_once_in_order() {
    assert_snapshot!(problems(
        "---\ndefault: best\nrollout: {}\n---\n## Light weight\n- x\n## Frontier\n- y {protcted: true}\n## Examples\n- \"a\" → z\n"
    ), @r#"
    p.md:2:10: `default` is `best`; wanted `frontier`, `reasoning` or `lightweight`
    p.md:3:1: `rollout` is not available in this version
    p.md:5:1: `## Light weight` nearly names a tier; wanted `Lightweight` as its first word
    p.md:8:5: unknown option `protcted`; did you mean `protected`?
    p.md:10:3: `z` is neither a tier nor a task of this file; wanted `frontier`, `reasoning`, `lightweight` or the id of a bullet; did you mean `y`?
    "#);
}
