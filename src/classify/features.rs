//! What a request looks like, in numbers: hashed n-grams of its parts, signals of its form, and two directions.
//!
//! Each group of features is a set of rows of one weight matrix ("hashing trick", <https://arxiv.org/abs/0902.2206>),
//! each row at most once. The same code describes the requests that the weights are trained on (`models/README.md`).

use std::borrow::Cow;

use super::Request;
use super::ask::{Parts, Shapes};
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
/// Most signals of one request.
const SIGNALS_MAX: usize = 2 * Shape::ALL.len() + 10;

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
    let parts = parts_of(request);
    let system = system_of(request.system);
    let previous = previous_of(request.previous_user.unwrap_or_default());
    let asked = Asked::of(&parts.ask);
    let mut scratch = Rows::default();
    let mut rows: [Vec<u32>; Group::ALL.len()] = Default::default();
    rows_of_ask(&parts.ask, &asked, &mut scratch, |group, found| rows[group as usize] = found.to_vec());
    rows[Group::System as usize] = scratch.grams_of(Group::System, &system, usize::MAX).to_vec();
    rows[Group::Previous as usize] = scratch.grams_of(Group::Previous, &previous, usize::MAX).to_vec();
    rows[Group::Material as usize] = rows_of_material(&parts.material, &mut scratch).to_vec();
    rows[Group::Signals as usize] = rows_of_signals(request, &parts.shapes, asked.signs, &mut scratch).to_vec();
    Features { rows, wording: asked.wording(), ask: embed(&parts.ask), system: embed(&system) }
}

/// Describes prose that says what a kind of work is, in the groups that such a line has.
pub fn describe_prose(text: &str) -> Features {
    let asked = Asked::of(text);
    let mut scratch = Rows::default();
    let mut rows: [Vec<u32>; Group::ALL.len()] = Default::default();
    rows[Group::Words as usize] = scratch.grams(Group::Words, &asked.words).to_vec();
    rows[Group::Letters as usize] = scratch.letters(&asked.letters).to_vec();
    Features { rows, wording: asked.wording(), ask: embed(text), system: [0.0; crate::vectors::DIMENSIONS] }
}

/// The last user turn and what tools returned after it, taken apart.
fn parts_of(request: &Request<'_>) -> Parts {
    let mut parts = Parts::of_turn(request.last_user);
    if !request.tool_results.is_empty() {
        // What comes after a tool's result is about the result, whatever was pasted before it.
        parts.material.clear();
        parts.shapes = Shapes::default();
        request.tool_results.iter().for_each(|result| parts.add_result(result));
    }
    parts
}

/// What is looked at of the system prompt.
pub(super) fn system_of(text: &str) -> Cow<'_, str> {
    both_ends(text, SYSTEM_BYTES_MAX)
}

/// What is looked at of the user turn before the last.
pub(super) fn previous_of(text: &str) -> String {
    both_ends(&Parts::of_turn(text).ask, PREVIOUS_BYTES_MAX).into_owned()
}

/// The words of an ask that will be looked at once it is the turn before the last, if those are all that it has.
pub(super) fn words_of_previous(ask: &str, asked: Asked) -> Option<Vec<u64>> {
    (ask.len() <= PREVIOUS_BYTES_MAX).then_some(asked.words)
}

/// The ask, read once for all that is looked for in it.
pub(super) struct Asked {
    /// The hash of each word.
    words: Vec<u64>,
    /// The words' letters in lower case, between edges.
    letters: Vec<u32>,
    /// What the signals say of it.
    pub signs: Signs,
}

/// What is told of an ask as a whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signs {
    words: usize,
    asks: bool,
    is_dense: bool,
}

impl Asked {
    /// Reads an ask.
    pub fn of(ask: &str) -> Self {
        let (mut words, mut letters) = (Vec::with_capacity(ask.len() / 5), Vec::with_capacity(ask.len() + 1));
        letters.push(EDGE);
        for word in Words::of(ask) {
            let Word::Letters(word) = word else {
                words.push(word.hash());
                continue;
            };
            words.push(hash_of_letters(word, |letter| letters.push(letter)));
            letters.push(EDGE);
        }
        let is_ascii = ask.is_ascii();
        let signs = Signs {
            words: words.len(),
            asks: memchr::memchr(b'?', ask.as_bytes()).is_some() || !is_ascii && ask.contains('？'),
            is_dense: !is_ascii && ask.chars().any(|c| is_dense(u32::from(c))),
        };
        Self { words, letters, signs }
    }

