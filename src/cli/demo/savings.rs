//! What requests cost and what they would have cost without Farthing, as the ledger has it.
//!
//! The ledger's counterfactual is computed for each request when it ends. The same bodies are also sent to a simulated
//! provider of their own, all at the model that answers where nothing is routed, so that what was computed can be held
//! against what was measured.

use std::collections::BTreeMap;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::money::NanoUsd;

/// The model that answers where nothing is routed: the first of the frontier tier.
pub const UNROUTED: &str = "gpt-5.6-sol";

/// Money of some requests.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Spending {
    /// Which requests, and what routing took off each.
    requests: BTreeMap<String, NanoUsd>,
    /// Requests of which nobody knows what they would have cost; they count as what they did cost.
    pub unknown: usize,
    /// What was spent.
    pub spent: NanoUsd,
    /// What it would have cost without Farthing.
    pub unrouted: NanoUsd,
    /// What the difference is made of: `route`, `fallback`, `retry`, `compress`, `cache`.
    by_cause: [NanoUsd; CAUSES.len()],
    /// What the providers' own caches took off what was spent. Not Farthing's doing.
    pub by_provider_cache: NanoUsd,
}

/// What saves or costs, in the ledger's words.
pub const CAUSES: [&str; 5] = ["route", "fallback", "retry", "compress", "cache"];

impl Spending {
    /// How many requests.
    pub fn requests(&self) -> usize {
        self.requests.len()
    }

    /// What routing took off one of the requests.
    pub fn by_route_of(&self, request: &str) -> NanoUsd {
        self.requests.get(request).copied().unwrap_or_default()
    }

    /// What Farthing took off.
    pub fn saved(&self) -> NanoUsd {
        self.unrouted - self.spent
    }

    /// The same by cause.
    pub fn causes(&self) -> impl Iterator<Item = (&'static str, NanoUsd)> + '_ {
        CAUSES.into_iter().zip(self.by_cause)
    }

    /// The figures as JSON, for a line that also has a name.
    pub fn json(&self) -> Value {
        json!({
            "requests": self.requests(), "spent_nano_usd": self.spent.0, "unrouted_nano_usd": self.unrouted.0,
            "saved_nano_usd": self.json_saved(), "provider_cache_nano_usd": self.by_provider_cache.0,
        })
    }

    /// What was saved, by cause.
    pub fn json_saved(&self) -> Value {
        let mut saved = json!({ "total": self.saved().0 });
        for (cause, amount) in self.causes() {
            saved[cause] = json!(amount.0);
        }
        saved
    }

    fn add(&mut self, request: &str, amounts: &Amounts) {
        self.requests.insert(request.to_owned(), amounts.by_cause.map_or(NanoUsd::ZERO, |causes| causes[0]));
        self.unknown += usize::from(amounts.by_cause.is_none());
        self.spent += amounts.spent;
        self.unrouted += amounts.spent;
        for (sum, amount) in self.by_cause.iter_mut().zip(amounts.by_cause.unwrap_or_default()) {
            *sum += amount;
            self.unrouted += amount;
        }
        self.by_provider_cache += amounts.by_provider_cache;
    }
}

/// A kind of work and who did it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Work {
    /// The policy's task; `None` where none claimed the request.
    pub task: Option<String>,
    /// Where it went.
    pub tier: Option<String>,
    /// Who answered; `None` where the request was refused.
    pub model: Option<String>,
}

/// The spending of a ledger.
#[derive(Default)]
pub struct Savings {
    /// By task, tier and model, dearest first.
    pub tasks: Vec<(Work, Spending)>,
    /// By team, dearest first.
    pub teams: Vec<(String, Spending)>,
    /// Everything.
    pub all: Spending,
}

/// Money of one request; `by_cause` is `None` where any of it is not known.
#[derive(Clone, Copy, Default)]
struct Amounts {
    spent: NanoUsd,
    by_cause: Option<[NanoUsd; CAUSES.len()]>,
    by_provider_cache: NanoUsd,
}

impl Savings {
    /// Reads every request.
    pub fn read(views: &Connection) -> rusqlite::Result<Self> {
        let mut statement = views.prepare(
            "select request_id, team, task, tier, \
             (select model from attempts_v1 a where attempt_id > r.request_id || '-' and attempt_id < r.request_id || '.' \
             order by attempt_id desc limit 1), \
             coalesce(cost_nano, 0), coalesce(provider_cache_nano, 0), saved_route_nano, saved_fallback_nano, \
             saved_retry_nano, saved_compress_nano, saved_cache_nano from requests_v1 r",
        )?;
        let mut rows = statement.query([])?;
        let (mut tasks, mut teams, mut all) = (BTreeMap::new(), BTreeMap::new(), Spending::default());
        while let Some(row) = rows.next()? {
            let request: String = row.get(0)?;
            let team: Option<String> = row.get(1)?;
            let work = Work { task: row.get(2)?, tier: row.get(3)?, model: row.get(4)? };
            let amount = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(NanoUsd));
            let causes = [amount(7)?, amount(8)?, amount(9)?, amount(10)?, amount(11)?];
            let known = causes.iter().all(Option::is_some);
            let amounts = Amounts {
                spent: NanoUsd(row.get(5)?),
                by_cause: known.then(|| causes.map(Option::unwrap_or_default)),
                by_provider_cache: NanoUsd(row.get(6)?),
            };
            all.add(&request, &amounts);
            teams.entry(team.unwrap_or_default()).or_insert_with(Spending::default).add(&request, &amounts);
            tasks.entry(work).or_insert_with(Spending::default).add(&request, &amounts);
        }
        Ok(Self { tasks: dearest_first(tasks), teams: dearest_first(teams), all })
    }
}

fn dearest_first<K>(lines: BTreeMap<K, Spending>) -> Vec<(K, Spending)> {
    let mut lines: Vec<_> = lines.into_iter().collect();
    lines.sort_by_key(|(_, spending)| std::cmp::Reverse(spending.spent));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_add_up_and_what_is_not_known_claims_nothing() {
        let mut all = Spending::default();
        let known = |route| Some([route, -2, -1, 0, 0].map(NanoUsd));
        for (id, spent, by_cause) in [("a", 5, known(15)), ("b", 11, known(-4)), ("c", 7, None)] {
            all.add(id, &Amounts { spent: NanoUsd(spent), by_cause, by_provider_cache: NanoUsd(3) });
        }
        assert_eq!((all.requests(), all.unknown, all.spent), (3, 1, NanoUsd(23)));
        assert_eq!((all.unrouted, all.saved(), all.by_provider_cache), (NanoUsd(28), NanoUsd(5), NanoUsd(9)));
        assert_eq!(all.causes().map(|(_, amount)| amount).sum::<NanoUsd>(), all.saved());
        assert_eq!(["a", "b", "c", "d"].map(|id| all.by_route_of(id).0), [15, -4, 0, 0]);
    }
}
