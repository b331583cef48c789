//! What the ledger shows to outsiders.

use rusqlite::types::Value;

use super::{PATIENCE, World};

/// A row of `attempts_v1`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttemptRow {
    pub id: String,
    pub target: String,
    pub fate: String,
    pub source: String,
    pub low: i64,
    pub cost: Option<i64>,
    pub high: Option<i64>,
    pub provider_status: Option<i64>,
    pub output_tokens: Option<i64>,
}

/// A row of `requests_v1`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestRow {
    pub id: String,
    pub status: String,
    pub http_status: Option<i64>,
    pub low: i64,
    pub cost: Option<i64>,
    pub high: Option<i64>,
    pub edits: String,
}

impl World {
    /// What the views of the ledger show, once they show everything.
    pub fn rows(&self, sql: &str) -> Vec<Vec<Value>> {
        self.query(sql, |row| (0..row.as_ref().column_count()).map(|n| row.get(n)).collect())
    }

    /// All attempts in the order in which they left.
    pub fn attempts(&self) -> Vec<AttemptRow> {
        let sql = "select attempt_id, provider || '/' || model, fate, source, cost_low_nano, cost_nano, \
                   cost_high_nano, provider_status, output_tokens from attempts_v1 order by attempt_id";
        self.query(sql, |row| {
            Ok(AttemptRow {
                id: row.get(0)?,
                target: row.get(1)?,
                fate: row.get(2)?,
                source: row.get(3)?,
                low: row.get(4)?,
                cost: row.get(5)?,
                high: row.get(6)?,
                provider_status: row.get(7)?,
                output_tokens: row.get(8)?,
            })
        })
    }

    /// All requests in the order in which they came.
    pub fn requests(&self) -> Vec<RequestRow> {
        let sql = "select request_id, status, http_status, cost_low_nano, cost_nano, cost_high_nano, \
                   coalesce(edits, '') from requests_v1 order by request_id";
        self.query(sql, |row| {
            Ok(RequestRow {
                id: row.get(0)?,
                status: row.get(1)?,
                http_status: row.get(2)?,
                low: row.get(3)?,
                cost: row.get(4)?,
                high: row.get(5)?,
                edits: row.get(6)?,
            })
        })
    }

    /// The fates of all attempts.
    pub fn fates(&self) -> Vec<String> {
        self.attempts().into_iter().map(|row| row.fate).collect()
    }

    /// Every invoice line has a row whose interval holds it, and nothing was billed that has no row.
    #[track_caller]
    pub fn the_ledger_holds_the_invoice(&self) {
        let attempts = self.attempts();
        for line in std::iter::once(&self.provider).chain(&self.others).flat_map(|provider| provider.invoice().lines) {
            let id = line.client_request_id.as_deref().unwrap_or("none");
            let row = attempts.iter().find(|row| row.id == id).unwrap_or_else(|| panic!("no row for {line:?}"));
            let within = row.low <= line.cost.0 && row.high.is_none_or(|high| line.cost.0 <= high);
            assert!(within && row.cost.is_none_or(|cost| cost == line.cost.0), "{row:?} for {line:?}");
        }
    }

    /// Each attempt is settled at exactly what was billed for it, which is something.
    #[track_caller]
    pub fn settled_as_billed(&self, attempts: usize) {
        self.the_ledger_holds_the_invoice();
        let rows = self.attempts();
        let billed: i64 = self.provider.invoice().lines.iter().map(|line| line.cost.0).sum();
        let booked: i64 = rows.iter().map(|row| row.cost.expect("a cost that is known")).sum();
        assert_eq!((rows.len(), booked), (attempts, billed), "{rows:?}");
        assert!(billed > 0);
    }

    fn query<T>(&self, sql: &str, read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>) -> Vec<T> {
        let ledger = &self.gateway.accounts().ledger;
        ledger.sync_views(PATIENCE).expect("the views catch up");
        let views = ledger.views().expect("the views open");
        let mut statement = views.prepare(sql).expect("valid SQL");
        let rows = statement.query_map([], read).expect("a query");
        rows.collect::<Result<_, _>>().expect("rows")
    }
}
