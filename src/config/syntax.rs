//! Errors of the YAML layer in our words: syntax, unknown and repeated keys, lists where values are wanted.
//!
//! The parser stops at the first of these. Its messages are rewritten so that they name the key and
//! never quote a value, which might be a credential in the wrong place.

use serde_saphyr::{Error, Location};

use crate::problem::{Problem, nearest_hint};

use super::written::{File, NOT_BUILT};

/// Longer keys are not repeated in messages: they are misplaced values.
const KEY_CHARS_MAX: usize = 32;
/// More names than this are not listed in a message.
const LISTED_NAMES_MAX: usize = 20;

/// Most unknown keys that are told at once.
const UNKNOWN_KEYS_MAX: usize = 20;

/// Reads the written shape.
///
/// # Errors
///
/// The first violation of YAML or of the file's structure; of unknown keys all that stand in lines of their own.
pub(super) fn read(file_name: &str, text: &str) -> Result<File, Vec<Problem>> {
    let (first, mut unknown) = match read_once(file_name, text) {
        Ok(file) => return Ok(file),
        Err(refused) => refused,
    };
    let mut problems = vec![first];
    let mut rest = text.to_owned();
    while let Some(line) = unknown.take().filter(|_| problems.len() < UNKNOWN_KEYS_MAX) {
        let Some(without) = without_key(&rest, line) else { break };
        rest = without;
        // Whatever else is wrong now may be so only because a key is gone.
        if let Err((problem, Some(next))) = read_once(file_name, &rest) {
            problems.push(problem);
            unknown = Some(next);
        }
    }
    Err(problems)
}

/// The text with the key that begins in `line` made a comment, and with it all that is indented further.
fn without_key(text: &str, line: u64) -> Option<String> {
    let at = usize::try_from(line).ok()?.checked_sub(1)?;
    let indent_of = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let key = text.lines().nth(at)?;
    if !key.trim_start().starts_with(|first: char| first.is_alphanumeric()) {
        return None;
    }
    let mut inside = false;
    let lines = text.lines().enumerate().map(|(number, line)| {
        inside = number == at || (inside && (line.trim().is_empty() || indent_of(line) > indent_of(key)));
        format!("{}{line}\n", if inside { "#" } else { "" })
    });
    Some(lines.collect())
}

/// The file, or what is wrong with it and, if that is an unknown key, its line.
fn read_once(file_name: &str, text: &str) -> Result<File, (Problem, Option<u64>)> {
    serde_saphyr::from_str(text).map_err(|error| {
        let error = error.without_snippet();
        let location = error.location().unwrap_or(Location::UNKNOWN);
        let found = |line: u64, column: u64, message| Problem {
            file: file_name.to_owned(),
            line: line.try_into().unwrap_or(u32::MAX),
            column: column.try_into().unwrap_or(u32::MAX),
            message,
        };
        let unknown = matches!(error, Error::SerdeUnknownField { .. }).then(|| location.line());
        let problem = match indenting_tab(text).filter(|_| error.to_string().contains("tab")) {
            Some((line, column)) => found(line, column, "a tab in the indentation; wanted spaces".to_owned()),
            None => found(location.line(), location.column(), message(error, location, text)),
        };
        (problem, unknown)
    })
}

fn message(error: &Error, location: Location, text: &str) -> String {
    let before = text_before(text, location);
    match error {
        Error::SerdeUnknownField { field, expected, .. } => unknown_key(field, expected),
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("`{key}` occurs twice; wanted it once"),
        Error::Unexpected { expected, .. } => mismatch(expected, before, &text[before.len()..]),
        Error::NullIntoString { .. } => "an empty entry in a list; wanted a value".to_owned(),
        Error::MultipleDocuments { .. } => "a second document begins; wanted a single one".to_owned(),
        Error::UnknownAnchor { .. } => "an alias without its anchor; wanted `&name` above `*name`".to_owned(),
        Error::SerdeInvalidType { expected, .. } | Error::SerdeInvalidValue { expected, .. } => {
            format!("{}wanted {expected}", owner(before).map_or_else(String::new, |key| format!("`{key}`: ")))
        }
        Error::AliasError { error, .. } => message(error, location, text),
        other => not_yaml(&other.to_string()),
    }
}

