//! A strict pull scanner for JSON (RFC 8259) that builds no tree.
//!
//! It validates every byte that it passes, hands out positions in the original text, and never
//! recurses, so that nesting costs one bit a level. Strings come out raw; decoding is only paid for by
//! the few that are read. Duplicate keys are the caller's to refuse, where they matter.

mod strings;

use std::borrow::Cow;
use std::ops::Range;

use crate::limits::JSON_DEPTH_MAX;

/// Why a text is not acceptable JSON, and at which byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct JsonError {
    /// What was found or wanted; never any of the text itself.
    pub what: &'static str,
    /// Offset in bytes.
    pub at: usize,
}

/// A string as it stands between its quotes.
#[derive(Clone, Copy, Debug)]
pub struct RawStr<'a> {
    /// The characters between the quotes, escapes unresolved.
    pub raw: &'a str,
    /// Whether there is an escape in it.
    pub escaped: bool,
}

impl<'a> RawStr<'a> {
    /// The text with escapes resolved. A lone surrogate becomes U+FFFD.
    pub fn decode(self) -> Cow<'a, str> {
        if self.escaped { Cow::Owned(unescape(self.raw)) } else { Cow::Borrowed(self.raw) }
    }
}

/// A number where only a whole one makes sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WholeNumber {
    /// Not there, or `null`.
    #[default]
    Absent,
    /// Its value.
    Is(u64),
    /// There, and not a whole number: what a lenient reader would make of it is not known.
    Odd,
}

