use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;

/// The smallest policy that people write, without front matter.
const PLAIN: &str = "# Model routing policy — orders_daily pipeline

## Frontier model (highest quality, highest cost)
Use for:
- Novel failure diagnosis (patterns not seen before)
- Business logic interpretation (ambiguous requirements)
- Multi-step reasoning requiring sustained context

## Reasoning model (multi-step, moderate cost)
Use for:
- Root cause analysis across multiple logs
- Impact assessment with complex lineage

## Lightweight model (fastest, cheapest)
Use for:
- Schema diff comparison
- Log parsing and categorization
- Summarization of structured execution history
- Routine health checks and format validation
";

#[test]
fn a_plain_file_applies_to_the_pipeline_of_its_name() {
    let (policy, warnings) = parse("routing-policies/orders_daily.md", PLAIN).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!((policy.name.as_str(), policy.file.as_str()), ("orders_daily", "routing-policies/orders_daily.md"));
    assert_eq!(policy.applies_to.pipelines, ["orders_daily"]);
    assert_eq!(policy.default, Tier::Frontier);
    assert_snapshot!(tasks(&policy).join("\n"), @r#"
    frontier novel-failure-diagnosis: Novel failure diagnosis (patterns not seen before) []
    frontier business-logic-interpretation: Business logic interpretation (ambiguous requirements) []
    frontier multi-step-reasoning-requiring-sustained-context: Multi-step reasoning requiring sustained context []
    reasoning root-cause-analysis-across-multiple-logs: Root cause analysis across multiple logs []
    reasoning impact-assessment-with-complex-lineage: Impact assessment with complex lineage []
    lightweight schema-diff-comparison: Schema diff comparison []
    lightweight log-parsing-and-categorization: Log parsing and categorization []
    lightweight summarization-of-structured-execution-history: Summarization of structured execution history []
    lightweight routine-health-checks-and-format-validation: Routine health checks and format validation []
    "#);
    assert_eq!(policy.tasks[0].at, Place { line: 5, column: 3 });
}

#[test]
fn a_file_may_say_everything() {
    let policy = good(
        "---
applies_to: { teams: [data], projects: [orders], pipelines: [daily, weekly], keys: [ci] }
default: reasoning
confidence: 0.6
holdout: 0.01
treat_as_auto: [\"gpt-5.6*\", claude-opus-4]
rules:
  - { when: { keywords: [drop table, delete from] }, use: frontier, protected: true, because: \"high stakes\" }
  - when: { globs: [\"**/migrations/*.sql\"], tools: [run_sql], prompt_tokens: { over: 10, under: 200000 } }
    use: reasoning
---
## Frontier model
- Novel failures
  - \"The job died\"
  - it died again
## Lightweight
- Log parsing {id: log-parsing, max_output: 800, protected: true}
## Examples
- \"Sort these lines\" → lightweight
- \"The job died with x -> y\" -> frontier {advisory: true}
- “Parse this” → log-parsing
",
    );
    let AppliesTo { teams, projects, pipelines, keys } = &policy.applies_to;
    assert_eq!((teams.len(), projects.len(), pipelines.len(), keys.len()), (1, 1, 2, 1));
    assert_eq!((policy.default, policy.confidence), (Tier::Reasoning, Some(0.6)));
    assert_eq!(policy.holdout_ppm, 10_000);
    assert!(policy.treats_as_auto("openai/gpt-5.6-sol", "gpt-5.6-sol") && !policy.treats_as_auto("gpt-5", "gpt-5"));
    assert_eq!(policy.rules.len(), 2);
    assert!(policy.rules[0].protected && !policy.rules[1].protected);
    assert_eq!(policy.rules[0].because.as_deref(), Some("high stakes"));
    assert_eq!(policy.rules[1].at, Place { line: 9, column: 5 });
    assert_eq!(policy.tasks[0].examples, ["The job died", "it died again"]);
    let parsing = policy.task("log-parsing").unwrap();
    assert_eq!((parsing.text.as_str(), parsing.max_output, parsing.protected), ("Log parsing", Some(800), true));
    let tests: Vec<_> = policy.tests.iter().map(|t| (t.request.as_str(), t.expected.clone(), t.advisory)).collect();
    assert_eq!(
        tests,
        [
            ("Sort these lines", Expected::Tier(Tier::Lightweight), false),
            ("The job died with x -> y", Expected::Tier(Tier::Frontier), true),
            ("Parse this", Expected::Task("log-parsing".to_owned()), false),
        ]
    );
}

#[test]
fn a_bullet_reads_alike_however_it_is_written() {
    let plain = "lightweight log-parsing: Log parsing (batch jobs) []";
    for text in [
        "## Lightweight\n- Log parsing (batch jobs)",
        "## Lightweight\n\n* Log parsing (batch jobs)\n",
        "## LIGHTWEIGHT: cheap\n+ Log parsing\n  (batch jobs)\n",
        "## lightweight\nUse for:\n1. Log parsing (batch jobs)\n",
        "## **Lightweight** model\n**Use for:**\n\n-\tLog parsing (batch jobs)\n",
        "Lightweight model\n-----\nUse for:\n- Log parsing (batch jobs)\n",
        "## Lightweight\r\nUse for:\r\n- Log parsing\r\n  (batch jobs)\r\n",
        "\u{feff}## Lightweight\rUse for:\r- Log parsing (batch jobs)\r",
        "## Lightweight\n- *Log* **parsing** ([batch](https://x.example) `jobs`)\n",
        "## Lightweight\nThe cheapest one. Use for:\n- Log parsing <!-- ask Ana --> (batch jobs)\n",
        "## Lightweight\nUse this tier for:\n\n   - Log parsing (batch jobs)\n\n   Not for:\n\n   - Anything else\n",
        "\n\n---\ndefault: frontier\n---\n## Lightweight\n### Logs\n- Log parsing (batch jobs)\n",
        "# Prose\n- not a task\n## Who to ask\n- Ana\n## Lightweight\n- Log parsing (batch jobs)\n# More prose\n- no task\n",
    ] {
        check_task(text, plain);
    }
}

#[test]
fn braces_that_name_no_option_stay_text() {
    for (bullet, id, text) in [
        ("Loads of {{ ds }}", "loads-of-ds", "Loads of {{ ds }}"),
        ("Look up {customer}", "look-up-customer", "Look up {customer}"),
        ("Look up {id}", "look-up-id", "Look up {id}"),
        ("Fill in {name: value}", "fill-in-name-value", "Fill in {name: value}"),
        ("Answer as `{id: x}`", "answer-as-id-x", "Answer as {id: x}"),
        ("Answer as \\{id: x\\}", "answer-as-id-x", "Answer as {id: x}"),
        ("The {id: x} form", "the-id-x-form", "The {id: x} form"),
        ("Unbalanced id: x}", "unbalanced-id-x", "Unbalanced id: x}"),
        ("{{ ds }} loads {id: loads}", "loads", "{{ ds }} loads"),
        ("A & B &amp; C {id: abc}", "abc", "A & B & C"),
        ("Wrapped\n  over lines {id: wrapped,\n  protected: false}", "wrapped", "Wrapped over lines"),
    ] {
        check_task(&format!("## Lightweight\n- {bullet}\n"), &format!("lightweight {id}: {text} []"));
    }
}

#[test]
fn nested_bullets_are_examples_in_quotes_or_without() {
    let text = "## Lightweight\n- Logs {id: logs}\n  - \"one\"\n  - „zwei“\n  - «trois»\n  - it's four\n  - `five`\n  - 'six'\n  - a\n    wrapped one\n";
    check_task(
        text,
        "lightweight logs: Logs [\"one\", \"zwei\", \"trois\", \"it's four\", \"five\", \"six\", \"a wrapped one\"]",
    );
}

#[test]
fn tabs_indent_as_well_as_spaces() {
    check_task("## Lightweight\n-\tLogs\n\t-\t\"one\"\n\t- two\n", "lightweight logs: Logs [\"one\", \"two\"]");
}

#[test]
fn a_version_is_the_name_and_the_hash_of_the_bytes() {
    let version = |text| good(text).version;
    let one = version("## Lightweight\n- x\n");
    assert!(one.starts_with("p@") && one.len() == 6, "{one}");
    assert_eq!(one, version("## Lightweight\n- x\n"));
    assert_ne!(one, version("## Lightweight\n- x\n\n"));
}

#[test]
fn front_matter_alone_is_a_policy() {
    assert_eq!(good("---\ndefault: reasoning\n---\n").default, Tier::Reasoning);
    assert_eq!(good("---\ndefault: reasoning\n---").default, Tier::Reasoning);
}

#[test]
fn the_built_in_default_sends_unclear_work_to_the_frontier() {
    assert_eq!((builtin().name.as_str(), builtin().default), ("default", Tier::Frontier));
    assert!(builtin().applies_to.is_everything());
    let words = rules::Facts { last_user_turn: &["please DROP TABLE orders"], ..rules::Facts::default() };
    let rule = &builtin().rules[builtin().rules.first_match(&words).unwrap()];
    assert!(rule.protected && rule.tier == Tier::Frontier);
    assert!(builtin().rules.first_match(&rules::Facts::default()).is_none());
}

#[test]
fn the_first_rule_that_matches_decides_in_one_pass_over_the_text() {
    let policy = good(
        "---\nrules:\n  - { when: { keywords: [drop], globs: [\"*.sql\"] }, use: frontier }\n\
         \x20 - { when: { globs: [\"*.py\"], tools: [run_sql] }, use: frontier }\n\
         \x20 - { when: { prompt_tokens: { over: 100 } }, use: frontier }\n\
         \x20 - { when: { keywords: [drop table] }, use: frontier }\n---\n",
    );
    let check = |turn: &[&str], results: &[&str], tools: &[&str], prompt_tokens, expected: Option<usize>| {
        let facts = rules::Facts {
            last_user_turn: turn,
            tool_results: results,
            tools,
            more_tools: tools.len() > 1,
            prompt_tokens,
        };
        assert_eq!(policy.rules.first_match(&facts), expected, "{facts:?}");
    };
    check(&["drop a.sql"], &[], &[], 1, Some(0));
    check(&["drop"], &["see a.sql"], &[], 1, Some(0));
    check(&["drop", "table"], &[], &[], 1, Some(3));
    check(&["drop"], &["table"], &[], 1, None);
    check(&["drop table", "a.py"], &[], &["run_sql"], 1, Some(1));
    check(&["drop table", "a.py"], &[], &["other"], 1, Some(3));
    check(&["drop table", "a.py"], &[], &["other", "and", "more"], 1, Some(1));
    check(&["drop table a.sql"], &[], &[], 101, Some(0));
    check(&["drop table"], &[], &[], 101, Some(2));
    check(&[], &[], &["run_sql"], 1, None);
    let cheap =
        |prompt_tokens| policy.rules.read_texts(&rules::Facts { prompt_tokens, ..rules::Facts::default() }, |_| true);
    assert!(cheap(1) && cheap(101), "the first rule reads texts whatever the size");
    assert!(
        !good("---\nrules: [{ when: { tools: [x] }, use: frontier }]\n---\n")
            .rules
            .read_texts(&rules::Facts::default(), |_| true)
    );
}

#[test]
fn no_key_of_the_grammar_goes_unread() {
    for key in front_matter::KEYS {
        let told = parse("p.md", &format!("---\n{key}: {{ }}\n---\n")).map(|_| ()).unwrap_err();
        assert!(!lines(&told).contains("nothing reads"), "{key}");
    }
    let nested = [("applies_to", &front_matter::APPLIES_TO[..]), ("rules: [{ when", &front_matter::WHEN)];
    for (outer, keys) in nested {
        for key in keys {
            let end = if outer.starts_with("rules") { ", use: frontier }]" } else { "" };
            let text = format!("---\n{outer}: {{ {key}: {{ over: 1 }} }}{end}\n---\n");
            let told = parse("p.md", &text).err().unwrap_or_default();
            assert!(!lines(&told).contains("nothing reads"), "{key}");
        }
    }
}

#[test]
fn deep_nesting_is_refused_and_takes_no_stack() {
    for mark in ["- ", "> ", "1. ", "[", "*a ", "- > "] {
        let text = format!("## Lightweight\n- x\n{}y\n", mark.repeat(50_000));
        drop(parse("p.md", &text));
    }
    assert!(problems(&format!("## Lightweight\n{}y\n", "- ".repeat(50_000))).contains("empty bullet"));
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC*") {
        drop(parse("p.md", &text));
    }

    #[test]
    fn no_piece_of_markdown_makes_the_reader_panic(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40)) {
        let text = pieces.concat();
        for problem in parse("p.md", &text).err().into_iter().flatten() {
            let last = 1 + text.replace("\r\n", "\n").matches(['\n', '\r']).count();
            prop_assert!(problem.line as usize <= last, "{problem} in {text:?}");
        }
    }
}

const PIECES: &[&str] = &[
    "---\n",
    "rules:\n",
    "- ",
    "  - ",
    "\n",
    "\r\n",
    "\r",
    "\t",
    "## Frontier\n",
    "## Lightweight",
    "## Examples\n",
    "Use for:\n",
    "{id: x}",
    "{{ ds }}",
    "{protected: true, ",
    "}",
    "{",
    "`",
    "**",
    "[a](b)",
    "→ ",
    "-> frontier",
    "\"",
    "“é”",
    "&amp;",
    "<b>",
    "<!--",
    "-->",
    "> ",
    "    - ",
    "1. ",
    "applies_to: ",
    "[",
    "]",
    ": ",
    "x",
    "\\",
    "\u{feff}",
    "* * *\n",
    "===\n",
    "when: { keywords: [a] }",
    "use: frontier\n",
    "confidence: 0.5\n",
    "({id: y})",
    "```\n",
    "|",
    "#",
    "…",
];
