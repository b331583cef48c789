//! What a provider answered, in terms that no wire format owns.

pub mod facts;
pub mod usage;

/// Words of a text that begin behind a blank.
pub fn words_begun(text: &str) -> u64 {
    text.as_bytes().windows(2).filter(|pair| pair[0] == b' ' && pair[1].is_ascii_graphic()).count() as u64
}