    /// Its words as one number; 0 if there are none.
    pub fn wording(&self) -> u64 {
        joined(self.words.iter().copied())
    }
}

/// Tells the rows of the groups that describe an ask, one after the other.
pub(super) fn rows_of_ask(ask: &str, asked: &Asked, scratch: &mut Rows, mut found: impl FnMut(Group, &[u32])) {
    found(Group::Words, scratch.grams(Group::Words, &asked.words));
    found(Group::Letters, scratch.letters(&asked.letters));
    found(Group::Ends, scratch.ends(ask, &asked.words));
}

/// The rows of what is attached.
pub(super) fn rows_of_material<'s>(material: &str, scratch: &'s mut Rows) -> &'s [u32] {
    scratch.grams_of(Group::Material, material, MATERIAL_WORDS_MAX)
}

/// The rows of the signals.
pub(super) fn rows_of_signals<'s>(
    request: &Request<'_>,
    shapes: &Shapes,
    signs: Signs,
    scratch: &'s mut Rows,
) -> &'s [u32] {
    scratch.begin(Group::Signals, SIGNALS_MAX);
    let mut signal = |tag: u64, value: u64| scratch.add(join(201 + tag, value));
    for (number, count) in shapes.of.iter().enumerate().filter(|(_, count)| **count > 0) {
        signal(0, number as u64);
        if count * 2 >= shapes.lines {
            signal(1, number as u64);
        }
    }
    signal(2, u64::from((shapes.lines + 1).ilog2().min(7)));
    signal(3, u64::from((signs.words + 1).ilog2().min(9)));
    signal(4, u64::from(request.user_turns.min(4)));
    signal(5, u64::from(request.system.trim().is_empty()));
    signal(6, u64::from(!request.tool_results.is_empty()));
    signal(7, u64::from((request.tools.len() + 1).ilog2().min(4)));
    signal(8, u64::from(request.wants_json));
    signal(9, u64::from(signs.asks));
    signal(10, u64::from(signs.words == 0));
    signal(11, u64::from(signs.is_dense));
    scratch.found()
}

/// Collects the rows of one group after the other, each once a group.
pub(super) struct Rows {
    salt: u64,
    seen: [u64; 1 << (ROW_BITS - 6)],
    /// Those of the group that was begun, and room behind them.
    rows: Vec<u32>,
    count: usize,
}

impl Default for Rows {
    fn default() -> Self {
        Self { salt: 0, seen: [0; 1 << (ROW_BITS - 6)], rows: Vec::new(), count: 0 }
    }
}

