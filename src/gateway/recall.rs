//! What payers spent before, booked from the ledger: at the start, for budgets that are new, and what re-rating adds.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::hold::payers;
use crate::budget::period::counts_from;
use crate::budget::{Every, Payer, Terms};
use crate::call::Attribution;
use crate::config::{Key, Members, Payers, Team};
use crate::ids::TeamId;
use crate::ledger::{Adjusted, LedgerError, Spender, Spent, Users};
use crate::meter::accounts::Accounts;
use crate::money::NanoUsd;
use crate::report::midnight;
use crate::telemetry::log::now_ms;

/// How long the views may take to show what keys with new budgets have spent.
const VIEWS_TIMEOUT: Duration = Duration::from_secs(10);
/// From midnight to noon, in milliseconds.
pub(super) const NOON_MS: i64 = 12 * 3_600_000;

/// Books what was spent before by those that `whose` says.
///
/// # Errors
///
/// Those of the ledger.
pub fn recall(accounts: &Accounts, config: &Payers, keys: &[Key], whose: Whose<'_>) -> Result<(), LedgerError> {
    recall_at(now_ms(), accounts, config, keys, whose)
}

/// The clock may be ahead, and be set right while the process runs. Then it is in the period of what was spent last, or
/// nothing was spent in its period: so that one is recalled as well.
fn recall_at(
    now: i64,
    accounts: &Accounts,
    config: &Payers,
    keys: &[Key],
    whose: Whose<'_>,
) -> Result<(), LedgerError> {
    let budgets = |terms: &Terms| terms.budget.map(|budget| budget.every);
    let teams = config.teams.iter().flat_map(Team::all_terms);
    let teams = teams.filter(|_| !matches!(whose, Whose::Keys));
    let kinds: HashSet<Every> = teams.chain(keys.iter().map(|key| &key.terms)).filter_map(budgets).collect();
    if kinds.is_empty() {
        return Ok(());
    }
    let users = told_apart(&config.teams);
    let last = accounts.ledger.last_spent(users, now)?.unwrap_or(now);
    let from = |every: Every| counts_from(every, last, &accounts.timezone);
    let rows = accounts.ledger.spent_since(users, kinds.into_iter().map(from).min().unwrap_or(now))?;
    let by_name: HashMap<&str, &Key> = keys.iter().map(|key| (key.id.as_str(), key)).collect();
    let budgets_of = |spender: &Spender| {
        let key = by_name.get(spender.key.as_str()).copied();
        let who = claimed_by(spender);
        let before = if let Whose::NewIn(before) = whose { payers(&before.teams, &who, None) } else { Vec::new() };
        let is_known = |payer: &Payer, terms: &Terms| {
            let every = |terms: &Terms| terms.budget.map(|budget| budget.every);
            before.iter().any(|(known, of_known)| known == payer && every(of_known) == every(terms))
        };
        let payers = payers(&config.teams, &who, key).into_iter();
        let payers = payers.filter(|(payer, terms)| match whose {
            Whose::All => true,
            Whose::Keys => matches!(payer, Payer::Key(_)),
            Whose::NewIn(_) => !is_known(payer, terms),
        });
        let every = |terms: Terms| terms.budget.map(|budget| (budget.every, from(budget.every)));
        payers.filter_map(|(payer, terms)| Some((payer, every(terms)?))).collect::<Vec<_>>()
    };
    // Few payers have many rows.
    let (mut known, mut begun) = (HashMap::new(), HashSet::new());
    accounts.holds.with(|books| {
        for Spent { at_ms, who, nano } in rows {
            if !known.contains_key(&who) {
                let budgets = budgets_of(&who);
                for (payer, (every, _)) in &budgets {
                    // What an earlier budget of the same kind left behind lacks what was spent since.
                    if matches!(whose, Whose::NewIn(_)) && begun.insert((payer.clone(), *every)) {
                        books.begin_anew(payer, *every);
                    }
                }
                known.insert(who.clone(), budgets);
            }
            for (payer, (every, from)) in &known[&who] {
                if at_ms >= *from {
                    books.recall(payer, *every, at_ms, NanoUsd(nano));
                }
            }
        }
    });
    // The others' stand in their accounts, or come by themselves.
    let booked = match whose {
        Whose::Keys => return Ok(()),
        Whose::All => i64::MAX,
        Whose::NewIn(_) => accounts.holds.adjusted(),
    };
    let mut adjusted = accounts.ledger.adjusted_after(0)?;
    adjusted.retain(|adjusted| adjusted.id <= booked);
    if matches!(whose, Whose::All) {
        accounts.holds.set_adjusted(adjusted.last().map_or(0, |last| last.id));
    }
    correct(accounts, &adjusted, budgets_of);
    Ok(())
}

