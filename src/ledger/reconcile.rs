//! Our ledger against a provider's export: interrupted and estimated rows take the provider's figures. One that is
//! written more coarsely than in nano-dollars is matched to its own rounding: an estimate that it may be stays as fine as it
//! is, and an interval is not left for what rounding alone made of it.
//!
//! Rows that the provider had reported itself are never overwritten; where the export contradicts
//! them, in money or in tokens, both figures are listed. A figure that came from an export gives way to that
//! of a later one, and a call that failed takes what it is billed at all the same. An amount far beyond what its call could
//! cost is refused until somebody says that it is right. What the ledger holds and the export lacks is
//! listed for the time that the export spans. Corrections are journal records like any other, so that
//! they survive a crash and are applied exactly once; importing the same export again changes nothing.

use std::collections::HashSet;
use std::time::Duration;

use crate::ids::AttemptId;
use crate::ledger::Ledger;
use crate::ledger::by_day::rows_kept_from;
use crate::ledger::error::{LedgerError, database_error};
use crate::ledger::export::ExportRow;
use crate::ledger::reconcile_rows::{Stored, in_doubt, stored, within};
use crate::ledger::record::{KnownTokens, Reconciled, Record};
use crate::limits::EXPORT_MOST_NANO;
use crate::money::{CostInterval, NanoUsd};

/// How long the tables may take for an import.
const APPLY_TIMEOUT: Duration = Duration::from_secs(600);

/// What is imported.
#[derive(Clone, Copy, Debug)]
pub struct Import<'a> {
    /// The provider row that the export is of.
    pub provider: &'a str,
    /// The export's name in the corrected rows.
    pub export: &'a str,
    /// When it is imported, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Whether silence means something.
    pub coverage: Coverage,
    /// What becomes of amounts that no call could cost.
    pub beyond: Beyond,
}

/// What becomes of amounts that are far beyond the most that their call could cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beyond {
    /// They are listed, and the ledger stays as it is.
    Refuse,
    /// Somebody has looked: they are taken, as far as sums of them can be written down.
    Take,
}

/// Whether an export has every billed call between its first and its last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coverage {
    /// It may lack some: what it does not name stays as it is.
    Partial,
    /// It has all: an attempt in doubt that it does not name was not billed.
    Complete,
}

/// A number of rows and what the export bills for them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Part {
    /// How many.
    pub rows: u64,
    /// Their amounts in sum.
    pub amount: NanoUsd,
}

impl Part {
    fn add(&mut self, amount: NanoUsd) {
        self.rows += 1;
        self.amount += amount;
    }
}

/// An attempt on which ledger and export differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// The attempt.
    pub attempt: AttemptId,
    /// What the ledger said before the import.
    pub ledger: CostInterval,
    /// What the export bills; `None` if it is complete and does not name the attempt.
    pub export: Option<NanoUsd>,
    /// The kinds of tokens that differ.
    pub tokens: Vec<TokenDifference>,
}

impl Difference {
    /// What the export bills beyond the ledger's amount; an unknown one counts as nothing.
    pub fn amount(&self) -> NanoUsd {
        self.export.unwrap_or_default() - self.ledger.exact.unwrap_or_default()
    }
}

/// A kind of tokens on which ledger and export differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TokenDifference {
    /// The kind's column.
    pub kind: &'static str,
    /// The ledger's figure.
    pub ledger: u64,
    /// The export's figure.
    pub export: u64,
    /// For a part: the column of its whole and the ledger's figure for that.
    pub whole: Option<(&'static str, u64)>,
}

/// An attempt of the export's span that the export does not name, and that is not known to have cost nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Absent {
    /// The attempt.
    pub attempt: AttemptId,
    /// What the ledger said before the import.
    pub ledger: CostInterval,
    /// Its amount is unknown or estimated.
    pub in_doubt: bool,
}

