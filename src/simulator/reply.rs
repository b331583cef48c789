//! How replies are written down: one constructor for each kind of answer, one method for each mishap.
//!
//! `Reply::text("…").waits(50 ms).resets_after(3)` reads as what happens. Counts of events are counts
//! of `data:` lines, the opening one that carries the role included. The types are in `script`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::script::{Answer, Ending, Fault, Reply, Thought, ToolCall, UsageReport, What};

impl Answer {
    /// An answer of text alone.
    pub fn text(text: &str) -> Self {
        Self { text: Some(text.to_owned()), ..Self::default() }
    }

    /// An answer of tool calls alone, each a name with its arguments.
    pub fn calls<'a>(calls: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        let call = |(name, arguments): (&str, Value)| ToolCall {
            id: String::new(),
            name: name.to_owned(),
            arguments: arguments.to_string(),
        };
        Self { calls: calls.into_iter().map(call).collect(), ..Self::default() }
    }
}

/// What is said.
impl Reply {
    fn of(what: What) -> Self {
        Self { what, manner: Default::default() }
    }

    /// Says `text`.
    pub fn text(text: &str) -> Self {
        Self::answer(Answer::text(text))
    }

    /// Gives this answer.
    pub fn answer(answer: Answer) -> Self {
        Self::of(What::Answers(Arc::from([answer])))
    }

    /// Gives a different text for each choice when `n` asks for several; the last one repeats.
    pub fn choices<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let answers: Vec<_> = texts.into_iter().map(Answer::text).collect();
        Self::of(What::Answers(if answers.is_empty() { Arc::from([Answer::default()]) } else { answers.into() }))
    }

    /// Repeats the last user message.
    pub fn echo() -> Self {
        Self::of(What::Echo)
    }

    /// Gives the recorded answer of this conversation, or a short apology where there is none.
    pub fn recorded() -> Self {
        Self::of(What::Recorded)
    }

    /// Says `count` words of one token each: a long stream has `count` content deltas.
    pub fn tokens(count: u64) -> Self {
        Self::of(What::Tokens(count))
    }

    /// Says `value` as compact JSON: structured output.
    pub fn json(value: &Value) -> Self {
        Self::text(&value.to_string())
    }

    /// Calls one tool.
    pub fn calls(name: &str, arguments: Value) -> Self {
        Self::answer(Answer::calls([(name, arguments)]))
    }

    /// Calls several tools at once.
    pub fn calls_all<'a>(calls: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        Self::answer(Answer::calls(calls))
    }

    /// Refuses with `text`.
    pub fn refuses(text: &str) -> Self {
        Self::answer(Answer { refusal: Some(text.to_owned()), ..Answer::default() })
    }

    /// Thinks `text` first, in so many tokens.
    #[must_use]
    pub fn thinks(self, text: &str) -> Self {
        self.thought(Thought { text: text.to_owned(), redacted: false })
    }

    /// Thinks `text` first and shows only a seal of it.
    #[must_use]
    pub fn thinks_in_secret(self, text: &str) -> Self {
        self.thought(Thought { text: text.to_owned(), redacted: true })
    }

    fn thought(mut self, thought: Thought) -> Self {
        if let What::Answers(answers) = &mut self.what {
            let thoughtful = |answer: &Answer| Answer { thought: Some(thought.clone()), ..answer.clone() };
            *answers = answers.iter().map(thoughtful).collect();
        }
        self
    }

    /// Answers with `status` and the error body that the dialect has for it; nothing is billed. 200 gives an error
    /// in a success.
    pub fn status(status: u16) -> Self {
        let headers = vec![("content-type".into(), "application/json".into())];
        Self::of(What::Status { status, headers, body: None })
    }

    /// 429 that no retry helps: the account has no money left.
    pub fn insufficient_quota() -> Self {
        Self::status(429).with_body(&json!({"error": {
            "message": "You exceeded your current quota, please check your plan and billing details.",
            "type": "insufficient_quota", "param": null, "code": "insufficient_quota"
        }}))
    }

    /// Sends these bytes in these pieces, each its own write; nothing is billed.
    pub fn raw<B: Into<Bytes>>(content_type: &str, pieces: impl IntoIterator<Item = B>) -> Self {
        let pieces = pieces.into_iter().map(Into::into).collect();
        Self::of(What::Raw { content_type: content_type.to_owned(), pieces, billed: None })
    }

    /// Sends these pieces as an event stream, each its own write; nothing is billed.
    pub fn raw_events<B: Into<Bytes>>(pieces: impl IntoIterator<Item = B>) -> Self {
        Self::raw("text/event-stream", pieces)
    }

    /// Bills a raw reply for these tokens.
    #[must_use]
    pub fn billed(mut self, input_tokens: u64, output_tokens: u64) -> Self {
        if let What::Raw { billed, .. } = &mut self.what {
            *billed = Some((input_tokens, output_tokens));
        }
        self
    }

    /// Replaces the JSON body of a status reply.
    #[must_use]
    pub fn with_body(mut self, value: &Value) -> Self {
        if let What::Status { body, .. } = &mut self.what {
            *body = Some(value.to_string().into());
        }
        self
    }

    /// Replaces the body of a status reply by these bytes, whatever its headers call them.
    #[must_use]
    pub fn with_bytes(mut self, bytes: impl Into<Bytes>) -> Self {
        if let What::Status { body, .. } = &mut self.what {
            *body = Some(bytes.into());
        }
        self
    }

    /// Replaces the body of a status reply by a page of HTML, as a load balancer in front would.
    #[must_use]
    pub fn with_html(mut self, page: &str) -> Self {
        if let What::Status { body, .. } = &mut self.what {
            *body = Some(Bytes::copy_from_slice(page.as_bytes()));
        }
        self.with_header("content-type", "text/html; charset=utf-8")
    }

    /// Sets a header of a status reply: `retry-after`, `retry-after-ms`, `x-should-retry` …
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        if let What::Status { headers, .. } = &mut self.what {
            headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }
}

