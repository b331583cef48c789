//! Relays a stream: events go on as they arrive, untouched, and the meter sees each go by.
//!
//! What becomes of each is [`Passing`]'s to say. The attempt is settled before the terminator goes out, and with
//! `durability: power` the terminator waits for the disk; no other event waits for anything. A stream that breaks ends
//! with an error event, never with a terminator. Behind an error of the provider's own nothing goes on, but usage is booked.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Meter;
use super::passing::{Passing, closed, missing_end};
use crate::limits::{SSE_EVENT_BYTES_MAX, SSE_EVENT_COUNTED_BYTES};
use crate::memory::{HeldBytes, MemoryFull};
use crate::providers::inbound::Arriving;
use crate::providers::{Failure, Refusal, Row};
use crate::reply::facts::Ending;
use crate::reply::usage::Usage;
use crate::wire::errors::{ApiError, Code};
use crate::wire::sse::{self, Decoder, Events};

/// How long the connection may linger after the terminator so that it can be used again.
const LINGER: Duration = Duration::from_secs(1);
/// How long the provider's word on usage is waited for behind an error of its own.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How a stream is relayed.
pub struct Rules {
    /// The row that answers: it knows what must not be passed on.
    pub row: Arc<Row>,
    /// What becomes of its events.
    pub passing: Passing,
    /// The first event must have come by then.
    pub first_byte_deadline: Instant,
    /// Longest pause between two pieces.
    pub idle_timeout: Duration,
    /// Everything must have come by then.
    pub deadline: Instant,
}

/// A stream of which nothing has been read, and what will hold its memory.
pub struct Unread {
    /// The stream.
    pub events: Arriving,
    /// Holds an event that has not ended.
    pub held: HeldBytes,
}

/// A stream whose first event has arrived; as a body it gives the rest.
pub struct Relay {
    upstream: Arriving,
    decoder: Decoder,
    held: HeldBytes,
    meter: Box<Meter>,
    rules: Rules,
    /// What came with the first event, until it is begun with.
    first: Option<First>,
    /// What has been taken and not been passed on.
    ready: Option<Bytes>,
    stage: Stage,
    /// The answer came to its proper end.
    complete: bool,
    last_piece: Instant,
    alarm: Pin<Box<Sleep>>,
    /// Ready when shutting down cuts the stream.
    cut: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// The provider's error, which goes out last.
    error: Option<(Code, Bytes)>,
    /// What comes last waits for this: the outcome's way to the disk, where the kernel's word is not enough.
    securing: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Where, in what is about to be passed on, the part begins that waits; and that part, once it does.
    waits_from: Option<usize>,
    waiting: Option<Bytes>,
}

/// The events that came with the first that has data, and what came before them.
struct First {
    events: Events,
    held: BytesMut,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Events go by.
    Running,
    /// The provider has told an error: of what follows only usage counts.
    Failed,
    /// The terminator has gone by; only the end of the connection's message is awaited.
    Settled,
    /// Nothing follows.
    Over,
}

/// What becomes of one event.
enum Verdict {
    Forward,
    Withhold,
    Terminate,
    /// It goes on, and nothing behind it: no more can be held for what follows.
    Cut,
}

impl Relay {
    /// Waits for the first event with data. Until then nothing has gone to the client, so another target may be tried. What
    /// it says counts for nothing before [`Relay::begin`].
    ///
    /// # Errors
    ///
    /// The meter back, with its attempt still open, and the failure.
    pub async fn open(unread: Unread, meter: Box<Meter>, rules: Rules) -> Result<Self, Box<(Box<Meter>, Failure)>> {
        let Unread { events: upstream, held } = unread;
        let first_byte_deadline = rules.first_byte_deadline;
        let cut = Box::pin(meter.cut());
        let mut relay = Self {
            upstream,
            decoder: Decoder::default(),
            held,
            meter,
            rules,
            first: None,
            ready: None,
            stage: Stage::Running,
            complete: false,
            last_piece: Instant::now(),
            alarm: Box::pin(sleep_until(first_byte_deadline)),
            cut,
            error: None,
            securing: None,
            waits_from: None,
            waiting: None,
        };
        match tokio::time::timeout_at(first_byte_deadline, relay.first_event()).await {
            Ok(Ok(first)) => {
                relay.first = Some(first);
                relay.last_piece = Instant::now();
                relay.set_alarm();
                Ok(relay)
            }
            Ok(Err(failure)) => Err(Box::new((relay.meter, failure))),
            Err(_) => Err(Box::new((relay.meter, Failure::Timeout { sent: true }))),
        }
    }

