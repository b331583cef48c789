//! What every meter writes to: the ledger, the price book, the metrics, the log.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use jiff::tz::TimeZone;
use serde_json::json;
use tokio::sync::watch;

use crate::call::Keeper;
use crate::cost::Book;
use crate::ids::{AttemptId, ProviderId, TeamId};
use crate::ledger::objects;
use crate::ledger::record::{Kept, Record};
use crate::ledger::{Ledger, LedgerError};
use crate::limits::RESPONSES_KEPT_MS;
use crate::telemetry::log::{Log, now_ms};
use crate::telemetry::metrics::Metrics;
use crate::wire::errors::Code;

use super::estimates::Estimates;
use super::holds::Holds;
use super::overhead::Internal;
use super::prefixes::Prefixes;
use super::sketches::Sketches;

/// Shared by all requests of the process.
pub struct Accounts {
    /// Rows.
    pub ledger: Ledger,
    /// Prices, replaced whole when their file changes.
    pub book: ArcSwap<Book>,
    /// Where the days begin on which prices change.
    pub timezone: TimeZone,
    /// Budgets and limits, and what is held of them.
    pub holds: Arc<Holds>,
    /// Who pays for what Farthing does by itself.
    pub internal: Internal,
    /// What estimates go by.
    pub estimates: Estimates,
    /// Prompts that went by.
    pub prefixes: Prefixes,
    /// What draws sketches of requests' texts.
    pub sketches: Sketches,
    /// Metrics.
    pub metrics: Metrics,
    /// Log.
    pub log: Log,
    /// Shutting down has run out of patience: requests that are dropped from now on are our doing, not their clients'.
    pub cutting: Cutting,
}

/// Whether shutting down has run out of patience, for those who ask and those who wait.
pub struct Cutting(watch::Sender<bool>);

impl Default for Cutting {
    fn default() -> Self {
        Self(watch::channel(false).0)
    }
}

impl Cutting {
    /// From now on what runs is cut.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it begins.
    pub fn begun(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut begun = self.0.subscribe();
        async move { drop(begun.wait_for(|begun| *begun).await) }
    }
}

impl Accounts {
    /// Commits one record and times it. A refusal is logged and counted, whoever asked.
    ///
    /// # Errors
    ///
    /// Those of [`Ledger::append`].
    pub fn commit(&self, record: &Record<'_>) -> Result<(), LedgerError> {
        let before = Instant::now();
        let committed = self.ledger.append(record);
        self.metrics.ledger_commit.observe(before.elapsed().as_secs_f64());
        if let Err(error) = &committed {
            self.tell_unavailable(error);
        }
        committed
    }

    /// Takes note of an object, by its kind and id, that a provider keeps for a team; where it is charged for once it is done,
    /// `owed` is the attempt that ordered it. What cannot be written now is tried again.
    pub fn keep(&self, team: &TeamId, keeper: &Keeper, (kind, id): (&str, &str), owed: Option<AttemptId>) {
        let (team, provider, at_ms) = (team.as_str(), keeper.provider.as_str(), now_ms());
        // Responses go by themselves: <https://platform.openai.com/docs/guides/conversation-state>
        let expires_ms = (kind == "response").then(|| at_ms.saturating_add(RESPONSES_KEPT_MS));
        let kind = &*objects::kind_of(kind, owed);
        let kept = Box::new(Kept { id, kind, provider, team, at_ms, expires_ms, is_gone: false });
        drop(self.commit(&match keeper.access {
            Some(access) => Record::KeptBy(kept, access),
            None => Record::Kept(kept),
        }));
    }

    /// Takes note that it is gone.
    pub fn forget(&self, team: &TeamId, provider: &ProviderId, (kind, id): (&str, &str)) {
        let (team, provider) = (team.as_str(), provider.as_str());
        let gone = Kept { id, kind, provider, team, at_ms: now_ms(), expires_ms: None, is_gone: true };
        drop(self.commit(&Record::Kept(Box::new(gone))));
    }

    /// What waits until everything committed so far is on the disk, and times that; `None` if the kernel's word
    /// is enough (`durability: process`). A failure is logged and counted, whoever waited.
    pub fn secured(self: &Arc<Self>) -> Option<impl Future<Output = Result<(), LedgerError>> + Send + use<>> {
        let secured = self.ledger.secured()?;
        let accounts = Arc::clone(self);
        Some(async move {
            let before = Instant::now();
            let secured = secured.wait().await;
            accounts.metrics.ledger_sync.observe(before.elapsed().as_secs_f64());
            if let Err(error) = &secured {
                accounts.tell_unavailable(error);
            }
            secured
        })
    }

    fn tell_unavailable(&self, error: &LedgerError) {
        self.metrics.count_error(Code::LedgerUnavailable.metric());
        self.log.event("ledger_unavailable", &json!({ "error": error.to_string() }));
    }

    /// Brings the gauges that are read off the ledger up to date.
    pub fn refresh_gauges(&self) {
        self.metrics.ledger_lag.set(self.ledger.lag().as_secs_f64());
        self.metrics.ledger_gaps.set(i64::try_from(self.ledger.gaps()).unwrap_or(i64::MAX));
        if let Some(mirror) = self.ledger.mirror() {
            self.metrics.mirror_lag.set(mirror.lag().as_secs_f64());
            self.metrics.mirror_lag_rows.set(i64::try_from(mirror.rows).unwrap_or(i64::MAX));
        }
    }
}
