//! What each payer has spent and has on hold, and who waits for money.
//!
//! A request falls under up to a handful of ceilings ([`Charge`]). A hold sets the most that it may cost aside under all
//! of them at once or under none, so that spent and held together never exceed a ceiling; it is settled at what was
//! spent and leaves the rest to others. Those who find too little wait in line: first come, first served, and at the end
//! of its patience each may take what is there, whoever stands before it.

mod apart;
mod changes;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::account::Account;
use super::period::{self, Span};
use super::terms::{Budget, Every};
use crate::ids::{KeyId, TeamId};
use crate::limits::PAYERS_MAX;
use crate::money::NanoUsd;

/// Stretches of time that are not worked out again.
const SLICES_KEPT: usize = 8;

/// Who is held to a ceiling.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Payer {
    /// A team.
    Team(TeamId),
    /// A project of a team.
    Project(TeamId, Arc<str>),
    /// An end user of a team.
    User(TeamId, Arc<str>),
    /// A virtual key.
    Key(KeyId),
}

impl Payer {
    /// The word in metrics and messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Team(_) => "team",
            Self::Project(..) => "project",
            Self::User(..) => "user",
            Self::Key(_) => "key",
        }
    }

    /// Where its kind stands in lists.
    pub fn kind_order(&self) -> u8 {
        match self {
            Self::Team(_) => 0,
            Self::Project(..) => 1,
            Self::User(..) => 2,
            Self::Key(_) => 3,
        }
    }

    /// Who stands for it where more of its kind come than can be told apart.
    pub(super) fn other(&self) -> Self {
        match self {
            Self::Project(team, _) => Self::Project(team.clone(), "(others)".into()),
            Self::User(team, _) => Self::User(team.clone(), "(others)".into()),
            Self::Team(_) | Self::Key(_) => self.clone(),
        }
    }
}

impl fmt::Display for Payer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Team(team) => write!(f, "team `{team}`"),
            Self::Project(team, name) => write!(f, "project `{name}` of team `{team}`"),
            Self::User(team, name) => write!(f, "user `{name}` of team `{team}`"),
            Self::Key(key) => write!(f, "key `{key}`"),
        }
    }
}

/// A ceiling that a request falls under.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Charge {
    /// Whose.
    pub payer: Payer,
    /// The ceiling.
    pub budget: Budget,
}

/// Asks for money to be set aside.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Every ceiling that the request falls under.
    pub charges: Arc<[Charge]>,
    /// When the request arrived, in milliseconds since the Unix epoch: what it spends counts there.
    pub at_ms: i64,
    /// The most that it may cost.
    pub want: NanoUsd,
    /// The least that is of any use to it, at most `want`.
    pub least: NanoUsd,
    /// Ceilings are only watched: it is held whatever is left.
    pub watched: bool,
}

/// A hold, until it is settled.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct HoldId(u64);

/// A place in the line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Ticket(u64);

/// What becomes of an [`Ask`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// So much is set aside, between the least and what was wanted.
    Held(HoldId, NanoUsd),
    /// Others hold what it wants, and may leave it.
    Wait(Ticket),
    /// There is not enough, and waiting would not help.
    Short(Box<Short>),
}

/// Too little is left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Short {
    /// Under whose ceiling.
    pub charge: Charge,
    /// What is not spent.
    pub unspent: NanoUsd,
    /// The part of it that others hold.
    pub held: NanoUsd,
    /// The least that the request needs.
    pub least: NanoUsd,
    /// When money comes back by the calendar, in milliseconds since the Unix epoch.
    pub resets_ms: i64,
}

impl Short {
    /// Whether it would do once others have left what they do not need.
    pub fn is_passing(&self) -> bool {
        self.unspent >= self.least
    }
}

/// Something that is told about a budget.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct News {
    /// What.
    pub what: What,
    /// Whose budget.
    pub charge: Charge,
    /// What is spent of it.
    pub spent: NanoUsd,
    /// The period: what is told of the same one is told once.
    pub period: Span,
}