    /// Looks at what came with the first event: this is the answer that the client gets.
    pub fn begin(&mut self) {
        let Some(First { events, mut held }) = self.first.take() else { return };
        let passed = self.take(events);
        if held.is_empty() {
            self.ready = (!passed.is_empty()).then_some(passed);
            return;
        }
        self.waits_from = self.waits_from.map(|at| at + held.len());
        held.extend_from_slice(&passed);
        self.ready = Some(held.freeze());
    }

    /// Goes on under the meter of the request, which takes its attempt back.
    pub fn rejoin(&mut self, mut whole: Box<Meter>) {
        whole.rejoin(&mut self.meter);
        self.meter = whole;
    }

    /// The meter that watches.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Whether the answer is complete and has been passed on to its last byte.
    pub fn is_told(&self) -> bool {
        self.complete && self.ready.is_none() && self.waits_from.is_none() && self.waiting.is_none()
    }

    async fn first_event(&mut self) -> Result<First, Failure> {
        let mut held = BytesMut::new();
        loop {
            let events = match self.upstream.frame().await {
                Some(Ok(frame)) => {
                    let Ok(chunk) = frame.into_data() else { continue };
                    let too_large = |_| Failure::Unreadable { what: "an event of the stream is too large" };
                    self.decoder.push(chunk).map_err(too_large)?
                }
                Some(Err(_)) => {
                    return Err(Failure::Unreadable { what: "the stream broke off before its first event" });
                }
                None => match self.decoder.finish() {
                    last if self.rules.passing.is_whole(&last.bytes) => closed(&last.bytes),
                    _ => return Err(Failure::Unreadable { what: "the stream ended before its first event" }),
                },
            };
            self.hold(held.len()).map_err(|_| Failure::NoRoom)?;
            let first = events.ranges.iter().find_map(|range| sse::data(&events.bytes[range.clone()]));
            if let Some(data) = &first
                && self.rules.passing.begins_with_error(data)
            {
                let refusal = self.refusal(data);
                return Err(Failure::Refused(Refusal { in_stream: true, ..refusal }));
            }
            if first.is_some() {
                return Ok(First { events, held });
            }
            let passed = self.take(events);
            held.extend_from_slice(&passed);
            if held.len() > SSE_EVENT_BYTES_MAX {
                return Err(Failure::Unreadable { what: "nothing but comments came" });
            }
        }
    }

    /// Holds the memory of the event that has not ended, and of `more`.
    fn hold(&mut self, more: usize) -> Result<(), MemoryFull> {
        let bytes = self.decoder.pending_bytes() + self.rules.passing.waiting_bytes() + more;
        if bytes < SSE_EVENT_COUNTED_BYTES && self.held.bytes() == 0 {
            return Ok(());
        }
        self.held.resize(if bytes < SSE_EVENT_COUNTED_BYTES { 0 } else { bytes })
    }

    /// Looks at whole events and gives the bytes that go on: the very same memory unless something is changed.
    fn take(&mut self, events: Events) -> Bytes {
        // Of one that is translated nothing goes on as it is.
        let mut changed = self.rules.passing.is_translated().then(BytesMut::new);
        for range in &events.ranges {
            if self.stage == Stage::Settled {
                changed.get_or_insert_with(|| BytesMut::from(&events.bytes[..range.start]));
                break;
            }
            let event = &events.bytes[range.clone()];
            match self.judge(event) {
                Verdict::Forward => {
                    if let Some(changed) = &mut changed {
                        changed.extend_from_slice(self.rules.passing.becomes(event));
                    }
                }
                Verdict::Withhold => {
                    changed.get_or_insert_with(|| BytesMut::from(&events.bytes[..range.start]));
                }
                Verdict::Terminate => {
                    let usage = self.usage_at_end();
                    let comment = self.settle();
                    self.hold_from(changed.as_ref().map_or(range.start, BytesMut::len));
                    if !comment.is_empty() || changed.is_some() {
                        let changed = changed.get_or_insert_with(|| BytesMut::from(&events.bytes[..range.start]));
                        if let Some(ending) = self.rules.passing.ending(Some(event), usage, &comment) {
                            changed.extend_from_slice(ending.as_bytes());
                        } else {
                            changed.extend_from_slice(comment.as_bytes());
                            changed.extend_from_slice(event);
                        }
                    }
                }
                Verdict::Cut => {
                    let ending = self.cut_short(event);
                    let changed = changed.get_or_insert_with(|| BytesMut::from(&events.bytes[..range.start]));
                    changed.extend_from_slice(self.rules.passing.becomes(event));
                    self.hold_from(changed.len());
                    changed.extend_from_slice(ending.as_bytes());
                    break;
                }
            }
        }
        changed.map_or(events.bytes, BytesMut::freeze)
    }

