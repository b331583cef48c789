//! The simulated provider's own tokenizer: deterministic, fast, and like a real one in its averages.
//!
//! About four bytes of English, code or JSON make a token. Every token is at least one whole
//! character, so a text never has more tokens than bytes and each streamed delta is valid UTF-8.
//! It shares nothing with the gateway's own counting: that the two agree on money is what is proved.

/// Longest word that is a token of its own, in letters.
const WORD_LETTERS_MAX: usize = 6;
/// Letters that are split off the front of a longer word.
const SYLLABLE_LETTERS: usize = 4;
/// Longest run of blanks in one token, in bytes.
const BLANKS_MAX: usize = 16;

/// The tokens of a text in order; together they are the text.
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    rest: &'a str,
}

/// Splits `text` into tokens.
pub fn tokens(text: &str) -> Tokens<'_> {
    Tokens { rest: text }
}

/// How many tokens `text` has; 0 for an empty text, never more than its bytes.
pub fn count(text: &str) -> u64 {
    tokens(text).map(|_| 1).sum()
}

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let first = *self.rest.as_bytes().first()?;
        let (token, rest) = self.rest.split_at(first_token_bytes(self.rest, first));
        self.rest = rest;
        Some(token)
    }
}

fn first_token_bytes(text: &str, first: u8) -> usize {
    let bytes = text.as_bytes();
    match first {
        b' ' => match bytes.get(1) {
            Some(b) if b.is_ascii_alphabetic() => 1 + word_bytes(&bytes[1..]),
            Some(b) if b.is_ascii_punctuation() => 2,
            _ => blank_bytes(bytes),
        },
        b if b.is_ascii_alphabetic() => word_bytes(bytes),
        b if b.is_ascii_digit() => run(bytes, 3, |b| b.is_ascii_digit()),
        b if b.is_ascii_punctuation() => punctuation_bytes(bytes),
        b if b.is_ascii() => blank_bytes(bytes),
        _ => foreign_bytes(text),
    }
}

fn run(bytes: &[u8], most: usize, belongs: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take(most).take_while(|b| belongs(**b)).count()
}

/// A word ends where its letters do, or where camelCase starts a new one.
fn word_bytes(bytes: &[u8]) -> usize {
    let window = &bytes[..bytes.len().min(WORD_LETTERS_MAX + 1)];
    let mut letters = 1;
    while letters < window.len() && window[letters].is_ascii_alphabetic() {
        if window[letters].is_ascii_uppercase() && window[letters - 1].is_ascii_lowercase() {
            return letters;
        }
        letters += 1;
    }
    if letters > WORD_LETTERS_MAX { SYLLABLE_LETTERS } else { letters }
}

/// Leaves one space for the word that follows, as byte-pair tokenizers do.
fn blank_bytes(bytes: &[u8]) -> usize {
    let blanks = run(bytes, BLANKS_MAX, |b| b.is_ascii_whitespace() || b.is_ascii_control());
    let word_follows = bytes.get(blanks).is_some_and(|b| b.is_ascii_alphabetic());
    if blanks > 1 && word_follows && bytes[blanks - 1] == b' ' { blanks - 1 } else { blanks.max(1) }
}

fn punctuation_bytes(bytes: &[u8]) -> usize {
    let same = run(bytes, 8, |b| b == bytes[0]);
    if same > 1 { same } else { run(bytes, 2, |b| b.is_ascii_punctuation()) }
}

/// Alphabets with two-byte letters take up to three of them together; everything else is a token a character.
fn foreign_bytes(text: &str) -> usize {
    let short = text.chars().take(3).take_while(|c| c.len_utf8() == 2).count();
    text.chars().take(short.max(1)).map(char::len_utf8).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(tokens(text).collect::<Vec<_>>(), expected, "text: {text:?}");
    }

    #[test]
    fn words_take_their_space_and_long_words_split() {
        check("the job failed", &["the", " job", " failed"]);
        check(" production", &[" prod", "uction"]);
        check("orderTotal", &["order", "Total"]);
    }

    #[test]
    fn numbers_punctuation_and_blanks_have_their_own_tokens() {
        check("20261122", &["202", "611", "22"]);
        check("{\"a\": 1}", &["{\"", "a", "\":", " ", "1", "}"]);
        check("====\n    x", &["====", "\n   ", " x"]);
    }

    #[test]
    fn every_token_is_whole_characters() {
        check("日本", &["日", "本"]);
        check("привет", &["при", "вет"]);
        check("🚀\u{2028}", &["🚀", "\u{2028}"]);
        check("\0\u{7f}", &["\0\u{7f}"]);
    }

    #[test]
    fn english_has_about_four_bytes_a_token() {
        let prose = "The pipeline failed because the upstream schema changed on Tuesday; a nullable column \
                     became required, and every row that was loaded since then has been rejected by the merge step.";
        let ratio = prose.len() as u64 * 10 / count(prose);
        assert!((35..=50).contains(&ratio), "{ratio} tenths of a byte a token");
    }

    proptest::proptest! {
        #[test]
        fn tokens_make_the_text_and_are_never_more_than_its_bytes(text in "\\PC{0,80}|[ -~\\n\\t]{0,120}|\\p{Any}{0,40}") {
            let parts: Vec<_> = tokens(&text).collect();
            proptest::prop_assert_eq!(parts.concat(), text.as_str());
            proptest::prop_assert!(parts.iter().all(|part| !part.is_empty()));
            proptest::prop_assert!(parts.len() <= text.len());
        }
    }
}