/// Where the first tab stands that is part of an indentation.
fn indenting_tab(text: &str) -> Option<(u64, u64)> {
    (1..).zip(text.lines()).find_map(|(line, content)| {
        let column = content.find(|c| c != ' ').filter(|at| content[*at..].starts_with('\t'))?;
        Some((line, column as u64 + 1))
    })
}

fn unknown_key(found: &str, known: &[&'static str]) -> String {
    // `{ key:sk-… }` is a key without a value, and what follows the colon may be secret.
    if let Some((key, _)) = found.split_once(':') {
        return format!("`{key}:` and what follows it are one word; wanted a space after the colon");
    }
    if found.chars().count() > KEY_CHARS_MAX {
        return format!("unknown key of {} characters; wanted `key: value`", found.chars().count());
    }
    let available = || known.iter().copied().filter(|key| !NOT_BUILT.contains(key));
    let what = if known.first() == Some(&"frontier") { "tier" } else { "key" };
    let hint = nearest_hint(found, available());
    if available().count() > LISTED_NAMES_MAX {
        return format!("unknown {what} `{found}`{hint}");
    }
    let names: Vec<_> = available().map(|key| format!("`{key}`")).collect();
    let one_of = if names.len() == 1 { "" } else { "one of " };
    format!("unknown {what} `{found}`; wanted {one_of}{}{hint}", names.join(", "))
}

fn mismatch(expected: &str, before: &str, rest: &str) -> String {
    let wanted = match expected {
        "string scalar" => "a single value",
        "mapping start" => "rows of the form `name: value`",
        "sequence start" => "a list such as `[first, second]`",
        other => other,
    };
    let found = match rest.as_bytes() {
        [b'[', ..] | [b'-', b' ' | b'\n', ..] => "a list",
        [b'{', ..] => "rows",
        _ if expected == "string scalar" => "rows",
        _ if rest.lines().next().is_some_and(|line| line.contains(": ") || line.ends_with(':')) => "rows",
        _ => "a single value",
    };
    match owner(before) {
        Some(key) => format!("`{key}` holds {found}; wanted {wanted}"),
        None => format!("found {found}; wanted {wanted}"),
    }
}

fn not_yaml(parser_says: &str) -> String {
    let says = parser_says.rsplit_once(" at line ").map_or(parser_says, |(says, _)| says);
    if says.contains("quote") {
        return "not YAML: a quote is not closed, or text follows a closed one".to_owned();
    }
    if says.contains("mapping values are not allowed") {
        return "not YAML: a second `: ` in one line, or a line that is indented too far; \
                wanted quotes around a value that contains `: `"
            .to_owned();
    }
    if says.starts_with("unexpected character") {
        return "not YAML: a value begins with a character that has a meaning of its own; wanted quotes around it"
            .to_owned();
    }
    format!("not YAML: {says}")
}

/// Everything in front of a place; columns count characters.
fn text_before(text: &str, location: Location) -> &str {
    let line = location.line().saturating_sub(1).try_into().unwrap_or(usize::MAX);
    let column = location.column().saturating_sub(1).try_into().unwrap_or(usize::MAX);
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let within = text[start..].char_indices().nth(column).map_or(text.len() - start, |(at, _)| at);
    &text[..start + within]
}

/// The key that a value belongs to, if the text in front of the value ends with one.
fn owner(before: &str) -> Option<&str> {
    let key = before.trim_end().strip_suffix(':')?;
    let not_in_keys = |c: char| !(c.is_alphanumeric() || c == '_' || c == '-');
    key.rsplit(not_in_keys).next().filter(|key| !key.is_empty())
}
