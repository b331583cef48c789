//! The table in the binary, read where it lies.
//!
//! Little-endian: `FARTVEC1`; the numbers of dimensions, of words and of slots (u32 each); for each word where its text
//! begins, and where the last one ends (u32); the text; the slots (u16), each the number of a word plus one, or 0: a
//! word is found from slot `xxh3_64(text) % slots` on; for each word a scale (f32); for each word its row (i8).

use std::sync::LazyLock;

use xxhash_rust::xxh3::xxh3_64;

/// Numbers in a vector.
pub const DIMENSIONS: usize = 128;

static BYTES: &[u8] = include_bytes!("../../models/words.bin");
const MAGIC: &[u8] = b"FARTVEC1";

/// Words with their rows.
pub struct Table {
    offsets: &'static [u8],
    text: &'static [u8],
    slots: &'static [u8],
    slot_count: usize,
    scales: Vec<f32>,
    rows: &'static [u8],
}

/// Which word of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Word(u32);

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
        (rows.len() == DIMENSIONS * words).then_some(Self { offsets, text, slots, slot_count, scales, rows })
    }

    /// The word with this spelling; pieces inside a word are spelt with `##` in front.
    pub fn find(&self, spelling: &[u8]) -> Option<Word> {
        let mut slot = usize::try_from(xxh3_64(spelling) % self.slot_count as u64).ok()?;
        loop {
            let entry = usize::from(u16::from_le_bytes([self.slots[2 * slot], self.slots[2 * slot + 1]]));
            let word = entry.checked_sub(1)?;
            let text = &self.text[number(self.offsets, 4 * word)..number(self.offsets, 4 * word + 4)];
            if text == spelling {
                return u32::try_from(word).ok().map(Word);
            }
            slot = (slot + 1) % self.slot_count;
        }
    }

    /// Adds a word's row to `sum`.
    pub fn add(&self, Word(word): Word, sum: &mut [f32; DIMENSIONS]) {
        let word = word as usize;
        let scale = self.scales[word];
        let row = &self.rows[DIMENSIONS * word..][..DIMENSIONS];
        for (sum, value) in sum.iter_mut().zip(row) {
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
    fn a_file_that_was_cut_is_no_table() {
        for end in [0, 7, 19, 400, BYTES.len() - 1] {
            assert!(Table::read(&BYTES[..end]).is_none(), "{end}");
        }
    }
}
