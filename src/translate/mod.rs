//! How a body in one dialect becomes the same in another's words.
//!
//! A request is read into a [`Talk`], whose texts are slices of the original, and written from it in one go: no tree is
//! built, and what is copied is copied as it is spelt. What the target has no words for is left out by name if it only
//! steers how an answer is made, and else refused by name: nobody guesses. A conversation that goes on is written the
//! same as before, with more behind it, so that what a provider has cached stays of use.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use crate::dialect::Dialect;
use crate::prompt::json::{JsonError, RawStr};
use crate::reply::usage::Usage;

pub mod chat;
pub mod citations;
pub mod effort;
pub mod ids;
pub mod messages;
mod plain;
mod read;
pub mod responses;
pub mod said;
mod schema;
pub mod seals;
pub mod stream;
pub mod talk;
pub mod unwrap;
pub mod write;

use stream::UsageChunk;
use talk::Talk;

/// How many names of what was left out are kept.
const DROPPED_MAX: usize = 32;
/// The longest name of what was left out, in bytes.
const DROPPED_NAME_BYTES_MAX: usize = 64;

/// The model of an answer that names none.
const NO_MODEL: &str = "unknown";

/// Why a body cannot be said in another dialect.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Untranslatable {
    /// A field says what the target has no words for.
    #[error("`{field}` {why}")]
    Field {
        /// Where it stands, in the client's words, without places in arrays.
        field: Cow<'static, str>,
        /// What is the matter with it.
        why: &'static str,
    },
    /// Not JSON; a body that was read before is.
    #[error("the body is not JSON: {0}")]
    Json(#[from] JsonError),
    /// Nothing is said from the one dialect in the other.
    #[error("no translation from `{from}` to `{to}`", from = .from.as_str(), to = .to.as_str())]
    Pair {
        /// The client's.
        from: Dialect,
        /// The target's.
        to: Dialect,
    },
}

impl Untranslatable {
    fn field(field: impl Into<Cow<'static, str>>, why: &'static str) -> Self {
        Self::Field { field: field.into(), why }
    }
}

/// Names of what a translation leaves out, in the client's words, each once and in the order in which it was met.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Dropped(Vec<Cow<'static, str>>);

impl Dropped {
    /// Takes note of a name. A client's own may be anything: one that is long or no plain word is noted as `other`.
    pub fn note(&mut self, name: impl Into<Cow<'static, str>>) {
        let name = name.into();
        let is_plain = name.len() <= DROPPED_NAME_BYTES_MAX
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
        let name = if is_plain { name } else { Cow::Borrowed("other") };
        if self.0.len() < DROPPED_MAX && !self.0.contains(&name) {
            self.0.push(name);
        }
    }

