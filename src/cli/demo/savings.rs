//! What attempts cost, and what the same tokens would have cost without routing or without the providers' cache.
//!
//! Without routing, everything goes to the first model of the tier that the policies default to, with the same tokens and
//! the same cached share. Without the cache, all input that the answering model read from it or wrote to it is paid in full.
//! The two are counted apart, each against what was spent, so that neither claims the other's part.

use std::collections::BTreeMap;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::cost::{Book, cost_of};
use crate::money::NanoUsd;
use crate::reply::usage::{ServiceTier, Usage};

/// The model that answers where nothing is routed: the first of the frontier tier.
pub const UNROUTED: &str = "gpt-5.6-sol";

/// Money of some requests.
#[derive(Clone, Default)]
pub struct Spending {
    /// Which requests, and what routing took off each.
    requests: BTreeMap<String, NanoUsd>,
    /// What was spent.
    pub spent: NanoUsd,
    /// What it would have cost without routing.
    pub unrouted: NanoUsd,
    /// What the providers' caches took off.
    pub by_cache: NanoUsd,
}

impl Spending {
    /// How many requests.
    pub fn requests(&self) -> usize {
        self.requests.len()
    }

    /// What routing took off one of the requests.
    pub fn by_route_of(&self, request: &str) -> NanoUsd {
        self.requests.get(request).copied().unwrap_or_default()
    }

    /// What routing took off.
    pub fn by_route(&self) -> NanoUsd {
        self.unrouted - self.spent
    }

    /// What both took off.
    pub fn saved(&self) -> NanoUsd {
        self.by_route() + self.by_cache
    }

    /// The figures as JSON, for a line that also has a name.
    pub fn json(&self) -> Value {
        json!({
            "requests": self.requests(), "spent_nano_usd": self.spent.0, "unrouted_nano_usd": self.unrouted.0,
            "saved_nano_usd": self.json_saved(),
        })
    }

    /// What was saved, by cause.
    pub fn json_saved(&self) -> Value {
        json!({
            "route": self.by_route().0, "provider_prefix_cache": self.by_cache.0, "total": self.saved().0,
        })
    }