/// Reads a JSON text from front to back.
#[derive(Clone, Debug)]
pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Scanner<'a> {
    /// Starts before the first character of `text`.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// Starts before the first character of `bytes`, which must be UTF-8.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, JsonError> {
        let text = simdutf8::basic::from_utf8(bytes).map_err(|_| {
            // Where they are is for the slower reader to say.
            let at = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
            JsonError { what: "found bytes that are not UTF-8", at }
        })?;
        Ok(Self::new(text))
    }

    /// Offset of the next unread byte.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The next significant byte, without reading it.
    pub fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    /// Reads the members of an object; `member` must read the value, by [`skip`](Self::skip) at least.
    pub fn object<E: From<JsonError>>(
        &mut self,
        mut member: impl FnMut(&mut Self, RawStr<'a>) -> Result<(), E>,
    ) -> Result<Range<usize>, E> {
        let start = self.open(b'{', "wanted an object")?;
        if self.peek() == Some(b'}') {
            return Ok(self.close(start));
        }
        loop {
            self.peek();
            let key = self.string()?;
            self.expect(b':', "wanted a colon")?;
            self.peek();
            member(self, key)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => return Ok(self.close(start)),
                _ => return Err(self.error("wanted a comma or a closing brace").into()),
            }
        }
    }

    /// Reads the items of an array; `item` must read the value.
    pub fn array<E: From<JsonError>>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<Range<usize>, E> {
        let start = self.open(b'[', "wanted an array")?;
        if self.peek() == Some(b']') {
            return Ok(self.close(start));
        }
        loop {
            self.peek();
            item(self)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => return Ok(self.close(start)),
                _ => return Err(self.error("wanted a comma or a closing bracket").into()),
            }
        }
    }

    /// Reads a string.
    pub fn string(&mut self) -> Result<RawStr<'a>, JsonError> {
        self.expect(b'"', "wanted a string")?;
        let start = self.at;
        let escaped = self.string_rest()?;
        Ok(RawStr { raw: &self.text[start..self.at - 1], escaped })
    }

    /// Reads any value and says where it stands.
    pub fn skip(&mut self) -> Result<Range<usize>, JsonError> {
        let first = self.peek();
        let start = self.at;
        if first == Some(b'"') {
            self.at += 1;
            self.string_rest()?;
            return Ok(start..self.at);
        }
        let mut nesting = Nesting::default();
        loop {
            let opened = self.begin_value(&mut nesting)?;
            if !opened && self.after_value(&mut nesting)? {
                return Ok(start..self.at);
            }
        }
    }

    /// Reads any value and passes over it.
    pub fn pass(&mut self) -> Result<(), JsonError> {
        self.skip().map(drop)
    }

    /// Reads a whole number that is not negative, however it is spelt (`100`, `1e2`, `100.0`).
    pub fn whole_number(&mut self) -> Result<WholeNumber, JsonError> {
        let range = self.skip()?;
        Ok(match &self.text[range] {
            "null" => WholeNumber::Absent,
            text => text.parse().ok().or_else(|| whole(text)).map_or(WholeNumber::Odd, WholeNumber::Is),
        })
    }

    /// Reads a string; any other value is skipped and gives `None`.
    pub fn string_or_skip(&mut self) -> Result<Option<RawStr<'a>>, JsonError> {
        if self.peek() == Some(b'"') { self.string().map(Some) } else { self.skip().map(|_| None) }
    }

    /// The text of a range that this scanner handed out.
    pub fn text(&self, range: Range<usize>) -> &'a str {
        &self.text[range]
    }

    /// Checks that nothing but white space is left.
    pub fn end(&mut self) -> Result<(), JsonError> {
        if self.peek().is_some() { Err(self.error("found something after the value")) } else { Ok(()) }
    }

    /// Reads a scalar, or opens a container and, if that is not empty, stops before its first value.
    /// Returns whether a value must follow.
    fn begin_value(&mut self, nesting: &mut Nesting) -> Result<bool, JsonError> {
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                self.string_rest().map(|_| false)
            }
            Some(b'{') => {
                self.at += 1;
                if self.peek() == Some(b'}') {
                    self.at += 1;
                    return Ok(false);
                }
                self.nest(nesting, true)?;
                self.key_and_colon().map(|()| true)
            }
            Some(b'[') => {
                self.at += 1;
                if self.peek() == Some(b']') {
                    self.at += 1;
                    return Ok(false);
                }
                self.nest(nesting, false).map(|()| true)
            }
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            Some(b'-' | b'0'..=b'9') => self.number().map(|()| false),
            Some(_) => Err(self.error("wanted a value")),
            None => Err(self.error("the text ends where a value was wanted")),
        }
    }

    /// After a value: closes what ends here and stops before the next value. Returns whether the outermost value is complete.
    fn after_value(&mut self, nesting: &mut Nesting) -> Result<bool, JsonError> {
        loop {
            let Some(in_object) = nesting.top() else { return Ok(true) };
            match (self.peek(), in_object) {
                (Some(b','), true) => {
                    self.at += 1;
                    self.key_and_colon()?;
                    return Ok(false);
                }
                (Some(b','), false) => {
                    self.at += 1;
                    return Ok(false);
                }
                (Some(b'}'), true) | (Some(b']'), false) => {
                    self.at += 1;
                    nesting.depth -= 1;
                }
                (Some(_), _) => return Err(self.error("wanted a comma or a closing bracket")),
                (None, _) => return Err(self.error("the text ends inside an object or array")),
            }
        }
    }

    fn key_and_colon(&mut self) -> Result<(), JsonError> {
        self.expect(b'"', "wanted a key")?;
        self.string_rest()?;
        self.expect(b':', "wanted a colon")
    }

    fn nest(&self, nesting: &mut Nesting, object: bool) -> Result<(), JsonError> {
        if self.depth + nesting.depth >= JSON_DEPTH_MAX {
            return Err(self.error("nested too deeply"));
        }
        nesting.push(object);
        Ok(())
    }

    fn open(&mut self, bracket: u8, wanted: &'static str) -> Result<usize, JsonError> {
        self.expect(bracket, wanted)?;
        self.depth += 1;
        if self.depth > JSON_DEPTH_MAX { Err(self.error("nested too deeply")) } else { Ok(self.at - 1) }
    }

    fn close(&mut self, start: usize) -> Range<usize> {
        self.at += 1;
        self.depth -= 1;
        start..self.at
    }

    fn expect(&mut self, byte: u8, wanted: &'static str) -> Result<(), JsonError> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.error(wanted))
        }
    }

    /// Reads up to and over the closing quote; says whether there were escapes.
    fn string_rest(&mut self) -> Result<bool, JsonError> {
        let ended = strings::end_of(&self.text.as_bytes()[self.at..])
            .map_err(|broken| JsonError { what: broken.what, at: self.at + broken.at })?;
        self.at += ended.length;
        Ok(ended.escaped)
    }

    fn literal(&mut self, word: &'static str) -> Result<bool, JsonError> {
        if self.text[self.at..].starts_with(word) {
            self.at += word.len();
            Ok(false)
        } else {
            Err(self.error("wanted a value"))
        }
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let bytes = self.text.as_bytes();
        if bytes[self.at] == b'-' {
            self.at += 1;
        }
        if bytes.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits(bytes)?;
        }
        if bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits(bytes)?;
        }
        if matches!(bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(bytes.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits(bytes)?;
        }
        Ok(())
    }

    fn digits(&mut self, bytes: &[u8]) -> Result<(), JsonError> {
        let count = bytes[self.at..].iter().take_while(|b| b.is_ascii_digit()).count();
        if count == 0 {
            return Err(self.error("wanted a digit"));
        }
        self.at += count;
        Ok(())
    }

    fn error(&self, what: &'static str) -> JsonError {
        JsonError { what, at: self.at }
    }
}

