//! Tells a statement of a program from a sentence: by how it is put together, never by a word.
//!
//! `class`, `import`, `return` and `let` are English as well. What makes a line code is syntax: a keyword with what belongs
//! behind it, or two signs that prose does not have (a call, an assignment, an operator, an indentation, …); three of
//! them beside a sentence, since prose quotes code as well.

/// Plain words in a row that make a sentence.
const SENTENCE_WORDS: usize = 4;
/// Words that statements begin with.
const KEYWORDS: [&str; 40] = [
    "abstract",
    "assert",
    "async",
    "await",
    "class",
    "const",
    "def",
    "elif",
    "else",
    "enum",
    "except",
    "export",
    "extern",
    "final",
    "finally",
    "fn",
    "for",
    "from",
    "func",
    "function",
    "if",
    "impl",
    "import",
    "interface",
    "let",
    "mod",
    "namespace",
    "package",
    "private",
    "protected",
    "pub",
    "public",
    "return",
    "static",
    "struct",
    "trait",
    "try",
    "use",
    "var",
    "while",
];
/// Words that statements of SQL begin with.
const SQL: [&str; 13] = [
    "alter", "create", "delete", "drop", "from", "group", "insert", "merge", "order", "select", "update", "where",
    "with",
];

/// Whether a line is of a program. Its indentation counts, and so does the mark of a diff in front.
pub(super) fn is_code(line: &str) -> bool {
    let marked = line.trim();
    let text = marked.trim_start_matches(['+', '-']).trim_start();
    let first = text.split(|c: char| !is_of_name(c)).next().unwrap_or_default();
    let keyword = KEYWORDS.contains(&first);
    let ends = text.ends_with(['{', '}', ';']);
    if text.ends_with('?') || !(keyword || ends || text.contains(['=', '(', ':', '<', '>', '&', '|'])) {
        return false;
    }
    let words = plain_words(text);
    let is_sentence = words >= SENTENCE_WORDS;
    if ends && (words == 0 || text.starts_with('{'))
        || text.ends_with('{') && (keyword || !is_sentence)
        || text.ends_with(';') && is_sql(first)
        || text.ends_with(");") && has_call(text)
        || keyword && (!is_sentence || first == "from") && is_statement(text, first)
    {
        return true;
    }
    let signs = [
        ends,
        keyword,
        is_indented(line) || is_of_diff(marked),
        has_operator(text),
        has_call(text),
        has_mapping(text),
        is_assignment(text),
    ];
    let signs = signs.into_iter().filter(|sign| *sign).count();
    signs >= if is_sentence { 3 } else { 2 }
}

/// Whether a line that begins with a keyword goes on as the keyword wants.
fn is_statement(text: &str, first: &str) -> bool {
    let rest = text[first.len()..].trim_start();
    let (name, behind) = rest.split_at(rest.find(|c| !is_of_name(c)).unwrap_or(rest.len()));
    let behind = behind.trim_start();
    let ends = text.ends_with([';', '{', '(', ')', ',']);
    match first {
        "import" | "use" | "package" | "mod" | "namespace" | "extern" => is_imported(rest.trim_end_matches([';', '{'])),
        "from" => {
            rest.split_once(" import ").is_some_and(|(module, names)| !module.contains(' ') && is_imported(names))
        }
        "def" | "fn" | "func" | "function" => {
            rest.starts_with('(') || !name.is_empty() && rest[name.len()..].starts_with(['(', '<'])
        }
        "class" | "struct" | "enum" | "trait" | "interface" | "impl" => {
            let is_heir = ["extends ", "implements ", "for "].iter().any(|word| behind.starts_with(word));
            name.starts_with(char::is_uppercase) && (is_heir || behind.starts_with([':', '(', '{', '<', ';']))
        }
        "let" | "const" | "var" | "static" => {
            let behind = behind.trim_start_matches(|c: char| is_of_name(c) || c == ' ' || c == ':');
            !name.is_empty() && (behind.starts_with('=') || text.ends_with(';'))
        }
        "return" => text.ends_with(';'),
        "public" | "private" | "protected" | "pub" | "abstract" | "final" | "async" | "export" => {
            ends && has_call(text)
        }
        "try" | "else" | "finally" => rest == ":" || rest.starts_with('{'),
        _ => false,
    }
}

/// `a`, `a.b`, `"a/b"`, `a::{b, c}`, `a as b`, `a, b`, `{ a } from "b"`: what can be imported, and no sentence.
fn is_imported(rest: &str) -> bool {
    let words: Vec<&str> = rest.split_whitespace().collect();
    let is_name = |word: &&str| word.chars().all(|c| is_of_name(c) || matches!(c, '.' | '/' | ':' | '*' | '@'));
    match words[..] {
        [one] => !one.ends_with(['.', ':', ',', '!']),
        [one, "as", other] => one.contains('.') && is_name(&one) && is_name(&other),
        [.., "from", other] => other.starts_with(['"', '\'']),
        [ref listed @ .., last] if !listed.is_empty() => {
            rest.contains("::") || listed.iter().all(|word| word.ends_with(',')) && is_name(&last)
        }
        _ => false,
    }
}

