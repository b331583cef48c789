//! The budgets of all payers, shared by all requests: one short lock an operation, and nobody waits while holding it.
//!
//! The arithmetic is in `budget`; here are the lock, the waking of those who wait, and what a hold does when it is let go:
//! unsettled it leaves everything to others, since nothing was sent.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::sync::{mpsc, oneshot};

use crate::budget::pace::{Allowance, Limited, Paces, Reached};
use crate::budget::{Answer, Ask, Books, Charge, Every, HoldId, News, Payer, Short, Ticket};
use crate::limits::NEWS_WAITING_MAX;
use crate::money::NanoUsd;
use crate::telemetry::log::now_ms;

/// Shared by all requests of the process.
pub struct Holds {
    state: Mutex<State>,
    /// The last adjustment that is booked.
    adjusted: AtomicI64,
    news: mpsc::Sender<News>,
}

struct State {
    books: Books,
    paces: Paces,
    waiting: HashMap<Ticket, oneshot::Sender<()>>,
}

/// Money that is set aside. Dropped unsettled it goes back whole.
pub struct Hold {
    holds: Arc<Holds>,
    id: Option<HoldId>,
    /// How much.
    pub amount: NanoUsd,
}

/// A request in flight that counts against limits. Dropped it counts as it was estimated.
pub struct Running {
    holds: Arc<Holds>,
    limited: Arc<[Limited]>,
    estimated: u64,
    used: u64,
}

/// A place in the line; dropped it is given up.
struct Place<'h> {
    holds: &'h Holds,
    ticket: Option<Ticket>,
}

impl Holds {
    /// Without anybody in them, for periods of `zone`; and where what is told of them comes out.
    pub fn new(zone: TimeZone) -> (Arc<Self>, mpsc::Receiver<News>) {
        let (news, told) = mpsc::channel(NEWS_WAITING_MAX);
        let state = State { books: Books::new(zone), paces: Paces::default(), waiting: HashMap::new() };
        (Arc::new(Self { state: Mutex::new(state), adjusted: AtomicI64::new(0), news }), told)
    }

    /// Works on the books as they stand, then wakes whom that helps and tells what it made known.
    pub fn with<T>(&self, work: impl FnOnce(&mut Books) -> T) -> T {
        let mut state = self.lock();
        let done = work(&mut state.books);
        for ticket in state.books.woken() {
            if let Some(sleeper) = state.waiting.remove(&ticket) {
                // One that has gone meanwhile gives back what it was given.
                let _ = sleeper.send(());
            }
        }
        let news = state.books.news();
        drop(state);
        for news in news {
            // Told by the log in any case where it is read; a full queue has thousands of others in it.
            drop(self.news.try_send(news));
        }
        done
    }

    /// Sets money aside if all of it is there and nobody is before in the line.
    pub fn at_once(self: &Arc<Self>, ask: &Ask) -> Option<Hold> {
        let id = self.with(|books| books.hold_at_once(ask))?;
        Some(Hold { holds: Arc::clone(self), id: Some(id), amount: ask.want })
    }

    /// Sets money aside, and waits for it as long as `patience` lasts.
    ///
    /// # Errors
    ///
    /// What is short.
    pub async fn hold(self: &Arc<Self>, ask: &Ask, patience: Duration) -> Result<Hold, Box<Short>> {
        let (mut answer, woken) = {
            let mut state = self.lock();
            let answer = state.books.hold(ask);
            let woken = if let Answer::Wait(ticket) = answer {
                let (sleeper, woken) = oneshot::channel();
                state.waiting.insert(ticket, sleeper);
                Some((ticket, woken))
            } else {
                None
            };
            (Some(answer), woken)
        };
        self.with(|_| ());
        if let Some((ticket, woken)) = woken {
            let mut place = Place { holds: self, ticket: Some(ticket) };
            drop(tokio::time::timeout(patience, woken).await);
            answer = self.with(|books| books.last_chance(ticket));
            place.ticket = None;
            self.lock().waiting.remove(&ticket);
        }
        match answer {
            Some(Answer::Held(id, amount)) => Ok(Hold { holds: Arc::clone(self), id: Some(id), amount }),
            Some(Answer::Short(short)) => Err(short),
            Some(Answer::Wait(_)) | None => unreachable!("a last chance has an answer"),
        }
    }

