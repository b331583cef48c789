//! How budgets stand: of each payer the ceiling, what is spent, held and left, and when money comes back.
//!
//! Of a gateway that runs they come from its own books. From a ledger they are what a start would recall, with what its
//! attempts under way may cost as held: at most a moment behind a gateway that has it open, and there without one.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::hold::{payers, terms_of};
use super::recall::{NOON_MS, claimed_by, told_apart};
use crate::budget::period::counts_from;
use crate::budget::{Ask, Budget, Charge, Every, Payer, Terms};
use crate::config::{Key, Team};
use crate::ids::KeyId;
use crate::ledger::{Adjusted, Balances, LedgerError, Spender, Spent, open_views};
use crate::limits::STANDINGS_MAX;
use crate::meter::holds::Holds;
use crate::money::NanoUsd;
use crate::report::midnight;

/// Accounts that are looked at in one go: whoever wants to hold money waits meanwhile.
const AT_ONCE: usize = 64;

/// How one budget stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Whose it is.
    pub payer: Payer,
    /// The ceiling.
    pub budget: Budget,
    /// What is spent in the period.
    pub spent: NanoUsd,
    /// What is held for requests in flight.
    pub held: NanoUsd,
    /// When money comes back, in milliseconds since the Unix epoch; `None`: all of it is there.
    pub resets_ms: Option<i64>,
}

impl Standing {
    /// What is neither spent nor held; below zero: overdrawn.
    pub fn left(&self) -> NanoUsd {
        self.budget.usd - self.spent - self.held
    }

    /// As the admin API and `--format json` write it.
    pub fn shown(&self) -> Value {
        let (team, name) = match &self.payer {
            Payer::Team(team) => (Some(team.as_str()), team.as_str()),
            Payer::Project(team, name) | Payer::User(team, name) => (Some(team.as_str()), &**name),
            Payer::Key(key) => (None, key.as_str()),
        };
        json!({
            "payer": self.payer.kind(), "team": team, "name": name, "usd": self.budget.usd.to_string(),
            "every": self.budget.every.to_string(), "near": self.budget.near.to_string(),
            "spent_usd": self.spent.to_string(), "held_usd": self.held.to_string(), "left_usd": self.left().to_string(),
            "resets_at": self.resets_ms.map(crate::keys::at),
        })
    }
}

/// How all budgets stand, and how many are left out. Teams, keys, and projects and users by name are all there; of
/// projects and users that share one line of the configuration, those that have spent or held anything in their period, the largest first.
pub fn of_holds(holds: &Holds, teams: &[Team], keys: &[Key], at_ms: i64) -> (Vec<Standing>, usize) {
    let mut written: BTreeMap<Payer, Budget> = BTreeMap::new();
    for team in teams {
        let (projects, users) = (team.projects.named.iter(), team.users.named.iter());
        let projects = projects.map(|(name, terms)| (Payer::Project(team.id.clone(), name.as_str().into()), terms));
        let users = users.map(|(name, terms)| (Payer::User(team.id.clone(), name.as_str().into()), terms));
        let all = std::iter::once((Payer::Team(team.id.clone()), &team.terms)).chain(projects).chain(users);
        written.extend(all.filter_map(|(payer, terms)| Some((payer, terms.budget?))));
    }
    written.extend(keys.iter().filter_map(|key| Some((Payer::Key(key.id.clone()), key.terms.budget?))));
    let is_shared = |payer: &Payer| !written.contains_key(payer) && !matches!(payer, Payer::Key(_));
    let found = holds.with(|books| {
        let shared = books.payers().filter(|(payer, _)| is_shared(payer));
        let shared = shared.filter_map(|(payer, every)| {
            let budget = terms_of(teams, payer)?.budget.filter(|budget| budget.every == every)?;
            Some((payer.clone(), budget))
        });
        shared.collect::<Vec<_>>()
    });
    let mut shared = stand(holds, found, at_ms);
    shared.retain(|standing| standing.spent != NanoUsd::ZERO || standing.held != NanoUsd::ZERO);
    shared.sort_by(|one, other| (other.spent, &one.payer).cmp(&(one.spent, &other.payer)));
    let left_out = shared.len().saturating_sub(STANDINGS_MAX);
    shared.truncate(STANDINGS_MAX);
    let mut standings = stand(holds, written.into_iter().collect(), at_ms);
    standings.extend(shared);
    standings.sort_by_key(|standing| standing.payer.kind_order());
    (standings, left_out)
}

fn stand(holds: &Holds, payers: Vec<(Payer, Budget)>, at_ms: i64) -> Vec<Standing> {
    let mut standings = Vec::with_capacity(payers.len());
    for some in payers.chunks(AT_ONCE) {
        holds.with(|books| {
            for (payer, budget) in some {
                let (spent, held) = books.balance(payer, budget.every, at_ms);
                let comes_back = spent != NanoUsd::ZERO || !matches!(budget.every, Every::Rolling(_));
                let resets_ms = comes_back.then(|| books.resets_ms(payer, budget.every, at_ms));
                standings.push(Standing { payer: payer.clone(), budget: *budget, spent, held, resets_ms });
            }
        });
    }
    standings
}

/// As [`of_holds`], by the tables of the ledger at `path`.
///
/// # Errors
///
/// Those of the ledger.
pub fn of_ledger(
    path: &Path,
    (teams, keys): (&[Team], &[Key]),
    zone: &TimeZone,
    at_ms: i64,
) -> Result<(Vec<Standing>, usize), LedgerError> {
    let (holds, _news) = Holds::new(zone.clone());
    let from = |every: Every| counts_from(every, at_ms, zone);
    let terms = teams.iter().flat_map(Team::all_terms);
    let every = |terms: &Terms| terms.budget.map(|budget| budget.every);
    let since = terms.chain(keys.iter().map(|key| &key.terms)).filter_map(every).map(from).min();
    if let Some(since) = since {
        let Balances { spent, open, adjusted } = Balances::read(&open_views(path)?, told_apart(teams), since)?;
        let keys: HashMap<&KeyId, &Key> = keys.iter().map(|key| (&key.id, key)).collect();
        let charges_of = |who: &Spender| -> Vec<Charge> {
            let key = keys.get(&KeyId::from(who.key.as_str())).copied();
            let payers = payers(teams, &claimed_by(who), key).into_iter();
            payers.filter_map(|(payer, terms)| Some(Charge { payer, budget: terms.budget? })).collect()
        };
        let adjusted = adjusted.into_iter().map(|Adjusted { day, team, project, nano, .. }| {
            let who = Spender { team, key: String::new(), project, user: String::new() };
            Spent { at_ms: midnight(day, zone) + NOON_MS, who, nano }
        });
        holds.with(|books| {
            // What is under way is held, not spent.
            let held = open.iter().map(|open| Spent { nano: -open.nano, ..open.clone() });
            for Spent { at_ms, who, nano } in spent.into_iter().chain(adjusted).chain(held) {
                for Charge { payer, budget } in charges_of(&who) {
                    if at_ms >= from(budget.every) {
                        books.recall(&payer, budget.every, at_ms, NanoUsd(nano));
                    }
                }
            }
            for Spent { at_ms, who, nano } in open {
                let want = NanoUsd(nano);
                books.hold(&Ask { charges: charges_of(&who).into(), at_ms, want, least: want, watched: true });
            }
        });
    }
    Ok(of_holds(&holds, teams, keys, at_ms))
}