    fn judge(&mut self, event: &[u8]) -> Verdict {
        if self.stage == Stage::Failed {
            self.overhear(event);
            return Verdict::Withhold;
        }
        let Some(data) = sse::data(event) else {
            self.rules.passing.say_nothing(event);
            return Verdict::Forward;
        };
        let Ok(facts) = self.rules.passing.read(&data) else {
            if self.rules.passing.is_translated() {
                self.break_off();
                return Verdict::Withhold;
            }
            return Verdict::Forward;
        };
        if facts.error {
            if facts.usage.is_some() {
                self.meter.saw_whole(&facts);
            }
            let refusal = self.refusal(&data);
            self.error = Some(if refusal.credential {
                // What it says is not for the client.
                let ours = Failure::Refused(refusal).to_error();
                (ours.code, self.rules.passing.told(&ours, self.meter.call()).into())
            } else {
                (Code::ProviderError, self.rules.passing.retold((&data, event), refusal.status, self.meter.call()))
            });
            self.stage = Stage::Failed;
            self.wait_at_most(LAST_WORDS);
            return Verdict::Withhold;
        }
        self.meter.saw(&facts);
        if facts.begins {
            self.meter.keep(&data);
        }
        if facts.ending == Ending::Over {
            return Verdict::Terminate;
        }
        if self.rules.passing.say(&data, self.meter.reported()).is_err() {
            self.break_off();
            return Verdict::Forward;
        }
        if self.meter.is_spent() {
            return Verdict::Cut;
        }
        if self.rules.passing.withholds(&facts) { Verdict::Withhold } else { Verdict::Forward }
    }

    /// Ends a stream that cannot be said in the client's dialect, as one that breaks.
    fn break_off(&mut self) {
        let error = ApiError::new(Code::ProviderError, "the provider sent what is no event of its protocol");
        self.error = Some((error.code, self.rules.passing.told(&error, self.meter.call()).into()));
        self.stage = Stage::Failed;
        self.wait_at_most(LAST_WORDS);
    }

    /// What a translated answer used, now that it ends.
    fn usage_at_end(&self) -> Usage {
        if self.rules.passing.is_translated() { self.meter.usage() } else { Usage::default() }
    }

    /// An event that is an error, as the row reads it.
    fn refusal(&self, data: &[u8]) -> Refusal {
        let Rules { row, passing, .. } = &self.rules;
        row.refusal_in_success(passing.dialect(), &HeaderMap::new(), Bytes::copy_from_slice(data))
    }

    /// Ends a stream whose provider writes beyond its limit, as one that has reached it. Letting go of the relay cancels the
    /// provider's call.
    fn cut_short(&mut self, event: &[u8]) -> String {
        let used = self.meter.relayed();
        let cost = self.meter.cut_short();
        self.stage = Stage::Over;
        self.secure();
        self.rules.passing.cut_short(event, self.meter.call(), used, cost)
    }

    /// Behind an error nothing goes on. What the provider says of usage there is its last word, and is booked.
    fn overhear(&mut self, event: &[u8]) {
        let Some(data) = sse::data(event) else { return };
        let Ok(facts) = self.rules.passing.read(&data) else { return };
        if facts.usage.is_some() {
            self.meter.saw_whole(&facts);
        }
        if facts.ending == Ending::Over {
            self.wait_at_most(Duration::ZERO);
        }
    }

    /// Ends the stream at the latest so much later.
    fn wait_at_most(&mut self, wait: Duration) {
        self.rules.deadline = self.rules.deadline.min(Instant::now() + wait);
        self.set_alarm();
    }

    /// Settles the attempt; gives the comment that goes before the terminator.
    fn settle(&mut self) -> String {
        self.stage = Stage::Settled;
        self.complete = true;
        self.set_alarm();
        let cost = self.meter.complete(200);
        self.secure();
        self.rules.passing.cost_comment(cost, self.meter.is_estimated())
    }

    /// The outcome is committed: from here on what follows waits for the disk, if it must.
    fn secure(&mut self) {
        self.securing = self.meter.secured().map(|secured| Box::pin(secured) as _);
    }

    /// What is passed on next waits from byte `at` on, if anything must.
    fn hold_from(&mut self, at: usize) {
        self.waits_from = self.securing.as_ref().map(|_| at);
    }

    fn poll_secured(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(securing) = &mut self.securing {
            ready!(securing.as_mut().poll(cx));
            self.securing = None;
        }
        Poll::Ready(())
    }