/// Books what re-rating changed since this was last done. Adjustments are of teams and projects: users and keys have none.
///
/// # Errors
///
/// Those of the ledger.
pub fn recall_adjustments(accounts: &Accounts, config: &Payers) -> Result<(), LedgerError> {
    let adjusted = accounts.ledger.adjusted_after(accounts.holds.adjusted())?;
    let Some(last) = adjusted.last() else { return Ok(()) };
    accounts.holds.set_adjusted(last.id);
    let now = now_ms();
    let budgets_of = |spender: &Spender| {
        let payers = payers(&config.teams, &claimed_by(spender), None).into_iter();
        let budgets = payers.filter_map(|(payer, terms)| Some((payer, terms.budget?.every)));
        budgets.map(|(payer, every)| (payer, (every, counts_from(every, now, &accounts.timezone)))).collect()
    };
    correct(accounts, &adjusted, budgets_of);
    Ok(())
}

/// Whether sums are needed by user.
pub(super) fn told_apart(teams: &[Team]) -> Users {
    let have_budgets = |team: &Team| team.users.all().any(|terms| terms.budget.is_some());
    if teams.iter().any(have_budgets) { Users::Apart } else { Users::Together }
}

/// Who a row of sums is of.
pub(super) fn claimed_by(spender: &Spender) -> Attribution {
    let named = |name: &str| Some(name).filter(|name| !name.is_empty()).map(str::to_owned);
    let mut who = Attribution::of_team(TeamId::from(&*spender.team));
    (who.project, who.user) = (named(&spender.project), named(&spender.user));
    who
}

type BudgetsFrom = Vec<(Payer, (Every, i64))>;

fn correct(accounts: &Accounts, adjusted: &[Adjusted], budgets_of: impl Fn(&Spender) -> BudgetsFrom) {
    accounts.holds.with(|books| {
        for Adjusted { day, team, project, nano, .. } in adjusted {
            let (key, user) = (String::new(), String::new());
            let who = Spender { team: team.clone(), key, project: project.clone(), user };
            // Noon is of the day in whatever zone it was counted.
            let at_ms = midnight(*day, &accounts.timezone) + NOON_MS;
            for (payer, (every, from)) in budgets_of(&who) {
                if at_ms >= from {
                    books.correct(&payer, every, at_ms, NanoUsd(*nano));
                }
            }
        }
    });
}

/// Whose spending is recalled.
#[derive(Clone, Copy, Debug)]
pub enum Whose<'p> {
    /// Everybody's, at the start.
    All,
    /// That of keys, which may come at any time.
    Keys,
    /// That of teams, projects and users that had no budget of this kind before.
    NewIn(&'p Payers),
}

/// Recalls what teams, projects and users spent whose budgets are new, before those are put in force. What runs counts at
/// its bound.
///
/// # Errors
///
/// Those of the ledger: then the terms must not be put in force.
pub fn recall_new_payers(accounts: &Accounts, before: &Payers, after: &Payers) -> Result<(), LedgerError> {
    let kinds = |team: &Team| {
        let every = |terms: &Terms| terms.budget.map(|budget| budget.every);
        let members = |members: &Members| {
            let named: Vec<_> = members.named.iter().map(|(name, terms)| (name.clone(), every(terms))).collect();
            (named, members.each.as_ref().and_then(every))
        };
        (every(&team.terms), members(&team.projects), members(&team.users))
    };
    let is_known = |team: &Team| before.team(team.id.as_str()).is_some_and(|before| kinds(before) == kinds(team));
    if after.teams.iter().all(is_known) {
        return Ok(());
    }
    accounts.ledger.sync_views(VIEWS_TIMEOUT)?;
    recall(accounts, after, &[], Whose::NewIn(before))
}

/// Recalls what keys spent whose budgets are new, before they are put in force.
///
/// # Errors
///
/// Those of the ledger: then the keys must not be put in force.
pub fn recall_new_keys(accounts: &Accounts, config: &Payers, keys: &[Key]) -> Result<(), LedgerError> {
    let is_new = |key: &&Key| {
        key.terms
            .budget
            .is_some_and(|budget| !accounts.holds.with(|books| books.knows(&Payer::Key(key.id.clone()), budget.every)))
    };
    let new: Vec<Key> = keys.iter().filter(is_new).cloned().collect();
    if new.is_empty() {
        return Ok(());
    }
    accounts.ledger.sync_views(VIEWS_TIMEOUT)?;
    recall(accounts, config, &new, Whose::Keys)
}