    /// Whether one of these budgets is nearly spent.
    pub fn is_near<'c>(&self, mut charges: impl Iterator<Item = &'c Charge>, at_ms: i64) -> bool {
        self.with(|books| charges.any(|charge| books.is_near(charge, at_ms)))
    }

    /// The number of the last adjustment that is booked.
    pub fn adjusted(&self) -> i64 {
        self.adjusted.load(Ordering::Relaxed)
    }

    /// Notes that adjustments are booked up to this number.
    pub fn set_adjusted(&self, number: i64) {
        self.adjusted.store(number, Ordering::Relaxed);
    }

    /// What is neither spent nor held of a budget now.
    pub fn remaining(&self, payer: &Payer, every: Every, usd: NanoUsd) -> NanoUsd {
        let (spent, held) = self.with(|books| books.balance(payer, every, now_ms()));
        usd - spent - held
    }

    /// Lets a request begin under these limits; it counts until the result is dropped.
    ///
    /// # Errors
    ///
    /// The limit that is reached.
    pub fn begin(
        self: &Arc<Self>,
        limited: &Arc<[Limited]>,
        estimated: u64,
        watched: bool,
    ) -> Result<Running, Reached> {
        let (mut state, now) = (self.lock(), now_ms() / 1000);
        let limited = state.paces.told_apart(limited, now).unwrap_or_else(|| Arc::clone(limited));
        state.paces.begin(&limited, estimated, now, watched)?;
        drop(state);
        Ok(Running { holds: Arc::clone(self), limited, estimated, used: 0 })
    }

    /// What is left of these limits.
    pub fn left(&self, limited: &[Limited]) -> Allowance {
        let (mut state, now) = (self.lock(), now_ms() / 1000);
        let shared = state.paces.told_apart(limited, now);
        state.paces.left(shared.as_deref().unwrap_or(limited), now)
    }

    /// The limit that a request would reach.
    pub fn would_reach(&self, limited: &[Limited], estimated: u64) -> Option<Reached> {
        let (mut state, now) = (self.lock(), now_ms() / 1000);
        let shared = state.paces.told_apart(limited, now);
        state.paces.would_reach(shared.as_deref().unwrap_or(limited), estimated, now)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// Sets `more` aside besides; false, and nothing changes, if that is not there.
    pub fn extend(&mut self, more: NanoUsd) -> bool {
        let Some(id) = self.id else { return false };
        let extended = self.holds.with(|books| books.extend(id, more));
        if extended {
            self.amount += more;
        }
        extended
    }

    /// Leaves what is beyond `amount` to others.
    pub fn shrink(&mut self, amount: NanoUsd) {
        if let Some(id) = self.id.filter(|_| amount < self.amount) {
            self.holds.with(|books| books.shrink(id, amount));
            self.amount = amount;
        }
    }

    /// What leaves money beyond an amount to others from elsewhere; nothing happens once the hold is settled.
    pub fn shrinker(&self) -> impl FnOnce(NanoUsd) + Send + use<> {
        let (holds, id) = (Arc::clone(&self.holds), self.id);
        move |amount| {
            if let Some(id) = id {
                holds.with(|books| books.shrink(id, amount));
            }
        }
    }

    /// Books what was spent and leaves the rest to others.
    pub fn settle(mut self, spent: NanoUsd) {
        if let Some(id) = self.id.take() {
            self.holds.with(|books| books.settle(id, spent));
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.holds.with(|books| books.settle(id, NanoUsd::ZERO));
        }
    }
}

impl Running {
    /// Takes note of tokens that were really used.
    pub fn used(&mut self, tokens: u64) {
        self.used = tokens;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let beyond = self.used.saturating_sub(self.estimated);
        self.holds.lock().paces.end(&self.limited, beyond, now_ms() / 1000);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.holds.lock().waiting.remove(&ticket);
            self.holds.with(|books| books.leave(ticket));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{Budget, terms::Share};

    fn ask(want: i64) -> Ask {
        let budget = Budget {
            usd: NanoUsd(10),
            every: Every::Day,
            when_near: crate::budget::WhenNear::Warn,
            near: Share::default(),
        };
        let charge = Charge { payer: Payer::Team("t".into()), budget };
        Ask { charges: [charge].into(), at_ms: now_ms(), want: NanoUsd(want), least: NanoUsd(want), watched: false }
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_when_money_comes_free() {
        let (holds, _news) = Holds::new(TimeZone::UTC);
        let first = holds.hold(&ask(8), Duration::ZERO).await.unwrap();
        let waiting = tokio::spawn({
            let holds = Arc::clone(&holds);
            async move { holds.hold(&ask(6), Duration::from_secs(3600)).await.map(|hold| hold.amount) }
        });
        tokio::task::yield_now().await;
        first.settle(NanoUsd(1));
        assert_eq!(waiting.await.unwrap(), Ok(NanoUsd(6)));
    }

    #[tokio::test]
    async fn patience_ends_and_whoever_gives_up_leaves_nothing_behind() {
        let (holds, _news) = Holds::new(TimeZone::UTC);
        let first = holds.hold(&ask(8), Duration::ZERO).await.unwrap();
        let short = holds.hold(&ask(6), Duration::from_millis(50)).await.map(|hold| hold.amount).unwrap_err();
        assert!(short.is_passing());
        let gone = tokio::time::timeout(Duration::from_millis(50), holds.hold(&ask(6), Duration::from_secs(9))).await;
        assert!(gone.is_err());
        drop(first);
        assert_eq!(holds.hold(&ask(10), Duration::ZERO).await.map(|hold| hold.amount), Ok(NanoUsd(10)));
        assert!(holds.lock().waiting.is_empty());
    }
}
