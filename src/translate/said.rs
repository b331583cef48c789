//! What an answer says, in nobody's dialect: values that borrow from the body they were read from.

use crate::prompt::json::RawStr;

use super::citations::{Citation, characters};
use super::read::string;
use super::talk::{Call, Reasoning};

/// An id or a name of a model that a provider leaves out.
pub(super) const NOT_SAID: RawStr<'static> = RawStr { raw: "", escaped: false };

/// An id or a name of a model, from a member that may be missing or null.
pub(super) fn said(json: Option<&str>) -> RawStr<'_> {
    json.and_then(string).unwrap_or(NOT_SAID)
}

/// A whole answer.
#[derive(Debug)]
pub struct Reply<'b> {
    /// The provider's id of it; empty where it has none.
    pub id: RawStr<'b>,
    /// The model that the provider names; empty where it names none.
    pub model: RawStr<'b>,
    /// What it says, in order.
    pub parts: Vec<Said<'b>>,
    /// Places on the web that its texts refer to.
    pub citations: Vec<Citation<'b>>,
    /// The name of these, for whom they are left out.
    pub citations_field: &'static str,
    /// Why it ended.
    pub why: Why<'b>,
    /// Names of what only its own dialect has.
    pub left: Vec<&'static str>,
}

/// A piece of an answer.
#[derive(Debug)]
pub enum Said<'b> {
    /// A text.
    Text(RawStr<'b>),
    /// A text that is JSON, as it is spelt.
    Json(&'b str),
    /// Why the model will not answer.
    Refusal(RawStr<'b>),
    /// What the model thought.
    Reasons(Reasoning<'b>),
    /// A call of a tool.
    Calls(Call<'b>),
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug)]
pub enum Why<'b> {
    /// The model had said all, or what it says next is for it to be asked again.
    Done,
    /// At one of the client's texts, where it is known which.
    Stop(RawStr<'b>),
    /// At a limit of tokens.
    Length,
    /// It waits for tools.
    Calls,
    /// It will not answer, or was not let; with the reason, if there is one.
    Refused(Option<RawStr<'b>>),
}

/// Counts the characters of all texts of an answer, each text once and only if somebody asks.
#[derive(Default)]
pub(super) struct Counted {
    parts: usize,
    characters: u64,
}

impl Counted {
    /// How many characters the texts among these parts have; there are those of the last time, and maybe more.
    pub(super) fn up_to(&mut self, parts: &[Said<'_>]) -> u64 {
        let of = |part: &Said<'_>| match part {
            Said::Text(text) => characters(*text),
            Said::Json(json) => json.chars().count() as u64,
            Said::Refusal(_) | Said::Reasons(_) | Said::Calls(_) => 0,
        };
        self.characters += parts[self.parts..].iter().map(of).sum::<u64>();
        self.parts = parts.len();
        self.characters
    }
}
