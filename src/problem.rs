//! What is wrong with a file that a person wrote, and where.
//!
//! Configuration, prices and policies all report through this one shape, so that every message reads
//! alike: `farthing.yaml:12:5: unknown key \`limit\`; wanted one of …; did you mean \`limits\`?`

use std::fmt;

use crate::limits::PROBLEMS_SHOWN_MAX;

/// Where something stands in a file: 1-based line and column.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place {
    /// 1-based.
    pub line: u32,
    /// 1-based, in characters.
    pub column: u32,
}

/// One finding in one file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The file as the user named it.
    pub file: String,
    /// 1-based line; 0 when the finding concerns the whole file.
    pub line: u32,
    /// 1-based column; 0 when the finding concerns the whole line or file.
    pub column: u32,
    /// What was found, what was wanted, and a hint; lower case, no full stop, names in backticks.
    pub message: String,
}

impl Problem {
    /// A finding at a place of a file.
    pub fn at(file: &str, place: Place, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: place.line, column: place.column, message: message.into() }
    }

    /// A finding about a file as a whole.
    pub fn of_file(file: &str, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: 0, column: 0, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
            if self.column > 0 {
                write!(f, ":{}", self.column)?;
            }
        }
        f.write_str(": ")?;
        // What the file holds may be quoted, and must neither break the line nor steer the terminal.
        for part in self.message.split_inclusive(char::is_control) {
            let text = part.trim_end_matches(char::is_control);
            write!(f, "{text}{}", part[text.len()..].escape_default())?;
        }
        Ok(())
    }
}

/// The first of many problems, and how many more there are: a report is read by people, and goes into a line of the log.
pub fn first_of(mut problems: Vec<Problem>) -> Vec<Problem> {
    let more = problems.len().saturating_sub(PROBLEMS_SHOWN_MAX);
    if more > 0 {
        problems.truncate(PROBLEMS_SHOWN_MAX);
        let file = problems.last().map(|last| last.file.clone()).unwrap_or_default();
        problems.push(Problem::of_file(&file, format!("{more} more problems are not shown")));
    }
    problems
}

/// `; did you mean \`x\`?` for the candidate nearest to `word`, or nothing if none is near.
pub fn nearest_hint<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map_or_else(String::new, |candidate| format!("; did you mean `{candidate}`?"))
}

/// The candidate nearest to `word`, if one is near.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |candidate: &str| 1 + candidate.len().min(word.len()) / 4;
    candidates
        .into_iter()
        // Lengths alone tell most apart, at a thousandth of the price.
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= 4 * near(candidate))
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= near(candidate))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Longest name that is shown.
const SHOWN_BYTES_MAX: usize = 64;

/// A name that a client sent, if it is short and spelt like a model's. Anything else might be a prompt or a key in
/// the wrong place, and is shown to nobody.
pub fn shown_name(name: &str) -> Option<&str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/:@+".contains(&byte);
    let is_key = ["sk-", "pk-", "fk-", "rk-"].iter().any(|prefix| name.contains(prefix));
    ((1..=SHOWN_BYTES_MAX).contains(&name.len()) && name.bytes().all(fits) && !is_key).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_line_whatever_it_quotes() {
        let message = "unknown key `a\nb\u{1b}[2Jé`".to_owned();
        let problem = Problem { file: "f".to_owned(), line: 2, column: 1, message };
        assert_eq!(problem.to_string(), "f:2:1: unknown key `a\\nb\\u{1b}[2Jé`");
    }

    #[test]
    fn of_many_problems_the_first_are_told_and_the_others_counted() {
        let problems = |count: u32| {
            let place = |line| Place { line, column: 1 };
            (1..=count).map(|line| Problem::at("f", place(line), "wrong")).collect::<Vec<_>>()
        };
        assert_eq!(first_of(problems(100)).len(), 100);
        let told = first_of(problems(87_000));
        assert_eq!((told.len(), told[100].to_string().as_str()), (101, "f: 86900 more problems are not shown"));
    }

    #[test]
    fn only_what_is_spelt_like_a_models_name_is_shown() {
        for shown in ["gpt-5.6-lunar", "openai/gpt-5.6-luna", "qwen3:8b", "@cf/meta/llama-3.1"] {
            assert_eq!(shown_name(shown), Some(shown));
        }
        for hidden in ["", "summarise this", "sk-proj-1", "a\u{1b}[2J", "modèle", &"m".repeat(65)] {
            assert_eq!(shown_name(hidden), None, "{hidden}");
        }
    }

    #[test]
    fn a_misspelt_word_is_met_with_its_neighbour() {
        assert_eq!(nearest_hint("limts", ["limits", "ledger"]), "; did you mean `limits`?");
        assert_eq!(nearest_hint("zebra", ["limits", "ledger"]), "");
    }
}
