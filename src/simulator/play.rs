//! Plays an answer onto the connection, step by step and at its pace.
//!
//! The script's manners are turned into a list of [`Act`]s before the first byte; [`Play`] performs them
//! as an HTTP body. It bills when the answer is complete (before the client can have seen its end) and
//! leaves the tab open otherwise, so that dropping the body, by whomever, is a cut.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::invoice::Tab;
use super::render::{Renderer, fault_event};
use super::script::{Ending, Fault, Manner, UsageReport};
use super::traffic::Visit;

/// Shorter waits than this are saved up: timers are no finer.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// The connection was broken off on purpose.
#[derive(Debug, thiserror::Error)]
#[error("the script breaks the connection here")]
pub struct BrokenOff;

/// One step of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Act {
    /// The chunk with the role of a choice.
    Role(usize),
    /// The chunk of a choice's delta.
    Delta(usize, usize),
    /// The last chunk of a choice.
    Finish(usize),
    Usage,
    /// These bytes as one frame, which holds one generated token.
    Token(Bytes),
    /// These bytes as one frame.
    Bytes(Bytes),
    /// Everything was generated: bill it.
    Complete,
    /// Say nothing until released.
    Stall,
    /// The first half of the frame that this act would send.
    Half(Box<Act>),
    /// Break the connection with a TCP reset.
    Reset,
}

/// The steps of a streamed answer.
pub(super) fn stream_acts(renderer: &Renderer, manner: &Manner) -> Vec<Act> {
    disturbed(events(renderer, manner), manner, |_, fault| vec![Act::Bytes(fault_event(fault))])
}

/// The same steps with what the script lets go wrong; `fail` gives the last frames of a stream that fails after so
/// many events.
pub(super) fn disturbed(mut acts: Vec<Act>, manner: &Manner, fail: impl FnOnce(u64, Fault) -> Vec<Act>) -> Vec<Act> {
    match &manner.ending {
        Ending::Complete | Ending::ResetBeforeHeaders | Ending::WithoutDone => {}
        Ending::Reset(after) => cut(&mut acts, *after, [Act::Reset]),
        Ending::EndsAfter(after) => cut(&mut acts, *after, []),
        Ending::MidEvent(after) => {
            let broken = position_after(&acts, *after).and_then(|at| acts.get(at).cloned());
            cut(&mut acts, *after, broken.map(|act| Act::Half(Box::new(act))));
        }
        Ending::ErrorEvent(after, fault) | Ending::Failed(after, fault) => cut(&mut acts, *after, fail(*after, *fault)),
    }
    if let Some(after) = manner.stall_after {
        let at = position_after(&acts, after).unwrap_or(acts.len());
        acts.insert(at, Act::Stall);
    }
    acts
}

/// Every event of an undisturbed stream. Choices take turns, as they do on the real API.
fn events(renderer: &Renderer, manner: &Manner) -> Vec<Act> {
    let choices = &renderer.generation.choices;
    let longest = choices.iter().map(|choice| choice.deltas.len()).max().unwrap_or(0);
    let opens_with_call =
        |deltas: &[super::answer::Delta]| matches!(deltas.first(), Some(super::answer::Delta::CallStart(_)));
    let mut acts: Vec<_> =
        (0..choices.len()).filter(|i| !opens_with_call(&choices[*i].deltas)).map(Act::Role).collect();
    for index in 0..longest {
        acts.extend((0..choices.len()).filter(|i| index < choices[*i].deltas.len()).map(|i| Act::Delta(i, index)));
    }
    acts.push(Act::Complete);
    acts.extend((0..choices.len()).map(Act::Finish));
    let usages = match manner.usage {
        UsageReport::Missing => 0,
        UsageReport::AsAsked | UsageReport::Zero => usize::from(renderer.includes_usage),
        UsageReport::Twice => 2,
    };
    acts.extend(std::iter::repeat_n(Act::Usage, usages));
    if manner.ending != Ending::WithoutDone {
        acts.push(Act::Bytes(Bytes::from_static(b"data: [DONE]\n\n")));
    }
    acts
}

/// Where the act after `events` events is; `None` beyond the end.
fn position_after(acts: &[Act], events: u64) -> Option<usize> {
    let mut seen = 0;
    acts.iter().position(|act| {
        let here = seen == events && *act != Act::Complete;
        seen += u64::from(*act != Act::Complete);
        here
    })
}

fn cut(acts: &mut Vec<Act>, after: u64, then: impl IntoIterator<Item = Act>) {
    acts.truncate(position_after(acts, after).unwrap_or(acts.len()));
    acts.extend(then);
}

/// The pace of an answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    pub(super) per_token: Duration,
    pub(super) gap: Duration,
}

/// An answer being sent.
#[derive(Debug)]
pub(super) struct Play {
    acts: std::vec::IntoIter<Act>,
    renderer: Option<Renderer>,
    tab: Option<Tab>,
    visit: Visit,
    reset: Arc<AtomicBool>,
    pace: Pace,
    due: Instant,
    waiting: Waiting,
    piece_bytes: Option<usize>,
    rest: Bytes,
    pending: Option<Act>,
    generated: u64,
    flushing: bool,
    length: Option<u64>,
}

enum Waiting {
    No,
    Until(Pin<Box<Sleep>>),
    Release(Pin<Box<dyn Future<Output = ()> + Send>>),
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::No => "No",
            Self::Until(_) => "Until",
            Self::Release(_) => "Release",
        })
    }
}

