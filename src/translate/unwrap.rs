//! The text that a tool is called with, out of the object around it.
//!
//! A tool that takes a text is offered elsewhere as one that takes an object with the member `input`. What comes of it
//! is told piece by piece, so the text is taken out as it comes; a piece may end anywhere.

use std::fmt::Write as _;

use super::write::escape;

/// What stands before the text but for white space.
const OPENING: &str = r#"{"input":""#;
/// The bytes of a `\uXXXX`.
const UNICODE_BYTES: usize = 6;

/// Takes one text out of its object.
#[derive(Debug, Default)]
pub struct Unwrap {
    place: Place,
    /// What was read and not told: the opening, an escape that has not ended, or all of what is another object.
    held: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Place {
    #[default]
    Before,
    Inside,
    Behind,
    /// It is no object of ours.
    Elsewhere,
}

impl Unwrap {
    /// Reads a piece of JSON and writes behind `text` what it has of the text, as it is spelt between quotes.
    pub fn piece(&mut self, json: &str, text: &mut String) {
        self.held.push_str(json);
        if self.place == Place::Before {
            self.open();
        }
        if self.place == Place::Inside {
            self.inside(text);
        }
    }

    /// Ends: what was no object of ours is the text as it is.
    pub fn finish(&mut self, text: &mut String) {
        match self.place {
            Place::Before | Place::Elsewhere => escape(&self.held, text),
            Place::Inside | Place::Behind => {}
        }
        self.held.clear();
    }

    /// How many bytes are held.
    pub fn held_bytes(&self) -> usize {
        self.held.len()
    }

    fn open(&mut self) {
        let mut wanted = OPENING.bytes();
        for (at, byte) in self.held.bytes().enumerate() {
            // Inside the key there is none, so that this takes no more than it should.
            if byte.is_ascii_whitespace() {
                continue;
            }
            if wanted.next() != Some(byte) {
                self.place = Place::Elsewhere;
                return;
            }
            if wanted.len() == 0 {
                self.place = Place::Inside;
                self.held.drain(..=at);
                return;
            }
        }
    }

    fn inside(&mut self, text: &mut String) {
        let bytes = self.held.as_bytes();
        let (mut at, mut copied) = (0, 0);
        while let Some(&byte) = bytes.get(at) {
            match byte {
                b'"' => {
                    text.push_str(&self.held[copied..at]);
                    self.held.clear();
                    self.place = Place::Behind;
                    return;
                }
                b'\\' => match Escape::read(&bytes[at..]) {
                    Escape::Torn => break,
                    Escape::Whole(length) => at += length,
                    Escape::Half => {
                        text.push_str(&self.held[copied..at]);
                        text.push(char::REPLACEMENT_CHARACTER);
                        at += UNICODE_BYTES;
                        copied = at;
                    }
                    Escape::None => {
                        text.push_str(&self.held[copied..at]);
                        text.push_str("\\\\");
                        at += 1;
                        copied = at;
                    }
                },
                // A model may forget to escape it.
                0..0x20 => {
                    text.push_str(&self.held[copied..at]);
                    let _ = write!(text, "\\u{byte:04x}");
                    at += 1;
                    copied = at;
                }
                _ => at += 1,
            }
        }
        text.push_str(&self.held[copied..at]);
        self.held.drain(..at);
    }
}

/// What begins with a backslash. <https://www.rfc-editor.org/rfc/rfc8259#section-7>
enum Escape {
    /// So many bytes; both halves of a surrogate pair are one, since a piece with half of it says something else.
    Whole(usize),
    /// It goes on in the next piece.
    Torn,
    /// One of the halves alone, which strict readers refuse.
    Half,
    /// It is no escape at all.
    None,
}

impl Escape {
    fn read(bytes: &[u8]) -> Self {
        match bytes.get(1) {
            None => return Self::Torn,
            Some(b'u') => {}
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => return Self::Whole(2),
            Some(_) => return Self::None,
        }
        match unit(bytes) {
            None => Self::Torn,
            Some(Err(())) => Self::None,
            Some(Ok(0xdc00..0xe000)) => Self::Half,
            Some(Ok(0xd800..0xdc00)) => match &bytes[UNICODE_BYTES..] {
                [] | [b'\\'] => Self::Torn,
                rest @ [b'\\', b'u', ..] => match unit(rest) {
                    Some(Ok(0xdc00..0xe000)) => Self::Whole(2 * UNICODE_BYTES),
                    Some(_) => Self::Half,
                    None => Self::Torn,
                },
                _ => Self::Half,
            },
            Some(Ok(_)) => Self::Whole(UNICODE_BYTES),
        }
    }
}

/// The number in a `\uXXXX`; nothing if it has not ended.
fn unit(bytes: &[u8]) -> Option<Result<u32, ()>> {
    let digits = &bytes[2..bytes.len().min(UNICODE_BYTES)];
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return Some(Err(()));
    }
    let value =
        digits.iter().filter_map(|digit| char::from(*digit).to_digit(16)).fold(0, |sum, digit| sum * 16 + digit);
    (digits.len() == UNICODE_BYTES - 2).then_some(Ok(value))
}

