//! What a provider answered, in terms that no wire format owns.

pub mod facts;
pub mod usage;

/// Words of a text that begin behind a blank.
pub fn words_begun(text: &str) -> u64 {
    let begins = |(before, byte): (&u8, &u8)| u64::from(*before == b' ' && byte.is_ascii_graphic());
    text.as_bytes().iter().zip(text.as_bytes().iter().skip(1)).map(begins).sum()
}
