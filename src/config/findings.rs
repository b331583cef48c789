//! Collects what is wrong while checking goes on, so that one run reports everything.
//!
//! A finding has the place of the value that it is about. Values are quoted in messages unless
//! they may be secret; quoted text is cut and freed of control characters.

use serde_saphyr::{Location, Spanned};

use crate::problem::Problem;

use super::values::Wanted;
use super::written::{Field, NotBuilt};

/// Longest part of a value that a message quotes, in characters.
const QUOTED_CHARS_MAX: usize = 80;

/// The findings so far.
pub(super) struct Findings {
    file: String,
    problems: Vec<Problem>,
}

impl Findings {
    /// None yet, in this file.
    pub(super) fn new(file_name: &str) -> Self {
        Self { file: file_name.to_owned(), problems: Vec::new() }
    }

    /// Notes a finding about the value at `place`.
    pub(super) fn at(&mut self, place: Location, message: impl Into<String>) {
        self.problems.push(Problem {
            file: self.file.clone(),
            line: place.line().try_into().unwrap_or(u32::MAX),
            column: place.column().try_into().unwrap_or(u32::MAX),
            message: message.into(),
        });
    }

    /// Notes a finding about the file as a whole.
    pub(super) fn overall(&mut self, message: impl Into<String>) {
        self.at(Location::UNKNOWN, message);
    }

    /// Refuses a key whose room is not built.
    pub(super) fn not_built(&mut self, key: &str, field: &NotBuilt) {
        if let Some(value) = field {
            self.at(value.referenced, format!("`{key}` is not available in this version"));
        }
    }

    /// The value of a key, if it was given one.
    pub(super) fn given<T>(&mut self, key: &str, field: Field<T>) -> Option<Spanned<T>> {
        let Spanned { value, referenced, defined } = field.0?;
        if value.is_none() {
            self.at(referenced, format!("`{key}` has no value; wanted one, or no `{key}`"));
        }
        value.map(|value| Spanned { value, referenced, defined })
    }

    /// The parsed value of a key, if it was given a good one.
    pub(super) fn value<T>(
        &mut self,
        key: &str,
        field: Field<String>,
        parse: impl Fn(&str) -> Result<T, Wanted>,
    ) -> Option<T> {
        let written = self.given(key, field)?;
        self.parsed(&format!("`{key}`"), &written, parse)
    }

    /// The good ones among the entries of a list, or nothing if the key is absent.
    pub(super) fn list<T>(
        &mut self,
        key: &str,
        field: Field<Vec<Spanned<String>>>,
        parse: impl Fn(&str) -> Result<T, Wanted>,
    ) -> Option<Vec<T>> {
        let entries = self.given(key, field)?.value;
        let subject = format!("an entry of `{key}`");
        Some(entries.iter().filter_map(|entry| self.parsed(&subject, entry, &parse)).collect())
    }

    /// The parsed text at hand, which messages call `subject`.
    pub(super) fn parsed<T>(
        &mut self,
        subject: &str,
        written: &Spanned<String>,
        parse: impl Fn(&str) -> Result<T, Wanted>,
    ) -> Option<T> {
        let value = parse(&written.value);
        if let Err(wanted) = &value {
            self.at(written.referenced, format!("{subject} is `{}`; wanted {wanted}", quoted(&written.value)));
        }
        value.ok()
    }

    /// `value`, unless something was found; findings in the order of the file.
    pub(super) fn or_problems<T>(mut self, value: T) -> Result<T, Vec<Problem>> {
        if self.problems.is_empty() {
            return Ok(value);
        }
        self.problems.sort_by_key(|problem| (problem.line, problem.column));
        Err(self.problems)
    }
}

/// Text that somebody wrote, as a message shows it.
pub fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(QUOTED_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(QUOTED_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}
