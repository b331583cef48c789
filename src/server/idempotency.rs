//! `Idempotency-Key` on model calls: whoever repeats a request gets the answer that it had, and nothing is paid twice.
//!
//! The first request under a key goes its way; the same again waits for its end, then has the very same bytes. Only
//! complete answers are kept, in memory, for a while and within bounds: after anything else the key is free, and the
//! next who waited goes as if it were the first. A request without the header never comes here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::call::CallFacts;
use crate::ids::{KeyId, RequestId, TeamId};
use crate::limits::{
    IDEMPOTENCY_KEY_BYTES_MAX, REPLAY_BYTES_MAX, REPLAYS_BYTES_MAX, REPLAYS_KEPT, REPLAYS_OF_HOLDER_BYTES_MAX,
};
use crate::memory::{HeldBytes, Memory};
use crate::wire::errors::{ApiError, Code};

/// What an answer takes besides its body and its headers, in bytes; rather too much.
const ENTRY_BYTES: usize = 1 << 10;

/// Under which name a request is known again, and what it has to be then.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Repeat {
    name: Name,
    request: [u8; 32],
}

/// Nobody meets the answers of another key or team, nor of another project, pipeline or user: they are in the token.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Name {
    holder: Holder,
    token: [u8; 32],
}

type Holder = (Option<KeyId>, TeamId);

impl Repeat {
    /// What is asked for under these values of the header; `None` without any.
    ///
    /// # Errors
    ///
    /// 400: the header has no value that is one, or several.
    pub fn of(given: &[HeaderValue], facts: &CallFacts, body: &[u8]) -> Result<Option<Self>, ApiError> {
        let token = match given {
            [] => return Ok(None),
            [token] if (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&token.len()) => token.as_bytes(),
            _ => {
                let message = format!("`Idempotency-Key`: wanted one of 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes");
                return Err(ApiError::new(Code::InvalidBody, message));
            }
        };
        let who = &facts.who;
        let claims = [&who.project, &who.pipeline, &who.user];
        let mut scope = Sha256::new();
        for claim in claims {
            // Behind its length, and apart from none, so that no two scopes are spelt alike.
            let claim = claim.as_deref();
            scope.update(claim.map_or(u64::MAX, |claim| claim.len() as u64).to_le_bytes());
            scope.update(claim.unwrap_or_default());
        }
        let token = scope.chain_update(token).finalize().into();
        let tier = facts.pinned_tier.map_or("", |tier| tier.as_str());
        let request = Sha256::new_with_prefix(facts.surface.as_str()).chain_update("\n").chain_update(tier);
        let request = request.chain_update("\n").chain_update(body).finalize().into();
        Ok(Some(Self { name: Name { holder: (who.key.clone(), who.team.clone()), token }, request }))
    }
}

/// An answer as it is told again.
#[derive(Debug)]
pub struct Told {
    /// Which request had it.
    pub id: RequestId,
    /// Its status.
    pub status: StatusCode,
    /// Its headers, those about that request alone left to whoever tells it again.
    pub headers: HeaderMap,
    /// All its bytes.
    pub body: Bytes,
}

impl Told {
    fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        self.body.len() + headers + ENTRY_BYTES
    }
}

/// What is running under a key, and the answers that are kept.
pub struct Replays {
    kept: Mutex<Kept>,
    /// What is written down of answers that are on their way.
    recording: Arc<Memory>,
}

impl Default for Replays {
    fn default() -> Self {
        Self { kept: Mutex::default(), recording: Memory::new(REPLAYS_BYTES_MAX) }
    }
}

#[derive(Default)]
struct Kept {
    entries: HashMap<Name, Entry>,
    /// The kept answers, the oldest first.
    by_age: BTreeMap<u64, Name>,
    by_holder: HashMap<Holder, Held>,
    bytes: usize,
    next: u64,
}

#[derive(Default)]
struct Held {
    ages: BTreeSet<u64>,
    bytes: usize,
}

struct Entry {
    request: [u8; 32],
    state: State,
}

enum State {
    /// The channel closes when it ends.
    Running(watch::Receiver<()>),
    Kept {
        at: Instant,
        told: Arc<Told>,
    },
}

/// Whose turn it is.
pub enum Turn {
    /// The caller's.
    Yours(Part),
    /// That of another: ask again once this closes.
    Wait(watch::Receiver<()>),
}

/// What a request is under its key.
pub enum Part {
    /// Nobody has asked that: go on, and say what became of it.
    First(Lead),
    /// It was asked, and this was the answer.
    Again(Arc<Told>),
}

