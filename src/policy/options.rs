//! Braces behind a bullet: `{id: log-parsing, max_output: 800}`.
//!
//! Braces are options if they name an option; `{{ ds }}`, `{customer}` and whatever else people write in braces stays
//! text. What was probably meant as an option is an error, since it would be lost in silence.

use crate::problem::{Place, nearest_hint};
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
    let all: Vec<&str> = known.iter().chain(not_built).copied().collect();
    let Some(braces) = &bullet.braces else {
        refuse_overlooked(findings, &bullet.text, &all, bullet.at.unwrap_or(Place { line: 1, column: 1 }));
        return (&bullet.text, Vec::new());
    };
    let is_option = |word: &str| known.contains(&word) || not_built.contains(&word);
    let keys = keys(&braces.raw);
    let before = bullet.text[..braces.from].trim_end();
    if keys.iter().any(|key| is_option(key.name) && key.has_colon) {
        if ends_in_options(before, &all) {
            findings.report(braces.at, "options in two pairs of braces; wanted all of them in one");
        } else {
            refuse_overlooked(findings, before, &all, bullet.at.unwrap_or(braces.at));
        }
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
    if wish.is_none() {
        refuse_overlooked(findings, &bullet.text, &all, bullet.at.unwrap_or(braces.at));
    }
    (&bullet.text, Vec::new())
}

/// Reports what looks like an option in a text where none is read: it would be lost in silence.
pub(super) fn refuse_overlooked(findings: &mut Findings<'_>, text: &str, options: &[&str], at: Place) {
    if let Some((option, looks)) = overlooked(text, options) {
        let wanted = match option {
            "protected" | "advisory" => format!("{option}: true"),
            _ => format!("{option}: …"),
        };
        let message = format!(
            "{} looks like an option and is read as text; wanted `{{{wanted}}}` at the end of a bullet",
            found(looks)
        );
        findings.report(at, message);
    }
}

/// An option as people write it where none is read, and the text from it on. A bare `id` is a word like any other.
fn overlooked<'t, 'o>(text: &'t str, options: &[&'o str]) -> Option<(&'o str, &'t str)> {
    let lower = text.to_ascii_lowercase();
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    for option in options.iter().filter(|option| **option != "id") {
        for (at, _) in lower.match_indices(option) {
            let (before, after) = (&text[..at], &text[at + option.len()..]);
            if before.ends_with(is_part) || after.starts_with(is_part) {
                continue;
            }
            let open = before.rfind('{').filter(|open| !before[*open..].contains('}'));
            let value = after.trim_start_matches([' ', '`', '"', '\'', '*']).strip_prefix([':', '=', '：']);
            let is_on = |value: &str| {
                let word = value.trim_start_matches([' ', '`', '"', '\'', '*']).split(|c| !is_part(c)).next();
                word.is_some_and(|word| ["true", "yes", "on"].contains(&word.to_ascii_lowercase().as_str()))
            };
            let is_option = match *option {
                "protected" | "advisory" => open.is_some() || value.is_some_and(is_on),
                _ => open.is_some() && value.is_some(),
            };
            if is_option {
                return Some((option, &text[open.unwrap_or(at)..]));
            }
        }
    }
    None
}

/// Whether braces name an option and give it a value.
pub(super) fn names_some(braces: &str, options: &[&str]) -> bool {
    keys(braces).iter().any(|key| key.has_colon && options.contains(&key.name))
}

/// Whether a text ends in braces that name an option.
fn ends_in_options(text: &str, options: &[&str]) -> bool {
    let text = text.trim_end();
    text.ends_with('}') && text.rfind('{').is_some_and(|open| names_some(&text[open..], options))
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
