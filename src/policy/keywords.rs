//! Keywords: whole words and phrases, found in a text of any length in one pass.
//!
//! Upper and lower case are the same, in every alphabet; any white space between the words of a phrase is the same.

use std::fmt::Write;

use regex_automata::meta::Regex;

/// The keywords of one rule, compiled.
#[derive(Clone, Debug)]
pub struct Keywords {
    written: Vec<String>,
    any: Regex,
}

impl Keywords {
    /// Compiles them. Each has at least one character that is no white space.
    ///
    /// # Errors
    ///
    /// They are too many or too long to be searched for at once.
    pub fn new(written: &[&str]) -> Result<Self, String> {
        let phrase = |text: &&str| text.split_whitespace().map(escaped).collect::<Vec<_>>().join(r"\s+");
        let phrases: Vec<String> = written.iter().map(phrase).collect();
        // What is no part of a word, or an end of the text, stands on both sides. Unlike `\b` this needs no look-around,
        // which automata do not have outside of ASCII; and nobody asks where a keyword stands.
        let pattern = format!(r"(?i)(?:^|\W)(?:{})(?:\W|$)", phrases.join("|"));
        let any = Regex::new(&pattern).map_err(|error| error.to_string())?;
        Ok(Self { written: written.iter().map(|text| folded(text)).collect(), any })
    }

    /// Whether one of them stands in `text`.
    pub fn occur_in(&self, text: &str) -> bool {
        self.any.is_match(text)
    }

    /// Whether these occur wherever `other` do: each of the others has one of these within it.
    pub(super) fn cover(&self, other: &Self) -> bool {
        other.written.iter().all(|phrase| self.occur_in(phrase))
    }
}

/// One space between words.
fn folded(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The word without what has a meaning in patterns.
fn escaped(word: &str) -> String {
    word.chars().fold(String::new(), |mut pattern, c| {
        if c.is_alphanumeric() {
            pattern.push(c);
        } else {
            // Writing to a text does not fail.
            let _ = write!(pattern, r"\x{{{:x}}}", u32::from(c));
        }
        pattern
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(keywords: &[&str], text: &str, expected: bool) {
        assert_eq!(Keywords::new(keywords).unwrap().occur_in(text), expected, "{keywords:?} in {text:?}");
    }

    #[test]
    fn a_keyword_is_a_whole_word_in_any_case() {
        check(&["drop"], "please DROP it", true);
        check(&["drop"], "drop", true);
        check(&["drop"], "a droplet, a backdrop, drop_table", false);
        check(&["drop"], "`drop`;", true);
        check(&["löschen", "удалить"], "Bitte LÖSCHEN!", true);
        check(&["löschen", "удалить"], "Надо УДАЛИТЬ.", true);
        check(&["schen"], "löschen", false);
    }

    #[test]
    fn a_phrase_is_found_across_any_white_space() {
        check(&["drop table", "delete from"], "DROP\n\t TABLE orders", true);
        check(&["drop table"], "drop the table", false);
        check(&["drop table", "drop"], "drop tablecloth", true);
        check(&["drop table"], "drop tablecloth, then drop table", true);
    }

    #[test]
    fn a_keyword_may_hold_what_is_no_part_of_a_word() {
        check(&["--force"], "git push --force", true);
        check(&["--force"], "git push --forceful", false);
        check(&["c++"], "rewrite it in C++.", true);
        check(&["a.b"], "axb", false);
        check(&["(?i)"], "say (?I)", true);
    }
}