/// Recalls what keys spent whose budgets are to be put in force, whatever is booked of them: of the time before, when they
/// had none, nothing is.
///
/// # Errors
///
/// As [`recall_new_keys`].
pub fn recall_keys_anew(accounts: &Accounts, config: &Payers, keys: &[Key]) -> Result<(), LedgerError> {
    accounts.ledger.sync_views(VIEWS_TIMEOUT)?;
    // Before the ledger is read: what is settled in between may be booked twice, and never not at all.
    accounts.holds.with(|books| {
        for (key, budget) in keys.iter().filter_map(|key| Some((key, key.terms.budget?))) {
            books.begin_anew(&Payer::Key(key.id.clone()), budget.every);
        }
    });
    recall(accounts, config, keys, Whose::Keys)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use rusqlite::Connection;

    use super::*;
    use crate::config;
    use crate::ids::RequestId;
    use crate::meter::tests::accounts;

    const CONFIG: &str = "
providers: { p: { protocol: openai, base_url: 'http://127.0.0.1:1/v1', models: ['*'] } }
teams:
  daily: { budget: { usd: 5, every: day } }
  monthly: { budget: { usd: 5, every: month } }
  rolling: { budget: { usd: 5, every: rolling 24h } }
";

    /// What is booked as spent at a moment, by team, where a process started at another one.
    fn spent(started: &str, moment: &str) -> Vec<i64> {
        let folder = tempfile::tempdir().expect("a folder");
        let (accounts, _log) = accounts(folder.path());
        let config = config::parse("farthing.yaml", CONFIG, folder.path(), &|_| None).expect("a configuration");
        let ledger = Connection::open(folder.path().join("farthing.db")).expect("the ledger");
        let rows = [("2026-10-31T23:00:00Z", 1), ("2026-11-27T14:00:00Z", 10), ("2026-11-28T12:20:00Z", 100)];
        for (at, nano) in rows {
            for team in &config.teams {
                let (id, at) = (RequestId::new(), at.parse::<Timestamp>().expect("a moment").as_millisecond());
                let sql = format!(
                    "INSERT INTO requests (request_id, at_ms, team, status, cost_low_nano)
                     VALUES ('{id}', {at}, '{}', 'ok', {nano});
                     INSERT INTO attempts (attempt_id, request_id, fate, source, cost_low_nano, cost_nano, cost_high_nano)
                     VALUES ('{id}-1', '{id}', 'completed', 'reported', {nano}, {nano}, {nano});",
                    team.id
                );
                ledger.execute_batch(&sql).expect("rows");
            }
        }
        let ms = |text: &str| text.parse::<Timestamp>().expect("a moment").as_millisecond();
        recall_at(ms(started), &accounts, &config.payers(), &[], Whose::All).expect("it recalls");
        let balance = |team: &Team| {
            let every = team.terms.budget.expect("a budget").every;
            let payer = Payer::Team(team.id.clone());
            accounts.holds.with(|books| books.balance(&payer, every, ms(moment))).0.0
        };
        config.teams.iter().map(balance).collect()
    }

    #[test]
    fn a_start_recalls_what_counts_now() {
        let now = "2026-11-28T12:30:00Z";
        assert_eq!(spent(now, now), [100, 110, 110]);
    }

    #[test]
    fn a_start_with_a_clock_that_is_ahead_recalls_what_counts_once_it_is_set_right() {
        for ahead in ["2026-11-30T12:30:00Z", "2026-12-28T12:30:00Z", "2031-01-01T00:00:00Z"] {
            assert_eq!(spent(ahead, "2026-11-28T12:30:00Z"), [100, 110, 110], "{ahead}");
        }
        // Ahead it takes nothing from the periods that are not yet.
        assert_eq!(spent("2026-12-28T12:30:00Z", "2026-12-28T12:30:00Z"), [0, 0, 0]);
    }

    #[test]
    fn a_start_with_a_clock_that_is_behind_recalls_what_counts_once_it_is_set_right() {
        assert_eq!(spent("2026-11-20T00:00:00Z", "2026-11-28T12:30:00Z"), [100, 110, 110]);
    }
}
