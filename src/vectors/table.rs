//! The table in the binary, read where it lies.
//!
//! Little-endian: `FARTVEC1`; the numbers of dimensions, of words and of slots (u32 each); for each word where its text
//! begins, and where the last one ends (u32); the text; the slots (u16), each the number of a word plus one, or 0: a
//! word is found from slot `xxh3_64(text) % slots` on; for each word a scale (f32); for each word its row (i8).

use std::sync::LazyLock;

use xxhash_rust::xxh3::xxh3_64;

/// Numbers in a vector.
pub const DIMENSIONS: usize = 128;

/// The file, moved so that its rows, which stand last, begin where cache lines do.
#[repr(C, align(64))]
struct Placed {
    _shift: [u8; SHIFT],
    file: [u8; LENGTH],
}

const LENGTH: usize = include_bytes!("../../models/words.bin").len();
const SHIFT: usize = LENGTH.wrapping_neg() % 64;
static PLACED: Placed = Placed { _shift: [0; SHIFT], file: *include_bytes!("../../models/words.bin") };
static BYTES: &[u8] = &PLACED.file;
const MAGIC: &[u8] = b"FARTVEC1";

/// Words with their rows.
pub struct Table {
    offsets: &'static [u8],
    text: &'static [u8],
    slots: &'static [u8],
    slot_count: usize,
    scales: Vec<f32>,
    rows: &'static [[u8; DIMENSIONS]],
    /// Of the longest word, in bytes.
    longest: usize,
    /// A bit for the hash of each word, so that most spellings that no word has are told at once.
    hashes: Vec<u64>,
}

/// Bits in [`Table::hashes`], as a power of two: one in twenty is set.
const HASH_BITS: u32 = 19;

/// Which word's row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row(u32);

impl Table {
    /// The one that comes with the program.
    pub fn built_in() -> &'static Self {
        static TABLE: LazyLock<Table> =
            LazyLock::new(|| Table::read(BYTES).expect("the file was made for this program"));
        &TABLE
    }

    fn read(bytes: &'static [u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (head, rest) = rest.split_at_checked(12)?;
        let [dimensions, words, slot_count] = [0, 4, 8].map(|at| number(head, at));
        if dimensions != DIMENSIONS {
            return None;
        }
        let (offsets, rest) = rest.split_at_checked(4 * (words + 1))?;
        let (text, rest) = rest.split_at_checked(number(offsets, 4 * words))?;
        let (slots, rest) = rest.split_at_checked(2 * slot_count)?;
        let (scales, rows) = rest.split_at_checked(4 * words)?;
        let scales = scales.chunks_exact(4).map(|s| f32::from_le_bytes([s[0], s[1], s[2], s[3]])).collect();
        let (rows, rest) = rows.as_chunks();
        let mut hashes = vec![0; 1 << (HASH_BITS - 6)];
        for word in 0..words {
            let spelling = text.get(number(offsets, 4 * word)..number(offsets, 4 * word + 4))?;
            let hash = spelling.iter().fold(0, |hash, byte| Self::lengthened(hash, *byte));
            hashes[(hash >> (38 - HASH_BITS)) as usize] |= 1 << (hash >> (32 - HASH_BITS) & 63);
        }
        let longest = (0..words).map(|word| number(offsets, 4 * word + 4) - number(offsets, 4 * word)).max()?;
        let is_whole = rows.len() == words && rest.is_empty();
        is_whole.then_some(Self { offsets, text, slots, slot_count, scales, rows, longest, hashes })
    }

    /// How long the longest word is, in bytes, with its mark.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// The hash of a spelling that is one letter longer; 0 is that of none.
    pub fn lengthened(hash: u32, letter: u8) -> u32 {
        (hash ^ u32::from(letter)).wrapping_mul(0x9E37_79B1).rotate_left(15).wrapping_mul(0x85EB_CA77)
    }

    /// Whether a word may have a spelling with this hash; if not, none has.
    pub fn may_have(&self, hash: u32) -> bool {
        self.hashes[(hash >> (38 - HASH_BITS)) as usize] >> (hash >> (32 - HASH_BITS) & 63) & 1 == 1
    }

    /// The word with this spelling; pieces inside a word are spelt with `##` in front.
    pub fn find(&self, spelling: &[u8]) -> Option<Row> {
        let mut slot = usize::try_from(xxh3_64(spelling) % self.slot_count as u64).ok()?;
        loop {
            let entry = usize::from(u16::from_le_bytes([self.slots[2 * slot], self.slots[2 * slot + 1]]));
            let word = entry.checked_sub(1)?;
            let text = &self.text[number(self.offsets, 4 * word)..number(self.offsets, 4 * word + 4)];
            if text == spelling {
                return u32::try_from(word).ok().map(Row);
            }
            slot = (slot + 1) % self.slot_count;
        }
    }

    /// Adds a word's row to `sum`.
    pub fn add(&self, Row(word): Row, sum: &mut [f32; DIMENSIONS]) {
        let word = word as usize;
        let scale = self.scales[word];
        for (sum, value) in sum.iter_mut().zip(&self.rows[word]) {
            *sum += scale * f32::from(value.cast_signed());
        }
    }
}

fn number(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_by_their_spelling() {
        let table = Table::built_in();
        assert!(table.find(b"pipeline").is_some());
        assert!(table.find(b"##ing").is_some());
        assert_ne!(table.find(b"log"), table.find(b"logs"));
        assert_eq!(table.find(b"xqzzyv"), None);
        assert_eq!(table.find(b""), None);
    }

    #[test]
    fn no_word_is_missed_by_its_hash_and_few_others_pass() {
        let table = Table::built_in();
        let hash = |spelling: &[u8]| spelling.iter().fold(0, |hash, letter| Table::lengthened(hash, *letter));
        for spelling in [b"pipeline".as_slice(), b"##ing", b"log", b"a"] {
            assert!(table.find(spelling).is_some() && table.may_have(hash(spelling)));
        }
        let passing = (0..10_000).filter(|n| table.may_have(hash(format!("q{n}").as_bytes()))).count();
        assert!(passing < 1_000, "{passing}");
    }

    #[test]
    fn a_row_touches_no_more_cache_lines_than_it_must() {
        assert_eq!(Table::built_in().rows.as_ptr().addr() % 64, 0);
        assert_eq!(BYTES.as_ptr().addr() % 64, SHIFT);
    }

    #[test]
    fn a_file_that_was_cut_is_no_table() {
        for end in [0, 7, 19, 400, BYTES.len() - 1] {
            assert!(Table::read(&BYTES[..end]).is_none(), "{end}");
        }
    }
}
