//! Our ledger against a provider's export: interrupted and estimated rows take the provider's figures.
//!
//! Rows that the provider had reported itself are never overwritten; where the export contradicts
//! them, both figures are listed. Corrections are journal records like any other, so that they survive
//! a crash and are applied exactly once; importing the same export again changes nothing.

use std::time::Duration;

use rusqlite::{OptionalExtension as _, params};

use crate::ids::AttemptId;
use crate::ledger::Ledger;
use crate::ledger::error::{LedgerError, database_error};
use crate::ledger::export::ExportRow;
use crate::ledger::record::{Reconciled, Record};
use crate::money::{CostInterval, NanoUsd};

/// How long the tables may take for an import.
const APPLY_TIMEOUT: Duration = Duration::from_secs(600);

/// An attempt on which ledger and export differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Difference {
    /// The attempt.
    pub attempt: AttemptId,
    /// What the ledger said before the import.
    pub ledger: CostInterval,
    /// What the export says.
    pub export: NanoUsd,
}

/// What an import found and did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Rows of the export that are attempts of this provider in the ledger: unchanged, corrected or different.
    pub matched: u64,
    /// Matched rows that say what the ledger said, or whose attempt is still in flight.
    pub unchanged: u64,
    /// Attempts that took the export's figures.
    pub corrected: u64,
    /// The corrected ones' amounts in the export, in sum.
    pub corrected_cost: NanoUsd,
    /// `client_request_id` of rows that are no attempt of this provider in the ledger.
    pub unmatched: Vec<String>,
    /// Attempts that the provider had reported otherwise than its export; left as they are.
    pub differences: Vec<Difference>,
    /// Corrected attempts whose amount lies outside the interval that the ledger had promised.
    pub outside_interval: Vec<Difference>,
    /// Attempts of this provider that are still unknown or estimated after the import.
    pub in_doubt: u64,
}

/// What the ledger holds of one attempt.
struct Stored {
    fate: String,
    source: String,
    cost: CostInterval,
    tokens: (Option<i64>, Option<i64>),
}

impl Stored {
    /// Whether the provider itself has settled this row already.
    fn is_settled(&self) -> bool {
        self.source == "reported" && self.cost.exact.is_some()
    }

    fn agrees_with(&self, row: &ExportRow) -> bool {
        let tokens = row.usage.map(|usage| (usage.input_tokens as i64, usage.output_tokens as i64));
        let same = |(input, output)| {
            self.tokens.0.is_none_or(|stored| stored == input) && self.tokens.1.is_none_or(|stored| stored == output)
        };
        self.cost.exact == Some(row.cost) && tokens.is_none_or(same)
    }

    fn holds(&self, amount: NanoUsd) -> bool {
        self.cost.low <= amount && self.cost.high.is_none_or(|high| amount <= high)
    }
}

impl Ledger {
    /// Brings the attempts of `provider` in line with its export. `export` names the origin in the
    /// corrected rows; `at_ms` is the time of the import in milliseconds since the Unix epoch.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Behind`] if the tables cannot be brought up to date, or the database's own errors.
    /// Importing the same export again goes on where it stopped.
    pub fn reconcile(
        &self,
        provider: &str,
        export: &str,
        at_ms: i64,
        rows: &[ExportRow],
    ) -> Result<Report, LedgerError> {
        self.sync_views(APPLY_TIMEOUT)?;
        let views = self.views()?;
        let mut report = Report::default();
        for row in rows {
            let attempt = row.client_request_id.parse::<AttemptId>().ok();
            let stored = attempt.map(|attempt| stored(&views, provider, attempt)).transpose();
            let stored = stored.map_err(database_error("read"))?.flatten();
            let (Some(attempt), Some(stored)) = (attempt, stored) else {
                report.unmatched.push(row.client_request_id.clone());
                continue;
            };
            if report.judge(attempt, &stored, row) {
                let word = Reconciled { attempt, at_ms, usage: row.usage, cost: row.cost, export };
                self.append(&Record::Reconciled(word))?;
            }
        }
        self.sync_views(APPLY_TIMEOUT)?;
        report.in_doubt = count_in_doubt(&views, provider).map_err(database_error("read"))?;
        Ok(report)
    }
}

impl Report {
    /// Notes what a matched row means; true if the attempt is to take the export's figures.
    fn judge(&mut self, attempt: AttemptId, stored: &Stored, row: &ExportRow) -> bool {
        self.matched += 1;
        let difference = Difference { attempt, ledger: stored.cost, export: row.cost };
        if stored.fate == "open" || (stored.is_settled() && stored.agrees_with(row)) {
            self.unchanged += 1;
            return false;
        }
        if stored.is_settled() {
            self.differences.push(difference);
            return false;
        }
        if !stored.holds(row.cost) {
            self.outside_interval.push(difference);
        }
        self.corrected += 1;
        self.corrected_cost += row.cost;
        true
    }
}

fn stored(views: &rusqlite::Connection, provider: &str, attempt: AttemptId) -> rusqlite::Result<Option<Stored>> {
    let nano = |amount: Option<i64>| amount.map(NanoUsd);
    views
        .prepare_cached(
            "SELECT fate, source, cost_low_nano, cost_nano, cost_high_nano, input_tokens, output_tokens
             FROM attempts_v1 WHERE attempt_id = ?1 AND provider = ?2",
        )?
        .query_row(params![attempt.to_string(), provider], |row| {
            Ok(Stored {
                fate: row.get(0)?,
                source: row.get(1)?,
                cost: CostInterval { low: NanoUsd(row.get(2)?), exact: nano(row.get(3)?), high: nano(row.get(4)?) },
                tokens: (row.get(5)?, row.get(6)?),
            })
        })
        .optional()
}

fn count_in_doubt(views: &rusqlite::Connection, provider: &str) -> rusqlite::Result<u64> {
    views.query_row(
        "SELECT count(*) FROM attempts_v1 WHERE provider = ?1 AND (source <> 'reported' OR cost_nano IS NULL)",
        [provider],
        |row| row.get::<_, i64>(0).map(i64::unsigned_abs),
    )
}
