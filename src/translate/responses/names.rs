//! Names of tools that stand in a namespace, where there is none.
//!
//! A name is made of both, the same every time, so that calls of earlier turns are written as before. It is not read
//! back: the tools of the request say which are meant.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

/// What stands between the two.
const BETWEEN: &str = "__";
/// The longest name that every provider takes. <https://platform.openai.com/docs/api-reference/chat/create>
const NAME_BYTES_MAX: usize = 64;
/// How many bytes of a hash tell long names apart.
const HASH_BYTES: usize = 5;

/// The name of a tool in one word, as it is spelt between its quotes.
pub fn flat<'b>(namespace: Option<&str>, name: &'b str) -> Cow<'b, str> {
    let Some(namespace) = namespace else { return Cow::Borrowed(name) };
    let whole = format!("{namespace}{BETWEEN}{name}");
    if whole.len() <= NAME_BYTES_MAX {
        return Cow::Owned(whole);
    }
    let hash: String = Sha256::digest(&whole).iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect();
    let mut end = NAME_BYTES_MAX - hash.len() - 1;
    while !whole.is_char_boundary(end) {
        end -= 1;
    }
    Cow::Owned(format!("{}_{hash}", &whole[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_a_namespace_is_one_word_that_everybody_takes() {
        assert_eq!(flat(None, "read"), "read");
        assert_eq!(flat(Some("crm"), "read"), "crm__read");
        let long = flat(Some(&"n".repeat(60)), "read");
        assert_eq!(long.len(), NAME_BYTES_MAX);
        assert_ne!(long, flat(Some(&"n".repeat(60)), "reap"));
        assert_eq!(long, flat(Some(&"n".repeat(60)), "read"));
    }
}
