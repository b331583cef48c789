//! The texts of a chat request, decoded: the few that somebody reads, as much of them as is read.
//!
//! Where they stand is in the request's [`Outline`](crate::prompt::outline::Outline). A content is a string or an array of
//! parts; other values have no text. Nothing here fails: the body was read before.
//! <https://platform.openai.com/docs/api-reference/chat/create>

use std::borrow::Cow;
use std::ops::Range;

use crate::prompt::json::{JsonError, RawStr, Scanner};

/// How far a cut is moved to fall between words, in bytes.
const CUT_BYTES: usize = 64;
/// Stands where something was left out.
const CUT: &str = "\n…\n";

/// The text parts of a content, each whole.
pub fn parts<'b>(body: &'b [u8], at: &Range<usize>) -> Vec<Cow<'b, str>> {
    with_parts(body, at, |parts| parts.iter().map(|part| part.decode()).collect())
}

/// The text of a content in one piece: whole if it has at most as many bytes of JSON as `ends` together, else so many
/// bytes of its start and of its end, cut between words.
pub fn clipped<'b>(body: &'b [u8], at: &Range<usize>, ends: (usize, usize)) -> Cow<'b, str> {
    with_parts(body, at, |parts| {
        let length: usize = parts.iter().map(|part| part.raw.len()).sum();
        match parts {
            [] => Cow::Borrowed(""),
            [one] if length <= ends.0 + ends.1 => one.decode(),
            many if length <= ends.0 + ends.1 => Cow::Owned(joined(many.iter().copied())),
            many => Cow::Owned(start_of(many, ends.0) + CUT + &end_of(many, ends.1)),
        }
    })
}

/// A value that is a string, such as a tool's name; nothing if it is none.
pub fn string<'b>(body: &'b [u8], at: &Range<usize>) -> Cow<'b, str> {
    let mut scanner = Scanner::new(text_at(body, at));
    let text = if scanner.peek() == Some(b'"') { scanner.string().ok() } else { None };
    text.map_or(Cow::Borrowed(""), RawStr::decode)
}

fn text_at<'b>(body: &'b [u8], at: &Range<usize>) -> &'b str {
    body.get(at.clone()).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
}

/// What `read` makes of the text parts of a content. Most are one string, which needs no list.
fn with_parts<'b, T>(body: &'b [u8], at: &Range<usize>, read: impl FnOnce(&[RawStr<'b>]) -> T) -> T {
    let mut scanner = Scanner::new(text_at(body, at));
    let scanned = "what was scanned before scans again";
    if scanner.peek() == Some(b'"') {
        let text = scanner.string();
        debug_assert!(text.is_ok(), "{scanned}");
        return read(text.ok().as_slice());
    }
    let mut parts = Vec::new();
    if scanner.peek() == Some(b'[') {
        let list = scanner.array::<JsonError>(|s| part(s, &mut parts));
        debug_assert!(list.is_ok(), "{scanned}");
    }
    read(&parts)
}

/// An item of a content: an object with a `text`, or, as some clients send it, the text itself.
fn part<'b>(s: &mut Scanner<'b>, parts: &mut Vec<RawStr<'b>>) -> Result<(), JsonError> {
    if s.peek() != Some(b'{') {
        parts.extend(s.string_or_skip()?);
        return Ok(());
    }
    s.object::<JsonError>(|s, key| {
        if key.decode() == "text" {
            parts.extend(s.string_or_skip()?);
            Ok(())
        } else {
            s.pass()
        }
    })
    .map(drop)
}

fn joined<'b>(parts: impl Iterator<Item = RawStr<'b>>) -> String {
    let mut text = String::new();
    for part in parts {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&part.decode());
    }
    text
}

fn start_of(parts: &[RawStr<'_>], mut bytes: usize) -> String {
    let taken = parts.iter().map_while(|part| {
        let fits = part.raw.len().min(bytes);
        let end = if fits == part.raw.len() { fits } else { before_a_space(part.raw, fits) };
        let was_left = bytes > 0;
        bytes -= fits;
        was_left.then_some(RawStr { raw: &part.raw[..end], escaped: part.escaped })
    });
    joined(taken)
}

fn end_of(parts: &[RawStr<'_>], mut bytes: usize) -> String {
    let mut taken = Vec::new();
    for part in parts.iter().rev() {
        if bytes == 0 {
            break;
        }
        let fits = part.raw.len().min(bytes);
        let start = if fits == part.raw.len() { 0 } else { after_a_space(part.raw, part.raw.len() - fits) };
        bytes -= fits;
        taken.push(RawStr { raw: &part.raw[start..], escaped: part.escaped });
    }
    joined(taken.into_iter().rev())
}

/// The last place up to `at` that is between words, if one is near; else one between characters and escapes.
fn before_a_space(raw: &str, at: usize) -> usize {
    let at = raw.floor_char_boundary(at);
    let near = raw.floor_char_boundary(at.saturating_sub(CUT_BYTES));
    raw[near..at].rfind(' ').map_or_else(|| if splits_an_escape(raw, at) { at - 1 } else { at }, |space| near + space)
}

/// The first such place from `at` on. Digits of an escape that began before it are letters then.
fn after_a_space(raw: &str, at: usize) -> usize {
    let at = raw.ceil_char_boundary(at);
    let near = raw.ceil_char_boundary(at + CUT_BYTES);
    raw[at..near].find(' ').map_or_else(|| if splits_an_escape(raw, at) { at + 1 } else { at }, |space| at + space + 1)
}

/// Whether the byte before `at` is a backslash that is not itself escaped: what follows it is one ASCII character.
fn splits_an_escape(raw: &str, at: usize) -> bool {
    raw.as_bytes()[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(content: &str, ends: (usize, usize), expected: &str) {
        assert_eq!(clipped(content.as_bytes(), &(0..content.len()), ends), expected, "{content}");
    }

    #[test]
    fn strings_and_parts_are_texts_and_other_values_are_none() {
        check(r#""say \"hi\"""#, (99, 99), "say \"hi\"");
        check(
            r#"[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"u"}},{"text":"b"},"c",7]"#,
            (99, 9),
            "a\nb\nc",
        );
        for content in ["null", "7", "{}", "[]", r#"[{"text":null}]"#, r#"[[{"text":"a"}]]"#] {
            check(content, (99, 99), "");
        }
    }

    #[test]
    fn a_long_text_gives_its_ends_cut_between_words() {
        check(r#""one two three four five""#, (9, 6), "one two\n…\nfive");
        check(r#"[{"text":"one two"},{"text":"three four"},{"text":"five six"}]"#, (9, 8), "one two\nth\n…\nfive six");
    }

    #[test]
    fn a_name_is_read_only_if_it_is_a_string() {
        assert_eq!(string(br#""run\u005fsql""#, &(0..14)), "run_sql");
        assert_eq!(string(b"[\"a\"]", &(0..5)), "");
    }

    proptest! {
        #[test]
        fn any_text_is_clipped_at_any_place(text in r#"[a-z é"\\\n😀]{0,80}"#, head in 0..50_usize, tail in 0..50_usize) {
            let content = serde_json::to_string(&text).unwrap();
            let clipped = clipped(content.as_bytes(), &(0..content.len()), (head, tail));
            prop_assert!(clipped == text || clipped.contains('…'));
            prop_assert!(clipped.len() <= 3 * (head + tail) + CUT.len() || clipped == text);
        }
    }
}
