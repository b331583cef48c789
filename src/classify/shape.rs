//! What a line looks like: prose, or one of a dozen kinds of material. One pass over its bytes; `code` has what is
//! looked at besides where a line may be a statement of a program.

use super::code::{begins_a_sentence, is_code, is_of_diff};

/// Bits that a line can have; [`Shape::PROSE`] excludes nothing: a bullet can be prose.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Shape(u32);

impl Shape {
    const PROSE: Self = Self(1 << 31);
    const LEVEL: Self = Self(1);
    const CLOCK: Self = Self(1 << 1);
    const JSON: Self = Self(1 << 2);
    const TABLE: Self = Self(1 << 3);
    const DIFF: Self = Self(1 << 4);
    const SQL: Self = Self(1 << 5);
    const TRACE: Self = Self(1 << 6);
    const CODE: Self = Self(1 << 7);
    const PAIR: Self = Self(1 << 8);
    const MARKUP: Self = Self(1 << 9);
    const ARROW: Self = Self(1 << 10);
    const BULLET: Self = Self(1 << 11);
    const ADDRESS: Self = Self(1 << 12);
    const QUOTE: Self = Self(1 << 13);

    /// The shapes of material.
    pub const ALL: [Self; 14] = [
        Self::LEVEL,
        Self::CLOCK,
        Self::JSON,
        Self::TABLE,
        Self::DIFF,
        Self::SQL,
        Self::TRACE,
        Self::CODE,
        Self::PAIR,
        Self::MARKUP,
        Self::ARROW,
        Self::BULLET,
        Self::ADDRESS,
        Self::QUOTE,
    ];

    /// The word for each of [`Shape::ALL`].
    pub const NAMES: [&str; 14] = [
        "log levels",
        "times",
        "JSON",
        "a table",
        "a diff",
        "SQL",
        "a stack trace",
        "code",
        "name-value pairs",
        "markup",
        "arrows",
        "a list",
        "addresses",
        "quotes",
    ];

    /// Whether it has this bit.
    pub fn is(self, one: Self) -> bool {
        self.0 & one.0 != 0
    }

    /// Whether somebody wrote the line to be read as a sentence, or part of one.
    pub fn is_prose(self) -> bool {
        self.is(Self::PROSE)
    }

    fn with(&mut self, one: Self, holds: bool) {
        self.0 |= if holds { one.0 } else { 0 };
    }
}

/// What one pass over a line counts and finds.
#[derive(Default)]
struct Counts {
    characters: usize,
    digits: usize,
    spaces: usize,
    /// Neither letter, digit, space nor a mark that sentences have.
    signs: usize,
    commas: usize,
    semicolons: usize,
    bars: usize,
    tabs: usize,
    level: bool,
    sql: bool,
    trace: bool,
    code: bool,
    clock: bool,
    early_clock: bool,
    /// `":`
    member: bool,
    /// `</`
    closing_tag: bool,
    /// `>`
    angle: bool,
    /// `(`
    parenthesis: bool,
    /// `->` or `→`
    arrow: bool,
    /// `://`
    scheme: bool,
    /// Where the first `: ` and the first `=` stand.
    colon: Option<usize>,
    equals: Option<usize>,
}

