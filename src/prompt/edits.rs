//! Edits of a request: declared, named, and spliced into the original bytes without copying them.

use std::ops::Range;

use bytes::Bytes;

/// What an edit is called in `x-farthing-edits`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum EditName {
    /// The model's name was replaced by the one that the target knows.
    Model,
    /// Usage of a stream was asked for.
    Usage,
    /// The output limit was lowered, or given.
    OutputLimit,
    /// Thoughts that another vendor had sealed were taken out.
    Reasoning,
    /// What is to be cached was marked.
    CacheControl,
    /// The body was written in the words of another protocol.
    Translate,
}

impl EditName {
    /// The word in header, log and ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Usage => "usage",
            Self::OutputLimit => "output_limit",
            Self::Reasoning => "reasoning",
            Self::CacheControl => "cache_control",
            Self::Translate => "translate",
        }
    }
}

/// Replaces the bytes at `at` (empty: inserts there) by `with`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edit {
    /// Its declared name.
    pub name: EditName,
    /// Where, in the original body.
    pub at: Range<usize>,
    /// What stands there afterwards.
    pub with: Bytes,
}

/// The body in pieces that share memory with the original. Edits must not overlap.
pub fn splice(body: &Bytes, edits: &mut [Edit]) -> Vec<Bytes> {
    edits.sort_by_key(|edit| (edit.at.start, edit.at.end));
    let mut pieces = Vec::with_capacity(edits.len() * 2 + 1);
    let mut done = 0;
    for edit in edits {
        debug_assert!(edit.at.start >= done && edit.at.end <= body.len(), "edits overlap or lie outside");
        pieces.push(body.slice(done..edit.at.start));
        pieces.push(edit.with.clone());
        done = edit.at.end;
    }
    pieces.push(body.slice(done..));
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

/// The names of `edits`, each once, as `x-farthing-edits` lists them.
pub fn names(edits: &[Edit]) -> String {
    listed(edits.iter().map(|edit| edit.name).collect())
}

/// The same of bare names.
pub fn listed(names: Vec<EditName>) -> String {
    let mut words: Vec<&str> = names.into_iter().map(EditName::as_str).collect();
    words.sort_unstable();
    words.dedup();
    words.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(name: EditName, at: Range<usize>, with: &'static str) -> Edit {
        Edit { name, at, with: Bytes::from_static(with.as_bytes()) }
    }

    #[track_caller]
    fn check(body: &'static str, mut edits: Vec<Edit>, expected: &str) {
        let pieces = splice(&Bytes::from_static(body.as_bytes()), &mut edits);
        assert_eq!(String::from_utf8(pieces.concat()).unwrap(), expected);
    }

    #[test]
    fn edits_land_in_place_and_leave_the_rest_alone() {
        check("abcdef", vec![], "abcdef");
        check("abcdef", vec![edit(EditName::Usage, 6..6, "!"), edit(EditName::Model, 1..3, "XYZ")], "aXYZdef!");
    }

    #[test]
    fn an_untouched_body_is_the_same_memory() {
        let body = Bytes::from_static(b"{}");
        assert_eq!(splice(&body, &mut []), [body]);
    }

    #[test]
    fn each_name_is_listed_once() {
        let edits = [edit(EditName::Usage, 0..0, ""), edit(EditName::Model, 0..0, ""), edit(EditName::Usage, 0..0, "")];
        assert_eq!(names(&edits), "model,usage");
    }
}
