//! What can be said of a request's texts without keeping any: hashes of them, and how much stands there twice.
//!
//! Two requests that differ only in hours, ids and numbers have one *masked* hash, and a bit set says what was masked. All
//! hashes are keyed, so that nobody who reads them can try texts. Pure; whoever calls it does so behind the request's back.

use std::collections::HashSet;
use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::outline::Outline;
use crate::limits::{SKETCH_BLOCK_BYTES_MIN, SKETCH_TEXT_BYTES_MAX};

/// What was masked, as bits, with the words that a policy's `mask` will have.
pub const MASKS: [(u8, &str); 4] =
    [(TIMESTAMPS, "timestamps"), (UUIDS, "uuids"), (RUN_IDS, "run_ids"), (NUMBERS, "numbers")];
const TIMESTAMPS: u8 = 1;
const UUIDS: u8 = 2;
const RUN_IDS: u8 = 4;
const NUMBERS: u8 = 8;

/// What stands in a request's texts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Texts {
    /// The whole request, masked but for what stands before its last user turn, if it has several; `None`: it has none, or
    /// too much text.
    pub masked: Option<u64>,
    /// The first system prompt, masked; `None`: there is none, or it is too long.
    pub masked_system: Option<u64>,
    /// What was masked.
    pub masks: u8,
    /// Bytes of the texts that were read.
    pub read_bytes: u64,
    /// Bytes of blocks that had stood in these texts before.
    pub repeated_bytes: u64,
}

/// Reads the instructions, the last user turn and what tools answered to it, up to a bound. A history is taken as it is: a
/// cache would answer a further turn of a conversation only where all before it is the same.
pub fn texts(body: &[u8], outline: &Outline, key: u64) -> Texts {
    let turn = outline.last_user_began.iter().chain(&outline.last_user).chain(&outline.tool_results);
    let chain = &outline.chain;
    let (mut found, mut seen, mut hash, mut is_whole) = (Texts::default(), HashSet::new(), chain.head.hash, true);
    if chain.history != chain.opening {
        hash = xxh3_64_with_seed(&chain.history.to_le_bytes(), key ^ hash);
    }
    for (place, at) in outline.instructions.iter().chain(turn).enumerate() {
        let left = SKETCH_TEXT_BYTES_MAX - found.read_bytes as usize;
        let Some(text) = body.get(Range::clone(at)).filter(|text| text.len() <= left) else {
            is_whole = false;
            continue;
        };
        found.read_bytes += text.len() as u64;
        found.repeated_bytes += repeated(bare(text), key, &mut seen);
        let (masked, masks) = masked(text);
        found.masks |= masks;
        hash = xxh3_64_with_seed(&masked, key ^ hash);
        if place == 0 && !outline.instructions.is_empty() {
            found.masked_system = Some(xxh3_64_with_seed(&masked, key));
        }
    }
    found.masked = (is_whole && outline.user_turns > 0).then_some(hash);
    found
}

/// A string without its quotes.
fn bare(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(text)
}

/// Bytes of the text's blocks that were seen before. A block is a line: in JSON its end is spelt `\n`.
fn repeated(text: &[u8], key: u64, seen: &mut HashSet<u64>) -> u64 {
    let (mut repeated, mut start) = (0, 0);
    let ends = memchr::memmem::find_iter(text, br"\n").chain(std::iter::once(text.len()));
    for end in ends {
        let block = text.get(start..end).unwrap_or_default();
        if block.len() >= SKETCH_BLOCK_BYTES_MIN && !seen.insert(xxh3_64_with_seed(block, key)) {
            repeated += block.len() as u64;
        }
        start = end + 2;
    }
    repeated
}

/// The text with one byte in the place of each word that has digits, and what these words were.
pub(super) fn masked(text: &[u8]) -> (Vec<u8>, u8) {
    let (mut out, mut masks, mut rest) = (Vec::with_capacity(text.len()), 0, text);
    while let Some(first) = rest.first() {
        let length = rest.iter().take_while(|byte| is_of_word(**byte)).count();
        if length == 0 {
            // Of an escape the letter belongs to no word: `\n2026` is a line that begins with a year.
            let skipped = if *first == b'\\' { 2.min(rest.len()) } else { 1 };
            out.extend_from_slice(&rest[..skipped]);
            rest = &rest[skipped..];
            continue;
        }
        let (word, behind) = rest.split_at(length);
        match mask_of(word) {
            Some(mask) => {
                masks |= mask;
                out.push(mask);
            }
            None => out.extend_from_slice(word),
        }
        rest = behind;
    }
    (out, masks)
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b':' | b'.' | b'_' | b'+' | b'/')
}