/// Looks at one line that is not blank.
pub(super) fn shape_of(line: &str) -> Shape {
    let text = line.trim();
    let mut counts = count(text);
    counts.code = is_code(line);
    let mut shape = Shape::default();
    shape.with(Shape::LEVEL, counts.level);
    shape.with(Shape::CLOCK, counts.clock);
    shape.with(Shape::JSON, text.starts_with(['{', '[']) || counts.member);
    shape.with(Shape::TABLE, counts.bars >= 2 || counts.tabs >= 2 || counts.commas >= 3 || counts.semicolons >= 3);
    let heads_a_diff = ["+++", "---", "@@"].iter().any(|head| text.starts_with(head));
    shape.with(Shape::DIFF, heads_a_diff || is_of_diff(text));
    shape.with(Shape::SQL, counts.sql);
    shape.with(Shape::TRACE, counts.trace || text.starts_with("at ") && counts.parenthesis);
    shape.with(Shape::CODE, counts.code);
    shape.with(Shape::PAIR, is_pair(text, &counts));
    shape.with(Shape::MARKUP, counts.closing_tag || text.starts_with('<') && counts.angle);
    shape.with(Shape::ARROW, counts.arrow);
    shape.with(Shape::BULLET, is_bullet(text));
    shape.with(Shape::ADDRESS, counts.scheme);
    shape.with(Shape::QUOTE, text.starts_with(['>', '"', '“', '„', '«']));
    shape.with(Shape::PROSE, reads_as_prose(text, &counts));
    shape
}

fn count(text: &str) -> Counts {
    let mut counts = Counts::default();
    let bytes = text.as_bytes();
    let (mut word, mut at) = (0, 0);
    while let Some(&byte) = bytes.get(at) {
        counts.characters += 1;
        if byte.is_ascii_alphabetic() {
            at += 1;
            continue;
        }
        let c = if byte.is_ascii() { char::from(byte) } else { text[at..].chars().next().unwrap_or(' ') };
        if c.is_alphabetic() {
            at += c.len_utf8();
            continue;
        }
        if c != '_' && !byte.is_ascii_digit() {
            note(&mut counts, &bytes[word..at]);
            word = at + c.len_utf8();
        }
        let before = at.checked_sub(1).map_or(0, |before| bytes[before]);
        match c {
            ' ' => counts.spaces += 1,
            '0'..='9' => counts.digits += 1,
            '\t' => counts.tabs += 1,
            ',' => counts.commas += 1,
            ';' => counts.semicolons += 1,
            '|' => (counts.bars, counts.signs) = (counts.bars + 1, counts.signs + 1),
            '(' => counts.parenthesis = true,
            '.' | '!' | '?' | '\'' | '’' | '"' | '-' | ')' | '…' | '¿' | '¡' => {}
            ':' => {
                let after = &bytes[at + 1..];
                let around = [Some(&before), after.first(), after.get(1)];
                let clock = around.iter().all(|byte| byte.is_some_and(u8::is_ascii_digit));
                counts.clock |= clock;
                counts.early_clock |= clock && at < 24;
                counts.member |= before == b'"';
                counts.scheme |= after.starts_with(b"//");
                if counts.colon.is_none() && after.first() == Some(&b' ') {
                    counts.colon = Some(at);
                }
            }
            _ if c.is_numeric() => counts.digits += 1,
            _ if c.is_whitespace() => {}
            _ => {
                counts.signs += 1;
                match c {
                    '<' => counts.closing_tag |= bytes.get(at + 1) == Some(&b'/'),
                    '>' => {
                        counts.angle = true;
                        counts.arrow |= before == b'-';
                    }
                    '=' => counts.equals = counts.equals.or(Some(at)),
                    '→' => counts.arrow = true,
                    _ => {}
                }
            }
        }
        at += c.len_utf8();
    }
    note(&mut counts, &bytes[word..]);
    counts
}

fn note(counts: &mut Counts, word: &[u8]) {
    const SQL: [&[u8]; 8] = [b"select", b"insert", b"update", b"delete", b"alter", b"join", b"where", b"create"];
    if word.len() < 2 {
        return;
    }
    match word {
        b"ERROR" | b"WARN" | b"WARNING" | b"INFO" | b"DEBUG" | b"FATAL" | b"CRITICAL" => counts.level = true,
        b"Traceback" | b"Exception" | b"panic" | b"panicked" | b"Caused" => counts.trace = true,
        [.., b'r'] if word.ends_with(b"Error") => counts.trace = true,
        [.., b'n'] if word.ends_with(b"Exception") => counts.trace = true,
        [
            b's' | b'i' | b'u' | b'd' | b'a' | b'j' | b'w' | b'c' | b'S' | b'I' | b'U' | b'D' | b'A' | b'J' | b'W'
            | b'C',
            ..,
        ] if (4..=6).contains(&word.len()) => {
            counts.sql |= SQL.iter().any(|sql| word.eq_ignore_ascii_case(sql));
        }
        _ => {}
    }
}

