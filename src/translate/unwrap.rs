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
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match byte {
                b'"' => {
                    escape_controls(&self.held[..at], text);
                    self.held.clear();
                    self.place = Place::Behind;
                    return;
                }
                b'\\' => match escape_bytes(&bytes[at..]) {
                    Some(length) => at += length,
                    // It goes on in the next piece.
                    None => break,
                },
                _ => at += 1,
            }
        }
        escape_controls(&self.held[..at], text);
        self.held.drain(..at);
    }
}

/// The length of the escape that begins here, both halves of a surrogate pair together; `None` if it has not ended.
fn escape_bytes(bytes: &[u8]) -> Option<usize> {
    if *bytes.get(1)? != b'u' {
        // What follows a backslash may be longer if it is no escape at all.
        return Some(if bytes[1].is_ascii() { 2 } else { 1 });
    }
    let unit = bytes.get(2..UNICODE_BYTES)?;
    let is_high = unit[0].eq_ignore_ascii_case(&b'd') && matches!(unit[1], b'8' | b'9' | b'a' | b'b' | b'A' | b'B');
    let is_whole = unit.iter().all(u8::is_ascii_hexdigit);
    if !is_whole {
        return Some(2);
    }
    if !is_high {
        return Some(UNICODE_BYTES);
    }
    match bytes.get(UNICODE_BYTES..) {
        Some([b'\\', b'u', rest @ ..]) => (rest.len() >= 4).then_some(2 * UNICODE_BYTES),
        Some([] | [b'\\']) | None => None,
        Some(_) => Some(UNICODE_BYTES),
    }
}

/// Writes what stands between quotes, and the control characters that should not as they must be spelt.
fn escape_controls(spelt: &str, text: &mut String) {
    if !spelt.bytes().any(|byte| byte < 0x20) {
        text.push_str(spelt);
        return;
    }
    for character in spelt.chars() {
        if u32::from(character) < 0x20 {
            let _ = write!(text, "\\u{:04x}", u32::from(character));
        } else {
            text.push(character);
        }
    }
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
    }
}
