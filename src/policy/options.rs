//! Braces behind a bullet: `{id: log-parsing, max_output: 800}`.
//!
//! Braces are options if they name an option; `{{ ds }}`, `{customer}` and whatever else people write in braces stays
//! text. What was probably meant as an option is an error, since it would be lost in silence.

use crate::problem::nearest_hint;
use crate::yaml::findings::{Findings, found};
use crate::yaml::{self, Key, Node, Value};

use super::outline::{Braces, Bullet};

/// Options of a task.
pub(super) const TASK: [&str; 3] = ["id", "protected", "max_output"];
/// Options of a task whose rooms are not built.
pub(super) const TASK_NOT_BUILT: [&str; 4] = ["cache", "mask", "ttl", "compress"];
/// Options of a test.
pub(super) const TEST: [&str; 1] = ["advisory"];

/// The text of a bullet, and its options if it has any.
pub(super) fn split<'b>(
    findings: &mut Findings<'_>,
    bullet: &'b Bullet,
    known: &[&str],
    not_built: &[&str],
) -> (&'b str, Vec<(Key<'b>, Node<'b>)>) {
    let Some(braces) = &bullet.braces else { return (&bullet.text, Vec::new()) };
    let is_option = |word: &str| known.contains(&word) || not_built.contains(&word);
    let keys = keys(&braces.raw);
    let before = bullet.text[..braces.from].trim_end();
    if keys.iter().any(|key| is_option(key.name) && key.has_colon) {
        return (before, entries(findings, braces, known, not_built));
    }
    // A bare `{id}` is a placeholder; a bare `{protected}` is a wish that must not be lost.
    let wish = keys.iter().find(|key| is_option(key.name) && key.name == "protected");
    if wish.is_some() {
        findings.report(braces.at, "`{protected}` has no value; wanted `{protected: true}`");
    }
    for key in keys.iter().filter(|key| key.has_colon) {
        let hint = nearest_hint(&key.name.to_lowercase(), known.iter().copied());
        if !hint.is_empty() {
            findings.report(braces.at, format!("unknown option {}{hint}", found(key.name)));
            return (before, Vec::new());
        }
    }
    (&bullet.text, Vec::new())
}

fn entries<'b>(
    findings: &mut Findings<'_>,
    braces: &'b Braces,
    known: &[&str],
    not_built: &[&str],
) -> Vec<(Key<'b>, Node<'b>)> {
    let node = match yaml::read_within(&braces.raw, braces.at) {
        Ok(node) => node,
        Err((place, message)) => {
            findings.report(place, message);
            return Vec::new();
        }
    };
    let Value::Map(entries) = node.value else { return Vec::new() };
    findings.refuse_repeats(&entries);
    let mut good = Vec::new();
    for (key, value) in entries {
        if not_built.contains(&&*key.text) {
            findings.report(key.place, format!("`{}` is not available in this version", key.text));
        } else if known.contains(&&*key.text) {
            good.push((key, value));
        } else if let Some((name, _)) = key.text.split_once(':') {
            let message = format!("`{name}:` and what follows it are one word; wanted a space after the colon");
            findings.report(key.place, message);
        } else {
            findings.unknown_key(&key, known);
        }
    }
    good
}

/// A word in braces where a key could stand.
struct Word<'a> {
    name: &'a str,
    has_colon: bool,
}

/// The words at the beginning of what commas part, outside of inner brackets.
fn keys(braces: &str) -> Vec<Word<'_>> {
    let inside = braces.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(braces);
    if inside.starts_with('{') {
        return Vec::new();
    }
    let mut depth = 0_usize;
    let parts = inside.split(|c| {
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    let word = |part| {
        let (name, has_colon) = str::split_once(part, ':').map_or((part, false), |(name, _)| (name, true));
        Word { name: name.trim().trim_matches(['"', '\'']), has_colon }
    };
    parts.map(word).collect()
}