impl Play {
    /// Plays `acts` for `visit`; `reset` tells the connection to end in a TCP reset.
    pub(super) fn new(acts: Vec<Act>, visit: Visit, reset: Arc<AtomicBool>) -> Self {
        Self {
            acts: acts.into_iter(),
            renderer: None,
            tab: None,
            visit,
            reset,
            pace: Pace::default(),
            due: Instant::now(),
            waiting: Waiting::No,
            piece_bytes: None,
            rest: Bytes::new(),
            pending: None,
            generated: 0,
            flushing: false,
            length: None,
        }
    }

    /// Bills on `tab`, on which `generated` tokens stand already.
    pub(super) fn billing_from(mut self, generated: u64, tab: Option<Tab>) -> Self {
        self.generated = generated;
        self.tab = tab;
        self
    }

    /// Renders chunks with `renderer` and bills on `tab`.
    pub(super) fn billing(mut self, renderer: Option<Renderer>, tab: Option<Tab>) -> Self {
        self.generated = renderer.as_ref().map_or(0, |renderer| renderer.generation.reasoning);
        self.renderer = renderer;
        self.tab = tab;
        self
    }

    pub(super) fn at(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// Writes each frame on its own, in pieces of at most `bytes`.
    pub(super) fn in_pieces_of(mut self, bytes: Option<usize>) -> Self {
        self.piece_bytes = bytes;
        self
    }

    /// Announces `bytes` as the length of the body.
    pub(super) fn of_length(mut self, bytes: u64) -> Self {
        self.length = Some(bytes);
        self
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.waiting {
            Waiting::No => return Poll::Ready(()),
            Waiting::Until(sleep) => ready!(sleep.as_mut().poll(cx)),
            Waiting::Release(released) => ready!(released.as_mut().poll(cx)),
        }
        self.waiting = Waiting::No;
        Poll::Ready(())
    }

    /// How long the script rests before `act`; small rests add up until a timer can measure them.
    fn rest_before(&mut self, act: &Act) -> Option<Instant> {
        let pause = match act {
            Act::Delta(..) | Act::Token(_) => self.pace.per_token + self.pace.gap,
            Act::Complete | Act::Stall | Act::Reset => Duration::ZERO,
            _ => self.pace.gap,
        };
        if pause.is_zero() {
            return None;
        }
        let now = Instant::now();
        self.due = self.due.max(now.checked_sub(SHORTEST_WAIT * 10).unwrap_or(now)) + pause;
        (self.due >= now + SHORTEST_WAIT).then_some(self.due)
    }

    /// Makes `act` the next one, after the rest or the flush that it needs.
    fn prepare(&mut self, act: Act) {
        self.flushing = act == Act::Reset;
        if let Some(due) = self.rest_before(&act) {
            self.waiting = Waiting::Until(Box::pin(sleep_until(due)));
        }
        self.pending = Some(act);
    }

    fn frame_of(&self, act: &Act) -> Bytes {
        match (act, &self.renderer) {
            (Act::Bytes(bytes) | Act::Token(bytes), _) => bytes.clone(),
            (Act::Half(whole), _) => {
                let frame = self.frame_of(whole);
                frame.slice(..frame.len() / 2)
            }
            (Act::Role(choice), Some(renderer)) => renderer.role_chunk(*choice),
            (Act::Delta(choice, index), Some(renderer)) => renderer.delta_chunk(*choice, *index),
            (Act::Finish(choice), Some(renderer)) => renderer.finish_chunk(*choice),
            (Act::Usage, Some(renderer)) => renderer.usage_chunk(),
            _ => Bytes::new(),
        }
    }

    /// Performs one act; a frame if it sends something.
    fn perform(&mut self, act: Act) -> Option<Bytes> {
        match &act {
            Act::Complete => {
                if let Some(tab) = &mut self.tab {
                    tab.bill_in_full();
                }
                return None;
            }
            Act::Stall => {
                self.waiting = Waiting::Release(Box::pin(self.visit.released()));
                return None;
            }
            Act::Delta(..) | Act::Token(_) => {
                self.generated += 1;
                if let Some(tab) = &self.tab {
                    tab.generated(self.generated);
                }
            }
            _ => {}
        }
        let frame = self.frame_of(&act);
        self.visit.frame();
        Some(frame)
    }

    fn is_done(&self) -> bool {
        self.rest.is_empty() && self.pending.is_none() && self.acts.len() == 0
    }

    fn piece(&mut self) -> Bytes {
        let most = self.rest.len().min(self.piece_bytes.unwrap_or(usize::MAX));
        // Pieces must leave as separate writes, so the connection is let to flush between them.
        self.flushing = self.piece_bytes.is_some();
        let piece = self.rest.split_to(most);
        if self.is_done() {
            // hyper asks no further once an announced length has been sent.
            self.visit.end();
        }
        piece
    }
}

impl http_body::Body for Play {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = self.get_mut();
        loop {
            if std::mem::take(&mut this.flushing) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !this.rest.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(this.piece()))));
            }
            ready!(this.wait(cx));
            let Some(act) = this.pending.take() else {
                let Some(act) = this.acts.next() else {
                    this.visit.end();
                    return Poll::Ready(None);
                };
                this.prepare(act);
                continue;
            };
            if act == Act::Reset {
                this.visit.end();
                this.reset.store(true, Ordering::Release);
                return Poll::Ready(Some(Err(BrokenOff)));
            }
            if let Some(frame) = this.perform(act) {
                this.rest = frame;
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_done() && !self.flushing
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
