//! From text to words of the table: lower case, without accents, words that the table lacks cut into pieces.
//!
//! As WordPiece does it (<https://arxiv.org/abs/1609.08144>, section 4.1): the longest piece first, from the left.

use super::table::{Row, Table};

/// Longest word that is looked up, in letters; what is longer is an identifier or noise.
const LETTERS_MAX: usize = 40;

/// Stands in front of a piece that does not begin its word.
const MARK: [u8; 2] = *b"##";

/// A word, with room for a mark before its first letter.
struct Word {
    bytes: [u8; MARK.len() + LETTERS_MAX],
    /// Letters; those beyond [`LETTERS_MAX`] are counted and not kept.
    length: usize,
}

/// Calls `found` for each word of `text` that the table knows.
pub(super) fn pieces(text: &str, table: &Table, mut found: impl FnMut(Row)) {
    let mut word = Word { bytes: [0; MARK.len() + LETTERS_MAX], length: 0 };
    let (bytes, mut at) = (text.as_bytes(), 0);
    while let Some(&byte) = bytes.get(at) {
        let letter = if byte.is_ascii() {
            at += 1;
            byte.is_ascii_alphabetic().then(|| byte.to_ascii_lowercase())
        } else {
            let c = text[at..].chars().next().unwrap_or(' ');
            at += c.len_utf8();
            plain(c)
        };
        match letter {
            Some(letter) => {
                if let Some(place) = word.bytes.get_mut(MARK.len() + word.length) {
                    *place = letter;
                }
                word.length += 1;
            }
            None if word.length > 0 => word.cut(table, &mut found),
            None => {}
        }
    }
    word.cut(table, &mut found);
}

impl Word {
    /// Tells the pieces of the word, and begins the next one.
    fn cut(&mut self, table: &Table, found: &mut impl FnMut(Row)) {
        let length = std::mem::take(&mut self.length);
        if length > LETTERS_MAX {
            return;
        }
        let (mut start, mut marked) = (0, 0);
        while start < length {
            // The mark takes the place of letters that were told.
            let from = start + MARK.len() - marked;
            self.bytes[from..from + marked].copy_from_slice(&MARK[..marked]);
            let Some((row, end)) = self.longest(table, from, marked, length) else { return };
            found(row);
            (start, marked) = (end, MARK.len());
        }
    }

    /// The longest piece that begins with a mark of so many bytes at `from`, and which letter is the first behind it.
    fn longest(&self, table: &Table, from: usize, marked: usize, length: usize) -> Option<(Row, usize)> {
        let last = (MARK.len() + length).min(from + table.longest());
        if let Some(row) = table.find(&self.bytes[from..last]) {
            return Some((row, last - MARK.len()));
        }
        let mut hashes = [0; MARK.len() + LETTERS_MAX];
        let mut hash = 0;
        for (place, byte) in hashes.iter_mut().zip(&self.bytes[from..last]) {
            hash = Table::lengthened(hash, *byte);
            *place = hash;
        }
        let ends = (from + marked + 1..last).rev().filter(|end| table.may_have(hashes[end - from - 1]));
        ends.filter_map(|end| table.find(&self.bytes[from..end]).map(|row| (row, end - MARK.len()))).next()
    }
}

/// The letter without case and accent, where it is a Latin one; `c` is beyond ASCII.
fn plain(c: char) -> Option<u8> {
    let letter = match c.to_lowercase().next()? {
        'à'..='æ' | 'ā' | 'ă' | 'ą' => b'a',
        'ç' | 'ć' | 'č' => b'c',
        'ď' | 'đ' | 'ð' => b'd',
        'è'..='ë' | 'ē' | 'ė' | 'ę' | 'ě' => b'e',
        'ğ' => b'g',
        'ì'..='ï' | 'ī' | 'į' | 'ı' => b'i',
        'ł' | 'ľ' => b'l',
        'ñ' | 'ń' | 'ň' => b'n',
        'ò'..='ö' | 'ø' | 'ő' | 'œ' => b'o',
        'ř' => b'r',
        'ß' | 'ś' | 'š' | 'ş' | 'ș' => b's',
        'ť' | 'ţ' | 'ț' => b't',
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => b'u',
        'ý' | 'ÿ' => b'y',
        'ź' | 'ż' | 'ž' => b'z',
        _ => return None,
    };
    Some(letter)
}