    /// Of names, some of which may be the same.
    fn of(names: &[&'static str]) -> Self {
        let mut dropped = Self::default();
        names.iter().for_each(|name| dropped.note(*name));
        dropped
    }

    /// Takes note of members that have no counterpart. Those that are `carried` are written as they are.
    fn extras(
        &mut self,
        extras: &[talk::Extra<'_>],
        carried: &[&'static str],
        out: &mut write::Out,
    ) -> Result<(), Untranslatable> {
        for extra in extras {
            if let Some(name) = carried.iter().find(|name| **name == extra.name) {
                out.key(name).raw(extra.value);
                continue;
            }
            match extra.weight {
                talk::Weight::Style => self.note(extra.name.clone()),
                talk::Weight::Meaning => {
                    return Err(Untranslatable::field(extra.name.clone(), "has no counterpart at the target"));
                }
            }
        }
        Ok(())
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// The same, as a header has them.
    pub fn list(&self) -> String {
        self.0.join(", ")
    }

    /// Whether nothing was left out.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a translation is made for.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'t> {
    /// The vendor, by the name that price-book keys begin with.
    pub vendor: &'t str,
    /// The model, by the name that the provider knows it by.
    pub model: &'t str,
    /// The most output tokens to ask for where the client names no limit and the target wants one.
    pub output_limit: u64,
    /// Whether a target that caches what it is told to is told to.
    pub caching: Caching,
    /// Whether a stream is asked for its usage, where the dialect wants to be asked.
    pub usage: UsageChunk,
}

/// Whether a provider of Messages is told what to cache where the client does not say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Caching {
    /// Only what the client marks.
    #[default]
    AsMarked,
    /// Tools and instructions, and the conversation so far, for five minutes each.
    Automatic,
    /// The same, tools and instructions for an hour.
    Hour,
}

/// A body in the target's words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    /// The body.
    pub body: String,
    /// What is not in it.
    pub dropped: Dropped,
    /// It says what is to be cached, and the client did not.
    pub caches: bool,
    /// A request that is answered in the same words, without what was said in it, where answers repeat any of it.
    pub asked: Option<String>,
}

impl Written {
    fn of(body: String, dropped: Dropped) -> Self {
        Self { body, dropped, caches: false, asked: None }
    }
}

/// Writes a request in another dialect.
///
/// The same conversation with more messages behind it is written the same as far as it goes: no byte of a message
/// depends on what follows it, on the time, or on anything but the body and `terms`.
///
/// # Errors
///
/// [`Untranslatable`] names what the target cannot carry.
pub fn request(from: Dialect, to: Dialect, body: &[u8], terms: &Terms<'_>) -> Result<Written, Untranslatable> {
    let text =
        simdutf8::basic::from_utf8(body).map_err(|_| JsonError { what: "found bytes that are not UTF-8", at: 0 })?;
    let talk = match from {
        Dialect::Chat => chat::read_request::read(text)?,
        Dialect::Messages => messages::read_request::read(text)?,
        Dialect::Responses => responses::read_request::read(text)?,
    };
    let written = match to {
        Dialect::Chat => chat::write_request::write(&talk, terms),
        Dialect::Messages => messages::write_request::write(&talk, terms),
        Dialect::Responses => responses::write_request::write(&talk, terms),
    }?;
    let asked = (from == Dialect::Responses).then(|| responses::echo::asked(&talk.head.repeated));
    Ok(Written { asked, ..written })
}

/// What an answer does not say by itself, or not as everybody counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Told<'t> {
    /// The client's request, which answers in some dialects repeat.
    pub request: &'t [u8],
    /// When it was made, in seconds since 1970.
    pub created_seconds: u64,
    /// What it used, as it was settled: an answer without figures has estimates.
    pub usage: Usage,
}

/// How many bytes of the end of an answer tell it from others.
const TELLING_BYTES: usize = 512;

/// What an answer is called that has no id: it is there, and paid for.
fn unnamed(told: &Told<'_>, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    for number in [told.created_seconds, told.usage.input_tokens, told.request.len() as u64, body.len() as u64] {
        hash.update(number.to_le_bytes());
    }
    hash.update(&body[body.len().saturating_sub(TELLING_BYTES)..]);
    hash.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

/// What is said, or else that.
fn or_else<'s>(said: RawStr<'s>, other: &'s str) -> RawStr<'s> {
    if said.raw.is_empty() { RawStr { raw: other, escaped: false } } else { said }
}

/// Writes a whole answer in the client's dialect.
///
/// # Errors
///
/// [`Untranslatable`] for what is no answer in its dialect; an error is none.
pub fn reply(from: Dialect, to: Dialect, body: &[u8], told: &Told<'_>) -> Result<Written, Untranslatable> {
    let text = text_of(body)?;
    let unnamed = unnamed(told, body);
    let mut reply = match from {
        Dialect::Chat => chat::read_reply::read(text, &unnamed)?,
        Dialect::Messages => messages::read_reply::read(text)?,
        Dialect::Responses => responses::read_reply::read(text)?,
    };
    (reply.id, reply.model) = (or_else(reply.id, &unnamed), or_else(reply.model, NO_MODEL));
    match to {
        Dialect::Chat => Ok(chat::write_reply::write(&reply, told)),
        Dialect::Messages => Ok(messages::write_reply::write(&reply, told)),
        Dialect::Responses => responses::write_reply::write(&reply, told),
    }
}

fn text_of(body: &[u8]) -> Result<&str, JsonError> {
    simdutf8::basic::from_utf8(body).map_err(|_| JsonError { what: "found bytes that are not UTF-8", at: 0 })
}

impl<'b> Talk<'b> {
    /// Reads what was said, from the first turn to the last.
    ///
    /// # Errors
    ///
    /// What `each` says, and [`Untranslatable`] for what no other dialect can carry.
    pub fn turns(&self, each: &mut talk::Each<'_, 'b>) -> Result<(), Untranslatable> {
        match self.from {
            Dialect::Chat => chat::read_turns::read(self.turns, each),
            Dialect::Messages => messages::read_turns::read(self.turns, each),
            Dialect::Responses => responses::read_turns::read(self.turns, each),
        }
    }
}

#[cfg(test)]
mod tests;
