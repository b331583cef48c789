//! Where a JSON string ends: looked for in blocks of sixty-four bytes, with one bit a byte.
//!
//! Prompts are full of escapes, a few characters apart. Going from one to the next mispredicts a branch
//! each time; a block's bits tell where its string ends without any. The bits of escaped characters are
//! found as in Langdale and Lemire, *Parsing Gigabytes of JSON per Second*, <https://arxiv.org/abs/1902.08318>.

use wide::u8x16;

/// Bytes that one step looks at.
const BLOCK: usize = 64;
/// The first step is short: most strings are keys and words.
const FIRST: usize = 16;

/// A string whose closing quote was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ended {
    /// Bytes up to and with the closing quote.
    pub(super) length: usize,
    /// Whether there is an escape in it.
    pub(super) escaped: bool,
}

/// Why there is no string, and at which byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Broken {
    pub(super) what: &'static str,
    pub(super) at: usize,
}

/// Reads a string from behind its opening quote to its closing one.
///
/// # Errors
///
/// [`Broken`] for control characters, escapes that RFC 8259 does not know, and a text that ends early.
pub(super) fn end_of(bytes: &[u8]) -> Result<Ended, Broken> {
    let mut string = Reading { bytes, at: 0, open_escape: false, escaped: false };
    if let Some(first) = bytes.first_chunk::<FIRST>() {
        let marks = Marks::of(Special::of(first));
        let quote = marks.quotes.trailing_zeros();
        if quote < (marks.backslashes | marks.controls).trailing_zeros() {
            return Ok(Ended { length: quote as usize + 1, escaped: false });
        }
        if let Some(length) = string.step(marks, FIRST)? {
            return Ok(Ended { length, escaped: string.escaped });
        }
    }
    while let Some(block) = bytes[string.at..].first_chunk::<BLOCK>() {
        if let Some(length) = string.step(Marks::of_block(block), BLOCK)? {
            return Ok(Ended { length, escaped: string.escaped });
        }
    }
    let rest = &bytes[string.at..];
    let mut padded = [b' '; BLOCK];
    padded[..rest.len()].copy_from_slice(rest);
    let ended = string.step(Marks::of_block(&padded), rest.len())?;
    let length = ended.ok_or(Broken { what: "the text ends inside a string", at: bytes.len() })?;
    Ok(Ended { length, escaped: string.escaped })
}

/// Which bytes of a block a string can end or break at.
#[derive(Clone, Copy)]
struct Special {
    quotes: u8x16,
    backslashes: u8x16,
    controls: u8x16,
    /// The letter of the commonest escape but those two.
    ns: u8x16,
}

impl Special {
    fn of(bytes: &[u8; FIRST]) -> Self {
        let bytes = u8x16::new(*bytes);
        Self {
            quotes: bytes.simd_eq(u8x16::splat(b'"')),
            backslashes: bytes.simd_eq(u8x16::splat(b'\\')),
            controls: bytes.min(u8x16::splat(0x1f)).simd_eq(bytes),
            ns: bytes.simd_eq(u8x16::splat(b'n')),
        }
    }

    fn any(self) -> u8x16 {
        self.quotes | self.backslashes | self.controls
    }
}

/// One bit for each byte of a block, the first one lowest.
#[derive(Clone, Copy, Default)]
struct Marks {
    quotes: u64,
    backslashes: u64,
    controls: u64,
    ns: u64,
}

impl Marks {
    fn of(special: Special) -> Self {
        let bits = |mask: u8x16| u64::from(mask.to_bitmask());
        Self {
            quotes: bits(special.quotes),
            backslashes: bits(special.backslashes),
            controls: bits(special.controls),
            ns: bits(special.ns),
        }
    }

    fn of_block(block: &[u8; BLOCK]) -> Self {
        let (quarters, _) = block.as_chunks::<FIRST>();
        let [a, b, c, d] = [0, 1, 2, 3].map(|quarter| Special::of(&quarters[quarter]));
        if (a.any() | b.any() | c.any() | d.any()).to_bitmask() == 0 {
            return Self::default();
        }
        let bits = |[a, b, c, d]: [u8x16; 4]| {
            let [a, b, c, d] = [a, b, c, d].map(|mask| u64::from(mask.to_bitmask()));
            a | b << FIRST | c << (2 * FIRST) | d << (3 * FIRST)
        };
        // Almost no block has any.
        let controls = [a.controls, b.controls, c.controls, d.controls];
        let has_controls = (a.controls | b.controls | c.controls | d.controls).to_bitmask() != 0;
        Self {
            quotes: bits([a.quotes, b.quotes, c.quotes, d.quotes]),
            backslashes: bits([a.backslashes, b.backslashes, c.backslashes, d.backslashes]),
            controls: if has_controls { bits(controls) } else { 0 },
            ns: bits([a.ns, b.ns, c.ns, d.ns]),
        }
    }

    fn are_none(self) -> bool {
        self.quotes | self.backslashes | self.controls == 0
    }
}

struct Reading<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The block before ended in a backslash that escapes this one's first character.
    open_escape: bool,
    escaped: bool,
}

