//! Secrets of keys: 256 bits of the system's randomness, written so that people and scanners know what they see.

use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};

use crate::config::Secret;

/// What every secret begins with.
const BEGINS: &str = "fk-";
/// Characters behind that which people get to see: 24 of the 256 bits.
const SHOWN: usize = 4;
/// <https://www.rfc-editor.org/rfc/rfc4648#section-5>
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A new secret; `None` if the system has no randomness.
pub(super) fn random() -> Option<Secret> {
    let mut bits = [0; 32];
    SystemRandom::new().fill(&mut bits).ok()?;
    Some(Secret::new(format!("{BEGINS}{}", spelt(&bits))))
}

/// Whether somebody gave a secret where a name was wanted.
pub(super) fn is_like_one(text: &str) -> bool {
    text.starts_with(BEGINS)
}

/// The part of a secret that is kept and shown.
pub(super) fn prefix(secret: &Secret) -> String {
    let shown: String = secret.reveal().chars().take(BEGINS.len() + SHOWN).collect();
    format!("{shown}…")
}

/// What is kept in place of a secret.
pub(super) fn hash(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// Hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Base64 for URLs, without padding.
fn spelt(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..=group.len() {
            text.push(char::from(ALPHABET[(bits >> (18 - 6 * place)) as usize & 63]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_spelt_as_rfc_4648_says() {
        for (bytes, text) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg")] {
            assert_eq!(spelt(bytes.as_bytes()), text);
        }
        assert_eq!(spelt(&[0xfb, 0xff]), "-_8");
    }

    #[test]
    fn a_secret_has_all_its_bits_and_shows_few() {
        let [one, other] = [random().unwrap(), random().unwrap()];
        assert!(one != other);
        assert_eq!(one.reveal().len(), "fk-".len() + 43);
        assert_eq!(prefix(&one).chars().count(), "fk-xxxx…".chars().count());
    }
}