/// What is told about a budget.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum What {
    /// The larger part is spent.
    Near,
    /// It is spent, or a request was refused for want of what is left.
    Exhausted,
}

struct Hold {
    charges: Arc<[Charge]>,
    at_ms: i64,
    amount: NanoUsd,
    watched: bool,
}

struct Waiter {
    ticket: Ticket,
    ask: Ask,
}

/// The accounts of all payers.
pub struct Books {
    zone: TimeZone,
    accounts: HashMap<(Payer, Every), Account>,
    holds: HashMap<HoldId, Hold>,
    line: VecDeque<Waiter>,
    /// What has become of those who waited and have not asked yet.
    answers: HashMap<Ticket, Answer>,
    woken: Vec<Ticket>,
    news: Vec<News>,
    next: u64,
    /// The stretches of time that were asked for last.
    slices: Vec<(Every, Span)>,
    payers_max: usize,
    /// The moment of the request for whom idle accounts were looked for last.
    swept_ms: Option<i64>,
}

impl Books {
    /// Empty ones, for periods of this zone.
    pub fn new(zone: TimeZone) -> Self {
        Self {
            zone,
            accounts: HashMap::new(),
            holds: HashMap::new(),
            line: VecDeque::new(),
            answers: HashMap::new(),
            woken: Vec::new(),
            news: Vec::new(),
            next: 0,
            slices: Vec::new(),
            payers_max: PAYERS_MAX,
            swept_ms: None,
        }
    }

    /// Books what was spent before, by a request of `at_ms`.
    pub fn recall(&mut self, payer: &Payer, every: Every, at_ms: i64, spent: NanoUsd) {
        let slice = self.slice(every, at_ms);
        self.account(payer, every).recall(slice, spent);
    }

    /// Whether anything is known of a payer's budget of this kind.
    pub fn knows(&self, payer: &Payer, every: Every) -> bool {
        self.accounts.contains_key(&(payer.clone(), every))
    }

    /// Sets money aside, or says why not.
    pub fn hold(&mut self, ask: &Ask) -> Answer {
        let told_apart = self.told_apart(ask);
        let ask = told_apart.as_ref().unwrap_or(ask);
        let must_queue = !ask.watched && self.line.iter().any(|waiter| shares(&waiter.ask.charges, &ask.charges));
        match self.weigh(ask) {
            Weighed::Fits => {}
            Weighed::Hopeless(short) => return self.refuse(ask, short),
            Weighed::Rest(rest) if !must_queue => return self.set_aside(ask, rest),
            Weighed::Rest(_) | Weighed::Later(_) => return self.queue(ask),
        }
        if must_queue { self.queue(ask) } else { self.set_aside(ask, ask.want) }
    }

    /// Sets all of it aside if it is there and nobody is before in the line.
    pub fn hold_at_once(&mut self, ask: &Ask) -> Option<HoldId> {
        let told_apart = self.told_apart(ask);
        let ask = told_apart.as_ref().unwrap_or(ask);
        if !ask.watched && self.line.iter().any(|waiter| shares(&waiter.ask.charges, &ask.charges)) {
            return None;
        }
        match self.weigh(ask) {
            Weighed::Fits => match self.set_aside(ask, ask.want) {
                Answer::Held(id, _) => Some(id),
                Answer::Wait(_) | Answer::Short(_) => None,
            },
            _ => None,
        }
    }

    /// What would be short if a watched ask were not.
    pub fn would_be_short(&mut self, ask: &Ask) -> Option<Short> {
        let ask = Ask { watched: false, ..ask.clone() };
        match self.weigh(&ask) {
            Weighed::Fits | Weighed::Rest(_) => None,
            Weighed::Hopeless(short) => Some(short),
            Weighed::Later(short) => Some(short).filter(|short| short.unspent - short.held < short.least),
        }
    }

    /// What has become of a place in the line; `None`: it still waits.
    pub fn answer(&mut self, ticket: Ticket) -> Option<Answer> {
        self.answers.remove(&ticket)
    }