    /// The provider's side ended: well, if every answer said why it ended; else the client is told.
    fn end(&mut self, trouble: Option<ApiError>) -> Option<Bytes> {
        let leftover = self.decoder.finish();
        let whole = trouble.is_none() && self.rules.passing.is_whole(&leftover.bytes);
        let mut last = if whole { BytesMut::from(self.take(leftover)) } else { BytesMut::new() };
        if let Some((code, event)) = self.error.take() {
            self.meter.broke(code);
            self.secure();
            self.hold_from(last.len());
            last.extend_from_slice(&event);
        } else if self.stage == Stage::Running {
            if self.rules.passing.is_complete(self.meter.call()) {
                let usage = self.usage_at_end();
                let comment = self.settle();
                if let Some(ending) = self.rules.passing.ending(None, usage, &comment) {
                    last.extend_from_slice(ending.as_bytes());
                }
            } else {
                let cut =
                    || ApiError::new(Code::ProviderError, "the provider's stream ended before its answer was complete");
                let error = trouble.unwrap_or_else(cut);
                self.meter.broke(error.code);
                self.secure();
                if !last.is_empty() && !last.ends_with(b"\n\n") {
                    last.extend_from_slice(missing_end(&last));
                }
                last.extend_from_slice(self.rules.passing.told(&error, self.meter.call()).as_bytes());
            }
            self.hold_from(0);
        }
        self.stage = Stage::Over;
        (!last.is_empty()).then(|| last.freeze())
    }

    /// The moment at which waiting for the next piece ends.
    fn patience(&self) -> Instant {
        let idle = if self.stage == Stage::Settled { LINGER } else { self.rules.idle_timeout };
        self.rules.deadline.min(self.last_piece + idle)
    }

    /// Sets the alarm anew where patience may have become shorter.
    fn set_alarm(&mut self) {
        let patience = self.patience();
        self.alarm.as_mut().reset(patience);
    }

    /// Ready when the provider has been silent for too long. Pieces only make patience longer: the alarm is
    /// then moved when it rings, not for every piece.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.alarm.as_mut().poll(cx));
            let patience = self.patience();
            if patience <= Instant::now() {
                return Poll::Ready(());
            }
            self.alarm.as_mut().reset(patience);
        }
    }

    /// Passes bytes on, up to those that wait for the disk.
    fn pass(&mut self, mut bytes: Bytes, cx: &mut Context<'_>) -> Passed {
        if let Some(at) = self.waits_from.take() {
            self.waiting = Some(bytes.split_off(at));
            if bytes.is_empty() {
                return self.pass_waiting(cx);
            }
        }
        self.meter.first_byte();
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    /// Ends the stream; its end waits for the disk like its last bytes.
    fn pass_last(&mut self, trouble: Option<ApiError>, cx: &mut Context<'_>) -> Passed {
        match self.end(trouble) {
            Some(bytes) => self.pass(bytes, cx),
            None => self.pass_waiting(cx),
        }
    }

    /// Waits for the disk, then passes on what waited with it; ready without anything if nothing did.
    fn pass_waiting(&mut self, cx: &mut Context<'_>) -> Passed {
        ready!(self.poll_secured(cx));
        match self.waiting.take().filter(|bytes| !bytes.is_empty()) {
            Some(bytes) => self.pass(bytes, cx),
            None => Poll::Ready(None),
        }
    }
}

type Passed = Poll<Option<Result<Frame<Bytes>, Infallible>>>;

impl Body for Relay {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        if let Some(bytes) = this.ready.take() {
            return this.pass(bytes, cx);
        }
        if let Some(waited) = ready!(this.pass_waiting(cx)) {
            return Poll::Ready(Some(waited));
        }
        while this.stage != Stage::Over {
            if Instant::now() >= this.rules.deadline {
                let error = ApiError::new(Code::ProviderTimeout, "the answer took longer than it may");
                return this.pass_last(Some(error), cx);
            }
            let piece = match Pin::new(&mut this.upstream).poll_frame(cx) {
                Poll::Ready(piece) => piece,
                Poll::Pending => {
                    let error = if this.cut.as_mut().poll(cx).is_ready() {
                        ApiError::new(Code::Draining, "the gateway is shutting down and cut the stream")
                    } else {
                        ready!(this.poll_alarm(cx));
                        ApiError::new(Code::ProviderTimeout, "the provider's stream fell silent")
                    };
                    return this.pass_last(Some(error), cx);
                }
            };
            let trouble = match piece {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(_) if this.stage == Stage::Settled => continue,
                    Err(_) => continue,
                    Ok(chunk) => {
                        this.last_piece = Instant::now();
                        match this.decoder.push(chunk) {
                            Ok(events) => {
                                let held = this.hold(0);
                                let bytes = this.take(events);
                                if !bytes.is_empty() {
                                    return this.pass(bytes, cx);
                                }
                                if held.is_ok() {
                                    continue;
                                }
                                Some(ApiError::new(Code::Overloaded, "no memory is left for an event of the stream"))
                            }
                            Err(too_large) => Some(ApiError::new(Code::ProviderError, too_large.to_string())),
                        }
                    }
                },
                Some(Err(_)) => {
                    Some(ApiError::new(Code::ProviderError, "the provider broke the connection off in mid-stream"))
                }
                None => None,
            };
            return this.pass_last(trouble, cx);
        }
        Poll::Ready(None)
    }
}
