//! What is wrong with a file, collected while its nodes are read.
//!
//! The reading methods give a node as what it should be, or report what it is instead and give `None`.

use jiff::civil::Date;

use crate::problem::{Place, Problem, first_of, nearest_hint};

use super::{Key, Node, Value};

/// Longest piece of a file that a message repeats, in characters.
const FOUND_CHARS_MAX: usize = 40;

/// The findings about one file.
pub struct Findings<'a> {
    file: &'a str,
    problems: Vec<Problem>,
}

impl<'a> Findings<'a> {
    /// No findings yet about `file`.
    pub fn new(file: &'a str) -> Self {
        Self { file, problems: Vec::new() }
    }

    /// How many there are so far.
    pub fn count(&self) -> usize {
        self.problems.len()
    }

    /// The findings in file order, as an error if there are any; of very many the first.
    pub fn none(mut self) -> Result<(), Vec<Problem>> {
        self.problems.sort_by_key(|problem| (problem.line, problem.column));
        if self.problems.is_empty() { Ok(()) } else { Err(first_of(self.problems)) }
    }

    /// Adds one.
    pub fn report(&mut self, place: Place, message: impl Into<String>) {
        let file = self.file.to_owned();
        self.problems.push(Problem { file, line: place.line, column: place.column, message: message.into() });
    }

    /// A scalar's text.
    pub fn text<'n>(&mut self, name: &str, node: &'n Node<'_>, wanted: &str) -> Option<&'n str> {
        if let Value::Text(text) = &node.value {
            return Some(text);
        }
        self.report(node.place, format!("`{name}` is {}; wanted {wanted}", node.value.noun()));
        None
    }

    /// A map's entries.
    pub fn entries<'n>(&mut self, name: &str, node: Node<'n>, wanted: &str) -> Option<Vec<(Key<'n>, Node<'n>)>> {
        match node.value {
            Value::Map(entries) => {
                self.refuse_repeats(&entries);
                Some(entries)
            }
            other => {
                self.report(node.place, format!("`{name}` is {}; wanted {wanted}", other.noun()));
                None
            }
        }
    }

    /// Reports keys that occur more than once.
    pub fn refuse_repeats(&mut self, entries: &[(Key<'_>, Node<'_>)]) {
        for (index, (key, _)) in entries.iter().enumerate() {
            if let Some((first, _)) = entries[..index].iter().find(|(earlier, _)| earlier.text == key.text) {
                self.report(
                    key.place,
                    format!("{} occurs twice; first in line {}", found(&key.text), first.place.line),
                );
            }
        }
    }

    /// A day, as `2026-11-01`.
    pub fn date(&mut self, name: &str, node: &Node<'_>) -> Option<Date> {
        const WANTED: &str = "a date such as `2026-11-01`";
        let text = self.text(name, node, WANTED)?;
        let shape = text.len() == 10 && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit());
        let date = text.parse().ok().filter(|_| shape);
        if date.is_none() {
            self.report(node.place, format!("`{name}` is {}; wanted {WANTED}", found(text)));
        }
        date
    }

    /// Reports a key that means nothing where it stands.
    pub fn unknown_key(&mut self, key: &Key<'_>, known: &[&str]) {
        let hint = nearest_hint(&key.text, known.iter().copied());
        let listed: Vec<_> = known.iter().map(|key| format!("`{key}`")).collect();
        self.report(key.place, format!("unknown key {}; wanted one of {}{hint}", found(&key.text), listed.join(", ")));
    }
}

/// A piece of the file in backticks, cut if it is long.
pub fn found(text: &str) -> String {
    match text.char_indices().nth(FOUND_CHARS_MAX) {
        None => format!("`{text}`"),
        Some((cut, _)) => format!("`{}…`", &text[..cut]),
    }
}