    fn add(&mut self, request: &str, attempt: &Amounts) {
        *self.requests.entry(request.to_owned()).or_default() += attempt.unrouted - attempt.spent;
        self.spent += attempt.spent;
        self.unrouted += attempt.unrouted;
        self.by_cache += attempt.by_cache;
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

/// Money of one attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Amounts {
    spent: NanoUsd,
    unrouted: NanoUsd,
    by_cache: NanoUsd,
}

impl Savings {
    /// Reads every request with its attempts. An attempt whose cost is not known counts as nothing on either side.
    pub fn read(views: &Connection) -> rusqlite::Result<Self> {
        let mut statement = views.prepare(
            "select r.request_id, r.team, r.task, r.tier, a.model, a.cost_nano, a.input_tokens, a.cached_input_tokens, \
             a.cache_write_tokens, a.cache_write_1h_tokens, a.output_tokens, a.reasoning_tokens \
             from requests_v1 r left join attempts_v1 a using (request_id)",
        )?;
        let mut rows = statement.query([])?;
        let (mut tasks, mut teams, mut all) = (BTreeMap::new(), BTreeMap::new(), Spending::default());
        while let Some(row) = rows.next()? {
            let request: String = row.get(0)?;
            let team: Option<String> = row.get(1)?;
            let work = Work { task: row.get(2)?, tier: row.get(3)?, model: row.get(4)? };
            let model = work.model.as_deref().unwrap_or_default();
            let amounts = match row.get(5)? {
                Some(cost) => amounts(model, NanoUsd(cost), usage_of(row)?.as_ref()),
                None => Amounts::default(),
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

/// The attempt's tokens, where they are known.
fn usage_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Usage>> {
    let tokens = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(i64::unsigned_abs));
    let (Some(input_tokens), Some(output_tokens)) = (tokens(6)?, tokens(10)?) else { return Ok(None) };
    Ok(Some(Usage {
        input_tokens,
        cached_input_tokens: tokens(7)?.unwrap_or_default(),
        cache_write_tokens: tokens(8)?.unwrap_or_default(),
        cache_write_1h_tokens: tokens(9)?.unwrap_or_default(),
        output_tokens,
        reasoning_tokens: tokens(11)?.unwrap_or_default(),
    }))
}

/// What one attempt saved. Nothing is claimed where tokens or a list price are not known.
fn amounts(model: &str, spent: NanoUsd, usage: Option<&Usage>) -> Amounts {
    let Some(usage) = usage else { return Amounts { spent, unrouted: spent, by_cache: NanoUsd::ZERO } };
    let uncached = Usage { cached_input_tokens: 0, cache_write_tokens: 0, cache_write_1h_tokens: 0, ..*usage };
    let by_cache = match *usage == uncached {
        true => NanoUsd::ZERO,
        false => list_price(model, &uncached).map_or(NanoUsd::ZERO, |full| full - spent),
    };
    Amounts { spent, unrouted: list_price(UNROUTED, usage).unwrap_or(spent), by_cache }
}

/// At list price, which is what the demo's providers charge.
fn list_price(model: &str, usage: &Usage) -> Option<NanoUsd> {
    let price = Book::builtin().price("openai", model, jiff::Zoned::now().date())?;
    cost_of(price, usage, ServiceTier::Standard, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const USAGE: Usage = Usage {
        input_tokens: 3_000,
        cached_input_tokens: 1_024,
        cache_write_tokens: 976,
        cache_write_1h_tokens: 0,
        output_tokens: 100,
        reasoning_tokens: 0,
    };

    #[test]
    fn a_routed_attempt_saves_by_route_at_the_same_cached_share_and_by_the_cache_at_its_own_price() {
        // Luna: 0.20 a million in, 0.02 cached, 0.25 written, 1.20 out. Sol: 4, 0.40, 5 and 20.
        let spent = NanoUsd(1_000 * 200 + 1_024 * 20 + 976 * 250 + 100 * 1_200);
        let found = amounts("gpt-5.6-luna", spent, Some(&USAGE));
        let unrouted = NanoUsd(1_000 * 4_000 + 1_024 * 400 + 976 * 5_000 + 100 * 20_000);
        let by_cache = NanoUsd(1_024 * (200 - 20) - 976 * (250 - 200));
        assert_eq!(found, Amounts { spent, unrouted, by_cache });
        assert_eq!(list_price("gpt-5.6-luna", &USAGE), Some(spent));
    }

    #[test]
    fn the_unrouted_model_saves_nothing_by_route() {
        let spent = list_price(UNROUTED, &USAGE).expect("a list price");
        assert_eq!(amounts(UNROUTED, spent, Some(&USAGE)).unrouted, spent);
    }

    #[test]
    fn an_attempt_without_tokens_or_cache_claims_nothing() {
        let spent = NanoUsd(7);
        let nothing = Amounts { spent, unrouted: spent, by_cache: NanoUsd::ZERO };
        assert_eq!(amounts("gpt-5.6-luna", spent, None), nothing);
        let plain = Usage { cached_input_tokens: 0, cache_write_tokens: 0, ..USAGE };
        assert_eq!(amounts("gpt-5.6-luna", spent, Some(&plain)).by_cache, NanoUsd::ZERO);
    }

    #[test]
    fn causes_add_up_over_any_lines() {
        let mut all = Spending::default();
        for (id, spent) in [("a", 5), ("b", 11), ("b", 0)] {
            all.add(id, &Amounts { spent: NanoUsd(spent), unrouted: NanoUsd(20), by_cache: NanoUsd(3) });
        }
        assert_eq!(
            (all.requests(), all.spent, all.by_route(), all.saved()),
            (2, NanoUsd(16), NanoUsd(44), NanoUsd(53))
        );
        assert_eq!(["a", "b", "c"].map(|id| all.by_route_of(id).0), [15, 29, 0]);
    }
}