/// The time from the earliest to the latest attempt that the export names, and the ledger's amounts for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// When the earliest left, in milliseconds since the Unix epoch.
    pub from_ms: i64,
    /// When the latest left.
    pub until_ms: i64,
    /// Known and estimated amounts before the import, in sum.
    pub ledger_before: NanoUsd,
    /// The same after the import.
    pub ledger_after: NanoUsd,
}

/// What an import found and did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Rows of the export that are attempts of this provider in the ledger: unchanged, corrected or different.
    pub matched: Part,
    /// Matched rows that say what the ledger said, as finely as the export is written, or whose attempt is still in flight.
    pub unchanged: Part,
    /// What unchanged rows bill beyond the ledger because the export rounds.
    pub rounding: NanoUsd,
    /// Attempts that took the export's figures.
    pub corrected: Part,
    /// `client_request_id` of rows that are no attempt of this provider in the ledger.
    pub unmatched: Vec<String>,
    /// The unmatched rows' amounts in sum.
    pub unmatched_cost: NanoUsd,
    /// Those of them whose id is older than the oldest row that is left: they may be of a month whose rows are forgotten.
    pub forgotten: Part,
    /// Attempts that the provider had reported otherwise than its export; left as they are.
    pub differences: Vec<Difference>,
    /// Corrected attempts whose amount lies outside the interval that the ledger had promised.
    pub outside_interval: Vec<Difference>,
    /// Attempts that stayed in doubt because the export bills far more than they could cost.
    pub far_beyond: Vec<Difference>,
    /// The time that the export spans; `None` if it names no attempt of this provider.
    pub span: Option<Span>,
    /// What the ledger holds for that time and the export lacks, and was left as it is.
    pub absent: Vec<Absent>,
    /// Attempts in doubt that a complete export lacks: they were settled at 0.
    pub settled_at_zero: Vec<Absent>,
    /// Attempts of this provider that are still unknown or estimated after the import, at any time.
    pub in_doubt: u64,
    /// What those may have cost together, from the least to the most.
    pub doubt: CostInterval,
}

impl Ledger {
    /// Brings the attempts of a provider in line with its export.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Behind`] if the tables cannot be brought up to date, or the database's own errors.
    /// Importing the same export again goes on where it stopped.
    pub fn reconcile(&self, import: &Import<'_>, rows: &[ExportRow]) -> Result<Report, LedgerError> {
        self.sync_views(APPLY_TIMEOUT)?;
        let views = self.views()?;
        let mut judge = Judge { import, report: Report::default(), named: HashSet::new(), corrections: Vec::new() };
        let mut times: Option<(i64, i64)> = None;
        let kept_from = rows_kept_from(&views).map_err(database_error("read"))?;
        for row in rows {
            let attempt = row.client_request_id.parse::<AttemptId>().ok();
            let found = attempt.map(|attempt| stored(&views, import.provider, attempt)).transpose();
            match found.map_err(database_error("read"))?.flatten() {
                Some(found) => {
                    times = times.map_or(Some((found.at_ms, found.at_ms)), |(from, until)| {
                        Some((from.min(found.at_ms), until.max(found.at_ms)))
                    });
                    judge.matched(&found, row);
                }
                None => {
                    let arrived_ms = attempt.map(|attempt| attempt.request.at_ms());
                    if arrived_ms.zip(kept_from).is_some_and(|(arrived_ms, kept_from)| arrived_ms < kept_from) {
                        judge.report.forgotten.add(row.cost);
                    }
                    judge.unmatched(row);
                }
            }
        }
        let ids = judge.named.iter().min().copied().zip(judge.named.iter().max().copied());
        let span = times.zip(ids);
        let before = match span {
            Some((times, ids)) => within(&views, import.provider, times, ids).map_err(database_error("read"))?,
            None => Vec::new(),
        };
        for found in before.iter().filter(|found| found.may_have_cost()) {
            if !judge.named.contains(&found.attempt) {
                judge.absent(found);
            }
        }
        let Judge { mut report, corrections, .. } = judge;
        for word in corrections {
            self.append(&Record::Reconciled(word))?;
        }
        self.sync_views(APPLY_TIMEOUT)?;
        if let Some(((from_ms, until_ms), ids)) = span {
            let after = within(&views, import.provider, (from_ms, until_ms), ids).map_err(database_error("read"))?;
            let sum = |rows: &[Stored]| rows.iter().filter_map(|found| found.cost.exact).sum();
            report.span = Some(Span { from_ms, until_ms, ledger_before: sum(&before), ledger_after: sum(&after) });
        }
        (report.in_doubt, report.doubt) = in_doubt(&views, import.provider).map_err(database_error("read"))?;
        Ok(report)
    }
}

