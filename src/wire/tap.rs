//! What metering hears of a stream as it goes by, one event after the other, whichever dialect it is in.

use serde_json::Value;

use crate::dialect::Dialect;
use crate::prompt::json::JsonError;
use crate::reply::facts::{Ending, Facts};

use super::vendors::Habits;
use super::{messages_reply, openai_reply, responses_reply};

/// What ends a stream of Chat Completions.
const DONE: &[u8] = b"[DONE]";

/// Listens to one stream.
#[derive(Clone, Debug)]
pub struct Tap {
    dialect: Dialect,
    habits: Habits,
    /// Answers that have said why they ended.
    finished: u64,
    messages: messages_reply::Seen,
}

impl Tap {
    /// At a stream in a dialect, of a vendor with these habits.
    pub fn new(dialect: Dialect, habits: Habits) -> Self {
        Self { dialect, habits, finished: 0, messages: messages_reply::Seen::default() }
    }

    /// Reads the data of the next event. Usage is what has been told so far.
    ///
    /// # Errors
    ///
    /// [`JsonError`] for what is neither a JSON object nor the word that ends a stream.
    pub fn read(&mut self, data: &[u8]) -> Result<Facts, JsonError> {
        let facts = match self.dialect {
            Dialect::Chat if data.trim_ascii() == DONE => Facts { ending: Ending::Over, ..Facts::default() },
            Dialect::Chat => openai_reply::read_as(data, self.habits)?,
            Dialect::Responses => responses_reply::read(data, self.habits)?,
            Dialect::Messages => messages_reply::read(data, self.habits, &mut self.messages)?,
        };
        self.finished += facts.finished;
        Ok(facts)
    }

    /// Reads an event without having it count.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn peek(&self, data: &[u8]) -> Result<Facts, JsonError> {
        self.clone().read(data)
    }

    /// Whether a stream may end here without the event for it, which some hosts leave out: every one of so many answers has
    /// said why it ended.
    pub fn is_complete(&self, answers: u64) -> bool {
        self.finished >= answers
    }

    /// What ends each of so many answers at its output limit, the terminator included, in the words of the stream whose
    /// last event had this `data`. `used` are input and output tokens; Chat tells them only if `usage_asked`.
    pub fn length_ending(
        &self,
        data: &[u8],
        answers: u64,
        used: (u64, u64),
        usage_asked: bool,
    ) -> (String, &'static str) {
        match self.dialect {
            Dialect::Chat => {
                let chunk = serde_json::from_slice::<Value>(data).ok();
                let told = usage_asked.then_some(used);
                let ends = chunk.map(|chunk| openai_reply::length_ending(chunk, answers, told)).unwrap_or_default();
                (ends, "data: [DONE]\n\n")
            }
            // A response that is cut has no last event that could be made up without all that went before it.
            Dialect::Responses => (String::new(), ""),
            Dialect::Messages => {
                let ends = messages_reply::length_ending(&self.messages, used);
                (ends, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n")
            }
        }
    }
}

/// Reads a whole answer.
///
/// # Errors
///
/// [`JsonError`] for what is not a JSON object.
pub fn whole(json: &[u8], dialect: Dialect, habits: Habits) -> Result<Facts, JsonError> {
    match dialect {
        Dialect::Chat => openai_reply::read_as(json, habits),
        Dialect::Responses => responses_reply::read(json, habits),
        Dialect::Messages => messages_reply::read(json, habits, &mut messages_reply::Seen::default()),
    }
}
