//! What readers of request bodies share: why a body cannot be taken, and what keys decide something.

use std::ops::Range;

use crate::limits::{MODEL_NAME_BYTES_MAX, NAMED_OBJECTS_MAX};
use crate::prompt::json::{JsonError, Scanner, WholeNumber};
use crate::prompt::view::{Claims, Named, UsageInStream};

/// Why a body cannot be taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BodyError {
    /// Not JSON, or not an object.
    #[error("the body is not a JSON object: {0}")]
    Json(#[from] JsonError),
    /// A key that decides something stands twice, so that two readers could disagree about it.
    #[error("the key `{0}` stands twice in the body")]
    DuplicateKey(&'static str),
    /// A key is one that decides something but for its case: providers that read JSON without regard to case, as Go's
    /// own reader does, would take it for that one.
    #[error("a key of the body differs from `{0}` only in its case, and some providers read both alike")]
    Respelt(&'static str),
    /// A key has a value of the wrong kind.
    #[error("`{key}` must be {wanted}")]
    Wrong {
        /// The key.
        key: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
    /// A key names what a provider keeps, and nobody here knows whose that is.
    #[error(
        "`{0}` names an object that the provider keeps, which is not available in this version: whose it is, is not known \
         here; send the conversation in `input`"
    )]
    NotServed(&'static str),
}

/// The one of `keys` that a reader without regard to case takes `key` for.
pub(super) fn respelt(key: &str, keys: &[&'static str]) -> Option<&'static str> {
    // Letters whose folding is an ASCII letter: Go's reader folds them as well. <https://pkg.go.dev/encoding/json#Unmarshal>
    let folded = |letter: char| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        letter => letter.to_ascii_lowercase(),
    };
    keys.iter().copied().find(|deciding| key.chars().map(folded).eq(deciding.chars()))
}

/// None is no limit: some refuse it, some take it for no limit at all.
pub(super) fn from_one(number: WholeNumber) -> WholeNumber {
    if number == WholeNumber::Is(0) { WholeNumber::Odd } else { number }
}

/// A string's text; any other value is passed over.
pub(super) fn text(s: &mut Scanner<'_>) -> Result<Option<String>, JsonError> {
    Ok(s.string_or_skip()?.map(|text| text.decode().into_owned()))
}

/// What `metadata` claims; its `user` goes to a place of its own, since other members may claim one too.
pub(super) fn claims(s: &mut Scanner<'_>, claims: &mut Claims, user: &mut Option<String>) -> Result<(), BodyError> {
    if s.peek() != Some(b'{') {
        return Ok(s.pass()?);
    }
    s.object::<BodyError>(|s, key| {
        let slot = match &*key.decode() {
            "team" => &mut claims.team,
            "project" => &mut claims.project,
            "pipeline" => &mut claims.pipeline,
            "user" => &mut *user,
            "run" => &mut claims.run,
            "task" => &mut claims.task,
            "prompt" => &mut claims.prompt,
            _ => return Ok(s.pass()?),
        };
        *slot = text(s)?;
        Ok(())
    })?;
    Ok(())
}

/// The value of `model`, and where it stands.
pub(super) fn model(s: &mut Scanner<'_>) -> Result<(String, Range<usize>), BodyError> {
    if s.peek().is_some_and(|first| first != b'"') {
        return Err(BodyError::Wrong { key: "model", wanted: "a string" });
    }
    let start = s.position();
    let model = s.string()?.decode().into_owned();
    if model.len() > MODEL_NAME_BYTES_MAX || model.chars().any(char::is_control) {
        return Err(BodyError::Wrong {
            key: "model",
            wanted: "a name of at most 256 bytes without control characters",
        });
    }
    Ok((model, start..s.position()))
}

/// The value of `stream`.
pub(super) fn switch(s: &mut Scanner<'_>) -> Result<bool, BodyError> {
    let range = s.skip()?;
    match s.text(range) {
        "true" => Ok(true),
        "false" | "null" => Ok(false),
        _ => Err(BodyError::Wrong { key: "stream", wanted: "true or false" }),
    }
}

/// The id of an object that a provider keeps, as a text or in an object of its own.
pub(super) fn named(s: &mut Scanner<'_>, key: &'static str, named: &mut Vec<Named>) -> Result<(), BodyError> {
    let mut id = None;
    match s.peek() {
        Some(b'"') => id = text(s)?,
        Some(b'{') => {
            s.object::<JsonError>(|s, key| {
                if key.decode() == "id" {
                    id = s.string_or_skip()?.map(|id| id.decode().into_owned());
                    Ok(())
                } else {
                    s.pass()
                }
            })?;
        }
        _ => {
            let range = s.skip()?;
            return match s.text(range) {
                "null" => Ok(()),
                _ => Err(BodyError::Wrong { key, wanted: "the id of an object" }),
            };
        }
    }
    let Some(id) = id else { return Err(BodyError::Wrong { key, wanted: "the id of an object" }) };
    if named.len() >= NAMED_OBJECTS_MAX {
        return Err(BodyError::Wrong { key, wanted: "one of at most 100 objects that a request names" });
    }
    named.push(Named { key, id });
    Ok(())
}

/// The value of `stream_options`: what it says of usage, and where an edit may ask for it.
/// <https://platform.openai.com/docs/api-reference/chat/create#chat-create-stream_options>
pub(super) fn stream_options(s: &mut Scanner<'_>) -> Result<UsageInStream, BodyError> {
    if s.peek() != Some(b'{') {
        let at = s.skip()?;
        return Ok(UsageInStream::Declined { at, with: r#"{"include_usage":true}"# });
    }
    let (mut value, mut stands_twice, mut members) = (None, false, 0);
    let range = s.object::<JsonError>(|s, key| {
        let at = s.skip()?;
        members += 1;
        if key.decode() == "include_usage" {
            stands_twice |= value.replace(at).is_some();
        }
        Ok(())
    })?;
    if stands_twice {
        return Err(BodyError::DuplicateKey("include_usage"));
    }
    Ok(match value {
        Some(at) if s.text(at.clone()) == "true" => UsageInStream::Asked,
        Some(at) => UsageInStream::Declined { at, with: "true" },
        None => {
            let with = if members == 0 { r#""include_usage":true"# } else { r#""include_usage":true,"# };
            UsageInStream::Declined { at: range.start + 1..range.start + 1, with }
        }
    })
}