/// The text in arguments that are whole, as it is spelt between quotes.
pub fn unwrapped(json: &str) -> String {
    let mut unwrap = Unwrap::default();
    let mut text = String::with_capacity(json.len());
    unwrap.piece(json, &mut text);
    unwrap.finish(&mut text);
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(spelt: &str) -> String {
        serde_json::from_str(&format!("\"{spelt}\"")).expect(spelt)
    }

    #[test]
    fn what_is_no_object_of_ours_is_the_text_itself() {
        for other in ["", "{}", "plain", r#"{"patch":"x"}"#, "[1]", "{\"input\":5}"] {
            assert_eq!(read(&unwrapped(other)), other);
        }
    }

    #[test]
    fn line_ends_that_a_model_forgot_to_escape_are() {
        assert_eq!(read(&unwrapped("{\"input\":\"a\nb\"}")), "a\nb");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_piece_of_a_text_can_be_read_by_itself(text in "[a-z\"\\\\\n\t/😀ä{}:]{0,16}", cuts in prop::collection::vec(0usize..80, 0..6), escaped in any::<bool>()) {
            let mut json = json!({"input": text}).to_string();
            if escaped {
                json = json.replace('😀', "\\ud83d\\uDE00").replace('ä', "\\u00e4").replacen(':', " : ", 1);
            }
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| json.is_char_boundary(*cut)).collect();
            cuts.sort_unstable();
            let (mut unwrap, mut said, mut from) = (Unwrap::default(), String::new(), 0);
            for cut in cuts.into_iter().filter(|cut| *cut <= json.len()).chain([json.len()]).collect::<Vec<_>>() {
                let mut piece = String::new();
                unwrap.piece(&json[from.min(cut)..cut], &mut piece);
                said.push_str(&read(&piece));
                from = cut;
            }
            let mut rest = String::new();
            unwrap.finish(&mut rest);
            prop_assert_eq!((said, rest), (text, String::new()));
        }

        #[test]
        fn whatever_a_model_writes_can_be_read(pieces in prop::collection::vec("[a-fux0-9\"\\\\\n{}ä😀]{0,7}|\\\\ud8|3d\\\\ude", 0..8), opened in any::<bool>()) {
            let (mut unwrap, opening) = (Unwrap::default(), if opened { OPENING } else { "" });
            for piece in std::iter::once(opening).chain(pieces.iter().map(String::as_str)) {
                let mut said = String::new();
                unwrap.piece(piece, &mut said);
                read(&said);
            }
            let mut rest = String::new();
            unwrap.finish(&mut rest);
            read(&rest);
        }
    }
}