    /// The end of somebody's patience: takes what is there, whoever stands before it, or gives up.
    pub fn last_chance(&mut self, ticket: Ticket) -> Option<Answer> {
        if let Some(answer) = self.answers.remove(&ticket) {
            return Some(answer);
        }
        let place = self.line.iter().position(|waiter| waiter.ticket == ticket)?;
        let Waiter { ask, .. } = self.line.remove(place)?;
        let answer = match self.weigh(&ask) {
            Weighed::Fits => self.set_aside(&ask, ask.want),
            Weighed::Rest(rest) => self.set_aside(&ask, rest),
            Weighed::Hopeless(short) => self.refuse(&ask, short),
            Weighed::Later(short) => {
                let free = short.unspent - short.held;
                if free >= ask.least { self.set_aside(&ask, free) } else { self.refuse(&ask, short) }
            }
        };
        self.serve_line(&ask.charges);
        Some(answer)
    }

    /// Somebody waits no more: leaves the line, or what it was given meanwhile.
    pub fn leave(&mut self, ticket: Ticket) {
        if let Some(answer) = self.answers.remove(&ticket) {
            if let Answer::Held(hold, _) = answer {
                self.settle(hold, NanoUsd::ZERO);
            }
            return;
        }
        if let Some(place) = self.line.iter().position(|waiter| waiter.ticket == ticket)
            && let Some(gone) = self.line.remove(place)
        {
            self.serve_line(&gone.ask.charges);
        }
    }

    /// Sets `more` aside besides; false, and nothing changes, if that is not there.
    pub fn extend(&mut self, id: HoldId, more: NanoUsd) -> bool {
        let Some(hold) = self.holds.get(&id) else { return false };
        let (charges, at_ms, watched) = (Arc::clone(&hold.charges), hold.at_ms, hold.watched);
        if !watched && charges.iter().any(|charge| self.free(charge, at_ms) < more) {
            return false;
        }
        self.move_held(&charges, at_ms, more);
        if let Some(hold) = self.holds.get_mut(&id) {
            hold.amount += more;
        }
        true
    }

    /// Leaves what is held beyond `amount` to others.
    pub fn shrink(&mut self, id: HoldId, amount: NanoUsd) {
        let Some(hold) = self.holds.get_mut(&id) else { return };
        let over = hold.amount - amount;
        if over <= NanoUsd::ZERO {
            return;
        }
        hold.amount = amount;
        let (charges, at_ms) = (Arc::clone(&hold.charges), hold.at_ms);
        self.move_held(&charges, at_ms, NanoUsd::ZERO - over);
        self.serve_line(&charges);
    }

    /// Books what was spent, be it more than was held, and leaves the rest to others.
    pub fn settle(&mut self, id: HoldId, spent: NanoUsd) {
        let Some(Hold { charges, at_ms, amount, .. }) = self.holds.remove(&id) else { return };
        self.move_held(&charges, at_ms, NanoUsd::ZERO - amount);
        if spent > NanoUsd::ZERO {
            for charge in charges.iter() {
                let slice = self.slice(charge.budget.every, at_ms);
                self.account(&charge.payer, charge.budget.every).spend(charge.budget.every, slice, spent);
                self.tell(charge, at_ms);
            }
        }
        self.serve_line(&charges);
    }

    /// What is held.
    pub fn held(&self, id: HoldId) -> Option<NanoUsd> {
        self.holds.get(&id).map(|hold| hold.amount)
    }

    /// Spent and held of one budget at a moment.
    pub fn balance(&mut self, payer: &Payer, every: Every, at_ms: i64) -> (NanoUsd, NanoUsd) {
        let now = self.slice(every, at_ms);
        let account = self.accounts.get_mut(&(payer.clone(), every));
        account.map_or((NanoUsd::ZERO, NanoUsd::ZERO), |account| account.balance(every, now))
    }

