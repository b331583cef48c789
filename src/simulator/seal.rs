//! What a provider seals before it hands it out, and checks when it comes back.
//!
//! A signature vouches for a text that stands beside it; a sealed text holds the text itself, unreadable and
//! unalterable. Real ones are opaque to everybody else, and so are these: hexadecimal, and longer than what they hold.

use sha2::{Digest, Sha256};

/// What only the provider knows.
const SECRET: &[u8] = b"a simulated provider's own secret";
/// Bytes of the checksum.
const CHECK_BYTES: usize = 16;

/// A signature of `text`.
pub(super) fn sign(text: &str) -> String {
    hex(&digest(b"signature", text.as_bytes())[..])
}

/// Whether `signature` is this provider's own for `text`.
pub(super) fn vouches(signature: &str, text: &str) -> bool {
    signature == sign(text)
}

/// `text`, sealed.
pub(super) fn seal(text: &str) -> String {
    let check = digest(b"seal", text.as_bytes());
    let hidden = mask(&check[..CHECK_BYTES], text.as_bytes());
    hex(&[&check[..CHECK_BYTES], &hidden].concat())
}

/// The text in `sealed`, unless somebody else made or altered it.
pub(super) fn open(sealed: &str) -> Option<String> {
    let bytes = unhex(sealed)?;
    let (check, hidden) = bytes.split_at_checked(CHECK_BYTES)?;
    let text = String::from_utf8(mask(check, hidden)).ok()?;
    (digest(b"seal", text.as_bytes())[..CHECK_BYTES] == *check).then_some(text)
}

fn digest(purpose: &[u8], text: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(SECRET).chain_update(purpose).chain_update(text).finalize().into()
}

/// Hides bytes, or shows hidden ones again.
fn mask(check: &[u8], bytes: &[u8]) -> Vec<u8> {
    let blocks = (0_u64..).flat_map(|block| digest(check, &block.to_be_bytes()));
    bytes.iter().zip(blocks).map(|(byte, key)| byte ^ key).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_text_opens_again_and_an_altered_one_does_not() {
        for text in ["", "the log first", "日本 \u{2028}"] {
            let sealed = seal(text);
            assert_eq!(open(&sealed).as_deref(), Some(text));
            let mut altered = sealed.clone();
            let last = altered.pop();
            altered.push(if last == Some('0') { '1' } else { '0' });
            assert_eq!(open(&altered), None, "{text:?}");
        }
        assert_eq!((open(""), open("fx1.openai.rs_1"), open("abc")), (None, None, None));
    }

    #[test]
    fn a_signature_vouches_for_one_text() {
        assert!(vouches(&sign("a"), "a"));
        assert!(!vouches(&sign("a"), "b") && !vouches("", ""));
    }
}
