//! docs/translation.md says what becomes of each field: its examples are translated, and the tests that it names exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use farthing::dialect::Dialect;
use farthing::translate::stream::UsageChunk;
use farthing::translate::{self, Caching, Terms, Untranslatable};
use serde_json::{Value, json};

use crate::money_manual::functions;

/// The rows of each table, under the last heading and the head of the table.
fn tables() -> Vec<(String, Vec<String>, Vec<Vec<String>>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manual = fs::read_to_string(root.join("docs/translation.md")).expect("the manual");
    let (mut heading, mut tables) = (String::new(), Vec::new());
    let mut is_table = false;
    for line in manual.lines() {
        if let Some(text) = line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')) {
            text.clone_into(&mut heading);
        }
        let was_table = std::mem::replace(&mut is_table, line.starts_with('|'));
        if !is_table || line.starts_with("|---") {
            continue;
        }
        let cells: Vec<String> = line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
        if was_table {
            tables.last_mut().map(|(_, _, rows): &mut (_, _, Vec<_>)| rows.push(cells)).expect("a head");
        } else {
            tables.push((heading.clone(), cells, Vec::new()));
        }
    }
    tables
}

fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_test_that_the_manual_of_translation_names_exists() {
    let mut known = BTreeSet::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    ["src", "tests/it"].iter().for_each(|folder| functions(&root.join(folder), &mut known));
    let mut named = 0;
    for (heading, head, rows) in tables() {
        for row in rows.iter().filter(|_| head.last().is_some_and(|last| last == "test")) {
            let names = quoted(row.last().expect("cells"));
            assert!(!names.is_empty(), "no test under {heading}: {row:?}");
            for name in names {
                assert!(known.contains(name), "no test is called `{name}`: {row:?}");
                named += 1;
            }
        }
    }
    assert!(named > 60, "{named} tests are named");
}

#[test]
fn every_field_that_the_manual_leaves_out_or_refuses_is_left_out_or_refused() {
    let mut tried = 0;
    for (heading, _, rows) in tables().into_iter().filter(|(heading, ..)| heading.contains(" by name")) {
        let (from, to, vendor, model) = match heading.starts_with("Chat") {
            true => (Dialect::Chat, Dialect::Messages, "anthropic", "claude-opus-4-5"),
            false => (Dialect::Messages, Dialect::Chat, "openai", "gpt-4o"),
        };
        let (caching, usage) = (Caching::AsMarked, UsageChunk::Asked);
        let terms = Terms { vendor, model, output_limit: 4096, caching, usage };
        for row in rows {
            let (field, example) = (quoted(&row[0])[0], quoted(&row[1])[0]);
            let mut body = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
            let more: Value = serde_json::from_str(example).unwrap_or_else(|error| panic!("{error} in {example}"));
            if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
                body.extend(more);
            }
            let written = translate::request(from, to, body.to_string().as_bytes(), &terms);
            if heading.ends_with("refused by name") {
                let refused = written.expect_err(&format!("{example} is refused"));
                assert!(
                    matches!(&refused, Untranslatable::Field { field: named, .. } if named == field),
                    "{example}: {refused}"
                );
            } else {
                let dropped = written.unwrap_or_else(|error| panic!("{error} for {example}")).dropped;
                assert!(dropped.names().any(|name| name == field), "{example}: {}", dropped.list());
            }
            tried += 1;
        }
    }
    assert!(tried > 40, "{tried} examples are tried");
}