    /// When money comes back: a period of the calendar ends, or the oldest step of a rolling one is forgotten.
    pub fn resets_ms(&mut self, payer: &Payer, every: Every, at_ms: i64) -> i64 {
        let now = self.slice(every, at_ms);
        let Every::Rolling(time) = every else { return now.end_ms };
        let account = self.accounts.get_mut(&(payer.clone(), every));
        let oldest = account.and_then(|account| account.oldest_ms(time, now));
        oldest.unwrap_or(now.end_ms) + i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
    }

    /// Those who have spent or held anything, with the kinds of period that they did so under.
    pub fn payers(&self) -> impl Iterator<Item = (&Payer, Every)> {
        self.accounts.keys().map(|(payer, every)| (payer, *every))
    }

    /// Whether the larger part of a budget is spent.
    pub fn is_near(&mut self, charge: &Charge, at_ms: i64) -> bool {
        let (spent, _) = self.balance(&charge.payer, charge.budget.every, at_ms);
        spent >= charge.budget.near.of(charge.budget.usd)
    }

    /// Those who have waited and have an answer now, once.
    pub fn woken(&mut self) -> Vec<Ticket> {
        std::mem::take(&mut self.woken)
    }

    /// What there is to tell, once.
    pub fn news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    fn account(&mut self, payer: &Payer, every: Every) -> &mut Account {
        self.accounts.entry((payer.clone(), every)).or_default()
    }

    /// The stretch of time that a moment belongs to. Most moments belong to the one before's.
    fn slice(&mut self, every: Every, at_ms: i64) -> Span {
        if let Some((_, known)) = self.slices.iter().find(|(known, span)| *known == every && span.holds(at_ms)) {
            return *known;
        }
        let slice = period::slice(every, at_ms, &self.zone);
        self.slices.truncate(SLICES_KEPT - 1);
        self.slices.insert(0, (every, slice));
        slice
    }

    fn free(&mut self, charge: &Charge, at_ms: i64) -> NanoUsd {
        let (spent, held) = self.balance(&charge.payer, charge.budget.every, at_ms);
        charge.budget.usd - spent - held
    }

    fn short(&mut self, charge: &Charge, ask: &Ask) -> Short {
        let (spent, held) = self.balance(&charge.payer, charge.budget.every, ask.at_ms);
        let resets_ms = self.resets_ms(&charge.payer, charge.budget.every, ask.at_ms);
        Short { unspent: charge.budget.usd - spent, held, least: ask.least, resets_ms, charge: charge.clone() }
    }

    /// Holds what is asked for against what there is, whoever waits.
    fn weigh(&mut self, ask: &Ask) -> Weighed {
        if ask.watched {
            return Weighed::Fits;
        }
        // The tightest ceiling decides.
        let mut tightest: Option<(NanoUsd, Short)> = None;
        let mut may_change = false;
        for charge in ask.charges.iter() {
            let free = self.free(charge, ask.at_ms);
            if free >= ask.want {
                continue;
            }
            let short = self.short(charge, ask);
            if short.unspent < ask.least {
                return Weighed::Hopeless(short);
            }
            may_change |= short.held > NanoUsd::ZERO;
            if tightest.as_ref().is_none_or(|(least_free, _)| free < *least_free) {
                tightest = Some((free, short));
            }
        }
        match tightest {
            None => Weighed::Fits,
            Some((_, short)) if may_change => Weighed::Later(short),
            Some((free, _)) => Weighed::Rest(free),
        }
    }

    fn set_aside(&mut self, ask: &Ask, amount: NanoUsd) -> Answer {
        self.next += 1;
        let id = HoldId(self.next);
        self.move_held(&ask.charges, ask.at_ms, amount);
        let hold = Hold { charges: Arc::clone(&ask.charges), at_ms: ask.at_ms, amount, watched: ask.watched };
        self.holds.insert(id, hold);
        Answer::Held(id, amount)
    }