impl Rows {
    /// Begins a group, to which at most `features` are added.
    fn begin(&mut self, group: Group, features: usize) {
        for row in &self.rows[..self.count] {
            self.seen[(row >> 6) as usize & (self.seen.len() - 1)] = 0;
        }
        self.count = 0;
        self.salt = (group as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        // One more, since a row that was seen is written as well, and not counted.
        let room = features.min(1 << ROW_BITS) + 1;
        if self.rows.len() < room {
            self.rows.resize(room, 0);
        }
    }

    fn add(&mut self, feature: u64) {
        let row = spread(feature ^ self.salt) >> (64 - ROW_BITS);
        let (block, bit) = ((row >> 6) as usize, 1 << (row & 63));
        self.rows[self.count] = u32::try_from(row).expect("a row has 16 bits");
        // Whether a row is new is hard to guess for a processor: no branch.
        self.count += usize::from(self.seen[block] & bit == 0);
        self.seen[block] |= bit;
    }

    fn found(&self) -> &[u32] {
        &self.rows[..self.count]
    }

    /// One to three of a text's first words in a row.
    pub fn grams_of(&mut self, group: Group, text: &str, words_max: usize) -> &[u32] {
        let words: Vec<u64> = Words::of(text).take(words_max).map(Word::hash).collect();
        self.grams(group, &words)
    }

    /// One to three words in a row, with the text's ends as words.
    pub fn grams(&mut self, group: Group, words: &[u64]) -> &[u32] {
        const BEGIN: u64 = 1;
        const END: u64 = 2;
        self.begin(group, 3 * (words.len() + 1));
        if words.is_empty() {
            return self.found();
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
        self.found()
    }

    /// Three to five letters in a row, an edge being one of them; of dense scripts one and two as well.
    fn letters(&mut self, letters: &[u32]) -> &[u32] {
        self.begin(Group::Letters, 5 * letters.len());
        let mut rest = letters;
        while let Some(length) = rest.iter().skip(1).position(|letter| *letter == EDGE) {
            let word = &rest[..length + 2];
            for start in 0..word.len() {
                let shortest = if is_dense(word[start]) { 1 } else { 3 };
                let mut hash = 11;
                for (before, letter) in word[start..].iter().take(5).enumerate() {
                    hash = join(hash, u64::from(*letter));
                    if before + 1 >= shortest {
                        self.add(hash);
                    }
                }
            }
            rest = &rest[length + 1..];
        }
        self.found()
    }

    /// How an ask begins and ends.
    fn ends(&mut self, ask: &str, words: &[u64]) -> &[u32] {
        let tagged = |tag: u64, words: &[u64]| words.iter().fold(tag, |hash, word| join(hash, *word));
        self.begin(Group::Ends, 4 * 3 + 1);
        for count in 1..=words.len().min(3) {
            self.add(tagged(101, &words[..count]));
            self.add(tagged(102, &words[words.len() - count..]));
        }
        let mut lines = ask.lines().filter(|line| !line.trim().is_empty());
        if let Some(first) = lines.next() {
            let last = lines.next_back().unwrap_or(first);
            for (tag, line) in [(103, first), (104, last)] {
                Words::of(line).take(3).for_each(|word| self.add(tagged(tag, &[word.hash()])));
            }
            self.add(tagged(105, &[u64::from(last.trim_end().chars().next_back().unwrap_or(' '))]));
        }
        self.found()
    }
}

fn spread(feature: u64) -> u64 {
    let mixed = (feature ^ (feature >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    (mixed ^ (mixed >> 29)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn join(a: u64, b: u64) -> u64 {
    (a.rotate_left(23) ^ b).wrapping_mul(0xA24B_AED4_963E_E407)
}

/// A text's words as one number, whatever stands between them; 0 if there are none.
pub(super) fn wording(text: &str) -> u64 {
    joined(Words::of(text).map(Word::hash))
}

fn joined(words: impl Iterator<Item = u64>) -> u64 {
    words.fold(0, join)
}

#[derive(Clone, Copy)]
enum Word<'a> {
    Number,
    Letters(&'a str),
}

impl Word<'_> {
    /// The same for all cases of a word, and for all numbers.
    fn hash(self) -> u64 {
        match self {
            Self::Number => 3,
            Self::Letters(word) => hash_of_letters(word, |_| ()),
        }
    }
}

/// The hash of a word, whose letters it tells in lower case.
fn hash_of_letters(word: &str, mut tell: impl FnMut(u32)) -> u64 {
    let mut hash = 7;
    let mut add = |letter: u32| {
        tell(letter);
        hash = join(hash, u64::from(letter));
    };
    if word.is_ascii() {
        word.bytes().for_each(|byte| add(u32::from(byte.to_ascii_lowercase())));
    } else {
        word.chars().for_each(|c| add(u32::from(lower(c))));
    }
    hash
}

/// Runs of letters, with an apostrophe inside, and runs of digits.
struct Words<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Words<'a> {
    fn of(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The character at a place, if there is one.
    fn character(&self, at: usize) -> Option<char> {
        let byte = *self.text.as_bytes().get(at)?;
        if byte.is_ascii() { Some(char::from(byte)) } else { self.text[at..].chars().next() }
    }

    /// Where the word that is read goes on until.
    fn end_of_letters(&self, mut at: usize) -> usize {
        loop {
            at += self.text.as_bytes()[at..].iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
            let Some(c) = self.character(at) else { break };
            let letter_after = || self.character(at + c.len_utf8()).is_some_and(char::is_alphabetic);
            if !(c.is_alphabetic() || matches!(c, '\'' | '’') && letter_after()) {
                break;
            }
            at += c.len_utf8();
        }
        at
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        loop {
            let start = self.at;
            let c = self.character(start)?;
            self.at += c.len_utf8();
            if c.is_alphabetic() {
                self.at = self.end_of_letters(self.at);
                return Some(Word::Letters(&self.text[start..self.at]));
            }
            if c.is_numeric() {
                while let Some(c) = self.character(self.at).filter(|c| c.is_numeric()) {
                    self.at += c.len_utf8();
                }
                return Some(Word::Number);
            }
        }
    }
}

/// Stands before and behind a word's letters.
const EDGE: u32 = 1;

fn lower(c: char) -> char {
    if c.is_ascii() { c.to_ascii_lowercase() } else { c.to_lowercase().next().unwrap_or(c) }
}

/// Chinese, Japanese and Korean write words without spaces between them.
fn is_dense(c: u32) -> bool {
    matches!(c, 0x3040..=0x30ff | 0x3400..=0x9fff | 0xac00..=0xd7af)
}

fn both_ends(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if text.len() <= bytes_max {
        return Cow::Borrowed(text);
    }
    let half = bytes_max / 2;
    let (head, tail) = (text.floor_char_boundary(half), text.ceil_char_boundary(text.len() - half));
    Cow::Owned([&text[..head], &text[tail..]].join("\n"))
}

/// What the form of a request says besides what it attaches, for people: what the signals are made of.
pub(super) fn signals_of(request: &Request<'_>) -> Vec<String> {
    let parts = parts_of(request);
    let signs = Asked::of(&parts.ask).signs;
    let counted = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let mut told =
        vec![format!("user turn {}", request.user_turns), format!("an ask of {}", counted(signs.words, "word"))];
    let mut tell = |holds: bool, what: &str| told.extend(holds.then(|| what.to_owned()));
    tell(parts.shapes.lines > 0, &format!("{} of material", counted(parts.shapes.lines as usize, "line")));
    tell(!request.tool_results.is_empty(), "a tool's result comes last");
    tell(!request.tools.is_empty(), &format!("{} offered", counted(request.tools.len(), "tool")));
    tell(request.wants_json, "the answer is to be JSON");
    tell(signs.asks, "a question mark");
    tell(signs.is_dense, "a script without spaces between words");
    tell(request.system.trim().is_empty(), "no system prompt");
    told
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

    /// Other rows would need other weights: whoever changes these hashes has to train anew (`models/README.md`).
    #[test]
    fn requests_are_described_as_those_that_the_weights_were_trained_on() {
        let check = |request: &Request<'_>, expected: u64| {
            let mut hash = xxhash_rust::xxh3::Xxh3::new();
            for mut rows in describe(request).rows {
                rows.sort_unstable();
                rows.iter().chain([&u32::MAX]).for_each(|row| hash.update(&row.to_le_bytes()));
            }
            assert_eq!(hash.digest(), expected, "{request:?}");
        };
        check(
            &Request {
                last_user: "It's the 3rd time: why did Größe’s load_orders fail?\n2026-11-02 02:10:01 ERROR worker-3 lost \
                    heartbeat\n\n{\"rows\": 12, \"state\": \"late\"}\nid|name|amount\n昨日の売上を要約して 5Ⅷ",
                previous_user: Some("Look at yesterday's run, please"),
                system: "You are the on-call agent of the data platform.",
                tools: &["read_log"],
                user_turns: 2,
                ..Request::default()
            },
            0x20e9_c5c8_cb9e_f3c2,
        );
        check(
            &Request {
                last_user: "Which of these differ?",
                tool_results: &[
                    "@@ -1,2 +1,2 @@\n-  total = 1\n+  total = 2\nat load (job.py:88)\n- a list\nname: value\n\
                    SELECT a -> b",
                ],
                wants_json: true,
                user_turns: 1,
                ..Request::default()
            },
            0x6685_9462_ef03_e48b,
        );
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
