//! What a request looks like, in numbers: hashed n-grams of its parts, signals of its form, and two directions.
//!
//! Each group of features is a set of rows of one weight matrix ("hashing trick", <https://arxiv.org/abs/0902.2206>),
//! each row at most once. The same code describes the requests that the weights are trained on (`models/README.md`).

use super::Request;
use super::ask::Parts;
use super::shape::Shape;
use crate::vectors::{Vector, embed};

/// Rows of the weight matrix, as a power of two.
pub const ROW_BITS: u32 = 16;
/// Bytes of the system prompt that are looked at: its beginning and its end.
const SYSTEM_BYTES_MAX: usize = 700;
/// Bytes of the user turn before the last.
const PREVIOUS_BYTES_MAX: usize = 300;
/// Words of the material.
const MATERIAL_WORDS_MAX: usize = 60;

/// The groups of features.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// One to three words in a row, of the ask.
    Words,
    /// Three to five letters in a row inside a word of the ask; one and two of scripts without spaces.
    Letters,
    /// How the ask begins and ends.
    Ends,
    /// One to three words in a row, of the system prompt.
    System,
    /// The same, of the user turn before.
    Previous,
    /// The same, of the first words of what is attached.
    Material,
    /// The form of the whole: what is attached, tools, length, position in the session.
    Signals,
}

impl Group {
    /// All of them, in the order of [`Features::rows`].
    pub const ALL: [Self; 7] =
        [Self::Words, Self::Letters, Self::Ends, Self::System, Self::Previous, Self::Material, Self::Signals];
}

/// A described request.
#[derive(Clone, Debug)]
pub struct Features {
    /// The rows of each group, each once.
    pub rows: [Vec<u32>; Group::ALL.len()],
    /// The ask's words as one number; 0 if it has none.
    pub wording: u64,
    /// What the ask is about.
    pub ask: Vector,
    /// What the system prompt is about.
    pub system: Vector,
}

/// Describes a request.
pub fn describe(request: &Request<'_>) -> Features {
    let mut parts = Parts::of_turn(request.last_user);
    if !request.tool_results.is_empty() {
        // What comes after a tool's result is about the result, whatever was pasted before it.
        parts.material.clear();
        parts.shapes = Default::default();
        request.tool_results.iter().for_each(|result| parts.add_result(result));
    }
    let mut rows = Rows::default();
    let words = words(&parts.ask);
    rows.begin(Group::Words);
    rows.grams(&words);
    rows.begin(Group::Letters);
    letters(&parts.ask, &mut rows);
    rows.begin(Group::Ends);
    ends(&parts.ask, &words, &mut rows);
    let system = both_ends(request.system, SYSTEM_BYTES_MAX);
    rows.begin(Group::System);
    rows.grams(&self::words(&system));
    rows.begin(Group::Previous);
    if let Some(previous) = request.previous_user {
        rows.grams(&self::words(&both_ends(&Parts::of_turn(previous).ask, PREVIOUS_BYTES_MAX)));
    }
    rows.begin(Group::Material);
    let mut material = self::words(&parts.material);
    material.truncate(MATERIAL_WORDS_MAX);
    rows.grams(&material);
    rows.begin(Group::Signals);
    signals(request, &parts, &words, &mut rows);
    let ask = embed(&parts.ask);
    Features { rows: rows.done, wording: joined(&words), ask, system: embed(&system) }
}

/// Describes prose that says what a kind of work is, in the groups that such a line has.
pub fn describe_prose(text: &str) -> Features {
    let mut rows = Rows::default();
    let words = words(text);
    rows.begin(Group::Words);
    rows.grams(&words);
    rows.begin(Group::Letters);
    letters(text, &mut rows);
    let system = [0.0; crate::vectors::DIMENSIONS];
    Features { rows: rows.done, wording: joined(&words), ask: embed(text), system }
}

/// Collects rows, each once a group.
struct Rows {
    done: [Vec<u32>; Group::ALL.len()],
    group: usize,
    seen: Box<[u64; 1 << (ROW_BITS - 6)]>,
}

impl Default for Rows {
    fn default() -> Self {
        Self { done: Default::default(), group: 0, seen: Box::new([0; 1 << (ROW_BITS - 6)]) }
    }
}