impl Reading<'_> {
    /// Looks at the next `width` bytes; gives the string's length if it ends there. Part of the loop around it, or its
    /// result would go through memory for each block.
    #[inline(always)]
    fn step(&mut self, marks: Marks, width: usize) -> Result<Option<usize>, Broken> {
        if marks.are_none() && !self.open_escape {
            self.at += width;
            return Ok(None);
        }
        let escapes = if marks.backslashes == 0 && !self.open_escape { 0 } else { self.escapes(marks, width) };
        let quotes = marks.quotes & !escapes;
        // Bits up to the closing quote, or all.
        let inside = below(quotes);
        self.escaped |= escapes & inside != 0;
        // The three that nearly all of them are show in the bits: a loop over each would mispredict again.
        let common = marks.quotes | marks.backslashes | marks.ns;
        let (control, rare) = (marks.controls & inside, escapes & inside & !common);
        if control | rare != 0 {
            self.check(control, rare)?;
        }
        if quotes != 0 {
            return Ok(Some(self.at + quotes.trailing_zeros() as usize + 1));
        }
        self.at += width;
        Ok(None)
    }

    /// The characters that stand behind a backslash which is not itself escaped.
    fn escapes(&mut self, marks: Marks, width: usize) -> u64 {
        const EVEN: u64 = 0x5555_5555_5555_5555;
        let backslashes = marks.backslashes & !u64::from(self.open_escape);
        let follows = backslashes << 1 | u64::from(self.open_escape);
        let odd_starts = backslashes & !EVEN & !follows;
        let (sequences, carried) = odd_starts.overflowing_add(backslashes);
        let escapes = (EVEN ^ (sequences << 1)) & follows;
        self.open_escape = if width < BLOCK {
            backslashes >> (width.max(1) - 1) & !(escapes >> (width.max(1) - 1)) & 1 == 1
        } else {
            carried
        };
        escapes
    }

    /// Checks escaped characters up to a control character, which none may be.
    #[cold]
    fn check(&self, control: u64, escapes: u64) -> Result<(), Broken> {
        self.check_escapes(escapes & below(control))?;
        if control == 0 {
            return Ok(());
        }
        let at = self.at + control.trailing_zeros() as usize;
        Err(Broken { what: "found a control character in a string", at })
    }

    /// Checks the escaped characters whose bits are set.
    fn check_escapes(&self, mut escapes: u64) -> Result<(), Broken> {
        while escapes != 0 {
            let at = self.at + escapes.trailing_zeros() as usize;
            match self.bytes.get(at) {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {}
                Some(b'u') => {
                    let digits = self.bytes.get(at + 1..at + 5);
                    if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                        return Err(Broken { what: "wanted four hexadecimal digits", at: at - 1 });
                    }
                }
                _ => return Err(Broken { what: "found an unknown escape", at: at - 1 }),
            }
            escapes &= escapes - 1;
        }
        Ok(())
    }
}

/// The bits below the lowest that is set; all if none is.
fn below(bits: u64) -> u64 {
    (bits & bits.wrapping_neg()).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same, character by character.
    fn slowly(bytes: &[u8]) -> Option<Ended> {
        let (mut at, mut escaped) = (0, false);
        loop {
            match *bytes.get(at)? {
                b'"' => return Some(Ended { length: at + 1, escaped }),
                b'\\' => {
                    escaped = true;
                    match bytes.get(at + 1)? {
                        b'u' if bytes.get(at + 2..at + 6)?.iter().all(u8::is_ascii_hexdigit) => at += 6,
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                        _ => return None,
                    }
                }
                0..0x20 => return None,
                _ => at += 1,
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn blocks_find_what_single_steps_find(
            pieces in prop::collection::vec(
                prop::sample::select(vec!["\\", "\\\\", "\\\"", "\\n", "\\u00e9", "\\u0", "a", "prose of many words ", "\"", "é", "\u{2028}", "\n"]),
                0..90,
            ),
            lead in 0..70_usize,
        ) {
            let text = "x".repeat(lead) + &pieces.concat();
            prop_assert_eq!(end_of(text.as_bytes()).ok(), slowly(text.as_bytes()));
        }
    }

    #[test]
    fn every_byte_at_every_place_ends_or_breaks_a_string_or_neither() {
        for byte in 0..=u8::MAX {
            for (place, fill) in (0..168).flat_map(|place| [(place, b'a'), (place, 0xff), (place, 0x80)]) {
                let mut bytes = [fill; 170];
                bytes[place] = byte;
                bytes[169] = b'"';
                assert_eq!(end_of(&bytes).ok(), slowly(&bytes), "{byte:#x} at {place} among {fill:#x}");
            }
        }
    }

    #[track_caller]
    fn check_broken(text: &str, what: &'static str, at: usize) {
        for lead in [0, 3, 15, 16, 63, 64, 79, 80, 81] {
            let text = "x".repeat(lead) + text;
            assert_eq!(end_of(text.as_bytes()), Err(Broken { what, at: at + lead }), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        check_broken("ab\ncd\"", "found a control character in a string", 2);
        check_broken("ab\\x\"", "found an unknown escape", 2);
        check_broken("ab\\u12\"", "wanted four hexadecimal digits", 2);
        check_broken("abc", "the text ends inside a string", 3);
        check_broken("abc\\\"", "the text ends inside a string", 5);
    }
}