/// Which of the open containers are objects: one bit a level.
#[derive(Default)]
struct Nesting {
    objects: [u64; JSON_DEPTH_MAX / 64],
    depth: usize,
}

impl Nesting {
    fn push(&mut self, object: bool) {
        let (word, bit) = (self.depth / 64, self.depth % 64);
        self.objects[word] = self.objects[word] & !(1 << bit) | u64::from(object) << bit;
        self.depth += 1;
    }

    fn top(&self) -> Option<bool> {
        let level = self.depth.checked_sub(1)?;
        Some(self.objects[level / 64] >> (level % 64) & 1 == 1)
    }
}

/// The value of a number with a fraction or an exponent, if that is whole and exact.
fn whole(text: &str) -> Option<u64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let value: f64 = text.parse().ok()?;
    ((0.0..=EXACT_MAX).contains(&value) && value.fract() <= 0.0).then_some(value as u64)
}

/// Resolves escapes of a string that the scanner accepted.
fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let (character, length) = unescape_one(&rest[at..]);
        out.push(character);
        rest = &rest[at + length..];
    }
    out.push_str(rest);
    out
}

fn unescape_one(escape: &str) -> (char, usize) {
    let simple = match escape.as_bytes().get(1) {
        Some(b'u') => return unescape_unicode(escape),
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(&other) => char::from(other),
        None => char::REPLACEMENT_CHARACTER,
    };
    (simple, 2.min(escape.len()))
}

fn unescape_unicode(escape: &str) -> (char, usize) {
    let unit = |at: usize| escape.get(at..at + 4).and_then(|hex| u16::from_str_radix(hex, 16).ok());
    let Some(first) = unit(2) else { return (char::REPLACEMENT_CHARACTER, escape.len()) };
    let second = escape.get(6..8).filter(|&mark| mark == "\\u").and_then(|_| unit(8));
    let pair = second.and_then(|second| char::decode_utf16([first, second]).next()?.ok());
    match pair {
        Some(character) if u32::from(character) > 0xFFFF => (character, 12),
        _ => (char::from_u32(u32::from(first)).unwrap_or(char::REPLACEMENT_CHARACTER), 6),
    }
}

#[cfg(test)]
mod tests;
