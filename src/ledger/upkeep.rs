//! What a ledger is looked after with while it is in use: sums by user and prompt, rows that are older than is kept.
//!
//! A thread of its own, with a connection of its own, takes small steps: one slot a transaction, with pauses in between in
//! which the ledger's own thread comes to write. No request waits for it. A step that fails is told and tried again.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::ledger::audit::{Act, FORGOTTEN};
use crate::ledger::error::{LedgerError, database_error, file_error};
use crate::ledger::mirror;
use crate::ledger::retention::{self, Forgotten, first_kept};
use crate::ledger::rollup::fill_next;
use crate::report::{SLOT_MS, date_of};

/// How long after a slot its users and prompts are counted: most of what arrived in it has ended then.
const SETTLED_MS: i64 = 2 * SLOT_MS;
/// How often there is a look at what is to be done.
const PAUSE: Duration = Duration::from_mins(1);
/// How often there is a look at what may be forgotten.
const FORGETS_EVERY: Duration = Duration::from_hours(24);
/// How the audit names who forgets what is older than `ledger.keep`.
const KEEPER: &str = "gateway:ledger.keep";
/// How many times as long as a step the pause behind it is.
const REST: u32 = 4;
/// How long the gateway, which writes at the same time, is waited for.
const BUSY: Duration = Duration::from_secs(10);

/// How long rows are kept.
#[derive(Clone, Debug)]
pub struct Keep {
    /// Months, besides the one that goes on.
    pub months: u32,
    /// Where months begin.
    pub zone: TimeZone,
}

/// What is told of it.
#[derive(Debug)]
pub enum Told {
    /// Rows went that were older than what is kept.
    Forgot(Forgotten),
    /// A step failed, and why; it is tried again.
    Failed(LedgerError),
}

/// The thread.
#[derive(Debug)]
pub(super) struct Upkeep {
    stop: Arc<Stop>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Stop {
    asked: Mutex<bool>,
    wake: Condvar,
}

impl Stop {
    /// Waits, and says whether the thread is to go on.
    fn rest(&self, time: Duration) -> bool {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.wake.wait_timeout_while(asked, time, |asked| !*asked);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Upkeep {
    /// Looks after the ledger at `path` from now on.
    pub(super) fn start(
        path: &Path,
        keep: Option<Keep>,
        now_ms: fn() -> i64,
        tell: impl Fn(Told) + Send + 'static,
    ) -> Result<Self, LedgerError> {
        let connection = Connection::open(path).map_err(database_error("open"))?;
        connection.busy_timeout(BUSY).map_err(database_error("open"))?;
        let stop = Arc::new(Stop::default());
        let asked = Arc::clone(&stop);
        let mut work = Work { connection, keep, now_ms, forgot: None };
        let thread = std::thread::Builder::new().name("ledger-upkeep".to_owned()).spawn(move || {
            while asked.rest(PAUSE) {
                work.round(&asked, &tell);
            }
        });
        Ok(Self { stop, thread: thread.map_err(file_error("start a thread for", path))? })
    }

    /// Ends it behind the step that it is at.
    pub(super) fn stop(self) {
        *self.stop.asked.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.wake.notify_all();
        // A thread that died has told why on its way.
        drop(self.thread.join());
    }
}

struct Work {
    connection: Connection,
    keep: Option<Keep>,
    now_ms: fn() -> i64,
    /// When there was last a look at what may be forgotten.
    forgot: Option<Instant>,
}

impl Work {
    fn round(&mut self, stop: &Stop, tell: &impl Fn(Told)) {
        match self.look_after(stop) {
            Ok(forgotten) if forgotten.is_nothing() => {}
            Ok(forgotten) => tell(Told::Forgot(forgotten)),
            Err(error) => tell(Told::Failed(database_error("look after")(error))),
        }
    }

    fn look_after(&mut self, stop: &Stop) -> rusqlite::Result<Forgotten> {
        let now_ms = (self.now_ms)();
        let beyond = (now_ms - SETTLED_MS).div_euclid(SLOT_MS);
        let mut step = Instant::now();
        let mut rested = || {
            let goes_on = stop.rest(step.elapsed() * REST);
            step = Instant::now();
            goes_on
        };
        while fill_next(&mut self.connection, beyond)? {
            if !rested() {
                return Ok(Forgotten::default());
            }
        }
        let is_due = self.forgot.is_none_or(|at| at.elapsed() >= FORGETS_EVERY);
        let Some(keep) = self.keep.as_ref().filter(|_| is_due) else { return Ok(Forgotten::default()) };
        let first = first_kept(date_of(now_ms, &keep.zone), keep.months);
        if mirror::lacks(&self.connection, &retention::first_id_kept(first, &keep.zone))? == Some(true) {
            // What a mirror waits for stays; the next round asks again.
            return Ok(Forgotten::default());
        }
        let subject = format!("before {first}");
        let note = |connection: &Connection, facts: Value| {
            Act { at_ms: now_ms, who: KEEPER, action: FORGOTTEN, subject: &subject, sha256: "", facts }.note(connection)
        };
        if retention::has_older(&self.connection, first, &keep.zone)? {
            // Whoever is killed on the way has left a trace as well.
            note(&self.connection, json!({ "keep_months": keep.months }))?;
        }
        let forgotten = retention::forget(&mut self.connection, first, &keep.zone, |_| rested())?;
        if !forgotten.is_nothing() {
            let Forgotten { requests, attempts, months, .. } = forgotten;
            note(&self.connection, json!({ "requests": requests, "attempts": attempts, "months": months }))?;
        }
        self.forgot = Some(Instant::now());
        Ok(forgotten)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tests::stating::spend_of;
    use crate::ledger::tests::{fresh, rows, sync};

    const NOW_MS: i64 = 1_795_910_400_000;

    #[test]
    fn a_round_counts_users_and_forgets_what_is_older_than_is_kept() {
        let (_folder, ledger) = fresh();
        let days_ago = |days: i64| NOW_MS - days * 86_400_000;
        for days in [130, 120, 91, 40, 0] {
            spend_of(&ledger, days_ago(days), ("ops", "ann"), 1 << days.min(20));
        }
        sync(&ledger);
        let connection = Connection::open(&ledger.path).expect("it opens");
        let keep = Some(Keep { months: 2, zone: TimeZone::UTC });
        let mut work = Work { connection, keep, now_ms: || NOW_MS, forgot: None };
        let told = std::cell::RefCell::new(Vec::new());
        let tell = |what: Told| told.borrow_mut().push(format!("{what:?}"));
        (0..2).for_each(|_| work.round(&Stop::default(), &tell));
        let told = told.into_inner();
        assert!(
            told.len() == 1 && told[0].starts_with("Forgot(Forgotten { requests: 3, attempts: 3, months: 2"),
            "{told:?}"
        );
        let views = ledger.views().expect("the views open");
        assert_eq!(rows(&views, "SELECT count(*) FROM requests_v1"), ["2"]);
        let by_slot = "SELECT sum(requests), count(DISTINCT slot) FROM rollup";
        assert_eq!(rows(&views, by_slot), ["5|4"]);
        let acted = "SELECT who, action, subject, facts FROM audit";
        assert_eq!(
            rows(&views, acted),
            [
                r#"gateway:ledger.keep|ledger compact|before 2026-09-01|{"keep_months":2}"#,
                r#"gateway:ledger.keep|ledger compact|before 2026-09-01|{"attempts":3,"months":2,"requests":3}"#,
            ]
        );
        // The last one is not settled yet.
        assert_eq!(rows(&views, "SELECT sum(requests), count(*) FROM rollup_user"), ["4|3"]);
    }
}