    fn move_held(&mut self, charges: &Arc<[Charge]>, at_ms: i64, by: NanoUsd) {
        for charge in charges.iter() {
            let slice = self.slice(charge.budget.every, at_ms);
            self.account(&charge.payer, charge.budget.every).hold(charge.budget.every, slice, by);
        }
    }

    fn queue(&mut self, ask: &Ask) -> Answer {
        self.next += 1;
        let ticket = Ticket(self.next);
        self.line.push_back(Waiter { ticket, ask: ask.clone() });
        Answer::Wait(ticket)
    }

    fn refuse(&mut self, ask: &Ask, short: Short) -> Answer {
        let spent = short.charge.budget.usd - short.unspent;
        // One that is too large for a budget of which much is left says nothing about the budget.
        if !short.is_passing() && spent >= short.charge.budget.near.of(short.charge.budget.usd) {
            self.tell_once(What::Exhausted, &short.charge, spent, ask.at_ms);
        }
        Answer::Short(Box::new(short))
    }

    /// Money has come free under these ceilings: those who wait for it get it, in their order. Nobody overtakes
    /// somebody under the same ceiling who still waits.
    fn serve_line(&mut self, freed: &Arc<[Charge]>) {
        if self.line.is_empty() {
            return;
        }
        let mut stirred: Vec<Charge> = freed.to_vec();
        let mut blocked: Vec<Charge> = Vec::new();
        let mut place = 0;
        while let Some(waiter) = self.line.get(place) {
            if stirred.iter().all(|charge| has(&blocked, charge)) {
                break;
            }
            let ask = &waiter.ask;
            if !shares(&ask.charges, &stirred) || shares(&ask.charges, &blocked) {
                blocked.extend(ask.charges.iter().cloned());
                place += 1;
                continue;
            }
            let (ask, ticket) = (ask.clone(), waiter.ticket);
            let answer = match self.weigh(&ask) {
                Weighed::Fits => self.set_aside(&ask, ask.want),
                Weighed::Rest(rest) => self.set_aside(&ask, rest),
                Weighed::Hopeless(short) => self.refuse(&ask, short),
                Weighed::Later(_) => {
                    blocked.extend(ask.charges.iter().cloned());
                    place += 1;
                    continue;
                }
            };
            self.line.remove(place);
            self.answers.insert(ticket, answer);
            self.woken.push(ticket);
            stirred.extend(ask.charges.iter().cloned());
        }
    }

    fn tell(&mut self, charge: &Charge, at_ms: i64) {
        let (spent, _) = self.balance(&charge.payer, charge.budget.every, at_ms);
        if spent < charge.budget.near.of(charge.budget.usd) {
            if matches!(charge.budget.every, Every::Rolling(_)) {
                self.account(&charge.payer, charge.budget.every).calms();
            }
            return;
        }
        self.tell_once(What::Near, charge, spent, at_ms);
        if spent >= charge.budget.usd {
            self.tell_once(What::Exhausted, charge, spent, at_ms);
        }
    }

    fn tell_once(&mut self, what: What, charge: &Charge, spent: NanoUsd, at_ms: i64) {
        let now = self.slice(charge.budget.every, at_ms);
        if self.account(&charge.payer, charge.budget.every).tells(what, charge.budget, now) {
            self.news.push(News { what, charge: charge.clone(), spent, period: now });
        }
    }
}

/// How what is asked for compares with what there is.
enum Weighed {
    /// All of it is there.
    Fits,
    /// Nobody holds any: so much is all that it can have, and of use.
    Rest(NanoUsd),
    /// Too much is held by others.
    Later(Short),
    /// Too much is spent.
    Hopeless(Short),
}

fn same(one: &Charge, other: &Charge) -> bool {
    one.payer == other.payer && one.budget.every == other.budget.every
}

fn has(charges: &[Charge], wanted: &Charge) -> bool {
    charges.iter().any(|charge| same(charge, wanted))
}

fn shares(one: &[Charge], other: &[Charge]) -> bool {
    one.iter().any(|charge| has(other, charge))
}

#[cfg(test)]
#[path = "books/tests.rs"]
mod tests;