impl Rows {
    fn begin(&mut self, group: Group) {
        for row in &self.done[self.group] {
            self.seen[(row >> 6) as usize] = 0;
        }
        self.group = group as usize;
    }

    fn add(&mut self, feature: u64) {
        let row = spread(feature ^ (self.group as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)) >> (64 - ROW_BITS);
        let (block, bit) = ((row >> 6) as usize, 1 << (row & 63));
        if self.seen[block] & bit == 0 {
            self.seen[block] |= bit;
            self.done[self.group].push(u32::try_from(row).expect("a row has 16 bits"));
        }
    }

    /// One to three words in a row, with the text's ends as words.
    fn grams(&mut self, words: &[u64]) {
        const BEGIN: u64 = 1;
        const END: u64 = 2;
        if words.is_empty() {
            return;
        }
        let (mut before, mut last) = (0, BEGIN);
        for word in words.iter().copied().chain([END]) {
            if word != END {
                self.add(word);
            }
            self.add(join(last, word));
            if before != 0 {
                self.add(join(join(before, last), word));
            }
            (before, last) = (last, word);
        }
    }
}

fn spread(feature: u64) -> u64 {
    let mixed = (feature ^ (feature >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    (mixed ^ (mixed >> 29)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn join(a: u64, b: u64) -> u64 {
    (a.rotate_left(23) ^ b).wrapping_mul(0xA24B_AED4_963E_E407)
}

/// The hash of each word, in lower case; a number is a number.
fn words(text: &str) -> Vec<u64> {
    let mut hashes = Vec::with_capacity(text.len() / 5);
    for_each_word(text, |word| {
        hashes.push(match word {
            Word::Number => 3,
            Word::Letters(word) => word.chars().fold(7, |hash, c| join(hash, u64::from(lower(c)))),
        });
    });
    hashes
}

/// A text's words as one number, whatever stands between them; 0 if there are none.
pub(super) fn wording(text: &str) -> u64 {
    joined(&words(text))
}

fn joined(words: &[u64]) -> u64 {
    words.iter().fold(0, |hash, word| join(hash, *word))
}

enum Word<'a> {
    Number,
    Letters(&'a str),
}

/// Runs of letters, with an apostrophe inside, and runs of digits.
fn for_each_word<'a>(text: &'a str, mut each: impl FnMut(Word<'a>)) {
    let mut characters = text.char_indices().peekable();
    while let Some((start, c)) = characters.next() {
        if c.is_alphabetic() {
            let mut end = start + c.len_utf8();
            while let Some(&(at, c)) = characters.peek() {
                let letter_after = || text[at + c.len_utf8()..].chars().next().is_some_and(char::is_alphabetic);
                if !(c.is_alphabetic() || matches!(c, '\'' | '’') && letter_after()) {
                    break;
                }
                end = at + c.len_utf8();
                characters.next();
            }
            each(Word::Letters(&text[start..end]));
        } else if c.is_numeric() {
            while characters.next_if(|(_, c)| c.is_numeric()).is_some() {}
            each(Word::Number);
        }
    }
}

fn lower(c: char) -> char {
    if c.is_ascii() { c.to_ascii_lowercase() } else { c.to_lowercase().next().unwrap_or(c) }
}

/// Chinese, Japanese and Korean write words without spaces between them.
fn is_dense(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}')
}

fn letters(text: &str, rows: &mut Rows) {
    const EDGE: char = '\u{1}';
    let mut word: Vec<char> = Vec::with_capacity(24);
    for_each_word(text, |found| {
        let Word::Letters(letters) = found else { return };
        word.clear();
        word.push(EDGE);
        word.extend(letters.chars().map(lower));
        word.push(EDGE);
        for start in 0..word.len() {
            let mut hash = 11;
            for (length, c) in (1..=5).zip(&word[start..]) {
                hash = join(hash, u64::from(*c));
                if length >= 3 || is_dense(word[start]) {
                    rows.add(hash);
                }
            }
        }
    });
}

fn ends(ask: &str, words: &[u64], rows: &mut Rows) {
    let tagged = |tag: u64, words: &[u64]| words.iter().fold(tag, |hash, word| join(hash, *word));
    for count in 1..=words.len().min(3) {
        rows.add(tagged(101, &words[..count]));
        rows.add(tagged(102, &words[words.len() - count..]));
    }
    let mut lines = ask.lines().filter(|line| !line.trim().is_empty());
    if let Some(first) = lines.next() {
        let last = lines.next_back().unwrap_or(first);
        for word in self::words(first).into_iter().take(3) {
            rows.add(tagged(103, &[word]));
        }
        for word in self::words(last).into_iter().take(3) {
            rows.add(tagged(104, &[word]));
        }
        rows.add(tagged(105, &[u64::from(last.trim_end().chars().next_back().unwrap_or(' '))]));
    }
}

fn signals(request: &Request<'_>, parts: &Parts, words: &[u64], rows: &mut Rows) {
    let mut signal = |tag: u64, value: u64| rows.add(join(201 + tag, value));
    let shapes = &parts.shapes;
    for (number, count) in shapes.of.iter().enumerate().filter(|(_, count)| **count > 0) {
        signal(0, number as u64);
        if count * 2 >= shapes.lines {
            signal(1, number as u64);
        }
    }
    signal(2, u64::from((shapes.lines + 1).ilog2().min(7)));
    signal(3, u64::from((words.len() + 1).ilog2().min(9)));
    signal(4, u64::from(request.user_turns.min(4)));
    signal(5, u64::from(request.system.trim().is_empty()));
    signal(6, u64::from(!request.tool_results.is_empty()));
    signal(7, u64::from((request.tools.len() + 1).ilog2().min(4)));
    signal(8, u64::from(request.wants_json));
    signal(9, u64::from(parts.ask.contains(['?', '？'])));
    signal(10, u64::from(words.is_empty()));
    signal(11, u64::from(request.has_images));
    signal(12, u64::from(parts.ask.chars().any(is_dense)));
}

fn both_ends(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let half = bytes_max / 2;
    format!("{}\n{}", &text[..text.floor_char_boundary(half)], &text[text.ceil_char_boundary(text.len() - half)..])
}

/// The names of the shapes that the material has, for people.
pub(super) fn material_of(request: &Request<'_>) -> Vec<&'static str> {
    let mut parts = Parts::of_turn(request.last_user);
    request.tool_results.iter().for_each(|result| parts.add_result(result));
    let seen = parts.shapes.of.iter().zip(Shape::NAMES).filter(|(count, _)| **count > 0);
    seen.map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(text: &str) -> Features {
        describe(&Request { last_user: text, user_turns: 1, ..Request::default() })
    }

    fn shared(a: &Features, b: &Features, group: Group) -> usize {
        let (a, b) = (&a.rows[group as usize], &b.rows[group as usize]);
        a.iter().filter(|row| b.contains(row)).count()
    }

    #[test]
    fn a_row_stands_once_in_its_group() {
        let features = ask("again and again and again and again");
        for rows in &features.rows {
            let mut sorted = rows.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), rows.len());
        }
    }

    #[test]
    fn case_and_numbers_make_no_difference_to_words() {
        let (a, b) =
            (ask("Compare run 41 with Run 42 for me please"), ask("compare RUN 7 with run 1234 for me please"));
        assert_eq!(a.rows[Group::Words as usize], b.rows[Group::Words as usize]);
    }

    #[test]
    fn what_is_attached_stays_out_of_the_words_of_the_ask() {
        let plain = ask("which of these failed?");
        let pasted = ask("which of these failed?\n2026-11-02 02:10:01 ERROR worker-3 lost heartbeat");
        assert_eq!(plain.rows[Group::Words as usize], pasted.rows[Group::Words as usize]);
        assert!(shared(&plain, &pasted, Group::Material) == 0 && !pasted.rows[Group::Material as usize].is_empty());
    }

    #[test]
    fn words_of_one_root_share_letters() {
        let (a, b) = (ask("summarise"), ask("summarising"));
        assert_eq!(shared(&a, &b, Group::Words), 0);
        assert!(shared(&a, &b, Group::Letters) > 10);
    }

    #[test]
    fn any_text_can_be_described() {
        for text in ["", "\u{0}\u{1}", "'", "a'", "’’’", "日本語の質問", "🦀🦀", &"x".repeat(10_000), "\r\n\r\n"]
        {
            ask(text);
        }
    }
}
