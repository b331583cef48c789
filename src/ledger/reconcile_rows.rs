//! What reconciling reads of the ledger: one attempt by its id, all of a span, and what is in doubt.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::ids::AttemptId;
use crate::ledger::record::KnownTokens;
use crate::ledger::schema::ids_within;
use crate::limits::{EXPORT_ALWAYS_NANO, EXPORT_BEYOND_TIMES, EXPORT_UNBOUNDED_NANO};
use crate::money::{CostInterval, NanoUsd};

/// What the ledger holds of one attempt.
pub(super) struct Stored {
    pub(super) attempt: AttemptId,
    pub(super) at_ms: i64,
    pub(super) is_open: bool,
    /// The provider itself has spoken, be it only of tokens.
    pub(super) is_reported: bool,
    pub(super) cost: CostInterval,
    pub(super) tokens: KnownTokens,
    /// An export said so: a later one knows better, also than the silence of one that is complete.
    pub(super) is_from_export: bool,
    has_failed: bool,
    /// The most that it could cost, as its intent says.
    bound: Option<NanoUsd>,
}

impl Stored {
    /// Whether the provider itself has settled this row already.
    pub(super) fn is_settled(&self) -> bool {
        self.is_reported && self.cost.exact.is_some()
    }

    /// Neither known to have cost nothing nor taken for it because the call failed.
    pub(super) fn may_have_cost(&self) -> bool {
        !((self.is_settled() || self.has_failed) && self.cost.exact == Some(NanoUsd::ZERO))
    }

    /// Whether an amount is so far beyond what the call could cost that the export is likelier wrong than the ledger.
    pub(super) fn is_dwarfed_by(&self, amount: NanoUsd) -> bool {
        is_far_beyond(amount, self.cost.high.max(self.bound))
    }

    /// What an amount that is rounded by so much is taken for: the figure that stands here if it may be that, else what is
    /// nearest to it within the interval. `None`: it lies beyond the interval, however it was rounded.
    pub(super) fn within_rounding(&self, amount: NanoUsd, rounding: NanoUsd) -> Option<NanoUsd> {
        let may_be = |figure: &NanoUsd| (amount - *figure).0.abs() <= rounding.0;
        let nearest = amount.max(self.cost.low).min(self.cost.high.unwrap_or(NanoUsd(i64::MAX)));
        self.cost.exact.filter(may_be).or_else(|| Some(nearest).filter(may_be))
    }
}

/// Whether an amount is far beyond the most that a call could cost, as far as that is known.
pub(super) fn is_far_beyond(amount: NanoUsd, most: Option<NanoUsd>) -> bool {
    let limit = match most {
        Some(most) => most.0.saturating_mul(EXPORT_BEYOND_TIMES).max(EXPORT_ALWAYS_NANO),
        None => EXPORT_UNBOUNDED_NANO,
    };
    amount.0 > limit
}

/// The columns of [`Stored`]; `reads` continues the statement.
macro_rules! select_stored {
    ($reads:literal) => {
        concat!(
            "SELECT attempt_id, at_ms, fate = 'open', source = 'reported', export IS NOT NULL,
                cost_low_nano, cost_nano, cost_high_nano, input_tokens, cached_input_tokens, cache_write_tokens,
                cache_write_1h_tokens, output_tokens, reasoning_tokens, fate = 'failed', bound_nano
             FROM attempts_v1 WHERE provider = ?1 AND ",
            $reads
        )
    };
}

impl Stored {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let tokens = |column| row.get(column).map(|tokens: Option<i64>| tokens.map(i64::unsigned_abs));
        let attempt: String = row.get(0)?;
        let foreign = || rusqlite::Error::InvalidColumnType(0, "attempt_id".to_owned(), rusqlite::types::Type::Text);
        Ok(Self {
            attempt: attempt.parse().map_err(|()| foreign())?,
            at_ms: row.get(1)?,
            is_open: row.get(2)?,
            is_reported: row.get(3)?,
            is_from_export: row.get(4)?,
            has_failed: row.get(14)?,
            bound: row.get::<_, Option<i64>>(15)?.map(NanoUsd),
            cost: CostInterval {
                low: NanoUsd(row.get(5)?),
                exact: row.get::<_, Option<i64>>(6)?.map(NanoUsd),
                high: row.get::<_, Option<i64>>(7)?.map(NanoUsd),
            },
            tokens: KnownTokens {
                input_tokens: tokens(8)?,
                cached_input_tokens: tokens(9)?,
                cache_write_tokens: tokens(10)?,
                cache_write_1h_tokens: tokens(11)?,
                output_tokens: tokens(12)?,
                reasoning_tokens: tokens(13)?,
            },
        })
    }
}

/// The attempt, if this provider was asked.
pub(super) fn stored(views: &Connection, provider: &str, attempt: AttemptId) -> rusqlite::Result<Option<Stored>> {
    views
        .prepare_cached(select_stored!("attempt_id = ?2"))?
        .query_row(params![provider, attempt.to_string()], Stored::of)
        .optional()
}

/// The provider's attempts that left within `times` (both ends included), given that `ids` left at its ends.
pub(super) fn within(
    views: &Connection,
    provider: &str,
    times: (i64, i64),
    ids: (AttemptId, AttemptId),
) -> rusqlite::Result<Vec<Stored>> {
    let (from, until) = ids_within(ids.0.request.at_ms(), ids.1.request.at_ms());
    views
        .prepare_cached(select_stored!(
            "attempt_id >= ?2 AND attempt_id < ?3 AND at_ms BETWEEN ?4 AND ?5 ORDER BY attempt_id"
        ))?
        .query_map(params![provider, from, until, times.0, times.1], Stored::of)?
        .collect()
}

/// How many of the provider's attempts are unknown or estimated, and what they may have cost together.
pub(super) fn in_doubt(views: &Connection, provider: &str) -> rusqlite::Result<(u64, CostInterval)> {
    views.query_row(
        "SELECT count(*), coalesce(sum(cost_low_nano), 0),
            CASE WHEN count(*) = count(cost_high_nano) THEN coalesce(sum(cost_high_nano), 0) END
         FROM attempts_v1 WHERE provider = ?1 AND (source <> 'reported' OR cost_nano IS NULL) AND fate <> 'failed'",
        [provider],
        |row| {
            let high = row.get::<_, Option<i64>>(2)?.map(NanoUsd);
            let doubt = CostInterval { low: NanoUsd(row.get(1)?), exact: None, high };
            Ok((row.get::<_, i64>(0)?.unsigned_abs(), doubt))
        },
    )
}