/// How it is said, and what goes wrong. What a broken answer costs is the model's habit: see
/// [`super::BillsAfterCut`].
impl Reply {
    /// Waits before the status line, whatever the model's latency.
    #[must_use]
    pub fn waits(mut self, time: Duration) -> Self {
        self.manner.first_byte = time;
        self
    }

    /// Waits between events, besides the model's latency.
    #[must_use]
    pub fn gap(mut self, time: Duration) -> Self {
        self.manner.gap = time;
        self
    }

    /// Says nothing more after `events` until `Running::release` or the client's hang-up. A whole
    /// document stalls before its status line.
    #[must_use]
    pub fn stalls_after(mut self, events: u64) -> Self {
        self.manner.stall_after = Some(events);
        self
    }

    /// Cuts every event into writes of at most `bytes`, wherever that falls in a character.
    #[must_use]
    pub fn in_pieces_of(mut self, bytes: usize) -> Self {
        self.manner.piece_bytes = Some(bytes.max(1));
        self
    }

    fn ending(mut self, ending: Ending) -> Self {
        self.manner.ending = ending;
        self
    }

    /// Resets the connection (TCP RST) instead of answering. Billed only by a provider that bills all after a cut.
    #[must_use]
    pub fn resets_before_headers(self) -> Self {
        self.ending(Ending::ResetBeforeHeaders)
    }

    /// Resets the connection after `events`, or half-way through a whole document.
    #[must_use]
    pub fn resets_after(self, events: u64) -> Self {
        self.ending(Ending::Reset(events))
    }

    /// Ends the stream cleanly after `events`, without finish, usage or `[DONE]`.
    #[must_use]
    pub fn ends_after(self, events: u64) -> Self {
        self.ending(Ending::EndsAfter(events))
    }

    /// Ends the stream cleanly in the middle of the event after `events`.
    #[must_use]
    pub fn ends_mid_event(self, events: u64) -> Self {
        self.ending(Ending::MidEvent(events))
    }

    /// Ends the stream after `events` with an error event and no `[DONE]`.
    #[must_use]
    pub fn fails_after(self, events: u64) -> Self {
        self.ending(Ending::ErrorEvent(events, Fault::Server))
    }

    /// Ends the stream after `events` with the error event of a provider that has too much to do.
    #[must_use]
    pub fn overloads_after(self, events: u64) -> Self {
        self.ending(Ending::ErrorEvent(events, Fault::Overloaded))
    }

    /// Ends the stream after `events` with `response.failed`; in other dialects as [`Reply::fails_after`].
    #[must_use]
    pub fn response_fails_after(self, events: u64) -> Self {
        self.ending(Ending::Failed(events, Fault::Server))
    }

    /// The same for a rate limit that was met on the way.
    #[must_use]
    pub fn response_is_limited_after(self, events: u64) -> Self {
        self.ending(Ending::Failed(events, Fault::RateLimited))
    }

    /// Finishes the stream properly but never says `[DONE]`, `message_stop` or `response.completed`.
    #[must_use]
    pub fn without_done(self) -> Self {
        self.ending(Ending::WithoutDone)
    }

    fn usage(mut self, usage: UsageReport) -> Self {
        self.manner.usage = usage;
        self
    }

    /// Bills, and reports no usage at all.
    #[must_use]
    pub fn without_usage(self) -> Self {
        self.usage(UsageReport::Missing)
    }

    /// Bills, and reports a usage of explicit zeros.
    #[must_use]
    pub fn with_zero_usage(self) -> Self {
        self.usage(UsageReport::Zero)
    }

    /// Sends the usage chunk twice, asked for or not; a whole document has it once.
    #[must_use]
    pub fn with_usage_twice(self) -> Self {
        self.usage(UsageReport::Twice)
    }
}
