//! Keywords: whole words and phrases, found in a text of any length in one pass.
//!
//! Upper and lower case are the same, in every alphabet; any white space between the words of a phrase is the same, and
//! so is the end of a part of the text. The keywords of all rules are one automaton that the text is fed to, letter by
//! letter: the time is linear in the text however many they are, and nothing of the text is kept.

use std::fmt;

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, BuildError};

/// Stands on both sides of everything that is no part of a word, and at the ends of a text. No text has such a byte.
const EDGE: u8 = 0xff;

/// The keywords of one rule.
#[derive(Clone)]
pub struct Keywords {
    written: Vec<String>,
    phrases: Phrases,
}

impl fmt::Debug for Keywords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.written.fmt(f)
    }
}

impl Keywords {
    /// Compiles them. Each has at least one character that is no white space.
    ///
    /// # Errors
    ///
    /// They are too many or too long to be searched for at once.
    pub fn new(written: &[&str]) -> Result<Self, String> {
        let written: Vec<String> = written.iter().map(|text| folded(text)).collect();
        let phrases = Phrases::new([(written.as_slice(), 1)])?;
        Ok(Self { written, phrases })
    }

    /// Whether one of them stands in `text`.
    pub fn occur_in(&self, text: &str) -> bool {
        self.phrases.found_in([text].into_iter(), 1) != 0
    }

    /// As they are written, with one space between words.
    pub(super) fn written(&self) -> &[String] {
        &self.written
    }

    /// Whether these occur wherever `other` do: each of the others has one of these within it.
    pub(super) fn cover(&self, other: &Self) -> bool {
        other.written.iter().all(|phrase| self.occur_in(phrase))
    }
}

/// The keywords of several rules, each of which is a bit.
#[derive(Clone)]
pub(super) struct Phrases {
    automaton: NFA,
    /// The rule of each pattern.
    of_pattern: Vec<u64>,
    /// All of them together.
    of_any: u64,
}

impl Phrases {
    /// Compiles the keywords of rules.
    pub fn new<'k>(rules: impl IntoIterator<Item = (&'k [String], u64)>) -> Result<Self, String> {
        let (mut patterns, mut of_pattern) = (Vec::new(), Vec::new());
        for (keywords, rule) in rules {
            for keyword in keywords {
                patterns.push(spelt(keyword));
                of_pattern.push(rule);
            }
        }
        let automaton = NFA::new(&patterns).map_err(|error: BuildError| error.to_string())?;
        let of_any = of_pattern.iter().fold(0, |all, rule| all | rule);
        Ok(Self { automaton, of_pattern, of_any })
    }

    /// Which of the rules in `asked` have a keyword in a text that comes in parts.
    pub fn found_in<'t>(&self, parts: impl Iterator<Item = &'t str>, asked: u64) -> u64 {
        let asked = asked & self.of_any;
        let Ok(start) = self.automaton.start_state(Anchored::No) else { return 0 };
        let mut search = Search { phrases: self, state: start, found: 0 };
        let mut spelling = Spelling::default();
        for part in parts {
            if asked & !search.found == 0 {
                break;
            }
            spelling.part(part, &mut |byte| search.step(byte));
        }
        spelling.end(&mut |byte| search.step(byte));
        search.found & asked
    }
}

struct Search<'p> {
    phrases: &'p Phrases,
    state: StateID,
    found: u64,
}

impl Search<'_> {
    fn step(&mut self, byte: u8) {
        let Phrases { automaton, of_pattern, .. } = self.phrases;
        self.state = automaton.next_state(Anchored::No, self.state, byte);
        if automaton.is_special(self.state) && automaton.is_match(self.state) {
            for index in 0..automaton.match_len(self.state) {
                self.found |= of_pattern[automaton.match_pattern(self.state, index).as_usize()];
            }
        }
    }
}

/// A text as the automaton reads it: folded, and with edges around what is no part of a word, so that a whole word is
/// one that begins and ends with an edge.
#[derive(Default)]
struct Spelling {
    is_begun: bool,
    is_after_space: bool,
}

