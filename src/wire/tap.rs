//! What metering hears of a stream as it goes by, one event after the other, whichever dialect it is in.

use std::borrow::Cow;

use serde_json::Value;

use crate::dialect::Dialect;
use crate::prompt::json::JsonError;
use crate::reply::facts::{Ending, Facts};

use super::errors::ApiError;
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
    responses: responses_reply::Seen,
}

impl Tap {
    /// At a stream in a dialect, of a vendor with these habits.
    pub fn new(dialect: Dialect, habits: Habits) -> Self {
        Self { dialect, habits, finished: 0, messages: Default::default(), responses: Default::default() }
    }

    /// The dialect of the stream.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Reads the data of the next event. Usage is what has been told so far.
    ///
    /// # Errors
    ///
    /// [`JsonError`] for what is neither a JSON object nor the word that ends a stream.
    pub fn read(&mut self, data: &[u8]) -> Result<Facts, JsonError> {
        let facts = self.facts(data)?;
        self.finished += facts.finished;
        if self.dialect == Dialect::Responses {
            self.responses.note(data);
        }
        Ok(facts)
    }

    fn facts(&mut self, data: &[u8]) -> Result<Facts, JsonError> {
        Ok(match self.dialect {
            Dialect::Chat if data.trim_ascii() == DONE => Facts { ending: Ending::Over, ..Facts::default() },
            Dialect::Chat => openai_reply::read_as(data, self.habits)?,
            Dialect::Responses => responses_reply::read(data, self.habits)?,
            Dialect::Messages => messages_reply::read(data, self.habits, &mut self.messages)?,
        })
    }

    /// Reads an event without having it count.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn peek(&self, data: &[u8]) -> Result<Facts, JsonError> {
        self.clone().facts(data)
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
    ) -> (String, Cow<'static, str>) {
        match self.dialect {
            Dialect::Chat => {
                let chunk = serde_json::from_slice::<Value>(data).ok();
                let told = usage_asked.then_some(used);
                let ends = chunk.map(|chunk| openai_reply::length_ending(chunk, answers, told)).unwrap_or_default();
                (ends, "data: [DONE]\n\n".into())
            }
            Dialect::Responses => (String::new(), self.responses.length_ending(used).into()),
            Dialect::Messages => {
                let ends = messages_reply::length_ending(&self.messages, used);
                (ends, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n".into())
            }
        }
    }

    /// What ends a stream with an error of ours as its clients look for it, where that is not the error's own event: a
    /// response that has begun ends as one that failed.
    pub fn failed_ending(&self, error: &ApiError) -> Option<String> {
        (self.dialect == Dialect::Responses).then(|| self.responses.failed_ending(error)).flatten()
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