fn reads_as_prose(text: &str, counts: &Counts) -> bool {
    let dates = text.starts_with(|c: char| c.is_ascii_digit()) && counts.characters > 20 && counts.early_clock;
    let starts = ["```", "---", "+++", "@@", "$ ", ">>>", "#!"].iter().any(|start| text.starts_with(start));
    let is_material = starts
        || text.starts_with(['{', '[', '<', '|'])
        || counts.level && (counts.clock || counts.signs > 2)
        || dates
        || counts.bars >= 2
        || counts.tabs >= 2
        || counts.code;
    let is_listing = counts.semicolons >= 3
        || (counts.signs + counts.digits) * 100 > counts.characters * 22
        || counts.commas >= 3 && counts.spaces < counts.commas + 2;
    !is_material && (!is_listing || begins_a_sentence(text))
}

/// `name: value` or `name = value`, with a name of at most three words.
fn is_pair(text: &str, counts: &Counts) -> bool {
    let split = counts.colon.map(|at| (at, at + 2)).or(counts.equals.map(|at| (at, at + 1)));
    let named = |name: &str| name.starts_with(char::is_alphabetic) && name.split_whitespace().take(4).count() <= 3;
    split.is_some_and(|(end, start)| named(&text[..end]) && !text[start..].trim().is_empty())
}

fn is_bullet(text: &str) -> bool {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let numbered = rest.len() < text.len() && rest.starts_with(['.', ')']);
    numbered || text.starts_with("- ") || text.starts_with("* ") || text.starts_with('•')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, prose: bool, expected: &[&str]) {
        let shape = shape_of(line);
        let names: Vec<&str> =
            Shape::ALL.into_iter().zip(Shape::NAMES).filter(|(one, _)| shape.is(*one)).map(|(_, name)| name).collect();
        assert_eq!((shape.is_prose(), &names[..]), (prose, expected), "{line}");
    }

    #[test]
    fn prose_is_told_from_material() {
        check("why did last night's run take twice as long?", true, &[]);
        check("Könntest du das bitte kürzer fassen", true, &[]);
        check("2026-11-02T02:10:01Z ERROR worker-3 lost heartbeat", false, &["log levels", "times"]);
        check("{\"a\": 1}", false, &["JSON", "code"]);
        check("| id | name |", false, &["a table"]);
        check("+    return total", false, &["a diff", "code"]);
        check("SELECT a FROM b WHERE c = 1;", false, &["SQL", "code"]);
        check("orders.stg -> orders.mart", true, &["arrows"]);
        check("- tidy up the wording", true, &["a list"]);
        check("[urgent] 3 orders", false, &["JSON"]);
    }
    #[test]
    fn a_line_that_opens_as_a_sentence_is_prose_whatever_it_lists() {
        for line in [
            "turn this into a table: Mon swim 17-18 Ada; Tue -; Wed judo 16-17:30 Ben; Thu piano 15:00 Ada",
            "Is that a legal plan? VPC 10.20.0.0/16: 10.20.0.0/20, 10.20.16.0/20, 10.20.24.0/21, 10.20.32.0/22",
            "Are these IBANs formally fine: DE89370400440532013000,FR1420041010050500013,NL91ABNA0417164301,X",
        ] {
            assert!(shape_of(line).is_prose(), "{line}");
        }
        for line in ["a1; b2; c3; d4", "litres 41.2/3.38/4.21/188, 40.8/3.36/4.18/192, 42.0/3.35/4.10/201"] {
            assert!(!shape_of(line).is_prose(), "{line}");
        }
    }
}