impl Replays {
    /// Looks a request up.
    ///
    /// # Errors
    ///
    /// 422 if another one came under the key.
    pub fn turn(self: &Arc<Self>, repeat: &Repeat, now: Instant) -> Result<Turn, ApiError> {
        let mut kept = self.lock();
        kept.forget_old(now);
        match kept.entries.get(&repeat.name) {
            Some(entry) if entry.request != repeat.request => {
                let message = "another request came under this `Idempotency-Key`, and it is still known";
                Err(ApiError::new(Code::IdempotencyKeyReused, message).not_to_be_repeated())
            }
            Some(Entry { state: State::Running(ended), .. }) => Ok(Turn::Wait(ended.clone())),
            Some(Entry { state: State::Kept { told, .. }, .. }) => Ok(Turn::Yours(Part::Again(Arc::clone(told)))),
            None => {
                let (running, ended) = watch::channel(());
                let entry = Entry { request: repeat.request, state: State::Running(ended) };
                kept.entries.insert(repeat.name.clone(), entry);
                let lead = Lead { replays: Arc::clone(self), name: Some(repeat.name.clone()), _running: running };
                Ok(Turn::Yours(Part::First(lead)))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn forget_old(&mut self, now: Instant) {
        while let Some(oldest) = self.by_age.first_entry() {
            let entry = self.entries.get(oldest.get());
            let is_old = |at: &Instant| now.saturating_duration_since(*at) >= REPLAYS_KEPT;
            if !matches!(entry, Some(Entry { state: State::Kept { at, .. }, .. }) if !is_old(at)) {
                let age = *oldest.key();
                self.forget(age);
                continue;
            }
            return;
        }
    }

    fn keep(&mut self, name: Name, told: Told, now: Instant) {
        let bytes = told.bytes();
        let of_holder = |kept: &Self| kept.by_holder.get(&name.holder).map_or(0, |held| held.bytes);
        while of_holder(self) + bytes > REPLAYS_OF_HOLDER_BYTES_MAX {
            let Some(oldest) = self.by_holder.get(&name.holder).and_then(|held| held.ages.first().copied()) else {
                break;
            };
            self.forget(oldest);
        }
        while self.bytes + bytes > REPLAYS_BYTES_MAX {
            let Some(oldest) = self.by_age.first_key_value().map(|(age, _)| *age) else { break };
            self.forget(oldest);
        }
        let Some(entry) = self.entries.get_mut(&name) else { return };
        let age = self.next;
        self.next += 1;
        entry.state = State::Kept { at: now, told: Arc::new(told) };
        self.bytes += bytes;
        let held = self.by_holder.entry(name.holder.clone()).or_default();
        held.bytes += bytes;
        held.ages.insert(age);
        self.by_age.insert(age, name);
    }

    fn forget(&mut self, age: u64) {
        let Some(name) = self.by_age.remove(&age) else { return };
        let Some(Entry { state: State::Kept { told, .. }, .. }) = self.entries.remove(&name) else { return };
        let bytes = told.bytes();
        self.bytes -= bytes;
        if let Some(held) = self.by_holder.get_mut(&name.holder) {
            held.bytes -= bytes;
            held.ages.remove(&age);
            if held.ages.is_empty() {
                self.by_holder.remove(&name.holder);
            }
        }
    }
}

/// The first request under a key. Dropping it frees the key, and whoever waits asks again.
pub struct Lead {
    replays: Arc<Replays>,
    /// Until its answer is kept.
    name: Option<Name>,
    _running: watch::Sender<()>,
}

impl Lead {
    /// Its answer is complete. One that is too large is not kept.
    pub fn keep(mut self, told: Told) {
        if told.body.len() > REPLAY_BYTES_MAX {
            return;
        }
        if let Some(name) = self.name.take() {
            self.replays.lock().keep(name, told, Instant::now());
        }
    }

    /// Starts to write its answer down, as it goes by.
    pub fn record(self, id: RequestId, status: StatusCode, headers: HeaderMap) -> Recording {
        let held = self.replays.recording.hold();
        Recording { lead: self, told: Told { id, status, headers, body: Bytes::new() }, body: BytesMut::new(), held }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            self.replays.lock().entries.remove(&name);
        }
    }
}

/// An answer that is being written down. Dropping it leaves nothing of it.
pub struct Recording {
    lead: Lead,
    told: Told,
    body: BytesMut,
    held: HeldBytes,
}

impl Recording {
    /// Takes down a piece; `None` if it becomes too large, or nothing more can be written down.
    pub fn push(mut self: Box<Self>, piece: &[u8]) -> Option<Box<Self>> {
        if self.body.len() + piece.len() > REPLAY_BYTES_MAX || self.held.grow(piece.len()).is_err() {
            return None;
        }
        // A copy: the pieces themselves keep far larger buffers alive.
        self.body.extend_from_slice(piece);
        Some(self)
    }

    /// That was all of it.
    pub fn keep(self) {
        let Self { lead, mut told, body, held } = self;
        told.body = Bytes::copy_from_slice(&body);
        lead.keep(told);
        drop(held);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const STEP: Duration = Duration::from_secs(1);

    fn repeat(holder: &str, token: u8, request: u8) -> Repeat {
        let holder = (Some(KeyId::from(holder)), TeamId::from("data"));
        Repeat { name: Name { holder, token: [token; 32] }, request: [request; 32] }
    }

    fn told(bytes: usize) -> Told {
        let body = Bytes::from(vec![b'x'; bytes]);
        Told { id: RequestId::new(), status: StatusCode::OK, headers: HeaderMap::new(), body }
    }

    fn lead(replays: &Arc<Replays>, repeat: &Repeat) -> Lead {
        match replays.turn(repeat, Instant::now()) {
            Ok(Turn::Yours(Part::First(lead))) => lead,
            _ => panic!("nobody asked that before"),
        }
    }

    /// What a request meets: `first`, `again`, `wait` or `reused`.
    #[track_caller]
    fn check(replays: &Arc<Replays>, repeat: &Repeat, now: Instant, expected: &str) {
        let met = match replays.turn(repeat, now) {
            Ok(Turn::Yours(Part::First(_))) => "first",
            Ok(Turn::Yours(Part::Again(_))) => "again",
            Ok(Turn::Wait(_)) => "wait",
            Err(_) => "reused",
        };
        assert_eq!(met, expected);
    }

    #[test]
    fn an_answer_is_kept_for_ten_minutes_and_for_its_holder_alone() {
        let (replays, now) = (Arc::new(Replays::default()), Instant::now());
        let first = lead(&replays, &repeat("a", 1, 1));
        check(&replays, &repeat("a", 1, 1), now, "wait");
        check(&replays, &repeat("a", 1, 2), now, "reused");
        first.keep(told(9));
        check(&replays, &repeat("a", 1, 1), now, "again");
        check(&replays, &repeat("a", 1, 2), now, "reused");
        check(&replays, &repeat("a", 2, 1), now, "first");
        check(&replays, &repeat("b", 1, 2), now, "first");
        check(&replays, &repeat("a", 1, 1), now + REPLAYS_KEPT - STEP, "again");
        check(&replays, &repeat("a", 1, 2), now + REPLAYS_KEPT + STEP, "first");
        let kept = replays.lock();
        assert_eq!((kept.bytes, kept.entries.len(), kept.by_holder.len()), (0, 0, 0));
    }

    #[test]
    fn a_holder_s_oldest_answers_make_room_for_its_own_and_for_nobody_else_s() {
        let (replays, now) = (Arc::new(Replays::default()), Instant::now());
        lead(&replays, &repeat("quiet", 0, 0)).keep(told(9));
        let fit = u8::try_from(REPLAYS_OF_HOLDER_BYTES_MAX / (REPLAY_BYTES_MAX + ENTRY_BYTES)).unwrap();
        for token in 0..=fit {
            lead(&replays, &repeat("greedy", token, 0)).keep(told(REPLAY_BYTES_MAX));
        }
        check(&replays, &repeat("greedy", 0, 0), now, "first");
        check(&replays, &repeat("greedy", 1, 0), now, "again");
        check(&replays, &repeat("quiet", 0, 0), now, "again");
        assert!(replays.lock().bytes <= REPLAYS_OF_HOLDER_BYTES_MAX + 2 * ENTRY_BYTES);
    }

    #[test]
    fn all_answers_together_stay_within_their_bound() {
        let replays = Arc::new(Replays::default());
        let holders: Vec<String> = (0..=REPLAYS_BYTES_MAX / REPLAY_BYTES_MAX).map(|n| n.to_string()).collect();
        for holder in &holders {
            lead(&replays, &repeat(holder, 0, 0)).keep(told(REPLAY_BYTES_MAX));
        }
        assert!(replays.lock().bytes <= REPLAYS_BYTES_MAX);
        check(&replays, &repeat(&holders[0], 0, 0), Instant::now(), "first");
        check(&replays, &repeat(&holders[2], 0, 0), Instant::now(), "again");
    }

    #[test]
    fn what_is_too_large_is_not_kept_and_not_written_down() {
        let (replays, now) = (Arc::new(Replays::default()), Instant::now());
        lead(&replays, &repeat("a", 0, 0)).keep(told(REPLAY_BYTES_MAX + 1));
        check(&replays, &repeat("a", 0, 0), now, "first");
        let recording =
            Box::new(lead(&replays, &repeat("a", 0, 0)).record(RequestId::new(), StatusCode::OK, HeaderMap::new()));
        let recording = recording.push(&vec![0; REPLAY_BYTES_MAX]).expect("it fits");
        assert!(recording.push(b"x").is_none());
        check(&replays, &repeat("a", 0, 0), now, "first");
        assert_eq!(replays.recording.held_bytes(), 0);
    }
}