/// What a word is of which requests differ that ask for the same; `None`: it says something.
fn mask_of(word: &[u8]) -> Option<u8> {
    let word = word.trim_ascii_end();
    let trimmed = word.iter().rposition(|byte| !matches!(byte, b'.' | b':' | b'-')).map_or(word, |last| &word[..=last]);
    let digits = trimmed.iter().filter(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return is_of_calendar(trimmed).then_some(TIMESTAMPS);
    }
    if trimmed.len() == 36
        && trimmed.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
    {
        return Some(UUIDS);
    }
    if is_time(trimmed, digits) {
        return Some(TIMESTAMPS);
    }
    let letters = trimmed.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    // A number with a unit of up to two letters, as in `12ms`, is a number.
    let begins = trimmed.first().is_some_and(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.'));
    if begins && letters <= 2 && !trimmed.contains(&b'/') {
        return Some(NUMBERS);
    }
    // Names such as `x86_64` or `gpt-5.6` say something; what has many digits is a name for one run.
    let in_a_row = trimmed.split(|byte| !byte.is_ascii_digit()).map(<[u8]>::len).max().unwrap_or_default();
    (digits >= 5 || in_a_row >= 4).then_some(RUN_IDS)
}

/// `Saturday`, `Nov`, `PM`.
fn is_of_calendar(word: &[u8]) -> bool {
    const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    #[rustfmt::skip]
    const MONTHS: [&str; 12] = [
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
        "December",
    ];
    let is_one = |name: &&str| name.as_bytes() == word || name.as_bytes().get(..3) == Some(word);
    match word {
        b"AM" | b"PM" => true,
        [b'A'..=b'Z', ..] if (3..=9).contains(&word.len()) => DAYS.iter().chain(&MONTHS).any(is_one),
        _ => false,
    }
}

/// `2026-11-28`, `2026-11-28T10:02:03.5Z`, `2026/11/28`, `10:02`, `9:57`, or seconds and milliseconds since 1970.
fn is_time(word: &[u8], digits: usize) -> bool {
    let is_digit = |at: usize| word.get(at).is_some_and(u8::is_ascii_digit);
    let is_date = (0..4).all(is_digit) && matches!(word.get(4), Some(b'-' | b'/')) && is_digit(5) && is_digit(6);
    let hour = if is_digit(1) { 2 } else { 1 };
    let is_clock = is_digit(0) && word.get(hour) == Some(&b':') && is_digit(hour + 1) && is_digit(hour + 2);
    let is_epoch = digits == word.len() && matches!(digits, 10 | 13) && word.starts_with(b"1");
    is_date || is_clock || is_epoch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::outline::Speaker;

    #[track_caller]
    fn check(word: &str, expected: Option<u8>) {
        assert_eq!(mask_of(word.as_bytes()), expected, "{word}");
    }

    #[test]
    fn a_word_is_masked_by_what_it_is() {
        for time in [
            "2026-11-28",
            "2026-11-28T10:02:03Z",
            "2026/11/28",
            "10:02",
            "10:02:03.",
            "1790000000",
            "1790000000123",
            "9:57",
            "9:57:01",
            "Saturday",
            "Sat",
            "November",
            "Nov",
            "PM",
        ] {
            check(time, Some(TIMESTAMPS));
        }
        check("01990000-0000-7000-8000-000000000001", Some(UUIDS));
        for id in ["run_20261128", "manual__2026-11-28T00:00:00", "job-4711-a", "3fa9c0d1e2", "s3://b/part-00012"] {
            check(id, Some(RUN_IDS));
        }
        for number in ["7", "3.5", "-12", "12ms", "99.9", "4711"] {
            check(number, Some(NUMBERS));
        }
        for name in ["utf8", "gpt-5.6", "orders_daily", "x86_64", "v2", "-", "Mayor", "may", "Sunda"] {
            check(name, None);
        }
    }

    fn of(system: &str, users: &[&str]) -> Texts {
        let said = users.iter().map(|user| (Speaker::User, *user));
        read(std::iter::once((Speaker::Instructions, system)).chain(said))
    }

    /// Users' turns with an answer between them.
    fn of_turns(system: &str, users: &[&str]) -> Texts {
        let said = users.iter().flat_map(|user| [(Speaker::User, *user), (Speaker::Other, "Done.")]);
        read(std::iter::once((Speaker::Instructions, system)).chain(said))
    }

    fn read<'t>(said: impl Iterator<Item = (Speaker, &'t str)>) -> Texts {
        let (mut outline, mut body) = (Outline::default(), String::new());
        for (speaker, text) in said {
            let start = body.len();
            body.push_str(&serde_json::json!(text).to_string());
            outline.message(speaker, &body[start..], &body[start..], Some(start..body.len()));
        }
        texts(body.as_bytes(), &outline, 7)
    }

    #[test]
    fn requests_that_differ_in_hours_and_numbers_only_are_alike_once_masked() {
        let one = of("Be brief.", &["Health of orders_daily at\n2026-11-28 10:02? 4711 rows in 12ms"]);
        let two = of("Be brief.", &["Health of orders_daily at\n2026-11-29 09:57? 12 rows in 9ms"]);
        assert_eq!((one.masked, one.masks), (two.masked, TIMESTAMPS | NUMBERS));
        assert!(one.masked.is_some());
        for other in
            [of("Be brief.", &["Health of billing at\n2026-11-28 10:02? 4711 rows in 12ms"]), of("Be long.", &["x"])]
        {
            assert_ne!(one.masked, other.masked);
        }
        assert_eq!(of("Now: 10:02", &["a"]).masked_system, of("Now: 11:40", &["b"]).masked_system);
    }

    #[test]
    fn a_further_turn_is_alike_where_all_before_it_is_the_same() {
        let turns = |first: &str, last: &str| of_turns("Be brief.", &[first, last]).masked;
        let one = turns("Watch orders_daily.", "And at 10:02?");
        assert!(one.is_some());
        assert_eq!(one, turns("Watch orders_daily.", "And at 11:40?"));
        assert_ne!(one, turns("Watch orders_daily.", "And billing?"));
        assert_ne!(one, turns("Watch orders_daily at 09:00.", "And at 10:02?"), "a history is not masked");
        assert_ne!(one, of("Be brief.", &["And at 10:02?"]).masked);
    }

    #[test]
    fn what_a_block_repeats_is_counted_each_time_but_the_first() {
        let block = "Never write to production without an approval that names a person. ".repeat(2);
        let found = of(&block, &[&format!("first\n{block}\n{block}")]);
        assert_eq!(found.repeated_bytes, 2 * block.len() as u64);
    }

    #[test]
    fn texts_beyond_the_bound_are_not_read() {
        let found = of("s", &[&"x ".repeat(SKETCH_TEXT_BYTES_MAX)]);
        assert_eq!((found.masked, found.read_bytes), (None, 3));
    }
}
