//! Ids of calls, in words that each dialect takes.
//!
//! An id is written as it is wherever the target takes it. Messages takes letters, digits, `_` and `-` only: others are
//! spelt out behind a mark of ours, from which they are read back without remembering any.
//! <https://platform.claude.com/docs/en/api/messages>: `^[a-zA-Z0-9_-]+$`

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use crate::wire::vendors::CallIds;

/// What ids are made of that must be plain.
const LETTERS: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
/// What an id that is spelt out begins with.
const MARK: &str = "fx_";

/// An id of another dialect, for Messages.
pub fn to_messages(id: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !id.is_empty() && !id.starts_with(MARK) && id.bytes().all(is_plain) {
        return Cow::Borrowed(id);
    }
    let mut spelt = MARK.to_owned();
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() {
            spelt.push(char::from(byte));
        } else {
            spelt.push_str(&format!("_{byte:02x}"));
        }
    }
    Cow::Owned(spelt)
}

/// An id of Messages, for another dialect: what [`to_messages`] made it from, if it was that.
pub fn from_messages(id: &str) -> Cow<'_, str> {
    id.strip_prefix(MARK).and_then(read_back).map_or(Cow::Borrowed(id), Cow::Owned)
}

/// An id for somebody who takes only some, in Chat Completions. One that is not taken becomes a hash of itself, for the call
/// and for its result alike.
pub fn for_chat(id: &str, taken: CallIds) -> Cow<'_, str> {
    let id = from_messages(id);
    match taken {
        CallIds::Any => id,
        CallIds::Plain(length) if id.len() == length && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) => id,
        CallIds::Plain(length) => {
            let hash = Sha256::digest(id.as_bytes());
            let letters = hash.iter().map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]));
            Cow::Owned(letters.take(length).collect())
        }
    }
}

/// An id for a call that has none, the `index`-th of the answer that is called so.
pub fn unnamed(answer: &str, index: u64) -> String {
    let hash: String = Sha256::digest(answer.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("call_{hash}_{index}")
}

fn read_back(spelt: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(spelt.len());
    let mut rest = spelt;
    while let Some(&byte) = rest.as_bytes().first() {
        let length = if byte == b'_' {
            bytes.push(u8::from_str_radix(rest.get(1..3)?, 16).ok()?);
            3
        } else {
            bytes.push(byte);
            1
        };
        rest = rest.get(length..)?;
    }
    // What we would have spelt otherwise is not ours.
    let id = String::from_utf8(bytes).ok()?;
    (to_messages(&id).strip_prefix(MARK) == Some(spelt)).then_some(id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn usual_ids_stay_as_they_are() {
        for id in ["call_Ab9", "toolu_01A-b", "0"] {
            assert_eq!((to_messages(id), from_messages(id)), (id.into(), id.into()));
        }
        assert_eq!(to_messages("functions.read:0"), "fx_functions_2eread_3a0");
        assert_eq!(from_messages("fx_not_ours"), "fx_not_ours");
    }

    #[test]
    fn an_id_of_which_little_is_taken_is_a_hash_of_itself() {
        let short = for_chat("call_Ab9", CallIds::Plain(9)).into_owned();
        assert!(short.len() == 9 && short.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{short}");
        assert_eq!(for_chat("call_Ab9", CallIds::Plain(9)), short);
        assert_ne!(for_chat("call_Ab8", CallIds::Plain(9)), short);
        assert_eq!(for_chat("D681PevKs", CallIds::Plain(9)), "D681PevKs");
        assert_eq!(for_chat("fx_a_2eb", CallIds::Any), "a.b");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_id_comes_back(id in ".{0,20}|fx_[a-z_0-9]{0,9}") {
            let there = to_messages(&id).into_owned();
            prop_assert!(!there.is_empty() && there.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)));
            prop_assert_eq!(from_messages(&there), id);
        }
    }
}