/// In one case as a whole: `Create` begins a sentence.
fn is_sql(first: &str) -> bool {
    let is_sentence_case = first.starts_with(char::is_uppercase) && first.chars().skip(1).any(char::is_lowercase);
    !is_sentence_case && SQL.iter().any(|sql| first.eq_ignore_ascii_case(sql))
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn has_operator(text: &str) -> bool {
    ["==", "!=", "<=", ">=", "=>", "&&", "||", "+=", "-=", "::", ":=", "<-"].iter().any(|sign| text.contains(sign))
}

/// A name with a parenthesis right behind it. `order(s)` is none.
fn has_call(text: &str) -> bool {
    text.match_indices('(').any(|(at, _)| {
        let inside = &text[at + 1..];
        let inside = &inside[..inside.find(')').unwrap_or(inside.len())];
        let is_ending = (1..=2).contains(&inside.len()) && inside.bytes().all(|byte| byte.is_ascii_lowercase());
        text[..at].ends_with(is_of_name) && !is_ending
    })
}

/// `{name: value}`.
fn has_mapping(text: &str) -> bool {
    text.match_indices('{').any(|(at, _)| {
        let inside = text[at + 1..].trim_start();
        let name = inside.trim_start_matches(|c| is_of_name(c) || matches!(c, '-' | '"' | '\''));
        name.len() < inside.len() && name.starts_with(':')
    })
}

/// By two columns or more, and no item of a list.
fn is_indented(line: &str) -> bool {
    let text = line.trim_start();
    let is_item = text.starts_with(['-', '*', '•', '+', '–']) || text.starts_with(|c: char| c.is_ascii_digit());
    (line.len() - text.len() >= 2 || line.starts_with('\t')) && !is_item
}

/// The mark of a diff stands in front of code or its indentation, a list's dash before one space.
pub(super) fn is_of_diff(text: &str) -> bool {
    let mut characters = text.chars();
    matches!(characters.next(), Some('+' | '-'))
        && !matches!((characters.next(), characters.next()), (Some(' '), Some(c)) if c != ' ')
}

/// One name, perhaps with a type or an index, in front of `=`.
fn is_assignment(text: &str) -> bool {
    let Some((left, right)) = text.split_once(" = ").or_else(|| text.split_once('=')) else { return false };
    let left = left.trim_end_matches(['+', '-', '*', '/', ':']).trim_end();
    let target = match left.split_once(": ") {
        Some((target, of_type)) if !of_type.contains(' ') => target,
        _ => left,
    };
    let is_name = |c: char| is_of_name(c) || matches!(c, '.' | '[' | ']' | '\'' | '"' | '$' | '@');
    target.starts_with(|c: char| !c.is_numeric()) && target.chars().all(is_name) && !right.trim().is_empty()
}

/// Whether the line opens with as many plain words as a sentence has, whatever it lists behind them.
pub(super) fn begins_a_sentence(text: &str) -> bool {
    text.split_whitespace().take_while(|word| is_plain(word)).nth(SENTENCE_WORDS - 1).is_some()
}

/// The most plain words in a row; no more than a sentence needs.
fn plain_words(text: &str) -> usize {
    let (mut most, mut row) = (0, 0);
    for word in text.split_whitespace() {
        row = if is_plain(word) { row + 1 } else { 0 };
        most = most.max(row);
        if most == SENTENCE_WORDS {
            break;
        }
    }
    most
}

/// Letters with a sentence's marks around them at most. A single letter is rather a name.
fn is_plain(word: &str) -> bool {
    let bare = word.trim_end_matches(['.', ',', '!', '?', ':', ';']);
    let bare = bare.trim_matches(['"', '“', '”', '„', '(', ')', '*', '`']);
    let is_word = |c: char| c.is_alphabetic() || matches!(c, '\'' | '’' | '-');
    bare.chars().all(is_word) && (bare.chars().nth(1).is_some() || matches!(bare, "a" | "à" | "y" | "I"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[&str], expected: bool) {
        for line in lines {
            assert_eq!(is_code(line), expected, "{line}");
        }
    }

    #[test]
    fn sentences_may_have_the_words_of_programs() {
        check(
            &[
                "Sort these 400 log lines by error class",
                "Extract date, total & VAT no. and return 1 JSON object.",
                "In 3 lines: let me know what this thread is about.",
                "Sort 40 tickets by class: A, B or C",
                "Extract the order number (5 digits) and return it",
                "import the 3 CSV files and return 1 row each",
                "return order_id, total (net) and 2 more",
                "class 7: which pupils failed?",
                "let x = 5 and y = 6, what is x + y?",
                "public holidays in 2026 & private ones too",
                "Render the mail for {customer} with 3 items {list}",
                "Create the table of contents for chapter(s) 3 to 5;",
                "Use 3 var names and const where possible;",
                "for each of the 9 lines:",
                "fix the import error in dags/",
                "- package 3 was returned (class B)",
            ],
            false,
        );
    }

    #[test]
    fn statements_are_told_by_their_syntax() {
        check(
            &[
                "import numpy",
                "import numpy.linalg as la",
                "import { a } from \"b\"",
                "from os import path",
                "use std::collections::{HashMap, HashSet};",
                "def total(lines):",
                "    return total + 1",
                "return x;",
                "class Ledger(Base):",
                "class Ledger extends Base {",
                "const gross = net * 1.2;",
                "let a = 1",
                "pub fn add(a: u32) -> u32 {",
                "resource \"aws_route\" \"ledger\" {",
                "    rows.append(parse(line))",
                "total += round(line.net * 0.2, 2)",
                "metadata: {name: cart, namespace: checkout}",
                "select id, sum(amount) from orders group by 1;",
                "+    parts[0] += amount - sum(parts)",
                "log.warn(\"this file could not be read\");",
                "});",
            ],
            true,
        );
    }
}