/// Decides row by row; writes nothing.
struct Judge<'a> {
    import: &'a Import<'a>,
    report: Report,
    named: HashSet<AttemptId>,
    corrections: Vec<Reconciled<'a>>,
}

impl Judge<'_> {
    fn unmatched(&mut self, row: &ExportRow) {
        self.report.unmatched.push(row.client_request_id.clone());
        self.report.unmatched_cost += row.cost;
    }

    fn matched(&mut self, found: &Stored, row: &ExportRow) {
        self.named.insert(found.attempt);
        self.report.matched.add(row.cost);
        let tokens = token_differences(&found.tokens, &row.tokens);
        let off = found.cost.exact.map(|exact| row.cost - exact);
        let is_same = off.is_some_and(|off| off.0.abs() <= row.rounding.0);
        if found.is_open || (found.is_settled() && is_same && tokens.is_empty()) {
            self.report.rounding += off.filter(|_| is_same).unwrap_or_default();
            self.report.unchanged.add(row.cost);
            return;
        }
        let difference = Difference { attempt: found.attempt, ledger: found.cost, export: Some(row.cost), tokens };
        if found.is_settled() && !found.is_from_export {
            self.report.differences.push(difference);
            return;
        }
        let most = if self.import.beyond == Beyond::Take { EXPORT_MOST_NANO } else { 0 };
        if row.cost.0 > most && found.is_dwarfed_by(row.cost) {
            self.report.far_beyond.push(difference);
            return;
        }
        let mut cost = row.cost;
        if !found.is_settled() {
            match found.within_rounding(row.cost, row.rounding) {
                Some(finer) => cost = finer,
                None => self.report.outside_interval.push(difference),
            }
        }
        self.report.rounding += row.cost - cost;
        self.report.corrected.add(row.cost);
        self.correct(found.attempt, row.tokens, cost);
    }

    fn absent(&mut self, found: &Stored) {
        let in_doubt = !found.is_settled();
        let absent = Absent { attempt: found.attempt, ledger: found.cost, in_doubt };
        if self.import.coverage == Coverage::Partial || found.is_open {
            self.report.absent.push(absent);
        } else if found.is_reported {
            let (attempt, ledger) = (found.attempt, found.cost);
            self.report.differences.push(Difference { attempt, ledger, export: None, tokens: Vec::new() });
        } else {
            self.report.settled_at_zero.push(absent);
            self.correct(found.attempt, KnownTokens::default(), NanoUsd::ZERO);
        }
    }

    fn correct(&mut self, attempt: AttemptId, tokens: KnownTokens, cost: NanoUsd) {
        let Import { at_ms, export, .. } = *self.import;
        self.corrections.push(Reconciled { attempt, at_ms, tokens, cost, export });
    }
}

/// The kinds that both have and on which they differ.
fn token_differences(ledger: &KnownTokens, export: &KnownTokens) -> Vec<TokenDifference> {
    let kinds = ledger.kinds();
    let whole_of = |whole: &'static str| {
        kinds.iter().find(|(kind, ..)| *kind == whole).and_then(|(.., tokens)| tokens.map(|tokens| (whole, tokens)))
    };
    kinds
        .iter()
        .zip(export.kinds())
        .filter_map(|(&(kind, whole, ledger), (.., export))| {
            let (ledger, export) = ledger.zip(export).filter(|(ledger, export)| ledger != export)?;
            Some(TokenDifference { kind, ledger, export, whole: whole.and_then(whole_of) })
        })
        .collect()
}
