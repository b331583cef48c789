//! From text to words of the table: lower case, without accents, words that the table lacks cut into pieces.
//!
//! As WordPiece does it (<https://arxiv.org/abs/1609.08144>, section 4.1): the longest piece first, from the left.

use super::table::{Table, Word};

/// Longest word that is looked up, in letters; what is longer is an identifier or noise.
const LETTERS_MAX: usize = 40;

/// Calls `found` for each word of `text` that the table knows.
pub(super) fn pieces(text: &str, table: &Table, mut found: impl FnMut(Word)) {
    let mut word: Vec<u8> = Vec::with_capacity(LETTERS_MAX + 2);
    for c in text.chars().chain([' ']) {
        if let Some(letter) = plain(c) {
            word.push(letter);
            continue;
        }
        if (1..=LETTERS_MAX).contains(&word.len()) {
            cut(&word, table, &mut found);
        }
        word.clear();
    }
}

fn cut(word: &[u8], table: &Table, found: &mut impl FnMut(Word)) {
    let mut piece = Vec::with_capacity(word.len() + 2);
    let mut start = 0;
    while start < word.len() {
        let mark: &[u8] = if start == 0 { b"" } else { b"##" };
        let longest = (start + 1..=word.len()).rev().find_map(|end| {
            piece.clear();
            piece.extend_from_slice(mark);
            piece.extend_from_slice(&word[start..end]);
            table.find(&piece).map(|row| (row, end))
        });
        let Some((row, end)) = longest else { return };
        found(row);
        start = end;
    }
}

/// The letter without case and accent, where it is a Latin one.
fn plain(c: char) -> Option<u8> {
    if c.is_ascii_alphabetic() {
        return u8::try_from(c.to_ascii_lowercase()).ok();
    }
    if c.is_ascii() {
        return None;
    }
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