impl Spelling {
    fn part(&mut self, text: &str, step: &mut impl FnMut(u8)) {
        if self.is_begun {
            self.space(step);
        } else {
            step(EDGE);
            self.is_begun = true;
        }
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            if byte.is_ascii() {
                self.ascii(byte, step);
                at += 1;
            } else {
                let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) else { break };
                self.letter(c, step);
                at += c.len_utf8();
            }
        }
    }

    fn end(&self, step: &mut impl FnMut(u8)) {
        step(EDGE);
    }

    fn space(&mut self, step: &mut impl FnMut(u8)) {
        if !std::mem::replace(&mut self.is_after_space, true) {
            [EDGE, b' ', EDGE].into_iter().for_each(step);
        }
    }

    fn ascii(&mut self, byte: u8, step: &mut impl FnMut(u8)) {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            self.is_after_space = false;
            step(byte.to_ascii_lowercase());
        } else if byte.is_ascii_whitespace() || byte == 0x0b {
            self.space(step);
        } else {
            self.is_after_space = false;
            [EDGE, byte, EDGE].into_iter().for_each(step);
        }
    }

    fn letter(&mut self, c: char, step: &mut impl FnMut(u8)) {
        if c.is_whitespace() {
            return self.space(step);
        }
        self.is_after_space = false;
        let mut buffer = [0; 4];
        if !is_in_words(c) {
            step(EDGE);
            c.encode_utf8(&mut buffer).bytes().for_each(&mut *step);
            return step(EDGE);
        }
        // There and back: `ς` and `σ`, `ß` and `ss`, `ſ` and `s` are the same.
        for c in c.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase) {
            c.encode_utf8(&mut buffer).bytes().for_each(&mut *step);
        }
    }
}

/// Whether a character outside of ASCII is part of a word: letters, digits, and the marks that are written into words.
fn is_in_words(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '\u{300}'..='\u{36f}' | '\u{900}'..='\u{dff}' | '\u{200c}' | '\u{200d}')
}

/// A keyword as the automaton reads it.
fn spelt(keyword: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut spelling = Spelling::default();
    spelling.part(keyword, &mut |byte| bytes.push(byte));
    spelling.end(&mut |byte| bytes.push(byte));
    bytes
}

/// One space between words.
fn folded(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
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
        check(&["straße"], "die STRASSE", true);
    }

    #[test]
    fn a_phrase_is_found_across_any_white_space() {
        check(&["drop table", "delete from"], "DROP\n\t TABLE orders", true);
        check(&["drop table"], "drop the table", false);
        check(&["drop table", "drop"], "drop tablecloth", true);
        check(&["drop table"], "drop tablecloth, then drop table", true);
        check(&["drop  table"], "drop\u{a0}table", true);
    }

    #[test]
    fn a_keyword_may_hold_what_is_no_part_of_a_word() {
        check(&["--force"], "git push --force", true);
        check(&["--force"], "--force", true);
        check(&["--force"], "git push --forceful", false);
        check(&["--force"], "x--force", false);
        check(&["c++"], "rewrite it in C++.", true);
        check(&["a.b"], "axb", false);
        check(&["(?i)"], "say (?I)", true);
    }

    #[test]
    fn one_pass_finds_the_keywords_of_every_rule_across_parts() {
        let rules = [vec!["drop table".to_owned()], vec!["table".to_owned()], vec!["truncate".to_owned()]];
        let rules = rules.iter().enumerate().map(|(rule, keywords)| (keywords.as_slice(), 1 << rule));
        let phrases = Phrases::new(rules).unwrap();
        let found = |parts: &[&str], asked| phrases.found_in(parts.iter().copied(), asked);
        assert_eq!(found(&["please drop", "table orders"], u64::MAX), 0b11);
        assert_eq!(found(&["please drop", "table orders"], 0b10), 0b10);
        assert_eq!(found(&["a drop", "tables"], u64::MAX), 0);
        assert_eq!(found(&["", "truncate"], u64::MAX), 0b100);
        assert_eq!(found(&[], u64::MAX), 0);
    }
}
