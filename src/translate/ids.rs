//! Ids of calls, in words that each dialect takes.
//!
//! An id is written as it is wherever the target takes it. Messages takes letters, digits, `_` and `-` only: others are
//! spelt out behind a mark of ours, from which they are read back without remembering any.
//! <https://platform.claude.com/docs/en/api/messages>: `^[a-zA-Z0-9_-]+$`

use std::borrow::Cow;

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
